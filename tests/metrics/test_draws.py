"""The bootstrap of patients: what it draws, that it repeats, and that its intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics.draws import PatientDraws, percentile_interval


def drawn(patient, strata, draws, seed):
    return PatientDraws(patient, np.shape(patient)[0], strata, draws=draws, seed=seed).rows()


def test_rows_of_a_patient_come_together_and_draws_repeat():
    patient = np.array(["a", "b", "a", "c", "b", "d"])
    draws = list(drawn(patient, None, 50, 3))
    for w in draws:
        assert w[0] == w[2]
        assert w[1] == w[4]
        assert w[0] + w[1] + w[3] + w[5] == 4
    again = list(drawn(patient, None, 50, 3))
    assert all((a == b).all() for a, b in zip(draws, again, strict=True))
    assert any((a != b).any() for a, b in zip(draws, drawn(patient, None, 50, 4), strict=True))


def test_strata_keep_the_number_of_patients_with_and_without_an_event():
    patient = np.repeat(np.arange(30), 2)
    event = np.zeros(60, dtype=bool)
    event[[0, 1, 4, 5, 8, 9, 20, 21]] = True
    marked = np.isin(patient, patient[event])
    for w in drawn(patient, event, 40, 0):
        assert w[marked].sum() == marked.sum()
        assert w[~marked].sum() == (~marked).sum()


def test_patients_with_rows_of_both_kinds_are_not_drawn_apart():
    patient = np.repeat(np.arange(30), 2)
    event = np.arange(60) % 2 == 0
    mixed = PatientDraws(patient, 60, event, draws=5, seed=0)
    assert not mixed.stratified
    assert [w.tolist() for w in mixed.rows()] == [w.tolist() for w in PatientDraws(patient, 60, draws=5, seed=0).rows()]


def test_every_patient_is_drawn_once_on_average():
    total = sum(drawn(np.arange(20), None, 4000, 1))
    assert total / 4000 == pytest.approx(np.ones(20), abs=0.1)


def test_a_measure_lost_in_more_than_a_tenth_of_draws_has_no_interval():
    values = np.arange(100.0)
    lost = np.where(np.arange(100) < 11, np.nan, values)
    kept = np.where(np.arange(100) < 10, np.nan, values)
    assert np.isnan(percentile_interval(lost)).all()
    assert np.isfinite(percentile_interval(kept)).all()
    assert np.isnan(percentile_interval(np.full((10, 2), np.nan))).all()
    lower, upper = percentile_interval(np.column_stack([lost, values]), 0.9)
    assert np.isnan(lower[0])
    assert (lower[1], upper[1]) == pytest.approx((4.95, 94.05))


def test_shapes_are_checked():
    with pytest.raises(DataError):
        next(drawn(np.arange(3), [True], 1, 0))


def test_without_strata_the_interval_of_a_rate_covers_and_with_strata_it_has_no_width():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        y = rng.random(150) < 0.2
        free = np.array([w @ y for w in drawn(np.arange(150), None, 200, trial)]) / 150
        lower, upper = percentile_interval(free)
        covered += lower <= 0.2 <= upper
    assert 0.88 <= covered / 120 <= 0.99
    fixed = np.array([w @ y for w in drawn(np.arange(150), y, 50, 0)])
    assert np.ptp(fixed) == 0
