"""Which learners a study of effects compares, in the order of their simplicity, and the comparators beside them."""

from __future__ import annotations

import inspect
from typing import Any

from aimed.core import StudyFileError, UnknownNameError
from aimed.study.spec import StudySpec
from aimed.study.tasks import task_of
from aimed.treatment import LEARNERS
from aimed.treatment.base_learners import BASE_LEARNERS

__all__ = ["COMPARATORS", "TITLES", "effect_learners_of", "learner_named"]

COMPARATORS = ("zero_effect", "constant_effect")
"""What stands beside every learner: nobody has an effect, and everyone has the same."""

_OBSERVATIONAL = ("r_learner", "dr_learner", "causal_forest")
"""Candidates where treatment was not randomised: each has a place for covariates that are no modifiers."""

TITLES = {
    "zero_effect": "No effect",
    "constant_effect": "Same effect for everyone",
    "risk_based": "Risk-based model",
    "effect_model": "Regression with treatment interactions",
    "s_learner": "S-learner",
    "t_learner": "T-learner",
    "x_learner": "X-learner",
    "r_learner": "R-learner",
    "dr_learner": "DR-learner",
    "causal_forest": "Causal forest",
    "bayesian_causal_forest": "Bayesian causal forest",
}
"""What learners are called in tables."""


def effect_learners_of(spec: StudySpec) -> tuple[list[str], list[str]]:
    """Return the names of candidates, as the study file orders them, and of comparators.

    Raises
    ------
    UnknownNameError
        If there is no such learner or base learner.
    StudyFileError
        If a comparator is named as a candidate, a baseline is none, or a learner does not take a parameter.
    """
    task = task_of(spec)
    randomised = spec.treatment is not None and spec.treatment.assignment == "randomised"
    candidates = list(spec.model.candidates or (task.candidates if randomised else _OBSERVATIONAL))
    for name in candidates:
        if name in COMPARATORS:
            raise StudyFileError(f"'{name}' is a candidate", "a learner; comparators always stand beside it")
        learner_named(spec, name)
    baselines = list(spec.model.baselines or task.baselines)
    for name in baselines:
        if name not in COMPARATORS:
            raise StudyFileError(f"the baseline '{name}' in a study of effects", f"one of: {', '.join(COMPARATORS)}")
    for name in (spec.model.outcome_model, spec.model.propensity_model):
        if name not in BASE_LEARNERS:
            raise UnknownNameError("base learner", name, BASE_LEARNERS)
    return candidates, list(dict.fromkeys((*COMPARATORS, *baselines)))


def learner_named(spec: StudySpec, name: str) -> Any:
    """Return an unfitted learner with the parameters of the study file and its seed.

    Raises
    ------
    StudyFileError
        If the learner does not take a parameter.
    """
    kind = LEARNERS[name]
    known = set(inspect.signature(kind).parameters)
    given = dict(spec.model.parameters.get(name, {}))
    for key in given:
        if key not in known:
            raise StudyFileError(
                f"[model] parameters.{name} has '{key}', which {TITLES.get(name, name)} does not take",
                f"one of: {', '.join(sorted(known))}" if known else "none",
            )
    if "doubly_robust" in known and (spec.treatment is None or spec.treatment.assignment != "randomised"):
        # A regression on risk alone adjusts for risk alone.
        given.setdefault("doubly_robust", True)
    if "random_state" in known:
        given.setdefault("random_state", spec.study.seed)
    return kind(**given)
