"""Tables that more than one page uses: the measures beside the baselines, and the decisions at each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimed.report import names, numbers, view
from aimed.report.parts import Cell, Table, num


def order(found: Sequence[str], of_labels: bool = False) -> list[str]:
    """Return measure names in the order of the table: by kind, then means over findings, then by horizon or finding.

    Examples
    --------
    >>> order(["brier", "oe@365", "oe@90", "auroc"])
    ['auroc', 'oe@90', 'oe@365', 'brier']
    >>> order(["micro_f1", "micro_recall", "macro_auroc"], of_labels=True)
    ['macro_auroc', 'micro_recall', 'micro_f1']
    """
    known = list(names.MEASURES)
    if of_labels:
        # F1 of labels stands beside their precision and recall, not among what thresholds do to risks.
        known.remove("f1")
        known.insert(known.index("label_recall") + 1, "f1")

    def key(name: str) -> tuple[int, float, str]:
        base, at = names.split_name(name)
        pooled = base.removeprefix("macro_").removeprefix("micro_")
        is_label = pooled != base and pooled in ("precision", "recall")
        base = f"label_{pooled}" if is_label else pooled.replace("average_precision", "auprc")
        base = base if base in known else base.removeprefix("mean_")
        base = f"mask_{base}" if base == "precision" else f"label_{base}" if base == "recall" else base
        time = float(at or 0) if names.is_horizon(at or "0") else 1.0
        return (known.index(base) if base in known else len(known), time, name)

    return sorted(found, key=key)


def measures_table(results: view.Results) -> Table:
    """Return every measure of the model with its interval, beside the baselines."""
    perf = view.block(results, "performance") or {}
    found, baselines, unit = perf.get("measures") or {}, perf.get("baselines") or {}, view.unit(results)
    shown = [b for b in baselines if any(k in found for k in baselines[b] or {})]
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    last = ""
    several = view.multilabel(results)
    of_labels = view.notes(results)
    for name in order([k for k in found if not (several and names.split_name(k)[1])], of_labels):
        words = names.describe(name)
        group = "Labels" if of_labels and names.split_name(name)[0].endswith("cro_f1") else words.group
        if group != last:
            groups[len(rows)] = last = group
        first = Cell(names.title(name, unit), strong=name == view.primary(results)[0], indent=True)
        rows.append([first, _cell(found[name]), *(_cell((baselines[b] or {}).get(name)) for b in shown)])
    level = f"{100 * float(perf.get('level') or 0.95):g}%"
    n, events = numbers.count(perf.get("n")), numbers.count(perf.get("events"))
    size = f"n = {n}" if several else f"n = {n}, {events} events"
    means = " over the findings" if several else ""
    bold = "; the primary measure is in bold" if any(c.strong for c, *_ in rows if isinstance(c, Cell)) else ""
    caption = f"Measures{means} on the test part with {level} intervals ({size}){bold}"
    return Table(["Measure", "Model", *(view.baseline_title(results, b) for b in shown)], rows, caption, groups=groups)


def differences_table(results: view.Results) -> Table | None:
    """Return the paired differences between the model and each baseline, or None when there are none."""
    unit = view.unit(results)
    found = {b: d for b, d in (view.block(results, "performance", "differences") or {}).items() if d}
    several = view.multilabel(results)
    whole = [k for k in {name for d in found.values() for name in d} if not (several and names.split_name(k)[1])]
    every = order(whole, view.notes(results))
    if not every:
        return None
    rows = [[names.title(name, unit), *(_cell(d.get(name)) for d in found.values())] for name in every]
    head = ["Measure", *(f"Against {view.baseline_title(results, b)}" for b in found)]
    return Table(head, rows, "Model minus baseline, on the same resamples of the same patients")


_OF_FINDINGS = ("auroc", "auprc", "oe", "calibration_slope")


def findings_table(results: view.Results) -> Table | None:
    """Return the main measures of each finding, and how far its AUROC is from each baseline; None without findings.

    Examples
    --------
    >>> measures = {"auroc@mass": {"value": 0.8, "n": 90, "events": 12}}
    >>> perf = {"kind": "multilabel", "findings": {"mass": {}}, "measures": measures}
    >>> [cell.text for cell in findings_table({"performance": perf}).cells()[0]]
    ['mass', '90', '12', '0.80']
    """
    unit = view.unit(results)
    every = {key: {b: view.of_finding(results, b, key) for b in _OF_FINDINGS} for key in unit.findings}
    shown = [b for b in _OF_FINDINGS if any(m[b] for m in every.values())]
    if not shown:
        return None
    gaps = {
        b: d
        for b, d in (view.block(results, "performance", "differences") or {}).items()
        if any(f"auroc@{key}" in (d or {}) for key in every) and not _constant(results, b, list(every))
    }
    rows: list[list[Cell | str]] = []
    for key, label in unit.findings.items():
        first = next((m for b in shown if (m := every[key][b])), None) or {}
        size = [num(numbers.count(first.get(k)), first.get(k)) for k in ("n", "events")]
        rows.append(
            [
                label,
                *size,
                *(_cell(every[key][b], 2) for b in shown),
                *(_cell(d.get(f"auroc@{key}"), 2) for d in gaps.values()),
            ]
        )
    head = ["Finding", "n", "Positive", *(names.describe(b).title for b in shown)]
    head += [f"AUROC, less {view.baseline_title(results, b)}" for b in gaps]
    caption = f"Measures of each finding on the test part, on the {view.item(results)}s where it is known"
    return Table(head, rows, caption, sortable=True)


def _constant(results: view.Results, baseline: str, keys: Sequence[str]) -> bool:
    # What gives everyone the same risk ranks nobody: the difference is the AUROC less one half.
    found = [view.of_finding(results, "auroc", key, baseline) or {} for key in keys]
    return all(m.get("value") in (0.5, None) and m.get("lower") in (0.5, None) for m in found)


def decisions_table(results: view.Results) -> Table | None:
    """Return what follows from the chosen threshold of each finding; None where no threshold was chosen.

    Examples
    --------
    >>> row = {"threshold": 0.12, "chosen": True, "tp": 8, "fp": 4, "fn": 2, "tn": 86}
    >>> perf = {"kind": "multilabel", "findings": {"mass": {"thresholds": [row]}}}
    >>> [cell.text for cell in decisions_table({"performance": perf}).cells()[0]][:6]
    ['mass', '12.0%', '8', '4', '2', '86']
    """
    rows: list[list[Cell | str]] = []
    rates = ("sensitivity", "specificity", "ppv", "npv")
    for key, label in view.labels(results).items():
        row = view.chosen_threshold(view.finding(results, key), None)
        if row is None:
            continue
        line: list[Cell | str] = [label, num(numbers.percent(row.get("threshold")), row.get("threshold"))]
        line += [num(numbers.count(row.get(k)), row.get(k)) for k, _ in _COUNTS]
        rows.append([*line, *(num(numbers.measure(row.get(k), 2), (row.get(k) or {}).get("value")) for k in rates)])
    if not rows:
        return None
    head = ["Finding", "Threshold", *(t for _, t in _COUNTS), *(names.describe(k).title for k in rates)]
    rules = view.block(results, "model", "threshold", "rule")
    why = f" ({str(rules).rstrip('.')})" if rules else ""
    return Table(head, rows, f"At the threshold of each finding{why}, on the test part; {_MEANS}", sortable=True)


def _cell(measure: view.Results | None, digits: int = 3) -> Cell:
    return num(numbers.measure(measure, digits), (measure or {}).get("value"))


_RATES = (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("ppv", "PPV"), ("npv", "NPV"))
_OTHERS = (("lr_positive", "LR+"), ("lr_negative", "LR−"), ("f1", "F1"), ("net_benefit", "Net benefit"))


_COUNTS = (("tp", "TP"), ("fp", "FP"), ("fn", "FN"), ("tn", "TN"))
_MEANS = (
    "TP: with the outcome and flagged; FP: without it and flagged; FN: with it and missed; "
    "TN: without it and not flagged"
)


def counts_table(
    rows: Sequence[view.Results], when: str = "", n: object = None, observed: str = "Kaplan-Meier"
) -> Table | None:
    """Return the four counts at each threshold, of the test part and of 1,000 such patients; None without any.

    Examples
    --------
    >>> row = {"threshold": 0.2, "tp": 8, "fp": 4, "fn": 2, "tn": 86, "per_1000": {"tp": 80.0}}
    >>> [c.text for c in counts_table([row]).cells()[0]]
    ['20%', '8', '4', '2', '86', '80', '–', '–', '–']
    """
    values = [float(r[k]) for r in rows for k, _ in _COUNTS if numbers.is_number(r.get(k))]
    scaled = any(r.get("per_1000") for r in rows)
    if not values and not scaled:
        return None
    whole = all(
        abs(float(r[k]) - round(float(r[k]))) < 1e-6 for r in rows for k, _ in _COUNTS if numbers.is_number(r.get(k))
    )
    expected = bool(when) or not whole
    thousand = f"1{numbers.THIN}000"
    head = ["Threshold", *(t for _, t in _COUNTS if values), *(f"{t} of {thousand}" for _, t in _COUNTS if scaled)]
    body = []
    for r in rows:
        each = r.get("per_1000") or {}
        line = [_strong(numbers.percent(r["threshold"], 0), r)]
        line += [_strong(numbers.fixed(r.get(k), 0 if whole else 1), r) for k, _ in _COUNTS if values]
        line += [_strong(numbers.count(each.get(k)), r) for k, _ in _COUNTS if scaled]
        body.append(line)
    size = f" (n = {numbers.count(n)})" if numbers.is_number(n) else ""
    kind = (
        f"Patients expected at each threshold{when} by {observed} estimates, which allow for censoring"
        if expected
        else "Patients at each threshold"
    )
    caption = f"{kind}: of the test part{size} and of {thousand} such patients. {_MEANS}"
    return Table(head, body, caption)


def threshold_tables(rows: Sequence[view.Results], when: str = "") -> list[Table]:
    """Return what follows from acting at each threshold, the chosen one in bold."""
    out = []
    for keys, caption in (
        (_RATES, f"Decisions at each threshold{when}; the chosen threshold is in bold"),
        (_OTHERS, f"Likelihood ratios, F1 and net benefit{when}"),
    ):
        shown = [(k, title) for k, title in keys if any(r.get(k) for r in rows)]
        if shown:
            body = [
                [
                    _strong(numbers.percent(r["threshold"], 0), r),
                    *(_strong(numbers.measure(r.get(k), _digits(k)), r) for k, _ in shown),
                ]
                for r in rows
            ]
            out.append(Table(["Threshold", *(title for _, title in shown)], body, caption))
    return out


def _digits(key: str) -> int:
    return 3 if key == "net_benefit" else 2


def _strong(text: str, row: view.Results) -> Any:
    return num(text, strong=bool(row.get("chosen")))
