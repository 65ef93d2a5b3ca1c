"""Heat maps of outlines in volumes: where in a scan the scores of an outlined region come from, and their checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, MissingExtraError, NotEstimableError, UnknownNameError
from aimed.explain.draws import sample_rows
from aimed.explain.localisation import FEWEST, MapCheck, mean_by_patient, span
from aimed.metrics.arrays import patient_codes
from aimed.metrics.evaluate_multilabel import finding_keys
from aimed.metrics.result import Estimate

__all__ = ["STAGES", "MapCase", "Slide", "VolumeMethod", "explain_volume_maps", "stages_of", "volume_maps"]

VolumeMethod: TypeAlias = Literal["grad_cam", "hires_cam"]

Slide: TypeAlias = Callable[[Callable[[Any], Any], Any, tuple[int, int, int]], NDArray[np.float32]]
"""``slide(function, scan, window)``: what a function says of a scan, window by window and blended, shape (k, z, y, x),
such as `aimed.diagnosis.sliding_window.whole_scan`."""

STAGES: Mapping[str, str] = {"bottleneck": "deepest stage", "decoder": "a stage half way up"}
"""Where maps are made, and how it is called."""

_WORDS: Mapping[str, tuple[str, str]] = {
    "grad_cam": (
        "Seg-Grad-CAM",
        "The maps weigh the feature maps of a stage by the mean gradient of the region's scores, summed over the "
        "voxels that are outlined, and add them up; what is below 0 is cut off.",
    ),
    "hires_cam": (
        "Seg-HiResCAM",
        "The maps multiply each place of the feature maps of a stage by the gradient there of the region's scores, "
        "summed over the voxels that are outlined, and add them up; what is below 0 is cut off.",
    ),
}

_NOTE = (
    "A heat map shows where in the scan the scores of an outlined region came from, as coarsely as the stage it is "
    "made from. Inside the outline it mostly repeats the outline; outside it shows what the network looked at besides. "
    "It is no proof that the outline is right, and no cause."
)

_STATE = {True: "pass", False: "fail", None: "not enough evidence"}

_CELLS = 9
"""Cells a side on which maps of random networks are compared: 9 x 9 x 9 fill a square of 27 x 27."""


def _torch() -> Any:
    """Return the library that only making maps needs: the record of a study is read without it."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "heat maps of a network", "pip install 'aimed[deep]'") from None
    return torch


def stages_of(module: Any) -> dict[str, str]:
    """Return the names of the layers behind the stages of `STAGES`.

    Parameters
    ----------
    module : torch module
        With its ways down and up as lists, as the networks of `aimed.diagnosis.VOLUME_NETWORKS` have them.

    Raises
    ------
    DataError
        If it has none.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Module()
    >>> network.down, network.up = nn.ModuleList([nn.Identity()] * 3), nn.ModuleList([nn.Identity()] * 2)
    >>> stages_of(network)
    {'bottleneck': 'down.2', 'decoder': 'up.1'}
    """
    for down, up in (("down", "up"), ("down_layers", "up_layers")):
        if hasattr(module, down) and hasattr(module, up):
            ways = len(getattr(module, down)), len(getattr(module, up))
            return {"bottleneck": f"{down}.{ways[0] - 1}", "decoder": f"{up}.{ways[1] // 2}"}
    raise DataError("a network whose stages are not known", "a way down and a way up", "name the layers with stages=")


