"""How alike the arms are: standardised differences of the variables, before and after weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import effect_sentences, numbers, style
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, ROW, TOP, LABEL, MOST = 700, 22, 30, 250, 40


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the sizes of standardised differences, the largest first, with the limit as a dashed line.

    Parameters
    ----------
    data : mapping
        The ``balance`` block: rows (label, level, kind, control, active, smd, smd_weighted, missing) and limit; and
        ``arms``: labels of the active and the control arm.
    context : Context

    Returns
    -------
    Figure
    """
    every = list(data["rows"])
    known = [r for r in every if numbers.is_number(r.get("smd"))]
    rows = sorted(known, key=lambda r: -abs(float(r["smd"])))[:MOST]
    limit = float(data["limit"]) if numbers.is_number(data.get("limit")) else 0.1
    weighted = any(numbers.is_number(r.get("smd_weighted")) for r in rows)
    top = TOP if weighted else 8
    body = ROW * max(1, len(rows))
    with style.drawing("love"):
        fig, add = style.canvas(WIDTH, top + body + 50)
        width = WIDTH - LABEL - 84
        ax = add(LABEL, top, width, body)
        sizes = [abs(float(r[k])) for r in rows for k in ("smd", "smd_weighted") if numbers.is_number(r.get(k))]
        ax.set(xlim=(0, 1.08 * max([*sizes, 1.5 * limit])), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        ax.axvline(limit, color=style.FAINT, lw=1, ls=(0, (4, 4)))
        for i, r in enumerate(rows):
            y = top + (i + 0.5) * ROW
            style.place(fig, 4, y, style.clip_text(_label(r), 38))
            before = abs(float(r["smd"]))
            after = r.get("smd_weighted")
            first = style.BASE if weighted else style.ACCENT
            if numbers.is_number(after):
                ax.plot([before, abs(after)], [i, i], color=style.LINE, lw=1.2)
                ax.plot(abs(after), i, "s", ms=6, color=style.ACCENT)
            ax.plot(before, i, "o", ms=6, mec=first, mfc=style.PAPER if weighted else first, mew=1.4)
            last = after if numbers.is_number(after) else r["smd"]
            style.place(fig, WIDTH - 4, y, numbers.fixed(float(last), 2), ha="right")
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color=style.LINE, lw=0.7)
        ax.set_axisbelow(True)
        ax.set_xlabel("Size of the standardised mean difference")
        if weighted:
            _legend(fig, add)
        svg = style.to_svg(fig, "love")
    cut = f" The {MOST} largest are drawn; all are in the table." if len(known) > MOST else ""
    key = " Circles: as assigned; squares: after weighting." if weighted else ""
    said = "; ".join(f"{_label(r)} {numbers.fixed(float(r['smd']), 2)}" for r in rows)
    return Figure(
        svg,
        effect_sentences.balance(data),
        f"Difference of the means of the arms in standard deviations, without its sign; numbers on the right keep it "
        f"(active less control{', after weighting' if weighted else ''}). The dashed line at {limit:g} is a "
        f"convention.{key}{cut}",
        f"Standardised mean differences between the arms. {said}.",
        _table(every, dict(data.get("arms") or {}), weighted),
        WIDTH,
    )


def _label(row: Mapping[str, Any]) -> str:
    label = str(row.get("label") or row.get("name"))
    return f"{label}: {row['level']}" if row.get("level") else label


def _legend(fig: Any, add: Any) -> None:
    for x, text, marker, colour, face in (
        (LABEL, "as assigned", "o", style.BASE, style.PAPER),
        (LABEL + 110, "after weighting", "s", style.ACCENT, style.ACCENT),
    ):
        key = add(x, 5, 12, 12)
        key.axis("off")
        key.plot(0.5, 0.5, marker, mec=colour, mfc=face, mew=1.4, ms=6)
        key.set(xlim=(0, 1), ylim=(0, 1))
        style.place(fig, x + 17, 11, text, color=style.MUTED, size=11)


def _cell(row: Mapping[str, Any], arm: str) -> str:
    found = row.get(arm) or {}
    mean, sd = found.get("mean"), found.get("sd")
    if row.get("kind") == "share":
        return numbers.percent(mean)
    if not numbers.is_number(mean):
        return numbers.ABSENT
    digits = 0 if abs(mean) >= 1000 else 1 if abs(mean) >= 10 else 2
    return numbers.fixed(mean, digits) + (f" ({numbers.fixed(sd, digits)})" if numbers.is_number(sd) else "")


def _table(rows: list[Any], arms: Mapping[str, str], weighted: bool) -> Table:
    missing = any(r.get("missing") for r in rows)
    body: list[list[Cell | str]] = []
    for r in rows:
        lost = r.get("missing") or {}
        line: list[Cell | str] = [_label(r), *(num(_cell(r, a)) for a in ("active", "control"))]
        line += [num(f"{numbers.count(lost.get('active'))} / {numbers.count(lost.get('control'))}")] if missing else []
        line.append(num(numbers.fixed(r.get("smd"), 2), r.get("smd")))
        line += [num(numbers.fixed(r.get("smd_weighted"), 2), r.get("smd_weighted"))] if weighted else []
        body.append(line)
    head = ["Variable", *(str(arms.get(a) or f"{a.capitalize()} arm") for a in ("active", "control"))]
    head += (["Missing (active / control)"] if missing else []) + ["SMD"] + (["SMD, weighted"] if weighted else [])
    return Table(head, body, "Mean (standard deviation) or share by arm", sortable=True)
