"""Reports of phantoms: the lexicon reads each sentence as it is meant, and they are wrong as often as asked."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from aimed.core import DataError, StudyFileError
from aimed.metrics.label_noise import label_noise
from aimed.study.spec import read_spec
from aimed.synthetic.chest_phantom import FINDINGS
from aimed.synthetic.chest_reports import SENTENCES, ReportErrors
from aimed.synthetic.chest_study import plan_study, write_study
from aimed.text.labeller import ReportLabeller

STUDY = """schema = 1
[study]
id = "phantoms"
title = "Phantoms with reports"
task = "classify"
[data]
source = "synthetic:chest"
synthetic = { patients = 40, reports = { gold = 0.5, missed = 0.4 } }
patient = "patient_id"
[images]
column = "path"
[silver]
column = "report"
[outcome]
findings = ["effusion"]
"""


@pytest.fixture(scope="module")
def labeller():
    return ReportLabeller(targets="nih")


def test_every_sentence_is_read_as_it_is_meant(labeller):
    assert set(SENTENCES) == set(FINDINGS)
    for finding, kinds in SENTENCES.items():
        place = labeller.targets.index(finding.capitalize())
        for meant, sentences in zip((1.0, 0.0, -1.0), kinds, strict=True):
            values = labeller.label([f"FINDINGS: {sentence}" for sentence in sentences]).values
            assert (values[:, place] == meant).all()
            assert np.isnan(np.delete(values, place, axis=1)).all()


def test_errors_are_as_frequent_as_asked(labeller):
    errors = ReportErrors(gold=0.3, missed=0.35, overcalled=0.08, uncertain=0.1, unsaid=0.5)
    plan = plan_study(1500, images_per_patient=1, seed=1, prevalence=0.4)
    y = np.array([[f in one.findings for f in FINDINGS] for one in plan], dtype=float)
    texts = [errors.write(1, one.patient, one.image, one.findings) for one in plan]
    said = labeller.label(texts).values[:, [labeller.targets.index(f.capitalize()) for f in FINDINGS]]
    for one in label_noise(y, said, names=FINDINGS, level=0.999).findings:
        assert one.sensitivity.lower < 1 - 0.35 / 0.9 < one.sensitivity.upper
        assert one.specificity.lower < 1 - 0.08 / 0.9 < one.specificity.upper
    assert (said == -1).mean() == pytest.approx(0.1, abs=0.01)
    silent = np.isnan(said).sum() / (np.isnan(said) | (said == 0)).sum()
    assert silent == pytest.approx(0.5, abs=0.03)
    share = np.mean([errors.in_gold(1, patient) for patient in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)


def test_a_study_with_reports_has_gold_labels_for_whole_patients(tmp_path):
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    options = {"size": 64, "seed": 2, "masks": False}
    plain = write_study(tmp_path / "plain", 12, **options)
    errors = ReportErrors(gold=0.5)
    assert write_study(tmp_path / "told", 12, reports=errors, **options) == plain
    with (tmp_path / "told" / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, one in zip(rows, plain, strict=True):
        truth = [str(int(f in one.findings)) for f in FINDINGS]
        assert [row[f] for f in FINDINGS] == (truth if errors.in_gold(2, one.patient) else [""] * len(FINDINGS))
        assert row["report"] == errors.write(2, one.patient, one.image, one.findings)
    assert {row["effusion"] == "" for row in rows} == {True, False}
    head = (tmp_path / "plain" / "labels.csv").read_text().splitlines()[0]
    assert head == "path,patient_id,age,sex,view," + ",".join(FINDINGS)
    for one in plain:
        assert (tmp_path / "told" / one.path).read_bytes() == (tmp_path / "plain" / one.path).read_bytes()


@pytest.mark.parametrize("wrong", [{"missed": 1.2}, {"gold": -0.1}, {"missed": 0.8, "uncertain": 0.4}])
def test_shares_that_are_none(wrong):
    with pytest.raises(DataError):
        ReportErrors(**wrong)


def test_the_study_file_asks_for_them():
    asked = read_spec(STUDY).data.synthetic.reports
    assert (asked.gold, asked.missed, asked.overcalled) == (0.5, 0.4, 0.05)
    for old, new, match in (
        ("missed = 0.4", "misst = 0.4", "did you mean 'missed'"),
        ("missed = 0.4", "missed = 1.4", "missed"),
        ("synthetic:chest", "synthetic:brain", "has no 'reports'"),
    ):
        with pytest.raises(StudyFileError, match=match):
            read_spec(STUDY.replace(old, new))
