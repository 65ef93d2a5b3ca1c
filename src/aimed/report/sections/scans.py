"""What several sections say of scans: the files, the regions in them, the plan, changed scans and expected Dice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aimed.report import numbers, sentences, titles, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Fold, Heading, Items, Note, Table, num
from aimed.report.sections.masks import quartiles, regions_of


def files(results: view.Results) -> list[Block]:
    """Return the facts on the scans: how many, channels, spacing, orientation, refused ones by code, and the parts.

    Examples
    --------
    >>> scans = {"files": 9, "refused": {"GEOMETRY": 1}, "channels": ["T1w"]}
    >>> [part.type for part in files({"data": {"volumes": scans}})]
    ['heading', 'facts', 'table']
    """
    scans = view.block(results, "data", "volumes")
    if not scans:
        return []
    refused = {str(k): n for k, n in (scans.get("refused") or {}).items()}
    lost = sum(int(n) for n in refused.values() if numbers.is_number(n))
    facts = [
        ("Scans listed", numbers.count(scans.get("files"))),
        ("Scans refused", numbers.count(lost)),
        ("Modality", _counts(scans.get("modalities"))),
        ("Channels of a scan", sentences.join([str(c) for c in scans.get("channels") or []]) or numbers.ABSENT),
        ("Voxels (z, y, x), median (range)", _range(scans.get("shape"), "")),
        ("Spacing (z, y, x), median (range)", _range(scans.get("spacing"), " mm")),
        ("Orientation", _counts(scans.get("orientations"))),
    ]
    out: list[Block] = [Heading("The scans"), Facts([f for f in facts if f[1] != numbers.ABSENT])]
    reasons = {
        str(r.get("code")): str(r.get("reason") or "") for r in view.block(results, "limits", "refusals") or []
    }  # fmt: skip
    if refused:
        rows = [[code, reasons.get(code, ""), num(numbers.count(n), n)] for code, n in sorted(refused.items())]
        out.append(Table(["Code", "Why", "Scans"], rows, "Scans that were refused; they are in no part", wide=False))
    parts = {name: p for name, p in (view.block(results, "data", "parts") or {}).items() if p}
    if parts:
        rows = [
            [str(name), *(num(numbers.count(p.get(k)), p.get(k)) for k in ("patients", "n", "events"))]
            for name, p in parts.items()
        ]
        head = ["Part", "Patients", "Scans", "With any region"]
        out.append(Table(head, rows, "Scans and patients by part", wide=False))
    return out


def seen(results: view.Results) -> list[Block]:
    """Return what the scans of the study were like, beyond which nothing was tested.

    Examples
    --------
    >>> [part.type for part in seen({"data": {"volumes": {"modalities": {"MR": 9}}}})]
    ['heading', 'note', 'facts']
    """
    scans = view.block(results, "data", "volumes") or {}
    facts = [
        ("Modality", _counts(scans.get("modalities"))),
        ("Voxels (z, y, x), median (range)", _range(scans.get("shape"), "")),
        ("Spacing (z, y, x), median (range)", _range(scans.get("spacing"), " mm")),
        ("Orientation", _counts(scans.get("orientations"))),
    ]
    known = [f for f in facts if f[1] != numbers.ABSENT]
    why = "Scans of other kinds were not tested."
    return [Heading("Scans of this study"), Note(why), Facts(known)] if known else []


def _size(values: object, unit: str) -> str:
    if not isinstance(values, list | tuple) or not all(numbers.is_number(v) for v in values) or not values:
        return numbers.ABSENT
    return " x ".join(f"{float(v):.4g}" for v in values) + unit


def _range(found: Any, unit: str) -> str:
    if not isinstance(found, Mapping):
        return _size(found, unit)
    median, low, high = (_size(found.get(k), unit) for k in ("median", "min", "max"))
    if median == numbers.ABSENT or numbers.ABSENT in (low, high):
        return median
    return f"{median}, in all scans" if low == high == median else f"{median} ({low} to {high})"


def _counts(found: Any) -> str:
    if not isinstance(found, Mapping):
        return numbers.number(found or None)
    known = sorted(((str(k), n) for k, n in found.items()), key=lambda p: -float(p[1] or 0))
    if len(known) == 1:
        return known[0][0]
    return ", ".join(f"{k} {numbers.count(n)}" for k, n in known) or numbers.ABSENT


_PARTS = ("train", "test")


def regions(results: view.Results) -> list[Block]:
    """Return the table of the regions: their labels, in how many scans they are, and how large.

    Examples
    --------
    >>> one = {"name": "core", "label": "Core", "labels": [2, 3], "present": {"test": 5}}
    >>> [c.text for c in regions({"outcome": {"regions": [one]}})[0].cells()[0]]
    ['Core', '2, 3', '5', '–']
    """
    found = [r for r in view.block(results, "outcome", "regions") or [] if isinstance(r, dict)]
    if not found:
        return []
    parts = [p for p in _PARTS if any(p in (r.get(k) or {}) for r in found for k in ("present", "volume_ml"))]
    rows = []
    for r in found:
        line: list[Any] = [titles.capital(str(r.get("label") or r.get("name"))), numbers.number(r.get("labels"))]
        for p in parts:
            present = (r.get("present") or {}).get(p)
            line += [num(numbers.count(present), present), quartiles((r.get("volume_ml") or {}).get(p))]
        rows.append(line)
    sizes = {p: view.block(results, "data", "parts", p, "n") for p in parts}
    head = ["Region", "Labels in the masks"]
    for p in parts:
        of = f" of {numbers.count(sizes[p])}" if numbers.is_number(sizes[p]) else ""
        head += [f"{p}: scans with it{of}", f"{p}: volume, median (quartiles), ml"]
    return [Table(head, rows, "What is outlined in the reference; volumes are of the scans that have the region")]


_PLANNED = (
    ("spacing", "Spacing of the working grid", " mm"),
    ("patch_size", "Sub-volume", " voxels"),
    ("batch_size", "Sub-volumes in a batch", ""),
    ("patches_per_scan", "Sub-volumes of a scan in an epoch", ""),
    ("widths", "Channels by level", ""),
    ("strides", "Strides by level", ""),
    ("kernels", "Kernels by level", ""),
    ("scaling", "Scaling of values", ""),
    ("small", "Made for a processor", ""),
    ("memory_mb", "Memory allowed", " MB"),
)


def plan(block: view.Results) -> list[Block]:
    """Return the plan of a network of volumes, each choice with its reason.

    Examples
    --------
    >>> made = plan({"plan": {"patch_size": [64, 64, 32], "reasons": {"patch_size": "It fits the memory."}}})
    >>> [c.text for c in made[1].cells()[0]]
    ['Sub-volume', '64 x 64 x 32 voxels', 'It fits the memory.']
    """
    found = block.get("plan") or {}
    if not found:
        return []
    reasons = found.get("reasons") or {}
    named: Mapping[str, Any] = reasons if isinstance(reasons, Mapping) else {}
    rows = [
        [title, text, str(named.get(key) or "")]
        for key, title, unit in _PLANNED
        if found.get(key) is not None and (text := _planned(found[key], unit)) != numbers.ABSENT
    ]
    out: list[Block] = [Heading("The plan")]
    if rows:
        why = any(r[2] for r in rows)
        head = ["Choice", "Value", *(["Why"] if why else [])]
        caption = "Chosen by rule from the training scans before training; sizes are along (z, y, x)"
        out.append(Table(head, [r if why else r[:2] for r in rows], caption, wide=why))
    said = [str(r) for r in reasons] if isinstance(reasons, list | tuple) else []
    said += [str(v) for k, v in named.items() if v and k not in {key for key, _, _ in _PLANNED}]
    return [*out, Items(said)] if said else out


def _planned(value: Any, unit: str) -> str:
    if isinstance(value, Mapping):
        return _scaling(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        each = [" x ".join(numbers.number(v) for v in one) for one in value]
        return f"{each[0]}, at every level" if len(set(each)) == 1 and len(each) > 1 else ", ".join(each)
    if isinstance(value, list | tuple):
        return _listed(value, unit) if value else numbers.ABSENT
    return f"{numbers.number(value)}{unit}" if value is not None else numbers.ABSENT


def _scaling(found: Mapping[str, Any]) -> str:
    if found.get("kind") == "window":
        low, high = (numbers.number(found.get(k)) for k in ("low", "high"))
        return f"cut at {low} and {high}, which become -1 and 1"
    words = {"nonzero": "less the mean, divided by the SD, of the voxels that are not 0, by scan and channel"}
    return words.get(str(found.get("kind"))) or numbers.number(dict(found))


def _listed(value: Sequence[Any], unit: str) -> str:
    return f"{(' x ' if unit else ', ').join(numbers.number(v) for v in value)}{unit}"


_KINDS = {
    "noise": "Noise",
    "bias": "Bias field",
    "blur": "Blur",
    "slices": "Thicker slices",
    "gamma": "Gamma",
    "ghost": "Ghosts of motion",
    "mirror": "Sides",
    "turn": "Turned head",
    "missing": "A contrast is missing",
    "swapped": "Contrasts in the wrong order",
}


def changed(results: view.Results) -> list[Block]:
    """Return how much overlap is lost when scans get worse: sentence, figure and table.

    Examples
    --------
    >>> changed({"robustness": None})
    []
    """
    block = view.block(results, "robustness")
    if not block or not isinstance(block.get("changes"), list):
        return []
    context = view.context(results)
    rows = [c for c in block["changes"] if isinstance(c, dict)]
    out: list[Block] = [Heading("Scans made worse")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    if any(numbers.is_number((_loss(c) or {}).get("value")) for c in rows):
        out.append(_losses(rows, block, context))
    body = []
    for c in rows:
        moved = (c.get("volume_change") or {}).get("mean_volume_change") or {}
        body.append(
            [
                str(c.get("label") or c.get("key")),
                num(numbers.measure(_loss(c)), (_loss(c) or {}).get("value")),
                num(numbers.p_value(c.get("p_holm")), c.get("p_holm")),
                _percent(moved),
                Cell(str(c.get("state") or ""), "state"),
            ]
        )
    head = ["Change", f"Mean Dice, changed less unchanged ({context.band})", "p (Holm)", "Mean move of the volumes",
            "State"]  # fmt: skip
    table = Table(head, body, f"Each change on the same scans{_of(block)}", sortable=True)
    out.append(Fold("Every change with its test and what it does to volumes", [table]))
    labels = view.labels(results)
    each = [
        [
            str(c.get("label") or c.get("key")),
            *(_measure((c.get("differences") or {}).get(f"dice@{key}")) for key in labels),
        ]
        for c in rows
    ]
    if labels and each:
        head = ["Change", *(titles.capital(label) for label in labels.values())]
        caption = f"Dice, changed less unchanged ({context.band}s)"
        out.append(Fold("Region by region", [Table(head, each, caption, sortable=True)]))
    if block.get("note"):
        out.append(Note(str(block["note"]), "absent"))
    return out


def _failed(region: view.Results) -> str:
    """Return how many scans count as failed, and below which Dice."""
    if not numbers.is_number(region.get("failures")) or not numbers.is_number(region.get("below")):
        return ""
    sign = "up to" if region.get("below_why") == "lowest quarter" else "below"
    return f" ({numbers.count(region['failures'])} failed: {sign} {numbers.fixed(region['below'], 2)})"


def _of(block: view.Results) -> str:
    if not block.get("n"):
        return ""
    return f" ({numbers.count(block.get('n'))} of {numbers.count(block.get('of'))} test scans)"


def _measure(m: view.Results | None, digits: int = 3) -> Cell:
    return num(numbers.measure(m, digits), (m or {}).get("value"))


def _percent(m: view.Results) -> Cell:
    text = numbers.percent(m.get("value"))
    if numbers.is_number(m.get("lower")) and numbers.is_number(m.get("upper")):
        text += f" ({numbers.percent(m['lower'])} to {numbers.percent(m['upper'])})"
    return num(text, m.get("value"))


def _loss(change: view.Results) -> Any:
    return (change.get("differences") or {}).get("mean_dice")


def _losses(changes: Sequence[view.Results], block: view.Results, context: Context) -> Figure:
    rows: list[dict[str, Any]] = []
    last = ""
    for change in changes:
        kind = str(change.get("kind") or "")
        if kind and kind != last:
            rows.append({"heading": _KINDS.get(kind, kind.replace("_", " ").capitalize())})
            last = kind
        words, _, more = str(change.get("label") or change.get("key")).partition(", ")
        # The heading says the noun; an amount that stands before the comma is kept.
        label = titles.capital(more) if more and not re.search(r"\d", words) else words
        refused = str(change.get("state") or "") if not numbers.is_number((_loss(change) or {}).get("value")) else ""
        rows.append({"label": label, "points": {"loss": _loss(change) or {}}, "note": refused})
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"loss": "loss"},
            "axis": "Mean Dice, changed less unchanged",
            "head": "Change",
            "title": titles.changes(changes, "mean_dice", "scans", "overlap"),
            "caption": f"Mean Dice on changed test scans less that on the same scans as they are{_of(block)}; lines "
            f"are {context.band}s of the paired difference. Left of the dashed line overlap is lost.",
            "said": "Change of the mean Dice.",
            "salt": "changes",
            "reference": 0.0,
        },
        context,
    )
    return figure


def doubt(results: view.Results) -> list[Block]:
    """Return whether the model knows which outlines are poor: sentence, figure and table by region.

    Examples
    --------
    >>> [part.type for part in doubt({"quality": {"sentence": "It does.", "note": "On the test part."}})]
    ['heading', 'note', 'note']
    """
    block = view.block(results, "quality")
    if not block:
        return []
    context = view.context(results)
    out: list[Block] = [Heading("Whether the model knows when an outline is poor")]
    if block.get("sentence"):
        out.append(Note(str(block["sentence"])))
    whole = block.get("mean") or {}
    every = regions_of(results, "quality")
    first = whole if whole.get("points") else next((r for r in every if r.get("points")), None)
    if first:
        out.append(FIGURES["expected_dice"](first, context))
    rows = [
        [
            Cell(f"{titles.capital(str(r.get('label') or ''))}{_failed(r)}", strong=r is whole),
            Cell(str(r.get("state") or ""), "state"),
            *(_measure(r.get(k), 2) for k in ("rank", "auroc", "error", "bias")),
        ]
        for r in [*([whole] if whole else []), *every]
    ]
    if rows:
        size = f" in {numbers.count(block['n'])} scans" if numbers.is_number(block.get("n")) else ""
        head = [
            "Dice of",
            "State",
            "Rank correlation",
            "AUROC of failure",
            "Absolute error",
            "Expected less true",
        ]
        out.append(Table(head, rows, f"Expected Dice against the Dice that was reached{size} ({context.band}s)"))
    said = [f"Expected Dice = {block['formula']}"] if block.get("formula") else []
    said += [str(block["method"])] if block.get("method") else []
    if said:
        out.append(Note(" ".join(titles.stop(s) for s in said)))
    if block.get("note"):
        out.append(Note(str(block["note"]), "absent"))
    return out
