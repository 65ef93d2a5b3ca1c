"""Loops over ranked rows against the same loops in plain Python and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels import areas

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed):
    rng = np.random.default_rng(seed)
    n, patients = int(rng.integers(1, 40)), int(rng.integers(1, 12))
    levels = int(rng.choice([1, 3, 10, 10**6]))
    score = rng.integers(0, levels, n) / levels - 0.5
    score[score == 0] *= rng.choice([-1.0, 1.0])
    case = rng.random(n) < rng.choice([0.0, 0.05, 0.5, 1.0])
    code = rng.integers(0, patients, n)
    return rng, score, case, code, patients


def ranked(score, case, code):
    order = np.argsort(-score)
    kind, again = np.empty((2, score.size), np.uint8)
    areas.row_kinds(case[order], score[order], kind)
    areas.row_kinds.py_func(case[order], score[order], again)
    np.testing.assert_array_equal(kind, again)
    return code[order].astype(np.int32), kind


def all_pairs(score, case, w):
    above = (score[case][:, None] > score[~case]) + 0.5 * (score[case][:, None] == score[~case])
    pairs = w[case].sum() * w[~case].sum()
    return w[case] @ above @ w[~case] / pairs if pairs > 0 else np.nan


def steps(score, case, w):
    if not w[case].sum() > 0 or not w[~case].sum() > 0:
        return np.nan
    total = 0.0
    for value in np.unique(score[case]):
        at, over = score == value, score >= value
        if w[over].sum() > 0:
            total += w[at & case].sum() * w[over & case].sum() / w[over].sum()
    return total / w[case].sum()


@given(SEEDS)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize(("loop", "definition"), [("auroc_draws", all_pairs), ("average_precision_draws", steps)])
def test_replicates_equal_their_definition_and_plain_python(loop, definition, seed):
    rng, score, case, code, patients = draw(seed)
    counts = rng.integers(0, 3, (patients, 5)).astype(np.uint8)
    walk = ranked(score, case, code)
    found, again, weighted = np.empty(5), np.empty(5), np.empty(5)
    kernel = getattr(areas, loop)
    kernel(*walk, counts, found)
    kernel(*walk, counts.astype(float), weighted)
    with np.errstate(all="ignore"):
        kernel.py_func(*walk, counts, again)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(found, weighted)
    expected = [definition(score, case, counts[code, b].astype(float)) for b in range(5)]
    np.testing.assert_allclose(found, expected, atol=1e-13)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_kinds_mark_ties_that_hold_a_case(seed):
    _, score, case, code, _ = draw(seed)
    _, kind = ranked(score, case, code)
    order = np.argsort(-score)
    for place, row in enumerate(order):
        same = score == score[row]
        tied = same.sum() > 1 and case[same].any()
        assert bool(kind[place] & areas.CASE) == case[row]
        assert bool(kind[place] & areas.TIED) == tied
        last = place + 1 == score.size or score[order[place + 1]] != score[row]
        assert bool(kind[place] & areas.LAST) == (tied and last)


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_row_loops_equal_plain_python_and_the_replicate_of_the_same_weights(seed):
    rng, score, case, _, _ = draw(seed)
    case[: 2 if case.size > 1 else 0] = [True, False][: case.size]
    if case.all() or not case.any():
        return
    w = rng.integers(1, 4, case.size).astype(float)
    order = np.argsort(-score)
    rows = case[order], score[order], w[order]
    out, again, value = np.empty(case.size), np.empty(case.size), np.empty(1)
    area, cases, controls = areas.auroc_rows(*rows, out)
    assert (area, cases, controls) == areas.auroc_rows.py_func(*rows, again)
    np.testing.assert_array_equal(out, again)
    walk = ranked(score, case, np.arange(case.size))
    areas.auroc_draws(*walk, np.ascontiguousarray(w[:, None]), value)
    assert area / (cases * controls) == value[0]
    ap = areas.average_precision_rows(*rows, out)
    assert ap == areas.average_precision_rows.py_func(*rows, again)
    np.testing.assert_array_equal(out, again)
    areas.average_precision_draws(*walk, np.ascontiguousarray(w[:, None]), value)
    assert ap == value[0]
    width = float(rng.random())
    assert areas.partial_area_rows(*rows, width, out) == areas.partial_area_rows.py_func(*rows, width, again)
    np.testing.assert_allclose(out, again, atol=1e-15)
    assert areas.partial_area_rows(*rows, 1.0, out) == pytest.approx(area / (cases * controls), abs=1e-14)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_table_moments_are_sums_over_patients_of_products_of_cells(seed):
    rng, score, case, code, patients = draw(seed)
    w = rng.random(case.size)
    cuts = np.unique(rng.choice(score, 4))
    passed = np.searchsorted(cuts, score, side="right")
    found, again = np.empty((2, cuts.size, 4, 4))
    areas.table_moments(np.argsort(passed), passed, case, w, code, patients, found)
    areas.table_moments.py_func(np.argsort(passed), passed, case, w, code, patients, again)
    np.testing.assert_allclose(found, again, atol=1e-12)
    for t, cut in enumerate(cuts):
        up = score >= cut
        masks = (up & case, up & ~case, ~up & case, ~up & ~case)
        cells = np.column_stack([np.bincount(code, w * mask, patients) for mask in masks])
        np.testing.assert_allclose(found[t], cells.T @ cells, atol=1e-12)
