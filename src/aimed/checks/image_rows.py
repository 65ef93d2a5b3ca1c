"""Images in blocks: how checks look at thousands of pictures while they hold a few hundred."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.core.image import Grey, ImageInfo, Placement

__all__ = ["ImageList", "ImageRows", "ImageSet", "Images", "Pictures", "shrink", "shrink_to"]

_BLOCK = 256


class ImageRows(Protocol):
    """Images that are fetched by number, such as a cache on disk."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def rows(self, indices: NDArray[np.int64]) -> Grey:
        """Return some images, shape (m, y, x), uint8 or uint16."""
        ...


class ImageSet(ImageRows, Protocol):
    """Images with what is known of each, some of which can be taken: the pictures of a cohort."""

    @property
    def infos(self) -> Sequence[ImageInfo]:
        """What is known of each image."""
        ...

    def take(self, rows: ArrayLike) -> ImageSet:
        """Return some of the images."""
        ...


class ImageList:
    """Images in memory with what is known of each, in the form of those of a cohort.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x)
    infos : sequence of ImageInfo, length n

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=8, columns=8, bits_stored=8, scaling="as_stored")
    >>> len(ImageList(np.zeros((3, 8, 8), dtype=np.uint8), [info] * 3).take([2, 0]))
    2
    """

    def __init__(self, images: Grey, infos: Sequence[ImageInfo]) -> None:
        if len(images) != len(infos):
            raise DataError(f"{len(infos)} descriptions of {len(images)} images", "one each")
        self._images, self._infos = images, tuple(infos)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def infos(self) -> tuple[ImageInfo, ...]:
        """What is known of each image."""
        return self._infos

    def rows(self, indices: ArrayLike) -> Grey:
        """Return some images, shape (m, y, x)."""
        return np.asarray(self._images[np.asarray(indices, dtype=np.int64)])

    def take(self, rows: ArrayLike) -> ImageList:
        """Return some of the images, given as indices or a mask."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return ImageList(self._images[chosen], [self._infos[i] for i in chosen.tolist()])

    def digest(self) -> str:
        """Return a hash of the pixels and of what is known of them."""
        content = hashlib.sha256(np.ascontiguousarray(self._images).tobytes())
        content.update(repr(self._infos).encode())
        return content.hexdigest()


Images: TypeAlias = Grey | ImageRows


class Pictures:
    """Images of one frame size, cut to where the picture lies in the frame when their sizes are known.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x), or an object with ``rows(indices)`` and a length
        Larger is brighter. A memory-mapped array is read a block at a time.
    infos : sequence of ImageInfo, optional
        What is known of each; with it the black bars of a picture that was fitted into a square are left out.

    Raises
    ------
    DataError
        If the shapes or types do not fit.

    Examples
    --------
    >>> len(Pictures(np.zeros((2, 8, 8), dtype=np.uint8)))
    2
    """

    def __init__(self, images: Images, infos: Sequence[ImageInfo] | None = None) -> None:
        if isinstance(images, np.ndarray):
            if images.ndim != 3:
                raise DataError(
                    f"images of shape {images.shape}", "grey images (n, y, x)", "stack them, one grey level"
                )
            array = images
            self._fetch: Callable[[NDArray[np.int64]], Any] = lambda rows: array[rows]
        else:
            self._fetch = images.rows
        self._n = len(images)
        if infos is not None and len(infos) != self._n:
            raise DataError(f"{len(infos)} descriptions of {self._n} images", "one each")
        self._infos = infos

    def __len__(self) -> int:
        return self._n

    def rows(self, indices: NDArray[np.int64]) -> Grey:
        """Return whole frames, shape (m, y, x)."""
        found: Grey = np.asarray(self._fetch(indices))
        if found.dtype not in (np.uint8, np.uint16) or found.ndim != 3 or not min(found.shape[1:]):
            raise DataError(f"images of type {found.dtype} and shape {found.shape}", "uint8 or uint16, (m, y, x)")
        return found

    def blocks(self, size: int = _BLOCK) -> Iterator[tuple[int, Grey]]:
        """Yield the number of the first image of each block, and the block."""
        for start in range(0, self._n, size):
            yield start, self.rows(np.arange(start, min(start + size, self._n)))

    def cut(self, index: int, frame: Grey) -> Grey:
        """Return the part of a frame that the picture fills."""
        if self._infos is None or frame.shape[0] != frame.shape[1]:
            return frame
        info = self._infos[index]
        at = Placement.fit(info.rows, info.columns, frame.shape[0])
        return frame[at.top : at.top + at.height, at.left : at.left + at.width]


def shrink(frame: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Return the mean grey level in each cell of a grid; pixels on a border count in part.

    Examples
    --------
    >>> shrink(np.array([[0, 2, 4]], dtype=np.uint8), 1, 2).round(3)
    array([[0.667, 3.333]], dtype=float32)
    """
    return shrink_to(frame, (height, width))[0]


def shrink_to(frame: NDArray[Any], *grids: tuple[int, int]) -> list[NDArray[np.float32]]:
    """Return the mean grey level in each cell of several grids, (height, width) each; one pass over the pixels.

    Examples
    --------
    >>> [g.shape for g in shrink_to(np.zeros((9, 9), dtype=np.uint8), (2, 3), (4, 4))]
    [(2, 3), (4, 4)]
    """
    rows = _stacked(tuple(height for height, _ in grids), frame.shape[0]) @ frame.astype(np.float32)
    ends = np.cumsum([height for height, _ in grids])
    return [
        np.asarray(rows[end - height : end] @ _cells(width, frame.shape[1]).T)
        for end, (height, width) in zip(ends, grids, strict=True)
    ]


@lru_cache(maxsize=256)
def _stacked(cells: tuple[int, ...], size: int) -> NDArray[np.float32]:
    return np.concatenate([_cells(k, size) for k in cells])


@lru_cache(maxsize=256)
def _cells(cells: int, size: int) -> NDArray[np.float32]:
    edges, at = np.linspace(0, size, cells + 1), np.arange(size)
    inside = np.minimum(at + 1, edges[1:, None]) - np.maximum(at, edges[:-1, None])
    weight = np.clip(inside, 0, None)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)
