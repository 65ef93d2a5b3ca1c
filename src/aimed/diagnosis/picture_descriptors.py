"""What pictures look like in few numbers, without any network: what tells whether two parts are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.diagnosis.image_rows import ImageRows

__all__ = ["picture_descriptors"]

_GRID = 12


def picture_descriptors(images: Any, rows: ArrayLike | None = None) -> NDArray[np.float32]:
    """Return a coarse copy of each picture and the spread of its greys, without any network, shape (n, 151).

    Features of a network that was trained on one of the parts know that part by heart; these do not.

    Examples
    --------
    >>> picture_descriptors(np.zeros((3, 40, 30), dtype=np.uint8)).shape
    (3, 151)
    """
    part = ImageRows(images, rows)
    if min(part.shape) < _GRID:
        raise DataError(f"pictures of {part.shape} pixels", f"at least {_GRID} a side")
    at = [np.arange(_GRID) * side // _GRID for side in part.shape]
    area = np.outer(*(np.diff(np.append(a, side)) for a, side in zip(at, part.shape, strict=True)))
    found = []
    for batch in part.batches():
        greys = batch.astype(np.float32) / part.top
        coarse = np.add.reduceat(np.add.reduceat(greys, at[0], axis=1), at[1], axis=2) / area
        levels = np.quantile(greys.reshape(len(greys), -1), (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99), axis=1).T
        found.append(np.concatenate((coarse.reshape(len(greys), -1), levels), axis=1))
    return np.concatenate(found).astype(np.float32)
