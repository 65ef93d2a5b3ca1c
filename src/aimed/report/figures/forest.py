"""Forest plots: subgroup estimates or odds and hazard ratios, with aligned columns and boxes sized by precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aimed.report import names, numbers, sentences, style, titles
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, ROW, TOP, LABEL, ESTIMATE = 760, 25, 34, 230, 168
WIDE, STEP, P = 900, 128, 54
MOST, EXTREME = 60, 50.0
"""Rows of a drawing; a model with more terms has the rest in the table."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw a forest plot.

    Parameters
    ----------
    data : mapping
        Either ``subgroups`` (the block) with ``measure`` (a name), ``overall`` (the measure of all) and, where they are
        not events, what ``events`` are called; or ``ratios`` (the coefficients) with ``ratio_name``. ``salt`` names
        the drawing.
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
    # The criterion, and so the state of a group, is one of the primary measure.
    judges = name == (block.get("primary") or name)
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
                    "state": str(group.get("state") or "") if judges else "",
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
    called = str(data.get("events") or "events")
    digits = words.digits
    svg = _plot(rows, title, center, line, log, str(data.get("salt") or "forest"), ("n", "events"), called, digits)
    body = [r for r in rows if "label" in r]
    table = Table(
        ["Group", "n", called.capitalize(), f"{title} ({context.band})", *(["State"] if judges else [])],
        [
            [
                r["label"] if r.get("overall") else f"{r['column']}: {r['label']}",
                num(numbers.count(r["n"]), r["n"]),
                num(numbers.count(r["events"]), r["events"]),
                num(numbers.interval(r["value"], r["lower"], r["upper"], digits), r["value"]),
                *([Cell(r["state"], "state") if r["state"] else Cell("")] if judges else []),
            ]
            for r in body
        ],
        sortable=True,
    )
    shown = {**block, "primary": name}
    said = "; ".join(
        f"{r['label']} {numbers.interval(r['value'], r['lower'], r['upper'], digits)}, n {numbers.count(r['n'])}"
        for r in body
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
            "per": _step(r.get("per")),
            "value": r.get("ratio"),
            "lower": r.get("ratio_lower"),
            "upper": r.get("ratio_upper"),
            "p": numbers.p_value(r["p"]) if numbers.is_number(r.get("p")) else "",
            "state": "",
            "cause": str(r.get("cause_label") or ""),
        }
        for r in given
    ]
    shown, left_out = _farthest(rows)
    svg = _plot(_by_cause(shown), _capital(ratio), 1.0, "1", True, str(data.get("salt") or "ratios"), ())
    tested, stepped = any(r["p"] for r in rows), any(r["per"] for r in rows)
    notes = list(dict.fromkeys(str(r["note"]) for r in given if r.get("note")))
    head = ["Term", "For a difference of"] if stepped else ["Term"]
    head += [f"{_capital(ratio)} ({context.band})", "Coefficient (interval)"]
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
    known = [r for r in shown if _usable(r, True)]
    bounded = [r for r in known if _span(r, True)]
    kind = (
        f"with {context.band}s, on a log axis; the dashed line at 1 means no association. Box area grows with "
        "precision."
        if bounded
        else "on a log axis, without intervals; the dashed line at 1 means no association."
    )
    low, high = _range(shown, 1.0, True)
    ends = (r[k] for r in known for k in ("value", "lower", "upper") if numbers.is_number(r[k]))
    some = " Open boxes have no interval." if bounded and len(bounded) < len(known) else ""
    arrows = " Arrows: the line goes on beyond the axis." if any(e < low or e > high for e in ends) else ""
    rest = (
        f" Shown are the {len(shown)} of {len(rows)} terms farthest from 1; all are in the table." if left_out else ""
    )
    said = "; ".join(f"{r['label']} {numbers.ratio_interval(r['value'], r['lower'], r['upper'])}" for r in shown)
    return Figure(
        svg,
        titles.ratios(given, ratio),
        f"{_capital(ratio)}s of the terms of the model {kind}{some}{arrows}{rest}{parts}{said_once} Ratios describe "
        "the model and are not causal effects.",
        f"Forest plot of {ratio}s. {said}.",
        table,
        WIDE if stepped or tested else WIDTH,
    )


