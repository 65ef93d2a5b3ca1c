"""Censored outcomes made whole: a number a row whose mean, given arm and covariates, is the uncensored outcome's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, event_kinds, follow_up, patient_codes, row_dot, tally
from aimed.metrics.ipcw import distinct_times
from aimed.metrics.regression import CoxRegression
from aimed.metrics.result import notes
from aimed.splits.draw import grouped_folds
from aimed.treatment.arms import as_arms
from aimed.treatment.kernels.censored import RISK, RMST, TIME_LOST, fill_expected
from aimed.treatment.nuisances import as_columns

__all__ = ["Contrast", "PseudoOutcome", "Window", "independent_columns", "product_limit_outcome", "pseudo_outcome"]

Contrast: TypeAlias = Literal["risk", "rmst", "time_lost"]
"""What of the time to the event is looked at: risk by the horizon, event-free time, time lost to the event."""

_CLIP, _MOST_CLIP = 0.01, 0.1
_LOW = 0.05
_LEAST_GRID = 512
_WORK = 25_000_000
_CELLS = 1 << 21
_EVENTS_A_COLUMN = 10
_CODES: dict[Contrast, int] = {"risk": RISK, "rmst": RMST, "time_lost": TIME_LOST}
_ARMS = ("untreated", "treated")
_TIES = "an event leaves before a censoring at its time, G is read just before the row's own time"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PseudoOutcome:
    """An outcome for each row that stands in for one that censoring hides.

    Parameters
    ----------
    values : float array, shape (n,)
        The stand-in outcome: give it to any learner or estimator of effects as a continuous Y.
    seen : float array, shape (n,)
        The outcome itself, right where it is known.
    known : bool array, shape (n,)
        Whether the outcome was seen: an event by the horizon, or follow-up to exactly the horizon or beyond.
    weights : float array, shape (n,)
        1 / G(T-) where the outcome is known, 0 elsewhere.
    contrast : {"risk", "rmst", "time_lost"}
    horizon : float
    n : int
        Rows.
    events, followed, lost : (int, int)
        Untreated and treated rows with the event by the horizon, free of any event at it, and censored before it.
    lowest : float
        Lowest chance of not being censored that a row was divided by.
    clipped : int
        Rows whose modelled chance was raised to the lowest one that is divided by.
    method, note : str
    """

    values: FloatArray
    seen: FloatArray
    known: BoolArray
    weights: FloatArray
    contrast: Contrast
    horizon: float
    n: int
    events: tuple[int, int]
    followed: tuple[int, int]
    lost: tuple[int, int]
    lowest: float
    clipped: int
    method: str
    note: str

    @property
    def better(self) -> str:
        """Which way is good: "higher" for event-free time, "lower" for risk and time lost."""
        return "higher" if self.contrast == "rmst" else "lower"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        out = self.values if dtype is None else self.values.astype(dtype)
        return out.copy() if copy else out


class Window(NamedTuple):
    """Rows as they are seen from a horizon.

    Parameters
    ----------
    kind : uint8 array, shape (n,)
        0 free of events as long as followed or until the horizon, 1 the event of interest, 2 another event.
    time : float array, shape (n,)
        Follow-up, cut at the horizon.
    known : bool array, shape (n,)
        Whether the row had an event by the horizon or was followed to it.
    horizon : float
    """

    kind: NDArray[np.uint8]
    time: FloatArray
    known: BoolArray
    horizon: float

    @classmethod
    def of(cls, event: ArrayLike, time: ArrayLike, horizon: float, cause: int = 1) -> Window:
        """Cut rows at a horizon.

        Raises
        ------
        DataError
            If the outcome is damaged or the horizon is not a finite number above 0.

        Examples
        --------
        >>> Window.of([1, 0, 0, 1], [1.0, 2.0, 3.0, 4.0], 3.0).known.tolist()
        [True, False, True, True]
        """
        when = follow_up(time)
        if not (np.isfinite(horizon) and horizon > 0):
            raise DataError("the horizon is not a finite number above 0", "a time in the unit of time")
        kind = event_kinds(event, when.size, cause)
        return cls(
            np.where(when <= horizon, kind, 0).astype(np.uint8),
            np.minimum(when, horizon),
            (kind > 0) | (when >= horizon),
            float(horizon),
        )

    def take(self, rows: Any) -> Window:
        """Return some of the rows."""
        return Window(self.kind[rows], self.time[rows], self.known[rows], self.horizon)

    def outcome(self, contrast: Contrast) -> FloatArray:
        """Return the outcome of each row, as if follow-up had told all; right where it is known."""
        if contrast == "risk":
            return np.asarray(self.kind == 1, dtype=np.float64)
        if contrast == "rmst":
            return self.time
        return np.where(self.kind == 1, self.horizon - self.time, 0.0)

    def refuse_unless_followed(self, who: str) -> None:
        """Refuse rows of whom nothing is known at the horizon, though some are left without an event.

        Raises
        ------
        NotEstimableError
            If follow-up of these rows ends before the horizon.
        """
        last = self.time.max()
        if last < self.horizon and not self.known[self.time == last].all():
            raise NotEstimableError(
                f"follow-up of {who} ends before the horizon, at {last:g}",
                f"rows that are followed to {self.horizon:g}",
                f"choose a horizon of at most {last:g}",
            )


class _Grid:
    """Points at which curves are held: before all times, and all distinct times of some rows, or some of them.

    Point k > 0 is the k-th distinct time; the last is the horizon. Between points that were left out curves are bent
    lines, so that the work for n rows grows as n and not as n times the number of distinct times.
    """

    def __init__(self, rows: Window, most: int | None = None) -> None:
        distinct, place = distinct_times(rows.time)
        if distinct[-1] < rows.horizon:
            distinct = np.r_[distinct, rows.horizon]
        size = distinct.size
        points = np.arange(size + 1)
        if most is not None and size > most:
            counts = tally(place, np.ones(place.size), size)
            counts[-1] = 0.0
            passed = np.cumsum(counts)
            at = np.searchsorted(passed, np.linspace(0.0, passed[-1], most))
            many = np.flatnonzero(counts > passed[-1] / most)
            points = np.unique(np.r_[0, np.minimum(at, size - 1) + 1, many, many + 1, size])
        self.times: FloatArray = np.r_[0.0, distinct][points]
        # Where models are read: the first point lies before any event, also one at 0.
        self.reads: FloatArray = np.r_[-1.0, distinct][points]
        self.single: BoolArray = np.diff(points) == 1
        # A row with a known outcome is read just before its time, a censored one at it.
        where = place + ~rows.known
        self.cell: IntArray = np.minimum(np.searchsorted(points, where, side="right") - 1, points.size - 2)
        self.part: FloatArray = (where - points[self.cell]) / np.diff(points)[self.cell]


class _Read(NamedTuple):
    """G of each row where it is read, and the augmentation of its outcome."""

    left: FloatArray
    added: FloatArray


def _between(low: FloatArray, high: FloatArray, part: FloatArray) -> FloatArray:
    """A curve that falls exponentially from one point to the next; exact at both."""
    ratio = np.divide(high, low, out=np.zeros(low.shape), where=low > 0)
    return np.asarray(np.where(part > 0, low * ratio ** np.where(part > 0, part, 1.0), low), dtype=np.float64)


def _augment(
    contrast: Contrast,
    left: FloatArray,
    event: tuple[FloatArray, FloatArray] | None,
    grid: _Grid,
    known: BoolArray,
    which: IntArray,
    cell: IntArray,
    part: FloatArray,
) -> _Read:
    """Integrate the expected outcome over the martingale of censoring, up to where each row is read.

    `which` is the curve of each row; `event` are survival without any event and the incidence of that of interest.
    """
    g0 = left[which, cell]
    g = _between(g0, left[which, cell + 1], part)
    if event is None:
        return _Read(g, np.zeros(cell.size))
    expected, total = np.empty(left.shape), np.empty(left.shape)
    fill_expected(event[0], event[1], left, grid.times, grid.single, _CODES[contrast], expected, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        m0 = expected[which, cell]
        m = m0 + part * (expected[which, cell + 1] - m0)
        height = np.where(grid.single[cell], m, 0.5 * (m0 + m))
        gone = total[which, cell] + np.where(part > 0, height * (1 / g - 1 / g0), 0.0)
        return _Read(g, np.where(known, 0.0, m / g) - gone)


def product_limit_outcome(rows: Window, contrast: Contrast, *, augmented: bool = True) -> tuple[FloatArray, FloatArray]:
    """Return the stand-in outcomes of the rows of one group, without covariates, and G where each row was read.

    Their mean is the group's Kaplan-Meier or Aalen-Johansen estimate, and (augmented) their distance from it, over n,
    the influence of each row on it.

    Parameters
    ----------
    rows : Window
    contrast : {"risk", "rmst", "time_lost"}
    augmented : bool
        Whether to add what is expected of censored rows; without it they are 0.

    Examples
    --------
    >>> rows = Window.of([1, 0, 1, 0], [1.0, 2.0, 3.0, 4.0], 3.5)
    >>> product_limit_outcome(rows, "risk")[0].round(3)
    array([ 1.  ,  0.5 ,  1.25, -0.25])
    >>> product_limit_outcome(rows, "risk", augmented=False)[0]
    array([1. , 0. , 1.5, 0. ])
    """
    grid = _Grid(rows)
    size = grid.times.size - 1
    place = np.searchsorted(grid.times[1:], rows.time)
    own, other, gone = (
        tally(place, which.astype(np.float64), size) for which in (rows.kind == 1, rows.kind == 2, ~rows.known)
    )
    leaving = tally(place, np.ones(place.size), size)
    at_risk = np.cumsum(leaving[::-1])[::-1]
    dead = own + other
    stay = np.divide(at_risk - dead, at_risk, out=np.ones(size), where=at_risk > 0)
    free = np.cumprod(stay)
    keep = np.divide(at_risk - dead - gone, at_risk - dead, out=np.ones(size), where=at_risk > dead)
    happened = np.divide(own, at_risk, out=np.zeros(size), where=at_risk > 0) * np.r_[1.0, free[:-1]]
    event = np.r_[1.0, free][None], np.r_[0.0, np.cumsum(happened)][None]
    left = np.r_[1.0, np.cumprod(keep)][None]
    same = np.zeros(place.size, dtype=np.int64)
    read = _augment(contrast, left, event if augmented else None, grid, rows.known, same, grid.cell, grid.part)
    seen = np.divide(rows.outcome(contrast), read.left, out=np.zeros(place.size), where=rows.known & (read.left > 0))
    return seen + read.added, read.left


def _floor(patients: int) -> float:
    """Return the lowest modelled chance that a row is divided by: 5 / (sqrt(n) ln n), between 0.01 and 0.1.

    Examples
    --------
    >>> [round(_floor(n), 3) for n in (60, 300, 10_000)]
    [0.1, 0.051, 0.01]
    """
    return float(np.clip(5 / (np.sqrt(patients) * np.log(max(patients, 2))), _CLIP, _MOST_CLIP))


class _Cox:
    """Cox regression of one kind of end, with Efron's ties; without columns, the curve of Nelson and Aalen.

    Coefficients are shrunk by what chance alone would make of them (Le Cessie and van Houwelingen): a row is divided by
    chances of rows like it, and a few of them near 0 would make the mean of all outcomes useless.
    """

    def __init__(self, end: BoolArray, time: FloatArray, censored: BoolArray, x: FloatArray) -> None:
        self.times, place = distinct_times(time)
        size = self.times.size
        self.kept = 0.0
        self._columns = independent_columns(x)
        x = np.ascontiguousarray(x[:, self._columns])
        self._beta, self._centre = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if x.shape[1]:
            # Half steps keep censorings behind the events at their time.
            model = CoxRegression(end, place + 0.5 * censored, x)
            fit, self._centre = model.solve(np.ones(time.size)), model.centre
            wald = float(fit.beta @ fit.information @ fit.beta)
            self.kept = max(0.0, 1.0 - fit.beta.size / wald) if wald > 0 else 0.0
            self._beta = self.kept * fit.beta
        risk = self._relative(x)
        at_risk = np.cumsum(tally(place, risk, size)[::-1])[::-1]
        if (end & censored).any():
            at_risk = at_risk - tally(place, risk * ~censored, size)
        number = tally(place, end.astype(np.float64), size).astype(np.int64)
        ending = tally(place, risk * end, size)
        which = np.repeat(np.arange(size), number)
        rank = np.arange(which.size) - np.repeat(np.cumsum(number) - number, number)
        steps = 1 / (at_risk[which] - rank / number[which] * ending[which])
        self._base = np.r_[0.0, np.cumsum(tally(which, steps, size))]

    def _relative(self, x: FloatArray) -> FloatArray:
        return np.asarray(np.exp(np.clip(row_dot(x - self._centre, self._beta), -700, 700)), dtype=np.float64)

    def hazard(self, x: FloatArray, times: FloatArray) -> FloatArray:
        """Cumulative hazard, shape (rows, times)."""
        at = np.searchsorted(self.times, times, side="right")
        out: FloatArray = np.multiply.outer(self._relative(x[:, self._columns]), self._base[at])
        return out


def independent_columns(x: FloatArray) -> IntArray:
    """Return the columns that are neither constant nor sums of others.

    Parameters
    ----------
    x : float array, shape (n, p)

    Returns
    -------
    int array, rising

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 7.0, 2.0], [2.0, 7.0, 5.0], [4.0, 7.0, 3.0]]))
    array([0, 2])
    """
    if not x.shape[1]:
        return np.empty(0, dtype=np.int64)
    from scipy.linalg import qr

    centred = x - x.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    varied = np.flatnonzero(spread > 1e-10 * (1 + np.abs(x).max(axis=0)))
    if not varied.size:
        return varied.astype(np.int64)
    r, order = qr(centred[:, varied] / spread[varied], mode="r", pivoting=True, check_finite=False)
    size = np.abs(np.diag(r))
    kept: IntArray = np.sort(varied[order[: int((size > 1e-8).sum())]]).astype(np.int64)
    return kept


_Hazard: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]


class _Nuisance:
    """How hazards of some rows come from other rows: by the given estimator, or Cox models as rich as events allow."""

    def __init__(self, model: Any, what: str) -> None:
        self.model, self.what = model, what
        self.notes: set[str] = set()

    def cox(self, end: BoolArray, rows: Window, arm: BoolArray, x: FloatArray, treated: bool) -> _Hazard:
        """Fit in the arm; in both arms with the treatment as a column where events are few; then without columns."""
        own, censored = arm == treated, rows.kind == 0
        if not end[own].any():
            return lambda z, t: np.zeros((len(z), t.size))
        if end[own].sum() >= _EVENTS_A_COLUMN * x.shape[1]:
            try:
                alone = _Cox(end[own], rows.time[own], censored[own], x[own])
            except NotEstimableError:
                pass
            else:
                return alone.hazard
        if end.sum() >= _EVENTS_A_COLUMN * (x.shape[1] + 1):
            try:
                shared = _Cox(end, rows.time, censored, np.column_stack([x, arm]))
            except NotEstimableError:
                pass
            else:
                if shared.kept > 0:
                    self.notes.add(
                        f"{self.what} model shared by the arms, treatment a column of it: few events in an arm"
                    )
                    return lambda z, t: shared.hazard(np.column_stack([z, np.full(len(z), float(treated))]), t)
        self.notes.add(f"{self.what} curve of an arm without covariates: too few events for a model")
        plain = _Cox(end[own], rows.time[own], censored[own], np.empty((int(own.sum()), 0)))
        return lambda z, t: plain.hazard(np.empty((len(z), 0)), t)


def _fit_given(model: Any, x: FloatArray, code: Any, time: FloatArray, whole: bool) -> Any:
    from sklearn.base import clone

    y = np.empty(time.size, dtype=[("event", np.int64 if whole else np.bool_), ("time", np.float64)])
    y["event"], y["time"] = code, time
    return clone(model).fit(x, y)


def _checked(values: Any, shape: tuple[int, int], back: IntArray, what: str, first: float = 1.0) -> FloatArray:
    """Curves of a given model at all points, from those at the distinct times it was asked for."""
    out = np.asarray(values, dtype=np.float64)
    if out.shape != shape or not np.isfinite(out).all():
        raise NotEstimableError(
            f"the {what} model gives curves of shape {out.shape}, or unknown chances",
            f"finite chances of shape {shape}",
            "choose a shorter horizon, or a model that tells the curve up to it",
        )
    full = np.full((shape[0], back.size + 1), first)
    full[:, 1:] = np.clip(out, 0.0, 1.0)[:, back]
    return full


_ANY = np.empty((0, 0))
"""No incidence: the event of interest is any event, and survival tells it."""


def _surviving(hazard: FloatArray) -> FloatArray:
    """exp(-hazard), in the memory of the hazard."""
    np.negative(hazard, out=hazard)
    return np.exp(hazard, out=hazard)


def _incidence(hazards: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Survival and incidence of the first cause from cumulative hazards; the causes share each fall of survival."""
    if len(hazards) == 1:
        return _surviving(hazards[0]), _ANY
    total = hazards[0] + hazards[1]
    step = np.diff(total, axis=1)
    share = np.divide(np.diff(hazards[0], axis=1), step, out=np.zeros(step.shape), where=step > 0)
    free = _surviving(total)
    out = np.zeros(free.shape)
    np.cumsum(-np.diff(free, axis=1) * share, axis=1, out=out[:, 1:])
    return free, out


