from __future__ import annotations

import shutil

import numpy as np
import pytest

from aimed.core import DataError
from aimed.core.grid import Grid
from aimed.core.image import ImageRefused
from aimed.core.volume import VolumeRefused
from aimed.diagnosis.dicom_scan_source import scan_source, series_of
from aimed.readers.dicom_series import find_series

SHAPE = (5, 6, 7)


def series(scans, folder, **changes):
    place = changes.pop("affine", None)
    return find_series(
        scans.write_series(folder, scans.numbered(SHAPE), scans.affine_of() if place is None else place, **changes)
    ).only()


def test_slices_stand_in_the_order_of_the_volume(scans, tmp_path):
    found = series(scans, tmp_path)
    source = scan_source(found)
    import pydicom

    files = [pydicom.dcmread(file.path) for file, _ in found.files]
    assert [uid for _, uid, _ in source.instances] == [f.SOPInstanceUID for f in files]
    assert np.array_equal(source.places, [[float(v) for v in f.ImagePositionPatient] for f in files])
    assert np.array_equal(np.stack([f.pixel_array for f in files]), found.read().array)
    assert (source.frame_of_reference, source.owner.study, source.modality) == (scans.FRAME, scans.STUDY, "MR")
    assert source.made == ()
    assert np.array_equal(source.grid.affine, found.read().affine)


def test_it_shows_nothing_of_the_patient(scans, tmp_path):
    text = repr(scan_source(series(scans, tmp_path)))
    assert not any(word in text for word in scans.WORDS)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("PatientID", "MRN-778899-2", "2 patients"), ("PatientName", "Quixote^Zebedee^X", "2 names of patients"),
        ("StudyInstanceUID", "1.2.3", "2 studies"),
    ],
)  # fmt: skip
def test_slices_of_several_patients_are_refused(scans, tmp_path, tag, value, words):
    def each(ds, k):
        if k == 2:
            setattr(ds, tag, value)

    with pytest.raises(DataError, match=words) as caught:
        scan_source(series(scans, tmp_path, each=each))
    assert value not in str(caught.value)


def test_slices_that_cannot_be_told_apart_are_refused(scans, tmp_path):
    def each(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    with pytest.raises(DataError, match="share a SOPInstanceUID"):
        scan_source(series(scans, tmp_path, each=each))


def test_a_slice_without_a_name_is_refused(scans, tmp_path):
    def each(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "not a uid"

    with pytest.raises(DataError, match="SOPInstanceUID"):
        scan_source(series(scans, tmp_path, each=each))


def test_another_contrast_of_another_patient_is_refused(scans, tmp_path):
    one = series(scans, tmp_path / "a")
    same = series(scans, tmp_path / "b", SeriesInstanceUID="1.2.7")
    other = series(scans, tmp_path / "c", SeriesInstanceUID="1.2.8", PatientID="MRN-1")
    assert scan_source(one, [same]).owner.series == scans.SERIES
    with pytest.raises(DataError, match="several patients"):
        scan_source(one, [same, other])


def test_the_series_of_a_grid_is_the_nearest_and_of_equals_the_first(scans, tmp_path):
    moved, far = scans.affine_of(), scans.affine_of()
    moved[0, 3] += 0.004
    far[0, 3] += 5
    affines = {"far": far, "near": moved, "a": scans.affine_of(), "b": scans.affine_of()}
    found = [
        series(scans, tmp_path / name, affine=affine, SeriesInstanceUID=f"1.2.{k}")
        for k, (name, affine) in enumerate(affines.items())
    ]
    assert series_of(found, found[2].grid) is found[2]
    assert series_of(found, found[1].grid) is found[1]
    assert series_of(found[:2], found[3].grid) is found[1]
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        series_of(found, Grid(SHAPE, np.diag([1.0, 1.0, 9.0, 1.0])))


def test_files_that_are_gone_are_refused(scans, tmp_path):
    found = series(scans, tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ImageRefused, match="MISSING"):
        scan_source(found)
