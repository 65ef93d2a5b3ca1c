"""What checklists and the model card say of a study of effects: arms, flow, estimators, sensitivity, who benefits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aimed.trust.words import at, listed, number, plural, title

__all__ = [
    "analysed",
    "arms",
    "average",
    "balance",
    "conclusion",
    "contrast",
    "excluded",
    "figure",
    "horizon",
    "named",
    "of_effects",
    "others",
    "placebos",
    "primary",
    "rules",
    "said",
    "strategy",
    "subgroups",
    "trimmed",
    "unit",
    "unmeasured",
    "unseen",
    "versus",
    "who_benefits",
]

Results = Mapping[str, Any]


def of_effects(r: Results) -> bool:
    """Return whether the study asks what a treatment does.

    Examples
    --------
    >>> of_effects({"task": "effect"}), of_effects({"task": "risk"})
    (True, False)
    """
    return at(r, "task") == "effect" or at(r, "effect.estimand") is not None


def figure(measure: Mapping[str, Any], events: Any = None) -> str:
    """Return the value of an estimate with interval and n, and with the events it rests on where those were counted.

    Examples
    --------
    >>> figure({"value": 0.1, "lower": 0.05, "upper": 0.15, "n": 90}, 9)
    '0.100 (95% interval 0.050 to 0.150; n = 90, 9 events)'
    """
    events = events if events is not None else measure.get("events") or None
    counted = f", {plural(events, 'event')}"
    rests = f"n = {number(measure.get('n'))}{'' if events is None else counted}"
    if measure.get("value") is None:
        return f"not estimable ({rests})"
    value = number(float(measure["value"]))
    if measure.get("lower") is None or measure.get("upper") is None:
        return f"{value} (no interval; {rests})"
    ends = " to ".join(number(float(measure[key])) for key in ("lower", "upper"))
    return f"{value} ({float(measure.get('level') or 0.95):.0%} interval {ends}; {rests})"


def said(measure: Mapping[str, Any], unit: str = "day") -> str:
    """Return an estimate by its name, with interval and n.

    Examples
    --------
    >>> said({"name": "risk_difference", "value": -0.1, "lower": -0.2, "upper": 0.0, "n": 90, "events": 0})
    'risk difference -0.100 (95% interval -0.200 to 0.000; n = 90)'
    """
    note = str(measure.get("note") or "")
    if note.startswith("NNT") and measure.get("value") is not None:
        # Its interval may pass through infinity, which two ends cannot say.
        return f"number needed to treat: {note}, n = {number(measure.get('n'))}"
    return f"{title(str(measure.get('name') or 'value'), unit)} {figure(measure)}"


def contrast(r: Results, name: Any) -> str:
    """Return the name of a contrast for people."""
    return title(str(name), unit(r))


def unit(r: Results) -> str:
    """Return the unit of time, singular."""
    return str(at(r, "outcome.unit") or at(r, "performance.unit") or "day")


def named(r: Results) -> str:
    """Return the outcome with its horizon."""
    outcome = at(r, "effect.estimand.outcome") or at(r, "study.outcome_label") or "the outcome"
    return f"{outcome}{horizon(r)}"


def horizon(r: Results) -> str:
    """Return until when, with a blank in front; empty where time does not count."""
    end = at(r, "effect.estimand.horizon")
    return "" if end is None else f" by {float(end):g} {unit(r)}s"


def versus(r: Results) -> str:
    """Return what was compared with what; empty where that is not recorded."""
    active, control = at(r, "effect.estimand.treatment"), at(r, "effect.estimand.control")
    return f"{active} against {control}" if active and control else ""


def primary(r: Results) -> tuple[int, Mapping[str, Any]] | None:
    """Return the estimator that answers the question, with its place in ``effect.average``."""
    return next(((k, row) for k, row in enumerate(at(r, "effect.average") or []) if row.get("primary")), None)


def others(r: Results) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the other estimators of the same effect, with their places."""
    return [(k, row) for k, row in enumerate(at(r, "effect.average") or []) if not row.get("primary")]


def average(r: Results, *, every: bool = True) -> str:
    """Return the average effect by the primary estimator; only the first contrast unless ``every``."""
    found = primary(r)
    if found is None:
        return ""
    measures = found[1].get("measures") or {}
    first = at(r, "effect.estimand.contrast")
    names = list(measures) if every else [name for name in measures if name == first]
    told = "; ".join(said(measures[name], unit(r)) for name in names)
    return f"{found[1].get('title')}: {told}" if told else ""


def trimmed(r: Results) -> str:
    """Return whom the estimate without patients of little overlap is of; empty where nobody was left out."""
    found = at(r, "effect.overlap.trimmed") or {}
    if not found.get("measure"):
        return ""
    return f"Doubly robust, where the arms overlap ({number(found.get('kept'))} of {number(found.get('n'))})"


def arms(r: Results) -> list[str]:
    """Return the outcome of each arm as it was, with n and events."""
    return [
        f"{arm.get('label')} {figure({'n': arm.get('n'), **(arm.get('rate') or {})}, arm.get('events'))}"
        for arm in at(r, "effect.arms") or []
    ]


def analysed(r: Results) -> list[str]:
    """Return how many of each arm were analysed."""
    return [
        f"{arm.get('label')} {number(arm.get('analysed'))} of {number(arm.get('assigned'))}"
        for arm in at(r, "effect.flow.arms") or []
    ]


