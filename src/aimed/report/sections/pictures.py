"""What the report says of pictures: the files, how far damage harms (notes too), and whether doubt is known as such."""

from __future__ import annotations

import re
from typing import Any

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.figures.dots import spelt
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Fold, Heading, Note, Table, Thumbnails, num


def files(results: view.Results) -> list[Block]:
    """Return the facts on the files: how many, refused ones by code, frame, views, and pictures in each part.

    Examples
    --------
    >>> [part.type for part in files({"data": {"images": {"files": 9, "refused": {"TOO_BIG": 1}, "views": {"PA": 8}}}})]
    ['heading', 'facts', 'table', 'table']
    """
    images = view.block(results, "data", "images")
    if not images:
        return []
    refused = {str(k): n for k, n in (images.get("refused") or {}).items()}
    side = images.get("size")
    facts = [
        ("Files read", numbers.count(images.get("files"))),
        ("Files refused", numbers.count(sum(int(n) for n in refused.values() if numbers.is_number(n)))),
        (
            "Frame",
            f"{numbers.count(side)} x {numbers.count(side)} pixels, aspect kept, {images.get('bits')} bits"
            if numbers.is_number(side)
            else numbers.ABSENT,
        ),
    ]
    out: list[Block] = [Heading("The pictures"), Facts([f for f in facts if f[1] != numbers.ABSENT])]
    reasons = {
        str(r.get("code")): str(r.get("reason") or "") for r in view.block(results, "limits", "refusals") or []
    }  # fmt: skip
    if refused:
        rows = [[code, reasons.get(code, ""), num(numbers.count(n), n)] for code, n in sorted(refused.items())]
        out.append(Table(["Code", "Why", "Files"], rows, "Files that were refused; they are in no part", wide=False))
    views = images.get("views") or {}
    if views:
        total = sum(float(n) for n in views.values() if numbers.is_number(n)) or 1.0
        known = sorted(views.items(), key=lambda v: -float(v[1] or 0))
        rows = [[str(k), num(numbers.count(n), n), num(numbers.percent((n or 0) / total), n)] for k, n in known]
        out.append(Table(["View", "Pictures", "Share"], rows, "Views", wide=False))
    parts = {name: p for name, p in (view.block(results, "data", "parts") or {}).items() if p}
    if parts:
        rows = [
            [str(name), *(num(numbers.count(p.get(k)), p.get(k)) for k in ("patients", "n", "events"))]
            for name, p in parts.items()
        ]
        head = ["Part", "Patients", "Pictures", "With any finding"]
        out.append(Table(head, rows, "Pictures and patients by part", wide=False))
    return out


def changed(results: view.Results) -> list[Block]:
    """Return how much is lost when pictures or notes get worse: sentence, figure and table.

    Examples
    --------
    >>> changed({"robustness": None})
    []
    """
    block = view.block(results, "robustness")
    if not block or not isinstance(block.get("changes"), list):
        return []
    context = view.context(results)
    of, measure = f"{view.item(results)}s", _measure(results, block)
    called = names.title(measure)
    out: list[Block] = [Heading(f"{of.capitalize()} made worse")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    if any(numbers.is_number((_loss(c, measure) or {}).get("value")) for c in block["changes"]):
        out.append(_losses(block, context, measure, of))
    rows = [
        [
            str(c.get("label") or c.get("key")),
            num(numbers.measure(_loss(c, measure)), (_loss(c, measure) or {}).get("value")),
            num(numbers.p_value(c.get("p_holm")), c.get("p_holm")),
            *_moves(c, view.notes(results)),
            Cell(str(c.get("state") or ""), "state"),
        ]
        for c in block["changes"]
    ]
    moved = ["Labels that change"] if view.notes(results) else ["Mean move of the risk", "Decisions that change"]
    head = ["Change", f"{called}, changed less unchanged ({context.band})", "p (Holm)", *moved, "State"]
    size = f" ({numbers.count(block.get('n'))} of {numbers.count(block.get('of'))} test {of})" if block.get("n") else ""
    table = Table(head, rows, f"Each change on the same {of}{size}", sortable=True)
    turned = "labels" if view.notes(results) else "decisions"
    out.append(Fold(f"Every change with its test and the {turned} that it turns", [table]))
    if block.get("note"):
        out.append(Note(str(block["note"]), "absent"))
    return out


def _measure(results: view.Results, block: view.Results) -> str:
    """Return the measure that the changes cost: what the run recorded, or what such a study is judged by."""
    return str(block.get("measure") or ("micro_f1" if view.notes(results) else "macro_auroc"))


def _moves(change: view.Results, of_notes: bool) -> list[Cell]:
    if of_notes:
        share = change.get("labels_changed")
        value = share.get("value") if isinstance(share, dict) else share
        return [num(spelt(share, True) if isinstance(share, dict) else numbers.percent(share), value)]
    means = (_mean(change, "risk_change"), _mean(change, "flipped"))
    return [num(spelt(m, True), (m or {}).get("value")) for m in means]


def _mean(change: view.Results, name: str) -> Any:
    found = change.get(name) or {}
    return found if "value" in found else found.get(f"macro_{name}")


def _loss(change: view.Results, measure: str) -> Any:
    return (change.get("differences") or {}).get(measure)


def _losses(block: view.Results, context: Context, measure: str, of: str) -> Figure:
    called, cost = names.title(measure), "ranking" if of == "pictures" else "F1"
    rows: list[dict[str, Any]] = []
    last = ""
    for change in block["changes"]:
        kind = str(change.get("kind") or "")
        if kind and kind != last and of == "pictures":
            rows.append({"heading": _KINDS.get(kind, kind.replace("_", " ").capitalize())})
            last = kind
        words, _, more = str(change.get("label") or change.get("key")).partition(", ")
        # The heading says the noun; what is said of all amounts alike is left to the table.
        label = more[:1].upper() + more[1:] if more and not re.search(r"\d", words) else words
        rows.append(
            {
                "label": label if of == "pictures" else str(change.get("label") or change.get("key")),
                "points": {"loss": _loss(change, measure) or {}},
                "note": (_loss(change, measure) or {}).get("note"),
            }
        )
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"loss": "loss"},
            "axis": f"{called}, changed less unchanged",
            "head": "Change",
            "title": titles.changes(block["changes"], measure, of, cost),
            "caption": f"{called} on changed test {of} less that on the same {of} as they are; lines are "
            f"{context.band}s of the paired difference. Left of the dashed line {cost} is lost.",
            "said": f"Change of the {titles.inside(called)}.",
            "salt": "changes",
            "reference": 0.0,
        },
        context,
    )
    return figure


