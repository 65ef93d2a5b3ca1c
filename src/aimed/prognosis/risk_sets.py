"""The risk sets of a Cox model: rows put in line once, and the likelihood with its derivatives at any coefficients."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from aimed.core import DataError, NotEstimableError
from aimed.prognosis.curves import as_matrix, as_survival

__all__ = [
    "Line",
    "Outcome",
    "Point",
    "RiskSets",
    "Steps",
    "codes_of",
    "line_up",
    "named_matrix",
    "one_thread",
    "read_outcome",
]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

BLOCK = 8192
"""Rows that a product takes at once, when they are narrow enough to stay in the cache."""

_CELLS = 1 << 17


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context in which products run on one thread, so that their bits do not depend on the machine's.

    Examples
    --------
    >>> with one_thread():
    ...     float(np.ones(2) @ np.ones(2))
    2.0
    """
    return _threads().limit(limits=1)


@dataclass(slots=True, eq=False)
class Outcome:
    """What is known of each row's time at risk.

    Parameters
    ----------
    event : bool array, shape (n,)
    time : float array, shape (n,)
    entry, weight, offset : float arrays, shape (n,), or None
    stratum : int array, shape (n,), or None
        Position of each row's label among `labels`.
    labels : array, shape (s,), or None
        Distinct strata, in order.
    """

    event: NDArray[np.bool_]
    time: Floats
    entry: Floats | None = None
    weight: Floats | None = None
    offset: Floats | None = None
    stratum: Ints | None = None
    labels: NDArray[Any] | None = None

    def take(self, rows: NDArray[np.intp]) -> Outcome:
        """Return the outcome of some rows."""
        return Outcome(
            self.event[rows],
            self.time[rows],
            None if self.entry is None else self.entry[rows],
            None if self.weight is None else self.weight[rows],
            None if self.offset is None else self.offset[rows],
            None if self.stratum is None else self.stratum[rows],
            self.labels,
        )


def _numbers(values: ArrayLike, n: int, what: str) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} holds text", "one number a row") from None
    if array.shape != (n,):
        raise DataError(f"{what} has shape {array.shape}", f"one number a row, shape ({n},)")
    bad = int(n - np.isfinite(array).sum())
    if bad:
        raise DataError(f"{bad} of {n} values of {what} are missing or infinite", "finite numbers")
    return np.ascontiguousarray(array)


def named_matrix(X: Any, feature_names: Sequence[str] | None, rows: int) -> tuple[Floats, list[str] | None]:
    """Read a complete matrix and the names of its columns; as `as_matrix`, and says which columns are incomplete.

    Parameters
    ----------
    X : array or data frame, shape (n, p)
    feature_names : sequence of str, length p, or None
    rows : int
        Rows of the outcome.

    Returns
    -------
    values : float array, shape (n, p)
    names : list of str or None
        Those given, else the data frame's.

    Raises
    ------
    DataError
        If X is not complete, has other than `rows` rows, or there is not one name a column.
    """
    values, found = as_matrix(X, names=feature_names)
    n, p = values.shape
    if n != rows:
        raise DataError(f"X has {n} rows and y {rows}", "one outcome a row")
    if feature_names is not None and len(feature_names) != p:
        raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
    return values, list(feature_names) if feature_names is not None else found


def codes_of(labels: ArrayLike, n: int, what: str) -> tuple[NDArray[Any], Ints]:
    """Return the distinct labels, in order, and the position of each row's among them.

    Raises
    ------
    DataError
        If there is not one label a row, or one is missing.
    """
    array = np.asarray(labels)
    if array.shape != (n,):
        raise DataError(f"{what} has shape {array.shape}", f"one label a row, shape ({n},)")
    if array.dtype.kind == "f":
        missing = int(np.isnan(array).sum())
    elif array.dtype.kind == "O":
        missing = sum(1 for v in array if v is None or v != v)
        array = array.astype(str) if not missing else array
    else:
        missing = 0
    if missing:
        raise DataError(
            f"{missing} of {n} labels of {what} are missing", "a label for each row", "leave these rows out"
        )
    found, codes = np.unique(array, return_inverse=True)
    return found, np.ascontiguousarray(codes, dtype=np.int64)


