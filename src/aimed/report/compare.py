"""Two runs side by side: their measures with intervals, and every setting in which they differ."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from typing import Any

from aimed.report import names, numbers, sentences, view
from aimed.report.parts import Block, Cell, Code, Note, Section, Table, num
from aimed.report.render import html
from aimed.report.sections.tables import order

__all__ = ["render_compare"]


def render_compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return a page that compares two runs.

    Parameters
    ----------
    a, b : mapping
        Results of the two runs.

    Returns
    -------
    str
        A self-contained HTML page.

    Examples
    --------
    >>> "The two runs have the same settings" in render_compare({}, {})
    True
    """
    sections = [_verdicts(a, b), _measures(a, b), _settings(a, b)]
    return html(
        "compare",
        title=f"{_title(a)}, and {_title(b)}" if _title(a) != _title(b) else f"{_title(a)}: two runs",
        meta=" · ".join(f"{key}: {_when(r)}" for key, r in (("A", a), ("B", b))),
        sections=sections,
        foot="Made by aimed from two results.json files.",
    )


def _title(results: view.Results) -> str:
    study = view.block(results, "study") or {}
    return str(study.get("title") or study.get("id") or "Untitled study")


def _when(results: view.Results) -> str:
    digest = str(view.block(results, "data", "digest") or "")[:12]
    return f"run {numbers.moment(results.get('created') or 'at an unknown time')}" + (
        f", data {digest}" if digest else ""
    )


def _verdicts(a: view.Results, b: view.Results) -> Section:
    rows: list[list[Cell | str]] = []
    outlines = view.masks(a) and view.masks(b)
    for label, path in (
        ("Verdict", ("verdict", "state")),
        ("Model", ("model", "title")),
        ("Openings of the test part", ("verdict", "openings")),
        ("Scans" if outlines else "Rows", ("data", "rows")),
        ("Test scans" if outlines else "Test rows", ("performance", "n")),
        ("Test patients", ("performance", "patients")) if outlines else ("Test events", ("performance", "events")),
    ):
        kind: Any = "state" if label == "Verdict" else "text"
        rows.append([label, *(Cell(numbers.number(view.block(r, *path)), kind) for r in (a, b))])
    return Section("overview", "Overview", _lead(a, b), [Table(["", "A", "B"], rows, wide=False)])


def _lead(a: view.Results, b: view.Results) -> str:
    name, left = view.primary(a)
    right = view.measures(b).get(name)
    if not left or not right or not numbers.is_number(left.get("value")) or not numbers.is_number(right.get("value")):
        return "The two runs share no primary measure."
    title = names.title(name, view.unit(a))
    text = f"{title} is {numbers.measure(left)} in A and {numbers.measure(right)} in B"
    edges = [float(e) for m in (left, right) for k in ("lower", "upper") if numbers.is_number(e := m.get(k))]
    if len(edges) == 4:
        apart = edges[1] < edges[2] or edges[3] < edges[0]
        text += "; the intervals do not overlap" if apart else "; the intervals overlap"
    return text + "."


def _measures(a: view.Results, b: view.Results) -> Section:
    left, right, unit = view.measures(a), view.measures(b), view.unit(a)
    every = order(list({**left, **right}))
    if not every:
        return Section("measures", "Measures", sentences.absent("Measures", "neither run measured performance"), ())
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    last = ""
    for name in every:
        words = names.describe(name)
        digits = words.digits
        if words.group != last:
            groups[len(rows)] = last = words.group
        old, new = ((m.get(name) or {}).get("value") for m in (left, right))
        change = new - old if numbers.is_number(old) and numbers.is_number(new) else None
        rows.append(
            [
                names.title(name, unit),
                *(num(numbers.measure(m.get(name), digits)) for m in (left, right)),
                num(numbers.fixed(change, digits), change),
            ]
        )
    same = view.block(a, "split", "lock_sha256") == view.block(b, "split", "lock_sha256") is not None
    note = (
        "Both runs used the same split, yet the intervals below are of each run alone and not of the paired difference."
        if same
        else "The runs did not share a split, so differences also reflect other patients."
    )
    return Section(
        "measures",
        "Measures",
        note,
        [Table(["Measure", "A", "B", "B − A"], rows, "Test part, with intervals", groups=groups)],
    )


def _settings(a: view.Results, b: view.Results) -> Section:
    left, right = _flat(a), _flat(b)
    keys = [k for k in dict.fromkeys([*left, *right]) if left.get(k) != right.get(k)]
    texts = [str(view.block(r, "study", "text") or "") for r in (a, b)]
    if not keys and texts[0] == texts[1]:
        return Section("settings", "Settings that differ", "The two runs have the same settings.", ())
    blocks: list[Block] = []
    if keys:
        rows: list[list[Cell | str]] = [
            [Cell(k), numbers.number(left.get(k)), numbers.number(right.get(k))] for k in keys
        ]
        blocks.append(Table(["Setting", "A", "B"], rows))
    if texts[0] != texts[1]:
        lines = difflib.unified_diff(texts[0].splitlines(), texts[1].splitlines(), "A", "B", lineterm="", n=2)
        blocks.append(Code("\n".join(lines), "Difference of the study files"))
    if not keys:
        blocks.append(Note("Only comments or spacing differ."))
    return Section(
        "settings", "Settings that differ", f"The two runs differ in {sentences.plural(len(keys), 'setting')}.", blocks
    )


def _flat(results: view.Results) -> dict[str, Any]:
    out: dict[str, Any] = {}
    try:
        study = tomllib.loads(str(view.block(results, "study", "text") or ""))
    except tomllib.TOMLDecodeError:
        study = {}
    _walk(study, "", out)
    for label, path in (
        ("model", ("model", "name")),
        ("patch size of the plan", ("model", "plan", "patch_size")),
        ("spacing of the plan", ("model", "plan", "spacing")),
        ("recalibration", ("model", "calibration", "method")),
        ("data digest", ("data", "digest")),
        ("split lock", ("split", "lock_sha256")),
        ("aimed version", ("aimed_version",)),
    ):
        out[label] = view.block(results, *path)
    _walk(view.block(results, "model", "parameters") or {}, "model parameter ", out)
    _walk(view.block(results, "reproduce", "versions") or {}, "version of ", out)
    return out


def _walk(value: Mapping[str, Any], prefix: str, out: dict[str, Any]) -> None:
    for key, item in value.items():
        if isinstance(item, Mapping):
            _walk(item, f"{prefix}{key}.", out)
        else:
            out[f"{prefix}{key}"] = item
