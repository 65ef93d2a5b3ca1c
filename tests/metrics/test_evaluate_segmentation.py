"""Tables of masks and their evaluation: the numbers of the single metrics, intervals that cover, cases counted."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest

import aimed.metrics as room
from aimed.core.errors import DataError, UnknownNameError
from aimed.metrics.evaluate_segmentation import (
    MASK_MEASURES,
    MORE_MASK_MEASURES,
    evaluate_segmentation,
    median_interval,
    segmentation_table,
)

CLASSES = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": 3}
SPACING = (2.0, 1.0, 1.5)
BOUNDARY = ("hausdorff", "hd95", "average_surface_distance", "mean_average_surface_distance")


def case(seed, shape=(8, 14, 12), enhancing=True):
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    maps = []
    for jitter in (0, 1):
        middle = np.array([4, 7, 6]) + jitter * rng.normal(0, 0.8, 3)
        r = np.sqrt(((z - middle[0]) * 1.5) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2)
        maps.append(np.select([(r < 1.5) & enhancing, r < 3, r < 5], [3, 2, 1], 0))
    return maps


def tables(n=30, seed=0, **options):
    return [segmentation_table(*case(seed + k), CLASSES, SPACING, **options) for k in range(n)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("definition", ["voxel", "pooled", "surfel"])
def test_a_row_holds_what_the_single_metrics_say(seed, definition):
    truth, found = case(seed, enhancing=seed < 2)
    options = {"definition": definition, "empty": "omit"}
    rows = segmentation_table(
        truth, found, CLASSES, SPACING, measures=(*MASK_MEASURES, *MORE_MASK_MEASURES), tolerance=1.5,
        lesion_options={"min_volume": 0.0, "dilation": 1}, **options,
    )  # fmt: skip
    for row, labels in zip(rows, CLASSES.values(), strict=True):
        a, b = np.isin(truth, labels), np.isin(found, labels)
        for name in (*MASK_MEASURES, *MORE_MASK_MEASURES):
            if name in ("lesion_dice", "lesion_hd95"):
                score = room.lesion_dice(a, b, SPACING, min_volume=0.0, dilation=1, empty="omit")
                expected = float(score) if name == "lesion_dice" else score.hd95
            elif name == "volume_difference":
                expected = float(room.volume_difference(a, b, SPACING))
            elif name == "surface_dice":
                expected = float(room.surface_dice(a, b, SPACING, 1.5, **options))
            elif name in BOUNDARY:
                expected = float(getattr(room, name)(a, b, SPACING, **options))
            else:
                expected = float(getattr(room, name)(a, b, empty="omit"))
            if math.isnan(expected):
                assert row[name] is None, name
            else:
                assert row[name] == pytest.approx(expected, rel=1e-12), name
        assert row["reference_voxels"] == a.sum()
        assert row["prediction_ml"] == pytest.approx(b.sum() * 0.003)
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == a.size
    assert json.loads(json.dumps(rows)) == rows
    assert segmentation_table(truth, found, CLASSES, SPACING, threads=1) == segmentation_table(
        truth, found, CLASSES, SPACING, threads=4
    )


def test_means_medians_and_counts():
    cases = tables(24)
    truth, found = case(99, enhancing=False)
    cases.append(segmentation_table(truth, found, CLASSES, SPACING))
    truth, found = case(98)
    cases.append(segmentation_table(truth, np.where(found == 3, 2, found), CLASSES, SPACING))
    cases.append(segmentation_table(np.where(truth == 3, 2, truth), found, CLASSES, SPACING))
    block = evaluate_segmentation(cases, draws=200)
    enhancing = block["classes"]["enhancing"]
    assert (enhancing["both_empty"], enhancing["prediction_empty"], enhancing["reference_empty"]) == (1, 1, 1)
    values = np.array([table[2]["dice"] for table in cases])
    one = enhancing["measures"]["dice"]
    assert one["value"] == pytest.approx(values.mean())
    assert one["n"] == 27
    assert one["lower"] < one["value"] < one["upper"]
    assert "fewer than 50" in one["note"]
    assert enhancing["medians"]["dice"]["value"] == pytest.approx(np.median(values))
    assert enhancing["quartiles"]["dice"] == pytest.approx(np.quantile(values, [0.25, 0.75]))
    # A case without the region, drawn or not, has no sensitivity.
    assert enhancing["measures"]["mask_sensitivity"]["n"] == 25
    means = np.mean([[row["hd95"] for row in table] for table in cases])
    assert block["mean"]["hd95"]["value"] == pytest.approx(means)
    assert block["classes"]["whole"]["missed"] == 0
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    again = evaluate_segmentation(cases, draws=200)
    assert again == block


def test_an_omitted_case_is_left_out_of_means_and_counted():
    cases = tables(8, empty="omit")
    truth, found = case(50, enhancing=False)
    cases.append(segmentation_table(truth, found, CLASSES, SPACING, empty="omit"))
    block = evaluate_segmentation(cases, draws=50)
    one = block["classes"]["enhancing"]
    assert one["both_empty"] == 1
    assert one["measures"]["dice"]["n"] == one["medians"]["dice"]["n"] == 8
    known = [table[2]["dice"] for table in cases if table[2]["dice"] is not None]
    assert one["measures"]["dice"]["value"] == pytest.approx(np.mean(known))
    alone = evaluate_segmentation(cases[-1:], draws=20)
    assert alone["classes"]["enhancing"]["measures"]["dice"]["value"] is None
    assert alone["classes"]["enhancing"]["measures"]["dice"]["note"] == "no case has a value"
    assert alone["classes"]["enhancing"]["quartiles"]["dice"] == [None, None]


def test_differences_to_a_baseline_are_paired():
    cases = tables(30)
    worse = [
        segmentation_table(truth, np.roll(found, 2, axis=1), CLASSES, SPACING)
        for truth, found in (case(k) for k in range(30))
    ]
    block = evaluate_segmentation(cases, baselines={"shifted": worse}, draws=200)
    one = block["differences"]["shifted"]["whole"]["dice"]
    expected = np.mean([t[0]["dice"] - w[0]["dice"] for t, w in zip(cases, worse, strict=True)])
    assert one["value"] == pytest.approx(expected)
    assert one["lower"] > 0
    assert one["against"] == "shifted"
    assert block["baselines"]["shifted"]["whole"]["dice"]["value"] == pytest.approx(
        np.mean([w[0]["dice"] for w in worse])
    )
    same = evaluate_segmentation(cases, baselines={"itself": cases}, draws=50)
    assert same["differences"]["itself"]["core"]["hd95"]["value"] == 0


def test_copies_of_cases_within_patients_do_not_narrow_intervals():
    cases = tables(25)
    once = evaluate_segmentation(cases, draws=300)["classes"]["core"]
    twice = evaluate_segmentation(cases * 2, patient=np.tile(np.arange(25), 2), draws=300)
    assert twice["patients"] == 25
    for key in ("lower", "upper"):
        assert twice["classes"]["core"]["measures"]["dice"][key] == pytest.approx(once["measures"]["dice"][key])
    wide = twice["classes"]["core"]["medians"]["dice"]
    narrow = evaluate_segmentation(cases * 2, draws=20)["classes"]["core"]["medians"]["dice"]
    assert wide["upper"] - wide["lower"] > narrow["upper"] - narrow["lower"]


@pytest.mark.parametrize("n", [6, 9, 12])
def test_the_interval_of_a_median_covers_by_counting(n):
    """Ranks l and u cover the median in as many of the 2^n patterns of values above and below it."""
    _, low, high, _ = median_interval(np.arange(1.0, n + 1))
    below, above = int(low), int(high)
    covered = 0
    for k in range(n + 1):
        patterns = len(list(combinations(range(n), k)))
        covered += patterns * (below <= k < above)
    assert covered / 2**n >= 0.95
    narrower = sum(len(list(combinations(range(n), k))) for k in range(below + 1, above - 1))
    assert narrower / 2**n < 0.95


def test_the_interval_of_a_median_with_patients_covers():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        effect = rng.normal(0, 1, 40)
        values = (effect[:, None] + rng.normal(0, 0.5, (40, 3))).ravel()
        _, low, high, how = median_interval(values, np.repeat(np.arange(40), 3))
        assert how.startswith("Woodruff")
        held += low <= 0 <= high
    assert 0.9 <= held / 200 <= 0.99
    assert math.isnan(median_interval([1.0, 2.0, 3.0])[1])
    assert math.isnan(median_interval([1.0, 1.0, 2.0], ["a", "a", "b"])[1])
    with pytest.raises(DataError, match="values are missing"):
        median_interval([1.0, np.nan])


def test_what_cannot_be_evaluated_is_refused():
    truth, found = case(0)
    with pytest.raises(UnknownNameError, match="'dice'"):
        segmentation_table(truth, found, CLASSES, SPACING, measures=("dicee",))
    with pytest.raises(DataError, match="definition"):
        segmentation_table(truth, found, CLASSES, SPACING, definition="mesh")
    with pytest.raises(DataError, match="tolerance"):
        segmentation_table(truth, found, CLASSES, SPACING, tolerance=-1)
    with pytest.raises(DataError, match="no class"):
        segmentation_table(truth, found, {"core": (2, 3)}, SPACING)
    with pytest.raises(DataError, match="no case"):
        evaluate_segmentation([])
    with pytest.raises(DataError, match="table 2 of tables has other classes"):
        evaluate_segmentation([*tables(1), segmentation_table(truth, found, {"whole": (1, 2, 3)}, SPACING)])
    with pytest.raises(DataError, match="tables differ in definition"):
        evaluate_segmentation([*tables(1), *tables(1, definition="surfel")])
    with pytest.raises(DataError, match="baseline 'b' has another"):
        evaluate_segmentation(tables(2), baselines={"b": tables(2, tolerance=3.0)})
    with pytest.raises(DataError, match="baseline 'b' has other cases"):
        evaluate_segmentation(tables(2), baselines={"b": tables(1)})
    with pytest.raises(DataError, match="level"):
        evaluate_segmentation(tables(2), level=2.0)
