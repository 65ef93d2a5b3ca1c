"""What the model section says of a network: how it is built and started, how it learned, and what holds it back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aimed.report import names, numbers, view
from aimed.report.figures import FIGURES
from aimed.report.parts import Block, Cell, Context, Facts, Figure, Heading, Note, Table, num

_PARTS = {"train": "Part it learned from", "tune": "Tune part", "test": "Test part"}
_KINDS = {
    "bias": "Bias: below what is possible, already where it learned",
    "variance": "Variance: lost from the part it learned from to the tune part",
    "tune overfitted": "Tune part used up: lost from the tune part to the test part",
    "mismatch": "Mismatch: how well the two parts are told apart from the {} alone",
}
_CHANGES = {
    "rotation": ("turned by up to {:g} degrees", 1),
    "translation": ("moved by up to {:g}% of the width", 100),
    "scale": ("scaled by up to {:g}%", 100),
    "brightness": ("brightness by up to {:g}% of the range", 100),
    "contrast": ("contrast by up to {:g}%", 100),
    "noise": ("noise with SD up to {:g}% of the range", 100),
}
_VOLUME_CHANGES = {
    "rotation": ("turned by up to {:g} degrees about each axis", 1),
    "scale": ("scaled by up to {:g}%", 100),
    "contrast": ("contrast by up to {:g}%", 100),
    "brightness": ("brightness by up to {:g} SD of the scan", 1),
    "noise": ("noise with up to {:g} SD of the scan", 1),
}
_NO_MIRROR = (
    "Never mirrored: the heart lies on the left, and a chest with the heart on the right is a finding of its own."
)


def network(block: view.Results, context: Context, of: str = "pictures") -> list[Block]:
    """Return the facts of the network, its initial weights, its learning curves and what limits it.

    Parameters
    ----------
    block : mapping
        ``results["model"]``: ``network``, ``learning``, ``precision``, ``fit_diagnosis``; each may be absent.
    context : Context
    of : {"pictures", "sub-volumes"}
        What the network learns from.

    Examples
    --------
    >>> [part.type for part in network({"network": {"architecture": "small_cnn", "parameters": 600000}}, Context())]
    ['heading', 'facts']
    """
    out: list[Block] = []
    built = block.get("network") or {}
    planned = block.get("plan") or {}
    if planned and isinstance(built.get("options"), Mapping):
        built = {**built, "options": {k: v for k, v in built["options"].items() if k not in planned}}
    if built:
        out += [Heading("The network"), Facts(_facts(built, block.get("precision") or {}, of))]
        if built.get("augmentation") and of == "pictures":
            out.append(Note(_NO_MIRROR))
        if built.get("tune_dice"):
            out += _rules(built, context)
    runs = [_run(r) for r in block.get("learning") or [] if isinstance(r, dict) and r.get("train_loss")]
    if runs:
        out += [
            Heading("Learning curves"),
            FIGURES["learning"]({"learning": runs, "loss": _named(built.get("loss"))}, context),
        ]
    if block.get("fit_diagnosis"):
        out += [Heading("What holds the model back"), *_diagnosis(block["fit_diagnosis"], context, of)]
    return out


def _run(run: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a training with the measures of its tune part under one name each."""
    tune = run.get("tune") or {}
    return {**run, **{f"tune_{k}": tune[k] for k in ("loss", "dice") if tune.get(k)}}


def _rules(built: view.Results, context: Context) -> list[Block]:
    """Return what is cleared away from outlines, and what that gained on whole scans of the tune part."""
    found = built["tune_dice"]
    raw, cleaned = (found.get(k) or {} for k in ("raw", "cleaned"))
    listed = [r for r in built.get("rules") or [] if isinstance(r, dict)]
    rules = {view.key(str(r.get("key"))): r for r in listed}
    rows = []
    for name in raw:
        rule = rules.get(view.key(str(name))) or {}
        least = rule.get("minimum")
        said = "all but the largest piece" if rule.get("largest") else ""
        if numbers.is_number(least) and least > 1:
            said = f"{said}{', and ' if said else ''}pieces of fewer than {numbers.count(least)} voxels"
        label = getattr(context.unit, "findings", {}).get(view.key(str(name)), str(name))
        pair = [num(numbers.fixed(d.get(name)), d.get(name)) for d in (raw, cleaned)]
        rows.append([label[:1].upper() + label[1:], said or "nothing", *pair])
    if not rows:
        return []
    size = f" ({numbers.count(found['scans'])} scans)" if numbers.is_number(found.get("scans")) else ""
    head = ["Region", "Cleared away", "Dice before", "Dice after"]
    caption = f"What is cleared away from outlines, chosen on whole scans of the tune part{size}"
    return [Table(head, rows, caption, wide=False)]


