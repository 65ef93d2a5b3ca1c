"""The one model a study of effects fits: raw modifiers in, effect with interval and outcome in either arm out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, NotEstimableError, Variable
from aimed.fit.prepare import Preparation
from aimed.metrics.arrays import FloatArray
from aimed.treatment import LEARNERS
from aimed.treatment.base_learners import predict_mean

__all__ = ["EffectsModel"]

_BASELINE = "baseline"
_LEARNER = "learner."


class EffectsModel:
    """A learner of individual effects with its preparation, the outcome without treatment and what a benefit is worth.

    Parameters
    ----------
    name, title : str
        Of the learner in `aimed.treatment.LEARNERS`.
    preparation : Preparation, fitted
        From raw modifiers to the X of the learner.
    learner : fitted learner
    baseline : fitted scikit-learn estimator
        Mean of the outcomes with and without treatment, given the prepared modifiers.
    scale : str
        Contrast that effects are differences of, such as ``"risk_difference"``.
    better : {"lower", "higher"}
        Which outcome is the good one.
    horizon : float, optional
        Time by which risks are meant, or to which times are restricted.
    unit : str
        Of effects that are no risks.
    average : mapping
        ``value``, ``lower``, ``upper``, ``n`` and ``level`` of the average effect in the training part.
    policy : mapping
        The preferences of `aimed.treatment.policy.Preferences`, ``budget``, and the ``limit`` of the benefit above
        which the rule treats.
    parameters : mapping
        Of the learner.
    seed, n_fitted : int
    evidence : str
        Whether there is evidence that effects differ between patients: ``"evidence"``, ``"no evidence"`` or
        ``"not enough evidence"``; empty before the test part was opened.

    Notes
    -----
    The effect is E[Y(1) - Y(0)] given the modifiers, on the scale of the outcome. The outcomes with and without
    treatment lie half the effect to either side of their mean, so that an effect on a risk is cut to what leaves both
    risks within 0 and 1.
    """

    def __init__(
        self,
        name: str,
        title: str,
        preparation: Preparation,
        learner: Any,
        baseline: Any,
        *,
        scale: str,
        better: str,
        horizon: float | None,
        unit: str,
        average: Mapping[str, float],
        policy: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        n_fitted: int = 0,
        evidence: str = "",
    ) -> None:
        self.name, self.title = name, title
        self.preparation, self.learner, self.baseline = preparation, learner, baseline
        self.scale, self.better, self.horizon, self.unit = scale, better, horizon, unit
        self.average, self.policy = dict(average), dict(policy)
        self.parameters, self.seed, self.n_fitted = dict(parameters or {}), seed, n_fitted
        self.evidence = evidence

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The raw modifiers, in the order of the columns of X."""
        return tuple(self.preparation.variables)

    @property
    def of_risk(self) -> bool:
        """Whether effects are differences of risks."""
        return self.scale == "risk_difference"

    def prepared(self, X: NDArray[np.float64]) -> FloatArray:
        """Return what the learner sees of raw modifiers, shape (n, f)."""
        return np.asarray(self.preparation.transform(X), dtype=np.float64)

    def effect(self, X: NDArray[np.float64]) -> FloatArray:
        """Return the effect for each row of raw modifiers, shape (n,), cut to what a risk leaves room for."""
        return self._effect(self.prepared(X))

    def _effect(self, Z: FloatArray) -> FloatArray:
        return self.possible(Z, np.asarray(self.learner.effect(Z), dtype=np.float64))

    def possible(self, Z: FloatArray, effect: FloatArray) -> FloatArray:
        """Return effects of prepared rows cut to what a risk leaves room for, shape (n,)."""
        if not self.of_risk:
            return effect
        room = self._room(Z)
        return np.clip(effect, -room, room)

    def _room(self, Z: FloatArray) -> FloatArray:
        """Return the largest effect that leaves both risks within 0 and 1, shape (n,)."""
        middle = predict_mean(self.baseline, Z, binary=True)
        return np.asarray(2.0 * np.minimum(middle, 1.0 - middle), dtype=np.float64)

    def effect_interval(self, X: NDArray[np.float64], level: float = 0.95) -> tuple[FloatArray, FloatArray] | None:
        """Return the interval of each row's effect; None where the learner has none."""
        Z = self.prepared(X)
        try:
            lower, upper = self.learner.effect_interval(Z, alpha=1.0 - level)
        except NotEstimableError:
            return None
        lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        if not self.of_risk:
            return lower, upper
        # The room rests on an estimated mean: cutting limits to it would claim what is not known.
        effect = self._effect(Z)
        return np.minimum(np.clip(lower, -1.0, 1.0), effect), np.maximum(np.clip(upper, -1.0, 1.0), effect)

    def outcomes(self, X: NDArray[np.float64]) -> FloatArray:
        """Return the outcome without and with treatment, shape (n, 2)."""
        Z = self.prepared(X)
        middle = predict_mean(self.baseline, Z, binary=self.of_risk)
        half = self._effect(Z) / 2
        found = np.column_stack([middle - half, middle + half])
        return np.clip(found, 0.0, 1.0) if self.of_risk else found

    def benefit(self, X: NDArray[np.float64]) -> FloatArray:
        """Return what a patient gains by treatment, larger better, burden not yet taken off, shape (n,)."""
        return -self.effect(X) if self.better == "lower" else self.effect(X)

    def above_limit(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whose predicted benefit is above the limit of the study, from which its rule would treat."""
        return np.asarray(self.benefit(X) > float(self.policy.get("limit", self.policy["threshold"])))

    # ------------------------------------------------------------------------------------------------------- storing

    def to_state(self) -> dict[str, Any]:
        """Return everything but the scikit-learn parts in JSON types; see `estimators`."""
        return {
            "name": self.name,
            "title": self.title,
            "learner": self.learner.to_state(),
            "scale": self.scale,
            "better": self.better,
            "horizon": self.horizon,
            "unit": self.unit,
            "average": self.average,
            "policy": self.policy,
            "parameters": self.parameters,
            "seed": self.seed,
            "n_fitted": self.n_fitted,
            "evidence": self.evidence,
        }

    def estimators(self) -> dict[str, Any]:
        """Return the fitted scikit-learn parts by name."""
        parts = {f"{_LEARNER}{name}": part for name, part in self.learner.estimators().items()}
        return {_BASELINE: self.baseline, **parts}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], preparation: Preparation, estimators: Mapping[str, Any]
    ) -> EffectsModel:
        """Rebuild a model from `to_state` and its parts.

        Raises
        ------
        DataError
            If a part is missing.
        """
        if _BASELINE not in estimators:
            raise DataError("the model has no mean outcome", "a model stored by aimed", "pack it again")
        parts = {n.removeprefix(_LEARNER): part for n, part in estimators.items() if n.startswith(_LEARNER)}
        learner = LEARNERS[state["name"]].from_state(state["learner"], parts)
        kept = {k: v for k, v in state.items() if k not in ("name", "title", "learner", "kind", "schema")}
        return cls(state["name"], state["title"], preparation, learner, estimators[_BASELINE], **kept)
