"""The spline transformer: Harrell's terms, names, pipelines, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from aimed.core import NotEstimableError, StudyFileError
from aimed.fit.spline import KNOT_QUANTILES, RestrictedCubicSpline, knots_of, spline_basis


def truncated(x, knots):
    """Harrell's equation 2.25, term by term."""
    cube = lambda v: np.maximum(v, 0.0) ** 3  # noqa: E731
    k = len(knots)
    out = [x]
    for j in range(k - 2):
        a = (knots[-1] - knots[j]) / (knots[-1] - knots[-2])
        b = (knots[-2] - knots[j]) / (knots[-1] - knots[-2])
        out.append(
            (cube(x - knots[j]) - a * cube(x - knots[-2]) + b * cube(x - knots[-1])) / (knots[-1] - knots[0]) ** 2
        )
    return np.column_stack(out)


@pytest.mark.parametrize("k", list(KNOT_QUANTILES))
def test_terms_are_harrells_at_his_quantiles(k):
    x = np.random.default_rng(k).normal(50, 12, 300)
    spline = RestrictedCubicSpline(k).fit(x[:, None])
    np.testing.assert_allclose(spline.knots_[0], np.quantile(x, KNOT_QUANTILES[k]))
    np.testing.assert_allclose(spline.transform(x[:, None]), truncated(x, spline.knots_[0]), rtol=1e-9, atol=1e-9)
    assert spline.transform(x[:, None]).shape == (300, k - 1)


def test_tails_are_straight_and_missing_stays_missing():
    x = np.random.default_rng(0).normal(size=200)
    spline = RestrictedCubicSpline(5).fit(np.r_[x, np.nan][:, None])
    np.testing.assert_array_equal(spline.knots_[0], knots_of(x, 5))
    for tail in (np.linspace(-9, -4, 6), np.linspace(4, 9, 6)):
        np.testing.assert_allclose(np.diff(spline.transform(tail[:, None]), n=2, axis=0), 0.0, atol=1e-9)
    assert np.isnan(spline.transform([[np.nan]])).all()


def test_names_columns_and_copies():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).normal(size=(90, 2)), columns=["age", "bili"])
    spline = RestrictedCubicSpline(knots=[[-1, 0, 1], [-2, -1, 1, 2]]).fit(X)
    assert spline.get_feature_names_out().tolist() == ["age", "age'", "bili", "bili'", "bili''"]
    assert RestrictedCubicSpline(3).fit(X.to_numpy()).get_feature_names_out(["a", "b"]).tolist() == [
        "a", "a'", "b", "b'"
    ]  # fmt: skip
    expected = np.hstack([spline_basis(X.age, [-1, 0, 1]), spline_basis(X.bili, [-2, -1, 1, 2])])
    np.testing.assert_array_equal(spline.transform(X), expected)
    framed = clone(spline).set_output(transform="pandas").fit_transform(X)
    assert list(framed.columns) == spline.get_feature_names_out().tolist()
    piped = make_pipeline(RestrictedCubicSpline(3)).fit(X)
    assert piped.get_feature_names_out().tolist() == ["age", "age'", "bili", "bili'"]


def test_what_is_refused():
    X = np.random.default_rng(0).normal(size=(50, 1))
    for knots in ([0.0, 1.0], [0.0, 0.0, 1.0], [0.0, np.nan, 1.0], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]):
        with pytest.raises(StudyFileError, match="knots"):
            RestrictedCubicSpline(knots=knots).fit(X)
    with pytest.raises(StudyFileError, match="n_knots = 8"):
        RestrictedCubicSpline(8).fit(X)
    few = np.round(np.clip(X, -0.4, 0.4))
    with pytest.raises(NotEstimableError, match="'x0' has too few distinct values for 4 knots"):
        RestrictedCubicSpline(4).fit(few)
    with pytest.raises(ValueError, match="infinity"):
        RestrictedCubicSpline(3).fit([[np.inf]] * 9)
