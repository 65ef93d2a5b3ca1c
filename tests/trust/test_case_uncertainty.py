"""Doubt against errors: the AUROC, the curve with ties and gaps, and what is said without evidence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError
from aimed.metrics import auroc
from aimed.trust.case_uncertainty import case_uncertainty, entropy


def cohort(seed=0, n=400, k=2):
    rng = np.random.default_rng(seed)
    risk = rng.beta(0.8, 0.8, (n, k))
    y = (rng.random((n, k)) < risk).astype(float)
    return rng, risk, y


NAMES = ["effusion", "nodule"]


def test_the_auroc_is_that_of_doubt_for_wrong_decisions():
    _, risk, y = cohort()
    patient = np.arange(400) // 2
    y[::7, 1] = np.nan
    found = case_uncertainty(risk, y, [0.5, 0.3], patient=patient, names=NAMES)
    rows = ~np.isnan(y[:, 1])
    wrong = (risk[rows, 1] >= 0.3) != (y[rows, 1] == 1)
    peer = auroc(wrong, entropy(risk[rows, 1]), patient=patient[rows])
    one = found["findings"]["nodule"]
    assert (one["n"], one["wrong"]) == (rows.sum(), wrong.sum())
    measure = one["auroc"]["entropy"]
    assert (measure["value"], measure["lower"], measure["upper"]) == pytest.approx((peer, peer.lower, peer.upper))
    assert found["signal"] == "entropy"
    assert set(found["auroc"]) == {"entropy", "margin"}
    assert found["added"] is None
    assert found["patients"] == 200


def test_a_spread_that_marks_errors_is_known_and_a_reversed_one_misleads():
    rng, risk, y = cohort()
    wrong = (risk >= 0.5) != (y == 1)
    spread = np.abs(0.05 * wrong + rng.normal(0.1, 0.04, y.shape))
    good = case_uncertainty(risk, y, [0.5, 0.5], spread=spread, names=NAMES)
    assert good["signal"] == "spread"
    assert good["state"] == "knows"
    assert "larger for wrong decisions" in good["sentence"]
    bad = case_uncertainty(risk, y, [0.5, 0.5], spread=spread.max() - spread, names=NAMES)
    assert bad["state"] == "misleads"
    assert bad["added"]["upper"] < 0
    assert "That is less than the entropy" in bad["sentence"]
    noise = case_uncertainty(risk, y, [0.5, 0.5], spread=rng.random(y.shape), names=NAMES)
    assert noise["state"] == "not shown"
    assert "a gain is not shown" in noise["sentence"]
    assert good["auroc"]["spread"]["value"] + bad["auroc"]["spread"]["value"] == pytest.approx(1)


def test_the_curve_is_the_error_rate_of_the_rows_kept():
    _, risk, y = cohort(n=200, k=1)
    found = case_uncertainty(risk, y, [0.5], names=["a"], referred=(0, 0.25, 0.5))
    wrong = ((risk >= 0.5) != (y == 1))[:, 0]
    order = np.argsort(-entropy(risk[:, 0]))
    for step, kept in zip(found["curve"], (200, 150, 100), strict=True):
        assert step["n"] == kept
        assert step["error"]["value"] == pytest.approx(wrong[order[200 - kept :]].mean())
        assert step["error"]["lower"] < step["error"]["value"] < step["error"]["upper"]
    gap = found["curve"][2]["difference"]
    assert gap["value"] == pytest.approx(found["curve"][2]["error"]["value"] - wrong.mean())
    assert gap["upper"] < 0
    assert found["curve"][0]["difference"] is None
    one = found["findings"]["a"]["curve"][1]["error"]
    assert one["name"] == "error_rate@a"
    assert one["value"] == pytest.approx(found["curve"][1]["error"]["value"])


def test_equal_doubt_is_referred_in_part_whatever_the_order_of_rows():
    rng, risk, y = cohort(n=300, k=1)
    spread = rng.integers(0, 3, (300, 1)).astype(float)
    order = rng.permutation(300)
    one = case_uncertainty(risk, y, [0.5], spread=spread, names=["a"])
    two = case_uncertainty(risk[order], y[order], [0.5], spread=spread[order], names=["a"])
    assert [s["error"]["value"] for s in one["curve"]] == pytest.approx([s["error"]["value"] for s in two["curve"]])
    flat = case_uncertainty(risk, y, [0.5], spread=np.ones_like(spread), names=["a"])
    assert len({round(s["error"]["value"], 12) for s in flat["curve"]}) == 1
    assert flat["state"] in ("not shown", "not enough evidence")


def test_intervals_are_those_of_patients():
    _, risk, y = cohort(n=150, k=1)
    four, patient = [np.repeat(v, 4, axis=0) for v in (risk, y)], np.repeat(np.arange(150), 4)
    rows = case_uncertainty(*four, [0.5], names=["a"])
    patients = case_uncertainty(*four, [0.5], names=["a"], patient=patient)

    def width(measure):
        return measure["upper"] - measure["lower"]

    for pick in (
        lambda b: b["auroc"]["entropy"],
        lambda b: b["curve"][3]["error"],
        lambda b: b["curve"][3]["difference"],
    ):
        assert width(pick(patients)) > 1.7 * width(pick(rows))


def test_few_errors_are_not_enough_evidence_and_a_finding_without_answers_stops_nothing():
    rng = np.random.default_rng(1)
    y = (rng.random((200, 2)) < 0.3).astype(float)
    risk = np.where(y == 1, 0.9, 0.1) + rng.normal(0, 0.02, y.shape)
    risk[:5] = 1 - risk[:5]
    y[:, 1] = np.nan
    found = case_uncertainty(risk, y, [0.5, 0.5], names=NAMES)
    assert found["state"] == "not enough evidence"
    assert found["findings"]["nodule"]["curve"] == []
    assert found["findings"]["nodule"]["auroc"]["entropy"]["value"] is None
    assert "Not enough evidence" in found["sentence"]
    assert "5 wrong decisions in 200" in found["sentence"]


def test_a_spread_of_nan_everywhere_is_one_network_and_a_hole_is_refused():
    _, risk, y = cohort()
    alone = case_uncertainty(risk, y, [0.5, 0.5], spread=np.full_like(risk, np.nan), names=NAMES)
    assert alone == case_uncertainty(risk, y, [0.5, 0.5], names=NAMES)
    assert "one network" in alone["note"]
    holed = np.ones_like(risk)
    holed[3, 1] = np.nan
    for spread in (holed, -np.ones_like(risk), np.full_like(risk, np.inf), np.ones(400)):
        with pytest.raises(DataError):
            case_uncertainty(risk, y, [0.5, 0.5], spread=spread, names=NAMES)


def test_the_block_is_json_and_repeats():
    rng, risk, y = cohort()
    spread = rng.random(y.shape)
    one = case_uncertainty(risk, y, [0.5, 0.3], spread=spread, names=NAMES)
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert one == case_uncertainty(risk, y, [0.5, 0.3], spread=spread, names=NAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [0.5]},
        {"thresholds": [0.5, np.nan]},
        {"names": ["a", "a"]},
        {"names": ["a"]},
        {"referred": (0.2, 0.1)},
        {"referred": (0, 1.0)},
        {"referred": ()},
        {"risk": np.full((400, 2), 1.5)},
        {"y": np.full((400, 2), 2.0)},
        {"level": 1.0},
    ],
)
def test_unfit_input_is_refused(change):
    _, risk, y = cohort()
    with pytest.raises(DataError):
        case_uncertainty(**({"risk": risk, "y": y, "thresholds": [0.5, 0.5], "names": NAMES} | change))
