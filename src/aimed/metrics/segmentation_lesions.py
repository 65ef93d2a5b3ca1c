"""Lesion by lesion: which were found, which were made up, how well each was drawn, and the price in false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation, find_objects, generate_binary_structure, label
from scipy.optimize import linear_sum_assignment

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray
from aimed.metrics.draws import PatientDraws, percentile_interval
from aimed.metrics.result import Curve, Described, Estimate, checked_level, few_units
from aimed.metrics.segmentation_boundary import Definition, distances_of
from aimed.metrics.segmentation_masks import BRATS_WORST, Empty, MaskPair, empty_rule, is_empty, one_case, settle

__all__ = [
    "FALSE_POSITIVES",
    "Froc",
    "LesionCounts",
    "LesionScore",
    "PanopticQuality",
    "froc",
    "froc_of_candidates",
    "lesion_candidates",
    "lesion_counts",
    "lesion_dice",
    "lesion_f1",
    "lesion_precision",
    "lesion_sensitivity",
    "panoptic_quality",
]

FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a case at which sensitivities are averaged (LUNA16)."""

_CUBE: NDArray[np.bool_] = generate_binary_structure(3, 3)
_NEAR: NDArray[np.bool_] = generate_binary_structure(3, 2)

Match: TypeAlias = Literal["overlap", "iou"]
Mask: TypeAlias = NDArray[Any]


def _components(mask: Mask, least: int) -> tuple[IntArray, IntArray]:
    """Return the connected components of a mask with at least so many voxels, numbered from 1, and their sizes."""
    parts, count = label(mask, _CUBE)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    keep = sizes >= least
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0)
    return number[parts], sizes[keep]


