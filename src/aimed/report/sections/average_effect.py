"""The average effect: what happened in each arm, every contrast, and what each estimator makes of them."""

from __future__ import annotations

from typing import Any

from aimed.report import contrast, effect_sentences, names, numbers, sentences, titles, view
from aimed.report.contrast import Question, bounds
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Heading, Key, Note, Table, num


def lines(results: view.Results) -> list[str]:
    """Return the sentences that must be read first: the average effect, and whether effects differ.

    Examples
    --------
    >>> lines({"effect": {"estimand": {"treatment": "drug", "control": "none"}}})
    ['The average effect of drug, compared with none, could not be estimated.']
    """
    if not view.block(results, "effect"):
        return []
    said = [effect_sentences.average(view.primary(results)[1], contrast.question(results))]
    more = effect_sentences.heterogeneity(view.block(results, "effect", "heterogeneity"))
    return [*said, more] if more else said


def crude(results: view.Results) -> list[Block]:
    """Return the outcome of each arm as observed: table, curves and unadjusted contrasts.

    Examples
    --------
    >>> rate = {"value": 0.2, "lower": 0.1, "upper": 0.3}
    >>> arms = [{"key": "active", "label": "drug", "n": 90, "events": 18, "rate": rate}]
    >>> [part.type for part in crude({"effect": {"arms": arms}})]
    ['heading', 'table']
    """
    effect, asked = view.block(results, "effect") or {}, contrast.question(results)
    out: list[Block] = []
    if effect.get("arms"):
        rows = [
            [
                str(a.get("label") or a.get("key")),
                num(numbers.count(a.get("n")), a.get("n")),
                num(numbers.count(a.get("events")), a.get("events")),
                num(asked.level(a.get("rate")), (a.get("rate") or {}).get("value")),
            ]
            for a in effect["arms"]
        ]
        counted = any(a.get("events") is not None for a in effect["arms"])
        kept = [0, 1, 2, 3] if counted else [0, 1, 3]
        level = "Mean of the outcome" if asked.kind == "mean" else asked.levels()
        if _named(effect["arms"], "rmst"):
            level = f"Restricted mean time without the outcome ({asked.unit}s)"
        head = ["Arm", "n", "With the outcome", f"{level} (interval)"]
        table = Table([head[i] for i in kept], [[r[i] for i in kept] for r in rows], "Outcome by arm", wide=False)
        out += [Heading("The arms"), table]
    curves = effect.get("curves") or {}
    if curves.get("times") and curves.get("arms"):
        out.append(FIGURES["arm_curves"]({**curves, "question": asked}, view.context(results)))
    found = {str(k): m for k, m in (effect.get("crude") or {}).items() if m}
    if found:
        out.append(contrasts(found, asked, "Unadjusted contrasts, all on the same patients"))
    return out


def observed(results: view.Results) -> str:
    """Return the opening sentence on the outcome: what each arm had, as observed.

    Examples
    --------
    >>> arms = [{"key": "active", "label": "drug", "n": 90, "events": 18, "rate": {"value": 0.2}}]
    >>> observed({"effect": {"arms": arms, "estimand": {"outcome": "Death"}}})
    'As observed, death: 20.0% with drug (18 of 90).'
    """
    asked = contrast.question(results)
    each = []
    for a in view.block(results, "effect", "arms") or []:
        size = f"{numbers.count(a.get('events'))} of " if a.get("events") is not None else "n = "
        text = asked.level(a.get("rate"), span=False)
        each.append(
            f"{text} with {titles.inside(str(a.get('label') or a.get('key')))} ({size}{numbers.count(a.get('n'))})"
        )
    if not each:
        return f"The outcome is {asked.outcome}{asked.when}; the arms were not described."
    return f"As observed, {asked.outcome}{asked.when}: {sentences.join(each)}."


def _named(arms: list[Any], start: str) -> bool:
    return any(str((a.get("rate") or {}).get("name") or "").startswith(start) for a in arms)


def contrasts(found: dict[str, Any], asked: Question, caption: str) -> Table:
    """Return a table of contrasts, each with its interval and what it says in words."""
    rows: list[list[Cell | str]] = []
    for name, measure in found.items():
        scale = asked.scale(name)
        side = scale.excludes(measure) * asked.good(name)
        if scale.kind == "count":
            value = bounds(measure)[0]
            usual = f"patients to treat for {_one(asked)}" if value is not None and value > 0 else ""
            said = str(measure.get("note") or usual)
        else:
            said = {1: "benefit", -1: "harm", 0: "neither shown"}[side]
            said = f"{said}: {effect_sentences.amount(measure, asked, name)}" if scale.kind in _SAID else said
            said = str(measure.get("note") or "not estimable") if bounds(measure)[0] is None else said
        first = Cell(scale.title, strong=name == asked.contrast)
        rows.append([first, num(scale.interval(measure), measure.get("value")), said])
    return Table(["Contrast", "Estimate (interval)", "In words"], rows, caption)


_SAID = ("points", "time", "number")


