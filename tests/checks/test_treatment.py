"""The check of two arms: each fault of a trial or of records planted and found, and no alarm on clean ones."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.run import run_checks
from aimed.checks.treatment import Compared, check
from aimed.core import Binary, Cohort, CompetingRisks, Continuous, Survival, Variable

TRIAL = Compared(share=0.5)
RECORDS = Compared(assignment="observational")
DAY = np.datetime64("2020-01-01")


@pytest.fixture
def arms(clean, planted):
    """Return the maker of a clean trial: ``arms(seed, kind, n, repeats, chance)``."""

    def make(seed=0, kind="binary", n=600, repeats=False, chance=0.5):
        cohort = clean(seed, kind, n, repeats)
        codes = np.unique(cohort.patient, return_inverse=True)[1]
        treated = (np.random.default_rng(seed + 50).random(codes.max() + 1) < chance)[codes]
        return planted(cohort, Variable(name="arm", role="treatment"), arm=treated.astype(float))

    return make


def look(cohort, compared=TRIAL, where=None, **options):
    found = [f for f in check(Context(cohort, compared=compared, **options)) if f.severity.value != "NOTE"]
    return [f for f in found if where is None or f.where == where]


def treated_of(cohort):
    return cohort.column("arm") == 1


@pytest.mark.parametrize("compared", [TRIAL, RECORDS])
@pytest.mark.parametrize("kind", ["binary", "survival"])
@pytest.mark.parametrize("repeats", [False, True])
def test_clean_arms_are_silent(arms, seen, compared, kind, repeats):
    horizons = () if kind == "binary" else (1500.0,)
    for seed in range(5):
        cohort = arms(seed, kind, repeats=repeats)
        assert seen(check(Context(cohort, compared=compared, horizons=horizons))) == set()


def test_a_study_without_treatment_is_not_looked_at(clean, arms):
    assert check(Context(clean(0, n=100), compared=TRIAL)) == []
    assert check(Context(arms(), compared=None)) == []


def test_rows_and_events_of_the_arms_are_told(arms):
    cohort = arms()
    (note,) = check(Context(cohort, compared=TRIAL))
    treated = treated_of(cohort)
    assert note.evidence["rows"] == {"active": int(treated.sum()), "control": int((~treated).sum())}
    assert note.evidence["events"]["control"] == int(cohort.outcome.values[~treated].sum())


def test_events_are_counted_to_the_horizon_and_of_the_first_cause(arms):
    cohort = arms(kind="survival")
    cause = np.where(cohort.outcome.event, np.random.default_rng(1).integers(1, 3, cohort.n), 0)
    both = CompetingRisks(cause=cause, time=cohort.outcome.time, labels=("relapse", "death"))
    (note,) = check(Context(replace(cohort, outcome=both), compared=TRIAL, horizons=(900.0,)))
    counted = (cause == 1) & (cohort.outcome.time <= 900) & treated_of(cohort)
    assert note.evidence["events"]["active"] == int(counted.sum())


def test_a_measured_outcome_has_no_events(arms):
    cohort = arms()
    values = np.random.default_rng(0).normal(size=cohort.n)
    cohort = replace(cohort, outcome=Continuous(values=values, label="pressure", unit="mmHg"))
    (note,) = check(Context(cohort, compared=TRIAL))
    assert note.evidence["events"] == {}


def test_tiny_arms(arms, planted):
    cohort = arms()
    few = np.isin(np.arange(cohort.n), np.flatnonzero(cohort.outcome.values == 1)[:12]).astype(float)
    found = look(planted(cohort, arm=few), RECORDS, "arm")
    assert [f.evidence["rows"] for f in found] == [12]
    assert "12 rows" in found[0].message
    few[:] = np.isin(np.arange(cohort.n), np.flatnonzero(cohort.outcome.values == 0)[:30])
    few[np.flatnonzero(cohort.outcome.values == 1)[:3]] = 1
    (warned,) = look(planted(cohort, arm=few), RECORDS, "arm")
    assert (warned.severity.value, warned.evidence) == ("WARN", {"events": 3, "rows": 33})


@pytest.mark.parametrize("arm", ["active", "control"])
def test_an_arm_without_events_is_warned_of_and_two_stop(arms, arm):
    cohort = arms()
    values = np.where(treated_of(cohort) == (arm == "active"), 0, cohort.outcome.values)
    (warned,) = look(replace(cohort, outcome=Binary(values=values, label="death")))
    assert warned.severity.value == "WARN"
    assert f"The {arm} arm has no event" in warned.message
    assert "as observed" in warned.advice
    none = look(replace(cohort, outcome=Binary(values=np.zeros(cohort.n), label="death")))
    assert [f.severity.value for f in none] == ["STOP", "STOP"]


def test_no_event_by_the_horizon_stops_though_there_are_later_ones(arms):
    cohort = arms(kind="survival")
    time = np.where(treated_of(cohort), cohort.outcome.time + 200, cohort.outcome.time)
    late = replace(cohort, outcome=Survival(event=cohort.outcome.event, time=time, label="relapse"))
    (stop,) = [f for f in look(late, horizons=(150.0,)) if f.severity.value == "STOP"]
    assert "no event" in stop.message


@pytest.mark.parametrize("competing", [False, True])
def test_nobody_followed_to_the_horizon(arms, competing):
    cohort = arms(kind="survival")
    time, event = cohort.outcome.time.copy(), cohort.outcome.event.copy()
    short = treated_of(cohort) & (time >= 700)
    time[short], event[short] = 680 + np.arange(short.sum()) % 17, False
    outcome = (
        CompetingRisks(cause=event.astype(int), time=time, labels=("relapse", "death"))
        if competing
        else Survival(event=event, time=time, label="relapse")
    )
    (stop,) = look(replace(cohort, outcome=outcome), horizons=(700.0,))
    assert stop.severity.value == "STOP"
    assert "active arm is followed to the horizon of 700 days" in stop.message
    fifth = np.sort(time[treated_of(cohort)])[-5]
    assert stop.evidence["followed"] == fifth
    assert f"{fifth:g} days" in stop.advice
    assert look(replace(cohort, outcome=outcome), horizons=(600.0,)) == []


def test_an_arm_that_all_had_the_event_is_followed_to_the_end(arms):
    cohort = arms(kind="survival")
    treated = treated_of(cohort)
    time = np.where(treated, np.minimum(cohort.outcome.time, 600), cohort.outcome.time)
    event = np.where(treated, True, cohort.outcome.event)
    assert look(replace(cohort, outcome=Survival(event=event, time=time, label="x")), horizons=(700.0,)) == []


def test_shares_that_the_ratio_does_not_explain(arms):
    cohort = arms(chance=2 / 3)
    assert look(cohort, Compared(share=2 / 3)) == []
    (warned,) = look(cohort, TRIAL)
    assert warned.severity.value == "WARN"
    assert "50.0 %" in warned.message
    assert warned.evidence["active"] == int(treated_of(cohort).sum())
    assert look(cohort, Compared(share=None)) == []
    assert look(cohort, Compared(assignment="observational", share=None)) == []


def test_the_ratio_is_that_of_patients_not_of_rows(arms, planted):
    cohort = arms(n=200)
    # Ten rows of each treated patient: the rows are far from 1 to 1, the patients are not.
    rows = np.concatenate([np.repeat(i, 10 if t else 1) for i, t in enumerate(treated_of(cohort))])
    assert look(cohort.take(rows), TRIAL, "arm") == []


@pytest.mark.parametrize("compared", [TRIAL, RECORDS])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_separates_the_arms_stops(arms, planted, compared, sign):
    cohort = arms()
    rng = np.random.default_rng(0)
    dose = sign * np.where(treated_of(cohort), rng.uniform(10, 20, cohort.n), rng.uniform(0, 5, cohort.n))
    dose[::9] = np.nan
    (stop,) = look(planted(cohort, dose=dose), compared)
    assert (stop.severity.value, stop.where) == ("STOP", "dose")
    assert "100 % of the rows" in stop.message


@pytest.mark.parametrize("compared", [TRIAL, RECORDS])
@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_copy_of_the_treatment_stops(arms, planted, compared, kind):
    cohort = arms()
    v = Variable(name="group", kind=kind, categories=("a", "b") if kind == "category" else ())
    (stop,) = look(planted(cohort, v, group=(1 - treated_of(cohort)).astype(float)), compared)
    assert (stop.severity.value, stop.where) == ("STOP", "group")


def test_a_number_known_of_a_few_rows_does_not_stop(arms, planted, seen):
    cohort = arms()
    test = np.full(cohort.n, np.nan)
    treated = treated_of(cohort)
    test[np.flatnonzero(treated)[:3]], test[np.flatnonzero(~treated)[:3]] = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    for compared in (TRIAL, RECORDS):
        assert look(planted(cohort, test=test), compared) == []


@pytest.mark.parametrize(("compared", "severity"), [(TRIAL, "WARN"), (RECORDS, "STOP")])
def test_a_level_with_one_treatment(arms, planted, compared, severity):
    cohort = arms()
    rng = np.random.default_rng(0)
    ward = Variable(name="ward", kind="category", categories=("a", "b", "c", "d"))
    codes = rng.integers(0, 3, cohort.n)
    codes[np.flatnonzero(~treated_of(cohort))[:40]] = 3
    (found,) = look(planted(cohort, ward, ward=codes), compared)
    assert (found.severity.value, found.where) == (severity, "ward")
    assert found.evidence == {"levels": 1, "rows": 40}
    # A stratum of randomisation is looked at though it is no predictor.
    described = planted(cohort, replace(ward, role="descriptor"), ward=codes)
    assert look(described, compared) == []
    (found,) = look(described, replace(compared, strata=("ward",)))
    assert found.where == "ward"


@pytest.mark.parametrize("compared", [TRIAL, RECORDS])
def test_small_levels_that_chance_explains_are_a_note(arms, planted, compared):
    cohort = arms(chance=0.2)
    levels = tuple(f"clinic {i}" for i in range(100))
    ward = Variable(name="ward", kind="category", categories=levels)
    codes = np.random.default_rng(0).permutation(np.arange(cohort.n) % 100)
    compared = replace(compared, share=0.2 if compared is TRIAL else None)
    found = [f for f in check(Context(planted(cohort, ward, ward=codes), compared=compared)) if f.where == "ward"]
    assert [f.severity.value for f in found] == ["NOTE"]
    assert found[0].evidence["levels"] > 5


def test_many_rows_of_one_patient_are_one_draw(arms, planted):
    cohort = arms(n=300)
    rows = np.concatenate([np.arange(cohort.n), np.repeat(np.arange(6), 20)])
    many = cohort.take(rows)
    ward = Variable(name="ward", kind="category", categories=("a", "b"))
    first = int(np.flatnonzero(treated_of(cohort)[:6])[0])
    codes = (many.patient == cohort.patient[first]).astype(int)
    assert codes.sum() == 21
    assert look(planted(many, ward, ward=codes), RECORDS) == []


def test_a_predictor_that_foretells_the_arm(arms, planted):
    cohort = arms()
    noisy = treated_of(cohort) * 0.8 + np.random.default_rng(0).normal(size=cohort.n)
    (warned,) = look(planted(cohort, late=noisy))
    assert (warned.severity.value, warned.where) == ("WARN", "late")
    assert 0.6 < warned.evidence["auc"] < 0.8
    assert look(planted(cohort, late=noisy), RECORDS) == []
    strong = treated_of(cohort) * 2.0 + np.random.default_rng(0).normal(size=cohort.n)
    (warned,) = look(planted(cohort, late=-strong), RECORDS)
    assert warned.severity.value == "WARN"
    assert "nearly separates" in warned.message
    # The same by hand: the share of pairs in which the treated row has the larger value.
    treated = treated_of(cohort)
    by_hand = np.mean(strong[treated][:, None] > strong[~treated][None, :])
    assert warned.evidence["auc"] == pytest.approx(by_hand)


@pytest.mark.parametrize("stated", [True, False])
def test_what_was_measured_on_the_wrong_side_of_the_start(arms, planted, stated):
    cohort = arms(n=200)
    begun, rng = DAY + np.arange(200).astype("timedelta64[D]"), np.random.default_rng(0)
    before = begun - rng.integers(0, 30, 200).astype("timedelta64[D]")
    after = begun + rng.integers(1, 30, 200).astype("timedelta64[D]")
    dates = {n: Variable(name=n, kind="date", role="descriptor") for n in ("begun", "crp_day", "known_day")}
    if not stated:
        cohort = replace(cohort, time=begun)

    def found(crp_day, known_day):
        whole = planted(cohort, *dates.values(), begun=begun, crp_day=crp_day, known_day=known_day)
        told = Compared(
            share=0.5, started="begun" if stated else None, measured={"crp": "crp_day", "outcome": "known_day"}
        )
        return look(whole, told)

    assert found(before, after) == []
    mixed = np.where(np.arange(200) < 3, after, before)
    mixed[-1] = np.datetime64("NaT")
    (stop,) = found(mixed, after)
    assert (stop.severity.value, stop.where, stop.evidence) == ("STOP", "crp", {"rows": 3, "n": 199})
    assert "measured after treatment began in 3 of 199" in stop.message
    (stop,) = found(before, np.where(np.arange(200) < 7, before, after))
    assert (stop.severity.value, stop.where, stop.evidence) == ("STOP", "outcome", {"rows": 7, "n": 200})


def test_dates_without_a_start_are_not_held_against_anything(arms, planted):
    cohort = replace(arms(n=200), time=None)
    day = Variable(name="crp_day", kind="date", role="descriptor")
    cohort = planted(cohort, day, crp_day=np.full(200, DAY))
    assert look(cohort, Compared(share=0.5, measured={"crp": "crp_day"})) == []


def test_a_strategy_that_is_not_carried_out_is_said(arms):
    told = replace(TRIAL, strategies={"stopped": "hypothetical", "died": "composite", "changed": "treatment policy"})
    found = look(arms(), told, "estimand")
    assert [f.severity.value for f in found] == ["WARN"] * len(found)
    assert any("'hypothetical'" in f.message for f in found)
    assert not any("treatment policy" in f.message for f in found)


def test_no_value_or_id_in_what_is_said(arms, planted):
    cohort = arms(kind="survival")
    treated = treated_of(cohort)
    time, event = cohort.outcome.time.copy(), cohort.outcome.event.copy()
    time[treated & (time >= 700)], event[treated & (time >= 700)] = 690.25, False
    time[np.flatnonzero(treated)[0]] = 697.125
    secret = Variable(name="ward", kind="category", categories=("Smith", "Jones", "Miller"))
    codes = np.where(treated, np.random.default_rng(0).integers(0, 2, cohort.n), 2)
    dose = np.where(treated, 9876.5, 1234.5) + np.arange(cohort.n) / 1024
    begun = np.full(cohort.n, np.datetime64("2031-07-29"))
    days = {n: Variable(name=n, kind="date", role="descriptor") for n in ("begun", "dose_day")}
    cohort = replace(cohort, outcome=Survival(event=event, time=time, label="relapse"))
    cohort = planted(cohort, secret, *days.values(), ward=codes, dose=dose, begun=begun, dose_day=begun + 1)
    told = Compared(share=0.9, started="begun", measured={"dose": "dose_day"})
    found = check(Context(cohort, compared=told, horizons=(700.0,)))
    assert {f.where for f in found} == {"arm", "ward", "dose"}
    said = " ".join(f"{f.message} {f.advice} {f.evidence}" for f in found)
    assert not re.search(r"P0\d\d\d|Smith|Jones|Miller|9876|1234\.|697\.125|2031|07-29", said)


def test_the_check_is_one_of_those_that_are_run(arms, split_of):
    cohort = arms(n=300)
    cohort = replace(cohort, outcome=Binary(values=np.zeros(cohort.n), label="death"))
    found = run_checks(cohort, split_of(cohort), compared=TRIAL)
    assert any(f.check == "treatment" and f.severity.value == "STOP" for f in found)


def test_one_row_an_arm():
    cohort = Cohort(
        patient=["a", "b"],
        variables=[Variable(name="arm", role="treatment"), Variable(name="x")],
        columns={"arm": [0.0, 1.0], "x": [1.0, 2.0]},
        outcome=Survival(event=[True, False], time=[3.0, 4.0], label="death"),
    )
    found = look(cohort, RECORDS, horizons=(10.0,))
    assert {f.severity.value for f in found} == {"WARN", "STOP"}
    assert not any(re.search(r"\b4\b", f.advice) for f in found)
