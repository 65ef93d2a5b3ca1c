"""How the prediction moves with each variable: local effects beside partial dependence, as small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, CELL_H, PLOT_H, LEFT, GAP, ACROSS, MOST = 900, 248, 150, 50, 46, 3, 9


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw one small panel a variable, all on one vertical scale.

    Parameters
    ----------
    data : mapping
        ``effects``: list of label, kind, grid, ale, lower, upper, partial_dependence, histogram; ``scale``.
    context : Context

    Returns
    -------
    Figure
    """
    rows, scale = list(data["effects"])[:MOST], str(data.get("scale") or "prediction")
    deep = math.ceil(len(rows) / ACROSS)
    width = (WIDTH - LEFT - GAP * (ACROSS - 1) - 10) / ACROSS
    limits = _limits(rows)
    with style.drawing("effects"):
        fig, add = style.canvas(WIDTH, CELL_H * deep + 22)
        style.place(fig, 4, 10, f"Change in {scale} around its mean", color=style.MUTED, size=11)
        for k, row in enumerate(rows):
            x, y = LEFT + (k % ACROSS) * (width + GAP), 54 + (k // ACROSS) * CELL_H
            ax = add(x, y, width, PLOT_H)
            ax.set_title(style.clip_text(row.get("label") or row["variable"], 30), pad=7, size=11.5)
            ax.axhline(0, color=style.LINE, lw=1)
            ax.set_ylim(limits)
            ax.yaxis.get_major_locator().set_params(nbins=4)
            if row.get("kind") == "category":
                _category(ax, row)
            else:
                _number(ax, row)
                _strip(add(x, y + PLOT_H + 4, width, 20, sharex=ax), row.get("histogram") or {})
                ax.tick_params(labelbottom=False, bottom=False)
        svg = style.to_svg(fig, "effects")
    return Figure(
        svg,
        titles.effects(rows),
        f"Solid line: accumulated local effect with its {context.band} band; dashed grey: partial "
        "dependence, centred. Strips show where "
        f"the training values lie. One vertical scale ({scale}). They describe the model, not what "
        "would happen if a value were changed.",
        "Small panels of the effect of each variable. " + " ".join(_say(r) for r in rows),
        _table(rows, scale, context),
        WIDTH,
    )


def _limits(rows: list[Any]) -> tuple[float, float]:
    values = [style.floats(r.get(k)) for r in rows for k in ("ale", "lower", "upper")]
    values += [_centred(style.floats(r.get("partial_dependence"))) for r in rows]
    flat = np.concatenate(values) if values else np.zeros(1)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return -1.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high + pad


def _centred(values: Any) -> Any:
    known = values[np.isfinite(values)]
    return values - known.mean() if known.size else values


def _number(ax: Any, row: Mapping[str, Any]) -> None:
    grid, ale, low, high, pd = (
        style.floats(row.get(k)) for k in ("grid", "ale", "lower", "upper", "partial_dependence")
    )
    style.band(ax, grid, low, high, style.ACCENT)
    if pd.size == grid.size:
        ax.plot(grid, _centred(pd), color=style.BASE, lw=1.3, ls=(0, (4, 2)))
    if ale.size == grid.size:
        ax.plot(grid, ale, color=style.ACCENT)
    if grid.size:
        ax.set_xlim(float(grid[0]), float(grid[-1]) if grid[-1] > grid[0] else float(grid[0]) + 1)


def _category(ax: Any, row: Mapping[str, Any]) -> None:
    levels = [style.clip_text(str(v), max(6, 40 // max(1, len(row["grid"])))) for v in row["grid"]]
    ale, low, high, pd = (style.floats(row.get(k)) for k in ("ale", "lower", "upper", "partial_dependence"))
    at = np.arange(len(levels), dtype=float)
    if low.size == high.size == at.size:
        ax.vlines(at, low, high, color=style.ACCENT, lw=1.5)
    if ale.size == at.size:
        ax.plot(at, ale, "o", color=style.ACCENT, ms=7)
    if pd.size == at.size:
        ax.plot(at + 0.12, _centred(pd), "D", mfc=style.PAPER, mec=style.BASE, ms=5)
    many = len(levels) > 4
    ax.set_xticks(at, levels, rotation=30 if many else 0, ha="right" if many else "center")
    ax.set_xlim(-0.6, len(levels) - 0.4)


def _strip(ax: Any, histogram: Mapping[str, Any]) -> None:
    edges, counts = style.floats(histogram.get("edges")), style.floats(histogram.get("counts"))
    if edges.size > 1 and counts.size == edges.size - 1:
        ax.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", color=style.BASE, alpha=0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.get_major_locator().set_params(nbins=4)


def _ends(row: Mapping[str, Any]) -> list[int]:
    n = len(row.get("grid") or [])
    if row.get("kind") == "category":
        return list(range(n))
    return sorted({0, n // 4, n // 2, 3 * n // 4, n - 1}) if n else []


def _say(row: Mapping[str, Any]) -> str:
    ale = row.get("ale") or []
    picks = _ends(row) if row.get("kind") == "category" else _ends(row)[:: max(1, len(_ends(row)) - 1)]
    parts = [f"{_grid(row['grid'][i])}: {numbers.fixed(ale[i], 2)}" for i in picks if i < len(ale)]
    return f"{row.get('label') or row['variable']}, {', '.join(parts)}."


def _grid(value: object) -> str:
    return numbers.number(float(f"{value:.4g}")) if isinstance(value, (int, float)) else str(value)


def _table(rows: list[Any], scale: str, context: Context) -> Table:
    body = []
    for r in rows:
        pd = r.get("partial_dependence") or []
        for i in _ends(r):
            estimate = [(r.get(k) or [None] * (i + 1))[i] for k in ("ale", "lower", "upper")]
            body.append(
                [
                    str(r.get("label") or r["variable"]),
                    num(_grid(r["grid"][i])),
                    num(numbers.interval(*estimate)),
                    num(numbers.fixed(pd[i] if i < len(pd) else None)),
                ]
            )
    return Table(["Variable", "Value", f"Local effect, {scale} ({context.band})", "Partial dependence"], body)
