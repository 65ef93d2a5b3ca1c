"""A picture study is read strictly: its file, its labels, its pictures; what is refused is counted."""

from __future__ import annotations

import errno
import os
import shutil
from importlib import util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aimed.core import AimedError, DataError, RefusedError, StudyFileError
from aimed.readers.image_cache import ImageCache
from aimed.study.pictures import images_of, picture_facts, raw_labels, read_picture_cohort, views_of
from aimed.study.run import Study
from aimed.study.spec import load_spec, read_spec

IMAGES = '[images]\ncolumn = "path"\nsize = 32\nview = "view"\nshortcuts = ["age", "sex"]\n'
FINDINGS = 'findings = ["effusion", "lung mass"]'
DRAWN = ('source = "table.csv"', 'source = "synthetic:chest"')


@pytest.fixture(scope="module")
def dicom():
    """The maker of DICOM files of the reader tests."""
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
    place = Path(__file__).parents[1] / "readers" / "conftest.py"
    spec = util.spec_from_file_location("reader_fixtures", place)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_dicom


def edited(text: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def change(study: Path, *edits: tuple[str, str]) -> None:
    study.write_text(edited(study.read_text(), *edits))


def table_of(study: Path) -> pl.DataFrame:
    return pl.read_csv(study.parent / "table.csv")


def read(study: Path, data=None, **options):
    return read_picture_cohort(load_spec(study), study.parent / "runs", data, **options)


# ------------------------------------------------------------------------------------------------------ the study file


@pytest.mark.parametrize(
    ("edits", "where", "words"),
    [
        ([(IMAGES, "")], "findings = ", r"\[outcome\] 'findings' are read from pictures or notes: add \[images\]"),
        (
            [(FINDINGS, 'column = "effusion"')],
            "[images]",
            r"\[images\] needs task 'classify' and \[outcome\] 'findings'",
        ),
        ([('task = "classify"', 'task = "risk"')], "[images]", r"\[images\] needs task 'classify'"),
        (
            [("[split]", '[predictors]\ninclude = ["age"]\n[split]')],
            "[predictors]",
            r"\[predictors\] beside \[images\]",
        ),
        ([("[split]", '[predictors]\nmissing = "mean"\n[split]')], "[predictors]", r"\[predictors\] beside \[images\]"),
        ([("[split]", "[tune]\ntrials = 5\n[split]")], "trials", r"\[tune\] 'trials' beside \[images\]"),
        ([("draws = 50", "draws = 50\noptimism = 50")], "optimism", r"\[evaluate\] 'optimism' beside \[images\]"),
        ([("draws = 50", "draws = 50\nstability = 5")], "stability", r"\[evaluate\] 'stability' beside \[images\]"),
        (
            [("[split]", '[model.scores.chads]\nage = "age"\n[split]')],
            "[model]",
            r"\[model\] 'scores' beside \[images\]",
        ),
        ([("[split]", "[explain]\nrepeats = 5\n[split]")], "repeats", r"\[explain\] 'repeats' beside \[images\]"),
        ([('["effusion", "lung mass"]', '["lung_mass", "lung mass"]')], "[outcome]", "'lung_mass' and 'lung mass' are"),
        ([('["effusion", "lung mass"]', '["effusion", "effusion"]')], "[outcome]", "'effusion' and 'effusion'"),
        ([('["effusion", "lung mass"]', '["effusion", ""]')], "[outcome]", "empty name"),
        ([(FINDINGS, f"{FINDINGS}\npositive = 1")], "[outcome]", "they go without 'positive'"),
        ([(FINDINGS, f'{FINDINGS}\ntime = "t"')], "[outcome]", "they go without 'time'"),
        ([(FINDINGS, f'{FINDINGS}\nevent = "e"')], "[outcome]", "they go without 'event'"),
        ([(FINDINGS, f"{FINDINGS}\nhorizon = 3.0")], "[outcome]", "they go without 'horizon'"),
        ([(FINDINGS, f'{FINDINGS}\nuncertain = "maybe"')], "uncertain", r"\[outcome\] uncertain .*'ignore', 'zeros'"),
        ([(FINDINGS, f'{FINDINGS}\nseparator = ""')], "separator", r"\[outcome\] separator"),
        ([("size = 32", "size = 32\nregions = { boxes = 'a.csv', masks = 'm' }")], "regions", "either 'boxes' or"),
        ([("size = 32", "size = 32\nregions = {}")], "regions", "either 'boxes' or 'masks'"),
        ([("size = 32", "size = 8")], "size", r"\[images\] size"),
        ([("size = 32", "size = 32\nbits = 12")], "bits", r"\[images\] bits .*8 or 16"),
        ([('column = "path"\n', "")], "[images]", r"\[images\] column is missing"),
        ([("size = 32", "sise = 32")], "sise", r"unknown key \[images\] sise; .*did you mean 'size'"),
        (
            [("size = 32", "size = 32\nweights = { file = 'w', sha256 = '12' }")],
            "weights",
            r"\[images\] weights.sha256",
        ),
        (
            [("[images]", "synthetic = { patients = 50 }\n[images]")],
            "synthetic = ",
            r"\[data\] 'synthetic' goes with source",
        ),
        ([DRAWN, (IMAGES, "")], "source", r"\[data\] 'source' holds pictures"),
        (
            [DRAWN, ("[images]", "synthetic = { patients = 2 }\n[images]")],
            "synthetic = ",
            r"\[data\] synthetic.patients",
        ),
        (
            [
                DRAWN,
                (
                    "[images]",
                    "synthetic = { patients = 99, shortcut = { finding = 'effusion', by = 'dog' } }\n[images]",
                ),
            ],
            "synthetic = ",
            r"\[data\] synthetic.shortcut.by .*'marker'",
        ),
        ([('["small_cnn"]', '["small_cnn", "small_cnn"]')], "[model]", r"'candidates' names one twice"),
        ([("[split]", 'separator = ";"\nsize = 3\n[split]')], "size = 3\n", r"unknown key \[outcome\] size"),
    ],
)
def test_wrong_study_files_say_where_and_what(films, edits, where, words):
    text = edited(films.STUDY, *edits)
    line = text[: text.index(where)].count("\n") + 1
    with pytest.raises(StudyFileError, match=rf"^study file, line {line}: .*{words}"):
        read_spec(text)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([('["small_cnn"]', '["small_cn"]')], "did you mean 'small_cnn'"),
        ([('["small_cnn"]', '["logistic"]')], "no picture model called 'logistic'"),
        ([("max_epochs = 2", "max_epoch = 2")], "did you mean 'max_epochs'"),
        ([("max_epochs = 2", "random_state = 2")], "random_state is set by the study"),
        ([("parameters.small_cnn", "parameters.densenet121")], "belongs to no candidate; expected one of: small_cnn"),
        ([('["small_cnn"]', '["small_cnn"]\nbaselines = ["prevalenc"]')], "expected one of: prevalence, acquisition"),
        ([('["small_cnn"]', '["small_cnn"]\nbaselines = ["published:x"]')], "expected one of: prevalence, acquisition"),
        ([("macro_auroc >=", "auroc >=")], "did you mean 'macro_auroc'"),
        ([("macro_auroc >=", "auroc@mass >=")], "did you mean 'auroc@lung_mass'"),
        ([("macro_auroc >=", "difference(cox).macro_auroc >=")], "no measure of this study"),
        ([("draws = 50", 'draws = 50\nprimary = "auroc"')], "no measure called 'auroc'"),
        ([("size = 32", "size = 32\nweights = { file = 'w' }")], "'densenet121', which no candidate is built on"),
        ([("size = 32", "size = 32\nweights = { file = 'w', architecture = 'resnet' }")], "'resnet', which no"),
    ],
)
def test_names_that_do_not_exist_are_refused_when_the_study_is_opened(films, edits, words):
    with pytest.raises(StudyFileError, match=words):
        Study(read_spec(edited(films.STUDY, *edits)))


