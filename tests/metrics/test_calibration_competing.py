"""Calibration of incidences: weights that stand in for censored rows, and curves of the data's own making."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core import DataError, NotEstimableError
from aimed.metrics.calibration_competing import IncidenceRecalibration, deciles_of_incidence, incidence_by, known_by
from aimed.metrics.competing import aalen_johansen


def simulate(n, seed=0, censored=True):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    own, other = 0.02 * np.exp(0.8 * x), 0.03 * np.exp(-0.3 * x)
    when = rng.exponential(1 / (own + other))
    lost = rng.exponential(30, n) if censored else np.full(n, 1e9)
    cause = np.where(rng.random(n) < own / (own + other), 1, 2)
    event, time = np.where(when <= lost, cause, 0), np.minimum(when, lost)

    def risk(horizon):
        return own / (own + other) * (1 - np.exp(-(own + other) * horizon))

    return event, time, risk


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(5, 60), st.floats(0.5, 9.5))
def test_weighted_rows_give_the_aalen_johansen_incidence(seed, n, horizon):
    rng = np.random.default_rng(seed)
    event, time = rng.integers(0, 3, n), rng.integers(1, 11, n).astype(float)
    try:
        y, weights = known_by(event, time, horizon)
        expected = incidence_by(event, time, horizon)
    except NotEstimableError:
        return
    assert (weights @ y) / n == pytest.approx(expected, abs=1e-12)
    assert not weights[(event == 0) & (time < horizon)].any()


def test_without_censoring_every_row_counts_once():
    event, time, _ = simulate(500, censored=False)
    y, weights = known_by(event, time, 10.0)
    assert (weights == 1).all()
    assert (y == ((event == 1) & (time <= 10))).all()


def test_true_incidences_are_calibrated_and_distorted_ones_are_found():
    event, time, risk = simulate(20_000, seed=4)
    p, once = risk(15.0), np.ones((20_000, 1), dtype=np.uint8)
    grid = np.array([0.1, 0.3, 0.5])
    slope, errors, curve = IncidenceRecalibration(event, time, p, 15.0, np.arange(20_000), grid).replicate(once)
    assert slope[0] == pytest.approx(1, abs=0.06)
    assert errors[0, 0] < 0.015
    np.testing.assert_allclose(curve[0], grid, atol=0.03)
    extreme = 1 / (1 + np.exp(-2 * np.log(p / (1 - p))))
    slope, errors, _ = IncidenceRecalibration(event, time, extreme, 15.0, np.arange(20_000), grid).replicate(once)
    assert slope[0] == pytest.approx(0.5, abs=0.05)
    assert errors[0, 0] > 0.05


def test_taking_other_events_as_censored_would_not_be_calibrated():
    # One less Kaplan-Meier overstates the risk; the deciles must show it.
    event, time, risk = simulate(20_000, seed=5)
    rows = deciles_of_incidence(event, time, risk(15.0), 15.0)
    for row in rows:
        assert row["lower"] - 0.02 < row["predicted"] < row["upper"] + 0.02
        assert row["lower"] < row["observed"] < row["upper"]
    naive = incidence_by(np.where(event == 1, 1, 0), time, 15.0)
    assert naive > incidence_by(event, time, 15.0) + 0.03


def test_deciles_are_aalen_johansen_of_their_rows():
    event, time, risk = simulate(300, seed=6)
    p = risk(10.0)
    rows = deciles_of_incidence(event, time, p, 10.0, groups=3)
    order = np.argsort(p)
    first = order[: rows[0]["n"]]
    curve = aalen_johansen(event[first], time[first], cause=1)
    assert rows[0]["observed"] == pytest.approx(float(curve.at([10.0])[0]))
    assert [row["n"] for row in rows] == [100, 100, 100]


def test_nobody_followed_to_the_horizon():
    event, time = np.array([1, 0, 2]), np.array([1.0, 2.0, 1.5])
    with pytest.raises(NotEstimableError, match="no row is followed"):
        known_by(event, time, 5.0)
    with pytest.raises(NotEstimableError, match="no row is followed"):
        incidence_by(event, time, 5.0)
    found = IncidenceRecalibration(event, time, np.array([0.1, 0.2, 0.3]), 5.0, np.arange(3), np.array([0.5]))
    assert all(np.isnan(part).all() for part in found.replicate(np.ones((3, 2), dtype=np.uint8)))
    row = deciles_of_incidence(event, time, [0.2, 0.2, 0.2], 5.0, groups=1)[0]
    assert row["observed"] is None


def test_a_cause_that_never_happens_has_no_incidence():
    assert incidence_by([2, 2, 0], [1.0, 2.0, 9.0], 5.0) == 0.0


def test_bad_risks_are_refused():
    with pytest.raises(DataError):
        deciles_of_incidence([1, 2], [1.0, 2.0], [0.5, 1.5], 1.0)
