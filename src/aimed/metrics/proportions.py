"""Intervals for a proportion of independent rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from scipy.special import betaincinv

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.result import Estimate, checked_level, normal_quantile

__all__ = ["INTERVALS", "clopper_pearson", "proportion", "wilson"]


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
