"""How wrong the reports' labels are that taught a model of pictures: part of the section on the outcome."""

from __future__ import annotations

from typing import Any

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Cell, Heading, Note, Table, num

__all__ = ["label_noise"]

_VERDICTS = {
    "positive": "Present",
    "negative": "Absent",
    "uncertain": "Uncertain",
    "not_mentioned": "Not mentioned",
}
_RATES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
_MEANT = {"ignore": "no label", "zeros": "absent", "ones": "present"}


def label_noise(results: view.Results) -> list[Block]:
    """Return what taught beside the reference standard and how wrong it is; nothing for another study."""
    block = view.block(results, "label_noise")
    if not block or not block.get("findings"):
        return []
    found = block["findings"]
    return [
        Heading("Labels read out of reports"),
        Note(_lead(block)),
        Table(
            ["Finding", "n", *_RATES.values()],
            [_rates(one) for one in found],
            "Labels of the reports against the reference standard, training part. Intervals: Wilson, a patient's "
            "pictures taken together",
        ),
        Table(
            ["Finding", "By the reference", *_VERDICTS.values()],
            [row for one in found for row in _said(one)],
            "What reports say of a finding that is there, and of one that is not",
            wide=False,
        ),
        Table(
            ["Finding", "Kappa", "Reference labels", "Report labels"],
            [_taught(one) for one in found],
            "Agreement of both, and the labels that each taught the network",
            wide=False,
        ),
    ]


def _lead(block: view.Results) -> str:
    said = f"Where the reference standard is blank, reports taught the network. {block.get('method') or ''}".strip()
    if block.get("robust") != "soft":
        uncertain, silent = (_MEANT.get(str(block.get(key)), "") for key in ("uncertain", "not_mentioned"))
        said += f" An uncertain mention stood for {uncertain}, silence for {silent}."
    rows, who = block.get("rows"), block.get("patients")
    if numbers.is_number(rows) and numbers.is_number(who):
        said += f" How wrong they are was estimated on {sentences.plural(rows, 'picture')} of "
        said += f"{sentences.plural(who, 'patient')} with both; none of the test part was judged by a report."
    thin = [str(one.get("label")) for one in block["findings"] if one.get("state") != "estimated"]
    if thin:
        said += f" There is not enough evidence for {sentences.join(thin)}."
    return said


def _rates(one: view.Results) -> list[object]:
    cells: list[object] = [str(one.get("label")), num(numbers.count(one.get("n")), one.get("n"))]
    return cells + [_measure(one, name) for name in _RATES]


def _measure(one: view.Results, name: str) -> Cell:
    record = (one.get("measures") or {}).get(name) or {}
    known = numbers.is_number(record.get("value"))
    return num(numbers.measure(record, 2) if known else "not enough evidence", record.get("value"))


def _taught(one: view.Results) -> list[object]:
    counts = one.get("taught") or {}
    numbered = [num(numbers.count(counts.get(key)), counts.get(key)) for key in ("gold", "silver")]
    return [str(one.get("label")), _measure(one, "kappa"), *numbered]


def _said(one: view.Results) -> list[list[object]]:
    table: dict[str, Any] = one.get("table") or {}
    rows: list[list[object]] = []
    for side, title in (("present", "present"), ("absent", "absent")):
        counts = [(table.get(verdict) or {}).get(side) for verdict in _VERDICTS]
        rows.append([str(one.get("label")), title, *(num(numbers.count(c), c) for c in counts)])
    return rows
