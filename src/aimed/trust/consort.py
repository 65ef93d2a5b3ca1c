"""What a randomised trial can say for each CONSORT item from its record, and where only its people know."""

from __future__ import annotations

from collections.abc import Mapping

from aimed.trust import effect_words as effects
from aimed.trust import tripod
from aimed.trust.tripod import NotApplicable, Results, Writer, join
from aimed.trust.words import at, listed, number, plural

__all__ = ["WRITERS", "missing", "same", "unfit"]

_TRIAL = "for the author to say"


def unfit(r: Results) -> NotApplicable | None:
    """Return why CONSORT does not apply; None for a randomised trial."""
    if at(r, "effect.estimand.assignment") == "observational":
        return NotApplicable(
            "Treatment was not randomised, so CONSORT does not apply: report by TARGET 2025 (a trial emulated in "
            "observational data) or STROBE (other observational studies)."
        )
    if at(r, "task") is not None and not effects.of_effects(r):
        return NotApplicable(
            "No treatment is compared, so CONSORT does not apply: report by TRIPOD+AI (models that predict)."
        )
    return None


def title_(r: Results) -> str | None:
    """Item 1a."""
    text, arms, population = at(r, "study.title"), effects.versus(r), at(r, "study.population")
    if not text or not arms:
        return None
    return join(f"{text}: a randomised trial of {arms}{f' in {population}' if population else ''}")


def abstract(r: Results) -> str | None:
    """Item 1b."""
    if not at(r, "effect.average"):
        return None
    found = effects.who_benefits(r)
    return join(
        f"Question: {at(r, 'effect.estimand.sentence')}" if at(r, "effect.estimand.sentence") else None,
        f"Design: randomised, two arms in parallel; analysed: {listed(effects.analysed(r))}",
        f"In the arms: {'; '.join(effects.arms(r))}" if effects.arms(r) else None,
        f"Average effect, {effects.average(r)}",
        found[-1] if found else None,
        f"Conclusions are {_TRIAL}",
    )


def protocol(r: Results) -> str | None:
    """Item 3."""
    own = tripod.protocol(r)
    return (
        join(own, f"That is the plan of this analysis; where the trial's own is to be had is {_TRIAL}") if own else None
    )


def sharing(r: Results) -> str | None:
    """Item 4."""
    own = tripod.code(r)
    return join(own, f"Whether the data of patients can be had is {_TRIAL}") if own else None


def objectives(r: Results) -> str | None:
    """Item 7."""
    asked = at(r, "effect.estimand.sentence")
    return join(str(asked), f"Harms are no outcome of this run: what was asked of them is {_TRIAL}") if asked else None


def design(r: Results) -> str | None:
    """Item 9."""
    assigned = [f"{a.get('label')} {number(a.get('assigned'))}" for a in at(r, "effect.flow.arms") or []]
    if not assigned:
        return None
    return join(
        f"Randomised, two arms in parallel, one treatment a patient; assigned: {listed(assigned)}",
        f"Planned ratio and framework, such as superiority, are {_TRIAL}",
    )


def changes(r: Results) -> str | None:
    """Item 10."""
    changed, times = at(r, "verdict.changed_after_opening"), at(r, "verdict.openings")
    if changed is None:
        return None
    opened = f" (opened {plural(times, 'time')})" if times else ""
    return join(
        f"The study file of this analysis was {'' if changed else 'not '}changed after the test part was opened"
        f"{opened}",
        f"Changes to the trial itself are {_TRIAL}",
    )


def eligibility(r: Results) -> str | None:
    """Item 12a."""
    population, rows, left_out = at(r, "study.population"), at(r, "effect.flow.source_rows"), effects.excluded(r)
    if not population and not left_out:
        return None
    return join(
        f"Patients: {population}" if population else None,
        f"Left out of {plural(rows, 'row')}: {left_out}" if left_out else None,
    )


def interventions(r: Results) -> str | None:
    """Item 13."""
    arms = effects.versus(r)
    return join(f"Compared: {arms}", f"How each was given, in detail, is {_TRIAL}") if arms else None


