"""Section 2: what the data checks found, worst first, and the proof that the parts share no patient."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Cell, Facts, Heading, Section, Table, num

_RANK = {"STOP": 0, "WARN": 1, "NOTE": 2}
_LONGEST = 400


def build(results: view.Results) -> Section:
    """Return the section of the checks."""
    findings = view.block(results, "checks")
    split = view.block(results, "split")
    blocks: list[Block] = []
    unit = view.unit(results)
    if findings:
        ordered = sorted(findings, key=lambda f: _RANK.get(str(f.get("severity")), 3))
        rows = [
            [
                Cell(str(f.get("severity") or ""), "state", sort=_RANK.get(str(f.get("severity")), 3)),
                where(str(f.get("where") or ""), unit),
                _join(f.get("message"), f.get("advice")),
                Cell("Numbers and source", detail=detail) if (detail := _evidence(f)) else "",
            ]
            for f in ordered
        ]
        blocks.append(Table(["Severity", "Where", "What, and what to do", "Evidence"], rows, sortable=True))
    if split:
        blocks += [Heading("Lock of the split"), *_split(split, _one_tunes(results))]
    if findings is None:
        return Section("checks", "Checks", sentences.absent("The data checks"), blocks, bool(blocks))
    return Section("checks", "Checks", sentences.checks(findings), blocks)


def _one_tunes(results: view.Results) -> bool:
    # Networks are stopped by one fold; readers of notes are judged over all of them.
    return (view.multilabel(results) or view.masks(results)) and not view.notes(results)


def _join(*texts: object) -> str:
    return " ".join(str(t) for t in texts if t)


def where(text: str, unit: str = "day") -> str:
    """Return the place of a finding in words.

    Examples
    --------
    >>> where("outcome:death from any cause"), where("table@365"), where("column:sysbp"), where("column 'sho'")
    ('Outcome: death from any cause', 'Table, at 365 days', 'Column: sysbp', "Column 'sho'")
    """
    head, mark, tail = text.partition(":")
    text = f"{head}: {tail.strip()}" if mark else text
    stem, mark, at = text.rpartition("@")
    if mark and at.replace(".", "", 1).isdigit():
        text = f"{stem}, at {numbers.horizon(at, unit)}"
    return text[:1].upper() + text[1:]


def _evidence(finding: view.Results) -> list[tuple[str, str]]:
    pairs = _flat(finding.get("evidence") or {}, "")
    if finding.get("source"):
        pairs.append(("Source", str(finding["source"])))
    return pairs


def _flat(record: view.Results, prefix: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, dict):
            out += _flat(value, f"{name}, ")
        elif value is not None:
            out.append((name, _short(numbers.number(value))))
    return out


def _short(text: str) -> str:
    """Return a text that a reader can take in; a table of numbers inside a finding is for machines.

    Examples
    --------
    >>> _short("0.71"), _short("0.7142, " * 90)[-38:]
    ('0.71', '0.7142, ... (the rest in results.json)')
    """
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} ... (the rest in results.json)"


def _split(split: view.Results, one_tunes: bool) -> list[Block]:
    proof = split.get("proof") or {}
    shared = proof.get("shared_patients") or {}
    facts = [("Drawn by", numbers.number(split.get("by")))]
    if numbers.is_number(split.get("fraction")):
        facts.append(("Share in test", numbers.percent(split["fraction"])))
    facts += [(f"Patients in both {pair.replace('+', ' and ')}", numbers.count(n)) for pair, n in shared.items()]
    if numbers.is_number(proof.get("folds")):
        first = ", of which the first is the tune part" if one_tunes else ""
        facts.append(("Tuning folds inside train", f"{numbers.count(proof['folds'])}{first}"))
    facts.append(("SHA-256 of the lock", numbers.number(split.get("lock_sha256"))))
    out: list[Block] = [Facts(facts)]
    opened = split.get("openings") or []
    if opened:
        rows = [
            [
                num(str(i), i),
                numbers.moment(o.get("when")),
                str(o.get("reason") or ""),
                str(o.get("model_sha256") or "")[:12],
            ]
            for i, o in enumerate(opened, 1)
        ]
        out.append(Table(["Opening", "When", "Reason", "Model (SHA-256)"], rows, "Openings of the test part"))
    return out
