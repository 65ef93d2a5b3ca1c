"""DICOM files without their patient: attributes by the profile, pixels byte for byte, words blanked on request."""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import MissingExtraError
from aimed.privacy.cleaner import FileRefused, Known, TextCleaner
from aimed.privacy.dicom_profile import DicomProfile, kind_of, table_edition
from aimed.privacy.surrogates import Surrogates
from aimed.readers.dicom_elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, is_dicom

__all__ = ["Blanking", "DeidentifiedDicom", "deidentify_dicom"]

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_KINDS = _LONG | frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS, _UNKNOWN = 0x7FE00010, 0xFFFFFFFF
_DEPTH = 32
_GROWTH, _FREE, _MOST = 200, 64 * 2**20, 2**31
_OUR_UID = b"2.25.250893161829405271604462957309613817"
_NAMED = {
    0x00100010: "name",
    0x00100020: "medical_record",
    0x00080050: "account",
    0x00101000: "medical_record",
    0x00101001: "name",
    0x00101005: "name",
    0x00101060: "name",
    0x00101040: "geography",
    0x00102154: "telephone",
    0x00080080: "geography",
    0x00080081: "geography",
}
"""What a file says about its patient, looked for again in every text that stays."""

_DRAWN_MODALITIES = frozenset(("US", "IVUS", "SC", "OT", "XC", "ES", "GM", "DOC", "EPS", "IOL", "BDUS"))
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_DICOMDIR, _PDF = "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.104"

_FORMS = {
    "AS": re.compile(rb"\d{3}[DWMY][ \0]*\Z"),
    "DS": re.compile(rb"[0-9+\-.eE \\\0]*\Z"),
    "IS": re.compile(rb"[0-9+\- \\\0]*\Z"),
    "CS": re.compile(rb"[A-Za-z0-9_ .,/+\-\\]*\0?\Z"),
    "TM": re.compile(rb"[0-9:. \\\0\-]*\Z"),
    "UI": re.compile(rb"[0-9. \\\0]*\Z"),
}
_TERMS = {
    0x00080005: re.compile(rb"(ISO_IR \d+|ISO 2022 IR \d+|GB18030|GBK|\\|[ \0])*\Z"),
    0x00080060: re.compile(
        rb"(AR|ASMT|AU|BDUS|BI|BMD|CR|CT|CTPROTOCOL|DG|DOC|DX|ECG|EPS|ES|FID|GM|HC|HD|IO|IOL|IVOCT|IVUS|KER|KO|LEN|LS|MG"
        rb"|MR|M3D|NM|OAM|OCT|OP|OPM|OPT|OPTBSV|OPTENF|OPV|OSS|OT|PA|PLAN|POS|PR|PT|PX|REG|RESP|RF|RG|RTDOSE|RTIMAGE"
        rb"|RTINTENT|RTPLAN|RTRAD|RTRECORD|RTSEGANN|RTSTRUCT|RWV|SC|SEG|SM|SMR|SR|SRF|STAIN|TEXTUREMAP|TG|US|VA|XA"
        rb"|XAPROTOCOL|XC)[ \0]?\Z"
    ),
    0x0008010F: re.compile(rb"[0-9]{1,5}[ \0]?\Z"),  # numbers of context groups and templates
    0x0040DB00: re.compile(rb"[0-9]{1,5}[ \0]?\Z"),
    0x00282114: re.compile(rb"(ISO_\d{5}_\d{1,3}|\\|[ \0])*\Z"),
    0x00280004: re.compile(
        rb"(MONOCHROME[12]|PALETTE COLOR|RGB|HSV|ARGB|CMYK|XYB"
        rb"|YBR_(FULL|FULL_422|PARTIAL_422|PARTIAL_420|ICT|RCT))[ \0]?\Z"
    ),
}
"""Attributes without which a picture cannot be read: only the terms of the standard stay, and they always do."""
# No term of the standard looks like an accession number.
_LONG_NUMBER = re.compile(rb"\d{5}|[A-Z]\d{3}|\d{3}[A-Z]", re.IGNORECASE)
_LONGEST_WORD = 16


class _CutError(Exception):
    """The file ends before its elements do."""


@dataclass(slots=True)
class _Element:
    """Where one element lies: its head, its value and, for a sequence, its items."""

    tag: int
    kind: str
    head: int
    start: int
    end: int
    items: list[list[_Element]] | None = None
    undefined: bool = False
    implicit: bool = False


