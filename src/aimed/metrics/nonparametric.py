"""Survival without a model: Kaplan-Meier, Nelson-Aalen, log-rank, restricted mean, follow-up, censoring."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, IntArray, dot, labels, level_codes, patient_codes, survival, vector
from aimed.metrics.kernels.curves import log_rank_sums, place_rows, risk_table, sums_over_patients
from aimed.metrics.result import (
    Estimate,
    Headline,
    clustered,
    clustered_variance,
    few_units,
    independent_units,
    notes,
    quantile_of_units,
    two_sided_p,
)

__all__ = [
    "KaplanMeier",
    "LogRank",
    "NelsonAalen",
    "RmstDifference",
    "kaplan_meier",
    "kaplan_meier_influence",
    "log_rank",
    "median_followup",
    "nelson_aalen",
    "rmst",
    "rmst_difference",
    "survival_at",
    "survival_limits",
]


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


def survival_limits(
    value: FloatArray,
    se: FloatArray,
    level: float,
    interval: str,
    *,
    at_risk: FloatArray | None = None,
    units: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return pointwise limits of probabilities along a curve.

    Parameters
    ----------
    value, se : float arrays
    level : float
    interval : {"log-log", "log", "plain"}
        Scale on which the interval is symmetric: log(-log S), log S or S itself; cut to 0 and 1.
    at_risk : float array, optional
        Independent rows followed at each value: where the curve has not moved from 1, the lower limit is then the
        survival that would let all of them stay free of the event with chance (1 - level) / 2. Not for "plain".
    units : int, optional
        Patients that a clustered error rests on: the quantile is that of t.

    Returns
    -------
    lower, upper : float arrays
        NaN where the curve is 0: its standard error says nothing there. The upper limit is 1 where the curve has not
        moved from 1, and so is the lower without `at_risk`, as R prints it.

    Raises
    ------
    DataError
        If the interval has no such name.

    References
    ----------
    Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 2002, section 1.4.

    Examples
    --------
    >>> [v.round(4).tolist() for v in survival_limits(np.array([0.5]), np.array([0.1]), 0.95, "plain")]
    [[0.304], [0.696]]
    """
    z = quantile_of_units(level, units)
    inner = (value > 0) & (value < 1)
    lower, upper = np.where(value > 0, 1.0, np.nan), np.where(value > 0, 1.0, np.nan)
    if at_risk is not None and interval != "plain":
        full = (value >= 1) & (at_risk > 0)
        lower[full] = ((1 - level) / 2) ** (1 / at_risk[full])
    v, e = value[inner], se[inner]
    if interval == "log-log":
        half = z * e / (v * np.abs(np.log(v)))
        # Next to 0 and 1 the scale has no end: the limits become 0 and 1.
        with np.errstate(over="ignore"):
            lower[inner], upper[inner] = v ** np.exp(half), v ** np.exp(-half)
    elif interval == "log":
        half = z * e / v
        lower[inner], upper[inner] = v * np.exp(-half), np.minimum(v * np.exp(half), 1.0)
    elif interval == "plain":
        lower[inner], upper[inner] = np.maximum(v - z * e, 0.0), np.minimum(v + z * e, 1.0)
    else:
        raise DataError(f"interval={interval!r}", '"log-log", "log" or "plain"')
    return lower, upper


