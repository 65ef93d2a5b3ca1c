"""What the performance section says of outlines: overlap, boundaries and volumes by region, lesions and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimed.report import names, numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Fold, Heading, Note, Table, num
from aimed.report.sections.tables import order

_EMPTY = (
    ("n", "Scans"),
    ("reference_empty", "Only the reference empty"),
    ("prediction_empty", "Only the outline empty"),
    ("both_empty", "Both empty"),
    ("missed", "Both there, Dice 0"),
)


def outlines(results: view.Results) -> tuple[str, list[Block]]:
    """Return the opening sentence and the blocks on outlines.

    Examples
    --------
    >>> outlines({"performance": {"kind": "masks"}})[0]
    'Mean Dice could not be estimated.'
    """
    perf = view.block(results, "performance") or {}
    context = view.context(results)
    name, measure = view.primary(results)
    base = names.split_name(name)[0].removeprefix("mean_")
    blocks: list[Block] = [Note(text) for text in comparisons(results, name)]
    if any(view.of_finding(results, base, key) for key in view.labels(results)):
        blocks.append(by_region(results, base, context))
    blocks += [b for b in (_measures(results, context), _empty(results)) if b]
    every = _cases(results)
    if every:
        blocks += [Heading("Scan by scan"), FIGURES["case_dice"]({"regions": every}, context)]
    differences = _differences(results, context)
    if differences:
        blocks += [Heading("Against the baselines"), *differences]
    blocks += _sub_volumes(results, context)
    blocks += [*lesions(results), *agreement(results), *readers(results), *voxels(results)]
    blocks += _definitions(results)
    best, worst = _ends(results, base)
    missed = _missed(perf, view.labels(results))
    mean = view.measures(results).get(f"mean_{base}") if names.split_name(name)[1] else None
    return sentences.masks(name, measure, best, worst, missed, context.unit, mean), blocks


def comparisons(results: view.Results, name: str) -> list[str]:
    """Return the sentence that says whether the outlines are better than those of the baselines.

    Examples
    --------
    >>> better = {"value": 0.2, "lower": 0.1, "upper": 0.3}
    >>> comparisons({"performance": {"differences": {"threshold": {"mean_dice": better}}}}, "mean_dice")
    ['In mean Dice the model is better than threshold (difference 0.20, 0.10 to 0.30).']
    """
    found = view.block(results, "performance", "differences") or {}
    way = names.describe(name).better
    clauses = [
        sentences.beats(titles.inside(view.baseline_title(results, str(b)).partition(" (")[0]), d[name], way)[1]
        for b, d in found.items()
        if d and name in d
    ]
    title = names.lower(name, view.unit(results))
    return [f"In {title} the model is {sentences.join(clauses)}."] if clauses else []


def by_region(results: view.Results, base: str, context: Context) -> Figure:
    """Return the figure of one measure by region, the mean on top, the model beside its baselines."""
    words, labels = names.describe(base), view.labels(results)
    baselines = {str(b): m for b, m in (view.block(results, "performance", "baselines") or {}).items() if m}
    shown: list[tuple[str, view.Record]] = []
    rows: list[dict[str, Any]] = []
    for key, label in labels.items():
        mine = view.of_finding(results, base, key) or {}
        shown.append((label, mine))
        points = {"model": mine} | {b: view.of_finding(results, base, key, b) or {} for b in baselines}
        rows.append({"label": titles.capital(label), "points": points, "columns": [numbers.count(mine.get("n"))]})
    whole = view.measures(results).get(f"mean_{base}")
    if whole and len(labels) > 1:
        points = {"model": whole} | {b: m.get(f"mean_{base}") or {} for b, m in baselines.items()}
        head = {"label": "Mean over regions", "points": points, "columns": [numbers.count(whole.get("n"))]}
        rows.insert(0, {**head, "strong": True})
    known = [b for b in baselines if any(numbers.is_number(r["points"][b].get("value")) for r in rows)]
    axis = f"{words.title} ({words.unit})" if words.unit else words.title
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"model": "model", **{b: view.baseline_title(results, b) for b in known}},
            "columns": ["scans"],
            "axis": f"Mean {axis[:1].lower() + axis[1:] if axis[1:2].islower() and base != 'dice' else axis}",
            "head": "Region",
            "title": titles.macro(f"mean_{base}", whole, shown, context.unit),
            "caption": f"{axis} by region, the mean over the scans of the test part; lines are {context.band}s.",
            "said": f"{axis} by region.",
            "salt": f"regions-{base.replace('_', '-')}",
        },
        context,
    )
    return figure


def _bases(results: view.Results, key: str) -> list[str]:
    found = {base for name in view.measures(results) for base, at in [names.split_name(name)] if at == key}
    found |= set(view.block(results, "performance", "regions", key, "medians") or {})
    return order(list(found))


def _cell(measure: view.Results | None, digits: int = 3) -> Cell:
    return num(numbers.measure(measure, digits), (measure or {}).get("value"))


def titled(base: str) -> str:
    """Return the name of a measure with its unit.

    Examples
    --------
    >>> titled("hd95"), titled("dice")
    ('HD95 (mm)', 'Dice')
    """
    words = names.describe(base)
    return f"{words.title} ({words.unit})" if words.unit else words.title


def _measures(results: view.Results, context: Context) -> Table | None:
    primary = view.primary(results)[0]
    found = view.measures(results)
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}

    def line(base: str, mean: view.Results | None, median: Any, quartiles: Any, strong: bool) -> list[Cell | str]:
        digits = names.describe(base).digits
        ends = [q for q in quartiles or [] if numbers.is_number(q)]
        span = f"{numbers.fixed(ends[0], digits)} to {numbers.fixed(ends[1], digits)}" if len(ends) == 2 else ""
        n = (mean or median or {}).get("n")
        return [
            Cell(titled(base), strong=strong, indent=True),
            num(numbers.count(n), n),
            _cell(mean, digits),
            _cell(median, digits) if median else num(""),
            num(span, ends[0] if span else None),
        ]

    for key, label in view.labels(results).items():
        block = view.block(results, "performance", "regions", key) or {}
        bases = _bases(results, key)
        if bases:
            groups[len(rows)] = titles.capital(label)
        rows += [
            line(
                base,
                view.of_finding(results, base, key),
                (block.get("medians") or {}).get(base),
                (block.get("quartiles") or {}).get(base),
                f"{base}@{key}" == primary,
            )
            for base in bases
        ]
    means = _means(list(found))
    if means and len(view.labels(results)) > 1:
        groups[len(rows)] = "Mean over the regions of a scan"
        rows += [line(n.removeprefix("mean_"), found[n], None, None, n == primary) for n in means]
    if not rows:
        return None
    head = ["Measure", "Scans", f"Mean ({context.band})", f"Median ({context.band})", "Quartiles"]
    bold = "; the primary measure is in bold" if any(c.strong for r in rows for c in r if isinstance(c, Cell)) else ""
    few = list(dict.fromkeys(str(m["note"]) for m in found.values() if (m or {}).get("note")))
    note = f". {titles.capital(few[0])}" if len(few) == 1 else ""
    return Table(head, rows, f"Outlines on the test part{bold}{note}", groups=groups)


_NO_MEAN = ("mask_specificity", "volume_difference", "relative_volume_difference")
"""Over regions that lie in each other such a mean says nothing."""


def _means(found: Sequence[str]) -> list[str]:
    """Return the names of means over regions that are worth a line."""
    means = [n for n in found if n.startswith("mean_") and not names.split_name(n)[1]]
    return order([n for n in means if n.removeprefix("mean_") not in _NO_MEAN])


def _empty(results: view.Results) -> Table | None:
    labels = view.labels(results)
    regions = view.block(results, "performance", "regions") or {}
    rows = [
        [titles.capital(labels.get(str(k), str(k))), *(num(numbers.count(r.get(f)), r.get(f)) for f, _ in _EMPTY)]
        for k, r in regions.items()
        if r
    ]
    if not rows:
        return None
    return Table(["Region", *(t for _, t in _EMPTY)], rows, "Scans in which a region is empty or missed", wide=False)


def _cases(results: view.Results) -> list[dict[str, Any]]:
    cases = [c for c in view.block(results, "performance", "cases") or [] if isinstance(c, dict)]
    out = []
    for key, label in view.labels(results).items():
        mine = [{"case": c.get("case"), **found} for c in cases if (found := (c.get("regions") or {}).get(key))]
        median = view.block(results, "performance", "regions", key, "medians", "dice")
        if any(numbers.is_number(c.get("dice")) for c in mine):
            out.append({"label": titles.capital(label), "cases": mine, "median": median or {}})
    return out


def _differences(results: view.Results, context: Context) -> list[Block]:
    found = {str(b): d for b, d in (view.block(results, "performance", "differences") or {}).items() if d}
    if not found:
        return []
    head = ["Measure", *(f"Less {titles.inside(view.baseline_title(results, b))}" for b in found)]

    def table(wanted: Sequence[str], groups: dict[int, str], caption: str) -> Table:
        rows = [
            [
                Cell(titled(names.split_name(n)[0].removeprefix("mean_")), indent=bool(groups)),
                *(_cell(d.get(n), names.describe(n).digits) for d in found.values()),
            ]
            for n in wanted
        ]
        return Table(head, rows, caption, groups=groups)

    every = list(dict.fromkeys(n for d in found.values() for n in d))
    means = _means(every)
    out: list[Block] = []
    if means:
        caption = f"Mean over the regions, model less baseline, paired on the same scans ({context.band}s)"
        out.append(table(means, {}, caption))
    wanted: list[str] = []
    groups: dict[int, str] = {}
    for key, label in view.labels(results).items():
        mine = order([n for n in every if names.split_name(n)[1] == key])
        if mine:
            groups[len(wanted)] = titles.capital(label)
            wanted += mine
    if wanted:
        each = table(wanted, groups, f"Model less baseline by region, paired on the same scans ({context.band}s)")
        out.append(Fold("Region by region", [each]) if means else each)
    return out


_SUB = ("dice", "sensitivity", "specificity")


def _sub_volumes(results: view.Results, context: Context) -> list[Block]:
    block = view.block(results, "performance", "sub_volumes")
    if not block:
        return []
    regions = block.get("regions") or {}
    whole = block.get("whole") or {}
    rows: list[list[Cell | str]] = []
    groups: dict[int, str] = {}
    for key, label in view.labels(results).items():
        mine = [m for m in _SUB if (regions.get(key) or {}).get(m)]
        if mine:
            groups[len(rows)] = titles.capital(label)
        for base in mine:
            inside = regions[key][base]
            beside = (whole.get(key) or {}).get(base) or view.of_finding(results, base, key)
            beside = beside or view.of_finding(results, f"mask_{base}", key)
            rows.append([Cell(titled(base), indent=True), num(numbers.count(inside.get("n")), inside.get("n")),
                         _cell(inside), _cell(beside)])  # fmt: skip
    if not rows:
        return []
    size = " x ".join(numbers.count(s) for s in block.get("size") or [] if numbers.is_number(s))
    many = f"{numbers.count(block['n'])} sub-volumes" if numbers.is_number(block.get("n")) else "Sub-volumes"
    of = f" of {size} voxels" if size else ""
    head = ["Measure", "n", f"Sub-volumes ({context.band})", f"Whole scans ({context.band})"]
    out: list[Block] = [
        Heading("Sub-volumes beside whole scans"),
        Table(head, rows, f"{many}{of} of the test part, and the scans they are cut from", groups=groups, wide=False),
    ]
    if block.get("rule"):
        out.append(Note(str(block["rule"])))
    return out


def _definitions(results: view.Results) -> list[Block]:
    perf = view.block(results, "performance") or {}
    bases = order(list({names.split_name(n)[0].removeprefix("mean_") for n in view.measures(results)}))
    facts = [(titled(b), said) for b in bases if (said := names.describe(b).says) and b in names.MASKS]
    if perf.get("definition_in_words"):
        facts.append(("Boundary and distances", titles.capital(str(perf["definition_in_words"]).rstrip(".") + ".")))
    if numbers.is_number(perf.get("tolerance")):
        facts.append(("Tolerance of the surface Dice", f"{perf['tolerance']:g} mm"))
    if perf.get("rule"):
        facts.append(("Empty regions", titles.capital(str(perf["rule"]).replace("_", " ").rstrip(".") + ".")))
    out: list[Block] = [Heading("Definitions"), Facts(facts)] if facts else []
    return out + ([Note(str(perf["conventions"]))] if perf.get("conventions") else [])


def regions_of(results: view.Results, *path: str) -> list[dict[str, Any]]:
    """Return the regions of a block in order, each with its key and label.

    Examples
    --------
    >>> regions_of({"volumes": {"regions": {"core": {"n": 3}}}}, "volumes")
    [{'key': 'core', 'n': 3, 'label': 'Core'}]
    """
    labels = view.labels(results)
    found = {str(k): r for k, r in (view.block(results, *path, "regions") or {}).items() if isinstance(r, dict)}
    ordered = [k for k in labels if k in found] + [k for k in found if k not in labels]
    return [
        {
            "key": k,
            **found[k],
            "label": titles.capital(str(labels.get(k) or found[k].get("label") or k.replace("_", " "))),
        }
        for k in ordered
    ]


def lesions(results: view.Results) -> list[Block]:
    """Return how many lesions are found, and at how many false ones: sentences, table and FROC curve.

    Examples
    --------
    >>> [part.type for part in lesions({"lesions": {"regions": {"core": {"found": 2, "lesions": 3}}}})]
    ['heading', 'table']
    """
    block = view.block(results, "lesions")
    if not block:
        return [Note(sentences.absent("Lesions one by one", many=True), "absent")] if view.masks(results) else []
    context = view.context(results)
    every = regions_of(results, "lesions")
    out: list[Block] = [Heading("Lesions")]
    out += [Note(str(r["sentence"])) for r in every if r.get("sentence") and len(every) <= 2]
    rows = [
        [
            r["label"],
            *(_of(r, k, whole) for k, whole in (("found", "lesions"), ("wrong", "predicted"))),
            *(_cell(r.get(k), 2) for k in ("sensitivity", "precision", "f1", "wrong_a_scan")),
        ]
        for r in every
    ]
    if rows:
        head = ["Region", "Found", "Outlined, but none", "Sensitivity", "Precision", "F1", "False ones a scan"]
        least = block.get("min_ml")
        size = f" of at least {numbers.number(least)} ml" if numbers.is_number(least) else ""
        out.append(Table(head, rows, f"Lesions{size} on the test part ({context.band}s)"))
    sizes = _sizes(every, context)
    if sizes:
        out.append(Fold("By size of the lesion", [sizes]))
    if any((r.get("froc") or {}).get("points") for r in every):
        out.append(FIGURES["froc"]({"regions": every}, context))
    out += [Note(titles.stop(str(block[k]))) for k in ("method",) if block.get(k)]
    out += [Note(titles.stop(str(block[k])), "absent") for k in ("note",) if block.get(k)]
    return out


def _of(region: view.Results, part: str, whole: str) -> Cell:
    return num(f"{numbers.count(region.get(part))} of {numbers.count(region.get(whole))}", region.get(part))


def _sizes(regions: Sequence[view.Results], context: Context) -> Table | None:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for r in regions:
        if r.get("sizes"):
            groups[len(rows)] = str(r["label"])
        for one in r.get("sizes") or []:
            found = one.get("sensitivity") or {}
            count = num(numbers.count(found.get("n")), found.get("n"))
            rows.append([Cell(str(one.get("label") or ""), indent=True), count, _cell(found, 2)])
    head = ["Size in the reference", "Lesions", f"Sensitivity ({context.band})"]
    return Table(head, rows, groups=groups, wide=False) if rows else None


def agreement(results: view.Results) -> list[Block]:
    """Return how well volumes agree, and whether their intervals hold the reference: figure and tables.

    Examples
    --------
    >>> [part.type for part in agreement({"volumes": {"regions": {"core": {"n": 2, "sentence": "Fine."}}}})]
    ['heading', 'note', 'table']
    """
    block = view.block(results, "volumes")
    if not block:
        return [Note(sentences.absent("Agreement of volumes", many=False), "absent")] if view.masks(results) else []
    context = view.context(results)
    every = regions_of(results, "volumes")
    out: list[Block] = [Heading("Volumes")]
    out += [Note(titles.capital(str(r["sentence"]))) for r in every if r.get("sentence") and len(every) <= 2]
    drawn = [r for r in every if r.get("points")]
    if drawn:
        out.append(FIGURES["volume_agreement"]({"regions": drawn}, context))
    sizes = [
        [
            r["label"],
            num(numbers.count(r.get("n")), r.get("n")),
            *(quartiles(r.get(k)) for k in ("reference_ml", "prediction_ml")),
            _cell(r.get("error"), 1),
            _cell(r.get("icc"), 3),
        ]
        for r in every
    ]
    if sizes:
        head = ["Region", "Scans", "Reference, ml", "Outline, ml", "Mean absolute error, ml", "ICC"]
        caption = f"Volumes: medians with quartiles; error and intraclass correlation with {context.band}s"
        out.append(Table(head, sizes, caption))
    limits = []
    for r in every:
        for key, unit in (("absolute", "ml"), ("percent", "% of the mean of both")):
            found = r.get(key) or {}
            if numbers.is_number((found.get("bias") or {}).get("value")):
                ends = [_cell(found.get(k), 1) for k in ("bias", "low", "high")]
                limits.append([r["label"], str(found.get("unit") or unit), *ends])
    if limits:
        head = ["Region", "Unit", "Mean difference", "Lower limit", "Upper limit"]
        caption = f"Outline less reference, with the limits of agreement after Bland and Altman ({context.band}s)"
        out.append(Table(head, limits, caption))
    promised = _promised(every, context)
    if promised:
        out.append(promised)
    elif any(r.get("points") for r in every):
        out.append(Note(sentences.absent("Intervals of volumes", many=True), "absent"))
    out += [Note(titles.stop(str(block[k]))) for k in ("method",) if block.get(k)]
    out += [Note(titles.stop(str(block[k])), "absent") for k in ("note",) if block.get(k)]
    return out


def quartiles(found: view.Results | None, digits: int = 1) -> Cell:
    """Return a median with its quartiles as a cell.

    Examples
    --------
    >>> quartiles({"median": 3.0, "q1": 1.0, "q3": 9.0}).text, quartiles(None).text
    ('3.0 (1.0 to 9.0)', '–')
    """
    found = found or {}
    if not numbers.is_number(found.get("median")):
        return num(numbers.ABSENT)
    return num(numbers.interval(found["median"], found.get("q1"), found.get("q3"), digits), found["median"])


def _promised(regions: Sequence[view.Results], context: Context) -> Table | None:
    rows = []
    for r in regions:
        one = r.get("interval") or {}
        if not one:
            continue
        coverage = one.get("coverage") or {}
        width = one.get("width_percent")
        rows.append(
            [
                r["label"],
                num(numbers.percent(one.get("promise"), 0), one.get("promise")),
                num(numbers.count(one.get("cases")), one.get("cases")),
                _share(coverage),
                num(f"{numbers.fixed(width, 0)}%" if numbers.is_number(width) else numbers.ABSENT, width),
                Cell(str(coverage.get("state") or r.get("state") or ""), "state"),
            ]
        )
    if not rows:
        return None
    head = ["Region", "Promise", "Scans learned from", f"Intervals that hold the reference ({context.band})",
            "Median width, of the volume", "State"]  # fmt: skip
    return Table(head, rows, "Intervals of the volume that the model gives beside each outline")


def _share(m: view.Results) -> Cell:
    text = numbers.percent(m.get("value"))
    if numbers.is_number(m.get("lower")) and numbers.is_number(m.get("upper")):
        text += f" ({numbers.percent(m['lower'])} to {numbers.percent(m['upper'])})"
    return num(text, m.get("value"))


def readers(results: view.Results) -> list[Block]:
    """Return how far readers agree with each other and with the model: sentences, figure and table.

    Examples
    --------
    >>> [part.type for part in readers({"readers": {"regions": {"core": {"sentence": "Core: alike."}}}})]
    ['heading', 'note', 'figure', 'table']
    """
    block = view.block(results, "readers")
    if not block:
        why = "the study file names one mask a scan"
        return (
            [Note(sentences.absent("Agreement of readers", why, many=False), "absent")] if view.masks(results) else []
        )
    context = view.context(results)
    every = regions_of(results, "readers")
    out: list[Block] = [Heading("Readers")]
    out += [Note(titles.capital(str(r["sentence"]))) for r in every if r.get("sentence")]
    series = {"model": "model and a reader", "readers": "two readers", "reference": "reference standard and a reader"}
    rows = [
        {"label": r["label"], "points": {s: _of_readers(r, "dice", s) for s in series},
         "columns": [numbers.count(r.get("n"))]}
        for r in every
    ]  # fmt: skip
    out.append(
        FIGURES["dots"](
            {
                "rows": rows,
                "series": series,
                "columns": ["scans"],
                "axis": "Mean Dice",
                "head": "Region",
                "title": _apart(every),
                "caption": "Mean Dice of two outlines of a scan: over the pairs of readers, over model and readers, "
                f"over reference standard and readers; lines are {context.band}s.",
                "said": "Dice of readers, model and reference standard.",
                "salt": "readers",
            },
            context,
        )
    )
    out.append(_reader_table(every, context))
    lost = block.get("refused") or {}
    names_ = block.get("labels") or {}
    absent = [
        f"{names_.get(name, name)} {', '.join(f'{code} {numbers.count(n)}' for code, n in codes.items())}"
        for name, codes in lost.items()
        if codes
    ]
    if numbers.is_number(block.get("scans")):
        seen = f"{numbers.count(block['scans'])} of {sentences.plural(block.get('n') or 0, 'test scan')}"
        text = f"{seen} had masks of two readers or more"
        out.append(Note(f"{text}; masks that could not be used: {'; '.join(absent)}." if absent else f"{text}."))
    return out + [Note(titles.stop(titles.capital(str(block[k])))) for k in ("method", "note") if block.get(k)]


def _of_readers(region: view.Results, measure: str, party: str) -> view.Record:
    found = ((region.get("measures") or {}).get(measure) or {}).get(party)
    return found if isinstance(found, dict) else {}


def _apart(regions: Sequence[view.Results]) -> str:
    """Return the title: where the model differs from readers more, or less, than they do from each other."""
    said = []
    for state, word in (("farther", "more"), ("closer", "less")):
        mine = [titles.inside(str(r["label"])) for r in regions if r.get("state") == state]
        if mine:
            said.append(f"{word} in {sentences.join(mine)}")
    if not said:
        return "That the model differs more, or less, from readers than they do from each other was not shown"
    return f"The model differs from readers {sentences.join(said)} than they do from each other"


def _reader_table(regions: Sequence[view.Results], context: Context) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for r in regions:
        groups[len(rows)] = str(r["label"])
        kappa = ("Fleiss' kappa", numbers.measure(r.get("kappa")))
        far = [
            (f"{titled(m)}, {what}", numbers.measure(found, names.describe(m).digits))
            for m in ("hd95", "surface_dice")
            for party, what in (("readers", "two readers"), ("model", "model and a reader"))
            if (found := _of_readers(r, m, party))
        ]
        cells = [_cell(_of_readers(r, "dice", p), 2) for p in ("readers", "model", "reference")]
        n = num(numbers.count(r.get("n")), r.get("n"))
        rows.append(
            [Cell("All readers", strong=True, indent=True), n, *cells, num(""), Cell("More", detail=[kappa, *far])]
        )
        for one in r.get("by_reader") or []:
            more = [
                (f"{titles.capital(m)} against the consensus", numbers.measure(found))
                for m in ("sensitivity", "specificity")
                if numbers.is_number((found := one.get(m) or {}).get("value"))
            ]
            rows.append(
                [
                    Cell(str(one.get("label") or one.get("reader") or ""), indent=True),
                    num(numbers.count(one.get("n")), one.get("n")),
                    *(_cell(one.get(k), 2) for k in ("others", "model", "reference", "consensus")),
                    Cell("More", detail=more) if more else Cell(""),
                ]
            )
        shared = r.get("consensus") or {}
        for party, label in (("model", "Model"), ("reference", "Reference standard")):
            if shared.get(party):
                known = num(numbers.count(shared.get("n")), shared.get("n"))
                rows.append(
                    [Cell(label, indent=True), known, num(""), num(""), num(""), _cell(shared[party], 2), Cell("")]
                )
    head = ["Reader", "Scans", "Dice with other readers", "With the model", "With the reference", "With the consensus"]
    return Table([*head, ""], rows, f"Readers of the test part ({context.band}s)", groups=groups)


def voxels(results: view.Results) -> list[Block]:
    """Return whether voxels are inside as often as their probability says: sentence, figure and table.

    Examples
    --------
    >>> [part.type for part in voxels({"voxel_calibration": {"sentence": "It does.", "regions": {}}})]
    ['heading', 'note']
    """
    block = view.block(results, "voxel_calibration")
    if not block:
        return [Note(sentences.absent("Calibration of voxels", many=False), "absent")] if view.masks(results) else []
    context = view.context(results)
    every = regions_of(results, "voxel_calibration")
    out: list[Block] = [Heading("Calibration of voxels")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    drawn = [r for r in every if r.get("bins")]
    if drawn:
        out.append(FIGURES["voxel_calibration"]({"regions": drawn, "where": block.get("where")}, context))
    signals = list(dict.fromkeys(str(s) for r in every for s in r.get("doubt") or {}))
    rows = [
        [
            r["label"],
            _cell(r.get("ece")),
            _cell(r.get("oe"), 2),
            _share(r.get("wrong") or {}),
            *(_cell((r.get("doubt") or {}).get(s), 2) for s in signals),
            Cell("In words", detail=detail) if (detail := _words(r)) else Cell(""),
        ]
        for r in every
    ]
    if rows:
        head = ["Region", "ECE", "O/E ratio", "Decided wrongly"]
        head += [f"AUROC of {s}, wrong against right" for s in signals] + [""]
        caption = f"Calibration of voxels ({context.band}s over patients). ECE: mean distance of predicted and observed"
        out.append(Table(head, rows, caption))
    out += [Note(titles.stop(str(block[k])), "absent") for k in ("note",) if block.get(k)]
    return out


def _words(region: view.Results) -> list[tuple[str, str]]:
    pairs = (("Calibration", region.get("calibration")), ("In words", region.get("sentence")))
    said = [(k, str(v)) for k, v in pairs if v]
    brier = region.get("brier") or {}
    return [*said, ("Brier score", numbers.measure(brier))] if numbers.is_number(brier.get("value")) else said


def _ends(results: view.Results, base: str) -> tuple[tuple[str, view.Record] | None, tuple[str, view.Record] | None]:
    words = names.describe(base)
    known = [
        (label, m)
        for key, label in view.labels(results).items()
        if numbers.is_number((m := view.of_finding(results, base, key) or {}).get("value"))
    ]
    if not known:
        return None, None
    sign = {"higher": 1.0, "lower": -1.0, "target": -1.0}[words.better]
    score = [sign * (abs(float(m["value"])) if words.better == "target" else float(m["value"])) for _, m in known]
    return known[score.index(max(score))], known[score.index(min(score))]


def _missed(perf: view.Results, labels: dict[str, str]) -> list[tuple[str, int]]:
    out = []
    for key, r in (perf.get("regions") or {}).items():
        counts = [(r or {}).get(k) for k in ("missed", "prediction_empty")]
        out.append((labels.get(str(key), str(key)), sum(int(c) for c in counts if numbers.is_number(c))))
    return out


def worst_region(results: view.Results, base: str) -> tuple[str, view.Record] | None:
    """Return the label and the measure of the region that does worst, or None.

    Examples
    --------
    >>> perf = {"kind": "masks", "labels": {"a": "A", "b": "B"},
    ...         "measures": {"dice@a": {"value": 0.8}, "dice@b": {"value": 0.7}}}
    >>> worst_region({"performance": perf}, "dice")
    ('B', {'value': 0.7})
    """
    return _ends(results, base)[1]
