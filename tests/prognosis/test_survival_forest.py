"""SurvivalForest: its curves, weights, missing values, causes, constraints, rows out of bag, storage and refusals."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.metrics import aalen_johansen, harrell_c, kaplan_meier, nelson_aalen
from aimed.prognosis.survival_forest import RECIPE, SurvivalForest

SPLITTERS = ("log-rank-score", "log-rank", "extra-random")


def sample(n=300, p=4, seed=0, kinds=1, missing=0.0):
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, p)), 2)
    death, lost = rng.exponential(40 * np.exp(-X[:, 0] - 0.5 * (X[:, 1] > 0))), rng.exponential(60, n)
    y = np.empty(n, dtype=[("event", bool if kinds == 1 else int), ("time", float)])
    y["time"] = np.ceil(np.minimum(death, lost))
    other = rng.random(n) < 1 / (1 + np.exp(2 * X[:, 2]))
    y["event"] = (death <= lost) * (1 + other * (kinds - 1))
    X[rng.random((n, p)) < missing] = np.nan
    return X, y


def everything(forest, X):
    times = [0.0, 3.0, 17.5, 80.0, 1e9]
    curves = forest.predict_survival_function(X, times), forest.predict_cumulative_hazard_function(X, times)
    return np.column_stack([forest.predict(X), *curves])


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("kinds", [1, 2])
def test_curves_never_rise_and_incidences_add_up(splitter, kinds):
    X, y = sample(kinds=kinds, missing=0.1)
    forest = SurvivalForest(20, splitter=splitter, min_samples_leaf=3, random_state=0).fit(X, y)
    new = sample(seed=1, missing=0.2)[0]
    survival = forest.predict_survival_function(new, return_array=True)
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 0).all()
    hazards = [forest.predict_cumulative_hazard_function(new, return_array=True, cause=k) for k in forest.causes_]
    assert all((np.diff(h, axis=1) >= 0).all() for h in hazards)
    parts = [forest.predict_cumulative_incidence(new, cause=k) for k in forest.causes_]
    np.testing.assert_allclose(sum(parts) + survival, 1.0, atol=1e-12)
    for k, part in zip(forest.causes_, parts, strict=True):
        score = forest.predict(new, cause=k)
        np.testing.assert_allclose(score, (hazards[0] if kinds == 1 else part).sum(axis=1), rtol=1e-6)


def test_one_leaf_is_the_nelson_aalen_and_kaplan_meier_curve():
    X, y = sample()
    forest = SurvivalForest(1, bootstrap=False, min_samples_leaf=300).fit(X, y)
    times = np.unique(y["time"])
    one = kaplan_meier(y["event"], y["time"])
    np.testing.assert_allclose(forest.predict_survival_function(X[:1], times)[0], one.at(times), rtol=1e-6)
    hazard = nelson_aalen(y["event"], y["time"]).at(times)
    np.testing.assert_allclose(forest.predict_cumulative_hazard_function(X[:1], times)[0], hazard, rtol=1e-6)
    np.testing.assert_array_equal(forest.unique_times_, np.unique(y["time"][y["event"]]))


def test_one_leaf_with_competing_risks_is_the_aalen_johansen_curve():
    X, y = sample(kinds=3)
    y["event"][:40] = np.where(y["event"][:40] == 3, 2, y["event"][:40])
    forest = SurvivalForest(1, bootstrap=False, min_samples_leaf=300).fit(X, y)
    times = np.unique(y["time"])[:-1]
    expected = aalen_johansen(y["event"], y["time"]).at(times)
    for k in forest.causes_:
        got = forest.predict_cumulative_incidence(X[:1], times, cause=k)[0]
        np.testing.assert_allclose(got, expected[:, k - 1], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("step_events", [1, 5])
def test_functions_and_arrays_tell_the_same(step_events):
    X, y = sample()
    forest = SurvivalForest(10, step_events=step_events, random_state=0).fit(X, y)
    times = np.array([50.0, 2.0, 50.0, 0.5, 0.0, 1e9, *forest.unique_times_[[0, 3, -1]]])
    for call in (forest.predict_survival_function, forest.predict_cumulative_hazard_function):
        curves = call(X[:5])
        np.testing.assert_array_equal(np.stack([c.y for c in curves]), call(X[:5], return_array=True))
        np.testing.assert_allclose(np.stack([c(times) for c in curves]), call(X[:5], times), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        forest.predict_risk(X[:5], [9.0]), 1 - forest.predict_survival_function(X[:5], [9.0]), rtol=1e-15
    )


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_a_weight_is_a_row_so_many_times(splitter):
    X, y = sample(missing=0.1)
    counts = np.random.default_rng(5).integers(0, 4, len(y))
    settings = {"n_estimators": 5, "bootstrap": False, "splitter": splitter, "random_state": 3}
    weighted = SurvivalForest(**settings).fit(X, y, sample_weight=counts.astype(float))
    repeated = SurvivalForest(**settings).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(everything(weighted, X), everything(repeated, X), rtol=1e-9)


def test_a_weight_is_a_row_so_many_times_with_more_values_than_bins():
    X, y = sample(n=700, seed=3)
    X = X + np.random.default_rng(0).normal(size=X.shape)
    counts = np.random.default_rng(5).integers(1, 3, len(y))
    settings = {"n_estimators": 3, "bootstrap": False, "max_bins": 16, "random_state": 3}
    weighted = SurvivalForest(**settings).fit(X, y, sample_weight=counts.astype(float))
    repeated = SurvivalForest(**settings).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert (weighted.bins_.levels == 16).all()
    np.testing.assert_allclose(everything(weighted, X), everything(repeated, X), rtol=1e-9)


@pytest.mark.parametrize("unit", [365.25, 1e-3])
def test_the_unit_of_time_does_not_matter(unit):
    X, y = sample()
    other = y.copy()
    other["time"] *= unit
    first, second = (SurvivalForest(10, random_state=0).fit(X, z) for z in (y, other))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(
        first.predict_survival_function(X, [10.0]), second.predict_survival_function(X, [10.0 * unit])
    )


def test_a_rising_map_of_a_column_does_not_matter():
    X, y = sample()
    first, second = (SurvivalForest(10, random_state=0).fit(Z, y) for Z in (X, np.exp(X)))
    np.testing.assert_array_equal(first.predict(X), second.predict(np.exp(X)))


def test_the_order_of_the_rows_does_not_matter_without_resamples():
    X, y = sample()
    order = np.random.default_rng(0).permutation(len(y))
    settings = {"n_estimators": 3, "bootstrap": False, "max_features": None, "random_state": 0}
    first, second = SurvivalForest(**settings).fit(X, y), SurvivalForest(**settings).fit(X[order], y[order])
    np.testing.assert_allclose(everything(first, X), everything(second, X), rtol=1e-9)


def test_threads_change_no_bit_and_seeds_do():
    X, y = sample(n=3000)
    one = SurvivalForest(8, oob_score=True, random_state=4).fit(X, y)
    two = clone(one).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(everything(one, X), everything(two, X))
    np.testing.assert_array_equal(one.oob_prediction_, two.oob_prediction_)
    other = clone(one).set_params(random_state=5).fit(X, y)
    assert (other.predict(X) != one.predict(X)).any()
    longer = clone(one).set_params(n_estimators=12).fit(X, y)
    size = one.trees_.feature.size
    np.testing.assert_array_equal(longer.trees_.feature[:size], one.trees_.feature)


def test_few_grid_points_move_little_and_keep_events_together():
    X, y = sample(n=2000)
    exact = SurvivalForest(20, max_times=5000, random_state=0).fit(X, y)
    coarse = SurvivalForest(20, max_times=50, random_state=0).fit(X, y)
    private = SurvivalForest(20, step_events=5, random_state=0).fit(X, y)
    assert coarse.unique_times_.size <= 50 < exact.unique_times_.size
    grid = np.linspace(1, 100, 40)
    there = exact.predict_survival_function(X[:50], grid)
    late = coarse.predict_survival_function(X[:50], grid) - there
    assert (late >= -1e-9).all()
    assert 0 < late.mean() < 0.02
    np.testing.assert_array_equal(coarse.trees_.cut, exact.trees_.cut)
    events = np.histogram(y["time"][y["event"]], np.concatenate(([0], private.unique_times_)))[0]
    assert events.min() >= 5
    fine = np.linspace(0, 120, 1000)
    straight = private.predict_survival_function(X[:50], fine)
    steps = exact.predict_survival_function(X[:50], fine)
    assert np.abs(straight - steps).mean() < 0.006
    assert (np.diff(straight, axis=1) <= 0).all()
    assert (np.diff(straight, axis=1) < 0).mean() > 3 * (np.diff(steps, axis=1) < 0).mean()


def test_missing_values_go_where_they_score_better():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    gone = rng.random(600) < 0.3
    y = np.empty(600, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = True, rng.exponential(np.exp(-2.0 * (gone | (x > 0))))
    X = np.where(gone, np.nan, x)[:, None]
    forest = SurvivalForest(20, random_state=0).fit(X, y)
    risk = forest.predict(np.array([[np.nan], [2.0], [-2.0]]))
    assert risk[0] > 2 * risk[2]
    assert risk[0] > 0.7 * risk[1]


def test_missing_where_training_had_none_still_predicts():
    X, y = sample()
    forest = SurvivalForest(20, random_state=0).fit(X, y)
    risk = forest.predict(np.full((1, 4), np.nan))[0]
    assert forest.predict(X).min() < risk < forest.predict(X).max()


def test_a_column_without_values_is_named_and_changes_nothing():
    X, y = sample()
    empty, flat = np.full((300, 1), np.nan), np.full((300, 1), 3.0)
    plain = SurvivalForest(10, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="'x4'"):
        forest = SurvivalForest(10, random_state=0).fit(np.hstack([X, empty, flat]), y)
    np.testing.assert_array_equal(forest.predict(np.hstack([X, empty, 9 * flat])), plain.predict(X))


def test_categories_are_split_as_sets():
    rng = np.random.default_rng(1)
    code = rng.integers(0, 40, 2000)
    bad = rng.random(40) < 0.5
    y = np.empty(2000, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = True, rng.exponential(np.exp(-1.5 * bad[code]))
    X = (code * 3.0 - 20)[:, None]
    forest = SurvivalForest(1, bootstrap=False, max_depth=1, categorical_features=[0]).fit(X, y)
    risk = forest.predict((np.arange(40) * 3.0 - 20)[:, None])
    np.testing.assert_array_equal(risk > risk.mean(), bad)
    assert forest.predict([[1.5]])[0] in risk
    names = SurvivalForest(1, bootstrap=False, max_depth=1, categorical_features=["site"])
    np.testing.assert_array_equal(names.fit(X, y, feature_names=["site"]).predict(X), forest.predict(X))
    flags = SurvivalForest(1, bootstrap=False, max_depth=1, categorical_features=[True]).fit(X, y)
    np.testing.assert_array_equal(flags.predict(X), forest.predict(X))


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("kinds", [1, 2])
def test_a_monotone_score_never_turns(splitter, kinds):
    X, y = sample(n=400, seed=2, kinds=kinds, missing=0.05)
    settings = {
        "n_estimators": 15,
        "splitter": splitter,
        "min_samples_leaf": 4,
        "max_features": None,
        "random_state": 0,
    }
    new = np.repeat(X[:40], 60, axis=0)
    turned = {}
    for label, monotone in {"free": None, "bound": {1: 1, "x2": -1}}.items():
        forest = SurvivalForest(**settings, monotone=monotone).fit(X, y, feature_names=[f"x{j}" for j in range(4)])
        for j, sign in ((1, 1), (2, -1)):
            new_j = new.copy()
            new_j[:, j] = np.tile(np.linspace(-3, 3, 60), 40)
            steps = sign * np.diff(forest.predict(new_j).reshape(40, 60), axis=1)
            turned[label, j] = (steps < -1e-9).any()
            assert (steps > 0).any()
    assert turned == {("free", 1): True, ("free", 2): True, ("bound", 1): False, ("bound", 2): False}


def test_each_cause_has_its_own_splits_and_score():
    X, y = sample(n=1500, kinds=2, seed=4)
    first, second = (SurvivalForest(30, split_cause=k, random_state=0).fit(X, y) for k in (1, 2))
    both = SurvivalForest(30, random_state=0).fit(X, y)
    assert np.corrcoef(first.predict(X), X[:, 2])[0, 1] > 0.3
    assert np.corrcoef(second.predict(X), X[:, 2])[0, 1] < -0.3
    np.testing.assert_array_equal(second.predict(X), second.predict(X, cause=2))
    np.testing.assert_array_equal(both.predict(X), both.predict(X, cause=1))
    for forest in (first, both):
        assert forest.score(X, y) > 0.75


def test_one_cause_as_a_number_is_the_plain_forest():
    X, y = sample()
    coded = np.empty(len(y), dtype=[("time", float), ("event", np.uint8)])
    coded["time"], coded["event"] = y["time"], y["event"]
    first, second = (SurvivalForest(5, random_state=0).fit(X, z) for z in (y, coded))
    np.testing.assert_array_equal(everything(first, X), everything(second, X))


def test_out_of_bag_is_the_mean_over_trees_that_did_not_draw_the_row():
    X, y = sample(n=120, missing=0.05)
    forest = SurvivalForest(9, oob_score=True, min_samples_leaf=2, random_state=0).fit(X, y)
    drawn = np.unpackbits(forest._drawn(forest.bins_.transform(X)), axis=1, bitorder="little")[:, :120].astype(bool)
    values = forest.trees_.value[forest.apply(X), 0]
    expected = np.array([values[i, ~drawn[:, i]].mean() if (~drawn[:, i]).any() else np.nan for i in range(120)])
    np.testing.assert_allclose(forest.oob_prediction_, expected, rtol=1e-12)
    assert np.isnan(expected).any()
    known = np.isfinite(expected)
    assert forest.oob_score_ == harrell_c(y["event"][known], y["time"][known], expected[known])
    # The rows of a tree are those it drew, as often as it did: the cover of its root is their number.
    np.testing.assert_array_equal(forest.trees_.cover[forest.trees_.roots[:-1]], 120)
    assert abs(drawn.mean() - 0.632) < 0.04
    curves = forest.oob_survival_function(X, [5.0, 30.0])
    np.testing.assert_array_equal(np.isnan(curves).any(axis=1), ~known)
    assert (curves[known, 1] <= curves[known, 0]).all()


def test_out_of_bag_concordance_is_honest():
    X, y = sample(n=800)
    noise = np.random.default_rng(99).normal(size=X.shape)
    forest = SurvivalForest(100, oob_score=True, min_samples_leaf=2, random_state=0).fit(noise, y)
    assert forest.score(noise, y) > 0.8
    assert abs(forest.oob_score_ - 0.5) < 0.06
    fair = SurvivalForest(100, oob_score=True, random_state=0).fit(X, y)
    assert fair.oob_score_ == pytest.approx(fair.score(*sample(n=3000, seed=9)), abs=0.03)


def test_permutation_importance_finds_what_matters():
    X, y = sample(n=500)
    forest = SurvivalForest(40, random_state=0).fit(X, y)
    found = forest.permutation_importance(X, y, n_repeats=3, random_state=0)
    assert found.importances.shape == (4, 3)
    assert found.importances_mean[0] > 0.1 > found.importances_mean[1] > found.importances_mean[2:].max()
    assert np.abs(found.importances_mean[2:]).max() < 0.02
    again = forest.set_params(n_jobs=2).permutation_importance(X, y, n_repeats=3, random_state=0)
    np.testing.assert_array_equal(found.importances, again.importances)
    with pytest.raises(DataError, match="not what the forest was fitted on"):
        forest.permutation_importance(X[::-1], y)
    with pytest.raises(NotEstimableError, match="bootstrap"):
        SurvivalForest(3, bootstrap=False).fit(X, y).oob_survival_function(X)


def test_max_samples():
    X, y = sample()
    forest = SurvivalForest(5, max_samples=0.2, random_state=0).fit(X, y)
    assert (forest.trees_.cover[forest.trees_.roots[:-1]] == 60).all()
    assert (SurvivalForest(5, max_samples=60, random_state=0).fit(X, y).predict(X) == forest.predict(X)).all()


def test_proximity_is_the_share_of_common_leaves():
    X, y = sample(n=80)
    forest = SurvivalForest(12, min_samples_leaf=5, random_state=0).fit(X, y)
    got = forest.proximity(X[:10], X)
    leaves = forest.apply(X)
    np.testing.assert_allclose(got, (leaves[:10, None] == leaves).mean(axis=2))
    assert (np.diag(forest.proximity(X)) == 1).all()
    far, near = np.abs(X[:10, None, 0] - X[None, :, 0]) > 1.5, np.abs(X[:10, None, 0] - X[None, :, 0]) < 0.3
    assert got[near].mean() > 3 * got[far].mean()


@pytest.mark.parametrize("kinds", [1, 2])
def test_state_goes_through_numpy_and_json(kinds):
    X, y = sample(kinds=kinds, missing=0.1)
    X[:, 3] = np.round(X[:, 3])
    forest = SurvivalForest(
        10, categorical_features=["d"], monotone={"a": 1}, random_state=np.random.RandomState(3)
    ).fit(X, y, feature_names=list("abcd"))  # fmt: skip
    state = forest.to_state()
    buffer = io.BytesIO()
    np.savez(buffer, **state["arrays"])
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        loaded = SurvivalForest.from_state(
            {**json.loads(json.dumps({**state, "arrays": None})), "arrays": dict(arrays)}
        )
    text = json.dumps(RECIPE.to_state(forest), allow_nan=False)
    for again in (loaded, RECIPE.from_state(json.loads(text))):
        np.testing.assert_array_equal(everything(again, X), everything(forest, X))
        np.testing.assert_array_equal(again.shap_values(X[:9])[0], forest.shap_values(X[:9])[0])
        assert again.feature_names_in_.tolist() == list("abcd")
        assert again.expected_value_ == forest.expected_value_
        with pytest.raises(NotEstimableError, match="read from a file"):
            again.permutation_importance(X, y)
    assert json.dumps(RECIPE.to_state(RECIPE.from_state(json.loads(text)))) == text


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("left", 0, 10**6), ("left", 0, 0), ("left", -1, 10**6), ("left", -1, -1), ("feature", 0, 99),
        ("cut", 0, -5), ("code", 0, 60000), ("roots", 1, 10**6), ("pairs", 0, 60000), ("hazard", 0, np.nan),
        ("hazard", 0, 7.0), ("edge_starts", 1, 10**6), ("cover", 0, 0.0), ("value", 0, np.inf), ("times", 0, 1e9),
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused_before_a_loop_reads_it(name, place, value):
    X, y = sample()
    state = SurvivalForest(4, random_state=0).fit(X, y).to_state()
    array = state["arrays"][name].copy()
    array[place] = value
    with pytest.raises((DataError, ValueError)):
        SurvivalForest.from_state({**state, "arrays": {**state["arrays"], name: array}})


def test_a_shorter_array_is_refused():
    X, y = sample()
    state = SurvivalForest(4, random_state=0).fit(X, y).to_state()
    for name, array in state["arrays"].items():
        if name != "tree_seeds" and array.size:
            with pytest.raises((DataError, ValueError)):
                SurvivalForest.from_state({**state, "arrays": {**state["arrays"], name: array[:-1]}})


def test_state_is_small():
    X, y = sample(n=5000, p=10)
    forest = SurvivalForest(100, random_state=0).fit(X, y)
    assert sum(a.nbytes for a in forest.to_state()["arrays"].values()) < 4e6
    assert len(json.dumps(RECIPE.to_state(forest))) < 6e6


def refused(error, match, X=None, y=None, weight=None, **settings):
    first, second = sample(n=40)
    with pytest.raises(error, match=match):
        SurvivalForest(2, **settings).fit(first if X is None else X, second if y is None else y, sample_weight=weight)


def outcome(event, time, kind=int):
    y = np.empty(len(time), dtype=[("event", kind), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def test_refusals_of_data():
    X, y = sample(n=40)
    none = y.copy()
    none["event"] = False
    refused(NotEstimableError, "no event", y=none)
    refused(NotEstimableError, "no event", weight=(~y["event"]).astype(float))
    refused(NotEstimableError, "none of the 1 columns varies", X=np.ones((40, 1)))
    refused(NotEstimableError, "none of the 0 columns varies", X=np.ones((40, 0)))
    infinite = X.copy()
    infinite[3, 2] = -np.inf
    refused(DataError, "'x2' has 1 infinite", X=infinite)
    refused(DataError, "32768 columns", X=np.ones((40, 2**15)))
    refused(DataError, "holds text", X=np.full((40, 2), "a"))
    refused(DataError, "2 \\(rows and columns\\)", X=X[:, 0])
    refused(DataError, "40 rows and y 39", y=y[1:])
    refused(DataError, "negative", weight=-np.ones(40))
    refused(DataError, "not a structured array", y=np.ones(40))
    refused(DataError, "event codes 1, 3", y=outcome(np.array([0, 1, 3, 0] * 10), y["time"]))
    refused(DataError, "whole numbers", y=outcome(-np.ones(40), y["time"]))
    refused(DataError, "infinite or negative", y=outcome(y["event"], -y["time"], bool))
    refused(DataError, "infinite or negative", y=outcome(y["event"], np.full(40, np.nan)))
    many = np.arange(300.0)[:, None]
    refused(DataError, "'x0' has 300 categories", X=many, y=sample(n=300)[1], categorical_features=[0])
    forest = SurvivalForest(2, random_state=0).fit(X, y)
    with pytest.raises(DataError, match="3 columns"):
        forest.predict(X[:, :3])
    with pytest.raises(DataError, match="infinite"):
        forest.predict(infinite)
    with pytest.raises(DataError, match="1 of 2 times"):
        forest.predict_survival_function(X, [1.0, np.nan])
    with pytest.raises(StudyFileError, match="cause = 2"):
        forest.predict_cumulative_incidence(X, [1.0], cause=2)
    with pytest.raises(NotFittedError):
        SurvivalForest().predict(X)


@pytest.mark.parametrize(
    ("match", "settings"),
    [
        ("n_estimators = 0", {"n_estimators": 0}),
        ("min_samples_leaf = 0", {"min_samples_leaf": 0}),
        ("max_depth = 0", {"max_depth": 0}),
        ("max_bins = 256", {"max_bins": 256}),
        ("max_times = 0", {"max_times": 0}),
        ("max_features = 0", {"max_features": 0}),
        ("max_features = 1.5", {"max_features": 1.5}),
        ("max_samples = 2.0", {"max_samples": 2.0}),
        ("max_samples without", {"max_samples": 0.5, "bootstrap": False}),
        ("oob_score without", {"oob_score": True, "bootstrap": False}),
        ("split_cause = 2", {"split_cause": 2}),
        ("2 values in monotone", {"monotone": [1, 0]}),
        ("monotone = 2", {"monotone": {0: 2}}),
        ("nominal and monotone", {"monotone": {0: 1}, "categorical_features": [0]}),
        ("column 9 of 4", {"categorical_features": [9]}),
        ("2 flags", {"categorical_features": [True, False]}),
    ],
)
def test_refusals_of_settings(match, settings):
    X, y = sample(n=40)
    with pytest.raises(StudyFileError, match=match):
        SurvivalForest().set_params(**settings).fit(X, y)


def test_unknown_names():
    refused(UnknownNameError, "log-rank", splitter="log-ranks")
    refused(UnknownNameError, "x1", monotone={"x11": 1})


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_hard_but_usable_data(splitter):
    X, y = sample(n=60)
    one = y.copy()
    one["event"] = np.arange(60) == 30
    forest = SurvivalForest(5, splitter=splitter, random_state=0).fit(X, one)
    assert np.isfinite(everything(forest, X)).all()
    tied = outcome(np.ones(60, bool), np.zeros(60), bool)
    same = SurvivalForest(5, splitter=splitter, random_state=0).fit(X, tied)
    assert (same.trees_.feature == -1).all()
    np.testing.assert_array_equal(same.predict_survival_function(X[:1], [0.0, 1.0]), [[0.0, 0.0]])
    huge = X / np.abs(X).max() * 1.7e308
    assert np.isfinite(SurvivalForest(5, splitter=splitter, random_state=0).fit(huge, y).predict(huge)).all()
    single = SurvivalForest(5, min_samples_leaf=1, splitter=splitter, random_state=0).fit(X[:2], y[:2])
    assert np.isfinite(everything(single, X)).all()
    assert single.predict(np.empty((0, 4))).shape == (0,)


def test_fractional_weights_fill_the_tree_to_its_last_leaf():
    X, y = sample(n=90)
    for seed in range(20):
        weight = np.random.default_rng(seed).choice([0.1, 0.2, 0.7], 90)
        forest = SurvivalForest(4, min_samples_leaf=1, bootstrap=False, max_features=None, random_state=seed)
        cover = forest.fit(X, y, sample_weight=weight).trees_.cover
        assert cover.min() >= 1 - 1e-6
        assert cover[0] == pytest.approx(weight.sum(), rel=1e-6)


def test_thousands_of_indicators():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 5000, 600)
    X = np.zeros((600, 5001))
    X[np.arange(600), level] = 1.0
    X[:, -1] = rng.normal(size=600)
    y = outcome(np.ones(600, bool), rng.exponential(np.exp(-X[:, -1])), bool)
    forest = SurvivalForest(20, random_state=0).fit(X, y)
    assert forest.score(X, y) > 0.6


def test_data_frames_name_their_columns():
    pandas = pytest.importorskip("pandas")
    X, y = sample(n=60)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    forest = SurvivalForest(3, monotone={"b": 1}, random_state=0).fit(frame, y)
    assert forest.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(forest.predict(frame), forest.predict(X))
    frame["c"] = np.inf
    with pytest.raises(DataError, match="'c' has 60 infinite"):
        SurvivalForest(3).fit(frame, y)


def test_clone_and_parameters():
    forest = SurvivalForest(7, monotone={"a": 1}, max_samples=0.5)
    assert clone(forest).get_params() == forest.get_params()


def test_inputs_are_left_as_they_are():
    X, y = sample(missing=0.1)
    kept = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    forest = SurvivalForest(4, oob_score=True, random_state=0).fit(X, y)
    everything(forest, X)
    forest.permutation_importance(X, y, n_repeats=1)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_a_study_hands_categories_over_as_they_are():
    from aimed.core import Variable
    from aimed.fit.adapter import StudyModel

    rng = np.random.default_rng(0)
    site = Variable(name="site", kind="category", categories=tuple("abcdefgh"))
    X = np.column_stack([rng.normal(size=800), rng.integers(0, 8, 800)]).astype(float)
    X[rng.random(800) < 0.05, 1] = np.nan
    y = outcome(np.ones(800, bool), rng.exponential(np.exp(-1.5 * np.isin(X[:, 1], [1, 4, 6]))), bool)
    model = StudyModel(RECIPE, (Variable(name="age"), site), {"n_estimators": 30}).fit(X, y)
    forest = model.estimator
    assert forest.bins_.nominal.tolist() == [False, True]
    assert forest.categorical_features == ["site"]
    assert model.preparation.feature_origin_ == ["age", "site"]
    risk = model.score(np.column_stack([np.zeros(8), np.arange(8)]))
    assert risk[[1, 4, 6]].min() > 1.5 * risk[[0, 2, 3, 5, 7]].max()
    # One split tells these apart, which indicators need three for.
    values, base = forest.shap_values(model.preparation.transform(X[:5]))
    np.testing.assert_allclose(base + values.sum(axis=1), model.score(X[:5]))
    again = RECIPE.from_state(json.loads(json.dumps(RECIPE.to_state(forest), allow_nan=False)))
    np.testing.assert_array_equal(again.predict(model.preparation.transform(X)), model.score(X))
    unseen = np.array([[0.0, np.nan], [0.0, 99.0]])
    np.testing.assert_array_equal(*model.score(unseen))
