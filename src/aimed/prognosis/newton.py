"""Newton's method for log-likelihoods that curve down everywhere, on columns brought to mean 0 and unit spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from aimed.core import NotEstimableError
from aimed.prognosis.coefficients import independent_columns, refuse_columns

__all__ = ["Columns", "Derivatives", "climb", "estimable", "weighted_gram", "weighted_sums"]

_BLOCK = 8192

Derivatives: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Gradient, shape (p,), and information (minus the second derivatives), shape (p, p), of a log-likelihood."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A matrix with every column brought to mean 0 and unit spread.

    Parameters
    ----------
    X : float array, shape (n, p), C order
        Columns that do not vary are 0.
    mean, unit : float arrays, shape (p,)
        X is (values - mean) * unit.
    varies : bool array, shape (p,)
    """

    X: NDArray[np.float64]
    mean: NDArray[np.float64]
    unit: NDArray[np.float64]
    varies: NDArray[np.bool_]

    @classmethod
    def of(cls, values: NDArray[np.float64], rows: NDArray[np.intp] | None = None) -> Columns:
        """Copy the rows asked for, in that order, and bring their columns to mean 0 and unit spread.

        Examples
        --------
        >>> columns = Columns.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> columns.X.tolist(), columns.varies.tolist()
        ([[-1.0, 0.0], [1.0, 0.0]], [True, False])
        """
        X = np.array(values, dtype=np.float64, order="C") if rows is None else np.take(values, rows, axis=0)
        X = np.ascontiguousarray(X)
        # Less the first row a constant column is exactly 0, whatever its digits.
        first = X[0].copy()
        X -= first
        shift = np.full(X.shape[0], 1.0 / X.shape[0]) @ X
        X -= shift
        mean = first + shift
        spread = np.sqrt(np.einsum("ij,ij->j", X, X) / X.shape[0])
        varies = spread > 1e-12 * np.maximum(np.abs(first), 1e-300)
        unit = 1.0 / np.where(varies, spread, 1.0)
        X *= unit
        if not varies.all():
            X[:, ~varies] = 0.0
        return cls(X, mean, unit, varies)


def weighted_gram(X: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of w x xᵀ over rows, in blocks that fit the cache, shape (p, p).

    Examples
    --------
    >>> weighted_gram(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 0.5])).tolist()
    [[5.5, 8.0], [8.0, 12.0]]
    """
    out = np.zeros((X.shape[1], X.shape[1]))
    for begin in range(0, X.shape[0], _BLOCK):
        x = X[begin : begin + _BLOCK]
        out += x.T @ (x * weights[begin : begin + _BLOCK, None])
    return 0.5 * (out + out.T)


def weighted_sums(
    X: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    other: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of f x, s x xᵀ and x oᵀ over rows in one pass, shapes (p,), (p, p) and (p, m).

    Examples
    --------
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> [part.tolist() for part in weighted_sums(X, np.ones(2), np.array([1.0, 0.5]), np.ones((2, 1)))]
    [[4.0, 6.0], [[5.5, 8.0], [8.0, 12.0]], [[4.0], [6.0]]]
    """
    p = X.shape[1]
    line, square, product = np.zeros(p), np.zeros((p, p)), np.zeros((p, other.shape[1]))
    for begin in range(0, X.shape[0], _BLOCK):
        x, rows = X[begin : begin + _BLOCK], slice(begin, begin + _BLOCK)
        line += first[rows] @ x
        square += x.T @ (x * second[rows, None])
        product += x.T @ other[rows]
    return line, 0.5 * (square + square.T), product


def estimable(information: NDArray[np.float64], names: Sequence[str], collinear: str) -> NDArray[np.bool_]:
    """Say which columns add something to the ones before them.

    Parameters
    ----------
    information : float array, shape (p, p)
        Of columns of about unit spread; 0 on the diagonal of a constant column.
    names : sequence of str, length p
    collinear : {"raise", "drop"}
        Whether a column that adds nothing is an error.

    Returns
    -------
    bool array, shape (p,)

    Raises
    ------
    NotEstimableError
        If a column adds nothing and `collinear` is "raise".

    Examples
    --------
    >>> estimable(np.array([[1.0, 1.0], [1.0, 1.0]]), ["a", "b"], "drop").tolist()
    [True, False]
    """
    keep, problems = independent_columns(information, names)
    if collinear == "raise":
        refuse_columns(problems, "leave them out, or set collinear='drop'")
    return keep


