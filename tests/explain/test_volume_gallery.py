"""Which outlined cases are shown, and that ids stay out of reports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError
from aimed.explain.volume_gallery import OVERALL, VOLUME_GROUPS, volume_gallery, volumes_without_ids

LABELS = {"whole": "whole tumour", "core": "tumour core"}


def one(whole, core, **more):
    empty = more.pop("empty", "")
    return {
        "regions": {
            "whole": {"dice": whole, "hd95": 3.0, "reference_ml": 10.0, "prediction_ml": 9.0, "empty": ""},
            "core": {"dice": core, "hd95": None, "reference_ml": 1.0, "prediction_ml": 0.5, "empty": empty},
        }
    }


@pytest.fixture
def cases():
    return [one(0.9, 0.8), one(0.2, 0.1), one(0.7, 0.6), one(0.95, 0.2), one(0.8, 0.7)]


def chosen(found, scope):
    return {group: [case["id"] for case in some] for group, some in found["scopes"][scope]["cases"].items()}


def test_worst_median_best_and_least_certain(cases):
    expected = [{"whole": e, "core": c} for e, c in ((0.9, 0.5), (0.5, 0.6), (0.8, 0.7), (0.9, 0.8), (0.4, 0.9))]
    found = volume_gallery(cases, list("abcde"), LABELS, expected=expected)
    assert chosen(found, OVERALL) == {"worst": ["b"], "median": ["c"], "best": ["a"], "uncertain": ["b"]}
    assert chosen(found, "whole") == {"worst": ["b"], "median": ["e"], "best": ["d"], "uncertain": ["e"]}
    assert chosen(found, "core") == {"worst": ["b"], "median": ["c"], "best": ["a"], "uncertain": ["a"]}
    assert list(found["scopes"]) == [OVERALL, "whole", "core"]
    case = found["scopes"][OVERALL]["cases"]["worst"][0]
    assert case["case"] == 2
    assert case["row"] == 1
    assert case["dice"] == pytest.approx(0.15)
    assert case["expected_dice"] == pytest.approx(0.55)
    assert case["regions"]["whole"]["hd95"] == 3.0
    assert case["regions"]["core"]["hd95"] is None
    json.dumps(found, allow_nan=False)


def test_numbers_are_those_of_the_cases_whatever_the_group(cases):
    found = volume_gallery(cases, list("abcde"), LABELS, per=2)
    pairs = {(c["case"], c["id"]) for s in found["scopes"].values() for g in s["cases"].values() for c in g}
    assert pairs <= set(zip(range(1, 6), "abcde", strict=True))


def test_the_choice_is_stable_and_ties_go_to_the_earlier(cases):
    same = [one(0.5, 0.5)] * 4
    found = volume_gallery(same, list("abcd"), LABELS)
    assert chosen(found, "whole") == {"worst": ["a"], "median": ["c"], "best": ["b"], "uncertain": []}
    assert found == volume_gallery(same, list("abcd"), LABELS)


def test_without_an_expected_dice_the_spread_decides(cases):
    spread = [{"whole": s, "core": s} for s in (0.1, 0.2, 0.4, 0.3, 0.0)]
    found = volume_gallery(cases, list("abcde"), LABELS, spread=spread)
    assert chosen(found, "core")["uncertain"] == ["c"]
    assert found["scopes"]["core"]["uncertain_by"] == "spread"
    bare = volume_gallery(cases, list("abcde"), LABELS)["scopes"]["core"]
    assert bare["uncertain_by"] is None
    assert bare["cases"]["uncertain"] == []
    assert bare["of"]["uncertain"] == 0


def test_a_patient_comes_once_in_a_group(cases):
    found = volume_gallery(cases, list("abcde"), LABELS, per=2, patient=list("ppqqr"))
    assert chosen(found, "whole")["worst"] == ["b", "c"]
    assert chosen(found, "core")["worst"] == ["b", "d"]


def test_two_empty_masks_show_nothing(cases):
    cases[0] = one(0.9, 1.0, empty="both")
    cases[1] = one(0.2, None)
    expected = [{"whole": 0.5, "core": 0.0}] * 5
    found = volume_gallery(cases, list("abcde"), LABELS, expected=expected)
    shown = {name for group in chosen(found, "core").values() for name in group}
    assert shown == {"c", "d", "e"}
    assert found["scopes"]["core"]["of"]["best"] == 3
    assert found["scopes"]["core"]["cases"]["uncertain"][0]["id"] == "c"
    # The mean of a case is that of the regions it has.
    assert found["scopes"][OVERALL]["cases"]["best"][0]["dice"] == pytest.approx(0.9)


def test_the_sentence_counts_what_was_missed_and_made_up(cases):
    cases[0] = one(0.9, 0.0)
    cases[1] = one(0.2, 0.0, empty="reference")
    found = volume_gallery(cases, list("abcde"), LABELS)
    text = found["scopes"]["core"]["sentence"]
    assert text.startswith("Tumour core: Dice runs from 0.00 to 0.70 over 5 cases, median 0.20")
    assert "missed altogether: 1" in text
    assert "outlined where there is none: 1" in text


def test_a_region_that_nobody_has(cases):
    cases = [one(0.5, None) for _ in range(3)]
    found = volume_gallery(cases, list("abc"), LABELS)
    assert all(not some for some in found["scopes"]["core"]["cases"].values())
    assert found["scopes"]["core"]["median"] is None
    assert "no case has it" in found["scopes"]["core"]["sentence"]


def test_volumes_come_with_their_interval(cases):
    volumes = [{"whole": {"ml": 9.0, "lower": 8.0, "upper": 11.0}}] * 5
    found = volume_gallery(cases, list("abcde"), LABELS, volumes=volumes)
    region = found["scopes"][OVERALL]["cases"]["best"][0]["regions"]["whole"]
    assert (region["lower"], region["upper"], region["prediction_ml"]) == (8.0, 11.0, 9.0)


def test_a_report_gets_no_ids(cases):
    found = volume_gallery(cases, np.array([f"PATIENT-{i}" for i in range(5)]), LABELS, per=2)
    text = json.dumps(volumes_without_ids(found))
    assert "PATIENT" not in text
    assert '"row"' not in text
    assert '"ids": false' in text
    assert json.dumps(found).count("PATIENT") > 0
    assert set(found["groups"]) == set(VOLUME_GROUPS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": list("ab")}, "2 ids of 5 cases"),
        ({"per": 0}, "0 cases in a group"),
        ({"labels": {"overall": "x"}}, "key 'overall'"),
        ({"labels": {"edema": "x"}}, "without the region 'edema'"),
        ({"expected": [{}]}, "1 expected"),
    ],
)
def test_what_does_not_fit_is_refused(cases, change, words):
    given = {"ids": list("abcde"), "labels": LABELS, **change}
    with pytest.raises(DataError, match=words):
        volume_gallery(cases, given.pop("ids"), given.pop("labels"), **given)


def test_a_dice_above_one_is_refused():
    with pytest.raises(DataError, match="outside of 0 to 1"):
        volume_gallery([one(1.2, 0.5)], ["a"], LABELS)
