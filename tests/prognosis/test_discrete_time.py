"""Discrete-time hazards against rows made by hand, the likelihood written out, life tables and Aalen-Johansen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestClassifier

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.metrics.arrays import tally
from aimed.prognosis.discrete_time import DiscreteTimeHazard, Intervals, PersonPeriods


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", np.asarray(event).dtype), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def cohort(n=300, causes=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    first, other = rng.exponential(10 * np.exp(-X[:, 0])), rng.exponential(15 * np.exp(-X[:, 1]), n)
    lost = rng.uniform(1, 40, n)
    if causes == 1:
        return X, outcome(first <= lost, np.minimum(first, lost))
    end = np.minimum(first, other)
    return X, outcome(np.where(end > lost, 0, np.where(first <= other, 1, 2)), np.minimum(end, lost))


def by_hand(ends, codes, time, entry, weight):
    """Person-period rows from the words of the definition, one patient and interval at a time."""
    rows = []
    for i in range(len(time)):
        low = 0.0
        for j, high in enumerate(ends):
            if (codes[i] and low < time[i] <= high) or (codes[i] and j == 0 and time[i] == 0):
                rows.append((i, j, codes[i], weight[i]))
            else:
                seen = max(min(time[i], high) - max(entry[i], low), 0.0) / (high - low)
                if seen * weight[i] > 0:
                    rows.append((i, j, 0, seen * weight[i]))
            low = high
    return rows


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=15
    ),
    st.lists(st.integers(1, 35), min_size=1, max_size=5, unique=True),
)
def test_rows_are_those_made_by_hand(patients, ends):
    patients = [(c, max(t, e), min(t, e), w) for c, t, e, w in patients if t != e or e == 0]
    patients = [(c, t / 2, 0.0 if t == e else e / 2, w) for c, t, e, w in patients]
    if not patients:
        return
    codes, time, entry, weight = (np.array(v, dtype=float) for v in zip(*patients, strict=True))
    cut = Intervals(np.sort(np.array(ends)) / 2)
    got = cut.expand(codes.astype(int), time, entry, weight)
    want = [r for r in by_hand(cut.ends, codes.astype(int), time, entry, weight) if r[3] > 0]
    # Who enters in the very interval of the event still counts whole there, and not before.
    assert list(zip(got.row, got.interval, got.code, strict=True)) == [r[:3] for r in want]
    np.testing.assert_allclose(got.weight, [r[3] for r in want], rtol=1e-14)


def test_logistic_hazard_maximises_the_likelihood_written_out():
    X, y = cohort(200)
    model = DiscreteTimeHazard(n_intervals=5).fit(X, y)
    rows = by_hand(model.unique_times_, y["event"].astype(int), y["time"], np.zeros(200), np.ones(200))
    i, j, d, w = (np.array(v) for v in zip(*rows, strict=True))

    def loss(theta):
        eta = theta[j] + X[i] @ theta[5:]
        return np.sum(w * (np.logaddexp(0, eta) - d * eta))

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(model.estimator_.coef_[0, :2], best[5:], atol=1e-5)
    hazard = 1 / (1 + np.exp(-(best[:5] + X[:3] @ best[5:, None])))
    want = np.cumprod(1 - hazard, axis=1)
    np.testing.assert_allclose(model.predict_survival_function(X[:3], times=model.unique_times_), want, atol=1e-5)


def test_without_predictors_it_is_the_life_table_and_the_kaplan_meier_curve():
    rng = np.random.default_rng(1)
    time = rng.integers(1, 7, 200).astype(float)
    event = rng.random(200) < 0.5
    # Cuts between whole event times lie halfway.
    event[time == 6] = True
    time[~event] += 0.5
    time[-1], event[-1] = 9.0, False
    model = DiscreteTimeHazard(n_intervals=100).fit(np.zeros((200, 0)), outcome(event, time))
    ends = model.unique_times_
    np.testing.assert_allclose(ends[:-1], [1.5, 2.5, 3.5, 4.5, 5.5])
    product, curve = 1.0, []
    for t in np.unique(time[event]):
        product *= 1 - np.sum(event & (time == t)) / np.sum(time >= t)
        curve.append(product)
    np.testing.assert_allclose(model.predict_survival_function(np.zeros((1, 0)))[0](ends), curve, rtol=1e-6)


def test_without_predictors_two_causes_are_aalen_johansen():
    rng = np.random.default_rng(2)
    time = rng.integers(1, 6, 300).astype(float)
    codes = rng.integers(0, 3, 300)
    time[codes == 0] += 0.5
    time[-1], codes[-1] = 9.0, 0
    model = DiscreteTimeHazard(n_intervals=100).fit(np.zeros((300, 0)), outcome(codes, time))
    left, gone, want = 1.0, np.zeros(2), []
    for t in np.unique(time[codes > 0]):
        step = np.array([np.sum((codes == k) & (time == t)) for k in (1, 2)]) / np.sum(time >= t)
        gone = gone + left * step
        left *= 1 - step.sum()
        want.append(gone)
    np.testing.assert_allclose(model.predict_cumulative_incidence(np.zeros((1, 0)))[0], want, rtol=1e-5)


@pytest.mark.parametrize("causes", [1, 2])
def test_a_weight_of_two_is_a_row_twice(causes):
    X, y = cohort(150, causes)
    weight = np.random.default_rng(0).integers(0, 4, 150)
    twice = np.repeat(np.arange(150), weight)
    a = DiscreteTimeHazard(n_intervals=6).fit(X, y, sample_weight=weight)
    b = DiscreteTimeHazard(n_intervals=6).fit(X[twice], y[twice])
    np.testing.assert_array_equal(a.unique_times_, b.unique_times_)
    np.testing.assert_allclose(a.predict_cumulative_incidence(X), b.predict_cumulative_incidence(X), atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12))
def test_curves_fall_and_the_ways_to_leave_add_up_to_one(seed, causes, n_intervals):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(80, 2)), outcome(np.arange(80) % (causes + 1), rng.integers(0, 12, 80).astype(float))
    model = DiscreteTimeHazard(n_intervals=n_intervals, causes=causes).fit(X, y)
    times = np.sort(rng.uniform(-1, 15, 30))
    curves = model.predict_survival_function(X, times)
    risks = model.predict_cumulative_incidence(X, times)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert (np.diff(risks, axis=1) >= -1e-12).all()
    np.testing.assert_allclose(curves + risks.sum(axis=2), 1, atol=1e-12)
    total = model.predict_cumulative_hazard_function(X, times)
    parts = [model.predict_cumulative_hazard_function(X, times, cause=k) for k in model.causes_]
    np.testing.assert_allclose(np.sum(parts, axis=0), total, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.exp(-total), curves, rtol=1e-13)
    back = rng.permutation(times.size)
    np.testing.assert_array_equal(model.predict_survival_function(X, times[back]), curves[:, back])


def test_the_hazard_is_constant_inside_an_interval_and_nothing_happens_after_the_last():
    X, y = cohort()
    model = DiscreteTimeHazard(n_intervals=4).fit(X, y)
    a, b = model.unique_times_[1:3]
    left = model.predict_survival_function(X, [a, (a + b) / 2, b])
    np.testing.assert_allclose(left[:, 1], np.sqrt(left[:, 0] * left[:, 2]), rtol=1e-12)
    last = model.predict_survival_function(X, [model.unique_times_[-1], 1e9, np.inf])
    assert (last == last[:, :1]).all()
    assert (model.predict_survival_function(X, [0.0]) == 1).all()
    functions = model.predict_survival_function(X)
    np.testing.assert_allclose(functions[5]([a, 3.3]), model.predict_survival_function(X[5:6], [a, 3.3])[0], rtol=1e-12)


def test_a_record_cut_at_ends_of_intervals_changes_nothing():
    X, y = cohort()
    whole = DiscreteTimeHazard(n_intervals=5).fit(X, y)
    cut = whole.unique_times_[1]
    late = y["time"] > cut
    early = y.copy()
    early["event"][late], early["time"][late] = False, cut
    both = DiscreteTimeHazard(n_intervals=5).fit(
        np.vstack([X, X[late]]),
        np.concatenate([early, y[late]]),
        entry=np.r_[np.zeros(len(X)), np.full(late.sum(), cut)],
    )
    np.testing.assert_allclose(both.predict(X), whole.predict(X), atol=1e-6)


def test_the_unit_of_time_does_not_matter():
    X, y = cohort()
    other = y.copy()
    other["time"] *= 1000
    a, b = DiscreteTimeHazard().fit(X, y), DiscreteTimeHazard().fit(X, other)
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-6)


def test_late_entry_corrects_who_is_missing_from_the_start():
    rng = np.random.default_rng(0)
    time, entry = rng.exponential(10, 20_000), rng.uniform(0, 15, 20_000)
    seen = time > entry
    y = outcome(np.ones(seen.sum(), bool), time[seen])
    got = DiscreteTimeHazard(n_intervals=15).fit(np.zeros((seen.sum(), 0)), y, entry=entry[seen])
    naive = DiscreteTimeHazard(n_intervals=15).fit(np.zeros((seen.sum(), 0)), y)
    at = [5.0, 10.0, 20.0]
    truth = np.exp(-np.array(at) / 10)
    np.testing.assert_allclose(got.predict_survival_function(np.zeros((1, 0)), at)[0], truth, atol=0.03)
    assert (naive.predict_survival_function(np.zeros((1, 0)), at)[0] > truth + 0.08).all()


def test_any_classifier_serves():
    X, y = cohort(causes=2)
    forest = RandomForestClassifier(30, min_samples_leaf=10, random_state=0)
    model = DiscreteTimeHazard(forest, n_intervals=8, time_as="number").fit(X, y)
    assert model.score(X, y) > 0.65
    assert np.isfinite(model.predict(X, cause=2)).all()
    assert not hasattr(forest, "classes_")


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 12), st.integers(1, 9))
def test_each_interval_has_as_many_events_as_asked(times, count, least):
    time = np.array(times, dtype=float)
    cut = Intervals.at_quantiles(time, np.ones(time.size, bool), np.ones(time.size), count, least)
    held = np.bincount(np.searchsorted(cut.ends, time), minlength=cut.ends.size)
    assert cut.ends.size <= count
    assert held.sum() == time.size
    assert (held >= min(least, time.size)).all()


def test_thinning_keeps_events_and_the_weight_of_each_interval():
    rng = np.random.default_rng(0)
    interval, code = rng.integers(0, 5, 20_000), (rng.random(20_000) < 0.05).astype(int)
    rows = PersonPeriods(np.arange(20_000), interval, code, rng.random(20_000))
    thin = rows.thinned(4000, np.random.default_rng(1))
    assert thin.row.size == 4000
    np.testing.assert_array_equal(thin.row[thin.code > 0], rows.row[code > 0])
    np.testing.assert_allclose(tally(thin.interval, thin.weight, 5), tally(interval, rows.weight, 5))
    assert rows.thinned(20_000, rng) is rows
    few = rows.thinned(10, rng)
    assert (few.code == 0).sum() == (few.code > 0).sum() == code.sum()


def test_bad_input_is_named():
    X, y = cohort(60)
    with pytest.raises(NotEstimableError, match="no event"):
        DiscreteTimeHazard().fit(X, outcome(np.zeros(60, bool), y["time"]))
    with pytest.raises(NotEstimableError, match="time 0"):
        DiscreteTimeHazard().fit(X, outcome(np.ones(60, bool), np.zeros(60)))
    with pytest.raises(NotEstimableError, match="raise n_intervals"):
        DiscreteTimeHazard(n_intervals=1).fit(X, outcome(np.ones(60, bool), y["time"]))
    with pytest.raises(DataError, match="enter at or after"):
        DiscreteTimeHazard().fit(X, y, entry=y["time"])
    with pytest.raises(DataError, match="negative"):
        DiscreteTimeHazard().fit(X, y, entry=np.full(60, -1.0))
    with pytest.raises(DataError, match="not declared"):
        DiscreteTimeHazard(causes=1).fit(X, outcome(np.arange(60) % 3, y["time"]))
    with pytest.raises(DataError, match="missing"):
        DiscreteTimeHazard().fit(np.where(X > 1, np.nan, X), y)
    with pytest.raises(NotEstimableError, match="'c'"):
        DiscreteTimeHazard().fit(np.column_stack([X, X[:, 0] - X[:, 1]]), y, feature_names=list("abc"))
    with pytest.raises(NotEstimableError, match="'b'"):
        DiscreteTimeHazard().fit(np.column_stack([X[:, 0], np.full(60, 0.1)]), y, feature_names=list("ab"))
    with pytest.raises(NotEstimableError, match="'b' grows without bound"):
        DiscreteTimeHazard().fit(np.column_stack([X[:, 0], y["event"]]), y, feature_names=list("ab"))
    with pytest.raises(StudyFileError, match="n_intervals"):
        DiscreteTimeHazard(n_intervals=0).fit(X, y)
    with pytest.raises(UnknownNameError, match="time_as"):
        DiscreteTimeHazard(time_as="spline").fit(X, y)
    with pytest.raises(DataError, match="one outcome"):
        DiscreteTimeHazard().fit(X[:-1], y)
    model = DiscreteTimeHazard().fit(X, y)
    with pytest.raises(DataError, match="times are missing"):
        model.predict_survival_function(X, [np.nan])
    with pytest.raises(StudyFileError, match="cause"):
        model.predict(X, cause=2)