@pytest.mark.parametrize(
    ("edits", "kind", "words"),
    [
        ([("max_epochs = 2", "max_epochs = -2")], StudyFileError, "max_epochs = -2; expected an integer >= 1"),
        ([("max_epochs = 2", 'max_epochs = "2"')], StudyFileError, "an integer >= 1"),
        ([("widths", "wdths")], StudyFileError, "does not take all of: wdths"),
        (
            [("size = 32", "size = 32\nweights = { file = 'w', architecture = 'small_cnn' }")],
            StudyFileError,
            "not there",
        ),
        (
            [
                (
                    "size = 32",
                    f"size = 32\nweights = {{ file = 'table.csv', architecture = 'small_cnn', sha256 = '{'0' * 64}' }}",
                )
            ],
            RefusedError,
            "the file of weights has SHA-256",
        ),
    ],
)
def test_what_would_stop_training_is_said_before_pictures_are_read(film_study, edits, kind, words):
    pytest.importorskip("torch", reason="the deep extra is not installed")
    change(film_study, *edits)
    with pytest.raises(kind, match=words):
        Study(load_spec(film_study)).run(film_study.parent / "runs" / "a")
    assert not (film_study.parent / "runs").exists()


# -------------------------------------------------------------------------------------------------------------- labels


def test_labels_and_every_policy(film_study, films):
    frame = table_of(film_study)
    given = [1, 0, -1, None] * (frame.height // 4)
    frame.with_columns(effusion=pl.Series(given, dtype=pl.Int64)).write_csv(film_study.parent / "table.csv")
    expected = {"ignore": np.nan, "zeros": 0.0, "ones": 1.0}
    for policy, value in expected.items():
        change(film_study, (FINDINGS, f'{FINDINGS}\nuncertain = "{policy}"'))
        cohort = read(film_study)
        np.testing.assert_array_equal(cohort.outcome.values[:, 0], [1, 0, value, np.nan] * (frame.height // 4))
        np.testing.assert_array_equal(raw_labels(cohort)[:, 0], [1, 0, -1, np.nan] * (frame.height // 4))
        np.testing.assert_array_equal(cohort.outcome.values[:, 1], frame["lung mass"])
        change(film_study, (f'\nuncertain = "{policy}"', ""))
    assert cohort.outcome.targets == films.FINDINGS
    assert {v.name: v.label for v in cohort.variables if v.role == "outcome"} == {
        "finding:effusion": "effusion",
        "finding:lung mass": "lung mass",
    }


def test_labels_joined_in_one_column(film_study):
    frame = table_of(film_study)
    joined = ["effusion|lung mass", " effusion ", "No Finding", None, "lung mass|other", "other", "effusionX", " "] * 9
    frame.drop("effusion", "lung mass").with_columns(labels=pl.Series(joined)).write_csv(
        film_study.parent / "table.csv"
    )
    change(film_study, (FINDINGS, f'{FINDINGS}\ncolumn = "labels"'))
    expected = np.array([[1, 1], [1, 0], [0, 0], [np.nan] * 2, [0, 1], [0, 0], [0, 0], [np.nan] * 2] * 9, dtype=float)
    np.testing.assert_array_equal(read(film_study).outcome.values, expected)
    swapped = table_of(film_study).with_columns(pl.col("labels").str.replace_all("|", ";", literal=True))
    swapped.write_csv(film_study.parent / "table.csv")
    change(film_study, ('column = "labels"', 'column = "labels"\nseparator = ";"'))
    np.testing.assert_array_equal(read(film_study).outcome.values, expected)


def test_a_finding_that_no_row_names_is_a_mistake(film_study):
    frame = table_of(film_study).drop("effusion", "lung mass")
    labels = pl.Series(["Effusion|Lung mass", "No Finding"] * 36)
    frame.with_columns(labels=labels).write_csv(film_study.parent / "table.csv")
    change(film_study, (FINDINGS, f'{FINDINGS}\ncolumn = "labels"'))
    with pytest.raises(DataError, match=r"no row of 'labels' names the finding 'effusion'.*did you mean 'Effusion'"):
        read(film_study)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["yes SECRET"] * 3 + ["1"] * 69, "3 labels of 'effusion' are no numbers"),
        ([2] * 5 + [0] * 67, "5 labels of 'effusion' are none of 1, 0, -1, NaN"),
        ([0.5] * 5 + [0] * 67, "5 labels of 'effusion' are none of 1, 0, -1, NaN"),
        (["inf"] * 5 + ["0"] * 67, "5 labels of 'effusion' are none of"),
    ],
)
def test_other_labels_are_refused_without_their_values(film_study, column, words):
    table_of(film_study).with_columns(effusion=pl.Series(column, strict=False)).write_csv(
        film_study.parent / "table.csv"
    )
    with pytest.raises(DataError, match=words) as caught:
        read(film_study)
    assert "SECRET" not in str(caught.value)


def test_columns_that_are_not_there_are_named_with_their_place(film_study):
    for old, new, words in (
        ('"effusion", ', '"efusion", ', r"\[outcome\] findings names the column 'efusion'.*did you mean 'effusion'"),
        ('view = "view"', 'view = "vew"', r"\[images\] view names the column 'vew'.*did you mean 'view'"),
        ('["age", "sex"]', '["aga"]', r"\[images\] shortcuts names the column 'aga'.*did you mean 'age'"),
        ("size = 32", 'size = 32\nstudy = "exm"', r"\[images\] study names the column 'exm'.*did you mean 'exam'"),
        ('column = "path"', 'column = "pth"', r"no column 'pth'.*did you mean 'path'"),
        ('columns = ["sex"]', 'columns = ["sx"]', r"\[subgroups\] columns names the column 'sx'"),
        ('columns = ["sex"]', 'columns = ["effusion"]', "a role of its own"),
        ('columns = ["sex"]', 'columns = ["patient_id"]', "a role of its own"),
        ('columns = ["sex"]', 'columns = ["age"]', "cut it into bands"),
        ('columns = ["sex"]', 'columns = ["exam"]', "a text column"),
        ("size = 32", "size = 32\nregions = { boxes = 'b.csv' }", r"\[images\] regions names a table of boxes"),
        ("size = 32", "size = 32\nregions = { masks = 'm' }", r"\[images\] regions names a folder of masks"),
        ("size = 32", "size = 32\nregions = { boxes = 'table.csv' }", "no column 'finding'"),
        ("size = 32", 'size = 32\nviews = ["LATERAL"]', r"\[images\] views names 'LATERAL'.*such as AP, PA"),
    ):
        text = film_study.read_text()
        change(film_study, (old, new))
        with pytest.raises(AimedError, match=words) as caught:
            read(film_study)
        assert "SECRET" not in str(caught.value)
        film_study.write_text(text)


def test_the_examination_is_in_no_table(film_study):
    short = table_of(film_study).head(40)
    short.write_csv(film_study.parent / "table.csv")
    change(film_study, ("size = 32", 'size = 32\nstudy = "exam"'))
    study = Study(load_spec(film_study))
    cohort = study.read(film_study.parent / "runs")
    assert cohort.variable("exam").kind == "text"
    assert any(f.check == "image_labels" for f in study.check())


# ------------------------------------------------------------------------------------------------------------ pictures


def test_each_row_has_the_pixels_of_its_file(film_study, films):
    cohort = read(film_study)
    images = images_of(cohort)
    frame = table_of(film_study)
    assert [f.path.name for f in images.files] == [Path(p).name for p in frame["path"]]
    for row in (0, 17, 71):
        own = ImageCache.build([images.files[row]], film_study.parent / "one", size=32)[0]
        np.testing.assert_array_equal(images.rows([row])[0], own)
    assert views_of(cohort).tolist() == frame["view"].to_list()
    assert picture_facts(cohort) == {
        "files": 72,
        "refused": {},
        "size": 32,
        "bits": 8,
        "views": dict(zip(*[v.tolist() for v in np.unique(frame["view"], return_counts=True)], strict=True)),
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(24)),
    gone=st.sets(st.integers(0, 23), max_size=6),
    rule=st.sampled_from([None, "sex == 'F'", "age in [35, 70]", "effusion == 1", "image_view == 'PA'"]),
)
def test_pixels_labels_and_patients_stay_together(film_study, order, gone, rule):
    """Whatever the order of the rows, whichever files are refused and rows excluded."""
    whole = table_of(film_study).head(24).with_row_index("row")
    frame = whole[list(order)].with_columns(
        path=pl.when(pl.col("row").is_in(list(gone))).then(pl.lit("films/no.png")).otherwise("path")
    )
    spec = load_spec(film_study)
    if rule:
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"include": (rule,)})})
    cohort = read_picture_cohort(spec, film_study.parent / "runs", frame)
    kept = frame.filter(pl.col("path") != "films/no.png").rename({"view": "image_view"})
    if rule == "sex == 'F'":
        kept = kept.filter(pl.col("sex") == "F")
    elif rule == "age in [35, 70]":
        kept = kept.filter(pl.col("age").is_between(35, 70))
    elif rule == "effusion == 1":
        kept = kept.filter(pl.col("effusion") == 1)
    elif rule:
        kept = kept.filter(pl.col("image_view") == "PA")
    images = images_of(cohort)
    assert cohort.patient.tolist() == kept["patient_id"].to_list()
    assert [f.path.name for f in images.files] == [Path(p).name for p in kept["path"]]
    np.testing.assert_array_equal(cohort.outcome.values, kept.select("effusion", "lung mass").to_numpy())
    assert views_of(cohort).tolist() == kept["image_view"].to_list()
    np.testing.assert_array_equal(cohort.column("age"), kept["age"])
    fresh = [np.asarray(Image.open(film_study.parent / p).convert("L"), dtype=float) for p in kept["path"]]
    # Shrinking keeps the mean; every film has a mean of its own.
    own = np.array([f.mean() for f in fresh])
    seen = images.rows(np.arange(len(images))).reshape(len(images), -1).mean(axis=1)
    np.testing.assert_allclose(seen, own, atol=1.0)
    take = cohort.take(np.arange(cohort.n)[::-1])
    np.testing.assert_array_equal(images_of(take).rows([0])[0], images.rows([cohort.n - 1])[0])
    assert len(gone) == sum(picture_facts(cohort)["refused"].values())


