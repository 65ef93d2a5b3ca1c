"""The three-state logic as a table, its monotony, and errors that name the nearest measure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import Measure, StudyFileError, parse
from aimed.metrics.evaluate_masks import known_masks
from aimed.trust.criteria import decide, judge, overall, target_of, validate

MET, NOT, UNSURE = "met", "not met", "not enough evidence"


def state(text, value, lower, upper):
    return decide(target_of(parse(text)[0]), value, lower, upper)[0]


@pytest.mark.parametrize(
    ("text", "value", "lower", "upper", "expected"),
    [
        # plain: the whole interval decides
        ("auroc >= 0.7", 0.8, 0.7, 0.9, MET),
        ("auroc > 0.7", 0.8, 0.7, 0.9, UNSURE),
        ("auroc >= 0.7", 0.8, 0.69, 0.9, UNSURE),
        ("auroc >= 0.7", 0.6, 0.5, 0.7, UNSURE),
        ("auroc >= 0.7", 0.6, 0.5, 0.69, NOT),
        ("auroc > 0.7", 0.6, 0.5, 0.7, NOT),
        ("brier@365 <= 0.2", 0.15, 0.1, 0.2, MET),
        ("brier@365 <= 0.2", 0.15, 0.1, 0.21, UNSURE),
        ("brier@365 <= 0.2", 0.25, 0.21, 0.3, NOT),
        ("brier < 0", -0.1, -0.2, 0.0, UNSURE),
        ("brier < 0", -0.1, -0.2, -0.01, MET),
        # ranges
        ("slope in [0.8, 1.2]", 1.0, 0.8, 1.2, MET),
        ("slope in [0.8, 1.2]", 1.0, 0.7, 1.1, UNSURE),
        ("slope in [0.8, 1.2]", 1.3, 1.1, 1.5, UNSURE),
        ("slope in [0.8, 1.2]", 1.3, 1.21, 1.5, NOT),
        ("slope in [0.8, 1.2]", 0.5, 0.3, 0.79, NOT),
        ("slope in [0.8, 1.2]", 1.0, 0.1, 3.0, UNSURE),
        # a named bound decides
        ("auroc.lower >= 0.65", 0.7, 0.65, 0.8, MET),
        ("auroc.lower >= 0.65", 0.7, 0.6, 0.8, UNSURE),
        ("auroc.lower >= 0.65", 0.6, 0.5, 0.64, NOT),
        ("auroc.upper >= 0.65", 0.6, 0.5, 0.66, MET),
        ("brier.upper <= 0.2", 0.15, 0.1, 0.2, MET),
        ("brier.upper <= 0.2", 0.15, 0.1, 0.25, UNSURE),
        ("brier.upper <= 0.2", 0.3, 0.25, 0.35, NOT),
        ("auroc.value >= 0.65", 0.7, 0.5, 0.8, MET),
        ("auroc.value >= 0.65", 0.6, 0.5, 0.8, UNSURE),
        # nothing to judge
        ("auroc >= 0.7", None, None, None, UNSURE),
        ("auroc >= 0.7", 0.99, None, None, UNSURE),
        ("auroc.value >= 0.7", 0.99, None, 1.0, UNSURE),
    ],
)
def test_states(text, value, lower, upper, expected):
    assert state(text, value, lower, upper) == expected


unit = st.floats(0, 1, allow_nan=False)
wider = st.floats(0, 1, allow_nan=False)
forms = st.sampled_from(
    ["m >= {a}", "m > {a}", "m <= {a}", "m < {a}", "m in [{a}, {b}]", "m.lower >= {a}", "m.upper <= {a}"]
)


@given(forms, unit, unit, unit, unit, unit, wider, wider)
def test_widening_never_turns_doubt_into_met_nor_met_into_not_met(form, a, b, x, y, z, down, up):
    a, b = sorted((a, b))
    text = form.format(a=f"{a:.6f}", b=f"{b:.6f}")
    lower, value, upper = sorted((x, y, z))
    narrow, wide = state(text, value, lower, upper), state(text, value, lower - down, upper + up)
    if narrow == UNSURE:
        assert wide == UNSURE
    if narrow == MET:
        assert wide != NOT
    if wide in (MET, NOT):
        assert narrow == wide


@given(st.sampled_from([">=", ">"]), unit, unit, unit, unit)
def test_plain_and_pessimistic_bound_agree(sign, a, x, y, z):
    lower, value, upper = sorted((x, y, z))
    assert state(f"m {sign} {a:.6f}", value, lower, upper) == state(f"m.lower {sign} {a:.6f}", value, lower, upper)


def test_judge_reads_measures_dicts_and_exact_numbers():
    lookup = {
        "auroc": Measure(name="auroc", value=0.8, lower=0.75, upper=0.85),
        "brier@365": {"value": 0.3, "lower": 0.25, "upper": 0.35},
        "events": 120,
        "worst_subgroup(auroc)": {"value": 0.6, "lower": 0.5, "upper": 0.7, "note": "Worst of 2 groups."},
        "difference(prevalence).brier": {"value": -0.1, "lower": -0.2, "upper": -0.05},
        "uno_c": {"value": None, "lower": None, "upper": None, "note": "No events."},
    }
    texts = [
        "auroc.lower >= 0.7 and brier@365 <= 0.2",
        "events >= 100",
        "worst_subgroup(auroc).lower >= 0.55",
        "difference(prevalence).brier < 0",
        "uno_c >= 0.5",
        "worst_subgroup(brier) <= 0.2",
    ]
    rows = judge(texts, lookup)
    assert [r["measure"] for r in rows] == [
        "auroc",
        "brier@365",
        "events",
        "worst_subgroup(auroc)",
        "difference(prevalence).brier",
        "uno_c",
        "worst_subgroup(brier)",
    ]
    assert [r["state"] for r in rows] == [MET, NOT, MET, UNSURE, MET, UNSURE, UNSURE]
    assert rows[0]["text"] == rows[1]["text"] == texts[0]
    assert "Worst of 2 groups." in rows[3]["why"]
    assert "No events." in rows[5]["why"]
    assert rows[2]["lower"] == 120.0
    assert overall(rows) == NOT
    assert overall(rows[2:]) == UNSURE
    assert overall([rows[0]]) == MET


def test_not_finite_numbers_are_no_evidence():
    assert judge(["auroc >= 0.7"], {"auroc": {"value": math.nan, "lower": 0.8, "upper": 0.9}})[0]["state"] == UNSURE


def test_unknown_measure_names_the_nearest():
    with pytest.raises(StudyFileError, match="did you mean 'harrell_c'"):
        judge(["harell_c >= 0.7"], {"harrell_c": 0.8, "uno_c": 0.8})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("aurok >= 0.7", "did you mean 'auroc'"),
        ("worst_subgroup(aurok) >= 0.7", r"did you mean 'worst_subgroup\(auroc\)'"),
        ("difference(prevalance).brier < 0", r"did you mean 'difference\(prevalence\).brier'"),
        ("auroc == 0.7", "does not compare"),
        ("auroc in ('a', 'b')", "does not compare"),
        ("auroc is known", "does not compare"),
        ("auroc >= 'high'", "does not compare"),
        ("slope in [1.2, 0.8]", "empty range"),
        ("auroc.lowest >= 0.7", "no measure of this study"),
        ("__import__('os')", "cannot be read"),
    ],
)
def test_validate_refuses(text, match):
    with pytest.raises(StudyFileError, match=match):
        validate([text], ["auroc", "brier", "slope"], baselines=["prevalence"], subgroups=True)


def test_validate_accepts_and_knows_when_there_are_no_subgroups():
    good = [
        "auroc.lower >= 0.65",
        "slope in [0.8, 1.2]",
        "auc@182.5.lower > 0.6",
        "difference(prevalence).brier.upper < 0",
    ]
    known = ["auroc", "brier", "slope", "auc@182.5"]
    validate(good[:3], known, baselines=["prevalence"])
    validate(["worst_subgroup(auroc).lower >= 0.6"], known, subgroups=True)
    with pytest.raises(StudyFileError):
        validate(["worst_subgroup(auroc).lower >= 0.6"], known)


def test_criteria_on_masks():
    known = known_masks(["whole_tumour", "core"])
    criteria = ["hd95@whole_tumour.value <= 10", "mean_dice.lower >= 0.7", "worst_subgroup(dice@core) >= 0.5"]
    validate(criteria, known, subgroups=True)
    lookup = {
        "hd95@whole_tumour": {"value": 8.0, "lower": 5.0, "upper": 12.0},
        "mean_dice": {"value": 0.8, "lower": 0.72, "upper": 0.86},
        "worst_subgroup(dice@core)": {"value": 0.6, "lower": 0.4, "upper": 0.7},
    }
    assert [row["state"] for row in judge(criteria, lookup)] == ["met", "met", "not enough evidence"]
    with pytest.raises(StudyFileError, match="hd95@whole_tumour"):
        validate(["hd96@whole_tumour <= 10"], known)