@dataclass(frozen=True)
class Blanking:
    """What is painted black in pictures that may show text.

    Parameters
    ----------
    boxes : tuple of (x, y, width, height)
        In pixels of each frame, from the top left corner.
    outside_ultrasound : bool
        Everything outside the regions that an ultrasound device declares.
    by_modality : mapping of str to Blanking
        Another choice for some modalities, such as {"US": ...}.
    checked : bool
        A person looked at the pictures: nothing is painted and none is refused.
    """

    boxes: tuple[tuple[int, int, int, int], ...] = ()
    outside_ultrasound: bool = False
    by_modality: Mapping[str, Blanking] = field(default_factory=dict)
    checked: bool = False

    def of(self, modality: str) -> Blanking:
        """Return the choice for a modality."""
        return self.by_modality.get(modality, self)

    def __bool__(self) -> bool:
        return bool(self.boxes or self.outside_ultrasound or self.checked)


@dataclass(frozen=True)
class DeidentifiedDicom:
    """A file without its patient.

    Attributes
    ----------
    data : bytes
        The whole new file.
    steps : Counter
        How many attributes were removed, emptied, replaced and so on.
    name : str
        Surrogate of the SOP instance UID, which names the new file.
    modality : str
        As the file says.
    """

    data: bytes = field(repr=False)
    steps: Counter[str] = field(default_factory=Counter)
    name: str = ""
    modality: str = ""


class _Reader:
    """Steps through one encoding and notes where elements lie; values are not looked at."""

    def __init__(self, data: bytes, implicit: bool, little: bool, profile: DicomProfile) -> None:
        self.data, self.implicit, self.profile = data, implicit, profile
        order = "<" if little else ">"
        self.order = order
        self.short = struct.Struct(f"{order}HH2sH").unpack_from
        self.plain = struct.Struct(f"{order}HHI").unpack_from
        self.long = struct.Struct(f"{order}I").unpack_from

    def elements(self, at: int, end: int, depth: int = 0, implicit: bool | None = None) -> tuple[list[_Element], int]:
        """Return the elements from an offset to an end or a delimiter, and where they end."""
        if depth > _DEPTH:
            raise _CutError
        data, short, plain, long = self.data, self.short, self.plain, self.long
        implicit = self.implicit if implicit is None else implicit
        out: list[_Element] = []
        while at < end:
            head = at
            if end - at < 8:
                if any(data[at:end]):
                    raise _CutError
                break
            if implicit:
                group, number, length = plain(data, at)
                tag = group << 16 | number
                at += 8
                kind = kind_of(tag) or ("" if length != _UNKNOWN else "SQ")
            else:
                group, number, code, size = short(data, at)
                tag = group << 16 | number
                if group == 0xFFFE:
                    code, length = b"", plain(data, at)[2]
                    at += 8
                elif code not in _LONG:
                    if code not in _KINDS:
                        if not any(data[at:end]):
                            break  # the last block is filled with zeros
                        raise FileRefused("UNKNOWN_VR", "an element is of a kind that does not exist")
                    length, at = size, at + 8
                else:
                    if at + 12 > end:
                        raise _CutError
                    length, at = long(data, at + 8)[0], at + 12
                kind = code.decode("ascii")
            if tag in (_ITEM_END, _END):
                return out, at
            if group == 0xFFFE or (implicit and tag == 0 and not any(data[head:end])):
                if group != 0xFFFE:
                    break
                raise _CutError
            if length == _UNKNOWN:
                if tag == _PIXELS or kind in ("OB", "OW"):
                    at = self.fragments(at, end)
                    out.append(_Element(tag, kind, head, at, at, undefined=True, implicit=implicit))
                    continue
                items, at = self.items(at, end, depth + 1, True, implicit or kind == "UN")
                out.append(_Element(tag, "SQ", head, at, at, items, True, implicit or kind == "UN"))
                continue
            after = at + length
            if after > end:
                raise _CutError
            if kind == "UN" and kind_of(tag) == "SQ" and not group & 1:
                kind, within = "SQ", True
            else:
                within = implicit
            element = _Element(tag, kind, head, at, after, None, False, within)
            if kind == "SQ":
                if self.profile.step(tag, "SQ") == "items":
                    element.items, _ = self.items(at, after, depth + 1, False, within)
                else:
                    element.items = []
            out.append(element)
            at = after
        return out, at

    def items(self, at: int, end: int, depth: int, delimited: bool, implicit: bool) -> tuple[list[list[_Element]], int]:
        """Return the items of a sequence and where it ends."""
        out: list[list[_Element]] = []
        while at < end:
            if end - at < 8:
                raise _CutError
            group, number, length = self.plain(self.data, at)
            tag, at = group << 16 | number, at + 8
            if tag == _END:
                return out, at
            if tag != _ITEM or (length != _UNKNOWN and at + length > end):
                raise _CutError
            last = end if length == _UNKNOWN else at + length
            item, after = self.elements(at, last, depth, implicit)
            out.append(item)
            at = after if length == _UNKNOWN else last
        if delimited:
            raise _CutError
        return out, at

    def fragments(self, at: int, end: int) -> int:
        """Return where the fragments of an encapsulated value end, behind their delimiter."""
        while at + 8 <= end:
            group, number, length = self.plain(self.data, at)
            tag, at = group << 16 | number, at + 8
            if tag == _END:
                return at
            if tag != _ITEM or at + length > end:
                raise _CutError
            at += length
        raise _CutError


