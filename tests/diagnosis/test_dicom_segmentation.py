"""Outlines written as DICOM segmentations and read back: bit for bit, on any grid, beside their own patient."""

from __future__ import annotations

import datetime
import logging
import shutil
import subprocess
import sys
import warnings
from io import BytesIO

import numpy as np
import pytest

from aimed.core import DataError, MissingExtraError
from aimed.core.volume import VolumeRefused
from aimed.diagnosis.dicom_scan_source import scan_source
from aimed.diagnosis.dicom_scan_statement import RegionResult, ScanResult
from aimed.diagnosis.dicom_segmentation import segmentation
from aimed.diagnosis.dicom_statement import RESEARCH, ModelIdentity
from aimed.readers.dicom_library import quietly
from aimed.readers.dicom_segmentation import read_segmentation
from aimed.readers.dicom_series import find_series

MODEL = ModelIdentity("sha256:" + "ab" * 32, "brain-demo", "9.8.7")
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)
RESULT = ScanResult(
    model=MODEL,
    regions=(
        RegionResult(key="whole_tumour", label="Whole tumour", ml=30.0, lower=25.0, upper=36.5, expected_dice=0.9),
        RegionResult(key="tumour_core", label="Tumour core: größer", ml=12.0),
        RegionResult(key="region_x", label="Something else", ml=4.0, code=("X1", "99AIMED", "Something")),
    ),
    warnings=("the contrast T2w is unlike those of training",),
)
SHAPE = (7, 9, 11)


def written(dataset):
    out = BytesIO()
    with quietly():
        dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def read(data):
    import highdicom

    return highdicom.seg.segread(BytesIO(data))


@pytest.fixture
def series(scans, tmp_path):
    folder = scans.write_series(tmp_path / "scan", scans.numbered(SHAPE), scans.affine_of(turn=(20, -10, 5)))
    return find_series(folder).only()


def test_patient_study_and_frame_of_reference_are_those_of_the_source(series, scans):
    found = read(written(segmentation(series, scans.nested(SHAPE), RESULT, created=NOON)))
    assert (found.PatientName, found.PatientID, found.PatientBirthDate, found.PatientSex) == (
        "Quixote^Zebedee", "MRN-778899", "19330217", "M",
    )  # fmt: skip
    assert (found.StudyInstanceUID, found.StudyDate, found.AccessionNumber) == (scans.STUDY, "20260110", "ACC-5551")
    assert found.FrameOfReferenceUID == scans.FRAME
    assert found.SeriesInstanceUID != scans.SERIES
    assert (found.SOPClassUID, found.Modality) == ("1.2.840.10008.5.1.4.1.1.66.4", "SEG")
    assert found.SOPInstanceUID.startswith("2.25.")
    assert RESEARCH in found.SeriesDescription
    assert found.ContentDescription == RESEARCH
    assert not any(element.tag.is_private for element in found)
    assert b"SECRET" not in written(found)


def test_segments_say_what_they_are_and_who_drew_them(series, scans):
    found = read(written(segmentation(series, scans.nested(SHAPE), RESULT)))
    assert [s.SegmentNumber for s in found.SegmentSequence] == [1, 2, 3]
    assert [s.SegmentLabel for s in found.SegmentSequence] == [
        "Whole tumour", "Tumour core: größer", "Something else",
    ]  # fmt: skip
    kinds = [s.SegmentedPropertyTypeCodeSequence[0] for s in found.SegmentSequence]
    assert [(k.CodeValue, k.CodingSchemeDesignator) for k in kinds] == [
        ("108369006", "SCT"), ("108369006", "SCT"), ("X1", "99AIMED"),
    ]  # fmt: skip
    assert found.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99AIMED"
    colours = set()
    for segment in found.SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "aimed, study brain-demo"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmVersion == "9.8.7"
        assert "ab" * 32 in algorithm.AlgorithmParameters
        assert RESEARCH in segment.SegmentDescription
        assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
        colours.add(tuple(segment.RecommendedDisplayCIELabValue))
    assert len(colours) == 3


