"""Numbers needed against published intervals, the sentence of an interval through infinity, and repeated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.number_needed import (
    NumberNeeded,
    number_needed_from_counts,
    number_needed_to_evaluate,
    number_needed_to_treat,
    number_needed_to_treat_survival,
    tradeoff_of_testing,
)
from aimed.metrics.result import Estimate, clustered_variance
from aimed.metrics.utility import net_benefit, net_benefit_difference


@pytest.mark.parametrize(
    ("counts", "limits"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_table_2(counts, limits):
    found = number_needed_from_counts(*counts)
    assert (found.difference.lower, found.difference.upper) == pytest.approx(limits, abs=5.1e-5)
    k, n, j, m = counts
    y, treated = np.repeat([1, 0, 1, 0], [k, n - k, j, m - j]), np.repeat([0, 1], [n, m])
    rows = number_needed_to_treat(y, treated)
    assert rows.difference.lower == found.difference.lower
    assert str(rows) == str(found)


def said(value, lower, upper):
    effect = Estimate(value, name="risk_reduction", lower=lower, upper=upper)
    return NumberNeeded(name="nnt", difference=effect, benefit="NNTB", harm="NNTH", n=0)


def test_an_interval_through_infinity_is_said_as_altman_says_it():
    both = said(0.1, -0.05, 0.25)
    assert str(both) == "NNTB 10.0 (95 % interval NNTB 4.0 to infinity to NNTH 20.0)"
    assert both.through_infinity
    assert (both.value, both.lower, both.upper) == pytest.approx((10, 4, -20))
    assert str(said(0.1, 0.05, 0.2)) == "NNTB 10.0 (95 % interval NNTB 5.0 to NNTB 20.0)"
    assert str(said(-0.1, -0.2, -0.05)) == "NNTH 10.0 (95 % interval NNTH 5.0 to NNTH 20.0)"
    assert str(said(0.1, 0.0, 0.2)) == "NNTB 10.0 (95 % interval NNTB 5.0 to infinity)"
    assert str(said(-0.1, -0.2, 0.0)) == "NNTH 10.0 (95 % interval NNTH 5.0 to infinity)"
    assert str(said(0.0, -0.1, 0.1)) == "infinity (95 % interval NNTB 10.0 to infinity to NNTH 10.0)"
    assert str(said(0.5, math.nan, math.nan)) == "NNTB 2.0"
    assert not said(0.1, 0.05, 0.2).through_infinity
    assert math.isnan(both.se)


def test_weights_and_patients_use_the_influence():
    rng = np.random.default_rng(0)
    y, arm, w = rng.integers(0, 2, 200), rng.integers(0, 2, 200), rng.random(200)
    patient = rng.integers(0, 60, 200)
    found = number_needed_to_treat(y, arm, w, patient=patient)
    assert float(found.difference) == pytest.approx(
        np.average(y[arm == 0], weights=w[arm == 0]) - np.average(y[arm == 1], weights=w[arm == 1])
    )
    psi = found.difference.influence
    assert found.difference.se**2 == pytest.approx(clustered_variance(psi, patient))
    for i in range(0, 200, 20):
        up = w.copy()
        up[i] += 1e-6
        slope = (number_needed_to_treat(y, arm, up).difference - found.difference) / 1e-6
        assert psi[i] == pytest.approx(w[i] * slope, abs=1e-6)


def test_at_a_horizon_without_censoring_it_is_the_plain_one():
    rng = np.random.default_rng(1)
    time, arm = rng.exponential(5, 300), rng.integers(0, 2, 300)
    plain = number_needed_to_treat(time <= 3, arm, np.ones(300))
    for event in (np.ones(300), np.where(time <= 3, 1, 2)):
        found = number_needed_to_treat_survival(event, time, arm, 3.0)
        assert found.value == pytest.approx(plain.value)
        assert found.difference.se == pytest.approx(plain.difference.se)
    assert found.method.startswith("Aalen-Johansen")


def test_number_needed_to_evaluate():
    y, p = [1, 0, 0, 1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.1, 0.5, 0.4]
    found = number_needed_to_evaluate(y, p, 0.5)
    assert (found.value, found.n, found.events) == (2.5, 5, 2)
    assert found.lower < 2.5 < found.upper
    grouped = number_needed_to_evaluate(y, p, 0.5, patient=[0, 1, 2, 3, 4, 5, 6])
    assert grouped.se == pytest.approx(found.se)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)
    one, two = (1 / number_needed_to_evaluate(y, p, 0.5, w).value for w in ([1] * 7, [1 + 1e-6, 1, 1, 1, 1, 1, 1]))
    assert found.influence[0] == pytest.approx((1 / two - 1 / one) / 1e-6, abs=1e-5)


def test_the_test_tradeoff_is_one_over_the_gain_in_net_benefit():
    rng = np.random.default_rng(2)
    p = rng.random(400)
    y, q = rng.random(400) < p, rng.random(400)
    curve = net_benefit(y, p, [0.2, 0.7])
    found = tradeoff_of_testing(y, p, 0.2)
    assert found.value == pytest.approx(1 / curve.difference.value[0])
    assert found.lower == pytest.approx(1 / curve.difference.upper[0])
    assert "treating all" in found.note
    found = tradeoff_of_testing(y, p, 0.7)
    assert found.value == pytest.approx(1 / curve.value[1])
    assert "treating none" in found.note
    found = tradeoff_of_testing(y, p, 0.5, q)
    assert found.value == pytest.approx(1 / net_benefit_difference(y, p, q, 0.5))
    useless = tradeoff_of_testing(y, q, 0.5, q)
    assert math.isinf(useless.value)
    assert str(useless) == "infinity"
    harmful = tradeoff_of_testing(y, q, 0.5, p)
    assert str(harmful).startswith("tests for a net true positive lost")


def test_what_is_refused():
    with pytest.raises(NotEstimableError):
        number_needed_to_treat([0, 1], [1, 1])
    with pytest.raises(NotEstimableError):
        number_needed_from_counts(0, 0, 1, 2)
    with pytest.raises(DataError):
        number_needed_from_counts(3, 2, 1, 2)
    with pytest.raises(DataError):
        number_needed_to_treat([0, 1], [1, 2])
    with pytest.raises(NotEstimableError):
        number_needed_to_evaluate([0, 1], [0.9, 0.1], 0.5)
    with pytest.raises(NotEstimableError):
        number_needed_to_treat_survival([1, 0, 0, 0], [1, 2, 9, 9], [0, 0, 1, 1], 5.0)
    with pytest.raises(NotEstimableError):
        number_needed_to_treat_survival([1, 0], [1, 9], [1, 1], 5.0)


def test_the_limits_of_the_difference_cover():
    rng = np.random.default_rng(3)
    hits = np.zeros(2)
    for _ in range(1500):
        arm = np.repeat([0, 1], 60)
        time = rng.exponential(np.where(arm == 1, 8.0, 4.0))
        stop = rng.exponential(8, 120)
        truth = math.exp(-2 / 8) - math.exp(-2 / 4)
        a = number_needed_to_treat(time <= 2, arm).difference
        b = number_needed_to_treat_survival(time <= stop, np.minimum(time, stop), arm, 2.0).difference
        hits += [a.lower <= truth <= a.upper, b.lower <= truth <= b.upper]
    assert ((hits / 1500 > 0.93) & (hits / 1500 < 0.975)).all()


def test_no_event_and_dependent_rows_give_no_interval():
    found = number_needed_to_treat([0, 0, 0, 0], [0, 1, 0, 1], patient=[1, 2, 3, 4])
    assert math.isinf(found.value)
    assert np.isnan([found.lower, found.upper, found.difference.se]).all()
    assert found.note == "no interval: no spread between rows"
    assert not found.through_infinity


def test_flagged_rows_that_all_have_the_event_give_no_interval_with_patients():
    for more in ({"patient": [1, 2, 3, 4]}, {"weights": [1, 2, 1, 1]}):
        found = number_needed_to_evaluate([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], 0.5, **more)
        assert found == 1
        assert np.isnan([found.lower, found.upper, found.se]).all()
        assert found.note == "no interval: every flagged row has the event"
    assert number_needed_to_evaluate([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], 0.5).upper > 1


def test_replicates_of_a_number_needed_are_refused_by_mark():
    assert number_needed_from_counts(5, 10, 2, 10).resampled is False
    assert tradeoff_of_testing([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.7], 0.5).resampled is False


def test_patients_of_flagged_rows_give_the_quantile_of_t():
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(9), 8)
    y, p = (rng.random(72) < 0.5).astype(int), np.where(patient < 6, rng.random(72), 0.0)
    found = number_needed_to_evaluate(y, p, 0.5, patient=patient)
    share = 1 / found
    half = 2.570581836614 * math.sqrt(6 / 5) * found.se * share**2 / (share * (1 - share))
    assert 1 / found.lower == pytest.approx(1 / (1 + math.exp(-math.log(share / (1 - share)) - half)))