class _Writer:
    """Writes the elements of one file anew, each by its step."""

    def __init__(
        self, reader: _Reader, cleaner: TextCleaner, patient: str, known: Known, charset: str, steps: Counter[str]
    ) -> None:
        self.reader, self.data, self.profile = reader, reader.data, reader.profile
        self.cleaner, self.surrogates = cleaner, cleaner.surrogates
        self.patient, self.known, self.charset, self.steps = patient, known, charset, steps
        self.head_short = struct.Struct(f"{reader.order}HH2sH").pack
        self.head_long = struct.Struct(f"{reader.order}HH2sHI").pack
        self.head_plain = struct.Struct(f"{reader.order}HHI").pack
        self.pixels: tuple[_Element, bytes] | None = None
        self.extra: dict[int, bytes] = {}

    def element(self, tag: int, kind: str, value: bytes, implicit: bool) -> bytes:
        """Return one element, padded to an even length."""
        if len(value) & 1:
            value += b"\0" if kind in ("UI", "OB", "UN", "SQ") else b" "
        group, number = tag >> 16, tag & 0xFFFF
        if implicit:
            return self.head_plain(group, number, len(value)) + value
        code = kind.encode("ascii")
        if code in _LONG:
            return self.head_long(group, number, code, 0, len(value)) + value
        if len(value) > 0xFFFE:
            raise FileRefused("TOO_LONG", "a value is longer than its kind allows")
        return self.head_short(group, number, code, len(value)) + value

    def write(self, elements: list[_Element], top: bool = False) -> bytes:
        """Return the elements that stay, as bytes."""
        out: list[bytes] = []
        data, step_of, steps = self.data, self.profile.step, self.steps
        extra = sorted(self.extra.items()) if top else []
        for e in elements:
            while extra and extra[0][0] <= e.tag:
                out.append(extra.pop(0)[1])
            if top and e.tag in self.extra:
                continue
            step = step_of(e.tag, e.kind)
            if step == "remove":
                steps["removed"] += 1
                continue
            if top and e.tag == _PIXELS:
                if self.pixels is not None:
                    out.append(self.pixels[1])
                else:
                    out.append(data[e.head : e.end])
                continue
            if step == "keep":
                steps["kept"] += 1
                out.append(data[e.head : e.end])
                continue
            if step == "items":
                steps["sequences"] += 1
                out.append(self.sequence(e))
                continue
            out.append(self.changed(e, step))
        out += [made for _, made in extra]
        return b"".join(out)

    def sequence(self, e: _Element) -> bytes:
        """Return a sequence with each of its items written anew."""
        # Items inside of UN are implicit whatever the file is, and their sequence goes on as UN.
        unknown = e.implicit and not self.reader.implicit
        items = [self.write(item) for item in e.items or []]
        body = b"".join(self.head_plain(0xFFFE, 0xE000, len(item)) + item for item in items)
        if unknown:
            return self.element(e.tag, "UN", body, False)
        return self.element(e.tag, "SQ", body, e.implicit)

    def text(self, e: _Element) -> str:
        """Return the value of an element as text."""
        raw = self.data[e.start : e.end]
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii").strip(" \0\r\n")
        return _decoded(raw, self.charset, e.kind).strip(" \0\r\n")

    def changed(self, e: _Element, step: str) -> bytes:
        """Return an element with another value, or as it is where nothing in it gives anybody away."""
        kind = kind_of(e.tag) or e.kind
        raw = self.data[e.start : e.end]
        if step == "empty" or not raw:
            self.steps["emptied"] += 1
            return self.element(e.tag, e.kind, b"", e.implicit)
        if step in ("check", "time"):
            if self.passes(raw, kind, e.tag):
                self.steps["kept"] += 1
                return self.data[e.head : e.end]
            self.steps["emptied"] += 1
            words = raw.split(b"\\") if kind == "CS" and e.tag not in _TERMS else []
            some = b"\\".join(word if self.passes(word, kind, e.tag) else b"" for word in words)
            return self.element(e.tag, e.kind, some if some.strip(b"\\") else b"", e.implicit)
        if step == "word":
            text = self.text(e)
            if self.cleaner.harmless(text) and not (self.known and self.known.spans(text)):
                self.steps["kept"] += 1
                return self.data[e.head : e.end]
            self.steps["emptied"] += 1
            return self.element(e.tag, e.kind, b"", e.implicit)
        values = self.text(e).split("\\") if kind not in ("ST", "LT", "UT") else [self.text(e)]
        made = "\\".join(self.value(value.strip(" \0"), step, kind, e.tag) for value in values)
        self.steps[{"uid": "UIDs replaced", "date": "dates shifted"}.get(step, "replaced")] += 1
        return self.element(e.tag, e.kind, _encoded(made, self.charset), e.implicit)

    def passes(self, raw: bytes, kind: str, tag: int) -> bool:
        """Say whether a number, a time or a coded word is what it claims to be and names nobody."""
        terms = _TERMS.get(tag)
        if terms is not None:
            return terms.match(raw) is not None
        form = _FORMS.get(kind)
        if form is None or not form.match(raw):
            return False
        if kind == "AS":
            return not (raw[3:4] == b"Y" and int(raw[:3]) > 89)
        if kind == "CS":
            if len(raw) > _LONGEST_WORD and any(len(word) > _LONGEST_WORD + 1 for word in raw.split(b"\\")):
                return False
            if _LONG_NUMBER.search(raw):
                return False
            return not (self.known and self.known.spans(raw.decode("ascii").replace("_", " ").upper()))
        if kind in ("DS", "IS"):
            return all(len(number) <= _LONGEST_WORD + 1 for number in raw.split(b"\\"))
        return True

    def value(self, value: str, step: str, kind: str, tag: int) -> str:
        """Return what stands in the place of one value."""
        given = self.surrogates
        if not value:
            return ""
        if self.cleaner.style == "class" and step in ("person", "identifier"):
            return "REMOVED"
        if step == "person":
            self.cleaner.counts["name"] += 1
            return given.person(value)
        if step == "identifier":
            self.cleaner.counts["medical_record"] += 1
            return given.identifier(value)
        if step == "uid":
            return given.uid(value) if value.replace(".", "").isdigit() else given.uid(f"not a UID {value}")
        if step == "date":
            self.cleaner.counts["date"] += 1
            moved = given.shift_date(value, self.patient)
            return moved if re.fullmatch(r"[0-9.+\- ]*", moved) else ""
        if step == "text":
            return self.cleaner.clean(value, self.patient, self.known)
        return _DUMMIES.get(kind, "")


