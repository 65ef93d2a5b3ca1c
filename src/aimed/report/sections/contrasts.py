"""What is said of why an outline lies where it does: which contrasts it needs, and maps with their sanity checks."""

from __future__ import annotations

from typing import Any

from aimed.report import numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Fold, Heading, Note, Section, Table, Thumbnails, num
from aimed.report.sections.masks import regions_of

_CHECKS = {
    "parameter_randomisation": "Maps change with random weights",
    "inside": "Maps lie in the region",
}


def build(results: view.Results) -> Section:
    """Return the section of explanation of a study of masks."""
    block = view.block(results, "explanation") or {}
    context = view.context(results)
    blocks: list[Block] = []
    contrasts, maps = block.get("contrasts") or {}, block.get("maps") or {}
    blocks += _contrasts(results, contrasts, context)
    blocks += _maps(results, maps, context)
    if view.block(results, "gallery"):
        blocks.append(Note("Scans worth looking at, the worst, the median and the best: under Failure analysis."))
    said = [str(b["sentence"]) for b in (contrasts, maps) if b.get("sentence")]
    lead = " ".join(said) or "What the outlines rest on was looked at as follows."
    return Section("explanation", "Explanation", lead, blocks)


def _contrasts(results: view.Results, block: view.Results, context: Context) -> list[Block]:
    channels = [c for c in block.get("channels") or [] if isinstance(c, dict)]
    if not channels:
        return [Note(sentences.absent("Which contrasts matter", many=False), "absent")]
    out: list[Block] = [Heading("Which contrasts matter")]
    labels = dict(view.labels(results))
    keys = [k for k in (*labels, "mean") if any((c.get("states") or {}).get(k) for c in channels)]
    fills = {str(k): str(v) for k, v in (block.get("fills") or {}).items()}
    if any(_fall(c, f).get("value") is not None for c in channels for f in fills or {"mean": ""}):
        out.append(_falls(channels, fills or {"mean": "set to its mean"}, block, context))
    first = next(iter(fills), "mean")
    rows = []
    for c in channels:
        falls = (c.get("falls") or {}).get(first) or {}
        states_of = c.get("states") or {}
        rows.append(
            [
                str(c.get("channel") or ""),
                Cell(str(states_of.get("mean") or ""), "state"),
                *(
                    num(
                        numbers.measure(falls.get(k), 2),
                        (falls.get(k) or {}).get("value"),
                        strong=states_of.get(k) == "needed",
                    )
                    for k in keys
                ),
            ]
        )
    head = ["Without", "State of the mean", *(titles.capital(labels.get(k, "mean")) for k in keys)]
    filled = f", {fills[first]}" if fills.get(first) else ""
    caption = f"Fall of Dice when one contrast is taken away{filled} ({context.band}s); in bold where it is needed"
    out.append(Table(head, rows, caption))
    out += [Note(titles.capital(str(block[k]))) for k in ("rule",) if block.get(k)]
    out += [Note(str(block[k]), "absent") for k in ("note",) if block.get(k)]
    return out


def _fall(channel: view.Results, fill: str) -> view.Results:
    found = (channel.get("falls") or {}).get(fill) or {}
    one: view.Results = found.get("mean") or {}
    return one


def _falls(channels: list[Any], fills: dict[str, str], block: view.Results, context: Context) -> Figure:
    rows = [{"label": str(c.get("channel") or ""), "points": {f: _fall(c, f) for f in fills}} for c in channels]
    needed = [str(c.get("channel")) for c in channels if (c.get("states") or {}).get("mean") == "needed"]
    title = (
        f"{sentences.join(needed)} {'is' if len(needed) == 1 else 'are'} shown to be needed"
        if needed
        else "No contrast is shown to be needed"
    )
    size = f" ({numbers.count(block['n'])} test scans)" if block.get("n") else ""
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": fills,
            "axis": "Fall of the mean Dice without the contrast",
            "head": "Contrast",
            "title": title,
            "caption": f"Mean Dice of the regions with all contrasts less that without one{size}; lines are "
            f"{context.band}s. Right of the dashed line overlap is lost.",
            "said": "Fall of the mean Dice.",
            "salt": "contrasts",
            "reference": 0.0,
        },
        context,
    )
    return figure


