"""Accelerated failure time models: the likelihood they maximise, censoring of every kind, curves and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.prognosis.coefficients import coefficients
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.parametric import RECIPE, AcceleratedFailureTime

NAMES = ["weibull", "exponential", "lognormal", "loglogistic"]
EPSILON = {
    "weibull": stats.gumbel_l,
    "exponential": stats.gumbel_l,
    "lognormal": stats.norm,
    "loglogistic": stats.logistic,
}


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=200, p=2, seed=0, scale=0.7, distribution="weibull"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * [1.0, 5.0, 0.2][:p] + 3
    noise = EPSILON[distribution].rvs(size=n, random_state=rng)
    time = np.exp(2 + (X - 3) @ [0.4, -0.1, 1.0][:p] + scale * noise)
    lost = rng.exponential(12, n)
    return X, outcome(time <= lost, np.minimum(time, lost))


def slow_loglik(parameters, X, y, distribution, weights=None, entry=None, upper=None):
    """Return the log-likelihood from scipy's distributions of the log time."""
    p = X.shape[1]
    sigma = 1.0 if distribution == "exponential" else np.exp(parameters[p + 1])
    law = EPSILON[distribution]
    center = parameters[0] + X @ parameters[1 : p + 1]

    def z(t):
        with np.errstate(divide="ignore"):
            return (np.log(t) - center) / sigma

    t, event = y["time"], y["event"]
    out = np.where(event, law.logpdf(z(t)) - np.log(sigma) - np.log(np.where(event, t, 1)), law.logsf(z(t)))
    if upper is not None:
        closed = ~event & np.isfinite(upper)
        out[closed] = np.log(law.sf(z(t)) - law.sf(z(upper)))[closed]
    if entry is not None:
        out = out - law.logsf(z(entry))
    return float((np.ones(len(t)) if weights is None else weights) @ out)


def derivatives(goal, at, step=1e-4):
    """Return gradient and second derivatives by differences."""
    steps = np.eye(at.size) * step
    gradient = np.array([goal(at + s / 30) - goal(at - s / 30) for s in steps]) * 15 / step
    second = np.array([[goal(at + a + b) - goal(at + a - b) - goal(at - a + b) + goal(at - a - b)
                        for a in steps] for b in steps]) / (4 * step**2)  # fmt: skip
    return gradient, second


KINDS = ["right", "weights", "entry", "interval", "all"]


