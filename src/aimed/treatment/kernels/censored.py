"""Loops of the stand-in outcomes: what is expected of a row beyond each time, and its integral over lost follow-up."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["RISK", "RMST", "TIME_LOST", "fill_expected"]

RISK = 0
"""The chance of the event by the last time."""
RMST = 1
"""The time without any event up to the last time."""
TIME_LOST = 2
"""The time between the event and the last time."""

_GONE = 1e-10

_Floats: TypeAlias = NDArray[np.float64]


@compiled
def fill_expected(
    free: _Floats,
    incidence: _Floats,
    left: _Floats,
    times: _Floats,
    single: NDArray[np.bool_],
    what: int,
    expected: _Floats,
    total: _Floats,
) -> None:
    """Fill the outcome expected beyond each time, and its sum over the rises of 1 / G up to each time.

    Where times were left out between two points, curves are bent lines and the trapezoid stands for the sum.

    Parameters
    ----------
    free : float array, shape (b, m)
        Survival without any event of b rows at m points, 1 at the first.
    incidence : float array, shape (b, m), or (0, 0)
        Chance of the event of interest; without rows, of any event: 1 - `free`.
    left : float array, shape (b, m)
        G at the points.
    times : float array, shape (m,)
    single : bool array, shape (m - 1,)
        Whether no time was left out before the next point.
    what : int
        `RISK`, `RMST` or `TIME_LOST`.
    expected, total : float arrays, shape (b, m)
        Overwritten.
    """
    b, m = free.shape
    alone = incidence.shape[0] == 0
    last = times[m - 1]
    for i in range(b):
        area = 0.0
        after = free[i, m - 1]
        happened = 1.0 - after if alone else incidence[i, m - 1]
        end = happened
        expected[i, m - 1] = 0.0 if after > _GONE else np.nan
        for j in range(m - 2, -1, -1):
            now = free[i, j]
            by_now = 1.0 - now if alone else incidence[i, j]
            if what == RISK:
                above = end - by_now
            elif what == RMST:
                height = now if single[j] else 0.5 * (now + after)
                area += height * (times[j + 1] - times[j])
                above = area
            else:
                height = by_now if single[j] else 0.5 * (by_now + happened)
                area += height * (times[j + 1] - times[j])
                above = area - by_now * (last - times[j])
            expected[i, j] = above / now if now > _GONE else np.nan
            after = now
            happened = by_now
        before = 0.0
        for j in range(m):
            # Beyond the end of a curve its last value stands.
            if np.isnan(expected[i, j]):
                expected[i, j] = before
            before = expected[i, j]
        if what == RMST:
            for j in range(m):
                expected[i, j] += times[j]
        total[i, 0] = 0.0
        for j in range(m - 1):
            mean = expected[i, j + 1] if single[j] else 0.5 * (expected[i, j] + expected[i, j + 1])
            total[i, j + 1] = total[i, j] + mean * (1 / left[i, j + 1] - 1 / left[i, j])
