"""Section 10: what happens when inputs are shifted, damaged or out of range."""

from __future__ import annotations

from aimed.report import sentences, view
from aimed.report.parts import Block, Note, Section
from aimed.report.sections import pictures, scans
from aimed.report.sections.shortcuts import shortcuts


def build(results: view.Results) -> Section:
    """Return the section of robustness, out-of-distribution inputs and refusals."""
    title = "Robustness and refusals"
    block = view.block(results, "robustness")
    refusals = sentences.refusals(view.block(results, "limits") or {})
    blocks: list[Block] = []
    if refusals:
        verb = "is" if len(refusals) == 1 else "are"
        blocks.append(
            Note(f"{sentences.plural(len(refusals), 'rule')} to refuse an input {verb} listed under Deployment limits.")
        )
    if view.masks(results):
        shown = [*scans.changed(results), *scans.doubt(results)]
        if not block and shown:
            why = sentences.absent("Robustness to worse scans", many=False)
            shown.append(Note(why, "absent"))
        if not view.block(results, "quality") and shown:
            why = sentences.absent("Whether the model knows when an outline is poor", many=False)
            shown.append(Note(why, "absent"))
        if shown:
            return Section("robustness", title, sentences.scans(results), [*shown, *blocks])
    shown = [*shortcuts(results), *pictures.changed(results), *pictures.sets(results), *pictures.doubt(results)]
    if shown:
        words = ("notes", "F1") if view.notes(results) else ()
        return Section("robustness", title, sentences.pictures(results, *words), [*shown, *blocks])
    if not block:
        lead = sentences.absent("Robustness to shifted or damaged inputs", many=False)
        return Section("robustness", title, lead, blocks, False)
    tests = sum(len(v) for v in block.values() if isinstance(v, list))
    lead = (
        f"{sentences.plural(tests, 'robustness test')} were recorded."
        if tests
        else "Robustness was recorded as follows."
    )
    return Section("robustness", title, lead, [*view.record(block), *blocks])
