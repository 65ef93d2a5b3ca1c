"""Exhaustive search for the shallow tree of treatment rules with the largest sum of scores, on binned columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["best_root", "best_stump", "fill_sums"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def fill_sums(bins: NDArray[np.uint8], scores: Floats, sums: Floats, counts: Ints) -> None:
    """Add the scores and rows of each bin of each column.

    Parameters
    ----------
    bins : uint8 array, shape (n, p)
    scores : float array, shape (n,)
    sums, counts : float and int array, shape (p, bins)
        Filled; zeros at first.
    """
    n, p = bins.shape
    for i in range(n):
        for j in range(p):
            sums[j, bins[i, j]] += scores[i]
            counts[j, bins[i, j]] += 1


@compiled
def best_stump(
    sums: Floats, counts: Ints, width: Ints, total: float, rows: int, least: int, slack: float, out: Ints
) -> float:
    """Return the largest sum of scores that one split, or none, reaches; treating nobody counts 0.

    Parameters
    ----------
    sums, counts : float and int array, shape (p, bins)
    width : int array, shape (p,)
        Bins in use of each column.
    total, rows : float, int
        Of all bins.
    least : int
        Least rows of a leaf.
    slack : float
        What a split must gain, so that rounding makes none.
    out : int array, shape (2,)
        Column and last bin of the lower side; -1 for no split.
    """
    best = max(total, 0.0)
    out[0], out[1] = -1, -1
    for j in range(width.size):
        low, below = 0.0, 0
        for b in range(width[j] - 1):
            if counts[j, b] == 0:
                continue
            low += sums[j, b]
            below += counts[j, b]
            if below < least:
                continue
            if rows - below < least:
                break
            value = max(low, 0.0) + max(total - low, 0.0)
            if value > best + slack:
                best = value
                out[0], out[1] = j, b
    return best


@compiled
def best_root(
    bins: NDArray[np.uint8], scores: Floats, width: Ints, least: int, slack: float, out: Ints
) -> float:  # fmt: skip
    """Return the largest sum of scores of all trees with two levels of splits; the root's column and bin go to `out`.

    Rows cross from the upper to the lower side one bin at a time, so that the sums of both sides are never made anew.

    Parameters
    ----------
    bins, scores, width, least, slack, out
        As in `fill_sums` and `best_stump`. No root is returned where two levels gain nothing over one or none: the
        caller looks for a single split then.
    """
    n, p = bins.shape
    most = 1
    for j in range(p):
        most = max(most, width[j])
    whole = np.zeros((p, most))
    number = np.zeros((p, most), np.int64)
    total = 0.0
    for i in range(n):
        total += scores[i]
        for j in range(p):
            whole[j, bins[i, j]] += scores[i]
            number[j, bins[i, j]] += 1
    found = np.empty(2, np.int64)
    best = best_stump(whole, number, width, total, n, least, slack, found)
    out[0], out[1] = -1, -1
    order = np.empty(n, np.int64)
    low_sums, low_counts = np.empty((p, most)), np.empty((p, most), np.int64)
    high_sums, high_counts = np.empty((p, most)), np.empty((p, most), np.int64)
    start = np.empty(most + 1, np.int64)
    for j in range(p):
        start[0] = 0
        for b in range(width[j]):
            start[b + 1] = start[b] + number[j, b]
        for i in range(n):
            order[start[bins[i, j]]] = i
            start[bins[i, j]] += 1
        low_sums[:] = 0.0
        low_counts[:] = 0
        high_sums[:] = whole
        high_counts[:] = number
        low, below, at = 0.0, 0, 0
        for b in range(width[j] - 1):
            if number[j, b] == 0:
                continue
            for _ in range(number[j, b]):
                i = order[at]
                at += 1
                low += scores[i]
                for k in range(p):
                    c = bins[i, k]
                    low_sums[k, c] += scores[i]
                    low_counts[k, c] += 1
                    high_sums[k, c] -= scores[i]
                    high_counts[k, c] -= 1
            below += number[j, b]
            if below < least:
                continue
            if n - below < least:
                break
            value = best_stump(low_sums, low_counts, width, low, below, least, slack, found)
            value += best_stump(high_sums, high_counts, width, total - low, n - below, least, slack, found)
            if value > best + slack:
                best = value
                out[0], out[1] = j, b
    return best
