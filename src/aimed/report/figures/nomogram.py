"""The nomogram: an axis of points for each predictor, their total, and the risk at each total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.report import numbers, sentences, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, LABEL, RIGHT, TOP, LANE, BAR = 900, 230, 26, 14, 15, 20
CHAR = 7.0
RISKS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9),
    *(0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999),
)
_FIRST = (0.1, 0.5, 0.9, 0.01, 0.2, 0.8, 0.05, 0.99, 0.3, 0.7, 0.02, 0.95, 0.4, 0.6)

Floats = NDArray[np.float64]


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw a nomogram.

    Parameters
    ----------
    data : mapping
        The block: ``predictors`` (label, kind, values, points, ticks), ``risks`` (horizon, risk at each whole total),
        ``total``, ``typical``, ``error``, ``without``.
    context : Context

    Returns
    -------
    Figure
    """
    axes = [_Axis.of(p, k, data.get("typical")) for k, p in enumerate(data["predictors"])]
    risks = [(r.get("horizon"), style.floats(r["risk"])) for r in data["risks"]]
    top = _top(data)
    width = WIDTH - LABEL - RIGHT
    heights = [a.height(width) for a in axes]
    height = TOP + BAR + 40 + sum(heights) + 18 + (BAR + 30) * (1 + len(risks)) + 6
    typical = data.get("typical") or {}
    with style.drawing("nomogram"):
        fig, add = style.canvas(WIDTH, height)
        y: float = TOP + BAR
        _scale(fig, add, y, "Points", [(v, f"{v:g}") for v in range(0, 101, 10)], 100.0, width, above=True, bold=True)
        y += 34
        for axis, room in zip(axes, heights, strict=True):
            axis.draw(fig, add, y, width)
            y += room
        y += 18
        step = _step(top / 10)
        ticks = [(v, f"{v:g}") for v in np.arange(0, top + step / 2, step) if v <= top]
        own = typical.get("total")
        _scale(fig, add, y, "Total points", ticks, top, width, bold=True, dot=own)
        for horizon, risk in risks:
            y += BAR + 30
            label = f"Risk by {numbers.horizon(horizon, context.unit)}" if numbers.is_number(horizon) else "Risk"
            _scale(fig, add, y, label, _risk_ticks(risk, top, width), top, width, bold=True, dot=own)
        svg = style.to_svg(fig, "nomogram")
    dropped = [str(w) for w in data.get("without") or []]
    none = f" Without weight: {sentences.join(dropped)}." if dropped else ""
    dots = " Dots mark a typical patient: medians and most frequent levels." if typical else ""
    how = (
        "Read the points of each value on the scale at the top, add them up, and read the risk below the total. Points "
        "are what a value adds to the linear predictor of the fitted model, found by asking the model itself; axes run "
        f"over the central 98% of the training part.{dots}{none} {sentences.nomogram(data, context.unit)}"
    )
    said = "; ".join(
        f"{a.label}: " + ", ".join(f"{text} gives {points:.0f}" for _, text, points in a.ticks) for a in axes
    )
    return Figure(
        svg,
        titles.nomogram(data, context.unit),
        how,
        f"Nomogram. Points: {said}. " + " ".join(_say(h, r, top, context) for h, r in risks),
        _table(axes, risks, top, context),
        WIDTH,
    )


