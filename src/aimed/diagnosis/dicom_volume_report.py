"""Volumes of outlined regions as a DICOM structured report (TID 1500) beside the segmentation, marked as research."""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

from aimed.core import DataError
from aimed.diagnosis.dicom_report_parts import (
    SERIES_NUMBER,
    device_observer,
    equipment,
    evidence_of,
    own_code,
    own_scheme,
    put_comments,
)
from aimed.diagnosis.dicom_scan_source import ScanSource, scan_source
from aimed.diagnosis.dicom_scan_statement import SITES, RegionResult, ScanResult
from aimed.diagnosis.dicom_segmentation import tracking
from aimed.diagnosis.dicom_source import derived_uid, stamp
from aimed.diagnosis.dicom_statement import RESEARCH
from aimed.readers.dicom_library import highdicom, quietly
from aimed.readers.dicom_series import Series

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["volume_report"]


def _measurements(sr: Any, region: RegionResult) -> list[Any]:
    ml, one = sr.CodedConcept("ml", "UCUM", "milliliter"), sr.CodedConcept("1", "UCUM", "no units")
    percent = f"{100 * region.level:g} % interval"
    named = [
        (sr.CodedConcept("118565006", "SCT", "Volume"), region.ml, ml),
        (own_code(sr, "VOLUME_LOWER", f"Volume, lower limit of {percent}"), region.lower, ml),
        (own_code(sr, "VOLUME_UPPER", f"Volume, upper limit of {percent}"), region.upper, ml),
        (own_code(sr, "EXPECTED_DICE", "Expected Dice with a reader's outline"), region.expected_dice, one),
    ]
    return [sr.Measurement(name=name, value=float(v), unit=unit) for name, v, unit in named if v is not None]


def _group(hd: Any, source: ScanSource, segmentation: Dataset, number: int, region: RegionResult, model: Any) -> Any:
    sr = hd.sr
    uid, name = tracking(source, model, region)
    site = SITES.get(source.owner.image.get("BodyPartExamined", ""))
    outlined = ("OUTLINED", "Outlined") if region.ml > 0 else ("NOT_OUTLINED", "Nothing outlined")
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier=name),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(source.owner.series),
        ),
        finding_category=sr.CodedConcept(*region.category),
        finding_type=sr.CodedConcept(*region.kind),
        finding_sites=[sr.FindingSite(sr.CodedConcept(*site))] if site and region.kind != site else None,
        algorithm_id=sr.AlgorithmIdentification(
            name=f"aimed, study {model.study}", version=model.version, parameters=[f"model {model.digest}"]
        ),
        measurements=_measurements(sr, region),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                name=own_code(sr, "OUTPUT", "Output of the research model"), value=own_code(sr, *outlined)
            )
        ],
    )


def _comments(source: ScanSource, result: ScanResult) -> list[str]:
    found = [RESEARCH, f"Made by {result.model.line}. No person has checked it."]
    if source.made:
        found.append(f"The scan has no {' and no '.join(source.made)}; new ones were made for these results.")
    without = [region.label for region in result.regions if region.lower is None]
    if without:
        found.append(f"No interval is known for the volume of: {', '.join(without)}.")
    found += [f"Warning: {text}" for text in result.warnings]
    found += [f"Warning, {region.label}: {text}" for region in result.regions for text in region.warnings]
    return found


def _content(hd: Any, source: ScanSource, segmentation: Dataset, result: ScanResult) -> Any:
    sr = hd.sr
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device_observer(sr, result.model)),
        procedure_reported=sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[
            _group(hd, source, segmentation, number, region, result.model)
            for number, region in enumerate(result.regions, start=1)
        ],
        title=sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    put_comments(sr, report, _comments(source, result))
    return report


def volume_report(
    source: Series | ScanSource,
    segmentation: Dataset,
    result: ScanResult,
    *,
    created: datetime.datetime | None = None,
) -> Dataset:
    """Write the volumes of outlined regions as a structured report in the study of the scan.

    Parameters
    ----------
    source : Series or ScanSource
        That of the segmentation.
    segmentation : pydicom Dataset
        What `aimed.diagnosis.dicom_segmentation.segmentation` made of the same result.
    result : ScanResult
    created : datetime, optional
        Now when absent. The same result at the same time is the same report, with the same UIDs.

    Returns
    -------
    pydicom Dataset
        Comprehensive 3D SR by TID 1500: a comment "Research use only", the device observer (aimed, its version, the
        digest of the model), and for each region its segment, code, volume in ml with the limits of its interval,
        and expected Dice. PARTIAL, UNVERIFIED and PRELIMINARY: no person has seen it.

    Raises
    ------
    DataError
        If the segmentation is of another scan or of other regions; see also `scan_source`.
    MissingExtraError
        If pydicom or highdicom is not installed.

    References
    ----------
    DICOM PS3.16, TID 1500 "Measurement Report" and TID 1411; PS3.3, A.35.13 "Comprehensive 3D SR".
    """
    hd = highdicom()
    place = source if isinstance(source, ScanSource) else scan_source(source)
    wanted = [tracking(place, result.model, region)[0] for region in result.regions]
    said_there = [str(s.get("TrackingUID")) for s in segmentation.SegmentSequence if s.SegmentNumber > 0]
    if segmentation.StudyInstanceUID != place.owner.study or said_there != wanted:
        raise DataError("a segmentation of another scan, model or set of regions", "the one of this result")
    created = created or datetime.datetime.now()
    model, owner = result.model, place.owner
    said = hashlib.sha256(
        repr((result, str(segmentation.SOPInstanceUID), created.isoformat())).encode("utf-8", "replace")
    ).hexdigest()
    evidence = [
        evidence_of(owner.study, segmentation.SeriesInstanceUID, segmentation.SOPClassUID, segmentation.SOPInstanceUID)
    ]
    for sop_class, instance in dict.fromkeys((kind, uid) for kind, uid, _ in place.instances):
        evidence.append(evidence_of(owner.study, owner.series, sop_class, instance))
    with quietly():
        report: Dataset = hd.sr.Comprehensive3DSR(
            evidence=evidence,
            content=_content(hd, place, segmentation, result),
            series_instance_uid=derived_uid("volume report series", owner.study, model.digest, model.version),
            series_number=SERIES_NUMBER + 3,
            sop_instance_uid=derived_uid("volume report", place.instances[0][1], said),
            instance_number=1,
            series_description=f"{RESEARCH} Volumes",
            is_complete=False,
            is_final=False,
            is_verified=False,
            **equipment(model),
        )
        report.CodingSchemeIdentificationSequence = [own_scheme()]
        stamp(report, owner, created)
    return report
