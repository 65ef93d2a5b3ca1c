"""Fitted pieces of learners: linear effects and regressions with treatment terms, each with robust errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import linalg
from scipy.special import expit

from aimed.core.errors import NotEstimableError
from aimed.core.packed_arrays import packed, unpacked
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.result import patient_sums
from aimed.treatment.ridge import chosen_penalty

__all__ = [
    "PIECES",
    "Knots",
    "LinearEffect",
    "Scale",
    "TreatmentRegression",
    "penalised_coefficients",
    "robust_covariance",
]


@dataclass(frozen=True, slots=True, eq=False)
class LinearEffect:
    """An effect that is a straight line of each column: coefficients on standardised columns, and their covariance.

    Parameters
    ----------
    scale : Scale
        Of the columns.
    coef : float array, shape (p + 1,)
        Intercept first.
    covariance : float array, shape (p + 1, p + 1)
    penalty : float
        Ridge penalty on all but the intercept.
    """

    scale: Scale
    coef: FloatArray
    covariance: FloatArray
    penalty: float

    @classmethod
    def fit(
        cls, X: FloatArray, target: FloatArray, by: FloatArray | None = None, codes: IntArray | None = None
    ) -> Self:
        """Regress a target on ``by`` times a line of X, its ridge penalty chosen by generalised cross-validation.

        Parameters
        ----------
        X : float array, shape (n, p)
        target : float array, shape (n,)
        by : float array, shape (n,), optional
            What multiplies every column, such as the residual of treatment; ones when absent.
        codes : int array, shape (n,), optional
            Patients, for the sandwich.

        Notes
        -----
        Assumes: patients enough to choose the penalty, which errors take as right. With few of them effects that differ
        little are shrunk to one, and intervals of single patients are too short: 150 patients, four columns and effects
        of standard deviation 0.4 under noise of 1 gave 81 % of patients in their 95 % intervals, 400 patients 91 %.

        Examples
        --------
        >>> X = np.random.default_rng(0).normal(size=(50, 1))
        >>> LinearEffect.fit(X, 1 + 2 * X[:, 0]).effect(np.zeros((1, 1))).round(2)
        array([1.])
        """
        n, p = X.shape
        scale = Scale.of(X)
        D = scale.terms(X)
        z = np.ones(n) if by is None else by
        D *= z[:, None]
        size = float(z @ z)
        R = D[:, 1:] - np.outer(z, (z @ D[:, 1:]) / size)
        r = target - z * (float(z @ target) / size)
        chosen, *_, freedom = chosen_penalty(R, r, size)
        penalty = np.concatenate([[0.0], np.full(p, chosen)])
        A = D.T @ D + np.diag(penalty)
        coef = linalg.solve(A, D.T @ target, assume_a="pos")
        rest = target - D @ coef
        covariance = robust_covariance(D * rest[:, None], A, codes, freedom)
        # What the penalty hides is as large as the prior that it stands for says: variance sigma^2 / penalty.
        sigma2 = float(rest @ rest) / max(n - freedom, 1.0)
        inverse = linalg.inv(A)
        covariance += sigma2 * (inverse * penalty) @ inverse
        return cls(scale, coef, covariance, chosen)

    def effect(self, X: FloatArray) -> FloatArray:
        """Return the effect of each row, shape (n,)."""
        return np.asarray(self.scale.terms(X) @ self.coef)

    def error(self, X: FloatArray) -> FloatArray:
        """Return the standard error of each row's effect, shape (n,)."""
        return _errors(self.scale.terms(X), self.covariance)

    def error_of_mean(self, X: FloatArray) -> float:
        """Return the standard error of the mean effect over the rows of X."""
        return float(_errors(self.scale.terms(X).mean(axis=0)[None], self.covariance)[0])

    def to_state(self) -> dict[str, Any]:
        """Return it as JSON types."""
        arrays = {name: packed(getattr(self, name)) for name in ("coef", "covariance")}
        return {"kind": "linear_effect", "penalty": self.penalty, "scale": self.scale.to_state(), **arrays}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_state` wrote down."""
        coef, covariance = (unpacked(state[name]) for name in ("coef", "covariance"))
        return cls(Scale.from_state(state["scale"]), coef, covariance, float(state["penalty"]))


@dataclass(frozen=True, slots=True, eq=False)
class TreatmentRegression:
    """A linear or logistic regression whose terms are some without and some with treatment.

    The linear predictor is ``main @ a`` untreated and ``main @ a + extra @ c`` treated; the effect is the difference
    of expected outcomes, absolute risks where the outcome is 0/1.

    Parameters
    ----------
    logistic : bool
    coef : float array, shape (k + j,)
        ``a``, then ``c``.
    covariance : float array, shape (k + j, k + j)
    """

    logistic: bool
    coef: FloatArray
    covariance: FloatArray

    @classmethod
    def fit(
        cls,
        main: FloatArray,
        extra: FloatArray,
        arm: FloatArray,
        y: FloatArray,
        *,
        logistic: bool,
        ridge: FloatArray | None = None,
        lasso: FloatArray | None = None,
        codes: IntArray | None = None,
    ) -> Self:
        """Fit the regression.

        Parameters
        ----------
        main : float array, shape (n, k)
            Terms without treatment, the intercept among them.
        extra : float array, shape (n, j)
            Terms that treatment multiplies, ones among them.
        arm : float array, shape (n,)
            1 treated, 0 not.
        y : float array, shape (n,)
        logistic : bool
        ridge, lasso : float array, shape (k + j,), optional
            Penalty of each coefficient: half its square, its absolute value.
        codes : int array, shape (n,), optional
            Patients, for the sandwich.

        Raises
        ------
        NotEstimableError
            If the search does not settle, as where a term splits the outcome without a penalty.
        """
        D = np.column_stack([main, extra * arm[:, None]])
        ridge = np.zeros(D.shape[1]) if ridge is None else ridge
        coef = penalised_coefficients(D, y, logistic, ridge, lasso)
        eta = D @ coef
        fitted = expit(eta) if logistic else eta
        H = (D * (fitted * (1 - fitted))[:, None]).T @ D if logistic else D.T @ D
        A = H + np.diag(ridge + 1e-10 * np.trace(H) / len(H))
        rest = y - fitted
        freedom = float(np.trace(linalg.solve(A, H, assume_a="pos")))
        covariance = robust_covariance(D * rest[:, None], A, codes, freedom)
        inverse = linalg.inv(A)
        noise = 1.0 if logistic else float(rest @ rest) / max(len(y) - freedom, 1.0)
        covariance += noise * (inverse * ridge) @ inverse
        return cls(logistic, coef, covariance)

    def _parts(self, main: FloatArray, extra: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return outcomes under either arm and the slopes of the effect along the coefficients."""
        k = main.shape[1]
        before = main @ self.coef[:k]
        after = before + extra @ self.coef[k:]
        if not self.logistic:
            return before, after, np.column_stack([np.zeros_like(main), extra])
        before, after = expit(before), expit(after)
        steep0, steep1 = before * (1 - before), after * (1 - after)
        return before, after, np.column_stack([(steep1 - steep0)[:, None] * main, steep1[:, None] * extra])

    def outcomes(self, main: FloatArray, extra: FloatArray) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2)."""
        return np.column_stack(self._parts(main, extra)[:2])

    def effect(self, main: FloatArray, extra: FloatArray) -> FloatArray:
        """Return the effect of each row, shape (n,)."""
        before, after, _ = self._parts(main, extra)
        return np.asarray(after - before)

    def error(self, main: FloatArray, extra: FloatArray) -> FloatArray:
        """Return the standard error of each row's effect by the delta method, shape (n,)."""
        return _errors(self._parts(main, extra)[2], self.covariance)

    def error_of_mean(self, main: FloatArray, extra: FloatArray) -> float:
        """Return the standard error of the mean effect over the rows."""
        return float(_errors(self._parts(main, extra)[2].mean(axis=0)[None], self.covariance)[0])

    def to_state(self) -> dict[str, Any]:
        """Return it as JSON types."""
        arrays = {"coef": packed(self.coef), "covariance": packed(self.covariance)}
        return {"kind": "treatment_regression", "logistic": self.logistic, **arrays}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_state` wrote down."""
        return cls(bool(state["logistic"]), unpacked(state["coef"]), unpacked(state["covariance"]))


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation of columns, with which they become terms of a regression."""

    mean: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, X: FloatArray) -> Self:
        """Return the scale of X; a constant column keeps its own.

        Examples
        --------
        >>> Scale.of(np.array([[1.0, 5.0], [3.0, 5.0]])).terms(np.array([[3.0, 6.0]])).tolist()
        [[1.0, 1.0, 1.0]]
        """
        spread = X.std(axis=0)
        return cls(X.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def terms(self, X: FloatArray) -> FloatArray:
        """Return ones and the standardised columns, shape (n, p + 1)."""
        return np.column_stack([np.ones(len(X)), (X - self.mean) / self.spread])

    def to_state(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"kind": "scale", "mean": packed(self.mean), "spread": packed(self.spread)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_state` wrote down."""
        return cls(unpacked(state["mean"]), unpacked(state["spread"]))


@dataclass(frozen=True, slots=True, eq=False)
class Knots:
    """Knots of a curve; none for a straight line."""

    values: FloatArray

    def to_state(self) -> dict[str, Any]:
        """Return them as JSON types."""
        return {"kind": "knots", "values": packed(self.values)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_state` wrote down."""
        return cls(unpacked(state["values"]))


PIECES: dict[str, Any] = {
    "knots": Knots,
    "linear_effect": LinearEffect,
    "scale": Scale,
    "treatment_regression": TreatmentRegression,
}
"""Pieces by the kind under which a state names them."""


def robust_covariance(scores: FloatArray, A: FloatArray, codes: IntArray | None, freedom: float) -> FloatArray:
    """Return the sandwich covariance of coefficients, clustered by patient.

    Parameters
    ----------
    scores : float array, shape (n, q)
        Each row's slope of the loss.
    A : float array, shape (q, q)
        Second derivative of the loss, with the penalty.
    codes : int array, shape (n,), optional
        Number of each row's patient.
    freedom : float
        Degrees of freedom that the fit used up.
    """
    sums = patient_sums(scores, codes)
    units = len(sums)
    half = linalg.solve(A, sums.T, assume_a="pos")
    return np.asarray(half @ half.T * (units / max(units - freedom, 1.0)))


def _errors(design: FloatArray, covariance: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.maximum(((design @ covariance) * design).sum(axis=1), 0.0)))


def penalised_coefficients(
    D: FloatArray,
    y: FloatArray,
    logistic: bool,
    ridge: FloatArray,
    lasso: FloatArray | None = None,
    start: FloatArray | None = None,
) -> FloatArray:
    """Return coefficients that minimise half the squared error, or the logistic loss, plus the penalties.

    Parameters
    ----------
    D : float array, shape (n, q)
    y : float array, shape (n,)
    logistic : bool
    ridge, lasso : float array, shape (q,)
    start : float array, shape (q,), optional

    Raises
    ------
    NotEstimableError
        If Newton steps do not settle.

    Examples
    --------
    >>> D = np.column_stack([np.ones(4), [0.0, 0.0, 1.0, 1.0]])
    >>> y = np.array([1.0, 2.0, 4.0, 5.0])
    >>> penalised_coefficients(D, y, False, np.zeros(2)).round(3).tolist()
    [1.5, 3.0]
    >>> penalised_coefficients(D, y, False, np.zeros(2), np.array([0.0, 1.0])).round(3).tolist()
    [2.0, 2.0]
    """
    q = D.shape[1]
    coef = np.zeros(q) if start is None else start.copy()
    if not logistic:
        return _quadratic(D.T @ D + np.diag(ridge), D.T @ y, lasso, coef)
    loss = _loss(D, y, coef, ridge, lasso)
    for _ in range(100):
        p = expit(D @ coef)
        H = (D * (p * (1 - p))[:, None]).T @ D + np.diag(ridge)
        gradient = D.T @ (y - p) - ridge * coef
        step = _quadratic(H, gradient + H @ coef, lasso, coef) - coef
        for _halving in range(30):
            new = _loss(D, y, coef + step, ridge, lasso)
            if new <= loss + 1e-12 * abs(loss):
                break
            step /= 2
        coef = coef + step
        if np.abs(step).max() < 1e-8 * (1 + np.abs(coef).max()):
            return coef
        loss = new
    raise NotEstimableError(
        "the logistic regression does not settle: some combination of columns tells the outcomes apart",
        "outcomes of both kinds among like patients of both arms",
        "use a penalty, or fewer columns",
    )


def _loss(D: FloatArray, y: FloatArray, coef: FloatArray, ridge: FloatArray, lasso: FloatArray | None) -> float:
    eta = D @ coef
    penalty = 0.5 * float((ridge * coef) @ coef) + (0.0 if lasso is None else float(lasso @ np.abs(coef)))
    return float(np.logaddexp(0.0, eta).sum() - y @ eta) + penalty


def _quadratic(H: FloatArray, b: FloatArray, lasso: FloatArray | None, start: FloatArray) -> FloatArray:
    """Minimise half x'Hx - b'x + lasso |x|, by coordinates where there is a lasso."""
    # A column that adds nothing to the others keeps a finite coefficient.
    H = H + np.diag(np.full(len(H), 1e-10 * max(float(np.trace(H)) / len(H), 1e-300)))
    if lasso is None:
        return np.asarray(linalg.solve(H, b, assume_a="pos"))
    x = start.copy()
    left = b - H @ x
    diagonal = np.diag(H)
    for _ in range(1000):
        moved = 0.0
        for j in range(len(x)):
            raw = left[j] + diagonal[j] * x[j]
            new = np.sign(raw) * max(abs(raw) - lasso[j], 0.0) / diagonal[j]
            step = new - x[j]
            if step:
                x[j] = new
                left -= H[:, j] * step
                moved = max(moved, abs(step))
        if moved <= 1e-9 * (1 + np.abs(x).max()):
            break
    return x
