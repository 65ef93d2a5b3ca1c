"""The loop that turns columns of numbers into bytes, for trees that split on histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["MISSING", "bin_rows"]

MISSING = 255
"""Bin of a missing value."""


@compiled
def bin_rows(
    X: NDArray[np.float64], edges: NDArray[np.float64], starts: NDArray[np.int64], nominal: NDArray[np.bool_],
    out: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Write the bin of each value: the number of edges below it, or the place of its category.

    Parameters
    ----------
    X : float array, shape (n, p)
    edges : float array
        Rising within each column; the known categories where the column is nominal.
    starts : int array, shape (p + 1,)
        Where each column's edges start.
    nominal : bool array, shape (p,)
    out : uint8 array, shape (n, p)
        `MISSING` for NaN and for categories that are not known.
    """
    n, p = X.shape
    for i in range(n):
        for j in range(p):
            x = X[i, j]
            if np.isnan(x):
                out[i, j] = 255
                continue
            low = starts[j]
            size = starts[j + 1] - low
            while size > 0:
                half = size >> 1
                below = edges[low + half] < x
                low = low + half + 1 if below else low
                size = size - half - 1 if below else half
            if nominal[j] and (low == starts[j + 1] or edges[low] != x):
                out[i, j] = 255
            else:
                out[i, j] = low - starts[j]
