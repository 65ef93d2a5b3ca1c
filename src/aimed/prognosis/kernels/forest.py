"""Survival trees on binned columns: rows stay sorted by time, so that a node costs what a regression tree's costs.

A row's `rank` counts the distinct event times up to its own. Rows stand in line by rank, and a split keeps them so:
one pass over a node then gives its Nelson-Aalen hazard, and each row's martingale residual, without sorting. The sum
of residuals on one side is the numerator of the log-rank test; see `aimed.prognosis.survival_forest`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "TIED",
    "add_curves",
    "add_values",
    "draw_rows",
    "find_leaves",
    "grow_tree",
    "leaf_risks",
    "match_leaves",
]

TIED = 128
"""Flag in a pair's cause: it happens at the same time as the pair before it."""

_LOG_RANK, _EXTRA = 1, 2


@compiled
def _random(state: NDArray[np.uint64]) -> Any:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return z


@compiled
def _below(state: NDArray[np.uint64], k: int) -> int:
    """Draw a number from 0 to k - 1, k < 2**32, by Lemire's rejection (ACM TOMACS 2019;29:3)."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    bound = np.uint64(k)
    threshold = (np.uint64(1) << shift) % bound
    while True:
        product = (_random(state) >> shift) * bound
        if (product & low) >= threshold:
            return int(np.int64(product >> shift))


@compiled
def draw_rows(state: NDArray[np.uint64], n: int, draws: int) -> NDArray[np.int32]:
    """Return how often each of n rows is drawn in so many draws with replacement; 1 each when draws = 0.

    Parameters
    ----------
    state : uint64 array, shape (1,)
        Moved on.
    n, draws : int
    """
    if draws == 0:
        return np.ones(n, np.int32)
    counts = np.zeros(n, np.int32)
    for _ in range(draws):
        counts[_below(state, n)] += 1
    return counts


@compiled
def _residuals(
    rank: NDArray[np.int32], cause: NDArray[np.uint8], weight: NDArray[np.float64], start: int, stop: int,
    channels: NDArray[np.int64], out: NDArray[np.float64], spread: NDArray[np.float64],
) -> float:  # fmt: skip
    """Fill a node's weighted martingale residuals, shape (c, n), and their mean squares; return its weight."""
    c = channels.size
    total = 0.0
    for i in range(start, stop):
        total += weight[i]
    at_risk = total
    hazard = np.zeros(c)
    spread[:] = 0.0
    i = start
    while i < stop:
        here = rank[i]
        left = 0.0
        end = i
        while end < stop and rank[end] == here:
            left += weight[end]
            end += 1
        for k in range(c):
            dying = 0.0
            for m in range(i, end):
                if cause[m] == channels[k]:
                    dying += weight[m]
            if dying > 0.0:
                hazard[k] += dying / max(at_risk, dying)
            for m in range(i, end):
                r = (1.0 if cause[m] == channels[k] else 0.0) - hazard[k]
                out[k, m] = weight[m] * r
                spread[k] += weight[m] * r * r
        at_risk -= left
        i = end
    for k in range(c):
        spread[k] /= total
    return total


@compiled
def _weigh_times(
    rank: NDArray[np.int32], cause: NDArray[np.uint8], weight: NDArray[np.float64], start: int, stop: int,
    channels: NDArray[np.int64], total: float, place: NDArray[np.int32], per_time: NDArray[np.float64],
    at_risk: NDArray[np.float64],
) -> int:  # fmt: skip
    """Fill what the log-rank variance needs: each row's last event time in the node, and d(Y - d) / (Y - 1) / Y²."""
    c = channels.size
    times = 0
    left = total
    i = start
    while i < stop:
        here = rank[i]
        end = i
        leaving = 0.0
        some = False
        while end < stop and rank[end] == here:
            leaving += weight[end]
            for k in range(c):
                some |= cause[end] == channels[k]
            end += 1
        if some:
            at_risk[times] = left
            for k in range(c):
                dying = 0.0
                for m in range(i, end):
                    if cause[m] == channels[k]:
                        dying += weight[m]
                per_time[k, times] = dying * (left - dying) / ((left - 1.0) * left * left) if left > 1.0 else 0.0
            times += 1
        for m in range(i, end):
            place[m] = times - 1
        left -= leaving
        i = end
    return times


