"""What the explanation section says of heat maps: whether to believe them, and whether they point at the finding."""

from __future__ import annotations

from typing import Any

from aimed.report import numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Heading, Note, Section, Table, num

_CHECKS = {
    "parameter_randomisation": "Maps change with random weights",
    "deletion_insertion": "The score follows what is marked",
    "localisation": "The peak lies in the region",
}


def build(results: view.Results) -> Section:
    """Return the section of explanation of a study of pictures."""
    block = view.block(results, "explanation") or {}
    context = view.context(results)
    found = {str(k): f for k, f in (block.get("findings") or {}).items() if isinstance(f, dict)}
    blocks: list[Block] = []
    if block.get("note"):
        blocks.append(Note(str(block["note"])))
    facts = [
        ("Method", numbers.number(block.get("label") or block.get("method"))),
        ("Pictures", numbers.count(block.get("n"))),
        ("Patients", numbers.count(block.get("patients"))),
        ("Networks", str(block.get("network_note") or "")),
    ]
    blocks.append(Facts([f for f in facts if f[1] and f[1] != numbers.ABSENT]))
    if block.get("means"):
        blocks.append(Note(str(block["means"])))
    if found:
        blocks += [Heading("Sanity checks"), _states(found)]
        whole = view.block(block, "sanity", "parameter_randomisation", "sentence")
        if whole:
            blocks.append(Note(f"All findings together: {whole}"))
        placed = {k: f for k, f in found.items() if _pointing(f)}
        if placed:
            blocks += [Heading("Localisation"), _localisation(placed, context), _overlap(placed, context)]
        else:
            why = "no regions were given, so whether the maps point at a finding is not known"
            blocks.append(Note(sentences.absent("Localisation", why, many=False), "absent"))
    if view.block(block, "agreement", "sentence"):
        blocks += [Heading("Other methods"), Note(str(block["agreement"]["sentence"]))]
        rows = [
            [
                str((block["agreement"].get("methods") or {}).get(k) or k),
                num(numbers.measure(m), (m or {}).get("value")),
            ]
            for k, m in (block["agreement"].get("estimates") or {}).items()
            if m
        ]
        if rows:
            blocks.append(Table(["Method", f"Rank correlation of the maps ({context.band})"], rows, wide=False))
    if view.block(block, "sampled", "sentence"):
        blocks.append(Note(str(block["sampled"]["sentence"]), "absent"))
    if view.block(results, "gallery"):
        blocks.append(
            Note("Cases worth looking at, the best, the worst and the least certain: under Failure analysis.")
        )
    lead = str(block.get("sentence") or "") or "Heat maps were made; whether to believe them was not judged."
    return Section("explanation", "Explanation", lead, blocks)


def _states(found: dict[str, Any]) -> Table:
    rows = []
    for key, one in found.items():
        checks = one.get("checks") or {}
        cells = [
            Cell(str((checks.get(name) or {}).get("state") or "not assessed"), "state") for name in _CHECKS
        ]  # fmt: skip
        label = str(one.get("label") or key)
        detail = [("In words", str(one.get("sentence") or ""))]
        detail += [
            (title, str(checks[name]["sentence"]))
            for name, title in _CHECKS.items()
            if (checks.get(name) or {}).get("sentence")
        ]
        more = Cell("In words", detail=[d for d in detail if d[1]]) if any(d[1] for d in detail) else Cell("")
        rows.append(
            [
                label,
                num(numbers.count(one.get("present")), one.get("present")),
                *cells,
                Cell(str(one.get("state") or "not assessed"), "state"),
                more,
            ]
        )
    head = ["Finding", "Pictures with it", *_CHECKS.values(), "To be believed", "Why"]
    return Table(head, rows, "Checks of the heat maps, finding by finding")


def _pointing(one: view.Results) -> Any:
    return view.block(one, "checks", "localisation", "estimates", "pointing")


def _localisation(found: dict[str, Any], context: Context) -> Figure:
    rows: list[dict[str, Any]] = []
    for key, one in found.items():
        check = one["checks"]["localisation"]
        chance = (check.get("chance") or {}).get("pointing")
        points = {"pointing": _pointing(one), "swapped": check.get("swapped") or {}, "chance": {"value": chance}}
        size = numbers.count((_pointing(one) or {}).get("n"))
        rows.append({"label": str(one.get("label") or key), "points": points, "columns": [size]})
    above = sum((one["checks"]["localisation"]).get("state") == "pass" for one in found.values())
    swapped = any((row["points"]["swapped"] or {}).get("value") is not None for row in rows)
    series = {"pointing": "maps of the picture", "swapped": "maps of other patients", "chance": "chance"}
    if not swapped:
        series.pop("swapped")
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": series,
            "columns": ["n"],
            "axis": "Peak of the map inside the region",
            "head": "Finding",
            "title": f"For {above} of {sentences.plural(len(found), 'finding')} the maps point at the region more "
            "often than chance",
            "caption": f"Share of pictures with the finding whose map has its peak inside the region of the reference "
            f"standard; lines are {context.band}s. Chance is the share of the picture that the region takes."
            + (
                " Maps of other patients with the finding say what its usual place alone would give." if swapped else ""
            ),
            "said": "Peak inside the region.",
            "salt": "pointing",
            "percent": True,
        },
        context,
    )
    return figure


def _overlap(found: dict[str, Any], context: Context) -> Table:
    rows = []
    for key, one in found.items():
        check = one["checks"]["localisation"]
        estimates, chance = check.get("estimates") or {}, check.get("chance") or {}
        line: list[Any] = [str(one.get("label") or key)]
        for name in ("inside", "iou"):
            m = estimates.get(name)
            line += [num(numbers.measure(m, 2), (m or {}).get("value")), num(numbers.fixed(chance.get(name), 2))]
        rows.append([*line, Cell(str(check.get("state") or ""), "state")])
    head = ["Finding", f"Share of the map inside ({context.band})", "Chance", "Overlap (IoU)", "Chance", "State"]
    return Table(head, rows, "How much of the map lies in the region, and how well their outlines agree")
