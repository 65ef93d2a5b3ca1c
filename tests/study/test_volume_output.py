"""What is written for a scan: masks where the scan lies, volumes without a patient, DICOM beside its own patient."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")

from aimed.core import DataError, MissingExtraError
from aimed.core.volume import Volume, VolumeRefused
from aimed.diagnosis.dicom_statement import RESEARCH, ModelIdentity
from aimed.readers.dicom_segmentation import read_segmentation
from aimed.readers.nifti import read_nifti, write_nifti
from aimed.readers.volume_table import VolumeCase, read_volume_table
from aimed.study.volume_output import VolumeOutput, dicom_series_of
from aimed.synthetic import write_brain_study

MODEL = ModelIdentity("sha256:" + "ab" * 32, "brain-demo", "9.8.7")
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)
SHAPE = (7, 9, 11)
KEYS = ("whole_tumour", "tumour_core", "enhancing_tumour")
CONTRASTS = ("FLAIR", "T1w", "T1gd", "T2w")


def outlined_of(labels: Volume):
    """Return what a model would say, with labels 1, 2, 3 as nested regions."""
    masks = np.stack([labels.array >= k for k in (1, 2, 3)])
    ml = [float(m.sum() * labels.grid.voxel_ml) for m in masks]
    return SimpleNamespace(
        masks=masks, labels=labels, expected_dice=dict(zip(KEYS, (0.9, None, float("nan")), strict=True)),
        volumes={
            KEYS[0]: {"ml": ml[0], "lower": 0.9 * ml[0], "upper": 1.2 * ml[0] + 1},
            KEYS[1]: {"ml": ml[1], "lower": None, "upper": None},
            KEYS[2]: {"ml": ml[2], "lower": float("nan"), "upper": float("nan")},
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Return a tiny study of one tilted phantom as NIfTI and as scrambled DICOM."""
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    root = tmp_path_factory.mktemp("phantoms") / "study"
    plan = write_brain_study(root, 1, size=18, spacing=9.0, seed=3, scrambled=True, tilt=12)
    return root, plan[0]


def test_a_phantom_goes_from_nifti_to_dicom_and_back_bit_for_bit(phantoms, scans, tmp_path):
    root, scan = phantoms
    truth = read_nifti(root / scan.label_path, labels=True)
    case = VolumeCase((root / scan.dicom_path,), channels=CONTRASTS, modality="MR")
    read = case.read()
    # On the grid of the DICOM series, as a model that read them would outline.
    labels = dataclasses.replace(truth.reoriented(read.orientation), steps=())
    outlined = outlined_of(Volume(array=labels.array, affine=read.affine, labels=True))
    write = VolumeOutput(tmp_path, MODEL, dicom=True)
    record = write("scan-0001", case, outlined, created=NOON)
    assert (write.written, write.left_out) == (1, {})
    back = read_segmentation(tmp_path / record["files"]["segmentation"]["file"], like=truth)
    for mask, k in zip(back.masks.array, (1, 2, 3), strict=True):
        assert np.array_equal(mask, truth.array >= k)
    write_nifti(back.masks.with_array(back.masks.array.sum(axis=0, dtype=np.uint8), labels=True), tmp_path / "b.nii.gz")
    home = read_nifti(tmp_path / "b.nii.gz", labels=True)
    assert np.array_equal(home.array, truth.array)
    assert home.array.dtype == truth.array.dtype
    assert np.array_equal(home.affine, truth.affine)
    # And by the grid of the series alone, within what decimal strings hold.
    lying = read_segmentation(tmp_path / record["files"]["segmentation"]["file"], like=read).masks.reoriented("RAS")
    np.testing.assert_allclose(lying.affine, truth.affine, atol=1e-4)
    assert np.array_equal(lying.array.sum(axis=0), truth.array)


def test_the_series_of_the_channels_are_found(phantoms, scans):
    root, scan = phantoms
    case = VolumeCase((root / scan.dicom_path,), channels=("T2w", "FLAIR"))
    assert [s.contrast for s in dicom_series_of(case)] == ["T2w", "FLAIR"]
    apart = VolumeCase(tuple(root / scan.dicom_path / name for name in CONTRASTS), channels=CONTRASTS)
    assert [s.contrast for s in dicom_series_of(apart)] == list(CONTRASTS)


