"""Metrics: how well predictions separate, agree with what happened and help decisions, each with an interval.

Plain arrays go in; floats, small records and dictionaries come out. Modules are imported by their own name, such as
``from aimed.metrics.binary import auroc``; `METRICS` lists the single-number measures and imports them when asked.
"""

from __future__ import annotations

from aimed.core.catalog import Catalog

__all__ = ["METRICS"]

METRICS = Catalog(
    "metric",
    {
        "auroc": ("aimed.metrics.binary:auroc", "Chance that a row with the event has the higher risk."),
        "auprc": ("aimed.metrics.binary:auprc", "Average precision: mean positive predictive value over recall."),
        "brier": ("aimed.metrics.binary:brier", "Mean squared difference of risk and outcome."),
        "scaled_brier": ("aimed.metrics.binary:scaled_brier", "Brier score against predicting the prevalence."),
        "log_loss": ("aimed.metrics.binary:log_loss", "Mean negative log likelihood of the outcome."),
        "calibration_intercept": (
            "aimed.metrics.calibration_binary:calibration_intercept",
            "Calibration in the large: shift on the log odds; 0 is right.",
        ),
        "calibration_slope": (
            "aimed.metrics.calibration_binary:calibration_slope",
            "Slope of the outcome on the log odds of risk; 1 is right.",
        ),
        "oe": ("aimed.metrics.calibration_binary:oe", "Observed events over expected events."),
        "ici": ("aimed.metrics.calibration_binary:ici", "Mean distance of risk from the smooth calibration curve."),
        "e50": ("aimed.metrics.calibration_binary:e50", "Median distance of risk from the smooth calibration curve."),
        "e90": ("aimed.metrics.calibration_binary:e90", "90th percentile of that distance."),
        "net_benefit": ("aimed.metrics.utility:net_benefit", "True positives less weighted false positives, a row."),
        "harrell_c": ("aimed.metrics.survival:harrell_c", "Share of usable pairs ranked rightly, censored rows left."),
        "uno_c": ("aimed.metrics.survival:uno_c", "Concordance up to tau, weighted for censoring."),
        "auc_at": ("aimed.metrics.survival:auc_at", "Cumulative/dynamic AUC at a horizon."),
        "brier_at": ("aimed.metrics.survival:brier_at", "Censoring-weighted Brier score at a horizon."),
        "scaled_brier_at": (
            "aimed.metrics.survival:scaled_brier_at",
            "Brier score at a horizon against the Kaplan-Meier null model.",
        ),
        "ibs": ("aimed.metrics.survival:ibs", "Brier score integrated over a grid of times."),
        "oe_at": ("aimed.metrics.calibration_survival:oe_at", "Kaplan-Meier risk over mean predicted risk."),
        "calibration_slope_at": (
            "aimed.metrics.calibration_survival:calibration_slope_at",
            "Hazard slope on the cloglog of the predicted risk; 1 is right.",
        ),
        "ici_at": (
            "aimed.metrics.calibration_survival:ici_at",
            "Mean distance from the calibration curve at a horizon.",
        ),
        "e50_at": ("aimed.metrics.calibration_survival:e50_at", "Median distance from that curve."),
        "e90_at": ("aimed.metrics.calibration_survival:e90_at", "90th percentile of the distance from that curve."),
        "net_benefit_at": ("aimed.metrics.utility:net_benefit_at", "Net benefit at a horizon under censoring."),
    },
    group="aimed.metrics",
)
"""Name → function returning one float, lazily imported."""
