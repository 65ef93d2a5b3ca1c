"""Section 1: each acceptance criterion with its value, and the key numbers beside their baselines."""

from __future__ import annotations

import re

from aimed.report import names, numbers, sentences, view
from aimed.report.parts import Block, Criterion, Facts, Key, Note, Section, Strip, Verdict
from aimed.report.sections import average_effect
from aimed.report.sections.estimand import estimand
from aimed.report.sections.masks import worst_region


def build(results: view.Results) -> Section:
    """Return the verdict section."""
    verdict = view.block(results, "verdict")
    blocks: list[Block] = [Note(text) for text in average_effect.lines(results)]
    unit = view.unit(results)
    if verdict:
        rows = [
            Criterion(
                str(c.get("text") or ""),
                criterion(results, str(c.get("measure") or ""), unit),
                numbers.interval(c.get("value"), c.get("lower"), c.get("upper"), names.describe(measured(c)).digits),
                str(c.get("state") or ""),
                str(c.get("why") or ""),
            )
            for c in verdict.get("criteria") or []
        ]
        changed = bool(verdict.get("changed_after_opening"))
        blocks.append(
            Verdict(
                str(verdict.get("state") or "no criteria"),
                rows,
                openings(verdict.get("openings")),
                "The study file was changed after the test part was first opened: these numbers are no longer those of "
                "an untouched test, and the criteria may have been set with the answer in view."
                if changed
                else "",
                names.in_words(
                    names.in_words(
                        str((verdict.get("simple_model") or {}).get("sentence") or ""), view.primary(results)[0], unit
                    ),
                    view.tuning_metric(results),
                    unit,
                ),
            )
        )
    keys = _keys(results)
    if keys:
        blocks.append(Strip(keys))
    blocks += estimand(results)
    study = view.block(results, "study") or {}
    facts = [
        ("Intended use", study.get("intended_use")),
        ("For", "; ".join(str(u) for u in study.get("intended_users") or [])),
        ("Not for", "; ".join(str(u) for u in study.get("not_for") or [])),
        ("Design", study.get("design")),
    ]
    if any(v for _, v in facts):
        blocks.append(Facts([(k, str(v)) for k, v in facts if v]))
    return Section("verdict", "Verdict", sentences.verdict(verdict), blocks, bool(verdict))


def measured(criterion: view.Results) -> str:
    """Return the measure that a criterion is about, without what it is compared with.

    Examples
    --------
    >>> measured({"measure": "worst_subgroup(auroc)"}), measured({"measure": "hd95@core"})
    ('auroc', 'hd95@core')
    """
    call = _CALL.fullmatch(str(criterion.get("measure") or ""))
    if call is None:
        return str(criterion.get("measure") or "")
    return str(call[3] if call[1] == "difference" else call[2])


_CALL = re.compile(r"(difference|worst_subgroup)\(([^()]*)\)\.?([^.]*)")


def criterion(results: view.Results, measure: str, unit: str = "day") -> str:
    """Return the measure of an acceptance criterion in words.

    Examples
    --------
    >>> criterion({}, "oe@365"), criterion({}, "difference(age_only).brier"), criterion({}, "worst_subgroup(auroc)")
    ('O/E ratio at 365 days', 'Brier score, model minus age only', 'AUROC of the worst subgroup')
    """
    call = _CALL.fullmatch(measure)
    if call is None:
        # A criterion is written on the scale of the results; elsewhere on the page risks are in percentage points.
        return names.title(measure, unit) + (" (as a fraction)" if measure.startswith("risk_difference") else "")
    kind, inside, after = call.groups()
    if kind == "worst_subgroup":
        return f"{names.title(inside, unit)} of the worst subgroup"
    return f"{names.title(after, unit)}, model minus {view.baseline_title(results, inside)}"


