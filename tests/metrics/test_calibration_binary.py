"""Calibration measures against unpenalised regressions of peers and against known miscalibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from aimed.core.errors import NotEstimableError
from aimed.metrics.calibration_binary import (
    calibration_errors,
    calibration_intercept,
    calibration_slope,
    deciles,
    oe,
    risk_groups,
    smooth_calibration,
    weighted_quantiles,
)
from aimed.metrics.regression import expit, logit, spline_basis, spline_knots


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    x = rng.normal(-1, 1.3, 4000)
    return (rng.random(4000) < expit(x)).astype(int), x


def test_slope_and_intercept_find_the_planted_values(rows):
    y, x = rows
    assert calibration_slope(y, expit(x)) == pytest.approx(1, abs=0.1)
    assert calibration_slope(y, expit(2 * x)) == pytest.approx(calibration_slope(y, expit(x)) / 2, rel=1e-6)
    shift = calibration_intercept(y, expit(x))
    assert calibration_intercept(y, expit(x - 0.7)) == pytest.approx(shift + 0.7, abs=1e-6)


def test_slope_equals_an_unpenalised_logistic_regression(rows):
    y, x = rows
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(x[:, None], y)
    assert calibration_slope(y, expit(x)) == pytest.approx(model.coef_[0, 0], rel=1e-5)


def test_smooth_curve_is_the_identity_for_right_risks_and_follows_wrong_ones(rows):
    y, x = rows
    grid = np.linspace(0.1, 0.8, 8)
    assert smooth_calibration(y, expit(x), grid) == pytest.approx(grid, abs=0.05)
    wrong = expit(x + 1)
    assert smooth_calibration(y, wrong, grid) == pytest.approx(expit(logit(grid) - 1), abs=0.05)
    right, off = calibration_errors(y, expit(x)), calibration_errors(y, wrong)
    assert right.ici < 0.02 < 0.1 < off.ici
    assert off.e50 <= off.e90 <= off.emax


def test_few_events_fall_back_to_the_slope_model():
    rng = np.random.default_rng(0)
    risk = rng.uniform(0.05, 0.4, 60)
    y = np.r_[np.ones(10), np.zeros(50)]
    line = np.column_stack([np.ones(60), logit(risk)])
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(line[:, 1:], y)
    expected = model.predict_proba(logit(np.array([[0.1], [0.3]])))[:, 1]
    assert smooth_calibration(y, risk, [0.1, 0.3]) == pytest.approx(expected, abs=1e-5)


def test_risks_that_are_all_equal_give_the_prevalence():
    assert smooth_calibration([0, 0, 0, 1], [0.5] * 4, [0.5])[0] == pytest.approx(0.25)
    assert calibration_errors([0, 0, 0, 1], [0.5] * 4).e90 == pytest.approx(0.25)
    with pytest.raises(NotEstimableError):
        calibration_slope([0, 0, 0, 1], [0.5] * 4)


def test_perfect_separation_and_one_class_are_refused():
    with pytest.raises(NotEstimableError):
        calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    for measure in (calibration_slope, calibration_intercept, calibration_errors):
        with pytest.raises(NotEstimableError):
            measure([1, 1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(NotEstimableError):
        oe([0, 0], [0.0, 0.0])


@pytest.mark.parametrize("measure", [calibration_intercept, calibration_slope, oe])
def test_weights_equal_repeated_rows(rows, measure):
    y, x = rows[0][:300], rows[1][:300]
    w = np.random.default_rng(1).integers(0, 4, 300)
    again = np.repeat(np.arange(300), w)
    assert measure(y, expit(x), w) == pytest.approx(measure(y[again], expit(x)[again]), rel=1e-8)
    assert calibration_errors(y, expit(x), w).ici >= 0


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=1, max_size=30), st.floats(0, 1))
@settings(deadline=None)
def test_weighted_quantile_equals_the_quantile_of_repeated_values(rows, level):
    values, counts = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    counts[0] += 1
    expected = np.quantile(np.repeat(values, counts), level)
    assert weighted_quantiles(values, counts.astype(float), np.array([level]))[0] == pytest.approx(expected, abs=1e-9)


def test_deciles_cover_all_rows_and_keep_equal_risks_together(rows):
    y, x = rows
    groups = deciles(y, expit(x))
    assert [g["n"] for g in groups] == [400] * 10
    assert sum(g["observed"] * g["n"] for g in groups) == pytest.approx(y.sum())
    assert all(g["lower"] <= g["observed"] <= g["upper"] for g in groups)
    assert len(set(risk_groups(np.r_[np.zeros(90), np.ones(10)], 10).tolist())) == 2


def test_spline_is_straight_beyond_its_outer_knots():
    x = np.linspace(0, 1, 101)
    knots = spline_knots(x, 4)
    beyond = spline_basis(np.array([2.0, 3.0, 4.0]), knots)
    assert np.diff(beyond, n=2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-8)
    assert spline_basis(x, knots).shape == (101, 3)
    assert spline_knots(np.zeros(10), 3) is None