def _facts(built: view.Results, precision: view.Results, of: str = "pictures") -> list[tuple[str, str]]:
    frame = built.get("preprocessing") or {}
    shape = [int(s) for s in frame.get("shape") or [] if numbers.is_number(s)]
    scale = (
        f"grey levels as shares of full scale, less {numbers.number(frame['mean'])}, divided by "
        f"{numbers.number(frame['sd'])}"
        if numbers.is_number(frame.get("mean")) and numbers.is_number(frame.get("sd"))
        else ""
    )
    source = f" ({frame['source']})" if scale and frame.get("source") else ""
    copies = built.get("test_time_augmentation")
    one = "scan" if of == "sub-volumes" else "picture"
    facts = [
        ("Architecture", _named(built.get("architecture"))),
        ("Options", _options(built.get("options"))),
        ("Weights", numbers.count(built.get("parameters"))),
        ("Networks, averaged", numbers.count(built["estimators"]) if (built.get("estimators") or 1) > 1 else ""),
        ("Only the head learned", "yes, on features of a network that stays as it is" if built.get("probe") else ""),
        (
            "Picture as the network takes it",
            f"{shape[0]} x {shape[1]} pixels, one grey channel" if len(shape) == 2 else "",
        ),
        ("Standardised", f"{scale}{source}"),
        ("Initial weights", _weights(built.get("initial_weights"))),
        ("Learned before labels", _pretraining(built.get("pretraining"))),
        ("Channels of a scan", ", ".join(str(c) for c in frame.get("channels") or [])),
        ("Orientation", str(frame.get("orientation") or "")),
        ("Cropped to what is not 0", numbers.number(frame["crop"]) if isinstance(frame.get("crop"), bool) else ""),
        (f"Augmentation of training {of}", _changes(built.get("augmentation"), bool(built.get("probe")), of)),
        ("Sub-volumes are drawn", _DRAWN.get(str(built.get("sampling")), numbers.number(built.get("sampling")))),
        ("Loss", _named(built.get("loss"))),
        ("Optimizer", _named(built.get("optimizer"))),
        ("Learning rate", numbers.number(built.get("learning_rate"))),
        ("Batch", f"{numbers.count(built['batch_size'])} {of}" if built.get("batch_size") else ""),
        ("Most epochs", numbers.count(built.get("max_epochs"))),
        ("Overlap of windows over a scan", numbers.percent(built.get("overlap"), 0)),
        ("Mirror images read too", _mirrored(built.get("mirror"))),
        (f"Changed copies read beside a {one}", numbers.count(copies) if copies else ""),
        ("Arithmetic", _precision(precision)),
    ]
    return [(k, v) for k, v in facts if v and v != numbers.ABSENT]


_NAMES = {
    "unet3d": "3D U-Net",
    "segresnet3d": "SegResNet, 3D",
    "dice": "soft Dice",
    "dice_cross_entropy": "soft Dice and cross-entropy",
    "tversky": "Tversky",
    "focal": "focal",
    "dice_focal": "soft Dice and focal",
    "adamw": "AdamW",
    "sgd": "SGD",
}
_DRAWN = {
    "foreground": "around a voxel of a label for a fixed share of them, anywhere for the others",
    "background_limit": "anywhere, and again while nearly all is background",
    "random": "anywhere",
}


def _named(found: Any) -> str:
    return _NAMES.get(str(found), numbers.number(found))


def _options(found: Any) -> str:
    if not isinstance(found, Mapping):
        return numbers.number(found or None)
    rest = {k: v for k, v in found.items() if k != "deep"}
    deep = found.get("deep")
    said = f"deep supervision at {numbers.count(deep)} coarser levels" if numbers.is_number(deep) and deep else ""
    return "; ".join(t for t in (numbers.number(rest) if rest else "", said) if t)


def _mirrored(axes: Any) -> str:
    if not isinstance(axes, list | tuple) or not axes:
        return ""
    known = [numbers.number(a) if not numbers.is_number(a) or a not in (0, 1, 2) else "zyx"[int(a)] for a in axes]
    return f"along {' and '.join(known)}, averaged"


def _weights(found: Any) -> str:
    if not found:
        return "random: none were given"
    kept = found.get("sentence") or (
        f"{numbers.count(found.get('loaded'))} tensors loaded, {numbers.count(found.get('skipped'))} of the file "
        f"skipped, {numbers.count(found.get('missing'))} of the network not found"
    )
    share = f" ({numbers.percent(found['share'])} of the backbone)" if numbers.is_number(found.get("share")) else ""
    digest = f"; SHA-256 {found['sha256']}" if found.get("sha256") else ""
    return f"{kept}{share}{digest}"


def _pretraining(found: Any) -> str:
    if not found or not found.get("sentence"):
        return ""
    loss = [v for v in found.get("loss") or [] if numbers.is_number(v)]
    if not loss or not numbers.is_number(found.get("chance")):
        return str(found["sentence"])
    return (
        f"{found['sentence']} Its loss went from {numbers.fixed(loss[0], 3)} to {numbers.fixed(loss[-1], 3)}, where "
        f"{numbers.fixed(found['chance'], 3)} is knowing nothing."
    )


