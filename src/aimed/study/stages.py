"""The stages of a run, each a function from artefact to artefact that can be called alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.pack import pack
from aimed.bundle.schema import CODES, Schema, describe
from aimed.calibrate.choose import Chosen, choose
from aimed.checks import CHECKS
from aimed.checks.run import run_checks
from aimed.core import Binary, Cohort, CompetingRisks, DataError, Finding, Outcome, Split, Survival
from aimed.core.outcome import Masks, Multilabel
from aimed.explain.build import Inside
from aimed.explain.build import explain as build_explanation
from aimed.explain.reasons import reasons
from aimed.fit.adapter import StudyModel
from aimed.fit.recipe import Recipe
from aimed.fit.refits import RANKING, coefficient_interval, optimism_corrected, prediction_stability, refit
from aimed.fit.tune import Tuning, predict_out_of_fold, tune
from aimed.metrics.calibration_competing import incidence_by
from aimed.metrics.concordance import cause_specific_c, harrell_c
from aimed.metrics.discrimination import auroc
from aimed.metrics.evaluate import evaluate_binary, evaluate_survival, measures_binary, measures_survival
from aimed.metrics.nonparametric import kaplan_meier
from aimed.prognosis.coefficients import coefficients
from aimed.report.page import render
from aimed.splits.draw import by_column, by_patient, by_site, by_time, grouped_folds
from aimed.study.arms import treated_of
from aimed.study.describe import event_flags
from aimed.study.groups import asked_of_groups, audit_by_group
from aimed.study.linear import nomogram_of, proportional_hazards_of, readable_steps
from aimed.study.models import recipes_of, simplest
from aimed.study.network_fit import diagnosis_of_fit, learning_of
from aimed.study.simple_model import beside_simple
from aimed.study.spec import StudySpec
from aimed.study.store import RunFolder, key_of
from aimed.study.tasks import outcome_label, primary_of, table_kind, targets, task_of
from aimed.trust.card import model_card
from aimed.trust.failures import error_groups

__all__ = [
    "Facts",
    "audit",
    "calibrate",
    "check",
    "draw_split",
    "evaluate",
    "explain",
    "facts",
    "fit",
    "package",
    "report",
    "with_folds",
]

Progress = Callable[[float, str], None]
CURVE_POINTS = 50
COEFFICIENT_DRAWS = 200
REFIT_CELLS = 100_000
"""Above this many cells nothing is refitted for intervals or stability; both would be narrow and slow."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the record says of a fitted model beside what fitting and judging returned.

    Parameters
    ----------
    model : mapping
        For the ``model`` block.
    simple : mapping
        Whether a simple model is beaten.
    inputs : mapping
        ``inputs`` and ``refusals`` of the packaged model.
    schema : Any
        What packing wants to know of inputs.
    data : mapping
        For the ``data`` block.
    """

    model: Mapping[str, Any]
    simple: Mapping[str, Any]
    inputs: Mapping[str, Any]
    schema: Any
    data: Mapping[str, Any] = field(default_factory=dict)


def silent(share: float, text: str = "") -> None:
    """Ignore progress."""


def part_of(progress: Progress, low: float, high: float) -> Callable[..., None]:
    """Return what tells the progress of a part of the work, from a share of the whole to another."""

    def told(share: float, text: str = "") -> None:
        progress(low + (high - low) * share, text)

    return told


def draw_split(spec: StudySpec, cohort: Cohort) -> Split:
    """Draw train, test and tuning folds as the study file says."""
    test, seed = spec.split.test, spec.study.seed
    events = _strata_with_arms(spec, cohort)
    match test.by:
        case "time":
            if cohort.time is None:
                raise DataError("[split] by = 'time' but [data] names no time column", "a time column", "name it")
            parts = by_time(cohort.patient, time=cohort.time, start=test.start)
        case "site":
            if cohort.site is None:
                raise DataError("[split] by = 'site' but [data] names no site column", "a site column", "name it")
            parts = by_site(cohort.patient, site=cohort.site, hold_out=test.hold_out)
        case "column":
            parts = by_column(cohort.patient, labels=_words(cohort, str(test.column)))
        case _:
            parts = by_patient(cohort.patient, fraction=test.fraction, seed=seed, stratum=events)
    return with_folds(spec, cohort, parts)


def _strata_with_arms(spec: StudySpec, cohort: Cohort) -> NDArray[np.int64]:
    """Return what every part should hold its share of, the arms of a study of effects included."""
    found = strata(cohort.outcome)
    return found if spec.treatment is None else 2 * found + treated_of(cohort)


def strata(outcome: Outcome | None) -> NDArray[np.int64]:
    """Return what every part should hold its share of: rows with the event, or with each kind of event or finding.

    A row with several findings counts for the rarest of them. Rows without any label are a kind of their own, so that
    no part gets more than its share of them.
    """
    if isinstance(outcome, CompetingRisks):
        return np.asarray(outcome.cause, dtype=np.int64)
    if isinstance(outcome, Multilabel):
        present = outcome.values == 1
        place = np.empty(present.shape[1], dtype=np.int64)
        place[np.argsort(-present.sum(axis=0), kind="stable")] = np.arange(1, present.shape[1] + 1)
        kind = np.asarray((present * place).max(axis=1), dtype=np.int64)
        unknown = np.isnan(outcome.values).all(axis=1)
        return np.where(unknown, 0, kind + int(unknown.any()))
    if isinstance(outcome, Masks):
        return _by_extent(outcome)
    return event_flags(outcome).astype(np.int64)


def _by_extent(outcome: Masks) -> NDArray[np.int64]:
    """Return how many regions a scan has, and of those that have all whether they are small, middling or large."""
    present = outcome.present.sum(axis=1).astype(np.int64)
    largest = np.nanmax(np.where(np.isnan(outcome.volumes), 0.0, outcome.volumes), axis=1, initial=0.0)
    whole = present == len(outcome.targets)
    if whole.sum() < 12:
        return np.asarray(present)
    cuts = np.quantile(largest[whole], [1 / 3, 2 / 3])
    return np.asarray(present + np.where(whole, np.searchsorted(cuts, largest), 0), dtype=np.int64)


def _words(cohort: Cohort, name: str) -> NDArray[Any]:
    variable, column = cohort.variable(name), cohort.column(name)
    if variable.kind == "category":
        words: NDArray[Any] = np.asarray([*variable.categories, ""], dtype=str)[column]
        return words
    return np.asarray(column, dtype=str)


def with_folds(spec: StudySpec, cohort: Cohort, parts: Mapping[str, NDArray[np.int64]]) -> Split:
    """Add tuning folds to parts and prove that nothing overlaps."""
    folds = grouped_folds(
        parts["train"],
        cohort.patient,
        folds=spec.split.tune.folds,
        seed=spec.study.seed + 1,
        stratum=_strata_with_arms(spec, cohort),
    )
    return Split(parts=parts, by=spec.split.test.by, patient=cohort.patient, folds=folds)


def each_check(progress: Progress) -> Callable[..., None]:
    """Return what hears the name of each check before it starts, or the share of it done, and tells of all of them."""
    names = list(CHECKS)

    def step(name: str, share: float = 0.0) -> None:
        progress((names.index(name) + share) / len(names), name.replace("_", " "))

    return step


def check(spec: StudySpec, cohort: Cohort, split: Split, progress: Progress = silent) -> list[Finding]:
    """Run every check on the cohort and its split."""
    # What a model would refuse later, such as a spline on a category, is said now.
    few = cohort.matrix()[split.parts["train"][:1000]]
    for recipe in [r for some in recipes_of(spec) for r in some]:
        StudyModel(recipe, cohort.predictors, {}, preparation_of(spec)).preparation.fit(few)
    done = 0

    def step(name: str) -> None:
        nonlocal done
        progress(done / len(CHECKS), name)
        done += 1

    return run_checks(
        cohort,
        split,
        subgroups=spec.subgroups.columns,
        parameters=candidate_parameters(spec, cohort),
        allow=spec.predictors.allow,
        horizons=spec.outcome.at() if task_of(spec).kind != "binary" else (),
        progress=step,
    )


def candidate_parameters(spec: StudySpec, cohort: Cohort) -> int:
    """Return how many coefficients the full linear model would have: what sample-size rules count."""
    total = 0
    for v in cohort.predictors:
        knots = re.fullmatch(r"spline\((\d)\)", spec.predictors.nonlinear.get(v.name, ""))
        total += int(knots[1]) - 1 if knots else 1 if v.kind == "number" else max(1, len(v.categories) - 1)
    return total


def time_grid(spec: StudySpec) -> NDArray[np.float64]:
    """Return the times at which survival curves are judged: a grid to the last horizon, horizons included."""
    last = spec.evaluate.tau_days or spec.outcome.at()[-1]
    grid = np.linspace(last / CURVE_POINTS, last, CURVE_POINTS)
    return np.unique(np.r_[grid, np.asarray(spec.outcome.at(), dtype=np.float64)])


def preparation_of(spec: StudySpec) -> dict[str, Any]:
    """Return what the study file says of preparing predictors; what it leaves open is the recipe's to say."""
    said = spec.predictors.model_fields_set
    options: dict[str, Any] = {}
    if "missing" in said:
        options["missing"] = spec.predictors.missing
        if spec.predictors.missing == "multiple_imputation":
            options["imputations"] = spec.predictors.imputations
    if "nonlinear" in said:
        options["nonlinear"] = dict(spec.predictors.nonlinear)
    return options


