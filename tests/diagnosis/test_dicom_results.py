from __future__ import annotations

import datetime
import hashlib

import numpy as np
import pytest

from aimed.core import DataError
from aimed.diagnosis.dicom_results import write_dicom_results
from aimed.diagnosis.dicom_statement import FindingResult, ModelIdentity, PictureResult

MODEL = ModelIdentity("ab" * 32, "chest-demo")
RESULT = PictureResult(
    model=MODEL,
    findings=(
        FindingResult(key="effusion", probability=0.8, threshold=0.5),
        FindingResult(key="nodule", probability=0.1, threshold=0.5),
        FindingResult(key="mass", probability=0.2),
    ),
)
HEAT = np.linspace(0, 1, 48 * 40, dtype=np.float32).reshape(48, 40)
MAPS = {"nodule": HEAT, "effusion": HEAT[::-1]}
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)


def read(path):
    import pydicom

    return pydicom.dcmread(path)


def test_report_and_captures_are_files_named_by_their_own_uids(radiograph_file, tmp_path):
    source = tmp_path / "Quixote_Zebedee.dcm"
    source.write_bytes(radiograph_file())
    paths = write_dicom_results(source, RESULT, MAPS, tmp_path / "new" / "out", created=NOON)
    found = [read(p) for p in paths]
    assert [d.Modality for d in found] == ["SR", "OT", "OT"]
    assert [p.name for p in paths] == [f"{d.SOPInstanceUID}.dcm" for d in found]
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(p.name for p in paths)
    assert len({d.SOPInstanceUID for d in found}) == 3
    assert {d.StudyInstanceUID for d in found} == {"1.2.3.4"}
    assert found[1].SeriesInstanceUID == found[2].SeriesInstanceUID != found[0].SeriesInstanceUID
    assert [d.InstanceNumber for d in found[1:]] == [1, 2]
    assert [d.DerivationDescription.split()[3] for d in found[1:]] == ["effusion", "nodule"]


def test_the_same_results_at_the_same_time_are_the_same_bytes(radiograph_file, tmp_path):
    one, two = (
        write_dicom_results(radiograph_file(), RESULT, MAPS, tmp_path / name, created=NOON) for name in ("a", "b")
    )
    assert [p.name for p in one] == [p.name for p in two]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_results_go_to_no_other_file(radiograph_file, tmp_path, patient_words):
    predicted, other = radiograph_file(), radiograph_file(PatientID="MRN-778899-B")
    digest = hashlib.sha256(predicted).hexdigest()
    result = PictureResult(model=MODEL, findings=RESULT.findings, sha256=digest)
    assert len(write_dicom_results(predicted, result, {}, tmp_path)) == 1
    with pytest.raises(DataError, match="another file") as caught:
        write_dicom_results(other, result, {}, tmp_path / "out")
    assert not any(word in str(caught.value) for word in patient_words)
    assert not (tmp_path / "out").exists()


def test_without_maps_there_is_a_report_alone(radiograph_file, tmp_path):
    assert [read(p).Modality for p in write_dicom_results(radiograph_file(), RESULT, {}, tmp_path)] == ["SR"]


def test_a_refused_picture_gets_nothing(radiograph_file, tmp_path):
    refused = PictureResult(model=MODEL, refused="NOT_RADIOGRAPH")
    assert write_dicom_results(radiograph_file(), refused, {}, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("maps", [{"other": HEAT}, {"nodule": HEAT.T}, {"effusion": HEAT, "nodule": HEAT * np.nan}])
def test_nothing_is_written_when_a_map_is_wrong(radiograph_file, tmp_path, maps):
    with pytest.raises(DataError):
        write_dicom_results(radiograph_file(), RESULT, maps, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_no_part(radiograph_file, tmp_path, monkeypatch):
    pydicom = pytest.importorskip("pydicom", reason="the imaging extra is not installed")

    def full(self, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    with pytest.raises(OSError, match="No space"):
        write_dicom_results(radiograph_file(), RESULT, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_phantoms_go_through_whole(tmp_path):
    pytest.importorskip("highdicom", reason="the imaging extra is not installed")
    from aimed.readers.radiograph import read_radiograph
    from aimed.synthetic import write_study

    write_study(tmp_path / "study", 1, size=64, seed=3)
    source = sorted((tmp_path / "study").rglob("*.dcm"))[0]
    shape = read_radiograph(source).pixels.shape
    paths = write_dicom_results(source, RESULT, {"effusion": np.ones(shape)}, tmp_path / "out")
    assert read(paths[0]).PatientName == read(source).PatientName
    assert read(paths[1]).QualityControlImage == "YES"


# -------------------------------------------------------------------------------------------------- a hospital archive


def test_an_archive_files_the_results_with_their_picture(radiograph_file, tmp_path, archive):
    source = radiograph_file(charset=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    paths = write_dicom_results(source, RESULT, MAPS, tmp_path / "out", created=NOON)
    answers = [archive("/instances", data) for data in (source, *(p.read_bytes() for p in paths))]
    assert [a["Status"] for a in answers] == ["Success"] * 4
    assert len({a["ParentStudy"] for a in answers}) == len({a["ParentPatient"] for a in answers}) == 1
    assert len({a["ParentSeries"] for a in answers}) == 3
    tags = [archive(f"/instances/{a['ID']}/simplified-tags") for a in answers]
    assert len({t["PatientName"] for t in tags}) == 1
    assert "山田" in tags[0]["PatientName"]
    assert [t["SeriesDescription"][:17] for t in tags[1:]] == ["Research use only"] * 3
    again = archive("/instances", paths[0].read_bytes())
    assert again["Status"] == "AlreadyStored"
