"""The pictures of a cohort: rows of a cache in the cohort's order, with where each file lies and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.core.image import REFUSALS, ImageInfo, Placement
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile

__all__ = ["ImageSet"]


class ImageSet:
    """Some rows of an image cache, one a row of a cohort; none of them refused.

    Parameters
    ----------
    cache : ImageCache
    files : sequence of ImageFile
        Aligned with the cache.
    index : int array, shape (n,), optional
        Rows of the cache; the usable ones when absent.
    folder : Path, optional
        What paths in the table are relative to.

    Raises
    ------
    DataError
        If a row has no pixels, or files and cache differ in length.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = [ImageFile(Path(folder) / f"{k}.png") for k in range(3)]
    ...     for k, file in enumerate(files):
    ...         Image.new("L", (16, 16), 40 * k).save(file.path)
    ...     pictures = ImageSet(ImageCache.build(files, Path(folder) / "cache", size=8), files)
    ...     int(pictures.take([2, 0]).rows([0])[0, 0, 0])
    80
    """

    def __init__(
        self,
        cache: ImageCache,
        files: Sequence[ImageFile],
        index: ArrayLike | None = None,
        folder: Path | None = None,
    ) -> None:
        if len(files) != len(cache):
            raise DataError(f"{len(files)} files and a cache of {len(cache)}", "as many of both")
        self.cache, self._files, self.folder = cache, files, folder
        self.index = cache.usable if index is None else np.asarray(index, dtype=np.int64)
        refused = int((~np.isin(self.index, cache.usable)).sum())
        if refused:
            raise DataError(f"{refused} rows without pixels", "rows that were not refused", "leave them out")

    def __len__(self) -> int:
        return int(self.index.size)

    def refusals(self) -> list[dict[str, Any]]:
        """Return row (from 1), file, code and reason of each file of the whole list that was refused.

        Names of files stay with the data: they may name patients.
        """
        return [
            {
                "row": one.row + 1,
                "file": self._files[one.row].member or self._files[one.row].path.name,
                "code": one.code,
                "reason": REFUSALS[one.code][0],
            }
            for one in self.cache.refused
        ]

    @property
    def size(self) -> int:
        """Side of the frames in pixels."""
        return self.cache.size

    @property
    def bits(self) -> int:
        """Bits of a pixel."""
        return self.cache.bits

    def take(self, rows: ArrayLike) -> ImageSet:
        """Return some of the pictures, given as indices or a mask; pixels stay on disk."""
        return ImageSet(self.cache, self._files, self.index[np.asarray(rows)], self.folder)

    def rows(self, rows: ArrayLike) -> NDArray[Any]:
        """Return the pixels of some rows, shape (b, y, x)."""
        return self.cache.rows(self.index[np.asarray(rows, dtype=np.int64)])

    def info(self, row: int) -> ImageInfo:
        """Return what is known of a picture."""
        return self.cache.info(int(self.index[row]))

    @cached_property
    def infos(self) -> tuple[ImageInfo, ...]:
        """What is known of each picture."""
        return tuple(self.info(row) for row in range(len(self)))

    def placement(self, row: int) -> Placement:
        """Return where a picture lies in its frame."""
        return self.cache.placement(int(self.index[row]))

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """Where each picture lies."""
        return tuple(self._files[row] for row in self.index.tolist())

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file."""
        return tuple(str(self.cache.digests[row]) for row in self.index.tolist())

    def digest(self) -> str:
        """Return a hash of all files, in order, and of how they are framed."""
        content = hashlib.sha256(f"{self.size} {self.bits}".encode())
        for one in self.digests:
            content.update(one.encode())
        return content.hexdigest()
