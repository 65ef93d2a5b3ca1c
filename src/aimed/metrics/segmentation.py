"""How much of a mask was found: overlap and volume of a prediction and a reference, and what holds for empty masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.agreement import Overlap, overlap_counts
from aimed.metrics.arrays import FloatArray
from aimed.metrics.result import Estimate
from aimed.metrics.segmentation_masks import Empty, MaskPair, checked_spacing, empty_rule, is_empty, one_case, settle

__all__ = [
    "OVERLAPS",
    "dice",
    "generalised_dice",
    "iou",
    "mask_precision",
    "mask_sensitivity",
    "mask_specificity",
    "overlap_value",
    "relative_volume_difference",
    "soft_dice",
    "volume_difference",
]

OVERLAPS = ("dice", "iou", "mask_sensitivity", "mask_specificity", "mask_precision")
"""Measures that follow from the counts of two masks."""

_NOT_DEFINED = {
    "mask_sensitivity": "the reference mask is empty: nothing could be found",
    "mask_precision": "the predicted mask is empty: nothing was claimed",
    "mask_specificity": "the reference mask fills the image: nothing could be left out",
}


def overlap_value(name: str, counts: Overlap, empty: Empty) -> tuple[float, str]:
    """Return a measure of `OVERLAPS` from counts, by a rule for empty masks, and what to say of it.

    Examples
    --------
    >>> overlap_value("dice", Overlap(tp=1, fp=1, fn=1, tn=0), "omit")
    (0.5, '')
    >>> overlap_value("mask_sensitivity", Overlap(tp=0, fp=1, fn=0, tn=3), "omit")
    (nan, 'the reference mask is empty: nothing could be found')

    Notes
    -----
    Without a voxel to find, or to claim, sensitivity and precision have no value by any rule: a best value where both
    masks are empty, and none where one is, would only ever raise a mean.
    """
    blank = is_empty(counts.tp + counts.fn, counts.tp + counts.fp)
    if blank and name in ("dice", "iou"):
        return settle(blank, empty, 1.0, 0.0)
    value = {
        "dice": counts.dice,
        "iou": counts.jaccard,
        "mask_sensitivity": counts.sensitivity,
        "mask_specificity": counts.tn / (counts.tn + counts.fp) if counts.tn + counts.fp else math.nan,
        "mask_precision": counts.precision,
    }[name]
    return value, _NOT_DEFINED[name] if math.isnan(value) else ""


def _overlap(name: str, reference: ArrayLike, prediction: ArrayLike, empty: Empty) -> Estimate:
    rule = empty_rule(empty)
    counts = overlap_counts(reference, prediction)
    value, note = overlap_value(name, counts, empty)
    return one_case(value, name, counts.n, f"voxels counted; {rule}", note)


def dice(reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded") -> Estimate:
    """Return the Dice similarity of a predicted mask and a reference mask.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}
        What holds where a mask is empty; `method` says it.

    Raises
    ------
    DataError
        If shapes differ, or a mask is not of 0 and 1.

    References
    ----------
    Dice, Ecology 1945;26:297. Maier-Hein et al., Nat Methods 2024;21:195 (empty masks).

    Notes
    -----
    Formula: 2 TP / (2 TP + FP + FN).
    Range: 0 to 1; 1 is right. Both masks empty: 1, or none with "omit"; one empty: 0.
    Assumes: masks on one grid. Small structures score low for errors of one voxel.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(dice([1, 1, 0, 0], [1, 0, 0, 0])), float(dice([0, 0], [0, 1])), float(dice([0, 0], [0, 0], empty="omit"))
    (0.6666666666666666, 0.0, nan)
    """
    return _overlap("dice", reference, prediction, empty)


def iou(reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded") -> Estimate:
    """Return the intersection over union (Jaccard index) of a predicted mask and a reference mask.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `dice`.

    References
    ----------
    Jaccard, New Phytol 1912;11:37. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: TP / (TP + FP + FN) = Dice / (2 - Dice).
    Range: 0 to 1; 1 is right. Empty masks as for `dice`.
    Assumes: masks on one grid. It ranks cases as Dice does.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(iou([1, 1, 0, 0], [1, 0, 0, 0]))
    0.5
    """
    return _overlap("iou", reference, prediction, empty)


def mask_sensitivity(reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded") -> Estimate:
    """Return the share of the reference mask that was found.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `dice`.

    References
    ----------
    Taha and Hanbury, BMC Med Imaging 2015;15:29. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: TP / (TP + FN), of voxels.
    Range: 0 to 1; 1 is right. The reference empty: none by any rule, since nothing could be found.
    Assumes: masks on one grid.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(mask_sensitivity([1, 1, 0, 0], [1, 0, 1, 0]))
    0.5
    """
    return _overlap("mask_sensitivity", reference, prediction, empty)


def mask_specificity(reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded") -> Estimate:
    """Return the share of what is outside the reference mask that was left out.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}
        Specificity is defined for empty masks; it makes no difference.

    Raises
    ------
    DataError
        As for `dice`.

    References
    ----------
    Taha and Hanbury, BMC Med Imaging 2015;15:29. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: TN / (TN + FP), of voxels.
    Range: 0 to 1; 1 is right. None where the reference fills the image.
    Assumes: masks on one grid. It grows with the empty space around a structure: near 1 for any small one.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(mask_specificity([1, 1, 0, 0], [1, 0, 1, 0]))
    0.5
    """
    return _overlap("mask_specificity", reference, prediction, empty)


def mask_precision(reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded") -> Estimate:
    """Return the share of the predicted mask that is in the reference.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `dice`.

    References
    ----------
    Taha and Hanbury, BMC Med Imaging 2015;15:29. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: TP / (TP + FP), of voxels.
    Range: 0 to 1; 1 is right. The predicted mask empty: none by any rule, since nothing was claimed.
    Assumes: masks on one grid.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(mask_precision([1, 1, 0, 0], [1, 0, 1, 1]))
    0.3333333333333333
    """
    return _overlap("mask_precision", reference, prediction, empty)


def _volumes(reference: ArrayLike, prediction: ArrayLike) -> tuple[Overlap, int, int]:
    counts = overlap_counts(reference, prediction)
    return counts, counts.tp + counts.fn, counts.tp + counts.fp


def volume_difference(reference: ArrayLike, prediction: ArrayLike, spacing: ArrayLike) -> Estimate:
    """Return the predicted volume less that of the reference, in ml.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.

    Raises
    ------
    DataError
        If shapes differ or are not those of a volume, a mask is not of 0 and 1, or the spacing is not positive.

    References
    ----------
    Taha and Hanbury, BMC Med Imaging 2015;15:29. Reinke et al., Nat Methods 2024;21:182 (what volumes do not show).

    Notes
    -----
    Formula: (predicted voxels - reference voxels) times the volume of a voxel.
    Range: unbounded; 0 is right, negative is too small. Empty masks have volume 0.
    Assumes: a true spacing. Masks in different places may have equal volumes.
    Refuses: unequal shapes, pictures, more than one label in a mask, a spacing that is not positive.

    Examples
    --------
    >>> float(volume_difference(np.ones((2, 10, 10)), np.zeros((2, 10, 10)), (5.0, 1.0, 1.0)))
    -1.0
    """
    size = np.ndim(reference)
    if size != 3:
        raise DataError(f"masks of {size} axes have no volume", "volumes (z, y, x)")
    counts, true, found = _volumes(reference, prediction)
    voxel = math.prod(checked_spacing(spacing, size)) / 1000
    return one_case((found - true) * voxel, "volume_difference", counts.n, "ml, predicted less reference")


def relative_volume_difference(
    reference: ArrayLike, prediction: ArrayLike, *, empty: Empty = "metrics_reloaded"
) -> Estimate:
    """Return the predicted volume less that of the reference, as a share of the reference.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, any shape
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `dice`.

    References
    ----------
    Taha and Hanbury, BMC Med Imaging 2015;15:29. Reinke et al., Nat Methods 2024;21:182.

    Notes
    -----
    Formula: predicted voxels / reference voxels - 1.
    Range: -1 upwards; 0 is right. Both masks empty: 0, or none with "omit"; only the reference empty: none, since
    there is nothing to divide by.
    Assumes: masks on one grid.
    Refuses: unequal shapes, more than one label in a mask.

    Examples
    --------
    >>> float(relative_volume_difference([1, 1, 0, 0], [1, 1, 1, 0]))
    0.5
    """
    rule = empty_rule(empty)
    counts, true, found = _volumes(reference, prediction)
    value, note = relative_volume(true, found, empty)
    return one_case(value, "relative_volume_difference", counts.n, f"share of the reference; {rule}", note)


def relative_volume(true: int, found: int, empty: Empty) -> tuple[float, str]:
    """Return the relative difference of two volumes in voxels, and what to say of it.

    Examples
    --------
    >>> relative_volume(4, 3, "omit")
    (-0.25, '')
    """
    if true:
        return found / true - 1, ""
    if found:
        return math.nan, "the reference mask is empty: there is nothing to divide by"
    return settle("both", empty, 0.0, math.nan)


def _soft(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    bad = int(np.count_nonzero(~((array >= 0) & (array <= 1))))
    if bad:
        raise DataError(f"{name} has {bad} of {array.size} values outside [0, 1]", "probabilities, one a voxel")
    return array


def soft_dice(
    reference: ArrayLike,
    probability: ArrayLike,
    *,
    squared: bool = True,
    smooth: float = 0.0,
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the Dice similarity of a reference mask and a map of probabilities.

    Parameters
    ----------
    reference : bool or 0/1 array, any shape
    probability : float array of the same shape
        A mask of 0 and 1 gives `dice`.
    squared : bool
        Squares in the denominator (Milletari); without, sums.
    smooth : float
        Added to numerator and denominator, as losses do; 1 in C1W3.
    empty : {"metrics_reloaded", "omit", "brats"}
        For maps that are 0 all over, where `smooth` is 0.

    Raises
    ------
    DataError
        If shapes differ, the reference is not of 0 and 1, or a probability lies outside [0, 1] or is missing.

    References
    ----------
    Milletari, Navab and Ahmadi, 3DV 2016, arXiv:1606.04797 (squares). Drozdzal et al., DLMIA 2016 (sums).

    Notes
    -----
    Formula: (2 sum(r p) + smooth) / (sum(r^2) + sum(p^2) + smooth); sum(r) + sum(p) below without `squared`. The loss
    of networks is 1 less this.
    Range: 0 to 1; 1 is right. Empty masks as for `dice` where `smooth` is 0.
    Assumes: masks on one grid. It rewards probabilities that are near 0 and 1, not ones that are calibrated.
    Refuses: unequal shapes, probabilities outside [0, 1] or missing, a negative `smooth`.

    Examples
    --------
    >>> float(soft_dice([[1, 1], [0, 0]], 0.5 * np.eye(2), smooth=1))
    0.5714285714285714
    """
    rule = empty_rule(empty)
    true, found = _soft("reference", reference), _soft("probability", probability)
    if true.shape != found.shape or true.size == 0:
        raise DataError(f"maps have shapes {true.shape} and {found.shape}", "one shape that is not empty")
    if ((true != 0) & (true != 1)).any():
        raise DataError("reference has values between 0 and 1", "a mask of 0 and 1")
    if not (math.isfinite(smooth) and smooth >= 0):
        raise DataError("smooth is negative or not finite", "0 or more")
    inside, extent = float(true.sum()), float((found * found).sum() if squared else found.sum())
    note = ""
    if smooth == 0 and not (inside and extent):
        value, note = settle(is_empty(int(inside), int(extent > 0)), empty, 1.0, 0.0)
    else:
        value = (2 * float((true * found).sum()) + smooth) / (inside + extent + smooth)
    below = "squares" if squared else "sums"
    return one_case(value, "soft_dice", true.size, f"{below} in the denominator, smooth {smooth:g}; {rule}", note)


