"""The whole block from callables and arrays: agreed keys, JSON, order, sanity, and honest absence."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aimed.core import NotEstimableError, Variable
from aimed.explain import EXPLAINERS
from aimed.explain.build import Inside, explain
from aimed.explain.draws import sample_rows
from aimed.explain.sanity import randomised_outcome

VARIABLES = [Variable(name="noise"), Variable(name="strong"), Variable(name="weak")]


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(900, 3))
    y = (rng.random(900) < 1 / (1 + np.exp(-(2 * X[:, 1] + 0.7 * X[:, 2])))).astype(int)
    train, test = np.arange(600), np.arange(600, 900)
    return X, y, train, test, LogisticRegression().fit(X[train], y[train])


def metric_of(y):
    def metric(score, rows):
        t = y[rows]
        if t.min() == t.max():
            raise NotEstimableError("one class")
        rank = np.argsort(np.argsort(score)) + 1
        events = t.sum()
        return float((rank[t == 1].sum() - events * (events + 1) / 2) / (events * (len(t) - events)))

    return metric


def risk_of(model):
    return lambda X: model.predict_proba(X)[:, 1]


def build(study, **more):
    X, y, train, test, model = study
    inside = Inside(
        estimator=model,
        background=X[train],
        rows=X[test],
        origin=["noise", "strong", "weak"],
        family="linear",
        calibrated=True,
    )
    options = {"inside": inside, "repeats": 5, "draws": 60, "patient": np.arange(300) // 2, **more}
    return explain(risk_of(model), risk_of(model), X[test], VARIABLES, metric_of(y[test]), "auroc", **options)


def test_block_is_json_ordered_and_repeats(study):
    block = build(study)
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert {"measure", "permutation", "shap", "shap_note", "scale", "effects", "sanity"} <= set(block)
    for key in ("permutation", "shap"):
        assert [row["variable"] for row in block[key]][:2] == ["strong", "weak"]
    assert [row["variable"] for row in block["effects"]] == [row["variable"] for row in block["permutation"]]
    assert block["scale"] == "log odds"
    assert block["shap_check"]["largest_error"] < 1e-6
    assert "before calibration" in block["shap_note"]
    assert block["sanity"] is None
    assert build(study) == block


def test_sanity_passes_for_an_honest_model(study):
    X, y, train, _, _ = study

    def refit(order):
        return risk_of(LogisticRegression().fit(X[train], y[train][order]))

    sanity = build(study, refit=refit, n_train=600)["sanity"]
    assert sanity["passed"]
    assert sanity["value"] < 0.3
    assert "collapse, as they should" in sanity["sentence"]


def test_sanity_fails_when_the_measure_rewards_the_input_itself(study):
    """A measure of agreement with an input, not with the outcome, cannot collapse."""
    X, y, _, test, model = study
    moving = randomised_outcome(
        lambda order: lambda X: X[:, 1],
        600,
        X[test],
        lambda s, rows: float(-np.mean((s - X[test, 1]) ** 2)),
        VARIABLES,
        importance=1.0,
    )
    assert not moving["passed"]
    assert "do not rely on them" in moving["sentence"]
    with pytest.raises(NotEstimableError):
        randomised_outcome(lambda order: risk_of(model), 600, X[test], metric_of(y[test]), VARIABLES, importance=0.0)


def test_models_without_shap_values_give_none_with_the_reason(study):
    X, _, train, test, model = study
    inside = Inside(
        estimator=model, background=X[train], rows=X[test], origin=["noise", "strong", "weak"], family="none"
    )
    block = build(study, inside=inside, n_effects=1)
    assert block["shap"] is None
    assert "No SHAP values" in block["shap_note"]
    assert len(block["effects"]) == 1


def test_big_data_are_sampled_by_whole_patients_and_deterministically(study):
    block = build(study, most_rows=20, importance_rows=200)
    assert block["n_effects_rows"] == 20
    assert block["n"] == 200
    codes = np.arange(300) // 2
    rows = sample_rows(codes, 20, 0)
    assert np.bincount(codes[rows], minlength=150).max() == 2
    assert (np.bincount(codes[rows]) % 2 == 0).all()
    np.testing.assert_array_equal(rows, sample_rows(codes, 20, 0))


def test_catalogue_loads():
    for name in EXPLAINERS:
        assert callable(EXPLAINERS[name])


def test_every_explainer_is_found_without_torch():
    code = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("no torch here", name="torch")

sys.meta_path.insert(0, NoTorch())
from aimed.explain import EXPLAINERS
assert all(callable(EXPLAINERS[name]) for name in EXPLAINERS)
assert "torch" not in sys.modules
print(*EXPLAINERS)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"maps", "gallery", "localisation", "nomogram"} <= set(done.stdout.split())
