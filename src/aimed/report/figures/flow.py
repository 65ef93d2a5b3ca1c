"""The participant flow: what each rule removed, what stayed, and how the parts were drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.patches import FancyArrowPatch, Rectangle

from aimed.report import numbers, sentences, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, BOX, STEP = 640, 34, 58


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the flow diagram.

    Parameters
    ----------
    data : mapping
        ``flow``: list of step, removed, remaining; ``parts``: part → n, patients, events; ``events``: what those are
        called when they are not events; ``row``: what a row is, such as a scan.
    context : Context

    Returns
    -------
    Figure
    """
    steps, parts = list(data["flow"]), {name: part for name, part in (data.get("parts") or {}).items() if part}
    height = STEP * len(steps) + (STEP + 16 if parts else 0)
    with style.drawing("flow"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(0, 0, WIDTH, height)
        ax.set(xlim=(0, WIDTH), ylim=(height, 0))
        ax.axis("off")

        def box(x: float, y: float, w: float, left: str, right: str, colour: str = style.FAINT) -> None:
            ax.add_patch(Rectangle((x, y), w, BOX, fill=False, edgecolor=colour, linewidth=1))
            ax.text(x + 10, y + BOX / 2, left, va="center")
            ax.text(x + w - 10, y + BOX / 2, right, va="center", ha="right", weight="bold")

        def arrow(a: tuple[float, float], b: tuple[float, float]) -> None:
            ax.add_patch(
                FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=9, color=style.FAINT, shrinkA=0, shrinkB=0)
            )

        main, gap = 360.0, 40.0
        for i, step in enumerate(steps):
            y = i * STEP + 4
            box(1, y, main, style.clip_text(step["step"], 40), numbers.count(step["remaining"]))
            if i:
                arrow((60, y - STEP + BOX), (60, y))
            if step.get("removed"):
                arrow((main + 1, y + BOX / 2), (main + gap, y + BOX / 2))
                text = f"{numbers.count(step['removed'])} removed"
                ax.text(main + gap + 8, y + BOX / 2, text, va="center", color=style.MUTED)
        if parts:
            y = len(steps) * STEP + 20
            width = (WIDTH - 2 - 16 * (len(parts) - 1)) / len(parts)
            for k, (name, part) in enumerate(parts.items()):
                x = 1 + k * (width + 16)
                if steps:
                    arrow((60, y - STEP + BOX - 16), (x + 60, y))
                called = data.get("events") or "events"
                events = f", {numbers.count(part['events'])} {called}" if numbers.is_number(part.get("events")) else ""
                box(x, y, width, style.clip_text(str(name), 14), f"{numbers.count(part['n'])}{events}", style.ACCENT)
        svg = style.to_svg(fig, "flow")
    rows = [
        [
            str(s["step"]),
            num(numbers.count(s.get("removed")), s.get("removed")),
            num(numbers.count(s["remaining"]), s["remaining"]),
        ]
        for s in steps
    ]
    kept = int(steps[-1]["remaining"]) if steps else 0
    left = max(0, kept - sum(int(part["n"]) for part in parts.values())) if parts else 0
    row = str(data.get("row") or "row")
    why = f" {sentences.plural(left, row)} {'is' if left == 1 else 'are'} in no part of the split." if left else ""
    rows += [[f"Part: {name}", num(numbers.ABSENT), num(numbers.count(p["n"]), p["n"])] for name, p in parts.items()]
    rows += [["In no part", num(numbers.ABSENT), num(numbers.count(left), left)]] if left else []
    said = "; ".join(f"{s['step']}: {numbers.count(s['remaining'])} {row}s" for s in steps)
    said += "".join(f"; part {name}: {numbers.count(p['n'])} {row}s" for name, p in parts.items())
    return Figure(
        svg,
        titles.flow(steps, row),
        f"{row.capitalize()}s that remain after each rule, in the order in which the rules were applied, then the "
        f"parts.{why}",
        f"Flow diagram. {said}.{why}",
        Table(["Step", "Removed", "Remaining"], rows),
        WIDTH,
    )
