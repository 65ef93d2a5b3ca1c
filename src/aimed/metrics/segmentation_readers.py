"""Several readers of one picture: their consensus mask, how good each is against it, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray
from aimed.metrics.result import notes
from aimed.metrics.segmentation import overlap_value
from aimed.metrics.segmentation_boundary import Definition, distances_of
from aimed.metrics.segmentation_masks import Empty, MaskPair, empty_rule, is_empty, settle

__all__ = ["Staple", "consensus", "reader_agreement", "staple"]

_MOST_READERS = 30

Masks: TypeAlias = Sequence[ArrayLike] | NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staple:
    """The consensus of several masks, and what each reader is worth against it.

    Parameters
    ----------
    probability : float array, shape of the masks
        That a voxel belongs to the structure.
    sensitivity, specificity : float arrays, shape (readers,)
        Of each reader against the consensus.
    prior : float
        Share of voxels in the structure before the masks are seen.
    iterations : int
    converged : bool
    note : str

    Examples
    --------
    >>> found = staple([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    >>> found.mask.tolist(), found.converged
    ([True, True, False, False], True)
    """

    probability: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray
    prior: float
    iterations: int
    converged: bool
    note: str = ""

    @property
    def mask(self) -> BoolArray:
        """Voxels with a probability of at least one half."""
        return np.asarray(self.probability >= 0.5)


def _votes(masks: Masks, within: ArrayLike | None) -> tuple[NDArray[np.int64], tuple[int, ...], int, BoolArray | None]:
    """Return each voxel's pattern of votes, one bit a reader, of all voxels or of those within a mask."""
    readers = len(masks)
    if not 2 <= readers <= _MOST_READERS:
        raise DataError(f"{readers} masks", f"2 to {_MOST_READERS} masks of one picture")
    shape = np.shape(masks[0])
    region: BoolArray | None = None
    if within is not None:
        region = np.asarray(within).astype(bool)
        if region.shape != shape or not region.any():
            raise DataError(f"within has shape {region.shape} or is empty", f"a mask of shape {shape}")
    pattern = np.zeros(math.prod(shape), dtype=np.int64)
    for place, given in enumerate(masks):
        mask = np.asarray(given)
        if mask.shape != shape or mask.size == 0:
            raise DataError(f"mask {place + 1} has shape {mask.shape}", f"{shape}, as the first, and not empty")
        bad = 0 if mask.dtype == bool else int(((mask != 0) & (mask != 1)).sum())
        if bad:
            raise DataError(f"mask {place + 1} has {bad} voxels that are neither 0 nor 1", "a mask of one structure")
        pattern |= mask.astype(bool).ravel().astype(np.int64) << place
    return (pattern if region is None else pattern[region.ravel()]), shape, readers, region


def staple(
    masks: Masks,
    *,
    prior: float | None = None,
    within: ArrayLike | None = None,
    tolerance: float = 1e-7,
    max_iter: int = 1000,
) -> Staple:
    """Return the consensus of several readers' masks (STAPLE), and each reader's sensitivity and specificity.

    Parameters
    ----------
    masks : sequence of bool or 0/1 arrays of one shape, one a reader
    prior : float in (0, 1), optional
        Share of voxels in the structure; the mean over readers when absent.
    within : bool array of that shape, optional
        Voxels that count, such as a box around all masks: empty space far away pushes every specificity to 1 and the
        consensus towards the smallest mask.
    tolerance : float
        The iteration stops when no sensitivity or specificity changes by more.
    max_iter : int

    Raises
    ------
    DataError
        If there are fewer than 2 masks, shapes differ, or a mask is not of 0 and 1.
    NotEstimableError
        If all masks are empty, or all are full.

    References
    ----------
    Warfield, Zou and Wells, IEEE TMI 2004;23:903.

    Notes
    -----
    Expectation-maximisation from sensitivities and specificities of 0.99999, on the patterns of votes: voxels on which
    the readers vote alike are one row, so that the time hardly depends on the number of voxels. No spatial prior.
    Readers are taken to err independently of each other; a reader who disagrees with all others may end as the truth.

    Examples
    --------
    >>> found = staple(np.array([[1, 1, 1, 0, 0, 0]] * 3 + [[1, 1, 1, 1, 1, 0]]))
    >>> found.sensitivity.round(3).tolist(), found.specificity.round(3).tolist()
    ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.333])
    """
    votes, shape, readers, region = _votes(masks, within)
    patterns, where, counts = np.unique(votes, return_inverse=True, return_counts=True)
    said = ((patterns[:, None] >> np.arange(readers)) & 1).astype(np.float64)
    weight = counts.astype(np.float64)
    share = float((weight @ said).sum() / (weight.sum() * readers)) if prior is None else float(prior)
    if not 0 < share < 1:
        raise NotEstimableError("all masks are empty or full, or the prior lies outside (0, 1)", "masks with an inside")
    p, q = np.full(readers, 0.99999), np.full(readers, 0.99999)
    tiny = np.finfo(np.float64).tiny
    inside, converged, step = np.empty(patterns.size), False, 0
    for step in range(1, max_iter + 1):  # noqa: B007
        with np.errstate(divide="ignore"):
            a = math.log(share) + said @ np.log(np.maximum(p, tiny)) + (1 - said) @ np.log(np.maximum(1 - p, tiny))
            b = math.log1p(-share) + said @ np.log(np.maximum(1 - q, tiny)) + (1 - said) @ np.log(np.maximum(q, tiny))
        inside = 0.5 * (1 + np.tanh(0.5 * (a - b)))
        yes, no = weight * inside, weight * (1 - inside)
        new_p, new_q = (yes @ said) / max(yes.sum(), tiny), (no @ (1 - said)) / max(no.sum(), tiny)
        change = max(float(np.abs(new_p - p).max()), float(np.abs(new_q - q).max()))
        p, q = new_p, new_q
        if change <= tolerance:
            converged = True
            break
    values = inside[where.ravel()]
    if region is None:
        probability = values.reshape(shape)
    else:
        probability = np.zeros(shape)
        probability[region] = values
    note = notes(
        "" if converged else f"not converged in {max_iter} iterations",
        "a reader is worse than chance against the consensus: look at the masks" if (p + q < 1).any() else "",
    )
    return Staple(
        probability=probability,
        sensitivity=p,
        specificity=q,
        prior=share,
        iterations=step,
        converged=converged,
        note=note,
    )


def consensus(masks: Masks) -> Staple | None:
    """Return the consensus of several masks in the box around them all, on the whole grid.

    Parameters
    ----------
    masks : sequence of bool or 0/1 arrays of one shape, one a reader

    Returns
    -------
    Staple or None
        See `staple`; nothing outside the box belongs to the structure. None where all masks are empty, or all fill
        the box.

    Raises
    ------
    DataError
        As for `staple`.

    Examples
    --------
    >>> a = np.zeros((6, 6)); a[1:4, 1:4] = 1; a[1, 1] = 0
    >>> found = consensus([a, a, np.roll(a, 1, axis=0)])
    >>> bool((found.mask == a).all()), found.probability.shape
    (True, (6, 6))
    >>> consensus([0 * a, 0 * a]) is None
    True
    """
    votes, shape, readers, _ = _votes(masks, None)
    some = (votes != 0).reshape(shape)
    if not some.any():
        return None
    axes = range(some.ndim)
    spans = [np.flatnonzero(some.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    box = tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)
    inside = votes.reshape(shape)[box].ravel()
    if not any((inside >> k & 1).min() == 0 for k in range(readers)):
        return None
    found = staple([np.asarray(mask)[box] for mask in masks])
    probability = np.zeros(shape)
    probability[box] = found.probability
    return replace(found, probability=probability)


def reader_agreement(
    masks: Masks,
    spacing: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    tolerance: float = 1.0,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> dict[str, Any]:
    """Return how far several readers' masks of one case agree, in JSON types.

    Parameters
    ----------
    masks : sequence of bool or 0/1 arrays, shape (z, y, x) or (y, x), one a reader
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    names : sequence of str, optional
        Of the readers; numbers from 1 when absent.
    tolerance : float
        mm, of the normalised surface Dice.
    definition : {"voxel", "pooled", "surfel"}
    empty : {"metrics_reloaded", "omit", "brats"}

    Returns
    -------
    dict
        ``pairs``: Dice, hd95, surface_dice of each pair; ``mean``: their means over pairs that have a value; ``kappa``:
        Fleiss' kappa of the voxels of the image, without an interval since voxels are not independent; ``readers``:
        sensitivity and specificity against the STAPLE consensus in the box around all masks, and volume.

    Raises
    ------
    DataError
        As for `staple`.

    References
    ----------
    Warfield, Zou and Wells, IEEE TMI 2004;23:903. Fleiss, Psychol Bull 1971;76:378.

    Examples
    --------
    >>> a = np.zeros((6, 6)); a[1:4, 1:4] = 1
    >>> found = reader_agreement([a, a, np.roll(a, 1, axis=0)], (1.0, 1.0))
    >>> [round(p["dice"], 3) for p in found["pairs"]], round(found["kappa"], 3)
    ([1.0, 0.667, 0.667], 0.704)
    """
    rule = empty_rule(empty)
    votes, _, readers, _ = _votes(masks, None)
    labels = [str(k + 1) for k in range(readers)] if names is None else [str(name) for name in names]
    if len(labels) != readers:
        raise DataError(f"{len(labels)} names", f"{readers}, one a mask")
    pairs = []
    for i, j in combinations(range(readers), 2):
        pair = MaskPair.of(masks[i], masks[j], spacing)
        counts = pair.overlap(0)
        blank = is_empty(counts.tp + counts.fn, counts.tp + counts.fp)
        if blank:
            far = settle(blank, empty, 0.0, pair.worst_distance(empty))[0]
            near = settle(blank, empty, 1.0, 0.0)[0]
        else:
            distances = distances_of(*pair.cut(0), pair.spacing, pair.flat, definition)
            far, near = distances.percentile(95), distances.share_within(tolerance)
        value = overlap_value("dice", counts, empty)[0]
        row: dict[str, Any] = {"first": labels[i], "second": labels[j], "empty": blank}
        pairs.append(row | {k: _plain(v) for k, v in (("dice", value), ("hd95", far), ("surface_dice", near))})
    mean = {}
    for name in ("dice", "hd95", "surface_dice"):
        known = [p[name] for p in pairs if p[name] is not None]
        mean[name] = sum(known) / len(known) if known else None
    agreed = consensus(masks)
    millilitres = MaskPair.of(masks[0], masks[0], spacing).millilitres
    table = []
    for k in range(readers):
        row = {"reader": labels[k], "ml": _plain(int((votes >> k & 1).sum()) * millilitres)}
        for name in ("sensitivity", "specificity"):
            row[name] = None if agreed is None else float(getattr(agreed, name)[k])
        table.append(row)
    return {
        "n": readers,
        "pairs": pairs,
        "mean": mean,
        "kappa": _plain(_kappa(votes, readers)),
        "readers": table,
        "definition": definition,
        "tolerance": tolerance,
        "empty": rule,
        "note": "" if agreed is None else agreed.note,
    }


def _kappa(votes: NDArray[np.int64], readers: int) -> float:
    """Return Fleiss' kappa of all voxels; those with the same votes are counted together."""
    patterns, counts = np.unique(votes, return_counts=True)
    yes = ((patterns[:, None] >> np.arange(readers)) & 1).sum(axis=1)
    weight = counts / counts.sum()
    pairs = yes * (yes - 1) + (readers - yes) * (readers - yes - 1)
    observed = float((weight * pairs).sum()) / (readers * (readers - 1))
    share = float((weight * yes).sum()) / readers
    expected = share * share + (1 - share) * (1 - share)
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
