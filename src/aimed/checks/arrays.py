"""Small statistics and wording that several checks share: sampling, clustered contrasts, counts as words."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Contrast", "critical", "mean_difference", "of", "plural", "rate_ratio", "sample"]

_NORMAL = NormalDist()


class Contrast(NamedTuple):
    """A difference between two groups of rows, with its 95 % interval and z statistic."""

    value: float
    lower: float
    upper: float
    z: float


def sample(n: int, at_most: int) -> NDArray[np.int64]:
    """Return at most `at_most` of `n` row numbers, in order, the same ones at every call.

    Examples
    --------
    >>> sample(3, 10).tolist(), sample(1000, 4).size
    ([0, 1, 2], 4)
    """
    if n <= at_most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, size=at_most, replace=False))


def critical(alpha: float, tests: int = 1) -> float:
    """Return the two-sided normal critical value at `alpha`, Bonferroni-corrected for the number of tests.

    Examples
    --------
    >>> round(critical(0.05), 2), round(critical(0.001, 10), 2)
    (1.96, 3.89)
    """
    return _NORMAL.inv_cdf(1 - alpha / (2 * max(tests, 1)))


def mean_difference(value: NDArray[Any], group: NDArray[np.bool_], cluster: NDArray[np.int64]) -> Contrast | None:
    """Return the mean inside a group minus the mean outside, with a variance clustered by patient.

    The variance is the sum over patients of the squared sum of the rows' influence values (Liang and Zeger,
    Biometrika 1986;73:13). None when a side is empty or there are fewer than 3 patients.

    Parameters
    ----------
    value : array, shape (n,)
    group : bool array, shape (n,)
    cluster : int array, shape (n,)
        Patient of each row, numbered from 0.

    Examples
    --------
    >>> import numpy as np
    >>> g = np.array([True, True, False, False])
    >>> mean_difference(np.array([1.0, 0, 0, 0]), g, np.arange(4)).value
    0.5
    """
    n1 = int(group.sum())
    n0 = group.size - n1
    if n1 == 0 or n0 == 0:
        return None
    value = np.asarray(value, dtype=np.float64)
    mean1, mean0 = float(value[group].mean()), float(value[~group].mean())
    influence = np.where(group, (value - mean1) / n1, -(value - mean0) / n0)
    return _contrast(mean1 - mean0, influence, cluster)


def rate_ratio(
    event: NDArray[np.bool_], time: NDArray[np.float64], group: NDArray[np.bool_], cluster: NDArray[np.int64]
) -> Contrast | None:
    """Return the log of events per time inside a group over that outside, clustered by patient.

    None when a side has no event or there are fewer than 3 patients.

    Examples
    --------
    >>> import numpy as np
    >>> e, t = np.ones(4, dtype=bool), np.array([1.0, 1, 2, 2])
    >>> round(rate_ratio(e, t, np.array([True, True, False, False]), np.arange(4)).value, 3)
    0.693
    """
    d1, d0 = float(event[group].sum()), float(event[~group].sum())
    if d1 == 0 or d0 == 0:
        return None
    rate1, rate0 = d1 / float(time[group].sum()), d0 / float(time[~group].sum())
    influence = np.where(group, (event - rate1 * time) / d1, -(event - rate0 * time) / d0)
    return _contrast(math.log(rate1 / rate0), influence, cluster)


def _contrast(value: float, influence: NDArray[np.float64], cluster: NDArray[np.int64]) -> Contrast | None:
    sums = np.bincount(cluster, weights=influence)
    patients = int(np.count_nonzero(np.bincount(cluster)))
    if patients < 3:
        return None
    error = math.sqrt(float(sums @ sums) * patients / (patients - 1))
    z = value / error if error > 0 else (0.0 if value == 0 else math.copysign(math.inf, value))
    half = 1.959963984540054 * error
    return Contrast(value, value - half, value + half, z)


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(12000, "row"), plural(2, "category", "categories")
    ('1 row', '12,000 rows', '2 categories')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def of(count: int, total: int, noun: str = "row") -> str:
    """Return ``k of n nouns (share %)``.

    Examples
    --------
    >>> of(3, 200)
    '3 of 200 rows (1.5 %)'
    >>> of(1, 1_000_000)
    '1 of 1,000,000 rows (< 0.1 %)'
    """
    percent = 100 * count / total if total else 0.0
    text = "< 0.1" if 0 < percent < 0.1 else f"{percent:.1f}"
    return f"{count:,} of {plural(total, noun)} ({text} %)"
