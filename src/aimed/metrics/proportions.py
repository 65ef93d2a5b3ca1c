"""Intervals for a proportion of independent rows, and for a mean share whose rows share patients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, stdtrit

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import patient_codes, vector, weights_of
from aimed.metrics.result import (
    Estimate,
    checked_level,
    clustered,
    few_units,
    normal_quantile,
    patient_sums,
)

__all__ = ["INTERVALS", "clopper_pearson", "mean_share", "proportion", "wilson"]


def _checked(k: float, n: float, level: float) -> None:
    if not n > 0:
        raise NotEstimableError("a proportion of 0 rows", "at least 1 row")
    if not 0 <= k <= n:
        raise DataError("more successes than trials, or fewer than none", "0 <= k <= n")
    checked_level(level)


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of k out of n.

    Parameters
    ----------
    k, n : float
        Successes and trials.
    level : float
        Coverage.

    Raises
    ------
    NotEstimableError
        If n is 0.

    References
    ----------
    Wilson, JASA 1927;22:209.

    Examples
    --------
    >>> [round(v, 4) for v in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    _checked(k, n, level)
    z = normal_quantile(level)
    share, spread = k / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At k = 0 and k = n the limits are 0 and 1 exactly; rounding must not move them.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def clopper_pearson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of k out of n; its coverage is never below the level, and often well above.

    Parameters
    ----------
    k, n, level
        As for `wilson`.

    Raises
    ------
    NotEstimableError
        If n is 0.

    References
    ----------
    Clopper and Pearson, Biometrika 1934;26:404.

    Examples
    --------
    >>> [round(v, 4) for v in clopper_pearson(8, 10)]
    [0.4439, 0.9748]
    """
    _checked(k, n, level)
    tail = (1 - level) / 2
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return lower, upper


INTERVALS: dict[str, Callable[[float, float, float], tuple[float, float]]] = {
    "wilson": wilson,
    "clopper-pearson": clopper_pearson,
}
"""Name → interval of k out of n."""


def proportion(
    k: float,
    n: float,
    method: Literal["wilson", "clopper-pearson"] = "wilson",
    *,
    level: float = 0.95,
    name: str = "proportion",
) -> Estimate:
    """Return k out of n with its interval.

    Parameters
    ----------
    k, n : float
        Successes and trials.
    method : {"wilson", "clopper-pearson"}
        Wilson is right on average over proportions; Clopper-Pearson never covers less than the level.
    level : float
    name : str

    Raises
    ------
    DataError
        If k lies outside 0 to n, or the method is not known.
    NotEstimableError
        If n is 0.

    Notes
    -----
    Formula: k / n; standard error sqrt(p (1 - p) / n).
    Range: 0 to 1.
    Assumes: n independent trials. For rows that share patients give `patient` to `confusion` instead.
    Refuses: n = 0.

    References
    ----------
    Wilson, JASA 1927;22:209. Clopper and Pearson, Biometrika 1934;26:404. Brown, Cai and DasGupta, Stat Sci
    2001;16:101.

    Examples
    --------
    >>> proportion(8, 10)
    proportion 0.8000 (95 % interval 0.4902 to 0.9433), n = 10
    """
    if method not in INTERVALS:
        raise DataError("method is not known", f"one of: {', '.join(INTERVALS)}")
    lower, upper = INTERVALS[method](k, n, level)
    share = k / n
    return Estimate(
        share,
        name=name,
        lower=lower,
        upper=upper,
        se=math.sqrt(share * (1 - share) / n),
        n=round(n),
        events=round(k),
        level=level,
        method="Wilson" if method == "wilson" else "Clopper-Pearson",
    )


def mean_share(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    name: str = "share",
) -> Estimate:
    """Return the mean of shares, such as yes (1) and no (0), with Wilson's interval at the effective number of rows.

    Parameters
    ----------
    values : float array, shape (n,)
        0 to 1.
    weights : float array, shape (n,), optional
    patient : array, shape (n,), optional
        Rows of one patient are dependent; every row its own patient when absent.
    level : float
    name : str

    Raises
    ------
    DataError
        If there is no row, a value lies outside 0 to 1, or no weight is positive.

    Notes
    -----
    Formula: the weighted mean; its variance is the sum over patients of squared influences, times m / (m - 1) for m
    patients. The effective number of rows is the one at which independent rows would have this variance, made smaller
    by the squared ratio of the normal to the t quantile, and never more than the rows. At a mean of 0 or 1, where
    there is no spread to see, it is the number of patients.
    Range: 0 to 1.
    Assumes: patients are independent.
    Refuses: no rows.

    References
    ----------
    Wilson, JASA 1927;22:209. Korn and Graubard, Surv Methodol 1998;24:193. Dean and Pagano, J Surv Stat Methodol
    2015;3:484.

    Examples
    --------
    >>> mean_share([1, 1, 1, 0, 1, 1, 0, 1, 1, 1]), mean_share([1] * 8, patient=[1, 1, 2, 2, 3, 3, 4, 4]).lower < 0.52
    (share 0.8000 (95 % interval 0.4902 to 0.9433), n = 10, True)
    """
    x = vector("values", values)
    w = weights_of(weights, x.size)
    if not ((x >= 0) & (x <= 1)).all():
        raise DataError("values outside 0 to 1", "shares, or 0 and 1")
    used = w > 0
    codes = np.unique(patient_codes(patient, x.size)[used], return_inverse=True)[1]
    x, w = x[used], w[used] / w.sum()
    share = min(max(float(w @ x), 0.0), 1.0)
    influence = np.zeros(used.size)
    influence[used] = w * (x - share)
    m = int(codes.max()) + 1
    facts: dict[str, Any] = {"name": name, "n": int(used.sum()), "events": round(float(x.sum())), "level": level}
    how = clustered("Wilson", patient)
    if patient is not None and m < 2:
        return Estimate(share, note=few_units(m), influence=influence, **facts)
    sums = patient_sums(influence[used], codes)
    # Where rows are patients the variance of yes and no is the binomial one already.
    variance = float(sums @ sums) * (1.0 if patient is None else m / (m - 1))
    most = 1.0 / float(w @ w)
    if 0.0 < share < 1.0:
        size = min(most, share * (1.0 - share) / variance) if variance > 0 else most
    else:
        size = min(most, float(m))
    if patient is not None:
        size *= (normal_quantile(level) / float(stdtrit(m - 1, 0.5 + level / 2))) ** 2
    lower, upper = wilson(share * size, size, level)
    return Estimate(
        share,
        lower=lower,
        upper=upper,
        se=math.sqrt(variance),
        method=how,
        note=few_units(m if patient is not None else None),
        influence=influence,
        **facts,
    )
