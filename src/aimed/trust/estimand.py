"""What a study of effects can say of its estimand: the attributes of ICH E9(R1), and estimators in line with them."""

from __future__ import annotations

from collections.abc import Mapping

from aimed.trust import consort, tripod
from aimed.trust import effect_words as effects
from aimed.trust.tripod import NotApplicable, Results, Writer, join
from aimed.trust.words import at, listed, number

__all__ = ["WRITERS", "unfit"]


def unfit(r: Results) -> NotApplicable | None:
    """Return why there is no estimand; None for a study of effects, randomised or not."""
    if at(r, "task") is not None and not effects.of_effects(r):
        return NotApplicable("No treatment is compared, so there is no estimand; report by TRIPOD+AI.")
    return None


def question(r: Results) -> str | None:
    """Item 1."""
    asked = at(r, "effect.estimand.sentence")
    return join(str(asked)) if asked else None


def treatment(r: Results) -> str | None:
    """Item 2."""
    arms = effects.versus(r)
    if not arms:
        return None
    how = (
        "assigned at random"
        if at(r, "effect.estimand.assignment") == "randomised"
        else "as given in care, not at random"
    )
    return join(f"{arms}, {how}", "Background and rescue treatment are for the author to say")


def population(r: Results) -> str | None:
    """Item 3."""
    who, told = at(r, "study.population"), at(r, "effect.estimand.population")
    if not who and not told:
        return None
    n = at(r, "effect.flow.assigned")
    return join(
        f"Patients: {who}" if who else None,
        f"Analysed as: {told}" if told else None,
        f"{number(n)} patients in the data" if n else None,
    )


def variable(r: Results) -> str | None:
    """Item 4."""
    if not at(r, "effect.estimand.outcome"):
        return None
    return join(f"{effects.named(r)}, of each patient; {at(r, 'effect.estimand.better')} is better")


def intercurrent(r: Results) -> str | None:
    """Item 5."""
    found = at(r, "effect.estimand.intercurrent")
    if not found:
        return None
    odd = [str(one.get("event")) for one in found if not effects.strategy(one)]
    return join(
        "; ".join(f"{one.get('event')}: {effects.strategy(one) or one.get('strategy')}" for one in found),
        f"The strategy for {listed(odd)} is none of the five of the addendum (A.3.2)" if odd else None,
    )


def summary(r: Results) -> str | None:
    """Item 6."""
    first = at(r, "effect.estimand.contrast")
    if not first:
        return None
    rest = [effects.contrast(r, name) for name in at(r, "effect.estimand.contrasts") or [] if name != first]
    return join(
        f"{effects.contrast(r, first).capitalize()} of {effects.named(r)}, {effects.versus(r)}",
        f"Beside it: {listed(rest)}" if rest else None,
        "A hazard ratio compares those still free of the event, whom treatment itself has selected; it has no causal "
        "reading without further assumptions"
        if first == "hazard_ratio"
        else None,
    )


def estimator(r: Results) -> str | None:
    """Item 9."""
    found = effects.primary(r)
    if found is None:
        return None
    apart = [
        str(one.get("event"))
        for one in at(r, "effect.estimand.intercurrent") or []
        if effects.strategy(one) != "treatment policy"
    ]
    return join(
        f"{found[1].get('title')}: estimator of the {effects.contrast(r, at(r, 'effect.estimand.contrast'))}, set "
        "before the run",
        "It takes outcomes as they were, whatever happened after treatment was begun: the treatment policy strategy",
        f"For {listed(apart)} another strategy is named, which this estimator carries out only where the outcome "
        "in the table was made so: the author has to say how"
        if apart
        else None,
    )


def assumptions(r: Results) -> str | None:
    """Item 10."""
    how = at(r, "effect.estimand.assignment")
    if not how:
        return None
    timed = any(a.get("censored_early") is not None for a in at(r, "effect.flow.arms") or [])
    overlap = at(r, "effect.overlap.sentence")
    return join(
        "Randomisation makes the arms alike but for chance; a model of covariates adds precision and need not be right"
        if how == "randomised"
        else "Given the covariates in the model, treatment goes with nothing else that bears on the outcome; the data "
        "cannot prove it",
        "The treatment of one patient does not change the outcome of another, and the outcome is that of the treatment "
        "as recorded",
        "Follow-up that ended early says nothing of the risk, within an arm or given covariates" if timed else None,
        str(overlap) if overlap else None,
        "Why they hold in this study is for the author to say",
    )


def sensitivity(r: Results) -> str | None:
    """Item 12."""
    same = consort.same(r)
    told = [
        f"Of the same estimand by other estimators: {same}" if same else "",
        *effects.unmeasured(r),
        *effects.placebos(r),
    ]
    if not any(told):
        return None
    untried = at(r, "effect.sensitivity.missing") is None
    return join(*told, "No analysis departed from the assumption on missing or censored outcomes" if untried else None)


def supplementary(r: Results) -> str | None:
    """Item 13."""
    found = effects.primary(r)
    measures = (found[1].get("measures") or {}) if found else {}
    first = at(r, "effect.estimand.contrast")
    rest = [effects.said(m, effects.unit(r)) for name, m in measures.items() if name != first]
    fewer = effects.trimmed(r)
    return join(
        f"Other contrasts: {'; '.join(rest)}" if rest else None,
        f"{fewer}: {effects.said(at(r, 'effect.overlap.trimmed.measure'), effects.unit(r))}" if fewer else None,
        effects.subgroups(r),
        *effects.who_benefits(r),
    )


def result(r: Results) -> str | None:
    """Item 14."""
    arms, found = effects.arms(r), effects.average(r, every=False)
    if not found:
        return None
    return join(found, f"In the arms: {'; '.join(arms)}" if arms else None)


def documented(r: Results) -> str | None:
    """Item 15."""
    own = tripod.protocol(r)
    if not own:
        return None
    late = at(r, "verdict.changed_after_opening") or at(r, "effect.subgroups.prespecified") is False
    return join(
        own,
        None if late else "Estimand, estimators, subgroups and tests are in it or follow from it by rule",
        "Whether the plan of the trial had them, before unblinding, is for the author to say",
    )


WRITERS: Mapping[str, Writer] = {
    "1": question,
    "2": treatment,
    "3": population,
    "4": variable,
    "5": intercurrent,
    "6": summary,
    "9": estimator,
    "10": assumptions,
    "11": consort.missing,
    "12": sensitivity,
    "13": supplementary,
    "14": result,
    "15": documented,
}
"""Item → its writer, for every item of class A or D."""
