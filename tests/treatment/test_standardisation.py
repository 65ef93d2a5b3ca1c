"""Standardisation: point estimates against statsmodels, errors against the jackknife, coverage by simulation."""

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.treatment.nuisances import Nuisances
from aimed.treatment.standardisation import standardisation, strata_columns
from aimed.treatment.unadjusted import unadjusted


def test_common_slopes_are_least_squares_with_hc3_errors(worlds):
    api = pytest.importorskip("statsmodels.api")
    X, T, Y, *_ = worlds.world(1)
    fit = api.OLS(Y, np.column_stack((np.ones(len(Y)), T, X))).fit(cov_type="HC3")
    found = standardisation(Y, T, X, interactions=False).difference
    assert found == pytest.approx(fit.params[1], rel=1e-10)
    assert found.se == pytest.approx(fit.bse[1], rel=1e-10)


def test_clustered_errors_of_a_regression_are_those_of_statsmodels(worlds):
    api = pytest.importorskip("statsmodels.api")
    X, T, Y, *_ = worlds.world(1, n=2000)
    patient = np.arange(2000) // 4
    fit = api.OLS(Y, np.column_stack((np.ones(2000), T, X))).fit(
        cov_type="cluster", cov_kwds={"groups": patient, "use_correction": False}
    )
    found = standardisation(Y, T, X, interactions=False, patient=patient)
    assert found.difference.se == pytest.approx(fit.bse[1], rel=0.01)


@pytest.mark.parametrize("binary", [False, True])
def test_statsmodels_regression_adjustment_agrees(worlds, binary):
    effects = pytest.importorskip("statsmodels.treatment.treatment_effects")
    api = pytest.importorskip("statsmodels.api")
    X, T, Y, *_ = worlds.world(2, n=1500, binary=binary)
    if binary:
        # g-computation by hand with statsmodels' logistic fits
        design = api.add_constant(X)
        means = [api.Logit(Y[a == T], design[a == T]).fit(disp=0).predict(design).mean() for a in (1, 0)]
        found = standardisation(Y, T, X)
        assert (found.treated, found.control) == pytest.approx(tuple(means), rel=1e-7)
        return
    design = api.add_constant(X)
    teff = effects.TreatmentEffect(api.OLS(Y, design), T, results_select=api.Probit(T, design).fit(disp=0))
    result = teff.ra(return_results=True)
    found = standardisation(Y, T, X).difference
    assert found == pytest.approx(np.ravel(result.effect)[0], rel=1e-6)
    assert found.se == pytest.approx(result.results_gmm.bse[0], rel=0.02)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("options", [{}, {"interactions": False}, {"target": "ATT"}])
def test_errors_are_those_of_the_jackknife(worlds, binary, options):
    X, T, Y, *_ = worlds.world(3, n=120, binary=binary)
    found = standardisation(Y, T, X, **options)
    for name in ("treated", "control", "difference"):
        brute = worlds.jackknife(
            lambda r, name=name: float(getattr(standardisation(Y[r], T[r], X[r], **options), name)), 120
        )
        assert getattr(found, name).se == pytest.approx(brute, rel=0.06)


def test_log_ratio_errors_are_those_of_the_jackknife(worlds):
    X, T, Y, *_ = worlds.world(3, n=150, binary=True)
    for name in ("ratio", "odds_ratio"):
        found = getattr(standardisation(Y, T, X), name)
        brute = worlds.jackknife(lambda r, name=name: np.log(getattr(standardisation(Y[r], T[r], X[r]), name)), 150)
        assert found.se / found == pytest.approx(brute, rel=0.08)


def test_patients_count_once(worlds):
    X, T, Y, *_ = worlds.world(4, n=120)
    patient = np.arange(120) // 3
    found = standardisation(Y, T, X, patient=patient).difference
    brute = worlds.jackknife(lambda r: float(standardisation(Y[r], T[r], X[r]).difference), 120, patient)
    assert found.se == pytest.approx(brute, rel=0.15)
    assert found.note == ""


def test_adjustment_narrows_the_interval_of_a_trial(worlds):
    X, T, Y, *_ = worlds.world(5, n=600, randomised=True)
    assert standardisation(Y, T, X).difference.se < 0.9 * unadjusted(Y, T).difference.se