def test_every_frame_names_the_slice_it_lies_on(series, scans):
    masks = scans.nested(SHAPE)
    found = read(written(segmentation(series, masks, RESULT)))
    sources = {str(s.SOPInstanceUID): s for s in (_header(file) for file, _ in series.files)}
    seen = []
    for frame in found.PerFrameFunctionalGroupsSequence:
        item = frame.DerivationImageSequence[0].SourceImageSequence
        assert len(item) == 1
        source = sources[item[0].ReferencedSOPInstanceUID]
        assert item[0].ReferencedSOPClassUID == scans.MR
        assert "ReferencedFrameNumber" not in item[0]
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(source.ImagePositionPatient)
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(source.ImagePositionPatient, dtype=float)
        turn = np.array(source.ImageOrientationPatient, dtype=float).reshape(2, 3)
        # The library counts slices against the normal, as a volume that is read row by row turns to the right.
        seen.append((number, -float(np.cross(*turn) @ place)))
    assert seen == sorted(seen)
    assert len(seen) == int(masks.any(axis=(2, 3)).sum())
    referenced = found.ReferencedSeriesSequence
    assert [r.SeriesInstanceUID for r in referenced] == [scans.SERIES]
    assert {i.ReferencedSOPInstanceUID for i in referenced[0].ReferencedInstanceSequence} == set(sources)
    # Viewers would take its items for the slices of the frames, one after the other.
    assert "SourceImageSequence" not in found


def _header(file):
    import pydicom

    return pydicom.dcmread(file.path, stop_before_pixels=True)


GEOMETRIES = {
    "axial": {},
    "oblique": {"turn": (31.0, -17.0, 9.0)},
    "sagittal": {"axes": (1, 2, 0), "flips": (1, -1, -1), "spacing": (1.3, 0.9, 0.9)},
    "coronal, thick": {"axes": (0, 2, 1), "flips": (1, -1, 1), "spacing": (6.5, 0.4, 1.7)},
    "feet first, flipped rows": {"flips": (-1, -1, 1)},
    "backwards": {"flips": (1, 1, -1), "turn": (3.0, 2.0, 1.0)},
    "tiny": {"spacing": (0.05, 0.02, 0.03)},
}


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_masks_come_back_bit_for_bit(scans, tmp_path, name, kind):
    voxels, masks = scans.numbered(SHAPE), scans.nested(SHAPE)
    if kind == "LABELMAP":
        masks = np.stack([masks[0] & ~masks[1], masks[1] & ~masks[2], masks[2]])
    found = find_series(scans.write_series(tmp_path, voxels, scans.affine_of(**GEOMETRIES[name]))).only()
    scan = found.read()
    data = written(segmentation(found, masks, RESULT, kind=kind))
    back = read_segmentation(data, like=scan)
    assert np.array_equal(back.masks.array, masks)
    assert np.array_equal(back.masks.affine, scan.affine)
    assert back.kind == kind
    # Any order of the voxels is as good.
    for code in ("RAS", "PIR", "LSA"):
        turned = scan.reoriented(code)
        other = read_segmentation(data, like=turned.grid)
        expected = scan.with_array(masks.astype(np.uint8), labels=True).reoriented(code)
        assert np.array_equal(other.masks.array, expected.array)
        np.testing.assert_allclose(other.masks.affine, expected.affine, atol=1e-9)
    # Without the scan the grid is that of the frames, and every voxel has the same place in the body.
    alone = read_segmentation(data)
    first = int(np.flatnonzero(masks.any(axis=(0, 2, 3)))[0])
    assert np.array_equal(alone.masks.array, masks[:, first : first + alone.masks.shape[1]])
    expected = scan.affine @ np.array([0, 0, first, 1.0])
    np.testing.assert_allclose(alone.masks.affine[:, 3], expected, atol=1e-6)
    np.testing.assert_allclose(alone.masks.affine[:3, :3], scan.affine[:3, :3], atol=1e-6)
    # Another reader agrees, which counts slices the other way.
    theirs = read(data).get_volume(combine_segments=False)
    lps = np.diag([-1, -1, 1, 1]) @ alone.masks.affine
    last = lps @ np.array([0, 0, alone.masks.shape[1] - 1, 1.0])
    expected = np.column_stack([-lps[:, 2], lps[:, 1], lps[:, 0], last])
    np.testing.assert_allclose(theirs.affine, expected, atol=1e-6)
    assert np.array_equal(np.moveaxis(theirs.array, -1, 0)[:, ::-1], alone.masks.array)


