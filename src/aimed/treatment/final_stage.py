"""The final stage of cross-fitted learners: a regression of the effect, with its errors where it knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.arrays import FloatArray
from aimed.treatment.base_learners import BaseLearner, effect_model, fit_model, predict_mean
from aimed.treatment.learner import POSTERIOR, SANDWICH, EffectLearner, Parts, Rows, knows_its_error
from aimed.treatment.nuisances import Nuisances, fit_nuisances
from aimed.treatment.pieces import LinearEffect

__all__ = ["FinalStageLearner"]

Drawn = NDArray[np.bool_] | slice


class FinalStageLearner(EffectLearner):
    """Base of the learners that regress a target made from cross-fitted nuisances; only that is refitted.

    Errors of the nuisances touch the target in second order only, so that they are fitted once, also for intervals.

    Parameters
    ----------
    base_learner : str or scikit-learn estimator
        Of the final stage. ``"linear"`` has analytic errors, ``"gaussian_process"`` those of its posterior; any
        other, or a process where patients have several rows, is refitted on half-samples of patients.
    outcome_model, propensity_model : str or scikit-learn estimator
        Of the nuisances, where none are given to `fit`.
    folds : int
        Of the nuisances.
    n_bootstraps : int
        Refits of the final stage, for intervals; 0 for none.
    random_state : int
    """

    def __init__(
        self,
        base_learner: BaseLearner = "linear",
        outcome_model: BaseLearner = "gradient_boosting",
        propensity_model: BaseLearner = "linear",
        folds: int = 5,
        n_bootstraps: int = 50,
        random_state: int = 0,
    ) -> None:
        self.base_learner = base_learner
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.folds = folds
        self.n_bootstraps = n_bootstraps
        self.random_state = random_state

    def _nuisances(self, rows: Rows) -> Nuisances:
        if rows.nuisances is not None:
            return rows.nuisances
        return fit_nuisances(
            rows.y,
            rows.arm,
            rows.X,
            rows.W,
            outcome_model=self.outcome_model,
            propensity_model=self.propensity_model,
            propensity=rows.chance,
            folds=self.folds,
            patient=rows.codes,
            random_state=self.random_state,
        )

    def _final(
        self, rows: Rows, target: FloatArray, weights: FloatArray | None, linear: Callable[[], LinearEffect]
    ) -> tuple[Parts, str]:
        """Fit the final stage, by the `linear` function where the base learner has that name."""
        if isinstance(self.base_learner, str) and self.base_learner == "linear":
            return {"effect": linear()}, SANDWICH

        def pieces(drawn: Drawn, number: int = 0) -> Parts:
            model: Any = effect_model(self.base_learner, self.random_state)
            return {
                "effect": fit_model(model, rows.X[drawn], target[drawn], None if weights is None else weights[drawn])
            }

        parts = pieces(slice(None))
        knows = knows_its_error(parts["effect"]) and not rows.repeated
        return parts, POSTERIOR if knows else self._refit(rows, pieces)

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        found = parts["effect"]
        return found.effect(X) if isinstance(found, LinearEffect) else predict_mean(found, X)

    def _errors(self, X: FloatArray) -> FloatArray:
        found = self.parts_["effect"]
        if isinstance(found, LinearEffect):
            return found.error(X)
        if self.interval_method_ == POSTERIOR:
            return np.asarray(found.predict(X, return_std=True)[1])
        return super()._errors(X)

    def _error_of_mean(self, X: FloatArray) -> float:
        found = self.parts_["effect"]
        if isinstance(found, LinearEffect):
            return found.error_of_mean(X)
        known = self.interval_method_ == POSTERIOR
        return float(found.std_of_mean(X)) if known else super()._error_of_mean(X)
