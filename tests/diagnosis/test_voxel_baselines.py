"""The baselines of outlines: they find what can be seen, repeat bit for bit and name what they cannot use."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.diagnosis.component_rules import ComponentRule
from aimed.diagnosis.segmentation_head import SegmentationHead
from aimed.diagnosis.volume_scaling import VolumeScaling
from aimed.diagnosis.voxel_baselines import ThresholdBaseline, VoxelBaseline

HEAD = SegmentationHead.of_regions({"whole": (1, 2), "core": 2})
BOTH = (ThresholdBaseline, VoxelBaseline)


def heads(n=5, size=20, seed=0, specks=0):
    """Return heads with a bright ball that holds a smaller one, dark in the second contrast, and their labels."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[:size, :size, :size]).astype(float)
    scans, masks = [], []
    for _ in range(n):
        far = np.sqrt(((at - rng.uniform(0.42, 0.58, (3, 1, 1, 1)) * size) ** 2).sum(0))
        radius = rng.uniform(0.2, 0.3) * size
        mask = (far < radius).astype(np.uint8) + (far < 0.6 * radius)
        head = np.sqrt(((at - size / 2 + 0.5) ** 2).sum(0)) < 0.48 * size
        scan = rng.normal(100, 5, (2, size, size, size))
        scan[0] += 60 * (mask > 0)
        scan[1] -= 60 * (mask == 2)
        for _ in range(specks):
            z, y, x = rng.integers(4, size - 4, 3)
            scan[0, z, y, x] = 160
        scans.append((scan * head).astype(np.float16))
        masks.append((mask * head).astype(np.uint8))
    return scans, masks


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def data():
    return heads()


def same(a, b):
    fields = ("weight", "cut", "dice") if hasattr(a, "weight") else ("channel", "above", "step", "dice")
    return a.pieces == b.pieces and all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)


@pytest.mark.parametrize("kind", BOTH)
def test_they_find_what_can_be_seen(data, kind):
    model = kind().fit(*data, HEAD, seed=3)
    scans, masks = heads(3, seed=9)
    for scan, mask in zip(scans, masks, strict=True):
        found = model.masks_of(scan)
        assert found.dtype == bool
        assert found.shape == (2, *mask.shape)
        assert min(dice(found[0], mask > 0), dice(found[1], mask == 2)) > 0.97
        assert not found[:, scan[0] == 0].any()
    assert all(rule.dice > 0.97 for rule in model.rules_)


def test_the_threshold_is_the_best_of_all_by_brute_force(data):
    model = ThresholdBaseline().fit(*data, HEAD)
    whole, core = model.rules_
    assert (whole.channel, whole.above, core.channel, core.above) == (0, True, 1, False)
    assert core.in_words(["FLAIR", "T2w"]) == f"T2w below {core.threshold:.2f} standard deviations"
    scaling, best = VolumeScaling(), 0.0
    greys = [scaling.scaled(scan, scaling.numbers(scan)) for scan in data[0]]
    for channel in (0, 1):
        for cut in np.arange(-4, 10, 0.02):
            for sign in (1, -1):
                found = [
                    (sign * g[channel] >= sign * cut) & (s != 0).any(0) for g, s in zip(greys, data[0], strict=True)
                ]
                scores = [dice(f, m == 2) for f, m in zip(found, data[1], strict=True)]
                best = max(best, float(np.mean(scores)))
    assert core.dice == pytest.approx(best, abs=2e-3)
    measured = np.mean([dice(model.masks_of(s)[1], m == 2) for s, m in zip(*data, strict=True)])
    assert core.dice == pytest.approx(measured, abs=1e-12)


@pytest.mark.parametrize("kind", BOTH)
def test_the_same_seed_gives_the_same_bits_whatever_the_threads(data, kind):
    one, two = clone(kind()).fit(*data, HEAD, seed=4), kind().fit(*data, HEAD, seed=4)
    with threadpool_limits(limits=1):
        three = kind().fit(*data, HEAD, seed=4)
    for other in (two, three):
        assert all(same(a, b) for a, b in zip(one.rules_, other.rules_, strict=True))
        assert np.array_equal(one.masks_of(data[0][0]), other.masks_of(data[0][0]))


def test_another_seed_draws_other_voxels(data):
    one, two = (VoxelBaseline(voxels=200).fit(*data, HEAD, seed=seed) for seed in (0, 1))
    assert not same(one.rules_[0], two.rules_[0])


def test_the_largest_piece_is_kept_where_that_helps(data):
    scans, masks = heads(5, seed=2, specks=40)
    model = ThresholdBaseline().fit(scans, masks, HEAD)
    assert model.rules_[0].pieces == ComponentRule(largest=True)
    assert model.rules_[0].in_words().endswith(", the largest piece")
    assert ThresholdBaseline().fit(*data, HEAD).rules_[0].pieces == ComponentRule()


