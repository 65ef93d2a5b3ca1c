"""Calibration at a horizon against lifelines and planted miscalibration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.calibration_survival import (
    CurveAtReplicates,
    HorizonCalibration,
    SlopeAtReplicates,
    calibration_at,
    calibration_errors_at,
    calibration_intercept_at,
    calibration_slope_at,
    deciles_at,
    e50_at,
    e90_at,
    ici_at,
    oe_at,
)
from aimed.metrics.draws import PatientDraws
from aimed.metrics.regression import CoxRegression, cloglog
from aimed.metrics.result import limits

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
    curve, w = HorizonCalibration(event, time, risk(hazard), HORIZON, np.ones(time.size)), np.ones(time.size)
    assert curve.at(grid, curve.fit(w)) == pytest.approx(grid, abs=0.06)
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


def few(rows, n=250, ties=True):
    event, time, hazard = (v[:n] for v in rows)
    return event, np.ceil(time * 3) / 3 if ties else time, risk(hazard, 1.4, 1.3)


@pytest.mark.parametrize(
    "measure",
    [
        lambda e, t, p, w: oe_at(e, t, p, HORIZON, w),
        lambda e, t, p, w: calibration_intercept_at(e, t, p, HORIZON, w),
        calibration_slope_at,
    ],
    ids=["oe", "intercept", "slope"],
)
def test_influence_is_the_derivative_by_the_weight(rows, measure):
    event, time, p = few(rows)
    found = measure(event, time, p, np.ones(250))
    assert found.influence.sum() == pytest.approx(0, abs=1e-6)
    for i in range(0, 250, 25):
        change = np.zeros(250)
        change[i] = 1e-4
        slope = (measure(event, time, p, 1 + change) - measure(event, time, p, 1 - change)) / 2e-4
        assert found.influence[i] == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_ici_and_curve_influence_is_the_derivative_by_the_weight(rows):
    event, time, p = few(rows)
    ones = np.ones(250)
    curve = HorizonCalibration(event, time, p, HORIZON, ones)
    fitted = curve.fit(ones)
    assert curve.knots.size == 3
    coefficients, distance = curve.influence(fitted, ones)
    assert ici_at(event, time, p, HORIZON, draws=0).influence.tolist() == distance.tolist()
    for i in range(0, 250, 25):
        found = []
        for change in (1e-4, -1e-4):
            w = ones.copy()
            w[i] += change
            beta = curve.fit(w)
            found.append(np.r_[beta, w @ curve.distances(beta) / w.sum()])
        slope = (found[0] - found[1]) / 2e-4
        assert np.r_[coefficients[i], distance[i]] == pytest.approx(slope, rel=2e-3, abs=1e-5)


def test_kaplan_meier_part_of_the_error_is_greenwoods():
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 9, 100) * 1.0, rng.random(100) < 0.5
    p = np.full(100, 0.5)
    at_risk, total, alive = 0, 0.0, 1.0
    for t in np.unique(time[event & (time <= 5)]):
        d, at_risk = (event & (time == t)).sum(), (time >= t).sum()
        alive, total = alive * (1 - d / at_risk), total + d / (at_risk * (at_risk - d))
    found = oe_at(event, time, p, 5)
    assert found == pytest.approx((1 - alive) / 0.5)
    assert found.se == pytest.approx(alive * np.sqrt(total) / 0.5, rel=1e-10)


def test_intervals_cover():
    rng, runs, hits = np.random.default_rng(5), 400, np.zeros(3)
    for _ in range(runs):
        hazard = 0.2 * np.exp(rng.normal(0, 0.8, 250))
        death, left = rng.exponential(1 / hazard), rng.uniform(1, 8, 250)
        event, time, p = death <= left, np.minimum(death, left), 1 - np.exp(-hazard * HORIZON)
        found = (
            oe_at(event, time, p, HORIZON),
            calibration_slope_at(event, time, p),
            calibration_intercept_at(event, time, p, HORIZON),
        )
        hits += [f.lower <= truth <= f.upper for f, truth in zip(found, (1, 1, 0), strict=True)]
    assert ((hits / runs >= 0.915) & (hits / runs <= 0.985)).all()


def test_planted_shift_of_the_hazard_is_the_intercept(rows):
    event, time, hazard = rows
    right = calibration_intercept_at(event, time, risk(hazard), HORIZON)
    assert right.lower < 0 < right.upper
    double = calibration_intercept_at(event, time, risk(hazard, scale=2), HORIZON)
    assert double == pytest.approx(right - np.log(2), abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_replicates_equal_the_weighted_measures(rows, weighted):
    event, time, p = few(rows)
    rng = np.random.default_rng(1)
    base = rng.integers(1, 3, 250).astype(float) if weighted else np.ones(250)
    draws = PatientDraws(rng.integers(0, 90, 250), 250, draws=18, seed=4)
    slopes = draws.map(SlopeAtReplicates(event, time, p, base, draws.codes).replicate)
    curve, grid = HorizonCalibration(event, time, p, HORIZON, base), np.array([0.2, 0.6])
    errors, read = CurveAtReplicates(curve, base, draws.codes).errors_and_curve(draws.counts(0, 18), grid)
    for slope, four, seen, count in zip(slopes, errors, read, draws.rows(), strict=True):
        w = count * base
        assert slope == pytest.approx(float(calibration_slope_at(event, time, p, w)), rel=1e-8)
        fitted = curve.fit(w)
        again = np.repeat(curve.distances(fitted), w.astype(int))
        expected = [again.mean(), *np.quantile(again, [0.5, 0.9]), again.max()]
        assert four == pytest.approx(expected, rel=1e-7, abs=1e-9)
        assert seen == pytest.approx(curve.at(grid, fitted), rel=1e-8)


def test_replicates_do_not_depend_on_the_threads(rows):
    event, time, p = few(rows)
    ones, found = np.ones(250), []
    for threads in (1, 3):
        draws = PatientDraws(None, 250, draws=40, seed=2, threads=threads)
        curve = CurveAtReplicates(HorizonCalibration(event, time, p, HORIZON, ones), ones, draws.codes)
        slope = SlopeAtReplicates(event, time, p, ones, draws.codes)
        found.append((draws.map(curve.errors).tolist(), draws.map(slope.replicate).tolist()))
    assert found[0] == found[1]


def test_without_a_fit_of_all_rows_no_replicate_has_one(rows):
    event, time, p = few(rows)
    ones, codes = np.ones(250), np.arange(250)
    counts = PatientDraws(None, 250, draws=16, seed=0).counts(0, 16)
    for seen, risks in ((np.zeros(250, dtype=bool), p), (event, np.full(250, 0.3))):
        assert np.isnan(SlopeAtReplicates(seen, time, risks, ones, codes).replicate(counts)).all()
    beyond = HorizonCalibration(event, time, p, 2 * time.max(), ones)
    for found in CurveAtReplicates(beyond, ones, codes).errors_and_curve(counts, np.array([0.5])):
        assert np.isnan(found).all()


def test_calibration_at_holds_everything(rows):
    event, time, hazard = (v[:800] for v in rows)
    p = risk(hazard)
    found = calibration_at(event, time, p, HORIZON, draws=60)
    assert (float(found), found.lower, found.upper, found.se) == (
        float(found.ici),
        found.ici.lower,
        found.ici.upper,
        found.ici.se,
    )
    for one in (found.ici, found.e50, found.e90, found.emax):
        assert one.lower <= one <= one.upper
        assert "biased upward" in one.note
    assert found.groups.n.sum() == found.n == 800
    assert ((found.groups.lower <= found.groups.observed) & (found.groups.observed <= found.groups.upper)).all()
    assert ((found.curve.lower <= found.curve.x) & (found.curve.x <= found.curve.upper)).mean() > 0.7
    for measure, part in ((ici_at, found.ici), (e50_at, found.e50), (e90_at, found.e90)):
        one = measure(event, time, p, HORIZON, draws=60)
        assert (one, one.lower, one.upper) == (part, part.lower, part.upper)
    bare = calibration_at(event, time, p, HORIZON, draws=0)
    assert np.isnan([bare.lower, bare.upper]).all()
    assert "draws=0" in bare.ici.note
    again = np.repeat(np.arange(800), 2)
    clustered = calibration_at(event[again], time[again], p[again], HORIZON, patient=again, draws=0)
    assert clustered.oe.se == pytest.approx(bare.oe.se, rel=1e-9)
    with pytest.raises(DataError):
        calibration_slope_at(event, time, p, patient=np.arange(800), errors="model")


def test_band_covers_the_curve():
    rng, hits, runs = np.random.default_rng(1), np.zeros(51), 120
    for _ in range(runs):
        p = rng.uniform(0.1, 0.9, 500)
        time = rng.exponential(-1 / np.log1p(-p))
        left = rng.uniform(0.5, 3, 500)
        found = calibration_at(time <= left, np.minimum(time, left), p, 1.0, draws=0).curve
        hits += (found.lower <= found.x) & (found.x <= found.upper)
    assert 0.9 <= (hits / runs)[5:-5].mean() <= 0.98


def test_halved_weights_of_duplicated_rows_change_nothing(rows):
    event, time, p = few(rows)
    w, twice = np.random.default_rng(0).integers(1, 4, 250), np.repeat(np.arange(250), 2)
    one = calibration_at(event, time, p, HORIZON, w, draws=0)
    two = calibration_at(event[twice], time[twice], p[twice], HORIZON, w[twice] / 2, patient=twice, draws=0)
    for name in ("oe", "slope", "intercept", "ici", "e50", "e90", "emax"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-7, abs=1e-9)
    for name in ("oe", "slope", "intercept"):
        assert getattr(two, name).se == pytest.approx(getattr(one, name).se, rel=1e-6)


@pytest.mark.parametrize(
    ("event", "p", "horizon", "why"),
    [
        ([1, 0, 1, 0], [0.2, 0.3, 0.4, 0.5], 9.0, "no row is followed"),
        ([0, 0, 0, 0], [0.2, 0.3, 0.4, 0.5], 2.0, "no event"),
        ([0, 0, 1, 0], [0.2, 0.3, 0.4, 0.5], 2.0, "no event was seen by the horizon"),
    ],
)
def test_what_cannot_be_told_is_nan_with_a_reason(event, p, horizon, why):
    found = calibration_at(event, [1, 2, 3, 4], p, horizon, draws=10)
    assert np.isnan(found.intercept)
    assert np.isnan(float(found))
    assert why in found.intercept.note
    assert why in found.ici.note or "did not settle" in found.ici.note


def test_equal_risks_give_the_kaplan_meier_risk(rows):
    event, time, _ = few(rows)
    found = calibration_at(event, time, np.full(250, 0.3), HORIZON, draws=20)
    assert np.isnan(found.slope)
    assert float(found.oe) == pytest.approx(found.curve.value[0] / 0.3)
    assert float(found) == pytest.approx(abs(found.curve.value[0] - 0.3), abs=1e-12)
    assert found.curve.lower[0] < found.curve.value[0] < found.curve.upper[0]


def test_groups_without_an_event_have_an_upper_limit():
    event, time = [0, 0, 0, 0, 1, 0, 0, 0], [1, 5, 5, 5, 1, 5, 5, 5]
    found = deciles_at(event, time, [0.1] * 4 + [0.6] * 4, 2, groups=2)
    assert found[0]["observed"] == found[0]["lower"] == 0.0
    assert found[0]["upper"] == pytest.approx(1 - 0.025 ** (1 / 3))


def test_without_an_event_the_ratio_has_no_error_and_clusters_count():
    none = oe_at([0, 0, 1], [5, 5, 4], [0.2, 0.3, 0.4], 2)
    assert none.value == 0
    assert np.isnan([none.se, none.lower, none.upper]).all()
    event, time = np.arange(60) % 3 == 0, np.arange(60.0) + 1
    p = 0.2 + 0.5 * np.cos(np.arange(60.0)) ** 2
    patient = np.arange(60) % 5
    ratio = oe_at(event, time, p, 30, patient=patient)
    assert ratio.upper == pytest.approx(float(limits(ratio.value, ratio.se, 0.95, scale="log", units=5)[1]))
    slope = calibration_slope_at(event, time, p, patient=patient)
    assert slope.upper == pytest.approx(float(limits(slope.value, slope.se, 0.95, units=5)[1]))


@pytest.mark.parametrize("levels", [2, 40])
def test_risks_that_rank_all_events_perfectly_have_no_slope(levels):
    order = np.arange(40)
    risk = 0.9 - 0.8 * (order * levels // 40) / levels
    with pytest.raises(NotEstimableError, match=r"did not settle|no unique fit"):
        calibration_slope_at(np.ones(40), 1.0 + order, risk)
    # One pair the wrong way round, and there is a slope.
    time = 1.0 + order
    time[[0, 39]] = time[[39, 0]]
    assert 0 < calibration_slope_at(np.ones(40), time, risk) < 50
