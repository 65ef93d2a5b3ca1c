"""The findings of one picture as a DICOM structured report (TID 1500) in the patient's study, marked as research."""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

from aimed.core import DataError, MissingExtraError
from aimed.diagnosis.dicom_source import DicomSource, Source, derived_uid, dicom_source, quietly, stamp
from aimed.diagnosis.dicom_statement import RESEARCH, SCHEME, FindingResult, ModelIdentity, PictureResult, finding_code

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["SERIES_NUMBER", "highdicom", "structured_report"]

SERIES_NUMBER = 99_001
"""Far above what devices use."""

_SETS = {
    "present": "Conformal set: present",
    "absent": "Conformal set: absent",
    "uncertain": "Conformal set: present or absent",
}


def highdicom() -> Any:
    """Return the package highdicom.

    Raises
    ------
    MissingExtraError
        If it is not installed.

    Examples
    --------
    >>> highdicom().__name__
    'highdicom'
    """
    try:
        import highdicom as found
        import highdicom.sr
    except ImportError:
        raise MissingExtraError("highdicom", "a DICOM result", "pip install 'aimed[imaging]'") from None
    return found


def _own(sr: Any, key: str, meaning: str) -> Any:
    return sr.CodedConcept(key, SCHEME, meaning)


def _measurements(sr: Any, finding: FindingResult) -> list[Any]:
    one = sr.CodedConcept("1", "UCUM", "no units")
    percent = f"{100 * finding.level:g} % interval"
    named = [
        (sr.CodedConcept("122157", "DCM", "Probability"), finding.probability),
        (_own(sr, "PROB_LOWER", f"Probability, lower limit of {percent}"), finding.lower),
        (_own(sr, "PROB_UPPER", f"Probability, upper limit of {percent}"), finding.upper),
        (_own(sr, "PROB_SPREAD", "Probability, standard deviation over networks or views"), finding.spread),
        (_own(sr, "THRESHOLD", "Probability at or above which the finding is called"), finding.threshold),
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
    return [sr.QualitativeEvaluation(name=_own(sr, *name), value=_own(sr, *value)) for name, value in found]


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
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("model", model.digest, model.version),
            name="aimed",
            manufacturer_name="aimed",
            model_name=f"aimed {model.version}, study {model.study}",
            serial_number=model.digest,
        ),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=[_group(hd, source, finding, model) for finding in result.findings],
        title=sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    items = report[0].ContentSequence
    # Before the measurements, so that whoever reads from the top reads it first.
    first = next(i for i, item in enumerate(items) if item.ValueType == "CONTAINER")
    comment = sr.CodedConcept("121106", "DCM", "Comment")
    for i, text in enumerate(_comments(source, result)):
        items.insert(first + i, sr.TextContentItem(comment, text, sr.RelationshipTypeValues.CONTAINS))
    return report


def _evidence(source: DicomSource) -> Dataset:
    """Return what the library needs to refer to the source; the patient is written afterwards and not by it."""
    from pydicom.dataset import Dataset

    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = source.sop_class, source.sop_instance
    found.StudyInstanceUID, found.SeriesInstanceUID = source.study, source.series
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(found, keyword, "")
    found.StudyDate = found.StudyTime = ""
    return found


def _scheme() -> Dataset:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.CodingSchemeDesignator, found.CodingSchemeName = SCHEME, "aimed"
    found.CodingSchemeResponsibleOrganization = "aimed"
    return found


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
            evidence=[_evidence(place)],
            content=_content(hd, place, result),
            series_instance_uid=derived_uid("report series", place.study, model.digest, model.version),
            series_number=SERIES_NUMBER,
            sop_instance_uid=derived_uid("report", place.sop_instance, said),
            instance_number=place.number,
            manufacturer="aimed",
            manufacturer_model_name=f"aimed, study {model.study}"[:64],
            software_versions=model.version,
            device_serial_number=model.digest,
            series_description=f"{RESEARCH} Findings",
            is_complete=False,
            is_final=False,
            is_verified=False,
        )
        report.CodingSchemeIdentificationSequence = [_scheme()]
        stamp(report, place, created)
    return report
