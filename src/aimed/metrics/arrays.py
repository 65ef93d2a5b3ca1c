"""The doorway of the metrics: arrays are checked once here and then trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "binary",
    "cross_products",
    "dot",
    "event_codes",
    "event_kinds",
    "follow_up",
    "labels",
    "level_codes",
    "patient_codes",
    "prevalence_of",
    "probabilities",
    "row_dot",
    "survival",
    "tally",
    "vector",
    "weighted_mean",
    "weights_of",
    "zero_one",
]

FloatArray: TypeAlias = NDArray[np.float64]
"""A float64 array."""
IntArray: TypeAlias = NDArray[np.int64]
"""An int64 array."""
BoolArray: TypeAlias = NDArray[np.bool_]
"""A boolean array."""


_MOST_WEIGHT = 2.0**52
_MOST_CAUSES = 100


def vector(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    """Return a finite float64 vector.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    values : array, shape (n,)
    n : int, optional
        Length it must have.

    Raises
    ------
    DataError
        If it is not a vector of length `n`, is empty, or holds NaN or infinity.

    Examples
    --------
    >>> vector("risk", [0.1, float("nan")])
    Traceback (most recent call last):
        ...
    aimed.core.errors.DataError: risk has 1 of 2 values that are not finite; expected finite numbers; drop those \
rows and count them
    """
    array = _numbers(name, values)
    if array.ndim != 1 or array.size == 0 or (n is not None and array.size != n):
        raise DataError(f"{name} has shape {array.shape}", "a vector with one value a row" + (f", {n}" if n else ""))
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(
            f"{name} has {bad} of {array.size} values that are not finite",
            "finite numbers",
            "drop those rows and count them",
        )
    return array


def _numbers(name: str, values: ArrayLike) -> FloatArray:
    """Convert to float64; dates, complex numbers, text and masked cells are not numbers."""
    given = np.asarray(values)
    hidden = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if hidden:
        raise DataError(f"{name} has {hidden} masked values", "a plain array", "drop those rows and count them")
    if given.dtype.kind in "mMcV":
        kind = {"m": "time differences", "M": "dates", "c": "complex numbers", "V": "records"}[given.dtype.kind]
        raise DataError(f"{name} holds {kind}", "numbers", "convert them, with a unit you choose")
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    # Outside the handler: the first error would print the cell that could not be read.
    raise DataError(f"{name} holds values that are not numbers", "numbers", "recode them, such as no = 0 and yes = 1")


def weights_of(weights: ArrayLike | None, n: int) -> FloatArray:
    """Return row weights as float64; ones when absent.

    Raises
    ------
    DataError
        If a weight is negative or all are zero.

    Examples
    --------
    >>> weights_of(None, 2)
    array([1., 1.])
    """
    if weights is None:
        return np.ones(n)
    array = vector("weights", weights, n)
    if array.min() < 0 or not array.any():
        raise DataError("weights hold a negative value or only zeros", "weights >= 0 with a positive sum")
    if array.sum() > _MOST_WEIGHT:
        raise DataError("weights sum to more than 2^52", "a sum that can be counted one by one", "divide them")
    return array


def tally(place: NDArray[np.integer], weights: FloatArray, size: int) -> FloatArray:
    """Return the summed weight at each place from 0 to size - 1.

    Examples
    --------
    >>> tally(np.array([0, 2, 2]), np.ones(3), 3)
    array([1., 0., 2.])
    """
    return np.asarray(np.bincount(place, weights=weights, minlength=size), dtype=np.float64)


def dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the sum of products of two vectors, added up in one order.

    A linear algebra library would share long sums among threads, and the last bits would depend on how many there are.

    Examples
    --------
    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i", a, b))


def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """Return the mean of values under row weights.

    Examples
    --------
    >>> weighted_mean(np.array([0.0, 4.0]), np.array([3.0, 1.0]))
    1.0
    """
    return dot(weights, values) / float(weights.sum())


def row_dot(table: FloatArray, by: FloatArray) -> FloatArray:
    """Return each row's sum of products with a vector, shape (n,), or with each column of a matrix, shape (n, k).

    Examples
    --------
    >>> row_dot(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0]))
    array([21., 43.])
    """
    return np.asarray(np.einsum("np,p...->n...", table, by), dtype=np.float64)


def cross_products(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the sums of products of the columns of two tables, shape (p, q), added up in one order; see `dot`.

    Examples
    --------
    >>> cross_products(np.array([[1.0], [2.0]]), np.array([[3.0, 1.0], [4.0, 1.0]]))
    array([[11.,  3.]])
    """
    return np.asarray(np.einsum("np,nq->pq", a, b), dtype=np.float64)


