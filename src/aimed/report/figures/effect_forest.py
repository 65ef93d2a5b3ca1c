"""Forest plots of effects: by estimator, by subgroup, by policy, with aligned columns and the line of no effect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style
from aimed.report.contrast import Scale, bounds
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDE, ROW, TOP, LABEL, COLUMN, ESTIMATE = 900, 25, 34, 206, 66, 190


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw one row an estimate.

    Parameters
    ----------
    data : mapping
        ``rows``: list of ``label`` and ``measure``, and optionally ``columns`` (texts), ``strong``, ``indent``,
        ``muted`` (not a candidate for the reader's eye), ``of`` (what the label belongs to, for the table); or
        ``heading`` with ``beside`` (a text on its right). ``scale``: a `Scale`; ``columns``: heads of the columns;
        ``axis``, ``head``, ``title``, ``caption``, ``said``, ``salt``; optionally ``reference`` with ``line`` (its
        name; no effect when not given), ``favours`` (what lies to the left and to the right), ``spelt`` (measure →
        text, where the scale does not say it) and ``more`` (heads of columns of the table, ``more`` in each row).
    context : Context

    Returns
    -------
    Figure
    """
    rows, columns, scale = list(data["rows"]), list(data.get("columns") or []), data["scale"]
    spelt = data.get("spelt") or scale.interval
    reference = data.get("reference", scale.none)
    salt = f"{context.salt}{data['salt']}"
    whole = WIDE + (120 if len(columns) > 2 else 0)
    low, high = _range(rows, scale, reference)
    left = LABEL + COLUMN * len(columns) + 20
    width, body = whole - left - ESTIMATE, ROW * len(rows)
    favours = [style.clip_text(t, int(width / 13.5)) for t in data.get("favours") or []]
    with style.drawing(salt):
        fig, add = style.canvas(whole, TOP + body + (76 if favours else 54))
        ax = add(left, TOP, width, body)
        if scale.log:
            ax.set_xscale("log")
        ax.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        _ticks(ax, scale, low, high)
        if numbers.is_number(reference) and low <= scale.factor() * reference <= high:
            ax.axvline(scale.factor() * reference, color=style.FAINT, lw=1, ls=(0, (4, 4)))
            if data.get("line"):
                ax.text(
                    scale.factor() * reference, -0.6, data["line"], ha="center", va="bottom", size=11, color=style.MUTED
                )
        finest = min((w for r in rows if (w := _width(r.get("measure"), scale))), default=1.0)
        for i, row in enumerate(rows):
            y = TOP + (i + 0.5) * ROW
            if "heading" in row:
                style.place(fig, 4, y, style.clip_text(row["heading"], 32), weight="bold")
                end = LABEL + COLUMN * len(columns) if len(columns) > 2 else whole - 4
                style.place(fig, end, y, row.get("beside") or "", ha="right", color=style.MUTED, size=11)
                continue
            weight = "bold" if row.get("strong") else "normal"
            ink = style.MUTED if row.get("muted") else style.INK
            x = 16 if row.get("indent") else 4
            style.place(fig, x, y, style.clip_text(row["label"], 32), weight=weight, color=ink)
            for k, text in enumerate(list(row.get("columns") or [])[: len(columns)]):
                style.place(fig, LABEL + COLUMN * (k + 1), y, str(text), ha="right", color=ink, weight=weight)
            if bounds(row.get("measure"))[0] is None:
                why = str((row.get("measure") or {}).get("note") or "not estimable")
                style.place(fig, whole - 4, y, style.clip_text(why, 40), ha="right", color=style.MUTED, size=11)
                continue
            style.place(fig, whole - 4, y, spelt(row["measure"]), ha="right", weight=weight, color=ink)
            _box(ax, i, row, scale, (low, high), finest)
        for k, head in enumerate(columns):
            style.place(fig, LABEL + COLUMN * (k + 1), TOP - 14, head, ha="right", color=style.MUTED, size=11)
        style.place(fig, whole - 4, TOP - 14, "estimate (interval)", ha="right", color=style.MUTED, size=11)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(f"{data['axis']}{' (log axis)' if scale.log else ''}")
        if len(favours) == 2:
            for x, text, side in ((left, f"← {favours[0]}", "left"), (left + width, f"{favours[1]} →", "right")):
                style.place(fig, x, TOP + body + 62, text, ha=side, color=style.MUTED, size=11)
        svg = style.to_svg(fig, salt)
    shown = [r for r in rows if "heading" not in r]
    said = "; ".join(f"{_name(r)}: {spelt(r.get('measure'))}" for r in shown)
    arrows = " Arrows: the line goes on beyond the axis." if _beyond(shown, scale, low, high) else ""
    return Figure(
        svg,
        str(data["title"]),
        f"{data['caption']}{arrows}",
        f"{data['said']} {said}.",
        _table(data, rows, columns, spelt, context),
        whole,
    )


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['of']}: {row['label']}" if row.get("of") else str(row["label"])


