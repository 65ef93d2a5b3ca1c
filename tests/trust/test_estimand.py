"""ICH E9(R1): attributes of the estimand and estimators in line with it, each with state and evidence."""

import copy
import json
from importlib.resources import files

import pytest

from aimed.trust import CHECKLISTS, estimand
from aimed.trust.checklist import fill
from aimed.trust.words import at

DATA = json.loads(files("aimed.trust").joinpath("checklists", "ich_e9_r1.json").read_text(encoding="utf-8"))


def rows(block):
    return {row["item"]: row for row in block["items"]}


def test_the_data_file_has_the_five_attributes_and_sections_of_the_addendum():
    assert [row["item"] for row in DATA["items"]] == [str(i) for i in range(1, 16)]
    asked = " ".join(row["asks"] for row in DATA["items"])
    for attribute in ("Treatment:", "Population:", "Variable:", "Intercurrent events:", "Population-level summary:"):
        assert asked.count(attribute) == 1
    sections = " ".join(row["section"] for row in DATA["items"])
    for section in ("A.2", "A.3.1", "A.3.2", "A.3.3", "A.3.4", "A.4", "A.5.1", "A.5.2", "A.5.3", "A.6"):
        assert section in sections
    assert "no numbered list" in DATA["attribution"]
    assert "words of our own" in DATA["attribution"]
    for row in DATA["items"]:
        assert (row["class"] == "W") == (row["item"] not in estimand.WRITERS)
        assert (row["class"] == "W") == (row["evidence"] == [])
        assert row["asks"].endswith(".")
    assert CHECKLISTS["ich-e9-r1"]().about["items"] == DATA["items"]


def test_a_trial_fills_it(trial):
    block = fill(trial, {}, "ich-e9-r1")
    found = rows(block)
    expected = {"A": "filled", "D": "drafted", "W": "missing"}
    assert {i: r["state"] for i, r in found.items()} == {r["item"]: expected[r["class"]] for r in DATA["items"]}
    for item, parts in {
        "1": ["whatever happens after randomisation"],
        "2": ["Levamisole + 5-FU against Observation, assigned at random"],
        "3": ["Patients: adults after resection", "619 patients"],
        "4": ["Death by 1825 days"],
        "5": ["Stopping the drug: treatment policy; Recurrence: treatment policy"],
        "6": ["Risk difference of Death by 1825 days", "Beside it: risk ratio"],
        "9": ["estimator of the risk difference", "the treatment policy strategy"],
        "10": ["Randomisation makes the arms alike but for chance", "Follow-up that ended early"],
        "11": ["the training mean", "Observation 19"],
        "12": ["Matching risk difference", "1.91", "No analysis departed from the assumption on missing"],
        "13": ["Other contrasts: risk ratio", "no evidence that the effect differs between patients"],
        "14": ["risk difference -0.110 (95% interval", "n = 304, 119 events"],
        "15": ["SHA-256"],
    }.items():
        for part in parts:
            assert part in found[item]["text"], item
    for row in found.values():
        if row["state"] == "missing":
            assert f'statements."ich-e9-r1:{row["item"]}"' in row["text"]
        else:
            assert at(trial, row["evidence"]) is not None
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize("item", [row["item"] for row in DATA["items"] if row["class"] == "A"])
def test_without_evidence_an_item_is_never_filled(trial, item):
    row = next(r for r in DATA["items"] if r["item"] == item)
    for paths in row["evidence"]:
        lost = copy.deepcopy(trial)
        for path in paths.split("|"):
            *keys, last = path.split(".")
            block = lost
            for key in keys:
                block = block.get(key) or {}
            block[last] = None
        assert rows(fill(lost, {}, "ich-e9-r1"))[item]["state"] == "missing"


def test_events_without_strategy_and_strategies_the_estimator_does_not_carry_out_are_said(trial):
    trial["effect"]["estimand"]["intercurrent"] = [
        {"event": "Rescue", "strategy": "hypothetical"},
        {"event": "Death", "strategy": "left out"},
    ]
    found = rows(fill(trial, {}, "ich-e9-r1"))
    assert "Rescue: hypothetical; Death: left out" in found["5"]["text"]
    assert "The strategy for Death is none of the five" in found["5"]["text"]
    assert "For Rescue and Death another strategy is named" in found["9"]["text"]
    trial["effect"]["estimand"]["intercurrent"] = []
    assert rows(fill(trial, {}, "ich-e9-r1"))["5"]["state"] == "missing"


def test_it_applies_without_randomisation_with_other_assumptions(care):
    found = rows(fill(care, {}, "ich-e9-r1"))
    assert "not applicable" not in {row["state"] for row in found.values()}
    assert "not at random" in found["2"]["text"]
    assert "the data cannot prove it" in found["10"]["text"]
    assert "Unadjusted" not in found["12"]["text"]
    assert "where the arms overlap (571 of 619): mean difference -0.141" in found["13"]["text"]
    assert "follow from it by rule" not in found["15"]["text"]


def test_there_is_no_estimand_without_a_treatment(results):
    assert {row["state"] for row in fill(results, {}, "ich-e9-r1")["items"]} == {"not applicable"}
    assert {row["state"] for row in fill({}, {}, "ich-e9-r1")["items"]} == {"missing"}


def test_statements_are_for_their_items(trial):
    found = rows(fill(trial, {"ich-e9-r1:7": "Asked by patients.", "consort-2025:7": "Other."}, "ich-e9-r1"))
    assert (found["7"]["state"], found["7"]["text"]) == ("filled", "Asked by patients.")


def test_a_hazard_ratio_as_summary_comes_with_its_warning(trial):
    trial["effect"]["estimand"]["contrast"] = "hazard_ratio"
    assert "no causal reading" in rows(fill(trial, {}, "ich-e9-r1"))["6"]["text"]
