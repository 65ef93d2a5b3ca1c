"""From what training scans are like to how a network is trained on them: every choice with its reason, to be edited."""

from __future__ import annotations

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from aimed.core import DataError, StudyFileError, nearest
from aimed.diagnosis.volume_scaling import VolumeScaling

__all__ = ["Fingerprint", "VolumePlan", "fingerprint_of", "plan_of"]

Spacing: TypeAlias = tuple[float, float, float]
Triple: TypeAlias = tuple[int, int, int]

THICK = 3.0
"""How many times longer than wide voxels are that count as thick slices."""
_LEAST_SIDE = 8
"""Voxels an axis has at least before it is halved."""
_FAR = 2.0
"""Ratio of spacings from which an axis waits until the others have caught up."""
_LEAST_PATCH, _LONGEST = 16, 512
_SMALL_PATCH = 48**3
_SMALL_SCAN = 10**6
_LEVELS, _SMALL_LEVELS = 6, 4
_WIDTH, _SMALL_WIDTH, _WIDEST = 32, 8, 320
_MEMORY, _SMALL_MEMORY = 10_000, 1_500
_BATCH, _MOST_BATCH, _SHARE = 2, 16, 0.05
_FLOATS = 16.0
"""Numbers that training holds for each of a scale's maps; measured: 11 to 14, of small networks up to 27."""
_EDITED = "As the edited plan says."


