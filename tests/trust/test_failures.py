"""Failure groups point at where the model errs, name missing values, and hide small counts."""

from __future__ import annotations

import numpy as np

from aimed.core import Variable
from aimed.trust.failures import error_groups


def test_the_worst_group_comes_first_with_its_unit():
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.uniform(20, 90, 400), rng.integers(0, 2, 400)))
    error = np.where(X[:, 0] > 70, 0.5, 0.1)
    variables = [
        Variable(name="age", label="Age", unit="years"),
        Variable(name="sex", kind="category", categories=("f", "m")),
    ]
    found = error_groups(error, X, variables, error > 0.3)
    worst = found["groups"][0]
    assert worst["rule"].startswith("Age > ")
    assert "years" in worst["rule"]
    assert abs(worst["n"] - (X[:, 0] > 70).sum()) < 8
    assert sum(g["n"] for g in found["groups"]) == 400


def test_missing_values_are_a_side_of_their_own():
    x = np.repeat([0.0, 1.0, np.nan], 60)[:, None]
    found = error_groups(np.where(np.isnan(x[:, 0]), 0.8, 0.1), x, [Variable(name="lactate")], np.zeros(180, bool))
    assert "missing" in found["groups"][0]["rule"]
    assert found["groups"][0]["error"] > 0.4


def test_small_counts_are_hidden_and_small_tables_left_alone():
    x = np.repeat([0.0, 1.0], 40)[:, None]
    events = np.zeros(80, bool)
    events[:3] = True
    groups = error_groups(x[:, 0] * 0.5, x, [Variable(name="a")], events)["groups"]
    assert {g["events"] for g in groups} == {"<11", 0}
    assert error_groups(np.zeros(10), np.zeros((10, 1)), [Variable(name="a")], np.zeros(10, bool)) is None
