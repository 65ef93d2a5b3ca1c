"""Effects by baseline risk, before any model of effects: the first step that the PATH statement asks for."""

from __future__ import annotations

from aimed.report import contrast, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Heading, Note


def risk_quarters(results: view.Results) -> list[Block]:
    """Return the effects in groups of rising baseline risk; empty where there are none.

    Examples
    --------
    >>> risk_quarters({"effect": {"risk_quarters": {"rows": []}}})
    []
    """
    block = view.block(results, "effect", "risk_quarters") or {}
    if not block.get("rows"):
        return []
    data = {**block, "question": contrast.question(results)}
    out: list[Block] = [Heading("By baseline risk"), FIGURES["risk_quarters"](data, view.context(results))]
    said = (block.get("trend") or {}).get("sentence")
    return [*out, Note(str(said))] if said else out
