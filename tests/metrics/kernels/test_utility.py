"""The loops behind net benefit against plain numpy and against themselves without compilation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels import utility as loops


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_bins_are_a_search_in_the_cuts(seed, k):
    rng = np.random.default_rng(seed)
    cuts = np.unique(rng.integers(0, 50, k) / 50.0)
    values = rng.integers(0, 51, 60) / 50.0
    out = np.empty(60, dtype=np.int32)
    loops.bin_rows(values, cuts, out)
    assert (out == np.searchsorted(cuts, values, side="right")).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_patient_moments_are_sums_over_patients_at_each_threshold(seed):
    rng = np.random.default_rng(seed)
    n, k, patients = 40, 6, 9
    ends = np.sort(rng.integers(0, k + 1, (n, 2)), axis=1).astype(np.int32)
    lo, hi = np.ascontiguousarray(ends[:, 0]), np.ascontiguousarray(ends[:, 1])
    label = rng.integers(0, 4, n).astype(np.uint8)
    w, codes = rng.random(n), rng.integers(0, patients, n)
    order = loops.endpoint_order(lo, hi, codes, k + 1, patients)
    assert sorted(order) == list(range(2 * n))
    assert (np.diff(codes[order >> 1]) >= 0).all()
    found, totals = np.zeros((7, k + 1)), np.zeros(3)
    loops.patient_moments(lo, hi, label, w, codes, order, patients, found, totals)
    found = np.cumsum(found, axis=1)[:, :k]

    sign = np.where(label >= 2, -1.0, 1.0)
    case = label % 2 == 1
    u1, u0 = (np.bincount(codes, weights=w * c, minlength=patients) for c in (case, ~case))
    assert totals == pytest.approx([u1 @ u1, u0 @ u0, u1 @ u0])
    for j in range(k):
        active = w * sign * ((lo <= j) & (j < hi))
        a1, a0 = (np.bincount(codes, weights=active * c, minlength=patients) for c in (case, ~case))
        expected = [a1 @ a1, a0 @ a0, a1 @ a0, a1 @ u1, a1 @ u0, a0 @ u1, a0 @ u0]
        assert found[:, j] == pytest.approx(expected, abs=1e-12)


def aalen_johansen(kind, time, w, horizon):
    """Incidence of kind 1 and the share free of events, straight from the definition."""
    free, risk = 1.0, 0.0
    for t in np.unique(time[(kind > 0) & (time <= horizon)]):
        n = w[time >= t].sum()
        if n <= 0:
            continue
        at = time == t
        risk += free * w[at & (kind == 1)].sum() / n
        free *= 1 - w[at & (kind > 0)].sum() / n
    return risk, free


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 1.0]))
@settings(max_examples=40, deadline=None)
def test_incidence_and_its_influence(seed, spread):
    rng = np.random.default_rng(seed)
    n, horizon = 30, 6.0
    kind = rng.integers(0, 3, n)
    time = np.ceil(rng.random(n) * 12 * spread)
    w = rng.random(n) + 0.1
    events = np.unique(time[(kind > 0) & (time <= horizon)])
    place = np.searchsorted(events, time, side="right").astype(np.int32)
    inside = np.where(time <= horizon, kind, 0).astype(np.uint8)
    table = np.zeros((3, events.size + 1))
    loops.add_rows(np.arange(n), place, inside, w, table)
    phi = np.empty_like(table)
    risk, free = loops.incidence(table, phi)
    assert (risk, free) == pytest.approx(aalen_johansen(kind, time, w, horizon), abs=1e-12)
    assert loops.incidence.py_func(table, np.empty_like(table)) == pytest.approx((risk, free), abs=1e-15)

    out = np.empty(n)
    everyone = np.ones(n, dtype=bool)
    loops.subset_influence(everyone, place, inside, np.ones(n), phi, 0.0, 0.0, 1.0, out)
    assert w @ out == pytest.approx(0, abs=1e-12)
    for i in range(n):
        step = 1e-5
        up, down = w.copy(), w.copy()
        up[i] += step
        down[i] -= step
        slope = aalen_johansen(kind, time, up, horizon)[0] - aalen_johansen(kind, time, down, horizon)[0]
        assert out[i] == pytest.approx(slope / (2 * step), abs=1e-7)


def test_replicates_are_counted_side_by_side():
    rng = np.random.default_rng(3)
    bins, y = rng.integers(0, 4, 50).astype(np.int32), rng.integers(0, 2, 50).astype(np.uint8)
    codes, counts = rng.integers(0, 20, 50), rng.integers(0, 5, (20, 16)).astype(np.uint8)
    out = np.zeros((4, 2, 16), dtype=np.int64)
    loops.replicate_bins(bins, y, codes, counts, out)
    for b in range(16):
        expected = np.bincount(bins * 2 + y, weights=counts[codes, b], minlength=8).reshape(4, 2)
        assert (out[:, :, b] == expected).all()


def test_squares_from_tables_are_squares_of_rows():
    rng = np.random.default_rng(4)
    n, m = 60, 5
    place, kind = rng.integers(0, m + 1, n).astype(np.int32), rng.integers(0, 3, n).astype(np.uint8)
    w, member = rng.random(n), rng.random(n) < 0.4
    phi, phi_all = rng.normal(size=(3, m + 1)), rng.normal(size=(3, m + 1))
    squares, everyone = np.zeros((3, m + 1)), np.zeros((3, m + 1))
    loops.add_rows(np.flatnonzero(member), place, kind, w * w, squares)
    loops.add_rows(np.arange(n), place, kind, w * w, everyone)
    rows, change = np.empty(n), np.empty(n)
    loops.subset_influence(member, place, kind, w, phi, 0.3, -0.2, 1.5, rows)
    loops.subset_influence(np.ones(n, dtype=bool), place, kind, w, phi_all, 0.0, 0.0, 2.0, change)
    found = loops.table_squares(squares, everyone, phi, phi_all, 0.3, -0.2, 1.5, 2.0)
    assert found == pytest.approx((rows @ rows, (rows - change) @ (rows - change)))
