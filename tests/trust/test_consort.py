"""CONSORT 2025: 42 rows, each with a state and its evidence; what only the people of a trial know is asked of them."""

import copy
import json
import re
from collections import Counter
from importlib.resources import files

import pytest

from aimed.core import UnknownNameError
from aimed.trust import CHECKLISTS, consort
from aimed.trust.checklist import fill
from aimed.trust.words import at

DATA = json.loads(files("aimed.trust").joinpath("checklists", "consort_2025.json").read_text(encoding="utf-8"))
NUMBERED = [
    "1a", "1b", "2", "3", "4", "5a", "5b", "6", "7", "8", "9", "10", "11", "12a", "12b", "13", "14", "15", "16a",
    "16b", "17a", "17b", "18", "19", "20a", "20b", "21a", "21b", "21c", "21d", "22a", "22b", "23a", "23b", "24a",
    "24b", "25", "26", "27", "28", "29", "30",
]  # fmt: skip
ONLY_PEOPLE_KNOW = {
    "2", "5a", "5b", "6", "8", "12b", "15", "16a", "16b", "17a", "18", "19", "20a", "20b", "23b", "24a", "24b", "27",
    "29",
}  # fmt: skip


def rows(block):
    return {row["item"]: row for row in block["items"]}


def lose(results, path):
    *keys, last = path.split(".")
    block = results
    for key in keys:
        block = block.get(key) or {}
    block[last] = None


def test_the_data_file_has_30_items_in_42_rows():
    assert [row["item"] for row in DATA["items"]] == NUMBERED
    assert len({re.match(r"\d+", item)[0] for item in NUMBERED}) == 30
    assert Counter(row["class"] for row in DATA["items"]) == {"A": 7, "D": 16, "W": 19}
    assert {row["item"] for row in DATA["items"] if row["class"] == "W"} == ONLY_PEOPLE_KNOW
    assert "BMJ 2025;389:e081123" in DATA["source"]
    assert "CC BY 4.0" in DATA["licence"]
    assert "words of our own" in DATA["attribution"]
    assert "compared with the publisher's text" in DATA["attribution"]
    for row in DATA["items"]:
        assert (row["class"] == "W") == (row["item"] not in consort.WRITERS)
        assert (row["class"] == "W") == (row["evidence"] == [])
        assert row["asks"].endswith(".")
    assert set(consort.WRITERS) <= set(NUMBERED)
    assert CHECKLISTS["consort-2025"]().about["items"] == DATA["items"]


def test_a_trial_fills_a_and_drafts_d(trial):
    block = fill(trial, {}, "consort-2025")
    found = rows(block)
    classes = {row["item"]: row["class"] for row in DATA["items"]}
    expected = {"A": "filled", "D": "drafted", "W": "missing"}
    assert {item: row["state"] for item, row in found.items()} == {i: expected[c] for i, c in classes.items()}
    assert block["counts"] == {"filled": 7, "drafted": 16, "missing": 19, "not applicable": 0}
    for row in found.values():
        if row["state"] in ("filled", "drafted"):
            assert at(trial, row["evidence"]) is not None
        else:
            assert f'statements."consort-2025:{row["item"]}"' in row["text"]
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        ("1a", ["a randomised trial of Levamisole + 5-FU against Observation in adults after resection"]),
        ("1b", ["risk difference -0.110", "no evidence that the effect differs", "Conclusions are for the author"]),
        ("9", ["two arms in parallel", "Levamisole + 5-FU 304 and Observation 315"]),
        ("10", ["was not changed after the test part was opened (opened 1 time)"]),
        ("12a", ["adults after resection", "Left out of 929 rows: Assigned to levamisole alone (310)"]),
        ("14", ["Death by 1825 days; lower is better", "risk difference first"]),
        ("17b", ["stratified by depth"]),
        ("21a", ["Doubly robust, cross-fitted (risk difference by influence function", "Beside it: Unadjusted"]),
        ("21b", ["304 of 304", "315 of 315"]),
        ("21c", ["the training mean", "(by 1825 days): Levamisole + 5-FU 22 and Observation 19"]),
        ("21d", ["Sex, Age (years) and Positive nodes, named in the study file", "omnibus test", "Permuted treatment"]),
        ("22b", ["Levamisole + 5-FU 22 and Observation 19", "Reasons by arm are for the author"]),
        ("23a", ["2100.0 days", "Dates of recruitment are not in the data"]),
        ("25", ["Age (years) 60.0 (12.0) and 59.5 (12.0)", "Sex = male 49.4% and 53.0%", "0.12 (of note above 0.1)"]),
        (
            "26",
            [
                "Levamisole + 5-FU 0.398 (95% interval 0.342 to 0.454; n = 304, 119 events)",
                "risk ratio 0.785",
                "Unadjusted: difference in restricted mean time (days) 131.400",
                "relative risk reduction 0.226",
            ],
        ),
        ("28", ["Unadjusted risk difference -0.116", "1.91", "Hospital transfer", "Treat everyone 0.398"]),
    ],
)
def test_texts_hold_the_numbers(trial, item, parts):
    text = rows(fill(trial, {}, "consort-2025"))[item]["text"]
    for part in parts:
        assert part in text


