"""The baselines that a model has to beat."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError
from aimed.prognosis.kaplan_meier import KaplanMeierBaseline
from aimed.prognosis.prevalence import PrevalenceBaseline


def test_kaplan_meier_by_hand():
    rows = [(False, 2.0), (False, 15.0), (True, 12.0), (True, 10.0), (True, 20.0)]
    y = np.array(rows, dtype=[("event", bool), ("time", float)])
    model = KaplanMeierBaseline().fit(np.zeros((5, 2)), y)
    got = model.predict_survival_function(np.zeros((2, 2)), times=[0, 2, 10, 12, 15, 20, 99])
    np.testing.assert_allclose(got, [[1, 1, 0.75, 0.5, 0.5, 0, 0]] * 2)
    assert model.predict(np.zeros((3, 2))).tolist() == [0, 0, 0]
    np.testing.assert_allclose(model.predict_survival_function(np.zeros((1, 2)))[0]([11, 12]), [0.75, 0.5])
    again = KaplanMeierBaseline.from_state(json.loads(json.dumps(model.to_state())))
    np.testing.assert_array_equal(
        again.predict_survival_function(np.zeros((1, 2)), return_array=True),
        model.predict_survival_function(np.zeros((1, 2)), return_array=True),
    )


def test_kaplan_meier_refuses_unequal_lengths_and_no_events_stay_at_one():
    y = np.array([(False, 2.0)], dtype=[("event", bool), ("time", float)])
    with pytest.raises(DataError, match="one outcome a row"):
        KaplanMeierBaseline().fit(np.zeros((2, 1)), y)
    model = KaplanMeierBaseline().fit(np.zeros((1, 1)), y)
    assert model.predict_survival_function(np.zeros((1, 1)), times=[5.0]).tolist() == [[1.0]]


def test_kaplan_meier_ranks_nobody():
    pytest.importorskip("aimed.metrics.concordance")
    y = np.array([(True, 2.0), (True, 3.0)], dtype=[("event", bool), ("time", float)])
    assert KaplanMeierBaseline().fit(np.zeros((2, 1)), y).score(np.zeros((2, 1)), y) == 0.5


def test_prevalence_with_one_class_and_missing_values():
    model = PrevalenceBaseline().fit([[np.nan], [1.0]], np.array([1, 1], dtype=np.int8))
    assert model.predict_proba([[np.nan]]).tolist() == [[0.0, 1.0]]
    again = PrevalenceBaseline.from_state(json.loads(json.dumps(model.to_state())))
    assert again.predict_proba([[2.0]]).tolist() == [[0.0, 1.0]]
