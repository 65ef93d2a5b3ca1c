"""Label noise against tables counted by hand, known rates that come back, and what few rows may not say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics.label_noise import ENOUGH, STRENGTH, VERDICTS, label_noise, silver_values
from aimed.metrics.proportions import wilson

NAN = math.nan


def reports(y, missed, overcalled, uncertain=0.0, unsaid=0.0, seed=0):
    """Return what reports say of findings that are there or not, with errors at known rates."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(y.shape) < np.where(y == 1, missed, overcalled)
    said = np.where(wrong, 1 - y, y).astype(float)
    said[(said == 0) & (rng.random(y.shape) < unsaid)] = NAN
    said[rng.random(y.shape) < uncertain] = -1.0
    return said


def test_a_table_counted_by_hand():
    gold = [1] * 24 + [0] * 30 + [NAN] * 5
    said = [1] * 12 + [0] * 4 + [-1] * 3 + [NAN] * 5 + [1] * 3 + [0] * 20 + [-1] * 1 + [NAN] * 6 + [1] * 5
    one = label_noise(gold, said, names=["edema"]).findings[0]
    assert VERDICTS == ("positive", "negative", "uncertain", "not_mentioned")
    assert one.table.tolist() == [[3, 12], [20, 4], [1, 3], [6, 5]]
    # Uncertain mentions stand for nothing, silence for absent.
    assert (one.n, one.sensitivity.n, one.specificity.n) == (50, 21, 29)
    assert float(one.sensitivity) == pytest.approx(12 / 21)
    assert (one.sensitivity.lower, one.sensitivity.upper) == pytest.approx(wilson(12, 21))
    assert float(one.specificity) == pytest.approx(26 / 29)
    assert float(one.ppv) == pytest.approx(12 / 15)
    assert float(one.npv) == pytest.approx(26 / 35)
    po, pe = 38 / 50, (21 * 15 + 29 * 35) / 2500
    assert float(one.kappa) == pytest.approx((po - pe) / (1 - pe))
    other = label_noise(gold, said, uncertain="ones", not_mentioned="ignore").findings[0]
    assert float(other.sensitivity) == pytest.approx(15 / 19)
    assert float(other.specificity) == pytest.approx(20 / 24)
    assert label_noise(gold, said, uncertain="zeros").findings[0].n == 54


def test_rows_without_a_report_say_nothing():
    gold, said = np.tile([1.0, 0.0], 30), np.tile([1.0, NAN], 30)
    read = np.arange(60) < 40
    found = label_noise(gold, said, read=read)
    assert found.rows == 40
    assert found.findings[0].table.sum() == 40
    values = silver_values(said, read=read)
    assert np.isnan(values[40:]).all()
    assert not np.isnan(values[:40]).any()
    assert np.isnan(found.soft(said, read)[40:]).all()


def test_intervals_hold_the_rates_that_made_the_labels():
    """Of 300 gold samples the 95 % intervals hold sensitivity and specificity about as often as they say."""
    inside = np.zeros(2)
    for seed in range(300):
        y = (np.random.default_rng(seed).random((150, 1)) < 0.4).astype(int)
        one = label_noise(y, reports(y, 0.35, 0.06, seed=seed + 999)).findings[0]
        inside += [one.sensitivity.lower <= 0.65 <= one.sensitivity.upper,
                   one.specificity.lower <= 0.94 <= one.specificity.upper]  # fmt: skip
    assert (inside / 300 > 0.92).all()


def test_pictures_of_one_patient_are_not_independent():
    y = np.tile([[1.0], [0.0]], (30, 1))
    said = reports(y, 0.3, 0.1, seed=3)
    alone = label_noise(y, said).findings[0]
    twice = label_noise(np.repeat(y, 3, axis=0), np.repeat(said, 3, axis=0), patient=np.repeat(np.arange(60), 3))
    same = twice.findings[0]
    assert float(same.sensitivity) == pytest.approx(float(alone.sensitivity))
    naive = label_noise(np.repeat(y, 3, axis=0), np.repeat(said, 3, axis=0)).findings[0]
    width = [one.sensitivity.upper - one.sensitivity.lower for one in (naive, alone, same)]
    assert width[0] < 0.8 * width[1]
    assert width[2] == pytest.approx(width[1], rel=0.1)
    assert (twice.rows, twice.patients) == (180, 60)


