"""What checklists and the model card say of a study of scans: files, regions, plan, sub-volumes and outlines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.trust.words import at, estimate, listed, number, plural

__all__ = [
    "augmentation",
    "contrasts",
    "files",
    "frame",
    "imbalance",
    "inputs",
    "labels",
    "of_scans",
    "overlap",
    "refused",
    "regions",
    "scaling",
    "selection",
    "worst",
]

_LIMITS = {
    "rotation": "turned by up to {:g} degrees about each axis",
    "scale": "scaled by up to {:.0%}",
    "contrast": "contrast by up to {:.0%}",
    "brightness": "brightness by up to {:g} SD of the scan",
    "gamma": "log gamma by up to {:g}",
    "bias": "smooth shading by up to {:g} in logarithms",
    "noise": "noise with up to {:g} SD of the scan",
}
_AXES = ("foot to head", "back to front", "left to right")


def of_scans(r: Mapping[str, Any]) -> bool:
    """Return whether regions are outlined in scans.

    Examples
    --------
    >>> of_scans({"outcome": {"kind": "masks"}}), of_scans({"data": {"images": {}}})
    (True, False)
    """
    return "masks" in (at(r, "outcome.kind"), at(r, "performance.kind"))


def labels(r: Mapping[str, Any]) -> list[str]:
    """Return the labels of the regions; none where nothing is outlined.

    Examples
    --------
    >>> labels({"outcome": {"kind": "masks", "regions": [{"label": "core"}]}})
    ['core']
    """
    if not of_scans(r):
        return []
    known = at(r, "performance.labels") or {
        str(one.get("key") or one.get("name")): one.get("label") for one in at(r, "outcome.regions") or []
    }
    return [str(v) for v in known.values()]


def _size(values: Any, unit: str = "") -> str:
    return " x ".join(f"{float(v):.4g}" for v in values) + unit if values else ""


def files(r: Mapping[str, Any]) -> str | None:
    """Return how the scans were acquired, as far as their files say; None without scans.

    Examples
    --------
    >>> files({"data": {"volumes": {"modalities": {"MR": 9}, "channels": ["FLAIR", "T1w"]}}})
    'Modality MR 9; channels FLAIR and T1w'
    """
    scans = at(r, "data.volumes")
    if not scans:
        return None
    spacing, shape = (at(r, f"data.volumes.{k}.median") for k in ("spacing", "shape"))
    turned = [f"{k} {number(n)}" for k, n in (scans.get("orientations") or {}).items()]
    kinds = [f"{k} {number(n)}" for k, n in (scans.get("modalities") or {}).items()]
    said = [
        f"modality {listed(kinds)}" if kinds else "",
        f"channels {listed([str(c) for c in scans['channels']])}" if scans.get("channels") else "",
        f"median spacing {_size(spacing, ' mm')} along (z, y, x)" if spacing else "",
        f"median size {_size(shape)} voxels" if shape else "",
        f"orientation {listed(turned)}" if turned else "",
    ]
    text = "; ".join(s for s in said if s)
    return text[:1].upper() + text[1:] or None


def refused(r: Mapping[str, Any]) -> str | None:
    """Return how many scans could not be used; None where that is not recorded.

    Examples
    --------
    >>> refused({"data": {"volumes": {"refused": {"GEOMETRY": 2}}}})
    '2 scans could not be used and are in no part (GEOMETRY 2); a scan without one of its channels is refused'
    """
    scans = at(r, "data.volumes")
    if not scans:
        return None
    codes = {str(k): int(n) for k, n in (scans.get("refused") or {}).items() if n}
    lost = sum(codes.values())
    why = f" ({listed([f'{k} {number(n)}' for k, n in codes.items()])})" if codes else ""
    return (
        f"{plural(lost, 'scan')} could not be used and {'is' if lost == 1 else 'are'} in no part{why}; a scan without "
        "one of its channels is refused"
    )


def regions(r: Mapping[str, Any], part: str = "test") -> str | None:
    """Return in how many scans of a part each region is, and how large; None without regions.

    Examples
    --------
    >>> one = {"label": "core", "present": {"test": 9}, "volume_ml": {"test": {"median": 3.2, "q1": 1.0, "q3": 8.0}}}
    >>> regions({"outcome": {"regions": [one]}})
    'core in 9 test scans, median 3.2 ml (quartiles 1.0 to 8.0)'
    """
    said = []
    for one in at(r, "outcome.regions") or []:
        present, size = (one.get("present") or {}).get(part), (one.get("volume_ml") or {}).get(part) or {}
        if present is None:
            continue
        text = f"{one.get('label')} in {number(present)} {part} scans"
        if size.get("median") is not None:
            text += f", median {number(float(size['median']), 1)} ml"
            if size.get("q1") is not None and size.get("q3") is not None:
                text += f" (quartiles {number(float(size['q1']), 1)} to {number(float(size['q3']), 1)})"
        said.append(text)
    return "; ".join(said) or None


def frame(r: Mapping[str, Any]) -> str:
    """Return how scans were prepared: orientation, spacing, crop and scaling of values.

    Examples
    --------
    >>> frame({"model": {"network": {"preprocessing": {"orientation": "RAS", "crop": True}}}})
    'Scans were turned to RAS, cropped to the box of voxels that are not 0'
    """
    found, plan = at(r, "model.network.preprocessing") or {}, at(r, "model.plan") or {}
    spacing = found.get("spacing") or plan.get("spacing")
    steps = [
        f"turned to {found['orientation']}" if found.get("orientation") else "",
        f"resampled to {_size(spacing, ' mm')} along (z, y, x)" if spacing else "",
        "cropped to the box of voxels that are not 0" if found.get("crop") else "",
        f"scaled: {scaling(plan['scaling'])}" if plan.get("scaling") else "",
    ]
    known = [s for s in steps if s]
    return f"Scans were {', '.join(known)}" if known else ""


def scaling(found: Any) -> str:
    """Return how values of voxels are scaled.

    Examples
    --------
    >>> scaling({"kind": "window", "low": -160.0, "high": 240.0}), scaling("as they are")
    ('cut at -160 and 240 and mapped to -1 and 1', 'as they are')
    """
    if not isinstance(found, Mapping):
        return str(found)
    if found.get("kind") == "window":
        return f"cut at {float(found['low']):g} and {float(found['high']):g} and mapped to -1 and 1"
    if found.get("kind") == "nonzero":
        return "less the mean and divided by the SD of the voxels that are not 0, by scan and channel"
    return str(found.get("kind"))


def augmentation(r: Mapping[str, Any]) -> str | None:
    """Return how training sub-volumes were changed at random; None where no network is recorded.

    Examples
    --------
    >>> augmentation({"model": {"network": {"loss": "dice", "augmentation": {"rotation": 15.0, "mirror": [2]}}}})
    'Training sub-volumes were changed at random (turned by up to 15 degrees about each axis, mirrored left to right)'
    """
    if not at(r, "model.network"):
        return None
    limits = at(r, "model.network.augmentation")
    if not limits:
        return "Training sub-volumes were not changed at random"
    if not isinstance(limits, Mapping):
        return "Training sub-volumes were changed at random"
    each = [words.format(float(limits[key])) for key, words in _LIMITS.items() if limits.get(key)]
    mirrored = [_AXES[int(axis)] for axis in limits.get("mirror") or [] if 0 <= int(axis) < len(_AXES)]
    each.append(f"mirrored {listed(mirrored)}" if mirrored else "never mirrored")
    return f"Training sub-volumes were changed at random ({', '.join(each)})"


def selection(r: Mapping[str, Any]) -> str | None:
    """Return which parts of scans were used to train and to test; None without a plan.

    Examples
    --------
    >>> selection({"model": {"plan": {"patch_size": [64, 64, 64], "patches_per_scan": 4}}})
    'Training drew 4 sub-volumes of 64 x 64 x 64 voxels from each scan in an epoch; whole scans were tested'
    """
    plan = at(r, "model.plan")
    if not plan or not plan.get("patch_size"):
        return None
    many = plural(plan["patches_per_scan"], "sub-volume") if plan.get("patches_per_scan") else "sub-volumes"
    size = _size(plan["patch_size"])
    return f"Training drew {many} of {size} voxels from each scan in an epoch; whole scans were tested"


def imbalance(r: Mapping[str, Any]) -> str | None:
    """Return how few voxels of a region among many others were dealt with; None where no network is recorded.

    Examples
    --------
    >>> imbalance({"model": {"network": {"loss": "dice_cross_entropy"}}})
    'The loss was dice cross entropy; no threshold was tuned to the share of voxels'
    """
    loss, sampling = at(r, "model.network.loss"), at(r, "model.network.sampling")
    if not loss:
        return None
    drawn = f"; sub-volumes were drawn by the rule '{sampling}'" if sampling else ""
    return f"The loss was {str(loss).replace('_', ' ')}{drawn}; no threshold was tuned to the share of voxels"


def inputs(r: Mapping[str, Any]) -> str | None:
    """Return what goes into the network and what comes out; None without regions.

    Examples
    --------
    >>> found = {"kind": "masks", "labels": {"core": "core"}}
    >>> inputs({"performance": found, "data": {"volumes": {"channels": ["T1w"]}}})
    'Input: 1 channel (T1w). Output: a mask of core on the grid of the scan, and its volume in ml'
    """
    each = labels(r)
    if not each:
        return None
    channels = at(r, "model.network.preprocessing.channels") or at(r, "data.volumes.channels") or []
    patch = at(r, "model.plan.patch_size")
    window = f", read in windows of {_size(patch)} voxels" if patch else ""
    start = (
        f"Input: {plural(len(channels), 'channel')} ({listed([str(c) for c in channels])}){window}. "
        if channels
        else ""
    )
    one = "its volume" if len(each) == 1 else "their volumes"
    masks = "a mask" if len(each) == 1 else "masks"
    return f"{start}Output: {masks} of {listed(each, 40)} on the grid of the scan, and {one} in ml"


def overlap(r: Mapping[str, Any]) -> str | None:
    """Return the voxel-wise sensitivity and precision of each region; None where they are not measured.

    Examples
    --------
    >>> m = {"name": "mask_sensitivity@core", "value": 0.8, "n": 9, "events": 9}
    >>> overlap({"performance": {"kind": "masks", "labels": {"core": "core"}, "measures": {m["name"]: m}}})
    'sensitivity of core 0.800 (no interval; n = 9, 9 with it)'
    """
    found = at(r, "performance.measures") or {}
    names = {str(k): str(v) for k, v in (at(r, "performance.labels") or {}).items()}
    said = []
    for key in names:
        for base in ("mask_sensitivity", "mask_precision", "sensitivity", "precision"):
            one = found.get(f"{base}@{key}")
            if one and one.get("value") is not None:
                said.append(estimate(one, labels=names, event="with it", events="with it"))
    return "; ".join(said) or None


def contrasts(r: Mapping[str, Any]) -> list[str]:
    """Return the sentences on what the outlines rest on.

    Examples
    --------
    >>> contrasts({"explanation": {"kind": "volumes", "maps": {"label": "Grad-CAM", "sentence": "They passed."}}})
    ['Maps by Grad-CAM: They passed.']
    """
    said = [str(at(r, "explanation.contrasts.sentence") or "")]
    maps = at(r, "explanation.maps.sentence")
    how = at(r, "explanation.maps.label")
    said.append(f"Maps by {how}: {maps}" if maps and how else str(maps or ""))
    return [s for s in said if s]


def worst(r: Mapping[str, Any]) -> list[str]:
    """Return the sentences of the gallery of scans.

    Examples
    --------
    >>> worst({"gallery": {"scopes": {"overall": {"sentence": "Dice runs from 0.3 to 0.9."}}}})
    ['Dice runs from 0.3 to 0.9.']
    """
    scopes = at(r, "gallery.scopes") or {}
    return [str(one["sentence"]) for one in scopes.values() if (one or {}).get("sentence")]
