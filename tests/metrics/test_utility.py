"""Net benefit against its formulas, single Kaplan-Meier curves, changed weights, and repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.draws import PatientDraws
from aimed.metrics.nonparametric import kaplan_meier
from aimed.metrics.result import clustered_variance
from aimed.metrics.utility import (
    NetBenefitReplicates,
    net_benefit,
    net_benefit_competing,
    net_benefit_difference,
    net_benefit_survival,
)

GRID = np.array([0.05, 0.2, 0.5, 0.8])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_net_benefit_follows_its_formula(seed):
    rng = np.random.default_rng(seed)
    risk = rng.integers(0, 21, 80) / 20
    y = (rng.random(80) < risk).astype(int)
    curve = net_benefit(y, risk, GRID)
    for t, found in zip(GRID, curve.value, strict=True):
        high = risk >= t
        expected = ((y[high] == 1).sum() - (y[high] == 0).sum() * t / (1 - t)) / 80
        assert found == pytest.approx(expected, abs=1e-12)
        assert net_benefit(y, risk, t) == found
    assert net_benefit(y, np.ones(80), GRID).value == pytest.approx(curve.treat_all, abs=1e-12)
    assert net_benefit(y, np.zeros(80), GRID).value == pytest.approx(curve.treat_none)
    assert (curve.value <= y.mean() + 1e-12).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_net_benefit_at_a_horizon_uses_the_curve_of_those_above(seed):
    rng = np.random.default_rng(seed)
    risk, time, event = rng.random(80), rng.integers(1, 12, 80).astype(float), rng.random(80) < 0.6
    risk[0], time[0], event[0] = 0.95, 12, False
    curve = net_benefit_survival(event, time, risk, 6.0, GRID)
    for t, found in zip(GRID, curve.value, strict=True):
        high = risk >= t
        alive = float(kaplan_meier(event[high], time[high]).at(6.0))
        assert found == pytest.approx(high.mean() * ((1 - alive) - alive * t / (1 - t)), abs=1e-12)
    assert net_benefit_survival(event, time, np.ones(80), 6.0, GRID).value == pytest.approx(curve.treat_all)


def test_without_censoring_all_kinds_agree_in_value_and_error():
    rng = np.random.default_rng(2)
    risk, time, patient = rng.random(100), rng.exponential(5, 100), rng.integers(0, 40, 100)
    y = time <= 4
    for who in (None, patient):
        plain = net_benefit(y, risk, GRID, patient=who)
        for found in (
            net_benefit_survival(np.ones(100), time, risk, 4.0, GRID, patient=who),
            net_benefit_competing(np.where(y, 1, 2), time, risk, 50.0, GRID, patient=who),
        ):
            assert found.value == pytest.approx(plain.value, abs=1e-12)
            assert found.se == pytest.approx(plain.se, abs=1e-12)
            assert found.difference.se == pytest.approx(plain.difference.se, abs=1e-12)
            assert found.share == pytest.approx(plain.share)


def test_unfit_input_is_refused():
    for bad in (0.0, 1.0, -0.1):
        with pytest.raises(DataError):
            net_benefit([0, 1], [0.2, 0.8], bad)
    with pytest.raises(DataError):
        net_benefit_survival([1, 0], [1, 2], [0.1, 0.2], 1.0, [0.5, 1.2])
    with pytest.raises(NotEstimableError):
        net_benefit_survival([1, 0, 0], [1, 2, 9], [0.3, 0.9, 0.1], 5.0, 0.5)
    with pytest.raises(NotEstimableError):
        net_benefit_survival([1, 0], [1, 2], [0.3, 0.9], 5.0, GRID)
    with pytest.raises(NotEstimableError):
        net_benefit([1, 1], [0.2, 0.8], 0.5, prevalence=0.1)
    for bad in (0.0, 1.5):
        with pytest.raises(DataError):
            net_benefit([0, 1], [0.2, 0.8], 0.5, prevalence=bad)
    for event, cause in (([0.5, 1], 1), ([-1, 1], 1), ([0, 1], 0)):
        with pytest.raises(DataError):
            net_benefit_competing(event, [1, 2], [0.2, 0.8], 1.0, 0.5, cause)


def test_what_cannot_be_known_is_nan_with_its_reason():
    event, time, p = [1, 0, 0, 1], [1, 2, 9, 3], [0.3, 0.9, 0.1, 0.4]
    curve = net_benefit_survival(event, time, p, 5.0, [0.2, 0.5, 0.95], influence=True)
    assert np.isfinite(curve.value).tolist() == [True, False, True]
    assert np.isnan(curve.se[1])
    assert np.isnan(curve.difference.value[1])
    assert np.isnan(curve.influence[:, 1]).all()
    assert "nobody above" in curve.note
    assert "no row reaches" in curve.note
    assert curve.value[2] == 0
    assert curve.se[2] == 0
    assert curve.difference.value[2] == -curve.treat_all[2]
    none = net_benefit([0, 1], [0.2, 0.3], 0.5)
    assert none.note == "no row reaches the threshold: net benefit is 0, without an interval"
    assert np.isnan([none.lower, none.upper, none.se]).all()
    assert net_benefit([0, 1], [0.2, 0.3], 0.5) == 0


# Influence -----------------------------------------------------------------------------------------------------------


def slopes(value, w):
    """Change of a statistic for a change of each row's weight, times that weight, by central differences."""
    out = []
    for i in range(w.size):
        step = 1e-5 * w[i]
        up, down = w.copy(), w.copy()
        up[i] += step
        down[i] -= step
        out.append((value(up) - value(down)) / (2e-5))
    return np.array(out)


