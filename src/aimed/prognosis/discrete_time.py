"""Discrete-time hazards: follow-up cut into intervals, one row a patient and interval, any classifier, curves again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.metrics.arrays import tally, vector, weights_of
from aimed.prognosis.coefficients import independent_columns, refuse_columns, refuse_wide
from aimed.prognosis.competing import as_competing
from aimed.prognosis.curves import LineFunction, as_matrix, as_survival, choose_knots, knot_times

__all__ = [
    "DiscreteTimeHazard",
    "HazardCurves",
    "Intervals",
    "PersonPeriods",
    "read_entry",
    "read_outcome",
    "whole_number",
]

_BLOCK = 8192
_SMALLEST = 1e-12
_WILD = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class PersonPeriods:
    """One row for each patient and interval in which the patient was at risk.

    Parameters
    ----------
    row : int array, shape (m,)
        The patient, in order.
    interval : int array, shape (m,)
        Counted from 0.
    code : int array, shape (m,)
        0 for no event in the interval, else the cause.
    weight : float array, shape (m,)
        The patient's weight, times the share of the interval under observation where it ended without an event.
    """

    row: NDArray[np.intp]
    interval: NDArray[np.intp]
    code: NDArray[np.int64]
    weight: NDArray[np.float64]

    def thinned(self, most: int, rng: np.random.Generator) -> PersonPeriods:
        """Keep every row with an event and so many of the others, drawn by chance and weighing for those left out.

        Parameters
        ----------
        most : int
            Rows to keep in all; at least as many without an event are kept as there are with one.
        rng : Generator
        """
        quiet = np.flatnonzero(self.code == 0)
        events = self.row.size - quiet.size
        count = max(most - events, events)
        if self.row.size <= most or count >= quiet.size:
            return self
        chosen = np.zeros(self.row.size, dtype=bool)
        drawn = quiet[rng.choice(quiet.size, count, replace=False)]
        chosen[drawn] = True
        chosen[self.code > 0] = True
        weight = self.weight.copy()
        # By interval, so that each keeps its mean hazard.
        size = int(self.interval.max()) + 1
        whole = tally(self.interval[quiet], self.weight[quiet], size)
        kept = tally(self.interval[drawn], self.weight[drawn], size)
        scale = np.divide(whole, kept, out=np.ones(size), where=kept > 0)
        weight[drawn] *= scale[self.interval[drawn]]
        return PersonPeriods(self.row[chosen], self.interval[chosen], self.code[chosen], weight[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Follow-up cut at some times, the first interval starting at 0; each holds its end and not its start.

    Parameters
    ----------
    ends : float array, shape (J,), rising

    Examples
    --------
    >>> cut = Intervals.at_quantiles(np.array([1.0, 2.0, 3.0, 8.0]), np.ones(4, bool), np.ones(4), 2)
    >>> cut.ends.tolist()
    [2.5, 8.0]
    >>> rows = cut.expand(np.array([1, 0]), np.array([2.0, 4.7]), np.zeros(2), np.ones(2))
    >>> rows.row.tolist(), rows.interval.tolist(), rows.code.tolist(), rows.weight.round(2).tolist()
    ([0, 1, 1], [0, 0, 1], [1, 0, 0], [1.0, 1.0, 0.4])
    """

    ends: NDArray[np.float64]

    @classmethod
    def at_quantiles(
        cls,
        time: NDArray[np.float64],
        event: NDArray[np.bool_],
        weight: NDArray[np.float64],
        count: int,
        least: int = 1,
    ) -> Intervals:
        """Cut so that about as much weight of events falls into each interval; fewer intervals where times are few.

        Cuts lie halfway between event times, and the last just after the last of them, so that none of them is the
        time of a single patient; see `aimed.prognosis.curves.knot_times`. Each interval has at least `least` events.
        """
        times, place, events = np.unique(time[event], return_inverse=True, return_counts=True)
        allowed = choose_knots(events, least, times.size)
        total = np.cumsum(tally(place, weight[event], times.size))[allowed]
        wanted = total[-1] * np.arange(1, count + 1) / count
        chosen = np.minimum(np.searchsorted(total, wanted * (1.0 - 1e-12), side="left"), allowed.size - 1)
        ends = knot_times(times, allowed[np.unique(chosen)])
        if ends[-1] <= 0.0:
            raise NotEstimableError("every event happens at time 0", "event times above 0", "see how time is counted")
        return cls(ends)

    @property
    def starts(self) -> NDArray[np.float64]:
        """Start of each interval, shape (J,)."""
        return np.concatenate(([0.0], self.ends[:-1]))

    def expand(
        self,
        codes: NDArray[np.int64],
        time: NDArray[np.float64],
        entry: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> PersonPeriods:
        """Return the intervals in which each patient was at risk, from entry to the last time.

        Notes
        -----
        With a hazard that is constant inside an interval, who is seen for a share f of it without an event adds
        f log(1 - h) to the log-likelihood: a row of weight f. An event counts whole.
        """
        last = np.searchsorted(self.ends, time, side="left")
        first = np.searchsorted(self.ends, entry, side="right")
        count = np.maximum(np.minimum(last, self.ends.size - 1) - first + 1, 0)
        row = np.repeat(np.arange(time.size), count)
        interval = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count) + first[row]
        hit = (interval == last[row]) & (codes[row] > 0)
        low, high = self.starts[interval], self.ends[interval]
        seen = (np.minimum(time[row], high) - np.maximum(entry[row], low)) / (high - low)
        whole = np.where(hit, 1.0, seen) * weight[row]
        used = whole > 0
        code = np.where(hit, codes[row], 0)
        return PersonPeriods(row[used], interval[used], code[used], whole[used])


