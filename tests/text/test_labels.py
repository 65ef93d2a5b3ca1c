import numpy as np
import polars as pl
import pytest

from aimed.text.labeller import ReportLabeller
from aimed.text.labels import ReportLabels

NOTES = [
    "Heart size normal. Small left pleural effusion, unchanged.",
    "",
    "No effusion. 2.5 cm nodule in the right upper lobe.",
    "Possible pneumonia.",
]


@pytest.fixture(scope="module")
def found() -> ReportLabels:
    return ReportLabeller().label(NOTES)


def test_values_are_in_the_coding_of_chexpert(found):
    assert found.values.dtype == np.float64
    assert found.values.shape == (4, 14)
    assert [found.value(i, "Pleural Effusion") for i in (0, 2)] == [1, 0]
    assert found.value(3, "Pneumonia") == -1
    assert np.isnan(found.value(0, "Fracture"))


def test_a_refused_report_has_a_code_and_no_value(found):
    assert found.refusals == ("", "empty", "", "")
    assert np.isnan(found.values[1]).all()
    assert 1 not in found.evidence["report"].to_list()


def test_the_table_has_a_column_a_finding(found):
    table = found.to_frame()
    assert table.columns == ["report", *found.targets, "refusal"]
    assert table["Pleural Effusion"].to_list() == [1, None, 0, None]
    assert table["refusal"].to_list() == ["", "empty", "", ""]


def test_evidence_points_at_the_words(found):
    for row in found.evidence.iter_rows(named=True):
        text = NOTES[row["report"]]
        assert 0 <= row["sentence_start"] <= row["start"] < row["end"] <= row["sentence_end"] <= len(text)
        assert "." not in text[row["start"] : row["end"]]
    spans = {NOTES[r][a:b] for r, a, b in found.evidence.select("report", "start", "end").rows()}
    assert {"Heart size normal", "nodule", "pneumonia"} <= spans
    doubt = found.evidence.filter(pl.col("report") == 3).row(0, named=True)
    assert (doubt["trigger_start"], doubt["trigger_end"]) == (0, 8)
    assert doubt["rule"] == "uncertainty before: possible"


def test_attributes_are_columns_and_absent_ones_null(found):
    row = found.evidence.filter((pl.col("report") == 0) & (pl.col("target") == "Pleural Effusion")).row(0, named=True)
    assert (row["laterality"], row["change"], row["size_mm"], row["rule"]) == ("left", "stable", None, "stated")
    row = found.evidence.filter((pl.col("report") == 2) & (pl.col("target") == "Lung Lesion")).row(0, named=True)
    assert (row["location"], row["laterality"], row["size_mm"]) == ("upper lobe", "right", 25.0)
    assert found.evidence["size_mm"].null_count() == len(found.evidence) - 1


def test_text_columns_compare_with_text_and_survive_parquet(found, tmp_path):
    found.evidence.write_parquet(tmp_path / "evidence.parquet")
    again = pl.read_parquet(tmp_path / "evidence.parquet")
    assert again.equals(found.evidence)
    assert set(again["assertion"]) <= {"positive", "negative", "uncertain"}


def test_no_text_of_a_note_shows(found):
    shown = repr(found) + str(found) + repr(found.columns) + f"{found.vocabulary!r}"
    assert "unchanged." not in shown
    assert "2.5" not in repr(found)
    assert "4 reports" in repr(found)


def test_no_reports_give_empty_tables():
    none = ReportLabeller().label([])
    assert len(none) == 0
    assert none.evidence.shape == (0, 19)
    assert none.to_frame().shape == (0, 16)
    assert none.evidence.schema["rule"] == ReportLabeller().label(NOTES).evidence.schema["rule"]
