"""Survival without a model: Kaplan-Meier, Nelson-Aalen, log-rank, follow-up and the censoring distribution."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, survival, tally, vector

__all__ = [
    "Censoring",
    "GroupedSurvival",
    "KaplanMeier",
    "LogRank",
    "NelsonAalen",
    "Timeline",
    "censoring_distribution",
    "kaplan_meier",
    "log_rank",
    "median_followup",
    "nelson_aalen",
    "survival_at",
]


class Timeline:
    """Rows placed once on their distinct times; counts under new weights are one pass.

    Parameters
    ----------
    event : bool array, shape (n,)
    time : float array, shape (n,)

    Attributes
    ----------
    times : float array, shape (u,)
        Distinct times, events and censorings alike.
    place : int array, shape (n,)
        Where in `times` each row leaves.

    Examples
    --------
    >>> line = Timeline(np.array([True, False]), np.array([2.0, 2.0]))
    >>> [v.tolist() for v in line.counts(np.ones(2))]
    [[1.0], [1.0], [2.0]]
    """

    def __init__(self, event: BoolArray, time: FloatArray) -> None:
        self.times, place = np.unique(time, return_inverse=True)
        self.place: IntArray = place.astype(np.int64)
        self.event = event

    def counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return deaths, censorings and rows at risk at each distinct time."""
        size = self.times.size
        leaving = tally(self.place, weights, size)
        deaths = tally(self.place, weights * self.event, size)
        at_risk: FloatArray = np.cumsum(leaving[::-1])[::-1]
        return deaths, leaving - deaths, at_risk

    def survival(self, weights: FloatArray) -> FloatArray:
        """Return the Kaplan-Meier curve at each distinct time."""
        deaths, _, at_risk = self.counts(weights)
        return _product(deaths, at_risk)

    def censoring(self, weights: FloatArray) -> FloatArray:
        """Return G, the chance of not being censored, at each distinct time; events at a time leave before it."""
        deaths, censored, at_risk = self.counts(weights)
        return _product(censored, at_risk - deaths)

    def read(self, curve: FloatArray, at: FloatArray) -> FloatArray:
        """Read a curve at times, from the right: the value at or before each time, 1 before the first."""
        out: FloatArray = np.r_[1.0, curve][np.searchsorted(self.times, at, side="right")]
        return out

    def left(self, curve: FloatArray) -> FloatArray:
        """Return a curve's left limit at each row's own time, shape (n,)."""
        out: FloatArray = np.r_[1.0, curve][self.place]
        return out


def _product(leaving: FloatArray, at_risk: FloatArray) -> FloatArray:
    share = np.divide(leaving, at_risk, out=np.zeros(leaving.size), where=at_risk > 0)
    out: FloatArray = np.cumprod(1 - share)
    return out


def _z(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)


