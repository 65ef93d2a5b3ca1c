"""Small calibration curves of all findings on one sheet, so that the one that is off is seen among the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, sentences, style, titles
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, PANEL, GAP, TITLE = 760, 150, 28, 58
COLUMNS = 4


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw observed against predicted risk, a panel a finding.

    Parameters
    ----------
    data : mapping
        ``findings``: list of ``label``, ``curve`` (predicted, observed, lower, upper, bins), ``slope`` and ``oe``.
    context : Context

    Returns
    -------
    Figure
    """
    panels = list(data["findings"])
    salt = f"{context.salt}calibration-grid"
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    tall, left = PANEL + TITLE, 46
    width = left + across * PANEL + (across - 1) * GAP + 24
    with style.drawing(salt):
        fig, add = style.canvas(width, down * tall + 44)
        for k, one in enumerate(panels):
            x, y = left + (k % across) * (PANEL + GAP), (k // across) * tall + TITLE - 18
            curve, sign = one.get("curve") or {}, _sign(one)
            values = [style.floats(curve.get(key)) for key in ("predicted", "observed", "lower", "upper")]
            limit = _limit(values, curve)
            ax = add(x, y, PANEL, PANEL)
            ax.plot([0, limit], [0, limit], ls=(0, (4, 4)), lw=1, color=style.FAINT)
            colour = style.WARN if sign == "bad" else style.ACCENT if sign == "good" else style.BASE
            style.band(ax, values[0], values[2], values[3], colour)
            ax.plot(values[0], values[1], color=colour, lw=1.8)
            ax.set(xlim=(0, limit), ylim=(0, limit))
            ticks = [0.0, limit / 2, limit]
            ax.set_xticks(ticks, ["0", *(f"{100 * t:.3g}%" for t in ticks[1:])])
            ax.set_yticks(ticks, ["0", *(f"{100 * t:.3g}%" for t in ticks[1:])] if k % across == 0 else ["", "", ""])
            style.place(fig, x, y - 27, style.clip_text(one["label"], 22), weight="bold")
            style.place(fig, x, y - 11, _short(one), color=style.MUTED, size=10.5)
        style.place(fig, left, down * tall + 30, "Predicted risk (across), observed risk (up)", color=style.MUTED)
        svg = style.to_svg(fig, salt)
    rows = [
        [
            str(one["label"]),
            num(numbers.measure(one.get("oe"), 2), (one.get("oe") or {}).get("value")),
            num(numbers.measure(one.get("slope"), 2), (one.get("slope") or {}).get("value")),
            Cell(_clause(one)),
        ]
        for one in panels
    ]
    said = "; ".join(f"{one['label']}: {_short(one)}" for one in panels)
    return Figure(
        svg,
        titles.calibration_grid(panels),
        f"Smoothed observed risk by predicted risk on the test part, a panel a finding; bands are {context.band}s, "
        "dashed is ideal. Both axes of a panel have one range, which ends where the risks end. Red: miscalibration "
        "is shown. Grey: not enough evidence.",
        f"Calibration of {sentences.plural(len(panels), 'finding')}. {said}.",
        Table(["Finding", f"O/E ({context.band})", f"Slope ({context.band})", "In words"], rows),
        max(width, 300),
    )


def _clause(one: Mapping[str, Any]) -> str:
    text = sentences.calibration(one.get("slope"), one.get("oe"), (one.get("curve") or {}).get("bins"))[1]
    return text


def _sign(one: Mapping[str, Any]) -> str:
    return sentences.calibration(one.get("slope"), one.get("oe"), (one.get("curve") or {}).get("bins"))[0]


def _short(one: Mapping[str, Any]) -> str:
    oe, slope = ((one.get(k) or {}).get("value") for k in ("oe", "slope"))
    return f"O/E {numbers.ratio(oe)}, slope {numbers.ratio(slope)}"


def _limit(values: list[Any], curve: Mapping[str, Any]) -> float:
    found = [float(np.nanmax(v)) for v in values[:2] if v.size and np.isfinite(v).any()]
    found += [
        float(b[k]) for b in curve.get("bins") or [] for k in ("predicted", "observed") if numbers.is_number(b.get(k))
    ]
    return style.nice_limit(max([*found, 0.0]))
