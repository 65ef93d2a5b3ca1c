"""Kaplan-Meier and its relatives against lifelines, scikit-survival and repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter, NelsonAalenFitter
from lifelines.statistics import multivariate_logrank_test
from scipy.stats import t

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.nonparametric import (
    kaplan_meier,
    kaplan_meier_influence,
    log_rank,
    median_followup,
    nelson_aalen,
    rmst,
    rmst_difference,
    survival_at,
    survival_limits,
)
from aimed.metrics.result import limits

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed, n=80, top=20):
    rng = np.random.default_rng(seed)
    time = rng.integers(1, top, n).astype(float)
    event = rng.random(n) < 0.6
    event[0] = True
    return event, time, rng.integers(0, 4, n).astype(float)


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_kaplan_meier_never_rises_and_its_limits_hold_it(seed):
    event, time, w = draw(seed)
    w[0] = 1
    curve = kaplan_meier(event, time, w)
    assert (np.diff(curve.survival) <= 1e-15).all()
    inside = np.isfinite(curve.lower)
    assert (curve.lower[inside] <= curve.survival[inside] + 1e-12).all()
    assert (curve.survival[inside] <= curve.upper[inside] + 1e-12).all()


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_whole_number_weights_equal_repeated_rows(seed):
    event, time, w = draw(seed)
    w[0] = 1
    again = np.repeat(np.arange(time.size), w.astype(int))
    once, twice = kaplan_meier(event, time, w), kaplan_meier(event[again], time[again])
    at = twice.times
    assert once.at(at) == pytest.approx(twice.survival, abs=1e-12)
    assert once.std_error_at(at) == pytest.approx(twice.std_error, abs=1e-12)


def test_curves_equal_lifelines():
    event, time, _ = draw(4, 200)
    peer = KaplanMeierFitter().fit(time, event)
    ours = kaplan_meier(event, time)
    assert ours.survival == pytest.approx(peer.survival_function_at_times(ours.times).to_numpy(), abs=1e-12)
    bands = peer.confidence_interval_.loc[ours.times].to_numpy()
    alive = ours.survival > 0
    assert ours.lower[alive] == pytest.approx(bands[alive, 0], abs=1e-9)
    assert ours.upper[alive] == pytest.approx(bands[alive, 1], abs=1e-9)
    hazard = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)
    expected = hazard.cumulative_hazard_at_times(ours.times).to_numpy()
    assert nelson_aalen(event, time).hazard == pytest.approx(expected, abs=1e-12)


def test_log_rank_of_three_groups_equals_lifelines():
    event, time, _ = draw(2, 150)
    group = np.arange(150) % 3
    ours, peer = log_rank(event, time, group), multivariate_logrank_test(time, group, event)
    assert ours.df == 2
    assert ours.statistic == pytest.approx(peer.test_statistic, rel=1e-9)
    assert ours.p == pytest.approx(peer.p_value, rel=1e-9)
    assert ours.observed.sum() == pytest.approx(ours.expected.sum())
    with pytest.raises(NotEstimableError):
        log_rank(event, time, np.zeros(150))


def test_median_takes_the_middle_of_a_flat_piece_and_none_when_not_reached():
    assert kaplan_meier([1, 1, 1, 1], [1, 2, 3, 4]).median()[0] == 2.5
    assert kaplan_meier([1, 0, 0, 0], [1, 2, 3, 4]).median()[0] is None
    assert median_followup([0, 1, 0, 0], [2, 3, 4, 6])[0] == 4


def test_nothing_is_said_beyond_follow_up():
    assert np.isnan(kaplan_meier([1, 0], [1, 5]).at(6))
    assert kaplan_meier([1, 1], [1, 5]).at(6) == 0
    assert np.isnan(kaplan_meier([0, 0], [1, 5], weights=[1, 0]).at(3))
    with pytest.raises(NotEstimableError):
        survival_at([1, 0], [1, 5], 6)
    with pytest.raises(DataError):
        kaplan_meier([1, 0], [1, -5])


def slopes(function, w):
    rows = []
    for i in range(w.size):
        up, down = w.copy(), w.copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        rows.append(w[i] * (function(up) - function(down)) / 2e-5)
    return np.array(rows)


def over_patients(influence, patient):
    sums = np.zeros((patient.max() + 1, influence.shape[1]))
    np.add.at(sums, patient, influence)
    return np.sqrt((sums**2).sum(axis=0))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_influence_is_the_derivative_and_makes_the_clustered_error(seed):
    event, time, w = draw(seed, 40, 12)
    rng, w = np.random.default_rng(seed), w + 0.5
    patient, entry = rng.integers(0, 9, 40), time - rng.integers(1, 6, 40)
    at = np.array([0.5, 3.0, 6.5, 11.0])
    for late in (None, entry):
        if late is not None:
            # A row that is always at risk: without it the curve may reach 0 early on and has no derivative there.
            w = np.r_[w, 1.0]
            event, time = np.r_[event, False], np.r_[time, 12.0]
            patient, late = np.r_[patient, 9], np.r_[late, -1.0]
        found = kaplan_meier_influence(event, time, at, w, entry=late)

        def curve(v, late=late, event=event, time=time):
            return kaplan_meier(event, time, v, entry=late).at(at, extend=True)

        assert found == pytest.approx(slopes(curve, w), abs=1e-8)
        clustered = kaplan_meier(event, time, w, entry=late, patient=patient)
        inside = at <= time.max()
        assert clustered.std_error_at(at[inside]) == pytest.approx(over_patients(found, patient)[inside], abs=1e-8)
        hazard = nelson_aalen(event, time, w, entry=late, patient=patient)
        wanted = slopes(lambda v, t=late, e=event, s=time: nelson_aalen(e, s, v, entry=t).hazard, w)
        assert hazard.se == pytest.approx(over_patients(wanted, patient), abs=1e-7)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_one_row_a_patient_gives_greenwood(seed):
    event, time, _ = draw(seed)
    plain, clustered = kaplan_meier(event, time), kaplan_meier(event, time, patient=np.arange(time.size))
    assert clustered.se == pytest.approx(plain.se, abs=1e-9)
    assert rmst(event, time, 5.0, patient=np.arange(time.size)).se == pytest.approx(rmst(event, time, 5.0).se)


def test_late_entry_equals_lifelines():
    event, time, _ = draw(4, 200)
    entry = time * np.random.default_rng(1).random(200)
    ours, peer = kaplan_meier(event, time, entry=entry), KaplanMeierFitter().fit(time, event, entry=entry)
    assert ours.survival == pytest.approx(peer.survival_function_at_times(ours.times).to_numpy(), abs=1e-12)
    with pytest.raises(DataError):
        kaplan_meier(event, time, entry=time)


@pytest.mark.parametrize("interval", ["log-log", "log", "plain"])
def test_limits_on_three_scales(interval):
    value, se = np.array([1.0, 0.8, 0.05, 0.0]), np.array([0.0, 0.1, 0.04, 0.0])
    lower, upper = survival_limits(value, se, 0.95, interval)
    assert (lower[0], upper[0]) == (1, 1)
    assert np.isnan([lower[3], upper[3]]).all()
    scale = {"log-log": lambda s: np.log(-np.log(s)), "log": np.log, "plain": lambda s: s}[interval]
    gap = scale(value[1]) - scale(lower[1])
    assert scale(upper[1]) - scale(value[1]) == pytest.approx(gap) or upper[1] == 1
    assert ((lower[1:3] >= 0) & (lower[1:3] < value[1:3]) & (value[1:3] < upper[1:3]) & (upper[1:3] <= 1)).all()
    with pytest.raises(DataError):
        survival_limits(value, se, 0.95, "logit")


def test_results_have_the_common_names():
    event, time, _ = draw(1)
    curve, hazard, test = kaplan_meier(event, time), nelson_aalen(event, time), log_rank(event, time, time > 5)
    assert curve.value is curve.survival
    assert curve.se is curve.std_error
    assert curve.n == hazard.n == test.n == 80
    seen = hazard.value > 0
    assert (hazard.lower[seen] < hazard.value[seen]).all()
    assert (hazard.value[seen] < hazard.upper[seen]).all()
    assert test.value == float(test) == test.statistic
    assert kaplan_meier(event, time).quantile(0.5) == kaplan_meier(event, time).median()
    for q in (0, 1):
        with pytest.raises(DataError):
            curve.quantile(q)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"weights": "gehan"}, {"weightings": "wilcoxon"}),
        ({"weights": "tarone-ware"}, {"weightings": "tarone-ware"}),
        ({"weights": "peto"}, {"weightings": "peto"}),
        (
            {"weights": "fleming-harrington", "rho": 1.0, "gamma": 0.5},
            {"weightings": "fleming-harrington", "p": 1.0, "q": 0.5},
        ),
    ],
)
def test_weighted_log_rank_equals_lifelines(ours, theirs):
    event, time, _ = draw(2, 150)
    time += np.random.default_rng(0).random(150)
    group = np.arange(150) % 2
    peer = multivariate_logrank_test(time, group, event, **theirs)
    assert log_rank(event, time, group, **ours).statistic == pytest.approx(peer.test_statistic, rel=1e-8)


def test_strata_are_compared_within():
    event, time, _ = draw(6, 200)
    group, strata = np.arange(200) % 3, np.repeat(["x", "y"], 100)
    found = log_rank(event, time, group, strata=strata)
    parts = [log_rank(event[rows], time[rows], group[rows]) for rows in (slice(0, 100), slice(100, 200))]
    assert found.observed == pytest.approx(sum(p.observed for p in parts))
    assert found.expected == pytest.approx(sum(p.expected for p in parts))
    # Times that never meet: one stratum after the other is as good as two strata.
    later = np.where(strata == "y", time + 100, time)
    assert log_rank(event, later, group, strata=strata).statistic == pytest.approx(found.statistic)
    with pytest.raises(NotEstimableError):
        log_rank(event, time, strata == "x", strata=strata)
    for options in ({"weights": "mantel"}, {"weights": "fleming-harrington", "rho": -1.0}):
        with pytest.raises(DataError):
            log_rank(event, time, group, **options)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_rmst_is_the_area_under_the_curve(seed):
    event, time, w = draw(seed)
    w += 0.5
    tau = 9.5
    found, curve = rmst(event, time, tau, w), kaplan_meier(event, time, w)
    fine = (np.arange(9500) + 0.5) / 1000
    assert found == pytest.approx(curve.at(fine).sum() / 1000, abs=1e-9)
    assert found.influence == pytest.approx(slopes(lambda v: rmst(event, time, tau, v).value, w), abs=1e-7)
    group, patient = np.arange(80) % 2, np.arange(80) // 4
    both = rmst_difference(event, time, group, tau, w, patient=patient)
    for part in (both.difference, both.ratio):
        sums = np.bincount(patient, part.influence)
        assert part.se == pytest.approx(np.sqrt(sums @ sums))
    wanted = slopes(lambda v: rmst_difference(event, time, group, tau, v).ratio.value, w)
    assert both.ratio.influence == pytest.approx(wanted, abs=1e-7)
    assert both.value == both.difference == pytest.approx(both.groups[1].value - both.groups[0].value)


def test_rmst_refuses_what_it_cannot_know():
    assert rmst([1, 1], [1, 3], 10) == 2
    with pytest.raises(NotEstimableError):
        rmst([1, 0], [1, 3], 10)
    with pytest.raises(DataError):
        rmst([1, 0], [1, 3], 0)
    with pytest.raises(NotEstimableError):
        rmst_difference([1, 1, 1], [1, 2, 3], [0, 1, 2], 1)


def test_rmst_interval_covers_the_true_mean():
    rng, hits = np.random.default_rng(3), []
    for _ in range(500):
        fails, stop = rng.exponential(1.0, 120), rng.uniform(0.5, 3, 120)
        found = rmst(fails <= stop, np.minimum(fails, stop), 1.0)
        hits.append(found.lower <= 1 - np.exp(-1) <= found.upper)
    assert 0.925 <= np.mean(hits) <= 0.975


def test_limits_before_the_first_event_rest_on_the_rows_at_risk():
    event, time = [0, 0, 1, 0], [1.0, 2.0, 3.0, 4.0]
    for interval in ("log-log", "log"):
        curve = kaplan_meier(event, time, interval=interval)
        assert curve.lower[:2] == pytest.approx([0.025**0.25, 0.025 ** (1 / 3)])
        assert curve.upper[:2].tolist() == [1.0, 1.0]
        assert curve.interval_at([0.5])[0] == pytest.approx([0.025**0.25])
    plain = kaplan_meier(event, time, interval="plain")
    assert plain.lower[:2].tolist() == [1.0, 1.0]
    two = kaplan_meier(event, time, patient=[0, 0, 1, 1])
    assert two.lower[0] == pytest.approx(0.025**0.5)


def test_clustered_intervals_have_the_quantile_of_t():
    event, time, _ = draw(3)
    patient = np.arange(80) % 6
    curve = kaplan_meier(event, time, patient=patient, interval="plain")
    place = int(np.flatnonzero(curve.survival < 0.6)[0])
    half = t.ppf(0.975, 5) * np.sqrt(6 / 5) * curve.std_error[place]
    assert curve.lower[place] == pytest.approx(max(curve.survival[place] - half, 0))
    assert "6 independent units" in curve.note
    mean = rmst(event, time, 10, patient=patient)
    assert mean.lower == pytest.approx(float(limits(mean.value, mean.se, 0.95, (0, 10), units=6)[0]))
    gap = rmst_difference(event, time, np.arange(80) % 2, 10, patient=np.arange(80) % 7)
    assert gap.upper == pytest.approx(gap.value + t.ppf(0.975, 6) * np.sqrt(7 / 6) * gap.se)
    assert gap.p == pytest.approx(2 * t.cdf(-abs(gap.value / gap.se) / np.sqrt(7 / 6), 6))
    hazard = nelson_aalen(event, time, patient=patient)
    factor = np.exp(t.ppf(0.975, 5) * np.sqrt(6 / 5) * hazard.se[-1] / hazard.hazard[-1])
    assert hazard.upper[-1] == pytest.approx(hazard.hazard[-1] * factor)


def test_rows_at_risk_between_late_entries():
    rng = np.random.default_rng(4)
    entry = rng.integers(0, 10, 30).astype(float)
    time, w = entry + rng.integers(1, 9, 30), rng.integers(1, 4, 30).astype(float)
    when = np.arange(0, 20, 0.5)
    want = [(w * ((entry < u) & (time >= u))).sum() for u in when]
    assert kaplan_meier(np.ones(30), time, w, entry=entry).at_risk_at(when) == pytest.approx(want)


def test_a_risk_set_that_empties_before_others_enter_is_said():
    curve = kaplan_meier([1, 1, 0], [1.0, 5.0, 6.0], entry=[0.0, 2.0, 2.0])
    assert curve.survival.tolist() == [0, 0, 0]
    assert "before others entered" in curve.note
    assert kaplan_meier([1, 1, 0], [3.0, 5.0, 6.0], entry=[0.0, 2.0, 2.0]).note == ""


def test_log_rank_leaves_out_groups_that_are_never_at_risk_at_an_event():
    event, time = [1, 0, 1, 1, 0, 0, 0], [4, 5, 6, 7, 8, 1, 2]
    group = ["a", "a", "b", "b", "a", "c", "c"]
    found, want = log_rank(event, time, group), log_rank(event[:5], time[:5], group[:5])
    assert found.df == want.df == 1
    assert found.statistic == pytest.approx(want.statistic)
    assert found.p == pytest.approx(want.p)
    assert "1 of 3 groups" in found.note
    assert want.note == ""
    with pytest.raises(NotEstimableError, match="1 of 2 groups"):
        log_rank([1, 1, 0], [4, 5, 1], ["a", "a", "c"])
    late = log_rank(event, time, group, weights="fleming-harrington", gamma=1)
    assert "liberal in small samples" in late.note