def _meetings(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return the pairs of components that share voxels, from 0, and how many voxels."""
    both = (first > 0) & (second > 0)
    width = int(second.max(initial=0)) + 1
    pairs, shared = np.unique(first[both].astype(np.int64) * width + second[both], return_counts=True)
    return pairs // width - 1, pairs % width - 1, shared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionCounts:
    """Lesions of a case that were found, missed and made up.

    Parameters
    ----------
    found, missed : int
        Lesions of the reference.
    right, wrong : int
        Predicted lesions that match one of the reference, and those that do not.
    quality : float array
        Intersection over union of each one-to-one pair; empty where lesions match by overlap.
    voxels : int array, shape (found + missed,)
        Of each lesion of the reference.
    hit : bool array, shape (found + missed,)
        Which of them were found.

    Examples
    --------
    >>> found = lesion_counts([[1, 0, 0, 1]], [[1, 0, 0, 0]])
    >>> found.found, found.missed, found.right, found.wrong
    (1, 1, 1, 0)
    """

    found: int
    missed: int
    right: int
    wrong: int
    quality: FloatArray = field(default_factory=lambda: np.empty(0))
    voxels: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    hit: BoolArray = field(default_factory=lambda: np.empty(0, dtype=bool))

    @property
    def reference(self) -> int:
        """Lesions of the reference."""
        return self.found + self.missed

    @property
    def prediction(self) -> int:
        """Predicted lesions."""
        return self.right + self.wrong

    def value(self, name: str, empty: Empty) -> tuple[float, str]:
        """Return lesion_sensitivity, lesion_precision or lesion_f1, and what to say of it."""
        blank = is_empty(self.reference, self.prediction)
        if blank == "both" or (blank and name == "lesion_f1"):
            return settle(blank, empty, 1.0, 0.0, "list of lesions")
        if name == "lesion_sensitivity":
            return (
                (math.nan, "the reference has no lesion") if not self.reference else (self.found / self.reference, "")
            )
        if name == "lesion_precision":
            return (math.nan, "no lesion was predicted") if not self.prediction else (self.right / self.prediction, "")
        return 2 * self.found / (2 * self.found + self.missed + self.wrong), ""


def count_lesions(reference: Mask, prediction: Mask, min_voxels: int, match: Match, iou: float) -> LesionCounts:
    """Return the counts of two masks that were checked."""
    if match not in ("overlap", "iou"):
        raise DataError("match is not known", "overlap or iou")
    if not 0 <= iou < 1:
        raise DataError("iou lies outside [0, 1)", "such as 0.5")
    if min_voxels < 1:
        raise DataError("min_voxels is below 1", "1 or more")
    first, size_first = _components(reference, min_voxels)
    second, size_second = _components(prediction, min_voxels)
    i, j, shared = _meetings(first, second)
    hit = np.zeros(size_first.size, dtype=bool)
    if match == "overlap":
        hit[i] = True
        found, right = np.unique(i).size, np.unique(j).size
        quality = np.empty(0)
    else:
        ratio = shared / (size_first[i] + size_second[j] - shared)
        near = ratio > iou
        shares = np.zeros((size_first.size, size_second.size))
        shares[i[near], j[near]] = ratio[near]
        # As many pairs as can be, and among those the best: a pair weighs 1 and its quality less than all pairs weigh.
        table = np.where(shares > 0, 1 + shares / (1 + min(shares.shape)), 0.0)
        rows, columns = linear_sum_assignment(table, maximize=True)
        taken = table[rows, columns] > 0
        quality = shares[rows[taken], columns[taken]]
        found = right = int(taken.sum())
        hit[rows[taken]] = True
    return LesionCounts(
        found=int(found),
        missed=size_first.size - int(found),
        right=int(right),
        wrong=size_second.size - int(right),
        quality=quality,
        voxels=size_first,
        hit=hit,
    )


def lesion_counts(
    reference: ArrayLike, prediction: ArrayLike, *, min_voxels: int = 1, match: Match = "overlap", iou: float = 0.5
) -> LesionCounts:
    """Return how many lesions were found, missed and made up.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
        Lesions are components connected over faces, edges and corners (26 neighbours; 8 in a picture).
    min_voxels : int
        Smaller components are no lesions, in either mask.
    match : {"overlap", "iou"}
        Any shared voxel, many to many; or one-to-one pairs whose intersection over union exceeds `iou`, as many as
        there can be.
    iou : float

    Raises
    ------
    DataError
        If shapes differ, or a mask is not of 0 and 1.

    Examples
    --------
    >>> lesion_counts([[1, 1, 0, 1]], [[0, 1, 0, 0]], match="iou").found
    0
    """
    pair = MaskPair.of(reference, prediction)
    return count_lesions(*pair.masks(0), min_voxels, match, iou)


def _how(min_voxels: int, match: Match, iou: float, rule: str) -> str:
    pairing = "any shared voxel" if match == "overlap" else f"one-to-one, intersection over union above {iou:g}"
    return f"26-connected lesions of at least {min_voxels} voxels, matched by {pairing}; {rule}"


def _lesions(
    name: str, reference: ArrayLike, prediction: ArrayLike, min_voxels: int, match: Match, iou: float, empty: Empty
) -> Estimate:
    rule = empty_rule(empty)
    counts = lesion_counts(reference, prediction, min_voxels=min_voxels, match=match, iou=iou)
    value, note = counts.value(name, empty)
    n = {"lesion_sensitivity": counts.reference, "lesion_precision": counts.prediction}.get(
        name, counts.reference + counts.wrong
    )
    return one_case(value, name, n, _how(min_voxels, match, iou, rule), note)


def lesion_sensitivity(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    min_voxels: int = 1,
    match: Match = "overlap",
    iou: float = 0.5,
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the share of the lesions of a case that were found.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    min_voxels, match, iou
        As for `lesion_counts`.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `lesion_counts`.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. Commowick et al., Sci Rep 2018;8:13650 (lesion detection).

    Notes
    -----
    Formula: lesions of the reference that match a predicted one / lesions of the reference.
    Range: 0 to 1; 1 is right. No lesion in either mask: 1, or none with "omit"; none in the reference only: none.
    Assumes: lesions that do not touch: those that do are one component.
    Refuses: unequal shapes, more than one label in a mask, a minimum below 1 voxel.

    Examples
    --------
    >>> float(lesion_sensitivity([[1, 0, 1]], [[1, 0, 0]]))
    0.5
    """
    return _lesions("lesion_sensitivity", reference, prediction, min_voxels, match, iou, empty)


def lesion_precision(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    min_voxels: int = 1,
    match: Match = "overlap",
    iou: float = 0.5,
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the share of the predicted lesions of a case that are lesions.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    min_voxels, match, iou
        As for `lesion_counts`.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `lesion_counts`.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. Commowick et al., Sci Rep 2018;8:13650.

    Notes
    -----
    Formula: predicted lesions that match one of the reference / predicted lesions.
    Range: 0 to 1; 1 is right. No lesion in either mask: 1, or none with "omit"; none predicted only: none.
    Assumes: as `lesion_sensitivity`. By overlap, pieces of one lesion each count as right.
    Refuses: unequal shapes, more than one label in a mask, a minimum below 1 voxel.

    Examples
    --------
    >>> float(lesion_precision([[1, 0, 0, 0, 0]], [[1, 0, 1, 0, 1]]))
    0.3333333333333333
    """
    return _lesions("lesion_precision", reference, prediction, min_voxels, match, iou, empty)


def lesion_f1(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    min_voxels: int = 1,
    match: Match = "overlap",
    iou: float = 0.5,
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the F1 score of the detection of the lesions of a case.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    min_voxels, match, iou
        As for `lesion_counts`.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `lesion_counts`.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. Commowick et al., Sci Rep 2018;8:13650.

    Notes
    -----
    Formula: 2 TP / (2 TP + FN + FP): lesions of the reference found and missed, and predicted lesions that match none.
    Range: 0 to 1; 1 is right. No lesion in either mask: 1, or none with "omit"; none in one of them: 0.
    Assumes: as `lesion_sensitivity`.
    Refuses: unequal shapes, more than one label in a mask, a minimum below 1 voxel.

    Examples
    --------
    >>> float(lesion_f1([[1, 0, 1, 0, 0]], [[1, 0, 0, 0, 1]]))
    0.5
    """
    return _lesions("lesion_f1", reference, prediction, min_voxels, match, iou, empty)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanopticQuality(Described):
    """Panoptic quality with its two factors.

    Parameters
    ----------
    estimate : Estimate
        Panoptic quality, or none.
    segmentation, recognition : float
        Mean intersection over union of the pairs; F1 of the pairs. NaN where there is no pair, or no lesion.
    counts : LesionCounts

    Examples
    --------
    >>> found = panoptic_quality([[1, 1, 1, 0, 1]], [[1, 1, 0, 0, 0]])
    >>> round(float(found), 4), round(found.segmentation, 4), round(found.recognition, 4)
    (0.4444, 0.6667, 0.6667)
    """

    estimate: Estimate
    segmentation: float
    recognition: float
    counts: LesionCounts


def panoptic_value(counts: LesionCounts, empty: Empty) -> tuple[float, str]:
    """Return the panoptic quality of lesions matched one to one, and what to say of it."""
    blank = is_empty(counts.reference, counts.prediction)
    if blank:
        return settle(blank, empty, 1.0, 0.0, "list of lesions")
    return float(counts.quality.sum()) / (counts.found + (counts.missed + counts.wrong) / 2), ""


def panoptic_quality(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    min_voxels: int = 1,
    iou: float = 0.5,
    empty: Empty = "metrics_reloaded",
) -> PanopticQuality:
    """Return the panoptic quality of the lesions of a case.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    min_voxels : int
    iou : float
        Pairs exceed it.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `lesion_counts`.

    References
    ----------
    Kirillov et al., CVPR 2019:9404. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: sum of the intersection over union of the pairs / (pairs + half the lesions without a pair), which is mean
    quality times F1. Pairs are one to one; below 0.5 as many as there can be, the best of those.
    Range: 0 to 1; 1 is right. No lesion in either mask: 1, or none with "omit"; none in one of them: 0.
    Assumes: as `lesion_sensitivity`.
    Refuses: unequal shapes, more than one label in a mask, a limit outside [0, 1).

    Examples
    --------
    >>> float(panoptic_quality([[1, 0, 1]], [[1, 0, 1]]))
    1.0
    """
    rule = empty_rule(empty)
    counts = lesion_counts(reference, prediction, min_voxels=min_voxels, match="iou", iou=iou)
    value, note = panoptic_value(counts, empty)
    n = counts.reference + counts.prediction - counts.found
    lesions = counts.found + (counts.missed + counts.wrong) / 2
    return PanopticQuality(
        estimate=one_case(value, "panoptic_quality", n, _how(min_voxels, "iou", iou, rule), note),
        segmentation=float(counts.quality.mean()) if counts.found else math.nan,
        recognition=counts.found / lesions if lesions else math.nan,
        counts=counts,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionScore(Described):
    """Lesion-wise Dice with the distance and counts of the same rule.

    Parameters
    ----------
    estimate : Estimate
        Lesion-wise Dice.
    hd95 : float
        Lesion-wise 95th percentile of the Hausdorff distance, mm.
    found, missed, wrong : int
        Lesions of the reference above the least volume with and without a predicted one near; predicted ones near none.
    dice, distance, volume : float arrays, shape (found + missed,)
        Of each lesion: Dice, distance in mm, volume in mm3.

    Examples
    --------
    >>> found = lesion_dice(np.eye(3), np.eye(3), (1.0, 1.0), min_volume=0)
    >>> float(found), found.hd95, found.wrong
    (1.0, 0.0, 0)
    """

    estimate: Estimate
    hd95: float
    found: int
    missed: int
    wrong: int
    dice: FloatArray
    distance: FloatArray
    volume: FloatArray


def score_lesions(
    pair: MaskPair,
    region: int,
    *,
    dilation: int = 3,
    min_volume: float = 50.0,
    worst: float = BRATS_WORST,
    definition: Definition = "surfel",
    empty: Empty = "brats",
) -> LesionScore:
    """Return the lesion-wise score of one region of two checked maps."""
    rule = empty_rule(empty)
    if dilation < 0 or min_volume < 0 or not worst >= 0:
        raise DataError("dilation, min_volume or worst is negative", "0 or more")
    reference, prediction = pair.masks(region, margin=dilation + 1)
    grown = binary_dilation(reference, _NEAR, iterations=dilation) if dilation else reference.astype(bool)
    # Parts of the reference that meet when they are grown are one lesion.
    together, _ = label(grown, _CUBE)
    lesions = np.where(reference > 0, together, 0)
    parts, sizes = _components(prediction, 1)
    met, places = np.zeros(sizes.size + 1, dtype=bool), find_objects(parts)
    rows: list[tuple[float, float, float, bool]] = []
    voxel = math.prod(pair.spacing)
    for number, box in enumerate(find_objects(together), 1):
        mine = lesions[box] == number
        inside = together[box] == number
        around = np.unique(parts[box][inside])
        around = around[around > 0]
        met[around] = True
        volume = int(mine.sum()) * voxel
        if volume <= min_volume:
            continue
        if around.size == 0:
            rows.append((0.0, worst, volume, False))
            continue
        around_box = _hull([box, *(places[k - 1] for k in around)])
        theirs, whole = np.isin(parts[around_box], around), lesions[around_box] == number
        shared = int(theirs[whole].sum())
        dice = 2 * shared / (int(mine.sum()) + int(sizes[around - 1].sum()))
        rows.append((dice, _percentile_of(whole, theirs, pair, definition), volume, True))
    wrong = int((~met[1:]).sum())
    table = np.array([r[:3] for r in rows], dtype=np.float64).reshape(-1, 3)
    found, lesion_number = sum(r[3] for r in rows), len(rows) + wrong
    note = ""
    if lesion_number:
        value = float(table[:, 0].sum()) / lesion_number
        distance = (float(table[:, 1].sum()) + wrong * worst) / lesion_number
    else:
        value, note = settle("both", empty, 1.0, 0.0, "list of lesions")
        distance = 0.0 if math.isfinite(value) else math.nan
    method = (
        f"BraTS 2023: reference lesions within {2 * dilation} voxels are one, those up to {min_volume:g} mm3 are left "
        f"out, lesions missed or made up have Dice 0 and {worst:g} mm; {rule}"
    )
    return LesionScore(
        estimate=one_case(value, "lesion_dice", lesion_number or pair.reference.size, method, note),
        hd95=distance,
        found=found,
        missed=len(rows) - found,
        wrong=wrong,
        dice=table[:, 0],
        distance=table[:, 1],
        volume=table[:, 2],
    )


def _hull(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the box around boxes."""
    return tuple(slice(min(b.start for b in axis), max(b.stop for b in axis)) for axis in zip(*boxes, strict=True))


def _percentile_of(first: Mask, second: Mask, pair: MaskPair, definition: Definition) -> float:
    """Return the 95th percentile of the distances of two masks that are not empty."""
    places = [np.flatnonzero((first | second).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)
    cut = [np.pad(m[box].astype(np.uint8), 1) for m in (first, second)]
    return distances_of(cut[0], cut[1], pair.spacing, pair.flat, definition).percentile(95)


def lesion_dice(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    *,
    dilation: int = 3,
    min_volume: float = 50.0,
    worst: float = BRATS_WORST,
    definition: Definition = "surfel",
    empty: Empty = "brats",
) -> LesionScore:
    """Return the lesion-wise Dice and Hausdorff distance of the BraTS challenges since 2023.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    dilation : int
        Voxels (18 neighbours) by which lesions of the reference are grown: parts that then meet are one lesion, and
        predicted lesions within count for it. 3 for glioma, 1 for meningioma and metastases.
    min_volume : float
        mm3; lesions of the reference up to it are left out. 50, for metastases 2.
    worst : float
        mm, for a lesion missed or made up.
    definition : {"surfel", "voxel", "pooled"}
        Of the distance; the challenges use "surfel".
    empty : {"brats", "metrics_reloaded", "omit"}
        Where neither mask has a lesion: 1 and 0 mm, or none with "omit".

    Raises
    ------
    DataError
        If shapes differ, a mask is not of 0 and 1, or the spacing is not positive.

    References
    ----------
    BraTS 2023 lesion-wise metrics, synapse.org/Synapse:syn51156910. Saluja et al., MELBA 2025 (BraTS evaluation).

    Notes
    -----
    Formula: sum over the lesions of the reference of the Dice with all predicted lesions near it, divided by those
    lesions plus the predicted ones near none; for the distance `worst` is added for each of the latter.
    Range: 0 to 1; 1 is right. Missed and made-up lesions count 0.
    Assumes: voxels of about 1 mm, for which the growth was chosen. A predicted lesion near two counts for both.
    Refuses: unequal shapes, more than one label in a mask, negative options.

    Examples
    --------
    >>> mask = np.zeros((20, 20)); mask[2:5, 2:5] = 1
    >>> found = lesion_dice(mask, mask + np.roll(mask, 12, axis=0), (1.0, 1.0), min_volume=0)
    >>> float(found), found.hd95, found.wrong
    (0.5, 187.0, 1)
    """
    pair = MaskPair.of(reference, prediction, spacing)
    return score_lesions(
        pair, 0, dilation=dilation, min_volume=min_volume, worst=worst, definition=definition, empty=empty
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Froc(Curve):
    """Sensitivity to lesions at false positives a case, with the mean over the latter.

    Parameters
    ----------
    average : Estimate
        Mean sensitivity over the false positives asked for.
    threshold : float array, shape (k,)
        Probability from which candidates count at each point; infinity where even the best are too many.
    lesions, candidates : int

    Examples
    --------
    >>> masks = np.zeros((4, 1, 1, 5)); masks[:, 0, 0, 1] = 1
    >>> found = froc(masks, 0.9 * masks, false_positives=(0.5, 1.0), draws=20)
    >>> found.value.tolist(), float(found.average), found.lesions
    ([1.0, 1.0], 1.0, 4)
    """

    average: Estimate
    threshold: FloatArray
    lesions: int
    candidates: int


def lesion_candidates(
    reference: ArrayLike, probability: ArrayLike, *, least: float = 0.1, min_voxels: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return what a free-response curve needs of one case, so that no map has to be kept.

    Parameters
    ----------
    reference : bool or 0/1 array, shape (z, y, x) or (y, x)
    probability : float array of that shape
    least, min_voxels
        As for `froc`.

    Returns
    -------
    best : float array, one a lesion
        The highest probability of a candidate on it, -1 without one.
    false : float array
        The probability of each candidate on no lesion.

    Raises
    ------
    DataError
        If shapes differ, or a probability lies outside [0, 1] or is missing.

    Examples
    --------
    >>> [found.tolist() for found in lesion_candidates([[1, 0, 0, 1, 0, 0]], [[0.5, 0, 0, 0, 0, 0.25]])]
    [[0.5, -1.0], [0.25]]
    """
    _check_candidates(least, min_voxels)
    given = np.asarray(probability)
    maps = given if given.dtype in (np.float32, np.float64) else given.astype(np.float64)
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        bad = int(np.count_nonzero(~((maps >= 0) & (maps <= 1))))
        raise DataError(f"probabilities have {bad} of {maps.size} values outside [0, 1]", "probabilities")
    pair = MaskPair.of(reference, maps >= least)
    box = tuple(slice(int(low), int(high)) for low, high in pair.boxes[0])
    values = maps.reshape(pair.reference.shape)[box].astype(np.float64)
    lesions, sizes = _components(pair.reference[box], min_voxels)
    parts, found = _components(values >= least, min_voxels)
    peak = np.zeros(found.size + 1)
    np.maximum.at(peak, parts.ravel(), values.ravel())
    i, j, _ = _meetings(lesions, parts)
    best = np.full(sizes.size, -1.0)
    np.maximum.at(best, i, peak[1:][j])
    return best, np.delete(peak[1:], np.unique(j))


def _check_candidates(least: float, min_voxels: int) -> None:
    if not 0 < least <= 1 or min_voxels < 1:
        raise DataError("least lies outside (0, 1], or min_voxels is below 1", "such as 0.1 and 1")


def froc(
    references: Sequence[ArrayLike] | NDArray[Any],
    probabilities: Sequence[ArrayLike] | NDArray[Any],
    *,
    least: float = 0.1,
    min_voxels: int = 1,
    false_positives: Sequence[float] = FALSE_POSITIVES,
    patient: ArrayLike | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Froc:
    """Return the free-response curve: share of lesions found against false positives a case, from probability maps.

    Parameters
    ----------
    references : sequence of n masks, shape (z, y, x) or (y, x)
    probabilities : sequence of n float arrays of the same shapes
    least : float in (0, 1]
        Candidates are the connected components (26 neighbours) of voxels with at least this probability; each counts
        with its highest.
    min_voxels : int
        Smaller components are neither lesions nor candidates.
    false_positives : sequence of float
        A case, increasing.
    patient : array, shape (n,), optional
        Cases of one patient are drawn together.
    draws : int
    level : float
    seed : int

    Raises
    ------
    DataError
        If there are no cases, shapes differ, or a probability lies outside [0, 1] or is missing.
    NotEstimableError
        If no case has a lesion.

    References
    ----------
    Bunch et al., Proc SPIE 1977;127:124. Setio et al., Med Image Anal 2017;42:1 (LUNA16, mean over seven rates).

    Notes
    -----
    Formula: at each threshold, lesions of all cases that share a voxel with a candidate at least as probable / lesions,
    against candidates that share none with any lesion / cases; the highest sensitivity within the false positives
    asked for. Intervals are percentiles over resamples of cases, or patients.
    Range: 0 to 1.
    Assumes: lesions and candidates that do not touch. Candidates on one lesion count once.
    Refuses: no cases, no lesion, unequal shapes, probabilities outside [0, 1] or missing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> masks = np.zeros((30, 1, 9, 9)); masks[:, :, 2:4, 2:4] = 1
    >>> maps = 0.6 * rng.random(masks.shape) ** 4 + 0.4 * masks
    >>> found = froc(masks, maps, false_positives=(1.0, 2.0), draws=50)
    >>> bool(found.value[1] >= found.value[0] > 0.5)
    True
    """
    _check_candidates(least, min_voxels)
    n = len(references)
    if n == 0 or len(probabilities) != n:
        raise DataError(f"{n} references and {len(probabilities)} probability maps", "one of each a case, at least 1")
    cases = [
        lesion_candidates(mask, values, least=least, min_voxels=min_voxels)
        for mask, values in zip(references, probabilities, strict=True)
    ]
    return froc_of_candidates(
        cases, least=least, false_positives=false_positives, patient=patient, draws=draws, level=level, seed=seed
    )


def froc_of_candidates(
    cases: Sequence[tuple[FloatArray, FloatArray]],
    *,
    least: float = 0.1,
    false_positives: Sequence[float] = FALSE_POSITIVES,
    patient: ArrayLike | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Froc:
    """Return the free-response curve from what `lesion_candidates` keeps of each case; see `froc`.

    Parameters
    ----------
    cases : sequence of n pairs
    least : float
        That of `lesion_candidates`, to be told.
    false_positives, patient, draws, level, seed
        As for `froc`.

    Raises
    ------
    DataError
        If there are no cases, or the false positives do not increase.
    NotEstimableError
        If no case has a lesion.

    Examples
    --------
    >>> one = (np.array([0.9]), np.array([0.3]))
    >>> froc_of_candidates([one, one], false_positives=(0.5,), draws=20).value.tolist()
    [1.0]
    """
    checked_level(level)
    rates = np.asarray(false_positives, dtype=np.float64)
    if rates.ndim != 1 or rates.size == 0 or not ((rates >= 0).all() and (np.diff(rates) > 0).all()):
        raise DataError("false_positives do not increase from 0", "such as (0.5, 1, 2)")
    n = len(cases)
    if n == 0:
        raise DataError("no cases", "at least 1")
    hits, alarms = [best for best, _ in cases], [false for _, false in cases]
    hit_case = [np.full(best.size, case) for case, best in enumerate(hits)]
    alarm_case = [np.full(false.size, case) for case, false in enumerate(alarms)]
    score = np.concatenate([*hits, *alarms])
    where = np.concatenate([*hit_case, *alarm_case]).astype(np.int64)
    lesions = sum(h.size for h in hits)
    if lesions == 0:
        raise NotEstimableError("no case has a lesion", "at least 1 lesion")
    real = np.arange(score.size) < lesions
    order = np.argsort(-score, kind="stable")
    score, where, real = score[order], where[order], real[order]
    last = np.append(score[1:] != score[:-1], True) & (score >= 0)

    def at_rates(weights: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return the sensitivity at each rate for how often each case counts, and where on the list it is."""
        w = weights[where]
        total = float(w[real].sum())
        if total == 0:
            return np.full(rates.size, np.nan), np.zeros(rates.size, dtype=np.int64)
        alarm = np.concatenate([[0.0], (np.cumsum(np.where(real, 0, w)) / weights.sum())[last]])
        hit = np.concatenate([[0.0], (np.cumsum(np.where(real, w, 0)) / total)[last]])
        place = np.searchsorted(alarm, rates * (1 + 1e-12), side="right") - 1
        return hit[place], place

    sampler = PatientDraws(patient, n, draws=draws, seed=seed)
    value, place = at_rates(np.ones(n))
    drawn = np.array([at_rates(w.astype(np.float64))[0] for w in sampler.rows()]).reshape(draws, rates.size)
    means = drawn.mean(axis=1)
    unit = "cases" if sampler.patients == n else "patients with all their cases"
    method = f"percentile bootstrap of {unit}, {draws} resamples; candidates from probability {least:g}"
    facts: dict[str, Any] = {"n": n, "events": lesions, "level": level, "method": method}
    lower, upper = _drawn_limits(drawn, level)
    low, high = _drawn_limits(means[:, None], level)
    note = few_units(sampler.patients) or ("" if np.isfinite(lower).all() else "no interval: the same in all resamples")
    average = Estimate(
        float(value.mean()),
        name="average sensitivity",
        lower=float(low[0]),
        upper=float(high[0]),
        se=_drawn_error(means[:, None])[0],
        note=note,
        **facts,
    )
    return Froc(
        name="froc",
        axis="false positives a case",
        x=rates,
        value=value,
        lower=lower,
        upper=upper,
        se=_drawn_error(drawn),
        note=note,
        average=average,
        threshold=np.concatenate([[np.inf], score[last]])[place],
        lesions=lesions,
        candidates=int((score >= 0).sum()),
        **facts,
    )


def _drawn_limits(drawn: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    if drawn.shape[0] < 2:
        return np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    lower, upper = percentile_interval(drawn, level)
    return np.where(upper > lower, lower, np.nan), np.where(upper > lower, upper, np.nan)


def _drawn_error(drawn: FloatArray) -> FloatArray:
    known = np.isfinite(drawn)
    out = np.full(drawn.shape[1], np.nan)
    for k in range(drawn.shape[1]):
        if known[:, k].sum() > 1 and np.ptp(drawn[known[:, k], k]) > 0:
            out[k] = drawn[known[:, k], k].std(ddof=1)
    return out
