"""Section 6: how well the model ranks, how well its risks agree with what happened, and whether acting on it helps."""

from __future__ import annotations

from typing import Any

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Context, Figure, Fold, Heading, Note, Pair, Section
from aimed.report.sections import average_effect, notes
from aimed.report.sections.heterogeneity import heterogeneity
from aimed.report.sections.masks import outlines
from aimed.report.sections.risk_quarters import risk_quarters
from aimed.report.sections.tables import (
    counts_table,
    decisions_table,
    differences_table,
    findings_table,
    measures_table,
    threshold_tables,
)
from aimed.report.sections.verdict import worst_finding


def build(results: view.Results) -> Section:
    """Return the section of performance on the test part."""
    perf = view.block(results, "performance")
    if view.block(results, "effect"):
        parts = [*average_effect.average(results), *risk_quarters(results), *heterogeneity(results)]
        return Section("performance", "Performance", " ".join(average_effect.lines(results)), parts)
    if not perf:
        return Section("performance", "Performance", sentences.absent("Performance"), (), False)
    if view.multilabel(results):
        return Section("performance", "Performance", *several(results))
    if view.masks(results):
        return Section("performance", "Performance", *outlines(results))
    main = view.main_context(results)
    name, measure = view.primary(results)
    worst = _worst_calibrated(results, main)
    lead = sentences.performance(
        name,
        measure,
        worst.measure("calibration_slope"),
        worst.measure("oe"),
        view.calibration_curve(results, worst.horizon).get("bins"),
        main.unit,
        worst.when,
    )
    return Section("performance", "Performance", lead, one_outcome(results))


def one_outcome(results: view.Results) -> list[Block]:
    """Return everything that is shown of one outcome: comparisons, measures, curves and decisions.

    Examples
    --------
    >>> [block.text for block in one_outcome({"performance": {"conventions": "Ties count one half."}})]
    ['Ties count one half.']
    """
    perf = view.block(results, "performance") or {}
    main = view.main_context(results)
    name, _ = view.primary(results)
    blocks: list[Block] = [Note(text) for text in _comparisons(results, name, main)]
    if perf.get("measures"):
        blocks.append(measures_table(results))
    differences = differences_table(results)
    if differences:
        blocks.append(differences)
    curves = perf.get("curves") or {}
    blocks += _discrimination(results, curves, main)
    horizons: list[str | None] = [h for h in view.horizons(results)] if view.timed(results) else [None]  # noqa: C416
    calibration = [
        FIGURES["calibration"]({"curve": curve}, view.context(results, h))
        for h in horizons
        if (curve := view.calibration_curve(results, h))
    ]
    if calibration:
        blocks.append(Heading("Calibration"))
        blocks += [
            Pair(calibration[i : i + 2]) if len(calibration) > 1 else calibration[i]
            for i in range(0, len(calibration), 2)
        ]
    blocks += _utility(results, curves, horizons)
    if perf.get("conventions"):
        blocks.append(Note(str(perf["conventions"])))
    return blocks


