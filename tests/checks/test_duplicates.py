"""Duplicates: planted copies are found, chance repeats of coarse data are not."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.duplicates import check
from aimed.core import Binary, Cohort, Variable


def continuous(seed, n, p=6):
    rng = np.random.default_rng(seed)
    return Cohort(
        patient=np.arange(n),
        variables=[Variable(name=f"x{j}") for j in range(p)],
        columns={f"x{j}": rng.normal(50, 12, n) for j in range(p)},
        outcome=Binary(values=rng.integers(0, 2, n)),
    )


def copied(cohort, rows, noise=0.0):
    first, second = rows
    columns = {name: np.array(column) for name, column in cohort.columns.items()}
    for column in columns.values():
        column[second] = column[first] * (1 + noise)
    y = cohort.outcome.values.copy()
    y[second] = y[first]
    return replace(cohort, columns=columns, outcome=Binary(values=y))


@pytest.mark.parametrize("n", [300, 3000])
def test_every_planted_copy_is_found(n):
    cohort = copied(continuous(0, n), (np.arange(20), np.arange(100, 120)))
    (warn,) = check(Context(cohort))
    assert warn.severity.value == "WARN"
    assert warn.evidence == {"rows": 40, "groups": 20, "n": n}


def test_copies_with_missing_values_are_found():
    cohort = continuous(0, 500)
    x = cohort.columns["x0"].copy()
    x[:5] = np.nan
    cohort = copied(replace(cohort, columns={**cohort.columns, "x0": x}), (np.arange(5), np.arange(100, 105)))
    assert check(Context(cohort))[0].evidence["groups"] == 5


def test_copies_of_train_in_test_stop_beyond_one_percent(split_of):
    cohort = continuous(0, 2000)
    split = split_of(cohort)
    train, test = split.parts["train"], split.parts["test"]
    for copies, stops in [(int(0.01 * test.size), False), (int(0.01 * test.size) + 1, True)]:
        findings = check(Context(copied(cohort, (train[:copies], test[:copies])), split))
        assert any(f.severity.value == "STOP" for f in findings) == stops
    assert findings[1].evidence == {"copies": copies, "test": test.size}


def test_near_copies_warn_and_do_not_count_exact_ones():
    cohort = copied(continuous(0, 800), (np.arange(10), np.arange(100, 110)), noise=1e-6)
    (warn,) = check(Context(cohort))
    assert "3 significant digits" in warn.message
    assert warn.evidence["rows"] == 20
    exact = check(Context(copied(continuous(0, 800), (np.arange(10), np.arange(100, 110)))))
    assert ["repeat the row" in f.message for f in exact] == [True]


def test_fewer_than_five_numbers_are_not_compared_after_rounding():
    cohort = copied(continuous(0, 800, p=4), (np.arange(10), np.arange(100, 110)), noise=1e-6)
    assert check(Context(cohort)) == []


def test_coarse_rows_repeat_by_chance_without_alarm():
    rng = np.random.default_rng(0)
    n = 5000
    flags = {f"f{j}": rng.integers(0, 2, n).astype(float) for j in range(8)}
    cohort = Cohort(
        patient=np.arange(n),
        variables=[Variable(name=name) for name in flags],
        columns=flags,
        outcome=Binary(values=rng.integers(0, 2, n)),
    )
    assert check(Context(cohort)) == []


def test_rows_of_one_patient_are_only_noted():
    cohort = copied(continuous(0, 400), (np.arange(5), np.arange(100, 105)))
    ids = np.arange(400)
    ids[100:105] = ids[:5]
    findings = check(Context(replace(cohort, patient=ids)))
    assert [f.severity.value for f in findings] == ["NOTE"]
    assert findings[0].evidence["rows"] == 10


def test_minus_zero_is_zero():
    cohort = copied(continuous(0, 400), (np.arange(5), np.arange(100, 105)))
    x = cohort.columns["x0"].copy()
    x[:5], x[100:105] = 0.0, -0.0
    assert check(Context(replace(cohort, columns={**cohort.columns, "x0": x})))[0].evidence["groups"] == 5
