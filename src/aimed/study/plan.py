"""What a run would do, and how long and how much memory it would take, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aimed.core import Cohort
from aimed.study.spec import StudySpec
from aimed.study.tasks import primary_of, task_of

__all__ = ["Plan", "make_plan"]

# Seconds to fit one model on 100,000 cells (rows x columns), measured on a 2-core laptop; an order of magnitude.
_FIT_SECONDS = {
    "logistic": 0.06,
    "decision_tree": 0.1,
    "random_forest": 2.5,
    "gradient_boosting": 0.5,
    "cox": 0.02,
    "cox_lasso": 0.3,
    "survival_forest": 0.5,
    "cause_specific_cox": 0.05,
    "fine_gray": 0.3,
    "prevalence": 0.005,
    "kaplan_meier": 0.005,
}

_PIXEL_SECONDS = {"small_cnn": 1.6e-7, "densenet121": 1.5e-6}
"""Seconds of training a pixel of a picture takes in an epoch, measured on two cores; an order of magnitude."""
_EPOCHS = 30
_VOXEL_SECONDS = 4e-7
"""Seconds of training a voxel of a sub-volume takes with 16 channels at the finest scale; an order of magnitude."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a run with their size."""

    steps: tuple[tuple[str, str], ...]
    seconds: float
    memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "steps": [{"stage": name, "what": what} for name, what in self.steps],
            "seconds": self.seconds,
            "memory_mb": self.memory_mb,
        }


def make_plan(spec: StudySpec, cohort: Cohort) -> Plan:
    """Return the plan of a study.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
        As read; nothing is fitted.
    """
    if spec.images is not None:
        return _plan_of_pictures(spec, cohort)
    if spec.volumes is not None:
        return _plan_of_volumes(spec, cohort)
    if spec.notes is not None:
        return _plan_of_notes(spec, cohort)
    if spec.treatment is not None:
        return _plan_of_effects(spec, cohort)
    task = task_of(spec)
    candidates = spec.model.candidates or task.candidates
    baselines = spec.model.baselines or task.baselines
    folds, trials = spec.split.tune.folds, spec.tune.trials
    p = len(cohort.predictors)
    cells = cohort.n * p / 1e5
    fit = sum((0.02 + _FIT_SECONDS.get(c, 0.5) * cells) * folds * trials for c in candidates)
    fit = min(fit, spec.tune.seconds())
    other = 4.0 + cohort.n * spec.evaluate.draws * 6e-7 * (1 + len(spec.subgroups.columns))
    steps = (
        ("read", f"{cohort.n:,} rows of {cohort.patients:,} patients, {p} predictors, from {cohort.source}"),
        ("check", "leakage, duplicates, outcome, units, missing values, sample size"),
        ("split", f"test part: {_test_part(spec)}; {folds} tuning folds by patient; locked in splits.lock"),
        (
            "fit",
            f"{', '.join(candidates)} against {', '.join(baselines)}; "
            f"up to {trials} trials each within {spec.tune.budget}",
        ),
        (
            "calibrate",
            ", ".join(spec.calibrate.methods)
            if task.kind == "binary"
            else "none: models of time to event are judged as fitted",
        ),
        (
            "evaluate",
            f"opens the test part; primary {primary_of(spec)}; {spec.evaluate.draws} bootstrap draws by patient",
        ),
        (
            "explain",
            f"permutation importance ({spec.explain.repeats} repeats), SHAP, "
            f"effects of {spec.explain.effects} predictors",
        ),
        ("audit", f"subgroups: {', '.join(spec.subgroups.columns) or 'none declared'}"),
        ("report", "results.json, report.html, model_card.md"),
        ("package", "bundle/ without pickle, with golden cases"),
    )
    return Plan(
        steps=steps, seconds=round(fit + other, 0), memory_mb=round(350 + cohort.n * (p + 10) * 8 * 6 / 2**20, 0)
    )


_LEARNER_SECONDS = {"causal_forest": 0.5, "bayesian_causal_forest": 4.0}
"""Of learners that are slower than the others: seconds for 1,000 rows."""


