"""TRIPOD+AI: all 52 sub-items, states bound to evidence, texts made of the numbers in the results."""

import copy
import json
import re
from collections import Counter
from importlib.resources import files

import pytest

from aimed.core import UnknownNameError
from aimed.trust import CHECKLISTS, claim
from aimed.trust.card import model_card
from aimed.trust.checklist import STATES, fill
from aimed.trust.tripod import WRITERS
from aimed.trust.words import at

DATA = json.loads(files("aimed.trust").joinpath("checklists", "tripod_ai.json").read_text(encoding="utf-8"))
CLAIM = json.loads(files("aimed.trust").joinpath("checklists", "claim.json").read_text(encoding="utf-8"))
NUMBERED = [
    "1", "2", "3a", "3b", "3c", "4", "5a", "5b", "6a", "6b", "6c", "7", "8a", "8b", "8c", "9a", "9b", "9c",
    "10", "11", "12a", "12b", "12c", "12d", "12e", "12f", "12g", "13", "14", "15", "16", "17", "18a", "18b",
    "18c", "18d", "18e", "18f", "19", "20a", "20b", "20c", "21", "22", "23a", "23b", "24", "25", "26", "27a",
    "27b", "27c",
]  # fmt: skip


def rows(block):
    return {row["item"]: row for row in block["items"]}


def test_data_file_has_every_item_its_class_and_its_licence():
    assert [row["item"] for row in DATA["items"]] == NUMBERED
    assert len({re.match(r"\d+", item)[0] for item in NUMBERED}) == 27
    assert Counter(row["class"] for row in DATA["items"]) == {"A": 23, "D": 15, "W": 14}
    assert DATA["licence"] == "CC BY 4.0"
    assert "BMJ 2024;385:e078378" in DATA["source"]
    for row in DATA["items"]:
        assert (row["class"] == "W") == (row["item"] not in WRITERS)
        assert (row["class"] == "W") == (row["evidence"] == [])
        assert row["asks"].endswith(".")
    assert set(WRITERS) <= set(NUMBERED)


def test_full_results_fill_a_and_draft_d(results):
    block = fill(results)
    found = rows(block)
    assert list(found) == NUMBERED
    classes = {row["item"]: row["class"] for row in DATA["items"]}
    for item, row in found.items():
        assert set(row) == {"item", "section", "asks", "class", "state", "text", "evidence"}
        assert row["text"].strip()
        if item in ("12d", "12f", "23b", "24"):
            assert row["state"] == "not applicable"
        else:
            assert row["state"] == {"A": "filled", "D": "drafted", "W": "missing"}[classes[item]]
    assert block["counts"] == {"filled": 19, "drafted": 15, "missing": 14, "not applicable": 4}
    assert sum(block["counts"].values()) == 52
    assert tuple(block["counts"]) == STATES
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        ("2", ["AUROC 0.812 (95% interval 0.746 to 0.871; n = 200, 60 events)", "not enough evidence"]),
        ("5b", ["2011-02-01", "2014-07-30"]),
        ("6b", ["age >= 18 (removed 100, 800 left)"]),
        ("8a", ["registry", "prevalence 0.300 (95% interval 0.260 to 0.340; n = 600, 180 events)"]),
        ("10", ["600 rows are fewer than 812.", "200 rows with 60 events"]),
        ("11", ["1 variable had missing values", "Cholesterol 15.0%"]),
        (
            "12a",
            [
                "train: 600 rows of 570 patients, 180 events",
                "No patient is in more than one part",
                "5 patient-grouped folds",
            ],
        ),
        ("12c", ["Logistic regression (candidate) 0.510 (0.480 to 0.540)", "C = 1.0", "AUROC 0.820"]),
        ("12e", ["percentile bootstrap over patients", "500 draws", "Primary measure: AUROC", "compared"]),
        ("15", ["Threshold 0.30", "named in the study file before the run"]),
        ("16", ["1 of 1 characteristics", "Age +0.22"]),
        ("20a", ["800 rows stayed after 100 were removed"]),
        ("21", ["fitted on 600 rows", "200 rows with 60 events"]),
        ("22", ["Age 1.50 (1.20 to 1.90)", "CC BY 4.0 (with terms)"]),
        ("23a", ["Brier score 0.151", "cumulative/dynamic AUC at 182.5 days 0.800", "1 met, 1 not enough evidence"]),
        ("26", ["There is no external test."]),
        ("27a", ["MISSING_COLUMN"]),
        ("27b", ["cardiologists", "2 inputs, of which 1 cannot be missing"]),
    ],
)
def test_texts_hold_the_numbers(results, item, parts):
    text = rows(fill(results))[item]["text"]
    for part in parts:
        assert part.lower() in text.lower()


