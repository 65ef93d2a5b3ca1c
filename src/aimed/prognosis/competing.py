"""Competing risks: the outcome with several kinds of event, as the models of this room read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, NotEstimableError

__all__ = ["as_competing", "names_of", "stored_names", "wolbers_c"]


def as_competing(
    y: Any, cause: int | None = None, causes: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Split a structured outcome into event codes and times.

    Parameters
    ----------
    y : structured array, shape (n,)
        The first integer (or boolean) field is the kind of event, 0 for none; the next number field the time.
    cause : int, optional
        A cause that must happen at least once.
    causes : int, optional
        How many causes are declared, K. When absent, every code up to the largest must occur.

    Returns
    -------
    codes : int array, shape (n,)
        0 to K.
    time : float array, shape (n,)
    causes : int

    Raises
    ------
    DataError
        If y has no such fields, a code is not declared, or a time is not finite and at least 0.
    NotEstimableError
        If `cause`, or any event at all, never happens.

    Examples
    --------
    >>> y = np.array([(2, 5.0), (0, 7.0), (1, 1.0)], dtype=[("event", int), ("time", float)])
    >>> codes, time, causes = as_competing(y)
    >>> codes.tolist(), time.tolist(), causes
    ([2, 0, 1], [5.0, 7.0, 1.0], 2)
    """
    array = np.asarray(y)
    fields = array.dtype.names or ()
    events = [f for f in fields if array.dtype[f].kind in "biu"]
    times = [f for f in fields if array.dtype[f].kind in "fiu" and f != (events[0] if events else None)]
    if array.ndim != 1 or not events or not times:
        raise DataError(
            "y is not a structured array of event code and time",
            "an integer field (0 for no event, 1 to K for its cause) and a number field, one row a unit",
        )
    codes = np.ascontiguousarray(array[events[0]], dtype=np.int64)
    time = np.ascontiguousarray(array[times[0]], dtype=np.float64)
    bad = int((~(np.isfinite(time) & (time >= 0))).sum())
    if bad:
        raise DataError(f"{bad} of {time.size} times are missing, infinite or negative", "finite times >= 0")
    if not (codes > 0).any():
        raise NotEstimableError("no event in the rows", "at least one", "extend follow-up or the cohort")
    negative = int((codes < 0).sum())
    if negative:
        raise DataError(f"{negative} of {codes.size} event codes are negative", "0 for no event, 1 to K for its cause")
    found = np.unique(codes[codes > 0])
    if causes is None:
        top = int(found[-1])
        if found.size != top:
            raise DataError(
                f"{found.size} kinds of event, with codes up to {top}",
                "codes 1 to K that all occur, or the number of causes declared",
                "recode a code that stands for missing; set causes=K where a cause may be absent",
            )
    else:
        top = int(causes)
        undeclared = int((codes > top).sum())
        if undeclared:
            raise DataError(f"{undeclared} of {codes.size} event codes are not declared", f"0 to {top}")
    if cause is not None and not (codes == cause).any():
        raise NotEstimableError(f"no row has an event of cause {cause}", "a cause that happens", "see the event codes")
    return codes, time, top


def wolbers_c(codes: NDArray[np.int64], time: NDArray[np.float64], cause: int, risk: NDArray[np.float64]) -> float:
    """Return Harrell's C for one cause: who had another event never has this one, and stays comparable."""
    from aimed.metrics.concordance import harrell_c

    never = np.where((codes > 0) & (codes != cause), time.max() + 1.0, time)
    return float(harrell_c(codes == cause, never, risk))


def names_of(model: Any, feature_names: Sequence[str] | None, found: list[str] | None, p: int) -> list[str]:
    """Return a name for each column, and keep the names on the model where there are any."""
    if feature_names is not None and len(feature_names) != p:
        raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
    given = list(feature_names) if feature_names is not None else found
    model.__dict__.pop("feature_names_in_", None)
    if given:
        model.feature_names_in_ = np.asarray(given, dtype=object)
    model.n_features_in_ = p
    return given or [f"x{j}" for j in range(p)]


def stored_names(model: Any) -> list[str]:
    """Return the names a fitted model keeps of its columns, or x0, x1, ... where it has none."""
    return [str(n) for n in getattr(model, "feature_names_in_", [f"x{j}" for j in range(model.n_features_in_)])]
