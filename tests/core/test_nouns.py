"""The nouns keep their promises: immutable, aligned, disjoint, and silent about patients."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import (
    AimedError,
    Binary,
    Catalog,
    Cohort,
    CompetingRisks,
    DataError,
    Evaluation,
    Finding,
    Fold,
    Measure,
    Multilabel,
    Prediction,
    Severity,
    Split,
    StudyFileError,
    Survival,
    UnknownNameError,
    Variable,
    parse,
)


def small_cohort() -> Cohort:
    return Cohort(
        patient=["p1", "p1", "p2", "p3"],
        variables=[
            Variable(name="age", unit="years"),
            Variable(name="sex", kind="category", categories=("female", "male")),
            Variable(name="note", kind="text", role="descriptor"),
        ],
        columns={
            "age": np.array([50.0, 51.0, np.nan, 70.0]),
            "sex": np.array([0, 0, 1, -1]),
            "note": np.array(["a", None, "b", "c"], dtype=object),
        },
        outcome=Binary(values=[0, 1, 0, 1]),
    )


def test_cohort_is_read_only_and_takes_rows():
    cohort = small_cohort()
    with pytest.raises(ValueError, match="read-only"):
        cohort.column("age")[0] = 1.0
    part = cohort.take([1, 3])
    assert part.n == 2
    assert part.outcome.events == 2
    assert part.ids.tolist() == ["1", "3"]
    assert cohort.missing("age") == 1
    assert cohort.missing("sex") == 1
    assert cohort.missing("note") == 1


def test_matrix_turns_codes_and_missing_into_floats():
    X = small_cohort().matrix()
    assert X.shape == (4, 2)
    assert np.isnan(X[2, 0])
    assert np.isnan(X[3, 1])
    assert X[2, 1] == 1.0


def test_matrix_refuses_text():
    with pytest.raises(DataError, match="text column"):
        small_cohort().matrix(["note"])


def test_digest_sees_content_and_meaning():
    a, b = small_cohort(), small_cohort()
    assert a.digest() == b.digest()
    assert a.take([0, 1, 2, 3]).digest() == a.digest()
    assert a.take([0, 2, 1, 3]).digest() != a.digest()


def test_cohort_refuses_columns_of_another_length():
    with pytest.raises(DataError, match="age"):
        Cohort(patient=["a"], variables=[Variable(name="age")], columns={"age": [1.0, 2.0]})


def test_unknown_column_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'age'"):
        small_cohort().column("agee")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Binary(values=[0, 1, 2]), "1 of 3"),
        (lambda: Binary(values=[0, np.nan]), "1 of 2"),
        (lambda: Binary(values=["yes", "no"]), "text"),
        (lambda: Survival(event=[1, 0], time=[5.0, -1.0]), "finite and > 0"),
        (lambda: Survival(event=[1, 0], time=[5.0, np.nan]), "finite and > 0"),
        (lambda: Survival(event=[1, 3], time=[5.0, 2.0]), "0 or 1"),
        (lambda: Survival(event=[1], time=[5.0, 2.0]), "one length"),
        (lambda: CompetingRisks(cause=[0, 4], time=[1.0, 2.0], labels=("a", "b")), "from 0 to 2"),
        (lambda: Multilabel(values=[[0.5]], targets=("Edema",)), "0, 1 or NaN"),
        (lambda: Prediction(ids=["a"], score=[1.0], risk=[-0.1]), "outside"),
    ],
)
def test_impossible_values_are_refused_with_counts(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_outcomes_take_rows():
    y = Survival(event=[True, False, True], time=[1.0, 2.0, 3.0])
    assert y.take([2, 0]).time.tolist() == [3.0, 1.0]
    assert y.structured().dtype.names == ("event", "time")
    assert CompetingRisks(cause=[0, 1], time=[1, 2]).take([1]).events == 1


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.data())
def test_split_is_refused_exactly_when_a_patient_is_on_both_sides(patients, data):
    test = np.array(data.draw(st.lists(st.booleans(), min_size=len(patients), max_size=len(patients))))
    patients = np.array(patients)
    parts = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
    shared = set(patients[test]) & set(patients[~test])
    if shared:
        with pytest.raises(DataError, match="stand in both train and test"):
            Split(parts=parts, by="patient", patient=patients)
    else:
        proof = Split(parts=parts, by="patient", patient=patients).proof()
        assert proof["shared_patients"] == {"train+test": 0}


def test_split_refuses_folds_that_touch_the_test_part_or_share_patients():
    parts = {"train": [0, 1, 2], "test": [3]}
    with pytest.raises(DataError, match="outside train"):
        Split(parts=parts, by="patient", patient=list("abcd"), folds=[Fold(np.array([0, 1]), np.array([3]))])
    with pytest.raises(DataError, match="fold 1"):
        Split(parts=parts, by="patient", patient=list("aacd"), folds=[Fold(np.array([0]), np.array([1]))])


def test_measure_turns_what_is_not_finite_into_unknown():
    m = Measure(name="auroc", value=np.nan, note="one class")
    assert m.value is None
    assert not m.known
    assert str(m) == "auroc not estimable: one class"
    assert Measure.from_dict(m.to_dict()) == m


def test_evaluation_groups_and_differences():
    e = Evaluation(
        [
            Measure(name="auroc", value=0.8, lower=0.7, upper=0.9),
            Measure(name="auroc", value=0.9, group="sex=female"),
            Measure(name="auroc", value=0.6, group="sex=male"),
            Measure(name="auroc", value=0.2, against="prevalence"),
        ]
    )
    assert e.difference("sex", "auroc") == pytest.approx(0.3)
    assert e.against("prevalence")["auroc"].value == 0.2
    with pytest.raises(UnknownNameError, match="did you mean 'sex'"):
        e.by_group("sexx")


def test_finding_round_trip():
    f = Finding(check="x", severity=Severity.WARN, where="age", message="m", evidence={"n": 1})
    assert Finding.from_dict(f.to_dict()) == f


def test_catalog_is_lazy_and_names_the_nearest():
    found = Catalog("model", {"cox": ("nowhere.at.all:X", "A model that is not there.")})
    assert "cox" in found
    assert list(found) == ["cox"]
    with pytest.raises(UnknownNameError, match="did you mean 'cox'"):
        found["coks"]
    with pytest.raises(ModuleNotFoundError):
        found["cox"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age >= 18", ("age", ">=", 18.0)),
        ("age>=18.5", ("age", ">=", 18.5)),
        ("delta < -2", ("delta", "<", -2.0)),
        ("view in ('PA', \"AP\")", ("view", "in", ("PA", "AP"))),
        ("view not in ('L')", ("view", "not in", ("L",))),
        ("slope in [0.8, 1.2]", ("slope", "between", (0.8, 1.2))),
        ("`Systolic BP` is known", ("Systolic BP", "known", ())),
        ("brier@365.upper <= 0.2", ("brier@365.upper", "<=", 0.2)),
        ("worst_subgroup(auroc).lower >= 0.6", ("worst_subgroup(auroc).lower", ">=", 0.6)),
        ("difference(published:grace).auroc.lower > 0", ("difference(published:grace).auroc.lower", ">", 0.0)),
    ],
)
def test_rules_are_parsed(text, expected):
    (found,) = parse(text)
    assert (found.name, found.operator, found.value) == expected


@pytest.mark.parametrize(
    "text",
    ["", "age", "age >=", ">= 3", "age >= 18 and", "age >= 18 or sex == 1", "__import__('os')", "a == b", "a in [1]",
     "a in (1", "age >= 18; drop", "a is known b", "a in ['x', 'y']"],
)  # fmt: skip
def test_what_is_not_a_rule_is_refused(text):
    with pytest.raises(StudyFileError, match="cannot be read"):
        parse(text)


@given(st.text(max_size=40))
def test_parser_never_fails_otherwise(text):
    with contextlib.suppress(StudyFileError):
        parse(text)


def test_every_error_has_its_exit_code():
    codes = {cls.__name__: cls.exit_code for cls in _tree(AimedError)}
    assert codes["StudyFileError"] == codes["UnknownNameError"] == 2
    assert codes["DataError"] == codes["NotEstimableError"] == codes["MissingExtraError"] == 3
    assert codes["RefusedError"] == codes["BundleError"] == 4


def _tree(cls):
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)
