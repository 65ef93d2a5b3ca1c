"""Values of a regular grid at other positions along its axes: nearest, linear, cubic spline, or the likeliest label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError

__all__ = ["How", "resample"]

How: TypeAlias = Literal["nearest", "linear", "cubic", "argmax"]
"""Between voxels: the nearest one, a line, a cubic spline, or the label with the largest share of a line."""

Array: TypeAlias = NDArray[Any]

_POLE = np.sqrt(3.0) - 2.0


def _slices(axis: int, at: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, at)


def _nearest(values: Array, axis: int, at: NDArray[np.float64]) -> Array:
    # Half goes up; rint would go to the even neighbour.
    return np.take(values, np.floor(at + 0.5).astype(np.intp), axis=axis)


def _linear(values: Array, axis: int, at: NDArray[np.float64]) -> Array:
    low = np.minimum(at.astype(np.intp), max(values.shape[axis] - 2, 0))
    part = (at - low).astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1 - axis))
    found: Array = np.take(values, low, axis=axis)
    if not part.any():
        return found
    above: Array = np.take(values, np.minimum(low + 1, values.shape[axis] - 1), axis=axis)
    above -= found
    above *= part
    found += above
    return found


def _coefficients(values: Array, axis: int) -> Array:
    """Return the coefficients of the cubic spline through values, mirrored at the borders (Unser 1999)."""
    n = values.shape[axis]
    found = values * values.dtype.type((1 - _POLE) * (1 - 1 / _POLE))
    line = [found[_slices(axis, k)] for k in range(n)]  # views
    pole = values.dtype.type(_POLE)
    reach = min(n, 40)  # the pole to the 40th is below 1e-22
    first = line[0] * 1
    for k in range(1, reach):
        first += values.dtype.type(_POLE**k + (_POLE ** (2 * n - 2 - k) if k < n - 1 else 0.0)) * line[k]
    line[0][...] = first / values.dtype.type(1 - _POLE ** (2 * n - 2))
    for k in range(1, n):
        line[k] += pole * line[k - 1]
    line[-1][...] = values.dtype.type(_POLE / (_POLE**2 - 1)) * (line[-1] + pole * line[-2])
    for k in range(n - 2, -1, -1):
        line[k] -= line[k + 1]
        line[k] *= -pole
    return np.asarray(found)


def _cubic(values: Array, axis: int, at: NDArray[np.float64]) -> Array:
    n = values.shape[axis]
    if n == 1:
        return _nearest(values, axis, at)
    curve = _coefficients(values, axis)
    low = np.floor(at).astype(np.intp)
    t = at - low
    weights = ((1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3)
    shape = (-1, *[1] * (values.ndim - 1 - axis))
    found: Array | None = None
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = np.abs(low + shift)
        index = np.clip(np.where(index > n - 1, 2 * (n - 1) - index, index), 0, n - 1)
        part = np.take(curve, index, axis=axis)
        part *= (weight / 6).astype(values.dtype).reshape(shape)
        found = part if found is None else np.add(found, part, out=found)
    assert found is not None  # noqa: S101, four terms
    return found


_ALONG = {"nearest": _nearest, "linear": _linear, "cubic": _cubic}


def _separable(values: Array, positions: Sequence[NDArray[np.float64]], how: str) -> Array:
    """Sample axis after axis, those that shrink most first."""
    first = values.ndim - len(positions)
    shrink = [len(at) / values.shape[first + k] for k, at in enumerate(positions)]
    for k in sorted(range(len(positions)), key=lambda k: shrink[k]):
        n, at = values.shape[first + k], positions[k]
        if len(at) == n and np.array_equal(at, np.arange(n)):
            continue
        values = _ALONG[how](values, first + k, np.clip(at, 0, n - 1))
    return values


def _likeliest(labels: Array, positions: Sequence[NDArray[np.float64]]) -> Array:
    """Return the label whose share of the eight neighbours, weighed as on a line, is largest; on a tie the nearest."""
    known = np.unique(labels)
    found = _separable(labels, positions, "nearest")
    if known.size == 1:
        return found
    best = np.full(found.shape, -1.0, dtype=np.float32)
    nearest = found.copy()
    for label in known:
        share = _separable((labels == label).astype(np.float32), positions, "linear")
        # More than rounding, less than any difference that matters.
        share[nearest == label] += np.float32(1e-5)
        ahead = share > best
        found[ahead] = label
        np.maximum(best, share, out=best)
    return found


def resample(values: Array, positions: Sequence[NDArray[np.float64]], how: How) -> Array:
    """Return values of a grid at the product of positions along its last axes.

    Parameters
    ----------
    values : array, shape (..., n1, n2, n3)
    positions : one array an axis
        Fractional indices; beyond the first and last voxel the border is held.
    how : {"nearest", "linear", "cubic", "argmax"}
        "argmax" is for labels: each label's share on a line, then the label with the largest share.

    Returns
    -------
    array
        "nearest" and "argmax" keep the type; the others give float64 for float64 and integers of 32 bits or more, and
        else float32.

    Notes
    -----
    The axes are independent, so that one axis after the other gives the values of `scipy.ndimage.map_coordinates`
    (order 0, 1 and 3, mode "mirror" inside the grid) at a fraction of its time. The result does not depend on threads.

    Examples
    --------
    >>> resample(np.array([[[0, 10, 20]]], dtype=np.int16), [np.zeros(1), np.zeros(1), np.array([0.5, 1.25])], "linear")
    array([[[ 5. , 12.5]]], dtype=float32)
    """
    if how not in (*_ALONG, "argmax"):
        raise DataError(f"a way '{how}' between voxels", "nearest, linear, cubic or argmax")
    if how == "argmax":
        return _likeliest(values, positions)
    if how in ("linear", "cubic"):
        wide = values.dtype == np.float64 or (values.dtype.kind in "iu" and values.dtype.itemsize >= 4)
        values = values.astype(np.float64 if wide else np.float32, copy=False)
    found = _separable(values, positions, how)
    return found.copy() if found is values else found
