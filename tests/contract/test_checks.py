"""What every check in the catalogue must keep, on every outcome type and on tables of any size."""

import json
import re

import numpy as np
import pytest

from aimed.checks import CHECKS
from aimed.checks.context import Context
from aimed.core import (
    Binary,
    Cohort,
    CompetingRisks,
    Continuous,
    Finding,
    Multilabel,
    Severity,
    Split,
    Survival,
    Variable,
)

SECRET = "Qx7Zk"
CELL = 73123.456789


def outcome_of(kind, n, rng):
    time = 1.0 + np.round(rng.exponential(400, n))
    return {
        "none": lambda: None,
        "binary": lambda: Binary(values=rng.integers(0, 2, n)),
        "one class": lambda: Binary(values=np.zeros(n)),
        "survival": lambda: Survival(event=rng.integers(0, 2, n), time=time),
        "censored": lambda: Survival(event=np.zeros(n), time=time),
        "competing": lambda: CompetingRisks(cause=rng.integers(0, 3, n), time=time, labels=("relapse", "death")),
        "multilabel": lambda: Multilabel(
            values=np.where(rng.random((n, 2)) < 0.3, np.nan, rng.integers(0, 2, (n, 2))), targets=("Edema", "Mass")
        ),
        "continuous": lambda: Continuous(values=rng.normal(size=n), unit="kPa"),
    }[kind]()


KINDS = ["none", "binary", "one class", "survival", "censored", "competing", "multilabel", "continuous"]


def faulty(kind, n, seed=0):
    """A table with every fault that fits, whose ids, levels, texts and one number are recognisable."""
    rng = np.random.default_rng(seed)
    levels = tuple(f"{SECRET}L{i}" for i in range(70))
    dates = np.datetime64("2020-01-01", "us") + rng.integers(0, 900, n).astype("timedelta64[D]")
    x = rng.normal(size=n)
    variables = [
        Variable(name="age", unit="year", plausible=(0, 1)),
        Variable(name="glucose", unit="mg/dL"),
        Variable(name="empty"),
        Variable(name="row_count"),
        Variable(name="coded"),
        Variable(name="ratio"),
        Variable(name="death_flag"),
        Variable(name="ward", kind="category", categories=levels),
        Variable(name="group", kind="category", role="descriptor", categories=levels),
        Variable(name="note", kind="text"),
        Variable(name="age_date", kind="date", role="descriptor"),
        Variable(name="seen", kind="date"),
    ]
    columns = {
        "age": np.where(np.arange(n) % 7 == 0, CELL, 50 + np.round(x * 9)),
        "glucose": rng.uniform(4, 8, n),
        "empty": np.full(n, np.nan),
        "row_count": np.arange(n),
        "coded": np.where(np.arange(n) % 4 == 0, 999, rng.integers(0, 5, n)),
        "ratio": np.where(np.arange(n) % 5 == 0, np.inf, x),
        "death_flag": np.arange(n) % 2,
        "ward": rng.integers(-1, 70, n),
        "group": rng.integers(-1, 3, n),
        "note": np.array([f"{SECRET} text {i}" if i % 3 else None for i in range(n)], dtype=object),
        "age_date": dates + np.timedelta64(3, "D"),
        "seen": dates + np.timedelta64(3, "D"),
    }
    return Cohort(
        patient=[f"{SECRET}P{i}" if i % 9 else "" for i in range(n)],
        ids=[f"{SECRET}U{i}" for i in range(n)],
        site=[f"{SECRET}S{i % 3}" for i in range(n)],
        time=dates,
        variables=variables,
        columns=columns,
        outcome=outcome_of(kind, n, rng),
    )


def halves(cohort):
    codes = np.unique(cohort.patient, return_inverse=True)[1]
    return Split(
        parts={"train": np.flatnonzero(codes % 2 == 0), "test": np.flatnonzero(codes % 2)},
        by="time",
        patient=cohort.patient,
    )


@pytest.mark.parametrize("name", list(CHECKS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 25, 400])
def test_every_check_speaks_plainly_and_names_no_value(name, kind, n):
    cohort = faulty(kind, n)
    before = cohort.digest()
    for split in (None, halves(cohort)):
        context = Context(cohort, split, subgroups=("group",), horizons=(365.0,))
        findings = CHECKS[name](context)
        assert isinstance(findings, list)
        for f in findings:
            assert isinstance(f, Finding)
            assert f.check == name
            assert f.where
            assert f.source
            assert f.message.endswith(".")
            # One sentence: a stop followed by a capital letter occurs nowhere inside.
            assert not re.search(r"[a-z)]\. [A-Z]", f.message)
            assert f.advice or f.severity is Severity.NOTE
            assert SECRET not in f.message + f.advice + f.where
            assert "73123" not in json.dumps(f.to_dict())
            assert not re.search(rf"{SECRET}[PU]|{SECRET} text", json.dumps(f.to_dict()))
            assert Finding.from_dict(json.loads(json.dumps(f.to_dict(), allow_nan=False))) == f
        again = CHECKS[name](Context(cohort, split, subgroups=("group",), horizons=(365.0,)))
        assert [f.to_dict() for f in again] == [f.to_dict() for f in findings]
    assert cohort.digest() == before


@pytest.mark.parametrize("name", list(CHECKS))
def test_an_empty_table_does_not_fail(name):
    variables = [Variable(name="x"), Variable(name="c", kind="category", categories=("a",))]
    cohort = Cohort(patient=np.array([], dtype=str), variables=variables, columns={"x": [], "c": []})
    assert isinstance(CHECKS[name](Context(cohort)), list)


def test_the_faulty_table_sets_off_the_checks_of_its_faults():
    cohort = faulty("survival", 400)
    loud = set()
    for name in CHECKS:
        for f in CHECKS[name](Context(cohort, halves(cohort), parameters=500, horizons=(9999.0,))):
            if f.severity is not Severity.NOTE:
                loud.add(name)
    pictures = {"image_frames", "image_duplicates", "image_labels", "shortcuts"}
    volumes = {"volume_geometry", "volume_channels", "volume_labels", "volume_duplicates"}
    assert loud == set(CHECKS) - pictures - volumes - {"duplicates", "outcome", "treatment", "note_texts"}


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_says_what_it_stops_on(name):
    assert re.search(r"WARN|STOP", CHECKS[name].__doc__)
    assert CHECKS.entry(name).summary.endswith(".")
