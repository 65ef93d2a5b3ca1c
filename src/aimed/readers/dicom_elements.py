"""The elements of a DICOM file that a picture needs; those of the patient are stepped over and never become values."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aimed.core.image import ImageRefused

__all__ = ["BIG_ENDIAN", "DEFLATED", "EXPLICIT", "IMPLICIT", "TAGS", "Element", "is_dicom", "parse_dicom"]

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
"""The transfer syntaxes without a codec for pixels."""

TAGS: Mapping[str, int] = {
    "TransferSyntaxUID": 0x00020010,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "CodeMeaning": 0x00080104,
    "SeriesDescription": 0x0008103E,
    "ManufacturerModelName": 0x00081090,
    "ContrastBolusAgent": 0x00180010,
    "BodyPartExamined": 0x00180015,
    "KVP": 0x00180060,
    "EchoTime": 0x00180081,
    "ProtocolName": 0x00181030,
    "ExposureTime": 0x00181150,
    "Exposure": 0x00181152,
    "ImagerPixelSpacing": 0x00181164,
    "NominalScannedPixelSpacing": 0x00182010,
    "ViewPosition": 0x00185101,
    "EffectiveEchoTime": 0x00189082,
    "DiffusionBValue": 0x00189087,
    "MREchoSequence": 0x00189114,
    "MRDiffusionSequence": 0x00189117,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "AcquisitionNumber": 0x00200012,
    "PatientOrientation": 0x00200020,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "Laterality": 0x00200060,
    "ImageLaterality": 0x00200062,
    "TemporalPositionIdentifier": 0x00200100,
    "FrameContentSequence": 0x00209111,
    "PlanePositionSequence": 0x00209113,
    "PlaneOrientationSequence": 0x00209116,
    "TemporalPositionIndex": 0x00209128,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "BurnedInAnnotation": 0x00280301,
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "VOILUTFunction": 0x00281056,
    "LossyImageCompression": 0x00282110,
    "ModalityLUTSequence": 0x00283000,
    "LUTDescriptor": 0x00283002,
    "LUTData": 0x00283006,
    "VOILUTSequence": 0x00283010,
    "PixelMeasuresSequence": 0x00289110,
    "PixelValueTransformationSequence": 0x00289145,
    "ViewCodeSequence": 0x00540220,
    "PresentationLUTShape": 0x20500020,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
    "OverlayBitPosition": 0x60000102,
    "PixelData": 0x7FE00010,
}
"""All that is read, by keyword. No element of group 0010 (patient), no date and no name is among them; UIDs only tell
studies and series apart, and descriptions of series are only searched for the words of contrasts: neither is kept."""

_WANTED = frozenset(TAGS.values())
_SEQUENCES = frozenset(tag for name, tag in TAGS.items() if name.endswith("Sequence"))
_PIXELS, _ITEM, _ITEM_END, _END = TAGS["PixelData"], 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNKNOWN_LENGTH = 0xFFFFFFFF
_DEPTH = 16

_PROGRAMS = (b"MZ", b"\x7fELF", b"%PDF", b"PK\x03\x04", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")
_PAGE = re.compile(rb"<\s*(!doctype|html|script|svg|\?php|\?xml)", re.IGNORECASE)

_GROWTH, _FREE, _MOST = 200, 64 * 2**20, 2**30
"""Compressed data may grow this many times, or to this many bytes, and never to more than the last."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its kind if the file says it, the order of its bytes, and its value or its items."""

    kind: bytes
    little: bool
    value: memoryview
    items: tuple[dict[int, Element], ...] = ()
    encapsulated: bool = False


