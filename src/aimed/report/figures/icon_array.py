"""Two fields of 100 patients like this one: how many have the outcome under control and under treatment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import numbers, style
from aimed.report.contrast import Question
from aimed.report.parts import Context, Figure, Table, num

WIDTH, SIDE, GAP, TOP = 460, 190, 60, 46


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw two fields of ten by ten; filled icons have the outcome.

    Parameters
    ----------
    data : mapping
        One of ``patients``: title, control_of_100, active_of_100, fewer, lower, upper, sentence; ``question``: a
        `Question`; ``salt``.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    control, active = (min(100, max(0, round(float(data[k])))) for k in ("control_of_100", "active_of_100"))
    salt = f"icons-{data.get('salt') or 0}"
    colour = style.ACCENT if question.better == "higher" else style.WARN
    left = (WIDTH - 2 * SIDE - GAP) / 2
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, TOP + SIDE + 14)
        for k, (label, n) in enumerate(((question.control, control), (question.active, active))):
            ax = add(left + k * (SIDE + GAP), TOP, SIDE, SIDE)
            ax.axis("off")
            ax.set(xlim=(-0.6, 9.6), ylim=(9.6, -0.6))
            where = [(i % 10, i // 10) for i in range(100)]
            for inside, face, edge in (
                (where[:n], colour, colour),
                (where[n:], style.PAPER, style.FAINT),
            ):
                if inside:
                    ax.plot(*zip(*inside, strict=True), "o", ls="none", ms=10.5, mfc=face, mec=edge, mew=1)
            x = left + k * (SIDE + GAP) + SIDE / 2
            style.place(fig, x, 13, style.clip_text(label, 26), ha="center", weight="bold")
            style.place(fig, x, 32, f"{n} of 100 with the outcome", ha="center", color=style.MUTED, size=11)
        svg = style.to_svg(fig, salt)
    rows = [
        [label, num(numbers.count(n), n), num(numbers.count(100 - n), 100 - n)]
        for label, n in ((question.control, control), (question.active, active))
    ]
    return Figure(
        svg,
        str(data.get("title") or "A patient"),
        f"{data.get('sentence') or ''} Filled circles have {question.outcome}{question.when}; numbers are rounded.",
        f"Icon array. With {question.control} {control} of 100 have the outcome, with {question.active} {active}.",
        Table(["", "With the outcome", "Without it"], rows, "Of 100 patients like this one", wide=False),
        WIDTH,
    )
