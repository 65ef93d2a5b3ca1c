"""Overlap and volume: the course's toys, counts by hand, and what holds where a mask is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics import (
    dice,
    generalised_dice,
    iou,
    mask_precision,
    mask_sensitivity,
    mask_specificity,
    relative_volume_difference,
    soft_dice,
    volume_difference,
)

EYE, TOP, THREE = np.eye(2), np.array([[1, 1], [0, 0]]), np.array([[1, 1], [0, 1]])
NOTHING, SOME = np.zeros((3, 4, 5)), np.zeros((3, 4, 5))
SOME[1, 1, 1:3] = 1


def test_course_toys_of_soft_dice():
    loss = [1 - soft_dice(r, p, smooth=1) for r, p in ((TOP, EYE), (TOP, 0.5 * EYE), (THREE, EYE))]
    near = 1 - soft_dice(THREE, [[1.0, 0.8], [0.0, 1.0]], smooth=1)
    assert [*loss, near] == pytest.approx([0.4, 0.428571, 0.166667, 0.0060241], abs=1e-6)
    assert (loss[1] + near) / 2 == pytest.approx(0.2172978, abs=1e-7)
    with_sums = [soft_dice(r, EYE, squared=False, smooth=1) for r in (TOP, THREE)]
    assert with_sums == pytest.approx([0.6, 0.83333], abs=1e-5)
    assert sum(with_sums) / 2 == pytest.approx(0.716667, abs=1e-6)


def test_course_toys_of_sensitivity_and_specificity():
    assert (float(mask_sensitivity(TOP, EYE)), float(mask_specificity(TOP, EYE))) == (0.5, 0.5)
    assert float(mask_sensitivity(THREE, EYE)) == pytest.approx(0.6667, abs=1e-4)
    assert float(mask_specificity(THREE, EYE)) == 1.0
    truth, found = np.repeat([1, 0, 0, 1], [2, 3, 4, 5]), np.repeat([1, 0, 1, 0], [2, 3, 4, 5])
    assert float(mask_sensitivity(truth, found)) == pytest.approx(0.2857, abs=1e-4)
    assert float(mask_specificity(truth, found)) == pytest.approx(0.4286, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_counts_by_sets(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 4, 5, 6)) < rng.uniform(0.1, 0.9)
    one, two = ({tuple(p) for p in np.argwhere(m)} for m in (a, b))
    assert float(dice(a, b)) == pytest.approx(2 * len(one & two) / (len(one) + len(two)))
    assert float(iou(a, b)) == pytest.approx(len(one & two) / len(one | two))
    assert float(mask_precision(a, b)) == pytest.approx(len(one & two) / len(two))
    assert float(soft_dice(a, b)) == pytest.approx(float(dice(a, b)))
    assert float(relative_volume_difference(a, b)) == pytest.approx((len(two) - len(one)) / len(one))
    assert float(volume_difference(a, b, (3, 2, 0.5))) == pytest.approx((len(two) - len(one)) * 0.003)


def test_empty_masks_follow_the_rule_that_is_named():
    for metric in (dice, iou, soft_dice, generalised_dice):
        assert float(metric(NOTHING, NOTHING)) == 1
        assert math.isnan(metric(NOTHING, NOTHING, empty="omit"))
        for empty in ("metrics_reloaded", "omit", "brats"):
            found = metric(NOTHING, SOME, empty=empty)
            assert float(found) == 0
            assert f"worst value 0 by the rule {empty}" in found.note
            assert float(metric(SOME, NOTHING, empty=empty)) == 0
            assert "both masks empty" in found.method


def test_what_is_not_defined_has_no_value_and_says_why():
    found = mask_sensitivity(NOTHING, SOME)
    assert math.isnan(found)
    assert "the reference mask is empty: nothing could be found" in found.note
    assert math.isnan(mask_precision(SOME, NOTHING))
    assert float(mask_precision(NOTHING, SOME)) == 0
    # A 1 for both empty, and nothing for one, would only ever raise a mean.
    for empty in ("metrics_reloaded", "omit", "brats"):
        assert math.isnan(mask_sensitivity(NOTHING, NOTHING, empty=empty))
        assert math.isnan(mask_precision(NOTHING, NOTHING, empty=empty))
    assert float(mask_specificity(NOTHING, NOTHING, empty="omit")) == 1
    assert math.isnan(mask_specificity(np.ones(3), np.ones(3)))
    assert math.isnan(relative_volume_difference(NOTHING, SOME))
    assert float(relative_volume_difference(NOTHING, NOTHING)) == 0


def test_generalised_dice_weighs_labels():
    truth = np.zeros((4, 10), int)
    truth[0], truth[1, :2] = 1, 2
    found = truth.copy()
    found[1, 1] = 0
    both = {1: (10, 10, 10), 2: (2, 1, 1)}
    for weights, power in (("square", 2), ("simple", 1), ("uniform", 0)):
        top = sum(tp / r**power for r, p, tp in both.values())
        below = sum((r + p) / r**power for r, p, tp in both.values())
        assert float(generalised_dice(truth, found, weights=weights)) == pytest.approx(2 * top / below)
    assert float(generalised_dice(truth, found, labels=[1])) == 1
    # A label that the reference lacks weighs as the smallest it has.
    extra = np.where(np.arange(40).reshape(4, 10) == 39, 3, truth)
    assert float(generalised_dice(truth, extra)) == pytest.approx(2 * (0.1 + 0.5) / (0.2 + 1 + 0.25))


def test_what_cannot_be_masks_is_refused():
    with pytest.raises(DataError, match="neither 0 nor 1"):
        dice([0, 2], [0, 1])
    with pytest.raises(DataError, match="shapes"):
        dice(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(DataError, match="not a known rule"):
        dice([0, 1], [0, 1], empty="best")
    with pytest.raises(DataError, match="no volume"):
        volume_difference(EYE, EYE, (1, 1))
    with pytest.raises(DataError, match="outside"):
        soft_dice(EYE, 2 * EYE)
    with pytest.raises(DataError, match="between 0 and 1"):
        soft_dice(0.5 * EYE, EYE)
    with pytest.raises(DataError, match="smooth"):
        soft_dice(EYE, EYE, smooth=-1)
    with pytest.raises(DataError, match="weights are not known"):
        generalised_dice([[1]], [[1]], weights="cube")
    with pytest.raises(DataError, match="not whole numbers"):
        generalised_dice([[1.5]], [[1.0]])
