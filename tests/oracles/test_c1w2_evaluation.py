"""The chest X-ray evaluation of 14 findings: every published count, rate and area is reproduced."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from aimed.metrics.discrimination import auroc, average_precision
from aimed.metrics.thresholds import confusion

FINDINGS = (
    "Cardiomegaly", "Emphysema", "Effusion", "Hernia", "Infiltration", "Mass", "Nodule",
    "Atelectasis", "Pneumothorax", "Pleural_Thickening", "Pneumonia", "Fibrosis", "Edema", "Consolidation",
)  # fmt: skip


@pytest.fixture(scope="module")
def predictions(shared_data):
    with shared_data("cxr_nih_eval", "valid_preds.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {f: (np.array([int(r[f]) for r in rows]), np.array([float(r[f"{f}_pred"]) for r in rows])) for f in FINDINGS}


@pytest.fixture(scope="module")
def expected(reference):
    with reference("expected_c1w2_metrics.csv").open() as file:
        return {row["label"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("finding", FINDINGS)
def test_counts_rates_and_areas(predictions, expected, finding):
    y, risk = predictions[finding]
    row = expected[finding]
    table = confusion(y, risk, float(row["threshold"]))
    assert (table.tp, table.tn, table.fp, table.fn) == tuple(float(row[k]) for k in ("TP", "TN", "FP", "FN"))
    rates = table.rates()
    found = {
        "accuracy": table.accuracy,
        "prevalence": table.prevalence,
        "sensitivity": rates["sensitivity"],
        "specificity": rates["specificity"],
        "PPV": rates["ppv"],
        "NPV": rates["npv"],
        "F1": rates["f1"],
    }
    for name, value in found.items():
        assert value == pytest.approx(float(row[name]), abs=5.01e-4), name
    assert auroc(y, risk) == pytest.approx(float(row["AUC_exact"]), abs=1e-13)
    assert average_precision(y, risk) == pytest.approx(float(row["avg_precision"]), abs=5.01e-5)


def test_saying_no_to_everybody_is_accurate_when_the_finding_is_rare(predictions):
    y, _ = predictions["Emphysema"]
    assert confusion(y, np.zeros(y.size), 0.5).accuracy == pytest.approx(0.972)


def test_toy_table():
    y, risk = np.array([1, 0, 0, 1, 1]), np.array([0.8, 0.8, 0.4, 0.6, 0.3])
    table = confusion(y, risk, 0.5)
    rates = table.rates()
    assert table.accuracy == pytest.approx(0.6)
    assert rates["sensitivity"] == rates["ppv"] == pytest.approx(2 / 3)
    assert rates["specificity"] == rates["npv"] == 0.5
    everybody = np.array([1, 0, 0, 1, 1, 0, 0, 0, 0, 1])
    assert confusion(everybody, everybody, 0.5).prevalence == pytest.approx(0.4)


@pytest.mark.parametrize(("scores", "area"), [([0, 1, 1, 0], 0), ([1, 0, 0, 1], 1), ([0.5, 0.5, 0, 1], 0.875)])
def test_toy_concordance_of_a_binary_outcome(scores, area):
    assert auroc([1, 0, 0, 1], scores) == area
