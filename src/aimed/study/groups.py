"""The groups of a study: which level of each declared column a row belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Cohort
from aimed.study.describe import event_flags
from aimed.study.spec import StudySpec
from aimed.study.tasks import primary_of
from aimed.trust.subgroups import audit

__all__ = ["asked_of_groups", "audit_by_group", "subgroup_labels"]

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


def audit_by_group(
    spec: StudySpec,
    cohort: Cohort,
    rows: NDArray[np.int64],
    measures: Callable[[NDArray[np.bool_]], Mapping[str, Any]],
    names: Sequence[str],
    **more: Any,
) -> dict[str, Any]:
    """Repeat measures in each declared group of some rows, judged by the criterion of the primary measure.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    rows : int array
    measures : callable
        From a mask over `rows` to measures by name.
    names : sequence of str
    **more
        Further arguments of `aimed.trust.subgroups.audit`.
    """
    primary = primary_of(spec)
    beginnings = (f"{primary} ", f"{primary}.", f"worst_subgroup({primary})")
    return audit(
        subgroup_labels(spec, cohort, rows),
        measures,
        names=names,
        primary=primary,
        criterion=next((text for text in spec.evaluate.accept if text.startswith(beginnings)), None),
        events=event_flags(cohort.outcome)[rows],
        patient=cohort.patient[rows],
        min_events=spec.subgroups.min_events,
        level=spec.evaluate.level,
        **more,
    )
