"""From an odds ratio to absolute risk: the course's two values, monotone limits and the delta method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.result import Estimate
from aimed.treatment.odds_ratio import (
    odds_ratio_to_risk_difference,
    risk_differences,
    risk_under_odds_ratio,
    standardised_risk_difference,
)


def test_the_published_pair():
    assert odds_ratio_to_risk_difference(0.75, 0.5) == pytest.approx(0.15, abs=1e-15)
    assert odds_ratio_to_risk_difference(0.04, 1.2) == pytest.approx(-0.007619047619, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.01, 100))
def test_odds_are_multiplied(p, ratio):
    q = float(risk_under_odds_ratio(p, ratio))
    assert 0 <= q <= 1
    assert q * (1 - p) == pytest.approx(ratio * p * (1 - q), rel=1e-9, abs=1e-12)
    assert float(odds_ratio_to_risk_difference(p, ratio)) == pytest.approx(p - q, abs=1e-12)


def test_shapes_broadcast():
    table = odds_ratio_to_risk_difference(np.array([[0.1], [0.5]]), np.array([0.5, 1.0, 2.0]))
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table[:, 1], 0, atol=1e-15)
    assert (np.diff(table, axis=1) < 0).all()


def test_limits_come_from_the_other_end():
    ratio = Estimate(0.7, name="odds_ratio", lower=0.5, upper=1.1, se=0.1, n=100, level=0.9)
    found = risk_differences([0.0, 0.3, 1.0], ratio)
    np.testing.assert_allclose(found.lower, odds_ratio_to_risk_difference([0.0, 0.3, 1.0], 1.1))
    np.testing.assert_allclose(found.upper, odds_ratio_to_risk_difference([0.0, 0.3, 1.0], 0.5))
    assert found.level == 0.9
    assert found.lower[1] < 0 < found.upper[1]


def test_delta_agrees_with_the_ends_where_the_error_is_small():
    baseline = np.linspace(0.1, 0.6, 4000)
    ends = standardised_risk_difference(baseline, 0.7, lower=0.69, upper=0.49 / 0.69)
    delta = standardised_risk_difference(baseline, 0.7, lower=0.69, upper=0.49 / 0.69, method="delta")
    assert float(ends) == float(delta)
    sampling = np.std(odds_ratio_to_risk_difference(baseline, 0.7)) / math.sqrt(4000)
    half = (ends.upper - ends.lower) / 2
    assert (delta.upper - delta.lower) / 2 == pytest.approx(math.hypot(half, 1.96 * sampling), rel=0.01)


def test_delta_against_draws():
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(2000):
        baseline = rng.beta(2, 4, 200)
        draws.append(odds_ratio_to_risk_difference(baseline, math.exp(rng.normal(math.log(0.6), 0.2))).mean())
    ratio = 0.6
    ends = ratio * math.exp(-1.959964 * 0.2), ratio * math.exp(1.959964 * 0.2)
    found = standardised_risk_difference(rng.beta(2, 4, 200), ratio, lower=ends[0], upper=ends[1], method="delta")
    assert found.se == pytest.approx(np.std(draws), rel=0.1)


def test_patients_widen_the_delta_interval():
    baseline = np.repeat(np.linspace(0.1, 0.6, 40), 5)
    same = {"lower": 0.6999, "upper": 0.7001, "method": "delta"}
    one = standardised_risk_difference(baseline, 0.7, **same)
    clustered = standardised_risk_difference(baseline, 0.7, patient=np.repeat(np.arange(40), 5), **same)
    assert clustered.se == pytest.approx(math.sqrt(5) * one.se, rel=0.01)


@pytest.mark.parametrize(("p", "ratio"), [(1.2, 0.5), (-0.1, 0.5), (0.5, -1.0), (0.5, math.nan), (math.nan, 0.5)])
def test_refusals(p, ratio):
    with pytest.raises(DataError):
        odds_ratio_to_risk_difference(p, ratio)


def test_no_interval_and_wrong_limits_are_refused():
    with pytest.raises(NotEstimableError, match="without an interval"):
        risk_differences([0.1], 0.5)
    with pytest.raises(DataError, match="do not hold it"):
        risk_differences([0.1], 0.5, lower=0.6, upper=0.7)
    with pytest.raises(DataError, match="method"):
        standardised_risk_difference([0.1], 0.5, lower=0.4, upper=0.7, method="exact")
