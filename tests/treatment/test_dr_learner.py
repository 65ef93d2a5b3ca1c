import numpy as np
import pytest

from aimed.treatment.dr_learner import DRLearner
from aimed.treatment.nuisances import fit_nuisances


def trial(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    tau = 0.5 + X[:, 0]
    return X[:, 1] + tau * T + rng.normal(size=n), T, X, tau


def test_a_linear_stage_is_the_regression_of_the_scores():
    statsmodels = pytest.importorskip("statsmodels.api")
    Y, T, X, _ = trial()
    shared = fit_nuisances(Y, T, X, propensity=0.5)
    ours = DRLearner().fit(Y, T, X=X, nuisances=shared)
    peer = statsmodels.OLS(shared.scores(Y, T), statsmodels.add_constant(X)).fit(cov_type="HC1")
    told = peer.get_prediction(statsmodels.add_constant(X[:50])).summary_frame(alpha=0.05)
    assert ours.effect(X[:50]) == pytest.approx(told["mean"].to_numpy(), abs=0.02)
    lower, upper = ours.effect_interval(X[:50])
    widths = (told["mean_ci_upper"] - told["mean_ci_lower"]).to_numpy()
    assert upper - lower == pytest.approx(widths, rel=0.05)


def test_effects_average_to_the_mean_score():
    Y, T, X, _ = trial()
    shared = fit_nuisances(Y, T, X, propensity=0.5)
    assert DRLearner().fit(Y, T, X=X, nuisances=shared).ate(X) == pytest.approx(shared.scores(Y, T).mean(), abs=1e-10)


def test_intervals_cover_on_fresh_trials():
    cover = []
    for seed in range(12):
        Y, T, X, tau = trial(600, seed)
        lower, upper = DRLearner(outcome_model="linear").fit(Y, T, X=X, propensity=0.5).effect_interval(X)
        cover.append(np.mean((lower <= tau) & (tau <= upper)))
    assert 0.86 < np.mean(cover) <= 1


def test_clusters_of_one_patient_widen_the_interval():
    Y, T, X, _ = trial(300)
    four = np.repeat(np.arange(300), 4)
    shared = fit_nuisances(Y[four], T[four], X[four], propensity=0.5, patient=four)
    told = DRLearner().fit(Y[four], T[four], X=X[four], patient=four, nuisances=shared).ate_interval(X)
    untold = DRLearner().fit(Y[four], T[four], X=X[four], patient=np.arange(1200), nuisances=shared).ate_interval(X)
    assert np.diff(told) / np.diff(untold) == pytest.approx(2, rel=0.1)
