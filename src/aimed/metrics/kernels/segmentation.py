"""Loops over voxels: what labels meet and where, surfaces of a mask, and how far one surface lies from another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["cut_mask", "directed_distances", "meet_labels", "row_gaps", "surface_corners", "surface_voxels"]


@compiled
def meet_labels(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    regions: NDArray[np.uint64],
    table: NDArray[np.int64],
    along_z: NDArray[np.uint64],
    along_y: NDArray[np.uint64],
    along_x: NDArray[np.uint64],
) -> int:
    """Count which label meets which, and mark where along each axis a region occurs in either map.

    Parameters
    ----------
    reference, prediction : uint8 array, shape (z, y, x)
    regions : uint64 array, shape (256,)
        One bit a region, for each label.
    table : int array, shape (256, 256)
        Added to: voxels by label of the reference and of the prediction, but for (0, 0) where 0 is in no region.
    along_z, along_y, along_x : uint64 arrays, shapes (z,), (y,), (x,)
        Added to: regions that occur at a place of the axis.

    Returns
    -------
    int
        Voxels of rows that were passed over because both maps are 0 there and 0 is in no region.
    """
    depth, height, width = reference.shape
    passed = 0
    skip = regions[0] == np.uint64(0)
    for z in range(depth):
        for y in range(height):
            if skip:
                some = np.uint8(0)
                for x in range(width):
                    some |= reference[z, y, x] | prediction[z, y, x]
                if some == 0:
                    passed += width
                    continue
            here = np.uint64(0)
            for x in range(width):
                a = reference[z, y, x]
                b = prediction[z, y, x]
                table[a, b] += 1
                both = regions[a] | regions[b]
                along_x[x] |= both
                here |= both
            along_y[y] |= here
            along_z[z] |= here
    return passed


@compiled
def cut_mask(
    labels: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    z0: int,
    y0: int,
    x0: int,
    mask: NDArray[np.uint8],
) -> None:
    """Write the mask of some labels in a box into the inside of a padded array of zeros.

    Parameters
    ----------
    labels : uint8 array, shape (z, y, x)
    wanted : uint8 array, shape (256,)
        1 for labels in the mask.
    z0, y0, x0 : int
        First voxel of the box.
    mask : uint8 array, shape (d + 2, h + 2, w + 2)
        Written to, but for its border.
    """
    depth, height, width = mask.shape
    skip = wanted[0] == 0
    for z in range(depth - 2):
        for y in range(height - 2):
            if skip:
                # Most rows of a wide box are empty; looking first is many times faster than writing.
                some = np.uint8(0)
                for x in range(width - 2):
                    some |= labels[z0 + z, y0 + y, x0 + x]
                if some == 0:
                    continue
            for x in range(width - 2):
                mask[z + 1, y + 1, x + 1] = wanted[labels[z0 + z, y0 + y, x0 + x]]


@compiled
def surface_voxels(mask: NDArray[np.uint8], flat: bool, surface: NDArray[np.uint8]) -> int:
    """Mark voxels of a mask with a neighbour outside it, of the 6 that share a face (4 in a picture).

    Parameters
    ----------
    mask : uint8 array, shape (d + 2, h + 2, w + 2)
        0 on its border.
    flat : bool
        The mask is one picture: nothing lies above and below it.
    surface : uint8 array, shape (d, h, w)
        Zeros; written to.

    Returns
    -------
    int
        Voxels marked.
    """
    depth, height, width = surface.shape
    found = 0
    for z in range(depth):
        for y in range(height):
            some = np.uint8(0)
            for x in range(width):
                some |= mask[z + 1, y + 1, x + 1]
            if some == 0:
                continue
            row = 0
            for x in range(width):
                here = mask[z + 1, y + 1, x + 1]
                inner = mask[z + 1, y, x + 1] & mask[z + 1, y + 2, x + 1]
                inner &= mask[z + 1, y + 1, x] & mask[z + 1, y + 1, x + 2]
                if not flat:
                    inner &= mask[z, y + 1, x + 1] & mask[z + 2, y + 1, x + 1]
                edge = here & (inner ^ np.uint8(1))
                surface[z, y, x] = edge
                row += edge
            found += row
    return found


@compiled
def surface_corners(mask: NDArray[np.uint8], flat: bool, codes: NDArray[np.uint8], surface: NDArray[np.uint8]) -> int:
    """Write, for each corner of voxels, which of the 8 voxels around it (4 in a picture) are in the mask.

    Parameters
    ----------
    mask : uint8 array, shape (d + 2, h + 2, w + 2)
        0 on its border.
    flat : bool
        The mask is one picture.
    codes, surface : uint8 array, shape (d + 1, h + 1, w + 1), or (1, h + 1, w + 1)
        Zeros; written to: the voxels as bits, the first in all axes the highest; and whether some but not all are in
        the mask.

    Returns
    -------
    int
        Corners marked.
    """
    depth, height, width = codes.shape
    full = 15 if flat else 255
    found = 0
    for z in range(depth):
        for y in range(height):
            some = np.uint8(0)
            for x in range(width + 1):
                some |= mask[z, y, x] | mask[z, y + 1, x] | mask[z + 1, y, x] | mask[z + 1, y + 1, x]
            if some == 0:
                continue
            for x in range(width):
                if flat:
                    code = 8 * mask[1, y, x] + 4 * mask[1, y, x + 1] + 2 * mask[1, y + 1, x] + mask[1, y + 1, x + 1]
                else:
                    code = 128 * mask[z, y, x] + 64 * mask[z, y, x + 1]
                    code += 32 * mask[z, y + 1, x] + 16 * mask[z, y + 1, x + 1]
                    code += 8 * mask[z + 1, y, x] + 4 * mask[z + 1, y, x + 1]
                    code += 2 * mask[z + 1, y + 1, x] + mask[z + 1, y + 1, x + 1]
                codes[z, y, x] = code
                edge = code != 0 and code != full
                surface[z, y, x] = edge
                found += edge
    return found


@compiled
def row_gaps(surface: NDArray[np.uint8], gaps: NDArray[np.int16]) -> None:
    """Write how many places along the last axis the nearest surface of the same row is away.

    Parameters
    ----------
    surface : uint8 array, shape (d, h, w)
    gaps : int16 array, shape (d, h, w)
        Written to; 32767 in rows without any.
    """
    depth, height, width = surface.shape
    for z in range(depth):
        for y in range(height):
            some = np.uint8(0)
            for x in range(width):
                some |= surface[z, y, x]
            if some == 0:
                for x in range(width):
                    gaps[z, y, x] = 32767
                continue
            last = -1
            for x in range(width):
                if surface[z, y, x]:
                    last = x
                gaps[z, y, x] = x - last if last >= 0 else 32767
            last = -1
            for x in range(width - 1, -1, -1):
                if surface[z, y, x]:
                    last = x
                if last >= 0 and last - x < gaps[z, y, x]:
                    gaps[z, y, x] = last - x


@compiled
def directed_distances(
    surface: NDArray[np.uint8],
    gaps: NDArray[np.int16],
    step: float,
    offset_z: NDArray[np.int64],
    offset_y: NDArray[np.int64],
    offset_square: NDArray[np.float64],
    whole: bool,
    squares: NDArray[np.float64],
    places: NDArray[np.int64],
) -> int:
    """Write the squared distance of each point of one surface to the nearest of another.

    Rows around a point are tried in order of their distance, until no other can hold a nearer point.

    Parameters
    ----------
    surface : uint8 array, shape (d, h, w)
        From where.
    gaps : int16 array, shape (d, h, w)
        `row_gaps` of the surface to where.
    step : float
        Spacing along the last axis, mm.
    offset_z, offset_y : int arrays, shape (k,)
        Rows to try, nearest first.
    offset_square : float array, shape (k,)
        Their squared distances, mm2.
    whole : bool
        The offsets hold every row there is.
    squares : float array, shape (n,)
        Written to, mm2; negative where the offsets ended before the nearest point was certain.
    places : int array, shape (n,)
        Written to: the flat place of each point.

    Returns
    -------
    int
        Points left uncertain.
    """
    depth, height, width = surface.shape
    count = offset_square.size
    n = 0
    left = 0
    for z in range(depth):
        for y in range(height):
            some = np.uint8(0)
            for x in range(width):
                some |= surface[z, y, x]
            if some == 0:
                continue
            for x in range(width):
                if surface[z, y, x] == 0:
                    continue
                places[n] = (z * height + y) * width + x
                best = np.inf
                sure = whole
                if gaps[z, y, x] == 0:
                    best = 0.0
                    sure = True
                else:
                    for k in range(count):
                        if offset_square[k] >= best:
                            sure = True
                            break
                        zz = z + offset_z[k]
                        yy = y + offset_y[k]
                        if zz < 0 or zz >= depth or yy < 0 or yy >= height:
                            continue
                        gap = gaps[zz, yy, x]
                        if gap != 32767:
                            along = gap * step
                            square = offset_square[k] + along * along
                            if square < best:
                                best = square
                if not sure:
                    best = -1.0
                    left += 1
                squares[n] = best
                n += 1
    return left
