"""Published formulas: applied as they stand, to raw predictors, never fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, StudyFileError, Variable
from aimed.fit.adapter import StudyModel
from aimed.prognosis.coefficients import coefficients
from aimed.prognosis.published import PublishedFormula, published_recipe

AGE = Variable(name="age")
BILI = Variable(name="bili")
SEX = Variable(name="sex", kind="category", categories=("f", "m"))
X = np.array([[50.0, 2.0, 0], [60.0, 1.0, 1], [np.nan, 3.0, 1]])


def test_a_logit_formula_by_hand_whatever_the_order_and_the_outcome():
    recipe = published_recipe("rule", "Author 2020", -6.0, {"sex=f": -0.5, "age": 0.1})
    model = StudyModel(recipe, (AGE, BILI, SEX)).fit(X, np.array([0, 1, 0]))
    lp = np.array([-6 + 5.0 - 0.5, -6 + 6.0, -6 + 5.5])
    np.testing.assert_allclose(model.risk(X)[:, 0], 1 / (1 + np.exp(-lp)))
    other = StudyModel(recipe, (AGE, BILI, SEX)).fit(X, np.array([1, 0, 1]))
    np.testing.assert_array_equal(other.risk(X), model.risk(X))
    row = coefficients(model.estimator)[0]
    assert (row["term"], row["estimate"], row["lower"]) == ("sex=f", -0.5, None)
    assert "Author 2020" in row["note"]


def test_a_cox_formula_by_hand():
    y = np.array([(True, 100.0), (False, 900.0), (True, 50.0)], dtype=[("event", bool), ("time", float)])
    recipe = published_recipe(
        "pbc", "Author 1989", 0.0, {"age": 0.04, "log(bili)": 0.9}, link="cox", nonlinear={"bili": "log"},
        baseline_survival={"365": 0.97, "1825": 0.8}, mean_linear_predictor=3.0, task="survival",
    )  # fmt: skip
    model = StudyModel(recipe, (AGE, BILI, SEX)).fit(X, y)
    lp = 0.04 * 50 + 0.9 * np.log(2)
    got = model.survival(X[:1], [0, 365, 1095, 1825])[0]
    between = np.exp((np.log(0.97) + np.log(0.8)) / 2)
    np.testing.assert_allclose(got, np.array([1, 0.97, between, 0.8]) ** np.exp(lp - 3.0))
    np.testing.assert_allclose(model.score(X[:1]), lp)
    with pytest.raises(NotEstimableError, match="beyond the published"):
        model.survival(X, [2000])
    again = recipe.from_state(json.loads(json.dumps(recipe.to_state(model.estimator), allow_nan=False)))
    Z = model.preparation.transform(X)
    np.testing.assert_array_equal(again.predict_survival_function(Z, times=[100, 1000]), model.survival(X, [100, 1000]))


def test_a_column_that_the_data_lack_is_named():
    recipe = published_recipe("rule", "Author 2020", 0.0, {"agee": 1.0})
    with pytest.raises(DataError, match=r"no feature called 'agee'.*did you mean 'age'"):
        StudyModel(recipe, (AGE, SEX)).fit(X[:, [0, 2]], np.array([0, 1, 1]))


def test_what_is_refused():
    with pytest.raises(StudyFileError, match="no source"):
        published_recipe("rule", " ", 0.0, {"age": 1.0})
    with pytest.raises(StudyFileError, match="no weights"):
        published_recipe("rule", "A", 0.0, {})
    with pytest.raises(StudyFileError, match="'logit' or 'cox'"):
        published_recipe("rule", "A", 0.0, {"age": 1.0}, link="probit")
    with pytest.raises(StudyFileError, match="task 'survival'"):
        published_recipe("rule", "A", 0.0, {"age": 1.0}, task="survival")
    with pytest.raises(StudyFileError, match="no times"):
        published_recipe("rule", "A", 0.0, {"age": 1.0}, link="cox", baseline_survival=0.9)
    with pytest.raises(StudyFileError, match="not a curve"):
        PublishedFormula({"a": 1.0}, link="cox", baseline_survival={1: 0.5, 2: 0.7}).fit(np.ones((1, 1)))
    with pytest.raises(NotEstimableError, match="no baseline"):
        PublishedFormula({"a": 1.0}, link="cox").fit(np.ones((1, 1))).predict_survival_function(np.ones((1, 1)), [1.0])
    with pytest.raises(DataError, match="horizon"):
        PublishedFormula({"a": 1.0}, link="cox").fit(np.ones((1, 1))).predict_proba(np.ones((1, 1)))
