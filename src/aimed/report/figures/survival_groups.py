"""Curves by predicted risk, of survival or of incidence where events compete: bands, predictions, numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.figures import _survival
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, LEFT, RIGHT = 820, 360, 176, 164


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw event-free survival by group of predicted risk, or the incidence of the outcome where events compete.

    Parameters
    ----------
    data : mapping
        ``times``, ``groups`` (label, n, events, survival or incidence, lower, upper, predicted, and where known
        ``censored``: each, times) and ``at_risk``.
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
    rising = any(g.get("incidence") for g in groups)
    curve = "incidence" if rising else "survival"
    top = _top(groups) if rising else 1.02
    ticks = _survival.ticks_of(risk, end)
    picks = [0, 1, 2, 3] if len(groups) == 4 else [0, 2, 3] if len(groups) == 3 else [0, 3, 1, 2, 4, 5]
    colours = {str(g["label"]): style.GROUPS[picks[i % len(picks)]] for i, g in enumerate(groups)}
    height = PLOT + 58 + (_survival.ROW * (len(counts) + 1) if counts else 0)
    width = WIDTH - LEFT - RIGHT
    with style.drawing("survival-groups"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LEFT, 10, width, PLOT)
        ends, each = [], None
        for g in groups:
            colour = colours[str(g["label"])]
            s, low, high, predicted = (style.floats(g.get(k)) for k in (curve, "lower", "upper", "predicted"))
            style.band(ax, times, low, high, colour, step=True, alpha=0.15)
            if predicted.size == times.size:
                ax.plot(times, _turned(predicted, rising), color=colour, lw=1, ls=(0, (3, 3)))
            ax.step(times, s, where="post", color=colour, lw=2)
            each = _survival.censor_ticks(ax, times, s, g.get("censored"), colour) or each
            known = s[np.isfinite(s)]
            ends.append(float(known[-1]) if known.size else 0.0)
        spread = style.spread(ends, 17 / PLOT * top, 0.02 * top, top / 1.02)
        for g, y in zip(groups, spread, strict=True):
            px = 10 + (top - y) / top * PLOT
            style.place(fig, WIDTH - RIGHT + 8, px, style.clip_text(g["label"], 24), color=style.INK)
        # A short stroke in the line's colour ties each label to its curve.
        for g, y, raw in zip(groups, spread, ends, strict=True):
            ax.plot(
                [1.0, 1.0 + 6 / width],
                [raw, y],
                color=colours[str(g["label"])],
                lw=2,
                clip_on=False,
                transform=ax.get_yaxis_transform(),
            )
        ax.set(ylim=(0, top), ylabel="Cumulative incidence" if rising else "Free of the event")
        style.percent_axis(ax.yaxis)
        _survival.time_ticks(ax, ticks, end)
        ax.set_xlabel(f"Time ({context.unit}s)")
        if counts:
            _survival.at_risk(fig, ticks, counts, left=LEFT, width=width, top=PLOT + 64, end=end, colours={})
        svg = style.to_svg(fig, "survival-groups")
    rows = []
    for g in groups:
        s, low, high = (style.floats(g.get(k)) for k in (curve, "lower", "upper"))
        for t in ticks:
            i = _survival.place(times, t)
            n = dict(zip(ticks, counts.get(str(g["label"]), []), strict=False)).get(t)
            rows.append(
                [
                    str(g["label"]),
                    num(_survival.tick(t, end), t),
                    num(numbers.count(n), n),
                    num(numbers.interval_at(i, s, low, high)),
                ]
            )
    outcome = titles.inside(context.outcome)
    reached = f"with {outcome} by the end" if rising else "free of the event at the end"
    said = "; ".join(
        f"{g['label']}: {numbers.count(g.get('n'))} patients, {numbers.count(g.get('events'))} events, "
        f"{numbers.percent(y, 0)} {reached}"
        for g, y in zip(groups, ends, strict=True)
    )
    kind = "Aalen-Johansen" if rising else "Kaplan-Meier"
    other = f" of {outcome}; whoever has another event first stays free of it" if rising else ""
    return Figure(
        svg,
        titles.survival_groups(groups, context.unit, end, outcome),
        f"{kind} estimates{other}, on the test part by group of predicted risk, with {context.band} bands; dashed "
        f"lines are the mean of what the model predicts.{_survival.said_of_ticks(each)} Drawn on a fixed grid of "
        "times.",
        f"{kind} curves by predicted risk. {said}.",
        Table(
            [
                "Group",
                f"Time ({context.unit}s)",
                "At risk",
                f"{'Cumulative incidence' if rising else 'Free of the event'} ({context.band})",
            ],
            rows,
        ),
        WIDTH,
    )


def _top(groups: list[Any]) -> float:
    """Return where the axis of incidence ends: low incidences are not pressed to the floor of a full one."""
    known = np.concatenate([style.floats(g.get(k)) for g in groups for k in ("incidence", "upper")])
    known = known[np.isfinite(known)]
    return 1.02 * style.nice_limit(float(known.max())) if known.size else 1.02


def _turned(predicted: Any, rising: bool) -> Any:
    # A mean prediction starts at one as survival and at zero as incidence; it is drawn the way of its curve.
    starts_high = bool(predicted.size and predicted[0] > 0.5)
    return predicted if starts_high != rising else 1 - predicted
