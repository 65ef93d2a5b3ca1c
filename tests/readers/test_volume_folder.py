"""Scans found in folders: one file a channel, one file a scan, studies of DICOM, lists; nothing of another patient."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")
pytest.importorskip("pydicom", reason="the imaging extra is not installed")

from aimed.core import DataError
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_folder import channel_named, find_scans
from aimed.synthetic import write_brain_study

FOUR = ("FLAIR", "T1w", "T1gd", "T2w")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "heads"
    write_brain_study(folder, 2, formats=("nifti", "dicom"), size=16, seed=2, visits=2)
    return folder


def nifti(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((3, 4, 5), value, dtype=np.int16)
    array[0] += 1
    write_nifti(Volume(array=array, affine=np.eye(4)), path)
    return path


def names(found):
    return [one.name for one in found]


@pytest.mark.parametrize(
    ("word", "channel"),
    [("t1ce", "T1gd"), ("t1c", "T1gd"), ("T1", "T1w"), ("t1n", "T1w"), ("t2f", "FLAIR"), ("t2w", "T2w"), ("t2", "T2w"),
     ("FLAIR", "FLAIR"), ("0003", "T2w"), ("0004", None), ("seg", None), ("BraTS", None)],
)  # fmt: skip
def test_words_for_channels(word, channel):
    assert channel_named(word, FOUR) == channel


def test_names_of_ones_own(tmp_path):
    assert channel_named("arterial", ("native", "Arterial")) == "Arterial"
    assert channel_named("0000", ("CT",)) is None


def test_one_file_a_channel_whatever_the_order_of_names(tmp_path):
    for case, first in (("BraTS-1", 1), ("BraTS-2", 10)):
        for place, word in enumerate(("t1n", "t2f", "t2w", "t1c")):
            nifti(tmp_path / case / f"{case}-{word}.nii.gz", first + place)
    found = find_scans(tmp_path, FOUR)
    assert names(found) == ["BraTS-1/BraTS-1", "BraTS-2/BraTS-2"]
    scan = found[0].case.read()
    assert scan.channels == FOUR
    assert scan.array[:, 1, 0, 0].tolist() == [2, 1, 4, 3]
    only = find_scans(tmp_path / "BraTS-2", FOUR)
    assert names(only) == ["BraTS-2"]


def test_numbers_of_nnunet_in_one_folder(tmp_path):
    for case in ("a_b", "c"):
        for place in range(4):
            nifti(tmp_path / f"{case}_{place:04d}.nii.gz", place + 1)
    found = find_scans(tmp_path, FOUR)
    assert names(found) == ["a_b", "c"]
    assert found[1].case.read().array[:, 1, 0, 0].tolist() == [1, 2, 3, 4]


def test_files_named_by_their_channel_alone_are_the_scan_of_their_folder(tmp_path):
    for word in ("flair", "t1", "t1gd", "t2"):
        nifti(tmp_path / "P1" / f"{word}.nii.gz")
    assert names(find_scans(tmp_path, FOUR)) == ["P1"]
    assert names(find_scans(tmp_path / "P1", FOUR)) == ["P1"]


def test_a_channel_too_few_or_twice_is_refused_by_name(tmp_path):
    for word in ("flair", "t1", "t2"):
        nifti(tmp_path / "few" / f"x_{word}.nii.gz")
    for word in ("flair", "t1", "t1ce", "t1gd", "t2"):
        nifti(tmp_path / "many" / f"x_{word}.nii.gz")
    few, many = find_scans(tmp_path, FOUR)
    assert few.case.refusal == ("MISSING", "no file of T1gd")
    assert many.case.refusal == ("MIXED", "several files of T1gd")
    with pytest.raises(VolumeRefused, match="T1gd"):
        few.case.read()


def test_files_that_name_no_channel_are_scans(tmp_path):
    nifti(tmp_path / "a.nii.gz")
    nifti(tmp_path / "sub" / "b.nii")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / ".hidden.nii").write_bytes(b"")
    assert names(find_scans(tmp_path, FOUR)) == ["a.nii.gz", "sub/b.nii"]
    assert names(find_scans(tmp_path, ("CT",))) == ["a.nii.gz", "sub/b.nii"]
    assert names(find_scans(tmp_path / "a.nii.gz", FOUR)) == ["a.nii.gz"]


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    nifti(tmp_path / "outside.nii.gz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").symlink_to(tmp_path / "outside.nii.gz")
    (found,) = find_scans(tmp_path / "in", FOUR)
    assert found.case.refusal[0] == "OUTSIDE"


def test_each_study_of_dicom_is_a_scan(study, tmp_path):
    found = find_scans(study / "dicom", FOUR)
    assert len(found) == 4
    assert names(found) == sorted(f"PHANTOM-00000{p}/0{v}" for p in (1, 2) for v in (1, 2))
    scan = found[0].case.read()
    assert scan.channels == FOUR
    assert names(find_scans(study / "dicom" / "PHANTOM-000001" / "01", FOUR)) == ["01"]
    mixed = tmp_path / "mixed"
    shutil.copytree(study / "dicom" / "PHANTOM-000001" / "01" / "T1w", mixed / "T1w")
    shutil.copytree(study / "dicom" / "PHANTOM-000001" / "01" / "T2w", mixed / "b" / "T2w")
    shutil.copytree(study / "dicom" / "PHANTOM-000002" / "01" / "T2w", mixed / "b" / "other")
    codes = {one.name: (one.case.refusal or (None,))[0] for one in find_scans(mixed, FOUR)}
    assert codes == {"mixed": "MIXED", "b/other": None}


def test_archives_of_dicom_are_studies_each(study, tmp_path):
    for patient in (1, 2):
        shutil.make_archive(str(tmp_path / f"p{patient}"), "zip", study / "dicom" / f"PHANTOM-00000{patient}" / "01")
    found = find_scans(tmp_path / "p1.zip", FOUR)
    assert names(found) == ["p1.zip"]
    assert found[0].case.read().channels == FOUR
    assert names(find_scans(tmp_path, FOUR)) == ["p1.zip", "p2.zip"]


def test_lists_and_tables(study, tmp_path):
    found = find_scans(study / "dataset.json", FOUR)
    assert names(find_scans(study, FOUR)) == names(found)
    assert found[0].name == "PHANTOM-000001_01"
    table = tmp_path / "t.csv"
    nifti(tmp_path / "a.nii.gz")
    table.write_text("who,scan\nx,a.nii.gz\ny,gone.nii.gz\nz,../b.nii.gz\n")
    listed = find_scans(table, ("CT",), image="scan", unit="who")
    assert [one.id for one in listed] == ["x", "y", "z"]
    assert [(one.case.refusal or (None,))[0] for one in listed] == [None, "MISSING", "OUTSIDE"]
    assert listed[0].name == "a.nii.gz"


def test_nothing_or_the_wrong_question(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.md").write_text("no scan")
    for source in (tmp_path / "gone", tmp_path / "empty", tmp_path / "text"):
        with pytest.raises(DataError):
            find_scans(source, FOUR)
    with pytest.raises(DataError, match="no table"):
        find_scans(nifti(tmp_path / "a.nii"), FOUR, image="scan")
    table = tmp_path / "t.csv"
    table.write_text("scan\na.nii\n")
    with pytest.raises(DataError, match="no column"):
        find_scans(table, ("CT",), image="scan", unit="who")