def outcomes(r: Results) -> str | None:
    """Item 14."""
    asked = at(r, "effect.estimand.outcome")
    if not asked:
        return None
    standard = at(r, "outcome.reference_standard")
    contrasts = [effects.contrast(r, name) for name in at(r, "effect.estimand.contrasts") or []]
    return join(
        f"Outcome: {effects.named(r)}; {at(r, 'effect.estimand.better')} is better",
        f"Compared by {effects.contrast(r, at(r, 'effect.estimand.contrast'))} first"
        f"{f', of {listed(contrasts)}' if len(contrasts) > 1 else ''}",
        f"Ascertained by: {standard}" if standard else None,
        f"Other outcomes of the trial are {_TRIAL}",
    )


def stratified(r: Results) -> str | None:
    """Item 17b."""
    strata = at(r, "effect.estimand.strata")
    if not strata:
        return None
    return join(
        f"Randomisation was stratified by {listed([str(s) for s in strata])}", f"Blocks and their size are {_TRIAL}"
    )


def statistics(r: Results) -> str | None:
    """Item 21a."""
    found = effects.primary(r)
    if found is None:
        return None
    methods = "; ".join(
        f"{effects.contrast(r, name)} by {m['method']}" for name, m in found[1]["measures"].items() if m.get("method")
    )
    level = at(r, "performance.level")
    beside = [str(row.get("title")) for _, row in effects.others(r)]
    strata = at(r, "effect.estimand.strata") or []
    return join(
        f"Primary estimator, set before the run: {found[1].get('title')}{f' ({methods})' if methods else ''}",
        f"Strata of randomisation: {listed([str(s) for s in strata])}" if strata else None,
        f"Beside it: {listed(beside)}" if beside else None,
        f"Intervals{f' of {float(level):.0%}' if level else ''} for every estimate",
    )


def included(r: Results) -> str | None:
    """Item 21b."""
    counts = effects.analysed(r)
    if not counts:
        return None
    population, left_out = at(r, "effect.estimand.population"), effects.excluded(r)
    return join(
        f"Population: {population}" if population else None,
        f"Analysed of those assigned, each in the arm that the table gives: {listed(counts)}",
        f"Rows in no analysis: {left_out}" if left_out else None,
    )


def missing(r: Results) -> str | None:
    """Item 21c."""
    own = tripod.missing(r)
    if not own:
        return None
    rate = next((a["rate"].get("method") for a in at(r, "effect.arms") or [] if a.get("rate")), None)
    left_out = effects.excluded(r)
    return join(
        f"In covariates, {own[:1].lower()}{own[1:]}",
        f"Rows in no analysis: {left_out}" if left_out else None,
        *effects.unseen(r),
        f"Outcome in the arms: {rate}" if rate else None,
    )


def additional(r: Results) -> str | None:
    """Item 21d."""
    rule, model = at(r, "effect.heterogeneity.rule"), at(r, "effect.heterogeneity.model")
    tried = [str(one.get("title")) for one in at(r, "effect.placebos") or []]
    told = [
        effects.subgroups(r),
        f"Quarters of baseline risk ({at(r, 'effect.risk_quarters.model')})" if at(r, "effect.risk_quarters") else "",
        f"Effects of single patients by {model}, judged on patients it had not seen" if model else "",
        str(rule or ""),
        "Sensitivity to something unmeasured: E-value and bounds" if at(r, "effect.sensitivity.e_value") else "",
        f"Placebos: {listed(tried)}" if tried else "",
        "Rules of treatment were valued on the test part" if at(r, "effect.policy.rows") else "",
    ]
    if not any(told):
        return None
    late = at(r, "verdict.changed_after_opening")
    return join(
        *told,
        "The study file was changed after the test part was opened: nothing here counts as prespecified"
        if late
        else f"All was settled before the run, in the study file or by rule; whether the trial's plan had it "
        f"is {_TRIAL}",
    )