class _Axis:
    """One predictor: its label, its tick marks and, where a curve turns back, one line for each way it runs."""

    def __init__(
        self, label: str, curve: Floats, ticks: list[tuple[int, str, float]], number: bool, dot: float | None
    ) -> None:
        self.label, self.curve, self.ticks, self.dot, self.number = label, curve, ticks, dot, number
        self.runs = _runs(curve) if number else [(0, curve.size - 1)]

    @classmethod
    def of(cls, record: Mapping[str, Any], k: int, typical: Mapping[str, Any] | None) -> _Axis:
        values, points = list(record["values"]), style.floats(record["points"])
        places = [int(i) for i in record.get("ticks") or range(len(values)) if int(i) < points.size]
        ticks = [(i, _spell(values[i]), float(points[i])) for i in places]
        own = (typical or {}).get("points") or []
        dot = float(own[k]) if k < len(own) and numbers.is_number(own[k]) else None
        number = record.get("kind") == "number"
        if dot is not None and not number:
            dot = float(points[np.argmin(np.abs(points - dot))])
        return cls(str(record.get("label") or record["variable"]), points, ticks, number, dot)

    def lanes(self, width: float) -> list[list[tuple[float, str, int]]]:
        """Return for each line its tick marks with the lane of each label; a label without room has lane -1."""
        out = []
        for a, b in self.runs:
            own = [t for t in self.ticks if a <= t[0] <= b]
            out.append(_lanes([(p, text) for _, text, p in own], 100.0, width, 1 if self.number else 3))
        return out

    def height(self, width: float) -> float:
        return sum(BAR + LANE * max([lane + 1 for _, _, lane in line] or [1]) for line in self.lanes(width)) + 3

    def draw(self, fig: Any, add: Any, y: float, width: float) -> None:
        style.place(fig, 4, y + 4, style.clip_text(self.label, 36), weight="normal")
        for k, ((a, b), line) in enumerate(zip(self.runs, self.lanes(width), strict=True)):
            run = self.curve[a : b + 1]
            ends = (float(run.min()), float(run.max()))
            dot = self.dot if self.dot is not None and k == self._home() else None
            _line(fig, add, y, ends, line, 100.0, width, dot)
            y += BAR + LANE * max([lane + 1 for _, _, lane in line] or [1])

    def _home(self) -> int:
        """Return the line on which the typical patient's mark stands: the first that reaches it."""
        for k, (a, b) in enumerate(self.runs):
            run = self.curve[a : b + 1]
            if self.dot is not None and run.min() - 0.5 <= self.dot <= run.max() + 0.5:
                return k
        return 0


def _spell(value: object) -> str:
    return numbers.number(value) if isinstance(value, (int, float)) else str(value)


def _runs(curve: Floats) -> list[tuple[int, int]]:
    """Return stretches over which a curve goes one way; a turn of less than a point is none."""
    turns, last, best = [0], 0, 0
    way = 0
    for i in range(1, curve.size):
        move = curve[i] - curve[best]
        if way == 0:
            if abs(curve[i] - curve[last]) >= 1.0:
                way, best = (1 if curve[i] > curve[last] else -1), i
        elif move * way >= 0:
            best = i
        elif abs(move) >= 1.0:
            turns.append(best)
            way, last, best = -way, best, i
    turns.append(curve.size - 1)
    return list(pairwise(turns))


def _lanes(marks: Sequence[tuple[float, str]], most: float, width: float, lanes: int) -> list[tuple[float, str, int]]:
    """Put labels side by side, then below one another; one that fits nowhere keeps its mark only.

    With one lane the two ends come first, so that a crowded axis still says how far it runs.
    """
    order = sorted(range(len(marks)), key=lambda k: marks[k][0])
    if lanes == 1 and len(order) > 2:
        order = [order[0], order[-1], *order[1:-1]]
    taken: list[list[tuple[float, float]]] = [[] for _ in range(lanes)]
    out = []
    for k in order:
        value, text = marks[k]
        shown = style.clip_text(text, 22)
        x, half = width * value / most, CHAR * len(shown) / 2
        lane = next((i for i in range(lanes) if all(x + half + 5 < a or x - half - 5 > b for a, b in taken[i])), -1)
        if lane >= 0:
            taken[lane].append((x - half, x + half))
        out.append((value, shown, lane))
    return out