def test_few_rows_lean_on_the_other_findings():
    rng = np.random.default_rng(1)
    y = (rng.random((900, 2)) < 0.5).astype(float)
    y[6:, 1] = NAN
    said = reports(np.nan_to_num(y), 0.4, 0.1, seed=2)
    found = label_noise(y, said)
    own, lean = found.flips
    large = found.findings[0]
    assert own[1] == pytest.approx(1 - float(large.sensitivity), abs=0.01)
    assert own[0] == pytest.approx(1 - float(large.specificity), abs=0.01)
    few = found.findings[1]
    assert not few.enough
    assert "not enough evidence" in few.sensitivity.note
    assert few.tells is None
    assert math.isnan(few.kappa)
    # Six rows against a prior of five: half way.
    k, n = few.table[:, 1][[1, 3]].sum(), few.table[:, 1].sum()
    both = found.findings[0].table[:, 1][[1, 3]].sum() + k, found.findings[0].table[:, 1].sum() + n
    pooled = (both[0] + 0.5) / (both[1] + 1)
    assert lean[1] == pytest.approx((k + STRENGTH * pooled) / (n + STRENGTH))


def test_chances_after_a_verdict_are_predictive_values_where_rows_are_many():
    y = (np.random.default_rng(4).random((20000, 2)) < [0.3, 0.1]).astype(int)
    said = reports(y, 0.35, 0.05, uncertain=0.1, unsaid=0.4, seed=5)
    found = label_noise(y, said)
    for j, one in enumerate(found.findings):
        for row, chance in zip(one.table, found.chances[j], strict=True):
            assert chance == pytest.approx(row[1] / row.sum(), abs=0.005)
    soft = found.soft(said)
    assert np.ptp(soft[said[:, 0] == 1, 0]) == 0
    # Whoever believes the chances counts as many cases as there are.
    np.testing.assert_allclose(soft.mean(axis=0), y.mean(axis=0), atol=0.005)


def test_labels_that_say_nothing_are_told_and_leave_something_to_correct():
    rng = np.random.default_rng(6)
    y = (rng.random((400, 1)) < 0.5).astype(float)
    found = label_noise(y, (rng.random((400, 1)) < 0.5).astype(float))
    assert found.findings[0].tells is False
    assert found.flips.sum() == pytest.approx(0.9)
    assert label_noise(y, reports(y, 0.2, 0.1)).findings[0].tells is True


def test_without_any_gold_label_nothing_is_known():
    found = label_noise([[NAN], [NAN]], [[1], [0]])
    assert (found.rows, found.patients) == (0, 0)
    assert np.isnan(found.flips).all()
    assert np.isnan(found.chances).all()
    record = found.findings[0].to_record()
    assert record["state"] == "not enough evidence"
    assert record["flips"] == {"false_positive": None, "false_negative": None}
    assert record["measures"]["sensitivity"]["value"] is None
    assert f"{ENOUGH} are the least" in record["measures"]["sensitivity"]["note"]


@pytest.mark.parametrize(
    ("gold", "said", "more", "match"),
    [
        ([[1], [-1]], [[1], [0]], {}, "of gold are something else"),
        ([[1], [0]], [[1], [2]], {}, "of said are something else"),
        ([[1], [0]], [[1]], {}, "said has shape"),
        ([["x"]], [[1]], {}, "no number"),
        ([[1], [0]], [[1], [0]], {"uncertain": "maybe"}, "uncertain = 'maybe'"),
        ([[1], [0]], [[1], [0]], {"not_mentioned": "ones"}, "not_mentioned = 'ones'"),
        ([[1], [0]], [[1], [0]], {"names": ["a", "b"]}, "names"),
        ([[1], [0]], [[1], [0]], {"read": [True]}, "read has shape"),
    ],
)
def test_what_cannot_be_is_said(gold, said, more, match):
    with pytest.raises(DataError, match=match):
        label_noise(gold, said, **more)
