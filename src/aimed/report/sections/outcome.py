"""Section 4: what is predicted, how often it happens, and how long patients were followed."""

from __future__ import annotations

from typing import Any

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Context, Facts, Figure, Section, Table, num
from aimed.report.sections import average_effect, scans
from aimed.report.sections.label_noise import label_noise


def build(results: view.Results) -> Section:
    """Return the section of the outcome and its reference standard."""
    title = "Outcome and reference standard"
    block = view.block(results, "outcome")
    arms = average_effect.crude(results)
    if arms and not block:
        return Section("outcome", title, average_effect.observed(results), arms)
    if not block:
        return Section("outcome", title, sentences.absent("The outcome"), (), False)
    unit = view.unit(results)
    facts = [("Outcome", numbers.number(block.get("label"))), ("Kind", _kind(block.get("kind")))]
    if block.get("reference_standard"):
        facts.append(("Reference standard", str(block["reference_standard"])))
    if block.get("competing"):
        facts.append(("Events that compete", sentences.join([str(c) for c in block["competing"]])))
    if block.get("horizons"):
        facts.append(("Horizons", sentences.join([numbers.horizon(h, unit) for h in block["horizons"]])))
    follow = block.get("followup") or {}
    if numbers.is_number(follow.get("median")):
        text = numbers.interval(follow["median"], follow.get("lower"), follow.get("upper"), 0)
        facts.append((f"Median follow-up ({unit}s, reverse Kaplan-Meier)", text))
    blocks: list[Block] = [Facts(facts)]
    if block.get("findings"):
        blocks += [
            _frequencies(block["findings"], view.context(results), view.item(results)),
            _labels(block["findings"]),
        ]
    blocks += scans.regions(results)
    blocks += label_noise(results)
    prevalence = block.get("prevalence") or {}
    if prevalence:
        rows = [
            [
                str(part),
                num(numbers.count(m.get("n")), m.get("n")),
                num(numbers.count(m.get("events")), m.get("events")),
                num(percent_interval(m), m.get("value")),
            ]
            for part, m in prevalence.items()
            if m
        ]
        blocks.append(
            Table(
                ["Part", "n", "Events", "With the outcome (interval)"],
                rows,
                f"How often the outcome happens{_by(prevalence, unit)}",
                wide=False,
            )
        )
    curve = block.get("curve")
    if curve and not view.block(results, "effect", "curves") and curve.get("times"):
        kind = "incidence_stack" if curve.get("causes") else "outcome_curve" if curve.get("survival") else ""
        if kind:
            blocks.append(FIGURES[kind]({**curve, "horizons": block.get("horizons") or []}, view.context(results)))
    lead = average_effect.observed(results) if arms else sentences.outcome(block)
    return Section("outcome", title, lead, [*blocks, *arms])


_PARTS = ("test", "train", "all")


def _frequencies(findings: list[view.Results], context: Context, of: str = "picture") -> Figure:
    parts = [p for p in _PARTS[:2] if any((f.get("prevalence") or {}).get(p) for f in findings)] or ["all"]
    rows: list[dict[str, Any]] = []
    for f in findings:
        shares = f.get("prevalence") or {}
        points = {p: shares.get(p) or {} for p in parts}
        counts = [numbers.count((points[parts[0]]).get(k)) for k in ("n", "events")]
        rows.append({"label": str(f.get("label") or f.get("name")), "points": points, "columns": counts})
    rows.sort(key=lambda r: -float(r["points"][parts[0]].get("value") or 0.0))
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {p: f"{p} part" for p in parts},
            "columns": ["known", "positive"],
            "axis": f"{of.capitalize()}s with the finding, of those where it is known",
            "head": "Finding",
            "title": titles.frequencies(findings),
            "caption": f"Share of {of}s with each finding by part; lines are {context.band}s, a patient's {of}s "
            f"taken together. The counts and the numbers on the right are of the {parts[0]} part.",
            "said": f"Share of {of}s with each finding.",
            "salt": "frequencies",
            "percent": True,
        },
        context,
    )
    return figure


def _labels(findings: list[view.Results]) -> Table:
    parts = [p for p in ("train", "test") if any(p in (f.get("known") or {}) for f in findings)]
    rows = []
    for f in findings:
        line: list[object] = [str(f.get("label") or f.get("name")), str(f.get("name") or "")]
        for p in parts:
            line += [num(numbers.count(v := (f.get(k) or {}).get(p)), v) for k in ("known", "positive")]
        line += [num(numbers.count(f.get(k)), f.get(k)) for k in ("uncertain", "unknown")]
        rows.append(line)
    head = ["Finding", "Column", *(f"{p}: {k}" for p in parts for k in ("known", "positive")), "Uncertain", "Unknown"]
    caption = "Labels of the reference standard. Uncertain: marked so by the source; unknown: not said"
    return Table(head, rows, caption, sortable=True)


def _by(prevalence: view.Results, unit: str) -> str:
    at = {names.split_name(str(m.get("name") or ""))[1] or "" for m in prevalence.values() if m}
    horizon = at.pop() if len(at) == 1 else ""
    return f" by {numbers.horizon(horizon, unit)}" if horizon.replace(".", "", 1).isdigit() else ""


def _kind(kind: object) -> str:
    words = {
        "competing": "time to the first of several events",
        "multilabel": "several findings, each present or not",
        "masks": "regions outlined in each scan",
        "effect": "compared between two arms",
    }
    return words.get(str(kind)) or numbers.number(kind)


def percent_interval(measure: view.Results) -> str:
    """Return a share with its interval in per cent.

    Examples
    --------
    >>> percent_interval({"value": 0.36, "lower": 0.331, "upper": 0.389})
    '36.0% (33.1% to 38.9%)'
    """
    text = numbers.percent(measure.get("value"))
    if numbers.is_number(measure.get("lower")) and numbers.is_number(measure.get("upper")):
        text += f" ({numbers.percent(measure['lower'])} to {numbers.percent(measure['upper'])})"
    return text
