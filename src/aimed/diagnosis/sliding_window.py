"""A whole scan through a network that sees a window: overlapping windows, blended, in the memory of one slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, pairwise, product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError, StudyFileError

__all__ = ["Blend", "fitting_window", "foreground_box", "sliding_window", "whole_scan", "window_starts"]

Blend: TypeAlias = Literal["gaussian", "constant"]
Triple: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[slice, slice, slice]
Progress: TypeAlias = Callable[[float, str], None]

_SPREAD = 0.125
"""Standard deviation of the weights as a share of the window, as in nnU-Net and MONAI."""


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along one axis: evenly, from the first voxel to the last.

    Parameters
    ----------
    length, window : int
        Voxels.
    overlap : float
        Share of a window that the next one sees again, at least.

    Examples
    --------
    >>> window_starts(155, 96, 0.5), window_starts(64, 96, 0.5)
    ([0, 30, 59], [0])
    """
    if length <= window:
        return [0]
    step = max(1.0, window * (1.0 - overlap))
    count = int(np.ceil((length - window) / step)) + 1
    return [int(place) for place in np.round(np.linspace(0, length - window, count))]


def _weights(length: int, window: int, starts: Sequence[int], blend: Blend) -> list[NDArray[np.float32]]:
    """Return the weight of each window along one axis; at every voxel they sum to 1."""
    at = np.arange(window) - (window - 1) / 2
    profile = np.ones(window) if blend == "constant" else np.exp(-0.5 * (at / (_SPREAD * window)) ** 2)
    total = np.zeros(max(length, window))
    for start in starts:
        total[start : start + window] += profile
    return [(profile / total[start : start + window]).astype(np.float32) for start in starts]


def foreground_box(scan: Any, margin: int = 0) -> Box:
    """Return the box of the voxels that are not 0 in some channel; all of a scan that is 0 everywhere.

    Parameters
    ----------
    scan : array, shape (c, z, y, x)
    margin : int
        Voxels around it.

    Examples
    --------
    >>> scan = np.zeros((1, 4, 4, 4))
    >>> scan[0, 1, 2, 1:3] = 5
    >>> foreground_box(scan)
    (slice(1, 2, None), slice(2, 3, None), slice(1, 3, None))
    """
    shape = scan.shape[1:]
    seen = [np.zeros(n, dtype=bool) for n in shape]
    for z in range(shape[0]):
        here = (np.asarray(scan[:, z]) != 0).any(0)
        seen[1] |= here.any(1)
        seen[2] |= here.any(0)
        seen[0][z] = here.any()
    if not seen[0].any():
        seen = [np.ones(n, dtype=bool) for n in shape]
    ends = [(int(np.argmax(axis)), axis.size - int(np.argmax(axis[::-1]))) for axis in seen]
    first, second, third = (
        slice(max(a - margin, 0), min(b + margin, n)) for (a, b), n in zip(ends, shape, strict=True)
    )  # fmt: skip
    return first, second, third