def test_texts_follow_the_results(results):
    changed = copy.deepcopy(results)
    changed["performance"]["measures"]["auroc"].update(value=0.6543, lower=0.6, upper=0.7)
    for item in ("2", "23a"):
        assert "0.654 (95% interval 0.600 to 0.700" in rows(fill(changed))[item]["text"]
        assert "0.654" not in rows(fill(results))[item]["text"]


def test_evidence_points_to_something_that_is_there(results):
    for row in fill(results)["items"]:
        if row["state"] in ("filled", "drafted"):
            assert at(results, row["evidence"]) is not None
        else:
            assert row["evidence"].startswith("#") or at(results, row["evidence"]) is not None


@pytest.mark.parametrize("item", [row["item"] for row in DATA["items"] if row["class"] == "A"])
def test_without_evidence_an_item_of_class_a_is_never_filled(results, item):
    row = next(r for r in DATA["items"] if r["item"] == item)
    for paths in row["evidence"]:
        lost = copy.deepcopy(results)
        for path in paths.split("|"):
            keys = path.split(".")
            block = lost
            for key in keys[:-1]:
                block = block[key]
            block[keys[-1]] = None
        assert rows(fill(lost))[item]["state"] in ("missing", "not applicable")


def test_an_empty_run_claims_nothing():
    block = fill({})
    states = {row["state"] for row in block["items"]}
    assert states == {"missing", "not applicable"}
    assert {row["item"] for row in block["items"] if row["state"] == "not applicable"} == {"12d", "23b"}


def test_statements_fill_gaps_replace_drafts_and_follow_evidence(results):
    found = rows(
        fill(
            results, {"17": "Approved.", "5a": "My sources.", "6b": "Also adults only.", "24": "Refitted.", "25": "  "}
        )
    )
    assert (found["17"]["state"], found["17"]["text"]) == ("filled", "Approved.")
    assert (found["5a"]["state"], found["5a"]["text"]) == ("filled", "My sources.")
    assert found["6b"]["text"].endswith("Also adults only.")
    assert "removed 100" in found["6b"]["text"]
    assert (found["24"]["state"], found["24"]["text"]) == ("filled", "Refitted.")
    assert found["25"]["state"] == "missing"


def test_unknown_statement_and_checklist_name_the_nearest(results):
    with pytest.raises(UnknownNameError, match="no checklist item called '12h'"):
        fill(results, {"12h": "text"})
    with pytest.raises(UnknownNameError, match=r"did you mean 'tripod\+ai'"):
        fill(results, {}, "tripod-ai")


def test_change_after_opening_is_said_not_hidden(results):
    results["verdict"].update(changed_after_opening=True, openings=3)
    found = rows(fill(results))
    assert found["24"]["state"] == "filled"
    assert "happened 3 times" in found["12f"]["text"]
    assert "changed after the test part was opened" in found["18c"]["text"]


def test_several_sites_without_results_by_site_are_missing_not_excused(results):
    results["data"]["sites"] = {"a": 400, "b": 400}
    found = rows(fill(results))
    assert found["12d"]["state"] == "filled"
    assert "2 sites" in found["12d"]["text"]
    assert found["23b"]["state"] == "missing"


def test_catalogue_loads():
    assert all(CHECKLISTS[name]().about["items"] for name in CHECKLISTS)


def test_claim_has_44_items_in_order_each_with_its_class():
    assert [row["item"] for row in CLAIM["items"]] == [str(i) for i in range(1, 45)]
    for row in CLAIM["items"]:
        assert (row["class"] == "W") == (row["item"] not in claim.WRITERS)
        assert (row["class"] == "W") == (row["evidence"] == [])
        assert row["asks"].endswith(".")
    words = " ".join(row["asks"] for row in CLAIM["items"]).lower()
    assert "ground truth" not in words
    assert "validation" not in words
    assert "e240300" in CLAIM["source"]
    assert CHECKLISTS["claim"]().about["items"] == CLAIM["items"]


