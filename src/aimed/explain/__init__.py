"""What a fitted model uses: importance, contributions, effects, reasons and a check that they are not noise."""

from aimed.core import Catalog

__all__ = ["EXPLAINERS"]

EXPLAINERS = Catalog(
    "explainer",
    {
        "permutation": (
            "aimed.explain.permutation:permutation_importance",
            "Loss of a performance measure when one variable is shuffled among rows.",
        ),
        "shap": (
            "aimed.explain.shap_values:shap_values",
            "Additive contributions of each variable to each prediction of a linear or tree model.",
        ),
        "effects": (
            "aimed.explain.effects:effects",
            "Mean risk along a variable: accumulated local effects and partial dependence.",
        ),
        "reasons": ("aimed.explain.reasons:reasons", "The largest contributions to each single prediction."),
        "sanity": (
            "aimed.explain.sanity:randomised_outcome",
            "Importance after refitting on a shuffled outcome, which must collapse.",
        ),
    },
    group="aimed.explainers",
)
