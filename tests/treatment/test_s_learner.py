import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from aimed.treatment.s_learner import SLearner


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    return X[:, 0] + T * (X[:, 1] > 0) + 0.3 * rng.normal(size=n), T, X


def test_effects_are_those_of_econml():
    econml = pytest.importorskip("econml.metalearners")
    Y, T, X = rows()
    base = HistGradientBoostingRegressor(max_iter=20, random_state=0)
    ours = SLearner(base, n_bootstraps=0).fit(Y, T, X=X)
    peer = econml.SLearner(overall_model=base).fit(Y, T, X=X)
    assert np.abs(ours.effect(X) - peer.effect(X)).mean() < 0.02


def test_a_step_is_found_and_a_line_sees_none():
    Y, T, X = rows(2000)
    effect = SLearner("gradient_boosting", 0).fit(Y, T, X=X).effect(X)
    assert effect[X[:, 1] > 0.2].mean() - effect[X[:, 1] < -0.2].mean() > 0.8
    assert np.ptp(SLearner("linear", 0).fit(Y, T, X=X).effect(X)) < 1e-9


def test_risks_stay_risks():
    Y, T, X = rows()
    outcomes = SLearner("gradient_boosting", 0).fit((Y > 0).astype(float), T, X=X).counterfactuals(X)
    assert outcomes.min() >= 0
    assert outcomes.max() <= 1
