"""Cached scans give the source back bit for bit, once a content, whole or absent; refusals name the file."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")

from aimed.core import DataError
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers import volume_cache
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_cache import RefusedVolume, VolumeCache, VolumeRecord
from aimed.readers.volume_record import greys_of, labels_of
from aimed.readers.volume_table import VolumeCase, read_volume_table

AFFINE = np.array([[-1.0, 0, 0, 9], [0, -1.0, 0, 7], [0, 0, 2.0, -5], [0, 0, 0, 1]])
CHANNELS = ("FLAIR", "T1w")
LABELS = {0: "background", 1: "oedema", 2: "core"}


def voxels(seed=0, channels=2, dtype=np.int16):
    """Return a scan with a border of zeros that is not the same on all sides."""
    found = np.zeros((channels, 6, 9, 10), dtype=dtype)
    found[:, 1:5, 2:7, 3:9] = np.random.default_rng(seed).integers(1, 200, (channels, 4, 5, 6))
    return found


def mask_of(seed=0):
    found = np.zeros((6, 9, 10), dtype=np.uint8)
    found[2:4, 3:6, 4:7] = np.random.default_rng(seed).integers(1, 3, (2, 3, 3))
    return found


def put(array, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(Volume(array=array, affine=affine), path)
    return path


def case_of(folder, k, *, masked=True, dtype=np.int16):
    image = put(voxels(k, dtype=dtype), folder / f"s{k}.nii.gz")
    mask = put(mask_of(k), folder / f"m{k}.nii.gz") if masked else None
    return VolumeCase((image,), mask, CHANNELS, LABELS if masked else {}, "MR")


@pytest.fixture
def cases(tmp_path):
    return [case_of(tmp_path / "data", k) for k in range(4)]


def build(cases, tmp_path, **options):
    return VolumeCache.build(cases, tmp_path / "cache", **options)


def reads(monkeypatch):
    """Count the scans that are read."""
    found = []
    read = volume_cache._read
    monkeypatch.setattr(volume_cache, "_read", lambda case: found.append(case) or read(case))
    return found


def files(tmp_path, kind):
    return sorted((tmp_path / "cache" / "v1" / kind).iterdir())


# --------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_the_source_comes_back_bit_for_bit(tmp_path, dtype):
    case = case_of(tmp_path, 1, dtype=dtype)
    source = case.read()
    cache = build([case], tmp_path)
    scan = cache.scan(0)
    assert (scan.array.dtype, scan.shape, scan.orientation) == (np.dtype(dtype), (2, 4, 5, 6), "RAS")
    assert (scan.channels, scan.modality) == (CHANNELS, "MR")
    home = scan.back_to(scan.origin)
    np.testing.assert_array_equal(home.array, source.array)
    np.testing.assert_array_equal(home.affine, source.affine)
    assert scan.origin.same_as(source.grid, 0.0)
    straight = source.reoriented("RAS").cropped_to_foreground()
    np.testing.assert_array_equal(scan.affine, straight.affine)
    np.testing.assert_array_equal(scan.array, straight.array)
    np.testing.assert_array_equal(cache.mask(0), mask_of(1))
    assert cache.mask(0).dtype == np.uint8
    follows = cache.mask_volume(0).follow(scan)
    np.testing.assert_array_equal(follows.array, mask_of(1)[1:5, 6:1:-1, 8:2:-1])


def test_voxels_stay_on_the_disk_and_are_read_only(cases, tmp_path):
    scan = build(cases, tmp_path).scan(0)
    owner = scan.array
    while owner is not None and not isinstance(owner, np.memmap):
        owner = owner.base
    assert owner is not None
    with pytest.raises(ValueError, match="read-only"):
        scan.array[...] = 0


def test_a_ct_is_not_cut(tmp_path):
    image = put(voxels(3, 1)[0], tmp_path / "ct.nii.gz")
    cache = build([VolumeCase((image,), None, ("CT",), {}, "CT")], tmp_path)
    assert cache.scan(0).shape == (1, 6, 9, 10)
    assert cache.records[0].box is None
    np.testing.assert_array_equal(cache.scan(0).back_to(cache.scan(0).origin).array[0], voxels(3, 1)[0])


def test_channels_in_files_of_their_own_are_one_scan(tmp_path):
    paths = tuple(put(voxels(0)[k], tmp_path / f"{name}.nii") for k, name in enumerate(CHANNELS))
    cache = build([VolumeCase(paths, None, CHANNELS), VolumeCase(paths[::-1], None, CHANNELS)], tmp_path)
    scan = cache.scan(0)
    np.testing.assert_array_equal(scan.back_to(scan.origin).array, voxels(0))
    # The order of the files is part of the content.
    np.testing.assert_array_equal(cache.scan(1).array, scan.array[::-1])


def test_what_is_known_of_a_scan(cases, tmp_path):
    record = build(cases, tmp_path).records[2]
    source, mask = voxels(2), mask_of(2)
    assert record.shape == (6, 9, 10)
    assert record.spacing == (2.0, 1.0, 1.0)
    assert (record.orientation, record.modality, record.channels, record.dtype) == ("LPS", "MR", CHANNELS, "int16")
    assert record.box == ((1, 2, 1), (5, 7, 7))
    assert (record.cached_shape, record.cached_spacing) == ((4, 5, 6), (2.0, 1.0, 1.0))
    assert record.foreground == pytest.approx(120 / 540)
    for channel, greys in zip(source, record.greys, strict=True):
        inside = channel[channel != 0].astype(float)
        expected = [inside.mean(), inside.std(), *np.percentile(inside, [0.5, 50, 99.5]), (channel == 0).mean()]
        np.testing.assert_allclose([greys[k] for k in ("mean", "sd", "p005", "p50", "p995", "zero_share")], expected)
    assert record.labels == {v: int((mask == v).sum()) for v in (0, 1, 2)}
    for label, greys in record.label_greys.items():
        expected = [(ch[mask == label].mean() - ch[ch != 0].mean()) / ch[ch != 0].std() for ch in source.astype(float)]
        np.testing.assert_allclose(greys, expected)
    assert set(record.label_greys) == {1, 2}
    assert record.components == 1
    assert VolumeRecord.from_dict(record.to_dict()) == record


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32])
def test_greys_do_not_depend_on_the_type(dtype):
    values = np.random.default_rng(1).integers(0, 30_000, (5, 6, 7))
    values[values % 3 == 0] = 0
    found, other = greys_of(values.astype(dtype)), greys_of(values.astype(np.float64))
    assert found.keys() == other.keys()
    np.testing.assert_allclose(list(found.values()), list(other.values()), rtol=1e-6)
    low = greys_of((values - 20_000).astype(np.int32))
    np.testing.assert_allclose(list(low.values()), list(greys_of((values - 20_000).astype(np.float64)).values()))


def test_parts_of_a_mask_are_counted(tmp_path):
    mask = np.zeros((5, 6, 7), dtype=np.uint8)
    assert labels_of(mask, mask[None], [{"mean": 0.0, "sd": 1.0}]) == ({0: 210}, {}, 0)
    mask[0, 0, 0] = mask[1, 1, 1] = 1  # by a corner
    mask[4, 5, 6] = 255
    labels, greys, parts = labels_of(mask, mask[None], [{"mean": 1.0, "sd": 0.0}])
    assert (labels, greys, parts) == ({0: 207, 1: 2, 255: 1}, {1: (0.0,), 255: (0.0,)}, 2)


def test_a_cache_without_masks(tmp_path):
    cache = build([case_of(tmp_path, 0, masked=False)], tmp_path)
    assert cache.usable.tolist() == [0]
    assert (cache.records[0].labels, cache.records[0].components, cache.records[0].mask_digest) == ({}, None, None)
    with pytest.raises(VolumeRefused, match="no mask"):
        cache.mask(0)


def test_a_mask_may_be_empty(tmp_path):
    case = case_of(tmp_path, 0)
    put(np.zeros((6, 9, 10), np.uint8), case.mask)
    record = build([case], tmp_path).records[0]
    assert (record.labels, record.label_greys, record.components) == ({0: 540}, {}, 0)


# ------------------------------------------------------------------------------------------------------ once a content


def test_nothing_is_read_twice(cases, tmp_path, monkeypatch):
    first = build(cases, tmp_path)
    read, opened = reads(monkeypatch), []
    content = volume_cache._content
    monkeypatch.setattr(volume_cache, "_content", lambda file: opened.append(file) or content(file))
    again = build(cases, tmp_path)
    assert (read, opened) == ([], [])
    assert again.records == first.records
    np.testing.assert_array_equal(again.scan(3).array, first.scan(3).array)
    # The same content at another place is looked at and not decoded.
    (tmp_path / "other").mkdir()
    moved = [dataclasses.replace(c, images=(c.images[0].rename(tmp_path / "other" / c.images[0].name),)) for c in cases]
    assert build(moved, tmp_path).records == first.records
    assert (read, len(opened)) == ([], 4)


def test_a_changed_file_is_read_again(cases, tmp_path, monkeypatch):
    before = build(cases, tmp_path)
    time.sleep(0.02)
    put(voxels(77), cases[1].images[0])
    put(mask_of(78), cases[2].mask)
    read = reads(monkeypatch)
    after = build(cases, tmp_path)
    assert len(read) == 2
    home = after.scan(1).back_to(after.scan(1).origin)
    np.testing.assert_array_equal(home.array, voxels(77))
    np.testing.assert_array_equal(after.mask(2), mask_of(78))
    assert after.records[0] == before.records[0]
    assert after.records[1].digest != before.records[1].digest
    assert after.records[1].mask_digest == before.records[1].mask_digest
    # Who read the cache before still has what was there.
    np.testing.assert_array_equal(before.scan(1).back_to(before.scan(1).origin).array, voxels(1))


def test_settings_are_part_of_what_is_known(cases, tmp_path):
    one = cases[0]
    others = [
        one,
        dataclasses.replace(one, channels=("T1w", "FLAIR")),
        dataclasses.replace(one, modality="CT"),
        dataclasses.replace(one, labels={0: "a", 1: "b"}),
        dataclasses.replace(one, mask=None),
    ]
    for _ in range(2):
        cache = build(others, tmp_path)
        assert cache.scan(1).channels == ("T1w", "FLAIR")
        assert cache.scan(2).shape == (2, 6, 9, 10)
        assert [r.row for r in cache.refused] == [3]
        assert cache.refused[0].code == "BAD_LABELS"
        with pytest.raises(VolumeRefused, match="no mask"):
            cache.mask(4)


def test_the_number_of_threads_does_not_matter(cases, tmp_path):
    one = VolumeCache.build(cases, tmp_path / "one", n_jobs=1)
    four = VolumeCache.build(cases, tmp_path / "four", n_jobs=4)
    assert one.records == four.records
    for row in range(4):
        np.testing.assert_array_equal(one.scan(row).array, four.scan(row).array)


def test_a_file_that_changes_while_it_is_read_is_read_again(cases, tmp_path, monkeypatch):
    read, left = volume_cache._read, [1]

    def and_change(case):
        found = read(case)
        if case is cases[1] and left:
            left.pop()
            put(voxels(55), case.images[0])
        return found

    monkeypatch.setattr(volume_cache, "_read", and_change)
    cache = build(cases, tmp_path, n_jobs=1)
    np.testing.assert_array_equal(cache.scan(1).back_to(cache.scan(1).origin).array, voxels(55))

    def always(case):
        found = read(case)
        put(voxels(int(time.monotonic_ns() % 10**6)), case.images[0])
        return found

    monkeypatch.setattr(volume_cache, "_read", always)
    put(voxels(99), cases[0].images[0])
    assert build(cases[:1], tmp_path).refused == [
        RefusedVolume(0, "MISSING", "s0.nii.gz: it changes while it is read"),
    ]


# ------------------------------------------------------------------------------------------------------------ bad input


def truncated(path, case):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def terabytes(path, case):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<8h", raw, 40, 4, 20_000, 20_000, 20_000, 2, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(raw)))


def not_a_number(path, case):
    array = voxels(0, dtype=np.float32)
    array[1, 2, 3, 4] = np.nan
    put(array, path)


def flat(path, case):
    put(voxels(0)[:, :1], path)


def time_series(path, case):
    put(np.concatenate([voxels(k) for k in range(3)]), path)


def flipped(path, case):
    put(voxels(0), path, AFFINE @ np.diag([-1.0, 1, 1, 1]))


def one_value(path, case):
    array = voxels(0)
    array[1] = 7
    put(array, path)


def no_foreground(path, case):
    put(np.zeros((2, 6, 9, 10), np.int16), path)


def gone(path, case):
    path.unlink()


def empty(path, case):
    path.write_bytes(b"")


def junk(path, case):
    path.write_bytes(b"no volume at all" * 100)


def pipe(path, case):
    path.unlink()
    os.mkfifo(path)


def mask_elsewhere(path, case):
    put(mask_of(0)[:, :, :-1], case.mask)


def mask_undeclared(path, case):
    put(mask_of(0) * 3, case.mask)


def mask_truncated(path, case):
    truncated(case.mask, case)


def mask_gone(path, case):
    case.mask.unlink()


def mask_in_parts(path, case):
    put(np.stack([mask_of(0)] * 2), case.mask)


def mask_of_fractions(path, case):
    put(mask_of(0).astype(np.float32) / 2, case.mask)


BAD = [
    (truncated, "TRUNCATED", "s0.nii.gz"),
    (terabytes, "TOO_LARGE", "s0.nii.gz: the header claims 32,000.0 GB"),
    (not_a_number, "NOT_FINITE", "s0.nii.gz: 1 of 1,080"),
    (flat, "FLAT", "s0.nii.gz"),
    (time_series, "TIME_SERIES", "s0.nii.gz: 6 volumes for 2 names"),
    (flipped, "GRIDS_DIFFER", "m0.nii.gz: mask and scan have different directions: LPS and RPS"),
    (one_value, "NO_PIXELS", "s0.nii.gz: all voxels of the channel T1w have one value"),
    (no_foreground, "NO_PIXELS", "s0.nii.gz: all voxels of the channel FLAIR"),
    (gone, "MISSING", "s0.nii.gz"),
    (empty, "EMPTY", "s0.nii.gz"),
    (junk, "NOT_A_VOLUME", "s0.nii.gz"),
    pytest.param(
        pipe, "MISSING", "s0.nii.gz: no plain file",
        marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here"),
    ),
    (mask_elsewhere, "GRIDS_DIFFER", "m0.nii.gz: mask and scan have different shapes"),
    (mask_undeclared, "BAD_LABELS", "m0.nii.gz: 2 values are not declared"),
    (mask_truncated, "TRUNCATED", "m0.nii.gz"),
    (mask_gone, "MISSING", "m0.nii.gz"),
    (mask_in_parts, "BAD_LABELS", "m0.nii.gz: 2 volumes where one is expected"),
    (mask_of_fractions, "BAD_LABELS", "m0.nii.gz"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "code", "detail"), BAD)
def test_bad_input_is_refused_by_name_and_the_rest_goes_on(cases, tmp_path, spoil, code, detail):
    spoil(cases[0].images[0], cases[0])
    told = []
    for _ in range(2):
        cache = build(cases, tmp_path, progress=lambda share, text: told.append((share, text)))
        assert [r.row for r in cache.refused] == [0]
        assert cache.refused[0].code == code
        assert cache.refused[0].detail.startswith(detail), cache.refused[0].detail
        assert (cache.records[0].code, cache.records[0].detail) == (code, cache.refused[0].detail)
        assert cache.usable.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(cache.mask(2), mask_of(2))
        with pytest.raises(VolumeRefused) as caught:
            cache.scan(0)
        assert caught.value.code == code
        assert told[-1] == (1.0, "4 of 4 scans, 1 refused, 0 s left")
    # Nothing of it is there, and nothing half.
    assert len(files(tmp_path, "scans")) == len(files(tmp_path, "masks")) == 3
    assert not list((tmp_path / "cache").rglob("*.draft"))


def test_what_the_list_knows_is_refused_with_the_name_of_the_file(cases, tmp_path):
    import polars as pl

    data = cases[0].images[0].parent
    cases[1].images[0].unlink()
    table = pl.DataFrame(
        {
            "image": ["s0.nii.gz", "s1.nii.gz", "../x.nii.gz", None, "s2.nii.gz"],
            "mask": ["m0.nii.gz"] * 4 + ["none.nii.gz"],
        }
    )
    found = read_volume_table(table, mask="mask", folder=data, channels=CHANNELS)
    assert build(found.cases, tmp_path).refused == [
        RefusedVolume(1, "MISSING", "s1.nii.gz: the scan"),
        RefusedVolume(2, "OUTSIDE", "the scan"),
        RefusedVolume(3, "MISSING", "the scan"),
        RefusedVolume(4, "MISSING", "none.nii.gz: the mask"),
    ]


def test_the_channel_that_is_wrong_is_named(tmp_path):
    def channels(k):
        return [put(voxels(k)[c], tmp_path / f"{k}-{name}.nii.gz") for c, name in enumerate(CHANNELS)]

    sets = [channels(k) for k in range(5)]
    truncated(sets[1][1], None)
    put(voxels(2)[1], sets[2][1], AFFINE + np.eye(4, k=3))
    sets[3][1].unlink()
    put(np.full((6, 9, 10), 3, np.int16), sets[4][1])
    cache = build([VolumeCase(tuple(paths), None, CHANNELS) for paths in sets], tmp_path)
    assert cache.refused == [
        RefusedVolume(1, "TRUNCATED", "1-T1w.nii.gz"),
        RefusedVolume(2, "GRIDS_DIFFER", "2-T1w.nii.gz: channel T1w against channel FLAIR"),
        RefusedVolume(3, "MISSING", "3-T1w.nii.gz"),
        RefusedVolume(4, "NO_PIXELS", "4-T1w.nii.gz: all voxels of the channel T1w have one value"),
    ]


def test_volumes_whose_channels_nobody_named(tmp_path):
    path = put(voxels(0), tmp_path / "a.nii.gz")
    cache = build([VolumeCase((path,))], tmp_path)
    assert cache.refused == [RefusedVolume(0, "TIME_SERIES", "a.nii.gz: 2 volumes and no names of channels")]


def slices(folder, dicom, places, *, uid="1.2.3", start=0):
    folder.mkdir(exist_ok=True)
    for k, place in enumerate(places):
        pixels = np.arange(30, dtype=np.uint16).reshape(5, 6) + np.uint16(start + k)
        data = dicom(
            pixels, Modality="CT", SeriesInstanceUID=uid, PixelSpacing=[1, 1], InstanceNumber=99 - k,
            ImagePositionPatient=[0, 0, place], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
        (folder / f"{uid}-{start}-{k}.dcm").write_bytes(data)
    return folder


def test_folders_of_slices(tmp_path, dicom, monkeypatch):
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    good = slices(tmp_path / "good", dicom, range(6))
    gap = slices(tmp_path / "gap", dicom, [0, 1, 2, 4, 5, 6])
    two = slices(slices(tmp_path / "two", dicom, range(6)).parent / "two", dicom, range(7), uid="1.2.4")
    twice = slices(slices(tmp_path / "twice", dicom, range(6)).parent / "twice", dicom, [3], start=50)
    none = tmp_path / "none"
    none.mkdir()
    cut = slices(tmp_path / "cut", dicom, range(6))
    truncated(next(cut.glob("*-3.dcm")), None)
    cases = [VolumeCase((path,), None, ("CT",)) for path in (good, gap, two, twice, none, cut)]
    for _ in range(2):
        cache = build(cases, tmp_path)
        assert [(r.row, r.code, r.detail.partition(":")[0]) for r in cache.refused] == [
            (1, "GAP", "gap"), (2, "MIXED", "two"), (3, "DUPLICATES", "twice"), (4, "NO_PIXELS", "none"),
            (5, cache.refused[4].code, "cut"),
        ]  # fmt: skip
        assert cache.refused[4].code in ("TRUNCATED", "SIZE_LIES", "NOT_A_VOLUME")
        assert (cache.records[0].modality, cache.scan(0).shape) == ("CT", (1, 6, 5, 6))
    # Names of slices do not count; a slice more does.
    read = reads(monkeypatch)
    for k, file in enumerate(sorted(good.iterdir())):
        file.rename(good / f"x{9 - k}")
    assert build(cases[:1], tmp_path).records[0] == cache.records[0]
    assert read == []
    slices(good, dicom, [6], start=6)
    assert build(cases[:1], tmp_path).scan(0).shape == (1, 7, 5, 6)
    assert len(read) == 1


def test_no_name_is_in_the_cache(tmp_path):
    case = case_of(tmp_path / "Quixote", 0)
    path = put(voxels(0), tmp_path / "Zebedee" / "MRN-778899.nii.gz")
    truncated(path, None)
    cache = build([case, VolumeCase((path,), None, CHANNELS)], tmp_path)
    assert cache.refused[0].detail == "MRN-778899.nii.gz"
    everything = b"".join(
        str(p.relative_to(tmp_path)).encode() + p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    )
    for word in (b"Quixote", b"Zebedee", b"MRN", b"nii"):
        assert word not in everything


# ----------------------------------------------------------------------------------------- kills, full disks and others


KILLED = """
import sys, time
from aimed.readers import volume_cache
from aimed.readers.volume_table import read_volume_table
fsync = volume_cache.os.fsync
def slow(handle):
    time.sleep(0.01)
    fsync(handle)
