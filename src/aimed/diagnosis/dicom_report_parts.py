"""What all DICOM results share: who made them, own codes with their scheme, comments that are read first, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aimed.diagnosis.dicom_source import derived_uid
from aimed.diagnosis.dicom_statement import SCHEME, ModelIdentity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "SERIES_NUMBER",
    "device_observer",
    "equipment",
    "evidence_of",
    "own_code",
    "own_scheme",
    "put_comments",
]

SERIES_NUMBER = 99_001
"""Of reports on pictures, far above what devices use; captures, segmentations and reports on scans follow."""


def equipment(model: ModelIdentity) -> dict[str, str]:
    """Return which device made a result, by the names of highdicom.

    Examples
    --------
    >>> equipment(ModelIdentity("ab" * 32, "demo", "1.0"))["manufacturer_model_name"]
    'aimed, study demo'
    """
    return {
        "manufacturer": "aimed",
        "manufacturer_model_name": f"aimed, study {model.study}"[:64],
        "software_versions": model.version,
        "device_serial_number": model.digest,
    }


def own_code(sr: Any, key: str, meaning: str) -> Any:
    """Return a code that no standard has; `sr` is the module highdicom.sr."""
    return sr.CodedConcept(key, SCHEME, meaning)


def own_scheme() -> Dataset:
    """Return the item that says whose scheme the own codes are of."""
    from pydicom.dataset import Dataset

    found = Dataset()
    found.CodingSchemeDesignator, found.CodingSchemeName = SCHEME, "aimed"
    found.CodingSchemeResponsibleOrganization = "aimed"
    return found


def device_observer(sr: Any, model: ModelIdentity) -> Any:
    """Return the observer of a report: the program and its model, never a person."""
    return sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("model", model.digest, model.version),
            name="aimed",
            manufacturer_name="aimed",
            model_name=f"aimed {model.version}, study {model.study}",
            serial_number=model.digest,
        ),
    )


def put_comments(sr: Any, report: Any, texts: Sequence[str]) -> None:
    """Put comments before the measurements, so that whoever reads from the top reads them first."""
    items = report[0].ContentSequence
    first = next(i for i, item in enumerate(items) if item.ValueType == "CONTAINER")
    comment = sr.CodedConcept("121106", "DCM", "Comment")
    for i, text in enumerate(texts):
        items.insert(first + i, sr.TextContentItem(comment, text, sr.RelationshipTypeValues.CONTAINS))


def evidence_of(study: str, series: str, sop_class: str, sop_instance: str) -> Dataset:
    """Return what the library needs to refer to an object; the patient is written afterwards and not by it."""
    from pydicom.dataset import Dataset

    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = sop_class, sop_instance
    found.StudyInstanceUID, found.SeriesInstanceUID = study, series
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(found, keyword, "")
    found.StudyDate = found.StudyTime = ""
    return found
