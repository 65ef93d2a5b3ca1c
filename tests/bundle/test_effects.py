"""A model of effects comes back from its bundle with the same bits, says its doubt, and cannot be swapped unseen."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from aimed.bundle.allow import dump_estimators, load_estimators
from aimed.bundle.effects import UNCERTAIN, EffectBundle, effect_table
from aimed.bundle.load import load
from aimed.bundle.members import EFFECTS, ROWS, checksum, dump, sha256
from aimed.bundle.pack import pack_effects
from aimed.bundle.schema import describe
from aimed.bundle.store import load_model, save_model
from aimed.core import BundleError, DataError
from aimed.fit.prepare import Preparation
from aimed.treatment import LEARNERS
from aimed.treatment.base_learners import BASE_LEARNERS, fit_model, outcome_model
from aimed.treatment.effects_model import EffectsModel

MEMBERS = ["manifest.json", "schema.json", "pipeline.json", "model.json", "model.skops", "calibration.json",
           "golden.json", "README.md"]  # fmt: skip
FAST = {
    "causal_forest": {"n_estimators": 40},
    "bayesian_causal_forest": {"n_estimators": 10, "n_effect_estimators": 5, "n_chains": 1, "n_warm_up": 20,
                               "n_draws": 10, "thin": 1},
    **{name: {"base_learner": "linear", "n_bootstraps": 10} for name in ("s_learner", "t_learner")},
    **{name: {"outcome_model": "linear", "n_bootstraps": 10} for name in ("x_learner", "r_learner", "dr_learner")},
}  # fmt: skip


def fitted(lab, name="effect_model", scale="risk_difference", evidence="evidence", **parameters):
    """Return a model of effects fitted to made-up rows, and the rows."""
    X, y, _ = lab.made_up(300)
    T = np.random.default_rng(2).permutation(np.arange(300) % 2)
    Y = y.astype(float) if scale == "risk_difference" else 3.0 * y + T + 0.01 * np.arange(300)
    preparation = Preparation(lab.VARIABLES).fit(X)
    Z = np.asarray(preparation.transform(X))
    learner = LEARNERS[name](**{**FAST.get(name, {}), **parameters})
    learner.fit(Y, T, X=Z, propensity=0.5)
    baseline = fit_model(outcome_model("linear", scale == "risk_difference", 0), Z, Y)
    model = EffectsModel(
        name, "Made-up model", preparation, learner, baseline, scale=scale, better="lower", horizon=None, unit="points",
        average={"value": -0.05, "lower": -0.1, "upper": -0.01, "n": 300, "level": 0.95},
        policy={"threshold": 0.0, "limit": 0.02, "budget": None}, parameters=parameters, seed=3, n_fitted=300,
        evidence=evidence,
    )  # fmt: skip
    return model, X


def packed(lab, folder, **options):
    model, X = fitted(lab, **options)
    meta = {**lab.META, "arms": {"active": "Drug", "control": "Placebo"}, "description": "Made up."}
    path = pack_effects(model, folder, meta=meta, schema=describe(model, X), extra_members={"README.md": "# Card"})
    return path, model, X


@pytest.fixture(scope="module")
def original(lab, tmp_path_factory):
    """Return a packed model of effects whose baseline and learner hold scikit-learn parts; not to be changed."""
    folder = tmp_path_factory.mktemp("effects") / "bundle"
    return packed(lab, folder, name="dr_learner", base_learner="decision_tree")[0]


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "bundle")


def refuse(folder, match=None):
    with pytest.raises(BundleError, match=match) as caught:
        load(folder)
    assert caught.value.exit_code == 4
    return caught.value


def rehash(folder, **changed):
    """Do what a careful attacker does: write members and put their hashes in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in changed.pop("files", {}).items():
        (folder / name).write_bytes(data)
        manifest["members"][name] = {"sha256": sha256(data), "bytes": len(data)}
    manifest.update(changed)
    manifest["checksum"] = checksum(manifest)
    (folder / "manifest.json").write_bytes(dump(manifest, pretty=True))


def same(a, b, X):
    np.testing.assert_array_equal(a.effect(X), b.effect(X))
    np.testing.assert_array_equal(a.outcomes(X), b.outcomes(X))
    limits, again = a.effect_interval(X), b.effect_interval(X)
    assert (limits is None) == (again is None)
    if limits is not None:
        np.testing.assert_array_equal(limits, again)
    np.testing.assert_array_equal(a.above_limit(X), b.above_limit(X))


# Coming back


