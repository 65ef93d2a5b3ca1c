"""Two risks on the breast cancer rows of scikit-learn: R's pROC, rms and dcurves values are reproduced."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from aimed.metrics.accuracy import brier
from aimed.metrics.calibration_binary import calibration_errors, calibration_intercept, calibration_slope
from aimed.metrics.discrimination import auroc, auroc_test
from aimed.metrics.utility import net_benefit

THRESHOLDS = [0.1, 0.2, 0.5]


@pytest.fixture(scope="module")
def rows():
    data = load_breast_cancer()
    names = list(data.feature_names)
    y = (data.target == 0).astype(int)
    radius, worst = (data.data[:, names.index(f"{k} radius")] for k in ("mean", "worst"))
    return y, 1 / (1 + np.exp(-(radius - 14.5))), 1 / (1 + np.exp(-0.9 * (worst - 16.8)))


def test_delong(rows):
    y, first, second = rows
    a, b = auroc(y, first, scale="identity"), auroc(y, second, scale="identity")
    assert (a.value, a.lower, a.upper) == pytest.approx((0.937516516, 0.9170206709, 0.9580123612), abs=1e-9)
    assert (b.value, b.lower, b.upper) == pytest.approx((0.9704428941, 0.9578479423, 0.9830378459), abs=1e-9)
    assert (a.se**2, b.se**2) == pytest.approx((1.093542036e-4, 4.129493984e-5), rel=1e-8)
    test = auroc_test(y, first, second)
    assert test.covariance == pytest.approx(5.742212231e-5, rel=1e-8)
    assert test.z == pytest.approx(-5.502660714, rel=1e-8)
    assert test.p == pytest.approx(3.741019e-8, rel=1e-6)


def test_accuracy_and_calibration(rows):
    y, *risks = rows
    expected = ((0.0907789299, -0.27070159, 1.033588816), (0.0619830085, 0.01150864799, 1.282039497))
    for risk, (score, intercept, slope) in zip(risks, expected, strict=True):
        assert brier(y, risk) == pytest.approx(score, abs=1e-9)
        assert calibration_intercept(y, risk) == pytest.approx(intercept, abs=1e-7)
        assert calibration_slope(y, risk) == pytest.approx(slope, abs=1e-7)


def test_smooth_calibration_is_near_the_loess_of_the_reference(rows):
    # R smooths with loess there; a spline on the log odds is another smoother and agrees to about .01.
    y, *risks = rows
    for risk, expected in zip(risks, (0.03098360803, 0.01732215902), strict=True):
        assert calibration_errors(y, risk).ici == pytest.approx(expected, abs=0.01)


def test_net_benefit(rows):
    y, first, second = rows
    a, b = net_benefit(y, first, THRESHOLDS), net_benefit(y, second, THRESHOLDS)
    assert a.value == pytest.approx([0.3292325718, 0.3022847100, 0.2407732865], abs=1e-9)
    assert b.value == pytest.approx([0.3438781488, 0.3273286467, 0.2952548330], abs=1e-9)
    assert a.treat_all == pytest.approx([0.3028705331, 0.2157293497, -0.2548330404], abs=1e-9)
