"""Loops of the causal forest: honest trees on binned columns, sums over their leaves, the spread of little bags.

A node's gradient of the residual-on-residual slope is one number a row, so that a split is the histogram scan of a
regression tree; see `aimed.treatment.causal_forest`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["add_leaves", "draw_bag", "draw_halves", "grow_tree"]


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
def _shuffle(state: NDArray[np.uint64], items: NDArray[np.int32], first: int) -> None:
    """Move `first` items, drawn without replacement, to the front."""
    for i in range(first):
        k = i + _below(state, items.size - i)
        items[i], items[k] = items[k], items[i]


@compiled
def draw_bag(seed: np.uint64, patients: int, draws: int) -> NDArray[np.int32]:
    """Return so many patients, drawn without replacement.

    Parameters
    ----------
    seed : uint64
    patients, draws : int
    """
    state = np.array([seed], np.uint64)
    items = np.arange(patients).astype(np.int32)
    _shuffle(state, items, draws)
    return items[:draws].copy()


@compiled
def draw_halves(
    seed: np.uint64, bag: NDArray[np.int32], patients: int, draws: int, honest: bool
) -> NDArray[np.uint8]:  # fmt: skip
    """Return what a tree does with each patient: 0 nothing, 1 splits, 2 fills leaves, 3 both.

    Parameters
    ----------
    seed : uint64
    bag : int32 array
        Patients of the little bag.
    patients, draws : int
        All patients, and those that the tree draws from the bag.
    honest : bool
        One half of them splits and the other one fills leaves.
    """
    state = np.array([seed], np.uint64)
    items = bag.copy()
    _shuffle(state, items, draws)
    out = np.zeros(patients, np.uint8)
    for i in range(draws):
        out[items[i]] = 3 if not honest else 1 if i < draws // 2 else 2
    return out


@compiled
def grow_tree(
    bins: NDArray[np.uint8], levels: NDArray[np.int64], candidates: NDArray[np.int64], y: NDArray[np.float64],
    trend: NDArray[np.float64], t: NDArray[np.float64], arm: NDArray[np.bool_], side: NDArray[np.uint8],
    seed: np.uint64, tries: int, least: int, share: float, deepest: int, counts: NDArray[np.float64],
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:  # fmt: skip
    """Grow one tree.

    Parameters
    ----------
    bins : uint8 array, shape (p, n)
    levels : int array, shape (p,)
        Bins in use.
    candidates : int array
        Columns to split on.
    y, t : float array, shape (n,)
        Outcome and treatment less their expectations.
    trend : float array, shape (n,)
        The line of the effect at each row.
    arm : bool array, shape (n,)
        Treated.
    side : uint8 array, shape (n,)
        As from `draw_halves`, of each row.
    seed : uint64
        State of the generator.
    tries : int
        Columns drawn at each node.
    least : int
        Rows of either arm in a leaf, at least, in either half.
    share : float
        Of a node's rows in either child, at least.
    deepest : int
        Depth, at most.
    counts : float array, shape (d, p)
        Splits at the d upper depths are added to it.

    Returns
    -------
    feature : int16 array, shape (nodes,)
        -1 for leaves.
    cut : uint8 array, shape (nodes,)
        The last bin that goes left.
    left : int32 array, shape (nodes,)
        Left child, followed by the right one; for leaves their number.
    value : float32 array, shape (leaves, 6)
        Means of t, y, t², t y, t trend and t² trend over the rows that fill the leaf.
    """
    n = y.size
    state = np.array([seed], np.uint64)
    splits, fills, treated = 0, 0, 0
    for i in range(n):
        splits += side[i] & 1
        fills += (side[i] >> 1) & 1
        treated += (side[i] & 1) * arm[i]
    row = np.empty(splits, np.int32)
    kept = np.empty(splits, np.int32)
    s = 0
    for i in range(n):
        if side[i] & 1:
            row[s] = i
            s += 1
    most = max(1, min(treated, splits - treated) // least)
    capacity = 2 * most + 1
    feature, cut = np.full(capacity, -1, np.int16), np.zeros(capacity, np.uint8)
    left, parent_depth = np.zeros(capacity, np.int32), np.zeros(capacity, np.int32)
    stack = np.zeros((capacity, 4), np.int64)
    stack[0, 2] = splits
    waiting, nodes = 1, 1

    rho = np.empty(splits)
    # A row in the low half of a word, its treatment in the high one: one sum counts both.
    unit = np.empty(splits, np.int64)
    sums, tally = np.zeros(256), np.zeros(256, np.int64)
    touched = np.empty(64, np.int64)
    pool = candidates.copy()
    low_mask = np.int64(0xFFFFFFFF)

    while waiting > 0:
        waiting -= 1
        node, start, stop, depth = stack[waiting, 0], stack[waiting, 1], stack[waiting, 2], stack[waiting, 3]
        parent_depth[node] = depth
        size = stop - start
        st, sy, stt, sty, ones = 0.0, 0.0, 0.0, 0.0, 0
        for i in range(start, stop):
            r = row[i]
            st += t[r]
            sy += y[r]
            stt += t[r] * t[r]
            sty += t[r] * y[r]
            ones += arm[r]
        spread = stt - st * st / max(size, 1)
        if min(ones, size - ones) < 2 * least or depth >= deepest or not spread > 1e-12 * size:
            continue
        slope = (sty - st * sy / size) / spread
        mt, my = st / size, sy / size
        square = 0.0
        for i in range(start, stop):
            r = row[i]
            d = t[r] - mt
            rho[i] = d * (y[r] - my - slope * d)
            square += rho[i] * rho[i]
            unit[i] = 1 + (np.int64(arm[r]) << 32)
        if not square > 0.0:
            continue
        smallest = max(2 * least, int(np.ceil(share * size)))
        best, chosen, last = 1e-10 * square, -1, 0
        looked, useful = 0, 0
        while looked < pool.size and (looked < tries or useful == 0):
            pick = looked + _below(state, pool.size - looked)
            pool[looked], pool[pick] = pool[pick], pool[looked]
            j = pool[looked]
            looked += 1
            column = bins[j]
            m = 0
            if size <= 48:
                # Few rows touch few bins: these alone are put in order and read.
                for i in range(start, stop):
                    b = np.int64(column[row[i]])
                    if tally[b] == 0:
                        touched[m] = b
                        m += 1
                    tally[b] += unit[i]
                    sums[b] += rho[i]
                for a in range(1, m):
                    b = touched[a]
                    k = a - 1
                    while k >= 0 and touched[k] > b:
                        touched[k + 1] = touched[k]
                        k -= 1
                    touched[k + 1] = b
                count = m
            else:
                for i in range(start, stop):
                    b = np.int64(column[row[i]])
                    tally[b] += unit[i]
                    sums[b] += rho[i]
                count = levels[j]
            total, packed = 0.0, np.int64(0)
            varied = False
            for a in range(count):
                b = touched[a] if m > 0 else np.int64(a)
                if tally[b] == 0:
                    continue
                total += sums[b]
                packed += tally[b]
                sums[b] = 0.0
                tally[b] = 0
                here = packed & low_mask
                active = packed >> 32
                if here < size:
                    varied = True
                if here < smallest or active < least or here - active < least:
                    continue
                if size - here < smallest or ones - active < least or (size - here) - (ones - active) < least:
                    continue
                score = total * total * size / (here * (size - here))
                if score > best:
                    best, chosen, last = score, j, int(b)
            useful += varied
        if chosen < 0:
            continue
        column = bins[chosen]
        middle, right = start, 0
        for i in range(start, stop):
            r = row[i]
            if column[r] <= last:
                row[middle] = r
                middle += 1
            else:
                kept[right] = r
                right += 1
        row[middle:stop] = kept[:right]
        feature[node], cut[node], left[node] = chosen, last, nodes
        for k in range(2):
            stack[waiting, 0] = nodes + 1 - k
            stack[waiting, 1] = middle if k == 0 else start
            stack[waiting, 2] = stop if k == 0 else middle
            stack[waiting, 3] = depth + 1
            waiting += 1
        nodes += 2

    # The other half fills the leaves; a split that leaves a child without enough of either arm is taken back.
    sum_of = np.zeros((nodes, 8))
    for i in range(n):
        if side[i] & 2:
            node = 0
            while feature[node] >= 0:
                node = left[node] + (1 if bins[feature[node], i] > cut[node] else 0)
            sum_of[node, 0] += t[i]
            sum_of[node, 1] += y[i]
            sum_of[node, 2] += t[i] * t[i]
            sum_of[node, 3] += t[i] * y[i]
            sum_of[node, 4] += t[i] * trend[i]
            sum_of[node, 5] += t[i] * t[i] * trend[i]
            sum_of[node, 6] += arm[i]
            sum_of[node, 7] += 1.0
    for node in range(nodes - 1, -1, -1):
        if feature[node] < 0:
            continue
        first = left[node]
        few = False
        for child in range(first, first + 2):
            few |= min(sum_of[child, 6], sum_of[child, 7] - sum_of[child, 6]) < least
            for k in range(8):
                sum_of[node, k] += sum_of[child, k]
        if few:
            feature[node] = -1
    # Children stand behind their parents: one pass renumbers what is left of the tree.
    place = np.full(nodes, -1, np.int32)
    place[0] = 0
    used, leaves = 1, 0
    value = np.zeros((nodes // 2 + 1, 6), np.float32)
    order = np.empty(nodes, np.int32)
    order[0] = 0
    new_feature, new_cut = np.full(nodes, -1, np.int16), np.zeros(nodes, np.uint8)
    new_left = np.zeros(nodes, np.int32)
    at = 0
    while at < used:
        node = order[at]
        if feature[node] >= 0:
            new_feature[at], new_cut[at], new_left[at] = feature[node], cut[node], used
            order[used], order[used + 1] = left[node], left[node] + 1
            used += 2
            if parent_depth[node] < counts.shape[0]:
                counts[parent_depth[node], feature[node]] += 1.0
        else:
            new_left[at] = leaves
            for k in range(6):
                value[leaves, k] = sum_of[node, k] / max(sum_of[node, 7], 1.0)
            leaves += 1
        at += 1
    return new_feature[:used].copy(), new_cut[:used].copy(), new_left[:used].copy(), value[:leaves].copy()


@compiled
def add_leaves(
    bins: NDArray[np.uint8], roots: NDArray[np.int64], feature: NDArray[np.int16], cut: NDArray[np.uint8],
    left: NDArray[np.int32], value: NDArray[np.float32], trend: NDArray[np.float64], bag: int,
    inside: NDArray[np.bool_], effect: NDArray[np.float64], between: NDArray[np.float64],
    within: NDArray[np.float64], used: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the effect at each row, and the spread of its influence over little bags and over trees within them.

    Parameters
    ----------
    bins : uint8 array, shape (n, p)
    roots : int array, shape (trees,)
    feature, cut, left, value : arrays
        As from `grow_tree`, of all trees after each other; children and leaves counted through.
    trend : float array, shape (bags, n)
        What each bag took off the outcome in each row, a unit of treatment; no rows where nothing was.
    bag : int
        Trees in a bag, which stand together.
    inside : bool array, shape (bags, n)
        Bags to leave out for each row; no rows where none.
    effect : float array, shape (n,)
    between, within : float array, shape (n,)
        Mean square of the bags' influence, and of the trees' around their bag's; (0,) for the effects alone.
    used : int array, shape (n,)
        Bags that each row's effect rests on.
    """
    n, bags = bins.shape[0], roots.size // bag
    leaf = np.empty((roots.size, n), np.int32)
    total = np.zeros((n, 4))
    middle = np.zeros(n)
    for g in range(bags):
        for k in range(g * bag, (g + 1) * bag):
            root = roots[k]
            for i in range(n):
                if inside.shape[0] > 0 and inside[g, i]:
                    continue
                node = root
                j = feature[node]
                while j >= 0:
                    node = left[node] + (1 if bins[i, j] > cut[node] else 0)
                    j = feature[node]
                f = left[node]
                leaf[k, i] = f
                total[i, 0] += value[f, 0]
                total[i, 1] += value[f, 1]
                total[i, 2] += value[f, 2]
                total[i, 3] += value[f, 3]
        for i in range(n):
            if inside.shape[0] > 0 and inside[g, i]:
                continue
            used[i] += 1
            if trend.shape[0] > 0:
                middle[i] += trend[g, i]
    slope, base, spread = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        count = max(used[i], 1)
        for k in range(4):
            total[i, k] /= count * bag
        middle[i] /= count
        spread[i] = total[i, 2] - total[i, 0] * total[i, 0]
        slope[i] = (total[i, 3] - total[i, 0] * total[i, 1]) / spread[i]
        base[i] = total[i, 1] - slope[i] * total[i, 0]
        effect[i] = slope[i] + middle[i] if used[i] > 0 else np.nan
    if between.size == 0:
        return
    one = np.empty(bag)
    for g in range(bags):
        for i in range(n):
            if inside.shape[0] > 0 and inside[g, i]:
                continue
            own = 0.0
            for k in range(bag):
                f = leaf[g * bag + k, i]
                score = value[f, 3] - slope[i] * value[f, 2] - base[i] * value[f, 0]
                score -= total[i, 0] * (value[f, 1] - slope[i] * value[f, 0] - base[i])
                one[k] = score / spread[i]
                own += one[k]
            own /= bag
            for k in range(bag):
                within[i] += (one[k] - own) * (one[k] - own)
            if trend.shape[0] > 0:
                own += trend[g, i] - middle[i]
            between[i] += own * own
    for i in range(n):
        between[i] /= max(used[i], 1)
        within[i] /= max(used[i], 1) * max(bag - 1, 1)