def _line(
    fig: Any,
    add: Any,
    y: float,
    ends: tuple[float, float],
    marks: Sequence[tuple[float, str, int]],
    most: float,
    width: float,
    dot: float | None = None,
    above: bool = False,
) -> None:
    ax = add(LABEL, y, width, 8)
    ax.set(xlim=(0, most), ylim=(1, 0))
    ax.axis("off")
    ax.plot(ends, [0.5, 0.5], color=style.FAINT, lw=1.1, clip_on=False)
    for value, text, lane in marks:
        ax.plot([value, value], [0.5, 1.0 if not above else 0.0], color=style.FAINT, lw=1, clip_on=False)
        if lane < 0:
            continue
        x = LABEL + width * value / most
        if lane > 0:
            ax.plot([value, value], [1.0, 1.0 + LANE * lane / 8], color=style.LINE, lw=0.8, clip_on=False, zorder=0)
        style.place(fig, x, y - 8 if above else y + 15 + LANE * lane, text, ha="center", size=11, color=style.INK)
    if dot is not None:
        ax.plot(dot, 0.5, "o", color=style.ACCENT, ms=6.5, clip_on=False)


def _scale(
    fig: Any,
    add: Any,
    y: float,
    label: str,
    ticks: Sequence[tuple[float, str]],
    most: float,
    width: float,
    *,
    above: bool = False,
    bold: bool = False,
    dot: object = None,
) -> None:
    style.place(fig, 4, y + 4, label, weight="bold" if bold else "normal")
    own = float(dot) if numbers.is_number(dot) else None
    values = [v for v, _ in ticks]
    ends = (0.0, most) if label.endswith("oints") else (min(values, default=0.0), max(values, default=most))
    _line(fig, add, y, ends, _lanes(ticks, most, width, 1), most, width, own, above)


def _top(data: Mapping[str, Any]) -> float:
    """Return where the axis of totals ends: the most that the axes can add up to."""
    most = sum(float(np.nanmax(style.floats(p["points"]))) for p in data["predictors"])
    return float(max(1.0, min(np.ceil(most), float(data.get("total") or most))))


def _step(width: float) -> float:
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= width * 0.999))


def _total_at(risk: Floats, wanted: float, top: float) -> float | None:
    """Return the total at which a risk is reached, or None where it is not."""
    inside = risk[: int(top) + 1]
    if not inside.size or not inside[0] <= wanted <= inside[-1]:
        return None
    return float(np.interp(wanted, inside, np.arange(inside.size)))


def _risk_ticks(risk: Floats, top: float, width: float) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    for wanted in (*_FIRST, *RISKS):
        at = _total_at(risk, wanted, top)
        text = f"{100 * wanted:g}%"
        # The rounder a risk, the sooner it has its place.
        room = all(abs(at - v) * width / top > CHAR * (len(text) + len(t)) / 2 + 7 for v, t in found) if at else False
        if at is not None and room:
            found.append((at, text))
    return sorted(found)


def _say(horizon: object, risk: Floats, top: float, context: Context) -> str:
    ticks = _risk_ticks(risk, top, WIDTH - LABEL - RIGHT)
    when = f" by {numbers.horizon(horizon, context.unit)}" if numbers.is_number(horizon) else ""
    return f"Risk{when}: " + ", ".join(f"{text} at {at:.0f} points" for at, text in ticks) + "."


def _table(axes: Sequence[_Axis], risks: Sequence[tuple[Any, Floats]], top: float, context: Context) -> Table:
    heads = [f"Risk by {numbers.horizon(h, context.unit)}" if numbers.is_number(h) else "Risk" for h, _ in risks]
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for axis in axes:
        groups[len(rows)] = axis.label
        rows += [[text, num(f"{points:.0f}", points), *([""] * len(risks))] for _, text, points in axis.ticks]
    groups[len(rows)] = "Total points"
    for total in np.arange(0, top + 1, _step(top / 20)):
        k = round(float(total))
        shown = [num(numbers.percent(float(r[k]) if k < r.size else None)) for _, r in risks]
        rows.append(["Sum of the points", num(f"{total:.0f}", float(total)), *shown])
    return Table(["Value", "Points", *heads], rows, groups=groups, wide=False)
