"""Arrays in JSON types: what fitted models store of their numbers, and read again with nothing taken on trust."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import BundleError

__all__ = ["packed", "unpacked"]

_LARGEST = 1 << 31


def packed(values: NDArray[Any]) -> dict[str, Any]:
    """Return an array in JSON types: its bytes, compressed, as text.

    Examples
    --------
    >>> unpacked(packed(np.array([[1.5, 2.0]])))
    array([[1.5, 2. ]])
    """
    array = np.ascontiguousarray(values)
    plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(zlib.compress(plain.tobytes(), 6)).decode("ascii")
    return {"dtype": plain.dtype.str, "shape": list(array.shape), "zlib": data}


def unpacked(record: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array of `packed`.

    Raises
    ------
    BundleError
        If it is damaged, or larger than it says.
    """
    try:
        kind = np.dtype(str(record["dtype"]))
        shape = tuple(int(size) for size in record["shape"])
        size = math.prod(shape) * kind.itemsize
        if kind.kind not in "fiub" or min(shape, default=0) < 0 or size > _LARGEST:
            raise ValueError
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(record["zlib"], validate=True), size + 1)
        if len(data) != size:
            raise ValueError
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error):
        raise BundleError(
            "an array of the model is damaged", "what to_state wrote", "get the model again from its source"
        ) from None
    return np.frombuffer(data, dtype=kind).reshape(shape).astype(kind.newbyteorder("="), copy=True)
