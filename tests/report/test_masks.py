"""The edition of the report for a study of masks: what a reader must see, and what is said where a block is absent."""

from __future__ import annotations

import copy
import importlib.util
import re
from html import unescape
from pathlib import Path

import pytest

from aimed.report import names, page, sentences, titles
from aimed.report.compare import render_compare
from aimed.report.figures import FIGURES
from aimed.report.index import render_index
from aimed.report.parts import Context
from aimed.report.render import html
from aimed.report.sections import SECTIONS, masks
from aimed.report.sections.verdict import criterion

_spec = importlib.util.spec_from_file_location("report_sample_masks", Path(__file__).with_name("sample_masks.py"))
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

REGIONS = ("whole tumour", "tumour core", "enhancing tumour")


def m(value, lower=None, upper=None, **more):
    return {"value": value, "lower": lower, "upper": upper, "n": 24, "events": 24, **more}


@pytest.fixture(scope="module")
def results():
    return sample.masks(pictures=True)


@pytest.fixture(scope="module")
def text(results):
    return _plain(page.render(results))


@pytest.fixture(scope="module")
def performance(results):
    return SECTIONS["performance"](results)


def drawn(results, *sections):
    return html("page", title="", meta="", foot=page._foot(results), sections=[SECTIONS[s](results) for s in sections])


