"""Loops of the Bayesian causal forest: tree moves, leaf means, scales and noise of a chain, and sums at new rows.

What a move proposes never looks at the outcome, so that one pass over the rows gives all sums that accept it and draw
the leaf means; a second pass updates residuals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["SLOTS", "add_trees", "sample_chain"]

SLOTS = 62
"""Most nodes of one tree; two more keys are needed while a move is looked at."""
WIDTH = SLOTS + 2
LEAF, FREE = -1, -2
GROW, PRUNE = 0.35, 0.35


@compiled
def _tally(
    nodes: NDArray[np.uint8], column: NDArray[np.uint8], mode: int, a: int, b: int, cut: int,
    residual: NDArray[np.float64], arm: NDArray[np.uint8], keys: NDArray[np.uint8], total: NDArray[np.float64],
    count: NDArray[np.float64],
) -> None:  # fmt: skip
    """Sum residuals by leaf and arm as the tree would be after the move.

    Parameters
    ----------
    mode : int
        0 as it is; 1 leaf `a` split, right half gets key SLOTS; 2 the rule above leaves `a` and `b` changed, rows
        that would move right get key SLOTS, those that would move left SLOTS + 1.
    """
    total[:] = 0.0
    count[:] = 0.0
    for i in range(nodes.size):
        key = nodes[i]
        if mode == 1:
            if key == a and column[i] > cut:
                key = SLOTS
        elif mode == 2:
            right = column[i] > cut
            if key == a and right:
                key = SLOTS
            elif key == b and not right:
                key = SLOTS + 1
        key += WIDTH * arm[i]
        keys[i] = key
        total[key] += residual[i]
        count[key] += 1.0


@compiled
def _evidence(precision: float, score: float, noise: float, spread: float) -> float:
    """Return the log marginal likelihood of a leaf whose mean has prior variance `spread`, up to a constant."""
    a = precision / noise + 1.0 / spread
    b = score / noise
    return 0.5 * (b * b / a - math.log(spread * a))


@compiled
def _above(rng: Any, bound: float) -> Any:
    """Draw a standard normal number above `bound`."""
    if bound < 0.4:
        while True:
            z = rng.standard_normal()
            if z > bound:
                return z
    rate = 0.5 * (bound + math.sqrt(bound * bound + 4.0))
    while True:
        z = bound + rng.standard_exponential() / rate
        if rng.random() < math.exp(-0.5 * (z - rate) ** 2):
            return z


@compiled
def _normal_draw(rng: Any, matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw from the normal law with precision `matrix` and mean matrix^-1 right."""
    size = right.size
    factor = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for k in range(j):
                s -= factor[i, k] * factor[j, k]
            factor[i, j] = math.sqrt(max(s, 1e-300)) if i == j else s / factor[j, j]
    half = np.zeros(size)
    for i in range(size):
        s = right[i]
        for k in range(i):
            s -= factor[i, k] * half[k]
        half[i] = s / factor[i, i]
    for i in range(size):
        half[i] += rng.standard_normal()
    for i in range(size - 1, -1, -1):
        s = half[i]
        for k in range(i + 1, size):
            s -= factor[k, i] * half[k]
        half[i] = s / factor[i, i]
    return half


@compiled
def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x * 0.7071067811865476)


@compiled
def _wider(array: NDArray[Any], used: int, need: int) -> NDArray[Any]:
    if used + need <= array.size:
        return array
    out = np.empty(2 * array.size + need, array.dtype)
    out[:used] = array[:used]
    return out


