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

__all__ = ["Band", "ColumnPlan", "Declared", "as_date", "as_number", "infer", "to_variable"]

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
        codes = list(want.missing_codes)
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
            if textual and seen[f"number:{c}"] != seen[f"known:{c}"] and not codes:
                raise DataError(
                    f"column '{c}' holds text in {seen[f'known:{c}'] - seen[f'number:{c}']} of {seen['rows']} rows",
                    "numbers",
                    f"correct the rows, or list the words that mean missing in [variables.{c}] missing_codes",
                )
            number = as_number(c, dtype == pl.String)
            numbers = [float(v) for v in codes if not isinstance(v, str)]
            expression = pl.when(number.is_in(numbers)).then(None).otherwise(number) if numbers else number
        elif kind == "date":
            expression = as_date(c, dtype)
        else:
            # Whole floats read as "1", not "1.0", so that a category means the same in every source.
            text = (
                pl.col(c).cast(pl.Float64).map_elements(lambda v: f"{v:g}", return_dtype=pl.String)
                if dtype.is_float()
                else pl.col(c).cast(pl.String).str.strip_chars()
            )
            words = [v if isinstance(v, str) else f"{v:g}" for v in codes] + ["NaN", "nan", ""]
            expression = pl.when(text.is_in(words)).then(None).otherwise(text)
        plans.append(ColumnPlan(c, kind, expression.alias(c)))
    return plans, int(seen["rows"])


def to_variable(plan: ColumnPlan, column: pl.Series, declared: Declared, role: Role) -> tuple[Variable, NDArray[Any]]:
    """Turn a typed column into the variable and the array a cohort holds."""
    levels: tuple[str, ...] = ()
    array: NDArray[Any]
    if plan.kind == "number":
        array = column.to_numpy().astype(np.float64, copy=False)
        bad = int(np.isinf(array).sum())
        if bad:
            raise DataError(f"column '{plan.name}' has {bad} infinite values", "finite numbers", "correct the rows")
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
