"""The scans of a cohort: rows of a volume cache in the cohort's order, each with its mask and its record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.core.volume import VOLUME_REFUSALS, Volume
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_record import VolumeRecord
from aimed.readers.volume_table import VolumeCase

__all__ = ["VolumeSet"]


class VolumeSet:
    """Some rows of a volume cache, one a row of a cohort; none of them refused.

    Parameters
    ----------
    cache : VolumeCache
    cases : sequence of VolumeCase
        Aligned with the cache.
    rows : int array, shape (n,), optional
        Rows of the cache; the usable ones when absent.
    folder : Path, optional
        What paths in the table are relative to.

    Raises
    ------
    DataError
        If a row has no voxels, or cases and cache differ in length.

    Examples
    --------
    >>> import tempfile
    >>> from aimed.readers.nifti import write_nifti
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cases = [VolumeCase((Path(folder) / f"{k}.nii.gz",), channels=("T1w",)) for k in range(3)]
    ...     for k, case in enumerate(cases):
    ...         voxels = np.arange(24).reshape(2, 3, 4).astype(np.int16) + k
    ...         write_nifti(Volume(array=voxels, affine=np.eye(4)), case.images[0])
    ...     scans = VolumeSet(VolumeCache.build(cases, Path(folder) / "cache"), cases)
    ...     int(scans.take([2, 0]).scan(0).array[0, 0, 0, 0])
    2
    """

    def __init__(
        self,
        cache: VolumeCache,
        cases: Sequence[VolumeCase],
        rows: ArrayLike | None = None,
        folder: Path | None = None,
    ) -> None:
        if len(cases) != len(cache):
            raise DataError(f"{len(cases)} cases and a cache of {len(cache)}", "as many of both")
        self.cache, self._cases, self.folder = cache, tuple(cases), folder
        self.index: NDArray[np.int64] = cache.usable if rows is None else np.asarray(rows, dtype=np.int64)
        refused = int((~np.isin(self.index, cache.usable)).sum())
        if refused:
            raise DataError(f"{refused} rows without voxels", "rows that were not refused", "leave them out")

    def __len__(self) -> int:
        return int(self.index.size)

    def take(self, rows: ArrayLike) -> VolumeSet:
        """Return some of the scans, given as indices or a mask; voxels stay on disk."""
        chosen = np.asarray(rows)
        # An empty list would be of floats.
        chosen = chosen if chosen.size else chosen.astype(np.int64)
        return VolumeSet(self.cache, self._cases, self.index[chosen], self.folder)

    def scan(self, row: int) -> Volume:
        """Return a scan; see `aimed.readers.volume_cache.VolumeCache.scan`."""
        return self.cache.scan(int(self.index[row]))

    def mask(self, row: int) -> NDArray[Any]:
        """Return a mask, uint8 of shape (z, y, x), on the grid of the source."""
        return self.cache.mask(int(self.index[row]))

    def mask_volume(self, row: int) -> Volume:
        """Return a mask with its place, on the grid of the source."""
        return self.cache.mask_volume(int(self.index[row]))

    def case(self, row: int) -> VolumeCase:
        """Return where a scan and its mask lie."""
        return self._cases[int(self.index[row])]

    @property
    def cases(self) -> tuple[VolumeCase, ...]:
        """Where each scan and mask lie."""
        return tuple(self._cases[row] for row in self.index.tolist())

    @property
    def records(self) -> list[VolumeRecord]:
        """What is known of each scan."""
        known = self.cache.records
        return [known[row] for row in self.index.tolist()]

    def record(self, row: int) -> VolumeRecord:
        """Return what is known of a scan."""
        return self.cache.records[int(self.index[row])]

    def refusals(self) -> list[dict[str, Any]]:
        """Return row (from 1), file, code and reason of each case of the whole list that was refused.

        Names of files stay with the data: they may name patients.
        """
        told = []
        for one in self.cache.refused:
            why = VOLUME_REFUSALS[one.code][0]
            told.append(
                {
                    "row": one.row + 1,
                    "file": self._cases[one.row].images[0].name,
                    "code": one.code,
                    "reason": f"{why}: {one.detail}" if one.detail else why,
                }
            )
        return told

    def digest(self) -> str:
        """Return a hash of the content of all scans and masks, in order, and of what their channels are."""
        content = hashlib.sha256()
        for one in self.records:
            content.update(f"{one.digest} {one.mask_digest} {one.modality} {list(one.channels)}\n".encode())
        return content.hexdigest()