_KINDS = {
    "noise": "Gaussian noise",
    "quantum_noise": "Quantum noise",
    "gamma": "Gamma",
    "exposure": "Exposure",
    "contrast": "Contrast",
    "blur": "Blur",
    "resolution": "Resolution",
    "crop": "Crop",
    "shift": "Shift",
    "rotation": "Rotation",
    "jpeg": "JPEG compression",
}


def sets(results: view.Results) -> list[Block]:
    """Return whether conformal sets hold the truth as often as promised, and how often they say uncertain.

    Examples
    --------
    >>> sets({"conformal": {"alpha": 0.1, "findings": {}, "sentence": "Nothing was promised."}})[1].text
    'Nothing was promised.'
    """
    block = view.block(results, "conformal")
    if not block:
        return []
    context = view.context(results)
    alpha = block.get("alpha")
    promise = 1 - float(alpha) if numbers.is_number(alpha) else None
    labels = view.labels(results)
    found = {str(k): f for k, f in (block.get("findings") or {}).items() if isinstance(f, dict)}
    out: list[Block] = [Heading("Sets that may say uncertain")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    if found:
        rows: list[dict[str, Any]] = [
            {
                "label": labels.get(key, key),
                "points": {s: (f.get("coverage") or {}).get(s) or {} for s in ("positives", "negatives")},
            }
            for key, f in found.items()
        ]
        states = [str(f.get("state")) for f in found.values()]
        kept = states.count("held")
        title = f"The promise held within chance for {kept} of {sentences.plural(len(found), 'finding')}"
        share = numbers.percent(promise, 0)
        if any(numbers.is_number(m.get("value")) for row in rows for m in row["points"].values()):
            out.append(
                FIGURES["dots"](
                    {
                        "rows": rows,
                        "series": {"positives": "patients with the finding", "negatives": "patients without it"},
                        "axis": "Sets that hold the truth",
                        "head": "Finding",
                        "title": title,
                        "caption": f"Share of sets that hold the truth on the test part, made to do so for {share} of "
                        f"patients with and without each finding; lines are {context.band}s, dashed is the promise. In "
                        "words: those with the finding.",
                        "said": "Coverage of the sets.",
                        "salt": "coverage",
                        "reference": promise,
                        "percent": True,
                    },
                    context,
                )
            )
        body = [
            [
                labels.get(key, key),
                num(_from(f.get("present_from"))),
                num(_from(f.get("absent_to"))),
                *(
                    num(
                        spelt((f.get("shares") or {}).get(k), True), ((f.get("shares") or {}).get(k) or {}).get("value")
                    )
                    for k in ("present", "absent", "uncertain")
                ),
                Cell(str(f.get("state") or ""), "state"),
            ]
            for key, f in found.items()
        ]
        head = [
            "Finding",
            "Present possible from",
            "Absent possible up to",
            "Said present",
            "Said absent",
            "Said uncertain",
            "Promise",
        ]
        out.append(Table(head, body, f"What the sets say of test {view.item(results)}s, by the risk", sortable=True))
    said = [str(block[k]) for k in ("method", "assumption") if block.get(k)]
    if said:
        out.append(Note(" ".join(f"{s[:1].upper()}{s[1:].rstrip('.')}." for s in said), "absent"))
    return out


def _from(risk: object) -> str:
    return numbers.percent(risk) if numbers.is_number(risk) else "any risk"


def doubt(results: view.Results) -> list[Block]:
    """Return whether the model errs less where it is surer: sentence, curve and table of signals.

    Examples
    --------
    >>> [part.type for part in doubt({"case_uncertainty": {"sentence": "It does.", "note": "As given."}})]
    ['heading', 'note', 'note']
    """
    block = view.block(results, "case_uncertainty")
    if not block:
        return []
    context = view.context(results)
    labels = view.labels(results)
    out: list[Block] = [Heading("Whether the model knows when it is unsure")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    signals = block.get("signals") or {}
    if any(numbers.is_number((p.get("error") or {}).get("value")) for p in block.get("curve") or []):
        each = [
            {"label": labels.get(str(k), str(k)), "curve": (f or {}).get("curve") or []}
            for k, f in (block.get("findings") or {}).items()
        ]
        signal = str(block.get("signal") or "")
        of = f"{view.item(results)}s"
        data = {"curve": block["curve"], "findings": each, "signal": signals.get(signal) or signal, "of": of}
        out.append(FIGURES["risk_coverage"](data, context))
    rows = [
        [str(name), str(signals.get(name) or ""), num(numbers.measure(m), (m or {}).get("value"))]
        for name, m in (block.get("auroc") or {}).items()
    ]
    if rows:
        head = ["Signal", "What it is", f"Macro AUROC, wrong against right decisions ({context.band})"]
        out.append(Table(head, rows))
    if block.get("note"):
        out.append(Note(str(block["note"]), "absent"))
    return out


def cases(results: view.Results) -> list[Block]:
    """Return the gallery: the best, worst and least certain cases of each finding, by number or id.

    Examples
    --------
    >>> case = {"case": 1, "risk": 0.9, "reference": 1, "spread": None}
    >>> one = {"label": "Mass", "threshold": 0.5, "cases": {"missed": [case]}, "of": {"missed": 4}}
    >>> block = {"groups": {"missed": "Present, and missed"}, "findings": {"mass": one}}
    >>> [part.type for part in cases({"gallery": block})]
    ['heading', 'note', 'fold']
    """
    block = view.block(results, "gallery")
    if not block or not block.get("findings"):
        return []
    titles = {str(k): str(v) for k, v in (block.get("groups") or {}).items()}
    named = bool(block.get("ids"))
    small = block.get("thumbnails") or block.get("pictures") or {}
    drawn = small.get("thumbnails") or {}
    where = (
        "ids are those of the study's data" if named else "ids stay with the data, in cases.parquet of the run folder"
    )
    out: list[Block] = [
        Heading("Cases worth looking at"),
        Note(f"Chosen by rule from the test part, a patient at most once in a group; {where}."),
    ]
    if drawn and small.get("caption"):
        out.append(Note(str(small["caption"])))
    for key, one in ((k, f) for k, f in block["findings"].items() if f):
        label = str(one.get("label") or view.labels(results).get(str(key), key))
        inside = _cases(one, titles, named, drawn, label)
        said = str(one.get("sentence") or "").removeprefix(f"{label}: ")
        out.append(Fold(label, inside, said))
    return out


def _cases(one: view.Results, titles: dict[str, str], named: bool, drawn: view.Results, label: str) -> list[Block]:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    pictures: list[tuple[str, str, str]] = []
    for group, some in (one.get("cases") or {}).items():
        if not some:
            continue
        of = (one.get("of") or {}).get(group)
        title = titles.get(str(group), str(group).replace("_", " "))
        groups[len(rows)] = f"{title} ({len(some)} of {numbers.count(of)})" if numbers.is_number(of) else title
        for case in some:
            known = {1: "present", 0: "absent"}.get(case.get("reference"), "unknown")
            rows.append(
                [
                    num(numbers.count(case.get("case")), case.get("case")),
                    *([str(case.get("id") or "")] if named else []),
                    num(numbers.percent(case.get("risk")), case.get("risk")),
                    known,
                    num(numbers.fixed(case.get("spread")), case.get("spread")),
                ]
            )
            source = str(drawn.get(str(case.get("case"))) or "")
            if source.startswith("data:image/png;base64,"):
                risk = numbers.percent(case.get("risk"))
                said = f"Case {case.get('case')}: {label}, {known}, risk {risk}; left the picture, right its heat map"
                pictures.append((source, f"Case {case.get('case')}: {known}, risk {risk}", said))
    spread = any(r[-1].text != numbers.ABSENT for r in rows)
    head = ["Case", *(["Id"] if named else []), "Risk", "Reference standard", *(["Spread"] if spread else [])]
    out: list[Block] = [Table(head, [r if spread else r[:-1] for r in rows], groups=groups, wide=False)]
    if pictures:
        out.append(Thumbnails(pictures))
    return out
