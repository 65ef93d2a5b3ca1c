"""Several findings at once: each as if alone, their means over shared resamples, and rows that tell little."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from aimed.core.errors import DataError
from aimed.core.evaluation import Measure
from aimed.metrics.draws import PatientDraws
from aimed.metrics.evaluate import evaluate_binary, measures_binary
from aimed.metrics.evaluate_multilabel import (
    MACRO,
    evaluate_multilabel,
    finding_key,
    finding_keys,
    known_multilabel,
    measures_multilabel,
)
from aimed.metrics.multilabel import MultilabelAurocReplicates, multilabel_auroc
from aimed.metrics.prepared_binary import MEASURES, RATES

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ["effusion", "lung nodule", "pneumothorax"]
KEYS = ["effusion", "lung_nodule", "pneumothorax"]
CHOSEN = [0.2, 0.25, 0.3]


def rows(n=240, k=3, seed=0, unknown=0.1):
    """Findings that share a cause, so that their estimates are dependent."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 1))
    risk = 1 / (1 + np.exp(1.2 - shared - rng.normal(size=(n, k))))
    y = (rng.random((n, k)) < risk).astype(float)
    y[rng.random((n, k)) < unknown] = np.nan
    return y, risk, rng.integers(0, n // 2, n)


def evaluate(y, risk, **more):
    k = np.shape(y)[-1]
    return evaluate_multilabel(y, risk, **({"names": NAMES[:k], "chosen": CHOSEN[:k], "draws": 40} | more))


def same(one, other, but=("name",)):
    return {k: v for k, v in one.items() if k not in but} == {k: v for k, v in other.items() if k not in but}


def limits(measure):
    return measure["lower"], measure["upper"]


@pytest.fixture(scope="module")
def block():
    y, risk, patient = rows()
    beside = {"flat": np.full(y.shape, 0.3), "worse": np.clip(risk**2 + 0.1, 0, 1)}
    return evaluate(y, risk, patient=patient, baselines=beside, labels=["Effusion", "Nodule", "Pneumothorax"])


def test_a_block_is_json_and_holds_every_known_measure(block):
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    known = known_multilabel(KEYS)
    assert list(block["measures"]) == known
    assert len(set(known)) == len(known) == len(MACRO) + 3 * (len(MEASURES) + len(RATES))
    assert block["kind"] == "multilabel"
    assert block["labels"] == dict(zip(KEYS, ["Effusion", "Nodule", "Pneumothorax"], strict=True))
    assert "the same patients for all findings" in block["interval_method"]
    groups = [block["measures"], *block["baselines"].values(), *block["differences"].values()]
    for measures in groups:
        for name, record in measures.items():
            assert Measure.from_dict(record).to_dict() == record
            assert record["name"] == name
            assert name in known
            assert record["value"] is not None or record["note"]
    for name, measures in block["differences"].items():
        assert {record["against"] for record in measures.values()} == {name}
        assert set(measures) < set(block["baselines"][name]) < set(known)


def test_each_finding_has_the_whole_evaluation_of_its_own_rows(block):
    y, risk, patient = rows()
    for i, key in enumerate(KEYS):
        here = ~np.isnan(y[:, i])
        alone = evaluate_binary(
            y[here, i],
            risk[here, i],
            patient=patient[here],
            baselines={"flat": np.full(here.sum(), 0.3), "worse": np.clip(risk[here, i] ** 2 + 0.1, 0, 1)},
            chosen=CHOSEN[i],
            draws=40,
        )
        assert block["findings"][key] == alone
        (at_chosen,) = [row for row in alone["thresholds"] if row["chosen"]]
        for name in MEASURES:
            assert same(block["measures"][f"{name}@{key}"], alone["measures"][name])
        for name in RATES:
            assert same(block["measures"][f"{name}@{key}"], at_chosen[name])
        for baseline in ("flat", "worse"):
            for part in ("baselines", "differences"):
                for name, record in alone[part][baseline].items():
                    assert same(block[part][baseline][f"{name}@{key}"], record)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_means_equal_those_of_the_peer(seed):
    y, risk, _ = rows(60, 3, seed)
    y[:2] = [[0], [1]]
    found = evaluate(y, risk, draws=2)["measures"]
    expected = {name: [] for name in MACRO}
    for column, p, cut in zip(y.T, risk.T, CHOSEN, strict=True):
        known = ~np.isnan(column)
        a, b = column[known], p[known]
        score = peer.brier_score_loss(a, b)
        expected["macro_auroc"].append(peer.roc_auc_score(a, b))
        expected["macro_average_precision"].append(peer.average_precision_score(a, b))
        expected["macro_brier"].append(score)
        expected["macro_scaled_brier"].append(1 - score / (a.mean() * (1 - a.mean())))
        expected["macro_log_loss"].append(peer.log_loss(a, b))
        expected["macro_sensitivity"].append(peer.recall_score(a, b >= cut))
        expected["macro_specificity"].append(peer.recall_score(1 - a, b < cut))
        expected["macro_f1"].append(peer.f1_score(a, b >= cut))
    assert list(expected) == list(MACRO)
    for name, values in expected.items():
        assert found[name]["value"] == pytest.approx(np.mean(values), abs=1e-12), name


def naive(y, risk, patient, measure, draws, seed, stream):
    """Means over findings by drawing rows one resample at a time, as anybody would write it."""
    out = []
    for times in PatientDraws(patient, len(y), draws=draws, seed=[seed, stream]).rows():
        drawn = np.repeat(np.arange(len(y)), times)
        each = []
        for column, p in zip(y[drawn].T, risk[drawn].T, strict=True):
            known = ~np.isnan(column)
            each.append(measure(column[known], p[known]))
        out.append(np.mean(each))
    return np.quantile(out, [0.025, 0.975])


@pytest.mark.parametrize(
    ("name", "measure", "stream"),
    [
        ("macro_auroc", peer.roc_auc_score, 0),
        ("macro_average_precision", peer.average_precision_score, 1),
        ("macro_brier", peer.brier_score_loss, 1),
    ],
)
def test_the_interval_of_a_mean_equals_a_plain_loop_over_resamples(name, measure, stream):
    y, risk, patient = rows(90, 2)
    found = evaluate(y, risk, patient=patient, draws=60, seed=3)["measures"][name]
    assert limits(found) == pytest.approx(tuple(naive(y, risk, patient, measure, 60, 3, stream)), abs=1e-12)


def test_the_interval_of_the_macro_auroc_agrees_with_the_jackknife_and_the_replicates():
    y, risk, patient = rows(500)
    found = evaluate(y, risk, patient=patient, draws=400)["measures"]["macro_auroc"]
    other = multilabel_auroc(y, risk, patient=patient).macro
    assert found["value"] == pytest.approx(float(other), abs=1e-12)
    assert limits(found) == pytest.approx((other.lower, other.upper), abs=0.006)
    draws = PatientDraws(patient, 500, draws=400, seed=[0, 0])
    each = draws.map(MultilabelAurocReplicates(y, risk, codes=draws.codes).replicate)
    assert limits(found) == pytest.approx(tuple(np.quantile(each.mean(axis=1), [0.025, 0.975])), abs=1e-12)


def test_means_know_that_findings_share_patients():
    y, risk, _ = rows(300, 1, unknown=0)
    twice = evaluate(np.tile(y, 2), np.tile(risk, 2), chosen=[0.2, 0.2], draws=200)["measures"]
    once = evaluate(y, risk, chosen=[0.2], draws=200)["measures"]
    for name in MACRO:
        assert limits(twice[name]) == pytest.approx(limits(once[name]))  # as wide as one: nothing was averaged out


def test_more_rows_of_the_same_patients_do_not_narrow_the_interval():
    y, risk, _ = rows(150)
    four = np.repeat(np.arange(150), 4)
    once = evaluate(y, risk, draws=200)["measures"]
    together = evaluate(y[four], risk[four], patient=four, draws=200)["measures"]
    apart = evaluate(y[four], risk[four], draws=200)["measures"]
    for name in ("macro_auroc", "macro_brier", "macro_sensitivity"):
        assert limits(together[name]) == pytest.approx(limits(once[name]))
        width, narrow = (m[name]["upper"] - m[name]["lower"] for m in (together, apart))
        assert width > 1.5 * narrow


def test_one_finding_equals_the_binary_evaluation():
    y, risk, patient = rows(200, 1)
    whole = evaluate(y, risk, patient=patient, baselines={"flat": np.full(y.shape, 0.3)})
    here = ~np.isnan(y[:, 0])
    alone = evaluate_binary(
        y[here, 0],
        risk[here, 0],
        patient=patient[here],
        baselines={"flat": np.full(here.sum(), 0.3)},
        chosen=0.2,
        draws=40,
    )
    assert whole["findings"]["effusion"] == alone
    assert [whole[k] for k in ("n", "events", "patients")] == [alone[k] for k in ("n", "events", "patients")]
    for name, base in (("macro_brier", "brier"), ("macro_average_precision", "auprc"), ("macro_log_loss", "log_loss")):
        # Both draw patients without strata from one stream: the same resamples, to the bit.
        assert same(whole["measures"][name], alone["measures"][base], ("name", "method"))
        got, expected = whole["differences"]["flat"][name], alone["differences"]["flat"][base]
        assert same(got, expected, ("name", "method"))
    assert whole["measures"]["macro_auroc"]["value"] == alone["measures"]["auroc"]["value"]


def test_unknown_findings_and_missing_predictions_are_left_out_of_their_finding_only():
    y, risk, patient = rows(unknown=0)
    y[:50, 0] = np.nan
    risk[50:80, 1] = np.nan
    y[200:] = np.nan
    found = evaluate(y, risk, patient=patient)
    assert [found["findings"][k]["n"] for k in KEYS] == [150, 170, 200]
    assert found["findings"]["lung_nodule"]["without_prediction"] == found["without_prediction"] == 30
    assert found["n"] == found["measures"]["macro_brier"]["n"] == 200
    assert found["events"] == (np.nan_to_num(y * ~np.isnan(risk)) == 1).any(axis=1).sum()
    assert found["patients"] == np.unique(patient[:200]).size
    alone = evaluate_binary(y[50:200, 0], risk[50:200, 0], patient=patient[50:200], chosen=0.2, draws=40)
    assert found["findings"]["effusion"] == alone


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_finding_with_one_class_does_not_stop_the_others(outcome):
    y, risk, _ = rows()
    y[~np.isnan(y[:, 1]), 1] = outcome
    beside = {"worse": np.random.default_rng(1).uniform(size=risk.shape)}
    found = evaluate(y, risk, labels=["Effusion", "Nodule", "Pneumothorax"], baselines=beside)
    json.dumps(found, allow_nan=False)
    m = found["measures"]
    assert m["auroc@lung_nodule"]["value"] is None
    assert m["auroc@lung_nodule"]["note"] == "only one outcome class is present"
    assert m["brier@lung_nodule"]["value"] is not None
    expected = (m["auroc@effusion"]["value"] + m["auroc@pneumothorax"]["value"]) / 2
    for record in (m["macro_auroc"], found["differences"]["worse"]["macro_auroc"]):
        assert record["note"] == "mean over 2 of 3 findings; not estimable: Nodule"
        assert record["lower"] <= record["value"] <= record["upper"]
    assert m["macro_auroc"]["value"] == pytest.approx(expected)
    assert m["macro_brier"]["value"] == pytest.approx(np.mean([m[f"brier@{k}"]["value"] for k in KEYS]))
    assert "fewer than 20 rows with, or without, Nodule" in m["macro_brier"]["note"]


def test_a_finding_that_no_row_can_speak_for_is_said_and_the_rest_evaluated():
    y, risk, _ = rows()
    y[:, 0], risk[:, 1] = np.nan, np.nan
    beside = {"worse": np.clip(np.nan_to_num(risk) ** 2 + 0.1, 0, 1)}
    found = evaluate(y, risk, baselines=beside)
    json.dumps(found, allow_nan=False)
    assert list(found["measures"]) == known_multilabel(KEYS)
    m = found["measures"]
    for name in (*MEASURES, *RATES):
        assert m[f"{name}@effusion"]["note"] == "the finding is known in no row"
        assert m[f"{name}@lung_nodule"]["note"] == "no row where the finding is known has a prediction"
    assert m["macro_auroc"]["value"] == m["auroc@pneumothorax"]["value"]
    assert m["macro_auroc"]["note"] == "mean over 1 of 3 findings; not estimable: effusion, lung nodule"
    for part, name in (("baselines", "auroc"), ("differences", "auroc")):
        assert found[part]["worse"][f"{name}@effusion"]["value"] is None
        assert found[part]["worse"][f"{name}@pneumothorax"]["value"] is not None
    full, bare = found["findings"]["pneumothorax"], found["findings"]["effusion"]
    assert full.keys() == bare.keys()


def test_no_finding_with_both_classes_gives_notes_and_no_error():
    y = np.zeros((30, 2))
    found = evaluate(y, rows(30, 2)[1])
    json.dumps(found, allow_nan=False)
    for name in ("macro_auroc", "macro_average_precision", "macro_sensitivity"):
        assert found["measures"][name]["value"] is None
        assert found["measures"][name]["note"] == "not estimable in any finding"
    assert found["measures"]["macro_specificity"]["value"] is not None


def test_a_rare_finding_does_not_take_the_interval_from_the_others():
    y, risk, _ = rows(unknown=0)
    y[:, 1] = 0
    y[0, 1] = 1
    found = evaluate(y, risk, draws=200, baselines={"flat": np.full(y.shape, 0.3)})
    m = found["measures"]
    for record in (m["macro_auroc"], found["differences"]["flat"]["macro_auroc"]):
        assert record["lower"] < record["value"] < record["upper"]
        assert record["note"] == "mean over 2 of 3 findings; fewer than 5 patients with, or without: lung nodule"
    assert m["macro_auroc"]["value"] == pytest.approx(
        np.mean([m[f"auroc@{k}"]["value"] for k in ("effusion", "pneumothorax")])
    )
    # One event is ranked the same in every resample that holds it; that is no interval.
    assert m["auroc@lung_nodule"]["value"] is not None
    assert limits(m["auroc@lung_nodule"]) == (None, None)
    assert "a single event" in m["auroc@lung_nodule"]["note"]
    assert m["macro_brier"]["value"] == pytest.approx(np.mean([m[f"brier@{k}"]["value"] for k in KEYS]))


def test_differences_are_paired():
    y, risk, patient = rows()
    noisy = np.clip(risk + np.random.default_rng(1).normal(0, 0.01, risk.shape), 0, 1)
    found = evaluate(y, risk, patient=patient, baselines={"itself": risk.copy(), "near": noisy}, draws=100)
    for measure in found["differences"]["itself"].values():
        assert (measure["value"], *limits(measure)) == (0, None, None)
        assert measure["note"] == "no interval: the same value in all resamples"
    for name in ("macro_auroc", "macro_brier", "auroc@effusion"):
        gap, own = found["differences"]["near"][name], found["measures"][name]
        assert gap["value"] == pytest.approx(own["value"] - found["baselines"]["near"][name]["value"], abs=1e-12)
        assert gap["upper"] - gap["lower"] < 0.3 * (own["upper"] - own["lower"])


def test_a_baseline_is_compared_on_the_rows_and_findings_both_cover():
    y, risk, _ = rows(unknown=0)
    other = np.clip(risk * 0.8, 0, 1)
    other[:60, 0], other[:, 2] = np.nan, np.nan
    found = evaluate(y, risk, baselines={"part": other})
    gap = found["differences"]["part"]
    assert found["baselines"]["part"]["brier@effusion"]["n"] == 180
    assert gap["brier@pneumothorax"]["note"] == "the baseline has no prediction where the finding is known"
    assert gap["macro_brier"]["note"] == "mean over 2 of 3 findings; not estimable: pneumothorax"
    each = [
        peer.brier_score_loss(y[60:, 0], risk[60:, 0]) - peer.brier_score_loss(y[60:, 0], other[60:, 0]),
        peer.brier_score_loss(y[:, 1], risk[:, 1]) - peer.brier_score_loss(y[:, 1], other[:, 1]),
    ]
    assert gap["macro_brier"]["value"] == pytest.approx(np.mean(each))
    assert found["measures"]["macro_brier"]["note"] == ""


def test_results_repeat_bit_for_bit_and_follow_the_seed(monkeypatch):
    y, risk, patient = rows(120)
    beside = {"flat": np.full(y.shape, 0.3)}
    first, other = (evaluate(y, risk, patient=patient, baselines=beside, seed=s) for s in (1, 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert evaluate(y, risk, patient=patient, baselines=beside, seed=1) == first
    assert first["measures"]["macro_auroc"]["lower"] != other["measures"]["macro_auroc"]["lower"]
    labels = np.array([f"patient {p}" for p in patient])
    assert evaluate(y, risk, patient=labels, baselines=beside, seed=1)["n"] == first["n"]


def test_progress_rises_to_the_end():
    y, risk, _ = rows(60)
    seen = []
    evaluate(y, risk, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert seen[0] < 0.3


def test_measures_of_a_group_equal_the_whole_evaluation(block):
    y, risk, patient = rows()
    wanted = known_multilabel(KEYS)[::-1]
    found = measures_multilabel(y, risk, names=wanted, findings=KEYS, chosen=CHOSEN, patient=patient, draws=40)
    assert list(found) == wanted
    for name, record in found.items():
        but = ("note",) if name.startswith("macro_") else ()  # a mean names findings by label there, by key here
        assert same(record, block["measures"][name], but), name


def test_measures_at_a_threshold_equal_those_of_the_table_for_one_finding():
    y, risk, patient = rows(200, 1, unknown=0)
    for who in (None, patient):
        table = evaluate_binary(y[:, 0], risk[:, 0], patient=who, chosen=0.25, thresholds=(), draws=30)["thresholds"][0]
        found = measures_binary(y[:, 0], risk[:, 0], who, list(RATES), 30, threshold=0.25)
        assert found == {name: table[name] for name in RATES}
    assert found["sensitivity"]["n"] == y.sum()
    without = measures_binary(y[:, 0], risk[:, 0], names=["sensitivity", "ppv"], draws=5)
    assert {m["note"] for m in without.values()} == {"no decision threshold was given"}


def test_small_groups_have_notes_instead_of_errors():
    names = [*known_multilabel(["a", "b"]), "nonsense", "auroc@c", "nonsense@a"]
    options = {"names": names, "findings": ["a", "b"], "chosen": [0.5, None], "draws": 5}
    nothing = measures_multilabel(np.empty((0, 2)), np.empty((0, 2)), **options)
    assert {m["note"] for m in nothing.values()} == {"no rows"}
    for y in ([[1, 0]], [[1, math.nan]], [[math.nan, math.nan]], [[0, 0], [0, 1]]):
        for p in (0.5, math.nan):
            found = measures_multilabel(y, np.full(np.shape(y), p), **options)
            assert list(found) == names
            json.dumps(found, allow_nan=False)
            assert all(m["note"] for m in found.values() if m["value"] is None)
    found = measures_multilabel([[1, 0]], [[0.7, 0.2]], **options)
    assert found["sensitivity@a"]["value"] == 1
    assert found["sensitivity@a"]["method"] == "Wilson score interval"
    assert found["sensitivity@b"]["note"] == "no decision threshold was given"
    assert found["nonsense"]["note"] == found["nonsense@a"]["note"] == "no such measure here"
    assert found["auroc@c"]["note"] == "no such finding here"
    assert found["macro_brier"]["value"] == pytest.approx((0.09 + 0.04) / 2)


def test_a_finding_without_a_threshold_has_no_rates():
    y, risk, _ = rows()
    found = evaluate(y, risk, chosen=[0.2, None, 0.3])["measures"]
    assert evaluate(y, risk, chosen=np.array([0.2, np.nan, 0.3]))["measures"] == found
    assert found["sensitivity@lung_nodule"]["note"] == "no decision threshold was given"
    assert found["macro_sensitivity"]["note"].startswith("mean over 2 of 3 findings; not estimable: lung nodule")
    assert found["macro_auroc"]["note"] == ""
    bare = evaluate(y, risk, chosen=None)["measures"]
    assert bare["macro_specificity"]["note"] == "not estimable in any finding"


def test_keys_hold_letters_digits_and_underscores_only_and_differ():
    assert finding_key("Enlarged Cardio-mediastinum (2)") == "Enlarged_Cardio_mediastinum__2_"
    assert finding_key("Übung@3") == "_bung_3"
    assert finding_keys(NAMES) == tuple(KEYS)
    with pytest.raises(DataError, match="lung nodule"):
        finding_keys(["lung-nodule", "lung nodule"])
    with pytest.raises(DataError):
        finding_key("")


@pytest.mark.parametrize(
    "change",
    [
        {"names": NAMES[:2]},
        {"names": ["a b", "a_b", "c"]},
        {"labels": ["one"]},
        {"chosen": [0.2]},
        {"chosen": [0.2, 1.0, 0.3]},
        {"thresholds": [0.0]},
        {"baselines": {"b": np.zeros((40, 2))}},
        {"baselines": {"b": np.full((40, 3), np.nan)}},
        {"baselines": {"b": np.full((40, 3), 1.5)}},
        {"y": np.full((40, 3), 2.0)},
        {"y": np.full((40, 3), np.nan)},
        {"y": np.zeros(40)},
        {"risk": np.full((40, 3), 1.1)},
        {"risk": np.full((40, 3), np.inf)},
        {"risk": np.full((40, 3), np.nan)},
        {"risk": np.zeros((40, 2))},
        {"patient": np.arange(39)},
    ],
)
def test_unfit_arguments_are_refused(change):
    y, risk, _ = rows(40)
    with pytest.raises(DataError):
        evaluate(**({"y": y, "risk": risk} | change))
