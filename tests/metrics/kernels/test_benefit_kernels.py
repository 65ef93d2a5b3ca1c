"""Loops of the benefit measures against slow definitions written out in numpy or plain Python."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from aimed.metrics.benefit import _python_sample
from aimed.metrics.kernels.benefit import (
    local_influence,
    local_quadratic,
    nearest_rows,
    nearest_values,
    pair_concordance,
    rank_replicates,
    targeting_sums,
)

quick = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 10**6)


def brute_concordance(total, observed, weights=None):
    w = np.ones(total.size) if weights is None else weights
    higher = observed[:, None] > observed[None, :]
    gap = total[:, None] - total[None, :]
    both = w[:, None] * w[None, :] * higher
    return float((both * ((gap > 0) + 0.5 * (gap == 0))).sum()), float(both.sum())


def some_pairs(seed, m, levels, rare=0.3):
    rng = np.random.default_rng(seed)
    total = np.sort(rng.integers(0, levels, m) / 7)
    observed = rng.choice(np.array([-1, 0, 1], np.int8), m, p=[rare / 2, 1 - rare, rare / 2])
    return total, observed


@quick
@given(seeds, st.integers(1, 400), st.integers(1, 400))
def test_sampling_is_pythons(seed, a, b):
    n, k = max(a, b), min(a, b)
    assert _python_sample(n, k, seed).tolist() == random.Random(seed).sample(range(n), k)


def test_sampling_is_pythons_for_large_numbers_and_for_sets():
    for n, k in ((100_000, 99_000), (100_000, 2_000), (1, 1), (22, 5), (21, 6)):
        assert _python_sample(n, k, 7).tolist() == random.Random(7).sample(range(n), k)


@quick
@given(seeds, st.integers(1, 60), st.integers(1, 80), st.sampled_from([0.02, 0.3, 1.0]))
def test_pairs_are_counted_as_by_the_definition(seed, m, levels, rare):
    total, observed = some_pairs(seed, m, levels, rare)
    psi = np.zeros(m)
    found = pair_concordance(total, observed, psi)
    assert found == brute_concordance(total, observed)
    assert pair_concordance.py_func(total, observed, np.empty(0)) == found
    if found[1] > 0:
        for k in range(m):
            step = np.zeros(m)
            step[k] = 1e-4
            up, down = (brute_concordance(total, observed, 1 + s) for s in (step, -step))
            slope = (up[0] / up[1] - down[0] / down[1]) / 2e-4 if min(up[1], down[1]) > 0 else None
            if slope is not None:
                assert psi[k] == pytest.approx(slope, abs=1e-7)
        assert abs(psi.sum()) < 1e-10


@quick
@given(seeds, st.integers(1, 30), st.integers(0, 30), st.integers(2, 400))
def test_nearest_values_is_the_greedy_match(seed, k, more, levels):
    rng = np.random.default_rng(seed)
    small = np.sort(rng.integers(0, levels, k)).astype(float)
    large = np.sort(rng.integers(0, levels, k + more)).astype(float)
    partner = nearest_values(small, large)
    assert np.unique(partner).size == k
    free = set(range(large.size))
    for i in range(k - 1, -1, -1):
        nearest = min(abs(large[j] - small[i]) for j in free)
        assert abs(large[partner[i]] - small[i]) == nearest
        assert large[partner[i]] == max(large[j] for j in free if abs(large[j] - small[i]) == nearest)
        free.remove(int(partner[i]))


@quick
@given(seeds, st.integers(1, 30), st.integers(0, 30), st.integers(1, 4))
def test_nearest_rows_is_the_greedy_match(seed, k, more, p):
    rng = np.random.default_rng(seed)
    small, large = rng.normal(size=(k, p)), rng.normal(size=(k + more, p))
    large = large[np.argsort(large[:, 0])]
    turn = rng.permutation(k)
    partner = nearest_rows(small, large, turn)
    free = list(range(large.shape[0]))
    for i in turn:
        j = free[int(np.argmin(((large[free] - small[i]) ** 2).sum(axis=1)))]
        assert partner[i] == j
        free.remove(j)


def scramble(z):
    mask = 2**64 - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def brute_rank(arms, counts, seed):
    """Expand the rows drawn, sample the larger arm down one by one, pair by rank."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15
    state = scramble(seed)
    for p, times in enumerate(counts.tolist()):
        state = (state + scramble(((p + 1) * golden) & mask) * times) & mask
    m = min(int(counts[codes].sum()) for _, _, codes in arms)
    chosen = []
    for _, _, codes in arms:
        rows = np.repeat(np.arange(codes.size), counts[codes])
        own, kept = state, []
        for left, row in zip(range(rows.size, 0, -1), rows, strict=True):
            need = m - len(kept)
            if need < left:
                own = (own + golden) & mask
                if (scramble(own) >> 11) / 2**53 * left >= need:
                    continue
            kept.append(row)
        chosen.append(kept[:m])
    total = arms[0][0][chosen[0]] + arms[1][0][chosen[1]]
    right, usable = brute_concordance(total, arms[0][1][chosen[0]] - arms[1][1][chosen[1]])
    return right / usable if usable else np.nan


@quick
@given(seeds, st.integers(1, 25), st.integers(1, 25), st.integers(1, 30), st.integers(0, 2**63))
def test_rank_replicates_match_anew(seed, k_c, k_t, levels, start):
    rng = np.random.default_rng(seed)
    patients = 12
    arms = [
        (np.sort(rng.integers(0, levels, k) / 3), rng.integers(0, 2, k).astype(np.int8), rng.integers(0, patients, k))
        for k in (k_c, k_t)
    ]
    counts = rng.integers(0, 4, (patients, 5)).astype(np.uint8)
    out = np.empty(5)
    rank_replicates(*arms[0], *arms[1], counts, np.uint64(start), out)
    expected = [brute_rank(arms, column, start) for column in counts.T]
    np.testing.assert_array_equal(out, expected)