def average(results: view.Results) -> list[Block]:
    """Return the average effect by estimator, as a forest plot, and the other contrasts of each.

    Examples
    --------
    >>> average({"effect": {"average": []}})
    []
    """
    rows = [r for r in view.block(results, "effect", "average") or [] if r]
    if not rows:
        return []
    asked, context = contrast.question(results), view.context(results)
    main = asked.contrast
    better = f"favours {asked.treated}", f"favours {asked.untreated}"
    data = {
        "rows": [
            {
                "label": str(r.get("title") or r.get("name")),
                "measure": (r.get("measures") or {}).get(main),
                "columns": [numbers.count(((r.get("measures") or {}).get(main) or {}).get("n"))],
                "strong": bool(r.get("primary")),
            }
            for r in rows
        ],
        "scale": asked.scale(),
        "columns": ["n"],
        "axis": asked.scale().title,
        "head": "Estimator",
        "title": effect_sentences.forest(rows, asked),
        "caption": f"{names.describe(main).title} of {asked.outcome}{asked.when}, {asked.treated} against "
        f"{asked.untreated}; the one named before the run is in bold. Lines are {context.band}s; dashed: no "
        "effect.",
        "said": f"Forest plot of {asked.scale().title} by estimator.",
        "salt": "average",
        "favours": better if asked.good() < 0 else better[::-1],
    }
    out: list[Block] = [Heading("The average effect"), FIGURES["effect_forest"](data, context)]
    every = list(dict.fromkeys(str(k) for r in rows for k in r.get("measures") or {}))
    if len(every) > 1:
        body = [
            [
                Cell(str(r.get("title") or r.get("name")), strong=bool(r.get("primary"))),
                *(num(asked.scale(k).interval((r.get("measures") or {}).get(k))) for k in every),
            ]
            for r in rows
        ]
        out.append(Table(["Estimator", *(asked.scale(k).title for k in every)], body, "Every contrast by estimator"))
    notes = [(str(r.get("title") or r.get("name")), str(r["note"])) for r in rows if r.get("note")]
    out += [Note(f"{title}: {note}") for title, note in notes]
    return out


def keys(results: view.Results) -> list[Key]:
    """Return the key numbers of a study of effects, each beside what it must be compared with."""
    effect, asked = view.block(results, "effect") or {}, contrast.question(results)
    name, measure = view.primary(results)
    out: list[Key] = []
    chosen: dict[str, Any] = next((r for r in effect.get("average") or [] if r.get("primary")), {})
    if bounds(measure)[0] is not None:
        raw = (effect.get("crude") or {}).get(name)
        beside = f"unadjusted: {asked.scale(name).text(bounds(raw)[0])[0]}" if bounds(raw)[0] is not None else ""
        by = f", {chosen['title']}" if chosen.get("title") else ""
        title = f"{asked.scale(name).title}{by}"
        out.append(_key(title, asked.scale(name), measure, beside or f"{asked.scale(name).none:g} is no effect"))
    rates = {a.get("key"): a.get("rate") for a in effect.get("arms") or []}
    if rates.get("active") and rates.get("control"):
        span = f"{asked.control}: {asked.level(rates['control'], span=False)}"
        value = asked.level(rates["active"], span=False)
        out.append(Key(f"{asked.levels()}, {asked.active}", value, span, "as observed"))
    need = (chosen.get("measures") or {}).get("number_needed_to_treat") or (effect.get("crude") or {}).get(
        "number_needed_to_treat"
    )
    if bounds(need)[0] is not None:
        note = f"for {_one(asked)}"
        # Where the interval reaches harm, it runs through infinity and only words can say it.
        if "NNTH" in str((need or {}).get("note")) or None in bounds(need):
            note = str((need or {}).get("note") or note)
        out.append(_key("Number needed to treat", asked.scale("number_needed_to_treat"), need, note))
    found = effect.get("heterogeneity") or {}
    if found.get("state"):
        out.append(
            Key("Does the effect differ between patients?", str(found["state"]), *_autoc(found))
        )  # fmt: skip
    best = _best_policy(effect, asked)
    if best:
        gap = asked.additive.interval(best.get("against_all"))
        value = asked.level(best.get("value"), span=False)
        out.append(
            Key(
                f"Outcome, rule: {titles.inside(str(best.get('title')))}",
                value,
                f"gain over treating all: {gap}" if best.get("against_all") else "",
                "doubly robust",
            )
        )
    arms = [a for a in (effect.get("flow") or {}).get("arms") or [] if numbers.is_number(a.get("test"))]
    if arms:
        n = sum(a["test"] for a in arms)
        each = sentences.join([f"{numbers.count(a['test'])} {a.get('label') or a.get('key')}" for a in arms])
        rest = sum(a["train"] for a in arms if numbers.is_number(a.get("train")))
        out.append(Key("Test part", numbers.count(n), each, f"train: {numbers.count(rest)}"))
    return out[:6]


def _one(asked: Question) -> str:
    return "one event less" if asked.better != "higher" else "one more with the outcome"


def _autoc(found: Any) -> tuple[str, str]:
    area = (found.get("measures") or {}).get("autoc")
    if bounds(area)[0] is None:
        return "see Performance", ""
    return f"AUTOC {numbers.measure(area, 3)}", "0 is no gain from ranking"


def _best_policy(effect: Any, asked: Question) -> Any:
    rows = [r for r in (effect.get("policy") or {}).get("rows") or [] if bounds(r.get("value"))[0] is not None]
    own = [r for r in rows if str(r.get("name")) not in ("all", "none", "current", "treat_all", "treat_none")]
    if not own:
        return None
    sign = asked.good("mean_difference" if asked.kind != "time" else "rmst_difference")
    return max(own, key=lambda r: sign * float(r["value"]["value"]))


def _key(label: str, scale: Any, measure: Any, beside: str) -> Key:
    value, lower, upper = bounds(measure)
    texts = scale.text(value, lower, upper)
    span = f"{texts[1]} to {texts[2]}" if lower is not None and upper is not None else "no interval"
    return Key(label, texts[0], span, beside)
