"""What a packaged model takes: inputs with unit and range, and the reading of raw rows against them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, Variable
from aimed.fit.adapter import StudyModel
from aimed.treatment.effects_model import EffectsModel

__all__ = ["CODES", "Input", "Read", "Schema", "as_columns", "describe", "read_given", "read_rows", "training_range"]

CODES = {
    "MISSING_COLUMN": "The file has no column for an input; nothing is predicted.",
    "MISSING_REQUIRED": "A value that the model cannot do without is missing.",
    "NOT_A_NUMBER": "A number was expected and something else was found.",
    "OUT_OF_RANGE": "The value is outside the plausible range of the input.",
    "UNSEEN_CATEGORY": "The category did not occur in the training rows.",
    "NO_PREDICTION": "The model gives no prediction for this combination of inputs.",
    "OUTSIDE_TRAINING_RANGE": "Warning: plausible, but beyond what the training rows showed.",
}
"""Why a row is refused, or comes with a warning."""

SMALL_CELL = 5
"""A training range leaves out the outermost four patients on each side, so that no end is one patient's value."""

# Plain ASCII digits as in a CSV file; a comma is a decimal mark only once between digits,
# and not before exactly three digits, which may be thousands.
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(?![0-9]{1,3},[0-9]{3}$)[0-9]+,[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of a packaged model.

    Parameters
    ----------
    name, label, unit : str
    kind : {"number", "category"}
    categories : tuple of str
        Levels that training rows showed.
    plausible : (float, float), optional
        Values outside are refused.
    training_range : (float, float), optional
        Values outside get a warning; see `SMALL_CELL`.
    required : bool
        Whether a row without a value is refused.
    missing_codes : tuple of str
        Values that mean missing, as in the study file.
    """

    name: str
    kind: Literal["number", "category"]
    label: str | None = None
    unit: str | None = None
    categories: tuple[str, ...] = ()
    plausible: tuple[float, float] | None = None
    training_range: tuple[float, float] | None = None
    required: bool = False
    missing_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The inputs of a model, in order, and what an average training row looks like to it.

    Parameters
    ----------
    inputs : tuple of Input
    means : mapping of str to float
        Training mean of each model feature, from which contributions are measured; empty when not known.

    Examples
    --------
    >>> schema = Schema(inputs=(Input(name="age", kind="number", plausible=(18, 110)),))
    >>> Schema.from_dict(schema.to_dict()) == schema
    True
    """

    inputs: tuple[Input, ...]
    means: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        inputs = []
        for one in self.inputs:
            record = asdict(one)
            inputs.append({k: list(v) if isinstance(v, tuple) else v for k, v in record.items()})
        return {"schema": 1, "inputs": inputs, "means": dict(self.means)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Schema:
        """Rebuild from `to_dict`.

        Raises
        ------
        DataError
            If an input has an unknown kind or a range that is not two rising numbers.
        """
        inputs = []
        for item in record["inputs"]:
            one = Input(
                **{
                    **item,
                    "categories": tuple(str(c) for c in item["categories"]),
                    "missing_codes": tuple(str(c) for c in item["missing_codes"]),
                    "plausible": _pair(item["plausible"]),
                    "training_range": _pair(item["training_range"]),
                }
            )
            if one.kind not in ("number", "category"):
                raise DataError(f"input '{one.name}' has an unknown kind", "number or category")
            inputs.append(one)
        means = {str(k): float(v) for k, v in record["means"].items()}
        return cls(inputs=tuple(inputs), means=means)


def _pair(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = (float(v) for v in value)
    if not low <= high:
        raise DataError("a range that does not rise", "lowest and highest value")
    return low, high


def describe(
    model: StudyModel | EffectsModel,
    X: NDArray[np.float64],
    *,
    patient: ArrayLike | None = None,
    required: Sequence[str] = (),
    missing_codes: Mapping[str, Sequence[Any]] | None = None,
) -> Schema:
    """Describe the inputs of a fitted model from its training rows, in aggregates only.

    Parameters
    ----------
    model : StudyModel or EffectsModel, fitted
    X : float array, shape (n, p)
        The training rows it was fitted on.
    patient : array, shape (n,), optional
        Patient of each row; rows are taken as patients when absent.
    required : sequence of str
        Inputs without which nothing is predicted. All are, for a model fitted on complete rows.
    missing_codes : mapping of str to sequence, optional
        Input → values that mean missing.

    Returns
    -------
    Schema

    Raises
    ------
    DataError
        If a required input does not exist.
    """
    names = [v.name for v in model.variables]
    for name in required:
        if name not in names:
            raise DataError(f"required input '{name}' is no predictor", f"one of: {', '.join(names)}")
    complete = model.preparation.missing == "complete_case"
    who = np.arange(X.shape[0]) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    inputs = []
    for j, v in enumerate(model.variables):
        x = X[:, j]
        known = ~np.isnan(x)
        categories: tuple[str, ...] = ()
        reach = None
        if v.kind == "category":
            seen = np.bincount(x[known].astype(np.int64), minlength=len(v.categories)) > 0
            categories = tuple(c for c, there in zip(v.categories, seen, strict=True) if there)
        else:
            reach = training_range(x[known], who[known])
        codes = (missing_codes or {}).get(v.name, ())
        inputs.append(
            Input(
                name=v.name,
                kind="category" if v.kind == "category" else "number",
                label=v.label,
                unit=v.unit,
                categories=categories,
                plausible=v.plausible,
                training_range=reach,
                required=complete or v.name in required,
                missing_codes=tuple(c if isinstance(c, str) else _plain(c) for c in codes),
            )
        )
    Z = model.preparation.transform(X)
    known_cells = np.isfinite(Z)
    counts = known_cells.sum(axis=0)
    sums = np.where(known_cells, Z, 0.0).sum(axis=0)
    means = {
        name: float(total / count)
        for name, total, count in zip(model.preparation.feature_names_out_, sums, counts, strict=True)
        if count
    }
    return Schema(inputs=tuple(inputs), means=means)


def _plain(code: float) -> str:
    """Write a number as a file holds it: whole without a point, else with all its digits."""
    return str(int(code)) if float(code).is_integer() else repr(float(code))


def training_range(x: NDArray[np.float64], who: NDArray[np.int64]) -> tuple[float, float] | None:
    """Return smallest and largest value without those of the outermost patients; None for too few, see `SMALL_CELL`."""
    if x.size == 0:
        return None
    codes = np.unique(who, return_inverse=True)[1]
    count = int(codes.max()) + 1
    if count < 4 * SMALL_CELL:
        return None
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, codes, x)
    np.maximum.at(high, codes, x)
    return float(np.partition(low, SMALL_CELL - 1)[SMALL_CELL - 1]), float(np.partition(high, -SMALL_CELL)[-SMALL_CELL])


@dataclass(frozen=True, slots=True)
class Read:
    """Raw rows read against a schema.

    Parameters
    ----------
    X : float array, shape (n, p)
        In the order of the inputs; NaN where missing or refused.
    refusals, warnings : dict of int to list of (code, column, reason)
        By row number from 0, for the rows that have any.
    """

    X: NDArray[np.float64]
    refusals: dict[int, list[tuple[str, str, str]]]
    warnings: dict[int, list[tuple[str, str, str]]]


def as_columns(rows: Any) -> dict[str, Any]:
    """Return columns from a mapping of columns, a sequence of row mappings, or any data frame.

    Raises
    ------
    DataError
        If columns differ in length or rows are no mappings.

    Examples
    --------
    >>> as_columns([{"age": 60, "sex": "f"}, {"age": 70, "sex": "m"}])
    {'age': [60, 70], 'sex': ['f', 'm']}
    """
    if isinstance(rows, Mapping):
        columns = {str(name): values for name, values in rows.items()}
    elif hasattr(rows, "columns"):
        columns = {str(name): rows[name].to_list() for name in rows.columns}
    elif isinstance(rows, Sequence) and not isinstance(rows, str | bytes) and all(isinstance(r, Mapping) for r in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {str(name): [row.get(name) for row in rows] for name in names}
    else:
        raise DataError("rows of an unknown form", "columns by name, or a list of rows by name")
    if any(isinstance(values, str | bytes) or not hasattr(values, "__len__") for values in columns.values()):
        raise DataError("a column that is a single value", "a list of values a column", "put the value in a list")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise DataError(f"columns with {len(lengths)} different lengths", "one value a row in every column")
    return columns


def read_given(
    schema: Schema, variables: Sequence[Variable], rows: Any, id_column: str | None = None
) -> tuple[Read, list[str | None], NDArray[np.int64]]:
    """Read rows as a user gives them: as model inputs, with the id of each, and which of them can be predicted.

    Parameters
    ----------
    schema : Schema
    variables : sequence of Variable
        Of the model, with the levels of categories in the order of their codes.
    rows : mapping of columns, sequence of row mappings, or data frame
    id_column : str, optional

    Returns
    -------
    (Read, list of str or None, int array)

    Raises
    ------
    DataError
        If the column of an input, or the id column, is absent.
    """
    columns = as_columns(rows)
    if id_column is not None and id_column not in columns:
        raise DataError(f"the rows have no column '{id_column}'", "the id column", "name another one, or none")
    read = read_rows(schema, columns, {v.name: v.categories for v in variables})
    n = read.X.shape[0]
    ids: list[str | None] = [None] * n if id_column is None else [str(v) for v in columns[id_column]]
    return read, ids, np.array([i for i in range(n) if i not in read.refusals], dtype=np.int64)


def read_rows(schema: Schema, columns: Mapping[str, Any], categories: Mapping[str, Sequence[str]]) -> Read:
    """Read raw columns as model inputs, and say row by row what is wrong with them.

    Parameters
    ----------
    schema : Schema
    columns : mapping of str to sequence, length n
        Numbers, or text as a CSV file holds it; None, NaN and empty text are missing. Other columns are
        not looked at.
    categories : mapping of str to sequence of str
        All levels of each category in the order of their codes.

    Raises
    ------
    DataError
        With MISSING_COLUMN, if the column of an input is absent.
    """
    absent = [one.name for one in schema.inputs if one.name not in columns]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent)
        raise DataError(
            f"MISSING_COLUMN: the rows have no column {listed}",
            "a column for every input, which may have empty values",
            "add the column, named as in schema.json",
        )
    n = len(columns[schema.inputs[0].name]) if schema.inputs else 0
    X = np.full((n, len(schema.inputs)), np.nan)
    refusals: dict[int, list[tuple[str, str, str]]] = {}
    warnings: dict[int, list[tuple[str, str, str]]] = {}

    def note(
        where: NDArray[np.bool_], into: dict[int, list[tuple[str, str, str]]], code: str, name: str, why: str
    ) -> None:
        for row in np.flatnonzero(where).tolist():
            into.setdefault(row, []).append((code, name, why))

    for j, one in enumerate(schema.inputs):
        name, unit = one.name, f" {one.unit}" if one.unit else ""
        if one.kind == "category":
            x, missing, bad = _read_category(columns[name], one, categories[name])
            shown = ", ".join(one.categories[:10]) + (", ..." if len(one.categories) > 10 else "")
            note(bad, refusals, "UNSEEN_CATEGORY", name, f"'{name}' is not one of: {shown}")
        else:
            x, missing, bad = _read_number(columns[name], one)
            note(bad, refusals, "NOT_A_NUMBER", name, f"'{name}' is not a finite number")
            known = ~(missing | bad)
            outside = np.zeros(n, dtype=bool)
            if one.plausible is not None:
                low, high = one.plausible
                outside = known & ((x < low) | (x > high))
                why = f"'{name}' is outside its plausible range {low:g} to {high:g}{unit}"
                note(outside, refusals, "OUT_OF_RANGE", name, why)
            if one.training_range is not None:
                low, high = one.training_range
                why = f"'{name}' is beyond the range {low:g} to {high:g}{unit} of the training rows"
                note(known & ~outside & ((x < low) | (x > high)), warnings, "OUTSIDE_TRAINING_RANGE", name, why)
            bad = bad | outside
        if one.required:
            note(missing, refusals, "MISSING_REQUIRED", name, f"'{name}' is missing and the model needs it")
        X[:, j] = np.where(bad, np.nan, x)
    return Read(X, refusals, warnings)


def _read_number(values: Any, one: Input) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return values, where they are missing, and where they are no finite numbers."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        x = values.astype(np.float64)
        missing = np.isnan(x)
    else:
        n = len(values)
        x, missing = np.full(n, np.inf), np.zeros(n, dtype=bool)
        for i, value in enumerate(values):
            text = _text(value)
            if text is None:
                missing[i] = True
            elif isinstance(value, float | np.number | bool | np.bool_):
                x[i] = float(value)
            elif _NUMBER.fullmatch(text):
                x[i] = float(text.replace(",", "."))
    codes = [float(code) for code in one.missing_codes if _NUMBER.fullmatch(code)]
    words = [code for code in one.missing_codes if not _NUMBER.fullmatch(code)]
    if codes:
        missing = missing | np.isin(x, codes)
    if words and not (isinstance(values, np.ndarray) and values.dtype.kind in "fiub"):
        missing = missing | np.asarray([_text(value) in words for value in values], dtype=bool)
    x = np.where(missing, np.nan, x)
    bad = ~missing & ~np.isfinite(x)
    return np.where(bad, np.nan, x), missing, bad


def _read_category(
    values: Any, one: Input, levels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    allowed = set(one.categories)
    codes = {level: float(i) for i, level in enumerate(levels) if level in allowed}
    n = len(values)
    x, missing, bad = np.full(n, np.nan), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for i, value in enumerate(values):
        text = _text(value)
        if text is None or text in one.missing_codes:
            missing[i] = True
        elif text in codes:
            x[i] = codes[text]
        else:
            bad[i] = True
    return x, missing, bad


def _text(value: Any) -> str | None:
    """Return a value as the readers would spell it, or None for a missing one."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else f"{value:g}"
    text = str(value).strip()
    return None if text in ("", "NaN", "nan") else text
