"""The decision curve: net benefit of the model against treating all, treating none and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, RIGHT = 640, 400, 150


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw net benefit across risk thresholds.

    Parameters
    ----------
    data : mapping
        ``curve``: threshold, model, lower, upper, all, none, baselines; ``chosen``: the chosen threshold, if any;
        ``titles``: baseline name → title.
    context : Context

    Returns
    -------
    Figure
    """
    curve = data["curve"]
    t, model, lower, upper, treat_all = (
        style.floats(curve.get(k)) for k in ("threshold", "model", "lower", "upper", "all")
    )
    baselines = {str(k): style.floats(v) for k, v in (curve.get("baselines") or {}).items()}
    called = data.get("titles") or {}
    chosen = data.get("chosen")
    salt = f"{context.salt}decision" + (f"-{context.horizon}".replace(".", "-") if context.horizon else "")
    top = float(np.nanmax(np.r_[model, treat_all[:1], 0.0])) * 1.12 or 0.1
    bottom = -0.22 * top
    # SVG drops a leading blank, so a label beside a line is moved instead.
    step = 0.015 * float(t[-1] - t[0])
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(66, 10, WIDTH - 66 - RIGHT, HEIGHT - 64)
        ax.axhline(0, color=style.FAINT, lw=1)
        style.band(ax, t, lower, upper, style.ACCENT)
        ends = [("treat none", 0.0, style.MUTED)]
        for (name, values), dash in zip(baselines.items(), ((5, 2), (2, 2), (6, 2, 1, 2)) * 4, strict=False):
            ax.plot(t, values, color=style.BASE, lw=1.5, ls=(0, dash))
            ends.append((style.clip_text(called.get(name, name), 18), _last(values), style.MUTED))
        ax.plot(t, treat_all, color=style.FAINT, lw=1.5)
        ax.plot(t, model, color=style.ACCENT, lw=2.2)
        ends.append(("model", _last(model), style.ACCENT))
        if treat_all.size:
            inside = treat_all >= bottom
            k = int(np.flatnonzero(inside)[-1]) if inside.any() else 0
            ends.append(("treat all", max(float(treat_all[k]), bottom), style.MUTED)) if k == t.size - 1 else ax.text(
                t[k] + step, bottom, "treat all", color=style.MUTED, va="bottom", size=11
            )
        if numbers.is_number(chosen):
            ax.axvline(chosen, color=style.INK, lw=0.9, ls=(0, (1, 2)))
            ax.text(chosen + step, top, f"chosen {numbers.percent(chosen, 0)}", va="top", size=11, color=style.MUTED)
        # 16 px between labels, whatever the scale of the axis.
        gap = 16 / (HEIGHT - 64) * (top - bottom)
        x = WIDTH - RIGHT + 8
        for (text, _, colour), y in zip(ends, style.spread([e[1] for e in ends], gap, bottom, top), strict=True):
            px = 10 + (top - y) / (top - bottom) * (HEIGHT - 64)
            style.place(fig, x, px, text, color=colour, weight="bold" if text == "model" else "normal")
        ax.set(
            xlim=(float(t[0]), float(t[-1])),
            ylim=(bottom, top),
            xlabel=f"Risk threshold{context.when}",
            ylabel="Net benefit",
        )
        style.percent_axis(ax.xaxis)
        svg = style.to_svg(fig, salt)
    picks = list(range(0, t.size, max(1, t.size // 15)))
    head = ["Threshold", f"Model ({context.band})", "Treat all", *(str(called.get(b, b)) for b in baselines)]
    rows = [
        [
            num(numbers.percent(t[i], 0), t[i]),
            num(numbers.interval_at(i, model, lower, upper)),
            num(numbers.fixed(treat_all[i] if i < treat_all.size else None)),
            *(num(numbers.fixed(b[i] if i < b.size else None)) for b in baselines.values()),
        ]
        for i in picks
    ]
    ends_said = f"Net benefit of the model runs from {numbers.fixed(model[0])} at {numbers.percent(t[0], 0)} "
    return Figure(
        svg,
        titles.decision_curve(curve),
        f"Net benefit a patient on the test part; the band shows {context.bands}. Treating none has 0. A patient is "
        "treated when the risk reaches the threshold.",
        f"Decision curve{context.when}. {ends_said}to {numbers.fixed(model[-1])} at {numbers.percent(t[-1], 0)}.",
        Table(head, rows),
        WIDTH,
    )


def _last(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else 0.0
