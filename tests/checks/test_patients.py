"""Patients: missing ids, ids in two parts, ids written in two ways."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.checks.context import Context
from aimed.checks.patients import check, shared_patients
from aimed.core import Cohort, Split


@pytest.mark.parametrize("blank", ["", "  ", "nan", "None", "NA", "NaT"])
def test_a_missing_patient_id_stops(clean, blank):
    cohort = clean(0, n=200)
    ids = cohort.patient.astype(object)
    ids[[3, 7]] = blank
    stop = check(Context(replace(cohort, patient=ids)))[0]
    assert (stop.severity.value, stop.evidence) == ("STOP", {"missing": 2, "n": 200})


def test_a_split_for_other_patients_stops_and_counts_the_shared(clean, split_of, seen):
    cohort = clean(0, n=400)
    split = split_of(cohort)
    ids = cohort.patient.copy()
    ids[split.parts["test"][:5]] = ids[split.parts["train"][:5]]
    findings = check(Context(replace(cohort, patient=ids), split))
    assert seen(findings) == {("STOP", "split"), ("STOP", "train+test")}
    assert next(f for f in findings if f.where == "train+test").evidence["shared"] == 5


def test_a_split_with_rows_beyond_the_table_stops_without_failing(clean, split_of, seen):
    split = split_of(clean(0, n=400))
    assert seen(check(Context(clean(0, n=300), split))) == {("STOP", "split")}


def test_ids_that_differ_in_spelling_warn(seen):
    cohort = Cohort(patient=["p1", "P1", "007", "7", "8.0", "8", "9"], variables=[], columns={})
    findings = check(Context(cohort))
    assert seen(findings) == {("WARN", "patient")}
    assert findings[0].evidence == {"alike": 3, "patients": 7}


def test_one_patient_with_many_rows_warns(seen):
    cohort = Cohort(patient=[*range(1, 41), *["50"] * 10], variables=[], columns={})
    assert seen(check(Context(cohort))) == {("WARN", "patient")}


def test_an_empty_table_stops():
    cohort = Cohort(patient=np.array([], dtype=str), variables=[], columns={})
    assert check(Context(cohort))[0].message == "The table has no row."


def test_disjoint_parts_are_silent(clean, split_of, seen):
    cohort = clean(0, repeats=True)
    findings = check(Context(cohort, split_of(cohort)))
    assert seen(findings) == set()
    assert findings[-1].evidence["several"] == 1500


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_shared_patients_is_the_size_of_the_set_intersection(a, b):
    assert shared_patients(a, b) == len(set(a) & set(b)) == shared_patients(b, list(map(str, a)))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [("train-small", "valid-small", 197), ("train-small", "test", 0), ("valid-small", "test", 0)],
)
def test_the_chest_xray_course_files_share_the_known_patients(shared_data, one, other, shared):
    def patients(name):
        with shared_data("cxr_nih", f"{name}.csv").open() as file:
            return [row["PatientId"] for row in csv.DictReader(file)]

    a, b = patients(one), patients(other)
    assert shared_patients(a, b) == shared
    if shared:
        assert len(set(b)) == 199
        ids = np.array(a + b)
        rows = {"train": np.arange(len(a)), "test": np.arange(len(a), ids.size)}
        cohort = Cohort(patient=ids, variables=[], columns={})
        by_row = Split(parts=rows, by="patient", patient=np.arange(ids.size).astype(str))
        stop = next(f for f in check(Context(cohort, by_row)) if f.where == "train+test")
        assert stop.message == "197 of 199 patients (99.0 %) of the smaller part stand in both train and test."
