"""What time-to-event models share: reading the outcome and the input matrix, and step-shaped curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError

__all__ = ["StepFunction", "as_matrix", "as_survival", "steps_at"]


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
    wanted = np.asarray(times, dtype=np.float64)
    if np.isnan(wanted).any():
        raise DataError(f"{int(np.isnan(wanted).sum())} of {wanted.size} times are missing", "known times")
    values = np.concatenate(([start], np.asarray(y, dtype=np.float64)))
    return np.asarray(values[np.searchsorted(np.asarray(x, dtype=np.float64), wanted, side="right")])


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


def as_matrix(X: Any, width: int | None = None) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read a complete matrix of numbers, and its column names where it carries any.

    Parameters
    ----------
    X : array or data frame, shape (n, p)
    width : int, optional
        Number of columns it must have.

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
    names = [str(c) for c in columns] if columns is not None else None
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
            raise DataError(
                f"X has {int(bad.any(axis=1).sum())} rows with missing or infinite values",
                "complete rows",
                "fill or leave out missing values with aimed.fit.prepare.Preparation",
            )
    return values, names
