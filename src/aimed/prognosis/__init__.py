"""Prognosis: models that turn predictors into a risk or a survival curve, and the baselines they must beat."""

from aimed.core import Catalog

__all__ = ["MODELS"]

MODELS = Catalog(
    "model",
    {
        "logistic": (
            "aimed.prognosis.logistic:RECIPE",
            "Logistic regression, plain, ridge or lasso, with odds ratios.",
        ),
        "decision_tree": (
            "aimed.prognosis.decision_tree:RECIPE",
            "One small tree of yes/no questions.",
        ),
        "random_forest": (
            "aimed.prognosis.random_forest:RECIPE",
            "The mean of many trees grown on resamples.",
        ),
        "gradient_boosting": (
            "aimed.prognosis.gradient_boosting:RECIPE",
            "Small trees added one by one; takes missing values.",
        ),
        "prevalence": (
            "aimed.prognosis.prevalence:RECIPE",
            "Baseline: the same risk for everyone.",
        ),
        "cox": (
            "aimed.prognosis.cox:RECIPE",
            "Cox proportional hazards, Efron ties, ridge penalty, hazard ratios.",
        ),
        "cox_lasso": (
            "aimed.prognosis.cox_path:RECIPE",
            "Cox with a lasso or elastic-net penalty chosen by cross-validation.",
        ),
        "survival_forest": (
            "aimed.prognosis.survival_forest:RECIPE",
            "Mean survival curve of many trees; takes missing values.",
        ),
        "accelerated_failure_time": (
            "aimed.prognosis.parametric:RECIPE",
            "Weibull, log-normal or log-logistic times, with acceleration factors.",
        ),
        "royston_parmar": (
            "aimed.prognosis.royston_parmar:RECIPE",
            "Spline of log time, proportional hazards, hazard ratios.",
        ),
        "kaplan_meier": (
            "aimed.prognosis.kaplan_meier:RECIPE",
            "Baseline: the same survival curve for everyone.",
        ),
    },
    group="aimed.models",
)
"""Model families by name; each is a `aimed.fit.recipe.Recipe`, imported when asked for."""
