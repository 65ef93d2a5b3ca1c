"""The outcome types: what is to be predicted, in the field's own terms, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError

__all__ = ["Binary", "CompetingRisks", "Continuous", "Masks", "Multilabel", "Outcome", "Survival", "TimeUnit"]

TimeUnit: TypeAlias = Literal["day", "month", "year"]
"""Unit of a time-to-event outcome."""


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.array(array, copy=True)
    array.setflags(write=False)
    return array


def _first_bad(name: str, bad: NDArray[np.bool_], must: str, do: str) -> None:
    if bad.any():
        raise DataError(f"{name} has {int(bad.sum())} of {bad.size} values that are not {must}", must, do)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A yes/no outcome, known for every row.

    Parameters
    ----------
    values : array of 0/1 or bool, shape (n,)
        1 where the outcome is present according to the reference standard.
    label : str
        What is predicted, in words.

    Raises
    ------
    DataError
        If a value is neither 0 nor 1 (missing values included).

    Examples
    --------
    >>> Binary(values=[0, 1, 1], label="death within 1 year").events
    2
    """

    values: NDArray[np.int8]
    label: str = "outcome"

    def __post_init__(self) -> None:
        raw = np.asarray(self.values)
        try:
            number = raw.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(
                "Binary.values holds text", "0 and 1", "name the positive value in [outcome] positive"
            ) from None
        _first_bad("Binary.values", ~np.isin(number, (0.0, 1.0)), "0 or 1", "drop or code those rows")
        object.__setattr__(self, "values", _frozen(number.astype(np.int8)))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.values.size)

    @property
    def events(self) -> int:
        """Number of rows with the outcome."""
        return int(self.values.sum())

    def take(self, rows: ArrayLike) -> Binary:
        """Return the outcome of some rows."""
        return Binary(values=self.values[np.asarray(rows)], label=self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """A right-censored time-to-event outcome.

    Parameters
    ----------
    event : bool array, shape (n,)
        True where the event was seen, False where follow-up was censored.
    time : float array, shape (n,), in ``unit``
        Time from index to event or censoring; finite and > 0.
    unit : {"day", "month", "year"}
    label : str
        The event, in words.

    Raises
    ------
    DataError
        If lengths differ, an event is not 0/1, or a time is not finite and positive.

    References
    ----------
    Harrell et al., Stat Med 1996;15:361 (censoring convention).

    Examples
    --------
    >>> Survival(event=[True, False], time=[10.0, 0.0], unit="day")
    Traceback (most recent call last):
        ...
    aimed.core.errors.DataError: Survival.time has 1 of 2 values that are not finite and > 0; \
expected finite and > 0; shift the index time or exclude those rows with an inclusion rule
    """

    event: NDArray[np.bool_]
    time: NDArray[np.float64]
    unit: TimeUnit = "day"
    label: str = "event"

    def __post_init__(self) -> None:
        try:
            event = np.asarray(self.event).astype(np.float64)
            time = np.asarray(self.time).astype(np.float64)
        except (TypeError, ValueError):
            raise DataError("Survival holds text", "numbers", "code event as 0/1 and time as a number") from None
        if event.shape != time.shape or event.ndim != 1:
            raise DataError(
                f"Survival.event has shape {event.shape} and time {time.shape}", "two vectors of one length"
            )
        _first_bad("Survival.event", ~np.isin(event, (0.0, 1.0)), "0 or 1", "drop or code those rows")
        _first_bad(
            "Survival.time",
            ~(np.isfinite(time) & (time > 0)),
            "finite and > 0",
            "shift the index time or exclude those rows with an inclusion rule",
        )
        object.__setattr__(self, "event", _frozen(event.astype(bool)))
        object.__setattr__(self, "time", _frozen(time))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.time.size)

    @property
    def events(self) -> int:
        """Number of events seen."""
        return int(self.event.sum())

    def take(self, rows: ArrayLike) -> Survival:
        """Return the outcome of some rows."""
        rows = np.asarray(rows)
        return Survival(event=self.event[rows], time=self.time[rows], unit=self.unit, label=self.label)

    def structured(self) -> NDArray[Any]:
        """Return scikit-survival's structured array with fields ``event`` and ``time``."""
        y = np.empty(self.n, dtype=[("event", bool), ("time", np.float64)])
        y["event"], y["time"] = self.event, self.time
        return y


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetingRisks:
    """A time-to-event outcome with several causes, of which each row has at most one.

    Parameters
    ----------
    cause : int array, shape (n,)
        0 censored, 1 the cause of interest, 2 and up the competing causes.
    time : float array, shape (n,), in ``unit``
    unit : {"day", "month", "year"}
    labels : tuple of str
        One name a cause, from cause 1.

    Examples
    --------
    >>> CompetingRisks(cause=[0, 1, 2], time=[5, 3, 4], labels=("relapse", "death")).events
    1
    """

    cause: NDArray[np.int16]
    time: NDArray[np.float64]
    unit: TimeUnit = "day"
    labels: tuple[str, ...] = ("event",)

    def __post_init__(self) -> None:
        cause, time = np.asarray(self.cause), np.asarray(self.time, dtype=np.float64)
        if cause.shape != time.shape or cause.ndim != 1:
            raise DataError(
                f"CompetingRisks.cause has shape {cause.shape} and time {time.shape}", "two vectors of one length"
            )
        number = cause.astype(np.float64)
        bad = ~(np.isfinite(number) & (number >= 0) & (number <= len(self.labels)) & (number % 1 == 0))
        _first_bad("CompetingRisks.cause", bad, f"a whole number from 0 to {len(self.labels)}", "code the causes")
        _first_bad("CompetingRisks.time", ~(np.isfinite(time) & (time > 0)), "finite and > 0", "shift the index time")
        object.__setattr__(self, "cause", _frozen(number.astype(np.int16)))
        object.__setattr__(self, "time", _frozen(time))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.time.size)

    @property
    def events(self) -> int:
        """Number of events of the cause of interest."""
        return int((self.cause == 1).sum())

    def take(self, rows: ArrayLike) -> CompetingRisks:
        """Return the outcome of some rows."""
        rows = np.asarray(rows)
        return CompetingRisks(cause=self.cause[rows], time=self.time[rows], unit=self.unit, labels=self.labels)

    def structured(self) -> NDArray[Any]:
        """Return a structured array with fields ``event`` (0 censored, 1 to K the cause) and ``time``."""
        y = np.empty(self.n, dtype=[("event", np.int64), ("time", np.float64)])
        y["event"], y["time"] = self.cause, self.time
        return y


