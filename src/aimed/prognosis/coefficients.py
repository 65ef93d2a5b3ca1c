"""Coefficient tables of linear models, and the search for columns that say nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from aimed.core import DataError

__all__ = ["coefficient_rows", "coefficients", "independent_columns"]

_ALIAS = 1e-9


def coefficients(estimator: Any, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the coefficient table of a fitted linear model.

    Parameters
    ----------
    estimator : fitted estimator
    feature_names : sequence of str, length p, optional
        Names of the columns it was fitted on.

    Returns
    -------
    list of dict
        ``term, estimate, lower, upper, ratio, ratio_lower, ratio_upper, p, note``; ratio is exp(estimate)
        for one unit of the column. What is not estimable is None. Empty for a model without coefficients.

    Examples
    --------
    >>> coefficients(object())
    []
    """
    table = getattr(estimator, "coefficient_table", None)
    if table is None:
        return []
    rows: list[dict[str, Any]] = table(feature_names)
    return rows


def coefficient_rows(
    names: Sequence[str], estimate: ArrayLike, error: ArrayLike | None, level: float, note: str | None = None
) -> list[dict[str, Any]]:
    """Make the rows of a coefficient table, with Wald intervals where there is an error and no note.

    Parameters
    ----------
    names : sequence of str, length p
    estimate : float array, shape (p,)
    error : float array, shape (p,), optional
        Standard errors; NaN for a coefficient fixed at 0.
    level : float
        Confidence level.
    note : str, optional
        Why no row has an interval.

    Examples
    --------
    >>> row = coefficient_rows(["age"], [0.5], [0.1], 0.95)[0]
    >>> round(row["ratio"], 3), round(row["ratio_lower"], 3)
    (1.649, 1.355)
    """
    values = np.asarray(estimate, dtype=np.float64)
    if len(names) != values.size:
        raise DataError(f"{len(names)} names for {values.size} coefficients", "one name a coefficient")
    errors = np.full(values.size, np.nan) if error is None or note else np.asarray(error, dtype=np.float64)
    z = float(special.ndtri(0.5 + 0.5 * level))
    rows = []
    for name, value, spread in zip(names, values, errors, strict=True):
        row: dict[str, Any] = {"term": str(name), "estimate": float(value), "ratio": float(np.exp(value))}
        known = bool(np.isfinite(spread)) and spread > 0
        lower, upper = float(value - z * spread), float(value + z * spread)
        row["lower"], row["upper"] = (lower, upper) if known else (None, None)
        row["ratio_lower"], row["ratio_upper"] = (float(np.exp(lower)), float(np.exp(upper))) if known else (None, None)
        row["p"] = float(special.chdtrc(1, (value / spread) ** 2)) if known else None
        row["note"] = note or (None if known else "adds nothing to the other columns; fixed at 0")
        rows.append(row)
    return rows


def independent_columns(gram: NDArray[np.float64], names: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    """Say which columns are no combination of the columns before them.

    Parameters
    ----------
    gram : float array, shape (p, p)
        Cross-products (or information) of centred columns of about unit spread; 0 on the diagonal of a
        constant column.
    names : sequence of str, length p

    Returns
    -------
    keep : bool array, shape (p,)
    problems : list of str
        One clause for each column that is not kept.

    Examples
    --------
    >>> keep, problems = independent_columns(np.array([[1.0, 1.0], [1.0, 1.0]]), ["a", "b"])
    >>> problems
    ["'b' is a combination of 'a'"]
    """
    keep = np.zeros(len(names), dtype=bool)
    problems: list[str] = []
    for j, name in enumerate(names):
        own = gram[j, j]
        if own <= _ALIAS:
            problems.append(f"'{name}' does not vary")
            continue
        before = np.flatnonzero(keep)
        if before.size:
            weight = linalg.solve(gram[np.ix_(before, before)], gram[before, j], assume_a="pos")
            if own - gram[before, j] @ weight <= _ALIAS * own:
                partners = [f"'{names[i]}'" for i in before[np.abs(weight) > 1e-6]]
                problems.append(f"'{name}' is a combination of {', '.join(partners)}")
                continue
        keep[j] = True
    return keep, problems
