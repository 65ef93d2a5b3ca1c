"""Predicting with a packaged model of effects: what treatment would change for each patient, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aimed.bundle.schema import Schema, read_given
from aimed.bundle.sealed import Sealed
from aimed.core import BundleError
from aimed.treatment.effects_model import EffectsModel

__all__ = ["EffectBundle", "PredictedEffect", "effect_table"]

UNCERTAIN = "NO_HETEROGENEITY_SHOWN"
"""Code of the warning that goes with every effect when the study did not show that effects differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEffect:
    """What the model says of one row.

    Parameters
    ----------
    row : int
        From 1, in the order given.
    id : str, optional
    effect, lower, upper : float, optional
        Outcome with treatment less outcome without it, and its interval; None for a refused row, never a default, and
        no interval where the learner has none.
    control, active : float, optional
        Outcome without and with treatment.
    above_limit : bool, optional
        Whether the predicted benefit is above the limit of the study, from which its rule would treat.
    code, reason : str, optional
        Why the row was refused; see `aimed.bundle.schema.CODES`. Never the value itself.
    warnings : tuple of dict
        ``{"code", "column", "reason"}``.
    """

    row: int
    id: str | None = None
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    control: float | None = None
    active: float | None = None
    above_limit: bool | None = None
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def answers(self) -> dict[str, Any]:
        """Return the numbers that must be the same whenever the row is asked again."""
        numbers = [self.effect, self.lower, self.upper, self.control, self.active]
        return {"effect": None if self.effect is None else [v for v in numbers if v is not None]}


class EffectBundle(Sealed):
    """A verified model of effects, ready to predict.

    Parameters
    ----------
    model : EffectsModel, fitted
    schema : Schema
    manifest : mapping
    members : mapping of str to bytes
        Files beside the model, such as the card, as they were verified.

    Raises
    ------
    BundleError
        If schema and model do not take the same inputs.

    Notes
    -----
    Make one with `aimed.bundle.load.load`.
    """

    def __init__(
        self,
        model: EffectsModel,
        schema: Schema,
        manifest: Mapping[str, Any],
        members: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(manifest, members)
        self.model, self.schema = model, schema
        asked = [(one.name, one.kind) for one in schema.inputs]
        if asked != [(v.name, v.kind) for v in model.variables]:
            raise BundleError("schema and model do not take the same inputs", "one schema input a modifier")

    def predict(self, rows: Any, id_column: str | None = None, level: float = 0.95) -> list[PredictedEffect]:
        """Predict every row that the model may be used for.

        Parameters
        ----------
        rows : mapping of columns, sequence of row mappings, or data frame
            Raw values, as a CSV file holds them; columns that are no inputs are not looked at.
        id_column : str, optional
            Column to carry over as the id.
        level : float
            Of the interval.

        Returns
        -------
        list of PredictedEffect

        Raises
        ------
        DataError
            If the column of an input, or the id column, is absent.
        """
        read, ids, use = read_given(self.schema, self.model.variables, rows, id_column)
        n = read.X.shape[0]
        place = {int(row): k for k, row in enumerate(use)}
        X = read.X[use]
        effect = self.model.effect(X) if use.size else np.empty(0)
        limits = self.model.effect_interval(X, level) if use.size else None
        outcomes = self.model.outcomes(X) if use.size else np.empty((0, 2))
        treat = self.model.above_limit(X) if use.size else np.empty(0, dtype=bool)
        found = []
        for i in range(n):
            k = place.get(i)
            warned = tuple({"code": c, "column": v, "reason": why} for c, v, why in read.warnings.get(i, []))
            if k is None or not np.isfinite(effect[k]):
                problems = read.refusals.get(i) or [("NO_PREDICTION", "", "the model has no answer for these inputs")]
                reason = "; ".join(why for _, _, why in problems)
                found.append(PredictedEffect(row=i + 1, id=ids[i], code=problems[0][0], reason=reason, warnings=warned))
                continue
            found.append(
                PredictedEffect(
                    row=i + 1,
                    id=ids[i],
                    effect=float(effect[k]),
                    lower=None if limits is None else float(limits[0][k]),
                    upper=None if limits is None else float(limits[1][k]),
                    control=float(outcomes[k, 0]),
                    active=float(outcomes[k, 1]),
                    above_limit=bool(treat[k]),
                    warnings=(*warned, *self._doubt()),
                )
            )
        return found

    def _doubt(self) -> tuple[dict[str, str], ...]:
        """Return the warning that effects were not shown to differ, where the study did not show it."""
        if self.model.evidence == "evidence":
            return ()
        average = self.model.average
        reason = (
            "the study did not show that effects differ between patients: the average effect "
            f"{average['value']:.3g} ({average['lower']:.3g} to {average['upper']:.3g}) stands for everyone"
        )
        return ({"code": UNCERTAIN, "column": "", "reason": reason},)


def effect_table(rows: Sequence[PredictedEffect]) -> dict[str, list[Any]]:
    """Return predicted effects as columns, ready for a CSV file.

    Examples
    --------
    >>> effect_table([PredictedEffect(row=1, effect=-0.05, control=0.2, active=0.15)])["active"]
    [0.15]
    """
    out: dict[str, list[Any]] = {"row": [r.row for r in rows]}
    if any(r.id is not None for r in rows):
        out["id"] = [r.id for r in rows]
    for name in ("effect", "lower", "upper", "control", "active", "above_limit", "code", "reason"):
        out[name] = [getattr(r, name) for r in rows]
    out["warnings"] = ["; ".join(w["reason"] for w in r.warnings) or None for r in rows]
    return out
