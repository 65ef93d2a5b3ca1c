"""Sample size: Riley's criteria against published values and their own formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aimed.checks.context import Context
from aimed.checks.sample_size import check, riley_binary, riley_survival
from aimed.core import Binary, DataError


@pytest.mark.parametrize(
    ("r2", "parameters", "rate", "shrinkage", "optimism"),
    [
        (0.051, 25, 0.065, 4286, 866),
        (0.065, 25, 0.065, 3335, 859),
        (0.051, 50, 0.065, 8572, 1731),
        (0.051, 25, 0.1, 4286, 731),
    ],
)
def test_survival_agrees_with_the_published_expectations_of_pmsampsize(r2, parameters, rate, shrinkage, optimism):
    # Expected values of the R package's own tests 3.1 to 3.4 (cran/pmsampsize, tests/testthat/test_surv.R), 2.07 years.
    # It rounds the events among 10,000 persons up before it takes the largest R2; so does this test.
    rounded = math.ceil(rate * 20_700 - 1e-6) / 20_700
    size = riley_survival(rounded, 2.07, 2, parameters, r2)
    assert (size.shrinkage, size.optimism, size.required) == (shrinkage, optimism, shrinkage)
    assert size.dominant == "shrinkage"
    exact = riley_survival(rate, 2.07, 2, parameters, r2)
    assert exact.shrinkage == shrinkage
    assert exact.optimism == pytest.approx(optimism, abs=1)


def test_events_per_parameter_agree_with_pmsampsize():
    assert round(riley_survival(0.065, 2.07, 2, 25, 0.051).events_per_parameter, 2) == 23.07
    assert round(riley_survival(0.1, 2.07, 2, 25, 0.051).events_per_parameter, 2) == 35.49


def test_binary_by_hand():
    # n = p / ((S - 1) ln(1 - R2/S)); R2 = 0.05 and S = 0.9 give 30 / (0.1 * 0.0571584) = 5248.6.
    size = riley_binary(0.05, 30, 0.05)
    assert size.shrinkage == 5249
    log_null = 0.05 * math.log(0.05) + 0.95 * math.log(0.95)
    assert size.max_r2_cs == pytest.approx(1 - math.exp(2 * log_null))
    assert round(size.max_r2_cs, 2) == 0.33
    assert size.mean_risk == math.ceil((1.96 / 0.05) ** 2 * 0.05 * 0.95) == 73


def test_the_default_r2_is_fifteen_percent_of_the_largest():
    size = riley_binary(0.3, 10)
    assert size.r2_cs == pytest.approx(0.15 * (1 - math.exp(2 * (0.3 * math.log(0.3) + 0.7 * math.log(0.7)))))
    assert riley_survival(0.1, 3, 2, 10).r2_cs == pytest.approx(0.15 * (1 - math.exp(0.6 * (math.log(0.3) - 1))))


@given(st.floats(0.005, 0.9), st.floats(0.5, 10), st.floats(0.5, 10))
def test_the_third_survival_criterion_is_the_smallest_that_holds(rate, follow_up, horizon):
    assume(rate * follow_up <= 1)
    n = riley_survival(rate, follow_up, horizon, 1).mean_risk

    def farthest(rows):
        error = 1.96 * math.sqrt(rate / (follow_up * rows))
        risk = 1 - math.exp(-rate * horizon)
        return max(abs(1 - math.exp(-(rate + s * error) * horizon) - risk) for s in (-1, 1))

    assert farthest(n) <= 0.05 + 1e-9
    if n > 1:
        assert farthest(n - 1) > 0.05 - 1e-9


@given(st.floats(0.01, 0.99), st.integers(1, 200))
def test_more_parameters_never_need_fewer_rows(prevalence, parameters):
    one, two = riley_binary(prevalence, parameters), riley_binary(prevalence, parameters + 1)
    assert one.required <= two.required
    assert one.required == max(one.shrinkage, one.optimism, one.mean_risk) == getattr(one, one.dominant)


@pytest.mark.parametrize(
    "call",
    [
        lambda: riley_binary(0, 5),
        lambda: riley_binary(1, 5),
        lambda: riley_binary(0.2, 0),
        lambda: riley_binary(0.05, 5, 0.5),
        lambda: riley_binary(0.05, 5, 0.0),
        lambda: riley_survival(0, 2, 2, 5),
        lambda: riley_survival(0.1, 2, -1, 5),
    ],
)
def test_impossible_inputs_are_refused(call):
    with pytest.raises(DataError):
        call()


def test_too_few_rows_warn_and_enough_are_noted(clean, split_of):
    cohort = clean(0)
    (enough,) = check(Context(cohort))
    assert enough.severity.value == "NOTE"
    # 6 numbers, sex 1 and stage 3 parameters.
    assert enough.evidence["parameters"] == 10
    (few,) = check(Context(cohort, parameters=200))
    assert few.severity.value == "WARN"
    assert few.evidence["required"]["required"] > cohort.n
    split = split_of(cohort)
    assert check(Context(cohort, split))[0].evidence["n"] == split.parts["train"].size


def test_the_horizon_is_the_largest_stated_or_the_median_time(clean):
    cohort = clean(0, "survival")
    assert check(Context(cohort, horizons=(365.0, 1095.0)))[0].evidence["horizon"] == 1095
    assert check(Context(cohort))[0].evidence["horizon"] == np.median(cohort.outcome.time)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_left_to_the_outcome_check(clean, value):
    cohort = clean(0)
    assert check(Context(replace(cohort, outcome=Binary(values=np.full(cohort.n, value))))) == []
