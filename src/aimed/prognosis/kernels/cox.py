"""Sweeps over risk sets: what a Cox model needs of the rows at risk at each event, in time that grows with the rows.

Rows stand by stratum and time, events before the others at their time, and only rows that are at risk at some event.
The distinct event times of all strata are the groups, numbered 0 to k - 1 in that order. A row is at risk in the groups
after ``since`` up to its own, in whose part of the line it stands: group j owns the places from ``starts[j]`` up to
the start of the next, its ``deaths[j]`` events first. ``leave`` lists, by falling ``since``, the rows that entered
after the first event of their stratum; ``first[j]`` is the first group of j's stratum. A sweep goes backward, adds
rows as it meets them, takes out those that had not entered, and starts anew with each stratum.

Sums are of r, a row's weight times its relative hazard. With W the weight of the d events of a group, S the sum at risk
and D that of the events, the l-th event has v_l = (W/d) / (S - share_l D), where share_l is l/d (Efron) or 0 (Breslow).
A group's five numbers are its hazard Σv, relief Σ share v, and d/W times Σv², Σ share v² and Σ share² v²: c0, c1, c2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "centre",
    "entry_groups",
    "firth_slope",
    "group_sums",
    "hazard_met",
    "lasso_step",
    "pairs_at_risk",
    "risk_steps",
    "score_sums",
    "sweep",
    "weighted_sum",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def centre(X: Floats, mean: Floats) -> tuple[Floats, Floats, Floats]:
    """Take the means out of the columns, in place, and return their sums of squares, lowest and highest values."""
    n, p = X.shape
    square, low, high = np.zeros(p), np.full(p, np.inf), np.full(p, -np.inf)
    for i in range(n):
        for q in range(p):
            x = X[i, q] - mean[q]
            X[i, q] = x
            square[q] += x * x
            low[q] = min(low[q], x)
            high[q] = max(high[q], x)
    return square, low, high


@compiled
def entry_groups(entry: Floats, group: Ints, first: Ints, times: Floats) -> Ints:
    """Return for each row the last group of its stratum whose time is not after its entry, or the one before them."""
    since = np.empty(group.size, np.int64)
    for i in range(group.size):
        low, high = first[group[i]], group[i] + 1
        while low < high:
            middle = (low + high) // 2
            if times[middle] <= entry[i]:
                low = middle + 1
            else:
                high = middle
        since[i] = low - 1
    return since


@compiled
def risk_steps(
    r: Floats,
    weight: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    efron: bool,
    steps: Floats,
) -> float:
    """Fill in the five numbers of each group and return the sum of the logarithms of the likelihood.

    Parameters
    ----------
    r, weight : float arrays, shape (n,)
    starts, deaths, first : int arrays, shape (k,)
    since, leave : int arrays, shapes (n,) or (0,) when nobody leaves, and (m,)
    efron : bool
    steps : float array, shape (5, k)
        Filled with hazard, relief, c0, c1 and c2.

    Returns
    -------
    float
        Σ (W/d) log(S - share D), to be taken from the events' linear predictors.
    """
    k, stop, gone = starts.size, r.size, 0
    total, carry, logs = 0.0, 0.0, 0.0
    for j in range(k - 1, -1, -1):
        begin, d = starts[j], deaths[j]
        dying = heavy = 0.0
        added = 0.0
        for i in range(stop - 1, begin + d - 1, -1):
            added += r[i]
        for i in range(begin, begin + d):
            dying += r[i]
            heavy += weight[i]
        added += dying
        # Neumaier's sum: rows that leave would otherwise leave their rounding behind.
        new = total + added
        carry += (total - new) + added if abs(total) >= abs(added) else (added - new) + total
        total = new
        while gone < leave.size and since[leave[gone]] >= j:
            added = -r[leave[gone]]
            new = total + added
            carry += (total - new) + added if abs(total) >= abs(added) else (added - new) + total
            total = new
            gone += 1
        stop = begin
        at_risk = total + carry
        hazard = relief = c0 = c1 = c2 = 0.0
        if d == 1 or not efron:
            inverse = 1.0 / at_risk
            hazard = heavy * inverse
            c0 = hazard * inverse
            logs += heavy * np.log(at_risk)
        else:
            mean = heavy / d
            for rank in range(d):
                share = rank / d
                left = at_risk - share * dying
                inverse = 1.0 / left
                step = mean * inverse
                hazard += step
                relief += share * step
                step *= inverse
                c0 += step
                c1 += share * step
                c2 += share * share * step
                logs += mean * np.log(left)
        steps[0, j], steps[1, j], steps[2, j], steps[3, j], steps[4, j] = hazard, relief, c0, c1, c2
        if first[j] == j:
            total = carry = 0.0
    return logs


@compiled
def hazard_met(
    r: Floats, hazard: Floats, relief: Floats, starts: Ints, deaths: Ints, first: Ints, since: Ints
) -> Floats:
    """Return r times the hazard that each row has met while at risk, shape (n,)."""
    n, k = r.size, starts.size
    total = np.empty(k)
    met = np.empty(n)
    for j in range(k):
        total[j] = hazard[j] if first[j] == j else total[j - 1] + hazard[j]
        begin, stop = starts[j], starts[j + 1] if j + 1 < k else n
        for i in range(begin, stop):
            seen = total[j]
            if i < begin + deaths[j]:
                seen -= relief[j]
            if since.size and since[i] >= first[j]:
                seen -= total[since[i]]
            met[i] = r[i] * max(seen, 0.0)
    return met


@compiled
def sweep(
    X: Floats,
    r: Floats,
    root: Floats,
    factors: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    begin: int,
    stop: int,
    place: Ints,
    sums: Floats,
    rows: Floats,
    means: Floats,
) -> int:
    """Go back over the rows from `stop` - 1 to `begin` and write what the information is a product of.

    Parameters
    ----------
    X : float array, shape (n, p)
    r, root : float arrays, shape (n,)
        Relative hazards, and the root of what `hazard_met` gives.
    factors : float array, shape (3, k)
        √c0, c1 / c0 and √(c2 - c1² / c0).
    starts, deaths, first, since, leave
    begin, stop : int
    place : int array, shape (2,)
        Groups still to come and rows of `leave` already gone; moved on.
    sums : float array, shape (2, p)
        Σ r x of the rows at risk and what rounding kept from it; moved on.
    rows : float array, shape (>= stop - begin, p)
        Filled with root x.
    means : float array, shape (>= 2 * (stop - begin), p)
        Filled with √c0 (Σ - c1/c0 Σ_D) and √(c2 - c1²/c0) Σ_D of the groups that start in the block, Σ over those at
        risk and Σ_D over the events. The information is rowsᵀ rows - meansᵀ means, over all blocks.

    Returns
    -------
    int
        Number of `means` filled in.
    """
    p = X.shape[1]
    j, gone, filled = place[0] - 1, place[1], 0
    dying = np.empty(p)
    for i in range(stop - 1, begin - 1, -1):
        weight, factor = r[i], root[i]
        for q in range(p):
            x = X[i, q]
            sums[0, q] += weight * x
            rows[i - begin, q] = factor * x
        if i == starts[j]:
            while gone < leave.size and since[leave[gone]] >= j:
                out = leave[gone]
                gone += 1
                for q in range(p):
                    old, added = sums[0, q], -r[out] * X[out, q]
                    new = old + added
                    sums[1, q] += (old - new) + added if abs(old) >= abs(added) else (added - new) + old
                    sums[0, q] = new
            one, mix, two = factors[0, j], factors[1, j], factors[2, j]
            if two > 0.0:
                dying[:] = 0.0
                for e in range(i, i + deaths[j]):
                    for q in range(p):
                        dying[q] += r[e] * X[e, q]
                for q in range(p):
                    means[filled, q] = one * (sums[0, q] + sums[1, q] - mix * dying[q])
                    means[filled + 1, q] = two * dying[q]
                filled += 2
            else:
                for q in range(p):
                    means[filled, q] = one * (sums[0, q] + sums[1, q])
                filled += 1
            if first[j] == j:
                sums[:] = 0.0
            j -= 1
    place[0], place[1] = j + 1, gone
    return filled


@compiled
def group_sums(
    X: Floats,
    r: Floats,
    steps: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    segment: Ints,
    out: Floats,
) -> None:
    """Add Σ v x̄ = c0 Σ - c1 Σ_D of each group to the row of `out` that its segment names.

    Parameters
    ----------
    X : float array, shape (n, p)
    r : float array, shape (n,)
    steps : float array, shape (5, k)
        As `risk_steps` fills it.
    starts, deaths, first, since, leave
    segment : int array, shape (k,)
    out : float array, shape (g, p)
    """
    k, p = starts.size, X.shape[1]
    stop, gone = X.shape[0], 0
    sums = np.zeros(p)
    for j in range(k - 1, -1, -1):
        begin, to = starts[j], segment[j]
        c0, c1 = steps[2, j], steps[3, j]
        for i in range(begin, stop):
            for q in range(p):
                sums[q] += r[i] * X[i, q]
        while gone < leave.size and since[leave[gone]] >= j:
            i = leave[gone]
            gone += 1
            for q in range(p):
                sums[q] -= r[i] * X[i, q]
        for q in range(p):
            out[to, q] += c0 * sums[q]
        if c1 > 0.0:
            for i in range(begin, begin + deaths[j]):
                for q in range(p):
                    out[to, q] -= c1 * r[i] * X[i, q]
        stop = begin
        if first[j] == j:
            sums[:] = 0.0


@compiled
def score_sums(
    X: Floats,
    weight: Floats,
    r: Floats,
    met: Floats,
    steps: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    total: Floats,
    to: Ints,
    out: Floats,
) -> None:
    """Add each row's part of the likelihood's slope, its weighted score residual, to a row of `out`.

    Parameters
    ----------
    X : float array, shape (n, p)
    weight, r, met : float arrays, shape (n,)
    steps : float array, shape (5, k)
    starts, deaths, first, since, leave
    total : float array, shape (k, p) or fewer rows
        Σ v x̄ over each stratum, in the order of the strata; see `group_sums`.
    to : int array, shape (n,)
        Row of `out` of each row.
    out : float array, shape (c, p)

    Notes
    -----
    A row has weight [event] (x - mean of x̄ over its group's events) - met x + r Σ v x̄ over the groups it was at risk
    in, less r Σ share v x̄ of its own group when it has the event. The sum of v x̄ up to a group is the total
    less what the backward sweep has seen.
    """
    k, p = starts.size, X.shape[1]
    stop, gone, stratum = X.shape[0], 0, total.shape[0] - 1
    sums, dying, before = np.zeros(p), np.zeros(p), total[stratum].copy()
    for j in range(k - 1, -1, -1):
        begin, d = starts[j], deaths[j]
        for i in range(begin, stop):
            own = weight[i] - met[i] if i < begin + d else -met[i]
            for q in range(p):
                sums[q] += r[i] * X[i, q]
                out[to[i], q] += own * X[i, q] + r[i] * before[q]
        while gone < leave.size and since[leave[gone]] >= j:
            i = leave[gone]
            gone += 1
            for q in range(p):
                sums[q] -= r[i] * X[i, q]
                out[to[i], q] -= r[i] * before[q]
        hazard, relief, c0, c1, c2 = steps[0, j], steps[1, j], steps[2, j], steps[3, j], steps[4, j]
        heavy = 0.0
        dying[:] = 0.0
        for i in range(begin, begin + d):
            heavy += weight[i]
            for q in range(p):
                dying[q] += r[i] * X[i, q]
        for i in range(begin, begin + d):
            part = weight[i] / heavy
            for q in range(p):
                out[to[i], q] -= part * (hazard * sums[q] - relief * dying[q]) + r[i] * (c1 * sums[q] - c2 * dying[q])
        for q in range(p):
            before[q] -= c0 * sums[q] - c1 * dying[q]
        stop = begin
        if first[j] == j and j > 0:
            sums[:] = 0.0
            stratum -= 1
            before[:] = total[stratum]


@compiled
def firth_slope(
    X: Floats,
    weight: Floats,
    r: Floats,
    inverse: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    efron: bool,
) -> Floats:
    """Return the slope of half the log determinant of the information I, with V its inverse, shape (p,).

    Parameters
    ----------
    X : float array, shape (n, p)
    weight, r : float arrays, shape (n,)
    inverse : float array, shape (p, p)
    starts, deaths, first, since, leave
    efron : bool

    Notes
    -----
    I is a sum of covariances over risk sets; the slope of each is a third central moment, whose trace with V is the
    covariance of x with (x - x̄)ᵀ V (x - x̄) = Q - 2 x̄ᵀV x + constant, Q = xᵀ V x.
    """
    k, p = starts.size, X.shape[1]
    stop, gone = X.shape[0], 0
    # Rows 0 of risk, 1 of dying: Σ r, Σ r Q, then vectors Σ r x, Σ r x Q, then Σ r x xᵀ.
    zero, square = np.zeros(2), np.zeros(2)
    one, cube, two = np.zeros((2, p)), np.zeros((2, p)), np.zeros((2, p, p))
    slope, mean, turned, spread = np.zeros(p), np.empty(p), np.empty(p), np.empty(p)
    for j in range(k - 1, -1, -1):
        begin, d = starts[j], deaths[j]
        last = gone
        while last < leave.size and since[leave[last]] >= j:
            last += 1
        heavy = 0.0
        zero[1] = square[1] = 0.0
        one[1] = cube[1] = 0.0
        two[1] = 0.0
        for step in range(begin, stop + last - gone):
            i = step if step < stop else leave[gone + step - stop]
            part = r[i] if step < stop else -r[i]
            q = 0.0
            for a in range(p):
                value = 0.0
                for b in range(p):
                    value += inverse[a, b] * X[i, b]
                q += X[i, a] * value
            for side in range(2):
                if side == 0 or (step < stop and i < begin + d):
                    zero[side] += part
                    square[side] += part * q
                    for a in range(p):
                        one[side, a] += part * X[i, a]
                        cube[side, a] += part * q * X[i, a]
                        for b in range(p):
                            two[side, a, b] += part * X[i, a] * X[i, b]
            if step < stop and i < begin + d:
                heavy += weight[i]
        gone = last
        for rank in range(d):
            share = rank / d if efron else 0.0
            left = zero[0] - share * zero[1]
            middle = (square[0] - share * square[1]) / left
            for a in range(p):
                mean[a] = (one[0, a] - share * one[1, a]) / left
            for a in range(p):
                value = 0.0
                for b in range(p):
                    value += inverse[a, b] * mean[b]
                turned[a] = value
            along = 0.0
            for a in range(p):
                along += mean[a] * turned[a]
            for a in range(p):
                value = 0.0
                for b in range(p):
                    value += (two[0, a, b] - share * two[1, a, b]) / left * turned[b]
                spread[a] = value - mean[a] * along
            for a in range(p):
                third = (cube[0, a] - share * cube[1, a]) / left - mean[a] * middle - 2.0 * spread[a]
                slope[a] += 0.5 * heavy / d * third
        stop = begin
        if first[j] == j:
            zero[:] = 0.0
            square[:] = 0.0
            one[:] = 0.0
            cube[:] = 0.0
            two[:] = 0.0
    return slope


@compiled
def pairs_at_risk(
    level: Ints,
    weight: Floats,
    starts: Ints,
    deaths: Ints,
    first: Ints,
    since: Ints,
    leave: Ints,
    size: int,
) -> tuple[float, float, float]:
    """Weigh the pairs of an event and a row at risk then that goes on: lower score, higher, and the same.

    Parameters
    ----------
    level : int array, shape (n,)
        Place of each row's score among the distinct ones, from 0.
    weight : float array, shape (n,)
    starts, deaths, first, since, leave
    size : int
        Number of distinct scores.
    """
    k = starts.size
    stop, gone, end = level.size, 0, level.size
    tree = np.zeros(size + 1)
    total = lower = same = pairs = 0.0
    for j in range(k - 1, -1, -1):
        begin, after = starts[j], starts[j] + deaths[j]
        for i in range(after, stop):
            total += weight[i]
            at = level[i] + 1
            while at <= size:
                tree[at] += weight[i]
                at += at & -at
        while gone < leave.size and since[leave[gone]] >= j:
            i = leave[gone]
            gone += 1
            total -= weight[i]
            at = level[i] + 1
            while at <= size:
                tree[at] -= weight[i]
                at += at & -at
        for i in range(begin, after):
            below = 0.0
            at = level[i]
            while at > 0:
                below += tree[at]
                at -= at & -at
            up_to = 0.0
            at = level[i] + 1
            while at > 0:
                up_to += tree[at]
                at -= at & -at
            lower += weight[i] * below
            same += weight[i] * (up_to - below)
            pairs += weight[i] * total
        for i in range(begin, after):
            total += weight[i]
            at = level[i] + 1
            while at <= size:
                tree[at] += weight[i]
                at += at & -at
        stop = begin
        if first[j] == j:
            for i in range(begin, end):
                if since.size == 0 or since[i] < j:
                    at = level[i] + 1
                    while at <= size:
                        tree[at] -= weight[i]
                        at += at & -at
            # Rows that entered after an event of this stratum went when the sweep passed their entry.
            end = begin
            total = 0.0
    return lower, pairs - lower - same, same


@compiled
def lasso_step(
    information: Floats, gradient: Floats, at: Floats, absolute: Floats, square: Floats, limit: float, rounds: int
) -> tuple[Floats, Floats, bool]:
    """Climb gᵀd - dᵀId/2 - Σ a|β + d| - Σ s(β + d)²/2 by one coordinate after the other.

    Parameters
    ----------
    information : float array, shape (p, p)
    gradient, at : float arrays, shape (p,)
        Slope g of the likelihood at β, and β.
    absolute, square : float arrays, shape (p,)
        a and s.
    limit : float
        Largest I d² of a coordinate's change in the last round.
    rounds : int
        Rounds at most.

    Returns
    -------
    step : float array, shape (p,)
    left : float array, shape (p,)
        g - I d.
    done : bool
    """
    p = at.size
    new, left = at.copy(), gradient.copy()
    busy = np.zeros(p, np.bool_)
    whole = True
    for _ in range(rounds):
        largest = 0.0
        for j in range(p):
            if not (whole or busy[j]):
                continue
            own = information[j, j]
            if own <= 0.0:
                continue
            value = left[j] + own * new[j]
            size = abs(value) - absolute[j]
            found = 0.0
            if size > 0.0:
                found = (size if value > 0.0 else -size) / (own + square[j])
            change = found - new[j]
            if change != 0.0:
                new[j] = found
                for q in range(p):
                    left[q] -= information[j, q] * change
                largest = max(largest, own * change * change)
            busy[j] = found != 0.0
        if largest < limit:
            if whole:
                return new - at, left, True
            whole = True
        else:
            whole = False
    return new - at, left, False


@compiled
def weighted_sum(X: Floats, weight: Floats) -> Floats:
    """Return the sum of the rows times their weights, shape (p,); four rows at a time, for few columns."""
    n, p = X.shape
    out = np.zeros(p)
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        for q in range(p):
            out[q] += (a * X[i, q] + b * X[i + 1, q]) + (c * X[i + 2, q] + d * X[i + 3, q])
    for i in range(whole, n):
        for q in range(p):
            out[q] += weight[i] * X[i, q]
    return out
