"""Section 12: the groups of patients in whom the model errs most."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Note, Section, Table, num
from aimed.report.sections import contrasts, notes, pictures


def build(results: view.Results) -> Section:
    """Return the section of failure analysis."""
    block = view.block(results, "failures")
    errors = notes.browser(results)
    if errors:
        return Section("failures", "Failure analysis", notes.failing(results), errors)
    gallery = pictures.cases(results) or contrasts.cases(results)
    if gallery and not block and view.masks(results):
        lead = "No rule was sought where errors gather; the worst, the median and the best scans are listed."
        return Section("failures", "Failure analysis", lead, gallery)
    if gallery and not block:
        lead = "No rule was sought where errors gather; the best, the worst and the least certain cases are listed."
        return Section("failures", "Failure analysis", lead, gallery)
    if not block:
        return Section("failures", "Failure analysis", sentences.absent("Failures"), (), False)
    rows = [
        [
            str(g.get("rule") or ""),
            num(numbers.count(g.get("n")), g.get("n")),
            num(numbers.count(g.get("events")), g.get("events")),
            num(numbers.fixed(g.get("error")), g.get("error")),
            num(numbers.percent(g.get("share")), g.get("share")),
        ]
        for g in block.get("groups") or []
    ]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(["Where", "n", "Events", "Mean error", "Share of the error"], rows, sortable=True))
    if block.get("note"):
        blocks.append(Note(str(block["note"])))
    return Section("failures", "Failure analysis", sentences.failures(block), [*blocks, *gallery])
