"""Calibration for benefit: observed against predicted effects in groups of rising predicted benefit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import effect_sentences, numbers, style
from aimed.report.contrast import Question, bounds
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, LEFT = 560, 440, 70


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the groups beside the line of equality and the line of no effect.

    Parameters
    ----------
    data : mapping
        ``groups``: list of label, n, predicted, observed; ``slope``: the calibration slope, where known; ``overall``:
        the average effect; ``question``: a `Question`.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    scale = question.additive
    factor = scale.factor()
    groups = [g for g in data["groups"] if numbers.is_number(g.get("predicted"))]
    overall = bounds(data.get("overall"))[0]
    points = [factor * float(g["predicted"]) for g in groups]
    ends = [factor * v for g in groups for v in bounds(g.get("observed")) if v is not None]
    low, high = min([*points, *ends, 0.0]), max([*points, *ends, 0.0])
    pad = 0.07 * (high - low or 1.0)
    with style.drawing("benefit"):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(LEFT, 10, WIDTH - LEFT - 20, HEIGHT - 64)
        ax.axhline(0, color=style.LINE, lw=1)
        ax.axvline(0, color=style.LINE, lw=1)
        ends_of = [min([*points, 0.0]) - pad, max([*points, 0.0]) + pad]
        ax.plot(ends_of, ends_of, color=style.FAINT, lw=1, ls=(0, (4, 4)))
        if overall is not None:
            ax.axhline(factor * overall, color=style.BASE, lw=1.3, ls=(0, (2, 2)))
            ax.text(
                ends_of[1] - 0.3 * pad,
                factor * overall + 0.008 * (high - low),
                "one effect for all",
                color=style.MUTED,
                size=11,
                va="bottom",
                ha="right",
            )  # fmt: skip
        for x, g in zip(points, groups, strict=True):
            value, lower, upper = bounds(g.get("observed"))
            if lower is not None and upper is not None:
                ax.plot([x, x], [factor * lower, factor * upper], color=style.INK, lw=1.2)
            if value is not None:
                ax.plot(x, factor * value, "o", ms=7, mfc=style.PAPER, mec=style.ACCENT, mew=1.6)
        measured = {"points": " (percentage points)", "time": f" ({question.unit}s)"}.get(scale.kind, "")
        ax.set(xlim=ends_of, ylim=(low - pad, high + pad), ylabel=f"Observed effect{measured}")
        ax.set_xlabel(
            f"Predicted effect{measured}; benefit lies {'left' if question.good(scale.name) < 0 else 'right'}"
        )
        svg = style.to_svg(fig, "benefit")
    rows = [
        [
            str(g.get("label")),
            num(numbers.count(g.get("n")), g.get("n")),
            num(scale.text(g["predicted"])[0], g["predicted"]),
            num(scale.interval(g.get("observed")), (g.get("observed") or {}).get("value")),
        ]
        for g in groups
    ]
    said = "; ".join(
        f"{g.get('label')}: predicted {scale.text(g['predicted'])[0]}, observed {scale.interval(g.get('observed'))}"
        for g in groups
    )
    return Figure(
        svg,
        effect_sentences.calibration(groups, data.get("slope")),
        "Groups of the test part by predicted effect (GATES); observed effects are means of doubly robust scores, "
        f"lines are {context.band}s. Dashed: ideal.",
        f"Observed against predicted effects by group. {said}.",
        Table(["Group", "n", "Predicted effect", f"Observed effect ({context.band})"], rows),
        WIDTH,
    )
