"""How the predicted risk changes with each variable: local effects beside partial dependence, as small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, CELL_H, PLOT_H, LEFT, GAP, ACROSS, MOST = 900, 248, 150, 46, 46, 3, 9

Floats = NDArray[np.float64]


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw one small panel a variable, all on one vertical scale of percentage points of risk.

    Parameters
    ----------
    data : mapping
        ``effects``: list of label, kind, grid, ale, lower, upper, partial_dependence, histogram; all on the scale
        of predicted risk. A category has an empty ``ale``, and its bounds are those of the partial dependence.
    context : Context
        At the horizon of the predicted risk.

    Returns
    -------
    Figure
    """
    rows = list(data["effects"])[:MOST]
    deep = math.ceil(len(rows) / ACROSS)
    width = (WIDTH - LEFT - GAP * (ACROSS - 1) - 10) / ACROSS
    low, high = _limits(rows)
    axis = f"Change in predicted {context.predicts}{context.when} ({context.measured})"
    with style.drawing("effects"):
        fig, add = style.canvas(WIDTH, CELL_H * deep + 22)
        style.place(fig, 4, 10, axis, color=style.MUTED, size=11)
        for k, row in enumerate(rows):
            x, y = LEFT + (k % ACROSS) * (width + GAP), 54 + (k // ACROSS) * CELL_H
            ax = add(x, y, width, PLOT_H)
            ax.set_title(style.clip_text(row.get("label") or row["variable"], 36), pad=7, size=11.5)
            ax.axhline(0, color=style.LINE, lw=1)
            ax.set_ylim(low, high)
            ax.yaxis.get_major_locator().set_params(nbins=5)
            ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _ticks(v, high - low, context)))
            if _levels(row):
                _category(ax, row)
            else:
                _number(ax, row)
                _strip(add(x, y + PLOT_H + 4, width, 20, sharex=ax), row.get("histogram") or {})
                ax.tick_params(labelbottom=False, bottom=False)
        svg = style.to_svg(fig, "effects")
    return Figure(
        svg,
        titles.effects(rows, context.predicts, context.measured),
        f"{_key(rows, context)} One vertical scale{_strips(rows)}. They describe the model, not what would happen if "
        "a value were changed.",
        f"Small panels: {axis} with each variable. " + " ".join(_say(r, context) for r in rows),
        _table(rows, context),
        WIDTH,
    )


def _key(rows: list[Any], context: Context) -> str:
    said = []
    if any(r.get("ale") for r in rows):
        said.append(
            "Solid line or filled point: accumulated local effect, the change in predicted "
            f"{context.predicts}{context.when} around its mean, with its {context.band}; dashed grey or "
            "hollow: partial dependence, shifted to the same mean."
        )
    if any(not r.get("ale") for r in rows):
        said.append(
            f"Levels of a category: mean predicted {context.predicts} with everyone at that level, less the mean over "
            f"patients, with its {context.band}."
        )
    return " ".join(said)


def _strips(rows: list[Any]) -> str:
    return "; strips show where the values lie" if any(not _levels(r) for r in rows) else ""


def _levels(row: Mapping[str, Any]) -> bool:
    # A number that is only 0 or 1 is drawn as two points: there is nothing between them.
    return row.get("kind") == "category" or list(row.get("grid") or []) == [0, 1]