def fit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    home: RunFolder | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], StudyModel, NDArray[np.float64]]:
    """Compare the candidates on the tuning folds and fit the chosen one on the training part.

    Returns
    -------
    (dict, StudyModel, array of shape (n,))
        The ``model`` block so far, the fitted model, and its out-of-fold predictions (NaN outside train).
    """
    candidates, baselines = recipes_of(spec)
    X, y = cohort.matrix(), targets(cohort)
    journal = None if home is None else home.file("fit", f"tuning-{key[:16]}.log")
    # The last fit of a network takes about as long as a fold.
    tuned = 0.9 if any(recipe.family == "network" for recipe in candidates) else 1.0
    tuning = tune(
        candidates,
        baselines,
        X,
        y,
        split.folds,
        cohort.predictors,
        metric=spec.tune.metric or task_of(spec).tuning_metric,
        preparation=preparation_of(spec),
        parameters=spec.model.parameters,
        grid=time_grid(spec) if task_of(spec).kind != "binary" else None,
        trials=spec.tune.trials,
        seconds=spec.tune.seconds(),
        seed=spec.study.seed,
        journal=journal,
        patient=cohort.patient,
        progress=lambda share, text: progress(tuned * share, text),
    )
    train = split.parts["train"]
    chosen = tuning.chosen
    # Trials may differ where time ran out: a training goes on only from its own parameters.
    place = key_of(key, chosen.recipe.name, chosen.parameters)[:16]
    model = StudyModel(
        chosen.recipe,
        cohort.predictors,
        chosen.parameters,
        preparation_of(spec),
        spec.study.seed,
    ).fit(
        X[train],
        y[train],
        patient=cohort.patient[train],
        checkpoint=None if home is None else home.file("fit", f"network-{place}"),
        progress=lambda share, text: progress(tuned + (1.0 - tuned) * share, f"{chosen.recipe.title}: {text}"),
    )
    return _fit_payload(tuning, model), model, tuning.out_of_fold


