"""One slice or frame of DICOM: where it lies, what its numbers mean and what tells it apart, without the patient."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core.image import Grey, ImageRefused
from aimed.core.volume import VolumeRefused
from aimed.readers.dicom_elements import is_dicom, parse_dicom
from aimed.readers.dicom_header import Header
from aimed.readers.dicom_image import stored_frames
from aimed.readers.grey_levels import Storage, storage
from aimed.readers.image_files import ImageFile

__all__ = ["Slice", "SliceFile", "contrast", "read_slices", "refused_volume"]

Vector: TypeAlias = NDArray[np.float64]

MAX_FRAMES = 100_000
"""The most frames of one file; an hour of a brain at work has half of it."""

_OTHERS = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "SR", "PR", "KO", "REG", "DOC", "ECG")
"""Objects that have no scan of their own."""

_DEVICES = ("CT", "MR", "PT", "NM", "US", "MG", "XA", "RF", "CR", "DX", "PX", "OPT", "OCT", "OP", "IVUS", "ES", "OT")
"""Whose names are kept; anything else in that field may be anything."""

# --------------------------------------------------------------------------------------------------------- the contrast

_WORDS = (
    ("ADC", r"\bADC\b|APPARENT DIFF"),
    ("DWI", r"DWI|DIFFUSION|\bDIFF\b|TRACE"),
    ("SWI", r"\bSWI|SWAN|SUSC"),
    ("T1", r"\bT1|MPRAGE|\bMPR\b|BRAVO|SPGR|TFE\b"),
    ("FLAIR", r"FLAIR|DARK FLUID|TIRM"),
    ("T2w", r"\bT2"),
)
_ENHANCED = re.compile(r"\bGD\b|\bT1 ?(GD|CE|C)\b|\bGADO?|\bPOST\b|\bCE\b|\+ ?C\b|CONTRAST|ENHANC")
_NATIVE = re.compile(r"\bPRE\b|WITHOUT|\bNON?\b|NATIVE|UNENHANC|W ?O\b")


def contrast(description: str, agent: bool = False) -> str | None:
    """Return the contrast that a description names: FLAIR, T1w, T1gd, T2w, ADC, DWI or SWI; None when it names none.

    Parameters
    ----------
    description : str
    agent : bool
        Whether the header names a contrast agent.

    Examples
    --------
    >>> contrast("t1_mprage_sag post Gd"), contrast("AX T2 FLAIR"), contrast("T1 pre contrast"), contrast("scout")
    ('T1gd', 'FLAIR', 'T1w', None)
    """
    text = re.sub(r"[^A-Z0-9+]+", " ", description.upper())
    name = next((name for name, words in _WORDS if re.search(words, text)), None)
    if name != "T1":
        return name
    if _NATIVE.search(text):
        return "T1w"
    return "T1gd" if agent or _ENHANCED.search(text) else "T1w"


# -------------------------------------------------------------------------------------------------------- one file each


@dataclass(slots=True, eq=False)
class SliceFile:
    """A file with one slice, or with many frames."""

    source: ImageFile
    elements: Mapping[int, Any] | None  # None when it is to be read again
    syntax: str
    frames: int

    def pixels(self) -> tuple[Iterator[Grey], Storage]:
        """Return the frames as stored."""
        elements, syntax = (
            (self.elements, self.syntax) if self.elements is not None else parse_dicom(self.source.read())
        )
        return stored_frames(Header(elements), syntax, self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One plane: where it lies (mm, to the left, back and head, as in DICOM) and what its numbers mean."""

    file: SliceFile
    frame: int
    group: tuple[Any, ...]
    store: Storage
    place: Vector | None
    turn: Vector | None  # cosines of a row and of a column, shape (2, 3)
    spacing: tuple[float, float] | None  # between rows, between columns
    slope: float
    intercept: float
    marks: Mapping[str, Any]


def _hidden(header: Header, keyword: str) -> str | None:
    """Return a digest of an identifier: enough to tell series apart, and no way back."""
    value = (header.content(keyword) or b"").strip(b" \0")
    return hashlib.blake2b(value, digest_size=8).hexdigest() if value else None


def _double(header: Header, keyword: str) -> float | None:
    value = header.content(keyword)
    if value is None or len(value) != 8:
        return None
    found: float = struct.unpack("<d" if header.little_endian(keyword) else ">d", value)[0]
    return found if math.isfinite(found) else None


def _label(header: Header, keyword: str) -> str | None:
    """Return a short code that tells slices apart; one that is damaged tells nothing."""
    value = (header.content(keyword) or b"").strip(b" \0").upper()
    return value.decode("ascii", "replace")[:64] or None


class _Frame:
    """Looks a field up for one frame: in its own groups, then in those of all, then in the file."""

    def __init__(self, top: Header, shared: Header | None, own: Header | None) -> None:
        self.levels = [level for level in (own, shared) if level is not None]
        self.top = top

    def holder(self, sequence: str, keyword: str) -> Header:
        """Return the header that holds a field."""
        for level in self.levels:
            for item in level.items(sequence):
                if item.element(keyword) is not None:
                    return item
        return self.top

    def numbers(self, sequence: str, keyword: str, low: float, high: float) -> list[float]:
        """Return decimal strings, checked."""
        return self.holder(sequence, keyword).numbers(keyword, low, high)


