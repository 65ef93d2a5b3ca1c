"""Which models a study names: candidates, baselines, published formulas and published scores, as recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aimed.core import StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis import MODELS
from aimed.prognosis.published import published_recipe
from aimed.prognosis.scores import SCORES
from aimed.prognosis.scores.columns import Source
from aimed.prognosis.scores.model import score_recipe
from aimed.prognosis.scores.units import same_unit
from aimed.study.spec import ScoreInput, StudySpec
from aimed.study.tasks import table_kind, task_of

__all__ = ["model_names", "recipe_named", "recipes_of", "simplest"]


def recipe_named(spec: StudySpec, name: str) -> Recipe:
    """Return a recipe by catalogue name, a published formula by ``published:NAME``, or a score by ``score:NAME``.

    Raises
    ------
    StudyFileError
        If there is no such model, or it predicts another kind of outcome.
    """
    kind = table_kind(spec)
    if name.startswith("published:"):
        key = name.removeprefix("published:")
        if key not in spec.model.published:
            raise StudyFileError(
                f"the baseline '{name}' is not described", f"a table [model.published.{key}]", "add it with its source"
            )
        formula = spec.model.published[key]
        return published_recipe(
            name=name,
            source=formula.source,
            intercept=formula.intercept,
            coefficients=formula.coefficients,
            link=formula.link,
            baseline_survival={float(t): s for t, s in formula.baseline_survival.items()} or None,
            mean_linear_predictor=formula.mean_linear_predictor,
            task=kind,
            horizon=float(spec.outcome.at()[-1]) if kind == "competing" else None,
        )
    if name.startswith("score:"):
        return _score_named(spec, name)
    recipe: Recipe = MODELS[name]
    if kind not in (recipe.task, *recipe.also):
        fitting = sorted(n for n in MODELS if kind in (MODELS[n].task, *MODELS[n].also))
        raise StudyFileError(
            f"the model '{name}' is for {recipe.task} outcomes", f"one for this task: {', '.join(fitting)}"
        )
    recipe = recipe.for_task(kind)
    if kind != "competing":
        return recipe
    return replace(_declared(recipe, 1 + len(spec.outcome.competing)), horizon=float(spec.outcome.at()[-1]))


def _declared(recipe: Recipe, causes: int) -> Recipe:
    """Return the recipe with estimators that know how many causes there are: a fold may lack a rare one."""

    def build(parameters: Mapping[str, Any], seed: int) -> Any:
        estimator = recipe.build(parameters, seed)
        return estimator.set_params(causes=causes) if "causes" in estimator.get_params() else estimator

    return replace(recipe, build=build)


def _score_named(spec: StudySpec, name: str) -> Recipe:
    """Return the recipe of ``score:NAME``, or of ``score:NAME:recalibrated``."""
    if task_of(spec).kind == "competing":
        raise StudyFileError(
            f"the baseline '{name}' in a study with competing events",
            "a baseline that predicts incidence",
            "use 'aalen_johansen', or a published formula",
        )
    key, _, how = name.removeprefix("score:").partition(":")
    if how not in ("", "recalibrated"):
        raise StudyFileError(f"the baseline '{name}'", f"'score:{key}' or 'score:{key}:recalibrated'")
    table = spec.model.scores.get(key, {})
    sources = {}
    for one in SCORES[key].inputs:
        if one.name in table:
            sources[one.name] = _source(spec, key, one.name, table[one.name])
        elif one.kind == "number" and (declared := spec.variables.get(one.name)) is not None and declared.unit:
            sources[one.name] = Source(column=one.name, unit=declared.unit)
    for given in table:
        SCORES[key].input(given)
    kind = table_kind(spec)
    days = {"day": 1.0, "month": 30.4375, "year": 365.25}[spec.outcome.unit]
    horizon = max((h * days for h in spec.outcome.at()), default=None)
    if kind == "survival" and spec.evaluate.tau_days is not None:
        horizon = max(horizon or 0.0, spec.evaluate.tau_days * days)
    return score_recipe(
        name, key, sources, task=kind, recalibrate=how == "recalibrated", horizon_days=horizon, days=days
    )


def _source(spec: StudySpec, score: str, name: str, given: ScoreInput) -> Source:
    """Return where an input comes from, with the unit that the study file says, once or twice the same."""
    column = given.column or name
    declared = spec.variables.get(column) if given.value is None else None
    unit = given.unit
    if declared is not None and declared.unit and SCORES[score].input(name).kind == "number":
        if unit is not None and not same_unit(unit, declared.unit):
            raise StudyFileError(
                f"[model.scores.{score}] {name} says '{unit}', [variables.{column}] says '{declared.unit}'",
                "one unit for one column",
                "correct one of them",
            )
        unit = declared.unit
    value = float(given.value) if isinstance(given.value, int | float) else given.value
    return Source(column=given.column, unit=unit, any_of=given.any_of, value=value, levels=dict(given.levels) or None)


def recipes_of(spec: StudySpec) -> tuple[list[Recipe], list[Recipe]]:
    """Return candidates and baselines; the task's own when the study file names none.

    Raises
    ------
    StudyFileError
        If a score is named as a candidate, or a table of [model.scores] belongs to no baseline.
    """
    task = task_of(spec)
    scores = [n.removeprefix("score:").partition(":")[0] for n in spec.model.baselines if n.startswith("score:")]
    for name in spec.model.candidates:
        if name.startswith("score:"):
            raise StudyFileError(f"'{name}' is a candidate", "a score as a baseline", "move it to [model] baselines")
    candidates = [recipe_named(spec, n) for n in spec.model.candidates or task.candidates]
    baselines = [recipe_named(spec, n) for n in spec.model.baselines or task.baselines]
    for key in spec.model.scores:
        SCORES.entry(key)
        if key not in scores:
            raise StudyFileError(
                f"[model.scores.{key}] belongs to no baseline",
                f"baselines = ['score:{key}']",
                "add it or remove the table",
            )
    return candidates, baselines


def model_names(spec: StudySpec) -> tuple[list[str], list[str]]:
    """Return the names of candidates and baselines of any study, checked."""
    if spec.images is not None:
        from aimed.study.picture_models import picture_recipes_of

        found, beside = picture_recipes_of(spec)
        return [r.name for r in found], beside
    if spec.volumes is not None:
        from aimed.study.volume_models import volume_recipes_of

        outliners, simple = volume_recipes_of(spec)
        return [r.name for r in outliners], simple
    if spec.notes is not None:
        from aimed.study.note_models import note_models_of

        return note_models_of(spec)
    if spec.treatment is not None:
        from aimed.study.effect_models import effect_learners_of

        return effect_learners_of(spec)
    candidates, baselines = recipes_of(spec)
    return [r.name for r in candidates], [r.name for r in baselines]


def simplest(candidates: Sequence[Recipe]) -> Recipe:
    """Return the simplest candidate: the first linear one, else the first."""
    return next((c for c in candidates if c.family == "linear"), candidates[0])