@pytest.mark.parametrize("scale", ["risk_difference", "mean_difference"])
@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.filterwarnings("ignore:the chains of the Bayesian causal forest")
def test_every_learner_comes_back_with_the_same_bits(lab, name, scale, tmp_path):
    path, model, X = packed(lab, tmp_path / "bundle", name=name, scale=scale)
    again = load(path).model
    same(model, again, X)
    for key in ("name", "title", "scale", "better", "unit", "average", "policy", "seed", "n_fitted", "evidence"):
        assert getattr(again, key) == getattr(model, key)
    assert again.variables == model.variables


@pytest.mark.parametrize("scale", ["risk_difference", "mean_difference"])
@pytest.mark.parametrize("base", BASE_LEARNERS)
def test_every_base_learner_comes_back_with_the_same_bits(lab, base, scale, tmp_path):
    # The first holds a classifier or a regressor of outcomes, the second a regressor of scores.
    name = "s_learner" if scale == "risk_difference" else "dr_learner"
    model, X = fitted(lab, name=name, scale=scale, base_learner=base, n_bootstraps=0)
    same(model, load_model(save_model(model, tmp_path / "model")), X)


def test_packing_twice_repeats_every_byte(lab, original, tmp_path):
    again, *_ = packed(lab, tmp_path / "again", name="dr_learner", base_learner="decision_tree")
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {p.name: p.read_bytes() for p in original.iterdir()}


def test_what_the_manifest_says(original):
    assert sorted(p.name for p in original.iterdir()) == sorted(MEMBERS)
    bundle = load(original)
    assert isinstance(bundle, EffectBundle)
    assert bundle.card == "# Card"
    told = bundle.manifest
    assert (told["task"], told["kind"]) == ("effect", EFFECTS)
    assert told["arms"] == {"active": "Drug", "control": "Placebo"}
    assert told["outcome"]["scale"] == "risk_difference"
    assert told["average"]["value"] == -0.05
    assert told["thresholds"] == [0.2]


def test_golden_cases_are_made_up_and_hold_every_kind(lab, original):
    golden = json.loads((original / "golden.json").read_text())
    assert len(golden["expected"]) == 48
    codes = {case["code"] for case in golden["expected"]}
    assert {"NOT_A_NUMBER", "UNSEEN_CATEGORY", None} <= codes
    for case in golden["expected"]:
        assert (case["effect"] is None) == (case["code"] is not None)
    patients = set(lab.made_up(300)[0][:, 0].tolist())
    assert not patients & {v for v in golden["inputs"]["age"] if isinstance(v, float)}


# Predicting


def test_numbers_are_those_of_the_model(lab, original, rows):
    bundle = load(original)
    found = bundle.predict(rows, id_column="id")
    raw = np.array([[61.0, 1.2, 0], [45.5, np.nan, 2], [np.nan, 3.0, np.nan], [70.0, np.nan, 1]])
    np.testing.assert_array_equal([r.effect for r in found], bundle.model.effect(raw))
    outcomes = bundle.model.outcomes(raw)
    np.testing.assert_array_equal([[r.control, r.active] for r in found], outcomes)
    assert [r.id for r in found] == ["a", "b", "c", "d"]
    assert [r.row for r in found] == [1, 2, 3, 4]
    assert [r.above_limit for r in found] == (-bundle.model.effect(raw) > 0.02).tolist()
    one_by_one = [bundle.predict({k: [v[i]] for k, v in rows.items()})[0].effect for i in range(4)]
    assert one_by_one == [r.effect for r in found]


def test_intervals_are_of_the_level_asked(lab, tmp_path, rows):
    bundle = load(packed(lab, tmp_path / "bundle")[0])
    wide, narrow = bundle.predict(rows, level=0.95), bundle.predict(rows, level=0.5)
    for a, b in zip(wide, narrow, strict=True):
        assert a.lower < b.lower < a.effect < b.upper < a.upper
        assert a.effect == b.effect


def test_a_learner_without_an_interval_says_none(lab, tmp_path, rows):
    bundle = load(packed(lab, tmp_path / "bundle", name="zero_effect")[0])
    for row in bundle.predict(rows):
        assert row.effect == 0
        assert row.lower is None
        assert row.upper is None


def test_refused_rows_have_a_code_and_no_number(original):
    rows = {
        "age": ["61", "sixty", "200", "55", "55"],
        "bili": [1.0, 1.0, 1.0, 1e9, 1.0],
        "stage": ["1", "1", "1", "1", "nine"],
    }
    found = load(original).predict(rows)
    assert [r.code for r in found] == [None, "NOT_A_NUMBER", "OUT_OF_RANGE", "OUT_OF_RANGE", "UNSEEN_CATEGORY"]
    for row in found[1:]:
        assert (row.effect, row.control, row.active, row.above_limit) == (None,) * 4
        assert not any(word in row.reason for word in ("sixty", "200", "nine", "1e"))
    assert found[0].effect is not None