@compiled
def sample_chain(
    rng: Any, bins: NDArray[np.uint8], levels: NDArray[np.int64], y: NDArray[np.float64], arm: NDArray[np.uint8],
    binary: bool, trees: NDArray[np.int64], first: NDArray[np.int64], split: NDArray[np.float64],
    decay: NDArray[np.float64], min_rows: int, spread: NDArray[np.float64], adapt: NDArray[np.bool_],
    code_variance: float, noise_df: float, noise_scale: float, intercept_sd: float, effect_sd: float, sparse: bool,
    warm: int, draws: int, thin: int, prior_only: bool,
) -> Any:  # fmt: skip
    """Run one chain of backfitting: y = c + d arm + mu + code[arm] tau + noise, mu and tau sums of trees.

    Parameters
    ----------
    rng : numpy Generator
    bins : uint8 array, shape (p, n)
    levels : int array, shape (p,)
        Bins of each column.
    y : float array, shape (n,)
        Outcome; where `binary`, 0/1, the sign of a latent outcome with noise variance 1.
    arm : uint8 array, shape (n,)
    binary : bool
    trees, first : int array, shape (2,)
        Trees of mu and tau; how many of the leading columns they may split.
    split, decay : float array, shape (2,)
        A node at depth d is split with prior chance split (1 + d)^-decay.
    min_rows : int
        Fewest rows of a leaf.
    spread : float array, shape (2,)
        Prior variance of a leaf mean; where `adapt`, the variance's root is half-Cauchy with median √spread.
    adapt : bool array, shape (2,)
    code_variance : float
        Prior variance of the codes of both arms; 0 holds them at -1/2 and 1/2.
    noise_df, noise_scale : float
        Prior of the noise variance: noise_df noise_scale / chi-squared(noise_df).
    intercept_sd, effect_sd : float
        Prior standard deviations of c and d.
    sparse : bool
        Draw the chances of the columns from a Dirichlet law (Linero, JASA 2018).
    warm, draws, thin : int
        Sweeps thrown away, draws kept, sweeps for each.
    prior_only : bool
        Leave the likelihood out, to check the moves.

    Returns
    -------
    tuple
        Trace, shape (warm + draws thin, 3): noise deviation, average effect, spread of effects. Level, shape (draws,
        5): c, d, code of the untreated and the treated, noise variance. Constants, shape (draws, 2), and starts, shape
        (2, draws + 1), as in `add_trees`. Roots, features, cuts, skips and values of mu, then of tau. Counts, shape
        (2, SLOTS), of kept trees by leaves.
    """
    p, n = bins.shape
    many = trees[0] + trees[1]
    left = np.full((many, SLOTS), FREE, np.int16)
    right = np.full((many, SLOTS), FREE, np.int16)
    parent = np.full((many, SLOTS), -1, np.int16)
    feature = np.zeros((many, SLOTS), np.int16)
    cut = np.zeros((many, SLOTS), np.int16)
    depth = np.zeros((many, SLOTS), np.int16)
    mean = np.zeros((many, SLOTS))
    left[:, 0] = LEAF
    nodes = np.zeros((many, n), np.uint8)
    keys = np.zeros(n, np.uint8)
    total, count = np.zeros(2 * WIDTH), np.zeros(2 * WIDTH)
    old, new = np.zeros(WIDTH), np.zeros(WIDTH)
    remap = np.zeros(2 * WIDTH, np.uint8)
    change_r, change_f = np.zeros(2 * WIDTH), np.zeros(2 * WIDTH)
    precision, score, rows = np.zeros(WIDTH), np.zeros(WIDTH), np.zeros(WIDTH)
    tau_sum = np.zeros(n)
    latent = np.zeros(n)
    leaf_ids, twigs = np.empty(SLOTS, np.int64), np.empty(SLOTS, np.int64)
    chance = np.zeros((2, p))
    used_in = np.zeros((2, p))
    concentration = np.ones(2)
    for f in range(2):
        # A column of one bin has no cut: no chance, unless there is no other.
        cumulated = 0.0
        for j in range(first[f]):
            cumulated += levels[j] > 1
            chance[f, j] = cumulated
        for j in range(first[f]):
            chance[f, j] = chance[f, j] / cumulated if cumulated > 0 else (j + 1.0) / first[f]
    code = np.array([-0.5, 0.5])
    variance = spread.copy()
    auxiliary = np.ones(2)
    intercept, shift = 0.0, 0.0
    residual = y.copy()
    noise = 1.0 if binary else noise_scale
    if binary:
        for i in range(n):
            residual[i] = 0.0
    sweeps = warm + draws * thin
    trace = np.zeros((sweeps, 3))
    level = np.zeros((draws, 5))
    constants = np.zeros((draws, 2))
    root_starts = np.zeros((2, draws + 1), np.int64)
    shape_counts = np.zeros((2, SLOTS))
    roots = [np.empty(64, np.int64), np.empty(64, np.int64)]
    out_feature = [np.empty(64, np.int16), np.empty(64, np.int16)]
    out_cut = [np.empty(64, np.uint8), np.empty(64, np.uint8)]
    out_skip = [np.empty(64, np.uint8), np.empty(64, np.uint8)]
    out_value = [np.empty(64, np.float32), np.empty(64, np.float32)]
    root_used, node_used = np.zeros(2, np.int64), np.zeros(2, np.int64)
    stack = np.empty(SLOTS, np.int64)
    place = np.empty(SLOTS, np.int64)

    for sweep in range(sweeps):
        if binary:
            for i in range(n):
                centre = latent[i] - residual[i]
                residual[i] = _above(rng, -centre) if y[i] > 0.5 else -_above(rng, centre)
                latent[i] = centre + residual[i]
        for k in range(many):
            f = 0 if k < trees[0] else 1
            w0, w1 = (1.0, 1.0) if f == 0 else (code[0], code[1])
            v = variance[f]
            leaves, nogs = 0, 0
            for s in range(SLOTS):
                if left[k, s] == LEAF:
                    leaf_ids[leaves] = s
                    leaves += 1
                elif left[k, s] >= 0 and left[k, left[k, s]] == LEAF and left[k, right[k, s]] == LEAF:
                    twigs[nogs] = s
                    nogs += 1
            # What is proposed does not look at the outcome, so that one pass over the rows gives all sums.
            u = rng.random()
            mode, node, column, where = 0, 0, 0, 0
            pruning = False
            if leaves == 1 or u < GROW:
                node = leaf_ids[int(rng.random() * leaves)]
                mode = 1 if 2 * leaves + 1 <= SLOTS else 0
            elif u < GROW + PRUNE:
                node = twigs[int(rng.random() * nogs)]
                pruning = True
            else:
                node = twigs[int(rng.random() * nogs)]
                mode = 2
            if mode > 0:
                u = rng.random()
                column = min(np.searchsorted(chance[f, : first[f]], u, side="right"), first[f] - 1)
                low, high = 0, levels[column] - 2
                child = node
                while parent[k, child] >= 0:
                    up = parent[k, child]
                    if feature[k, up] == column:
                        if left[k, up] == child:
                            high = min(high, cut[k, up] - 1)
                        else:
                            low = max(low, cut[k, up] + 1)
                    child = up
                if high < low:
                    mode = 0
                else:
                    where = low + int(rng.random() * (high - low + 1))
            a, b = node, 0
            if mode == 2:
                a, b = left[k, node], right[k, node]
            _tally(nodes[k], bins[column], mode, a, b, where, residual, arm, keys, total, count)
            for s in range(WIDTH):
                remap[s] = s
                remap[WIDTH + s] = s
                old[s] = mean[k, s] if s < SLOTS and left[k, s] == LEAF else 0.0
            if mode == 1:
                old[SLOTS] = mean[k, node]
            elif mode == 2:
                old[SLOTS], old[SLOTS + 1] = mean[k, a], mean[k, b]
            for s in range(WIDTH):
                precision[s] = w0 * w0 * count[s] + w1 * w1 * count[WIDTH + s]
                score[s] = w0 * total[s] + w1 * total[WIDTH + s] + old[s] * precision[s]
                rows[s] = count[s] + count[WIDTH + s]
                if prior_only:
                    precision[s], score[s] = 0.0, 0.0
            accepted = False
            d = depth[k, node]
            here = split[f] * (1.0 + d) ** -decay[f]
            below = split[f] * (2.0 + d) ** -decay[f]
            odds = math.log(here) + 2.0 * math.log(1.0 - below) - math.log(1.0 - here)
            if mode == 1:
                if rows[node] >= min_rows and rows[SLOTS] >= min_rows:
                    gain = _evidence(precision[node], score[node], noise, v)
                    gain += _evidence(precision[SLOTS], score[SLOTS], noise, v)
                    gain -= _evidence(precision[node] + precision[SLOTS], score[node] + score[SLOTS], noise, v)
                    up = parent[k, node]
                    lost = 0
                    if up >= 0 and left[k, left[k, up]] == LEAF and left[k, right[k, up]] == LEAF:
                        lost = 1
                    forth = math.log(1.0 if leaves == 1 else GROW) - math.log(leaves)
                    back = math.log(PRUNE) - math.log(nogs - lost + 1)
                    accepted = math.log(rng.random()) < gain + odds + back - forth
                if accepted:
                    free = 0
                    while left[k, free] != FREE:
                        free += 1
                    a = free
                    free += 1
                    while left[k, free] != FREE:
                        free += 1
                    b = free
                    left[k, node], right[k, node] = a, b
                    feature[k, node], cut[k, node] = column, where
                    for s in (a, b):
                        left[k, s], right[k, s] = LEAF, LEAF
                        parent[k, s], depth[k, s] = node, d + 1
                    used_in[f, column] += 1.0
                    for offset in (0, WIDTH):
                        remap[offset + node], remap[offset + SLOTS] = a, b
                else:
                    for offset in (0, WIDTH):
                        remap[offset + SLOTS] = node
            elif mode == 2:
                keep_l, keep_r = precision[a] + precision[SLOTS], precision[b] + precision[SLOTS + 1]
                turn_l, turn_r = precision[a] + precision[SLOTS + 1], precision[b] + precision[SLOTS]
                if rows[a] + rows[SLOTS + 1] >= min_rows and rows[b] + rows[SLOTS] >= min_rows:
                    gain = _evidence(turn_l, score[a] + score[SLOTS + 1], noise, v)
                    gain += _evidence(turn_r, score[b] + score[SLOTS], noise, v)
                    gain -= _evidence(keep_l, score[a] + score[SLOTS], noise, v)
                    gain -= _evidence(keep_r, score[b] + score[SLOTS + 1], noise, v)
                    accepted = math.log(rng.random()) < gain
                if accepted:
                    used_in[f, feature[k, node]] -= 1.0
                    used_in[f, column] += 1.0
                    feature[k, node], cut[k, node] = column, where
                for offset in (0, WIDTH):
                    remap[offset + SLOTS] = b if accepted else a
                    remap[offset + SLOTS + 1] = a if accepted else b
            elif pruning:
                a, b = left[k, node], right[k, node]
                gain = _evidence(precision[a] + precision[b], score[a] + score[b], noise, v)
                gain -= _evidence(precision[a], score[a], noise, v) + _evidence(precision[b], score[b], noise, v)
                forth = math.log(PRUNE) - math.log(nogs)
                back = math.log(1.0 if leaves == 2 else GROW) - math.log(leaves - 1)
                accepted = math.log(rng.random()) < gain - odds + back - forth
                if accepted:
                    left[k, node] = LEAF
                    left[k, a], left[k, b] = FREE, FREE
                    used_in[f, feature[k, node]] -= 1.0
                    for offset in (0, WIDTH):
                        remap[offset + a], remap[offset + b] = node, node
            # Sums of the leaves of the tree as it is now.
            for s in range(WIDTH):
                new[s] = 0.0
            for s in range(WIDTH):
                to = remap[s]
                if to != s:
                    precision[to] += precision[s]
                    score[to] += score[s]
                    precision[s], score[s] = 0.0, 0.0
            for s in range(SLOTS):
                if left[k, s] == LEAF:
                    a_post = precision[s] / noise + 1.0 / v
                    mean[k, s] = (score[s] / noise) / a_post + rng.standard_normal() / math.sqrt(a_post)
            for s in range(WIDTH):
                gap = mean[k, remap[s]] - old[s] if remap[s] < SLOTS else 0.0
                change_f[s], change_f[WIDTH + s] = gap, gap
                change_r[s], change_r[WIDTH + s] = -w0 * gap, -w1 * gap
            if f == 0:
                for i in range(n):
                    residual[i] += change_r[keys[i]]
            else:
                for i in range(n):
                    residual[i] += change_r[keys[i]]
                    tau_sum[i] += change_f[keys[i]]
            if accepted:
                for i in range(n):
                    nodes[k, i] = remap[keys[i]]

        for f in range(2):
            if trees[f] == 0:
                continue
            if adapt[f]:
                squares, leaves = 0.0, 0
                start = 0 if f == 0 else trees[0]
                for k in range(start, start + trees[f]):
                    for s in range(SLOTS):
                        if left[k, s] == LEAF:
                            squares += mean[k, s] ** 2
                            leaves += 1
                variance[f] = (1.0 / auxiliary[f] + 0.5 * squares) / rng.standard_gamma(0.5 * (leaves + 1))
                auxiliary[f] = (1.0 / variance[f] + 1.0 / spread[f]) / rng.standard_gamma(1.0)
            if sparse and sweep >= warm // 4:
                q = first[f]
                # The concentration is drawn on a grid; its prior is Beta(1/2, 1) of a / (a + q).
                run = 0.0
                logs = 0.0
                for j in range(q):
                    shape = concentration[f] / q + used_in[f, j]
                    # A draw of a tiny shape underflows; the log of it does not.
                    g = math.log(rng.standard_gamma(shape + 1.0)) + math.log(rng.random()) / shape
                    chance[f, j] = g
                top = chance[f, :q].max()
                for j in range(q):
                    run += math.exp(chance[f, j] - top)
                for j in range(q):
                    logs += max(chance[f, j] - top - math.log(run), -700.0)
                cumulated = 0.0
                for j in range(q):
                    cumulated += math.exp(chance[f, j] - top) / run
                    chance[f, j] = cumulated
                best, grid = -np.inf, 100
                weights = np.empty(grid)
                for g_i in range(grid):
                    part = (g_i + 0.5) / grid
                    a_c = part * q / (1.0 - part)
                    weights[g_i] = math.lgamma(a_c) - q * math.lgamma(a_c / q) + a_c / q * logs - 0.5 * math.log(part)
                    best = max(best, weights[g_i])
                run = 0.0
                for g_i in range(grid):
                    weights[g_i] = math.exp(weights[g_i] - best)
                    run += weights[g_i]
                u = rng.random() * run
                g_i = 0
                while g_i < grid - 1 and u > weights[g_i]:
                    u -= weights[g_i]
                    g_i += 1
                part = (g_i + 0.5) / grid
                concentration[f] = part * q / (1.0 - part)

        # Intercept, constant part of the effect and code of the arms are drawn together.
        size = 4 if code_variance > 0 else 2
        matrix, vector = np.zeros((4, 4)), np.zeros(4)
        if not prior_only:
            for i in range(n):
                t = arm[i]
                g = residual[i] + intercept + shift * t
                h = 0.0
                if code_variance > 0:
                    h = tau_sum[i]
                    g += code[t] * h
                matrix[0, 0] += 1.0
                matrix[1, 1] += t
                vector[0] += g
                vector[1] += g * t
                matrix[2 + t, 2 + t] += h * h
                matrix[2 + t, 0] += h
                vector[2 + t] += g * h
            matrix[1, 0] = matrix[1, 1]
            matrix[3, 1] = matrix[3, 0]
            matrix /= noise
            vector /= noise
        matrix[0, 0] += 1.0 / intercept_sd**2
        matrix[1, 1] += 1.0 / effect_sd**2
        if size == 4:
            matrix[2, 2] += 1.0 / code_variance
            matrix[3, 3] += 1.0 / code_variance
        drawn = _normal_draw(rng, matrix[:size, :size], vector[:size])
        step_c = drawn[0] - intercept
        step_d = drawn[1] - shift
        step_0 = drawn[2] - code[0] if size > 2 else 0.0
        step_1 = drawn[3] - code[1] if size > 2 else 0.0
        intercept += step_c
        shift += step_d
        code[0] += step_0
        code[1] += step_1
        squares = 0.0
        for i in range(n):
            if arm[i] == 0:
                residual[i] -= step_c + step_0 * tau_sum[i]
            else:
                residual[i] -= step_c + step_d + step_1 * tau_sum[i]
            squares += residual[i] ** 2
        if not binary:
            if prior_only:
                noise = 0.5 * noise_df * noise_scale / rng.standard_gamma(0.5 * noise_df)
            else:
                noise = 0.5 * (noise_df * noise_scale + squares) / rng.standard_gamma(0.5 * (noise_df + n))

        slope = code[1] - code[0]
        run, squares = 0.0, 0.0
        for i in range(n):
            tau = shift + slope * tau_sum[i]
            if binary:
                base = latent[i] - residual[i] - tau * arm[i]
                tau = _phi(base + tau) - _phi(base)
            run += tau
            squares += tau * tau
        trace[sweep, 0] = math.sqrt(noise)
        trace[sweep, 1] = run / n
        trace[sweep, 2] = math.sqrt(max(squares / n - (run / n) ** 2, 0.0))

        if sweep >= warm and (sweep - warm) % thin == thin - 1:
            t = (sweep - warm) // thin
            level[t, 0], level[t, 1] = intercept, shift
            level[t, 2], level[t, 3], level[t, 4] = code[0], code[1], noise
            for k in range(many):
                f = 0 if k < trees[0] else 1
                leaves = 0
                for s in range(SLOTS):
                    leaves += left[k, s] == LEAF
                shape_counts[f, leaves] += 1.0
                if leaves == 1:
                    constants[t, f] += mean[k, 0]
                    continue
                used = node_used[f]
                out_feature[f] = _wider(out_feature[f], used, SLOTS)
                out_cut[f] = _wider(out_cut[f], used, SLOTS)
                out_skip[f] = _wider(out_skip[f], used, SLOTS)
                out_value[f] = _wider(out_value[f], used, SLOTS)
                roots[f] = _wider(roots[f], root_used[f], 1)
                roots[f][root_used[f]] = used
                root_used[f] += 1
                waiting = 1
                stack[0] = 0
                while waiting > 0:
                    waiting -= 1
                    s = stack[waiting]
                    place[s] = used
                    if s != 0 and right[k, parent[k, s]] == s:
                        at = place[parent[k, s]]
                        out_skip[f][at] = used - at
                    if left[k, s] == LEAF:
                        out_feature[f][used] = -1
                        out_cut[f][used] = 0
                        out_skip[f][used] = 0
                        out_value[f][used] = mean[k, s]
                    else:
                        out_feature[f][used] = feature[k, s]
                        out_cut[f][used] = cut[k, s]
                        out_value[f][used] = 0.0
                        stack[waiting] = right[k, s]
                        stack[waiting + 1] = left[k, s]
                        waiting += 2
                    used += 1
                node_used[f] = used
            root_starts[0, t + 1] = root_used[0]
            root_starts[1, t + 1] = root_used[1]

    first_forest = (
        roots[0][: root_used[0]].copy(), out_feature[0][: node_used[0]].copy(), out_cut[0][: node_used[0]].copy(),
        out_skip[0][: node_used[0]].copy(), out_value[0][: node_used[0]].copy(),
    )  # fmt: skip
    second_forest = (
        roots[1][: root_used[1]].copy(), out_feature[1][: node_used[1]].copy(), out_cut[1][: node_used[1]].copy(),
        out_skip[1][: node_used[1]].copy(), out_value[1][: node_used[1]].copy(),
    )  # fmt: skip
    return trace, level, constants, root_starts, first_forest, second_forest, shape_counts


