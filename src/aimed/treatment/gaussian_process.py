"""Gaussian process regression with a linear and a smooth part: small trials, curved outcomes, and honest intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aimed.treatment.base_learners import one_thread

__all__ = ["GaussianProcess"]

FloatArray = NDArray[np.float64]

_BLOCK = 2048
_LOWEST_NOISE = 1e-4


class GaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Bayesian regression whose prior is a sum of straight lines and a smooth surface.

    Parameters
    ----------
    max_learn : int
        Rows, drawn at random, that the strengths, lengths and noise are learned from.
    max_exact : int
        Up to so many rows the posterior is exact. With more, the surface is held at `max_learn` rows drawn at random
        (the projected process), which all rows still inform.
    max_iter : int
        Steps of the search for strengths, lengths and noise.
    random_state : int, RandomState or None
        Draws those rows.

    Attributes
    ----------
    theta_ : float array, shape (p + 3,)
        Logarithms of linear variance, smooth variance, noise variance and each column's length, in units of
        standard deviations.
    log_evidence_ : float
        Log marginal likelihood of the rows that it was learned from, with the prior of theta.
    n_features_in_ : int

    Notes
    -----
    k(x, z) = v_0 + v_l x·z / p + v_s exp(-½ Σ (x_j - z_j)² / l_j²) on standardised columns and outcome. Theta maximises
    the evidence under wide normal priors (lengths around the root of p). Rows with weights w have the noise
    variance / w.

    References
    ----------
    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2, 5 and 8.3.4.

    Examples
    --------
    >>> x = np.linspace(-3, 3, 60)[:, None]
    >>> fitted = GaussianProcess().fit(x, np.sin(2 * x[:, 0]))
    >>> mean, std = fitted.predict([[0.5], [9.0]], return_std=True)
    >>> float(mean[0].round(2)), bool(std[1] > 10 * std[0])
    (0.84, True)
    """

    def __init__(
        self, max_learn: int = 800, max_exact: int = 5000, max_iter: int = 60, random_state: Any = None
    ) -> None:
        self.max_learn = max_learn
        self.max_exact = max_exact
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> GaussianProcess:
        """Learn the prior's strengths and lengths, then the posterior of all rows.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : float array, shape (n,)
        sample_weight : float array, shape (n,), optional
            Precision of each row relative to the others; 0 leaves a row out.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        with one_thread():
            return self._fit(X, y, sample_weight)

    def _fit(self, X: FloatArray, y: FloatArray, sample_weight: ArrayLike | None) -> GaussianProcess:
        w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        keep = w > 0
        X, y, w = X[keep], y[keep], w[keep] / w[keep].mean()
        self.x_mean_, spread = X.mean(axis=0), X.std(axis=0)
        self.x_scale_ = np.where(spread > 0, spread, 1.0)
        self.y_mean_, self.y_scale_ = float(np.average(y, weights=w)), float(y.std()) or 1.0
        Z, target = (X - self.x_mean_) / self.x_scale_, (y - self.y_mean_) / self.y_scale_
        rng = check_random_state(self.random_state)
        order = rng.permutation(len(target))
        few = np.sort(order[: self.max_learn])
        self.theta_, self.log_evidence_ = self._learn(Z[few], target[few], w[few])
        noise = np.exp(self.theta_[2]) / w
        if len(target) <= self.max_exact:
            self.points_ = Z
            K = self._kernel(Z, Z)
            K[np.diag_indices_from(K)] += noise
            self.factor_ = linalg.cholesky(K, lower=True, overwrite_a=True, check_finite=False)
            self.inner_ = None
            self.alpha_ = linalg.cho_solve((self.factor_, True), target, check_finite=False)
            return self
        # With q inducing points u: Q = K_uu + K_uf S^-1 K_fu, mean k_u Q^-1 K_uf S^-1 y.
        self.points_ = Z[few]
        K = self._kernel(self.points_, self.points_)
        K[np.diag_indices_from(K)] += 1e-6
        inner, right = K.copy(), np.zeros(len(K))
        for start in range(0, len(target), _BLOCK):
            rows = slice(start, start + _BLOCK)
            cross = self._kernel(Z[rows], self.points_)
            inner += (cross / noise[rows, None]).T @ cross
            right += cross.T @ (target[rows] / noise[rows])
        self.factor_ = linalg.cholesky(K, lower=True, check_finite=False)
        self.inner_ = linalg.cholesky(inner, lower=True, check_finite=False)
        self.alpha_ = linalg.cho_solve((self.inner_, True), right, check_finite=False)
        return self

    def _kernel(self, A: FloatArray, B: FloatArray, theta: FloatArray | None = None) -> FloatArray:
        theta = self.theta_ if theta is None else theta
        linear, smooth = np.exp(theta[0]), np.exp(theta[1])
        return np.asarray(1.0 + linear / A.shape[1] * (A @ B.T) + smooth * _bells(A, B, theta[3:]))

    def _learn(self, Z: FloatArray, y: FloatArray, w: FloatArray) -> tuple[FloatArray, float]:
        n, p = Z.shape
        gram = Z @ Z.T / p
        middle = np.concatenate([[0.0, 0.0, np.log(0.3)], np.full(p, 0.5 * np.log(p) + 0.5)])
        width = np.concatenate([[1.5, 1.5, 1.5], np.full(p, 1.0)])
        lowest = np.concatenate([[-9.0, -9.0, np.log(_LOWEST_NOISE)], np.full(p, -2.0)])
        highest = np.concatenate([[9.0, 6.0, 3.0], np.full(p, 6.0)])

        def loss(theta: FloatArray) -> tuple[float, FloatArray]:
            linear, smooth, noise = np.exp(theta[:3])
            bells = _bells(Z, Z, theta[3:])
            K = 1.0 + linear * gram + smooth * bells
            K[np.diag_indices(n)] += noise / w
            try:
                L = linalg.cholesky(K, lower=True, overwrite_a=True, check_finite=False)
            except linalg.LinAlgError:
                return 1e12, np.zeros(theta.size)
            alpha = linalg.cho_solve((L, True), y, check_finite=False)
            inverse, _ = linalg.lapack.dpotri(L, lower=1)
            inverse = np.tril(inverse) + np.tril(inverse, -1).T
            away = (theta - middle) / width
            value = 0.5 * float(y @ alpha) + float(np.log(np.diag(L)).sum()) + 0.5 * float(away @ away)
            M = inverse - np.outer(alpha, alpha)
            A = M * bells
            slope = np.empty(theta.size)
            slope[0] = 0.5 * linear * float((M * gram).sum())
            slope[1] = 0.5 * smooth * float(A.sum())
            slope[2] = 0.5 * noise * float((np.diag(M) / w).sum())
            pull = A.sum(axis=1) @ (Z * Z) - ((A @ Z) * Z).sum(axis=0)
            slope[3:] = smooth * pull * np.exp(-2 * theta[3:])
            return value, slope + away / width

        found = optimize.minimize(
            loss, middle, jac=True, method="L-BFGS-B", bounds=list(zip(lowest, highest, strict=True)),
            options={"maxiter": self.max_iter},
        )  # fmt: skip
        return np.asarray(found.x, dtype=np.float64), -float(found.fun)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the posterior mean of the surface, and with `return_std` its standard deviation, without the noise.

        Parameters
        ----------
        X : float array, shape (n, p)
        return_std : bool

        Returns
        -------
        float array, shape (n,), or two of them
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with one_thread():
            mean, variance = self._posterior((X - self.x_mean_) / self.x_scale_, return_std)
        mean = self.y_mean_ + self.y_scale_ * mean
        return (mean, self.y_scale_ * np.sqrt(np.maximum(variance, 0))) if return_std else mean

    def _posterior(self, Z: FloatArray, spread: bool) -> tuple[FloatArray, FloatArray]:
        mean, variance = np.empty(len(Z)), np.empty(len(Z))
        smooth, linear = np.exp(self.theta_[1]), np.exp(self.theta_[0]) / Z.shape[1]
        for start in range(0, len(Z), _BLOCK):
            rows = slice(start, start + _BLOCK)
            cross = self._kernel(Z[rows], self.points_)
            mean[rows] = cross @ self.alpha_
            if spread:
                prior = 1.0 + linear * (Z[rows] ** 2).sum(axis=1) + smooth
                variance[rows] = prior - self._explained(cross.T)
        return mean, variance

    def _explained(self, cross: FloatArray) -> FloatArray:
        """Return how much of the prior variance the rows take away, for columns of covariances with the points."""
        away = linalg.solve_triangular(self.factor_, cross, lower=True, check_finite=False)
        taken = (away * away).sum(axis=0)
        if self.inner_ is not None:
            left = linalg.solve_triangular(self.inner_, cross, lower=True, check_finite=False)
            taken = taken - (left * left).sum(axis=0)
        return np.asarray(taken)

    def std_of_mean(self, X: Any) -> float:
        """Return the posterior standard deviation of the surface's mean over the rows of X."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with one_thread():
            return self._error_of_mean((X - self.x_mean_) / self.x_scale_)

    def _error_of_mean(self, Z: FloatArray) -> float:
        cross, prior = np.zeros(len(self.points_)), 0.0
        for start in range(0, len(Z), _BLOCK):
            block = Z[start : start + _BLOCK]
            cross += self._kernel(block, self.points_).sum(axis=0)
            for other in range(0, len(Z), _BLOCK):
                prior += float(self._kernel(block, Z[other : other + _BLOCK]).sum())
        n = len(Z)
        left = prior / n**2 - float(self._explained(cross[:, None] / n)[0])
        return float(self.y_scale_ * np.sqrt(max(left, 0.0)))


def _bells(A: FloatArray, B: FloatArray, log_length: FloatArray) -> FloatArray:
    a, b = A * np.exp(-log_length), B * np.exp(-log_length)
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.asarray(np.exp(-0.5 * np.maximum(square, 0, out=square), out=square))
