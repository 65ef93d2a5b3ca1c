"""Comparators: no effect for anybody, and the same effect for everyone; every model of effects stands beside them."""

from __future__ import annotations

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray
from aimed.metrics.result import clustered_variance
from aimed.treatment.final_stage import FinalStageLearner
from aimed.treatment.learner import EffectLearner, Parts, Rows

__all__ = ["ConstantEffect", "ZeroEffect"]


class ZeroEffect(EffectLearner):
    """No effect for anybody; a belief, not an estimate, so it has no interval.

    Examples
    --------
    >>> ZeroEffect().fit([1, 2, 3, 4], [0, 1, 0, 1], X=np.zeros((4, 1))).effect(np.zeros((2, 1))).tolist()
    [0.0, 0.0]
    """

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        return {"value": 0.0}, "the zero effect is a comparator, not an estimate"

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        return np.zeros(len(X))

    def _errors(self, X: FloatArray) -> FloatArray:
        raise NotEstimableError(self.interval_method_, "a learner that estimates effects", "ask the constant_effect")

    def _error_of_mean(self, X: FloatArray) -> float:
        raise NotEstimableError(self.interval_method_, "a learner that estimates effects", "ask the constant_effect")


class ConstantEffect(FinalStageLearner):
    """The doubly robust average effect, for everyone; its interval is that of the average.

    Parameters
    ----------
    outcome_model, propensity_model : str or scikit-learn estimator
        Of the nuisances, where none are given to `fit`.
    folds : int
    random_state : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> T = rng.integers(0, 2, 200)
    >>> X = rng.normal(size=(200, 1))
    >>> ConstantEffect().fit(2.0 * T + X[:, 0], T, X=X, propensity=0.5).effect(X[:2]).round(1).tolist()
    [2.0, 2.0]
    """

    def __init__(
        self,
        outcome_model: object = "linear",
        propensity_model: object = "linear",
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.folds = folds
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        scores = self._nuisances(rows).scores(rows.y, rows.arm)
        value = float(scores.mean())
        error = float(np.sqrt(clustered_variance((scores - value) / scores.size, rows.codes)))
        return {"value": value, "error": error}, "influence values of the doubly robust average"

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        return np.full(len(X), parts["value"])

    def _errors(self, X: FloatArray) -> FloatArray:
        return np.full(len(X), self.parts_["error"])

    def _error_of_mean(self, X: FloatArray) -> float:
        return float(self.parts_["error"])
