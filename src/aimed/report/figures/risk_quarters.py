"""Effects by baseline risk, as the PATH statement asks: outcome of both arms and their difference by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import effect_sentences, numbers, style
from aimed.report.contrast import Question, bounds
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, HEIGHT, PLOT, LEFT, GAP = 860, 386, 280, 62, 86


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the outcome of the arms on the left and their difference on the right, by group of baseline risk.

    Parameters
    ----------
    data : mapping
        The ``risk_quarters`` block: model, rows (label, n, events, mean_risk, control, active, difference, ratio),
        trend, overall; and ``question``: a `Question`.
    context : Context

    Returns
    -------
    Figure
    """
    question = data.get("question") or Question()
    rows, scale = list(data["rows"]), question.additive
    share = 100.0 if question.kind == "risk" else 1.0
    width = (WIDTH - LEFT - GAP - 8) / 2
    with style.drawing("quarters"):
        fig, add = style.canvas(WIDTH, HEIGHT)
        arms = add(LEFT, 30, width, PLOT)
        gaps = add(LEFT + width + GAP, 30, width, PLOT)
        for i, row in enumerate(rows):
            for key, shift in (("control", -0.1), ("active", 0.1)):
                _mark(arms, i + shift, row.get(key), share, key == "active")
            _mark(gaps, i, row.get("difference"), scale.factor(), True)
        overall = bounds(data.get("overall"))[0]
        gaps.axhline(0, color=style.FAINT, lw=1)
        if overall is not None:
            gaps.axhline(scale.factor() * overall, color=style.ACCENT, lw=1.2, ls=(0, (4, 3)))
            gaps.text(
                len(rows) - 0.56, scale.factor() * overall, "all", color=style.ACCENT, size=11, va="bottom", ha="right"
            )
        for ax in (arms, gaps):
            ax.set_xlim(-0.5, len(rows) - 0.5)
            ax.set_xticks(range(len(rows)), [_tick(r) for r in rows])
            ax.grid(axis="y", color=style.LINE, lw=0.7)
            ax.set_axisbelow(True)
        _limits(arms, gaps, rows, data.get("overall"), share, scale.factor(), question.kind == "risk")
        measured = {"points": "percentage points", "time": f"{question.unit}s"}.get(scale.kind, "")
        # The names of the axes stand above them, where they can be read without turning the head.
        style.place(fig, 4, 12, f"{question.levels()}{' (%)' if question.kind == 'risk' else ''}", color=style.MUTED)
        text = f"Difference, active less control{f' ({measured})' if measured else ''}"
        style.place(fig, LEFT + width + GAP - 58, 12, text, color=style.MUTED)
        text = "Groups of rising baseline risk, with its mean"
        style.place(fig, LEFT + width + GAP, HEIGHT - 12, text, color=style.MUTED, size=11)
        x = LEFT + width - 4
        for label, marker, colour, face in (
            (question.active, "s", style.ACCENT, style.ACCENT),
            (question.control, "o", style.BASE, style.PAPER),
        ):
            text = style.clip_text(label, 22)
            style.place(fig, x, HEIGHT - 12, text, ha="right", color=style.MUTED, size=11)
            x -= 6.3 * len(text) + 12
            key = add(x, HEIGHT - 18, 12, 12)
            key.axis("off")
            key.plot(0.5, 0.5, marker, mec=colour, mfc=face, mew=1.4, ms=6)
            key.set(xlim=(0, 1), ylim=(0, 1))
            x -= 12
        svg = style.to_svg(fig, "quarters")
    ratio = any(r.get("ratio") for r in rows)
    body: list[list[Cell | str]] = []
    for r in rows:
        risk = r.get("mean_risk")
        line: list[Cell | str] = [
            str(r.get("label")),
            num(numbers.count(r.get("n")), r.get("n")),
            num(numbers.count(r.get("events")), r.get("events")),
            num(numbers.percent(risk) if question.kind != "mean" else numbers.fixed(risk, 2), risk),
            *(num(question.level(r.get(k)), (r.get(k) or {}).get("value")) for k in ("control", "active")),
            num(scale.interval(r.get("difference")), (r.get("difference") or {}).get("value")),
        ]
        line += [num(question.scale("risk_ratio").interval(r.get("ratio")))] if ratio else []
        body.append(line)
    head = ["Group", "n", "Events", "Mean baseline risk", question.control, question.active, scale.title]
    said = "; ".join(
        f"{r.get('label')}: {question.level(r.get('control'), span=False)} and "
        f"{question.level(r.get('active'), span=False)}, difference {scale.interval(r.get('difference'))}"
        for r in rows
    )
    model = f" by {data['model']}" if data.get("model") else ""
    return Figure(
        svg,
        effect_sentences.quarters(data, question),
        f"Patients of both arms in groups of rising baseline risk{model}. Left: outcome under "
        f"control and active treatment; right: their difference, dashed for all patients. Lines are {context.band}s.",
        f"Outcome by arm and difference in groups of baseline risk. {said}.",
        Table(head + (["Risk ratio"] if ratio else []), body),
        WIDTH,
    )


def _tick(row: Mapping[str, Any]) -> str:
    text = style.clip_text(row.get("label") or "", 14)
    risk = row.get("mean_risk")
    return f"{text}\n{numbers.percent(risk)}" if numbers.is_number(risk) and 0 <= risk <= 1 else text


def _mark(ax: Any, x: float, measure: Any, factor: float, active: bool) -> None:
    value, lower, upper = bounds(measure)
    colour = style.ACCENT if active else style.BASE
    if lower is not None and upper is not None:
        ax.plot([x, x], [factor * lower, factor * upper], color=colour, lw=1.5)
    if value is not None:
        marker, face = ("s", colour) if active else ("o", style.PAPER)
        ax.plot(x, factor * value, marker, mec=colour, mfc=face, mew=1.4, ms=7)


def _limits(
    arms: Any, gaps: Any, rows: list[Any], overall: Any, share: float, factor: float, from_zero: bool
) -> None:  # fmt: skip
    levels = [share * v for r in rows for k in ("control", "active") for v in bounds(r.get(k)) if v is not None]
    steps = [factor * v for r in [*rows, {"difference": overall}] for v in bounds(r.get("difference")) if v is not None]
    if levels:
        high, low = max(levels), 0.0 if from_zero else min(levels)
        pad = 0.06 * (high - low or 1)
        arms.set_ylim(low if from_zero else low - pad, high + pad)
    if steps:
        low, high = min([*steps, 0.0]), max([*steps, 0.0])
        pad = 0.08 * (high - low or 1)
        gaps.set_ylim(low - pad, high + pad)