# ------------------------------------------------------------------------------------------------------ the fingerprint


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What the training scans are like, turned to RAS and cut to their foreground.

    Parameters
    ----------
    scans : int
    modality : str, optional
        None where it is not one for all.
    channels : tuple of str
    spacing, spacing_low, spacing_min, spacing_max : (float, float, float)
        Median, 10th percentile and extremes of mm along (z, y, x).
    extent : (float, float, float)
        Median of mm along (z, y, x).
    orientations : dict of str to int
        How many sources lie how.
    foreground : float
        Median share of voxels that are not 0.
    greys : tuple of dict of str to float
        For each channel, medians over scans of ``mean``, ``sd``, ``p005``, ``p50`` and ``p995``.
    regions : dict of str to dict
        By name: ``scans`` that have it, and its ``median_ml`` in those; None where no scan has it.
    """

    scans: int
    modality: str | None
    channels: tuple[str, ...]
    spacing: Spacing
    spacing_low: Spacing
    spacing_min: Spacing
    spacing_max: Spacing
    extent: Spacing
    orientations: Mapping[str, int]
    foreground: float
    greys: tuple[Mapping[str, float], ...]
    regions: Mapping[str, Mapping[str, float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        found: dict[str, Any] = {one.name: _plain(getattr(self, one.name)) for one in dataclasses.fields(self)}
        return found


def fingerprint_of(records: Sequence[Any], regions: Mapping[str, int | Sequence[int]]) -> Fingerprint:
    """Return what scans are like.

    Parameters
    ----------
    records : sequence of VolumeRecord
        Of the training part alone; refused ones are left out.
    regions : mapping of str to int or ints
        Labels of each region.

    Raises
    ------
    DataError
        If no scan is left, or they do not have the same channels.
    """
    known = [one for one in records if one.usable]
    if not known:
        raise DataError("no scan to plan for", "at least one that was not refused")
    if len({len(one.greys) for one in known}) > 1 or len({one.channels for one in known}) > 1:
        raise DataError("scans with different channels", "the same channels in every scan")
    spacings = np.array([one.cached_spacing for one in known])
    extents = spacings * np.array([one.cached_shape for one in known])
    found: dict[str, dict[str, float | None]] = {}
    for name, labels in regions.items():
        own = [int(label) for label in np.atleast_1d(np.asarray(labels))]
        ml = [one.grid.voxel_ml * sum(one.labels.get(label, 0) for label in own) for one in known]
        there = [value for value in ml if value > 0]
        found[name] = {"scans": len(there), "median_ml": float(np.median(there)) if there else None}
    modalities = {one.modality for one in known}
    return Fingerprint(
        scans=len(known),
        modality=modalities.pop() if len(modalities) == 1 else None,
        channels=tuple(known[0].channels),
        spacing=_triple(np.median(spacings, axis=0)),
        spacing_low=_triple(np.quantile(spacings, 0.1, axis=0)),
        spacing_min=_triple(spacings.min(axis=0)),
        spacing_max=_triple(spacings.max(axis=0)),
        extent=_triple(np.median(extents, axis=0)),
        orientations=dict(sorted(Counter(one.orientation for one in known).items())),
        foreground=float(np.median([one.foreground for one in known])),
        greys=tuple(
            {
                name: float(np.median([one.greys[channel][name] for one in known]))
                for name in ("mean", "sd", "p005", "p50", "p995")
            }
            for channel in range(len(known[0].greys))
        ),
        regions=found,
    )


# ------------------------------------------------------------------------------------------------------------- the plan


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """How scans are prepared and cut, and what the network is like.

    Parameters
    ----------
    spacing : (float, float, float)
        Millimetres along (z, y, x) of the working grid.
    patch_size : (int, int, int)
        Voxels of sub-volumes and windows.
    batch_size : int
        Sub-volumes a step.
    patches_per_scan : int
        Sub-volumes of a scan in an epoch.
    widths : tuple of int
        Channels at each scale, the finest first.
    strides : tuple of (int, int, int)
        Step into each scale; 1 along an axis leaves it as it is.
    kernels : tuple of (int, int, int)
        Sizes of the convolutions at each scale; 1 along an axis looks at one slice at a time.
    scaling : VolumeScaling
    small : bool
        Made for a processor.
    reasons : mapping of str to str
        A sentence for each of these; plans are equal without them.

    Raises
    ------
    StudyFileError
        If a value is out of its range, or the parts do not fit each other.

    Examples
    --------
    >>> plan = VolumePlan(
    ...     spacing=(3.0, 3.0, 3.0), patch_size=(48, 48, 48), batch_size=2, patches_per_scan=2, widths=(8, 16),
    ...     strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3), (3, 3, 3)),
    ... )
    >>> VolumePlan.from_toml(plan.to_toml()) == plan
    True
    >>> VolumePlan.from_toml(plan.to_toml().replace("batch_size", "batchsize"))
    Traceback (most recent call last):
        ...
    aimed.core.errors.StudyFileError: the plan has no entry 'batchsize'; expected one of: batch_size, kernels, ...
    """

    spacing: Spacing
    patch_size: Triple
    batch_size: int
    patches_per_scan: int
    widths: tuple[int, ...]
    strides: tuple[Triple, ...]
    kernels: tuple[Triple, ...]
    scaling: VolumeScaling = dataclasses.field(default_factory=VolumeScaling)
    small: bool = False
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        spacing = _numbers("spacing", self.spacing, 3)
        if not all(0 < mm <= 100 for mm in spacing):
            raise StudyFileError(f"spacing = {list(self.spacing)}", "mm along z, y and x, above 0 and up to 100")
        widths = _whole("widths", self.widths, 1, 2048)
        if not 2 <= len(widths) <= 8:
            raise StudyFileError(f"widths = {list(widths)}", "2 to 8 scales")
        strides = tuple(_whole("strides", one, 1, 4, 3) for one in _listed("strides", self.strides, len(widths)))
        kernels = tuple(_whole("kernels", one, 1, 7, 3) for one in _listed("kernels", self.kernels, len(widths)))
        if any(size % 2 == 0 for one in kernels for size in one):
            raise StudyFileError("kernels of even size", "odd sizes")
        patch = _whole("patch_size", self.patch_size, 1, _LONGEST, 3)
        divisor = _divisor(strides)
        if any(side % d for side, d in zip(patch, divisor, strict=True)):
            raise StudyFileError(
                f"patch_size = {list(patch)}", f"multiples of {list(divisor)}, which the strides halve",
                "make the patch fit, or take a scale away",
            )  # fmt: skip
        for name, most in (("batch_size", 1024), ("patches_per_scan", 1024)):
            _whole(name, (getattr(self, name),), 1, most)
        if not isinstance(self.small, bool):
            raise StudyFileError(f"small = {self.small!r}", "true or false")
        if not isinstance(self.scaling, VolumeScaling):
            raise StudyFileError("scaling that is none", "kind, and low and high of a window")
        for name, value in (
            ("spacing", spacing), ("patch_size", patch), ("widths", widths), ("strides", strides), ("kernels", kernels)
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    @property
    def divisor(self) -> Triple:
        """What the sides of a sub-volume are multiples of."""
        return _divisor(self.strides)

    @property
    def memory_mb(self) -> int:
        """About what training takes, in MB, in full precision."""
        return round(_megabytes(self.patch_size, self.batch_size, self.widths, self.strides))

    def parameters(self) -> dict[str, Any]:
        """Return what of it are parameters of a segmenter, whatever its architecture."""
        return {name: getattr(self, name) for name in ("patch_size", "batch_size", "patches_per_scan", "scaling")}

    def reduced(self) -> VolumePlan:
        """Return the plan for a small network on a processor, with the spacing of this one; itself if it is one."""
        if self.small:
            return self
        patch, shape = _fitting(
            self.patch_size, self.spacing, self.patch_size, self.batch_size, float(_SMALL_MEMORY), small=True
        )
        return dataclasses.replace(
            self, patch_size=patch, widths=shape.widths, strides=shape.strides, kernels=shape.kernels, small=True,
            reasons={
                **self.reasons,
                "patch_size": f"{_by(patch)} voxels: at most as many as {_by((48, 48, 48))}, for a processor.",
                "widths": f"{shape.widths[0]} channels at the finest scale, for a processor.",
            },
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        found: dict[str, Any] = {one.name: _plain(getattr(self, one.name)) for one in dataclasses.fields(self)}
        found["scaling"] = self.scaling.to_state()
        return found

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> VolumePlan:
        """Rebuild from `to_dict`."""
        return cls(**{**record, "scaling": VolumeScaling.from_state(record["scaling"])})

    def to_toml(self) -> str:
        """Return the plan as a file that people read and edit, each value under its reason."""
        lines = [
            "# Plan of a study of volumes, made from its training scans.",
            '# To change it, edit a copy and name that in the study file: [volumes] plan = "plan.toml"',
        ]
        for name, unit in _UNITS.items():
            lines += ["", f"# {self.reasons.get(name, unit)}"]
            if name in self.reasons:
                lines.append(f"# ({unit})")
            lines.append(f"{name} = {_written(getattr(self, name))}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> VolumePlan:
        """Read a plan.

        Parameters
        ----------
        text : str
            As `to_toml` wrote it, or edited.

        Raises
        ------
        StudyFileError
            If it is no TOML, an entry is missing or unknown, or a value is out of its range.
        """
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise StudyFileError(f"the plan is no TOML ({error})", "key = value lines", "correct the line") from None
        _known(found, _UNITS, "the plan")
        missing = [name for name in _UNITS if name not in found and name not in ("scaling", "small")]
        if missing:
            raise StudyFileError(f"the plan does not say {', '.join(missing)}", "all that a plan holds")
        scaling = found.get("scaling", {})
        if not isinstance(scaling, Mapping):
            raise StudyFileError(f"scaling = {scaling!r}", '{ kind = "nonzero" }, or a window with low and high')
        _known(scaling, ("kind", "low", "high"), "scaling")
        for name in ("low", "high"):
            if name in scaling:
                _numbers(f"scaling.{name}", [scaling[name]], 1)
        return cls(**{**found, "scaling": VolumeScaling(**scaling), "reasons": dict.fromkeys(_UNITS, _EDITED)})

    def against(self, computed: VolumePlan) -> VolumePlan:
        """Return this plan with the reasons of the one that was computed where both say the same."""
        reasons = {}
        for name in _UNITS:
            if getattr(self, name) == getattr(computed, name):
                reasons[name] = computed.reasons.get(name, "")
            else:
                reasons[name] = f"{_EDITED[:-1]}; computed was {_written(getattr(computed, name))}."
        return dataclasses.replace(self, reasons=reasons)


_UNITS = {
    "spacing": "mm along (z, y, x) of the grid that networks see",
    "patch_size": "voxels along (z, y, x) of sub-volumes and windows",
    "batch_size": "sub-volumes a step",
    "patches_per_scan": "sub-volumes of a scan in an epoch",
    "widths": "channels at each scale, the finest first",
    "strides": "step into each scale along (z, y, x)",
    "kernels": "size of the convolutions at each scale along (z, y, x)",
    "scaling": 'greys: "nonzero" by the voxels of each scan that are not 0, "window" from low to high',
    "small": "whether it was made for a processor",
}


def plan_of(
    fingerprint: Fingerprint,
    memory_mb: float | None = None,
    small: bool = False,
    *,
    spacing: Spacing | None = None,
    window: tuple[float, float] | None = None,
    modality: str | None = None,
) -> VolumePlan:
    """Return a plan for scans, in the way of nnU-Net.

    Parameters
    ----------
    fingerprint : Fingerprint
    memory_mb : float, optional
        What training may take; 10,000 MB when absent, 1,500 MB for a small plan.
    small : bool
        For a processor: a narrow network, at most 48^3 voxels a sub-volume, and a grid on which a scan has about a
        million.
    spacing : (float, float, float), optional
        Given by the study file.
    window : (float, float), optional
        Of a CT, given by the study file.
    modality : str, optional
        Given by the study file; that of the scans when absent.

    Raises
    ------
    StudyFileError
        If the memory does not hold the smallest network.

    References
    ----------
    Isensee et al., Nature Methods 2021 (nnU-Net).
    """
    budget = float(memory_mb if memory_mb is not None else _SMALL_MEMORY if small else _MEMORY)
    reasons: dict[str, str] = {}
    grid, reasons["spacing"] = _spacing(fingerprint, spacing, small)
    sides = tuple(max(1, round(mm / s)) for mm, s in zip(fingerprint.extent, grid, strict=True))
    scan = (sides[0], sides[1], sides[2])
    patch, shape = _fitting(_start(grid, scan, small), grid, scan, _BATCH, budget, small)
    whole = all(side >= n for side, n in zip(patch, scan, strict=True))
    limit = f"{budget:,.0f} MB allow with {_BATCH} a step" + (f", at most {_SMALL_PATCH:,} voxels" if small else "")
    reasons["patch_size"] = (
        f"{_by(patch)} voxels hold the median scan of {_by(scan)} whole."
        if whole
        else f"{_by(patch)} voxels of the median scan's {_by(scan)}: what {limit}."
    )
    batch, reasons["batch_size"] = _batch(fingerprint.scans, scan, patch, shape, budget, small)
    times = float(np.prod(scan)) / float(np.prod(patch))
    each = int(np.clip(round(times), 2, 8))
    reasons["patches_per_scan"] = f"The median scan has {times:.1f} times the voxels of a sub-volume; from 2 to 8."
    levels, least = len(shape.widths), tuple(side // d for side, d in zip(patch, _divisor(shape.strides), strict=True))
    reasons["widths"] = (
        f"{shape.widths[0]} channels at the finest scale, twice as many at each coarser one"
        + (f" up to {_WIDEST}" if shape.widths[-1] == _WIDEST else "")
        + f"; {levels} scales bring {_by(patch)} voxels down to {_by((least[0], least[1], least[2]))}."
    )
    uneven = max(grid) / min(grid) >= _FAR
    reasons["strides"] = (
        f"Axes are halved while they have {_LEAST_SIDE} voxels"
        + ("; one with long voxels waits until the others have caught up." if uneven else ".")
    )  # fmt: skip
    flat = any(1 in one for one in shape.kernels)
    reasons["kernels"] = (
        "Slices are looked at one by one while voxels are more than twice as long as wide."
        if flat
        else "Voxels are about as long as wide, so that kernels are cubes."
    )
    scaling, reasons["scaling"] = _scaling(fingerprint, window, modality or fingerprint.modality)
    reasons["small"] = "Made for a processor." if small else "Made for a graphics processor."
    return VolumePlan(
        spacing=grid, patch_size=patch, batch_size=batch, patches_per_scan=each, widths=shape.widths,
        strides=shape.strides, kernels=shape.kernels, scaling=scaling, small=small, reasons=reasons,
    )  # fmt: skip


def _spacing(found: Fingerprint, given: Spacing | None, small: bool) -> tuple[Spacing, str]:
    if given is not None:
        return _triple(given), "The study file gives the spacing."
    spacing = [round(mm, 4) for mm in found.spacing]
    told = f"The median spacing of {found.scans:,} training scans is {_by(found.spacing)} mm"
    thick = int(np.argmax(spacing))
    if max(spacing) > THICK * min(spacing):
        others = max(mm for axis, mm in enumerate(spacing) if axis != thick)
        spacing[thick] = max(others, round(found.spacing_low[thick], 4))
        told += f"; slices are thick, so that along {'zyx'[thick]} the 10th percentile is taken, {spacing[thick]:g} mm"
    if small:
        coarse = _coarser(spacing, found.extent)
        if coarse > 1.2 * min(spacing):
            spacing = [max(mm, coarse) for mm in spacing]
            told += f"; at least {coarse:g} mm are taken, so that a scan has about a million voxels"
    return _triple(spacing), told + "."


def _coarser(spacing: Sequence[float], extent: Sequence[float]) -> float:
    """Return the least spacing, in tenths of mm, with which a scan has few enough voxels for a processor."""
    tenths = 1
    while np.prod([mm / max(s, tenths / 10) for mm, s in zip(extent, spacing, strict=True)]) > _SMALL_SCAN:
        tenths += 1
    return tenths / 10


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """Scales of a network."""

    widths: tuple[int, ...]
    strides: tuple[Triple, ...]
    kernels: tuple[Triple, ...]


def _scales(patch: Triple, spacing: Spacing, small: bool) -> _Shape:
    """Return strides and kernels: fine axes are halved first, all while they have voxels."""
    sides, now = list(patch), list(spacing)
    strides: list[Triple] = [(1, 1, 1)]
    kernels: list[Triple] = [_kernel(now, (1, 1, 1))]
    while len(strides) < (_SMALL_LEVELS if small else _LEVELS):
        able = [axis for axis in range(3) if sides[axis] >= _LEAST_SIDE]
        if not able:
            break
        finest = min(now[axis] for axis in able)
        step = [2 if axis in able and now[axis] < _FAR * finest else 1 for axis in range(3)]
        sides = [-(-side // s) for side, s in zip(sides, step, strict=True)]
        now = [mm * s for mm, s in zip(now, step, strict=True)]
        strides.append((step[0], step[1], step[2]))
        kernels.append(_kernel(now, kernels[-1]))
    if len(strides) < 2:
        strides.append((1, 1, 1))
        kernels.append(_kernel(now, kernels[-1]))
    first = _SMALL_WIDTH if small else _WIDTH
    return _Shape(tuple(min(first * 2**k, _WIDEST) for k in range(len(strides))), tuple(strides), tuple(kernels))


def _kernel(spacing: Sequence[float], before: Triple) -> Triple:
    """Return the kernel of a scale; an axis that was looked along at a finer one stays so."""
    z, y, x = (max(size, 1 if mm > _FAR * min(spacing) else 3) for mm, size in zip(spacing, before, strict=True))
    return z, y, x


def _start(spacing: Spacing, scan: Triple, small: bool) -> Triple:
    """Return the sub-volume to begin with: as long in mm along every axis, and no longer than the scan."""
    voxels = float(_SMALL_PATCH if small else 256**3)
    sides = [0.0, 0.0, 0.0]
    free = [0, 1, 2]
    while free:
        # What short axes do not take is left to the others.
        rest = voxels / np.prod([sides[axis] for axis in range(3) if axis not in free])
        mm = float((rest * np.prod([spacing[axis] for axis in free])) ** (1 / len(free)))
        short = [axis for axis in free if mm / spacing[axis] >= min(scan[axis], _LONGEST)]
        for axis in short or free:
            sides[axis] = float(min(scan[axis], _LONGEST)) if short else mm / spacing[axis]
        free = [axis for axis in free if axis not in short] if short else []
    z, y, x = (max(1, round(side)) for side in sides)
    return z, y, x


def _fitting(
    start: Triple, spacing: Spacing, scan: Triple, batch: int, budget: float, small: bool
) -> tuple[Triple, _Shape]:
    """Return the largest sub-volume, and the scales for it, within memory."""
    size = start
    while True:
        shape = _scales(size, spacing, small)
        divisor = _divisor(shape.strides)
        z, y, x = (-(-side // d) * d for side, d in zip(size, divisor, strict=True))
        patch = (z, y, x)
        most = _SMALL_PATCH if small else np.inf
        if _megabytes(patch, batch, shape.widths, shape.strides) <= budget and np.prod(patch) <= most:
            return patch, shape
        able = [axis for axis in range(3) if patch[axis] > max(divisor[axis], min(_LEAST_PATCH, scan[axis]))]
        if not able:
            need = _megabytes(patch, batch, shape.widths, shape.strides)
            raise StudyFileError(
                f"memory for training of {budget:,.0f} MB", f"{need:,.0f} MB at least", "allow more, or a small plan"
            )
        longest = max(able, key=lambda axis: patch[axis] / scan[axis])
        shorter = [side - (divisor[axis] if axis == longest else 0) for axis, side in enumerate(patch)]
        size = (shorter[0], shorter[1], shorter[2])


def _batch(
    scans: int, scan: Triple, patch: Triple, shape: _Shape, budget: float, small: bool
) -> tuple[int, str]:  # fmt: skip
    if small:
        return _BATCH, f"{_BATCH} sub-volumes a step, so that there are many steps."
    all_voxels = float(scans) * float(np.prod(scan))
    batch = _BATCH
    while batch < _MOST_BATCH:
        fits = _megabytes(patch, batch + 1, shape.widths, shape.strides) <= budget
        if not fits or (batch + 1) * float(np.prod(patch)) > _SHARE * all_voxels:
            break
        batch += 1
    if batch == _BATCH:
        return batch, f"{_BATCH} is the least; more would not fit, or be too large a part of the training voxels."
    return batch, f"What {budget:,.0f} MB hold, at most {_SHARE:.0%} of the training voxels and {_MOST_BATCH}."


def _scaling(
    found: Fingerprint, window: tuple[float, float] | None, modality: str | None
) -> tuple[VolumeScaling, str]:  # fmt: skip
    if window is not None:
        return VolumeScaling(kind="window", low=window[0], high=window[1]), "The study file gives the window."
    if modality == "CT":
        low, high = (min(one["p005"] for one in found.greys), max(one["p995"] for one in found.greys))
        return (
            VolumeScaling(kind="window", low=round(low, 1), high=round(high, 1)),
            "The units of a CT mean something: the window holds 99 % of the training voxels that are not 0.",
        )
    return VolumeScaling(), "Greys have no unit: mean and spread of the voxels that are not 0, by scan and channel."


def _megabytes(
    patch: Sequence[int], batch: int, widths: Sequence[int], strides: Sequence[Sequence[int]]
) -> float:  # fmt: skip
    """Return about what a training step takes: maps of every scale, and weights with what the optimiser keeps."""
    maps, sides = 0.0, np.asarray(patch, dtype=float)
    for width, stride in zip(widths, strides, strict=True):
        sides = sides / np.asarray(stride)
        maps += float(np.prod(sides)) * width
    weights = sum(27.0 * wide * (before + wide) for before, wide in zip((0, *widths[:-1]), widths, strict=True))
    weights += sum(27.0 * 3.0 * wide**2 for wide in widths[:-1])
    return (_FLOATS * batch * maps + 4.0 * weights) * 4.0 / 2**20


def _divisor(strides: Sequence[Sequence[int]]) -> Triple:
    z, y, x = (int(np.prod([one[axis] for one in strides])) for axis in range(3))
    return z, y, x


# ------------------------------------------------------------------------------------------------- reading and writing


def _known(found: Mapping[str, Any], names: Any, what: str) -> None:
    for name in found:
        if name not in names:
            close = nearest(name, names)
            raise StudyFileError(
                f"{what} has no entry '{name}'", f"one of: {', '.join(sorted(names))}",
                f"did you mean '{close}'?" if close else "remove it",
            )  # fmt: skip


def _listed(name: str, value: Any, count: int) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) != count:
        raise StudyFileError(f"{name} that are not {count} lists", f"one of three numbers for each of {count} widths")
    return list(value)


def _whole(name: str, value: Any, low: int, high: int, count: int | None = None) -> Any:
    usable = isinstance(value, list | tuple) and (count is None or len(value) == count)
    if not usable or not all(
        isinstance(one, int | np.integer) and not isinstance(one, bool) and low <= one <= high for one in value
    ):
        many = "whole numbers" if count is None else f"{count} whole numbers"
        raise StudyFileError(f"{name} = {_shown(value)}", f"{many} from {low} to {high}")
    return tuple(int(one) for one in value)


def _numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    usable = isinstance(value, list | tuple) and len(value) == count
    if not usable or not all(
        isinstance(one, int | float | np.number) and not isinstance(one, bool) and np.isfinite(one) for one in value
    ):
        raise StudyFileError(f"{name} = {_shown(value)}", f"{count} finite numbers" if count > 1 else "a finite number")
    return tuple(float(one) for one in value)


def _shown(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)[:80]


def _written(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, VolumeScaling):
        if value.kind == "nonzero":
            return '{ kind = "nonzero" }'
        return f'{{ kind = "window", low = {value.low!r}, high = {value.high!r} }}'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _triple(values: Any) -> Spacing:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _by(values: Sequence[float]) -> str:
    """Return three numbers as people write them.

    Examples
    --------
    >>> _by((48, 48, 48)), _by((5.0, 0.9375, 0.9375))
    ('48 x 48 x 48', '5 x 0.9375 x 0.9375')
    """
    return " x ".join(f"{value:g}" for value in values)
