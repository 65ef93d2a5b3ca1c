"""How far the boundary of a predicted mask lies from that of the reference: exact, in mm, by a named definition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.kernels.segmentation import directed_distances, row_gaps, surface_corners, surface_voxels
from aimed.metrics.result import Estimate
from aimed.metrics.segmentation_masks import Empty, MaskPair, empty_rule, is_empty, one_case, settle

__all__ = [
    "DEFINITIONS",
    "Definition",
    "SurfaceDistances",
    "average_surface_distance",
    "hausdorff",
    "hd95",
    "mean_average_surface_distance",
    "surface_dice",
    "surface_distances",
]

Definition: TypeAlias = Literal["voxel", "pooled", "surfel"]

DEFINITIONS: dict[str, str] = {
    "voxel": "centres of voxels that share a face with the outside; the larger of both directed percentiles",
    "pooled": "centres of voxels that share a face with the outside; one percentile of both directions",
    "surfel": "surface elements at corners of voxels, weighted by area; the larger of both directed percentiles",
}
"""What the boundary of a mask is and how distances are put together, by the name of the definition."""

_MOST_OFFSETS = 3000
_SLACK = 1 + 1e-6
"""Spacings in headers are single precision: 3 steps of 0.1 mm are within 0.3 mm."""

Uint8Array: TypeAlias = NDArray[np.uint8]

_TRIANGLES: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0),) * 2,
    0b00000110: ((1, 1, 1),) * 2,
    0b00011000: ((1, 1, 1),) * 2,
    0b00000111: ((1, 1, 1), (2, 2, 2), (4, 0, 0)),
    0b00001111: ((4, 0, 0),) * 2,
    0b00010110: ((1, 1, 1),) * 3,
    0b00010111: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    0b00011001: ((1, 1, 1), (0, 2, 2), (0, 2, 2)),
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0)),
    0b00111100: ((2, 2, 0),) * 4,
    0b01101001: ((1, 1, 1),) * 4,
}
"""Triangles marching cubes lays through 8 voxels: their areas seen along each axis, in eighths of a voxel's face."""


@lru_cache(maxsize=1)
def _triangles() -> FloatArray:
    """Return the triangles of all 256 neighbourhoods, shape (256, 4, 3): those given, turned, mirrored and inverted."""
    out = np.full((256, 4, 3), np.nan)
    powers = 1 << np.arange(7, -1, -1)
    for code, triangles in _TRIANGLES.items():
        corners = ((code & powers) > 0).reshape(2, 2, 2)
        areas = np.zeros((4, 3))
        areas[: len(triangles)] = np.asarray(triangles) / 8
        for axes in permutations(range(3)):
            for turn in product((1, -1), repeat=3):
                seen = corners.transpose(axes)[:: turn[0], :: turn[1], :: turn[2]].ravel()
                for bits in (seen, ~seen):
                    out[int(powers @ bits)] = areas[:, axes]
    out[[0, 255]] = 0
    return out


