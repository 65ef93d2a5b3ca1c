"""Each kind of figure: drawn from its block, themed by variables, with text as text and a table twin."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from aimed.core import UnknownNameError
from aimed.report import style
from aimed.report.figures import FIGURES
from aimed.report.parts import Context

_spec = importlib.util.spec_from_file_location("report_sample", Path(__file__).with_name("sample.py"))
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

B, S = sample.binary(), sample.survival()
CURVES, TIMES = B["performance"]["curves"], S["performance"]["curves"]
CONTEXT = Context(measures=B["performance"]["measures"])
LATER = Context(measures=S["performance"]["measures"], horizon="365")
CASES = {
    "flow": ({"flow": B["data"]["flow"], "parts": B["data"]["parts"]}, CONTEXT),
    "missingness": ({"missing": B["data"]["missing"]}, CONTEXT),
    "leaderboard": ({"leaderboard": B["model"]["leaderboard"]}, CONTEXT),
    "roc": ({"curve": CURVES["roc"], "thresholds": B["performance"]["thresholds"]}, CONTEXT),
    "precision_recall": ({"curve": CURVES["precision_recall"]}, CONTEXT),
    "calibration": ({"curve": TIMES["calibration"]["365"]}, LATER),
    "decision_curve": ({"curve": TIMES["decision"]["365"], "chosen": 0.2}, LATER),
    "survival_groups": (TIMES["risk_groups"], LATER),
    "outcome_curve": ({**S["outcome"]["curve"], "horizons": [365, 1095]}, LATER),
    "over_time": (TIMES["over_time"], LATER),
    "forest": (
        {"subgroups": B["subgroups"], "measure": "auroc", "overall": B["performance"]["measures"]["auroc"]},
        CONTEXT,
    ),
    "importance": (
        {"rows": B["explanation"]["permutation"], "key": "value", "axis": "Loss", "caption": "How."},
        CONTEXT,
    ),
    "effects": ({"effects": B["explanation"]["effects"]}, LATER),
}


def test_every_kind_of_the_catalogue_is_drawn_here():
    assert set(CASES) == set(FIGURES)
    with pytest.raises(UnknownNameError, match="did you mean 'forest'"):
        FIGURES["forst"]


@pytest.mark.parametrize("kind", list(FIGURES))
def test_figure_is_complete(kind):
    data, context = CASES[kind]
    figure = FIGURES[kind](data, context)
    root = ElementTree.fromstring(figure.svg)
    assert root.tag.endswith("svg")
    assert figure.title
    assert figure.caption.endswith(".")
    assert re.search(r"\d", figure.alt)
    assert figure.table.rows
    assert all(len(row) == len(figure.table.columns) for row in figure.table.cells())
    assert any(e.text for e in root.iter() if e.tag.endswith("text"))
    assert "nan" not in figure.alt.lower()


@pytest.mark.parametrize("kind", list(FIGURES))
def test_figure_uses_only_colours_that_follow_the_scheme(kind):
    svg = FIGURES[kind](*CASES[kind]).svg
    assert re.findall(r"#[0-9a-fA-F]{6}\b", " ".join(re.findall(r'style="[^"]*"', svg))) == []
    assert set(re.findall(r"var\(--f-(\w+)\)", svg)) <= {name for name, _ in style.COLOURS.values()}


@pytest.mark.parametrize("kind", list(FIGURES))
def test_figure_repeats_bit_for_bit(kind):
    assert FIGURES[kind](*CASES[kind]).svg == FIGURES[kind](*CASES[kind]).svg


def test_ratio_forest_has_a_log_axis_and_an_aligned_estimate():
    figure = FIGURES["forest"]({"ratios": B["model"]["coefficients"], "ratio_name": "odds ratio"}, CONTEXT)
    assert "log axis" in figure.svg
    assert ">3.00 (1.74 to 5.20)</text>" in figure.svg


def test_calibration_prints_slope_intercept_and_oe_inside():
    figure = FIGURES["calibration"]({"curve": CURVES["calibration"]}, CONTEXT)
    for word in ("Slope", "Intercept", "O/E", "events", "no event", ">35<"):
        assert word in figure.svg


def test_numbers_at_risk_are_written_under_the_curves():
    figure = FIGURES["survival_groups"](*CASES["survival_groups"])
    for row in TIMES["risk_groups"]["at_risk"]["counts"].values():
        assert f">{row[1]}</text>" in figure.svg


def test_predicted_risks_and_survivals_are_drawn_alike():
    data, context = CASES["survival_groups"]
    flipped = {**data, "groups": [{**g, "predicted": [1 - p for p in g["predicted"]]} for g in data["groups"]]}
    assert FIGURES["survival_groups"](flipped, context).svg == FIGURES["survival_groups"](data, context).svg


def test_curves_with_gaps_are_drawn():
    curve = {**CURVES["calibration"], "lower": [None] * 60, "upper": [None] * 60, "bins": [], "histogram": None}
    assert FIGURES["calibration"]({"curve": curve}, CONTEXT).svg
    gaps = {**TIMES["over_time"], "auc": [None] * 40}
    assert "could not be estimated" in FIGURES["over_time"](gaps, LATER).title


def test_labels_keep_their_distance():
    placed = sorted(style.spread([0.5, 0.5, 0.5, 0.9], 0.1, 0, 1))
    assert min(b - a for a, b in pairwise(placed)) >= 0.1 - 1e-9
    assert min(style.spread([0.0, 0.01], 0.1, 0, 1)) >= 0


def test_effects_are_drawn_on_the_scale_of_risk():
    figure = FIGURES["effects"](*CASES["effects"])
    assert ">Change in predicted risk by 365 days (percentage points)</text>" in figure.svg
    assert "log odds" not in figure.svg + figure.caption
    chf = [[c.text for c in row] for row in figure.table.cells() if row[0].text.startswith("Congestive")]
    # Of 99 + (hidden) patients, the counted ones are all "no": their mean is the centre.
    assert chf == [
        ["Congestive heart failure", "no", "0.0 (−2.0 to +2.0)", "29.0%"],
        ["Congestive heart failure", "yes", "+10.0 (+5.0 to +15.0)", "39.0%"],
    ]


def test_partial_dependence_is_shifted_to_the_mean_of_the_local_effect():
    row = {"variable": "x", "kind": "number", "grid": [0, 1, 2], "ale": [-0.1, 0.0, 0.1], "lower": [], "upper": []}
    moved = [{**row, "partial_dependence": [v + shift for v in (0.1, 0.2, 0.3)]} for shift in (0, 0.4)]
    drawings = [FIGURES["effects"]({"effects": [r]}, CONTEXT).svg for r in moved]
    assert drawings[0] == drawings[1]


def test_groups_with_too_few_events_are_hollow_and_said_to_be():
    data, context = CASES["forest"]
    some = FIGURES["forest"](data, context)
    assert "Hollow grey boxes have too little data" in some.caption
    every = json.loads(json.dumps(data))
    for column in every["subgroups"]["columns"]:
        for group in column["groups"]:
            group["judged"] = True
    assert "Hollow" not in FIGURES["forest"](every, context).caption
    block = {"primary": "auroc", "columns": [{"label": "Sex", "groups": []}]}
    for judged in (True, False):
        measures = {"auroc": {"value": 0.7, "lower": 0.6, "upper": 0.8}}
        block["columns"][0]["groups"].append({"group": str(judged), "judged": judged, "measures": measures})
    svg = FIGURES["forest"]({"subgroups": block, "measure": "auroc"}, context).svg
    assert svg.count("fill: var(--f-paper); stroke: var(--f-base)") == 1


def test_suppressed_count_is_shown_as_it_is():
    block = {
        "primary": "auroc",
        "columns": [{"label": "S", "groups": [{"group": "x", "n": "<11", "events": None, "measures": {}}]}],
    }
    figure = FIGURES["forest"]({"subgroups": block, "measure": "auroc"}, CONTEXT)
    assert ">&lt;11</text>" in figure.svg
    assert figure.table.cells()[0][1].text == "<11"


def test_coefficients_say_their_step():
    figure = FIGURES["forest"]({"ratios": B["model"]["coefficients"], "ratio_name": "odds ratio"}, CONTEXT)
    assert figure.table.columns[:2] == ["Term", "For a difference of"]
    assert [row[1].text for row in figure.table.cells()][:2] == ["10 years", "1 year"]
    bare = [{k: v for k, v in c.items() if k not in ("per", "p")} for c in B["model"]["coefficients"]]
    assert len(FIGURES["forest"]({"ratios": bare}, CONTEXT).table.columns) == 3