def _plan_of_effects(spec: StudySpec, cohort: Cohort) -> Plan:
    """Return the plan of a study of effects."""
    from aimed.study.effect_average import primary_estimator
    from aimed.study.effect_data import EffectData
    from aimed.study.effect_models import effect_learners_of

    candidates, comparators = effect_learners_of(spec)
    data, folds, thousands = EffectData(spec, cohort), spec.split.tune.folds, cohort.n / 1000
    fit = sum((0.1 + _LEARNER_SECONDS.get(name, 0.1) * thousands) * (folds + 1) for name in candidates)
    other = 8.0 + 0.02 * spec.sensitivity.placebos * (1 + thousands)
    at = spec.outcome.at()
    by = f" by {at[0]:g} {spec.outcome.unit}s" if at else ""
    steps = (
        (
            "read",
            f"{cohort.n:,} rows of {cohort.patients:,} patients, {int(data.treated.sum()):,} with the active "
            f"treatment, from {cohort.source}",
        ),
        ("check", "arms, overlap, leakage, duplicates, outcome, units, missing values"),
        ("split", f"test part: {_test_part(spec)}; {folds} tuning folds by patient; locked in splits.lock"),
        ("fit", f"{', '.join(candidates)} against {', '.join(comparators)}, by DR-loss"),
        ("calibrate", "none; rules of treatment are made on the training part"),
        (
            "evaluate",
            f"opens the test part; {', '.join(spec.contrasts())}{by} by {primary_estimator(spec)}; "
            f"{spec.sensitivity.placebos} permuted treatments",
        ),
        ("explain", f"what effects depend on, of {len(data.modifiers)} modifiers; statements for typical patients"),
        ("audit", f"effects in subgroups: {', '.join(spec.subgroups.columns) or 'none declared'}"),
        ("report", "results.json, report.html, model_card.md"),
        ("package", "bundle/ without pickle, with golden cases"),
    )
    memory = 400 + cohort.n * (len(cohort.predictors) + 10) * 8 * 10 / 2**20
    return Plan(steps=steps, seconds=round(fit + other, 0), memory_mb=round(memory, 0))


def _plan_of_volumes(spec: StudySpec, cohort: Cohort) -> Plan:
    """Return the plan of a segmentation study, with the grid and sub-volumes that its training scans ask for."""
    from aimed.study.picture_stages import tune_part
    from aimed.study.stages import draw_split
    from aimed.study.volume_models import volume_recipes_of
    from aimed.study.volume_stages import plan_for
    from aimed.study.volumes import channels_of

    candidates, baselines = volume_recipes_of(spec)
    learns = tune_part(draw_split(spec, cohort))[0]
    seconds, memory, told = 10.0, 900.0, []
    for recipe in candidates:
        plan = plan_for(spec, cohort, learns, recipe)
        chosen = {**plan.parameters(), **recipe.parameters(spec.model.parameters.get(recipe.name, {}))}
        epochs, each = int(chosen.get("max_epochs", 50)), int(chosen.get("patches_per_scan", 4))
        voxels = float(np.prod(plan.patch_size))
        work = voxels * plan.widths[0] / 16 * int(chosen.get("n_estimators", 1))
        seconds += learns.size * each * epochs * work * _VOXEL_SECONDS
        memory = max(memory, 900.0 + voxels * plan.widths[0] * plan.batch_size * 60 / 2**20)
        grid = " x ".join(f"{mm:.3g}" for mm in plan.spacing)
        size = " x ".join(map(str, plan.patch_size))
        told.append(f"{recipe.title} (grid {grid} mm, sub-volumes {size}, up to {epochs} epochs)")
    steps = (
        (
            "read",
            f"{cohort.n:,} scans of {cohort.patients:,} patients, {len(channels_of(cohort))} channels, from "
            f"{cohort.source}; read once into a cache",
        ),
        ("check", "patients, copies, grids, order of channels, labels"),
        (
            "split",
            f"test part: {_test_part(spec)}; a tune part of 1/{spec.split.tune.folds} of the training patients; "
            "locked in splits.lock",
        ),
        ("fit", f"{', '.join(told)} against {', '.join(baselines)}; regions: {', '.join(spec.outcome.regions)}"),
        ("calibrate", "how far expected Dice and volumes can be trusted, on the tune part"),
        (
            "evaluate",
            f"opens the test part; primary {primary_of(spec)}; {spec.evaluate.draws} bootstrap draws by patient; "
            "lesions, volumes, doubt, damaged scans",
        ),
        ("explain", "which contrast is needed, heat maps with sanity checks, and cases"),
        ("audit", f"subgroups: {', '.join(spec.subgroups.columns) or 'none declared'}"),
        ("report", "results.json, report.html, model_card.md"),
        ("package", "bundle/ without pickle, with golden cases"),
    )
    return Plan(steps=steps, seconds=round(seconds, 0), memory_mb=round(memory, 0))


def _test_part(spec: StudySpec) -> str:
    test = spec.split.test
    return {
        "patient": f"{test.fraction:.0%} of patients at random, stratified by outcome",
        "time": f"patients from {test.start} on",
        "site": f"sites {', '.join(test.hold_out)}",
        "column": f"the column {test.column}",
    }[test.by]


_NOTE_SECONDS = {"lexicon": 2e-4, "words": 4e-3, "combined": 6e-3, "encoder": 5e-2}
"""Seconds a note takes in one fit, measured on two cores; an order of magnitude."""


