"""Whether each predictor can carry information: constant, id-like, sparse or stored as the wrong type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural, sample
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Variable, is_missing
from aimed.core.finding import Finding

__all__ = ["check"]

_SAY = Reporter("columns", "Moons et al., PROBAST+AI, BMJ 2025;388:e082505, predictor domain")
_MANY = 50
_SPARSE = 5
_UNIQUE = 0.95
_LEAST = 20
_NUMERIC = 0.90
_NUMERIC_LEVELS = 10
_READ = 10_000


def check(context: Context) -> list[Finding]:
    """Return findings on the predictors' own distributions.

    * WARN: a constant or empty predictor; an id-like one (a category or text with another value in more than 95 %
      of the rows, or whole numbers that count the rows, from 20 rows on); a category with more than 50 levels, or
      with levels of fewer than 5 rows; numbers stored as text; infinite values.

    Examples
    --------
    >>> from aimed.core import Cohort
    >>> cohort = Cohort(patient=["a", "b"], variables=[Variable(name="x")], columns={"x": [1.0, 1.0]})
    >>> check(Context(cohort))[0].message
    "The predictor 'x' has one value only in 2 rows."
    """
    found: list[Finding] = []
    for variable in context.cohort.predictors:
        column = context.cohort.columns[variable.name]
        known = column[~is_missing(column, variable.kind)]
        found += _one(variable, known, context.cohort.n)
    return found


def _one(variable: Variable, known: NDArray[Any], n: int) -> list[Finding]:
    name = variable.name
    if n == 0:
        return []
    if not known.size:
        message = f"The predictor '{name}' has no value in {plural(n, 'row')}."
        return [_SAY.warn(name, message, "Drop it.", n=0, rows=n, levels=0)]
    if bool((known == known[0]).all()):
        message = f"The predictor '{name}' has one value only in {plural(int(known.size), 'row')}."
        return [_SAY.warn(name, message, "Drop it.", n=known.size, rows=n, levels=1)]
    if variable.kind == "category":
        return _category(variable, known)
    if variable.kind == "text":
        return _text(variable, known)
    infinite = int(np.isinf(known).sum()) if variable.kind == "number" else 0
    if infinite:
        message = f"{of(infinite, int(known.size), 'value')} of the predictor '{name}' are infinite."
        return [
            _SAY.warn(name, message, "Set them missing; look for a division by zero.", n=known.size, infinite=infinite)
        ]
    if variable.kind == "number" and known.size >= _LEAST and _counts_rows(known):
        message = f"The predictor '{name}' counts the rows: it looks like an id."
        return [_SAY.warn(name, message, "Remove it from the predictors.", n=known.size, levels=known.size)]
    return []


def _counts_rows(known: NDArray[np.float64]) -> bool:
    if not bool((known == np.floor(known)).all()):
        return False
    steps = np.diff(known)
    if bool((steps > 0).all()) or bool((steps < 0).all()):
        return True
    span = float(known.max() - known.min()) + 1
    return span == known.size and np.unique(known).size == known.size


def _category(variable: Variable, known: NDArray[np.int32]) -> list[Finding]:
    name, n = variable.name, int(known.size)
    rows = np.bincount(known)
    rows = rows[rows > 0]
    levels = int(rows.size)
    if n >= _LEAST and levels > _UNIQUE * n:
        message = f"The predictor '{name}' has another value in nearly every row: it looks like an id."
        return [_SAY.warn(name, message, "Remove it from the predictors.", n=n, levels=levels)]
    found = []
    sparse = int((rows < _SPARSE).sum())
    if levels > _MANY:
        message = f"The predictor '{name}' has {plural(levels, 'level')}, more than {_MANY}."
        advice = "Group levels by meaning, or code them by a number that carries their meaning."
        found.append(_SAY.warn(name, message, advice, n=n, levels=levels, sparse=sparse))
    elif sparse:
        message = f"{of(sparse, levels, 'level')} of the predictor '{name}' {'has' if sparse == 1 else 'have'} fewer"
        advice = "Join rare levels by meaning; a model cannot learn them and a patient may be singled out."
        found.append(_SAY.warn(name, f"{message} than {_SPARSE} rows.", advice, n=n, levels=levels, sparse=sparse))
    used = [variable.categories[code] for code in np.unique(known).tolist() if code < len(variable.categories)]
    if len(used) > _NUMERIC_LEVELS and _share_numbers(used) >= _NUMERIC:
        found.append(_as_number(name, n, len(used)))
    return found


def _text(variable: Variable, known: NDArray[Any]) -> list[Finding]:
    name, n = variable.name, int(known.size)
    read = [str(value) for value in known[sample(n, _READ)]]
    levels = len(set(read))
    if _share_numbers(read) >= _NUMERIC:
        return [_as_number(name, n, levels)]
    if n >= _LEAST and levels > _UNIQUE * len(read):
        message = f"The predictor '{name}' has another text in nearly every row: it looks like an id or a note."
        return [_SAY.warn(name, message, "Remove it from the predictors.", n=n, levels=levels, read=len(read))]
    return []


def _as_number(name: str, n: int, levels: int) -> Finding:
    message = f"The predictor '{name}' holds numbers stored as text."
    advice = "Declare it as a number; look for signs such as '<' and for words that mean missing."
    return _SAY.warn(name, message, advice, n=n, levels=levels)


def _share_numbers(texts: list[str]) -> float:
    def number(text: str) -> bool:
        try:
            float(text.strip().lstrip("<>=~ ").replace(",", "."))
        except ValueError:
            return False
        return True

    return sum(map(number, texts)) / len(texts)
