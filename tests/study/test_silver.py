"""Reports teach where the reference standard is blank: read strictly, held against gold, never in the test part."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from aimed.core import RefusedError, Severity, StudyFileError
from aimed.study import picture_stages, silver, stages
from aimed.study.pictures import read_picture_cohort
from aimed.study.run import Study
from aimed.study.spec import load_spec, read_spec

SILVER = """
[silver]
column = "report"
names = { "lung mass" = "Mass" }
"""
SAID = {1: {"effusion": "Left pleural effusion.", "lung mass": "There is a mass."},
        0: {"effusion": "No pleural effusion.", "lung mass": "No mass."},
        -1: {"effusion": "Possible pleural effusion.", "lung mass": "Possible mass."}}  # fmt: skip
MARKER = "Zanzibarius"


def written(study, gold=0.5, missed=0.3, seed=0):
    """Add reports to the films of a study, and blank the findings of patients without gold labels."""
    place = study.parent / "table.csv"
    table = pl.read_csv(place)
    rng = np.random.default_rng(seed)
    people = table["patient_id"].unique().sort().to_list()
    chosen = dict(zip(people, rng.random(len(people)) < gold, strict=True))
    reports = []
    for row in table.iter_rows(named=True):
        parts = [f"Patient {MARKER}."]
        for name in ("effusion", "lung mass"):
            value = row[name] if rng.random() > missed or not row[name] else 0
            parts.append("" if not value and rng.random() < 0.3 else SAID[value][name])
        reports.append(" ".join(p for p in parts if p))
    keep = np.array([chosen[p] for p in table["patient_id"]])
    table = table.with_columns(
        *(pl.Series(n, [int(v) if k else None for v, k in zip(table[n], keep, strict=True)])
          for n in ("effusion", "lung mass")),
        pl.Series("report", reports),
    )  # fmt: skip
    table.write_csv(place)
    study.write_text(study.read_text() + SILVER)
    return table


@pytest.fixture
def reported(film_study):
    written(film_study)
    return film_study


@pytest.fixture(scope="module")
def opened(films, tmp_path_factory):
    """A study with reports that is read and split."""
    import shutil

    folder = tmp_path_factory.mktemp("reported") / "study"
    shutil.copytree(films.folder, folder)
    table = written(folder / "study.toml", gold=0.8)
    spec = load_spec(folder / "study.toml")
    cohort = read_picture_cohort(spec, folder / "runs")
    return spec, cohort, stages.draw_split(spec, cohort), table


# ------------------------------------------------------------------------------------------------------ the study file


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("", "either 'column', or 'sections'"),
        ('column = "a"\nsections = { findings = "b" }', "either 'column', or 'sections'"),
        ('column = "a"\nrobust = "backward"', "robust"),
        ('column = "a"\nuncertain = "keep"', "uncertain"),
        ('column = "a"\nnot_mentioned = "ones"', "not_mentioned"),
        ('column = "a"\nrobust = "soft"\nnot_mentioned = "ignore"', "leave 'not_mentioned' out"),
        ('column = "a"\nlexikon = "x"', "did you mean 'lexicon'"),
        ('column = "a"\nnames = { edema = "Edema" }', "names 'edema'"),
    ],
)
def test_what_the_study_file_may_not_say(films, more, match):
    with pytest.raises(StudyFileError, match=match):
        read_spec(f"{films.STUDY}[silver]\n{more}\n")


def test_defaults_and_that_pictures_are_needed(films):
    part = read_spec(films.STUDY + SILVER).silver
    assert (part.lexicon, part.targets, part.robust) == ("chest-xray", "nih", "forward")
    assert (part.uncertain, part.not_mentioned) == ("ignore", "zeros")
    with pytest.raises(StudyFileError, match=r"needs \[images\]"):
        read_spec(
            'schema = 1\n[study]\nid = "a"\ntitle = "abc"\ntask = "classify"\n[data]\nsource = "a.csv"\npatient = "p"\n'
            '[outcome]\ncolumn = "y"\n[silver]\ncolumn = "report"\n'
        )


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        ('column = "report"', 'column = "repotr"', StudyFileError, "did you mean 'report'"),
        ('column = "report"', 'column = "age"', StudyFileError, "holds no text"),
        ('"Mass"', '"Masss"', StudyFileError, "no target 'Masss'"),
        ('column = "report"', 'column = "report"\nlexicon = "mine.toml"', RefusedError, "not there"),
    ],
)
def test_what_cannot_be_read_is_said_before_any_training(reported, old, new, error, match):
    reported.write_text(reported.read_text().replace(old, new))
    with pytest.raises(error, match=match) as caught:
        Study(load_spec(reported)).run(reported.parent / "run")
    assert MARKER not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- reading


def test_reports_are_columns_beside_gold_and_refused_ones_say_nothing(film_study):
    table = written(film_study)
    blank = table.with_columns(pl.Series("report", [None, "FINDINGS:\nIMPRESSION:", *table["report"].to_list()[2:]]))
    blank.write_csv(film_study.parent / "table.csv")
    spec = load_spec(film_study)
    cohort = read_picture_cohort(spec, film_study.parent / "runs")
    said, read = silver.silver_verdicts(cohort)
    assert read.tolist() == [False, False] + [True] * (cohort.n - 2)
    assert np.isnan(said[:2]).all()
    assert silver.silver_facts(cohort) == {"read": cohort.n - 2, "none": 1, "refused": 1}
    expected = [1.0 if "Left pleural" in r else 0.0 if "No pleural" in r else np.nan for r in blank["report"][2:]]
    np.testing.assert_array_equal(said[2:, 0], expected)
    labels = silver.silver_labels(spec, cohort, stages.draw_split(spec, cohort), np.arange(4))
    assert np.isnan(labels.values[:2]).all()
    # The content of reports is part of what a run depends on.
    table.write_csv(film_study.parent / "table.csv")
    assert read_picture_cohort(spec, film_study.parent / "runs").digest() != cohort.digest()


def test_sections_in_columns_of_their_own(film_study):
    table = written(film_study)
    table.with_columns(pl.lit("Rule out pleural effusion.").alias("why")).write_csv(film_study.parent / "table.csv")
    whole = read_picture_cohort(load_spec(film_study), film_study.parent / "runs")
    text = film_study.read_text().replace('column = "report"', 'sections = { indication = "why", findings = "report" }')
    film_study.write_text(text)
    cohort = read_picture_cohort(load_spec(film_study), film_study.parent / "runs")
    np.testing.assert_array_equal(silver.silver_verdicts(cohort)[0], silver.silver_verdicts(whole)[0])


# ------------------------------------------------------------------------------------------------------------ the noise


def test_noise_is_that_of_training_rows_with_gold(opened):
    spec, cohort, split, table = opened
    noise = silver.noise_of(spec, cohort, split)
    train = split.parts["train"]
    gold = np.column_stack([table[n].to_numpy() for n in spec.outcome.findings]).astype(float)[train]
    assert noise.rows == int((~np.isnan(gold).all(axis=1)).sum())
    said = np.array(["Left pleural" in r for r in table["report"]])[train]
    present = gold[:, 0] == 1
    assert float(noise.findings[0].sensitivity) == pytest.approx((said & present).sum() / present.sum())
    assert float(noise.findings[0].specificity) == 1.0
    # The test part may hold anything: it tells nothing.
    values = np.array(cohort.outcome.values)
    values[split.parts["test"]] = 1 - values[split.parts["test"]]
    other = replace(cohort, outcome=replace(cohort.outcome, values=values))
    np.testing.assert_array_equal(silver.noise_of(spec, other, split).flips, noise.flips)


def test_uncertain_gold_stays_unknown(film_study):
    table = written(film_study)
    effusion = [-1 if v == 1 else v for v in table["effusion"]]
    table.with_columns(pl.Series("effusion", effusion)).write_csv(film_study.parent / "table.csv")
    spec = load_spec(film_study)
    cohort = read_picture_cohort(spec, film_study.parent / "runs")
    rows = np.arange(cohort.n)
    labels = silver.silver_labels(spec, cohort, stages.draw_split(spec, cohort), rows)
    doubtful = np.array([v == -1 for v in effusion])
    assert doubtful.any()
    assert np.isnan(labels.values[doubtful, 0]).all()
    assert not np.isnan(labels.values[np.array([v is None for v in effusion]), 0]).any()


@pytest.mark.parametrize("robust", ["none", "forward", "soft"])
def test_what_each_way_teaches(opened, robust):
    spec, cohort, split, _ = opened
    spec = spec.model_copy(update={"silver": spec.silver.model_copy(update={"robust": robust})})
    found = silver.silver_labels(spec, cohort, split, split.parts["train"])
    assert (found.flips is not None) == (robust == "forward")
    known = found.values[~np.isnan(found.values)]
    assert np.isin(known, (0.0, 1.0)).all() == (robust != "soft")
    block = silver.noise_block(spec, cohort, split, picture_stages.tune_part(split)[0])
    assert block["robust"] == robust
    taught = [one["taught"] for one in block["findings"]]
    assert all(t["silver"] > 0 and t["gold"] > 0 for t in taught)


# ----------------------------------------------------------------------------------------------------------- the checks


def check(spec, cohort, split):
    return {(f.severity, f.evidence.get("part")): f for f in silver.check_silver(spec, cohort, split)}


def test_too_little_gold_ends_the_run(opened):
    spec, cohort, split, _ = opened
    values = np.array(cohort.outcome.values)
    values[split.parts["test"]] = np.nan
    found = check(spec, replace(cohort, outcome=replace(cohort.outcome, values=values)), split)
    assert "0 rows with a gold label" in found[Severity.STOP, "test"].message
    values = np.array(cohort.outcome.values)
    values[split.parts["train"]] = np.nan
    found = check(spec, replace(cohort, outcome=replace(cohort.outcome, values=values)), split)
    assert "label noise cannot be estimated" in found[Severity.STOP, None].message
    assert found[Severity.STOP, "tune"]


def test_a_study_without_silver_labels_says_nothing(films, tmp_path):
    spec = load_spec(films.folder / "study.toml")
    cohort = read_picture_cohort(spec, tmp_path)
    split = stages.draw_split(spec, cohort)
    assert silver.check_silver(spec, cohort, split) == []
    assert silver.silver_labels(spec, cohort, split, np.arange(5)) is None
    assert silver.silver_key(spec) is None
    np.testing.assert_array_equal(picture_stages.test_rows(spec, cohort, split), split.parts["test"])


# -------------------------------------------------------------------------------------------------------------- the run


@pytest.mark.slow
def test_a_whole_run_is_judged_by_gold_and_keeps_reports_to_itself(film_study, films):
    pytest.importorskip("torch", reason="the deep extra is not installed")
    films_of = film_study.parent / "more"
    films.write_films(films_of, n=240, seed=3)
    for name in ("table.csv", "films"):
        old = film_study.parent / name
        old.rename(film_study.parent / f"old-{name}")
        (films_of / name).rename(old)
    table = written(film_study, gold=0.7)
    home = film_study.parent / "run"
    run = Study(load_spec(film_study)).run(home)
    block = run.results["label_noise"]
    assert block["rows"] > 50
    gold = {i for i, v in enumerate(table["effusion"]) if v is not None}
    predicted = pl.read_parquet(home / "predictions.parquet")
    assert predicted.height == run.results["performance"]["n"] < run.results["data"]["parts"]["test"]["n"]
    assert predicted["outcome@effusion"].is_not_null().all()
    assert len(gold) < table.height
    page = run.report.read_text()
    assert "Labels read out of reports" in page
    assert any("read out of reports" in said for said in run.results["limits"]["limitations"])
    for path in home.rglob("*"):
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path.name
    again = Study(load_spec(film_study)).run(home)
    strip = [json.dumps(r.results["label_noise"], sort_keys=True) for r in (run, again)]
    assert strip[0] == strip[1]
    # Another way of training is another fit.
    film_study.write_text(film_study.read_text().replace('column = "report"', 'column = "report"\nrobust = "soft"'))
    other = Study(load_spec(film_study)).run(home)
    assert other.results["label_noise"]["robust"] == "soft"
    assert other.results["model"]["leaderboard"][0]["mean"] != run.results["model"]["leaderboard"][0]["mean"]
