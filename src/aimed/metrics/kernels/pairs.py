"""Counting of pairs that are ordered by time and ranked by a score: a sweep through falling time over a Fenwick tree.

Rows stand in line by falling time. At equal times the unmarked rows come first, then the marked ones, the anchors: so
the partners of an anchor, the rows that leave after it, are all rows in line before the marked part of its own time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["LANES", "censoring_factors", "count_pairs", "line_up", "place_scores", "replicate_pairs", "weigh_pairs"]

LANES = 16
"""Replicates that `replicate_pairs` and `censoring_factors` handle side by side."""

_BLOCK = 3


@compiled
def line_up(
    group: NDArray[np.int64], marked: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put rows in order of their group, the unmarked before the marked, by counting.

    Parameters
    ----------
    group : int array, shape (n,)
        From 0 to size - 1; 0 is the last time.
    marked : bool array, shape (n,)
    size : int

    Returns
    -------
    order : int array, shape (n,)
        The row at each place of the line.
    starts : int array, shape (2 * size + 1,)
        Places where the unmarked and the marked part of each group start.
    """
    n = group.size
    starts = np.zeros(2 * size + 1, np.int64)
    for i in range(n):
        starts[2 * group[i] + marked[i] + 1] += 1
    for k in range(2 * size):
        starts[k + 1] += starts[k]
    order = np.empty(n, np.int64)
    for i in range(n):
        key = 2 * group[i] + marked[i]
        order[starts[key]] = i
        starts[key] += 1
    for k in range(2 * size, 0, -1):
        starts[k] = starts[k - 1]
    starts[0] = 0
    return order, starts


@compiled
def place_scores(
    score: NDArray[np.float64], by_score: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the place by score of each row in line, and where the scores tied with each place start and end.

    Parameters
    ----------
    score : float array, shape (n,)
        In order of the line.
    by_score : int array, shape (n,)
        Sorts the score within each stratum.
    ends : int array, shape (strata,)
        Place in line where each stratum ends; strata follow each other.

    Returns
    -------
    place : int32 array, shape (n,)
        Counted from the start of the stratum.
    ties : int32 array, shape (n, 2), or (0, 2) where no scores are tied
        First and end place of the scores tied with that at each place by score, strata after each other.
    """
    n = score.size
    place = np.empty(n, np.int32)
    base = 0
    tied = False
    for s in range(ends.size):
        before = np.nan
        for k in range(base, ends[s]):
            i = by_score[k]
            tied |= score[i] == before
            before = score[i]
            place[i] = k - base
        base = ends[s]
    ties = np.empty((n if tied else 0, 2), np.int32)
    if tied:
        base = 0
        for s in range(ends.size):
            k = base
            while k < ends[s]:
                stop = k + 1
                value = score[by_score[k]]
                while stop < ends[s] and score[by_score[stop]] == value:
                    stop += 1
                for m in range(k, stop):
                    ties[m, 0] = k - base
                    ties[m, 1] = stop - base
                k = stop
            base = ends[s]
    return place, ties


@compiled
def _ones(word: np.uint64) -> int:
    """Bits that are set; the compiler knows this sequence as one instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int(np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56)))


@compiled
def _tied(place: NDArray[np.int32], ties: NDArray[np.int32], base: int, i: int, tied: bool) -> tuple[int, int]:
    """First and end place of the scores tied with that of a row in line."""
    k = int(place[i])
    if tied:
        return int(ties[base + k, 0]), int(ties[base + k, 1])
    return k, k + 1


@compiled
def _toggle(bits: NDArray[np.uint64], tree: NDArray[np.int32], words: int, place: int, step: int) -> None:
    """Add (step 1) or take away (step -1) the row at a place."""
    word = place >> 6
    bits[word] ^= np.uint64(1) << np.uint64(place & 63)
    k = word + 1
    while k <= words:
        tree[k] += step
        k += k & -k


@compiled
def _below(bits: NDArray[np.uint64], tree: NDArray[np.int32], place: int) -> int:
    """Rows present at places before a place."""
    k = place >> 6
    found = _ones(bits[k] & ((np.uint64(1) << np.uint64(place & 63)) - np.uint64(1)))
    while k > 0:
        found += tree[k]
        k &= k - 1
    return found