@pytest.mark.parametrize("distribution", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_maximum_of_the_textbook_likelihood(distribution, kind):
    X, y = sample(distribution=distribution)
    rng = np.random.default_rng(4)
    more = {}
    if kind in ("weights", "all"):
        more["sample_weight"] = rng.uniform(0.5, 2, 200)
    if kind in ("entry", "all"):
        more["entry"] = np.where(rng.random(200) < 0.5, y["time"] * rng.random(200), 0)
    if kind in ("interval", "all"):
        # A third is known to an interval, some of them from the left.
        upper = np.full(200, np.inf)
        closed = rng.random(200) < 0.4
        upper[closed] = np.ceil(y["time"][closed]) + 1
        y = y.copy()
        y["time"][closed] = np.floor(y["time"][closed])
        y["event"] &= ~closed
        more["upper"] = upper
        if kind == "all":
            more["entry"] = np.where(closed, 0, more["entry"])
        assert (y["time"][closed] == 0).any()
    model = AcceleratedFailureTime(distribution).fit(X, y, **more)

    def goal(parameters):
        return slow_loglik(
            parameters, X, y, distribution, more.get("sample_weight"), more.get("entry"), more.get("upper")
        )

    assert model.loglik_[1] == pytest.approx(goal(model.parameters_), rel=1e-10)
    gradient, second = derivatives(goal, model.parameters_)
    np.testing.assert_allclose(gradient, 0, atol=2e-4)
    np.testing.assert_allclose(model.parameters_covariance_, np.linalg.inv(-second), rtol=2e-3, atol=1e-6)
    null = AcceleratedFailureTime(distribution).fit(X[:, :0], y, **more)
    assert model.loglik_[0] == pytest.approx(null.loglik_[1], rel=1e-9)
    assert null.parameters_.size == (1 if distribution == "exponential" else 2)


def test_exponential_without_predictors_is_events_over_time():
    X, y = sample()
    model = AcceleratedFailureTime("exponential").fit(X[:, :0], y)
    rate = y["event"].sum() / y["time"].sum()
    assert np.exp(-model.intercept_) == pytest.approx(rate, rel=1e-10)
    assert model.parameters_covariance_[0, 0] == pytest.approx(1 / y["event"].sum(), rel=1e-8)
    assert model.scale_ == 1


@pytest.mark.parametrize("distribution", NAMES)
def test_weights_are_repeated_rows_and_order_units_and_shifts_change_nothing(distribution):
    X, y = sample(distribution=distribution)
    count = np.random.default_rng(1).integers(0, 4, len(y))
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(len(y)), count))
    weighted = AcceleratedFailureTime(distribution).fit(X, y, sample_weight=count)
    twice = AcceleratedFailureTime(distribution).fit(X[rows], y[rows])
    np.testing.assert_allclose(twice.parameters_, weighted.parameters_, rtol=1e-8)
    np.testing.assert_allclose(twice.covariance_, weighted.covariance_, rtol=1e-8)
    years = outcome(y["event"], y["time"] / 365.25)
    moved = AcceleratedFailureTime(distribution).fit(X * [1e6, 1e-6] + [1e7, 0], years, sample_weight=count)
    np.testing.assert_allclose(moved.coef_ * [1e6, 1e-6], weighted.coef_, rtol=1e-6)
    assert moved.scale_ == pytest.approx(weighted.scale_, rel=1e-8)
    np.testing.assert_allclose(
        moved.predict_survival_function(X * [1e6, 1e-6] + [1e7, 0], [3 / 365.25]),
        weighted.predict_survival_function(X, [3.0]), rtol=1e-6,
    )  # fmt: skip


def test_weibull_is_a_proportional_hazards_model():
    X, y = sample(n=4000, scale=0.5)
    model, cox = AcceleratedFailureTime().fit(X, y), CoxPH().fit(X, y)
    np.testing.assert_allclose(model.coef_ / model.scale_, cox.coef_, atol=0.05)
    assert model.scale_ == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("distribution", NAMES)
