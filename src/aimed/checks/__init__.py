"""Checks: what could make a study wrong before any model is fitted, each as findings with evidence and advice.

One file a check, one line in `CHECKS`; another package adds one under the entry-point group ``aimed.checks``. A
check is a function ``check(context) -> list[Finding]``; `aimed.checks.run.run_checks` calls them all.
"""

from __future__ import annotations

from aimed.core.catalog import Catalog

__all__ = ["CHECKS"]

CHECKS = Catalog(
    "check",
    {
        "patients": ("aimed.checks.patients:check", "Patients in two parts, rows a patient and missing patient ids."),
        "time_split": ("aimed.checks.time_split:check", "A split by time tests on rows later than it trains on."),
        "outcome": ("aimed.checks.outcome:check", "Events overall and in each part, and their shift between parts."),
        "leakage": ("aimed.checks.leakage:check", "Predictors that tell the outcome or are known only after it."),
        "duplicates": ("aimed.checks.duplicates:check", "Rows that repeat another patient's row, exactly or nearly."),
        "units": ("aimed.checks.units:check", "Implausible values, wrong units and codes for missing values."),
        "columns": ("aimed.checks.columns:check", "Constant, id-like, sparse and wrongly typed predictors."),
        "missingness": ("aimed.checks.missingness:check", "Missing values by variable, outcome and group."),
        "sample_size": ("aimed.checks.sample_size:check", "Rows and events against Riley's minimum sample size."),
        "image_frames": ("aimed.checks.image_frames:check", "Blank, clipped, inverted and wrong pictures, by code."),
        "image_duplicates": ("aimed.checks.image_duplicates:check", "Pictures that are there twice, and link parts."),
        "image_labels": ("aimed.checks.image_labels:check", "Findings that contradict each other or are misspelt."),
        "volume_geometry": ("aimed.checks.volume_geometry:check", "Grids of scans that are mirrored, turned or odd."),
        "volume_channels": ("aimed.checks.volume_channels:check", "Channels of scans that are swapped or missing."),
        "volume_duplicates": ("aimed.checks.volume_duplicates:check", "Scans that are there twice, and link parts."),
        "volume_labels": ("aimed.checks.volume_labels:check", "Outlines with swapped, strange or missing labels."),
        "note_texts": (
            "aimed.checks.note_texts:check",
            "Notes that are there twice, over parts or with other labels.",
        ),
        "shortcuts": ("aimed.checks.shortcuts:check", "Findings told from view, device, age, sex or borders alone."),
        "treatment": ("aimed.checks.treatment:check", "Arms that can be compared: ratio, overlap, what came first."),
        "censoring": ("aimed.checks.censoring:check", "Follow-up, censoring before the horizon and on predictors."),
    },
    group="aimed.checks",
)
"""Name → check, lazily imported, in the order in which they run."""