def is_dicom(data: bytes) -> bool:
    """Say whether bytes are a DICOM file, by the mark or by a first element of group 2 or 8.

    Examples
    --------
    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"not DICOM at all")
    (True, False)
    """
    if data[128:132] == b"DICM":
        return True
    if len(data) < 16 or data[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    # Old files begin with the data set: an element of low number whose length fits.
    number, length = struct.unpack_from("<HI", data, 2)
    return bool(number <= 0x20 and (_is_kind(data[4:6]) or length <= 64))


def _is_kind(two: bytes) -> bool:
    return len(two) == 2 and two.isalpha() and two.isupper()


def _cut() -> ImageRefused:
    return ImageRefused("TRUNCATED")


class _Walker:
    """Steps from element to element of one encoding."""

    def __init__(self, data: memoryview, implicit: bool, little: bool) -> None:
        self.data, self.implicit, self.little = data, implicit, little
        order = "<" if little else ">"
        self._tag, self._long = struct.Struct(f"{order}HH"), struct.Struct(f"{order}I")
        self._short = struct.Struct(f"{order}H")

    def tag(self, at: int) -> int:
        """Return the tag at an offset as one number."""
        if at + 8 > len(self.data):
            raise _cut()
        group, number = self._tag.unpack_from(self.data, at)
        return int(group << 16 | number)

    def head(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, kind, length and where the value begins."""
        tag = self.tag(at)
        if self.implicit or tag >> 16 == 0xFFFE:
            return tag, b"", self._long.unpack_from(self.data, at + 4)[0], at + 8
        kind = bytes(self.data[at + 4 : at + 6])
        if not _is_kind(kind):
            raise _cut()
        if kind not in _LONG:
            return tag, kind, self._short.unpack_from(self.data, at + 6)[0], at + 8
        if at + 12 > len(self.data):
            raise _cut()
        return tag, kind, self._long.unpack_from(self.data, at + 8)[0], at + 12

    def elements(
        self, at: int, end: int, depth: int = 0, stop: Callable[[int], bool] | None = None
    ) -> tuple[dict[int, Element], int]:
        """Return the wanted elements from an offset to an end or a delimiter, and where they end."""
        if depth > _DEPTH:
            raise _cut()
        found: dict[int, Element] = {}
        while at < end:
            if end - at < 8 and not any(self.data[at:end]):
                break  # some writers fill the last block with zeros
            if stop is not None and stop(self.tag(at)):
                break
            tag, kind, length, at = self.head(at)
            if tag in (_ITEM_END, _END):
                break
            if length == _UNKNOWN_LENGTH:
                if tag == _PIXELS:
                    last = self.fragments(at, end)
                    found[tag] = Element(kind, self.little, self.data[at:last], encapsulated=True)
                    return found, last
                inner = _Walker(self.data, True, True) if kind == b"UN" else self
                items, at = inner.sequence(at, end, depth + 1, delimited=True)
                if tag in _SEQUENCES:
                    found[tag] = Element(kind, self.little, self.data[:0], items)
                continue
            if at + length > end:
                raise _cut()
            if tag in _SEQUENCES and kind in (b"", b"SQ", b"UN"):
                inner = _Walker(self.data, True, True) if kind == b"UN" else self
                items, _ = inner.sequence(at, at + length, depth + 1, delimited=False)
                found[tag] = Element(kind, self.little, self.data[:0], items)
            elif tag in _WANTED:
                found[tag] = Element(kind, self.little, self.data[at : at + length])
            at += length
            if tag == _PIXELS and depth == 0:
                break  # nothing that comes later is needed
        return found, at

    def sequence(self, at: int, end: int, depth: int, delimited: bool) -> tuple[tuple[dict[int, Element], ...], int]:
        """Return the items of a sequence and where it ends."""
        items: list[dict[int, Element]] = []
        while at < end:
            tag, _, length, at = self.head(at)
            if tag == _END:
                return tuple(items), at
            if tag != _ITEM or (length != _UNKNOWN_LENGTH and at + length > end):
                raise _cut()
            item, after = self.elements(at, end if length == _UNKNOWN_LENGTH else at + length, depth)
            items.append(item)
            at = after if length == _UNKNOWN_LENGTH else at + length
        if delimited:
            raise _cut()
        return tuple(items), at

    def fragments(self, at: int, end: int) -> int:
        """Return where the compressed fragments that begin at an offset end."""
        while at < end:
            tag, _, length, after = self.head(at)
            if tag == _END:
                return at
            if tag != _ITEM or after + length > end:
                raise _cut()
            at = after + length
        raise _cut()


def _inflated(compressed: memoryview) -> bytes:
    limit = min(max(_FREE, _GROWTH * len(compressed)), _MOST)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = stream.decompress(compressed, limit)
    except zlib.error:
        raise _cut() from None
    if stream.unconsumed_tail:
        raise ImageRefused("ZIP_BOMB")
    if not stream.eof:
        raise _cut()
    return found


def parse_dicom(data: bytes) -> tuple[dict[int, Element], str]:
    """Read the elements of a DICOM file that a picture needs, uninterpreted.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    (dict of int to Element, str)
        Elements by tag, and the UID of the transfer syntax.

    Raises
    ------
    ImageRefused
        POLYGLOT, ZIP_BOMB or TRUNCATED.

    Notes
    -----
    A general reader makes values of every element it meets, and warns with them when they are damaged: on a file whose
    lengths are wrong such a warning quotes the patient's name. This one knows some sixty tags and steps over the rest.

    Examples
    --------
    >>> parse_dicom(b"MZ" + bytes(126) + b"DICM")
    Traceback (most recent call last):
    aimed.core.image.ImageRefused: the preamble of the DICOM file holds a program or a page (POLYGLOT); ...
    """
    marked = data[128:132] == b"DICM"
    if marked and (data.startswith(_PROGRAMS) or _PAGE.search(data[:128])):
        raise ImageRefused("POLYGLOT")
    view = memoryview(data)
    meta, at = _Walker(view, False, True).elements(132 if marked else 0, len(data), stop=lambda tag: tag >> 16 != 2)
    named = meta.get(TAGS["TransferSyntaxUID"])
    syntax = bytes(named.value).strip(b" \0").decode("ascii", "replace") if named else ""
    if syntax == DEFLATED:
        view, at = memoryview(_inflated(view[at:])), 0
    little = syntax != BIG_ENDIAN
    # What the file does is believed more than what it says: writers mix up these two.
    explicit = _is_kind(bytes(view[at + 4 : at + 6]))
    found, _ = _Walker(view, not explicit, little).elements(at, len(view))
    return found, syntax or (EXPLICIT if explicit else IMPLICIT)