def several(results: view.Results) -> tuple[str, list[Block]]:
    """Return the opening sentence and blocks of several findings: their means, each beside the others, each folded.

    Examples
    --------
    >>> several({"performance": {"kind": "multilabel", "findings": {}}})[0]
    'The model could not be judged on ranking (macro AUROC not estimable).'
    """
    perf = view.block(results, "performance") or {}
    unit, context = view.unit(results), view.context(results)
    name, measure = view.primary(results)
    base = names.split_name(name)[0].removeprefix("macro_").removeprefix("micro_")
    found = {key: (perf.get("findings") or {}).get(key) or {} for key in unit.findings}
    blocks: list[Block] = [Note(text) for text in _comparisons(results, name, context)]
    said = view.block(results, "shortcuts", "sentence")
    if said:
        blocks.append(Note(f"{said} More under Robustness and refusals."))
    of_notes = view.notes(results)
    if of_notes:
        blocks += notes.labelled(results)
    elif any(view.of_finding(results, base, key) for key in found):
        blocks.append(by_finding(results, base, context))
    tables: list[Block] = [measures_table(results)] if view.measures(results) else []
    differences = differences_table(results)
    if differences:
        tables.append(differences)
    blocks += [Fold("Every measure beside the baselines", tables)] if of_notes and tables else tables
    rows = findings_table(results)
    if rows:
        blocks += [Heading("The risks behind the labels"), rows] if of_notes else [rows]
    panels = [
        {
            "label": label,
            "curve": curve,
            "slope": view.of_finding(results, "calibration_slope", key),
            "oe": view.of_finding(results, "oe", key),
        }
        for key, label in unit.findings.items()
        if (curve := view.block(found[key], "curves", "calibration"))
    ]
    drawn = [p for p in panels if _has_curve(p["curve"])] if of_notes else panels
    if drawn:
        blocks += [Heading("Calibration"), FIGURES["calibration_grid"]({"findings": drawn}, context)]
    if len(drawn) < len(panels):
        rest = sentences.join([titles.inside(str(p["label"])) for p in panels if p not in drawn])
        blocks.append(Note(f"Too few different risks to draw the calibration of {rest}.", "absent"))
    decisions = decisions_table(results)
    if decisions:
        blocks += [Heading("Decisions at the thresholds"), decisions]
    folds = [
        Fold(label, one_outcome(view.finding(results, key)), _beside(view.of_finding(results, "auroc", key)))
        for key, label in unit.findings.items()
        if found[key]
    ]
    if folds:
        blocks += [Heading("Each finding by itself"), *folds]
    if perf.get("conventions"):
        blocks.append(Note(str(perf["conventions"])))
    if of_notes and view.block(results, "report_labels", "conventions"):
        blocks.append(Note(str(results["report_labels"]["conventions"])))
    if of_notes:
        return notes.lead(results), blocks
    panels = panels or [{"label": "", "slope": None, "oe": None}] if found else []
    return sentences.findings(name, measure, worst_finding(results, base), panels, unit), blocks


def _has_curve(curve: view.Results) -> bool:
    return sum(numbers.is_number(v) for v in curve.get("observed") or []) > 1


def by_finding(results: view.Results, base: str, context: Context) -> Figure:
    """Return the figure of one measure by finding, the mean on top, the model beside its baselines."""
    unit = view.unit(results)
    words = names.describe(base)
    baselines = {str(b): m for b, m in (view.block(results, "performance", "baselines") or {}).items() if m}
    macro = f"macro_{base}"
    shown: list[tuple[str, view.Record]] = []
    rows: list[dict[str, Any]] = []
    for key, label in unit.findings.items():
        mine = view.of_finding(results, base, key) or {}
        shown.append((label, mine))
        points = {"model": mine} | {b: view.of_finding(results, base, key, b) or {} for b in baselines}
        counts = [numbers.count(mine.get("n")), numbers.count(mine.get("events"))]
        rows.append({"label": label, "points": points, "columns": counts, "note": mine.get("note")})
    sign = 1.0 if words.better == "lower" else -1.0
    rows.sort(key=lambda r: sign * float(v) if numbers.is_number(v := r["points"]["model"].get("value")) else 9.0)
    whole = view.measures(results).get(macro)
    if whole:
        points = {"model": whole} | {b: m.get(macro) or {} for b, m in baselines.items()}
        head = {"label": "Mean over findings", "points": points, "columns": [numbers.count(whole.get("n")), ""]}
        rows.insert(0, {**head, "strong": True})
    chance = words.reference if words.better != "target" else None
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"model": "model", **{b: view.baseline_title(results, b) for b in baselines}},
            "columns": ["n", "positive"],
            "axis": words.title,
            "head": "Finding",
            "title": titles.macro(macro, whole, shown, unit),
            "caption": f"{words.title} on the test part by finding, each on the pictures where it is known; lines are "
            f"{context.band}s." + (" The dashed line is chance." if chance is not None else ""),
            "said": f"{words.title} by finding.",
            "salt": f"findings-{base.replace('_', '-')}",
            "reference": chance,
        },
        context,
    )
    return figure