class _Window:
    """Maps of windows whose last channels are the outlines, shape (b, stages * k, z, y, x)."""

    def __init__(self, module: Any, layers: Sequence[str], k: int, method: VolumeMethod) -> None:
        self.torch = _torch()
        self.module, self.layers, self.k, self.method = module, layers, k, method
        names = dict(module.named_modules())
        for layer in layers:
            if not layer or layer not in names:
                raise UnknownNameError("layer", layer, [name for name in names if name])
        self.parts = [names[layer] for layer in layers]
        self.device = next(module.parameters()).device

    def __call__(self, windows: Any) -> Any:
        return self.torch.cat([self._one(window[None].to(self.device)) for window in windows]).cpu()

    def _one(self, window: Any) -> Any:
        torch = self.torch
        scan, outlines = window[:, : -self.k], window[:, -self.k :] > 0.5
        if not outlines.any():
            # Most windows of a scan hold nothing to explain.
            return torch.zeros(1, len(self.parts) * self.k, *window.shape[2:], device=self.device)
        seen: dict[int, Any] = {}

        def look(place: int) -> Callable[[Any, Any, Any], Any]:
            def hook(part: Any, given: Any, out: Any) -> Any:
                if not isinstance(out, torch.Tensor) or out.ndim != 5:
                    raise DataError(f"layer '{self.layers[place]}' has no maps", "output (b, k, z, y, x)")
                if place in seen:
                    raise DataError(f"layer '{self.layers[place]}' is used twice", "once in a forward pass")
                # Nothing is kept of what comes before the first of the layers.
                seen[place] = out if out.requires_grad else out.detach().requires_grad_()
                torch.set_grad_enabled(True)
                # A copy goes on: what follows may change it in place.
                return seen[place].clone()

            return hook

        hooks = [part.register_forward_hook(look(place)) for place, part in enumerate(self.parts)]
        try:
            with torch.no_grad():
                scores = self.module(scan)
        finally:
            for hook in hooks:
                hook.remove()
        if scores.shape[1] < self.k or scores.shape[2:] != outlines.shape[2:]:
            raise DataError(f"scores of shape {tuple(scores.shape)}", f"at least {self.k} outputs for every voxel")
        if len(seen) < len(self.parts) or not scores.requires_grad:
            raise DataError("scores that do not depend on all layers", "layers on the way to them")
        f = [seen[place] for place in range(len(self.parts))]
        found: list[list[Any]] = [[] for _ in f]
        for region in range(self.k):
            # Of labels that exclude each other the first output is the background.
            score, inside = scores[0, region - self.k], outlines[0, region]
            if not inside.any():
                for maps in found:
                    maps.append(torch.zeros_like(score))
                continue
            with torch.enable_grad():
                gradients = torch.autograd.grad((score * inside).sum(), f, retain_graph=True)
            for maps, values, g in zip(found, f, gradients, strict=True):
                weight = g.mean((2, 3, 4), keepdim=True) if self.method == "grad_cam" else g
                heat = (weight * values.detach()).sum(1, keepdim=True).relu()
                wide = torch.nn.functional.interpolate(heat, score.shape, mode="trilinear", align_corners=False)
                maps.append(wide[0, 0])
        return torch.stack([one for maps in found for one in maps])[None].detach()


