"""Image labels: conflicts, contradictions, misspelt names, constant findings, and lists that share patients."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.checks.context import Context
from aimed.checks.image_labels import (
    KNOWN_FINDINGS,
    _edits,
    check,
    check_image_labels,
    check_label_names,
    label_table,
    overlapping_parts,
)
from aimed.core import Cohort, Multilabel, Split
from aimed.core.errors import DataError

NAN = np.nan


def told(findings, severity):
    return [f for f in findings if f.severity.value == severity]


def plain(n=200, names=("Mass", "Edema"), seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, len(names))).astype(float), list(names)


def test_good_labels_have_notes_only():
    labels, names = plain()
    parts = {"train": np.arange(100), "tune": np.arange(100, 150), "test": np.arange(150, 200)}
    findings = check_image_labels(labels, names, parts=parts, patient=np.arange(200))
    assert [f.severity.value for f in findings] == ["NOTE"]
    assert len(findings[0].evidence["table"]) == 6


def test_identical_images_with_opposite_labels_stop_and_near_ones_warn():
    labels, names = plain()
    labels[:6] = [[1, 0], [0, 0], [1, 1], [1, 0], [NAN, 0], [1, 0]]
    identical, alike = np.full(200, -1), np.full(200, -1)
    identical[[0, 1]] = 0
    alike[[0, 1]], alike[[2, 3]], alike[[4, 5]] = 0, 1, 2
    findings = check_image_labels(labels, names, identical=identical, alike=alike)
    (stop,), (warn,) = told(findings, "STOP"), told(findings, "WARN")
    assert stop.evidence == {"groups": 1, "n": 1, "findings": {"Mass": 1}}
    assert warn.evidence == {"groups": 1, "n": 2, "findings": {"Edema": 1}}


def test_a_near_copy_of_identical_images_is_compared_too():
    labels, names = plain()
    labels[:3] = [[1, 0], [1, 0], [0, 0]]
    identical, alike = np.full(200, -1), np.full(200, -1)
    identical[[0, 1]], alike[[0, 1, 2]] = 0, 0
    findings = check_image_labels(labels, names, identical=identical, alike=alike)
    assert not told(findings, "STOP")
    assert told(findings, "WARN")[0].evidence["groups"] == 1


def test_images_of_one_study_with_opposite_labels_warn():
    labels, names = plain()
    study = np.arange(200)
    study[1] = 0
    labels[0, 0], labels[1, 0] = 1, 0
    labels[0, 1], labels[1, 1] = 1, 1
    (warn,) = told(check_image_labels(labels, names, study=study), "WARN")
    assert warn.evidence["findings"] == {"Mass": 1}


def test_no_finding_together_with_a_finding_warns_but_not_with_a_device():
    rng = np.random.default_rng(0)
    mass, device = rng.integers(0, 2, 100), rng.integers(0, 2, 100)
    nothing = 1 - mass
    names = ["Mass", "Support Devices", "No Finding"]
    assert not told(check_image_labels(np.column_stack([mass, device, nothing]), names), "WARN")
    nothing[np.flatnonzero(mass)[:3]] = 1
    (warn,) = told(check_image_labels(np.column_stack([mass, device, nothing]), names), "WARN")
    assert warn.evidence == {"images": 3, "n": 100, "findings": {"Mass": 3}}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.zeros(200), "'Mass' is never present."),
        (np.ones(200), "'Mass' is always present."),
        (np.full(200, NAN), "'Mass' is never known."),
        (np.full(200, -1.0), "'Mass' is never known."),
    ],
)
def test_a_constant_finding_warns(column, message):
    labels, names = plain()
    labels[:, 0] = column
    assert message in [f.message for f in told(check_image_labels(labels, names), "WARN")]


def test_a_finding_known_in_one_part_only_stops_and_a_constant_one_in_train_warns():
    labels, names = plain()
    parts = {"train": np.arange(100), "test": np.arange(100, 200)}
    labels[100:, 0] = NAN
    labels[:100, 1] = 0
    findings = check_image_labels(labels, names, parts=parts)
    assert [f.where for f in told(findings, "STOP")] == ["Mass"]
    assert [f.message for f in told(findings, "WARN")] == ["'Edema' is never present in train."]


@pytest.mark.parametrize(("positives", "warns"), [(19, True), (20, False)])
def test_few_positives_in_test_warn(positives, warns):
    labels, names = plain()
    labels[100:, 0] = np.arange(100) < positives
    parts = {"train": np.arange(100), "test": np.arange(100, 200)}
    found = told(check_image_labels(labels, names, parts=parts), "WARN")
    assert [f.evidence["images"] for f in found] == ([{"Mass": 19}] if warns else [])


@pytest.mark.parametrize(("uncertain", "severity"), [(40, "NOTE"), (41, "WARN")])
def test_uncertain_and_missing_shares_are_told(uncertain, severity):
    labels, names = plain()
    labels[:uncertain, 0] = -1
    labels[:10, 1] = NAN
    shares = {f.evidence["share"].get("Mass", f.evidence["share"].get("Edema")): f.severity.value
              for f in check_image_labels(labels, names) if "share" in f.evidence}  # fmt: skip
    assert shares == {uncertain / 200: severity, 0.05: "NOTE"}


def test_patients_whose_labels_change_are_counted():
    labels, names = plain(6)
    labels[:] = [[1, 0], [0, 0], [1, 0], [1, 0], [0, 1], [-1, 1]]
    note = next(f for f in check_image_labels(labels, names, patient=list("aabbcc")) if f.where == "patient")
    assert note.evidence == {"patients": 1, "several": 3, "findings": {"Mass": 1}}


def test_the_table_counts_every_answer_and_positive_patients():
    labels = [[1], [1], [0], [-1], [NAN], [1]]
    (count,) = label_table(labels, ["Mass"], patient=[1, 1, 1, 2, 3, 4])
    assert (count.positive, count.negative, count.uncertain, count.missing, count.patients) == (3, 1, 1, 1, 2)
    assert count.share == 0.75


@pytest.mark.parametrize("labels", [[[2, 0]], [[0.5, 0]], [[np.inf, 0]], [["x", "0"]], [[1]], [1, 0]])
def test_wrong_labels_are_refused(labels):
    with pytest.raises(DataError):
        check_image_labels(labels, ["Mass", "Edema"])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Nodulle", "Nodule"),
        ("Plueral_Thickening", "Pleural Thickening"),
        ("pneumothroax", "Pneumothorax"),
        ("Cardiomegally", "Cardiomegaly"),
        ("Atelectases", "Atelectasis"),
        ("Edma", "Edema"),
        ("Oedema", "Edema"),
    ],
)
def test_a_misspelt_name_warns_with_the_nearest(name, nearest):
    (warn,) = check_label_names([name])
    assert (warn.severity.value, warn.evidence["nearest"]) == ("WARN", nearest)


@pytest.mark.parametrize("name", KNOWN_FINDINGS)
def test_known_names_are_silent(name):
    assert check_label_names([name]) == []


def test_case_and_punctuation_are_a_note_and_two_such_columns_stop():
    assert [f.severity.value for f in check_label_names(["Pleural_Thickening", "lung opacity"])] == ["NOTE"]
    findings = check_label_names(["Pleural_Thickening", "Pleural Thickening", "Mass"])
    assert [f.severity.value for f in findings] == ["STOP", "NOTE"]


def test_an_unlike_name_is_a_note():
    (note,) = check_label_names(["Sarcoidosis"])
    assert (note.severity.value, note.evidence) == ("NOTE", {"names": ["Sarcoidosis"]})


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("ab", "ba", 1), ("same", "same", 0), ("ca", "abc", 3)],
)
def test_edit_distances_of_the_literature(a, b, edits):
    assert _edits(a, b) == edits


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_edit_distance_is_symmetric_and_bounded(a, b):
    assert _edits(a, b) == _edits(b, a) <= max(len(a), len(b))
    assert (_edits(a, b) == 0) == (a == b)


def test_the_check_of_a_study_looks_at_chest_findings_only():
    values, _ = plain()
    for targets, silent in [(("Mass", "Edma"), False), (("death", "stroke"), True)]:
        outcome = Multilabel(values=values, targets=targets)
        cohort = Cohort(patient=np.arange(200), variables=[], columns={}, outcome=outcome)
        findings = check(Context(cohort))
        assert (findings == []) == silent
    assert check(Context(Cohort(patient=np.arange(200), variables=[], columns={}))) == []


def test_a_table_without_rows_does_not_fail():
    findings = check_image_labels(np.empty((0, 1)), ["Mass"], patient=np.array([], dtype=str))
    assert [f.message for f in told(findings, "WARN")] == ["'Mass' is never known."]


LISTS = {"train": "train-small.csv", "valid": "valid-small.csv", "test": "test.csv"}


def nih(shared_data):
    tables = {}
    for part, name in LISTS.items():
        with open(shared_data("cxr_nih", name), encoding="utf-8") as file:
            tables[part] = list(csv.DictReader(file))
    return tables


def test_nih_lists_share_the_patients_that_are_known_to_be_shared(shared_data):
    patients = {part: [row["PatientId"] for row in rows] for part, rows in nih(shared_data).items()}
    assert overlapping_parts(patients) == {("train", "valid"): 197}
    assert len(set(patients["valid"])) == 199
    ids = np.concatenate([patients[part] for part in LISTS])
    ends = np.cumsum([0, *(len(patients[part]) for part in LISTS)])
    rows = {part: np.arange(ends[k], ends[k + 1]) for k, part in enumerate(("train", "tune", "test"))}
    with pytest.raises(DataError, match="197 of 1319 patients stand in both train and tune"):
        Split(parts=rows, by="patient", patient=ids)


def test_nih_frequencies_are_the_published_ones(shared_data):
    rows = nih(shared_data)["train"]
    published = {
        "Cardiomegaly": 0.020, "Emphysema": 0.013, "Effusion": 0.128, "Hernia": 0.002, "Infiltration": 0.175,
        "Mass": 0.045, "Nodule": 0.054, "Atelectasis": 0.106, "Pneumothorax": 0.038, "Pleural_Thickening": 0.021,
        "Pneumonia": 0.010, "Fibrosis": 0.014, "Edema": 0.016, "Consolidation": 0.033,
    }  # fmt: skip
    labels = [[float(row[name]) for name in published] for row in rows]
    counts = label_table(labels, list(published))
    assert {c.finding: round(c.share, 3) for c in counts} == published
    assert not told(check_image_labels(labels, list(published)), "STOP")
