"""What every model of the catalogue promises: probabilities, falling curves, repeatability, clean storage."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import Variable
from aimed.fit.adapter import StudyModel
from aimed.fit.recipe import Recipe
from aimed.prognosis import MODELS

VARIABLES = (
    Variable(name="age"),
    Variable(name="bili"),
    Variable(name="chol"),
    Variable(name="stage", kind="category", categories=("1", "2", "3", "4")),
)
TIMES = np.array([0.0, 1.0, 5.0, 20.0, 1e6])


def raw(n=240, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(60, 10, n), rng.lognormal(size=n), rng.normal(200, 40, n), rng.integers(0, 4, n)])
    X[rng.random((n, 4)) < 0.1] = np.nan
    return X


def outcome(task, X, seed=1):
    rng = np.random.default_rng(seed)
    signal = np.nan_to_num((X[:, 0] - 60) / 10) + 0.3 * np.nan_to_num(X[:, 3])
    if task == "binary":
        return (rng.random(len(X)) < 1 / (1 + np.exp(-signal))).astype(np.int8)
    death, lost = rng.exponential(10 * np.exp(-signal)), rng.exponential(15, len(X))
    if task == "competing":
        other = rng.exponential(12 * np.exp(0.3 * signal))
        y = np.empty(len(X), dtype=[("event", int), ("time", float)])
        first = np.minimum(death, other)
        y["event"] = np.where(first <= lost, np.where(death <= other, 1, 2), 0)
        y["time"] = np.ceil(np.minimum(first, lost))
        return y
    y = np.empty(len(X), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.ceil(np.minimum(death, lost))
    return y


def everything(model, X):
    """Return all that a study asks of a model, as one array."""
    if model.recipe.task == "binary":
        return np.column_stack([model.risk(X), model.score(X)])
    return np.column_stack([model.score(X), model.survival(X, TIMES)])


@pytest.fixture(params=[f"{name}:{task}" for name in MODELS for task in (MODELS[name].task, *MODELS[name].also)])
def recipe(request):
    name, _, task = request.param.partition(":")
    return MODELS[name].for_task(task)


@pytest.fixture
def rows(recipe):
    X = raw()
    return X, outcome(recipe.task, X)


def test_the_room_opens_without_loading_a_single_learner():
    code = "import sys, aimed.prognosis; print(sorted({'sklearn', 'scipy', 'optuna', 'shap'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_catalogue_line(recipe):
    assert isinstance(recipe, Recipe)
    assert MODELS.entry(recipe.name).summary.endswith(".")
    assert recipe.description.endswith(".")
    assert (recipe.ratio_name is not None) == (recipe.family == "linear")


def test_probabilities_and_curves(recipe, rows):
    model = StudyModel(recipe, VARIABLES, seed=3).fit(*rows)
    new = raw(seed=9)
    got = everything(model, new)
    assert np.isfinite(got).all()
    if recipe.task == "binary":
        assert ((got >= 0) & (got <= 1)).all()
        np.testing.assert_allclose(model.estimator.predict_proba(model.preparation.transform(new)).sum(axis=1), 1)
    else:
        curves = got[:, 1:]
        assert (curves[:, 0] == 1).all()
        assert (np.diff(curves, axis=1) <= 0).all()
        assert ((curves >= 0) & (curves <= 1)).all()


def test_same_seed_repeats_bit_for_bit(recipe, rows):
    first, second = (StudyModel(recipe, VARIABLES, seed=5).fit(*rows) for _ in range(2))
    np.testing.assert_array_equal(everything(first, raw(seed=9)), everything(second, raw(seed=9)))


def test_inputs_are_not_mutated(recipe, rows):
    X, y = rows
    kept = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    everything(StudyModel(recipe, VARIABLES).fit(X, y), X)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_rows_are_predicted_one_by_one(recipe, rows):
    model = StudyModel(recipe, VARIABLES).fit(*rows)
    new = raw(seed=9)
    got = everything(model, new)
    order = np.random.default_rng(0).permutation(len(new))
    np.testing.assert_allclose(everything(model, new[order]), got[order], rtol=1e-13, atol=0)
    np.testing.assert_allclose(everything(model, new[:1]), got[:1], rtol=1e-13, atol=0)


def test_clone_and_parameters(recipe, rows):
    estimator = recipe.build(recipe.defaults, 7)
    assert clone(estimator).get_params() == estimator.get_params()
    for name, value in recipe.defaults.items():
        assert estimator.get_params()[name] == value


def test_save_and_load_is_the_identity(recipe, rows):
    model = StudyModel(recipe, VARIABLES).fit(*rows)
    if recipe.store == "json":
        state = json.loads(json.dumps(recipe.to_state(model.estimator), allow_nan=False))
        loaded = recipe.from_state(state)
    else:
        skops = pytest.importorskip("skops.io")
        blob = skops.dumps(model.estimator)
        own = [t for t in skops.get_untrusted_types(data=blob) if t.startswith("aimed")]
        assert own == [], "what is stored with skops is made of scikit-learn's own parts"
        loaded = skops.loads(blob, trusted=skops.get_untrusted_types(data=blob))
    again = StudyModel.assemble(recipe, model.preparation, loaded, parameters=model.parameters)
    np.testing.assert_array_equal(everything(again, raw(seed=9)), everything(model, raw(seed=9)))


def test_search_space_holds_the_defaults_and_every_draw_can_be_built(recipe):
    optuna = pytest.importorskip("optuna")
    if recipe.space is None:
        assert recipe.family == "baseline"
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(dict(recipe.defaults))
    for count in range(8):
        trial = study.ask()
        drawn = recipe.space(trial)
        if not count:
            assert drawn == dict(recipe.defaults)
            for name, distribution in trial.distributions.items():
                assert distribution._contains(distribution.to_internal_repr(drawn[name])), name
        assert recipe.build(drawn, 0).get_params().items() >= drawn.items()


def test_better_than_its_baseline(recipe, rows):
    if recipe.family == "baseline":
        return
    from sklearn.metrics import roc_auc_score

    X = raw(seed=20)
    y = outcome(recipe.task, X, seed=21)
    score = StudyModel(recipe, VARIABLES).fit(*rows).score(X)
    label = y if recipe.task == "binary" else (y["event"] == 1) & (y["time"] <= 5)
    assert roc_auc_score(label, score) > 0.6


def test_with_competing_events_the_risk_ranks(recipe, rows):
    if recipe.task != "competing":
        return
    # A high hazard of the cause is no high risk of it where another event comes first.
    model = StudyModel(replace(recipe, horizon=5.0), VARIABLES, seed=3).fit(*rows)
    new = raw(seed=9)
    np.testing.assert_array_equal(model.score(new), model.risk(new, [5.0])[:, 0])
