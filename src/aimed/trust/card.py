"""The model card: Hugging Face front matter and Markdown, every number with its interval, n and path in the results."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from aimed.trust import effect_words as effects
from aimed.trust import scan_words as scans
from aimed.trust.tripod import (
    augmentation,
    identifiers,
    labels,
    network,
    note_source,
    of_findings,
    of_notes,
    of_pictures,
    refused_notes,
)
from aimed.trust.words import at, number, plural, title

__all__ = ["escape", "model_card"]

_METRIC_IDS = {"auroc": "roc_auc", "brier": "brier_score", "auprc": "average_precision", "dice": "dice", "iou": "iou"}
_LEADING = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))")


def escape(text: Any) -> str:
    r"""Return text that Markdown and HTML show as it stands, on one line.

    Examples
    --------
    >>> print(escape("<b>*Age*</b> | [x](y)"))
    &lt;b&gt;\*Age\*&lt;/b&gt; \| \[x\](y)
    """
    line = " ".join(_printable(str(text)).split())
    line = re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LEADING.sub(lambda m: f"{m[1]}\\{m[2]}" if not m[2].isdigit() else f"{m[1]}&#8203;{m[2]}", line)


def _printable(text: str) -> str:
    """Replace control, private, surrogate and line-separating characters by blanks."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Cf") else c for c in text)


