"""Section 6: how well the model ranks, how well its risks agree with what happened, and whether acting on it helps."""

from __future__ import annotations

from typing import Any

from aimed.report import names, sentences, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Context, Heading, Note, Pair, Section
from aimed.report.sections.tables import counts_table, differences_table, measures_table, threshold_tables


def build(results: view.Results) -> Section:
    """Return the section of performance on the test part."""
    perf = view.block(results, "performance")
    if not perf:
        return Section("performance", "Performance", sentences.absent("Performance"), (), False)
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
    return Section("performance", "Performance", lead, blocks)


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
    clauses = [
        sentences.beats(view.baseline_title(results, b), found[name], names.describe(name).better)[1]
        for b, found in differences.items()
        if found and name in found
    ]
    title = names.title(name, context.unit)
    return [f"In {title} the model is {sentences.join(clauses)}."] if clauses else []


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