def fitting_window(shape: Sequence[int], window: Sequence[int], divisor: Sequence[int]) -> Triple:
    """Return the window, made smaller where the scan is, to sides that the network takes.

    Examples
    --------
    >>> fitting_window((50, 240, 240), (96, 96, 96), (8, 8, 8))
    (56, 96, 96)
    """
    z, y, x = (min(w, -(-n // d) * d) for n, w, d in zip(shape, window, divisor, strict=True))
    return z, y, x


def _mirrored(function: Callable[[Any], Any], axes: Sequence[int]) -> Callable[[Any], Any]:
    """Return the mean of what a function says of a window and of its mirror images."""
    sets = list(chain.from_iterable(combinations([axis + 2 for axis in axes], n) for n in range(len(axes) + 1)))

    def mean(windows: Any) -> Any:
        total = function(windows)
        for several in sets[1:]:
            total = total + _flipped(function(_flipped(windows, several)), several)
        return total / len(sets)

    return mean


def _flipped(values: Any, axes: Sequence[int]) -> Any:
    return np.ascontiguousarray(np.flip(values, tuple(axes))) if isinstance(values, np.ndarray) else values.flip(axes)


def _by_tensors(function: Callable[[Any], Any]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function of tensors as one of arrays."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            error.name or "torch", "predicting with a network", "pip install 'aimed[deep]'"
        ) from None  # fmt: skip

    return lambda windows: np.asarray(function(torch.from_numpy(windows)).float().cpu().numpy())


def sliding_window(
    function: Callable[[Any], Any],
    scan: Any,
    window: Triple,
    *,
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    together: int = 1,
    mirror: Sequence[int] = (),
    prepare: Callable[[Any], NDArray[np.float32]] | None = None,
    progress: Progress | None = None,
    tensors: bool = True,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield what a function says of a scan, some slices at a time.

    Parameters
    ----------
    function : callable
        ``function(windows)`` returns floats (b, k, z, y, x) for float32 (b, c, z, y, x).
    scan : array, shape (c, z, y, x)
        In memory or mapped; read slab by slab. Where it is smaller than the window it stands in the corner of one,
        with zeros around it.
    window : (int, int, int)
    overlap : float
        From 0, below 1.
    blend : {"gaussian", "constant"}
        Weights of the voxels of a window: a network is surest in its middle.
    together : int
        Windows in one call.
    mirror : sequence of int
        Axes of (z, y, x); the mean over all mirror images is taken.
    prepare : callable, optional
        Makes float32 of a slab (c, z, y, x); a conversion of type when absent.
    progress : callable, optional
        ``progress(share, text)``.
    tensors : bool
        Whether the function takes and returns tensors of torch; otherwise arrays, and torch is not needed.

    Yields
    ------
    slices : slice
        Of the first axis; in order, without gaps.
    values : float32 array, shape (k, slices, y, x)

    Notes
    -----
    Weights are a product of weights along the axes that sum to 1, so that nothing has to be divided afterwards and
    memory holds one slab of sums, whatever the length of the scan.

    Examples
    --------
    >>> scan = np.arange(60.0).reshape(1, 5, 4, 3)
    >>> parts = list(sliding_window(lambda x: 2 * x, scan, (2, 2, 2)))
    >>> found = np.concatenate([values for _, values in parts], 1)
    >>> [part.stop for part, _ in parts], np.allclose(found, 2 * scan)
    ([1, 2, 3, 5], True)
    """
    shape = tuple(scan.shape[1:])
    if len(scan.shape) != 4 or 0 in scan.shape:
        raise DataError(f"a scan of shape {tuple(scan.shape)}", "(c, z, y, x), none of them 0")
    if len(window) != 3 or min(window) < 1 or not 0.0 <= overlap < 1.0 or together < 1:
        raise StudyFileError(
            f"window = {window!r}, overlap = {overlap!r}, together = {together!r}",
            "three sizes above 0, a share from 0 and below 1, and an integer >= 1",
        )
    if blend not in ("gaussian", "constant"):
        raise StudyFileError(f"blend = {blend!r}", "one of: gaussian, constant")
    say = _mirrored(function, mirror) if mirror else function
    if tensors:
        say = _by_tensors(say)
    starts = [window_starts(n, w, overlap) for n, w in zip(shape, window, strict=True)]
    weights = [_weights(n, w, s, blend) for n, w, s in zip(shape, window, starts, strict=True)]
    flat = list(product(*(list(zip(s, w, strict=True)) for s, w in zip(starts[1:], weights[1:], strict=True))))
    padded = [max(n, w) for n, w in zip(shape, window, strict=True)]
    held: Any = None
    done, calls = 0, len(starts[0]) * -(-len(flat) // together)
    for number, ((z, ends), along) in enumerate(
        zip(pairwise([*starts[0], shape[0]]), weights[0], strict=True)
    ):  # fmt: skip
        last = number == len(starts[0]) - 1
        slab = _slab(scan, z, window[0], padded, prepare)
        for some in (flat[i : i + together] for i in range(0, len(flat), together)):
            views = [slab[:, :, y : y + window[1], x : x + window[2]] for (y, _), (x, _) in some]
            found = np.asarray(say(np.stack(views)), dtype=np.float32)
            if held is None:
                held = np.zeros((found.shape[1], window[0], *padded[1:]), dtype=np.float32)
            for ((y, over), (x, across)), values in zip(some, found, strict=True):
                weight = np.multiply.outer(np.multiply.outer(along, over), across)
                held[:, :, y : y + window[1], x : x + window[2]] += values * weight
            done += 1
            if progress is not None:
                progress(done / calls, f"window {min(done * together, calls * together)} of about {calls * together}")
        ready = (shape[0] if last else ends) - z
        yield slice(z, z + ready), held[:, :ready, : shape[1], : shape[2]].copy()
        if not last:
            left = held[:, ready:].copy()
            held[:, : left.shape[1]] = left
            held[:, left.shape[1] :] = 0.0


def _slab(scan: Any, start: int, depth: int, padded: Sequence[int], prepare: Any) -> NDArray[np.float32]:
    """Return slices of a scan as float32, with zeros where it ends."""
    part = scan[:, start : start + depth]
    values: NDArray[np.float32] = np.asarray(part, dtype=np.float32) if prepare is None else prepare(part)
    missing = [wanted - n for wanted, n in zip((depth, *padded[1:]), values.shape[1:], strict=True)]
    if any(missing):
        values = np.pad(values, [(0, 0), *((0, n) for n in missing)])
    return values


def whole_scan(function: Callable[[Any], Any], scan: Any, window: Triple, **options: Any) -> NDArray[np.float32]:
    """Return what a function says of a scan, shape (k, z, y, x), as `sliding_window` finds it.

    Examples
    --------
    >>> whole_scan(lambda x: x, np.ones((2, 5, 4, 3)), (2, 2, 2)).shape
    (2, 5, 4, 3)
    """
    found: Any = None
    for part, values in sliding_window(function, scan, window, **options):
        if found is None:
            found = np.empty((values.shape[0], *scan.shape[1:]), dtype=np.float32)
        found[:, part] = values
    return np.asarray(found)
