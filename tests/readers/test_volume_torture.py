"""The torture set: series that lie, each voxel for voxel right or refused in a sentence that names the file."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
pytest.importorskip("nibabel", reason="the imaging extra is not installed")
pytest.importorskip("pydicom", reason="the imaging extra is not installed")
import pydicom

from aimed.core.volume import Volume, VolumeRefused
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_table import VolumeCase

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1, 0, 0, 0, 1, 0)
START, STEP = np.array((-20.0, -30.0, -10.0)), 1.25
N = 9
SECRETS = ("Zebedee", "Quixote", "MRN-778899", "19330217", "ACC-5551")
MEMORY = 64 * 2**20
"""Bytes that reading a file of a few kB may take, whatever it claims."""


def phantom(n=N, rows=12, columns=10):
    """Return slices whose values say where they are, with no mirror image in them."""
    z, y, x = np.indices((n, rows, columns))
    return (60 * z + 3 * y + (x > 6) * (y < 3) * 7 + 1).astype(np.uint16)


def at(k):
    """Return where slice k lies."""
    return START + STEP * k * np.array((0, 0, 1))


def _enhanced():
    """Return the function of the tests of series that makes files of many frames."""
    spec = importlib.util.spec_from_file_location("series_tests", Path(__file__).with_name("test_dicom_series.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.enhanced


enhanced = _enhanced()


class Folder:
    """Writes slices into a folder, under names whose order means nothing."""

    def __init__(self, folder, dicom, study="1.2"):
        self.folder, self.dicom, self.study, self.n = folder, dicom, study, 0

    def frames(self, voxels, places, **tags):
        data = enhanced(voxels, places, StudyInstanceUID=self.study, **tags)
        (self.folder / "frames.dcm").write_bytes(data)

    def slice(self, pixels, place, *, syntax="plain", edit=None, **tags):
        self.n += 1
        known = {
            "SOPClassUID": MR, "Modality": "MR", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.9",
            "StudyInstanceUID": self.study, "SeriesDescription": "t1_mprage Zebedee", "InstanceNumber": self.n,
            "SOPInstanceUID": f"{self.study}.3.{self.n}", "PixelSpacing": [0.8, 0.7],
            "ImagePositionPatient": [float(v) for v in place], "ImageOrientationPatient": [float(v) for v in AXIAL],
        } | tags  # fmt: skip
        data = self.dicom(pixels, syntax, **{name: value for name, value in known.items() if value is not None})
        if edit is not None:
            before, after = edit
            assert data.count(before) == 1
            assert len(before) == len(after)
            data = data.replace(before, after)
        (self.folder / f"{(self.n * 37) % 1009:04d}.dcm").write_bytes(data)

    def series(self, voxels, *, step=(0, 0, STEP), start=START, numbers=None, leave_out=(), **tags):
        for k, pixels in enumerate(voxels):
            if k not in leave_out:
                own = {} if numbers is None else {"InstanceNumber": int(numbers[k])}
                self.slice(pixels, np.round(start + k * np.array(step), 6), **tags, **own)


# ------------------------------------------------------------------------------------------------------- ten tortures


def scrambled(make):
    make.series(phantom(), numbers=np.random.default_rng(0).permutation(N) + 1)
    return phantom()


def numbered_backwards_and_alike(make):
    make.series(phantom()[::-1], start=at(N - 1), step=(0, 0, -STEP), InstanceNumber=7)
    return phantom()


def three_missing(make):
    make.series(phantom(20), leave_out=(4, 5, 13))


def two_series(make):
    make.series(phantom())
    make.series(phantom() + 9, SeriesInstanceUID="1.2.4")


def one_place_twice(make):
    make.series(phantom())
    make.slice(phantom()[4] + 1, at(4))


def one_slice_copied(make):
    make.series(phantom())
    make.slice(phantom()[4], at(4), InstanceNumber=99)
    return phantom()


def tilted(make):
    make.series(phantom(), step=(0, 0.3, STEP))


def two_orientations(make):
    make.series(phantom())
    make.series(phantom(), start=(0, 0, 40), step=(5, 0, 0), ImageOrientationPatient=[0.0, 1, 0, 0, 0, -1])


def large_is_dark(make):
    make.series(4095 - phantom(), bits=12, PhotometricInterpretation="MONOCHROME1")
    return phantom()


def many_frames(make):
    order = np.random.default_rng(3).permutation(N)
    make.frames(phantom()[order], [at(k) for k in order])
    return phantom()


def frames_of_two_times(make):
    places = [(0, 0, STEP * (k % 4)) for k in range(8)]
    make.frames(phantom(8), places, times=[1] * 4 + [2] * 4)


def private_compression(make):
    make.series(phantom(), syntax="1.2.392.99999.4.70", stream=b"\xff\xd8" + bytes(400))


def unknown_encoding(make):
    make.series(phantom(), syntax="1.2.3.4.5")


def jpeg_that_is_none(make):
    make.series(phantom(), syntax="jpeg-ls", stream=b"no stream" * 40)


def thickness_lies(make):
    make.series(phantom(), SliceThickness="9.5", SpacingBetweenSlices="-4")
    return phantom()


def spacing_of_one_slice_lies(make):
    make.series(phantom(), leave_out=(4,))
    make.slice(phantom()[4], at(4), PixelSpacing=[0.4, 0.7])


def spacing_of_the_last_slice_lies(make):
    make.series(phantom(), leave_out=(N - 1,))
    make.slice(phantom()[-1], at(N - 1), PixelSpacing=[0.4, 0.7])


def last_slice_of_no_contrast(make):
    make.series(phantom(), leave_out=(N - 1,))
    make.slice(phantom()[-1], at(N - 1), SeriesDescription="")


def spacing_of_nothing(make):
    make.series(phantom(), PixelSpacing=[0.0, 0.7])


def spacing_of_a_metre(make):
    make.series(phantom(), PixelSpacing=[1000.0, 1000.0])


def slope_missing(make):
    make.series(phantom(), RescaleIntercept="-1000")
    return phantom().astype(int) - 1000


def slope_zero(make):
    make.series(phantom(), RescaleSlope="0", RescaleIntercept="0")


def slope_huge(make):
    make.series(phantom(), RescaleSlope="1e300")


def slope_of_one_slice(make):
    for k, pixels in enumerate(phantom()):
        make.slice(pixels, at(k), RescaleSlope=str(2 + k), RescaleIntercept="-3")
    return phantom().astype(float) * (2 + np.arange(N))[:, None, None] - 3


def bits_too_few(make):
    make.series(phantom(), BitsStored=8, HighBit=7)


def bits_too_few_in_one_slice(make):
    make.series(phantom(), leave_out=(4,), bits=12)
    make.slice(phantom()[4] | 2**13, at(4), bits=12)


def bits_with_a_sign(make):
    make.series(phantom().astype(np.int16) - 300, bits=12)
    return phantom().astype(int) - 300


def bits_of_an_overlay(make):
    # As old scanners drew on their slices.
    make.series(phantom() | (phantom() % 2 << 15), bits=12)
    for path in make.folder.iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.add_new(0x60000100, "US", 16)
        slice_.add_new(0x60000102, "US", 15)
        slice_.save_as(path)
    return phantom()


def bits_too_many(make):
    make.series(phantom(), BitsStored=24, HighBit=23)


def rows_lie(make):
    make.series(phantom(), Rows=500)


def no_place(make):
    make.series(phantom(), drop=("ImagePositionPatient",))


def a_place_that_is_no_number(make):
    make.series(phantom(), leave_out=(4,))
    make.slice(phantom()[4], (0, 111111, 0), edit=(b"111111", b"nan   "))


def a_slope_that_is_no_number(make):
    make.series(phantom(), RescaleSlope="111111", edit=(b"111111", b"inf   "))


def an_intercept_out_of_range(make):
    make.series(phantom(), RescaleIntercept="111111", RescaleSlope="1", edit=(b"111111", b"-1e999"))


def a_spacing_that_is_no_number(make):
    make.series(phantom(), PixelSpacing=[111111.0, 1.0], edit=(b"111111.0", b"nan     "))


def turns_that_are_no_numbers(make):
    make.series(phantom(), ImageOrientationPatient=[1.0, 0, 0, 0, 1.0, 0.111111], edit=(b"0.111111", b"0x1     "))


def a_million_frames(make, n=1_000_000):
    lies = {"NumberOfFrames": n, "PerFrameFunctionalGroupsSequence": pydicom.Sequence([])}
    make.frames(phantom(), [(0, 0, k) for k in range(N)], **lies)


def more_frames_than_bytes(make):
    a_million_frames(make, n=99_999)


def slices_of_gigabytes(make):
    make.series(phantom(), Rows=65535, Columns=65535)


def frames_of_terabytes(make):
    make.frames(phantom(), [(0, 0, k) for k in range(N)], Rows=65535, Columns=65535)


def a_file_of_a_terabyte(make):
    make.series(phantom())
    with (make.folder / "0000.dcm").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(2**40)


@dataclasses.dataclass(frozen=True)
class Torture:
    """A way to break a series, and what is right: the voxels it returns, or a code and words of the sentence."""

    spoil: Callable
    code: str | None = None
    words: tuple[str, ...] = ()

    @property
    def __name__(self):
        return self.spoil.__name__


TEN = {
    "scrambled numbers": [Torture(scrambled), Torture(numbered_backwards_and_alike)],
    "missing slices": [Torture(three_missing, "GAP", ("about 3 in 2 places", "among 17"))],
    "two series": [Torture(two_series, "MIXED", ("2 (9 slices T1w, 9 slices T1w)",))],
    "one place twice": [Torture(one_place_twice, "DUPLICATES", ("1 of 10",)), Torture(one_slice_copied)],
    "tilt": [Torture(tilted, "TILTED", ("13.5 degrees",))],
    "mixed orientation": [Torture(two_orientations, "MIXED", ("2 (9 slices T1w",))],
    "MONOCHROME1": [Torture(large_is_dark)],
    "many frames": [Torture(many_frames), Torture(frames_of_two_times, "MIXED")],
    "lying headers": [
        Torture(thickness_lies),
        Torture(spacing_of_one_slice_lies, "MIXED"),
        Torture(spacing_of_the_last_slice_lies, "MIXED"),
        Torture(last_slice_of_no_contrast, "MIXED"),
        Torture(spacing_of_nothing, "BAD_NUMBER", ("PixelSpacing",)),
        Torture(spacing_of_a_metre, "BAD_NUMBER", ("PixelSpacing",)),
        Torture(slope_missing),
        Torture(slope_zero, "BAD_NUMBER", ("RescaleSlope",)),
        Torture(slope_huge, "BAD_NUMBER", ("RescaleSlope",)),
        Torture(slope_of_one_slice),
        Torture(bits_too_few, "SIZE_LIES", ("BitsStored",)),
        Torture(bits_too_few_in_one_slice, "SIZE_LIES", ("BitsStored",)),
        Torture(bits_with_a_sign),
        Torture(bits_of_an_overlay),
        Torture(bits_too_many, "SIZE_LIES", ("BitsStored",)),
        Torture(rows_lie, "SIZE_LIES"),
        Torture(no_place, "NO_GEOMETRY"),
        Torture(a_place_that_is_no_number, "BAD_NUMBER", ("ImagePositionPatient", "1 of 9 files")),
        Torture(a_slope_that_is_no_number, "BAD_NUMBER", ("RescaleSlope",)),
        Torture(an_intercept_out_of_range, "BAD_NUMBER", ("RescaleIntercept",)),
        Torture(a_spacing_that_is_no_number, "BAD_NUMBER", ("PixelSpacing",)),
        Torture(turns_that_are_no_numbers, "BAD_NUMBER", ("ImageOrientationPatient",)),
        Torture(a_million_frames, "BAD_NUMBER", ("NumberOfFrames",)),
        Torture(more_frames_than_bytes, "SIZE_LIES", ("NumberOfFrames",)),
        Torture(frames_of_terabytes, "SIZE_LIES", ("NumberOfFrames",)),
        Torture(slices_of_gigabytes, "TOO_LARGE"),
        Torture(a_file_of_a_terabyte, "TOO_LARGE"),
    ],
    "private compression": [
        Torture(private_compression, "UNKNOWN_SYNTAX"),
        Torture(unknown_encoding, "UNKNOWN_SYNTAX"),
        Torture(jpeg_that_is_none, "TRUNCATED"),
    ],
}  # fmt: skip


def written(folder, dicom, torture, study="1.2"):
    """Write a series and return the voxels that are right, None where a refusal is."""
    folder.mkdir(parents=True)
    return torture.spoil(Folder(folder, dicom, study))


def good(folder):
    """Return a scan that has nothing wrong with it."""
    path = folder / "good.nii.gz"
    write_nifti(Volume(array=phantom(), affine=np.diag([-1.0, -1, 2, 1])), path)
    return path


def bounded(call):
    """Call with a look at the memory it takes."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        found = call()
        most = tracemalloc.get_traced_memory()[1]
        assert most < MEMORY, f"{most / 2**20:.0f} MB"
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 60
    return found


