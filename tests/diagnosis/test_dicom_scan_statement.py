from __future__ import annotations

import dataclasses

import pytest

from aimed.core import DataError
from aimed.diagnosis.dicom_scan_statement import REGION_CODES, SITES, RegionResult, ScanResult, region_code
from aimed.diagnosis.dicom_statement import ModelIdentity

MODEL = ModelIdentity("ab" * 32, "brain-demo", "9.8.7")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole_tumour", "108369006"), ("Whole Tumor", "108369006"), ("WT", "108369006"), ("tumor core", "108369006"),
        ("enhancing tumor", "C113842"), ("ET", "C113842"), ("edema", "79654002"), ("oedema", "79654002"),
        ("peritumoral_edema", "79654002"), ("necrosis", "6574001"), ("non-enhancing tumor", "C81175"),
        ("hemorrhage", "50960005"), ("gray matter", "389081007"), ("liver", "10200004"), ("ventricle xy", "85756007"),
    ],
)  # fmt: skip
def test_regions_have_the_code_of_the_standard_however_they_are_spelled(key, value):
    assert region_code(key)[1][0] == value


def test_abnormal_things_anatomy_and_the_rest_are_told_apart():
    assert region_code("oedema")[0][2] == "Morphologically Abnormal Structure"
    assert region_code("liver")[0][2] == "Anatomical Structure"
    assert region_code("region_9")[0] == region_code("region_9")[1] == ("85756007", "SCT", "Tissue")


def test_a_declared_code_wins():
    declared = ("393564001", "SCT", "Glioblastoma")
    assert RegionResult(key="whole_tumour", ml=1, code=declared).kind == declared
    assert RegionResult(key="region_9", ml=1, code=declared).category[2] == "Morphologically Abnormal Structure"
    assert RegionResult(key="liver", ml=1, code=declared).category[2] == "Anatomical Structure"


def test_codes_are_those_of_the_dictionary():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict", reason="the imaging extra is not installed").concepts
    codes = [code for pair in REGION_CODES.values() for code in pair] + list(SITES.values())
    for value, scheme, meaning in codes:
        known = {v: m for named in concepts[scheme].values() for v, (m, _) in named.items()}
        assert value in known, meaning
        meanings = [m for named in concepts[scheme].values() for v, (m, _) in named.items() if v == value]
        assert any(meaning.lower().split()[0] in m.lower() for m in meanings), (value, meaning, meanings)


@pytest.mark.parametrize(
    "change",
    [
        {"ml": -1.0}, {"ml": float("nan")}, {"ml": float("inf")}, {"lower": 1.0}, {"upper": 1.0},
        {"lower": 3.0, "upper": 2.0}, {"expected_dice": 1.2}, {"label": "a\\b"}, {"key": ""}, {"label": "x" * 65},
        {"code": ("1", "SCT")}, {"code": ("1" * 17, "SCT", "x")}, {"level": 2.0},
    ],
)  # fmt: skip
def test_impossible_values_are_refused(change):
    with pytest.raises(DataError):
        RegionResult(**{"key": "lesion", "ml": 2.0, **change})


def test_a_scan_has_each_region_once():
    region = RegionResult(key="lesion", ml=2.0)
    with pytest.raises(DataError, match="twice"):
        ScanResult(model=MODEL, regions=(region, dataclasses.replace(region, ml=3.0)))
    with pytest.raises(DataError, match="without regions"):
        ScanResult(model=MODEL, regions=())


def test_what_a_model_returns_becomes_a_result():
    found = ScanResult.of(
        MODEL,
        {"a": {"ml": 1.5, "lower": 1.0, "upper": float("nan")} | {"lower": float("nan")}, "b": {"ml": 0.0}},
        expected_dice={"a": 0.8, "b": float("nan")}, labels={"a": "Region A"}, level=0.9, warnings=("odd greys",),
    )  # fmt: skip
    one, two = found.regions
    assert (one.label, one.ml, one.lower, one.upper, one.expected_dice, one.level) == (
        "Region A", 1.5, None, None, 0.8, 0.9,
    )  # fmt: skip
    assert (two.label, two.expected_dice) == ("b", None)
    assert found.warnings == ("odd greys",)
