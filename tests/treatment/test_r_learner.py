import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.treatment.nuisances import fit_nuisances
from aimed.treatment.r_learner import RLearner


def confounded(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    T = (rng.random(n) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    tau = 1 + X[:, 1]
    return np.sin(X[:, 0]) + X[:, 0] + tau * T + rng.normal(size=n), T, X, tau


def test_effects_and_errors_are_those_of_linear_dml():
    econml = pytest.importorskip("econml.dml")
    from sklearn.linear_model import LassoCV, LogisticRegression

    Y, T, X, _ = confounded(4000)
    peer = econml.LinearDML(
        model_y=LassoCV(), model_t=LogisticRegression(), discrete_treatment=True, cv=2, random_state=0
    ).fit(Y, T, X=X)
    ours = RLearner("linear", "linear", folds=2).fit(Y, T, X=X)
    grid = X[:100]
    assert ours.effect(grid) == pytest.approx(peer.effect(grid), abs=0.15)
    widths = [np.diff(np.column_stack(one.effect_interval(grid)), axis=1) for one in (ours, peer)]
    assert np.median(widths[0] / widths[1]) == pytest.approx(1, abs=0.15)


def test_confounding_is_taken_out_and_intervals_cover():
    cover, gap = [], []
    for seed in range(12):
        Y, T, X, tau = confounded(1000, seed)
        learner = RLearner("linear", "linear").fit(Y, T, X=X)
        lower, upper = learner.effect_interval(X)
        cover.append(np.mean((lower <= tau) & (tau <= upper)))
        gap.append(learner.ate(X) - tau.mean())
    assert abs(np.mean(gap)) < 0.08
    assert 0.85 < np.mean(cover) <= 1


def test_a_tree_stage_finds_a_step():
    Y, T, X, _ = confounded(4000)
    Y = Y - T * (1 + X[:, 1]) + 2 * T * (X[:, 2] > 0)
    learner = RLearner("gradient_boosting", "gradient_boosting", n_bootstraps=20)
    learner.fit(Y, T, X=X, nuisances=fit_nuisances(Y, T, X, outcome_model="gradient_boosting"))
    effect = learner.effect(X)
    assert effect[X[:, 2] > 0.3].mean() - effect[X[:, 2] < -0.3].mean() == pytest.approx(2, abs=0.4)
    assert "half-samples" in learner.interval_method_


def test_a_base_learner_without_weights_is_refused():
    from sklearn.neighbors import KNeighborsRegressor

    Y, T, X, _ = confounded(200)
    with pytest.raises(DataError, match="no row weights"):
        RLearner(KNeighborsRegressor(), "linear").fit(Y, T, X=X)
