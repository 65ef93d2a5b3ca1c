"""Kaplan-Meier curves by predicted risk, with bands, predicted curves and numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.figures import _survival
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, LEFT, RIGHT = 820, 360, 176, 164


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw event-free survival by group of predicted risk.

    Parameters
    ----------
    data : mapping
        ``times``, ``groups`` (label, n, events, survival, lower, upper, predicted event risk) and ``at_risk``.
    context : Context

    Returns
    -------
    Figure
    """
    times = style.floats(data["times"])
    groups = list(data["groups"])
    risk = data.get("at_risk") or {}
    counts = {str(k): v for k, v in (risk.get("counts") or {}).items()}
    end = float(times[-1])
    ticks = _survival.ticks_of(risk, end)
    picks = [0, 1, 2, 3] if len(groups) == 4 else [0, 2, 3] if len(groups) == 3 else [0, 3, 1, 2, 4, 5]
    colours = {str(g["label"]): style.GROUPS[picks[i % len(picks)]] for i, g in enumerate(groups)}
    height = PLOT + 58 + (_survival.ROW * (len(counts) + 1) if counts else 0)
    width = WIDTH - LEFT - RIGHT
    with style.drawing("survival-groups"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LEFT, 10, width, PLOT)
        ends = []
        for g in groups:
            colour = colours[str(g["label"])]
            s, low, high, predicted = (style.floats(g.get(k)) for k in ("survival", "lower", "upper", "predicted"))
            style.band(ax, times, low, high, colour, step=True, alpha=0.15)
            if predicted.size == times.size:
                ax.plot(times, _as_survival(predicted), color=colour, lw=1, ls=(0, (3, 3)))
            ax.step(times, s, where="post", color=colour, lw=2)
            known = s[np.isfinite(s)]
            ends.append(float(known[-1]) if known.size else 0.0)
        for g, y in zip(groups, style.spread(ends, 17 / PLOT * 1.02, 0.02, 1.0), strict=True):
            px = 10 + (1.02 - y) / 1.02 * PLOT
            style.place(fig, WIDTH - RIGHT + 8, px, style.clip_text(g["label"], 24), color=style.INK)
        # A short stroke in the line's colour ties each label to its curve.
        for g, y, raw in zip(groups, style.spread(ends, 17 / PLOT * 1.02, 0.02, 1.0), ends, strict=True):
            ax.plot(
                [1.0, 1.0 + 6 / width],
                [raw, y],
                color=colours[str(g["label"])],
                lw=2,
                clip_on=False,
                transform=ax.get_yaxis_transform(),
            )
        ax.set(ylim=(0, 1.02), ylabel="Free of the event")
        style.percent_axis(ax.yaxis)
        _survival.time_ticks(ax, ticks, end)
        ax.set_xlabel(f"Time ({context.unit}s)")
        if counts:
            _survival.at_risk(fig, ticks, counts, left=LEFT, width=width, top=PLOT + 64, end=end, colours={})
        svg = style.to_svg(fig, "survival-groups")
    rows = []
    for g in groups:
        s, low, high = (style.floats(g.get(k)) for k in ("survival", "lower", "upper"))
        for t in ticks:
            i = max(0, min(int(np.searchsorted(times, t, side="right")) - 1, times.size - 1))
            n = dict(zip(ticks, counts.get(str(g["label"]), []), strict=False)).get(t)
            rows.append(
                [
                    str(g["label"]),
                    num(_survival.tick(t, end), t),
                    num(numbers.count(n), n),
                    num(numbers.interval_at(i, s, low, high)),
                ]
            )
    said = "; ".join(
        f"{g['label']}: {numbers.count(g.get('n'))} patients, {numbers.count(g.get('events'))} "
        f"events, {numbers.percent(y, 0)} "
        "free of the event at the end"
        for g, y in zip(groups, ends, strict=True)
    )
    return Figure(
        svg,
        titles.survival_groups(groups, context.unit, end),
        f"Kaplan-Meier estimates on the test part by group of predicted risk, with {context.band} "
        "bands; dashed lines are the mean "
        "of what the model predicts. Drawn on a fixed grid of times.",
        f"Kaplan-Meier curves by predicted risk. {said}.",
        Table(["Group", f"Time ({context.unit}s)", "At risk", f"Free of the event ({context.band})"], rows),
        WIDTH,
    )


def _as_survival(predicted: Any) -> Any:
    # The schema does not say whether the mean prediction is a risk or a survival; only survival starts at one.
    return predicted if predicted.size and predicted[0] > 0.5 else 1 - predicted
