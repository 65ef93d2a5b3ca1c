"""The cohort: one row a unit of analysis, with patients, variables and outcome, never changed once made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, UnknownNameError
from aimed.core.outcome import Outcome

__all__ = ["SMALL_CELL", "Asset", "Cohort", "FlowStep", "Kind", "Role", "Variable", "is_missing"]

SMALL_CELL = 11
"""Counts of patients below this are not shown (US CMS cell-size policy: 1 to 10 are suppressed)."""

Kind: TypeAlias = Literal["number", "category", "date", "text"]
"""How a column is stored: float64 with NaN, int32 codes with -1, datetime64[us] with NaT, or str objects."""

Role: TypeAlias = Literal["predictor", "patient", "unit", "site", "time", "outcome", "treatment", "descriptor"]
"""What a column is for; a descriptor is used for subgroups and tables only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One column: what it means, in which unit, and what values are plausible.

    Parameters
    ----------
    name : str
        Column name in the source.
    kind : {"number", "category", "date", "text"}
    role : str
        See `Role`.
    unit : str, optional
        UCUM-style unit, such as ``"mmHg"``.
    label : str, optional
        Name shown to people; the column name when absent.
    categories : tuple of str
        Levels of a category, in the order of their codes.
    plausible : (float, float), optional
        Lowest and highest plausible value, in ``unit``.
    code : str, optional
        Code of the concept in a terminology, such as ``"LOINC 8480-6"``.

    Examples
    --------
    >>> Variable(name="sysbp", unit="mmHg", label="Systolic blood pressure").title
    'Systolic blood pressure (mmHg)'
    """

    name: str
    kind: Kind = "number"
    role: Role = "predictor"
    unit: str | None = None
    label: str | None = None
    categories: tuple[str, ...] = ()
    plausible: tuple[float, float] | None = None
    code: str | None = None

    @property
    def title(self) -> str:
        """Label with the unit in brackets, for axes and tables."""
        label = self.label or self.name
        return f"{label} ({self.unit})" if self.unit else label

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        record = asdict(self)
        record["categories"] = list(self.categories)
        record["plausible"] = list(self.plausible) if self.plausible else None
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Variable:
        """Rebuild a variable from `to_dict`."""
        plausible = record.get("plausible")
        return cls(
            **{
                **record,
                "categories": tuple(record.get("categories", ())),
                "plausible": (float(plausible[0]), float(plausible[1])) if plausible else None,
            }
        )


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One step of the participant flow: the rule, the rows it removed, the rows that stayed and what this changed."""

    step: str
    removed: int
    remaining: int
    evidence: Mapping[str, float] = field(default_factory=dict)