def test_sampling_down_takes_each_subset_equally_often():
    # Two of four untreated rows stay: the six pairs of rows give six values of C when summed over outcome patterns.
    control, treated = np.arange(4.0), np.array([0.0, 10.0])
    patients = 3000
    hits = np.zeros(4)
    for row in range(4):
        bad = np.zeros(4, np.int8)
        bad[row] = 1
        out = np.empty(16)
        counts = np.ones((patients, 16), np.uint8)
        # Patients beyond the six have no rows: they only make the draws differ.
        counts[6:] = np.random.default_rng(row).integers(0, 3, (patients - 6, 16))
        done = []
        for block in range(60):
            counts[6:] = np.roll(counts[6:], block + 1, axis=0)
            rank_replicates(
                control,
                bad,
                np.arange(4),
                treated,
                np.zeros(2, np.int8),
                np.array([4, 5]),
                counts,
                np.uint64(1),
                out,
            )
            done.append(out.copy())
        hits[row] = np.isfinite(np.concatenate(done)).mean()
    # A row is kept with chance one half; only then do two pairs differ. 960 draws: standard error 0.016.
    np.testing.assert_allclose(hits, 0.5, atol=0.065)


def weighted_local(x, y, at, q, weights):
    nearest = np.argsort(np.abs(x - at), kind="stable")[:q]
    h = np.abs(x - at)[nearest].max()
    w = weights * np.clip(1 - (np.abs(x - at) / h) ** 3, 0, None) ** 3
    design = np.column_stack([np.ones(x.size), x - at, (x - at) ** 2])
    return float(np.linalg.lstsq(design * np.sqrt(w)[:, None], y * np.sqrt(w), rcond=None)[0][0])


@quick
@given(seeds, st.integers(30, 80))
def test_local_quadratic_is_weighted_least_squares(seed, m):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.normal(size=m)), rng.normal(size=m)
    at = np.unique(rng.choice(x, 6))
    k, q = at.size, int(0.75 * m)
    fit, solve, window, width = np.empty((k, 3)), np.empty((k, 3)), np.empty((k, 2), np.int64), np.empty(k)
    local_quadratic(x, y, at, q, fit, solve, window, width)
    ones = np.ones(m)
    np.testing.assert_allclose(fit[:, 0], [weighted_local(x, y, a, q, ones) for a in at], atol=1e-8)
    psi = np.zeros(m)
    local_influence(x, y, at[0], fit[0], solve[0], int(window[0, 0]), int(window[0, 1]), width[0], 2.0, psi)
    assert abs(psi.sum()) < 1e-8
    for j in range(0, m, 7):
        step = np.zeros(m)
        step[j] = 1e-4
        up, down = (weighted_local(x, y, at[0], q, 1 + s) for s in (step, -step))
        assert psi[j] == pytest.approx(2 * (up - down) / 2e-4, abs=1e-5)


def test_local_quadratic_falls_back_where_x_has_few_values():
    x = np.repeat([0.0, 1.0], 10)
    y = np.concatenate([np.arange(10.0), np.ones(10)])
    fit, solve, window, width = np.empty((2, 3)), np.empty((2, 3)), np.empty((2, 2), np.int64), np.empty(2)
    local_quadratic(x, y, np.array([0.0, 1.0]), 5, fit, solve, window, width)
    # A window of 5 rows that all lie at the point takes all 10 of them, whatever their order.
    np.testing.assert_allclose(fit[:, 0], [4.5, 1.0])
    local_quadratic(x, y, np.array([0.4]), 20, fit[:1], solve[:1], window[:1], width[:1])
    assert fit[0, 0] == pytest.approx(4.5)  # the far value is at the edge of the window, with weight 0


@quick
@given(seeds, st.integers(2, 30), st.integers(2, 12), st.booleans())
def test_targeting_sums_are_the_integral(seed, n, levels, qini):
    rng = np.random.default_rng(seed)
    priority = np.sort(rng.integers(0, levels, n))[::-1]
    scores, weights = rng.normal(size=n), rng.integers(1, 5, n) / 2
    ends = np.append(priority[1:] != priority[:-1], True)
    counts = rng.integers(0, 3, (n, 4)).astype(np.uint8)
    counts[:, 0] = 1
    out = np.empty(4)
    targeting_sums(np.arange(n), scores, ends, weights, counts, qini, out)
    same = np.empty(4)
    targeting_sums(np.arange(n), scores, ends, weights, counts.astype(float), qini, same)
    np.testing.assert_array_equal(out, same)
    for j in range(4):
        w = weights * counts[:, j]
        levels_left = [p for p in np.unique(priority)[::-1] if w[priority == p].sum() > 0]
        if len(levels_left) < 2:
            assert np.isnan(out[j])
            continue
        effect = [np.average(scores[priority == p], weights=w[priority == p]) for p in levels_left]
        share = np.cumsum([w[priority == p].sum() for p in levels_left]) / w.sum()
        edges = np.append(0, share)
        gained = np.append(0, np.cumsum(np.diff(edges) * effect))
        mean = gained[-1]

        def curve(q, edges=edges, gained=gained, mean=mean):
            return (np.interp(q, edges, gained) / q - mean) * (q if qini else 1.0)

        expected = sum(quad(curve, a, b)[0] for a, b in pairwise(edges))
        assert out[j] == pytest.approx(expected, abs=1e-9)