def test_curves_quantiles_and_their_limits_agree(distribution):
    X, y = sample(distribution=distribution)
    model = AcceleratedFailureTime(distribution).fit(X, y)
    grid = np.array([0.0, 0.01, 1.0, 5.0, 30.0, 1e6])
    curves = model.predict_survival_function(X, grid)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    law, sigma = EPSILON[distribution], model.scale_
    z = (np.log(grid[1:]) - (model.intercept_ + X @ model.parameters_[1:3])[:, None]) / sigma
    np.testing.assert_allclose(curves[:, 1:], law.sf(z), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(
        -np.log(curves[:, :4]), model.predict_cumulative_hazard_function(X, grid[:4]), atol=1e-12
    )
    time, lower, upper = model.predict_quantile(X, 0.3)
    own = np.array([model.predict_survival_function(x[None], [t])[0, 0] for x, t in zip(X, time, strict=True)])
    np.testing.assert_allclose(own, 0.7, rtol=1e-9)
    assert ((lower < time) & (time < upper)).all()
    low, high = model.risk_interval(X, grid)
    assert ((low <= 1 - curves + 1e-15) & (1 - curves - 1e-15 <= high)).all()
    assert (low[:, 0] == 0).all()
    assert (high[:, 0] == 0).all()
    np.testing.assert_allclose(model.survival_interval(X, grid)[0], 1 - high, atol=1e-15)
    function = model.predict_survival_function(X[:2])[1]
    np.testing.assert_allclose(function(grid), curves[1], rtol=1e-12)
    assert function.y.shape == model.unique_times_.shape
    np.testing.assert_allclose(function.y, model.predict_survival_function(X[1:2], return_array=True)[0], rtol=1e-12)
    hazard = model.predict_cumulative_hazard_function(X[:2])[1]
    assert float(hazard(5.0)) == pytest.approx(-np.log(curves[1, 3]))


@pytest.mark.parametrize("distribution", NAMES)
def test_limits_are_the_delta_method_in_r_s_parameters(distribution):
    X, y = sample(distribution=distribution)
    model, row, z = AcceleratedFailureTime(distribution).fit(X, y), X[:1], 1.959963984540054
    p = 2

    def log_median(v):
        sigma = 1.0 if distribution == "exponential" else np.exp(v[p + 1])
        return v[0] + row[0] @ v[1 : p + 1] + sigma * EPSILON[distribution].ppf(0.5)

    def eta(v):
        sigma = 1.0 if distribution == "exponential" else np.exp(v[p + 1])
        return (np.log(4.0) - v[0] - row[0] @ v[1 : p + 1]) / sigma

    for goal, found in ((log_median, "quantile"), (eta, "risk")):
        v = model.parameters_
        slope = np.array([(goal(v + s) - goal(v - s)) / 2e-6 for s in np.eye(v.size) * 1e-6])
        half = z * np.sqrt(slope @ model.parameters_covariance_ @ slope)
        if found == "quantile":
            time, lower, upper = model.predict_quantile(row)
            np.testing.assert_allclose(
                np.log([lower[0], time[0], upper[0]]), goal(v) + half * np.array([-1, 0, 1]), rtol=1e-6
            )
        else:
            limits = [limit[0, 0] for limit in model.risk_interval(row, [4.0])]
            np.testing.assert_allclose(limits, EPSILON[distribution].cdf(goal(v) + half * np.array([-1, 1])), rtol=1e-6)


def test_robust_errors_are_the_sum_of_squared_influence():
    X, y = sample(n=80)
    model = AcceleratedFailureTime().fit(X, y, cluster=np.arange(80))
    moves = []
    for i in range(80):
        step = np.zeros(80)
        step[i] = 1e-4
        up, down = (AcceleratedFailureTime().fit(X, y, sample_weight=w).parameters_ for w in (1 + step, 1 - step))
        moves.append((up - down) / 2e-4)
    moves = np.array(moves)
    np.testing.assert_allclose(model.parameters_covariance_, moves.T @ moves, rtol=1e-5)
    pairs = np.arange(80) // 2
    joined = moves[::2] + moves[1::2]
    np.testing.assert_allclose(
        AcceleratedFailureTime().fit(X, y, cluster=pairs).parameters_covariance_, joined.T @ joined, rtol=1e-5
    )


def test_ridge_shrinks_and_gives_no_interval():
    X, y = sample()
    plain = AcceleratedFailureTime().fit(X, y)
    sizes = [np.abs(AcceleratedFailureTime(penalty=t).fit(X, y).coef_).sum() for t in (0, 1, 100, 1e5)]
    assert sizes == sorted(sizes, reverse=True)
    model = AcceleratedFailureTime(penalty=20.0).fit(X, y)
    assert model.risk_interval(X, [1.0]) is None
    assert np.isnan(model.predict_quantile(X)[1]).all()
    assert coefficients(model)[0]["lower"] is None
    b = -model.parameters_[1:3] / model.scale_

    def goal(v):
        return slow_loglik(np.r_[v[:3], v[3]], X, y, "weibull") - 10 * (
            (v[1:3] / np.exp(v[3])) @ (v[1:3] / np.exp(v[3]))
        )

    np.testing.assert_allclose(derivatives(goal, model.parameters_)[0], 0, atol=2e-4)
    assert np.abs(b).sum() < np.abs(plain.coef_ / plain.scale_).sum()
    assert 0 < model.tests_["likelihood_ratio"]["df"] < 2


def test_tables_tests_and_state():
    X, y = sample()
    model = AcceleratedFailureTime("lognormal").fit(X, y, feature_names=["age", "bmi"])
    rows = model.summary()
    assert [r["term"] for r in rows] == ["(intercept)", "age", "bmi", "log(scale)"]
    table = coefficients(model)
    for own, risk in zip(rows[1:3], table, strict=True):
        assert own["coefficient"] == pytest.approx(-risk["estimate"])
        assert own["time_ratio"] == pytest.approx(1 / risk["ratio"])
        assert own["p"] == pytest.approx(risk["p"])
    np.testing.assert_allclose(model.predict(X), X @ model.coef_)
    assert model.score(X, y) > 0.6
    test = model.tests_["likelihood_ratio"]
    assert test["statistic"] == pytest.approx(2 * (model.loglik_[1] - model.loglik_[0]))
    assert model.tests_["wald"]["statistic"] == pytest.approx(test["statistic"], rel=0.3)
    assert model.aic_ == pytest.approx(8 - 2 * model.loglik_[1])
    again = AcceleratedFailureTime.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(
        again.predict_survival_function(X, [1.0, 9.0]), model.predict_survival_function(X, [1.0, 9.0])
    )
    np.testing.assert_array_equal(again.risk_interval(X, [1.0, 9.0]), model.risk_interval(X, [1.0, 9.0]))
    assert again.summary() == rows
    text = json.dumps(model.to_state())
    assert not any(repr(float(t)) in text for t in y["time"])
    assert clone(model).get_params() == model.get_params()


def test_dropped_columns_keep_no_error():
    X, y = sample()
    wide = np.column_stack([X, X.sum(axis=1), np.ones(len(y))])
    with pytest.raises(NotEstimableError, match="'x2' is a combination of 'x0', 'x1'; 'x3' does not vary"):
        AcceleratedFailureTime().fit(wide, y)
    model = AcceleratedFailureTime(collinear="drop").fit(wide, y)
    assert model.aliased_ == ["x2", "x3"]
    np.testing.assert_allclose(model.coef_, [*AcceleratedFailureTime().fit(X, y).coef_, 0, 0], rtol=1e-9)
    assert np.isnan(model.standard_errors_).tolist() == [False, False, True, True]
    assert np.isfinite(model.risk_interval(wide, [3.0])).all()
    loaded = AcceleratedFailureTime.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(loaded.risk_interval(wide, [3.0]), model.risk_interval(wide, [3.0]))


def test_bad_input_is_refused_by_name():
    X, y = sample()
    n = len(y)
    with pytest.raises(NotEstimableError, match="no event"):
        AcceleratedFailureTime().fit(X, outcome(np.zeros(n), y["time"]))
    zero = y.copy()
    zero["time"][np.flatnonzero(y["event"])[:2]] = 0
    with pytest.raises(DataError, match="2 of 200 events are at time 0"):
        AcceleratedFailureTime().fit(X, zero)
    early = y.copy()
    early["time"][np.flatnonzero(~y["event"])[:2]] = 0
    known = np.setdiff1d(np.arange(n), np.flatnonzero(~y["event"])[:2])
    assert AcceleratedFailureTime().fit(X, early).loglik_[1] == pytest.approx(
        AcceleratedFailureTime().fit(X[known], y[known]).loglik_[1], rel=1e-9
    )
    with pytest.raises(DataError, match="200 of 200 rows enter"):
        AcceleratedFailureTime().fit(X, y, entry=y["time"])
    with pytest.raises(DataError, match="1 of 200 entries are negative"):
        AcceleratedFailureTime().fit(X, y, entry=np.where(np.arange(n) == 0, -1.0, 0.0))
    with pytest.raises(DataError, match="intervals end at or before"):
        AcceleratedFailureTime().fit(X, y, upper=y["time"])
    with pytest.raises(DataError, match="upper"):
        AcceleratedFailureTime().fit(X, y, upper=[1.0])
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="missing or infinite"):
            AcceleratedFailureTime().fit(np.where(np.arange(n)[:, None] == 0, bad, X), y)
    with pytest.raises(DataError, match="rows and y"):
        AcceleratedFailureTime().fit(X[1:], y)
    with pytest.raises(DataError, match="feature names"):
        AcceleratedFailureTime().fit(X, y, feature_names=["a"])
    with pytest.raises(StudyFileError, match="gamma"):
        AcceleratedFailureTime("gamma").fit(X, y)
    with pytest.raises(StudyFileError, match="penalty"):
        AcceleratedFailureTime(penalty=np.nan).fit(X, y)
    with pytest.raises(StudyFileError, match="collinear"):
        AcceleratedFailureTime(collinear="no").fit(X, y)
    with pytest.raises(NotFittedError):
        AcceleratedFailureTime().predict(X)
    model = AcceleratedFailureTime().fit(X, y)
    with pytest.raises(DataError, match="times are missing"):
        model.predict_survival_function(X, [np.nan])
    with pytest.raises(DataError, match="quantile"):
        model.predict_quantile(X, 1.0)


