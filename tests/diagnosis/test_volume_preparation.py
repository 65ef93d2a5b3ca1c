"""Preparing scans: the same bits from the source and from a cache, the way back exact, channels by name, units kept."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from aimed.core import BundleError, DataError, StudyFileError
from aimed.core.grid import Grid
from aimed.core.volume import Volume, VolumeRefused
from aimed.diagnosis.volume_preparation import VolumePreparation, was_resampled
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_table import VolumeCase, read_volume_table

CHANNELS = ("FLAIR", "T1w")


def rotation(degrees, axis):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    one, two = [a for a in range(3) if a != axis]
    turn[one, one] = turn[two, two] = c
    turn[one, two], turn[two, one] = -s, s
    return turn


def placed(order=(0, 1, 2), signs=(1, 1, 1), spacing=(1.0, 1.5, 2.0), degrees=0.0):
    """Return an affine whose voxel axes x, y, z lie along body axes in an order and direction, a little turned."""
    affine = np.eye(4)
    axes = np.zeros((3, 3))
    for voxel, (body, sign) in enumerate(zip(order, signs, strict=True)):
        axes[body, voxel] = sign * spacing[voxel]
    affine[:3, :3] = rotation(degrees, 0) @ rotation(degrees / 2, 2) @ axes
    affine[:3, 3] = [-31.7, 12.3, 5.9]
    return affine


AFFINES = {
    "RAS": placed(),
    "LPS": placed(signs=(-1, -1, 1)),
    "sagittal": placed(order=(1, 2, 0), signs=(-1, 1, 1)),
    "oblique": placed(order=(0, 2, 1), signs=(1, -1, -1), degrees=17.0),
    "one axis flipped": placed(signs=(-1, 1, 1)),
}


def head(affine, shape=(13, 16, 18), seed=0, dtype=np.int16):
    """Return a scan with an empty border, voxels of 0 inside, and a mask."""
    rng = np.random.default_rng(seed)
    scan = np.zeros((2, *shape), dtype=dtype)
    inside = (slice(None), slice(2, -3), slice(1, -2), slice(4, -1))
    scan[inside] = rng.integers(1, 900, scan[inside].shape)
    scan[:, 5, 6, 7] = 0
    mask = np.zeros(shape, dtype=np.uint8)
    mask[4:8, 5:11, 6:12] = rng.integers(0, 3, (4, 6, 6))
    source = Volume(array=scan, affine=affine, channels=CHANNELS, modality="MR")
    return source, Volume(array=mask, affine=affine, labels=True)


def as_cached(scan, orientation="RAS"):
    return scan.reoriented(orientation).cropped_to_foreground()


@pytest.mark.parametrize("spacing", [None, (2.0, 1.5, 1.0), (1.3, 1.7, 1.1)])
@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SRA"])
@pytest.mark.parametrize("name", list(AFFINES))
def test_the_same_bits_from_the_source_and_from_its_box(name, orientation, spacing):
    scan, _ = head(AFFINES[name])
    preparation = VolumePreparation(channels=CHANNELS, spacing=spacing, orientation=orientation)
    one, other = preparation.prepared(scan), preparation.prepared(as_cached(scan))
    assert one.array.dtype == np.float16
    assert one.orientation == orientation
    np.testing.assert_array_equal(one.array, other.array)
    assert one.grid.same_as(other.grid, 1e-9)
    assert one.origin.same_as(scan.grid, 1e-12)
    assert other.origin.same_as(scan.grid, 1e-12)
    again = preparation.prepared(one.with_array(one.array, channels=CHANNELS))
    assert again.grid.same_as(one.grid)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_the_same_bits_from_a_cache_on_disk(tmp_path, modality):
    scan, _ = head(AFFINES["oblique"])
    write_nifti(scan, tmp_path / "a.nii.gz")
    case = VolumeCase((tmp_path / "a.nii.gz",), channels=CHANNELS, modality=modality)
    cache = VolumeCache.build([case], tmp_path / "cache")
    preparation = VolumePreparation(channels=CHANNELS, spacing=(1.2, 1.2, 1.2), modality=modality)
    source, cached = preparation.prepared(case.read()), preparation.prepared(cache.scan(0))
    np.testing.assert_array_equal(source.array, cached.array)
    marks = source.array[0] > 0
    np.testing.assert_array_equal(preparation.back(marks, source), preparation.back(marks, cached))


@pytest.mark.parametrize("name", list(AFFINES))
def test_masks_come_back_to_the_bit_where_no_spacing_changed(name):
    scan, mask = head(AFFINES[name])
    preparation = VolumePreparation(channels=CHANNELS)
    ready = preparation.prepared(scan)
    on = preparation.mask_on(mask, ready)
    assert on.shape == ready.array.shape[1:]
    home = preparation.back(on, ready)
    np.testing.assert_array_equal(home, mask.array)
    assert home.dtype == np.uint8
    assert not was_resampled(ready)
    several = np.stack([on == 1, on == 2])
    np.testing.assert_array_equal(preparation.back(several, ready), [mask.array == 1, mask.array == 2])
    greys = ready.array.astype(np.float32)
    back = preparation.back(greys, ready, fill=-9.0)
    np.testing.assert_array_equal(as_cached(scan).follow(ready).array == 0, greys == 0)
    assert set(back[0][scan.array.any(0) == 0].tolist()) <= {-9.0, 0.0}


def test_the_place_of_a_voxel_is_kept_when_spacing_changes():
    scan, mask = head(AFFINES["oblique"], shape=(20, 22, 24))
    array = np.zeros(scan.array.shape[1:], dtype=np.uint8)
    array[8:14, 9:15, 10:17] = 1
    mask = mask.with_array(np.zeros_like(scan.array[0], dtype=np.uint8), labels=True).with_array(array, labels=True)
    preparation = VolumePreparation(channels=CHANNELS, spacing=(1.4, 1.6, 1.2))
    ready = preparation.prepared(scan)
    assert was_resampled(ready)
    np.testing.assert_allclose(ready.spacing, (1.4, 1.6, 1.2))
    on = preparation.mask_on(mask, ready)

    def centre(values, grid):
        at = np.argwhere(values)[:, ::-1].mean(0)
        return grid.affine[:3, :3] @ at + grid.affine[:3, 3]

    apart = centre(on, ready.grid) - centre(array, mask.grid)
    assert np.abs(apart).max() < 0.5
    ml = on.sum() * ready.grid.voxel_ml
    assert abs(ml - array.sum() * mask.grid.voxel_ml) < 0.15 * ml
    home = preparation.back(on, ready)
    assert 2 * (home & array).sum() / (home.sum() + array.sum()) > 0.9


def test_greys_are_those_of_voxels_that_are_not_0_and_0_stays():
    scan, _ = head(AFFINES["RAS"])
    ready = VolumePreparation(channels=CHANNELS).prepared(scan)
    box = as_cached(scan).array
    np.testing.assert_array_equal(ready.array == 0, box == 0)
    for channel, raw in zip(ready.array.astype(float), box.astype(float), strict=True):
        seen = raw[raw != 0]
        np.testing.assert_allclose(channel[raw != 0], (seen - seen.mean()) / seen.std(), atol=2e-3)


def test_a_grey_that_is_the_mean_is_not_taken_for_nothing():
    array = np.zeros((1, 4, 4, 4), dtype=np.int16)
    array[0, 1:3, 1:3, 1:4] = np.array([5, 10, 15])
    ready = VolumePreparation(channels=("T1w",)).prepared(Volume(array=array, affine=np.eye(4)))
    assert ready.shape == (1, 2, 2, 3)
    assert (ready.array != 0).all()
    assert np.abs(ready.array[..., 1]).max() < 1e-3


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_units_of_magnetic_resonance_do_not_matter(factor):
    scan, _ = head(AFFINES["LPS"], dtype=np.float32)
    other = scan.with_array(scan.array * np.float32(factor), channels=CHANNELS)
    preparation = VolumePreparation(channels=CHANNELS, spacing=(1.3, 1.3, 1.3))
    one, two = preparation.prepared(scan).array, preparation.prepared(other).array
    np.testing.assert_allclose(one.astype(float), two.astype(float), atol=2e-3)


def test_a_ct_keeps_its_units_and_is_not_cut():
    array = np.full((1, 6, 7, 8), -1000, dtype=np.int16)
    array[0, 2:4, 2:5, 2:6] = np.arange(24).reshape(2, 3, 4) * 40 - 100
    array[0, 3, 3, 3] = 0
    scan = Volume(array=array, affine=AFFINES["LPS"], modality="CT")
    ready = VolumePreparation(channels=("CT",), modality="CT").prepared(scan)
    assert ready.shape == scan.shape
    np.testing.assert_array_equal(ready.array, scan.reoriented("RAS").array)


def test_channels_are_put_in_order_by_name():
    scan, _ = head(AFFINES["RAS"])
    swapped = scan.with_array(scan.array[::-1], channels=CHANNELS[::-1])
    unnamed = scan.with_array(scan.array)
    preparation = VolumePreparation(channels=CHANNELS)
    wanted = preparation.prepared(scan)
    for other in (swapped, unnamed):
        found = preparation.prepared(other)
        np.testing.assert_array_equal(found.array, wanted.array)
        assert found.channels == CHANNELS
    one = scan.channel("T1w")
    assert VolumePreparation(channels=("T1w",)).prepared(one).shape[0] == 1


def test_what_is_not_a_scan_of_the_model_is_refused():
    scan, mask = head(AFFINES["RAS"])
    preparation = VolumePreparation(channels=CHANNELS)
    with pytest.raises(DataError, match="without the channels T1w"):
        preparation.prepared(scan.with_array(scan.array, channels=("FLAIR", "T2w")))
    with pytest.raises(DataError, match="a scan with 1 channels"):
        preparation.prepared(scan.channel("FLAIR"))
    with pytest.raises(DataError, match="a mask where a scan"):
        VolumePreparation(channels=("FLAIR",)).prepared(mask)
    with pytest.raises(DataError, match="without foreground"):
        preparation.prepared(scan.with_array(np.zeros_like(scan.array)))
    empty = scan.array.copy()
    empty[1] = 0
    with pytest.raises(DataError, match="channel 2 is empty"):
        preparation.prepared(scan.with_array(empty, channels=CHANNELS))
    for modality in ("MR", "CT"):
        for bad in (np.nan, np.inf):
            holed = scan.array.astype(np.float32)
            holed[1, 5, 5, 5] = bad
            with pytest.raises(DataError, match="channel 2 has voxels that are NaN or infinite"):
                VolumePreparation(channels=CHANNELS, modality=modality).prepared(scan.with_array(holed))


def test_masks_that_do_not_belong_are_refused():
    scan, mask = head(AFFINES["RAS"])
    preparation = VolumePreparation(channels=CHANNELS)
    ready = preparation.prepared(scan)
    moved = np.array(mask.affine)
    moved[0, 3] += 40
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        preparation.mask_on(Volume(array=mask.array, affine=moved, labels=True), ready)
    with pytest.raises(DataError, match="a scan where a mask"):
        preparation.mask_on(Volume(array=mask.array, affine=mask.affine), ready)
    with pytest.raises(DataError, match="do not fit a byte"):
        preparation.mask_on(mask.with_array(mask.array.astype(np.int16) + 300, labels=True), ready)
    unknown = mask.array.astype(np.int16)
    unknown[5, 6, 7] = -1
    assert 255 in preparation.mask_on(mask.with_array(unknown, labels=True), ready)


@pytest.mark.parametrize("changes", [
    {"channels": ()}, {"channels": ("a", "a")}, {"spacing": (1.0, 0.0, 1.0)}, {"spacing": (1.0, 1.0)},
    {"spacing": (1.0, np.nan, 1.0)}, {"orientation": "RRS"}, {"orientation": "RA"}, {"orientation": "XYZ"},
])  # fmt: skip
def test_recipes_that_cannot_be(changes):
    with pytest.raises(StudyFileError):
        VolumePreparation(**{"channels": CHANNELS, **changes})


def test_it_comes_back_from_json():
    for spacing, modality in itertools.product((None, (1.0, 2.5, 1 / 3)), (None, "CT")):
        one = VolumePreparation(channels=CHANNELS, spacing=spacing, orientation="LPS", crop=False, modality=modality)
        assert VolumePreparation.from_state(json.loads(json.dumps(one.to_state()))) == one
    with pytest.raises(BundleError, match="another version"):
        VolumePreparation.from_state({**one.to_state(), "schema": 0})


def test_a_spacing_that_is_nearly_the_same_is_left_alone():
    affine = np.diag([1.0001, 1.0, 0.9999, 1.0])
    scan, _ = head(affine)
    ready = VolumePreparation(channels=CHANNELS, spacing=(1.0, 1.0, 1.0)).prepared(scan)
    assert not was_resampled(ready)
    assert isinstance(ready.origin, Grid)


@pytest.mark.parametrize("spacing", [None, (2.1, 2.1, 2.1)])
def test_real_scans_and_their_masks_come_back(shared_data, tmp_path, spacing):
    cases = read_volume_table(shared_data("brats", "dataset.json")).cases
    cache = VolumeCache.build(cases, tmp_path)
    preparation = VolumePreparation(channels=cases[0].channels, spacing=spacing)
    for row, case in enumerate(cases):
        scan = case.read()
        mask, ready = case.read_mask(scan), preparation.prepared(scan)
        cached = preparation.prepared(cache.scan(row))
        np.testing.assert_array_equal(ready.array, cached.array)
        on = preparation.mask_on(mask, ready)
        np.testing.assert_array_equal(on, preparation.mask_on(cache.mask_volume(row), cached))
        home, truth = preparation.back(on, ready), np.asarray(mask.array)
        assert home.shape == scan.shape[1:]
        if spacing is None:
            np.testing.assert_array_equal(home, truth)
        else:
            assert 2 * ((home > 0) & (truth > 0)).sum() / ((home > 0).sum() + (truth > 0).sum()) > 0.93
        seen = ready.array[:, (ready.array != 0).all(0)].astype(float)
        assert np.abs(seen.mean(1)).max() < 0.3
        assert seen.std(1).max() < 1.3
