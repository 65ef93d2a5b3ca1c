"""Weighting: against statsmodels' generalised method of moments, the jackknife and simulated truth."""

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.treatment.nuisances import Nuisances
from aimed.treatment.weighting import treatment_weights, weighting


def test_statsmodels_inverse_probability_weighting_agrees(worlds):
    effects = pytest.importorskip("statsmodels.treatment.treatment_effects")
    api = pytest.importorskip("statsmodels.api")
    X, T, Y, *_ = worlds.world(2, n=2000)
    design = api.add_constant(X)
    treat = api.Logit(T, design).fit(disp=0)
    teff = effects.TreatmentEffect(api.OLS(Y, design), T, results_select=treat)
    result = teff.ipw(return_results=True)
    found = weighting(Y, T, X)
    assert float(found.difference) == pytest.approx(np.ravel(result.effect)[0], rel=1e-5)
    assert found.difference.se == pytest.approx(result.results_gmm.bse[0], rel=0.02)


@pytest.mark.parametrize("target", ["ATE", "ATT", "ATO"])
@pytest.mark.parametrize("binary", [False, True])
def test_errors_are_those_of_the_jackknife(worlds, target, binary):
    X, T, Y, *_ = worlds.world(3, n=150, binary=binary)
    found = weighting(Y, T, X, target=target)
    for name in ("treated", "control", "difference"):
        brute = worlds.jackknife(
            lambda r, name=name: float(getattr(weighting(Y[r], T[r], X[r], target=target), name)), 150
        )
        assert getattr(found, name).se == pytest.approx(brute, rel=0.1)


def test_known_propensity_errors_are_those_of_the_jackknife(worlds):
    _, T, Y, e, *_ = worlds.world(3, n=150)
    found = weighting(Y, T, propensity=e).difference
    brute = worlds.jackknife(lambda r: float(weighting(Y[r], T[r], propensity=e[r]).difference), 150)
    assert found.se == pytest.approx(brute, rel=0.02)


def test_overlap_weights_balance_the_columns_exactly(worlds):
    X, T, Y, *_ = worlds.world(4)
    w = weighting(Y, T, X, target="ATO").weights
    gaps = [np.average(x[T == 1], weights=w[T == 1]) - np.average(x[T == 0], weights=w[T == 0]) for x in X.T]
    assert np.abs(gaps).max() < 1e-8


def test_each_target_finds_its_own_truth(worlds):
    X, T, Y, e, mu0, mu1 = worlds.world(5, n=60_000)
    tau = mu1 - mu0
    truth = {"ATE": tau.mean(), "ATT": tau[T == 1].mean(), "ATO": np.average(tau, weights=e * (1 - e))}
    assert truth["ATT"] < truth["ATE"] - 0.03
    for target, value in truth.items():
        found = weighting(Y, T, X, target=target).difference
        assert abs(found - value) < 4 * found.se


def test_stabilised_weights_change_no_mean(worlds):
    X, T, Y, *_ = worlds.world(6)
    plain, stable = weighting(Y, T, X), weighting(Y, T, X, stabilised=True)
    assert float(plain.difference) == float(stable.difference)
    assert stable.weights.mean() == pytest.approx(1, abs=0.1)
    assert treatment_weights(T, 0.5, stabilised=True).mean() == pytest.approx(1, abs=0.02)


def test_trimming_says_whom_the_effect_is_about(worlds):
    X, T, Y, *_ = worlds.world(7, n=800, confounded=3.0)
    whole, cut = weighting(Y, T, X), weighting(Y, T, X, trim=0.1)
    assert "effective sample size" in whole.note
    assert "not of all" in cut.note
    assert cut.n < whole.n == 800
    assert cut.weights.max() < whole.weights.max()
    assert (cut.weights == 0).sum() == 800 - cut.n
    assert cut.difference.influence.shape == (800,)


def test_nuisances_bring_their_propensity(worlds):
    _, T, Y, e, mu0, mu1 = worlds.world(8)
    made = Nuisances(mu0=mu0, mu1=mu1, propensity=e, fold=np.zeros(400, dtype=int), known_propensity=False)
    found = weighting(Y, T, nuisances=made)
    assert float(found.difference) == float(weighting(Y, T, propensity=e).difference)
    assert "usually too wide" in found.note


def test_separation_and_impossible_propensities_are_refused(worlds):
    X, T, Y, *_ = worlds.world(9)
    lone = ((T == 1) & (X[:, 0] > 1)).astype(float)
    with pytest.raises(NotEstimableError, match=r"column 3 can tell the two arms apart"):
        weighting(Y, T, np.column_stack((X, lone)))
    with pytest.raises(NotEstimableError, match="columns together can tell"):
        weighting(Y, T, np.column_stack((5 * X[:, 0] + T, X[:, 0])))
    with pytest.raises(NotEstimableError, match="0 or 1 in 4 of 400"):
        weighting(Y, T, propensity=np.where(np.arange(400) < 4, 1.0, 0.5))
    assert weighting(Y, T, propensity=np.where(np.arange(400) < 4, 1.0, 0.5), trim=0.01).n == 396
    with pytest.raises(DataError, match="neither X nor a propensity"):
        weighting(Y, T)
    with pytest.raises(UnknownNameError, match="LATE"):
        weighting(Y, T, X, target="LATE")


@pytest.mark.parametrize("binary", [False, True])
def test_coverage(worlds, binary):
    *_, mu0, mu1 = worlds.world(0, n=400_000, binary=binary)

    def draw(seed):
        X, T, Y, *_ = worlds.world(seed, n=200, binary=binary)
        return weighting(Y, T, X).difference

    covered, bias, spread, error = worlds.coverage(draw, (mu1 - mu0).mean(), 400)
    assert 0.92 < covered < 0.98
    assert abs(bias) < 3.5 * spread / 20
    assert 0.9 < error / spread < 1.12
