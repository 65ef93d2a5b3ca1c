"""Section 13: how people work with the model, where a reader study was made."""

from __future__ import annotations

from aimed.report import view
from aimed.report.parts import Section


def build(results: view.Results) -> Section:
    """Return the section of human factors."""
    block = view.block(results, "human_factors")
    if not block:
        lead = "Human factors were not assessed: no reader study is part of this run."
        return Section("human-factors", "Human factors", lead, (), False)
    return Section("human-factors", "Human factors", "A reader study was recorded with this run.", view.record(block))
