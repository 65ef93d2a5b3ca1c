"""Where to put the marks of censoring on a curve without showing when one patient was last seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray

__all__ = ["censor_marks"]

LEAST = 5
"""Fewest patients that one mark stands for."""
_MOST = 40


def censor_marks(time: ArrayLike, censored: ArrayLike, grid: ArrayLike, each: int | None = None) -> dict[str, Any]:
    """Return the times of a grid by which a number more rows are censored, over and over.

    Parameters
    ----------
    time : float array, shape (n,)
    censored : bool array, shape (n,)
    grid : float array, shape (t,), rising
        Times a mark may stand at; rows censored after the last have none.
    each : int, optional
        Rows a mark stands for; when absent, 5 or as many as give at most 40 marks.

    Returns
    -------
    dict
        ``each``: rows a mark stands for; ``times``: where the marks are, a time of the grid for each mark.

    Raises
    ------
    DataError
        If a mark would stand for fewer than 5 rows.

    Examples
    --------
    >>> censor_marks(range(1, 13), [True] * 12, [0, 4, 8, 12])
    {'each': 5, 'times': [8.0, 12.0]}
    """
    when = np.asarray(time, dtype=np.float64)
    left = np.sort(when[np.asarray(censored, dtype=bool)])
    places: FloatArray = np.asarray(grid, dtype=np.float64)
    left = left[left <= places[-1]] if places.size else left[:0]
    size = max(LEAST, int(np.ceil(left.size / _MOST))) if each is None else each
    if size < LEAST:
        raise DataError(f"a mark for {size} rows", f"at least {LEAST}", "leave each out")
    full = left[size - 1 :: size]
    return {"each": size, "times": places[np.searchsorted(places, full, side="left")].tolist()}
