"""What a fit is handed beside its rows: patients that stay on one side, a place for checkpoints, someone to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aimed.core import Variable
from aimed.fit.adapter import StudyModel
from aimed.fit.recipe import Recipe
from aimed.fit.refits import refit
from aimed.fit.tune import predict_out_of_fold, tune
from aimed.splits.draw import grouped_folds

VARIABLES = tuple(Variable(name=f"x{j}") for j in range(2))


class Holding(LogisticRegression):
    """A regression that is called as networks are: it holds rows out by patient, and tells how far it is."""

    seen: ClassVar[list] = []

    def fit(self, X, y, *, groups=None, checkpoint=None, progress=None):
        """Note what was handed over."""
        self.seen.append((len(y), None if groups is None else np.asarray(groups), checkpoint))
        if progress is not None:
            progress(0.5, "epoch 1 of at most 2")
        return super().fit(X, y)


RECIPE = Recipe(
    name="holding", title="Holding", description="", task="binary", family="network", build=lambda p, s: Holding()
)


@pytest.fixture(autouse=True)
def _forget():
    Holding.seen.clear()


def rows(repeated):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = (rng.random(120) < 1 / (1 + np.exp(-X[:, 0]))).astype(np.int8)
    return X, y, np.array([f"P{i // 2 if repeated else i}" for i in range(120)])


def together(groups, patient):
    return len(set(zip(groups, patient, strict=True))) == np.unique(patient).size == np.unique(groups).size


def test_patients_with_several_rows_are_handed_over(tmp_path):
    X, y, patient = rows(repeated=True)
    told = []
    model = StudyModel(RECIPE, VARIABLES).fit(
        X, y, patient=patient, checkpoint=tmp_path, progress=lambda share, text: told.append((share, text))
    )
    _, groups, place = Holding.seen[-1]
    assert together(groups, patient)
    assert place == tmp_path
    assert told == [(0.5, "epoch 1 of at most 2")]
    assert not model.clustered


def test_one_row_a_patient_changes_nothing():
    X, y, patient = rows(repeated=False)
    StudyModel(RECIPE, VARIABLES).fit(X, y, patient=patient)
    assert Holding.seen[-1][1] is None


def test_an_estimator_is_not_handed_what_it_does_not_take(tmp_path):
    X, y, patient = rows(repeated=True)
    plain = replace(RECIPE, build=lambda p, s: LogisticRegression())
    StudyModel(plain, VARIABLES).fit(X, y, patient=patient, checkpoint=tmp_path, progress=lambda share, text: None)
    assert not list(tmp_path.iterdir())


def test_a_patient_drawn_twice_stays_on_one_side():
    X, y, patient = rows(repeated=False)
    model = StudyModel(RECIPE, VARIABLES).fit(X, y)
    drawn = np.random.default_rng(1).integers(0, 120, 120)
    refit(model, X[drawn], y[drawn], patient[drawn])
    assert together(Holding.seen[-1][1], patient[drawn])
    other = StudyModel(replace(RECIPE, family="linear"), VARIABLES).fit(X, y)
    refit(other, X[drawn], y[drawn], patient[drawn])
    assert Holding.seen[-1][1] is None


def test_folds_hand_over_their_patients_and_tell_of_epochs():
    X, y, patient = rows(repeated=True)
    folds = grouped_folds(np.arange(120), patient, folds=3, seed=1)
    told = []
    found = tune(
        [RECIPE], [], X, y, folds, VARIABLES, metric="auroc", patient=patient,
        progress=lambda share, text: told.append((share, text)),
    )  # fmt: skip
    for (size, groups, _), fold in zip(Holding.seen, (*folds, *folds), strict=True):
        assert size == fold.fit.size
        assert together(groups, patient[fold.fit])
    assert told == [
        *(
            (pytest.approx((place + 0.5) / 3), f"Holding: fold {place + 1} of 3, epoch 1 of at most 2")
            for place in range(3)
        ),
        (1.0, "Holding"),
    ]
    unseen = predict_out_of_fold(RECIPE, {}, X, y, folds, VARIABLES, patient=patient)
    np.testing.assert_array_equal(found.out_of_fold, unseen)
