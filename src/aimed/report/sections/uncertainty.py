"""Section 7: how wide the intervals are, how much training flattered the model, and whether refitting changes it."""

from __future__ import annotations

from aimed.report import names, numbers, sentences, view
from aimed.report.parts import Block, Facts, Note, Section


def build(results: view.Results) -> Section:
    """Return the section of uncertainty and stability."""
    title = "Uncertainty and stability"
    perf, stability = view.block(results, "performance"), view.block(results, "stability")
    optimism = view.block(results, "model", "optimism")
    if not (perf or stability or optimism):
        return Section("uncertainty", title, sentences.absent("Uncertainty", view.no_block("performance")), (), False)
    name, _ = view.primary(results)
    unit = view.unit(results)
    blocks: list[Block] = []
    facts = []
    if perf:
        facts = [
            ("Intervals", numbers.number(perf.get("interval_method"))),
            ("Draws", numbers.count(perf.get("draws"))),
            ("Patients resampled", numbers.count(perf.get("patients"))),
        ]
    if optimism:
        metric = names.title(str((optimism.get("corrected") or {}).get("name") or name), unit)
        facts += [
            (f"Apparent {metric} (on training data)", numbers.measure(optimism.get("apparent"))),
            ("Optimism", numbers.fixed(optimism.get("optimism"))),
            (f"{metric} corrected for optimism", numbers.measure(optimism.get("corrected"))),
        ]
    if facts:
        blocks.append(Facts(facts))
    if stability:
        blocks += view.record(stability, "Stability when the model is fitted again")
    else:
        blocks.append(Note(sentences.absent("Stability under refitting", view.no_block("stability")), "absent"))
    return Section("uncertainty", title, sentences.uncertainty(perf, name, optimism, unit), blocks)
