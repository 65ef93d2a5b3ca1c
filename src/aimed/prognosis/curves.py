"""What time-to-event models share: reading the outcome and the input matrix, and curves with or without knots."""

from __future__ import annotations

import decimal
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, StudyFileError

__all__ = [
    "LineFunction",
    "StepFunction",
    "as_matrix",
    "as_matrix_with_gaps",
    "as_survival",
    "bent_line",
    "choose_knots",
    "knot_times",
    "lines_at",
    "six_digits",
    "steps_at",
]


@dataclass(frozen=True, slots=True, eq=False)
class StepFunction:
    """A curve that is flat between its times and takes each new value at its time.

    Parameters
    ----------
    x : float array, shape (t,), rising
        Times of the steps.
    y : float array, shape (t,)
        Value from that time on.
    start : float
        Value before the first time.

    Examples
    --------
    >>> StepFunction(x=[2.0, 5.0], y=[0.8, 0.5], start=1.0)([1.0, 2.0, 9.0]).tolist()
    [1.0, 0.8, 0.5]
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    start: float = 0.0

    def __call__(self, times: ArrayLike) -> NDArray[np.float64]:
        """Return the value at each time."""
        return steps_at(self.x, self.y, times, self.start)


@dataclass(frozen=True, slots=True, eq=False)
class LineFunction:
    """A line drawn from (0, `start`) through its points and flat after the last, or the survival of that hazard.

    Parameters
    ----------
    x : float array, shape (t,), rising
        Times of the points.
    line : float array, shape (t,)
        Value at each.
    start : float
        Value at time 0.
    survival : bool
        Whether the line is a cumulative hazard H of which exp(-H) is wanted.

    Examples
    --------
    >>> LineFunction(x=[2.0, 5.0], line=[0.8, 0.5], start=1.0)([1.0, 2.0, 4.0, 9.0]).round(6).tolist()
    [0.9, 0.8, 0.6, 0.5]
    """

    x: NDArray[np.float64]
    line: NDArray[np.float64]
    start: float = 0.0
    survival: bool = False

    @property
    def y(self) -> NDArray[np.float64]:
        """Value of the function at each of its times."""
        return self(self.x)

    def __call__(self, times: ArrayLike) -> NDArray[np.float64]:
        """Return the value at each time."""
        values = lines_at(self.x, self.line, times, self.start)
        return np.exp(-values) if self.survival else values


def steps_at(x: ArrayLike, y: ArrayLike, times: ArrayLike, start: float) -> NDArray[np.float64]:
    """Read a right-continuous step curve at some times; after its last time it stays flat.

    Parameters
    ----------
    x, y : float arrays, shape (t,)
        Rising times, and the value from each time on.
    times : float array, shape (m,)
    start : float
        Value before the first time.

    Returns
    -------
    float array, shape (m,)

    Raises
    ------
    DataError
        If a time is NaN.
    """
    wanted = _known(times)
    values = np.concatenate(([start], np.asarray(y, dtype=np.float64)))
    return np.asarray(values[np.searchsorted(np.asarray(x, dtype=np.float64), wanted, side="right")])


def lines_at(x: ArrayLike, y: ArrayLike, times: ArrayLike, start: float) -> NDArray[np.float64]:
    """Read a curve that is straight between its points; as `steps_at`, but with the value `start` at time 0."""
    wanted = _known(times)
    return np.asarray(np.interp(wanted, np.concatenate(([0.0], x)), np.concatenate(([start], y))))


def _known(times: ArrayLike) -> NDArray[np.float64]:
    wanted = np.asarray(times, dtype=np.float64)
    if np.isnan(wanted).any():
        raise DataError(f"{int(np.isnan(wanted).sum())} of {wanted.size} times are missing", "known times")
    return wanted


def choose_knots(events: NDArray[np.intp], least: int = 1, most: int = 200) -> NDArray[np.intp]:
    """Choose event times so that at least so many events lie between each and the one before it, or time 0.

    Parameters
    ----------
    events : int array, shape (t,)
        Number of events at each distinct event time, in order.
    least : int
        Events in each interval; fewer only when there are fewer in all.
    most : int
        Knots at most. Of more, half are taken at quantiles of the events and half ever denser to the last.

    Returns
    -------
    int array, shape (k,)
        Positions in `events`; the last event time is always the last.

    Raises
    ------
    StudyFileError
        If `least` is not an integer of at least 1.

    Examples
    --------
    >>> choose_knots(np.array([1, 1, 3, 1, 1, 1, 1, 1, 1]), least=4).tolist()
    [2, 8]
    """
    if not (isinstance(least, int) and least >= 1):
        raise StudyFileError(f"step_events = {least!r}", "an integer >= 1")
    ends = np.arange(events.size)
    total = np.cumsum(events)
    if least > 1 and ends.size:
        reached, chosen, done = total.tolist(), [], 0
        while done < reached[-1]:
            end = bisect_left(reached, done + least)
            if end == len(reached) or reached[-1] - reached[end] < least:
                end = len(reached) - 1
            chosen.append(end)
            done = reached[end]
        ends = np.asarray(chosen, dtype=np.intp)
    if ends.size <= most:
        return ends
    within, half = total[ends], most // 2
    even = within[-1] * np.arange(1, half + 1) / half
    # At the end few are at risk and variances climb steeply: there each step leaves about the same share of events.
    late = within[-1] + 1.0 - np.geomspace(1.0, within[-1] / 2, half)
    return np.asarray(ends[np.unique(np.searchsorted(within, np.concatenate((even, late)), side="left"))])


def knot_times(times: NDArray[np.float64], knots: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a time for each knot where a step curve has the knot's value and, where it can be, nobody an event.

    That is halfway to the next event time. After the last event there is none, so its time is rounded up to the
    fewest digits, two or more, that move it by no more than a tenth of the last interval.

    Parameters
    ----------
    times : float array, shape (t,)
        Distinct event times.
    knots : int array, shape (k,)
        Positions in them, the last one with it; see `choose_knots`.

    Returns
    -------
    float array, shape (k,)

    Examples
    --------
    >>> knot_times(np.array([10.0, 20.0, 25.0, 31.0, 97.3]), np.array([1, 4])).tolist()
    [22.5, 98.0]
    """
    out = times[knots]
    if not out.size:
        return out
    inner = knots[:-1]
    out[:-1] += (times[inner + 1] - out[:-1]) / 2
    last = float(out[-1])
    before = float(out[-2]) if inner.size else 0.0
    out[-1] = _few_digits(last, (last - before) / 10, decimal.ROUND_CEILING)
    return out