def _yaml(value: Any) -> str:
    """A scalar or list as JSON, which YAML reads the same; text is always quoted."""
    if isinstance(value, str):
        return json.dumps(_printable(value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    return json.dumps(value)


def model_card(results: Mapping[str, Any]) -> str:
    """Return the model card of a run.

    Parameters
    ----------
    results : mapping
        The whole results record; blocks that are absent are said to be absent.

    Returns
    -------
    str
        Markdown with YAML front matter.

    Notes
    -----
    Sections follow Mitchell et al. Each number stands in a table row with its interval, n, events and the path in
    ``results.json`` it was read from; text from the study file is escaped.

    References
    ----------
    Mitchell et al., Model cards for model reporting, FAT* 2019, doi 10.1145/3287560.3287596.

    Examples
    --------
    >>> card = model_card({"study": {"id": "demo", "title": "Death after infarction"}, "model": {"title": "Cox"}})
    >>> card.splitlines()[0], "# Death after infarction" in card
    ('---', True)
    """
    sections = (
        _front(results),
        _head(results),
        _details(results),
        _use(results),
        _factors(results),
        _effects(results),
        _metrics(results),
        _data(results),
        _analyses(results),
        _ethics(results),
        _caveats(results),
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def _unit(r: Mapping[str, Any]) -> str:
    return str(at(r, "performance.unit") or at(r, "outcome.unit") or "day")


def _title(r: Mapping[str, Any], name: str) -> str:
    return title(name, _unit(r), labels(r))


_OF_FINDINGS = ("auroc", "auprc", "brier", "oe", "calibration_slope", "sensitivity", "specificity")
_OF_NOTES = ("precision", "recall", "f1", "kappa", "auroc", "oe")
_OF_REGIONS = ("dice", "hd95", "surface_dice", "volume_difference")
"""Measures of a single finding or region that the card shows; all are in the results."""


def _chosen(r: Mapping[str, Any], measures: Mapping[str, Any], only: Sequence[str] = _OF_FINDINGS) -> dict[str, Any]:
    """Return the measures the card shows: all, or with several findings their means and some of each finding."""
    if not labels(r):
        return dict(measures)
    if scans.of_scans(r):
        only = ("dice",) if "auroc" in only and len(only) == 1 else _OF_REGIONS
    if of_notes(r):
        only = ("f1",) if len(only) == 1 else _OF_NOTES
    return {k: m for k, m in measures.items() if "@" not in k or k.partition("@")[0] in only}


def _front(r: Mapping[str, Any]) -> list[str]:
    licence = str(at(r, "study.license") or "")
    shown = _chosen(r, at(r, "performance.measures") or {}, ("auroc",))
    known = {name: m for name, m in shown.items() if m.get("value") is not None}
    # Contrasts are of all patients, what is said of the model is of the test part.
    whole = {name: m for name, m in known.items() if name in _of_everyone(r)}
    known = {name: m for name, m in known.items() if name not in whole}
    data = "image" if of_pictures(r) or scans.of_scans(r) else "text" if of_notes(r) else "tabular"
    does = "segmentation" if scans.of_scans(r) else "regression" if effects.of_effects(r) else "classification"
    lines = ["---", 'library_name: "aimed"', f'pipeline_tag: "{data}-{does}"']
    kind = "treatment-effects" if effects.of_effects(r) else "clinical-prediction"
    kind = "report-labelling" if of_notes(r) else kind
    lines += ["tags:", '  - "medical"', '  - "not-a-medical-device"', f'  - "{kind}"']
    plain = re.fullmatch(r"[A-Za-z0-9.+-]+", licence)
    lines.append(f"license: {_yaml(licence.lower() if plain else 'other')}")
    if licence and not plain:
        lines.append(f"license_name: {_yaml(licence)}")
    if known or whole:
        lines.append(f"metrics: {_yaml([_metric(name) for name in (*whole, *known)])}")
        lines += ["model-index:", f"  - name: {_yaml(str(at(r, 'study.id') or 'model'))}", "    results:"]
        lines += [*_result(r, f"{data}-{does}", "all", whole), *_result(r, f"{data}-{does}", "test", known)]
    return [*lines, "---", ""]


def _of_everyone(r: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of measures that are of all patients and of no model."""
    return (*(at(r, "effect.estimand.contrasts") or ()), "max_smd") if effects.of_effects(r) else ()


def _result(r: Mapping[str, Any], task: str, part: str, known: Mapping[str, Any]) -> list[str]:
    """Return the measures of one part of the data for the front matter; nothing where there are none."""
    if not known:
        return []
    lines = ["      - task:", f'          type: "{task}"']
    lines += [f"          name: {_yaml(str(at(r, 'study.outcome_label') or at(r, 'outcome.label') or 'outcome'))}"]
    lines += ["        dataset:", f"          name: {_yaml(str(at(r, 'data.source') or 'unknown'))}"]
    lines += [f'          type: "{task.partition("-")[0]}"', f'          split: "{part}"']
    if at(r, "data.digest"):
        lines.append(f"          revision: {_yaml(str(at(r, 'data.digest')))}")
    lines.append("        metrics:")
    for name, m in known.items():
        lines += [f"          - type: {_yaml(_metric(name))}", f"            name: {_yaml(_title(r, name))}"]
        lines += [f"            value: {_yaml(float(m['value']))}"]
        bounds = [None if m.get(key) is None else float(m[key]) for key in ("lower", "upper")]
        lines.append(
            f"            args: {{lower: {_yaml(bounds[0])}, upper: {_yaml(bounds[1])}, n: {_yaml(m.get('n'))}}}"
        )
    return lines


def _metric(name: str) -> str:
    stem, _, where = name.partition("@")
    # A measure of one finding is that measure; one at a horizon is another.
    plain = name if where.replace(".", "", 1).isdigit() else stem
    return _METRIC_IDS.get(plain, name)


def _head(r: Mapping[str, Any]) -> list[str]:
    banner = "> **Not a medical device.** For research; not for decisions about patients."
    lines = [f"# {escape(at(r, 'study.title') or 'Prediction model')}", "", banner, ""]
    state = at(r, "verdict.state")
    if state:
        lines += [f"Acceptance criteria declared before the run: **{escape(state)}** (`verdict.state`).", ""]
        rows = [
            [escape(c.get("text")), *_cells(c), escape(c.get("state")), f"`verdict.criteria[{i}]`"]
            for i, c in enumerate(at(r, "verdict.criteria") or [])
        ]
        lines += _table(["Criterion", "Value", "Interval", "State", "Source"], rows)
    return lines


def _cells(m: Mapping[str, Any]) -> list[str]:
    if m.get("value") is None:
        return ["not estimable", "–"]
    digits = _DIGITS.get(str(m.get("name")), 3)
    value = number(float(m["value"]), digits)
    if m.get("lower") is None or m.get("upper") is None:
        return [value, "–"]
    if float(m["lower"]) > float(m["upper"]) and m.get("note"):
        # The interval of a number needed may pass through infinity.
        return [value, escape(m["note"])]
    return [value, f"{number(float(m['lower']), digits)} to {number(float(m['upper']), digits)}"]


_DIGITS = {"dr_loss": 4, "r_loss": 4}
"""Decimals of measures that are small by nature; others have 3."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _facts(pairs: Sequence[tuple[str, Any, str]]) -> list[str]:
    """Bullets of name, value and path; absent values are left out."""
    lines = [f"- {name}: {escape(value)} (`{path}`)" for name, value, path in pairs if value not in (None, "", [])]
    return [*lines, ""] if lines else ["Not in the results.", ""]


def _details(r: Mapping[str, Any]) -> list[str]:
    facts = [
        ("Model", at(r, "model.title"), "model.title"),
        ("Description", at(r, "model.description"), "model.description"),
        ("Network", (network(r) or "").removeprefix("Network: "), "model.network"),
        ("Augmentation", augmentation(r), "model.network.augmentation"),
        ("Task", at(r, "task"), "task"),
        ("Outcome", at(r, "study.outcome_label"), "study.outcome_label"),
        ("Missing values", at(r, "model.missing_method"), "model.missing_method"),
        ("Calibration", at(r, "model.calibration.method"), "model.calibration.method"),
        ("Preparation", scans.frame(r) if scans.of_scans(r) else None, "model.network.preprocessing"),
        ("Sub-volumes", scans.selection(r), "model.plan"),
        ("Inputs and outputs", scans.inputs(r), "performance.labels"),
        ("Made by aimed", at(r, "aimed_version"), "aimed_version"),
        ("Made on", at(r, "created"), "created"),
        ("Study file SHA-256", at(r, "study.file_sha256"), "study.file_sha256"),
        ("Licence", at(r, "study.license") or "not stated", "study.license"),
    ]
    digests = at(r, "reproduce.digests") or {}
    facts += [(f"SHA-256 of {escape(k)}", v, "reproduce.digests") for k, v in digests.items() if k != "study file"]
    lines = ["## Model details", "", *_facts(facts)]
    inputs = at(r, "limits.inputs") or []
    rows = [
        [
            escape(i.get("label") or i.get("name")),
            escape(i.get("unit") or "–"),
            escape(i.get("kind") or "–"),
            escape(_range(i)),
            "yes" if i.get("required") else "no",
            f"`limits.inputs[{k}]`",
        ]
        for k, i in enumerate(inputs)
    ]
    return [*lines, *_table(["Input", "Unit", "Kind", "Accepted", "Required", "Source"], rows)]


def _range(i: Mapping[str, Any]) -> str:
    if i.get("categories"):
        return ", ".join(str(c) for c in i["categories"])
    return f"{i['range'][0]:g} to {i['range'][1]:g}" if i.get("range") else "–"


def _use(r: Mapping[str, Any]) -> list[str]:
    facts = [
        ("Intended use", at(r, "study.intended_use"), "study.intended_use"),
        ("Population", at(r, "study.population"), "study.population"),
    ]
    facts += [("User", user, "study.intended_users") for user in at(r, "study.intended_users") or []]
    facts += [("Not for", use, "study.not_for") for use in at(r, "study.not_for") or []]
    return ["## Intended use", "", *_facts(facts)]


def _factors(r: Mapping[str, Any]) -> list[str]:
    columns = [str(c.get("label") or c["column"]) for c in at(r, "subgroups.columns") or []]
    path = "subgroups.columns"
    if effects.of_effects(r):
        path, rows = "effect.subgroups.rows", at(r, "effect.subgroups.rows") or []
        columns = list(dict.fromkeys(str(row.get("column_label") or row.get("column")) for row in rows))
    sites = at(r, "data.sites")
    facts = [("Groups examined", name, path) for name in columns]
    facts.append(("Sites", number(len(sites)) if sites else "not recorded", "data.sites"))
    return ["## Factors", "", *_facts(facts)]


def _metrics(r: Mapping[str, Any]) -> list[str]:
    block = at(r, "performance") or {}
    lines = ["## Metrics", ""]
    digest = at(r, "data.digest")
    if effects.of_effects(r):
        lines += ["Of effects of single patients as the model predicts them; average effects are above.", ""]
    if digest:
        lines += [f"All on the test part of the data with SHA-256 `{escape(digest)}`.", ""]
    if block.get("interval_method"):
        level = f", {float(block['level']):.0%}" if block.get("level") else ""
        lines += [f"Intervals: {escape(block['interval_method'])}{level} (`performance.interval_method`).", ""]
    rows = [
        _measure_row(r, _title(r, k), m, f"performance.measures.{k}")
        for k, m in _chosen(r, block.get("measures") or {}).items()
        if k not in _of_everyone(r)
    ]
    head = [*_HEAD[:4], "With the region", *_HEAD[5:]] if scans.of_scans(r) else _HEAD
    lines += _table(head, rows) or ["No measures in the results.", ""]
    for baseline, measures in (block.get("differences") or {}).items():
        rows = [
            _measure_row(r, _title(r, k), m, f"performance.differences.{baseline}.{k}")
            for k, m in _chosen(r, measures, ("auroc",)).items()
        ]
        lines += [f"### Difference to {escape(baseline)}", "", *_table(head, rows)]
    threshold = at(r, "model.threshold")
    if threshold and threshold.get("value") is not None:
        lines += [
            f"Decision threshold {number(float(threshold['value']))}: {escape(threshold.get('rule'))} "
            "(`model.threshold.value`).",
            "",
        ]
    elif threshold and threshold.get("findings"):
        rows = [
            [escape(labels(r).get(key, key)), number(float(one["value"])), f"`model.threshold.findings.{key}`"]
            for key, one in threshold["findings"].items()
            if (one or {}).get("value") is not None
        ]
        lines += [f"Decision thresholds: {escape(threshold.get('rule'))}.", ""]
        lines += _table(["Finding", "Threshold", "Source"], rows)
    return lines


_HEAD = ["Measure", "Value", "Interval", "n", "Events", "Source"]


def _measure_row(
    r: Mapping[str, Any], name: str, m: Mapping[str, Any], path: str, counted: int | None = None
) -> list[str]:
    # Most estimates of effects do not count events, and then hold none.
    events = counted if counted is not None else m.get("events") or (None if effects.of_effects(r) else m.get("events"))
    return [
        escape(name),
        *_cells(m),
        escape(number(m.get("n"))),
        escape(number(events)),
        f"`{path.replace('`', '')}`",
    ]


def _data(r: Mapping[str, Any]) -> list[str]:
    lines = ["## Training and evaluation data", ""]
    rows = [
        [escape(name), number(p.get("n")), number(p.get("patients")), number(p.get("events")), f"`data.parts.{name}`"]
        for name, p in (at(r, "data.parts") or {}).items()
    ]
    lines += _facts(
        [
            ("Source", at(r, "data.source"), "data.source"),
            ("SHA-256", at(r, "data.digest"), "data.digest"),
            ("First index date", at(r, "data.dates.first"), "data.dates.first"),
            ("Last index date", at(r, "data.dates.last"), "data.dates.last"),
            ("Test part drawn by", at(r, "split.by"), "split.by"),
            *_pictures(r),
        ]
    )
    head = ["Pictures", "Patients", "With a finding"] if of_pictures(r) else ["Rows", "Patients", "Events"]
    head = ["Notes", "Patients", "With a finding"] if of_notes(r) else head
    head = ["Scans", "Patients", "With a region"] if scans.of_scans(r) else head
    lines += _table(["Part", *head, "Source"], rows)
    findings = [
        _measure_row(r, f"{one.get('label')}, {part} part", m, f"outcome.findings[{k}].prevalence.{part}")
        for k, one in enumerate(at(r, "outcome.findings") or [])
        for part, m in (one.get("prevalence") or {}).items()
        if part != "all"
    ]
    lines += _regions(r)
    return [*lines, *_table(["Frequency of", "Value", "Interval", "n", "Positive", "Source"], findings)]


def _regions(r: Mapping[str, Any]) -> list[str]:
    """Return the table of the regions of each part; nothing where none are outlined."""
    rows = []
    for k, one in enumerate(at(r, "outcome.regions") or []):
        for part, n in (one.get("present") or {}).items():
            size = (one.get("volume_ml") or {}).get(part) or {}
            values = [size.get(q) for q in ("median", "q1", "q3")]
            said = [number(float(v), 1) if v is not None else "–" for v in values]
            span = f"{said[1]} to {said[2]}" if None not in values else "–"
            rows.append(
                [escape(f"{one.get('label')}, {part} part"), number(n), said[0], span, f"`outcome.regions[{k}]`"]
            )
    return _table(["Region", "Scans with it", "Median volume, ml", "Quartiles", "Source"], rows)


def _pictures(r: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Return the facts on the files of a study of pictures or scans; none for tables."""
    if at(r, "data.volumes"):
        return [
            ("Scans", scans.files(r), "data.volumes"),
            ("Refused", scans.refused(r), "data.volumes.refused"),
            ("Reference standard", at(r, "outcome.reference_standard"), "outcome.reference_standard"),
        ]
    if at(r, "data.notes"):
        return _notes(r)
    images = at(r, "data.images")
    if not images:
        return []
    views = ", ".join(f"{view} {number(n)}" for view, n in (images.get("views") or {}).items())
    refused = sum(int(n) for n in (images.get("refused") or {}).values())
    return [
        ("Views", views, "data.images.views"),
        ("Files refused", number(refused), "data.images.refused"),
        ("Reference standard", at(r, "outcome.reference_standard"), "outcome.reference_standard"),
    ]


def _notes(r: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Return the facts on notes: where labels come from, what was refused, who may see them."""
    found = at(r, "data.notes.lexicon") or {}
    whose = "as shipped" if found.get("shipped") else "the study's own" if found else ""
    lexicon = ", ".join(str(t) for t in (found.get("name"), found.get("version"), found.get("targets"), whose) if t)
    median = at(r, "data.notes.characters.median")
    return [
        ("Reference standard", at(r, "outcome.reference_standard"), "outcome.reference_standard"),
        ("Labels", note_source(r), "data.notes"),
        ("Lexicon", lexicon, "data.notes.lexicon"),
        ("Lexicon SHA-256", found.get("digest"), "data.notes.lexicon.digest"),
        ("Characters a note, median", None if median is None else number(median, 0), "data.notes.characters"),
        ("Refused", refused_notes(r), "data.notes.refused"),
        ("De-identification, and who may see notes", identifiers(r), "data.notes.identifiers"),
    ]


def _analyses(r: Mapping[str, Any]) -> list[str]:
    lines = ["## Quantitative analyses by group", ""]
    if effects.of_effects(r):
        return [*lines, *_effects_by_group(r)]
    columns = at(r, "subgroups.columns") or []
    if not columns:
        return [*lines, "No groups were declared, so fairness was not assessed.", ""]
    primary = str(at(r, "subgroups.primary"))
    for k, column in enumerate(columns):
        rows = []
        for j, group in enumerate(column["groups"]):
            path = f"subgroups.columns[{k}].groups[{j}]"
            found = group["measures"].get(primary)
            measure = found or {"n": group.get("n"), "events": group.get("events")}
            path += f".measures.{primary}" if found else ""
            row = _measure_row(r, str(group["group"]), measure, path)
            rows.append([*row[:-1], escape(group["state"]), row[-1]])
        events = "With a finding" if of_findings(r) else "Events"
        events = "With a region" if scans.of_scans(r) else events
        head = ["Group", _title(r, primary), "Interval", "n", events, "State", "Source"]
        lines += [f"### {escape(column.get('label') or column['column'])}", "", *_table(head, rows)]
    note = at(r, "subgroups.note")
    return [*lines, escape(note), ""] if note else lines


def _effects_by_group(r: Mapping[str, Any]) -> list[str]:
    """Return the effect in each declared group, with the tests that it is one."""
    rows = at(r, "effect.subgroups.rows") or []
    if not rows:
        return ["No groups were declared, so fairness was not assessed.", ""]
    lines = []
    for name in dict.fromkeys(str(row.get("column_label") or row.get("column")) for row in rows):
        table = [
            _measure_row(
                r, str(row.get("level")), row["effect"], f"effect.subgroups.rows[{k}].effect", row.get("events")
            )
            for k, row in enumerate(rows)
            if str(row.get("column_label") or row.get("column")) == name and row.get("effect")
        ]
        head = [
            "Group",
            _title(r, str(at(r, "effect.estimand.scale") or at(r, "effect.estimand.contrast"))),
            *_HEAD[2:],
        ]
        lines += [f"### {escape(name)}", "", *_table(head, table)]
    tests = [
        [
            escape(one.get("label") or one.get("column")),
            _p(one.get("p")),
            _p(one.get("p_adjusted")),
            escape(one.get("method") or "–"),
            f"`effect.subgroups.interactions[{k}]`",
        ]
        for k, one in enumerate(at(r, "effect.subgroups.interactions") or [])
    ]
    lines += ["### Interaction", "", *_table(["Column", "p", "p adjusted", "Method", "Source"], tests)]
    said = at(r, "effect.subgroups.sentence")
    return [*lines, *([f"{escape(said)} (`effect.subgroups.sentence`)", ""] if said else [])]


def _p(value: Any) -> str:
    return "–" if value is None else "&lt;0.001" if float(value) < 0.001 else number(float(value))


def _effects(r: Mapping[str, Any]) -> list[str]:
    """Return what the treatment does: on average, by baseline risk, for single patients, and what a rule gains."""
    if not effects.of_effects(r):
        return []
    asked = {
        "Question": "sentence",
        "Treatment": "treatment",
        "Control": "control",
        "Assignment": "assignment",
        "Outcome": "outcome",
        "Better": "better",
        "Population": "population",
    }
    facts = [(name, at(r, f"effect.estimand.{key}"), f"effect.estimand.{key}") for name, key in asked.items()]
    facts += [
        ("Intercurrent event", f"{one.get('event')}: {one.get('strategy')}", f"effect.estimand.intercurrent[{k}]")
        for k, one in enumerate(at(r, "effect.estimand.intercurrent") or [])
    ]
    lines = ["## Effects", "", *_facts(facts)]
    found = effects.primary(r)
    if found is not None:
        place, row = found
        lines += [
            "### Average effect",
            "",
            f"Primary estimator: {escape(row.get('title'))} (`effect.average[{place}]`).",
        ]
        lines += ["", *_contrasts(r, row.get("measures") or {}, f"effect.average[{place}].measures")]
    first = str(at(r, "effect.estimand.contrast"))
    rest = [
        _measure_row(r, str(row.get("title")), row["measures"][first], f"effect.average[{k}].measures.{first}")
        for k, row in effects.others(r)
        if (row.get("measures") or {}).get(first)
    ]
    if fewer := effects.trimmed(r):
        rest.append(_measure_row(r, fewer, at(r, "effect.overlap.trimmed.measure"), "effect.overlap.trimmed.measure"))
    head = ["Estimator", _title(r, first), *_HEAD[2:]]
    lines += ["### The same by other estimators", "", *_table(head, rest)] if rest else []
    lines += _observed(r)
    lines += _who_benefits(r)
    return [*lines, *_rules(r), *_sensitivity(r)]


def _contrasts(r: Mapping[str, Any], measures: Mapping[str, Any], path: str) -> list[str]:
    return _table(_HEAD, [_measure_row(r, _title(r, k), m, f"{path}.{k}") for k, m in measures.items() if m])


def _observed(r: Mapping[str, Any]) -> list[str]:
    """Return the outcome of the arms as it was, and the contrasts without adjustment."""
    arms = [
        _measure_row(r, str(arm.get("label")), arm["rate"], f"effect.arms[{k}].rate", arm.get("events"))
        for k, arm in enumerate(at(r, "effect.arms") or [])
        if arm.get("rate")
    ]
    crude = _contrasts(r, at(r, "effect.crude") or {}, "effect.crude")
    if not arms and not crude:
        return []
    return ["### The arms as observed", "", *_table(["Arm", "Outcome", *_HEAD[2:]], arms), *crude]


def _who_benefits(r: Mapping[str, Any]) -> list[str]:
    """Return the effect by baseline risk, and whether it differs between patients."""
    rows = [
        _measure_row(r, str(row.get("label")), row["difference"], f"effect.risk_quarters.rows[{k}].difference")
        for k, row in enumerate(at(r, "effect.risk_quarters.rows") or [])
        if row.get("difference")
    ]
    trend = at(r, "effect.risk_quarters.trend.sentence")
    lines = ["### By baseline risk", "", *_table(["Patients", "Difference", *_HEAD[2:]], rows)] if rows else []
    lines += [f"{escape(trend)} (`effect.risk_quarters.trend.sentence`)", ""] if trend else []
    said = effects.conclusion(r)
    if not said:
        return lines
    facts = [
        ("Conclusion", f"{said[:1].upper()}{said[1:]}", "effect.heterogeneity.state"),
        ("Why", at(r, "effect.heterogeneity.sentence"), "effect.heterogeneity.sentence"),
        ("Rule", at(r, "effect.heterogeneity.rule"), "effect.heterogeneity.rule"),
    ]
    return [*lines, "### Does the effect differ between patients?", "", *_facts(facts)]


def _rules(r: Mapping[str, Any]) -> list[str]:
    """Return what rules of treatment are worth on the test part."""
    rows = at(r, "effect.policy.rows") or []
    worth = [
        _measure_row(r, str(row.get("title")), row["value"], f"effect.policy.rows[{k}].value")
        for k, row in enumerate(rows)
        if row.get("value")
    ]
    if not worth:
        return []
    gained = [
        _measure_row(r, str(row.get("title")), row["against_all"], f"effect.policy.rows[{k}].against_all")
        for k, row in enumerate(rows)
        if row.get("against_all")
    ]
    facts = [
        ("Conclusion", at(r, "effect.policy.sentence"), "effect.policy.sentence"),
        *[("Tree", rule, "effect.policy.tree.rules") for rule in at(r, "effect.policy.tree.rules") or []],
    ]
    lines = ["### Rules of treatment", "", *_table(["Rule", "Mean outcome", *_HEAD[2:]], worth)]
    return [*lines, *_table(["Rule", "Gain over treating everyone", *_HEAD[2:]], gained), *_facts(facts)]


def _sensitivity(r: Mapping[str, Any]) -> list[str]:
    """Return how alike the arms are, and how strong something unmeasured would have to be."""
    largest = at(r, "effect.balance.max_smd")
    weighted = at(r, "effect.balance.max_smd_weighted")
    facts = [
        ("Largest standardised difference", number(largest), "effect.balance.max_smd"),
        (
            "The same after weighting",
            number(weighted) if weighted is not None else None,
            "effect.balance.max_smd_weighted",
        ),
        ("Overlap", at(r, "effect.overlap.sentence"), "effect.overlap.sentence"),
        *[
            ("Something unmeasured", at(r, f"effect.sensitivity.{key}"), f"effect.sensitivity.{key}")
            for key in ("sentence", "robustness.sentence", "missing.sentence")
        ],
        *[
            (str(one.get("title")), one.get("sentence"), f"effect.placebos[{k}].sentence")
            for k, one in enumerate(at(r, "effect.placebos") or [])
        ],
    ]
    known = [(escape(name), value, path) for name, value, path in facts if value not in (None, "", "–")]
    return ["### Balance, overlap and sensitivity", "", *_facts(known)] if known else []


_TOLD = {
    "3c": "Health inequalities",
    "14": "Fairness",
    "17": "Ethical approval",
    "19": "Patient involvement",
    "consort-2025:2": "Registration",
    "consort-2025:8": "Patient and public involvement",
    "consort-2025:27": "Harms",
}
"""Statements of the author that the card repeats."""


def _ethics(r: Mapping[str, Any]) -> list[str]:
    said = at(r, "study.statements") or {}
    pairs = [(name, said.get(item), f"study.statements.{item}") for item, name in _TOLD.items() if said.get(item)]
    if not pairs:
        return ["## Ethical considerations", "", "The author has written nothing here yet.", ""]
    return ["## Ethical considerations", "", *_facts(pairs)]


_SAID = {
    "Shortcuts": "shortcuts",
    "Worse inputs": "robustness",
    "Sets that may say uncertain": "conformal",
    "Doubt": "case_uncertainty",
    "Heat maps": "explanation",
    "Expected Dice": "quality",
    "Calibration of voxels": "voxel_calibration",
    "Contrasts": "explanation.contrasts",
    "Maps": "explanation.maps",
}
"""What the evidence says of a model of pictures or scans, in its own sentences."""


def _caveats(r: Mapping[str, Any]) -> list[str]:
    limits = [f"- {escape(text)}" for text in at(r, "limits.limitations") or []]
    rules = [
        f"- Refuses: {escape(rule.get('code'))}: {escape(rule.get('reason'))}"
        for rule in at(r, "limits.refusals") or []
    ]
    limits += [
        f"- {name}: {escape(said)} (`{block}.sentence`)"
        for name, block in _SAID.items()
        if (said := at(r, f"{block}.sentence"))
    ]
    openings = at(r, "verdict.openings")
    if openings is not None:
        limits.append(f"- The test part was opened {plural(openings, 'time')} (`verdict.openings`).")
    return ["## Caveats and recommendations", "", *(limits + rules or ["Not in the results."]), ""]
