"""How far the effect can be trusted: hidden confounding, missing outcomes, and effects where there can be none."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, names, numbers, view
from aimed.report.contrast import Scale, bounds
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Facts, Heading, Note, Table, num


def sensitivity(results: view.Results) -> list[Block]:
    """Return what a hidden confounder or missing outcomes would change; empty where it was not looked at.

    Examples
    --------
    >>> [part.type for part in sensitivity({"effect": {"sensitivity": {"e_value": {"estimate": 2.1, "limit": 1.4}}}})]
    ['heading', 'facts']
    """
    block = view.block(results, "effect", "sensitivity")
    if not block:
        return []
    asked = contrast.question(results)
    out: list[Block] = [Heading("Sensitivity to what was not measured")]
    value: dict[str, Any] = block.get("e_value") or {}
    if value.get("sentence"):
        out.append(Note(str(value["sentence"])))
    facts = [
        ("E-value of the estimate", numbers.ratio(value.get("estimate"))),
        ("E-value of the limit nearest to no effect", numbers.ratio(value.get("limit"))),
        ("Scale", numbers.number(value.get("scale")).replace("_", " ")),
    ]
    facts = [f for f in facts if f[1] != numbers.ABSENT]
    if facts:
        out.append(Facts(facts))
    grid: dict[str, Any] = block.get("grid") or {}
    if all(grid.get(k) for k in ("exposure", "outcome", "adjusted")):
        name = str(grid.get("name") or ("risk_ratio" if asked.kind == "risk" else asked.contrast))
        found = bounds(_estimate(results, name))[0]
        data = {**grid, "scale": asked.scale(name), "estimate": found}
        out.append(FIGURES["bias_grid"](data, view.context(results)))
    strength: dict[str, Any] = block.get("robustness") or {}
    if strength:
        out.append(Heading("How strong a hidden confounder must be"))
        out += [Note(str(strength["sentence"]))] if strength.get("sentence") else []
        facts = [(title, numbers.percent(strength.get(key))) for key, title in _STRENGTHS]
        beside = strength.get("benchmark") or {}
        if beside.get("covariate"):
            left = asked.additive.interval({**beside, "value": beside.get("effect")})
            facts.append((f"Effect left by a confounder as strong as {beside['covariate']}", left))
        facts = [f for f in facts if f[1] != numbers.ABSENT]
        out += [Facts(facts)] if facts else []
    lost: dict[str, Any] = block.get("missing") or {}
    if lost:
        out.append(Heading("Missing outcomes"))
        out += [Note(str(lost["sentence"]))] if lost.get("sentence") else []
        out += view.record({k: v for k, v in lost.items() if k != "sentence"})
    return out


_STRENGTHS = (
    ("value", "Share of treatment and outcome it must explain to leave nothing"),
    ("limit", "The same for the interval to reach no effect"),
    ("partial_r2", "Share of the outcome that treatment explains"),
)


def _estimate(results: view.Results, name: str) -> Any:
    rows = view.block(results, "effect", "average") or []
    chosen: dict[str, Any] = next((r for r in rows if r.get("primary")), {})
    return (chosen.get("measures") or {}).get(name) or (view.block(results, "effect", "crude") or {}).get(name)


def placebos(results: view.Results) -> list[Block]:
    """Return the effects that were sought where there can be none; empty where none was.

    Examples
    --------
    >>> placebos({"effect": {"placebos": []}})
    []
    """
    found = [p for p in view.block(results, "effect", "placebos") or [] if p]
    if not found:
        return []
    asked = contrast.question(results)
    rejected = any(numbers.is_number(p.get("rejected")) for p in found)
    rows = []
    for p in found:
        measure = p.get("measure") or {}
        name = str(measure.get("name") or "").partition("@")[0]
        # A negative control is on a scale of its own.
        scale = asked.scale(name) if name in names.MEASURES or not name else Scale(name, "number")
        row: list[Any] = [
            str(p.get("title") or p.get("name")),
            num(scale.interval(p.get("measure")), measure.get("value")),
            num(numbers.count(p.get("draws")), p.get("draws")),
            num(numbers.percent(p.get("rejected")), p.get("rejected")),
            num(numbers.p_value(p.get("p")), p.get("p")),
            str(p.get("sentence") or ""),
        ]
        rows.append(row if rejected else [*row[:3], *row[4:]])
    head = ["Placebo", "Effect (interval)", "Draws", *(["Rejected at 5%"] if rejected else []), "p", "What it says"]
    caption = "Effects where there can be none: an effect here would mean that the analysis makes effects"
    return [Heading("Placebos"), Table(head, rows, caption)]