def _areas(spacing: tuple[float, float, float], flat: bool) -> FloatArray:
    """Return the area in mm2 of the surface in each neighbourhood; in a picture, the length in mm of the contour."""
    z, y, x = spacing
    if not flat:
        faces = _triangles() * np.array([y * x, z * x, z * y])
        return np.asarray(np.sqrt((faces * faces).sum(axis=2)).sum(axis=1))
    slant = 0.5 * math.hypot(y, x)
    lengths = np.full(16, slant)
    lengths[[0, 15]] = 0
    lengths[[0b0011, 0b1100]] = x
    lengths[[0b0101, 0b1010]] = y
    lengths[[0b0110, 0b1001]] = 2 * slant
    return lengths


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Distances in mm between two boundaries, in both directions.

    Parameters
    ----------
    from_reference, from_prediction : float arrays, shapes (r,) and (p,)
        Of each element of one boundary to the nearest of the other.
    weight_reference, weight_prediction : float arrays, optional
        Area of each element in mm2, or its length in a picture; None where each counts 1.
    pooled : bool
        Percentiles are taken over both directions together.

    Examples
    --------
    >>> found = surface_distances([[1, 0, 0]], [[0, 0, 1]], (1, 1))
    >>> found.percentile(100), found.mean, found.share_within(1.0)
    (2.0, 2.0, 0.0)
    """

    from_reference: FloatArray
    from_prediction: FloatArray
    weight_reference: FloatArray | None = None
    weight_prediction: FloatArray | None = None
    pooled: bool = False

    def percentile(self, q: float) -> float:
        """Return a percentile of the distances, by the definition."""
        if self.pooled:
            return float(np.percentile(np.concatenate([self.from_reference, self.from_prediction]), q))
        return max(
            _percentile(self.from_reference, self.weight_reference, q),
            _percentile(self.from_prediction, self.weight_prediction, q),
        )

    @property
    def mean(self) -> float:
        """Mean over the elements of both boundaries."""
        weights = None
        if self.weight_reference is not None and self.weight_prediction is not None:
            weights = np.concatenate([self.weight_reference, self.weight_prediction])
        return _mean(np.concatenate([self.from_reference, self.from_prediction]), weights)

    @property
    def directed_means(self) -> tuple[float, float]:
        """Mean from the reference to the prediction, and back."""
        back = _mean(self.from_prediction, self.weight_prediction)
        return _mean(self.from_reference, self.weight_reference), back

    def share_within(self, tolerance: float) -> float:
        """Return the share of both boundaries that lies within a tolerance in mm of the other."""
        near = total = 0.0
        pairs = ((self.from_reference, self.weight_reference), (self.from_prediction, self.weight_prediction))
        for distances, weights in pairs:
            inside = distances <= tolerance * _SLACK
            near += float(inside.sum() if weights is None else weights[inside].sum())
            total += float(distances.size if weights is None else weights.sum())
        return near / total


def _mean(values: FloatArray, weights: FloatArray | None) -> float:
    """Return a mean, weighted where there are weights."""
    return float(values.mean()) if weights is None else float((values * weights).sum() / weights.sum())


def _percentile(distances: FloatArray, weights: FloatArray | None, q: float) -> float:
    if weights is None:
        return float(np.percentile(distances, q))
    order = np.argsort(distances)
    share = np.cumsum(weights[order]) / weights.sum()
    # A share that is q but for rounding is q, in whatever order the areas were added.
    place = int(np.searchsorted(share, q / 100 - 1e-12))
    return float(distances[order[min(place, order.size - 1)]])


def _offsets(
    shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple[IntArray, IntArray, FloatArray, bool]:
    """Return rows around a point by their distance, up to a number of them, and whether they are all there are."""
    depth, height = shape[0] - 1, shape[1] - 1
    z, y, _ = spacing
    radius = math.sqrt(_MOST_OFFSETS / math.pi * z * y)
    whole = math.hypot(depth * z, height * y) <= radius
    far_z, far_y = min(depth, int(radius / z)), min(height, int(radius / y))
    dz, dy = np.meshgrid(np.arange(-far_z, far_z + 1), np.arange(-far_y, far_y + 1), indexing="ij")
    square = ((dz * z) ** 2 + (dy * y) ** 2).ravel()
    order = np.argsort(square, kind="stable")
    order = order[square[order] <= radius * radius]
    return dz.ravel()[order].astype(np.int64), dy.ravel()[order].astype(np.int64), square[order], whole


def _between(
    first: Uint8Array,
    second: Uint8Array,
    gaps: NDArray[np.int16],
    count: int,
    spacing: tuple[float, float, float],
    offsets: tuple[IntArray, IntArray, FloatArray, bool],
) -> tuple[FloatArray, IntArray]:
    """Return the distance of each element of one surface to another surface, and the flat place of the element."""
    squares, places = np.empty(count), np.empty(count, dtype=np.int64)
    left = directed_distances(first, gaps, spacing[2], *offsets, squares, places)
    if left:
        # Far from the other surface rows are too many; a tree finds the nearest point and whole steps measure it.
        scale, far = np.array(spacing), np.flatnonzero(squares < 0)
        points, here = (
            np.column_stack(np.unravel_index(flat, first.shape))
            for flat in (np.flatnonzero(second.view(np.bool_)), places[far])
        )
        tree = cKDTree(points * scale, compact_nodes=False, balanced_tree=False)
        steps = (here - points[tree.query(here * scale)[1]]) * scale
        squares[far] = (steps * steps).sum(axis=1)
    return np.sqrt(squares), places


def distances_of(
    reference: Uint8Array,
    prediction: Uint8Array,
    spacing: tuple[float, float, float],
    flat: bool,
    definition: Definition,
) -> SurfaceDistances:
    """Return the distances between the boundaries of two masks that are cut, padded with zeros and not empty."""
    if definition not in DEFINITIONS:
        raise DataError("definition is not known", " or ".join(DEFINITIONS))
    masks, surfaces, codes, counts = (reference, prediction), [], [], []
    for mask in masks:
        d, h, w = mask.shape
        if definition == "surfel":
            surface = np.zeros((1 if flat else d - 1, h - 1, w - 1), dtype=np.uint8)
            codes.append(np.zeros_like(surface))
            counts.append(surface_corners(mask, flat, codes[-1], surface))
        else:
            surface = np.zeros((d - 2, h - 2, w - 2), dtype=np.uint8)
            counts.append(surface_voxels(mask, flat, surface))
        surfaces.append(surface)
    offsets = _offsets(surfaces[0].shape, spacing)
    found = []
    for here, there in ((0, 1), (1, 0)):
        gaps = np.empty(surfaces[there].shape, dtype=np.int16)
        row_gaps(surfaces[there], gaps)
        found.append(_between(surfaces[here], surfaces[there], gaps, counts[here], spacing, offsets))
    (from_reference, at_reference), (from_prediction, at_prediction) = found
    if definition != "surfel":
        return SurfaceDistances(from_reference, from_prediction, pooled=definition == "pooled")
    areas = _areas(spacing, flat)
    weights = [areas[c.ravel()[places]] for c, places in zip(codes, (at_reference, at_prediction), strict=True)]
    return SurfaceDistances(from_reference, from_prediction, weights[0], weights[1])


def surface_distances(
    reference: ArrayLike, prediction: ArrayLike, spacing: ArrayLike, definition: Definition = "voxel"
) -> SurfaceDistances:
    """Return the distances between the boundaries of two masks, in both directions.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    definition : {"voxel", "pooled", "surfel"}

    Raises
    ------
    DataError
        If shapes differ, a mask is not of 0 and 1, or one is empty.

    Examples
    --------
    >>> mask = np.zeros((1, 5)); mask[0, 1] = 1
    >>> surface_distances(mask, np.roll(mask, 2), (1.0, 0.5)).from_reference
    array([1.])
    """
    pair = MaskPair.of(reference, prediction, spacing)
    counts = pair.overlap(0)
    if is_empty(counts.tp + counts.fn, counts.tp + counts.fp):
        raise DataError("a mask is empty", "two masks with a boundary")
    return distances_of(*pair.cut(0), pair.spacing, pair.flat, definition)


def _measure(
    name: str,
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    definition: Definition,
    empty: Empty,
    percentile: float | None = None,
    tolerance: float | None = None,
) -> Estimate:
    rule = empty_rule(empty)
    if definition not in DEFINITIONS:
        raise DataError("definition is not known", " or ".join(DEFINITIONS))
    pair = MaskPair.of(reference, prediction, spacing)
    method = f"{DEFINITIONS[definition]}; {rule}"
    counts = pair.overlap(0)
    blank = is_empty(counts.tp + counts.fn, counts.tp + counts.fp)
    if blank:
        best, worst = (0.0, pair.worst_distance(empty)) if tolerance is None else (1.0, 0.0)
        value, note = settle(blank, empty, best, worst)
        return one_case(value, name, pair.reference.size, method, note)
    found = distances_of(*pair.cut(0), pair.spacing, pair.flat, definition)
    if percentile is not None:
        value = found.percentile(percentile)
    elif tolerance is not None:
        value = found.share_within(tolerance)
    else:
        value = found.mean if name == "average_surface_distance" else sum(found.directed_means) / 2
    return one_case(value, name, found.from_reference.size + found.from_prediction.size, method)


def hausdorff(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    *,
    percentile: float = 100.0,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the Hausdorff distance of two masks in mm, or a percentile of it.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    percentile : float
        100 is the largest distance.
    definition : {"voxel", "pooled", "surfel"}
        As MONAI and Metrics Reloaded, as MedPy, or as DeepMind's surface-distance count.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        If shapes differ, a mask is not of 0 and 1, or the spacing is not positive.

    References
    ----------
    Huttenlocher, Klanderman and Rucklidge, IEEE TPAMI 1993;15:850. Maier-Hein et al., Nat Methods 2024;21:195.
    Nikolov et al., J Med Internet Res 2021;23:e26151 (surface elements).

    Notes
    -----
    Formula: the distance of each element of a boundary to the nearest of the other; "voxel" and "surfel" take the
    larger of the percentiles of both directions, "pooled" one percentile of all. In "voxel" and "pooled" elements are
    voxels with a neighbour outside across a face, the edge of the image being outside, and percentiles interpolate; in
    "surfel" they are the corners of voxels where marching cubes lays a surface, weighted by its area.
    Range: 0 mm upwards; 0 is right. Both masks empty: 0, or none with "omit"; one empty: the image diagonal, or 374 mm
    with "brats".
    Assumes: both masks on one grid whose spacing is true. The definitions differ by as much as a voxel.
    Refuses: unequal shapes, more than one label, a spacing that is not positive.

    Examples
    --------
    >>> mask = np.zeros((9, 9)); mask[2:5, 2:5] = 1
    >>> float(hausdorff(mask, np.roll(mask, 3, axis=1), (1.0, 0.5)))
    1.5
    """
    if not 0 < percentile <= 100:
        raise DataError("percentile lies outside (0, 100]", "such as 95")
    return _measure("hausdorff", reference, prediction, spacing, definition, empty, percentile=percentile)


