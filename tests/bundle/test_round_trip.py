"""Pack then load is the identity for every model, and what is not JSON or an allowed type does not get in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import aimed.bundle
from aimed.bundle.load import load
from aimed.bundle.pack import NOTICE, pack
from aimed.bundle.schema import Schema, describe
from aimed.bundle.store import decode, encode, load_model, save_model
from aimed.core import BundleError
from aimed.fit.adapter import StudyModel
from aimed.prognosis import MODELS
from aimed.prognosis.published import published_recipe


def risks(lab, model, X):
    return model.risk(X, lab.HORIZONS if model.recipe.task != "binary" else None)


@pytest.mark.parametrize(("name", "task"), [(n, t) for n in MODELS for t in (MODELS[n].task, *MODELS[n].also)])
def test_predictions_are_the_same_after_the_round_trip(lab, name, task, tmp_path):
    path, model, X = lab.packed(name, tmp_path / "bundle", task=task)
    again = load(path).model
    assert again.recipe.task == task
    tolerance = 0 if model.recipe.store == "skops" else 1e-12
    np.testing.assert_allclose(risks(lab, again, X), risks(lab, model, X), rtol=0, atol=tolerance)
    np.testing.assert_allclose(again.score(X), model.score(X), rtol=0, atol=tolerance)
    assert again.n_fitted == model.n_fitted
    assert again.parameters == model.parameters


@pytest.mark.parametrize("name", MODELS)
def test_the_same_fit_gives_the_same_bytes(lab, name):
    assert encode(lab.fitted(name)[0]) == encode(lab.fitted(name)[0])


@pytest.mark.parametrize("missing", ["mean", "complete_case", "iterative"])
def test_other_preparations_come_back(lab, missing, tmp_path):
    model, X = lab.fitted("logistic", missing=missing, nonlinear={"bili": "log", "age": "spline(4)"})
    again = load_model(save_model(model, tmp_path / "model"))
    np.testing.assert_allclose(risks(lab, again, X), risks(lab, model, X), rtol=0, atol=1e-12)
    assert again.preparation_options["missing"] == missing


def test_a_published_formula_comes_back(lab, tmp_path):
    recipe = published_recipe("rule", "Author, Journal 2020", -4.0, {"age": 0.05, "stage=3": 0.7})
    X, y, _ = lab.made_up()
    model = StudyModel(recipe, lab.VARIABLES).fit(X, y)
    again = load_model(save_model(model, tmp_path / "model"))
    np.testing.assert_array_equal(risks(lab, again, X), risks(lab, model, X))


def test_save_replaces_the_model_as_a_whole(lab, tmp_path):
    save_model(lab.fitted("random_forest")[0], tmp_path / "model")
    save_model(lab.fitted("logistic")[0], tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["calibration.json", "model.json", "pipeline.json"]


def test_members_and_manifest(lab, tmp_path):
    path, _, _ = lab.packed("cox", tmp_path / "bundle")
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["notice"] == NOTICE
    assert manifest["outcome"] == {
        "label": "death", "kind": "survival", "unit": "day", "horizons": [200.0, 500.0], "times": [100.0, 300.0, 500.0],
    }  # fmt: skip
    assert set(manifest["members"]) == {p.name for p in path.iterdir()} - {"manifest.json"}
    assert manifest["thresholds"] == [0.2]
    assert manifest["not_for"] == ["patients"]
    bundle = load(path)
    assert bundle.card == "# Card"
    assert bundle.digest == manifest["checksum"]


def test_golden_cases_are_made_up_and_hold_every_kind(lab, tmp_path):
    path, _, X = lab.packed("logistic", tmp_path / "bundle")
    golden = json.loads((path / "golden.json").read_text())
    assert len(golden["expected"]) >= 32
    codes = {case["code"] for case in golden["expected"]}
    assert {"NOT_A_NUMBER", "UNSEEN_CATEGORY", None} <= codes
    assert any("OUTSIDE_TRAINING_RANGE" in case["warnings"] for case in golden["expected"])
    assert any(v is None for v in golden["inputs"]["age"])
    patients = set(X[:, 0].tolist())
    assert not patients & {v for v in golden["inputs"]["age"] if isinstance(v, float)}


def test_packing_twice_repeats_every_byte(lab, tmp_path):
    first, _, _ = lab.packed("random_forest", tmp_path / "a")
    second, _, _ = lab.packed("random_forest", tmp_path / "b")
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_training_range_is_never_one_patients_value(lab):
    model, X = lab.fitted("logistic")
    low, high = describe(model, X).inputs[0].training_range
    age = np.sort(X[~np.isnan(X[:, 0]), 0])
    assert (low, high) == (age[4], age[-5])
    repeated = np.vstack([X, np.tile([[109.0, 1.0, 0.0]], (9, 1))])
    patient = np.r_[np.arange(len(X)), np.full(9, len(X))]
    assert describe(model, repeated, patient=patient).inputs[0].training_range[1] == age[-4]
    assert describe(model, X[:15]).inputs[0].training_range is None


def test_schema_knows_only_categories_that_were_seen(lab):
    model, X = lab.fitted("logistic")
    assert describe(model, X).inputs[2].categories == ("1", "2", "3")


def test_schema_round_trip(lab):
    model, X = lab.fitted("logistic")
    schema = describe(model, X, required=["age"], missing_codes={"bili": [999, "unknown"]})
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert schema.inputs[1].missing_codes == ("999", "unknown")


def test_an_unfitted_model_is_not_stored(lab):
    with pytest.raises(BundleError, match="not fitted"):
        encode(StudyModel(MODELS["logistic"], lab.VARIABLES))


def test_a_survival_model_needs_horizons(lab, tmp_path):
    model, X = lab.fitted("cox")
    with pytest.raises(BundleError, match="horizon"):
        pack(model, tmp_path / "b", meta=lab.META, schema=describe(model, X))
    assert not (tmp_path / "b").exists()


def test_decode_refuses_members_of_two_models(lab):
    members = {
        **encode(lab.fitted("logistic")[0]),
        "pipeline.json": encode(lab.fitted("logistic", encode="codes")[0])["pipeline.json"],
    }
    with pytest.raises(BundleError, match="do not fit each other"):
        decode(members)


def test_no_module_of_the_room_knows_pickle():
    sources = list(Path(aimed.bundle.__file__).parent.glob("*.py"))
    assert len(sources) >= 8
    for source in sources:
        assert not re.search(
            r"^\s*(import|from)\s+(pickle|joblib|cloudpickle|dill|marshal|shelve)", source.read_text(), re.M
        )
        assert not re.search(r"(?<![.\w])(eval|exec)\(", source.read_text())
