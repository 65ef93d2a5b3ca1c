"""The rules that turn the numbers of a run into the opening sentence of each section."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aimed.report import names, numbers

__all__ = [
    "absent",
    "beats",
    "calibration",
    "changing",
    "checklists",
    "checks",
    "column",
    "course",
    "data",
    "deployment",
    "discrimination",
    "explanation",
    "failures",
    "findings",
    "join",
    "judged",
    "lost",
    "masks",
    "model",
    "nomogram",
    "outcome",
    "performance",
    "pictures",
    "plural",
    "proportional_hazards",
    "scans",
    "stability",
    "subgroups",
    "top_tenth",
    "uncertainty",
    "verdict",
]

Record = Mapping[str, Any]
Sign = Literal["good", "bad", "open"]


def plural(n: float, one: str, many: str = "") -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "patient"), plural(3, "category", "categories"), plural(0, "event")
    ('1 patient', '3 categories', '0 events')
    """
    return f"{numbers.count(n)} {one if n == 1 else many or one + 's'}"


def join(parts: Sequence[str], last: str = "and") -> str:
    """Return a list as running text.

    Examples
    --------
    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def absent(what: str, why: str = "", *, many: bool | None = None) -> str:
    """Return the one sentence of a section that was not assessed.

    Examples
    --------
    >>> absent("Subgroups", "the study file names none"), absent("Robustness")
    ('Subgroups were not assessed: the study file names none.', 'Robustness was not assessed in this run.')
    """
    many = what.endswith("s") and not what.endswith("ss") if many is None else many
    return f"{what} {'were' if many else 'was'} not assessed{f': {why}' if why else ' in this run'}."


def judged(group: Record, min_events: object = None) -> bool:
    """Return whether a subgroup has enough events to be judged at all.

    Examples
    --------
    >>> judged({"judged": False}), judged({"events": 4}, 20), judged({"events": 40}, 20)
    (False, False, True)
    """
    said = group.get("judged")
    if isinstance(said, bool):
        return said
    events = group.get("events")
    if numbers.is_number(events) and numbers.is_number(min_events):
        return events >= min_events
    return not isinstance(group.get("n"), str)


def column(block: Record) -> str:
    """Return the label of a column of subgroups; a bare column name is made readable.

    Examples
    --------
    >>> column({"column": "age_band", "label": "age_band (years)"}), column({"column": "sex", "label": "Sex at birth"})
    ('Age band (years)', 'Sex at birth')
    """
    name, label = str(block.get("column") or ""), str(block.get("label") or block.get("column"))
    if not name or not label.startswith(name):
        return label
    label = label.replace(name, name.replace("_", " "), 1)
    return label[:1].upper() + label[1:]


def _bounds(measure: Record | None) -> tuple[float | None, float | None, float | None]:
    if not measure:
        return None, None, None
    value, lower, upper = (measure.get(k) for k in ("value", "lower", "upper"))
    return (
        value if numbers.is_number(value) else None,
        lower if numbers.is_number(lower) else None,
        upper if numbers.is_number(upper) else None,
    )


def discrimination(name: str, measure: Record | None, unit: str = "day") -> tuple[Sign, str]:
    """Return how well the model ranks patients: a sign and a clause.

    Examples
    --------
    >>> discrimination("auroc", {"value": 0.99, "lower": 0.97, "upper": 1.0})
    ('good', 'ranks patients very well (AUROC 0.99)')
    >>> discrimination("auroc", {"value": 0.56, "lower": 0.45, "upper": 0.66})[1]
    'has not been shown to rank patients better than chance (AUROC 0.56, 0.45 to 0.66)'
    """
    title = names.lower(name, unit)
    value, lower, upper = _bounds(measure)
    if value is None:
        return "open", f"could not be judged on ranking ({title} not estimable)"
    if lower is None or upper is None:
        return "open", f"has {title} {numbers.short(value)} without an interval"
    if upper < 0.5:
        return "bad", f"ranks patients the wrong way round ({title} {numbers.short(value)})"
    if lower <= 0.5:
        span = f"{numbers.short(lower)} to {numbers.short(upper)}"
        return "bad", f"has not been shown to rank patients better than chance ({title} {numbers.short(value)}, {span})"
    words = (
        "ranks patients very well"
        if value >= 0.9
        else "ranks patients well"
        if value >= 0.8
        else "ranks patients moderately well"
        if value >= 0.7
        else "ranks patients weakly"
    )
    return ("good" if value >= 0.7 else "bad"), f"{words} ({title} {numbers.short(value)})"


def top_tenth(bins: Sequence[Record] | None) -> Literal["over", "under", "fits"] | None:
    """Return whether the highest decile of risk is over- or under-predicted, or None when unknown.

    Examples
    --------
    >>> top_tenth([{"predicted": 0.8, "observed": 0.6, "lower": 0.5, "upper": 0.7, "n": 40}])
    'over'
    """
    if not bins:
        return None
    top = max(bins, key=lambda b: b.get("predicted") or 0.0)
    _, lower, upper = _bounds({**top, "value": top.get("observed")})
    if lower is None or upper is None or not numbers.is_number(top.get("predicted")):
        return None
    return "over" if top["predicted"] > upper else "under" if top["predicted"] < lower else "fits"


def calibration(slope: Record | None, oe: Record | None, bins: Sequence[Record] | None = None) -> tuple[Sign, str]:
    """Return how well predicted and observed risks agree: a sign and a clause.

    The average (O/E) is named before the spread (slope), and the spread before the top tenth; an interval
    of O/E wider than 0.5 is too wide to say that all is well.

    Examples
    --------
    >>> good = {"value": 1.0, "lower": 0.9, "upper": 1.1}
    >>> calibration(good, good)
    ('good', 'no miscalibration was seen')
    >>> calibration({"value": 0.7, "lower": 0.6, "upper": 0.8}, good)
    ('bad', 'its risks are too extreme (slope 0.70)')
    """
    o, o_low, o_high = _bounds(oe)
    s, s_low, s_high = _bounds(slope)
    top = top_tenth(bins)
    if o_high is not None and o_high < 1:
        return "bad", f"over-predicts on average (O/E {numbers.short(o)})"
    if o_low is not None and o_low > 1:
        return "bad", f"under-predicts on average (O/E {numbers.short(o)})"
    if s_high is not None and s_high < 1:
        return "bad", f"its risks are too extreme (slope {numbers.short(s)})"
    if s_low is not None and s_low > 1:
        return "bad", f"its risks are too close together (slope {numbers.short(s)})"
    if top in ("over", "under"):
        return "bad", f"{top}-predicts in the top tenth"
    if o_low is None or o_high is None or s_low is None or s_high is None:
        return "open", "its calibration could not be judged"
    wide = []
    if o_high - o_low > 0.5:
        wide.append(f"O/E {numbers.short(o_low)} to {numbers.short(o_high)}")
    if s_high - s_low > 0.6:
        wide.append(f"slope {numbers.short(s_low)} to {numbers.short(s_high)}")
    if wide:
        return "open", f"its calibration is too imprecise to judge ({', '.join(wide)})"
    return "good", "no miscalibration was seen"


def performance(
    name: str,
    measure: Record | None,
    slope: Record | None,
    oe: Record | None,
    bins: Sequence[Record] | None = None,
    unit: str = "day",
    when: str = "",
) -> str:
    """Return the opening sentence on performance: ranking, then calibration, with the right conjunction.

    Examples
    --------
    >>> sure = {"value": 1.0, "lower": 0.9, "upper": 1.1}
    >>> top = [{"predicted": 0.8, "observed": 0.6, "lower": 0.5, "upper": 0.7, "n": 40}]
    >>> performance("auroc", {"value": 0.85, "lower": 0.8, "upper": 0.9}, sure, sure, top)
    'The model ranks patients well (AUROC 0.85) but over-predicts in the top tenth.'
    >>> performance("auroc", {"value": 0.85, "lower": 0.8, "upper": 0.9}, sure, sure)
    'The model ranks patients well (AUROC 0.85), and no miscalibration was seen.'
    """
    sign, ranking = discrimination(name, measure, unit)
    fit_sign, fit = calibration(slope, oe, bins)
    word = "but" if {sign, fit_sign} == {"good", "bad"} or fit_sign == "open" else "and"
    same_subject = fit.startswith(("over-", "under-"))
    head, bracket, tail = fit.partition(" (")
    return f"The model {ranking}{'' if same_subject else ','} {word} {head}{when}{bracket}{tail}."


def findings(
    name: str, measure: Record | None, worst: tuple[str, Record] | None, panels: Sequence[Record], unit: str = "day"
) -> str:
    """Return the opening sentence on several findings: ranking on average, the worst one, and those miscalibrated.

    Parameters
    ----------
    name : str
    measure : mapping or None
        The primary measure.
    worst : (str, mapping) or None
        Label and measure of the finding that does worst.
    panels : sequence of mapping
        ``slope``, ``oe`` and ``curve`` of each finding.
    unit : str

    Examples
    --------
    >>> sure, high = {"value": 1.0, "lower": 0.9, "upper": 1.1}, {"value": 1.4, "lower": 1.2, "upper": 1.6}
    >>> findings("macro_auroc", {"value": 0.83, "lower": 0.8, "upper": 0.86}, ("Mass", {"value": 0.7}),
    ...          [{"slope": sure, "oe": high}, {"slope": sure, "oe": sure}])
    'The model ranks patients well (macro AUROC 0.83), worst for mass (0.70); 1 of 2 findings is miscalibrated.'
    """
    text = f"The model {discrimination(name, measure, unit)[1]}"
    if worst is not None and len(panels) > 1:
        label, found = worst
        label = label[:1].lower() + label[1:] if label[1:2].islower() else label
        text += f", worst for {label} ({numbers.short(found.get('value'))})"
    signs = [calibration(p.get("slope"), p.get("oe"), (p.get("curve") or {}).get("bins"))[0] for p in panels]
    bad, unsure = signs.count("bad"), signs.count("open")
    n = plural(len(signs), "finding")
    if bad:
        text += f"; {bad} of {n} {'is' if bad == 1 else 'are'} miscalibrated"
    elif signs and unsure == len(signs):
        text += "; calibration could not be judged"
    elif unsure:
        text += f"; no miscalibration was seen, but {unsure} of {n} could not be judged"
    elif signs:
        text += "; no miscalibration was seen"
    return text + "."


def beats(title: str, difference: Record | None, better: str = "higher") -> tuple[Sign, str]:
    """Return whether the model is better than a baseline, from the paired difference model - baseline.

    Examples
    --------
    >>> beats("age alone", {"value": 0.09, "lower": 0.06, "upper": 0.12})
    ('good', 'better than age alone (difference 0.09, 0.06 to 0.12)')
    >>> beats("age alone", {"value": 0.01, "lower": -0.02, "upper": 0.04})
    ('open', 'not shown to differ from age alone (difference 0.01, −0.02 to 0.04)')
    """
    value, lower, upper = _bounds(difference)
    if value == 0 and lower is None and upper is None:
        return "open", f"the same as {title}"
    if value is None or lower is None or upper is None:
        return "open", f"not compared with {title}"
    text = f"{title} (difference {numbers.short(value)}, {numbers.short(lower)} to {numbers.short(upper)})"
    if lower <= 0 <= upper:
        return "open", f"not shown to differ from {text}"
    good = (lower > 0) if better != "lower" else (upper < 0)
    return ("good", f"better than {text}") if good else ("bad", f"worse than {text}")


def verdict(block: Record | None) -> str:
    """Return the opening sentence on the acceptance criteria.

    Examples
    --------
    >>> verdict({"state": "met", "criteria": [{"state": "met"}], "openings": 1})
    'The one acceptance criterion is met, on a test part that was opened once.'
    >>> verdict({"state": "not met", "criteria": [{"state": "met"}, {"state": "not met"}], "openings": 3})
    '1 of 2 acceptance criteria is not met, on a test part that was opened 3 times.'
    """
    if not block:
        return "No verdict was reached: the run recorded none."
    criteria = block.get("criteria") or []
    opened = _opened(block.get("openings"))
    if not criteria:
        return f"No acceptance criteria were set before the run, so there is no verdict{opened}."
    n = len(criteria)
    failed = sum(c.get("state") == "not met" for c in criteria)
    unsure = sum(c.get("state") not in ("met", "not met") for c in criteria)
    if n == 1:
        state = "is not met" if failed else "cannot be decided for lack of evidence" if unsure else "is met"
        return f"The one acceptance criterion {state}{opened}."
    if failed:
        return f"{failed} of {n} acceptance criteria {'is' if failed == 1 else 'are'} not met{opened}."
    if unsure:
        return f"{unsure} of {n} acceptance criteria cannot be decided for lack of evidence{opened}."
    return f"All {n} acceptance criteria are met{opened}."


def _opened(openings: object) -> str:
    if not isinstance(openings, int) or isinstance(openings, bool):
        return ""
    times = {0: "not opened", 1: "opened once", 2: "opened twice"}.get(openings, f"opened {openings} times")
    return f", on a test part that was {times}"


def checks(findings: Sequence[Record]) -> str:
    """Return the opening sentence on the data checks.

    Examples
    --------
    >>> checks([{"severity": "NOTE"}, {"severity": "WARN"}])
    '1 of 2 findings is a warning; none stops the run.'
    >>> checks([])
    'The checks reported nothing.'
    """
    n = len(findings)
    stops = sum(str(f.get("severity")) == "STOP" for f in findings)
    warns = sum(str(f.get("severity")) == "WARN" for f in findings)
    if not n:
        return "The checks reported nothing."
    if stops:
        return f"{stops} of {plural(n, 'finding')} {'stops' if stops == 1 else 'stop'} the run."
    if warns:
        return (
            f"{warns} of {plural(n, 'finding')} {'is a warning' if warns == 1 else 'are warnings'}; none stops the run."
        )
    return f"{'The one finding is a note' if n == 1 else f'All {n} findings are notes'}; nothing stops the run."


def data(block: Record) -> str:
    """Return the opening sentence on the cohort.

    Examples
    --------
    >>> data({"rows": 90, "patients": 80, "flow": [{"removed": 10, "remaining": 90}],
    ...       "missing": [{"label": "BMI", "fraction": 0.2}]})
    '90 rows of 80 patients remain after 10 were removed; the variable most often missing is BMI (20.0%).'
    """
    rows, patients = block.get("rows") or 0, block.get("patients") or 0
    removed = sum(int(s.get("removed") or 0) for s in block.get("flow") or [])
    kinds = (("images", "picture"), ("volumes", "scan"), ("notes", "note"))
    one = next((word for key, word in kinds if block.get(key)), "row")
    who = f"{plural(rows, one)} of {plural(patients, 'patient')}"
    if rows == patients and one == "row":
        who = plural(patients, "patient")
    verb = "remains" if rows == 1 else "remain"
    start = (
        f"{who} {verb} after {numbers.count(removed)} {'was' if removed == 1 else 'were'} removed"
        if removed
        else (f"All {who} of the source were used")
    )
    missing = [m for m in block.get("missing") or [] if numbers.is_number(m.get("fraction"))]
    if not missing:
        return f"{start}."
    worst = max(missing, key=lambda m: float(m["fraction"]))
    if not worst["fraction"]:
        return f"{start}; no value is missing."
    label = worst.get("label") or worst.get("variable")
    return f"{start}; the variable most often missing is {label} ({numbers.percent(worst['fraction'])})."


def outcome(block: Record, parts: Record | None = None) -> str:
    """Return the opening sentence on how often the outcome happens, and whether the parts agree.

    Examples
    --------
    >>> outcome({"kind": "binary", "label": "Death", "prevalence": {
    ...     "train": {"value": 0.3, "lower": 0.27, "upper": 0.33},
    ...     "test": {"value": 0.4, "lower": 0.36, "upper": 0.44}}})
    'Death is more frequent in test (40.0%) than in train (30.0%).'
    """
    if block.get("findings"):
        return _frequencies(block["findings"])
    if block.get("regions"):
        return _regions(block["regions"])
    label = str(block.get("label") or "The outcome")
    label = label[:1].upper() + label[1:]
    prevalence = block.get("prevalence") or {}
    _, train_low, train_high = _bounds(prevalence.get("train"))
    train, test = ((prevalence.get(k) or {}).get("value") for k in ("train", "test"))
    _, test_low, test_high = _bounds(prevalence.get("test"))
    if not numbers.is_number(train) or not numbers.is_number(test):
        return f"{label} is the outcome; how often it happens was not recorded for both parts."
    a, b = numbers.percent(test), numbers.percent(train)
    if train_low is None or train_high is None or test_low is None or test_high is None:
        return f"{label} occurs in {a} of the test part and {b} of the training part."
    if test_low > train_high:
        return f"{label} is more frequent in test ({a}) than in train ({b})."
    if test_high < train_low:
        return f"{label} is less frequent in test ({a}) than in train ({b})."
    return f"{label} is about as frequent in test ({a}) as in train ({b})."


def _frequencies(findings: Sequence[Record]) -> str:
    known = sorted(
        (float(v), str(f.get("label") or f.get("name")))
        for f in findings
        if numbers.is_number(v := ((f.get("prevalence") or {}).get("test") or {}).get("value"))
    )
    text = f"{plural(len(findings), 'finding')} {'is' if len(findings) == 1 else 'are'} looked for"
    if known:
        (low, rare), (high, most) = known[0], known[-1]
        text += f"; {most} is {'the most frequent' if len(known) > 1 else 'present'} in the test part"
        text += f" ({numbers.percent(high)})"
        text += f", {rare} the rarest ({numbers.percent(low)})" if len(known) > 1 else ""
    unsure, lost = (sum(int(f.get(k) or 0) for f in findings) for k in ("uncertain", "unknown"))
    if unsure or lost:
        text += f"; {numbers.count(unsure)} labels are uncertain and {numbers.count(lost)} unknown"
    return text + "."


def _regions(regions: Sequence[Record]) -> str:
    text = f"{plural(len(regions), 'region')} {'is' if len(regions) == 1 else 'are'} outlined"
    each = []
    for one in regions:
        median = ((one.get("volume_ml") or {}).get("test") or {}).get("median")
        if numbers.is_number(median):
            label = str(one.get("label") or one.get("name"))
            each.append(f"{_inside(label)} {numbers.fixed(median, 1)}")
    return f"{text}; median volumes in test scans that have them: {join(each)} ml." if each else f"{text}."


def masks(
    name: str,
    measure: Record | None,
    best: tuple[str, Record] | None,
    worst: tuple[str, Record] | None,
    missed: Sequence[tuple[str, int]] = (),
    unit: str = "day",
    mean: Record | None = None,
) -> str:
    """Return the opening sentence on outlines: overlap on average, the best and the worst region, and what was missed.

    Parameters
    ----------
    name : str
    measure : mapping or None
        The primary measure.
    best, worst : (str, mapping) or None
        Label and measure of the regions that do best and worst.
    missed : sequence of (str, int)
        Label of each region, and in how many scans that have it none of it was outlined.
    unit : str
    mean : mapping or None
        The mean over the regions, where the primary measure is of one region.

    Examples
    --------
    >>> masks("mean_dice", {"value": 0.8, "lower": 0.7, "upper": 0.9}, ("Core", {"value": 0.9}),
    ...       ("Rim", {"value": 0.7}), [("Core", 0), ("Rim", 2)])  # doctest: +NORMALIZE_WHITESPACE
    'Mean Dice is 0.80 (0.70 to 0.90), from 0.70 (rim) to 0.90 (core); no voxel of rim is found in 2 scans that have
    it.'
    """
    value, lower, upper = _bounds(measure)
    title = names.title(name, unit)
    if value is None:
        text = f"{title} could not be estimated"
    else:
        text = f"{title} is {numbers.short(value)}"
        both = lower is not None and upper is not None
        text += f" ({numbers.short(lower)} to {numbers.short(upper)})" if both else ", without an interval"
    if best is not None and worst is not None and best[0] != worst[0]:
        over = (mean or {}).get("value")
        text += f"; the mean over the regions is {numbers.short(over)}" if numbers.is_number(over) else ""
        ends = [f"{numbers.short(m.get('value'))} ({_inside(label)})" for label, m in (worst, best)]
        text += f", from {ends[0]} to {ends[1]}"
    lost = [(label, n) for label, n in missed if n]
    if lost:
        said = [f"of {_inside(label)} is found in {plural(n, 'scan')}" for label, n in lost]
        return f"{text}; no voxel {join(said)} that {'has' if lost[-1][1] == 1 else 'have'} it."
    return text + "."


def _inside(label: str) -> str:
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def model(block: Record, unit: str = "day") -> str:
    """Return the opening sentence on the chosen model and how it was chosen.

    Examples
    --------
    >>> rows = [{"name": "a", "title": "Cox model", "kind": "candidate", "metric": "uno_c", "mean": 0.72,
    ...          "lower": 0.7, "upper": 0.74, "chosen": True},
    ...         {"name": "b", "title": "Kaplan-Meier", "kind": "baseline", "metric": "uno_c", "mean": 0.5}]
    >>> model({"title": "Cox model", "leaderboard": rows})
    "Cox model was the only candidate; in tuning it reached Uno's C 0.72, against 0.50 for Kaplan-Meier."
    >>> both = [*rows, {"name": "c", "title": "Forest", "kind": "candidate", "metric": "uno_c", "mean": 0.721}]
    >>> choice = "Cox model was chosen: Forest scored better by 0.001 in uno_c, less than one standard error (0.02)."
    >>> model({"title": "Cox model", "leaderboard": both, "choice": choice})[:94]
    "Cox model was chosen: Forest scored better by 0.001 in Uno's C, less than one standard error ("
    """
    title = str(block.get("title") or block.get("name") or "The model")
    board = [r for r in block.get("leaderboard") or [] if numbers.is_number(r.get("mean"))]
    chosen = next((r for r in board if r.get("chosen")), None)
    if chosen is None:
        return f"The model is: {title}."
    lower_is_better = names.describe(chosen["metric"]).better == "lower"
    pick = min if lower_is_better else max
    candidates = [r for r in board if r.get("kind") == "candidate"]
    baselines = [r for r in board if r.get("kind") == "baseline"]
    best = pick(candidates or [chosen], key=lambda r: float(r["mean"]))
    if len(candidates) < 2:
        how = "was the only candidate; in tuning it"
    elif best is chosen or best["mean"] == chosen["mean"]:
        how = f"was the best of {len(candidates)} candidates in tuning; it"
    else:
        how = f"was chosen from {len(candidates)} candidates although {best['title']} scored better; it"
    said = str(block.get("choice") or "").strip().rstrip(".")
    metric = names.lower(str(chosen["metric"]), unit)
    start = f"{title} {how}"
    if said and len(candidates) > 1:
        start = f"{names.in_words(said, str(chosen['metric']), unit)}. {title}"
    digits = names.describe(str(chosen["metric"])).digits

    def said_as(value: float) -> str:
        return numbers.fixed(value, digits) if digits > 3 else numbers.short(value)

    sentence = f"{start} reached {metric} {said_as(chosen['mean'])}"
    if baselines:
        rival = pick(baselines, key=lambda r: float(r["mean"]))
        sentence += f", against {said_as(rival['mean'])} for {rival['title']}"
    return sentence + "."


def changing(block: Record, alpha: float = 0.05) -> list[Record]:
    """Return the tests of the terms whose hazards are shown not to be proportional, after Holm's adjustment.

    Examples
    --------
    >>> [t["term"] for t in changing({"terms": [{"term": "a", "p_holm": 0.01}, {"term": "b", "p_holm": 0.2}]})]
    ['a']
    """
    found = [t for t in block.get("terms") or [] if numbers.is_number(t.get("p_holm")) and float(t["p_holm"]) < alpha]
    return sorted(found, key=lambda t: float(t["p_holm"]))


_EVENTS_A_COLUMN = 10


def proportional_hazards(block: Record) -> str:
    """Return what the test of proportional hazards says, what that means and what to do.

    Examples
    --------
    >>> shock = {"term": "Shock", "p": 0.001, "p_holm": 0.002, "rho": -0.3}
    >>> said = proportional_hazards({"terms": [shock], "global": {"p": 0.001, "df": 1}, "df": 1, "events": 90})
    >>> said.partition('. ')[0]
    'The hazard ratio of Shock is not constant over follow-up (adjusted p 0.002): it falls with time'
    >>> proportional_hazards({"terms": [{"term": "Shock", "p": 0.4, "p_holm": 0.4}], "global": {"p": 0.4}, "df": 1,
    ...                       "events": 9})  # doctest: +NORMALIZE_WHITESPACE
    'There is not enough evidence to judge proportional hazards: 9 events for 1 coefficient are fewer than 10 a
    coefficient. No term is shown to change, which is no sign that none does.'
    """
    if block.get("reason"):
        return f"Proportional hazards could not be tested: {str(block['reason']).rstrip('.')}."
    terms = [t for t in block.get("terms") or [] if numbers.is_number(t.get("p_holm"))]
    whole = (block.get("global") or {}).get("p")
    if not terms:
        return "Proportional hazards were not tested."
    events, df = block.get("events"), block.get("df")
    few = numbers.is_number(events) and numbers.is_number(df) and events < _EVENTS_A_COLUMN * df
    found = changing(block)
    caution = (
        " Patients have several rows, which the test takes for patients: its p values are too small."
        if block.get("repeated")
        else ""
    )
    if found:
        names_of = join([str(t["term"]) for t in found[:3]] + ([f"{len(found) - 3} more"] if len(found) > 3 else []))
        worst = numbers.p_value(float(found[0]["p_holm"]))
        how = "adjusted p " if len(found) == 1 else "smallest adjusted p "
        verb, ratio = ("is", "ratio") if len(found) == 1 else ("are", "ratios")
        way = f": it {course(block, found[0])} with time" if len(found) == 1 else ""
        return (
            f"The hazard {ratio} of {names_of} {verb} not constant over follow-up ({how}{worst}){way}. The {ratio} of "
            f"the model {'is an average' if len(found) == 1 else 'are averages'} over follow-up, and risks may be too "
            "high early and too low late, or the other way round: look at the calibration at each horizon. Stratify by "
            "the term, let its effect change with time, or compare with a model that assumes no proportional hazards."
            f"{caution}"
        )
    if few:
        return (
            f"There is not enough evidence to judge proportional hazards: {plural(float(events or 0), 'event')} for "
            f"{plural(float(df or 0), 'coefficient')} are fewer than {_EVENTS_A_COLUMN} a coefficient. No term is "
            f"shown to change, which is no sign that none does.{caution}"
        )
    least = min(terms, key=lambda t: float(t["p_holm"]))
    text = (
        f"No hazard ratio is shown to change over follow-up (smallest adjusted p {numbers.p_value(least['p_holm'])}, "
        f"{least['term']})"
    )
    if numbers.is_number(whole) and whole < 0.05:
        return (
            f"{text}, but all terms together do not fit constant ratios (global p {numbers.p_value(whole)}): look at "
            f"the calibration at each horizon.{caution}"
        )
    return f"{text}.{caution}"


def course(block: Record, term: Record) -> str:
    """Return the verb for how the hazard ratio of a term, or the effect of several columns, moves over follow-up.

    Examples
    --------
    >>> course({"curves": [{"term": "a", "scale": "ratio", "value": [6.0, 4.0, 2.0]}]}, {"term": "a"})
    'falls'
    >>> course({"curves": [{"term": "a", "scale": "ratio", "value": [2.0, 6.0, 2.1]}]}, {"term": "a"})
    'goes up and down'
    """
    curve: Record = next((c for c in block.get("curves") or [] if c.get("term") == term.get("term")), {})
    values = [float(v) for v in curve.get("value") or [] if numbers.is_number(v)]
    if curve.get("scale") == "ratio":
        values = [math.log(v) for v in values if v > 0]
    if len(values) < 2:
        rho = term.get("rho")
        return "changes" if not numbers.is_number(rho) else "rises" if rho > 0 else "falls"
    net = values[-1] - values[0]
    if abs(net) < 0.5 * (max(values) - min(values)):
        return "goes up and down"
    return "rises" if net > 0 else "falls"


def nomogram(block: Record, unit: str = "day") -> str:
    """Return how far a reading of the nomogram is from the model, or why there is none.

    Examples
    --------
    >>> nomogram({"error": {"bound": [0.021], "largest": [0.013], "mean": [0.003], "rows": 332, "outside": 0.05},
    ...           "risks": [{"horizon": 365}]})  # doctest: +NORMALIZE_WHITESPACE
    'Read to whole points the risk by 365 days is off by 0.3 percentage points on average and by 1.3 at most in 332
    training rows, and by no more than 2.1 for anyone within the axes; 5.0% of the training rows lie beyond an axis.'
    >>> nomogram({"reason": "20 predictors have weight"})
    'There is no nomogram: 20 predictors have weight.'
    """
    if block.get("reason"):
        return f"There is no nomogram: {str(block['reason']).rstrip('.')}."
    error, risks = block.get("error") or {}, block.get("risks") or []
    bounds = [float(b) for b in error.get("bound") or [] if numbers.is_number(b)]
    if not bounds:
        return "How far a reading is from the model was not recorded."
    k = max(range(len(bounds)), key=lambda i: bounds[i])
    horizon = (risks[k] if k < len(risks) else {}).get("horizon")
    when = f" by {numbers.horizon(horizon, unit)}" if numbers.is_number(horizon) else ""
    text = f"Read to whole points the risk{when} is off by "
    mean, largest = error.get("mean") or [], error.get("largest") or []
    if k < len(mean) and k < len(largest):
        text += (
            f"{numbers.fixed(100 * float(mean[k]), 1)} percentage points on average and by "
            f"{numbers.fixed(100 * float(largest[k]), 1)} at most in {numbers.count(error.get('rows'))} training rows, "
            f"and by no more than {numbers.fixed(100 * bounds[k], 1)} for anyone within the axes"
        )
    else:
        text += f"no more than {numbers.fixed(100 * bounds[k], 1)} percentage points for anyone within the axes"
    outside = error.get("outside")
    if numbers.is_number(outside) and outside > 0:
        text += f"; {numbers.percent(outside)} of the training rows lie beyond an axis"
    return text + "."


def uncertainty(perf: Record | None, primary: str, optimism: Record | None, unit: str = "day") -> str:
    """Return the opening sentence on how precise the primary measure is and how much training flattered it.

    Examples
    --------
    >>> perf = {"level": 0.95, "measures": {"auroc": {"value": 0.8, "lower": 0.7, "upper": 0.9}}}
    >>> uncertainty(perf, "auroc", None)
    'The 95% interval of AUROC is wide (0.70 to 0.90).'
    """
    measure = ((perf or {}).get("measures") or {}).get(primary)
    _, lower, upper = _bounds(measure)
    level = f"{100 * float((perf or {}).get('level') or 0.95):g}%"
    if lower is None or upper is None:
        text = f"No interval of {names.lower(primary, unit)} could be computed"
    else:
        width = upper - lower
        word = "narrow" if width <= 0.05 else "moderate in width" if width < 0.15 else "wide"
        span = f"{numbers.short(lower)} to {numbers.short(upper)}"
        text = f"The {level} interval of {names.lower(primary, unit)} is {word} ({span})"
    fall = (optimism or {}).get("optimism")
    if numbers.is_number(fall):
        size = "little" if abs(fall) < 0.02 else "clearly" if abs(fall) < 0.05 else "strongly"
        text += f"; training data flatter the model {size} (optimism {numbers.fixed(fall)})"
    return text + "."


def stability(block: Record) -> str:
    """Return how much the risk of a patient changes when other patients train the model; empty when not known.

    Examples
    --------
    >>> stability({"draws": 20, "mean_absolute_difference": {"value": 0.031, "lower": 0.028, "upper": 0.034},
    ...            "share_above_0_1": 0.04})  # doctest: +NORMALIZE_WHITESPACE
    'Over 20 refits on draws of the training patients, the risk of a test patient moves by 3.1 percentage points on
    average (2.8 to 3.4); for 4.0% of them the mean move is above 10 points.'
    """
    value, lower, upper = _bounds(block.get("mean_absolute_difference"))
    if value is None:
        return ""
    refits = f" {plural(block['draws'], 'refit')}" if numbers.is_number(block.get("draws")) else " refits"
    text = f"Over{refits} on draws of the training patients, the risk of a test patient moves by "
    text += f"{numbers.fixed(100 * value, 1)} percentage points on average"
    if lower is not None and upper is not None:
        text += f" ({numbers.fixed(100 * lower, 1)} to {numbers.fixed(100 * upper, 1)})"
    share = block.get("share_above_0_1")
    if numbers.is_number(share):
        text += f"; for {numbers.percent(share)} of them the mean move is above 10 points"
    return text + "."


def subgroups(block: Record, unit: str = "day") -> str:
    """Return the opening sentence on the groups: failures first, then lack of evidence.

    Examples
    --------
    >>> groups = [{"group": "male", "state": "met"}, {"group": "female", "state": "not enough evidence"}]
    >>> subgroups({"primary": "auroc", "columns": [{"label": "Sex", "groups": groups}]})
    'No group fails; for 1 of 2 groups there is not enough evidence (Sex: female).'
    """
    rows = [(column(c), g) for c in block.get("columns") or [] for g in c.get("groups") or []]
    n = len(rows)
    if not n:
        return "No subgroup was named in the study file."

    def named(state: str) -> list[str]:
        return [f"{label}: {g.get('group')}" for label, g in rows if g.get("state") == state]

    failed, unsure, met = named("not met"), named("not enough evidence"), named("met")
    if failed:
        text = (
            f"{len(failed)} of {n} groups {'does' if len(failed) == 1 else 'do'} not meet the criterion "
            f"({_some(failed)})"
        )
        return text + (f"; for {len(unsure)} there is not enough evidence." if unsure else ".")
    if unsure:
        return f"No group fails; for {len(unsure)} of {n} groups there is not enough evidence ({_some(unsure)})."
    if met:
        return f"All {len(met)} groups with a criterion meet it."
    rows = [(label, g) for label, g in rows if judged(g, block.get("min_events"))]
    low, high = _extremes(rows, str(block.get("primary") or ""))
    if low is None or high is None:
        return f"No criterion was set for subgroups; {plural(n, 'group')} were described."
    primary = names.title(str(block.get("primary")), unit)
    return (
        f"No criterion was set for subgroups; {primary} runs from {numbers.short(low[1])} ({low[0]}) "
        f"to {numbers.short(high[1])} ({high[0]})."
    )


def _some(texts: Sequence[str], limit: int = 3) -> str:
    shown = list(texts[:limit])
    rest = len(texts) - limit
    return "; ".join([*shown, f"and {rest} more"] if rest > 0 else shown)


def _extremes(
    rows: Sequence[tuple[Any, Record]], primary: str
) -> tuple[tuple[str, float] | None, tuple[str, float] | None]:
    values = [
        (f"{label}: {g.get('group')}", float(g["measures"][primary]["value"]))
        for label, g in rows
        if numbers.is_number(((g.get("measures") or {}).get(primary) or {}).get("value"))
    ]
    if not values:
        return None, None
    return min(values, key=lambda v: v[1]), max(values, key=lambda v: v[1])


def explanation(block: Record, unit: str = "day") -> str:
    """Return the opening sentence on what the model uses: variables whose interval excludes zero.

    Examples
    --------
    >>> explanation({"measure": "auroc", "permutation": [
    ...     {"label": "Age", "value": 0.1, "lower": 0.08, "upper": 0.12},
    ...     {"label": "BMI", "value": 0.0, "lower": -0.01, "upper": 0.01}]})
    'The model leans most on Age; 1 of 2 variables is shown to matter for AUROC.'
    """
    rows = [r for r in block.get("permutation") or [] if numbers.is_number(r.get("value"))]
    sanity = block.get("sanity") or {}
    doubt = " The sanity check failed, so do not rely on this section." if sanity.get("passed") is False else ""
    if not rows:
        return "No importance was computed." + doubt
    sure = [r for r in rows if numbers.is_number(r.get("lower")) and r["lower"] > 0]
    measure = names.lower(str(block.get("measure") or ""), unit)
    if not sure:
        return f"No variable is shown to matter for {measure} when its values are shuffled." + doubt
    top = max(sure, key=lambda r: float(r["value"]))
    verb = "is" if len(sure) == 1 else "are"
    return (
        f"The model leans most on {top.get('label') or top.get('variable')}; "
        f"{len(sure)} of {plural(len(rows), 'variable')} {verb} shown to matter for {measure}." + doubt
    )


def pictures(results: Record, of: str = "pictures", cost: str = "ranking") -> str:
    """Return the opening sentence on what could fool a model of pictures, or of notes: shortcuts, damage, sets, doubt.

    Examples
    --------
    >>> pictures({"shortcuts": {"sources": [{"finding": "mass", "tells": True}, {"finding": "edema", "tells": False}]},
    ...           "robustness": {"changes": [{"state": "loss shown"}, {"state": "no loss shown"}]},
    ...           "conformal": {"findings": {"mass": {"state": "held"}}}})  # doctest: +NORMALIZE_WHITESPACE
    '1 of 2 findings is told without the lungs; 1 of 2 changes of the pictures is shown to cost ranking; sets hold
    their promise for 1 of 1 finding.'
    """
    said = []
    sources = [s for s in (results.get("shortcuts") or {}).get("sources") or [] if not s.get("sees_lungs")]
    if sources:
        told, every = ({s.get("finding") for s in sources if s.get("tells") or every} for every in (False, True))
        verb = "is" if len(told) == 1 else "are"
        said.append(f"{len(told)} of {plural(len(every), 'finding')} {verb} told without the lungs")
    changes = (results.get("robustness") or {}).get("changes") or []
    if isinstance(changes, list) and changes:
        sure = lost(changes)
        verb = "is" if len(sure) == 1 else "are"
        said.append(f"{len(sure)} of {plural(len(changes), 'change')} of the {of} {verb} shown to cost {cost}")
    sets = (results.get("conformal") or {}).get("findings") or {}
    if sets:
        states = [str((f or {}).get("state")) for f in sets.values()]
        held, broken = states.count("held"), states.count("not held")
        kept = f"sets hold their promise for {held} of {plural(len(sets), 'finding')}"
        if broken:
            kept = f"sets break their promise for {broken} of {plural(len(sets), 'finding')}"
        elif held < len(sets):
            kept += f" and {len(sets) - held} could not be judged"
        said.append(kept)
    if not said:
        return f"What could fool a model of {of} was looked at as follows."
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def scans(results: Record) -> str:
    """Return the opening sentence on worse scans, and on whether poor outlines are known.

    Examples
    --------
    >>> scans({"robustness": {"changes": [{"state": "loss shown"}, {"state": "no loss shown"}]},
    ...        "quality": {"mean": {"rank": {"value": 0.71, "lower": 0.5, "upper": 0.8}}}})
    '1 of 2 changes of the scans is shown to cost overlap; expected and true Dice have a rank correlation of 0.71.'
    """
    said = []
    changes = (results.get("robustness") or {}).get("changes") or []
    if isinstance(changes, list) and changes:
        sure = lost(changes)
        verb = "is" if len(sure) == 1 else "are"
        said.append(f"{len(sure)} of {plural(len(changes), 'change')} of the scans {verb} shown to cost overlap")
    rank, lower, _ = _bounds(((results.get("quality") or {}).get("mean") or {}).get("rank"))
    if rank is not None:
        doubt = "" if lower is not None and lower > 0 else ", which is not shown to differ from none"
        said.append(f"expected and true Dice have a rank correlation of {numbers.short(rank)}{doubt}")
    if not said:
        return "What happens to outlines when scans get worse was looked at as follows."
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def lost(changes: Sequence[Record]) -> list[Record]:
    """Return the changes of pictures that are shown to cost ranking, after adjustment for their number.

    Examples
    --------
    >>> len(lost([{"state": "loss shown", "p_holm": 0.01}, {"state": "loss shown", "p_holm": 0.3}]))
    1
    """
    return [
        c
        for c in changes
        if c.get("state") == "loss shown" and not (numbers.is_number(c.get("p_holm")) and c["p_holm"] >= 0.05)
    ]


def failures(block: Record) -> str:
    """Return the opening sentence on where the errors gather.

    Examples
    --------
    >>> failures({"groups": [{"rule": "age > 80", "n": 31, "error": 0.24, "share": 0.18}]})
    'The largest errors gather where age > 80 (31 rows, 18.0% of the total error).'
    """
    groups = [g for g in block.get("groups") or [] if numbers.is_number(g.get("error"))]
    if not groups:
        return "No group of patients stands out by its errors."
    worst = max(groups, key=lambda g: float(g["error"]))
    share = f", {numbers.percent(worst['share'])} of the total error" if numbers.is_number(worst.get("share")) else ""
    return f"The largest errors gather where {worst.get('rule')} ({plural(worst.get('n') or 0, 'row')}{share})."


WARNS = "Warning: "
"""How the reason begins of a rule under which a model still answers."""


def refusals(block: Record) -> list[Record]:
    """Return the rules under which the model gives no answer.

    Examples
    --------
    >>> refusals({"refusals": [{"code": "GAP", "reason": "Slices are missing."}, {"reason": "Warning: large voxels."}]})
    [{'code': 'GAP', 'reason': 'Slices are missing.'}]
    """
    return [r for r in block.get("refusals") or [] if not str(r.get("reason") or "").startswith(WARNS)]


def warnings(block: Record) -> list[Record]:
    """Return the rules under which the model answers with a warning."""
    return [r for r in block.get("refusals") or [] if str(r.get("reason") or "").startswith(WARNS)]


def deployment(block: Record) -> str:
    """Return the opening sentence on what the model needs and when it refuses.

    Examples
    --------
    >>> deployment({"inputs": [{"required": True}, {"required": False}], "refusals": [{}], "limitations": []})
    'The model takes 2 inputs, of which 1 is required, and refuses to answer under 1 rule.'
    """
    inputs = block.get("inputs") or []
    need = sum(bool(i.get("required")) for i in inputs)
    found, warned = refusals(block), warnings(block)
    text = f"The model takes {plural(len(inputs), 'input')}"
    if inputs:
        text += ", none of them required" if not need else f", of which {need} {'is' if need == 1 else 'are'} required"
    if found:
        more = f"; it warns under {plural(len(warned), 'more')}".replace(" mores", " more") if warned else ""
        return f"{text}, and refuses to answer under {plural(len(found), 'rule')}{more}."
    return f"{text}{', and' if inputs else ' and'} has no rule to refuse."


def checklists(block: Record) -> str:
    """Return the opening sentence on the reporting guidelines.

    Examples
    --------
    >>> checklists({"tripod+ai": {"title": "TRIPOD+AI", "items": [{"state": "filled"}, {"state": "missing"}]}})
    'TRIPOD+AI: 1 of 2 items is filled from this run; 1 still needs words from the authors.'
    """
    texts = []
    for name, one in block.items():
        items = [i for i in (one or {}).get("items") or [] if i.get("state") != "not applicable"]
        filled = sum(i.get("state") == "filled" for i in items)
        left = len(items) - filled
        text = f"{(one or {}).get('title') or name}: {filled} of {plural(len(items), 'item')} "
        text += f"{'is' if filled == 1 else 'are'} filled from this run"
        texts.append(
            text + (f"; {left} still {'needs' if left == 1 else 'need'} words from the authors." if left else ".")
        )
    return " ".join(texts)