def openings(n: object) -> str:
    """Return how often the test part was opened, in words.

    Examples
    --------
    >>> openings(1), openings(3), openings(None)
    ('Test part opened once', 'Test part opened 3 times', 'Openings of the test part were not recorded')
    """
    if not isinstance(n, int) or isinstance(n, bool):
        return "Openings of the test part were not recorded"
    return "Test part " + {0: "not opened", 1: "opened once", 2: "opened twice"}.get(n, f"opened {n} times")


def _keys(results: view.Results) -> list[Key]:
    if view.effect(results):
        return average_effect.keys(results)
    if view.multilabel(results):
        return _of_findings(results)
    if view.masks(results):
        return _of_regions(results)
    name, measure = view.primary(results)
    context = view.main_context(results)
    keys: list[Key] = []
    if measure:
        best = view.best_baseline(results, name)
        beside = (
            f"{view.baseline_title(results, best[0])}: {numbers.fixed(best[1]['value'])}" if best else "no baseline"
        )
        keys.append(_key(names.title(name, context.unit), measure, beside))
    for base in ("calibration_slope", "oe"):
        found = context.measure(base)
        if found:
            keys.append(_key(f"{names.describe(base).title}{context.when}", found, "ideal: 1"))
    chosen = view.chosen_threshold(results, context.horizon)
    if chosen and chosen.get("net_benefit"):
        at = numbers.percent(chosen["threshold"], 0)
        keys.append(
            _key(
                f"Net benefit at {at}{context.when}",
                chosen["net_benefit"],
                _treat_all(results, context.horizon, chosen["threshold"]),
            )
        )
    worst = _worst(results)
    if worst:
        keys.append(worst)
    perf = view.block(results, "performance") or {}
    if numbers.is_number(perf.get("n")):
        train = view.block(results, "data", "parts", "train") or {}
        beside = (
            f"train: {numbers.count(train.get('n'))}, {numbers.count(train.get('events'))} events"
            if train
            else "test part"
        )
        keys.append(Key("Test part", numbers.count(perf["n"]), f"{numbers.count(perf.get('events'))} events", beside))
    return keys[:6]


def _of_findings(results: view.Results) -> list[Key]:
    """Return the key numbers of several findings: mean, worst, gain over the baselines, calibration, groups, size."""
    unit = view.unit(results)
    name, measure = view.primary(results)
    base = names.split_name(name)[0].removeprefix("macro_").removeprefix("micro_")
    perf = view.block(results, "performance") or {}
    beside = [
        f"{view.baseline_title(results, b)}: {numbers.fixed(m[name]['value'])}"
        for b, m in (perf.get("baselines") or {}).items()
        if numbers.is_number(((m or {}).get(name) or {}).get("value"))
    ]
    keys: list[Key] = []
    if measure:
        keys.append(_key(names.title(name, unit), measure, "; ".join(beside) or "no baseline"))
    worst = worst_finding(results, base)
    if worst and len(unit.findings) > 1:
        label, found = worst
        size = f"n = {numbers.count(found.get('n'))}, {numbers.count(found.get('events'))} positive"
        keys.append(_key(f"Worst finding ({label}), {names.describe(base).title}", found, size))
    rival = view.best_baseline(results, name)
    gap = (view.block(perf, "differences", rival[0]) or {}).get(name) if rival else None
    if rival and gap and numbers.is_number(gap.get("value")):
        keys.append(_key(_gap_word(name, gap), gap, f"against {view.baseline_title(results, rival[0])}"))
    signs = [
        (label, *sentences.calibration(*_slope_and_oe(results, f))) for f, label in unit.findings.items()
    ]  # fmt: skip
    if signs:
        bad = [(label, text) for label, sign, text in signs if sign == "bad"]
        unsure = sum(sign == "open" for _, sign, _ in signs)
        span = f"{bad[0][0]}: {bad[0][1].partition(' (')[0]}" if bad else "none is shown to be off"
        rest = f"too little to judge {unsure} of them" if unsure else "ideal: 0"
        keys.append(Key("Findings miscalibrated", f"{len(bad)} of {len(signs)}", span, rest))
    group = _worst(results)
    if group:
        keys.append(group)
    if numbers.is_number(perf.get("n")):
        train = view.block(results, "data", "parts", "train") or {}
        some = f"{numbers.count(perf.get('events'))} with a finding" if numbers.is_number(perf.get("events")) else ""
        of = f"{sentences.plural(perf['patients'], 'patient')}" if numbers.is_number(perf.get("patients")) else ""
        beside_it = f"train: {numbers.count(train.get('n'))} of {numbers.count(train.get('patients'))} patients"
        span = "; ".join(t for t in (of, some) if t) or "test part"
        keys.append(
            Key(f"Test {view.item(results)}s", numbers.count(perf["n"]), span, beside_it if train else "test part")
        )
    return keys[:6]