@pytest.mark.parametrize("seed", range(12))
def test_any_grid_comes_back(scans, tmp_path, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 8, 3))
    masks = rng.random((3, *shape)) < rng.choice([0.02, 0.5])
    affine = scans.affine_of(
        rng.uniform(0.1, 8, 3),
        rng.uniform(-80, 80, 3),
        rng.permutation(3),
        rng.choice([-1, 1], 3),
        rng.normal(0, 200, 3),
    )
    found = find_series(scans.write_series(tmp_path, scans.numbered(shape), affine, seed=seed)).only()
    back = read_segmentation(written(segmentation(found, masks, RESULT)), like=found.grid)
    assert np.array_equal(back.masks.array, masks)


def test_slices_of_a_few_voxels_are_refused(scans, tmp_path):
    found = find_series(scans.write_series(tmp_path, scans.numbered((4, 2, 3)), scans.affine_of())).only()
    with pytest.raises(DataError, match="2 x 3"):
        segmentation(found, np.zeros((3, 4, 2, 3), bool), RESULT)


def test_slices_a_little_uneven_keep_their_own_places(scans, tmp_path):
    nudge = np.array([0, 0.03, -0.04, 0.02, 0, -0.03, 0])
    folder = scans.write_series(tmp_path, scans.numbered(SHAPE), scans.affine_of(), nudge=nudge)
    found = find_series(folder).only()
    data = written(segmentation(found, scans.nested(SHAPE), RESULT))
    back = read_segmentation(data, like=found.grid)
    assert np.array_equal(back.masks.array, scans.nested(SHAPE))


def test_frames_of_one_file_are_named_by_their_number(scans, tmp_path):
    masks = scans.nested(SHAPE)
    path = scans.write_frames(tmp_path / "a.dcm", scans.numbered(SHAPE), scans.affine_of(turn=(5, 4, 3)))
    found = find_series(path).only()
    data = written(segmentation(found, masks, RESULT))
    assert np.array_equal(read_segmentation(data, like=found.grid).masks.array, masks)
    import pydicom

    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    dataset = read(data)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPClassUID == scans.ENHANCED
        theirs = frames[item.ReferencedFrameNumber - 1].PlanePositionSequence[0].ImagePositionPatient
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(theirs)
    instances = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [i.ReferencedSOPInstanceUID for i in instances] == [f"{scans.SERIES}.7"]


def test_one_volume_of_a_file_with_several(scans, tmp_path):
    path = scans.write_frames(tmp_path / "a.dcm", scans.numbered(SHAPE), scans.affine_of(), times=2)
    for found in find_series(path).series:
        assert found.decision == "split"
        time = 1 + int(found.read().array.min() >= 1000)
        dataset = segmentation(found, scans.nested(SHAPE), RESULT)
        import pydicom

        frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        used = {
            f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
            for f in dataset.PerFrameFunctionalGroupsSequence
        }
        assert {frames[n - 1].FrameContentSequence[0].TemporalPositionIndex for n in used} == {time}


def test_a_region_without_a_voxel_keeps_its_segment(series, scans):
    masks = scans.nested(SHAPE)
    masks[1] = False
    data = written(segmentation(series, masks, RESULT))
    found = read_segmentation(data, like=series.grid)
    assert np.array_equal(found.masks.array, masks)
    assert [s.number for s in found.segments] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_nothing_outlined_is_a_segmentation_too(series, scans, kind):
    masks = np.zeros((3, *SHAPE), dtype=bool)
    back = read_segmentation(written(segmentation(series, masks, RESULT, kind=kind)), like=series.grid)
    assert not back.masks.array.any()
    assert back.masks.shape == masks.shape


