"""Net benefit against its formulas and against single Kaplan-Meier curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.nonparametric import kaplan_meier
from aimed.metrics.utility import decision_curve, decision_curve_at, net_benefit, net_benefit_at

GRID = np.array([0.05, 0.2, 0.5, 0.8])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_net_benefit_follows_its_formula(seed):
    rng = np.random.default_rng(seed)
    risk = rng.integers(0, 21, 80) / 20
    y = (rng.random(80) < risk).astype(int)
    curve = decision_curve(y, risk, GRID)
    for t, found in zip(GRID, curve["model"], strict=True):
        high = risk >= t
        expected = ((y[high] == 1).sum() - (y[high] == 0).sum() * t / (1 - t)) / 80
        assert found == pytest.approx(expected, abs=1e-12)
    everybody = decision_curve(y, np.ones(80), GRID)["model"]
    assert everybody == pytest.approx(curve["all"], abs=1e-12)
    assert decision_curve(y, np.zeros(80), GRID)["model"] == pytest.approx(curve["none"])
    assert (curve["model"] <= y.mean() + 1e-12).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_net_benefit_at_a_horizon_uses_the_curve_of_those_above(seed):
    rng = np.random.default_rng(seed)
    risk, time, event = rng.random(80), rng.integers(1, 12, 80).astype(float), rng.random(80) < 0.6
    risk[0], time[0], event[0] = 0.95, 12, False
    curve = decision_curve_at(event, time, risk, 6.0, GRID)
    for t, found in zip(GRID, curve["model"], strict=True):
        high = risk >= t
        alive = float(kaplan_meier(event[high], time[high]).at(6.0))
        assert found == pytest.approx(high.mean() * ((1 - alive) - alive * t / (1 - t)), abs=1e-12)
    assert decision_curve_at(event, time, np.ones(80), 6.0, GRID)["model"] == pytest.approx(curve["all"])


def test_without_censoring_both_kinds_agree():
    rng = np.random.default_rng(2)
    risk, time = rng.random(100), rng.exponential(5, 100)
    y = time <= 4
    assert decision_curve_at(np.ones(100), time, risk, 4.0, GRID)["model"] == pytest.approx(
        decision_curve(y, risk, GRID)["model"], abs=1e-12
    )


def test_unfit_thresholds_and_unknown_survival_are_refused():
    for bad in (0.0, 1.0, -0.1):
        with pytest.raises(DataError):
            net_benefit([0, 1], [0.2, 0.8], bad)
    with pytest.raises(DataError):
        decision_curve_at([1, 0], [1, 2], [0.1, 0.2], 1.0, [0.5, 0.2])
    with pytest.raises(NotEstimableError):
        net_benefit_at([1, 0, 0], [1, 2, 9], [0.3, 0.9, 0.1], 5.0, 0.5)
