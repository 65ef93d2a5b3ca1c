"""The flow of participants: from the source to the arms, who was left out and who was analysed (CONSORT)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from matplotlib.patches import FancyArrowPatch, Rectangle

from aimed.report import effect_sentences, numbers, sentences, style
from aimed.report.contrast import Question
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, MAIN, BOX, LINE = 760, 340, 34, 21
_LINES = (
    ("assigned", "Assigned"),
    ("analysed", "Analysed"),
    ("events", "With the outcome"),
    ("censored_early", "Followed for too short"),
    ("missing_outcome", "Outcome missing"),
    ("train", "In the training part"),
    ("test", "In the test part"),
)


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the participant flow.

    Parameters
    ----------
    data : mapping
        ``flow``: source_rows, excluded (reason, n), assigned, arms; ``question``: a `Question`.
    context : Context

    Returns
    -------
    Figure
    """
    block, question = data["flow"], data.get("question") or Question()
    arms, excluded = list(block.get("arms") or []), list(block.get("excluded") or [])
    first_line = {} if question.randomised else {"assigned": "Treated this way"}
    lines = [(k, first_line.get(k, t)) for k, t in _LINES if any(a.get(k) is not None for a in arms)]
    verb = "Randomised" if question.randomised else "Eligible, in either arm"
    gap = max(58, LINE * (len(excluded) + 1) + 16)
    first = 4 + BOX + gap
    second = first + BOX + 30
    tall = 34 + LINE * len(lines)
    height = second + (tall + 6 if arms else -20)
    with style.drawing("trial-flow"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(0, 0, WIDTH, height)
        ax.set(xlim=(0, WIDTH), ylim=(height, 0))
        ax.axis("off")

        def arrow(*points: tuple[float, float]) -> None:
            for a, b in pairwise(points[:-1]):
                ax.plot([a[0], b[0]], [a[1], b[1]], color=style.FAINT, lw=1)
            a, b = points[-2:]
            ax.add_patch(
                FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=9, color=style.FAINT, shrinkA=0, shrinkB=0)
            )

        def box(x: float, y: float, w: float, h: float, colour: str = style.FAINT) -> None:
            ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=colour, linewidth=1))

        middle, left = WIDTH / 2, (WIDTH - MAIN) / 2
        for y, text, n in ((4, "In the source", block.get("source_rows")), (first, verb, block.get("assigned"))):
            box(left, y, MAIN, BOX)
            ax.text(left + 10, y + BOX / 2, text, va="center")
            ax.text(left + MAIN - 10, y + BOX / 2, numbers.count(n), va="center", ha="right", weight="bold")
        arrow((middle, 4 + BOX), (middle, first))
        if excluded:
            y = 4 + BOX + 12
            total = sum(int(e["n"]) for e in excluded if numbers.is_number(e.get("n")))
            ax.plot([middle, middle + 26], [y + 8, y + 8], color=style.FAINT, lw=1)
            ax.text(middle + 34, y + 8, f"Left out: {numbers.count(total)}", va="center", weight="bold")
            for k, e in enumerate(excluded, 1):
                text = f"{numbers.count(e.get('n'))}  {style.clip_text(e.get('reason') or '', 46)}"
                ax.text(middle + 34, y + 8 + LINE * k, text, va="center", color=style.MUTED)
        wide = (WIDTH - 2 - 24 * (len(arms) - 1)) / len(arms) if arms else 0
        for k, arm in enumerate(arms):
            x = 1 + k * (wide + 24)
            colour = style.ACCENT if arm.get("key") == "active" else style.BASE
            box(x, second, wide, tall, colour)
            half = first + BOX + 14
            arrow((middle, first + BOX), (middle, half), (x + wide / 2, half), (x + wide / 2, second))
            ax.text(
                x + 10, second + 17, style.clip_text(arm.get("label") or arm["key"], 44), va="center", weight="bold"
            )
            for i, (key, title) in enumerate(lines):
                y = second + 36 + LINE * i
                ax.text(x + 10, y + 4, title, va="center", color=style.MUTED)
                ax.text(x + wide - 10, y + 4, numbers.count(arm.get(key)), va="center", ha="right")
        svg = style.to_svg(fig, "trial-flow")
    dash = num(numbers.ABSENT)
    rows: list[list[Cell | str]] = [["In the source", _count(block.get("source_rows")), *[dash] * len(arms)]]
    rows += [[f"Left out: {e.get('reason')}", _count(e.get("n")), *[dash] * len(arms)] for e in excluded]
    rows.append([verb, _count(block.get("assigned")), *(_count(a.get("assigned")) for a in arms)])
    rows += [[t, dash, *(_count(a.get(k)) for a in arms)] for k, t in lines if k != "assigned"]
    said = f"In the source: {numbers.count(block.get('source_rows'))}; {verb.lower()}: "
    said += numbers.count(block.get("assigned"))
    for a in arms:
        each = [f"{t.lower()} {numbers.count(a.get(k))}" for k, t in lines]
        said += f"; {a.get('label') or a.get('key')}: {sentences.join(each)}"
    short = " Followed for too short: censored before the horizon without the outcome." if any(
        numbers.is_number(a.get("censored_early")) for a in arms
    ) else ""  # fmt: skip
    return Figure(
        svg,
        effect_sentences.flow(block, question),
        f"Flow of participants, as {'CONSORT' if question.randomised else 'STROBE'} asks for it.{short}",
        f"Flow of participants. {said}.",
        Table(["Step", "All", *(str(a.get("label") or a.get("key")) for a in arms)], rows),
        WIDTH,
    )


def _count(n: Any) -> Cell:
    return num(numbers.count(n), n)
