"""The two arms of a study of effects: which rows had the active treatment, which the control, and which neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Cohort, DataError, FlowStep, Variable, is_missing
from aimed.study.spec import TreatmentPart

__all__ = ["ARMS", "arm_labels", "assigned", "treated_of"]

ARMS = ("active", "control")
"""The arms in the order in which they are shown."""


def arm_labels(treatment: TreatmentPart) -> Mapping[str, str]:
    """Return what the arms are called.

    Examples
    --------
    >>> part = TreatmentPart(column="arm", control="placebo", active="drug", assignment="randomised")
    >>> arm_labels(part)["control"]
    'placebo'
    """
    return {
        "active": treatment.label or _called(treatment, treatment.active),
        "control": treatment.control_label or _called(treatment, treatment.control),
    }


def _called(treatment: TreatmentPart, value: Any) -> str:
    """Return a value of the treatment column as a name; a bare number says nothing in a sentence."""
    return value if isinstance(value, str) else f"{treatment.column} {str(value).lower()}"


def treated_of(cohort: Cohort) -> NDArray[np.bool_]:
    """Return which rows had the active treatment, shape (n,)."""
    name = cohort.names("treatment")
    if not name:
        raise TypeError("a cohort of a study of effects is needed")
    return np.asarray(cohort.column(name[0]) == 1.0)


def assigned(treatment: TreatmentPart, cohort: Cohort, site: str | None = None) -> Cohort:
    """Return the rows of the two arms, with the treatment as a column of 0 and 1; the others are counted.

    Parameters
    ----------
    treatment : TreatmentPart
    cohort : Cohort
        With the treatment among its columns.
    site : str, optional
        Name of the column of sites; as a stratum it joins the columns.

    Raises
    ------
    DataError
        If the column is neither a number nor a category, or an arm has no rows.
    """
    name = treatment.column
    variable, column = cohort.variable(name), cohort.column(name)
    if variable.kind not in ("number", "category"):
        raise DataError(
            f"the treatment column '{name}' is read as a {variable.kind} column", "a category or a number a patient"
        )
    missing = is_missing(column, variable.kind)
    active, control = (_equal(variable, column, value) for value in (treatment.active, treatment.control))
    for key, rows in (("active", active), ("control", control)):
        if not rows.any():
            raise DataError(
                f"no row of the treatment column '{name}' has the {key} value of the study file",
                "rows in both arms",
                f"correct [treatment] {key}; without a second arm no effect can be estimated",
            )
    both = np.intersect1d(cohort.patient[active], cohort.patient[control]).size
    if both:
        raise DataError(
            f"{both} {'patient has' if both == 1 else 'patients have'} rows of both arms",
            "one treatment a patient",
            "keep the first assignment; crossover designs are not supported",
        )
    other = ~(active | control | missing)
    flow, remaining = list(cohort.flow), cohort.n
    for what, rows in (
        (f"Treatment is not known ({name})", missing),
        (f"Had another treatment than the two compared ({name})", other),
    ):
        if rows.any():
            remaining -= int(rows.sum())
            flow.append(FlowStep(what, int(rows.sum()), remaining))
    kept = np.flatnonzero(active | control)
    taken = cohort.take(kept)
    labels = arm_labels(treatment)
    told = Variable(
        name=name,
        kind="number",
        role="treatment",
        label=f"{labels['active']} against {labels['control']}",
    )
    variables = [told if v.name == name else v for v in taken.variables]
    columns: dict[str, NDArray[Any]] = {**taken.columns, name: active[kept].astype(np.float64)}
    if site in treatment.strata and taken.site is not None:
        levels, codes = np.unique(taken.site, return_inverse=True)
        columns[site] = codes.astype(np.int32)
        variables.append(
            Variable(name=site, kind="category", role="descriptor", categories=tuple(str(v) for v in levels))
        )
    return replace(taken, variables=variables, columns=columns, flow=flow)


def _equal(variable: Variable, column: NDArray[Any], value: Any) -> NDArray[np.bool_]:
    """Return the rows with a value of the study file, words without their case and blanks, numbers as numbers."""
    text = str(value).strip().lower()
    number: float | None
    try:
        number = float(value)
    except ValueError:
        number = None
    if variable.kind == "number":
        return np.zeros(column.size, dtype=bool) if number is None else np.asarray(column == number)
    hit = []
    for code, category in enumerate(variable.categories):
        same = category.strip().lower() == text
        if not same and number is not None:
            try:
                same = float(category) == number
            except ValueError:
                same = isinstance(value, bool) and category.strip().lower() == str(bool(value)).lower()
        if same:
            hit.append(code)
    return np.asarray(np.isin(column, hit))
