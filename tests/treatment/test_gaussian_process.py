import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from aimed.treatment.gaussian_process import GaussianProcess


def bent(n=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + 0.2 * rng.normal(size=n)


def test_the_posterior_is_that_of_scikit_learn_with_the_same_kernel():
    X, y = bent()
    ours = GaussianProcess().fit(X, y)
    linear, smooth, noise = np.exp(ours.theta_[:3])
    kernel = (
        ConstantKernel(linear / 2, "fixed") * DotProduct(0, "fixed")
        + ConstantKernel(1.0, "fixed")
        + ConstantKernel(smooth, "fixed") * RBF(np.exp(ours.theta_[3:]), "fixed")
        + WhiteKernel(noise, "fixed")
    )
    Z = (X - X.mean(0)) / X.std(0)
    peer = GaussianProcessRegressor(kernel, alpha=0, optimizer=None).fit(Z, (y - y.mean()) / y.std())
    new = bent(40, 1)[0]
    mean, cov = peer.predict((new - X.mean(0)) / X.std(0), return_cov=True)
    surface = cov - noise * np.eye(40)
    found, std = ours.predict(new, return_std=True)
    assert found == pytest.approx(y.mean() + y.std() * mean, abs=1e-8)
    assert std == pytest.approx(y.std() * np.sqrt(np.diag(surface)), abs=1e-6)
    assert ours.std_of_mean(new) == pytest.approx(y.std() * np.sqrt(surface.mean()), abs=1e-6)


def test_intervals_cover_the_surface():
    X, y = bent(400)
    mean, std = GaussianProcess().fit(X, y).predict(bent(400, 1)[0], return_std=True)
    new = bent(400, 1)[0]
    truth = np.sin(2 * new[:, 0]) + 0.5 * new[:, 1]
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.15
    assert 0.85 < np.mean(np.abs(mean - truth) < 1.96 * std) < 0.995


def test_many_rows_go_through_few_points():
    X, y = bent(1200)
    exact = GaussianProcess(max_learn=300, random_state=0).fit(X, y)
    few = GaussianProcess(max_learn=300, max_exact=1000, random_state=0).fit(X, y)
    new = bent(50, 1)[0]
    assert few.points_.shape == (300, 2)
    a, b = exact.predict(new, return_std=True), few.predict(new, return_std=True)
    assert few.predict(new) == pytest.approx(a[0], abs=0.05)
    assert np.median(b[1] / a[1]) == pytest.approx(1, abs=0.15)
    assert few.std_of_mean(new) == pytest.approx(exact.std_of_mean(new), rel=0.2)


def test_weights_are_precisions():
    X, y = bent(200)
    w = np.where(np.arange(200) < 100, 1.0, 0.0)
    half = GaussianProcess(random_state=0).fit(X, y, w)
    alone = GaussianProcess(random_state=0).fit(X[:100], y[:100])
    assert half.predict(X) == pytest.approx(alone.predict(X), abs=1e-8)
    spoiled = y.copy()
    spoiled[100:] += 30 * np.random.default_rng(0).normal(size=100)
    found = GaussianProcess(random_state=0).fit(X, spoiled, np.where(w > 0, 1.0, 1 / 10_000))
    plain = GaussianProcess(random_state=0).fit(X, spoiled)
    truth = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
    assert np.mean((found.predict(X) - truth) ** 2) < 0.2 * np.mean((plain.predict(X) - truth) ** 2)


def test_a_constant_column_and_outcome_do_no_harm():
    X, y = bent(60)
    X = np.column_stack([X, np.full(60, 3.0)])
    assert np.isfinite(GaussianProcess().fit(X, y).predict(X)).all()
    assert GaussianProcess().fit(X, np.full(60, 2.0)).predict(X) == pytest.approx(2.0, abs=1e-3)
