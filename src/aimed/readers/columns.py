"""What a column is: its declared or inferred kind, and its values as an array."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import DataError, Variable
from aimed.core.cohort import Kind, Role
from aimed.readers.source import collect

__all__ = [
    "Band",
    "ColumnPlan",
    "Declared",
    "as_date",
    "as_index_date",
    "as_number",
    "blank_codes",
    "infer",
    "to_variable",
]

LARGEST = 1e30
"""No measured quantity is larger; single precision, which trees use, ends at 3e38."""

MAX_LEVELS = 50
"""A text column with more levels than this is text unless it is declared a category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the study file says of a column; everything else is inferred."""

    kind: Kind | None = None
    label: str | None = None
    unit: str | None = None
    plausible: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    missing_codes: tuple[float | str, ...] = ()
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A descriptor cut from a number, such as age bands."""

    source: str
    cuts: tuple[float, ...]
    labels: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return one label a band: below the first cut, between cuts, from the last cut."""
        if self.labels:
            return self.labels
        cut = [f"{c:g}" for c in self.cuts]
        middle = [f"{a} to <{b}" for a, b in itertools.pairwise(cut)]
        return (f"<{cut[0]}", *middle, f"≥{cut[-1]}")


def as_number(column: str, text: bool) -> pl.Expr:
    """Return an expression that reads a column as numbers; what is not a number becomes null."""
    if not text:
        return pl.col(column).cast(pl.Float64, strict=False)
    plain = pl.col(column).str.strip_chars()
    # A comma is a decimal mark only when it stands once between digits, as Excel writes it in most of Europe.
    comma = (
        pl.when(plain.str.contains(r"^[-+]?\d+,\d+$")).then(plain.str.replace(",", ".", literal=True)).otherwise(plain)
    )
    return comma.cast(pl.Float64, strict=False)


def as_date(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression that reads a column as dates; what is not a date becomes null."""
    if dtype == pl.String:
        text = pl.col(column).str.strip_chars()
        formats = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%Y/%m/%d"]
        return pl.coalesce([text.str.to_datetime(f, strict=False, time_unit="us") for f in formats])
    return pl.col(column).cast(pl.Datetime("us"), strict=False)


