"""The baseline without anatomy: it finds a planted view, uses training statistics only and bears bad columns."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from aimed.core import DataError
from aimed.diagnosis.acquisition import AcquisitionBaseline, held_out_shortcuts
from aimed.metrics import auroc


def study(seed=0, n=600, strength=0.35):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2)).astype(float)
    features = {
        "view": np.where(rng.random(n) < 0.5 + strength * (2 * y[:, 0] - 1), "AP", "PA"),
        "kvp": rng.normal(90, 8, n),
        "age": rng.normal(60, 15, n) + 10 * y[:, 1],
    }
    return features, y


def part(features, rows):
    return {name: values[rows] for name, values in features.items()}


def test_a_planted_view_is_learnt_and_holds_on_new_patients():
    features, y = study()
    fit, new = np.arange(400), np.arange(400, 600)
    model = AcquisitionBaseline().fit(part(features, fit), y[fit], ["mass", "edema"])
    risk = model.predict_proba(part(features, new))
    assert risk.shape == (200, 2)
    assert auroc(y[new, 0], risk[:, 0]).lower > 0.7
    assert model.findings_ == ("mass", "edema")
    assert model.columns_ == ("view = AP", "view = PA", "kvp", "kvp squared", "age", "age squared")
    assert model.coef_[0, :2] @ [1, -1] > 0
    assert model.notes_ == {}


def test_probabilities_are_those_of_a_logistic_regression_with_the_same_penalty():
    features, y = study()
    model = AcquisitionBaseline().fit(features, y)
    design = model.coding_.transform(features)
    peer = LogisticRegression(C=4 / design.shape[1], solver="lbfgs", tol=1e-8, max_iter=1000).fit(design, y[:, 0])
    assert model.predict_proba(features)[:, 0] == pytest.approx(peer.predict_proba(design)[:, 1], abs=1e-4)
    assert model.predict_proba(features).mean(axis=0) == pytest.approx(y.mean(axis=0), abs=1e-4)


def test_a_row_is_predicted_alike_alone_and_among_others():
    features, y = study()
    model = AcquisitionBaseline().fit(features, y)
    every = model.predict_proba(features)
    shifted = {**features, "kvp": np.where(np.arange(600) == 0, features["kvp"], 1e6)}
    assert np.array_equal(model.predict_proba(part(features, [0])), every[:1])
    assert np.array_equal(model.predict_proba(shifted)[0], every[0])


def test_unseen_levels_extremes_and_holes_give_sober_probabilities():
    features, y = study()
    model = AcquisitionBaseline().fit(features, y)
    risk = model.predict_proba(
        {"view": ["LATERAL", None, ""], "kvp": [1e9, None, float("nan")], "age": [float("inf"), -1e9, 50]}
    )
    assert np.isfinite(risk).all()
    inside = model.predict_proba(features)
    assert risk.min() > inside.min() - 0.05
    assert risk.max() < inside.max() + 0.05


def test_unknown_and_uncertain_labels_are_left_out():
    features, y = study()
    holes = y.copy()
    holes[::3, 0], holes[1::3, 0] = np.nan, -1
    kept = np.arange(2, 600, 3)
    one = AcquisitionBaseline().fit(features, holes)
    assert one.prevalence_[0] == pytest.approx(y[kept, 0].mean())
    assert AcquisitionBaseline("ones").fit(features, holes).prevalence_[0] > one.prevalence_[0]


def test_one_answer_gives_the_prevalence_with_a_note():
    features, y = study(n=100)
    table = np.column_stack([y[:, 0], np.zeros(100), np.ones(100), np.full(100, np.nan)])
    model = AcquisitionBaseline().fit(features, table, ["mass", "hernia", "device", "edema"])
    risk = model.predict_proba(part(features, [0, 1]))
    assert risk[:, 1:].tolist() == [[0.0, 1.0, 0.5]] * 2
    assert set(model.notes_) == {"hernia", "device", "edema"}
    assert "absent in every picture" in model.notes_["hernia"]


def test_columns_that_do_not_vary_give_the_prevalence():
    y = np.array([[1.0], [0.0], [0.0], [0.0]])
    model = AcquisitionBaseline().fit({"view": ["PA"] * 4, "kvp": [None] * 4}, y, ["mass"])
    assert model.predict_proba({"view": ["AP"], "kvp": [80.0]}).tolist() == [[pytest.approx(0.25)]]
    assert "no column varies" in model.notes_["mass"]


def test_it_is_an_estimator():
    model = AcquisitionBaseline(uncertain="zeros")
    assert clone(model).get_params() == {"uncertain": "zeros"}
    with pytest.raises(NotFittedError):
        model.predict_proba({"view": ["PA"]})
    features, y = study(n=60)
    assert model.fit(features, y) is model
    assert np.array_equal(clone(model).fit(features, y).coef_, model.coef_)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [[1.0]]},
        {"labels": [[2.0]] * 60},
        {"names": ["a"]},
        {"features": {}},
        {"features": {"view": ["PA"] * 60, "kvp": [1.0]}},
    ],
)
def test_wrong_input_is_refused(change):
    features, y = study(n=60)
    given = {"features": features, "labels": y, "names": ["mass", "edema"]} | change
    with pytest.raises(DataError):
        AcquisitionBaseline().fit(**given)


def test_a_lost_column_is_refused_by_name():
    features, y = study(n=60)
    model = AcquisitionBaseline().fit(features, y)
    with pytest.raises(DataError, match="no column 'kvp'"):
        model.predict_proba({"view": ["PA"], "age": [60.0]})


def test_sources_are_fitted_on_train_and_judged_on_test():
    features, y = study()
    patient = np.arange(600) // 2
    train, test = np.arange(400), np.arange(400, 600)
    y[400:420, 0] = np.nan
    sources = {"view": {"view": features["view"]}, "kvp": {"kvp": features["kvp"]}, "site": {"site": ["A"] * 600}}
    found = held_out_shortcuts(sources, y, ["mass", "edema"], train, test, patient)
    assert [(f.finding, f.source) for f in found][:3] == [("mass", "view"), ("mass", "kvp"), ("mass", "site")]
    view, kvp, site = found[:3]
    assert (view.n, view.patients) == (180, 90)
    direct = auroc(y[420:, 0], features["view"][420:] == "AP", patient=patient[420:])
    assert view.value == pytest.approx(direct.value)
    assert view.lower == pytest.approx(direct.lower)
    assert kvp.lower < 0.5 < kvp.upper
    assert np.isnan(site.value)
    assert "no column varies" in site.note
    # Other outcomes in test change no score.
    other = y.copy()
    other[test] = 1 - other[test]
    again = held_out_shortcuts(sources, other, ["mass", "edema"], train, test, patient)
    assert np.array_equal(again[0].score[420:], view.score[420:])
