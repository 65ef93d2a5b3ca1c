"""Loops of the policy tree: against plain Python, and the same compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.treatment.kernels.policy_tree import best_root, best_stump, fill_sums


def problem(seed, n=40, p=3, wide=5):
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, wide, (n, p)).astype(np.uint8)
    return np.ascontiguousarray(bins), rng.normal(size=n), np.full(p, wide, dtype=np.int64)


def summed(bins, scores, width):
    sums, counts = np.zeros((width.size, int(width.max()))), np.zeros((width.size, int(width.max())), np.int64)
    fill_sums(bins, scores, sums, counts)
    return sums, counts


def stump(bins, scores, width, least):
    out = np.empty(2, np.int64)
    value = best_stump(*summed(bins, scores, width), width, float(scores.sum()), scores.size, least, 1e-12, out)
    return value, tuple(out)


def stump_by_force(bins, scores, least):
    best, where = max(scores.sum(), 0.0), (-1, -1)
    for j in range(bins.shape[1]):
        for b in range(int(bins.max())):
            low = bins[:, j] <= b
            if min(low.sum(), (~low).sum()) >= least and low.any() and not (bins[:, j] != b).all():
                value = max(scores[low].sum(), 0) + max(scores[~low].sum(), 0)
                if value > best + 1e-12:
                    best, where = value, (j, b)
    return best, where


def test_sums_and_rows_of_each_bin():
    bins, scores, width = problem(0)
    sums, counts = summed(bins, scores, width)
    for j in range(3):
        assert sums[j] == pytest.approx(np.bincount(bins[:, j], scores, 5))
        assert np.array_equal(counts[j], np.bincount(bins[:, j], minlength=5))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_the_best_stump(seed, least):
    bins, scores, width = problem(seed)
    value, where = stump(bins, scores, width, least)
    want, there = stump_by_force(bins, scores, least)
    assert value == pytest.approx(want)
    assert where == there


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_the_best_root_is_the_one_whose_sides_are_worth_most(seed, least):
    bins, scores, width = problem(seed)
    out = np.empty(2, np.int64)
    value = best_root(bins, scores, width, least, 1e-12, out)
    alone = stump_by_force(bins, scores, least)[0]
    best = alone
    for j in range(3):
        for b in range(4):
            low = bins[:, j] <= b
            if min(low.sum(), (~low).sum()) >= least:
                sides = [stump_by_force(bins[side], scores[side], least)[0] for side in (low, ~low)]
                best = max(best, sum(sides))
    assert value == pytest.approx(best)
    assert (out[0] < 0) == (best <= alone + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_compiled_and_plain_python_agree(seed):
    bins, scores, width = problem(seed)
    one, two = np.empty(2, np.int64), np.empty(2, np.int64)
    compiled = best_root(bins, scores, width, 3, 1e-12, one)
    assert best_root.py_func(bins, scores, width, 3, 1e-12, two) == compiled
    assert np.array_equal(one, two)