def test_there_are_ten():
    assert len(TEN) == 10


@pytest.mark.parametrize("torture", [one for some in TEN.values() for one in some], ids=lambda one: one.__name__)
def test_a_series_is_voxel_for_voxel_right_or_refused_in_a_sentence(tmp_path, dicom, torture):
    expected = written(tmp_path / "data" / "series", dicom, torture)
    cases = [
        VolumeCase((path,), channels=("T1w",), modality="MR")
        for path in (tmp_path / "data" / "series", good(tmp_path / "data"))
    ]
    cache = bounded(lambda: VolumeCache.build(cases, tmp_path / "cache", n_jobs=1))
    # Whatever becomes of it, the other scan is there.
    other = cache.scan(1)
    assert np.array_equal(other.back_to(other.origin).array[0], phantom())
    if torture.code is None:
        scan = cache.scan(0)
        home = scan.back_to(scan.origin)
        assert np.array_equal(home.array[0], expected)
        np.testing.assert_allclose(scan.origin.spacing, (STEP, 0.8, 0.7), rtol=1e-6)
        np.testing.assert_allclose(home.affine[:3, 3], START * (-1, -1, 1), atol=1e-6)
        assert cache.usable.tolist() == [0, 1]
    else:
        assert expected is None
        assert [one.row for one in cache.refused] == [0]
        assert cache.refused[0].code == torture.code, cache.refused[0].detail
        assert cache.refused[0].detail.startswith("series")
        with pytest.raises(VolumeRefused) as caught:
            cache.scan(0)
        sentence = str(caught.value)
        assert sentence.count(";") >= 2
        assert all(word in sentence for word in torture.words), sentence
        assert str(tmp_path) not in sentence
        assert len(list((tmp_path / "cache" / "v1" / "scans").iterdir())) == 1
    # Nothing half-written, and nobody named.
    assert not list((tmp_path / "cache").rglob("*.draft"))
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert not any(secret.encode() in kept for secret in SECRETS)


def test_voxels_beyond_32_bits_are_refused_when_they_are_read(tmp_path):
    path = tmp_path / "huge.nii.gz"
    write_nifti(Volume(array=phantom() * 1e305, affine=np.eye(4)), path)
    cases = [VolumeCase((one,), channels=("T1w",), modality="MR") for one in (path, good(tmp_path))]
    cache = VolumeCache.build(cases, tmp_path / "cache", n_jobs=1)
    assert [(one.row, one.code) for one in cache.refused] == [(0, "NOT_FINITE")]
    assert cache.refused[0].detail.startswith("huge.nii.gz: as numbers of 32 bits")
    assert cache.usable.tolist() == [1]
