"""From scans to a plan: spacing, depth and memory as nnU-Net has them; a file that people edit and cannot break."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib

import numpy as np
import pytest

from aimed.core import DataError, StudyFileError
from aimed.diagnosis.volume_plan import THICK, VolumePlan, fingerprint_of, plan_of
from aimed.diagnosis.volume_scaling import VolumeScaling
from aimed.readers.volume_record import VolumeRecord

REGIONS = {"whole": (1, 2), "core": 2}
GREYS = {"mean": 100.0, "sd": 30.0, "p005": -900.0, "p50": 90.0, "p995": 800.0, "zero_share": 0.5}


def record(shape, spacing, *, order=(0, 1, 2), modality="MR", channels=2, labels=None, **changes):
    """Return what is known of a scan whose voxel axes x, y, z lie along the body axes of an order."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for voxel, body in enumerate(order):
        affine[body, voxel] = spacing[2 - voxel]
    known = {
        "digest": "ab", "shape": shape, "affine": tuple(map(tuple, affine.tolist())), "spacing": spacing,
        "orientation": "RAS", "modality": modality, "channels": tuple(f"c{k}" for k in range(channels)),
        "foreground": 0.4, "greys": tuple(dict(GREYS) for _ in range(channels)),
        "labels": {0: 900, 1: 80, 2: 20} if labels is None else labels,
    }  # fmt: skip
    return VolumeRecord(**{**known, **changes})


def planned(shape, spacing, n=30, modality="MR", **options):
    return plan_of(fingerprint_of([record(shape, spacing, modality=modality)] * n, REGIONS), **options)


