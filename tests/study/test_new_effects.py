"""A study file of effects written from a table: it can be read again, and the arms are right or asked for."""

from __future__ import annotations

import polars as pl
import pytest

from aimed.core import DataError, StudyFileError
from aimed.study.new_effects import guess_arms, write_effect_study
from aimed.study.spec import read_spec

FRAME = pl.DataFrame(
    {
        "patient_id": [f"p{i}" for i in range(12)],
        "arm": ["1_drug", "0_placebo"] * 6,
        "dose": ["low", "high", "none"] * 4,
        "death": [0, 1, 0, 1, 1, 0] * 2,
        "pressure": [120.5 + i for i in range(12)],
        "age": list(range(50, 62)),
    }
)


def test_the_file_asks_the_question_of_the_table():
    spec = read_spec(write_effect_study(FRAME, treatment="arm", outcome="death"))
    assert (spec.treatment.control, spec.treatment.active) == ("0_placebo", "1_drug")
    assert spec.treatment.assignment == "observational"
    assert spec.contrasts() == ("risk_difference",)
    assert "arm" not in spec.predictors.adjust
    assert "death" not in spec.predictors.adjust


def test_a_measurement_is_a_mean_difference():
    spec = read_spec(write_effect_study(FRAME, treatment="arm", outcome="pressure"))
    assert spec.outcome.kind == "continuous"
    assert spec.contrasts() == ("mean_difference",)


def test_three_arms_need_names():
    with pytest.raises(DataError, match="which of the 3 values of 'dose'"):
        write_effect_study(FRAME, treatment="dose", outcome="death")
    spec = read_spec(write_effect_study(FRAME, treatment="dose", control="none", active="high", outcome="death"))
    assert spec.treatment.active == "high"


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"treatment": "amr", "outcome": "death"}, DataError, "did you mean 'arm'"),
        ({"treatment": "arm"}, DataError, "no outcome is named"),
        ({"treatment": "arm", "time": "age", "event": "death"}, StudyFileError, "0 horizons"),
    ],
)
def test_what_is_missing_is_asked_for(asked, error, words):
    with pytest.raises(error, match=words):
        write_effect_study(FRAME, **asked)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0, 1, 1], (0, 1)),
        ([0.0, 1.0, None], (0, 1)),
        (["Obs", "Lev"], ("Obs", "Lev")),
        ([True, False], (False, True)),
        (["A", "B"], None),
        (["A"], None),
    ],
)
def test_controls_are_known_by_their_names(values, want):
    assert guess_arms(values) == want
