"""What a packaged Cox model or Kaplan-Meier curve keeps: no patient, and nearly the same predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import StudyFileError
from aimed.prognosis import cox, kaplan_meier
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.curves import bent_line, choose_knots, knot_times, lines_at, six_digits
from aimed.prognosis.kaplan_meier import KaplanMeierBaseline

FINE = np.linspace(0, 4000, 2001)
# The largest found with 40 seeds of `heart_rows`, for any row; for the mean of all rows; and for a limit.
LARGEST, LARGEST_MEAN, LARGEST_LIMIT = 0.025, 0.019, 0.034


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def continuous_rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, 3))
    death, lost = rng.exponential(20 * np.exp(-Z @ [0.6, -0.4, 0.2])), rng.exponential(30, n)
    return Z * [1.0, 20.0, 1e-3] + [0.0, 500.0, 0.0], outcome(death <= lost, np.minimum(death, lost))


def heart_rows(n=500, seed=0):
    """Return rows like those of WHAS500: early deaths, three years of entry, days, 2 of 5 with the event."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(70, 14, n), rng.normal(87, 23, n), rng.normal(27, 5, n), rng.random((n, 3)) < 0.3])
    signal = (X - X.mean(axis=0)) @ [0.05, 0.01, -0.04, 0.3, 0.7, 0.4]
    death = 2500 * rng.weibull(0.6, n) * np.exp(-signal / 0.6)
    lost = rng.choice([550, 1250, 2100], n) + rng.uniform(-170, 170, n)
    return X, outcome(death <= lost, np.ceil(np.minimum(death, lost)))


def stored(model):
    return json.loads(json.dumps(model.to_state(), allow_nan=False))


def recovered(model, X):
    """Count rows found by differencing what the state holds: the step's weight gives Σr, the mean's step Σrx."""
    state = stored(model)
    kept = state["curve_variance"]
    hazard = np.interp(kept["times"], state["times"], state["cumulative_baseline_hazard"])
    inverse = 1.0 / np.diff(hazard, prepend=0.0)
    sums = np.diff(np.asarray(kept["means"]), axis=0, prepend=np.zeros((1, X.shape[1]))) * inverse[:, None] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = (sums[:-1] - sums[1:]) / (inverse[:-1] - inverse[1:])[:, None] + np.asarray(state["feature_means"])
    # The last step is its own risk set.
    rows = np.vstack((rows, sums[-1] / inverse[-1] + state["feature_means"]))
    return sum(bool(np.isclose(X, row, rtol=1e-3, atol=0.0).all(axis=1).any()) for row in rows)


def test_differences_of_the_state_give_back_rows_of_the_plain_model_and_none_of_the_packaged_one():
    X, y = continuous_rows()
    assert recovered(CoxPH().fit(X, y), X) > 30
    for least in (2, 5):
        assert recovered(CoxPH(step_events=least).fit(X, y), X) == 0


@pytest.mark.parametrize("estimator", [CoxPH, KaplanMeierBaseline])
def test_no_event_time_is_kept_and_every_interval_holds_its_events(estimator):
    X, y = continuous_rows()
    own = y["time"][y["event"]]
    plain, coarse = (estimator(step_events=m).fit(X, y) for m in (1, 5))
    assert np.isin(own, stored(plain)["times"]).all()
    text = json.dumps(coarse.to_state())
    assert not any(repr(float(t)) in text for t in y["time"])
    knots = np.concatenate(([0.0], coarse.unique_times_[1::2]))
    counts = np.histogram(own, knots)[0]
    assert counts.min() >= 5
    assert counts.sum() == own.size
    assert knots.size > own.size / 10


def test_nothing_in_the_state_grows_with_the_patients():
    def longest(node):
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        return max([len(node) if isinstance(node, list) else 0, *(longest(child) for child in children)])

    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 2))
    y = outcome(rng.random(6000) < 0.8, rng.exponential(10, 6000))
    assert longest(CoxPH().fit(X, y).to_state()) > 4000
    assert longest(CoxPH(step_events=5).fit(X, y).to_state()) <= 400
    assert longest(CoxPH(step_events=5, penalty=1.0).fit(X, y).to_state()) <= 400
    assert longest(KaplanMeierBaseline(step_events=5).fit(X, y).to_state()) <= 400


