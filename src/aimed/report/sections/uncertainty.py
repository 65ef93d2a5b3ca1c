"""Section 7: how wide the intervals are, how much training flattered the model, and whether refitting changes it."""

from __future__ import annotations

from aimed.report import effect_sentences, names, numbers, sentences, view
from aimed.report.parts import Block, Facts, Heading, Note, Section
from aimed.report.sections.sensitivity import placebos, sensitivity


def build(results: view.Results) -> Section:
    """Return the section of uncertainty and stability."""
    title = "Uncertainty and stability"
    perf, stability = view.block(results, "performance"), view.block(results, "stability")
    optimism = view.block(results, "model", "optimism")
    doubts = [*sensitivity(results), *placebos(results)]
    if not (perf or stability or optimism or doubts):
        return Section("uncertainty", title, sentences.absent("Uncertainty"), (), False)
    name, _ = view.primary(results)
    unit = view.unit(results)
    blocks: list[Block] = [*doubts]
    if perf and not view.effect(results):
        facts = [
            ("Intervals", numbers.number(perf.get("interval_method"))),
            ("Draws", numbers.count(perf.get("draws"))),
            ("Patients resampled", numbers.count(perf.get("patients"))),
        ]
        blocks.append(Facts(facts))
    if optimism:
        blocks += [Heading("Optimism"), Facts(optimism_facts(optimism, name, unit))]
    if stability:
        blocks.append(Heading("Stability when other patients train the model"))
        blocks += _stability(stability)
    else:
        blocks.append(Note(sentences.absent("Stability under refitting"), "absent"))
    if view.effect(results):
        lead = effect_sentences.sensitivity(results.get("effect") or {})
        return Section("uncertainty", title, lead or sentences.absent("Sensitivity", many=False), blocks)
    return Section("uncertainty", title, sentences.uncertainty(perf, name, optimism, unit), blocks)


def optimism_facts(block: view.Results, name: str, unit: str = "day") -> list[tuple[str, str]]:
    """Return how much the training data flatter the model, as terms with values.

    Examples
    --------
    >>> optimism_facts({"optimism": 0.01, "corrected": {"value": 0.81}, "draws": 9}, "auroc")[:2]
    [('Optimism', '0.010'), ('AUROC corrected for optimism', '0.810')]
    """
    metric = names.title(str((block.get("corrected") or {}).get("name") or name), unit)
    facts = [
        (f"Apparent {metric} (training part)", numbers.measure(block.get("apparent"))),
        ("Optimism", numbers.fixed(block.get("optimism"))),
        (f"{metric} corrected for optimism", numbers.measure(block.get("corrected"))),
        ("Refits on draws of patients", numbers.count(block.get("draws"))),
    ]
    return [f for f in facts if f[1] != numbers.ABSENT]


_STABLE = ("draws", "mean_absolute_difference", "share_above_0_1", "note")


def _stability(block: view.Results) -> list[Block]:
    out: list[Block] = []
    sentence = sentences.stability(block)
    if sentence:
        note = f" {block['note']}" if block.get("note") else ""
        out.append(Note(f"{sentence}{note}"))
        facts = [
            ("Refits", numbers.count(block.get("draws"))),
            ("Mean absolute difference of risk", numbers.measure(block.get("mean_absolute_difference"))),
            ("Patients with a mean difference above 0.1", numbers.percent(block.get("share_above_0_1"))),
        ]
        out.append(Facts([f for f in facts if f[1] != numbers.ABSENT]))
    rest = {k: v for k, v in block.items() if not sentence or k not in _STABLE}
    return out + view.record(rest)
