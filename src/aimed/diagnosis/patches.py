"""Sub-volumes that a network learns from: where they are cut, the same for the same seed, and how they are changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError, StudyFileError
from aimed.diagnosis.segmentation_head import SegmentationHead
from aimed.diagnosis.volume_scaling import ScanNumbers, VolumeScaling

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["PatchRule", "Patches", "label_places", "scans_digest", "sub_volume_corner"]

Triple: TypeAlias = tuple[int, int, int]

_PLACES = 20_000
"""Voxels of a label that are remembered: more would draw nothing that these do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRule:
    """Where sub-volumes are cut.

    Parameters
    ----------
    size : (int, int, int)
        Along (z, y, x).
    how : {"foreground", "background_limit", "random"}
        "foreground" centres `positive` of every ``positive + negative`` sub-volumes on a voxel of a label, drawn first
        among the labels of the scan and then among its voxels, and cuts the others anywhere. "background_limit" cuts
        anywhere, and again while the share of background is at the limit or above.
    positive, negative : float
    background_limit : float
    tries : int
        Of which the one with the least background is taken where none keeps the limit.

    Raises
    ------
    StudyFileError
        If a value is out of its range.
    """

    size: Triple
    how: Literal["foreground", "background_limit", "random"] = "foreground"
    positive: float = 1.0
    negative: float = 1.0
    background_limit: float = 0.95
    tries: int = 1000

    def __post_init__(self) -> None:
        if len(self.size) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in self.size):
            raise StudyFileError(f"size = {self.size!r}", "three whole numbers above 0")
        if self.how not in ("foreground", "background_limit", "random"):
            raise StudyFileError(f"how = {self.how!r}", "one of: foreground, background_limit, random")
        if min(self.positive, self.negative) < 0 or not 0 < self.positive + self.negative < np.inf:
            raise StudyFileError(f"positive : negative = {self.positive!r} : {self.negative!r}", "a ratio")
        if not 0.0 < self.background_limit <= 1.0:
            raise StudyFileError(f"background_limit = {self.background_limit!r}", "a number > 0 and <= 1")
        if not isinstance(self.tries, int | np.integer) or self.tries < 1:
            raise StudyFileError(f"tries = {self.tries!r}", "an integer >= 1")


def _anywhere(shape: Sequence[int], size: Triple, generator: np.random.Generator) -> Triple:
    """Return a corner; along an axis that is shorter than the sub-volume the scan lies in its middle."""
    z, y, x = (
        int(generator.integers(0, n - s + 1)) if n >= s else (n - s) // 2 for n, s in zip(shape, size, strict=True)
    )
    return z, y, x


def sub_volume_corner(
    mask: NDArray[Any], size: Triple, generator: np.random.Generator, background_limit: float = 0.95, tries: int = 1000,
    unknown: int = 255,
) -> tuple[Triple, float]:  # fmt: skip
    """Return a corner whose sub-volume is not nearly all background, and the share of background in it.

    Parameters
    ----------
    mask : array, shape (z, y, x)
        0 is background.
    size : (int, int, int)
    generator : numpy Generator
    background_limit : float
        The share has to be below it.
    tries : int
        When none of them keeps the limit, the one with the least background is returned: its share tells.
    unknown : int
        A label that counts as background.

    Examples
    --------
    >>> mask = np.zeros((8, 8, 8), dtype=np.uint8)
    >>> mask[2:4, 2:4, 2:4] = 1
    >>> corner, share = sub_volume_corner(mask, (4, 4, 4), np.random.default_rng(0), 0.9)
    >>> share < 0.9, round(64 * (1 - share)) == int(mask[tuple(slice(c, c + 4) for c in corner)].sum())
    (True, True)
    """
    best, least = (0, 0, 0), 2.0
    for _ in range(tries):
        corner = _anywhere(mask.shape, size, generator)
        part = mask[tuple(slice(max(c, 0), max(c, 0) + s) for c, s in zip(corner, size, strict=True))]
        share = 1.0 - int(np.count_nonzero((part != 0) & (part != unknown))) / float(np.prod(size))
        if share < least:
            best, least = corner, share
        if share < background_limit:
            break
    return best, least


