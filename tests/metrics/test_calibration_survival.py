"""Calibration at a horizon against lifelines and planted miscalibration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from aimed.core.errors import NotEstimableError
from aimed.metrics.calibration_survival import (
    calibration_errors_at,
    calibration_slope_at,
    deciles_at,
    oe_at,
    smooth_calibration_at,
)
from aimed.metrics.regression import CoxRegression, cloglog

HORIZON = 3.0


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(11)
    x = rng.normal(0, 0.8, 3000)
    hazard = 0.15 * np.exp(x)
    death, left = rng.exponential(1 / hazard), rng.uniform(1, 8, 3000)
    return death <= left, np.minimum(death, left), hazard


def risk(hazard, stretch=1.0, scale=1.0):
    middle = np.exp(np.log(hazard).mean())
    return 1 - np.exp(-scale * middle * (hazard / middle) ** stretch * HORIZON)


def test_right_risks_are_calibrated(rows):
    event, time, hazard = rows
    assert oe_at(event, time, risk(hazard), HORIZON) == pytest.approx(1, abs=0.08)
    assert calibration_slope_at(event, time, risk(hazard)) == pytest.approx(1, abs=0.1)
    grid = np.linspace(0.2, 0.7, 6)
    assert smooth_calibration_at(event, time, risk(hazard), HORIZON, grid) == pytest.approx(grid, abs=0.06)
    assert calibration_errors_at(event, time, risk(hazard), HORIZON).ici < 0.03


def test_planted_faults_are_found(rows):
    event, time, hazard = rows
    flat = calibration_slope_at(event, time, risk(hazard, stretch=0.5))
    assert flat == pytest.approx(calibration_slope_at(event, time, risk(hazard)) * 2, rel=1e-5)
    assert oe_at(event, time, risk(hazard, scale=2), HORIZON) < 0.75
    assert calibration_errors_at(event, time, risk(hazard, scale=2), HORIZON).ici > 0.1


def test_slope_equals_lifelines_with_ties(rows):
    event, time, hazard = (v[:400] for v in rows)
    time = np.ceil(time * 2)
    frame = pd.DataFrame({"x": cloglog(risk(hazard)), "t": time, "e": event})
    peer = CoxPHFitter().fit(frame, "t", "e", fit_options={"precision": 1e-12})
    assert calibration_slope_at(event, time, risk(hazard)) == pytest.approx(float(peer.params_["x"]), abs=1e-5)


def test_weights_equal_repeated_rows_under_ties(rows):
    event, time, hazard = (v[:300] for v in rows)
    time = np.ceil(time * 2)
    w = np.random.default_rng(0).integers(0, 4, 300)
    again = np.repeat(np.arange(300), w)
    p = risk(hazard)
    assert oe_at(event, time, p, 6.0, w) == pytest.approx(oe_at(event[again], time[again], p[again], 6.0))
    once, twice = (
        calibration_slope_at(event, time, p, w),
        calibration_slope_at(event[again], time[again], p[again]),
    )
    assert once == pytest.approx(twice, abs=1e-8)
    model, copy = (
        CoxRegression(e, t, x)
        for e, t, x in ((event, time, cloglog(p)[:, None]), (event[again], time[again], cloglog(p)[again][:, None]))
    )
    base = model.baseline_hazard(np.zeros(1), w.astype(float), 6.0)
    assert base == pytest.approx(copy.baseline_hazard(np.zeros(1), np.ones(again.size), 6.0), abs=1e-12)


def test_two_covariates_and_large_numbers_are_fitted(rows):
    event, time, hazard = (v[:500] for v in rows)
    x = np.column_stack([np.log(hazard), np.random.default_rng(1).normal(size=500) * 1000 + 5000])
    peer = CoxPHFitter().fit(
        pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "t": time, "e": event}), "t", "e", fit_options={"precision": 1e-12}
    )
    assert CoxRegression(event, time, x).fit(np.ones(500)) == pytest.approx(peer.params_.to_numpy(), rel=1e-4)


def test_deciles_hold_all_rows(rows):
    event, time, hazard = rows
    groups = deciles_at(event, time, risk(hazard), HORIZON)
    assert sum(g["n"] for g in groups) == 3000
    assert all(g["lower"] <= g["observed"] <= g["upper"] for g in groups)
    assert [g["predicted"] for g in groups] == sorted(g["predicted"] for g in groups)
    assert max(abs(g["predicted"] - g["observed"]) for g in groups) < 0.1


def test_what_cannot_be_told_is_refused():
    event, time = [1, 0, 1, 0], [1, 2, 3, 4]
    with pytest.raises(NotEstimableError):
        oe_at(event, time, [0.5] * 4, 9)
    with pytest.raises(NotEstimableError):
        calibration_slope_at(event, time, [0.5] * 4)
    with pytest.raises(NotEstimableError):
        calibration_slope_at([0, 0, 0, 0], time, [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(NotEstimableError):
        calibration_slope_at([1, 1, 1, 1], time, [0.9, 0.6, 0.3, 0.1])
