"""Coefficient tables and joint tests of linear models, and the search for columns that say nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special, stats

from aimed.core import DataError, NotEstimableError, UnknownNameError

__all__ = [
    "coefficient_rows",
    "coefficients",
    "independent_columns",
    "places_of",
    "quadratic_test",
    "refuse_columns",
    "refuse_wide",
    "wald_test",
]

_ALIAS = 1e-9
_MANY = 1000
_WIDEST = 3000


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


def refuse_columns(problems: Sequence[str], do: str) -> None:
    """Raise what `independent_columns` has found, the first ten of it.

    Raises
    ------
    NotEstimableError
        If there is a problem.

    Examples
    --------
    >>> refuse_columns([], "leave them out")
    """
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise NotEstimableError("; ".join([*problems[:10], *more]), "columns that each add information", do)


def refuse_wide(p: int, rows: int, events: int, penalty: float, collinear: str) -> None:
    """Refuse more columns than can be told apart, before time and memory go into the attempt.

    Parameters
    ----------
    p, rows, events : int
    penalty : float
    collinear : {"raise", "drop"}

    Raises
    ------
    NotEstimableError
        If there is no penalty, and more columns than rows, or from 1,000 columns on than events; or a penalty, and
        more columns than rows and than 3,000.

    Examples
    --------
    >>> refuse_wide(20, 500, 100, 0.0, "raise")
    """
    counts = f"{p} columns for {rows} rows at risk and {events} events"
    if penalty:
        if p > max(rows, _WIDEST):
            raise NotEstimableError(
                counts,
                f"fewer columns than rows, or at most {_WIDEST}",
                "leave columns out, merge rare levels, or use aimed.prognosis.cox.CoxPH with a penalty",
            )
        return
    least = rows if p < _MANY else min(rows, events)
    if p > least and (collinear == "raise" or p >= _MANY):
        raise NotEstimableError(
            counts,
            "fewer columns than events",
            "leave columns out, set a penalty > 0, or choose them with aimed.prognosis.cox_path.CoxPath",
        )


def quadratic_test(
    vector: NDArray[np.float64], covariance: NDArray[np.float64], df: float | None = None
) -> dict[str, float | None]:
    """Test that an estimated vector is zero.

    Parameters
    ----------
    vector : float array, shape (q,)
    covariance : float array, shape (q, q)
    df : float, optional
        Degrees of freedom; q when absent.

    Returns
    -------
    dict
        ``statistic``, ``df`` and ``p``; the first and last None when the covariance has not full rank.

    Examples
    --------
    >>> found = quadratic_test(np.array([2.0, 0.0]), np.eye(2))
    >>> found["statistic"], found["df"], round(found["p"], 4)
    (4.0, 2.0, 0.1353)
    """
    degrees = float(vector.size if df is None else df)
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.outer(scale, scale)
    if not np.isfinite(correlation).all() or np.linalg.cond(correlation) > 1e12:
        return {"statistic": None, "df": degrees, "p": None}
    z = vector / scale
    statistic = float(z @ linalg.solve(correlation, z, assume_a="pos"))
    return {"statistic": statistic, "df": degrees, "p": float(stats.chi2.sf(statistic, degrees))}


def places_of(terms: Sequence[str | int], names: Sequence[str]) -> list[int]:
    """Return the place of each column that is given by its name or number.

    Examples
    --------
    >>> places_of(["b", 0], ["a", "b"])
    [1, 0]
    """
    places = []
    for term in terms:
        place = names.index(term) if isinstance(term, str) and term in names else term
        if isinstance(place, str) or not -len(names) <= int(place) < len(names):
            raise UnknownNameError("column", str(term), names)
        places.append(int(place) % len(names))
    return places


def wald_test(model: Any, terms: Sequence[str | int]) -> dict[str, float | None]:
    """Test that the coefficients of some columns are all zero, as that a curve is a straight line.

    Parameters
    ----------
    model : fitted estimator
        With ``coef_`` and ``covariance_``, as a Cox, accelerated failure time, Royston-Parmar or Fine-Gray model has.
        Its errors are used as they are, robust where the model's are.
    terms : sequence of str or int
        Names or numbers of columns: the curved terms ``["bili'", "bili''"]`` of a spline for its non-linearity, all
        its terms for its whole effect, the indicators of a category for the category.

    Returns
    -------
    dict
        ``statistic`` (chi-squared), ``df`` and ``p``; see `quadratic_test`.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    NotEstimableError
        If the model has a penalty, or a coefficient is fixed at 0.

    Examples
    --------
    >>> from aimed.prognosis.cox import CoxPH
    >>> rng = np.random.default_rng(0)
    >>> x, time = rng.normal(size=300), rng.exponential(size=300)
    >>> y = np.array([(True, t) for t in time * np.exp(-(x**2))], dtype=[("event", bool), ("time", float)])
    >>> model = CoxPH().fit(np.column_stack([x, x**2, x**3]), y, ["x", "x2", "x3"])
    >>> found = wald_test(model, ["x2", "x3"])
    >>> found["df"], found["p"] < 0.001
    (2.0, True)
    """
    p = model.coef_.size
    names = [str(n) for n in getattr(model, "feature_names_in_", [f"x{j}" for j in range(p)])]
    places = places_of(terms, names)
    if not places or len(set(places)) < len(places):
        raise DataError(f"{len(places)} terms, {len(set(places))} of them different", "each column once, at least one")
    if getattr(model, "penalty", 0.0):
        raise NotEstimableError("a model with a penalty", "an unpenalised model", "fit it without, to test terms")
    # Models of log time keep slopes and baseline together, and R's parameters beside them.
    vector = np.asarray(getattr(model, "slopes_", model.coef_), dtype=np.float64)[places]
    kept = model.joint_covariance_ if hasattr(model, "slopes_") else model.covariance_
    covariance = np.asarray(kept, dtype=np.float64)[np.ix_(places, places)]
    fixed = [name for name, own in zip([names[j] for j in places], np.diag(covariance), strict=True) if np.isnan(own)]
    if fixed:
        raise NotEstimableError(
            f"{', '.join(repr(name) for name in fixed)} fixed at 0", "columns with a coefficient", "leave them out"
        )
    return quadratic_test(vector, covariance)
