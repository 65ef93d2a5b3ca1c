"""The catalogue of figures: one file a kind, each a function from a block of results to a drawing with its table."""

from aimed.core import Catalog

__all__ = ["FIGURES"]

FIGURES = Catalog(
    "figure",
    {
        "flow": ("aimed.report.figures.flow:draw", "Rows kept and removed at each step, then the parts."),
        "missingness": ("aimed.report.figures.missingness:draw", "Share of missing values a variable, by outcome."),
        "leaderboard": ("aimed.report.figures.leaderboard:draw", "Tuning scores of candidates and baselines."),
        "roc": ("aimed.report.figures.roc:draw", "Sensitivity against 1 - specificity, with a band."),
        "precision_recall": ("aimed.report.figures.precision_recall:draw", "Precision against recall, with a band."),
        "calibration": ("aimed.report.figures.calibration:draw", "Observed against predicted risk, with a histogram."),
        "decision_curve": ("aimed.report.figures.decision_curve:draw", "Net benefit across risk thresholds."),
        "survival_groups": ("aimed.report.figures.survival_groups:draw", "Survival or incidence by predicted risk."),
        "outcome_curve": ("aimed.report.figures.outcome_curve:draw", "Kaplan-Meier curve of the whole cohort."),
        "incidence_stack": ("aimed.report.figures.incidence_stack:draw", "Stacked incidences of competing events."),
        "over_time": ("aimed.report.figures.over_time:draw", "AUC and Brier score over follow-up."),
        "forest": ("aimed.report.figures.forest:draw", "Estimates by group with aligned columns."),
        "dots": ("aimed.report.figures.dots:draw", "Estimates by finding or group, several series a row."),
        "calibration_grid": ("aimed.report.figures.calibration_grid:draw", "Small calibration curves, one a finding."),
        "case_dice": ("aimed.report.figures.case_dice:draw", "Dice of every scan, sorted, a panel a region."),
        "froc": ("aimed.report.figures.froc:draw", "Lesions found against false ones a scan."),
        "volume_agreement": ("aimed.report.figures.volume_agreement:draw", "Differences of volumes against means."),
        "voxel_calibration": ("aimed.report.figures.voxel_calibration:draw", "Calibration of voxels, by region."),
        "expected_dice": ("aimed.report.figures.expected_dice:draw", "Expected against true Dice, and referral."),
        "learning": ("aimed.report.figures.learning:draw", "Losses and tune measure by epoch, the kept one marked."),
        "risk_coverage": ("aimed.report.figures.risk_coverage:draw", "Error among the cases that are kept."),
        "ratios_over_time": ("aimed.report.figures.ratios_over_time:draw", "How hazard ratios move over follow-up."),
        "nomogram": ("aimed.report.figures.nomogram:draw", "Points a value, their total, and the risk at each total."),
        "importance": ("aimed.report.figures.importance:draw", "How much each variable matters, with whiskers."),
        "effects": ("aimed.report.figures.effects:draw", "How the prediction moves with each variable."),
        "trial_flow": ("aimed.report.figures.trial_flow:draw", "From the source to the arms, as CONSORT asks."),
        "love_plot": ("aimed.report.figures.love_plot:draw", "Standardised differences between the arms."),
        "overlap": ("aimed.report.figures.overlap:draw", "Chance of treatment in each arm."),
        "arm_curves": ("aimed.report.figures.arm_curves:draw", "Risk over follow-up by arm."),
        "effect_forest": ("aimed.report.figures.effect_forest:draw", "Effects by estimator, subgroup or policy."),
        "risk_quarters": ("aimed.report.figures.risk_quarters:draw", "Effects by baseline risk."),
        "targeting": ("aimed.report.figures.targeting:draw", "Gain from ranking by predicted benefit."),
        "benefit_calibration": ("aimed.report.figures.benefit_calibration:draw", "Observed against predicted effects."),
        "targeted_fraction": ("aimed.report.figures.targeted_fraction:draw", "Outcome by the share treated."),
        "bias_grid": ("aimed.report.figures.bias_grid:draw", "Effect left under a hidden confounder."),
        "icon_array": ("aimed.report.figures.icon_array:draw", "Two fields of 100 patients."),
    },
)