def test_one_region_and_one_voxel(series):
    masks = np.zeros((1, *SHAPE), dtype=bool)
    masks[0, 3, 4, 5] = True
    result = ScanResult(model=MODEL, regions=RESULT.regions[:1])
    data = written(segmentation(series, masks, result))
    assert np.array_equal(read_segmentation(data, like=series.grid).masks.array, masks)
    alone = read_segmentation(data).masks
    assert alone.shape == (1, 1, *SHAPE[1:])
    np.testing.assert_allclose(alone.spacing, series.grid.spacing, rtol=1e-6)


def test_overlap_is_for_one_bit_a_voxel_only(series, scans):
    masks = scans.nested(SHAPE)
    assert read(written(segmentation(series, masks, RESULT))).SegmentsOverlap == "YES"
    with pytest.raises(DataError, match="overlap"):
        segmentation(series, masks, RESULT, kind="LABELMAP")


def test_many_labels_in_a_map(series):
    rng = np.random.default_rng(0)
    painted = rng.integers(0, 301, SHAPE)
    masks = np.stack([painted == k for k in range(1, 301)])
    result = ScanResult(model=MODEL, regions=tuple(RegionResult(key=f"r{k}", ml=1.0) for k in range(300)))
    back = read_segmentation(written(segmentation(series, masks, result, kind="LABELMAP")), like=series.grid)
    assert np.array_equal(back.painted().array, painted)


@pytest.mark.parametrize(
    "masks",
    [
        np.zeros((2, *SHAPE), bool), np.zeros((3, 7, 11, 9), bool), np.zeros(SHAPE, bool),
        np.full((3, *SHAPE), 2), np.full((3, *SHAPE), -1), np.zeros((3, *SHAPE), float),
    ],
)  # fmt: skip
def test_masks_of_another_grid_or_kind_are_refused(series, masks):
    with pytest.raises(DataError):
        segmentation(series, masks, RESULT)


def test_another_kind_is_refused(series, scans):
    with pytest.raises(DataError, match="BINARY or LABELMAP"):
        segmentation(series, scans.nested(SHAPE), RESULT, kind="FRACTIONAL")


def test_the_same_outlines_are_the_same_file(series, scans):
    masks = scans.nested(SHAPE)
    one, two = (written(segmentation(series, masks, RESULT, created=NOON)) for _ in range(2))
    assert one == two
    other = masks.copy()
    other[2, 3, 4, 5] ^= True
    uids = {
        read(data).SOPInstanceUID
        for data in (
            one,
            written(segmentation(series, other, RESULT, created=NOON)),
            written(segmentation(series, masks, RESULT, created=NOON + datetime.timedelta(seconds=1))),
        )
    }
    assert len(uids) == 3