def _changes(found: Any, probe: bool, of: str = "pictures") -> str:
    if not found:
        return "" if probe else "none"
    if not isinstance(found, Mapping):
        return "yes, at random"
    known = [
        words.format(factor * float(found[key]))
        for key, (words, factor) in (_VOLUME_CHANGES if of == "sub-volumes" else _CHANGES).items()
        if numbers.is_number(found.get(key)) and found[key] > 0
    ]
    gamma = found.get("gamma")
    if numbers.is_number(gamma) and gamma > 0:
        known.append(f"gamma from {numbers.fixed(math.exp(-gamma), 2)} to {numbers.fixed(math.exp(gamma), 2)}")
    bias = found.get("bias")
    if numbers.is_number(bias) and bias > 0:
        known.append(f"shaded by a factor of up to {numbers.fixed(math.exp(bias), 2)}")
    if found.get("mirror"):
        known.append(f"mirrored along axis {' and '.join(numbers.number(a) for a in found['mirror'])} of (z, y, x)")
    return "each at random: " + ", ".join(known) if known else "none"


def _precision(found: view.Results) -> str:
    used = {"bf16-mixed": "half precision (bfloat16)", "32-true": "full precision (32 bits)"}.get(
        str(found.get("used"))
    )
    if used is None:
        return ""
    what = "Dice" if "dice_change" in found else "AUROC"
    change, limit = found.get(f"{what.lower()}_change"), found.get("limit")
    if not numbers.is_number(change):
        return used
    return (
        f"{used}; against full precision the tune {what} moved by {numbers.fixed(change, 4)}, where "
        f"{numbers.number(limit)} is allowed"
    )


def _diagnosis(block: view.Results, context: Context, of: str = "pictures") -> list[Block]:
    out: list[Block] = []
    gaps = [g for g in block.get("gaps") or [] if isinstance(g, dict)]
    if block.get("summary"):
        present = any(g.get("verdict") == "present" for g in gaps)
        out.append(Note(str(block["summary"]), "warn" if present else "plain"))
    scores = {k: m for k, m in (block.get("scores") or {}).items() if numbers.is_number((m or {}).get("value"))}
    if len(scores) > 1:
        out.append(_scores(block, scores, gaps, context, of))
    if gaps:
        rows = [
            [
                _KINDS.get(str(g.get("kind")), str(g.get("kind"))).format(_reads(block, of)),
                num(numbers.measure(g.get("size")), (g.get("size") or {}).get("value")),
                Cell(str(g.get("verdict") or ""), "state"),
                str(g.get("advice") or ""),
            ]
            for g in gaps
        ]
        out.append(Table(["Reason", f"Size ({context.band})", "Verdict", "What would help"], rows))
        known = [
            g for g in gaps if g.get("kind") == "mismatch" or numbers.is_number((g.get("size") or {}).get("value"))
        ]
        out += [Note(str(g["sentence"])) for g in known if g.get("kind") in ("bias", "mismatch") and g.get("sentence")]
        out += [
            Note(str(g["sentence"]), "absent")
            for g in gaps
            if g.get("kind") == "bias"
            and not numbers.is_number((g.get("size") or {}).get("value"))
            and g.get("sentence")
        ]
    return out


def _reads(block: view.Results, of: str) -> str:
    return "predictors" if block.get("of") == "rows" else "scans" if of == "sub-volumes" else "pictures"


def _scores(
    block: view.Results, scores: view.Results, gaps: list[Any], context: Context, of: str = "pictures"
) -> Figure:  # fmt: skip
    measure = names.title(str(next(iter(scores.values())).get("name") or "macro_auroc").replace(" ", "_"))
    tune = (block.get("parts") or {}).get("tune")
    which = f"Tune part: {tune}" if tune else f"On {_reads(block, of)} as they are, not on changed ones"
    rows = [
        {"label": _PARTS.get(part, part), "points": {"score": m}, "columns": [numbers.count(m.get("n"))]}
        for part, m in scores.items()
    ]
    present = [str(g.get("kind")) for g in gaps if g.get("verdict") == "present"]
    values = [float(m["value"]) for m in scores.values()]
    title = f"{measure} goes from {numbers.short(values[0])} where the network learned to {numbers.short(values[-1])}"
    title += f" on the {list(scores)[-1]} part"
    title += f"; what is shown to matter: {', '.join(present)}" if present else ""
    figure: Figure = FIGURES["dots"](
        {
            "rows": rows,
            "series": {"score": measure},
            "columns": ["n"],
            "axis": measure,
            "head": "Part",
            "title": title,
            "caption": f"{which}; lines are {context.band}s.",
            "said": f"{measure} by part.",
            "salt": "fit-scores",
        },
        context,
    )
    return figure