def _scaled(measure: Mapping[str, Any] | None, scale: Scale) -> tuple[float | None, float | None, float | None]:
    a, b, c = (None if v is None else scale.factor() * v for v in bounds(measure))
    if scale.log:
        a, b, c = (None if v is None or v <= 0 else v for v in (a, b, c))
    return a, b, c


def _width(measure: Mapping[str, Any] | None, scale: Scale) -> float:
    value, lower, upper = _scaled(measure, scale)
    if value is None or lower is None or upper is None:
        return 0.0
    return math.log(upper / lower) if scale.log else upper - lower


def _box(
    ax: Any, i: int, row: Mapping[str, Any], scale: Scale, limits: tuple[float, float], finest: float
) -> None:  # fmt: skip
    value, lower, upper = _scaled(row["measure"], scale)
    colour = style.BASE if row.get("muted") else style.ACCENT
    if lower is not None and upper is not None:
        a, b = (min(max(e, limits[0]), limits[1]) for e in (lower, upper))
        ax.plot([a, b], [i, i], color=colour, lw=1.5)
        for out, x, marker in ((lower < limits[0], a, 8), (upper > limits[1], b, 9)):
            if out:
                ax.plot(x, i, marker=marker, color=colour, ms=6, clip_on=False)
    if value is None or not limits[0] <= value <= limits[1]:
        return
    if row.get("strong"):
        ax.plot(value, i, "D", color=colour, ms=8)
        return
    span = _width(row["measure"], scale)
    size = min(4.5 + 5.5 * math.sqrt(finest / span), 10) if span else 6.5
    ax.plot(value, i, "s", mec=colour, mfc=colour if span else style.PAPER, mew=1.3, ms=size)


def _range(rows: Sequence[Mapping[str, Any]], scale: Scale, reference: object) -> tuple[float, float]:
    found = [_scaled(r.get("measure"), scale) for r in rows]
    values = [v for v, _, _ in found if v is not None]
    if numbers.is_number(reference):
        values.append(scale.factor() * reference)
    ends = [e for f in found for e in f[1:] if e is not None]
    if not values:
        return (0.5, 2.0) if scale.log else (-1.0, 1.0)
    # One interval far wider than the rest ends in an arrow rather than squeeze them.
    half = [
        max(abs(_on(e, scale) - _on(v, scale)) for e in f if e is not None) for f in found if (v := f[0]) is not None
    ]
    reach = max(
        2.5 * float(np.median(half)) if half else 0.0, 0.3 * (_on(max(values), scale) - _on(min(values), scale))
    )
    low = max(_on(min([*values, *ends]), scale), _on(min(values), scale) - reach)
    high = min(_on(max([*values, *ends]), scale), _on(max(values), scale) + reach)
    pad = 0.06 * (high - low or 1.0)
    return _back(low - pad, scale), _back(high + pad, scale)


def _on(value: float, scale: Scale) -> float:
    return math.log(value) if scale.log else value


def _back(value: float, scale: Scale) -> float:
    return math.exp(value) if scale.log else value


def _beyond(rows: Sequence[Mapping[str, Any]], scale: Scale, low: float, high: float) -> bool:
    ends = [e for r in rows for e in _scaled(r.get("measure"), scale) if e is not None]
    return any(e < low or e > high for e in ends)


def _ticks(ax: Any, scale: Scale, low: float, high: float) -> None:
    if scale.log:
        ticks = style.ratio_ticks(low, high)
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_xticks([], minor=True)
        return
    ax.xaxis.get_major_locator().set_params(nbins=6)
    ax.grid(axis="x", color=style.LINE, lw=0.7)
    ax.set_axisbelow(True)


def _table(
    data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], columns: Sequence[str], spelt: Any, context: Context
) -> Table:  # fmt: skip
    groups: dict[int, str] = {}
    body: list[list[Cell | str]] = []
    more = list(data.get("more") or [])
    for row in rows:
        if "heading" in row:
            groups[len(body)] = f"{row['heading']}{', ' if row.get('beside') else ''}{row.get('beside') or ''}"
            continue
        measure = row.get("measure") or {}
        line: list[Cell | str] = [Cell(str(row["label"]), strong=bool(row.get("strong")), indent=bool(groups))]
        line += [num(str(t)) for t in list(row.get("columns") or [""] * len(columns))[: len(columns)]]
        line.append(num(spelt(row.get("measure")), measure.get("value")))
        line += [num(str(t)) if k < len(row.get("more") or []) else "" for k, t in enumerate(
            [*(row.get("more") or []), *[""] * len(more)][: len(more)]
        )]  # fmt: skip
        body.append(line)
    head = [str(data["head"]), *columns, f"{data['axis']} ({context.band})", *more]
    return Table(head, body, sortable=not groups, groups=groups)