def test_claim_is_filled_from_a_picture_study(pictures):
    block = fill(pictures, {}, "claim")
    found = rows(block)
    classes = {row["item"]: row["class"] for row in CLAIM["items"]}
    expected = {"A": "filled", "D": "drafted", "W": "missing"}
    states = {i: expected[c] for i, c in classes.items()} | {"18": "missing"}
    assert {item: row["state"] for item, row in found.items()} == states
    assert block["counts"] == {"filled": 24, "drafted": 12, "missing": 8, "not applicable": 0}
    for item, parts in {
        "1": ["deep learning (Small residual network)"],
        "9": ["224 x 224 pixels", "never mirrored"],
        "12": ["60 uncertain, 27 unknown", "10 files could not be used"],
        "13": ["AP 600", "PA 840"],
        "19": ["One tune part of 220 pictures", "900 pictures were learned from"],
        "20": ["no patient is in more than one part"],
        "24": ["SHA-256 " + "ab" * 32],
        "25": ["optimizer adamw", "kept was epoch 9 of 14"],
        "27": ["2 networks"],
        "30": [pictures["robustness"]["sentence"], pictures["shortcuts"]["sentence"]],
        "31": ["Grad-CAM"],
        "33": ["no test on data from elsewhere"],
        "38": ["Lung nodule at a risk of 0.200: sensitivity"],
        "39": ["12 of 90 pictures"],
    }.items():
        for part in parts:
            assert part in found[item]["text"], item
    for row in found.values():
        if row["state"] in ("filled", "drafted"):
            assert at(pictures, row["evidence"]) is not None
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize("item", [row["item"] for row in CLAIM["items"] if row["class"] == "A"])
def test_without_evidence_an_item_of_claim_is_never_filled(pictures, item):
    row = next(r for r in CLAIM["items"] if r["item"] == item)
    for paths in row["evidence"]:
        lost = copy.deepcopy(pictures)
        for path in paths.split("|"):
            *keys, last = path.split(".")
            block = lost
            for key in keys:
                block = block.get(key) or {}
            block[last] = None
        assert rows(fill(lost, {}, "claim"))[item]["state"] in ("missing", "not applicable")


def test_an_empty_run_fills_nothing_of_claim():
    assert {row["state"] for row in fill({}, {}, "claim")["items"]} == {"missing"}


def test_statements_say_which_checklist_they_are_for(pictures):
    said = {"17": "Approved.", "claim:17": "Two readers, blinded.", "claim:44": "No funds."}
    ours, theirs = rows(fill(pictures, said, "claim")), rows(fill(pictures, said))
    assert (ours["17"]["state"], ours["17"]["text"]) == ("filled", "Two readers, blinded.")
    assert ours["44"]["text"] == "No funds."
    assert theirs["17"]["text"] == "Approved."
    assert 'statements."claim:16"' in ours["16"]["text"]
    with pytest.raises(UnknownNameError, match="no checklist item called '45'"):
        fill(pictures, {"claim:45": "text"}, "claim")
    with pytest.raises(UnknownNameError, match="no checklist called 'clam'"):
        fill(pictures, {"clam:4": "text"})


def test_tripod_speaks_of_pictures_and_findings(pictures):
    found = rows(fill(pictures))
    for item, parts in {
        "2": ["train: 1,120 pictures of 900 patients, 610 with a finding", "macro AUROC"],
        "7": ["224 x 224 pixels"],
        "8a": ["several findings, each present or not", "Pleural effusion, test: prevalence"],
        "11": ["60 uncertain, 27 unknown"],
        "12a": ["One tune part of 220 pictures"],
        "12c": ["Compared on the tune part by macro AUROC"],
        "13": ["weighs each side of a finding", "Pleural effusion sigmoid"],
        "15": ["each of 3 findings (Pleural effusion, Lung nodule and Pneumothorax)"],
        "21": ["350 pictures, 190 of them with a finding"],
        "22": ["612,345 weights", "2 networks"],
        "23a": ["AUROC of Lung nodule"],
    }.items():
        for part in parts:
            assert part in found[item]["text"], item
    assert not re.search(r"@| days", " ".join(found[i]["text"] for i in ("2", "5a", "12e", "20a", "21", "23a")))


