"""Accuracy over follow-up: AUC at each time, and the Brier score against the model without variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, LEFT, GAP = 760, 300, 62, 84


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw AUC(t) on the left and Brier(t) beside the null model on the right.

    Parameters
    ----------
    data : mapping
        ``times``, ``auc``, ``auc_lower``, ``auc_upper``, ``brier``, ``brier_lower``, ``brier_upper``, ``brier_null``.
    context : Context

    Returns
    -------
    Figure
    """
    keys = ("times", "auc", "auc_lower", "auc_upper", "brier", "brier_lower", "brier_upper", "brier_null")
    t, auc, auc_low, auc_high, brier, brier_low, brier_high, null = (style.floats(data.get(k)) for k in keys)
    width = (WIDTH - LEFT - GAP - 62) / 2
    with style.drawing("over-time"):
        fig, add = style.canvas(WIDTH, HEIGHT)
        left = add(LEFT, 26, width, HEIGHT - 80)
        left.set_title("AUC", pad=8)
        left.axhline(0.5, ls=(0, (4, 4)), lw=1, color=style.FAINT)
        style.band(left, t, auc_low, auc_high, style.ACCENT)
        if auc.size == t.size:
            left.plot(t, auc, color=style.ACCENT)
        floor = min([0.48, *(auc_low[np.isfinite(auc_low)] - 0.02), *(auc[np.isfinite(auc)] - 0.02)])
        left.set(ylim=(max(0.0, floor), 1.0))
        left.text(float(t[-1]), 0.505, "chance", ha="right", va="bottom", color=style.MUTED, size=11)
        right = add(LEFT + width + GAP, 26, width, HEIGHT - 80)
        right.set_title("Brier score", pad=8)
        ends = []
        if null.size == t.size:
            right.plot(t, null, color=style.BASE, lw=1.5, ls=(0, (5, 2)))
            ends.append(("null", _last(null), style.MUTED))
        style.band(right, t, brier_low, brier_high, style.ACCENT)
        if brier.size == t.size:
            right.plot(t, brier, color=style.ACCENT)
            ends.append(("model", _last(brier), style.ACCENT))
        right.set_ylim(bottom=0)
        top = right.get_ylim()[1]
        for (text, _, colour), y in zip(
            ends, style.spread([e[1] for e in ends], 16 / (HEIGHT - 80) * top, 0, top), strict=True
        ):
            style.place(fig, WIDTH - 56, 26 + (top - y) / top * (HEIGHT - 80), text, color=colour)
        for ax in (left, right):
            ax.set_xlim(0, float(t[-1]))
            ax.set_xlabel(f"Time ({context.unit}s)")
            ax.xaxis.get_major_locator().set_params(nbins=5)
        svg = style.to_svg(fig, "over-time")

    def cell(i: int, *values: Any) -> Any:
        return num(numbers.interval_at(i, *values))

    rows = [
        [
            num(numbers.number(round(float(t[i]), 1)), t[i]),
            cell(i, auc, auc_low, auc_high),
            cell(i, brier, brier_low, brier_high),
            num(numbers.fixed(float(null[i]) if i < null.size else None)),
        ]
        for i in range(0, t.size, max(1, t.size // 12))
    ]
    return Figure(
        svg,
        titles.over_time(data),
        "Cumulative/dynamic AUC and Brier score at each time on the test part, weighted for "
        f"censoring, with {context.band} bands. "
        f"The null model gives everyone the {context.observed} risk.",
        f"Two curves over time. AUC {numbers.fixed(_first(auc))} at the start and "
        f"{numbers.fixed(_last(auc))} at the end; Brier score "
        f"{numbers.fixed(_last(brier))} at the end, null model {numbers.fixed(_last(null))}.",
        Table(
            [f"Time ({context.unit}s)", f"AUC ({context.band})", f"Brier score ({context.band})", "Null model"], rows
        ),
        WIDTH,
    )


def _last(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")


def _first(values: Any) -> float:
    return _last(values[::-1])
