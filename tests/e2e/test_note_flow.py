"""A small study of notes goes from table to evidence and bundle, resumes, predicts, and keeps what notes say."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.bundle.load import load
from aimed.bundle.notes import NoteBundle
from aimed.core import BundleError, DataError, StudyFileError
from aimed.study.predict_notes import notes_to_csv, predict_notes
from aimed.study.run import Reporter

FINDINGS = ("Pleural Effusion", "Cardiomegaly", "Pneumothorax")


class Listener(Reporter):
    def __init__(self):
        self.resumed = {}

    def finished(self, stage, seconds, resumed):
        self.resumed[stage] = resumed


def write(made, folder, *changes, table=None):
    (made.frame() if table is None else table).write_csv(folder / "reports.csv")
    text = made.STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


@pytest.fixture(scope="module")
def ran(made_notes, tmp_path_factory):
    """Return the study file and the run of a small study; not to be changed."""
    file = write(made_notes, tmp_path_factory.mktemp("notes"))
    return file, aimed.study(file).run(file.parent / "run")


def test_one_run_leaves_everything(ran):
    file, run = ran
    for name in ("results.json", "report.html", "model_card.md", "predictions.parquet", "bundle/manifest.json"):
        assert (file.parent / "run" / name).is_file(), name
    assert run.verdict == "met"
    record = run.results
    assert record["model"]["name"] == "lexicon"
    measures = record["performance"]["measures"]
    for name in ("micro_f1", "mention_f1@Cardiomegaly", "micro_negation_f1", "micro_uncertainty_f1", "macro_auroc"):
        assert measures[name]["value"] > 0.8, name
    assert measures["micro_f1"]["lower"] <= measures["micro_f1"]["value"] <= measures["micro_f1"]["upper"]
    assert set(record["performance"]["baselines"]) >= {"prevalence", "keywords"}
    gap = record["performance"]["differences"]["keywords"]["micro_f1"]
    assert gap["lower"] > 0.2


def test_measures_are_those_of_the_predictions(ran):
    file, run = ran
    said = pl.read_parquet(file.parent / "run" / "predictions.parquet")
    thresholds = {k: v["value"] for k, v in run.results["model"]["threshold"]["findings"].items()}
    hit = gold = called = 0
    for name in FINDINGS:
        key = name.replace(" ", "_")
        y, present = said[f"outcome@{key}"].to_numpy() == 1, said[f"risk@{key}"].to_numpy() >= thresholds[key]
        hit, gold, called = hit + (y & present).sum(), gold + y.sum(), called + present.sum()
    assert run.results["performance"]["measures"]["micro_f1"]["value"] == pytest.approx(2 * hit / (gold + called))


def test_the_four_assertions_stand_in_one_table(ran):
    block = ran[1].results["report_labels"]
    table = np.asarray(block["confusion"])
    n = ran[1].results["performance"]["n"]
    assert table.shape == (4, 4)
    assert table.sum() == 3 * n
    assert np.trace(table) / table.sum() > 0.9
    assert block["unseen"]["n"] <= block["unseen"]["of"] == n
    whole = block["errors"]["missed"]["all"]
    assert sum(whole.values()) == sum(sum(block["errors"]["missed"][k].values()) for k in block["errors"]["missed"]) / 2


def test_a_second_run_repeats_nothing(ran):
    listener = Listener()
    again = aimed.study(ran[0]).run(ran[0].parent / "run", listener)
    assert all(listener.resumed[stage] for stage in listener.resumed if stage != "read")
    assert again.results["performance"] == ran[1].results["performance"]


def test_the_bundle_says_what_the_run_said(ran):
    folder = ran[0].parent
    bundle = load(folder / "run" / "bundle")
    assert isinstance(bundle, NoteBundle)
    rows = predict_notes(bundle, folder / "reports.csv", unit="report_id", evidence=True)
    said = {row.id: row for row in rows}
    table = pl.read_parquet(folder / "run" / "predictions.parquet")
    for record in table.iter_rows(named=True):
        assert said[record["id"]].risk["Cardiomegaly"] == pytest.approx(record["risk@Cardiomegaly"], abs=1e-12)
    text = dict(zip(*(pl.read_csv(folder / "reports.csv")[c] for c in ("report_id", "report")), strict=True))
    one = next(row for row in rows if row.risk and row.present["Pleural_Effusion"] and row.evidence)
    span = next(e for e in one.evidence if e["finding"] == "Pleural Effusion")
    assert "effusion" in text[one.id][span["start"] : span["end"]].lower()
    header, first = notes_to_csv(rows, bundle).splitlines()[:2]
    assert header.startswith("row,id,risk@Pleural_Effusion")
    assert first.startswith("1,R00000,")


def test_odd_notes_are_refused_one_by_one(ran):
    bundle = load(ran[0].parent / "run" / "bundle")
    rows = bundle.predict(
        [None, "", "FINDINGS:\nIMPRESSION:", b"%PDF-1.4 \x00\x01", "Kein Pleuraerguss, keine Infiltrate. Herz normal.",
         "<p>Large left pleural effusion.</p>", "No pleural\x00 effusion."]
    )  # fmt: skip
    codes = [row.code for row in rows]
    assert codes[:5] == ["EMPTY", "EMPTY", "HEADINGS_ONLY", "BINARY", "NOT_ENGLISH"]
    assert codes[5:] == [None, None]
    assert rows[5].present["Pleural_Effusion"] is True
    assert [w["code"] for w in rows[5].warnings] == ["ODD"]


def test_a_flipped_byte_is_refused(ran, tmp_path):
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(ran[0].parent / "run" / "bundle", copy)
    data = bytearray((copy / "model.json").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.json").write_bytes(bytes(data))
    with pytest.raises(BundleError):
        load(copy)


def test_notes_are_shown_only_when_they_name_nobody(made_notes, ran, tmp_path):
    shown = ran[1].results["explanation"]["error_browser"]
    assert shown["text"] is True
    with pytest.raises(StudyFileError, match="note_text"):
        aimed.study(write(made_notes, tmp_path, ('identifiers = "none"\n', "")))


@pytest.mark.parametrize("marker", ["ZEBRAFISH-9413"])
def test_no_note_text_leaves_the_run(made_notes, tmp_path, marker):
    table = made_notes.frame(160).with_columns(pl.col("report") + f" {marker} was here.")
    file = write(
        made_notes, tmp_path, ('identifiers = "none"\n', ""), ("note_text = true", "note_text = false"), table=table
    )
    done = subprocess.run(
        [sys.executable, "-m", "aimed.cli", "run", str(file), "--out", str(tmp_path / "run")],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=_environment(tmp_path),
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr[-2000:]
    assert marker.lower() not in (done.stdout + done.stderr).lower()
    for path in tmp_path.rglob("*"):
        # The bundle of a model of words holds its vocabulary; this one reads with the lexicon.
        if path.is_file() and path.name != "reports.csv":
            assert marker.lower().encode() not in path.read_bytes().lower(), path.name


def _environment(folder):
    import os

    (folder / "tmp").mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('column = "report"', 'column = "reprot"', "did you mean 'report'"),
        ('"Pneumothorax"]', '"Pneumotorax"]', "Pneumotorax"),
        ('candidates = ["lexicon", "words"]', 'candidates = ["keywords"]', "candidate"),
        ('candidates = ["lexicon", "words"]', 'candidates = ["lexicn"]', "lexicon"),
        ('coding = "chexpert"', 'coding = "chexpart"', "coding"),
        ('coding = "chexpert"', 'lexicon = "chest-xrai"\ncoding = "chexpert"', "chest-x"),
        ('coding = "chexpert"', 'coding = "certain"', "-1"),
        ('column = "report"', 'column = "sex"', "a role of its own"),
    ],
)
def test_wrong_study_files_say_what_is_wrong(made_notes, tmp_path, old, new, words):
    with pytest.raises(aimed.AimedError) as error:
        aimed.study(write(made_notes, tmp_path, (old, new))).run(tmp_path / "run")
    assert re.search(re.escape(words), str(error.value))
    assert "P00" not in str(error.value)
    assert "effusion." not in str(error.value)


def test_a_table_without_a_row_is_said(made_notes, tmp_path):
    with pytest.raises(DataError, match="has no row"):
        aimed.study(write(made_notes, tmp_path, table=made_notes.frame(20).head(0))).run(tmp_path / "run")


def test_results_are_valid_json(ran):
    text = (ran[0].parent / "run" / "results.json").read_text()
    assert "NaN" not in json.dumps(json.loads(text))