def test_required_and_missing_inputs(lab, tmp_path):
    model, X = fitted(lab)
    meta = {**lab.META, "arms": {}}
    schema = describe(model, X, required=["age"], missing_codes={"bili": [999]})
    bundle = load(pack_effects(model, tmp_path / "bundle", meta=meta, schema=schema))
    found = bundle.predict({"age": ["", "60"], "bili": [1.0, 999], "stage": ["1", "1"]})
    assert [r.code for r in found] == ["MISSING_REQUIRED", None]
    assert found[1].effect == bundle.model.effect(np.array([[60.0, np.nan, 0.0]]))[0]
    with pytest.raises(DataError, match="bili"):
        bundle.predict({"age": [60], "stage": ["1"]})
    with pytest.raises(DataError, match="no column 'name'"):
        bundle.predict({"age": [60], "bili": [1.0], "stage": ["1"]}, id_column="name")


def test_values_beyond_the_training_rows_are_warned_of(original):
    (row,) = load(original).predict({"age": [109], "bili": [1.0], "stage": ["1"]})
    assert [w["code"] for w in row.warnings] == ["OUTSIDE_TRAINING_RANGE"]


def test_no_rows_give_no_predictions(original):
    assert load(original).predict({"age": [], "bili": [], "stage": []}) == []


@pytest.mark.parametrize(
    ("evidence", "warned"), [("evidence", False), ("no evidence", True), ("not enough evidence", True), ("", True)]
)
def test_doubt_goes_with_every_effect(lab, tmp_path, rows, evidence, warned):
    bundle = load(packed(lab, tmp_path / "bundle", evidence=evidence)[0])
    assert bundle.manifest["heterogeneity"] == evidence
    rows["age"][0] = "old"
    found = bundle.predict(rows)
    assert found[0].warnings == ()
    for row in found[1:]:
        assert (UNCERTAIN in [w["code"] for w in row.warnings]) == warned
        if warned:
            assert "-0.05 (-0.1 to -0.01) stands for everyone" in row.warnings[-1]["reason"]
    table = effect_table(found)
    assert (table["warnings"][1] is not None) == warned
    assert table["effect"] == [row.effect for row in found]
    assert "id" not in table
    json.dumps([row.to_dict() for row in found], allow_nan=False)


def test_schema_and_model_must_agree(lab):
    model, X = fitted(lab)
    other = lab.fitted("logistic")[0]
    other.variables = other.variables[:2]
    schema = describe(model, X)
    fewer = type(schema)(inputs=schema.inputs[:2])
    with pytest.raises(BundleError, match="do not take the same inputs"):
        EffectBundle(model, fewer, {})


