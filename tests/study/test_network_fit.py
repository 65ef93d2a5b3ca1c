"""What is said of how a network learned: which parts are compared, by which measure, and what cannot be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core import Cohort, Split, Survival, Variable
from aimed.fit.adapter import StudyModel
from aimed.metrics.concordance import uno_c
from aimed.metrics.result import Estimate
from aimed.prognosis import MODELS
from aimed.splits.draw import by_patient, by_time, grouped_folds
from aimed.study.network_fit import diagnosis_of_fit, learning_of, mean_of_folds


def cohort(n=240, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    late = np.arange(n) >= int(0.7 * n)
    x = rng.normal(size=(n, 2)) + shift * late[:, None]
    time, lost = rng.exponential(100 * np.exp(-x[:, 0])), rng.uniform(20, 400, n)
    return Cohort(
        patient=np.array([f"P{i}" for i in range(n)]),
        variables=(Variable(name="a"), Variable(name="b")),
        columns={"a": x[:, 0], "b": x[:, 1]},
        outcome=Survival(event=time <= lost, time=np.minimum(time, lost), unit="day"),
        time=late.astype("timedelta64[D]") + np.datetime64("2020-01-01"),
    )


def diagnosed(people, by="patient", **options):
    if by == "patient":
        parts = by_patient(people.patient, fraction=0.3, seed=1)
    else:
        parts = by_time(people.patient, time=people.time, start="2020-01-02")
    folds = grouped_folds(parts["train"], people.patient, folds=3, seed=2)
    split = Split(parts=parts, by=by, patient=people.patient, folds=folds)
    y, train = people.outcome.structured(), parts["train"]
    model = StudyModel(MODELS["cox"], people.predictors, {"penalty": 0.0}).fit(people.matrix()[train], y[train])
    settings = {"preparation": {}, "tau": 150.0, "target": None, "level": 0.95, "seed": 0, **options}
    return diagnosis_of_fit(model, MODELS["cox"], people, y, split, **settings), model, split, y


def test_parts_are_ranked_by_models_that_did_or_did_not_see_them():
    people = cohort()
    found, model, split, y = diagnosed(people, target=0.9)
    X, test, train = people.matrix(), split.parts["test"], split.parts["train"]
    assert set(found["scores"]) == {"train", "tune", "test"}
    assert {score["name"] for score in found["scores"].values()} == {"uno_c"}
    for part, rows in (("train", train), ("test", test)):
        expected = uno_c(y["event"][rows], y["time"][rows], model.score(X[rows]), tau=150.0)
        assert found["scores"][part]["value"] == expected.value
    unseen = []
    for fold in split.folds:
        other = StudyModel(MODELS["cox"], people.predictors, {"penalty": 0.0}).fit(X[fold.fit], y[fold.fit])
        unseen.append(uno_c(y["event"][fold.tune], y["time"][fold.tune], other.score(X[fold.tune]), tau=150.0))
    tune = found["scores"]["tune"]
    assert tune["value"] == pytest.approx(np.mean([float(one) for one in unseen]))
    assert tune["n"] == train.size
    assert tune["lower"] < tune["value"] < tune["upper"]
    gaps = {gap["kind"]: gap for gap in found["gaps"]}
    assert set(gaps) == {"bias", "variance", "tune overfitted", "mismatch"}
    assert gaps["bias"]["verdict"] == "present"
    assert "what people reach (0.900)" in gaps["bias"]["sentence"]
    assert "predictors that say more" in gaps["bias"]["advice"]
    assert found["parts"]["mismatch"] == ["other tuning folds", "first tuning fold"]


def test_a_test_part_drawn_by_time_is_what_predictors_are_compared_with():
    alike, later = (diagnosed(cohort(shift=shift), by="time")[0] for shift in (0.0, 1.5))
    assert alike["parts"]["mismatch"] == later["parts"]["mismatch"] == ["training part", "test part"]
    gaps = [next(gap for gap in found["gaps"] if gap["kind"] == "mismatch") for found in (alike, later)]
    assert [gap["verdict"] == "present" for gap in gaps] == [False, True]
    assert "from the predictors alone the training and the test part are told apart" in gaps[1]["sentence"]


def test_what_cannot_be_scored_is_said():
    people = cohort(60)
    found, *_ = diagnosed(people, tau=1e-9)
    assert found["scores"]["train"]["value"] is None
    variance = next(gap for gap in found["gaps"] if gap["kind"] == "variance")
    assert variance["verdict"] == "not enough evidence"
    assert "cannot be judged" in variance["sentence"]
    folds = [Estimate(math.nan, name="uno_c", n=9, note="no pair"), Estimate.normal(0.7, 0.05, name="uno_c", n=30)]
    mean = mean_of_folds(folds, 0.9)
    assert (float(mean), mean.n, mean.level) == (0.7, 30, 0.9)
    assert "1 of 2 folds could not be scored" in mean.note
    assert mean_of_folds(folds[:1], 0.9).note == "no pair"


def test_models_without_networks_have_no_learning_curves():
    _, model, _, _ = diagnosed(cohort())
    assert learning_of(model) is None
