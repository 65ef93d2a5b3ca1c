"""The rules that turn the numbers of a study of effects into opening sentences and into titles of figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aimed.report import names, numbers
from aimed.report.contrast import Question, Scale, bounds, parts
from aimed.report.sentences import join, plural
from aimed.report.titles import inside

__all__ = [
    "amount",
    "average",
    "balance",
    "bias",
    "calibration",
    "curves",
    "flow",
    "fractions",
    "heterogeneity",
    "losses",
    "overlap",
    "participants",
    "policies",
    "quarters",
    "sensitivity",
    "subgroups",
    "targeting",
]

Record = Mapping[str, Any]


def amount(measure: Record | None, question: Question, name: str = "") -> str:
    """Return the size of an effect in words, with its interval: patients of 100, time, or units of the outcome.

    Examples
    --------
    >>> asked = Question("levamisole", "observation", "death", horizon=365)
    >>> amount({"value": -0.11, "lower": -0.182, "upper": -0.038}, asked)
    '11.0 fewer of 100 patients with death by 365 days (3.8 to 18.2 fewer)'
    >>> amount({"value": 0.7, "lower": 0.55, "upper": 0.9}, asked, "hazard_ratio")
    'a hazard ratio of 0.70 (0.55 to 0.90) for death'
    """
    scale = question.scale(name)
    if bounds(measure)[0] is None:
        return "not estimable"
    outcome = f"{question.outcome}{question.when}"
    if scale.kind == "points":
        head, span = parts(measure, scale, "fewer", "more")
        return f"{head} of 100 patients with {outcome}{span}"
    if scale.kind == "time":
        lost = scale.name == "time_lost_difference"
        tail = f"lost to {outcome}" if lost else f"without {outcome}"
        words = (f"{question.unit}s less", f"{question.unit}s more")
        head, span = parts(measure, scale, *words)
        return f"{head} {tail} on average{span}"
    if scale.kind == "ratio":
        title = names.lower(scale.name)
        return f"{'an' if title[0] in 'aeiou' else 'a'} {title} of {scale.interval(measure)} for {question.outcome}"
    if scale.kind == "share":
        return f"a {names.lower(scale.name)} of {scale.interval(measure)}"
    if scale.kind == "count":
        return f"{scale.interval(measure)} patients to treat for one to benefit"
    head, span = parts(measure, scale, "lower", "higher")
    return f"a mean {outcome} that is {head}{span}"


def average(measure: Record | None, question: Question) -> str:
    """Return the verdict on the average effect: help, harm or neither shown, and how much.

    Examples
    --------
    >>> asked = Question("levamisole", "observation", "death")
    >>> average({"value": -0.11, "lower": -0.182, "upper": -0.038}, asked)  # doctest: +NORMALIZE_WHITESPACE
    'On average levamisole is shown to help, compared with observation: 11.0 fewer of 100 patients with death
    (3.8 to 18.2 fewer).'
    >>> average({"value": 0.01, "lower": -0.03, "upper": 0.05}, asked)  # doctest: +NORMALIZE_WHITESPACE
    'On average neither benefit nor harm of levamisole is shown, compared with observation: 1.0 more of 100 patients
    with death (3.0 fewer to 5.0 more).'
    """
    if bounds(measure)[0] is None:
        return f"The average effect of {question.treated}, compared with {question.untreated}, could not be estimated."
    side = question.scale().excludes(measure) * question.good()
    said = amount(measure, question)
    against = f"compared with {question.untreated}"
    if question.randomised:
        verdict = {1: "is shown to help", -1: "is shown to harm"}
        tail = "."
    else:
        verdict = {1: "goes with better outcomes", -1: "goes with worse outcomes"}
        tail = "; that is the effect only if all that drives both treatment and outcome was measured."
    if not side:
        return f"On average neither benefit nor harm of {question.treated} is shown, {against}: {said}{tail}"
    return f"On average {question.treated} {verdict[side]}, {against}: {said}{tail}"


_STATES = {
    "evidence": "There is evidence that the effect differs between patients.",
    "no evidence": "There is no evidence of heterogeneity: one effect for everyone describes these patients as well.",
    "not enough evidence": "There is not enough evidence to say whether the effect differs between patients.",
}


def heterogeneity(block: Record | None) -> str:
    """Return in one sentence whether effects are shown to differ between patients; empty where it was not looked at.

    Examples
    --------
    >>> heterogeneity({"state": "no evidence"})
    'There is no evidence of heterogeneity: one effect for everyone describes these patients as well.'
    >>> heterogeneity(None)
    ''
    """
    if not block:
        return ""
    return _STATES.get(str(block.get("state"))) or str(block.get("sentence") or "")


def participants(effect: Record, question: Question) -> str:
    """Return the opening sentence on who was assigned, who was analysed and how alike the arms are.

    Examples
    --------
    >>> arms = [{"key": "active", "label": "drug", "assigned": 9, "analysed": 9},
    ...         {"key": "control", "label": "none", "assigned": 8, "analysed": 7}]
    >>> participants({"flow": {"assigned": 17, "arms": arms}}, Question("drug", "none"))
    '17 patients were randomised, 9 to drug and 8 to none; 16 were analysed.'
    """
    found = effect.get("flow") or {}
    arms = [a for a in found.get("arms") or [] if numbers.is_number(a.get("assigned"))]
    total = found.get("assigned")
    verb = "randomised" if question.randomised else "treated one way or the other"
    said = []
    if numbers.is_number(total):
        each = join(
            [
                f"{numbers.count(a['assigned'])} {'to' if question.randomised else 'with'} {inside(str(a['label']))}"
                for a in arms
            ]
        )
        said.append(f"{plural(total, 'patient')} {'was' if total == 1 else 'were'} {verb}{', ' if each else ''}{each}")
    kept = [a["analysed"] for a in arms if numbers.is_number(a.get("analysed"))]
    if kept and len(kept) == len(arms):
        n = sum(kept)
        said.append("all were analysed" if n == total else f"{numbers.count(n)} were analysed")
    even = effect.get("balance") or {}
    if even.get("rows"):
        text = balance(even)
        said.append(text[:1].lower() + text[1:])
    return f"{'; '.join(said)}." if said else "Who was assigned to which arm was not recorded."


def flow(block: Record, question: Question) -> str:
    """Return the title of the participant flow.

    Examples
    --------
    >>> flow({"assigned": 17, "arms": [{"assigned": 9, "analysed": 8}, {"assigned": 8, "analysed": 8}]}, Question())
    '16 of 17 assigned patients were analysed'
    """
    arms = block.get("arms") or []
    analysed = [a.get("analysed") for a in arms]
    total = block.get("assigned")
    if not numbers.is_number(total) or not analysed or not all(numbers.is_number(a) for a in analysed):
        return "From the source to the arms"
    n = int(sum(a for a in analysed if numbers.is_number(a)))
    word = "assigned" if question.randomised else "eligible"
    if n == total:
        return f"All {numbers.count(n)} {word} patients were analysed"
    return f"{numbers.count(n)} of {numbers.count(total)} {word} patients were analysed"


def balance(block: Record) -> str:
    """Return the title of the balance figure: the largest standardised difference, before and after weighting.

    Examples
    --------
    >>> rows = [{"label": "Age", "smd": 0.21, "smd_weighted": 0.02}, {"label": "Sex", "smd": 0.01}]
    >>> balance({"rows": rows, "limit": 0.1})
    '1 of 2 standardised differences is above 0.1 (largest Age, 0.21), none after weighting'
    """
    given = block.get("limit")
    limit = float(given) if numbers.is_number(given) else 0.1
    rows = [r for r in block.get("rows") or [] if numbers.is_number(r.get("smd"))]
    if not rows:
        return "How alike the arms are could not be measured"
    over = sum(abs(float(r["smd"])) > limit for r in rows)
    worst = max(rows, key=lambda r: abs(float(r["smd"])))
    label = f"{worst.get('label') or worst.get('name')}{': ' + str(worst['level']) if worst.get('level') else ''}"
    largest = f"largest {label}, {numbers.fixed(abs(float(worst['smd'])), 2)}"
    text = f"No standardised difference is above {limit:g} ({largest})"
    if over:
        text = (
            f"{over} of {plural(len(rows), 'standardised difference')} {'is' if over == 1 else 'are'} above {limit:g}"
        )
        text += f" ({largest})"
    weighted = [abs(float(r["smd_weighted"])) for r in rows if numbers.is_number(r.get("smd_weighted"))]
    if over and weighted:
        left = sum(w > limit for w in weighted)
        text += f", {left or 'none'} after weighting"
    return text


def overlap(block: Record) -> str:
    """Return the title of the overlap figure.

    Examples
    --------
    >>> overlap({"known": True, "lowest": 0.5, "highest": 0.5})
    'The chance of treatment was set by the trial: 50.0% for everyone'
    >>> overlap({"lowest": 0.04, "highest": 0.93, "outside": 3})
    'The chance of treatment runs from 4.0% to 93.0%; 3 patients have no counterpart in the other arm'
    """
    low, high = block.get("lowest"), block.get("highest")
    if not numbers.is_number(low) or not numbers.is_number(high):
        return "The chance of treatment in each arm"
    if block.get("known") and high - low < 0.01:
        return f"The chance of treatment was set by the trial: {numbers.percent((low + high) / 2)} for everyone"
    text = f"The chance of treatment runs from {numbers.percent(low)} to {numbers.percent(high)}"
    lost = block.get("outside")
    if not numbers.is_number(lost):
        return text
    if not lost:
        return f"{text}; every patient has counterparts in the other arm"
    return f"{text}; {plural(lost, 'patient')} {'has' if lost == 1 else 'have'} no counterpart in the other arm"


def curves(block: Record, question: Question) -> str:
    """Return the title of the curves by arm: the risks at the end.

    Examples
    --------
    >>> arms = [{"key": "active", "label": "drug", "risk": [0.0, 0.1]}, {"key": "control", "label": "none",
    ...          "risk": [0.0, 0.2]}]
    >>> curves({"times": [0, 365], "arms": arms}, Question())
    'By 365 days 10.0% of patients with drug and 20.0% with none have had the event'
    """
    times = block.get("times") or []
    ends = []
    for arm in block.get("arms") or []:
        known = [r for r in arm.get("risk") or [] if numbers.is_number(r)]
        if known:
            ends.append((str(arm.get("label") or arm.get("key")), known[-1]))
    if not times or not ends:
        return "Risk over follow-up by arm"
    each = [
        f"{numbers.percent(v)} {'of patients with' if k == 0 else 'with'} {inside(label)}"
        for k, (label, v) in enumerate(ends)
    ]
    when = numbers.horizon(round(float(times[-1]), 2), question.unit)
    return f"By {when} {join(each)} have had the event"


def forest(rows: Sequence[Record], question: Question) -> str:
    """Return the title of the forest of estimators: do they agree, and on what.

    Examples
    --------
    >>> row = {"measures": {"risk_difference": {"value": -0.11, "lower": -0.18, "upper": -0.04}}}
    >>> forest([row, row], Question("drug"))
    'All 2 estimators agree: a benefit of drug is shown'
    """
    scale, good = question.scale(), question.good()
    sides = [
        scale.excludes(m) * good
        for r in rows
        if bounds(m := (r.get("measures") or {}).get(question.contrast))[0] is not None
    ]
    if not sides:
        return "The average effect could not be estimated"
    words = {1: f"a benefit of {question.treated} is shown", -1: f"a harm of {question.treated} is shown", 0: "neither"}
    words[0] = f"neither benefit nor harm of {question.treated} is shown"
    if len(set(sides)) == 1:
        start = f"All {len(sides)} estimators agree: " if len(sides) > 1 else ""
        text = f"{start}{words[sides[0]]}"
        return text[:1].upper() + text[1:]
    benefit, harm = sides.count(1), sides.count(-1)
    text = f"The estimators do not agree: {benefit} of {len(sides)} {'shows' if benefit == 1 else 'show'} a benefit"
    return text + (f", {harm} a harm" if harm else "")


def quarters(block: Record, question: Question) -> str:
    """Return the title of effects by baseline risk: how the absolute difference runs, and whether that is shown.

    Examples
    --------
    >>> rows = [{"label": "1", "difference": {"value": -0.02}}, {"label": "4", "difference": {"value": -0.15}}]
    >>> quarters({"rows": rows, "trend": {"p": 0.3}}, Question())
    'The difference runs from −2.0 points at the lowest to −15.0 at the highest baseline risk (p for trend 0.30)'
    """
    rows = [r for r in block.get("rows") or [] if bounds(r.get("difference"))[0] is not None]
    if len(rows) < 2:
        return "The effect by baseline risk could not be estimated"
    ends = question.additive.text(*(bounds(rows[k].get("difference"))[0] for k in (0, -1)))
    unit = {"points": " points", "time": f" {question.unit}s"}.get(question.additive.kind, "")
    p = (block.get("trend") or {}).get("p")
    text = f"The difference runs from {ends[0]}{unit} at the lowest to {ends[1]} at the highest baseline risk"
    return text + (f" (p for trend {numbers.p_value(p)})" if numbers.is_number(p) else "")


def losses(rows: Sequence[Record]) -> str:
    """Return the title of the losses: whether the learner that was chosen is shown to beat one effect for everyone.

    The others were looked at too, so that one of their intervals beside 0 shows nothing by itself.

    Examples
    --------
    >>> rows = [{"title": "Causal forest", "kind": "candidate", "chosen": True,
    ...          "difference": {"value": -0.1, "lower": -0.2, "upper": 0.1}},
    ...         {"kind": "candidate", "difference": {"value": -0.3, "lower": -0.4, "upper": -0.2}}]
    >>> losses(rows)  # doctest: +NORMALIZE_WHITESPACE
    'Causal forest, chosen before the test part was opened, is not shown to predict effects better than one effect for
    everyone; 2 learners were looked at'
    """
    found = [r for r in rows if r.get("kind") == "candidate" and bounds(r.get("difference"))[0] is not None]
    chosen = next((r for r in found if r.get("chosen")), None)
    many = f"; {plural(len(found), 'learner')} were looked at" if len(found) > 1 else ""
    if chosen is None:
        return f"The chosen learner could not be compared with one effect for everyone{many}"
    side = Scale("dr_loss", "number").excludes(chosen.get("difference"))
    verdict = {-1: "is shown to predict effects better", 1: "is shown to predict effects worse"}.get(
        side, "is not shown to predict effects better"
    )
    who = str(chosen.get("title") or chosen.get("name") or "The learner")
    return f"{who}, chosen before the test part was opened, {verdict} than one effect for everyone{many}"


def targeting(block: Record) -> str:
    """Return the title of the targeting curves: is treating by predicted benefit shown to beat treating at random.

    Examples
    --------
    >>> targeting({"measures": {"autoc": {"value": 0.02, "lower": -0.01, "upper": 0.05}}})
    'Treating by predicted benefit is not shown to beat treating at random (AUTOC 0.0200, −0.0100 to 0.0500)'
    """
    found = block.get("measures") or {}
    name = next((k for k in ("autoc", "qini") if bounds(found.get(k))[0] is not None), "")
    value, lower, upper = bounds(found.get(name))
    if value is None:
        return "What ranking by predicted benefit gains"
    title = names.describe(name).title
    if lower is None or upper is None:
        return f"What ranking by predicted benefit gains ({title} {numbers.fixed(value, 4)})"
    word = "is shown" if lower > 0 else "is shown not" if upper < 0 else "is not shown"
    span = f"{numbers.fixed(lower, 4)} to {numbers.fixed(upper, 4)}"
    return (
        f"Treating by predicted benefit {word} to beat treating at random ({title} {numbers.fixed(value, 4)}, {span})"
    )


def calibration(groups: Sequence[Record], slope: Record | None = None) -> str:
    """Return the title of calibration for benefit: in how many groups the prediction lies in the interval.

    Examples
    --------
    >>> calibration([{"predicted": -0.1, "observed": {"value": -0.12, "lower": -0.2, "upper": -0.02}}])
    'The predicted effect lies inside the interval of the observed one in 1 of 1 group'
    """
    known = [
        (float(g["predicted"]), low, high)
        for g in groups
        for _, low, high in [bounds(g.get("observed"))]
        if numbers.is_number(g.get("predicted")) and low is not None and high is not None
    ]
    if not known:
        return "Predicted and observed effects"
    hit = sum(low <= p <= high for p, low, high in known)
    text = (
        f"The predicted effect lies inside the interval of the observed one in {hit} of {plural(len(known), 'group')}"
    )
    value, low, high = bounds(slope)
    if value is not None and low is not None and high is not None:
        text += f"; slope {numbers.short(value)} ({numbers.short(low)} to {numbers.short(high)})"
    return text


def subgroups(block: Record, alpha: float = 0.05) -> str:
    """Return what the subgroups say: which interactions stand after adjustment for their number.

    Examples
    --------
    >>> subgroups({"interactions": [{"label": "Sex", "p": 0.03, "p_adjusted": 0.12}, {"label": "Age", "p": 0.4}]})
    'No interaction is shown in 2 tests (smallest adjusted p 0.12, Sex)'
    >>> subgroups({"interactions": [{"label": "Sex", "p": 0.001, "p_adjusted": 0.004}]})
    'The effect differs by Sex (adjusted p 0.004)'
    """
    tests = [
        (
            float(p),
            str(t.get("label") or t.get("column")),
            "adjusted p" if numbers.is_number(t.get("p_adjusted")) else "p",
        )
        for t in block.get("interactions") or []
        if numbers.is_number(p := t.get("p_adjusted") if numbers.is_number(t.get("p_adjusted")) else t.get("p"))
    ]
    if not tests:
        return "Effects by subgroup, without a test of interaction"
    sure = sorted(t for t in tests if t[0] < alpha)
    if sure:
        return f"The effect differs by {join([t[1] for t in sure])} ({sure[0][2]} {numbers.p_value(sure[0][0])})"
    p, label, what = min(tests)
    return f"No interaction is shown in {plural(len(tests), 'test')} (smallest {what} {numbers.p_value(p)}, {label})"


def policies(rows: Sequence[Record], better: str = "lower") -> str:
    """Return the title of the policy values: which rule does best, and whether it is shown to beat treating all.

    Examples
    --------
    >>> rows = [{"name": "all", "title": "Treat all", "value": {"value": 0.3}},
    ...         {"name": "tree", "title": "Tree", "value": {"value": 0.28},
    ...          "against_all": {"value": -0.02, "lower": -0.06, "upper": 0.02}}]
    >>> policies(rows)
    'Best estimated outcome: tree; it is not shown to do better than treating everyone'
    """
    known = [r for r in rows if bounds(r.get("value"))[0] is not None]
    if not known:
        return "No policy could be valued"
    sign = 1.0 if better == "higher" else -1.0
    best = max(known, key=lambda r: sign * float(r["value"]["value"]))
    text = f"Best estimated outcome: {inside(str(best.get('title') or best.get('name')))}"
    gap, lower, upper = bounds(best.get("against_all"))
    if gap is None or lower is None or upper is None or not gap:
        return text
    if lower > 0:
        return f"{text}, shown to do better than treating everyone"
    return f"{text}; it is not shown to do better than treating everyone"


def fractions(block: Record) -> str:
    """Return the title of the targeted-fraction curve; gains are above 0 where treatment helps.

    Examples
    --------
    >>> fractions({"share": [0, 0.5, 1], "value": [0.0, 0.1, 0.08]})
    'The estimated gain is largest when 50% of patients, those with most predicted benefit, are treated'
    """
    pairs = [
        (float(v), float(s))
        for s, v in zip(block.get("share") or [], block.get("value") or [], strict=False)
        if numbers.is_number(v) and numbers.is_number(s)
    ]
    if not pairs:
        return "The gain by the share of patients treated"
    share = max(pairs)[1]
    if share >= 0.995:
        return "The estimated gain is largest when everyone is treated"
    if share <= 0.005:
        return "The estimated gain is largest when nobody is treated"
    return (
        f"The estimated gain is largest when {numbers.percent(share, 0)} of patients, those with most predicted "
        "benefit, are treated"
    )


def bias(turned: int, cells: int, scale: Scale) -> str:
    """Return the title of the grid of hidden confounders.

    Examples
    --------
    >>> bias(0, 25, Scale("risk_ratio", "ratio"))
    'No hidden confounder of the strengths shown would take the effect away'
    """
    if not cells:
        return "The effect under hidden confounders"
    if not turned:
        return "No hidden confounder of the strengths shown would take the effect away"
    return f"{turned} of {cells} strengths of a hidden confounder would take the effect away or turn it"


def sensitivity(effect: Record) -> str:
    """Return the opening sentence on hidden confounding and placebos.

    Examples
    --------
    >>> sensitivity({"sensitivity": {"sentence": "E-value 2.1."}, "placebos": [{"p": 0.4}]})
    'E-value 2.1. The one placebo test shows no effect where there can be none.'
    """
    block = effect.get("sensitivity") or {}
    said = str(block.get("sentence") or (block.get("e_value") or {}).get("sentence") or "")
    placebos = [(p, shown) for p in effect.get("placebos") or [] if (shown := _rejects(p)) is not None]
    bad = [str(p.get("title") or p.get("name")) for p, shown in placebos if shown]
    if bad:
        said += f" {join(bad)} {'shows' if len(bad) == 1 else 'show'} an effect where there can be none."
    elif placebos:
        who = "The one placebo test shows" if len(placebos) == 1 else f"Of {len(placebos)} placebo tests none shows"
        rest = "no effect" if len(placebos) == 1 else "an effect"
        said += f" {who} {rest} where there can be none."
    return said.strip()


def _rejects(placebo: Record) -> bool | None:
    """Return whether a placebo shows an effect; None where it could not be tried.

    Over many draws the share of tests that reject must be about one in twenty: the p of such a placebo is that of the
    estimate itself, which is to be small where there is an effect.
    """
    share, draws, p = (placebo.get(k) for k in ("rejected", "draws", "p"))
    if numbers.is_number(share) and numbers.is_number(draws) and draws > 0:
        return bool(share > 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws))
    return bool(p < 0.05) if numbers.is_number(p) else None
