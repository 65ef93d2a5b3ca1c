"""A random forest: the mean of many trees, each grown on a resample of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.ensemble import RandomForestClassifier

from aimed.fit.recipe import Recipe

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE"]


def _build(parameters: Mapping[str, Any], seed: int) -> RandomForestClassifier:
    # Several jobs add up the trees in any order, and the last bits of the risk change with it.
    return RandomForestClassifier(**{"random_state": seed, "n_jobs": 1, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 300, step=100),
        "max_depth": trial.suggest_int("max_depth", 3, 20),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 100, log=True),
        "max_features": trial.suggest_float("max_features", 0.1, 1.0),
    }


RECIPE = Recipe(
    name="random_forest",
    title="Random forest",
    description="The mean risk of many decision trees, each grown on a resample of the patients and predictors.",
    task="binary",
    family="tree",
    build=_build,
    space=_space,
    defaults={"n_estimators": 200, "max_depth": 12, "min_samples_leaf": 10, "max_features": 0.4},
    preparation={"standardise": False},
    store="skops",
)
"""The catalogue entry ``random_forest``."""