def test_scaled_and_shifted_columns_change_nothing(worlds):
    X, T, Y, *_ = worlds.world(6, binary=True)
    one, two = standardisation(Y, T, X).difference, standardisation(Y, T, 1e4 * X - 3e5).difference
    assert one == pytest.approx(float(two), rel=1e-7)
    assert one.se == pytest.approx(two.se, rel=1e-6)


def test_order_of_rows_changes_nothing_that_matters(worlds):
    X, T, Y, *_ = worlds.world(6)
    by = np.random.default_rng(0).permutation(len(Y))
    assert float(standardisation(Y, T, X).difference) == pytest.approx(
        float(standardisation(Y[by], T[by], X[by]).difference)
    )


def test_any_outcome_model_through_nuisances(worlds):
    _, T, Y, e, mu0, mu1 = worlds.world(7)
    made = Nuisances(mu0=mu0, mu1=mu1, propensity=e, fold=np.zeros(400, dtype=int), known_propensity=True)
    found = standardisation(Y, T, nuisances=made)
    assert float(found.difference) == pytest.approx((mu1 - mu0).mean())
    assert "doubly robust" in found.note
    with pytest.raises(DataError, match="400 rows"):
        standardisation(Y[:9], T[:9], nuisances=made)


def test_strata_join_the_columns_and_lone_strata_are_refused(worlds):
    X, T, Y, *_ = worlds.world(8)
    site = np.arange(400) % 4
    with_strata = standardisation(Y, T, X, strata=site)
    by_hand = standardisation(Y, T, np.column_stack((X, *[site == k for k in (1, 2, 3)])))
    assert float(with_strata.difference) == pytest.approx(float(by_hand.difference))
    two = np.column_stack((site, np.arange(400) % 3))
    assert strata_columns(two, T).shape == (400, 11)
    site[T == 1] = np.minimum(site[T == 1], 2)
    with pytest.raises(NotEstimableError, match="1 of 4 strata hold rows of one arm only"):
        standardisation(Y, T, X, strata=site)


def test_columns_that_add_nothing_are_left_out_with_a_note(worlds):
    X, T, Y, *_ = worlds.world(9)
    more = np.column_stack((X, np.ones(400), X[:, 0] - X[:, 1]))
    for interactions in (True, False):
        found = standardisation(Y, T, more, interactions=interactions)
        assert float(found.difference) == pytest.approx(
            float(standardisation(Y, T, X, interactions=interactions).difference)
        )
        assert "columns 3, 4" in found.note


def test_what_cannot_be_fitted_is_refused_with_what_to_do(worlds):
    X, T, Y, *_ = worlds.world(10, binary=True)
    with pytest.raises(NotEstimableError, match="column 3 tells the arms apart"):
        standardisation(Y, T, np.column_stack((X, T)))
    with pytest.raises(NotEstimableError, match=r"outcome regression of the control arm does not settle: column 3 can"):
        standardisation(Y, T, np.column_stack((X, Y + 0.1 * T)))
    with pytest.raises(NotEstimableError, match="treated arm has 0 events") as caught:
        standardisation(np.where(T == 1, 0, Y), T, X)
    assert "newcombe" in str(caught.value)
    with pytest.raises(NotEstimableError, match="rows for"):
        standardisation(X[:30, 0], T[:30], np.random.default_rng(0).normal(size=(30, 40)))
    with pytest.raises(UnknownNameError, match="ATO"):
        standardisation(Y, T, X, target="ATO")
    assert (
        "events of an arm for" in standardisation(Y[:150], T[:150], np.random.default_rng(0).normal(size=(150, 8))).note
    )


