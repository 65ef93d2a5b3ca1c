"""Intervals of a proportion against their definitions and scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.proportions import clopper_pearson, proportion, wilson


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
