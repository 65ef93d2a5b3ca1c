"""The volume: voxels with their place in the body, and every change of the grid with its way back to the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.core.grid import Crop, Grid, Resampling, Step, Triple, Turn
from aimed.core.image import REFUSALS, ImageRefused
from aimed.core.resampling import How

__all__ = [
    "VOLUME_REFUSALS",
    "Volume",
    "VolumeRefused",
    "stack_channels",
]

Array: TypeAlias = NDArray[Any]

VOLUME_REFUSALS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        **REFUSALS,
        "NOT_A_VOLUME": ("the file is no volume that can be read", "NIfTI or a DICOM series", "check the list"),
        "TOO_LARGE": ("the volume or the file is too large", "a volume that fits the limit", "reduce it"),
        "BAD_NUMBER": ("a number in the header is not usable", "finite numbers in their range", "export it again"),
        "FLAT": ("the data are one slice and not a volume", "two slices or more", "use a 3D acquisition"),
        "TIME_SERIES": (
            "the file holds many volumes, as in a time series",
            "one volume or named channels",
            "extract one volume, or name its channels",
        ),
        "NO_GEOMETRY": (
            "nothing says where the voxels lie in the body, so left and right are not known",
            "an affine, or position and orientation of every slice",
            "export it again from the scanner or archive",
        ),
        "AFFINES_DISAGREE": (
            "the two affines of the file disagree",
            "sform and qform that place the voxels alike",
            "find out which is right and name it (space='sform' or 'qform')",
        ),
        "NOT_FINITE": (
            "the volume has voxels that are NaN or infinite",
            "finite numbers",
            "find out why, or ask for zeros in their place (not_finite='zero')",
        ),
        "BAD_LABELS": (
            "the mask holds values that are no labels",
            "whole numbers from 0 that are declared",
            "check it",
        ),
        "GAP": (
            "slices are missing",
            "slices at equal distances",
            "export the whole series again from the archive",
        ),
        "UNEVEN": (
            "the slices do not lie at equal distances on one line",
            "slices at equal distances",
            "use a series with even slices, or resample it with a tool of your trust",
        ),
        "TILTED": (
            "the slices are tilted against their stack, as with a tilted gantry",
            "slices at right angles to their stack",
            "straighten the series, or accept a sheared grid (tilted='keep')",
        ),
        "DUPLICATES": (
            "several different slices lie at one place",
            "one slice a place",
            "separate the acquisitions and export them again",
        ),
        "MIXED": (
            "the files belong to several series",
            "one series",
            "name one of them, or read them as a study",
        ),
        "GRIDS_DIFFER": (
            "the grids differ in shape or place",
            "the same grid",
            "resample one to the other, or check that they belong together",
        ),
    }
)
"""Why a volume is refused: what was found, what was expected and what to do."""


class VolumeRefused(ImageRefused):
    """One volume is not used, for a reason that has a code.

    Parameters
    ----------
    code : str
        A key of `VOLUME_REFUSALS`.
    detail : str
        More of what was found: counts, names of files or header fields, never an identifier.

    Examples
    --------
    >>> print(VolumeRefused("GAP", "3 of 43 in one place"))
    slices are missing: 3 of 43 in one place (GAP); expected slices at equal distances; export the whole series ...
    """

    reasons: ClassVar[Mapping[str, tuple[str, str, str]]] = VOLUME_REFUSALS


# ----------------------------------------------------------------------------------------------------------- the volume


@dataclass(frozen=True, eq=False, kw_only=True)
class Volume:
    """Voxels of one scan or of one mask, with their place in the body and the way back to the scan they come from.

    Nothing in it names a patient.

    Parameters
    ----------
    array : array, shape (z, y, x) or (c, z, y, x)
        Read-only; may be a memory map.
    affine : float array, shape (4, 4)
        From voxel (x, y, z), the reverse of the array's axes, to mm in RAS+, as in NIfTI.
    labels : bool
        Whether the values are labels, which are never averaged.
    modality : str, optional
        Such as ``"MR"`` or ``"CT"``.
    channels : tuple of str
        One name a channel, such as ``("FLAIR", "T1w")``; at most one for an array without channels.
    notes : tuple of str
        What a reader wants known, in sentences.
    steps : tuple of Step
        What was done to the grid since the scan was read.

    Raises
    ------
    DataError
        If the parts do not fit each other.

    Examples
    --------
    >>> scan = Volume(array=np.zeros((10, 20, 30), dtype=np.int16), affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    >>> scan.spacing, scan.orientation
    ((2.0, 1.0, 1.0), 'LPS')
    >>> work = scan.reoriented("RAS").cropped((2, 2, 2), (8, 18, 28)).resampled(1.5)
    >>> work.shape, work.orientation
    ((8, 11, 17), 'RAS')
    >>> mask = work.with_array(np.ones(work.shape, dtype=np.uint8), labels=True)
    >>> home = mask.back_to(scan)
    >>> home.shape, home.orientation, int(home.array.sum()) == 6 * 16 * 26
    ((10, 20, 30), 'LPS', True)
    """

    array: Array
    affine: NDArray[np.float64]
    labels: bool = False
    modality: str | None = None
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or self.array.dtype.kind not in "buif":
            raise DataError(f"an array of {self.array.ndim} axes", "numbers as (z, y, x) or (c, z, y, x)")
        if self.labels and self.array.dtype.kind not in "bui":
            raise DataError("labels that are no whole numbers", "an array of integers")
        if self.channels and len(self.channels) != self.n_channels:
            raise DataError(f"{len(self.channels)} names for {self.n_channels} channels", "one name a channel")
        locked = self.array.view()
        locked.setflags(write=False)
        object.__setattr__(self, "array", locked)
        object.__setattr__(self, "affine", self.grid.affine)
        if self.steps and not self.grid.same_as(self.steps[-1].after):
            raise DataError("an array or affine that the way back does not know", "the grid of the last step")

    @cached_property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        z, y, x = self.array.shape[-3:]
        return Grid((z, y, x), self.affine)

    @property
    def origin(self) -> Grid:
        """The grid that the scan was read on."""
        return self.steps[0].before if self.steps else self.grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def n_channels(self) -> int:
        """How many channels there are; 1 without an axis of channels."""
        return self.array.shape[0] if self.array.ndim == 4 else 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along (z, y, x)."""
        return self.grid.spacing

    @property
    def orientation(self) -> str:
        """Where the voxel axes x, y, z point; see `aimed.core.grid.orientation_of`."""
        return self.grid.orientation

    def channel(self, name: str) -> Volume:
        """Return one channel by name, without an axis of channels.

        Raises
        ------
        DataError
            If there is no such channel.
        """
        if name not in self.channels:
            raise DataError(f"no channel '{name}'", f"one of: {', '.join(self.channels) or 'none is named'}")
        values = self.array[self.channels.index(name)] if self.array.ndim == 4 else self.array
        return replace(self, array=values, channels=(name,))

    def with_array(
        self, array: ArrayLike, *, labels: bool = False, channels: Sequence[str] = (), modality: str | None = None
    ) -> Volume:
        """Return other values on this grid, such as a mask, with the same way back.

        Parameters
        ----------
        array : array, shape (z, y, x) or (c, z, y, x)
        labels : bool
            Whether the values are labels.
        channels : sequence of str
        modality : str, optional

        Raises
        ------
        DataError
            If the shape is another.
        """
        values = np.asarray(array)
        if values.shape[-3:] != self.array.shape[-3:]:
            raise DataError(f"an array of shape {values.shape}", f"{self.array.shape[-3:]} in its last three axes")
        return Volume(
            array=values, affine=self.affine, labels=labels, modality=modality, channels=tuple(channels),
            steps=self.steps,
        )  # fmt: skip

    def after(self, step: Step, how: How | None = None, fill: float = 0.0) -> Volume:
        """Return the volume after a step from its grid.

        Parameters
        ----------
        step : Step
        how : {"nearest", "linear", "cubic", "argmax"}, optional
            Between voxels; linear for images and argmax for labels when absent.
        fill : float
            Outside the grid.

        Raises
        ------
        DataError
            If the step starts from another grid, or labels would be averaged.
        """
        if not self.grid.same_as(step.before):
            raise DataError("a step from another grid", "a step from the grid of the volume")
        values = step.there(self.array, self._how(how), fill)
        return replace(self, array=values, affine=step.after.affine, steps=(*self.steps, step))

    def follow(self, other: Volume, how: How | None = None, fill: float = 0.0) -> Volume:
        """Return the volume after all that was done to another one, as a mask after its scan.

        Parameters
        ----------
        other : Volume
            What was done since the two shared a grid is done here.
        how, fill
            See `after`.

        Raises
        ------
        VolumeRefused
            GRIDS_DIFFER when no grid on the way of the other is that of this volume.
        """
        stops = [step.before for step in other.steps] + [other.grid]
        at = next((k for k, stop in enumerate(stops) if stop.same_as(self.grid)), None)
        if at is None:
            raise VolumeRefused("GRIDS_DIFFER", "the volume never shared a grid with the one to follow")
        found = self
        for step in other.steps[at:]:
            found = found.after(step, how, fill)
        return found

    def _how(self, how: How | None) -> How:
        if how is None:
            return "argmax" if self.labels else "linear"
        if self.labels and how in ("linear", "cubic"):
            raise DataError(f"labels between voxels by '{how}'", "nearest or argmax", "labels are never averaged")
        return how

    def reoriented(self, code: str = "RAS") -> Volume:
        """Return the volume with its axes along an orientation code; voxels only change places."""
        return self.after(Turn.to(self.grid, code))

    def cropped(self, low: Triple, high: Triple) -> Volume:
        """Return the box from voxel `low` up to and without voxel `high`, as (z, y, x).

        Raises
        ------
        DataError
            If the box is empty or leaves the grid.
        """
        if not all(0 <= a < b <= n for a, b, n in zip(low, high, self.grid.shape, strict=True)):
            raise DataError(f"a box from {low} to {high}", f"a box inside {self.grid.shape}")
        z, y, x = (int(b - a) for a, b in zip(low, high, strict=True))
        return self.after(Crop(self.grid, (int(low[0]), int(low[1]), int(low[2])), (z, y, x)))

    def foreground(self, above: float | None = None) -> tuple[Triple, Triple]:
        """Return the smallest box (low, high) that holds all voxels that are not 0, or above a value, in any channel.

        Raises
        ------
        DataError
            If there is no such voxel.
        """
        inside: NDArray[np.bool_] = self.array != 0 if above is None else self.array > above
        if inside.ndim == 4:
            inside = np.any(inside, axis=0)
        flat = np.any(inside, axis=0)
        ends = []
        for axis in (np.any(inside, axis=(1, 2)), np.any(flat, axis=1), np.any(flat, axis=0)):
            at = np.flatnonzero(axis)
            if at.size == 0:
                raise DataError("a volume without foreground", "at least one voxel that is not background")
            ends.append((int(at[0]), int(at[-1]) + 1))
        return (ends[0][0], ends[1][0], ends[2][0]), (ends[0][1], ends[1][1], ends[2][1])

    def cropped_to_foreground(self, margin: int = 0, above: float | None = None) -> Volume:
        """Return the box of the foreground, some voxels wider where the grid allows it; see `foreground`."""
        low, high = self.foreground(above)
        z, y, x = (max(0, a - margin) for a in low)
        top, bottom, right = (min(n, b + margin) for b, n in zip(high, self.grid.shape, strict=True))
        return self.cropped((z, y, x), (top, bottom, right))

    def padded(self, before: Triple, after: Triple, fill: float = 0.0) -> Volume:
        """Return the volume with a border of `before` and `after` voxels along (z, y, x).

        Raises
        ------
        DataError
            If a width is negative.
        """
        if min(*before, *after) < 0:
            raise DataError("a negative border", "0 or more voxels", "use cropped")
        start = (-int(before[0]), -int(before[1]), -int(before[2]))
        z, y, x = (int(n + a + b) for n, a, b in zip(self.grid.shape, before, after, strict=True))
        return self.after(Crop(self.grid, start, (z, y, x)), fill=fill)

    def padded_to(self, shape: Triple, fill: float = 0.0) -> Volume:
        """Return the volume centred in a grid of at least a shape; axes that are longer stay."""
        more = [max(0, int(want) - n) for want, n in zip(shape, self.grid.shape, strict=True)]
        z, y, x = (m // 2 for m in more)
        return self.padded((z, y, x), (more[0] - z, more[1] - y, more[2] - x), fill)

    def resampled(self, spacing: float | tuple[float, float, float], how: How | None = None) -> Volume:
        """Return the volume with another spacing, about the same centre.

        Parameters
        ----------
        spacing : float or (float, float, float)
            Millimetres along (z, y, x).
        how : {"nearest", "linear", "cubic", "argmax"}, optional
            Linear for images and argmax for labels when absent.

        Raises
        ------
        DataError
            If a spacing is not positive, or labels would be averaged.
        """
        z, y, x = (spacing,) * 3 if isinstance(spacing, (int, float)) else spacing
        if not all(np.isfinite(v) and v > 0 for v in (z, y, x)):
            raise DataError("a spacing that is not positive", "millimetres along z, y and x")
        return self.after(Resampling(self.grid, (float(z), float(y), float(x))), how)

    def back_to(self, source: Volume | Grid, how: How | None = None, fill: float = 0.0) -> Volume:
        """Return the values on the grid of the scan they come from.

        Reorientation is undone bit for bit, and so are boxes and borders for all that lay inside; what lay outside a
        box is filled. Resampling is undone by resampling.

        Parameters
        ----------
        source : Volume or Grid
            The scan, as read or at any later step on the way here.
        how : {"nearest", "linear", "cubic", "argmax"}, optional
            Linear for images and argmax for labels when absent.
        fill : float
            For voxels that were cut away.

        Raises
        ------
        VolumeRefused
            GRIDS_DIFFER when the volume does not come from the source.
        """
        grid = source if isinstance(source, Grid) else source.grid
        stops = [step.before for step in self.steps] + [self.grid]
        at = next((k for k, stop in enumerate(stops) if stop.same_as(grid, 1e-6)), None)
        if at is None:
            raise VolumeRefused("GRIDS_DIFFER", "the source is no grid on the way of this volume")
        values = self.array
        for step in reversed(self.steps[at:]):
            values = step.back(values, self._how(how), fill)
        return replace(self, array=values, affine=grid.affine, steps=self.steps[:at])


def stack_channels(volumes: Sequence[Volume], names: Sequence[str] | None = None) -> Volume:
    """Return one volume with a channel for each of several volumes of the same grid.

    Parameters
    ----------
    volumes : sequence of Volume
        Without channels or with one each.
    names : sequence of str, optional
        Of the channels; those of the volumes when absent.

    Returns
    -------
    Volume
        On the grid of the first, with its way back.

    Raises
    ------
    VolumeRefused
        GRIDS_DIFFER when they do not share the grid; nothing is resampled in silence.
    DataError
        If there are none, or one has several channels, or names are missing or not unique.

    Examples
    --------
    >>> one = Volume(array=np.zeros((2, 3, 4)), affine=np.eye(4), channels=("T1w",))
    >>> stack_channels([one, one], ["T1w", "T2w"]).shape
    (2, 2, 3, 4)
    """
    if not volumes or any(v.n_channels != 1 for v in volumes):
        raise DataError("no volumes, or one with several channels", "volumes of one channel each")
    if names is None:
        names = [name for v in volumes for name in v.channels]
    if len(set(names)) != len(volumes):
        raise DataError(f"{len(set(names))} names for {len(volumes)} channels", "one name a channel")
    first = volumes[0]
    for volume, name in zip(volumes, names, strict=True):
        if not volume.grid.same_as(first.grid):
            raise VolumeRefused("GRIDS_DIFFER", f"channel {name} against channel {names[0]}")
    return replace(
        first,
        array=np.stack([v.array.reshape(v.array.shape[-3:]) for v in volumes]),
        channels=tuple(names),
        modality=first.modality if len({v.modality for v in volumes}) == 1 else None,
        notes=tuple(dict.fromkeys(note for v in volumes for note in v.notes)),
    )
