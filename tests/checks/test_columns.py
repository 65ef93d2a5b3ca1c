"""Columns: constant, id-like, sparse, wrongly typed."""

import numpy as np
import pytest

from aimed.checks.columns import check
from aimed.checks.context import Context
from aimed.core import Cohort, Variable


def one(values, kind="number", categories=()):
    variable = Variable(name="x", kind=kind, categories=categories)
    return check(Context(Cohort(patient=np.arange(len(values)), variables=[variable], columns={"x": values})))


def words(findings):
    return [f.message for f in findings]


@pytest.mark.parametrize(
    ("values", "kind", "categories"),
    [
        ([2.0, 2.0, np.nan], "number", ()),
        ([0, 0, -1], "category", ("a", "b")),
        (["u", "u", None], "text", ()),
        (["2020-01-01", "2020-01-01", "NaT"], "date", ()),
    ],
)
def test_a_constant_of_any_kind_warns(values, kind, categories):
    assert words(one(values, kind, categories)) == ["The predictor 'x' has one value only in 2 rows."]


def test_an_empty_column_warns():
    assert words(one([np.nan, np.nan])) == ["The predictor 'x' has no value in 2 rows."]


@pytest.mark.parametrize(
    "values", [np.arange(50.0), np.arange(50.0)[::-1] * 3, np.random.default_rng(0).permutation(50) + 1000.0]
)
def test_whole_numbers_that_count_rows_look_like_an_id(values):
    assert "looks like an id" in words(one(values))[0]


@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(0).normal(size=50), np.sort(np.random.default_rng(0).normal(size=50)), np.arange(50) // 2],
)
def test_measurements_do_not(values):
    assert one(values) == []


def test_a_category_with_a_level_a_row_looks_like_an_id():
    names = tuple(f"n{i}" for i in range(60))
    assert "looks like an id" in words(one(np.arange(60), "category", names))[0]


def test_many_levels_and_rare_levels_warn():
    names = tuple(f"n{i}" for i in range(60))
    (many,) = one(np.arange(600) % 60, "category", names)
    assert (many.evidence["levels"], many.evidence["sparse"]) == (60, 0)
    (rare,) = one(np.r_[np.zeros(50), np.ones(50), [2, 2, 2, 2]], "category", names)
    assert rare.evidence["sparse"] == 1
    assert one(np.r_[np.zeros(50), np.ones(5)], "category", names) == []


def test_numbers_stored_as_text_warn():
    names = (*(f"{i / 10}" for i in range(20)), "<0.1")
    assert "numbers stored as text" in words(one(np.arange(210) % 21, "category", names))[0]
    assert "numbers stored as text" in words(one([f"{i},5" for i in range(30)], "text"))[0]
    assert one(np.arange(100) % 2, "category", ("0", "1")) == []


def test_free_text_looks_like_an_id_or_a_note():
    assert "note" in words(one([f"seen on ward {i}" for i in range(30)], "text"))[0]
    assert one(["yes", "no"] * 20, "text") == []


def test_infinite_values_warn():
    assert one([1.0, 2.0, np.inf])[0].evidence["infinite"] == 1
