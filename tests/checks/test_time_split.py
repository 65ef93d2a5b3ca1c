"""A split by time: test rows before train rows, and missing dates."""

from dataclasses import replace

import numpy as np

from aimed.checks.context import Context
from aimed.checks.time_split import check
from aimed.core import Split


def test_test_rows_before_the_last_train_row_stop(clean, split_of):
    cohort = clean(0, n=400)
    split = split_of(cohort, by="time")
    swapped = {"train": np.r_[split.parts["train"][1:], 399], "test": np.r_[split.parts["test"][:-1], 0]}
    stop = check(Context(cohort, Split(parts=swapped, by="time", patient=cohort.patient)))[0]
    assert stop.severity.value == "STOP"
    assert stop.evidence["early"] == int((cohort.time[swapped["test"]] < cohort.time[399]).sum())


def test_a_split_by_time_needs_dates(clean, split_of):
    cohort = clean(0, n=400)
    undated = replace(cohort, time=None)
    assert [f.severity.value for f in check(Context(undated, split_of(cohort, by="time")))] == ["STOP"]


def test_missing_dates_warn(clean, split_of, seen):
    cohort = clean(0, n=400)
    dates = cohort.time.copy()
    dates[:3] = np.datetime64("NaT")
    findings = check(Context(replace(cohort, time=dates), split_of(cohort, by="time")))
    assert seen(findings) == {("WARN", "train+test")}
    assert findings[0].evidence == {"missing": 3, "n": 400}


def test_a_right_order_is_a_note_and_other_splits_are_left_alone(clean, split_of, seen):
    cohort = clean(0, n=400)
    assert [f.severity.value for f in check(Context(cohort, split_of(cohort, by="time")))] == ["NOTE"]
    assert check(Context(cohort, split_of(cohort))) == []
    assert check(Context(cohort)) == []