def _step(
    information: NDArray[np.float64], slope: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], bool]:
    """Solve for Newton's step; lift the diagonal where the information is not positive, and say so."""
    # One scale for all parameters: a sum of squares and a count may differ by many powers of ten.
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-300))
    balanced = information * np.outer(scale, scale)
    lift = 0.0
    while lift < 1e3:
        try:
            move = linalg.cho_solve(linalg.cho_factor(balanced + lift * np.eye(scale.size)), slope * scale)
            return move * scale, lift > 0.0
        except linalg.LinAlgError:
            lift = max(1e-6, 10.0 * lift)
    raise _unbounded(names)


def _unbounded(names: Sequence[str]) -> NotEstimableError:
    listed = ", ".join(f"'{name}'" for name in names)
    return NotEstimableError(
        f"the likelihood has no finite maximum in {listed}: it separates the events",
        "events on both sides of each column",
        "leave it out, merge rare levels, or set a penalty > 0",
    )


def climb(
    value: Callable[[NDArray[np.float64]], float],
    derivatives: Callable[[NDArray[np.float64]], Derivatives],
    start: NDArray[np.float64],
    keep: NDArray[np.bool_],
    theta: NDArray[np.float64],
    names: Sequence[str],
    max_iter: int,
    what: str,
) -> tuple[NDArray[np.float64], int]:
    """Maximise a log-likelihood less a ridge penalty by Newton's method with step halving.

    Parameters
    ----------
    value : callable
        ``value(parameters)``; -inf or NaN where the model is not defined.
    derivatives : callable
        Gradient and information at the parameters for which `value` was called last.
    start : float array, shape (p,)
        Where `value` is finite.
    keep : bool array, shape (p,)
        Parameters that move.
    theta : float array, shape (p,)
        Penalties: theta / 2 times the squared parameter is taken off.
    names : sequence of str, length p
    max_iter : int
    what : str
        Name of the model, for the message.

    Returns
    -------
    parameters : float array, shape (p,)
        `value` was called with them last.
    steps : int

    Raises
    ------
    NotEstimableError
        If a parameter grows without bound, or nothing is reached in `max_iter` steps.

    Examples
    --------
    >>> at = {}
    >>> def value(b):
    ...     at["b"] = b
    ...     return float(3 * b[0] - np.exp(b[0]))
    >>> def derivatives(b):
    ...     return 3 - np.exp(b), np.exp(b)[:, None]
    >>> found, steps = climb(value, derivatives, np.zeros(1), np.ones(1, bool), np.zeros(1), ["b"], 50, "example")
    >>> round(float(np.exp(found[0])), 9)
    3.0
    """
    beta, moved = start.copy(), np.zeros(start.size)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        goal = value(beta) - 0.5 * float(theta @ beta**2)
        if not keep.any():
            return beta, 0
        rows = np.ix_(keep, keep)
        moving = [name for name, kept in zip(names, keep, strict=True) if kept]
        for step in range(1, max_iter + 1):
            gradient, information = derivatives(beta)
            move, lifted = _step((information + np.diag(theta))[rows], (gradient - theta * beta)[keep], moving)
            full, size = np.zeros(keep.size), 1.0
            full[keep] = move
            while size > 1e-12:
                there = beta + size * full
                reached = value(there) - 0.5 * float(theta @ there**2)
                # At the top the likelihood is flat to rounding, so a tiny fall is no reason to halve.
                if reached >= goal - 1e-11 * (1.0 + abs(goal)):
                    break
                size *= 0.5
            else:
                break
            gain, goal, beta = reached - goal, reached, there
            moved = np.abs(size * full) / (1.0 + np.abs(beta))
            # Newton's error is squared at each step.
            if moved.max() < 1e-7 and size == 1.0 and not lifted:
                return beta, step
            # Columns have unit spread here: one that still walks while the likelihood stands still has no maximum.
            if abs(gain) < 1e-10 * (1.0 + abs(goal)) and moved.max() > 1e-3:
                raise _unbounded([n for n, m in zip(names, moved, strict=True) if m > 1e-3])
    walking = ", ".join(f"'{n}'" for n, m in zip(names, moved, strict=True) if m > 1e-7)
    raise NotEstimableError(
        f"the {what} did not converge in {max_iter} steps, {walking or 'none'} still moving",
        "a finite maximum",
        "leave these columns out, rescale them, or set a penalty > 0",
    )
