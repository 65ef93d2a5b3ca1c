"""The runner: silence on clean data, order, selection, refusal, and speed."""

import time
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks import CHECKS
from aimed.checks.run import raise_on_stop, run_checks
from aimed.core import Binary, Cohort, DataError, Survival, UnknownNameError, Variable

HORIZONS = (365.0, 1095.0)


@pytest.mark.parametrize("kind", ["binary", "survival"])
@pytest.mark.parametrize("seed", range(20))
def test_a_clean_cohort_raises_no_alarm(clean, split_of, seen, seed, kind):
    cohort = clean(seed, kind, repeats=seed % 2 == 1)
    split = split_of(cohort, seed, "time" if seed % 4 == 2 else "patient")
    horizons = HORIZONS if kind == "survival" else ()
    findings = run_checks(cohort, split, subgroups=["sex", "stage"], horizons=horizons)
    assert seen(findings) == set()
    assert {"patients", "outcome", "missingness", "sample_size"} <= {f.check for f in findings}


def test_findings_come_gravest_first(clean, split_of):
    cohort = clean(0)
    broken = replace(cohort, outcome=Binary(values=np.zeros(cohort.n)), patient=np.r_[[""], cohort.patient[1:]])
    order = [f.severity.value for f in run_checks(broken, split_of(broken))]
    assert order == sorted(order, key=["STOP", "WARN", "NOTE"].index)
    assert order[0] == "STOP"


def test_only_runs_what_is_named_and_tells_progress(clean):
    told = []
    findings = run_checks(clean(0), only=["columns", "patients"], progress=told.append)
    assert told == ["patients", "columns"]
    assert {f.check for f in findings} == {"patients"}


@pytest.mark.parametrize(
    "wrong", [{"only": ["leak"]}, {"subgroups": ["sx"]}, {"allow": ["ag"]}, {"time_columns": {"age": "nowhere"}}]
)
def test_an_unknown_name_is_refused_with_the_nearest(clean, wrong):
    with pytest.raises(UnknownNameError):
        run_checks(clean(0, n=50), **wrong)


def test_raise_on_stop_lists_every_stop_and_passes_the_rest(clean):
    cohort = clean(0)
    raise_on_stop(run_checks(cohort, only=["patients", "outcome"]))
    broken = replace(cohort, outcome=Binary(values=np.zeros(cohort.n)), patient=np.r_[[""], cohort.patient[1:]])
    with pytest.raises(DataError, match=r"(?s)2 check findings stop the study:.*no patient id.*None of 3,000") as error:
        raise_on_stop(run_checks(broken))
    assert error.value.exit_code == 3


def test_checking_twice_gives_the_same(clean, split_of):
    cohort = clean(3, "survival")
    once, twice = (run_checks(cohort, split_of(cohort), horizons=HORIZONS) for _ in range(2))
    assert [f.to_dict() for f in once] == [f.to_dict() for f in twice]


def test_the_test_part_never_meets_the_predictors(clean, split_of, planted):
    cohort = clean(1)
    split = split_of(cohort)
    flag = np.random.default_rng(0).normal(size=cohort.n)
    test = split.parts["test"]
    flag[test] = cohort.outcome.values[test]
    leaky = planted(cohort, flag=flag)
    assert not [f for f in run_checks(leaky, split, only=["leakage"]) if f.where == "flag"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_a_million_rows_take_seconds(kind):
    rng = np.random.default_rng(0)
    n = 1_000_000
    variables = [Variable(name=f"x{j}") for j in range(14)]
    variables += [Variable(name=f"c{j}", kind="category", categories=tuple("abcdef")) for j in range(6)]
    columns = {f"x{j}": rng.normal(size=n) for j in range(14)} | {f"c{j}": rng.integers(0, 6, n) for j in range(6)}
    if kind == "binary":
        outcome = Binary(values=rng.random(n) < 0.1)
    else:
        outcome = Survival(event=rng.random(n) < 0.3, time=np.ceil(rng.uniform(0, 3000, n)) + 1)
    cohort = Cohort(patient=rng.integers(0, n, n), variables=variables, columns=columns, outcome=outcome)
    start = time.perf_counter()
    findings = run_checks(cohort, horizons=(365,) if kind == "survival" else ())
    assert time.perf_counter() - start < 30
    assert findings
    assert set(CHECKS) >= {f.check for f in findings}
