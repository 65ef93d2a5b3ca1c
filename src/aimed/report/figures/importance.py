"""Importance of the variables: bars with whiskers for permutation or Shapley values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, ROW, LABEL, MOST = 670, 25, 250, 20


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the importance of the variables in falling order.

    Parameters
    ----------
    data : mapping
        ``rows``: list with label, lower, upper and the value under ``key``; ``axis``: what the axis says;
        ``caption``: how it was made; ``salt``: name of the drawing.
    context : Context

    Returns
    -------
    Figure
    """
    key, axis = str(data["key"]), str(data["axis"])
    rows = sorted((r for r in data["rows"] if numbers.is_number(r.get(key))), key=lambda r: -float(r[key]))
    shown = rows[:MOST]
    salt = str(data.get("salt") or "importance")
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, ROW * len(shown) + 58)
        ax = add(LABEL, 4, WIDTH - LABEL - 160, ROW * len(shown))
        ax.axvline(0, color=style.FAINT, lw=1)
        for i, row in enumerate(shown):
            ax.barh(i, row[key], height=0.52, color=style.ACCENT, alpha=0.55)
            if numbers.is_number(row.get("lower")) and numbers.is_number(row.get("upper")):
                ax.plot([row["lower"], row["upper"]], [i, i], color=style.INK, lw=1.2)
            y = 4 + (i + 0.5) * ROW
            style.place(fig, LABEL - 12, y, style.clip_text(row.get("label") or row["variable"], 38), ha="right")
            text = numbers.interval(row[key], row.get("lower"), row.get("upper"))
            style.place(fig, WIDTH - 4, y, text, ha="right", size=11)
        ax.set(ylim=(len(shown) - 0.5, -0.5), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.set_xlabel(axis)
        svg = style.to_svg(fig, salt)
    table = Table(
        ["Variable", f"{axis} ({context.band})"],
        [
            [
                str(r.get("label") or r["variable"]),
                num(numbers.interval(r[key], r.get("lower"), r.get("upper")), r[key]),
            ]
            for r in rows
        ],
        sortable=True,
    )
    rest = f" Only the first {MOST} of {len(rows)} variables are drawn." if len(rows) > MOST else ""
    said = "; ".join(f"{r.get('label') or r['variable']} {numbers.fixed(r[key])}" for r in shown)
    return Figure(svg, titles.importance(rows, key), f"{data['caption']}{rest}", f"Bars: {axis}. {said}.", table, WIDTH)
