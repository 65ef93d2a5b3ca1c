"""Missingness: by variable, by outcome, by group."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.missingness import check


def lose(cohort, name, mask):
    values = cohort.columns[name].copy()
    values[mask] = np.nan
    return replace(cohort, columns={**cohort.columns, name: values})


@pytest.mark.parametrize(("share", "severity"), [(0.38, "NOTE"), (0.42, "WARN")])
def test_more_than_forty_percent_missing_warns(clean, share, severity):
    cohort = lose(clean(0), "bmi", np.arange(3000) % 100 < 100 * share)
    (bmi,) = [f for f in check(Context(cohort)) if f.where == "bmi"]
    assert (bmi.severity.value, bmi.evidence["fraction"]) == (severity, pytest.approx(share))


def test_missing_by_outcome_warns_with_an_interval_that_holds_the_truth(clean):
    cohort = clean(0)
    y = cohort.outcome.values == 1
    lost = np.random.default_rng(0).random(cohort.n) < np.where(y, 0.35, 0.1)
    told = [f for f in check(Context(lose(cohort, "bmi", lost))) if f.where == "bmi" and f.severity.value == "WARN"]
    assert len(told) == 1
    e = told[0].evidence
    assert (e["event"], e["no_event"]) == (lost[y].mean(), lost[~y].mean())
    assert e["lower"] < 0.25 < e["upper"]


def test_the_interval_agrees_with_the_two_sample_formula(clean):
    cohort = lose(clean(0), "bmi", np.arange(3000) % 3 == 0)
    y, lost = cohort.outcome.values == 1, np.arange(3000) % 3 == 0
    record = next(f for f in check(Context(cohort)) if f.where == "bmi").evidence["by_outcome"]["complication"]
    error = np.sqrt(sum(lost[g].mean() * (1 - lost[g].mean()) / g.sum() for g in (y, ~y)))
    assert (record["upper"] - record["lower"]) / 2 == pytest.approx(1.96 * error, rel=1e-3)


def test_doubled_rows_do_not_narrow_the_interval(clean):
    cohort = lose(clean(0), "bmi", np.arange(3000) % 3 == 0)
    doubled = cohort.take(np.repeat(np.arange(cohort.n), 2))

    def width(c):
        record = next(f for f in check(Context(c)) if f.where == "bmi").evidence["by_outcome"]["complication"]
        return record["upper"] - record["lower"]

    assert width(doubled) == pytest.approx(width(cohort), rel=1e-6)


def test_missing_by_group_warns(clean):
    cohort = clean(0)
    lost = np.random.default_rng(0).random(cohort.n) < np.where(cohort.columns["stage"] == 3, 0.4, 0.05)
    cohort = lose(cohort, "bmi", lost)
    assert {f.where for f in check(Context(cohort)) if f.severity.value == "WARN"} == set()
    (told,) = [f for f in check(Context(cohort, subgroups=("sex", "stage"))) if f.severity.value == "WARN"]
    assert told.evidence["column"] == "stage"
    assert set(told.evidence["fractions"]) == {"I", "II", "III", "IV"}


def test_complete_rows_are_counted(clean):
    cohort = clean(0)
    whole = check(Context(cohort))[-1]
    assert whole.evidence["complete"] == int((~np.isnan(cohort.columns["crp"])).sum())