@compiled
def _scan_scores(
    m: int, sums: NDArray[np.float64], weights: NDArray[np.float64], lost: NDArray[np.float64], lost_weight: float,
    total: float, scale: NDArray[np.float64], least: float, monotone: int,
) -> tuple[float, int, bool]:  # fmt: skip
    """Return the best log-rank score, the last place that goes left, and whether missing values do."""
    c = scale.size
    best, cut, side = 0.0, -1, False
    left = np.zeros(c)
    left_weight = 0.0
    for b in range(m):
        left_weight += weights[b]
        for k in range(c):
            left[k] += sums[k, b]
        for missing_left in range(2 if lost_weight > 0.0 else 1):
            w = left_weight + missing_left * lost_weight
            other = total - w
            if (b == m - 1 and (missing_left == 1 or lost_weight == 0.0)) or w < least or other < least:
                continue
            score = 0.0
            for k in range(c):
                u = left[k] + missing_left * lost[k]
                score += u * u * scale[k]
            if monotone != 0 and monotone * (left[0] + missing_left * lost[0]) > 0.0:
                continue
            score *= total / (w * other)
            if score > best:
                best, cut, side = score, b, missing_left == 1
    return best, cut, side


@compiled
def _scan_log_rank(
    m: int, sums: NDArray[np.float64], weights: NDArray[np.float64], lost: NDArray[np.float64], lost_weight: float,
    total: float, least: float, monotone: int, bins: NDArray[np.uint8], where: NDArray[np.int64],
    weight: NDArray[np.float64], start: int, stop: int, place: NDArray[np.int32], times: int,
    per_time: NDArray[np.float64], at_risk: NDArray[np.float64],
) -> tuple[float, int, bool]:  # fmt: skip
    """As `_scan_scores`, with the log-rank test's own variance in place of the permutation variance."""
    c = lost.size
    ends = np.zeros(m + 2, np.int64)
    for i in range(start, stop):
        ends[where[bins[i]] + 1] += 1
    for b in range(m + 1):
        ends[b + 1] += ends[b]
    rows = np.empty(stop - start, np.int64)
    fill = ends.copy()
    for i in range(start, stop):
        b = where[bins[i]]
        rows[fill[b]] = i
        fill[b] += 1
    best, cut, side = 0.0, -1, False
    left = np.zeros(c)
    leaving = np.empty(times)
    for missing_left in range(2 if lost_weight > 0.0 else 1):
        leaving[:] = 0.0
        w = 0.0
        left[:] = 0.0
        if missing_left == 1:
            w = lost_weight
            left[:] = lost
            for s in range(ends[m], ends[m + 1]):
                if place[rows[s]] >= 0:
                    leaving[place[rows[s]]] += weight[rows[s]]
        for b in range(m if lost_weight > 0.0 and missing_left == 0 else m - 1):
            w += weights[b]
            for k in range(c):
                left[k] += sums[k, b]
            for s in range(ends[b], ends[b + 1]):
                if place[rows[s]] >= 0:
                    leaving[place[rows[s]]] += weight[rows[s]]
            if w < least or total - w < least or (monotone != 0 and monotone * left[0] > 0.0):
                continue
            score = 0.0
            for k in range(c):
                variance = 0.0
                here = 0.0
                for t in range(times - 1, -1, -1):
                    here += leaving[t]
                    variance += per_time[k, t] * here * (at_risk[t] - here)
                if variance > 1e-12:
                    score += left[k] * left[k] / variance
            if score > best:
                best, cut, side = score, b, missing_left == 1
    return best, cut, side


