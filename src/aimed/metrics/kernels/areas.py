"""Areas under ROC and precision-recall curves, and two-by-two tables, from rows that are already in score order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "CASE",
    "LAST",
    "TIED",
    "auroc_draws",
    "auroc_rows",
    "average_precision_draws",
    "average_precision_rows",
    "partial_area_rows",
    "row_kinds",
    "table_moments",
]

CASE = 1
"""Bit of a row's kind: the row has the event."""

TIED = 2
"""Bit of a row's kind: other rows have the same score, and one of them or the row itself has the event."""

LAST = 4
"""Bit of a row's kind: the row is the last of its tied rows."""


@compiled
def row_kinds(case: NDArray[np.bool_], score: NDArray[np.float64], kind: NDArray[np.uint8]) -> None:
    """Write what each row is: a case or not, tied or not, last of its ties or not.

    Parameters
    ----------
    case, score : arrays, shape (n,)
        By falling score; ties in any order.
    kind : uint8 array, shape (n,)
        Written: sums of `CASE`, `TIED` and `LAST`.
    """
    n = score.size
    start = 0
    while start < n:
        stop = start
        cases = 0
        while stop < n and score[stop] == score[start]:
            cases += case[stop]
            stop += 1
        tied = TIED if cases > 0 and stop - start > 1 else 0
        for i in range(start, stop):
            kind[i] = tied + (CASE if case[i] else 0)
        if tied:
            kind[stop - 1] += LAST
        start = stop


@compiled
def auroc_draws(
    code: NDArray[np.int32], kind: NDArray[np.uint8], counts: NDArray[Any], out: NDArray[np.float64]
) -> None:
    """Write the AUROC of each replicate in one pass over the rows; NaN where a class was not drawn.

    Sums are float64: whole counts and halves are exact in it below 2**52 pairs.

    Parameters
    ----------
    code : int32 array, shape (n,)
        Row of `counts` of each row, by falling score.
    kind : uint8 array, shape (n,)
        From `row_kinds`.
    counts : uint8 or float64 array, shape (m, b)
    out : float array, shape (b,)
    """
    b = counts.shape[1]
    area = np.zeros(b)
    cases = np.zeros(b)
    controls = np.zeros(b)
    tied_cases = np.zeros(b)
    tied_controls = np.zeros(b)
    for i in range(code.size):
        k = kind[i]
        at = code[i]
        if k == 0:
            for j in range(b):
                w = np.float64(counts[at, j])
                controls[j] += w
                area[j] += w * cases[j]
        elif k == CASE:
            for j in range(b):
                cases[j] += np.float64(counts[at, j])
        else:
            if k & CASE:
                for j in range(b):
                    tied_cases[j] += np.float64(counts[at, j])
            else:
                for j in range(b):
                    tied_controls[j] += np.float64(counts[at, j])
            if k & LAST:
                for j in range(b):
                    area[j] += tied_controls[j] * (cases[j] + 0.5 * tied_cases[j])
                    cases[j] += tied_cases[j]
                    controls[j] += tied_controls[j]
                    tied_cases[j] = 0.0
                    tied_controls[j] = 0.0
    for j in range(b):
        pairs = cases[j] * controls[j]
        out[j] = area[j] / pairs if pairs > 0 else np.nan


@compiled
def average_precision_draws(
    code: NDArray[np.int32], kind: NDArray[np.uint8], counts: NDArray[Any], out: NDArray[np.float64]
) -> None:
    """Write the average precision of each replicate in one pass over the rows; NaN where a class was not drawn.

    Parameters
    ----------
    code, kind, counts, out
        As for `auroc_draws`.
    """
    b = counts.shape[1]
    total = np.zeros(b)
    cases = np.zeros(b)
    flagged = np.zeros(b)
    tied = np.zeros(b)
    for i in range(code.size):
        k = kind[i]
        at = code[i]
        if k == 0:
            for j in range(b):
                flagged[j] += np.float64(counts[at, j])
        elif k == CASE:
            for j in range(b):
                w = np.float64(counts[at, j])
                cases[j] += w
                flagged[j] += w
                below = flagged[j] if flagged[j] > 0 else 1.0
                total[j] += w * cases[j] / below
        else:
            if k & CASE:
                for j in range(b):
                    w = np.float64(counts[at, j])
                    tied[j] += w
                    flagged[j] += w
            else:
                for j in range(b):
                    flagged[j] += np.float64(counts[at, j])
            if k & LAST:
                for j in range(b):
                    cases[j] += tied[j]
                    below = flagged[j] if flagged[j] > 0 else 1.0
                    total[j] += tied[j] * cases[j] / below
                    tied[j] = 0.0
    for j in range(b):
        out[j] = total[j] / cases[j] if cases[j] > 0 and flagged[j] > cases[j] else np.nan


