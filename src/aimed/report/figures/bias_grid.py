"""What a confounder that nobody measured would do to the effect, by how strongly it acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.patches import Rectangle

from aimed.report import effect_sentences, numbers, style
from aimed.report.contrast import Scale
from aimed.report.parts import Context, Figure, Table, num

CELL_W, CELL_H, LEFT, TOP, MOST = 62, 34, 128, 30, 10


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the adjusted effect for each strength of a hidden confounder.

    Parameters
    ----------
    data : mapping
        The ``grid`` block: exposure (risk ratios of the confounder between the arms), outcome (its risk ratios for the
        outcome), adjusted (one row an exposure); ``scale``: a `Scale`; ``estimate``: the effect as estimated.
    context : Context

    Returns
    -------
    Figure
    """
    scale: Scale = data["scale"]
    x, y = list(data.get("outcome") or [])[:MOST], list(data.get("exposure") or [])[:MOST]
    cells = [list(row or [])[: len(x)] for row in list(data.get("adjusted") or [])[: len(y)]]
    flat = [float(v) for row in cells for v in row if numbers.is_number(v)]
    start = data.get("estimate")
    side = _side(start if numbers.is_number(start) else flat[0] if flat else scale.none, scale)
    most = max((abs(_distance(v, scale)) for v in flat), default=1.0) or 1.0
    width, height = LEFT + CELL_W * len(x) + 12, TOP + CELL_H * len(y) + 50
    turned = 0
    spelt = dict(zip(flat, scale.text(*flat), strict=True))
    with style.drawing("bias"):
        fig, add = style.canvas(width, height)
        ax = add(LEFT, TOP, CELL_W * len(x), CELL_H * len(y))
        ax.set(xlim=(0, len(x)), ylim=(len(y), 0))
        for i, row in enumerate(cells):
            for j, v in enumerate(row):
                if not numbers.is_number(v):
                    continue
                away = _side(v, scale) != side
                turned += away
                size = 0.06 + 0.3 * abs(_distance(v, scale)) / most
                colour = style.WARN if away else style.ACCENT
                ax.add_patch(Rectangle((j + 0.03, i + 0.05), 0.94, 0.9, color=colour, alpha=size, linewidth=0))
                text = spelt[float(v)]
                ax.text(j + 0.5, i + 0.5, f"{text}*" if away else text, ha="center", va="center", size=11)
        ax.set_xticks([j + 0.5 for j in range(len(x))], [numbers.number(v) for v in x])
        ax.set_yticks([i + 0.5 for i in range(len(y))], [numbers.number(v) for v in y])
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel("Risk ratio of the hidden confounder for the outcome")
        style.place(fig, 4, 12, "Its ratio between the arms", color=style.MUTED, size=11)
        svg = style.to_svg(fig, "bias")
    body = [
        [num(numbers.number(e), e), *(num(spelt.get(v, numbers.ABSENT), v) for v in row)]
        for e, row in zip(y, cells, strict=False)
    ]
    said = "; ".join(
        f"{numbers.number(e)}: {', '.join(spelt.get(v, numbers.ABSENT) for v in row)}"
        for e, row in zip(y, cells, strict=False)
    )
    return Figure(
        svg,
        effect_sentences.bias(turned, len(flat), scale),
        f"{scale.title} left after a binary confounder of that strength, at worst (bounding factor). A star on orange: "
        "no effect is left, or it has turned.",
        f"Adjusted effect by strength of a hidden confounder; rows are its ratio between the arms. {said}.",
        Table(["Ratio between the arms", *(f"Outcome ratio {numbers.number(v)}" for v in x)], body),
        int(width),
    )


def _distance(value: float, scale: Scale) -> float:
    return float(value) - scale.none


def _side(value: float, scale: Scale) -> int:
    gap = _distance(value, scale)
    return (gap > 0) - (gap < 0)