@compiled
def _score_one(
    state: NDArray[np.uint64], m: int, order: NDArray[np.int64], nominal: bool, sums: NDArray[np.float64],
    weights: NDArray[np.float64], lost: NDArray[np.float64], lost_weight: float, total: float,
    scale: NDArray[np.float64], least: float, monotone: int,
) -> tuple[float, int, bool, int]:  # fmt: skip
    """Draw one cut and score it; of a category's levels each goes left by chance, and those are put first."""
    c = scale.size
    if m < 2:
        cut, bound = 0, order[0]
    elif nominal:
        first = 0
        for b in range(m):
            if (_random(state) >> np.uint64(63)) == np.uint64(1):
                order[first], order[b] = order[b], order[first]
                weights[first], weights[b] = weights[b], weights[first]
                for k in range(c):
                    sums[k, first], sums[k, b] = sums[k, b], sums[k, first]
                first += 1
        cut = min(max(first - 1, 0), m - 2)
        bound = cut
    else:
        bound = order[0] + _below(state, order[m - 1] - order[0])
        cut = 0
        while cut + 1 < m and order[cut + 1] <= bound:
            cut += 1
    w = 0.0
    left = np.zeros(c)
    for b in range(cut + 1):
        w += weights[b]
        for k in range(c):
            left[k] += sums[k, b]
    best, side = 0.0, False
    for missing_left in range(2 if lost_weight > 0.0 and cut < m - 1 else 1):
        here = w + missing_left * lost_weight
        if here < least or total - here < least:
            continue
        if monotone != 0 and monotone * (left[0] + missing_left * lost[0]) > 0.0:
            continue
        score = 0.0
        for k in range(c):
            u = left[k] + missing_left * lost[k]
            score += u * u * scale[k]
        score *= total / (here * (total - here))
        if score > best:
            best, side = score, missing_left == 1
    return best, (cut if best > 0.0 else -1), side, bound


@compiled
def _goes_left(b: int, cut: int, missing_left: bool, sets: NDArray[np.uint8]) -> bool:
    if cut < 0:
        return bool((sets[-1 - cut, b >> 3] >> (b & 7)) & 1)
    if b == 255:
        return missing_left
    return b <= cut


