"""Aalen-Johansen against its definition, Kaplan-Meier and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed, n=40):
    rng = np.random.default_rng(seed)
    event = rng.integers(0, 3, n)
    event[:2] = 1, 2
    return event, rng.integers(1, 12, n).astype(float), rng.random(n) + 0.2, rng.integers(0, 15, n)


def by_definition(event, time, w, at, cause):
    alive, total = 1.0, 0.0
    for u in np.unique(time[(event > 0) & (time <= at)]):
        y = w[time >= u].sum()
        total += alive * w[(time == u) & (event == cause)].sum() / y
        alive *= 1 - w[(time == u) & (event > 0)].sum() / y
    return total


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_incidence_and_its_error_follow_from_the_definition(seed):
    event, time, w, patient = draw(seed)
    found = aalen_johansen(event, time, w, patient=patient)
    assert found.value.sum(axis=1) + found.survival == pytest.approx(np.ones(found.times.size), abs=1e-12)
    for at in (3.0, 7.0, 10.0):
        for k in (1, 2):
            assert found.at([at])[0, k - 1] == pytest.approx(by_definition(event, time, w, at, k), abs=1e-12)
            influence = np.zeros(time.size)
            for i in range(time.size):
                up, down = w.copy(), w.copy()
                up[i] += 1e-5
                down[i] -= 1e-5
                slope = by_definition(event, time, up, at, k) - by_definition(event, time, down, at, k)
                influence[i] = w[i] * slope / 2e-5
            sums = np.bincount(patient, influence)
            assert found.se_at([at])[0, k - 1] == pytest.approx(np.sqrt(sums @ sums), rel=1e-6, abs=1e-8)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_one_cause_is_kaplan_meier(seed):
    event, time, _, patient = draw(seed)
    w = np.random.default_rng(seed).integers(1, 4, time.size).astype(float)
    for cluster in (None, patient):
        found = aalen_johansen(event > 0, time, w, cause=1, patient=cluster)
        curve = kaplan_meier(event > 0, time, w, patient=cluster)
        assert found.value == pytest.approx(1 - curve.survival, abs=1e-12)
        assert found.se == pytest.approx(curve.se, abs=1e-7)


def test_whole_number_weights_equal_repeated_rows():
    event, time, _, _ = draw(3)
    w = np.random.default_rng(3).integers(1, 4, time.size)
    again = np.repeat(np.arange(time.size), w)
    once, twice = aalen_johansen(event, time, w), aalen_johansen(event[again], time[again])
    assert once.value == pytest.approx(twice.value, abs=1e-12)
    assert once.se == pytest.approx(twice.se, abs=1e-9)


def test_limits_hold_the_curve_and_beyond_follow_up_nothing_is_said():
    event, time, _, _ = draw(5)
    for interval in ("log-log", "log", "plain"):
        found = aalen_johansen(event, time, interval=interval)
        seen = found.value > 0
        assert (found.lower[seen] <= found.value[seen]).all()
        assert (found.value[seen] <= found.upper[seen]).all()
    assert np.isnan(aalen_johansen([1, 0], [1, 2]).at([3])).all()
    assert aalen_johansen([1, 2], [1, 2]).at([3]).tolist() == [[0.5, 0.5]]


def test_damaged_input_is_refused():
    with pytest.raises(NotEstimableError):
        aalen_johansen([0, 0], [1, 2])
    with pytest.raises(NotEstimableError):
        aalen_johansen([1, 0], [1, 2], cause=2)
    for event, time in (([1, -1], [1, 2]), ([0.5, 1], [1, 2]), ([1, 1], [-1, 2])):
        with pytest.raises(DataError):
            aalen_johansen(event, time)


def test_interval_covers_the_true_incidence():
    rng = np.random.default_rng(11)
    hits = []
    for _ in range(400):
        rate = rng.exponential(1.0, (2, 150)) / np.array([[0.6], [0.4]])
        stop = rng.uniform(0.2, 3, 150)
        time = np.minimum(rate.min(axis=0), stop)
        found = aalen_johansen(np.where(stop < rate.min(axis=0), 0, 1 + rate.argmin(axis=0)), time, cause=1)
        lower, upper = (v[0] for v in found.interval_at([0.8]))
        hits.append(lower <= 0.6 * (1 - np.exp(-0.8)) <= upper)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_limits_before_the_first_event_of_a_cause_rest_on_the_rows_at_risk():
    event, time = [0, 1, 2, 0], [1.0, 2.0, 3.0, 4.0]
    found = aalen_johansen(event, time)
    assert found.lower[:2, 1].tolist() == [0.0, 0.0]
    assert found.upper[:2, 1] == pytest.approx([1 - 0.025**0.25, 1 - 0.025 ** (1 / 3)])
    assert found.interval_at([0.5])[1] == pytest.approx(np.full((1, 2), 1 - 0.025**0.25))
    assert np.isnan(aalen_johansen(event, time, interval="plain").upper[0, 0])
    two = aalen_johansen(event, time, patient=[0, 0, 1, 1], cause=2)
    assert two.upper[0] == pytest.approx(1 - 0.025**0.5)
