"""The preparation: what it learns from training rows, what it does with the rest, and that it travels as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, StudyFileError, UnknownNameError, Variable
from aimed.fit.prepare import ENCODINGS, MISSING_METHODS, Preparation
from aimed.fit.spline import KNOT_QUANTILES, knots_of, spline_basis

NAN = float("nan")
AGE = Variable(name="age")
BILI = Variable(name="bili")
CHOL = Variable(name="chol")
STAGE = Variable(name="stage", kind="category", categories=("1", "2", "3", "4"))
VARIABLES = (AGE, BILI, CHOL, STAGE)


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    n = 300
    age = rng.normal(60, 10, n)
    bili = np.exp(rng.normal(0, 1, n))
    chol = 150 + 2 * age + 20 * np.log(bili) + rng.normal(0, 5, n)
    stage = rng.integers(0, 3, n).astype(float)
    X = np.column_stack([age, bili, chol, stage])
    X[rng.random(n) < 0.2, 1] = NAN
    X[rng.random(n) < 0.3, 2] = NAN
    X[rng.random(n) < 0.1, 3] = NAN
    return X


def every_option():
    for missing in MISSING_METHODS:
        for encode in ENCODINGS:
            yield pytest.param({"missing": missing, "encode": encode}, id=f"{missing}-{encode}")
    yield pytest.param({"nonlinear": {"bili": "log", "age": "spline(5)"}}, id="nonlinear")
    yield pytest.param({"standardise": False, "missing": "native", "nonlinear": {"chol": "spline(3)"}}, id="raw")
    yield pytest.param({"features": ("stage=3", "age"), "standardise": False}, id="features")


@pytest.mark.parametrize("options", list(every_option()))
def test_state_travels_through_json_and_gives_the_same_numbers(rows, options):
    fitted = Preparation(VARIABLES, **options).fit(rows[:200], np.arange(200) % 2)
    again = Preparation.from_state(json.loads(json.dumps(fitted.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(again.transform(rows), fitted.transform(rows))
    assert again.to_state() == fitted.to_state()
    assert again.passes_missing == fitted.passes_missing
    assert again.get_params().keys() == fitted.get_params().keys()


@pytest.mark.parametrize("options", list(every_option()))
def test_shapes_names_inputs_and_repeatability(rows, options):
    before = rows.copy()
    y = np.arange(len(rows)) % 2
    fitted = Preparation(VARIABLES, **options).fit(rows, y)
    Z = fitted.transform(rows)
    np.testing.assert_array_equal(rows, before)
    assert Z.shape == (len(rows), len(fitted.feature_names_out_))
    assert len(fitted.feature_origin_) == Z.shape[1]
    assert set(fitted.feature_origin_) <= {v.name for v in VARIABLES}
    assert len(set(fitted.feature_names_out_)) == Z.shape[1]
    assert list(fitted.get_feature_names_out()) == fitted.feature_names_out_
    np.testing.assert_array_equal(clone(fitted).fit(rows, y).transform(rows), Z)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(fitted.transform(rows[order]), Z[order])
    assert all(set(step) == {"name", "detail"} and step["detail"].endswith(".") for step in fitted.steps_)
    if not fitted.passes_missing and fitted.missing != "complete_case":
        assert np.isfinite(Z).all()


def test_only_training_rows_teach(rows):
    fitted = Preparation(VARIABLES).fit(rows[:100])
    other = rows.copy()
    other[100:, :3] *= 50
    np.testing.assert_array_equal(Preparation(VARIABLES).fit(other[:100]).transform(rows), fitted.transform(rows))


def test_mean_and_one_indicator_where_training_had_gaps():
    X = np.array([[1.0, 10.0, 5.0, 0], [3.0, NAN, 6.0, 1], [5.0, 30.0, 7.0, 1]])
    fitted = Preparation(VARIABLES, standardise=False).fit(X)
    assert fitted.feature_names_out_ == ["age", "bili", "bili (missing)", "chol", "stage=2"]
    got = fitted.transform([[NAN, NAN, NAN, 1]])
    assert got.tolist() == [[3.0, 20.0, 1.0, 6.0, 1.0]]
    assert Preparation(VARIABLES, missing="mean").fit(X).feature_names_out_ == ["age", "bili", "chol", "stage=2"]


def test_predictors_missing_together_share_one_indicator():
    X = np.array([[1.0, NAN, NAN, NAN], [2.0, 3.0, 4.0, 0], [3.0, 1.0, 2.0, 1], [4.0, 2.0, 2.5, 1]])
    fitted = Preparation(VARIABLES).fit(X)
    assert [n for n in fitted.feature_names_out_ if "missing" in n] == ["bili (missing)"]
    assert any("chol with bili, stage with bili" in step["detail"] for step in fitted.steps_)


def test_categories_missing_unseen_and_absent_levels():
    X = np.array([[1.0, 1, 1, 1], [2.0, 2, 3, 2], [3.0, 4, 2, NAN]])
    fitted = Preparation(VARIABLES, standardise=False).fit(X)
    assert fitted.feature_names_out_[3:] == ["stage=3", "stage (missing)"]
    probe = np.array([[1.0, 1, 1, c] for c in (1, 2, NAN, 0, 3, 17, -1, 1.5)])
    assert fitted.transform(probe)[:, 3:].tolist() == [[0, 0], [1, 0], [0, 1]] + [[0, 0]] * 5
    without = Preparation(VARIABLES, standardise=False).fit(X[:2])
    assert without.feature_names_out_[3:] == ["stage=3"]
    assert without.transform([[1.0, 1, 1, NAN]])[0, 3] == 0.0


def test_codes_for_trees():
    X = np.array([[1.0, 1, 1, 1], [2.0, 2, 3, 2], [3.0, 4, 2, NAN]])
    probe = np.array([[1.0, 1, 1, c] for c in (1, 2, NAN, 0, 17)])
    native = Preparation(VARIABLES, missing="native", standardise=False, encode="codes").fit(X)
    np.testing.assert_array_equal(native.transform(probe)[:, 3], [1, 2, NAN, NAN, NAN])
    filled = Preparation(VARIABLES, standardise=False, encode="codes").fit(X)
    assert filled.transform(probe)[:, -1].tolist() == [1, 2, 4, 1, 1]


def test_complete_case_marks_incomplete_rows_and_learns_from_complete_ones(rows):
    fitted = Preparation(VARIABLES, missing="complete_case").fit(rows)
    Z = fitted.transform(rows)
    broken = np.isnan(rows).any(axis=1)
    assert np.isnan(Z[broken]).all()
    np.testing.assert_allclose(Z[~broken][:, :3].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z[~broken][:, :3].std(axis=0, ddof=1), 1, atol=1e-12)
    assert not fitted.passes_missing
    with pytest.raises(DataError, match="complete row"):
        Preparation(VARIABLES, missing="complete_case").fit(np.full((3, 4), NAN))


def test_native_passes_numbers_on(rows):
    fitted = Preparation(VARIABLES, missing="native", standardise=False).fit(rows)
    assert fitted.passes_missing
    np.testing.assert_array_equal(fitted.transform(rows)[:, :3], rows[:, :3])


def test_iterative_equals_scikit_learn(rows):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    fitted = Preparation(VARIABLES, missing="iterative", standardise=False).fit(rows[:200])

    def design(X):
        return np.column_stack([X[:, :3], X[:, 3] == 1, X[:, 3] == 2, np.isnan(X[:, 3])])

    lower, upper = np.nanmin(design(rows[:200]), axis=0), np.nanmax(design(rows[:200]), axis=0)
    theirs = IterativeImputer(max_iter=10, random_state=0, min_value=lower, max_value=upper)
    with pytest.warns(ConvergenceWarning) if fitted.chain_["rounds"] == 10 else _nothing():
        theirs.fit(design(rows[:200]))
    want = theirs.transform(design(rows))[:, :3]
    got = fitted.transform(rows)
    assert fitted.feature_names_out_ == ["age", "bili", "chol", "stage=2", "stage=3", "stage (missing)"]
    np.testing.assert_allclose(got[:, :3], want, rtol=1e-8, atol=1e-8)
    gaps = np.isnan(rows[:, 2])
    assert np.std(got[gaps, 2]) > 5, "the fills follow the other predictors"


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_logarithms():
    x = np.array([[1.0, 0.5, 0.0, 0], [2.0, 2.0, 3.0, 1], [4.0, 8.0, 7.0, 1]])
    fitted = Preparation(VARIABLES, nonlinear={"bili": "log", "chol": "log"}, standardise=False).fit(x)
    assert fitted.feature_names_out_[1:3] == ["log(bili)", "log(1 + chol)"]
    got = fitted.transform([[1.0, 2.0, 3.0, 0], [1.0, 0.0, -2.0, 0]])
    np.testing.assert_allclose(got[:, 1], [np.log(2), np.log(0.5)])
    np.testing.assert_allclose(got[:, 2], [np.log(4), 0])
    with pytest.raises(DataError, match="'bili' has 1 negative"):
        Preparation(VARIABLES, nonlinear={"bili": "log"}).fit(x * [[1, -1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])


@pytest.mark.parametrize("k", KNOT_QUANTILES)
def test_splines_are_straight_in_the_tails_and_smooth_at_the_knots(k):
    x = np.random.default_rng(0).normal(size=5000)
    knots = knots_of(x, k)
    np.testing.assert_allclose(knots, np.quantile(x, KNOT_QUANTILES[k]))
    tail = spline_basis(knots[-1] + np.array([1.0, 2.0, 3.0]), knots)
    np.testing.assert_allclose(tail[2] - tail[1], tail[1] - tail[0], atol=1e-9)
    head = spline_basis(knots[0] - np.array([1.0, 2.0]), knots)
    assert (head[:, 1:] == 0).all()
    step = 1e-4
    for knot in knots:
        at = spline_basis(knot + step * np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), knots)
        bend_left = (at[0] - 2 * at[1] + at[2]) / step**2
        bend_right = (at[2] - 2 * at[3] + at[4]) / step**2
        np.testing.assert_allclose(bend_left, bend_right, atol=0.01)


def test_spline_terms_against_the_formula_written_out():
    t = np.array([1.0, 2.0, 4.0, 7.0])
    x = 5.0

    def cube(v):
        return max(v, 0.0) ** 3

    want = [x] + [
        (
            cube(x - t[j])
            - cube(x - t[2]) * (t[3] - t[j]) / (t[3] - t[2])
            + cube(x - t[3]) * (t[2] - t[j]) / (t[3] - t[2])
        )
        / (t[3] - t[0]) ** 2
        for j in range(2)
    ]
    np.testing.assert_allclose(spline_basis([x], t)[0], want)


def test_a_spline_of_few_values_becomes_a_line():
    X = np.column_stack([np.repeat([1.0, 2.0], 50), np.arange(100), np.arange(100), np.zeros(100)])
    fitted = Preparation(VARIABLES, nonlinear={"age": "spline(4)"}).fit(X)
    assert fitted.feature_names_out_[:2] == ["age", "bili"]
    assert any("straight line" in step["detail"] for step in fitted.steps_)


def test_constants_and_empty_columns_are_left_out_without_dividing_by_zero():
    X = np.array([[0.1, NAN, 3.0, 2], [0.1, NAN, 4.0, 2], [0.1, NAN, 6.0, 2]])
    with np.errstate(all="raise"):
        fitted = Preparation(VARIABLES).fit(X)
        Z = fitted.transform([[5.0, 5.0, 5.0, 1]])
    assert fitted.feature_names_out_ == ["chol"]
    assert np.isfinite(Z).all()
    assert any("age" in s["detail"] and "bili" in s["detail"] for s in fitted.steps_ if s["name"] == "Left out")
    kept = Preparation(VARIABLES, standardise=False, missing="native").fit(X)
    assert kept.feature_names_out_ == ["age", "bili", "chol"]


def test_features_are_picked_in_the_order_asked_for(rows):
    fitted = Preparation(
        VARIABLES, standardise=False, missing="mean", encode="one_hot_full", features=("stage=4", "chol", "stage=1")
    ).fit(rows)
    assert fitted.feature_origin_ == ["stage", "chol", "stage"]
    assert fitted.transform([[1, 2, 3, 3], [1, 2, 3, NAN]]).tolist() == [[1, 3, 0], [0, 3, 0]]
    with pytest.raises(DataError, match="no feature called 'stage=9'"):
        Preparation(VARIABLES, features=("stage=9",)).fit(rows)


def test_what_is_refused(rows):
    with pytest.raises(NotFittedError):
        Preparation(VARIABLES).transform(rows)
    with pytest.raises(UnknownNameError, match="did you mean 'native'"):
        Preparation(VARIABLES, missing="natve").fit(rows)
    with pytest.raises(UnknownNameError, match="encoding"):
        Preparation(VARIABLES, encode="hot").fit(rows)
    with pytest.raises(UnknownNameError, match="did you mean 'age'"):
        Preparation(VARIABLES, nonlinear={"agee": "log"}).fit(rows)
    for shape in ("spline(2)", "spline(8)", "cubic"):
        with pytest.raises(StudyFileError, match="spline"):
            Preparation(VARIABLES, nonlinear={"age": shape}).fit(rows)
    with pytest.raises(StudyFileError, match="category"):
        Preparation(VARIABLES, nonlinear={"stage": "log"}).fit(rows)
    with pytest.raises(StudyFileError, match="is a text"):
        Preparation((Variable(name="note", kind="text"),)).fit(rows[:, :1])
    with pytest.raises(DataError, match=r"shape \(300, 3\)"):
        Preparation(VARIABLES).fit(rows[:, :3])
    with pytest.raises(DataError, match="0 training rows"):
        Preparation(VARIABLES).fit(rows[:0])
    with pytest.raises(DataError, match="'bili' has 1 infinite"):
        Preparation(VARIABLES).fit(np.where(np.arange(1200).reshape(300, 4) == 1, np.inf, rows))
    with pytest.raises(DataError, match="text") as caught:
        Preparation((AGE,)).fit([["Jane Doe"]])
    assert "Jane" not in str(caught.value)


def test_an_empty_table_to_transform(rows):
    assert Preparation(VARIABLES).fit(rows).transform(np.empty((0, 4))).shape[0] == 0


def test_codes_are_for_categories_of_few_levels():
    site = Variable(name="site", kind="category", categories=tuple(map(str, range(33))))
    few = Variable(name="few", kind="category", categories=tuple(map(str, range(32))))
    X = np.column_stack([np.arange(66) % 33, np.arange(66) % 32]).astype(float)
    X[5, 1] = np.nan
    made = Preparation((site, few), missing="native", standardise=False, encode="codes").fit(X)
    assert made.nominal_features_ == ["few"]
    assert made.feature_names_out_ == [*[f"site={k}" for k in range(1, 33)], "few"]
    np.testing.assert_array_equal(made.transform(X)[:, -1], X[:, 1])
    assert any("more than 32 levels" in step["detail"] for step in made.steps_)
    again = Preparation.from_state(made.to_state())
    assert again.nominal_features_ == ["few"]
    assert Preparation((site, few)).fit(X).nominal_features_ == []