class HazardCurves(BaseEstimator, ABC):  # type: ignore[misc]
    """What models of a hazard by interval share: scores and curves.

    A subclass sets `intervals_`, `causes_` and `n_features_in_`, and gives `_hazards`.
    """

    intervals_: Intervals
    causes_: tuple[int, ...]

    @abstractmethod
    def _hazards(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance of each event in each interval, having reached it, shape (n, J, K)."""

    @abstractmethod
    def _read(self, X: Any) -> NDArray[np.float64]:
        """Check and return the matrix of predictors."""

    @property
    def unique_times_(self) -> NDArray[np.float64]:
        """Ends of the intervals, shape (J,)."""
        return self.intervals_.ends

    def _cause(self, cause: int) -> int:
        if cause not in self.causes_:
            raise StudyFileError(f"cause = {cause!r}", f"one of {list(self.causes_)}")
        return self.causes_.index(cause)

    def predict(self, X: Any, cause: int = 1) -> NDArray[np.float64]:
        """Return the log odds of the cause's hazard as a mean over intervals, shape (n,); higher is worse.

        Intervals hold about as many events each, so each counts as much as the events in it.

        Parameters
        ----------
        X : float array, shape (n, p)
        cause : int
        """
        check_is_fitted(self, "intervals_")
        values, k = self._read(X), self._cause(cause)
        out = np.empty(values.shape[0])
        for a in range(0, values.shape[0], _BLOCK):
            hazard = np.clip(self._hazards(values[a : a + _BLOCK])[:, :, k], _SMALLEST, 1.0 - _SMALLEST)
            out[a : a + _BLOCK] = (np.log(hazard) - np.log1p(-hazard)).mean(axis=1)
        return out

    def _curves(
        self, X: Any, times: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return, at the times, the hazard of any event added up, shape (n, t), and those and incidences by cause."""
        check_is_fitted(self, "intervals_")
        values = self._read(X)
        starts, ends = self.intervals_.starts, self.intervals_.ends
        asked = ends if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        if np.isnan(asked).any():
            raise DataError(f"{int(np.isnan(asked).sum())} of {asked.size} times are missing", "known times")
        place = np.minimum(np.searchsorted(ends, asked, side="left"), ends.size - 1)
        part = (np.clip(asked, starts[place], ends[place]) - starts[place]) / (ends[place] - starts[place])
        n, kinds = values.shape[0], len(self.causes_)
        total = np.empty((n, asked.size))
        by_cause, incidence = np.empty((2, n, asked.size, kinds))
        for a in range(0, n, _BLOCK):
            rows = slice(a, a + _BLOCK)
            hazard = self._hazards(values[rows])
            whole = hazard.sum(axis=2)
            share = np.divide(
                hazard, whole[:, :, None], out=np.full(hazard.shape, 1 / kinds), where=whole[:, :, None] > 0
            )
            rise = -np.log1p(-np.minimum(whole, 1.0 - _SMALLEST))
            before = np.concatenate((np.zeros((rise.shape[0], 1)), np.cumsum(rise, axis=1)), axis=1)
            own = np.concatenate(
                (np.zeros((*share[:, :1].shape,)), np.cumsum(share * rise[:, :, None], axis=1)), axis=1
            )
            left = np.exp(-before)
            gone = np.concatenate(
                (np.zeros(share[:, :1].shape), np.cumsum(share * -np.diff(left, axis=1)[:, :, None], axis=1)), axis=1
            )
            total[rows] = before[:, place] + part * rise[:, place]
            by_cause[rows] = own[:, place] + part[:, None] * (share * rise[:, :, None])[:, place]
            fall = left[:, place] - np.exp(-total[rows])
            incidence[rows] = gone[:, place] + share[:, place] * fall[:, :, None]
        return total, by_cause, np.clip(incidence, 0.0, 1.0)

    def predict_cumulative_hazard_function(
        self, X: Any, times: ArrayLike | None = None, return_array: bool = False, cause: int | None = None
    ) -> Any:
        """Return cumulative hazards, straight inside each interval and flat after the last.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            Times to read the curves at; `unique_times_` when absent.
        return_array : bool
            Without times: an array in place of functions.
        cause : int, optional
            With competing risks, the hazard of one cause; that of any event when absent, of which the survival
            is exp(-H).

        Returns
        -------
        float array, shape (n, t), or object array of n functions of time
        """
        total, by_cause, _ = self._curves(X, times)
        found = total if cause is None else np.ascontiguousarray(by_cause[:, :, self._cause(cause)])
        return found if times is not None or return_array else self._functions(found, False)

    def predict_survival_function(self, X: Any, times: ArrayLike | None = None, return_array: bool = False) -> Any:
        """Return the chance of no event of any cause; parameters as in `predict_cumulative_hazard_function`."""
        total = self._curves(X, times)[0]
        return np.exp(-total) if times is not None or return_array else self._functions(total, True)

    def predict_cumulative_incidence(
        self, X: Any, times: ArrayLike | None = None, cause: int | None = None
    ) -> NDArray[np.float64]:
        """Return the chance of an event of each cause by each time, before any other event.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            `unique_times_` when absent.
        cause : int, optional
            One cause; all of them when absent.

        Returns
        -------
        float array, shape (n, t, K), or (n, t) for one cause
            With the survival they add up to 1.
        """
        found = self._curves(X, times)[2]
        return found if cause is None else np.ascontiguousarray(found[:, :, self._cause(cause)])

    def _functions(self, hazards: NDArray[np.float64], survival: bool) -> NDArray[Any]:
        out = np.empty(hazards.shape[0], dtype=object)
        out[:] = [LineFunction(self.unique_times_, hazard, 0.0, survival) for hazard in hazards]
        return out

    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C of `predict`, or with competing risks Wolbers' C of cause 1, up to the last interval."""
        from aimed.metrics.concordance import cause_specific_c, harrell_c

        codes, time, _ = read_outcome(y, len(self.causes_))
        score = self.predict(X)
        if len(self.causes_) == 1:
            return float(harrell_c(codes > 0, time, score))
        ends = self.unique_times_
        return float(cause_specific_c(codes, time, score, cause=1, tau=float(ends[max(ends.size - 2, 0)])))


def read_outcome(y: Any, causes: int | None) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Split a structured outcome into codes, times and number of causes, whether its event is boolean or a code."""
    array = np.asarray(y)
    if array.dtype.names and any(array.dtype[f].kind == "b" for f in array.dtype.names):
        event, time = as_survival(y)
        return event.astype(np.int64), time, 1 if causes is None else causes
    return as_competing(y, None, causes)


def read_entry(entry: ArrayLike | None, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return times of entry; zeros when absent.

    Raises
    ------
    DataError
        If a row enters before time 0, or at or after its own time.
    """
    if entry is None:
        return np.zeros(time.size)
    begin = vector("entry", entry, time.size)
    if begin.min() < 0:
        raise DataError(f"entry has {int((begin < 0).sum())} of {begin.size} negative values", "times >= 0")
    late = int((begin >= time).sum())
    if late:
        raise DataError(f"{late} of {time.size} rows enter at or after their own time", "entry before time")
    return begin


def whole_number(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """Return a parameter that must be a whole number in a range.

    Raises
    ------
    StudyFileError
        If it is not.

    Examples
    --------
    >>> whole_number("n_intervals", 10, 1)
    10
    """
    if isinstance(value, bool) or not (isinstance(value, int | np.integer) and low <= value <= high):
        raise StudyFileError(f"{name} = {value!r}", f"an integer from {low} to {high}")
    return int(value)


class DiscreteTimeHazard(HazardCurves):
    """The chance of an event in each interval of follow-up, by a classifier of one's choice.

    Parameters
    ----------
    estimator : classifier, optional
        Any scikit-learn classifier with ``predict_proba`` and sample weights; logistic regression without a penalty
        when absent.
    n_intervals : int
        Intervals, with about as many events in each; see `Intervals.at_quantiles`.
    causes : int, optional
        How many causes are declared, K, as in `aimed.prognosis.competing.as_competing`.
    time_as : {"indicators", "number"}
        How the classifier sees the interval: as a level of its own, for linear models, or as its number, for trees.

    Attributes
    ----------
    estimator_ : classifier
        Fitted to columns of X, then the interval.
    intervals_ : Intervals
    unique_times_ : float array, shape (J,)
        Their ends.
    causes_ : tuple of int
    n_rows_ : int
        Patients times intervals.
    feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    Given that a patient has reached an interval, the event in it is a yes/no outcome (or with competing risks one of
    K + 1), so the likelihood of the follow-up is that of a classifier on one row a patient and interval. The logistic
    hazard is Cox's model for grouped times on the odds scale (proportional odds of the hazard); on short intervals
    its coefficients are log hazard ratios. Classifiers that let predictors act together with the interval need no
    proportional hazards. A classifier must be fitted to the likelihood, without class weights or resampling.

    Inside an interval the hazards are constant, so that survival falls as an exponential there; after the last one
    curves are flat. Who is censored inside an interval, or enters late, counts with the share of it that was seen.

    Raises
    ------
    NotEstimableError
        If there is no event, or no interval that anyone outlives; without `estimator` also if columns are constant,
        collinear or separate the events.
    DataError
        If X is incomplete, codes are not declared, or a row enters at or after its own time.

    References
    ----------
    Cox, J R Stat Soc B 1972;34:187. Singer and Willett, J Educ Stat 1993;18:155. Tutz and Schmid, Modeling Discrete
    Time-to-Event Data, Springer 2016.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, late = rng.normal(size=(400, 1)), rng.exponential(size=400)
    >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
    >>> model = DiscreteTimeHazard().fit(X, y)
    >>> model.predict_survival_function([[0.0]], times=[0.0, 1.0]).round(2).tolist()
    [[1.0, 0.33]]
    >>> model.estimator_.coef_[:, :1].round(1).tolist()
    [[1.1]]
    """

    def __init__(
        self, estimator: Any = None, n_intervals: int = 20, causes: int | None = None, time_as: str = "indicators"
    ) -> None:
        self.estimator = estimator
        self.n_intervals = n_intervals
        self.causes = causes
        self.time_as = time_as

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
        *,
        entry: ArrayLike | None = None,
    ) -> DiscreteTimeHazard:
        """Fit the classifier to one row a patient and interval.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
        y : structured array, shape (n,)
            An event and a time; the event is boolean, or 0 for none and 1 to K for the cause.
        sample_weight : float array, shape (n,), optional
        feature_names : sequence of str, length p, optional
        entry : float array, shape (n,), optional
            Time from which each patient was under observation (left truncation).
        """
        if self.time_as not in ("indicators", "number"):
            raise UnknownNameError("time_as", str(self.time_as), ("indicators", "number"))
        count = whole_number("n_intervals", self.n_intervals, 1, 1000)
        values, found = as_matrix(X, names=feature_names)
        codes, time, causes = read_outcome(y, self.causes)
        if values.shape[0] != time.size:
            raise DataError(f"X has {values.shape[0]} rows and y {time.size}", "one outcome a row")
        weight, begin = weights_of(sample_weight, time.size), read_entry(entry, time)
        used = weight > 0
        event = used & (codes > 0)
        if not event.any():
            raise NotEstimableError("no event in the training rows", "at least one", "extend follow-up or the cohort")
        if self.estimator is None:
            refuse_wide(values.shape[1], int(used.sum()), int(event.sum()), 0.0, "raise")
        self.intervals_ = Intervals.at_quantiles(time, event, weight, count)
        rows = self.intervals_.expand(codes, time, begin, weight)
        if np.unique(rows.code).size < 2:
            raise NotEstimableError(
                f"every row has the event in the first of {self.intervals_.ends.size} intervals it reaches",
                "rows that outlive an interval",
                "raise n_intervals",
            )
        names = list(feature_names) if feature_names is not None else found
        known = names if names is not None else [f"x{j}" for j in range(values.shape[1])]
        spread = _refuse_dependent(values, weight, known) if self.estimator is None else np.zeros(0)
        base = LogisticRegression(C=np.inf, solver="newton-cholesky", max_iter=1000, tol=1e-8)
        classifier = base if self.estimator is None else clone(self.estimator)
        design = self._design(values[rows.row], rows.interval)
        self.estimator_ = classifier.fit(design, rows.code, sample_weight=rows.weight)
        if self.estimator is None:
            _refuse_unbounded(self.estimator_.coef_[:, : spread.size] * spread, known)
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_rows_ = values.shape[1], rows.row.size
        self.causes_ = tuple(range(1, causes + 1))
        self.n_fitted_, self.n_events_ = int(used.sum()), int(event.sum())
        return self

    def _design(self, values: NDArray[np.float64], interval: NDArray[np.intp]) -> NDArray[np.float64]:
        if self.time_as == "number":
            return np.column_stack((values, interval))
        out = np.zeros((values.shape[0], values.shape[1] + self.intervals_.ends.size - 1))
        out[:, : values.shape[1]] = values
        later = np.flatnonzero(interval > 0)
        out[later, values.shape[1] + interval[later] - 1] = 1.0
        return out

    def _read(self, X: Any) -> NDArray[np.float64]:
        return as_matrix(X, self.n_features_in_, getattr(self, "feature_names_in_", None))[0]

    def _hazards(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        n, size = X.shape[0], self.intervals_.ends.size
        out = np.zeros((n, size, len(self.causes_)))
        known = [int(c) for c in self.estimator_.classes_]
        for j in range(size):
            chance = self.estimator_.predict_proba(self._design(X, np.full(n, j)))
            for column, code in enumerate(known):
                if code:
                    out[:, j, code - 1] = chance[:, column]
        return out


def _refuse_dependent(
    values: NDArray[np.float64], weight: NDArray[np.float64], names: Sequence[str]
) -> NDArray[np.float64]:
    """Refuse columns that are constant or a combination of earlier ones; return standard deviations, shape (p,)."""
    share = (weight / weight.sum())[:, None]
    centred = values - (share * values).sum(axis=0)
    spread = np.sqrt((share * centred**2).sum(axis=0))
    flat = spread <= 1e-10 * np.abs(values).max(axis=0, initial=0.0)
    scaled = np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))
    _, problems = independent_columns(scaled.T @ (share * scaled), names)
    refuse_columns(problems, "leave them out, or give a classifier with a penalty")
    return np.asarray(spread)


def _refuse_unbounded(effects: NDArray[np.float64], names: Sequence[str]) -> None:
    """Refuse coefficients, on columns of unit spread, that no finite odds ratio can stand for."""
    wild = np.flatnonzero(np.abs(effects).max(axis=0, initial=0.0) > _WILD)
    if wild.size:
        listed = ", ".join(f"'{names[int(j)]}'" for j in wild[:5])
        raise NotEstimableError(
            f"the odds ratio of {listed} grows without bound: columns separate the events",
            "columns that do not tell the event by themselves",
            "see how they were recorded, or give a classifier with a penalty",
        )
