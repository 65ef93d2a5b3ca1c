"""Whether every row has a patient and no patient stands in two parts of the study."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.finding import Finding

__all__ = ["check", "shared_patients"]

_SAY = Reporter(
    "patients",
    "Collins et al., TRIPOD+AI, BMJ 2024;385:e078378, item 12a; Kapoor and Narayanan, Patterns 2023;4:100804",
)
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat"})
_DOMINANT = 0.10


def shared_patients(a: ArrayLike, b: ArrayLike) -> int:
    """Return how many distinct patients stand in both of two arrays of patient ids.

    Ids are compared as text, so 8270 and "8270" are one patient.

    Parameters
    ----------
    a, b : arrays of str or int

    Examples
    --------
    >>> shared_patients([1, 1, 2], ["2", "3"])
    1
    """
    return int(np.intersect1d(np.asarray(a, dtype=str), np.asarray(b, dtype=str)).size)


def check(context: Context) -> list[Finding]:
    """Return findings on patient ids: missing, shared by parts, written in two ways, and rows a patient.

    * STOP: a row without patient id; a patient in two parts; a split made for other patients.
    * WARN: ids that differ only in case, blanks, leading zeros or a trailing ``.0``; one patient with more than
      10 % of the rows (of 20 patients or more).
    * NOTE: rows a patient.

    Examples
    --------
    >>> from aimed.core import Cohort
    >>> cohort = Cohort(patient=["a", "a", ""], variables=[], columns={})
    >>> [f.severity.value for f in check(Context(cohort))]
    ['STOP', 'NOTE']
    """
    cohort = context.cohort
    if cohort.n == 0:
        return [_SAY.stop("table", "The table has no row.", "Check the inclusion rules.", n=0)]
    ids, rows = np.unique(cohort.patient, return_counts=True)
    found = [*_missing(ids, rows, cohort.n), *_parts(context), *_spelling(ids)]
    patients, most, several = int(ids.size), int(rows.max()), int((rows > 1).sum())
    if patients >= 20 and most > _DOMINANT * cohort.n:
        found.append(
            _SAY.warn(
                "patient",
                f"One patient holds {of(most, cohort.n)}.",
                "Check that this id is a person and not a code for unknown.",
                rows=most,
                n=cohort.n,
                patients=patients,
            )
        )
    found.append(
        _SAY.note(
            "patient",
            f"{plural(cohort.n, 'row')} belong to {plural(patients, 'patient')}, "
            f"{several:,} of them with more than one row.",
            "Split and resample by patient." if several else "",
            n=cohort.n,
            patients=patients,
            several=several,
            median=float(np.median(rows)),
            most=most,
        )
    )
    return found


def _missing(ids: NDArray[Any], rows: NDArray[np.int64], n: int) -> list[Finding]:
    blank = [text.strip().lower() in _MISSING for text in ids.tolist()]
    lost = int(rows[blank].sum())
    if not lost:
        return []
    advice = "Give each person an id, or exclude these rows with an inclusion rule."
    return [_SAY.stop("patient", f"{of(lost, n)} have no patient id.", advice, missing=lost, n=n)]


def _parts(context: Context) -> list[Finding]:
    if context.split is None:
        return []
    cohort, found = context.cohort, []
    if not np.array_equal(context.split.patient, cohort.patient):
        found.append(
            _SAY.stop(
                "split",
                "The split was made for other patients, or for another order of rows, than this table.",
                "Draw the split again from this table.",
                n=cohort.n,
                split_n=context.split.patient.size,
            )
        )
    if any(rows.size and int(rows.max()) >= cohort.n for rows in context.parts.values()):
        return found
    present = {name: np.unique(context.patient_codes[rows]) for name, rows in context.parts.items()}
    for a, b in combinations(present, 2):
        both = int(np.intersect1d(present[a], present[b], assume_unique=True).size)
        if both:
            smaller = min(int(present[a].size), int(present[b].size))
            found.append(
                _SAY.stop(
                    f"{a}+{b}",
                    f"{of(both, smaller, 'patient')} of the smaller part stand in both {a} and {b}.",
                    "Split by patient, so that every row of a person falls into one part.",
                    shared=both,
                    patients={a: int(present[a].size), b: int(present[b].size)},
                )
            )
    return found


def _spelling(ids: NDArray[Any]) -> list[Finding]:
    plain = {text.strip().casefold().removesuffix(".0").lstrip("0") for text in ids.tolist()}
    merged = int(ids.size) - len(plain)
    if not merged:
        return []
    return [
        _SAY.warn(
            "patient",
            f"{plural(merged, 'patient id')} {'equals' if merged == 1 else 'equal'} another one but for case, blanks, "
            "leading zeros or a trailing '.0'.",
            "Write ids one way in the source; otherwise one person may stand in two parts.",
            alike=merged,
            patients=ids.size,
        )
    ]
