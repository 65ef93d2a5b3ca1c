"""The ROC curve, small, with its band and the thresholds of the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

SIZE = 380


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw sensitivity against 1 - specificity.

    Parameters
    ----------
    data : mapping
        ``curve``: fpr, tpr, lower, upper; ``thresholds``: the threshold table.
    context : Context

    Returns
    -------
    Figure
    """
    curve = data["curve"]
    fpr, tpr, lower, upper = (style.floats(curve.get(k)) for k in ("fpr", "tpr", "lower", "upper"))
    points = [t for t in data.get("thresholds") or [] if _both(t)]
    measure = context.measure("auroc")
    salt = f"{context.salt}roc"
    with style.drawing(salt):
        fig, add = style.canvas(SIZE, SIZE)
        ax = add(58, 10, SIZE - 72, SIZE - 64)
        ax.plot([0, 1], [0, 1], ls=(0, (4, 4)), lw=1, color=style.FAINT)
        style.band(ax, fpr, lower, upper, style.ACCENT)
        ax.plot(fpr, tpr, color=style.ACCENT)
        # Labels may not meet: the chosen threshold is named first, others only where they keep clear of it.
        named: list[tuple[float, float]] = []
        for t in sorted(points, key=lambda t: not t.get("chosen")):
            x, y = 1 - t["specificity"]["value"], t["sensitivity"]["value"]
            ax.plot(x, y, "o", ms=6, mfc=style.ACCENT if t.get("chosen") else style.PAPER, mec=style.ACCENT, mew=1.5)
            if all(abs(x - a) > 0.22 or abs(y - b) > 0.08 for a, b in named):
                text = f"at {numbers.percent(t['threshold'], 0)}"
                ax.text(x + 0.035, y - 0.02, text, color=style.MUTED, va="top", size=11)
                named.append((x, y))
        ax.text(0.98, 0.11, "AUROC", ha="right", va="bottom", color=style.MUTED)
        ax.text(0.98, 0.04, numbers.measure(measure), ha="right", va="bottom")
        ax.set(xlim=(-0.005, 1.005), ylim=(-0.005, 1.005), xlabel="1 − specificity", ylabel="Sensitivity")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        svg = style.to_svg(fig, salt)
    rows = [
        [num(numbers.fixed(fpr[i], 2)), num(numbers.interval_at(i, tpr, lower, upper))]
        for i in range(0, fpr.size, max(1, fpr.size // 10))
    ]
    alt = f"ROC curve. AUROC {numbers.measure(measure)}."
    for t in points:
        alt += (
            f" At threshold {numbers.percent(t['threshold'], 0)}: sensitivity "
            f"{numbers.fixed(t['sensitivity']['value'], 2)},"
            f" specificity {numbers.fixed(t['specificity']['value'], 2)}."
        )
    return Figure(
        svg,
        titles.roc(measure),
        f"Test part; the band shows {context.bands}. Circles are the thresholds of the study, the filled one "
        "was chosen.",
        alt,
        Table(["1 − specificity", f"Sensitivity ({context.band})"], rows),
        SIZE,
    )


def _both(t: Mapping[str, Any]) -> bool:
    return all(numbers.is_number((t.get(k) or {}).get("value")) for k in ("sensitivity", "specificity"))
