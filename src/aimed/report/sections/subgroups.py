"""Section 8: performance by group, with three states, so that a small group is never a silent pass."""

from __future__ import annotations

from typing import Any

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Heading, Note, Section, Table, num
from aimed.report.sections import effect_subgroups


def build(results: view.Results) -> Section:
    """Return the section of subgroups and fairness."""
    title = "Subgroups and fairness"
    block = view.block(results, "subgroups")
    if view.effect(results):
        return effect_subgroups.build(results)
    if not block or not block.get("columns"):
        why = "" if not block else "the study file names no subgroup column"
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
            "events": "positive" if view.multilabel(results) else "with a region" if view.masks(results) else "events",
        }
        blocks.append(FIGURES["forest"](data, view.context(results)))
    called = "With a finding" if view.multilabel(results) else "Events"
    called = "With a region" if view.masks(results) else called
    blocks += [Heading("State of each group"), states(block, unit, called)]
    gaps = _gaps(block, unit)
    if gaps:
        blocks += [Heading("Gaps between groups"), gaps]
    notes = _notes(block, view.masks(results))
    if notes:
        blocks.append(Note(notes))
    return Section("subgroups", title, sentences.subgroups(block, unit), blocks)


def _notes(block: view.Results, outlines: bool) -> str:
    # What the page already says in its own words is left out of the note that came with the run.
    few, none = block.get("min_events"), block.get("min_nonevents")
    said = []
    if numbers.is_number(few):
        other = f" or {sentences.plural(none, 'non-event')}" if numbers.is_number(none) and none > 0 else ""
        what = ("scan with a region", "scans with a region") if outlines else ("event", "")
        said.append(f"Groups with fewer than {sentences.plural(few, *what)}{other} are not judged.")
    if any(isinstance(g.get("n"), str) for c in block.get("columns") or [] for g in c.get("groups") or []):
        said.append("The smallest groups are not described, so that no patient can be found.")
    known = ("Groups with fewer than", "Intervals of gaps")
    given = str(block.get("note") or "").replace(". ", ".\n").split("\n")
    return " ".join([*said, *(s for s in given if s and not s.startswith(known))])


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def states(block: view.Results, unit: str, events: str = "Events") -> Table:
    """Return the table of states: one row a group, grouped by column."""
    primary = str(block.get("primary") or "")
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for column in block.get("columns") or []:
        groups[len(rows)] = sentences.column(column)
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
    head = ["Group", "n", events, names.title(primary, unit), "State", "Why"]
    return Table(head, rows, groups=groups)


def _gaps(block: view.Results, unit: str) -> Table | None:
    rows: list[list[Any]] = []
    for column in block.get("columns") or []:
        gaps = {str(k): g for k, g in (column.get("gap") or {}).items() if g}
        label = sentences.column(column)
        if gaps and not any(numbers.is_number(g.get("value")) for g in gaps.values()):
            why = " ".join(dict.fromkeys(str(g["note"]) for g in gaps.values() if g.get("note")))
            rows.append([label, "all measures", num("not estimable"), num(""), why])
            continue
        for name, gap in gaps.items():
            p = (column.get("p_holm") or {}).get(name)
            rows.append(
                [
                    label,
                    names.title(name, unit),
                    num(numbers.measure(gap), gap.get("value")),
                    num(numbers.p_value(p) if numbers.is_number(p) else "", p),
                    str(gap.get("note") or ""),
                ]
            )
    if not rows:
        return None
    tested, noted = any(r[3].text for r in rows), any(r[4] for r in rows)
    kept = [0, 1, 2, *([3] if tested else []), *([4] if noted else [])]
    head = ["Column", "Measure", "Largest gap (interval)", "p (Holm)", "Groups"]
    caption = "Gap between the best and the worst group that is judged. Its interval holds for all pairs of groups of "
    caption += "the column at once (Bonferroni)"
    if tested:
        caption += ". p: all judged groups of the column share one value, adjusted over the columns by Holm's method"
    return Table([head[i] for i in kept], [[r[i] for i in kept] for r in rows], caption)
