"""CoxPH: the likelihood it maximises, what it refuses, its curves and tables (R's numbers are in tests/oracles)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.prognosis.coefficients import coefficients
from aimed.prognosis.cox import CoxPH


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=200, p=3, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * [1.0, 5.0, 0.2][:p] + 3
    beta = np.array([0.5, -0.1, 1.0])[:p]
    death, lost = rng.exponential(20 * np.exp(-(X - 3) @ beta)), rng.exponential(25, n)
    time = np.minimum(death, lost)
    return X, outcome(death <= lost, np.ceil(time) if ties else time)


def slow_loglik(beta, X, y, ties, penalty):
    """Return the penalised log partial likelihood, written as in the textbook."""
    eta, total = X @ beta, 0.0
    for t in np.unique(y["time"][y["event"]]):
        dying = np.flatnonzero(y["event"] & (y["time"] == t))
        whole, part = np.exp(eta[y["time"] >= t]).sum(), np.exp(eta[dying]).sum()
        for i in range(dying.size):
            share = i / dying.size if ties == "efron" else 0.0
            total += eta[dying[i]] - np.log(whole - share * part)
    return total - penalty / 2 * beta @ beta


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("penalty", [0.0, 7.0])
def test_the_maximum_of_the_textbook_likelihood(ties, penalty):
    X, y = sample()
    model = CoxPH(ties=ties, penalty=penalty).fit(X, y)
    top = slow_loglik(model.coef_, X, y, ties, penalty)
    assert model.loglik_[1] == pytest.approx(top + penalty / 2 * model.coef_ @ model.coef_, abs=1e-9)
    assert model.loglik_[0] == pytest.approx(slow_loglik(np.zeros(3), X, y, ties, 0), abs=1e-9)
    for j in range(3):
        step = np.eye(3)[j] * 1e-4
        up, down = (slow_loglik(model.coef_ + s, X, y, ties, penalty) for s in (step, -step))
        assert (up - down) / 2e-4 == pytest.approx(0, abs=1e-5)
        curvature = -(up - 2 * top + down) / 1e-8
        assert np.linalg.inv(model.covariance_)[j, j] == pytest.approx(curvature, rel=1e-3)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_blocks_and_row_order_do_not_matter(ties, monkeypatch):
    X, y = sample(n=500)
    whole = CoxPH(ties=ties).fit(X, y)
    order = np.random.default_rng(3).permutation(len(y))
    np.testing.assert_allclose(CoxPH(ties=ties).fit(X[order], y[order]).coef_, whole.coef_, rtol=1e-10)
    monkeypatch.setattr("aimed.prognosis.cox._BLOCK", 17)
    blocks = CoxPH(ties=ties).fit(X, y)
    np.testing.assert_allclose(blocks.coef_, whole.coef_, rtol=1e-10)
    np.testing.assert_allclose(blocks.covariance_, whole.covariance_, rtol=1e-9)


def test_shift_and_scale_of_a_column_change_nothing_else():
    X, y = sample()
    plain, moved = CoxPH().fit(X, y), CoxPH().fit(X * [1e6, 1e-6, 1] + [1e7, 0, -50], y)
    np.testing.assert_allclose(moved.coef_, plain.coef_ / [1e6, 1e-6, 1], rtol=1e-7)
    np.testing.assert_allclose(
        moved.predict_survival_function(X * [1e6, 1e-6, 1] + [1e7, 0, -50], times=[5, 10]),
        plain.predict_survival_function(X, times=[5, 10]), rtol=1e-7,
    )  # fmt: skip


def test_curves():
    X, y = sample()
    model = CoxPH().fit(X, y)
    curves = model.predict_survival_function(X, return_array=True)
    assert curves.shape == (len(y), model.unique_times_.size)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert (model.predict_survival_function(X, times=[0.0]) == 1).all()
    functions = model.predict_survival_function(X[:3])
    for i, function in enumerate(functions):
        np.testing.assert_array_equal(function(model.unique_times_), curves[i])
        assert function(0.0) == 1.0
    hazard = model.predict_cumulative_hazard_function(X, times=[3.0, 9.0])
    np.testing.assert_allclose(np.exp(-hazard), model.predict_survival_function(X, times=[3.0, 9.0]))
    assert model.predict_cumulative_hazard_function(X[:1])[0](0.0) == 0.0
    higher = np.argsort(model.predict(X))
    assert (np.diff(model.predict_survival_function(X[higher], times=[8.0])[:, 0]) <= 0).all()
    with pytest.raises(DataError, match="times are missing"):
        model.predict_survival_function(X, times=[float("nan")])


def test_state_travels_through_json():
    X, y = sample()
    model = CoxPH(penalty=1.0).fit(X, y, feature_names=["a", "b", "c"])
    again = CoxPH.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(
        again.predict_survival_function(X, times=[1, 5, 50]), model.predict_survival_function(X, times=[1, 5, 50])
    )
    assert again.summary() == model.summary()
    assert again.to_state() == model.to_state()


def test_constant_and_collinear_columns_are_named():
    X, y = sample()
    wide = np.column_stack([X, np.full(len(y), 0.3), X[:, 0] * 2 - X[:, 2]])
    names = ["age", "sys", "hb", "site", "mix"]
    with pytest.raises(NotEstimableError, match=r"'site' does not vary.*'mix' is a combination of 'age', 'hb'"):
        CoxPH().fit(wide, y, feature_names=names)
    dropped = CoxPH(collinear="drop").fit(wide, y, feature_names=names)
    assert dropped.aliased_ == ["site", "mix"]
    assert dropped.coef_[3:].tolist() == [0, 0]
    np.testing.assert_allclose(dropped.coef_[:3], CoxPH().fit(X, y).coef_, rtol=1e-9)
    assert dropped.tests_["wald"]["df"] == 3
    rows = dropped.coefficient_table()
    assert rows[3]["lower"] is None
    assert "adds nothing" in rows[3]["note"]
    json.dumps(dropped.to_state(), allow_nan=False)
    assert np.isfinite(CoxPH(penalty=1.0).fit(wide, y).coef_).all()


def test_separation_is_named():
    X, y = sample()
    flag = np.zeros(len(y))
    flag[np.flatnonzero(~y["event"])[:15]] = 1
    with pytest.raises(NotEstimableError, match=r"'flag' grows without bound.*penalty > 0"):
        CoxPH().fit(np.column_stack([X, flag]), y, feature_names=["a", "b", "c", "flag"])
    assert CoxPH(penalty=1.0).fit(np.column_stack([X, flag]), y).coef_[3] < 0


def test_a_large_but_finite_effect_is_no_separation():
    rng = np.random.default_rng(2)
    x = rng.normal(size=4000)
    y = outcome(np.ones(4000, bool), rng.exponential(np.exp(-6 * x)))
    assert CoxPH().fit(x[:, None], y).coef_[0] == pytest.approx(6, abs=0.4)


def test_what_is_refused():
    X, y = sample()
    with pytest.raises(NotEstimableError, match="no event"):
        CoxPH().fit(X, outcome(np.zeros(len(y), bool), y["time"]))
    with pytest.raises(DataError, match="1 rows with missing"):
        CoxPH().fit(np.where(np.arange(X.size).reshape(X.shape) == 4, np.nan, X), y)
    with pytest.raises(DataError, match="structured"):
        CoxPH().fit(X, y["time"])
    with pytest.raises(DataError, match="missing, infinite or negative"):
        CoxPH().fit(X, outcome(y["event"], np.where(y["time"] > 5, np.nan, y["time"])))
    with pytest.raises(DataError, match="one outcome a row"):
        CoxPH().fit(X[:-1], y)
    with pytest.raises(DataError, match="2 columns"):
        CoxPH().fit(X, y).predict(X[:, :2])
    with pytest.raises(StudyFileError, match="efron"):
        CoxPH(ties="exact").fit(X, y)
    with pytest.raises(StudyFileError, match="penalty"):
        CoxPH(penalty=-1).fit(X, y)
    with pytest.raises(StudyFileError, match="drop"):
        CoxPH(collinear="no").fit(X, y)
    with pytest.raises(NotFittedError):
        CoxPH().predict(X)


def test_conventions():
    X, y = sample()
    kept = X.copy(), y.copy()
    model = CoxPH(ties="breslow", penalty=0.5).fit(X, y)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "coef_")
    np.testing.assert_array_equal(copy.fit(X, y).coef_, model.coef_)
    renamed = np.array(list(zip(y["time"], y["event"], strict=True)), dtype=[("days", "f4"), ("dead", "?")])
    np.testing.assert_allclose(copy.fit(X, renamed).coef_, model.coef_, rtol=1e-6)


def test_no_columns_is_the_null_model():
    _, y = sample()
    model = CoxPH().fit(np.empty((len(y), 0)), y)
    assert model.loglik_[0] == model.loglik_[1]
    assert model.predict_survival_function(np.empty((2, 0)), times=[5.0]).shape == (2, 1)


def test_tables():
    X, y = sample()
    model = CoxPH().fit(X, y)
    row = model.summary()[0]
    table = coefficients(model, ["age", "b", "c"])[0]
    assert table["term"] == "age"
    assert table["ratio"] == row["hazard_ratio"] == np.exp(row["coefficient"])
    assert (table["lower"], table["ratio_upper"]) == pytest.approx((row["lower"], row["hazard_ratio_upper"]))
    assert table["p"] == pytest.approx(row["p"])
    assert row["lower"] == pytest.approx(row["coefficient"] - 1.959964 * row["standard_error"], abs=1e-5)
    ridge = coefficients(CoxPH(penalty=1.0).fit(X, y))[0]
    assert ridge["term"] == "x0"
    assert ridge["lower"] is None
    assert "ridge" in ridge["note"]
