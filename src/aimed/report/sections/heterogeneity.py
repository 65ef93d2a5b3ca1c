"""Is it real: whether effects are shown to differ between patients, every model beside one effect for everyone."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, names, numbers, titles, view
from aimed.report.contrast import Question, Scale, bounds
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Facts, Heading, Note, Table, num

_STATES = {
    "evidence": "effects are shown to differ",
    "no evidence": "no evidence of heterogeneity",
    "not enough evidence": "not enough evidence to tell",
}


def heterogeneity(results: view.Results) -> list[Block]:
    """Return the evidence on differences between patients, or one line that it was not looked at.

    Examples
    --------
    >>> [part.type for part in heterogeneity({"effect": {"heterogeneity": {"state": "no evidence"}}})]
    ['heading', 'note', 'facts']
    """
    head = Heading("Is it real? Do effects differ between patients?")
    block = view.block(results, "effect", "heterogeneity")
    if not block:
        return [head, Note("Whether effects differ between patients was not assessed in this run.", "absent")]
    asked, context = contrast.question(results), view.context(results)
    out: list[Block] = [head]
    said = str(block.get("sentence") or effect_sentences.heterogeneity(block))
    if said:
        out.append(Note(said))
    facts = [
        ("Conclusion", _STATES.get(str(block.get("state")), numbers.number(block.get("state")))),
        ("Rule, set before the run", numbers.number(block.get("rule"))),
        ("Model of effects", numbers.number(block.get("model"))),
        ("Difference of quarters that would have been seen", _size(block.get("detectable"), asked)),
        ("Difference of quarters that would matter", _size(block.get("margin"), asked)),
    ]
    facts = [f for f in facts if f[1] not in (numbers.ABSENT, "")]
    if facts:
        out.append(Facts(facts))
    if block.get("losses"):
        out.append(_losses(block["losses"], context))
    if block.get("tests"):
        out.append(_tests(block["tests"]))
    if block.get("measures"):
        out.append(_measures(block["measures"], asked, context.band))
    if any((block.get(k) or {}).get("share") for k in ("toc", "qini")):
        shown = {k: block.get(k) for k in ("toc", "qini", "measures")}
        out.append(FIGURES["targeting"]({**shown, "question": asked}, context))
    groups = [g for g in block.get("groups") or [] if numbers.is_number(g.get("predicted"))]
    if groups:
        found = block.get("measures") or {}
        slope = found.get("calibration_slope") or found.get("benefit_slope")
        name, measure = view.primary(results)
        overall = measure if name == asked.additive.name else (view.block(results, "effect", "crude") or {}).get(
            asked.additive.name
        )  # fmt: skip
        data = {"groups": groups, "slope": slope, "overall": overall, "question": asked}
        out.append(FIGURES["benefit_calibration"](data, context))
    if block.get("matching"):
        out.append(Note(f"On C-for-benefit: {str(block['matching']).rstrip('.')}."))
    return out


def _size(value: object, asked: Question) -> str:
    if not numbers.is_number(value):
        return numbers.ABSENT
    return f"{asked.additive.plain(value)[0]} {asked.additive.units}".strip()


def _losses(rows: list[Any], context: Any) -> Any:
    scale = Scale("dr_loss", "number", digits=4)
    known = [r for r in rows if r]
    shown = [
        {
            "label": str(r.get("title") or r.get("name")),
            "measure": r.get("difference") or {"value": None, "note": "what the others are compared with"},
            "strong": bool(r.get("chosen")),
            "muted": r.get("kind") != "candidate",
            "columns": ["comparator" if r.get("kind") != "candidate" else "chosen" if r.get("chosen") else ""],
            "more": [scale.interval(r.get("against_zero"))],
        }
        for r in sorted(known, key=lambda r: (r.get("kind") != "candidate", bounds(r.get("difference"))[0] or 0.0))
    ]
    return FIGURES["effect_forest"](
        {
            "rows": shown,
            "scale": scale,
            "columns": [""],
            "axis": "Doubly robust loss, less that of one effect for everyone, as learned",
            "head": "Learner",
            "title": effect_sentences.losses(known),
            "caption": "Loss on the test part, less that of the constant effect that was learned on the training part "
            "(dashed); to the left is better. The excess loss in the table of measures is against the mean effect of "
            "the test part, a stricter comparison. Grey: comparators, which know nothing of the patient or little. "
            f"Lines are {context.band}s, not adjusted for the number of learners.",
            "said": "Forest plot of losses.",
            "salt": "losses",
            "favours": ["better", "worse"],
            "more": ["Less that of no effect"],
        },
        context,
    )


def _tests(rows: list[Any]) -> Table:
    body: list[list[Cell | str]] = [
        [
            str(t.get("title") or t.get("name")),
            num(numbers.number(t.get("value")), t.get("value")),
            num(numbers.p_value(t.get("p")), t.get("p")),
            num(numbers.p_value(t.get("p_adjusted")), t.get("p_adjusted")),
            str(t.get("sentence") or ""),
        ]
        for t in rows
        if t
    ]
    return Table(["Test", "Statistic", "p", "Adjusted p", "What it says"], body, "Tests of heterogeneity")


_EFFECTS = ("average_effect", "mean_prediction", "benefit_difference", "e_avg_for_benefit", "group_effects")
"""Measures on the scale of the effect itself."""
_SAYS = {
    "calibration_slope": "How far observed effects follow predicted ones; ideal 1, below 1 they are too extreme.",
    "calibration_intercept": "Ideal 0; the average effect that predictions miss.",
}


def _measures(found: dict[str, Any], asked: Question, band: str) -> Table:
    rows: list[list[Cell | str]] = []
    for name, measure in found.items():
        if not measure:
            continue
        words = names.describe(str(name))
        title = "Calibration slope for benefit" if name == "calibration_slope" else titles.capital(words.title)
        kind = "ideal" if words.better == "target" else "no skill"
        line = "" if words.reference is None or name == "average_effect" else f"{kind}: {words.reference:g}"
        line = line.replace(" ", "\u00a0")
        text = numbers.measure(measure, words.digits)
        if name in _EFFECTS:
            units = asked.additive.units
            text = asked.additive.interval(measure)
            title += f" ({units})" if units else ""
        cell = num(text, measure.get("value"))
        rows.append([title, cell, line, str(measure.get("note") or _SAYS.get(str(name)) or words.says)])
    return Table(
        ["Measure", f"Estimate ({band})", "", "What it is"], rows, "Measures of heterogeneity on the test part"
    )
