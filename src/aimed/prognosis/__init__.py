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
        "survival_boosting": (
            "aimed.prognosis.survival_boosting:RECIPE",
            "Small trees added one by one to the hazard of each interval; takes missing values.",
        ),
        "accelerated_failure_time": (
            "aimed.prognosis.parametric:RECIPE",
            "Weibull, log-normal or log-logistic times, with acceleration factors.",
        ),
        "royston_parmar": (
            "aimed.prognosis.royston_parmar:RECIPE",
            "Spline of log time, proportional hazards, hazard ratios.",
        ),
        "deepsurv": (
            "aimed.prognosis.deepsurv:RECIPE",
            "Cox with a neural network in place of the weighted sum; training needs aimed[deep].",
        ),
        "logistic_hazard": (
            "aimed.prognosis.logistic_hazard:RECIPE",
            "Neural network for the hazard of each interval; also competing risks; training needs aimed[deep].",
        ),
        "deephit": (
            "aimed.prognosis.deephit:RECIPE",
            "Neural network for the time of each kind of event, made to rank; training needs aimed[deep].",
        ),
        "cause_specific_cox": (
            "aimed.prognosis.cause_specific_cox:RECIPE",
            "Competing risks: a Cox model for each kind of event, put together to incidence.",
        ),
        "fine_gray": (
            "aimed.prognosis.fine_gray:RECIPE",
            "Competing risks: proportional hazards of the incidence itself.",
        ),
        "aalen_johansen": (
            "aimed.prognosis.aalen_johansen:RECIPE",
            "Baseline with competing risks: the same incidence for everyone.",
        ),
        "kaplan_meier": (
            "aimed.prognosis.kaplan_meier:RECIPE",
            "Baseline: the same survival curve for everyone.",
        ),
    },
    group="aimed.models",
)
"""Model families by name; each is a `aimed.fit.recipe.Recipe`, imported when asked for."""
