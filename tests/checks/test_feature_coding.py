"""Coding of columns: what is learnt from some rows is all that other rows are coded with."""

import numpy as np
import pytest

from aimed.checks.feature_coding import FeatureCoding, as_column, fit_ridge, texts
from aimed.core.errors import DataError


def test_training_rows_are_centred_and_scaled():
    rng = np.random.default_rng(0)
    found = FeatureCoding().fit({"kvp": rng.normal(90, 9, 200), "view": rng.choice(["PA", "AP"], 200)})
    assert found.names == ("kvp", "kvp squared", "view = AP", "view = PA")
    table = found.transform({"kvp": rng.normal(90, 9, 5), "view": ["PA"] * 5})
    assert table.shape == (5, 4)
    kvp = np.arange(50.0)
    coded = FeatureCoding().fit({"kvp": kvp}).transform({"kvp": kvp})
    assert coded.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
    assert coded.std(axis=0) == pytest.approx([1, 1])


def test_new_rows_do_not_change_how_others_are_coded():
    found = FeatureCoding().fit({"x": np.arange(20.0), "s": ["a", "b"] * 10})
    alone = found.transform({"x": [3.0], "s": ["a"]})
    beside = found.transform({"x": [3.0, 1e9, np.nan], "s": ["a", "zz", None]})
    assert np.array_equal(alone[0], beside[0])
    # Beyond the range counts as its end, missing as the mean, and an unseen level as none of the known.
    assert np.array_equal(beside[1, :2], found.transform({"x": [19.0], "s": ["a"]})[0, :2])
    assert beside[2, 0] == pytest.approx(0, abs=1e-12)
    assert np.array_equal(beside[1, 2:], beside[2, 2:])


def test_missing_is_a_level_where_training_has_it():
    found = FeatureCoding().fit({"x": [1.0, np.nan, 3.0, 4.0], "s": ["a", "", "a", None]})
    assert found.names == ("x", "x squared", "x missing", "s = missing", "s = a")
    assert FeatureCoding().fit({"x": [np.nan, np.inf]}).names == ()
    assert FeatureCoding().fit({"x": [np.nan, np.inf]}).transform({"x": [1.0]}).shape == (1, 0)


def test_only_the_thirty_most_frequent_levels_count():
    levels = np.repeat([f"d{k:02d}" for k in range(40)], np.r_[np.full(30, 5), np.full(10, 1)])
    assert len(FeatureCoding().fit({"device": levels}).names) == 30


def test_lists_with_holes_dates_and_truth_values_are_columns():
    assert as_column([80, None, 90.5]).tolist()[::2] == [80, 90.5]
    assert as_column(["PA", float("nan")]).dtype == object
    assert as_column(np.array(["2020-01-02", "NaT"], dtype="datetime64[us]"))[0] == 18263
    assert as_column([True, False]).tolist() == [1, 0]
    assert texts(["PA", None, float("nan")]) == ["PA", "", ""]


@pytest.mark.parametrize(
    "features", [{"s": ["a"]}, {"x": ["many"], "s": ["a"]}, [[1.0]], {"x": [1.0, 2.0], "s": ["a"]}, {"x": [], "s": []}]
)
def test_other_columns_than_those_fitted_are_refused(features):
    found = FeatureCoding().fit({"x": [1.0, 2.0], "s": ["a", "b"]})
    with pytest.raises(DataError):
        found.transform(features)


def test_the_ridge_agrees_with_its_definition():
    rng = np.random.default_rng(0)
    design = rng.normal(size=(300, 4))
    event = rng.random(300) < 1 / (1 + np.exp(-design[:, 0]))
    coefficient, intercept = fit_ridge(design, event)
    residual = event - 1 / (1 + np.exp(-(design @ coefficient + intercept)))
    # At the optimum the score equals the slope of the penalty: variance 4 over the number of columns.
    assert design.T @ residual == pytest.approx(coefficient / (4 / 4), abs=1e-4)
    assert residual.sum() == pytest.approx(0, abs=1e-4)