def test_texts_follow_the_record(trial):
    before = rows(fill(trial, {}, "consort-2025"))["26"]["text"]
    trial["effect"]["average"][3]["measures"]["risk_difference"].update(value=-0.2345)
    after = rows(fill(trial, {}, "consort-2025"))["26"]["text"]
    assert "risk difference -0.234" in after or "risk difference -0.235" in after
    assert "-0.23" not in before


@pytest.mark.parametrize("item", [row["item"] for row in DATA["items"] if row["class"] == "A"])
def test_without_evidence_an_item_is_never_filled(trial, item):
    row = next(r for r in DATA["items"] if r["item"] == item)
    for paths in row["evidence"]:
        lost = copy.deepcopy(trial)
        for path in paths.split("|"):
            lose(lost, path)
        assert rows(fill(lost, {}, "consort-2025"))[item]["state"] == "missing"


def test_what_is_not_recorded_is_not_made_up(trial, plain):
    trial["effect"]["estimand"]["strata"] = []
    assert rows(fill(trial, {}, "consort-2025"))["17b"]["state"] == "missing"
    assert "Strata" not in rows(fill(trial, {}, "consort-2025"))["21a"]["text"]
    assert "Outcome missing" not in rows(fill(trial, {}, "consort-2025"))["21c"]["text"]
    trial["effect"]["flow"]["arms"][0]["missing_outcome"] = 7
    assert "Outcome missing: Levamisole + 5-FU 7 and" in rows(fill(trial, {}, "consort-2025"))["21c"]["text"]
    found = rows(fill(plain, {}, "consort-2025"))
    assert {found[item]["state"] for item in ("21d", "25", "28")} == {"missing"}
    assert {row["state"] for row in fill({}, {}, "consort-2025")["items"]} == {"missing"}


def test_late_changes_are_said(trial):
    trial["verdict"].update(changed_after_opening=True, openings=2)
    trial["effect"]["subgroups"]["prespecified"] = False
    found = rows(fill(trial, {}, "consort-2025"))
    assert "was changed after the test part was opened (opened 2 times)" in found["10"]["text"]
    assert "nothing here counts as prespecified" in found["21d"]["text"]
    assert "chosen after data had been seen" in found["21d"]["text"]


def test_an_arm_without_events_and_an_endless_number_needed(trial):
    trial["effect"]["arms"][0]["events"] = 0
    crude = trial["effect"]["crude"]["number_needed_to_treat"]
    crude.update(note="NNTB 8.6 (95 % interval NNTB 5.1 to inf to NNTH 26.9)", lower=5.1, upper=-26.9)
    text = rows(fill(trial, {}, "consort-2025"))["26"]["text"]
    assert "n = 304, 0 events)" in text
    assert "5.1 to inf to NNTH 26.9" in rows(fill(_without_average_nnt(trial), {}, "consort-2025"))["26"]["text"]


def _without_average_nnt(results):
    for row in results["effect"]["average"]:
        row["measures"].pop("number_needed_to_treat", None)
    return results


def test_it_does_not_apply_where_nobody_was_randomised(care, results):
    block = fill(care, {}, "consort-2025")
    assert block["counts"]["not applicable"] == 42
    for row in block["items"]:
        assert "TARGET 2025" in row["text"]
        assert "STROBE" in row["text"]
        assert row["evidence"].startswith("#")
    kept = rows(fill(care, {"consort-2025:2": "NCT00000000."}, "consort-2025"))["2"]
    assert kept["state"] == "not applicable"
    assert kept["text"].endswith("NCT00000000.")
    assert {row["state"] for row in fill(results, {}, "consort-2025")["items"]} == {"not applicable"}
    assert "TRIPOD+AI" in fill(results, {}, "consort-2025")["items"][0]["text"]


def test_guidelines_for_models_that_predict_do_not_apply_to_effects(trial, care):
    for study in (trial, care):
        for name in ("tripod+ai", "claim"):
            block = fill(study, {}, name)
            assert block["counts"]["not applicable"] == len(block["items"])
            assert "predicts no outcome" in block["items"][0]["text"]


def test_statements_fill_gaps_replace_drafts_and_follow_evidence(trial):
    said = {"consort-2025:12b": "Surgeons with 50 cases.", "consort-2025:13": "Daily.", "consort-2025:26": "No more."}
    found = rows(fill(trial, {**said, "17": "Approved.", "claim:17": "Two."}, "consort-2025"))
    assert (found["12b"]["state"], found["12b"]["text"]) == ("filled", "Surgeons with 50 cases.")
    assert (found["13"]["state"], found["13"]["text"]) == ("filled", "Daily.")
    assert found["26"]["text"].endswith("No more.")
    assert "0.398" in found["26"]["text"]
    with pytest.raises(UnknownNameError, match="no checklist item called '12'"):
        fill(trial, {"consort-2025:12": "text"}, "consort-2025")
