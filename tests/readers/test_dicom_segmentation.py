"""Segmentations that others write, and files that lie: right, or refused with a code."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import pytest

from aimed.core import DataError
from aimed.core.grid import Grid
from aimed.core.volume import VolumeRefused
from aimed.readers.dicom_segmentation import read_segmentation

SHAPE = (6, 8, 10)
SEG, MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


@pytest.fixture(scope="module")
def theirs(scans):
    """Return a function that writes masks with highdicom as others use it, with elements changed by a function."""
    import highdicom as hd
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    def make(masks, affine=None, change=None, kind="BINARY", omit=True):
        affine = scans.affine_of() if affine is None else affine
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        turn = (affine[:3, :2] / spacing[:2]).T.ravel()
        sources = []
        for k in range(masks.shape[1]):
            ds = Dataset()
            ds.SOPClassUID, ds.SOPInstanceUID = scans.MR, f"1.2.3.{k + 1}"
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.9"
            for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
                setattr(ds, name, "")
            ds.PatientName, ds.StudyDate, ds.StudyTime, ds.Modality = "Quixote^Zebedee", "", "", "MR"
            ds.Rows, ds.Columns = masks.shape[2:]
            ds.ImagePositionPatient = scans.texts(affine[:3, 3] + k * affine[:3, 2])
            ds.ImageOrientationPatient, ds.SliceThickness = scans.texts(turn), scans.texts(spacing[2:])[0]
            ds.PixelSpacing = scans.texts([spacing[1], spacing[0]])
            sources.append(ds)
        stored = np.moveaxis(masks, 0, -1).astype(float if kind == "FRACTIONAL" else np.uint8)
        dataset = hd.seg.Segmentation(
            sources, np.ascontiguousarray(stored), kind,
            [
                hd.seg.SegmentDescription(k + 1, f"part {k + 1}", codes.SCT.Tissue, codes.SCT.Edema, "MANUAL")
                for k in range(len(masks))
            ],
            "1.2.77", 1, "1.2.77.1", 1, "them", "theirs", "1", "1", omit_empty_frames=omit,
        )  # fmt: skip
        if change is not None:
            change(dataset)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()

    return make


def grid_of(affine, shape=SHAPE):
    return Grid(shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
def test_what_others_write_is_read(theirs, scans, tmp_path, kind, omit):
    masks = scans.nested(SHAPE)[[0, 2]]
    masks[0] &= ~masks[1]
    affine = scans.affine_of(turn=(12, 8, -7))
    data = theirs(masks, affine, kind=kind, omit=omit)
    (tmp_path / "seg.dcm").write_bytes(data)
    found = read_segmentation(tmp_path / "seg.dcm", like=grid_of(affine))
    assert np.array_equal(found.masks.array, masks)
    assert [(s.number, s.label, s.code[0], s.algorithm) for s in found.segments] == [
        (1, "part 1", "79654002", "MANUAL"), (2, "part 2", "79654002", "MANUAL"),
    ]  # fmt: skip
    assert found.masks.channels == ("part 1", "part 2")
    assert np.array_equal(found.painted().array, masks[0] + 2 * masks[1])


def test_holes_between_frames_are_empty_slices(theirs, scans):
    masks = np.zeros((1, *SHAPE), bool)
    masks[0, [1, 4], 2:5, 3:6] = True
    alone = read_segmentation(theirs(masks)).masks
    assert np.array_equal(alone.array, masks[:, 1:5])
    assert alone.spacing == pytest.approx((3.0, 0.8, 0.7))


def test_segments_that_overlap_have_no_single_number(theirs, scans):
    found = read_segmentation(theirs(scans.nested(SHAPE)))
    with pytest.raises(DataError, match="overlap"):
        found.painted()


def refusal(code, data, **how):
    with pytest.raises(VolumeRefused) as caught:
        read_segmentation(data, **how)
    assert caught.value.code == code, str(caught.value)
    assert "Quixote" not in str(caught.value)


def _each_frame(name, value):
    def change(ds):
        for frame in ds.PerFrameFunctionalGroupsSequence:
            setattr(frame.PlanePositionSequence[0], name, value)

    return change


def _rows(ds):
    ds.Rows = 40000


def _no_groups(ds):
    del ds.PerFrameFunctionalGroupsSequence


def _few_groups(ds):
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-1]


def _no_orientation(ds):
    del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def _skewed(ds):
    ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def _short(ds):
    ds.PixelData = ds.PixelData[:4]


def _no_segments(ds):
    ds.SegmentSequence = []


def _unknown_segment(ds):
    ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _twice(ds):
    ds.SegmentSequence[1].SegmentNumber = 1


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("NO_GEOMETRY", _each_frame("ImagePositionPatient", None)), ("NO_GEOMETRY", _no_orientation),
        ("BAD_NUMBER", _each_frame("ImagePositionPatient", [1e30, 0, 0])), ("BAD_NUMBER", _skewed),
        ("SIZE_LIES", _no_groups), ("SIZE_LIES", _few_groups), ("TRUNCATED", _short), ("TRUNCATED", _rows),
        ("NOT_A_VOLUME", _no_segments), ("NOT_A_VOLUME", _twice), ("BAD_LABELS", _unknown_segment),
    ],
)  # fmt: skip
def test_files_that_lie_are_refused(theirs, scans, code, change, caplog):
    caplog.set_level(logging.DEBUG)
    data = theirs(scans.nested(SHAPE), change=change)
    caplog.clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        refusal(code, data)
    assert not said
    assert "Quixote" not in caplog.text


def test_shares_are_no_outlines(theirs, scans):
    refusal("BAD_LABELS", theirs(scans.nested(SHAPE), kind="FRACTIONAL"))


def test_other_files_are_refused(scans, tmp_path):
    refusal("NOT_A_VOLUME", b"no DICOM at all")
    refusal("EMPTY", b"")
    refusal("MISSING", tmp_path / "gone.dcm")
    folder = scans.write_series(tmp_path / "s", scans.numbered(SHAPE), scans.affine_of())
    refusal("NOT_A_VOLUME", next(folder.iterdir()))


def test_memory_is_not_taken_for_what_is_claimed(theirs, scans):
    refusal("TOO_LARGE", theirs(scans.nested(SHAPE)), max_bytes=100)

    def far(ds):
        ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 900000]

    refusal("TOO_LARGE", theirs(scans.nested(SHAPE), change=far), max_bytes=10**7)


@pytest.mark.parametrize("seed", range(3))
def test_cut_files_are_refused(theirs, scans, seed):
    data = theirs(scans.nested(SHAPE))
    rng = np.random.default_rng(seed)
    for end in rng.integers(1, len(data) - 2, 12):
        with pytest.raises(VolumeRefused):
            read_segmentation(data[:end])


def test_a_segmentation_of_another_scan_is_refused(theirs, scans):
    affine = scans.affine_of()
    data = theirs(scans.nested(SHAPE), affine)
    moved, turned, fine = affine.copy(), scans.affine_of(turn=(4, 0, 0)), scans.affine_of(spacing=(3.0, 0.75, 0.7))
    moved[0, 3] += 0.5
    between = affine.copy()
    between[:3, 3] += 0.4 * between[:3, 2]
    for other in (moved, turned, fine, between):
        refusal("GRIDS_DIFFER", data, like=grid_of(other))
    refusal("GRIDS_DIFFER", data, like=grid_of(affine, (6, 10, 8)))
    refusal("GRIDS_DIFFER", data, like=grid_of(affine, (3, 8, 10)))
    assert read_segmentation(data, like=grid_of(affine, (60, 8, 10))).masks.shape == (3, 60, 8, 10)
