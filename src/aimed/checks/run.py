"""Run the checks over a cohort, sort what they saw, and stop a study on a STOP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from aimed.checks import CHECKS
from aimed.checks.context import Context
from aimed.checks.treatment import Compared
from aimed.core.cohort import Cohort
from aimed.core.errors import DataError
from aimed.core.finding import Finding, Severity
from aimed.core.split import Split

__all__ = ["raise_on_stop", "run_checks"]

_ORDER = {Severity.STOP: 0, Severity.WARN: 1, Severity.NOTE: 2}


def run_checks(
    cohort: Cohort,
    split: Split | None = None,
    *,
    subgroups: Collection[str] = (),
    parameters: int | None = None,
    horizons: Collection[float] = (),
    allow: Collection[str] = (),
    time_columns: Mapping[str, str] | None = None,
    measured_before_index: bool = False,
    raw_labels: ArrayLike | None = None,
    imaging_study: ArrayLike | None = None,
    shortcut_columns: Collection[str] = (),
    regions: Mapping[str, Collection[int]] | None = None,
    compared: Compared | None = None,
    only: Collection[str] | None = None,
    progress: Callable[[str], None] | None = None,
    inside: Callable[[str, float], None] | None = None,
) -> list[Finding]:
    """Run every check, or those named in `only`, and return what they saw, gravest first.

    Parameters
    ----------
    cohort : Cohort
    split : Split, optional
        With it the parts are compared, and predictors meet the outcome in ``train`` only.
    subgroups, parameters, horizons, allow, time_columns, measured_before_index
        See `Context`.
    raw_labels, imaging_study, shortcut_columns
        Of a cohort with pictures; see `Context`.
    regions : mapping of str to ints, optional
        Of a cohort with scans; see `Context`.
    compared : Compared, optional
        Of a cohort with treatments; see `Context`.
    only : collection of str, optional
        Names of checks, in any order.
    progress : callable, optional
        Called with the name of each check before it starts.
    inside : callable, optional
        Called with the name of the running check and the share of the pictures or scans that it has
        looked at.

    Returns
    -------
    list of Finding
        STOP, then WARN, then NOTE; within one severity in the order of the catalogue.

    Raises
    ------
    UnknownNameError
        If `only`, `subgroups`, `allow`, `time_columns` or `shortcut_columns` names something that does not exist.
    DataError
        If `raw_labels` or `imaging_study` do not fit the cohort.

    Examples
    --------
    >>> from aimed.core import Binary, Variable
    >>> cohort = Cohort(patient=["a", "b", "c"], variables=[Variable(name="age")], columns={"age": [60, 70, 80]},
    ...                 outcome=Binary(values=[0, 0, 0]))
    >>> run_checks(cohort, only=["outcome"])[0].message
    "None of 3 rows have the outcome 'outcome'."
    """
    names = list(CHECKS) if only is None else [name for name in CHECKS if name in set(only)]
    for name in only or ():
        CHECKS.entry(name)
    for name in (*subgroups, *allow, *(time_columns or {}), *(time_columns or {}).values(), *shortcut_columns):
        cohort.variable(name)
    running = ""

    def within(share: float) -> None:
        if inside is not None:
            inside(running, share)

    context = Context(
        cohort,
        split,
        subgroups=tuple(subgroups),
        parameters=parameters,
        horizons=tuple(float(h) for h in horizons),
        allow=frozenset(allow),
        time_columns=dict(time_columns or {}),
        measured_before_index=measured_before_index,
        raw_labels=None if raw_labels is None else np.asarray(raw_labels, dtype=np.float64),
        imaging_study=None if imaging_study is None else np.asarray(imaging_study),
        shortcut_columns=tuple(shortcut_columns),
        regions={name: tuple(int(label) for label in labels) for name, labels in (regions or {}).items()},
        compared=compared,
        progress=None if inside is None else within,
    )
    found: list[Finding] = []
    for name in names:
        running = name
        if progress is not None:
            progress(name)
        found += CHECKS[name](context)
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def raise_on_stop(findings: Iterable[Finding]) -> None:
    """Raise if a finding is a STOP, listing all of them with what to do.

    Raises
    ------
    DataError
        With the messages and the advice of every STOP finding; the command line exits with 3.

    Examples
    --------
    >>> raise_on_stop([Finding(check="outcome", severity=Severity.STOP, where="outcome",
    ...                        message="None of 3 rows have the outcome.", advice="Check the coding.")])
    Traceback (most recent call last):
        ...
    aimed.core.errors.DataError: 1 check finding stops the study:
      outcome: None of 3 rows have the outcome. Check the coding.
    """
    stops = [finding for finding in findings if finding.severity is Severity.STOP]
    if stops:
        head = "1 check finding stops the study:" if len(stops) == 1 else f"{len(stops)} check findings stop the study:"
        raise DataError("\n  ".join([head, *(f"{f.check}: {f.message} {f.advice}".rstrip() for f in stops)]))
