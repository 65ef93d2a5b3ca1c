"""AUROC with DeLong's variance, and the paired test of two risks on the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray, binary, vector

__all__ = ["DeLong", "DeLongTest", "delong", "delong_test"]


@dataclass(frozen=True, slots=True)
class DeLong:
    """An AUROC with its variance and normal interval."""

    auroc: float
    variance: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class DeLongTest:
    """Difference of two AUROCs on the same rows, its variance, interval, z and two-sided p."""

    difference: float
    variance: float
    covariance: float
    lower: float
    upper: float
    z: float
    p: float


def _placements(y: FloatArray, risk: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share of the other class ranked below, for each case and each control (Sun and Xu 2014)."""
    cases, controls = risk[y == 1], risk[y == 0]
    if cases.size < 2 or controls.size < 2:
        raise NotEstimableError(
            f"{cases.size} rows with and {controls.size} without the event", "at least 2 of each for a variance"
        )
    both = rankdata(np.r_[cases, controls])
    above = (both[: cases.size] - rankdata(cases)) / controls.size
    below = 1 - (both[cases.size :] - rankdata(controls)) / cases.size
    return above, below


def _covariance(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
    return sum(float((x - x.mean()) @ (z - z.mean())) / ((x.size - 1) * x.size) for x, z in zip(a, b, strict=True))


def delong(y: ArrayLike, risk: ArrayLike, level: float = 0.95) -> DeLong:
    """Return the AUROC with DeLong's variance, in O(n log n).

    Rows are taken as independent: with several rows a patient use the clustered bootstrap.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
    level : float
        Coverage of the normal interval, cut to [0, 1].

    Raises
    ------
    NotEstimableError
        If a class has fewer than 2 rows.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837. Sun and Xu, IEEE Signal Process Lett 2014;21:1389.

    Examples
    --------
    >>> delong([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).auroc
    0.75
    """
    outcome, _ = binary(y)
    parts = _placements(outcome, vector("risk", risk, outcome.size))
    value, variance = float(parts[0].mean()), _covariance(parts, parts)
    half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(variance)
    return DeLong(value, variance, max(0.0, value - half), min(1.0, value + half))


def delong_test(y: ArrayLike, risk_a: ArrayLike, risk_b: ArrayLike, level: float = 0.95) -> DeLongTest:
    """Return the paired comparison AUROC(a) - AUROC(b).

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk_a, risk_b : float arrays, shape (n,)
    level : float

    Raises
    ------
    NotEstimableError
        If a class has fewer than 2 rows, or the two risks rank all rows alike, so that there is no variance.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837.

    Examples
    --------
    >>> round(delong_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [2, 1, 6, 4, 3, 5]).difference, 4)
    0.2222
    """
    outcome, _ = binary(y)
    a = _placements(outcome, vector("risk_a", risk_a, outcome.size))
    b = _placements(outcome, vector("risk_b", risk_b, outcome.size))
    covariance = _covariance(a, b)
    variance = _covariance(a, a) + _covariance(b, b) - 2 * covariance
    if variance <= 1e-16:
        raise NotEstimableError("the two risks rank all rows alike", "risks that differ in at least one pair")
    difference, error = float(a[0].mean() - b[0].mean()), math.sqrt(variance)
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    z = difference / error
    p = math.erfc(abs(z) / math.sqrt(2))
    return DeLongTest(difference, variance, covariance, difference - half, difference + half, z, p)