def _turn(values: list[float]) -> Vector | None:
    if not values:
        return None
    if len(values) != 6:
        raise VolumeRefused("BAD_NUMBER", "ImageOrientationPatient")
    turn = np.array(values).reshape(2, 3)
    lengths = np.sqrt((turn**2).sum(axis=1))
    if np.abs(lengths - 1).max() > 0.01 or abs(float(turn[0] @ turn[1])) > 0.01:
        raise VolumeRefused("BAD_NUMBER", "ImageOrientationPatient")
    return np.asarray(turn / lengths[:, None])


def _rescale(frame: _Frame) -> tuple[float, float]:
    slope = frame.numbers("PixelValueTransformationSequence", "RescaleSlope", -1e9, 1e9) or [1.0]
    intercept = frame.numbers("PixelValueTransformationSequence", "RescaleIntercept", -1e9, 1e9) or [0.0]
    if abs(slope[0]) < 1e-9:
        raise VolumeRefused("BAD_NUMBER", "RescaleSlope")
    return slope[0], intercept[0]


def _check_frames(top: Header, frames: int, store: Storage) -> None:
    """Refuse a file that is too small for its frames, before anything is made for each."""
    found = top.element("PixelData")
    pixels = (top.short("Rows") or 0) * (top.short("Columns") or 0)
    # A compressed frame has a head of 8 bytes.
    least = 8 if found is None or found.encapsulated else max(1, pixels * store.allocated // 8)
    if found is not None and frames > 1 and frames * least > len(found.value):
        raise VolumeRefused("SIZE_LIES", "the pixel data are too short for Rows, Columns and NumberOfFrames")


def read_slices(source: ImageFile) -> tuple[list[Slice], int]:
    """Return the slices of one file and its size, or refuse it."""
    data = source.read()
    if not data:
        raise VolumeRefused("EMPTY")
    if not is_dicom(data):
        raise VolumeRefused("NOT_A_VOLUME")
    elements, syntax = parse_dicom(data)
    top = Header(elements)
    modality = top.word("Modality")
    if modality in _OTHERS or top.element("PixelData") is None:
        raise VolumeRefused("NO_PIXELS")
    store = storage(top)
    if next(top.items("ModalityLUTSequence"), None) is not None:
        raise VolumeRefused("NOT_A_VOLUME", "values by a modality table")
    frames = int(top.number("NumberOfFrames", 1.0, 0.0, MAX_FRAMES)) or 1
    _check_frames(top, frames, store)
    shared = next(top.items("SharedFunctionalGroupsSequence"), None)
    own = list(top.items("PerFrameFunctionalGroupsSequence"))
    if own and len(own) != frames:
        raise VolumeRefused("SIZE_LIES", "NumberOfFrames and the groups of frames")
    file = SliceFile(source, elements, syntax, frames)
    text = " ".join(
        (top.content(name) or b"").decode("ascii", "replace") for name in ("SeriesDescription", "ProtocolName")
    )
    group = (
        _hidden(top, "SeriesInstanceUID"), modality if modality in _DEVICES else None, top.short("Rows"),
        top.short("Columns"), _hidden(top, "FrameOfReferenceUID"),
        contrast(text, top.element("ContrastBolusAgent") is not None), top.word("PhotometricInterpretation"),
    )  # fmt: skip
    found = []
    for k in range(frames):
        frame = _Frame(top, shared, own[k] if own else None)
        place = frame.numbers("PlanePositionSequence", "ImagePositionPatient", -1e5, 1e5)
        if place and len(place) != 3:
            raise VolumeRefused("BAD_NUMBER", "ImagePositionPatient")
        spacing = frame.numbers("PixelMeasuresSequence", "PixelSpacing", 1e-3, 1e2)
        if spacing and len(spacing) != 2:
            raise VolumeRefused("BAD_NUMBER", "PixelSpacing")
        content = frame.holder("FrameContentSequence", "TemporalPositionIndex")
        marks = {
            "time": _label(top, "TemporalPositionIdentifier") or content.content("TemporalPositionIndex"),
            "diffusion weighting": _double(frame.holder("MRDiffusionSequence", "DiffusionBValue"), "DiffusionBValue"),
            "echo time": _label(top, "EchoTime")
            or _double(frame.holder("MREchoSequence", "EffectiveEchoTime"), "EffectiveEchoTime"),
            "kind of picture": _label(top, "ImageType"),
            "acquisition": _label(top, "AcquisitionNumber"),
        }
        several = frames > 1 and not own
        found.append(
            Slice(
                file, k, group, store,
                # Frames that all say the same of their place say nothing of it.
                np.array(place) if place and not several else None,
                _turn(frame.numbers("PlaneOrientationSequence", "ImageOrientationPatient", -1.01, 1.01)),
                (spacing[0], spacing[1]) if spacing else None, *_rescale(frame), marks,
            )
        )  # fmt: skip
    return found, len(data)


def refused_volume(refused: ImageRefused) -> VolumeRefused:
    """Return the refusal of a radiograph in the words of a volume."""
    if isinstance(refused, VolumeRefused):
        return refused
    return VolumeRefused("NOT_A_VOLUME" if refused.code == "NOT_RADIOGRAPH" else refused.code, refused.detail)
