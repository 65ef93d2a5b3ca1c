"""FHIR resources lose their patients and still refer to each other."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest

from aimed.privacy.cleaner import FileRefused, TextCleaner
from aimed.privacy.fhir import FhirPatients, deidentify_fhir
from aimed.privacy.surrogates import Surrogates

GIVEN = Surrogates(bytes(range(32)))
MR = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "pat-77812",
    "identifier": [{"type": MR, "system": "http://zqxhospital.example/mrn", "value": "MRN-884412"}],
    "name": [{"use": "official", "family": "Quillfeather", "given": ["Zebulon"], "text": "Zebulon Quillfeather"}],
    "telecom": [{"system": "phone", "value": "555-123-4567"}, {"system": "email", "value": "zeb@zqxhospital.example"}],
    "gender": "male",
    "birthDate": "1964-05-06",
    "address": [
        {"line": ["12 Zqxelm Street"], "city": "Zqxfield", "state": "IL", "postalCode": "62704", "country": "US"}
    ],
    "photo": [{"contentType": "image/png", "data": "aGk="}],
    "contact": [{"name": {"family": "Zqxaunt"}, "telecom": [{"system": "phone", "value": "555-999-8888"}]}],
    "managingOrganization": {"reference": "Organization/org-5512", "display": "Zqxmercy Hospital"},
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml" title="Quillfeather">'
        "<b>Zebulon</b> Quillfeather<!-- Zqxsecret --></div>",
    },
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "Zqxtown"}}
    ],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "obs-1231",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "30525-0", "display": "Age"}], "text": "Age"},
    "subject": {"reference": "Patient/pat-77812", "display": "Zebulon Quillfeather"},
    "performer": [{"reference": "Practitioner/dr-4410", "display": "Dr. Barnabas Zqxdoc"}],
    "effectiveDateTime": "2020-01-31T10:11:12+01:00",
    "issued": "2020-02-10",
    "valueQuantity": {"value": 93, "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"},
    "note": [{"text": "Mr. Quillfeather called on 01/31/2020. No effusion."}],
}
REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "rep-9",
    "subject": {"reference": "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001"},
    "effectivePeriod": {"start": "2020-01", "end": "2020"},
    "conclusion": "Mr. Quillfeather: no pneumothorax.",
    "presentedForm": [
        {
            "contentType": "text/plain",
            "data": base64.b64encode(b"Mr. Quillfeather has a nodule of 5 mm.").decode(),
            "title": "Note",
        },
        {"contentType": "application/pdf", "data": "WlFYUERG", "url": "http://zqxhospital.example/fhir/Binary/77"},
    ],
}
PRACTITIONER = {
    "resourceType": "Practitioner",
    "id": "dr-4410",
    "name": [{"family": "Zqxdoc", "given": ["Barnabas"], "prefix": ["Dr."]}],
}
ORGANISATION = {"resourceType": "Organization", "id": "org-5512", "name": "Zqxmercy Hospital", "alias": ["Zqxmercy"]}
LEFT = (
    "uillfeather",
    "ebulon",
    "zqx",
    "Zqx",
    "884412",
    "77812",
    "62704",
    "123-4567",
    "999-8888",
    "2020-01-31",
    "01/31/2020",
    "4410",
    "5512",
    "WlFYUERG",
    "1964-05-06",
    "2020-02-10",
    "obs-1231",
)


@pytest.fixture
def cleaner() -> TextCleaner:
    return TextCleaner(GIVEN)


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [
        {"fullUrl": f"http://zqxhospital.example/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def test_a_bundle_loses_its_patient(cleaner: TextCleaner) -> None:
    made = deidentify_fhir(bundle(PATIENT, OBSERVATION, REPORT, PRACTITIONER, ORGANISATION), cleaner).decode()
    assert [word for word in LEFT if word in made] == []
    got = {e["resource"]["resourceType"]: e for e in json.loads(made)["entry"]}
    patient, observation, report = (got[n]["resource"] for n in ("Patient", "Observation", "DiagnosticReport"))
    assert patient["identifier"][0]["value"] == GIVEN.identifier("MRN-884412")
    assert patient["identifier"][0]["type"] == MR
    assert patient["gender"] == "male"
    assert patient["name"][0]["family"] == GIVEN.person("Quillfeather")
    assert observation["subject"]["reference"] == f"Patient/{patient['id']}"
    assert got["Patient"]["fullUrl"].endswith(f"/Patient/{patient['id']}")
    assert observation["performer"][0]["reference"] == f"Practitioner/{got['Practitioner']['resource']['id']}"
    assert patient["managingOrganization"]["display"] == got["Organization"]["resource"]["name"]
    assert observation["code"] == OBSERVATION["code"]
    assert observation["valueQuantity"]["value"] == 90
    shift = dt.timedelta(days=GIVEN.date_shift("MRN-884412"))
    assert observation["effectiveDateTime"] == f"{dt.date(2020, 1, 31) + shift}T10:11:12+01:00"
    assert observation["issued"] == str(dt.date(2020, 2, 10) + shift)
    assert patient["birthDate"] == str(dt.date(1964, 5, 6) + shift)
    assert "photo" not in patient
    assert patient["text"]["div"].startswith('<div xmlns="http://www.w3.org/1999/xhtml"><b>')
    assert "No effusion" in observation["note"][0]["text"]
    forms = report["presentedForm"]
    assert b"nodule of 5 mm" in base64.b64decode(forms[0]["data"])
    assert b"Quill" not in base64.b64decode(forms[0]["data"])
    assert "data" not in forms[1]
    assert report["effectivePeriod"]["start"].startswith(("2018", "2019"))


def test_lines_of_several_files_agree(cleaner: TextCleaner) -> None:
    met = FhirPatients()
    met.learn(PATIENT)
    alone = deidentify_fhir(json.dumps(OBSERVATION).encode() + b"\n\n", cleaner, lines=True, patients=met)
    together = json.loads(deidentify_fhir(bundle(PATIENT, OBSERVATION), cleaner))["entry"][1]["resource"]
    assert json.loads(alone)["effectiveDateTime"] == together["effectiveDateTime"]
    assert alone.count(b"\n") == 1
    assert "Quillfeather" not in repr(met)
    assert "884412" not in repr(met)


def test_contained_resources_and_uuids_are_followed(cleaner: TextCleaner) -> None:
    uuid = "0a1b2c3d-0000-4000-8000-00000000abcd"
    resource = {
        "resourceType": "Encounter",
        "id": uuid,
        "contained": [{**PRACTITIONER, "id": "p1"}],
        "participant": [{"individual": {"reference": "#p1"}}],
        "partOf": {"reference": f"urn:uuid:{uuid}"},
    }
    made = json.loads(deidentify_fhir(json.dumps(resource).encode(), cleaner))
    assert made["participant"][0]["individual"]["reference"] == f"#{made['contained'][0]['id']}"
    assert made["partOf"]["reference"] == f"urn:uuid:{made['id']}"
    assert made["id"] != uuid
    assert len(made["id"]) == 36


def test_the_old_lose_their_birth_date(cleaner: TextCleaner) -> None:
    assert "birthDate" not in json.loads(
        deidentify_fhir(json.dumps({**PATIENT, "birthDate": "1921-01-01"}).encode(), cleaner)
    )


@pytest.mark.parametrize(
    ("data", "lines", "code"),
    [
        (b"", False, "EMPTY"),
        (b"{", False, "MALFORMED"),
        (b'{"a": 1}', False, "NOT_FHIR"),
        (b"[1]", False, "NOT_FHIR"),
        (b'{"resourceType": "Patient"}\n[', True, "MALFORMED"),
        (b"\xff\xfa{}", False, "ENCODING"),
        (b'{"resourceType":"Patient","a":' * 2000 + b"1" + b"}" * 2000, False, "DEPTH"),
    ],
)
def test_bad_files_are_refused(cleaner: TextCleaner, data: bytes, lines: bool, code: str) -> None:
    with pytest.raises(FileRefused) as error:
        deidentify_fhir(data, cleaner, lines=lines)
    assert error.value.code == code


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "Zqx Quillfeather"},
        {"name": [5, None]},
        {"identifier": {"value": 5}},
        {"entry": 3},
        {"contained": [None]},
    ],
)
def test_resources_of_odd_form_do_not_stop_the_work(cleaner: TextCleaner, broken: dict[str, Any]) -> None:
    assert deidentify_fhir(json.dumps({"resourceType": "Patient", "id": "a", **broken}).encode(), cleaner)
