"""Estimates as dots with their intervals: a row a finding, group or change, several series beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimed.report import numbers, style
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, LABEL, COLUMN, ESTIMATE, TOP = 880, 196, 62, 172, 34
LOOKS = (
    (style.BASE, "D", False),
    (style.GROUPS[3], "^", False),
    (style.GROUPS[0], "o", False),
    (style.GROUPS[2], "v", False),
    (style.GROUPS[4], "P", False),
    (style.GROUPS[1], "X", False),
)
"""Colour, marker and filling of the second series and of those after it."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw one row of dots a case, with aligned columns of counts and the estimate of the first series in words.

    Parameters
    ----------
    data : mapping
        ``rows``: list of ``label``, ``points`` (series → measure), and optionally ``columns`` (texts), ``heading``
        (only that is shown), ``strong``, ``note`` (why there is no estimate) and ``tags`` (series → a word beside its
        dot); ``series``: series → title, the first
        is the model's; ``columns``: heads of the columns; ``axis``: what the axis says; ``head``: head of the labels in
        the table; ``title``, ``caption``, ``said`` (start of the alternative text), ``salt``; optionally ``reference``
        (a number) with ``line`` (its name), ``percent``, ``limits`` (of the axis) and ``look`` (the first series in a
        group's colours instead of the model's).
    context : Context

    Returns
    -------
    Figure
    """
    rows, series = list(data["rows"]), dict(data["series"])
    columns, percent = list(data.get("columns") or []), bool(data.get("percent"))
    main = next(iter(series), "")
    salt = f"{context.salt}{data['salt']}"
    low, high = data.get("limits") or _range(rows, data.get("reference"))
    heights = [24 if "heading" in r else max(25, 11 * len(_known(r, series)) + 10) for r in rows]
    body, left = sum(heights), LABEL + (COLUMN * len(columns) or 132) + 18
    top = TOP + (22 if len(series) > 1 else 0)
    width = WIDTH - left - ESTIMATE
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, top + body + 54)
        ax = add(left, top, width, body)
        ax.set(xlim=(low, high), ylim=(body, 0), yticks=[])
        if numbers.is_number(data.get("reference")):
            ax.axvline(data["reference"], color=style.FAINT, lw=1, ls=(0, (4, 4)))
            if data.get("line"):
                ax.text(data["reference"], -3, data["line"], ha="center", va="bottom", size=11, color=style.MUTED)
        at = 0.0
        for row, tall in zip(rows, heights, strict=True):
            middle = at + tall / 2
            _words(fig, row, top + middle, columns, series, main, percent)
            known = _known(row, series)
            for k, (name, measure) in enumerate(known):
                y = middle + 11 * (k - (len(known) - 1) / 2)
                _dot(ax, y, measure, list(series).index(name), (low, high), bool(row.get("strong")))
                if (row.get("tags") or {}).get(name):
                    _tag(ax, y, measure, str(row["tags"][name]), (low, high))
            at += tall
        for k, head in enumerate(columns):
            style.place(fig, LABEL + COLUMN * (k + 1), top - 12, head, ha="right", color=style.MUTED, size=11)
        style.place(fig, WIDTH - 4, top - 12, "estimate (interval)", ha="right", color=style.MUTED, size=11)
        if len(series) > 1:
            _legend(fig, add, series)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color=style.LINE, lw=0.7)
        ax.set_axisbelow(True)
        ax.xaxis.get_major_locator().set_params(nbins=6)
        if percent:
            style.percent_axis(ax.xaxis)
        ax.set_xlabel(data["axis"])
        svg = style.to_svg(fig, salt)
    shown = [r for r in rows if "heading" not in r]
    return Figure(
        svg, str(data["title"]), str(data["caption"]), _said(data, shown, series, percent),
        _table(data, rows, series, columns, percent, context), WIDTH,
    )  # fmt: skip


def spelt(measure: Mapping[str, Any] | None, percent: bool = False) -> str:
    """Return an estimate with its interval, as a number or in per cent.

    Examples
    --------
    >>> spelt({"value": 0.9, "lower": 0.85, "upper": 0.94}, True), spelt({"value": 0.9})
    ('90.0% (85.0% to 94.0%)', '0.900')
    """
    if not percent or not measure or not numbers.is_number(measure.get("value")):
        return numbers.measure(measure)
    text = numbers.percent(measure["value"])
    if numbers.is_number(measure.get("lower")) and numbers.is_number(measure.get("upper")):
        text += f" ({numbers.percent(measure['lower'])} to {numbers.percent(measure['upper'])})"
    return text


def _known(row: Mapping[str, Any], series: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    points = row.get("points") or {}
    return [(name, points[name]) for name in series if numbers.is_number((points.get(name) or {}).get("value"))]


def _words(
    fig: Any,
    row: Mapping[str, Any],
    y: float,
    columns: Sequence[str],
    series: Mapping[str, str],
    main: str,
    percent: bool,
) -> None:
    if "heading" in row:
        style.place(fig, 4, y, style.clip_text(row["heading"], 60), weight="bold")
        return
    weight = "bold" if row.get("strong") else "normal"
    label = 54 if not columns else 30
    style.place(fig, 4, y, style.clip_text(row["label"], label), weight=weight)
    for k, text in enumerate(list(row.get("columns") or [])[: len(columns)]):
        style.place(fig, LABEL + COLUMN * (k + 1), y, str(text), ha="right", weight=weight)
    first = (row.get("points") or {}).get(main)
    if first and numbers.is_number(first.get("value")):
        style.place(fig, WIDTH - 4, y, spelt(first, percent), ha="right", weight=weight)
    else:
        why = row.get("note") or (first or {}).get("note") or ("" if _known(row, series) else "not estimable")
        style.place(fig, WIDTH - 4, y, style.clip_text(why, 34), ha="right", color=style.MUTED, size=11)


def _dot(ax: Any, y: float, measure: Mapping[str, Any], k: int, limits: tuple[float, float], strong: bool) -> None:
    colour, marker, filled = (style.ACCENT, "s", True) if k == 0 else LOOKS[(k - 1) % len(LOOKS)]
    value, lower, upper = (measure.get(key) for key in ("value", "lower", "upper"))
    if numbers.is_number(lower) and numbers.is_number(upper):
        a, b = (min(max(e, limits[0]), limits[1]) for e in (lower, upper))
        ax.plot([a, b], [y, y], color=colour, lw=1.6 if k == 0 else 1.1)
        for out, x, arrow in ((lower < limits[0], a, 8), (upper > limits[1], b, 9)):
            if out:
                ax.plot(x, y, marker=arrow, color=colour, ms=5, clip_on=False)
    if limits[0] <= float(value or 0.0) <= limits[1]:
        size = (8 if strong else 6.5) if k == 0 else 5.5
        ax.plot(value, y, marker, mec=colour, mfc=colour if filled else style.PAPER, mew=1.3, ms=size)


def _tag(ax: Any, y: float, measure: Mapping[str, Any], text: str, limits: tuple[float, float]) -> None:
    ends = [float(measure[k]) for k in ("lower", "value", "upper") if numbers.is_number(measure.get(k))]
    low, high = max(min(ends), limits[0]), min(max(ends), limits[1])
    step = 0.012 * (limits[1] - limits[0])
    # On the side that has more room.
    right = limits[1] - high > low - limits[0]
    x, side = (high + step, "left") if right else (low - step, "right")
    ax.text(x, y, text, ha=side, va="center", size=10, color=style.MUTED)


def _legend(fig: Any, add: Any, series: Mapping[str, str]) -> None:
    x = 4.0
    for k, title in enumerate(series.values()):
        colour, marker, filled = (style.ACCENT, "s", True) if k == 0 else LOOKS[(k - 1) % len(LOOKS)]
        key = add(x, 5, 12, 12)
        key.axis("off")
        key.plot(0.5, 0.5, marker, mec=colour, mfc=colour if filled else style.PAPER, mew=1.3, ms=6)
        key.set(xlim=(0, 1), ylim=(0, 1))
        text = style.clip_text(title, 44)
        style.place(fig, x + 17, 11, text, color=style.MUTED, size=11)
        x += 34 + 6.1 * len(text)


def _range(rows: Sequence[Mapping[str, Any]], reference: object) -> tuple[float, float]:
    points = [m for r in rows for m in (r.get("points") or {}).values() if m and numbers.is_number(m.get("value"))]
    values = [float(m["value"]) for m in points] + ([float(reference)] if numbers.is_number(reference) else [])
    ends = [float(m[k]) for m in points for k in ("lower", "upper") if numbers.is_number(m.get(k))]
    if not values:
        return 0.0, 1.0
    # One interval far wider than the rest ends in an arrow rather than squeeze them.
    spread = max(values) - min(values) or 0.1
    low = max(min([*values, *ends]), min(values) - 1.5 * spread)
    high = min(max([*values, *ends]), max(values) + 1.5 * spread)
    pad = 0.05 * (high - low or 0.1)
    return low - pad, high + pad


def _said(data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], series: Mapping[str, str], percent: bool) -> str:
    texts = []
    for row in rows:
        each = [
            f"{series[name]} {spelt(measure, percent)}" if len(series) > 1 else spelt(measure, percent)
            for name, measure in _known(row, series)
        ]
        texts.append(f"{row['label']}: {', '.join(each) or 'not estimable'}")
    return f"{data['said']} {'; '.join(texts)}."


def _table(
    data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], series: Mapping[str, str], columns: Sequence[str],
    percent: bool, context: Context,
) -> Table:  # fmt: skip
    groups: dict[int, str] = {}
    body: list[list[Cell | str]] = []
    for row in rows:
        if "heading" in row:
            groups[len(body)] = str(row["heading"])
            continue
        points = row.get("points") or {}
        line: list[Cell | str] = [Cell(str(row["label"]), strong=bool(row.get("strong")))]
        line += [num(str(text)) for text in list(row.get("columns") or [""] * len(columns))[: len(columns)]]
        line += [num(spelt(points.get(name), percent), (points.get(name) or {}).get("value")) for name in series]
        body.append(line)
    one = [f"{data['axis']} ({context.band})"] if len(series) == 1 else list(series.values())
    caption = "" if len(series) == 1 else f"{data['axis']} ({context.band}s)"
    return Table([str(data["head"]), *columns, *one], body, caption, sortable=not groups, groups=groups)
