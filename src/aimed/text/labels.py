"""Labels of reports as columns: one value a report and finding, and one row of evidence a mention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core.errors import UnknownNameError

__all__ = ["ASSERTIONS", "CONTEXTS", "Columns", "ReportLabels", "Vocabulary"]

ASSERTIONS = ("negative", "positive", "uncertain")
"""What a note says of a mention."""
CONTEXTS = ("", "history", "resolved", "hypothetical", "family")
"""Whose or when, where it is not the patient's now."""


@dataclass(frozen=True)
class Vocabulary:
    """Names that the numbers of evidence stand for; all of them come from a lexicon."""

    targets: tuple[str, ...]
    concepts: tuple[str, ...]
    sections: tuple[str, ...]
    rules: tuple[str, ...]
    attributes: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, repr=False)
class Columns:
    """Evidence as numbers, shape (mentions,) each; -1 where there is none."""

    report: NDArray[np.int64]
    target: NDArray[np.int32]
    rows: NDArray[np.int32]
    size: NDArray[np.float32]
    decided: NDArray[np.bool_]


@dataclass(frozen=True, repr=False)
class ReportLabels:
    """Labels of n reports and k findings, with what each rests on.

    Attributes
    ----------
    targets : tuple of str
        Names of the findings.
    values : float64 array, shape (n, k)
        1 present, 0 absent, -1 uncertain, NaN not mentioned. A refused report is NaN everywhere.
    refusals : tuple of str
        Why a report was not read, as a code; "" where it was.
    flags : tuple of tuple of str
        What was odd about a report, as codes.
    lexicon : str
        Name, version and digest of the lexicon.

    Examples
    --------
    >>> from aimed.text.labeller import label
    >>> found = label(["Small left pleural effusion. No pneumothorax."])
    >>> found.value(0, "Pleural Effusion"), found.value(0, "Pneumothorax")
    (1.0, 0.0)
    """

    targets: tuple[str, ...]
    values: NDArray[np.float64]
    refusals: tuple[str, ...]
    flags: tuple[tuple[str, ...], ...]
    lexicon: str
    columns: Columns = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)

    def __repr__(self) -> str:
        return f"ReportLabels({len(self)} reports, {len(self.targets)} findings, {len(self.columns.report)} mentions)"

    def __len__(self) -> int:
        return len(self.values)

    def value(self, report: int, target: str) -> float:
        """Value of one report and finding.

        Raises
        ------
        UnknownNameError
            The labels have no such finding.
        """
        if target not in self.targets:
            raise UnknownNameError("finding", target, self.targets)
        return float(self.values[report, self.targets.index(target)])

    @cached_property
    def evidence(self) -> pl.DataFrame:
        """One row a mention, in the order of the reports and of their text.

        Columns
        -------
        report : position of the report; target, concept : names (target "" for a concept that only speaks against a
        "none of these" label); start, end : characters of the mention; sentence_start, sentence_end; section : "" where
        no heading stands before; assertion : positive, negative or uncertain; context : "", history, resolved,
        hypothetical or family; trigger_start, trigger_end, rule : what decided, null and "stated" where nothing stands
        against it; location, laterality, severity, size_mm, change : where said, else null; decided : whether the
        mention is one that the report's label rests on.
        """
        c, names = self.columns, self.vocabulary
        r = c.rows
        location, laterality, severity, change = names.attributes
        return pl.DataFrame(
            [
                pl.Series("report", c.report),
                _named("target", (*names.targets, ""), c.target),
                _named("concept", names.concepts, r[:, 1]),
                _count("start", r[:, 2]),
                _count("end", r[:, 3]),
                _count("sentence_start", r[:, 4]),
                _count("sentence_end", r[:, 5]),
                _named("section", ("", *names.sections), r[:, 6] + 1),
                _named("assertion", ("uncertain", "negative", "positive"), r[:, 7] + 1),
                _named("context", CONTEXTS, r[:, 8]),
                _count("trigger_start", r[:, 9]),
                _count("trigger_end", r[:, 10]),
                _named("rule", ("stated", *names.rules), r[:, 11] + 1),
                _named("location", location, r[:, 12]),
                _named("laterality", laterality, r[:, 13]),
                _named("severity", severity, r[:, 14]),
                pl.Series("size_mm", c.size).cast(pl.Float64).fill_nan(None),
                _named("change", change, r[:, 15]),
                pl.Series("decided", c.decided),
            ]
        )

    def to_frame(self) -> pl.DataFrame:
        """Labels as a table: report, a column a finding (null: not mentioned), refusal."""
        columns = [pl.Series("report", np.arange(len(self)))]
        for i, target in enumerate(self.targets):
            columns.append(pl.Series(target, self.values[:, i]).fill_nan(None).cast(pl.Int8))
        return pl.DataFrame([*columns, pl.Series("refusal", self.refusals, dtype=pl.String)])


def _count(name: str, values: NDArray[np.int32]) -> pl.Series:
    series = pl.Series(name, np.ascontiguousarray(values))
    return series if not len(values) or values.min() >= 0 else series.set(series < 0, None)


def _named(name: str, names: Sequence[str], index: NDArray[np.int32]) -> pl.Series:
    # An enumeration keeps one byte or two a row; numbers below 0 are nulls.
    kind = pl.Enum(names)
    if not names:
        return pl.Series(name, [None] * len(index), dtype=pl.String)
    table = pl.Series(name, names, dtype=kind)
    picked = pl.Series(np.ascontiguousarray(index))
    if len(index) and index.min() < 0:
        picked = picked.set(picked < 0, None)
    return table.gather(picked)