def as_words(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression that reads a column as words; whole floats read as "1", so that every source agrees."""
    if not dtype.is_float():
        return pl.col(column).cast(pl.String).str.strip_chars()
    whole = pl.col(column).cast(pl.Int64, strict=False)
    exact = pl.col(column).cast(pl.String)
    return pl.when(whole.cast(pl.Float64) == pl.col(column)).then(whole.cast(pl.String)).otherwise(exact)


def blank_codes(column: str, dtype: pl.DataType, codes: Sequence[float | str]) -> pl.Expr:
    """Return an expression in which the values that mean missing are null, whatever the type of the column."""
    numbers = [float(v) for v in codes if not isinstance(v, str)]
    words = [v for v in codes if isinstance(v, str)]
    coded = pl.lit(False)
    if numbers and (dtype == pl.String or dtype.is_numeric()):
        coded = coded | as_number(column, dtype == pl.String).is_in(numbers).fill_null(False)
    if words:
        coded = coded | as_words(column, dtype).is_in(words).fill_null(False)
    return pl.when(coded).then(None).otherwise(pl.col(column)).alias(column)


def as_index_date(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression that reads an index date; a whole year is its first day."""
    if not (dtype == pl.String or dtype.is_numeric()):
        return as_date(column, dtype)
    words = as_words(column, dtype)
    year = pl.when(words.str.contains(r"^(1[89]|20)\d\d$")).then(words + "-01-01")
    first = year.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    return pl.coalesce([as_date(column, dtype), first]) if dtype == pl.String else first


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How one column becomes an array."""

    name: str
    kind: Kind
    expression: pl.Expr


def infer(
    frame: pl.LazyFrame, columns: Sequence[str], declared: Mapping[str, Declared], numeric: set[str], label: str
) -> tuple[list[ColumnPlan], int]:
    """Decide the kind of each column from one streaming pass of counts."""
    schema = frame.collect_schema()
    counts: list[pl.Expr] = [pl.len().alias("rows")]
    for c in columns:
        known = pl.col(c).is_not_null()
        counts.append(known.sum().alias(f"known:{c}"))
        if schema[c] == pl.String:
            text = pl.col(c).str.strip_chars()
            grouped = text.str.contains(r"^[-+]?\d{1,3},\d{3}$")
            counts.append(grouped.sum().alias(f"grouped:{c}"))
            counts.append((text.str.contains(r"^[-+]?\d+,\d+$") & ~grouped).sum().alias(f"comma:{c}"))
        if schema[c] in (pl.String, pl.Categorical) or isinstance(schema[c], pl.Enum):
            counts.append(
                as_number(c, text=True).is_not_null().sum().alias(f"number:{c}")
                if schema[c] == pl.String
                else pl.lit(-1).alias(f"number:{c}")
            )
            counts.append(
                as_date(c, schema[c]).is_not_null().sum().alias(f"date:{c}")
                if schema[c] == pl.String
                else pl.lit(-1).alias(f"date:{c}")
            )
            counts.append(pl.col(c).n_unique().alias(f"levels:{c}"))
    seen = collect(frame.select(counts), label).row(0, named=True)
    plans: list[ColumnPlan] = []
    for c in columns:
        dtype, want = schema[c], declared.get(c, Declared())
        textual = f"number:{c}" in seen
        kind: Kind
        if want.kind is not None:
            kind = want.kind
        elif want.categories:
            kind = "category"
        elif dtype.is_temporal():
            kind = "date"
        elif not textual or (seen[f"number:{c}"] == seen[f"known:{c}"] or c in numeric):
            kind = "number"
        elif seen[f"date:{c}"] == seen[f"known:{c}"] > 0:
            kind = "date"
        elif seen[f"levels:{c}"] <= MAX_LEVELS:
            kind = "category"
        else:
            kind = "text"
        if kind == "number":
            if seen.get(f"grouped:{c}") and not seen[f"comma:{c}"]:
                raise DataError(
                    f"column '{c}' has {seen[f'grouped:{c}']} values such as 1,234: one thousand, or one and a bit",
                    "numbers without a thousands separator",
                    "write the column without commas, or declare it a category",
                )
            if textual and seen[f"number:{c}"] != seen[f"known:{c}"]:
                raise DataError(
                    f"column '{c}' holds text in {seen[f'known:{c}'] - seen[f'number:{c}']} of {seen['rows']} rows",
                    "numbers",
                    f"correct the rows, or list the words that mean missing in [variables.{c}] missing_codes",
                )
            expression = as_number(c, dtype == pl.String)
        elif kind == "date":
            expression = as_date(c, dtype)
        else:
            words = as_words(c, dtype).str.replace_all(r"[\x00-\x1f\x7f]", " ")
            expression = pl.when(words.is_in(["NaN", "nan", ""])).then(None).otherwise(words)
        plans.append(ColumnPlan(c, kind, expression.alias(c)))
    return plans, int(seen["rows"])


def to_variable(plan: ColumnPlan, column: pl.Series, declared: Declared, role: Role) -> tuple[Variable, NDArray[Any]]:
    """Turn a typed column into the variable and the array a cohort holds."""
    levels: tuple[str, ...] = ()
    array: NDArray[Any]
    if plan.kind == "number":
        array = column.to_numpy().astype(np.float64, copy=False)
        bad = int((np.abs(array) > LARGEST).sum())
        if bad:
            raise DataError(
                f"column '{plan.name}' has {bad} infinite or absurdly large values",
                f"numbers within ±{LARGEST:g}",
                "correct the rows, or choose another unit",
            )
    elif plan.kind == "category":
        levels = declared.categories or tuple(_natural(column.drop_nulls().unique().to_list()))
        codes = {level: i for i, level in enumerate(levels)}
        if declared.categories:
            strange = column.drop_nulls().is_in(list(levels)).not_().sum()
            if strange:
                raise DataError(
                    f"column '{plan.name}' has {strange} values that are not among its declared categories",
                    f"one of its {len(levels)} categories",
                    f"correct the rows or [variables.{plan.name}] categories",
                )
        array = column.replace_strict(codes, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()
    elif plan.kind == "date":
        array = column.to_numpy().astype("datetime64[us]")
    else:
        array = column.to_numpy().astype(object)
    role = "descriptor" if role == "predictor" and plan.kind in ("date", "text") else role
    return (
        Variable(
            name=plan.name,
            kind=plan.kind,
            role=role,
            unit=declared.unit,
            label=declared.label,
            categories=levels,
            plausible=declared.plausible,
            code=declared.code,
        ),
        array,
    )


def _natural(levels: list[str]) -> list[str]:
    """Sort levels as people do: 2 before 10."""
    try:
        return sorted(levels, key=float)
    except ValueError:
        return sorted(levels)