def _curves(row: Mapping[str, Any]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the change, its bounds and, for a number, the partial dependence around the same mean."""
    ale, low, high, pd = (style.floats(row.get(k)) for k in ("ale", "lower", "upper", "partial_dependence"))
    if ale.size:
        return ale, low, high, pd - _mean(pd) + _mean(ale)
    counts = style.floats((row.get("histogram") or {}).get("counts"))
    weight = np.nan_to_num(counts) if counts.size == pd.size else np.ones(pd.size)
    ok = np.isfinite(pd)
    centre = float(np.average(pd[ok], weights=weight[ok])) if weight[ok].sum() else _mean(pd)
    return pd - centre, low - centre, high - centre, pd[:0]


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _limits(rows: list[Any]) -> tuple[float, float]:
    flat = np.concatenate([np.zeros(1), *(c for r in rows for c in _curves(r))])
    flat = flat[np.isfinite(flat)]
    low, high = float(flat.min()), float(flat.max())
    if high - low < 0.002:
        return low - 0.01, high + 0.01
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def _number(ax: Any, row: Mapping[str, Any]) -> None:
    grid = style.floats(row.get("grid"))
    change, low, high, pd = _curves(row)
    style.band(ax, grid, low, high, style.ACCENT)
    if pd.size == grid.size:
        ax.plot(grid, pd, color=style.BASE, lw=1.3, ls=(0, (4, 2)))
    if change.size == grid.size:
        ax.plot(grid, change, color=style.ACCENT)
    if grid.size:
        ax.set_xlim(float(grid[0]), float(grid[-1]) if grid[-1] > grid[0] else float(grid[0]) + 1)


def _category(ax: Any, row: Mapping[str, Any]) -> None:
    levels = [style.clip_text(_grid(v), max(6, 40 // max(1, len(row["grid"])))) for v in row["grid"]]
    change, low, high, pd = _curves(row)
    at = np.arange(len(levels), dtype=float)
    if low.size == high.size == at.size:
        ax.vlines(at, low, high, color=style.ACCENT, lw=1.5)
    if change.size == at.size:
        ax.plot(at, change, "o", color=style.ACCENT, ms=7)
    if pd.size == at.size:
        ax.plot(at + 0.12, pd, "D", mfc=style.PAPER, mec=style.BASE, ms=5)
    many = len(levels) > 4
    ax.set_xticks(at, levels, rotation=30 if many else 0, ha="right" if many else "center")
    ax.set_xlim(-0.6, len(levels) - 0.4)


def _strip(ax: Any, histogram: Mapping[str, Any]) -> None:
    counts = style.floats(histogram.get("counts"))
    edges = style.floats(histogram.get("edges") if counts.size else [])
    if edges.size > 1 and counts.size == edges.size - 1:
        ax.bar(edges[:-1], np.nan_to_num(counts), np.diff(edges) * 0.9, align="edge", color=style.BASE, alpha=0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.get_major_locator().set_params(nbins=4)


def _ends(row: Mapping[str, Any]) -> list[int]:
    n = len(row.get("grid") or [])
    if _levels(row):
        return list(range(n))
    return sorted({0, n // 4, n // 2, 3 * n // 4, n - 1}) if n else []


def _say(row: Mapping[str, Any], context: Context) -> str:
    change = _curves(row)[0]
    ends = _ends(row)
    picks = ends if _levels(row) else ends[:: max(1, len(ends) - 1)]
    parts = [f"{_grid(row['grid'][i])}: {_spelt(change[i], context)}" for i in picks if i < change.size]
    return f"{row.get('label') or row['variable']}, {', '.join(parts)}."


def _grid(value: object) -> str:
    return numbers.number(float(f"{value:.4g}")) if isinstance(value, (int, float)) else str(value)


def _shares(context: Context) -> bool:
    return context.measured == "percentage points"


def _spelt(value: float | None, context: Context) -> str:
    if _shares(context):
        return numbers.points(value)
    text = numbers.fixed(value, 2)
    return f"+{text}" if numbers.is_number(value) and value > 0 and text.strip("0.") else text


def _ticks(value: float, span: float, context: Context) -> str:
    if not _shares(context):
        return f"{value:+.3g}".replace("-", numbers.MINUS)
    return numbers.points(value, 0 if span > 0.04 else 1)


def _level(value: float | None, context: Context) -> str:
    if context.predicts == "risk":
        return numbers.percent(value)
    return _spelt(value, context)


def _table(rows: list[Any], context: Context) -> Table:
    body = []
    for r in rows:
        pd = style.floats(r.get("partial_dependence"))
        curves = _curves(r)[:3]
        for i in _ends(r):
            change, low, high = (float(c[i]) if i < c.size else None for c in curves)
            text = _spelt(change, context)
            if numbers.is_number(low) and numbers.is_number(high):
                text += f" ({_spelt(low, context)} to {_spelt(high, context)})"
            body.append(
                [
                    str(r.get("label") or r["variable"]),
                    num(_grid(r["grid"][i])),
                    num(text),
                    num(_level(float(pd[i]) if i < pd.size else None, context)),
                ]
            )
    measured = "points" if _shares(context) else context.measured
    moved = f"Change in {context.predicts}, {measured} ({context.band})"
    head = ["Variable", "Value", moved, f"Mean predicted {context.predicts} at that value"]
    return Table(head, body)
