"""Effects of one variable on the mean risk: accumulated local effects with a band, and partial dependence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, NotEstimableError, Variable
from aimed.explain.draws import drawn_patients
from aimed.explain.permutation import Score
from aimed.metrics.draws import percentile_interval

__all__ = ["accumulated_local_effects", "effect_grid", "effects", "partial_dependence"]

SMALL_CELL = 5
"""Counts from 1 to 4 are not shown."""

_POINTS = 20
_BINS = 20


def effect_grid(values: NDArray[np.float64], points: int = _POINTS) -> NDArray[np.float64]:
    """Return at most `points` rising quantiles of a variable, ends left out so that no patient can be read off.

    Parameters
    ----------
    values : float array, shape (n,)
        NaN is left out.
    points : int

    Notes
    -----
    The first and last point have at least 1 % of the rows, and at least five rows, at or beyond them. Points are
    rounded to a thousandth of the range.

    Examples
    --------
    >>> effect_grid(np.arange(1000.0), 3).tolist()
    [10.0, 500.0, 989.0]
    """
    known = values[np.isfinite(values)]
    if known.size == 0:
        return np.empty(0)
    tail = min(0.25, max(0.01, SMALL_CELL / known.size))
    grid = np.quantile(known, np.linspace(tail, 1.0 - tail, points))
    spread = float(grid[-1] - grid[0])
    if spread > 0:
        grid = np.round(grid, int(np.clip(2 - np.floor(np.log10(spread)), -300, 300)))
    return np.unique(grid)


def partial_dependence(
    risk: Score, X: NDArray[np.float64], column: int, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean risk when everyone has the same value, shape (g,).

    Parameters
    ----------
    risk : callable
        X → risk, shape (n,).
    X : float array, shape (n, p)
        Not changed.
    column : int
    grid : float array, shape (g,)
        Values, or category codes.

    References
    ----------
    Friedman, Ann Stat 2001;29:1189.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [1.0, 3.0]])
    >>> partial_dependence(lambda X: X[:, 0] + X[:, 1], X, 0, np.array([0.0, 10.0])).tolist()
    [2.0, 12.0]
    """
    return np.asarray(_levels(risk, X, column, grid).mean(axis=1))


