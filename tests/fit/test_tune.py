"""Tuning compares on the folds only, chooses the simple model when it is as good, and resumes to the same end."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError, UnknownNameError, Variable
from aimed.fit.tune import FOLD_METRICS, _choose, tune
from aimed.prognosis import MODELS
from aimed.splits.draw import grouped_folds


def simulated(n=240, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = (rng.random(n) < 1 / (1 + np.exp(-1.5 * X[:, 0]))).astype(np.int8)
    patient = np.arange(n).astype(str)
    return X, y, patient, tuple(Variable(name=f"x{j}") for j in range(3))


def run(X, y, patient, variables, **options):
    rows = np.arange(0, X.shape[0] - 40)
    folds = grouped_folds(rows, patient, folds=3, seed=1)
    return tune(
        [MODELS[n] for n in options.pop("candidates", ["logistic", "decision_tree"])],
        [MODELS["prevalence"]],
        X,
        y,
        folds,
        variables,
        metric=options.pop("metric", "log_loss"),
        trials=options.pop("trials", 4),
        seed=2,
        **options,
    )


def test_rows_outside_the_folds_are_never_touched():
    X, y, patient, variables = simulated()
    first = run(X, y, patient, variables)
    spoilt, flipped = X.copy(), y.copy()
    spoilt[-40:], flipped[-40:] = np.nan, 1 - flipped[-40:]
    again = run(spoilt, flipped, patient, variables)
    assert [r.folds for r in first.rows] == [r.folds for r in again.rows]
    assert np.isnan(first.out_of_fold[-40:]).all()
    assert np.isfinite(first.out_of_fold[:-40]).all()


def test_the_leaderboard_holds_baseline_and_candidates():
    tuning = run(*simulated())
    assert [(r.recipe.name, r.kind) for r in tuning.rows] == [
        ("prevalence", "baseline"),
        ("logistic", "candidate"),
        ("decision_tree", "candidate"),
    ]
    assert tuning.chosen.recipe.name == "logistic"
    low, high = tuning.chosen.interval()
    assert low < tuning.chosen.mean < high


def test_out_of_fold_predictions_come_from_models_that_did_not_see_the_row():
    X, y, patient, variables = simulated()
    noise = np.random.default_rng(5).integers(0, 2, y.size).astype(np.int8)
    tuning = run(X, noise, patient, variables, candidates=["random_forest"], trials=1)
    known = np.isfinite(tuning.out_of_fold)
    from aimed.metrics.discrimination import auroc

    assert 0.35 < auroc(noise[known], tuning.out_of_fold[known]) < 0.65


def test_a_resumed_search_ends_as_an_uninterrupted_one(tmp_path):
    data = simulated()
    whole = run(*data, journal=tmp_path / "a.log", trials=6)
    run(*data, journal=tmp_path / "b.log", trials=3)
    text = (tmp_path / "b.log").read_bytes()
    (tmp_path / "b.log").write_bytes(text + b'{"op_code": 4, "half')  # as a kill leaves it
    resumed = run(*data, journal=tmp_path / "b.log", trials=6)
    assert resumed.resumed
    assert not whole.resumed
    assert [r.parameters for r in resumed.rows] == [r.parameters for r in whole.rows]
    assert [r.folds for r in resumed.rows] == [r.folds for r in whole.rows]


def test_a_trial_cut_off_by_a_kill_is_drawn_again(tmp_path):
    import optuna
    from optuna.storages import journal as journals

    data = simulated()
    whole = run(*data, journal=tmp_path / "a.log", trials=5)
    path = tmp_path / "b.log"
    storage = optuna.storages.JournalStorage(
        journals.JournalFileBackend(str(path), lock_obj=journals.JournalFileOpenLock(str(path)))
    )
    for recipe in (MODELS["logistic"], MODELS["decision_tree"]):
        cut = optuna.create_study(storage=storage, study_name=recipe.name, direction="minimize")
        cut.enqueue_trial(dict(recipe.defaults))
        recipe.space(cut.ask())  # begun, and never told
    again = run(*data, journal=path, trials=5)
    assert [r.parameters for r in again.rows] == [r.parameters for r in whole.rows]
    assert again.trials == whole.trials


@pytest.mark.parametrize("damage", [b"not json\n", b'{"op_code": 99}\n', b"[]\n"])
def test_a_damaged_journal_is_searched_anew(tmp_path, damage):
    data = simulated()
    whole = run(*data, journal=tmp_path / "a.log")
    (tmp_path / "a.log").write_bytes(damage + (tmp_path / "a.log").read_bytes())
    again = run(*data, journal=tmp_path / "a.log")
    assert [r.folds for r in again.rows] == [r.folds for r in whole.rows]


def test_a_spent_budget_is_said_and_every_candidate_has_a_trial():
    tuning = run(*simulated(), seconds=0.0, trials=50)
    assert tuning.out_of_budget
    assert all(r.folds for r in tuning.rows)


def test_fixed_parameters_are_not_searched():
    tuning = run(*simulated(), parameters={"logistic": {"penalty": "ridge", "C": 0.5}})
    row = next(r for r in tuning.rows if r.recipe.name == "logistic")
    assert row.trials == 1
    assert row.parameters == {"penalty": "ridge", "C": 0.5}


def test_one_standard_error_rule():
    tuning = run(*simulated())
    simple, tree = tuning.rows[1], tuning.rows[2]
    judge = FOLD_METRICS["binary", "log_loss"]
    simple.folds, tree.folds = [0.50, 0.52, 0.48], [0.49, 0.52, 0.48]
    assert _choose([simple, tree], judge)[0] is simple
    tree.folds = [0.40, 0.42, 0.38]
    assert _choose([simple, tree], judge)[0] is tree
    simple.folds = []
    assert _choose([simple, tree], judge)[0] is tree
    tree.folds = []
    with pytest.raises(DataError, match="no candidate"):
        _choose([simple, tree], judge)


def test_unknown_metric():
    with pytest.raises(UnknownNameError, match="did you mean 'auroc'"):
        run(*simulated(), metric="auc_roc")
