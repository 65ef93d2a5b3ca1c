"""The search for images alike: bits that differ between all pairs, then the correlation of small pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.kernels.compiled import compiled

__all__ = ["near_pairs"]


@compiled
def near_pairs(
    one: NDArray[np.uint64],
    two: NDArray[np.uint64],
    three: NDArray[np.uint64],
    four: NDArray[np.uint64],
    query: NDArray[np.uint64],
    small: NDArray[np.int8],
    small_query: NDArray[np.int8],
    start: int,
    bits: int,
    gate: float,
    least: float,
    first: IntArray,
    second: IntArray,
    strength: FloatArray,
    held: int,
) -> tuple[int, int, int]:
    """Append pairs (i, j > i) with few differing bits and small pictures that are alike.

    Parameters
    ----------
    one, two, three, four : uint64 arrays, shape (n,)
        The words of a 256-bit hash.
    query : uint64 array, shape (4, n)
        Hash that image i is looked up by: its own, or that of its mirror image.
    small, small_query : int8 arrays, shape (n, p)
    start : int
        First i.
    bits : int
        Most bits that may differ.
    gate : float
        Correlation from which a pair is counted.
    least : float
        Correlation, not below the gate, from which it is also held.
    first, second, strength : arrays, shape (capacity,)
        Written to from `held` on. Before a row that might not fit the loop stops.
    held : int
        Pairs held already.

    Returns
    -------
    i, held, counted : int
        i is n at the end.
    """
    counted = 0
    n, p = small.shape
    ones, twos = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    fours, bytes_ = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    s1, s2, s4, s56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
    apart = np.empty(n, np.uint8)
    norm = np.empty(n)
    for j in range(n):
        total: Any = 0
        for k in range(p):
            total += np.int32(small[j, k]) * np.int32(small[j, k])
        norm[j] = np.sqrt(max(total, 1))
    for i in range(start, n):
        if held + n - 1 - i > first.size:
            return i, held, counted
        qa, qb, qc, qd = query[0, i], query[1, i], query[2, i], query[3, i]
        for j in range(n):
            # Bits are counted in pairs, nibbles and bytes: four words together, 256 at most, and 255 for 256.
            a, b, c, d = one[j] ^ qa, two[j] ^ qb, three[j] ^ qc, four[j] ^ qd
            a, b = a - ((a >> s1) & ones), b - ((b >> s1) & ones)
            c, d = c - ((c >> s1) & ones), d - ((d >> s1) & ones)
            a, b = (a & twos) + ((a >> s2) & twos), (b & twos) + ((b >> s2) & twos)
            c, d = (c & twos) + ((c >> s2) & twos), (d & twos) + ((d >> s2) & twos)
            a, b = (a + (a >> s4)) & fours, (b + (b >> s4)) & fours
            c, d = (c + (c >> s4)) & fours, (d + (d >> s4)) & fours
            low, high = ((a + b) * bytes_) >> s56, ((c + d) * bytes_) >> s56
            apart[j] = np.uint8(min(low + high, np.uint64(255)))
        for j in range(i + 1, n):
            if apart[j] <= bits:
                total = 0
                for k in range(p):
                    total += np.int32(small_query[i, k]) * np.int32(small[j, k])
                alike = total / (norm[i] * norm[j])
                counted += alike >= gate
                if alike >= least:
                    first[held], second[held], strength[held] = i, j, alike
                    held += 1
    return n, held, counted