def spoil(folder: Path, dicom) -> dict[str, tuple[str, str]]:
    """Write one file of each kind that is refused; return name → (path in the table, code)."""
    ramp = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40)
    films = folder / "films"
    (films / "empty.png").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(films / "photo.png")
    Image.fromarray(np.zeros((1, 30_000), dtype=np.uint8)).save(films / "wide.png")
    (films / "text.png").write_text("no picture")
    whole = next(films.glob("*000.png")).read_bytes()
    (films / "cut.png").write_bytes(whole[: len(whole) // 2])
    (films / "cut.dcm").write_bytes(dicom(ramp)[:-900])
    (films / "ct.dcm").write_bytes(dicom(ramp, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    (films / "syntax.dcm").write_bytes(dicom(ramp, syntax="1.2.840.99999.1"))
    shutil.copy(next(films.glob("*000.png")), folder.parent / "outside.png")
    return {
        "missing": ("films/nothing.png", "MISSING"),
        "blank": ("", "MISSING"),
        "outside": ("../outside.png", "OUTSIDE"),
        "empty": ("films/empty.png", "EMPTY"),
        "photo": ("films/photo.png", "NOT_RADIOGRAPH"),
        "wide": ("films/wide.png", "TOO_LARGE"),
        "text": ("films/text.png", "NOT_AN_IMAGE"),
        "cut png": ("films/cut.png", "TRUNCATED"),
        "cut dicom": ("films/cut.dcm", "TRUNCATED"),
        "ct": ("films/ct.dcm", "NOT_RADIOGRAPH"),
        "syntax": ("films/syntax.dcm", "UNKNOWN_SYNTAX"),
    }


def test_files_that_cannot_be_used_are_counted_and_the_rest_goes_on(film_study, dicom):
    bad = spoil(film_study.parent, dicom)
    frame = table_of(film_study)
    paths = frame["path"].to_list()
    places = {name: 3 + 5 * k for k, name in enumerate(bad)}
    for name, row in places.items():
        paths[row] = bad[name][0]
    frame.with_columns(path=pl.Series(paths)).write_csv(film_study.parent / "table.csv")
    cohort = read(film_study)
    codes = [code for _, code in bad.values()]
    assert picture_facts(cohort)["refused"] == {code: codes.count(code) for code in sorted(set(codes))}
    step = next(s for s in cohort.flow if s.step == "Pictures that can be read")
    assert (step.removed, step.remaining) == (len(bad), 72 - len(bad))
    kept = frame.with_row_index().filter(~pl.col("index").is_in(list(places.values())))
    np.testing.assert_array_equal(cohort.outcome.values, kept.select("effusion", "lung mass").to_numpy())
    assert [f.path.name for f in images_of(cohort).files] == [Path(p).name for p in kept["path"]]
    study = Study(load_spec(film_study))
    study.read(film_study.parent / "runs")
    told = next(found for found in study.check() if "refused" in found.message)
    assert told.severity.value == "WARN"
    assert told.message.startswith(f"{len(bad)} of 72 files were refused: ")
    assert all(code in told.message for code in codes)


def test_nothing_that_can_be_read_is_an_error(film_study):
    table_of(film_study).with_columns(path=pl.lit("films/no.png")).write_csv(film_study.parent / "table.csv")
    with pytest.raises(DataError, match="none of the 72 pictures"):
        read(film_study)
    (film_study.parent / "films" / "bad.png").write_bytes(b"x")
    table_of(film_study).with_columns(path=pl.lit("films/bad.png")).write_csv(film_study.parent / "table.csv")
    with pytest.raises(DataError, match=r"not one of the 72 pictures can be read \(NOT_AN_IMAGE 72\)"):
        read(film_study)


def test_views_restrict_and_come_from_the_table(film_study):
    change(film_study, ("size = 32", 'size = 32\nviews = ["PA"]'))
    cohort = read(film_study)
    frame = table_of(film_study)
    assert cohort.n == (frame["view"] == "PA").sum()
    assert set(views_of(cohort)) == {"PA"}
    assert cohort.flow[-1].removed == (frame["view"] == "AP").sum()


def test_views_of_dicom_files(film_study, dicom):
    frame = table_of(film_study)
    paths = frame["path"].to_list()
    for row, view in enumerate(["PA", "AP", "LL"]):
        ramp = (np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) + 7 * row) * 2
        (film_study.parent / f"films/{row}.dcm").write_bytes(dicom(ramp, ViewPosition=view, bits=12, KVP=80 + row))
        paths[row] = f"films/{row}.dcm"
    frame.with_columns(path=pl.Series(paths)).write_csv(film_study.parent / "table.csv")
    change(film_study, ('view = "view"\n', ""))
    cohort = read(film_study)
    assert views_of(cohort)[:4].tolist() == ["PA", "AP", "LATERAL", "unknown"]
    np.testing.assert_array_equal(cohort.column("image_kvp")[:4], [80, 81, 82, np.nan])
    assert picture_facts(cohort)["views"] == {"AP": 1, "LATERAL": 1, "PA": 1, "unknown": 69}
    change(film_study, ('patient = "patient_id"', 'patient = "patient_id"\ninclude = ["image_kvp >= 81"]'))
    assert read(film_study).n == 2


def test_the_same_file_named_twice(film_study):
    frame = table_of(film_study)
    paths = frame["path"].to_list()
    paths[5] = paths[4] = paths[3]
    frame.with_columns(path=pl.Series(paths)).write_csv(film_study.parent / "table.csv")
    study = Study(load_spec(film_study))
    cohort = study.read(film_study.parent / "runs")
    images = images_of(cohort)
    assert cohort.n == 72
    np.testing.assert_array_equal(images.rows([3])[0], images.rows([5])[0])
    found = [f for f in study.check() if f.check == "image_duplicates"]
    assert found
    assert any(f.severity.value in ("WARN", "STOP") for f in found)


def test_a_frame_takes_the_place_of_the_table(film_study):
    (film_study.parent / "frame.csv").write_bytes((film_study.parent / "table.csv").read_bytes())
    frame = table_of(film_study).sample(fraction=1.0, shuffle=True, seed=3)
    given = Study(load_spec(film_study), frame.head(30)).read(film_study.parent / "runs")
    (film_study.parent / "table.csv").unlink()
    assert given.n == 30
    assert given.patient.tolist() == frame["patient_id"].head(30).to_list()
    assert [f.path.name for f in images_of(given).files] == [Path(p).name for p in frame["path"].head(30)]
    boolean = frame.with_columns(pl.col("effusion").cast(pl.Boolean))
    np.testing.assert_array_equal(
        Study(load_spec(film_study), boolean).read(film_study.parent / "runs").outcome.values[:, 0], frame["effusion"]
    )


def test_folder_cache_and_bits(film_study):
    (film_study.parent / "deep").mkdir()
    shutil.move(film_study.parent / "films", film_study.parent / "deep" / "films")
    change(film_study, ("size = 32", 'size = 32\nbits = 16\nfolder = "deep"\ncache = "kept"'))
    cohort = read(film_study)
    assert images_of(cohort).rows([0]).dtype == np.uint16
    assert (film_study.parent / "kept").is_dir()
    assert not (film_study.parent / "runs").exists()


def test_the_digest_knows_labels_pixels_and_order(film_study):
    first = read(film_study).digest()
    frame = table_of(film_study)
    assert read(film_study).digest() == first
    assert read(film_study, frame[::-1]).digest() != first
    changed = frame.with_columns(effusion=pl.Series([1 - frame["effusion"][0], *frame["effusion"][1:]]))
    assert read(film_study, changed).digest() != first
    shutil.copy(film_study.parent / frame["path"][1], film_study.parent / frame["path"][0])
    assert read(film_study).digest() != first
    # What a finding is called is shown in every figure; so it is part of what was studied.
    text = film_study.read_text()
    shown = read(film_study).digest()
    film_study.write_text(text + '[variables.effusion]\nlabel = "Fluid"\n')
    assert read(film_study).digest() != shown


@pytest.mark.parametrize("by", ["site", "time", "column"])
def test_other_splits(film_study, by):
    change(
        film_study,
        ('patient = "patient_id"', 'patient = "patient_id"\nsite = "site"\ntime = "taken"'),
        ("[split]\n", {
            "site": '[split]\ntest = { by = "site", hold_out = ["west"] }\n',
            "time": '[split]\ntest = { by = "time", from = 2013-01-01 }\n',
            "column": '[split]\ntest = { by = "column", column = "part" }\n',
        }[by]),
    )  # fmt: skip
    frame = table_of(film_study).with_columns(
        part=pl.when(pl.col("site") == "west").then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    frame.write_csv(film_study.parent / "table.csv")
    study = Study(load_spec(film_study))
    study.read(film_study.parent / "runs")
    expected = frame["taken"].str.to_date() >= pl.date(2013, 1, 1) if by == "time" else frame["site"] == "west"
    rows = np.flatnonzero(pl.select(expected).to_series().to_numpy() if by == "time" else expected.to_numpy())
    np.testing.assert_array_equal(np.sort(study.split().parts["test"]), rows)


# -------------------------------------------------------------------------------------------------------------- faults


def test_a_full_disk_while_pictures_are_cached(film_study, monkeypatch):
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr("aimed.readers.image_cache._BATCH", 8)
    monkeypatch.setattr("aimed.readers.image_cache.os.fsync", full)
    with pytest.raises(DataError, match=r"the disk of the picture cache is full.*free some space"):
        read(film_study)
    monkeypatch.undo()
    cohort = read(film_study)
    assert cohort.n == 72
    fresh = read_picture_cohort(load_spec(film_study), film_study.parent / "fresh")
    np.testing.assert_array_equal(images_of(cohort).rows(np.arange(72)), images_of(fresh).rows(np.arange(72)))


def test_a_cache_that_cannot_be_made(film_study):
    (film_study.parent / "runs").write_text("a file")
    with pytest.raises(DataError, match="picture cache cannot be written"):
        read(film_study)


def test_synthetic_films_are_drawn_once(tmp_path, films):
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    text = edited(
        films.STUDY,
        ('source = "table.csv"', 'source = "synthetic:chest"\nsynthetic = { patients = 20, size = 64 }'),
        ('view = "view"\n', 'regions = { masks = "masks" }\n'),
        ('["effusion", "lung mass"]', '["effusion", "nodule"]'),
    )
    (tmp_path / "study.toml").write_text(text)
    cohort = read(tmp_path / "study.toml")
    assert cohort.source == "synthetic:chest"
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("labels.csv"))
    stamp = (tmp_path / made[0]).stat().st_mtime_ns
    again = read(tmp_path / "study.toml")
    assert again.digest() == cohort.digest()
    assert (tmp_path / made[0]).stat().st_mtime_ns == stamp
    bad = text.replace("size = 64 }", "size = 64, shortcut = { finding = 'effusio', by = 'view' } }")
    (tmp_path / "study.toml").write_text(bad)
    with pytest.raises(StudyFileError, match="did you mean 'effusion'"):
        read(tmp_path / "study.toml")
    assert not list((tmp_path / "runs").glob("*.draft"))
