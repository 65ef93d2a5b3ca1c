"""FHIR R4 without its patients: bundles, single resources and NDJSON, names, dates, references and narrative."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aimed.privacy.cleaner import FileRefused, Known, TextCleaner
from aimed.privacy.surrogates import LATEST_AGE

__all__ = ["FhirPatients", "deidentify_fhir", "is_fhir"]

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?\Z")
_YEAR = re.compile(r"(1[89]|2[01])\d\d\Z")
_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)
_TAG_NAME = re.compile(r"</?\s*([A-Za-z][A-Za-z0-9]*)")
_WORD = re.compile(r"[A-Za-z0-9_.:/+\-^%*\[\]{}()]{1,64}\Z")
_DEPTH = 64

_PUBLIC_HOSTS = (
    "hl7.org", "loinc.org", "snomed.info", "unitsofmeasure.org", "nih.gov", "cdc.gov", "who.int", "nema.org",
    "ihe.net", "ietf.org", "w3.org", "ama-assn.org", "iso.org", "fhir.org", "healthit.gov", "cms.gov", "fda.gov",
)  # fmt: skip
# Values of these stay: they come from the standard. Codes are checked like any short word.
_STAYS = frozenset(
    [
        "resourceType",
        "status",
        "use",
        "type",
        "unit",
        "gender",
        "intent",
        "priority",
        "mode",
        "rank",
        "comparator",
        "contentType",
        "language",
        "linkId",
        "versionId",
        "fhirVersion",
        "kind",
        "class",
        "code",
        "version",
        "currency",
        "preferred",
        "active",
        "deceasedBoolean",
        "multipleBirthBoolean",
    ]
)
_URIS = frozenset(
    [
        "system",
        "url",
        "profile",
        "valueUri",
        "valueUrl",
        "valueCanonical",
        "source",
        "instantiatesUri",
        "instantiatesCanonical",
        "implicitRules",
    ]
)
_PEOPLE = frozenset(("Patient", "Practitioner", "RelatedPerson", "Person", "PractitionerRole"))
_GROUPS = frozenset(("Organization", "Location", "HealthcareService", "Endpoint", "CareTeam"))
_NUMBERS = frozenset(
    [
        "serialNumber",
        "lotNumber",
        "deviceIdentifier",
        "carrierHRF",
        "distinctIdentifier",
        "valueId",
        "authorReference",
        "accession",
    ]
)
_DROPPED = frozenset(("photo", "carrierAIDC", "hash", "signature", "position"))


@dataclass
class FhirPatients:
    """What the resources of one archive say about its patients, met in any of its files.

    Examples
    --------
    >>> met = FhirPatients()
    >>> met.learn({"resourceType": "Patient", "id": "a", "identifier": [{"value": "MRN-1"}]})
    >>> met.key("a")
    'MRN-1'
    """

    keys: dict[str, str] = field(default_factory=dict, repr=False)
    known: dict[str, Known] = field(default_factory=dict, repr=False)

    def key(self, patient: str) -> str:
        """Return the identifier that sets the shift of a patient: the record number where there is one."""
        return self.keys.get(patient, patient)

    def learn(self, resource: Any) -> None:
        """Note the identifiers and names of each patient in a resource or a bundle."""
        for one in _resources(resource):
            if one.get("resourceType") != "Patient":
                continue
            patient = str(one.get("id", ""))
            key = _record_number(one) or patient
            self.keys[patient] = key
            known = self.known.setdefault(patient, Known())
            _learn(one, known)


def _resources(resource: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(resource, dict):
        return
    yield resource
    for entry in resource.get("entry") or () if isinstance(resource.get("entry"), list) else ():
        if isinstance(entry, dict):
            yield from _resources(entry.get("resource"))
    for inner in resource.get("contained") or () if isinstance(resource.get("contained"), list) else ():
        yield from _resources(inner)


def _record_number(patient: Mapping[str, Any]) -> str | None:
    listed = [i for i in patient.get("identifier") or () if isinstance(i, dict) and isinstance(i.get("value"), str)]
    for one in listed:
        codings = one.get("type", {}).get("coding", []) if isinstance(one.get("type"), dict) else []
        if any(isinstance(c, dict) and c.get("code") == "MR" for c in codings):
            return str(one["value"])
    return str(listed[0]["value"]) if listed else None


def _learn(resource: Mapping[str, Any], known: Known) -> None:
    names = resource.get("name")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, dict):
            for part in (name.get("text"), name.get("family"), *(name.get("given") or ())):
                if isinstance(part, str):
                    known.add("name", part)
    for identifier in resource.get("identifier") or () if isinstance(resource.get("identifier"), list) else ():
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            known.add("medical_record", identifier["value"])
    for contact in resource.get("telecom") or () if isinstance(resource.get("telecom"), list) else ():
        if isinstance(contact, dict) and isinstance(contact.get("value"), str):
            known.add("email" if contact.get("system") == "email" else "telephone", contact["value"])


def _subject(resource: Mapping[str, Any]) -> str | None:
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id", ""))
    for name in ("subject", "patient", "individual", "beneficiary", "for", "who"):
        value = resource.get(name)
        if isinstance(value, dict) and isinstance(value.get("reference"), str):
            return str(value["reference"]).split("/_history")[0].rsplit("/", 1)[-1].removeprefix("urn:uuid:")
    return None


class _Walk:
    """Goes through resources and replaces what identifies."""

    def __init__(self, cleaner: TextCleaner, patients: FhirPatients, otherwise: str | None) -> None:
        self.cleaner, self.given, self.patients = cleaner, cleaner.surrogates, patients
        self.patient = otherwise
        self.known = Known()

    def resource(self, resource: dict[str, Any], default: str | None) -> dict[str, Any]:
        """Return a resource anew."""
        before = self.patient, self.known
        subject = _subject(resource) or default
        self.patient = self.patients.key(subject) if subject is not None else self.patient
        self.known = self.patients.known.get(subject or "", self.known)
        if resource.get("resourceType") in _PEOPLE and resource.get("resourceType") != "Patient":
            merged = Known(dict(self.known.classes), dict(self.known.longer))
            _learn(resource, merged)
            self.known = merged
        try:
            return self.members(resource, str(resource.get("resourceType", "")), subject, 0)
        finally:
            self.patient, self.known = before

    def members(self, node: dict[str, Any], kind: str, subject: str | None, depth: int) -> dict[str, Any]:
        """Return an object with its members replaced by what each of them is."""
        if depth > _DEPTH:
            raise FileRefused("DEPTH", "the resource is nested too deep")
        out: dict[str, Any] = {}
        node = self.capped(node)
        for name, value in node.items():
            if name in _DROPPED or (name.startswith("_") and not isinstance(value, (dict, list))):
                self.cleaner.counts["photograph" if name == "photo" else "other_unique"] += 1
                continue
            made = self.member(name, value, node, kind, subject, depth)
            if made is not None:
                out[name] = made
        return out

    def member(self, name: str, value: Any, node: dict[str, Any], kind: str, subject: str | None, depth: int) -> Any:
        """Return one member anew, or None to leave it out."""
        if isinstance(value, list):
            made = [self.member(name, one, node, kind, subject, depth) for one in value]
            return [one for one in made if one is not None]
        if isinstance(value, dict):
            if "resourceType" in value:
                return self.resource(value, subject)
            if name == "name" or name == "valueHumanName":
                return self.human(value)
            if name in ("address", "valueAddress"):
                return self.address(value)
            if name in ("telecom", "valueContactPoint"):
                return self.contact(value)
            if name in ("identifier", "valueIdentifier", "masterIdentifier", "groupIdentifier"):
                return self.identifier(value, subject, depth)
            if name in ("attachment", "valueAttachment", "content", "presentedForm") and (
                "data" in value or "url" in value
            ):
                return self.attachment(value)
            return self.members(value, kind, subject, depth + 1)
        if isinstance(value, str):
            return self.text(name, value, node, kind)
        return value  # numbers and true or false

    def capped(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return a quantity that is an age above 89 as more than 89."""
        value, unit = node.get("value"), f"{node.get('code', '')} {node.get('unit', '')}".lower()
        years = node.get("code") == "a" or re.search(r"\byears?\b|\byrs?\b", unit)
        if years and isinstance(value, (int, float)) and not isinstance(value, bool) and value > LATEST_AGE:
            self.cleaner.counts["date"] += 1
            return {**node, "value": LATEST_AGE + 1, "comparator": ">="}
        return node

    def human(self, name: dict[str, Any]) -> dict[str, Any]:
        """Return a name with each part replaced."""
        out: dict[str, Any] = {}
        for key in ("use", "period", "text", "family", "given", "prefix", "suffix"):
            value = name.get(key)
            if key == "period" and isinstance(value, dict):
                out[key] = self.members(value, "", None, 1)
            elif isinstance(value, list):
                out[key] = [self.cleaner.replaced("name", v) for v in value if isinstance(v, str)]
            elif isinstance(value, str):
                out[key] = value if key == "use" and value.isalpha() else self.cleaner.replaced("name", value)
        return out

    def address(self, address: dict[str, Any]) -> dict[str, Any]:
        """Return an address with another street, town and code; codes of state and country stay."""
        out: dict[str, Any] = {}
        for key, value in address.items():
            short = isinstance(value, str) and value.isalpha()
            if short and (key in ("use", "type") or (key in ("country", "state") and len(value) <= 3)):
                out[key] = value
            elif key == "period" and isinstance(value, dict):
                out[key] = self.members(value, "", None, 1)
            elif isinstance(value, list):
                out[key] = [self.cleaner.replaced("geography", v) for v in value if isinstance(v, str)]
            elif isinstance(value, str):
                out[key] = self.cleaner.replaced("geography", value)
        return out  # extensions of addresses are coordinates

    def contact(self, contact: dict[str, Any]) -> dict[str, Any]:
        """Return a telephone number or address of another person."""
        system = str(contact.get("system", "other"))
        cls = {
            "phone": "telephone",
            "sms": "telephone",
            "pager": "telephone",
            "fax": "fax",
            "email": "email",
            "url": "url",
        }
        out = {k: contact[k] for k in ("rank",) if isinstance(contact.get(k), int)}
        out |= {k: contact[k] for k in ("system", "use") if isinstance(contact.get(k), str) and contact[k].isalpha()}
        if isinstance(contact.get("value"), str):
            out["value"] = self.cleaner.replaced(cls.get(system, "other_unique"), contact["value"])
        return out

    def identifier(self, identifier: dict[str, Any], subject: str | None, depth: int) -> dict[str, Any]:
        """Return an identifier with another value."""
        out = self.members(
            {k: v for k, v in identifier.items() if k not in ("value", "extension")}, "", subject, depth + 1
        )
        value = identifier.get("value")
        if isinstance(value, str):
            self.cleaner.counts["medical_record"] += 1
            out["value"] = self.uri(value) if value.startswith(("urn:", "http")) else self.given.identifier(value)
        return out

    def attachment(self, attachment: dict[str, Any]) -> dict[str, Any]:
        """Return an attachment with its text cleaned; what is no text is left out."""
        out: dict[str, Any] = {}
        kind = str(attachment.get("contentType", ""))
        for key in ("contentType", "language", "creation", "title"):
            if isinstance(attachment.get(key), str):
                out[key] = self.text(key, attachment[key], attachment, "")
        data = attachment.get("data")
        if isinstance(data, str) and kind.split(";")[0] in (
            "text/plain",
            "text/html",
            "text/xml",
            "application/xhtml+xml",
        ):
            try:
                text = base64.b64decode(data, validate=False).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                text = ""
            made = (
                self.cleaner.clean(text, self.patient, self.known)
                if kind.startswith("text/plain")
                else self.narrative(text)
            )
            out["data"] = base64.b64encode(made.encode()).decode()
        elif data is not None:
            self.cleaner.counts["other_unique"] += 1
        if isinstance(attachment.get("url"), str):
            out["url"] = self.uri(attachment["url"])
        return out

    def narrative(self, text: str) -> str:
        """Return XHTML with cleaned text and without attributes and comments."""
        out, plain, at = [], [], 0
        for found in [*_TAG.finditer(text), None]:
            piece = html.unescape(text[at : found.start() if found else len(text)])
            plain.append(piece)
            out.append(("", piece))
            if found is not None:
                named = _TAG_NAME.match(found.group())
                tag = named.group(1).lower() if named else ""
                closing, empty = found.group().startswith("</"), found.group().endswith("/>")
                if tag and tag not in ("img", "script", "style", "a"):
                    space = (
                        ' xmlns="http://www.w3.org/1999/xhtml"'
                        if tag == "div" and not closing and len(out) <= 2
                        else ""
                    )
                    out.append(("tag", f"<{'/' if closing else ''}{tag}{space}{'/' if empty else ''}>"))
                at = found.end()
        return "".join(
            piece if sort else html.escape(self.cleaner.clean(piece, self.patient, self.known), quote=False)
            for sort, piece in out
        )

    def uri(self, value: str) -> str:
        """Return an address or a reference; those of standards stay."""
        if value.startswith("urn:uuid:"):
            return f"urn:uuid:{self.logical(value[9:])}"
        if value.startswith("urn:oid:"):
            oid = value[8:]
            return (
                value
                if oid.startswith(("2.16.840.1.113883.6.", "2.16.840.1.113883.5.", "2.16.840.1.113883.4.642."))
                else (f"urn:oid:{self.given.uid(oid)}")
            )
        if value.startswith(("http://", "https://")):
            try:
                parts = urlsplit(value)
                host = (parts.hostname or "").lower()
            except ValueError:
                return self.given.url(value)
            if any(host == public or host.endswith(f".{public}") for public in _PUBLIC_HOSTS):
                return value
            path = [p for p in parts.path.split("/") if p]
            for i in range(len(path) - 2, -1, -1):
                if _TYPE.match(path[i]) and not _TYPE.match(path[i + 1]):
                    return f"https://example.org/fhir/{path[i]}/{self.logical(path[i + 1])}"
            return self.given.url(value)
        return self.reference(value)

    def reference(self, value: str) -> str:
        """Return a relative reference with the surrogate of its target."""
        if value.startswith("#"):
            return f"#{self.logical(value[1:])}" if len(value) > 1 else value
        parts = value.split("/")
        if len(parts) >= 2 and _TYPE.match(parts[0]) and "?" not in value:
            return f"{parts[0]}/{self.logical(parts[1])}"  # a version of the history is left out
        if "?" in value and _TYPE.match(value.split("?")[0]):
            return value.split("?")[0]
        return self.given.identifier(value)

    def logical(self, value: str) -> str:
        """Return the surrogate of the id of a resource."""
        if _UUID.match(value):
            made = self.given.tag("uuid", value.lower(), 32)
            return f"{made[:8]}-{made[8:12]}-4{made[13:16]}-8{made[17:20]}-{made[20:32]}"
        return self.given.identifier(value)

    def text(self, name: str, value: str, node: dict[str, Any], kind: str) -> str | None:
        """Return a text by the name of its element."""
        if name == "div":
            return self.narrative(value)
        if name == "id":
            return self.logical(value)
        if name == "reference":
            return self.uri(value) if value.startswith(("urn:", "http")) else self.reference(value)
        if name == "fullUrl" or name in _URIS or value.startswith(("urn:uuid:", "urn:oid:")):
            return self.uri(value)
        if name == "birthDate" and value[:4].isdigit() and dt.date.today().year - int(value[:4]) > LATEST_AGE:
            self.cleaner.counts["date"] += 1
            return None
        if _DATE.match(value) or (_YEAR.match(value) and re.search(r"(date|Date|DateTime|start|end|valueDate)$", name)):
            self.cleaner.counts["date"] += 1
            return self.given.shift_date(value, self.patient)
        if name in _NUMBERS:
            return self.cleaner.replaced("device", value)
        if name == "name" or (name == "alias" and kind in _GROUPS):
            return self.group(value) if kind in _GROUPS else self.checked(value)
        if name == "display" and (isinstance(node.get("reference"), str) or "identifier" in node):
            target = str(node.get("type") or str(node.get("reference", "")).split("/")[-2:][0])
            if target in _GROUPS:
                return self.group(value)
            return (
                self.cleaner.replaced("name", value)
                if target in _PEOPLE or not _TYPE.match(target)
                else self.checked(value)
            )
        if name in ("data", "valueBase64Binary"):
            if node.get("resourceType") == "Binary":
                return self.attachment(node).get("data")
            self.cleaner.counts["other_unique"] += 1
            return None
        if name in _STAYS and _WORD.match(value) and not self.known.spans(value):
            return value
        return self.checked(value)

    def group(self, value: str) -> str:
        """Return the name of an organisation or a place."""
        self.cleaner.counts["geography"] += 1
        return "[GEOGRAPHY]" if self.cleaner.style == "class" else self.given.organisation(value)

    def checked(self, value: str) -> str:
        """Return a text as it is where it names nobody, cleaned otherwise."""
        return self.cleaner.clean(value, self.patient, self.known)


