"""Labels of reports against a gold standard: counts by hand, scikit-learn's rates, intervals that cover, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, precision_recall_fscore_support

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.report_labels import (
    ASSERTIONS,
    evaluate_report_labels,
    f1_thresholds,
    known_report_labels,
    label_f1,
    measures_report_labels,
)

NAN = np.nan
GOLD = np.array([[1, NAN, 0], [0, 1, NAN], [-1, 1, NAN], [1, 0, NAN], [1, -1, 0], [NAN, NAN, NAN]])
SAID = np.array([[1, NAN, 0], [1, 1, NAN], [-1, 0, NAN], [0, 0, NAN], [NAN, 1, -1], [1, NAN, NAN]])
NAMES = ["edema", "lung mass", "hernia"]


def simulated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = np.array([1.0, 0.0, -1.0, NAN])
    gold = values[rng.choice(4, (n, 4), p=[0.2, 0.3, 0.1, 0.4])]
    wrong = rng.random((n, 4)) < 0.15
    return gold, np.where(wrong, values[rng.integers(0, 4, (n, 4))], gold)


def value(block, name):
    return block["measures"][name]["value"]


def test_counts_by_hand():
    block = evaluate_report_labels(GOLD, SAID, names=NAMES, draws=50)
    assert block["targets"]["edema"]["confusion"] == [[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert block["targets"]["lung_mass"]["gold"] == {"positive": 2, "negative": 1, "uncertain": 1, "not_mentioned": 2}
    assert np.sum(block["confusion"]) == 18
    # Edema: 1 of 3 found, 3 called; lung mass: 1 of 2 found, 2 called.
    assert value(block, "recall@edema") == pytest.approx(1 / 3)
    assert value(block, "precision@edema") == pytest.approx(1 / 3)
    assert value(block, "f1@lung_mass") == pytest.approx(1 / 2)
    assert value(block, "micro_f1") == pytest.approx(2 * 2 / (5 + 5))
    assert value(block, "macro_f1") == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert value(block, "mention_f1@edema") == pytest.approx(2 * 4 / (5 + 5))
    assert value(block, "negation_f1@lung_mass") == pytest.approx(2 / 3)
    assert value(block, "uncertainty_f1@edema") == 1.0
    assert block["measures"]["recall@edema"]["events"] == 3
    assert block["measures"]["uncertainty_recall@edema"]["events"] == 1


def test_a_target_without_positives_is_named_and_left_out_of_the_mean():
    block = evaluate_report_labels(GOLD, SAID, names=NAMES, labels=["Edema", "Lung mass", "Hernia"], draws=50)
    assert block["not_estimable"] == ["Hernia"]
    assert value(block, "f1@hernia") is None
    assert block["measures"]["f1@hernia"]["note"] == "the gold standard has none that is positive"
    assert "mean over 2 of 3 targets" in block["measures"]["macro_f1"]["note"]
    assert "Hernia" in block["measures"]["macro_f1"]["note"]


def test_rates_are_those_of_scikit_learn():
    gold, said = simulated(400)
    block = evaluate_report_labels(gold, said, names=list("abcd"), draws=20)
    kinds = {"": 1.0, "negation_": 0.0, "uncertainty_": -1.0}
    for kind, wanted in kinds.items():
        truth, answer = gold == wanted, said == wanted
        for average in ("micro", "macro"):
            expected = precision_recall_fscore_support(truth, answer, average=average)
            found = [value(block, f"{average}_{kind}{rate}") for rate in ("precision", "recall", "f1")]
            assert found == pytest.approx(expected[:3], rel=1e-12)
    mention = f1_score(~np.isnan(gold), ~np.isnan(said), average=None)
    assert [value(block, f"mention_f1@{key}") for key in "abcd"] == pytest.approx(mention, rel=1e-12)
    kappa = [
        cohen_kappa_score(np.nan_to_num(a, nan=9), np.nan_to_num(b, nan=9)) for a, b in zip(gold.T, said.T, strict=True)
    ]
    assert [value(block, f"kappa@{key}") for key in "abcd"] == pytest.approx(kappa, rel=1e-12)
    assert value(block, "macro_kappa") == pytest.approx(np.mean(kappa), rel=1e-12)


def test_gold_that_knows_certain_positives_only():
    gold = np.array([[1.0, 0.0], [0.0, 1.0], [NAN, 1.0], [1.0, 0.0]])
    said = np.array([[1.0, NAN], [-1.0, 1.0], [1.0, 0.0], [NAN, 1.0]])
    block = evaluate_report_labels(gold, said, names=["a", "b"], gold_coding="certain", draws=20)
    assert list(block["measures"]) == known_report_labels(["a", "b"], "certain")
    assert block["targets"]["a"]["n"] == 3
    assert block["targets"]["a"]["confusion"] == [[1, 0, 0, 1], [0, 0, 1, 0]]
    assert value(block, "micro_f1") == pytest.approx(2 * 2 / (4 + 3))
    known = ~np.isnan(gold[:, 0])
    assert value(block, "kappa@a") == pytest.approx(cohen_kappa_score(gold[known, 0] == 1, said[known, 0] == 1))
    with pytest.raises(DataError, match="1 labels of gold are uncertain"):
        evaluate_report_labels([[-1.0]], [[1.0]], names=["a"], gold_coding="certain")


def test_the_block_is_json_and_has_every_measure():
    gold, said = simulated(60)
    block = evaluate_report_labels(gold, said, names=list("abcd"), draws=30, baselines={"other": gold})
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert list(block["measures"]) == known_report_labels(list("abcd"))
    assert list(block["baselines"]["other"]) == known_report_labels(list("abcd"))
    assert all(record["name"] == name for name, record in block["measures"].items())
    assert block["assertions"] == list(ASSERTIONS)


def test_a_difference_is_paired():
    gold, said = simulated(300)
    block = evaluate_report_labels(gold, said, names=list("abcd"), draws=100, baselines={"same": said, "right": gold})
    same, right = block["differences"]["same"]["micro_f1"], block["differences"]["right"]["micro_f1"]
    assert same["value"] == 0
    assert same["lower"] is None
    assert same["against"] == "same"
    assert right["value"] == pytest.approx(value(block, "micro_f1") - 1)
    assert right["upper"] < 0
    one = block["differences"]["right"]["f1@b"]
    assert one["value"] == pytest.approx(value(block, "f1@b") - 1)
    assert one["lower"] < one["value"] < one["upper"]


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(monkeypatch):
    gold, said = simulated(200)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(evaluate_report_labels(gold, said, names=list("abcd"), draws=60, seed=4))
    assert found[0] == found[1]
    assert found[0] != evaluate_report_labels(gold, said, names=list("abcd"), draws=60, seed=5)


def test_reports_of_a_patient_are_drawn_together():
    gold, said = simulated(150)
    alone = evaluate_report_labels(gold, said, names=list("abcd"), draws=300)["measures"]["micro_f1"]
    twice = [np.concatenate([table] * 4) for table in (gold, said)]
    patient = np.tile(np.arange(150), 4)
    grouped = evaluate_report_labels(*twice, names=list("abcd"), patient=patient, draws=300)["measures"]["micro_f1"]
    assert grouped["value"] == pytest.approx(alone["value"])
    assert grouped["upper"] - grouped["lower"] == pytest.approx(alone["upper"] - alone["lower"], rel=1e-9)


def test_intervals_cover_the_truth():
    names = list("abcd")
    truth = value(evaluate_report_labels(*simulated(60_000, seed=99), names=names, draws=1), "micro_f1")
    inside = quick = 0
    for seed in range(60):
        gold, said = simulated(150, seed)
        record = evaluate_report_labels(gold, said, names=names, draws=120, level=0.9)["measures"]["micro_f1"]
        inside += record["lower"] <= truth <= record["upper"]
        estimate = label_f1(gold, said, level=0.9)
        quick += estimate.lower <= truth <= estimate.upper
        assert estimate.value == pytest.approx(record["value"], rel=1e-12)
    # Of 60 intervals of 90 % 46 to 60 hold the truth in all but 1 of 1000 samples.
    assert 46 <= inside <= 60
    assert 46 <= quick <= 60


def test_the_quick_f1_has_the_error_of_the_bootstrap():
    gold, said = simulated(500)
    for average in ("micro", "macro"):
        estimate = label_f1(gold, said, average=average)
        record = evaluate_report_labels(gold, said, names=list("abcd"), draws=1000)["measures"][f"{average}_f1"]
        assert estimate.value == pytest.approx(record["value"], rel=1e-12)
        assert estimate.se == pytest.approx((record["upper"] - record["lower"]) / 3.92, rel=0.12)
        assert estimate.influence.sum() == pytest.approx(0, abs=1e-9)


def test_a_labeller_that_says_nothing_has_recall_zero_and_no_precision():
    gold = np.array([[1.0], [0.0]])
    block = evaluate_report_labels(gold, np.full((2, 1), NAN), names=["a"], draws=20)
    assert value(block, "recall@a") == 0
    assert value(block, "f1@a") == 0
    assert value(block, "precision@a") is None
    assert block["measures"]["precision@a"]["note"] == "the labeller calls none positive"


def test_full_agreement_has_no_false_precision():
    gold, _ = simulated(40)
    block = evaluate_report_labels(gold, gold, names=list("abcd"), draws=40)
    assert value(block, "micro_f1") == 1 == value(block, "micro_kappa")
    found = block["measures"]
    assert found["micro_kappa"]["lower"] is None
    share = 0.025 ** (1 / (gold == 1).any(axis=1).sum())
    assert found["micro_recall"]["lower"] == pytest.approx(share)
    assert found["micro_f1"]["lower"] == pytest.approx(2 * share / (1 + share))
    assert found["micro_f1"]["upper"] == 1
    assert found["f1@a"]["lower"] < found["micro_f1"]["lower"]
    assert 0 < found["macro_f1"]["lower"] < found["f1@a"]["lower"]
    assert "exact" in found["micro_f1"]["note"]


@pytest.mark.parametrize("right", [True, False])
def test_a_rate_at_an_end_has_the_limits_of_so_many_patients(right):
    gold = np.array([[1.0], [1.0], [1.0], [0.0]] * 5)
    said = gold if right else 1 - gold
    patient = np.arange(20) // 4
    whole = evaluate_report_labels(gold, said, names=["a"], patient=patient, gold_coding="certain", draws=40)
    quick = label_f1(gold, said, patient=patient, gold_coding="certain")
    end = 0.025 ** (1 / 5)
    limits = (2 * end / (1 + end), 1.0) if right else (0.0, 2 * (1 - end) / (2 - end))
    for name in ("micro_f1", "f1@a", "macro_f1"):
        one = whole["measures"][name]
        assert (one["lower"], one["upper"]) == pytest.approx(limits), name
        assert one["method"].startswith("Clopper-Pearson")
    assert (quick.lower, quick.upper) == pytest.approx(limits)
    assert "5 patients" in quick.note


def test_limits_at_an_end_cover_the_truth():
    rng = np.random.default_rng(8)
    truth = 2 * 0.97 / (2 * 0.97 + 0.03)
    covered = []
    for _ in range(400):
        gold = np.ones((30, 1))
        said = (rng.random((30, 1)) < 0.97).astype(float)
        found = label_f1(gold, said, gold_coding="certain")
        covered.append(found.lower <= truth <= found.upper)
    assert np.mean(covered) > 0.93


def test_some_measures_without_the_whole_block():
    found = measures_report_labels(GOLD, SAID, names=["micro_f1", "nonsense", "f1@zzz"], findings=NAMES, draws=20)
    assert found["micro_f1"]["value"] == pytest.approx(0.4)
    assert found["nonsense"]["note"] == "no such measure here"
    assert found["f1@zzz"]["note"] == "no such finding here"
    empty = measures_report_labels(np.zeros((0, 1)), np.zeros((0, 1)), names=["micro_f1"], findings=["a"])
    assert empty["micro_f1"]["note"] == "no rows"


@pytest.mark.parametrize(
    ("gold", "said", "names", "why"),
    [
        ([[2.0]], [[1.0]], ["a"], "1 of 1 labels of gold are none of"),
        ([[1.0]], [[0.123456]], ["a"], "labels of said are none of"),
        ([[np.inf]], [[1.0]], ["a"], "labels of gold are none of"),
        ([["yes"]], [[1.0]], ["a"], "gold holds what is no number"),
        ([[1.0, 0.0]], [[1.0]], ["a"], "said has shape"),
        ([[1.0, 0.0]], [[1.0, 0.0]], ["a"], "1 names for 2 targets"),
        ([[1.0, 0.0]], [[1.0, 0.0]], ["a b", "a_b"], "are both 'a_b'"),
        (np.zeros((0, 1)), np.zeros((0, 1)), ["a"], "no report has a known label"),
    ],
)
def test_bad_input_is_refused_by_name(gold, said, names, why):
    with pytest.raises(DataError, match=why) as caught:
        evaluate_report_labels(gold, said, names=names)
    assert "0.1234" not in str(caught.value)


def test_without_any_positive_there_is_no_f1():
    with pytest.raises(NotEstimableError):
        label_f1([[0.0], [NAN]], [[1.0], [0.0]])
    with pytest.raises(DataError, match="gold_coding"):
        label_f1([[1.0]], [[1.0]], gold_coding="other")


def test_inputs_stay_as_they_are():
    gold, said = GOLD.copy(), SAID.copy()
    evaluate_report_labels(gold, said, names=NAMES, draws=10)
    label_f1(gold, said)
    assert np.array_equal(gold, GOLD, equal_nan=True)
    assert np.array_equal(said, SAID, equal_nan=True)


def test_thresholds_have_the_highest_f1():
    rng = np.random.default_rng(3)
    risk = rng.random((200, 2)).round(2)
    y = (rng.random((200, 2)) < risk**2).astype(float)
    y[:10, 0] = NAN
    chosen = f1_thresholds(y, risk)
    for place in range(2):
        rows = ~np.isnan(y[:, place])
        best = max(f1_score(y[rows, place], risk[rows, place] >= cut) for cut in np.unique(risk))
        assert f1_score(y[rows, place], risk[rows, place] >= chosen[place]) == pytest.approx(best)
    assert np.isnan(f1_thresholds([[0.0]], [[0.3]])[0])
    assert f1_thresholds([[1.0], [0.0]], [[0.5], [0.5]])[0] == pytest.approx(0.25)
