"""Intervals of a proportion against their definitions and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.proportions import clopper_pearson, mean_share, proportion, wilson


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
@settings(deadline=None)
@pytest.mark.parametrize(("interval", "peer"), [(wilson, "wilson"), (clopper_pearson, "exact")])
def test_intervals_equal_scipy(interval, peer, k, more, level):
    n = k + more
    if not n:
        return
    lower, upper = interval(k, n, level)
    expected = stats.binomtest(k, n).proportion_ci(level, method=peer)
    assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=1e-10)
    assert 0 <= lower <= k / n <= upper <= 1


def test_the_exact_interval_is_a_pair_of_binomial_tails_at_a_million_rows():
    lower, upper = clopper_pearson(37, 1_000_000)
    assert stats.binom.sf(36, 1_000_000, lower) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom.cdf(37, 1_000_000, upper) == pytest.approx(0.025, rel=1e-6)


def test_wilson_covers_on_average_and_the_exact_interval_never_less_than_the_level():
    for n, share in ((20, 0.1), (50, 0.3), (80, 0.5)):
        chance = stats.binom.pmf(range(n + 1), n, share)
        covered = {}
        for interval in (wilson, clopper_pearson):
            limits = [interval(k, n) for k in range(n + 1)]
            covered[interval] = sum(c for c, (low, high) in zip(chance, limits, strict=True) if low <= share <= high)
        assert 0.93 <= covered[wilson] <= 0.975
        assert covered[clopper_pearson] >= 0.95


def test_an_estimate_knows_its_interval_and_method():
    found = proportion(8, 10, "clopper-pearson", level=0.9, name="share")
    assert (found.lower, found.upper) == clopper_pearson(8, 10, 0.9)
    assert found.se == pytest.approx(math.sqrt(0.8 * 0.2 / 10))
    assert (found.value, found.n, found.events, found.method, found.level) == (0.8, 10, 8, "Clopper-Pearson", 0.9)


def test_unfit_counts_are_refused():
    for interval in (wilson, clopper_pearson, proportion):
        with pytest.raises(NotEstimableError):
            interval(0, 0)
        with pytest.raises(DataError):
            interval(3, 2)
        with pytest.raises(DataError):
            interval(-1, 2)
    with pytest.raises(DataError):
        wilson(1, 2, 95)
    with pytest.raises(DataError):
        proportion(1, 2, "wald")


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.8, 0.95]))
@settings(deadline=None)
def test_a_mean_of_independent_yes_and_no_is_the_proportion_with_wilsons_interval(k, more, level):
    found = mean_share([1] * k + [0] * more, level=level)
    peer = proportion(k, k + more, level=level)
    assert (found, found.lower, found.upper) == pytest.approx((float(peer), peer.lower, peer.upper))
    assert (found.n, found.events) == (k + more, k)


def test_rows_that_repeat_a_patient_say_no_more_than_the_patient():
    one = mean_share([1, 0, 1, 1, 0, 1] * 5, patient=np.arange(30))
    twice = mean_share(np.repeat([1, 0, 1, 1, 0, 1] * 5, 4), patient=np.repeat(np.arange(30), 4))
    assert (twice.lower, twice.upper) == pytest.approx((one.lower, one.upper))
    assert mean_share(np.repeat([1, 0, 1, 1, 0, 1] * 5, 4)).upper < twice.upper


def test_a_mean_share_covers_with_patients_whose_rows_are_alike():
    rng = np.random.default_rng(3)
    covered, naive = [], []
    for _ in range(600):
        patient = np.repeat(np.arange(40), 5)
        chance = rng.beta(0.9, 2.1, 40)[patient]
        y = (rng.random(200) < chance).astype(float)
        found = mean_share(y, patient=patient)
        covered.append(found.lower <= 0.3 <= found.upper)
        low, high = wilson(y.sum(), 200)
        naive.append(low <= 0.3 <= high)
    assert np.mean(covered) > 0.93
    assert np.mean(naive) < 0.85


def test_a_mean_share_of_all_or_none_counts_patients():
    lower = mean_share(np.ones(40), patient=np.repeat(np.arange(8), 5)).lower
    assert lower < wilson(8, 8)[0] < wilson(40, 40)[0]
    assert mean_share(np.zeros(40), patient=np.repeat(np.arange(8), 5)).lower == 0
    assert math.isnan(mean_share([1, 1, 0], patient=["a"] * 3).lower)


def test_weights_of_a_mean_share_leave_rows_out():
    found = mean_share([1, 0, 1, 1, 0], [1, 1, 0, 2, 0])
    assert float(found) == 0.75
    assert found.n == 3
    assert found.influence.sum() == pytest.approx(0)
    assert (found.influence[[2, 4]] == 0).all()


@pytest.mark.parametrize("values", [[0.5, 1.2], [-0.1], [float("nan")], []])
def test_a_mean_share_refuses_what_is_no_share(values):
    with pytest.raises(DataError):
        mean_share(values)
