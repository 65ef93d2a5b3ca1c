"""What happens to the cohort over time where events compete: stacked incidences and those free of all events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aimed.report import numbers, style, titles
from aimed.report.figures import _survival
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, LEFT, RIGHT = 820, 320, 110, 216
HUES = (style.GROUPS[2], style.GROUPS[4], style.GROUPS[5], style.GROUPS[3], style.GROUPS[1])
"""For the other causes; the one of interest has the accent."""


Floats = NDArray[np.float64]


class _Cause(NamedTuple):
    label: str
    share: Floats
    lower: Floats
    upper: Floats


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the cumulative incidences on top of one another.

    Parameters
    ----------
    data : mapping
        ``times``, ``causes`` (label, incidence, lower, upper; the one of interest first), ``event_free``, ``at_risk``
        and ``horizons`` to mark.
    context : Context

    Returns
    -------
    Figure
    """
    times = style.floats(data["times"])
    every = [
        _Cause(
            str(c.get("label") or f"Cause {k + 1}"), *(style.floats(c.get(b)) for b in ("incidence", "lower", "upper"))
        )
        for k, c in enumerate(data["causes"])
    ]
    causes = [c for c in every if c.share.size == times.size]
    free = style.floats(data.get("event_free"))
    if free.size != times.size:
        free = 1.0 - np.sum([c.share for c in causes], axis=0)
    risk = data.get("at_risk") or {}
    counts = risk.get("counts")
    at_risk = {"all": counts} if isinstance(counts, list) else {str(k): v for k, v in (counts or {}).items()}
    end = float(times[-1])
    ticks = _survival.ticks_of(risk, end)
    width = WIDTH - LEFT - RIGHT
    height = PLOT + 58 + (_survival.ROW * (len(at_risk) + 1) if at_risk else 0)
    hues = [style.ACCENT, *(HUES[k % len(HUES)] for k in range(len(causes) - 1))]
    last = [_last(c.share) for c in causes]
    with style.drawing("incidence-stack"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LEFT, 10, width, PLOT)
        floor = np.zeros(times.size)
        middles, labels = [], []
        for (label, share, low, high), hue, i in zip(causes, hues, last, strict=True):
            ax.fill_between(times, floor, floor + share, step="post", color=hue, alpha=0.55, linewidth=0)
            ax.step(times, floor + share, where="post", color=hue, lw=1.6)
            middles.append(float(floor[i] + share[i] / 2))
            labels.append((label, _estimate(i, share, low, high), hue))
            floor = floor + share
        if causes:
            # The lowest edge alone is an incidence of its own, so it alone can carry its interval.
            for bound in (causes[0].lower, causes[0].upper):
                if bound.size == times.size:
                    ax.step(times, bound, where="post", color=style.INK, lw=0.9, ls=(0, (2, 2)))
        ax.fill_between(times, floor, np.ones(times.size), step="post", color=style.LINE, alpha=0.3, linewidth=0)
        i = _last(free)
        middles.append(float(1.0 - free[i] / 2))
        labels.append(("Free of all events", numbers.percent(float(free[i]), 0), style.FAINT))
        for h in data.get("horizons") or []:
            if numbers.is_number(h) and h <= end:
                ax.axvline(h, color=style.INK, lw=0.9, ls=(0, (1, 2)))
                ax.text(h + 0.01 * end, 0.97, numbers.horizon(h, context.unit), va="top", color=style.MUTED, size=11)
        for y, raw, (label, text, hue) in zip(
            style.spread(middles, 40 / PLOT, 0.04, 0.96), middles, labels, strict=True
        ):
            ax.plot(
                [1.0, 1.0 + 10 / width], [raw, y], color=hue, lw=2.4, clip_on=False, transform=ax.get_yaxis_transform()
            )
            px = 10 + (1.0 - y) * PLOT
            style.place(fig, WIDTH - RIGHT + 14, px - 8, style.clip_text(label, 30), weight="bold", size=11)
            style.place(fig, WIDTH - RIGHT + 14, px + 8, text, color=style.MUTED, size=11)
        ax.set(ylim=(0, 1), ylabel="Share of patients")
        style.percent_axis(ax.yaxis)
        _survival.time_ticks(ax, ticks, end)
        ax.set_xlabel(f"Time ({context.unit}s)")
        if at_risk:
            _survival.at_risk(fig, ticks, at_risk, left=LEFT, width=width, top=PLOT + 64, end=end, colours={})
        svg = style.to_svg(fig, "incidence-stack")
    rows, said = [], []
    first: list[Any] = next(iter(at_risk.values()), [])
    for k, t in enumerate(ticks):
        i = _survival.place(times, t)
        n = first[k] if k < len(first) else None
        shares = [numbers.interval_at(i, c.share, c.lower, c.upper) for c in causes]
        rows.append(
            [num(_survival.tick(t, end), t), num(numbers.count(n), n), *(num(s) for s in shares),
             num(numbers.fixed(float(free[i])))]
        )  # fmt: skip
        parts = "; ".join(f"{c.label} {s}" for c, s in zip(causes, shares, strict=True))
        said.append(f"by {_survival.tick(t, end)} {context.unit}s: {parts}; none {numbers.fixed(float(free[i]))}")
    return Figure(
        svg,
        titles.incidence_stack(data, context.unit),
        "Aalen-Johansen cumulative incidences of the whole cohort, stacked: at each time the heights are the shares of "
        "patients whose first event was of that kind. Dashed thin lines are the pointwise "
        f"{context.band} of the lowest area; the labels give shares and intervals at the end; dotted lines are the "
        "horizons of the study.",
        f"Stacked cumulative incidences. {'. '.join(s[:1].upper() + s[1:] for s in said)}.",
        Table(
            [
                f"Time ({context.unit}s)",
                "At risk",
                *(f"{c.label} ({context.band})" for c in causes),
                "Free of all events",
            ],
            rows,
        ),
        WIDTH,
    )


def _last(values: Floats) -> int:
    known = np.flatnonzero(np.isfinite(values))
    return int(known[-1]) if known.size else 0


def _estimate(i: int, share: Floats, low: Floats, high: Floats) -> str:
    text = numbers.percent(float(share[i]), 0)
    if i < low.size and i < high.size and np.isfinite(low[i]) and np.isfinite(high[i]):
        text += f" ({numbers.percent(float(low[i]), 0)} to {numbers.percent(float(high[i]), 0)})"
    return text