@compiled
def add_trees(
    bins: NDArray[np.uint8], constants: NDArray[np.float64], starts: NDArray[np.int64], roots: NDArray[np.int64],
    feature: NDArray[np.int16], cut: NDArray[np.uint8], skip: NDArray[np.uint8], value: NDArray[np.float32],
    out: NDArray[np.float64],
) -> None:  # fmt: skip
    """Write the sum of the trees of every kept draw at every row.

    Parameters
    ----------
    bins : uint8 array, shape (p, n)
    constants : float array, shape (draws,)
        Sum of the trees that are one leaf.
    starts : int array, shape (draws + 1,)
        Where the roots of a draw begin.
    roots : int array
        First node of each tree; nodes lie in preorder: left child next, right child `skip` further.
    feature, cut, skip, value : arrays over nodes
    out : float array, shape (draws, n)
    """
    n = bins.shape[1]
    for t in range(constants.size):
        line = out[t]
        line[:] = constants[t]
        for k in range(starts[t], starts[t + 1]):
            root = roots[k]
            if skip[root] == 2 and feature[root + 2] < 0:
                # Most trees have one rule: a loop without branches.
                column, low, high = bins[feature[root]], np.float64(value[root + 1]), np.float64(value[root + 2])
                bound = cut[root]
                for i in range(n):
                    line[i] += high if column[i] > bound else low
            else:
                for i in range(n):
                    at = root
                    while feature[at] >= 0:
                        at += skip[at] if bins[feature[at], i] > cut[at] else 1
                    line[i] += value[at]
