"""The subgroup audit: states, suppression, gaps and their error rates, and Holm's adjustment."""

import json

import numpy as np
import pytest
from scipy import stats

from aimed.core import DataError, StudyFileError
from aimed.metrics.discrimination import auroc
from aimed.trust.subgroups import audit, worst_subgroups

Z = stats.norm.ppf(0.975)


def mean_measures(y, calls=None):
    """Mean of y with its normal interval, under the name of a measure with a direction."""

    def measures(mask):
        if calls is not None:
            calls.append(int(mask.sum()))
        x = y[mask]
        half = Z * x.std(ddof=1) / np.sqrt(x.size)
        m = {"name": "auroc", "value": x.mean(), "lower": x.mean() - half, "upper": x.mean() + half}
        return {"auroc": {**m, "n": int(x.size), "events": 0, "level": 0.95}}

    return measures


def run(labels, y, events=None, **more):
    events = np.tile([True, False], len(y) // 2 + 1)[: len(y)] if events is None else events
    options = {"names": ["auroc"], "primary": "auroc", "events": events, **more}
    return audit({"g": (labels, "Group")}, mean_measures(y), **options)


def test_states_follow_the_interval_and_the_counts():
    rng = np.random.default_rng(0)
    labels = np.repeat(["good", "bad", "wide", "few"], [200, 200, 200, 30])
    mean = np.repeat([0.9, 0.5, 0.72, 0.9], [200, 200, 200, 30])
    y = mean + rng.normal(size=630) * np.where(labels == "wide", 0.5, 0.1)
    block = run(labels, y, criterion=">= 0.7")
    assert {g["group"]: g["state"] for g in block["columns"][0]["groups"]} == {
        "good": "met",
        "bad": "not met",
        "wide": "not enough evidence",
        "few": "not enough evidence",
    }
    why = {g["group"]: g["why"] for g in block["columns"][0]["groups"]}
    assert why["few"] == "15 events and 15 non-events; at least 20 and 20 are needed."
    assert all(g["state"] == "no criterion" for g in run(labels, y)["columns"][0]["groups"] if g["group"] != "few")
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_few_nonevents_are_no_evidence_either():
    y = np.random.default_rng(0).normal(size=100)
    events = np.arange(100) < 95
    row = run(np.repeat("a", 100), y, events=events)["columns"][0]["groups"][0]
    assert row["state"] == "not enough evidence"
    assert (
        run(np.repeat("a", 100), y, events=events, min_nonevents=5)["columns"][0]["groups"][0]["state"]
        == "no criterion"
    )


def test_full_criteria_are_read_and_wrong_ones_refused():
    y = np.random.default_rng(0).normal(0.9, 0.1, size=200)
    labels = np.repeat(["a", "b"], 100)
    for text in (
        "auroc.lower >= 0.7",
        "worst_subgroup(auroc).lower >= 0.7",
        "in [0.8, 1.0]",
        "auroc >= 0.7 and brier <= 0.2",
    ):
        assert run(labels, y, criterion=text)["columns"][0]["groups"][0]["state"] == "met"
    with pytest.raises(StudyFileError, match="0 comparisons of 'auroc'"):
        run(labels, y, criterion="brier <= 0.2")


def test_small_groups_are_hidden_and_never_measured():
    y = np.random.default_rng(0).normal(size=203)
    labels = np.repeat(["a", "b", "tiny"], [120, 73, 10])
    calls = []
    block = audit({"g": (labels, "Group")}, mean_measures(y, calls), names=["auroc"], primary="auroc", events=y > 0)
    a, b, tiny = block["columns"][0]["groups"]
    assert tiny == {
        "group": "tiny",
        "n": "<11",
        "events": None,
        "patients": "<11",
        "measures": {},
        "state": "not enough evidence",
        "why": "Fewer than 11 patients, so not described.",
        "judged": False,
    }
    assert calls == [120, 73]
    # 203 less 120 less 73 would give the hidden size away.
    assert (a["n"], b["n"], b["patients"], b["measures"]["auroc"]["n"]) == (120, 70, 70, 70)


def test_patients_not_rows_make_a_group_small():
    y = np.random.default_rng(0).normal(size=200)
    patient = np.r_[np.arange(100), np.repeat(np.arange(100, 105), 20)]
    groups = run(np.repeat(["a", "b"], 100), y, patient=patient)["columns"][0]["groups"]
    assert groups[1]["patients"] == "<11"


def test_missing_is_its_own_group_and_order_is_kept():
    y = np.random.default_rng(0).normal(size=150)
    labels = np.array(["m"] * 50 + ["f"] * 50 + [None] * 25 + [float("nan")] * 20 + [""] * 5, dtype=object)
    block = audit(
        {"sex": (labels, "Sex", ["m", "x", "f"])}, mean_measures(y), names=["auroc"], primary="auroc", events=y > 0
    )
    assert [(g["group"], g["n"]) for g in block["columns"][0]["groups"]] == [("m", 50), ("f", 50), ("missing", 50)]


def test_gap_and_p_of_two_groups_are_the_z_test():
    rng = np.random.default_rng(1)
    y = rng.normal(size=300) + np.repeat([0.0, 0.4], 150)
    block = run(np.repeat(["a", "b"], 150), y)["columns"][0]
    gap, a, b = block["gap"]["auroc"], y[:150], y[150:]
    se = np.sqrt(a.var(ddof=1) / 150 + b.var(ddof=1) / 150)
    assert gap["value"] == pytest.approx(b.mean() - a.mean())
    assert gap["lower"] == pytest.approx(b.mean() - a.mean() - Z * se)
    assert block["p"]["auroc"] == pytest.approx(2 * stats.norm.sf(abs(b.mean() - a.mean()) / se))
    assert "Best: b; worst: a." in gap["note"]


@pytest.mark.parametrize(("name", "best"), [("auroc", "high"), ("brier", "low"), ("oe@365", "low")])
def test_gap_knows_which_side_is_better(name, best):
    def measures(mask):
        value = 0.9 if mask[0] else 1.6
        return {name: {"name": name, "value": value, "lower": value - 0.1, "upper": value + 0.1, "n": 50, "events": 25}}

    labels = np.repeat(["low", "high"], 50)
    block = audit({"g": (labels, "G")}, measures, names=[name], primary=name, events=np.tile([True, False], 50))
    gap = block["columns"][0]["gap"][name]
    assert gap["note"].startswith(f"Best: {best};")
    assert gap["value"] == pytest.approx(0.7)


def test_no_gap_is_rarely_called_a_gap():
    """Five equal groups: the interval of the chosen pair excludes zero in at most 5 % of samples."""
    rng = np.random.default_rng(2)
    labels = np.repeat(list("abcde"), 60)
    wrong, small_p = 0, 0
    for _ in range(200):
        block = run(labels, rng.normal(size=300))["columns"][0]
        wrong += block["gap"]["auroc"]["lower"] > 0
        small_p += block["p"]["auroc"] < 0.05
    assert wrong <= 16
    assert 2 <= small_p <= 20


def test_one_judged_group_has_no_gap():
    y = np.random.default_rng(0).normal(size=120)
    block = run(np.repeat(["a", "few"], [100, 20]), y)["columns"][0]
    assert block["gap"]["auroc"]["value"] is None
    assert block["p"]["auroc"] is None
    assert block["p_holm"]["auroc"] is None


def test_holm_is_across_columns():
    rng = np.random.default_rng(3)
    y = rng.normal(size=400) + np.repeat([0.0, 0.5], 200)
    groups = {"real": (np.repeat(["a", "b"], 200), "Real"), "noise": (np.tile(["c", "d"], 200), "Noise")}
    events = np.tile([True, True, False, False], 100)
    block = audit(groups, mean_measures(y), names=["auroc"], primary="auroc", events=events)
    real, noise = block["columns"]
    assert real["p_holm"]["auroc"] == pytest.approx(2 * real["p"]["auroc"])
    assert noise["p_holm"]["auroc"] == pytest.approx(max(noise["p"]["auroc"], real["p_holm"]["auroc"]))


def test_worst_subgroup_is_pessimistic_and_counts_what_it_leaves_out():
    rng = np.random.default_rng(4)
    labels = np.repeat(["a", "b", "few"], [300, 60, 25])
    y = rng.normal(size=385) * np.repeat([0.1, 0.8, 0.1], [300, 60, 25]) + np.repeat([0.6, 0.7, 0.1], [300, 60, 25])
    block = run(labels, y)
    found = worst_subgroups(block)["worst_subgroup(auroc)"]
    rows = [g["measures"]["auroc"] for g in block["columns"][0]["groups"] if g["group"] != "few"]
    assert found["value"] == min(m["value"] for m in rows)
    assert found["lower"] == min(m["lower"] for m in rows)
    assert found["upper"] == min(m["upper"] for m in rows)
    assert found["note"].endswith("1 more could not be judged.")
    assert worst_subgroups(None) == {}


def test_lengths_are_checked():
    y = np.zeros(10)
    with pytest.raises(DataError, match="labels of 'g'"):
        run(np.repeat("a", 9), y)
    with pytest.raises(DataError, match="9 patients for 10 rows"):
        run(np.repeat("a", 10), y, patient=np.arange(9))


def test_a_planted_gap_in_real_aurocs_is_found():
    rng = np.random.default_rng(5)
    n = 1200
    group = np.repeat(["a", "b"], n // 2)
    risk = rng.random(n)
    y = (rng.random(n) < np.where(group == "a", risk, 0.5)).astype(int)

    def measures(mask):
        t, s = y[mask], risk[mask]
        draws = [
            auroc(t[i], s[i]) for i in (np.random.default_rng(k).integers(t.size, size=t.size) for k in range(100))
        ]
        low, high = np.quantile(draws, [0.025, 0.975])
        return {
            "auroc": {
                "name": "auroc",
                "value": auroc(t, s),
                "lower": low,
                "upper": high,
                "n": t.size,
                "events": int(t.sum()),
            }
        }

    block = audit({"g": (group, "G")}, measures, names=["auroc"], primary="auroc", events=y > 0, criterion=">= 0.65")
    assert [g["state"] for g in block["columns"][0]["groups"]] == ["met", "not met"]
    assert block["columns"][0]["gap"]["auroc"]["lower"] > 0.2
    assert block["columns"][0]["p_holm"]["auroc"] < 1e-6


def test_a_finding_with_few_events_of_its_own_is_in_no_gap():
    """Groups have events enough of other findings: a sensitivity of 0 in 7 is no evidence of a gap."""

    def measures(mask):
        few = bool(mask[0])
        own = {"value": 0.0, "lower": 0.0, "upper": 0.35, "n": 7, "events": 7} if few else None
        rare = own or {"value": 0.5, "lower": 0.3, "upper": 0.7, "n": 40, "events": 40}
        often = {"value": 0.5 if few else 0.9, "lower": 0.4, "upper": 0.95, "n": 60, "events": 40}
        plenty = {"value": 0.5, "lower": 0.4, "upper": 0.6, "n": 60, "events": 7}
        return {"auroc": often, "sensitivity@rare": rare, "sensitivity@often": often, "specificity@rare": plenty}

    names = ["auroc", "sensitivity@rare", "sensitivity@often", "specificity@rare"]
    events = np.tile([True, False], 100)
    block = audit(
        {"view": (np.repeat(["AP", "PA"], 100), "View")}, measures, names=names, primary="auroc", events=events
    )
    column = block["columns"][0]
    assert [(g["judged"], g.get("few")) for g in column["groups"]] == [(True, ["sensitivity@rare"]), (True, None)]
    assert column["gap"]["sensitivity@rare"]["value"] is None
    assert column["p"]["sensitivity@rare"] is None
    assert column["gap"]["sensitivity@often"]["value"] == pytest.approx(0.4)
    assert column["gap"]["specificity@rare"]["value"] == 0.0
    worst = worst_subgroups(block)["worst_subgroup(sensitivity@rare)"]
    assert (worst["value"], worst["note"]) == (0.5, "Worst of 1 group: View: PA. 1 more could not be judged.")


@pytest.mark.parametrize(
    ("name", "values", "worst"),
    [
        ("hd95@whole_tumour", (4.0, 9.0), 9.0),
        ("mean_hd95", (4.0, 9.0), 9.0),
        ("dice@whole_tumour", (0.9, 0.7), 0.7),
        ("mean_dice", (0.9, 0.7), 0.7),
        ("average_surface_distance@core", (1.0, 3.0), 3.0),
        ("volume_difference@core", (0.5, -6.0), -6.0),
        ("mean_relative_volume_difference", (0.02, -0.4), -0.4),
    ],
)
def test_the_worst_group_of_a_measure_of_masks(name, values, worst):
    groups = [
        {"group": g, "judged": True, "measures": {name: {"value": v, "lower": v - 0.1, "upper": v + 0.1}}}
        for g, v in zip("ab", values, strict=True)
    ]
    block = {"measures": [name], "columns": [{"label": "Site", "groups": groups}]}
    assert worst_subgroups(block)[f"worst_subgroup({name})"]["value"] == worst


def test_what_is_counted_in_a_group_has_the_name_that_the_study_gives_it():
    block = audit(
        {"sex": (np.repeat(["F", "M"], 20), "Sex", ["F", "M"])},
        lambda rows: {"dice": {"name": "dice", "value": 0.8, "lower": 0.7, "upper": 0.9, "n": int(rows.sum())}},
        names=["dice"],
        primary="dice",
        events=np.arange(40) % 20 < 5,
        min_events=8,
        min_nonevents=0,
        called=("scan with a region", "scans with a region"),
    )
    assert [g["why"] for g in block["columns"][0]["groups"]] == ["5 scans with a region; at least 8 are needed."] * 2
    assert "Groups with fewer than 8 scans with a region are not judged" in block["note"]
    assert "event" not in block["note"]
