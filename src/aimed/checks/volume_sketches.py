"""A small picture and a few figures of every scan, taken once for all checks, so that no check holds whole scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.volume import Volume

__all__ = ["QUANTILES", "SIDE", "VolumeList", "VolumeScans", "VolumeSketches", "sketch_volumes"]

SIDE = 12
"""Cells along each axis of a small picture."""
QUANTILES = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)
"""Of the greys of each channel."""

_IN_CELL = 4
_SEEN = 0.15
_FAR = 8.0
_TAILS = (0.001, 0.02, 0.5, 0.98, 0.999)
_CLOSE = 0.995
RELATIONS = 4
"""Figures of each pair of channels: three of how far apart they are, which turn their sign with the order, and how
alike they are."""


class VolumeScans(Protocol):
    """Scans of a cohort, one a row, with what is known of each."""

    def __len__(self) -> int:
        """Return the number of scans."""

    @property
    def records(self) -> Sequence[Any]:
        """What is known of each scan."""

    def scan(self, row: int) -> Volume:
        """Return a scan, turned to RAS and cut to its foreground."""

    def mask(self, row: int) -> NDArray[Any]:
        """Return a mask on the grid of the source."""

    def take(self, rows: ArrayLike) -> VolumeScans:
        """Return some of the scans."""


class VolumeList:
    """Scans in memory with what is known of each, in the form of those of a cohort.

    Parameters
    ----------
    scans : sequence of Volume
        With channels, in RAS.
    masks : sequence of uint8 arrays
    records : sequence of VolumeRecord

    Examples
    --------
    >>> scan = Volume(array=np.ones((1, 2, 2, 2)), affine=np.eye(4))
    >>> len(VolumeList([scan] * 3, [np.ones((2, 2, 2), dtype=np.uint8)] * 3, [None] * 3).take([0, 2]))
    2
    """

    def __init__(self, scans: Sequence[Volume], masks: Sequence[NDArray[Any]], records: Sequence[Any]) -> None:
        self._scans, self._masks, self.records = tuple(scans), tuple(masks), tuple(records)

    def __len__(self) -> int:
        return len(self._scans)

    def scan(self, row: int) -> Volume:
        """Return a scan."""
        return self._scans[row]

    def mask(self, row: int) -> NDArray[Any]:
        """Return a mask."""
        return self._masks[row]

    def take(self, rows: ArrayLike) -> VolumeList:
        """Return some of the scans, given as indices or a mask."""
        chosen = np.arange(len(self))[np.asarray(rows)].tolist()
        return VolumeList(*([part[i] for i in chosen] for part in (self._scans, self._masks, self.records)))

    def digest(self) -> str:
        """Return a hash of what is known of the scans."""
        import hashlib

        return hashlib.sha256(repr(self.records).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSketches:
    """Figures of scans that have the same channels, in which outlines play no part.

    Parameters
    ----------
    channels : tuple of str
        Those that most scans have, in their order; empty where they have no names.
    count : int
        How many they are.
    rows : int array, shape (m,)
        The scans that have them; the others are not looked at.
    small : float array, shape (m, c, 12, 12, 12)
        Mean greys in the cells of the body's box, in standard deviations from the mean of the body; 0 outside of it.
    quantiles : float array, shape (m, c, 7)
        Of the greys in the body, in the same unit.
    relations : float array, shape (m, c, c, 4)
        Of the difference of two channels, each in that unit: whether its tails are longer on one side (0.1 % and 2 %),
        its median, and Fisher's z of the correlation.
    correlation : float array, shape (m, c, c)
    flat : bool array, shape (m, c)
        Channels of one grey in the body.
    top : float array, shape (m, c)
        Share of the body at the brightest grey of a channel.
    """

    channels: tuple[str, ...]
    count: int
    rows: NDArray[np.int64]
    small: NDArray[np.float32]
    quantiles: NDArray[np.float64]
    relations: NDArray[np.float64]
    correlation: NDArray[np.float64]
    flat: NDArray[np.bool_]
    top: NDArray[np.float64]

    def names(self) -> tuple[str, ...]:
        """Return a name for each channel."""
        return self.channels or tuple(f"channel {k + 1}" for k in range(self.count))


def sketch_volumes(volumes: VolumeScans, progress: Callable[[int, int], None] | None = None) -> VolumeSketches:
    """Return the sketches of scans, each of which is read in part.

    Parameters
    ----------
    volumes : VolumeScans
    progress : callable, optional
        Called with scans read and their total.

    Notes
    -----
    Every scan is seen on 48 x 48 x 48 places, evenly over its box. The body are the places where a channel is brighter
    than 15 % of the way from its 0.5 % to its 99.5 % quantile, and not 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scans = [Volume(array=rng.normal(9, 1, (2, 16, 16, 16)), affine=np.eye(4)) for _ in range(3)]
    >>> sketch_volumes(VolumeList(scans, [], [type("R", (), {"channels": ()})()] * 3)).small.shape
    (3, 2, 12, 12, 12)
    """
    records = list(volumes.records)
    kinds = [
        (tuple(sorted(record.channels)), len(record.channels) or volumes.scan(row).n_channels)
        for row, record in enumerate(records)
    ]
    common, count = Counter(kinds).most_common(1)[0][0] if kinds else ((), 0)
    orders = Counter(tuple(record.channels) for record, kind in zip(records, kinds, strict=True) if kind[0] == common)
    channels = orders.most_common(1)[0][0] if orders else ()
    found = []
    for row, (record, kind) in enumerate(zip(records, kinds, strict=True)):
        if kind == (common, count):
            # Channels are told by their names, where they have any.
            names = list(record.channels)
            at = np.asarray([names.index(name) for name in channels] if names else range(count), dtype=np.int64)
            found.append((row, *_sketch(volumes.scan(row).array, at)))
        if progress is not None:
            progress(row + 1, len(volumes))
    rows, *parts = zip(*found, strict=True) if found else ((),) * 7
    pairs, one = (count, count), (count,)
    shapes: list[tuple[int, ...]] = [(count, SIDE, SIDE, SIDE), (count, len(QUANTILES)), (*pairs, RELATIONS), pairs]
    shapes += [one, one]
    stacked = [np.stack(part) if part else np.zeros((0, *shape)) for part, shape in zip(parts, shapes, strict=True)]
    small, quantiles, relations, correlation, flat, top = stacked
    return VolumeSketches(
        channels=channels, count=count, rows=np.asarray(rows, dtype=np.int64),
        small=small.astype(np.float32), quantiles=quantiles, relations=relations, correlation=correlation,
        flat=flat.astype(bool), top=top,
    )  # fmt: skip


def _places(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return a scan at even places, shape (c, 48, 48, 48); of a memory map little more is read."""
    held = array if array.ndim == 4 else array[None]
    n = SIDE * _IN_CELL
    at = [((np.arange(n) + 0.5) * size / n).astype(np.int64) for size in held.shape[1:]]
    return np.stack([channel[np.ix_(*at)] for channel in held]).astype(np.float32)


