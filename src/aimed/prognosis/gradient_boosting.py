"""Gradient boosting: small trees added one by one, each correcting the risks of those before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.ensemble import HistGradientBoostingClassifier

from aimed.fit.recipe import Recipe

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE"]


def _build(parameters: Mapping[str, Any], seed: int) -> HistGradientBoostingClassifier:
    # Early stopping would hold out rows by chance and across patients; the number of trees is tuned instead.
    return HistGradientBoostingClassifier(**{"random_state": seed, "early_stopping": False, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
        "max_iter": trial.suggest_int("max_iter", 30, 200, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 3, 31, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 100, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 30.0, log=True),
        "max_features": trial.suggest_float("max_features", 0.3, 1.0),
    }


RECIPE = Recipe(
    name="gradient_boosting",
    title="Gradient boosting",
    description="Small trees are added one by one, each correcting the risks of those before it; takes missing values.",
    task="binary",
    family="tree",
    build=_build,
    space=_space,
    defaults={
        "learning_rate": 0.05,
        "max_iter": 100,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
        "max_features": 0.8,
    },
    preparation={"missing": "native", "standardise": False},
    store="skops",
)
"""The catalogue entry ``gradient_boosting``."""
