from __future__ import annotations

import math

import pytest

from aimed.core import DataError
from aimed.diagnosis.dicom_statement import CODES, FindingResult, ModelIdentity, PictureResult, finding_code

MODEL = ModelIdentity("ab" * 32, "demo")


def test_codes_are_those_of_the_standard():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict", reason="the imaging extra is not installed").concepts
    known = {(code, scheme) for scheme in ("SCT", "DCM") for by in concepts[scheme].values() for code in by}
    listed = {name for name, (code, _) in CODES.items() if code[:2] in known}
    # DICOM lists these; the others are SNOMED CT codes that its context groups do not use.
    assert listed >= {"effusion", "pneumothorax", "edema", "nodule", "mass", "infiltration", "lung_opacity"}
    for name in listed:
        (code, scheme, meaning), site = CODES[name]
        meanings = {by[code][0].lower() for by in concepts[scheme].values() if code in by}
        assert meaning.lower() in meanings
        assert site is None or site[:2] in known


def test_no_code_stands_for_two_findings():
    assert len({code for code, _ in CODES.values()}) == len(CODES)


def test_snomed_codes_have_their_check_digit():
    """SNOMED CT identifiers end in a Verhoeff check digit, which a wrong digit or two swapped ones would break."""
    times = [[(i + j) % 5 + (5 if (i < 5) != (j < 5) else 0) for j in range(10)] for i in range(10)]
    for i in range(5, 10):
        for j in range(10):
            times[i][j] = (i - j) % 5 + (5 if j < 5 else 0)
    turn = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        turn.append([turn[1][v] for v in turn[-1]])
    codes = [c for pair in CODES.values() for c in pair if c is not None and c[1] == "SCT"]

    def check(text):
        value = 0
        for place, digit in enumerate(reversed(text)):
            value = times[value][turn[place % 8][int(digit)]]
        return value

    assert codes
    assert all(check(code) == 0 for code, _, _ in codes)
    assert check("60046080") != 0


@pytest.mark.parametrize("key", ["Pleural_Effusion", "pleural effusion", "Effusion", "EFFUSION"])
def test_the_spelling_of_a_key_does_not_matter(key):
    assert finding_code(key, "x")[0][0] == "60046008"


@pytest.mark.parametrize("key", ["No Finding", "Support Devices", "hernia", "effusions", "no_effusion", "не"])
def test_what_has_no_certain_code_gets_a_private_one(key):
    assert finding_code(key, "Words") == ((key, "99AIMED", "Words"), None)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["probability", "threshold", "spread"])
def test_impossible_numbers_are_refused(name, value):
    with pytest.raises(DataError, match=name):
        FindingResult(**{"key": "a", "probability": 0.5, name: value})


@pytest.mark.parametrize("limits", [{"lower": 0.1}, {"upper": 0.1}, {"lower": 0.6, "upper": 0.5}])
def test_impossible_intervals_are_refused(limits):
    with pytest.raises(DataError, match="interval"):
        FindingResult(key="a", probability=0.5, **limits)


@pytest.mark.parametrize("text", ["", "  ", "a" * 65, "a\nb", "a\\b", "a\x1b$B", "\ud800"])
def test_texts_that_cannot_be_written_are_refused(text):
    with pytest.raises(DataError):
        FindingResult(key=text, probability=0.5)
    with pytest.raises(DataError):
        ModelIdentity("ab" * 32, text)


def test_the_threshold_itself_is_called():
    assert FindingResult(key="a", probability=0.5, threshold=0.5).called is True
    assert FindingResult(key="a", probability=0.4999, threshold=0.5).called is False
    assert FindingResult(key="a", probability=0.5).called is None


@pytest.mark.parametrize("digest", ["", "xyz", "ab" * 33, "abc"])
def test_a_digest_is_hexadecimal(digest):
    with pytest.raises(DataError, match="SHA-256"):
        ModelIdentity(digest, "demo")


def test_a_picture_has_findings_or_a_refusal():
    one = FindingResult(key="a", probability=0.5)
    for settings in ({}, {"findings": (one,), "refused": "EMPTY"}, {"findings": (one, one)}):
        with pytest.raises(DataError):
            PictureResult(model=MODEL, **settings)


def test_a_predicted_picture_becomes_a_result():
    predicted = {
        "row": 1, "risk": {"a": 0.7, "b": 0.2}, "spread": {"a": 0.1, "b": math.nan}, "sets": {"a": "present"},
        "code": None, "sha256": "cd" * 32, "warnings": ({"code": "W", "reason": "no view"},),
    }  # fmt: skip
    found = PictureResult.of(predicted, MODEL, thresholds={"a": 0.5, "b": math.nan}, labels={"a": "A" * 90})
    assert [(f.key, f.probability, f.threshold, f.spread, f.conformal) for f in found.findings] == [
        ("a", 0.7, 0.5, 0.1, "present"), ("b", 0.2, None, None, None),
    ]  # fmt: skip
    assert [f.label for f in found.findings] == ["A" * 64, "b"]
    assert (found.warnings, found.sha256, found.refused) == (("no view",), "cd" * 32, None)


@pytest.mark.parametrize("code", ["TRUNCATED", None])
def test_a_refused_picture_becomes_a_refusal(code):
    found = PictureResult.of({"risk": None, "code": code}, MODEL, thresholds={})
    assert found.refused == (code or "NO_PREDICTION")