def test_what_is_missing_is_made_and_the_rest_stays_empty(scans, tmp_path):
    drop = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate")
    uids = iter(range(1, 99))

    def each(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{next(uids)}"
        for name in drop:
            delattr(ds, name)

    found = find_series(scans.write_series(tmp_path, scans.numbered(SHAPE), scans.affine_of(), each=each)).only()
    dataset = segmentation(found, scans.nested(SHAPE), RESULT)
    assert (dataset.PatientID, dataset.PatientName) == ("", "")
    assert dataset.FrameOfReferenceUID.startswith("2.25.")
    assert set(scan_source(found).made) == {"StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"}
    assert np.array_equal(read_segmentation(written(dataset), like=found.grid).masks.array, scans.nested(SHAPE))


def test_a_deidentified_scan_stays_so(scans, tmp_path):
    tags = {"PatientName": "ANON", "PatientID": "A1", "PatientIdentityRemoved": "YES"}
    found = find_series(scans.write_series(tmp_path, scans.numbered(SHAPE), scans.affine_of(), **tags)).only()
    dataset = segmentation(found, scans.nested(SHAPE), RESULT)
    assert (dataset.PatientID, dataset.PatientIdentityRemoved) == ("A1", "YES")
    assert dataset.DeidentificationMethod


def test_lossy_once_is_lossy_for_ever(scans, tmp_path):
    tags = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    found = find_series(scans.write_series(tmp_path, scans.numbered(SHAPE), scans.affine_of(), **tags)).only()
    dataset = segmentation(found, scans.nested(SHAPE), RESULT)
    assert (dataset.LossyImageCompression, float(dataset.LossyImageCompressionRatio)) == ("01", 12.5)


def test_a_tilted_series_that_was_kept(scans, tmp_path):
    affine = scans.affine_of()
    affine[1, 2] += 0.6
    folder = scans.write_series(tmp_path, scans.numbered(SHAPE), affine)
    found = find_series(folder, tilted="keep").only()
    back = read_segmentation(written(segmentation(found, scans.nested(SHAPE), RESULT)), like=found.grid)
    assert np.array_equal(back.masks.array, scans.nested(SHAPE))


def test_a_refused_series_gets_no_segmentation(scans, tmp_path):
    affine = scans.affine_of()
    affine[1, 2] += 0.6
    found = find_series(scans.write_series(tmp_path, scans.numbered(SHAPE), affine)).series[0]
    with pytest.raises(VolumeRefused, match="TILTED"):
        segmentation(found, scans.nested(SHAPE), RESULT)


def test_nothing_is_said_about_values(scans, tmp_path, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    tags = {"PatientName": "Quixote=^^^^^^=Zebedee=x", "PatientBirthDate": "MRN-778899", "PatientID": "MRN-778899" * 9}

    def each(ds, k):
        if k == 3:
            ds.PatientID = "MRN-778899-OTHER"

    good = scans.write_series(tmp_path / "good", scans.numbered(SHAPE), scans.affine_of())
    for path in good.iterdir():
        data = path.read_bytes().replace(b"19330217", b"ACC-5551")
        path.write_bytes(data)
    mixed = scans.write_series(tmp_path / "mixed", scans.numbered(SHAPE), scans.affine_of(), each=each)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with quietly():
            bad = scans.write_series(tmp_path / "bad", scans.numbered(SHAPE), scans.affine_of(), **tags)
        for folder in (good, bad):
            segmentation(find_series(folder).only(), scans.nested(SHAPE), RESULT)
        with pytest.raises(DataError, match="2 patients") as caught:
            segmentation(find_series(mixed).only(), scans.nested(SHAPE), RESULT)
    assert not said
    out = capsys.readouterr()
    text = caplog.text + out.out + out.err + str(caught.value) + repr(scan_source(find_series(good).only()))
    assert not any(word in text for word in scans.WORDS)


def test_without_the_library_the_message_says_what_to_type(series, scans, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        segmentation(series, scans.nested(SHAPE), RESULT)


def test_importing_the_modules_does_not_import_the_library():
    code = (
        "import sys, aimed.study.volume_output, aimed.readers.dicom_segmentation; "
        "assert not {'highdicom', 'pydicom'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
@pytest.mark.parametrize("case", ["plain", "oblique", "frames", "empty", "missing", "one"])
def test_the_validator_finds_no_error(scans, tmp_path, case):
    masks, result = scans.nested(SHAPE), RESULT
    place = {"turn": (31.0, -17.0, 9.0)} if case == "oblique" else {}
    voxels, affine = scans.numbered(SHAPE), scans.affine_of(**place)
    if case == "frames":
        source = scans.write_frames(tmp_path / "scan" / "a.dcm", voxels, affine)
    else:
        drop = ("FrameOfReferenceUID", "PatientID", "StudyDate") if case == "missing" else ()
        source = scans.write_series(tmp_path / "scan", voxels, affine, drop=drop)
    if case == "empty":
        masks = np.zeros_like(masks)
    if case == "one":
        masks, result = masks[:1], ScanResult(model=MODEL, regions=RESULT.regions[:1])
    path = tmp_path / "seg.dcm"
    path.write_bytes(written(segmentation(find_series(source).only(), masks, result)))
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert "Segmentation" in lines
    assert [line for line in lines if line.startswith("Error")] == []