class _Followed:
    """Rows in order of time with their risk table: what all curves without a model are made from."""

    def __init__(self, event: ArrayLike, time: ArrayLike, weights: ArrayLike | None, entry: ArrayLike | None) -> None:
        self.event, self.time, self.weights = survival(event, time, weights)
        self.n = self.time.size
        self.order: IntArray = np.argsort(self.time)
        self.entry = np.empty(0)
        self.entry_order: IntArray = np.empty(0, dtype=np.int64)
        if entry is not None:
            self.entry = vector("entry", entry, self.n)
            late = int((self.entry >= self.time).sum())
            if late:
                raise DataError(f"{late} of {self.n} rows enter at or after their own time", "entry < time")
            self.entry_order = np.argsort(self.entry)
        self.times, self.deaths, self.at_risk = risk_table(
            self.order, self.time, self.event, self.weights, self.entry_order, self.entry
        )
        left = self.at_risk - self.deaths
        # What is left of a sum of weights after all have died is rounding, not a survivor.
        left[left < 1e-12 * self.at_risk] = 0.0
        self.left = left
        seen = self.at_risk > 0
        self.survival: FloatArray = np.cumprod(np.divide(left, self.at_risk, out=np.ones(left.size), where=seen))

    @property
    def last(self) -> float:
        """Last time at which a row with weight is followed."""
        return float(self.times[np.flatnonzero(self.at_risk > 0)[-1]])

    def greenwood(self) -> FloatArray:
        """Terms d / (n (n - d)); 0 where all who are at risk die."""
        left = self.left
        out: FloatArray = np.divide(self.deaths, self.at_risk * left, out=np.zeros(left.size), where=left > 0)
        return out

    def before(self, times: FloatArray) -> IntArray:
        """Return how many distinct times are at or before each time."""
        return np.searchsorted(self.times, times, side="right").astype(np.int64)

    def over_patients(self, patient: ArrayLike, a: FloatArray, step: FloatArray) -> FloatArray:
        """Sum over patients of (sum of w_i A_i(t))^2, where A grows as `a` and makes a step at an event."""
        codes = patient_codes(patient, self.n)
        zero = np.zeros(self.times.size)
        return sums_over_patients(
            self.order,
            place_rows(self.order, self.time),
            self.event.astype(np.int64),
            self.weights,
            codes,
            int(codes.max()) + 1,
            self.entry_order,
            self.before(self.entry),
            a,
            zero,
            zero,
            np.stack([zero, step]),
            np.zeros((2, zero.size)),
        )


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """A Kaplan-Meier curve at its distinct times, with its standard error and limits.

    Parameters
    ----------
    times, survival, std_error, lower, upper, at_risk, events : float arrays, shape (u,)
        Limits are NaN where the curve has reached 0.
    level : float
        Coverage of the limits.
    n : int
        Rows.
    method : str
        How the error and the limits were made.
    note : str
        What to know about the curve.
    start : float
        Lower limit before the first distinct time.
    entries, entered : float arrays, shape (m,)
        Times of late entry, rising, and the weight that has entered by each.
    """

    times: FloatArray
    survival: FloatArray
    std_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    at_risk: FloatArray
    events: FloatArray
    level: float
    n: int = 0
    method: str = ""
    note: str = ""
    start: float = 1.0
    entries: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)
    entered: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def value(self) -> FloatArray:
        """Survival at the distinct times."""
        return self.survival

    @property
    def se(self) -> FloatArray:
        """Standard error at the distinct times."""
        return self.std_error

    @property
    def _last(self) -> float:
        """Last time at which a row with weight is followed."""
        return float(self.times[np.flatnonzero(self.at_risk > 0)[-1]])

    def _read(self, values: FloatArray, at: ArrayLike, first: float) -> FloatArray:
        when = np.asarray(at, dtype=np.float64)
        out: FloatArray = np.r_[first, values][np.searchsorted(self.times, when, side="right")]
        # Beyond the last row nothing is known, unless the curve has ended at 0.
        return np.where((when > self._last) & (self.survival[-1] > 0), np.nan, out)

    def at(self, times: ArrayLike, *, extend: bool = False) -> FloatArray:
        """Return survival at times; beyond follow-up NaN, or the last value with `extend`, as R and lifelines print it.

        Examples
        --------
        >>> curve = kaplan_meier([1, 0], [1, 5])
        >>> curve.at([6]), curve.at([6], extend=True)
        (array([nan]), array([0.5]))
        """
        if extend:
            return self._read(self.survival, np.minimum(np.asarray(times, dtype=np.float64), self._last), 1.0)
        return self._read(self.survival, times, 1.0)

    def std_error_at(self, times: ArrayLike) -> FloatArray:
        """Return the standard error at times."""
        return self._read(self.std_error, times, 0.0)

    def interval_at(self, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the limits at times."""
        return self._read(self.lower, times, self.start), self._read(self.upper, times, 1.0)

    def at_risk_at(self, times: ArrayLike) -> FloatArray:
        """Return the rows that are under observation just before times: entered, and not yet gone.

        Examples
        --------
        >>> kaplan_meier([1, 1], [4, 9], entry=[0, 5]).at_risk_at([4, 5, 6])
        array([1., 0., 1.])
        """
        when = np.asarray(times, dtype=np.float64)
        place = np.searchsorted(self.times, when, side="left")
        out: FloatArray = np.r_[self.at_risk, 0.0][place]
        if self.entries.size:
            # Whoever enters between a time and the next distinct one is at risk at that, and not yet at this.
            entered = np.r_[0.0, self.entered]
            until = np.r_[self.times, np.inf][place]
            late = entered[np.searchsorted(self.entries, until)] - entered[np.searchsorted(self.entries, when)]
            out = np.where(place < self.times.size, np.maximum(out - late, 0.0), 0.0)
        return out

    def quantile(self, q: float) -> tuple[float | None, float | None, float | None]:
        """Return the time by which a share q has had the event, with its limits; None where it is not reached.

        The limits are where the limits of the curve cross 1 - q. Where a curve lies on 1 - q exactly, the middle of
        that flat piece is taken, as R does.

        Raises
        ------
        DataError
            If q is not between 0 and 1.

        References
        ----------
        Brookmeyer and Crowley, Biometrics 1982;38:29.

        Examples
        --------
        >>> kaplan_meier([1, 1, 1, 1], [1, 2, 3, 4]).quantile(0.25)[0]
        1.5
        """
        if not 0 < q < 1:
            raise DataError(f"q = {q:g}", "0 < q < 1")
        found = [_crossing(self.times, curve, 1 - q) for curve in (self.survival, self.lower, self.upper)]
        value, lower, upper = (v if np.isfinite(v) else None for v in found)
        return value, lower, upper

    def median(self) -> tuple[float | None, float | None, float | None]:
        """Return the median survival time with its limits; None where it is not reached.

        Examples
        --------
        >>> kaplan_meier([1, 1, 1], [1, 2, 3]).median()[0]
        2.0
        """
        return self.quantile(0.5)


def kaplan_meier(
    event: ArrayLike,
    time: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    *,
    entry: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    interval: str = "log-log",
) -> KaplanMeier:
    """Return the Kaplan-Meier curve with its standard error and limits.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    weights : float array, shape (n,), optional
        Whole numbers stand for repeated rows.
    level : float
    entry : float array, shape (n,), optional
        Time at which a row comes under observation (left truncation); it is at risk at u when entry < u <= time.
    patient : array, shape (n,), optional
        Rows of one patient are dependent: the error is then the infinitesimal jackknife's over patients.
    interval : {"log-log", "log", "plain"}

    Returns
    -------
    KaplanMeier

    Raises
    ------
    DataError
        If an event is neither 0 nor 1, a time is negative or not finite, or a row enters at or after its own time.

    Notes
    -----
    Formula: S(t) = prod over u <= t of 1 - d(u) / n(u). Error: S(t) times the root of the sum of d / (n (n - d))
        (Greenwood); with `patient`, the root of the sum over patients of their squared influence, with the quantile of
        t. Before the first event S = 1 and the error is 0; log-log and log limits are then ((1 - level) / 2)^(1 / n) to
        1, n the rows at risk (in proportion to the patients, with `patient`), where R prints 1 to 1.
    Range: 0 to 1, falling.
    Assumes: censoring (and entry) that does not depend on the time of the event; rows independent, or patients with
        `patient`. Greenwood's error takes weights as repeated rows; for other weights give `patient`.
    Refuses: nothing but damaged input; survival beyond the last followed row reads NaN.

    References
    ----------
    Kaplan and Meier, JASA 1958;53:457. Greenwood, Rep Public Health Med Subj 1926;33:1. Williams, Lifetime
    Data Anal 1995;1:171 (clustered). Tsai, Jewell and Wang, Biometrika 1987;74:883 (left truncation).

    Examples
    --------
    >>> kaplan_meier([0, 0, 1, 1, 1], [2, 15, 12, 10, 20]).at([0, 2, 10, 12, 15, 20])
    array([1.  , 1.  , 0.75, 0.5 , 0.5 , 0.  ])
    """
    rows = _Followed(event, time, weights, entry)
    term = rows.greenwood()
    spread: FloatArray = np.cumsum(term)
    if patient is not None:
        step = -np.divide(1.0, rows.left, out=np.zeros(term.size), where=rows.left > 0)
        spread = rows.over_patients(patient, spread, step)
    se = rows.survival * np.sqrt(spread)
    units = independent_units(patient, rows.n)
    at_risk = rows.at_risk * (1.0 if units is None else units / rows.n)
    lower, upper = survival_limits(rows.survival, se, level, interval, at_risk=at_risk, units=units)
    start = survival_limits(np.ones(1), np.zeros(1), level, interval, at_risk=at_risk[:1])[0]
    # All who were under observation had the event, and others came or were there later.
    emptied = entry is not None and bool(((rows.left <= 0) & (rows.deaths > 0) & (rows.times < rows.last)).any())
    error = "Greenwood" if patient is None else clustered("infinitesimal jackknife", patient)
    return KaplanMeier(
        rows.times,
        rows.survival,
        se,
        lower,
        upper,
        rows.at_risk,
        rows.deaths,
        level,
        rows.n,
        f"Kaplan-Meier{', left truncated' if entry is not None else ''}; error: {error}; {interval} limits",
        notes(
            few_units(units),
            "the curve is 0 since all rows under observation at an early time had the event, before others entered"
            if emptied
            else "",
        ),
        float(start[0]),
        rows.entry[rows.entry_order],
        np.cumsum(rows.weights[rows.entry_order]),
    )


def kaplan_meier_influence(
    event: ArrayLike,
    time: ArrayLike,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    entry: ArrayLike | None = None,
) -> FloatArray:
    """Return the influence of each row on Kaplan-Meier survival at times.

    Parameters
    ----------
    event, time, weights, entry
        As for `kaplan_meier`.
    times : float array, shape (t,)

    Returns
    -------
    float array, shape (n, t)
        w_i times the derivative of S(t) by w_i; each column sums to 0. Beyond the last row, of the last value.

    Notes
    -----
    Formula: S(t) w_i (C(min(t, T_i)) - C(entry_i) - event_i [T_i <= t] / (n - d at T_i)), C the sum of Greenwood's
        terms d / (n (n - d)) up to a time.
    Range: any number; the sum of squares without ties and weights is Greenwood's variance.
    Assumes: what `kaplan_meier` assumes.
    Refuses: what `kaplan_meier` refuses.

    References
    ----------
    Reid, Ann Stat 1981;9:78.

    Examples
    --------
    >>> kaplan_meier_influence([1, 0], [1, 5], [2])
    array([[-0.25],
           [ 0.25]])
    """
    rows = _Followed(event, time, weights, entry)
    when = vector("times", np.atleast_1d(np.asarray(times, dtype=np.float64)))
    grown = np.r_[0.0, np.cumsum(rows.greenwood())]
    place = place_rows(rows.order, rows.time)
    step = np.divide(1.0, rows.left, out=np.zeros(rows.left.size), where=rows.left > 0)[place] * rows.event
    at_entry = grown[rows.before(rows.entry)] if rows.entry.size else np.zeros(rows.n)
    upto = rows.before(when)
    out = np.empty((rows.n, when.size))
    for j, (t, last) in enumerate(zip(when, upto, strict=True)):
        inside = np.where(rows.time <= t, grown[np.minimum(place + 1, last)] - step, grown[last])
        if rows.entry.size:
            inside = np.where(rows.entry < t, inside - at_entry, 0.0)
        out[:, j] = (rows.survival[last - 1] if last else 1.0) * rows.weights * inside
    return out


@dataclass(frozen=True, slots=True)
class NelsonAalen:
    """A cumulative hazard at its distinct times, with its standard error and limits.

    Parameters
    ----------
    times, hazard, std_error, lower, upper : float arrays, shape (u,)
        Limits are NaN before the first event.
    level : float
    n : int
    """

    times: FloatArray
    hazard: FloatArray
    std_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float = 0.95
    n: int = 0

    @property
    def value(self) -> FloatArray:
        """Cumulative hazard at the distinct times."""
        return self.hazard

    @property
    def se(self) -> FloatArray:
        """Standard error at the distinct times."""
        return self.std_error

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the cumulative hazard at times; beyond the last row its last value."""
        place = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="right")
        out: FloatArray = np.r_[0.0, self.hazard][place]
        return out