class Asset(Protocol):
    """What belongs to each row and is opened on demand, such as its picture."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def take(self, rows: ArrayLike) -> Asset:
        """Return those of some rows."""
        ...

    def digest(self) -> str:
        """Return a hash of the content."""
        ...

    def refusals(self) -> list[dict[str, Any]]:
        """Return ``row``, ``file``, ``code`` and ``reason`` of what could not be read."""
        ...


_DTYPES: dict[str, Any] = {"number": np.float64, "category": np.int32, "date": "datetime64[us]", "text": object}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A table of units of analysis, read-only, with its patients, variables and outcome.

    Parameters
    ----------
    patient : str array, shape (n,)
        Patient of each row; rows of one patient never part.
    variables : sequence of Variable
        One a column, in order.
    columns : mapping of str to array, shape (n,)
        float64 with NaN for numbers, int32 codes with -1 for categories, datetime64[us] for dates, objects
        for text.
    outcome : Outcome, optional
        Aligned with the rows.
    ids : str array, shape (n,), optional
        Unit ids; row numbers when absent.
    site, time : arrays, shape (n,), optional
        Site (str) and index date (datetime64[us]).
    flow : sequence of FlowStep
        How many rows each inclusion rule removed.
    source : str
        Where the rows came from: a file name without its folder, or a ``builtin:`` name.
    assets : mapping of str to Asset
        Pictures, volumes or notes, one a row, opened on demand.

    Raises
    ------
    DataError
        If a column or an asset has another length than the patients.

    Examples
    --------
    >>> cohort = Cohort(patient=["a", "a", "b"], variables=[Variable(name="age")],
    ...                 columns={"age": [60.0, 61.0, float("nan")]})
    >>> cohort.n, cohort.patients, cohort.missing("age")
    (3, 2, 1)
    """

    patient: NDArray[Any]
    variables: Sequence[Variable]
    columns: Mapping[str, NDArray[Any]]
    outcome: Outcome | None = None
    ids: NDArray[Any] | None = None
    site: NDArray[Any] | None = None
    time: NDArray[Any] | None = None
    flow: Sequence[FlowStep] = ()
    source: str = "memory"
    assets: Mapping[str, Any] = field(default_factory=dict)
    _index: Mapping[str, Variable] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        patient = np.asarray(self.patient, dtype=str)
        n = patient.size
        put(self, "patient", _locked(patient))
        put(self, "ids", _locked(np.arange(n).astype(str) if self.ids is None else np.asarray(self.ids, dtype=str)))
        if self.site is not None:
            put(self, "site", _locked(np.asarray(self.site, dtype=str)))
        if self.time is not None:
            put(self, "time", _locked(np.asarray(self.time, dtype="datetime64[us]")))
        put(self, "variables", tuple(self.variables))
        put(self, "flow", tuple(self.flow))
        put(self, "_index", MappingProxyType({v.name: v for v in self.variables}))
        columns = {v.name: _locked(np.asarray(self.columns[v.name], dtype=_DTYPES[v.kind])) for v in self.variables}
        put(self, "columns", MappingProxyType(columns))
        put(self, "assets", MappingProxyType(dict(self.assets)))
        for name, asset in self.assets.items():
            if len(asset) != n:
                raise DataError(f"asset '{name}' has {len(asset)} rows", f"{n}, as the cohort")
        for name, column in {**columns, "ids": self.ids, "site": self.site, "time": self.time}.items():
            if column is not None and column.shape != (n,):
                raise DataError(f"column '{name}' has {column.shape} values", f"({n},), one a row")
        if self.outcome is not None and self.outcome.n != n:
            raise DataError(f"the outcome has {self.outcome.n} rows", f"{n}, as the cohort")

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.patient.size)

    @property
    def patients(self) -> int:
        """Number of distinct patients."""
        return int(np.unique(self.patient).size)

    def variable(self, name: str) -> Variable:
        """Return the variable called `name`, or raise with the nearest name."""
        try:
            return self._index[name]
        except KeyError:
            raise UnknownNameError("column", name, self._index) from None

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of a column, shape (n,)."""
        self.variable(name)
        return self.columns[name]

    def names(self, *roles: Role) -> list[str]:
        """Return the names of the columns that have one of the roles, in order."""
        return [v.name for v in self.variables if v.role in roles]

    @property
    def predictors(self) -> tuple[Variable, ...]:
        """The variables a model may see."""
        return tuple(v for v in self.variables if v.role == "predictor")

    def missing(self, name: str) -> int:
        """Return how many values of a column are missing."""
        return int(is_missing(self.column(name), self.variable(name).kind).sum())

    def matrix(self, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return predictors as floats, shape (n, p): numbers as they are, categories as codes, missing as NaN."""
        chosen = [self.variable(name) for name in names] if names is not None else list(self.predictors)
        out = np.empty((self.n, len(chosen)), dtype=np.float64, order="F")
        for j, v in enumerate(chosen):
            if v.kind not in ("number", "category"):
                raise DataError(
                    f"predictor '{v.name}' is a {v.kind} column", "a number or a category", "exclude or derive it"
                )
            out[:, j] = self.columns[v.name]
            if v.kind == "category":
                out[self.columns[v.name] < 0, j] = np.nan
        return out

    def take(self, rows: ArrayLike) -> Cohort:
        """Return the cohort of some rows, given as indices or a mask."""
        rows = np.asarray(rows)
        return replace(
            self,
            patient=self.patient[rows],
            ids=None if self.ids is None else self.ids[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
            outcome=None if self.outcome is None else self.outcome.take(rows),
            site=None if self.site is None else self.site[rows],
            time=None if self.time is None else self.time[rows],
            assets={name: asset.take(rows) for name, asset in self.assets.items()},
        )

    def digest(self) -> str:
        """Return a SHA-256 over the content: columns, patients, ids, outcome and what the columns mean."""
        sha = hashlib.sha256()

        def add(name: str, array: NDArray[Any] | None) -> None:
            sha.update(f"\0{name}\0".encode())
            if array is None:
                return
            if array.dtype.kind in "OU":
                sha.update("\x1f".join(map(str, array.tolist())).encode())
            else:
                sha.update(np.ascontiguousarray(array).tobytes())

        add("patient", self.patient)
        add("ids", self.ids)
        add("site", self.site)
        add("time", self.time)
        for v in self.variables:
            sha.update(repr(v).encode())
            add(v.name, self.columns[v.name])
        if self.outcome is not None:
            for name in ("values", "volumes", "event", "cause", "time"):
                add(name, getattr(self.outcome, name, None))
        for name in sorted(self.assets):
            sha.update(f"\0{name}\0{self.assets[name].digest()}\0".encode())
        return sha.hexdigest()


def is_missing(column: NDArray[Any], kind: Kind) -> NDArray[np.bool_]:
    """Return True where a column of this kind has no value."""
    if kind == "number":
        return np.asarray(np.isnan(column))
    if kind == "category":
        return np.asarray(column < 0)
    if kind == "date":
        return np.asarray(np.isnat(column))
    return np.asarray([v is None for v in column], dtype=bool)


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    # A view is enough: it cannot be written through, and a million rows are not copied at every step.
    view = array.view()
    view.setflags(write=False)
    return view