@compiled
def _child_values(
    bins: NDArray[np.uint8], rank: NDArray[np.int32], cause: NDArray[np.uint8], weight: NDArray[np.float64],
    start: int, stop: int, own: int, grid: NDArray[np.uint16], size: int, cut: int, missing_left: bool,
    sets: NDArray[np.uint8], competing: bool,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the value that cause `own` would have in either side of a split, were it a leaf."""
    at_risk = np.zeros(2)
    leaving, dying, gone = np.zeros(2), np.zeros(2), np.zeros(2)
    alive, value = np.ones(2), np.zeros(2)
    for i in range(start, stop):
        at_risk[0 if _goes_left(bins[i], cut, missing_left, sets) else 1] += weight[i]
    i = start
    while i < stop:
        here = rank[i]
        leaving[:] = 0.0
        dying[:] = 0.0
        gone[:] = 0.0
        while i < stop and rank[i] == here:
            s = 0 if _goes_left(bins[i], cut, missing_left, sets) else 1
            leaving[s] += weight[i]
            gone[s] += weight[i] * (cause[i] > 0)
            dying[s] += weight[i] * (cause[i] == own)
            i += 1
        for s in range(2):
            if gone[s] > 0.0:
                risk = max(at_risk[s], gone[s])
                value[s] += (alive[s] if competing else 1.0) * dying[s] / risk * (size - np.int64(grid[here]))
                alive[s] *= 1.0 - gone[s] / risk
            at_risk[s] -= leaving[s]
    return value


@compiled
def grow_tree(
    bins: NDArray[np.uint8], levels: NDArray[np.int64], nominal: NDArray[np.bool_], monotone: NDArray[np.int8],
    candidates: NDArray[np.int64], ranks: NDArray[np.int32], causes: NDArray[np.uint8],
    weights: NDArray[np.float64], kinds: int, channels: NDArray[np.int64], grid: NDArray[np.uint16], size: int,
    seed: np.uint64, draws: int, tries: int, least: float, deepest: int, splitter: int,
) -> tuple[
    NDArray[np.int16], NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_], NDArray[np.float32],
    NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint8], NDArray[np.float32],
    NDArray[np.float64],
]:  # fmt: skip
    """Grow one tree.

    Parameters
    ----------
    bins : uint8 array, shape (p, n)
        Rows by rising rank.
    levels : int array, shape (p,)
        Bins in use; a category's codes are below it.
    nominal : bool array, shape (p,)
    monotone : int8 array, shape (p,)
        1 where a higher bin may not lower the value of cause ``channels[0]``, -1 where it may not raise it, else 0.
    candidates : int array
        Columns to split on.
    ranks : int32 array, shape (n,)
    causes : uint8 array, shape (n,)
        0 for censored, else 1 to `kinds`.
    weights : float array, shape (n,)
    kinds : int
        Causes.
    channels : int array, shape (c,)
        Causes whose log-rank statistics are added up to choose a split.
    grid : uint16 array
        Grid point of each rank.
    size : int
        Grid points.
    seed : uint64
        State of the generator.
    draws : int
        Rows drawn with replacement; 0 takes each once.
    tries : int
        Columns drawn at each node.
    least : float
        Weight of a leaf, at least.
    deepest : int
        Depth, at most.
    splitter : int
        0 log-rank score, 1 log-rank, 2 one random cut a column.

    Returns
    -------
    feature : int16 array, shape (nodes,)
        -1 for leaves.
    cut : int32 array, shape (nodes,)
        The last bin that goes left, or -1 less the row in `sets`.
    left : int32 array, shape (nodes,)
        Left child, followed by the right one; for leaves their number.
    missing_left : bool array, shape (nodes,)
    cover : float32 array, shape (nodes,)
        Weight of the rows drawn.
    sets : uint8 array, shape (m, 32)
        One bit a bin that goes left.
    ends : int array, shape (leaves,)
        Where each leaf's pairs end.
    code, kind, hazard : arrays, shape (pairs,)
        Grid point, cause (with `TIED`) and hazard step of each pair.
    value : float array, shape (leaves, kinds)
        Sum over the grid of the cumulative hazard, or with several kinds of each kind's cumulative incidence.
    """
    n = ranks.size
    state = np.array([seed], np.uint64)
    counts = draw_rows(state, n, draws)
    drawn = 0
    events = 0
    whole = 0.0
    for i in range(n):
        if counts[i] > 0:
            drawn += 1
            whole += counts[i] * weights[i]
            events += causes[i] > 0
    row, rank = np.empty(drawn, np.int32), np.empty(drawn, np.int32)
    cause, weight = np.empty(drawn, np.uint8), np.empty(drawn)
    s = 0
    for i in range(n):
        if counts[i] > 0:
            row[s], rank[s], cause[s], weight[s] = i, ranks[i], causes[i], counts[i] * weights[i]
            s += 1
    row_kept, rank_kept = np.empty(drawn, np.int32), np.empty(drawn, np.int32)
    cause_kept, weight_kept = np.empty(drawn, np.uint8), np.empty(drawn)

    c = channels.size
    residual = np.empty((c, drawn))
    spread, scale = np.empty(c), np.empty(c)
    side = np.empty(drawn, np.uint8)
    place = np.empty(drawn if splitter == _LOG_RANK else 0, np.int32)
    times = 0
    per_time = np.empty((c, drawn if splitter == _LOG_RANK else 0))
    at_risk = np.empty(drawn if splitter == _LOG_RANK else 0)
    bounded = False
    for j in range(monotone.size):
        bounded |= monotone[j] != 0

    # One more than fits: sums of fractional weights round.
    most = min(drawn, int(whole / least) + 1)
    capacity = 2 * max(most, 1) + 1
    feature, cut = np.full(capacity, -1, np.int16), np.zeros(capacity, np.int32)
    left, missing_left = np.zeros(capacity, np.int32), np.zeros(capacity, np.bool_)
    cover = np.zeros(capacity, np.float32)
    sets, set_count = np.zeros((4, 32), np.uint8), 0
    ends, value = np.zeros(capacity // 2 + 1, np.int64), np.zeros((capacity // 2 + 1, kinds))
    code, kind, hazard = np.empty(events, np.uint16), np.empty(events, np.uint8), np.empty(events, np.float32)
    nodes, leaves, pairs = 1, 0, 0

    stack = np.zeros((capacity, 4), np.int64)
    limits = np.zeros((capacity, 2))
    stack[0, 2] = drawn
    limits[0, 0], limits[0, 1] = -np.inf, np.inf
    depth_of = 1

    pool = candidates.copy()
    sums, sum_weights = np.zeros((256, c)), np.zeros(256)
    packed, packed_weights = np.empty((c, 256)), np.empty(256)
    order, where = np.empty(256, np.int64), np.empty(256, np.int64)
    lost = np.empty(c)
    tried = max(1, pool.size)
    found_score, found_column = np.empty(tried), np.empty(tried, np.int64)
    found_cut, found_side = np.empty(tried, np.int32), np.empty(tried, np.bool_)
    found_set = np.zeros((1, 32), np.uint8)
    # Only categories need a row for each column tried.
    if nominal.any():
        found_set = np.zeros((tried, 32), np.uint8)
    dying = np.empty(kinds + 1)

    while depth_of > 0:
        depth_of -= 1
        node, start, stop, depth = stack[depth_of, 0], stack[depth_of, 1], stack[depth_of, 2], stack[depth_of, 3]
        floor, roof = limits[depth_of, 0], limits[depth_of, 1]
        total = _residuals(rank, cause, weight, start, stop, channels, residual, spread)
        cover[node] = total
        some = False
        for k in range(c):
            scale[k] = 1.0 / spread[k] if spread[k] > 1e-12 else 0.0
            some |= scale[k] > 0.0
        chosen = -1
        if some and total >= 2.0 * least and stop - start > 1 and depth < deepest:
            if splitter == _LOG_RANK:
                times = _weigh_times(
                    rank, cause, weight, start, stop, channels, total, place, per_time, at_risk
                )  # fmt: skip
            looked, useful, found = 0, 0, 0
            while looked < pool.size and (looked < tries or useful == 0):
                pick = looked + _below(state, pool.size - looked)
                pool[looked], pool[pick] = pool[pick], pool[looked]
                j = pool[looked]
                looked += 1
                column = bins[j]
                if c == 1:
                    for i in range(start, stop):
                        b = column[row[i]]
                        side[i] = b
                        sums[b, 0] += residual[0, i]
                        sum_weights[b] += weight[i]
                else:
                    for i in range(start, stop):
                        b = column[row[i]]
                        side[i] = b
                        sum_weights[b] += weight[i]
                        for k in range(c):
                            sums[b, k] += residual[k, i]
                m = 0
                for b in range(levels[j]):
                    if sum_weights[b] > 0.0:
                        order[m] = b
                        packed_weights[m] = sum_weights[b]
                        sum_weights[b] = 0.0
                        for k in range(c):
                            packed[k, m] = sums[b, k]
                            sums[b, k] = 0.0
                        m += 1
                lost_weight = sum_weights[255]
                sum_weights[255] = 0.0
                for k in range(c):
                    lost[k] = sums[255, k]
                    sums[255, k] = 0.0
                if m < (1 if lost_weight > 0.0 else 2):
                    continue
                useful += 1
                if nominal[j]:
                    # Ordered by excess of events: the best of all subsets is then a first part.
                    for b in range(1, m):
                        at = b
                        while at > 0:
                            high, low = 0.0, 0.0
                            for k in range(c):
                                high += packed[k, at - 1] * np.sqrt(scale[k]) / packed_weights[at - 1]
                                low += packed[k, at] * np.sqrt(scale[k]) / packed_weights[at]
                            if high <= low:
                                break
                            order[at], order[at - 1] = order[at - 1], order[at]
                            packed_weights[at], packed_weights[at - 1] = packed_weights[at - 1], packed_weights[at]
                            for k in range(c):
                                packed[k, at], packed[k, at - 1] = packed[k, at - 1], packed[k, at]
                            at -= 1
                bound = -1
                if splitter == _EXTRA:
                    score, last, missing, bound = _score_one(
                        state, m, order, nominal[j], packed, packed_weights, lost, lost_weight, total, scale, least,
                        monotone[j],
                    )  # fmt: skip
                elif splitter == _LOG_RANK:
                    where[255] = m
                    for b in range(m):
                        where[order[b]] = b
                    score, last, missing = _scan_log_rank(
                        m, packed, packed_weights, lost, lost_weight, total, least, monotone[j], side, where, weight,
                        start, stop, place, times, per_time, at_risk,
                    )  # fmt: skip
                else:
                    score, last, missing = _scan_scores(
                        m, packed, packed_weights, lost, lost_weight, total, scale, least, monotone[j]
                    )  # fmt: skip
                if last < 0 or score <= 1e-10:
                    continue
                found_score[found], found_column[found] = score, j
                if lost_weight == 0.0:
                    heavy = 0.0
                    for b in range(last + 1):
                        heavy += packed_weights[b]
                    missing = heavy >= total - heavy
                found_side[found] = missing
                if nominal[j]:
                    found_cut[found] = -1 - found
                    # What the node has not seen goes where missing values go.
                    found_set[found] = 255 if missing else 0
                    for b in range(m):
                        bit = np.uint8(1 << (order[b] & 7))
                        if b <= last:
                            found_set[found, order[b] >> 3] |= bit
                        else:
                            found_set[found, order[b] >> 3] &= ~bit
                else:
                    found_cut[found] = bound if bound >= 0 else order[last]
                found += 1
            while found > 0:
                best = 0
                for f in range(1, found):
                    if found_score[f] > found_score[best]:
                        best = f
                if not bounded:
                    chosen = best
                    break
                if found_score[best] <= 0.0:
                    break
                column = bins[found_column[best]]
                for i in range(start, stop):
                    side[i] = column[row[i]]
                both = _child_values(
                    side, rank, cause, weight, start, stop, channels[0], grid, size, found_cut[best],
                    found_side[best], found_set, kinds > 1,
                )  # fmt: skip
                sign = monotone[found_column[best]]
                if min(both[0], both[1]) >= floor and max(both[0], both[1]) <= roof and sign * (both[0] - both[1]) <= 0:
                    chosen = best
                    break
                found_score[best] = 0.0
        if chosen >= 0:
            j = found_column[chosen]
            last = found_cut[chosen]
            missing = found_side[chosen]
            column = bins[j]
            middle = start
            kept = 0
            for i in range(start, stop):
                if _goes_left(column[row[i]], last, missing, found_set):
                    row[middle], rank[middle], cause[middle], weight[middle] = row[i], rank[i], cause[i], weight[i]
                    middle += 1
                else:
                    row_kept[kept], rank_kept[kept] = row[i], rank[i]
                    cause_kept[kept], weight_kept[kept] = cause[i], weight[i]
                    kept += 1
            row[middle:stop] = row_kept[:kept]
            rank[middle:stop] = rank_kept[:kept]
            cause[middle:stop] = cause_kept[:kept]
            weight[middle:stop] = weight_kept[:kept]
            if last < 0:
                if set_count == sets.shape[0]:
                    wider = np.zeros((2 * set_count, 32), np.uint8)
                    wider[:set_count] = sets
                    sets = wider
                sets[set_count] = found_set[-1 - last]
                last = -1 - set_count
                set_count += 1
            feature[node], cut[node], left[node], missing_left[node] = j, last, nodes, missing
            low_floor, low_roof, high_floor, high_roof = floor, roof, floor, roof
            if bounded and monotone[j] != 0:
                half = both[0] + (both[1] - both[0]) / 2.0
                if monotone[j] > 0:
                    low_roof, high_floor = half, half
                else:
                    low_floor, high_roof = half, half
            stack[depth_of, 0], stack[depth_of, 1] = nodes + 1, middle
            stack[depth_of, 2], stack[depth_of, 3] = stop, depth + 1
            limits[depth_of, 0], limits[depth_of, 1] = high_floor, high_roof
            depth_of += 1
            stack[depth_of, 0], stack[depth_of, 1] = nodes, start
            stack[depth_of, 2], stack[depth_of, 3] = middle, depth + 1
            limits[depth_of, 0], limits[depth_of, 1] = low_floor, low_roof
            depth_of += 1
            nodes += 2
            continue

        left[node] = leaves
        risk = total
        alive = 1.0
        i = start
        while i < stop:
            here = rank[i]
            leaving = 0.0
            dying[:] = 0.0
            while i < stop and rank[i] == here:
                leaving += weight[i]
                dying[cause[i]] += weight[i]
                i += 1
            gone = leaving - dying[0]
            if gone > 0.0:
                known = max(risk, gone)
                tied = 0
                for k in range(1, kinds + 1):
                    if dying[k] > 0.0:
                        step = dying[k] / known
                        code[pairs], kind[pairs], hazard[pairs] = grid[here], k + tied, step
                        value[leaves, k - 1] += (alive if kinds > 1 else 1.0) * step * (size - np.int64(grid[here]))
                        pairs += 1
                        tied = 128
                alive *= 1.0 - gone / known
            risk -= leaving
        ends[leaves] = pairs
        leaves += 1
    return (
        feature[:nodes].copy(), cut[:nodes].copy(), left[:nodes].copy(), missing_left[:nodes].copy(),
        cover[:nodes].copy(), sets[:set_count].copy(), ends[:leaves].copy(), code[:pairs].copy(),
        kind[:pairs].copy(), hazard[:pairs].copy(), value[:leaves].copy(),
    )  # fmt: skip


@compiled
def find_leaves(
    bins: NDArray[np.uint8], roots: NDArray[np.int64], feature: NDArray[np.int16], cut: NDArray[np.int32],
    left: NDArray[np.int32], missing_left: NDArray[np.bool_], sets: NDArray[np.uint8], changed: int,
    instead: NDArray[np.uint8], out: NDArray[np.int32],
) -> None:  # fmt: skip
    """Write the leaf of each row in each tree.

    Parameters
    ----------
    bins : uint8 array, shape (n, p)
    roots : int array, shape (trees,)
    feature, cut, left, missing_left, sets : arrays
        As from `grow_tree`, of all trees after each other; children and leaves counted through.
    changed : int
        A column to be read from `instead`, or -1.
    instead : uint8 array, shape (n,)
    out : int32 array, shape (trees, n)
    """
    for t in range(roots.size):
        root = roots[t]
        for i in range(bins.shape[0]):
            node = root
            j = feature[node]
            while j >= 0:
                b = instead[i] if j == changed else bins[i, j]
                if cut[node] < 0:
                    goes = ((sets[-1 - cut[node], b >> 3] >> (b & 7)) & 1) == 1
                else:
                    goes = missing_left[node] if b == 255 else b <= cut[node]
                node = left[node] + (0 if goes else 1)
                j = feature[node]
            out[t, i] = left[node]


@compiled
def add_values(
    leaf: NDArray[np.int32], value: NDArray[np.float64], skip: NDArray[np.bool_], out: NDArray[np.float64],
    trees: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add up the value of each row's leaves, and count the trees, but for those to be skipped.

    Parameters
    ----------
    leaf : int32 array, shape (trees, n)
    value : float array, shape (leaves,)
    skip : bool array, shape (trees, n), or (0, 0) to skip none
    out : float array, shape (n,)
    trees : int array, shape (n,)
    """
    for t in range(leaf.shape[0]):
        for i in range(leaf.shape[1]):
            if skip.size == 0 or not skip[t, i]:
                out[i] += value[leaf[t, i]]
                trees[i] += 1


@compiled
def add_curves(
    leaf: NDArray[np.int32], skip: NDArray[np.bool_], starts: NDArray[np.int64], code: NDArray[np.uint16],
    kind: NDArray[np.uint8], hazard: NDArray[np.float32], place: NDArray[np.int64], what: int,
    out: NDArray[np.float64], trees: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add up curves over trees, read at some times.

    Parameters
    ----------
    leaf, skip : arrays, shape (trees, n)
        As in `add_values`.
    starts : int array, shape (leaves + 1,)
        Where each leaf's pairs start.
    code, kind, hazard : arrays, shape (pairs,)
    place : int array, shape (grid points,)
        First of the times, in rising order, that is not before each grid point; t where there is none.
    what : int
        0 for 1 - S from all causes, -k for the cumulative hazard of cause k, k for its cumulative incidence.
    out : float array, shape (n, t + 1)
        Zero before; the last column holds what happens after the last time.
    trees : int array, shape (n,)
    """
    t_size = out.shape[1]
    for i in range(leaf.shape[1]):
        row = out[i]
        for t in range(leaf.shape[0]):
            if skip.size > 0 and skip[t, i]:
                continue
            trees[i] += 1
            alive, before = 1.0, 1.0
            for s in range(starts[leaf[t, i]], starts[leaf[t, i] + 1]):
                at = place[code[s]]
                own = kind[s] & 127
                step = np.float64(hazard[s])
                if kind[s] < 128:
                    before = alive
                if what < 0:
                    if own == -what:
                        row[at] += step
                else:
                    gone = min(alive, before * step)
                    if what == 0 or own == what:
                        row[at] += gone
                    alive -= gone
        for k in range(1, t_size):
            row[k] += row[k - 1]


@compiled
def leaf_risks(
    starts: NDArray[np.int64], code: NDArray[np.uint16], kind: NDArray[np.uint8], hazard: NDArray[np.float32],
    last: int, what: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the risk by a grid point, inclusive, in each leaf: of any cause (0) or of one (k)."""
    out = np.zeros(starts.size - 1)
    for f in range(out.size):
        alive, before = 1.0, 1.0
        for s in range(starts[f], starts[f + 1]):
            if code[s] > last:
                break
            if kind[s] < 128:
                before = alive
            gone = min(alive, before * np.float64(hazard[s]))
            if what == 0 or (kind[s] & 127) == what:
                out[f] += gone
            alive -= gone
    return out


@compiled
def match_leaves(first: NDArray[np.int32], second: NDArray[np.int32], out: NDArray[np.float64]) -> None:
    """Write the share of trees in which two rows are in the same leaf.

    Parameters
    ----------
    first : int32 array, shape (n, trees)
    second : int32 array, shape (m, trees)
    out : float array, shape (n, m)
    """
    for i in range(first.shape[0]):
        for j in range(second.shape[0]):
            same = 0
            for t in range(first.shape[1]):
                same += first[i, t] == second[j, t]
            out[i, j] = same / first.shape[1]