def nelson_aalen(
    event: ArrayLike,
    time: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    *,
    entry: ArrayLike | None = None,
    patient: ArrayLike | None = None,
) -> NelsonAalen:
    """Return the Nelson-Aalen cumulative hazard; tied events take one step d / n.

    Parameters
    ----------
    event, time, weights, level, entry, patient
        As for `kaplan_meier`.

    Returns
    -------
    NelsonAalen
        Limits are symmetric on the log scale; with `patient`, with the quantile of t.

    Raises
    ------
    DataError
        As `kaplan_meier`.

    Notes
    -----
    Formula: H(t) = sum over u <= t of d(u) / n(u). Variance: sum of d / n^2; with `patient`, the sum over patients of
        their squared influence.
    Range: 0 and above, rising.
    Assumes: censoring that does not depend on the time of the event.
    Refuses: nothing but damaged input.

    References
    ----------
    Aalen, Ann Stat 1978;6:701.

    Examples
    --------
    >>> nelson_aalen([1, 0, 1], [1, 2, 3]).at([1, 3]).round(4)
    array([0.3333, 1.3333])
    """
    rows = _Followed(event, time, weights, entry)
    seen, size = rows.at_risk > 0, rows.times.size
    hazard = np.cumsum(np.divide(rows.deaths, rows.at_risk, out=np.zeros(size), where=seen))
    spread = np.cumsum(np.divide(rows.deaths, rows.at_risk**2, out=np.zeros(size), where=seen))
    if patient is not None:
        spread = rows.over_patients(patient, -spread, np.divide(1.0, rows.at_risk, out=np.zeros(size), where=seen))
    se = np.sqrt(spread)
    quantile = quantile_of_units(level, independent_units(patient, rows.n))
    factor = np.exp(quantile * np.divide(se, hazard, out=np.full(size, np.nan), where=hazard > 0))
    return NelsonAalen(rows.times, hazard, se, hazard / factor, hazard * factor, level, rows.n)


