"""Each kind of figure: drawn from its block, themed by variables, with text as text and a table twin."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from aimed.core import UnknownNameError
from aimed.report import style
from aimed.report.figures import FIGURES
from aimed.report.parts import Context


def _loaded(name):
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample, sample_masks, effects = _loaded("sample"), _loaded("sample_masks"), _loaded("effect_record")

B, S, C = sample.binary(), sample.survival(), sample.competing()
M = sample.multilabel(("effusion", "lung_nodule"))
OUTLINES = sample_masks.masks()
CURVES, TIMES = B["performance"]["curves"], S["performance"]["curves"]
CONTEXT = Context(measures=B["performance"]["measures"])
LATER = Context(measures=S["performance"]["measures"], horizon="365")
RISING = Context(outcome="Death from a heart attack", horizon="365", competing=True)
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
    "incidence_stack": ({**C["outcome"]["curve"], "horizons": [365, 1095]}, RISING),
    "over_time": (TIMES["over_time"], LATER),
    "ratios_over_time": (S["model"]["proportional_hazards"], LATER),
    "nomogram": (S["model"]["nomogram"], LATER),
    "forest": (
        {"subgroups": B["subgroups"], "measure": "auroc", "overall": B["performance"]["measures"]["auroc"]},
        CONTEXT,
    ),
    "dots": (
        {
            "rows": [
                {"heading": "Findings"},
                {
                    "label": "Lung nodule",
                    "columns": ["350", "60"],
                    "points": {
                        "model": M["performance"]["measures"]["auroc@lung_nodule"],
                        "acquisition": M["performance"]["baselines"]["acquisition"]["auroc@lung_nodule"],
                    },
                },
                {
                    "label": "Hernia",
                    "columns": ["350", "0"],
                    "points": {"model": {"value": None, "note": "no positive"}},
                },
            ],
            "series": {"model": "model", "acquisition": "Acquisition"},
            "columns": ["n", "positive"],
            "axis": "AUROC",
            "head": "Finding",
            "title": "One finding could be judged",
            "caption": "How.",
            "said": "AUROC.",
            "salt": "dots",
            "reference": 0.5,
        },
        CONTEXT,
    ),
    "calibration_grid": (
        {
            "findings": [
                {
                    "label": one["label"],
                    "curve": M["performance"]["findings"][key]["curves"]["calibration"],
                    "slope": M["performance"]["findings"][key]["measures"]["calibration_slope"],
                    "oe": {"value": 1.4, "lower": 1.2, "upper": 1.6},
                }
                for key, one in M["explanation"]["findings"].items()
            ]
        },
        CONTEXT,
    ),
    "learning": ({"learning": M["model"]["learning"]}, CONTEXT),
    "case_dice": (
        {
            "regions": [
                {
                    "label": label,
                    "cases": [{"case": c["case"], **c["regions"][key]} for c in OUTLINES["performance"]["cases"]],
                    "median": OUTLINES["performance"]["regions"][key]["medians"]["dice"],
                }
                for key, label in OUTLINES["performance"]["labels"].items()
            ]
        },
        CONTEXT,
    ),
    "froc": ({"regions": list(OUTLINES["lesions"]["regions"].values())}, CONTEXT),
    "volume_agreement": ({"regions": list(OUTLINES["volumes"]["regions"].values())}, CONTEXT),
    "voxel_calibration": (
        {
            "regions": list(OUTLINES["voxel_calibration"]["regions"].values()),
            "where": OUTLINES["voxel_calibration"]["where"],
        },
        CONTEXT,
    ),
    "expected_dice": (OUTLINES["quality"]["mean"], CONTEXT),
    "risk_coverage": (
        {
            "curve": M["case_uncertainty"]["curve"],
            "findings": [{"label": k, **f} for k, f in M["case_uncertainty"]["findings"].items()],
            "signal": "spread",
        },
        CONTEXT,
    ),
    "importance": (
        {"rows": B["explanation"]["permutation"], "key": "value", "axis": "Loss", "caption": "How."},
        CONTEXT,
    ),
    "effects": ({"effects": B["explanation"]["effects"]}, LATER),
    **{kind: (data, CONTEXT) for kind, data in effects.drawings().items()},
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
    assert svg.count("fill:var(--f-paper);stroke:var(--f-base)") == 1


def test_rows_that_are_in_no_part_are_counted():
    steps = [{"step": "Rows", "removed": 0, "remaining": 10}]
    parts = {"train": {"n": 6, "patients": 6}, "test": {"n": 3, "patients": 3}}
    figure = FIGURES["flow"]({"flow": steps, "parts": parts}, CONTEXT)
    assert "1 row is in no part of the split." in figure.caption
    assert [c.text for c in figure.table.cells()[-1]][::2] == ["In no part", "1"]
    parts["test"]["n"] = 4
    whole = FIGURES["flow"]({"flow": steps, "parts": parts}, CONTEXT)
    assert "in no part" not in whole.caption
    assert len(whole.table.cells()) == 3


def test_a_measure_without_a_criterion_has_no_state():
    sure = {"value": 0.7, "lower": 0.6, "upper": 0.8}
    group = {"group": "x", "state": "not met", "judged": True, "measures": {"auroc": sure, "brier": sure}}
    block = {"primary": "auroc", "columns": [{"label": "S", "groups": [group]}]}
    judged, other = (FIGURES["forest"]({"subgroups": block, "measure": m}, CONTEXT) for m in ("auroc", "brier"))
    assert [c.text for c in judged.table.cells()[0]][-1] == "not met"
    assert len(other.table.cells()[0]) == len(judged.table.cells()[0]) - 1


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


def test_a_ratio_forest_aligns_step_estimate_and_p():
    figure = FIGURES["forest"]({"ratios": B["model"]["coefficients"], "ratio_name": "odds ratio"}, CONTEXT)
    for head in ("for a difference of", "estimate (interval)", ">p</text>"):
        assert head in figure.svg
    assert ">10 years</text>" in figure.svg
    assert figure.svg.count(">vs the reference</text>") == sum("=" in c["term"] for c in B["model"]["coefficients"])
    assert figure.svg.count(">&lt;0.001</text>") == sum(c["p"] < 0.001 for c in B["model"]["coefficients"])


def _terms(n):
    return [{"term": f"x{k}", "ratio": 1.0 + 0.01 * k, "ratio_lower": 0.9, "ratio_upper": 2.0 + k} for k in range(n)]


@pytest.mark.parametrize("n", [1, 2, 40, 75])
def test_a_ratio_forest_takes_one_term_or_many(n):
    figure = FIGURES["forest"]({"ratios": _terms(n), "ratio_name": "hazard ratio"}, CONTEXT)
    assert len(figure.table.rows) == n
    drawn = sum(f">x{k}</text>" in figure.svg for k in range(n))
    assert drawn == min(n, 60)
    assert ("60 of 75 terms farthest from 1" in figure.caption) == (n == 75)
    # Those left to the table are the ones nearest to 1.
    assert all((f">x{k}</text>" in figure.svg) == (k >= 15) for k in range(n)) or n < 75


def test_an_interval_without_bound_ends_in_an_arrow_and_does_not_squeeze_the_others():
    plain = [{"term": "a", "ratio": 1.2, "ratio_lower": 1.0, "ratio_upper": 1.5}]
    wild = [*plain, {"term": "b", "ratio": 4e7, "ratio_lower": 1e-6, "ratio_upper": 9e12}]
    figure = FIGURES["forest"]({"ratios": wild, "ratio_name": "hazard ratio"}, CONTEXT)
    assert "Arrows: the line goes on beyond the axis." in figure.caption
    assert ">&gt;9\u202f999 (&lt;0.01 to &gt;9\u202f999)</text>" in figure.svg
    assert "Arrows" not in FIGURES["forest"]({"ratios": plain, "ratio_name": "hazard ratio"}, CONTEXT).caption
    ticks = [float(v) for v in re.findall(r">([0-9.]+)</text>", figure.svg)]
    assert max(ticks) <= 200
    assert min(ticks) >= 0.005


def test_terms_of_several_hazards_stand_under_the_event_they_are_for():
    rows = [
        {"label": f"Age ({cause})", "cause_label": cause, "ratio": r, "ratio_lower": r / 1.2, "ratio_upper": r * 1.2}
        for cause, r in (("relapse", 1.3), ("death", 2.0))
    ]
    figure = FIGURES["forest"]({"ratios": rows, "ratio_name": "hazard ratio"}, CONTEXT)
    assert figure.svg.count(">Age</text>") == 2
    assert figure.svg.index(">relapse</text>") < figure.svg.index(">death</text>")
    assert [row[0].text for row in figure.table.cells()] == ["Age (relapse)", "Age (death)"]
    rows[1] |= {"ratio_lower": None, "ratio_upper": None}
    assert "Open boxes have no interval." in FIGURES["forest"]({"ratios": rows, "ratio_name": "ratio"}, CONTEXT).caption
    assert "Open boxes" not in figure.caption


def test_a_penalised_forest_says_that_it_has_no_intervals():
    bare = [{"term": t, "ratio": r, "ratio_lower": None, "ratio_upper": None, "p": None, "note": "penalised"}
            for t, r in (("a", 1.5), ("b", 0.8))]  # fmt: skip
    figure = FIGURES["forest"]({"ratios": bare, "ratio_name": "hazard ratio"}, CONTEXT)
    assert "without intervals" in figure.caption
    assert ">estimate</text>" in figure.svg
    assert "interval" not in figure.svg
    assert ">1.50</text>" in figure.svg


def test_incidences_are_stacked_to_one_and_labelled_with_their_intervals():
    data, context = CASES["incidence_stack"]
    figure = FIGURES["incidence_stack"](data, context)
    for row in figure.table.cells():
        shares = [float(c.text.split(" ")[0]) for c in row[2:]]
        assert sum(shares) == pytest.approx(1, abs=0.002)
    for cause in data["causes"]:
        assert f">{cause['label']}</text>" in figure.svg
        assert f"{100 * cause['incidence'][-1]:.0f}% (" in figure.svg
    for n in data["at_risk"]["counts"]:
        assert f">{n}</text>" in figure.svg
    assert "Kaplan-Meier" not in figure.caption + figure.alt
    # What is free of all events can be left out: it is the rest.
    assert FIGURES["incidence_stack"]({**data, "event_free": None}, context).table.cells()[-1][-1].text == (
        figure.table.cells()[-1][-1].text
    )


def test_groups_with_competing_events_rise_and_are_named_after_the_outcome():
    groups = C["performance"]["curves"]["risk_groups"]
    figure = FIGURES["survival_groups"](groups, RISING)
    assert figure.title.startswith("By 1\u202f800 days the incidence of death from a heart attack is ")
    assert "Aalen-Johansen" in figure.caption
    assert "Cumulative incidence" in figure.svg
    for word in ("Kaplan", "Free of the event", "free of the event"):
        assert word not in figure.svg + figure.caption + figure.alt + figure.title + figure.table.columns[-1]
    flipped = {**groups, "groups": [{**g, "predicted": [1 - p for p in g["predicted"]]} for g in groups["groups"]]}
    assert FIGURES["survival_groups"](flipped, RISING).svg == figure.svg


def test_marks_of_censoring_are_drawn_and_explained():
    for name in ("survival_groups", "outcome_curve"):
        data, context = CASES[name]
        bare = json.loads(json.dumps(data))
        for group in bare.get("groups", [bare]):
            group["censored"] = None
        with_marks, without = FIGURES[name](data, context), FIGURES[name](bare, context)
        assert len(with_marks.svg) > len(without.svg)
        assert "more patients were censored" in with_marks.caption
        assert "censored" not in without.caption


def test_ratios_over_time_draw_no_point_of_a_patient():
    data, context = CASES["ratios_over_time"]
    figure = FIGURES["ratios_over_time"](data, context)
    assert "no residual of a patient is drawn" in figure.caption
    assert figure.title == "The hazard ratio of Cardiogenic shock falls from 5.98 to 1.93 over follow-up"
    assert {row[0].text for row in figure.table.cells()} == {c["term"] for c in data["curves"]}
    one = {**data, "curves": data["curves"][:1]}
    assert FIGURES["ratios_over_time"](one, context).width < figure.width


def test_a_nomogram_can_be_read_from_its_drawing():
    data, context = CASES["nomogram"]
    figure = FIGURES["nomogram"](data, context)
    width, left = 900 - 230 - 26, 230
    places = {
        text: float(x) for x, text in re.findall(r"translate\(([0-9.]+) [0-9.]+\)[^>]*>([^<]+)</text>", figure.svg)
    } or {text: float(x) for x, text in re.findall(r'<text[^>]* x="([0-9.]+)"[^>]*>([^<]+)</text>', figure.svg)}
    # Age 65 has half the points, and stands under 50 of the scale at the top.
    assert places["yes"] == pytest.approx(left + width * 0.274, abs=1.5)
    # The total axis ends at what the axes can add up to: 100 + 40 + 27.4 points.
    at = float(np.interp(0.5, data["risks"][0]["risk"], range(171)))
    assert places["50%"] == pytest.approx(left + width * (at - 15) / 168, abs=30)
    assert "Without weight: Recurrent infarction." in figure.caption
    assert "by no more than 2.2 for anyone within the axes" in figure.caption


def test_a_curve_that_turns_back_has_a_line_for_each_way():
    from aimed.report.figures.nomogram import _runs

    assert _runs(np.array([0.0, 5.0, 10.0])) == [(0, 2)]
    assert _runs(np.array([40.0, 20.0, 0.0, 5.0, 14.0])) == [(0, 2), (2, 4)]
    # A turn of less than a point is a straight line to the eye.
    assert _runs(np.array([10.0, 5.0, 0.0, 0.4, 0.2])) == [(0, 4)]
    assert _runs(np.array([0.0, 9.0, 2.0, 8.0])) == [(0, 1), (1, 2), (2, 3)]