def _body(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    some = (values != 0).any(axis=0)
    body = np.zeros_like(some)
    for channel in values:
        low, high = np.quantile(channel[some], (0.005, 0.995)) if some.any() else (0.0, 0.0)
        body |= channel - low > _SEEN * (high - low)
    return np.asarray(body & some)


def _sketch(array: NDArray[Any], places: NDArray[np.int64]) -> tuple[Any, ...]:
    values = _places(array)[places]
    body = _body(values)
    c, n = len(values), int(body.sum())
    scaled, flat, top = np.zeros_like(values), np.ones(c, dtype=bool), np.zeros(c)
    for k, channel in enumerate(values):
        greys = channel[body].astype(np.float64)
        if n < 2 or greys.std() == 0:
            continue
        flat[k], top[k] = False, float((greys == greys.max()).mean())
        scaled[k][body] = np.clip((greys - greys.mean()) / greys.std(), -_FAR, _FAR)
    inside = scaled[:, body].astype(np.float64)
    quantiles = np.quantile(inside, QUANTILES, axis=1).T if n else np.zeros((c, len(QUANTILES)))
    correlation, relations = np.eye(c), np.zeros((c, c, RELATIONS))
    for a in range(c):
        for b in range(a):
            if flat[a] or flat[b]:
                continue
            alike = float(np.corrcoef(inside[a], inside[b])[0, 1])
            correlation[a, b] = correlation[b, a] = alike
            apart = inside[a] - inside[b]
            spread = apart.std()
            if spread > 0:
                lowest, low, middle, high, highest = np.quantile((apart - apart.mean()) / spread, _TAILS)
                relations[a, b, :3] = highest + lowest, high + low, middle
                relations[b, a, :3] = -relations[a, b, :3]
            relations[a, b, 3] = relations[b, a, 3] = np.arctanh(np.clip(alike, -_CLOSE, _CLOSE))
    cells = scaled.reshape(c, SIDE, _IN_CELL, SIDE, _IN_CELL, SIDE, _IN_CELL).mean(axis=(2, 4, 6))
    return cells, quantiles, relations, correlation, flat, top
