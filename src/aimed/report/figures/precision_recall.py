"""The precision-recall curve, with the prevalence as the line of chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT = 500, 380


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw precision (positive predictive value) against recall (sensitivity).

    Parameters
    ----------
    data : mapping
        ``curve``: recall, precision, lower, upper, prevalence.
    context : Context

    Returns
    -------
    Figure
    """
    curve = data["curve"]
    recall, precision, lower, upper = (style.floats(curve.get(k)) for k in ("recall", "precision", "lower", "upper"))
    prevalence = curve.get("prevalence")
    measure = context.measure("auprc")
    salt = f"{context.salt}precision-recall"
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(58, 10, WIDTH - 72, HEIGHT - 64)
        if numbers.is_number(prevalence):
            ax.axhline(prevalence, ls=(0, (4, 4)), lw=1, color=style.FAINT)
            ax.text(
                0.01,
                prevalence - 0.02,
                f"prevalence {numbers.percent(prevalence)}",
                color=style.MUTED,
                va="top",
                size=11,
            )
        style.band(ax, recall, lower, upper, style.ACCENT)
        ax.plot(recall, precision, color=style.ACCENT)
        y = _free(recall, np.r_[precision, lower, upper].reshape(-1, recall.size), prevalence)
        ax.text(0.99, y + 0.07, "Average precision", ha="right", va="bottom", color=style.MUTED)
        ax.text(0.99, y, numbers.measure(measure), ha="right", va="bottom")
        ax.set(xlim=(0, 1.005), ylim=(0, 1.01), xlabel="Recall (sensitivity)", ylabel="Precision (PPV)")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        svg = style.to_svg(fig, salt)
    rows = [
        [num(numbers.fixed(recall[i], 2)), num(numbers.interval_at(i, precision, lower, upper))]
        for i in range(0, recall.size, max(1, recall.size // 10))
    ]
    return Figure(
        svg,
        titles.precision_recall(measure, prevalence),
        f"Test part; the band shows {context.bands}. The dashed line is a model without skill.",
        f"Precision-recall curve. Average precision {numbers.measure(measure)}; prevalence "
        f"{numbers.percent(prevalence)}.",
        Table(["Recall", f"Precision ({context.band})"], rows),
        WIDTH,
    )


def _free(recall: Any, curves: Any, prevalence: Any) -> float:
    # The numbers go to the first place on the right that neither the band nor the line of chance runs through.
    right = curves[:, recall > 0.55]
    low, high = (float(f(right)) if right.size else 0.0 for f in (np.nanmin, np.nanmax))
    line = float(prevalence) if numbers.is_number(prevalence) else -1.0
    for y in (0.85, 0.03, 0.2, 0.4, 0.6):
        if (y > high + 0.01 or y + 0.14 < low) and not y - 0.02 < line < y + 0.15:
            return y
    return 0.03