def flow(r: Results) -> str | None:
    """Item 22a."""
    counts = effects.analysed(r)
    if not counts:
        return None
    return join(
        f"Analysed of those assigned: {listed(counts)}", f"How many received what they were assigned to is {_TRIAL}"
    )


def losses(r: Results) -> str | None:
    """Item 22b."""
    if not at(r, "effect.flow.arms"):
        return None
    left_out = effects.excluded(r)
    return join(
        f"Rows left out of this analysis: {left_out}"
        if left_out
        else "No row of the table was left out of this analysis",
        *effects.unseen(r),
        f"Reasons by arm are {_TRIAL}",
    )


def dates(r: Results) -> str | None:
    """Item 23a."""
    known = tripod.dates(r)
    followed = tripod.followup(r, at(r, "outcome.followup") or {})
    if known or not followed:
        return known
    return join(followed, f"Dates of recruitment are not in the data: they are {_TRIAL}")


def baseline(r: Results) -> str | None:
    """Item 25."""
    rows = effects.balance(r)
    if not rows:
        return None
    arms = [str(a.get("label")) for a in at(r, "effect.flow.arms") or []]
    largest, limit = at(r, "effect.balance.max_smd"), at(r, "effect.balance.limit")
    return join(
        f"Mean (SD) or share, {' and '.join(arms)}: {'; '.join(rows[:12])}"
        f"{f'; and {len(rows) - 12} more in the table' if len(rows) > 12 else ''}",
        f"Largest standardised difference {number(float(largest), 2)} (of note above {float(limit):g})"
        if largest is not None and limit is not None
        else None,
    )


def estimation(r: Results) -> str | None:
    """Item 26."""
    arms, found = effects.arms(r), effects.average(r)
    if not arms or not found:
        return None
    crude = at(r, "effect.crude") or {}
    row = effects.primary(r)
    have = row[1]["measures"] if row else {}
    asked = [name for name in at(r, "effect.estimand.contrasts") or [] if name not in have]
    wanted = [*asked, "relative_risk_reduction", "number_needed_to_treat"]
    extra = [effects.said(m, effects.unit(r)) for key in wanted if key not in have and (m := crude.get(key))]
    return join(
        f"{effects.named(r)}: {'; '.join(arms)}",
        found,
        f"Unadjusted: {'; '.join(extra)}" if extra else None,
    )


def ancillary(r: Results) -> str | None:
    """Item 28."""
    elsewhere = same(r)
    worth = effects.rules(r)
    said = at(r, "effect.policy.sentence")
    told = [
        *effects.who_benefits(r),
        f"By other estimators: {elsewhere}" if elsewhere else "",
        *effects.unmeasured(r),
        *effects.placebos(r),
        f"Mean outcome under rules of treatment: {'; '.join(worth)}" if worth else "",
        str(said or ""),
    ]
    return join(*told)


def same(r: Results) -> str:
    """Return the primary contrast by other estimators of the same effect; unadjusted only after randomisation."""
    first, trial = at(r, "effect.estimand.contrast"), at(r, "effect.estimand.assignment") == "randomised"
    rows = [row for _, row in effects.others(r) if trial or row.get("name") != "unadjusted"]
    found = [(row.get("title"), (row.get("measures") or {}).get(first)) for row in rows]
    return "; ".join(f"{name} {effects.said(m, effects.unit(r))}" for name, m in found if m)


WRITERS: Mapping[str, Writer] = {
    "1a": title_,
    "1b": abstract,
    "3": protocol,
    "4": sharing,
    "7": objectives,
    "9": design,
    "10": changes,
    "11": tripod.setting,
    "12a": eligibility,
    "13": interventions,
    "14": outcomes,
    "17b": stratified,
    "21a": statistics,
    "21b": included,
    "21c": missing,
    "21d": additional,
    "22a": flow,
    "22b": losses,
    "23a": dates,
    "25": baseline,
    "26": estimation,
    "28": ancillary,
    "30": tripod.limitations,
}
"""Item → its writer, for every item of class A or D."""