def _step(per: object) -> str:
    text = numbers.step(per) if per not in (None, "") else ""
    return "vs the reference" if text.startswith("against the reference") else text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _by_cause(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the terms of each kind of event under its name, where a model has hazards for several."""
    out: list[dict[str, Any]] = []
    last = ""
    for row in rows:
        cause = row["cause"]
        if cause and cause != last:
            out.append({"heading": cause})
            last = cause
        out.append({**row, "label": row["label"].removesuffix(f" ({cause})"), "indent": True} if cause else row)
    return out


def _farthest(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows to draw, in their order, and whether some were left to the table."""
    if len(rows) <= MOST:
        return rows, False

    def distance(k: int) -> float:
        return abs(math.log(rows[k]["value"])) if _usable(rows[k], True) else -1.0

    kept = set(sorted(range(len(rows)), key=distance, reverse=True)[:MOST])
    return [r for k, r in enumerate(rows) if k in kept], True


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
    events: str = "events",
    digits: int = 3,
) -> str:
    body = ROW * len(rows)
    columns = {"n": LABEL + 46, "events": LABEL + 106}
    stepped, tested = any(r.get("per") for r in rows), any(r.get("p") for r in rows)
    whole = WIDE if stepped or tested else WIDTH
    left = LABEL + (132 if counts else STEP + 36 if stepped else 20)
    ends = whole - 4 - (P if tested else 0)
    width = ends + 4 - left - ESTIMATE
    with style.drawing(salt):
        fig, add = style.canvas(whole, TOP + body + 56)
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
            if row.get("per"):
                style.place(fig, LABEL + 18, y, style.clip_text(row["per"], 22), color=style.MUTED, size=11)
            for key in counts:
                style.place(fig, columns[key], y, numbers.count(row.get(key)), ha="right", color=ink)
            if not _usable(row, log):
                style.place(
                    fig,
                    ends,
                    y,
                    style.clip_text(row.get("note") or "not estimable", 58),
                    ha="right",
                    color=style.MUTED,
                    size=11,
                )
                continue
            ends_of = (row["value"], row["lower"], row["upper"])
            text = numbers.ratio_interval(*ends_of) if log else numbers.interval(*ends_of, digits)
            style.place(fig, ends, y, text, ha="right", weight=strong, color=ink)
            if row.get("p"):
                style.place(fig, whole - 4, y, row["p"], ha="right", color=ink)
            _box(ax, i, row, (low, high), finest, log)
        for key in counts:
            style.place(
                fig, columns[key], TOP - 16, "n" if key == "n" else events, ha="right", color=style.MUTED, size=11
            )
        header = "estimate (interval)" if any(_span(r, log) for r in rows) else "estimate"
        heads = [(ends, header, "right")]
        heads += [(LABEL + 18, "for a difference of", "left")] if stepped else []
        heads += [(whole - 4, "p", "right")] if tested else []
        for x, text, side in heads:
            style.place(fig, x, TOP - 16, text, ha=side, color=style.MUTED, size=11)
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
        a, b = (min(max(e, limits[0]), limits[1]) for e in (lower, upper))
        ax.plot([a, b], [i, i], color=colour, lw=1.4)
        for out, x, marker in ((lower < limits[0], a, 8), (upper > limits[1], b, 9)):
            if out:
                ax.plot(x, i, marker=marker, color=colour, ms=6, clip_on=False)
    if row.get("overall"):
        ax.plot(row["value"], i, "D", color=colour, ms=8)
        return
    if not limits[0] <= row["value"] <= limits[1]:
        x, marker = (limits[0], 8) if row["value"] < limits[0] else (limits[1], 9)
        ax.plot(x, i, marker=marker, color=colour, ms=9, clip_on=False)
        return
    span = _span(row, log)
    size = 4.5 + 5.5 * math.sqrt(finest / span) if span else 6.5
    face = colour if _sure(row) and span else style.PAPER
    ax.plot(row["value"], i, "s", mec=colour, mfc=face, mew=1.3, ms=min(size, 10))


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
        # A separated term has an estimate without bound; it must not flatten the others.
        values = [min(max(v, 1 / EXTREME), EXTREME) for v in values]
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
