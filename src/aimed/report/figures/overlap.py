"""Whether the arms overlap: the chance of treatment in the patients of each arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import effect_sentences, numbers, style
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, LEFT = 660, 250, 140


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw two histograms of the chance of treatment, the active arm upwards and the control arm downwards.

    Parameters
    ----------
    data : mapping
        The ``overlap`` block: known, edges, active, control, lowest, highest, outside; and ``arms``: the labels.
    context : Context

    Returns
    -------
    Figure
    """
    edges, active, control = (style.floats(data.get(k)) for k in ("edges", "active", "control"))
    arms = dict(data.get("arms") or {})
    with style.drawing("overlap"):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(LEFT, 8, WIDTH - LEFT - 16, HEIGHT - 62)
        wide = np.diff(edges)
        ax.bar(edges[:-1], active, wide * 0.88, align="edge", color=style.ACCENT, alpha=0.85)
        ax.bar(edges[:-1], -control, wide * 0.88, align="edge", color=style.BASE, alpha=0.65)
        most = max(float(np.nanmax(np.r_[active, control, 1.0])), 1.0)
        ax.set(xlim=(0, 1), ylim=(-1.08 * most, 1.08 * most), yticks=[])
        ax.axhline(0, color=style.FAINT, lw=0.8)
        ax.spines["left"].set_visible(False)
        for key in ("lowest", "highest"):
            if numbers.is_number(data.get(key)):
                ax.axvline(data[key], color=style.FAINT, lw=1, ls=(0, (1, 2)))
        for y, key in ((0.75, "active"), (0.25, "control")):
            text = style.clip_text(arms.get(key) or f"{key} arm", 19)
            ax.text(-0.015, y, text, transform=ax.transAxes, ha="right", va="center", size=11, color=style.MUTED)
        style.percent_axis(ax.xaxis)
        ax.set_xlabel("Chance of the active treatment, given the covariates")
        svg = style.to_svg(fig, "overlap")
    rows = [
        [
            f"{numbers.percent(float(edges[i]), 0)} to {numbers.percent(float(edges[i + 1]), 0)}",
            num(numbers.count(float(active[i])), float(active[i])),
            num(numbers.count(float(control[i])), float(control[i])),
        ]
        for i in range(edges.size - 1)
        if active[i] or control[i]
    ]
    source = "set by the trial" if data.get("known") else "estimated out of fold"
    said = "; ".join(f"{r[0]}: {r[1].text} and {r[2].text}" for r in rows)  # type: ignore[attr-defined]
    titles = [str(arms.get(k) or f"{k.capitalize()} arm") for k in ("active", "control")]
    return Figure(
        svg,
        effect_sentences.overlap(data),
        f"Number of patients by their chance of the active treatment, {source}: the active arm upwards, the control "
        "arm downwards. Dotted: lowest and highest.",
        f"Histograms of the chance of treatment, active and control. {said}.",
        Table(["Chance of treatment", *titles], rows, wide=False),
        WIDTH,
    )