def _few_digits(value: float, room: float, rounding: str = decimal.ROUND_HALF_EVEN) -> float:
    for digits in range(2, 18):
        near = float(decimal.Context(prec=digits, rounding=rounding).create_decimal(repr(value)))
        if abs(near - value) <= room:
            return near
    return value


def bent_line(
    times: NDArray[np.float64], curve: NDArray[np.float64], start: float, knots: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Replace a step curve by a line through its values at some knots, bent once before each.

    Parameters
    ----------
    times, curve : float arrays, shape (t,)
        Distinct event times, and the value from each on; the curve only rises or only falls.
    start : float
        Value before the first time.
    knots : int array, shape (k,)
        See `choose_knots`.

    Returns
    -------
    x, y : float arrays, shape (2k,)
        Points for `lines_at`, values at six significant digits. Of each two the second is the knot, at its
        `knot_times`. The first has the value of the knot before or of this one, at the time, rounded to few digits,
        that leaves the area under the curve as it was.

    Notes
    -----
    Without the bend, a steep rise at the end of a long interval would be spread over all of it. When the last of
    a handful at risk has the event after a year without any, the whole year before would be wrong.

    Examples
    --------
    >>> x, y = bent_line(np.array([1.0, 2.0, 9.0, 10.0]), np.array([0.1, 0.2, 1.0, 2.0]), 0.0, np.array([1, 3]))
    >>> x.tolist(), y.tolist()
    ([3.0, 5.5, 9.1, 10.0], [0.2, 0.2, 0.2, 2.0])
    """
    ends, high = knot_times(times, knots), six_digits(curve[knots])
    if not knots.size:
        return ends, high
    begins, low = np.concatenate(([0.0], ends[:-1])), np.concatenate(([start], high[:-1]))
    rise = np.diff(curve, prepend=start)
    firsts = np.concatenate(([0], knots[:-1] + 1))
    within = np.searchsorted(knots, np.arange(times.size), side="left")
    length = ends - begins
    area = np.add.reduceat(rise * (ends[within] - times), firsts)
    whole = np.add.reduceat(rise, firsts) * length
    share = np.clip(np.divide(area, whole, out=np.full(knots.size, 0.5), where=whole != 0.0), 0.0, 1.0)
    late = share < 0.5
    bends = np.where(late, ends - 2.0 * share * length, begins + 2.0 * (1.0 - share) * length)
    few = [_few_digits(bend, room) for bend, room in zip(bends.tolist(), (length / 10).tolist(), strict=True)]
    x = np.column_stack((np.clip(few, begins, ends), ends)).ravel()
    return x, np.column_stack((np.where(late, low, high), high)).ravel()


def six_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to six significant digits.

    Examples
    --------
    >>> six_digits(np.array([0.123456789, -12345678.0])).tolist()
    [0.123457, -12345700.0]
    """
    return np.array([float(f"{v:.6g}") for v in values.ravel().tolist()], dtype=np.float64).reshape(values.shape)


def as_survival(y: Any) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Split a structured outcome into event and time, whatever its fields are called.

    Parameters
    ----------
    y : structured array, shape (n,)
        The first boolean field is the event, the first number field the time.

    Returns
    -------
    event : bool array, shape (n,)
    time : float array, shape (n,)

    Raises
    ------
    DataError
        If y has no such fields, or a time is not finite and at least 0.

    Examples
    --------
    >>> y = np.array([(True, 5.0), (False, 7.0)], dtype=[("death", bool), ("days", float)])
    >>> as_survival(y)[1].tolist()
    [5.0, 7.0]
    """
    array = np.asarray(y)
    fields = array.dtype.names or ()
    events = [f for f in fields if array.dtype[f].kind == "b"]
    times = [f for f in fields if array.dtype[f].kind in "fiu"]
    if array.ndim != 1 or not events or not times:
        raise DataError(
            "y is not a structured array of event and time",
            "a boolean and a number field, one row a unit",
            "use aimed.core.Survival(event=..., time=...).structured()",
        )
    time = np.ascontiguousarray(array[times[0]], dtype=np.float64)
    bad = ~(np.isfinite(time) & (time >= 0))
    if bad.any():
        raise DataError(f"{int(bad.sum())} of {time.size} times are missing, infinite or negative", "finite times >= 0")
    return np.ascontiguousarray(array[events[0]], dtype=bool), time


def as_matrix(
    X: Any, width: int | None = None, names: Sequence[str] | None = None
) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read a complete matrix of numbers, and its column names where it carries any.

    Parameters
    ----------
    X : array or data frame, shape (n, p)
    width : int, optional
        Number of columns it must have.
    names : sequence of str, optional
        What to call columns in messages; the data frame's names, or x0, x1, ..., when absent.

    Returns
    -------
    values : float array, shape (n, p)
        A view of X where X allows it.
    names : list of str or None

    Raises
    ------
    DataError
        If X is not two-dimensional, holds text, missing or infinite values, or has another width.
    """
    columns = getattr(X, "columns", None)
    found = [str(c) for c in columns] if columns is not None else None
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("X holds text", "numbers only", "encode the categories first") from None
    if values.ndim != 2:
        raise DataError(f"X has {values.ndim} dimensions", "2 (rows and columns)")
    if width is not None and values.shape[1] != width:
        raise DataError(f"X has {values.shape[1]} columns", f"{width}, as in training")
    with np.errstate(invalid="ignore", over="ignore"):
        suspect = not np.isfinite(values.sum())
    if suspect:
        bad = ~np.isfinite(values)
        if bad.any():
            which = np.flatnonzero(bad.any(axis=0))
            known = list(names if names is not None else found or ())
            listed = [f"'{known[j] if j < len(known) else f'x{j}'}'" for j in which[:10]]
            more = [f"{which.size - 10} more"] if which.size > 10 else []
            raise DataError(
                f"X has {int(bad.any(axis=1).sum())} rows with missing or infinite values, in "
                f"{', '.join(listed + more)}",
                "complete rows",
                "fill or leave out missing values with aimed.fit.prepare.Preparation",
            )
    return values, found


def as_matrix_with_gaps(
    X: Any, width: int | None = None, names: Sequence[str] | None = None
) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read a matrix of numbers in which values may be missing (NaN), for models that take them as they are.

    Parameters
    ----------
    X, width, names
        As in `as_matrix`.

    Returns
    -------
    values : float array, shape (n, p)
        A view of X where X allows it.
    names : list of str or None

    Raises
    ------
    DataError
        If X is not two-dimensional, holds text or infinite values, or has another width.
    """
    columns = getattr(X, "columns", None)
    found = [str(c) for c in columns] if columns is not None else None
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("X holds text", "numbers, with categories as codes", "encode the categories first") from None
    if values.ndim != 2:
        raise DataError(f"X has {values.ndim} dimensions", "2 (rows and columns)")
    if width is not None and values.shape[1] != width:
        raise DataError(f"X has {values.shape[1]} columns", f"{width}, as in training")
    # Without a mask as large as X: NaN gives way to any number in these.
    if values.size and (np.fmax.reduce(values, axis=None) == np.inf or np.fmin.reduce(values, axis=None) == -np.inf):
        bad = np.isinf(values).sum(axis=0)
        j = int(np.argmax(bad > 0))
        known = list(names if names is not None else found or ())
        name = known[j] if j < len(known) else f"x{j}"
        raise DataError(
            f"column '{name}' has {int(bad[j])} infinite values", "numbers, or NaN where missing", "repair the column"
        )
    return values, found
