"""The findings of one picture as a DICOM structured report (TID 1500) in the patient's study, marked as research."""

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
from aimed.diagnosis.dicom_source import DicomSource, Source, derived_uid, dicom_source, stamp
from aimed.diagnosis.dicom_statement import RESEARCH, FindingResult, ModelIdentity, PictureResult, finding_code
from aimed.readers.dicom_library import highdicom, quietly

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["structured_report"]

_SETS = {
    "present": "Conformal set: present",
    "absent": "Conformal set: absent",
    "uncertain": "Conformal set: present or absent",
}


def _measurements(sr: Any, finding: FindingResult) -> list[Any]:
    one = sr.CodedConcept("1", "UCUM", "no units")
    percent = f"{100 * finding.level:g} % interval"
    named = [
        (sr.CodedConcept("122157", "DCM", "Probability"), finding.probability),
        (own_code(sr, "PROB_LOWER", f"Probability, lower limit of {percent}"), finding.lower),
        (own_code(sr, "PROB_UPPER", f"Probability, upper limit of {percent}"), finding.upper),
        (own_code(sr, "PROB_SPREAD", "Probability, standard deviation over networks or views"), finding.spread),
        (own_code(sr, "THRESHOLD", "Probability at or above which the finding is called"), finding.threshold),
    ]
    return [sr.Measurement(name=name, value=float(value), unit=one) for name, value in named if value is not None]


def _evaluations(sr: Any, finding: FindingResult) -> list[Any]:
    decision = {
        True: ("CALLED", "At or above the threshold"),
        False: ("NOT_CALLED", "Below the threshold"),
        None: ("NO_THRESHOLD", "No threshold: not decided"),
    }[finding.called]
    found = [(("OUTPUT", "Output of the research model"), decision)]
    if finding.conformal is not None:
        meaning = _SETS.get(finding.conformal, f"Conformal set: {finding.conformal}")
        found.append((("CONFORMAL", "Conformal set of the research model"), (finding.conformal, meaning)))
    return [sr.QualitativeEvaluation(name=own_code(sr, *name), value=own_code(sr, *value)) for name, value in found]


def _group(hd: Any, source: DicomSource, finding: FindingResult, model: ModelIdentity) -> Any:
    sr = hd.sr
    code, site = finding_code(finding.key, finding.label)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid("finding", source.sop_instance, model.digest, finding.key),
            # A reader that shows the code alone would show a finding that may well be absent.
            identifier=f"{finding.label}: probability by a research model",
        ),
        finding_type=sr.CodedConcept(*code),
        finding_sites=[sr.FindingSite(sr.CodedConcept(*site))] if site else None,
        algorithm_id=sr.AlgorithmIdentification(
            name=f"aimed, study {model.study}", version=model.version, parameters=[f"model {model.digest}"]
        ),
        measurements=_measurements(sr, finding),
        qualitative_evaluations=_evaluations(sr, finding),
        source_images=[sr.SourceImageForMeasurementGroup(source.sop_class, source.sop_instance)],
    )


def _comments(source: DicomSource, result: PictureResult) -> list[str]:
    found = [RESEARCH, f"Made by {result.model.line}. No person has checked it."]
    if source.made:
        found.append(f"The source picture has no {' and no '.join(source.made)}; new ones were made for this report.")
    found += [f"Warning: {text}" for text in result.warnings]
    found += [f"Warning, {f.label}: {text}" for f in result.findings for text in f.warnings]
    return found


def _content(hd: Any, source: DicomSource, result: PictureResult) -> Any:
    sr, model = hd.sr, result.model
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device_observer(sr, model)),
        procedure_reported=sr.CodedConcept("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=[_group(hd, source, finding, model) for finding in result.findings],
        title=sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    put_comments(sr, report, _comments(source, result))
    return report


def structured_report(source: Source, result: PictureResult, *, created: datetime.datetime | None = None) -> Dataset:
    """Write what a model says of a picture as a structured report in the study of the picture.

    Parameters
    ----------
    source : path, bytes, ImageFile or pydicom Dataset
        The DICOM file that was predicted.
    result : PictureResult
    created : datetime, optional
        Now when absent. The same result at the same time is the same report, with the same UIDs.

    Returns
    -------
    pydicom Dataset
        Comprehensive SR by TID 1500: a comment "Research use only", the device observer (aimed, its version, the
        digest of the model), and for each finding its code, probability, threshold and decision. PARTIAL, UNVERIFIED
        and PRELIMINARY: no person has seen it.

    Raises
    ------
    DataError
        If the source is no DICOM file or nothing can refer to it, or if the model refused the picture: a report
        without findings would look like a normal picture.
    ImageRefused
        If the source is damaged, hostile or no radiograph.
    MissingExtraError
        If pydicom or highdicom is not installed.

    References
    ----------
    DICOM PS3.16, TID 1500 "Measurement Report"; PS3.3, A.35.3 "Comprehensive SR".
    """
    if result.refused is not None:
        raise DataError("a picture that the model refused", "one with findings", "tell the refusal in CSV or JSON")
    hd, place = highdicom(), dicom_source(source)
    created = created or datetime.datetime.now()
    model = result.model
    said = hashlib.sha256(repr((result, created.isoformat())).encode("utf-8", "replace")).hexdigest()
    with quietly():
        report: Dataset = hd.sr.ComprehensiveSR(
            evidence=[evidence_of(place.study, place.series, place.sop_class, place.sop_instance)],
            content=_content(hd, place, result),
            series_instance_uid=derived_uid("report series", place.study, model.digest, model.version),
            series_number=SERIES_NUMBER,
            sop_instance_uid=derived_uid("report", place.sop_instance, said),
            instance_number=place.number,
            series_description=f"{RESEARCH} Findings",
            is_complete=False,
            is_final=False,
            is_verified=False,
            **equipment(model),
        )
        report.CodingSchemeIdentificationSequence = [own_scheme()]
        stamp(report, place, created)
    return report