@compiled
def count_pairs(
    starts: NDArray[np.int64],
    groups: NDArray[np.int64],
    place: NDArray[np.int32],
    ties: NDArray[np.int32],
    both: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pairs of an anchor and a later row, all rows weighing 1.

    A row present is one bit; a Fenwick tree counts the bits of whole words, so that a million rows need some 200 kB.
    Two such sets are kept: the rows that are later than the time reached, and the anchors that are not.

    Parameters
    ----------
    starts : int array, shape (2 * g + 1,)
        From `line_up`.
    groups : int array, shape (strata,)
        Group where each stratum ends.
    place, ties : int32 arrays
        From `place_scores`.
    both : bool
        Also count for each row; else the totals alone.

    Returns
    -------
    right : int array, shape (n,) or (0,)
        Twice the pairs ranked right that each row in line is part of; a tie of scores counts 1.
    usable : int array, shape (n,) or (0,)
        Pairs each row is part of.
    totals : int array, shape (4,)
        Twice the pairs ranked right; all pairs; pairs with tied scores; pairs of anchors tied in time and score.
    """
    n = place.size
    tied = ties.shape[0] > 0
    right = np.zeros(n if both else 0, np.int64)
    usable = np.zeros(n if both else 0, np.int64)
    totals = np.zeros(4, np.int64)
    late_bits = np.zeros((n >> 6) + 2, np.uint64)
    early_bits = np.zeros((n >> 6) + 2, np.uint64)
    late_tree = np.zeros((n >> 6) + 2, np.int32)
    early_tree = np.zeros((n >> 6) + 2, np.int32)
    first_group = 0
    for s in range(groups.size):
        base = starts[2 * first_group]
        size = starts[2 * groups[s]] - base
        words = (size >> 6) + 1
        # The set of early rows has emptied itself by the end of a stratum.
        late_bits[:words] = 0
        late_tree[: words + 1] = 0
        waiting = 0
        if both:
            for g in range(first_group, groups[s]):
                for i in range(starts[2 * g + 1], starts[2 * g + 2]):
                    early_bits[place[i] >> 6] |= np.uint64(1) << np.uint64(place[i] & 63)
                waiting += starts[2 * g + 2] - starts[2 * g + 1]
            for k in range(1, words + 1):
                early_tree[k] += _ones(early_bits[k - 1])
                above = k + (k & -k)
                if above <= words:
                    early_tree[above] += early_tree[k]
        for g in range(first_group, groups[s]):
            start, middle, stop = starts[2 * g], starts[2 * g + 1], starts[2 * g + 2]
            if both:
                for i in range(start, stop):
                    if i == middle:
                        for m in range(middle, stop):
                            _toggle(early_bits, early_tree, words, place[m], -1)
                        waiting -= stop - middle
                    first, end = _tied(place, ties, base, i, tied)
                    low = _below(early_bits, early_tree, first)
                    high = low
                    if end - first > 1:
                        high = _below(early_bits, early_tree, end)
                    right[i] = 2 * waiting - high - low
                    usable[i] = waiting
            for i in range(start, middle):
                _toggle(late_bits, late_tree, words, place[i], 1)
            for i in range(middle, stop):
                first, end = _tied(place, ties, base, i, tied)
                low = _below(late_bits, late_tree, first)
                high = low
                if end - first > 1:
                    high = _below(late_bits, late_tree, end)
                totals[0] += low + high
                totals[1] += middle - base
                totals[2] += high - low
                totals[3] -= high - low
                if both:
                    right[i] += low + high
                    usable[i] += middle - base
            for i in range(middle, stop):
                first, end = _tied(place, ties, base, i, tied)
                if end - first > 1:
                    # Ties found while the group comes in, less those found before, are ties within the group.
                    totals[3] += _below(late_bits, late_tree, end) - _below(late_bits, late_tree, first)
                _toggle(late_bits, late_tree, words, place[i], 1)
        first_group = groups[s]
    return right, usable, totals


@compiled
def _add(leaf: NDArray[np.float64], tree: NDArray[np.float64], blocks: int, place: int, weight: float) -> None:
    """Add a weight at a place: to its block of leaves, and to the tree of blocks."""
    leaf[place] += weight
    k = (place >> _BLOCK) + 1
    while k <= blocks:
        tree[k] += weight
        k += k & -k


@compiled
def _weight_below(leaf: NDArray[np.float64], tree: NDArray[np.float64], place: int) -> float:
    """Sum of the weights at places before a place."""
    k = place >> _BLOCK
    found = 0.0
    for i in range(k << _BLOCK, place):
        found += leaf[i]
    while k > 0:
        found += tree[k]
        k &= k - 1
    return found


@compiled
def weigh_pairs(
    starts: NDArray[np.int64],
    groups: NDArray[np.int64],
    place: NDArray[np.int32],
    ties: NDArray[np.int32],
    anchor: NDArray[np.float64],
    partner: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weigh the pairs of an anchor and a later row by the product of their weights.

    Parameters
    ----------
    starts, groups, place, ties
        As for `count_pairs`.
    anchor : float array, shape (n,)
        Weight of each row in line as the earlier of a pair; read for marked rows only.
    partner : float array, shape (n,)
        Weight of each row as the later of a pair.

    Returns
    -------
    float array, shape (4, n)
        For each row in line: as anchor, the partners ranked right (ties one half) and all partners; as partner, the
        anchors ranked right and all anchors. Rows that weigh nothing in a part have 0 there.
    """
    n = place.size
    tied = ties.shape[0] > 0
    out = np.zeros((4, n))
    late_leaf, early_leaf = np.zeros(n), np.zeros(n)
    late_tree, early_tree = np.zeros((n >> _BLOCK) + 2), np.zeros((n >> _BLOCK) + 2)
    first_group = 0
    for s in range(groups.size):
        base = starts[2 * first_group]
        size = starts[2 * groups[s]] - base
        blocks = (size >> _BLOCK) + 1
        late_leaf[:size] = 0
        early_leaf[:size] = 0
        late_tree[: blocks + 1] = 0
        early_tree[: blocks + 1] = 0
        waiting = 0.0
        inside = 0.0
        for g in range(first_group, groups[s]):
            for i in range(starts[2 * g + 1], starts[2 * g + 2]):
                early_leaf[place[i]] = anchor[i]
                early_tree[(place[i] >> _BLOCK) + 1] += anchor[i]
                waiting += anchor[i]
        for k in range(1, blocks + 1):
            above = k + (k & -k)
            if above <= blocks:
                early_tree[above] += early_tree[k]
        for g in range(first_group, groups[s]):
            start, middle, stop = starts[2 * g], starts[2 * g + 1], starts[2 * g + 2]
            for i in range(start, stop):
                if i == middle:
                    for m in range(middle, stop):
                        if anchor[m] != 0:
                            _add(early_leaf, early_tree, blocks, place[m], -anchor[m])
                            waiting -= anchor[m]
                first, end = _tied(place, ties, base, i, tied)
                if partner[i] != 0:
                    low = _weight_below(early_leaf, early_tree, first)
                    high = low
                    if end - first > 1:
                        high = _weight_below(early_leaf, early_tree, end)
                    out[2, i] = waiting - 0.5 * (low + high)
                    out[3, i] = waiting
                if i < middle:
                    if partner[i] != 0:
                        _add(late_leaf, late_tree, blocks, place[i], partner[i])
                        inside += partner[i]
                elif anchor[i] != 0:
                    low = _weight_below(late_leaf, late_tree, first)
                    high = low
                    if end - first > 1:
                        high = _weight_below(late_leaf, late_tree, end)
                    out[0, i] = 0.5 * (low + high)
                    out[1, i] = inside
            for i in range(middle, stop):
                if partner[i] != 0:
                    _add(late_leaf, late_tree, blocks, place[i], partner[i])
                    inside += partner[i]
        first_group = groups[s]
    return out


@compiled
def censoring_factors(
    starts: NDArray[np.int64], code: NDArray[np.int64], counts: NDArray[np.uint8], groups: int
) -> NDArray[np.float64]:
    """Return 1 / G(T-)^2 at the time of each group in each replicate, G by Kaplan-Meier of censoring.

    Parameters
    ----------
    starts : int array, shape (2 * g + 1,)
    code : int array, shape (n,)
        Row of `counts` for each row in line.
    counts : uint8 array, shape (m, LANES)
    groups : int
        Groups from this one on, the earlier times, are asked for; the others are 0.

    Returns
    -------
    float array, shape (g, LANES)
        Infinite where G is 0.
    """
    size = (starts.size - 1) // 2
    out = np.zeros((size, LANES))
    after = np.zeros(LANES, np.int64)
    for i in range(code.size):
        for b in range(LANES):
            after[b] += counts[code[i], b]
    g_left = np.ones(LANES)
    lost = np.empty(LANES, np.int64)
    for g in range(size - 1, groups - 1, -1):
        lost[:] = 0
        for i in range(starts[2 * g], starts[2 * g + 1]):
            for b in range(LANES):
                lost[b] += counts[code[i], b]
        for i in range(starts[2 * g], starts[2 * g + 2]):
            for b in range(LANES):
                after[b] -= counts[code[i], b]
        for b in range(LANES):
            out[g, b] = 1 / (g_left[b] * g_left[b])
            if after[b] + lost[b] > 0:
                g_left[b] *= after[b] / (after[b] + lost[b])
    return out


@compiled
def replicate_pairs(
    starts: NDArray[np.int64],
    rank: NDArray[np.int64],
    tie: NDArray[np.int64],
    code: NDArray[np.int64],
    counts: NDArray[np.uint8],
    factor: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return twice the pairs ranked right, and twice all pairs, in each replicate.

    The tree holds the counts of all replicates of a rank side by side, so that each step is one or two instructions
    for all of them.

    Parameters
    ----------
    starts : int array, shape (2 * g + 1,)
    rank : int array, shape (n,)
        Rank of the score of each row in line, from 0; tied rows share one.
    tie : int array, shape (n,)
        A number from 0 for each set of tied scores, -1 for rows that have none.
    code : int array, shape (n,)
        Row of `counts` for each row in line.
    counts : uint8 array, shape (m, LANES)
        How often each patient is drawn; fewer than 2**31 rows in all in a replicate.
    factor : float array, shape (g, LANES), or (0, LANES)
        Weight of the anchors of each group in each replicate; 1 when empty.

    Returns
    -------
    float array, shape (2, LANES)
        Exact without a factor.
    """
    size = rank.max() + 1
    tree = np.zeros((size + 1, LANES), np.int32)
    leaf = np.zeros((tie.max() + 1, LANES), np.int32)
    inside = np.zeros(LANES, np.int64)
    below = np.empty(LANES, np.int32)
    right = np.empty(LANES, np.int64)
    usable = np.empty(LANES, np.int64)
    out = np.zeros((2, LANES))
    for g in range((starts.size - 1) // 2):
        start, middle, stop = starts[2 * g], starts[2 * g + 1], starts[2 * g + 2]
        right[:] = 0
        usable[:] = 0
        # The unmarked come in, then the marked ask, then the marked come in.
        for step in range(start, stop + stop - middle):
            i = step if step < stop else step - stop + middle
            row = code[i]
            if middle <= step < stop:
                below[:] = 0
                k = rank[i]
                while k > 0:
                    for b in range(LANES):
                        below[b] += tree[k, b]
                    k &= k - 1
                for b in range(LANES):
                    right[b] += np.int64(counts[row, b]) * 2 * below[b]
                    usable[b] += np.int64(counts[row, b]) * 2 * inside[b]
                if tie[i] >= 0:
                    for b in range(LANES):
                        right[b] += np.int64(counts[row, b]) * leaf[tie[i], b]
            else:
                k = rank[i] + 1
                while k <= size:
                    for b in range(LANES):
                        tree[k, b] += counts[row, b]
                    k += k & -k
                for b in range(LANES):
                    inside[b] += counts[row, b]
                if tie[i] >= 0:
                    for b in range(LANES):
                        leaf[tie[i], b] += counts[row, b]
        if stop > middle:
            if factor.shape[0] > 0:
                for b in range(LANES):
                    # A group without a usable pair is left out, so that its factor may be infinite.
                    if usable[b] > 0:
                        out[0, b] += factor[g, b] * right[b]
                        out[1, b] += factor[g, b] * usable[b]
            else:
                for b in range(LANES):
                    out[0, b] += right[b]
                    out[1, b] += usable[b]
    return out