def _fit_payload(tuning: Tuning, model: StudyModel) -> dict[str, Any]:
    board = []
    for row in tuning.rows:
        lower, upper = row.interval()
        board.append(
            {
                "name": row.recipe.name,
                "title": row.recipe.title,
                "kind": row.kind,
                "metric": tuning.metric.name,
                "mean": row.mean if row.folds else None,
                "lower": lower,
                "upper": upper,
                "folds": row.folds,
                "trials": row.trials,
                "seconds": round(row.seconds, 2),
                "parameters": row.parameters,
                "note": row.note,
                "chosen": row is tuning.chosen,
            }
        )
    learning = learning_of(model)
    precision = getattr(model.estimator, "precision_", None)
    told = {"learning": learning, "precision": None if precision is None else dict(precision)}
    return {
        **{name: block for name, block in told.items() if block is not None},
        "name": model.recipe.name,
        "title": model.recipe.title,
        "description": model.recipe.description,
        "family": model.recipe.family,
        "parameters": model.parameters,
        "n_fitted": model.n_fitted,
        "missing_method": model.preparation.missing,
        "imputation": model.imputation,
        "leaderboard": board,
        "choice": tuning.reason,
        "tuning": {
            "metric": tuning.metric.name,
            "direction": tuning.metric.direction,
            "trials": tuning.trials,
            "seconds": round(tuning.seconds, 2),
            "resumed": tuning.resumed,
            "out_of_budget": tuning.out_of_budget,
        },
    }


