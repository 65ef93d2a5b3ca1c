import numpy as np
import pytest
from sklearn.linear_model import Ridge

from aimed.treatment.ridge import RidgeByValidation


def rows(n=200, p=8, noise=1.0):
    rng = np.random.default_rng(0)
    X = 3 + rng.normal(size=(n, p)) * np.arange(1, p + 1)
    return X, X[:, 0] - 0.2 * X[:, 3] + noise * rng.normal(size=n)


@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_are_those_of_scikit_learn_at_the_chosen_penalty(weighted):
    X, y = rows()
    w = np.random.default_rng(1).uniform(0.2, 3, 200) if weighted else np.ones(200)
    ours = RidgeByValidation().fit(X, y, w if weighted else None)
    mean = np.average(X, axis=0, weights=w)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
    peer = Ridge(alpha=ours.penalty_).fit((X - mean) / scale, y, w / w.mean())
    assert ours.predict(X) == pytest.approx(peer.predict((X - mean) / scale), abs=1e-9)


def test_the_penalty_is_the_one_of_least_generalised_error():
    X, y = rows(60, 20, noise=4.0)
    ours = RidgeByValidation().fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    scores = {}
    for penalty in 60 * np.logspace(-4, 2, 31):
        hat = Z @ np.linalg.solve(Z.T @ Z + penalty * np.eye(20), Z.T) + 1 / 60
        scores[penalty] = np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / 60) ** 2
    assert ours.penalty_ == pytest.approx(min(scores, key=scores.get))


def test_noise_is_shrunk_and_a_constant_column_ignored():
    X, _ = rows()
    X[:, 2] = 7.0
    found = RidgeByValidation().fit(X, np.random.default_rng(2).normal(size=200))
    assert found.predict(X).std() < 0.2
    assert found.coef_[2] == pytest.approx(0, abs=1e-12)
