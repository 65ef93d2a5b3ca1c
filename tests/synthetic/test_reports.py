"""Made-up chest reports: the labels follow from the sentences, words alone do not find them, and assertion does."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from aimed.core.errors import DataError
from aimed.synthetic.report_sentences import OBSERVATIONS, SENTENCES, SHARED_DENIALS
from aimed.synthetic.reports import plan_reports, write_reports
from aimed.text.labeller import ReportLabeller

KEYWORDS = {
    "Cardiomegaly": r"cardiomegaly|heart|cardiac", "Lung Lesion": r"nodul|mass|lesion",
    "Lung Opacity": r"opaci|infiltrat",
    "Edema": r"edema", "Consolidation": r"consolid", "Pneumonia": r"pneumonia", "Atelectasis": r"atelecta|collapse",
    "Pneumothorax": r"pneumothorax", "Pleural Effusion": r"effusion|pleural fluid", "Fracture": r"fracture",
}  # fmt: skip


def f1(truth, guess):
    return 2 * (truth & guess).sum() / max(1, truth.sum() + guess.sum())


def test_there_are_many_sentences_and_each_can_be_filled():
    templates = [t for styles in SENTENCES.values() for texts in styles.values() for t in texts]
    assert len(set(templates)) == len(templates)
    assert len(templates) >= 200
    assert all(set(names) <= set(OBSERVATIONS) for _, names in SHARED_DENIALS)
    assert set(SENTENCES) == set(OBSERVATIONS) - {"No Finding"}
    for report in plan_reports(300, seed=5):
        assert "{" not in report.report
        assert (
            report.report.index("INDICATION:") < report.report.index("COMPARISON:") < report.report.index("FINDINGS:")
        )


def test_same_seed_same_reports_and_patients_stand_alone():
    few, many = list(plan_reports(5, seed=2)), list(plan_reports(50, seed=2))
    assert many[: len(few)] == few
    assert list(plan_reports(5, seed=3)) != few
    counts = np.unique([r.patient_id for r in many], return_counts=True)[1]
    assert counts.max() > 1
    assert len({r.report_id for r in many}) == len(many)
    for report in many:
        assert 18 <= report.age <= 97


def test_the_file_reads_back(tmp_path):
    path = write_reports(tmp_path / "new" / "reports.csv", 60, seed=1, difficulty=0.5)
    table = pl.read_csv(path)
    planned = list(plan_reports(60, seed=1, difficulty=0.5))
    assert table.columns == ["patient_id", "report_id", "age", "sex", "site", "year", "report", *OBSERVATIONS]
    assert table["report"].to_list() == [r.report for r in planned]
    for name in OBSERVATIONS:
        assert table[name].to_list() == [r.labels[name] for r in planned]


def test_no_finding_is_said_only_when_nothing_is_found():
    for report in plan_reports(200, seed=4):
        others = [v for n, v in report.labels.items() if n not in ("No Finding", "Support Devices")]
        assert (report.labels["No Finding"] == 1) == all(v in (None, 0) for v in others)


def test_words_alone_are_clearly_worse_than_assertion():
    planned = list(plan_reports(500, seed=7))
    truth = {name: np.array([r.labels[name] == 1 for r in planned]) for name in KEYWORDS}
    found = ReportLabeller().label([r.report for r in planned])
    by_words, by_assertion = [], []
    for name, pattern in KEYWORDS.items():
        by_words.append(f1(truth[name], np.array([bool(re.search(pattern, r.report.lower())) for r in planned])))
        by_assertion.append(f1(truth[name], found.values[:, found.targets.index(name)] == 1))
    print(f"macro F1 of words {np.mean(by_words):.3f}, of assertion {np.mean(by_assertion):.3f}")
    assert np.mean(by_words) < 0.75
    assert np.mean(by_assertion) > np.mean(by_words) + 0.15


def test_easier_reports_are_easier_for_words():
    def macro(difficulty):
        planned = list(plan_reports(300, seed=9, difficulty=difficulty))
        texts = [r.report.lower() for r in planned]
        scores = []
        for name, pattern in KEYWORDS.items():
            truth = np.array([r.labels[name] == 1 for r in planned])
            scores.append(f1(truth, np.array([bool(re.search(pattern, text)) for text in texts])))
        return np.mean(scores)

    assert macro(0.0) > macro(1.0) + 0.1


def test_bad_requests_are_named():
    with pytest.raises(DataError, match="0 patients"):
        next(plan_reports(0))
    with pytest.raises(DataError, match="0 to 1"):
        next(plan_reports(1, difficulty=2.0))
