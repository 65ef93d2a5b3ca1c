"""From a scan as it was read to what networks see: axes, box, greys and spacing, and the way back for what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import BundleError, DataError, StudyFileError
from aimed.core.grid import Resampling, Turn
from aimed.core.resampling import How
from aimed.core.volume import Volume
from aimed.diagnosis.volume_scaling import VolumeScaling

__all__ = ["VolumePreparation", "was_resampled"]

_SCHEMA = 1
_SAME = 1e-3
"""Relative difference of two spacings below which nothing is resampled."""
_INSIDE = np.float16(2.0**-14)
"""What stands for a grey that is exactly the mean: 0 means that there is nothing."""
_LIMIT = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VolumePreparation:
    """How scans are made alike before a network sees them.

    Parameters
    ----------
    channels : tuple of str
        In the order that networks take; a scan that names its channels is put into it.
    spacing : (float, float, float), optional
        Millimetres along (z, y, x) of the working grid; that of each scan when absent.
    orientation : str
        Where the axes x, y, z point.
    crop : bool
        Cut away what is 0 in all channels around the head. Computed tomography, where 0 is water, is never cut.
    modality : str, optional
        Of "CT" the units are kept, and a network cuts its window out of them. Of anything else, greys have no unit:
        each channel is centred and scaled by the voxels of this scan that are not 0.

    Raises
    ------
    StudyFileError
        If a spacing is not positive, or the orientation names an axis twice.

    Notes
    -----
    Prepared voxels take two bytes. Of scans that are not CT, 0 stays what it was: nothing there.

    Examples
    --------
    >>> scan = np.zeros((1, 8, 8, 8), dtype=np.int16)
    >>> scan[0, 2:6, 2:6, 2:6] = 100 + np.arange(64).reshape(4, 4, 4)
    >>> source = Volume(array=scan, affine=np.diag([-1.0, -1.0, 1.0, 1.0]), channels=("T1w",))
    >>> preparation = VolumePreparation(channels=("T1w",))
    >>> ready = preparation.prepared(source)
    >>> ready.shape, ready.array.dtype, ready.orientation
    ((1, 4, 4, 4), dtype('float16'), 'RAS')
    >>> preparation.back(ready.array[0] != 0, ready).sum()
    np.int64(64)
    """

    channels: tuple[str, ...]
    spacing: tuple[float, float, float] | None = None
    orientation: str = "RAS"
    crop: bool = True
    modality: str | None = None

    def __post_init__(self) -> None:
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise StudyFileError(f"{len(self.channels)} channels, or a name twice", "one name for each channel")
        if self.spacing is not None:
            known = [float(mm) for mm in self.spacing]
            if len(known) != 3 or not all(np.isfinite(mm) and 0 < mm <= 100 for mm in known):
                raise StudyFileError(f"spacing = {list(self.spacing)}", "mm along z, y and x, above 0 and up to 100")
            object.__setattr__(self, "spacing", tuple(known))
        if sorted("LRPAIS".find(letter) // 2 for letter in self.orientation) != [0, 1, 2]:
            raise StudyFileError(f"orientation = {self.orientation!r}", "three letters such as RAS, LPS or PIR")

    @property
    def keeps_units(self) -> bool:
        """Whether greys stay in the units of the scan, as of computed tomography."""
        return self.modality == "CT"

    def prepared(self, scan: Volume) -> Volume:
        """Return a scan as networks take it.

        Parameters
        ----------
        scan : Volume
            As it was read, or turned and cut to its box before, as caches hold it: the voxels are the same to the bit.

        Returns
        -------
        Volume
            float16, shape (c, z, y, x), with the way back to the scan as it was read.

        Raises
        ------
        DataError
            If it has other channels, voxels that are not finite, or a channel that is empty or of one grey.
        """
        work = self._ordered(scan)
        turn = Turn.to(work.grid, self.orientation)
        if turn.axes != (0, 1, 2) or any(turn.flips):
            work = work.after(turn)
        if self.crop and not self.keeps_units:
            low, high = work.foreground()
            if low != (0, 0, 0) or high != work.grid.shape:
                work = work.cropped(low, high)
        step = self._resampling(work)
        grid = work.grid if step is None else step.after
        values = np.empty((work.n_channels, *grid.shape), dtype=np.float16)
        # Channel by channel: whole scans of 32 bits are what memory goes to.
        for place in range(work.n_channels):
            values[place] = self._greys(work.array[place : place + 1], step, place)[0]
        return Volume(
            array=values, affine=grid.affine, modality=scan.modality or self.modality, channels=self.channels,
            notes=scan.notes, steps=work.steps if step is None else (*work.steps, step),
        )  # fmt: skip

    def _ordered(self, scan: Volume) -> Volume:
        """Return the scan with an axis of channels, in the order of these."""
        array = scan.array if scan.array.ndim == 4 else scan.array[None]
        if len(array) != len(self.channels):
            raise DataError(
                f"a scan with {len(array)} channels", f"{len(self.channels)}: {', '.join(self.channels)}",
                "name the channels that the model was trained on",
            )  # fmt: skip
        if scan.labels:
            raise DataError("a mask where a scan belongs", "a scan")
        named = scan.channels
        if named and named != self.channels:
            missing = [name for name in self.channels if name not in named]
            if missing:
                raise DataError(
                    f"a scan without the channels {', '.join(missing)}", f"{', '.join(self.channels)}",
                    "name the channels as in training",
                )  # fmt: skip
            array = array[[named.index(name) for name in self.channels]]
        return dataclasses.replace(scan, array=array, channels=self.channels)

    def _resampling(self, scan: Volume) -> Resampling | None:
        if self.spacing is None or np.allclose(scan.spacing, self.spacing, rtol=_SAME, atol=0.0):
            return None
        return Resampling(scan.grid, self.spacing)

    def _greys(self, channel: Any, step: Resampling | None, place: int) -> NDArray[np.float16]:
        """Return one channel, shape (1, z, y, x), scaled, on the working grid."""
        if self.keeps_units:
            if not np.isfinite(channel).all():
                raise DataError(f"channel {place + 1} has voxels that are NaN or infinite", "finite numbers")
            values = np.asarray(channel, dtype=np.float32)
            if step is not None:
                values = step.there(values, "linear", 0.0)
            return np.clip(values, -_LIMIT, _LIMIT).astype(np.float16)
        scaling = VolumeScaling()
        try:
            numbers = scaling.numbers(channel)
        except DataError as error:
            raise DataError(error.got.replace("channel 1", f"channel {place + 1}"), error.expected, error.do) from None
        inside = np.asarray(channel != 0)
        values = scaling.scaled(channel, numbers)
        if step is not None:
            values, inside = step.there(values, "linear", 0.0), step.there(inside, "nearest", 0.0)
        found = np.clip(values, -_LIMIT, _LIMIT).astype(np.float16)
        found[inside & (found == 0)] = _INSIDE
        found[~inside] = 0.0
        return found

    def mask_on(self, mask: Volume, prepared: Volume) -> NDArray[np.uint8]:
        """Return a mask on the grid of a prepared scan, shape (z, y, x).

        Parameters
        ----------
        mask : Volume
            Labels on the grid of the scan as it was read, or on one on the way from there.
        prepared : Volume
            As `prepared` returned it.

        Raises
        ------
        VolumeRefused
            GRIDS_DIFFER when the mask lies on another grid.
        DataError
            If it holds labels that do not fit a byte.
        """
        if not mask.labels or mask.array.ndim != 3:
            raise DataError("a scan where a mask belongs", "labels, shape (z, y, x)")
        values = mask.array
        if values.dtype not in (np.uint8, np.bool_):
            # -1 and 255 both say that nobody looked.
            if int(values.min()) < -1 or int(values.max()) > 255:
                raise DataError("labels that do not fit a byte", "whole numbers from 0 to 254, -1 if unknown")
            values = np.where(values == -1, 255, values).astype(np.uint8)
        work = dataclasses.replace(mask, array=values.astype(np.uint8, copy=False))
        return np.asarray(work.follow(prepared, "argmax").array, dtype=np.uint8)

    def back(self, values: ArrayLike, prepared: Volume, how: How | None = None, fill: float = 0.0) -> NDArray[Any]:
        """Return values of a prepared scan on the grid of the scan as it was read.

        Parameters
        ----------
        values : array, shape (z, y, x) or (k, z, y, x)
        prepared : Volume
            As `prepared` returned it.
        how : {"nearest", "linear", "cubic", "argmax"}, optional
            Between voxels, where the spacing differs; "linear" for fractions, "nearest" for true and false, and
            "argmax" for whole numbers when absent.
        fill : float
            What is said of voxels that were cut away.

        Returns
        -------
        array, shape (z, y, x) or (k, z, y, x)
            To the bit what it was where no spacing was changed.
        """
        array = np.asarray(values)
        if how is None:
            how = "linear" if array.dtype.kind == "f" else "nearest" if array.dtype.kind == "b" else "argmax"
        found = prepared.with_array(array, labels=array.dtype.kind != "f").back_to(prepared.origin, how, fill)
        return np.asarray(found.array)

    def to_state(self) -> dict[str, Any]:
        """Return the recipe in JSON types."""
        return {
            "schema": _SCHEMA,
            "channels": list(self.channels),
            "spacing": None if self.spacing is None else list(self.spacing),
            "orientation": self.orientation,
            "crop": self.crop,
            "modality": self.modality,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VolumePreparation:
        """Rebuild from `to_state`.

        Raises
        ------
        BundleError
            If scans would be prepared otherwise than in training.
        """
        if state["schema"] != _SCHEMA:
            raise BundleError(
                "the model was trained on scans that another version prepared",
                f"version {_SCHEMA} of the preparation",
                "install the version of aimed that the manifest names, or train again",
            )
        spacing: Sequence[float] | None = state["spacing"]
        return cls(
            channels=tuple(str(name) for name in state["channels"]),
            spacing=None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2])),
            orientation=str(state["orientation"]), crop=bool(state["crop"]),
            modality=None if state["modality"] is None else str(state["modality"]),
        )  # fmt: skip


def was_resampled(prepared: Volume) -> bool:
    """Say whether a volume has another spacing than the scan it comes from, so that the way back is not exact."""
    return any(isinstance(step, Resampling) for step in prepared.steps)
