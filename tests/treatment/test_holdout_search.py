"""Search on held-out rows: order, ties, scores, arms, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.discrimination import auroc
from aimed.treatment.holdout_search import grid_points, holdout_search, t_learner_search


def data(n, seed):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 3)), rng.integers(0, 2, n)
    Y = (X[:, 0] + 0.8 * T * X[:, 1] + rng.logistic(size=n) > 0).astype(float)
    return Y, T, X


def test_order_of_the_grid():
    assert grid_points({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert grid_points([{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    for empty in ({"a": []}, []):
        with pytest.raises(DataError, match="no setting"):
            grid_points(empty)
    with pytest.raises(DataError, match="no list"):
        grid_points({"a": 3})


def test_the_first_of_equal_scores_wins():
    Y, _, X = data(300, 1)
    grid = {"min_samples_split": [2, 3, 2], "max_depth": [1], "random_state": [0]}
    found = holdout_search(DecisionTreeClassifier, grid, Y[:200], X[:200], holdout=(Y[200:], X[200:]))
    assert found.best_params["min_samples_split"] == 2
    assert found.tied == 3


def test_scores_are_aurocs_of_the_fitted_models():
    Y, _, X = data(300, 2)
    grid = {"n_estimators": [5, 10], "max_depth": [1, 4], "random_state": [0]}
    found = holdout_search(RandomForestClassifier, grid, Y[:200], X[:200], holdout=(Y[200:], X[200:]))
    for trial in found.trials:
        forest = RandomForestClassifier(**trial.params).fit(X[:200], Y[:200])
        expected = auroc(Y[200:], forest.predict_proba(X[200:])[:, 1])
        assert float(trial.score) == float(expected)
        assert trial.score.lower == expected.lower
    assert float(found.best_score) == max(float(t.score) for t in found.trials)
    assert "optimistic" in found.best_score.note
    assert (found.n_train, found.n_holdout, found.best_score.n) == (200, 100, 100)
    np.testing.assert_array_equal(found.predict(X[200:]), found.best_estimator.predict_proba(X[200:])[:, 1])
    assert len(found.to_dict()["trials"]) == 4


def test_an_estimator_is_cloned_and_set():
    Y, _, X = data(200, 3)
    base = LogisticRegression()
    found = holdout_search(base, {"C": [0.01, 1.0]}, Y[:100], X[:100], holdout=(Y[100:], X[100:]))
    assert found.best_params["C"] == found.best_estimator.C
    assert base.C == 1.0
    assert not hasattr(base, "coef_")


def test_continuous_outcomes_take_the_least_squared_error():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 2))
    Y = X[:, 0] + 0.1 * rng.normal(size=300)
    found = holdout_search(Ridge, {"alpha": [1e4, 1e-3]}, Y[:200], X[:200], holdout=(Y[200:], X[200:]))
    assert found.best_params == {"alpha": 1e-3}
    assert not found.larger_is_better
    assert float(found.best_score) == pytest.approx(np.mean((Y[200:] - found.predict(X[200:])) ** 2))
    assert found.best_score.lower < found.best_score < found.best_score.upper


def test_own_score():
    Y, _, X = data(200, 5)
    found = holdout_search(
        DecisionTreeClassifier,
        {"max_depth": [1, 2, 3], "random_state": [0]},
        Y[:100],
        X[:100],
        holdout=(Y[100:], X[100:]),
        score=lambda y, p: float(np.abs(y - p).mean()),
        larger_is_better=False,
    )
    assert float(found.best_score) == min(float(t.score) for t in found.trials)


def test_patients_widen_the_interval_and_may_not_be_in_both_parts():
    Y, _, X = data(200, 6)
    parts = {"Y": Y[:100], "X": X[:100], "holdout": (np.repeat(Y[100:], 3), np.repeat(X[100:], 3, axis=0))}
    one = holdout_search(LogisticRegression, {"C": [1.0]}, **parts)
    who = np.repeat(np.arange(100, 200), 3)
    clustered = holdout_search(LogisticRegression, {"C": [1.0]}, **parts, holdout_patient=who)
    assert clustered.best_score.se > 1.4 * one.best_score.se
    assert clustered.best_score.note == one.best_score.note
    with pytest.raises(DataError, match="1 patients have rows in both"):
        holdout_search(LogisticRegression, {"C": [1.0]}, **parts, patient=np.arange(1, 101), holdout_patient=who)


def test_refusals():
    Y, _, X = data(100, 7)
    with pytest.raises(NotEstimableError, match="none of 1 settings"):
        holdout_search(LogisticRegression, {"C": [1.0]}, Y, X, holdout=(np.ones(5), X[:5]))
    with pytest.raises(NotEstimableError, match="one outcome only"):
        holdout_search(LogisticRegression, {"C": [1.0]}, np.ones(100), X, holdout=(Y, X))
    with pytest.raises(DataError, match="columns"):
        holdout_search(LogisticRegression, {"C": [1.0]}, Y, X, holdout=(Y[:5], X[:5, :2]))
    with pytest.raises(DataError, match="NaN"):
        holdout_search(LogisticRegression, {"C": [1.0]}, Y, np.where(X > 1, math.nan, X), holdout=(Y, X))


def test_t_learner_is_two_searches():
    Y, T, X = data(600, 8)
    grid = {"max_depth": [1, 2, 3], "random_state": [0]}
    heard = []
    train, held = slice(0, 400), slice(400, 600)
    found = t_learner_search(
        DecisionTreeClassifier,
        grid,
        Y[train],
        T[train],
        X[train],
        holdout=(Y[held], T[held], X[held]),
        progress=lambda share, what: heard.append((share, what)),
    )
    for arm, search in ((1, found.treated), (0, found.control)):
        rows, rows_held = T[train] == arm, T[held] == arm
        alone = holdout_search(
            DecisionTreeClassifier,
            grid,
            Y[train][rows],
            X[train][rows],
            holdout=(Y[held][rows_held], X[held][rows_held]),
        )
        assert alone.best_params == search.best_params
        assert float(alone.best_score) == float(search.best_score)
    outcomes = found.counterfactuals(X)
    np.testing.assert_array_equal(found.effect(X), outcomes[:, 1] - outcomes[:, 0])
    np.testing.assert_array_equal(found.effect(X, T0=1, T1=0), -found.effect(X))
    np.testing.assert_array_equal(found.benefit(X), -found.effect(X))
    np.testing.assert_array_equal(found.benefit(X, better="higher"), found.effect(X))
    assert len(heard) == 6
    assert heard[-1][1].startswith("control")
    assert 0 < found.c_for_benefit(Y[held], T[held], X[held]) < 1


def test_t_learner_direction_of_the_outcome_does_not_change_its_rank():
    Y, T, X = data(400, 9)
    grid = {"max_depth": [2], "random_state": [0]}
    bad, good = (
        t_learner_search(DecisionTreeRegressor, grid, y[:200], T[:200], X[:200], holdout=(y[200:], T[200:], X[200:]))
        for y in (Y, 1 - Y)
    )
    first = bad.c_for_benefit(Y, T, X, better="lower")
    second = good.c_for_benefit(1 - Y, T, X, better="higher")
    assert float(first) == pytest.approx(float(second), abs=0.02)


def test_t_learner_refusals():
    Y, T, X = data(60, 10)
    with pytest.raises(DataError, match="held-out"):
        t_learner_search(DecisionTreeClassifier, {"max_depth": [1]}, Y, T, X, holdout=(Y, np.ones(60), X))
    found = t_learner_search(DecisionTreeClassifier, {"max_depth": [1]}, Y, T, X, holdout=(Y, T, X))
    with pytest.raises(DataError, match="T0"):
        found.effect(X, T1=2)
