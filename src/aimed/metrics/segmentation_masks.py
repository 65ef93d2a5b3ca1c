"""Two masks, or two maps of labels, on one grid: checked, counted in one pass and cut to where something is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.agreement import Overlap
from aimed.metrics.arrays import IntArray
from aimed.metrics.kernels.segmentation import cut_mask, meet_labels
from aimed.metrics.result import Estimate, notes

__all__ = [
    "BRATS_WORST",
    "EMPTY_RULES",
    "Classes",
    "Empty",
    "MaskPair",
    "Regions",
    "checked_spacing",
    "empty_rule",
    "is_empty",
    "one_case",
    "settle",
]

Empty: TypeAlias = Literal["metrics_reloaded", "omit", "brats"]
Classes: TypeAlias = Mapping[str, int | Sequence[int]]
"""Name → label, or the labels whose union is the region."""

EMPTY_RULES: dict[str, str] = {
    "metrics_reloaded": "both masks empty: best value; one empty: worst value, for distances the image diagonal",
    "omit": "both masks empty: no value; one empty: worst value, for distances the image diagonal",
    "brats": "both masks empty: best value; one empty: worst value, for distances 374 mm",
}
"""What a metric is where a mask is empty, by the name of the rule."""

BRATS_WORST = 374.0
"""Distance in mm that the BraTS challenges give where one mask is empty."""

Uint8Array: TypeAlias = NDArray[np.uint8]

_NO_INTERVAL = "no interval: one case"
_MOST_REGIONS = 64


def empty_rule(empty: str) -> str:
    """Return the sentence of a rule for empty masks.

    Raises
    ------
    DataError
        If there is no such rule.

    Examples
    --------
    >>> empty_rule("omit")
    'both masks empty: no value; one empty: worst value, for distances the image diagonal'
    """
    if empty not in EMPTY_RULES:
        raise DataError("empty is not a known rule", " or ".join(EMPTY_RULES))
    return EMPTY_RULES[empty]


def is_empty(reference: int, prediction: int) -> str:
    """Return which of two masks is empty, from their voxels: both, reference, prediction, or nothing.

    Examples
    --------
    >>> is_empty(0, 3), is_empty(2, 3)
    ('reference', '')
    """
    if reference and prediction:
        return ""
    return "prediction" if reference else "reference" if prediction else "both"


def settle(blank: str, empty: str, best: float, worst: float, what: str = "mask") -> tuple[float, str]:
    """Return the value of a metric by the rule for empty masks, and what to say of it.

    Parameters
    ----------
    blank : {"both", "reference", "prediction"}
        As `is_empty` says.
    empty : str
        Name of the rule.
    best, worst : float
    what : str
        What is empty.

    Examples
    --------
    >>> settle("both", "omit", 1.0, 0.0)
    (nan, 'both masks are empty: no value by the rule omit')
    >>> settle("reference", "metrics_reloaded", 1.0, 0.0)
    (0.0, 'the reference mask is empty, the other is not: worst value 0 by the rule metrics_reloaded')
    """
    if blank == "both":
        if empty == "omit":
            return math.nan, f"both {what}s are empty: no value by the rule omit"
        return best, f"both {what}s are empty: best value {best:g} by the rule {empty}"
    return worst, f"the {blank} {what} is empty, the other is not: worst value {worst:g} by the rule {empty}"


def one_case(value: float, name: str, n: int, method: str, note: str = "") -> Estimate:
    """Return a metric of one case: a number without an interval, and by which definition.

    Examples
    --------
    >>> one_case(0.5, "dice", 8, "overlap").note
    'no interval: one case'
    """
    return Estimate(value, name=name, n=n, method=method, note=notes(note, _NO_INTERVAL))


def checked_spacing(spacing: ArrayLike, dimensions: int) -> tuple[float, float, float]:
    """Return the spacing in mm of three axes; that of a picture gets 1 in front.

    Raises
    ------
    DataError
        If there is not one positive finite number an axis.

    Examples
    --------
    >>> checked_spacing((0.5, 0.5), 2)
    (1.0, 0.5, 0.5)
    """
    given = np.asarray(spacing, dtype=np.float64)
    if given.shape != (dimensions,):
        raise DataError(
            f"spacing has shape {given.shape}", f"{dimensions} numbers, mm an axis of the mask, in its order"
        )
    if not (np.isfinite(given).all() and (given > 0).all()):
        raise DataError("spacing holds a number that is not positive and finite", "mm an axis, such as (1, 1, 1)")
    z, y, x = (1.0,) * (3 - dimensions) + tuple(float(v) for v in given)
    return z, y, x


@dataclass(frozen=True, slots=True)
class Regions:
    """Named regions as unions of labels.

    Parameters
    ----------
    names : tuple of str
    labels : tuple of tuple of int

    Examples
    --------
    >>> Regions.of({"whole": (1, 2), "core": 2}).labels
    ((1, 2), (2,))
    """

    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, classes: Classes) -> Regions:
        """Return checked regions.

        Raises
        ------
        DataError
            If there is none, too many, or one without a whole-number label.
        """
        if not isinstance(classes, Mapping) or not 1 <= len(classes) <= _MOST_REGIONS:
            raise DataError(
                "classes is not a mapping of 1 to 64 names to labels", "a mapping such as {'tumour': (1, 2, 3)}"
            )
        labels = []
        for name, given in classes.items():
            several = np.atleast_1d(np.asarray(given))
            if several.dtype.kind not in "iu" or several.ndim != 1 or several.size == 0:
                raise DataError(f"class '{name}' has no whole-number labels", "a label, or several for a region")
            labels.append(tuple(sorted({int(v) for v in several})))
        return cls(tuple(str(name) for name in classes), tuple(labels))


def _whole(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return labels as bool or whole numbers."""
    array = np.asarray(values)
    if array.dtype.kind in "biu":
        return array
    if array.dtype.kind != "f":
        raise DataError(f"{name} holds {array.dtype} values", "labels: whole numbers")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    bad = int(np.count_nonzero(whole != array))
    if bad:
        raise DataError(
            f"{name} has {bad} of {array.size} voxels that are not whole numbers",
            "labels",
            "resample masks with the nearest voxel, and take probabilities at a threshold first",
        )
    return whole