def read_outcome(
    y: Any,
    entry: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Outcome:
    """Check an outcome and what goes with it.

    Parameters
    ----------
    y : structured array, shape (n,)
        A boolean event and a time.
    entry, sample_weight, offset : float arrays, shape (n,), optional
    strata : array, shape (n,), optional

    Raises
    ------
    DataError
        If shapes differ, a value is missing or infinite, a weight is negative, or an entry is not before its time.
    NotEstimableError
        If no row has an event and a weight above 0.
    """
    event, time = as_survival(y)
    n = time.size
    out = Outcome(event, time)
    if entry is not None:
        out.entry = _numbers(entry, n, "entry")
        late = int((out.entry >= time).sum())
        if late:
            raise DataError(
                f"{late} of {n} rows enter at or after their time",
                "entry < time in each row",
                "leave these rows out, or add half a unit to times equal to their entry",
            )
    if sample_weight is not None:
        out.weight = _numbers(sample_weight, n, "sample_weight")
        below = int((out.weight < 0).sum())
        if below:
            raise DataError(f"{below} of {n} weights are negative", "weights >= 0")
    if offset is not None:
        out.offset = _numbers(offset, n, "offset")
    if strata is not None:
        out.labels, out.stratum = codes_of(strata, n, "strata")
    if not (event if out.weight is None else event & (out.weight > 0)).any():
        raise NotEstimableError("no event in the training rows", "at least one", "extend follow-up or the cohort")
    return out


@dataclass(slots=True, eq=False)
class Line:
    """Rows at risk at some event, in the order that `aimed.prognosis.kernels.cox` explains.

    Parameters
    ----------
    order : int array, shape (m,)
        The row at each place.
    event : bool array, shape (m,)
    weight : float array, shape (m,)
    times : float array, shape (k,)
        Time of each group.
    starts, deaths, first : int arrays, shape (k,)
    since, leave : int arrays
    stratum : int array, shape (k,)
        The stratum of each group.
    """

    order: Ints
    event: NDArray[np.bool_]
    weight: Floats
    times: Floats
    starts: Ints
    deaths: Ints
    first: Ints
    since: Ints
    leave: Ints
    stratum: Ints

    @property
    def group(self) -> Ints:
        """The last group in which each row is at risk, shape (m,)."""
        return np.repeat(np.arange(self.starts.size), np.diff(self.starts, append=self.order.size))

    def parts(self) -> list[tuple[int, slice]]:
        """Return each stratum that has an event, with its groups."""
        begins = np.flatnonzero(self.first == np.arange(self.first.size))
        ends = np.append(begins[1:], self.first.size)
        return [(int(self.stratum[a]), slice(int(a), int(b))) for a, b in zip(begins, ends, strict=True)]


def _in_order(event: NDArray[np.bool_], time: Floats, stratum: Ints | None) -> Ints:
    """Return rows by stratum and time, events first, then as they came; by counting where the keys are small."""
    if time.max() < 2**30 and (np.floor(time) == time).all():
        rank = time.astype(np.int64)
    else:
        rising = np.argsort(time)
        values = time[rising]
        rank = np.empty(time.size, np.int64)
        rank[rising] = np.cumsum(np.concatenate(([False], values[1:] != values[:-1])))
    key = 2 * rank + ~event
    if stratum is not None:
        key += stratum * (int(key.max()) + 1)
    top = int(key.max())
    # numpy sorts 16-bit numbers by counting.
    if top < 1 << 16:
        return np.argsort(key.astype(np.uint16), kind="stable")
    if top < 1 << 32:
        order = np.argsort((key & 0xFFFF).astype(np.uint16), kind="stable")
        return np.asarray(order[np.argsort((key[order] >> 16).astype(np.uint16), kind="stable")])
    return np.argsort(key, kind="stable")


def line_up(outcome: Outcome) -> Line:
    """Put the rows of an outcome in line; those never at risk at an event, or without weight, are left out."""
    from aimed.prognosis.kernels import cox as kernels

    event, time, stratum = outcome.event, outcome.time, outcome.stratum
    rows = None
    if outcome.weight is not None and not outcome.weight.all():
        rows = np.flatnonzero(outcome.weight)
        event, time = event[rows], time[rows]
        stratum = None if stratum is None else stratum[rows]
    order = _in_order(event, time, stratum)
    event, time = event[order], time[order]
    stratum = None if stratum is None else stratum[order]
    if rows is not None:
        order = rows[order]
    hits = np.flatnonzero(event)
    new = np.ones(hits.size, dtype=bool)
    new[1:] = time[hits[1:]] != time[hits[:-1]]
    if stratum is not None:
        new[1:] |= stratum[hits[1:]] != stratum[hits[:-1]]
    starts = hits[new]
    deaths = np.diff(np.append(np.flatnonzero(new), hits.size))
    times = time[starts]
    k = starts.size
    own = np.zeros(k, np.int64) if stratum is None else stratum[starts]
    first = np.searchsorted(own, own, side="left").astype(np.int64)
    # Before the first event of its stratum nobody counts.
    if stratum is None:
        keep = np.arange(order.size) >= starts[0]
    else:
        last = np.searchsorted(starts, np.arange(order.size), side="right") - 1
        keep = (last >= 0) & (own[last] == stratum)
    since = leave = np.zeros(0, np.int64)
    if outcome.entry is not None:
        group = np.maximum(np.searchsorted(starts, np.arange(order.size), side="right") - 1, 0)
        since = kernels.entry_groups(outcome.entry[order], group, first, times)
        keep &= since < group
    if not keep.all():
        starts = (np.cumsum(keep) - 1)[starts]
        order, event = order[keep], event[keep]
        since = since[keep] if since.size else since
    if outcome.entry is not None:
        group = np.repeat(np.arange(k), np.diff(starts, append=order.size))
        leave = np.flatnonzero(since >= first[group])
        leave = leave[np.argsort(-since[leave], kind="stable")]
        if not leave.size:
            since = leave
    weight = np.ones(order.size) if outcome.weight is None else outcome.weight[order]
    return Line(
        order=order, event=event, weight=weight, times=times, starts=np.ascontiguousarray(starts, np.int64),
        deaths=np.ascontiguousarray(deaths, np.int64), first=first, since=since, leave=leave, stratum=own,
    )  # fmt: skip


@dataclass(slots=True, eq=False)
class Steps:
    """The scalar sums at one β.

    Parameters
    ----------
    loglik : float
    top : float
        The largest linear predictor.
    r : float array, shape (m,)
        Weight times exp(linear predictor - top).
    met : float array, shape (m,)
        r times the hazard that each row has met.
    steps : float array, shape (5, k)
        See `aimed.prognosis.kernels.cox.risk_steps`; the hazard is too large by exp(top).
    """

    loglik: float
    top: float
    r: Floats
    met: Floats
    steps: Floats

    @property
    def hazard(self) -> Floats:
        """Steps of the baseline hazard at the column means, shape (k,)."""
        return np.asarray(self.steps[0] * np.exp(-self.top))


@dataclass(slots=True, eq=False)
class Point:
    """The log partial likelihood at one β with its derivatives, for columns of unit spread."""

    loglik: float
    gradient: Floats
    information: Floats
    steps: Steps


class RiskSets:
    """Rows in line with their columns less the means, and what a fit asks of them.

    Parameters
    ----------
    values : float array, shape (n, p)
    mean : float array, shape (p,)
        Taken from the columns.
    line : Line
    offset : float array, shape (n,), or None
    efron : bool
        Ties by Efron; by Breslow when false.
    block : int
        Rows that a product takes at most.

    Attributes
    ----------
    unit : float array, shape (p,)
        One over the spread of each column. Coefficients are for columns of unit spread.
    varies : bool array, shape (p,)
    """

    def __init__(
        self, values: Floats, mean: Floats, line: Line, offset: Floats | None, efron: bool, block: int = BLOCK
    ) -> None:
        from aimed.prognosis.kernels import cox

        self._loops = cox
        self.line, self.efron = line, efron
        # numpy gathers rows faster than a compiled loop.
        X = np.ascontiguousarray(values.take(line.order, axis=0))
        square, low, high = cox.centre(X, np.ascontiguousarray(mean))
        # A constant column keeps a spread of a few ulps of its mean.
        self.varies = (high - low) > 1e-12 * np.maximum(np.abs(mean), 1e-300)
        self.unit = 1.0 / np.where(self.varies, np.sqrt(square / X.shape[0]), 1.0)
        X[:, ~self.varies] = 0.0
        self.X = X
        self.offset = None if offset is None else offset[line.order]
        weighted = line.weight if (line.weight != 1.0).any() else None
        hits = np.flatnonzero(line.event)
        self._hits, self._hit_weight = hits, None if weighted is None else weighted[hits]
        self._weight = weighted
        self._event_sum = cox.weighted_sum(X, np.where(line.event, line.weight, 0.0))
        self._block = max(1, min(block, max(256, _CELLS // max(X.shape[1], 1))))
        self._room: tuple[Floats, Floats] | None = None

    def columns(self, which: NDArray[np.intp], room: Floats) -> RiskSets:
        """Return the same rows with some of the columns, which are written to `room`, of at least as many cells."""
        part = copy.copy(self)
        shape = self.X.shape[0], which.size
        # Memory new to the process costs more than the copy; mode "raise" would copy once more.
        part.X = self.X.take(which, axis=1, out=room[: shape[0] * shape[1]].reshape(shape), mode="clip")
        part.unit, part.varies, part._event_sum = self.unit[which], self.varies[which], self._event_sum[which]
        part._room = None
        return part

    def predictor(self, beta: Floats) -> Floats:
        """Return the linear predictor of each row in line, offset included."""
        eta = self.X @ (beta * self.unit)
        if self.offset is not None:
            eta += self.offset
        return np.asarray(eta)

    def scalars(self, eta: Floats) -> Steps:
        """Return likelihood and hazard steps at a linear predictor, in one pass back and one forward."""
        line = self.line
        # A Newton step too far overflows; the caller sees a likelihood that is not finite and halves the step.
        with np.errstate(over="ignore", invalid="ignore"):
            top = float(eta.max())
            r = np.exp(eta - top)
            if self._weight is not None:
                r *= self._weight
            steps = np.empty((5, line.times.size))
            logs = self._loops.risk_steps(
                r, line.weight, line.starts, line.deaths, line.first, line.since, line.leave, self.efron, steps
            )
            own = eta[self._hits] - top
            loglik = float(own.sum() if self._hit_weight is None else self._hit_weight @ own) - logs
            met = self.hazard_met(r, steps[0], steps[1])
        return Steps(loglik, top, r, met, steps)

    def hazard_met(self, r: Floats, hazard: Floats, relief: Floats) -> Floats:
        """Return r times the hazard that each row has met."""
        line = self.line
        return self._loops.hazard_met(r, hazard, relief, line.starts, line.deaths, line.first, line.since)

    def evaluate(self, beta: Floats) -> Point:
        """Return likelihood, gradient and information at β.

        The information is XᵀWX - Σ_j Σ_l x̄_jl x̄_jlᵀ, where W holds each row's relative risk times the
        hazard it has met, and the second sum is done in products of risk-set sums (k by p).
        """
        steps = self.scalars(self.predictor(beta))
        if not np.isfinite(steps.loglik):
            p = self.unit.size
            return Point(-np.inf, np.zeros(p), np.zeros((p, p)), steps)
        slope, information = self.products(steps.r, steps.met, steps.steps)
        gradient = (self._event_sum - slope) * self.unit
        return Point(steps.loglik, gradient, information * np.outer(self.unit, self.unit), steps)

    def slope(self, steps: Steps) -> Floats:
        """Return the gradient alone, shape (p,)."""
        return np.asarray((self._event_sum - self._loops.weighted_sum(self.X, steps.met)) * self.unit)

    def products(self, r: Floats, met: Floats, steps: Floats) -> tuple[Floats, Floats]:
        """Return Σ met x and the information, both for columns as they are."""
        line, X, block = self.line, self.X, self._block
        n, p = X.shape
        c0, c1, c2 = steps[2], steps[3], steps[4]
        mix = np.divide(c1, c0, out=np.zeros_like(c0), where=c0 > 0)
        factors = np.stack((np.sqrt(c0), mix, np.sqrt(np.maximum(c2 - c1 * mix, 0.0))))
        root = np.sqrt(met)
        if self._room is None:
            height = min(block, n)
            self._room = np.empty((height, p)), np.empty((2 * height, p))
        rows, means = self._room
        place, sums = np.array([line.times.size, 0]), np.zeros((2, p))
        slope, information = np.zeros(p), np.zeros((p, p))
        for stop in range(n, 0, -block):
            begin = max(0, stop - block)
            filled = self._loops.sweep(
                X, r, root, factors, line.starts, line.deaths, line.first, line.since, line.leave,
                begin, stop, place, sums, rows, means,
            )  # fmt: skip
            part = rows[: stop - begin]
            slope += root[begin:stop] @ part
            information += part.T @ part
            part = means[:filled]
            information -= part.T @ part
        return slope, information

    def group_sums(self, steps: Steps, segment: Ints, size: int) -> Floats:
        """Return ∫ x̄ dΛ over each segment of groups, for columns as they are, shape (size, p)."""
        line = self.line
        out = np.zeros((size, self.X.shape[1]))
        self._loops.group_sums(
            self.X, steps.r, steps.steps, line.starts, line.deaths, line.first, line.since, line.leave,
            np.ascontiguousarray(segment, np.int64), out,
        )  # fmt: skip
        return out

    def score_sums(self, steps: Steps, to: Ints, size: int) -> Floats:
        """Return the weighted score residuals, added up by the row of the result that each row in line names.

        Parameters
        ----------
        steps : Steps
        to : int array, shape (m,)
        size : int

        Returns
        -------
        float array, shape (size, p)
            For columns as they are.
        """
        line = self.line
        segment = np.cumsum(line.first == np.arange(line.first.size)) - 1
        total = self.group_sums(steps, segment, int(segment[-1]) + 1)
        out = np.zeros((size, self.X.shape[1]))
        self._loops.score_sums(
            self.X, line.weight, steps.r, steps.met, steps.steps, line.starts, line.deaths, line.first, line.since,
            line.leave, total, np.ascontiguousarray(to, np.int64), out,
        )  # fmt: skip
        return out

    def firth_slope(self, steps: Steps, inverse: Floats) -> Floats:
        """Return the slope of ½ log |information|, given the inverse of the information; for unit spread."""
        line = self.line
        turned = np.ascontiguousarray(inverse * np.outer(self.unit, self.unit))
        slope = self._loops.firth_slope(
            self.X, line.weight, steps.r, turned, line.starts, line.deaths, line.first, line.since, line.leave,
            self.efron,
        )  # fmt: skip
        return np.asarray(slope * self.unit)