KINDS = ["binary", "survival", "competing", "difference"]


def case(kind, seed, n=40):
    rng = np.random.default_rng(seed)
    p, q = rng.random(n), rng.integers(0, 11, n) / 10
    y, time = (rng.random(n) < p).astype(int), rng.integers(1, 10, n).astype(float)
    time[:3], p[:3] = 12.0, (0.1, 0.6, 0.95)
    event = rng.integers(0, 3, n)
    grid = np.array([0.5, 0.2, 0.8])
    if kind == "binary":
        return lambda w, **k: net_benefit(y, p, grid, w, **k), rng
    if kind == "difference":
        return lambda w, **k: net_benefit_difference(y, p, q, grid, w, **k), rng
    if kind == "survival":
        return lambda w, **k: net_benefit_survival(event == 1, time, p, 6.0, grid, w, **k), rng
    return lambda w, **k: net_benefit_competing(event, time, p, 6.0, grid, 1, w, **k), rng


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_influence_is_the_slope_in_the_weights_and_makes_the_error(kind, seed):
    metric, rng = case(kind, seed)
    w = rng.random(40) + 0.2
    found = metric(w, influence=True)
    assert found.influence == pytest.approx(slopes(lambda v: metric(v).value, w), abs=1e-7)
    assert found.influence.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    patient = rng.integers(0, 12, 40)
    grouped = metric(w, patient=patient)
    for j in range(3):
        psi = found.influence[:, j]
        assert metric(w).se[j] ** 2 == pytest.approx(clustered_variance(psi), abs=1e-14)
        assert grouped.se[j] ** 2 == pytest.approx(clustered_variance(psi, patient), abs=1e-14)
    if kind != "difference":
        gap = found.difference
        assert gap.influence == pytest.approx(slopes(lambda v: metric(v).difference.value, w), abs=1e-7)
        for j in range(3):
            psi = gap.influence[:, j]
            assert metric(w).difference.se[j] ** 2 == pytest.approx(clustered_variance(psi), abs=1e-14)
            assert grouped.difference.se[j] ** 2 == pytest.approx(clustered_variance(psi, patient), abs=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_can_be_split_permuted_and_grouped(kind):
    rng = np.random.default_rng(7)
    n = 60
    p, q, y = rng.random(n), rng.random(n), rng.integers(0, 2, n)
    time, event = rng.integers(1, 10, n).astype(float), rng.integers(0, 3, n)
    time[:3], p[:3] = 12.0, (0.1, 0.6, 0.95)

    def metric(rows, w, patient):
        if kind == "binary":
            return net_benefit(y[rows], p[rows], GRID, w, patient=patient)
        if kind == "difference":
            return net_benefit_difference(y[rows], p[rows], q[rows], GRID, w, patient=patient)
        if kind == "survival":
            return net_benefit_survival(event[rows] == 1, time[rows], p[rows], 6.0, GRID, w, patient=patient)
        return net_benefit_competing(event[rows], time[rows], p[rows], 6.0, GRID, 1, w, patient=patient)

    whole = metric(np.arange(n), None, None)
    twice = np.tile(np.arange(n), 2)
    halves = metric(twice, np.full(2 * n, 0.5), twice)
    shuffled = metric(rng.permutation(n), None, None)
    for other in (halves, shuffled):
        assert other.value == pytest.approx(whole.value, abs=1e-12)
        assert other.se == pytest.approx(whole.se, abs=1e-12)
    counts = rng.integers(0, 3, n)
    repeated = metric(np.repeat(np.arange(n), counts), None, None)
    assert metric(np.arange(n), counts, None).value == pytest.approx(repeated.value, abs=1e-12)


@pytest.mark.parametrize("prevalence", [0.03, 0.4])
def test_a_prevalence_weighs_the_classes(prevalence):
    rng = np.random.default_rng(1)
    n = 60
    p, q, y, w = rng.random(n), rng.random(n), rng.integers(0, 2, n), rng.random(n)
    found = net_benefit(y, p, GRID, w, prevalence=prevalence)
    share = w @ y / w.sum()
    moved = w * np.where(y == 1, prevalence / share, (1 - prevalence) / (1 - share))
    assert found.value == pytest.approx(net_benefit(y, p, GRID, moved).value, abs=1e-12)
    assert found.treat_all == pytest.approx(prevalence - (1 - prevalence) * GRID / (1 - GRID))
    patient = rng.integers(0, 20, n)
    for metric in (
        lambda v, **k: net_benefit(y, p, GRID, v, prevalence=prevalence, **k),
        lambda v, **k: net_benefit_difference(y, p, q, GRID, v, prevalence=prevalence, **k),
    ):
        result = metric(w, influence=True)
        assert result.influence == pytest.approx(slopes(lambda v, m=metric: m(v).value, w), abs=1e-7)
        for j in range(4):
            psi = result.influence[:, j]
            assert result.se[j] ** 2 == pytest.approx(clustered_variance(psi), abs=1e-14)
            assert metric(w, patient=patient).se[j] ** 2 == pytest.approx(clustered_variance(psi, patient), abs=1e-14)


# What is returned ----------------------------------------------------------------------------------------------------


def test_one_threshold_gives_an_estimate_and_many_a_curve():
    rng = np.random.default_rng(0)
    p, time = rng.random(200), rng.exponential(5, 200)
    y, event, q = rng.random(200) < p, rng.random(200) < 0.6, rng.random(200)
    time[p > 0.9] += 9
    for metric in (
        lambda t: net_benefit(y, p, t),
        lambda t: net_benefit_difference(y, p, q, t),
        lambda t: net_benefit_survival(event, time, p, 4.0, t),
        lambda t: net_benefit_competing(event.astype(int) * 2, time, p, 4.0, t, 2),
    ):
        curve, one = metric([0.7, 0.2, 0.7]), metric(0.2)
        assert (one.value, one.se, one.lower, one.upper) == pytest.approx(
            (curve.value[1], curve.se[1], curve.lower[1], curve.upper[1])
        )
        assert curve.value[0] == curve.value[2]
        assert curve.x.tolist() == [0.7, 0.2, 0.7]
        assert one.se == pytest.approx(np.sqrt(clustered_variance(one.influence)))
        assert one.n == 200
        assert curve.influence is None
    curve = net_benefit(y, p, GRID)
    assert curve.difference.value == pytest.approx(curve.value - curve.treat_all)
    assert curve.standardized == pytest.approx(curve.value / y.mean())
    avoided = curve.interventions_avoided
    assert avoided.value == pytest.approx(100 * (curve.value - curve.treat_all) / (GRID / (1 - GRID)))
    assert avoided.se == pytest.approx(100 * curve.difference.se / (GRID / (1 - GRID)))
    assert net_benefit_difference(y, p, p, 0.5).note


def test_the_difference_is_the_difference():
    rng = np.random.default_rng(5)
    y, a, b = rng.integers(0, 2, 300), rng.integers(0, 11, 300) / 10, rng.random(300)
    found = net_benefit_difference(y, a, b, GRID, influence=True)
    one, other = net_benefit(y, a, GRID, influence=True), net_benefit(y, b, GRID, influence=True)
    assert found.value == pytest.approx(one.value - other.value, abs=1e-12)
    assert found.influence == pytest.approx(one.influence - other.influence, abs=1e-12)


@pytest.mark.parametrize("prevalence", [None, 0.2])
def test_replicates_are_the_weighted_metric_bit_for_bit(prevalence):
    rng = np.random.default_rng(8)
    n = 300
    y, p, patient = rng.integers(0, 2, n), rng.integers(0, 21, n) / 20, rng.integers(0, 90, n)
    draws = PatientDraws(patient, n, draws=37, seed=4)
    for thresholds in ([0.5, 0.1, 0.9, 0.1], 0.3):
        rows = NetBenefitReplicates(y, p, thresholds, codes=draws.codes, prevalence=prevalence)
        found = draws.map(rows.replicate)
        for w, values in zip(draws.rows(), found, strict=True):
            expected = net_benefit(y, p, np.atleast_1d(thresholds), w, prevalence=prevalence).value
            assert np.array_equal(np.atleast_1d(values), expected)
        assert found.shape == ((37, 4) if np.ndim(thresholds) else (37,))
    nobody = np.zeros((draws.patients, 2), dtype=np.uint8)
    assert np.isnan(rows.replicate(nobody)).all()


# Intervals -----------------------------------------------------------------------------------------------------------


def test_errors_match_the_spread_of_samples_of_patients():
    rng = np.random.default_rng(11)
    horizon, found = 2.0, []
    for _ in range(400):
        x = np.repeat(rng.normal(size=150), 2)
        p = 1 / (1 + np.exp(-x))
        time = rng.exponential(-horizon / np.log(1 - np.clip(p, 0.01, 0.99)))
        stop = rng.exponential(4, 300)
        patient = np.repeat(np.arange(150), 2)
        seen, when = time <= stop, np.minimum(time, stop)
        kind = np.where(seen, np.where(rng.random(300) < 0.5, 1, 2), 0)
        curves = (
            net_benefit(time <= horizon, p, [0.3, 0.6], patient=patient),
            net_benefit_survival(seen, when, p, horizon, [0.3, 0.6], patient=patient),
            net_benefit_competing(kind, when, p, horizon, [0.3, 0.6], patient=patient),
            net_benefit_difference(time <= horizon, p, np.roll(p, 2), [0.3, 0.6], patient=patient),
        )
        gaps = [c.difference for c in curves[:3]]
        found.append([(c.value, c.se) for c in (*curves, *gaps)])
    values = np.array(found)
    spread, stated = values[:, :, 0].std(axis=0), values[:, :, 1].mean(axis=0)
    assert stated == pytest.approx(spread, rel=0.12)


def test_intervals_cover():
    rng = np.random.default_rng(12)
    n, trials = 300, 2000
    x = rng.normal(size=2_000_000)
    big = 1 / (1 + np.exp(-x))
    odds = 0.3 / 0.7
    truth = np.mean((big >= 0.3) * (big - (1 - big) * odds))
    gap = truth - np.mean(big - (1 - big) * odds)
    hits = np.zeros(4)
    for _ in range(trials):
        p = 1 / (1 + np.exp(-rng.normal(size=n)))
        time = rng.exponential(-2 / np.log(1 - p))
        stop = rng.exponential(4, n)
        for i, c in enumerate(
            (
                net_benefit(time <= 2, p, [0.3]),
                net_benefit_survival(time <= stop, np.minimum(time, stop), p, 2.0, [0.3]),
            )
        ):
            hits[2 * i] += c.lower[0] <= truth <= c.upper[0]
            hits[2 * i + 1] += c.difference.lower[0] <= gap <= c.difference.upper[0]
    assert ((hits / trials >= 0.93) & (hits / trials <= 0.97)).all()


def test_few_patients_give_the_quantile_of_t_and_a_p_that_agrees():
    rng = np.random.default_rng(11)
    patient = np.repeat(np.arange(5), 12)
    for _ in range(10):
        y = rng.integers(0, 2, 60)
        a, b = (np.clip(rng.normal(0.3 + 0.3 * y, s), 0, 1) for s in (0.1, 0.3))
        half = 2.7764451051977987 * np.sqrt(5 / 4)
        curve = net_benefit(y, a, [0.3, 0.5], patient=patient)
        assert curve.upper == pytest.approx(curve.value + half * curve.se)
        assert curve.difference.lower == pytest.approx(curve.difference.value - half * curve.difference.se)
        assert "only 5 independent units" in curve.note
        gap = net_benefit_difference(y, a, b, 0.5, patient=patient)
        assert gap.upper == pytest.approx(gap + half * gap.se)
        assert (gap.p < 0.05) == (not gap.lower <= 0 <= gap.upper)
    single = net_benefit(y, a, 0.5, patient=np.zeros(60))
    assert np.isnan([single.lower, single.se]).all()
    assert single.note == "no interval: one unit only"
    same = net_benefit_difference(y, a, a, 0.5)
    assert np.isnan([same.lower, same.upper, same.se]).all()
    assert same.note == "no interval: both models decide alike in every row"
