"""Intervals for a proportion of independent rows."""

from __future__ import annotations

import math
from statistics import NormalDist

from aimed.core.errors import DataError, NotEstimableError

__all__ = ["wilson"]


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
    if n <= 0:
        raise NotEstimableError("a proportion of 0 rows", "at least 1 row")
    if not 0 <= k <= n:
        raise DataError("more successes than trials, or fewer than none", "0 <= k <= n")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = k / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At k = 0 and k = n the limits are 0 and 1 exactly; rounding must not move them.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)
