"""Metrics: how well predictions separate, agree with what happened and help decisions, each with an interval.

Plain arrays go in; numbers that know their interval come out::

    from aimed.metrics import auroc, harrell_c, interval
    auroc(y, score)                                  # a float with .lower .upper .se .n
    interval("uno_c", {...}, method="bca")           # any metric, by a method of choice

`METRICS` lists them; each is imported when it is asked for.
"""

from __future__ import annotations

from typing import Any

from aimed.core.catalog import Catalog

_HERE = "aimed.metrics"

METRICS = Catalog(
    "metric",
    {
        name: (f"{_HERE}.{where}:{name}", summary)
        for where, names in {
            "discrimination": {
                "auroc": "Chance that a row with the event has the higher score.",
                "auroc_test": "Paired difference of two AUROCs on the same rows.",
                "partial_auroc": "Area under the part of the ROC curve with few false positives.",
                "average_precision": "Mean positive predictive value over recall.",
            },
            "multilabel": {
                "multilabel_auroc": "AUROC of each target, their mean and that of all pairs pooled.",
                "multilabel_average_precision": "Average precision of each target, their mean and pooled.",
            },
            "report_labels": {"label_f1": "F1 score of certain positives among labels read out of reports."},
            "thresholds": {
                "confusion": "The two-by-two table at a threshold and its rates.",
                "threshold_at_sensitivity": "Highest threshold that reaches a sensitivity.",
                "threshold_at_specificity": "Lowest threshold that reaches a specificity.",
            },
            "proportions": {"proportion": "A share of independent rows."},
            "accuracy": {
                "brier": "Mean squared difference of risk and outcome.",
                "scaled_brier": "Brier score against predicting the prevalence.",
                "log_loss": "Mean negative log likelihood of the outcome.",
                "brier_decomposition": "Brier score as reliability, resolution and uncertainty.",
                "spiegelhalter": "Test of calibration from the Brier score.",
            },
            "calibration_binary": {
                "calibration": "Intercept, slope, O/E, smooth curve and distances, together.",
                "calibration_intercept": "Calibration in the large: shift on the log odds; 0 is right.",
                "calibration_slope": "Slope of the outcome on the log odds of risk; 1 is right.",
                "oe": "Observed events over expected events.",
                "ici": "Mean distance of risk from the smooth calibration curve.",
                "e50": "Median distance of risk from the smooth calibration curve.",
                "e90": "90th percentile of the distance from the smooth calibration curve.",
            },
            "calibration_survival": {
                "calibration_at": "Calibration of survival risks at a horizon, together.",
                "oe_at": "Kaplan-Meier risk over mean predicted risk.",
                "calibration_slope_at": "Hazard slope on the cloglog of the predicted risk; 1 is right.",
                "ici_at": "Mean distance from the calibration curve at a horizon.",
                "e50_at": "Median distance from the calibration curve at a horizon.",
                "e90_at": "90th percentile of the distance at a horizon.",
            },
            "concordance": {
                "harrell_c": "Share of usable pairs ranked rightly.",
                "uno_c": "Concordance up to tau, weighted for censoring.",
                "cause_specific_c": "Concordance for one of several competing events.",
                "concordance_test": "Paired difference of two concordances on the same rows.",
            },
            "survival_accuracy": {
                "dynamic_auc": "Cumulative/dynamic AUC at times.",
                "brier_survival": "Censoring-weighted Brier score at times.",
                "scaled_brier_survival": "Brier score at times against the Kaplan-Meier curve.",
                "integrated_brier": "Brier score integrated over a grid of times.",
                "brier_incidence": "Brier score of a predicted incidence among competing events.",
                "integrated_brier_incidence": "Brier score of an incidence integrated over a grid of times.",
            },
            "nonparametric": {
                "kaplan_meier": "Survival curve without a model.",
                "nelson_aalen": "Cumulative hazard without a model.",
                "log_rank": "Test of equal survival in groups, stratified if asked.",
                "rmst": "Restricted mean survival time.",
                "rmst_difference": "Difference and ratio of restricted mean survival times.",
            },
            "competing": {"aalen_johansen": "Cumulative incidence of competing events."},
            "utility": {
                "net_benefit": "True positives less weighted false positives, a row.",
                "net_benefit_difference": "Net benefit of one model less another's.",
                "net_benefit_survival": "Net benefit at a horizon under censoring.",
                "net_benefit_competing": "Net benefit at a horizon with competing events.",
            },
            "number_needed": {"number_needed_to_treat": "Patients treated for one to benefit."},
            "reclassification": {
                "nri": "Net reclassification improvement, with its warning.",
                "idi": "Integrated discrimination improvement, with its warning.",
            },
            "benefit": {
                "c_for_benefit": "Concordance of predicted and observed benefit of matched pairs.",
                "calibration_for_benefit": "Predicted against observed benefit.",
            },
            "targeting": {
                "rate": "Rank-weighted average treatment effect: AUTOC or Qini weights.",
                "toc": "Targeting operator characteristic.",
                "qini": "Gain of treating by predicted benefit over treating at random.",
                "policy_value": "Mean outcome under a treatment policy.",
                "policy_difference": "Value of a policy against another.",
            },
            "effect_loss": {
                "dr_loss": "Squared error of a predicted effect against doubly robust scores, less a constant's.",
                "r_loss": "Loss of a predicted effect on residuals, less that of a constant effect.",
                "effect_share_explained": "Share of the variance of the scores that a predicted effect explains.",
            },
            "heterogeneity": {
                "best_linear_predictor": "Slope of the true on the predicted effect, from doubly robust scores.",
                "calibration_test": "The same slope from residuals, as in grf.",
                "group_effects": "Mean effect in groups of predicted effect, with a test that they are equal.",
            },
            "agreement": {
                "cohen_kappa": "Agreement of two raters beyond chance.",
                "fleiss_kappa": "Agreement of several raters beyond chance.",
                "icc": "Intraclass correlation of measurements.",
                "bland_altman": "Bias and limits of agreement of two measurements.",
            },
            "segmentation": {
                "dice": "Overlap of two masks: twice what they share over what both hold.",
                "iou": "Overlap of two masks: what they share over what either holds.",
                "mask_sensitivity": "Share of the reference mask that was found.",
                "mask_specificity": "Share of what is outside the reference mask that was left out.",
                "mask_precision": "Share of the predicted mask that is in the reference.",
                "volume_difference": "Predicted volume less that of the reference, ml.",
                "relative_volume_difference": "Predicted volume less that of the reference, as a share of it.",
                "soft_dice": "Dice of a mask and a map of probabilities.",
                "generalised_dice": "One Dice over all labels of two maps, weighted by volume.",
            },
            "segmentation_boundary": {
                "hausdorff": "Largest distance of the boundaries of two masks, mm, or a percentile.",
                "hd95": "95th percentile of the distance of the boundaries of two masks, mm.",
                "average_surface_distance": "Mean distance over the elements of both boundaries, mm.",
                "mean_average_surface_distance": "Mean of both directed mean boundary distances, mm.",
                "surface_dice": "Share of both boundaries within a tolerance in mm of the other.",
            },
            "segmentation_lesions": {
                "lesion_sensitivity": "Share of the lesions of a case that were found.",
                "lesion_precision": "Share of the predicted lesions of a case that are lesions.",
                "lesion_f1": "F1 score of the detection of the lesions of a case.",
                "lesion_dice": "Lesion-wise Dice and distance of the BraTS challenges since 2023.",
                "panoptic_quality": "Detection and overlap of lesions in one number.",
                "froc": "Lesions found against false positives a case.",
            },
        }.items()
        for name, summary in names.items()
    },
    group="aimed.metrics",
)
"""Name → function of plain arrays, lazily imported."""

_ENGINE = {
    **dict.fromkeys(("adjust_p_values", "bootstrap", "compare", "difference", "interval"), f"{_HERE}.intervals"),
    **dict.fromkeys(("permutation_test",), f"{_HERE}.intervals"),
    **dict.fromkeys(("Curve", "Estimate"), f"{_HERE}.result"),
    **dict.fromkeys(("pool_rubin", "pooled_wald"), f"{_HERE}.pooling"),
}

__all__ = ["METRICS"]


def __getattr__(name: str) -> Any:
    if name in _ENGINE:
        import importlib

        return getattr(importlib.import_module(_ENGINE[name]), name)
    if not name.startswith("_") and name in METRICS.entries():
        return METRICS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ENGINE, *METRICS])
