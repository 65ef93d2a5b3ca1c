"""How the hazard ratio of a term moves over follow-up, as small panels of smooth curves with their bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, PLOT, TOP, LEFT, GAP, MOST = 900, 190, 56, 50, 62, 3


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the smooth of the scaled Schoenfeld residuals of the terms that look least proportional.

    Parameters
    ----------
    data : mapping
        The block of the test: ``terms`` and ``curves`` (term, scale, constant, times, value, lower, upper, per).
    context : Context

    Returns
    -------
    Figure
    """
    curves = list(data["curves"])[:MOST]
    tests = {str(t.get("term")): t for t in data.get("terms") or []}
    width = (WIDTH - LEFT - GAP * (MOST - 1) - 10) / MOST
    whole = LEFT + len(curves) * (width + GAP) - GAP + 10
    with style.drawing("ratios-over-time"):
        fig, add = style.canvas(whole, TOP + PLOT + 46)
        for k, curve in enumerate(curves):
            x = LEFT + k * (width + GAP)
            p = (tests.get(str(curve["term"])) or {}).get("p_holm")
            style.place(fig, x - 36, 14, style.clip_text(curve["term"], 38), weight="bold", size=11.5)
            style.place(
                fig,
                x - 36,
                34,
                style.clip_text(f"{_axis(curve)}; adjusted p {numbers.p_value(p)}", 48),
                color=style.MUTED,
                size=11,
            )
            _panel(add(x, TOP, width, PLOT), curve, context)
        svg = style.to_svg(fig, "ratios-over-time")
    rows, said = [], []
    for curve in curves:
        t, *values = (style.floats(curve.get(k)) for k in ("times", "value", "lower", "upper"))
        spelt = numbers.ratio_interval if _ratio(curve) else numbers.interval
        spoken: list[str] = []
        places = sorted({round(i * (t.size - 1) / 4) for i in range(5)}) if t.size else []
        for i in places:
            text = spelt(*(float(v[i]) if i < v.size else None for v in values))
            when = numbers.number(float(t[i]))
            rows.append([str(curve["term"]), _axis(curve), num(when, t[i]), num(text)])
            spoken.append(f"{text} at {when}")
        said.append(
            f"{curve['term']}: {', '.join(spoken[::4])} "
            f"{context.unit}s, {numbers.ratio(curve.get('constant'))} if constant"
        )
    shares = any(not _ratio(c) for c in curves)
    share = (
        " The effect of a term with several columns is shown as a share of its constant effect: 1 fits, 0 is none."
        if shares
        else ""
    )
    refitted = " The terms were fitted without the penalty or the shape of the model." if data.get("refitted") else ""
    return Figure(
        svg,
        titles.ratios_over_time(data),
        f"Smooth through the scaled Schoenfeld residuals of {numbers.count(data.get('events'))} events in the training "
        f"part with its pointwise {context.band}, for the terms with the smallest p; dashed, the constant ratio. The "
        f"ends leave out the first and last events; no residual of a patient is drawn.{share}{refitted}",
        f"Small panels of hazard ratios against time. {'; '.join(said)}.",
        Table(["Term", "Scale", f"Time ({context.unit}s)", f"Value ({context.band})"], rows),
        round(whole),
    )


def _ratio(curve: Mapping[str, Any]) -> bool:
    return curve.get("scale") == "ratio"


def _axis(curve: Mapping[str, Any]) -> str:
    if not _ratio(curve):
        return "share of the constant effect"
    per = numbers.step(curve.get("per"))
    if per in (numbers.ABSENT, "1 unit") or "against" in per:
        return "hazard ratio"
    return f"hazard ratio, per {per.removeprefix('1 ').replace('standard deviation', 'SD')}"


def _panel(ax: Any, curve: Mapping[str, Any], context: Context) -> None:
    t, value, low, high = (style.floats(curve.get(k)) for k in ("times", "value", "lower", "upper"))
    constant = curve.get("constant")
    flat = 1.0 if _ratio(curve) else 0.0
    if _ratio(curve):
        ax.set_yscale("log")
    ax.axhline(flat, color=style.LINE, lw=1)
    if numbers.is_number(constant):
        ax.axhline(constant, color=style.BASE, lw=1.3, ls=(0, (4, 3)))
    style.band(ax, t, low, high, style.ACCENT)
    if value.size == t.size:
        ax.plot(t, value, color=style.ACCENT)
    known = np.concatenate([value, [flat, float(constant) if numbers.is_number(constant) else flat]])
    known = known[np.isfinite(known)]
    ends = [v[np.isfinite(v)] for v in (low, high)]
    if _ratio(curve):
        # A band may be as wide as it likes, but not so wide that the curve is lost.
        room = max(known.max() / known.min(), 1.05) ** 1.5
        bottom = max(min([*known, *ends[0]]), known.min() / room)
        top = min(max([*known, *ends[1]]), known.max() * room)
        pad = max((top / bottom) ** 0.04, 1.005)
        ax.set_ylim(bottom / pad, top * pad)
        ticks = _ticks(bottom, top)
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.set_yticks([], minor=True)
    else:
        room = 1.5 * max(float(np.ptp(known)), 0.1)
        bottom, top = max(min([*known, *ends[0]]), known.min() - room), min(max([*known, *ends[1]]), known.max() + room)
        ax.set_ylim(bottom - 0.04 * (top - bottom), top + 0.04 * (top - bottom))
        ax.yaxis.get_major_locator().set_params(nbins=5)
    ax.set_xlim(float(t[0]), float(t[-1]))
    ax.xaxis.get_major_locator().set_params(nbins=4)
    ax.set_xlabel(f"Time ({context.unit}s)")


def _ticks(low: float, high: float) -> list[float]:
    if high / low >= 2.2:
        return style.ratio_ticks(low, high)
    span = high - low
    step = 10.0 ** np.floor(np.log10(span / 3))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= 5), 10)
    first = np.ceil(low / step - 1e-9)
    return [float(f"{v:.6g}") for v in np.arange(first, np.floor(high / step + 1e-9) + 0.5) * step]
