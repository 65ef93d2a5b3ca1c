"""The T-learner: one outcome model an arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.arrays import FloatArray
from aimed.treatment.base_learners import BaseLearner, fit_model, outcome_model, predict_mean
from aimed.treatment.learner import POSTERIOR, EffectLearner, Parts, Rows, knows_its_error

__all__ = ["TLearner"]


class TLearner(EffectLearner):
    """One model of the outcome in each arm; the effect is the difference of their predictions.

    With the base learner ``"gaussian_process"`` intervals are those of the two posteriors, which know nothing of one
    another; with any other, or where patients have several rows, they come from refits on half-samples of patients.

    Parameters
    ----------
    base_learner : str or scikit-learn estimator
        See `aimed.treatment.base_learners.BASE_LEARNERS`; a classifier where Y is 0/1.
    n_bootstraps : int
        Refits on half-samples of patients, for intervals; 0 for none. Not used where they come from posteriors.
    random_state : int

    References
    ----------
    Künzel et al., PNAS 2019;116:4156; Alaa and van der Schaar, NeurIPS 2017 (Gaussian processes).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(200, 1)), rng.integers(0, 2, 200)
    >>> TLearner("linear", n_bootstraps=0).fit(T * X[:, 0], T, X=X).effect([[1.0], [-2.0]]).round(1).tolist()
    [1.0, -2.0]
    """

    accepts_w = False

    def __init__(
        self, base_learner: BaseLearner = "gaussian_process", n_bootstraps: int = 50, random_state: int = 0
    ) -> None:
        self.base_learner = base_learner
        self.n_bootstraps = n_bootstraps
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        def pieces(drawn: NDArray[np.bool_], number: int = 0) -> Parts:
            return {
                name: fit_model(
                    outcome_model(self.base_learner, rows.binary, self.random_state),
                    rows.X[drawn & there],
                    rows.y[drawn & there],
                )
                for name, there in (("untreated", ~rows.arm), ("treated", rows.arm))
            }

        parts = pieces(np.ones(rows.y.size, dtype=bool))
        knows = all(knows_its_error(model) for model in parts.values())
        # A posterior takes rows for independent.
        return parts, POSTERIOR if knows and not rows.repeated else self._refit(rows, pieces)

    def counterfactuals(self, X: FloatArray) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2)."""
        return self._outcomes(self.parts_, self._new(X))

    def _outcomes(self, parts: Parts, X: FloatArray) -> FloatArray:
        return np.column_stack([predict_mean(parts[name], X, self.binary_) for name in ("untreated", "treated")])

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        outcomes = self._outcomes(parts, X)
        return outcomes[:, 1] - outcomes[:, 0]

    def _errors(self, X: FloatArray) -> FloatArray:
        if self.interval_method_ != POSTERIOR:
            return super()._errors(X)
        untreated, treated = (self.parts_[k].predict(X, return_std=True)[1] for k in ("untreated", "treated"))
        return np.asarray(np.hypot(untreated, treated))

    def _error_of_mean(self, X: FloatArray) -> float:
        if self.interval_method_ != POSTERIOR:
            return super()._error_of_mean(X)
        return float(np.hypot(self.parts_["untreated"].std_of_mean(X), self.parts_["treated"].std_of_mean(X)))