def _rare_site(seed, n=240):
    """A trial in which 4 patients of one site have no event, whatever their arm."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    T = rng.permutation(np.arange(n) % 2)
    site = np.arange(n) < 4
    T[:4] = [0, 0, 1, 1]
    risk = [(1 / (1 + np.exp(0.3 - X[:, 0] + 0.6 * t))) * ~site for t in (0, 1)]
    Y = (rng.random(n) < np.where(T == 1, risk[1], risk[0])).astype(float)
    return np.column_stack((X, site)), T, Y


@pytest.mark.parametrize("interactions", [True, False])
def test_a_rare_level_without_events_is_penalised_and_said(worlds, interactions):
    X, T, Y = _rare_site(1)
    found = standardisation(Y, T, X, interactions=interactions)
    assert "a small ridge penalty on its 3 columns" in found.note
    # The mean prediction in an arm is its mean outcome: with one covariate pattern in both arms that is all there is.
    plain = unadjusted(Y, T).difference
    assert found.difference.se < plain.se
    assert abs(found.difference - plain) < plain.se
    brute = worlds.jackknife(
        lambda r: float(standardisation(Y[r], T[r], X[r], interactions=interactions).difference), len(Y)
    )
    assert found.difference.se == pytest.approx(brute, rel=0.04)
    assert abs(found.difference.influence.sum()) < 0.1 * found.difference.se


def test_coverage_where_a_rare_level_is_penalised(worlds):
    # The risk in the rare site is 0 in both arms, so that the average is over the others.
    X = np.random.default_rng(9).normal(size=(1_000_000, 1))
    truth = 236 / 240 * np.mean(1 / (1 + np.exp(0.9 - X)) - 1 / (1 + np.exp(0.3 - X)))
    covered, bias, spread, error = worlds.coverage(
        lambda seed: standardisation(_rare_site(seed)[2], _rare_site(seed)[1], _rare_site(seed)[0]).difference,
        truth,
        600,
    )
    assert 0.925 < covered < 0.975
    assert abs(bias) < 3.5 * spread / np.sqrt(600)
    assert 0.93 < error / spread < 1.1


def test_one_column_that_orders_all_outcomes_of_a_tiny_arm_may_be_chance():
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(24, 1)), np.arange(24) % 2
    Y = (rng.random(24) < 0.4).astype(float)
    first = np.flatnonzero(T == 0)
    Y[first] = 0.0
    Y[first[np.argsort(X[first, 0])[-2:]]] = 1.0
    assert "in the control arm" in standardisation(Y, T, X).note


@pytest.mark.parametrize("binary", [False, True])
def test_coverage(worlds, binary):
    *_, mu0, mu1 = worlds.world(0, n=400_000, binary=binary)
    covered, bias, spread, error = worlds.coverage(
        lambda seed: standardisation(*_three(worlds.world(seed, n=150, binary=binary))).difference,
        (mu1 - mu0).mean(),
        200,
    )
    assert covered > 0.915
    assert abs(bias) < 3 * spread / np.sqrt(200)
    assert 0.88 < error / spread < 1.2


def _three(made):
    X, T, Y, *_ = made
    return Y, T, X


@pytest.mark.parametrize("interactions", [True, False])
def test_coverage_in_a_trial_whose_outcome_model_is_wrong(worlds, interactions):
    def draw(seed):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(200, 2))
        T = (rng.random(200) < 0.5).astype(int)
        chance = worlds.expit(-0.5 + np.sin(2 * X[:, 0]) * (1 + T) + 0.5 * X[:, 1] ** 2 - 0.7 * T)
        return standardisation((rng.random(200) < chance).astype(float), T, X, interactions=interactions).difference

    X = np.random.default_rng(9).normal(size=(1_000_000, 2))
    risk = [worlds.expit(-0.5 + np.sin(2 * X[:, 0]) * (1 + t) + 0.5 * X[:, 1] ** 2 - 0.7 * t).mean() for t in (0, 1)]
    covered, bias, spread, error = worlds.coverage(draw, risk[1] - risk[0], 1000)
    assert 0.93 < covered < 0.975
    assert abs(bias) < 3.5 * spread / np.sqrt(1000)
    assert 0.93 < error / spread < 1.1


def test_large_tables_take_a_second(worlds):
    import time

    X, T, Y, *_ = worlds.world(0, n=100_000, p=20, binary=True)
    standardisation(Y[:500], T[:500], X[:500])
    start = time.process_time()
    standardisation(Y, T, X)
    assert time.process_time() - start < 4
