"""Reading the outcome: which columns hold it, which value means the event, and what may not be in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Binary, CompetingRisks, Continuous, DataError, FlowStep, Outcome, StudyFileError, Survival
from aimed.core.outcome import TimeUnit
from aimed.metrics.nonparametric import kaplan_meier
from aimed.readers.columns import as_number

__all__ = ["OutcomeColumns", "read_outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeColumns:
    """Which columns hold the outcome, and how to read them.

    Parameters
    ----------
    column, positive : str and value
        A binary outcome and the value that means it is present.
    continuous, measured_in : bool and str
        Whether ``column`` is a measured quantity instead, and its unit.
    time, event, event_value : str, str and value
        A time-to-event outcome; the event is seen where ``event`` equals ``event_value``.
    competing : mapping of str to str
        Other values of ``event``, as text, and what each kind of event is called.
    horizon : float, optional, in ``unit``
        With ``time`` and ``event``: the binary outcome "event by the horizon". Rows censored before it are
        removed and counted.
    unit : {"day", "month", "year"}
    label : str
    """

    column: str | None = None
    positive: float | str | bool | None = None
    continuous: bool = False
    measured_in: str = ""
    time: str | None = None
    event: str | None = None
    event_value: float | str | bool = 1
    competing: Mapping[str, str] = field(default_factory=dict)
    horizon: float | None = None
    unit: TimeUnit = "day"
    label: str = "outcome"

    @property
    def names(self) -> list[str]:
        """Names of the columns in use."""
        return [c for c in (self.column, self.time, self.event) if c]


def _equals(column: pl.Series, value: float | str | bool) -> pl.Series:
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    number = column.cast(pl.Float64, strict=False) if column.dtype != pl.String else text.cast(pl.Float64, strict=False)
    if isinstance(value, bool):
        return text.is_in(["true", "1", "1.0"]) if value else text.is_in(["false", "0", "0.0"])
    if isinstance(value, (int, float)):
        return (number == float(value)).fill_null(False) | text.is_in(
            [str(bool(value)).lower()] if value in (0, 1) else []
        )
    return text == value.strip().lower()


def _levels(column: pl.Series) -> int:
    """Count different values, words without their case and the blanks around them."""
    words = column.dtype == pl.String
    return (column.str.strip_chars().str.to_lowercase() if words else column).n_unique()


def _binary_values(column: pl.Series, positive: float | str | bool | None, name: str) -> NDArray[np.int8]:
    missing = column.null_count()
    if column.dtype.is_float():
        missing += int(column.is_nan().sum())
    if missing:
        raise DataError(
            f"the outcome column '{name}' is missing in {missing} of {column.len()} rows",
            "a value in every row",
            f"add the inclusion rule '{name} is known'",
        )
    levels = column.n_unique()
    if levels > 2:
        raise DataError(
            f"the outcome column '{name}' has {levels} different values",
            "two",
            "choose a yes/no column, or another task for a count or a measurement",
        )
    if positive is None:
        text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
        if not text.is_in(["0", "1", "0.0", "1.0", "true", "false"]).all():
            raise DataError(
                f"the outcome column '{name}' holds words", "0 and 1", "name the positive value in [outcome] positive"
            )
        positive = 1
    values = _equals(column, positive).fill_null(False).to_numpy().astype(np.int8)
    if levels == 1:
        raise DataError(
            f"the outcome column '{name}' has one class only ({int(values.sum())} of {values.size} positive)",
            "rows with and without the outcome",
            "check the column and the inclusion rules",
        )
    if not values.any():
        raise DataError(
            f"no row of the outcome column '{name}' has the positive value of the study file",
            "some rows with it",
            "correct [outcome] positive",
        )
    return values


def _numbers(column: pl.Series, name: str, what: str) -> NDArray[np.float64]:
    number = column.to_frame("v").select(as_number("v", column.dtype == pl.String)).to_series()
    bad = number.null_count() - column.null_count()
    if bad:
        raise DataError(f"the {what} column '{name}' holds text in {bad} of {column.len()} rows", "numbers")
    missing = column.null_count() + int(number.is_nan().sum())
    if missing:
        raise DataError(
            f"the {what} column '{name}' is missing in {missing} of {column.len()} rows",
            "a value in every row",
            f"add the inclusion rule '{name} is known'",
        )
    return number.to_numpy().astype(np.float64)


def read_outcome(
    table: pl.DataFrame, spec: OutcomeColumns, flow: list[FlowStep]
) -> tuple[Outcome, NDArray[np.bool_] | None]:
    """Return the outcome, and which rows have one when follow-up ended too early in some."""
    if spec.column is not None and spec.continuous:
        measured = _numbers(table[f"outcome:{spec.column}"], spec.column, "outcome")
        if np.ptp(measured) == 0.0:
            raise DataError(f"the outcome column '{spec.column}' has one value only", "values that differ")
        return Continuous(values=measured, unit=spec.measured_in, label=spec.label), None
    if spec.column is not None:
        return Binary(
            values=_binary_values(table[f"outcome:{spec.column}"], spec.positive, spec.column), label=spec.label
        ), None
    if spec.time is None or spec.event is None:
        raise StudyFileError("[outcome] names neither a column nor a time and an event", "one of the two")
    event_column = table[f"outcome:{spec.event}"]
    if event_column.dtype.is_float():
        event_column = event_column.fill_nan(None)
    missing = event_column.null_count()
    if missing:
        raise DataError(
            f"the event column '{spec.event}' is missing in {missing} of {table.height} rows",
            "a value in every row",
            "write a code for censored if that is what blank means; if the event is not known, add the inclusion rule "
            f"'{spec.event} is known'",
        )
    others = 1 + len(spec.competing)
    if _levels(event_column) > 1 + others:
        raise DataError(
            f"the event column '{spec.event}' has {_levels(event_column)} different values",
            "two: event and censored" if not spec.competing else f"{1 + others}: the kinds of event, and censored",
            "name the other kinds of event in [outcome] competing = { value = 'what it is' }",
        )
    event = _equals(event_column, spec.event_value).fill_null(False).to_numpy().astype(bool)
    time = _numbers(table[f"outcome:{spec.time}"], spec.time, "time")
    low = int((time <= 0).sum())
    if low:
        raise DataError(
            f"the time column '{spec.time}' is zero or negative in {low} of {time.size} rows",
            f"times > 0 in {spec.unit}s",
            f"shift the index time, or add the inclusion rule '{spec.time} > 0'",
        )
    if not event.any():
        raise DataError(
            f"the event column '{spec.event}' has no events of interest in {event.size} rows",
            "rows with the event",
            "correct [outcome] event_value",
        )
    if spec.competing:
        return _competing(event_column, event, time, spec), None
    if spec.horizon is None:
        return Survival(event=event, time=time, unit=spec.unit, label=spec.label), None
    known = event | (time >= spec.horizon)
    lost = int((~known).sum())
    if lost:
        by_horizon = event & (time <= spec.horizon)
        flow.append(
            FlowStep(
                f"Followed to {spec.horizon:g} {spec.unit}s or to the event",
                lost,
                int(known.sum()),
                {
                    "risk_of_all": 1.0 - float(kaplan_meier(event, time).at([spec.horizon], extend=True)[0]),
                    "risk_of_kept": float(by_horizon[known].mean()),
                },
            )
        )
    values = (event & (time <= spec.horizon))[known].astype(np.int8)
    if values.min() == values.max():
        raise DataError(
            f"by {spec.horizon:g} {spec.unit}s the outcome has one class only",
            "rows with and without it",
            "choose another horizon",
        )
    return Binary(values=values, label=spec.label), known


def _competing(
    column: pl.Series, event: NDArray[np.bool_], time: NDArray[np.float64], spec: OutcomeColumns
) -> CompetingRisks:
    """Return the outcome with the declared kinds of event; one further value may be left, which is censored."""
    cause = event.astype(np.int16)
    for k, (value, label) in enumerate(spec.competing.items(), 2):
        try:
            rows = _equals(column, float(value))
        except ValueError:
            rows = _equals(column, value)
        seen = rows.fill_null(False).to_numpy().astype(bool)
        if not seen.any():
            raise DataError(
                f"no row of the event column '{spec.event}' has the competing event '{label}'",
                "rows with it",
                "correct the value in [outcome] competing, or take the line out",
            )
        cause[seen] = k
    left = _levels(column.filter(pl.Series(cause == 0)))
    if left > 1:
        raise DataError(
            f"{left} values of the event column '{spec.event}' are not declared",
            "one, for censored rows",
            "name every kind of event in [outcome] competing",
        )
    return CompetingRisks(cause=cause, time=time, unit=spec.unit, labels=(spec.label, *spec.competing.values()))
