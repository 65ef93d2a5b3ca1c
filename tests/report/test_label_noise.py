"""The part of the report on labels read out of reports: numbers with intervals, or that there is too little to say."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics.label_noise import label_noise
from aimed.report.page import render
from aimed.report.parts import Table
from aimed.report.sections.label_noise import label_noise as section


def record(robust="forward", gold=None):
    rng = np.random.default_rng(0)
    y = (rng.random((200, 2)) < 0.4).astype(float)
    y[8:, 1] = np.nan
    said = np.where(rng.random(y.shape) < 0.3, np.nan, y)
    found = label_noise(y if gold is None else gold, said, names=["effusion", "rare"], labels=["Effusion", "Rare <b>"])
    taught = {"gold": 200, "silver": 1234, "silver_positive": 55}
    return {
        "robust": robust, "method": "The loss was corrected.", "uncertain": "ignore", "not_mentioned": "zeros",
        "rows": found.rows, "patients": found.patients,
        "findings": [{**one.to_record(), "taught": taught} for one in found.findings],
    }  # fmt: skip


def test_rates_with_intervals_and_words_where_there_is_too_little():
    block = record()
    parts = section({"label_noise": block})
    tables = [part for part in parts if isinstance(part, Table)]
    sensitivity = block["findings"][0]["measures"]["sensitivity"]
    first, second = tables[0].cells()
    assert first[2].text.startswith(f"{sensitivity['value']:.2f} (")
    assert [cell.text for cell in second[2:]] == ["not enough evidence"] * 4
    assert tables[1].cells()[0][2].text == str(block["findings"][0]["table"]["positive"]["present"])
    assert tables[2].cells()[0][3].sort == 1234
    assert "There is not enough evidence for Rare <b>." in parts[1].text
    assert "silence for absent" in parts[1].text
    page = render({"label_noise": block, "outcome": {"label": "Findings", "kind": "multilabel"}})
    assert "Labels read out of reports" in page
    assert "Rare &lt;b&gt;" in page


@pytest.mark.parametrize("results", [{}, {"label_noise": None}, {"label_noise": {"findings": []}}])
def test_another_study_says_nothing(results):
    assert section(results) == []


def test_chances_need_no_rule_for_silence():
    assert "silence" not in section({"label_noise": record("soft")})[1].text
