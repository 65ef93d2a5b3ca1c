"""The groups of a study: which level of each declared column a row belongs to."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Cohort
from aimed.study.spec import StudySpec

__all__ = ["asked_of_groups", "subgroup_labels"]

_WORST = re.compile(r"worst_subgroup\(([^()]+)\)")


def asked_of_groups(spec: StudySpec) -> list[str]:
    """Return the measures whose worst subgroup a criterion judges, so that each is made in every group.

    Parameters
    ----------
    spec : StudySpec
    """
    return [name.strip() for text in spec.evaluate.accept for name in _WORST.findall(text)]


def subgroup_labels(
    spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64]
) -> dict[str, tuple[NDArray[Any], str, list[str]]]:
    """Return for each declared column the level of each row, the title of the column, and the order of its levels.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    rows : int array
        Rows to tell of.
    """
    groups: dict[str, tuple[NDArray[Any], str, list[str]]] = {}
    for name in spec.subgroups.columns:
        variable = cohort.variable(name)
        if variable.kind != "category":
            column = cohort.column(name)[rows]
            labels = np.where(np.isnan(column), "missing", np.char.mod("%g", np.nan_to_num(column)))
            order = sorted(set(labels.tolist()))
        else:
            order = [*variable.categories, "missing"]
            labels = np.asarray(order, dtype=str)[cohort.column(name)[rows]]
        groups[name] = (labels, variable.title, order)
    return groups
