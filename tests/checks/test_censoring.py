"""Censoring: horizons out of reach, coarse and heaped times, censoring that depends on a predictor."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.censoring import check
from aimed.checks.context import Context
from aimed.core import CompetingRisks, Survival


def with_times(cohort, event, time):
    return replace(cohort, outcome=Survival(event=event, time=time, label="relapse"))


def test_a_horizon_beyond_follow_up_stops_in_the_table_and_in_a_part(clean, split_of, seen):
    cohort = clean(0, "survival")
    assert ("STOP", "table@5000") in seen(check(Context(cohort, horizons=(5000.0,))))
    split = split_of(cohort)
    time = cohort.outcome.time.copy()
    time[split.parts["test"]] = np.minimum(time[split.parts["test"]], 900)
    short = check(Context(with_times(cohort, cohort.outcome.event, time), split, horizons=(1000.0,)))
    assert {where for severity, where in seen(short) if severity == "STOP"} == {"test@1000"}


def test_no_event_by_the_horizon_stops(clean, seen):
    cohort = clean(0, "survival")
    late = with_times(cohort, cohort.outcome.event, cohort.outcome.time + 100)
    assert seen(check(Context(late, horizons=(50.0,)))) == {("STOP", "table@50")}


def test_few_followed_and_many_lost_warn(clean):
    cohort = clean(0, "survival")
    rng = np.random.default_rng(0)
    time = np.ceil(rng.exponential(300, cohort.n))
    lost = with_times(cohort, rng.random(cohort.n) < 0.2, time)
    warned = [f for f in check(Context(lost, horizons=(1000.0,))) if f.where == "table@1000"]
    assert [f.severity.value for f in warned] == ["WARN", "WARN"]
    assert warned[0].evidence["followed"] == int((time >= 1000).sum())
    assert warned[0].evidence["lost"] == int((~lost.outcome.event & (time < 1000)).sum())


def test_no_event_after_the_horizon_is_noted(clean):
    cohort = clean(0, "survival")
    event = cohort.outcome.event & (cohort.outcome.time <= 400)
    (note,) = [f for f in check(Context(with_times(cohort, event, cohort.outcome.time), horizons=(400.0,)))
               if f.where == "table@400"]  # fmt: skip
    assert (note.severity.value, note.evidence["events_after"]) == ("NOTE", 0)
    assert "No event follows" in note.advice


def test_coarse_and_heaped_times_warn(clean, seen):
    cohort = clean(0, "survival")
    event, time = cohort.outcome.event, cohort.outcome.time
    coarse = check(Context(with_times(cohort, event, np.ceil(time / 365))))
    assert seen(coarse) == {("WARN", "outcome")}
    assert coarse[0].evidence["distinct"] < 20
    heaped = time.copy()
    heaped[np.flatnonzero(event)[: event.sum() // 5]] = 180
    (warn,) = [f for f in check(Context(with_times(cohort, event, heaped))) if f.severity.value == "WARN"]
    assert warn.evidence["at_one_time"] >= event.sum() // 5


@pytest.mark.parametrize("name", ["age", "stage"])
def test_censoring_that_depends_on_a_predictor_warns(clean, name):
    cohort = clean(0, "survival")
    rng = np.random.default_rng(0)
    x = cohort.columns[name]
    high = x > np.median(x)
    event = rng.exponential(1500, cohort.n)
    censored = rng.uniform(0, np.where(high, 700, 3000))
    cohort = with_times(cohort, event <= censored, np.ceil(np.minimum(event, censored)) + 1)
    warned = [f for f in check(Context(cohort)) if f.severity.value == "WARN"]
    assert name in {f.where for f in warned}
    assert "crp" not in {f.where for f in warned}


def test_events_that_depend_on_a_predictor_are_not_taken_for_censoring(clean, seen):
    cohort = clean(0, "survival")
    rng = np.random.default_rng(1)
    event = np.ceil(rng.exponential(np.where(cohort.columns["age"] > 62, 100, 2000)))
    # Whole months: so many ties between events and censorings that the heap itself is told.
    ended = rng.integers(20, 40, cohort.n) * 30.0
    event = np.ceil(event / 30) * 30
    warned = seen(check(Context(with_times(cohort, event <= ended, np.minimum(event, ended)))))
    assert {where for _, where in warned} == {"outcome"}


def test_a_competing_event_is_not_censoring(clean):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    cause = rng.integers(0, 3, cohort.n)
    outcome = CompetingRisks(cause=cause, time=1 + rng.uniform(0, 900, cohort.n), labels=("relapse", "death"))
    note = check(Context(replace(cohort, outcome=outcome)))[-1]
    assert note.evidence["censored"] == int((cause == 0).sum())


def test_the_median_follow_up_is_reported_with_its_interval(clean):
    note = check(Context(clean(0, "survival")))[-1]
    median = note.evidence["median_follow_up"]
    # Censoring is uniform from 200 to 3000 days.
    assert median["lower"] < 1600 < median["upper"]
    assert "day" in note.message


def test_a_yes_no_outcome_has_no_follow_up(clean):
    assert check(Context(clean(0), horizons=(365.0,))) == []


def test_nobody_censored_is_worth_a_question(clean):
    cohort = clean(0, "survival")
    everybody = replace(cohort, outcome=replace(cohort.outcome, event=np.ones(cohort.n, dtype=bool)))
    assert any("No row is censored" in f.message for f in check(Context(everybody)))
    assert not any("No row is censored" in f.message for f in check(Context(cohort)))
