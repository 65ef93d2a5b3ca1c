"""The gain when a share of the patients is treated, those with most predicted benefit first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import effect_sentences, numbers, style
from aimed.report.contrast import Question
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, LEFT, RIGHT = 640, 330, 74, 120


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the gain over treating nobody against the share treated.

    Parameters
    ----------
    data : mapping
        The ``fractions`` block: share, value, lower, upper, random; ``question``: a `Question`; ``budget``: largest
        share that may be treated, where there is one.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    scale = question.additive
    factor = scale.factor()
    x, value, lower, upper, chance = (style.floats(data.get(k)) for k in ("share", "value", "lower", "upper", "random"))
    budget = data.get("budget")
    with style.drawing("fraction"):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(LEFT, 30, WIDTH - LEFT - RIGHT, HEIGHT - 86)
        style.band(ax, x, factor * lower, factor * upper, style.ACCENT)
        ends = []
        if chance.size == x.size:
            ax.plot(x, factor * chance, color=style.BASE, lw=1.4, ls=(0, (4, 3)))
            ends.append(("at random", int(0.6 * (x.size - 1)), chance, style.MUTED))
        if value.size == x.size:
            ax.plot(x, factor * value, color=style.ACCENT)
            ends.append(("by benefit", int(0.6 * (x.size - 1)), value, style.ACCENT))
        if numbers.is_number(budget) and 0 < budget < 1:
            ax.axvline(budget, color=style.INK, lw=0.9, ls=(0, (1, 2)))
        ax.axhline(0, color=style.FAINT, lw=1)
        ax.set_xlim(0, 1)
        low, high = ax.get_ylim()
        if numbers.is_number(budget) and 0 < budget < 1:
            ax.text(budget + 0.012, high, "budget", va="top", size=11, color=style.MUTED)
        places = [float(factor * c[i]) for _, i, c, _ in ends]
        # The two meet at both ends; their names stand where they are apart, beside the plot.
        gap = 17 / (HEIGHT - 86) * (high - low)
        for (text, _, _, colour), y in zip(ends, style.spread(places, gap, low, high), strict=True):
            px = 30 + (high - y) / (high - low) * (HEIGHT - 86)
            style.place(fig, WIDTH - RIGHT + 10, px, text, color=colour)
        ax.set_ylim(low, high)
        style.percent_axis(ax.xaxis)
        ax.set_xlabel("Share treated, most predicted benefit first")
        unit = f" ({scale.units})" if scale.units else ""
        style.place(fig, 4, 12, f"Gain over treating nobody{unit}", color=style.MUTED, size=11)
        svg = style.to_svg(fig, "fraction")
    rows, spoken = [], []
    for s in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        i = int(np.argmin(np.abs(x - s)))
        found = {k: _at(c, i) for k, c in (("value", value), ("lower", lower), ("upper", upper))}
        text = scale.interval(found)
        share = numbers.percent(float(x[i]), 0)
        rows.append(
            [num(share, float(x[i])), num(text, found["value"]), num(scale.interval({"value": _at(chance, i)}))]
        )
        spoken.append(f"{share} treated: {text}")
    return Figure(
        svg,
        effect_sentences.fractions(data),
        "Doubly robust gain on the test part over treating nobody, net of burden and cost, with its "
        f"{context.band} band; dashed: the same share treated at random.",
        f"Gain by share treated. {'; '.join(spoken)}.",
        Table(["Share treated", f"By predicted benefit ({context.band})", "At random"], rows, wide=False),
        WIDTH,
    )


def _at(curve: Any, i: int) -> float | None:
    return float(curve[i]) if i < curve.size and np.isfinite(curve[i]) else None
