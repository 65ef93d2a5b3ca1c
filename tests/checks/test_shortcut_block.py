"""The block of shortcuts: within strata the AUROC of the plain pairs, hidden small strata, and a sentence by rule."""

import json

import numpy as np
import pytest

from aimed.checks.shortcut_block import shortcut_block, shortcut_sentence, within_strata
from aimed.checks.shortcuts import auroc_within, shortcut_aurocs
from aimed.core import DataError, Measure
from aimed.metrics.discrimination import auroc


def planted(seed=0, n=600, strength=0.3):
    """A view that goes with the finding, and a score that is made of view and truth."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n).astype(float)
    view = np.where(rng.random(n) < 0.5 + strength * (2 * y - 1), "AP", "PA")
    score = y + 2 * (view == "AP") + rng.normal(size=n)
    return y, view, score, np.arange(n) // 2


def test_overall_within_and_strata_are_those_of_the_metrics():
    y, view, score, patient = planted()
    (found,) = within_strata(y[:, None], score[:, None], view, ["mass"], patient)
    for part, direct in [
        (found["overall"], auroc(y, score, patient=patient)),
        (found["within"], auroc_within(y, score, view, patient=patient)),
        (found["strata"][0]["auroc"], auroc(y[view == "AP"], score[view == "AP"], patient=patient[view == "AP"])),
    ]:
        assert part["value"] == pytest.approx(direct.value)
        assert part["lower"] == pytest.approx(direct.lower)
    assert [s["stratum"] for s in found["strata"]] == ["AP", "PA"]
    assert found["difference"]["value"] == pytest.approx(found["overall"]["value"] - found["within"]["value"])
    assert found["difference"]["lower"] > 0.05
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_interval_of_the_difference_is_that_of_a_bootstrap():
    y, view, score, _ = planted(3, 400)
    (found,) = within_strata(y[:, None], score[:, None], view, ["mass"])
    rng, draws = np.random.default_rng(0), []
    for _ in range(300):
        rows = rng.integers(0, y.size, y.size)
        draws.append(float(auroc(y[rows], score[rows])) - float(auroc_within(y[rows], score[rows], view[rows])))
    width = found["difference"]["upper"] - found["difference"]["lower"]
    assert width == pytest.approx(2 * 1.96 * np.std(draws), rel=0.15)


def test_a_useless_view_changes_nothing_on_average():
    gaps = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, view = rng.integers(0, 2, (200, 1)), rng.choice(["PA", "AP"], 200)
        gaps.append(within_strata(y, y + rng.normal(size=(200, 1)), view, ["mass"])[0]["difference"]["value"])
    assert abs(np.mean(gaps)) < 0.005


def test_small_strata_show_no_number_and_one_answer_is_said_so():
    y, view, score, _ = planted()
    patient, view = np.arange(y.size), view.astype(object)
    view[:10] = "LATERAL"
    view[10:40], y[10:40] = "", 0
    (found,) = within_strata(y[:, None], score[:, None], view, ["mass"], patient)
    strata = {s["stratum"]: s["auroc"] for s in found["strata"]}
    assert (strata["LATERAL"]["value"], strata["LATERAL"]["n"]) == (None, 0)
    assert "11 patients" in strata["LATERAL"]["note"]
    assert strata["missing"]["value"] is None
    assert strata["missing"]["note"]
    assert found["within"]["value"] is not None


def test_unknown_answers_are_left_out_and_one_answer_only_is_no_error():
    y, view, score, patient = planted()
    table = np.column_stack([y, np.ones(y.size), np.full(y.size, np.nan)])
    table[:50, 0], table[50:80, 0] = np.nan, -1
    found = within_strata(table, np.tile(score[:, None], 3), view, ["mass", "edema", "hernia"], patient)
    assert [f["overall"]["n"] for f in found] == [520, 600, 0]
    assert [f["within"]["value"] is None for f in found] == [False, True, True]
    assert all(f["overall"]["note"] for f in found[1:])
    json.dumps(found, allow_nan=False)


def test_shapes_must_fit():
    with pytest.raises(DataError):
        within_strata([[0], [1]], [[0.1], [0.2]], ["PA"], ["mass"])


def block_of(strength, model=0.9, within=True, seed=0):
    y, view, score, patient = planted(seed, 1000, strength)
    rng = np.random.default_rng(1)
    sources = {"view": {"view": view}, "age": {"age": rng.normal(size=y.size)}}
    found = shortcut_aurocs(sources, y[:, None], ["mass"], patient)
    inner = within_strata(y[:, None], score[:, None], view, ["mass"], patient) if within else []
    mine = Measure(name="auroc", value=model, lower=model - 0.02, upper=model + 0.02, n=1000)
    return shortcut_block(found, inner, {"mass": mine}, {"mass": "a mass"})


def test_a_planted_view_is_the_sentence_with_what_the_model_keeps():
    block = block_of(0.3)
    view, age = block["sources"]
    assert (view["source"], view["tells"], age["tells"], view["sees_lungs"]) == ("view", True, False, False)
    assert view["model"]["value"] == 0.9
    value, kept = view["auroc"]["value"], block["within"][0]["within"]["value"]
    assert block["sentence"].startswith(f"The view alone tells a mass with an AUROC of {value:.2f} (")
    assert f"; within levels of view the model keeps {kept:.2f} (" in block["sentence"]
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_without_strata_the_model_stands_beside_and_may_be_no_better():
    assert "; the model has 0.95 (0.93 to 0.97)." in block_of(0.3, 0.95, within=False)["sentence"]
    told = block_of(0.3)["sources"][0]["auroc"]["value"]
    assert "), which is not clearly better." in block_of(0.3, told + 0.01, within=False)["sentence"]
    assert "), which is worse." in block_of(0.3, told - 0.03, within=False)["sentence"]


def test_nothing_that_tells_is_said_with_the_highest():
    sentence = block_of(0.0)["sentence"]
    assert sentence.startswith("Nothing but the lungs tells a finding clearly better than chance: the highest AUROC is")


def test_no_source_and_no_evidence_are_said():
    assert shortcut_sentence({"sources": [], "within": []}).startswith("Nothing was there")
    few = shortcut_aurocs({"view": {"view": ["PA", "AP"] * 5}}, [[0], [1]] * 5, ["mass"])
    assert shortcut_block(few)["sentence"].startswith("There is not enough evidence")


def test_brightness_alone_is_no_shortcut():
    y, _, _, _ = planted()
    found = shortcut_aurocs({"brightness": {"mean": y + 0.1}, "age": {"age": y}}, y[:, None], ["mass"])
    block = shortcut_block(found)
    assert [s["tells"] for s in block["sources"]] == [False, True]
    assert "The age alone" in block["sentence"]
