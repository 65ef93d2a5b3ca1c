"""Intervals of predicted risk: the two linear models against the textbook formulas, and their coverage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

from aimed.core import DataError
from aimed.prognosis import cox
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.logistic import Logistic

Z = special.ndtri(0.975)


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def survival_rows(n=80, seed=0, ties=True, spread=(1.0, 20.0, 1e-3)):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) * spread + [0.0, 500.0, 0.0]
    signal = (X - [0.0, 500.0, 0.0]) / spread @ [0.6, -0.4, 0.2]
    death, lost = rng.exponential(20 * np.exp(-signal)), rng.exponential(30, n)
    time = np.minimum(death, lost)
    return X, outcome(death <= lost, np.ceil(time / 3) if ties else time)


def binary_rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) * [1.0, 10.0, 0.1] + [0.0, 50.0, 0.0]
    return X, (rng.random(n) < special.expit(-0.5 + X[:, 0] + 0.05 * (X[:, 1] - 50))).astype(np.int8)


def slow_hazard(beta, x, X, y, ties, t):
    """Return the cumulative hazard at x and one time, the variance of its steps and ∫ (x - x̄) dΛ, in loops."""
    r = np.exp((X - x) @ beta)
    total, variance, q = 0.0, 0.0, np.zeros(len(beta))
    for s in np.unique(y["time"][y["event"]]):
        if s > t:
            break
        risk, dying = y["time"] >= s, y["event"] & (y["time"] == s)
        for i in range(dying.sum()):
            share = i / dying.sum() if ties == "efron" else 0.0
            weight = r * (risk - share * dying)
            total += 1 / weight.sum()
            variance += 1 / weight.sum() ** 2
            q += (x - weight @ X / weight.sum()) / weight.sum()
    return total, variance, q


def slow_limits(model, x, X, y, t):
    """Return the log-log limits of the risk, by `slow_hazard`."""
    total, variance, q = slow_hazard(model.coef_, x, X, y, model.ties, t)
    half = Z * np.sqrt(variance + q @ model.covariance_ @ q) / total
    return 1 - np.exp(-total * np.exp(-half)), 1 - np.exp(-total * np.exp(half))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("rounded", [True, False])
def test_cox_limits_are_the_textbooks(ties, rounded):
    X, y = survival_rows(ties=rounded)
    model = CoxPH(ties=ties).fit(X, y)
    assert model.unique_times_.size < 200
    assert (model.unique_times_.size < model.n_events_) == rounded
    times = np.append(model.unique_times_[[0, 1, 4, -1]], [model.unique_times_[3] + 1e-6, 1e6])
    new = np.vstack([X[:4], X.mean(axis=0), X.mean(axis=0) + 4 * X.std(axis=0)])
    lower, upper = model.risk_interval(new, times)
    assert lower.shape == upper.shape == (6, 6)
    for i, x in enumerate(new):
        for j, t in enumerate(times):
            assert (lower[i, j], upper[i, j]) == pytest.approx(slow_limits(model, x, X, y, t), rel=1e-8, abs=1e-12)


def test_cox_limits_are_those_of_r():
    # R 2.11, survival 2.35-8: summary(survfit(coxph(Surv(futime, fustat) ~ age, ovarian), data.frame(age = 60))),
    # as printed on r-help in 2010: survival, its standard error, and limits of type "log".
    dead = {
        59: 72.3315, 115: 74.4932, 156: 66.4658, 268: 74.5041, 329: 43.1370, 353: 63.2192, 365: 64.4247,
        431: 50.3397, 464: 56.9370, 475: 59.8548, 563: 55.1781, 638: 56.7562,
    }  # fmt: skip
    alive = {
        377: 58.3096, 421: 53.3644, 448: 56.4301, 477: 64.1753, 744: 50.1096, 769: 59.6301, 770: 57.0521,
        803: 39.2712, 855: 43.1233, 1040: 38.8932, 1106: 44.6000, 1129: 53.9068, 1206: 44.2055, 1227: 59.5890,
    }  # fmt: skip
    survival = [0.978, 0.952, 0.917, 0.880, 0.818, 0.760, 0.698, 0.623, 0.549, 0.480, 0.382, 0.297]
    error = [0.0240, 0.0390, 0.0556, 0.0704, 0.0884, 0.0991, 0.1079, 0.1187, 0.1248, 0.1267, 0.1332, 0.1292]
    upper = [1.0, 1.0, 1.0, 1.0, 1.0, 0.981, 0.945, 0.905, 0.858, 0.805, 0.757, 0.697]
    age = np.array([*dead.values(), *alive.values()])[:, None]
    model = CoxPH().fit(age, outcome(np.arange(26) < 12, [*dead, *alive]))
    times = list(dead)
    S = model.predict_survival_function([[60.0]], times)[0]
    np.testing.assert_allclose(S, survival, atol=0.00051)
    low, high = (np.log(-np.log1p(-end[0])) for end in model.risk_interval([[60.0]], times))
    relative = (high - low) / (2 * Z)
    np.testing.assert_allclose(S * -np.log(S) * relative, error, atol=0.000051)
    np.testing.assert_allclose(np.minimum(np.exp(np.log(S) * (1 - Z * relative)), 1), upper, atol=0.00051)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_variance_is_the_numerical_delta_methods(ties):
    X, y = survival_rows()
    model = CoxPH(ties=ties).fit(X, y)
    x, t, scale = X[3], float(model.unique_times_[4]), model.standard_errors_
    total, variance, _ = slow_hazard(model.coef_, x, X, y, ties, t)
    slope = np.empty(3)
    for j in range(3):
        step = np.eye(3)[j] * scale[j] * 1e-4
        up, down = (slow_hazard(model.coef_ + s, x, X, y, ties, t)[0] for s in (step, -step))
        slope[j] = (up - down) / (2e-4 * scale[j])
    spread = np.sqrt(variance + slope @ model.covariance_ @ slope) / total
    lower, upper = model.risk_interval(x[None, :], [t])
    inner = [np.log(-np.log1p(-end[0, 0])) for end in (lower, upper)]
    assert (inner[1] - inner[0]) / (2 * Z) == pytest.approx(spread, rel=1e-6)
    assert np.mean(inner) == pytest.approx(np.log(total), abs=1e-9)


def test_cox_without_an_effect_is_nelson_and_aalen():
    rng = np.random.default_rng(3)
    event, time = rng.random(400) < 0.7, np.ceil(rng.exponential(50, 400))
    # Each patient once with either value: the coefficient is 0, and the mean of those at risk always one half.
    X = np.repeat([[0.0], [1.0]], 400, axis=0)
    model = CoxPH(ties="breslow").fit(X, outcome(np.tile(event, 2), np.tile(time, 2)))
    assert model.coef_[0] == pytest.approx(0, abs=1e-12)
    t = 40.0
    grid = np.unique(time[event & (time <= t)])
    d = 2 * np.array([(event & (time == s)).sum() for s in grid])
    n = 2 * np.array([(time >= s).sum() for s in grid])
    hazard, aalen, greenwood = (d / n).sum(), (d / n**2).sum(), (d / (n * (n - d))).sum()
    lower, upper = (end[0, 0] for end in model.risk_interval([[0.5]], [t]))
    half = Z * np.sqrt(aalen) / hazard
    assert lower == pytest.approx(1 - np.exp(-hazard * np.exp(-half)), rel=1e-9)
    assert upper == pytest.approx(1 - np.exp(-hazard * np.exp(half)), rel=1e-9)
    # Kaplan and Meier's log-log limits are nearly the same.
    meier = -np.log1p(-d / n).sum()
    half = Z * np.sqrt(greenwood) / meier
    assert lower == pytest.approx(1 - np.exp(-meier * np.exp(-half)), abs=0.005)
    assert upper == pytest.approx(1 - np.exp(-meier * np.exp(half)), abs=0.005)
    away = model.risk_interval([[3.0]], [t])
    assert away[1][0, 0] - away[0][0, 0] > 2 * (upper - lower)


def test_cox_without_columns_still_has_the_hazards_own_variance():
    X, y = survival_rows()
    model = CoxPH(ties="breslow").fit(X[:, :0], y)
    lower, upper = model.risk_interval(X[:2, :0], [5.0])
    total, variance, _ = slow_hazard(np.zeros(0), np.zeros(0), X[:, :0], y, "breslow", 5.0)
    half = Z * np.sqrt(variance) / total
    np.testing.assert_allclose(lower, 1 - np.exp(-total * np.exp(-half)), rtol=1e-12)
    np.testing.assert_allclose(upper, 1 - np.exp(-total * np.exp(half)), rtol=1e-12)


@pytest.mark.parametrize("rounded", [True, False])
def test_cox_keeps_at_most_200_times_and_hardly_loses_by_it(monkeypatch, rounded):
    X, y = survival_rows(3000, ties=False)
    if rounded:
        y["time"] = np.ceil(y["time"] * 20)
    model = CoxPH().fit(X, y)
    assert model.unique_times_.size > 400
    assert [part.shape[0] for part in model.curve_variance_] == [model.curve_variance_[0].size] * 3
    assert 100 < model.curve_variance_[0].size <= 200
    assert model.curve_variance_[0][-1] == model.unique_times_[-1]
    monkeypatch.setattr(cox, "_GRID", 10**6)
    whole = CoxPH().fit(X, y)
    assert whole.curve_variance_[0].size == whole.unique_times_.size
    at = np.searchsorted(whole.unique_times_, model.curve_variance_[0])
    for kept, full in zip(model.curve_variance_[1:], whole.curve_variance_[1:], strict=True):
        np.testing.assert_allclose(kept, full[at], rtol=1e-9, atol=1e-12 * np.abs(full).max())
    times = np.quantile(y["time"][y["event"]], np.linspace(0, 1, 1000))[1:]
    near, exact = (np.asarray(m.risk_interval(X[:50], times)) for m in (model, whole))
    np.testing.assert_allclose(near, exact, rtol=0.005)
    # The width on the scale of log(-log S), where the model's risk does not matter.
    open_ = (exact > 1e-9).all(axis=0) & (exact < 1 - 1e-9).all(axis=0)
    width = [np.diff(np.log(-np.log1p(-ends[:, open_])), axis=0) for ends in (near, exact)]
    np.testing.assert_allclose(width[0], width[1], rtol=0.01)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_holds_the_risk_and_widens_with_the_level(level):
    X, y = survival_rows()
    times = np.array([0.0, 0.5, 1.0, 4.0, 12.0, 1e9])
    model = CoxPH(level=level).fit(X, y)
    new = np.vstack([X, X.mean(axis=0) + 1e3 * X.std(axis=0), X.mean(axis=0) - 1e3 * X.std(axis=0)])
    risk = 1 - model.predict_survival_function(new, times)
    lower, upper = model.risk_interval(new, times)
    assert ((lower >= 0) & (lower <= risk) & (risk <= upper) & (upper <= 1)).all()
    assert (lower[:-2, 2:] < upper[:-2, 2:]).all()
    wide = CoxPH(level=0.99).fit(X, y).risk_interval(X, times)
    assert (wide[0][:, 2:] < lower[:-2, 2:]).all()
    assert (wide[1][:, 2:4] > upper[:-2, 2:4]).all()

    A, z = binary_rows()
    plain = Logistic(penalty="none", level=level).fit(A, z)
    middle = plain.predict_proba(A)[:, 1]
    lower, upper = plain.risk_interval(A)
    assert lower.shape == upper.shape == (300,)
    assert ((lower > 0) & (lower < middle) & (middle < upper) & (upper < 1)).all()
    wide = Logistic(penalty="none", level=0.99).fit(A, z).risk_interval(A)
    assert ((wide[0] < lower) & (wide[1] > upper)).all()


def test_no_risk_before_the_first_event():
    X, y = survival_rows()
    model = CoxPH().fit(X, y)
    first = model.unique_times_[0]
    for end in model.risk_interval(X, [0.0, np.nextafter(first, 0), first]):
        assert (end[:, :2] == 0).all()
        assert (end[:, 2] > 0).all()
    assert all((end == 0).all() for end in model.risk_interval(X, [0.0]))


def test_logistic_limits_are_those_of_the_inverse_information():
    X, y = binary_rows()
    model = Logistic(penalty="none").fit(X, y)
    design = np.column_stack([X, np.ones(len(y))])
    risk = special.expit(design @ np.append(model.coef_[0], model.intercept_))
    V = np.linalg.inv(sum(np.outer(row, row) * p * (1 - p) for row, p in zip(design, risk, strict=True)))
    np.testing.assert_allclose(model.covariance_, V, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(np.sqrt(np.diag(model.covariance_)), model.standard_errors_)
    lower, upper = model.risk_interval(X[:20])
    for i, row in enumerate(design[:20]):
        eta, half = special.logit(risk[i]), Z * np.sqrt(row @ V @ row)
        assert (lower[i], upper[i]) == pytest.approx((special.expit(eta - half), special.expit(eta + half)), rel=1e-8)


def test_a_dropped_column_contributes_nothing():
    X, y = binary_rows()
    more = np.column_stack([X[:, 0], np.full(len(y), 7.0), X[:, 1], X[:, 0] + X[:, 1], X[:, 2]])
    model = Logistic(penalty="none").fit(more, y)
    assert model.aliased_ == ["x1", "x3"]
    assert np.isnan(model.covariance_[[1, 3]]).all()
    other = more.copy()
    other[:, [1, 3]] = 1e3
    for end, plain in zip(model.risk_interval(other), Logistic(penalty="none").fit(X, y).risk_interval(X), strict=True):
        np.testing.assert_allclose(end, plain, rtol=1e-9)

    X, y = survival_rows()
    more = np.column_stack([X[:, 0], np.full(len(y), 7.0), X[:, 1], X[:, 0] / 2 + X[:, 2] * 1e3, X[:, 2]])
    model = CoxPH(collinear="drop").fit(more, y)
    assert model.aliased_ == ["x1", "x4"]
    other = more.copy()
    other[:, [1, 4]] = 1e3
    expected = CoxPH().fit(more[:, [0, 2, 3]], y).risk_interval(more[:, [0, 2, 3]], [2.0, 5.0])
    for end, plain in zip(model.risk_interval(other, [2.0, 5.0]), expected, strict=True):
        np.testing.assert_allclose(end, plain, rtol=1e-9)


def test_all_columns_dropped_leaves_the_overall_risk():
    y = np.array([0, 1, 1, 0, 1, 1, 0, 1])
    lower, upper = Logistic(penalty="none").fit(np.ones((8, 2)), y).risk_interval(np.ones((1, 2)))
    half = Z / np.sqrt(8 * 0.625 * 0.375)
    assert special.logit([lower[0], upper[0]]) == pytest.approx(special.logit(0.625) + np.array([-half, half]))
    X, z = survival_rows()
    flat = CoxPH(collinear="drop").fit(np.ones((len(z), 2)), z)
    bare = CoxPH().fit(X[:, :0], z)
    for end, other in zip(
        flat.risk_interval(np.ones((3, 2)), [5.0]), bare.risk_interval(X[:3, :0], [5.0]), strict=True
    ):
        np.testing.assert_array_equal(end, other)


def test_the_unit_of_a_column_does_not_matter():
    X, y = survival_rows()
    times = [2.0, 5.0]
    change = np.array([1e-6, 1e5, 1.0])
    lower, upper = CoxPH().fit(X * change + 3, y).risk_interval(X * change + 3, times)
    expected = CoxPH().fit(X, y).risk_interval(X, times)
    np.testing.assert_allclose(lower, expected[0], rtol=1e-6)
    np.testing.assert_allclose(upper, expected[1], rtol=1e-6)


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_no_interval_of_a_penalised_logistic_model(penalty):
    X, y = binary_rows()
    model = Logistic(penalty=penalty).fit(X / [1, 10, 0.1], y)
    assert model.covariance_ is None
    assert model.risk_interval(X) is None
    assert Logistic.from_state(json.loads(json.dumps(model.to_state()))).risk_interval(X) is None
    assert model.set_params(penalty="none").fit(X, y).risk_interval(X) is not None
    assert model.set_params(penalty="ridge").fit(X, y).risk_interval(X) is None


def test_no_interval_of_a_penalised_cox_model():
    X, y = survival_rows()
    model = CoxPH(penalty=2.0).fit(X, y)
    assert model.risk_interval(X, [3.0]) is None
    assert CoxPH.from_state(json.loads(json.dumps(model.to_state()))).risk_interval(X, [3.0]) is None
    assert model.set_params(penalty=0.0).fit(X, y).risk_interval(X, [3.0]) is not None
    assert model.set_params(penalty=2.0).fit(X, y).risk_interval(X, [3.0]) is None


def test_stored_models_give_the_same_limits_to_the_last_bit():
    X, y = binary_rows()
    for rows in (X, np.column_stack([X, X[:, 0]])):
        model = Logistic(penalty="none").fit(rows, y)
        state = json.loads(json.dumps(model.to_state(), allow_nan=False))
        again = Logistic.from_state(state)
        assert again.to_state() == model.to_state()
        np.testing.assert_array_equal(again.risk_interval(rows), model.risk_interval(rows))
        del state["covariance"]
        older = Logistic.from_state(state)
        assert older.risk_interval(rows) is None
        np.testing.assert_array_equal(older.predict_proba(rows), model.predict_proba(rows))
    X, y = survival_rows()
    for rows in (X, np.column_stack([X, X[:, 0]]), X[:, :0]):
        model = CoxPH(collinear="drop").fit(rows, y)
        state = json.loads(json.dumps(model.to_state(), allow_nan=False))
        again = CoxPH.from_state(state)
        assert again.to_state() == model.to_state()
        times = [0.0, 1.0, 4.5, 99.0]
        np.testing.assert_array_equal(again.risk_interval(rows, times), model.risk_interval(rows, times))
        del state["curve_variance"]
        older = CoxPH.from_state(state)
        assert older.risk_interval(rows, times) is None
        np.testing.assert_array_equal(older.predict(rows), model.predict(rows))


def test_bad_input_is_refused():
    X, y = survival_rows()
    model = CoxPH().fit(X, y)
    with pytest.raises(DataError, match="times are missing"):
        model.risk_interval(X, [1.0, np.nan])
    with pytest.raises(DataError, match="2 columns"):
        model.risk_interval(X[:, :2], [1.0])
    A, z = binary_rows()
    with pytest.raises(ValueError, match="2 features"):
        Logistic(penalty="none").fit(A, z).risk_interval(A[:, :2])


@pytest.mark.slow
def test_coverage_of_cox_intervals_is_the_level():
    beta, t = np.array([0.5, -0.3]), 5.0
    new = np.array([[0.0, 0.0], [1.5, 0.0], [-1.0, 1.0], [2.0, -2.0]])
    truth = 1 - np.exp(-t / 15 * np.exp(new @ beta))
    rng, hit, runs = np.random.default_rng(1), np.zeros(4), 2000
    for _ in range(runs):
        X = rng.normal(size=(250, 2))
        death, lost = rng.exponential(15 * np.exp(-X @ beta)), rng.exponential(25, 250)
        model = CoxPH().fit(X, outcome(death <= lost, np.minimum(death, lost)))
        lower, upper = (end[:, 0] for end in model.risk_interval(new, [t]))
        hit += (lower <= truth) & (truth <= upper)
    np.testing.assert_allclose(hit / runs, 0.95, atol=0.015)


@pytest.mark.slow
def test_coverage_of_logistic_intervals_is_the_level():
    beta = np.array([0.8, -0.5])
    new = np.array([[0.0, 0.0], [1.5, 0.0], [-1.0, 1.0], [2.0, -2.0]])
    truth = special.expit(-0.7 + new @ beta)
    rng, hit, runs = np.random.default_rng(2), np.zeros(4), 2000
    for _ in range(runs):
        X = rng.normal(size=(400, 2))
        y = (rng.random(400) < special.expit(-0.7 + X @ beta)).astype(int)
        lower, upper = Logistic(penalty="none").fit(X, y).risk_interval(new)
        hit += (lower <= truth) & (truth <= upper)
    np.testing.assert_allclose(hit / runs, 0.95, atol=0.015)