def label_places(mask: NDArray[np.uint8], most: int = _PLACES) -> dict[int, NDArray[np.int64]]:
    """Return where the voxels of each label are, evenly thinned to a number that draws well.

    Parameters
    ----------
    mask : uint8 array, shape (z, y, x)
    most : int
        Voxels a label.

    Returns
    -------
    dict of int to int array, shape (m,)
        Places in the flattened mask; 0 is left out.

    Examples
    --------
    >>> label_places(np.array([[[0, 2], [2, 1]]], dtype=np.uint8))
    {1: array([3]), 2: array([1, 2])}
    """
    flat = np.asarray(mask).ravel()
    seen = np.flatnonzero(flat)
    values = flat[seen]
    found = {}
    for label in np.flatnonzero(np.bincount(values, minlength=256)).tolist():
        places = seen[values == label]
        if places.size > most:
            places = places[np.linspace(0, places.size - 1, most).astype(np.int64)]
        found[label] = places
    return found


def _cut(array: Any, corner: Sequence[int], size: Sequence[int], fill: float) -> NDArray[Any]:
    """Return a box of the last three axes, with `fill` where it stands out of the array."""
    shape, every = array.shape[-3:], (slice(None),) * (len(array.shape) - 3)
    inside = tuple(slice(max(c, 0), min(c + s, n)) for c, s, n in zip(corner, size, shape, strict=True))
    if all(part.stop - part.start == s for part, s in zip(inside, size, strict=True)):
        return np.asarray(array[every + inside])
    box = np.full((*array.shape[:-3], *size), fill, dtype=array.dtype)
    there = tuple(slice(part.start - c, part.stop - c) for part, c in zip(inside, corner, strict=True))
    if all(part.stop > part.start for part in inside):
        box[every + there] = array[every + inside]
    return box


