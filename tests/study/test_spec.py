"""A study file is read strictly: every mistake has its line and its nearest right spelling."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import StudyFileError
from aimed.study.new import toml_string
from aimed.study.shipped import SHIPPED
from aimed.study.spec import load_spec, read_spec

BASE = """schema = 1
[study]
id = "demo"
title = "A demo"
task = "classify"
[data]
source = "builtin:breast_cancer"
patient = "id"
[outcome]
column = "diagnosis"
positive = "malignant"
"""


def test_the_smallest_study_has_sensible_defaults():
    spec = read_spec(BASE)
    assert spec.split.test.fraction == 0.25
    assert spec.split.tune.folds == 5
    assert spec.predictors.missing == "mean_indicators"
    assert spec.tune.seconds() == 600


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[split]\ntest = { by = "patient", fractoin = 0.2 }', r"line 13: unknown key .*did you mean 'fraction'"),
        ('[variables.age]\nunits = "y"', r"line 13: unknown key .*did you mean 'unit'"),
        ("[stduy2]\nx = 1", "unknown key stduy2"),
        ('[tune]\ntrials = "5"', r"line 13: .*expected a whole number"),
        ("[tune]\ntrials = -1", "trials"),
        ('[tune]\nbudget = "5 days"', "s, m or h"),
        ('[evaluate]\naccept = ["auroc >>> 3"]', "cannot be read"),
        ('[evaluate]\naccept = "auroc >= 3"', "list in square brackets"),
        ("[split]\ntest = { fraction = 1.5 }", "fraction"),
        ('[split]\ntest = { by = "time" }', "needs 'from'"),
        ('[split]\ntest = { by = "site" }', "needs 'hold_out'"),
        ('[subgroups]\nderive.age = { from = "age", cuts = [3, 1] }', "cuts must rise"),
        ('[subgroups]\nderive.age = { from = "age", cuts = [3], labels = ["a"] }', "2 bands"),
        ("x = [", "not valid TOML"),
        ('[calibrate]\nmethods = ["magic"]', "expected 'none', 'sigmoid'"),
        ("[evaluate]\nlevel = 2.0", "level"),
        ("[variables.age]\nrange = [100, 0]", "lowest, highest"),
    ],
)
def test_mistakes_say_where_and_what(extra, words):
    with pytest.raises(StudyFileError, match=words):
        read_spec(BASE + extra)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('task = "classify"', 'task = "clasify"', "expected 'risk', 'classify', 'survival' or 'segment'"),
        ('task = "classify"', 'task = "survival"', "needs 'time', 'event' and 'horizons_days'"),
        ('patient = "id"', "", r"\[data\] patient is missing"),
        ('id = "demo"', 'id = "../../etc"', "id"),
        ("schema = 1", "schema = 2", "schema"),
        ('column = "diagnosis"', 'column = "diagnosis"\ntime = "t"\nevent = "e"', "name either 'column'"),
    ],
)
def test_wrong_values(old, new, words):
    with pytest.raises(StudyFileError, match=words):
        read_spec(BASE.replace(old, new))


@pytest.mark.parametrize("text", ["", "# nothing", "\n"])
def test_empty_files(text):
    with pytest.raises(StudyFileError, match="is empty"):
        read_spec(text)


def test_files(tmp_path):
    (tmp_path / "heart.toml").write_text(BASE)
    with pytest.raises(StudyFileError, match=r"did you mean 'heart.toml'"):
        load_spec(tmp_path / "hart.toml")
    (tmp_path / "latin.toml").write_bytes(BASE.replace("A demo", "Fallstudie Ä").encode("latin-1"))
    with pytest.raises(StudyFileError, match="UTF-8"):
        load_spec(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_studies_are_valid(name):
    spec = load_spec(SHIPPED[name])
    assert spec.study.id == name
    assert spec.evaluate.accept
    assert spec.subgroups.columns


@given(st.text(max_size=60))
def test_toml_strings_round_trip(text):
    try:
        written = toml_string(text)
    except UnicodeEncodeError:
        return
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return
    assert tomllib.loads(f"x = {written}")["x"] == text
