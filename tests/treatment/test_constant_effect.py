import numpy as np
import pytest

from aimed.core.errors import NotEstimableError
from aimed.treatment.constant_effect import ConstantEffect, ZeroEffect
from aimed.treatment.nuisances import fit_nuisances


def rows(n=500, seed=0):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    return X[:, 0] + T + rng.normal(size=n), T, X


def test_the_constant_is_the_doubly_robust_average_with_its_interval():
    Y, T, X = rows()
    shared = fit_nuisances(Y, T, X, propensity=0.5)
    scores = shared.scores(Y, T)
    learner = ConstantEffect().fit(Y, T, X=X, nuisances=shared)
    assert learner.effect(X) == pytest.approx(np.full(500, scores.mean()))
    error = scores.std() / np.sqrt(500)
    assert learner.ate_interval(X) == pytest.approx(
        (scores.mean() - 1.959964 * error, scores.mean() + 1.959964 * error)
    )


def test_its_interval_covers_at_its_level():
    hits = 0
    for seed in range(100):
        Y, T, X = rows(200, seed)
        low, high = ConstantEffect().fit(Y, T, X=X, propensity=0.5).ate_interval(X)
        hits += low <= 1 <= high
    assert 88 <= hits <= 100


def test_zero_has_no_interval():
    Y, T, X = rows(50)
    zero = ZeroEffect().fit(Y, T, X=X)
    assert zero.ate(X) == 0
    with pytest.raises(NotEstimableError, match="comparator"):
        zero.effect_interval(X)
