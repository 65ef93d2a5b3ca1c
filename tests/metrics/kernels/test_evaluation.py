"""The sums behind an evaluation, against numpy and the curves of drawn rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.evaluation import cell_sums, roc_and_precision, survival_by_group, value_sums
from aimed.metrics.nonparametric import kaplan_meier

GRID = np.linspace(0, 1, 21)


def draw(seed: int, n: int, patients: int, b: int = 3):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, patients, n)
    counts = rng.multinomial(patients, np.full(patients, 1 / patients), size=b).T.astype(np.uint8)
    return rng, codes, np.ascontiguousarray(counts)


def test_sums_by_cell_and_by_value():
    rng, codes, counts = draw(1, 200, 80)
    cell = rng.integers(0, 7, 200).astype(np.int32)
    values = rng.normal(size=(200, 2))
    found = cell_sums(cell, codes, counts, 7)
    for j in range(3):
        w = counts[codes, j].astype(float)
        assert found[:, j].tolist() == np.bincount(cell, w, 7).tolist()
        assert value_sums(values, codes, counts)[:, j] == pytest.approx(w @ values, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6))
def test_curves_are_those_of_the_drawn_rows(seed, n, levels):
    rng, codes, counts = draw(seed, n, n)
    y = rng.random(n) < 0.4
    risk = rng.integers(0, levels, n) / levels
    order = np.argsort(-risk)
    falling = risk[order]
    last = np.r_[falling[1:] != falling[:-1], True]
    roc, precision = roc_and_precision(codes[order], y[order], last, counts, GRID)
    for j in range(3):
        w = counts[codes, j].astype(float)
        cuts = np.unique(risk[w > 0])[::-1]
        true = np.array([0.0, *[w[(risk >= c) & y].sum() for c in cuts]])
        false = np.array([0.0, *[w[(risk >= c) & ~y].sum() for c in cuts]])
        if true[-1] == 0:
            assert np.isnan(roc[j]).all()
            assert np.isnan(precision[j]).all()
            continue
        place = [int(np.argmax(true[1:] >= r * true[-1] * (1 - 1e-12))) + 1 for r in GRID]
        assert precision[j] == pytest.approx(true[place] / (true + false)[place])
        if false[-1] == 0:
            assert np.isnan(roc[j]).all()
        else:
            assert roc[j] == pytest.approx(np.interp(GRID, false / false[-1], true / true[-1]), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 12))
def test_survival_by_group_is_kaplan_meier_of_the_drawn_rows(seed, n, distinct):
    rng, codes, counts = draw(seed, n, n)
    time = np.sort(rng.integers(1, distinct + 1, n).astype(float))
    event, group, horizon = rng.random(n) < 0.5, rng.integers(0, 4, n).astype(np.int32), distinct / 2
    last = np.r_[time[1:] != time[:-1], True]
    within, reached = np.searchsorted(time, horizon, "right"), np.searchsorted(time, horizon, "left")
    found = survival_by_group(group, event, last, codes, int(within), int(reached), 4, counts)
    for j in range(3):
        w = counts[codes, j].astype(float)

        def one(rows, w=w):
            rows = rows & (w > 0)
            if not rows.any():
                return np.nan
            return float(kaplan_meier(event[rows], time[rows], w[rows]).at(horizon))

        for k in range(4):
            for got, rows in zip(found[:3], (group == k, group >= k, group < k), strict=True):
                assert got[j, k] == pytest.approx(one(rows), abs=1e-12, nan_ok=True)
            share = w[group >= k].sum() / w.sum() if w.any() else np.nan
            assert found[3][j, k] == pytest.approx(share, nan_ok=True)