BRATS = planned((155, 240, 240), (1.0, 1.0, 1.0))
PLANS = {
    "brats": BRATS,
    "brats small": planned((155, 240, 240), (1.0, 1.0, 1.0), small=True),
    "phantom": planned((64, 64, 64), (3.0, 3.0, 3.0)),
    "phantom small": planned((64, 64, 64), (3.0, 3.0, 3.0), small=True),
    "thick": planned((24, 320, 320), (5.0, 0.6, 0.6)),
    "thick small": planned((24, 320, 320), (5.0, 0.6, 0.6), small=True),
    "thick along x": planned((320, 320, 24), (0.6, 0.6, 5.0)),
    "ct": planned((400, 512, 512), (1.0, 0.8, 0.8), modality="CT", memory_mb=24_000),
    "tiny": planned((20, 20, 20), (3.0, 3.0, 3.0), small=True),
    "slab": planned((12, 200, 200), (1.0, 1.0, 1.0)),
    "one slice": planned((1, 64, 64), (3.0, 3.0, 3.0)),
    "long": planned((2000, 40, 40), (1.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("name", list(PLANS))
def test_every_plan_is_one_that_a_network_takes(name):
    torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
    from aimed.diagnosis.unet3d import UNet3d

    plan = PLANS[name]
    with torch.device("meta"):
        network = UNet3d(
            2, 3, widths=[4 for _ in plan.widths], strides=plan.strides[1:], kernels=plan.kernels, stem=plan.strides[0]
        )
        assert network.divisor == plan.divisor
        maps = network.maps(torch.zeros(1, 2, *plan.patch_size))
        assert network.heads[0](maps[0]).shape == (1, 3, *plan.patch_size)
    assert all(side // by >= 1 for side, by in zip(plan.patch_size, plan.divisor, strict=True))
    assert set(plan.reasons) == {one.name for one in dataclasses.fields(plan)} - {"reasons"}
    assert all(text.endswith(".") and (text[0].isupper() or text[0].isdigit()) for text in plan.reasons.values())
    if plan.small:
        assert np.prod(plan.patch_size) <= 48**3
        assert plan.widths == (8, 16, 32, 64)[: len(plan.widths)]


@pytest.mark.parametrize("name", list(PLANS))
def test_it_comes_back_from_its_file_and_from_json(name):
    plan = PLANS[name]
    text = plan.to_toml()
    assert VolumePlan.from_toml(text) == plan
    assert VolumePlan.from_toml(text).to_toml() != text
    assert VolumePlan.from_toml(text).against(plan).to_toml() == text
    again = VolumePlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again == plan
    assert again.reasons == plan.reasons
    for reason in plan.reasons.values():
        assert f"# {reason}\n" in text
    assert set(tomllib.loads(text)) == set(plan.reasons)


def test_a_plan_of_the_size_of_nnunet():
    assert BRATS.spacing == (1.0, 1.0, 1.0)
    assert min(BRATS.patch_size) >= 96
    assert max(BRATS.patch_size) <= 160
    assert BRATS.memory_mb <= 10_000
    assert BRATS.widths == (32, 64, 128, 256, 320, 320)
    assert all(4 <= side // by < 8 for side, by in zip(BRATS.patch_size, BRATS.divisor, strict=True))
    assert BRATS.kernels == ((3, 3, 3),) * 6
    assert BRATS.batch_size == 2
    assert PLANS["phantom small"].patch_size == (48, 48, 48)
    assert PLANS["phantom small"].spacing == (3.0, 3.0, 3.0)


def test_more_memory_holds_more():
    sizes = [np.prod(planned((155, 240, 240), (1.0,) * 3, memory_mb=mb).patch_size) for mb in (3000, 6000, 12000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    with pytest.raises(StudyFileError, match="memory for training of 20 MB"):
        planned((155, 240, 240), (1.0,) * 3, memory_mb=20)
    few, many = (planned((64, 64, 64), (3.0,) * 3, n=n, memory_mb=20_000).batch_size for n in (30, 300))
    assert few == 2
    assert 2 < many <= 16


def test_thick_slices_are_seen_one_by_one_until_the_others_have_caught_up():
    plan = PLANS["thick"]
    assert [one[0] for one in plan.strides[:4]] == [1, 1, 1, 1]
    assert plan.strides[1] == (1, 2, 2)
    assert plan.kernels[0] == (1, 3, 3)
    assert plan.kernels[-1] == (3, 3, 3)
    assert plan.patch_size[0] < plan.patch_size[1]
    turned = PLANS["thick along x"]
    assert turned.strides == tuple(one[::-1] for one in plan.strides)
    assert turned.kernels == tuple(one[::-1] for one in plan.kernels)
    # An axis that has no voxels left to halve does not make thick slices of the others.
    assert PLANS["slab"].kernels == ((3, 3, 3),) * len(PLANS["slab"].kernels)


def test_the_spacing_is_the_median_and_of_thick_slices_the_tenth_percentile():
    mixed = [record((100, 100, 100), (mm, 1.0, 1.0)) for mm in (1.0, 1.0, 1.2, 2.0, 2.0)]
    plan = plan_of(fingerprint_of(mixed, REGIONS))
    assert plan.spacing == (1.2, 1.0, 1.0)
    assert "10th" not in plan.reasons["spacing"]
    mm = [2.0, *[6.0] * 9, 8.0]
    thick = plan_of(fingerprint_of([record((30, 200, 200), (one, 1.0, 1.0)) for one in mm], REGIONS))
    assert THICK < 6.0
    assert thick.spacing == (np.quantile(mm, 0.1), 1.0, 1.0) == (6.0, 1.0, 1.0)
    finer = plan_of(fingerprint_of([record((30, 200, 200), (one, 1.0, 1.0)) for one in [2.0] * 2 + mm], REGIONS))
    assert finer.spacing[0] == 2.0
    assert "10th percentile" in finer.reasons["spacing"]
    # Never finer than the other axes.
    few = [0.5, 0.5, *[6.0] * 4]
    assert plan_of(fingerprint_of([record((30, 200, 200), (z, 1.0, 1.0)) for z in few], REGIONS)).spacing[0] == 1.0
    given = plan_of(fingerprint_of(mixed, REGIONS), spacing=(2.0, 2.0, 2.0))
    assert given.spacing == (2.0, 2.0, 2.0)
    assert "study file" in given.reasons["spacing"]


def test_a_small_plan_sees_about_a_million_voxels():
    plan = PLANS["brats small"]
    assert 0.8e6 < np.prod(np.array((155, 240, 240)) / plan.spacing) <= 1e6
    assert "million" in plan.reasons["spacing"]
    assert PLANS["thick small"].spacing[0] == 5.0
    assert PLANS["thick small"].spacing[1] > 0.6


def test_the_fingerprint_is_that_of_scans_turned_to_ras():
    # The same body, once in axial and once in sagittal slices.
    axial = record((30, 200, 220), (5.0, 1.0, 0.9))
    sagittal = record((220, 30, 200), (0.9, 5.0, 1.0), order=(1, 2, 0))
    one, other = (fingerprint_of([case], REGIONS) for case in (axial, sagittal))
    assert one.spacing == other.spacing == (5.0, 1.0, 0.9)
    np.testing.assert_allclose(one.extent, other.extent)
    assert one.regions["whole"] == {"scans": 1, "median_ml": pytest.approx(100 * 4.5e-3)}
    boxed = record((60, 60, 60), (1.0,) * 3, box=((10, 10, 10), (40, 50, 60)))
    assert fingerprint_of([boxed], REGIONS).extent == (30.0, 40.0, 50.0)
    json.dumps(one.to_dict(), allow_nan=False)
    bare = fingerprint_of([record((9, 9, 9), (1.0,) * 3, labels={0: 9, 1: 5})], REGIONS)
    assert bare.regions["core"] == {"scans": 0, "median_ml": None}


def test_what_cannot_be_planned_for():
    with pytest.raises(DataError, match="no scan"):
        fingerprint_of([VolumeRecord(code="FLAT")], REGIONS)
    with pytest.raises(DataError, match="different channels"):
        fingerprint_of([record((9, 9, 9), (1.0,) * 3, channels=n) for n in (1, 2)], REGIONS)


def test_greys_of_a_ct_are_cut_at_a_window():
    assert PLANS["ct"].scaling == VolumeScaling(kind="window", low=-900.0, high=800.0)
    assert BRATS.scaling == VolumeScaling()
    given = planned((64, 64, 64), (1.0,) * 3, modality="CT", window=(-160, 240))
    assert given.scaling == VolumeScaling(kind="window", low=-160, high=240)
    assert VolumePlan.from_toml(given.to_toml()) == given
    assert planned((64, 64, 64), (1.0,) * 3, modality=None).scaling.kind == "nonzero"
    told = plan_of(fingerprint_of([record((64, 64, 64), (1.0,) * 3, modality=None)], REGIONS), modality="CT")
    assert told.scaling.kind == "window"


def edited(pattern, new, plan=None):
    text, count = re.subn(pattern, new, (plan or PLANS["phantom small"]).to_toml(), flags=re.MULTILINE)
    assert count == 1
    return text


def test_an_edit_is_taken_and_told():
    plan = VolumePlan.from_toml(edited(r"^patch_size = .*", "patch_size = [32, 48, 40]"))
    assert plan.patch_size == (32, 48, 40)
    told = plan.against(PLANS["phantom small"]).reasons
    assert told["patch_size"] == "As the edited plan says; computed was [48, 48, 48]."
    assert told["widths"] == PLANS["phantom small"].reasons["widths"]


@pytest.mark.parametrize(("pattern", "new", "said"), [
    (r"^batch_size", "batchsize", "did you mean 'batch_size'"),
    (r"^widths", "width", "did you mean 'widths'"),
    (r"^widths = .*\n", "", "does not say widths"),
    (r"^widths = .*", "widths = [8]", "2 to 8 scales"),
    (r"^widths = .*", "widths = [8, 16, 32]", "strides that are not 3 lists"),
    (r"^widths = .*", "widths = [8, 16.5, 32, 64]", "whole numbers"),
    (r"^widths = .*", "widths = [8, 16, 32, true]", "whole numbers"),
    (r"^patch_size = .*", "patch_size = [48, 48, 50]", "multiples of"),
    (r"^patch_size = .*", "patch_size = [48, 48]", "3 whole numbers"),
    (r"^patch_size = .*", "patch_size = 48", "3 whole numbers"),
    (r"^batch_size = .*", "batch_size = 0", "whole numbers from 1"),
    (r"^batch_size = .*", 'batch_size = "two"', "whole numbers from 1"),
    (r"^patches_per_scan = .*", "patches_per_scan = -1", "whole numbers from 1"),
    (r"^spacing = .*", "spacing = [1.0, -1.0, 1.0]", "mm along z, y and x"),
    (r"^spacing = .*", "spacing = [1.0, nan, 1.0]", "finite"),
    (r"^spacing = .*", "spacing = [1.0, 1e9, 1.0]", "mm along z, y and x"),
    (r"^kernels = .*", "kernels = [[3, 3, 3], [3, 3, 3], [2, 3, 3], [3, 3, 3]]", "odd"),
    (r"^strides = .*", "strides = [[1, 1, 1], [2, 2, 2], [2, 2, 0], [2, 2, 2]]", "whole numbers from 1 to 4"),
    (r"^strides = .*", "strides = 2", "strides that are not 4 lists"),
    (r"^scaling = .*", 'scaling = { kind = "zscore" }', "nonzero, window"),
    (r"^scaling = .*", 'scaling = { kind = "window", lo = 2.0 }', "did you mean 'low'"),
    (r"^scaling = .*", 'scaling = { kind = "window", low = "a" }', "a finite number"),
    (r"^scaling = .*", 'scaling = { kind = "window", low = 5.0, high = 2.0 }', "low < high"),
    (r"^scaling = .*", 'scaling = "nonzero"', "kind"),
    (r"^small = .*", "small = 1", "true or false"),
    (r"^small = .*", "small = maybe", "no TOML"),
])  # fmt: skip
def test_a_plan_that_was_edited_wrongly_is_refused_in_a_sentence(pattern, new, said):
    with pytest.raises(StudyFileError, match=re.escape(said)):
        VolumePlan.from_toml(edited(pattern, new))


@pytest.mark.parametrize("name", list(PLANS))
def test_a_plan_is_made_smaller_for_a_processor(name):
    plan = PLANS[name]
    small = plan.reduced()
    assert small.small
    assert small.spacing == plan.spacing
    assert np.prod(small.patch_size) <= max(48**3, 0)
    assert small.widths[0] == 8
    assert small.reduced() is small
    if plan.small:
        assert small is plan
