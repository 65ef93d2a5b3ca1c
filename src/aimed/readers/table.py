"""Tables become cohorts here: read lazily, filtered by counted inclusion rules and typed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Cohort, Comparison, DataError, FlowStep, Outcome, StudyFileError, Variable, nearest, parse
from aimed.core.cohort import Role
from aimed.readers.columns import Band, Declared, as_index_date, as_number, blank_codes, infer, to_variable
from aimed.readers.outcome import OutcomeColumns, read_outcome
from aimed.readers.source import collect, column_names, open_table

__all__ = ["Band", "Declared", "OutcomeColumns", "describe_columns", "open_table", "raw_columns", "read_table"]


def _require(columns: Sequence[str], known: Sequence[str], where: str) -> None:
    for column in columns:
        if column not in known:
            close = nearest(column, known)
            raise DataError(
                f"{where} names the column '{column}', which is not in the table",
                f"one of its {len(known)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )


def _condition(rule: Comparison, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(rule.name)
    if rule.operator == "known":
        return column.is_not_null() & (column.is_not_nan() if dtype.is_float() else pl.lit(True))
    values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    if all(isinstance(v, float) for v in values):
        column = as_number(rule.name, dtype == pl.String)
    elif dtype == pl.Date or isinstance(dtype, pl.Datetime):
        column = column.dt.strftime("%Y-%m-%d")
    else:
        column = column.cast(pl.String)
    match rule.operator:
        case "in":
            return column.is_in(list(values))
        case "not in":
            return ~column.is_in(list(values))
        case "between":
            return column.is_between(values[0], values[1])
        case "==":
            return column == values[0]
        case "!=":
            return column != values[0]
        case "<":
            return column < values[0]
        case "<=":
            return column <= values[0]
        case ">":
            return column > values[0]
        case _:
            return column >= values[0]


def _available_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def read_table(
    source: Any,
    *,
    patient: str,
    outcome: OutcomeColumns | None = None,
    unit: str | None = None,
    site: str | None = None,
    time: str | None = None,
    include: Sequence[str] = (),
    predictors: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    descriptors: Sequence[str] = (),
    bands: Mapping[str, Band] | None = None,
    declared: Mapping[str, Declared] | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Cohort:
    """Read a table into a cohort.

    Parameters
    ----------
    source : str, path or frame
        See `open_table`.
    patient : str
        Column of patient ids; required, because every split is grouped by it.
    outcome : OutcomeColumns, optional
        Absent when the table is only to be predicted on.
    unit, site, time : str, optional
        Columns of unit ids, sites and index dates.
    include : sequence of str
        Inclusion rules in the language of `aimed.core.parse`; the rows each removes are counted.
    predictors : sequence of str, optional
        Columns a model may see; every number and category that has no other role when absent.
    exclude : sequence of str
        Columns a model may not see; read all the same as descriptors.
    descriptors : sequence of str
        Columns for subgroups and tables only.
    bands : mapping of str to Band
        Descriptors cut from numbers.
    declared : mapping of str to Declared
        What is known of the columns.
    encoding, separator : str
        Of a text file.

    Returns
    -------
    Cohort

    Raises
    ------
    DataError
        On a missing column, an unreadable file, no rows left, or an outcome that is not what was declared.

    Notes
    -----
    Text files are scanned twice in streaming mode: once for counts that decide types, once for the columns in
    use. Rows and columns that are not needed never reach memory.

    Examples
    --------
    >>> cohort = read_table("builtin:breast_cancer", patient="id",
    ...                     outcome=OutcomeColumns(column="diagnosis", positive="malignant"))
    >>> cohort.n, cohort.outcome.events, len(cohort.predictors)
    (569, 212, 30)
    """
    declared, bands = declared or {}, bands or {}
    frame, label = open_table(source, encoding=encoding, separator=separator)
    known = column_names(frame, label)
    if not known:
        raise DataError(f"{label} has no columns", "a header line and at least one row", "check the export")
    wanted = outcome.names if outcome else []
    fixed = [c for c in (patient, unit, site, time) if c] + wanted
    rules = [parse(rule) for rule in include]
    _require([patient], known, "[data] patient")
    _require([c for c in (unit, site, time) if c], known, "[data]")
    _require(wanted, known, "[outcome]")
    _require(list(predictors or ()) + list(exclude), known, "[predictors]")
    _require(descriptors, [*known, *bands], "[subgroups] columns")
    _require([b.source for b in bands.values()], known, "[subgroups] derive")
    _require(list(declared), [*known, *bands], "[variables]")
    _require([c.name for rule in rules for c in rule], known, "[data] include")
    both = sorted(set(predictors or ()) & set(wanted))
    if both:
        raise StudyFileError(
            f"[predictors] names the outcome column '{both[0]}'", "columns known at prediction", "remove it"
        )

    taken = sorted(set(predictors or ()) & {c for c in (patient, unit, site, time) if c})
    if taken:
        raise StudyFileError(
            f"[predictors] names '{taken[0]}', which [data] names as patient, unit, site or time",
            "columns that say something about the patient",
            "remove it",
        )
    strange = sum(not c.isprintable() or not c.strip() for c in known)
    if strange:
        raise DataError(f"{strange} column names are empty or hold control characters", "names that can be read")

    schema = frame.collect_schema()
    flow: list[FlowStep] = []
    start = int(collect(frame.select(pl.len()), label).item())
    if start == 0:
        raise DataError(f"{label} has a header and no rows", "at least one row", "check the export")
    flow.append(FlowStep("Rows in the table", 0, start))
    coded = {c: d.missing_codes for c, d in declared.items() if d.missing_codes and c in known}
    if coded:
        frame = frame.with_columns([blank_codes(c, schema[c], codes) for c, codes in coded.items()])
    steps: list[tuple[str, pl.Expr]] = [
        (text, pl.all_horizontal([_condition(c, schema[c.name]) for c in rule]).fill_null(False))
        for text, rule in zip(include, rules, strict=True)
    ]
    frame, _ = _apply(frame, steps, flow, label)

    listed = set(predictors) if predictors is not None else None
    roles: dict[str, Role] = {}
    for c in known:
        if c == patient:
            roles[c] = "patient"
        elif c == unit:
            roles[c] = "unit"
        elif c == site:
            roles[c] = "site"
        elif c == time:
            roles[c] = "time"
        elif c in wanted:
            roles[c] = "outcome"
        elif c in exclude:
            roles[c] = "descriptor"
        elif listed is None or c in listed:
            roles[c] = "predictor"
        elif c in descriptors or c in [b.source for b in bands.values()]:
            roles[c] = "descriptor"
    keep = [c for c in known if c in roles and c not in fixed]
    numeric = {c for c, d in declared.items() if d.kind == "number"} | {b.source for b in bands.values()}
    plans, rows = infer(frame, keep, declared, numeric, label)
    for plan in plans:
        if plan.name in (listed or ()) and plan.kind in ("date", "text"):
            raise DataError(
                f"[predictors] names '{plan.name}', which is read as a {plan.kind} column",
                "numbers, or a category of few levels",
                f"find the values that are not numbers with [variables.{plan.name}] kind = 'number', or take it out",
            )
    available = _available_bytes()
    needed = rows * (len(plans) + 8) * 8 * 3
    if available is not None and needed > available:
        raise DataError(
            f"{rows:,} rows of {len(plans)} columns need about {needed / 2**30:.1f} GB",
            f"at most the {available / 2**30:.1f} GB that are free",
            "name fewer columns in [predictors], or add an inclusion rule",
        )
    # Blanks around an id would make two patients of one.
    ids = [pl.col(c).cast(pl.String).str.strip_chars() for c in dict.fromkeys(c for c in (patient, unit, site) if c)]
    raw = [pl.col(c).alias(f"outcome:{c}") for c in dict.fromkeys(wanted)]
    dates = [as_index_date(time, schema[time]).alias(time)] if time else []
    table = collect(frame.select([p.expression for p in plans] + ids + dates + raw), label)

    _no_missing(table[patient], f"the patient column '{patient}'")
    if time:
        unread = int(collect(frame.select(pl.col(time).is_not_null().sum()), label).item())
        unread -= table.height - table[time].null_count()
        if unread > 0:
            raise DataError(
                f"the time column '{time}' holds {unread} values that are not dates",
                "dates such as 2024-05-31, 2024-05-31 14:00:00, 31.05.2024 or 2024/05/31, or whole years",
                "write them in one of these ways",
            )
    target: Outcome | None = None
    if outcome is not None:
        target, rows_kept = read_outcome(table, outcome, flow)
        table = table.filter(rows_kept) if rows_kept is not None else table
    variables: list[Variable] = []
    columns: dict[str, NDArray[Any]] = {}
    for plan in plans:
        variable, array = to_variable(plan, table[plan.name], declared.get(plan.name, Declared()), roles[plan.name])
        variables.append(variable)
        columns[plan.name] = array
    for name, band in bands.items():
        values = columns.get(band.source)
        if values is None or values.dtype != np.float64:
            raise DataError(f"[subgroups] derive.{name} cuts '{band.source}', which is not a number", "a number column")
        codes = np.digitize(values, band.cuts).astype(np.int32)
        codes[np.isnan(values)] = -1
        variables.append(
            Variable(
                name=name,
                kind="category",
                role="descriptor",
                categories=band.names(),
                unit=declared.get(band.source, Declared()).unit if not band.labels else None,
                label=declared.get(name, Declared()).label or name.replace("_", " ").capitalize(),
            )
        )
        columns[name] = codes
    return Cohort(
        patient=_strings(table[patient]),
        ids=_unit_ids(table, unit),
        site=None if site is None else _strings(table[site].fill_null("unknown")),
        time=None if time is None else table[time].to_numpy().astype("datetime64[us]"),
        variables=variables,
        columns=columns,
        outcome=target,
        flow=flow,
        source=label,
    )


def _apply(
    frame: pl.LazyFrame, steps: Sequence[tuple[str, pl.Expr]], flow: list[FlowStep], label: str
) -> tuple[pl.LazyFrame, int]:
    remaining = flow[-1].remaining
    if not steps:
        return frame, remaining
    passed = pl.lit(True)
    counts = []
    for i, (_, condition) in enumerate(steps):
        passed = passed & condition
        counts.append(passed.sum().alias(str(i)))
    left = collect(frame.select(counts), label).row(0)
    for (text, _), n in zip(steps, left, strict=True):
        flow.append(FlowStep(text, remaining - int(n), int(n)))
        remaining = int(n)
        if remaining == 0:
            raise DataError(
                f"no rows are left after the inclusion rule '{text}'", "at least one row", "correct [data] include"
            )
    return frame.filter(passed), remaining


def _strings(column: pl.Series) -> NDArray[Any]:
    return column.to_numpy().astype(str)


def _unit_ids(table: pl.DataFrame, unit: str | None) -> NDArray[Any] | None:
    if unit is None:
        return None
    _no_missing(table[unit], f"the unit column '{unit}'")
    repeated = table.height - table[unit].n_unique()
    if repeated:
        raise DataError(
            f"the unit column '{unit}' repeats {repeated} ids", "one id a row", "name a column that is unique a row"
        )
    return _strings(table[unit])


def _no_missing(column: pl.Series, what: str) -> None:
    empty = column.null_count() + int((column.drop_nulls().str.strip_chars() == "").sum())
    if empty:
        raise DataError(
            f"{what} is missing in {empty} of {column.len()} rows",
            "an id in every row",
            "fill it in, or add the inclusion rule '<column> is known'",
        )


def raw_columns(
    source: Any, columns: Sequence[str], *, encoding: str = "utf-8", separator: str | None = None
) -> tuple[dict[str, list[Any]], list[str]]:
    """Read raw columns for prediction, without typing them.

    Parameters
    ----------
    source : str, path or frame
        See `open_table`.
    columns : sequence of str
        Those to read, where present.
    encoding, separator : str
        Of a text file.

    Returns
    -------
    (dict of str to list, list of str)
        Values by column, and the names of every column of the table.
    """
    frame, label = open_table(source, encoding=encoding, separator=separator)
    known = column_names(frame, label)
    chosen = [c for c in columns if c in known]
    if not chosen:
        raise DataError(
            f"{label} has none of the {len(columns)} columns the model needs", "the model's inputs as columns"
        )
    table = collect(frame.select(chosen), label)
    return {c: table[c].to_list() for c in chosen}, known


def describe_columns(source: Any, **options: Any) -> list[dict[str, Any]]:
    """Return name, kind, missing count and levels of each column, for `aimed new`; no values but category names."""
    frame, label = open_table(source, **options)
    names = column_names(frame, label)
    plans, rows = infer(frame, names, {}, set(), label)
    counts = collect(
        frame.select(
            [p.expression.n_unique().alias(f"u:{p.name}") for p in plans]
            + [p.expression.null_count().alias(f"m:{p.name}") for p in plans]
        ),
        label,
    ).row(0, named=True)
    return [
        {
            "name": p.name,
            "kind": p.kind,
            "rows": rows,
            "levels": int(counts[f"u:{p.name}"]) - (1 if counts[f"m:{p.name}"] else 0),
            "missing": int(counts[f"m:{p.name}"]),
        }
        for p in plans
    ]
