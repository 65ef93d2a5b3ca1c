"""Arms: who was treated and who was not, checked once, so that no estimator meets one arm, three arms or a blank."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, labels

__all__ = ["FEW_ROWS", "as_arms", "few_rows"]

FEW_ROWS = 20
"""Below so many rows an arm is called small: its normal interval may be too short."""


def as_arms(T: ArrayLike, n: int | None = None, *, name: str = "T") -> BoolArray:
    """Return who was treated.

    Parameters
    ----------
    T : array of 0 and 1 (or bool), shape (n,)
        1 is the active treatment.
    n : int, optional
        Rows it must have.
    name : str
        What to call it in messages.

    Returns
    -------
    bool array, shape (n,)

    Raises
    ------
    DataError
        If it is no vector of n values, a value is missing, is text, or is neither 0 nor 1.
    NotEstimableError
        If there is one arm only.

    Examples
    --------
    >>> as_arms([0, 1, 1])
    array([False,  True,  True])
    >>> as_arms([1, 1])
    Traceback (most recent call last):
        ...
    aimed.core.errors.NotEstimableError: all 2 rows of T are treated; expected rows of both arms; check the treatment \
column and which rows were left out
    """
    given = np.asarray(T)
    if given.ndim != 1 or given.size == 0 or (n is not None and given.size != n):
        raise DataError(f"{name} has shape {given.shape}", "a vector with one value a row" + (f", {n}" if n else ""))
    array = labels(name, T, given.size)
    values = np.unique(array) if array.dtype.kind != "O" else np.array(sorted({str(v) for v in array}))
    if values.size > 2:
        raise DataError(
            f"{name} has {values.size} different values",
            "two arms",
            "choose the active treatment and the control, and leave the rows of other arms out",
        )
    try:
        coded = array.astype(np.float64)
    except (TypeError, ValueError):
        coded = None
    if coded is None or array.dtype.kind not in "biufO" or not ((coded == 0) | (coded == 1)).all():
        raise DataError(
            f"{name} is not coded 0 and 1",
            "1 for the active treatment, 0 for the control",
            "name the active treatment and the control",
        )
    treated = coded == 1
    if values.size < 2:
        raise NotEstimableError(
            f"all {given.size} rows of {name} are {'treated' if treated[0] else 'untreated'}",
            "rows of both arms",
            "check the treatment column and which rows were left out",
        )
    return np.asarray(treated)


def few_rows(treated: int, control: int) -> str:
    """Return what to say of small arms; nothing where both are large enough.

    Examples
    --------
    >>> few_rows(12, 100), few_rows(100, 100)
    ('only 12 rows in the smaller arm: the interval may be too short', '')
    """
    fewest = min(treated, control)
    return "" if fewest >= FEW_ROWS else f"only {fewest} rows in the smaller arm: the interval may be too short"
