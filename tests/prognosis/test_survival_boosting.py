"""Survival boosting against boosting on rows made by hand, life tables, weights, constraints and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.prognosis import survival_boosting
from aimed.prognosis.survival_boosting import RECIPE, SurvivalBoosting

PLAIN = {"max_features": 1.0, "max_iter": 20, "n_intervals": 5}


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", np.asarray(event).dtype), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def cohort(n=400, causes=1, seed=0, gaps=0.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).round(1)
    death = rng.exponential(10 * np.exp(-np.abs(X[:, 0]) - 0.5 * X[:, 1]))
    other, lost = rng.exponential(15 * np.exp(-X[:, 2]), n), rng.uniform(1, 40, n)
    X[rng.random(X.shape) < gaps] = np.nan
    if causes == 1:
        return X, outcome(death <= lost, np.minimum(death, lost))
    end = np.minimum(death, other)
    return X, outcome(np.where(end > lost, 0, np.where(death <= other, 1, 2)), np.minimum(end, lost))


def by_hand(ends, codes, time):
    for i in range(len(time)):
        low = 0.0
        for j, high in enumerate(ends):
            if time[i] <= low:
                break
            hit = bool(codes[i] and time[i] <= high)
            yield i, j, codes[i] if hit else 0, 1.0 if hit else (min(time[i], high) - low) / (high - low)
            low = high


@pytest.mark.parametrize("causes", [1, 2])
def test_it_is_boosting_on_rows_made_by_hand(causes):
    X, y = cohort(causes=causes, gaps=0.1)
    model = SurvivalBoosting(**PLAIN, random_state=0).fit(X, y)
    i, j, code, w = (
        np.array(v) for v in zip(*by_hand(model.unique_times_, y["event"].astype(int), y["time"]), strict=True)
    )
    assert model.n_rows_ == i.size
    hazards = np.zeros((30, 5, causes))
    for cause in model.causes_:
        peer = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=20, max_leaf_nodes=6, l2_regularization=1.0, early_stopping=False
        ).fit(np.column_stack([X[i], j]), code == cause, sample_weight=w)
        for k in range(5):
            hazards[:, k, cause - 1] = peer.predict_proba(np.column_stack([X[:30], np.full(30, k)]))[:, 1]
        odds = np.log(hazards[:, :, cause - 1] / (1 - hazards[:, :, cause - 1])).mean(axis=1)
        np.testing.assert_allclose(model.predict(X[:30], cause=cause), odds, rtol=1e-9)
    left = np.cumprod(1 - hazards.sum(axis=2), axis=1)
    np.testing.assert_allclose(model.predict_survival_function(X[:30], return_array=True), left, rtol=1e-9)
    before = np.column_stack([np.ones(30), left[:, :-1]])
    want = np.cumsum(before[:, :, None] * hazards, axis=1)
    np.testing.assert_allclose(model.predict_cumulative_incidence(X[:30]), want, rtol=1e-9)


def test_with_room_enough_each_group_gets_its_life_table():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 600)
    time = rng.exponential(np.where(group, 5.0, 20.0))
    y = outcome(time < 30, np.where(time < 30, time, 40.0))
    model = SurvivalBoosting(
        max_iter=1000, learning_rate=0.3, max_leaf_nodes=10, min_samples_leaf=1, l2_regularization=0.0,
        max_features=1.0, n_intervals=4, random_state=0,
    ).fit(group[:, None], y)  # fmt: skip
    ends = model.unique_times_
    for g in (0, 1):
        own = time[group == g]
        want = [(own > end).mean() for end in ends]
        np.testing.assert_allclose(model.predict_survival_function([[float(g)]], ends)[0], want, atol=1e-3)


def test_a_weight_of_two_is_a_row_twice():
    X, y = cohort(300)
    weight = np.random.default_rng(1).integers(0, 4, 300)
    twice = np.repeat(np.arange(300), weight)
    loose = {**PLAIN, "min_samples_leaf": 1, "max_leaf_nodes": 3}
    a = SurvivalBoosting(**loose).fit(X, y, sample_weight=weight)
    b = SurvivalBoosting(**loose).fit(X[twice], y[twice])
    np.testing.assert_array_equal(a.unique_times_, b.unique_times_)
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12))
def test_curves_fall_and_the_ways_to_leave_add_up_to_one(seed, causes, n_intervals):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2))
    X[rng.random(X.shape) < 0.3] = np.nan
    y = outcome(np.arange(60) % (causes + 1), rng.integers(0, 9, 60).astype(float))
    model = SurvivalBoosting(
        max_iter=30, learning_rate=0.5, min_samples_leaf=1, n_intervals=n_intervals, random_state=seed
    ).fit(X, y)
    times = np.sort(rng.uniform(-1, 12, 30))
    curves, risks = model.predict_survival_function(X, times), model.predict_cumulative_incidence(X, times)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert (np.diff(risks, axis=1) >= -1e-12).all()
    np.testing.assert_allclose(curves + risks.sum(axis=2), 1, atol=1e-12)
    np.testing.assert_allclose(model.predict_risk(X, times), 1 - curves, atol=1e-15)
    np.testing.assert_array_equal(model.predict_risk(X, times, cause=causes), risks[:, :, causes - 1])


def test_effects_that_turn_round_over_time_are_found():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 3000)
    early, late = rng.exponential(np.where(x, 5.0, 20.0)), 5 + rng.exponential(np.where(x, 20.0, 5.0))
    time = np.where(early < 5, early, late)
    model = SurvivalBoosting(random_state=0).fit(x[:, None], outcome(np.ones(3000, bool), time))
    got = model.predict_survival_function([[0.0], [1.0]], [4.0, 10.0])
    want = np.array([[(time[x == k] > t).mean() for t in (4.0, 10.0)] for k in (0, 1)])
    np.testing.assert_allclose(got, want, atol=0.05)


def test_monotone_columns_move_score_and_curves_one_way():
    X, y = cohort(gaps=0.05)
    model = SurvivalBoosting(max_iter=50, monotone={"u": 1, 1: -1}, random_state=0).fit(X, y, feature_names=list("uvw"))
    grid = np.linspace(-3, 3, 50)
    for column, sign in ((0, 1), (1, -1)):
        rows = np.tile(X[7], (50, 1))
        rows[:, column] = grid
        assert (sign * np.diff(model.predict(rows)) >= 0).all()
        assert (sign * np.diff(model.predict_survival_function(rows, [2.0, 5.0, 20.0]), axis=0) <= 0).all()
    free = SurvivalBoosting(max_iter=50, random_state=0).fit(X, y)
    rows = np.tile(X[7], (50, 1))
    rows[:, 0] = grid
    assert (np.diff(free.predict(rows)) < 0).any()


def test_categories_are_split_as_sets_and_unknown_ones_go_as_missing():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 8, 800) * 10.0, rng.normal(size=800)])
    X[rng.random(800) < 0.1, 0] = np.nan
    time = rng.exponential(np.where(np.isin(X[:, 0], (0, 20, 50, 70)), 2.0, 20.0))
    y = outcome(np.ones(800, bool), time)
    model = SurvivalBoosting(
        max_iter=30,
        max_leaf_nodes=2,
        max_features=1.0,
        learning_rate=0.3,
        categorical_features=["ward"],
        random_state=0,
    ).fit(X, y, feature_names=["ward", "age"])
    cell = [[v, 0.0] for v in (0.0, 20.0, 50.0, 70.0, 10.0, 30.0, 40.0, 60.0)]
    score = model.predict(cell)
    assert score[:4].min() > score[4:].max() + 0.5
    np.testing.assert_array_equal(model.predict([[33.0, 0.0]]), model.predict([[np.nan, 0.0]]))
    flags = SurvivalBoosting(**{**model.get_params(), "categorical_features": [True, False]}).fit(X, y)
    np.testing.assert_array_equal(flags.predict(cell), score)


def test_early_stopping_keeps_patients_together(monkeypatch):
    seen = {}

    class Spy(HistGradientBoostingClassifier):
        def fit(self, X, y, sample_weight=None, **judged):
            seen.update(fitted=set(X[:, -2]), held=set(judged["X_val"][:, -2]))
            return super().fit(X, y, sample_weight=sample_weight, **judged)

    monkeypatch.setattr(survival_boosting, "HistGradientBoostingClassifier", Spy)
    X, y = cohort(400)
    patient = np.arange(400) // 4
    X = np.column_stack([np.random.default_rng(0).normal(size=(400, 2)), patient])
    model = SurvivalBoosting(max_iter=500, learning_rate=0.3, early_stopping=True, random_state=0)
    model.fit(X, y, groups=patient)
    assert model.n_iter_[0] < 100
    assert not seen["held"] & seen["fitted"]
    assert len(seen["held"] | seen["fitted"]) == 100
    assert len(seen["held"]) == 10


def test_many_rows_are_thinned_without_moving_the_curves():
    X, y = cohort(4000, seed=3)
    rare = y["event"] & (np.random.default_rng(0).random(4000) < 0.15)
    y["event"] = rare
    whole = SurvivalBoosting(random_state=0).fit(X, y)
    thin = SurvivalBoosting(max_rows=8000, random_state=0).fit(X, y)
    assert thin.n_rows_ == 8000 < whole.n_rows_ / 2
    a, b = (m.predict_survival_function(X, [5.0, 20.0]) for m in (whole, thin))
    assert np.abs(a.mean(axis=0) - b.mean(axis=0)).max() < 0.03
    assert np.corrcoef(a[:, 1], b[:, 1])[0, 1] > 0.9


def test_a_record_cut_at_an_end_of_an_interval_changes_nothing():
    X, y = cohort()
    whole = SurvivalBoosting(**PLAIN).fit(X, y)
    cut = whole.unique_times_[2]
    late = y["time"] > cut
    early = y.copy()
    early["event"][late], early["time"][late] = False, cut
    entry = np.r_[np.zeros(len(X)), np.full(late.sum(), cut)]
    both = SurvivalBoosting(**PLAIN).fit(np.vstack([X, X[late]]), np.concatenate([early, y[late]]), entry=entry)
    np.testing.assert_allclose(both.predict(X), whole.predict(X), rtol=1e-6)


def test_shap_values_add_up_to_the_score():
    X, y = cohort(causes=2, gaps=0.1)
    model = SurvivalBoosting(max_iter=30, max_leaf_nodes=12, max_features=1.0, random_state=0).fit(X, y)
    for cause in (1, 2):
        values, base = model.shap_values(X[:50], cause=cause)
        np.testing.assert_allclose(base + values.sum(axis=1), model.predict(X[:50], cause=cause), atol=1e-10)
    others = np.abs(model.shap_values(X)[0]).mean(axis=0), np.abs(model.shap_values(X, cause=2)[0]).mean(axis=0)
    assert np.argmax(others[0]) in (0, 1)
    assert np.argmax(others[1]) == 2


@pytest.mark.parametrize("causes", [1, 2])
def test_json_brings_it_back_and_threads_do_not_matter_much(causes):
    X, y = cohort(causes=causes, gaps=0.1)
    options = {"max_iter": 20, "categorical_features": [False, False, True], "monotone": {0: 1}}
    model = SurvivalBoosting(**options, random_state=np.random.RandomState(3)).fit(X, y)
    state = json.loads(json.dumps(RECIPE.to_state(model), allow_nan=False))
    again = RECIPE.from_state(state)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    times = np.array([1.0, 7.0])
    np.testing.assert_array_equal(
        again.predict_cumulative_incidence(X, times), model.predict_cumulative_incidence(X, times)
    )
    assert json.dumps(again.to_state()) == json.dumps(state)
    one, two = (SurvivalBoosting(**options, n_jobs=k, random_state=0).fit(X, y).predict(X) for k in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    state["times"] = state["times"][::-1]
    with pytest.raises(DataError, match="do not fit"):
        RECIPE.from_state(state)


def test_a_cause_that_is_declared_and_never_happens_has_no_incidence():
    X, y = cohort(causes=2)
    model = SurvivalBoosting(**PLAIN, causes=3).fit(X, y)
    assert (model.predict_cumulative_incidence(X, [20.0], cause=3) == 0).all()
    with pytest.raises(NotEstimableError, match="cause 3"):
        model.predict(X, cause=3)
    again = SurvivalBoosting.from_state(model.to_state())
    np.testing.assert_array_equal(again.predict_survival_function(X, [5.0]), model.predict_survival_function(X, [5.0]))


def test_one_event_ties_and_missing_columns_are_taken():
    X, y = cohort(50)
    y["event"] = False
    y["event"][3] = True
    assert np.isfinite(SurvivalBoosting().fit(X, y).predict(X)).all()
    y["event"], y["time"] = np.arange(50) % 2 == 0, 7.0
    X[:, 1], X[:, 2] = np.nan, 1.0
    with pytest.warns(UserWarning, match="no row has a value in 'x1'"):
        model = SurvivalBoosting(min_samples_leaf=1).fit(X, y)
    curves = model.predict_survival_function(X, [3.0, 7.0, 9.0])
    assert np.isfinite(curves).all()
    X[:, 1] = 5.0
    np.testing.assert_array_equal(model.predict_survival_function(X, [3.0, 7.0, 9.0]), curves)


def test_weights_that_stand_for_less_than_a_patient_are_told():
    X, y = cohort(60)
    with pytest.warns(UserWarning, match="multiply the weights"):
        SurvivalBoosting(max_iter=2).fit(X, y, sample_weight=np.full(60, 1e-9))


def test_bad_input_is_named():
    X, y = cohort(60)
    fit = SurvivalBoosting(max_iter=2).fit
    with pytest.raises(NotEstimableError, match="no event"):
        fit(X, outcome(np.zeros(60, bool), y["time"]))
    with pytest.raises(NotEstimableError, match="time 0"):
        fit(X, outcome(np.ones(60, bool), np.zeros(60)))
    with pytest.raises(NotEstimableError, match="varies"):
        fit(np.ones((60, 2)), y)
    with pytest.raises(NotEstimableError, match="raise n_intervals"):
        SurvivalBoosting(n_intervals=1).fit(X, outcome(np.ones(60, bool), y["time"]))
    one = np.arange(60) == 0
    with pytest.raises(NotEstimableError, match="early_stopping"):
        SurvivalBoosting(early_stopping=True).fit(X, outcome(one, y["time"]))
    with pytest.raises(DataError, match="'sbp' has 1 infinite"):
        fit(np.where(np.arange(180).reshape(60, 3) == 4, np.inf, X), y, feature_names=["age", "sbp", "sex"])
    with pytest.raises(DataError, match="text"):
        fit(X.astype(str).astype(object) + "y", y)
    with pytest.raises(DataError, match="enter"):
        fit(X, y, entry=y["time"] + 1)
    with pytest.raises(DataError, match="codes"):
        fit(X, outcome(np.full(60, 9), y["time"]))
    with pytest.raises(DataError, match="merge rare"):
        SurvivalBoosting(categorical_features=[0], max_bins=5).fit(X, y)
    with pytest.raises(UnknownNameError, match="column"):
        SurvivalBoosting(monotone={"z": 1}).fit(X, y)
    for wrong in (
        {"max_iter": 0}, {"learning_rate": 0.0}, {"n_intervals": 2.5}, {"l2_regularization": -1.0}, {"monotone": [1]},
        {"monotone": {0: 2}}, {"monotone": {0: 1}, "categorical_features": [0]}, {"categorical_features": [5]},
    ):  # fmt: skip
        with pytest.raises(StudyFileError):
            SurvivalBoosting(**wrong).fit(X, y)
    model = fit(X, y)
    with pytest.raises(DataError, match="columns"):
        model.predict(X[:, :2])
    with pytest.raises(StudyFileError, match="cause"):
        model.predict(X, cause=2)
