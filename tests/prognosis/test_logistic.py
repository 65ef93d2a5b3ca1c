"""Logistic regression: its likelihood, intervals, penalties and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from aimed.core import NotEstimableError, StudyFileError
from aimed.prognosis.coefficients import coefficients
from aimed.prognosis.logistic import Logistic
from aimed.prognosis.prevalence import PrevalenceBaseline


@parametrize_with_checks([Logistic(), PrevalenceBaseline()])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) * [1, 10, 0.1] + [0, 50, 0]
    y = (rng.random(400) < special.expit(-0.5 + X[:, 0] + 0.05 * (X[:, 1] - 50))).astype(np.int8)
    return X, y


def test_plain_fit_solves_the_score_equations_and_inverts_the_information(rows):
    X, y = rows
    model = Logistic(penalty="none").fit(X, y)
    design = np.column_stack([X, np.ones(len(y))])
    risk = model.predict_proba(X)[:, 1]
    np.testing.assert_allclose(design.T @ (y - risk), 0, atol=1e-8)
    information = design.T @ (design * (risk * (1 - risk))[:, None])
    np.testing.assert_allclose(model.standard_errors_, np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-7)
    row = coefficients(model, ["a", "b", "c"])[1]
    half = special.ndtri(0.975) * model.standard_errors_[1]
    assert (row["lower"], row["upper"]) == pytest.approx((model.coef_[0, 1] - half, model.coef_[0, 1] + half))
    assert row["ratio"] == pytest.approx(np.exp(model.coef_[0, 1]))
    assert row["p"] == pytest.approx(2 * special.ndtr(-abs(model.coef_[0, 1]) / model.standard_errors_[1]))


@pytest.mark.parametrize(("penalty", "ratio"), [("ridge", 0.0), ("lasso", 1.0)])
def test_penalties_are_scikit_learns_and_give_no_interval(rows, penalty, ratio):
    X, y = rows
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    model = Logistic(penalty=penalty, C=0.05).fit(Z, y)
    solver = "saga" if ratio else "lbfgs"
    peer = LogisticRegression(C=0.05, l1_ratio=ratio, solver=solver, tol=1e-10, max_iter=20000).fit(Z, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    row = coefficients(model, ["a", "b", "c"])[0]
    assert row["lower"] is None
    assert row["p"] is None
    assert penalty in row["note"]
    if penalty == "lasso":
        assert (model.coef_ == 0).any()


@pytest.mark.parametrize("penalty", ["none", "ridge", "lasso"])
def test_state_travels_through_json(rows, penalty):
    X, y = rows
    model = Logistic(penalty=penalty).fit(X, y)
    again = Logistic.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.to_state() == model.to_state()
    assert coefficients(again) == coefficients(model)


def test_collinear_and_constant_columns_get_zero(rows):
    X, y = rows
    wide = np.column_stack([X, X[:, 0] - 3 * X[:, 2], np.full(len(y), 0.1)])
    model = Logistic(penalty="none").fit(wide, y)
    assert model.aliased_ == ["x3", "x4"]
    np.testing.assert_allclose(model.coef_[0, :3], Logistic(penalty="none").fit(X, y).coef_[0], rtol=1e-8)
    assert model.coef_[0, 3:].tolist() == [0, 0]
    assert np.isnan(model.standard_errors_[3:5]).all()
    assert np.isfinite(model.standard_errors_[-1])
    json.dumps(model.to_state(), allow_nan=False)


def test_no_usable_column_gives_the_prevalence():
    model = Logistic(penalty="none").fit(np.ones((10, 2)), [0] * 7 + [1] * 3)
    np.testing.assert_allclose(model.predict_proba(np.ones((1, 2))), [[0.7, 0.3]])


@pytest.mark.parametrize("quasi", [False, True])
def test_separation_is_refused_with_advice(rows, quasi):
    X, y = rows
    flag = ((y == 1) & (np.arange(len(y)) % 5 == 0) if quasi else y == 1).astype(float)
    names = ["a", "b", "c", "flag"]
    with pytest.raises(NotEstimableError, match=r"'flag'.* grows without bound.*ridge"):
        Logistic(penalty="none").fit(np.column_stack([X, flag]), y, feature_names=names)
    assert np.isfinite(Logistic().fit(np.column_stack([X, flag]), y).coef_).all()


def test_what_is_refused(rows):
    X, y = rows
    with pytest.raises(StudyFileError, match="'none', 'ridge' or 'lasso'"):
        Logistic(penalty="l2").fit(X, y)
    with pytest.raises(NotEstimableError, match="one class"):
        Logistic().fit(X, np.zeros(len(y)))
    with pytest.raises(StudyFileError, match="binary"):
        Logistic().fit(X, np.arange(len(y)) % 3)


@pytest.mark.parametrize("C", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("correlated", [False, True])
def test_lasso_meets_the_conditions_of_its_optimum_and_agrees_with_scikit_learn(C, correlated):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 6))
    if correlated:
        X[:, 1] = X[:, 0] + 0.05 * rng.normal(size=300)
    y = (rng.random(300) < 1 / (1 + np.exp(-(X[:, 0] - 0.7 * X[:, 2] - 0.5)))).astype(int)
    model = Logistic(penalty="lasso", C=C).fit(X, y)
    gradient = C * X.T @ (y - model.predict_proba(X)[:, 1])
    zero = model.coef_[0] == 0
    np.testing.assert_allclose(gradient[~zero], np.sign(model.coef_[0][~zero]), atol=1e-6)
    assert (np.abs(gradient[zero]) <= 1 + 1e-6).all()
    assert abs((y - model.predict_proba(X)[:, 1]).sum()) < 1e-6
    peer = LogisticRegression(C=C, l1_ratio=1.0, solver="saga", tol=1e-10, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=2e-4)


def test_lasso_survives_separation_and_large_units():
    x = np.r_[np.zeros(20), np.ones(20)][:, None] * 1000.0
    y = np.r_[np.zeros(20), np.ones(20)].astype(int)
    model = Logistic(penalty="lasso", C=1.0).fit(x, y)
    assert np.isfinite(model.coef_).all()
    assert model.predict_proba(x)[-1, 1] > 0.9
