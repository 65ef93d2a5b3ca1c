"""Predicting with a packaged model: every row gets a risk with its reasons, or a code that says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.schema import Schema, read_given
from aimed.bundle.sealed import Sealed
from aimed.core import BundleError
from aimed.fit.adapter import StudyModel

__all__ = ["Bundle", "PredictedRow", "table"]

_TOP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRow:
    """What the model says of one row.

    Parameters
    ----------
    row : int
        From 1, in the order given.
    id : str, optional
    risk : tuple of float, optional
        One probability, or one a horizon; None for a refused row, never a default.
    lower, upper : tuple of float, optional
        Interval of the risk, where the model offers one. It holds the uncertainty of the fitted weights only.
    score : float, optional
        What ranks patients.
    code, reason : str, optional
        Why the row was refused; see `aimed.bundle.schema.CODES`. Never the value itself.
    warnings : tuple of dict
        ``{"code", "column", "reason"}``.
    reasons : tuple of dict
        For linear models the three inputs that move the log odds or log hazard most, compared with an average
        training row: ``{"variable", "label", "contribution"}``.
    survival : tuple of float, optional
        The chance of being free of the event at the bundle's times, when asked for.
    """

    row: int
    id: str | None = None
    risk: tuple[float, ...] | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    score: float | None = None
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()
    reasons: tuple[dict[str, Any], ...] = ()
    survival: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def answers(self) -> dict[str, Any]:
        """Return the numbers that must be the same whenever the row is asked again."""
        return {"risk": None if self.risk is None else list(self.risk), "score": self.score}


class Bundle(Sealed):
    """A verified model, ready to predict.

    Parameters
    ----------
    model : StudyModel, fitted
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
        self, model: StudyModel, schema: Schema, manifest: Mapping[str, Any], members: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(manifest, members)
        self.model, self.schema = model, schema
        outcome = manifest["outcome"]
        survival = model.recipe.task != "binary"
        self.horizons = tuple(float(h) for h in outcome["horizons"] or ()) if survival else ()
        self.times = tuple(float(t) for t in outcome["times"] or ())
        asked = [(one.name, one.kind) for one in schema.inputs]
        if asked != [(v.name, v.kind) for v in model.variables]:
            raise BundleError("schema and model do not take the same inputs", "one schema input a predictor")
        for one, variable in zip(schema.inputs, model.variables, strict=True):
            if not set(one.categories) <= set(variable.categories):
                raise BundleError(f"input '{one.name}' lists categories the model does not know", "the model's levels")
        if survival and not self.horizons:
            raise BundleError("a survival model without horizons", "at least one horizon", "give pack(horizons=[...])")

    def predict(self, rows: Any, id_column: str | None = None, curves: bool = False) -> list[PredictedRow]:
        """Predict every row that the model may be used for.

        Parameters
        ----------
        rows : mapping of columns, sequence of row mappings, or data frame
            Raw values, as a CSV file holds them; columns that are no inputs are not looked at.
        id_column : str, optional
            Column to carry over as the id.
        curves : bool
            Whether to add the survival curve at the bundle's times.

        Returns
        -------
        list of PredictedRow

        Raises
        ------
        DataError
            If the column of an input, or the id column, is absent.
        """
        read, ids, use = read_given(self.schema, self.model.variables, rows, id_column)
        n = read.X.shape[0]
        risk, score, lower, upper, survival = self._risks(read.X[use], curves)
        contributions = self._contributions(read.X[use])
        out: list[PredictedRow] = []
        place = {int(row): k for k, row in enumerate(use)}
        for i in range(n):
            k = place.get(i)
            warned = tuple({"code": c, "column": v, "reason": why} for c, v, why in read.warnings.get(i, []))
            if k is None or not np.isfinite(risk[k]).all():
                problems = read.refusals.get(i) or [("NO_PREDICTION", "", "the model has no answer for these inputs")]
                reason = "; ".join(why for _, _, why in problems)
                out.append(PredictedRow(row=i + 1, id=ids[i], code=problems[0][0], reason=reason, warnings=warned))
                continue
            out.append(
                PredictedRow(
                    row=i + 1,
                    id=ids[i],
                    risk=tuple(risk[k].tolist()),
                    lower=None if lower is None else tuple(lower[k].tolist()),
                    upper=None if upper is None else tuple(upper[k].tolist()),
                    score=float(score[k]),
                    warnings=warned,
                    reasons=tuple(contributions[k]) if contributions else (),
                    survival=None if survival is None else tuple(survival[k].tolist()),
                )
            )
        return out

    def _risks(self, X: NDArray[np.float64], curves: bool) -> tuple[Any, Any, Any, Any, Any]:
        width = len(self.horizons) or 1
        if not X.shape[0]:
            return np.empty((0, width)), np.empty(0), None, None, None
        model = self.model
        survival = None
        if model.recipe.task == "binary":
            risk = model.risk(X)
        else:
            risk = model.risk(X, self.horizons)
            if curves and self.times:
                survival = model.survival(X, self.times)
        lower, upper = self._interval(X, width)
        return risk, model.score(X), lower, upper, survival

    def _interval(self, X: NDArray[np.float64], width: int) -> tuple[Any, Any]:
        """Ask the estimator for an interval of its risk, and send both ends through the calibration.

        NaN for rows that still have missing values after the preparation: they get no risk either.
        """
        offer = getattr(self.model.estimator, "risk_interval", None)
        if offer is None:
            return None, None
        limits = np.full((2, X.shape[0], width), np.nan)
        answered = False
        for rows, Z in self.model.inputs(X):
            found = offer(Z, times=self.horizons) if self.horizons else offer(Z)
            if found is None:
                return None, None
            ends = [np.asarray(end, dtype=np.float64).reshape(-1, width) for end in found]
            if self.model.calibrator is not None:
                ends = [self.model.calibrator.transform(end[:, 0])[:, None] for end in ends]
            limits[:, rows] = ends
            answered = True
        return (limits[0], limits[1]) if answered else (None, None)

    def _contributions(self, X: NDArray[np.float64]) -> list[list[dict[str, Any]]]:
        """Return the inputs that move the linear predictor most, terms of one input added up."""
        model = self.model
        weights = getattr(model.estimator, "coef_", None)
        names = model.preparation.feature_names_out_
        means = self.schema.means
        if model.recipe.ranks_hazard and model.recipe.task == "competing":
            return []
        if model.recipe.family != "linear" or weights is None or not all(name in means for name in names):
            return []
        beta = np.asarray(weights, dtype=np.float64).ravel()
        parts = beta * (model.preparation.transform(X) - np.array([means[name] for name in names]))
        variables = [v.name for v in model.variables]
        position = {name: j for j, name in enumerate(variables)}
        sums = np.zeros((X.shape[0], len(variables)))
        for part, origin in zip(parts.T, model.preparation.feature_origin_, strict=True):
            sums[:, position[origin]] += part
        order = np.argsort(-np.abs(sums), axis=1, kind="stable")[:, :_TOP]
        return [
            [
                {
                    "variable": variables[j],
                    "label": model.variables[j].label or variables[j],
                    "contribution": float(sums[i, j]),
                }
                for j in row
                if sums[i, j] != 0.0
            ]
            for i, row in enumerate(order.tolist())
        ]


def table(rows: Sequence[PredictedRow], horizons: Sequence[float] = ()) -> dict[str, list[Any]]:
    """Return predictions as columns, ready for a CSV file.

    Parameters
    ----------
    rows : sequence of PredictedRow
    horizons : sequence of float
        The bundle's; names the risk columns ``risk@365``.

    Examples
    --------
    >>> table([PredictedRow(row=1, risk=(0.25,), score=0.25)])["risk"]
    [0.25]
    """
    out: dict[str, list[Any]] = {"row": [r.row for r in rows]}
    if any(r.id is not None for r in rows):
        out["id"] = [r.id for r in rows]
    for name in ("risk", "lower", "upper"):
        values = [getattr(r, name) for r in rows]
        for k, suffix in enumerate([f"@{h:g}" for h in horizons] or [""]):
            out[name + suffix] = [None if v is None else v[k] for v in values]
    out["score"] = [r.score for r in rows]
    out["code"] = [r.code for r in rows]
    out["reason"] = [r.reason for r in rows]
    out["warnings"] = ["; ".join(w["reason"] for w in r.warnings) or None for r in rows]
    out["main_reasons"] = ["; ".join(f"{w['label']} {w['contribution']:+.3g}" for w in r.reasons) or None for r in rows]
    return out
