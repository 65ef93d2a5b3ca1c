"""Kaplan-Meier and its relatives against lifelines, scikit-survival and repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter, NelsonAalenFitter
from lifelines.statistics import multivariate_logrank_test
from sksurv.nonparametric import CensoringDistributionEstimator
from sksurv.util import Surv

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.nonparametric import (
    GroupedSurvival,
    censoring_distribution,
    kaplan_meier,
    log_rank,
    median_followup,
    nelson_aalen,
    survival_at,
)

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
    left = censoring_distribution(event, time, w).left(at)
    assert left == pytest.approx(censoring_distribution(event[again], time[again]).left(at), abs=1e-12)


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


def test_censoring_curve_equals_scikit_survival_on_the_right_and_differs_on_the_left():
    event, time, _ = draw(9, 300)
    event[time == time.max()] = True
    peer = CensoringDistributionEstimator().fit(Surv.from_arrays(event, time))
    ours = censoring_distribution(event, time)
    grid = np.unique(time)
    assert ours.at(grid) == pytest.approx(peer.predict_proba(grid), abs=1e-12)
    assert (ours.left(grid) >= ours.at(grid)).all()
    assert (ours.left(grid[1:]) == ours.at(grid[:-1])).all()


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
    with pytest.raises(NotEstimableError):
        survival_at([1, 0], [1, 5], 6)
    with pytest.raises(DataError):
        kaplan_meier([1, 0], [1, -5])


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_grouped_survival_equals_one_curve_a_group(seed):
    event, time, w = draw(seed)
    group = np.arange(time.size) % 4
    horizon = 9.0
    rows = GroupedSurvival(event, time, horizon, group, 4)
    share, above, below = rows.split(w)
    for k in range(4):
        own = (group == k) & (w > 0)
        expected = kaplan_meier(event[own], time[own], w[own]).at(horizon)
        assert rows.within(w)[k] == pytest.approx(float(expected), abs=1e-12, nan_ok=True)
    for k in range(1, 4):
        high = (group >= k) & (w > 0)
        low = (group < k) & (w > 0)
        assert share[k - 1] == pytest.approx(w[group >= k].sum() / w.sum())
        for own, found in ((high, above), (low, below)):
            expected = kaplan_meier(event[own], time[own], w[own]).at(horizon)
            assert found[k - 1] == pytest.approx(float(expected), abs=1e-12, nan_ok=True)
