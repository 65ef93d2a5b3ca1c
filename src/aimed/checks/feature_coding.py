"""Columns of any kind as numbers for a linear model, with everything learnt from the rows that it was fitted on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError

__all__ = ["FeatureCoding", "Features", "as_column", "fit_ridge", "texts"]

_LEVELS = 30
_SPREAD = 4.0
_FAR = 3.0

Features: TypeAlias = Mapping[str, ArrayLike] | ArrayLike
"""Columns by name, numbers or text, or a table of numbers, shape (n, q)."""


@dataclass(frozen=True, slots=True)
class _Column:
    """How one column is coded: its levels, or the centre, spread and ends of its numbers."""

    levels: tuple[str, ...] | None = None
    centre: float = 0.0
    spread: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    square: bool = False
    missing: bool = False


class FeatureCoding:
    """Coding of columns: numbers with their square, texts by their 30 most frequent levels, missing as a level.

    Fitted on some rows and applied to others, it uses what it saw in the first only: levels not seen there count as no
    level, numbers beyond the range there as its end, and missing ones, where none was missing, as the mean.

    Attributes
    ----------
    names : tuple of str, length q
        Coded columns that vary.

    Examples
    --------
    >>> coding = FeatureCoding().fit({"view": ["PA", "AP", "PA"], "kvp": [90.0, 110.0, float("nan")]})
    >>> coding.names
    ('view = AP', 'view = PA', 'kvp', 'kvp missing')
    >>> coding.transform({"view": ["LATERAL"], "kvp": [5000.0]}).round(2).tolist()
    [[-0.71, -1.41, 1.22, -0.71]]
    """

    names: tuple[str, ...]

    def fit(self, features: Features) -> FeatureCoding:
        """Learn the coding.

        Parameters
        ----------
        features : mapping of str to arrays of shape (n,), or array of shape (n, q)
            A table of numbers counts without squares.

        Raises
        ------
        DataError
            If there is no feature or no row, or columns differ in length.
        """
        columns, by_name = _columns(features)
        self._by_name = by_name
        self._plan: dict[str, _Column] = {}
        for name, values in columns.items():
            self._plan[name] = _learnt(values, square=by_name)
        names, raw = self._raw(columns)
        scale = raw.std(axis=0) if raw.size else np.empty(0)
        largest = np.abs(raw).max(axis=0, initial=0.0)
        self._kept = np.flatnonzero(scale > 1e-9 * (1 + largest))
        self._scale = scale[self._kept]
        self._shift = (raw[:, self._kept] / self._scale).mean(axis=0)
        self.names = tuple(names[j] for j in self._kept)
        return self

    def transform(self, features: Features) -> NDArray[np.float64]:
        """Return the coded columns, shape (n, q), in units of their spread over the rows of `fit`, centred there.

        Raises
        ------
        DataError
            If a column is not there or is of another kind.
        """
        columns, by_name = _columns(features)
        lost = [name for name in self._plan if name not in columns]
        if lost or by_name != self._by_name:
            what = f"no column '{lost[0]}'" if lost else "another form of features"
            raise DataError(what, f"the {len(self._plan)} columns that were fitted", "give the same columns")
        _, raw = self._raw(columns)
        return np.asarray(raw[:, self._kept] / self._scale - self._shift)

    def _raw(self, columns: Mapping[str, NDArray[Any]]) -> tuple[list[str], NDArray[np.float64]]:
        names: list[str] = []
        out: list[NDArray[np.float64]] = []
        for name, how in self._plan.items():
            for more, values in _coded(columns[name], how, name):
                names.append(name + more)
                out.append(values)
        (n,) = next(iter(columns.values())).shape
        return names, np.column_stack(out) if out else np.empty((n, 0))


def as_column(values: ArrayLike) -> NDArray[Any]:
    """Return a column as float64, NaN for missing, where it holds numbers or dates (in days), and as it is otherwise.

    Examples
    --------
    >>> as_column([80, None]).tolist(), as_column(["PA", None]).tolist()
    ([80.0, nan], ['PA', None])
    """
    if isinstance(values, (list, tuple)):
        # Among words numpy would write None and NaN out as words.
        holes = any(v is None or v != v for v in values)
        found = np.asarray(values, dtype=object if holes else None)
    else:
        found = np.asarray(values)
    if found.dtype.kind in "fiub":
        return found.astype(np.float64)
    if found.dtype.kind == "M":
        days = found.astype("datetime64[s]").astype(np.float64) / 86400
        return np.where(np.isnat(found), np.nan, days)
    if found.dtype.kind == "O" and all(v is None or isinstance(v, (int, float, np.number)) for v in found.ravel()):
        return np.array([math.nan if v is None else float(v) for v in found.ravel()]).reshape(found.shape)
    return found


def texts(values: ArrayLike) -> list[str]:
    """Return values as text, "" for a missing one.

    Examples
    --------
    >>> texts(["PA", None, float("nan"), " AP "])
    ['PA', '', '', 'AP']
    """
    plain = np.asarray(values, dtype=object).tolist() if isinstance(values, (list, tuple)) else _plain(values)
    return ["" if v is None or v != v else str(v).strip() for v in plain]


def _plain(values: ArrayLike) -> list[Any]:
    found = np.asarray(values)
    return [None if np.isnat(v) else str(v) for v in found] if found.dtype.kind in "mM" else list(found.tolist())


def fit_ridge(design: NDArray[np.float64], event: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression with a ridge whose linear predictor has a prior standard deviation of 2.

    Parameters
    ----------
    design : float array, shape (n, q)
        As `FeatureCoding.transform` returns it.
    event : bool array, shape (n,)
        Both kinds.

    Returns
    -------
    (float array of shape (q,), float)
        Coefficients and intercept.

    Examples
    --------
    >>> coefficient, intercept = fit_ridge(np.array([[-1.0], [-1.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]) == 1)
    >>> bool(coefficient[0] > 1), abs(round(intercept, 6))
    (True, 0.0)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=_SPREAD / design.shape[1], solver="newton-cholesky", tol=1e-7, max_iter=200)
    with warnings.catch_warnings():
        # Where its line search ends, the solver goes on with another one and reaches the same minimum.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(design, event)
    return np.asarray(fit.coef_[0], dtype=np.float64), float(fit.intercept_[0])


def _columns(features: Features) -> tuple[dict[str, NDArray[Any]], bool]:
    """Return columns by name, and whether they came so."""
    if isinstance(features, Mapping):
        if not features:
            raise DataError("no feature", "one column or more")
        columns = {str(name): as_column(values) for name, values in features.items()}
        sizes = {values.shape for values in columns.values()}
        if len(sizes) > 1 or len(next(iter(sizes))) != 1:
            raise DataError("features of different lengths", "columns with a value a row", "check the columns")
    else:
        try:
            table = np.asarray(features, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError("a table of features that are not numbers", "columns by name", "give a mapping") from error
        if table.ndim != 2 or not table.shape[1]:
            raise DataError(f"features of shape {table.shape}", "a table (n, q)")
        columns = {str(j): values for j, values in enumerate(table.T)}
    if not next(iter(columns.values())).size:
        raise DataError("features without a row", "one row or more")
    return columns, isinstance(features, Mapping)


def _learnt(values: NDArray[Any], *, square: bool) -> _Column:
    if values.dtype.kind != "f":
        levels, counts = np.unique(np.asarray(texts(values), dtype=str), return_counts=True)
        often = np.argsort(-counts, kind="stable")[:_LEVELS]
        return _Column(levels=tuple(str(levels[k]) for k in sorted(often.tolist())))
    known = np.isfinite(values)
    if not known.any():
        return _Column(levels=())
    seen = values[known]
    return _Column(
        centre=float(seen.mean()),
        spread=float(seen.std()) or 1.0,
        low=float(seen.min()),
        high=float(seen.max()),
        square=square and np.unique(seen[:1000]).size > 2,
        missing=not known.all(),
    )


def _coded(values: NDArray[Any], how: _Column, name: str) -> list[tuple[str, NDArray[np.float64]]]:
    if how.levels is not None:
        if not how.levels:
            return []
        words = np.asarray(texts(values), dtype=str)
        return [(f" = {level or 'missing'}", (words == level).astype(np.float64)) for level in how.levels]
    if values.dtype.kind != "f":
        raise DataError(f"text in the column '{name}'", "numbers, as where it was fitted", "give the same kind")
    known = np.isfinite(values)
    scaled = np.where(known, (np.clip(values, how.low, how.high) - how.centre) / how.spread, 0.0)
    out = [("", scaled)]
    if how.square:
        # Far out a square would let a few odd values decide.
        out.append((" squared", np.where(known, np.clip(scaled, -_FAR, _FAR) ** 2, 0.0)))
    if how.missing:
        out.append((" missing", (~known).astype(np.float64)))
    return out
