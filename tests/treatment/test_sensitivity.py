"""Sensitivity: published E-values, the Darfur example of sensemakr, and missing outcomes worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.result import Estimate
from aimed.treatment.nuisances import Nuisances
from aimed.treatment.sensitivity import (
    bounding_factor,
    bounding_table,
    e_value,
    missing_outcomes,
    robustness,
    robustness_value,
)


@pytest.mark.parametrize(
    ("ratio", "lower", "upper", "value", "limit"),
    [
        # VanderWeele and Ding 2017, twice; smoking and lung cancer (Ding and VanderWeele 2016).
        (3.9, 1.8, 8.7, 7.26, 3.00),
        (0.80, 0.71, 0.91, 1.81, 1.43),
        (10.73, 8.02, 14.36, 20.95, 15.52),
    ],
)
def test_published_e_values(ratio, lower, upper, value, limit):
    found = e_value(ratio, lower=lower, upper=upper)
    assert (round(found.value, 2), round(found.limit, 2)) == (value, limit)
    again = e_value(Estimate(ratio, name="risk_ratio", lower=lower, upper=upper, n=10))
    assert (again.value, again.limit) == (found.value, found.limit)
    turned = e_value(1 / ratio, lower=1 / upper, upper=1 / lower)
    assert turned.value == pytest.approx(found.value)
    assert turned.limit == pytest.approx(found.limit)


def test_e_value_explains_away_exactly():
    found = e_value(2.5)
    assert float(bounding_factor(found.value, found.value)) == pytest.approx(2.5)
    assert math.isnan(found.limit)


def test_an_interval_that_holds_1_needs_nothing():
    assert e_value(1.2, lower=0.9, upper=1.6).limit == 1
    assert e_value(0.8, lower=0.6, upper=1.0).limit == 1
    assert e_value(1.0, lower=0.9, upper=1.1).value == 1
    for measure in ("risk_ratio", "odds_ratio", "hazard_ratio"):
        assert e_value(0.4, lower=0.0, upper=2.0, measure=measure).limit == 1


def test_common_outcomes():
    # By hand from the root of the odds ratio: 1.37 and 1.08.
    found = e_value(0.86, lower=0.75, upper=0.99, measure="odds_ratio")
    assert (round(found.value, 2), round(found.limit, 2)) == (1.37, 1.08)
    rare = e_value(0.86, lower=0.75, upper=0.99, measure="odds_ratio", rare=True)
    assert rare.value == e_value(0.86).value
    h = 0.56
    by_hand = (1 - 0.5 ** math.sqrt(h)) / (1 - 0.5 ** math.sqrt(1 / h))
    assert e_value(h, measure="hazard_ratio").risk_ratio == pytest.approx(by_hand)
    assert "approximation" in e_value(h, measure="hazard_ratio").note


def test_difference():
    found = e_value(0.5, se=0.25, sd=1.0, measure="difference")
    assert found.risk_ratio == pytest.approx(math.exp(0.91 * 0.5))
    assert found.lower == pytest.approx(math.exp(0.91 * 0.5 - 1.78 * 0.25))
    assert e_value(5.0, se=2.5, sd=10.0, measure="difference").value == pytest.approx(found.value)
    with pytest.raises(DataError, match="standard deviation"):
        e_value(0.5, measure="difference")


@pytest.mark.parametrize("bad", [{"estimate": 0.0}, {"estimate": -0.2}, {"estimate": 1.5, "lower": 1.6, "upper": 2}])
def test_e_value_refuses(bad):
    with pytest.raises(DataError):
        e_value(**bad)


def test_bounding_table():
    rows = bounding_table(2.0, lower=1.5, upper=2.6, strengths=[1.0, 2.0, 3.0])
    assert len(rows) == 9
    at = {(r["treatment_ratio"], r["outcome_ratio"]): r for r in rows}
    assert at[1.0, 3.0]["value"] == 2.0
    assert at[2.0, 3.0]["factor"] == pytest.approx(6 / 4)
    assert at[3.0, 3.0]["lower"] == pytest.approx(1.5 / (9 / 5))
    assert bounding_table(0.5, strengths=[2.0])[0]["value"] == pytest.approx(0.5 * 4 / 3)
    with pytest.raises(DataError, match="below 1"):
        bounding_factor(0.5, 2)


def test_darfur():
    # Cinelli and Hazlett 2020, table 1: directly harmed, t = 4.18445, 783 df.
    assert robustness_value(4.18445, 783) == pytest.approx(0.139, abs=5e-4)
    assert robustness_value(4.18445, 783, alpha=0.05) == pytest.approx(0.076, abs=5e-4)
    assert robustness_value(1.0, 783, alpha=0.05) == 0


def test_robustness_value_undoes_the_estimate():
    t, df, se = 3.3, 120, 0.4
    rv = robustness_value(t, df)
    assert math.sqrt(rv * rv / (1 - rv)) * se * math.sqrt(df) == pytest.approx(t * se)
    half = robustness_value(t, df, q=0.5)
    assert math.sqrt(half * half / (1 - half)) * math.sqrt(df) == pytest.approx(t / 2)


def observational(n, seed, hidden=1.0):
    rng = np.random.default_rng(seed)
    X, U = rng.normal(size=(n, 2)), rng.normal(size=n)
    T = (0.8 * X[:, 0] + hidden * U + rng.normal(size=n) > 0).astype(int)
    Y = 1.0 * T + X @ [1.0, 0.3] + hidden * U + rng.normal(size=n)
    return Y, T, X, U


def test_least_squares_and_its_errors():
    Y, T, X, _ = observational(400, 1)
    found = robustness(Y, T, X)
    design = np.column_stack([T, np.ones(400), X])
    beta, *_ = np.linalg.lstsq(design, Y, rcond=None)
    assert float(found.effect) == pytest.approx(beta[0])
    rest, inverse = Y - design @ beta, np.linalg.inv(design.T @ design)
    lever = np.einsum("ij,jk,ik->i", design, inverse, design)
    hc2 = inverse @ (design.T * (rest**2 / (1 - lever))) @ design @ inverse
    assert found.effect.se == pytest.approx(math.sqrt(hc2[0, 0]))
    classical = math.sqrt(rest @ rest / 396 * inverse[0, 0])
    t = beta[0] / classical
    assert found.value == pytest.approx(robustness_value(t, 396))
    assert found.partial_r2 == pytest.approx(t * t / (t * t + 396))
    assert found.limit < found.value


def test_a_hidden_twin_of_an_observed_confounder_is_bounded_by_it():
    rng = np.random.default_rng(2)
    X, U = rng.normal(size=(5000, 2)), rng.normal(size=5000)
    T = (0.5 * X[:, 0] + 0.5 * U + rng.normal(size=5000) > 0).astype(int)
    Y = 1.0 * T + X @ [1.0, 0.3] + U + rng.normal(size=5000)
    found = robustness(Y, T, X, benchmarks=["x0"], times=[1.0])
    truth = robustness(Y, T, np.column_stack([X, U]))
    bench = found.benchmarks[0]
    assert truth.effect.lower < 1 < truth.effect.upper
    assert found.effect.lower > 1.5
    # The bound is met: the twin undoes no more than it, and most of it.
    assert 0.7 < bench.effect < float(truth.effect) + 0.05


def test_benchmark_formulas():
    # sensemakr, ovb_partial_r2_bound on Darfur: partial R2 of female .00916 (treatment) and .12464 (outcome).
    se, effect, df, r2d, r2y = 0.02325654, 0.09731582, 783, 0.00916429, 0.12464090
    moved = math.sqrt(r2y * r2d / (1 - r2d)) * se * math.sqrt(df)
    assert effect - moved == pytest.approx(0.0752, abs=5e-5)
    Y, T, X, _ = observational(600, 3)
    found = robustness(Y, T, X, names=["age", "bmi"], benchmarks={"both": [0, 1], "age": [0]}, times=[1, 2])
    assert [(b.covariate, b.times) for b in found.benchmarks] == [("both", 1), ("both", 2), ("age", 1), ("age", 2)]
    one, two = found.benchmarks[2:]
    assert two.r2_treatment == pytest.approx(2 * one.r2_treatment)
    assert two.effect < one.effect < found.effect


def test_impossible_benchmark_says_so():
    Y, T, X, _ = observational(300, 4)
    found = robustness(Y, T, X, benchmarks=["x0"], times=[50.0])
    assert "not possible" in found.benchmarks[0].note


def test_partially_linear_with_given_nuisances():
    Y, T, X, _ = observational(800, 5, hidden=0.0)
    m, e = X @ [1.0, 0.3], np.full(800, 0.5)
    nuisances = Nuisances(mu0=m, mu1=m + 1, propensity=e, fold=np.zeros(800, dtype=int), known_propensity=False)
    found = robustness(Y, T, X, nuisances=nuisances)
    t = T - e
    assert float(found.effect) == pytest.approx(t @ (Y - m - 0.5) / (t @ t))
    assert "partially linear" in found.effect.method


def test_patients_lower_the_robustness_of_the_interval():
    Y, T, X, _ = observational(200, 6)
    four = [np.repeat(v, 4, axis=0) for v in (Y, T, X)]
    naive, clustered = robustness(*four), robustness(*four, patient=np.repeat(np.arange(200), 4))
    assert clustered.value == pytest.approx(naive.value)
    assert clustered.limit < naive.limit
    assert clustered.limit == pytest.approx(robustness(Y, T, X).limit, abs=0.01)


def test_robustness_refuses():
    Y, T, X, _ = observational(50, 7)
    with pytest.raises(NotEstimableError, match="others determine"):
        robustness(Y, T, np.column_stack([X, X[:, 0]]))
    with pytest.raises(DataError, match="names"):
        robustness(Y, T, X, names=["a"])
    with pytest.raises(DataError, match="no columns"):
        robustness(Y, T, X, benchmarks=["age"])
    with pytest.raises(NotEstimableError, match="degrees of freedom"):
        robustness(Y[:5], [0, 1, 0, 1, 1], X[:5])


def gaps():
    Y = np.r_[np.repeat([1.0, 0.0, np.nan], [40, 55, 5]), np.repeat([1.0, 0.0, np.nan], [15, 75, 10])]
    return Y, np.repeat([0, 1], 100)


def test_best_and_worst_case():
    Y, T = gaps()
    found = missing_outcomes(Y, T)
    assert (found.missing_treated, found.missing_control) == (10, 5)
    assert float(found.complete) == pytest.approx(15 / 90 - 40 / 95)
    for end, treated, control in ((found.lowest, 0.0, 1.0), (found.highest, 1.0, 0.0)):
        filled = np.where(np.isnan(Y), np.where(T == 1, treated, control), Y)
        a, b = filled[T == 1].mean(), filled[T == 0].mean()
        assert float(end) == pytest.approx(a - b)
        assert end.se == pytest.approx(math.sqrt(a * (1 - a) / 100 + b * (1 - b) / 100), rel=1e-9)


def test_tipping_point_is_where_the_interval_touches_0():
    Y, T = gaps()
    found = missing_outcomes(Y, T, deltas=[0.0])
    assert found.table[0]["value"] == float(found.complete)
    assert found.tipping is None
    assert "no possible shift" in found.sentence
    Y[T == 1] = np.repeat([1.0, 0.0, np.nan], [15, 55, 30])
    found = missing_outcomes(Y, T)
    assert 0 < found.tipping_both < found.tipping
    at = missing_outcomes(Y, T, deltas=[0.0, found.tipping])
    row = next(r for r in at.table if r["delta_treated"] > 0 and r["delta_control"] == 0)
    assert row["upper"] == pytest.approx(0, abs=1e-9)
    assert "above the observed" in found.sentence


def test_continuous_outcomes_without_bounds():
    rng = np.random.default_rng(0)
    T = np.repeat([0, 1], 100)
    Y = rng.normal(size=200) + 1.0 * T
    Y[rng.random(200) < 0.2] = np.nan
    found = missing_outcomes(Y, T, better="higher")
    assert found.lowest is None
    assert found.worst is None
    assert found.tipping < 0
    assert float(found.complete) == pytest.approx(np.nanmean(Y[T == 1]) - np.nanmean(Y[T == 0]))
    bounded = missing_outcomes(Y, T, bounds=(-9.0, 9.0))
    assert bounded.lowest < found.complete < bounded.highest
    assert bounded.worst is bounded.highest
    assert bounded.best is bounded.lowest


def test_nothing_missing_and_refusals():
    Y, T = gaps()
    full = np.nan_to_num(Y)
    assert missing_outcomes(full, T).sentence == "No outcome is missing."
    assert missing_outcomes(full, T).tipping is None
    with pytest.raises(NotEstimableError, match="no treated row"):
        missing_outcomes(np.where(T == 1, np.nan, Y), T)
    with pytest.raises(DataError, match="bounds"):
        missing_outcomes(Y * 5, T, bounds=(0, 1))
    with pytest.raises(DataError, match="infinite"):
        missing_outcomes(np.where(T == 1, np.inf, Y), T)


def test_missing_outcomes_of_repeating_patients():
    Y, T = gaps()
    one = missing_outcomes(Y, T, deltas=[0.1])
    many = missing_outcomes(np.repeat(Y, 3), np.repeat(T, 3), deltas=[0.1], patient=np.repeat(np.arange(200), 3))
    assert many.complete.se == pytest.approx(one.complete.se, rel=0.01)
    assert many.highest.se == pytest.approx(one.highest.se, rel=0.01)
