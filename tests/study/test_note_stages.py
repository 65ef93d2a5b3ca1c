"""Stages of a study of notes: what is chosen on rows is not judged on them, and noise in labels claims nothing."""

import json

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.metrics.report_labels import f1_thresholds
from aimed.study import note_stages
from aimed.study.note_evidence import said_of

FINDINGS = ("Pleural Effusion", "Cardiomegaly", "Pneumothorax")


def write(made, folder, table, *changes):
    table.write_csv(folder / "reports.csv")
    text = made.STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def test_thresholds_of_the_leaderboard_come_from_other_rows():
    rng = np.random.default_rng(0)
    y, risk = (rng.random((60, 1)) < 0.3).astype(float), rng.random((60, 1))
    half = np.arange(60) < 30
    said = note_stages.called(y[half], risk[half], risk[~half])
    assert np.array_equal(said[:, 0], risk[~half, 0] >= f1_thresholds(y[half], risk[half])[0])
    never = note_stages.called(np.zeros((4, 1)), np.ones((4, 1)), np.ones((2, 1)))
    assert not never.any()


def test_a_denial_that_the_model_overrules_is_present_and_a_mention_that_it_does_not_call_is_open():
    said = said_of(np.array([[1.0, 1, 0, 0]]), np.array([[0.0, -1, 1, -1]]))
    assert said.tolist() == [[1, 1, -1, -1]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_that_mean_nothing_claim_nothing(made_notes, tmp_path, seed):
    table = made_notes.frame(240, seed)
    order = np.random.default_rng(seed + 100).permutation(table.height)
    table = table.with_columns([table[name][order] for name in FINDINGS])
    run = aimed.study(write(made_notes, tmp_path, table, ("seed = 1", f"seed = {seed}"))).run(tmp_path / "run")
    assert run.verdict == "not met"
    assert run.results["verdict"]["simple_model"]["beaten"] is False
    kappa = run.results["performance"]["measures"]["micro_kappa"]
    assert kappa["lower"] is None or kappa["lower"] <= 0 <= kappa["upper"]
    gap = run.results["performance"]["differences"]["prevalence"]["micro_f1"]
    assert gap["lower"] is None or gap["lower"] <= 0
    page = (tmp_path / "run" / "report.html").read_text()
    if "better than lexicon" in page:
        assert "this is no sign of reading" in page


def test_ten_notes_end_in_an_error_with_a_name(made_notes, tmp_path):
    with pytest.raises(aimed.AimedError) as error:
        aimed.study(write(made_notes, tmp_path, made_notes.frame(10))).run(tmp_path / "run")
    assert "Effusion" in str(error.value) or "train" in str(error.value)
    assert "film" not in str(error.value)


@pytest.mark.slow
def test_few_notes_read_rightly_have_an_interval_and_groups_their_own_measures(made_notes, tmp_path):
    table = made_notes.frame(60, 3).with_columns(pl.col("Pneumothorax").cast(pl.Float64))
    asked = ('"micro_f1.lower >= 0.8"', '"micro_f1.lower >= 0.2", "worst_subgroup(recall@Cardiomegaly) >= 0.1"')
    run = aimed.study(write(made_notes, tmp_path, table, asked, ("min_events = 5", "min_events = 1"))).run(
        tmp_path / "run"
    )
    found = run.results["performance"]["measures"]
    assert found["micro_f1"]["lower"] is not None
    assert found["micro_f1"]["lower"] < found["micro_f1"]["value"] <= found["micro_f1"]["upper"]
    groups = json.dumps(run.results["subgroups"])
    assert "no such measure" not in groups
    assert "recall@Cardiomegaly" in groups
    assert "close, not exact" in run.results["conformal"]["assumption"]


def test_a_study_says_which_doubt_its_labels_count_as_present(made_notes, tmp_path):
    names = {}
    for targets in ("nih", "chexpert"):
        folder = tmp_path / targets
        folder.mkdir()
        file = write(
            made_notes, folder, made_notes.frame(60),
            ('identifiers = "none"', f'identifiers = "none"\ntargets = "{targets}"\n{_RENAMED[targets]}'),
        )  # fmt: skip
        spec = aimed.study(file).spec
        names[targets] = [one.evidence["doubt_as_present"] for one in note_stages._conventions(spec)]
    assert names == {"nih": [["likely", "alternative"]], "chexpert": []}


@pytest.mark.parametrize("reader", ["lexicon", "words", "combined"])
def test_a_finding_the_lexicon_does_not_know_is_told_before_anything_is_trained(made_notes, tmp_path, reader):
    file = write(
        made_notes, tmp_path, made_notes.frame(60),
        ('identifiers = "none"', 'identifiers = "none"\ntargets = "nih"'),
        ('candidates = ["lexicon", "words"]', f'candidates = ["{reader}"]'),
    )  # fmt: skip
    with pytest.raises(aimed.AimedError, match="no target"):
        aimed.study(file).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


_RENAMED = {"nih": 'names = { "Pleural Effusion" = "Effusion" }', "chexpert": ""}