def generalised_dice(
    reference: ArrayLike,
    prediction: ArrayLike,
    *,
    labels: Sequence[int] | None = None,
    weights: Literal["square", "simple", "uniform"] = "square",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the generalised Dice similarity of two maps of labels: one number over all labels.

    Parameters
    ----------
    reference, prediction : arrays of whole numbers, shape (z, y, x) or (y, x)
    labels : sequence of int, optional
        Those that count; all but 0 that occur when absent. Others are background.
    weights : {"square", "simple", "uniform"}
        Of a label: 1 / volume^2, 1 / volume, or 1; the volume is that in the reference.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        If shapes differ, or a label is no whole number.

    References
    ----------
    Crum, Camara and Hill, IEEE TMI 2006;25:1451. Sudre et al., DLMIA 2017, arXiv:1707.03237 (square).

    Notes
    -----
    Formula: 2 sum_l w_l TP_l / sum_l w_l (R_l + P_l), R and P the voxels of a label in the reference and the
    prediction. A label that the reference lacks gets the largest weight of the others.
    Range: 0 to 1; 1 is right. No label in either map: 1, or none with "omit"; none in one map: 0.
    Assumes: maps on one grid, one label a voxel. With "square" the smallest structure rules the number.
    Refuses: unequal shapes, labels that are no whole numbers, weights that are not known.

    Examples
    --------
    >>> float(generalised_dice([[1, 1, 2]], [[1, 1, 1]], weights="uniform"))
    0.6666666666666666
    """
    rule = empty_rule(empty)
    power = {"square": 2, "simple": 1, "uniform": 0}.get(weights)
    if power is None:
        raise DataError("weights are not known", "square, simple or uniform")
    if labels is None:
        both = [np.unique(np.asarray(m)) for m in (reference, prediction)]
        labels = [int(v) for v in np.unique(np.concatenate(both)) if v != 0 and v == np.round(v)]
    others = [int(v) for m in (reference, prediction) for v in np.unique(np.asarray(m)) if v == np.round(v)]
    pair = MaskPair.of(reference, prediction, classes={str(v): int(v) for v in labels or [1]}, background=others)
    counts = [pair.overlap(i) for i in range(len(pair.regions.names))]
    true = np.array([c.tp + c.fn for c in counts], dtype=np.float64)
    found = np.array([c.tp + c.fp for c in counts], dtype=np.float64)
    method = f"{weights} weights; {rule}"
    blank = is_empty(int(true.sum()), int(found.sum()))
    if blank:
        value, note = settle(blank, empty, 1.0, 0.0)
        return one_case(value, "generalised_dice", pair.reference.size, method, note)
    w = np.zeros(true.size)
    w[true > 0] = 1 / true[true > 0] ** power
    w[true == 0] = w.max()
    tp = np.array([c.tp for c in counts], dtype=np.float64)
    value = float(2 * (w * tp).sum() / (w * (true + found)).sum())
    return one_case(value, "generalised_dice", pair.reference.size, method)
