"""Sub-volumes: the reference rule, the ratio, one seed one cut, scaling over the head, changes that move both alike."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.core import DataError, StudyFileError  # noqa: E402
from aimed.diagnosis.patches import Patches, PatchRule, label_places, scans_digest, sub_volume_corner  # noqa: E402
from aimed.diagnosis.segmentation_head import SegmentationHead  # noqa: E402
from aimed.diagnosis.volume_augmentation import VolumeAugmentation  # noqa: E402
from aimed.diagnosis.volume_scaling import VolumeScaling  # noqa: E402

REGIONS = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": 3}
HEAD = SegmentationHead.of_regions(REGIONS)


def case(seed=0, shape=(20, 24, 22), channels=2):
    """Return a head with a ball of label 1 that holds one of label 3, shape (c, z, y, x) and (z, y, x)."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[tuple(slice(0, n) for n in shape)]).astype(float)
    centre = np.array(shape)[:, None, None, None] * (0.5 + rng.uniform(-0.1, 0.1, (3, 1, 1, 1)))
    far = np.sqrt(((at - centre) ** 2).sum(0))
    mask = np.zeros(shape, dtype=np.uint8)
    mask[far < 5], mask[far < 3] = 1, 3
    size = np.array(shape)[:, None, None, None]
    head = (((at - size / 2) / size) ** 2).sum(0) < 0.25
    scan = rng.normal(200, 20, (channels, *shape)) + 80 * (mask > 0) + 60 * (mask == 3)
    return (scan * head).astype(np.float32), mask * head


def patches(rule=None, n=3, **more):
    scans, masks = zip(*(case(seed) for seed in range(n)), strict=True)
    rule = PatchRule(size=(8, 8, 8)) if rule is None else rule
    return Patches(scans, masks, rule, HEAD, VolumeScaling(), **more)


@pytest.mark.parametrize("limit", [0.95, 0.7])
def test_the_reference_rule_keeps_its_limit_and_tells_when_it_cannot(limit):
    _, mask = case()
    for seed in range(20):
        corner, share = sub_volume_corner(mask, (8, 8, 8), np.random.default_rng(seed), limit)
        part = mask[tuple(slice(c, c + 8) for c in corner)]
        assert share == pytest.approx((part == 0).mean())
        assert share < limit
    _, share = sub_volume_corner(np.zeros_like(mask), (8, 8, 8), np.random.default_rng(0), limit, tries=5)
    assert share == 1.0
    mask[mask > 0] = 255
    assert sub_volume_corner(mask, (8, 8, 8), np.random.default_rng(0), limit, tries=50)[1] == 1.0


def test_the_first_try_that_keeps_the_limit_is_taken():
    _, mask = case()
    rng, plain = np.random.default_rng(4), np.random.default_rng(4)
    corner, _ = sub_volume_corner(mask, (8, 8, 8), rng, 0.9)
    for _ in range(1000):
        wanted = tuple(int(plain.integers(0, n - 8 + 1)) for n in mask.shape)
        if (mask[tuple(slice(c, c + 8) for c in wanted)] == 0).mean() < 0.9:
            break
    assert corner == wanted


def test_places_of_labels():
    _, mask = case()
    found = label_places(mask)
    assert sorted(found) == [1, 3]
    for label, places in found.items():
        np.testing.assert_array_equal(places, np.flatnonzero(mask.ravel() == label))
    thin = label_places(mask, most=10)
    assert all(places.size == 10 and (mask.ravel()[places] == label).all() for label, places in thin.items())


@pytest.mark.parametrize(("positive", "negative"), [(1, 0), (1, 1), (1, 3)])
def test_the_ratio_of_sub_volumes_on_a_label(positive, negative):
    rule = PatchRule(size=(1, 1, 1), positive=positive, negative=negative)
    data = patches(rule, each=200)
    _, target = data.__getitems__(range(len(data)))
    hit = target[:, 0, 0, 0, 0].nan_to_num().mean().item()
    base = np.mean([(mask > 0).mean() for mask in data.masks])
    share = positive / (positive + negative)
    assert hit == pytest.approx(share + (1 - share) * base, abs=0.06)
    # Labels are drawn before voxels: the small one is not lost beside the wide one.
    rare = target[:, 2, 0, 0, 0].nan_to_num().mean().item()
    assert rare == pytest.approx(0.5 * share, abs=0.08)


def test_a_sub_volume_depends_on_seed_epoch_and_row_alone():
    change = VolumeAugmentation.brain(turned=1.0, often=1.0)
    data, again, other = patches(change=change), patches(change=change), patches(change=change, seed=1)
    first, second = data.__getitems__([0, 4]), again.__getitems__([4, 0])
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.nan_to_num(7), b.flip(0).nan_to_num(7))
    assert not torch.equal(first[0], other.__getitems__([0, 4])[0])
    data.set_epoch(1)
    assert not torch.equal(first[0], data.__getitems__([0, 4])[0])
    fixed = patches(fixed=True)
    before = fixed.__getitems__([0])[0]
    fixed.set_epoch(5)
    assert torch.equal(before, fixed.__getitems__([0])[0])


