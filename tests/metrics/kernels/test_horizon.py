"""Loops of accuracy over time: compiled loops equal their Python source, and sums equal pairs counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.horizon import (
    auc_influence,
    auc_replicates,
    auc_sums,
    brier_replicates,
    brier_spread,
    brier_sums,
    censoring_replicates,
    censoring_spread,
    patient_squares,
)

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed):
    rng = np.random.default_rng(seed)
    n, size = int(rng.integers(2, 30)), int(rng.integers(1, 6))
    score = np.sort(rng.integers(0, max(2, n // 2), n)).astype(float)
    new = np.r_[True, score[1:] != score[:-1], True]
    kind = rng.integers(0, 3, n).astype(np.uint8)
    reach = rng.integers(0, size + 1, n)
    gone = np.where((kind > 0) & (reach < size), rng.random(n) + 0.5, 0.0)
    return rng, n, size, score, new[:-1] & new[1:], new[1:], reach, kind, gone, rng.random(n)


def close(found, expected, tolerance=1e-11):
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance, nan_ok=True)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_auc_sums_count_pairs(seed):
    rng, n, size, score, alone, last, reach, kind, gone, w = draw(seed)
    level, inverse = rng.integers(0, 2, n), rng.random((2, size)) + 1
    args = (alone, last, reach, kind, gone, w, level, inverse)
    right, cases, controls = auc_sums(*args)
    close((right, cases, controls), auc_sums.py_func(*args))
    for j in range(size):
        case = np.where((reach <= j) & (kind == 1), gone, 0.0)
        control = np.where(reach > j, w * inverse[level, j], np.where(kind == 2, gone, 0.0))
        order = (score[:, None] > score) + 0.5 * (score[:, None] == score)
        assert right[j] == pytest.approx(case @ order @ control, abs=1e-11)
        assert (cases[j], controls[j]) == pytest.approx((case.sum(), control.sum()), abs=1e-11)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_influence_loops_equal_their_source(seed):
    rng, n, size, _, alone, last, reach, kind, gone, w = draw(seed)
    level, inverse = np.zeros(n, dtype=np.int64), rng.random((1, size)) + 1
    right, cases, controls = auc_sums(alone, last, reach, kind, gone, w, level, inverse)
    area = np.divide(right, cases * controls, out=np.zeros(size), where=(cases > 0) & (controls > 0))
    target, grown = rng.permutation(n), rng.random(n)
    results = []
    for loop in (auc_influence, auc_influence.py_func):
        out, left, at = np.full((n, size), 9.0), np.zeros(size), np.zeros(size)
        loop(alone, last, reach, kind, gone, w, level, inverse, area, cases, controls, target, grown, out, left, at)
        results.append((out, left, at))
    close(*results)
    out, left, at = results[0]
    assert out.sum(axis=0) == pytest.approx(np.zeros(size), abs=1e-9)
    known = (cases > 0) & (controls > 0)
    still = np.array([(out[target] * (reach > j)[:, None])[:, j].sum() for j in range(size)])
    assert at[known] == pytest.approx(still[known], abs=1e-9)

    by_time = np.argsort(-reach)[::-1]
    group, u = np.unique(reach[by_time], return_inverse=True)[1], np.unique(reach).size
    rise, risk, grown_at = rng.random(u), rng.random(u), rng.random(size)
    terms = rng.random((n, size))
    spread = []
    for loop in (censoring_spread, censoring_spread.py_func):
        again = terms.copy()
        loop(again, reach[by_time], w, kind[by_time] == 0, group, rise, risk, grown_at, left, at)
        spread.append(again)
    close(spread[:1], spread[1:])

    for codes in (np.empty(0, dtype=np.int64), rng.integers(0, 4, n)):
        mix, mixed = rng.random(size), np.zeros(n)
        found = patient_squares(terms, codes, 4, mix, mixed)
        assert mixed == pytest.approx(terms @ mix)
        sums = terms
        if codes.size:
            sums = np.zeros((4, size))
            np.add.at(sums, codes, terms)
        assert found == pytest.approx((sums**2).sum(axis=0))
        assert patient_squares.py_func(terms, codes, 4, mix, np.zeros(n)) == pytest.approx(found)


@given(SEEDS, st.sampled_from([0.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_squared_errors_add_up(seed, target):
    rng, n, size, _, _, _, reach, kind, gone, w = draw(seed)
    predicted, grown = rng.random((n, size + 2)), rng.random(n)
    predicted[0, 1] = rng.choice([0.5, 1.5, np.nan])
    args = (predicted, 1, size, target, reach, kind, gone, w, grown)
    found = brier_sums(*args)
    close(found, brier_sums.py_func(*args))
    assert found[3] == ((predicted[:, 1 : 1 + size] >= 0) & (predicted[:, 1 : 1 + size] <= 1)).sum()
    predicted[0, 1] = 0.5
    gone_sum, followed, grown_sum, _ = brier_sums(*args)
    for j in range(size):
        right = np.where((reach <= j) & (kind == 1), target, 1 - target)
        e = (predicted[:, 1 + j] - right) ** 2
        assert gone_sum[j] == pytest.approx((e * gone)[reach <= j].sum(), abs=1e-12)
        assert grown_sum[j] == pytest.approx((e * gone * grown)[reach <= j].sum(), abs=1e-12)
        assert followed[j] == pytest.approx((e * w)[reach > j].sum(), abs=1e-12)

    order = np.argsort(reach)
    levels, group = np.unique(reach, return_inverse=True)
    more = (*rng.random((3, size)), order, reach, kind, gone, w, group, rng.random(size) + 1)
    steps = (rng.random(levels.size), rng.random(levels.size), *rng.random((3, size)))
    for codes in (np.empty(0, dtype=np.int64), rng.integers(0, 4, n)):
        for wide in (False, True):
            results = []
            for loop in (brier_spread, brier_spread.py_func):
                mix = np.ones(size) if wide else np.empty(0)
                mixed, keep = np.zeros(n), np.zeros((n, size) if wide else (0, 0))
                squares = loop(predicted, 1, target, *more, *steps, codes, 4, mix, mixed, keep)
                results.append((squares, mixed, keep))
            close(*results)
            if wide:
                assert results[0][1] == pytest.approx(results[0][2].sum(axis=1))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_replicate_loops_equal_their_source(seed):
    rng, n, size, _, alone, last, reach, kind, _, _ = draw(seed)
    codes = rng.integers(0, n, n)
    counts = rng.integers(0, 3, (n, 4)).astype(np.uint8)
    group = reach.copy()
    order = np.argsort(group)
    args = (order, group, kind == 0, codes, counts, size)
    left = censoring_replicates(*args)
    assert left == pytest.approx(censoring_replicates.py_func(*args))
    assert (np.diff(left, axis=0) <= 1e-15).all()
    at = left[1:]
    ends, ended = (kind == 0) & (rng.random(n) < 0.5), rng.random(at.shape) < 0.5
    args = (alone, last, reach, kind, ends, group, codes, counts, left, at, ended)
    close([auc_replicates(*args)], [auc_replicates.py_func(*args)])
    args = (rng.random((n, size)), 0, 0.0, reach, reach, kind, ends, group, codes, counts, left, at, ended)
    close([brier_replicates(*args)], [brier_replicates.py_func(*args)])
