"""Risk over follow-up by arm, with bands and numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import effect_sentences, numbers, style
from aimed.report.contrast import Question
from aimed.report.figures import _survival
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, LEFT, RIGHT = 820, 320, 168, 172


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the cumulative risk of each arm.

    Parameters
    ----------
    data : mapping
        The ``curves`` block: times, unit, arms (key, label, risk, lower, upper), at_risk (times, counts by key);
        ``question``: a `Question`; ``horizon`` to mark.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    times, arms = style.floats(data["times"]), list(data.get("arms") or [])
    unit = str(data.get("unit") or context.unit).removesuffix("s")
    end = float(times[-1])
    risk = data.get("at_risk") or {}
    labels = {str(a.get("key")): style.clip_text(a.get("label") or a.get("key"), 25) for a in arms}
    counts = {labels.get(str(k), str(k)): v for k, v in (risk.get("counts") or {}).items() if v}
    ticks = _survival.ticks_of(risk, end)
    colours = {label: style.ACCENT if key == "active" else style.BASE for key, label in labels.items()}
    top = _top(arms)
    width = WIDTH - LEFT - RIGHT
    height = PLOT + 58 + (_survival.ROW * (len(counts) + 1) if counts else 0)
    with style.drawing("arm-curves"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LEFT, 10, width, PLOT)
        if question.horizon is not None and 0 < question.horizon <= end:
            ax.axvline(question.horizon, color=style.FAINT, lw=0.9, ls=(0, (1, 2)))
        ends = []
        for arm in arms:
            colour = style.ACCENT if arm.get("key") == "active" else style.BASE
            r, low, high = (style.floats(arm.get(k)) for k in ("risk", "lower", "upper"))
            style.band(ax, times, low, high, colour, step=True, alpha=0.16)
            if r.size == times.size:
                ax.step(times, r, where="post", color=colour)
            known = r[np.isfinite(r)]
            ends.append(float(known[-1]) if known.size else 0.0)
        spread = style.spread(ends, 17 / PLOT * top, 0.02 * top, top)
        for arm, y, raw in zip(arms, spread, ends, strict=True):
            colour = style.ACCENT if arm.get("key") == "active" else style.BASE
            text = labels[str(arm.get("key"))]
            style.place(fig, WIDTH - RIGHT + 10, 10 + (top - y) / top * PLOT, text)
            ax.plot([1, 1 + 7 / width], [raw, y], color=colour, clip_on=False, transform=ax.get_yaxis_transform())
        ax.set(ylim=(0, top), ylabel="Risk of the outcome")
        style.percent_axis(ax.yaxis)
        _survival.time_ticks(ax, ticks, end)
        ax.set_xlabel(f"Time since assignment ({unit}s)" if question.randomised else f"Time ({unit}s)")
        if counts:
            _survival.at_risk(fig, ticks, counts, left=LEFT, width=width, top=PLOT + 64, end=end, colours=colours)
        svg = style.to_svg(fig, "arm-curves")
    rows, spoken = [], []
    for arm in arms:
        label = labels[str(arm.get("key"))]
        r, low, high = (style.floats(arm.get(k)) for k in ("risk", "lower", "upper"))
        for k, t in enumerate(ticks):
            i = _survival.place(times, t)
            n = counts[label][k] if k < len(counts.get(label) or []) else None
            text = _risk(i, r, low, high)
            rows.append([label, num(_survival.tick(t, end), t), num(numbers.count(n), n), num(text)])
            if k in (len(ticks) // 2, len(ticks) - 1):
                spoken.append(f"{label}, {_survival.tick(t, end)} {unit}s: {text}")
    return Figure(
        svg,
        effect_sentences.curves({**data, "times": times.tolist()}, question),
        f"Risk of {question.outcome} over follow-up, as observed in each arm and allowing for censoring, with "
        f"{context.band} bands." + (" Dotted: the horizon." if question.horizon is not None else ""),
        f"Curves of risk by arm. {'; '.join(spoken)}.",
        Table(["Arm", f"Time ({unit}s)", "At risk", f"Risk ({context.band})"], rows),
        WIDTH,
    )


def _risk(i: int, *curves: Any) -> str:
    value, low, high = (float(c[i]) if i < c.size else None for c in curves)
    text = numbers.percent(value)
    both = numbers.is_number(low) and numbers.is_number(high)
    return f"{text} ({numbers.percent(low)} to {numbers.percent(high)})" if both else text


def _top(arms: list[Any]) -> float:
    known = np.concatenate([np.zeros(1), *(style.floats(a.get(k)) for a in arms for k in ("risk", "upper"))])
    return 1.02 * style.nice_limit(float(known[np.isfinite(known)].max()))