def _plain(written):
    written = re.sub(r"<(style|script).*?</\1>", " ", written, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", written)).split())


def shown(section):
    return section.lead, " ".join(_said(section.blocks))


def _said(blocks):
    for b in blocks:
        if b.type == "table":
            yield " ".join([b.caption, *map(str, b.columns), *b.groups.values()])
            for row in b.cells():
                for cell in row:
                    yield " ".join([cell.text, *(f"{k} {v}" for k, v in cell.detail)])
        elif b.type == "figure":
            yield f"{b.title} {b.caption} {b.alt}"
        elif b.type == "facts":
            yield " ".join(f"{k} {v}" for k, v in b.pairs)
        elif b.type == "fold":
            yield f"{b.summary} {b.beside}"
            yield from _said(b.blocks)
        elif b.type == "pair":
            yield from _said(b.figures)
        elif b.type in ("note", "heading"):
            yield b.text


# -------------------------------------------------------------------------------------------------------- the verdict


def test_the_top_says_mean_and_whole_tumour_dice_with_interval_and_n(results, text):
    perf = results["performance"]["measures"]
    head = text[: text.index("2 Checks")]
    for name in ("mean_dice", "dice@whole_tumour", "dice@enhancing_tumour"):
        assert f"{perf[name]['value']:.3f} {perf[name]['lower']:.3f} to {perf[name]['upper']:.3f}" in head
    assert "Dice of whole tumour" in head
    assert "n = 24 scans" in head
    assert "train: 72 scans of 68 patients" in head
    assert "90 patients · train: 72 scans · test: 24 scans" in head


def test_a_strip_has_at_most_six_numbers_and_no_events(results):
    strip = next(b for b in SECTIONS["verdict"](results).blocks if b.type == "strip")
    assert 4 <= len(strip.keys) <= 6
    assert not any("event" in f"{k.label} {k.span} {k.beside}" for k in strip.keys)


def test_measures_with_a_unit_are_written_with_it_and_without_false_digits(results):
    changed = copy.deepcopy(results)
    row = {"text": "hd95@whole_tumour.upper <= 8", "measure": "hd95@whole_tumour", "value": 4.0567, "lower": 3.3}
    changed["verdict"]["criteria"] = [{**row, "upper": 4.8, "state": "met", "why": "so"}]
    verdict = next(b for b in SECTIONS["verdict"](changed).blocks if b.type == "verdict")
    assert verdict.criteria[0].estimate == "4.06 (3.30 to 4.80)"
    assert verdict.criteria[0].measure == "HD95 of whole tumour (mm)"
    assert criterion(changed, "difference(threshold).mean_dice") == "Mean Dice, model minus Threshold on one contrast"


@pytest.mark.parametrize(
    ("name", "title", "group"),
    [
        ("mean_dice", "Mean Dice", "Overlap"),
        ("mean_mask_sensitivity", "Mean sensitivity", "Overlap"),
        ("hd95@core", "HD95 of core (mm)", "Boundary"),
        ("volume_difference", "Volume difference (ml)", "Volume"),
        ("mean_absolute_difference", "mean absolute difference", "Other"),
        ("lesion_f1@core", "Lesion F1 of core", "Lesions"),
    ],
)
def test_names_of_measures_of_masks(name, title, group):
    assert names.title(name) == title
    assert names.describe(name).group == group


# ---------------------------------------------------------------------------------------------- data, outcome and model


def test_data_says_scans_channels_grid_and_refusals(results):
    lead, said = shown(SECTIONS["data"](results))
    assert lead == "96 scans of 90 patients remain after 3 were removed."
    for part in ("FLAIR, T1w, T1gd and T2w", "3 x 3 x 3 mm (1 x 0.9 x 0.9 mm to 5 x 3 x 3 mm)", "RAS 90, LPS 6",
                 "GEOMETRY", "The channels do not share a grid.", "96 of 99 scans were kept",
                 "With any region"):  # fmt: skip
        assert part in said, part


def test_outcome_says_presence_and_volume_of_each_region_by_part(results):
    lead, said = shown(SECTIONS["outcome"](results))
    assert lead.startswith("3 regions are outlined; median volumes in test scans that have them: whole tumour 34.0")
    assert "test: scans with it of 24" in said
    assert "36.0 (20.0 to 60.0)" in said
    assert "1, 2, 3" in said
    assert "regions outlined in each scan" in said


def test_model_says_the_plan_with_reasons_and_how_training_went(results):
    _, said = shown(SECTIONS["model"](results))
    for part in ("Sub-volume 48 x 48 x 48 voxels", "are the largest that fit 1,500 MB", "3 x 3 x 3, at every level",
                 "pieces of fewer than 30 voxels", "Epoch 19 of 24 was kept", "tune Dice 0.82", "tune Dice moved by",
                 "mirrored along axis 2 of (z, y, x)", "a probability of one half", "2 sub-volumes"):  # fmt: skip
        assert part in said, part
    assert "heart" not in said
    assert "picture" not in said


def test_a_plan_may_come_without_reasons_or_with_a_list_of_them():
    from aimed.report.sections.scans import plan

    bare = plan({"plan": {"patch_size": [64, 64, 64]}})[1]
    assert bare.columns == ["Choice", "Value"]
    listed = plan({"plan": {"patch_size": [64, 64, 64], "reasons": ["It fits.", "It is large."]}})
    assert listed[-1].texts == ["It fits.", "It is large."]
    window = plan({"plan": {"scaling": {"kind": "window", "low": -160.0, "high": 240.0}}})[1]
    assert re.fullmatch(r"cut at .160 and 240, which become -1 and 1", window.cells()[0][1].text)


# -------------------------------------------------------------------------------------------------------- performance


def test_performance_gives_mean_median_and_quartiles_of_each_region(results, performance):
    table = next(b for b in performance.blocks if b.type == "table")
    assert list(table.groups.values()) == [*(r.capitalize() for r in REGIONS), "Mean over the regions of a scan"]
    perf = results["performance"]
    mean, block = perf["measures"]["hd95@tumour_core"], perf["regions"]["tumour_core"]
    row = next(r for r in table.cells()[9:18] if r[0].text == "HD95 (mm)")
    assert row[2].text == f"{mean['value']:.2f} ({mean['lower']:.2f} to {mean['upper']:.2f})"
    assert row[3].text.startswith(f"{block['medians']['hd95']['value']:.2f} (")
    assert row[4].text == "{:.2f} to {:.2f}".format(*block["quartiles"]["hd95"])
    assert (table.cells()[27][0].text, table.cells()[27][0].strong) == ("Dice", True)


def test_performance_counts_empty_and_missed_regions_and_says_so_first(performance):
    lead, said = shown(performance)
    assert "no voxel of enhancing tumour is found in 1 scan that has it." in lead
    assert "Only the reference empty" in said
    assert "better than threshold on one contrast" in said
    assert "Model less baseline by region, paired on the same scans" in said


def test_performance_has_scans_sub_volumes_lesions_volumes_and_voxels(performance):
    section = performance
    headings = [b.text for b in section.blocks if b.type == "heading"]
    assert headings == [
        "Scan by scan",
        "Against the baselines",
        "Sub-volumes beside whole scans",
        "Lesions",
        "Volumes",
        "Readers",
        "Calibration of voxels",
        "Definitions",
    ]
    figures = [b.title for b in section.blocks if b.type == "figure"]
    assert len(figures) == 6
    _, said = shown(section)
    for part in ("61 sub-volumes of 16 x 64 x 64 voxels", "28 of 31", "FROC curve", "limits of agreement",
                 "Twice the volume that both outlines share", "2 mm", "Centres of voxels that share a face",
                 "87.5% (75.7% to 99.3%)"):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize(
    ("block", "sentence", "part"),
    [
        ("lesions", "Lesions one by one were not assessed in this run.", masks.lesions),
        ("volumes", "Agreement of volumes was not assessed in this run.", masks.agreement),
        ("voxel_calibration", "Calibration of voxels was not assessed in this run.", masks.voxels),
        ("readers", "Agreement of readers was not assessed: the study file names one mask a scan.", masks.readers),
    ],
)
def test_what_was_not_assessed_is_said_in_performance(results, performance, block, sentence, part):
    assert sentence not in shown(performance)[1]
    assert [b.text for b in part({**results, block: None})] == [sentence]
    assert part({block: None}) == []


def test_readers_are_compared_with_each_other_and_with_the_model(results):
    parts = masks.readers(results)
    said = " ".join(_said(parts))
    title = next(p.title for p in parts if p.type == "figure")
    assert title == "The model differs from readers more in whole tumour and tumour core than they do from each other"
    assert (
        "24 of 24 test scans had masks of two readers or more; masks that could not be used: reader 3 MISSING 2" in said
    )
    table = next(p for p in parts if p.type == "table")
    # Of each region: all readers, three readers, the model and the reference standard.
    assert len(table.rows) == 3 * 6
    assert "0.84 (0.82 to 0.86)" in said
    alike = copy.deepcopy(results)
    for region in alike["readers"]["regions"].values():
        region["state"] = "not shown"
    assert next(p.title for p in masks.readers(alike) if p.type == "figure").endswith("was not shown")


def test_without_intervals_of_volumes_that_is_said(results):
    changed = copy.deepcopy(results)
    for region in changed["volumes"]["regions"].values():
        region["interval"] = None
    assert "Intervals of volumes were not assessed in this run." in " ".join(_said(masks.agreement(changed)))


def test_where_one_region_is_primary_the_mean_is_said_too():
    one = sample.masks()
    one["study"]["primary"] = "dice@whole_tumour"
    one["verdict"]["simple_model"]["sentence"] = "The gain in dice@whole_tumour is 0.2; in mean_dice it is 0.1."
    assert SECTIONS["performance"](one).lead.startswith(
        "Dice of whole tumour is 0.84 (0.81 to 0.87); the mean over the regions is 0.76, from 0.65 (enhancing tumour) "
        "to 0.84 (whole tumour)"
    )
    strip = next(b for b in SECTIONS["verdict"](one).blocks if b.type == "strip")
    assert [k.label for k in strip.keys][:3] == ["Dice of whole tumour", "Mean Dice", "Dice of enhancing tumour"]
    assert strip.keys[-1].label == "Test scans"
    verdict = next(b for b in SECTIONS["verdict"](one).blocks if b.type == "verdict")
    assert verdict.simple == "The gain in Dice of whole tumour is 0.2; in mean Dice it is 0.1."


def test_one_region_needs_no_mean():
    one = sample.masks()
    perf = one["performance"]
    perf["labels"] = {"whole_tumour": "whole tumour"}
    perf["measures"] = {k: v for k, v in perf["measures"].items() if k.endswith("@whole_tumour")}
    one["study"]["primary"] = "dice@whole_tumour"
    lead, said = shown(SECTIONS["performance"](one))
    assert lead.startswith("Dice of whole tumour is 0.84 (0.81 to 0.87)")
    assert "Mean over regions" not in said
    strip = next(b for b in SECTIONS["verdict"](one).blocks if b.type == "strip")
    assert strip.keys[0].label == "Dice of whole tumour"


# --------------------------------------------------------------------------------- robustness, explanation, the gallery


def test_robustness_says_what_costs_overlap_and_whether_doubt_is_known(results):
    lead, said = shown(SECTIONS["robustness"](results))
    assert lead == (
        "3 of 7 changes of the scans are shown to cost overlap; expected and true Dice have a rank correlation of 0.81."
    )
    assert "most of all: FLAIR and T1w exchanged (−0.50)" in said
    assert "A contrast is missing" not in said
    assert "3 failed: below 0.70" in said
    gone = SECTIONS["robustness"]({**results, "robustness": None})
    assert "Robustness to worse scans was not assessed" in shown(gone)[1]
    gone = SECTIONS["robustness"]({**results, "quality": None})
    assert "Whether the model knows when an outline is poor was not assessed" in shown(gone)[1]


def test_explanation_says_contrasts_and_maps_with_their_checks(results):
    lead, said = shown(SECTIONS["explanation"](results))
    assert lead == "The model needs T1gd and FLAIR most. Maps passed their checks for every region."
    for part in ("T1gd and FLAIR are shown to be needed", "taken from another patient", "Seg-Grad-CAM",
                 "Maps lie in the region more than by chance for 3 of 3 regions", "Enhancing tumour: pass",
                 "With random weights the maps change."):  # fmt: skip
        assert part in said, part
    without = copy.deepcopy(results)
    without["explanation"]["contrasts"] = without["explanation"]["maps"] = None
    said = shown(SECTIONS["explanation"](without))[1]
    assert "Which contrasts matter was not assessed" in said
    assert "Maps of what the network looks at were not assessed" in said


def test_the_gallery_lists_scans_by_number_and_shows_pictures_only_where_there_are(results):
    _, said = shown(SECTIONS["failures"](results))
    assert "Lowest Dice (2 of 24)" in said
    assert "reference empty" in said
    assert "ids stay with the data" in said
    whole = drawn(results, "failures")
    assert whole.count("<img ") == 5
    assert "lowest Dice and lowest expected Dice" in whole
    assert "the page holds pictures of patients" in whole
    bare = drawn({**results, "gallery": sample.gallery(results["performance"], pictures=False)}, "failures")
    assert "<img " not in bare
    assert "the page holds no patient rows" in bare
    changed = copy.deepcopy(results)
    changed["gallery"]["pictures"]["scopes"]["overall"] = {"1": {"planes": {"png": "https://elsewhere.org/a.png"}}}
    assert "elsewhere.org" not in drawn(changed, "failures")


def test_subgroups_count_scans_that_have_a_region(results):
    _, said = shown(SECTIONS["subgroups"](results))
    assert "With a region" in said
    assert "Events" not in said
    assert "HD95 of whole tumour (mm) is worst for" in said


def test_no_word_of_events_risks_or_pictures_is_left_on_the_page(text):
    for word in ("O/E ratio by", "with the outcome", "radiograph", "the heart", "risk of 50%"):
        assert word not in text
    told = text[: text.index("15 Checklists")].replace("378 events for 8 parameters", "")
    assert not re.search(r"\b\d+ (events|rows|pictures)\b", told)


# ------------------------------------------------------------------------------------------------- sentences and titles


def test_the_sentence_of_masks_does_not_praise():
    assert sentences.masks("mean_dice", None, None, None) == "Mean Dice could not be estimated."
    assert sentences.masks("mean_dice", m(0.4), None, None) == "Mean Dice is 0.40, without an interval."
    said = sentences.masks("mean_dice", m(0.8, 0.7, 0.9), ("A", m(0.9)), ("B", m(0.7)), [("A", 1), ("B", 2)])
    assert said.endswith("no voxel of A is found in 1 scan and of B is found in 2 scans that have it.")


def test_titles_of_volumes_say_only_what_intervals_show():
    small, large = m(-2.0, -3.0, -1.0), m(1.5, 0.5, 2.5)
    both = [{"label": "Core", "absolute": {"bias": small}}, {"label": "Rim", "absolute": {"bias": large}}]
    assert titles.volume_agreement(both) == (
        "Outlines of core are smaller than the reference on average (−2.0 ml) but those of rim are larger than the "
        "reference on average (1.5 ml)"
    )
    assert titles.volume_agreement([{"label": "x"}]) == "The agreement of volumes could not be estimated"
    open_ = [{"label": "Core", "absolute": {"bias": m(-2.0)}}]
    assert titles.volume_agreement(open_) == "No mean difference of volume is shown (core −2.0 ml)"


def test_titles_of_many_regions_are_cut_short():
    many = [{"label": f"Part {i}", "oe": m(1.2 + i / 10, 1.1, 2.0)} for i in range(5)]
    said = titles.voxel_calibration(many)
    assert said == (
        "Voxels of part 0, part 1, part 2 and 2 more are inside more often than predicted (O/E 1.20, 1.30, 1.40 and 2 "
        "more)"
    )


def test_titles_of_expected_dice_say_only_what_intervals_show():
    curve = [{"share": 0.0, "dice": m(0.8)}, {"share": 0.2, "dice": m(0.82), "difference": m(0.02, -0.01, 0.05)}]
    said = titles.expected_dice({"rank": m(0.2, -0.1, 0.5), "curve": curve})
    assert said == (
        "Expected Dice is not shown to rank scans as true Dice does (rank correlation 0.20); leaving out the lowest "
        "20% is not shown to raise mean Dice (0.80 to 0.82)"
    )
    assert titles.expected_dice({}) == "Whether expected Dice ranks scans could not be judged"


def test_titles_of_lesions_and_voxels():
    def froc(*values):
        return {
            "froc": {
                "points": [{"false_positives": f, "sensitivity": s} for f, s in zip((0.5, 2), values, strict=True)]
            }
        }

    two = [{"label": "Core", **froc(0.5, 0.9)}, {"label": "Rim", **froc(0.4, 0.8)}]
    assert titles.froc(two) == "At 0.5 false lesion a scan 40% (rim) to 50% (core) of the lesions are found"
    assert titles.froc([]) == "How many lesions are found could not be estimated"
    assert (
        titles.voxel_calibration([{"label": "Core", "oe": m(1.0)}]) == "The calibration of voxels could not be judged"
    )


def test_scans_with_an_empty_region_are_hollow(results):
    cases = [
        {"case": i + 1, "dice": d, "empty": e} for i, (d, e) in enumerate([(0.0, "reference"), (0.8, ""), (0.9, "")])
    ]
    full = FIGURES["case_dice"]({"regions": [{"label": "Core", "cases": cases}]}, Context())
    assert "Hollow" in full.caption
    assert "0.000 (empty)" in [c.text for row in full.table.cells() for c in row]
    none = FIGURES["case_dice"]({"regions": [{"label": "Core", "cases": cases[1:]}]}, Context())
    assert "Hollow" not in none.caption


def test_many_scans_are_tabled_by_tenths_and_not_one_by_one():
    cases = [{"case": i, "dice": i / 500, "empty": ""} for i in range(500)]
    figure = FIGURES["case_dice"]({"regions": [{"label": "Core", "cases": cases}]}, Context())
    assert len(figure.table.rows) == 11


# ------------------------------------------------------------------------------------------------------ the other pages


def test_index_and_compare_speak_of_scans(results):
    index = _plain(render_index([{"results": results, "href": "a/report.html"}]))
    value = results["performance"]["measures"]["mean_dice"]
    assert f"Mean Dice {value['value']:.3f}" in index
    assert "Voxel logistic regression" in index
    other = copy.deepcopy(results)
    other["model"]["plan"]["patch_size"] = [64, 64, 64]
    compared = _plain(render_compare(results, other))
    assert "Test scans 24 24" in compared
    assert "Test events" not in compared
    assert "HD95 of whole tumour (mm)" in compared
    assert "patch size of the plan 48, 48, 48 64, 64, 64" in compared


def test_means_over_regions_leave_out_specificity_and_volumes(text):
    rest = text.partition("Mean over the regions of a scan")[2].partition("Scans in which")[0]
    assert "Sensitivity" in rest
    assert "Specificity" not in rest
    assert "olume difference" not in rest


def test_warnings_are_no_refusals():
    block = {
        "inputs": [{"required": True}],
        "refusals": [
            {"code": "GAP", "reason": "Slices are missing."},
            {"code": "OTHER_SPACING", "reason": "Warning: voxels are smaller or larger than those of training scans."},
        ],
    }
    lead, said = shown(SECTIONS["deployment"]({"limits": block}))
    assert lead == (
        "The model takes 1 input, of which 1 is required, and refuses to answer under 1 rule; it warns under 1 more."
    )
    assert "The model answers, and warns, when OTHER_SPACING Voxels are smaller" in said
    assert "Warning:" not in said


def test_a_network_of_volumes_is_told_in_words(results):
    changed = copy.deepcopy(results)
    built = changed["model"]["network"]
    built |= {"architecture": "unet3d", "loss": "dice_cross_entropy", "optimizer": "adamw", "sampling": "foreground"}
    built |= {"options": {"deep": 0}, "mirror": [0, 2]}
    said = shown(SECTIONS["model"](changed))[1]
    for words in ("3D U-Net", "soft Dice and cross-entropy", "AdamW", "along z and x, averaged", "around a voxel of a"):
        assert words in said
    for code in ("dice_cross_entropy", "adamw", "unet3d", "deep: 0"):
        assert code not in said


def test_a_loss_to_a_baseline_is_not_called_a_gain(results):
    changed = copy.deepcopy(results)
    name = changed["study"]["primary"]
    for one in changed["performance"]["differences"].values():
        one[name] = m(-0.1, -0.2, -0.05)
    said = _plain(page.render(changed))
    assert "Difference to the best baseline" in said
    assert "Gain over" not in said


def test_the_leaderboard_says_that_a_baseline_is_better():
    net = {"title": "U-Net", "kind": "candidate", "metric": "mean_dice", "mean": 0.67, "lower": None, "chosen": True}
    rows = [net, {"title": "Voxels", "kind": "baseline", "metric": "mean_dice", "mean": 0.85}]
    assert titles.leaderboard(rows) == (
        "U-Net was chosen; its mean Dice is worse than that of the best baseline (Voxels)"
    )