def _of_regions(results: view.Results) -> list[Key]:
    """Return the key numbers of outlines: mean, first and worst region, gain, volumes, groups, size."""
    unit = view.unit(results)
    name, measure = view.primary(results)
    base = names.split_name(name)[0].removeprefix("mean_")
    keys: list[Key] = []
    rival = view.best_baseline(results, name)
    if measure:
        best = f"{view.baseline_title(results, rival[0])}: {numbers.fixed(rival[1]['value'])}" if rival else ""
        keys.append(_key(names.title(name, unit), measure, best or "no baseline", names.describe(name).digits))
    whole = view.measures(results).get(f"mean_{base}") if name != f"mean_{base}" else None
    if whole and len(unit.findings) > 1:
        beside = f"n = {numbers.count(whole.get('n'))} scans"
        keys.append(_key(names.title(f"mean_{base}", unit), whole, beside, names.describe(base).digits))
    first = next(iter(unit.findings), "")
    for key in dict.fromkeys((first, _key_of(results, base))):
        found = view.of_finding(results, base, key) if key and f"{base}@{key}" != name else None
        if found:
            word = "worst region" if key != first else "all regions" if len(unit.findings) == 1 else ""
            median = view.block(results, "performance", "regions", key, "medians", base) or {}
            middle = f"median {numbers.fixed(median['value'])}" if numbers.is_number(median.get("value")) else ""
            beside = "; ".join(t for t in (middle, f"n = {numbers.count(found.get('n'))} scans", word) if t)
            keys.append(_key(names.title(f"{base}@{key}", unit), found, beside, names.describe(base).digits))
    gap = (view.block(results, "performance", "differences", rival[0]) or {}).get(name) if rival else None
    if rival and gap and numbers.is_number(gap.get("value")):
        keys.append(_key(_gap_word(name, gap), gap, f"against {view.baseline_title(results, rival[0])}"))
    bias = view.block(results, "volumes", "regions", first, "absolute", "bias") if first else None
    if bias and numbers.is_number(bias.get("value")):
        ends = [f"{numbers.fixed(bias[k], 1)}" for k in ("lower", "upper") if numbers.is_number(bias.get(k))]
        span = f"{ends[0]} to {ends[1]} ml" if len(ends) == 2 else "no interval"
        label = f"Mean volume error, {unit.findings[first].lower()}"
        keys.append(Key(label, f"{numbers.fixed(bias['value'], 1)} ml", span, "outline less reference"))
    group = _worst(results)
    if group:
        keys.append(group)
    perf = view.block(results, "performance") or {}
    size: list[Key] = []
    if numbers.is_number(perf.get("n")):
        train = view.block(results, "data", "parts", "train") or {}
        of = sentences.plural(perf["patients"], "patient") if numbers.is_number(perf.get("patients")) else "test part"
        beside = f"train: {numbers.count(train.get('n'))} scans of {numbers.count(train.get('patients'))} patients"
        size = [Key("Test scans", numbers.count(perf["n"]), of, beside if train else "test part")]
    # Those that stand last are left out where there is no room; the size always stays.
    return [*keys[:5], *size]


