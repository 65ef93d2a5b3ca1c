"""Loops behind net benefit: rows binned by thresholds, sums over patients, and risk at a horizon with its influence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "add_rows",
    "bin_rows",
    "endpoint_order",
    "incidence",
    "patient_moments",
    "replicate_bins",
    "row_sums",
    "subset_influence",
    "table_squares",
]


@compiled
def bin_rows(values: NDArray[np.float64], cuts: NDArray[np.float64], out: NDArray[np.int32]) -> None:
    """Write, for each row, how many of the rising cuts lie at or below its value.

    Parameters
    ----------
    values : float array, shape (n,)
    cuts : float array, shape (k,), k >= 1
    out : int32 array, shape (n,)
    """
    for i in range(values.size):
        v = values[i]
        base = 0
        left = cuts.size
        # The step is added by multiplication, not by a branch that the processor would guess wrong half the time.
        while left > 1:
            half = left >> 1
            base += half * int(cuts[base + half - 1] <= v)
            left -= half
        out[i] = base + int(cuts[base] <= v)


@compiled
def row_sums(
    lo: NDArray[np.int32],
    hi: NDArray[np.int32],
    label: NDArray[np.uint8],
    weights: NDArray[np.float64],
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
) -> None:
    """Add each row's weight and squared weight where its run of thresholds starts and where it stops.

    Parameters
    ----------
    lo, hi : int32 arrays, shape (n,)
        The row counts at thresholds lo, ..., hi - 1.
    label : uint8 array, shape (n,)
        Outcome, plus 2 where the row counts with a minus sign.
    weights : float array, shape (n,)
    starts, stops : float arrays, shape (k + 1, 4, 2)
        Weight and squared weight by place and label; added to.
    """
    for i in range(lo.size):
        first, last = lo[i], hi[i]
        if first < last:
            kind, w = label[i], weights[i]
            starts[first, kind, 0] += w
            starts[first, kind, 1] += w * w
            stops[last, kind, 0] += w
            stops[last, kind, 1] += w * w


@compiled
def endpoint_order(
    lo: NDArray[np.int32], hi: NDArray[np.int32], codes: NDArray[np.int64], places: int, patients: int
) -> NDArray[np.int64]:
    """Return both ends of every row's run, ordered by patient and then by place, by two counting sorts.

    Parameters
    ----------
    lo, hi : int32 arrays, shape (n,)
    codes : int64 array, shape (n,)
        Patient number of each row.
    places, patients : int
        Places are 0, ..., places - 1.

    Returns
    -------
    int64 array, shape (2 n,)
        Twice the row, plus 1 where it is the row's stop.
    """
    n = lo.size
    at = np.zeros(places + 1, np.int64)
    for i in range(n):
        at[lo[i] + 1] += 1
        at[hi[i] + 1] += 1
    for j in range(places):
        at[j + 1] += at[j]
    first = np.empty(2 * n, np.int64)
    for i in range(n):
        first[at[lo[i]]] = 2 * i
        at[lo[i]] += 1
        first[at[hi[i]]] = 2 * i + 1
        at[hi[i]] += 1
    of = np.zeros(patients + 1, np.int64)
    for i in range(n):
        of[codes[i] + 1] += 2
    for j in range(patients):
        of[j + 1] += of[j]
    out = np.empty(2 * n, np.int64)
    for e in range(2 * n):
        code = codes[first[e] >> 1]
        out[of[code]] = first[e]
        of[code] += 1
    return out


@compiled
def patient_moments(
    lo: NDArray[np.int32],
    hi: NDArray[np.int32],
    label: NDArray[np.uint8],
    weights: NDArray[np.float64],
    codes: NDArray[np.int64],
    order: NDArray[np.int64],
    patients: int,
    out: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> None:
    """Add up, over patients, the products of what each patient counts for at each threshold.

    With a1 and a0 the signed weight of a patient's counting rows with and without the event, and u1 and u0 the weight
    of all of them, the rows of `out` become changes over thresholds of the sums of a1 a1, a0 a0, a1 a0, a1 u1, a1 u0,
    a0 u1 and a0 u0; `totals` becomes the sums of u1 u1, u0 u0 and u1 u0. A patient's products change only where one
    of its rows starts or stops, so the cost does not grow with thresholds.

    Parameters
    ----------
    lo, hi, label, weights
        As for `row_sums`.
    codes : int64 array, shape (n,)
    order : int64 array, shape (2 n,)
        From `endpoint_order`.
    patients : int
    out : float array, shape (7, k + 1)
    totals : float array, shape (3,)
    """
    u = np.zeros((patients, 2))
    for i in range(lo.size):
        u[codes[i], label[i] & 1] += weights[i]
    for p in range(patients):
        totals[0] += u[p, 1] * u[p, 1]
        totals[1] += u[p, 0] * u[p, 0]
        totals[2] += u[p, 1] * u[p, 0]
    a1 = a0 = 0.0
    open_rows = 0
    last = -1
    for e in range(order.size):
        row = order[e] >> 1
        stop = order[e] & 1
        p = codes[row]
        if p != last:
            a1 = a0 = 0.0
            open_rows = 0
            last = p
        place = hi[row] if stop else lo[row]
        change = weights[row]
        if (label[row] >= 2) != (stop == 1):
            change = -change
        b1, b0 = a1, a0
        open_rows += 1 - 2 * stop
        if open_rows == 0:
            a1 = a0 = 0.0
        elif label[row] & 1:
            a1 += change
        else:
            a0 += change
        out[0, place] += a1 * a1 - b1 * b1
        out[1, place] += a0 * a0 - b0 * b0
        out[2, place] += a1 * a0 - b1 * b0
        out[3, place] += (a1 - b1) * u[p, 1]
        out[4, place] += (a1 - b1) * u[p, 0]
        out[5, place] += (a0 - b0) * u[p, 1]
        out[6, place] += (a0 - b0) * u[p, 0]


@compiled
def replicate_bins(
    bins: NDArray[np.int32],
    y: NDArray[np.uint8],
    codes: NDArray[np.int64],
    counts: NDArray[np.uint8],
    out: NDArray[np.int64],
) -> None:
    """Add the counts of each row's patient at the row's bin and outcome, replicates side by side.

    Parameters
    ----------
    bins : int32 array, shape (n,)
    y : uint8 array, shape (n,)
    codes : int64 array, shape (n,)
    counts : uint8 array, shape (patients, b)
    out : int64 array, shape (k + 1, 2, b)
    """
    width = counts.shape[1]
    for i in range(bins.size):
        place, kind, code = bins[i], y[i], codes[i]
        for j in range(width):
            out[place, kind, j] += counts[code, j]


@compiled
def add_rows(
    rows: NDArray[np.int64],
    place: NDArray[np.int32],
    kind: NDArray[np.uint8],
    weights: NDArray[np.float64],
    table: NDArray[np.float64],
) -> None:
    """Add the weight of some rows to a table of what leaves at each event time.

    Parameters
    ----------
    rows : int64 array, shape (r,)
        Rows to add.
    place : int32 array, shape (n,)
        How many event times lie at or before the row's own time.
    kind : uint8 array, shape (n,)
        0 censored, 1 the event of interest, 2 another event.
    weights : float array, shape (n,)
    table : float array, shape (3, m + 1)
        Weight by kind and place; added to.
    """
    for r in range(rows.size):
        i = rows[r]
        table[kind[i], place[i]] += weights[i]


@compiled
def incidence(table: NDArray[np.float64], phi: NDArray[np.float64]) -> tuple[float, float]:
    """Return the Aalen-Johansen incidence at the last event time and the share free of events, and fill its influence.

    Parameters
    ----------
    table : float array, shape (3, m + 1)
        Weight leaving by kind (0 censored, 1 event of interest, 2 another event) and place; events have places from 1.
    phi : float array, shape (3, m + 1)
        Becomes the change of the incidence for a unit of weight of a row of each kind and place.

    Returns
    -------
    (float, float)
        Incidence of the event of interest; share with no event.
    """
    size = table.shape[1]
    at_risk = np.zeros(size)
    beyond = np.zeros(size)
    run = 0.0
    for j in range(size - 1, -1, -1):
        # Those who go on are added up, not subtracted: nobody left is exactly 0.
        beyond[j] = run + table[0, j]
        run = beyond[j] + (table[1, j] + table[2, j])
        at_risk[j] = run
    alive = 1.0
    total = 0.0
    known = np.zeros(size)
    for j in range(1, size):
        n = at_risk[j]
        if n > 0:
            total += alive * table[1, j] / n
            alive *= beyond[j] / n
        known[j] = total
    free = alive
    alive = 1.0
    slope = 0.0
    passed = 0.0
    phi[:, 0] = 0.0
    for j in range(1, size):
        n = at_risk[j]
        if n <= 0:
            phi[:, j] = 0.0
            continue
        step = alive * table[1, j] / n
        rest = total - known[j]
        passed += slope * step - step / n
        phi[1, j] = passed + alive / n + (slope - 1 / n) * rest
        phi[2, j] = passed + (slope - 1 / n) * rest
        if beyond[j] > 0:
            slope += (table[1, j] + table[2, j]) / (n * beyond[j])
        alive *= beyond[j] / n
        phi[0, j] = passed + slope * rest
    return total, free


@compiled
def subset_influence(
    member: NDArray[np.bool_],
    place: NDArray[np.int32],
    kind: NDArray[np.uint8],
    weights: NDArray[np.float64],
    phi: NDArray[np.float64],
    inside: float,
    outside: float,
    slope: float,
    out: NDArray[np.float64],
) -> None:
    """Write the influence of each row: inside + slope * phi for members, outside for the others, times the weight.

    Parameters
    ----------
    member : bool array, shape (n,)
    place, kind, weights
        As for `add_rows`.
    phi : float array, shape (3, m + 1)
        From `incidence`.
    inside, outside, slope : float
    out : float array, shape (n,)
    """
    for i in range(place.size):
        if member[i]:
            out[i] = weights[i] * (inside + slope * phi[kind[i], place[i]])
        else:
            out[i] = weights[i] * outside


@compiled
def table_squares(
    squares: NDArray[np.float64],
    everyone: NDArray[np.float64],
    phi: NDArray[np.float64],
    phi_all: NDArray[np.float64],
    inside: float,
    outside: float,
    slope: float,
    slope_all: float,
) -> tuple[float, float]:
    """Return the sum of squares of what `subset_influence` writes, and of that less slope_all times everybody's change.

    Parameters
    ----------
    squares, everyone : float arrays, shape (3, m + 1)
        Squared weight of members and of all rows by kind and place.
    phi, phi_all : float arrays, shape (3, m + 1)
        Influence tables of the members' risk and of everybody's.
    inside, outside, slope, slope_all : float
    """
    own = 0.0
    gap = 0.0
    for kind in range(3):
        for j in range(squares.shape[1]):
            member = squares[kind, j]
            other = everyone[kind, j] - member
            psi = inside + slope * phi[kind, j]
            change = slope_all * phi_all[kind, j]
            own += member * psi * psi + other * outside * outside
            gap += member * (psi - change) * (psi - change) + other * (outside - change) * (outside - change)
    return own, gap
