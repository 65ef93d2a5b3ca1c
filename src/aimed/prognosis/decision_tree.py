"""A single decision tree: a handful of yes/no questions that fit on a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.tree import DecisionTreeClassifier

from aimed.fit.recipe import Recipe

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE"]


def _build(parameters: Mapping[str, Any], seed: int) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(**{"random_state": seed, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "max_depth": trial.suggest_int("max_depth", 1, 8),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 100, log=True),
        "criterion": trial.suggest_categorical("criterion", ("gini", "log_loss")),
    }


RECIPE = Recipe(
    name="decision_tree",
    title="Decision tree",
    description="A few yes/no questions lead to a group of patients; the risk is the share of events in it.",
    task="binary",
    family="tree",
    build=_build,
    space=_space,
    defaults={"max_depth": 4, "min_samples_leaf": 20, "criterion": "log_loss"},
    preparation={"standardise": False},
    store="skops",
)
"""The catalogue entry ``decision_tree``."""
