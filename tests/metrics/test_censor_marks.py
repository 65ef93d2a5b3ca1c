"""Marks of censoring: how many there are, where they stand, and that none is one patient's."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError
from aimed.metrics.censor_marks import censor_marks


def test_a_mark_stands_where_the_next_few_are_lost():
    time = np.arange(1.0, 24.0)
    censored = np.tile([True, False], 12)[:23]
    found = censor_marks(time, censored, np.arange(0.0, 24.0))
    # Censored at 1, 3, 5, ...: the fifth at 9, the tenth at 19.
    assert found == {"each": 5, "times": [9.0, 19.0]}


def test_order_of_rows_does_not_matter_and_late_rows_have_no_mark():
    rng = np.random.default_rng(1)
    time, censored = rng.exponential(10, 300), rng.random(300) < 0.5
    grid = np.linspace(0, 8, 30)
    found, order = censor_marks(time, censored, grid), rng.permutation(300)
    assert censor_marks(time[order], censored[order], grid) == found
    early = int((censored & (time <= 8)).sum())
    assert len(found["times"]) == early // found["each"]
    assert set(found["times"]) <= set(grid.tolist())


def test_many_rows_have_no_more_marks_than_can_be_seen():
    time = np.arange(10_000.0)
    found = censor_marks(time, np.ones(10_000, dtype=bool), np.linspace(0, 10_000, 100))
    assert len(found["times"]) == 40
    assert found["each"] == 250


@pytest.mark.parametrize("n", [0, 4])
def test_fewer_than_a_mark_stands_for_have_none(n):
    assert censor_marks(np.arange(1.0, 9.0), np.arange(8) < n, np.arange(10.0))["times"] == []


def test_a_mark_for_one_patient_is_refused():
    with pytest.raises(DataError, match="at least 5"):
        censor_marks([1.0], [True], [0.0, 1.0], each=1)
