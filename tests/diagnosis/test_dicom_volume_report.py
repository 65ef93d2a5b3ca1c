from __future__ import annotations

import datetime
import shutil
import subprocess
from io import BytesIO

import numpy as np
import pytest

from aimed.core import DataError
from aimed.diagnosis.dicom_scan_source import scan_source
from aimed.diagnosis.dicom_scan_statement import RegionResult, ScanResult
from aimed.diagnosis.dicom_segmentation import segmentation
from aimed.diagnosis.dicom_statement import RESEARCH, ModelIdentity
from aimed.diagnosis.dicom_volume_report import volume_report
from aimed.readers.dicom_series import find_series

MODEL = ModelIdentity("sha256:" + "ab" * 32, "brain-demo", "9.8.7")
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)
SHAPE = (7, 9, 11)
REGIONS = (
    RegionResult(
        key="whole_tumour", label="Whole tumour", ml=30.123456789012345, lower=25.0, upper=36.5, level=0.9,
        expected_dice=0.91, warnings=("many pieces",),
    ),
    RegionResult(key="tumour_core", label="Tumour core: größer", ml=0.0),
    RegionResult(key="region_x", label="Something else", ml=1e-7, lower=0.0, upper=1e5),
)  # fmt: skip
RESULT = ScanResult(model=MODEL, regions=REGIONS, warnings=("the contrast T2w is unlike those of training",))


def written(dataset):
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture
def made(scans, tmp_path):
    """Return the source, the segmentation and the report as another program reads it."""
    import highdicom

    folder = scans.write_series(tmp_path / "scan", scans.numbered(SHAPE), scans.affine_of(turn=(20, -10, 5)))
    source = scan_source(find_series(folder).only())
    masks = scans.nested(SHAPE)
    masks[1] = False
    outlines = segmentation(source, masks, RESULT, created=NOON)
    data = written(volume_report(source, outlines, RESULT, created=NOON))
    return source, outlines, highdicom.sr.srread(BytesIO(data)), data


def test_patient_and_study_are_those_of_the_scan(made, scans):
    _, outlines, report, data = made
    assert (report.PatientName, report.PatientID, report.AccessionNumber) == (
        "Quixote^Zebedee",
        "MRN-778899",
        "ACC-5551",
    )
    assert (report.StudyInstanceUID, report.StudyDate) == (scans.STUDY, "20260110")
    assert (report.SOPClassUID, report.Modality) == ("1.2.840.10008.5.1.4.1.1.88.34", "SR")
    assert len({report.SeriesInstanceUID, outlines.SeriesInstanceUID, scans.SERIES}) == 3
    assert b"SECRET" not in data


def test_it_says_research_before_anything_else(made):
    report = made[2]
    assert RESEARCH in report.SeriesDescription
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "PARTIAL", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    kinds = [(i.ValueType, i.get("TextValue")) for i in report.ContentSequence if i.RelationshipType == "CONTAINS"]
    assert kinds[0] == ("TEXT", RESEARCH)
    texts = [text for _, text in kinds]
    assert "Warning: the contrast T2w is unlike those of training" in texts
    assert "Warning, Whole tumour: many pieces" in texts
    assert "No interval is known for the volume of: Tumour core: größer." in texts
    observer = report.content.get_observer_contexts()[0].observer_identifying_attributes
    assert (observer.name, observer.serial_number) == ("aimed", "ab" * 32)


def test_each_region_has_its_volume_interval_and_expected_dice(made):
    _, outlines, report, _ = made
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [g.finding_type.value for g in groups] == ["108369006", "108369006", "85756007"]
    numbers = [[(m.name.value, m.value, m.unit.value) for m in g.get_measurements()] for g in groups]
    assert numbers[0] == [
        ("118565006", pytest.approx(30.123456789012345, rel=1e-12), "ml"), ("VOLUME_LOWER", 25.0, "ml"),
        ("VOLUME_UPPER", 36.5, "ml"), ("EXPECTED_DICE", 0.91, "1"),
    ]  # fmt: skip
    assert numbers[1] == [("118565006", 0.0, "ml")]
    assert numbers[2][0][1] == 1e-7
    assert "90 %" in groups[0].get_measurements()[1].name.meaning
    said = [{e.name.value: e.value.value for e in g.get_qualitative_evaluations()}["OUTPUT"] for g in groups]
    assert said == ["OUTLINED", "NOT_OUTLINED", "OUTLINED"]
    assert all("by a research model" in g.tracking_identifier for g in groups)
    assert [g.tracking_uid for g in groups] == [s.TrackingUID for s in outlines.SegmentSequence]


def test_each_region_points_at_its_segment(made, scans):
    source, outlines, report, _ = made
    for number, group in enumerate(report.content.get_volumetric_roi_measurement_groups(), start=1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == outlines.SOPInstanceUID
        assert segment.has_source_images() is False
        assert list(np.atleast_1d(segment.referenced_segment_numbers)) == [number]
    listed = {instance for _, _, instance, _ in report.get_evidence()}
    assert listed == {outlines.SOPInstanceUID} | {uid for _, uid, _ in source.instances}


def test_the_same_result_is_the_same_report(made):
    source, outlines, _, data = made
    assert written(volume_report(source, outlines, RESULT, created=NOON)) == data
    other = volume_report(source, outlines, RESULT, created=NOON + datetime.timedelta(seconds=1))
    assert written(other) != data


def test_a_label_map_has_its_report_too(scans, tmp_path):
    import highdicom

    source = scan_source(find_series(scans.write_series(tmp_path, scans.numbered(SHAPE), scans.affine_of())).only())
    masks = np.zeros((3, *SHAPE), bool)
    masks[0, 2], masks[2, 4] = True, True
    outlines = segmentation(source, masks, RESULT, kind="LABELMAP")
    report = highdicom.sr.srread(BytesIO(written(volume_report(source, outlines, RESULT))))
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 3


def test_the_segmentation_must_be_of_the_same_result(made, scans, tmp_path):
    source, outlines, _, _ = made
    with pytest.raises(DataError, match="another scan"):
        volume_report(source, outlines, ScanResult(model=MODEL, regions=REGIONS[:2]))
    with pytest.raises(DataError, match="another scan"):
        volume_report(source, outlines, ScanResult(model=ModelIdentity("cd" * 32, "x"), regions=REGIONS))
    folder = scans.write_series(
        tmp_path / "other", scans.numbered(SHAPE), scans.affine_of(), StudyInstanceUID="1.2.3.9",
        SeriesInstanceUID="1.2.3.9.1",
    )  # fmt: skip
    with pytest.raises(DataError, match="another scan"):
        volume_report(find_series(folder).only(), outlines, RESULT)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
@pytest.mark.parametrize("drop", [(), ("FrameOfReferenceUID", "PatientID", "StudyDate", "StudyInstanceUID")])
def test_the_validator_finds_no_error(scans, tmp_path, drop):
    folder = scans.write_series(tmp_path / "scan", scans.numbered(SHAPE), scans.affine_of(), drop=drop)
    source = scan_source(find_series(folder).only())
    outlines = segmentation(source, scans.nested(SHAPE), RESULT)
    path = tmp_path / "report.dcm"
    path.write_bytes(written(volume_report(source, outlines, RESULT)))
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert "Comprehensive3DSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []
