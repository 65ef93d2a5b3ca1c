"""Calibration against R: glm, loess, Spiegelhalter, coxph and Austin's curve; robust errors of coxph."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines.datasets import load_rossi
from sklearn.datasets import load_breast_cancer
from sksurv.datasets import load_gbsg2

from aimed.metrics.accuracy import brier, spiegelhalter
from aimed.metrics.calibration_binary import LoessCalibration, calibration, calibration_intercept, calibration_slope
from aimed.metrics.calibration_survival import calibration_at, calibration_slope_at
from aimed.metrics.regression import CoxRegression


@pytest.fixture(scope="module")
def breast():
    data = load_breast_cancer()
    names = list(data.feature_names)
    y = (data.target == 0).astype(int)
    radius, worst = (data.data[:, names.index(f"{k} radius")] for k in ("mean", "worst"))
    return y, 1 / (1 + np.exp(-(radius - 14.5))), 1 / (1 + np.exp(-0.9 * (worst - 16.8)))


def one_step_early(y, x):
    """Slope and error as R's glm prints them: it stops at a deviance to 1e-8, with the weights before the last step."""
    x, mu, before = np.column_stack([np.ones(y.size), x]), (y + 0.5) / 2, np.inf
    while True:
        w = mu * (1 - mu)
        inverse = np.linalg.inv((x * w[:, None]).T @ x)
        beta = inverse @ (x.T @ (w * (np.log(mu / (1 - mu)) + (y - mu) / w)))
        mu = 1 / (1 + np.exp(-(x @ beta)))
        deviance = -2 * (y @ np.log(mu) + (1 - y) @ np.log(1 - mu))
        if abs(deviance - before) < 1e-8 * (abs(deviance) + 0.1):
            return beta[1], np.sqrt(inverse[1, 1])
        before = deviance


EXPECTED = [
    (0.0907789299, -0.27070159, 1.033588816, 0.0931064, -0.955586774, 0.03098360803),
    (0.0619830085, 0.01150864799, 1.282039497, 0.1290428, -1.960933015, 0.01732215902),
]


@pytest.mark.parametrize("which", [0, 1])
def test_binary(breast, which):
    y, p = breast[0], breast[1 + which]
    score, shift, slope, se, z, distance = EXPECTED[which]
    assert brier(y, p) == pytest.approx(score, abs=1e-10)
    assert calibration_intercept(y, p) == pytest.approx(shift, abs=1e-8)
    own = calibration_slope(y, p, errors="model")
    # R's glm stops a step early; ours are the maximum and the error there.
    printed = one_step_early(y, np.log(p / (1 - p)))
    assert printed[0] == pytest.approx(slope, abs=5.1e-10)
    assert printed[1] == pytest.approx(se, abs=5.1e-8)
    assert own == pytest.approx(slope, abs=1e-8)
    assert own.se == pytest.approx(se, rel=1e-4)
    x = np.column_stack([np.ones(y.size), np.log(p / (1 - p))])
    mu = 1 / (1 + np.exp(-(x @ [float(calibration(y, p, draws=0).slope_intercept), float(own)])))
    assert own.se == pytest.approx(np.sqrt(np.linalg.inv((x * (mu * (1 - mu))[:, None]).T @ x)[1, 1]), rel=1e-9)
    assert spiegelhalter(y, p) == pytest.approx(z, abs=1e-9)
    smooth = calibration(y, p, smoother="loess", draws=0)
    assert smooth.ici == pytest.approx(distance, abs=2e-11)
    assert (smooth.slope, smooth.spiegelhalter) == (own, spiegelhalter(y, p))


@pytest.mark.parametrize("which", [0, 1])
def test_direct_loess_is_near_the_interpolated_one(breast, which):
    y, p = breast[0].astype(float), breast[1 + which]
    ones = np.ones(y.size)
    direct = LoessCalibration(y, p, ones, surface="direct")
    # Interpolation between 9 vertices moves the mean distance by about .001, and no more.
    assert direct.distances(direct.fit(ones)).mean() == pytest.approx(EXPECTED[which][-1], abs=0.0015)


def test_survival():
    frame, outcome = load_gbsg2()
    grade = frame["tgrade"].astype(str)
    columns = (
        frame["age"],
        frame["horTh"].astype(str) == "yes",
        frame["menostat"].astype(str) == "Post",
        frame["pnodes"],
        frame["progrec"],
        grade == "II",
        grade == "III",
        frame["tsize"],
    )
    x = np.column_stack(columns).astype(float)
    event, time = outcome["cens"].astype(bool), outcome["time"].astype(float)
    odd = np.arange(time.size) % 2 == 0
    model, ones = CoxRegression(event[odd], time[odd], x[odd]), np.ones(int(odd.sum()))
    beta = model.fit(ones)
    hazard = model.baseline_hazard(beta, ones, 1000.0)
    event, time = event[~odd], time[~odd]
    p = 1 - np.exp(-hazard * np.exp((x[~odd] - model.centre) @ beta))
    found = calibration_at(event, time, p, 1000.0, draws=0)
    assert found.oe == pytest.approx(0.9534868426, abs=1e-10)
    slope = calibration_slope_at(event, time, p, errors="model")
    assert (slope, slope.se) == pytest.approx((0.5161771927, 0.0929828772), abs=1e-9)
    assert float(found.slope) == float(slope)
    distances = found.ici, found.e50, found.e90, found.emax
    assert distances == pytest.approx((0.0544654760, 0.0413743541, 0.1307119227, 0.3137278668), abs=1e-9)


def test_robust_errors_of_cox_regression():
    frame = load_rossi()
    x = frame[["fin", "age", "race", "wexp", "mar", "paro", "prio"]].to_numpy(float)
    model = CoxRegression(frame["arrest"].to_numpy(bool), frame["week"].to_numpy(float), x)
    ones = np.ones(len(frame))
    fit = model.solve(ones)
    assert fit.beta[0] == pytest.approx(-0.379422167, abs=1e-9)
    assert np.sqrt(np.diag(fit.covariance))[:2] == pytest.approx([0.191379481, 0.021999471], abs=1e-9)
    own = model.influence(fit.beta, ones, np.inf)[0] @ fit.covariance
    expected = [0.19554177888, 0.02533614632, 0.29232855511, 0.21806031519, 0.38024446539, 0.19920082957, 0.02897459481]
    assert np.sqrt((own**2).sum(axis=0)) == pytest.approx(expected, abs=2e-11)
    groups = np.add.reduceat(own, np.arange(0, len(frame), 10), axis=0)
    expected = [0.19550534835, 0.02906765814, 0.31112860597, 0.21235353290, 0.37212159869, 0.20838482951, 0.02580977806]
    assert np.sqrt((groups**2).sum(axis=0)) == pytest.approx(expected, abs=2e-11)
