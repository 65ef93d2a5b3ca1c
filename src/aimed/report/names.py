"""What each measure is called, which way is better and where its line of no effect lies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from aimed.report import numbers

__all__ = ["MEASURES", "MeasureName", "describe", "in_words", "lower", "split_name", "title"]

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
    """

    title: str
    better: Better
    reference: float | None
    group: str
    says: str


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
}
"""Base name → words, in the order of the tables."""


def split_name(name: str) -> tuple[str, str | None]:
    """Return the base name and the horizon of a measure.

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
    >>> describe("auc@365").title, describe("my_score").title
    ('AUC', 'my score')
    """
    base = split_name(name)[0]
    return MEASURES.get(base) or MeasureName(base.replace("_", " "), "higher", None, "Other", "")


_PROPER = ("AUROC", "AUC", "Harrell's C", "Uno's C", "Brier", "O/E", "ICI", "E50", "E90")


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
    """Return the name of a measure for people, with its horizon.

    Examples
    --------
    >>> title("auc@365"), title("oe"), title("brier@5", "year")
    ('AUC at 365 days', 'O/E ratio', 'Brier score at 5 years')
    """
    at = split_name(name)[1]
    text = describe(name).title
    return text if at is None else f"{text} at {numbers.horizon(at, unit)}"
