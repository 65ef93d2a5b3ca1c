import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from aimed.treatment.nuisances import Nuisances
from aimed.treatment.t_learner import TLearner
from aimed.treatment.x_learner import XLearner


def unequal(n=600, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    T = (rng.random(n) < 0.15).astype(int)
    return np.sin(3 * X[:, 0]) + T * (1 + X[:, 1]) + 0.3 * rng.normal(size=n), T, X, 1 + X[:, 1]


def test_effects_are_those_of_econml_given_its_outcome_models():
    econml = pytest.importorskip("econml.metalearners")
    Y, T, X, _ = unequal()
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    peer = econml.XLearner(models=tree, cate_models=LinearRegression(), propensity_model=LogisticRegression())
    peer.fit(Y, T, X=X)
    mu0, mu1 = (tree.fit(X[a == T], Y[a == T]).predict(X) for a in (0, 1))
    seen = Nuisances(
        mu0=mu0, mu1=mu1, propensity=np.full(600, 0.5), fold=np.zeros(600, dtype=int), known_propensity=False
    )
    ours = XLearner(LinearRegression(), propensity_model=LogisticRegression(), n_bootstraps=0)
    assert ours.fit(Y, T, X=X, nuisances=seen).effect(X) == pytest.approx(peer.effect(X), abs=1e-8)


def test_a_small_arm_is_helped_by_the_large_one():
    Y, T, X, tau = unequal(2000)
    x = XLearner("linear", "gradient_boosting", n_bootstraps=0).fit(Y, T, X=X).effect(X)
    t = TLearner("gradient_boosting", 0).fit(Y, T, X=X).effect(X)
    assert np.mean((x - tau) ** 2) < 0.5 * np.mean((t - tau) ** 2)


def test_covariates_that_are_no_modifiers_have_a_place():
    Y, T, X, _ = unequal(800)
    found = XLearner("linear", "gradient_boosting", n_bootstraps=0).fit(Y, T, X=X[:, 1:], W=X[:, :1])
    assert found.effect([[-1.0], [1.0]]) == pytest.approx([0.0, 2.0], abs=0.4)


def test_refits_of_all_stages_cover_the_average():
    hits = 0
    for seed in range(10):
        Y, T, X, tau = unequal(400, seed)
        low, high = XLearner("linear", "linear", n_bootstraps=20).fit(Y, T, X=X).ate_interval(X)
        hits += low <= tau.mean() <= high
    assert hits >= 8


def test_intervals_hold_the_truth_where_the_arms_are_alike():
    # Both arms are in either stage: refits whose stages see opposite halves would cancel, and cover 30 %.
    at = np.random.default_rng(1).normal(size=(40, 2))
    hits, errors, spread = [], [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X, T = rng.normal(size=(300, 2)), rng.integers(0, 2, 300)
        Y = X[:, 1] + T * (1 + 0.5 * X[:, 0]) + rng.normal(size=300)
        found = XLearner("linear", "linear", n_bootstraps=20).fit(Y, T, X=X, propensity=0.5)
        low, high = found.effect_interval(at)
        truth = 1 + 0.5 * at[:, 0]
        hits.append(np.mean((low <= truth) & (truth <= high)))
        errors.append(np.mean(high - low) / 3.92)
        spread.append(found.effect(at) - truth)
    assert 0.88 < np.mean(hits) < 0.995
    assert np.mean(errors) == pytest.approx(np.sqrt(np.mean(np.square(spread))), rel=0.25)


def test_refits_take_rows_of_one_patient_together():
    Y, T, X, _ = unequal(120)
    who = np.repeat(np.arange(40), 3) * 7
    found = XLearner("linear", "linear", n_bootstraps=10).fit(Y, T, X=X, patient=who)
    low, high = found.effect_interval(X)
    assert np.isfinite(low).all()
    assert (high > low).all()
