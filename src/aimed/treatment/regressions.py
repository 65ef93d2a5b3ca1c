"""Regressions behind the average effects: linear and logistic fits that know how far each row moves a coefficient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, cross_products, row_dot
from aimed.metrics.regression import Fit, expit, logistic
from aimed.treatment.nuisances import as_columns

__all__ = [
    "Regression",
    "Standardised",
    "covariates",
    "fit_regression",
    "left_out",
    "penalised",
    "propensity_regression",
    "refuse_separated",
    "standardised",
]

_CONSTANT = 1e-12
_ALIAS = 1e-9
_FAR = 8.0
_WIDE = 50.0
_REACH = 12.0
_BY_CHANCE = 0.001
_RIDGE = 1.0
_SETTLED = 1e-10
_ROUNDING = 1e-12
_MOST_STEPS = 100
_MOST_LEVERAGE = 0.999


def covariates(X: ArrayLike | None, W: ArrayLike | None, n: int) -> FloatArray | None:
    """Return the columns of X and W side by side, or None where there is neither.

    Examples
    --------
    >>> covariates(None, [[1.0], [2.0]], 2).shape
    (2, 1)
    """
    if X is None:
        return None if W is None else as_columns(W, None, n)
    return as_columns(X, W, n)


@dataclass(frozen=True, slots=True, eq=False)
class Standardised:
    """Columns with a first one of ones and the others centred and scaled, without those that add nothing.

    Parameters
    ----------
    columns : float array, shape (n, q)
    used : int array, shape (q - 1,)
        Number of each column but the first in the table it came from.
    dropped : tuple of int
        Columns of that table that do not vary or are a combination of those before them.
    """

    columns: FloatArray
    used: tuple[int, ...]
    dropped: tuple[int, ...]


def standardised(table: FloatArray | None, rows: BoolArray) -> Standardised:
    """Return a design for all rows whose columns are independent in some of them.

    Parameters
    ----------
    table : float array, shape (n, p), or None
    rows : bool array, shape (n,)
        Rows in which the columns must be independent.

    Examples
    --------
    >>> made = standardised(np.array([[1.0, 1, 2], [1, 2, 4], [1, 4, 8]]), np.ones(3, dtype=bool))
    >>> made.used, made.dropped
    ((1,), (0, 2))
    """
    n = rows.size
    if table is None:
        return Standardised(np.ones((n, 1)), (), ())
    some = table[rows]
    middle = some.mean(axis=0)
    spread = some.std(axis=0)
    varies = spread > _CONSTANT * np.maximum(np.abs(middle), 1e-300)
    scaled = (table - middle) / np.where(varies, spread, 1.0)
    inner = scaled[rows]
    gram = cross_products(inner, inner) / inner.shape[0]
    keep: list[int] = []
    for j in np.flatnonzero(varies):
        if keep:
            weight = np.linalg.solve(gram[np.ix_(keep, keep)], gram[keep, j])
            if gram[j, j] - gram[keep, j] @ weight <= _ALIAS * gram[j, j]:
                continue
        keep.append(int(j))
    dropped = tuple(j for j in range(table.shape[1]) if j not in keep)
    return Standardised(np.column_stack((np.ones(n), scaled[:, keep])), tuple(keep), dropped)


def left_out(design: Standardised, where: str) -> str:
    """Return what to say of columns that add nothing; nothing where all are used.

    Examples
    --------
    >>> left_out(Standardised(np.ones((2, 1)), (), (0, 3)), "in the treated arm")
    'columns 0, 3 do not vary or repeat others in the treated arm and were left out'
    """
    if not design.dropped:
        return ""
    first = ", ".join(str(j) for j in design.dropped[:10]) + (", ..." if len(design.dropped) > 10 else "")
    many = len(design.dropped) > 1
    said = "do not vary or repeat others" if many else "does not vary or repeats others"
    return f"column{'s' if many else ''} {first} {said} {where} and {'were' if many else 'was'} left out"


def penalised(fit: Regression, where: str) -> str:
    """Return what to say of a regression that only a penalty settles; nothing of another.

    Examples
    --------
    >>> none = np.zeros((0, 0))
    >>> said = penalised(Regression(np.zeros(3), True, none, none, np.zeros(0), penalised=2), "in the treated arm")
    >>> said  # doctest: +NORMALIZE_WHITESPACE
    'levels or columns tell outcomes apart without error in the treated arm: a small ridge penalty on its 2 columns
    settles the regression'
    >>> penalised(Regression(np.zeros(3), True, none, none, np.zeros(0)), "in the treated arm")
    ''
    """
    if not fit.penalised:
        return ""
    many = "s" if fit.penalised > 1 else ""
    return (
        f"levels or columns tell outcomes apart without error {where}: a small ridge penalty on its {fit.penalised} "
        f"column{many} settles the regression"
    )


def _far(fit: Fit, columns: FloatArray | None = None) -> BoolArray:
    """Tell which coefficients of standardised columns grow without bound.

    Newton's method may settle before the coefficient of a rare level is large: it is then its reach over the rows,
    asked for by giving the columns, that is.
    """
    with np.errstate(all="ignore"):
        error = np.sqrt(np.diag(np.linalg.pinv(fit.information, hermitian=True)))
        large = np.abs(fit.beta) > _FAR
        if columns is not None:
            large |= np.abs(fit.beta) * np.ptp(columns, axis=0) > _REACH
    return np.asarray(large & ~(error <= _WIDE))


def _separating(columns: FloatArray, y: FloatArray) -> list[int]:
    """Return the columns of which a threshold, or one of two values, has one side only."""
    found = []
    for j, x in enumerate(columns.T):
        one, zero = x[y == 1], x[y == 0]
        low, high = x.min(), x.max()
        apart = low < high and (one.min() >= zero.max() or zero.min() >= one.max())
        two = bool(((x == low) | (x == high)).all())
        if apart or (two and (one.min() == one.max() or zero.min() == zero.max())):
            found.append(j)
    return found


def _repeating(columns: FloatArray, y: FloatArray) -> list[int]:
    """Return the columns that order all outcomes without error, which chance does not explain."""
    n, k = y.size, int(y.sum())
    orders = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    if math.log(2 * max(columns.shape[1], 1)) - orders > math.log(_BY_CHANCE):
        return []
    one, zero = columns[y == 1], columns[y == 0]
    apart = (one.min(axis=0) > zero.max(axis=0)) | (zero.min(axis=0) > one.max(axis=0))
    return [int(j) for j in np.flatnonzero(apart)]


def _ridge_logistic(x: FloatArray, y: FloatArray, penalty: FloatArray) -> FloatArray | None:
    """Return the coefficients with the least deviance plus penalty, by Newton's method; None if it does not settle."""

    def cost(b: FloatArray) -> float:
        line = row_dot(x, b)
        return float((np.logaddexp(0.0, line) - y * line).sum() + 0.5 * (penalty * b**2).sum())

    beta = np.zeros(x.shape[1])
    beta[0] = math.log(y.sum() / (y.size - y.sum()))
    now = cost(beta)
    for _ in range(_MOST_STEPS):
        p = expit(row_dot(x, beta))
        gradient = row_dot(x.T, y - p) - penalty * beta
        information = cross_products(x, x * (p * (1 - p))[:, None]) + np.diag(penalty)
        step = np.asarray(np.linalg.solve(information, gradient), dtype=np.float64)
        if float(step @ gradient) <= _SETTLED**2 * y.size:
            return beta
        size = 1.0
        while (then := cost(beta + size * step)) > now + _ROUNDING * now and size > _SETTLED:
            size /= 2
        beta, now = beta + size * step, then
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """A fitted linear or logistic regression.

    Parameters
    ----------
    beta : float array, shape (q,)
    binary : bool
        Logistic.
    information : float array, shape (q, q)
        X'X, or X'diag(p (1 - p))X.
    steps : float array, shape (n, q)
        How far the coefficients go if a row is left out, with the sign turned; 0 for rows that were not fitted. Sums of
        squares are the jackknife covariance (HC3).
    leverage : float array, shape (n,)
        0 for rows that were not fitted.
    penalised : int
        Number of columns under a ridge penalty; 0 for maximum likelihood.
    """

    beta: FloatArray
    binary: bool
    information: FloatArray = field(repr=False)
    steps: FloatArray = field(repr=False)
    leverage: FloatArray = field(repr=False)
    penalised: int = 0

    def predict(self, columns: FloatArray) -> FloatArray:
        """Return the expected outcome of each row, shape (n,)."""
        line = row_dot(columns, self.beta)
        return expit(line) if self.binary else line

    def slope(self, columns: FloatArray, weights: FloatArray) -> FloatArray:
        """Return how the weighted sum of the expected outcomes changes with the coefficients, shape (q,)."""
        if not self.binary:
            return row_dot(columns.T, weights)
        p = self.predict(columns)
        return row_dot(columns.T, weights * p * (1 - p))


