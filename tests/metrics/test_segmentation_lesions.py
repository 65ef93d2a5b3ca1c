"""Lesions: counted by flooding, paired by trying all pairs, scored by the challenge's recipe written out."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics import (
    froc,
    hd95,
    lesion_dice,
    lesion_f1,
    lesion_precision,
    lesion_sensitivity,
    panoptic_quality,
)
from aimed.metrics.segmentation_lesions import lesion_counts

SEEDS = st.integers(0, 2**32 - 1)


def flood(mask, least=1):
    """Components over faces, edges and corners, as sets of places."""
    left, found = {tuple(int(v) for v in p) for p in np.argwhere(mask)}, []
    while left:
        queue, part = [left.pop()], set()
        while queue:
            place = queue.pop()
            part.add(place)
            near = [q for q in left if max(abs(a - b) for a, b in zip(place, q, strict=True)) <= 1]
            left.difference_update(near)
            queue += near
        if len(part) >= least:
            found.append(part)
    return found


def draw(seed, shape=(4, 6, 7)):
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.02, 0.2)
    a = rng.random(shape) < share
    return a, (a & (rng.random(shape) < 0.7)) | (rng.random(shape) < share / 2)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_lesions_by_overlap(seed, least):
    a, b = draw(seed)
    one, two = flood(a, least), flood(b, least)
    found = sum(any(p & q for q in two) for p in one)
    right = sum(any(p & q for p in one) for q in two)
    counts = lesion_counts(a, b, min_voxels=least)
    assert (counts.found, counts.missed) == (found, len(one) - found)
    assert (counts.right, counts.wrong) == (right, len(two) - right)
    if one and two:
        assert float(lesion_sensitivity(a, b, min_voxels=least)) == pytest.approx(found / len(one))
        assert float(lesion_precision(a, b, min_voxels=least)) == pytest.approx(right / len(two))
        expected = 2 * found / (2 * found + len(one) - found + len(two) - right)
        assert float(lesion_f1(a, b, min_voxels=least)) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.2, 0.5]))
def test_pairs_are_as_many_as_can_be_and_the_best_of_those(seed, limit):
    a, b = draw(seed, (3, 4, 5))
    one, two = flood(a), flood(b)
    small, large = sorted((one, two), key=len)
    if len(large) > 6:
        return
    best = (0, 0.0)
    for order in permutations(range(len(large)), len(small)):
        ratios = [len(p & large[k]) / len(p | large[k]) for p, k in zip(small, order, strict=True)]
        ratios = [r for r in ratios if r > limit]
        best = max(best, (len(ratios), sum(ratios)))
    counts = lesion_counts(a, b, match="iou", iou=limit)
    assert (counts.found, counts.right) == (best[0], best[0])
    assert counts.quality.sum() == pytest.approx(best[1])
    if one and two:
        found = panoptic_quality(a, b, iou=limit)
        assert float(found) == pytest.approx(best[1] / (best[0] + (len(one) + len(two) - 2 * best[0]) / 2))
        if best[0]:
            assert float(found) == pytest.approx(found.segmentation * found.recognition)


def challenge(a, b, spacing, dilation, least):
    """The recipe of the BraTS challenge since 2023, lesion by lesion on whole volumes."""
    near, cube = generate_binary_structure(3, 2), generate_binary_structure(3, 3)
    grown, count = label(binary_dilation(a, near, iterations=dilation), cube)
    lesions, parts = grown * a, label(b, cube)[0]
    seen, rows = set(), []
    for k in range(1, count + 1):
        mine = lesions == k
        around = set(np.unique(parts[binary_dilation(mine, near, iterations=dilation)])) - {0}
        seen |= around
        theirs = np.isin(parts, list(around))
        if mine.sum() * np.prod(spacing) <= least:
            continue
        distance = float(hd95(mine, theirs, spacing, definition="surfel", empty="brats"))
        rows.append((2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()), distance))
    wrong = len(set(np.unique(parts)) - {0} - seen)
    n = len(rows) + wrong
    if n == 0:
        return 1.0, 0.0, wrong, rows
    return sum(r[0] for r in rows) / n, (sum(r[1] for r in rows) + 374 * wrong) / n, wrong, rows


@pytest.mark.parametrize("seed", range(12))
def test_lesion_wise_score_is_that_of_the_challenge(seed):
    rng = np.random.default_rng(seed)
    a, b = np.zeros((2, 14, 26, 24), dtype=bool)
    z, y, x = np.mgrid[:14, :26, :24]
    for _ in range(rng.integers(1, 6)):
        centre, size = rng.uniform(0, (14, 26, 24)), rng.uniform(1, 12)
        a |= (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < size
        if rng.random() < 0.7:
            centre += rng.normal(0, 1, 3)
            b |= (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < size
    b[rng.integers(14), rng.integers(26), rng.integers(24)] = True
    spacing, dilation, least = (1.0, 1.2, 0.9), int(rng.integers(1, 4)), float(rng.choice([0, 5, 20]))
    dice, distance, wrong, rows = challenge(a, b, spacing, dilation, least)
    found = lesion_dice(a, b, spacing, dilation=dilation, min_volume=least)
    assert float(found) == pytest.approx(dice)
    assert found.hd95 == pytest.approx(distance)
    assert (found.wrong, found.found + found.missed) == (wrong, len(rows))
    assert found.dice == pytest.approx([r[0] for r in rows])
    assert found.distance == pytest.approx([r[1] for r in rows])


def test_no_lesions_follow_the_rule_that_is_named():
    nothing, some = np.zeros((3, 5, 5)), np.zeros((3, 5, 5))
    some[1, 1, 1] = 1
    for metric in (lesion_f1, lesion_sensitivity, lesion_precision, panoptic_quality):
        assert float(metric(nothing, nothing)) == 1
        assert math.isnan(float(metric(nothing, nothing, empty="omit")))
    for metric in (lesion_f1, panoptic_quality):
        assert float(metric(nothing, some)) == float(metric(some, nothing)) == 0
    assert math.isnan(lesion_sensitivity(nothing, some))
    assert float(lesion_precision(nothing, some)) == 0
    # What is too small is no lesion.
    assert float(lesion_f1(some, nothing, min_voxels=2)) == 1
    both = lesion_dice(nothing, nothing, (1, 1, 1))
    assert (float(both), both.hd95) == (1.0, 0.0)
    left_out = lesion_dice(some, some, (1, 1, 1))
    assert (float(left_out), left_out.hd95, left_out.wrong) == (1.0, 0.0, 0)
    none = lesion_dice(nothing, nothing, (1, 1, 1), empty="omit")
    assert math.isnan(float(none))
    assert math.isnan(none.hd95)
    made_up = lesion_dice(nothing, some, (1, 1, 1))
    assert (float(made_up), made_up.hd95, made_up.wrong) == (0.0, 374.0, 1)


def literal_froc(references, probabilities, least, rates):
    """Try each threshold: candidates stay those of the least probability, and count from their highest."""
    lesions, peaks = [], []
    for case, (mask, values) in enumerate(zip(references, probabilities, strict=True)):
        candidates = [(max(values[p] for p in part), part) for part in flood(values >= least)]
        truth = flood(mask)
        lesions += [[peak for peak, part in candidates if part & lesion] for lesion in truth]
        peaks += [(case, peak) for peak, part in candidates if not any(part & lesion for lesion in truth)]
    best = np.zeros(len(rates))
    levels = {p for hits in lesions for p in hits} | {p for _, p in peaks}
    for t in levels:
        alarms = sum(p >= t for _, p in peaks) / len(references)
        share = sum(any(p >= t for p in hits) for hits in lesions) / len(lesions)
        best = np.where(alarms <= np.asarray(rates), np.maximum(best, share), best)
    return best


@pytest.mark.parametrize("seed", range(8))
def test_froc_is_that_of_each_threshold_tried(seed):
    rng = np.random.default_rng(seed)
    references = rng.random((9, 3, 5, 5)) < 0.06
    values = np.round(rng.random(references.shape) ** 5 + 0.3 * references * rng.random(references.shape), 1)
    values = np.minimum(values, 1.0)
    rates = (0.0, 0.25, 0.5, 1.0, 2.0)
    found = froc(references, values, least=0.3, false_positives=rates, draws=50)
    assert found.value == pytest.approx(literal_froc(references, values, 0.3, rates))
    assert float(found.average) == pytest.approx(found.value.mean())
    assert (np.diff(found.value) >= 0).all()
    again = froc(list(references), list(values), least=0.3, false_positives=rates, draws=50)
    assert np.array_equal(found.lower, again.lower, equal_nan=True)


def test_froc_draws_patients_together():
    rng = np.random.default_rng(2)
    references = np.zeros((40, 1, 5, 5))
    references[:, 0, 1, 1] = 1
    values = references * rng.choice([0.2, 0.9], 40)[:, None, None, None]
    values[:, 0, 4, 4] = rng.random(40)
    alone = froc(references, values, false_positives=(0.2,), draws=300)
    copies = froc(
        np.tile(references, (2, 1, 1, 1)),
        np.tile(values, (2, 1, 1, 1)),
        false_positives=(0.2,),
        draws=300,
        patient=np.tile(np.arange(40), 2),
    )
    assert copies.lower == pytest.approx(alone.lower)
    assert copies.method.startswith("percentile bootstrap of patients with all their cases")


def test_what_cannot_be_a_curve_is_refused():
    masks = np.zeros((3, 1, 4, 4))
    masks[0, 0, 1, 1] = 1
    with pytest.raises(NotEstimableError, match="no case has a lesion"):
        froc(0 * masks, 0 * masks)
    wrong = 0.5 * masks
    wrong[1, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 of 16 values outside"):
        froc(masks, wrong)
    with pytest.raises(DataError, match="one of each a case"):
        froc(masks, masks[:2])
    with pytest.raises(DataError, match="do not increase"):
        froc(masks, masks, false_positives=(1.0, 0.5))
    with pytest.raises(DataError, match="least"):
        froc(masks, masks, least=0.0)
    with pytest.raises(DataError, match="shapes"):
        froc(masks, masks[:, :, :3])
    for options in ({"match": "any"}, {"iou": 1.0}, {"min_voxels": 0}):
        with pytest.raises(DataError):
            lesion_counts(masks[0], masks[0], **options)
    with pytest.raises(DataError, match="negative"):
        lesion_dice(masks[0], masks[0], (1, 1, 1), dilation=-1)
