import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.treatment.constant_effect import ConstantEffect, ZeroEffect
from aimed.treatment.learner import half_samples
from aimed.treatment.nuisances import fit_nuisances
from aimed.treatment.r_learner import RLearner


def rows(n=300):
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    return X[:, 0] + T + rng.normal(size=n), T, X


def test_halves_keep_patients_whole_and_arms_even():
    arm = np.arange(200) % 4 < 2
    codes = np.arange(200) // 2
    for half in half_samples(arm, codes, 5, 0):
        assert half.sum() == 100
        assert (half[::2] == half[1::2]).all()
        assert half[arm].sum() == 50


def test_halves_have_the_spread_of_the_mean():
    Y, T, _ = rows(400)
    means = [Y[half].mean() - Y.mean() for half in half_samples(T == 1, None, 2000, 0)]
    within = sum((a == T).mean() * Y[a == T].var() for a in (0, 1))
    assert np.std(means) == pytest.approx(np.sqrt(within / 400), rel=0.05)


def test_directions_of_the_contrast():
    Y, T, X = rows()
    learner = ConstantEffect().fit(Y, T, X=X, propensity=0.5)
    assert learner.effect(X, T0=1, T1=1).tolist() == [0.0] * 300
    both = learner.effect(X[:2], T0=[0, 1], T1=[1, 0])
    assert both[0] == -both[1]
    with pytest.raises(DataError):
        learner.effect(X, T1=2)


def test_a_state_of_another_learner_is_refused():
    Y, T, X = rows()
    with pytest.raises(DataError):
        ConstantEffect.from_state(ZeroEffect().fit(Y, T, X=X).to_state(), {})


def test_nuisances_of_other_rows_are_refused_and_patients_are_taken_from_them():
    Y, T, X = rows()
    shared = fit_nuisances(Y, T, X, propensity=0.5, patient=np.arange(300) // 3)
    with pytest.raises(DataError, match="nuisances"):
        RLearner().fit(Y[:-1], T[:-1], X=X[:-1], nuisances=shared)
    assert RLearner().fit(Y, T, X=X, nuisances=shared).n_patients_ == 100