_LOG_RANK_WEIGHTS = ("log-rank", "gehan", "tarone-ware", "peto", "fleming-harrington")


@dataclass(frozen=True, slots=True)
class LogRank:
    """Log-rank statistic, its degrees of freedom, p, and observed and expected events a group.

    Parameters
    ----------
    statistic : float
        Chi-squared.
    df : int
    p : float
    observed, expected : float arrays, shape (k,)
        Weighted where the test is.
    n : int
    method : str
    note : str
        What to know about the test.
    """

    statistic: float
    df: int
    p: float
    observed: FloatArray
    expected: FloatArray
    n: int = 0
    method: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        """The statistic."""
        return self.statistic

    @property
    def se(self) -> float:
        """NaN: a test statistic has none."""
        return float("nan")

    @property
    def lower(self) -> float:
        """NaN: a test statistic has no interval."""
        return float("nan")

    @property
    def upper(self) -> float:
        """NaN: a test statistic has no interval."""
        return float("nan")

    def __float__(self) -> float:
        return self.statistic


def log_rank(
    event: ArrayLike,
    time: ArrayLike,
    group: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    weights: str = "log-rank",
    rho: float = 0.0,
    gamma: float = 0.0,
) -> LogRank:
    """Return the log-rank test of equal survival in k groups, plain or weighted, within strata.

    Parameters
    ----------
    event, time
        As for `kaplan_meier`.
    group : array, shape (n,)
        Group of each row, of any type that sorts.
    strata : array, shape (n,), optional
        Rows are compared within strata; sums are added over strata.
    weights : {"log-rank", "gehan", "tarone-ware", "peto", "fleming-harrington"}
        Weight of an event time: 1; the rows at risk; their square root; Peto and Peto's survival
        prod of 1 - d / (n + 1); S(t-)^rho (1 - S(t-))^gamma with S the pooled Kaplan-Meier curve of the stratum.
    rho, gamma : float
        Of Fleming and Harrington's weights; rho = 1, gamma = 0 is R's ``survdiff(rho = 1)``.

    Returns
    -------
    LogRank
        `value` is the chi-squared statistic.

    Raises
    ------
    DataError
        If the kind of weights has no such name, or rho or gamma is negative.
    NotEstimableError
        If there are fewer than 2 groups that are at risk when events happen, or the variance has no inverse.

    Notes
    -----
    Formula: u' V^-1 u with u_k the sum over event times of w (d_k - d n_k / n) and V its hypergeometric covariance.
        Groups that are never at risk at an event say nothing and are left out.
    Range: 0 and above; chi-squared with k - 1 degrees of freedom when survival is equal, k the groups that are left.
    Assumes: rows are independent, and censoring does not depend on the time of the event within groups. Fleming and
        Harrington's weights with gamma = 1 rest on the few late events, and the test is liberal in small samples.
    Refuses: one group; groups that are never at risk together while events happen.

    References
    ----------
    Mantel, Cancer Chemother Rep 1966;50:163. Peto and Peto, JRSS A 1972;135:185. Tarone and Ware, Biometrika
    1977;64:156. Fleming and Harrington, Counting Processes and Survival Analysis, 1991.

    Examples
    --------
    >>> test = log_rank([1, 1, 1, 1], [1, 2, 3, 4], ["a", "a", "b", "b"])
    >>> round(test.statistic, 4), test.df
    (2.8824, 1)
    """
    seen, when, _ = survival(event, time)
    n = when.size
    names, code = level_codes(labels("group", group, n))
    k = len(names)
    if k < 2:
        raise NotEstimableError(f"{k} group", "at least 2 groups")
    if weights not in _LOG_RANK_WEIGHTS:
        raise DataError(f"weights={weights!r}", f"one of: {', '.join(_LOG_RANK_WEIGHTS)}")
    if rho < 0 or gamma < 0:
        raise DataError("rho or gamma is negative", "numbers >= 0")
    if strata is None:
        stratum, order = np.zeros(n, dtype=np.int64), np.argsort(when)
    else:
        stratum = level_codes(labels("strata", strata, n))[1]
        order = np.lexsort((when, stratum))
    observed, expected, covariance = log_rank_sums(
        order, stratum, when, seen, code, k, _LOG_RANK_WEIGHTS.index(weights), float(rho), float(gamma)
    )
    kept = np.flatnonzero(expected > 0)
    if kept.size < 2:
        raise NotEstimableError(
            f"{kept.size} of {k} groups are at risk when events happen",
            "at least 2 groups followed while events happen",
        )
    gap, spread = (observed - expected)[kept[:-1]], covariance[np.ix_(kept, kept)]
    if np.linalg.matrix_rank(spread, hermitian=True) < kept.size - 1:
        raise NotEstimableError(
            "groups are never at risk together while events happen", "groups that overlap in follow-up"
        )
    statistic = float(gap @ np.linalg.solve(spread[:-1, :-1], gap))
    name = weights if weights != "fleming-harrington" else f"{weights} rho={rho:g} gamma={gamma:g}"
    method = f"{name} test{'' if strata is None else ', stratified'}"
    df = int(kept.size) - 1
    note = notes(
        f"{k - kept.size} of {k} groups are never at risk at an event and were left out" if kept.size < k else "",
        "weights with gamma > 0 rest on late events: liberal in small samples"
        if weights == "fleming-harrington" and gamma > 0
        else "",
    )
    return LogRank(statistic, df, float(chdtrc(df, statistic)), observed, expected, n, method, note)