def _crossing(times: FloatArray, curve: FloatArray, level: float) -> float:
    """First time at or below a level; the middle of the flat piece when the curve lies on it exactly (as in R)."""
    below = np.flatnonzero(curve <= level + 1e-12)
    if below.size == 0:
        return float("nan")
    first = below[0]
    if abs(curve[first] - level) < 1e-12:
        after = np.flatnonzero(curve < level - 1e-12)
        if after.size:
            return float((times[first] + times[after[0]]) / 2)
    return float(times[first])


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """A Kaplan-Meier curve at its distinct times, with Greenwood's error and log-log limits.

    Parameters
    ----------
    times, survival, std_error, lower, upper, at_risk, events : float arrays, shape (u,)
        Limits are NaN where the curve has reached 0.
    level : float
        Coverage of the limits.
    """

    times: FloatArray
    survival: FloatArray
    std_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    at_risk: FloatArray
    events: FloatArray
    level: float

    def _read(self, values: FloatArray, at: ArrayLike, first: float) -> FloatArray:
        when = np.asarray(at, dtype=np.float64)
        out: FloatArray = np.r_[first, values][np.searchsorted(self.times, when, side="right")]
        # Beyond the last row nothing is known, unless the curve has ended at 0.
        return np.where((when > self.times[-1]) & (self.survival[-1] > 0), np.nan, out)

    def at(self, times: ArrayLike, *, extend: bool = False) -> FloatArray:
        """Return survival at times; beyond follow-up NaN, or the last value with `extend`, as R and lifelines print it.

        Examples
        --------
        >>> curve = kaplan_meier([1, 0], [1, 5])
        >>> curve.at([6]), curve.at([6], extend=True)
        (array([nan]), array([0.5]))
        """
        if extend:
            return self._read(self.survival, np.minimum(np.asarray(times, dtype=np.float64), self.times[-1]), 1.0)
        return self._read(self.survival, times, 1.0)

    def std_error_at(self, times: ArrayLike) -> FloatArray:
        """Return Greenwood's standard error at times."""
        return self._read(self.std_error, times, 0.0)

    def interval_at(self, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the log-log limits at times."""
        return self._read(self.lower, times, 1.0), self._read(self.upper, times, 1.0)

    def at_risk_at(self, times: ArrayLike) -> FloatArray:
        """Return the rows still followed just before times."""
        place = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="left")
        out: FloatArray = np.r_[self.at_risk, 0.0][place]
        return out

    def median(self) -> tuple[float | None, float | None, float | None]:
        """Return the median survival time with its log-log limits; None where it is not reached.

        Examples
        --------
        >>> kaplan_meier([1, 1, 1], [1, 2, 3]).median()[0]
        2.0
        """
        found = [_crossing(self.times, curve, 0.5) for curve in (self.survival, self.lower, self.upper)]
        value, lower, upper = (v if np.isfinite(v) else None for v in found)
        return value, lower, upper


def kaplan_meier(
    event: ArrayLike, time: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95
) -> KaplanMeier:
    """Return the Kaplan-Meier curve with Greenwood's standard error and log-log limits.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    weights : float array, shape (n,), optional
        Whole numbers stand for repeated rows.
    level : float

    Raises
    ------
    DataError
        If an event is neither 0 nor 1, or a time is negative or not finite.

    References
    ----------
    Kaplan and Meier, JASA 1958;53:457. Kalbfleisch and Prentice 2002 (log-log limits).

    Examples
    --------
    >>> kaplan_meier([0, 0, 1, 1, 1], [2, 15, 12, 10, 20]).at([0, 2, 10, 12, 15, 20])
    array([1.  , 1.  , 0.75, 0.5 , 0.5 , 0.  ])
    """
    seen, when, w = survival(event, time, weights)
    line = Timeline(seen, when)
    deaths, _, at_risk = line.counts(w)
    curve = _product(deaths, at_risk)
    left = at_risk - deaths
    term = np.divide(deaths, at_risk * left, out=np.zeros(deaths.size), where=left > 0)
    root = np.sqrt(np.cumsum(term))
    alive = curve > 0
    lower, upper = np.where(alive, 1.0, np.nan), np.where(alive, 1.0, np.nan)
    inner = alive & (curve < 1)
    half = _z(level) * root[inner] / np.abs(np.log(curve[inner]))
    lower[inner], upper[inner] = curve[inner] ** np.exp(half), curve[inner] ** np.exp(-half)
    return KaplanMeier(line.times, curve, curve * root, lower, upper, at_risk, deaths, level)


@dataclass(frozen=True, slots=True)
class NelsonAalen:
    """A cumulative hazard at its distinct times, with its standard error."""

    times: FloatArray
    hazard: FloatArray
    std_error: FloatArray

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the cumulative hazard at times."""
        place = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="right")
        out: FloatArray = np.r_[0.0, self.hazard][place]
        return out


def nelson_aalen(event: ArrayLike, time: ArrayLike, weights: ArrayLike | None = None) -> NelsonAalen:
    """Return the Nelson-Aalen cumulative hazard; tied events take one step d / n.

    Parameters
    ----------
    event, time, weights
        As for `kaplan_meier`.

    References
    ----------
    Aalen, Ann Stat 1978;6:701.

    Examples
    --------
    >>> nelson_aalen([1, 0, 1], [1, 2, 3]).at([1, 3]).round(4)
    array([0.3333, 1.3333])
    """
    seen, when, w = survival(event, time, weights)
    line = Timeline(seen, when)
    deaths, _, at_risk = line.counts(w)
    step = np.divide(deaths, at_risk, out=np.zeros(deaths.size), where=at_risk > 0)
    spread = np.divide(deaths, at_risk**2, out=np.zeros(deaths.size), where=at_risk > 0)
    return NelsonAalen(line.times, np.cumsum(step), np.sqrt(np.cumsum(spread)))


