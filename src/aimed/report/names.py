"""What each measure is called, which way is better and where its line of no effect lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aimed.report import numbers

__all__ = [
    "MASKS",
    "MEASURES",
    "MeasureName",
    "Unit",
    "describe",
    "in_words",
    "is_horizon",
    "lower",
    "split_name",
    "title",
]

Better = Literal["higher", "lower", "target"]


@dataclass(frozen=True, slots=True)
class MeasureName:
    """One measure in words.

    Parameters
    ----------
    title : str
        Name for people.
    better : {"higher", "lower", "target"}
        Which way is better; ``target`` means as near to `reference` as possible.
    reference : float or None
        Value of no skill (chance) or, for a target, the ideal value.
    group : str
        Heading of the table of measures.
    says : str
        What it measures, in one sentence.
    unit : str
        Unit it is measured in; empty for shares and ratios.
    digits : int
        Decimals it is written with.
    """

    title: str
    better: Better
    reference: float | None
    group: str
    says: str
    unit: str = ""
    digits: int = 3


class Unit(str):
    """Unit of time, singular, that also knows the findings by key: the words for what follows the @ of a measure.

    Parameters
    ----------
    text : str
    findings : mapping of str to str
        Key of a finding → its label.

    Examples
    --------
    >>> title("auroc@pleural_effusion", Unit("day", {"pleural_effusion": "Pleural effusion"}))
    'AUROC of pleural effusion'
    """

    __slots__ = ("findings",)
    findings: Mapping[str, str]

    def __new__(cls, text: str = "day", findings: Mapping[str, str] | None = None) -> Unit:
        """Return the unit with its findings."""
        made = super().__new__(cls, text)
        made.findings = dict(findings or {})
        return made


MEASURES: dict[str, MeasureName] = {
    "auroc": MeasureName(
        "AUROC", "higher", 0.5, "Discrimination", "Chance that a patient with the outcome has the higher risk."
    ),
    "auprc": MeasureName(
        "Average precision",
        "higher",
        None,
        "Discrimination",
        "Area under precision against recall; chance = prevalence.",
    ),
    "harrell_c": MeasureName(
        "Harrell's C", "higher", 0.5, "Discrimination", "Share of comparable pairs ranked in the right order."
    ),
    "uno_c": MeasureName(
        "Uno's C", "higher", 0.5, "Discrimination", "Share of pairs ranked in the right order, weighted for censoring."
    ),
    "cause_specific_c": MeasureName(
        "Cause-specific C",
        "higher",
        0.5,
        "Discrimination",
        "Share of pairs in the right order; a patient with another event counts as never having this one.",
    ),
    "auc": MeasureName(
        "AUC", "higher", 0.5, "Discrimination", "Chance that an early case has the higher risk than one still free."
    ),
    "calibration_intercept": MeasureName(
        "Calibration intercept", "target", 0.0, "Calibration", "Ideal 0; above 0 the risks are too low on average."
    ),
    "calibration_slope": MeasureName(
        "Calibration slope", "target", 1.0, "Calibration", "Ideal 1; below 1 the risks are too extreme."
    ),
    "oe": MeasureName("O/E ratio", "target", 1.0, "Calibration", "Observed over expected events; ideal 1."),
    "ici": MeasureName(
        "ICI", "lower", 0.0, "Calibration", "Mean distance between predicted risk and the calibration curve."
    ),
    "e50": MeasureName(
        "E50", "lower", 0.0, "Calibration", "Median distance between predicted risk and the calibration curve."
    ),
    "e90": MeasureName("E90", "lower", 0.0, "Calibration", "90th percentile of the distance to the calibration curve."),
    "brier": MeasureName("Brier score", "lower", None, "Overall", "Mean squared distance of risk and outcome."),
    "scaled_brier": MeasureName(
        "Scaled Brier score", "higher", 0.0, "Overall", "Share of the Brier score of the mean risk that is removed."
    ),
    "log_loss": MeasureName("Log loss", "lower", None, "Overall", "Mean negative log-likelihood of the outcomes."),
    "ibs": MeasureName(
        "Integrated Brier score",
        "lower",
        None,
        "Overall",
        "Brier score averaged over follow-up, weighted for censoring.",
    ),
    "net_benefit": MeasureName(
        "Net benefit", "higher", 0.0, "Clinical utility", "True positives less weighted false positives, a patient."
    ),
    "sensitivity": MeasureName(
        "Sensitivity", "higher", None, "Threshold", "Share of events at or above the threshold."
    ),
    "specificity": MeasureName("Specificity", "higher", None, "Threshold", "Share of non-events below the threshold."),
    "ppv": MeasureName("PPV", "higher", None, "Threshold", "Share with the outcome among those at or above it."),
    "lr_positive": MeasureName("LR+", "higher", 1.0, "Threshold", "Odds of the outcome after a flag, times before."),
    "lr_negative": MeasureName("LR−", "lower", 1.0, "Threshold", "Odds of the outcome without a flag, times before."),
    "f1": MeasureName("F1", "higher", None, "Threshold", "Harmonic mean of PPV and sensitivity."),
    "npv": MeasureName("NPV", "higher", None, "Threshold", "Share without the outcome among those below it."),
    "label_precision": MeasureName(
        "Precision", "higher", None, "Labels", "Share of the findings called present that the reference standard has."
    ),
    "label_recall": MeasureName(
        "Recall", "higher", None, "Labels", "Share of the findings of the reference standard that are called present."
    ),
    "kappa": MeasureName(
        "Kappa", "higher", 0.0, "Labels", "Agreement beyond chance (Cohen); 0 is chance, 1 is full agreement."
    ),
    "mention_precision": MeasureName(
        "Mention precision", "higher", None, "Mention", "Share of the findings said to be mentioned that are."
    ),
    "mention_recall": MeasureName(
        "Mention recall", "higher", None, "Mention", "Share of the mentioned findings that are said to be."
    ),
    "mention_f1": MeasureName(
        "Mention F1", "higher", None, "Mention", "Whether a finding is mentioned at all, present, denied or in doubt."
    ),
    "negation_precision": MeasureName(
        "Negation precision", "higher", None, "Negation", "Share of the findings read as denied that are."
    ),
    "negation_recall": MeasureName(
        "Negation recall", "higher", None, "Negation", "Share of the denied findings that are read as denied."
    ),
    "negation_f1": MeasureName(
        "Negation F1", "higher", None, "Negation", "Whether a finding is denied: harmonic mean of precision and recall."
    ),
    "uncertainty_precision": MeasureName(
        "Uncertainty precision", "higher", None, "Uncertainty", "Share of the findings read as left open that are."
    ),
    "uncertainty_recall": MeasureName(
        "Uncertainty recall", "higher", None, "Uncertainty", "Share of the findings left open that are read as such."
    ),
    "uncertainty_f1": MeasureName(
        "Uncertainty F1",
        "higher",
        None,
        "Uncertainty",
        "Whether a finding is left open: harmonic mean of precision and recall.",
    ),
    "dice": MeasureName(
        "Dice", "higher", None, "Overlap", "Twice the volume that both outlines share, over the sum of their volumes."
    ),
    "iou": MeasureName("IoU", "higher", None, "Overlap", "Volume that both outlines share, over that of either."),
    "mask_sensitivity": MeasureName(
        "Sensitivity",
        "higher",
        None,
        "Overlap",
        "Share of the voxels of the reference that are outlined; no value without any.",
    ),
    "mask_precision": MeasureName(
        "Precision",
        "higher",
        None,
        "Overlap",
        "Share of the outlined voxels that are in the reference; no value without any.",
    ),
    "mask_specificity": MeasureName(
        "Specificity", "higher", None, "Overlap", "Share of the voxels outside the reference that are left out."
    ),
    "surface_dice": MeasureName(
        "Surface Dice", "higher", None, "Boundary", "Share of both boundaries within the tolerance of the other."
    ),
    "hd95": MeasureName(
        "HD95", "lower", 0.0, "Boundary", "95th percentile of the distance of the two boundaries.", "mm", 2
    ),
    "hausdorff": MeasureName(
        "Hausdorff distance", "lower", 0.0, "Boundary", "Largest distance of the two boundaries.", "mm", 2
    ),
    "average_surface_distance": MeasureName(
        "Average surface distance", "lower", 0.0, "Boundary", "Mean distance over both boundaries.", "mm", 2
    ),
    "mean_average_surface_distance": MeasureName(
        "Mean of both surface distances", "lower", 0.0, "Boundary", "Mean of both directed mean distances.", "mm", 2
    ),
    "volume_difference": MeasureName(
        "Volume difference", "target", 0.0, "Volume", "Outlined volume less that of the reference.", "ml", 2
    ),
    "relative_volume_difference": MeasureName(
        "Relative volume difference", "target", 0.0, "Volume", "Volume difference as a share of the reference."
    ),
    "lesion_f1": MeasureName(
        "Lesion F1", "higher", None, "Lesions", "Harmonic mean of lesion sensitivity and lesion precision."
    ),
    "lesion_sensitivity": MeasureName(
        "Lesion sensitivity", "higher", None, "Lesions", "Share of the lesions of the reference that are found."
    ),
    "lesion_precision": MeasureName(
        "Lesion precision", "higher", None, "Lesions", "Share of the outlined lesions that are lesions."
    ),
    "lesion_dice": MeasureName(
        "Lesion-wise Dice", "higher", None, "Lesions", "Dice of each lesion, averaged; a lesion without match counts 0."
    ),
    "lesion_hd95": MeasureName("Lesion-wise HD95", "lower", 0.0, "Lesions", "HD95 of each lesion, averaged.", "mm", 2),
    "panoptic_quality": MeasureName(
        "Panoptic quality", "higher", None, "Lesions", "Detection of lesions times the mean IoU of those found."
    ),
    "risk_difference": MeasureName(
        "Risk difference", "target", 0.0, "Effect", "Risk under treatment less that under control."
    ),
    "risk_ratio": MeasureName("Risk ratio", "target", 1.0, "Effect", "Risk under treatment over that under control."),
    "odds_ratio": MeasureName("Odds ratio", "target", 1.0, "Effect", "Odds under treatment over those under control."),
    "hazard_ratio": MeasureName(
        "Hazard ratio", "target", 1.0, "Effect", "Hazard under treatment over that under control, over all follow-up."
    ),
    "relative_risk_reduction": MeasureName(
        "Relative risk reduction", "target", 0.0, "Effect", "Share of the risk under control that is taken away."
    ),
    "number_needed_to_treat": MeasureName(
        "Number needed to treat", "target", None, "Effect", "Patients to treat for one to benefit.", "", 1
    ),
    "rmst_difference": MeasureName(
        "Difference in restricted mean time", "target", 0.0, "Effect", "Mean time without the event up to the horizon."
    ),
    "rmst_ratio": MeasureName(
        "Ratio of restricted mean times", "target", 1.0, "Effect", "Mean time without the event up to the horizon."
    ),
    "time_lost_difference": MeasureName(
        "Difference in time lost", "target", 0.0, "Effect", "Mean time lost to the event up to the horizon."
    ),
    "mean_difference": MeasureName(
        "Difference in means", "target", 0.0, "Effect", "Mean under treatment less that under control."
    ),
    "dr_loss": MeasureName(
        "Excess doubly robust loss",
        "lower",
        0.0,
        "Heterogeneity",
        "Squared distance of predicted effects to doubly robust scores, less that of the mean effect of the test part "
        "itself, which no model could know.",
        "",
        4,
    ),
    "autoc": MeasureName(
        "AUTOC",
        "higher",
        0.0,
        "Heterogeneity",
        "Area under the gain over the average effect when those with most predicted benefit are treated first.",
        "",
        4,
    ),
    "qini": MeasureName(
        "Qini coefficient",
        "higher",
        0.0,
        "Heterogeneity",
        "The same area, weighted by the share treated: large groups count more.",
        "",
        4,
    ),
    "best_linear_predictor": MeasureName(
        "Slope of the best linear predictor",
        "target",
        1.0,
        "Heterogeneity",
        "How far true effects follow predicted ones: 0 not at all, 1 one to one.",
        "",
        2,
    ),
    "calibration_test": MeasureName(
        "Slope from residuals", "target", 1.0, "Heterogeneity", "The same slope from residuals, as in grf.", "", 2
    ),
    "benefit_slope": MeasureName(
        "Calibration slope for benefit",
        "target",
        1.0,
        "Heterogeneity",
        "How far observed benefit follows predicted benefit; below 1 predictions are too extreme.",
        "",
        2,
    ),
    "benefit_difference": MeasureName(
        "Observed less predicted benefit", "target", 0.0, "Heterogeneity", "What predictions miss on average."
    ),
    "e_avg_for_benefit": MeasureName(
        "Distance of predicted from observed benefit", "lower", 0.0, "Heterogeneity", "Mean over matched pairs."
    ),
    "group_effects": MeasureName(
        "Benefit of the top quarter less the bottom one",
        "higher",
        0.0,
        "Heterogeneity",
        "Observed effects in the quarters with most and least predicted benefit.",
    ),
    "average_effect": MeasureName(
        "Average effect", "target", 0.0, "Heterogeneity", "Mean of the doubly robust scores of the test part."
    ),
    "mean_prediction": MeasureName("Mean predicted effect", "target", None, "Heterogeneity", "Over the test part."),
    "r_loss": MeasureName(
        "Excess R-loss",
        "lower",
        0.0,
        "Heterogeneity",
        "R-loss less that of the best single effect in hindsight.",
        "",
        4,
    ),
    "effect_share_explained": MeasureName(
        "Share of the scores explained",
        "higher",
        0.0,
        "Heterogeneity",
        "Of the variance of the scores, most of which is noise, what predictions explain beyond one effect for all.",
    ),
    "max_smd": MeasureName(
        "Largest standardised difference of the arms", "lower", 0.0, "Balance", "Of all variables and levels.", "", 2
    ),
    "policy_gain": MeasureName(
        "Gain of treating by benefit", "higher", 0.0, "Policy", "Over treating everyone, net of burden and cost."
    ),
    "c_for_benefit": MeasureName(
        "C-for-benefit",
        "higher",
        0.5,
        "Heterogeneity",
        "Share of pairs of matched patients ranked by observed benefit; not a proper score.",
    ),
}
"""Base name → words, in the order of the tables."""

MASKS = {
    name: words for name, words in MEASURES.items() if words.group in ("Overlap", "Boundary", "Volume", "Lesions")
} | {name: MEASURES[f"mask_{name}"] for name in ("sensitivity", "precision", "specificity")}
"""The measures of outlines: short names stand for those of masks."""


def split_name(name: str) -> tuple[str, str | None]:
    """Return the base name of a measure, and its horizon or finding.

    Examples
    --------
    >>> split_name("auc@365"), split_name("auroc")
    (('auc', '365'), ('auroc', None))
    """
    base, _, at = name.partition("@")
    return base, at or None


def describe(name: str) -> MeasureName:
    """Return the words for a measure; an unknown one is called by its own name.

    Examples
    --------
    >>> describe("auc@365").title, describe("my_score").title, describe("macro_average_precision").title
    ('AUC', 'my score', 'Macro average precision')
    """
    base = split_name(name)[0]
    found = MEASURES.get(_ALIASES.get(base, base))
    if found is not None:
        return found
    kind, _, rest = base.partition("_")
    if kind not in _POOLS or not rest or (kind == "mean" and rest not in {*MASKS, *_ALIASES}):
        return MeasureName(base.replace("_", " "), "higher", None, "Other", "")
    # Findings are pooled by the pair or averaged, outlines are averaged: their precisions are not the same thing.
    inner = MEASURES["label_precision"] if kind != "mean" and rest == "precision" else describe(rest)
    title = inner.title if inner.title.startswith(_PROPER) else inner.title[:1].lower() + inner.title[1:]
    return replace(inner, title=f"{kind.capitalize()} {title}", says=f"{_POOLS[kind]} {inner.says}".strip())


_ALIASES = {"average_precision": "auprc", "precision": "mask_precision", "recall": "label_recall"}
_POOLS = {
    "macro": "Mean over the findings.",
    "micro": "All pairs of case and finding in one pool.",
    "mean": "Mean over the regions.",
}
_PROPER = (
    *("Dice", "HD95", "IoU", "Hausdorff", "AUROC", "AUC", "Harrell's C", "Uno's C", "Brier"),
    *("O/E", "ICI", "E50", "E90", "PPV", "NPV", "LR", "F1", "AUTOC", "Qini", "C-for-benefit"),
)


def lower(name: str, unit: str = "day") -> str:
    """Return the name of a measure as it stands inside a sentence.

    Examples
    --------
    >>> lower("log_loss"), lower("auroc"), lower("brier@365")
    ('log loss', 'AUROC', 'Brier score at 365 days')
    """
    text = title(name, unit)
    return text if text.startswith(_PROPER) else text[:1].lower() + text[1:]


def in_words(text: str, name: str | None, unit: str = "day") -> str:
    """Return a sentence with the key of a measure replaced by its name for people.

    Examples
    --------
    >>> in_words("Cox had the best mean ibs on the tuning folds.", "ibs")
    'Cox had the best mean integrated Brier score on the tuning folds.'
    """
    if not name:
        return text
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w@])", lambda _: lower(name, unit), text)


def title(name: str, unit: str = "day") -> str:
    """Return the name of a measure for people, with its horizon or its finding.

    Parameters
    ----------
    name : str
    unit : str or Unit
        A `Unit` also holds the labels of findings.

    Examples
    --------
    >>> title("auc@365"), title("oe"), title("brier@5", "year"), title("auroc@lung_mass")
    ('AUC at 365 days', 'O/E ratio', 'Brier score at 5 years', 'AUROC of lung mass')
    >>> title("mean_dice"), title("hd95@whole_tumour")
    ('Mean Dice', 'HD95 of whole tumour (mm)')
    """
    at = split_name(name)[1]
    words = describe(name)
    text, measured = words.title, f" ({words.unit})" if words.unit else ""
    if at is None:
        return f"{text}{measured}"
    if at in (found := getattr(unit, "findings", {})):
        label = found[at]
        return f"{text} of {label[:1].lower() + label[1:] if label[1:2].islower() else label}{measured}"
    if is_horizon(at):
        return f"{text} at {numbers.horizon(at, unit)}{measured}"
    return f"{text} of {at.replace('_', ' ')}{measured}"


def is_horizon(at: str) -> bool:
    """Return whether what follows the @ of a measure is a time, not a finding.

    Examples
    --------
    >>> is_horizon("182.5"), is_horizon("effusion")
    (True, False)
    """
    return at.replace(".", "", 1).isdigit()
