"""Doubly robust effects: right with one wrong model, like EconML's, and honest about folds."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.treatment.doubly_robust import doubly_robust
from aimed.treatment.nuisances import Nuisances, fit_nuisances
from aimed.treatment.weighting import weighting


def made(mu0, mu1, e, **more):
    n = len(e)
    return Nuisances(mu0=mu0, mu1=mu1, propensity=e, fold=np.zeros(n, dtype=int), known_propensity=False, **more)


def test_statsmodels_agrees_where_models_are_not_cross_fitted(worlds):
    effects = pytest.importorskip("statsmodels.treatment.treatment_effects")
    api = pytest.importorskip("statsmodels.api")
    X, T, Y, *_ = worlds.world(2, n=2000)
    design = api.add_constant(X)
    treat = api.Logit(T, design).fit(disp=0)
    result = effects.TreatmentEffect(api.OLS(Y, design), T, results_select=treat).aipw(return_results=True)
    mu0, mu1 = (api.OLS(Y[a == T], design[a == T]).fit().predict(design) for a in (0, 1))
    found = doubly_robust(Y, T, nuisances=made(mu0, mu1, treat.predict(design))).difference
    assert float(found) == pytest.approx(np.ravel(result.effect)[0], rel=1e-5)
    assert found.se == pytest.approx(result.results_gmm.bse[0], rel=0.02)


def test_econml_agrees(worlds):
    dr = pytest.importorskip("econml.dr")
    X, T, Y, *_ = worlds.world(3, n=3000)
    peer = dr.LinearDRLearner(
        model_regression=LinearRegression(), model_propensity=LogisticRegression(C=1e6), cv=5, random_state=0
    ).fit(Y, T, X=None, W=X)
    low, high = peer.ate_interval(alpha=0.05)
    ours = doubly_robust(
        Y, T, X, outcome_model=LinearRegression(), propensity_model=LogisticRegression(C=1e6)
    ).difference
    assert abs(ours - peer.ate()) < 0.25 * ours.se
    assert ours.se == pytest.approx((high - low) / 3.92, rel=0.05)


@pytest.mark.parametrize("wrong", ["outcome", "propensity"])
@pytest.mark.parametrize("target", ["ATE", "ATT"])
def test_one_wrong_model_does_no_harm(worlds, wrong, target):
    _, T, Y, e, mu0, mu1 = worlds.world(4, n=40_000)
    flat = np.full(len(Y), Y.mean())
    models = (flat, flat, e) if wrong == "outcome" else (mu0, mu1, np.full(len(Y), T.mean()))
    truth = (mu1 - mu0).mean() if target == "ATE" else (mu1 - mu0)[T == 1].mean()
    found = doubly_robust(Y, T, nuisances=made(*models), target=target).difference
    assert abs(found - truth) < 4 * found.se
    both = doubly_robust(Y, T, nuisances=made(flat, flat, np.full(len(Y), T.mean())), target=target).difference
    assert abs(both - truth) > 10 * both.se


@pytest.mark.parametrize("target", ["ATE", "ATT"])
def test_errors_are_those_of_the_jackknife(worlds, target):
    _, T, Y, e, mu0, mu1 = worlds.world(5, n=100)

    def on(r):
        return doubly_robust(Y[r], T[r], nuisances=made(mu0[r], mu1[r], e[r]), target=target)

    for name in ("treated", "control", "difference"):
        brute = worlds.jackknife(lambda r, name=name: float(getattr(on(r), name)), 100)
        assert getattr(on(np.arange(100)), name).se == pytest.approx(brute, rel=0.03)


def test_the_known_chance_of_a_trial_is_used(worlds):
    X, T, Y, *_ = worlds.world(6, n=600, randomised=True)
    found = doubly_robust(Y, T, X, propensity=0.5)
    assert set(found.weights.tolist()) == {2.0}
    assert found.difference.se < weighting(Y, T, propensity=0.5).difference.se


def test_patients_stay_in_one_fold_and_count_once(worlds):
    X, T, Y, *_ = worlds.world(7, n=300)
    twice = [np.repeat(v, 2, axis=0) for v in (Y, T, X)]
    patient = np.repeat(np.arange(300), 2)
    found = doubly_robust(*twice, patient=patient)
    assert "clustered by patient" in found.method
    assert found.difference.se == pytest.approx(doubly_robust(Y, T, X).difference.se, rel=0.1)
    shared = fit_nuisances(*twice, patient=patient)
    assert doubly_robust(twice[0], twice[1], nuisances=shared).difference.se == found.difference.se


def test_repeats_take_the_median_and_its_spread(worlds):
    X, T, Y, *_ = worlds.world(8, n=200)
    ones = [doubly_robust(Y, T, X, random_state=k).difference for k in range(5)]
    found = doubly_robust(Y, T, X, repeats=5).difference
    middle = np.median([float(one) for one in ones])
    assert float(found) == middle
    assert found.se == pytest.approx(np.sqrt(np.median([one.se**2 + (one - middle) ** 2 for one in ones])))
    with pytest.raises(DataError, match="odd number"):
        doubly_robust(Y, T, X, repeats=2)


def test_seeds_repeat_bit_for_bit(worlds):
    X, T, Y, *_ = worlds.world(9, n=200)
    one, two = (doubly_robust(Y, T, X, random_state=3).difference for _ in range(2))
    assert (float(one), one.se) == (float(two), two.se)


def test_weak_overlap_is_told_and_trimmed(worlds):
    _, T, Y, e, mu0, mu1 = worlds.world(10, n=1000, confounded=3.0)
    whole = doubly_robust(Y, T, nuisances=made(mu0, mu1, e))
    assert "effective sample size" in whole.note
    cut = doubly_robust(Y, T, nuisances=made(mu0, mu1, e), trim="crump")
    assert cut.n < 1000
    assert "not of all" in cut.note
    assert cut.difference.se < whole.difference.se


def test_what_cannot_be_done_is_refused(worlds):
    X, T, Y, e, mu0, mu1 = worlds.world(11)
    with pytest.raises(DataError, match="neither X nor nuisances"):
        doubly_robust(Y, T)
    with pytest.raises(UnknownNameError, match="ATO"):
        doubly_robust(Y, T, X, target="ATO")
    with pytest.raises(NotEstimableError, match="propensity is 0 or 1 in 1 of 400"):
        doubly_robust(Y, T, nuisances=made(mu0, mu1, np.where(np.arange(400) == 7, 1.0, e)))
    with pytest.raises(DataError, match="400 rows for 10"):
        doubly_robust(Y[:10], T[:10], nuisances=made(mu0, mu1, e))
    with pytest.raises(NotEstimableError, match="column 3 tells the arms apart"):
        doubly_robust(Y, T, np.column_stack((X, T)))
    with pytest.raises(DataError, match="repeats of nuisances"):
        doubly_robust(Y, T, nuisances=made(mu0, mu1, e), repeats=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*estimated chance of treatment")
@pytest.mark.parametrize("binary", [False, True])
def test_coverage(worlds, binary):
    *_, mu0, mu1 = worlds.world(0, n=400_000, binary=binary)

    def draw(seed):
        X, T, Y, *_ = worlds.world(seed, n=300, binary=binary)
        return doubly_robust(Y, T, X).difference

    covered, bias, spread, error = worlds.coverage(draw, (mu1 - mu0).mean(), 150)
    assert 0.9 < covered < 0.99
    assert abs(bias) < 4 * spread / np.sqrt(150)
    assert 0.87 < error / spread < 1.2
