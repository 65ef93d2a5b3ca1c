"""Royston-Parmar splines: their basis, their likelihood, the choice of knots, curves that never rise."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.base import clone

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.parametric import AcceleratedFailureTime
from aimed.prognosis.royston_parmar import RECIPE, RoystonParmar, SplineBasis, choose_spline_knots

SURVIVAL = {"hazard": lambda e: np.exp(-np.exp(e)), "odds": lambda e: expit(-e), "normal": lambda e: norm.sf(e)}


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=300, seed=0):
    """Return rows whose hazard falls, then climbs: a mixture of two Weibull times."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) * [1.0, 5.0] + 3
    stretch = np.exp(-(X - 3) @ [0.4, -0.1])
    time = np.where(rng.random(n) < 0.3, rng.weibull(0.7, n), 8 + rng.weibull(4, n) * 4) * stretch
    lost = rng.uniform(1, 25, n)
    return X, outcome(time <= lost, np.minimum(time, lost))


def curve(x, knots, gamma):
    """Return the spline and its slope as in the paper, in plain log time."""
    low, high = knots[0], knots[-1]
    value, slope = gamma[0] + gamma[1] * x, np.full(np.shape(x), gamma[1])
    for k, g in zip(knots[1:-1], gamma[2:], strict=True):
        share = (high - k) / (high - low)
        parts = [(1, k), (-share, low), (share - 1, high)]
        value = value + g * sum(c * np.maximum(x - at, 0) ** 3 for c, at in parts)
        slope = slope + g * sum(3 * c * np.maximum(x - at, 0) ** 2 for c, at in parts)
    return value, slope


def slow_loglik(v, X, y, scale, knots):
    """Return the log-likelihood at (β, γ) by differences of the survival."""
    p = X.shape[1]
    s, slope = curve(np.log(y["time"]), np.log(knots), v[p:])
    eta = s + X @ v[:p]
    density = {"hazard": np.exp(eta - np.exp(eta)), "odds": expit(eta) * expit(-eta), "normal": norm.pdf(eta)}[scale]
    return float(np.where(y["event"], np.log(density * slope / y["time"]), np.log(SURVIVAL[scale](eta))).sum())


@pytest.mark.parametrize("scale", list(SURVIVAL))
@pytest.mark.parametrize("df", [1, 3])
def test_the_maximum_of_the_paper_s_likelihood(scale, df):
    X, y = sample()
    model = RoystonParmar(scale, df=df).fit(X, y)
    v = np.concatenate((model.coef_, model.gamma_))

    def goal(at):
        return slow_loglik(at, X, y, scale, model.knots_)

    assert model.loglik_[1] == pytest.approx(goal(v), rel=1e-9)
    steps = np.diag(1e-5 * np.sqrt(np.concatenate((np.diag(model.covariance_), np.diag(model.gamma_covariance_)))))
    for s in steps:
        assert abs(goal(v + s) - goal(v - s)) < 1e-8
    steps *= 1000
    second = np.array([[goal(v + a + b) - goal(v + a - b) - goal(v - a + b) + goal(v - a - b)
                        for a in steps] for b in steps]) / (4 * np.outer(np.diag(steps), np.diag(steps)))  # fmt: skip
    inverse = np.linalg.inv(-second)
    np.testing.assert_allclose(np.diag(model.covariance_), np.diag(inverse)[:2], rtol=5e-3)
    np.testing.assert_allclose(np.diag(model.gamma_covariance_), np.diag(inverse)[2:], rtol=5e-3)
    times = [0.3, 2.0, 10.0, 24.0]
    want = SURVIVAL[scale](curve(np.log(times), np.log(model.knots_), model.gamma_)[0] + (X @ model.coef_)[:, None])
    np.testing.assert_allclose(model.predict_survival_function(X, times), want, rtol=1e-8)
    assert model.aic_ == pytest.approx(2 * (3 + df) - 2 * model.loglik_[1])


@pytest.mark.parametrize(("scale", "name"), [("hazard", "weibull"), ("odds", "loglogistic"), ("normal", "lognormal")])
def test_one_degree_of_freedom_is_an_accelerated_failure_time_model(scale, name):
    X, y = sample()
    rng = np.random.default_rng(1)
    more = {"sample_weight": rng.uniform(0.5, 2, 300), "entry": y["time"] * rng.random(300) * (rng.random(300) < 0.5)}
    spline, line = RoystonParmar(scale, df=1).fit(X, y, **more), AcceleratedFailureTime(name).fit(X, y, **more)
    np.testing.assert_allclose(spline.coef_, line.coef_ / line.scale_, rtol=1e-9)
    assert spline.loglik_ == pytest.approx(line.loglik_, rel=1e-12)
    np.testing.assert_allclose(spline.gamma_, [-line.intercept_ / line.scale_, 1 / line.scale_], rtol=1e-9)
    np.testing.assert_allclose(spline.risk_interval(X, [4.0]), line.risk_interval(X, [4.0]), rtol=1e-8)
    np.testing.assert_allclose(spline.predict_quantile(X, 0.2), line.predict_quantile(X, 0.2), rtol=1e-8)


