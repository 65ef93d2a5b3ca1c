"""Forest plots: subgroup estimates or odds and hazard ratios, with aligned columns and boxes sized by precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aimed.report import names, numbers, sentences, style, titles
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, ROW, TOP, LABEL, ESTIMATE = 760, 25, 34, 230, 168


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw a forest plot.

    Parameters
    ----------
    data : mapping
        Either ``subgroups`` (the block) with ``measure`` (a name) and ``overall`` (the measure of all), or
        ``ratios`` (the coefficients) with ``ratio_name``. ``salt`` names the drawing.
    context : Context

    Returns
    -------
    Figure
    """
    return _ratios(data, context) if data.get("ratios") is not None else _groups(data, context)


def _groups(data: Mapping[str, Any], context: Context) -> Figure:
    block, name = data["subgroups"], str(data["measure"])
    words, title = names.describe(name), names.title(name, context.unit)
    rows: list[dict[str, Any]] = []
    overall = data.get("overall")
    if overall:
        rows.append({"label": "All patients", **_numbers(overall), "state": "", "overall": True})
    for column in block.get("columns") or []:
        rows.append({"heading": sentences.column(column)})
        for group in column.get("groups") or []:
            measure = (group.get("measures") or {}).get(name) or {}
            rows.append(
                {
                    "label": str(group.get("group")),
                    "indent": True,
                    "state": str(group.get("state") or ""),
                    **_numbers(measure),
                    "n": group.get("n"),
                    "events": group.get("events"),
                    "note": measure.get("note") or ("not described" if isinstance(group.get("n"), str) else ""),
                    "column": sentences.column(column),
                    "judged": sentences.judged(group, block.get("min_events")),
                }
            )
    log = words.better == "target" and words.reference == 1.0
    center = overall.get("value") if overall and words.better != "target" else words.reference
    line = "all patients" if overall and words.better != "target" else f"{center:g}" if center is not None else ""
    svg = _plot(rows, title, center, line, log, str(data.get("salt") or "forest"), ("n", "events"))
    body = [r for r in rows if "label" in r]
    table = Table(
        ["Group", "n", "Events", f"{title} ({context.band})", "State"],
        [
            [
                r["label"] if r.get("overall") else f"{r['column']}: {r['label']}",
                num(numbers.count(r["n"]), r["n"]),
                num(numbers.count(r["events"]), r["events"]),
                num(numbers.interval(r["value"], r["lower"], r["upper"]), r["value"]),
                Cell(r["state"], "state") if r["state"] else Cell(""),
            ]
            for r in body
        ],
        sortable=True,
    )
    shown = {**block, "primary": name}
    said = "; ".join(
        f"{r['label']} {numbers.interval(r['value'], r['lower'], r['upper'])}, n {numbers.count(r['n'])}" for r in body
    )
    few = " Hollow grey boxes have too little data and are not judged." if not all(_sure(r) for r in body) else ""
    what = "estimate for all patients" if line == "all patients" else "ideal"
    return Figure(
        svg,
        titles.subgroups(shown, context.unit),
        f"Boxes are estimates on the test part, their area grows with precision; lines are {context.band}s. "
        f"The dashed line is the {what}.{few}",
        f"Forest plot of {title}. {said}.",
        table,
        WIDTH,
    )


def _ratios(data: Mapping[str, Any], context: Context) -> Figure:
    ratio = str(data.get("ratio_name") or "ratio")
    given = list(data["ratios"])
    rows = [
        {
            "label": str(r.get("label") or r.get("term")),
            "value": r.get("ratio"),
            "lower": r.get("ratio_lower"),
            "upper": r.get("ratio_upper"),
            "p": r.get("p"),
            "state": "",
        }
        for r in given
    ]
    svg = _plot(rows, ratio.capitalize(), 1.0, "1", True, str(data.get("salt") or "ratios"), ())
    tested, stepped = (any(r.get(k) not in (None, "") for r in given) for k in ("p", "per"))
    notes = list(dict.fromkeys(str(r["note"]) for r in given if r.get("note")))
    head = ["Term", "For a difference of"] if stepped else ["Term"]
    head += [f"{ratio.capitalize()} ({context.band})", "Coefficient (interval)"]
    head += (["p"] if tested else []) + (["Note"] if len(notes) > 1 else [])
    body: list[list[Any]] = []
    for r in given:
        line: list[Any] = [str(r.get("label") or r.get("term")), *([numbers.step(r.get("per"))] if stepped else [])]
        line.append(
            num(numbers.interval(r.get("ratio"), r.get("ratio_lower"), r.get("ratio_upper")), r.get("ratio")),
        )
        line.append(num(numbers.interval(r.get("estimate"), r.get("lower"), r.get("upper")), r.get("estimate")))
        line += [num(numbers.p_value(r.get("p")), r.get("p"))] if tested else []
        line += [str(r.get("note") or "")] if len(notes) > 1 else []
        body.append(line)
    table = Table(head, body, sortable=True)
    said_once = f" {notes[0][:1].upper()}{notes[0][1:].rstrip('.')}." if len(notes) == 1 else ""
    spline = any(str(r.get("label") or r.get("term")).endswith("'") for r in given)
    parts = " Terms marked ' are parts of one curve and are read together." if spline else ""
    steps = " The step of each term stands in the table." if stepped else ""
    said = "; ".join(f"{r['label']} {numbers.interval(r['value'], r['lower'], r['upper'], 2)}" for r in rows)
    return Figure(
        svg,
        titles.ratios(given, ratio),
        f"{ratio.capitalize()}s of the terms of the model with {context.band}s, on a log axis; the "
        f"dashed line at 1 means no association. Box area grows with precision.{steps}{parts}{said_once} "
        "They describe the model and are not causal effects.",
        f"Forest plot of {ratio}s. {said}.",
        table,
        WIDTH,
    )