def _as_codes(maps: Sequence[NDArray[Any]]) -> tuple[list[Uint8Array], IntArray]:
    """Return maps of at most 256 labels as bytes, and the label of each byte."""
    if all(m.dtype == bool or m.dtype == np.uint8 for m in maps):
        return [np.ascontiguousarray(m).view(np.uint8) for m in maps], np.arange(256)
    if all(m.dtype == bool or (int(m.min()) >= 0 and int(m.max()) < 256) for m in maps):
        return [np.ascontiguousarray(m, dtype=np.uint8) for m in maps], np.arange(256)
    known = np.unique(np.concatenate([np.unique(m) for m in maps]))
    known = np.concatenate(([0], known[known != 0]))
    if known.size > 256:
        raise DataError(f"the maps hold {known.size} labels", "at most 256")
    order = np.argsort(known)
    return [order[np.searchsorted(known, m, sorter=order)].astype(np.uint8) for m in maps], known.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class MaskPair:
    """A reference and a prediction on one grid, by regions, each counted and its box known.

    Parameters
    ----------
    reference, prediction : uint8 arrays, shape (z, y, x)
    regions : Regions
    members : bool array, shape (regions, 256)
        Codes of a region.
    table : int array, shape (256, 256)
        Voxels by code of the reference and of the prediction.
    boxes : int array, shape (regions, 3, 2)
        First and last + 1 place of the union of both masks along each axis; 0, 0 where both are empty.
    spacing : (float, float, float)
        mm along the axes of the arrays.
    flat : bool
        The maps are pictures: shape (1, y, x).

    Examples
    --------
    >>> pair = MaskPair.of([[0, 1, 1]], [[0, 0, 1]], (2, 2))
    >>> pair.overlap(0).tp, pair.boxes[0].tolist(), pair.millilitres
    (1, [[0, 1], [0, 1], [1, 3]], nan)
    """

    reference: Uint8Array
    prediction: Uint8Array
    regions: Regions
    members: NDArray[np.bool_]
    table: IntArray
    boxes: IntArray
    spacing: tuple[float, float, float]
    flat: bool

    @classmethod
    def of(
        cls,
        reference: ArrayLike,
        prediction: ArrayLike,
        spacing: ArrayLike | None = None,
        classes: Classes | None = None,
        background: int | Sequence[int] = 0,
    ) -> MaskPair:
        """Return two maps, checked and counted.

        Parameters
        ----------
        reference, prediction : arrays of whole numbers, shape (z, y, x) or (y, x)
            Masks of 0 and 1 without `classes`, labels with them.
        spacing : sequence of float, optional
            mm along each axis; 1 when absent, where no distance or volume is asked for.
        classes : mapping, optional
            Name → label or labels; a label may be in several regions.
        background : int or sequence of int
            Labels that may be in no class.

        Raises
        ------
        DataError
            If shapes differ or are not those of a picture or volume, or a label is neither in a class nor background.
        """
        maps = [_whole("reference", reference), _whole("prediction", prediction)]
        shape = maps[0].shape
        if maps[1].shape != shape or maps[0].size == 0 or len(shape) not in (2, 3) or shape[-1] > 32766:
            raise DataError(
                f"masks have shapes {shape} and {maps[1].shape}",
                "two pictures (y, x) or volumes (z, y, x) of one shape that is not empty",
                "bring the prediction to the grid of the reference first",
            )
        regions = Regions(("mask",), ((1,),)) if classes is None else Regions.of(classes)
        (first, second), labels = _as_codes([m[None] if len(shape) == 2 else m for m in maps])
        members = np.array([np.isin(labels, wanted) for wanted in regions.labels])
        bits = (members.astype(np.uint64) << np.arange(members.shape[0], dtype=np.uint64)[:, None]).sum(
            axis=0, dtype=np.uint64
        )
        table = np.zeros((256, 256), dtype=np.int64)
        along = [np.zeros(n, dtype=np.uint64) for n in first.shape]
        passed = meet_labels(first, second, bits, table, *along)
        table[0, 0] += passed
        strange = ~(members.any(axis=0) | np.isin(labels, background))
        for name, voxels in (("reference", table.sum(axis=1)), ("prediction", table.sum(axis=0))):
            bad = int(voxels[: labels.size][strange].sum())
            if bad and classes is None:
                raise DataError(
                    f"{name} has {bad} of {first.size} voxels that are neither 0 nor 1", "a mask of one structure"
                )
            if bad:
                raise DataError(
                    f"{name} has {bad} of {first.size} voxels with a label in no class",
                    "labels of the classes, or of the background",
                    "name the label in a class or in background",
                )
        padded = np.zeros((members.shape[0], 256), dtype=bool)
        padded[:, : labels.size] = members
        boxes = np.zeros((members.shape[0], 3, 2), dtype=np.int64)
        for axis, marks in enumerate(along):
            for region in range(members.shape[0]):
                places = np.flatnonzero((marks >> np.uint64(region)) & np.uint64(1))
                if places.size:
                    boxes[region, axis] = places[0], places[-1] + 1
        size = checked_spacing((1.0,) * len(shape) if spacing is None else spacing, len(shape))
        return cls(first, second, regions, padded, table, boxes, size, len(shape) == 2)

    @property
    def millilitres(self) -> float:
        """Volume of a voxel; NaN for a picture."""
        return math.nan if self.flat else math.prod(self.spacing) / 1000

    @property
    def diagonal(self) -> float:
        """Length of the image from corner to corner, mm."""
        sides = [n * s for n, s in zip(self.reference.shape, self.spacing, strict=True)]
        return math.hypot(*sides[1:] if self.flat else sides)

    def worst_distance(self, empty: str) -> float:
        """Return the distance in mm that stands for a mask that is missing."""
        return BRATS_WORST if empty == "brats" else self.diagonal

    def overlap(self, region: int) -> Overlap:
        """Return the counts of one region."""
        inside = self.members[region]
        tp = int(self.table[np.ix_(inside, inside)].sum())
        fn, fp = int(self.table[inside].sum()) - tp, int(self.table[:, inside].sum()) - tp
        return Overlap(tp=tp, fp=fp, fn=fn, tn=self.reference.size - tp - fp - fn)

    def cut(self, region: int, margin: int = 0) -> tuple[Uint8Array, Uint8Array]:
        """Return both masks of a region in the box of their union, in one more border of zeros.

        Parameters
        ----------
        region : int
        margin : int
            Voxels to add to the box on all sides, where the image has them.
        """
        low = np.maximum(self.boxes[region, :, 0] - margin, 0)
        high = np.minimum(self.boxes[region, :, 1] + margin, self.reference.shape)
        wanted = self.members[region].view(np.uint8)
        out = []
        for labels in (self.reference, self.prediction):
            mask = np.zeros(tuple(high - low + 2), dtype=np.uint8)
            cut_mask(labels, wanted, int(low[0]), int(low[1]), int(low[2]), mask)
            out.append(mask)
        return out[0], out[1]

    def masks(self, region: int, margin: int = 0) -> tuple[Uint8Array, Uint8Array]:
        """Return both masks of a region in the box of their union, without a border."""
        inner = (slice(1, -1),) * 3
        first, second = self.cut(region, margin)
        return np.ascontiguousarray(first[inner]), np.ascontiguousarray(second[inner])
