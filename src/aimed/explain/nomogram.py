"""A nomogram: points a value that add up to a total, and the risk at each total, found by asking the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, Variable
from aimed.explain.effects import SMALL_CELL

__all__ = ["no_nomogram", "nomogram", "read_nomogram"]

Floats: TypeAlias = NDArray[np.float64]
Additive: TypeAlias = Callable[[Floats], Floats]
"""Rows of predictors, shape (n, p), to the sum that the model makes of them, shape (n,)."""
RiskAt: TypeAlias = Callable[[Floats], Floats]
"""Sums, shape (m,), to risks, shape (m,) or (m, h)."""

MOST_PREDICTORS = 15
MOST_LEVELS = 12
_CODES = 6
"""A number with at most this many values is read at these values, not along a line."""
_POINTS = 60
_ROWS = 2000
_ADDITIVE = 0.05
"""Points by which the sum of the predictors may miss the model's own sum."""
_TABLE = 1600


def nomogram(
    score: Additive,
    risk_at: RiskAt,
    risk: Callable[[Floats], Floats],
    X: ArrayLike,
    variables: Sequence[Variable],
    *,
    horizons: Sequence[float] | None = None,
    most: int = MOST_PREDICTORS,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the nomogram of a model whose risk follows from one sum over its predictors.

    Parameters
    ----------
    score : callable
        X → the sum, such as a linear predictor or log odds; higher is worse.
    risk_at : callable
        Sums → risk, one column a horizon; never falls.
    risk : callable
        X → the model's own risk, shape (n,) or (n, h): what a reading is compared with.
    X : float array, shape (n, p)
        Training rows: numbers, category codes, NaN where missing.
    variables : sequence of Variable, length p
    horizons : sequence of float, optional
        Times of the columns of the risk; absent for a yes/no outcome.
    most : int
        Most predictors with points.
    seed : int
        Of the rows that are checked when there are many.

    Returns
    -------
    dict
        ``reason``: why there is none, or None. ``predictors``: list of ``variable, label, kind ("number" or "levels"),
        values, points, ticks``, the widest first; ``without``: labels of predictors without weight; ``risks``: list of
        ``horizon, risk``, the risk at 0, 1, 2, ... points; ``total``: most points; ``typical``: ``values, points,
        total, risk`` at the medians and most frequent levels; ``error``: ``bound``, ``largest`` and ``mean``, each a
        list with a number a horizon, ``rows`` compared and ``outside``, the share of rows beyond an axis.

    Notes
    -----
    The points of a value are what it adds to the sum when the others stay as they are, from 0 at the best value of
    the axis, so scaled that the widest predictor has 100. Nothing is assumed of the model: that the points add up
    and that the risk follows from the sum alone are both tried on the training rows, and no nomogram is made of a
    model where they do not. An axis runs from the 1st to the 99th percentile, widened to round values.

    ``bound`` holds for every patient within the axes: each reading is a whole number of points, so a total is off by
    at most half a point a number, what the points of a level are rounded by and what the straight lines between
    tabulated values miss; the bound is the
    largest change of risk over that distance.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, section 5.3; Kattan and Marasco, Semin Oncol 2010;37:430.

    Examples
    --------
    >>> X = np.column_stack([np.linspace(40, 80, 200), np.tile([0.0, 1.0], 100)])
    >>> lp = lambda X: 0.05 * X[:, 0] + X[:, 1] - 4
    >>> expit = lambda v: 1 / (1 + np.exp(-v))
    >>> found = nomogram(lp, expit, lambda X: expit(lp(X)), X, [Variable(name="age"), Variable(name="chf")])
    >>> [(p["variable"], max(p["points"])) for p in found["predictors"]], found["error"]["bound"][0] < 0.01
    ([('age', 100.0), ('chf', 50.0)], True)
    """
    rows = np.asarray(X, dtype=np.float64)
    base = _typical(rows, variables)
    axes, without = _axes(score, rows, base, variables)
    if not axes:
        return no_nomogram("no predictor has weight in the model")
    if len(axes) > most:
        return no_nomogram(f"{len(axes)} predictors have weight, and more than {most} cannot be read by hand")
    crowded = next((a for a in axes if a["kind"] == "levels" and len(a["values"]) > MOST_LEVELS), None)
    if crowded is not None:
        return no_nomogram(f"{crowded['label']} has {len(crowded['values'])} levels, more than an axis can show")
    widest = max(float(np.ptp(a["effect"])) for a in axes)
    scale = 100.0 / widest
    start = float(score(base[None, :])[0])
    for axis in axes:
        low = float(axis["effect"].min())
        axis["points"] = (axis["effect"] - low) * scale
        # Half a point is read over or under along a line; the points of a level are off by a known part.
        off = 0.5 if axis["kind"] == "number" else float(np.abs(axis["points"] - np.round(axis["points"])).max())
        axis["slack"] = axis["slack"] * scale + off
        start += low
    axes.sort(key=lambda a: -float(np.ptp(a["points"])))
    total = int(np.ceil(sum(float(a["points"].max()) for a in axes))) + len(axes)
    if total > _TABLE:
        return no_nomogram(f"the points add up to {total}, more than can be read")

    picked = rows
    if rows.shape[0] > _ROWS:
        picked = rows[np.sort(np.random.default_rng([seed, 17]).choice(rows.shape[0], _ROWS, replace=False))]
    complete = np.where(np.isnan(picked), base, picked)
    if not _adds_up(score, complete, base, variables, scale):
        return no_nomogram("the predictors of the model do not simply add up")
    own = _columns(risk(complete))
    if not np.allclose(_columns(risk_at(score(complete))), own, rtol=0.0, atol=1e-6):
        return no_nomogram("the risk of the model does not follow from one sum over the predictors")
    table = _columns(risk_at(start + np.arange(total + 1) / scale))
    if (np.diff(table, axis=0) < -1e-9).any():
        return no_nomogram("the risk of the model does not rise with the sum over its predictors")

    times: list[float | None] = [None] * table.shape[1] if horizons is None else [float(h) for h in horizons]
    found: dict[str, Any] = {
        "reason": None,
        "predictors": [
            {
                "variable": a["variable"],
                "label": a["label"],
                "kind": a["kind"],
                "values": a["values"],
                "points": [round(float(v), 3) for v in a["points"]],
                "ticks": a["ticks"],
            }
            for a in axes
        ],
        "without": without,
        "total": total,
        "risks": [
            {"horizon": h, "risk": [float(f"{v:.6g}") for v in column]}
            for h, column in zip(times, table.T, strict=True)
        ],
    }
    reading, read = read_nomogram(found, complete, variables)
    inside = np.isfinite(reading)
    away = np.abs(read[inside] - own[inside])
    slack = sum(float(a["slack"]) for a in axes)
    fine = np.linspace(-slack, total, 4 * (total + 1))
    steps = _columns(risk_at(start + (fine + slack) / scale)) - _columns(risk_at(start + fine / scale))
    # Tabulated risks and points are rounded in the record, by less than this.
    bound = steps.max(axis=0) + 1e-5
    found["error"] = {
        "bound": [float(v) for v in bound],
        "largest": [float(v) for v in away.max(axis=0)] if inside.any() else None,
        "mean": [float(v) for v in away.mean(axis=0)] if inside.any() else None,
        "rows": int(inside.sum()),
        "outside": float(1.0 - inside.mean()),
    }
    found["typical"] = _example(found, base, variables)
    return found


def no_nomogram(reason: str) -> dict[str, Any]:
    """Return the record of a nomogram that cannot be made, with the reason.

    Examples
    --------
    >>> no_nomogram("no predictor has weight in the model")["predictors"]
    []
    """
    return {"reason": reason, "predictors": [], "without": [], "total": None, "risks": [], "error": None}


def read_nomogram(record: Mapping[str, Any], X: ArrayLike, variables: Sequence[Variable]) -> tuple[Floats, Floats]:
    """Read the nomogram as a person would: whole points for each value, their sum, and the risk at that sum.

    Parameters
    ----------
    record : dict
        As returned by `nomogram`.
    X : float array, shape (n, p)
    variables : sequence of Variable, length p

    Returns
    -------
    total : float array, shape (n,)
    risk : float array, shape (n, h)
        NaN for a row with a value that is missing or beyond its axis.

    Raises
    ------
    DataError
        If the record holds no nomogram, or one for other variables.

    Examples
    --------
    >>> axis = {"variable": "age", "kind": "number", "values": [40, 80], "points": [0, 100]}
    >>> record = {"reason": None, "predictors": [axis], "risks": [{"risk": [0.01 * k for k in range(101)]}]}
    >>> total, risk = read_nomogram(record, [[50.0], [90.0]], [Variable(name="age")])
    >>> total.tolist(), risk[0].tolist()
    ([25.0, nan], [0.25])
    """
    if record.get("reason") is not None:
        raise DataError("there is no nomogram to read", "a model whose predictors add up", str(record["reason"]))
    rows = np.asarray(X, dtype=np.float64)
    index = {v.name: j for j, v in enumerate(variables)}
    total = np.zeros(rows.shape[0])
    for axis in record["predictors"]:
        if axis["variable"] not in index:
            raise DataError(f"the nomogram reads '{axis['variable']}'", "the variables it was made for")
        j = index[axis["variable"]]
        total += np.round(_points(axis, rows[:, j], variables[j]))
    table = np.column_stack([np.asarray(r["risk"], dtype=np.float64) for r in record["risks"]])
    risk = np.full((rows.shape[0], table.shape[1]), np.nan)
    known = np.isfinite(total)
    risk[known] = table[np.clip(total[known].astype(np.int64), 0, table.shape[0] - 1)]
    return total, risk


def _points(axis: Mapping[str, Any], x: Floats, variable: Variable) -> Floats:
    points = np.asarray(axis["points"], dtype=np.float64)
    if axis["kind"] == "number":
        at = np.asarray(axis["values"], dtype=np.float64)
        return np.interp(x, at, points, left=np.nan, right=np.nan) if at.size > 1 else np.full(x.size, np.nan)
    codes = [float(variable.categories.index(v)) if variable.kind == "category" else float(v) for v in axis["values"]]
    out = np.full(x.size, np.nan)
    for code, value in zip(codes, points, strict=True):
        out[x == code] = value
    return out


def _columns(risk: Floats) -> Floats:
    values = np.asarray(risk, dtype=np.float64)
    return values if values.ndim == 2 else values[:, None]


def _typical(X: Floats, variables: Sequence[Variable]) -> Floats:
    """Return the median of each number and the most frequent code of each category."""
    base = np.zeros(X.shape[1])
    for j, v in enumerate(variables):
        known = X[np.isfinite(X[:, j]), j]
        if not known.size:
            continue
        codes, counts = np.unique(known, return_counts=True)
        few = v.kind == "category" or codes.size <= _CODES
        base[j] = codes[counts.argmax()] if few else _short(float(np.median(known)), float(np.ptp(known)))
    return base


def _short(value: float, spread: float) -> float:
    return round(value, int(np.clip(2 - np.floor(np.log10(spread)), -300, 300))) if spread > 0 else value


def _axes(
    score: Additive, X: Floats, base: Floats, variables: Sequence[Variable]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what each value of each predictor adds to the sum, and the labels of those that add nothing."""
    axes: list[dict[str, Any]] = []
    without: list[str] = []
    for j, v in enumerate(variables):
        known = X[np.isfinite(X[:, j]), j]
        codes, counts = np.unique(known, return_counts=True)
        axis: dict[str, Any] = {"variable": v.name, "label": v.title}
        if v.kind == "category" or codes.size <= _CODES:
            # A number seen in fewer rows than this would be somebody's own value.
            shown = codes if v.kind == "category" else codes[counts >= SMALL_CELL]
            if shown.size < 2:
                without.append(v.title)
                continue
            effect = _effect(score, base, j, shown)
            axis["kind"] = "levels"
            axis["values"] = [v.categories[int(c)] for c in shown] if v.kind == "category" else shown.tolist()
            axis["ticks"] = list(range(shown.size))
            axis["slack"] = 0.0
        else:
            low, high, ticks = _span(known, v)
            shown = np.unique([float(f"{x:.10g}") for x in (*np.linspace(low, high, _POINTS + 1), *ticks)])
            effect = _effect(score, base, j, shown)
            middle = (shown[1:] + shown[:-1]) / 2.0
            miss = np.abs(_effect(score, base, j, middle) - (effect[1:] + effect[:-1]) / 2.0)
            axis["kind"] = "number"
            axis["values"] = shown.tolist()
            axis["ticks"] = [int(np.argmin(np.abs(shown - t))) for t in ticks]
            # Between two tabulated values a smooth curve is farthest from its chord near the middle.
            axis["slack"] = 1.25 * float(miss.max())
        axis["effect"] = effect
        axes.append(axis)
    widest = max((float(np.ptp(a["effect"])) for a in axes), default=0.0)
    kept = [a for a in axes if np.ptp(a["effect"]) > 1e-9 * max(widest, 1e-300) and widest > 1e-12]
    return kept, [*without, *(a["label"] for a in axes if not any(a is k for k in kept))]


def _effect(score: Additive, base: Floats, j: int, values: Floats) -> Floats:
    rows = np.tile(base, (values.size + 1, 1))
    rows[1:, j] = values
    found = np.asarray(score(rows), dtype=np.float64)
    return np.asarray(found[1:] - found[0])


def _span(known: Floats, variable: Variable) -> tuple[float, float, Floats]:
    """Return the ends of an axis and its round ticks."""
    tail = min(0.25, max(0.01, SMALL_CELL / known.size))
    low, high = (float(v) for v in np.quantile(known, [tail, 1.0 - tail]))
    if high <= low:
        low, high = float(known.min()), float(known.max())
    step = _nice((high - low) / 7.0)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    ticks = np.arange(first, last + 0.5) * step
    if variable.plausible is not None:
        ticks = ticks[(ticks >= variable.plausible[0]) & (ticks <= variable.plausible[1])]
    if low >= 0:
        ticks = ticks[ticks >= 0]
    ticks = np.array([float(f"{t:.10g}") for t in ticks])
    if ticks.size < 2:
        ticks = np.array([_short(low, high - low), _short(high, high - low)])
    return float(ticks[0]), float(ticks[-1]), ticks


def _nice(width: float) -> float:
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * power >= width * 0.999))


def _adds_up(score: Additive, complete: Floats, base: Floats, variables: Sequence[Variable], scale: float) -> bool:
    start = float(score(base[None, :])[0])
    parts = np.full(complete.shape[0], start)
    for j in range(len(variables)):
        alone = np.tile(base, (complete.shape[0], 1))
        alone[:, j] = complete[:, j]
        parts += np.asarray(score(alone), dtype=np.float64) - start
    missed = np.abs(parts - np.asarray(score(complete), dtype=np.float64)) * scale
    return bool(np.isfinite(missed).all() and missed.max() <= _ADDITIVE)


def _example(record: Mapping[str, Any], base: Floats, variables: Sequence[Variable]) -> dict[str, Any] | None:
    total, risk = read_nomogram(record, base[None, :], variables)
    if not np.isfinite(total[0]):
        return None
    index = {v.name: j for j, v in enumerate(variables)}
    values, points = [], []
    for axis in record["predictors"]:
        j = index[axis["variable"]]
        v = variables[j]
        values.append(v.categories[int(base[j])] if v.kind == "category" else float(base[j]))
        points.append(float(np.round(_points(axis, base[[j]], v)[0])))
    return {"values": values, "points": points, "total": float(total[0]), "risk": [float(r) for r in risk[0]]}
