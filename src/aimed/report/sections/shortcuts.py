"""What tells a finding without the lungs: view, borders, tags and declared columns beside the model."""

from __future__ import annotations

from typing import Any

from aimed.report import numbers, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Context, Figure, Fold, Heading, Note, Table, num

_TOGETHER = "all together"
_TITLES = {
    _TOGETHER: "all together, without brightness",
    "view": "view",
    "device": "device",
    "exposure": "exposure",
    "file": "file and format",
    "borders": "borders",
    "brightness": "brightness (sees the lungs too)",
}


def shortcuts(results: view.Results) -> list[Block]:
    """Return the heading, sentence, figure and tables on shortcuts; nothing where none were looked for.

    Examples
    --------
    >>> [part.type for part in shortcuts({"shortcuts": {"sentence": "None was found.", "sources": []}})]
    ['heading', 'note']
    """
    block = view.block(results, "shortcuts")
    if not block:
        return []
    context = view.context(results)
    out: list[Block] = [Heading("Shortcuts: what tells a finding without the lungs")]
    telling = [s for s in block.get("sources") or [] if s.get("tells") and not s.get("sees_lungs")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"]), "warn" if telling else "plain"))
    if any(numbers.is_number((s.get("auroc") or {}).get("value")) for s in block.get("sources") or []):
        out.append(_figure(results, block["sources"], telling, context))
        out.append(Fold("Every source, finding by finding", [_every(results, block["sources"], context)]))
    within = [w for w in block.get("within") or [] if isinstance(w, dict)]
    if within:
        out += _within(results, within, context)
    return out


def _label(results: view.Results, finding: object) -> str:
    return view.labels(results).get(view.key(str(finding)), str(finding))


def _known(source: view.Results) -> bool:
    return numbers.is_number((source.get("auroc") or {}).get("value"))


def _least(source: view.Results) -> float:
    measure = source["auroc"]
    lower = measure.get("lower")
    return float(lower if numbers.is_number(lower) else measure["value"])


def _figure(results: view.Results, sources: list[Any], telling: list[Any], context: Context) -> Figure:
    findings = list(dict.fromkeys(str(s.get("finding")) for s in sources))
    rows = []
    for finding in findings:
        mine = [s for s in sources if str(s.get("finding")) == finding]
        model = next((s["model"] for s in mine if s.get("model")), None) or {}
        alone = [s for s in mine if s.get("source") != _TOGETHER and not s.get("sees_lungs") and _known(s)]
        best = max(alone, key=_least, default=None)
        joined: view.Record = next((s for s in mine if s.get("source") == _TOGETHER), {})
        rows.append(
            {
                "label": _label(results, finding),
                "points": {
                    "model": model,
                    "best": best["auroc"] if best else {},
                    "together": joined.get("auroc") or {},
                },
                "tags": {"best": _title(best.get("source"))} if best else {},
                "columns": [numbers.count(model.get("n")), numbers.count(model.get("events"))],
            }
        )
    told = len({s.get("finding") for s in telling})
    title = "No finding is told clearly better than chance without the lungs"
    if telling:
        alone = [s for s in telling if s.get("source") != _TOGETHER and _known(s)]
        worst = max(alone or [s for s in telling if _known(s)], key=_least)
        label = titles.inside(_label(results, worst.get("finding")))
        title = f"{told} of {len(findings)} findings {'is' if told == 1 else 'are'} told without the lungs"
        title += f"; surest {label}, from {_title(worst.get('source'))} ({numbers.short(worst['auroc']['value'])})"
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"model": "model", "best": "what tells most by itself", "together": _title(_TOGETHER)},
            "columns": ["n", "positive"],
            "axis": "AUROC",
            "head": "Finding",
            "title": title,
            "caption": "AUROC of the model beside that of simple models which see no picture of the chest: view, "
            "borders, tags of the file, and columns that the study file names. They learned from the same patients as "
            "the model and were judged on the same test part. Drawn are the one whose lower limit is highest, chosen "
            f"for being so, and all together; lines are {context.band}s; dashed: chance.",
            "said": "AUROC of the model and of what tells a finding without the lungs.",
            "salt": "shortcuts",
            "reference": 0.5,
        },
        context,
    )
    return figure


def _title(source: object) -> str:
    return _TITLES.get(str(source), str(source).replace("_", " "))


def _every(results: view.Results, sources: list[Any], context: Context) -> Table:
    kinds = list(dict.fromkeys(str(s.get("source")) for s in sources))
    rows: list[list[Any]] = []
    for finding in dict.fromkeys(str(s.get("finding")) for s in sources):
        mine = {str(s.get("source")): s for s in sources if str(s.get("finding")) == finding}
        model = next((s["model"] for s in mine.values() if s.get("model")), None) or {}
        cells = [num(numbers.measure(model, 2), model.get("value"))]
        for kind in kinds:
            measure = (mine.get(kind) or {}).get("auroc") or {}
            told = bool((mine.get(kind) or {}).get("tells"))
            cells.append(num(numbers.measure(measure, 2), measure.get("value"), strong=told))
        rows.append([_label(results, finding), *cells])
    head = ["Finding", "Model", *(_title(k)[:1].upper() + _title(k)[1:] for k in kinds)]
    caption = f"AUROC ({context.band}) from each source alone and from all; in bold what clearly tells the finding"
    return Table(head, rows, caption, sortable=True)


def _within(results: view.Results, within: list[Any], context: Context) -> list[Block]:
    by = str(within[0].get("by") or "group")
    rows = [
        [
            _label(results, one.get("finding")),
            *(
                num(numbers.measure(one.get(k)), (one.get(k) or {}).get("value"))
                for k in ("overall", "within", "difference")
            ),
        ]
        for one in within
    ]
    head = ["Finding", "All pairs of pictures", f"Within the same {by}", "Difference"]
    caption = (
        f"AUROC of the model ({context.band}) within levels of {by}, where {by} cannot help it: the mean over levels, "
        f"each with the weight of its pictures with the finding. A difference above 0 is what the model owes to {by}, "
        "or to patients who differ with it"
    )
    return [
        Table(head, rows, caption, sortable=True),
        Fold(f"The model in each level of {by}", [_strata(results, within, by, context)]),
    ]


def _strata(results: view.Results, within: list[Any], by: str, context: Context) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for one in within:
        groups[len(rows)] = _label(results, one.get("finding"))
        for stratum in one.get("strata") or []:
            m = stratum.get("auroc") or {}
            known = numbers.is_number(m.get("value"))
            counts = [num(numbers.count(m.get(k)) if known else "", m.get(k)) for k in ("n", "events")]
            note = "" if known else str(m.get("note") or "")
            rows.append([str(stratum.get("stratum")), *counts, num(numbers.measure(m), m.get("value")), note])
    noted = any(r[4] for r in rows)
    head = [by.capitalize(), "n", "Positive", f"AUROC ({context.band})", *(["Note"] if noted else [])]
    return Table(head, [r if noted else r[:4] for r in rows], groups=groups)
