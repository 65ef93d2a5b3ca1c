"""Predicted pictures as DICOM files: each beside its own patient, refused and other ones without any."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

pydicom = pytest.importorskip("pydicom", reason="the imaging extra is not installed")
pytest.importorskip("highdicom", reason="the imaging extra is not installed")
pytest.importorskip("torch", reason="the deep extra is not installed")

from aimed.bundle.load import load  # noqa: E402
from aimed.cli.app import app  # noqa: E402
from aimed.core import DataError  # noqa: E402
from aimed.study.dicom_output import DicomOutput  # noqa: E402
from aimed.synthetic import write_study  # noqa: E402


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    write_study(root / "study", 3, size=64, seed=5, masks=False)
    folder = root / "study" / "dicom"
    from PIL import Image

    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(folder / "plain.png")
    (folder / "empty.dcm").write_bytes(b"")
    return folder


def test_reports_and_maps_stand_beside_their_patients(picture_bundle, pictures, tmp_path):
    out = tmp_path / "dicom"
    done = CliRunner().invoke(
        app, ["predict", str(picture_bundle), str(pictures), "--out", str(tmp_path / "p.json"), "--dicom", str(out)]
    )
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "p.json").read_text())["rows"]
    sources = {str(pydicom.dcmread(f).SOPInstanceUID): pydicom.dcmread(f) for f in pictures.rglob("0*.dcm")}
    made = [pydicom.dcmread(f) for f in out.iterdir()]
    reports = [d for d in made if d.Modality == "SR"]
    maps = [d for d in made if d.Modality != "SR"]
    assert len(reports) == len(sources) == sum(r["code"] is None for r in rows) - 1
    called = sum(sum(bool(v) for v in r["present"].values()) for r in rows if r["code"] is None)
    assert 0 < len(maps) <= called
    for one in made:
        patients = {(s.PatientID, s.StudyInstanceUID) for s in sources.values()}
        assert (one.PatientID, one.StudyInstanceUID) in patients
        assert "not a medical device" in one.SeriesDescription.lower()
    assert "NO_DICOM 1" in done.output
    assert "EMPTY 1" in done.output
    assert not any(s.PatientID in done.output for s in sources.values())


def test_without_maps_only_reports_are_written(picture_bundle, pictures, tmp_path):
    bundle = load(picture_bundle)
    out = DicomOutput(bundle, tmp_path / "dicom", maps=False)
    from aimed.readers.image_files import find_images

    files = [f for f in find_images(pictures) if f.path.name.startswith("0")]
    for file, row in zip(files, bundle.predict(files), strict=True):
        out(file, row.to_dict())
    assert out.written == len(files)
    assert not out.left_out


def test_results_go_to_no_other_file(picture_bundle, pictures, tmp_path):
    bundle = load(picture_bundle)
    from aimed.readers.image_files import find_images

    one, two = [f for f in find_images(pictures) if f.path.name.startswith("0")][:2]
    row = next(iter(bundle.predict([one]))).to_dict()
    out = DicomOutput(bundle, tmp_path / "dicom")
    out(two, row)
    assert out.written == 0
    assert out.left_out == {"NOT_WRITTEN": 1}
    assert not (tmp_path / "dicom").exists()


def test_a_model_of_rows_has_no_dicom(tmp_path, lab):
    lab.packed("logistic", tmp_path / "bundle")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "bundle"), "x.csv", "--dicom", str(tmp_path / "d")])
    assert isinstance(done.exception, DataError)
    assert "--dicom" in str(done.exception)
