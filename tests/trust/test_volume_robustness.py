"""Damaged scans: each kind does what it says, the same bits whatever else is tried, paired losses, scans refused."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest
from scipy import ndimage, stats

from aimed.core.errors import DataError
from aimed.core.volume import Volume, VolumeRefused
from aimed.trust.volume_robustness import VolumeChange, damaged, robustness, volume_changes

RAS = np.diag([2.0, 2.0, 3.0, 1.0])
NONE = np.zeros((1, 12, 16, 16), dtype=bool)


def scan(array=None, affine=RAS, **more):
    values = np.random.default_rng(0).uniform(50, 60, (12, 16, 16)) if array is None else array
    return Volume(array=np.asarray(values, dtype=np.float32), affine=affine, **more)


def grey(volume, change, reference=NONE, **more):
    return damaged(volume, reference, change, **more)[0].array


def test_noise_is_rician_and_gaussian_where_greys_are_negative():
    flat = scan(np.full((12, 16, 16), 100.0))
    found = grey(flat, VolumeChange("noise", 0.1)).astype(float)
    assert found.std() == pytest.approx(10, rel=0.05)
    assert found.mean() == pytest.approx(stats.rice.mean(10) * 10, abs=0.8)
    strong = grey(flat, VolumeChange("noise", 1.0)).astype(float)
    assert strong.min() >= 0
    assert strong.mean() == pytest.approx(stats.rice.mean(1) * 100, rel=0.03)
    hounsfield = grey(scan(np.full((12, 16, 16), -100.0)), VolumeChange("noise", 0.1)).astype(float)
    assert hounsfield.mean() == pytest.approx(-100, abs=1)


def test_bias_is_smooth_and_reaches_its_share():
    field = grey(scan(np.full((12, 16, 16), 1.0)), VolumeChange("bias", 0.4))
    assert (field.min(), field.max()) == pytest.approx((0.6, 1.4), abs=1e-4)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.25


def test_blur_is_in_millimetres():
    point = np.zeros((12, 16, 16))
    point[6, 8, 8] = 1e4
    wide = grey(scan(point + 1.0), VolumeChange("blur", 4.0)).astype(float) - 1.0
    at = [np.arange(n) - m for n, m in zip(wide.shape, (6, 8, 8), strict=True)]
    for axis, side in enumerate((3.0, 2.0, 2.0)):
        line = wide.sum(axis=tuple(a for a in range(3) if a != axis))
        sd = side * math.sqrt((line * at[axis] ** 2).sum() / line.sum())
        assert sd == pytest.approx(4.0, rel=0.1)


def test_thick_slices_average_and_keep_a_slope():
    slope = np.broadcast_to(10.0 + np.arange(12)[:, None, None], (12, 16, 16))
    found = grey(scan(slope), VolumeChange("slices", 3))
    assert found[1:-1] == pytest.approx(slope[1:-1])
    stripes = np.broadcast_to(np.array([1.0, 3.0] * 6)[:, None, None], (12, 16, 16))
    assert grey(scan(stripes), VolumeChange("slices", 2)) == pytest.approx(np.full((12, 16, 16), 2.0))
    odd = scan(np.random.default_rng(0).uniform(1, 2, (11, 4, 4)))
    assert grey(odd, VolumeChange("slices", 4), np.zeros((1, 11, 4, 4), dtype=bool)).shape == (11, 4, 4)


def test_gamma_keeps_black_and_white():
    ramp = np.linspace(0, 100, 12 * 256).reshape(12, 16, 16)
    found = grey(scan(ramp), VolumeChange("gamma", 2.0))
    assert found == pytest.approx((ramp / 100) ** 2 * 100, abs=1e-3)


def test_ghosts_lie_half_a_field_away():
    point = np.full((12, 16, 16), 1e-6)
    point[6, 4, 8] = 100.0
    found = grey(scan(point), VolumeChange("ghost", 0.4))
    assert found[6, 4, 8] == pytest.approx(80, rel=1e-4)
    assert found[6, 12, 8] == pytest.approx(20, rel=1e-4)
    assert found.sum() == pytest.approx(100, rel=1e-3)


def test_mirror_and_turn_take_the_reference_along():
    truth = NONE.copy()
    truth[:, 4:8, 3:6, 2:9] = True
    volume = scan(np.where(truth[0], 200.0, 100.0))
    for change in (VolumeChange("mirror", 1), VolumeChange("turn", 90)):
        moved, there = damaged(volume, truth, change)
        assert ((moved.array > 150) == there[0]).mean() > 0.99
        assert there.sum() == truth.sum()
    quarter = damaged(volume, truth, VolumeChange("turn", 90))[1][0]
    turned = [np.rot90(truth[0], way, axes=(1, 2)) for way in (1, -1)]
    assert any((quarter == one).all() for one in turned)
    ways = {damaged(volume, truth, VolumeChange("turn", 90), case=case)[1][0, 5].tobytes() for case in range(12)}
    assert len(ways) == 2


def test_a_turn_is_a_turn_in_millimetres():
    # Voxels of 1 x 4 mm: a disc of mm stays a disc.
    affine = np.diag([1.0, 4.0, 2.0, 1.0])
    y, x = np.mgrid[:16, :64]
    disc = np.hypot((y - 7.5) * 4, x - 31.5) < 20
    truth = np.broadcast_to(disc, (1, 4, 16, 64))
    there = damaged(scan(np.where(truth[0], 2.0, 1.0), affine), truth, VolumeChange("turn", 20))[1]
    assert 2 * (there & truth).sum() / (there.sum() + truth.sum()) > 0.95


def test_contrasts_taken_away_and_exchanged():
    two = scan(np.stack([np.full((12, 16, 16), 1.0), np.full((12, 16, 16), 2.0)]), channels=("FLAIR", "T1w"))
    assert grey(two, VolumeChange("missing", 1))[:, 0, 0, 0].tolist() == [1, 0]
    assert grey(two, VolumeChange("swapped", 0))[:, 0, 0, 0].tolist() == [2, 1]
    assert damaged(two, NONE, VolumeChange("swapped", 0))[0].channels == ("FLAIR", "T1w")
    assert VolumeChange("swapped", 0, two.channels).label == "FLAIR and T1w exchanged"
    for change in (VolumeChange("missing", 2), VolumeChange("swapped", 2)):
        with pytest.raises(DataError, match="no contrast 3"):
            damaged(two, NONE, change)


@pytest.mark.parametrize("kind", ["noise", "bias", "blur", "slices", "gamma", "ghost"])
def test_what_is_nothing_stays_nothing(kind):
    values = np.random.default_rng(0).uniform(50, 60, (12, 16, 16))
    values[:, :, :6] = 0
    found = grey(scan(values), volume_changes(())[[c.kind for c in volume_changes(())].index(kind)])
    assert (found[:, :, :6] == 0).all()
    assert (found[:, :, 6:] != values[:, :, 6:]).mean() > 0.3


def test_changes_named_when_none_are():
    four = volume_changes(("FLAIR", "T1w", "T1gd", "T2w"))
    keys = [change.key for change in four]
    assert len(set(keys)) == len(keys) == 23
    assert [k for k in keys if k.startswith(("missing", "swapped"))] == [
        *(f"missing_{c}" for c in range(4)),
        *(f"swapped_{c}" for c in range(3)),
    ]
    assert not [c for c in volume_changes(("CT",)) if c.kind in ("missing", "swapped")]
    assert len(volume_changes(("FLAIR", "T1w"), short=True)) == 11
    with pytest.raises(DataError, match="no change called"):
        VolumeChange("fog", 1)
    with pytest.raises(DataError, match="from 0 to 2"):
        VolumeChange("noise", 3)


# ------------------------------------------------------------------------------------------- the loss


def case(number):
    rng = np.random.default_rng(number)
    truth = np.zeros((2, 10, 12, 14), dtype=bool)
    truth[0, 2:7, 3:9, 3 + number % 3 : 10] = True
    truth[1, 3:6, 4:7, 5:8] = True
    values = 50 + 30 * truth[0] + 30 * truth[1] + rng.normal(0, 4, truth.shape[1:])
    return scan(values, channels=("T1w",)), truth


def outline(volume):
    return np.stack([volume.array > 65, volume.array > 95])


CASES = [partial(case, number) for number in range(8)]
SOME = [VolumeChange("mirror", 1), VolumeChange("noise", 0.2), VolumeChange("blur", 2.0)]


def test_losses_are_paired_differences():
    block = robustness(outline, CASES, keys=["a", "b"], changes=SOME, seed=5)
    before, after = [], []
    for number in range(8):
        volume, truth = case(number)
        worse, there = damaged(volume, truth, SOME[1], case=number, seed=5)
        for one, mask, where in ((before, truth, volume), (after, there, worse)):
            found = outline(where)
            one.append([2 * (f & t).sum() / (f.sum() + t.sum()) for f, t in zip(found, mask, strict=True)])
    before, after = np.array(before), np.array(after)
    record = block["changes"][1]
    gap = (after - before).mean(axis=1)
    test = stats.ttest_1samp(gap, 0)
    found = record["differences"]["mean_dice"]
    assert found["value"] == pytest.approx(gap.mean())
    assert (found["lower"], found["upper"]) == pytest.approx(tuple(test.confidence_interval()))
    assert record["p"] == pytest.approx(test.pvalue)
    assert record["measures"]["dice@b"]["value"] == pytest.approx(after[:, 1].mean())
    assert block["unchanged"]["mean_dice"]["value"] == pytest.approx(before.mean())
    assert record["state"] == "loss shown"
    assert block["changes"][0]["differences"]["mean_dice"]["value"] == 0
    assert block["changes"][0]["state"] == "no loss shown"
    assert record["p_holm"] >= record["p"]
    assert block["worst"] in ("noise_0.2", "blur_2")
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_a_change_is_the_same_whatever_else_is_tried():
    alone = robustness(outline, CASES, keys=["a", "b"], changes=SOME[1:2], seed=5)["changes"][0]
    beside = robustness(outline, CASES, keys=["a", "b"], changes=SOME, seed=5)["changes"][1]
    assert alone["measures"] == beside["measures"]
    other = robustness(outline, CASES, keys=["a", "b"], changes=SOME[1:2], seed=6)["changes"][0]
    assert alone["measures"] != other["measures"]


def test_cropped_and_turned_scans_are_damaged_as_they_were_read():
    def read(number):
        volume, truth = case(number)
        values = np.where((np.indices(volume.shape)[2] < 12), volume.array, 0)
        return Volume(array=values.astype(np.float32), affine=np.diag([-2.0, -2.0, 3.0, 1.0])), truth

    def cached(number):
        volume, truth = read(number)
        return volume.reoriented("RAS").cropped_to_foreground(), truth

    seen = []

    def look(volume):
        seen.append((volume.shape, volume.orientation, volume.steps))
        return outline(volume)

    changes = [VolumeChange("turn", 20), VolumeChange("noise", 0.1)]
    blocks = [
        robustness(look, [partial(how, n) for n in range(6)], keys=["a", "b"], changes=changes)
        for how in (read, cached)
    ]
    assert blocks[0] == blocks[1]
    assert set(seen) == {((10, 12, 14), "RAS", ())}


def test_scans_that_are_refused_are_no_loss():
    def careful(volume):
        if (volume.array[0] == 0).all():
            raise VolumeRefused("NOT_FINITE", "a channel is empty")
        return outline(volume.channel("T1w") if volume.channels else volume)

    def two(number):
        volume, truth = case(number)
        return scan(np.stack([volume.array, volume.array]), channels=("T1w", "T2w")), truth

    block = robustness(
        careful, [partial(two, n) for n in range(6)], keys=["a", "b"], changes=[*SOME, VolumeChange("missing", 0)]
    )
    last = block["changes"][-1]
    assert (last["state"], last["refused"]) == ("refused", 6)
    assert last["differences"]["mean_dice"]["value"] is None
    assert "refuses to outline such scans: Without contrast 1" in block["sentence"]
    with pytest.raises(VolumeRefused):
        robustness(careful, [lambda: (scan(np.zeros((2, 12, 16, 16)), channels=("T1w", "T2w")), NONE)], keys=["a"])


def test_patients_are_drawn_whole_and_few_are_not_enough():
    read = []

    def told(number):
        read.append(number)
        return case(number)

    patient = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    block = robustness(
        outline, [partial(told, n) for n in range(8)], keys=["a", "b"], changes=SOME, patient=patient, max_cases=5
    )
    assert block["n"] == len(read) == 4
    assert block["patients"] == 2
    assert all(read.count(n + (1 if n % 2 == 0 else -1)) for n in read)
    assert {one["state"] for one in block["changes"][1:]} == {"not estimable"}
    assert "Not enough evidence" in block["sentence"]
    assert "4 of 8 scans" in block["note"]


def test_progress_rises():
    told = []
    robustness(outline, CASES[:2], keys=["a", "b"], changes=SOME, progress=lambda share, text: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)


def test_a_region_that_is_empty_before():
    def blank(volume):
        found = outline(volume)
        found[1] = False
        return found

    block = robustness(blank, CASES, keys=["a", "b"], changes=SOME[1:2])
    assert block["changes"][0]["volume_change"]["volume_change@b"]["value"] == 0
    assert block["changes"][0]["measures"]["dice@b"]["value"] == 0


def test_refused():
    with pytest.raises(DataError, match="at least one"):
        robustness(outline, [], keys=["a"])
    with pytest.raises(DataError, match="each once"):
        robustness(outline, CASES, keys=["a", "b"], changes=[SOME[0], SOME[0]])
    with pytest.raises(DataError, match="each once"):
        robustness(outline, CASES, keys=["a", "b"], changes=[])
    with pytest.raises(ValueError, match="expected bool"):
        robustness(lambda volume: outline(volume)[:1], CASES, keys=["a", "b"], changes=SOME)
    with pytest.raises(DataError, match="grid"):
        robustness(outline, [lambda: (case(0)[0], NONE)], keys=["a"], changes=SOME)
    with pytest.raises(DataError, match="RAS"):
        damaged(scan(affine=np.diag([-1.0, 1, 1, 1])), NONE, SOME[0])
    with pytest.raises(DataError, match="one grid"):
        damaged(scan(), NONE[:, 1:], SOME[0])


def test_a_turn_is_that_of_scipy():
    volume = scan()
    found = grey(volume, VolumeChange("turn", 15))
    turns = [
        ndimage.rotate(volume.array, way, axes=(1, 2), reshape=False, order=1, mode="constant", prefilter=False)
        for way in (15, -15)
    ]
    assert min(np.abs(found - one).max() for one in turns) < 1e-3
