"""The regions of a segmentation study: their names, keys, labels and what they are called."""

from __future__ import annotations

from typing import Any

from aimed.metrics.evaluate_multilabel import finding_key
from aimed.study.spec import StudySpec

__all__ = ["region_labels", "region_table"]


def region_labels(spec: StudySpec) -> dict[str, tuple[int, ...]]:
    """Return the labels of each region, by name."""
    return {name: tuple(labels) for name, labels in spec.outcome.regions.items()}


def region_table(spec: StudySpec) -> list[dict[str, Any]]:
    """Return name, key, label and labels of each region."""
    declared = {name: v.label for name, v in spec.variables.items() if v.label}
    return [
        {"name": name, "key": finding_key(name), "label": declared.get(name, name.replace("_", " ")), "labels": [*v]}
        for name, v in spec.outcome.regions.items()
    ]