def test_claim_is_filled_from_a_study_of_masks(outlines):
    block = fill(outlines, {}, "claim")
    found = rows(block)
    classes = {row["item"]: row["class"] for row in CLAIM["items"]}
    expected = {"A": "filled", "D": "drafted", "W": "missing"}
    states = {item: row["state"] for item, row in found.items()}
    assert states == {i: expected[c] for i, c in classes.items()} | {"27": "not applicable"}
    for item, parts in {
        "1": ["deep learning (Small 3D U-Net) for outlines of whole tumour, tumour core and enhancing tumour"],
        "5": ["the scans were drawn by a program"],
        "9": ["turned to RAS, resampled to 3 x 3 x 3 mm", "mirrored left to right"],
        "10": ["4 sub-volumes of 48 x 48 x 48 voxels"],
        "12": ["3 scans could not be used", "GEOMETRY 2"],
        "13": ["channels FLAIR, T1w, T1gd and T2w", "orientation RAS 90 and LPS 6"],
        "18": ["3 readers among each other: whole tumour Dice 0.89 (0.87 to 0.91), Fleiss' kappa 0.87"],
        "19": ["One tune part of 14 scans", "what is cleared away from outlines; 58 scans were learned from"],
        "21": ["enhancing tumour in 22 test scans"],
        "22": ["412,345 weights", "Output: masks of whole tumour"],
        "25": ["kept was epoch 19 of 24"],
        "30": [outlines["robustness"]["sentence"], outlines["quality"]["sentence"]],
        "31": [outlines["explanation"]["contrasts"]["sentence"], "Seg-Grad-CAM"],
        "38": ["Of voxels: ", "of whole tumour", "28 of 31 lesions"],
        "39": ["Whole tumour: Dice runs from"],
    }.items():
        for part in parts:
            assert part in found[item]["text"], item
    for row in found.values():
        if row["state"] in ("filled", "drafted"):
            assert at(outlines, row["evidence"]) is not None


def test_tripod_speaks_of_scans_and_regions(outlines):
    found = rows(fill(outlines))
    for item, parts in {
        "1": ["diagnostic segmentation model for outlines of whole tumour"],
        "2": ["train: 72 scans of 68 patients, 70 with a region", "mean Dice"],
        "8a": ["regions outlined in each scan", "whole tumour in 24 test scans, median 34.0 ml"],
        "11": ["could not be used"],
        "12e": ["Of each region: Dice", "Boundary: centres of voxels"],
        "13": ["no threshold was tuned"],
        "14": ["8 scans with a region is not judged"],
        "15": ["Input: 4 channels", "Threshold: a probability of one half"],
        "21": ["Performance rests on 24 scans"],
        "23a": ["Dice of enhancing tumour"],
        "27b": ["read outlines and volumes"],
    }.items():
        for part in parts:
            assert part in found[item]["text"], item
    told = " ".join(row["text"] for item, row in found.items() if item != "10" and row["state"] != "missing")
    assert not re.search(r"\b(picture|pictures|finding|heart|events?)\b", told)


def test_a_study_of_masks_without_its_blocks_claims_nothing(outlines):
    for path in ("volumes", "scans"):
        outlines["data"].pop(path, None)
    outlines["model"] = outlines["explanation"] = outlines["gallery"] = outlines["lesions"] = None
    outlines["outcome"]["regions"] = None
    found = rows(fill(outlines, {}, "claim"))
    for item in ("10", "12", "13", "22", "24", "25", "31", "39"):
        assert found[item]["state"] in ("missing", "not applicable"), item
    assert "Output: masks" in model_card(outlines)


def test_tripod_speaks_of_notes_and_says_whence_labels_come(noted):
    found = rows(fill(noted))
    parts = {
        "1": ["report labelling model"],
        "2": ["train: 1,120 notes of 900 patients, 610 with a finding", "micro F1"],
        "5a": ["1,470 notes of 1,200 patients", "de-identified before the study"],
        "7": ["cleaned of markup", "html 4"],
        "8a": ["present, absent, uncertain or not mentioned by the note", "not what the patient has"],
        "9a": ["the text of the note alone"],
        "11": ["60 uncertain, 27 not mentioned", "10 notes were refused"],
        "21": ["350 notes, 190 of them with a finding"],
        "22": ["Lexicon chest-xray 1.0.0, set of labels nih"],
        "23a": ["micro F1", "F1 of "],
    }
    for item, texts in parts.items():
        for text in texts:
            assert text in found[item]["text"], (item, text)
    told = " ".join(str(found[item]["text"]) for item in parts)
    assert not re.search(r"\b(pictures?|pixels|view|tags|mirrored)\b", told)


def test_notes_with_names_are_for_those_who_may_see_records(noted):
    noted["data"]["notes"]["identifiers"] = "possible"
    assert "only those who may see patient records" in rows(fill(noted))["5a"]["text"]
