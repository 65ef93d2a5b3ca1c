"""Section 9: where and when the patients were seen, and what the split can say about other places and later times."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Facts, Note, Section, Table, num

_BY = {
    "site": "The test part holds sites that the model has not seen, so it judges transport to another site.",
    "time": "The test part is later than the training part, so it judges transport to a later time.",
    "patient": "The test part was drawn by patient from the same source, so transport to another site or a later time "
    "was not assessed.",
}


def build(results: view.Results) -> Section:
    """Return the section of sites and time."""
    title = "Sites and time"
    by = view.block(results, "split", "by")
    dates = view.block(results, "data", "dates")
    sites = {s: n for s, n in (view.block(results, "data", "sites") or {}).items() if n is not None}
    blocks: list[Block] = []
    if dates:
        blocks.append(
            Facts(
                [
                    ("First index date", numbers.number(dates.get("first"))),
                    ("Last index date", numbers.number(dates.get("last"))),
                ]
            )
        )
    if sites:
        known = {s: n for s, n in sites.items() if numbers.is_number(n)}
        total = sum(known.values()) or 1
        rows = [
            [str(s), num(numbers.count(n), n), num(numbers.percent(n / total), n / total)]
            for s, n in sorted(known.items(), key=lambda p: -p[1])
        ]
        rows += [[str(s), num(numbers.count(n)), num("")] for s, n in sites.items() if s not in known]
        what = "Scans" if view.masks(results) else "Rows"
        blocks.append(Table(["Site", what, "Share"], rows, f"{what} by site", sortable=True, wide=False))
        column = _site_column(results, set(map(str, sites)))
        if column:
            blocks.append(Note(f"Performance by site is drawn under Subgroups and fairness, as '{column}'."))
    if by not in _BY:
        why = f"the split by '{by}' was not made for it" if by else ""
        lead = sentences.absent("Transport to other sites or times", why, many=False)
        return Section("sites", title, lead, blocks, bool(blocks))
    return Section("sites", title, _BY[by], blocks, by != "patient" or bool(blocks))


def _site_column(results: view.Results, sites: set[str]) -> str:
    for column in view.block(results, "subgroups", "columns") or []:
        groups = {str(g.get("group")) for g in column.get("groups") or []}
        if groups and groups <= sites:
            return sentences.column(column)
    return ""
