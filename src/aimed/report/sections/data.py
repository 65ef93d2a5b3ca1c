"""Section 3: who is in the data, how they got there, and what is missing."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Facts, Heading, Section, Table, num
from aimed.report.sections import notes, pictures, scans, trial_flow


def build(results: view.Results) -> Section:
    """Return the section of the data."""
    block = view.block(results, "data")
    arms = trial_flow.participants(results)
    if not block and not arms:
        return Section("data", "Data", sentences.absent("The data"), (), False)
    block = block or {}
    context = view.context(results)
    dates = block.get("dates") or {}
    what = "Pictures" if block.get("images") else "Scans" if block.get("volumes") else "Rows"
    what = "Notes" if view.notes(results) else what
    facts = [
        ("Source", numbers.number(block.get("source"))),
        (what, numbers.count(block.get("rows"))),
        ("Patients", numbers.count(block.get("patients"))),
    ]
    if dates:
        facts.append(("Dates", f"{numbers.number(dates.get('first'))} to {numbers.number(dates.get('last'))}"))
    if block.get("sites"):
        facts.append(("Sites", numbers.count(len(block["sites"]))))
    facts.append(("SHA-256 of the content", numbers.number(block.get("digest"))))
    blocks: list[Block] = [Facts(facts), *arms] if block else [*arms]
    if block.get("flow") and not arms:
        words = {"events": "with a finding"} if view.multilabel(results) else {}
        words = {"events": "with a region", "row": "scan"} if view.masks(results) else words
        words = {**words, "row": "note"} if view.notes(results) else words
        blocks.append(FIGURES["flow"]({"flow": block["flow"], "parts": block.get("parts"), **words}, context))
    blocks += pictures.files(results) + scans.files(results) + notes.files(results)
    if view.block(results, "effect"):
        blocks += trial_flow.balance(results)
    if (block.get("table1") or {}).get("rows"):
        blocks += [Heading("Table 1: the parts compared"), table1(block["table1"], block.get("parts") or {})]
    missing = [m for m in block.get("missing") or [] if m.get("fraction")]
    if missing:
        blocks.append(FIGURES["missingness"]({"missing": block["missing"]}, context))
    lead = (
        effect_sentences.participants(results["effect"], contrast.question(results)) if arms else sentences.data(block)
    )
    return Section("data", "Data", lead, blocks)


def table1(block: view.Results, parts: view.Results) -> Table:
    """Return Table 1: one row a number, one row a level of a category, grouped under its variable.

    Examples
    --------
    >>> row = {"variable": "age", "label": "Age", "unit": "year", "level": None, "cells": {"train": "62 (14)"},
    ...        "missing": {"train": 2}, "smd": 0.1}
    >>> [c.text for c in table1({"parts": ["train"], "rows": [row]}, {}).cells()[0]]
    ['Age (year)', '62 (14)', '2', '0.10']
    """
    names = [str(p) for p in block.get("parts") or []]
    head = [f"{p} (n = {numbers.count(parts[p]['n'])})" if parts.get(p) else p for p in names]
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    last: Any = None
    for row in block.get("rows") or []:
        title = str(row.get("label") or row.get("variable"))
        title = f"{title} ({row['unit']})" if row.get("unit") else title
        level = row.get("level")
        if level is not None and row.get("variable") != last:
            groups[len(rows)] = sentences.column({"column": row.get("variable"), "label": title})
        first = level is None or row.get("variable") != last
        last = row.get("variable")
        missing = " / ".join(numbers.count((row.get("missing") or {}).get(p)) for p in names) if first else ""
        rows.append(
            [
                title if level is None else Cell(str(level), indent=True),
                *(num(str((row.get("cells") or {}).get(p, numbers.ABSENT))) for p in names),
                num(missing),
                num(numbers.fixed(row["smd"], 2) if numbers.is_number(row.get("smd")) else "", row.get("smd")),
            ]
        )
    return Table(
        ["Variable", *head, f"Missing ({' / '.join(names)})", "SMD"],
        rows,
        "Numbers as the study file asks (mean and standard deviation, or median and quartiles), "
        "categories as count and share. "
        "SMD: standardised mean difference between the parts.",
        groups=groups,
    )
