"""The diagnosis of a fit: which gap is named when, what it advises, and parts that are or are not alike."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError
from aimed.fit.diagnose_fit import diagnose_fit, mismatch_test
from aimed.metrics.result import Estimate


def score(value, se=0.005, n=500):
    return Estimate.normal(value, se, name="auroc", n=n)


@pytest.mark.parametrize(
    ("train", "tune", "first", "words"),
    [
        (0.80, 0.79, "bias", "larger network"),
        (0.97, 0.85, "variance", "more training patients"),
        (0.85, 0.70, "variance", "more training patients"),
    ],
)
def test_the_largest_gap_comes_first(train, tune, first, words):
    found = diagnose_fit(score(train), score(tune), target=score(0.95), target_name="two readers")
    assert found.gaps[0].kind == first
    assert found.gaps[0].verdict == "present"
    assert words in found.gaps[0].advice
    assert found.summary.startswith(f"Work on {first} first: ")
    json.dumps(found.to_state(), allow_nan=False)


def test_intervals_decide():
    wide = diagnose_fit(score(0.9, 0.05, 40), score(0.86, 0.05, 40), target=0.92)
    assert {gap.verdict for gap in wide.gaps} == {"not enough evidence"}
    assert wide.summary.startswith("No gap is proven")
    small = diagnose_fit(score(0.94, 0.001), score(0.938, 0.001), target=0.945)
    assert {gap.verdict for gap in small.gaps} == {"small"}
    assert all(gap.advice == "" for gap in small.gaps)
    gap = diagnose_fit(score(0.9, 0.03), score(0.8, 0.04), target=0.9)["variance"]
    np.testing.assert_allclose(gap.size.se, 0.05)
    np.testing.assert_allclose(
        [gap.size.lower, gap.size.upper], [0.1 - 1.95996 * 0.05, 0.1 + 1.95996 * 0.05], atol=1e-4
    )


def test_what_is_not_known_is_said():
    found = diagnose_fit(score(0.9), score(0.8))
    assert found["bias"].verdict == "not enough evidence"
    assert "takes a target" in found["bias"].sentence
    bare = diagnose_fit(Estimate(0.9, name="auroc"), Estimate(0.7, name="auroc"), target=0.95)
    assert bare["variance"].verdict == "not enough evidence"
    assert "no interval" in bare["variance"].sentence
    missing = diagnose_fit(score(0.9), score(0.8), mismatch=Estimate(math.nan, name="auroc", note="too few patients"))
    assert "too few patients" in missing["mismatch"].sentence


def test_a_used_up_tune_part_and_unlike_parts():
    found = diagnose_fit(score(0.9), score(0.89), target=0.9, test=score(0.8), mismatch=score(0.8))
    assert found["tune overfitted"].verdict == "present"
    assert found["mismatch"].verdict == "present"
    assert "told apart with AUROC 0.800" in found["mismatch"].sentence
    assert [gap.verdict for gap in found.gaps][:2] == ["present"] * 2
    assert set(found.scores) == {"train", "tune", "test"}


def test_no_false_alarm_in_many_draws():
    rng = np.random.default_rng(0)
    alarms = 0
    for seed in range(25):
        x = rng.normal(size=(60, 10)).repeat(3, axis=0) + 0.1 * rng.normal(size=(180, 10))
        patient = np.repeat(np.arange(60), 3)
        found = mismatch_test(x[:120], x[120:], patient[:120], patient[120:], seed=seed)
        alarms += found.lower > 0.5
    assert alarms <= 2


def test_parts_that_are_too_small():
    with pytest.raises(NotEstimableError, match="fewer than 10 patients"):
        mismatch_test(np.zeros((50, 3)), np.zeros((50, 3)), np.arange(50), np.zeros(50, dtype=int))
    with pytest.raises(DataError, match="same columns"):
        mismatch_test(np.zeros((50, 3)), np.zeros((50, 4)))