def hd95(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    *,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the 95th percentile of the Hausdorff distance of two masks in mm.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    definition : {"voxel", "pooled", "surfel"}
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `hausdorff`.

    References
    ----------
    Huttenlocher, Klanderman and Rucklidge, IEEE TPAMI 1993;15:850. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: `hausdorff` with percentile 95: "voxel" gives MONAI's number and Metrics Reloaded's, "pooled" MedPy's,
    "surfel" DeepMind's.
    Range: 0 mm upwards; 0 is right. Empty masks as for `hausdorff`.
    Assumes: as `hausdorff`. Errors over less than a twentieth of the boundary do not show.
    Refuses: as `hausdorff`.

    Examples
    --------
    >>> mask = np.zeros((9, 9)); mask[2:5, 2:5] = 1
    >>> [float(hd95(mask, np.roll(mask, 3, axis=1), (1.0, 0.5), definition=d)) for d in ("voxel", "pooled", "surfel")]
    [1.5, 1.5, 1.5]
    """
    return _measure("hd95", reference, prediction, spacing, definition, empty, percentile=95.0)


def average_surface_distance(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    *,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the average symmetric surface distance (ASSD) of two masks in mm.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    definition : {"voxel", "pooled", "surfel"}
        "voxel" and "pooled" are the same here.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `hausdorff`.

    References
    ----------
    Yeghiazaryan and Voiculescu, J Med Imaging 2018;5:015006. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: mean over the elements of both boundaries of the distance to the other, weighted by area with "surfel".
    MONAI's symmetric average and Metrics Reloaded's ASSD; MedPy gives that name to `mean_average_surface_distance`.
    Range: 0 mm upwards; 0 is right. Empty masks as for `hausdorff`.
    Assumes: as `hausdorff`. The larger boundary counts more.
    Refuses: as `hausdorff`.

    Examples
    --------
    >>> mask = np.zeros((9, 9)); mask[2:5, 2:5] = 1
    >>> float(average_surface_distance(mask, mask, (1.0, 1.0)))
    0.0
    """
    return _measure("average_surface_distance", reference, prediction, spacing, definition, empty)


def mean_average_surface_distance(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    *,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the mean of both directed average surface distances (MASD) of two masks in mm.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    definition : {"voxel", "pooled", "surfel"}
        "voxel" and "pooled" are the same here.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `hausdorff`.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. Yeghiazaryan and Voiculescu, J Med Imaging 2018;5:015006.

    Notes
    -----
    Formula: half the mean distance from the reference to the prediction plus half that of the way back. Metrics
    Reloaded's MASD; what MedPy calls assd.
    Range: 0 mm upwards; 0 is right. Empty masks as for `hausdorff`.
    Assumes: as `hausdorff`. Both boundaries count alike, whatever their size.
    Refuses: as `hausdorff`.

    Examples
    --------
    >>> mask = np.zeros((9, 9)); mask[2:5, 2:5] = 1
    >>> float(mean_average_surface_distance(mask, mask, (1.0, 1.0)))
    0.0
    """
    return _measure("mean_average_surface_distance", reference, prediction, spacing, definition, empty)


def surface_dice(
    reference: ArrayLike,
    prediction: ArrayLike,
    spacing: ArrayLike,
    tolerance: float,
    *,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
) -> Estimate:
    """Return the normalised surface Dice (NSD): the share of both boundaries within a tolerance of the other.

    Parameters
    ----------
    reference, prediction : bool or 0/1 arrays, shape (z, y, x) or (y, x)
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    tolerance : float
        mm; such as the distance of two readers.
    definition : {"voxel", "pooled", "surfel"}
        "voxel" and "pooled" are the same here.
    empty : {"metrics_reloaded", "omit", "brats"}

    Raises
    ------
    DataError
        As for `hausdorff`, and if the tolerance is negative or not finite.

    References
    ----------
    Nikolov et al., J Med Internet Res 2021;23:e26151. Maier-Hein et al., Nat Methods 2024;21:195.

    Notes
    -----
    Formula: elements of both boundaries within the tolerance of the other over all, counted ("voxel", MONAI's and
    Metrics Reloaded's) or by area ("surfel", DeepMind's). A millionth of the tolerance is allowed for rounding.
    Range: 0 to 1; 1 is right. Both masks empty: 1, or none with "omit"; one empty: 0.
    Assumes: as `hausdorff`; a tolerance that was set before the results were seen.
    Refuses: as `hausdorff`; a negative tolerance.

    Examples
    --------
    >>> mask = np.zeros((9, 9)); mask[2:5, 2:5] = 1
    >>> [float(surface_dice(mask, np.roll(mask, 1, axis=1), (1.0, 1.0), t)) for t in (0.0, 1.0)]
    [0.5, 1.0]
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError("tolerance is negative or not finite", "mm, 0 or more")
    return _measure("surface_dice", reference, prediction, spacing, definition, empty, tolerance=tolerance)
