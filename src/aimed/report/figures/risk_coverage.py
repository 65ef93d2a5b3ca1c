"""The risk-coverage curve: how the error falls when the cases the model is least sure of are left to a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, RIGHT, MOST = 620, 370, 150, 4
COLOURS = (style.GROUPS[3], style.GROUPS[0], style.GROUPS[1], style.GROUPS[4])


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the error rate of the cases that stay against the share that is left to a reader.

    Parameters
    ----------
    data : mapping
        ``curve``: list of ``share`` (left to a reader) and ``error`` (measure), of all findings together;
        ``findings``: list of ``label`` and ``curve``; those that err most are drawn, all are in the table;
        ``signal``: what says that a case is doubtful; ``of``: what the cases are called, pictures where absent.
    context : Context

    Returns
    -------
    Figure
    """
    of = str(data.get("of") or "pictures")
    whole = _points({"label": "all findings", "curve": data.get("curve") or []})
    single = [p for p in (_points(f) for f in data.get("findings") or []) if p["share"]]
    single.sort(key=lambda p: -_first(p))
    drawn = single[:MOST] if len(single) > 1 else []
    salt = f"{context.salt}risk-coverage"
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(70, 10, WIDTH - 70 - RIGHT, HEIGHT - 64)
        ends: list[tuple[str, float, str]] = []
        for one, colour in [*zip(drawn, COLOURS, strict=False), (whole, style.ACCENT)]:
            main = one is whole
            x, y = np.asarray(one["share"]), np.asarray(one["error"])
            if not x.size:
                continue
            if main:
                style.band(ax, x, style.floats(one["lower"]), style.floats(one["upper"]), colour)
            ax.plot(x, y, "o-", color=colour, lw=2.2 if main else 1.3, ms=5 if main else 3.5)
            ends.append((str(one["label"]), float(y[-1]), colour))
        far = max([*whole["share"], *(s for p in drawn for s in p["share"]), 0.1])
        ax.set(xlim=(-0.01 * far, far * 1.01), xlabel=f"Share of {of} left to a reader, the least sure first")
        ax.set_ylabel("Wrong among the others")
        ax.set_ylim(bottom=0)
        style.percent_axis(ax.xaxis)
        style.percent_axis(ax.yaxis)
        top = ax.get_ylim()[1]
        gap = 16 / (HEIGHT - 64) * top
        for (text, _, colour), height in zip(ends, style.spread([e[1] for e in ends], gap, 0.0, top), strict=True):
            px = 10 + (top - height) / top * (HEIGHT - 64)
            weight = "bold" if colour == style.ACCENT else "normal"
            style.place(fig, WIDTH - RIGHT + 8, px, style.clip_text(text, 20), color=colour, weight=weight)
        svg = style.to_svg(fig, salt)
    every = [whole, *single] if len(single) > 1 else [whole]
    rest = (
        f" Of {len(single)} findings the {len(drawn)} that err most are drawn." if len(single) > len(drawn) > 0 else ""
    )
    return Figure(
        svg,
        titles.risk_coverage(data.get("curve") or []),
        f"Share of wrong decisions at the thresholds on the test part when the {of} with the largest "
        f"{data.get('signal') or 'uncertainty'} are left out; the band is the {context.band}. Errors of the {of} "
        f"that are left out are not counted.{rest}",
        f"Risk-coverage curve. {'; '.join(_said(p) for p in every if p['share'])}.",
        _table(every, context),
        WIDTH,
    )


def _points(one: Mapping[str, Any]) -> dict[str, Any]:
    known = [p for p in one.get("curve") or [] if numbers.is_number((p.get("error") or {}).get("value"))]
    errors = [p["error"] for p in known]
    return {
        "label": one.get("label"),
        "share": [float(p.get("share") or 0.0) for p in known],
        "error": [float(e["value"]) for e in errors],
        "lower": [e.get("lower") for e in errors],
        "upper": [e.get("upper") for e in errors],
        "n": [p.get("n") for p in known],
        "measures": errors,
    }


def _first(points: Mapping[str, Any]) -> float:
    return float(points["error"][0]) if points["error"] else 0.0


def _said(points: Mapping[str, Any]) -> str:
    steps = zip(points["share"], points["error"], strict=True)
    return f"{points['label']}: " + ", ".join(f"{numbers.percent(e)} at {numbers.percent(s, 0)}" for s, e in steps)


def _table(every: Sequence[Mapping[str, Any]], context: Context) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for one in every:
        groups[len(rows)] = str(one["label"])
        for share, n, measure in zip(one["share"], one["n"], one["measures"], strict=True):
            text = numbers.percent(measure["value"])
            if numbers.is_number(measure.get("lower")) and numbers.is_number(measure.get("upper")):
                text += f" ({numbers.percent(measure['lower'])} to {numbers.percent(measure['upper'])})"
            rows.append([num(numbers.percent(share, 0), share), num(numbers.count(n), n), num(text, measure["value"])])
    head = ["Left to a reader", "Decisions that stay", f"Wrong among them ({context.band})"]
    return Table(head, rows, groups=groups if len(every) > 1 else {}, wide=False)