@pytest.mark.parametrize("how", ["foreground", "background_limit", "random"])
def test_what_is_cut_is_what_is_there(how):
    data = patches(PatchRule(size=(8, 9, 7), how=how), each=4)
    for row in range(len(data)):
        place = row % 3
        z, y, x = data.corner(place, np.random.default_rng((0, 0, row)))
        volume, target = data.patch(row)
        inside = (slice(z, z + 8), slice(y, y + 9), slice(x, x + 7))
        scan = data.scans[place]
        scaled = np.zeros_like(scan)
        for c in range(2):
            seen = scan[c] != 0
            scaled[c][seen] = (scan[c][seen] - scan[c][seen].mean()) / scan[c][seen].std()
        np.testing.assert_allclose(volume, scaled[(slice(None), *inside)], atol=2e-5)
        np.testing.assert_array_equal(target, HEAD.target(data.masks[place][inside]))


def test_a_memory_map_gives_the_same_bits(tmp_path):
    plain = patches()
    for i, scan in enumerate(plain.scans):
        np.save(tmp_path / f"{i}.npy", scan)
    mapped = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(3)]
    data = Patches(mapped, plain.masks, plain.rule, HEAD, VolumeScaling())
    assert torch.equal(plain.__getitems__([0, 1, 2])[0], data.__getitems__([0, 1, 2])[0])
    assert scans_digest(mapped, plain.masks) == scans_digest(plain.scans, plain.masks)


def test_a_scan_that_is_smaller_than_the_sub_volume():
    data = patches(PatchRule(size=(32, 8, 8)))
    volume, target = data.patch(0)
    outside = torch.isnan(target[0]).all(dim=(1, 2))
    assert outside.sum() == 12
    assert (volume[:, outside] == 0).all()
    assert not torch.isnan(volume).any()


def test_mirrors_move_scan_and_mask_alike_and_nothing_is_mirrored_unasked():
    still = {"rotation": 0.0, "scale": 0.0, "contrast": 0.0, "brightness": 0.0, "gamma": 0.0, "bias": 0.0, "noise": 0.0}
    plain, same = patches(each=8), patches(each=8, change=VolumeAugmentation(**still))
    flipped = patches(each=8, change=VolumeAugmentation.brain(**still))
    counts = [0, 0]
    for row in range(24):
        (x, y), (kept, _), (mirrored, told) = (data.patch(row) for data in (plain, same, flipped))
        torch.testing.assert_close(kept, x)
        turned = not torch.allclose(mirrored, x)
        counts[turned] += 1
        torch.testing.assert_close(mirrored, x.flip(3) if turned else x)
        assert torch.equal(told, y.flip(3) if turned else y)
    assert min(counts) > 5
    assert VolumeAugmentation().mirror == ()


def test_a_turn_keeps_outlines_on_what_they_outline():
    _, mask = case(channels=1, shape=(32, 32, 32))
    bright = (mask > 0).astype(np.float32)[None] * 100 + 1
    turn = VolumeAugmentation(
        rotation=30, scale=0.2, turned=1.0, contrast=0, brightness=0, gamma=0, bias=0, noise=0
    )  # fmt: skip
    data = Patches([bright], [mask], PatchRule(size=(16, 16, 16)), HEAD, VolumeScaling(), change=turn, each=10)
    sizes = []
    for row in range(10):
        volume, target = data.patch(row)
        seen = (volume[0] > (volume[0].max() + volume[0].min()) / 2).float()
        both = (seen * target[0].nan_to_num()).sum()
        assert 2 * both / (seen.sum() + target[0].nan_to_num().sum()) > 0.9
        sizes.append(float(target[0].nan_to_num().sum()))
    assert np.ptp(sizes) > 0


def test_a_turn_is_one_in_the_body():
    change = VolumeAugmentation(rotation=20, scale=0.0, turned=1.0, spacing=(3.0, 1.0, 1.0))
    matrix = change.turn(np.random.default_rng(0))
    body = np.diag([3.0, 1, 1]) @ matrix @ np.diag([1 / 3, 1, 1])
    np.testing.assert_allclose(body @ body.T, np.eye(3), atol=1e-12)
    assert VolumeAugmentation(turned=0.0).turn(np.random.default_rng(0)) is None


