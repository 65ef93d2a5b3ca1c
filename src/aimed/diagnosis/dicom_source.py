"""The patient, the study and the picture that a DICOM result belongs to, taken from the DICOM file it was made from."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aimed.core import DataError, MissingExtraError
from aimed.core.image import ImageRefused
from aimed.readers.dicom_elements import is_dicom, parse_dicom
from aimed.readers.dicom_library import quietly
from aimed.readers.image_files import ImageFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["DicomSource", "Source", "derived_uid", "dicom_source", "file_bytes", "stamp", "write_dataset"]

Source: TypeAlias = "str | os.PathLike[str] | bytes | ImageFile | Dataset"

CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.3",
    "1.2.840.10008.5.1.4.1.1.7.4",
)
"""Computed and digital radiographs, and secondary captures: the kinds that are read as radiographs."""

_ALWAYS: Mapping[str, str] = {
    "PatientName": "identity",
    "PatientID": "identity",
    "PatientBirthDate": "date",
    "PatientSex": "sex",
    "StudyDate": "date",
    "StudyTime": "time",
    "AccessionNumber": "identity",
    "ReferringPhysicianName": "identity",
    "StudyID": "identity",
}
"""What every DICOM object has, empty where it is not known (type 2), and how a value is checked."""

_WHEN_KNOWN: Mapping[str, str] = {
    "IssuerOfPatientID": "identity",
    "PatientAge": "age",
    "PatientSize": "number",
    "PatientWeight": "number",
    "PatientIdentityRemoved": "yes_no",
    "DeidentificationMethod": "words",
    "StudyDescription": "words",
}
_IMAGE: Mapping[str, str] = {
    "BodyPartExamined": "code",
    "QualityControlImage": "yes_no",
    "LossyImageCompression": "lossy",
    "LossyImageCompressionRatio": "number",
    "LossyImageCompressionMethod": "code",
}
_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_PLACE = ("InstanceNumber", "PatientOrientation", "FrameOfReferenceUID")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_WORDS = {
    "sex": re.compile(r"[MFO]"),
    "time": re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    "age": re.compile(r"\d{3}[DWMY]"),
    "yes_no": re.compile(r"YES|NO"),
    "number": re.compile(r"\d{1,9}(\.\d{1,6})?"),
    "lossy": re.compile(r"01"),
    "code": re.compile(r"[A-Z0-9_ ]{1,16}"),
}


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class DicomSource:
    """Whose picture a result is of; its printed form shows none of it.

    Parameters
    ----------
    sop_class, sop_instance, series, study : str
        UIDs.
    number : int
        Of the picture in its series.
    orientation : tuple of str
        Directions of rows and columns, such as ("L", "F"); empty when not known.
    values : mapping of str to str
        Elements of patient and study by keyword, checked; dates and codes that are not valid are empty.
    image : mapping of str to str
        Elements of the picture that a picture made from it keeps.
    made : tuple of str
        UIDs that the file lacks and that were made for it.
    frame_of_reference : str
        UID of the space that places are told in; empty when not known.
    """

    sop_class: str
    sop_instance: str
    series: str
    study: str
    number: int
    orientation: tuple[str, ...]
    values: Mapping[str, str]
    image: Mapping[str, str]
    made: tuple[str, ...]
    frame_of_reference: str = ""


def derived_uid(*parts: str) -> str:
    """Return a UID below 2.25 that depends on some texts and on nothing else.

    Examples
    --------
    >>> derived_uid("a", "b") == derived_uid("a", "b") != derived_uid("ab")
    True
    >>> len(derived_uid("a")) <= 64
    True
    """
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def file_bytes(source: Source) -> bytes:
    """Return the bytes of a source file; a data set in memory is written out.

    Raises
    ------
    ImageRefused
        If the file cannot be read.
    DataError
        If a data set cannot be written as a file.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, ImageFile):
        return source.read()
    if isinstance(source, (str, os.PathLike)):
        return ImageFile(Path(source)).read()
    out = BytesIO()
    try:
        with quietly():
            source.save_as(out, enforce_file_format=True)
    # Whatever is wrong with it, the message of the library may quote it.
    except MissingExtraError:
        raise
    except Exception:
        raise DataError("a data set that is no whole DICOM file", "one with file meta information") from None
    return out.getvalue()


def _read(source: Source) -> Dataset:
    if not isinstance(source, (str, os.PathLike, bytes, ImageFile)):
        return source
    data = file_bytes(source)
    if not data:
        raise ImageRefused("EMPTY")
    if not is_dicom(data):
        raise DataError(
            "the source is no DICOM file", "the DICOM file that was predicted", "write CSV or JSON for other pictures"
        )
    try:
        # Lengths, depth and growth of the file are checked before a general reader sees it.
        parse_dicom(data)
        with quietly():
            from pydicom import dcmread

            wanted: list[Any] = [*_UIDS, *_ALWAYS, *_WHEN_KNOWN, *_IMAGE, *_PLACE]
            return dcmread(BytesIO(data), stop_before_pixels=True, force=True, specific_tags=wanted)
    except (ImageRefused, MissingExtraError):
        raise
    except Exception:
        raise ImageRefused("TRUNCATED") from None


def _text(dataset: Any, keyword: str) -> str:
    try:
        found = dataset.get(keyword)
    except Exception:
        return ""
    if isinstance(found, bytes):
        parts = [found.decode("utf-8", "replace")]
    elif isinstance(found, str) or hasattr(found, "components") or not hasattr(found, "__iter__"):
        # A name of a person can be walked through, but is one value.
        parts = [] if found is None else [str(found)]
    else:
        parts = [str(part) for part in found]
    return _CONTROL.sub("", "\\".join(parts)).strip()


