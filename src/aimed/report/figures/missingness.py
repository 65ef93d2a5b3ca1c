"""Missing values: how large a share of each variable, and whether it differs by outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, ROW, LABEL, MOST = 640, 24, 240, 30


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the share of missing values as bars, with points for patients with and without the outcome.

    Parameters
    ----------
    data : mapping
        ``missing``: list of variable, label, n_missing, fraction, by_outcome.
    context : Context

    Returns
    -------
    Figure
    """
    rows = sorted((r for r in data["missing"] if r.get("fraction")), key=lambda r: -float(r["fraction"]))
    shown = rows[:MOST]
    height = ROW * len(shown) + 66
    with style.drawing("missingness"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LABEL, 22, WIDTH - LABEL - 66, ROW * len(shown))
        top = 0.0
        for i, row in enumerate(shown):
            by = row.get("by_outcome") or {}
            ax.barh(i, row["fraction"], height=0.5, color=style.BASE, alpha=0.45)
            for key, marker, colour in (("event", "o", style.WARN), ("no_event", "D", style.ACCENT)):
                if numbers.is_number(by.get(key)):
                    ax.plot(by[key], i, marker, color=colour, ms=5, clip_on=False)
                    top = max(top, float(by[key]))
            top = max(top, float(row["fraction"]))
            y = 22 + (i + 0.5) * ROW
            style.place(fig, LABEL - 12, y, style.clip_text(row.get("label") or row["variable"], 34), ha="right")
            style.place(fig, WIDTH - 4, y, numbers.percent(row["fraction"]), ha="right")
        ax.set(xlim=(0, style.nice_limit(top)), ylim=(len(shown) - 0.5, -0.5), yticks=[])
        ax.spines["left"].set_color(style.LINE)
        style.percent_axis(ax.xaxis)
        ax.set_xlabel("Missing values")
        for x, marker, colour, text in (
            (LABEL, "o", style.WARN, "with outcome"),
            (LABEL + 118, "D", style.ACCENT, "without"),
        ):
            key = add(x, 4, 12, 12)
            key.axis("off")
            key.plot(0.5, 0.5, marker, color=colour, ms=5)
            key.set(xlim=(0, 1), ylim=(0, 1))
            style.place(fig, x + 17, 10, text, color=style.MUTED, size=11)
        svg = style.to_svg(fig, "missingness")
    table = Table(
        ["Variable", "Missing", "Share", "With outcome", "Without"],
        [
            [
                str(r.get("label") or r["variable"]),
                num(numbers.count(r.get("n_missing")), r.get("n_missing")),
                num(numbers.percent(r.get("fraction")), r.get("fraction")),
                *(
                    num(numbers.percent((r.get("by_outcome") or {}).get(k)), (r.get("by_outcome") or {}).get(k))
                    for k in ("event", "no_event")
                ),
            ]
            for r in rows
        ],
        sortable=True,
    )
    rest = f" Only the {MOST} variables missing most often are drawn." if len(rows) > MOST else ""
    said = "; ".join(f"{r.get('label') or r['variable']} {numbers.percent(r['fraction'])}" for r in shown)
    return Figure(
        svg,
        titles.missingness(rows),
        "Share of missing values in the training and test parts together: bars for all rows, points by outcome. "
        f"Variables without missing values are left out.{rest}",
        f"Bars of missing values. {said}.",
        table,
        WIDTH,
    )
