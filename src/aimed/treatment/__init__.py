"""Treatment: what an intervention does on average, for whom, how sure that is, and what a rule from it is worth."""

from aimed.core import Catalog

__all__ = ["AVERAGE", "LEARNERS"]

AVERAGE = Catalog(
    "estimator of the average effect",
    {
        "unadjusted": (
            "aimed.treatment.unadjusted:unadjusted",
            "Difference between the arms as they are.",
        ),
        "standardisation": (
            "aimed.treatment.standardisation:standardisation",
            "Outcome regression averaged over all patients (g-computation), robust variance.",
        ),
        "weighting": (
            "aimed.treatment.weighting:weighting",
            "Inverse probability of treatment, weights that sum to one.",
        ),
        "doubly_robust": (
            "aimed.treatment.doubly_robust:doubly_robust",
            "Augmented inverse probability weighting with cross-fitting.",
        ),
        "matching": (
            "aimed.treatment.matching:matching",
            "Nearest propensity scores, Abadie-Imbens variance.",
        ),
    },
)
"""Estimators of the average effect by name; each is a function from arrays to an `AverageEffect`."""

LEARNERS = Catalog(
    "learner of individual effects",
    {
        "zero_effect": (
            "aimed.treatment.constant_effect:ZeroEffect",
            "Comparator: no effect for anybody.",
        ),
        "constant_effect": (
            "aimed.treatment.constant_effect:ConstantEffect",
            "Comparator: the same effect for everyone.",
        ),
        "risk_based": (
            "aimed.treatment.risk_based:RiskBased",
            "Effect as a function of baseline risk alone (PATH).",
        ),
        "effect_model": (
            "aimed.treatment.effect_model:EffectModel",
            "Penalised regression with treatment interactions.",
        ),
        "s_learner": ("aimed.treatment.s_learner:SLearner", "One outcome model that takes the treatment as an input."),
        "t_learner": ("aimed.treatment.t_learner:TLearner", "One outcome model an arm."),
        "x_learner": ("aimed.treatment.x_learner:XLearner", "Imputed effects of each arm, weighed by propensity."),
        "r_learner": ("aimed.treatment.r_learner:RLearner", "Residual on residual regression, cross-fitted."),
        "dr_learner": ("aimed.treatment.dr_learner:DRLearner", "Regression of doubly robust scores, cross-fitted."),
        "causal_forest": (
            "aimed.treatment.causal_forest:CausalForest",
            "Honest forest of local effects, with intervals.",
        ),
        "bayesian_causal_forest": (
            "aimed.treatment.bayesian_forest:BayesianCausalForest",
            "Sums of small trees for outcome and effect, with credible intervals.",
        ),
    },
    group="aimed.learners",
)
"""Learners of individual effects by name; each follows EconML's verbs."""