def calibrate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: StudyModel,
    out_of_fold: NDArray[np.float64],
    progress: Progress = silent,
) -> tuple[dict[str, Any], StudyModel]:
    """Choose a calibration and the decision threshold on out-of-fold predictions of the training part."""
    train = split.parts["train"]
    payload: dict[str, Any] = {"calibration": None, "optimism": None}
    outcome = cohort.outcome
    if isinstance(outcome, Binary):
        y = np.asarray(outcome.values)[train]
        model.calibrator, chosen = _choose_calibration(spec, cohort, train, out_of_fold)
        payload["calibration"] = {
            "method": chosen.name,
            "scores": chosen.scores,
            "sentence": chosen.sentence,
            "parameters": chosen.calibrator.to_state() if chosen.calibrator is not None else {},
        }
        prevalence = float(y.mean())
    else:
        payload["calibration"] = {
            "method": "none",
            "scores": {},
            "sentence": "Models of time to event are judged as they were fitted; no recalibration was applied.",
            "parameters": {},
        }
        prevalence = _overall_risk(spec, cohort, train)
    threshold = spec.evaluate.threshold
    payload["threshold"] = {
        "value": threshold if threshold is not None else round(float(np.clip(prevalence, 0.01, 0.99)), 2),
        "rule": "named in the study file before the run"
        if threshold is not None
        else f"the share of the training part with the outcome{_by_first(spec)}; name [evaluate] threshold to choose "
        "it yourself",
    }
    if spec.evaluate.optimism:
        X, y_all = cohort.matrix(), targets(cohort)
        payload["optimism"] = optimism_corrected(
            model,
            X[train],
            y_all[train],
            cohort.patient[train],
            draws=spec.evaluate.optimism,
            level=spec.evaluate.level,
            seed=spec.study.seed,
            progress=progress,
        )
    return payload, model


def _by_first(spec: StudySpec) -> str:
    return "" if task_of(spec).kind == "binary" else f" by {spec.outcome.at()[0]:g} {spec.outcome.unit}s"


def _choose_calibration(
    spec: StudySpec, cohort: Cohort, train: NDArray[np.int64], out_of_fold: NDArray[np.float64]
) -> tuple[Any, Chosen]:
    """Return the calibrator to use, None for none, and how it was chosen."""
    if not isinstance(cohort.outcome, Binary):
        raise TypeError("a binary outcome is needed")
    rows = train[np.isfinite(out_of_fold[train])]
    chosen = choose(
        out_of_fold[rows],
        np.asarray(cohort.outcome.values)[rows],
        cohort.patient[rows],
        methods=spec.calibrate.methods,
        seed=spec.study.seed,
    )
    return None if chosen.name == "none" else chosen.calibrator, chosen


def _overall_risk(spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64]) -> float:
    outcome = cohort.outcome
    if isinstance(outcome, CompetingRisks):
        return incidence_by(outcome.cause[rows], outcome.time[rows], spec.outcome.at()[0])
    if not isinstance(outcome, Survival):
        raise TypeError("a survival outcome is needed")
    curve = kaplan_meier(outcome.event[rows], outcome.time[rows])
    return 1.0 - float(curve.at(np.asarray([spec.outcome.at()[0]]))[0])


def _thresholds(spec: StudySpec, chosen: float) -> tuple[float, ...]:
    default = (0.05, 0.1, 0.2, 0.3, 0.5)
    return tuple(sorted({*(spec.evaluate.thresholds or default), chosen}))


def comparators(spec: StudySpec, fitted: Mapping[str, Any]) -> list[tuple[str, Recipe, dict[str, Any]]]:
    """Return the models to stand beside the chosen one on the test part: baselines, and the simplest candidate."""
    candidates, baselines = recipes_of(spec)
    out: list[tuple[str, Recipe, dict[str, Any]]] = [(b.name, b, {}) for b in baselines]
    simple = simplest(candidates)
    rows = {row["name"]: row for row in fitted["leaderboard"] if row["kind"] == "candidate"}
    if simple.name != fitted["name"] and rows.get(simple.name, {}).get("folds"):
        out.append((simple.name, simple, dict(rows[simple.name]["parameters"])))
    return out