class Patches:
    """Sub-volumes of scans by rows, for `aimed.fit.torch_training.train`.

    Parameters
    ----------
    scans : sequence of arrays, each of shape (c, z, y, x)
        In memory or mapped; only what is cut is read, once their numbers are known.
    masks : sequence of uint8 arrays, each of shape (z, y, x)
        Labels.
    rule : PatchRule
    head : SegmentationHead
    scaling : VolumeScaling
    numbers : sequence of ScanNumbers, optional
        Of each scan; taken here when absent.
    each : int
        Sub-volumes of a scan in an epoch.
    change : VolumeAugmentation, optional
    seed : int
        A sub-volume depends on this, the epoch and its row alone.
    fixed : bool
        The same sub-volumes in every epoch, as for tuning.

    Notes
    -----
    Scans are not padded beforehand: what stands out of one is 0, and its label unknown.
    """

    def __init__(
        self, scans: Sequence[Any], masks: Sequence[Any], rule: PatchRule, head: SegmentationHead,
        scaling: VolumeScaling, *, numbers: Sequence[ScanNumbers] | None = None, each: int = 1, change: Any = None,
        seed: int = 0, fixed: bool = False,
    ) -> None:  # fmt: skip
        if len(scans) != len(masks) or not len(scans):
            raise DataError(f"{len(scans)} scans and {len(masks)} masks", "as many of both, and one at least")
        for scan, mask in zip(scans, masks, strict=True):
            if len(scan.shape) != 4 or scan.shape[1:] != mask.shape or scan.shape[0] != scans[0].shape[0]:
                raise DataError(
                    f"a scan of shape {tuple(scan.shape)} and a mask of {tuple(mask.shape)}",
                    "scans (c, z, y, x) with the same channels, and masks (z, y, x) on their grid",
                )
        self.scans, self.masks, self.rule, self.head, self.scaling = scans, masks, rule, head, scaling
        self.numbers = [scaling.numbers(scan) for scan in scans] if numbers is None else list(numbers)
        self.each, self.change, self.seed, self.fixed, self.epoch = each, change, seed, fixed, 0
        self.table = head.table()
        self._places: dict[int, dict[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.scans) * self.each

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch."""
        self.epoch = 0 if self.fixed else epoch

    def places(self, case: int) -> dict[int, NDArray[np.int64]]:
        """Return where the labels of a scan are."""
        if case not in self._places:
            found = label_places(self.masks[case])
            found.pop(self.head.unknown, None)
            self._places[case] = found
        return self._places[case]

    def corner(self, case: int, generator: np.random.Generator) -> Triple:
        """Return the corner of a sub-volume by the rule."""
        rule, mask = self.rule, self.masks[case]
        if rule.how == "background_limit":
            return sub_volume_corner(
                mask, rule.size, generator, rule.background_limit, rule.tries, self.head.unknown
            )[0]  # fmt: skip
        chance = generator.random()
        if rule.how == "foreground" and chance * (rule.positive + rule.negative) < rule.positive:
            places = self.places(case)
            if places:
                of_label = places[sorted(places)[int(generator.integers(len(places)))]]
                centre = np.unravel_index(of_label[int(generator.integers(of_label.size))], mask.shape)
                z, y, x = (
                    min(max(int(c) - s // 2, 0), n - s) if n >= s else (n - s) // 2
                    for c, s, n in zip(centre, rule.size, mask.shape, strict=True)
                )
                return z, y, x
        return _anywhere(mask.shape, rule.size, generator)

    def patch(self, row: int) -> tuple[Any, Any]:
        """Return one sub-volume, shape (c, z, y, x), and what is to be said of it, shape (outputs, z, y, x)."""
        case = row % len(self.scans)
        generator = np.random.default_rng((self.seed, self.epoch, row))
        size = self.rule.size
        corner: tuple[int, ...] = self.corner(case, generator)
        matrix = None if self.change is None else self.change.turn(generator)
        wide: tuple[int, ...] = size
        if matrix is not None:
            # As much on both sides, so that the centre stays where it is.
            reach = np.abs(matrix) @ np.asarray(size)
            margin = [max(0, int(np.ceil((r - s) / 2))) for r, s in zip(reach, size, strict=True)]
            wide = tuple(s + 2 * m for s, m in zip(size, margin, strict=True))
            corner = tuple(c - m for c, m in zip(corner, margin, strict=True))
        scan, numbers = self.scans[case], self.numbers[case]
        if self.change is not None:
            # Put into the numbers of the scan, a change of greys costs nothing.
            factor, added = self.change.greys(len(scan), generator)
            numbers = numbers[0] - added * numbers[1] / factor, numbers[1] / factor
        # What stands out of a scan is 0 once it is scaled, whatever 0 means in its unit.
        x = self.scaling.scaled(_cut(scan, corner, wide, 0), numbers)
        if self.scaling.kind == "window":
            _outside(x, corner, scan.shape[1:])
        mask = _cut(self.masks[case], corner, wide, self.head.unknown)
        volume = torch.from_numpy(x)
        if matrix is not None:
            volume, mask = _turned(volume, mask, matrix, wide, size)
        target = torch.from_numpy(np.stack([np.take(told, mask) for told in self.table]))
        if self.change is not None:
            axes = [axis + 1 for axis in self.change.mirrored(generator)]
            if axes:
                volume, target = volume.flip(axes), target.flip(axes)
            volume = self.change.exposed(volume, generator)
        return volume, target

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, Any]:
        volumes, targets = zip(*(self.patch(int(row)) for row in rows), strict=True)
        return torch.stack(volumes), torch.stack(targets)

    @staticmethod
    def collate(batch: Any) -> Any:
        """Return the batch, which is one already."""
        return batch


def _outside(values: NDArray[np.float32], corner: Sequence[int], shape: Sequence[int]) -> None:
    for axis, (start, n, size) in enumerate(zip(corner, shape, values.shape[1:], strict=True), start=1):
        at = np.arange(start, start + size)
        values[(slice(None),) * axis + ((at < 0) | (at >= n),)] = 0.0


def _turned(
    volume: Any, mask: NDArray[np.uint8], matrix: NDArray[np.float64], wide: Sequence[int], size: Sequence[int]
) -> tuple[Any, NDArray[np.uint8]]:
    """Return the middle of a wide box after a turn: greys between voxels, labels of the nearest one."""
    # A grid runs from -1 to 1 along each side, x first.
    rows = matrix * np.asarray(size, dtype=float)[None, :] / np.asarray(wide, dtype=float)[:, None]
    theta = np.zeros((1, 3, 4), dtype=np.float32)
    theta[0, :, :3] = rows[::-1, ::-1]
    grid = functional.affine_grid(torch.from_numpy(theta), [1, 1, *size], align_corners=False)
    moved = functional.grid_sample(volume[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    labels = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    nearest = functional.grid_sample(labels, grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved[0], nearest[0, 0].to(torch.uint8).numpy()


def scans_digest(scans: Sequence[Any], masks: Sequence[Any]) -> str:
    """Return a hash that changes with scans and masks, read some slices at a time.

    Examples
    --------
    >>> scan, mask = np.zeros((1, 2, 2, 2)), np.zeros((2, 2, 2), dtype=np.uint8)
    >>> scans_digest([scan], [mask]) == scans_digest([scan.copy()], [mask]) != scans_digest([scan + 1], [mask])
    True
    """
    content = hashlib.sha256(repr(len(scans)).encode())
    for array in (*scans, *masks):
        content.update(repr((array.shape, str(array.dtype))).encode())
        for part in array:
            content.update(np.ascontiguousarray(part).tobytes())
    return content.hexdigest()
