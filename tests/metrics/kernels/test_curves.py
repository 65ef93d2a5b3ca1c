"""Loops behind the curves: the compiled loop, its Python source and a definition written out agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.curves import cause_table, log_rank_sums, place_rows, risk_table, sums_over_patients

SEEDS = st.integers(0, 2**32 - 1)
NOBODY = np.empty(0, dtype=np.int64)


def draw(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    time = rng.integers(0, 9, n).astype(float)
    return rng, n, time, rng.integers(0, 3, n), rng.integers(0, 4, n).astype(float)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_risk_tables_count_who_is_there(seed):
    rng, n, time, cause, w = draw(seed)
    entry = time - rng.integers(1, 4, n)
    order, late = np.argsort(time), np.argsort(entry)
    for first in (True, False):
        args = (order, time, cause > 0, w, NOBODY if first else late, np.empty(0) if first else entry)
        times, deaths, at_risk = risk_table(*args)
        for found, again in zip((times, deaths, at_risk), risk_table.py_func(*args), strict=True):
            assert (found == again).all()
        assert (times == np.unique(time)).all()
        for u, d, y in zip(times, deaths, at_risk, strict=True):
            assert d == w[(time == u) & (cause > 0)].sum()
            assert y == w[(time >= u) & (first | (entry < u))].sum()
    place = place_rows(order, time)
    assert (times[place] == time).all()
    assert (place == place_rows.py_func(order, time)).all()
    args = (order, time, cause, w, 2, times.size)
    found = cause_table(*args)
    for one, again in zip(found, cause_table.py_func(*args), strict=True):
        assert (one == again).all()
    for j, u in enumerate(times):
        assert found[1][j].tolist() == [w[(time == u) & (cause == k)].sum() for k in (1, 2)]
        assert found[2][j] == w[time >= u].sum()


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_sums_over_patients_equal_the_matrix_of_rows_and_times(seed):
    rng, n, time, kind, w = draw(seed)
    entry = time - rng.integers(1, 4, n)
    order, late = np.argsort(time), np.argsort(entry)
    times, place = np.unique(time), place_rows(order, time)
    u = times.size
    entered = np.searchsorted(times, entry, side="right").astype(np.int64)
    codes = rng.integers(0, 5, n)
    a, b, curve = rng.random((3, u))
    step_a, step_b = rng.random((2, 3, u))
    for truncated in (False, True):
        rows = np.zeros((n, u))
        for i in range(n):
            for j in range(u):
                if truncated and j < entered[i]:
                    continue
                last = min(j, place[i])
                x, y = a[last], b[last]
                if truncated and entered[i] > 0:
                    x, y = x - a[entered[i] - 1], y - b[entered[i] - 1]
                if j >= place[i]:
                    x, y = x + step_a[kind[i], place[i]], y + step_b[kind[i], place[i]]
                rows[i, j] = w[i] * (x + curve[j] * y)
        sums = np.zeros((5, u))
        np.add.at(sums, codes, rows)
        args = (
            order, place, kind, w, codes, 5, late if truncated else NOBODY, entered if truncated else NOBODY,
            a, b, curve, step_a, step_b,
        )  # fmt: skip
        assert sums_over_patients(*args) == pytest.approx((sums**2).sum(axis=0), rel=1e-9, abs=1e-9)
        assert sums_over_patients(*args) == pytest.approx(sums_over_patients.py_func(*args), rel=1e-12, abs=1e-12)


@given(SEEDS, st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_log_rank_sums_equal_a_table_a_time(seed, kind):
    rng, n, time, cause, _ = draw(seed)
    event, group, stratum = cause > 0, rng.integers(0, 3, n), rng.integers(0, 2, n)
    observed, expected, covariance = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    for s in (0, 1):
        left, peto = 1.0, 1.0
        for u in np.unique(time[(stratum == s) & event]):
            y = np.array([((time >= u) & (group == k) & (stratum == s)).sum() for k in range(3)], float)
            d = np.array([((time == u) & event & (group == k) & (stratum == s)).sum() for k in range(3)], float)
            peto *= 1 - d.sum() / (y.sum() + 1)
            w = (1.0, y.sum(), np.sqrt(y.sum()), peto, left**0.5 * (1 - left) ** 2)[kind]
            left *= 1 - d.sum() / y.sum()
            share = y / y.sum()
            observed += w * d
            expected += w * d.sum() * share
            if y.sum() > 1:
                factor = w**2 * d.sum() * (y.sum() - d.sum()) / (y.sum() - 1)
                covariance += factor * (np.diag(share) - np.outer(share, share))
    args = (np.lexsort((time, stratum)), stratum, time, event, group, 3, kind, 0.5, 2.0)
    for found, again, want in zip(
        log_rank_sums(*args), log_rank_sums.py_func(*args), (observed, expected, covariance), strict=True
    ):
        assert found == pytest.approx(want, abs=1e-9)
        assert again == pytest.approx(want, abs=1e-9)
