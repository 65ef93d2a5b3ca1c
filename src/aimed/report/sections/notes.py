"""What the report says of a study of notes: the notes, what is read in them and how surely, and each error in place."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Facts, Figure, Fold, Heading, Legend, Note, Passage, Piece, Table, num

LONGEST = 2_500
"""Characters of a note that are shown; a longer one is cut around its marks."""
BUDGET = 600_000
"""Bytes of notes on a page, shared out evenly over the findings."""
ASSERTIONS = ("positive", "negative", "uncertain", "not_mentioned")
_READ = {
    "positive": "present",
    "negative": "absent",
    "uncertain": "uncertain",
    "not_mentioned": "not mentioned",
    "not_positive": "not present",
}
_FLAGS = {
    "html": "HTML markup",
    "rtf": "RTF markup",
    "nul": "NUL bytes",
    "control": "control characters",
    "all_capitals": "all in capitals",
    "no_punctuation": "no punctuation",
    "encoding_guessed": "encoding guessed",
    "undecodable": "characters that cannot be decoded",
}
_CODING = {
    "certain": "certain: 1 where the report states the finding, 0 where it does not",
    "chexpert": "CheXpert: 1 present, 0 absent, -1 uncertain, blank not mentioned",
}
_IDENTIFIERS = {
    "none": "none, by the word of whoever made the data: each note was de-identified before it came here",
    "possible": "possible: the notes may name people; no text of them is on this page or in the package",
}
_GROUPS = {"missed": "Missed: stated, and not called", "false_alarm": "Called wrongly: not stated, and called"}


def files(results: view.Results) -> list[Block]:
    """Return the facts on the notes: how many, refused ones by code, flags, length, coding, identifiers, lexicon.

    Examples
    --------
    >>> [part.type for part in files({"data": {"notes": {"notes": 9, "refused": {"EMPTY": 1}}}})]
    ['heading', 'facts', 'table']
    """
    block = view.block(results, "data", "notes")
    if not block:
        return []
    refused = _counts(block.get("refused"))
    length, lexicon = block.get("characters") or {}, block.get("lexicon") or {}
    middle = numbers.count(length.get("median"))
    if numbers.is_number(length.get("q1")) and numbers.is_number(length.get("q3")):
        middle += f" (quartiles {numbers.count(length['q1'])} and {numbers.count(length['q3'])})"
    if numbers.is_number(length.get("longest")):
        middle += f", the longest {numbers.count(length['longest'])}"
    whose = "as shipped" if lexicon.get("shipped") else "of the study's own" if lexicon.get("shipped") is False else ""
    called = " ".join(str(lexicon[k]) for k in ("name", "version") if lexicon.get(k))
    doubt = lexicon.get("doubt_as_present")
    facts = [
        ("Notes in the table", numbers.count(block.get("notes"))),
        ("Notes refused", numbers.count(sum(refused.values()))),
        ("Characters a note, median", middle),
        ("Coding of the labels", _CODING.get(str(block.get("coding"))) or numbers.number(block.get("coding"))),
        ("Identifiers", _IDENTIFIERS.get(str(block.get("identifiers"))) or numbers.number(block.get("identifiers"))),
        ("Lexicon", ", ".join(t for t in (called, whose) if t) or numbers.ABSENT),
        ("Set of labels", numbers.number(lexicon.get("targets"))),
        ("Doubt that counts as present", numbers.ABSENT if doubt is None else ", ".join(doubt) or "none"),
        ("SHA-256 of the lexicon", numbers.number(lexicon.get("digest"))),
    ]
    out: list[Block] = [Heading("The notes"), Facts([f for f in facts if f[1] != numbers.ABSENT])]
    if refused:
        why = {str(r.get("code")): str(r.get("reason") or "") for r in view.block(results, "limits", "refusals") or []}
        rows = [[code, why.get(code, ""), num(numbers.count(n), n)] for code, n in sorted(refused.items())]
        out.append(Table(["Code", "Why", "Notes"], rows, "Notes that were refused; they are in no part", wide=False))
    flags = _counts(block.get("flags"))
    if flags:
        rows = [[_FLAGS.get(k, k.replace("_", " ")), num(numbers.count(n), n)] for k, n in sorted(flags.items())]
        out.append(Table(["What was odd", "Notes"], rows, "Notes that were cleaned or look unusual", wide=False))
    return out


def _counts(found: object) -> dict[str, int]:
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {str(k): int(n) for k, n in pairs if numbers.is_number(n)}


def lead(results: view.Results) -> str:
    """Return the opening sentence on performance: what is found, what is right, the worst finding, new wording.

    Examples
    --------
    >>> m = {"micro_recall": {"value": 0.96}, "micro_precision": {"value": 0.94}, "micro_f1": {"value": 0.95}}
    >>> lead({"task": "report_labels", "performance": {"measures": m}})
    'The model finds 96.0% of the stated findings, and 94.0% of those that it calls are stated (micro F1 0.95).'
    """
    found = view.measures(results)
    recall, precision, whole = ((found.get(f"micro_{k}") or {}).get("value") for k in ("recall", "precision", "f1"))
    if not numbers.is_number(whole):
        return "Whether the model reads the findings could not be judged (micro F1 not estimable)."
    text = "The model"
    if numbers.is_number(recall) and numbers.is_number(precision):
        text += (
            f" finds {numbers.percent(recall)} of the stated findings, and {numbers.percent(precision)} of those that "
            "it calls are stated"
        )
    else:
        text += " was judged on stated findings"
    text += f" (micro F1 {numbers.short(whole)})"
    known = [
        (float(m["value"]), label)
        for key, label in view.labels(results).items()
        if numbers.is_number((m := view.of_finding(results, "f1", key) or {}).get("value"))
    ]
    if len(known) > 1:
        low, worst = min(known)
        text += f"; F1 is lowest for {titles.inside(worst)} ({numbers.short(low)})"
    return f"{text}."


def new_wording(results: view.Results) -> str:
    """Return the sentence on notes whose wording training never had; empty where that is not known.

    Examples
    --------
    >>> new_wording({"report_labels": {"unseen": {"n": 8, "of": 9, "micro_f1": {"value": 0.9}}}})
    'On the 8 of 9 test notes whose wording no training note has, micro F1 is 0.900.'
    """
    block = view.block(results, "report_labels", "unseen") or {}
    if not numbers.is_number(block.get("n")) or not numbers.is_number(block.get("of")):
        return ""
    if not block["n"]:
        return "Each test note has the wording of a training note, so that nothing is known of new wording."
    said = numbers.measure(block.get("micro_f1"))
    return (
        f"On the {numbers.count(block['n'])} of {numbers.count(block['of'])} test notes whose wording no training note "
        f"has, micro F1 is {said}."
    )


def labelled(results: view.Results) -> list[Block]:
    """Return how well labels are read: by finding, by assertion, beside the lexicon, and the classes of errors.

    Examples
    --------
    >>> labelled({"task": "report_labels"})
    []
    """
    out: list[Block] = []
    if said := new_wording(results):
        out.append(Note(said))
    if any(view.of_finding(results, "f1", key) for key in view.labels(results)):
        out.append(_by_finding(results))
    if rows := _table(results):
        out.append(rows)
    if beside := _baselines(results):
        out.append(beside)
    return [*out, *_assertions(results), *_confusion(results), *_agreement(results), *_errors(results)]


def _series(results: view.Results) -> dict[str, str]:
    """Return the baselines with measures of labels, by name with their titles."""
    found = {
        str(b): view.baseline_title(results, str(b))
        for b, m in (view.block(results, "performance", "baselines") or {}).items()
        if isinstance(m, Mapping) and any(str(k).startswith(("f1@", "micro_f1")) for k in m)
    }
    # What reads the same in every note has no place on the axis of what reads.
    return {b: t for b, t in found.items() if _value(results, b, "micro_kappa") != 0.0}


def _value(results: view.Results, baseline: str, name: str) -> object:
    return (view.block(results, "performance", "baselines", baseline, name) or {}).get("value")


def _by_finding(results: view.Results) -> Figure:
    context, labels, beside = view.context(results), view.labels(results), _series(results)
    measures = view.measures(results)
    rows: list[dict[str, Any]] = []
    for key, label in labels.items():
        mine = view.of_finding(results, "f1", key) or {}
        points = {"model": mine} | {b: view.of_finding(results, "f1", key, b) or {} for b in beside}
        counts = [numbers.count(mine.get("n")), numbers.count(_positive(results, key))]
        rows.append({"label": label, "points": points, "columns": counts, "note": mine.get("note")})
    rows.sort(key=lambda r: -float(v) if numbers.is_number(v := r["points"]["model"].get("value")) else 9.0)
    shown = [(str(r["label"]), r["points"]["model"]) for r in rows]
    for name, label in (("macro_f1", "Mean over findings"), ("micro_f1", "All in one pool")):
        if measures.get(name):
            points = {"model": measures[name]}
            points |= {b: view.block(results, "performance", "baselines", b, name) or {} for b in beside}
            counts = [numbers.count(measures[name].get("n")), ""]
            rows.insert(0, {"label": label, "points": points, "columns": counts, "strong": True})
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"model": "model", **beside},
            "columns": ["notes", "positive"],
            "axis": "F1",
            "head": "Finding",
            "title": titles.macro("micro_f1", measures.get("micro_f1"), shown, context.unit),
            "caption": "F1 on the test part by finding: the harmonic mean of precision and recall of what is stated as "
            f"present. Lines are {context.band}s.",
            "said": "F1 by finding.",
            "salt": "labels-f1",
            "limits": (-0.03, 1.03),
        },
        context,
    )
    return figure


def _positive(results: view.Results, key: str) -> Any:
    of = view.block(results, "report_labels", "targets", key, "gold") or {}
    return of.get("positive") if of else (view.of_finding(results, "f1", key) or {}).get("events")


_RATES = ("precision", "recall", "f1", "kappa")


def _table(results: view.Results) -> Table | None:
    rows: list[list[Cell | str]] = []
    for key, label in view.labels(results).items():
        found = {rate: view.of_finding(results, rate, key) for rate in _RATES}
        if not any(found.values()):
            continue
        first = next(m for m in found.values() if m)
        rows.append(
            [
                label,
                num(numbers.count(first.get("n")), first.get("n")),
                num(numbers.count(_positive(results, key)), _positive(results, key)),
                *(_cell(found[rate]) for rate in _RATES),
            ]
        )
    if not rows:
        return None
    head = ["Finding", "Notes", "Positive", *(_RATE[rate] for rate in _RATES)]
    caption = (
        f"The model, finding by finding, on the test part ({view.context(results).band}s). Positive: notes that state "
        "the finding. Precision: of the notes called, those that state it; recall: of those that state it, those "
        "called; kappa: agreement with the reference standard beyond chance"
    )
    return Table(head, rows, caption, sortable=True)


_RATE = {"precision": "Precision", "recall": "Recall", "f1": "F1", "kappa": "Kappa"}


def _cell(measure: view.Results | None) -> Cell:
    return num(numbers.measure(measure), (measure or {}).get("value"))


def _baselines(results: view.Results) -> Fold | None:
    every = {
        str(b): m
        for b, m in (view.block(results, "performance", "baselines") or {}).items()
        if isinstance(m, Mapping) and any(str(k).startswith("f1@") for k in m)
    }
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for b in every:
        groups[len(rows)] = view.baseline_title(results, str(b))
        for key, label in view.labels(results).items():
            rates = [view.of_finding(results, rate, key, b) for rate in _RATES]
            if any(rates):
                rows.append([Cell(label, indent=True), *(_cell(m) for m in rates)])
    if not rows:
        return None
    head = ["Finding", *(_RATE[rate] for rate in _RATES)]
    table = Table(head, rows, "The same measures of the baselines, on the same notes", groups=groups)
    return Fold("The baselines finding by finding", [table], f"{sentences.plural(len(every), 'baseline')}")


_KINDS = {"mention": "Mentioned at all", "negation": "Denied", "uncertainty": "Left open"}


def _assertions(results: view.Results) -> list[Block]:
    """Return mention, negation and uncertainty, where the reference standard knows them."""
    measures, labels = view.measures(results), view.labels(results)
    kinds = [k for k in _KINDS if measures.get(f"micro_{k}_f1")]
    if not kinds:
        return []
    beside = _series(results)
    rows = [
        [
            _KINDS[k],
            *(_cell(measures.get(f"micro_{k}_{rate}")) for rate in _RATES[:3]),
            *(_cell(view.block(results, "performance", "baselines", b, f"micro_{k}_f1")) for b in beside),
        ]
        for k in kinds
    ]
    head = ["", *(_RATE[r] for r in _RATES[:3]), *(f"F1, {titles.inside(t)}" for t in beside.values())]
    caption = (
        "Whether a finding is mentioned, denied or left open, all notes and findings in one pool "
        f"({view.context(results).band}s)"
    )
    each = [[label, *(_cell(view.of_finding(results, f"{k}_f1", key)) for k in kinds)] for key, label in labels.items()]
    table = Table(["Finding", *(names.describe(f"{k}_f1").title for k in kinds)], each, sortable=True)
    return [
        Heading("Mention, negation and uncertainty"),
        Table(head, rows, caption),
        Fold("Mention, negation and uncertainty finding by finding", [table]),
    ]


def _confusion(results: view.Results) -> list[Block]:
    block = view.block(results, "report_labels") or {}
    said, gold = block.get("assertions") or list(ASSERTIONS), block.get("gold_assertions") or []
    whole = _matrix(block.get("confusion"))
    if not whole or not gold:
        return []
    few = len(gold) == 2
    kept = [j for j in range(len(said)) if j == 0 or any(j < len(row) and row[j] for row in whole)]
    each = {
        label: matrix
        for key, label in view.labels(results).items()
        if (matrix := _matrix(view.block(block, "targets", key, "confusion")))
    }
    head = ["In the reference standard", *(f"Said {_read(said[j])}" for j in kept), "Notes and findings"]
    of = "positive or not; what else the model says is shown as the lexicon reads it" if few else "four answers"
    caption = f"Rows: the reference standard ({of}). Shares are of the row"
    body, groups = _rows({"": whole}, gold, kept)
    out: list[Block] = [Heading("What is said for what"), Table(head, body, caption, wide=False)]
    if each:
        body, groups = _rows(each, gold, kept)
        out.append(Fold("What is said for what, finding by finding", [Table(head, body, caption, groups=groups)]))
    return out


def _read(name: object) -> str:
    return _READ.get(str(name), str(name).replace("_", " "))


def _matrix(found: object) -> list[list[int]]:
    rows = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    good = [[int(n) for n in row if numbers.is_number(n)] for row in rows if isinstance(row, Sequence)]
    return good if any(any(row) for row in good) else []


def _rows(
    matrices: Mapping[str, list[list[int]]], gold: Sequence[object], kept: Sequence[int]
) -> tuple[list[list[Cell | str]], dict[int, str]]:
    body: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for label, matrix in matrices.items():
        if label:
            groups[len(body)] = label
        for name, row in zip(gold, matrix, strict=False):
            total = sum(row)
            cells: list[Cell | str] = [Cell(titles.capital(_read(name)), indent=bool(label))]
            for j in kept:
                n = row[j] if j < len(row) else 0
                share = f" ({numbers.percent(n / total)})" if total else ""
                cells.append(num(f"{numbers.count(n)}{share}", n))
            body.append([*cells, num(numbers.count(total), total)])
    return body, groups


def _agreement(results: view.Results) -> list[Block]:
    block = view.block(results, "report_labels", "agreement")
    if not block:
        return []
    with_ = str(block.get("with") or "the lexicon")
    out: list[Block] = [Heading("Agreement with the lexicon")]
    if block.get("same_model"):
        out.append(Note(f"The model is the lexicon itself ({titles.inside(with_)}): they agree by construction."))
        return out
    kappa = block.get("kappa") or {}
    said = numbers.measure(kappa)
    text = f"Over all notes and findings kappa of the model and {titles.inside(with_)} is {said}"
    value = kappa.get("value")
    if numbers.is_number(value):
        word = "almost the same" if value >= 0.9 else "much the same" if value >= 0.75 else "different things"
        text += f": they read {word}"
    out.append(Note(f"{text}. It says how alike they are, not which is right."))
    labels = view.labels(results)
    rows = [[labels.get(str(k), str(k)), _cell(m)] for k, m in (block.get("by_finding") or {}).items() if m]
    if rows:
        head = ["Finding", f"Kappa ({view.context(results).band})"]
        out.append(Fold("Agreement finding by finding", [Table(head, rows, sortable=True, wide=False)]))
    return out


def _errors(results: view.Results) -> list[Block]:
    block = view.block(results, "report_labels", "errors") or {}
    missed, wrong = block.get("missed") or {}, block.get("false_alarms") or {}
    if not missed.get("all") and not wrong.get("all"):
        return []

    def rows(key: str, indent: bool) -> list[list[Cell | str]]:
        pair = [_counts(part.get(key)) for part in (missed, wrong)]
        return [
            [
                Cell(titles.capital(_read(a)), indent=indent),
                *(num(numbers.count(p.get(a, 0)), p.get(a, 0)) for p in pair),
            ]
            for a in ASSERTIONS
            if not indent or any(p.get(a) for p in pair)
        ]

    head = ["What the lexicon reads in the note", "Missed", "Called wrongly"]
    table = Table(head, rows("all", False), "Errors on the test part by what the lexicon reads", wide=False)
    body: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for key, label in view.labels(results).items():
        if some := rows(key, True):
            groups[len(body)] = label
            body += some
    out: list[Block] = [Heading("Classes of errors"), Note(_of_errors(missed, wrong)), table]
    if body:
        out.append(Fold("Classes of errors finding by finding", [Table(head, body, groups=groups, wide=False)]))
    return out


def _of_errors(missed: view.Results, wrong: view.Results) -> str:
    lost, called = _counts(missed.get("all")), _counts(wrong.get("all"))
    n, m = sum(lost.values()), sum(called.values())
    if not n and not m:
        return "No finding of the test part was missed and none called wrongly."
    text = (
        f"{sentences.plural(n, 'finding')} {'was' if n == 1 else 'were'} missed and {numbers.count(m)} called wrongly"
    )
    reads = []
    if lost.get("positive"):
        reads.append(f"in {numbers.count(lost['positive'])} of the missed the lexicon reads the finding as present")
    silent = lost.get("not_mentioned", 0)
    if silent:
        reads.append(f"in {numbers.count(silent)} of the missed it finds no words for it")
    if called.get("negative"):
        reads.append(f"in {numbers.count(called['negative'])} of those called wrongly it reads the finding as denied")
    return f"{text}{'; ' if reads else ''}{sentences.join(reads)}."


def failing(results: view.Results) -> str:
    """Return the opening sentence on errors: how many decisions are wrong, each way, and for which finding most.

    Examples
    --------
    >>> errors = {"missed": {"all": {"positive": 2}, "mass": {"positive": 2}}, "false_alarms": {"all": {"negative": 1}}}
    >>> failing({"report_labels": {"errors": errors}, "performance": {"findings": {"mass": {}}}})
    'On the test part 2 findings were missed and 1 called wrongly, most of them for mass (2).'
    """
    block = view.block(results, "report_labels", "errors")
    if not block:
        return "How many findings were missed or called wrongly was not recorded; the listed cases stand below."
    missed, wrong = block.get("missed") or {}, block.get("false_alarms") or {}
    n, m = (sum(_counts(part.get("all")).values()) for part in (missed, wrong))
    if not n and not m:
        return "On the test part no finding was missed and none called wrongly."
    decided = sum(
        int(t["n"])
        for t in (view.block(results, "report_labels", "targets") or {}).values()
        if isinstance(t, Mapping) and numbers.is_number(t.get("n"))
    )
    where = f"In {numbers.count(decided)} decisions on the test part" if decided else "On the test part"
    text = f"{where} {sentences.plural(n, 'finding')} {'was' if n == 1 else 'were'} missed and "
    text += f"{numbers.count(m)} called wrongly"
    each = {
        label: sum(sum(_counts(part.get(key)).values()) for part in (missed, wrong))
        for key, label in view.labels(results).items()
    }
    if each and max(each.values()):
        worst = max(each, key=lambda label: each[label])
        text += f", most of them for {titles.inside(worst)} ({numbers.count(each[worst])})"
    return f"{text}."


def words(results: view.Results) -> list[Block]:
    """Return the words that weigh most for and against each finding, or why there are none.

    Examples
    --------
    >>> [part.type for part in words({"explanation": {"words": None}})]
    ['note']
    """
    block = view.block(results, "explanation", "words")
    if not block:
        return [
            Note(
                "Labels are decided by phrases and assertion rules, not by weights; the phrases and rules that decided "
                "stand with each error under Failure analysis."
            )
        ]
    out: list[Block] = []
    if block.get("note"):
        out.append(Note(str(block["note"]), "plain" if block.get("shown") else "absent"))
    labels = view.labels(results)
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for key, found in (block.get("findings") or {}).items():
        some = [w for w in found or [] if isinstance(w, Mapping) and numbers.is_number(w.get("weight"))]
        if not some:
            continue
        groups[len(rows)] = labels.get(str(key), str(key))
        for way, sign in (("For it", 1), ("Against it", -1)):
            these = sorted((w for w in some if sign * w["weight"] > 0), key=lambda w: -abs(w["weight"]))
            if these:
                said = ", ".join(f"{w.get('word')} ({_plus(w['weight'])})" for w in these)
                rows.append([Cell(way, indent=True), said])
    if rows:
        caption = "In brackets: what the words add to the log odds of the finding, on average, where they occur"
        out.append(Table(["", "Words and pairs of words, the heaviest first"], rows, caption, groups=groups))
    return out


def _plus(weight: float) -> str:
    return f"+{numbers.fixed(weight, 1)}" if weight > 0 else numbers.fixed(weight, 1)


def weighing(results: view.Results) -> str:
    """Return the opening sentence on what labels are decided by.

    Examples
    --------
    >>> found = {"mass": [{"word": "mass", "weight": 2.5}]}
    >>> weighing({"explanation": {"words": {"shown": True, "findings": found}}, "outcome": {"findings": []}})
    'For mass the word that weighs most is "mass" (2.5 on the log odds); the words of 1 finding are listed.'
    """
    block = view.block(results, "explanation", "words")
    if not block:
        return "The lexicon decides by phrases and assertion rules: the words in the note are the evidence of each."
    found = {
        str(k): [w for w in v or [] if isinstance(w, Mapping) and numbers.is_number(w.get("weight"))]
        for k, v in (block.get("findings") or {}).items()
    }
    tops = [(max(v, key=lambda w: float(w["weight"])), k) for k, v in found.items() if v]
    if not tops:
        return "The words that the model weighs are not shown."
    top, key = max(tops, key=lambda t: float(t[0]["weight"]))
    label = titles.inside(view.labels(results).get(key, key))
    return (
        f'For {label} the word that weighs most is "{top.get("word")}" ({numbers.fixed(top["weight"], 1)} on the log '
        f"odds); the words of {sentences.plural(len(tops), 'finding')} are listed."
    )


def browser(results: view.Results) -> list[Block]:
    """Return the errors finding by finding, each with its note and marks where notes may be shown.

    Examples
    --------
    >>> browser({"explanation": None})
    []
    """
    block = view.block(results, "explanation", "error_browser")
    if not isinstance(block, Mapping) or not block.get("findings"):
        return []
    shown, notes = bool(block.get("text")), block.get("notes") or {}
    found = {str(k): f for k, f in block["findings"].items() if isinstance(f, Mapping)}
    busy = {k: f for k, f in found.items() if any(f.get(group) for group in _GROUPS)}
    named = bool(block.get("ids"))
    where = "cases.parquet of the run folder says which row each case is"
    out: list[Block] = [Heading("The errors, one by one")]
    per = (
        f"at most {numbers.count(block['per'])} each way for a finding, " if numbers.is_number(block.get("per")) else ""
    )
    lexicon = block.get("lexicon") or {}
    whose = " ".join(str(lexicon[k]) for k in ("name", "version") if lexicon.get(k))
    out.append(
        Note(
            f"Errors of the test part, {per}the surest mistakes first; {where}."
            + (f" Marks are what the lexicon{f' {whose}' if whose else ''} reads of that finding." if shown else "")
        )
    )
    if shown:
        out.append(
            Legend(
                [
                    ("positive", "the lexicon reads the finding as present"),
                    ("negative", "as absent"),
                    ("uncertain", "as left open"),
                    ("trigger", "underlined: the words that decided how the mention is read"),
                ]
            )
        )
    else:
        out.append(Note("The notes themselves are not on this page; [report] note_text asks for them.", "absent"))
    budget = BUDGET // max(len(busy), 1)
    for key, one in found.items():
        if key in busy:
            label = str(one.get("label") or view.labels(results).get(key, key))
            out.append(Fold(label, _cases(results, key, one, notes, shown, named, budget), _many(results, key, one)))
    clean = [str(f.get("label") or view.labels(results).get(k, k)) for k, f in found.items() if k not in busy]
    if clean:
        out.append(Note(f"No error on the test part: {sentences.join(clean)}."))
    return out


def _many(results: view.Results, key: str, one: view.Results) -> str:
    said = []
    for group, part, word in (("missed", "missed", "missed"), ("false_alarm", "false_alarms", "called wrongly")):
        total = sum(_counts(view.block(results, "report_labels", "errors", part, key)).values())
        n = len(one.get(group) or [])
        said.append(f"{numbers.count(max(total, n))} {word}" + (f" ({numbers.count(n)} shown)" if total > n else ""))
    return ", ".join(said)


def _cases(
    results: view.Results,
    key: str,
    one: view.Results,
    notes: view.Results,
    shown: bool,
    named: bool,
    budget: int,
) -> list[Block]:
    out: list[Block] = []
    left = 0
    for group, title in _GROUPS.items():
        some = [c for c in one.get(group) or [] if isinstance(c, Mapping)]
        if not some:
            continue
        out.append(Heading(title))
        if not shown:
            out.append(_plain(some, named))
            continue
        for case in some:
            text = notes.get(str(case.get("case")))
            passage = _passage(case, str(text) if text is not None else "", named)
            size = sum(len(escape(t)) for p in passage.pieces for t, _ in p.runs)
            if size > budget:
                left += 1
                continue
            budget -= size
            out.append(passage)
    if left:
        verb = "is" if left == 1 else "are"
        out.append(Note(f"{sentences.plural(left, 'more note')} {verb} left out to keep this page small.", "absent"))
    return out


def _beside(case: view.Results, named: bool) -> str:
    said = [f"id {case['id']}"] if named and case.get("id") else []
    if numbers.is_number(case.get("risk")):
        said.append(f"risk {numbers.percent(case['risk'])}")
    if numbers.is_number(case.get("threshold")):
        said.append(f"threshold {numbers.percent(case['threshold'])}")
    if case.get("lexicon"):
        said.append(f"the lexicon reads: {_read(case['lexicon'])}")
    return ", ".join(said)


def _plain(cases: Sequence[view.Results], named: bool) -> Table:
    rows = [
        [
            num(numbers.count(c.get("case")), c.get("case")),
            *([str(c.get("id") or "")] if named else []),
            num(numbers.percent(c.get("risk")), c.get("risk")),
            num(numbers.percent(c.get("threshold")), c.get("threshold")),
            _read(c.get("lexicon") or numbers.ABSENT),
        ]
        for c in cases
    ]
    return Table(["Case", *(["Id"] if named else []), "Risk", "Threshold", "The lexicon reads"], rows, wide=False)


def _passage(case: view.Results, text: str, named: bool) -> Passage:
    """Return a note with its marks; of mentions that overlap the one that decided is drawn, all are explained."""
    spans: dict[tuple[int, int, str, str], list[view.Results]] = {}
    for s in case.get("spans") or []:
        start, end = (s.get(k) for k in ("start", "end"))
        if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text):
            spans.setdefault((start, end, str(s.get("assertion")), str(s.get("context") or "")), []).append(s)
    order = sorted(spans, key=lambda k: (not any(s.get("decided") for s in spans[k]), k[0] - k[1], k[0]))
    drawn: list[tuple[int, int, str, str]] = []
    for k in order:
        if all(k[1] <= d[0] or k[0] >= d[1] for d in drawn):
            drawn.append(k)
    drawn.sort()
    listed = [*drawn, *(k for k in order if k not in drawn)]
    low, high, cut = _window(text, drawn)
    drawn = [k for k in drawn if low <= k[0] and k[1] <= high]
    triggers = {
        i
        for group in spans.values()
        for s in group
        if isinstance(s.get("trigger_start"), int) and isinstance(s.get("trigger_end"), int)
        for i in range(max(s["trigger_start"], 0), min(s["trigger_end"], len(text)))
    }
    pieces: list[Piece] = []
    at = low
    for k in drawn:
        if k[0] > at:
            pieces.append(Piece(_runs(text, at, k[0], triggers)))
        kind = k[2] if k[2] in _SIGNED else "other"
        word = f"{k[2]}, {k[3]}" if k[3] else k[2]
        pieces.append(Piece(_runs(text, k[0], k[1], triggers), kind, word, listed.index(k) + 1, bool(k[3])))
        at = k[1]
    if at < high:
        pieces.append(Piece(_runs(text, at, high, triggers)))
    marks = [_why(k, spans[k], "" if k in drawn else _hidden(k, drawn)) for k in listed]
    title = f"Case {numbers.count(case.get('case'))}"
    return Passage(title, _beside(case, named), pieces, marks, cut)


_SIGNED = ("positive", "negative", "uncertain")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _safe(char: str) -> bool:
    # What HTML may not hold, and what would turn the direction of the text around it.
    return char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cs", "Cn") and char not in _BIDI)


def _window(text: str, drawn: Sequence[tuple[int, int, str, str]]) -> tuple[int, int, str]:
    if len(text) <= LONGEST:
        return 0, len(text), ""
    first = drawn[0][0] if drawn else 0
    low = min(max(0, first - LONGEST // 4), len(text) - LONGEST)
    return low, low + LONGEST, f"{numbers.count(len(text) - LONGEST)} characters of this note are left out."


def _runs(text: str, start: int, end: int, triggers: set[int]) -> list[tuple[str, bool]]:
    out: list[tuple[str, bool]] = []
    at = start
    for i in range(start, end + 1):
        if i == end or (i in triggers) != (at in triggers):
            if i > at:
                out.append(("".join(c if _safe(c) else "\ufffd" for c in text[at:i]), at in triggers))
            at = i
    return out


def _hidden(key: tuple[int, int, str, str], drawn: Sequence[tuple[int, int, str, str]]) -> str:
    if any(key[0] < d[1] and d[0] < key[1] for d in drawn):
        return "not marked, as it overlaps another mark"
    return "not marked, as it lies in what is left out"


def _why(key: tuple[int, int, str, str], spans: Sequence[view.Results], hidden: str) -> str:
    first = spans[0]
    said = [f"{titles.capital(key[2])}{f', {key[3]}' if key[3] else ''}"]
    rules = [str(s["rule"]) for s in spans if s.get("rule")]
    if rules:
        said.append(f"rule {sentences.join([f'“{rule}”' for rule in dict.fromkeys(rules)])}")
    if first.get("concept"):
        said.append(f"concept {str(first['concept']).replace('_', ' ')}")
    if first.get("section"):
        said.append(f"section {first['section']}")
    place = [str(first[k]) for k in ("severity", "laterality", "location", "change") if first.get(k)]
    if numbers.is_number(first.get("size_mm")):
        place.append(f"{numbers.fixed(first['size_mm'], 0)} mm")
    said += place
    said.append("decided" if any(s.get("decided") for s in spans) else "did not decide")
    if hidden:
        said.append(hidden)
    return "; ".join(said)
