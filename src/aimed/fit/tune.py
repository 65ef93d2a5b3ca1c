"""Tuning: every candidate and baseline on the same folds, resumable trial by trial, ranked on one leaderboard."""

from __future__ import annotations

import contextlib
import time as clock
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import journal as journals
from scipy import stats

from aimed.core import DataError, Fold, NotEstimableError, UnknownNameError, Variable
from aimed.fit.adapter import Imputed, StudyModel, fewer_sets
from aimed.fit.recipe import Recipe, Task
from aimed.metrics.accuracy import brier, log_loss
from aimed.metrics.concordance import cause_specific_c, harrell_c, uno_c
from aimed.metrics.discrimination import auroc
from aimed.metrics.survival_accuracy import integrated_brier, integrated_brier_incidence

__all__ = ["FOLD_METRICS", "FoldMetric", "Row", "Tuning", "predict_out_of_fold", "tune"]

Score = Callable[[StudyModel, NDArray[np.float64], NDArray[Any], NDArray[np.float64]], float]


@dataclass(frozen=True, slots=True)
class FoldMetric:
    """A metric for judging a fold: its direction and how to compute it from a fitted model."""

    name: str
    task: Task
    direction: Literal["minimize", "maximize"]
    score: Score


def _known(risk: NDArray[np.float64], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    rows = np.isfinite(risk)
    if not rows.any():
        raise NotEstimableError("no row of a fold has a prediction", "complete rows", "choose another missing method")
    return y[rows], risk[rows]


def _binary(metric: Callable[..., float]) -> Score:
    def score(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
        return float(metric(*_known(model.risk(X)[:, 0], y)))

    return score


def _harrell(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
    known, score = _known(model.score(X), y)
    return float(harrell_c(known["event"], known["time"], score))


def _uno(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
    known, score = _known(model.score(X), y)
    return float(uno_c(known["event"], known["time"], score, tau=float(grid[-1])))


def _ibs(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
    # A fold may be followed for less long than the whole; the score covers what it saw.
    seen = grid[grid < float(y["time"].max())]
    survival = model.survival(X, seen)
    rows = np.isfinite(survival).all(axis=1)
    return float(integrated_brier(y["event"][rows], y["time"][rows], survival[rows], seen))


def _wolbers(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
    known, score = _known(model.score(X), y)
    return float(cause_specific_c(known["event"], known["time"], score, tau=float(grid[-1])))


def _ibs_incidence(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], grid: NDArray[np.float64]) -> float:
    seen = grid[grid < float(y["time"].max())]
    risk = model.risk(X, seen)
    rows = np.isfinite(risk).all(axis=1)
    return float(integrated_brier_incidence(y["event"][rows], y["time"][rows], risk[rows], seen))


FOLD_METRICS: dict[tuple[Task, str], FoldMetric] = {
    (m.task, m.name): m
    for m in (
        FoldMetric("log_loss", "binary", "minimize", _binary(log_loss)),
        FoldMetric("auroc", "binary", "maximize", _binary(auroc)),
        FoldMetric("brier", "binary", "minimize", _binary(brier)),
        FoldMetric("harrell_c", "survival", "maximize", _harrell),
        FoldMetric("uno_c", "survival", "maximize", _uno),
        FoldMetric("ibs", "survival", "minimize", _ibs),
        FoldMetric("cause_specific_c", "competing", "maximize", _wolbers),
        FoldMetric("ibs", "competing", "minimize", _ibs_incidence),
    )
}
"""Metrics a fold can be judged by, by kind of outcome and name."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One line of the leaderboard."""

    recipe: Recipe
    kind: str
    parameters: dict[str, Any]
    folds: list[float]
    trials: int
    seconds: float
    note: str = ""

    @property
    def mean(self) -> float:
        """Mean over the folds; NaN when the candidate failed."""
        return float(np.mean(self.folds)) if self.folds else float("nan")

    def interval(self, level: float = 0.95) -> tuple[float | None, float | None]:
        """Return a t interval over the folds."""
        k = len(self.folds)
        if k < 2:
            return None, None
        half = stats.t.ppf(0.5 + level / 2, k - 1) * np.std(self.folds, ddof=1) / np.sqrt(k)
        return self.mean - float(half), self.mean + float(half)


@dataclass(slots=True, kw_only=True)
class Tuning:
    """What tuning found: the leaderboard, the trials, the choice and its out-of-fold predictions."""

    metric: FoldMetric
    rows: list[Row]
    chosen: Row
    trials: list[dict[str, Any]]
    seconds: float
    resumed: bool
    out_of_budget: bool
    reason: str
    out_of_fold: NDArray[np.float64] = field(repr=False)


def predict_out_of_fold(
    recipe: Recipe,
    parameters: Mapping[str, Any],
    X: NDArray[np.float64],
    y: NDArray[Any],
    folds: Sequence[Fold],
    variables: Sequence[Variable],
    preparation: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    patient: NDArray[Any] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> NDArray[np.float64]:
    """Return what models that did not see the row say of it, shape (n,); NaN outside the folds.

    It is the risk of a yes/no outcome. For other outcomes it is the score that ranks patients, and scores of different
    folds may differ by a shift: compare them within a fold.
    """
    out = np.full(X.shape[0], np.nan)
    for place, fold in enumerate(folds):
        told = None if progress is None else _part_of(progress, place, len(folds))
        model = StudyModel(recipe, variables, parameters, preparation, seed)
        model.fit(X[fold.fit], y[fold.fit], patient=_held_together(recipe, patient, fold.fit), progress=told)
        out[fold.tune] = model.score(X[fold.tune])
    return out


def _held_together(recipe: Recipe, patient: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Return the patients of rows for a network, which holds some out to know when to stop; None for other models."""
    return None if patient is None or recipe.family != "network" else patient[rows]


def _part_of(tell: Callable[[float, str], None], place: int, folds: int) -> Callable[[float, str], None]:
    def told(share: float, text: str) -> None:
        tell((place + share) / folds, f"fold {place + 1} of {folds}, {text}")

    return told


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        yield
    optuna.logging.set_verbosity(before)


def tune(
    candidates: Sequence[Recipe],
    baselines: Sequence[Recipe],
    X: NDArray[np.float64],
    y: NDArray[Any],
    folds: Sequence[Fold],
    variables: Sequence[Variable],
    *,
    metric: str,
    preparation: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    grid: NDArray[np.float64] | None = None,
    trials: int = 20,
    seconds: float = 600.0,
    seed: int = 0,
    journal: Path | None = None,
    patient: NDArray[Any] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Tuning:
    """Compare candidates and baselines on the tuning folds.

    Parameters
    ----------
    candidates, baselines : sequences of Recipe
    X : float array, shape (n, p)
        All rows of the cohort; only rows named by the folds are touched.
    y : array, shape (n,)
        int8 0/1, or a structured survival array.
    folds : sequence of Fold
    variables : sequence of Variable, length p
    metric : str
        Name in `FOLD_METRICS`.
    preparation : mapping, optional
        Options of `Preparation` for every model; a recipe's own options come first where the study is silent.
    parameters : mapping, optional
        Candidate name → fixed parameters; such a candidate is not searched.
    grid : float array, optional
        Times for survival metrics; the last one is tau.
    trials : int
        Draws a candidate, the defaults included.
    seconds : float
        Budget for all candidates. Every candidate gets its first trial whatever the budget.
    seed : int
    journal : path, optional
        Optuna journal; finished trials found there are not run again.
    patient : array, shape (n,), optional
        Patient of each row: networks keep a patient's rows on one side when they hold some out to know when to stop.
    progress : callable, optional
        Called with the share done and a short text; by networks epoch by epoch.

    Returns
    -------
    Tuning

    Raises
    ------
    UnknownNameError
        If the metric does not exist for the task.
    DataError
        If no candidate could be fitted.

    Notes
    -----
    The choice follows the one-standard-error rule: the simplest candidate (linear before trees, then the order
    of the study file) whose mean is within one standard error of the paired fold differences to the best.
    Each trial draws with a sampler seeded by the number of finished trials, so that a resumed search draws
    what an uninterrupted one would. Reaching the time budget is the one thing that can change the result.
    With multiple imputation, folds are compared with `aimed.fit.adapter.FEW_SETS` data sets.
    """
    task = candidates[0].task
    names = [name for kind, name in FOLD_METRICS if kind == task]
    if metric not in names:
        raise UnknownNameError("tuning metric", metric, names)
    judge = FOLD_METRICS[task, metric]
    times = np.asarray([] if grid is None else grid, dtype=np.float64)
    start = clock.monotonic()
    fixed = {name: dict(p) for name, p in (parameters or {}).items()}

    # Imputed data sets depend on no tuned parameter; every trial shares them.
    compared = fewer_sets(preparation)
    ready: dict[tuple[int, str], Imputed] = {}

    def evaluate(recipe: Recipe, values: Mapping[str, Any]) -> list[float]:
        out = []
        for place, fold in enumerate(folds):
            model = StudyModel(recipe, variables, values, compared, seed)
            imputed = None
            if model.preparation.imputes:
                key = (place, repr(sorted(model.preparation_options.items())))
                if key not in ready:
                    ready[key] = model.impute(X[fold.fit], y[fold.fit])
                imputed = ready[key]
            told = None if progress is None else _part_of(partial(within, recipe.title), place, len(folds))
            held = _held_together(recipe, patient, fold.fit)
            model.fit(X[fold.fit], y[fold.fit], imputed, held, progress=told)
            out.append(judge.score(model, X[fold.tune], y[fold.tune], times))
        return out

    rows: list[Row] = []
    history: list[dict[str, Any]] = []
    resumed = False
    late = False
    todo = [r for r in candidates if r.space is not None and r.name not in fixed]
    total = max(1, len(baselines) + len(candidates) - len(todo) + trials * len(todo))
    done = 0

    def step(text: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(1.0, done / total), text)

    def within(title: str, share: float, text: str) -> None:
        if progress is not None:
            progress(min(1.0, (done + share) / total), f"{title}: {text}")

    with _quiet():
        for kind, recipes in (("baseline", baselines), ("candidate", candidates)):
            for recipe in recipes:
                began = clock.monotonic()
                if kind == "baseline" or recipe not in todo:
                    values = fixed.get(recipe.name, {})
                    try:
                        row = Row(
                            recipe=recipe,
                            kind=kind,
                            parameters=values,
                            folds=evaluate(recipe, values),
                            trials=1,
                            seconds=0.0,
                        )
                    except NotEstimableError as error:
                        row = Row(
                            recipe=recipe,
                            kind=kind,
                            parameters=values,
                            folds=[],
                            trials=1,
                            seconds=0.0,
                            note=str(error),
                        )
                    step(recipe.title)
                else:
                    left = seconds - (clock.monotonic() - start)
                    share = left / max(1, len(todo) - todo.index(recipe))
                    row, seen, was_resumed, was_late = _search(
                        recipe, evaluate, judge, trials, share, seed, journal, step
                    )
                    history += seen
                    resumed |= was_resumed
                    late |= was_late
                row.seconds = clock.monotonic() - began
                rows.append(row)
    chosen, reason = _choose([r for r in rows if r.kind == "candidate"], judge)
    out_of_fold = np.full(X.shape[0], np.nan)
    if task == "binary":
        out_of_fold = predict_out_of_fold(
            chosen.recipe, chosen.parameters, X, y, folds, variables, preparation, seed, patient=patient
        )
    return Tuning(
        metric=judge,
        rows=rows,
        chosen=chosen,
        trials=history,
        seconds=clock.monotonic() - start,
        resumed=resumed,
        out_of_budget=late,
        reason=reason,
        out_of_fold=out_of_fold,
    )


def _open_search(journal: Path | None, name: str, direction: Literal["minimize", "maximize"]) -> optuna.Study:
    """Open the search of one candidate, with the trials that an earlier run finished."""
    if journal is None:
        return optuna.create_study(study_name=name, direction=direction)
    journal.parent.mkdir(parents=True, exist_ok=True)
    # A kill may leave half a line at the end; it would stop every later run.
    if journal.exists():
        data = journal.read_bytes()
        if data and not data.endswith(b"\n"):
            journal.write_bytes(data[: data.rfind(b"\n") + 1])
    Path(f"{journal}.lock").unlink(missing_ok=True)
    try:
        return _read_search(journal, name, direction)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        # Trials that cannot be read are run again; the same seed draws the same ones.
        journal.unlink()
        return _read_search(journal, name, direction)


def _read_search(journal: Path, name: str, direction: Literal["minimize", "maximize"]) -> optuna.Study:
    backend = journals.JournalFileBackend(str(journal), lock_obj=journals.JournalFileOpenLock(str(journal)))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)


def _search(
    recipe: Recipe,
    evaluate: Callable[[Recipe, Mapping[str, Any]], list[float]],
    judge: FoldMetric,
    trials: int,
    seconds: float,
    seed: int,
    journal: Path | None,
    step: Callable[[str], None],
) -> tuple[Row, list[dict[str, Any]], bool, bool]:
    if recipe.space is None:
        raise DataError(f"{recipe.title} has nothing to tune", "a search space")
    study = _open_search(journal, recipe.name, judge.direction)
    complete = optuna.trial.TrialState.COMPLETE
    failed = optuna.trial.TrialState.FAIL
    finished = [t for t in study.trials if t.state == complete or (t.state == failed and "why" in t.user_attrs)]
    resumed = bool(finished)
    # A kill leaves its trial running for ever; it is closed, and drawn again as if it had not been begun.
    for stale in study.trials:
        if stale.state == optuna.trial.TrialState.RUNNING:
            study.tell(stale.number, state=failed)
    waiting = any(t.state == optuna.trial.TrialState.WAITING for t in study.trials)
    for _ in finished[:trials]:
        step(recipe.title)
    began = clock.monotonic()
    late = False
    count = len(finished)
    while count < max(1, trials):
        if count and clock.monotonic() - began > seconds:
            late = True
            break
        study.sampler = optuna.samplers.TPESampler(seed=seed + count, n_startup_trials=5)
        if count == 0 and recipe.defaults and not waiting:
            study.enqueue_trial(dict(recipe.defaults))
        trial = study.ask()
        values = recipe.space(trial)
        try:
            folds = evaluate(recipe, values)
            trial.set_user_attr("folds", folds)
            trial.set_user_attr("values", values)
            study.tell(trial, float(np.mean(folds)))
        except NotEstimableError as error:
            trial.set_user_attr("why", str(error))
            study.tell(trial, state=failed)
        count += 1
        step(recipe.title)
    over = [t for t in study.trials if t.state == complete or "why" in t.user_attrs]
    history = [
        {"number": number, "candidate": recipe.name, "value": t.value, "state": t.state.name.lower()}
        for number, t in enumerate(over)
    ]
    good = [t for t in study.trials if t.state == complete]
    if not good:
        why = next((t.user_attrs["why"] for t in study.trials if "why" in t.user_attrs), "no trial finished")
        row = Row(recipe=recipe, kind="candidate", parameters={}, folds=[], trials=count, seconds=0.0, note=why)
        return row, history, resumed, late
    best = study.best_trial
    row = Row(
        recipe=recipe,
        kind="candidate",
        parameters=dict(best.user_attrs["values"]),
        folds=[float(v) for v in best.user_attrs["folds"]],
        trials=count,
        seconds=0.0,
    )
    return row, history, resumed, late


def _choose(rows: Sequence[Row], judge: FoldMetric) -> tuple[Row, str]:
    ranked = [r for r in rows if r.folds and np.isfinite(r.mean)]
    if not ranked:
        notes = sorted({r.note for r in rows if r.note})
        raise DataError(
            f"no candidate could be fitted ({notes[0] if notes else 'no trial finished'})",
            "one that can",
            "give [tune] trials = 5 or more, so that penalised fits are tried, or name fewer predictors",
        )
    sign = 1.0 if judge.direction == "maximize" else -1.0
    best = max(ranked, key=lambda r: sign * r.mean)
    simple = sorted(ranked, key=lambda r: r.recipe.family != "linear")
    for row in simple:
        if row is best:
            break
        gap = sign * (np.asarray(best.folds) - np.asarray(row.folds))
        error = float(np.std(gap, ddof=1) / np.sqrt(gap.size)) if gap.size > 1 else 0.0
        if float(gap.mean()) <= error:
            return row, (
                f"{row.recipe.title} was chosen: {best.recipe.title} scored better on the tuning folds by "
                f"{gap.mean():.4f} in {judge.name}, less than one standard error ({error:.4f}), and is less simple."
            )
    return best, f"{best.recipe.title} had the best mean {judge.name} on the tuning folds."