def is_fhir(value: Any) -> bool:
    """Say whether parsed JSON is a resource.

    Examples
    --------
    >>> is_fhir({"resourceType": "Patient"}), is_fhir([1])
    (True, False)
    """
    return (
        isinstance(value, dict)
        and isinstance(value.get("resourceType"), str)
        and bool(_TYPE.match(value["resourceType"]))
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise FileRefused("MALFORMED", "the file is no JSON that can be read") from None
    except RecursionError:
        raise FileRefused("DEPTH", "the file is nested too deep") from None


def read_fhir(data: bytes, lines: bool) -> list[dict[str, Any]]:
    """Return the resources of a file.

    Raises
    ------
    FileRefused
        EMPTY, ENCODING, MALFORMED, DEPTH or NOT_FHIR.
    """
    try:
        text = data.decode("utf-8-sig") if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else data.decode("utf-16")
    except UnicodeDecodeError:
        raise FileRefused("ENCODING", "the file is no UTF-8") from None
    if not text.strip():
        raise FileRefused("EMPTY", "the file is empty")
    found = [_parsed(line) for line in text.split("\n") if line.strip()] if lines else [_parsed(text)]
    if not all(is_fhir(one) for one in found):
        raise FileRefused("NOT_FHIR", "the JSON holds no FHIR resource")
    return found


def deidentify_fhir(
    data: bytes,
    cleaner: TextCleaner,
    *,
    lines: bool = False,
    patients: FhirPatients | None = None,
    otherwise: str | None = None,
) -> bytes:
    """Return FHIR resources without their patients.

    Parameters
    ----------
    data : bytes
        One resource or bundle in JSON, or NDJSON.
    cleaner : TextCleaner
        The map, and the finder for texts.
    lines : bool
        Whether it is NDJSON, one resource a line.
    patients : FhirPatients, optional
        What other files of the archive say of their patients.
    otherwise : str, optional
        What sets the shift of dates in resources of no patient.

    Returns
    -------
    bytes

    Raises
    ------
    FileRefused
        EMPTY, ENCODING, MALFORMED, DEPTH or NOT_FHIR.
    """
    found = read_fhir(data, lines)
    met = patients if patients is not None else FhirPatients()
    for one in found:
        met.learn(one)
    walk = _Walk(cleaner, met, otherwise)
    out = []
    for one in found:
        inside = [str(r.get("id", "")) for r in _resources(one) if r.get("resourceType") == "Patient"]
        default = inside[0] if len(inside) == 1 else None
        try:
            out.append(walk.resource(one, default))
        except RecursionError:
            raise FileRefused("DEPTH", "the resource is nested too deep") from None
    if lines:
        return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in out).encode()
    return (json.dumps(out[0], ensure_ascii=False, indent=1) + "\n").encode()