class _Job:
    """Rows, models and wishes of one call of `pseudo_outcome`."""

    def __init__(
        self,
        rows: Window,
        arm: BoolArray,
        x: FloatArray,
        contrast: Contrast,
        *,
        augmented: bool,
        codes: IntArray,
        cause: int,
        event_model: Any,
        censoring_model: Any,
        floor: float,
    ) -> None:
        self.rows, self.arm, self.x, self.contrast, self.augmented = rows, arm, x, contrast, augmented
        self.codes, self.cause = codes, cause
        self.competing = contrast != "rmst" and bool((rows.kind == 2).any())
        self.event = _Nuisance(event_model, "event")
        self.censoring = _Nuisance(censoring_model, "censoring")
        self.clipped, self.floor = 0, floor

    def censoring_curve(self, fit: IntArray, treated: bool) -> Callable[[FloatArray, FloatArray], FloatArray]:
        """Fit G in some rows."""
        rows, arm = self.rows.take(fit), self.arm[fit]
        if self.censoring.model is None:
            hazard = self.censoring.cox(~rows.known, rows, arm, self.x[fit], treated)
            return lambda z, t: _surviving(hazard(z, t))
        own = arm == treated
        part = rows.take(own)
        if part.known.all():
            return lambda z, t: np.ones((len(z), t.size))
        # One rounding step later, so that events at the time of a censoring have left before it.
        late = np.where(part.kind == 0, np.nextafter(part.time, np.inf), part.time)
        fitted = _fit_given(self.censoring.model, self.x[fit][own], ~part.known, late, False)
        last = late.max()

        def read(z: FloatArray, t: FloatArray) -> FloatArray:
            when, back = np.unique(np.minimum(np.nextafter(t[1:], np.inf), last), return_inverse=True)
            curve = fitted.predict_survival_function(z, times=when)
            return _checked(curve, (len(z), when.size), back, "censoring")

        return read

    def event_curves(
        self, fit: IntArray, treated: bool
    ) -> Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Fit survival and incidence in some rows."""
        rows, arm = self.rows.take(fit), self.arm[fit]
        if self.event.model is None:
            ends = [rows.kind == 1, rows.kind == 2] if self.competing else [rows.kind > 0]
            hazards = [self.event.cox(end, rows, arm, self.x[fit], treated) for end in ends]
            return lambda z, t: _incidence([hazard(z, t) for hazard in hazards])
        own = arm == treated
        part = rows.take(own)
        if not (part.kind > 0).any():
            return lambda z, t: (np.ones((len(z), t.size)), _ANY)
        code = np.where(part.kind > 0, self.codes[fit][own], 0) if self.competing else part.kind > 0
        fitted = _fit_given(self.event.model, self.x[fit][own], code, part.time, self.competing)
        last = part.time.max()

        def read(z: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
            when, back = np.unique(np.minimum(t[1:], last), return_inverse=True)
            shape = (len(z), when.size)
            if not self.competing:
                return _checked(fitted.predict_survival_function(z, times=when), shape, back, "event"), _ANY
            found = np.asarray(fitted.predict_cumulative_incidence(z, times=when), dtype=np.float64)
            if found.ndim != 3 or found.shape[2] < self.cause:
                raise DataError(
                    "the event model tells one kind of event only",
                    "predict_cumulative_incidence of all kinds, shape (n, t, K)",
                    "give a model of all kinds of event, or none: a Cox model of each cause is then fitted",
                )
            free = _checked(1 - found.sum(axis=2), shape, back, "event")
            return free, _checked(found[:, :, self.cause - 1], shape, back, "event", 0.0)

        return read

    def run(self, folds: Sequence[tuple[IntArray, IntArray]], values: FloatArray, left: FloatArray) -> None:
        """Fill the stand-in outcomes and G of all rows, fold by fold and arm by arm."""
        for treated in (False, True):
            mine = np.flatnonzero(self.arm == treated)
            rows = self.rows.take(mine)
            grid = _Grid(rows, max(_LEAST_GRID, _WORK // mine.size))
            number = np.full(self.arm.size, -1)
            number[mine] = np.arange(mine.size)
            outcome = rows.outcome(self.contrast)
            for fit, score in folds:
                turn = score[self.arm[score] == treated]
                if not turn.size:
                    continue
                g_of = self.censoring_curve(fit, treated)
                s_of = self.event_curves(fit, treated) if self.augmented else None
                step = max(1, _CELLS // grid.times.size)
                for start in range(0, turn.size, step):
                    block = turn[start : start + step]
                    own, z = number[block], self.x[block]
                    cell, part, known = grid.cell[own], grid.part[own], rows.known[own]
                    every = np.arange(own.size)
                    g = g_of(z, grid.reads)
                    # Censoring at the horizon hides nothing.
                    g[:, -1] = g[:, -2]
                    self.clipped += int((g[every, cell] < self.floor).sum())
                    np.maximum(g, self.floor, out=g)
                    event = None if s_of is None else s_of(z, grid.reads)
                    read = _augment(self.contrast, g, event, grid, known, every, cell, part)
                    values[block] = np.where(known, outcome[own] / read.left, 0.0) + read.added
                    left[block] = read.left


def _named(model: Any) -> str:
    return "Cox" if model is None else type(model).__name__


def pseudo_outcome(
    event_or_cause: ArrayLike,
    time: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    horizon: float,
    contrast: Contrast = "risk",
    cause: int = 1,
    method: Literal["ipcw", "aipw"] = "aipw",
    event_model: Any = None,
    censoring_model: Any = None,
    folds: int = 5,
    patient: ArrayLike | None = None,
    random_state: int = 0,
) -> PseudoOutcome:
    """Return an uncensored stand-in for a time to event, for any learner or estimator that takes a continuous Y.

    Parameters
    ----------
    event_or_cause : int array, shape (n,)
        0 censored, 1 the event; with competing events 1, ..., K.
    time : float array, shape (n,)
        End of follow-up.
    T : array, shape (n,)
        1 treated, 0 not.
    X : float array, shape (n, p), optional
        Covariates on which censoring (and the event) may depend. Without them each arm has its own Kaplan-Meier curve
        of censoring, which is right where censoring depends on the arm alone.
    horizon : float
        In the unit of `time`. Follow-up to exactly the horizon counts as followed up.
    contrast : {"risk", "rmst", "time_lost"}
        Outcome f: 1 where the event (of `cause`) came by the horizon; time without any event up to the horizon; time
        between the event (of `cause`) and the horizon.
    cause : int
    method : {"aipw", "ipcw"}
        "ipcw" weighs known outcomes by 1 / G; "aipw" adds what the event model expects of censored rows.
    event_model, censoring_model : estimator, optional
        As in scikit-survival: ``fit(X, y)`` with a structured y (event, time) and ``predict_survival_function(X,
        times=)`` that returns an array; with competing events ``predict_cumulative_incidence(X, times=)``, shape
        (n, t, K). Fitted in each arm, to what happens until the horizon. A Cox model with shrunken coefficients where
        absent: in each arm; of both arms with the treatment as a column where an arm has fewer than 10 events a column;
        without covariates where events are fewer still.
    folds : int
        Parts for cross-fitting the models, cut by patient; 1 fits and predicts the same rows.
    patient : array, shape (n,), optional
        Rows of one patient stay in one fold.
    random_state : int

    Returns
    -------
    PseudoOutcome

    Raises
    ------
    DataError
        If an argument is damaged, or has no such name.
    NotEstimableError
        If follow-up of an arm ends before the horizon, or nobody has the event by it.

    Notes
    -----
    Formula: d f / G(U-) + sum over u of m(u) dM(u) / G(u), U the time cut at the horizon h, d whether f is known,
        m(u) = E[f | no event by u], dM(u) = [censored at u] - [at risk of it at u] times the hazard of censoring, over
        u < h. IPCW is the first term.
    Range: any number; its mean, not its values, lies in the range of f.
    Assumes: censoring that does not depend on the event given arm and X. IPCW needs G right; with AIPW either G or the
        event model may be wrong: E[Y* | T, X] = E[f | T, X] if one is right. Errors that take the values as data are
        right for AIPW, and too large for IPCW, which gains from an estimated G.
    Refuses: a horizon beyond the follow-up of an arm; no event at all by the horizon. Modelled G below 5 / (sqrt(n) ln
        n) of the n patients (between 0.01 and 0.1) are raised to it and counted: without that a few rows of a small
        study decide its result. In an arm of more than 5,000 distinct times curves are held at some of them, at least
        512, and bent between.

    References
    ----------
    Rubin and van der Laan, Int J Biostat 2007;3:4. Robins and Rotnitzky, AIDS Epidemiology 1992:297. Cui, Kosorok,
    Sverdrup, Wager and Zhu, JRSS B 2023;85:179 (causal survival forests). Gruber, Phillips, Lee and van der Laan, Am J
    Epidemiol 2022;191:1640 (the lowest chance). Le Cessie and van Houwelingen, Appl Stat 1992;41:191 (shrinkage).

    Examples
    --------
    >>> event, time, T = [1, 0, 1, 0, 1, 0, 0, 0], [1, 2, 3, 4, 2, 3, 4, 4], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> found = pseudo_outcome(event, time, T, horizon=3.5, method="ipcw")
    >>> found.values
    array([1. , 0. , 1.5, 0. , 1. , 0. , 0. , 0. ])
    >>> found.lost, round(found.lowest, 3)
    ((1, 1), 0.667)
    """
    rows = Window.of(event_or_cause, time, horizon, cause)
    n = rows.time.size
    arm = as_arms(T, n)
    if contrast not in get_args(Contrast):
        raise DataError(f"contrast={contrast!r}", '"risk", "rmst" or "time_lost"')
    if method not in ("ipcw", "aipw"):
        raise DataError(f"method={method!r}", '"ipcw" or "aipw"')
    if X is None and (event_model is not None or censoring_model is not None):
        raise DataError("models without X", "covariates for them", "give X, or no models")
    wanted = rows.kind > 0 if contrast == "rmst" else rows.kind == 1
    if not wanted.any():
        raise NotEstimableError(
            "no row has the event by the horizon", "events in at least one arm", "choose a longer horizon"
        )
    for a, name in enumerate(_ARMS):
        rows.take(arm == bool(a)).refuse_unless_followed(f"the {name}")
    values, left = np.empty(n), np.empty(n)
    augmented, clipped, floor, remarks = method == "aipw", 0, _CLIP, set[str]()
    if X is None:
        for a in (False, True):
            own = arm == a
            values[own], left[own] = product_limit_outcome(rows.take(own), contrast, augmented=augmented)
        how = "Kaplan-Meier curve of censoring in each arm"
    else:
        x = as_columns(X, None, n)
        codes = patient_codes(patient, n)
        floor = _floor(int(codes.max()) + 1)
        raw = np.asarray(event_or_cause, dtype=np.float64).astype(np.int64)
        job = _Job(
            rows,
            arm,
            x,
            contrast,
            augmented=augmented,
            codes=raw,
            cause=cause,
            event_model=event_model,
            censoring_model=censoring_model,
            floor=floor,
        )
        job.run(_folds(rows, arm, codes, folds, random_state), values, left)
        clipped, remarks = job.clipped, job.event.notes | job.censoring.notes
        how = f"censoring by {_named(censoring_model)} in each arm"
        how += f", event by {_named(event_model)} in each arm" if augmented else ""
        how += f", {folds}-fold cross-fitting" if folds > 1 else ", fitted in the same rows"

    def count(which: BoolArray) -> tuple[int, int]:
        return int((which & ~arm).sum()), int((which & arm).sum())

    events = count(wanted)
    lowest = float(left[rows.known].min())
    empty = [name for name, k in zip(_ARMS, events, strict=True) if k == 0]
    note = notes(
        f"no event by the horizon among the {empty[0]}: a longer horizon tells more" if empty else "",
        f"the chance of not being censored falls to {lowest:.3f}: a shorter horizon is safer" if lowest < _LOW else "",
        f"{clipped} rows have a modelled chance of not being censored below {floor:.2g}, raised to it"
        if clipped
        else "",
        *sorted(remarks),
    )
    name = {"risk": "risk by", "rmst": "event-free time up to", "time_lost": "time lost before"}[contrast]
    kind = "inverse probability of censoring weights" if not augmented else "augmented weights (doubly robust)"
    return PseudoOutcome(
        values=values,
        seen=rows.outcome(contrast),
        known=rows.known,
        weights=np.where(rows.known, 1 / left, 0.0),
        contrast=contrast,
        horizon=float(horizon),
        n=n,
        events=events,
        followed=count(rows.known & (rows.kind == 0)),
        lost=count(~rows.known),
        lowest=lowest,
        clipped=clipped,
        method=f"{name} {horizon:g} by {kind}; {how}; {_TIES}",
        note=note,
    )


def _folds(rows: Window, arm: BoolArray, codes: IntArray, folds: int, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Rows to fit in and rows to predict, of each fold; arms, events and censorings are spread evenly."""
    every = np.arange(arm.size)
    if folds < 1:
        raise DataError(f"folds={folds}", "1 or more")
    if folds == 1:
        return [(every, every)]
    smallest = min(np.unique(codes[arm == a]).size for a in (False, True))
    if smallest < 2 * folds:
        raise NotEstimableError(
            f"an arm has {smallest} patients", f"at least {2 * folds} for {folds} folds", "use fewer folds, or folds=1"
        )
    stratum = 3 * arm + np.where(rows.kind > 0, 2, np.where(rows.known, 0, 1))
    parts = grouped_folds(every, codes, folds=folds, seed=seed, stratum=stratum)
    return [(part.fit, part.tune) for part in parts]
