"""Means and ratios over cases: the t interval where patients have one case, too few patients, clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from aimed.core.errors import DataError
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean, ratio_of_cases


def test_one_case_a_patient_is_the_t_interval():
    values = np.random.default_rng(0).normal(3, 2, 12)
    found = case_mean(values, level=0.9)
    expected = stats.t.interval(0.9, 11, values.mean(), stats.sem(values))
    assert (found.lower, found.upper) == pytest.approx(expected)
    assert float(found) == pytest.approx(values.mean())
    assert found.n == 12


def test_several_cases_of_a_patient_are_no_more_evidence_than_one():
    values = np.random.default_rng(1).normal(3, 2, 10)
    once, twice = case_mean(values), case_mean(np.repeat(values, 3), np.repeat(np.arange(10), 3))
    assert (twice.lower, twice.upper) == pytest.approx((once.lower, once.upper))
    assert twice.n == 30


def test_cases_without_a_value_are_left_out():
    values = np.array([1.0, math.nan, 2.0, 4.0, 5.0, math.nan, 6.0])
    found, plain = case_mean(values), case_mean(values[np.isfinite(values)])
    assert float(found) == float(plain)
    assert found.n == 5
    assert (found.lower, found.upper) == pytest.approx((plain.lower, plain.upper))


@pytest.mark.parametrize("patients", [1, LEAST_PATIENTS - 1])
def test_few_patients_have_no_interval_whatever_their_cases(patients):
    found = case_mean(np.arange(20.0), np.arange(20) % patients)
    assert math.isnan(found.lower)
    assert "are needed" in found.note
    assert float(found) == 9.5


def test_what_cannot_be_said():
    assert case_mean(np.full(4, np.nan)).note == "no case has a value"
    assert "the same in all cases" in case_mean(np.ones(8)).note
    with pytest.raises(DataError):
        case_mean([])
    with pytest.raises(DataError):
        case_mean([1.0, math.inf])


def test_a_ratio_agrees_with_resampling():
    rng = np.random.default_rng(2)
    below = rng.integers(1, 9, 60).astype(float)
    above = rng.binomial(below.astype(int), 0.7).astype(float)
    found = ratio_of_cases(above, below)
    rows = rng.integers(0, 60, (4000, 60))
    drawn = above[rows].sum(1) / below[rows].sum(1)
    assert float(found) == pytest.approx(above.sum() / below.sum())
    assert found.upper - found.lower == pytest.approx(np.ptp(np.quantile(drawn, [0.025, 0.975])), rel=0.08)


def test_intervals_cover():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1500):
        patient = np.repeat(np.arange(10), 2)
        values = rng.normal(0, 1, 10)[patient] + rng.normal(0, 0.5, 20)
        found = case_mean(values, patient)
        held += found.lower <= 0 <= found.upper
    assert 0.93 < held / 1500 < 0.97
