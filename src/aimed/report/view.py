"""How the sections look into a results dictionary: primary measure, horizons, baselines, thresholds, contexts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aimed.report import contrast, names, numbers
from aimed.report.parts import Block, Context, Facts, Heading, Table, num

__all__ = [
    "baseline_title",
    "best_baseline",
    "block",
    "calibration_curve",
    "chosen_threshold",
    "competing",
    "context",
    "effect",
    "finding",
    "horizons",
    "item",
    "key",
    "labels",
    "masks",
    "measures",
    "multilabel",
    "notes",
    "of_finding",
    "primary",
    "record",
    "thresholds",
    "timed",
    "tuning_metric",
    "unit",
]

Results = Mapping[str, Any]
Record = Mapping[str, Any]


def block(results: Results, *path: str) -> Any:
    """Return what lies at a path of keys, or None when any part of it is absent.

    Examples
    --------
    >>> block({"model": {"calibration": None}}, "model", "calibration", "method") is None
    True
    """
    found: Any = results
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def tuning_metric(results: Results) -> str | None:
    """Return the key of the measure that tuning was scored by, or None.

    Examples
    --------
    >>> tuning_metric({"model": {"leaderboard": [{"metric": "ibs"}]}})
    'ibs'
    """
    for row in block(results, "model", "leaderboard") or []:
        if row.get("metric"):
            return str(row["metric"])
    found = block(results, "model", "tuning", "metric")
    return str(found) if found else None


def unit(results: Results) -> names.Unit:
    """Return the unit of time, singular, with the labels of the findings where there are several.

    Examples
    --------
    >>> unit({"performance": {"unit": "days"}}), unit({})
    ('day', 'day')
    """
    asked = block(results, "effect", "estimand", "unit")
    found = block(results, "performance", "unit") or block(results, "outcome", "unit") or asked or "day"
    text = str(found)
    return names.Unit(text[:-1] if text.endswith("s") and len(text) > 2 else text, labels(results))


def labels(results: Results) -> dict[str, str]:
    """Return the label of each finding or region by its key, in order; empty where the outcome is one event.

    Examples
    --------
    >>> labels({"performance": {"kind": "multilabel", "findings": {"mass": {}}, "labels": {"mass": "Mass"}}})
    {'mass': 'Mass'}
    """
    perf = block(results, "performance") or {}
    said = perf.get("labels")
    given: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    found = {str(k): str(given.get(k) or str(k).replace("_", " ")) for k in [*(perf.get("findings") or {}), *given]}
    if found:
        return found
    return {
        key(str(f.get("name"))): str(f.get("label") or f.get("name"))
        for f in block(results, "outcome", "findings") or block(results, "outcome", "regions") or []
        if isinstance(f, Mapping) and f.get("name")
    }


def of_finding(results: Results, base: str, key: str, baseline: str = "") -> dict[str, Any] | None:
    """Return a measure of one finding, of the model or of a baseline, or None.

    Examples
    --------
    >>> of_finding({"performance": {"measures": {"auroc@mass": {"value": 0.8}}}}, "auroc", "mass")
    {'value': 0.8}
    """
    where = ("baselines", baseline) if baseline else ("measures",)
    found = block(results, "performance", *where, f"{base}@{key}")
    if found is None:
        found = block(results, "performance", "findings", key, *where, base)
    return dict(found) if isinstance(found, Mapping) else None


def key(name: str) -> str:
    """Return the key of a finding: its name with every other character than a letter, digit or _ made one.

    Examples
    --------
    >>> key("Pleural effusion/left")
    'Pleural_effusion_left'
    """
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def multilabel(results: Results) -> bool:
    """Return whether the outcome is several findings that a picture may have at once.

    Examples
    --------
    >>> multilabel({"performance": {"kind": "multilabel"}}), multilabel({"outcome": {"kind": "binary"}})
    (True, False)
    """
    return "multilabel" in (block(results, "outcome", "kind"), block(results, "performance", "kind"))


def masks(results: Results) -> bool:
    """Return whether the outcome is regions that are outlined in scans.

    Examples
    --------
    >>> masks({"performance": {"kind": "masks"}}), masks({"outcome": {"kind": "multilabel"}})
    (True, False)
    """
    return "masks" in (block(results, "outcome", "kind"), block(results, "performance", "kind"))


def notes(results: Results) -> bool:
    """Return whether the rows are notes whose findings are read.

    Examples
    --------
    >>> notes({"task": "report_labels"}), notes({"data": {"notes": {"notes": 9}}}), notes({"task": "classify"})
    (True, True, False)
    """
    return results.get("task") == "report_labels" or bool(block(results, "data", "notes"))


def item(results: Results) -> str:
    """Return what one row with several findings is called: a note, or a picture.

    Examples
    --------
    >>> item({"task": "report_labels"}), item({"outcome": {"kind": "multilabel"}})
    ('note', 'picture')
    """
    return "note" if notes(results) else "picture"


def effect(results: Results) -> bool:
    """Return whether the study asks what a treatment does.

    Examples
    --------
    >>> effect({"task": "effect"}), effect({"effect": {"estimand": None}}), effect({"task": "survival"})
    (True, True, False)
    """
    return results.get("task") == "effect" or bool(block(results, "effect"))


def finding(results: Results, name: str) -> dict[str, Any]:
    """Return the results as if one finding were the only outcome, so that what draws a yes/no outcome draws it.

    Examples
    --------
    >>> whole = {"performance": {"findings": {"mass": {"kind": "binary", "n": 9}}}}
    >>> finding(whole, "mass")["performance"]["n"], finding(whole, "mass")["study"]["primary"]
    (9, 'auroc')
    """
    label = labels(results).get(name, name)
    return {
        **results,
        "study": {**(block(results, "study") or {}), "outcome_label": label, "primary": "auroc"},
        "outcome": {"kind": "binary", "label": label},
        "performance": block(results, "performance", "findings", name) or {},
        "subgroups": None,
        "salt": f"f{list(labels(results)).index(name) if name in labels(results) else 0}-",
    }


def measures(results: Results) -> dict[str, Any]:
    """Return the measures of the model on the test part, by name."""
    return dict(block(results, "performance", "measures") or {})


def primary(results: Results) -> tuple[str, dict[str, Any] | None]:
    """Return the name and record of the primary measure, or of the first measure of ranking when none was named.

    Examples
    --------
    >>> primary({"study": {"primary": "uno_c"}, "performance": {"measures": {"uno_c": {"value": 0.7}}}})
    ('uno_c', {'value': 0.7})
    """
    found = measures(results)
    if effect(results):
        return _average(results)
    named = block(results, "study", "primary")
    first = ("micro_f1",) if notes(results) else ()
    for name in (named, *first, "macro_auroc", "auroc", "mean_dice", "uno_c", "harrell_c", "cause_specific_c", *found):
        if name in found:
            return str(name), found[str(name)]
    usual = (
        "micro_f1"
        if notes(results)
        else "macro_auroc"
        if multilabel(results)
        else "mean_dice"
        if masks(results)
        else "auroc"
    )
    return str(named or usual), None


def _average(results: Results) -> tuple[str, dict[str, Any] | None]:
    contrast = str(block(results, "effect", "estimand", "contrast") or "risk_difference")
    rows = block(results, "effect", "average") or []
    chosen = next((r for r in rows if r.get("primary")), rows[0] if rows else {})
    measure = (chosen.get("measures") or {}).get(contrast) or (block(results, "effect", "crude") or {}).get(contrast)
    return contrast, dict(measure) if isinstance(measure, Mapping) else None


def horizons(results: Results) -> list[str]:
    """Return the horizons that have a calibration curve or a measure, as they are spelt in the names.

    Examples
    --------
    >>> horizons({"performance": {"measures": {"oe@365": {}, "oe@90": {}, "uno_c": {}}}})
    ['90', '365']
    """
    found = {at for name in measures(results) if (at := names.split_name(name)[1]) and names.is_horizon(at)}
    if timed(results):
        found |= set(block(results, "performance", "curves", "calibration") or {})
    return sorted(found, key=float)


def timed(results: Results) -> bool:
    """Return whether the outcome is a time to an event, with or without competing events.

    Examples
    --------
    >>> timed({"performance": {"kind": "competing"}}), timed({"performance": {"kind": "binary"}})
    (True, False)
    """
    return block(results, "performance", "kind") in ("survival", "competing")


def competing(results: Results) -> bool:
    """Return whether other events compete with the outcome.

    Examples
    --------
    >>> competing({"outcome": {"kind": "competing"}}), competing({"performance": {"kind": "survival"}})
    (True, False)
    """
    return "competing" in (block(results, "outcome", "kind"), block(results, "performance", "kind"))


def _main_horizon(results: Results) -> str | None:
    every = horizons(results)
    at = names.split_name(primary(results)[0])[1]
    return at if at in every else every[-1] if every else None


def context(results: Results, horizon: str | None = None) -> Context:
    """Return what figures need to know besides their data."""
    perf = block(results, "performance") or {}
    method, level = str(perf.get("interval_method") or ""), float(perf.get("level") or 0.95)
    # The whole method stands once, under Uncertainty; a caption only says what kind of interval it shows.
    how = f"{100 * level:g}% bootstrap intervals over patients." if "bootstrap" in method else ""
    label = block(results, "study", "outcome_label") or block(results, "outcome", "label") or "outcome"
    return Context(
        outcome=str(label),
        unit=unit(results),
        horizon=horizon,
        level=level,
        how=how,
        measures=measures(results),
        competing=competing(results),
        salt=str(results.get("salt") or ""),
        **({"predicts": "effect", "measured": _measured(results)} if effect(results) else {}),
    )


def _measured(results: Results) -> str:
    asked = contrast.question(results)
    return {"risk": "percentage points", "time": f"{asked.unit}s"}.get(asked.kind, "units of the outcome")


def main_context(results: Results) -> Context:
    """Return the context at the horizon that the report puts first."""
    return context(results, _main_horizon(results))


def calibration_curve(results: Results, horizon: str | None) -> dict[str, Any]:
    """Return the calibration curve at a horizon, or the only one."""
    found = block(results, "performance", "curves", "calibration") or {}
    return dict(found.get(horizon) or {} if horizon else found)


def thresholds(results: Results, horizon: str | None) -> list[dict[str, Any]]:
    """Return the threshold table at a horizon, or the only one."""
    found = block(results, "performance", "thresholds") or []
    return list(found.get(horizon) or []) if isinstance(found, Mapping) else list(found)


def chosen_threshold(results: Results, horizon: str | None) -> dict[str, Any] | None:
    """Return the row of the chosen threshold, or None."""
    return next((t for t in thresholds(results, horizon) if t.get("chosen")), None)


def baseline_title(results: Results, name: str) -> str:
    """Return the title of a baseline as the leaderboard spells it.

    Examples
    --------
    >>> baseline_title({}, "age_only")
    'age only'
    """
    for row in block(results, "model", "leaderboard") or []:
        if row.get("name") == name and row.get("title"):
            return str(row["title"])
    given = block(results, "report_labels", "titles", name)
    return str(given) if given else name.replace("_", " ")


def best_baseline(results: Results, measure: str) -> tuple[str, dict[str, Any]] | None:
    """Return the name and measure of the baseline that does best, or None.

    Examples
    --------
    >>> baselines = {"a": {"auroc": {"value": 0.5}}, "b": {"auroc": {"value": 0.7}}}
    >>> best_baseline({"performance": {"baselines": baselines}}, "auroc")
    ('b', {'value': 0.7})
    """
    words = names.describe(measure)
    found = [
        (name, m[measure])
        for name, m in (block(results, "performance", "baselines") or {}).items()
        if numbers.is_number(((m or {}).get(measure) or {}).get("value"))
    ]
    if not found:
        return None
    reference = words.reference or 0.0
    if words.better == "target":
        return min(found, key=lambda f: abs(float(f[1]["value"]) - reference))
    pick = min if words.better == "lower" else max
    return pick(found, key=lambda f: float(f[1]["value"]))


def record(value: Mapping[str, Any], title: str = "") -> list[Block]:
    """Return any mapping of plain values as facts and tables, for blocks whose keys are free.

    Examples
    --------
    >>> [part.type for part in record({"models": 60, "groups": [{"a": 1}]})]
    ['facts', 'heading', 'table']
    """
    out: list[Block] = [Heading(title)] if title else []
    facts = [
        (_words(k), _value(v)) for k, v in value.items() if v is not None and not _is_table(v) and not _is_nested(v)
    ]
    if facts:
        out.append(Facts(facts))
    for key, rows in value.items():
        if _is_nested(rows):
            out += record(rows, _words(key))
        elif _is_table(rows):
            columns = list(dict.fromkeys(k for row in rows for k in row))
            body = [[_cell(row.get(c)) for c in columns] for row in rows]
            out += [Heading(_words(key)), Table([_words(c) for c in columns], body)]
    return out


def _words(key: str) -> str:
    text = str(key).replace("_", " ")
    return text[:1].upper() + text[1:] if len(text) > 1 else text


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and not ("value" in value and "lower" in value)


def _is_table(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(v, Mapping) for v in value)
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping) and "value" in value and "lower" in value:
        return numbers.measure(value)
    return numbers.number(value)


def _cell(value: object) -> Any:
    if isinstance(value, Mapping) and "value" in value and "lower" in value:
        return num(numbers.measure(value), value.get("value"))
    return num(numbers.number(value), value) if isinstance(value, (int, float)) else numbers.number(value)