def _plan_of_notes(spec: StudySpec, cohort: Cohort) -> Plan:
    """Return the plan of a study of notes: each reader is fitted once a fold, and once more if it is chosen."""
    from aimed.study.note_models import TITLES, note_models_of

    candidates, baselines = note_models_of(spec)
    folds = spec.split.tune.folds
    findings = len(spec.outcome.findings)
    fit = sum(_NOTE_SECONDS[name] * cohort.n * (folds + 1) * (1 + findings / 14) / 2 for name in candidates)
    steps = (
        ("read", f"{cohort.n:,} notes of {cohort.patients:,} patients, from {cohort.source}; cleaned once"),
        ("check", "patients, notes that repeat each other, labels that contradict each other, identifiers"),
        (
            "split",
            f"test part: {_test_part(spec)}; {folds} tuning folds by patient; locked in splits.lock",
        ),
        (
            "fit",
            f"{', '.join(TITLES[name].lower() for name in candidates)} against "
            f"{', '.join(TITLES[name].lower() for name in baselines)}; {findings} findings",
        ),
        ("calibrate", f"{', '.join(spec.calibrate.methods)}, thresholds and sets, finding by finding over the folds"),
        (
            "evaluate",
            f"opens the test part; primary {primary_of(spec)}; {spec.evaluate.draws} bootstrap draws by patient; "
            "assertions, classes of error, damaged notes",
        ),
        ("explain", "words that weigh most, and errors with their evidence"),
        ("audit", f"subgroups: {', '.join(spec.subgroups.columns) or 'none declared'}"),
        ("report", "results.json, report.html, model_card.md"),
        ("package", "bundle/ without pickle, with golden notes"),
    )
    return Plan(steps=steps, seconds=round(fit + 15.0, 0), memory_mb=round(500 + cohort.n * 0.02, 0))


def _plan_of_pictures(spec: StudySpec, cohort: Cohort) -> Plan:
    """Return the plan of a study of pictures: what training takes is counted by pictures, pixels and epochs."""
    from aimed.study.picture_models import picture_recipes_of
    from aimed.study.picture_pretraining import pretrained_networks

    candidates, baselines = picture_recipes_of(spec)
    images = spec.images
    if images is None:
        raise TypeError("a study of pictures is needed")
    seconds, told = 10.0, []
    pixels = cohort.n * images.size**2
    for recipe in candidates:
        chosen = recipe.parameters(spec.model.parameters.get(recipe.name, {}))
        epochs = 1 if recipe.probe else int(chosen.get("max_epochs", _EPOCHS))
        passes = epochs * int(chosen.get("n_estimators", 1))
        seconds += pixels * passes * _PIXEL_SECONDS[recipe.architecture] * (0.3 if recipe.probe else 0.6)
        told.append(f"{recipe.title} ({'features once' if recipe.probe else f'up to {epochs} epochs'})")
    findings = ", ".join(spec.outcome.findings)
    if images.pretrain is not None:
        epochs, networks = images.pretrain.epochs, pretrained_networks(spec, candidates)
        views = 2 if images.pretrain.method == "contrastive" else 1
        seconds += sum(pixels * epochs * views * _PIXEL_SECONDS[name] * 0.6 for name, _ in networks)
        told.append(f"pretrained without labels ({images.pretrain.method}, {epochs} epochs)")
    steps = (
        (
            "read",
            f"{cohort.n:,} pictures of {cohort.patients:,} patients at {images.size} x {images.size} pixels, from "
            f"{cohort.source}; decoded once into a cache",
        ),
        ("check", "patients, copies, frames, labels, and what else than the lungs tells a finding"),
        (
            "split",
            f"test part: {_test_part(spec)}; a tune part of 1/{spec.split.tune.folds} of the training patients; "
            "locked in splits.lock",
        ),
        ("fit", f"{', '.join(told)} against {', '.join(baselines)}; findings: {findings}"),
        ("calibrate", f"{', '.join(spec.calibrate.methods)}, thresholds and sets, finding by finding on the tune part"),
        (
            "evaluate",
            f"opens the test part; primary {primary_of(spec)}; {spec.evaluate.draws} bootstrap draws by patient; "
            "shortcuts, within views, damaged pictures",
        ),
        ("explain", "heat maps with sanity checks, and cases"),
        ("audit", f"subgroups: {', '.join(spec.subgroups.columns) or 'none declared'}"),
        ("report", "results.json, report.html, model_card.md"),
        ("package", "bundle/ without pickle, with golden cases"),
    )
    return Plan(steps=steps, seconds=round(seconds, 0), memory_mb=round(900 + 64 * images.size**2 * 4 * 60 / 2**20, 0))
