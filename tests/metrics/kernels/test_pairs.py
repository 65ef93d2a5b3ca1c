"""Pairs counted by the sweeps against pairs looked at one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from aimed.metrics.kernels import pairs as kernels


@st.composite
def lines(draw):
    """Rows in line: groups of time within strata, marks, and scores with ties; all scores distinct now and then."""
    n = draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    strata = np.sort(rng.integers(0, draw(st.integers(1, 4)), n))
    strata = np.unique(strata, return_inverse=True)[1]
    times = rng.integers(0, draw(st.sampled_from([1, 3, 200])), n)
    group = np.unique(strata * 1000 + times, return_inverse=True)[1].astype(np.int64)
    marked = rng.random(n) < draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    score = rng.permutation(n).astype(float)
    if draw(st.booleans()):
        score = np.floor(score / draw(st.sampled_from([2, 10, 100])))
    return strata, group, marked, score, rng


def prepare(strata, group, marked, score):
    size = int(group.max()) + 1
    order, starts = kernels.line_up(group, marked, size)
    groups = np.searchsorted(strata[np.unique(group, return_index=True)[1]], np.arange(strata.max() + 1), side="right")
    lined = score[order]
    by_score = np.lexsort((lined, strata[order]))
    place, ties = kernels.place_scores(lined, by_score, starts[2 * groups])
    return order, starts, groups, place, ties


def matrices(strata, group, marked, score):
    """Whether j is a later row for the anchor i, and how the scores of i and j rank."""
    later = (group[None, :] < group[:, None]) | ((group[None, :] == group[:, None]) & ~marked[None, :])
    usable = marked[:, None] & later & (strata[:, None] == strata[None, :])
    tied = score[:, None] == score[None, :]
    return usable, (score[:, None] > score[None, :]) + 0.5 * tied, tied


@settings(deadline=None, max_examples=150)
@given(lines())
def test_line_is_in_order_of_group_and_mark(line):
    strata, group, marked, score, _ = line
    order, starts, _, place, ties = prepare(strata, group, marked, score)
    key = 2 * group + marked
    assert (order == np.argsort(key, kind="stable")).all()
    assert (starts == np.searchsorted(key[order], np.arange(starts.size))).all()
    distinct = all(np.unique(score[strata == s]).size == (strata == s).sum() for s in np.unique(strata))
    assert (ties.shape[0] == 0) == distinct
    for s in np.unique(strata):
        own = np.flatnonzero(strata[order] == s)
        values = score[order][own]
        assert (np.sort(place[own]) == np.arange(own.size)).all()
        assert (values[np.argsort(place[own])] == np.sort(values)).all()
        if ties.size:
            for i, value in zip(own, values, strict=True):
                first, stop = ties[own[0] + place[i]]
                assert (first, stop) == ((values < value).sum(), (values <= value).sum())


@settings(deadline=None, max_examples=200)
@given(lines())
def test_counts_are_those_of_all_pairs(line):
    strata, group, marked, score, _ = line
    order, *prepared = prepare(strata, group, marked, score)
    usable, right, tied = matrices(strata, group, marked, score)
    both = marked[:, None] & marked[None, :] & (group[:, None] == group[None, :]) & tied
    found = kernels.count_pairs(*prepared, True)
    ranked = 2 * usable * right
    assert (found[0] == (ranked.sum(axis=0) + ranked.sum(axis=1))[order]).all()
    assert (found[1] == (usable.sum(axis=0) + usable.sum(axis=1))[order]).all()
    totals = [ranked.sum(), usable.sum(), (usable & tied).sum(), np.triu(both, 1).sum()]
    assert found[2].tolist() == totals
    short = kernels.count_pairs(*prepared, False)
    assert short[0].size == short[1].size == 0
    assert short[2].tolist() == totals


@settings(deadline=None, max_examples=200)
@given(lines(), st.booleans())
def test_weights_are_those_of_all_pairs(line, whole):
    strata, group, marked, score, rng = line
    order, *prepared = prepare(strata, group, marked, score)
    usable, right, _ = matrices(strata, group, marked, score)
    n = group.size
    draw = (lambda: rng.integers(0, 4, n).astype(float)) if whole else (lambda: rng.exponential(size=n) ** 3)
    anchor, partner = draw() * marked, draw()
    found = kernels.weigh_pairs(*prepared, anchor[order], partner[order])
    expected = np.stack(
        [
            (usable * right) @ partner * (anchor > 0),
            usable @ partner * (anchor > 0),
            anchor @ (usable * right) * (partner > 0),
            anchor @ usable * (partner > 0),
        ]
    )[:, order]
    if whole:
        assert (found == expected).all()
    else:
        scale = anchor.sum() + partner.sum()
        assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * scale)


@settings(deadline=None, max_examples=100)
@given(lines(), st.booleans())
def test_replicates_are_weighted_pairs(line, weighted):
    _, group, marked, score, rng = line
    strata = np.zeros(group.size, dtype=np.int64)
    order, starts, groups, place, ties = prepare(strata, group, marked, score)
    n, size = group.size, int(group.max()) + 1
    rank = place.astype(np.int64)
    tie = np.full(n, -1)
    if ties.size:
        rank = ties[place, 0].astype(np.int64)
        number = np.unique(rank, return_inverse=True)[1]
        tie = np.where(ties[place, 1] - ties[place, 0] > 1, number, -1)
    code = rng.integers(0, n, n)[order]
    counts = rng.poisson(1, (n, kernels.LANES)).astype(np.uint8)
    factor = rng.random((size, kernels.LANES)) if weighted else np.empty((0, kernels.LANES))
    found = kernels.replicate_pairs(starts, rank, tie, code, counts, factor)
    for b in range(kernels.LANES):
        w = counts[code, b].astype(float)
        anchor = w * marked[order] * (factor[group[order], b] if weighted else 1.0)
        out = kernels.weigh_pairs(starts, groups, place, ties, anchor, w)
        expected = 2 * anchor @ out[0], 2 * anchor @ out[1]
        assert tuple(found[:, b]) == (pytest.approx(expected, rel=1e-12) if weighted else expected)


@settings(deadline=None, max_examples=60)
@given(lines(), st.integers(0, 3))
def test_censoring_factors_are_the_product_limit(line, first):
    _, group, marked, _, rng = line
    size = int(group.max()) + 1
    order, starts = kernels.line_up(group, marked, size)
    counts = rng.poisson(1, (group.size, kernels.LANES)).astype(np.uint8)
    found = kernels.censoring_factors(starts, order, counts, min(first, size))
    assert not found[:first].any()
    w = counts.astype(float)
    left = np.ones(kernels.LANES)
    for g in range(size - 1, min(first, size) - 1, -1):
        with np.errstate(divide="ignore"):
            assert_allclose(found[g], 1 / left**2, rtol=1e-12)
        lost, after = w[(group == g) & ~marked].sum(axis=0), w[group < g].sum(axis=0)
        left = left * np.divide(after, after + lost, out=np.ones_like(left), where=after + lost > 0)


def test_many_words_and_blocks():
    rng = np.random.default_rng(3)
    n = 3000
    strata = np.repeat([0, 1], [1000, 2000])
    group = np.unique(strata * 1000 + rng.integers(0, 300, n), return_inverse=True)[1]
    marked, score = rng.random(n) < 0.4, rng.integers(0, 900, n).astype(float)
    order, *prepared = prepare(strata, group, marked, score)
    usable, right, _ = matrices(strata, group, marked, score)
    found = kernels.count_pairs(*prepared, True)
    assert (found[0] == 2 * ((usable * right).sum(axis=0) + (usable * right).sum(axis=1))[order]).all()
    ones = np.ones(n)
    four = kernels.weigh_pairs(*prepared, marked[order].astype(float), ones)
    assert (2 * (four[0] + four[2]) == found[0]).all()
