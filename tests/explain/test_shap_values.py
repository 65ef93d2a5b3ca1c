"""SHAP values against the definition (all coalitions), against shap, and additive to 1e-6."""

import itertools
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from aimed.core import DataError, NotEstimableError, Variable
from aimed.explain.reasons import reasons
from aimed.explain.shap_values import mean_absolute, shap_values

ORIGIN = ["age", "sex", "age", "bmi"]
VARIABLES = [Variable(name=name) for name in ("age", "sex", "bmi")]
MEMBERS = [[0, 2], [1], [3]]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(400, 4))
    Z[:, 2] = Z[:, 0] ** 2 + 0.1 * rng.normal(size=400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(Z[:, 0] - Z[:, 1] + 0.5 * Z[:, 2] * Z[:, 3])))).astype(int)
    return Z, y


def shapley(call, background, row, members):
    """Definition: mean output over background rows with a coalition's features set to the row's."""
    p = len(members)

    def worth(coalition):
        mixed = background.copy()
        for j in coalition:
            mixed[:, members[j]] = row[members[j]]
        return float(np.mean(call(mixed)))

    out = np.zeros(p)
    for j in range(p):
        others = [k for k in range(p) if k != j]
        for size in range(p):
            weight = factorial(size) * factorial(p - size - 1) / factorial(p)
            for c in combinations(others, size):
                out[j] += weight * (worth((*c, j)) - worth(c))
    return out


def test_linear_is_the_shapley_value_of_whole_variables(data):
    Z, y = data
    model = LogisticRegression().fit(Z, y)
    found = shap_values(model, Z[:60], Z[100:104], ORIGIN, VARIABLES, family="linear")
    for i in range(4):
        exact = shapley(model.decision_function, Z[:60], Z[100 + i], MEMBERS)
        np.testing.assert_allclose(found.values[i], exact, atol=1e-10)
    assert found.scale == "log odds"
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.decision_function(Z[100:104]), atol=1e-10)


@pytest.mark.parametrize("model", [DecisionTreeClassifier(max_depth=4), RandomForestClassifier(15, max_depth=4)])
def test_trees_are_the_shapley_values_of_features_against_the_background(data, model):
    Z, y = data
    model = model.set_params(random_state=0).fit(Z, y)
    apart = [Variable(name=str(k)) for k in range(4)]
    found = shap_values(model, Z[:80], Z[200:203], list("0123"), apart, family="tree")
    for i in range(3):
        exact = shapley(lambda A: model.predict_proba(A)[:, 1], Z[:80], Z[200 + i], [[0], [1], [2], [3]])
        np.testing.assert_allclose(found.values[i], exact, atol=1e-6)
    assert found.scale == "probability"
    assert found.error < 1e-6
    assert "80 training rows" in found.note


def test_gradient_boosting_agrees_with_shap_and_adds_up_with_missing_values(data):
    shap = pytest.importorskip("shap")
    Z, y = data
    Z = np.where(np.random.default_rng(0).random(Z.shape) < 0.1, np.nan, Z)
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(Z, y)
    found = shap_values(model, Z, Z[:50], ORIGIN, VARIABLES, family="tree")
    peer = np.asarray(shap.TreeExplainer(model, feature_perturbation="tree_path_dependent").shap_values(Z[:50]))
    np.testing.assert_allclose(found.values[:, 0], peer[:, 0] + peer[:, 2], atol=1e-9)
    np.testing.assert_allclose(found.values[:, 1:], peer[:, [1, 3]], atol=1e-9)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.decision_function(Z[:50]), atol=1e-6)
    assert found.scale == "log odds"
    assert "path-dependent" in found.note


def test_values_that_do_not_add_up_are_refused(data):
    """shap misreads categorical splits of gradient boosting; the check must see it."""
    Z, y = data
    Z = Z.copy()
    Z[:, 3] = np.arange(400) % 5
    y = np.isin(Z[:, 3], (1, 4)).astype(int)
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=[3], random_state=0).fit(Z, y)
    with pytest.raises(NotEstimableError, match="SHAP values miss the model's output"):
        shap_values(model, Z, Z[:50], ORIGIN, VARIABLES, family="tree")


class Hazard:
    """A Cox-like model without decision_function."""

    coef_ = np.array([0.5, -1.0, 0.2, 0.0])

    def predict(self, Z):
        return Z @ self.coef_


def test_cox_like_models_are_on_the_log_hazard_scale_and_incomplete_rows_stay_empty(data):
    Z, _ = data
    rows = Z[:3].copy()
    rows[1, 0] = np.nan
    found = shap_values(Hazard(), Z, rows, ORIGIN, VARIABLES, family="linear")
    assert found.scale == "log hazard"
    assert np.isnan(found.values[1]).all()
    assert np.isnan(found.output[1])
    assert np.isfinite(found.values[[0, 2]]).all()
    why = reasons(found.values, top=2)
    assert why.variable[1].tolist() == [-1, -1]
    assert np.isnan(why.contribution[1]).all()