@pytest.mark.parametrize("kind", ["nifti", "nifti per channel"])
def test_a_scan_from_nifti_gets_mask_and_volumes_and_a_sentence(phantoms, scans, tmp_path, kind):
    root, scan = phantoms
    truth = read_nifti(root / scan.label_path, labels=True)
    images, channels = (root / scan.image_path,), CONTRASTS
    if kind != "nifti":
        images, channels = (root / scan.label_path,) * 2, ("a", "b")
    case = VolumeCase(images, channels=channels)
    with pytest.raises(DataError, match="read from NIfTI"):
        dicom_series_of(case)
    write = VolumeOutput(tmp_path, MODEL, dicom=True)
    record = write("one", case, outlined_of(truth))
    assert "read from NIfTI" in record["dicom_refused"]
    assert write.left_out == {"NO_DICOM": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.json", "one.nii.gz"]
    import nibabel

    mine, theirs = nibabel.load(tmp_path / "one.nii.gz").header, nibabel.load(images[0]).header
    for name in ("srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "sform_code", "qform_code"):
        assert np.array_equal(mine[name], theirs[name])
    assert np.array_equal(read_nifti(tmp_path / "one.nii.gz", labels=True).array, truth.array)


@pytest.fixture
def drawn(scans, tmp_path):
    """Return a case of one series of a made-up patient and its outlines."""
    folder = scans.write_series(tmp_path / "MRN-778899", scans.numbered(SHAPE), scans.affine_of(turn=(9, 8, 7)))
    case = VolumeCase((folder,), channels=("FLAIR",))
    labels = case.read().with_array(scans.nested(SHAPE).sum(axis=0, dtype=np.uint8), labels=True)
    return case, outlined_of(labels)


def test_volumes_are_told_with_interval_code_and_model_and_without_the_patient(drawn, scans, tmp_path):
    case, outlined = drawn
    write = VolumeOutput(
        tmp_path / "out", MODEL, labels={"whole_tumour": "Whole tumour"}, level=0.9, dicom=True,
        codes={"tumour_core": ("393564001", "SCT", "Glioblastoma")},
    )  # fmt: skip
    write("scan-1", case, outlined, warnings=("odd greys",), sha256="cd" * 32, created=NOON)
    text = (tmp_path / "out" / "scan-1.json").read_text()
    assert not any(word in text for word in scans.WORDS)
    assert scans.STUDY not in text
    assert "scan-1" not in text.replace("scan-1.nii.gz", "")
    record = json.loads(text)
    assert (record["notice"], record["created"], record["warnings"]) == (RESEARCH, "2026-11-21T12:00:00", ["odd greys"])
    assert record["model"] == {"digest": "ab" * 32, "study": "brain-demo", "version": "9.8.7"}
    assert set(record["versions"]) == {"aimed", "highdicom"}
    assert record["scan"]["sha256"] == "cd" * 32
    assert record["scan"]["shape_zyx"] == list(SHAPE)
    one, two, three = record["regions"]
    ml = outlined.volumes["whole_tumour"]
    assert (one["label"], one["ml"], one["lower_ml"], one["upper_ml"], one["level"], one["expected_dice"]) == (
        "Whole tumour", ml["ml"], ml["lower"], ml["upper"], 0.9, 0.9,
    )  # fmt: skip
    assert (one["voxels"], one["code"]["value"]) == (int(outlined.masks[0].sum()), "108369006")
    assert (two["lower_ml"], two["level"], two["expected_dice"], two["code"]["value"]) == (
        None,
        None,
        None,
        "393564001",
    )
    assert (three["upper_ml"], three["expected_dice"], three["code"]["scheme"]) == (None, None, "NCIt")
    for file in record["files"].values():
        data = (tmp_path / "out" / file["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
    assert set(record["files"]) == {"mask", "segmentation", "report"}


def test_dicom_results_stand_beside_their_patient(drawn, scans, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    case, outlined = drawn
    record = VolumeOutput(tmp_path / "out", MODEL, dicom=True)("a", case, outlined)
    made = [pydicom.dcmread(tmp_path / "out" / record["files"][k]["file"]) for k in ("segmentation", "report")]
    assert [d.Modality for d in made] == ["SEG", "SR"]
    for one in made:
        assert (one.PatientID, one.StudyInstanceUID) == ("MRN-778899", scans.STUDY)
        assert "not a medical device" in one.SeriesDescription.lower()
    assert not list((tmp_path / "out").glob("*.part"))


def test_dicom_results_may_have_a_folder_of_their_own(drawn, tmp_path):
    record = VolumeOutput(tmp_path / "out", MODEL, dicom=tmp_path / "pacs" / "in")("a", *drawn)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.json", "a.nii.gz"]
    names = {record["files"][k]["file"] for k in ("segmentation", "report")}
    assert {p.name for p in (tmp_path / "pacs" / "in").iterdir()} == names


def test_without_the_wish_no_dicom_is_written(drawn, tmp_path):
    record = VolumeOutput(tmp_path / "out", MODEL)("a", *drawn)
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".gz", ".json"]
    assert "dicom_refused" not in record


def test_a_label_map_needs_regions_apart(drawn, tmp_path):
    write = VolumeOutput(tmp_path / "out", MODEL, dicom=True, kind="LABELMAP")
    assert "overlap" in write("a", *drawn)["dicom_refused"]
    case, outlined = drawn
    outlined.masks = np.stack([outlined.labels.array == k for k in (1, 2, 3)])
    record = write("b", case, outlined)
    back = read_segmentation(tmp_path / "out" / record["files"]["segmentation"]["file"], like=outlined.labels)
    assert np.array_equal(back.painted().array, outlined.labels.array)
    assert (write.written, write.left_out) == (2, {"NO_DICOM": 1})


def test_outlines_go_to_no_other_scan(drawn, scans, tmp_path):
    _, outlined = drawn
    other = scans.write_series(tmp_path / "other", scans.numbered(SHAPE), scans.affine_of(turn=(9, 8, 12)))
    write = VolumeOutput(tmp_path / "out", MODEL, dicom=True)
    record = write("a", VolumeCase((other,)), outlined)
    assert "GRIDS_DIFFER" in record["dicom_refused"]
    assert write.left_out == {"GRIDS_DIFFER": 1}
    nifti = tmp_path / "scan.nii.gz"
    write_nifti(Volume(array=np.zeros(SHAPE, np.int16), affine=np.eye(4)), nifti)
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        write("b", VolumeCase((nifti,)), outlined)
    assert not list((tmp_path / "out").glob("b*"))


def test_contrasts_of_several_patients_get_no_dicom(scans, tmp_path):
    folders = [
        scans.write_series(
            tmp_path / name, scans.numbered(SHAPE), scans.affine_of(), SeriesInstanceUID=f"1.2.{k}", PatientID=name
        )
        for k, name in enumerate(("a", "b"))
    ]
    case = VolumeCase(tuple(folders), channels=("T1w", "T2w"))
    labels = case.read().with_array(scans.nested(SHAPE).sum(axis=0, dtype=np.uint8), labels=True)
    record = VolumeOutput(tmp_path / "out", MODEL, dicom=True)("a", case, outlined_of(labels))
    assert "several patients" in record["dicom_refused"]
    assert set(record["files"]) == {"mask"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\0", ".hidden", "x" * 101, "a b"])
def test_names_stay_in_the_folder(drawn, tmp_path, name):
    with pytest.raises(DataError, match="plain name"):
        VolumeOutput(tmp_path / "out", MODEL)(name, *drawn)
    assert not (tmp_path / "out").exists()


def test_outlines_that_do_not_fit_are_refused(drawn, tmp_path):
    case, outlined = drawn
    outlined.masks = outlined.masks[:2]
    with pytest.raises(DataError, match="do not fit"):
        VolumeOutput(tmp_path / "out", MODEL)("a", case, outlined)
    assert not (tmp_path / "out").exists()


def test_the_library_is_asked_for_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        VolumeOutput(tmp_path, MODEL, dicom=True)


def test_what_a_model_returns_can_be_written():
    module = pytest.importorskip("aimed.diagnosis.outlines_model", reason="torch is not installed")
    names = {field.name for field in dataclasses.fields(module.Outlined)}
    assert {"masks", "labels", "volumes", "expected_dice"} <= names


# ------------------------------------------------------------------------------------------------------- on real scans


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 1])
def test_real_masks_go_from_nifti_to_dicom_and_back(shared_data, scans, tmp_path, row):
    case = read_volume_table(shared_data("brats", "dataset.json")).cases[row]
    scan = case.read().channel("FLAIR") if "FLAIR" in case.channels else case.read().channel(case.channels[0])
    truth = case.read_mask()
    flat = scan.reoriented("LPS")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ flat.affine
    folder = scans.write_series(tmp_path / "s", flat.array.astype(np.int16), lps)
    series = VolumeCase((folder,), channels=("FLAIR",))
    read = series.read()
    labels = truth.reoriented("LPS")
    outlined = outlined_of(Volume(array=np.asarray(labels.array), affine=read.affine, labels=True))
    record = VolumeOutput(tmp_path / "out", MODEL, dicom=True)("a", series, outlined, created=NOON)
    path = tmp_path / "out" / record["files"]["segmentation"]["file"]
    back = read_segmentation(path, like=truth)
    for mask, k in zip(back.masks.array, (1, 2, 3), strict=True):
        assert np.array_equal(mask, truth.array >= k)
    assert np.array_equal(back.masks.affine, truth.affine)
    np.testing.assert_allclose(read_segmentation(path, like=read).masks.reoriented("RAS").affine,
                               truth.reoriented("RAS").affine, atol=1e-4)  # fmt: skip
    if shutil.which("dciodvfy"):
        for what in ("segmentation", "report"):
            path = tmp_path / "out" / record["files"][what]["file"]
            said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
            assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []
