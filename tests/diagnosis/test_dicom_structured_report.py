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
from aimed.core.image import ImageRefused
from aimed.diagnosis.dicom_statement import RESEARCH, FindingResult, ModelIdentity, PictureResult
from aimed.diagnosis.dicom_structured_report import structured_report

MODEL = ModelIdentity("sha256:" + "ab" * 32, "chest-demo", "9.8.7")
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)
FINDINGS = (
    FindingResult(
        key="effusion", label="Effusion", probability=0.1234567890123, threshold=0.5, lower=0.1, upper=0.2, level=0.9,
        spread=0.03, conformal="absent", warnings=("fewer than 10 positives",),
    ),
    FindingResult(key="nodule", probability=0.8, threshold=0.5, conformal="strange-set"),
    FindingResult(key="enlarged_cardiomediastinum", label="Breites Mediastinum: größer", probability=1e-7),
)  # fmt: skip
RESULT = PictureResult(model=MODEL, findings=FINDINGS, warnings=("the picture is unlike those of training",))


def written(dataset):
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def read(data):
    import highdicom

    return highdicom.sr.srread(BytesIO(data))


def items(container):
    for item in container.ContentSequence:
        yield item
        if "ContentSequence" in item:
            yield from items(item)


@pytest.fixture
def report(radiograph_file):
    return read(written(structured_report(radiograph_file(), RESULT, created=NOON)))


def test_patient_and_study_are_those_of_the_source(report):
    assert (report.PatientName, report.PatientID, report.PatientBirthDate) == (
        "Quixote^Zebedee", "MRN-778899", "19330217",
    )  # fmt: skip
    assert (report.StudyInstanceUID, report.AccessionNumber, report.StudyID) == ("1.2.3.4", "ACC-5551", "S7")
    assert (report.StudyDate, report.ReferringPhysicianName) == ("20260110", "Panza^Sancho")
    assert report.SeriesInstanceUID != "1.2.3.4.1"
    assert report.SOPInstanceUID.startswith("2.25.")
    assert (report.SOPClassUID, report.Modality) == ("1.2.840.10008.5.1.4.1.1.88.33", "SR")


def test_it_says_research_where_people_and_machines_look(report):
    assert RESEARCH in report.SeriesDescription
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "PARTIAL", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    kinds = [(i.ValueType, i.get("TextValue")) for i in report.ContentSequence if i.RelationshipType == "CONTAINS"]
    assert kinds[0] == ("TEXT", RESEARCH)
    assert kinds[-1][0] == "CONTAINER"


def test_warnings_are_told(report):
    texts = [i.TextValue for i in report.ContentSequence if i.ValueType == "TEXT"]
    assert "Warning: the picture is unlike those of training" in texts
    assert "Warning, Effusion: fewer than 10 positives" in texts


def test_the_observer_is_the_program_and_its_model(report):
    observer = report.content.get_observer_contexts()[0]
    found = observer.observer_identifying_attributes
    assert observer.observer_type.meaning == "Device"
    assert (found.name, found.manufacturer_name, found.serial_number) == ("aimed", "aimed", "ab" * 32)
    assert "9.8.7" in found.model_name
    assert report.DeviceSerialNumber == "ab" * 32


def test_findings_are_coded_with_numbers_and_decision(report):
    groups = {g.finding_type.value: g for g in report.content.get_image_measurement_groups()}
    assert list(groups) == ["60046008", "27925004", "enlarged_cardiomediastinum"]
    assert groups["60046008"].finding_type.scheme_designator == "SCT"
    assert groups["enlarged_cardiomediastinum"].finding_type.scheme_designator == "99AIMED"
    assert groups["enlarged_cardiomediastinum"].finding_type.meaning == "Breites Mediastinum: größer"
    assert [s.value.value if hasattr(s.value, "value") else s.value for s in groups["27925004"].finding_sites]
    numbers = [(m.name.value, m.value, m.unit.value) for m in groups["60046008"].get_measurements()]
    assert numbers == [
        ("122157", 0.1234567890123, "1"), ("PROB_LOWER", 0.1, "1"), ("PROB_UPPER", 0.2, "1"),
        ("PROB_SPREAD", 0.03, "1"), ("THRESHOLD", 0.5, "1"),
    ]  # fmt: skip
    assert "90 %" in groups["60046008"].get_measurements()[1].name.meaning
    outputs = {
        code: {e.name.value: e.value.value for e in g.get_qualitative_evaluations()} for code, g in groups.items()
    }
    assert outputs["60046008"] == {"OUTPUT": "NOT_CALLED", "CONFORMAL": "absent"}
    assert outputs["27925004"] == {"OUTPUT": "CALLED", "CONFORMAL": "strange-set"}
    assert outputs["enlarged_cardiomediastinum"] == {"OUTPUT": "NO_THRESHOLD"}


def test_every_group_says_that_it_is_a_probability_and_of_which_picture(report):
    for group in report.content.get_image_measurement_groups():
        assert "probability by a research model" in group.tracking_identifier
        assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in group.source_images] == ["1.2.3.4.5"]
    assert [e[2] for e in report.get_evidence()] == ["1.2.3.4.5"]


def test_private_elements_stay_behind(report):
    data = written(report)
    assert b"SECRET-OF-VENDOR" not in data
    assert not any(e.tag.is_private for e in report)


def test_numeric_strings_fit_their_kind(report):
    for item in items(report):
        if item.ValueType == "NUM":
            assert len(str(item.MeasuredValueSequence[0].NumericValue)) <= 16


def test_the_same_result_is_the_same_report(radiograph_file):
    source = radiograph_file()
    one, two = (written(structured_report(source, RESULT, created=NOON)) for _ in range(2))
    assert one == two
    later = structured_report(source, RESULT, created=NOON + datetime.timedelta(seconds=1))
    other = structured_report(source, PictureResult(model=MODEL, findings=FINDINGS[:2]), created=NOON)
    uids = {read(one).SOPInstanceUID, later.SOPInstanceUID, other.SOPInstanceUID}
    assert len(uids) == 3
    assert later.SeriesInstanceUID == other.SeriesInstanceUID


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^José"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"), ("GB18030", "Wang=王^小东")],
)
def test_names_survive(radiograph_file, charset, name):
    found = read(written(structured_report(radiograph_file(charset=charset, PatientName=name), RESULT)))
    assert str(found.PatientName) == name
    assert found.SpecificCharacterSet == "ISO_IR 192"


def test_a_source_without_patient_or_study_still_gets_its_report(radiograph_file):
    source = radiograph_file(drop=("StudyInstanceUID", "PatientName", "StudyDate"), PatientID="")
    found = read(written(structured_report(source, RESULT)))
    assert (found.PatientID, found.PatientName) == ("", "")
    assert any("no StudyInstanceUID" in i.TextValue for i in found.ContentSequence if i.ValueType == "TEXT")


def test_a_data_set_in_memory_is_a_source_and_stays_as_it_is(radiograph_file):
    import pydicom

    source = pydicom.dcmread(BytesIO(radiograph_file()))
    before = source.to_json()
    assert structured_report(source, RESULT).PatientID == "MRN-778899"
    assert source.to_json() == before


def test_a_refused_picture_gets_no_report(radiograph_file):
    with pytest.raises(DataError, match="refused"):
        structured_report(radiograph_file(), PictureResult(model=MODEL, refused="NOT_RADIOGRAPH"))


def test_a_png_has_no_patient():
    import io

    image = pytest.importorskip("PIL.Image", reason="the imaging extra is not installed")
    out = io.BytesIO()
    image.fromarray(np.zeros((8, 8), np.uint8)).save(out, "PNG")
    with pytest.raises(DataError, match="no DICOM file"):
        structured_report(out.getvalue(), RESULT)


def test_nothing_is_said_about_bad_values(radiograph_file, patient_words, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    source = radiograph_file(
        PatientName="Quixote=^^^^^^=Zebedee=x", PatientBirthDate="MRN-778899", PatientID="MRN-778899" * 9,
        StudyTime="ACC-5551", StudyDescription="two views " * 30, PatientAge="old",
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        structured_report(source, RESULT)
    assert not said
    out = capsys.readouterr()
    assert not any(word in caplog.text + out.out + out.err for word in patient_words)


def test_a_damaged_source_is_refused(radiograph_file):
    with pytest.raises(ImageRefused, match="TRUNCATED"):
        structured_report(radiograph_file()[:900], RESULT)


def test_without_the_library_the_message_says_what_to_type(radiograph_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        structured_report(radiograph_file(), RESULT)


def test_importing_the_module_does_not_import_the_library():
    code = "import sys, aimed.diagnosis.dicom_results; assert not {'highdicom', 'pydicom'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
@pytest.mark.parametrize(
    "changes",
    [{}, {"charset": "GB18030", "PatientName": "Wang=王^小东"}, {"drop": ("StudyInstanceUID", "PatientID")}],
)
def test_the_validator_finds_no_error(radiograph_file, tmp_path, changes):
    path = tmp_path / "report.dcm"
    path.write_bytes(written(structured_report(radiograph_file(**changes), RESULT)))
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert "ComprehensiveSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []
