"""Refits on drawn patients: optimism shrinks what is too good, stability sees what is not stable."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import Variable
from aimed.fit.adapter import StudyModel
from aimed.fit.refits import coefficient_interval, optimism_corrected, patient_draws, prediction_stability
from aimed.prognosis import MODELS


def fitted(name, n, p=8, seed=0, signal=0.0, **parameters):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    y = (rng.random(n) < 1 / (1 + np.exp(-signal * X[:, 0]))).astype(np.int8)
    variables = tuple(Variable(name=f"x{j}") for j in range(p))
    return StudyModel(MODELS[name], variables, parameters).fit(X, y), X, y, np.arange(n).astype(str)


def test_draws_take_whole_patients():
    patient = np.array(["a", "b", "a", "c", "b"])
    for rows in patient_draws(patient, 20, seed=1):
        counts = np.bincount(rows, minlength=5)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]
        assert counts[0] + counts[1] + counts[3] == 3


def test_optimism_of_pure_noise_is_corrected_towards_one_half():
    apparent, corrected = [], []
    for seed in range(8):
        model, X, y, patient = fitted("logistic", 120, seed=seed)
        block = optimism_corrected(model, X, y, patient, draws=25, seed=2)
        apparent.append(block["apparent"]["value"])
        corrected.append(block["corrected"]["value"])
        assert block["corrected"]["lower"] <= block["corrected"]["value"] <= block["corrected"]["upper"]
    assert np.mean(apparent) > 0.62
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.06)


def test_stability_is_worse_with_fewer_patients_and_zero_for_a_constant():
    def at(name, n):
        model, X, y, patient = fitted(name, n, signal=1.0)
        return prediction_stability(model, X, y, patient, X[:50], draws=15, seed=3)

    small, large = (at("logistic", n)["mean_absolute_difference"]["value"] for n in (80, 1600))
    assert small > 2 * large
    prevalence = at("prevalence", 400)["mean_absolute_difference"]["value"]
    assert prevalence < 0.05


@pytest.mark.slow
def test_coefficient_intervals_agree_with_wald_on_many_rows():
    model, X, y, patient = fitted("logistic", 3000, p=2, signal=0.8, penalty="none")
    low, high = coefficient_interval(model, X, y, patient, draws=200, seed=4)
    wald = model.estimator.coefficient_table(["x0", "x1"])
    for k, row in enumerate(wald):
        assert low[k] == pytest.approx(row["lower"], abs=0.05)
        assert high[k] == pytest.approx(row["upper"], abs=0.05)
