"""The whole evaluation: its contract, its agreement with the single measures, and what it does with hard rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.core.evaluation import Measure
from aimed.metrics.accuracy import brier, log_loss, scaled_brier
from aimed.metrics.calibration_binary import calibration_errors, calibration_intercept, calibration_slope, oe
from aimed.metrics.calibration_survival import calibration_errors_at, calibration_slope_at, oe_at
from aimed.metrics.concordance import harrell_c, uno_c
from aimed.metrics.discrimination import auroc, average_precision
from aimed.metrics.evaluate import evaluate_binary, evaluate_survival, measures_binary, measures_survival
from aimed.metrics.nonparametric import kaplan_meier
from aimed.metrics.prepared_binary import MEASURES
from aimed.metrics.survival_accuracy import brier_survival, dynamic_auc, integrated_brier, scaled_brier_survival
from aimed.metrics.utility import net_benefit, net_benefit_survival


def auc_at(event, time, score, horizon):
    return float(dynamic_auc(event, time, score, [horizon]))


def brier_at(event, time, risk, horizon):
    return float(brier_survival(event, time, (1 - np.asarray(risk))[:, None], [horizon]))


def scaled_brier_at(event, time, risk, horizon):
    return float(scaled_brier_survival(event, time, (1 - np.asarray(risk))[:, None], [horizon]))


GRID = np.arange(0, 3651, 73, dtype=float)
HORIZONS = [365.0, 1825.0]


def binary_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(-1, 1.2, n)
    risk = 1 / (1 + np.exp(-x))
    return (rng.random(n) < risk).astype(int), risk, rng.integers(0, n // 2, n)


def survival_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    rate = np.exp(x) / 2500
    death, left = np.ceil(rng.exponential(1 / rate)), np.ceil(rng.uniform(200, 3650, n))
    return death <= left, np.minimum(death, left), x, np.exp(-rate[:, None] * GRID), rng.integers(0, n // 2, n)


def evaluate(rows, **more):
    event, time, score, curves, _ = rows
    options = {"times": GRID, "horizons": HORIZONS, "draws": 40, "chosen": 0.2} | more
    return evaluate_survival(event, time, score=score, survival=curves, **options)


def every_measure(node):
    if isinstance(node, dict):
        if {"name", "value", "lower", "upper"} <= node.keys():
            yield node
        else:
            for child in node.values():
                yield from every_measure(child)
    elif isinstance(node, list):
        for child in node:
            yield from every_measure(child)


def every_list(node):
    if isinstance(node, dict):
        for child in node.values():
            yield from every_list(child)
    elif isinstance(node, list):
        yield node
        for child in node:
            yield from every_list(child)


@pytest.fixture(scope="module")
def blocks():
    y, risk, patient = binary_rows()
    rows = survival_rows()
    flat = {"score": np.zeros(400), "survival": np.tile(np.exp(-GRID / 2500), (400, 1))}
    return {
        "binary": evaluate_binary(
            y, risk, patient=patient, baselines={"same": np.full(400, 0.3)}, chosen=0.2, draws=40
        ),
        "survival": evaluate(rows, patient=rows[4], baselines={"kaplan_meier": flat}),
    }


@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_a_block_is_json_with_whole_measures_and_short_curves(blocks, kind):
    block = blocks[kind]
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    for record in every_measure(block):
        measure = Measure.from_dict(record)
        assert measure.to_dict() == record
        if measure.value is None:
            assert measure.note
        elif measure.lower is not None:
            assert measure.lower <= measure.upper
            assert measure.method
    assert max(len(v) for v in every_list(block["curves"])) <= 101
    assert block["kind"] == kind
    assert block["without_prediction"] == 0
    assert block["patients"] < block["n"] == 400
    assert "patients with all their rows" in block["interval_method"]


def test_binary_measures_equal_the_single_functions(blocks):
    y, risk, _ = binary_rows()
    errors = calibration_errors(y, risk)
    expected = {
        "auroc": auroc(y, risk),
        "auprc": average_precision(y, risk),
        "brier": brier(y, risk),
        "scaled_brier": scaled_brier(y, risk),
        "log_loss": log_loss(y, risk),
        "calibration_intercept": calibration_intercept(y, risk),
        "calibration_slope": calibration_slope(y, risk),
        "oe": oe(y, risk),
        "ici": errors.ici,
        "e50": errors.e50,
        "e90": errors.e90,
        "net_benefit": net_benefit(y, risk, 0.2),
    }
    found = {name: m["value"] for name, m in blocks["binary"]["measures"].items()}
    assert found == pytest.approx(expected, abs=1e-9)
    assert tuple(found) == MEASURES


def test_survival_measures_equal_the_single_functions(blocks):
    event, time, score, curves, _ = survival_rows()
    found = {name: m["value"] for name, m in blocks["survival"]["measures"].items()}
    inside = (GRID > 0) & (GRID <= 1825)
    expected = {
        "harrell_c": harrell_c(event, time, score),
        "uno_c": uno_c(event, time, score, 1825.0),
        "ibs": integrated_brier(event, time, curves[:, inside], GRID[inside]),
    }
    for h in HORIZONS:
        risk = 1 - curves[:, np.searchsorted(GRID, h)]
        errors = calibration_errors_at(event, time, risk, h)
        expected |= {
            f"auc@{h:g}": auc_at(event, time, risk, h),
            f"brier@{h:g}": brier_at(event, time, risk, h),
            f"scaled_brier@{h:g}": scaled_brier_at(event, time, risk, h),
            f"oe@{h:g}": oe_at(event, time, risk, h),
            f"calibration_slope@{h:g}": calibration_slope_at(event, time, risk),
            f"ici@{h:g}": errors.ici,
            f"e50@{h:g}": errors.e50,
            f"e90@{h:g}": errors.e90,
            f"net_benefit@{h:g}": net_benefit_survival(event, time, risk, h, 0.2),
        }
    assert found == pytest.approx(expected, abs=1e-9)


def test_curves_over_time_pass_through_the_measures(blocks):
    block = blocks["survival"]
    over = block["curves"]["over_time"]
    at = over["times"].index(365.0)
    assert over["auc"][at] == pytest.approx(block["measures"]["auc@365"]["value"])
    assert over["brier"][at] == pytest.approx(block["measures"]["brier@365"]["value"])
    scaled = 1 - over["brier"][at] / over["brier_null"][at]
    assert scaled == pytest.approx(block["measures"]["scaled_brier@365"]["value"])


def test_the_decision_curve_and_the_table_pass_through_the_net_benefit(blocks):
    for block, key in ((blocks["binary"], None), (blocks["survival"], "365")):
        name = "net_benefit" if key is None else f"net_benefit@{key}"
        curve = block["curves"]["decision"] if key is None else block["curves"]["decision"][key]
        rows = block["thresholds"] if key is None else block["thresholds"][key]
        value = block["measures"][name]["value"]
        assert curve["model"][curve["threshold"].index(0.2)] == pytest.approx(value)
        (row,) = [r for r in rows if r["chosen"]]
        assert row["net_benefit"]["value"] == pytest.approx(value)
        n = row["tp"] + row["fp"] + row["fn"] + row["tn"]
        assert n == pytest.approx(block["n"])
        assert (row["tp"] - row["fp"] * 0.25) / n == pytest.approx(value)
        assert row["sensitivity"]["value"] == pytest.approx(row["tp"] / (row["tp"] + row["fn"]))


def test_risk_groups_separate_and_count_everybody(blocks):
    groups = blocks["survival"]["curves"]["risk_groups"]
    assert sum(g["n"] for g in groups["groups"]) == 400
    assert sum(counts[0] for counts in groups["at_risk"]["counts"].values()) == 400
    middle = len(groups["times"]) // 2
    at_middle = [g["survival"][middle] for g in groups["groups"]]
    assert at_middle == sorted(at_middle, reverse=True)
    for g in groups["groups"]:
        assert len(g["survival"]) == len(g["predicted"]) == len(groups["times"])
    ticks = groups["at_risk"]["times"]
    lowest = groups["groups"][0]["label"]
    assert len(ticks) == len(groups["at_risk"]["counts"][lowest])


def test_a_constant_score_is_half_and_its_calibration_slope_is_not_estimable(blocks):
    baseline = blocks["survival"]["baselines"]["kaplan_meier"]
    assert baseline["harrell_c"]["value"] == baseline["uno_c"]["value"] == 0.5
    assert baseline["calibration_slope@365"]["value"] is None
    assert baseline["calibration_slope@365"]["note"] == "all risks are equal"
    difference = blocks["survival"]["differences"]["kaplan_meier"]
    model = blocks["survival"]["measures"]
    assert difference["harrell_c"]["value"] == pytest.approx(model["harrell_c"]["value"] - 0.5)
    assert difference["harrell_c"]["against"] == "kaplan_meier"
    assert set(difference) == {
        "harrell_c",
        "uno_c",
        "ibs",
        *(f"{m}@{h:g}" for m in ("auc", "brier", "net_benefit") for h in HORIZONS),
    }


def test_differences_are_paired():
    y, risk, patient = binary_rows()
    block = evaluate_binary(y, risk, patient=patient, baselines={"itself": risk.copy()}, draws=40)
    for measure in block["differences"]["itself"].values():
        assert (measure["value"], measure["lower"], measure["upper"]) == (0, None, None)
        assert measure["note"] == "no interval: the same value in all resamples"
    rows = survival_rows()
    block = evaluate(rows, baselines={"itself": {"score": rows[2].copy(), "survival": rows[3].copy()}})
    for measure in block["differences"]["itself"].values():
        assert (measure["value"], measure["lower"], measure["upper"]) == (0, None, None)


def test_results_repeat_bit_for_bit_and_follow_the_seed():
    y, risk, patient = binary_rows()
    first, again, other = (evaluate_binary(y, risk, patient=patient, draws=30, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first["measures"]["auroc"]["lower"] != other["measures"]["auroc"]["lower"]
    rows = survival_rows(200)
    assert evaluate(rows, draws=10) == evaluate(rows, draws=10)


def test_the_order_of_rows_does_not_move_an_estimate():
    event, time, score, curves, _ = survival_rows(200)
    mixed = np.random.default_rng(0).permutation(200)
    first = evaluate((event, time, score, curves, None), draws=0)["measures"]
    second = evaluate((event[mixed], time[mixed], score[mixed], curves[mixed], None), draws=0)["measures"]
    for name, measure in first.items():
        assert second[name]["value"] == pytest.approx(measure["value"], abs=1e-9), name
        assert measure["lower"] is None


def test_inputs_stay_as_they_were_and_progress_is_told():
    y, risk, patient = binary_rows()
    kept = y.copy(), risk.copy()
    shares = []
    evaluate_binary(y, risk, patient=patient, draws=5, progress=shares.append)
    assert (y == kept[0]).all()
    assert (risk == kept[1]).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_rows_without_a_prediction_are_left_out_and_counted():
    y, risk, patient = binary_rows()
    lost = risk.copy()
    lost[:50] = np.nan
    block = evaluate_binary(y, lost, patient=patient, draws=10)
    assert (block["n"], block["without_prediction"]) == (350, 50)
    assert block["measures"]["auroc"]["value"] == pytest.approx(auroc(y[50:], risk[50:]))
    event, time, score, curves, _ = survival_rows()
    curves = curves.copy()
    curves[:30] = np.nan
    block = evaluate((event, time, score, curves, None), draws=5)
    assert (block["n"], block["without_prediction"]) == (370, 30)
    assert block["measures"]["harrell_c"]["value"] == pytest.approx(harrell_c(event[30:], time[30:], score[30:]))


def test_a_baseline_with_missing_predictions_is_compared_on_the_rows_both_cover():
    y, risk, _ = binary_rows()
    other = np.clip(risk * 0.8, 0, 1)
    other[:100] = np.nan
    block = evaluate_binary(y, risk, baselines={"simple": other}, draws=20)
    assert block["baselines"]["simple"]["brier"]["n"] == 300
    assert block["baselines"]["simple"]["brier"]["value"] == pytest.approx(brier(y[100:], other[100:]))
    gap = brier(y[100:], risk[100:]) - brier(y[100:], other[100:])
    assert block["differences"]["simple"]["brier"]["value"] == pytest.approx(gap)
    event, time, score, curves, _ = survival_rows()
    weak = {"score": np.where(np.arange(400) < 100, np.nan, -score), "survival": curves}
    block = evaluate((event, time, score, curves, None), baselines={"weak": weak}, draws=5)
    own = slice(100, None)
    gap = harrell_c(event[own], time[own], score[own]) - harrell_c(event[own], time[own], -score[own])
    assert block["differences"]["weak"]["harrell_c"]["value"] == pytest.approx(gap)
    assert block["differences"]["weak"]["harrell_c"]["n"] == 300


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_gives_notes_and_no_error(outcome):
    block = evaluate_binary(np.full(30, outcome), np.linspace(0.1, 0.9, 30), draws=10)
    json.dumps(block, allow_nan=False)
    assert block["measures"]["auroc"]["value"] is None
    assert block["measures"]["auroc"]["note"] == "only one outcome class is present"
    assert block["measures"]["brier"]["value"] is not None
    rows = survival_rows(60)
    block = evaluate((np.full(60, bool(outcome)), *rows[1:]), draws=5)
    json.dumps(block, allow_nan=False)
    assert (block["measures"]["harrell_c"]["value"] is None) == (outcome == 0)


def test_a_horizon_beyond_follow_up_gives_notes_and_no_error():
    event, time, score, curves, _ = survival_rows(100)
    block = evaluate((event & (time < 800), np.minimum(time, 800), score, curves, None), draws=5)
    json.dumps(block, allow_nan=False)
    for name in ("auc", "brier", "scaled_brier", "oe", "ici", "net_benefit"):
        assert block["measures"][f"{name}@1825"]["value"] is None, name
        assert block["measures"][f"{name}@1825"]["note"], name
        assert block["measures"][f"{name}@365"]["value"] is not None, name


def test_wilson_is_used_only_when_each_patient_has_one_row():
    y, risk, patient = binary_rows()
    one = evaluate_binary(y, risk, draws=20)["thresholds"][0]
    many = evaluate_binary(y, risk, patient=patient, draws=20)["thresholds"][0]
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert one[name]["method"] == "Wilson score interval"
        certain = many[name]["value"] in (0.0, 1.0)
        assert many[name]["method"].startswith("Wilson" if certain else "percentile bootstrap")
        assert one[name]["value"] == many[name]["value"]


def test_rows_of_one_patient_widen_the_interval():
    y, risk, _ = binary_rows(300)
    four = np.repeat(np.arange(300), 4)
    apart = evaluate_binary(y[four], risk[four], draws=200)["measures"]["auroc"]
    together = evaluate_binary(y[four], risk[four], patient=four, draws=200)["measures"]["auroc"]
    assert together["value"] == pytest.approx(apart["value"])
    assert together["upper"] - together["lower"] > 1.5 * (apart["upper"] - apart["lower"])


def test_many_rows_lower_the_draws_and_say_so(monkeypatch):
    monkeypatch.setattr("aimed.metrics.evaluate._MANY_ROWS", 300)
    monkeypatch.setattr("aimed.metrics.evaluate._MANY_DRAWS", 10)
    y, risk, _ = binary_rows()
    block = evaluate_binary(y, risk, draws=20)
    assert block["draws"] == 10
    assert "lowered from 20" in block["interval_method"]


def test_an_interval_covers_the_right_value_about_as_often_as_it_says():
    hits = dict.fromkeys(("oe", "calibration_slope", "calibration_intercept"), 0)
    right = {"oe": 1, "calibration_slope": 1, "calibration_intercept": 0}
    for seed in range(80):
        y, risk, _ = binary_rows(300, seed)
        found = measures_binary(y, risk, names=list(hits), draws=150, seed=seed)
        for name in hits:
            hits[name] += found[name]["lower"] <= right[name] <= found[name]["upper"]
    assert all(0.86 <= h / 80 <= 1 for h in hits.values()), hits


def test_small_groups_have_notes_instead_of_errors():
    assert measures_binary([], [], names=["auroc"])["auroc"]["note"] == "no rows"
    assert measures_binary([1], [np.nan], names=["auroc"])["auroc"]["note"] == "no row has a prediction"
    assert measures_binary([0, 1], [0.2, 0.7], names=["nonsense"], draws=5)["nonsense"]["value"] is None
    lone = measures_binary([1], [0.5], names=list(MEASURES), draws=5, threshold=0.2)
    assert lone["net_benefit"]["value"] == 1
    assert lone["calibration_slope"]["value"] is None
    one = {"score": [1.0], "survival": [[0.5]], "times": [2.0], "horizons": [2.0]}
    names = ["harrell_c", "uno_c", "ibs", "auc@2", "brier@2", "oe@2", "ici@2", "calibration_slope@2", "net_benefit@2"]
    for event, time in ((1, 1), (0, 1), (0, 3), (1, 3)):
        found = measures_survival([event], [time], **one, names=names, draws=5)
        assert list(found) == names
        assert found["harrell_c"]["value"] is None
    assert measures_survival([], [], score=[], survival=[], times=[2], horizons=[2])["harrell_c"]["note"] == "no rows"


def test_a_measure_seldom_estimable_has_a_value_without_an_interval():
    y = np.zeros(40, dtype=int)
    y[0] = 1
    found = measures_binary(y, np.linspace(0.9, 0.1, 40), names=["auprc", "auroc"], draws=200)
    assert found["auprc"]["value"] == 1
    assert found["auprc"]["lower"] is None
    assert "not estimable in" in found["auprc"]["note"]
    assert found["auroc"]["lower"] is None
    assert found["auroc"]["note"] == "no interval: the same value in all resamples"


def test_measures_of_a_group_equal_the_whole_evaluation():
    y, risk, patient = binary_rows()
    whole = evaluate_binary(y, risk, patient=patient, chosen=0.2, draws=30, seed=4)["measures"]
    part = measures_binary(y, risk, patient, ["auroc", "oe", "net_benefit"], 30, 4, threshold=0.2)
    assert all(part[name][k] == whole[name][k] for name in part for k in ("value", "lower", "upper", "n", "events"))
    event, time, score, curves, who = survival_rows()
    whole = evaluate((event, time, score, curves, who), patient=who, seed=4)["measures"]
    part = measures_survival(
        event,
        time,
        score=score,
        survival=curves,
        times=GRID,
        horizons=HORIZONS,
        patient=who,
        threshold=0.2,
        names=["uno_c", "ibs", "oe@365", "net_benefit@1825"],
        draws=40,
        seed=4,
    )
    assert all(part[name][k] == whole[name][k] for name in part for k in ("value", "lower", "upper", "n", "events"))


@pytest.mark.parametrize(
    "change",
    [
        {"times": GRID[::-1]},
        {"horizons": [366.0]},
        {"thresholds": [0.0]},
        {"baselines": {"x": {"score": np.zeros(3), "survival": np.zeros((3, 2))}}},
    ],
)
def test_unfit_arguments_are_refused(change):
    with pytest.raises(DataError):
        evaluate(survival_rows(50), **change)


def test_unfit_risks_are_refused():
    with pytest.raises(DataError):
        evaluate_binary([0, 1], [0.1, 1.1])
    with pytest.raises(DataError):
        evaluate_binary([0, 1], [np.nan, np.nan])
    with pytest.raises(DataError):
        evaluate_binary([0, 1], [0.1, 0.2], baselines={"b": [0.1]})


def test_groups_of_the_plot_equal_kaplan_meier():
    rows = survival_rows()
    block = evaluate(rows, draws=2)
    event, time, _, curves, _ = rows
    risk = 1 - curves[:, np.searchsorted(GRID, 1825)]
    top = risk > np.quantile(risk, 0.75)
    expected = kaplan_meier(event[top], time[top]).at(730.0)
    groups = block["curves"]["risk_groups"]
    assert groups["groups"][-1]["survival"][groups["times"].index(730.0)] == pytest.approx(float(expected))


def test_the_interval_of_a_distance_holds_its_estimate():
    rng = np.random.default_rng(4)
    risk = rng.uniform(0.05, 0.95, 300)
    y = (rng.random(300) < risk).astype(int)  # perfectly calibrated: resampling can only add distance
    block = evaluate_binary(y, risk, draws=100, seed=1)
    for name in ("ici", "e50", "e90"):
        m = block["measures"][name]
        assert m["lower"] <= m["value"] <= m["upper"]
