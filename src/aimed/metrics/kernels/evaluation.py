"""Sums of resampled rows that a whole evaluation is made from: by cell, by value, along curves and by risk group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["cell_sums", "precision_at_recall", "roc_at_rate", "survival_by_group", "value_sums"]


@compiled
def cell_sums(
    cell: NDArray[np.int32], codes: NDArray[np.int64], counts: NDArray[np.uint8], cells: int
) -> NDArray[np.int64]:
    """Return how often rows of each cell were drawn, shape (cells, b).

    Parameters
    ----------
    cell : int32 array, shape (n,)
        Cell of each row, from 0.
    codes : int array, shape (n,)
        Patient of each row.
    counts : uint8 array, shape (m, b)
        Draws of each patient.
    cells : int
    """
    b = counts.shape[1]
    out = np.zeros((cells, b), np.int64)
    for i in range(cell.size):
        c, p = cell[i], codes[i]
        for j in range(b):
            out[c, j] += counts[p, j]
    return out


@compiled
def value_sums(values: NDArray[np.float64], codes: NDArray[np.int64], counts: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the sums of row values over the drawn rows, shape (k, b), in the order of the rows.

    Parameters
    ----------
    values : float array, shape (n, k)
    codes : int array, shape (n,)
    counts : uint8 array, shape (m, b)
    """
    b = counts.shape[1]
    out = np.zeros((values.shape[1], b))
    weight = np.empty(b)
    for i in range(codes.size):
        p = codes[i]
        for j in range(b):
            weight[j] = counts[p, j]
        for k in range(values.shape[1]):
            v = values[i, k]
            for j in range(b):
                out[k, j] += v * weight[j]
    return out


@compiled
def _sides(
    patient: NDArray[np.int64], case: NDArray[np.bool_], counts: NDArray[np.uint8], replicate: int
) -> tuple[np.int64, np.int64]:
    """Return how many cases and controls were drawn in one replicate."""
    cases, controls = np.int64(0), np.int64(0)
    for i in range(patient.size):
        w = np.int64(counts[patient[i], replicate])
        if case[i]:
            cases += w
        else:
            controls += w
    return cases, controls


