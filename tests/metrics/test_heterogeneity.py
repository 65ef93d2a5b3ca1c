"""Tests of heterogeneity: least squares against statsmodels, levels and power by simulation, conclusions in words."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, kstest

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.metrics.heterogeneity import (
    CONCLUSIONS,
    TESTS,
    best_linear_predictor,
    calibration_test,
    covariate_test,
    group_effects,
    heterogeneity_tests,
    series_test,
)
from aimed.metrics.targeting import aipw_scores


def scored(seed, n, strength=1.0):
    """Scores of an effect that follows the first covariate, and a prediction of it that is twice too large."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n), rng.normal(size=n)])
    effect = 0.3 + strength * X[:, 0]
    # Noise grows with a covariate: plain errors would be wrong.
    scores = effect + rng.normal(size=n) * np.exp(0.4 * X[:, 2]) * 2
    return X, scores, 2 * effect


def halves(seed, n, strength, binary):
    """One trial: a linear T-learner on one half, scores on the other."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 3)), rng.integers(0, 2, n)])
    t = rng.integers(0, 2, n)
    line = 0.6 * X[:, 0] - 0.4 * X[:, 3] + strength * t * X[:, 1]
    y = (rng.random(n) < 1 / (1 + np.exp(-line))).astype(float) if binary else line + rng.normal(size=n)
    A = np.column_stack([np.ones(n), X])
    train = np.arange(n) < n // 2
    beta = [np.linalg.lstsq(A[train & (t == k)], y[train & (t == k)], rcond=None)[0] for k in (0, 1)]
    mu0, mu1 = (A[~train] @ b for b in beta)
    scores = aipw_scores(y[~train], t[~train], mu0, mu1, 0.5, outcome="good")
    return X[~train], t[~train], y[~train], scores, mu1 - mu0


# ------------------------------------------------------------------------------------------------ against oracles


def test_the_best_linear_predictor_is_least_squares_with_hc3_errors():
    sm = pytest.importorskip("statsmodels.api")
    _, scores, predicted = scored(0, 300)
    want = sm.OLS(scores, sm.add_constant(predicted - predicted.mean())).fit(cov_type="HC3")
    found = best_linear_predictor(scores, predicted)
    assert found.value == pytest.approx(want.params[1], rel=1e-10)
    assert found.se == pytest.approx(want.bse[1], rel=1e-8)
    assert float(found.average) == pytest.approx(want.params[0], rel=1e-10)
    assert found.average.se == pytest.approx(want.bse[0], rel=1e-8)
    assert found.p_one_sided == pytest.approx(want.pvalues[1] / 2, rel=1e-6)


def test_the_calibration_test_is_that_of_grf():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=400), rng.integers(0, 2, 400)
    y = x + t * x + rng.normal(size=400)
    predicted = 0.2 + 0.7 * x
    residual = np.column_stack([(t - 0.5) * predicted.mean(), (t - 0.5) * (predicted - predicted.mean())])
    want = sm.OLS(y - 1.5 * x, residual).fit(cov_type="HC3")
    found = calibration_test(y, t, predicted, m=1.5 * x, propensity=0.5, outcome="good")
    assert found.value == pytest.approx(want.params[1], rel=1e-10)
    assert found.se == pytest.approx(want.bse[1], rel=1e-8)
    # grf gives the average over the mean prediction; its t is the same.
    assert float(found.average) == pytest.approx(want.params[0] * predicted.mean(), rel=1e-9)
    assert float(found.average) / found.average.se == pytest.approx(want.tvalues[0], rel=1e-8)
    mirrored = calibration_test(-y, t, predicted, m=-1.5 * x, propensity=0.5, outcome="harm")
    assert (mirrored.value, mirrored.se) == pytest.approx((found.value, found.se), rel=1e-12)


def test_the_test_of_equal_groups_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    _, scores, predicted = scored(2, 300, strength=0.2)
    place = np.searchsorted(np.quantile(predicted, [0.25, 0.5, 0.75]), predicted)
    dummies = (place[:, None] == np.arange(4)).astype(float)
    by_group = sm.OLS(scores, dummies).fit(cov_type="HC2", use_t=True)
    equal = by_group.f_test(np.array([[-1.0, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1]]))
    mine = group_effects(scores, predicted)
    assert mine.groups.value == pytest.approx(by_group.params, rel=1e-10)
    assert mine.groups.se == pytest.approx(by_group.bse, rel=1e-8)
    assert mine.p_equal == pytest.approx(float(equal.pvalue), rel=1e-6)
    assert mine.value == pytest.approx(by_group.params[3] - by_group.params[0], rel=1e-10)


def score_statistic(base, more, target):
    """The heteroscedastic score test written out: residuals of the null, by HC3."""
    z = more - base @ np.linalg.lstsq(base, more, rcond=None)[0]
    r = target - base @ np.linalg.lstsq(base, target, rcond=None)[0]
    part = z * (r / (1 - np.diag(base @ np.linalg.pinv(base))))[:, None]
    return (z.T @ r) @ np.linalg.solve(part.T @ part, z.T @ r)


def test_the_omnibus_tests_are_score_tests_and_agree_with_walds_where_rows_are_many():
    sm = pytest.importorskip("statsmodels.api")
    X, scores, _ = scored(2, 3000, strength=0.05)
    found = covariate_test(scores, X, draws=4999)
    assert found.statistic == pytest.approx(score_statistic(np.ones((3000, 1)), X, scores), rel=1e-8)
    fit = sm.OLS(scores, sm.add_constant(X)).fit(cov_type="HC3", use_t=True)
    assert found.p == pytest.approx(float(fit.f_test(np.eye(4)[1:]).pvalue), abs=0.02)
    assert found.p == pytest.approx(chi2.sf(found.statistic, 3), abs=0.02)
    rng = np.random.default_rng(3)
    t = rng.integers(0, 2, 3000)
    y = X[:, 0] + 0.1 * t * X[:, 0] + rng.normal(size=3000)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    basis = np.column_stack([np.ones(3000), z, z[:, [0, 2]] ** 2 - 1])
    series = series_test(y, t, X)
    null = np.column_stack([basis, t])
    assert series.statistic == pytest.approx(score_statistic(null, basis[:, 1:] * t[:, None], y), rel=1e-8)
    fits = [sm.OLS(y[t == k], basis[t == k]).fit(cov_type="HC3") for k in (0, 1)]
    gap = (fits[1].params - fits[0].params)[1:]
    wald = gap @ np.linalg.solve(sum(f.cov_params() for f in fits)[1:, 1:], gap)
    assert series.statistic == pytest.approx(wald, rel=0.1)


def test_a_rare_and_skewed_covariate_does_not_make_the_omnibus_tests_reject_too_often():
    draws, rejected = 400, np.zeros(2)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.random(400) < 0.03, np.exp(1.3 * rng.normal(size=400)), rng.normal(size=400)])
        t = rng.integers(0, 2, 400)
        y = (rng.random(400) < 0.2 + 0.5 * X[:, 0]).astype(float)
        scores = aipw_scores(y, t, propensity=0.5)
        p = [covariate_test(scores, X, draws=199).p, series_test(y, t, X, draws=199).p]
        rejected += np.array(p) < 0.05
    for count in rejected:
        assert binomtest(int(count), draws, 0.05).pvalue > 0.005, rejected


def test_many_patients_take_p_from_chi_squared():
    X, scores, _ = scored(3, 20_001, strength=0.02)
    found = covariate_test(scores, X)
    assert found.p == chi2.sf(found.statistic, 3)
    assert "chi-squared" in found.what


def test_copies_of_a_patient_tell_no_more_than_one_row():
    X, scores, predicted = scored(4, 400)
    patient = np.repeat(np.arange(400), 2)
    twice = [np.repeat(v, 2, axis=0) for v in (X, scores, predicted)]
    assert best_linear_predictor(*twice[1:], patient=patient).se == pytest.approx(
        best_linear_predictor(scores, predicted).se, rel=0.02
    )
    assert group_effects(*twice[1:], patient=patient).statistic == pytest.approx(
        group_effects(scores, predicted).statistic, rel=0.03
    )
    assert covariate_test(twice[1], twice[0], patient=patient).statistic == pytest.approx(
        covariate_test(scores, X).statistic, rel=0.05
    )


# ----------------------------------------------------------------------------------------------- level and power


def test_without_heterogeneity_p_is_even_and_the_conclusion_holds_its_level():
    draws = 200
    p = {name: [] for name in TESTS}
    evidence = 0
    for seed in range(draws):
        X, t, y, scores, predicted = halves(seed, 600, 0.0, binary=seed % 2 == 0)
        found = heterogeneity_tests(scores, predicted, covariates=X, y=y, treated=t)
        evidence += found.conclusion == CONCLUSIONS[0]
        for name in TESTS:
            p[name].append(found[name].p)
    for name, values in p.items():
        rejected = int((np.array(values) < 0.05).sum())
        assert binomtest(rejected, draws, 0.05).pvalue > 0.005, (name, rejected)
        assert kstest(values, "uniform").pvalue > 0.002, name
    assert binomtest(evidence, draws, 0.05, alternative="greater").pvalue > 0.01, evidence


def test_strong_heterogeneity_is_found():
    found = 0
    for seed in range(20):
        X, t, y, scores, predicted = halves(seed, 800, 0.8, binary=False)
        tests = heterogeneity_tests(scores, predicted, covariates=X, y=y, treated=t)
        found += tests.conclusion == CONCLUSIONS[0]
    assert found >= 19


@pytest.mark.slow
def test_on_permuted_treatment_the_conclusion_rejects_at_its_nominal_rate(shared_data):
    """The levamisole trial with its arms dealt anew: whatever differs between patients, the effect does not."""
    with open(shared_data("treatment", "levamisole_data_reconstructed.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    X = np.array([[float(row[k]) for k in ("age", "sex", "obstruct", "nodes", "node4")] for row in rows])
    y = np.array([float(row["outcome"]) for row in rows])
    treated = np.array([float(row["TRTMT"] == "True") for row in rows])
    draws, counts = 200, dict.fromkeys([*TESTS, "conclusion"], 0)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        t = rng.permutation(treated)
        train = rng.permutation(y.size) < y.size // 2
        A = np.column_stack([np.ones(y.size), X / X.std(axis=0)])
        mu0, mu1 = (A @ np.linalg.lstsq(A[train & (t == k)], y[train & (t == k)], rcond=None)[0] for k in (0.0, 1.0))
        here = ~train
        scores = aipw_scores(y[here], t[here], mu0[here], mu1[here], treated.mean(), outcome="harm")
        found = heterogeneity_tests(scores, (mu0 - mu1)[here], covariates=X[here], y=y[here], treated=t[here])
        counts["conclusion"] += found.conclusion == CONCLUSIONS[0]
        for test in found.tests:
            counts[test.name] += test.p < 0.05
    for name, count in counts.items():
        assert binomtest(count, draws, 0.05).pvalue > 0.005, (name, count)


# --------------------------------------------------------------------------------------------- words and refusals


def test_the_three_conclusions_are_reached_and_say_why():
    rng = np.random.default_rng(0)
    X, t, y, scores, predicted = halves(1, 1000, 1.0, binary=False)
    some = heterogeneity_tests(scores, predicted, covariates=X, y=y, treated=t)
    assert some.conclusion == "evidence of heterogeneity"
    assert some.words.startswith("Evidence of heterogeneity: best linear predictor p = ")
    quiet = rng.normal(size=4000)
    none = heterogeneity_tests(quiet, rng.normal(size=4000), margin=0.5)
    assert none.conclusion == "no evidence of heterogeneity"
    assert "would have been seen with a chance of 80%" in none.words
    few = heterogeneity_tests(quiet[:80], rng.normal(size=80), margin=0.5)
    assert few.conclusion == "not enough evidence to tell"
    assert "0.5 would matter" in few.words
    assert few.detectable == pytest.approx((1.959964 + 0.841621) * math.sqrt(8 * quiet[:80].var() / 80), rel=1e-5)
    # Rows enough, but what was seen may still be a difference that matters.
    x = np.linspace(-1.7, 1.7, 1000)
    noise = quiet[:1000] - np.polyval(np.polyfit(x, quiet[:1000], 1), x)
    border = heterogeneity_tests(0.05 * x + noise, x, margin=0.27)
    assert border.detectable < 0.27
    assert border.conclusion == "not enough evidence to tell"
    assert "may be as large as" in border.words
    for found in (some, none, few, border):
        assert "Decided beforehand by" in found.rule
        json.dumps(found.to_dict(), allow_nan=False)


def test_the_detectable_difference_is_seen_with_the_promised_chance():
    """Two quarters of the patients that differ by it are told apart in about 80 % of trials."""
    n, seen, draws = 800, 0, 300
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=n)
        step = heterogeneity_tests(noise, rng.normal(size=n)).detectable
        quarter = np.arange(n) % 4
        scores = noise + step * np.select([quarter == 0, quarter == 3], [-0.5, 0.5], 0.0)
        gap = group_effects(scores, quarter.astype(float))
        seen += gap.estimate.p < 0.05
    assert abs(seen / draws - 0.8) < 0.08


def test_deciding_tests_are_adjusted_among_themselves_and_the_others_decide_nothing():
    X, scores, predicted = scored(5, 200, strength=0.15)
    found = heterogeneity_tests(scores, predicted, covariates=X)
    first, second = found["best_linear_predictor"], found["covariates"]
    low = min(first.p, second.p)
    assert min(first.p_adjusted, second.p_adjusted) == pytest.approx(min(1, 2 * low))
    assert (first.decides, second.decides, found["autoc"].decides) == (True, True, False)
    alone = heterogeneity_tests(scores, predicted, covariates=X, deciding=["autoc"])
    assert alone["autoc"].p_adjusted == pytest.approx(alone["autoc"].p)


def test_one_prediction_for_all_leaves_the_tests_that_need_none():
    X, scores, _ = scored(6, 600)
    constant = heterogeneity_tests(scores, np.full(600, 0.3), covariates=X)
    assert constant.conclusion == "evidence of heterogeneity"
    assert "one predicted effect for all rows" in constant["autoc"].note
    blind = heterogeneity_tests(scores, np.full(600, 0.3))
    assert blind.conclusion == "not enough evidence to tell"
    assert "no deciding test could be made" in blind.words
    json.dumps(blind.to_dict(), allow_nan=False)


def test_one_patient_tells_nothing():
    _, scores, predicted = scored(10, 60)
    alone = heterogeneity_tests(scores, predicted, patient=np.zeros(60))
    assert alone.conclusion == "not enough evidence to tell"
    json.dumps(alone.to_dict(), allow_nan=False)


def test_predictions_that_rank_the_wrong_way_are_named():
    _, scores, predicted = scored(7, 1000)
    found = heterogeneity_tests(scores, -predicted)
    assert "the wrong way round" in found.words
    assert found["best_linear_predictor"].p > 0.99


def test_collinear_and_constant_covariates_do_not_change_the_test():
    X, scores, _ = scored(8, 300)
    wide = np.column_stack([X, X[:, 0] - 2 * X[:, 1], np.ones(300)])
    assert covariate_test(scores, wide).statistic == pytest.approx(covariate_test(scores, X).statistic, rel=1e-8)
    y, t = scores, np.arange(300) % 2
    assert series_test(y, t, wide).statistic == pytest.approx(series_test(y, t, X).statistic, rel=1e-6)


def test_a_column_that_varies_in_one_arm_only_is_left_out():
    rng = np.random.default_rng(9)
    t = np.arange(200) % 2
    X = np.column_stack([rng.normal(size=200), t * rng.normal(size=200)])
    y = rng.normal(size=200)
    assert "2 degrees of freedom" in series_test(y, t, X).what


def test_bad_input_is_refused():
    with pytest.raises(UnknownNameError, match="autoc"):
        heterogeneity_tests([1.0, 2.0], [1.0, 2.0], deciding=["autok"])
    with pytest.raises(DataError, match="no test decides"):
        heterogeneity_tests([1.0, 2.0], [1.0, 2.0], deciding=[])
    with pytest.raises(DataError, match="margin"):
        heterogeneity_tests([1.0, 2.0], [1.0, 2.0], margin=0)
    with pytest.raises(NotEstimableError, match="one predicted effect"):
        best_linear_predictor([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    with pytest.raises(NotEstimableError, match="at least 10"):
        covariate_test(np.arange(20.0), np.random.default_rng(0).normal(size=(20, 4)))
    with pytest.raises(NotEstimableError, match="no covariate varies"):
        covariate_test(np.arange(20.0), np.ones((20, 1)))
    with pytest.raises(NotEstimableError, match="arm without rows"):
        series_test(np.arange(20.0), np.ones(20), np.arange(20.0))
    with pytest.raises(DataError, match="1 values that are not finite"):
        covariate_test(np.arange(20.0), np.where(np.arange(20) == 3, np.nan, 1.0))
    with pytest.raises(DataError, match="at least 2 groups"):
        group_effects([1.0, 2.0], [1.0, 2.0], groups=1)
    with pytest.raises(NotEstimableError, match="2 groups"):
        group_effects([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], groups=3)
