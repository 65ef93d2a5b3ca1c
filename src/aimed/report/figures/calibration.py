"""The calibration figure: observed against predicted risk, decile points, histogram by outcome, three numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, MAIN, STRIP = 500, 400, 132


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the smooth curve with its band, the tenths with n, and the histogram of events and non-events.

    Parameters
    ----------
    data : mapping
        ``curve``: predicted, observed, lower, upper, bins, histogram.
    context : Context
        With ``calibration_slope``, ``calibration_intercept`` and ``oe`` among its measures.

    Returns
    -------
    Figure
    """
    curve = data["curve"]
    x, y, lower, upper = (style.floats(curve.get(k)) for k in ("predicted", "observed", "lower", "upper"))
    bins = [
        b
        for b in curve.get("bins") or []
        if numbers.is_number(b.get("predicted")) and numbers.is_number(b.get("observed"))
    ]
    slope, intercept, oe = (context.measure(k) for k in ("calibration_slope", "calibration_intercept", "oe"))
    salt = f"{context.salt}calibration" + (f"-{context.horizon}".replace(".", "-") if context.horizon else "")
    limit = _limit(curve, x, y, bins)
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, MAIN + STRIP)
        ax = add(64, 10, WIDTH - 90, MAIN - 24)
        ax.plot([0, limit], [0, limit], ls=(0, (4, 4)), lw=1, color=style.FAINT)
        style.band(ax, x, lower, upper, style.ACCENT)
        ax.plot(x, y, color=style.ACCENT)
        for b in bins:
            if numbers.is_number(b.get("lower")) and numbers.is_number(b.get("upper")):
                ax.plot([b["predicted"]] * 2, [b["lower"], b["upper"]], color=style.INK, lw=1)
            ax.plot(b["predicted"], b["observed"], "o", ms=5.5, mfc=style.PAPER, mec=style.INK, mew=1.2)
        _label_n(ax, bins, limit)
        lines = [("Slope", slope), ("Intercept", intercept), ("O/E", oe)]
        left, top = (0.52, 0.165) if _crowded(x, upper, bins, limit) else (0.025, 0.985)
        for i, (name, m) in enumerate([(k, v) for k, v in lines if v]):
            ax.text(left, top - 0.056 * i, name, transform=ax.transAxes, va="top", color=style.MUTED)
            ax.text(left + 0.165, top - 0.056 * i, numbers.measure(m, 2), transform=ax.transAxes, va="top")
        ax.set(xlim=(0, limit), ylim=(0, limit), ylabel=f"Observed risk{context.when}")
        style.percent_axis(ax.yaxis)
        ax.tick_params(labelbottom=False)
        _histogram(add(64, MAIN - 8, WIDTH - 90, STRIP - 46, sharex=ax), curve.get("histogram") or {}, context)
        svg = style.to_svg(fig, salt)
    rows = [
        [
            str(i),
            num(numbers.count(b.get("n")), b.get("n")),
            num(numbers.percent(b["predicted"]), b["predicted"]),
            num(_percents(b), b["observed"]),
        ]
        for i, b in enumerate(bins, 1)
    ]
    said = "; ".join(
        f"predicted {numbers.percent(b['predicted'])}, observed {numbers.percent(b['observed'])}" for b in bins
    )
    numbers_said = ", ".join(f"{name} {numbers.measure(m, 2)}" for name, m in lines if m)
    return Figure(
        svg,
        titles.calibration(slope, oe, bins, context.when),
        f"Curve: smoothed observed risk; the band shows {context.bands}. Dashed: ideal. Points: groups of rising "
        f"predicted risk with their n and {context.band}. Below: number of patients by predicted risk, with the "
        "outcome upwards and without it downwards.",
        f"Calibration plot{context.when}. {numbers_said}. By group: {said}.",
        Table(["Group", "n", "Predicted", f"Observed ({context.band})"], rows),
        WIDTH,
    )


def _crowded(x: Any, upper: Any, bins: list[Any], limit: float) -> bool:
    # The numbers stand top left unless the curve or a whisker would run through them.
    reach = [float(u) for a, u in zip(x, upper, strict=False) if a < 0.58 * limit and np.isfinite(u)]
    reach += [float(b.get("upper") or b["observed"]) for b in bins if b["predicted"] < 0.58 * limit]
    return max(reach, default=0.0) > 0.8 * limit


def _percents(b: Mapping[str, Any]) -> str:
    text = numbers.percent(b["observed"])
    if numbers.is_number(b.get("lower")) and numbers.is_number(b.get("upper")):
        text += f" ({numbers.percent(b['lower'])} to {numbers.percent(b['upper'])})"
    return text


def _limit(curve: Mapping[str, Any], x: Any, y: Any, bins: list[Any]) -> float:
    found = [float(np.nanmax(v)) for v in (x, y) if v.size and np.isfinite(v).any()]
    found += [float(b["observed"]) for b in bins] + [float(b["predicted"]) for b in bins]
    found += [float(b["upper"]) for b in bins if numbers.is_number(b.get("upper"))][-1:]
    h = curve.get("histogram") or {}
    used = [
        e
        for e, a, b in zip((h.get("edges") or [0])[1:], h.get("events") or [], h.get("nonevents") or [], strict=False)
        if a or b
    ]
    return style.nice_limit(max([*found, *(float(e) for e in used[-1:]), 0.0]))


def _label_n(ax: Any, bins: list[Any], limit: float) -> None:
    # Tenths crowd at low risk: an n is written only where it keeps clear of the one before.
    last = -np.inf
    for b in bins:
        if b["predicted"] - last >= 0.075 * limit:
            low = b["lower"] if numbers.is_number(b.get("lower")) else b["observed"]
            below = low > 0.06 * limit
            y = low - 0.012 * limit if below else (b.get("upper") or b["observed"]) + 0.012 * limit
            ax.text(
                b["predicted"],
                y,
                f"{int(b['n'])}",
                size=10,
                color=style.MUTED,
                ha="center",
                va="top" if below else "bottom",
            )
            last = b["predicted"]


def _histogram(ax: Any, histogram: Mapping[str, Any], context: Context) -> None:
    edges = style.floats(histogram.get("edges"))
    events, none = style.floats(histogram.get("events")), style.floats(histogram.get("nonevents"))
    if edges.size > 1 and events.size == none.size == edges.size - 1:
        width = np.diff(edges)
        ax.bar(edges[:-1], events, width * 0.85, align="edge", color=style.WARN, alpha=0.8)
        ax.bar(edges[:-1], -none, width * 0.85, align="edge", color=style.BASE, alpha=0.6)
        most = max(float(events.max()), float(none.max()), 1.0)
        ax.set_ylim(-most * 1.05, most * 1.05)
    ax.axhline(0, color=style.FAINT, lw=0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.text(-0.015, 0.75, "events", transform=ax.transAxes, ha="right", va="center", size=10, color=style.MUTED)
    ax.text(-0.015, 0.25, "no event", transform=ax.transAxes, ha="right", va="center", size=10, color=style.MUTED)
    ax.set_xlabel(f"Predicted risk{context.when}")
    style.percent_axis(ax.xaxis)
