"""A mask comes back to the scan: bit for bit after turns and boxes, with its volume after resampling."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aimed.core import DataError
from aimed.core.grid import Grid
from aimed.core.volume import VOLUME_REFUSALS, Volume, VolumeRefused, stack_channels

AFFINE = np.array([[-0.9, 0.1, 0, 40], [0.1, 0.9, 0, -30], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
CODES = ("RAS", "LPS", "PIR", "SAL", "IPL")

BLOBS = arrays(np.uint8, (6, 8, 10), elements=st.integers(0, 3))


def scan_of(values, **more):
    return Volume(array=values, affine=AFFINE, modality="MR", **more)


@settings(deadline=None, max_examples=60)
@given(BLOBS, st.sampled_from(CODES), st.sampled_from(CODES), st.data())
def test_a_mask_returns_bit_for_bit(labels, first, second, data):
    scan = scan_of(np.zeros_like(labels, dtype=np.float32))
    truth = scan.with_array(labels, labels=True)
    work = truth.reoriented(first)
    if labels.any():
        work = work.cropped_to_foreground(margin=data.draw(st.integers(0, 2)))
    border = st.tuples(*[st.integers(0, 3)] * 3)
    work = work.padded(data.draw(border), data.draw(border)).reoriented(second).padded_to((8, 8, 8))
    home = work.back_to(scan)
    assert np.array_equal(home.array, labels)
    assert home.array.dtype == labels.dtype
    assert np.array_equal(home.affine, scan.affine)
    assert home.steps == ()


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.floats(0.5, 2.0)] * 3),
    st.tuples(*[st.floats(7.0, 10.0)] * 3),
    st.sampled_from(["argmax", "nearest"]),
)
def test_labels_keep_their_volume_after_resampling(spacing, radii, how):
    z, y, x = (np.indices((24, 30, 36)).T * (1.5, 1.0, 1.0)).T
    ball = ((z - 18) / radii[0]) ** 2 + ((y - 15) / radii[1]) ** 2 + ((x - 18) / radii[2]) ** 2
    labels = (ball < 1).astype(np.uint8) + (ball < 0.35)
    truth = Volume(array=labels, affine=np.diag([1.0, 1.0, 1.5, 1.0]), labels=True)
    work = truth.resampled(spacing, how)
    home = work.back_to(truth, how)
    assert set(np.unique(home.array)) <= {0, 1, 2}
    for volume in (work, home):
        for label in (1, 2):
            ml = (volume.array >= label).sum() * volume.grid.voxel_ml
            # The inner ball is two voxels thick where it is thinnest.
            tolerance = (0.12 if how == "argmax" else 0.25) * label
            assert ml == pytest.approx((labels >= label).sum() * truth.grid.voxel_ml, rel=tolerance)
    overlap = 2 * ((home.array > 0) & (labels > 0)).sum() / ((home.array > 0).sum() + (labels > 0).sum())
    assert overlap > (0.9 if how == "argmax" else 0.8)


def test_the_way_back_stops_where_asked_and_is_the_scans_alone():
    scan = scan_of(np.arange(480, dtype=np.int16).reshape(6, 8, 10))
    turned = scan.reoriented("RAS")
    work = turned.cropped((1, 1, 1), (5, 7, 9)).resampled(1.0)
    mask = work.with_array(np.ones(work.shape, dtype=bool), labels=True)
    half = mask.back_to(turned)
    assert half.grid.same_as(turned.grid)
    assert len(half.steps) == 1
    assert half.back_to(scan).array.sum() == mask.back_to(scan).array.sum() == 4 * 6 * 8
    other = dataclasses.replace(scan, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        mask.back_to(other)
    assert mask.back_to(scan.grid).array.dtype == bool


def test_a_mask_follows_its_scan():
    values = np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)
    scan, truth = scan_of(values), scan_of((values > 1).astype(np.uint8), labels=True)
    work = scan.reoriented("PIR").padded((2, 0, 1), (0, 3, 0), fill=-9).resampled(1.4)
    mask = truth.follow(work)
    assert mask.grid.same_as(work.grid)
    assert np.array_equal(mask.array, truth.reoriented("PIR").padded((2, 0, 1), (0, 3, 0)).resampled(1.4).array)
    # From a stop on the way only the rest is done.
    assert len(truth.reoriented("PIR").follow(work).steps) == 3
    assert work.follow(work).steps == work.steps
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        truth.cropped((0, 0, 0), (1, 1, 1)).follow(work)


def test_what_was_cut_away_is_filled():
    scan = scan_of(np.full((4, 4, 4), 9, dtype=np.int16))
    home = scan.cropped((1, 1, 1), (3, 3, 3)).back_to(scan, fill=-1024)
    assert np.unique(home.array).tolist() == [-1024, 9]
    assert (home.array == 9).sum() == 8
    assert scan.padded((1, 0, 0), (0, 0, 0), fill=-5).array[0].max() == -5


def test_probabilities_come_back_as_channels():
    scan = scan_of(np.zeros((4, 6, 8), dtype=np.float32))
    work = scan.reoriented("RAS").resampled((2.5, 1.3, 1.3))
    shares = work.with_array(np.random.default_rng(0).random((3, *work.shape), dtype=np.float32), channels="abc")
    home = shares.back_to(scan)
    assert home.shape == (3, 4, 6, 8)
    assert home.channel("b").shape == (4, 6, 8)
    assert 0 <= home.array.min() <= home.array.max() <= 1


def test_labels_are_never_averaged():
    mask = Volume(array=np.eye(3, dtype=np.uint8)[None], affine=np.eye(4), labels=True)
    for how in ("linear", "cubic"):
        with pytest.raises(DataError, match="never averaged"):
            mask.resampled(0.5, how)
    with pytest.raises(DataError, match="whole numbers"):
        Volume(array=np.zeros((1, 2, 2)), affine=np.eye(4), labels=True)


def test_foreground_is_found_in_any_channel():
    values = np.zeros((2, 5, 6, 7), dtype=np.float32)
    values[0, 1, 2, 3], values[1, 3, 4, 5] = 1, -1
    scan = Volume(array=values, affine=np.eye(4))
    assert scan.foreground() == ((1, 2, 3), (4, 5, 6))
    assert scan.foreground(above=0) == ((1, 2, 3), (2, 3, 4))
    assert scan.cropped_to_foreground(margin=9).shape == values.shape
    with pytest.raises(DataError, match="without foreground"):
        scan.foreground(above=7)


def test_channels_share_a_grid_or_are_refused():
    one = scan_of(np.zeros((2, 3, 4), dtype=np.int16), channels=("T1w",))
    two = scan_of(np.ones((2, 3, 4), dtype=np.int16), channels=("FLAIR",))
    both = stack_channels([one, two])
    assert both.channels == ("T1w", "FLAIR")
    assert both.modality == "MR"
    assert both.channel("FLAIR").array.max() == 1
    moved = dataclasses.replace(two, affine=AFFINE + np.eye(4, k=3) * 0.5)
    with pytest.raises(VolumeRefused, match="channel FLAIR against channel T1w"):
        stack_channels([one, moved])
    for volumes, names in [([], []), ([one, one], None), ([both, one], None)]:
        with pytest.raises(DataError):
            stack_channels(volumes, names)


def test_volumes_are_read_only_and_their_parts_fit():
    values = np.zeros((2, 3, 4))
    scan = scan_of(values)
    with pytest.raises(ValueError, match="read-only"):
        scan.array[0] = 1
    values[0] = 1  # the caller's own array stays writable
    for bad in ({"array": np.zeros(3)}, {"array": np.zeros((1, 1, 1), dtype=complex)}, {"channels": ("a", "b")}):
        with pytest.raises(DataError):
            dataclasses.replace(scan, **bad)
    for call in (
        lambda: scan.cropped((0, 0, 0), (3, 3, 4)),
        lambda: scan.cropped((1, 1, 1), (1, 2, 2)),
        lambda: scan.padded((-1, 0, 0), (0, 0, 0)),
        lambda: scan.resampled(0),
        lambda: scan.resampled((1.0, np.nan, 1.0)),
        lambda: scan.with_array(np.zeros((3, 3, 4))),
        lambda: scan.channel("T1w"),
        lambda: dataclasses.replace(scan.reoriented("RAS"), array=np.zeros((9, 9, 9))),
        lambda: scan.after(scan.padded((1, 1, 1), (0, 0, 0)).reoriented("RAS").steps[1]),
    ):
        with pytest.raises(DataError):
            call()


@pytest.mark.parametrize("code", list(VOLUME_REFUSALS))
def test_every_refusal_says_what_was_found_expected_and_to_do(code):
    got, expected, do = VOLUME_REFUSALS[code]
    assert all((got, expected, do))
    assert f"({code})" in str(VolumeRefused(code, "why"))


def test_spacing_and_size_of_a_voxel():
    grid = Grid((2, 2, 2), np.diag([0.5, 1.0, 4.0, 1.0]))
    assert grid.spacing == (4.0, 1.0, 0.5)
    assert grid.voxel_ml == pytest.approx(0.002)
