"""The evaluation of outlines: means by hand, paired baselines, few patients, and sub-volumes counted voxel by voxel."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from aimed.core.errors import DataError
from aimed.metrics.evaluate_masks import VOXEL_COUNTS, SubVolumes, evaluate_masks, known_masks, measures_masks
from aimed.metrics.evaluate_segmentation import MASK_MEASURES, evaluate_segmentation, segmentation_table

CLASSES = {"Whole tumour": (1, 2), "core": 2}
KEYS = ["Whole_tumour", "core"]


def maps(seed, core=True):
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[:7, :10, :10]
    out = []
    for jitter in (0, 1):
        middle = np.array([3, 5, 5]) + jitter * rng.normal(0, 0.7, 3)
        r = np.sqrt((z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2)
        out.append(np.select([(r < 1.6) & core, r < 3.4], [2, 1], 0))
    return out


def tables(n=24, seed=0, without_core=0, **options):
    return [segmentation_table(*maps(seed + k, k >= without_core), CLASSES, (2.0, 1, 1), **options) for k in range(n)]


def empty_tables(n=24):
    return [
        segmentation_table(maps(k)[0], 0 * maps(k)[0], CLASSES, (2.0, 1, 1), measures=VOXEL_COUNTS) for k in range(n)
    ]


def test_means_are_those_of_the_cases_and_of_the_regions():
    cases = tables(30)
    block = evaluate_masks(cases, keys=KEYS, labels=["whole", "core"], draws=200)
    for place, key in enumerate(KEYS):
        for name in MASK_MEASURES:
            expected = np.mean([case[place][name] for case in cases])
            assert block["measures"][f"{name}@{key}"]["value"] == pytest.approx(expected)
    for name in MASK_MEASURES:
        both = [block["measures"][f"{name}@{key}"]["value"] for key in KEYS]
        assert block["measures"][f"mean_{name}"]["value"] == pytest.approx(np.mean(both))
    assert set(block["measures"]) == set(known_masks(KEYS))
    assert block["labels"] == {"Whole_tumour": "whole", "core": "core"}
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert block["cases"][3]["regions"]["core"]["dice"] == cases[3][1]["dice"]
    assert [case["case"] for case in block["cases"]] == list(range(1, 31))


def test_many_patients_have_the_interval_of_a_bootstrap():
    cases = tables(120)
    patient = np.arange(120) // 2
    block = evaluate_masks(cases, keys=KEYS, patient=patient, draws=2000)
    dice = np.array([[row["dice"] for row in case] for case in cases])
    by_patient = dice.reshape(60, 2, 2).mean(axis=1)
    drawn = by_patient[np.random.default_rng(7).integers(0, 60, (20_000, 60))].mean(axis=1)
    for name, values in (("dice@core", drawn[:, 1]), ("mean_dice", drawn.mean(axis=1))):
        found = block["measures"][name]
        assert [found["lower"], found["upper"]] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.003)
        assert found["n"] == 120
        assert found["note"] == ""
    assert block["patients"] == 60
    # The evaluation of the metrics room draws the same patients.
    other = evaluate_segmentation(cases, patient=patient, draws=2000)["classes"]["core"]["measures"]["dice"]
    assert block["measures"]["dice@core"]["lower"] == pytest.approx(other["lower"])


def test_few_patients_have_the_interval_of_t():
    cases = tables(30)
    block = evaluate_masks(cases, keys=KEYS, patient=np.arange(30) // 2, baselines={"other": tables(30, 500)}, draws=9)
    values = {name: np.array([[row[name] for row in case] for case in cases]) for name in ("dice", "hd95")}
    for name, column in (
        ("dice@core", values["dice"][:, 1]),
        ("mean_dice", values["dice"].mean(axis=1)),
        ("mean_hd95", values["hd95"].mean(axis=1)),
    ):
        by_patient = column.reshape(15, 2).mean(axis=1)
        half = stats.t.ppf(0.975, 14) * stats.sem(by_patient)
        m = by_patient.mean()
        if "dice" in name:
            ends = [1 / (1 + np.exp(-(np.log(m / (1 - m)) + way * half / (m * (1 - m))))) for way in (-1, 1)]
        else:
            ends = [m * np.exp(way * half / m) for way in (-1, 1)]
        found = block["measures"][name]
        assert [found["lower"], found["upper"]] == pytest.approx(ends)
        assert "fewer than 50 patients" in found["note"]
    others = np.array([[row["dice"] for row in case] for case in tables(30, 500)])
    gap = (values["dice"] - others).mean(axis=1).reshape(15, 2).mean(axis=1)
    found = block["differences"]["other"]["mean_dice"]
    ends = stats.t.interval(0.95, 14, gap.mean(), stats.sem(gap))
    assert [found["lower"], found["upper"]] == pytest.approx(ends)


def test_intervals_of_few_patients_cover_skewed_dice():
    rng = np.random.default_rng(0)
    held, runs = 0, 300
    for _ in range(runs):
        dice = np.where(rng.random(10) < 0.08, rng.uniform(0, 0.5, 10), rng.beta(9, 1.6, 10))
        rows = [[{"class": "a", "dice": float(v), "reference_voxels": 1}] for v in dice]
        found = measures_masks(rows, names=["mean_dice"], keys=["a"], draws=1)["mean_dice"]
        held += found["lower"] <= 0.08 * 0.25 + 0.92 * 9 / 10.6 <= found["upper"]
    assert held / runs > 0.87


def test_baselines_are_paired_and_compared_in_what_they_hold():
    block = evaluate_masks(tables(), keys=KEYS, baselines={"nothing": empty_tables()}, draws=200)
    assert set(block["baselines"]["nothing"]) == {f"mean_{m}" for m in VOXEL_COUNTS} | {
        f"{m}@{key}" for m in VOXEL_COUNTS for key in KEYS
    }
    gap, mine = block["differences"]["nothing"]["mean_dice"], block["measures"]["mean_dice"]
    assert gap["against"] == "nothing"
    assert gap["value"] == pytest.approx(mine["value"])
    assert [gap["lower"], gap["upper"]] == pytest.approx([mine["lower"], mine["upper"]], abs=0.01)
    # Against itself nothing differs, and there is no spread to make an interval of.
    same = evaluate_masks(tables(), keys=KEYS, baselines={"itself": tables()}, draws=50)["differences"]["itself"]
    assert same["mean_hd95"]["value"] == 0
    assert same["mean_hd95"]["lower"] is None


def test_a_region_that_few_cases_hold_is_left_out_of_a_mean_and_said():
    block = evaluate_masks(tables(12, without_core=9), keys=KEYS, draws=200)
    assert block["regions"]["core"]["both_empty"] == 9
    omitted = evaluate_masks(tables(12, without_core=9, empty="omit"), keys=KEYS, draws=200)["measures"]
    assert omitted["dice@core"]["n"] == 3
    assert omitted["dice@core"]["lower"] is None
    assert "3 patients, and 5 are needed" in omitted["dice@core"]["note"]
    assert omitted["mean_dice"]["value"] == omitted["dice@Whole_tumour"]["value"]
    assert "mean over 1 of 2 regions; too few cases have a value for core" in omitted["mean_dice"]["note"]
    assert omitted["mean_dice"]["lower"] is not None
    assert omitted["dice@Whole_tumour"]["events"] == 12
    assert omitted["dice@core"]["events"] == 3


def test_few_patients_have_no_interval():
    block = evaluate_masks(tables(12), keys=KEYS, patient=np.arange(12) % 4, draws=100)
    assert all(measure["lower"] is None for measure in block["measures"].values())
    assert "4 patients, and 5 are needed" in block["measures"]["mean_dice"]["note"]


def test_some_measures_of_some_cases():
    cases = tables(20)
    found = measures_masks(cases, names=["mean_dice", "hd95@core", "dice@other", "auroc"], keys=KEYS, draws=100)
    whole = evaluate_masks(cases, keys=KEYS, draws=100)["measures"]
    assert found["mean_dice"] == whole["mean_dice"]
    assert found["hd95@core"] == whole["hd95@core"]
    assert found["dice@other"]["value"] is None
    assert found["auroc"]["note"] == "no such measure here"
    assert measures_masks([], names=["mean_dice"], keys=KEYS)["mean_dice"]["note"] == "no cases"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: {"tables": []}, "no case"),
        (lambda: {"keys": ["core", "Whole_tumour"]}, "other regions"),
        (lambda: {"baselines": {"a": empty_tables(3)}}, "3 cases"),
        (lambda: {"baselines": {"a": tables(tolerance=3.0)}}, "another tolerance"),
        (lambda: {"keys": ["core", "core"]}, "different regions"),
    ],
)
def test_refused(change, words):
    given = {"tables": tables(), "keys": KEYS} | change()
    with pytest.raises(DataError, match=words):
        evaluate_masks(given.pop("tables"), draws=10, **given)


def test_sub_volumes_by_brute_force():
    rng = np.random.default_rng(0)
    truth = rng.random((6, 2, 5, 9, 7)) < 0.08
    found = truth ^ (rng.random(truth.shape) < 0.04)
    truth[:, :, :, :4, :4] = False
    seen = SubVolumes(["a", "b"], size=(4, 4, 4))
    rows = {"a": [], "b": []}
    for case, (one, other) in enumerate(zip(truth, found, strict=True)):
        seen.add(one, other)
        for z in (0, 4):
            for y in (0, 4, 8):
                for x in (0, 4):
                    t, f = (m[:, z : z + 4, y : y + 4, x : x + 4] for m in (one, other))
                    if not t.any():
                        continue
                    for k, key in enumerate(rows):
                        rows[key].append((case, t[k].ravel(), f[k].ravel()))
    patient = np.array([0, 0, 1, 2, 3, 4])
    block = seen.block(patient)
    assert block["n"] == len(rows["a"])
    assert block["scans"] == 6
    assert block["patients"] == 5
    for key, parts in rows.items():
        sensitivity = [(f[t]).mean() for _, t, f in parts if t.any()]
        specificity = [(~f[~t]).mean() for _, t, f in parts]
        dice = [2 * (t & f).sum() / (t.sum() + f.sum()) for _, t, f in parts if (t | f).any()]
        for name, values in (("sensitivity", sensitivity), ("specificity", specificity), ("dice", dice)):
            one = block["regions"][key][name]
            assert one["value"] == pytest.approx(np.mean(values))
            assert one["n"] == len(values)
            assert one["lower"] < one["value"] < one["upper"]
    k = 1
    whole = [2 * (t[k] & f[k]).sum() / (t[k].sum() + f[k].sum()) for t, f in zip(truth, found, strict=True)]
    assert block["whole"]["b"]["dice"]["value"] == pytest.approx(np.mean(whole))


def test_the_toy_of_the_course():
    # C1W3: sensitivity and specificity of eye(2) against [[1, 1], [0, 1]].
    seen = SubVolumes(["a"])
    seen.add(np.array([[[[1, 1], [0, 1]]]], dtype=bool), np.eye(2, dtype=bool)[None, None])
    one = seen.block()["regions"]["a"]
    assert (round(one["sensitivity"]["value"], 4), one["specificity"]["value"]) == (0.6667, 1.0)
    assert one["sensitivity"]["lower"] is None


def test_sub_volumes_without_a_region():
    seen = SubVolumes(["a"])
    seen.add(np.zeros((1, 2, 2, 2), dtype=bool), np.ones((1, 2, 2, 2), dtype=bool))
    block = seen.block()
    assert block["n"] == 0
    assert block["regions"]["a"]["dice"]["value"] is None
    assert block["whole"]["a"]["specificity"]["value"] == 0
    assert not math.isnan(block["whole"]["a"]["dice"]["value"])
    with pytest.raises(DataError):
        seen.add(np.zeros((2, 2, 2, 2), dtype=bool), np.zeros((2, 2, 2, 2), dtype=bool))
    with pytest.raises(DataError):
        SubVolumes(["a"], size=(0, 4, 4))
