import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from aimed.core.errors import NotEstimableError, StudyFileError
from aimed.treatment.t_learner import TLearner


def curved(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    T = rng.integers(0, 2, n)
    tau = 1 + np.sin(X[:, 0])
    return X[:, 1] + tau * T + 0.5 * rng.normal(size=n), T, X, tau


def ihdp(path):
    d = np.loadtxt(path, delimiter=",")
    return d[:, 1], d[:, 0], d[:, 5:], d[:, 4] - d[:, 3]


def test_effects_are_those_of_econml():
    econml = pytest.importorskip("econml.metalearners")
    Y, T, X, _ = curved()
    ours = TLearner(LinearRegression(), n_bootstraps=0).fit(Y, T, X=X)
    peer = econml.TLearner(models=LinearRegression()).fit(Y, T, X=X)
    assert ours.effect(X) == pytest.approx(peer.effect(X), abs=1e-10)


def test_posterior_intervals_cover_the_effect():
    Y, T, X, tau = curved(500)
    learner = TLearner().fit(Y, T, X=X)
    lower, upper = learner.effect_interval(X)
    assert "posterior" in learner.interval_method_
    assert 0.85 < np.mean((lower <= tau) & (tau <= upper)) <= 1
    assert np.sqrt(np.mean((learner.effect(X) - tau) ** 2)) < 0.25


def test_half_samples_have_the_error_of_the_estimate():
    Y, T, X, _ = curved(400)
    learner = TLearner(LinearRegression(), n_bootstraps=200).fit(Y, T, X=X)
    low, high = learner.ate_interval(X)
    rest = Y - np.where(T == 1, *(learner.counterfactuals(X)[:, k] for k in (1, 0)))
    by_hand = np.sqrt(rest[T == 1].var() / (T == 1).sum() + rest[T == 0].var() / (T == 0).sum())
    assert (high - low) / (2 * 1.96) == pytest.approx(by_hand, rel=0.2)


def test_a_posterior_is_not_used_where_patients_have_several_rows():
    Y, T, X, _ = curved(60)
    learner = TLearner(n_bootstraps=10).fit(Y, T, X=X, patient=np.arange(60) // 2)
    assert "half-samples" in learner.interval_method_


def test_what_has_no_place_is_refused():
    Y, T, X, _ = curved(60)
    with pytest.raises(StudyFileError, match="W"):
        TLearner("linear").fit(Y, T, X=X, W=X)
    with pytest.raises(StudyFileError, match="n_bootstraps"):
        TLearner("linear", n_bootstraps=3).fit(Y, T, X=X)
    with pytest.raises(NotEstimableError):
        TLearner("linear", n_bootstraps=0).fit(Y, T, X=X).effect_interval(X)


def test_infants_of_known_effect(shared_data):
    error, gap, cover = [], [], []
    for number in (1, 2, 3):
        Y, T, X, tau = ihdp(shared_data("treatment", "ihdp", f"ihdp_npci_{number}.csv"))
        learner = TLearner().fit(Y, T, X=X)
        lower, upper = learner.effect_interval(X)
        error.append(np.sqrt(np.mean((learner.effect(X) - tau) ** 2)))
        gap.append(abs(learner.ate(X) - tau.mean()))
        cover.append(np.mean((lower <= tau) & (tau <= upper)))
    assert np.mean(error) < 0.55
    assert np.mean(gap) < 0.12
    assert 0.9 < np.mean(cover) < 0.99
