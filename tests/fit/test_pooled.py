"""The estimator of several imputed data sets: means of predictions, pooled coefficients and limits, storage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from aimed.bundle.store import decode, encode
from aimed.core import BundleError, DataError, Variable
from aimed.fit.adapter import StudyModel
from aimed.fit.pooled import PooledEstimator
from aimed.metrics import pool_rubin
from aimed.prognosis import MODELS
from aimed.prognosis.cause_specific_cox import CauseSpecificCox
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_path import CoxPath
from aimed.prognosis.logistic import Logistic

NAN = float("nan")
VARIABLES = (
    Variable(name="age"),
    Variable(name="bili"),
    Variable(name="stage", kind="category", categories=("1", "2", "3")),
)
TIMES = np.array([2.0, 8.0])


def versions(m=4, n=250, seed=0):
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.normal(size=(1, n, 2)), m, axis=0)
    gap = rng.random(n) < 0.3
    X[:, gap, 1] = rng.normal(size=(m, int(gap.sum())))
    return X


def outcome(kind, signal, seed=1):
    rng = np.random.default_rng(seed)
    n = signal.size
    if kind == "binary":
        return (rng.random(n) < special.expit(signal)).astype(np.int8)
    first, second, lost = (rng.exponential(s) for s in (6 * np.exp(-signal), np.full(n, 9.0), np.full(n, 12.0)))
    time = np.minimum(first, lost) if kind == "survival" else np.minimum(np.minimum(first, second), lost)
    event = first <= lost if kind == "survival" else np.where(time == first, 1, np.where(time == second, 2, 0))
    y = np.empty(n, dtype=[("event", event.dtype), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def test_predictions_are_means_over_the_data_sets():
    X = versions()
    y = outcome("binary", X[0, :, 0])
    model = PooledEstimator(Logistic(penalty="none")).fit(X, y)
    alone = [Logistic(penalty="none").fit(Z, y) for Z in X]
    np.testing.assert_allclose(
        model.predict_proba(X), np.mean([a.predict_proba(Z) for a, Z in zip(alone, X, strict=True)], axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(model.decision_function(X[0]), X[0] @ model.coef_[0] + model.intercept_[0], rtol=1e-10)
    assert set(model.predict(X[0])) == {0, 1}
    assert model.n_features_in_ == 2


def test_survival_and_incidence():
    X = versions()
    cox = PooledEstimator(CoxPH()).fit(X, outcome("survival", X[0, :, 0]))
    curves = cox.predict_survival_function(X, times=TIMES)
    own = [fit.predict_survival_function(Z, times=TIMES) for fit, Z in zip(cox.fits_, X, strict=True)]
    np.testing.assert_allclose(curves, np.mean(own, axis=0), rtol=1e-12)
    assert not hasattr(cox, "predict_proba")
    assert not hasattr(cox, "decision_function")
    assert cox.penalty == 0.0
    with pytest.raises(AttributeError):
        _ = cox.something
    both = PooledEstimator(CauseSpecificCox()).fit(X, outcome("competing", X[0, :, 0]))
    incidence = both.predict_cumulative_incidence(X, times=TIMES)
    assert incidence.shape == (250, 2, 2)
    assert (incidence.sum(axis=2) <= 1).all()
    assert {row["cause"] for row in both.coefficient_table(["a", "b"])} == {1, 2}


def test_coefficients_are_pooled_by_rubins_rules():
    X = versions()
    y = outcome("survival", X[0, :, 0])
    model = PooledEstimator(CoxPH()).fit(X, y, feature_names=["a", "b"])
    found = pool_rubin(
        [fit.coef_ for fit in model.fits_],
        [fit.standard_errors_**2 for fit in model.fits_],
        float(y["event"].sum() - 2),
    )
    for k, row in enumerate(model.coefficient_table()):
        assert row["term"] == "ab"[k]
        for name in ("lower", "upper", "p", "df", "fmi"):
            assert row[name] == pytest.approx(getattr(found, name)[k], rel=1e-9)
        assert row["estimate"] == pytest.approx(found.value[k])
        assert row["standard_error"] == pytest.approx(found.se[k], rel=1e-9)
        assert row["ratio_upper"] == pytest.approx(np.exp(row["upper"]))
    a, b = model.coefficient_table()
    assert b["fmi"] > a["fmi"]


def test_no_interval_where_the_estimator_has_none():
    X = versions()
    model = PooledEstimator(CoxPath()).fit(X, outcome("survival", X[0, :, 0]))
    rows = model.coefficient_table(["a", "b"])
    assert all(row["lower"] is None and row["fmi"] is None and "lasso" in row["note"] for row in rows)
    ridge = PooledEstimator(Logistic()).fit(X, outcome("binary", X[0, :, 0]))
    assert ridge.risk_interval(X) is None


def test_a_column_dropped_in_some_data_sets_has_no_interval():
    X = versions()
    X[0, :, 1] = X[0, :, 0]
    model = PooledEstimator(Logistic(penalty="none")).fit(X, outcome("binary", X[0, :, 0]))
    kept, dropped = model.coefficient_table(["a", "b"])
    assert kept["lower"] is not None
    assert dropped["lower"] is None
    assert "in 1 of 4 imputed data sets" in dropped["note"]


@pytest.mark.parametrize("kind", ["binary", "survival", "competing"])
def test_limits_hold_the_risk_and_widen_with_what_is_not_known(kind):
    X = versions()
    y = outcome(kind, X[0, :, 0] + X[0, :, 1])
    base = {"binary": Logistic(penalty="none"), "survival": CoxPH(), "competing": CauseSpecificCox()}[kind]
    times = {} if kind == "binary" else {"times": TIMES}
    model = PooledEstimator(base).fit(X, y)
    same, apart = np.repeat(X[:1, :20], 4, axis=0), X[:, :20].copy()
    apart[:, :, 1] += np.linspace(-1, 1, 4)[:, None]
    narrow, wide = model.risk_interval(same, **times), model.risk_interval(apart, **times)
    for (lower, upper), Z in ((narrow, same), (wide, apart)):
        if kind == "binary":
            risk = model.predict_proba(Z)[:, 1]
        elif kind == "survival":
            risk = 1 - model.predict_survival_function(Z, times=TIMES)
        else:
            risk = model.predict_cumulative_incidence(Z, times=TIMES)[:, :, 0]
        assert ((lower <= risk) & (risk <= upper) & (lower >= 0) & (upper <= 1)).all()
    assert (wide[1] - wide[0] > narrow[1] - narrow[0]).mean() > 0.9


def test_limits_of_one_log_odds_by_hand():
    X = versions()
    model = PooledEstimator(Logistic(penalty="none")).fit(X, outcome("binary", X[0, :, 0]))
    row = X[:, :1]
    variance = []
    for fit, Z in zip(model.fits_, row, strict=True):
        x = np.r_[Z[0], 1.0]
        variance.append(x @ fit.covariance_ @ x)
    logits = [fit.decision_function(Z)[0] for fit, Z in zip(model.fits_, row, strict=True)]
    by_hand = pool_rubin(logits, variance, 250 - 3)
    lower, upper = model.risk_interval(row)
    assert special.logit(lower[0]) == pytest.approx(by_hand.lower, rel=1e-8)
    assert special.logit(upper[0]) == pytest.approx(by_hand.upper, rel=1e-8)


def test_one_data_set_is_the_estimator_itself():
    X = versions(m=1)
    y = outcome("survival", X[0, :, 0])
    model, plain = PooledEstimator(CoxPH()).fit(X, y), CoxPH().fit(X[0], y)
    np.testing.assert_array_equal(model.predict(X[0]), plain.predict(X[0]))
    assert model.coefficient_table(["a", "b"]) == plain.coefficient_table(["a", "b"])
    many = np.repeat(X, 3, axis=0)
    np.testing.assert_array_equal(
        model.risk_interval(many[:1], times=TIMES)[0], plain.risk_interval(X[0], times=TIMES)[0]
    )
    assert model.predict_survival_function(many, times=TIMES).shape == (250, 2)


def test_parameters_clone_and_refusals():
    model = PooledEstimator(LogisticRegression(C=2.0))
    assert clone(model).get_params()["estimator__C"] == 2.0
    with pytest.raises(DataError):
        model.fit([], [])
    X = versions()
    model.fit(X, outcome("binary", X[0, :, 0]))
    with pytest.raises(DataError, match="2 completions"):
        model.predict_proba(X[:2])


def raw(n=200, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(60, 10, n), rng.lognormal(size=n), rng.integers(0, 3, n)])
    signal = (X[:, 0] - 60) / 15 + 0.4 * np.log(X[:, 1])
    X[rng.random((n, 3)) < 0.15] = NAN
    return X, signal


NAMES = (
    "logistic",
    "cox",
    "cox_lasso",
    "accelerated_failure_time",
    "royston_parmar",
    "fine_gray",
    "cause_specific_cox",
)
FAMILIES = [(MODELS[name], task) for name in NAMES for task in (MODELS[name].task, *MODELS[name].also)]


@pytest.mark.parametrize(("recipe", "task"), FAMILIES, ids=[f"{r.name}-{t}" for r, t in FAMILIES])
def test_every_statistical_model_is_pooled_and_packaged(recipe, task):
    X, signal = raw()
    family = recipe.for_task(task)
    options = {"missing": "multiple_imputation", "imputations": 3, "nonlinear": {"bili": "log"}}
    model = StudyModel(family, VARIABLES, None, options, seed=2).fit(X, outcome(task, signal))
    assert len(model.estimator.fits_) == 3
    assert model.imputation["sets"] == 3
    assert model.imputation["rows"] == np.isnan(X).any(axis=1).sum()
    new = raw(60, seed=3)[0]
    again = decode(encode(model))

    def predicted(one):
        return one.risk(new) if task == "binary" else np.column_stack([one.score(new), one.risk(new, TIMES)])

    got = predicted(model)
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(predicted(again), got)
    assert again.imputation == model.imputation
    assert sum(map(len, encode(model).values())) < 400_000


def test_trees_keep_their_own_way_with_missing_values():
    X, signal = raw()
    for name in ("gradient_boosting", "random_forest"):
        recipe = MODELS[name]
        asked = {"missing": "multiple_imputation", "imputations": 5}
        model = StudyModel(recipe, VARIABLES, None, asked).fit(X, outcome("binary", signal))
        assert model.preparation.missing == StudyModel(recipe, VARIABLES).preparation.missing
        assert model.imputation is None


def test_a_damaged_pooled_state_is_refused():
    X, signal = raw()
    model = StudyModel(MODELS["logistic"], VARIABLES, None, {"missing": "multiple_imputation"})
    members = encode(model.fit(X, outcome("binary", signal)))
    record = json.loads(members["model.json"])
    record["state"]["pooled"] = []
    with pytest.raises(BundleError):
        decode({**members, "model.json": json.dumps(record).encode()})
