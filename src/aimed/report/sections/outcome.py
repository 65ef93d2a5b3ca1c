"""Section 4: what is predicted, how often it happens, and how long patients were followed."""

from __future__ import annotations

from aimed.report import names, numbers, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Facts, Section, Table, num


def build(results: view.Results) -> Section:
    """Return the section of the outcome and its reference standard."""
    title = "Outcome and reference standard"
    block = view.block(results, "outcome")
    if not block:
        return Section("outcome", title, sentences.absent("The outcome"), (), False)
    unit = view.unit(results)
    facts = [("Outcome", numbers.number(block.get("label"))), ("Kind", _kind(block.get("kind")))]
    if block.get("competing"):
        facts.append(("Events that compete", sentences.join([str(c) for c in block["competing"]])))
    if block.get("horizons"):
        facts.append(("Horizons", sentences.join([numbers.horizon(h, unit) for h in block["horizons"]])))
    follow = block.get("followup") or {}
    if numbers.is_number(follow.get("median")):
        text = numbers.interval(follow["median"], follow.get("lower"), follow.get("upper"), 0)
        facts.append((f"Median follow-up ({unit}s, reverse Kaplan-Meier)", text))
    blocks: list[Block] = [Facts(facts)]
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
    if curve and curve.get("times"):
        kind = "incidence_stack" if curve.get("causes") else "outcome_curve" if curve.get("survival") else ""
        if kind:
            blocks.append(FIGURES[kind]({**curve, "horizons": block.get("horizons") or []}, view.context(results)))
    return Section("outcome", title, sentences.outcome(block), blocks)


def _by(prevalence: view.Results, unit: str) -> str:
    at = {names.split_name(str(m.get("name") or ""))[1] or "" for m in prevalence.values() if m}
    horizon = at.pop() if len(at) == 1 else ""
    return f" by {numbers.horizon(horizon, unit)}" if horizon.replace(".", "", 1).isdigit() else ""


def _kind(kind: object) -> str:
    return "time to the first of several events" if kind == "competing" else numbers.number(kind)


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