def volume_maps(
    module: Any,
    scan: ArrayLike,
    outlines: ArrayLike,
    *,
    stages: Sequence[str] | None = None,
    method: VolumeMethod = "hires_cam",
    window: Sequence[int] | None = None,
    slide: Slide | None = None,
) -> NDArray[np.float32]:
    """Return a heat map of each region and stage: larger speaks more for the outlined voxels.

    Parameters
    ----------
    module : torch module
        Returns scores, shape (b, outputs, z, y, x), such as those of `aimed.diagnosis.VOLUME_NETWORKS`. It is run in
        evaluation mode and left as it was.
    scan : float array, shape (c, z, y, x)
        Prepared and scaled as the network takes it.
    outlines : bool array, shape (k, z, y, x)
        The voxels whose scores are explained, one mask for each of the last k outputs: those that the model outlines.
    stages : sequence of str, optional
        Layers, as in ``module.named_modules()``; those of `stages_of` when absent.
    method : {"grad_cam", "hires_cam"}
    window : sequence of 3 int, optional
        The window that the model looks through; the whole scan when absent or smaller.
    slide : Slide, optional
        Needed where the scan is larger than the window.

    Returns
    -------
    float32 array, shape (stages, k, z, y, x)
        At least 0, and 0 everywhere of a region that is not outlined. Linear between the centres of the cells.

    Raises
    ------
    DataError
        If shapes do not fit together, or a layer has no maps.
    UnknownNameError
        If there is no such layer or method.

    Notes
    -----
    With maps f of a stage and the gradient g of the sum of the scores of a region over its outlined voxels,
    Seg-Grad-CAM is relu(sum_k mean(g_k) f_k), and HiResCAM relu(sum_k g_k f_k). Windows are of one size, so that what
    they say is on one scale: a window with more of the region weighs more.

    References
    ----------
    Vinogradova et al., AAAI 2020;34:13943 (Seg-Grad-CAM). Hasany et al., arXiv 2302.06108 (Seg-HiRes-Grad CAM).

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1))
    >>> scan = np.random.default_rng(0).normal(size=(1, 8, 8, 8))
    >>> volume_maps(network, scan, scan > 1, stages=["0"]).shape
    (1, 1, 8, 8, 8)
    """
    if method not in _WORDS:
        raise UnknownNameError("method of heat maps", method, tuple(_WORDS))
    values, masks = np.asarray(scan, dtype=np.float32), np.asarray(outlines)
    if values.ndim != 4 or masks.ndim != 4 or values.shape[1:] != masks.shape[1:] or 0 in (*values.shape, *masks.shape):
        raise DataError(f"a scan of shape {values.shape} and outlines of shape {masks.shape}", "(., z, y, x), one grid")
    if not np.isfinite(values).all():
        raise DataError("a scan with values that are not finite", "scaled voxels")
    shape, k = values.shape[1:], masks.shape[0]
    layers = list(stages_of(module).values()) if stages is None else list(stages)
    both = np.concatenate([values, masks.astype(np.float32)])
    divisor = getattr(module, "divisor", (1, 1, 1))
    whole = window is None or all(n <= w for n, w in zip(shape, window, strict=True))
    training = module.training
    module.eval()
    try:
        make = _Window(module, layers, k, method)
        if whole:
            more = [(0, -n % d) for n, d in zip(shape, divisor, strict=True)]
            found = make(_torch().from_numpy(np.pad(both, [(0, 0), *more]))[None])[0].numpy()
            found = found[(slice(None), *(slice(0, n) for n in shape))]
        elif slide is None:
            raise DataError(f"a scan of {shape} voxels and a window of {window}", "a way to slide it over the scan")
        else:
            z, y, x = (min(w, -(-n // d) * d) for n, w, d in zip(shape, window or shape, divisor, strict=True))
            found = slide(make, both, (z, y, x))
    finally:
        module.train(training)
    return np.ascontiguousarray(found, dtype=np.float32).reshape(len(layers), k, *shape)


# -------------------------------------------------------------------------------------------------------- their checks


@dataclass(frozen=True, eq=False, kw_only=True)
class MapCase:
    """A case whose maps are checked, on the grid that the network sees.

    Parameters
    ----------
    scan : float array, shape (c, z, y, x)
        Scaled; 0 outside of the head.
    outlines, reference : bool array, shape (k, z, y, x)
        As the model outlines, and as it should be.
    spacing : (float, float, float)
        Millimetres along (z, y, x).
    """

    scan: NDArray[Any]
    outlines: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    spacing: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.outlines.shape != self.reference.shape or self.scan.shape[1:] != self.outlines.shape[1:]:
            raise DataError(
                f"a scan of shape {self.scan.shape}, outlines {self.outlines.shape}, reference {self.reference.shape}",
                "one grid",
            )

    def around(self, window: Sequence[int] | None) -> MapCase:
        """Return the window around the middle of what is outlined."""
        shape = self.scan.shape[1:]
        if window is None or all(n <= w for n, w in zip(shape, window, strict=True)):
            return self
        inside = np.argwhere(self.outlines.any(axis=0))
        middle = np.array(shape) / 2 if not len(inside) else inside.mean(axis=0)
        starts = [
            int(np.clip(round(m - w / 2), 0, max(0, n - w))) for m, n, w in zip(middle, shape, window, strict=True)
        ]
        part = (slice(None), *(slice(a, a + w) for a, w in zip(starts, window, strict=True)))
        return dataclasses.replace(
            self, scan=self.scan[part], outlines=self.outlines[part], reference=self.reference[part]
        )


def explain_volume_maps(
    module: Any,
    case: Callable[[int], MapCase],
    n: int,
    *,
    names: Sequence[str],
    patient: ArrayLike | None = None,
    method: VolumeMethod = "hires_cam",
    stages: Mapping[str, str] | None = None,
    window: Sequence[int] | None = None,
    slide: Slide | None = None,
    networks: int = 1,
    max_cases: int = 16,
    randomised_cases: int = 6,
    steps: int = 2,
    draws: int = 2,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Make heat maps of the outlines of test cases and say of each region whether they are to be believed.

    Parameters
    ----------
    module : torch module
        As for `volume_maps`.
    case : callable
        ``case(row)`` returns a `MapCase`; called once for each case that is looked at.
    n : int
        Test cases.
    names : sequence of str, length k
        Of the regions.
    patient : array, shape (n,), optional
        Each case its own patient when absent.
    method, window, slide
        As for `volume_maps`.
    stages : mapping of str to str, optional
        What a stage is called → layer; those of `stages_of` when absent.
    networks : int
        How many networks the outlines come from; maps are those of `module` alone.
    max_cases, randomised_cases : int
        Most cases whose maps are compared with the reference, and with those of random networks.
    steps, draws : int
        Of `aimed.explain.map_sanity.randomised_findings`. The voxels that are explained stay those that the trained
        network outlines.
    level : float
    seed : int
    progress : callable, optional
        Hears the share done and what is done now.

    Returns
    -------
    dict
        ``kind`` is ``"volume_maps"``; ``regions`` holds for each key ``label``, ``present`` and ``outlined`` (cases),
        ``passed``, ``state`` (pass, fail, not enough evidence), ``shown``, a ``sentence`` and ``stages``: by stage
        ``label``, ``passed``, ``state``, ``cell_mm`` (along z, y, x, of the first case) and ``checks``, None where one
        could not be made. ``parameter_randomisation`` has the estimate ``spearman``; ``inside`` has ``inside`` (share
        of the map that lies in the reference region), ``inside_gain`` (less chance, the region's share of the head)
        and ``pointing`` (peak in the region). A stage passes when its maps change with the weights and lie in the
        region more than by chance, and fails when one of these is refuted. A region passes when a stage does;
        ``shown`` names it, the one with the largest gain if both do. It fails when all stages fail. Beside
        ``regions``: ``method``, ``label``, ``means``, ``note``, ``sentence``, ``stages``, ``networks``,
        ``network_note``, ``n``, ``patients``, ``level``, ``sampled`` and ``cost``.

    Raises
    ------
    DataError
        If there are no cases or regions, or shapes do not fit together.

    References
    ----------
    Adebayo et al., NeurIPS 2018. Wang et al., CVPRW 2020 (energy pointing game).
    """
    k = len(names)
    if n < 1 or k < 1:
        raise DataError(f"{n} cases and {k} regions", "at least one of both")
    layers = stages_of(module) if stages is None else dict(stages)
    codes = patient_codes(patient, n)
    rows = sample_rows(codes, max(1, int(max_cases)), [seed, 23])
    maps_made = 0

    tell = progress or _quiet

    def make(one: MapCase, network: Any) -> NDArray[np.float32]:
        nonlocal maps_made
        if maps_made >= rows.size:
            share = (maps_made - rows.size) / max(1, len(kept) * (1 + int(steps) * int(draws)))
            tell(0.5 + 0.5 * min(share, 1.0), "heat maps: random weights")
        maps_made += 1
        return volume_maps(
            network, one.scan, one.outlines, stages=list(layers.values()), method=method, window=window, slide=slide
        )

    kept: list[MapCase] = []
    cell = np.zeros((len(layers), 3))
    # By stage, region and case: share inside, share of the head, peak inside.
    shares = np.full((3, len(layers), k, rows.size), np.nan)
    present, outlined = np.zeros(k, dtype=int), np.zeros(k, dtype=int)
    for at, row in enumerate(rows.tolist()):
        tell(0.5 * at / rows.size, f"heat maps: case {at + 1} of {rows.size}")
        one = case(row)
        if one.outlines.shape[0] != k:
            raise DataError(f"outlines of {one.outlines.shape[0]} regions", f"{k}, as names")
        if at < randomised_cases:
            kept.append(one.around(window))
        shares[..., at] = _shares(make(one, module), one)
        present += one.reference.any(axis=(1, 2, 3))
        outlined += one.outlines.any(axis=(1, 2, 3))
        if at == 0:
            cell = _cells(module, layers, one)
    some = codes[rows]
    random = _randomised(module, kept, make, some[: len(kept)], k, len(layers), steps, draws, level, seed)
    regions: dict[str, Any] = {}
    for j, (key, name) in enumerate(zip(finding_keys(names), names, strict=True)):
        checks = {
            stage: {
                "parameter_randomisation": random[s * k + j],
                "inside": _inside(shares[:, s, j], some, level),
            }
            for s, stage in enumerate(layers)
        }
        verdicts = {stage: _verdict(list(some_checks.values())) for stage, some_checks in checks.items()}
        passed, shown, sentence = _judged(name, int(outlined[j]), checks, verdicts)
        regions[key] = {
            "label": name,
            "present": int(present[j]),
            "outlined": int(outlined[j]),
            "passed": passed,
            "state": _STATE[passed],
            "shown": shown,
            "sentence": sentence,
            "stages": {
                stage: {
                    "label": STAGES.get(stage, stage),
                    "passed": verdicts[stage],
                    "state": _STATE[verdicts[stage]],
                    "cell_mm": [float(v) for v in cell[s]],
                    "checks": {
                        check: None if found is None else found.to_dict() | {"state": _STATE[found.passed]}
                        for check, found in checks[stage].items()
                    },
                }
                for s, stage in enumerate(layers)
            },
        }
    tell(1.0, "")
    label, means = _WORDS[method]
    return {
        "kind": "volume_maps",
        "method": method,
        "label": label,
        "means": means,
        "note": _NOTE,
        "sentence": _summary(regions),
        "stages": {stage: STAGES.get(stage, stage) for stage in layers},
        "regions": regions,
        "networks": int(networks),
        "network_note": ""
        if networks == 1
        else f"The outlines come from the mean of {networks} networks; the maps are those of the first.",
        "n": int(rows.size),
        "patients": int(np.unique(some).size),
        "level": level,
        "sampled": {
            "most": {"inside": int(max_cases), "parameter_randomisation": int(randomised_cases)},
            "sentence": (
                f"Places were compared in {rows.size} of {n} cases; random weights were tried on {len(kept)}"
                f"{'' if window is None else ', in a window around what is outlined'}."
            ),
        },
        "cost": {"maps": maps_made, "seed": int(seed)},
    }


def _shares(heat: NDArray[np.float32], one: MapCase) -> NDArray[np.float64]:
    """Return what lies inside the reference, shape (3, stages, k); NaN where it is empty or nothing is outlined."""
    found = np.full((3, *heat.shape[:2]), np.nan)
    head = (one.scan != 0).any(axis=0)
    for j, inside in enumerate(one.reference):
        seen = head | inside
        if not inside.any() or not one.outlines[j].any():
            continue
        for s in range(heat.shape[0]):
            values = np.where(seen, heat[s, j], 0.0).astype(np.float64)
            total, top = float(values.sum()), float(values.max())
            found[1, s, j] = inside.sum() / seen.sum()
            # An empty map of an outlined region points nowhere.
            found[0, s, j] = float(values[inside].sum()) / total if total > 0 else 0.0
            found[2, s, j] = float(inside[values == top].mean()) if top > 0 else 0.0
    return found


def _cells(module: Any, layers: Mapping[str, str], one: MapCase) -> NDArray[np.float64]:
    """Return the millimetres of a cell of each stage, shape (stages, 3)."""
    torch = _torch()
    size = [2 * d for d in getattr(module, "divisor", (1, 1, 1))]
    names = dict(module.named_modules())
    seen: dict[str, Any] = {}

    def look(stage: str) -> Callable[[Any, Any, Any], None]:
        def hook(part: Any, given: Any, out: Any) -> None:
            seen[stage] = out.shape[2:]

        return hook

    hooks = [names[layer].register_forward_hook(look(stage)) for stage, layer in layers.items()]
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(torch.zeros(1, one.scan.shape[0], *size, device=next(module.parameters()).device))
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return np.array([[n / m * mm for n, m, mm in zip(size, seen[s], one.spacing, strict=True)] for s in layers])


def _randomised(
    module: Any, kept: Sequence[MapCase], make: Callable[[MapCase, Any], NDArray[np.float32]],
    codes: NDArray[np.int64], k: int, stages: int, steps: int, draws: int, level: float, seed: int,
) -> list[MapCheck | None]:  # fmt: skip
    """Compare with maps of random networks; a check for each stage and region, None where all maps are flat."""
    # Its room loads torch.
    from aimed.explain.map_sanity import randomised_findings

    torch = _torch()

    def coarse(network: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        maps = [torch.from_numpy(make(kept[int(row)], network)) for row in rows.ravel()]
        pool = torch.nn.functional.adaptive_avg_pool3d
        small = [pool(one, _CELLS).reshape(stages * k, 27, 27) for one in maps]
        return np.asarray(torch.stack(small).numpy())

    try:
        _, found = randomised_findings(
            module, np.arange(len(kept)), coarse, patient=codes, steps=steps, draws=draws, level=level, seed=seed
        )
    except NotEstimableError:
        return [None] * (stages * k)
    # Structural similarity has no meaning once three axes lie in two.
    return [
        None
        if one is None
        else dataclasses.replace(
            one,
            estimates={"spearman": one.estimates["spearman"]},
            steps=[{key: value for key, value in step.items() if key != "ssim"} for step in one.steps],
        )
        for one in found
    ]


def _inside(shares: NDArray[np.float64], codes: NDArray[np.int64], level: float) -> MapCheck | None:
    told = np.isfinite(shares[0])
    if not told.any():
        return None
    inside, area, hit = shares[:, told]
    estimates: dict[str, Estimate] = {
        name: mean_by_patient(values, codes[told], level=level, name=name)
        for name, values in (("inside", inside), ("inside_gain", inside - area), ("pointing", hit))
    }
    gain, chance = estimates["inside_gain"], float(area.mean())
    passed = None
    if np.unique(codes[told]).size >= FEWEST:
        lower, upper = (gain.lower, gain.upper) if math.isfinite(gain.lower) else (float(gain), float(gain))
        passed = True if lower > 0 else False if upper < 0 else None
    verdict = {True: "more than chance", False: "less than chance", None: "not enough evidence"}[passed]
    return MapCheck(
        check="inside",
        passed=passed,
        sentence=(
            f"{span(estimates['inside'])} of the map lies in the reference region, where chance is {chance:.2f}: "
            f"{verdict}."
        ),
        estimates=estimates,
        chance={"inside": chance, "pointing": chance},
    )


def _verdict(checks: Sequence[MapCheck | None]) -> bool | None:
    found = [None if one is None else one.passed for one in checks]
    return False if False in found else None if None in found else True


def _judged(
    label: str,
    outlined: int,
    checks: Mapping[str, Mapping[str, MapCheck | None]],
    verdicts: Mapping[str, bool | None],
) -> tuple[bool | None, str | None, str]:
    """Return the verdict on a region, the stage whose maps may be shown, and the sentence that says it."""
    label = label[:1].upper() + label[1:]
    if not outlined:
        return None, None, f"{label}: it is outlined in no case, so there are no maps."
    texts = []
    for stage, some in checks.items():
        told = [_told(one) for one in some.values() if one is not None]
        texts.append(
            f"At the {STAGES.get(stage, stage).removeprefix('a ')}, {' and '.join(told) or 'nothing is known'}"
        )
    said = f"{'. '.join(texts)}."
    able = [stage for stage, verdict in verdicts.items() if verdict]
    if able:
        gains = {stage: float(one.estimates["inside_gain"]) for stage in able if (one := checks[stage]["inside"])}
        best = max(gains, key=lambda stage: gains[stage])
        return True, best, f"{label}: the maps of the {STAGES.get(best, best).removeprefix('a ')} pass. {said}"
    if all(verdict is False for verdict in verdicts.values()):
        return False, None, f"{label}: the maps are not to be believed. {said}"
    return None, None, f"{label}: not enough evidence to believe the maps; do not rely on them. {said}"


def _told(one: MapCheck) -> str:
    if one.check == "inside":
        return (
            f"{span(one.estimates['inside'])} of the map lies in the reference region, where chance is "
            f"{one.chance['inside']:.2f}"
        )
    return f"the maps correlate by {span(one.estimates['spearman'])} with those of random networks"


def _summary(regions: Mapping[str, Mapping[str, Any]]) -> str:
    by_state = {s: [one["label"] for one in regions.values() if one["state"] == s] for s in _STATE.values()}
    texts = (
        ("fail", "are not to be believed for"),
        ("not enough evidence", "could not be judged for"),
        ("pass", "passed their checks for"),
    )
    return f"Heat maps {'; they '.join(f'{text} {_listed(by_state[s])}' for s, text in texts if by_state[s])}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _quiet(share: float, text: str) -> None:
    """Say nothing."""