def zero_one(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    """Return a vector of zeros and ones as float64.

    Raises
    ------
    DataError
        If a value is neither 0 nor 1.

    Examples
    --------
    >>> zero_one("treated", [True, False])
    array([1., 0.])
    """
    array = vector(name, values, n)
    bad = int(((array != 0) & (array != 1)).sum())
    if bad:
        raise DataError(f"{name} has {bad} of {array.size} values that are neither 0 nor 1", "0 and 1")
    return array


def probabilities(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    """Return a vector of probabilities.

    Raises
    ------
    DataError
        If a value lies outside [0, 1].

    Examples
    --------
    >>> probabilities("risk", [0.5])
    array([0.5])
    """
    array = vector(name, values, n)
    bad = int(((array < 0) | (array > 1)).sum())
    if bad:
        raise DataError(f"{name} has {bad} of {array.size} values outside [0, 1]", "probabilities")
    return array


def binary(y: ArrayLike, weights: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
    """Return a 0/1 outcome and its row weights as float64.

    Raises
    ------
    DataError
        If an outcome is neither 0 nor 1, or a weight is negative.

    Examples
    --------
    >>> binary([0, 1])[0]
    array([0., 1.])
    """
    outcome = zero_one("y", y)
    return outcome, weights_of(weights, outcome.size)


def prevalence_of(y: FloatArray, weights: FloatArray) -> float:
    """Return the weighted share of rows with the event.

    Raises
    ------
    NotEstimableError
        If only one class is present.

    Examples
    --------
    >>> prevalence_of(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    0.25
    """
    if dot(weights, y) <= 0 or dot(weights, 1 - y) <= 0:
        raise NotEstimableError("only one outcome class is present", "rows with and without the event")
    return weighted_mean(y, weights)


def survival(
    event: ArrayLike, time: ArrayLike, weights: ArrayLike | None = None
) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Return event, time and row weights of a right-censored outcome.

    Raises
    ------
    DataError
        If an event is neither 0 nor 1, a time is negative or not finite, or the lengths differ.

    Examples
    --------
    >>> survival([1, 0], [3, 5])[0]
    array([ True, False])
    """
    when = follow_up(time)
    seen = zero_one("event", event, when.size)
    return seen.astype(bool), when, weights_of(weights, when.size)


def follow_up(time: ArrayLike) -> FloatArray:
    """Return times of follow-up.

    Raises
    ------
    DataError
        If a time is negative or not finite.

    Examples
    --------
    >>> follow_up([3, 5])
    array([3., 5.])
    """
    when = vector("time", time)
    if when.min() < 0:
        raise DataError(f"time has {int((when < 0).sum())} of {when.size} negative values", "times >= 0")
    return when


def event_codes(event: ArrayLike, n: int) -> IntArray:
    """Return event codes: 0 for censored, 1 to K for the kind of event.

    Raises
    ------
    DataError
        If a code is not a whole number from 0.

    Examples
    --------
    >>> event_codes([0, 2, 1], 3)
    array([0, 2, 1])
    """
    values = vector("event", event, n)
    codes: IntArray = values.astype(np.int64)
    bad = int(((codes != values) | (values < 0)).sum())
    if bad:
        raise DataError(f"event has {bad} of {n} values that are not whole numbers >= 0", "0 censored, 1 to K causes")
    if codes.max() > _MOST_CAUSES:
        raise DataError(
            f"event has codes above {_MOST_CAUSES}", "0 censored, 1 to K causes", "recode; is event the first argument?"
        )
    return codes


def event_kinds(event: ArrayLike, n: int, cause: int) -> NDArray[np.uint8]:
    """Return 0 where censored, 1 where the cause of interest happened, 2 where another event did.

    Raises
    ------
    DataError
        As for `event_codes`, or if the cause is not a number from 1.

    Examples
    --------
    >>> event_kinds([0, 1, 2, 3], 4, cause=2)
    array([0, 2, 1, 2], dtype=uint8)
    """
    codes = event_codes(event, n)
    if cause < 1:
        raise DataError(f"cause is {cause}", "a cause from 1 to K; 0 is censored")
    return np.where(codes == cause, 1, np.where(codes > 0, 2, 0)).astype(np.uint8)


def labels(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    """Return a vector of names, such as groups or patients, of any type that sorts.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    values : array, shape (n,)
    n : int

    Raises
    ------
    DataError
        If the length is not n, or a label is missing: missing labels would make one group of strangers.

    Examples
    --------
    >>> labels("patient", ["b", "a"], 2)
    array(['b', 'a'], dtype='<U1')
    """
    array = np.asarray(values)
    if array.dtype.kind == "O" or not isinstance(values, np.ndarray):
        array = _told_apart(values, array)
    if array.shape != (n,):
        raise DataError(f"{name} has shape {array.shape}", f"({n},), one a row")
    hidden = np.ma.getmaskarray(values).sum() if isinstance(values, np.ma.MaskedArray) else 0
    if array.dtype.kind in "fc":
        missing = int((~np.isfinite(array)).sum())
    elif array.dtype.kind in "mM":
        missing = int(np.isnat(array).sum())
    elif array.dtype.kind == "O":
        missing = sum(_no_label(v) for v in array)
    else:
        missing = int((array == "").sum()) if array.dtype.kind == "U" else 0
    missing = max(missing, int(hidden))
    if missing:
        raise DataError(f"{name} is missing in {missing} of {n} rows", "a label in each row", "drop those rows")
    return array


def _told_apart(values: ArrayLike, array: NDArray[Any]) -> NDArray[Any]:
    """Keep labels of mixed kinds apart: as objects, of which 1 and '1' are two."""
    several = isinstance(values, list | tuple) or array.dtype.kind == "O"
    kinds = {type(v) for v in cast(Iterable[Any], values)} if several else set()
    if len(kinds) <= 1 and array.dtype.kind != "O":
        return array
    items = list(cast(Iterable[Any], values))
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


def _no_label(value: Any) -> bool:
    try:
        return value is None or bool(value == "") or not bool(value == value)
    except (TypeError, ValueError):
        # A missing value that refuses to be compared, as in pandas.
        return True


def patient_codes(patient: ArrayLike | None, n: int) -> IntArray:
    """Return a number from 0 for each row's patient; every row its own patient when absent.

    Whole numbers of a small range are counted, not sorted.

    Raises
    ------
    DataError
        As for `labels`.

    Examples
    --------
    >>> patient_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    if patient is None:
        return np.arange(n)
    return level_codes(labels("patient", patient, n))[1]


def level_codes(array: NDArray[Any]) -> tuple[NDArray[Any], IntArray]:
    """Return the sorted levels of checked labels and each row's number among them.

    Examples
    --------
    >>> level_codes(np.array([5, 3, 5]))
    (array([3, 5]), array([1, 0, 1]))
    """
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.dtype.kind == "O":
        numbers: dict[Any, int] = {}
        found = np.array([numbers.setdefault((type(v), v), len(numbers)) for v in array], dtype=np.int64)
        order = sorted(range(len(numbers)), key=[(k.__name__, str(v)) for k, v in numbers].__getitem__)
        names = np.empty(len(order), dtype=object)
        names[:] = [list(numbers)[k][1] for k in order]
        return names, np.argsort(order)[found]
    if array.dtype.kind in "iu" and array.size and int(array.max()) < 2**62 and int(array.min()) > -(2**62):
        whole = array.astype(np.int64)
        low = int(whole.min())
        if int(whole.max()) - low < 4 * whole.size + 1024:
            seen = np.bincount(whole - low) > 0
            codes: IntArray = (np.cumsum(seen) - 1)[whole - low]
            return np.flatnonzero(seen) + low, codes
    levels, which = np.unique(array, return_inverse=True)
    return levels, which.astype(np.int64)
