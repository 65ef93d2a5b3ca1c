"""Classes of identifiers: the eighteen kinds that HIPAA Safe Harbor takes out, and what stands in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aimed.core.errors import UnknownNameError

__all__ = ["CLASSES", "CLASS_NAMES", "IdentifierClass", "identifier_class"]


@dataclass(frozen=True, slots=True)
class IdentifierClass:
    """One of the eighteen identifiers of 45 CFR 164.514(b)(2)(i).

    Attributes
    ----------
    name : str
        Name used in code, tables and files, such as ``"medical_record"``.
    letter : str
        Letter of the paragraph, ``"A"`` to ``"R"``.
    title : str
        What a reader sees.
    marker : str
        What stands in a note in style ``"class"``, such as ``"[NAME]"``.
    replacement : str
        How a surrogate is made (method of `Surrogates`, in words).
    """

    name: str
    letter: str
    title: str
    marker: str
    replacement: str


def _class(letter: str, name: str, title: str, replacement: str) -> IdentifierClass:
    return IdentifierClass(name, letter, title, f"[{name.upper()}]", replacement)


CLASSES: Final[dict[str, IdentifierClass]] = {
    c.name: c
    for c in (
        _class("A", "name", "Names", "another person's name, part by part"),
        _class("B", "geography", "Places smaller than a state", "another place of the same form"),
        _class(
            "C", "date", "Dates except the year, and ages over 89", "shifted by the patient's own days; 90+ for ages"
        ),
        _class("D", "telephone", "Telephone numbers", "other digits in the same format"),
        _class("E", "fax", "Fax numbers", "other digits in the same format"),
        _class("F", "email", "E-mail addresses", "an address at example.org"),
        _class(
            "G", "social_security", "Social security and national insurance numbers", "other digits in the same format"
        ),
        _class("H", "medical_record", "Medical record and accession numbers", "other characters in the same format"),
        _class("I", "health_plan", "Health plan beneficiary numbers", "other characters in the same format"),
        _class("J", "account", "Account numbers", "other characters in the same format"),
        _class("K", "certificate_licence", "Certificate and licence numbers", "other characters in the same format"),
        _class("L", "vehicle", "Vehicle identifiers and number plates", "other characters in the same format"),
        _class("M", "device", "Device identifiers and serial numbers", "other characters in the same format"),
        _class("N", "url", "Web addresses", "an address at example.org"),
        _class("O", "ip_address", "Internet protocol addresses", "an address of a documentation range"),
        _class("P", "biometric", "Biometric identifiers", "another reference in the same format"),
        _class(
            "Q", "photograph", "Full-face photographs and comparable images", "another reference in the same format"
        ),
        _class(
            "R",
            "other_unique",
            "Any other unique number, characteristic or code",
            "other characters in the same format",
        ),
    )
}
"""The classes by name, in the order of the paragraph."""

CLASS_NAMES: Final[tuple[str, ...]] = tuple(CLASSES)
"""Names of the classes, in the order of the paragraph."""


def identifier_class(name: str) -> IdentifierClass:
    """Return the class of a name or of a letter of the paragraph.

    Parameters
    ----------
    name : str
        Such as ``"date"`` or ``"C"``.

    Raises
    ------
    UnknownNameError
        No class has this name.

    References
    ----------
    45 CFR 164.514(b)(2)(i)(A)-(R), Other requirements relating to uses and disclosures of protected health
    information: de-identification, safe harbor.

    Examples
    --------
    >>> identifier_class("H").name
    'medical_record'
    """
    if name in CLASSES:
        return CLASSES[name]
    for one in CLASSES.values():
        if one.letter == name:
            return one
    raise UnknownNameError("class of identifier", name, CLASSES)
