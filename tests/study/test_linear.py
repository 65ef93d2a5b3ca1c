"""Nomograms and tests of proportional hazards of real recipes: a reading is the risk of the packaged model."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.calibrate.choose import choose
from aimed.core import Variable
from aimed.explain.nomogram import read_nomogram
from aimed.fit.adapter import StudyModel
from aimed.prognosis import MODELS
from aimed.study.linear import nomogram_of, proportional_hazards_of, readable_steps

VARIABLES = (
    Variable(name="age", label="Age", unit="years"),
    Variable(name="bmi", label="Body mass index", unit="kg/m2"),
    Variable(name="crea", label="Creatinine", unit="mg/dL"),
    Variable(name="chf", label="Heart failure"),
    Variable(name="ward", label="Ward", kind="category", categories=("medical", "surgical", "other")),
)
OPTIONS = {"nonlinear": {"bmi": "spline(4)", "crea": "log"}}
HORIZONS = (365.0, 1095.0)


def rows(n=500, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(65, 12, n),
            rng.normal(27, 5, n),
            rng.lognormal(0.1, 0.4, n),
            rng.random(n) < 0.3,
            rng.integers(0, 3, n),
        ]
    ).astype(float)
    lp = 0.04 * (X[:, 0] - 65) + 0.006 * (X[:, 1] - 28) ** 2 + 0.8 * np.log(X[:, 2]) + 0.6 * X[:, 3] + 0.3 * X[:, 4]
    death, lost = rng.exponential(1800 * np.exp(-lp)), rng.uniform(200, 3000, n)
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return X, y, (rng.random(n) < 1 / (1 + np.exp(1.2 - lp))).astype(np.int8)


def fitted(name, parameters=None):
    X, y, yes = rows()
    recipe = MODELS[name]
    target = yes if recipe.task == "binary" else y
    return StudyModel(recipe, VARIABLES, parameters, OPTIONS).fit(X, target), X, target


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("logistic", None),
        ("logistic", {"penalty": "lasso", "C": 0.05}),
        ("cox", None),
        ("cox", {"penalty": 5.0}),
        ("cox_lasso", None),
        ("accelerated_failure_time", {"distribution": "weibull"}),
        ("accelerated_failure_time", {"distribution": "lognormal"}),
        ("royston_parmar", None),
    ],
)
def test_a_reading_reproduces_the_risk_of_every_additive_model(name, parameters):
    model, X, _ = fitted(name, parameters)
    times = None if model.recipe.task == "binary" else HORIZONS
    found = nomogram_of(model, X, times)
    assert found["reason"] is None
    new = rows(1000, seed=5)[0]
    total, read = read_nomogram(found, new, VARIABLES)
    inside = np.isfinite(total)
    assert inside.mean() > 0.85
    away = np.abs(read[inside] - model.risk(new[inside], times))
    assert (away.max(axis=0) <= found["error"]["bound"]).all()
    assert max(found["error"]["bound"]) < 0.04
    assert [r["horizon"] for r in found["risks"]] == ([None] if times is None else list(times))


def test_a_calibrated_model_is_read_as_it_is_calibrated():
    model, X, target = fitted("logistic")
    chosen = choose(model.raw_risk(X) ** 2, target, np.arange(target.size), methods=("sigmoid",), seed=0)
    model.calibrator = chosen.calibrator
    found = nomogram_of(model, X, None)
    total, read = read_nomogram(found, X, VARIABLES)
    inside = np.isfinite(total)
    assert np.abs(read[inside] - model.risk(X[inside])).max() <= found["error"]["bound"][0]
    assert np.abs(read[inside] - model.raw_risk(X[inside])[:, None]).max() > found["error"]["bound"][0]


@pytest.mark.parametrize("name", ["survival_forest", "kaplan_meier", "gradient_boosting"])
def test_models_without_coefficients_have_neither(name):
    model, X, target = fitted(name, {"n_estimators": 5} if name == "survival_forest" else None)
    assert nomogram_of(model, X, HORIZONS) is None
    assert proportional_hazards_of(model, X, target, np.arange(len(X)), 0.95) is None


@pytest.mark.parametrize(
    ("name", "parameters", "refitted"),
    [("cox", None, False), ("cox", {"penalty": 5.0}, True), ("cox_lasso", None, True), ("royston_parmar", None, True)],
)
def test_hazard_models_are_tested_by_variable_with_readable_steps(name, parameters, refitted):
    model, X, y = fitted(name, parameters)
    found = proportional_hazards_of(model, X, y, np.arange(len(X)), 0.95)
    assert found["reason"] is None
    assert found["refitted"] is refitted
    assert not found["repeated"]
    df = {t["term"]: t["df"] for t in found["terms"]}
    if name != "cox_lasso":
        assert df == {
            "Age (years)": 1, "Body mass index (kg/m2)": 3, "Creatinine (mg/dL)": 1, "Heart failure": 1, "Ward": 2,
        }  # fmt: skip
    assert proportional_hazards_of(model, X, y, np.repeat(np.arange(len(X) // 2), 2), 0.95)["repeated"]
    for curve in found["curves"]:
        assert ("per" in curve) == (curve["scale"] == "ratio")


def test_models_of_times_or_odds_are_not_tested():
    for name, parameters in (("accelerated_failure_time", None), ("logistic", None)):
        model, X, y = fitted(name, parameters)
        assert proportional_hazards_of(model, X, y, np.arange(len(X)), 0.95) is None
    model, X, y = fitted("royston_parmar", {"scale": "odds"})
    assert proportional_hazards_of(model, X, y, np.arange(len(X)), 0.95) is None


def test_steps_are_round_and_near_the_spread():
    model, X, _ = fitted("cox")
    steps = {label: (factor, per) for factor, label, per in readable_steps(model, X)}
    assert steps["Age (years)"][1] == "10 years"
    assert steps["Age (years)"][0] == pytest.approx(10 / X[:, 0].std(ddof=1), rel=1e-9)
    assert steps["Body mass index (kg/m2)"][1] == "1 kg/m2"
    assert steps["Heart failure"][1] == "1 against 0"
    assert steps["Ward=surgical"] == (1.0, "against the reference level")
    assert steps["log(Creatinine)"][1] == "1 standard deviation"
