"""Rubin's rules: what must hold for any estimates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import aimed.metrics
from aimed.core import DataError, NotEstimableError
from aimed.metrics.pooling import pool_rubin, pooled_wald

NUMBER = st.floats(-1e3, 1e3)
VARIANCE = st.floats(1e-3, 1e3)
SETS = st.lists(st.tuples(NUMBER, VARIANCE), min_size=2, max_size=30)


@given(SETS, st.floats(1, 1e6))
def test_what_holds_for_any_estimates(sets, complete):
    Q, U = np.array(sets).T
    found = pool_rubin(Q, U, complete)
    assert found.value == pytest.approx(Q.mean(), abs=1e-9)
    assert found.total >= found.within * (1 - 1e-12)
    assert found.lower <= found.value <= found.upper
    assert 0 <= found.share <= found.fmi + 1e-12
    assert 0 <= found.fmi <= 1
    assert 0 < found.df <= complete
    assert 0 < found.efficiency <= 1
    assert 0 <= found.p <= 1
    assert found.df <= pool_rubin(Q, U).df * (1 + 1e-12)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / found.se, found.df), rel=1e-6, abs=1e-12)


@given(SETS, st.floats(0.1, 10), NUMBER)
def test_a_change_of_unit_changes_nothing_else(sets, factor, shift):
    Q, U = np.array(sets).T
    plain, moved = pool_rubin(Q, U, 50), pool_rubin(factor * Q + shift, factor**2 * U, 50)
    assert moved.se == pytest.approx(factor * plain.se, rel=1e-6)
    assert moved.df == pytest.approx(plain.df, rel=1e-5)
    assert moved.fmi == pytest.approx(plain.fmi, rel=1e-5, abs=1e-7)


def test_sets_that_agree_are_one_complete_analysis():
    found = pool_rubin([0.3] * 4, [0.04] * 4)
    assert (found.between, found.share, found.fmi, found.df, found.efficiency) == (0.0, 0.0, 0.0, np.inf, 1.0)
    assert found.upper == pytest.approx(0.3 + stats.norm.ppf(0.975) * 0.2)
    assert pool_rubin([0.3] * 4, [0.04] * 4, 20).df == pytest.approx(21 / 23 * 20)


def test_arrays_are_pooled_entry_by_entry_and_unknown_ones_stay_so():
    Q, U = np.array([[1.0, 2.0, np.nan], [1.5, 2.0, 1.0]]), np.array([[0.1, 0.0, 0.1], [0.2, 0.0, 0.1]])
    found = pool_rubin(Q, U, 30)
    assert found.value[0] == pool_rubin(Q[:, 0], U[:, 0], 30).value
    assert found.df[0] == pool_rubin(Q[:, 0], U[:, 0], 30).df
    assert np.isnan(found.se[1:]).all()
    assert np.isnan(found.df[1:]).all()


@pytest.mark.parametrize(
    ("estimates", "variances", "complete"),
    [([1.0], [0.1], None), ([1.0, 2.0], [0.1], None), ([1.0, 2.0], [0.1, -0.1], None), ([1.0, 2.0], [0.1, 0.1], 0)],
)
def test_what_cannot_be_pooled_is_refused(estimates, variances, complete):
    with pytest.raises(DataError):
        pool_rubin(estimates, variances, complete)


def test_the_joint_test_of_one_estimate_is_its_own_test():
    Q, U = np.array([0.8, 1.2, 1.0, 0.7, 1.4]), np.array([0.1, 0.12, 0.09, 0.1, 0.11])
    joint, one = pooled_wald(Q[:, None], U[:, None, None]), pool_rubin(Q, U)
    assert joint.statistic == pytest.approx((one.value / one.se) ** 2)
    assert joint.increase == pytest.approx(one.share / (1 - one.share))


def test_the_joint_test_by_hand():
    Q = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    U = np.array([np.diag([2.0, 0.5])] * 4)
    # Ū⁻¹ = diag(1/2, 2); B has 2/3 on its diagonal; r = 5/4 · (1/3 + 4/3) / 2; D1 = (1/2 + 2) / (2 (1 + r)).
    found = pooled_wald(Q, U)
    r = 5 / 4 * (5 / 3) / 2
    assert found.increase == pytest.approx(r)
    assert found.statistic == pytest.approx(2.5 / (2 * (1 + r)))
    assert found.df_error == pytest.approx(4 + 2 * (1 + (1 - 2 / 6) / r) ** 2)
    assert found.p == pytest.approx(stats.f.sf(found.statistic, 2, found.df_error))
    turned = np.array([[1.0, 1.0], [0.0, 3.0]])
    same = pooled_wald(Q @ turned.T, turned @ U @ turned.T)
    assert (same.statistic, same.p) == pytest.approx((found.statistic, found.p))


def test_the_joint_test_keeps_its_level():
    rng = np.random.default_rng(0)
    k, m, n, between = 3, 10, 4000, 0.5
    center = rng.normal(size=(n, k)) * np.sqrt(1 + between)
    Q = center[:, None] + rng.normal(size=(n, m, k)) * np.sqrt(between)
    rejected = np.mean([pooled_wald(q, np.array([np.eye(k)] * m)).p < 0.05 for q in Q])
    assert abs(rejected - 0.05) < 0.012


def test_sets_that_agree_give_the_chi_square_test():
    found = pooled_wald([[1.0, 2.0]] * 3, [np.diag([1.0, 4.0])] * 3)
    assert found.p == pytest.approx(stats.chi2.sf(2.0, 2))


def test_joint_input_that_makes_no_sense():
    with pytest.raises(DataError):
        pooled_wald([[1.0, 2.0]], [np.eye(2)])
    with pytest.raises(DataError):
        pooled_wald([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(DataError, match="finite"):
        pooled_wald([[1.0], [np.nan]], [[[1.0]], [[1.0]]])
    with pytest.raises(NotEstimableError):
        pooled_wald([[1.0, 2.0], [2.0, 1.0]], [np.ones((2, 2))] * 2)


def test_it_is_offered_where_metrics_are():
    assert aimed.metrics.pool_rubin is pool_rubin
    assert aimed.metrics.pooled_wald is pooled_wald