_DUMMIES = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"), "REMOVED"),
    **dict.fromkeys(("DS", "IS"), "0"),
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "AS": "000Y",
    "PN": "REMOVED",
}


def _decoded(raw: bytes, charset: str, kind: str) -> str:
    if charset in ("ISO_IR 192", "UTF-8"):
        return raw.decode("utf-8", "replace")
    try:
        from pydicom.charset import convert_encodings, decode_bytes

        from aimed.readers.dicom_library import quietly

        with quietly():
            return decode_bytes(raw, convert_encodings(charset.split("\\")), set(b"\\^=\r\n\t\f"))
    except (LookupError, UnicodeError, ImportError):
        return raw.decode("latin-1")


def _encoded(text: str, charset: str) -> bytes:
    if text.isascii():
        return text.encode("ascii")
    if charset in ("ISO_IR 192", "UTF-8"):
        return text.encode("utf-8")
    try:
        from pydicom.charset import convert_encodings, encode_string

        from aimed.readers.dicom_library import quietly

        with quietly():
            return bytes(encode_string(text, convert_encodings(charset.split("\\"))))
    except (LookupError, UnicodeError, ValueError, ImportError):
        return text.encode("ascii", "replace")


def _inflated(compressed: bytes) -> bytes:
    limit = min(max(_FREE, _GROWTH * len(compressed)), _MOST)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = stream.decompress(compressed, limit)
    except zlib.error:
        raise FileRefused("TRUNCATED", "the deflated part is damaged") from None
    if stream.unconsumed_tail:
        raise FileRefused("ZIP_BOMB", "the deflated part grows without measure")
    if not stream.eof:
        raise FileRefused("TRUNCATED", "the deflated part is cut off")
    return found