@pytest.mark.parametrize(("family", "match"), [("baseline", "'baseline' has no SHAP"), ("tree", "survival trees")])
def test_models_without_shap_values_say_so(data, family, match):
    Z, _ = data
    with pytest.raises(NotEstimableError, match=match):
        shap_values(Hazard(), Z, Z, ORIGIN, VARIABLES, family=family)


def test_shapes_are_checked(data):
    Z, _ = data
    with pytest.raises(DataError, match="one column a feature"):
        shap_values(Hazard(), Z, Z[:, :3], ORIGIN, VARIABLES, family="linear")
    with pytest.raises(DataError, match="come from no variable"):
        shap_values(Hazard(), Z, Z, ["age", "sex", "age", "other"], VARIABLES, family="linear")


def test_mean_absolute_draws_patients():
    rng = np.random.default_rng(0)
    by_patient = rng.normal(size=(30, 1))
    values = np.repeat(by_patient, 20, axis=0)
    variables = [Variable(name="age")]
    rows = mean_absolute(values, variables, draws=2000)[0]
    patients = mean_absolute(values, variables, patient=np.repeat(np.arange(30), 20), draws=2000)[0]
    assert rows["mean_abs"] == patients["mean_abs"] == pytest.approx(np.abs(by_patient).mean())
    ratio = (patients["upper"] - patients["lower"]) / (rows["upper"] - rows["lower"])
    assert ratio == pytest.approx(np.sqrt(20), rel=0.15)
    se = np.abs(by_patient).std() / np.sqrt(30)
    assert patients["upper"] - patients["lower"] == pytest.approx(3.92 * se, rel=0.15)


def test_reasons_are_the_largest_by_size_with_ties_in_order():
    found = reasons(np.array([[0.2, -0.5, 0.5, 0.0]]), top=3)
    assert found.variable.tolist() == [[1, 2, 0]]
    assert found.contribution.tolist() == [[-0.5, 0.5, 0.2]]
    assert reasons(np.ones((2, 2)), top=9).variable.shape == (2, 2)
    with pytest.raises(DataError):
        reasons(np.ones(3))


def test_forests_are_explained_in_blocks_without_a_word(data, capfd):
    """shap writes a progress bar to the terminal when a call is long; blocks give the same values."""
    Z, y = data
    model = RandomForestClassifier(60, max_depth=5, random_state=0).fit(Z, y)
    whole = shap_values(model, Z, Z[:120], ORIGIN, VARIABLES, family="tree")
    assert "100 training rows" in whole.note
    assert whole.error < 1e-6
    np.testing.assert_array_equal(whole.values, shap_values(model, Z, Z[:120], ORIGIN, VARIABLES, family="tree").values)
    assert capfd.readouterr() == ("", "")


class Product:
    """A function with an interaction: no additive model gives its values."""

    shap_scale = "effect"

    def predict(self, X):
        return X[:, 0] * X[:, 1] + 2.0 * X[:, 2]


def by_hand(f, row, background):
    """Shapley values by their definition: the mean over all orders of what a variable adds."""
    p = row.size
    out = np.zeros(p)
    orders = list(itertools.permutations(range(p)))
    for order in orders:
        known = np.zeros(p, dtype=bool)
        before = f(background).mean()
        for j in order:
            known[j] = True
            after = f(np.where(known, row, background)).mean()
            out[j] += after - before
            before = after
    return out / len(orders)


@pytest.mark.parametrize("more", [0, 7])
def test_a_function_is_explained_from_outside(more):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 3 + more))
    names = [f"v{j}" for j in range(3 + more)]
    found = shap_values(Product(), X[:25], X, names, [Variable(name=n) for n in names], family="function", seed=1)
    known = np.isfinite(found.values).all(axis=1)
    assert known.sum() >= 20
    assert found.scale == "effect"
    assert found.error < 1e-9
    row = int(np.flatnonzero(known)[0])
    want = by_hand(lambda Z: Product().predict(Z), X[row, :3], X[:25, :3])
    assert np.allclose(found.values[row, :3], want, atol=1e-9 if not more else 0.5)
    assert np.allclose(found.values[row, 3:], 0.0)


def test_a_function_gives_the_same_values_again():
    X = np.random.default_rng(0).normal(size=(30, 10))
    names = [f"v{j}" for j in range(10)]
    made = [
        shap_values(Product(), X, X, names, [Variable(name=n) for n in names], family="function", seed=4)
        for _ in range(2)
    ]
    assert np.array_equal(made[0].values, made[1].values, equal_nan=True)
