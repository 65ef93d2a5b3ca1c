"""Survival discrimination and accuracy against brute force, peers and their own algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from sksurv.metrics import brier_score, concordance_index_censored

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.nonparametric import censoring_distribution, kaplan_meier
from aimed.metrics.survival import auc_at, brier_at, harrell_c, ibs, scaled_brier_at, uno_c

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed, n=50, top=15, levels=12):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, n).astype(float)
    time = np.ceil(rng.exponential(top * np.exp(-score / levels)))
    event = rng.random(n) < 0.6
    # One row at the end is followed beyond every horizon used here.
    event[:2], time[:2] = (True, False), (1.0, time.max() + 5)
    return event, time, score, rng.integers(0, 4, n).astype(float)


def brute(event, time, score, w, factor):
    right = usable = 0.0
    for i in np.flatnonzero(event):
        for j in range(time.size):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                usable += w[i] * w[j] * factor[i]
                right += w[i] * w[j] * factor[i] * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
    return right / usable


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_concordance_equals_all_pairs(seed):
    event, time, score, w = draw(seed)
    w[:2] = 1
    assert harrell_c(event, time, score, w) == pytest.approx(brute(event, time, score, w, np.ones(50)), abs=1e-13)
    tau = 8.0
    g = censoring_distribution(event, time, w).left(time)
    factor = np.where(event & (time <= tau) & (g > 0), 1 / np.where(g > 0, g, 1) ** 2, 0)
    assert uno_c(event, time, score, tau, w) == pytest.approx(brute(event, time, score, w, factor), abs=1e-12)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_concordance_lies_in_the_unit_interval_and_turns_over_with_the_score(seed):
    event, time, score, _ = draw(seed)
    for found, mirror in (
        (harrell_c(event, time, score), harrell_c(event, time, -score)),
        (uno_c(event, time, score, 9.0), uno_c(event, time, -score, 9.0)),
        (auc_at(event, time, score, 9.0), auc_at(event, time, -score, 9.0)),
    ):
        assert 0 <= found <= 1
        assert found + mirror == pytest.approx(1, abs=1e-12)
    assert harrell_c(event, time, np.exp(score / 3)) == harrell_c(event, time, score)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_whole_number_weights_equal_repeated_rows(seed):
    event, time, score, w = draw(seed)
    w[:2] = 1
    again = np.repeat(np.arange(time.size), w.astype(int))
    risk = (score + 1) / 20
    e, t, s, r = event[again], time[again], score[again], risk[again]
    assert harrell_c(event, time, score, w) == pytest.approx(harrell_c(e, t, s), abs=1e-13)
    assert uno_c(event, time, score, 8.0, w) == pytest.approx(uno_c(e, t, s, 8.0), abs=1e-12)
    assert auc_at(event, time, score, 8.0, w) == pytest.approx(auc_at(e, t, s, 8.0), abs=1e-12)
    assert brier_at(event, time, risk, 8.0, w) == pytest.approx(brier_at(e, t, r, 8.0), abs=1e-12)
    assert scaled_brier_at(event, time, risk, 8.0, w) == pytest.approx(scaled_brier_at(e, t, r, 8.0), abs=1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 63, 64, 65])
def test_prefixes_of_any_length_are_counted(n):
    rng = np.random.default_rng(n)
    event, time, score = rng.random(n) < 0.7, rng.integers(1, 6, n).astype(float), rng.integers(0, 3, n).astype(float)
    event[0] = True
    try:
        expected = brute(event, time, score, np.ones(n), np.ones(n))
    except ZeroDivisionError:
        with pytest.raises(NotEstimableError):
            harrell_c(event, time, score)
    else:
        assert harrell_c(event, time, score) == pytest.approx(expected, abs=1e-13)


def test_harrell_equals_both_peers_with_their_own_sign():
    event, time, score, _ = draw(3, 400, top=300)
    assert harrell_c(event, time, score) == pytest.approx(concordance_index_censored(event, time, score)[0], abs=1e-12)
    assert harrell_c(event, time, score) == pytest.approx(concordance_index(time, -score, event), abs=1e-12)


def test_a_constant_score_is_one_half():
    event, time, _, _ = draw(0)
    same = np.zeros(time.size)
    assert harrell_c(event, time, same) == uno_c(event, time, same, 9.0) == auc_at(event, time, same, 9.0) == 0.5


def test_brier_of_continuous_times_equals_the_peer_where_both_limits_of_g_agree():
    rng = np.random.default_rng(0)
    time, event = rng.exponential(5, 300), rng.random(300) < 0.6
    event[np.argmax(time)] = True
    risk = rng.uniform(0.05, 0.95, 300)
    y = np.array(list(zip(event, time, strict=True)), dtype=[("e", bool), ("t", float)])
    for horizon in (2.0, 5.0):
        peer = brier_score(y, y, (1 - risk)[:, None], [horizon])[1][0]
        assert brier_at(event, time, risk, horizon) == pytest.approx(peer, abs=1e-10)


def test_the_kaplan_meier_risk_has_a_scaled_brier_of_zero():
    event, time, _, _ = draw(1, 300)
    risk = np.full(300, 1 - float(kaplan_meier(event, time).at(8.0)))
    assert scaled_brier_at(event, time, risk, 8.0) == pytest.approx(0, abs=1e-12)


def test_all_rows_censored_at_the_end_do_no_harm():
    # G reaches 0 at time 5, where all who are left are censored; nobody followed beyond it needs that weight.
    event, time = np.array([1, 1, 0, 0, 0]), np.array([1.0, 3.0, 5.0, 5.0, 5.0])
    score = np.array([5, 4, 3, 2, 1.0])
    assert uno_c(event, time, score, tau=5.0) == 1
    assert brier_at(event, time, [1, 1, 0, 0, 0], 5.0) == 0
    assert auc_at(event, time, score, 4.0) == 1
    with pytest.raises(NotEstimableError):
        auc_at(event, time, score, 5.0)
    with pytest.raises(NotEstimableError):
        brier_at(event, time, score / 5, 6.0)


def test_tau_is_included():
    event, time = np.array([1, 1, 0]), np.array([1.0, 2.0, 3.0])
    score = np.array([3.0, 1.0, 2.0])
    assert uno_c(event, time, score, tau=1.9) == 1
    assert uno_c(event, time, score, tau=2.0) == pytest.approx(2 / 3)


def test_integrated_brier_is_the_trapezoid_over_the_range():
    event, time, score, _ = draw(5, 200)
    grid = np.array([2.0, 4.0, 8.0])
    curves = np.exp(-np.outer((score + 1) / 12, grid) / 8)
    scores = [brier_at(event, time, 1 - curves[:, j], t) for j, t in enumerate(grid)]
    assert ibs(event, time, curves, grid) == pytest.approx(np.trapezoid(scores, grid) / 6)
    with pytest.raises(DataError):
        ibs(event, time, curves, grid[::-1])
    with pytest.raises(NotEstimableError):
        ibs(event, time, curves[:, :1], grid[:1])


def test_no_usable_pair_is_refused():
    with pytest.raises(NotEstimableError):
        harrell_c([0, 0], [1, 2], [1, 2])
    with pytest.raises(NotEstimableError):
        uno_c([1, 0], [3, 4], [1, 2], tau=2)