def _maps(results: view.Results, block: view.Results, context: Context) -> list[Block]:
    if not block:
        return [Note(sentences.absent("Maps of what the network looks at", many=True), "absent")]
    out: list[Block] = [Heading("Maps")]
    facts = [
        ("Method", numbers.number(block.get("label") or block.get("method"))),
        ("Scans", numbers.count(block.get("n"))),
        ("Patients", numbers.count(block.get("patients"))),
        ("Networks", str(block.get("network_note") or "")),
    ]
    out.append(Facts([f for f in facts if f[1] and f[1] != numbers.ABSENT]))
    out += [Note(str(block[k])) for k in ("means", "note") if block.get(k)]
    every = regions_of({**results, "found": block}, "found")
    stages = {str(k): str(v) for k, v in (block.get("stages") or {}).items()}
    if every:
        if any(_inside(r, s) for r in every for s in stages):
            out.append(_lying(every, stages, context))
        out += [Heading("Sanity checks"), _checked(every, stages)]
    if view.block(block, "sampled", "sentence"):
        out.append(Note(str(block["sampled"]["sentence"]), "absent"))
    return out


def _check(region: view.Results, stage: str, name: str) -> view.Results:
    found = view.block(region, "stages", stage, "checks", name)
    return found if isinstance(found, dict) else {}


def _inside(region: view.Results, stage: str) -> view.Results:
    one: view.Results = (_check(region, stage, "inside").get("estimates") or {}).get("inside") or {}
    return one


def _lying(every: list[dict[str, Any]], stages: dict[str, str], context: Context) -> Figure:
    rows: list[dict[str, Any]] = []
    above = dict.fromkeys(stages, 0)
    for r in every:
        points: dict[str, Any] = {s: _inside(r, s) for s in stages}
        chance = next((c for s in stages if (c := (_check(r, s, "inside").get("chance") or {}).get("inside"))), None)
        for s in stages:
            above[s] += _check(r, s, "inside").get("state") == "pass"
        size = next((n for s in stages if (n := points[s].get("n"))), None)
        points["chance"] = {"value": chance}
        rows.append({"label": r["label"], "points": points, "columns": [numbers.count(size)]})
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {**stages, "chance": "chance"},
            "columns": ["scans"],
            "axis": "Share of the map inside the reference",
            "head": "Region",
            "title": _above(above, stages, len(every)),
            "caption": f"Share of the map of test scans with the region that lies inside the reference; lines are "
            f"{context.band}s. Chance is what a map that is the same everywhere would have inside.",
            "said": "Share of the map inside the reference.",
            "salt": "inside",
            "percent": True,
        },
        context,
    )
    return figure


def _above(above: dict[str, int], stages: dict[str, str], n: int) -> str:
    whole = sentences.plural(n, "region")
    if len(set(above.values())) == 1:
        return f"Maps lie in the region more than by chance for {next(iter(above.values()))} of {whole}"
    each = [f"{above[s]} ({titles.inside(stages[s])})" for s in stages]
    return f"Of {whole}, maps lie inside more than by chance for {sentences.join(each)}"


def _checked(every: list[dict[str, Any]], stages: dict[str, str]) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for r in every:
        groups[len(rows)] = f"{r['label']}: {r.get('state') or 'not assessed'}"
        for stage, title in stages.items():
            detail = [(t, str(s)) for n, t in _CHECKS.items() if (s := _check(r, stage, n).get("sentence"))]
            cells = [Cell(str(_check(r, stage, n).get("state") or "not assessed"), "state") for n in _CHECKS]
            why = Cell("In words", detail=detail) if detail else Cell("")
            rows.append([Cell(titles.capital(title), indent=True), *cells, why])
    head = ["Stage of the network", *_CHECKS.values(), "Why"]
    return Table(head, rows, "Checks of the maps, region by region", groups=groups)


_COLUMNS = (
    ("dice", "Dice", 2),
    ("expected_dice", "Expected Dice", 2),
    ("hd95", "HD95 (mm)", 1),
    ("reference_ml", "Reference (ml)", 1),
)


