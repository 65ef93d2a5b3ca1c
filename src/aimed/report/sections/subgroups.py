"""Section 8: performance by group, with three states, so that a small group is never a silent pass."""

from __future__ import annotations

from typing import Any

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Heading, Note, Section, Table, num

_CORRECTED = {"holm": "Holm's method", "bonferroni": "Bonferroni's method", "none": ""}


def build(results: view.Results) -> Section:
    """Return the section of subgroups and fairness."""
    title = "Subgroups and fairness"
    block = view.block(results, "subgroups")
    if not block or not block.get("columns"):
        why = view.no_block("subgroups") if not block else "the study file names no subgroup column"
        return Section("subgroups", title, sentences.absent("Subgroups", why), (), False)
    unit = view.unit(results)
    blocks: list[Block] = []
    names_shown = [str(m) for m in block.get("measures") or [block.get("primary")] if m]
    for name in names_shown[:3]:
        data = {
            "subgroups": block,
            "measure": name,
            "overall": view.measures(results).get(name),
            "salt": f"forest-{_slug(name)}",
        }
        blocks.append(FIGURES["forest"](data, view.context(results)))
    blocks += [Heading("State of each group"), states(block, unit)]
    gaps = _gaps(block, unit)
    if gaps:
        blocks += [Heading("Gaps between groups"), gaps]
    notes = []
    method = _CORRECTED.get(str(block.get("multiplicity") or "none"), str(block.get("multiplicity")))
    if method:
        notes.append(f"Many groups are compared at once; multiplicity was handled with {method}.")
    if block.get("note"):
        notes.append(str(block["note"]))
    blocks += [Note(n) for n in notes]
    return Section("subgroups", title, sentences.subgroups(block, unit), blocks)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def states(block: view.Results, unit: str) -> Table:
    """Return the table of states: one row a group, grouped by column."""
    primary = str(block.get("primary") or "")
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for column in block.get("columns") or []:
        groups[len(rows)] = str(column.get("label") or column.get("column"))
        for g in column.get("groups") or []:
            measure = (g.get("measures") or {}).get(primary) or {}
            rows.append(
                [
                    Cell(str(g.get("group")), indent=True),
                    num(numbers.count(g.get("n")), g.get("n")),
                    num(numbers.count(g.get("events")), g.get("events")),
                    num(numbers.measure(measure) if measure else numbers.ABSENT, measure.get("value")),
                    Cell(str(g.get("state") or "no criterion"), "state"),
                    str(g.get("why") or measure.get("note") or ""),
                ]
            )
    head = ["Group", "n", "Events", names.title(primary, unit), "State", "Why"]
    return Table(head, rows, groups=groups)


def _gaps(block: view.Results, unit: str) -> Table | None:
    rows: list[list[Any]] = []
    for column in block.get("columns") or []:
        for name, gap in (column.get("gap") or {}).items():
            if gap:
                label = str(column.get("label") or column.get("column"))
                rows.append(
                    [
                        label,
                        names.title(str(name), unit),
                        num(numbers.measure(gap), gap.get("value")),
                        str(gap.get("note") or ""),
                    ]
                )
    if not rows:
        return None
    noted = any(row[3] for row in rows)
    return Table(
        ["Column", "Measure", "Largest gap (interval)", "Note"][: 4 if noted else 3],
        [r[: 4 if noted else 3] for r in rows],
    )
