"""Who was in which arm: flow of participants, balance of the arms and overlap of their chances of treatment."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, numbers, titles, view
from aimed.report.contrast import Question
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Facts, Heading, Note


def arms_of(results: view.Results) -> dict[str, str]:
    """Return the labels of the arms by key.

    Examples
    --------
    >>> arms_of({"effect": {"estimand": {"treatment": "drug"}}})
    {'active': 'drug', 'control': 'control'}
    """
    asked = contrast.question(results)
    return {"active": asked.active, "control": asked.control}


def participants(results: view.Results) -> list[Block]:
    """Return the flow of participants; empty where it was not recorded.

    Examples
    --------
    >>> participants({"effect": {"flow": None}})
    []
    """
    block = view.block(results, "effect", "flow")
    if not block or not (block.get("arms") or block.get("assigned") is not None):
        return []
    data = {"flow": block, "question": contrast.question(results)}
    return [FIGURES["trial_flow"](data, view.context(results))]


def balance(results: view.Results) -> list[Block]:
    """Return how alike the arms are and how far they overlap.

    Examples
    --------
    >>> [part.text for part in balance({"effect": {"estimand": {"population": "adults"}}})]
    ['Balance of the arms', 'Balance of the arms was not assessed in this run.']
    """
    asked, context = contrast.question(results), view.context(results)
    out: list[Block] = []
    block = view.block(results, "effect", "balance") or {}
    if any(numbers.is_number(r.get("smd")) for r in block.get("rows") or []):
        out += [Heading("Balance of the arms"), FIGURES["love_plot"]({**block, "arms": arms_of(results)}, context)]
        if asked.randomised:
            out.append(Note("In a trial differences between the arms arise by chance; none is tested."))
    else:
        out += [Heading("Balance of the arms"), Note("Balance of the arms was not assessed in this run.", "absent")]
    return out + _overlap(results, asked)


def _overlap(results: view.Results, asked: Question) -> list[Block]:
    block = view.block(results, "effect", "overlap")
    if not block:
        return []
    out: list[Block] = [Heading("Overlap")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    edges = block.get("edges") or []
    spread = [block.get(k) for k in ("lowest", "highest")]
    same = block.get("known") and all(numbers.is_number(s) for s in spread) and spread[1] - spread[0] < 0.01
    if same and not block.get("sentence"):
        out.append(Note(f"{effect_sentences.overlap(block)}."))
    if not same and len(edges) > 1 and all(len(block.get(k) or []) == len(edges) - 1 for k in ("active", "control")):
        out.append(FIGURES["overlap"]({**block, "arms": arms_of(results)}, view.context(results)))
    facts: list[tuple[str, str]] = []
    for key, label in arms_of(results).items():
        size = (block.get("effective") or {}).get(key)
        if numbers.is_number(size):
            of = numbers.count((block.get("n") or {}).get(key))
            facts.append((f"Effective sample size after weighting, {label}", f"{numbers.fixed(size, 0)} of {of}"))
    auc = block.get("auc")
    if auc and numbers.is_number(auc.get("value")):
        facts.append(("How well covariates tell the arms apart (AUROC; 0.5: not at all)", numbers.measure(auc, 2)))
    cut: dict[str, Any] = block.get("trimmed") or {}
    if numbers.is_number(cut.get("low")) and numbers.is_number(cut.get("high")):
        kept = f"{numbers.count(cut.get('kept'))} of {numbers.count(cut.get('n'))} patients"
        limits = f"{numbers.percent(cut['low'], 0)} to {numbers.percent(cut['high'], 0)}"
        facts.append((f"Kept with a chance of treatment of {limits}", kept))
        if cut.get("measure"):
            facts.append((f"{titles.capital(asked.scale().title)} among those", asked.scale().interval(cut["measure"])))
    return [*out, Facts(facts)] if facts else out
