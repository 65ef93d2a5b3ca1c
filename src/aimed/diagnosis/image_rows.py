"""Pictures that are fetched some rows at a time, so that memory does not depend on how many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError

__all__ = ["ImageRows", "images_digest", "in_batches"]

_TOGETHER = 64


class ImageRows:
    """Some pictures out of an array, a memory map or an image cache, in an order of choice.

    Parameters
    ----------
    images : array-like, shape (n, y, x)
        uint8 or uint16, larger is brighter. Anything with ``rows(indices)`` or with ``images[indices]``, and a length;
        of an image cache that refused some files, ``ImageRows(cache, cache.usable)``.
    rows : int array, shape (m,), optional
        Which pictures; all when absent.

    Raises
    ------
    DataError
        If the pictures are not whole numbers of 8 or 16 bits in two dimensions.

    Examples
    --------
    >>> part = ImageRows(np.zeros((5, 8, 8), dtype=np.uint8), np.array([4, 1]))
    >>> len(part), part.take([0, 1]).shape, part.top
    (2, (2, 8, 8), 255)
    """

    def __init__(self, images: Any, rows: ArrayLike | None = None) -> None:
        self.images = images
        self.index = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
        if not len(self.index):
            raise DataError("no pictures", "at least one")
        first = self.take([0])
        if first.ndim != 3 or first.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"pictures of shape {first.shape[1:]} and type {first.dtype}",
                "grey pictures (y, x) of type uint8 or uint16",
            )
        self.shape = (int(first.shape[1]), int(first.shape[2]))
        self.top = int(np.iinfo(first.dtype).max)
        """The brightest value there can be."""

    def __len__(self) -> int:
        return int(self.index.size)

    def take(self, places: ArrayLike) -> NDArray[Any]:
        """Return the pictures at some places of the order, shape (b, y, x)."""
        wanted = self.index[np.asarray(places, dtype=np.int64)]
        # Files are read forwards: a disk does not like to jump.
        order = np.argsort(wanted, kind="stable")
        found = self.images.rows(wanted[order]) if hasattr(self.images, "rows") else self.images[wanted[order]]
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return np.asarray(found)[back]

    rows = take
    """The same, so that some pictures of some pictures can be taken."""

    @property
    def digests(self) -> tuple[str | None, ...] | None:
        """Hashes of the files, where the pictures come from an image cache."""
        known = getattr(self.images, "digests", None)
        return None if known is None else tuple(known[row] for row in self.index.tolist())

    def batches(self, size: int = _TOGETHER) -> Iterator[NDArray[Any]]:
        """Yield all pictures, some at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def in_batches(n: int, size: int) -> Iterator[slice]:
    """Yield slices that cover n rows.

    Examples
    --------
    >>> [(s.start, s.stop) for s in in_batches(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def images_digest(images: Any, rows: ArrayLike | None = None) -> str:
    """Return a hash that changes with the pictures.

    Those of an image cache are believed; other pictures are read once.

    Examples
    --------
    >>> a = np.zeros((2, 4, 4), dtype=np.uint8)
    >>> images_digest(a) == images_digest(a.copy()), images_digest(a) == images_digest(a + 1)
    (True, False)
    """
    part = ImageRows(images, rows)
    content = hashlib.sha256(repr((len(part), part.shape, part.top)).encode())
    known = part.digests
    if known is not None and None not in known:
        content.update("".join(str(one) for one in known).encode())
    else:
        for batch in part.batches():
            content.update(np.ascontiguousarray(batch).tobytes())
    return content.hexdigest()
