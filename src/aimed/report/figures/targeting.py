"""What ranking patients by predicted benefit gains: the targeting operator characteristic and the Qini curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import effect_sentences, names, numbers, style
from aimed.report.contrast import Question
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, LEFT, GAP = 880, 340, 62, 92
_AXES = {
    "toc": "Effect among the treated, beyond the average",
    "qini": "Gain over treating nobody",
}
_MEANING = {
    "toc": " Targeting curve, doubly robust: effect among the share with the highest predicted benefit, less the "
    "average effect.",
    "qini": " Qini curve, weighted by the chance of treatment and not adjusted for covariates: gain when that share is "
    "treated; the Qini coefficient itself is doubly robust.",
}


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw one panel a curve, the benefit upwards.

    Parameters
    ----------
    data : mapping
        ``toc`` and ``qini``: share, value, lower, upper (and ``random`` of the Qini curve), either may be absent;
        ``measures``: autoc and qini; ``question``: a `Question`.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    factor = question.additive.factor()
    shown = {k: data[k] for k in ("toc", "qini") if (data.get(k) or {}).get("share")}
    width = (WIDTH - LEFT - GAP - 28) / 2
    measured = {"points": "percentage points", "time": f"{question.unit}s"}.get(question.additive.kind, "")
    with style.drawing("targeting"):
        fig, add = style.canvas(WIDTH if len(shown) > 1 else width + LEFT + 28, HEIGHT)
        for k, (name, curve) in enumerate(shown.items()):
            left = LEFT + k * (width + GAP)
            ax = add(left, 46, width, HEIGHT - 100)
            x, value, lower, upper, chance = (
                style.floats(curve.get(c)) for c in ("share", "value", "lower", "upper", "random")
            )
            ax.axhline(0, color=style.FAINT, lw=1)
            if chance.size == x.size:
                ax.plot(x, factor * chance, color=style.BASE, lw=1.4, ls=(0, (4, 3)))
            style.band(ax, x, factor * lower, factor * upper, style.ACCENT)
            if value.size == x.size:
                ax.plot(x, factor * value, color=style.ACCENT)
            ax.set_xlim(0, 1)
            style.percent_axis(ax.xaxis)
            ax.set_xlabel("Share treated, most predicted benefit first")
            style.place(fig, left - 58, 12, "Targeting curve" if name == "toc" else "Qini curve", weight="bold")
            unit = f" ({measured})" if measured else ""
            style.place(fig, left - 58, 30, f"{_AXES[name]}{unit}", color=style.MUTED, size=11)
        svg = style.to_svg(fig, "targeting")
    rows, spoken = [], []
    for name, curve in shown.items():
        x = style.floats(curve["share"])
        for s in (0.1, 0.2, 0.3, 0.5, 0.75, 1.0):
            i = int(np.argmin(np.abs(x - s)))
            found = {k: _at(curve, k, i) for k in ("value", "lower", "upper")}
            text = question.additive.interval(found)
            title = "Targeting curve" if name == "toc" else "Qini curve"
            rows.append([title, num(numbers.percent(float(x[i]), 0), float(x[i])), num(text, found["value"])])
            if s in (0.2, 0.5):
                spoken.append(f"{title} at {numbers.percent(float(x[i]), 0)}: {text}")
    areas = [
        f"{names.describe(k).title} {numbers.interval(m.get('value'), m.get('lower'), m.get('upper'), 4)}"
        for k in ("autoc", "qini")
        if (m := (data.get("measures") or {}).get(k))
    ]
    dashed = " Dashed: treating at random." if any((c or {}).get("random") for c in shown.values()) else ""
    band = f" Bands are {context.band}s." if any((c or {}).get("lower") for c in shown.values()) else ""
    return Figure(
        svg,
        effect_sentences.targeting(data),
        f"On the test part; upwards is benefit.{''.join(_MEANING[name] for name in shown)}{dashed}{band}",
        f"Targeting curves. {'; '.join([*areas, *spoken])}.",
        Table(["Curve", "Share treated", f"Gain{f', {measured}' if measured else ''} ({context.band})"], rows),
        WIDTH if len(shown) > 1 else int(width + LEFT + 28),
    )


def _at(curve: Mapping[str, Any], key: str, i: int) -> float | None:
    found = curve.get(key) or []
    return float(found[i]) if i < len(found) and numbers.is_number(found[i]) else None