def fit_regression(
    design: Standardised,
    y: FloatArray,
    rows: BoolArray,
    binary: bool,
    what: str,
    do: str,
    sides: str = "outcomes",
    free: int | None = None,
    ridge: float = _RIDGE,
) -> Regression:
    """Fit a regression in some rows.

    Parameters
    ----------
    design : Standardised
    y : float array, shape (n,)
    rows : bool array, shape (n,)
    binary : bool
        Logistic, else linear.
    what, do, sides : str
        What the regression is of, what to do if it cannot be fitted and what 0 and 1 are, for the message.
    free : int, optional
        Where columns separate the outcomes of a logistic regression, put a ridge penalty on all of them but so many
        first ones (the intercept at least, so that the mean of the predictions stays that of the outcomes). Without it
        such a regression is refused.
    ridge : float
        The penalty is half of it times the sum of squared coefficients of standardised columns.

    Raises
    ------
    NotEstimableError
        If there are too few rows for the columns, or columns separate the two outcomes: with `free`, only if one column
        alone orders all of them without error, which chance does not explain.
    """
    x, seen = design.columns[rows], y[rows]
    n, q = x.shape
    if n <= q:
        raise NotEstimableError(f"the {what} has {n} rows for {q} coefficients", f"more than {q} rows", do)
    penalty = np.zeros(q)
    if binary:
        beta, penalty = _logistic_beta(x, seen, free, ridge) or _refused(design, x, seen, what, do, sides)
        p = expit(row_dot(x, beta))
        rest, weight = seen - p, p * (1 - p)
        information = cross_products(x, x * weight[:, None]) + np.diag(penalty)
    else:
        information = cross_products(x, x)
        beta = np.asarray(np.linalg.solve(information, row_dot(x.T, seen)), dtype=np.float64)
        rest, weight = seen - row_dot(x, beta), np.ones(n)
    inverse = np.asarray(np.linalg.inv(information), dtype=np.float64)
    moved = row_dot(x, inverse)
    leverage = np.minimum(weight * np.einsum("np,np->n", moved, x), _MOST_LEVERAGE)
    steps = np.zeros((y.size, q))
    # Each row bears its share of the penalty, so that the steps add up to nothing but for the leverage.
    steps[rows] = (moved * rest[:, None] - inverse @ (penalty * beta) / n) / (1 - leverage)[:, None]
    everywhere = np.zeros(y.size)
    everywhere[rows] = leverage
    return Regression(beta, binary, information, steps, everywhere, int((penalty > 0).sum()))