def _plain(data: bytes, elements: Mapping[int, _Element], tag: int) -> str:
    e = elements.get(tag)
    return data[e.start : e.end].decode("latin-1").strip(" \0") if e is not None else ""


def _number(data: bytes, elements: Mapping[int, _Element], tag: int, order: str, default: int) -> int:
    e = elements.get(tag)
    if e is None or e.end == e.start:
        return default
    if e.end - e.start == 2 and e.kind in ("US", "SS"):
        return int(struct.unpack_from(f"{order}H", data, e.start)[0])
    if e.end - e.start == 4 and e.kind in ("UL", "SL"):
        return int(struct.unpack_from(f"{order}I", data, e.start)[0])
    try:
        return int(data[e.start : e.end].decode("ascii").strip(" \0") or default)
    except ValueError:
        raise FileRefused("HEADER", "the size of the picture is not a number") from None


def _may_show_text(data: bytes, top: Mapping[int, _Element], sop_class: str, modality: str) -> bool:
    if _plain(data, top, 0x00280301).upper() == "YES":
        return True
    kinds = _plain(data, top, 0x00080008).upper()
    return (
        modality in _DRAWN_MODALITIES
        or sop_class.startswith(_CAPTURE)
        or any(word in kinds for word in ("SCREEN", "SECONDARY\\OTHER\\CAPTURE"))
        or 0x00181010 in top  # SecondaryCaptureDeviceID
    )


def deidentify_dicom(
    data: bytes,
    surrogates: Surrogates | TextCleaner,
    profile: DicomProfile | None = None,
    *,
    blank: Blanking | None = None,
) -> DeidentifiedDicom:
    """Return a DICOM file without its patient.

    Parameters
    ----------
    data : bytes
        The whole file.
    surrogates : Surrogates or TextCleaner
        The map; a cleaner is taken as it is, so that what it learnt of harmless words stays over many files.
    profile : DicomProfile, optional
        The Basic Profile with dates shifted when absent.
    blank : Blanking, optional
        What to paint over in pictures that may show text.

    Returns
    -------
    DeidentifiedDicom

    Raises
    ------
    FileRefused
        NOT_DICOM, DICOMDIR, TRUNCATED, UNKNOWN_VR, DOCUMENT, BURNED_IN, ZIP_BOMB, HEADER, BLANK, SYNTAX.
    MissingExtraError
        If pydicom is not installed: it has the dictionary of attributes.

    Notes
    -----
    Elements are found and written by their bytes; pixel data are copied, not decoded, unless a part is to be blanked.
    Attributes that hold numbers, times or coded words stay only when their value has that form and names nobody the
    file itself knows. The transfer syntax stays; a blanked picture that was compressed is stored uncompressed.
    """
    profile = profile or DicomProfile()
    cleaner = surrogates if isinstance(surrogates, TextCleaner) else TextCleaner(surrogates)
    if not is_dicom(data):
        raise FileRefused("NOT_DICOM", "these bytes are no DICOM file")
    try:
        return _deidentify(data, cleaner, profile, blank)
    except (_CutError, struct.error, IndexError):
        raise FileRefused("TRUNCATED", "the file ends before its elements do, or their lengths are wrong") from None
    except RecursionError:
        raise FileRefused("DEPTH", "sequences lie too deep in each other") from None


