"""Splits keep patients together, repeat with their seed, and hold to their lock."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import DataError, RefusedError, Split, StudyFileError
from aimed.splits.draw import by_column, by_patient, by_site, by_time, grouped_folds
from aimed.splits.lock import apply_lock, hash_ids, make_lock


@given(st.integers(80, 200), st.floats(0.15, 0.6), st.integers(0, 50))
def test_by_patient_is_disjoint_complete_and_near_its_share(n, fraction, seed):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, n // 2, n).astype(str)
    stratum = rng.integers(0, 2, n)
    parts = by_patient(patient, fraction=fraction, seed=seed, stratum=stratum)
    Split(parts=parts, by="patient", patient=patient)
    assert sorted(np.r_[parts["train"], parts["test"]].tolist()) == list(range(n))
    ids = np.unique(patient)
    in_test = np.unique(patient[parts["test"]]).size
    assert abs(in_test - fraction * ids.size) <= 1
    again = by_patient(patient, fraction=fraction, seed=seed, stratum=stratum)
    np.testing.assert_array_equal(parts["test"], again["test"])


def test_strata_keep_their_share():
    stratum = np.r_[np.ones(60, int), np.zeros(540, int)]
    parts = by_patient(np.arange(600), fraction=0.25, seed=3, stratum=stratum)
    assert abs(stratum[parts["test"]].sum() - 15) <= 1


def test_impossible_shares():
    with pytest.raises(StudyFileError):
        by_patient(["a", "b"], fraction=1.5, seed=0)
    with pytest.raises(DataError, match="too few"):
        by_patient(["a"], fraction=0.5, seed=0)


def test_time_and_site_keep_patients_together():
    patient = ["a", "b", "a", "c"]
    parts = by_time(patient, time=["2020-01-01", "2021-06-01", "2022-01-01", "2022-02-01"], start="2021-01-01")
    assert parts["test"].tolist() == [1, 3]
    assert parts["train"].tolist() == [0]  # the later row of patient a has left: it stands among those of the test
    parts = by_site(patient, site=["N", "S", "S", "N"], hold_out=["S"])
    assert parts["test"].tolist() == [1, 2]
    assert parts["train"].tolist() == [3]  # the row of patient a at N has left: a was seen at S
    with pytest.raises(DataError, match="no row has that site"):
        by_site(patient, site=["N", "S", "S", "N"], hold_out=["West"])
    with pytest.raises(DataError, match="missing in 1 rows"):
        by_time(["a", "b"], time=["2020-01-01", "NaT"], start="2020-01-01")


def test_a_column_that_shares_a_patient_is_refused():
    parts = by_column(["a", "a", "b"], labels=["train", "test", "train"])
    with pytest.raises(DataError, match="1 of 2 patients"):
        Split(parts=parts, by="column", patient=["a", "a", "b"])
    with pytest.raises(DataError, match="says test"):
        by_column(["a"], labels=["train"])


@given(st.integers(2, 6), st.integers(0, 20))
def test_folds_cover_train_once_and_share_no_patient(k, seed):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, 40, 120).astype(str)
    rows = np.flatnonzero(np.isin(patient, np.unique(patient)[:30]))
    events = rng.integers(0, 2, 120)
    folds = grouped_folds(rows, patient, folds=k, seed=seed, stratum=events)
    assert sorted(np.concatenate([f.tune for f in folds]).tolist()) == rows.tolist()
    for fold in folds:
        assert not set(patient[fold.fit]) & set(patient[fold.tune])
        assert set(fold.fit) | set(fold.tune) == set(rows)


def test_folds_of_too_few_patients():
    with pytest.raises(DataError, match="cannot make 5 folds"):
        grouped_folds([0, 1], ["a", "b"], folds=5, seed=0)


PATIENT = np.array(["p1", "p2", "p3", "p4"])
PARTS = {"train": np.array([0, 1, 2]), "test": np.array([3])}


def test_lock_gives_the_same_parts_in_any_row_order():
    lock = make_lock("s", PARTS, PATIENT, {"fraction": 0.25})
    shuffled = PATIENT[[3, 0, 2, 1]]
    parts = apply_lock(lock, "s", shuffled, {"fraction": 0.25})
    assert shuffled[parts["test"]].tolist() == ["p4"]
    assert "p4" not in lock
    assert lock == make_lock("s", PARTS, PATIENT, {"fraction": 0.25})


@pytest.mark.parametrize(
    ("study", "patient", "settings", "words"),
    [
        ("other", PATIENT, {"fraction": 0.25}, "another study"),
        ("s", PATIENT, {"fraction": 0.3}, "differs"),
        ("s", np.append(PATIENT, "p5"), {"fraction": 0.25}, "1 patients are new"),
        ("s", PATIENT[:3], {"fraction": 0.25}, "1 are gone"),
    ],
)
def test_lock_refuses_what_it_was_not_made_for(study, patient, settings, words):
    lock = make_lock("s", PARTS, PATIENT, {"fraction": 0.25})
    with pytest.raises(RefusedError, match=words):
        apply_lock(lock, study, patient, settings)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"patients": 3})])
def test_damaged_lock(text):
    with pytest.raises(RefusedError, match="cannot be read"):
        apply_lock(text, "s", PATIENT, {})


def test_hashes_are_keyed():
    assert hash_ids(["p1"], "a") != hash_ids(["p1"], "b")


def test_planted_leakage_of_the_chest_x_ray_lists_is_found(shared_data):
    import polars as pl

    train = pl.read_csv(shared_data("cxr_nih", "train-small.csv"))["PatientId"].to_numpy()
    tune = pl.read_csv(shared_data("cxr_nih", "valid-small.csv"))["PatientId"].to_numpy()
    test = pl.read_csv(shared_data("cxr_nih", "test.csv"))["PatientId"].to_numpy()
    patient = np.r_[train, tune, test].astype(str)
    a, b, c = np.split(np.arange(patient.size), [train.size, train.size + tune.size])
    with pytest.raises(DataError, match="197 of"):
        Split(parts={"train": a, "test": b}, by="column", patient=patient)
    Split(parts={"train": a, "test": c}, by="column", patient=patient)
    Split(parts={"train": b, "test": c}, by="column", patient=patient)