# What an accident or an attacker can do


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_byte(copy, name, place):
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (copy / name).write_bytes(data)
    assert name in str(refuse(copy))


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_and_truncated(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    refuse(copy)
    (copy / name).unlink()
    assert name in str(refuse(copy))


@pytest.mark.parametrize("name", ["schema.json", "pipeline.json", "model.json", "golden.json"])
@pytest.mark.parametrize("value", [None, [], {}, 3, {"method": "sigmoid"}])
def test_members_that_hold_something_else(copy, name, value):
    rehash(copy, files={name: dump(value)})
    refuse(copy)


def test_changed_golden_answers(copy):
    golden = json.loads((copy / "golden.json").read_bytes())
    case = next(c for c in golden["expected"] if c["effect"])
    case["effect"][0] += 2e-6
    rehash(copy, files={"golden.json": dump(golden)})
    refuse(copy, "1 of 48 golden cases have another answer")


def test_a_changed_model_with_a_mended_hash(lab, tmp_path):
    path, _, X = packed(lab, tmp_path / "bundle", name="constant_effect")
    record = (path / "model.json").read_text()
    value = json.dumps(load(path).model.effect(X[:1])[0])
    assert value in record
    rehash(path, files={"model.json": record.replace(value, "-0.9").encode()})
    refuse(path, "golden cases have another answer")


@pytest.mark.parametrize("key", ["name", "learner", "scale", "average", "policy", "better"])
def test_a_model_that_lacks_something(copy, key):
    record = json.loads((copy / "model.json").read_bytes())
    del record[key]
    rehash(copy, files={"model.json": dump(record)})
    refuse(copy)


@pytest.mark.parametrize("name", ["os.system", "logistic", "../x", None, 3])
def test_a_learner_that_is_none(copy, name):
    record = json.loads((copy / "model.json").read_bytes())
    rehash(copy, files={"model.json": dump({**record, "name": name})})
    refuse(copy)


def test_another_kind_of_model_in_the_place_of_effects(lab, copy, tmp_path):
    rehash(copy, kind=ROWS)
    refuse(copy)
    path, *_ = lab.packed("decision_tree", tmp_path / "rows")
    rehash(path, kind=EFFECTS)
    refuse(path)


class Evil:
    """Runs when unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (open, (self.proof, "w"))


def test_pickle_in_place_of_the_parts(copy, tmp_path):
    proof = tmp_path / "executed"
    rehash(copy, files={"model.skops": pickle.dumps(Evil(str(proof)))})
    refuse(copy, "not a skops archive")
    assert not proof.exists()


def tree():
    return DecisionTreeRegressor(max_depth=2).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 5.0])


def foreign():
    return {
        "another sklearn model that skops trusts": {"baseline": GaussianNB()},
        "a function to call": {"baseline": FunctionTransformer(os.system)},
        "a pipeline around a good tree": {
            "baseline": Pipeline([("call", FunctionTransformer(np.exp)), ("tree", tree())])
        },
        "a class of one's own": {"baseline": Evil("x")},
        "a partial": {"baseline": functools.partial(os.system, "touch /tmp/never")},
        "a further part": {"baseline": tree(), "learner.more": FunctionTransformer(os.system)},
    }


@pytest.mark.parametrize("what", foreign())
def test_foreign_types_among_the_parts(copy, what):
    rehash(copy, files={"model.skops": skops.io.dumps(foreign()[what])})
    refuse(copy, "not on the fixed list")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([tree()], "another kind of model"),
        (tree(), "another kind of model"),
        ({"baseline": StandardScaler()}, "does not predict"),
        ({"baseline": "text"}, "does not predict"),
        ({"baseline": Pipeline([])}, "does not predict|not as aimed fits it"),
    ],
)
def test_allowed_types_in_the_wrong_place(copy, parts, words):
    rehash(copy, files={"model.skops": skops.io.dumps(parts)})
    refuse(copy, words)


def test_a_model_without_its_mean_outcome(copy):
    rehash(copy, files={"model.skops": dump_estimators({"other": tree()})})
    refuse(copy)


def test_parts_outside_the_list_cannot_be_packed(lab, tmp_path):
    model, X = fitted(lab)
    model.baseline = GaussianNB().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(BundleError, match="not on the fixed list"):
        pack_effects(model, tmp_path / "b", meta=lab.META, schema=describe(model, X))
    assert list(tmp_path.iterdir()) == []


def wild(data):
    """Return an archive whose trees point outside themselves."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(content), allow_pickle=False)
                left = next((f for f in ("left_child", "left") if f in (array.dtype.names or ())), None)
                if left is not None:
                    array = array.copy()
                    array[left][0] = 10_000_000
                    buffer = io.BytesIO()
                    np.save(buffer, array, allow_pickle=False)
                    content = buffer.getvalue()
            target.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("base", ["decision_tree", "random_forest", "gradient_boosting"])
@pytest.mark.parametrize("binary", [True, False])
def test_trees_that_point_outside_themselves(lab, base, binary):
    X, y, _ = lab.made_up(200)
    X = np.nan_to_num(X)
    few = {"random_forest": {"n_estimators": 3}, "gradient_boosting": {"max_iter": 3}}.get(base, {})
    part = fit_model(outcome_model(base, binary, 0).set_params(**few), X, y.astype(float))
    good = dump_estimators({"baseline": part})
    assert list(load_estimators(good)) == ["baseline"]
    assert wild(good) != good
    with pytest.raises(BundleError, match=r"point outside|cannot be rebuilt"):
        load_estimators(wild(good))


@pytest.mark.parametrize("deep", [1, 2])
@pytest.mark.parametrize("first", [True, False])
def test_trees_anywhere_in_a_pipeline_are_looked_at(deep, first):
    part, good = tree(), tree()
    for _ in range(deep):
        steps = [("a", part), ("b", good)] if first else [("a", StandardScaler()), ("b", part)]
        part = Pipeline(steps)
    with pytest.raises(BundleError, match=r"point outside|cannot be rebuilt"):
        load_estimators(wild(dump_estimators({"baseline": part})))
