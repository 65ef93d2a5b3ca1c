"""Table 1, plan, thresholds and the study file that `new` writes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.core import Binary, Cohort, DataError, Split, StudyFileError, Variable
from aimed.core.cohort import SMALL_CELL
from aimed.study import stages
from aimed.study.describe import describe_data
from aimed.study.new import write_study
from aimed.study.spec import read_spec


def cohort(n=200):
    rng = np.random.default_rng(0)
    age = rng.normal(60, 10, n)
    age[:20] = np.nan
    return Cohort(
        patient=np.arange(n),
        variables=[
            Variable(name="age", unit="years"),
            Variable(name="rare", label="Rare thing"),
            Variable(name="ward", kind="category", categories=("A", "B")),
        ],
        columns={"age": age, "rare": (np.arange(n) < 5).astype(float), "ward": (np.arange(n) % 4 == 0).astype(int)},
        outcome=Binary(values=np.arange(n) % 3 == 0),
    )


def test_table_one_against_plain_numpy():
    c = cohort()
    split = Split(parts={"train": np.arange(150), "test": np.arange(150, 200)}, by="patient", patient=c.patient)
    block = describe_data(c, split, "digest")
    rows = {(r["variable"], r["level"]): r for r in block["table1"]["rows"]}
    age = c.column("age")
    a, b = age[20:150], age[150:]
    assert rows[("age", None)]["cells"]["train"] == f"{a.mean():.1f} ({a.std(ddof=1):.1f})"
    smd = (b.mean() - a.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert rows[("age", None)]["smd"] == pytest.approx(smd)
    assert rows[("age", None)]["missing"] == {"train": 20, "test": 0}
    assert rows[("rare", None)]["cells"]["train"] == f"<{SMALL_CELL}"
    assert rows[("rare", None)]["cells"]["test"] == "0 (0%)"
    assert rows[("ward", "B")]["cells"]["train"] == "38 (25%)"
    gap = block["missing"][0]
    assert gap["n_missing"] == 20
    assert gap["by_outcome"]["event"] == pytest.approx(7 / 67)


def test_a_mean_just_below_zero_has_no_sign():
    c = cohort()
    columns = {**c.columns, "age": np.resize([-2.0, 1.99], c.n)}
    c = Cohort(patient=c.patient, variables=c.variables, columns=columns, outcome=c.outcome)
    split = Split(parts={"train": np.arange(150), "test": np.arange(150, 200)}, by="patient", patient=c.patient)
    cells = describe_data(c, split, "digest")["table1"]["rows"][0]["cells"]
    assert cells == {"train": "0.0 (2.0)", "test": "0.0 (2.0)"}


def test_plan_names_every_stage():
    from aimed.study.run import STAGES

    plan = aimed.study("breast-cancer-diagnosis").plan()
    assert tuple(name for name, _ in plan.steps) == STAGES
    assert plan.seconds > 0


def test_candidate_parameters_count_spline_terms_and_levels():
    spec = read_spec("""schema = 1
[study]
id = "x"
title = "A title"
task = "classify"
[data]
source = "frame"
patient = "p"
[outcome]
column = "y"
[predictors]
nonlinear = { age = "spline(4)" }
""")
    assert stages.candidate_parameters(spec, cohort()) == 3 + 1 + 1


def test_the_written_study_is_valid_and_infers_roles():
    frame = pl.DataFrame({"PatientID": ["a", "b"] * 20, "age": [50.0, 60.0] * 20, "seen": ["2020-01-01"] * 40,
                          "death": [0, 1] * 20})  # fmt: skip
    text = write_study(frame, outcome="death", title='A "quoted" title')
    spec = read_spec(text)
    assert spec.data.patient == "PatientID"
    assert spec.predictors.include == ("age",)
    assert spec.study.title == 'A "quoted" title'
    assert "seen" in text
    with pytest.raises(DataError, match="patient id"):
        write_study(frame.rename({"PatientID": "xx"}), outcome="death")
    with pytest.raises(StudyFileError, match="horizon"):
        write_study(frame.with_columns(days=pl.lit(3)), time="days", event="death")


def test_callable_rooms_keep_their_files():
    import aimed.fit.tune
    import aimed.study.run

    assert aimed.study("breast-cancer-diagnosis").spec.study.task == "classify"
    assert callable(aimed.fit)
    assert aimed.fit.tune.FOLD_METRICS
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = aimed.nothing


def test_a_written_study_file_declares_the_events_that_compete():
    frame = pl.DataFrame(
        {"patient": [1, 2, 3], "days": [5, 6, 7], "status": ["relapse", "dead", "free"], "age": [1, 2, 3]}
    )
    known = {"patient": "patient", "time": "days", "event": "status", "horizons_days": [30]}
    spec = read_spec(write_study(frame, **known, event_value="relapse", competing={"dead": "Death"}))
    assert spec.outcome.event_value == "relapse"
    assert spec.outcome.competing == {"dead": "Death"}
    assert "# competing = " in write_study(frame, **known)