def excluded(r: Results) -> str:
    """Return which rows of the table are in no analysis, with their reasons; empty where all are in."""
    return "; ".join(f"{one.get('reason')} ({number(one.get('n'))})" for one in at(r, "effect.flow.excluded") or [])


def unseen(r: Results) -> list[str]:
    """Return whose outcome is not known in full: follow-up that ended early, outcomes that are missing."""
    found = at(r, "effect.flow.arms") or []
    told = []
    for key, words in (
        ("censored_early", f"Followed for less time without the event{f' ({end})' if (end := horizon(r)[1:]) else ''}"),
        ("missing_outcome", "Outcome missing"),
    ):
        known = [f"{arm.get('label')} {number(arm[key])}" for arm in found if arm.get(key) is not None]
        if any(arm.get(key) for arm in found):
            told.append(f"{words}: {listed(known)}")
    return told


def balance(r: Results) -> list[str]:
    """Return what the arms were like before treatment, a row a characteristic."""
    told = []
    for row in at(r, "effect.balance.rows") or []:
        name = f"{row.get('label')}{f' = {level}' if (level := row.get('level')) else ''}"
        told.append(f"{name} {_spread(row, 'active')} and {_spread(row, 'control')}")
    return told


def _spread(row: Mapping[str, Any], arm: str) -> str:
    found = row.get(arm) or {}
    if found.get("mean") is None:
        return "–"
    if row.get("kind") == "share":
        return f"{float(found['mean']):.1%}"
    spread = f" ({number(float(found['sd']), 1)})" if found.get("sd") is not None else ""
    return f"{number(float(found['mean']), 1)}{spread}"


_STRATEGIES = ("treatment policy", "hypothetical", "composite variable", "while on treatment", "principal stratum")
"""Strategies for intercurrent events that ICH E9(R1) names in A.3.2."""


def strategy(event: Mapping[str, Any]) -> str:
    """Return the strategy for an intercurrent event as ICH E9(R1) calls it; empty where it has no such strategy.

    Examples
    --------
    >>> strategy({"strategy": "treatment_policy"}), strategy({"strategy": "composite"}), strategy({"strategy": "drop"})
    ('treatment policy', 'composite variable', '')
    """
    text = str(event.get("strategy") or "").strip().lower().replace("_", " ").replace("-", " ")
    return next((name for name in _STRATEGIES if text and (text in (name, f"{name} strategy", name.split()[0]))), "")


def subgroups(r: Results) -> str:
    """Return which groups were examined, and when they were chosen."""
    found = at(r, "effect.subgroups")
    if not found:
        return ""
    columns = list(dict.fromkeys(str(row.get("column_label") or row.get("column")) for row in found.get("rows") or []))
    when = "named in the study file before the run" if found.get("prespecified") else "chosen after data had been seen"
    tests = [re.sub(r", \d+ df", "", str(one.get("method") or "")) for one in found.get("interactions") or []]
    how = list(dict.fromkeys(filter(None, tests)))
    return f"Subgroups by {listed(columns)}, {when}{f'; interaction: {listed(how)}' if how else ''}"


_CONCLUSIONS = {
    "evidence": "evidence that the effect differs between patients",
    "no evidence": "no evidence that the effect differs between patients; the average effect stands for everyone",
    "not enough evidence": "not enough evidence to tell whether the effect differs between patients; "
    "the average effect stands for everyone",
}


def conclusion(r: Results) -> str:
    """Return what follows from the tests of heterogeneity, in words; empty where there were none."""
    state = at(r, "effect.heterogeneity.state")
    return _CONCLUSIONS.get(str(state), str(state or ""))


def who_benefits(r: Results) -> list[str]:
    """Return what was found on differences of the effect: in groups, with baseline risk, between patients."""
    model = at(r, "effect.heterogeneity.model")
    told = at(r, "effect.heterogeneity.sentence") or conclusion(r)
    quarters = at(r, "effect.risk_quarters.trend.sentence")
    return [
        *([f"Subgroups: {text}"] if (text := at(r, "effect.subgroups.sentence")) else []),
        *([f"Quarters of baseline risk: {quarters}"] if quarters else []),
        *([f"Effects of single patients{f' ({model})' if model else ''}: {told}"] if told else []),
    ]


def rules(r: Results) -> list[str]:
    """Return the mean outcome under each rule of treatment."""
    rows = at(r, "effect.policy.rows") or []
    return [f"{row.get('title')} {figure(row['value'])}" for row in rows if row.get("value")]


def unmeasured(r: Results) -> list[str]:
    """Return how strong something unmeasured would have to be, and what came of missing outcomes."""
    found = at(r, "effect.sensitivity") or {}
    first = (found.get("e_value") or {}).get("sentence")
    return [
        str(text)
        for text in (
            found.get("sentence") or first,
            (found.get("robustness") or {}).get("sentence"),
            (found.get("missing") or {}).get("sentence"),
        )
        if text
    ]


def placebos(r: Results) -> list[str]:
    """Return what came of effects that ought to be none."""
    return _sentences(at(r, "effect.placebos") or [])


def _sentences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{one.get('title')}: {one['sentence']}" for one in found if one.get("sentence")]
