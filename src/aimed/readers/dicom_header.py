"""What a DICOM file says of its picture: numbers checked before use, words from short lists, no identifiers."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from aimed.core.image import ImageRefused, View
from aimed.readers.dicom_elements import TAGS, Element

__all__ = ["LARGEST", "Header", "acquisition"]

_NUMBER = re.compile(rb"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")

LARGEST = 1e9
"""No number that decides about pixels is larger."""

_LATERAL = ("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "LEFT LATERAL", "RIGHT LATERAL")
_VIEWS: dict[str, View] = {"PA": "PA", "AP": "AP", **dict.fromkeys(_LATERAL, "LATERAL")}
_VIEW_MEANINGS: dict[str, View] = {
    "POSTERO-ANTERIOR": "PA",
    "ANTERO-POSTERIOR": "AP",
    "LATERAL": "LATERAL",
    "LEFT LATERAL": "LATERAL",
    "RIGHT LATERAL": "LATERAL",
}


class Header:
    """The raw elements of a data set: every value is checked here before anything is computed from it.

    Parameters
    ----------
    elements : mapping of int to Element
        See `aimed.readers.dicom_elements.parse_dicom`.

    Examples
    --------
    >>> Header({TAGS["KVP"]: Element(b"DS", True, memoryview(b"120 "))}).number("KVP", 0.0)
    120.0
    """

    def __init__(self, elements: Mapping[int, Element]) -> None:
        self.elements = elements

    def element(self, keyword: str) -> Element | None:
        """Return an element, or None when it is absent or empty."""
        found = self.elements.get(TAGS[keyword])
        return found if found is not None and len(found.value) else None

    def content(self, keyword: str) -> bytes | None:
        """Return the bytes of an element, or None when it is absent or empty."""
        found = self.element(keyword)
        return None if found is None else bytes(found.value)

    def little_endian(self, keyword: str) -> bool:
        """Say in which order the bytes of an element are."""
        found = self.element(keyword)
        return found is None or found.little

    def shorts(self, keyword: str, signed: bool = False) -> list[int]:
        """Return 16-bit numbers (US, SS, OW); an element of another length is not read."""
        value = self.content(keyword)
        if value is None:
            return []
        if len(value) % 2:
            raise ImageRefused("BAD_NUMBER", keyword)
        order = "<" if self.little_endian(keyword) else ">"
        return list(struct.unpack(f"{order}{len(value) // 2}{'h' if signed else 'H'}", value))

    def short(self, keyword: str, default: int | None = None, signed: bool = False) -> int | None:
        """Return one 16-bit number."""
        found = self.shorts(keyword, signed)
        if len(found) > 1:
            raise ImageRefused("BAD_NUMBER", keyword)
        return found[0] if found else default

    def numbers(self, keyword: str, low: float = -LARGEST, high: float = LARGEST) -> list[float]:
        """Return decimal strings (DS, IS) as floats.

        Raises
        ------
        ImageRefused
            BAD_NUMBER when one of them is no finite number from `low` to `high`.
        """
        value = self.content(keyword)
        if value is None:
            return []
        found = []
        for part in value.strip(b" \0").split(b"\\"):
            text = part.strip(b" \0")
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            if not math.isfinite(number) or not low <= number <= high:
                raise ImageRefused("BAD_NUMBER", keyword)
            found.append(number)
        return found

    def number(self, keyword: str, default: float, low: float = -LARGEST, high: float = LARGEST) -> float:
        """Return the first of some decimal strings."""
        found = self.numbers(keyword, low, high)
        return found[0] if found else default

    def word(self, keyword: str) -> str | None:
        """Return a code in capitals (CS, UI): letters, digits and a few signs, at most 64; None for anything else."""
        value = (self.content(keyword) or b"").partition(b"\\")[0].strip(b" \0").upper()
        return value.decode("ascii") if re.fullmatch(rb"[A-Z0-9_.\- ]{1,64}", value) else None

    def text(self, keyword: str) -> str | None:
        """Return a short product name, or None when it holds anything unusual."""
        value = (self.content(keyword) or b"").strip(b" \0")
        return value.decode("ascii") if re.fullmatch(rb"[A-Za-z0-9_.,+/()\- ]{1,64}", value) else None

    def items(self, keyword: str) -> Iterator[Header]:
        """Yield the items of a sequence."""
        found = self.elements.get(TAGS[keyword])
        for item in found.items if found is not None else ():
            yield Header(item)


def _view(header: Header) -> View | None:
    named = _VIEWS.get(header.word("ViewPosition") or "")
    if named is None:
        for item in header.items("ViewCodeSequence"):
            named = named or _VIEW_MEANINGS.get(item.word("CodeMeaning") or "")
    return named


def _spacing(header: Header) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = header.numbers(keyword, 1e-3, 1e2)
        if len(found) == 2:
            return found[0], found[1]
        if found:
            raise ImageRefused("BAD_NUMBER", keyword)
    return None


def acquisition(header: Header) -> dict[str, Any]:
    """Return how a picture was taken, by the names of `aimed.core.image.ImageInfo`.

    Spacing must be right or the file is refused; a tube voltage or an exposure that is no number is left out and named
    in ``unreadable``, because nothing is computed from it.
    """
    found: dict[str, Any] = {
        "modality": header.word("Modality"),
        "view": _view(header),
        "laterality": header.word("ImageLaterality") or header.word("Laterality"),
        "body_part": header.word("BodyPartExamined"),
        "spacing": _spacing(header),
        "burned_in": {"YES": True, "NO": False}.get(header.word("BurnedInAnnotation") or ""),
        "lossy": {"01": True, "00": False}.get(header.word("LossyImageCompression") or ""),
        "manufacturer": header.text("Manufacturer"),
        "model": header.text("ManufacturerModelName"),
    }
    if found["laterality"] not in ("R", "L", "B", "U"):
        found["laterality"] = None
    direction = (header.content("PatientOrientation") or b"").strip(b" \0")
    if re.fullmatch(rb"[APRLHF]{1,3}\\[APRLHF]{1,3}", direction):
        found["orientation"] = direction.decode("ascii").replace("\\", "/")
    unreadable = []
    for name, keyword, high in (
        ("kvp", "KVP", 500.0),
        ("exposure", "Exposure", 1e5),
        ("exposure_time", "ExposureTime", 1e6),
    ):
        try:
            # Zero is how many devices write "not known".
            found[name] = header.number(keyword, 0.0, 0.0, high) or None
        except ImageRefused:
            found[name] = None
            unreadable.append(keyword)
    found["unreadable"] = tuple(unreadable)
    return found