def cases(results: view.Results) -> list[Block]:
    """Return the gallery: the worst, the median and the best scans, by number or id, with pictures where allowed.

    Examples
    --------
    >>> one = {"label": "mean of the regions", "cases": {"worst": [{"case": 7, "dice": 0.4, "regions": {}}]}}
    >>> block = {"kind": "volume_gallery", "groups": {"worst": "Lowest Dice"}, "scopes": {"overall": one}}
    >>> [part.type for part in cases({"gallery": block})]
    ['heading', 'note', 'table']
    """
    block = view.block(results, "gallery")
    if not block or not block.get("scopes"):
        return []
    groups = {str(k): str(v) for k, v in (block.get("groups") or {}).items()}
    named = bool(block.get("ids"))
    drawn = block.get("pictures") or {}
    where = (
        "ids are those of the study's data" if named else "ids stay with the data, in cases.parquet of the run folder"
    )
    out: list[Block] = [Heading("Scans worth looking at"), Note(f"Chosen by rule from the test part; {where}.")]
    shown = drawn.get("scopes") or {}
    folds: list[Block] = []
    if drawn.get("caption") and shown:
        out.append(Note(str(drawn["caption"])))
    for key, one in ((str(k), s) for k, s in block["scopes"].items() if s):
        label = titles.capital(str(one.get("label") or view.labels(results).get(key, key)))
        said = str(one.get("sentence") or "").removeprefix(f"{label}: ")
        inside = _scope(results, key, one, groups, named)
        pictures = {str(k): c for k, c in (shown.get(key) or {}).items() if c}
        # The mean over the regions is open, each region folded.
        if key not in view.labels(results):
            out += [*([Note(said)] if said else []), *inside, *_open(pictures, one, groups, drawn)]
        else:
            more = [b for case, c in pictures.items() for b in _pictures(c, drawn, f"Scan {case}")]
            folds.append(Fold(label, [*inside, *more], said))
    return [*out, *([Heading("Region by region"), *folds] if folds else [])]


def _open(
    pictures: dict[str, Any], one: view.Results, groups: dict[str, str], drawn: view.Results
) -> list[Block]:  # fmt: skip
    """Return the first picture of each scan, and the others of a scan folded."""
    out: list[Block] = []
    for case, found in pictures.items():
        kinds = list(found)
        first = _pictures({k: found[k] for k in kinds[:1]}, drawn, f"Scan {case}: {_why(one, case, groups)}")
        rest = _pictures({k: found[k] for k in kinds[1:]}, drawn)
        out += first + ([Fold(f"Scan {case}, more pictures", rest)] if rest else [])
    return [Heading("Pictures"), *out] if out else []


def _scope(
    results: view.Results, key: str, one: view.Results, groups: dict[str, str], named: bool
) -> list[Block]:  # fmt: skip
    labels = view.labels(results)
    rows: list[list[Any]] = []
    heads: dict[int, str] = {}
    for group, some in (one.get("cases") or {}).items():
        if not some:
            continue
        of = (one.get("of") or {}).get(group)
        title = groups.get(str(group), str(group).replace("_", " "))
        heads[len(rows)] = f"{title} ({len(some)} of {numbers.count(of)})" if numbers.is_number(of) else title
        for case in some:
            start: list[Any] = [num(numbers.count(case.get("case")), case.get("case"))]
            start += [str(case.get("id") or "")] if named else []
            if key in labels:
                mine = (case.get("regions") or {}).get(key) or {}
                cells = [num(numbers.fixed(mine.get(k), d), mine.get(k)) for k, _, d in _COLUMNS]
                outlined = numbers.interval(mine.get("prediction_ml"), mine.get("lower"), mine.get("upper"), 1)
                rows.append([*start, *cells, num(outlined, mine.get("prediction_ml")), _emptiness(mine)])
            else:
                found = [((case.get("regions") or {}).get(k) or {}).get("dice") for k in labels]
                pair = [num(numbers.fixed(case.get(k), 2), case.get(k)) for k in ("dice", "expected_dice")]
                rows.append([*start, *pair, *(num(numbers.fixed(v, 2), v) for v in found)])
    if not rows:
        return []
    head = ["Scan", *(["Id"] if named else [])]
    if key in labels:
        head += [*(t for _, t, _ in _COLUMNS), "Outline (interval), ml", ""]
    else:
        head += ["Mean Dice", "Expected", *(titles.capital(label) for label in labels.values())]
    return [Table(head, rows, groups=heads)]


def _emptiness(mine: view.Results) -> str:
    words = {"both": "both empty", "reference": "reference empty", "prediction": "nothing outlined"}
    return words.get(str(mine.get("empty") or ""), "")


def _why(one: view.Results, case: str, groups: dict[str, str]) -> str:
    found = [
        titles.inside(groups.get(str(group), str(group)))
        for group, some in (one.get("cases") or {}).items()
        if any(str(c.get("case")) == case for c in some or [])
    ]
    return sentences.join(found) or "chosen by rule"


def _pictures(found: view.Results, drawn: view.Results, title: str = "") -> list[Block]:
    kinds = {str(k): str(v) for k, v in (drawn.get("kinds") or {}).items()}
    shown = []
    for kind, picture in found.items():
        source = str((picture or {}).get("png") or "")
        if source.startswith("data:image/png;base64,"):
            named = kinds.get(str(kind), str(kind).replace("_", " "))
            shown.append((source, named, str(picture.get("alt") or "")))
    return [*([Heading(title, 4)] if title else []), Thumbnails(shown)] if shown else []