def _logistic_beta(
    x: FloatArray, y: FloatArray, free: int | None, ridge: float
) -> tuple[FloatArray, FloatArray] | None:
    """Return the coefficients and the penalty of each; None where neither fit is right."""
    none = np.zeros(x.shape[1])
    try:
        fit = logistic(x, y, np.ones(y.size))
    except NotEstimableError:
        fit = None
    if fit is not None and np.isfinite(fit.beta).all() and not _far(fit, None if free is None else x).any():
        return fit.beta, none
    # Nothing settles an intercept without both outcomes.
    if free is None or not 0 < y.sum() < y.size or _repeating(x[:, free:], y):
        return None
    penalty = none.copy()
    penalty[free:] = ridge
    beta = _ridge_logistic(x, y, penalty)
    return None if beta is None else (beta, penalty)


def _refused(design: Standardised, x: FloatArray, y: FloatArray, what: str, do: str, sides: str) -> NoReturn:
    told = [str(design.used[j]) for j in _separating(x[:, 1:], y)] if 0 < y.sum() < y.size else []
    which = f"column{'s' if len(told) > 1 else ''} {', '.join(told[:10])}" if told else "columns together"
    raise NotEstimableError(
        f"the {what} does not settle: {which} can tell the two {sides} apart without error",
        f"both {sides} whatever the value of each column",
        do,
    )


def propensity_regression(
    table: FloatArray, arm: BoolArray, rows: BoolArray | None = None
) -> tuple[Regression, FloatArray, Standardised]:
    """Return a logistic regression of the treatment, the chance of treatment of each row and the design.

    Parameters
    ----------
    table : float array, shape (n, p)
    arm : bool array, shape (n,)
    rows : bool array, shape (n,), optional
        Rows to fit in.

    Raises
    ------
    NotEstimableError
        If columns tell the arms apart without error: nobody like some patients was in the other arm.
    """
    some = np.ones(arm.size, dtype=bool) if rows is None else rows
    design = standardised(table, some)
    fit = fit_regression(
        design,
        arm.astype(np.float64),
        some,
        True,
        "regression of the treatment",
        "leave out patients who could have had one treatment only or columns that are no confounders, or give "
        "nuisances, whose propensity is penalised",
        "arms",
    )
    return fit, fit.predict(design.columns), design


def refuse_separated(table: FloatArray | None, arm: BoolArray) -> None:
    """Refuse columns of which one value tells who was treated.

    Raises
    ------
    NotEstimableError
        If all treated rows lie above (or below) all control rows in a column.

    Examples
    --------
    >>> refuse_separated(np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([False, True]))
    Traceback (most recent call last):
        ...
    aimed.core.errors.NotEstimableError: columns 0, 1 tell the arms apart without error; expected patients alike in \
both arms; leave out columns that repeat the treatment or were measured after it began; a small arm may be so by chance
    """
    if table is None:
        return
    one, zero = table[arm], table[~arm]
    apart = np.flatnonzero((one.min(axis=0) > zero.max(axis=0)) | (zero.min(axis=0) > one.max(axis=0)))
    if apart.size:
        many = apart.size > 1
        raise NotEstimableError(
            f"column{'s' if many else ''} {', '.join(str(j) for j in apart[:10])} tell{'' if many else 's'} the arms "
            "apart without error",
            "patients alike in both arms",
            "leave out columns that repeat the treatment or were measured after it began; a small arm may be so by "
            "chance",
        )
