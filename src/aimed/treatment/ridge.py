"""Ridge regression whose penalty is chosen by generalised cross-validation, from one decomposition of the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["RidgeByValidation", "chosen_penalty"]

FloatArray = NDArray[np.float64]


class RidgeByValidation(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression on standardised columns; as scikit-learn's RidgeCV after a StandardScaler, several times faster.

    Attributes
    ----------
    coef_ : float array, shape (p,)
        Of the columns as they are.
    intercept_ : float
    penalty_ : float
        Of the standardised columns.
    n_features_in_ : int

    References
    ----------
    Golub, Heath and Wahba, Technometrics 1979;21:215.

    Examples
    --------
    >>> X = np.arange(6.0)[:, None]
    >>> RidgeByValidation().fit(X, 1 + 2 * X[:, 0]).predict([[10.0]]).round(2)
    array([21.])
    """

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> RidgeByValidation:
        """Choose the penalty and fit.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : float array, shape (n,)
        sample_weight : float array, shape (n,), optional
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        w = w / w.mean()
        mean, middle = np.average(X, axis=0, weights=w), float(np.average(y, weights=w))
        Z, r = X - mean, y - middle
        spread = np.sqrt((w @ (Z * Z)) / len(y))
        scale = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
        Z /= scale
        if sample_weight is not None:
            Z *= np.sqrt(w)[:, None]
            r = r * np.sqrt(w)
        self.penalty_, b, strength, V, _ = chosen_penalty(Z, r, float(len(y)))
        self.coef_ = (V @ (b / (strength + self.penalty_))) / scale
        self.intercept_ = middle - float(mean @ self.coef_)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the expected outcome of each row, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_ + self.intercept_)


def chosen_penalty(
    R: FloatArray, r: FloatArray, size: float
) -> tuple[float, FloatArray, FloatArray, FloatArray, float]:
    """Return the penalty of least generalised error for a target on columns, both free of the intercept.

    Parameters
    ----------
    R : float array, shape (n, p)
    r : float array, shape (n,)
    size : float
        Sum of squares of the intercept's column: the penalties tried lie from 1e-4 to 100 times it.

    Returns
    -------
    penalty : float
    b, strength : float array, shape (p,)
        Target and squared length along each axis; the coefficients are ``axes @ (b / (strength + penalty))``.
    axes : float array, shape (p, p)
    freedom : float
        Degrees of freedom used up, the intercept's among them.
    """
    n = len(r)
    strength, V = linalg.eigh(R.T @ R)
    strength = np.maximum(strength, 0.0)
    b = V.T @ (R.T @ r)
    grid = size * np.logspace(-4, 2, 31)
    shrunk = b / (strength + grid[:, None])
    rss = float(r @ r) - 2 * shrunk @ b + (shrunk**2) @ strength
    freedom = 1 + (strength / (strength + grid[:, None])).sum(axis=1)
    best = int(np.argmin(rss / np.maximum(n - freedom, 1.0) ** 2))
    return float(grid[best]), b, strength, V, float(freedom[best])
