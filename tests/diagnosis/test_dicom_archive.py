"""Outlines and volumes go into a real archive (Orthanc) beside their scan, and come back as they were."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from aimed.diagnosis.dicom_scan_source import scan_source
from aimed.diagnosis.dicom_scan_statement import RegionResult, ScanResult
from aimed.diagnosis.dicom_segmentation import segmentation
from aimed.diagnosis.dicom_source import write_dataset
from aimed.diagnosis.dicom_statement import ModelIdentity
from aimed.diagnosis.dicom_volume_report import volume_report
from aimed.readers.dicom_segmentation import read_segmentation
from aimed.readers.dicom_series import find_series

SHAPE = (7, 9, 11)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_an_archive_keeps_results_beside_their_scan(archive, scans, tmp_path, kind):
    import pydicom

    tags = {"StudyInstanceUID": f"1.2.3.{len(kind)}", "SeriesInstanceUID": f"1.2.3.{len(kind)}.1", "PatientID": kind}
    folder = scans.write_series(tmp_path / "scan", scans.numbered(SHAPE), scans.affine_of(turn=(20, 9, 5)), **tags)
    source = scan_source(find_series(folder).only())
    masks = scans.nested(SHAPE)
    masks = masks if kind == "BINARY" else np.stack([masks[0] & ~masks[1], masks[1] & ~masks[2], masks[2]])
    regions = tuple(RegionResult(key=f"region {k}", ml=float(k), lower=0.0, upper=9.0) for k in range(3))
    result = ScanResult(model=ModelIdentity("ab" * 32, "brain-demo", "9.8.7"), regions=regions)
    outlines = segmentation(source, masks, result, kind=kind)
    made = [write_dataset(d, tmp_path / "out") for d in (outlines, volume_report(source, outlines, result))]
    answers = [archive("/instances", path.read_bytes()) for path in [*folder.iterdir(), *made]]
    assert {a["Status"] for a in answers} == {"Success"}
    assert len({a["ParentStudy"] for a in answers}) == len({a["ParentPatient"] for a in answers}) == 1
    assert len({a["ParentSeries"] for a in answers}) == 3
    back = [archive(f"/instances/{a['ID']}/file", raw=True) for a in answers[-2:]]
    for path, data in zip(made, back, strict=True):
        assert pydicom.dcmread(BytesIO(data)) == pydicom.dcmread(path)
    assert np.array_equal(read_segmentation(back[0], like=source.grid).masks.array, masks)
