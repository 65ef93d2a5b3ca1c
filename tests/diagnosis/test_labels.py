"""Labels: U-policies, refusals that name the finding and no value, and draws of patients who tune."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.diagnosis.labels import check_learnable, read_labels, tune_rows


def test_uncertain_labels():
    given = [[-1, 1], [0, np.nan]]
    assert np.isnan(read_labels(given)[0, 0])
    assert read_labels(given, "zeros")[0, 0] == 0
    assert read_labels(given, "ones")[0, 0] == 1
    assert all(np.isnan(read_labels(given, how)[1, 1]) for how in ("ignore", "zeros", "ones"))
    with pytest.raises(StudyFileError, match="ignore, zeros, ones"):
        read_labels(given, "half")


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([[0, 1], [1, 7]], r"1 labels of 'Mass' are none of"),
        ([[0, 1], [1, 0.5]], "'Mass'"),
        ([[0, 1], [1, np.inf]], "'Mass'"),
        ([0, 1], "shape"),
        ([["a", "b"]], "no numbers"),
    ],
)
def test_labels_that_are_none(labels, match):
    with pytest.raises(DataError, match=match) as caught:
        read_labels(labels, names=["Edema", "Mass"])
    assert "7" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "match"),
    [
        ([np.nan] * 3, "'Mass' is unknown in every"),
        ([0, 0, np.nan], "absent in all 2"),
        ([1, 1, 1], "present in all 3"),
    ],
)
def test_findings_that_cannot_be_learned(column, match):
    labels = np.column_stack(([0, 1, 1], column)).astype(np.float32)
    with pytest.raises(NotEstimableError, match=match):
        check_learnable(labels, ["Edema", "Mass"])


def test_the_draw_keeps_patients_together_and_findings_in_proportion():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(300), 3)
    labels = (rng.random((900, 6)) < [0.5, 0.3, 0.1, 0.05, 0.03, 0.02]).astype(np.float32)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    rows = tune_rows(labels, patient, 0.2, seed=1)
    assert not set(patient[rows]) & set(np.delete(patient, rows))
    assert rows.size == 180
    for column in labels.T:
        assert abs(np.nansum(column[rows]) - 0.2 * np.nansum(column)) <= max(3, 0.05 * np.nansum(column))
    np.testing.assert_array_equal(rows, tune_rows(labels, patient, 0.2, seed=1))
    assert not np.array_equal(rows, tune_rows(labels, patient, 0.2, seed=2))


def test_one_patient_with_all_cases_cannot_be_parted():
    labels = np.array([[1.0]] * 4 + [[0.0]] * 6, dtype=np.float32)
    with pytest.raises(NotEstimableError, match="both present and absent"):
        tune_rows(labels, np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]), 0.3, seed=0)
