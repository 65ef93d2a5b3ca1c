"""The first step of every scan: its channels centred and scaled by a recipe that is kept, the same in serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, StudyFileError

__all__ = ["ScanNumbers", "VolumeScaling"]

ScanNumbers = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Centre and spread of each channel of one scan, shape (c,)."""

_SLAB = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeScaling:
    """(voxel - centre) / spread, by channel.

    Parameters
    ----------
    kind : {"nonzero", "window"}
        "nonzero" takes mean and standard deviation of the voxels of this scan that are not 0, and leaves those that
        are 0 what they are: outside the head of a scan whose skull was taken off. Magnetic resonance has no unit, so
        that each scan is its own measure. "window" cuts all scans at two values and maps them to -1 and 1, as for CT,
        whose unit means something.
    low, high : float
        Of the window, in units of the scan.

    Raises
    ------
    StudyFileError
        If there is no such kind, or the window is empty.

    Examples
    --------
    >>> scan = np.array([0.0, 0.0, 1.0, 3.0]).reshape(1, 1, 2, 2)
    >>> scaling = VolumeScaling()
    >>> scaling.scaled(scan, scaling.numbers(scan)).ravel().tolist()
    [0.0, 0.0, -1.0, 1.0]
    """

    kind: Literal["nonzero", "window"] = "nonzero"
    low: float = -160.0
    high: float = 240.0

    def __post_init__(self) -> None:
        if self.kind not in ("nonzero", "window"):
            raise StudyFileError(f"kind = {self.kind!r}", "one of: nonzero, window")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise StudyFileError(f"a window from {self.low!r} to {self.high!r}", "low < high")

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VolumeScaling:
        """Rebuild from `to_state`."""
        return cls(kind=state["kind"], low=float(state["low"]), high=float(state["high"]))

    def to_state(self) -> dict[str, Any]:
        """Return the recipe in JSON types."""
        return asdict(self)

    def numbers(self, scan: Any) -> ScanNumbers:
        """Return centre and spread of each channel, read some slices at a time.

        Parameters
        ----------
        scan : array, shape (c, z, y, x)

        Raises
        ------
        DataError
            If voxels are NaN or infinite, or a channel has no spread.
        """
        if self.kind == "window":
            middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
            channels = len(scan)
            for start in range(0, scan.shape[1], _SLAB):
                if not np.isfinite(np.asarray(scan[:, start : start + _SLAB])).all():
                    raise DataError("the scan has voxels that are NaN or infinite", "finite numbers")
            return np.full(channels, middle, dtype=np.float32), np.full(channels, half, dtype=np.float32)
        centre, spread = np.zeros(len(scan)), np.zeros(len(scan))
        for channel in range(len(scan)):
            count, mean, squares = 0, 0.0, 0.0
            for start in range(0, scan.shape[1], _SLAB):
                values = np.asarray(scan[channel, start : start + _SLAB])
                seen = values[values != 0].astype(np.float64)
                if not seen.size:
                    continue
                here = float(seen.mean())
                # Sums of squares of raw values would lose the digits of a spread that is small beside the mean.
                share = seen.size / (count + seen.size)
                # Of voxels that are infinite it is NaN, which is told below.
                with np.errstate(invalid="ignore"):
                    squares += float(((seen - here) ** 2).sum()) + (here - mean) ** 2 * count * share
                mean, count = mean + (here - mean) * share, count + seen.size
            if not np.isfinite(squares):
                raise DataError(f"channel {channel + 1} has voxels that are NaN or infinite", "finite numbers")
            if count == 0 or squares == 0.0:
                raise DataError(
                    f"channel {channel + 1} is {'empty' if count == 0 else 'of one grey'}",
                    "voxels of several greys in every channel",
                    "find out which sequence is missing",
                )
            centre[channel], spread[channel] = mean, np.sqrt(squares / count)
        return centre.astype(np.float32), spread.astype(np.float32)

    def scaled(self, part: Any, numbers: ScanNumbers) -> NDArray[np.float32]:
        """Return some voxels of a scan as networks take them.

        Parameters
        ----------
        part : array, shape (c, z, y, x)
        numbers : ScanNumbers
            Of the whole scan.
        """
        values = np.asarray(part).astype(np.float32)
        empty = values == 0 if self.kind == "nonzero" else None
        if empty is None:
            np.clip(values, self.low, self.high, out=values)
        for channel, centre, spread in zip(values, *numbers, strict=True):
            np.subtract(channel, centre, out=channel)
            np.multiply(channel, np.float32(1.0) / spread, out=channel)
        if empty is not None:
            np.copyto(values, np.float32(0.0), where=empty)
        return values