def test_the_packaged_numbers_have_six_digits_and_are_the_ones_used():
    X, y = heart_rows()
    model = CoxPH(step_events=5).fit(X, y)
    for values in (model.cumulative_baseline_hazard_, *model.curve_variance_[1:]):
        np.testing.assert_array_equal(values, six_digits(values))
    base = model.predict_cumulative_hazard_function(X[:1], times=model.unique_times_)[0]
    relative = np.exp(model.predict(X[:1]) - model.mean_linear_predictor_)
    np.testing.assert_array_equal(base, relative * model.cumulative_baseline_hazard_)
    plain = CoxPH().fit(X, y)
    for name in ("coef_", "covariance_", "feature_means_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(plain, name))
    # At the knots the values are the plain model's.
    ends = model.curve_variance_[0]
    np.testing.assert_array_equal(ends, model.unique_times_[1::2])
    np.testing.assert_allclose(
        model.predict_survival_function(X, ends), plain.predict_survival_function(X, ends), rtol=0, atol=1e-5
    )
    limits = [np.asarray(m.risk_interval(X, ends)) for m in (model, plain)]
    np.testing.assert_allclose(limits[0], limits[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_predictions_hardly_differ_from_the_plain_model(seed):
    X, y = heart_rows(seed=seed)
    plain, coarse = (CoxPH(step_events=m).fit(X, y) for m in (1, 5))
    horizons = [30, 90, 180, 365, 730, 1096, 1461, 1826]
    risks = [1 - m.predict_survival_function(X, horizons) for m in (plain, coarse)]
    apart = np.abs(risks[1] - risks[0])
    assert 0 < apart.max() < LARGEST
    assert np.abs((risks[1] - risks[0]).mean(axis=0)).max() < LARGEST_MEAN
    limits = [np.asarray(m.risk_interval(X, horizons)) for m in (plain, coarse)]
    assert np.abs(limits[1] - limits[0]).max() < LARGEST_LIMIT
    curves = [KaplanMeierBaseline(step_events=m).fit(X, y).predict_survival_function(X[:1], horizons) for m in (1, 5)]
    assert 0 < np.abs(curves[1] - curves[0]).max() < LARGEST_MEAN


def test_real_data_differ_as_little():
    datasets = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data")
    X, y = datasets.load_whas500()
    X, y = X.astype(float).to_numpy(), outcome(y["fstat"], y["lenfol"])
    days = np.arange(180.0, 1827.0)
    risks = [1 - CoxPH(step_events=m).fit(X, y).predict_survival_function(X, days) for m in (1, 5)]
    assert np.abs(risks[1] - risks[0]).max() < 0.015
    assert np.abs((risks[1] - risks[0]).mean(axis=0)).max() < 0.01
    assert np.median(np.abs(risks[1] - risks[0])) < 0.0011


def test_a_late_jump_is_not_spread_over_the_years_before_it():
    # Four of five events of the last interval come early; the last patient at risk has the fifth after a gap.
    times = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100.0])
    curve = np.cumsum([0.01, 0.01, 0.01, 0.01, 0.01, 1.0])
    x, y = bent_line(times, curve, 0.0, np.array([5]))
    assert lines_at(x, y, [50.0], 0.0)[0] < 0.1
    assert lines_at(x, y, [100.0], 0.0)[0] == pytest.approx(1.05)
    # And an early jump stays early.
    x, y = bent_line(times, np.cumsum([1.0, 0.01, 0.01, 0.01, 0.01, 0.01]), 0.0, np.array([5]))
    assert lines_at(x, y, [50.0], 0.0)[0] > 1.0


@pytest.mark.parametrize("seed", range(20))
def test_a_bent_line_keeps_the_area_and_the_direction(seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(size=60) * rng.choice([1.0, 20.0], 60))
    curve = np.cumsum(rng.exponential(size=60) ** 2)
    knots = choose_knots(np.ones(60, dtype=int), 5)
    x, y = bent_line(times, curve, 0.0, knots)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    ends = knot_times(times, knots)
    grid = np.unique(np.concatenate((times, ends, x)))
    steps = np.concatenate(([0.0], curve))[np.searchsorted(times, grid[:-1], side="right")]
    whole = (steps * np.diff(grid))[grid[:-1] >= 0].sum()
    drawn = np.trapezoid(np.concatenate(([0.0], y)), np.concatenate(([0.0], x)))
    # Bends are rounded by no more than a tenth of their interval, which moves half of that times the rise.
    room = (np.diff(ends, prepend=0.0) / 20 * np.diff(curve[knots], prepend=0.0)).sum()
    assert abs(drawn - whole) <= room * 1.001


@pytest.mark.parametrize("estimator", [CoxPH(step_events=5), CoxPH(step_events=5, penalty=1.0), KaplanMeierBaseline(5)])
def test_curves_start_at_one_never_rise_and_stay_flat_after_the_end(estimator):
    X, y = heart_rows()
    model = clone(estimator).fit(X, y)
    curves = model.predict_survival_function(X, FINE)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    assert ((curves >= 0) & (curves <= 1)).all()
    assert (model.predict_survival_function(X, [1e9]) == curves[:, -1:]).all()
    for i, function in enumerate(model.predict_survival_function(X[:3])):
        np.testing.assert_allclose(function(FINE), curves[i], rtol=1e-12)
        np.testing.assert_allclose(function.y, model.predict_survival_function(X[:3], return_array=True)[i], rtol=1e-12)
    if isinstance(model, CoxPH):
        hazard = model.predict_cumulative_hazard_function(X[:1])[0]
        np.testing.assert_allclose(np.exp(-hazard(FINE)), curves[0], rtol=1e-12)


def test_the_interval_holds_the_risk_at_every_time():
    X, y = heart_rows()
    model = CoxPH(step_events=5).fit(X, y)
    times = np.concatenate((FINE, [1e-9, 0.01]))
    risk = 1 - model.predict_survival_function(X, times)
    lower, upper = model.risk_interval(X, times)
    assert ((lower >= 0) & (lower <= risk) & (risk <= upper) & (upper <= 1)).all()
    assert (lower[:, 1:] < upper[:, 1:]).all()
    assert (lower[:, 0] == 0).all()
    assert (upper[:, 0] == 0).all()
    # Long before the first knot the risk is nearly 0, and so are its limits.
    assert (upper[:, -2] < 1e-6).all()


def test_a_stored_model_is_the_model():
    X, y = heart_rows()
    for rows in (X, np.column_stack([X, X[:, 0]]), X[:, :0]):
        for penalty in (0.0, 2.0):
            model = CoxPH(penalty=penalty, collinear="drop", step_events=5).fit(rows, y)
            again = CoxPH.from_state(stored(model))
            assert again.to_state() == model.to_state()
            assert again.get_params() == model.get_params()
            np.testing.assert_array_equal(
                again.predict_survival_function(rows, FINE), model.predict_survival_function(rows, FINE)
            )
            if not penalty:
                np.testing.assert_array_equal(again.risk_interval(rows, FINE), model.risk_interval(rows, FINE))
    curve = KaplanMeierBaseline(step_events=5).fit(X, y)
    again = KaplanMeierBaseline.from_state(stored(curve))
    assert again.to_state() == curve.to_state()
    np.testing.assert_array_equal(again.predict_survival_function(X, FINE), curve.predict_survival_function(X, FINE))


def test_states_from_before_the_parameter_are_read_as_steps():
    X, y = heart_rows()
    state = stored(CoxPH().fit(X, y))
    del state["parameters"]["step_events"]
    np.testing.assert_array_equal(
        CoxPH.from_state(state).predict_survival_function(X, FINE), CoxPH().fit(X, y).predict_survival_function(X, FINE)
    )
    curve = KaplanMeierBaseline().fit(X, y)
    state = stored(curve)
    del state["parameters"]
    np.testing.assert_array_equal(
        KaplanMeierBaseline.from_state(state).predict_survival_function(X[:1], FINE),
        curve.predict_survival_function(X[:1], FINE),
    )


@pytest.mark.parametrize("events", [1, 3, 9])
def test_fewer_events_than_asked_leave_one_knot(events):
    rng = np.random.default_rng(1)
    X, time = rng.normal(size=(40, 1)), rng.uniform(1, 50, 40)
    y = outcome(np.arange(40) < events, time)
    last = time[:events].max()
    model = CoxPH(step_events=10, penalty=1.0).fit(X, y)
    plain = CoxPH(penalty=1.0).fit(X, y)
    assert model.unique_times_.size == 2
    assert last <= model.unique_times_[1] <= 1.1 * last
    np.testing.assert_allclose(
        model.predict_survival_function(X, [60.0]), plain.predict_survival_function(X, [60.0]), rtol=1e-5
    )
    assert CoxPH(step_events=10, collinear="drop").fit(X[:, :0], y).risk_interval(X[:2, :0], [20.0]) is not None
    curve = KaplanMeierBaseline(step_events=10).fit(X, y)
    assert curve.unique_times_.size == 2
    none = KaplanMeierBaseline(step_events=10).fit(X, outcome(np.zeros(40, dtype=bool), time))
    assert none.predict_survival_function(X[:1], [0.0, 99.0]).tolist() == [[1.0, 1.0]]


def test_knots_hold_enough_events_with_ties_and_at_most_so_many():
    rng = np.random.default_rng(2)
    for least in (2, 5, 20):
        for size in (1, 7, 300, 5000):
            events = rng.integers(1, 8, size)
            knots = choose_knots(events, least)
            assert knots[-1] == size - 1
            assert knots.size <= 200
            held = np.diff(np.cumsum(events)[knots], prepend=0)
            assert held.min() >= min(least, events.sum())
    assert choose_knots(np.array([2, 2, 1, 1, 1]), 2).tolist() == [0, 1, 4]
    assert choose_knots(np.array([], dtype=int), 5).size == 0


def test_events_at_time_zero_only():
    X = np.zeros((4, 0))
    y = outcome([True, True, False, False], [0.0, 0.0, 3.0, 4.0])
    plain, coarse = (CoxPH(step_events=m).fit(X, y).predict_survival_function(X, [0.0, 9.0]) for m in (1, 5))
    np.testing.assert_allclose(coarse, plain, rtol=1e-5)


@pytest.mark.parametrize("estimator", [CoxPH, KaplanMeierBaseline])
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "5"])
def test_step_events_is_checked(estimator, wrong):
    X, y = continuous_rows()
    with pytest.raises(StudyFileError, match="step_events"):
        estimator(step_events=wrong).fit(X, y)


def test_the_catalogue_packages_five_events_a_step_and_the_classes_one():
    for room, estimator in ((cox, CoxPH), (kaplan_meier, KaplanMeierBaseline)):
        assert room.RECIPE.build({}, 0).step_events == 5
        assert room.RECIPE.build({"step_events": 8}, 0).step_events == 8
        assert estimator().step_events == 1
        assert clone(estimator(step_events=7)).get_params()["step_events"] == 7
