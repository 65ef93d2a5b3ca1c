"""Section 2: what the data checks found, worst first, and the proof that the parts share no patient."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Cell, Facts, Heading, Section, Table, num

_RANK = {"STOP": 0, "WARN": 1, "NOTE": 2}


def build(results: view.Results) -> Section:
    """Return the section of the checks."""
    findings = view.block(results, "checks")
    split = view.block(results, "split")
    blocks: list[Block] = []
    if findings:
        ordered = sorted(findings, key=lambda f: _RANK.get(str(f.get("severity")), 3))
        rows = [
            [
                Cell(str(f.get("severity") or ""), "state", sort=_RANK.get(str(f.get("severity")), 3)),
                str(f.get("where") or ""),
                _join(f.get("message"), f.get("advice")),
                _evidence(f.get("evidence") or {}),
                str(f.get("source") or ""),
            ]
            for f in ordered
        ]
        blocks.append(Table(["Severity", "Where", "What, and what to do", "Evidence", "Source"], rows, sortable=True))
    if split:
        blocks += [Heading("Lock of the split"), *_split(split)]
    if findings is None:
        return Section(
            "checks", "Checks", sentences.absent("The data checks", view.no_block("checks")), blocks, bool(blocks)
        )
    return Section("checks", "Checks", sentences.checks(findings), blocks)


def _join(*texts: object) -> str:
    return " ".join(str(t) for t in texts if t)


def _evidence(record: view.Results) -> str:
    # Nested records are for programs; the table shows the counts and statistics at the top.
    plain = {str(k).replace("_", " "): v for k, v in record.items() if not isinstance(v, (dict, list))}
    return numbers.number(plain) if plain else ""


def _split(split: view.Results) -> list[Block]:
    proof = split.get("proof") or {}
    shared = proof.get("shared_patients") or {}
    facts = [("Drawn by", numbers.number(split.get("by")))]
    if numbers.is_number(split.get("fraction")):
        facts.append(("Share in test", numbers.percent(split["fraction"])))
    facts += [(f"Patients in both {pair.replace('+', ' and ')}", numbers.count(n)) for pair, n in shared.items()]
    if numbers.is_number(proof.get("folds")):
        facts.append(("Tuning folds inside train", numbers.count(proof["folds"])))
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
