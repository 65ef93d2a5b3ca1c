"""Binary measures against brute force, scikit-learn and their own algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.binary import auprc, auroc, brier, confusion, log_loss, scaled_brier, threshold_table
from aimed.metrics.delong import delong, delong_test
from aimed.metrics.proportions import wilson

CASES = st.integers(0, 2**32 - 1)


def draw(seed, n=60, levels=15):
    rng = np.random.default_rng(seed)
    risk = rng.integers(1, levels, n) / levels
    y = (rng.random(n) < risk).astype(int)
    y[:2] = 0, 1
    return y, risk, rng.integers(0, 4, n).astype(float)


def pairs(y, risk):
    cases, controls = risk[y == 1], risk[y == 0]
    difference = cases[:, None] - controls[None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


@given(CASES)
@settings(max_examples=60, deadline=None)
def test_auroc_equals_all_pairs_and_the_peer(seed):
    y, risk, _ = draw(seed)
    assert auroc(y, risk) == pytest.approx(pairs(y, risk), abs=1e-14)
    assert auroc(y, risk) == pytest.approx(peer.roc_auc_score(y, risk), abs=1e-12)


@given(CASES)
@settings(max_examples=60, deadline=None)
def test_auroc_keeps_its_value_under_a_rising_map_and_turns_over_under_a_falling_one(seed):
    y, risk, w = draw(seed)
    w[:2] = 1
    assert auroc(y, np.exp(3 * risk), w) == auroc(y, risk, w)
    assert auroc(y, -risk, w) == pytest.approx(1 - auroc(y, risk, w), abs=1e-14)
    assert auroc(1 - y, risk, w) == pytest.approx(1 - auroc(y, risk, w), abs=1e-14)


@given(CASES)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("metric", [auroc, auprc, brier, scaled_brier, log_loss])
def test_whole_number_weights_equal_repeated_rows(metric, seed):
    y, risk, w = draw(seed)
    w[:2] = 1
    again = np.repeat(np.arange(y.size), w.astype(int))
    assert metric(y, risk, w) == pytest.approx(metric(y[again], risk[again]), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_proper_scores_equal_the_peer(seed):
    y, risk, w = draw(seed, 200)
    w[:2] = 1
    assert auprc(y, risk, w) == pytest.approx(peer.average_precision_score(y, risk, sample_weight=w), abs=1e-12)
    assert brier(y, risk, w) == pytest.approx(peer.brier_score_loss(y, risk, sample_weight=w), abs=1e-12)
    assert log_loss(y, risk, w) == pytest.approx(peer.log_loss(y, risk, sample_weight=w), abs=1e-12)
    assert scaled_brier(y, np.full(y.size, y.mean())) == pytest.approx(0, abs=1e-12)


def test_certain_and_wrong_has_a_finite_log_loss():
    assert 30 < log_loss([1], [0.0]) < 40


@pytest.mark.parametrize("metric", [auroc, scaled_brier, delong])
def test_one_class_is_refused(metric):
    with pytest.raises(NotEstimableError):
        metric([1, 1, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("y", "risk"), [([0, 2], [0.1, 0.2]), ([0, 1], [0.1, 1.2]), ([0, 1], [0.1]), ([0, 1], [0.1, np.nan]), ([], [])]
)
def test_unfit_arrays_are_refused_without_showing_a_value(y, risk):
    with pytest.raises(DataError) as caught:
        brier(y, risk)
    assert "1.2" not in str(caught.value)


def test_a_risk_at_the_threshold_counts_as_positive():
    table = confusion([1, 0, 1], [0.5, 0.5, 0.4], 0.5)
    assert (table.tp, table.fp, table.fn, table.tn) == (1, 1, 1, 0)


def test_threshold_table_holds_together():
    y, risk, _ = draw(3, 300)
    for row in threshold_table(y, risk, [0.2, 0.5, 0.99]):
        assert row["tp"] + row["fn"] == y.sum()
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == y.size
        assert sum(row["per_1000"].values()) == pytest.approx(1000)
        if row["tp"] + row["fp"]:
            assert row["ppv"] == pytest.approx(peer.precision_score(y, risk >= row["threshold"]))
            assert row["f1"] == pytest.approx(peer.f1_score(y, risk >= row["threshold"]))
            assert row["lr_positive"] == pytest.approx(row["sensitivity"] / (1 - row["specificity"]))
        else:
            assert row["ppv"] is None


def test_delong_is_the_auroc_with_the_variance_of_all_pairs():
    y, risk, _ = draw(1, 80)
    cases, controls = risk[y == 1], risk[y == 0]
    kernel = (cases[:, None] > controls) + 0.5 * (cases[:, None] == controls)
    variance = kernel.mean(1).var(ddof=1) / cases.size + kernel.mean(0).var(ddof=1) / controls.size
    found = delong(y, risk)
    assert found.auroc == pytest.approx(auroc(y, risk))
    assert found.variance == pytest.approx(variance)


def test_delong_refuses_to_compare_a_risk_with_itself():
    y, risk, _ = draw(1, 80)
    with pytest.raises(NotEstimableError):
        delong_test(y, risk, risk**2)


@given(st.integers(0, 50), st.integers(1, 50))
@settings(deadline=None)
def test_wilson_holds_the_share_and_stays_in_the_unit_interval(k, extra):
    n = k + extra - 1 or 1
    lower, upper = wilson(min(k, n), n)
    assert 0 <= lower <= min(k, n) / n <= upper <= 1