volume_cache.os.fsync = slow
found = read_volume_table(sys.argv[1], mask="mask", channels=("FLAIR", "T1w"))
volume_cache.VolumeCache.build(found.cases, sys.argv[2], n_jobs=2)
"""


def listed(tmp_path, n):
    for k in range(n):
        case_of(tmp_path, k)
    rows = "".join(f"s{k}.nii.gz,m{k}.nii.gz\n" for k in range(n))
    (tmp_path / "list.csv").write_text(f"image,mask\n{rows}")
    return read_volume_table(tmp_path / "list.csv", mask="mask", channels=CHANNELS).cases


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_build_goes_on_where_it_was(tmp_path, monkeypatch):
    cases = listed(tmp_path, 40)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "list.csv"), str(tmp_path / "cache")]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "cache").rglob("*.json"))) < 6:
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = len(files(tmp_path, "records"))
    assert 6 <= kept < 40
    (tmp_path / "cache" / "v1" / "scans" / ".left.draft").write_bytes(b"of a killed process")
    read = reads(monkeypatch)
    cache = build(cases, tmp_path)
    assert len(read) <= 40 - kept + 1
    assert len(cache.usable) == 40
    for row in range(40):
        np.testing.assert_array_equal(cache.scan(row).back_to(cache.scan(row).origin).array, voxels(row))
    assert not list((tmp_path / "cache").rglob("*.draft"))


def test_two_at_a_time_do_no_harm(tmp_path):
    cases = listed(tmp_path, 12)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "list.csv"), str(tmp_path / "cache")]
    others = [subprocess.Popen(command) for _ in range(2)]
    while any(other.poll() is None for other in others):
        assert len(build(cases, tmp_path).usable) == 12
    assert [other.returncode for other in others] == [0, 0]
    cache = build(cases, tmp_path, verify=True)
    for row in range(12):
        np.testing.assert_array_equal(cache.mask(row), mask_of(row))
    assert len(files(tmp_path, "scans")) == 12


def test_a_full_disk_is_named_and_leaves_nothing_half(cases, tmp_path, monkeypatch):
    sync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="disk of the volume cache is full"):
        build(cases, tmp_path, n_jobs=1)
    monkeypatch.undo()
    assert not list((tmp_path / "cache").rglob("*.draft"))
    assert 0 < len(files(tmp_path, "records")) < 4
    read = reads(monkeypatch)
    assert len(build(cases, tmp_path).usable) == 4
    assert 0 < len(read) < 4


LIMITED = """
import resource, signal, sys
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from aimed.core import DataError
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_table import read_volume_table
found = read_volume_table(sys.argv[1], mask="mask", channels=("FLAIR", "T1w"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    VolumeCache.build(found.cases, sys.argv[2])
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_file_that_cannot_be_written_to_its_end(tmp_path):
    listed(tmp_path, 2)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "list.csv"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the volume cache cannot be written (File too large)" in done.stdout
    assert files(tmp_path, "scans") == files(tmp_path, "records") == []


def test_a_folder_that_cannot_be_made_is_named(cases, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        build(cases, tmp_path)


def test_a_stopped_build_keeps_what_it_has(cases, tmp_path, monkeypatch):
    def stop(share, text):
        if share > 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", iter(range(10**6)).__next__)
    with pytest.raises(KeyboardInterrupt):
        build(cases, tmp_path, progress=stop, n_jobs=1)
    read = reads(monkeypatch)
    assert len(build(cases, tmp_path).usable) == 4
    assert len(read) <= 1


@pytest.mark.parametrize("kind", ["scans", "masks"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_voxels_are_never_used(cases, tmp_path, kind, damage):
    good = build(cases, tmp_path)
    expected = [(good.scan(k).array.copy(), good.mask(k).copy()) for k in range(4)]
    path = files(tmp_path, kind)[1]
    content = bytearray(path.read_bytes())
    match damage:
        case "flipped":
            content[-3] ^= 1
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:-20])
        case "gone":
            path.unlink()
    fresh = pickle.loads(pickle.dumps(good))
    look = fresh.scan if kind == "scans" else fresh.mask
    with pytest.raises(DataError, match="changed on disk"):
        [look(row) for row in range(4)]
    mended = build(cases, tmp_path, verify=damage == "flipped")
    for row in range(4):
        np.testing.assert_array_equal(mended.scan(row).array, expected[row][0])
        np.testing.assert_array_equal(mended.mask(row), expected[row][1])


@pytest.mark.parametrize("name", ["records", "stamps"])
def test_damaged_notes_cost_time_and_no_voxels(cases, tmp_path, name):
    first = build(cases, tmp_path)
    paths = files(tmp_path, "records") if name == "records" else [tmp_path / "cache" / "v1" / "stamps.jsonl"]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-5])
    for _ in range(2):
        again = build(cases, tmp_path)
        assert again.records == first.records
        np.testing.assert_array_equal(again.scan(2).array, first.scan(2).array)
    lines = (tmp_path / "cache" / "v1" / "stamps.jsonl").read_bytes().splitlines(keepends=True)
    assert len([line for line in lines if volume_cache._checked(line)]) == 8


def test_a_cache_travels_to_another_process_without_its_voxels(cases, tmp_path):
    cache = build(cases, tmp_path)
    packed = pickle.dumps(cache)
    assert len(packed) < 8_000
    np.testing.assert_array_equal(pickle.loads(packed).scan(1).array, cache.scan(1).array)


def test_rows_that_are_not_there(cases, tmp_path):
    cache = build(cases, tmp_path)
    assert len(cache) == 4
    np.testing.assert_array_equal(cache.mask(-1), mask_of(3))
    for row in (4, -5):
        with pytest.raises(IndexError):
            cache.scan(row)
    assert len(VolumeCache.build([], tmp_path / "none")) == 0


def test_real_scans(shared_data, tmp_path):
    found = read_volume_table(shared_data("brats", "dataset.json"))
    cache = VolumeCache.build(found.cases, tmp_path / "cache")
    assert not cache.refused
    for row, case in enumerate(found.cases):
        scan = cache.scan(row)
        np.testing.assert_array_equal(scan.back_to(scan.origin).array, case.read().array)
        np.testing.assert_array_equal(cache.mask(row), case.read_mask().array)
        assert set(cache.records[row].labels) == {0, 1, 2, 3}


def test_names_of_files_are_not_folders(cases, tmp_path):
    truncated(cases[0].images[0], None)
    detail = build(cases, tmp_path).refused[0].detail
    assert os.sep not in detail
    assert Path(detail.partition(":")[0]).name == "s0.nii.gz"
