"""Accuracy at times of follow-up: cumulative/dynamic AUC and Brier scores under censoring, along a grid of times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    FloatArray,
    IntArray,
    dot,
    event_kinds,
    follow_up,
    patient_codes,
    tally,
    vector,
    weights_of,
)
from aimed.metrics.ipcw import CensoringWeights, distinct_times, weights_for
from aimed.metrics.kernels.horizon import (
    auc_influence,
    auc_replicates,
    auc_sums,
    brier_replicates,
    brier_spread,
    brier_sums,
    censoring_replicates,
    censoring_spread,
    patient_squares,
)
from aimed.metrics.result import Curve, Estimate, Scale, clustered, few_units, independent_units, limits, notes

__all__ = [
    "BrierReplicates",
    "DynamicAuc",
    "DynamicAucReplicates",
    "Predictions",
    "brier_incidence",
    "brier_survival",
    "dynamic_auc",
    "integrated_brier",
    "integrated_brier_incidence",
    "scaled_brier_survival",
]

Predictions: TypeAlias = ArrayLike | Callable[[FloatArray], ArrayLike]
"""Probabilities, shape (n, t), or a function that makes them for some of the times, shape (n, len(times))."""

_CELLS = 1_600_000
"""Rows times columns that are worked on together, so that memory does not grow with the number of times."""


def _width(n: int) -> int:
    return max(8, _CELLS // n)


class _Horizons:
    """Rows seen from a grid of times: who is gone, who is still followed, and with what weight.

    Attributes
    ----------
    events_by : int array, shape (t,)
        Events of the cause by each time.
    reach : int array, shape (n,)
        Grid times before the row's own time; the row is still followed at those.
    kind : uint8 array, shape (n,)
        0 censored, 1 event of the cause, 2 another event.
    gone : float array, shape (n,)
        Weight / G(T-) of rows with an event by the last time, else 0.
    """

    def __init__(
        self,
        event: ArrayLike,
        time: ArrayLike,
        times: ArrayLike,
        weights: ArrayLike | None,
        cause: int,
        train: Sequence[ArrayLike] | None,
        censoring: CensoringWeights | None,
        normalize: bool,
    ) -> None:
        self.time, self.times = _grid(time, times)
        self.n = self.time.size
        self.kind = event_kinds(event, self.n, cause)
        w = weights_of(weights, self.n)
        self.g = weights_for(self.kind > 0, self.time, w, train, censoring)
        self.weights = w / w.sum() if normalize else w
        self.reach: IntArray = np.searchsorted(self.times, self.time, side="left").astype(np.int64)
        last = float(self.time[w > 0].max())
        # Once the last rows have had events, the status of all is known, or weighted for, for ever.
        self.known_to = last if ((self.time == last) & (self.kind == 0) & (w > 0)).any() else np.inf
        self._follow_to_the_end()
        needed = (self.kind > 0) & (self.reach < self.times.size) & (w > 0)
        self.g.check(needed=needed)
        self.gone: FloatArray = np.divide(self.weights, self.g.left, out=np.zeros(self.n), where=needed)
        own = (self.kind == 1) & (w > 0)
        self.events_by: IntArray = np.cumsum(np.bincount(self.reach[own], minlength=self.times.size + 1))[:-1]
        self.events = int(self.events_by[-1])
        self.own_curve = self.g.marginal and not self.g.known
        self._steps()

    def _follow_to_the_end(self) -> None:
        """Let rows that are censored at a grid time where G is 0 be followed beyond it: they are known to be free."""
        next_time = self.times[np.minimum(self.reach, self.times.size - 1)]
        ends = np.flatnonzero((self.kind == 0) & (next_time == self.time))
        columns = np.unique(self.reach[ends])
        if self.g.marginal:
            ended = (self.g.at(self.times[columns]) <= 0) & (self.g.before(self.times[columns]) > 0)
            ends = ends[ended[np.searchsorted(columns, self.reach[ends])]]
        else:
            kept = []
            for j in columns:
                t, here = self.times[[j]], ends[self.reach[ends] == j]
                kept.append(here[(self.g.at(t)[here, 0] <= 0) & (self.g.before(t)[here, 0] > 0)])
            ends = np.concatenate([ends[:0], *kept])
        if ends.size:
            # All sums go by the order of times: the next number after the grid time is beyond it, and before all else.
            self.time = self.time.copy()
            self.time[ends] = np.nextafter(self.time[ends], np.inf)
            self.reach[ends] += 1

    def _steps(self) -> None:
        """Steps of the log of G by its weights: what a change of a row's weight does through G."""
        size = self.times.size
        distinct, self.group = distinct_times(self.time)
        u = distinct.size
        if not self.own_curve:
            self.rise, self.per_risk = np.zeros(u), np.zeros(u)
            self.grown, self.grown_at = np.zeros(self.n), np.zeros(size)
            return
        leaving = tally(self.group, self.weights, u)
        lost = tally(self.group, self.weights * (self.kind == 0), u)
        after: FloatArray = np.r_[np.cumsum(leaving[::-1])[::-1][1:], 0.0]
        at_risk = after + lost
        self.rise = np.divide(lost, at_risk * after, out=np.zeros(u), where=after > 0)
        self.per_risk = np.divide(1.0, at_risk, out=np.zeros(u), where=at_risk > 0)
        total: FloatArray = np.r_[0.0, np.cumsum(self.rise)]
        self.grown = total[self.group]
        self.grown_at = total[np.searchsorted(distinct, self.times, side="right")]

    def inverse(self, start: int, stop: int) -> tuple[FloatArray, FloatArray]:
        """Return 1 / G at some times, shape (levels, stop - start), and the weight / G still followed then."""
        at = np.atleast_2d(self.g.followed(self.times[start:stop]))
        columns = np.arange(start, stop)
        if at.shape[0] == 1:
            counts = tally(self.reach, self.weights, self.times.size + 1)
            beyond = np.cumsum(counts[::-1])[::-1][columns + 1]
            bad = int(((at[0] <= 0) & (beyond > 0)).sum())
        else:
            beyond = np.zeros(columns.size)
            alive = (self.reach[:, None] > columns) & (self.weights[:, None] > 0)
            bad = int(((at <= 0) & alive).any(axis=0).sum())
        if bad:
            raise NotEstimableError(
                f"the chance of not being censored is 0, or not known, at {bad} times that rows are followed beyond",
                "G > 0",
                "choose times inside the follow-up of the rows that G is estimated from",
            )
        out: FloatArray = np.divide(1.0, at, out=np.zeros(at.shape), where=at > 0)
        if at.shape[0] == 1:
            return out, beyond * out[0]
        return out, np.einsum("i,ij,ij->j", self.weights, out, alive)

    def levels(self, rows: int) -> IntArray:
        """Return the row of `inverse` that each row reads."""
        return np.zeros(self.n, dtype=np.int64) if rows == 1 else np.arange(self.n)

    def gone_by(self, values: FloatArray) -> FloatArray:
        """Return sums of values over the rows whose own time is at or before each grid time."""
        out: FloatArray = np.cumsum(tally(self.reach, values, self.times.size + 1))[:-1]
        return out

    def through_g(self, terms: FloatArray, start: int) -> FloatArray:
        """Add, column by column, what the terms do through a G that differs between rows."""
        if self.g.known:
            return terms
        out = terms.copy()
        for j in range(terms.shape[1]):
            still = self.reach > start + j
            away, alive = np.where(still, 0.0, -terms[:, j]), np.where(still, -terms[:, j], 0.0)
            out[:, j] += self.g.influence(left=away, at=alive[:, None], times=self.times[[start + j]])
        return out


