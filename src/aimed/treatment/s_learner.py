"""The S-learner: one outcome model that takes the treatment as an input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.arrays import FloatArray
from aimed.treatment.base_learners import BaseLearner, fit_model, outcome_model, predict_mean
from aimed.treatment.learner import EffectLearner, Parts, Rows

__all__ = ["SLearner"]


class SLearner(EffectLearner):
    """One model of the outcome from X and T; the effect is the difference of its two predictions.

    It shrinks effects towards 0, and with a linear base learner everybody has the same one.

    Parameters
    ----------
    base_learner : str or scikit-learn estimator
        See `aimed.treatment.base_learners.BASE_LEARNERS`; a classifier where Y is 0/1.
    n_bootstraps : int
        Refits on half-samples of patients, for intervals; 0 for none.
    random_state : int

    References
    ----------
    Künzel et al., PNAS 2019;116:4156.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(200, 1)), rng.integers(0, 2, 200)
    >>> SLearner("linear", n_bootstraps=0).fit(X[:, 0] + 2.0 * T, T, X=X).effect(X[:2]).round(1).tolist()
    [2.0, 2.0]
    """

    accepts_w = False

    def __init__(
        self, base_learner: BaseLearner = "gradient_boosting", n_bootstraps: int = 50, random_state: int = 0
    ) -> None:
        self.base_learner = base_learner
        self.n_bootstraps = n_bootstraps
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        columns = np.column_stack([rows.X, rows.arm])

        def pieces(drawn: NDArray[np.bool_] | slice, number: int = 0) -> Parts:
            model = outcome_model(self.base_learner, rows.binary, self.random_state)
            return {"outcome": fit_model(model, columns[drawn], rows.y[drawn])}

        return pieces(slice(None)), self._refit(rows, pieces)

    def counterfactuals(self, X: FloatArray) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2)."""
        return self._outcomes(self.parts_, self._new(X))

    def _outcomes(self, parts: Parts, X: FloatArray) -> FloatArray:
        twice = np.column_stack([np.vstack([X, X]), np.repeat([0.0, 1.0], len(X))])
        return predict_mean(parts["outcome"], twice, self.binary_).reshape(2, len(X)).T

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        outcomes = self._outcomes(parts, X)
        return outcomes[:, 1] - outcomes[:, 0]
