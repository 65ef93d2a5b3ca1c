"""The confidentiality profile of DICOM PS3.15, compiled to one step for each attribute."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from aimed.core.errors import MissingExtraError, UnknownNameError

__all__ = ["KEPT", "DicomProfile", "kind_of", "table_edition", "table_of_actions"]

Step = Literal[
    "remove", "empty", "keep", "uid", "person", "identifier", "date", "time", "check", "word", "text", "dummy", "items"
]
"""What is done: words are kept when nothing in them looks like an identifier, text is cleaned as a note is."""

KEPT = ("uids", "device", "patient", "institution", "descriptors")
"""What a user may ask to keep; descriptors are then cleaned, the others stay as they are."""

_DATES = ("DA", "DT")
_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))
_NUMBERS = frozenset(("AT", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV", "OD", "OF", "OL", "OV", "OW"))
_CHECKED = frozenset(("AS", "CS", "DS", "IS"))
_STRINGS = _TEXT | _CHECKED | {"AE", "PN", "UI", "UR", "DA", "DT", "TM"}
_OWN_STEP: Mapping[int, Step] = {
    0x00100010: "person",
    0x00100020: "identifier",
    0x00080050: "identifier",  # accession number
    0x00200010: "identifier",  # study ID
    0x0040A730: "items",  # the content of structured reports
    0x0040A160: "text",
    0x0040A123: "person",
    0x00080016: "check",  # classes of objects
    0x00081150: "check",
    0x7FE00010: "keep",
    0x7FE00008: "keep",
    0x7FE00009: "keep",
    0x00282000: "keep",  # ICC profile
    0x54001010: "keep",  # waveform
    0x00420011: "remove",
    0x00120062: "remove",  # these four are written anew
    0x00120063: "remove",
    0x00120064: "remove",
    0x00280303: "remove",
}


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    return tomllib.loads(resources.files("aimed.privacy").joinpath("dicom_profile.toml").read_text("utf-8"))


def table_edition() -> str:
    """Return the edition of PS3.15 the table follows.

    Examples
    --------
    >>> table_edition()
    '2026c'
    """
    return str(_read()["edition"])


@lru_cache(maxsize=1)
def table_of_actions() -> dict[int, str]:
    """Return the action of the Basic Profile by tag, in the letters of the standard.

    Examples
    --------
    >>> table_of_actions()[0x00100010], table_of_actions()[0x00104000]
    ('Z', 'X')
    """
    return {int(tag, 16): action for action, tags in _read()["basic"].items() for tag in tags}


@lru_cache(maxsize=1)
def _dictionary() -> dict[int, str]:
    try:
        from pydicom._dicom_dict import DicomDictionary
    except ImportError:
        raise MissingExtraError("pydicom", "de-identifying DICOM files", "pip install 'aimed[imaging]'") from None
    # Where the standard leaves a choice the first kind is as good as the other: both are numbers.
    return {tag: entry[0].split(" ")[0] for tag, entry in DicomDictionary.items()}


def kind_of(tag: int) -> str:
    """Return the value representation of a standard attribute; "" for one that the standard does not know.

    Examples
    --------
    >>> kind_of(0x00100010), kind_of(0x00090010)
    ('PN', '')
    """
    return _dictionary().get(tag, "")


def _option(name: str) -> frozenset[int]:
    return frozenset(int(tag, 16) for tag in _read()["options"][name])


@dataclass(frozen=True)
class DicomProfile:
    """The Basic Profile with its options.

    Parameters
    ----------
    dates : {"shift", "remove"}
        Move dates by the days of the patient and keep times (Retain Longitudinal Temporal Information with Modified
        Dates), or treat them as the Basic Profile does.
    keep : tuple of str
        Any of "uids", "device", "patient" (characteristics), "institution" and "descriptors" (cleaned).

    Raises
    ------
    UnknownNameError
        For an option that does not exist.

    Notes
    -----
    What the table does not name is removed unless it can hold no identifier: numbers, coded words and dates stay
    (checked, and shifted), names and UIDs are replaced, and short texts stay only when a list says so.

    References
    ----------
    DICOM PS3.15, Annex E, Table E.1-1.

    Examples
    --------
    >>> profile = DicomProfile()
    >>> profile.step(0x00100010, "PN"), profile.step(0x00080020, "DA"), profile.step(0x00091001, "LO")
    ('person', 'date', 'remove')
    """

    dates: Literal["shift", "remove"] = "shift"
    keep: tuple[str, ...] = ()
    _steps: dict[tuple[int, str], Step] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in self.keep:
            if name not in KEPT:
                raise UnknownNameError("option of the DICOM profile", name, KEPT)
        if self.dates not in ("shift", "remove"):
            raise UnknownNameError("treatment of dates", self.dates, ("shift", "remove"))

    def codes(self) -> list[tuple[str, str]]:
        """Return the codes of the method (DCM, context group 7050) with their meanings."""
        asked = [("113100", "Basic Application Confidentiality Profile"), ("113104", "Clean Structured Content Option")]
        if "descriptors" in self.keep:
            asked.append(("113105", "Clean Descriptors Option"))
        if self.dates == "shift":
            asked.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
        for name, code, meaning in (
            ("patient", "113108", "Retain Patient Characteristics Option"),
            ("device", "113109", "Retain Device Identity Option"),
            ("uids", "113110", "Retain UIDs Option"),
            ("institution", "113112", "Retain Institution Identity Option"),
        ):
            if name in self.keep:
                asked.append((code, meaning))
        return asked

    def step(self, tag: int, kind: str) -> Step:
        """Return what is done with an attribute.

        Parameters
        ----------
        tag : int
            Group and element as one number.
        kind : str
            Its value representation as the file says it, or as the dictionary does.

        Returns
        -------
        str
        """
        found = self._steps.get((tag, kind))
        if found is None:
            found = self._steps[tag, kind] = self._decide(tag, kind)
        return found

    def _decide(self, tag: int, kind: str) -> Step:
        group = tag >> 16
        if group & 1 or tag & 0xFFFF == 0 or f"{group >> 8:02x}xx" in _read()["groups_removed"]:
            return "remove"  # private, a group length, curves and overlays
        known = kind_of(tag)
        if known and kind != known and not (kind in _NUMBERS and known in _NUMBERS):
            # A file may call anything a number: what the standard says decides, and what fits neither way goes.
            if kind != "UN" and not (kind in _STRINGS and known in _STRINGS) and not {kind, known} <= {"OB", "OW"}:
                return "remove"
            kind = known
        own = _OWN_STEP.get(tag)
        if own is not None:
            return own
        for name in ("device", "patient", "institution"):
            if name in self.keep and tag in _option(name):
                return self._kept(kind)
        if "descriptors" in self.keep and tag in _option("descriptors"):
            return "text"
        action = table_of_actions().get(tag)
        dated = self.dates == "shift" and group != 0x0010
        if action is None:
            return self._unlisted(tag, kind, dated)
        if dated and kind in (*_DATES, "TM"):
            return "time" if kind == "TM" else "date"
        if kind == "UI":
            return self._uid() if "U" in action or "D" in action else "remove"
        if action == "X":
            return "remove"
        if action in ("U", "X/Z/U*"):
            return "items" if kind == "SQ" else self._uid()
        if kind == "PN":
            return "person"
        if action in ("Z", "X/Z"):
            return "empty"
        return "items" if kind == "SQ" else "dummy"

    def _uid(self) -> Step:
        return "check" if "uids" in self.keep else "uid"

    def _kept(self, kind: str) -> Step:
        if kind in _TEXT:
            return "word"
        if kind in _CHECKED or kind == "UI":
            return "check"
        return "items" if kind == "SQ" else "keep" if kind in _NUMBERS else "remove"

    def _unlisted(self, tag: int, kind: str, dated: bool) -> Step:
        if not kind_of(tag):
            return "remove"  # no attribute of the standard
        if kind == "SQ":
            return "items"
        if kind in _NUMBERS:
            return "keep"
        if kind in _CHECKED:
            return "check"
        if kind == "PN":
            return "person"
        if kind == "UI":
            # Classes, syntaxes and context groups are the standard's own and stay, instances are replaced.
            return self._uid()
        if kind in _DATES:
            return "date" if dated else "empty"
        if kind == "TM":
            return "time" if dated else "empty"
        if kind in _TEXT and f"{tag:08X}" in _read()["texts"]["kept"]:
            return "word"
        return "remove"
