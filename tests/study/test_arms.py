"""Who had which treatment: values as words, numbers and booleans, and rows that belong to neither arm."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aimed.core import Binary, Cohort, DataError, FlowStep, Variable
from aimed.study.arms import ARMS, arm_labels, assigned, treated_of
from aimed.study.spec import TreatmentPart


def part(control="placebo", active="drug", **more):
    return TreatmentPart(column="arm", control=control, active=active, assignment="randomised", **more)


def cohort_of(values, categories=(), patient=None, flow=()):
    n = len(values)
    kind = "category" if categories else "number"
    return Cohort(
        patient=[f"P{i}" for i in range(n)] if patient is None else patient,
        variables=[
            Variable(name="arm", kind=kind, role="descriptor", categories=tuple(categories)),
            Variable(name="x"),
        ],
        columns={"arm": values, "x": np.arange(n, dtype=float)},
        outcome=Binary(values=np.arange(n) % 2, label="death"),
        flow=flow,
    )


def test_words_without_case_and_blanks():
    cohort = cohort_of([0, 1, 2, 0], ("Drug ", " PLACEBO", "drug"))
    found = assigned(part(" Placebo", "DRUG"), cohort)
    assert treated_of(found).tolist() == [True, False, True, True]
    assert found.column("arm").tolist() == [1.0, 0.0, 1.0, 1.0]
    assert list(found.names("treatment")) == ["arm"]
    assert found.variable("arm").kind == "number"
    assert found.variable("arm").title == "DRUG against  Placebo"
    assert "arm" not in [v.name for v in found.predictors]


@pytest.mark.parametrize(
    ("control", "active"), [(0, 1), ("0", "1"), (0.0, 1.0), (False, True), ("0.0", " 1 "), (0, True)]
)
@pytest.mark.parametrize("categories", [(), ("0", "1"), ("0.0", "1.0")])
def test_numbers_however_they_are_written(control, active, categories):
    cohort = cohort_of([0, 1, 1, 0], categories)
    assert treated_of(assigned(part(control, active), cohort)).tolist() == [False, True, True, False]


@pytest.mark.parametrize(("control", "active"), [(False, True), ("false", "TRUE"), ("False", True)])
def test_booleans_that_were_read_as_words(control, active):
    cohort = cohort_of([0, 1, 1, 0], ("false", "true"))
    assert treated_of(assigned(part(control, active), cohort)).tolist() == [False, True, True, False]


def test_a_number_is_not_a_boolean_word():
    with pytest.raises(DataError, match=r"no row .* active value"):
        assigned(part(0, 1), cohort_of([0, 1, 1, 0], ("0", "true")))


def test_the_active_arm_may_be_the_smaller_value():
    assert treated_of(assigned(part(2, 1), cohort_of([1.0, 2.0, 2.0]))).tolist() == [True, False, False]


def test_other_arms_and_missing_treatment_are_counted_and_left_out():
    cohort = cohort_of([0, 1, 2, -1, 1, 2, 2], ("drug", "placebo", "both"), flow=[FlowStep("read", 0, 7)])
    found = assigned(part(), cohort)
    assert found.patient.tolist() == ["P0", "P1", "P4"]
    assert found.column("x").tolist() == [0.0, 1.0, 4.0]
    assert found.outcome.values.tolist() == [0, 1, 0]
    assert [(s.removed, s.remaining) for s in found.flow] == [(0, 7), (1, 6), (3, 3)]
    assert "not known (arm)" in found.flow[1].step
    assert "another treatment" in found.flow[2].step
    # The other value is a cell of the table; it is not repeated.
    assert not any("both" in s.step for s in found.flow)


def test_a_missing_number_is_missing():
    found = assigned(part(0, 1), cohort_of([0.0, np.nan, 1.0, 7.0]))
    assert treated_of(found).tolist() == [False, True]
    assert [s.removed for s in found.flow[-2:]] == [1, 1]


def test_nothing_is_said_where_nobody_is_left_out():
    assert assigned(part(0, 1), cohort_of([0.0, 1.0])).flow == cohort_of([0.0, 1.0]).flow


@pytest.mark.parametrize(("values", "missing"), [([0, 0, 0], "active"), ([1, 1, 1], "control"), ([5, 6, 7], "active")])
def test_one_arm_is_refused(values, missing):
    with pytest.raises(DataError, match=f"has the {missing} value of the study file") as caught:
        assigned(part(0, 1), cohort_of(np.array(values, dtype=float)))
    assert f"[treatment] {missing}" in caught.value.do


def test_a_word_is_not_found_among_numbers():
    with pytest.raises(DataError, match="no row"):
        assigned(part("placebo", "drug"), cohort_of([0.0, 1.0]))


def test_patients_in_both_arms_are_refused_without_their_names():
    patient = ["ann", "ann", "ben", "cid", "cid"]
    with pytest.raises(DataError, match="2 patients have rows of both arms") as caught:
        assigned(part(0, 1), cohort_of([0.0, 1.0, 1.0, 0.0, 1.0], patient=patient))
    assert not any(name in str(caught.value) for name in patient)
    with pytest.raises(DataError, match="1 patient has rows of both arms"):
        assigned(part(0, 1), cohort_of([0.0, 1.0, 1.0], patient=["ann", "ann", "ben"]))


def test_a_patient_with_a_third_treatment_stays_with_the_others():
    found = assigned(part(0, 1), cohort_of([0.0, 2.0, 1.0], patient=["ann", "ann", "ben"]))
    assert found.patient.tolist() == ["ann", "ben"]


@pytest.mark.parametrize("kind", ["date", "text"])
def test_a_column_that_is_no_treatment(kind):
    values = np.array(["2020-01-01"] * 2, dtype="datetime64[D]") if kind == "date" else ["a", "b"]
    cohort = Cohort(
        patient=["a", "b"],
        variables=[Variable(name="arm", kind=kind, role="descriptor")],
        columns={"arm": values},
        outcome=Binary(values=[0, 1]),
    )
    with pytest.raises(DataError, match=f"read as a {kind} column"):
        assigned(part(), cohort)


def test_names_of_the_arms():
    assert arm_labels(part(0, 1)) == {"active": "arm 1", "control": "arm 0"}
    assert arm_labels(part(False, True)) == {"active": "arm true", "control": "arm false"}
    assert arm_labels(part(0, 1, label="Drug", control_label="None")) == {"active": "Drug", "control": "None"}
    assert set(ARMS) == set(arm_labels(part()))


def test_a_cohort_without_treatment_has_no_arms():
    with pytest.raises(TypeError):
        treated_of(cohort_of([0.0, 1.0]))


@pytest.mark.parametrize(
    ("control", "active", "column"),
    [
        ("0", "1", [0, 1]),
        ("false", "true", [False, True]),
        ('"no"', '"yes"', [" No", "YES "]),
        ('"0"', '"1"', ["0", "1"]),
        ("1", "2", [1.0, 2.0]),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_a_table_is_read_however_its_arms_are_written(trials, tmp_path, control, active, column, as_file):
    table = trials.frame(60)
    drug = (table["arm"] == "drug").to_numpy()
    table = table.with_columns(arm=pl.Series([column[int(d)] for d in drug]))
    if as_file:
        table.write_csv(tmp_path / "table.csv")
        table = tmp_path / "table.csv"
    changes = ('control = "placebo"', f"control = {control}"), ('active = "drug"', f"active = {active}")
    _, cohort, _ = trials.made("binary", *changes, table=table)
    assert treated_of(cohort).tolist() == drug.tolist()


def test_rows_of_other_arms_do_not_reach_the_study(trials):
    table = trials.frame(90)
    other = np.arange(90) % 9 == 0
    arm = np.where(other, "surgery", table["arm"].to_numpy()).astype(object)
    arm[1] = None
    _, cohort, split = trials.made("binary", table=table.with_columns(arm=pl.Series(arm.tolist())))
    assert cohort.n == 79 == sum(rows.size for rows in split.parts.values())
    assert [s.removed for s in cohort.flow[-2:]] == [1, 10]