def _grid(time: ArrayLike, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
    when = follow_up(time)
    grid = vector("times", np.atleast_1d(np.asarray(times, dtype=np.float64)))
    if (np.diff(grid) <= 0).any():
        raise DataError("times do not rise", "rising times, each once")
    return when, grid


def _ties(ordered: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether no other row has a row's value, and whether the next row has another; values in order."""
    new = np.ones(ordered.size + 1, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:-1])
    return new[:-1] & new[1:], new[1:]


def _scores(score: ArrayLike, n: int, size: int) -> FloatArray:
    """Return scores by column: one for all times, or one a time."""
    values = np.asarray(score, dtype=np.float64)
    if values.shape not in ((n,), (n, size)):
        raise DataError(f"score has shape {values.shape}", f"({n},), or ({n}, {size}) with one column a time")
    vector("score", values.ravel())
    return values[:, None] if values.ndim == 1 else values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DynamicAuc(Curve):
    """AUC along times, and its mean over the times at which events happen.

    Parameters
    ----------
    mean : Estimate
        Mean of the curve, each time weighted by the share of events since the time before it.
    """

    mean: Estimate = field(default_factory=lambda: Estimate(float("nan"), name="mean_auc"))


_AUC_CONTROLS = ("all", "event-free")


def _control_rule(controls: str) -> bool:
    """Whether rows with another event stay controls."""
    if controls not in _AUC_CONTROLS:
        raise DataError(f"controls={controls!r}", '"all" or "event-free"')
    return controls == "all"


def dynamic_auc(
    event: ArrayLike,
    time: ArrayLike,
    score: ArrayLike,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    cause: int = 1,
    controls: str = "all",
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
    influence: bool = False,
) -> DynamicAuc:
    """Return the cumulative/dynamic AUC: rows with the event by each time against rows still without it.

    Parameters
    ----------
    event : int array, shape (n,)
        0 censored, 1 event; with competing risks 1 to K for the kind of event.
    time : float array, shape (n,)
    score : float array, shape (n,) or (n, t)
        Higher is worse; one score for all times, or one a time.
    times : float array, shape (t,), rising
    weights : float array, shape (n,), optional
        Whole numbers stand for repeated rows.
    cause : int
        Kind of event that is predicted.
    controls : {"all", "event-free"}
        With competing risks: rows without an event of the cause by t, other events among them (Blanche's second
        definition, riskRegression), or rows without any event by t (the first).
    train : (event, time) or (event, time, weights), optional
        Rows from which the chance G of not being censored is estimated; it is then taken as known.
    censoring : CensoringWeights, optional
        G made by `aimed.metrics.ipcw.censoring_weights`, such as one that depends on covariates.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    se : bool
        False leaves out the error and the interval, which are most of the work.
    influence : bool
        Also return the influence of each row at each time, which takes n times t numbers.

    Returns
    -------
    DynamicAuc
        A `Curve`, with the `mean` over times. NaN at times without a case or without a control.

    Raises
    ------
    DataError
        If times do not rise, or shapes do not fit.
    NotEstimableError
        If no time has both a case and a control, or G is 0 where a row is weighted by it.

    Notes
    -----
    Formula: sum over pairs of case i and control j of w_i w_j [s_i > s_j] + [s_i = s_j] / 2, over the sum of w_i w_j.
        Cases have T <= t and weigh 1 / G(T-); controls have T > t and weigh 1 / G(t), other events 1 / G(T-). Error by
        the infinitesimal jackknife, with what the estimation of G adds; the interval is symmetric on the logit scale,
        with the quantile of t for the number of cases, or of patients where they are fewer. Where G(t) = 0, as when all
        who are left are censored at t, controls are the rows followed to t, with weight 1 / G(t-). The mean weighs each
        time by the share of events since the time before, as scikit-survival does by the drop of the Kaplan-Meier
        curve.
    Range: 0 to 1; 0.5 is chance.
    Assumes: censoring that does not depend on the outcome, or on it only through what `censoring` uses.
    Refuses: a grid without cases or controls; G = 0 where it is divided by. scikit-survival reads G(T) in place of
        G(T-), and differs on coarse times.

    References
    ----------
    Uno et al., JASA 2007;102:527. Blanche, Dartigues and Jacqmin-Gadda, Stat Med 2013;32:5381 (error, competing
    risks).

    Examples
    --------
    >>> found = dynamic_auc([1, 1, 0, 0], [1, 2, 3, 4], [0.9, 0.2, 0.3, 0.1], [1, 2])
    >>> found.value, round(found.mean, 3)
    (array([1.  , 0.75]), 0.875)
    """
    rows = _Horizons(event, time, times, weights, cause, train, censoring, normalize=False)
    n, size = rows.n, rows.times.size
    if not _control_rule(controls):
        rows.gone = np.where(rows.kind == 2, 0.0, rows.gone)
    columns = _scores(score, n, size)
    order = np.argsort(rows.time)
    rank: IntArray = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    codes: IntArray = np.empty(0, dtype=np.int64) if patient is None else patient_codes(patient, n)[order]
    patients = int(codes.max()) + 1 if codes.size else 0

    cases = rows.gone_by(np.where(rows.kind == 1, rows.gone, 0.0))
    mix = np.diff(cases, prepend=0.0)
    value, squares = np.full(size, np.nan), np.full(size, np.nan)
    mixed, kept = np.zeros(n), np.empty((n, size) if influence else (0, 0))
    step = 1 if columns.shape[1] > 1 else _width(n)
    left_in_time, group_in_time = rows.reach[order], rows.group[order]
    weight_in_time, censored_in_time = rows.weights[order], (rows.kind == 0)[order]
    spread = se or influence
    buffer = np.empty(n * min(step, size) if spread else 0)
    alone = last = np.empty(0, dtype=bool)
    for start in range(0, size, step):
        stop = min(start + step, size)
        if not last.size or columns.shape[1] > 1:
            column = np.ascontiguousarray(columns[:, start if columns.shape[1] > 1 else 0])
            by_score = np.argsort(column)
            alone, last = _ties(column[by_score])
            kind, reach, target = rows.kind[by_score], rows.reach[by_score], rank[by_score]
            gone, weight, grown = rows.gone[by_score], rows.weights[by_score], rows.grown[by_score]
        inverse, _ = rows.inverse(start, stop)
        level_of = rows.levels(inverse.shape[0])[by_score]
        here = np.clip(reach - start, 0, stop - start)
        right, case, control = auc_sums(alone, last, here, kind, gone, weight, level_of, inverse)
        known = (case > 0) & (control > 0)
        area = np.divide(right, case * control, out=np.zeros(stop - start), where=known)
        value[start:stop] = np.where(known, area, np.nan)
        if not spread:
            continue
        terms = buffer[: n * (stop - start)].reshape(n, stop - start)
        through_left, through_at = np.zeros(stop - start), np.zeros(stop - start)
        auc_influence(
            alone, last, here, kind, gone, weight, level_of, inverse, area, case, control, target, grown, terms,
            through_left, through_at,
        )  # fmt: skip
        if rows.own_curve:
            censoring_spread(
                terms, np.clip(left_in_time - start, 0, stop - start), weight_in_time, censored_in_time, group_in_time,
                rows.rise, rows.per_risk, rows.grown_at[start:stop], through_left, through_at,
            )  # fmt: skip
        elif not rows.g.known:
            terms = rows.through_g(terms[rank], start)[order]
        found = patient_squares(terms, codes, patients, np.where(known, mix[start:stop], 0.0), mixed)
        squares[start:stop] = np.where(known, found, np.nan)
        if influence:
            kept[order, start:stop] = np.where(known, terms, np.nan)
    if not np.isfinite(value).any():
        raise NotEstimableError("no time has both a case and a control", "times inside the follow-up, with events")

    lost = int(np.isnan(value).sum())
    error, units = np.sqrt(squares), _few(rows, patient, rows.events_by)
    open_ended = np.isnan(limits(value, error, level, (0.0, 1.0), "logit", units)[0])
    few = int((np.isfinite(value) & open_ended).sum()) if spread else 0
    return DynamicAuc.normal(
        value,
        error,
        level=level,
        bounds=(0.0, 1.0),
        scale="logit",
        units=units,
        name="dynamic_auc",
        axis="time",
        x=rows.times,
        n=n,
        events=rows.events,
        method=notes(_method(rows, patient, spread), _CASES if spread else ""),
        note=notes(
            f"{lost} times have no case or no control" if lost else "",
            f"no interval at {few} times: one case, or all pairs ranked alike" if few else "",
        ),
        influence=kept if influence else None,
        mean=_mean_auc(rows, value, cases, mix, mixed[rank] if spread else None, patient, level),
    )


def _method(rows: _Horizons, patient: ArrayLike | None, spread: bool) -> str:
    return f"{rows.g.convention}; error: {clustered(_JACKKNIFE, patient)}" if spread else rows.g.convention


def _few(rows: _Horizons, patient: ArrayLike | None, events: IntArray) -> IntArray:
    """Independent units of an AUC: its cases, or the patients where they are fewer."""
    patients = independent_units(patient, rows.n)
    return events if patients is None else np.minimum(events, patients)


_JACKKNIFE = "infinitesimal jackknife"
_LOG = "symmetric on the log scale"
_CASES = "symmetric on the logit scale, quantile of t for the number of cases, or of patients where they are fewer"
_MEAN = "mean over times, weighted by the events since the time before"


def _mean_auc(
    rows: _Horizons,
    value: FloatArray,
    cases: FloatArray,
    mix: FloatArray,
    mixed: FloatArray | None,
    patient: ArrayLike | None,
    level: float,
) -> Estimate:
    """Mean of the AUC over the events, with what the weights of the times add to its influence."""
    total = float(cases[-1])
    if np.isnan(value[mix > 0]).any():
        return Estimate(
            float("nan"),
            name="mean_auc",
            n=rows.n,
            events=rows.events,
            note="the AUC is not known at a time with events",
        )
    known = np.where(mix > 0, value, 0.0)
    mean = dot(mix, known) / total
    if mixed is None:
        return Estimate(mean, name="mean_auc", n=rows.n, events=rows.events, level=level, method=_MEAN)
    # A case moves the weight of the first grid time at or after its own.
    per_time = np.r_[(known - mean) / total, 0.0]
    shift = np.where(rows.kind == 1, rows.gone, 0.0) * per_time[rows.reach]
    influence = mixed / total + shift + rows.g.influence(left=-shift)
    return Estimate.from_influence(
        mean,
        influence,
        patient,
        level=level,
        bounds=(0.0, 1.0),
        scale="logit",
        units=float(_few(rows, patient, rows.events_by)[-1]),
        why="all pairs are ranked alike",
        name="mean_auc",
        events=rows.events,
        method=f"{_MEAN}; error: {clustered(_JACKKNIFE, patient)}; {_CASES}",
    )


def _blocks(
    name: str, predicted: Predictions, times: FloatArray, n: int, whole: bool
) -> Iterator[tuple[int, int, FloatArray, int]]:
    """Yield first and last column, an array that holds them, and where they start in it."""
    step = _width(n)
    if callable(predicted):
        for start in range(0, times.size, step):
            stop = min(start + step, times.size)
            part = np.ascontiguousarray(predicted(times[start:stop]), dtype=np.float64)
            if part.shape != (n, stop - start):
                raise DataError(f"{name}(times) has shape {part.shape}", f"({n}, {stop - start})")
            yield start, stop, part, 0
        return
    values = np.asarray(predicted)
    if values.ndim == 1 and times.size == 1:
        values = values[:, None]
    if values.shape != (n, times.size):
        raise DataError(f"{name} has shape {values.shape}", f"({n}, {times.size}), a column for each time")
    if values.dtype == np.float64 and values.flags.c_contiguous:
        step = times.size if whole else step
        for start in range(0, times.size, step):
            yield start, min(start + step, times.size), values, start
        return
    for start in range(0, times.size, step):
        stop = min(start + step, times.size)
        yield start, stop, np.ascontiguousarray(values[:, start:stop], dtype=np.float64), 0


@dataclass(slots=True)
class _Scored:
    """Brier scores along times, with what their errors are made from."""

    value: FloatArray
    null: FloatArray
    se: FloatArray
    mixed: FloatArray
    influence: FloatArray | None


def _brier(
    rows: _Horizons,
    name: str,
    predicted: Predictions,
    case_target: float,
    patient: ArrayLike | None,
    *,
    scaled: bool = False,
    mix: FloatArray | None = None,
    se: bool = True,
    influence: bool = False,
) -> _Scored:
    """Score predictions, in blocks of times; scaled, score the share still followed too, with errors of the ratio."""
    n, size = rows.n, rows.times.size
    order = np.argsort(rows.time)
    codes: IntArray = np.empty(0, dtype=np.int64) if patient is None else patient_codes(patient, n)
    patients = int(codes.max()) + 1 if codes.size else 0
    gone, gone_grown = rows.gone_by(rows.gone), rows.gone_by(rows.gone * rows.grown)
    value, null_value, squares = np.empty(size), np.empty(size), np.full(size, np.nan)
    mixed, kept = np.zeros(n), np.empty((n, size) if influence else (0, 0))
    none, bad = np.empty(0), 0
    whole = rows.g.marginal and not influence
    for start, stop, block, column in _blocks(name, predicted, rows.times, n, whole):
        width, cut = stop - start, slice(start, stop)
        inverse, followed = rows.inverse(start, stop)
        here = np.clip(rows.reach - start, 0, width)
        gone_sum, followed_sum, grown_sum, good = brier_sums(
            block, column, width, case_target, here, rows.kind, rows.gone, rows.weights, rows.grown
        )
        bad += n * width - good
        terms = np.empty((0, 0))
        if rows.g.marginal:
            followed_sum *= inverse[0]
            value[cut] = gone_sum + followed_sum
        else:
            terms = _terms(rows, block[:, column : column + width], inverse, here, case_target)
            value[cut] = terms.sum(axis=0)
        null_case, null_other = followed**2, (1.0 - followed) ** 2
        null_value[cut] = null_case * gone[cut] + null_other * followed
        ratio = np.zeros(width)
        if scaled:
            np.divide(value[cut], null_value[cut], out=ratio, where=null_value[cut] > 0)
            # A row that is still followed also moves the share, and by that the null score; by nothing where the
            # weights of all add up to 1, as the share is then the best constant.
            null_other += 2 * followed * (gone[cut] + followed - 1.0)
        null_case, null_other = ratio * null_case, ratio * null_other
        mean = value[cut] - null_case * gone[cut] - null_other * followed
        if not (se or influence):
            continue
        if rows.g.marginal:
            found = np.empty((n, width) if influence else (0, 0))
            squares[cut] = brier_spread(
                block, column, case_target, null_case, null_other, mean, order, here, rows.kind, rows.gone,
                rows.weights, rows.group, inverse[0], rows.rise, rows.per_risk, rows.grown_at[cut],
                grown_sum - null_case * gone_grown[cut], followed_sum - null_other * followed, codes, patients,
                none if mix is None else mix[cut], mixed, found,
            )  # fmt: skip
        else:
            if scaled:
                away = here[:, None] <= np.arange(width)
                terms -= np.where(away, rows.gone[:, None] * null_case, rows.weights[:, None] * inverse * null_other)
            found = rows.through_g(terms, start) - rows.weights[:, None] * mean
            squares[cut] = patient_squares(found, codes, patients, np.zeros(width) if mix is None else mix[cut], mixed)
        if influence:
            kept[:, cut] = found
    if bad:
        raise DataError(f"{name} has {bad} of {n * size} values outside [0, 1]", "probabilities")
    beyond = rows.times > rows.known_to
    value[beyond] = null_value[beyond] = squares[beyond] = np.nan
    if influence:
        kept[:, beyond] = np.nan
    return _Scored(value, null_value, np.sqrt(squares), mixed, kept if influence else None)


def _terms(
    rows: _Horizons, predicted: FloatArray, inverse: FloatArray, reach: IntArray, case_target: float
) -> FloatArray:
    """Weighted squared errors of each row at some times, where G differs between rows."""
    gone = reach[:, None] <= np.arange(predicted.shape[1])
    target = np.where(gone & (rows.kind == 1)[:, None], case_target, 1.0 - case_target)
    out: FloatArray = np.where(gone, rows.gone[:, None], rows.weights[:, None] * inverse) * (predicted - target) ** 2
    return out


def _curve(
    rows: _Horizons,
    name: str,
    found: _Scored,
    level: float,
    patient: ArrayLike | None,
    bounds: tuple[float, float] = (0.0, np.inf),
    why: str = "no row is followed to some times",
    scale: Scale = "log",
) -> Curve:
    patients = independent_units(patient, rows.n)
    spread = bool(np.isfinite(found.se).any())
    return Curve.normal(
        found.value,
        found.se,
        level=level,
        bounds=bounds,
        scale=scale,
        units=patients,
        name=name,
        axis="time",
        x=rows.times,
        n=rows.n,
        events=rows.events,
        method=notes(_method(rows, patient, spread), _LOG if spread and scale == "log" else ""),
        note=notes(why if np.isnan(found.value).any() else "", few_units(patients) if spread else ""),
        influence=found.influence,
    )


def _single(event: ArrayLike) -> ArrayLike:
    """Refuse competing events where one kind is meant."""
    values = np.asarray(event)
    if values.size and not ((values == 0) | (values == 1)).all():
        raise DataError(
            "event has values that are neither 0 nor 1", "0 and 1", "use brier_incidence for competing events"
        )
    return event


def brier_survival(
    event: ArrayLike,
    time: ArrayLike,
    survival: Predictions,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
    influence: bool = False,
) -> Curve:
    """Return the Brier score of predicted survival at each time, weighted for censoring.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    survival : float array, shape (n, t), or callable
        Predicted chance of being free of the event at each time. A function of some times, giving shape
        (n, len(times)), is called for blocks of times, so that the whole is never in memory.
    times : float array, shape (t,), rising
    weights, train, censoring, patient, level, se, influence
        As for `dynamic_auc`.

    Returns
    -------
    Curve
        NaN at times beyond the last row, unless that had the event and the status of all is known.

    Raises
    ------
    DataError
        If a prediction is no probability, times do not rise, or shapes do not fit.
    NotEstimableError
        If G is 0 where a row is weighted by it.

    Notes
    -----
    Formula: mean over rows of S(t)^2 / G(T-) where the event came by t, (1 - S(t))^2 / G(t) where the row is followed
        beyond t, and 0 where it was censored before. Where G(t) = 0, as when all who are left are censored at t, rows
        followed to t count with 1 / G(t-): they are known to be free of the event. Error by the infinitesimal
        jackknife, with what the estimation of G adds; the interval is symmetric on the log scale.
    Range: 0 and above; 0 is right for certain, 0.25 is what predicting 0.5 for all gives.
    Assumes: censoring that does not depend on the outcome, or on it only through what `censoring` uses.
    Refuses: predictions outside 0 to 1; G = 0 where it is divided by. scikit-survival reads G(T) in place of G(T-).

    References
    ----------
    Graf et al., Stat Med 1999;18:2529. Gerds and Schumacher, Biom J 2006;48:1029. Blanche et al., Biometrics
    2015;71:102 (error).

    Examples
    --------
    >>> brier_survival([1, 0], [1, 3], [[0.2], [0.9]], [2])[0]
    brier_survival 0.0250 (95 % interval 0.0109 to 0.0574), n = 2
    """
    rows = _Horizons(_single(event), time, times, weights, 1, train, censoring, normalize=True)
    found = _brier(rows, "survival", survival, 0.0, patient, se=se, influence=influence)
    return _curve(rows, "brier_survival", found, level, patient)


def brier_incidence(
    event: ArrayLike,
    time: ArrayLike,
    incidence: Predictions,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    cause: int = 1,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
    influence: bool = False,
) -> Curve:
    """Return the Brier score of predicted incidence of one cause among competing ones, weighted for censoring.

    Parameters
    ----------
    event : int array, shape (n,)
        0 censored, 1 to K the kind of event.
    time, times, weights, train, censoring, patient, level, se, influence
        As for `brier_survival`.
    incidence : float array, shape (n, t), or callable
        Predicted chance of an event of the cause by each time.
    cause : int

    Returns
    -------
    Curve

    Raises
    ------
    DataError
        If a prediction is no probability, times do not rise, or shapes do not fit.
    NotEstimableError
        If G is 0 where a row is weighted by it.

    Notes
    -----
    Formula: mean over rows of (1 - F(t))^2 / G(T-) where the cause came by t, F(t)^2 / G(T-) where another event came
        by t, F(t)^2 / G(t) where the row is followed beyond t, and 0 where it was censored before.
    Range: 0 and above.
    Assumes: censoring that does not depend on the outcome, or on it only through what `censoring` uses.
    Refuses: predictions outside 0 to 1; G = 0 where it is divided by.

    References
    ----------
    Schoop et al., Biom J 2011;53:88. Blanche et al., Biometrics 2015;71:102.

    Examples
    --------
    >>> brier_incidence([1, 2, 0], [1, 2, 3], [[0.8], [0.1], [0.1]], [2.5]).value.round(4)
    array([0.02])
    """
    rows = _Horizons(event, time, times, weights, cause, train, censoring, normalize=True)
    found = _brier(rows, "incidence", incidence, 1.0, patient, se=se, influence=influence)
    return _curve(rows, "brier_incidence", found, level, patient)


def scaled_brier_survival(
    event: ArrayLike,
    time: ArrayLike,
    survival: Predictions,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
    influence: bool = False,
) -> Curve:
    """Return the index of prediction accuracy: 1 - Brier score / that of the share of the same rows still followed.

    Parameters
    ----------
    event, time, survival, times, weights, train, censoring, patient, level, se, influence
        As for `brier_survival`.

    Returns
    -------
    Curve
        NaN where no row is followed to the time, or the share makes no error.

    Raises
    ------
    DataError
        As `brier_survival`.
    NotEstimableError
        As `brier_survival`, or if no time is estimable.

    Notes
    -----
    Formula: 1 - B(t) / B0(t), B0 the score of predicting for everyone the share S(t) still followed, the sum of
        w [T > t] / G(t) over the sum of w. With G of the same rows that is their Kaplan-Meier curve, and
        B0 = S(t) (1 - S(t)). The error includes that S(t) is estimated.
    Range: at most 1; 0 is no better than the curve of all, below 0 worse.
    Assumes: what `brier_survival` assumes.
    Refuses: what `brier_survival` refuses.

    References
    ----------
    Kattan and Gerds, Diagn Progn Res 2018;2:7.

    Examples
    --------
    >>> scaled_brier_survival([1, 0], [1, 3], [[0.2], [0.9]], [2]).value.round(4)
    array([0.9])
    """
    rows = _Horizons(_single(event), time, times, weights, 1, train, censoring, normalize=True)
    found = _brier(rows, "survival", survival, 0.0, patient, scaled=True, se=se, influence=influence)
    fair = found.null > 1e-14
    if not fair.any():
        raise NotEstimableError("the share followed makes no error at any time", "events by a time and survivors")
    scale = np.divide(1.0, found.null, out=np.full(fair.size, np.nan), where=fair)
    found.value, found.se = 1 - found.value * scale, found.se * scale
    if found.influence is not None:
        found.influence *= -scale
    why = "no row is followed to some times, or the share followed makes no error there"
    return _curve(rows, "scaled_brier_survival", found, level, patient, (-np.inf, 1.0), why, "identity")


def integrated_brier(
    event: ArrayLike,
    time: ArrayLike,
    survival: Predictions,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
) -> Estimate:
    """Return the integrated Brier score: the mean of the Brier score over the range of the times.

    Parameters
    ----------
    event, time, survival, times, weights, train, censoring, patient, level, se
        As for `brier_survival`; at least 2 times.

    Returns
    -------
    Estimate
        With `influence`.

    Raises
    ------
    DataError
        As `brier_survival`.
    NotEstimableError
        If there are fewer than 2 times, or no row is followed to the last.

    Notes
    -----
    Formula: trapezoids over the grid, divided by its range, as scikit-survival. riskRegression adds left-hand steps
        from time 0 and so gives other digits.
    Range: 0 and above.
    Assumes: what `brier_survival` assumes.
    Refuses: a grid that leaves the follow-up.

    References
    ----------
    Graf et al., Stat Med 1999;18:2529.

    Examples
    --------
    >>> round(integrated_brier([1, 0], [1, 3], [[0.2, 0.1], [0.9, 0.8]], [1, 2]), 4)
    0.025
    """
    rows = _Horizons(_single(event), time, times, weights, 1, train, censoring, normalize=True)
    return _integrated(rows, "survival", survival, 0.0, patient, level, se)


def integrated_brier_incidence(
    event: ArrayLike,
    time: ArrayLike,
    incidence: Predictions,
    times: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    cause: int = 1,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    se: bool = True,
) -> Estimate:
    """Return the integrated Brier score of the incidence of one cause: its mean over the range of the times.

    Parameters
    ----------
    event, time, incidence, times, weights, cause, train, censoring, patient, level, se
        As for `brier_incidence`; at least 2 times.

    Returns
    -------
    Estimate
        With `influence`.

    Raises
    ------
    DataError
        As `brier_incidence`.
    NotEstimableError
        If there are fewer than 2 times, or no row is followed to the last.

    Notes
    -----
    Formula: trapezoids over the grid of `brier_incidence`, divided by its range.
    Range: 0 and above.
    Assumes: what `brier_incidence` assumes.
    Refuses: a grid that leaves the follow-up.

    References
    ----------
    Schoop et al., Biom J 2011;53:88.

    Examples
    --------
    >>> found = integrated_brier_incidence([1, 2, 0], [1, 2, 3], [[0.8, 0.8], [0.1, 0.1], [0.1, 0.1]], [1.5, 2.5])
    >>> round(found, 4)
    0.02
    """
    rows = _Horizons(event, time, times, weights, cause, train, censoring, normalize=True)
    return _integrated(rows, "incidence", incidence, 1.0, patient, level, se)


def _integrated(
    rows: _Horizons,
    kind: str,
    predicted: Predictions,
    case_target: float,
    patient: ArrayLike | None,
    level: float,
    se: bool,
) -> Estimate:
    if rows.times.size < 2 or rows.times[-1] > rows.known_to:
        raise NotEstimableError("the Brier score is not known at 2 or more times", "a grid inside the follow-up")
    gaps = np.diff(rows.times)
    mix = (np.r_[gaps, 0.0] + np.r_[0.0, gaps]) / (2 * gaps.sum())
    found = _brier(rows, kind, predicted, case_target, patient, mix=mix, se=se)
    value = dot(mix, found.value)
    known: dict[str, Any] = {
        "name": "integrated_brier" + ("_incidence" if kind == "incidence" else ""),
        "n": rows.n,
        "events": rows.events,
        "level": level,
        "method": f"trapezoids over {rows.times.size} times, divided by their range; {_method(rows, patient, se)}"
        + (f"; {_LOG}" if se else ""),
    }
    if not se:
        return Estimate(value, **known)
    return Estimate.from_influence(value, found.mixed, patient, bounds=(0.0, np.inf), scale="log", **known)


class _Resampled:
    """What replicates share: distinct times up to the last grid time, and the order in which rows leave."""

    def __init__(self, event: ArrayLike, time: ArrayLike, times: ArrayLike, codes: IntArray, cause: int) -> None:
        self.time, self.times = _grid(time, times)
        n = self.time.size
        self.kind = event_kinds(event, n, cause)
        self.codes: IntArray = np.ascontiguousarray(codes, dtype=np.int64)
        if self.codes.shape != (n,):
            raise DataError(f"codes has shape {self.codes.shape}", f"({n},), one a row")
        distinct, group = distinct_times(self.time)
        # Nothing after the last grid time is weighted: those rows are only counted as at risk.
        self.groups = int(np.searchsorted(distinct, self.times[-1], side="right"))
        self.group: IntArray = np.minimum(group, self.groups)
        self.order: IntArray = np.argsort(self.time)
        self.reach: IntArray = np.searchsorted(self.times, self.time, side="left").astype(np.int64)
        self._at = np.searchsorted(distinct[: self.groups], self.times, side="right")
        self._before = np.searchsorted(distinct[: self.groups], self.times, side="left")
        reached = np.searchsorted(self.times, self.time, side="right") > self.reach
        # Censored at a grid time: followed beyond it where nobody is left after.
        self.ends: NDArray[np.bool_] = reached & (self.kind == 0)

    def censoring(self, counts: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Return, in each replicate, G before each distinct time and at each grid time, and where that has ended.

        There G is 0 and its left limit is given, as by `CensoringWeights.followed`.
        """
        left = censoring_replicates(self.order, self.group, self.kind == 0, self.codes, counts, self.groups)
        at, before = left[self._at], left[self._before]
        ended = (at <= 0) & (before > 0)
        return left, np.where(ended, before, at), ended


class DynamicAucReplicates:
    """The dynamic AUC of resamples: rows are sorted once, G is estimated anew in each.

    Parameters
    ----------
    event, time, score, times, cause, controls
        As for `dynamic_auc`.
    codes : int array, shape (n,)
        Patient number of each row, as `PatientDraws.codes`.

    References
    ----------
    Blanche, Dartigues and Jacqmin-Gadda, Stat Med 2013;32:5381.

    Examples
    --------
    >>> twice = DynamicAucReplicates([1, 1, 0, 0], [1, 2, 3, 4], [0.9, 0.2, 0.3, 0.1], [2], codes=np.arange(4))
    >>> twice.replicate(np.array([[1, 2], [1, 0], [1, 1], [1, 1]], dtype=np.uint8))
    array([[0.75],
           [1.  ]])
    """

    def __init__(
        self,
        event: ArrayLike,
        time: ArrayLike,
        score: ArrayLike,
        times: ArrayLike,
        *,
        codes: IntArray,
        cause: int = 1,
        controls: str = "all",
    ) -> None:
        self._rows = rows = _Resampled(event, time, times, codes, cause)
        columns = _scores(score, rows.time.size, rows.times.size)
        kind = rows.kind if _control_rule(controls) else np.where(rows.kind == 2, 0, rows.kind).astype(np.uint8)
        self._parts = []
        for j in range(columns.shape[1]):
            order = np.argsort(np.ascontiguousarray(columns[:, j]))
            alone, last = _ties(columns[order, j])
            reach = rows.reach[order]
            ends = rows.ends[order]
            if columns.shape[1] > 1:
                ends &= reach == j
                reach = np.clip(reach - j, 0, 1)
            self._parts.append((alone, last, reach, kind[order], ends, rows.group[order], rows.codes[order]))

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the AUC at each time in each replicate, shape (b, t); NaN without cases or without controls.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b)
            How often each patient is drawn.
        """
        drawn = np.ascontiguousarray(counts)
        left, at, ended = self._rows.censoring(drawn)
        if len(self._parts) == 1:
            return auc_replicates(*self._parts[0], drawn, left, at, ended)
        return np.concatenate(
            [auc_replicates(*part, drawn, left, at[[j]], ended[[j]]) for j, part in enumerate(self._parts)], axis=1
        )


class BrierReplicates:
    """The Brier score of resamples: predictions are read once a block of replicates, G is estimated anew in each.

    Parameters
    ----------
    event, time, survival, times
        As for `brier_survival`; `survival` as an array, or a callable.
    codes : int array, shape (n,)
        Patient number of each row, as `PatientDraws.codes`.
    competing : bool
        `event` holds codes of competing events, and `survival` is 1 less the incidence of cause 1.

    References
    ----------
    Graf et al., Stat Med 1999;18:2529.

    Examples
    --------
    >>> twice = BrierReplicates([1, 0], [1, 3], [[0.2], [0.9]], [2], codes=np.arange(2))
    >>> twice.replicate(np.array([[1, 2], [1, 0]], dtype=np.uint8)).round(4)
    array([[0.025],
           [0.04 ]])
    """

    def __init__(
        self,
        event: ArrayLike,
        time: ArrayLike,
        survival: Predictions,
        times: ArrayLike,
        *,
        codes: IntArray,
        competing: bool = False,
    ) -> None:
        self._rows = rows = _Resampled(event if competing else _single(event), time, times, codes, 1)
        self._to: IntArray = np.searchsorted(rows.times, rows.time, side="right").astype(np.int64)
        self._survival = survival
        if not callable(survival):
            self._survival = np.asarray(survival)
            for start, stop, block, column in self._blocks():
                values = block[:, column : column + stop - start]
                bad = int((~((values >= 0) & (values <= 1))).sum())
                if bad:
                    raise DataError(f"survival has {bad} values outside [0, 1]", "probabilities")

    def _blocks(self) -> Iterator[tuple[int, int, FloatArray, int]]:
        return _blocks("survival", self._survival, self._rows.times, self._rows.time.size, True)

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the Brier score at each time in each replicate, shape (b, t); NaN where `brier_survival` has none.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b)
            How often each patient is drawn.
        """
        rows, drawn = self._rows, np.ascontiguousarray(counts)
        left, at, ended = rows.censoring(drawn)
        out = np.empty((drawn.shape[1], rows.times.size))
        for start, stop, block, column in self._blocks():
            out[:, start:stop] = brier_replicates(
                block, column, 0.0, np.clip(rows.reach - start, 0, stop - start),
                np.clip(self._to - start, 0, stop - start), rows.kind, rows.ends & (rows.reach >= start), rows.group,
                rows.codes, drawn, left, np.ascontiguousarray(at[start:stop]), np.ascontiguousarray(ended[start:stop]),
            )  # fmt: skip
        return out
