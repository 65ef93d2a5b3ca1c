"""Section 14: what the model needs, when it must refuse, and where it must not be used."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Heading, Items, Section, Table
from aimed.report.sections import scans
from aimed.report.sections.policy import policy


def build(results: view.Results) -> Section:
    """Return the section of deployment limits."""
    title = "Deployment limits"
    block = view.block(results, "limits")
    worth = policy(results)
    said = str(view.block(results, "effect", "policy", "sentence") or "") if worth else ""
    if not block and worth:
        lead = f"{said} {sentences.absent('Deployment limits')}".strip()
        return Section("deployment", title, lead, worth)
    if not block:
        return Section("deployment", title, sentences.absent("Deployment limits"), (), False)
    blocks: list[Block] = []
    if block.get("inputs"):
        rows = [
            [
                str(i.get("label") or i.get("name")),
                str(i.get("name") or ""),
                numbers.number(i.get("unit")),
                allowed(i),
                "required" if i.get("required") else "may be missing",
            ]
            for i in block["inputs"]
        ]
        blocks.append(Table(["Input", "Name", "Unit", "Allowed", ""], rows, "Inputs", sortable=True))
    if block.get("refusals"):
        for rules, head, caption in (
            (sentences.refusals(block), "The model refuses to answer when", "Refusal rules"),
            (sentences.warnings(block), "The model answers, and warns, when", "Warnings"),
        ):
            rows = [[str(r.get("code") or ""), str(r.get("reason") or "").removeprefix(sentences.WARNS)] for r in rules]
            rows = [[code, why[:1].upper() + why[1:]] for code, why in rows]
            if rows:
                blocks.append(Table(["Code", head], rows, caption, wide=False))
    blocks += scans.seen(results)
    if block.get("limitations"):
        blocks += [Heading("Limitations"), Items([str(t) for t in block["limitations"]])]
    return Section("deployment", title, f"{said} {sentences.deployment(block)}".strip(), [*worth, *blocks])


def allowed(item: view.Results) -> str:
    """Return the range or the categories that an input may have.

    Examples
    --------
    >>> allowed({"range": [18, 110]}), allowed({"categories": ["no", "yes"]}), allowed({})
    ('18 to 110', 'no, yes', 'any')
    >>> allowed({"kind": "picture", "categories": ["AP", "PA"]})
    'views: AP, PA'
    """
    if item.get("kind") == "volume" and item.get("categories"):
        return ", ".join(str(c) for c in item["categories"])
    if item.get("kind") == "picture":
        views = [str(c) for c in item.get("categories") or []]
        return f"views: {', '.join(views)}" if views else "any"
    limits = item.get("range")
    if limits and len(limits) == 2:
        return f"{numbers.number(limits[0])} to {numbers.number(limits[1])}"
    return numbers.number(list(item["categories"])) if item.get("categories") else "any"
