"""What every learner of individual effects promises: EconML's verbs, repeatability, honest storage, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment import LEARNERS
from aimed.treatment.nuisances import fit_nuisances

EFFECT = -0.8

SMALL = {
    "n_bootstraps": 20,
    "n_estimators": 40,
    "n_trees": 20,
    "n_burn": 40,
    "n_samples": 80,
}
"""Settings that make learners small, where they have them."""


def trial(n=400, seed=0, *, binary=False):
    """Rows of a trial with the same effect for everyone."""
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 3)), rng.integers(0, 2, n)
    if binary:
        return (rng.random(n) < 0.35 + 0.3 * (1 - T)).astype(float), T, X
    return X[:, 0] + EFFECT * T + 0.5 * rng.normal(size=n), T, X


def made(name):
    learner = LEARNERS[name]()
    known = learner.get_params()
    settings = {k: v for k, v in SMALL.items() if k in known}
    if "base_learner" in known and name in ("s_learner", "t_learner"):
        settings["base_learner"] = "linear"
    if "outcome_model" in known:
        settings["outcome_model"] = "linear"
    return learner.set_params(random_state=1, **settings) if "random_state" in known else learner.set_params(**settings)


@pytest.fixture(params=list(LEARNERS))
def name(request):
    return request.param


@pytest.fixture
def fitted(name):
    Y, T, X = trial()
    return made(name).fit(Y, T, X=X, propensity=0.5)


def limits_of(learner, X):
    try:
        return learner.effect_interval(X)
    except NotEstimableError:
        return None


def test_parameters_survive_a_clone(name):
    learner = made(name)
    again = clone(learner)
    assert again.get_params() == learner.get_params()
    assert not hasattr(again, "n_features_in_")


def test_the_verbs_and_their_shapes(fitted):
    _, _, X = trial()
    effect = fitted.effect(X)
    assert effect.shape == (400,)
    assert np.isfinite(effect).all()
    assert np.array_equal(fitted.const_marginal_effect(X), effect)
    assert np.array_equal(fitted.effect(X, T0=1, T1=0), -effect)
    assert fitted.ate(X) == pytest.approx(effect.mean(), rel=1e-12)
    assert np.array_equal(fitted.effect(X[:1]), effect[:1]) or np.allclose(fitted.effect(X[:1]), effect[:1], atol=1e-12)


def test_the_same_seed_gives_the_same_bits(name, fitted):
    Y, T, X = trial()
    again = made(name).fit(Y, T, X=X, propensity=0.5)
    assert np.array_equal(again.effect(X), fitted.effect(X))
    one, two = limits_of(fitted, X[:20]), limits_of(again, X[:20])
    assert one is two is None or all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_input_is_left_as_it_was(name):
    Y, T, X = trial()
    kept = Y.copy(), T.copy(), X.copy()
    for array in (Y, T, X):
        array.setflags(write=False)
    learner = made(name).fit(Y, T, X=X, propensity=0.5)
    learner.effect(X)
    assert all(np.array_equal(a, b) for a, b in zip(kept, (Y, T, X), strict=True))


def test_an_effect_that_is_the_same_for_all_is_found(name, fitted):
    _, _, X = trial()
    effect = fitted.effect(X)
    if name == "zero_effect":
        assert (effect == 0).all()
        return
    assert effect.mean() == pytest.approx(EFFECT, abs=0.2)
    assert np.sqrt(((effect - EFFECT) ** 2).mean()) < 0.4


def test_effects_on_risks_are_differences_of_risks(name):
    Y, T, X = trial(800, binary=True)
    learner = made(name).fit(Y, T, X=X, propensity=0.5)
    effect = learner.effect(X)
    if name != "zero_effect":
        assert effect.mean() == pytest.approx(-0.3, abs=0.12)
    if hasattr(learner, "counterfactuals"):
        outcomes = learner.counterfactuals(X)
        assert outcomes.shape == (800, 2)
        assert (outcomes >= 0).all()
        assert (outcomes <= 1).all()
        assert outcomes[:, 1] - outcomes[:, 0] == pytest.approx(effect, abs=1e-9)


def test_an_interval_holds_the_point_and_widens_with_the_level(name, fitted):
    _, _, X = trial()
    found = limits_of(fitted, X)
    if found is None:
        assert name == "zero_effect"
        with pytest.raises(NotEstimableError):
            fitted.ate_interval(X)
        return
    lower, upper = found
    effect = fitted.effect(X)
    assert ((lower <= effect) & (effect <= upper)).all()
    narrow = fitted.effect_interval(X, alpha=0.5)
    assert (narrow[1] - narrow[0]).mean() < (upper - lower).mean()
    low, high = fitted.ate_interval(X)
    assert low <= fitted.ate(X) <= high
    assert low < EFFECT + 0.25
    assert high > EFFECT - 0.25
    assert high - low <= (upper - lower).mean() + 1e-9
    turned = fitted.effect_interval(X, T0=1, T1=0)
    assert turned[0] == pytest.approx(-upper)


def test_a_stored_learner_gives_the_same_bits(name, fitted):
    _, _, X = trial()
    state = json.loads(json.dumps(fitted.to_state()))
    again = type(fitted).from_state(state, fitted.estimators())
    assert np.array_equal(again.effect(X), fitted.effect(X))
    one, two = limits_of(fitted, X[:20]), limits_of(again, X[:20])
    assert one is two is None or all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_rows_of_one_patient_are_not_taken_for_more(name):
    Y, T, X = trial(200)
    often = np.repeat(np.arange(200), 4)
    once = made(name).fit(Y, T, X=X, propensity=0.5)
    if limits_of(once, X) is None:
        return
    if name == "bayesian_causal_forest":
        with pytest.warns(UserWarning, match="one row a patient"):
            made(name).fit(Y[often], T[often], X=X[often], propensity=0.5, patient=often)
        return
    copied = made(name).fit(Y[often], T[often], X=X[often], propensity=0.5, patient=often)
    low, high = once.ate_interval(X)
    low2, high2 = copied.ate_interval(X)
    assert high2 - low2 > 0.7 * (high - low)


def test_shared_nuisances_are_accepted(name):
    Y, T, X = trial()
    shared = fit_nuisances(Y, T, X, propensity=0.5)
    effect = made(name).fit(Y, T, X=X, nuisances=shared).effect(X)
    assert np.isfinite(effect).all()


@pytest.mark.parametrize(
    "treatment",
    [np.ones(400), np.arange(400) % 3, np.where(np.arange(400) < 3, np.nan, np.arange(400) % 2), np.array(["a"] * 400)],
    ids=["one arm", "three arms", "missing", "text"],
)
def test_a_treatment_that_is_none_is_refused(name, treatment):
    Y, _, X = trial()
    with pytest.raises(DataError) as refused:
        made(name).fit(Y, treatment, X=X)
    assert refused.value.got


def test_input_that_does_not_fit_is_refused(name, fitted):
    Y, T, X = trial()
    holed = X.copy()
    holed[3, 1] = np.nan
    for bad in ({"X": holed}, {"X": X[:-1]}):
        with pytest.raises(DataError):
            made(name).fit(Y, T, **bad)
    with pytest.raises(DataError):
        made(name).fit(np.where(np.arange(400) == 5, np.inf, Y), T, X=X)
    with pytest.raises(DataError):
        made(name).fit(Y, T, X=X, propensity=1.0)
    with pytest.raises(DataError):
        fitted.effect(X[:, :2])
