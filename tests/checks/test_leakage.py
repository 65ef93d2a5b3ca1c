"""Leakage: by association, by name, by date, by missing values, and no alarm on noise."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.leakage import check, telling_name
from aimed.core import Binary, Cohort, CompetingRisks, Continuous, Multilabel, Survival, Variable


def look(findings, where):
    return [f for f in findings if f.where == where]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_copy_of_the_outcome_stops(clean, planted, flip, kind):
    cohort = clean(0)
    copy = (cohort.outcome.values == 1) ^ flip
    copy_of = Variable(name="flag", kind=kind, categories=("a", "b") if kind == "category" else ())
    (stop,) = look(check(Context(planted(cohort, copy_of, flag=copy.astype(float)))), "flag")
    assert stop.severity.value == "STOP"
    assert "equals the outcome" in stop.message


def test_a_noisy_proxy_stops_with_its_auroc(clean, planted):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        proxy = sign * (cohort.outcome.values + rng.normal(0, 0.25, cohort.n))
        (stop,) = look(check(Context(planted(cohort, proxy=proxy))), "proxy")
        assert stop.severity.value == "STOP"
        assert stop.evidence["measure"] == "auroc"
        assert (stop.evidence["value"] > 0.98) == (sign == 1)
        assert stop.evidence["sampled"] is False


def test_a_proxy_that_is_not_monotone_is_found_by_its_levels(clean, planted):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    codes = np.where(cohort.outcome.values == 1, 3, rng.choice([1, 2, 4, 5], cohort.n)).astype(float)
    codes[:5] = 3
    (stop,) = look(check(Context(planted(cohort, ward=codes))), "ward")
    assert stop.evidence["value"] > 0.98


def test_a_category_that_tells_stops_and_a_noise_category_does_not(clean, planted):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    levels = tuple(f"w{i}" for i in range(400))
    ward = Variable(name="ward", kind="category", categories=levels)
    noise = rng.integers(0, 400, cohort.n)
    assert look(check(Context(planted(cohort, ward, ward=noise))), "ward") == []
    unique = Variable(name="ward", kind="category", categories=tuple(map(str, range(cohort.n))))
    assert look(check(Context(planted(cohort, unique, ward=np.arange(cohort.n)))), "ward") == []
    telling = np.where(cohort.outcome.values == 1, noise // 2, 200 + noise // 2)
    (stop,) = look(check(Context(planted(cohort, ward, ward=telling))), "ward")
    assert (stop.severity.value, stop.evidence["measure"]) == ("STOP", "auroc")


def test_few_events_warn_instead_of_stop(clean, planted):
    cohort = clean(0, n=500)
    y = np.arange(500) < 10
    rng = np.random.default_rng(0)
    few = planted(replace(cohort, outcome=Binary(values=y)), proxy=y + rng.normal(0, 0.05, 500))
    assert [f.severity.value for f in look(check(Context(few)), "proxy")] == ["WARN"]


def test_time_to_event_proxies_stop(clean, planted):
    cohort = clean(0, "survival")
    rng = np.random.default_rng(0)
    event, time = cohort.outcome.event, cohort.outcome.time
    months = planted(cohort, months=time / 30.4 * rng.uniform(0.99, 1.01, cohort.n))
    assert look(check(Context(months)), "months")[0].evidence["measure"] == "harrell_c"
    same = planted(cohort, days=time)
    assert "equals the time" in look(check(Context(same)), "days")[0].message
    flag = planted(cohort, flag=event.astype(float))
    assert "equals the outcome" in look(check(Context(flag)), "flag")[0].message
    noisy = planted(cohort, noisy=event + rng.normal(0, 0.2, cohort.n))
    assert look(check(Context(noisy)), "noisy")[0].evidence["measure"] == "auroc"


def test_an_allowed_column_becomes_a_note_with_its_severity(clean, planted):
    cohort = clean(0)
    copy = planted(cohort, discharge_code=cohort.outcome.values.astype(float))
    seen = look(check(Context(copy, allow=frozenset({"discharge_code"}))), "discharge_code")
    assert [f.severity.value for f in seen] == ["NOTE", "NOTE"]
    assert [f.evidence["severity"] for f in seen] == ["STOP", "WARN"]


def test_missing_values_that_tell_warn(clean, planted):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    lactate = np.where((cohort.outcome.values == 1) ^ (rng.random(cohort.n) < 0.03), 2 + rng.random(cohort.n), np.nan)
    (warn,) = look(check(Context(planted(cohort, lactate=lactate))), "lactate")
    assert warn.severity.value == "WARN"
    assert 0.02 < warn.evidence["value"] < 0.1
    cause = np.where(cohort.outcome.values == 1, rng.random(cohort.n), np.nan)
    (stop,) = look(check(Context(planted(cohort, cause=cause))), "cause")
    assert (stop.severity.value, stop.evidence["value"]) == ("STOP", 0)


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        ("death_date", True),
        ("dischargeStatus", True),
        ("FollowUpDays", True),
        ("time.to.last.contact", True),
        ("length_of_stay", True),
        ("in_hospital_mortality", True),
        ("age", False),
        ("family_history_death", False),
        ("prior_discharge", False),
        ("deadspace", False),
        ("closed_reduction", False),
        ("performance_status", False),
        ("ChdFlag", True),
    ],
)
def test_names_that_tell(name, tells):
    assert telling_name(name, ("status", "chdflag")) is tells


def test_a_telling_name_warns_or_notes_when_the_author_states_the_time(clean, planted):
    cohort = planted(clean(0), los=np.random.default_rng(0).normal(size=3000))
    assert [f.severity.value for f in look(check(Context(cohort)), "los")] == ["WARN"]
    assert [f.severity.value for f in look(check(Context(cohort, measured_before_index=True)), "los")] == ["NOTE"]


def test_a_predictor_dated_after_the_index_time_stops(clean, planted):
    cohort = clean(0)
    when = cohort.time.copy()
    when[:7] += np.timedelta64(1, "D")
    when[7:20] += np.timedelta64(5, "h")
    dated = Variable(name="crp_date", kind="date", role="descriptor")
    late = planted(cohort, dated, crp_date=when)
    (stop,) = look(check(Context(late)), "crp")
    assert (stop.severity.value, stop.evidence["after"]) == ("STOP", 7)
    named = planted(cohort, Variable(name="drawn", kind="date", role="descriptor"), drawn=when)
    assert look(check(Context(named)), "crp") == []
    assert look(check(Context(named, time_columns={"crp": "drawn"})), "crp")[0].evidence["date_column"] == "drawn"
    clock = replace(late, time=cohort.time + np.timedelta64(1, "h"))
    assert look(check(Context(clock)), "crp")[0].evidence["after"] == 20


def test_several_targets_and_continuous_outcomes(clean, planted):
    cohort = clean(0)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (cohort.n, 2)).astype(float)
    values[:100, 1] = np.nan
    many = replace(cohort, outcome=Multilabel(values=values, targets=("Edema", "Mass")))
    second = np.nan_to_num(values[:, 1])
    (stop,) = look(check(Context(planted(many, flag=second))), "flag")
    assert "'Mass'" in stop.message
    y = rng.normal(size=cohort.n)
    lab = replace(cohort, outcome=Continuous(values=y, unit="kPa"))
    (stop,) = look(check(Context(planted(lab, twin=np.exp(y)))), "twin")
    assert stop.evidence["value"] == pytest.approx(1)
    ended = CompetingRisks(cause=rng.integers(0, 3, cohort.n), time=1 + rng.random(cohort.n), labels=("a", "b"))
    twin = planted(replace(cohort, outcome=ended), twin=ended.time)
    assert look(check(Context(twin)), "twin")[0].severity.value == "STOP"


def test_a_large_table_is_sampled_the_same_way_each_time():
    rng = np.random.default_rng(0)
    n = 150_000
    y = rng.random(n) < 0.5
    cohort = Cohort(
        patient=np.arange(n),
        variables=[Variable(name="proxy")],
        columns={"proxy": y + rng.normal(0, 0.2, n)},
        outcome=Binary(values=y),
    )
    first, second = (look(check(Context(cohort)), "proxy")[0] for _ in range(2))
    assert first.evidence["sampled"] is True
    assert first.evidence["n"] == 100_000
    assert first == second


def test_infinite_values_and_tiny_tables_do_not_fail(clean, planted):
    cohort = clean(0, "survival")
    infinite = np.full(cohort.n, np.inf)
    infinite[:2900] = 1.5
    assert look(check(Context(planted(cohort, ratio=infinite))), "ratio") == []
    tiny = Cohort(
        patient=["a", "b"],
        variables=[Variable(name="x")],
        columns={"x": [0.0, 1.0]},
        outcome=Survival(event=[0, 1], time=[1, 1]),
    )
    assert [f.severity.value for f in check(Context(tiny))] == ["NOTE"]