def _beside(measure: view.Results | None) -> str:
    if not measure:
        return ""
    size = f"; n = {numbers.count(measure.get('n'))}, {numbers.count(measure.get('events'))} positive"
    return f"AUROC {numbers.measure(measure)}{size}"


def _worst_calibrated(results: view.Results, main: Context) -> Context:
    # One good horizon must not hide a bad one: the sentence is about the horizon that agrees least.
    contexts = [main, *(view.context(results, h) for h in view.horizons(results) if h != main.horizon)]
    signs = [
        sentences.calibration(
            c.measure("calibration_slope"), c.measure("oe"), view.calibration_curve(results, c.horizon).get("bins")
        )[0]
        for c in contexts
    ]
    for sign in ("bad", "open"):
        if sign in signs:
            return contexts[signs.index(sign)]
    return main


def _comparisons(results: view.Results, name: str, context: Context) -> list[str]:
    differences = view.block(results, "performance", "differences") or {}
    several = bool(view.labels(results)) or bool(context.salt)

    def called(baseline: str) -> str:
        title = view.baseline_title(results, baseline)
        return titles.inside(title.partition(" (")[0]) if several else title

    said = {
        b: sentences.beats(called(b), found[name], names.describe(name).better)
        for b, found in differences.items()
        if found and name in found
    }
    title = names.lower(name, context.unit)
    if not said:
        return []
    text = f"In {title} the model is {sentences.join([clause for _, clause in said.values()])}."
    signs = {b: sign for b, (sign, _) in said.items()}
    if "f1" in name and signs.get("prevalence", "good") != "good" and "good" in signs.values():
        # Calling everything present has an F1 that a cautious labeller does not reach on labels that mean nothing.
        text += f" Against {called('prevalence')}, which reads nothing, no gain is shown: this is no sign of reading."
    return [text]


def _discrimination(results: view.Results, curves: view.Results, context: Context) -> list[Block]:
    out: list[Block] = []
    pair = []
    if _has(curves.get("roc"), "fpr", "tpr"):
        data = {"curve": curves["roc"], "thresholds": view.thresholds(results, None)}
        pair.append(FIGURES["roc"](data, context))
    if _has(curves.get("precision_recall"), "recall", "precision"):
        pair.append(FIGURES["precision_recall"]({"curve": curves["precision_recall"]}, context))
    if pair:
        out.append(Pair(pair))
    if _has(curves.get("risk_groups"), "times", "groups"):
        out.append(FIGURES["survival_groups"](curves["risk_groups"], context))
    if _has(curves.get("over_time"), "times"):
        out.append(FIGURES["over_time"](curves["over_time"], context))
    return [Heading("Discrimination"), *out] if out else []


def _utility(results: view.Results, curves: view.Results, horizons: list[str | None]) -> list[Block]:
    out: list[Block] = []
    for h in horizons:
        found: Any = curves.get("decision") or {}
        curve = found.get(h) if h else found
        chosen = view.chosen_threshold(results, h)
        context = view.context(results, h)
        if _has(curve, "threshold", "model"):
            called = {b: view.baseline_title(results, b) for b in curve.get("baselines") or {}}
            data = {"curve": curve, "chosen": chosen["threshold"] if chosen else None, "titles": called}
            out.append(FIGURES["decision_curve"](data, context))
        rows = view.thresholds(results, h)
        if rows:
            out += threshold_tables(rows, context.when)
            counts = counts_table(rows, context.when, view.block(results, "performance", "n"), context.observed)
            out += [counts] if counts else []
    return [Heading("Clinical utility"), *out] if out else []


def _has(block: Any, *keys: str) -> bool:
    return bool(block) and all(block.get(k) for k in keys)
