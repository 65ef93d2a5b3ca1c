"""Tables that more than one page uses: the measures beside the baselines, and the decisions at each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimed.report import names, numbers, view
from aimed.report.parts import Cell, Table, num


def order(found: Sequence[str]) -> list[str]:
    """Return measure names in the order of the table: by kind, then by horizon.

    Examples
    --------
    >>> order(["brier", "oe@365", "oe@90", "auroc"])
    ['auroc', 'oe@90', 'oe@365', 'brier']
    """
    known = list(names.MEASURES)

    def key(name: str) -> tuple[int, float, str]:
        base, at = names.split_name(name)
        return (known.index(base) if base in known else len(known), float(at or 0), name)

    return sorted(found, key=key)


def measures_table(results: view.Results) -> Table:
    """Return every measure of the model with its interval, beside the baselines."""
    perf = view.block(results, "performance") or {}
    found, baselines, unit = perf.get("measures") or {}, perf.get("baselines") or {}, view.unit(results)
    shown = [b for b in baselines if any(k in found for k in baselines[b] or {})]
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    last = ""
    for name in order(list(found)):
        words = names.describe(name)
        if words.group != last:
            groups[len(rows)] = last = words.group
        first = Cell(names.title(name, unit), strong=name == view.primary(results)[0], indent=True)
        rows.append([first, _cell(found[name]), *(_cell((baselines[b] or {}).get(name)) for b in shown)])
    level = f"{100 * float(perf.get('level') or 0.95):g}%"
    n, events = numbers.count(perf.get("n")), numbers.count(perf.get("events"))
    caption = (
        f"Measures on the test part with {level} intervals (n = {n}, {events} events); the primary measure is in bold"
    )
    return Table(["Measure", "Model", *(view.baseline_title(results, b) for b in shown)], rows, caption, groups=groups)


def differences_table(results: view.Results) -> Table | None:
    """Return the paired differences between the model and each baseline, or None when there are none."""
    unit = view.unit(results)
    found = {b: d for b, d in (view.block(results, "performance", "differences") or {}).items() if d}
    every = order(list({name for d in found.values() for name in d}))
    if not every:
        return None
    rows = [[names.title(name, unit), *(_cell(d.get(name)) for d in found.values())] for name in every]
    head = ["Measure", *(f"Against {view.baseline_title(results, b)}" for b in found)]
    return Table(head, rows, "Model minus baseline, on the same resamples of the same patients")


def _cell(measure: view.Results | None) -> Cell:
    return num(numbers.measure(measure), (measure or {}).get("value"))


_RATES = (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("ppv", "PPV"), ("npv", "NPV"))
_OTHERS = (("lr_positive", "LR+"), ("lr_negative", "LR−"), ("f1", "F1"), ("net_benefit", "Net benefit"))


_COUNTS = (("tp", "TP"), ("fp", "FP"), ("fn", "FN"), ("tn", "TN"))


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
    caption = (
        f"{kind}: of the test part{size} and of {thousand} such patients. TP: with the outcome and flagged; "
        "FP: without it and flagged; FN: with it and missed; TN: without it and not flagged"
    )
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