@dataclass(frozen=True, slots=True, kw_only=True)
class Multilabel:
    """Several yes/no targets a row, each of which may be unknown.

    Parameters
    ----------
    values : float array, shape (n, k)
        1 present, 0 absent, NaN unknown.
    targets : tuple of str, length k

    Examples
    --------
    >>> Multilabel(values=[[1, float("nan")], [0, 1]], targets=("Edema", "Mass")).known.tolist()
    [2, 1]
    """

    values: NDArray[np.float64]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.targets):
            raise DataError(f"Multilabel.values has shape {values.shape}", f"(n, {len(self.targets)})")
        _first_bad("Multilabel.values", ~(np.isnan(values) | np.isin(values, (0.0, 1.0))), "0, 1 or NaN", "code them")
        object.__setattr__(self, "values", _frozen(values))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def known(self) -> NDArray[np.int64]:
        """Number of known values of each target."""
        return np.asarray((~np.isnan(self.values)).sum(axis=0))

    def take(self, rows: ArrayLike) -> Multilabel:
        """Return the outcome of some rows."""
        return Multilabel(values=self.values[np.asarray(rows)], targets=self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Regions outlined in each scan; the masks themselves belong to the rows and are opened on demand.

    Parameters
    ----------
    volumes : float array, shape (n, k), in ml
        0 where a region is absent; NaN where nobody outlined it.
    targets : tuple of str, length k
        Names of the regions.

    Examples
    --------
    >>> Masks(volumes=[[12.5, 0.0], [float("nan"), 3.0]], targets=("whole tumour", "core")).present.tolist()
    [[True, False], [False, True]]
    """

    volumes: NDArray[np.float64]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        volumes = np.asarray(self.volumes, dtype=np.float64)
        if volumes.ndim != 2 or volumes.shape[1] != len(self.targets):
            raise DataError(f"Masks.volumes has shape {volumes.shape}", f"(n, {len(self.targets)})")
        _first_bad("Masks.volumes", np.isinf(volumes) | (volumes < 0), "0 ml or more, or NaN", "measure them again")
        object.__setattr__(self, "volumes", _frozen(volumes))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.volumes.shape[0])

    @property
    def present(self) -> NDArray[np.bool_]:
        """True where a region is known to be there, shape (n, k)."""
        return np.asarray(self.volumes > 0)

    def take(self, rows: ArrayLike) -> Masks:
        """Return the outcome of some rows."""
        return Masks(volumes=self.volumes[np.asarray(rows)], targets=self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuous:
    """A measured quantity with its unit.

    Parameters
    ----------
    values : float array, shape (n,), in ``unit``
        Finite.
    unit : str
    label : str

    Examples
    --------
    >>> Continuous(values=[1.5, 2.0], unit="mg/dL").n
    2
    """

    values: NDArray[np.float64]
    unit: str
    label: str = "outcome"

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        _first_bad("Continuous.values", ~np.isfinite(values), "finite", "drop those rows")
        object.__setattr__(self, "values", _frozen(values))

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.values.size)

    def take(self, rows: ArrayLike) -> Continuous:
        """Return the outcome of some rows."""
        return Continuous(values=self.values[np.asarray(rows)], unit=self.unit, label=self.label)


Outcome: TypeAlias = Binary | Survival | CompetingRisks | Multilabel | Masks | Continuous
"""Any of the outcome types."""
