"""NRI and IDI against their definitions, changed weights and repeated samples; and that they warn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.reclassification import idi, nri
from aimed.metrics.result import clustered_variance

CUTS = [0.2, 0.5]


def rows(seed, n=60):
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 21, n) / 20, rng.integers(0, 21, n) / 20
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    return rng, y, old, new


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_definitions(seed):
    _, y, old, new = rows(seed)
    for cuts in (None, CUTS):
        up = down = None
        if cuts is None:
            up, down = new > old, new < old
        else:
            before, after = (sum((p >= c).astype(int) for c in cuts) for p in (old, new))
            up, down = after > before, after < before
        found = nri(y, old, new, cuts)
        case = y == 1
        events, others = up[case].mean() - down[case].mean(), down[~case].mean() - up[~case].mean()
        assert (found.event, found.nonevent, found.value) == pytest.approx((events, others, events + others))
    assert found.tables.sum() == 60
    for label in (0, 1):
        for i in range(3):
            for j in range(3):
                assert found.tables[label, i, j] == ((y == label) & (before == i) & (after == j)).sum()
    other = idi(y, old, new)
    slope_new, slope_old = (p[case].mean() - p[~case].mean() for p in (new, old))
    assert float(other) == pytest.approx(slope_new - slope_old)
    assert idi(y, new, old).value == pytest.approx(-other.value)


@pytest.mark.parametrize("metric", [lambda *a, **k: nri(*a, None, **k), lambda *a, **k: nri(*a, CUTS, **k), idi])
def test_influence_is_the_slope_in_the_weights_and_makes_the_error(metric):
    rng, y, old, new = rows(3)
    w, patient = rng.random(60) + 0.2, rng.integers(0, 15, 60)
    found = metric(y, old, new, weights=w)
    for i in range(60):
        up, down = w.copy(), w.copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        slope = (metric(y, old, new, weights=up).value - metric(y, old, new, weights=down).value) / 2e-5
        assert found.influence[i] == pytest.approx(w[i] * slope, abs=1e-8)
    assert found.influence == pytest.approx(found.event.influence + found.nonevent.influence)
    assert found.se**2 == pytest.approx(clustered_variance(found.influence))
    grouped = metric(y, old, new, weights=w, patient=patient)
    assert grouped.se**2 == pytest.approx(clustered_variance(found.influence, patient))
    assert "clustered by patient" in grouped.method
    twice = np.tile(np.arange(60), 2)
    halves = metric(y[twice], old[twice], new[twice], weights=np.tile(w, 2) / 2, patient=twice)
    assert (halves.value, halves.se) == pytest.approx((found.value, found.se))


def test_errors_match_the_spread_of_samples():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(500):
        x, z = rng.normal(size=(2, 250))
        y = rng.random(250) < 1 / (1 + np.exp(1 - x - 0.5 * z))
        old, new = 1 / (1 + np.exp(1 - x)), 1 / (1 + np.exp(1 - x - 0.5 * z))
        found.append([(r.value, r.se) for r in (nri(y, old, new), nri(y, old, new, CUTS), idi(y, old, new))])
    values = np.array(found)
    assert values[:, :, 1].mean(axis=0) == pytest.approx(values[:, :, 0].std(axis=0), rel=0.1)
    cover = np.abs(values[:, :, 0] - values[:, :, 0].mean(axis=0)) <= 1.96 * values[:, :, 1]
    assert ((cover.mean(axis=0) > 0.92) & (cover.mean(axis=0) < 0.98)).all()


def test_the_warning_is_carried_and_printed():
    _, y, old, new = rows(1)
    for found in (nri(y, old, new), idi(y, old, new)):
        for word in ("net benefit", "likelihood-ratio", "Hilden", "Pepe", "Kerr"):
            assert word in found.note
            assert word in str(found)


def test_what_is_refused():
    with pytest.raises(NotEstimableError):
        nri([1, 1], [0.1, 0.2], [0.2, 0.3])
    with pytest.raises(NotEstimableError):
        idi([0, 0], [0.1, 0.2], [0.2, 0.3])
    for cuts in ([0.5, 0.2], [0.0, 0.5], [0.5, 1.0], []):
        with pytest.raises(DataError):
            nri([0, 1], [0.1, 0.2], [0.2, 0.3], cuts)
    with pytest.raises(DataError):
        idi([0, 1], [0.1, 1.2], [0.2, 0.3])
    lone = idi([1, 0, 0], [0.1, 0.2, 0.3], [0.2, 0.3, 0.1])
    assert np.isnan(lone.event.se)
    assert lone.event.note


def test_parts_that_do_not_vary_have_no_interval_and_say_so():
    y, old, new = [1, 1, 0, 0], [0.4, 0.6, 0.4, 0.6], [0.6, 0.8, 0.2, 0.4]
    for found in (nri(y, old, new), idi(y, old, new), nri(y, old, old), idi(y, old, old)):
        for part in (found.estimate, found.event, found.nonevent):
            assert np.isnan([part.lower, part.upper, part.se]).all()
            assert "no interval: no spread between rows" in part.note
    for metric in (nri, idi):
        single = metric(y, old, [0.6, 0.5, 0.2, 0.7], patient=["a"] * 4)
        assert np.isnan([single.lower, single.event.upper, single.se]).all()
        assert "one unit only" in single.event.note
        alone = metric([1, 0, 0], [0.4, 0.6, 0.4], [0.6, 0.3, 0.7])
        assert np.isnan(alone.event.lower)
        assert "not valid (Kerr et al. 2011)" in alone.note


def test_few_patients_give_the_quantile_of_t():
    rng = np.random.default_rng(1)
    y, patient = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
    found = idi(y, rng.random(60), rng.random(60), patient=patient)
    half = 2.570581836614 * np.sqrt(6 / 5)
    for part in (found.estimate, found.event, found.nonevent):
        assert part.upper == pytest.approx(part.value + half * part.se)