def evaluate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: StudyModel,
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measure the model on the test part beside its baselines.

    Returns
    -------
    (dict, dict of str to array)
        ``performance``, ``failures`` and ``stability`` blocks, for a network ``fit_diagnosis``, and the predictions
        as columns.
    """
    X, y = cohort.matrix(), targets(cohort)
    train, test = split.parts["train"], split.parts["test"]
    chosen = float(calibrated["threshold"]["value"])
    beside = {}
    baselines = {b.name for b in recipes_of(spec)[1]}
    for name, recipe, parameters in comparators(spec, fitted):
        options = preparation_of(spec)
        beside[name] = StudyModel(recipe, cohort.predictors, parameters, options, spec.study.seed).fit(
            X[train], y[train], patient=cohort.patient[train] if recipe.family == "network" else None
        )
        if name not in baselines and isinstance(cohort.outcome, Binary):
            # A candidate is compared as it would be used: calibrated like the chosen one.
            own = predict_out_of_fold(
                recipe, parameters, X, y, split.folds, cohort.predictors, options, spec.study.seed
            )
            beside[name].calibrator = _choose_calibration(spec, cohort, train, own)[0]
    common: dict[str, Any] = {
        "patient": cohort.patient[test],
        "thresholds": _thresholds(spec, chosen),
        "chosen": chosen,
        "draws": spec.evaluate.draws,
        "level": spec.evaluate.level,
        "seed": spec.study.seed,
        "progress": lambda share: progress(share, "bootstrap"),
    }
    table: dict[str, NDArray[Any]] = {"id": row_ids(cohort, test), "patient": cohort.patient[test].astype(str)}
    outcome = cohort.outcome
    if isinstance(outcome, Survival | CompetingRisks):
        grid, horizons = time_grid(spec), np.asarray(spec.outcome.at(), dtype=np.float64)
        survival = model.survival(X[test], grid)
        score = model.score(X[test])
        event, time = y["event"][test], y["time"][test]
        block = evaluate_survival(
            event,
            time,
            score=score,
            survival=survival,
            times=grid,
            horizons=horizons,
            baselines={
                name: {"score": other.score(X[test]), "survival": other.survival(X[test], grid)}
                for name, other in beside.items()
            },
            tau=float(spec.evaluate.tau_days or horizons[-1]),
            unit=outcome.unit,
            competing=isinstance(outcome, CompetingRisks),
            **common,
        )
        at = np.searchsorted(grid, horizons)
        error = (1.0 - survival[:, at[0]]) - ((event == 1) & (time <= horizons[0]))
        known = (event > 0) | (time >= horizons[0])
        table |= {"score": score, "event": event.astype(np.int8), "time": time}
        table |= {f"risk@{h:g}": 1.0 - survival[:, k] for h, k in zip(horizons, at, strict=True)}
    else:
        risk = model.risk(X[test])[:, 0]
        block = evaluate_binary(
            y[test],
            risk,
            baselines={name: other.risk(X[test])[:, 0] for name, other in beside.items()},
            **common,
        )
        error, known = risk - y[test], np.ones(test.size, dtype=bool)
        table |= {"risk": risk, "outcome": y[test]}
    known = known & np.isfinite(error)
    seen = event_flags(outcome)[test]
    if isinstance(outcome, Survival | CompetingRisks):
        seen = seen & (outcome.time[test] <= horizons[0])
    failures = error_groups(np.abs(error[known]), X[test][known], cohort.predictors, seen[known])
    if failures is not None and not known.all():
        failures["note"] += (
            f" {int((~known).sum())} test rows are not in it: censored too early, or without prediction."
        )
    block["would_be_refused"] = _would_be_refused(cohort, X[train], X[test])
    stability = None
    if spec.evaluate.stability and train.size * max(1, len(cohort.predictors)) <= REFIT_CELLS:
        stability = prediction_stability(
            model,
            X[train],
            y[train],
            cohort.patient[train],
            X[test],
            horizon=None if isinstance(outcome, Binary) else spec.outcome.at()[0],
            draws=spec.evaluate.stability,
            level=spec.evaluate.level,
            seed=spec.study.seed,
            progress=progress,
        )
    found = {"performance": block, "failures": failures, "stability": stability}
    if learning_of(model) is not None:
        found["fit_diagnosis"] = diagnosis_of_fit(
            model,
            next(recipe for recipe in recipes_of(spec)[0] if recipe.name == fitted["name"]),
            cohort,
            y,
            split,
            preparation=preparation_of(spec),
            tau=None if isinstance(outcome, Binary) else float(spec.evaluate.tau_days or spec.outcome.at()[-1]),
            target=spec.evaluate.human_level,
            level=spec.evaluate.level,
            seed=spec.study.seed,
            progress=progress,
        )
    return found, table


def _would_be_refused(cohort: Cohort, X_train: NDArray[np.float64], X_test: NDArray[np.float64]) -> int:
    """Count test rows that the packaged model would refuse: levels train never showed, or implausible values."""
    refused = np.zeros(X_test.shape[0], dtype=bool)
    for j, v in enumerate(cohort.predictors):
        x = X_test[:, j]
        if v.kind == "category":
            refused |= ~np.isnan(x) & ~np.isin(x, X_train[:, j])
        elif v.plausible is not None:
            refused |= (x < v.plausible[0]) | (x > v.plausible[1])
    return int(refused.sum())


def row_ids(cohort: Cohort, rows: NDArray[np.int64]) -> NDArray[Any]:
    ids = cohort.ids if cohort.ids is not None else np.arange(cohort.n).astype(str)
    chosen: NDArray[Any] = ids[rows].astype(str)
    return chosen


def audit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: StudyModel,
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Repeat the measures in each declared group of the test part."""
    if not spec.subgroups.columns:
        return None
    test = split.parts["test"]
    X, y = cohort.matrix()[test], targets(cohort)[test]
    patient, primary = cohort.patient[test], primary_of(spec)
    draws, seed = min(spec.evaluate.draws, 300), spec.study.seed
    threshold = float(calibrated["threshold"]["value"])
    outcome = cohort.outcome
    measures: Callable[[NDArray[np.bool_]], dict[str, dict[str, Any]]]
    if isinstance(outcome, Survival | CompetingRisks):
        competing = isinstance(outcome, CompetingRisks)
        grid, horizons = time_grid(spec), np.asarray(spec.outcome.at(), dtype=np.float64)
        survival, score = model.survival(X, grid), model.score(X)
        first = f"{horizons[0]:g}"
        concordance = RANKING[table_kind(spec)]
        names = [primary, concordance, f"oe@{first}", f"brier@{first}", f"net_benefit@{first}"]

        def measures(rows: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
            return measures_survival(
                y["event"][rows],
                y["time"][rows],
                score=score[rows],
                survival=survival[rows],
                times=grid,
                horizons=horizons,
                patient=patient[rows],
                names=names,
                tau=float(spec.evaluate.tau_days or horizons[-1]),
                threshold=threshold,
                draws=draws,
                level=spec.evaluate.level,
                seed=seed,
                competing=competing,
            )
    else:
        risk = model.risk(X)[:, 0]
        names = [primary, "auroc", "oe", "calibration_slope", "brier", "net_benefit"]

        def measures(rows: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
            return measures_binary(
                y[rows],
                risk[rows],
                patient=patient[rows],
                names=names,
                threshold=threshold,
                draws=draws,
                level=spec.evaluate.level,
                seed=seed,
            )

    names = list(dict.fromkeys([*names, *asked_of_groups(spec)]))
    return audit_by_group(
        spec,
        cohort,
        test,
        measures,
        names,
        # Censored rows carry information about survival; only a yes/no outcome needs as many without it.
        min_nonevents=spec.subgroups.min_events if isinstance(outcome, Binary) else 0,
        progress=progress,
    )


def explain(
    spec: StudySpec, cohort: Cohort, split: Split, model: StudyModel, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Say what the model used: permutation importance, SHAP, effects, coefficients and the reasons of single rows.

    Returns
    -------
    (dict, dict of str to array)
        The ``explanation`` block with what `aimed.study.assemble.OF_THE_MODEL` names, and the three largest
        contributions of each test row that was explained, as columns; empty for a model without SHAP values.
    """
    X, y = cohort.matrix(), targets(cohort)
    train, test = split.parts["train"], split.parts["test"]
    shown = test[np.isfinite(model.score(X[test]))]
    kind = table_kind(spec)
    binary = kind == "binary"
    y_shown = y[shown]

    def metric(score: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
        if binary:
            return auroc(y_shown[rows], score)
        if kind == "competing":
            last = float(time_grid(spec)[-1])
            return float(cause_specific_c(y_shown["event"][rows], y_shown["time"][rows], score, tau=last))
        return harrell_c(y_shown["event"][rows], y_shown["time"][rows], score)

    def risk(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return model.risk(rows, spec.outcome.at()[:1] if not binary else None)[:, 0]

    single: dict[str, NDArray[Any]] = {}

    def keep(rows: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        found = reasons(values, top=3)
        names = np.asarray([v.name for v in cohort.predictors])
        single["id"] = row_ids(cohort, shown[rows])
        for k in range(found.variable.shape[1]):
            single[f"reason_{k + 1}"] = names[found.variable[:, k]]
            single[f"contribution_{k + 1}"] = found.contribution[:, k]

    inside = None
    hidden = kind == "competing" and model.recipe.ranks_hazard
    if spec.explain.shap and model.recipe.family != "baseline" and not hidden:
        background = model.preparation.transform(X[train])
        inside = Inside(
            estimator=model.estimator,
            background=background[np.isfinite(background).all(axis=1)]
            if not model.preparation.passes_missing
            else background,
            rows=model.preparation.transform(X[shown]),
            origin=model.preparation.feature_origin_,
            family=model.recipe.family,
            calibrated=model.calibrator is not None,
        )
    block = build_explanation(
        model.score,
        risk,
        X[shown],
        cohort.predictors,
        metric,
        RANKING[kind],
        patient=cohort.patient[shown],
        inside=inside,
        refit=lambda order: refit(model, X[train], y[train][order], cohort.patient[train]).score,
        n_train=int(train.size),
        repeats=spec.explain.repeats,
        n_effects=spec.explain.effects,
        level=spec.evaluate.level,
        seed=spec.study.seed,
        progress=progress,
        keep=keep,
    )
    if hidden:
        block["shap_note"] = (
            "No SHAP values: they would split the hazard of the outcome, and where other events come first a high "
            "hazard is no high risk. Importance and effects are of the risk itself."
        )
    causes = cohort.outcome.labels if isinstance(cohort.outcome, CompetingRisks) else ()
    table = coefficient_table(
        model, X[train], y[train], cohort.patient[train], spec.evaluate.level, spec.study.seed, causes
    )
    linear = {
        "coefficients": table,
        "proportional_hazards": proportional_hazards_of(
            model, X[train], y[train], cohort.patient[train], spec.evaluate.level
        ),
        "nomogram": nomogram_of(model, X[train], None if binary else spec.outcome.at(), spec.study.seed),
    }
    return {**block, **linear}, single


def coefficient_table(
    model: StudyModel,
    X: NDArray[np.float64],
    y: NDArray[Any],
    patient: NDArray[Any],
    level: float,
    seed: int,
    causes: Sequence[str] = (),
) -> list[dict[str, Any]] | None:
    """Return coefficients with intervals and people's labels; None for models that have none.

    Parameters
    ----------
    model : StudyModel
        Fitted.
    X, y, patient : arrays with n rows
        Training rows; a penalised model, which has no standard errors, is refitted on draws of their patients.
    level : float
    seed : int
    causes : sequence of str
        What competing events are called, for models with a hazard for each.

    Notes
    -----
    The step that a coefficient is for is that of `readable_steps`.
    """
    names = list(model.preparation.feature_names_out_)
    rows = coefficients(model.estimator, names)
    if not rows:
        return None
    drawn = None
    repeated = np.unique(patient).size < patient.size and not model.clustered
    if repeated or any(row["lower"] is None for row in rows):
        # Refits on prepared rows know nothing of what multiple imputation adds to the spread.
        small = X.shape[0] * len(names) <= REFIT_CELLS and not model.preparation.imputes
        drawn = (
            coefficient_interval(model, X, y, patient, draws=COEFFICIENT_DRAWS, level=level, seed=seed)
            if small
            else None
        )
    out = []
    steps = list(readable_steps(model, X))
    for k, row in enumerate(rows):
        # A model with a hazard for each cause gives the columns once a cause; refits tell of the first.
        factor, label, per = steps[k % len(steps)]
        cause = int(row.get("cause", 1))
        record = dict(row)
        if (repeated or row["lower"] is None) and drawn is not None and cause == 1:
            record["lower"], record["upper"], record["p"] = float(drawn[0][k]), float(drawn[1][k]), None
            why = "patients have several rows" if repeated else "penalised"
            record["note"] = f"{why}: percentile interval of {COEFFICIENT_DRAWS} refits on draws of patients"
        elif repeated:
            record["lower"] = record["upper"] = record["p"] = None
            record |= {name: None for name in ("standard_error", "df", "fmi") if name in record}
            record["note"] = "patients have several rows: an interval that takes rows as patients would be too narrow"
        elif model.clustered and row["lower"] is not None:
            record["note"] = "patients have several rows: robust error, their rows taken together"
        for name in ("estimate", "lower", "upper", "standard_error"):
            if record.get(name) is not None:
                record[name] *= factor
        for name, source in (("ratio", "estimate"), ("ratio_lower", "lower"), ("ratio_upper", "upper")):
            record[name] = None if record[source] is None else float(np.exp(record[source]))
        record["label"], record["per"] = label, per
        if "cause" in row:
            record["cause_label"] = causes[cause - 1]
            record["label"] = f"{label} ({causes[cause - 1]})"
        out.append(record)
    return out


def package(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: StudyModel,
    schema: Schema,
    calibrated: Mapping[str, Any],
    results: Mapping[str, Any],
    home: RunFolder,
) -> None:
    """Write the bundle."""
    survival = task_of(spec).kind != "binary"
    pack(
        model,
        home.file("bundle"),
        meta={
            "study": {"id": spec.study.id, "title": spec.study.title},
            "intended_use": spec.study.intended_use,
            "intended_users": list(spec.study.intended_users),
            "not_for": list(spec.study.not_for),
            "outcome": {"label": outcome_label(spec), "unit": spec.outcome.unit},
            "thresholds": [calibrated["threshold"]["value"]],
            "created": results["created"],
        },
        schema=schema,
        extra_members={"README.md": model_card(dict(results))},
        horizons=list(spec.outcome.at()) if survival else None,
        times=time_grid(spec).tolist() if survival else None,
    )


def facts(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: StudyModel,
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
) -> Facts:
    """Return what the record says of the fitted model: its preparation, its inputs, and the simple model beside it."""
    train = split.parts["train"]
    schema = describe(
        model,
        cohort.matrix()[train],
        patient=cohort.patient[train],
        missing_codes={name: v.missing_codes for name, v in spec.variables.items() if v.missing_codes},
    )
    candidates = recipes_of(spec)[0]
    simple = simplest(candidates)
    return Facts(
        model={"preparation": [dict(step) for step in model.preparation.steps_], "ratio_name": model.recipe.ratio_name},
        simple=beside_simple(
            fitted,
            performance,
            primary_of(spec),
            name=simple.name,
            title=simple.title,
            others=len(candidates) > 1,
        ),
        inputs=inputs_of(schema),
        schema=schema,
    )


def inputs_of(schema: Schema) -> dict[str, Any]:
    """Return what the record says of the inputs of a packaged model of rows, and of what it refuses."""
    return {
        "inputs": [
            {
                "name": one.name,
                "label": one.label or one.name,
                "unit": one.unit,
                "kind": one.kind,
                "range": list(one.plausible or one.training_range or ()) or None,
                "training_range": list(one.training_range) if one.training_range else None,
                "categories": list(one.categories) or None,
                "required": one.required,
            }
            for one in schema.inputs
        ],
        "refusals": [{"code": code, "reason": reason} for code, reason in CODES.items()],
    }


def report(results: Mapping[str, Any], home: RunFolder) -> list[str]:
    """Write results, report and model card; each is generated from the results alone."""
    home.write_json("results.json", results)
    whole = home.read_json("results.json")
    home.write("report.html", render(whole))
    home.write("model_card.md", model_card(whole))
    return ["results.json", "report.html", "model_card.md"]
