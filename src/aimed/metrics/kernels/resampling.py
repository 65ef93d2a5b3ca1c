"""Draws of patients with replacement, as small whole-number counts in blocks of replicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["draw_counts"]


@compiled
def draw_counts(members: NDArray[np.int64], states: NDArray[np.uint64], counts: NDArray[np.uint8]) -> int:
    """Draw as many members as there are, with replacement, once for each replicate, and add up in `counts`.

    Random numbers are SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), 32 bits a draw, brought to the range without
    bias by Lemire's rejection (ACM TOMACS 2019;29:3). Each replicate has its own state, so that the draws do not
    depend on which thread makes them, nor on how replicates are blocked.

    Parameters
    ----------
    members : int array, shape (k,)
        Rows of `counts` that are drawn from; k < 2**32.
    states : uint64 array, shape (b,)
        State of the generator of each replicate; moved on.
    counts : uint8 array, shape (m, b)
        Added to.

    Returns
    -------
    int
        Counts that were too large for the array; 0 in practice.
    """
    k = np.uint64(members.size)
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    threshold = (np.uint64(1) << shift) % k
    lost = 0
    # Draws of one replicate scatter over a row that fits in the cache; they are laid beside the others afterwards.
    drawn = np.zeros(members.size, np.uint8)
    for b in range(states.size):
        state = states[b]
        left = members.size
        while left > 0:
            state += np.uint64(0x9E3779B97F4A7C15)
            z = state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            first = (z & low) * k
            second = (z >> shift) * k
            if (first & low) >= threshold:
                place = first >> shift
                lost += drawn[place] == np.uint8(255)
                drawn[place] += np.uint8(1)
                left -= 1
            if left > 0 and (second & low) >= threshold:
                place = second >> shift
                lost += drawn[place] == np.uint8(255)
                drawn[place] += np.uint8(1)
                left -= 1
        for i in range(members.size):
            counts[members[i], b] += drawn[i]
            drawn[i] = 0
        states[b] = state
    return lost