def _deidentify(data: bytes, cleaner: TextCleaner, profile: DicomProfile, blank: Blanking | None) -> DeidentifiedDicom:
    marked = data[128:132] == b"DICM"
    at = 132 if marked else 0
    meta_reader = _Reader(data, False, True, profile)
    meta: dict[int, _Element] = {}
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        length = struct.unpack_from("<H", data, at + 6)[0]
        head = 8
        if data[at + 4 : at + 6] in _LONG:
            length, head = struct.unpack_from("<I", data, at + 8)[0], 12
        (element, *_), at = meta_reader.elements(at, min(at + head + length, len(data)))
        meta[element.tag] = element
    syntax = _plain(data, meta, 0x00020010)
    deflated = syntax == DEFLATED
    if deflated:
        data, at = _inflated(data[at:]), 0
    explicit = data[at + 4 : at + 6] in _KINDS
    syntax = syntax or (EXPLICIT if explicit else IMPLICIT)
    little = syntax != BIG_ENDIAN
    reader = _Reader(data, not explicit, little, profile)
    elements, _ = reader.elements(at, len(data))
    top = {e.tag: e for e in elements}
    if not top:
        raise FileRefused("TRUNCATED", "the file has no elements")
    sop_class = _plain(data, top, 0x00080016)
    if sop_class == _DICOMDIR or 0x00041220 in top:
        raise FileRefused("DICOMDIR", "a DICOMDIR lists patients and files", "make a new one of the new files")
    if sop_class.startswith(_PDF) or 0x00420011 in top:
        raise FileRefused("DOCUMENT", "a document is embedded, which cannot be cleaned", "take it out by other means")
    modality = re.sub(r"[^A-Z0-9]", "", _plain(data, top, 0x00080060).upper())[:16]

    steps: Counter[str] = Counter()
    charset = _plain(data, top, 0x00080005)
    known = Known()
    first = _Writer(reader, cleaner, "", known, charset, steps)
    for tag, cls in _NAMED.items():
        if tag in top and top[tag].items is None:
            known.add(cls, first.text(top[tag]))
    for e in elements:
        if e.kind == "PN" and e.tag not in _NAMED:
            known.add("name", first.text(e))
    patient = next(
        (first.text(top[t]) for t in (0x00100020, 0x00100010, 0x0020000D) if t in top and first.text(top[t])), ""
    )
    writer = _Writer(reader, cleaner, patient, known, charset, steps)

    has_pixels = any(tag in top for tag in (_PIXELS, 0x7FE00008, 0x7FE00009))
    chosen = blank.of(modality) if blank is not None else None
    blanked = False
    if has_pixels and not chosen and _may_show_text(data, top, sop_class, modality):
        do = "say what to blank with --blank, or --blank none once looked at"
        raise FileRefused("BURNED_IN", "the picture may show text", do)
    if has_pixels and chosen and not chosen.checked:
        syntax = _blank_pixels(writer, top, syntax, chosen, modality)
        blanked = True
        deflated = syntax == DEFLATED
    _add_method(writer, profile, blanked)
    body = writer.write(elements, top=True)
    instance = _plain(data, top, 0x00080018) or _plain(data, meta, 0x00020003)
    new_uid = instance if "uids" in profile.keep else cleaner.surrogates.uid(instance) if instance else ""
    header = _meta(_plain(data, meta, 0x00020002) or sop_class, new_uid, syntax)
    if deflated:
        squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = squeezed.compress(body) + squeezed.flush()
        body += b"\0" * (len(body) & 1)
    name = cleaner.surrogates.tag("file", instance) if instance else ""
    return DeidentifiedDicom(header + body, steps, name, modality)


