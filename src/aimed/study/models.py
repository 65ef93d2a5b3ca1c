"""Which models a study names: candidates, baselines and published formulas, as recipes."""

from __future__ import annotations

from collections.abc import Sequence

from aimed.core import StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis import MODELS
from aimed.prognosis.published import published_recipe
from aimed.study.spec import StudySpec
from aimed.study.tasks import task_of

__all__ = ["recipe_named", "recipes_of", "simplest"]


def recipe_named(spec: StudySpec, name: str) -> Recipe:
    """Return a recipe by catalogue name, or a published formula by ``published:NAME``.

    Raises
    ------
    StudyFileError
        If there is no such model, or it predicts another kind of outcome.
    """
    kind = task_of(spec).kind
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
        )
    recipe: Recipe = MODELS[name]
    if recipe.task != kind:
        fitting = sorted(n for n in MODELS if MODELS[n].task == kind)
        raise StudyFileError(
            f"the model '{name}' is for {recipe.task} outcomes", f"one for this task: {', '.join(fitting)}"
        )
    return recipe


def recipes_of(spec: StudySpec) -> tuple[list[Recipe], list[Recipe]]:
    """Return candidates and baselines; the task's own when the study file names none."""
    task = task_of(spec)
    candidates = [recipe_named(spec, n) for n in spec.model.candidates or task.candidates]
    baselines = [recipe_named(spec, n) for n in spec.model.baselines or task.baselines]
    return candidates, baselines


def simplest(candidates: Sequence[Recipe]) -> Recipe:
    """Return the simplest candidate: the first linear one, else the first."""
    return next((c for c in candidates if c.family == "linear"), candidates[0])