def test_interval_censoring_narrows_to_the_exact_time():
    X, y = sample()
    knots = np.quantile(y["time"][y["event"]], [0.01, 0.4, 0.99])
    exact = RoystonParmar(knots=knots).fit(X, y)
    gaps = []
    for width in (0.3, 0.03):
        blurred = y.copy()
        blurred["event"] = False
        blurred["time"] = np.where(y["event"], y["time"] * np.exp(-width / 2), y["time"])
        upper = np.where(y["event"], y["time"] * np.exp(width / 2), np.inf)
        gaps.append(np.abs(RoystonParmar(knots=knots).fit(X, blurred, upper=upper).coef_ - exact.coef_).max())
    assert gaps[1] < gaps[0] / 5
    assert gaps[1] < 1e-3


def test_the_basis_is_straight_outside_and_its_slope_is_its_derivative():
    basis = SplineBasis(np.array([-1.5, -0.2, 0.4, 2.0]), center=1.0, unit=0.8)
    x = np.linspace(-3, 5, 400)
    numeric = (basis(x + 1e-6) - basis(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(basis.slope(x), numeric, atol=1e-6)
    for outside in (np.array([-3.0, -2.0, -1.0]), np.array([3.0, 40.0, 41.0])):
        assert np.ptp(basis.slope(outside), axis=0).max() == 0
    theta = np.array([-1.0, 0.9, 0.1, -0.1])
    assert basis.lowest_slope(theta) == pytest.approx((basis.slope(x) @ theta).min(), abs=1e-3)
    dip = np.array([-1.0, 0.9, 1.4, -1.2])
    assert basis.lowest_slope(dip) == pytest.approx((basis.slope(x) @ dip).min(), abs=1e-3)
    np.testing.assert_allclose(basis.solve(theta, basis(x) @ theta), x, atol=1e-9)


def test_more_knots_follow_a_hazard_that_no_weibull_has():
    X, y = sample(n=1500)
    model = RoystonParmar(df="aic", max_df=5).fit(X, y)
    assert model.df_ == min(model.candidates_, key=model.candidates_.get) > 1
    assert model.aic_ == model.candidates_[model.df_]
    np.testing.assert_allclose(model.coef_, CoxPH().fit(X, y).coef_, atol=0.02)
    times = np.array([0.5, 2.0, 6.0, 10.0, 14.0])
    cox = CoxPH().fit(X, y).predict_survival_function(X[:50], times=times)
    line = AcceleratedFailureTime().fit(X, y).predict_survival_function(X[:50], times)
    gap = np.abs(model.predict_survival_function(X[:50], times) - cox).max()
    assert gap < 0.04
    assert np.abs(line - cox).max() > 3 * gap


def test_row_order_units_and_shifts_change_nothing():
    X, y = sample()
    plain = RoystonParmar(df=3).fit(X, y)
    order = np.random.default_rng(0).permutation(len(y))
    years = outcome(y["event"], y["time"] / 365.25)
    moved = RoystonParmar(df=3).fit((X * [1e6, 1e-6] + [1e7, 0])[order], years[order])
    np.testing.assert_allclose(moved.coef_ * [1e6, 1e-6], plain.coef_, rtol=1e-6)
    np.testing.assert_allclose(moved.knots_ * 365.25, plain.knots_, rtol=1e-9)
    np.testing.assert_allclose(
        moved.predict_survival_function(X * [1e6, 1e-6] + [1e7, 0], [4 / 365.25]),
        plain.predict_survival_function(X, [4.0]), rtol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("scale", list(SURVIVAL))
def test_curves_fall_from_1_and_lie_in_their_limits(scale):
    X, y = sample()
    model = RoystonParmar(scale, df=4).fit(X, y)
    grid = np.concatenate(([0.0], np.geomspace(1e-6, 1e6, 400)))
    curves = model.predict_survival_function(X, grid)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    low, high = model.risk_interval(X, grid)
    assert ((low <= 1 - curves + 1e-12) & (1 - curves <= high + 1e-12)).all()
    time, lower, upper = model.predict_quantile(X, 0.4)
    own = np.array([model.predict_survival_function(x[None], [t])[0, 0] for x, t in zip(X, time, strict=True)])
    np.testing.assert_allclose(own, 0.6, rtol=1e-9)
    assert ((lower < time) & (time < upper)).all()


def gap_in_the_middle():
    """Return events early and late and none between, so that a free spline dips."""
    rng = np.random.default_rng(3)
    time = np.concatenate((rng.uniform(1, 1.3, 40), rng.uniform(20, 24, 60)))
    return rng.normal(size=(100, 1)), outcome(rng.random(100) < 0.95, time)


def test_a_spline_that_would_fall_is_held_rising_with_a_warning():
    X, y = gap_in_the_middle()
    with pytest.warns(RuntimeWarning, match="held rising"):
        model = RoystonParmar(df=5).fit(X, y)
    assert model.basis_.lowest_slope(model.baseline_) > 0
    curves = model.predict_survival_function(X, np.geomspace(0.1, 100, 2000))
    assert (np.diff(curves, axis=1) <= 0).all()
    own = slow_loglik(np.concatenate((model.coef_, model.gamma_)), X, y, "hazard", model.knots_)
    assert model.loglik_[1] == pytest.approx(own, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe = RoystonParmar(df="aic").fit(X, y)
    assert safe.df_ < 5


def test_knots_are_quantiles_or_between_patients():
    X, y = sample(n=120)
    own = y["time"][y["event"]]
    model = RoystonParmar(df=4).fit(X, y)
    np.testing.assert_allclose(np.log(model.knots_), np.quantile(np.log(own), [0, 0.25, 0.5, 0.75, 1]), rtol=1e-12)
    kept = RoystonParmar(df=4, step_events=5).fit(X, y)
    assert not np.isin(kept.knots_, own).any()
    assert (own < kept.knots_[0]).sum() >= 5
    assert (own > kept.knots_[-1]).sum() >= 5
    text = json.dumps(kept.to_state())
    assert not any(repr(float(t)) in text for t in y["time"])
    times = np.quantile(own, np.linspace(0.05, 0.95, 10))
    gap = np.abs(kept.predict_survival_function(X, times) - model.predict_survival_function(X, times))
    assert gap.max() < 0.05
    days = np.repeat(np.arange(1.0, 8.0), 20)
    assert not np.isin(choose_spline_knots(days, 3, step_events=5), days).any()


def test_state_is_json_and_gives_the_same_model():
    X, y = sample()
    for model in (RoystonParmar("odds", df=3), RoystonParmar(df="aic", penalty=2.0)):
        model.fit(X, y, feature_names=["a", "b"])
        again = RoystonParmar.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
        times = [0.0, 1.0, 9.0, 1e3]
        np.testing.assert_array_equal(
            again.predict_survival_function(X, times), model.predict_survival_function(X, times)
        )
        assert again.summary() == model.summary()
        assert again.candidates_ == model.candidates_
        assert clone(model).get_params() == model.get_params()
    assert model.risk_interval(X, times) is None
    assert [row["ratio_name"] for row in RoystonParmar("odds", df=2).fit(X, y).summary()] == ["odds ratio"] * 2


def test_bad_input_is_refused_by_name():
    X, y = sample()
    for bad in (0, 2.5, "bic", True):
        with pytest.raises(StudyFileError, match="df"):
            RoystonParmar(df=bad).fit(X, y)
    with pytest.raises(StudyFileError, match="scale"):
        RoystonParmar("probit").fit(X, y)
    with pytest.raises(StudyFileError, match="step_events"):
        RoystonParmar(step_events=0).fit(X, y)
    for knots in ([1.0], [0.0, 1.0], [1.0, np.nan], [3.0, 2.0]):
        with pytest.raises(StudyFileError, match="knots"):
            RoystonParmar(knots=knots).fit(X, y)
    with pytest.raises(NotEstimableError, match="3 distinct times leave no room for 5 knots"):
        RoystonParmar(df=4).fit(X, outcome(y["event"], np.tile([1.0, 2.0, 3.0], 100)))
    assert RoystonParmar(df="aic").fit(X, outcome(y["event"], np.tile([1.0, 2.0, 3.0], 100))).df_ <= 2
    with pytest.raises(NotEstimableError, match="leave no room"):
        RoystonParmar(df="aic").fit(X, outcome(y["event"], np.ones(300)))
    with pytest.raises(NotEstimableError, match="no event"):
        RoystonParmar().fit(X, outcome(np.zeros(300), y["time"]))
    with pytest.raises(NotEstimableError, match="'x2' does not vary"):
        RoystonParmar().fit(np.column_stack([X, np.ones(300)]), y)
    with pytest.raises(NotEstimableError, match="'none'"):
        RoystonParmar().fit(np.column_stack([X, ~y["event"]]), y, feature_names=["a", "b", "none"])
    with pytest.raises(DataError, match="missing or infinite"):
        RoystonParmar().fit(np.where(X > 5, np.nan, X), y)


def test_recipe():
    model = RECIPE.build(RECIPE.defaults, 0)
    assert model.get_params()["step_events"] == 5
    assert RECIPE.ratio_name == "hazard ratio"


@pytest.mark.slow
def test_intervals_cover_the_truth():
    hits, n = np.zeros(2), 250
    for seed in range(300):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 1))
        # Cumulative hazard t²/2 + t/5: no Weibull.
        time = -0.2 + np.sqrt(0.04 + 2 * rng.exponential(size=n) * np.exp(-0.5 * X[:, 0]))
        lost = rng.uniform(0.5, 3, n)
        model = RoystonParmar(df=3).fit(X, outcome(time <= lost, np.minimum(time, lost)))
        low, high = model.confidence_intervals_[0]
        hits[0] += low <= 0.5 <= high
        low, high = model.risk_interval([[1.0]], [1.0])
        hits[1] += low[0, 0] <= 1 - np.exp(-0.7 * np.exp(0.5)) <= high[0, 0]
    assert (hits / 300 >= 0.91).all()
    assert (hits / 300 <= 0.985).all()
