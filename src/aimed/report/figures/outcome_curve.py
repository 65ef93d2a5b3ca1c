"""The Kaplan-Meier curve of the whole cohort, with numbers at risk and the horizons of the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import numbers, style, titles
from aimed.report.figures import _survival
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, LEFT = 640, 280, 110


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw event-free survival of the cohort.

    Parameters
    ----------
    data : mapping
        ``times``, ``survival``, ``lower``, ``upper``, ``at_risk``, ``censored`` (each, times) where known, and
        ``horizons`` to mark.
    context : Context

    Returns
    -------
    Figure
    """
    times, s, low, high = (style.floats(data.get(k)) for k in ("times", "survival", "lower", "upper"))
    risk = data.get("at_risk") or {}
    counts = risk.get("counts")
    rows_at_risk = {"all": counts} if isinstance(counts, list) else {str(k): v for k, v in (counts or {}).items()}
    end = float(times[-1])
    ticks = _survival.ticks_of(risk, end)
    height = PLOT + 58 + (_survival.ROW * (len(rows_at_risk) + 1) if rows_at_risk else 0)
    width = WIDTH - LEFT - 24
    with style.drawing("outcome-curve"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LEFT, 10, width, PLOT)
        for h in data.get("horizons") or []:
            if numbers.is_number(h) and h <= end:
                ax.axvline(h, color=style.FAINT, lw=0.9, ls=(0, (1, 2)))
                ax.text(h + 0.01 * end, 0.03, numbers.horizon(h, context.unit), color=style.MUTED, size=11)
        style.band(ax, times, low, high, style.ACCENT, step=True)
        ax.step(times, s, where="post", color=style.ACCENT)
        each = _survival.censor_ticks(ax, times, s, data.get("censored"), style.ACCENT)
        ax.set(ylim=(0, 1.02), ylabel="Free of the event")
        style.percent_axis(ax.yaxis)
        _survival.time_ticks(ax, ticks, end)
        ax.set_xlabel(f"Time ({context.unit}s)")
        if rows_at_risk:
            _survival.at_risk(fig, ticks, rows_at_risk, left=LEFT, width=width, top=PLOT + 64, end=end, colours={})
        svg = style.to_svg(fig, "outcome-curve")
    rows, spoken = [], []
    first: list[Any] = next(iter(rows_at_risk.values()), [])
    for k, t in enumerate(ticks):
        i = _survival.place(times, t)
        n = first[k] if k < len(first) else None
        estimate = numbers.interval_at(i, s, low, high)
        rows.append([num(_survival.tick(t, end), t), num(numbers.count(n), n), num(estimate)])
        spoken.append(f"{_survival.tick(t, end)} {context.unit}s: {estimate}")
    return Figure(
        svg,
        titles.outcome_curve(data, context.unit),
        f"Kaplan-Meier estimate of the whole cohort with its {context.band} band; dotted lines are "
        f"the horizons of the study.{_survival.said_of_ticks(each)}",
        f"Kaplan-Meier curve of the cohort. Free of the event at {'; '.join(spoken)}.",
        Table([f"Time ({context.unit}s)", "At risk", f"Free of the event ({context.band})"], rows),
        WIDTH,
    )
