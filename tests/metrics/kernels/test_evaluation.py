"""The sums behind an evaluation, against numpy and the curves of drawn rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.evaluation import (
    cell_sums,
    incidence_by_group,
    precision_at_recall,
    roc_at_rate,
    survival_by_group,
    value_sums,
)
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
    rows = codes[order], y[order], last, counts, GRID
    roc, precision = roc_at_rate(*rows), precision_at_recall(*rows)
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


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 4), st.floats(0.5, 12))
def test_incidence_by_group_is_that_of_the_drawn_rows(seed, n, groups, horizon):
    rng, codes, counts = draw(seed, n, n)
    time = np.sort(rng.integers(1, 11, n).astype(float))
    kind = rng.integers(0, 3, n).astype(np.uint8)
    group = rng.integers(0, groups, n).astype(np.int32)
    last = np.r_[time[1:] != time[:-1], True]
    within, reached = (int(np.searchsorted(time, horizon, side=side)) for side in ("right", "left"))
    alone, above, below, share = incidence_by_group(group, kind, last, codes, within, reached, groups, counts)

    def free(rows, w):
        """One less the sum over event times of S(u-) d / n, by hand."""
        alive, had = 1.0, 0.0
        for u in np.unique(time[rows & (w > 0) & (time <= horizon)]):
            here, left = rows & (time == u), w[rows & (time >= u)].sum()
            had += alive * w[here & (kind == 1)].sum() / left
            alive *= 1 - w[here & (kind > 0)].sum() / left
        return np.nan if alive > 1e-9 and not w[rows & (time >= horizon)].any() else 1 - had

    for j in range(3):
        w = counts[codes, j].astype(float)
        for k in range(groups):
            for found, rows in ((alone, group == k), (above, group >= k), (below, group < k)):
                if w[rows].sum() > 0:
                    np.testing.assert_allclose(found[j, k], free(rows, w), atol=1e-12)
            if w.sum() > 0:
                assert share[j, k] == pytest.approx(w[group >= k].sum() / w.sum())


def test_without_other_events_incidence_is_one_less_survival():
    rng, codes, counts = draw(3, 300, 100)
    time = np.sort(rng.integers(1, 60, 300).astype(float))
    event, group = rng.random(300) < 0.5, rng.integers(0, 5, 300).astype(np.int32)
    rows = np.r_[time[1:] != time[:-1], True], codes, 200, 190, 5, counts
    for one, other in zip(
        incidence_by_group(group, event.astype(np.uint8), *rows), survival_by_group(group, event, *rows), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
