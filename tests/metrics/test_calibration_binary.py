"""Calibration measures against unpenalised regressions of peers and against known miscalibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.accuracy import risk_groups
from aimed.metrics.calibration_binary import (
    CalibrationReplicates,
    LoessCalibration,
    SmoothCalibration,
    calibration,
    calibration_errors,
    calibration_intercept,
    calibration_slope,
    e50,
    e90,
    ici,
    oe,
)
from aimed.metrics.draws import PatientDraws
from aimed.metrics.regression import expit, logit, spline_basis, spline_knots, weighted_quantiles


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


def smooth_calibration(y, p, grid):
    curve = SmoothCalibration(np.asarray(y, float), np.asarray(p, float), np.ones(len(y)))
    return curve.at(np.asarray(grid, float), curve.beta)


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
    groups = calibration(y, expit(x), draws=0).bins
    assert groups.n.tolist() == [400] * 10
    assert (groups.observed * groups.n).sum() == pytest.approx(y.sum())
    assert ((groups.lower <= groups.observed) & (groups.observed <= groups.upper)).all()
    assert len(set(risk_groups(np.r_[np.zeros(90), np.ones(10)], 10).tolist())) == 2


def test_spline_is_straight_beyond_its_outer_knots():
    x = np.linspace(0, 1, 101)
    knots = spline_knots(x, 4)
    beyond = spline_basis(np.array([2.0, 3.0, 4.0]), knots)
    assert np.diff(beyond, n=2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-8)
    assert spline_basis(x, knots).shape == (101, 3)
    assert spline_knots(np.zeros(10), 3) is None


LINEAR = [calibration_intercept, calibration_slope, oe]


@pytest.mark.parametrize("measure", LINEAR)
def test_influence_is_the_derivative_by_the_weight(rows, measure):
    y, p = rows[0][:200], expit(rows[1][:200])
    w = np.random.default_rng(3).uniform(0.5, 2, 200)
    found = measure(y, p, w)
    assert found.influence.sum() == pytest.approx(0, abs=1e-7)
    for i in (0, 50, 199):
        change = np.zeros(200)
        change[i] = 1e-4
        slope = (measure(y, p, w + change) - measure(y, p, w - change)) / 2e-4
        assert found.influence[i] == pytest.approx(w[i] * slope, rel=1e-4, abs=1e-8)


def test_ici_influence_is_the_derivative_by_the_weight_with_knots_held(rows):
    y, p, ones = rows[0][:600].astype(float), expit(rows[1][:600] * 1.5 + 0.5), np.ones(600)
    curve = SmoothCalibration(y, p, ones)
    assert curve.knots.size == 4
    own = curve.influence(ones)[1]
    assert own.sum() == pytest.approx(0, abs=1e-8)
    assert ici(y, p, draws=0).influence.tolist() == own.tolist()
    for i in (0, 300, 599):
        values = []
        for change in (1e-4, -1e-4):
            w = ones.copy()
            w[i] += change
            values.append(w @ curve.distances(curve.fit(w)) / w.sum())
        assert own[i] == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("measure", LINEAR)
@pytest.mark.parametrize("errors", ["sandwich", "model"])
def test_intervals_cover(measure, errors):
    if measure is oe and errors == "model":
        return
    more = {} if measure is oe else {"errors": errors}
    truth = 0.0 if measure is calibration_intercept else 1.0
    rng, hits, runs = np.random.default_rng(0), 0, 600
    for _ in range(runs):
        x = rng.normal(-0.5, 1, 250)
        found = measure(rng.random(250) < expit(x), expit(x), **more)
        hits += found.lower <= truth <= found.upper
    assert 0.92 <= hits / runs <= 0.98


def test_rows_of_a_patient_are_added(rows):
    y, p = rows[0][:300], expit(rows[1][:300])
    again = np.repeat(np.arange(300), 3)
    for measure in LINEAR:
        plain, naive = measure(y, p), measure(y[again], p[again])
        assert measure(y[again], p[again], patient=again).se == pytest.approx(plain.se, rel=1e-6)
        assert naive.se == pytest.approx(plain.se / np.sqrt(3), rel=1e-6)
    with pytest.raises(DataError):
        calibration_slope(y, p, patient=np.arange(300), errors="model")


@pytest.mark.parametrize("smoother", ["spline", "loess"])
@pytest.mark.parametrize("weighted", [False, True])
def test_replicates_equal_the_weighted_measures(rows, smoother, weighted):
    y, p = rows[0][:500], expit(1.3 * rows[1][:500])
    rng = np.random.default_rng(8)
    patient, base = rng.integers(0, 150, 500), rng.integers(1, 4, 500).astype(float) if weighted else np.ones(500)
    draws = PatientDraws(patient, 500, draws=20, seed=1)
    grid = np.array([0.2, 0.4])
    fast = CalibrationReplicates(y, p, codes=draws.codes, weights=base, smoother=smoother, grid=grid)
    found = draws.map(fast.replicate)
    assert found.shape == (20, 6)
    curves = draws.map(lambda counts: np.column_stack(fast.replicate_with_curve(counts)))
    assert curves[:, :6].tolist() == found.tolist()
    curve = (SmoothCalibration if smoother == "spline" else LoessCalibration)(y.astype(float), p, base)
    for row, read, count in zip(found, curves[:, 6:], draws.rows(), strict=True):
        w = count * base
        assert read == pytest.approx(curve.at(grid, curve.fit(w)), abs=1e-9)
        assert row[:3] == pytest.approx([float(m(y, p, w)) for m in LINEAR], rel=1e-9, abs=1e-9)
        again = np.repeat(curve.distances(curve.fit(w)), w.astype(int))
        assert row[3:] == pytest.approx([again.mean(), *np.quantile(again, [0.5, 0.9])], rel=1e-8, abs=1e-10)


def test_replicates_do_not_depend_on_the_threads(rows):
    y, p = rows[0][:400], expit(rows[1][:400])
    found = []
    for threads in (1, 3):
        draws = PatientDraws(None, 400, draws=40, seed=2, threads=threads)
        found.append(draws.map(CalibrationReplicates(y, p, codes=draws.codes).replicate))
    assert found[0].tolist() == found[1].tolist()


def test_replicates_without_a_class_or_with_separation_are_nan():
    y, p = np.array([0, 0, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.25, 0.6, 0.8])
    counts = np.array([[1, 1, 1, 0, 1, 0], [1, 1, 0, 1, 0, 1], [1] * 6], dtype=np.uint8).T.copy()
    found = CalibrationReplicates(y, p, codes=np.arange(6)).replicate(counts)
    assert np.isnan(found[0, [0, 1, 3, 4, 5]]).all()
    assert found[0, 2] == 0
    assert np.isfinite(found[1, [0, 2]]).all()
    assert np.isnan(found[1, [1, 3]]).all()
    assert np.isfinite(found[2]).all()
    nothing = CalibrationReplicates([1, 1], [0.2, 0.3], codes=np.arange(2)).replicate(counts[:2])
    assert np.isnan(nothing[:, [0, 1, 3, 4, 5]]).all()


@pytest.mark.parametrize("smoother", ["spline", "loess"])
def test_calibration_holds_everything(rows, smoother):
    y, p = rows[0][:1000], expit(rows[1][:1000])
    found = calibration(y, p, smoother=smoother, draws=60, seed=3)
    assert (float(found), found.lower, found.upper, found.se) == (
        float(found.ici),
        found.ici.lower,
        found.ici.upper,
        found.ici.se,
    )
    assert found.n == 1000
    for one in (found.ici, found.e50, found.e90, found.emax):
        assert one.lower <= one <= one.upper
        assert "biased upward" in one.note
    assert found.e50 <= found.e90 <= found.emax
    assert found.slope == calibration_slope(y, p)
    inside = (found.curve.lower <= found.curve.x) & (found.curve.x <= found.curve.upper)
    assert inside.mean() > 0.8
    assert found.bins.n.sum() == 1000
    assert found.bins.events.sum() == found.histogram.events.sum() == y.sum()
    assert found.histogram.others.sum() == 1000 - y.sum()
    again = calibration(y, p, smoother=smoother, draws=60, seed=3)
    assert (again.ici.lower, again.emax.upper) == (found.ici.lower, found.emax.upper)
    bare = calibration(y, p, smoother=smoother, draws=0)
    assert np.isnan([bare.ici.lower, bare.e90.upper, bare.se]).all()
    assert "draws=0" in bare.ici.note
    assert float(bare) == float(found)


@pytest.mark.parametrize("smoother", ["spline", "loess"])
def test_band_covers_the_curve(smoother):
    rng, hits, runs = np.random.default_rng(1), np.zeros(51), 150
    for _ in range(runs):
        p = rng.uniform(0.1, 0.9, 600)
        found = calibration(rng.random(600) < p, p, smoother=smoother, draws=0).curve
        hits += (found.lower <= found.x) & (found.x <= found.upper)
    assert 0.9 <= (hits / runs)[5:-5].mean() <= 0.98


@pytest.mark.slow
def test_ici_interval_covers_a_planted_distance():
    rng, hits, runs = np.random.default_rng(2), 0, 200
    x = rng.normal(-0.5, 1, 1_000_000)
    truth = np.abs(expit(x) - expit(1.5 * x + 0.4)).mean()
    for _ in range(runs):
        x = rng.normal(-0.5, 1, 1500)
        found = ici(rng.random(1500) < expit(x), expit(1.5 * x + 0.4), draws=200)
        hits += found.lower <= truth <= found.upper
    assert 0.91 <= hits / runs <= 0.99


def test_each_distance_equals_the_part_of_the_whole(rows):
    y, p = rows[0][:300], expit(rows[1][:300])
    whole = calibration(y, p, draws=30, seed=5)
    for measure, part in ((ici, whole.ici), (e50, whole.e50), (e90, whole.e90)):
        one = measure(y, p, draws=30, seed=5)
        assert (one, one.lower, one.upper) == (part, part.lower, part.upper)


def test_halved_weights_of_duplicated_rows_change_nothing(rows):
    # Enough rows for 4 knots without the copies: the number of knots goes by rows, whatever they weigh.
    y, p = rows[0][:1500], expit(rows[1][:1500])
    w, twice = np.random.default_rng(0).integers(1, 5, 1500), np.repeat(np.arange(1500), 2)
    for smoother in ("spline", "loess"):
        one = calibration(y, p, w, draws=0, smoother=smoother)
        two = calibration(y[twice], p[twice], w[twice] / 2, patient=twice, draws=0, smoother=smoother)
        for name in ("intercept", "slope", "slope_intercept", "oe", "ici", "e50", "e90", "emax", "brier"):
            assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-8, abs=1e-9)
        for name in ("intercept", "slope", "oe", "brier"):
            assert getattr(two, name).se == pytest.approx(getattr(one, name).se, rel=1e-7)
        assert two.curve.se == pytest.approx(one.curve.se, rel=1e-6)


@pytest.mark.parametrize(
    ("y", "p", "why"),
    [
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], "only one outcome class"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separate the classes perfectly"),
        ([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], "separate the classes perfectly"),
        ([0, 1, 0, 1], [0.3] * 4, "all risks are equal"),
    ],
)
def test_what_cannot_be_told_is_nan_with_a_reason(y, p, why):
    found = calibration(y, p, draws=20)
    assert np.isnan(found.slope)
    assert why in found.slope.note
    assert np.isfinite(found.brier)
    if why == "all risks are equal":
        assert float(found) == pytest.approx(0.2)
        assert "equal" in found.curve.method
    else:
        assert np.isnan(float(found))
        assert why in found.curve.note
    with pytest.raises(NotEstimableError, match=why):
        calibration_slope(y, p)


def test_risks_of_exactly_0_or_1_are_said(rows):
    y, p = rows[0][:300], expit(rows[1][:300])
    p[:2] = 0, 1
    found = calibration(y, p, draws=0)
    assert "2 risks of 0 or 1" in found.slope.note
    assert "2 risks of 0 or 1" in found.ici.note
    assert found.histogram.events.sum() + found.histogram.others.sum() == 300


def test_unknown_choices_are_refused():
    y, p = [0, 1, 0, 1], [0.2, 0.3, 0.4, 0.5]
    with pytest.raises(DataError):
        ici(y, p, smoother="spine")
    with pytest.raises(DataError):
        calibration_slope(y, p, errors="robust")
    with pytest.raises(DataError):
        LoessCalibration(np.array(y, float), np.array(p), np.ones(4), degree=3)
    with pytest.raises(DataError, match="sum to 1"):
        ici(y, p, weights=[0.25] * 4)


def test_no_event_gives_0_without_an_interval():
    found = oe([0, 0], [0.2, 0.3])
    assert found == 0
    assert np.isnan(found.upper)
    assert "no event" in found.note


def test_direct_loess_goes_through_each_local_fit():
    rng = np.random.default_rng(3)
    p = rng.random(80)
    y = (rng.random(80) < p) * 1.0
    curve = LoessCalibration(y, p, np.ones(80), span=0.6, degree=1, surface="direct")
    found = curve.at(p, curve.fit(np.ones(80)))
    k = int(0.6 * 80)
    for i in range(0, 80, 9):
        d = np.abs(p - p[i])
        w = np.clip(1 - (d / np.sort(d)[k - 1]) ** 3, 0, None) ** 3
        slope, level = np.polyfit(p, y, 1, w=np.sqrt(w))
        assert found[i] == pytest.approx(level + slope * p[i], abs=1e-9)


def test_the_distance_interval_mirrors_the_upper_percentile():
    rng = np.random.default_rng(12)
    p = expit(rng.normal(size=300))
    for y in ((rng.random(300) < p) * 1.0, (rng.random(300) < expit(2 * logit(p) + 1)) * 1.0):
        found = ici(y, p, draws=100)
        draws = PatientDraws(None, 300, draws=100, seed=0)
        drawn = draws.map(CalibrationReplicates(y, p, codes=draws.codes).errors)[:, 0]
        assert found.upper == pytest.approx(np.quantile(drawn, 0.975), rel=0.02)
        assert found.lower == pytest.approx(max(0, 2 * found - found.upper - max(0, drawn.mean() - found)))
        assert found.lower <= found <= found.upper
        assert "mirrored" in found.method
        assert "biased upward" in found.note


def test_the_distance_interval_covers_a_calibrated_and_a_shifted_model():
    rng = np.random.default_rng(13)
    sums = np.zeros(2)
    x = rng.normal(size=200_000)
    shifted = float(np.abs(expit(x + 0.5) - expit(x)).mean())
    for _ in range(60):
        risk = expit(rng.normal(size=300))
        for place, (move, truth) in enumerate(((0.0, 0.0), (0.5, shifted))):
            found = ici((rng.random(300) < expit(logit(risk) + move)) * 1.0, risk, draws=60)
            sums[place] += found.lower <= truth <= found.upper
    assert (sums >= 52).all()


def test_risk_groups_of_patients_and_of_weighted_rows_are_wider():
    rng = np.random.default_rng(14)
    patient = np.repeat(np.arange(60), 5)
    p = np.repeat(rng.random(60), 5)
    y = np.repeat(rng.random(60) < p[::5], 5) * 1.0
    p = np.clip(p + rng.normal(scale=1e-3, size=300), 0, 1)
    plain, grouped = calibration(y, p, draws=0, bins=3).bins, calibration(y, p, patient=patient, draws=0, bins=3).bins
    assert grouped.observed == pytest.approx(plain.observed)
    assert (grouped.upper - grouped.lower > 1.8 * (plain.upper - plain.lower)).all()
    assert "clustered by patient" in grouped.method
    alone = calibration(y, p, patient=np.arange(300), draws=0, bins=3).bins
    assert alone.upper - alone.lower == pytest.approx(plain.upper - plain.lower, rel=0.1)
    w = rng.exponential(size=300) * 50
    weighted, scaled = (calibration(y, p, w * s, draws=0, bins=3).bins for s in (1, 7))
    assert weighted.lower == pytest.approx(scaled.lower)
    assert (weighted.upper - weighted.lower > plain.upper - plain.lower).sum() >= 2
    assert "Kish" in weighted.method
    certain = calibration(
        np.r_[np.zeros(20), np.ones(20)], np.linspace(0.01, 0.99, 40), patient=np.arange(40) // 2, draws=0, bins=2
    ).bins
    assert (certain.lower[0], certain.upper[1]) == (0, 1)
    assert certain.upper[0] == pytest.approx(1.959963984540054**2 / (10 + 1.959963984540054**2))


def test_knots_go_by_rows_and_not_by_their_weight():
    rng = np.random.default_rng(15)
    p = expit(rng.normal(size=120))
    y = (rng.random(120) < p) * 1.0
    light, heavy = (SmoothCalibration(y, p, np.full(120, w)) for w in (1.0, 50.0))
    assert light.knots.size == heavy.knots.size == 3


def test_one_patient_and_no_event_have_no_interval():
    y, p = np.array([0, 1, 0, 1, 1, 0.0]), np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    for metric in (calibration_intercept, calibration_slope, oe):
        found = metric(y, p, patient=np.zeros(6))
        assert np.isnan([found.lower, found.upper, found.se]).all()
        assert "one unit only" in found.note
    none = oe(np.zeros(6), p)
    assert none == 0
    assert np.isnan([none.lower, none.upper, none.se]).all()
    assert none.note == "no interval: no event was seen"


def test_few_patients_widen_intercept_and_band_by_t():
    rng = np.random.default_rng(16)
    patient, p = np.repeat(np.arange(6), 30), expit(rng.normal(size=180))
    y = (rng.random(180) < p) * 1.0
    half = 2.570581836614 * np.sqrt(6 / 5)
    found = calibration(y, p, patient=patient, draws=0)
    assert found.intercept.upper == pytest.approx(found.intercept + half * found.intercept.se)
    assert found.oe.upper == pytest.approx(found.oe * np.exp(half * found.oe.se / found.oe))
    curve = found.curve
    middle = logit(curve.value) + half * curve.se / (curve.value * (1 - curve.value))
    assert curve.upper == pytest.approx(expit(middle), rel=1e-6)