def test_greys_of_other_units_change_nothing(data):
    for kind in BOTH:
        model = kind().fit(*data, HEAD)
        scan = data[0][0].astype(np.float32)
        brighter = np.where(scan != 0, 7 * scan + 50, 0)
        assert (model.masks_of(scan) != model.masks_of(brighter)).mean() < 1e-3


def test_what_nobody_looked_at_does_not_count():
    scans, masks = heads(4)
    # A bright part of the head that would spoil every threshold, and is not known.
    blinded = [mask.copy() for mask in masks]
    for scan, mask in zip(scans, blinded, strict=True):
        scan[0, :7] *= 2
        mask[:7] = 255
    for kind in BOTH:
        model = kind().fit(scans, blinded, HEAD)
        found = model.masks_of(scans[0])
        assert dice(found[0][7:], (masks[0] > 0)[7:]) > 0.9


def test_windowed_greys_of_ct(data):
    scans = [np.where(s[:1] != 0, s[:1].astype(np.float32) - 60, -1000.0) for s in data[0]]
    scaling = VolumeScaling(kind="window", low=-100, high=200)
    for kind in BOTH:
        model = kind(scaling=scaling).fit(scans, [(m > 0).astype(np.uint8) for m in data[1]],
                                          SegmentationHead.of_regions({"whole": 1}))  # fmt: skip
        assert dice(model.masks_of(scans[1])[0], data[1][1] > 0) > 0.97


def test_labels_that_exclude_each_other_do_not_overlap(data):
    model = VoxelBaseline().fit(*data, SegmentationHead.of_labels({"rim": 1, "core": 2}))
    found = model.masks_of(data[0][0])
    assert not found.all(axis=0).any()
    assert dice(found[0], data[1][0] == 1) > 0.9


def test_more_scans_than_are_looked_at(data):
    masks = [np.where(m == 2, 1, m).astype(np.uint8) for m in data[1][:-1]] + [data[1][-1]]
    model = ThresholdBaseline(most_scans=1).fit(data[0], masks, HEAD, seed=0)
    # The one scan with the second region is among them.
    assert model.rules_[1].dice > 0.9


@pytest.mark.parametrize("kind", BOTH)
def test_what_cannot_be_used_is_named(data, kind):
    scans, masks = data
    with pytest.raises(DataError, match="2 scans and 1 masks"):
        kind().fit(scans[:2], masks[:1], HEAD)
    with pytest.raises(DataError, match="0 scans"):
        kind().fit([], [], HEAD)
    with pytest.raises(NotEstimableError, match="'core' is in no training scan"):
        kind().fit(scans[:2], [np.minimum(m, 1) for m in masks[:2]], HEAD)
    with pytest.raises(DataError, match="labels that no region holds: 9"):
        kind().fit(scans[:1], [np.where(masks[0] == 2, 9, masks[0]).astype(np.uint8)], HEAD)
    with pytest.raises(DataError, match="one grid for both"):
        kind().fit(scans[:1], [masks[0][:-1]], HEAD)
    with pytest.raises(DataError, match="channel 2 is empty"):
        kind().fit([scans[0] * np.array([1, 0], dtype=np.float16).reshape(2, 1, 1, 1)], masks[:1], HEAD)
    with pytest.raises(DataError, match="NaN or infinite"):
        kind().fit([np.where(scans[0] == scans[0].max(), np.nan, scans[0])], masks[:1], HEAD)
    with pytest.raises(NotFittedError):
        kind().masks_of(scans[0])
    model = kind().fit(*data, HEAD)
    for wrong in (scans[0][:1], scans[0][0]):
        with pytest.raises(DataError, match="with 2 channels"):
            model.masks_of(wrong)


def test_parameters_and_regions_that_leave_nothing_to_learn(data):
    with pytest.raises(StudyFileError, match="voxels"):
        VoxelBaseline(voxels=1).fit(*data, HEAD)
    with pytest.raises(StudyFileError, match="length"):
        VoxelBaseline(spacing=(1, 0, 1)).fit(*data, HEAD)
    head = SegmentationHead.of_regions({"all": 1})
    body = [(s != 0).any(axis=0).astype(np.uint8) for s in data[0]]
    with pytest.raises(NotEstimableError, match="'all' fills the body"):
        VoxelBaseline().fit(data[0], body, head)
    with pytest.raises(NotEstimableError, match="'all' lies outside"):
        VoxelBaseline().fit(data[0], [1 - b for b in body], head)


@pytest.mark.slow
def test_fifty_scans_of_64_voxels_a_side_take_seconds():
    scans, masks = heads(50, size=64)
    start = time.perf_counter()
    for kind in BOTH:
        kind().fit(scans, masks, HEAD)
    assert time.perf_counter() - start < 30