@dataclass(frozen=True, slots=True)
class LogRank:
    """Log-rank statistic, its degrees of freedom, p, and observed and expected events a group."""

    statistic: float
    df: int
    p: float
    observed: FloatArray
    expected: FloatArray


def log_rank(event: ArrayLike, time: ArrayLike, group: ArrayLike) -> LogRank:
    """Return the log-rank test of equal survival in k groups.

    Parameters
    ----------
    event, time
        As for `kaplan_meier`.
    group : array, shape (n,)
        Group of each row, of any type that sorts.

    Raises
    ------
    NotEstimableError
        If there are fewer than 2 groups, or the variance has no inverse.

    References
    ----------
    Mantel, Cancer Chemother Rep 1966;50:163.

    Examples
    --------
    >>> test = log_rank([1, 1, 1, 1], [1, 2, 3, 4], ["a", "a", "b", "b"])
    >>> round(test.statistic, 4), test.df
    (2.8824, 1)
    """
    seen, when, w = survival(event, time)
    labels, code = np.unique(np.asarray(group), return_inverse=True)
    if code.shape != when.shape:
        raise DataError(f"group has {code.size} values", f"{when.size}, one a row")
    if labels.size < 2:
        raise NotEstimableError(f"{labels.size} group", "at least 2 groups")
    line = Timeline(seen, when)
    deaths, _, at_risk = line.counts(w)
    parts = [line.counts(w * (code == k)) for k in range(labels.size)]
    d, n = np.array([p[0] for p in parts]), np.array([p[2] for p in parts])
    share = n / at_risk
    expected = share * deaths
    factor = np.divide(deaths * (at_risk - deaths), at_risk - 1, out=np.zeros(deaths.size), where=at_risk > 1)
    observed_sum, expected_sum = d.sum(axis=1), expected.sum(axis=1)
    variance = np.diag((share * factor).sum(axis=1)) - (share * factor) @ share.T
    gap = (observed_sum - expected_sum)[:-1]
    try:
        statistic = float(gap @ np.linalg.solve(variance[:-1, :-1], gap))
    except np.linalg.LinAlgError:
        raise NotEstimableError("a group was never at risk while events happened", "groups that overlap") from None
    df = labels.size - 1
    return LogRank(statistic, df, float(chi2.sf(statistic, df)), observed_sum, expected_sum)


def median_followup(
    event: ArrayLike, time: ArrayLike, level: float = 0.95
) -> tuple[float | None, float | None, float | None]:
    """Return the median follow-up by the reverse Kaplan-Meier method, with log-log limits; None where not reached.

    Parameters
    ----------
    event, time
        As for `kaplan_meier`; censorings become the events.
    level : float

    References
    ----------
    Schemper and Smith, Control Clin Trials 1996;17:343.

    Examples
    --------
    >>> median_followup([0, 0, 0], [1, 2, 3])[0]
    2.0
    """
    seen, when, _ = survival(event, time)
    return kaplan_meier(~seen, when, level=level).median()


@dataclass(frozen=True, slots=True)
class Censoring:
    """The chance G of not being censored, read from the left or the right.

    Parameters
    ----------
    times, curve : float arrays, shape (u,)
    """

    times: FloatArray
    curve: FloatArray

    def left(self, times: ArrayLike) -> FloatArray:
        """Return G(t-), the weight denominator of an event at t."""
        place = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="left")
        out: FloatArray = np.r_[1.0, self.curve][place]
        return out

    def at(self, times: ArrayLike) -> FloatArray:
        """Return G(t), the weight denominator of a row still followed after t."""
        place = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="right")
        out: FloatArray = np.r_[1.0, self.curve][place]
        return out