def _meta(sop_class: str, instance: str, syntax: str) -> bytes:
    """Return the preamble without content and the file meta group."""

    def element(number: int, kind: bytes, value: bytes) -> bytes:
        value += (b"\0" if kind in (b"UI", b"OB") else b" ") * (len(value) & 1)
        if kind == b"OB":
            return struct.pack("<HH2sHI", 2, number, kind, 0, len(value)) + value
        return struct.pack("<HH2sH", 2, number, kind, len(value)) + value

    classes = sop_class if re.fullmatch(r"[0-9.]{1,64}", sop_class) else ""
    body = b"".join(
        (
            element(0x0001, b"OB", b"\0\1"),
            element(0x0002, b"UI", classes.encode()),
            element(0x0003, b"UI", instance.encode("ascii", "replace")),
            element(0x0010, b"UI", syntax.encode("ascii", "replace")),
            element(0x0012, b"UI", _OUR_UID),
            element(0x0013, b"SH", b"AIMED_1"),
        )
    )
    return bytes(128) + b"DICM" + element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _add_method(writer: _Writer, profile: DicomProfile, blanked: bool) -> None:
    """Say in the file what was done to it, in words and in codes."""
    implicit = writer.reader.implicit
    codes = profile.codes() + ([("113101", "Clean Pixel Data Option")] if blanked else [])
    items = []
    for code, meaning in codes:
        item = (
            writer.element(0x00080100, "SH", code.encode(), implicit)
            + writer.element(0x00080102, "SH", b"DCM", implicit)
            + writer.element(0x00080104, "LO", meaning[:64].encode(), implicit)
        )
        items.append(writer.head_plain(0xFFFE, 0xE000, len(item)) + item)
    method = f"aimed, DICOM PS3.15 {table_edition()} Basic Profile".encode()
    modified = b"MODIFIED" if profile.dates == "shift" else b"REMOVED"
    writer.extra |= {
        0x00120062: writer.element(0x00120062, "CS", b"YES", implicit),
        0x00120063: writer.element(0x00120063, "LO", method, implicit),
        0x00120064: writer.element(0x00120064, "SQ", b"".join(items), implicit),
        0x00280303: writer.element(0x00280303, "CS", modified, implicit),
    }
    if blanked:
        writer.extra[0x00280301] = writer.element(0x00280301, "CS", b"NO", implicit)


def _regions(writer: _Writer, top: Mapping[int, _Element]) -> list[tuple[int, int, int, int]]:
    declared = top.get(0x00186011)
    out = []
    for item in declared.items or [] if declared is not None else []:
        within = {e.tag: e for e in item}
        x0, y0, x1, y1 = (
            _number(writer.data, within, tag, writer.reader.order, -1)
            for tag in (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)
        )
        if min(x0, y0, x1, y1) >= 0:
            out.append((x0, y0, x1 + 1, y1 + 1))
    return out