def _gap_word(name: str, gap: view.Results) -> str:
    """Return what a difference to a baseline is called: a gain only where it is one and more is better."""
    better = names.describe(name).better == "higher" and gap["value"] >= 0
    return "Gain over the best baseline" if better else "Difference to the best baseline"


def _key_of(results: view.Results, base: str) -> str:
    worst = worst_region(results, base)
    return next((k for k, label in view.labels(results).items() if worst and label == worst[0]), "")


def _slope_and_oe(results: view.Results, finding: str) -> tuple[view.Record | None, view.Record | None]:
    return view.of_finding(results, "calibration_slope", finding), view.of_finding(results, "oe", finding)


def worst_finding(results: view.Results, base: str) -> tuple[str, view.Results] | None:
    """Return the label and the measure of the finding that does worst, or None.

    Examples
    --------
    >>> measures = {"auroc@mass": {"value": 0.8}, "auroc@edema": {"value": 0.7}}
    >>> perf = {"kind": "multilabel", "findings": {"mass": {}, "edema": {}}, "measures": measures}
    >>> worst_finding({"performance": perf}, "auroc")
    ('edema', {'value': 0.7})
    """
    words = names.describe(base)
    known = [
        (label, m)
        for key, label in view.labels(results).items()
        if numbers.is_number((m := view.of_finding(results, base, key) or {}).get("value"))
    ]
    if not known:
        return None
    ideal = words.reference or 0.0
    sign = {"higher": -1.0, "lower": 1.0, "target": 1.0}[words.better]
    return max(
        known, key=lambda f: sign * (abs(f[1]["value"] - ideal) if words.better == "target" else float(f[1]["value"]))
    )


def _key(label: str, measure: view.Results, beside: str, digits: int = 3) -> Key:
    lower, upper = measure.get("lower"), measure.get("upper")
    span = (
        f"{numbers.fixed(lower, digits)} to {numbers.fixed(upper, digits)}"
        if numbers.is_number(lower) and numbers.is_number(upper)
        else "no interval"
    )
    value = numbers.fixed(measure["value"], digits) if numbers.is_number(measure.get("value")) else "not estimable"
    return Key(label, value, span, beside)


def _treat_all(results: view.Results, horizon: str | None, threshold: float) -> str:
    curve = view.block(results, "performance", "curves", "decision") or {}
    curve = (curve.get(horizon) or {}) if horizon else curve
    grid, values = curve.get("threshold") or [], curve.get("all") or []
    near = min(range(len(grid)), key=lambda i: abs(grid[i] - threshold), default=None)
    if near is None or near >= len(values) or abs(grid[near] - threshold) > 0.02:
        return "treating none: 0"
    return f"treating all: {numbers.fixed(values[near])}"


def _worst(results: view.Results) -> Key | None:
    block = view.block(results, "subgroups") or {}
    name = str(block.get("primary") or "")
    words = names.describe(name)
    rows = [
        (
            f"{sentences.column(c)}: {g.get('group')}",
            (g.get("measures") or {}).get(name) or {},
            str(g.get("state") or ""),
        )
        for c in block.get("columns") or []
        for g in c.get("groups") or []
        if sentences.judged(g, block.get("min_events"))
    ]
    if not rows and block.get("columns"):
        return Key("Worst group", "not judged", "no group has enough data", "see Subgroups")
    rows = [r for r in rows if numbers.is_number(r[1].get("value"))]
    if not rows:
        return None
    if words.better == "target":
        reference = words.reference or 0.0
        label, worst, state = max(rows, key=lambda r: abs(float(r[1]["value"]) - reference))
    else:
        label, worst, state = (max if words.better == "lower" else min)(rows, key=lambda r: float(r[1]["value"]))
    overall = view.measures(results).get(name) or {}
    beside = (
        f"all patients: {numbers.fixed(overall.get('value'))}" if overall else f"n = {numbers.count(worst.get('n'))}"
    )
    beside += f"; {state}" if state in ("not met", "not enough evidence") else ""
    return _key(f"Worst group ({label})", worst, beside)