def test_other_greys_leave_the_outside_alone():
    scan, _ = case()
    scaling = VolumeScaling()
    x = torch.from_numpy(scaling.scaled(scan, scaling.numbers(scan)))
    y = VolumeAugmentation(often=1.0).exposed(x, np.random.default_rng(0))
    assert ((y == 0) == (x == 0)).all()
    assert (y - x).abs().max() > 0.05
    assert np.corrcoef(y[x != 0], x[x != 0])[0, 1] > 0.9
    assert torch.equal(y, VolumeAugmentation(often=1.0).exposed(x, np.random.default_rng(0)))
    assert torch.equal(x, VolumeAugmentation(often=0.0).exposed(x, np.random.default_rng(0)))


def test_contrast_and_brightness_are_those_drawn():
    change = VolumeAugmentation(rotation=0.0, scale=0.0, often=0.0, contrast=0.5, brightness=0.5)
    plain, changed = patches(), patches(change=change)
    (x, _), (y, _) = plain.patch(0), changed.patch(0)
    for before, after in zip(x, y, strict=True):
        seen = before != 0
        slope, offset = np.polyfit(before[seen], after[seen], 1)
        np.testing.assert_allclose(after[seen], slope * before[seen] + offset, atol=1e-4)
        assert 0.5 <= slope <= 1.5
        assert abs(offset) <= 0.5
        assert abs(slope - 1) + abs(offset) > 0.01


@pytest.mark.parametrize("dtype", [np.int16, np.float16, np.float32])
def test_scaling_over_voxels_that_are_not_zero(dtype):
    scan = case()[0].astype(dtype)
    scaling = VolumeScaling()
    numbers = scaling.numbers(scan)
    found = scaling.scaled(scan, numbers)
    for channel, raw in zip(found, scan, strict=True):
        assert (channel[raw == 0] == 0).all()
        assert channel[raw != 0].mean() == pytest.approx(0, abs=1e-5)
        assert channel[raw != 0].std() == pytest.approx(1, abs=1e-5)
    assert VolumeScaling.from_state(scaling.to_state()) == scaling


def test_a_window_is_the_same_for_all_scans():
    scan = np.array([-2000.0, -160, 40, 240, 3000]).reshape(1, 1, 1, 5)
    scaling = VolumeScaling(kind="window", low=-160, high=240)
    np.testing.assert_allclose(scaling.scaled(scan, scaling.numbers(scan)).ravel(), [-1, -1, 0, 1, 1], atol=1e-6)
    mask = np.zeros((1, 1, 5), dtype=np.uint8)
    x, _ = Patches([scan], [mask], PatchRule(size=(3, 1, 5)), HEAD, scaling).patch(0)
    np.testing.assert_allclose(x[0, :, 0, 2], [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(x[0, :, 0, 0], [0, -1, 0], atol=1e-6)


def test_a_channel_that_is_missing_is_named():
    scan, _ = case()
    for value, words in ((0.0, "channel 2 is empty"), (5.0, "of one grey"), (np.nan, "NaN"), (np.inf, "NaN")):
        bad = scan.copy()
        bad[1] = value
        with pytest.raises(DataError, match=words), np.errstate(invalid="ignore"):
            VolumeScaling().numbers(bad)


def test_labels_of_a_head():
    assert HEAD.paint == (1, 2, 3)
    mask = np.array([[0, 1, 2, 3]])
    np.testing.assert_array_equal(HEAD.painted(HEAD.masks(mask)), mask)
    np.testing.assert_array_equal(HEAD.masks(mask)[:, 0], [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
    labels = SegmentationHead.of_labels({"oedema": 1, "core": 4})
    target = labels.target(np.array([0, 4, 1, -1], dtype=np.int16))
    np.testing.assert_array_equal(target[:, :3], np.eye(3)[:, [0, 2, 1]])
    assert np.isnan(target[:, 3]).all()
    for head in (HEAD, labels):
        assert SegmentationHead.from_state(head.to_state()) == head
    with pytest.raises(DataError, match="no region holds: 7"):
        HEAD.check(np.array([0, 7], dtype=np.uint8))
    with pytest.raises(DataError, match="no labels"):
        HEAD.codes(np.array([0.5]))
    with pytest.raises(StudyFileError, match="no later region"):
        SegmentationHead.of_regions({"core": (2, 3), "whole": (1, 2, 3)})
    with pytest.raises(StudyFileError, match="share"):
        SegmentationHead.of_labels({"a": 1, "b": 1})


def test_what_does_not_fit_is_refused():
    scan, mask = case()
    with pytest.raises(DataError, match="grid"):
        Patches([scan], [mask[1:]], PatchRule(size=(8, 8, 8)), HEAD, VolumeScaling())
    for bad in ({"size": (8, 8)}, {"how": "some"}, {"positive": 0, "negative": 0}, {"background_limit": 0.0}):
        with pytest.raises(StudyFileError):
            PatchRule(**{"size": (8, 8, 8), **bad})
    for bad in ({"mirror": (3,)}, {"rotation": 90}, {"spacing": (1, 1)}):
        with pytest.raises(StudyFileError):
            VolumeAugmentation(**bad)