@pytest.mark.parametrize("distribution", NAMES)
def test_a_column_that_separates_the_events_is_named(distribution):
    X, y = sample(distribution=distribution)
    apart = np.column_stack([X, ~y["event"]])
    with pytest.raises(NotEstimableError, match="'none'"):
        AcceleratedFailureTime(distribution).fit(apart, y, feature_names=["a", "b", "none"])
    assert np.isfinite(AcceleratedFailureTime(distribution, penalty=1.0).fit(apart, y).parameters_).all()


def test_events_at_one_time_only_leave_no_finite_shape():
    X, y = sample(n=50)
    for distribution in ("weibull", "lognormal", "loglogistic"):
        with pytest.raises(NotEstimableError, match="the curve has no finite shape"):
            AcceleratedFailureTime(distribution).fit(X[:, :0], outcome(np.arange(50) % 2, np.full(50, 3.0)))
    same = AcceleratedFailureTime("exponential").fit(X[:, :0], outcome(np.arange(50) % 2, np.full(50, 3.0)))
    assert np.exp(-same.intercept_) == pytest.approx(1 / 6)
    single = outcome(np.arange(50) == np.argsort(y["time"])[20], y["time"])
    assert np.isfinite(AcceleratedFailureTime().fit(X[:, :0], single).parameters_).all()


def test_recipe():
    assert RECIPE.ratio_name == "acceleration factor"
    assert RECIPE.build(RECIPE.defaults, 0).get_params()["collinear"] == "drop"


@pytest.mark.slow
@pytest.mark.parametrize("distribution", NAMES)
def test_intervals_cover_the_truth(distribution):
    hits = np.zeros(3)
    scale = 1.0 if distribution == "exponential" else 0.7
    law = EPSILON[distribution]
    for seed in range(300):
        X, y = sample(n=150, seed=seed, scale=scale, distribution=distribution)
        model = AcceleratedFailureTime(distribution).fit(X, y)
        low, high = model.confidence_intervals_[0]
        hits[0] += low <= -0.4 <= high
        row = np.array([[4.0, 3.0]])
        _, low, high = model.predict_quantile(row)
        hits[1] += low[0] <= np.exp(2.4 + scale * law.ppf(0.5)) <= high[0]
        low, high = model.risk_interval(row, [5.0])
        hits[2] += low[0, 0] <= law.cdf((np.log(5) - 2.4) / scale) <= high[0, 0]
    assert (hits / 300 >= 0.91).all()
    assert (hits / 300 <= 0.985).all()