def rmst(
    event: ArrayLike,
    time: ArrayLike,
    tau: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the restricted mean survival time: the mean time without the event up to tau.

    Parameters
    ----------
    event, time, weights, patient, level
        As for `kaplan_meier`.
    tau : float
        End of the time that is counted, in the unit of `time`.

    Returns
    -------
    Estimate
        In the unit of `time`, with `influence`.

    Raises
    ------
    DataError
        If tau is not above 0.
    NotEstimableError
        If tau lies beyond the last followed row while the curve is above 0.

    Notes
    -----
    Formula: the area under the Kaplan-Meier curve from 0 to tau. Variance: the sum over event times u <= tau of
        A(u)^2 d / (n (n - d)), A(u) the area from u to tau; with `patient`, the sum over patients of their squared
        influence.
    Range: 0 to tau.
    Assumes: censoring that does not depend on the time of the event. Without `patient`, weights are repeated rows.
    Refuses: a tau beyond follow-up, where the curve is not known.

    References
    ----------
    Royston and Parmar, BMC Med Res Methodol 2013;13:152. Uno et al., J Clin Oncol 2014;32:2380.

    Examples
    --------
    >>> rmst([1, 1, 0, 1], [1, 2, 3, 4], tau=4)
    rmst 2.7500 (95 % interval 1.4770 to 4.0000), n = 4
    """
    rows = _Followed(event, time, weights, None)
    if not (np.isfinite(tau) and tau > 0):
        raise DataError("tau is not a finite number above 0", "the end of the time that is counted")
    if tau > rows.times[-1] and rows.survival[-1] > 0:
        raise NotEstimableError(
            "tau lies beyond the last followed row and the curve has not reached 0",
            "a tau within follow-up",
            "choose tau no larger than the largest time of every group",
        )
    last = int(rows.before(np.array([tau]))[0])
    knots = np.r_[0.0, rows.times[:last], tau]
    pieces = np.r_[1.0, rows.survival[:last]] * np.diff(knots)
    beyond: FloatArray = np.cumsum(pieces[::-1])[::-1]
    value, area = float(beyond[0]), np.zeros(rows.times.size)
    area[:last] = beyond[1:]
    term = rows.greenwood()
    grown = np.cumsum(term * area)
    step = np.divide(area, rows.left, out=np.zeros(area.size), where=rows.left > 0)
    place = place_rows(rows.order, rows.time)
    influence = rows.weights * (grown[place] - rows.event * step[place])
    variance = dot(term, area**2) if patient is None else clustered_variance(influence, patient)
    error = "Greenwood" if patient is None else clustered("infinitesimal jackknife", patient)
    return Estimate.normal(
        value,
        float(np.sqrt(variance)),
        level=level,
        bounds=(0.0, float(tau)),
        units=independent_units(patient, rows.n),
        name="rmst",
        n=rows.n,
        events=int((rows.event & (rows.time <= tau)).sum()),
        method=f"area under Kaplan-Meier to tau = {tau:g}; error: {error}",
        influence=influence,
    )


@dataclass(frozen=True, slots=True)
class RmstDifference(Headline):
    """Restricted mean survival of two groups, their difference and their ratio.

    Parameters
    ----------
    difference, ratio : Estimate
        Second group less, or over, the first; each with its two-sided p.
    groups : (Estimate, Estimate)
        Restricted mean of the first and second group.
    """

    _headline = "difference"

    difference: Estimate
    ratio: Estimate
    groups: tuple[Estimate, Estimate]


def rmst_difference(
    event: ArrayLike,
    time: ArrayLike,
    group: ArrayLike,
    tau: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> RmstDifference:
    """Return the difference and the ratio of restricted mean survival between two groups.

    Parameters
    ----------
    event, time, tau, weights, patient, level
        As for `rmst`. A patient may have rows in both groups.
    group : array, shape (n,)
        Two levels; the second in sorted order is compared with the first, so 1 with 0.

    Returns
    -------
    RmstDifference

    Raises
    ------
    NotEstimableError
        If there are not exactly 2 groups, or tau lies beyond the follow-up of one.

    Notes
    -----
    Formula: R1 - R0 with its normal interval, and R1 / R0 with an interval symmetric on the log scale; p from the
        difference over its error, and from the log ratio over its error.
    Range: -tau to tau; the ratio 0 and above.
    Assumes: what `rmst` assumes, in each group.
    Refuses: more or fewer than 2 groups, and a tau beyond the follow-up of a group.

    References
    ----------
    Uno et al., J Clin Oncol 2014;32:2380.

    Examples
    --------
    >>> found = rmst_difference([1, 1, 1, 1], [1, 2, 3, 4], [0, 0, 1, 1], tau=4)
    >>> found.value, round(found.ratio, 4)
    (2.0, 2.3333)
    """
    seen, when, w = survival(event, time, weights)
    n = when.size
    names, code = level_codes(labels("group", group, n))
    if len(names) != 2:
        raise NotEstimableError(f"{len(names)} groups", "2 groups")
    codes = None if patient is None else patient_codes(patient, n)
    found, influence = [], np.zeros((2, n))
    for k in range(2):
        own = code == k
        part = rmst(seen[own], when[own], tau, w[own], patient=None if codes is None else codes[own], level=level)
        influence[k, own] = part.influence
        found.append(part)
    first, second = found
    if first.value <= 0 or second.value <= 0:
        raise NotEstimableError("a group has no time without the event", "times above 0 in both groups")

    def contrast(weight: tuple[float, float]) -> tuple[float, FloatArray]:
        """Error and influence of a sum of the two means."""
        together = weight[0] * influence[0] + weight[1] * influence[1]
        if codes is None:
            return float(np.hypot(weight[0] * first.se, weight[1] * second.se)), together
        return float(np.sqrt(clustered_variance(together, codes))), together

    more: dict[str, Any] = {"n": n, "events": (first.events or 0) + (second.events or 0), "level": level}
    units = independent_units(patient, n)
    more["units"] = units
    gap = second.value - first.value
    se, together = contrast((-1.0, 1.0))
    difference = Estimate.normal(
        gap, se, name="rmst_difference", p=two_sided_p(gap, se, units), influence=together, method=first.method, **more
    )
    ratio = second.value / first.value
    log_se, together = contrast((-1 / first.value, 1 / second.value))
    quotient = Estimate.normal(
        ratio,
        ratio * log_se,
        scale="log",
        name="rmst_ratio",
        p=two_sided_p(math.log(ratio), log_se, units),
        influence=ratio * together,
        method=f"{first.method}; interval on the log scale",
        **more,
    )
    return RmstDifference(difference, quotient, (first, second))


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
    value = float(kaplan_meier(seen, when, w).at(float(horizon)))
    if not np.isfinite(value):
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    return value