def _checked(kind: str, text: str) -> str:
    """Return a text as a value of its kind, or an empty one."""
    if kind == "identity":
        # As it stands, whatever its length: archives compare it letter by letter.
        return text
    if kind == "words":
        return text.replace("\\", "/")[:64]
    if kind == "date":
        digits = re.sub(r"[.]", "", text)
        try:
            datetime.datetime.strptime(digits, "%Y%m%d")
        except ValueError:
            return ""
        return digits if len(digits) == 8 else ""
    return text if _WORDS[kind].fullmatch(text) else ""


def _values(dataset: Any, kinds: Mapping[str, str]) -> dict[str, str]:
    return {keyword: _checked(kind, _text(dataset, keyword)) for keyword, kind in kinds.items()}


def _uid(dataset: Any, keyword: str) -> str:
    text = _text(dataset, keyword)
    if not text and keyword.startswith("SOP"):
        text = _text(getattr(dataset, "file_meta", None) or {}, f"MediaStorage{keyword}")
    return text if len(text) <= 64 and _UID.fullmatch(text) else ""


def dicom_source(source: Source, *, classes: Collection[str] | None = CLASSES) -> DicomSource:
    """Read whose picture a DICOM file or data set is.

    Parameters
    ----------
    source : path, bytes, ImageFile or pydicom Dataset
    classes : collection of str, optional
        SOP classes that are taken: radiographs; None takes any, for a file that a reader has judged already.

    Returns
    -------
    DicomSource

    Raises
    ------
    DataError
        If it is no DICOM file, or nothing can refer to it because it has no SOPInstanceUID.
    ImageRefused
        If it is damaged, hostile or of another class.
    MissingExtraError
        If pydicom is not installed.

    Notes
    -----
    Texts are decoded by the character set of the file and written as UTF-8, so that names survive; private elements
    are not looked at. A file without a study or a series gets UIDs that depend on its SOPInstanceUID alone.

    Examples
    --------
    >>> dicom_source(b"no DICOM at all")
    Traceback (most recent call last):
    aimed.core.errors.DataError: the source is no DICOM file; expected ...
    """
    dataset = _read(source)
    with quietly():
        uids = {keyword: _uid(dataset, keyword) for keyword in _UIDS}
        values = _values(dataset, _ALWAYS) | {k: v for k, v in _values(dataset, _WHEN_KNOWN).items() if v}
        image = {k: v for k, v in _values(dataset, _IMAGE).items() if v}
        number = _text(dataset, "InstanceNumber")
        orientation = tuple(_text(dataset, "PatientOrientation").split("\\"))
        frame = _uid(dataset, "FrameOfReferenceUID")
    if not (uids["SOPClassUID"] and uids["SOPInstanceUID"]):
        raise DataError(
            "the DICOM file has no valid SOPClassUID or SOPInstanceUID",
            "a file that others can refer to",
            "export it again from the archive",
        )
    if classes is not None and uids["SOPClassUID"] not in classes:
        raise ImageRefused("NOT_RADIOGRAPH", "another kind of DICOM object")
    made = tuple(keyword for keyword in _UIDS[2:] if not uids[keyword])
    for keyword in made:
        uids[keyword] = derived_uid(keyword, uids["SOPInstanceUID"])
    if "LossyImageCompression" not in image:
        image = {k: v for k, v in image.items() if not k.startswith("Lossy")}
    if values.get("PatientIdentityRemoved") == "YES":
        values.setdefault("DeidentificationMethod", "As told by the source picture")
    plausible = len(orientation) == 2 and all(re.fullmatch(r"[APRLHF]{1,3}", d) for d in orientation)
    return DicomSource(
        sop_class=uids["SOPClassUID"], sop_instance=uids["SOPInstanceUID"], series=uids["SeriesInstanceUID"],
        study=uids["StudyInstanceUID"], number=int(number) if re.fullmatch(r"[1-9]\d{0,8}", number) else 1,
        orientation=orientation if plausible else (), values=values, image=image, made=made,
        frame_of_reference=frame,
    )  # fmt: skip


def stamp(dataset: Dataset, source: DicomSource, created: datetime.datetime) -> None:
    """Write patient, study and time of making into a new data set, as UTF-8.

    Parameters
    ----------
    dataset : pydicom Dataset
        Changed in place.
    source : DicomSource
    created : datetime
    """
    with quietly():
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in source.values.items():
            setattr(dataset, keyword, value)
        dataset.StudyInstanceUID = source.study
        day, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
        for name in ("InstanceCreation", "Content"):
            setattr(dataset, f"{name}Date", day)
            setattr(dataset, f"{name}Time", time)
        for equipment in dataset.get("ContributingEquipmentSequence", ()):
            equipment.ContributionDateTime = day + time


def write_dataset(dataset: Dataset, folder: str | os.PathLike[str]) -> Path:
    """Write a data set under its own UID; a file of that name is whole or not there.

    Parameters
    ----------
    dataset : pydicom Dataset
    folder : path
        Made when absent.

    Returns
    -------
    Path
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{dataset.SOPInstanceUID}.dcm"
    # Hidden, and under its own name: what a kill leaves is written over when the same is written again.
    name = place / f".{path.name}.part"
    try:
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file, quietly():
            dataset.save_as(file, enforce_file_format=True)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    return path