def _levels(risk: Score, X: NDArray[np.float64], column: int, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Risk of each row at each value, shape (g, n)."""
    changed = X.copy()
    out = np.empty((grid.size, X.shape[0]))
    for k, value in enumerate(grid):
        changed[:, column] = value
        out[k] = risk(changed)
    return out


def accumulated_local_effects(
    risk: Score,
    X: NDArray[np.float64],
    column: int,
    edges: NDArray[np.float64],
    *,
    patient: ArrayLike | None = None,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return accumulated local effects of a number at the bin edges, with a bootstrap band over patients.

    Parameters
    ----------
    risk : callable
        X → risk, shape (n,).
    X : float array, shape (n, p)
        Not changed. Rows whose value is missing or outside the edges are left out.
    column : int
    edges : float array, shape (k + 1,)
        Rising.
    patient : array, shape (n,), optional
    draws : int
    level : float
    seed : int

    Returns
    -------
    effect, lower, upper : float arrays, shape (k + 1,)
        Differences in risk; the mean over the rows is 0.

    Raises
    ------
    DataError
        If there are fewer than two edges, or they do not rise.
    NotEstimableError
        If no row lies between the edges.

    Notes
    -----
    In each bin the risk at its upper edge less that at its lower edge is averaged over the rows of the bin; these
    steps are added up and centred. Unlike partial dependence it never asks for the risk of patients far from those
    seen. The band is for the sampling of these rows; it does not hold the uncertainty of the model's fit.
    A draw that leaves a bin empty takes the step of the whole sample there.

    References
    ----------
    Apley and Zhu, J R Stat Soc B 2020;82:1059, equations 15 and 16.

    Examples
    --------
    >>> X = np.linspace(0, 1, 101)[:, None]
    >>> effect, _, _ = accumulated_local_effects(lambda X: 2 * X[:, 0], X, 0, np.array([0.0, 0.5, 1.0]))
    >>> [round(float(v), 2) + 0.0 for v in effect]
    [-1.0, 0.0, 1.0]
    """
    edges = np.asarray(edges, dtype=np.float64)
    if edges.size < 2 or not (np.diff(edges) > 0).all():
        raise DataError(f"{edges.size} edges", "at least two, rising")
    x = X[:, column]
    inside = (x >= edges[0]) & (x <= edges[-1])
    if not inside.any():
        raise NotEstimableError("no row lies between the edges", "at least one")
    # Bins are (lower, upper]; the first also holds its lower edge.
    which = np.maximum(np.searchsorted(edges, x[inside], side="left") - 1, 0)
    low, high = X[inside].copy(), X[inside].copy()
    low[:, column], high[:, column] = edges[which], edges[which + 1]
    step = np.asarray(risk(high), dtype=np.float64) - np.asarray(risk(low), dtype=np.float64)
    own = None if patient is None else np.asarray(patient)[inside]
    codes, counts = drawn_patients(own, step.size, draws, [seed, column, 9])
    patients = counts.shape[1]
    bins = edges.size - 1
    cell = codes * bins + which
    sums = np.bincount(cell, weights=step, minlength=patients * bins).reshape(patients, bins)
    rows = np.bincount(cell, minlength=patients * bins).reshape(patients, bins).astype(np.float64)
    total = rows.sum(axis=0)
    mean = np.divide(sums.sum(axis=0), total, out=np.zeros(bins), where=total > 0)
    effect = _accumulate(mean[None, :], total[None, :])[0]
    drawn_rows = counts @ rows
    drawn = np.divide(counts @ sums, drawn_rows, out=np.tile(mean, (draws, 1)), where=drawn_rows > 0)
    lower, upper = percentile_interval(_accumulate(drawn, drawn_rows), level)
    return effect, lower, upper


def _accumulate(mean: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the steps and centre them on the rows; shape (draws, bins) to (draws, bins + 1)."""
    curve = np.concatenate([np.zeros((mean.shape[0], 1)), np.cumsum(mean, axis=1)], axis=1)
    middle = (curve[:, :-1] + curve[:, 1:]) / 2.0
    centre = (middle * rows).sum(axis=1) / np.maximum(rows.sum(axis=1), 1.0)
    return np.asarray(curve - centre[:, None])


def effects(
    risk: Score,
    X: NDArray[np.float64],
    variables: Sequence[Variable],
    *,
    names: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    points: int = _POINTS,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return how the mean risk changes along each variable, as rows of the ``effects`` block.

    Parameters
    ----------
    risk : callable
        X → risk, shape (n,); rows without a prediction (NaN) are left out.
    X : float array, shape (n, p)
    variables : sequence of Variable, length p
    names : sequence of str, optional
        Which variables, in which order; all when absent.
    patient : array, shape (n,), optional
    points : int
        Most points of a curve.
    draws, level, seed
        Of the bands.

    Returns
    -------
    list of dict
        ``variable``, ``label``, ``kind``, ``grid``, ``ale``, ``lower``, ``upper``, ``partial_dependence``,
        ``histogram``. Numbers: ``ale`` with its band, and counts between the ends of the grid. Categories: ``ale``
        is empty, since levels have no order; ``lower`` and ``upper`` are the band of the partial dependence. Counts
        below 5 are None.
        A variable without at least two values to compare is left out.

    Raises
    ------
    NotEstimableError
        If no row has a prediction.

    Examples
    --------
    >>> X = np.column_stack([np.arange(200.0), np.tile([0.0, 1.0], 100)])
    >>> sex = Variable(name="sex", kind="category", categories=("f", "m"))
    >>> rows = effects(lambda X: 0.1 + 0.2 * X[:, 1], X, [Variable(name="age"), sex])
    >>> rows[1]["grid"], [round(v, 2) for v in rows[1]["partial_dependence"]]
    (['f', 'm'], [0.1, 0.3])
    """
    X = np.asarray(X, dtype=np.float64)
    known = np.isfinite(np.asarray(risk(X), dtype=np.float64))
    if not known.any():
        raise NotEstimableError("no row has a prediction", "at least one")
    X = X[known]
    group = None if patient is None else np.asarray(patient)[known]
    index = {v.name: j for j, v in enumerate(variables)}
    out: list[dict[str, Any]] = []
    for name in names if names is not None else list(index):
        j = index[name]
        variable, x = variables[j], X[:, j]
        block: dict[str, Any] = {"variable": name, "label": variable.title, "kind": variable.kind}
        if variable.kind == "category":
            seen = np.unique(x[np.isfinite(x)])
            if seen.size < 2:
                continue
            dependence, lower, upper = _level_band(risk, X, j, seen, group, draws, level, seed)
            counts = [int((x == code).sum()) for code in seen]
            levels = [variable.categories[int(code)] for code in seen]
            block["grid"], block["ale"], block["partial_dependence"] = levels, [], dependence.tolist()
            block["histogram"] = {"edges": levels, "counts": _suppressed(counts)}
        else:
            grid = effect_grid(x, points)
            if grid.size < 2:
                continue
            ale, lower, upper = accumulated_local_effects(
                risk, X, j, grid, patient=group, draws=draws, level=level, seed=seed
            )
            edges = np.linspace(grid[0], grid[-1], _BINS + 1)
            counts = np.histogram(x[np.isfinite(x)], edges)[0].tolist()
            block["grid"], block["ale"] = grid.tolist(), ale.tolist()
            block["partial_dependence"] = partial_dependence(risk, X, j, grid).tolist()
            block["histogram"] = {"edges": edges.tolist(), "counts": _suppressed(counts)}
        block["lower"], block["upper"] = _json(lower), _json(upper)
        out.append(block)
    return out


def _level_band(
    risk: Score,
    X: NDArray[np.float64],
    column: int,
    codes_seen: NDArray[np.float64],
    patient: NDArray[Any] | None,
    draws: int,
    level: float,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Partial dependence of each level, with its band over patients."""
    by_row = _levels(risk, X, column, codes_seen)
    codes, counts = drawn_patients(patient, X.shape[0], draws, [seed, column, 9])
    sums = np.stack([np.bincount(codes, weights=row) for row in by_row], axis=1)
    drawn = (counts @ sums) / (counts @ np.bincount(codes))[:, None]
    lower, upper = percentile_interval(drawn, level)
    return by_row.mean(axis=1), lower, upper


def _suppressed(counts: Sequence[int]) -> list[int | None]:
    return [None if 0 < count < SMALL_CELL else count for count in counts]


def _json(values: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
