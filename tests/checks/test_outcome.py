"""The outcome: one class, few events, parts without events, shifted frequencies."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.outcome import check
from aimed.core import Binary, CompetingRisks, Continuous, Fold, Multilabel, Severity, Split, Survival


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only_stops(clean, value):
    cohort = replace(clean(0, n=200), outcome=Binary(values=np.full(200, value), label="sepsis"))
    findings = check(Context(cohort))
    assert [f.severity.value for f in findings] == ["STOP"]
    assert "200 rows have the outcome 'sepsis'" in findings[0].message


def test_all_censored_stops_but_all_events_do_not(clean, seen):
    time = np.arange(1, 201)
    none = replace(clean(0, n=200), outcome=Survival(event=np.zeros(200), time=time))
    every = replace(none, outcome=Survival(event=np.ones(200), time=time))
    assert check(Context(none))[0].message == "All of 200 rows are censored: the outcome 'event' has no event."
    assert seen(check(Context(every))) == set()


def test_no_outcome_stops(clean):
    assert check(Context(replace(clean(0, n=20), outcome=None)))[0].severity.value == "STOP"


@pytest.mark.parametrize(("events", "warns"), [(49, True), (50, False), (950, False), (951, True)])
def test_fewer_than_fifty_of_the_rarer_class_warn(clean, events, warns):
    y = np.arange(1000) < events
    findings = check(Context(replace(clean(0, n=1000), outcome=Binary(values=y))))
    assert any(f.severity.value == "WARN" for f in findings) == warns


def test_a_part_without_events_stops(clean, split_of, seen):
    cohort = clean(0)
    split = split_of(cohort)
    y = cohort.outcome.values.copy()
    y[split.parts["test"]] = 0
    findings = check(Context(replace(cohort, outcome=Binary(values=y, label="c")), split))
    stops = [f for f in findings if f.severity.value == "STOP"]
    assert [f.evidence["part"] for f in stops] == ["test"]


def test_a_fold_without_events_warns(clean, split_of):
    cohort = clean(0)
    split = split_of(cohort)
    train = split.parts["train"]
    quiet = train[cohort.outcome.values[train] == 0][:50]
    fold = Fold(np.setdiff1d(train, quiet), quiet)
    folded = Split(parts=split.parts, by="patient", patient=cohort.patient, folds=[fold])
    warned = [f for f in check(Context(cohort, folded)) if f.severity.value == "WARN"]
    assert [f.evidence for f in warned] == [{"empty": 1}]


def test_a_shift_of_frequency_between_train_and_test_warns(clean, split_of):
    cohort = clean(0)
    split = split_of(cohort)
    y = cohort.outcome.values.copy()
    test = split.parts["test"]
    y[test[: test.size // 4]] = 1
    warned = [f for f in check(Context(replace(cohort, outcome=Binary(values=y)), split)) if f.severity.value == "WARN"]
    assert len(warned) == 1
    train = split.parts["train"]
    assert warned[0].evidence["difference"] == pytest.approx(y[test].mean() - y[train].mean())
    assert warned[0].evidence["lower"] > 0.02


def test_a_shift_of_the_event_rate_warns(clean, split_of):
    cohort = clean(0, "survival")
    split = split_of(cohort)
    event, time = cohort.outcome.event.copy(), cohort.outcome.time.copy()
    time[split.parts["test"]] /= 2
    findings = check(Context(replace(cohort, outcome=Survival(event=event, time=time)), split))
    warned = [f for f in findings if f.severity.value == "WARN"]
    assert len(warned) == 1
    assert warned[0].evidence["lower"] < warned[0].evidence["rate_ratio"] < warned[0].evidence["upper"]
    assert warned[0].evidence["rate_ratio"] == pytest.approx(2, rel=0.2)


def test_a_rare_outcome_is_noted(clean):
    y = np.arange(20_000) < 100
    findings = check(Context(replace(clean(0, n=20_000), outcome=Binary(values=y))))
    assert [f.severity.value for f in findings] == ["NOTE"]
    assert "resample" in findings[0].advice


def test_every_outcome_type_is_understood(clean, split_of, seen):
    cohort = clean(0)
    split = split_of(cohort)
    rng = np.random.default_rng(0)
    cause = rng.integers(0, 3, cohort.n)
    values = np.where(rng.random((cohort.n, 2)) < 0.2, np.nan, rng.integers(0, 2, (cohort.n, 2)))
    for outcome, notes in [
        (CompetingRisks(cause=cause, time=np.ones(cohort.n), labels=("relapse", "death")), 2),
        (Multilabel(values=values, targets=("Edema", "Mass")), 1),
        (Continuous(values=rng.normal(size=cohort.n), unit="kPa"), 1),
    ]:
        findings = check(Context(replace(cohort, outcome=outcome), split))
        assert seen(findings) == set()
        assert len(findings) == notes


def test_a_continuous_outcome_is_checked_for_constancy_and_shift(clean, split_of):
    cohort = clean(0)
    split = split_of(cohort)
    constant = replace(cohort, outcome=Continuous(values=np.ones(cohort.n), unit="kPa"))
    assert check(Context(constant))[0].severity.value == "STOP"
    values = np.random.default_rng(0).normal(size=cohort.n)
    values[split.parts["test"]] += 0.5
    shifted = check(Context(replace(cohort, outcome=Continuous(values=values, unit="kPa")), split))
    assert shifted[0].severity.value == "WARN"
    assert shifted[0].evidence["difference"] == pytest.approx(0.5, abs=0.1)


def test_a_rare_competing_event_stops_and_a_frequent_one_is_noted(clean, split_of):
    cohort = clean(0)
    cause = np.ones(cohort.n, dtype=int)
    cause[:1000], cause[1000:1008] = 2, 3
    outcome = CompetingRisks(cause=cause, time=np.ones(cohort.n), labels=("relapse", "death", "transplant"))
    found = check(Context(replace(cohort, outcome=outcome), split_of(cohort)))
    by_where = {f.where: f for f in found}
    assert by_where["outcome:transplant"].severity is Severity.STOP
    assert by_where["outcome:transplant"].evidence["events"] <= 8
    assert by_where["outcome:death"].severity is Severity.NOTE
