"""Section 15: each reporting guideline item by item, with its state, its text and a link to the evidence."""

from __future__ import annotations

from aimed.report import sentences, view
from aimed.report.parts import Block, Cell, Heading, Note, Section, Table
from aimed.report.sections import SECTIONS

_HOMES = {
    "study": "verdict",
    "verdict": "verdict",
    "checks": "checks",
    "split": "checks",
    "data": "data",
    "outcome": "outcome",
    "model": "model",
    "performance": "performance",
    "stability": "uncertainty",
    "subgroups": "subgroups",
    "explanation": "explanation",
    "failures": "failures",
    "limits": "deployment",
    "reproduce": "reproduce",
    "checklists": "checklists",
    "robustness": "robustness",
    "shortcuts": "robustness",
    "conformal": "robustness",
    "case_uncertainty": "robustness",
    "gallery": "failures",
    "human_factors": "human-factors",
    "effect": "performance",
    "effect.estimand": "verdict",
    "effect.flow": "data",
    "effect.balance": "data",
    "effect.overlap": "data",
    "effect.arms": "outcome",
    "effect.crude": "outcome",
    "effect.curves": "outcome",
    "effect.subgroups": "subgroups",
    "effect.sensitivity": "uncertainty",
    "effect.placebos": "uncertainty",
    "effect.patients": "explanation",
    "effect.policy": "deployment",
}
"""First key or keys of a path into the results → section that shows it."""

_RANK = {"missing": 0, "drafted": 1, "filled": 2, "not applicable": 3}


def build(results: view.Results) -> Section:
    """Return the section of checklists."""
    block = view.block(results, "checklists")
    if not block:
        return Section("checklists", "Checklists", sentences.absent("Checklists"), (), False)
    blocks: list[Block] = []
    for name, one in block.items():
        if not one:
            continue
        title = str(one.get("title") or name)
        version = f" ({one['version']})" if one.get("version") else ""
        blocks.append(Heading(f"{title}{version}"))
        rows = [
            [
                str(i.get("item") or ""),
                str(i.get("section") or ""),
                str(i.get("asks") or ""),
                Cell(str(i.get("state") or ""), "state", sort=_RANK.get(str(i.get("state")))),
                str(i.get("text") or ""),
                link(str(i.get("evidence") or "")),
            ]
            for i in one.get("items") or []
        ]
        blocks.append(
            Table(["Item", "Part", "What is asked", "State", "What this study says", "Evidence"], rows, sortable=True)
        )
        source = ". ".join(str(one[k]) for k in ("source", "licence") if one.get(k))
        if source:
            blocks.append(Note(f"Source: {source}."))
    return Section("checklists", "Checklists", sentences.checklists(block), blocks)


def link(evidence: str) -> Cell:
    """Return the evidence of an item as a link to the section that shows it, where there is one.

    Examples
    --------
    >>> link("#data").href, link("model.preparation").href, link("elsewhere").href
    ('#data', '#model', '')
    """
    keys = evidence.lstrip("#").replace("/", ".").strip(".").split(".")
    key, deeper = keys[0], ".".join(keys[:2])
    found = _HOMES.get(deeper, _HOMES.get(key, ""))
    home = key if evidence.startswith("#") and key in SECTIONS.entries() else found
    return Cell(evidence, href=f"#{home}" if home else "")