@compiled
def roc_at_rate(
    patient: NDArray[np.int64],
    case: NDArray[np.bool_],
    last: NDArray[np.bool_],
    counts: NDArray[np.uint8],
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return true positive rates at false positive rates, shape (b, g), by straight lines between the curve's corners.

    NaN in a draw without a case or without a control.

    Parameters
    ----------
    patient : int array, shape (n,)
        Patient of the rows, in order of falling risk.
    case : bool array, shape (n,)
    last : bool array, shape (n,)
        True on the last row of each run of equal risks.
    counts : uint8 array, shape (m, b)
    grid : float array, shape (g,), rising
        False positive rates.
    """
    g = grid.size
    b = counts.shape[1]
    roc = np.full((b, g), np.nan)
    for j in range(b):
        cases, controls = _sides(patient, case, counts, j)
        if cases == 0 or controls == 0:
            continue
        true, false = np.int64(0), np.int64(0)
        before_true, before_false = np.int64(0), np.int64(0)
        at = 0
        for i in range(patient.size):
            w = np.int64(counts[patient[i], j])
            if case[i]:
                true += w
            else:
                false += w
            if not last[i]:
                continue
            # The highest point at a false positive rate counts, so a rate is read when the curve moves beyond it.
            while at < g and false > before_false and grid[at] * controls < false:
                gap = (grid[at] * controls - before_false) / (false - before_false)
                roc[j, at] = (before_true + max(gap, 0.0) * (true - before_true)) / cases
                at += 1
            before_true, before_false = true, false
        while at < g:
            roc[j, at] = 1.0
            at += 1
    return roc


@compiled
def precision_at_recall(
    patient: NDArray[np.int64],
    case: NDArray[np.bool_],
    last: NDArray[np.bool_],
    counts: NDArray[np.uint8],
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return precision at the first cut that finds at least a share of the events, shape (b, g).

    NaN in a draw without a case.

    Parameters
    ----------
    patient, case, last, counts
        As for `roc_at_rate`.
    grid : float array, shape (g,), rising
        Recalls.
    """
    g = grid.size
    b = counts.shape[1]
    precision = np.full((b, g), np.nan)
    for j in range(b):
        cases, _ = _sides(patient, case, counts, j)
        if cases == 0:
            continue
        true, false = np.int64(0), np.int64(0)
        recall = 0
        for i in range(patient.size):
            w = np.int64(counts[patient[i], j])
            if case[i]:
                true += w
            else:
                false += w
            if not last[i]:
                continue
            while recall < g and true + false > 0 and true >= grid[recall] * cases * (1 - 1e-12):
                precision[j, recall] = true / (true + false)
                recall += 1
    return precision


@compiled
def _enter(
    group: NDArray[np.int32],
    patient: NDArray[np.int64],
    counts: NDArray[np.uint8],
    j: int,
    reached: int,
    at_risk: NDArray[np.float64],
    followed: NDArray[np.float64],
    share: NDArray[np.float64],
) -> None:
    """Fill, by group, the rows of a draw, those from row `reached` on, and the share in this group and above."""
    for i in range(group.size):
        w = counts[patient[i], j]
        at_risk[group[i]] += w
        if i >= reached:
            followed[group[i]] += w
    total = 0.0
    for k in range(at_risk.size - 1, -1, -1):
        total += at_risk[k]
        share[k] = total
    for k in range(at_risk.size):
        share[k] = share[k] / total if total > 0 else np.nan


@compiled
def _leave(several: bool, group: int, at_risk: NDArray[np.float64], gone: NDArray[np.float64]) -> None:
    """Take the rows of one time out of those at risk: of all groups, or of one where a single row stands there."""
    if several:
        for k in range(gone.size):
            at_risk[k] -= gone[k]
            gone[k] = 0.0
    else:
        at_risk[group] -= gone[group]
        gone[group] = 0.0


@compiled
def survival_by_group(
    group: NDArray[np.int32],
    event: NDArray[np.bool_],
    last: NDArray[np.bool_],
    patient: NDArray[np.int64],
    within: int,
    reached: int,
    groups: int,
    counts: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return Kaplan-Meier survival at a horizon: in each group, in groups k and above, and below k; and shares.

    Parameters
    ----------
    group : int32 array, shape (n,)
        Group of the rows, in order of rising time.
    event : bool array, shape (n,)
    last : bool array, shape (n,)
        True on the last row of each run of equal times.
    patient : int array, shape (n,)
    within : int
        Rows with a time at or before the horizon; they come first.
    reached : int
        First row with a time at or beyond the horizon.
    groups : int
    counts : uint8 array, shape (m, b)

    Returns
    -------
    alone, above, below, share : float arrays, shape (b, groups)
        `above`, `below` and `share` are those of groups >= k and < k. NaN where nobody is followed to the horizon.
    """
    b = counts.shape[1]
    alone, above = np.ones((b, groups)), np.ones((b, groups))
    below, share = np.ones((b, groups)), np.zeros((b, groups))
    for j in range(b):
        at_risk, followed = np.zeros(groups), np.zeros(groups)
        _enter(group, patient, counts, j, reached, at_risk, followed, share[j])
        deaths = np.zeros(groups)
        gone = np.zeros(groups)
        any_death = False
        for i in range(within):
            w = counts[patient[i], j]
            gone[group[i]] += w
            if event[i] and w > 0:
                deaths[group[i]] += w
                any_death = True
            if not last[i]:
                continue
            if any_death:
                d, y = 0.0, 0.0
                for k in range(groups):
                    if deaths[k] > 0:
                        alone[j, k] *= 1 - deaths[k] / at_risk[k]
                    if d > 0:
                        below[j, k] *= 1 - d / y
                    d += deaths[k]
                    y += at_risk[k]
                d, y = 0.0, 0.0
                for k in range(groups - 1, -1, -1):
                    d += deaths[k]
                    y += at_risk[k]
                    if d > 0:
                        above[j, k] *= 1 - d / y
                    deaths[k] = 0.0
                any_death = False
            _leave(i > 0 and not last[i - 1], group[i], at_risk, gone)
        seen = 0.0
        for k in range(groups):
            if followed[k] == 0 and alone[j, k] > 0:
                alone[j, k] = np.nan
            if seen == 0 and below[j, k] > 0:
                below[j, k] = np.nan
            seen += followed[k]
        seen = 0.0
        for k in range(groups - 1, -1, -1):
            seen += followed[k]
            if seen == 0 and above[j, k] > 0:
                above[j, k] = np.nan
    return alone, above, below, share


@compiled
def incidence_by_group(
    group: NDArray[np.int32],
    kind: NDArray[np.uint8],
    last: NDArray[np.bool_],
    patient: NDArray[np.int64],
    within: int,
    reached: int,
    groups: int,
    counts: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return 1 less the Aalen-Johansen incidence at a horizon, by group as `survival_by_group` does.

    Parameters
    ----------
    group, last, patient, within, reached, groups, counts
        As for `survival_by_group`.
    kind : uint8 array, shape (n,)
        0 censored, 1 the event of interest, 2 another event.

    Returns
    -------
    alone, above, below, share : float arrays, shape (b, groups)
        NaN where nobody is followed to the horizon and some had no event at all.
    """
    b = counts.shape[1]
    # Sets of groups: k alone, k and above, below k. Of each, who is free of any event and who had the one of interest.
    out = np.empty((3, b, groups))
    share = np.zeros((b, groups))
    for j in range(b):
        at_risk, followed = np.zeros(groups), np.zeros(groups)
        _enter(group, patient, counts, j, reached, at_risk, followed, share[j])
        free = np.ones((3, groups))
        had = np.zeros((3, groups))
        own, other, gone = np.zeros(groups), np.zeros(groups), np.zeros(groups)
        any_event = False
        for i in range(within):
            w = counts[patient[i], j]
            gone[group[i]] += w
            if kind[i] > 0 and w > 0:
                any_event = True
                if kind[i] == 1:
                    own[group[i]] += w
                else:
                    other[group[i]] += w
            if not last[i]:
                continue
            if any_event:
                d, e, y = 0.0, 0.0, 0.0
                for k in range(groups):
                    if own[k] + other[k] > 0:
                        had[0, k] += free[0, k] * own[k] / at_risk[k]
                        free[0, k] *= 1 - (own[k] + other[k]) / at_risk[k]
                    if d + e > 0:
                        had[2, k] += free[2, k] * d / y
                        free[2, k] *= 1 - (d + e) / y
                    d += own[k]
                    e += other[k]
                    y += at_risk[k]
                d, e, y = 0.0, 0.0, 0.0
                for k in range(groups - 1, -1, -1):
                    d += own[k]
                    e += other[k]
                    y += at_risk[k]
                    if d + e > 0:
                        had[1, k] += free[1, k] * d / y
                        free[1, k] *= 1 - (d + e) / y
                    own[k] = 0.0
                    other[k] = 0.0
                any_event = False
            _leave(i > 0 and not last[i - 1], group[i], at_risk, gone)
        seen = 0.0
        for k in range(groups):
            # Rounding leaves a trace where all had an event.
            out[0, j, k] = np.nan if followed[k] == 0 and free[0, k] > 1e-12 else 1 - had[0, k]
            out[2, j, k] = np.nan if seen == 0 and free[2, k] > 1e-12 else 1 - had[2, k]
            seen += followed[k]
        seen = 0.0
        for k in range(groups - 1, -1, -1):
            seen += followed[k]
            out[1, j, k] = np.nan if seen == 0 and free[1, k] > 1e-12 else 1 - had[1, k]
    return out[0], out[1], out[2], share
