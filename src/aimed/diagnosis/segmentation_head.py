"""What a network says of every voxel: regions that may overlap, or labels that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from aimed.core import DataError, StudyFileError

__all__ = ["SegmentationHead", "widest_first"]

_MOST = 64


@dataclass(frozen=True, slots=True)
class SegmentationHead:
    """Named regions as unions of labels, and how a network scores them.

    Parameters
    ----------
    names : tuple of str
    labels : tuple of tuple of int
        Labels of each region, 1 to 254; 0 is the background.
    exclusive : bool
        One channel a label and one before them for the background, of which one is true (softmax); otherwise one
        channel a region, each true or not (sigmoid).
    paint : tuple of int
        The label that stands for a region in a map of labels; regions of many labels paint first, and others over them.
    unknown : int
        Label of voxels that nobody looked at. -1 means the same.

    Examples
    --------
    >>> head = SegmentationHead.of_regions({"whole": (1, 2, 3), "core": (2, 3), "enhancing": 3})
    >>> head.outputs, head.paint
    (3, (1, 2, 3))
    >>> head.target(np.array([[0, 2, 255]]))[:, 0].tolist()
    [[0.0, 1.0, nan], [0.0, 1.0, nan], [0.0, 0.0, nan]]
    """

    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    exclusive: bool
    paint: tuple[int, ...]
    unknown: int = 255

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= _MOST or len(set(self.names)) != len(self.names):
            raise StudyFileError(f"{len(self.names)} regions, or a name twice", f"1 to {_MOST} names")
        if not len(self.names) == len(self.labels) == len(self.paint) or not all(self.labels):
            raise StudyFileError("a region without a label", "labels and a label to paint for every region")
        every = [*(label for region in self.labels for label in region), *self.paint]
        if not all(isinstance(label, int) and 0 < label < 255 and label != self.unknown for label in every):
            raise StudyFileError("a label that cannot be one of a region", "whole numbers from 1 to 254")
        if self.exclusive and len({label for region in self.labels for label in region}) != sum(map(len, self.labels)):
            raise StudyFileError("labels that exclude each other share a number", "different numbers, or regions")

    @classmethod
    def of_regions(cls, regions: Mapping[str, int | Sequence[int]], paint: Mapping[str, int] | None = None) -> Any:
        """Return a head for regions that may overlap.

        Parameters
        ----------
        regions : mapping of str to int or ints
            Wide ones first.
        paint : mapping of str to int, optional
            Found when absent: the one label of a region that no later region holds.

        Raises
        ------
        StudyFileError
            If a region does not have one label of its own and none is given.
        """
        labels = _labels(regions)
        if paint is not None:
            return cls(tuple(regions), labels, False, tuple(int(paint[name]) for name in regions))
        own = []
        for place, (name, mine) in enumerate(zip(regions, labels, strict=True)):
            left = set(mine).difference(*labels[place + 1 :])
            if len(left) != 1:
                raise StudyFileError(
                    f"the region '{name}' has {len(left)} labels that no later region holds", "one",
                    "name the wide regions first, or give the label that each one paints",
                )  # fmt: skip
            own.append(left.pop())
        return cls(tuple(regions), labels, False, tuple(own))

    @classmethod
    def of_labels(cls, labels: Mapping[str, int]) -> Any:
        """Return a head for labels that exclude each other; 0 is the background and not named."""
        found = _labels(labels)
        return cls(tuple(labels), found, True, tuple(part[0] for part in found))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SegmentationHead:
        """Rebuild from `to_state`."""
        labels = tuple(tuple(int(label) for label in region) for region in state["labels"])
        names, paint = tuple(str(name) for name in state["names"]), tuple(int(label) for label in state["paint"])
        return cls(names, labels, bool(state["exclusive"]), paint, int(state["unknown"]))

    def to_state(self) -> dict[str, Any]:
        """Return the head in JSON types."""
        return asdict(self) | {
            "names": list(self.names), "labels": [list(region) for region in self.labels], "paint": list(self.paint),
        }  # fmt: skip

    @property
    def outputs(self) -> int:
        """Channels of the network."""
        return len(self.names) + self.exclusive

    def codes(self, mask: Any) -> NDArray[np.uint8]:
        """Return a map of labels as bytes, with `unknown` where it is -1.

        Raises
        ------
        DataError
            If it holds numbers that are no labels.
        """
        values = np.asarray(mask)
        if values.dtype == np.uint8:
            return values
        if values.dtype == bool:
            return values.astype(np.uint8)
        if values.dtype.kind not in "iuf" or not ((values >= -1) & (values <= 255) & (values == values // 1)).all():
            raise DataError("the mask holds values that are no labels", "whole numbers from 0 to 254, -1 if unknown")
        return np.where(values == -1, self.unknown, values).astype(np.uint8)

    def check(self, mask: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return how many voxels have each label, shape (256,).

        Raises
        ------
        DataError
            If a label is neither in a region nor the background nor unknown.
        """
        counts = np.bincount(mask.ravel(), minlength=256)
        told = {0, self.unknown}.union(*map(set, self.labels))
        strange = [label for label in np.flatnonzero(counts).tolist() if label not in told]
        if strange:
            raise DataError(
                f"the mask has labels that no region holds: {', '.join(map(str, strange))}",
                f"labels out of {sorted(told)}",
                "name them, or map them to labels that are named",
            )
        return np.asarray(counts, dtype=np.int64)

    def table(self) -> NDArray[np.float32]:
        """Return what each channel is told of each label, shape (outputs, 256)."""
        table = np.zeros((self.outputs, 256), dtype=np.float32)
        for channel, region in enumerate(self.labels):
            table[channel + self.exclusive, list(region)] = 1.0
        if self.exclusive:
            table[0] = 1.0 - table[1:].sum(0)
        table[:, self.unknown] = np.nan
        return table

    def target(self, mask: Any) -> NDArray[np.float32]:
        """Return what a network should say: 0, 1 or NaN, shape (outputs, ...)."""
        codes = self.codes(mask)
        return np.stack([np.take(row, codes) for row in self.table()])

    def masks(self, mask: Any) -> NDArray[np.bool_]:
        """Return the regions of a map of labels, shape (k, ...)."""
        table = self.table()[int(self.exclusive) :] == 1.0
        codes = self.codes(mask)
        return np.stack([np.take(row, codes) for row in table])

    def chances(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each region, shape (b, k, ...), from the scores of a network, (b, outputs, ...)."""
        if self.exclusive:
            return np.asarray(special.softmax(scores, axis=1)[:, 1:])
        return np.asarray(special.expit(scores))

    def decided(self, chances: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the regions of probabilities, shape (k, ...): one half and above, or the likeliest label.

        Examples
        --------
        >>> head = SegmentationHead.of_labels({"oedema": 1, "core": 2})
        >>> head.decided(np.array([[0.4, 0.2], [0.3, 0.3]])).tolist()
        [[True, False], [False, False]]
        """
        if not self.exclusive:
            return np.asarray(chances >= 0.5)
        likeliest = np.concatenate((1.0 - chances.sum(0, keepdims=True), chances)).argmax(0)
        return np.stack([likeliest == label + 1 for label in range(len(chances))])

    def painted(self, masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the map of labels of regions, shape (...), from masks of shape (k, ...)."""
        found = np.zeros(masks.shape[1:], dtype=np.uint8)
        for region in widest_first(self.labels):
            found[masks[region]] = self.paint[region]
        return found


def widest_first(regions: Sequence[Sequence[int]]) -> list[int]:
    """Return the places of regions with the most labels first; those with as many keep their order.

    Examples
    --------
    >>> widest_first([(3,), (1, 2, 3), (2, 3)])
    [1, 2, 0]
    """
    return sorted(range(len(regions)), key=lambda place: -len(regions[place]))


def _labels(regions: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    if not isinstance(regions, Mapping):
        raise StudyFileError("regions that are not a mapping", "a mapping such as {'whole': (1, 2, 3), 'core': (2, 3)}")
    found = []
    for given in regions.values():
        several = np.atleast_1d(np.asarray(given))
        if several.dtype.kind not in "iu" or several.ndim != 1:
            raise StudyFileError("a label that is no whole number", "whole numbers from 1 to 254")
        found.append(tuple(sorted({int(label) for label in several})))
    return tuple(found)