def censoring_distribution(event: ArrayLike, time: ArrayLike, weights: ArrayLike | None = None) -> Censoring:
    """Return the Kaplan-Meier curve of censoring; events at a time leave the risk set before censorings.

    Parameters
    ----------
    event, time, weights
        As for `kaplan_meier`.

    References
    ----------
    Gerds and Schumacher, Biom J 2006;48:1029.

    Examples
    --------
    >>> g = censoring_distribution([0, 1], [1, 1])
    >>> g.left([1]).tolist(), g.at([1]).tolist()
    ([1.0], [0.0])
    """
    seen, when, w = survival(event, time, weights)
    line = Timeline(seen, when)
    return Censoring(line.times, line.censoring(w))


class GroupedSurvival:
    """Kaplan-Meier survival at one horizon in many groups at once, under changing weights.

    Parameters
    ----------
    event, time : arrays, shape (n,)
    horizon : float
    group : int array, shape (n,)
        Group numbers from 0.
    groups : int

    Examples
    --------
    >>> rows = GroupedSurvival(np.array([True, False]), np.array([1.0, 5.0]), 2.0, np.array([0, 0]), 1)
    >>> rows.within(np.ones(2))
    array([0.5])
    """

    def __init__(self, event: BoolArray, time: FloatArray, horizon: float, group: IntArray, groups: int) -> None:
        dead = event & (time <= horizon)
        event_times = np.unique(time[dead])
        self._shape = (groups, event_times.size + 1)
        place = np.searchsorted(event_times, time, side="right")
        self._cell = group * self._shape[1] + place
        self._dead = np.flatnonzero(dead)
        self._dead_cell = self._cell[self._dead]
        self._group, self._reached = group, time >= horizon

    def _counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        size = self._shape[0] * self._shape[1]
        leaving = tally(self._cell, weights, size).reshape(self._shape)
        # A row that leaves in column j was at risk at the first j event times; a death happened at the j-th.
        deaths = tally(self._dead_cell, weights[self._dead], size).reshape(self._shape)[:, 1:]
        at_risk = np.cumsum(leaving[:, :0:-1], axis=1)[:, ::-1]
        reached = tally(self._group, weights * self._reached, self._shape[0])
        return deaths, at_risk, reached, leaving.sum(axis=1)

    @staticmethod
    def _survival(deaths: FloatArray, at_risk: FloatArray, reached: FloatArray) -> FloatArray:
        share = np.divide(deaths, at_risk, out=np.zeros(deaths.shape), where=at_risk > 0)
        curve: FloatArray = np.prod(1 - share, axis=1)
        return np.where((reached > 0) | (curve <= 0), curve, np.nan)

    def within(self, weights: FloatArray) -> FloatArray:
        """Return survival within each group; NaN where nobody was followed to the horizon."""
        return self._survival(*self._counts(weights)[:3])

    def split(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return, for each cut k, the share and survival of groups >= k, and the survival of groups < k.

        Cuts run from 1 to groups - 1; shape (groups - 1,) each.
        """
        deaths, at_risk, reached, size = self._counts(weights)

        def above(values: FloatArray) -> FloatArray:
            out: FloatArray = np.cumsum(values[::-1], axis=0)[::-1][1:]
            return out

        def below(values: FloatArray) -> FloatArray:
            out: FloatArray = np.cumsum(values, axis=0)[:-1]
            return out

        upper = self._survival(above(deaths), above(at_risk), above(reached))
        lower = self._survival(below(deaths), below(at_risk), below(reached))
        return above(size) / size.sum(), upper, lower


def survival_at(event: ArrayLike, time: ArrayLike, horizon: float, weights: ArrayLike | None = None) -> float:
    """Return Kaplan-Meier survival at a horizon.

    Raises
    ------
    NotEstimableError
        If nobody was followed to the horizon and the curve has not reached 0.

    Examples
    --------
    >>> survival_at([1, 0], [1, 5], 2)
    0.5
    """
    seen, when, w = survival(event, time, weights)
    vector("horizon", [horizon])
    value = float(GroupedSurvival(seen, when, horizon, np.zeros(when.size, dtype=np.int64), 1).within(w)[0])
    if not np.isfinite(value):
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    return value
