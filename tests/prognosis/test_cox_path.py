"""The lasso path of a Cox model: its optimality, what it keeps, and how its penalty is chosen."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from aimed.core import DataError, NotEstimableError, StudyFileError, Variable
from aimed.fit.adapter import StudyModel
from aimed.prognosis import cox_path
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_path import CoxPath
from aimed.prognosis.risk_sets import RiskSets, line_up, read_outcome


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=200, p=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, 1:] = 0.7 * X[:, 1:] + 0.6 * X[:, :-1]
    beta = np.zeros(p)
    beta[: min(p, 3)] = [1.0, -0.8, 0.5][: min(p, 3)]
    death, lost = rng.exponential(20 * np.exp(-X @ beta)), rng.exponential(25, n)
    return X * np.geomspace(0.1, 10, p), outcome(death <= lost, np.ceil(np.minimum(death, lost)))


def slopes(X, y, beta, ties="efron", **more):
    """Return the slope of the log likelihood over the total weight."""
    read = read_outcome(y, **more)
    weight = np.ones(len(y)) if read.weight is None else read.weight
    risk = RiskSets(X, weight @ X / weight.sum(), line_up(read), read.offset, ties == "efron")
    return risk.evaluate(beta / risk.unit).gradient / risk.unit / weight.sum(), risk.unit


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("rich", [True, False])
def test_each_point_of_the_path_is_a_maximum(ties, l1_ratio, standardize, rich):
    X, y = sample()
    rng = np.random.default_rng(5)
    more = {}
    if rich:
        more = {"sample_weight": rng.uniform(0.5, 2, 200), "strata": rng.integers(0, 2, 200),
                "entry": y["time"] * rng.uniform(-1, 0.9, 200), "offset": rng.normal(size=200) * 0.1}  # fmt: skip
    factor = np.array([1.0, 2.0] * 6)
    model = CoxPath(
        l1_ratio, 20, penalty_factor=factor, standardize=standardize, ties=ties, tol=1e-18, alpha_min_ratio=0.005
    ).fit(X, y, **more)
    factor = factor / 1.5
    weight = more.get("sample_weight", np.ones(200))
    spread = np.sqrt(np.average((X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight))
    assert (np.diff(model.alphas_) < 0).all()
    assert (model.coef_path_[:, 0] == 0).all()
    for alpha, beta in zip(model.alphas_, model.coef_path_.T, strict=True):
        slope = slopes(X, y, beta, ties, **more)[0]
        scale = spread if standardize else np.ones(12)
        pull = slope - alpha * (1 - l1_ratio) * factor * scale**2 * beta
        bound = alpha * l1_ratio * factor * scale
        on = beta != 0
        np.testing.assert_allclose(pull[on], (bound * np.sign(beta))[on], rtol=1e-4, atol=1e-8)
        assert (np.abs(pull[~on]) <= bound[~on] * (1 + 1e-5)).all()
    assert (model.coef_path_[:, 1] != 0).any()
    assert (np.diff(model.deviance_ratio_) >= -1e-9).all()


def test_more_columns_than_rows():
    X, y = sample(n=80, p=400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = CoxPath(l1_ratio=0.9, n_alphas=25, alpha_min_ratio=0.1, tol=1e-14).fit(X, y)
    beta = model.coef_path_[:, -1]
    slope, unit = slopes(X, y, beta)
    on = beta != 0
    assert 5 < on.sum() < 80
    alpha = model.alphas_[-1]
    pull = (slope * unit - alpha * 0.1 * beta / unit) / alpha
    np.testing.assert_allclose(pull[on], 0.9 * np.sign(beta[on]), rtol=1e-4)
    assert (np.abs(pull[~on]) <= 0.9 * (1 + 1e-5)).all()


def test_no_penalty_is_the_plain_model_and_free_columns_stay():
    X, y = sample()
    plain = CoxPH().fit(X, y)
    np.testing.assert_allclose(CoxPath(alphas=[1.0, 0.1, 0.0], tol=1e-18).fit(X, y).coef_, plain.coef_, rtol=1e-6)
    free = np.ones(12)
    free[4] = 0
    model = CoxPath(penalty_factor=free, n_alphas=10, tol=1e-16).fit(X, y)
    assert (np.flatnonzero(model.coef_path_[:, 0]) == [4]).all()
    np.testing.assert_allclose(model.coef_path_[4, 0], CoxPH().fit(X[:, [4]], y).coef_[0], rtol=1e-5)
    assert (model.coef_path_[4] != 0).all()


def test_a_window_of_unchecked_penalties_changes_nothing(monkeypatch):
    X, y = sample(n=60, p=150, seed=3)
    wide = CoxPath(n_alphas=30, tol=1e-16, alpha_min_ratio=0.1).fit(X, y)
    monkeypatch.setattr(cox_path, "_WINDOW", 1)
    narrow = CoxPath(n_alphas=30, tol=1e-16, alpha_min_ratio=0.1).fit(X, y)
    np.testing.assert_allclose(wide.coef_path_, narrow.coef_path_, atol=1e-6 * np.abs(narrow.coef_path_).max())
    # And when the strong rule lets nothing but the first column in, the check brings the others back.
    monkeypatch.setattr(cox_path, "_WINDOW", 4)
    monkeypatch.setattr(cox_path._Problem, "_widen", lambda self, *_: None if self.work.size else self._look_at(
        np.array([int(np.argmax(self._pull()))])))  # fmt: skip
    blind = CoxPath(n_alphas=30, tol=1e-16, alpha_min_ratio=0.1).fit(X, y)
    np.testing.assert_allclose(blind.coef_path_, narrow.coef_path_, atol=1e-6 * np.abs(narrow.coef_path_).max())


def test_cross_validation_finds_the_columns_that_matter():
    X, y = sample(n=1000, p=30)
    best, sparse = (CoxPath(cv=5, rule=rule, n_alphas=30).fit(X, y) for rule in ("min", "1se"))
    assert set(range(3)) <= set(np.flatnonzero(best.coef_))
    assert set(range(2)) <= set(np.flatnonzero(sparse.coef_))
    assert (sparse.coef_ != 0).sum() < (best.coef_ != 0).sum() < 30
    assert sparse.alpha_ > best.alpha_
    at = int(np.argmin(best.cv_deviance_))
    assert best.alpha_ == best.alphas_[at]
    assert 0 < at < best.alphas_.size - 1
    bound = best.cv_deviance_[at] + best.cv_deviance_error_[at]
    assert sparse.alpha_ == best.alphas_[np.flatnonzero(best.cv_deviance_ <= bound)[0]]
    np.testing.assert_array_equal(CoxPath(cv=5, n_alphas=30).fit(X, y).cv_deviance_, best.cv_deviance_)
    other = CoxPath(cv=5, n_alphas=30, random_state=1).fit(X, y)
    assert (other.cv_deviance_ != best.cv_deviance_).any()


def test_the_deviance_left_out_is_that_of_all_rows_less_that_of_the_rest():
    X, y = sample(n=90, p=2)
    model = CoxPath(cv=3, n_alphas=8, alpha_min_ratio=0.05, tol=1e-16).fit(X, y)
    fold = cox_path._folds(read_outcome(y), None, 3, 0)
    assert np.bincount(fold, y["event"]).max() - np.bincount(fold, y["event"]).min() <= 1
    total = np.zeros(8)
    for k in range(3):
        rest = CoxPath(alphas=model.alphas_, tol=1e-16).fit(X[fold != k], y[fold != k])
        for i, beta in enumerate(rest.coef_path_.T):
            logs = [
                CoxPH().fit(np.empty((len(part), 0)), part, offset=rows @ beta).loglik_[1]
                for rows, part in ((X, y), (X[fold != k], y[fold != k]))
            ]
            total[i] -= 2 * (logs[0] - logs[1])
    np.testing.assert_allclose(model.cv_deviance_, total / y["event"].sum(), rtol=1e-6)


def test_clusters_stay_whole_in_the_folds():
    _, y = sample()
    cluster = np.random.default_rng(0).integers(0, 40, len(y))
    fold = cox_path._folds(read_outcome(y), cluster, 5, 0)
    assert all(np.unique(fold[cluster == c]).size == 1 for c in np.unique(cluster))
    with pytest.raises(NotEstimableError, match="2 clusters for 5 folds"):
        CoxPath(cv=5).fit(*sample(), cluster=np.arange(200) % 2)


def test_curves_are_those_of_the_chosen_coefficients():
    X, y = sample()
    strata = np.random.default_rng(0).integers(0, 2, len(y))
    model = CoxPath(cv=4, n_alphas=15).fit(X, y, strata=strata)
    fixed = CoxPH().fit(np.empty((len(y), 0)), y, strata=strata, offset=X @ model.coef_)
    np.testing.assert_allclose(
        model.predict_survival_function(X, [3.0, 12.0], strata=strata),
        fixed.predict_survival_function(X[:, :0], [3.0, 12.0], strata=strata, offset=X @ model.coef_), rtol=1e-9,
    )  # fmt: skip
    assert model.score(X, y, strata=strata) > 0.6
    rows = model.coefficient_table()
    assert all(row["lower"] is None and "lasso" in row["note"] for row in rows)
    again = CoxPath.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    assert again.to_state() == model.to_state()
    np.testing.assert_array_equal(
        again.predict_survival_function(X, [3.0], strata=strata),
        model.predict_survival_function(X, [3.0], strata=strata),
    )


def test_the_recipe_fits_in_a_study_and_packages_no_patient():
    X, y = sample()
    model = StudyModel(cox_path.RECIPE, [Variable(name=f"v{j}") for j in range(12)], seed=3).fit(X, y)
    assert model.estimator.step_events == 5
    assert model.estimator.random_state == 3
    state = json.loads(json.dumps(cox_path.RECIPE.to_state(model.estimator), allow_nan=False))
    again = StudyModel.assemble(cox_path.RECIPE, model.preparation, cox_path.RECIPE.from_state(state))
    np.testing.assert_array_equal(again.risk(X, [5.0, 20.0]), model.risk(X, [5.0, 20.0]))
    own = set(y["time"][y["event"]].tolist())
    assert not own & set(state["curves"][0]["times"][1::2][:-1])


def test_constant_and_repeated_columns():
    X, y = sample(p=4)
    wide = np.column_stack([X, np.ones(len(y)), X[:, 0]])
    model = CoxPath(n_alphas=20).fit(wide, y)
    assert np.isfinite(model.coef_path_).all()
    assert (model.coef_path_[4] == 0).all()
    alone = CoxPath(alphas=model.alphas_, tol=1e-16).fit(X, y)
    together = CoxPath(alphas=model.alphas_, tol=1e-16).fit(wide, y)
    np.testing.assert_allclose(
        together.coef_path_[0] + together.coef_path_[5], alone.coef_path_[0], rtol=1e-4, atol=1e-7
    )  # fmt: skip


def test_units_and_order_do_not_matter():
    X, y = sample()
    model = CoxPath(n_alphas=15, tol=1e-14).fit(X, y)
    order, scale = np.random.default_rng(0).permutation(len(y)), np.geomspace(1e-4, 1e4, 12)
    moved = CoxPath(n_alphas=15, tol=1e-14).fit(
        (X * scale + 5)[order], outcome(y["event"], y["time"] / 365.25)[order]
    )  # fmt: skip
    np.testing.assert_allclose(moved.alphas_, model.alphas_, rtol=1e-9)
    np.testing.assert_allclose(moved.coef_path_ * scale[:, None], model.coef_path_, rtol=1e-4, atol=1e-7)


def test_conventions_and_refusals():
    X, y = sample()
    model = CoxPath(l1_ratio=0.5, n_alphas=5)
    assert clone(model).get_params() == model.get_params()
    kept = X.copy()
    model.fit(X, y, [f"c{j}" for j in range(12)])
    np.testing.assert_array_equal(X, kept)
    assert model.feature_names_in_[3] == "c3"
    for wrong, message in (
        ({"l1_ratio": 0}, "l1_ratio"),
        ({"ties": "exact"}, "ties"),
        ({"rule": "max"}, "rule"),
        ({"cv": 1}, "cv = 1"),
        ({"n_alphas": 0}, "n_alphas"),
        ({"alpha_min_ratio": 2.0}, "alpha_min_ratio"),
        ({"alphas": [-1.0]}, "alphas"),
        ({"penalty_factor": [1.0]}, "penalty_factor"),
    ):
        with pytest.raises(StudyFileError, match=message):
            CoxPath(**wrong).fit(X, y)
    with pytest.raises(NotEstimableError, match="no event"):
        CoxPath().fit(X, outcome(np.zeros(200, bool), y["time"]))
    with pytest.raises(NotEstimableError, match="no column is related"):
        CoxPath().fit(np.ones((200, 2)), y)
    with pytest.raises(DataError, match="missing or infinite"):
        CoxPath().fit(np.where(X[0, 0] == X, np.nan, X), y)
    one = outcome(np.arange(200) < 2, y["time"])
    with pytest.raises(NotEstimableError, match="leaves no events"):
        CoxPath(cv=5).fit(X, one)
    with pytest.warns(ConvergenceWarning, match="no convergence at penalty"):
        CoxPath(max_iter=1, tol=1e-12, n_alphas=4).fit(X, y)