def _blank_pixels(writer: _Writer, top: Mapping[int, _Element], syntax: str, blank: Blanking, modality: str) -> str:
    """Paint over the pixels, note what else changes in the header, and return the transfer syntax of the result."""
    data, order = writer.data, writer.reader.order
    if _PIXELS not in top:
        raise FileRefused("BLANK", "pixels in floating point cannot be blanked")
    rows, columns = (_number(data, top, tag, order, 0) for tag in (0x00280010, 0x00280011))
    samples, planar = _number(data, top, 0x00280002, order, 1), _number(data, top, 0x00280006, order, 0)
    bits, frames = _number(data, top, 0x00280100, order, 8), _number(data, top, 0x00280008, order, 1)
    if min(rows, columns, samples, frames) < 1 or bits not in (8, 16, 32):
        raise FileRefused("BLANK", "pictures of this depth cannot be blanked")
    e = top[_PIXELS]
    photometric = _plain(data, top, 0x00280004).upper()
    if e.undefined:
        head = 8 if writer.reader.implicit else 12
        shape_of_one = (rows, columns, samples)
        pixels, changed = _decoded_frames(data[e.head + head : e.end], shape_of_one, bits, frames, syntax)
        planar = 0
        if samples == 3 and changed and photometric.startswith("YBR"):
            photometric = "RGB"
            writer.extra[0x00280004] = writer.element(0x00280004, "CS", b"RGB", writer.reader.implicit)
        if samples == 3:
            writer.extra[0x00280006] = writer.element(0x00280006, "US", bytes(2), writer.reader.implicit)
        syntax = IMPLICIT if writer.reader.implicit else EXPLICIT
    else:
        if photometric.endswith(("422", "420")):
            raise FileRefused("BLANK", "colours stored at half the width cannot be blanked")
        size = rows * columns * samples * frames * (bits // 8)
        if e.end - e.start < size:
            raise _CutError
        pixels = np.frombuffer(data, np.dtype(f"{order}u{bits // 8}"), size // (bits // 8), e.start).copy()
    shape = (frames, samples, rows, columns) if samples > 1 and planar == 1 else (frames, rows, columns, samples)
    pixels = pixels.reshape(shape)
    view = pixels if samples > 1 and planar == 1 else np.moveaxis(pixels, 3, 1)
    black: Any = 0
    if photometric == "MONOCHROME1":
        black = (1 << _number(data, top, 0x00280101, order, bits)) - 1
    fill = np.full((samples, 1, 1), black, view.dtype)
    if photometric.startswith("YBR") and samples == 3:
        fill[1:] = 1 << (bits - 1)
    if blank.outside_ultrasound:
        regions = _regions(writer, top)
        if not regions:
            raise FileRefused("BLANK", "the file declares no ultrasound regions", "give boxes to blank")
        outside = np.ones((rows, columns), bool)
        for x0, y0, x1, y1 in regions:
            outside[y0:y1, x0:x1] = False
        view[...] = np.where(outside, fill, view)
    for x, y, width, height in blank.boxes:
        if x >= columns or y >= rows:
            raise FileRefused("BLANK", "a box to blank lies outside of the picture")
        view[..., y : y + height, x : x + width] = fill
    kind = "OW" if bits > 8 or writer.reader.implicit else "OB"
    if e.undefined and bits <= 8:
        kind = "OB"
    writer.pixels = (e, writer.element(_PIXELS, kind, pixels.tobytes(), writer.reader.implicit))
    return syntax


def _streams(value: bytes, frames: int) -> list[bytes]:
    """Return the compressed frames of an encapsulated value."""
    parts, at = [], 0
    while at + 8 <= len(value):
        group, number, length = struct.unpack_from("<HHI", value, at)
        if group << 16 | number != _ITEM:
            break
        parts.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    table, fragments = (parts[0], parts[1:]) if parts else (b"", [])
    if frames == 1 and fragments:
        return [b"".join(fragments)]
    if len(fragments) == frames:
        return fragments
    begins = [0, *itertools.accumulate(8 + len(part) for part in fragments)]
    offsets = list(struct.unpack(f"<{len(table) // 4}I", table)) if len(table) == 4 * frames else []
    if not offsets or not set(offsets) <= set(begins) or sorted(set(offsets)) != offsets:
        raise FileRefused("BLANK", "the compressed frames cannot be told apart")
    bounds = [begins.index(offset) for offset in offsets] + [len(fragments)]
    return [b"".join(fragments[i:j]) for i, j in itertools.pairwise(bounds)]


def _decoded_frames(
    value: bytes, shape: tuple[int, int, int], bits: int, frames: int, syntax: str
) -> tuple[NDArray[Any], bool]:
    """Return the pixels of compressed frames, colours last, and whether the decoder may have changed the colours."""
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtraError("imagecodecs", "blanking compressed pictures", "pip install 'aimed[imaging]'") from None
    rows, columns, samples = shape
    colours = False
    out = []
    for stream in _streams(value, frames):
        try:
            if syntax == "1.2.840.10008.1.2.5":
                flat = np.frombuffer(
                    bytes(imagecodecs.dicomrle_decode(stream, np.dtype(f"<u{bits // 8}"))), f"<u{bits // 8}"
                )
                pixels = np.moveaxis(flat[: rows * columns * samples].reshape(samples, rows, columns), 0, -1)
            elif syntax in ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"):
                pixels = imagecodecs.jpegls_decode(stream)
            elif syntax in _JPEG_2000:
                pixels, colours = imagecodecs.jpeg2k_decode(stream, numthreads=1), True
            elif syntax.startswith("1.2.840.10008.1.2.4.") and int(syntax.rsplit(".", 1)[1]) <= 70:
                pixels, colours = imagecodecs.jpeg_decode(stream), True
            else:
                raise FileRefused("SYNTAX", "pictures of this transfer syntax cannot be decoded")
            pixels = np.asarray(pixels).reshape(rows, columns, samples)
        except (FileRefused, MissingExtraError):
            raise
        except Exception:  # decoders raise anything on damaged streams, and quote them
            raise FileRefused("TRUNCATED", "a compressed frame is damaged or of another size") from None
        if pixels.dtype.itemsize * 8 > bits:
            raise FileRefused("HEADER", "the frames have more bits than the header says")
        out.append(
            pixels.astype(f"<i{bits // 8}" if pixels.dtype.kind == "i" else f"<u{bits // 8}").view(f"<u{bits // 8}")
        )
    return np.stack(out), colours