@compiled
def auroc_rows(
    case: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64], place: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Write the share of the other class that each row ranks rightly against; ties count one half.

    Parameters
    ----------
    case, score, weight : arrays, shape (n,)
        By falling score; ties in any order.
    place : float array, shape (n,)
        Written: DeLong's structural components.

    Returns
    -------
    area, cases, controls : float
        Weight of rightly ranked pairs, weight of either class.
    """
    n = score.size
    cases = 0.0
    controls = 0.0
    for i in range(n):
        if case[i]:
            cases += weight[i]
        else:
            controls += weight[i]
    area = 0.0
    above = 0.0
    seen = 0.0
    start = 0
    while start < n:
        stop = start
        tied_cases = 0.0
        tied_controls = 0.0
        while stop < n and score[stop] == score[start]:
            if case[stop]:
                tied_cases += weight[stop]
            else:
                tied_controls += weight[stop]
            stop += 1
        of_case = (controls - seen - 0.5 * tied_controls) / controls
        of_control = (above + 0.5 * tied_cases) / cases
        for i in range(start, stop):
            place[i] = of_case if case[i] else of_control
        area += tied_controls * (above + 0.5 * tied_cases)
        above += tied_cases
        seen += tied_controls
        start = stop
    return area, cases, controls


@compiled
def average_precision_rows(
    case: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64], slope: NDArray[np.float64]
) -> float:
    """Return the average precision and write its derivative by the weight of each row.

    With A(g) the cases in a group of ties, T(g) and M(g) the cases and rows at or above it, the average precision is
    sum A T / M / cases. A row moves T and M of its own group and of all below.

    Parameters
    ----------
    case, score, weight : arrays, shape (n,)
        By falling score; ties in any order.
    slope : float array, shape (n,)
        Written.
    """
    n = score.size
    reached = np.empty(n)
    total = 0.0
    true = 0.0
    flagged = 0.0
    start = 0
    while start < n:
        stop = start
        tied = 0.0
        while stop < n and score[stop] == score[start]:
            flagged += weight[stop]
            if case[stop]:
                tied += weight[stop]
            stop += 1
        true += tied
        below = flagged if flagged > 0 else 1.0
        total += tied * true / below
        # For the way back up: the cases and rows at or above.
        slope[stop - 1] = true
        reached[stop - 1] = flagged
        start = stop
    found = total / true
    cases = true
    by_case = 0.0
    by_control = 0.0
    last = n - 1
    while last >= 0:
        here = slope[last]
        above = reached[last]
        first = last
        tied = 0.0
        while first >= 0 and score[first] == score[last]:
            if case[first]:
                tied += weight[first]
            first -= 1
        precision = 0.0
        if above > 0:
            precision = here / above
            by_case += tied * (above - here) / (above * above)
            by_control -= tied * here / (above * above)
        for i in range(first + 1, last + 1):
            slope[i] = (precision - found + by_case if case[i] else by_control) / cases
        last = first
    return found


@compiled
def _band(low: float, high: float, width: float) -> tuple[float, float, float]:
    """Return what a case between two false positive rates adds to the area up to `width`, and its slopes by both."""
    if high <= width:
        return width - (low + high) / 2, -0.5, -0.5
    if low >= width:
        return 0.0, 0.0, 0.0
    share = (width - low) / (high - low)
    return (width - low) * share / 2, -share * (1 - share / 2), -share * share / 2


@compiled
def partial_area_rows(
    case: NDArray[np.bool_],
    score: NDArray[np.float64],
    weight: NDArray[np.float64],
    width: float,
    slope: NDArray[np.float64],
) -> float:
    """Return the area under the ROC curve over false positive rates up to `width`, and write its derivative by rows.

    A case tied with controls of rates from `low` to `high` adds the mean of what it would add at each place between
    them. The weight of a control moves both rates of every case it is above, and the higher of those it is tied with.

    Parameters
    ----------
    case, score, weight : arrays, shape (n,)
        By falling score; ties in any order.
    width : float
    slope : float array, shape (n,)
        Written.
    """
    n = score.size
    cases = 0.0
    controls = 0.0
    for i in range(n):
        if case[i]:
            cases += weight[i]
        else:
            controls += weight[i]
    area = 0.0
    left_low = 0.0
    left_high = 0.0
    scaled = 0.0
    for again in range(2):
        seen = 0.0
        start = 0
        while start < n:
            stop = start
            tied_cases = 0.0
            tied_controls = 0.0
            while stop < n and score[stop] == score[start]:
                if case[stop]:
                    tied_cases += weight[stop]
                else:
                    tied_controls += weight[stop]
                stop += 1
            low = seen / controls
            seen += tied_controls
            high = seen / controls
            mass = tied_cases / cases
            added, by_low, by_high = _band(low, high, width)
            if again == 0:
                area += mass * added
                left_low += mass * by_low
                left_high += mass * by_high
                scaled += mass * (by_low * low + by_high * high)
            else:
                # What is left are the cases strictly below for the lower rate, with the tied ones for the higher.
                left_low -= mass * by_low
                moved = (left_low + left_high - scaled) / controls
                left_high -= mass * by_high
                for i in range(start, stop):
                    slope[i] = (added - area) / cases if case[i] else moved
            start = stop
    return area


@compiled
def table_moments(
    order: NDArray[np.int64],
    passed: NDArray[np.int64],
    case: NDArray[np.bool_],
    weight: NDArray[np.float64],
    code: NDArray[np.int64],
    patients: int,
    moments: NDArray[np.float64],
) -> None:
    """Write, for each threshold, the sums over patients of products of their four cells.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows by rising `passed`.
    passed : int array, shape (n,)
        How many of the k rising thresholds each row's risk reaches.
    case, weight, code : arrays, shape (n,)
    patients : int
    moments : float array, shape (k, 4, 4)
        Written; cells are true positives, false positives, false negatives and true negatives.
    """
    cells = np.zeros((patients, 4))
    now = np.zeros((4, 4))
    for i in range(order.size):
        cells[code[i], 2 if case[i] else 3] += weight[i]
    for p in range(patients):
        for a in range(4):
            for c in range(4):
                now[a, c] += cells[p, a] * cells[p, c]
    at = order.size - 1
    for t in range(moments.shape[0] - 1, -1, -1):
        while at >= 0 and passed[order[at]] > t:
            row = order[at]
            p = code[row]
            for a in range(4):
                for c in range(4):
                    now[a, c] -= cells[p, a] * cells[p, c]
            to = 0 if case[row] else 1
            cells[p, to] += weight[row]
            cells[p, to + 2] -= weight[row]
            for a in range(4):
                for c in range(4):
                    now[a, c] += cells[p, a] * cells[p, c]
            at -= 1
        moments[t] = now
