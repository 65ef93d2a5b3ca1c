import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from aimed.core.errors import DataError, StudyFileError, UnknownNameError
from aimed.treatment.base_learners import (
    BASE_LEARNERS,
    effect_model,
    fit_model,
    one_thread,
    outcome_model,
    predict_mean,
)


def curve(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, 1.5 * X[:, 0] + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("name", BASE_LEARNERS)
def test_each_learns_a_line_and_a_chance(name):
    X, y = curve()
    mean = predict_mean(fit_model(outcome_model(name, False, 0), X[:200], y[:200]), X[200:])
    assert np.corrcoef(mean, y[200:])[0, 1] > 0.85
    event = (y > 0).astype(float)
    chance = predict_mean(fit_model(outcome_model(name, True, 0), X[:200], event[:200]), X[200:], True)
    assert ((chance >= 0) & (chance <= 1)).all()
    assert chance[event[200:] == 1].mean() - chance[event[200:] == 0].mean() > 0.4


@pytest.mark.parametrize("name", BASE_LEARNERS)
def test_bits_do_not_depend_on_threads(name):
    X, y = curve(600)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            model = fit_model(effect_model(name, 0), X, y, np.linspace(0.5, 2, 600))
            found.append(predict_mean(model, X))
    assert np.array_equal(*found)


def test_effects_get_smaller_trees_than_outcomes():
    assert effect_model("decision_tree").min_samples_leaf > outcome_model("decision_tree", False).min_samples_leaf
    assert effect_model("gradient_boosting").max_leaf_nodes < outcome_model("gradient_boosting", False).max_leaf_nodes


def test_weights_reach_the_last_step_of_a_pipeline():
    X, y = curve()
    w = (np.arange(300) < 150).astype(float)
    weighted = fit_model(outcome_model(LinearRegression(), False), X, y, w)
    assert weighted.coef_ == pytest.approx(LinearRegression().fit(X[:150], y[:150]).coef_)
    heavy = predict_mean(fit_model(effect_model("linear"), X, np.where(w == 1, 1.0, 5.0), w + 1e-9), X)
    assert heavy == pytest.approx(1.0, abs=1e-3)


def test_an_estimator_is_cloned_and_keeps_its_settings():
    mine = Ridge(alpha=7.0)
    used = outcome_model(mine, False, 3)
    assert used is not mine
    assert used.alpha == 7.0


def test_what_is_no_base_learner_is_refused():
    with pytest.raises(UnknownNameError, match="linear"):
        outcome_model("linaer", False)
    for bad in (3, Ridge, object()):
        with pytest.raises(StudyFileError):
            effect_model(bad)
    X, y = curve(50)
    with pytest.raises(DataError, match="no row weights"):
        fit_model(KNeighborsRegressor(), X, y, np.ones(50))


def test_an_outcome_without_variation_is_a_constant():
    X, _ = curve(50)
    assert (predict_mean(fit_model(outcome_model("linear", True), X, np.ones(50)), X, True) == 1).all()


def test_a_chance_that_a_regression_gives_is_cut():
    X, y = curve(50)
    model = fit_model(outcome_model(LinearRegression(), True), X, (y > 0).astype(float))
    assert model.predict(10 * X).max() > 1
    assert predict_mean(model, 10 * X, True).max() == 1


def test_one_thread_is_one_thread():
    with one_thread():
        assert {library["num_threads"] for library in threadpool_info()} == {1}