def _numbers(measure: Mapping[str, Any]) -> dict[str, Any]:
    return {k: measure.get(k) for k in ("value", "lower", "upper", "n", "events")}


def _usable(row: Mapping[str, Any], log: bool) -> bool:
    value = row.get("value")
    return numbers.is_number(value) and (not log or value > 0)


def _plot(
    rows: list[dict[str, Any]],
    title: str,
    center: float | None,
    line: str,
    log: bool,
    salt: str,
    counts: tuple[str, ...],
) -> str:
    body = ROW * len(rows)
    columns = {"n": LABEL + 46, "events": LABEL + 106}
    left = LABEL + 132 if counts else LABEL + 20
    width = WIDTH - left - ESTIMATE
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, TOP + body + 56)
        ax = add(left, TOP, width, body)
        if log:
            ax.set_xscale("log")
        low, high = _range(rows, center, log)
        ax.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        if log:
            ticks = style.ratio_ticks(low, high)
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.set_xticks([], minor=True)
        if center is not None and low <= center <= high:
            ax.axvline(center, color=style.FAINT, lw=1, ls=(0, (4, 4)))
        widths = [_span(r, log) for r in rows if _usable(r, log) and _sure(r)]
        finest = min((w for w in widths if w), default=1.0)
        for i, row in enumerate(rows):
            y = TOP + (i + 0.5) * ROW
            if "heading" in row:
                style.place(fig, 4, y, style.clip_text(row["heading"], 34), weight="bold")
                continue
            strong = "bold" if row.get("overall") else "normal"
            ink = style.INK if _sure(row) else style.MUTED
            x = 18 if row.get("indent") else 4
            style.place(fig, x, y, style.clip_text(row["label"], 36), weight=strong, color=ink)
            for key in counts:
                style.place(fig, columns[key], y, numbers.count(row.get(key)), ha="right", color=ink)
            if not _usable(row, log):
                style.place(
                    fig,
                    WIDTH - 4,
                    y,
                    style.clip_text(row.get("note") or "not estimable", 58),
                    ha="right",
                    color=style.MUTED,
                    size=11,
                )
                continue
            text = numbers.interval(row["value"], row["lower"], row["upper"], 2 if log else 3)
            style.place(fig, WIDTH - 4, y, text, ha="right", weight=strong, color=ink)
            _box(ax, i, row, (low, high), finest, log)
        for key in counts:
            style.place(
                fig, columns[key], TOP - 16, "n" if key == "n" else "events", ha="right", color=style.MUTED, size=11
            )
        style.place(fig, WIDTH - 4, TOP - 16, "estimate (interval)", ha="right", color=style.MUTED, size=11)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(f"{title}{' (log axis)' if log else ''}")
        if line and center is not None and low <= center <= high and line == "all patients":
            ax.text(center, -0.62, line, ha="center", va="bottom", size=11, color=style.MUTED, clip_on=False)
        return style.to_svg(fig, salt)


def _sure(row: Mapping[str, Any]) -> bool:
    return row.get("judged", True) is not False


def _box(ax: Any, i: int, row: Mapping[str, Any], limits: tuple[float, float], finest: float, log: bool) -> None:
    colour = style.BASE if not _sure(row) else style.WARN if row.get("state") == "not met" else style.ACCENT
    lower, upper = row.get("lower"), row.get("upper")
    if numbers.is_number(lower) and numbers.is_number(upper):
        a, b = max(lower, limits[0]), min(upper, limits[1])
        ax.plot([a, b], [i, i], color=colour, lw=1.4)
        for out, x, marker in ((lower < limits[0], a, 8), (upper > limits[1], b, 9)):
            if out:
                ax.plot(x, i, marker=marker, color=colour, ms=6, clip_on=False)
    if row.get("overall"):
        ax.plot(row["value"], i, "D", color=colour, ms=8)
        return
    span = _span(row, log)
    size = 4.5 + 5.5 * (math.sqrt(finest / span) if span else 1.0)
    face = colour if _sure(row) else style.PAPER
    ax.plot(min(max(row["value"], limits[0]), limits[1]), i, "s", mec=colour, mfc=face, mew=1.3, ms=min(size, 10))


def _span(row: Mapping[str, Any], log: bool) -> float:
    lower, upper = row.get("lower"), row.get("upper")
    if not numbers.is_number(lower) or not numbers.is_number(upper):
        return 0.0
    return math.log(upper / lower) if log and lower > 0 else upper - lower


def _range(rows: list[dict[str, Any]], center: float | None, log: bool) -> tuple[float, float]:
    # An axis follows the estimates; intervals far beyond them end in an arrow rather than squeeze the rest.
    values = [float(r["value"]) for r in rows if _usable(r, log)]
    ends = [float(r[k]) for r in rows if _usable(r, log) for k in ("lower", "upper") if numbers.is_number(r.get(k))]
    if center is not None:
        values.append(center)
    if not values:
        return (0.5, 2.0) if log else (0.0, 1.0)
    if log:
        ends = [e for e in ends if e > 0]
        low = max(min([*values, *ends]), min(values) / 3)
        high = min(max([*values, *ends]), max(values) * 3)
        pad = max((high / low) ** 0.06, 1.05)
        return low / pad, high * pad
    spread = max(values) - min(values) or 0.1
    low = max(min([*values, *ends]), min(values) - 2 * spread)
    high = min(max([*values, *ends]), max(values) + 2 * spread)
    pad = 0.06 * (high - low or 0.1)
    return low - pad, high + pad
