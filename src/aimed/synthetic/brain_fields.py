"""Shapes, soft edges and smooth random fields in millimetres, from which brains are drawn at any voxel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Axes", "Floats", "Place", "RandomField", "capsule", "cover", "ellipsoid", "merge", "ramp"]

Floats: TypeAlias = npt.NDArray[np.float32]

Place: TypeAlias = tuple[Floats, Floats, Floats]
"""x, y and z of points in mm, arrays that broadcast together."""

Axes: TypeAlias = tuple[Floats, Floats, Floats]
"""Coordinates of a grid along x, y and z, one-dimensional each."""

# Root of the mean square of a sum of cubic B-splines with standard normal weights, along three axes.
_SPREAD = float((151 / 315) ** 1.5)


def ramp(inside: Floats, voxel: float) -> Floats:
    """Return the share of a voxel that lies inside a surface, from the signed distance to it (inside is positive).

    Examples
    --------
    >>> ramp(np.array([-1.0, 0.0, 0.5, 1.0], dtype=np.float32), 2.0).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    return np.asarray(np.clip(inside * np.float32(1 / voxel) + np.float32(0.5), 0, 1), dtype=np.float32)


def cover(distance: Floats, half: float, voxel: float) -> Floats:
    """Return the share of a voxel that a sheet of half thickness `half` fills, `distance` (0 or more) from its middle.

    Examples
    --------
    >>> cover(np.array([0.0, 1.0, 3.0], dtype=np.float32), 0.5, 2.0).tolist()
    [0.5, 0.25, 0.0]
    """
    far = np.minimum(distance + np.float32(voxel / 2), np.float32(half))
    near = np.minimum(np.float32(voxel / 2) - distance, np.float32(half))
    return np.asarray(np.clip((far + near) * np.float32(1 / voxel), 0, 1), dtype=np.float32)


def ellipsoid(
    place: Place, centre: tuple[float, float, float], half: tuple[float, float, float], mirrored: bool = False
) -> Floats:
    """Return the distance to the surface of an ellipsoid, positive inside; good to first order near the surface.

    A mirrored one stands on both sides of the midline.
    """
    x = np.abs(place[0]) if mirrored else place[0]
    parts = [(at - np.float32(c)) * np.float32(1 / r) for at, c, r in zip((x, *place[1:]), centre, half, strict=True)]
    first = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2
    second = sum(np.square(p * np.float32(1 / r)) for p, r in zip(parts, half, strict=True))
    length = np.sqrt(first)
    slope = np.sqrt(np.maximum(second, np.float32(1e-12)))
    deep = np.float32(min(half))
    return np.asarray(np.minimum(length * (1 - length) / slope, deep) + deep * (length == 0), dtype=np.float32)


def capsule(place: Place, start: tuple[float, ...], end: tuple[float, ...]) -> Floats:
    """Return the distance to the surface of a tube with round ends, positive inside; ends are x, y, z and radius."""
    along = np.subtract(end, start)
    length = float((along[:3] ** 2).sum())
    away = [at - np.float32(s) for at, s in zip(place, start[:3], strict=True)]
    share = sum(a * np.float32(v / length) for a, v in zip(away, along[:3], strict=True))
    t = np.clip(np.asarray(share, dtype=np.float32), 0, 1)
    square = sum((a - t * np.float32(v)) ** 2 for a, v in zip(away, along[:3], strict=True))
    return np.asarray(np.float32(start[3]) + t * np.float32(along[3]) - np.sqrt(square), dtype=np.float32)


def merge(one: Floats, other: Floats, soft: float) -> Floats:
    """Return the distance to two shapes joined with a fillet of `soft` mm."""
    share = np.clip(np.float32(0.5) + (one - other) * np.float32(0.5 / soft), 0, 1)
    return np.asarray(other + (one - other) * share + np.float32(soft) * share * (1 - share), dtype=np.float32)


def _weights(at: Floats, low: float, gap: float, nodes: int) -> tuple[npt.NDArray[np.intp], list[Floats]]:
    u = (at.astype(np.float64) - low) / gap
    first = np.clip(np.floor(u), 1, nodes - 3)
    t = np.clip(u - first, 0, 1)
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return first.astype(np.intp) - 1, [np.asarray(w / 6, dtype=np.float32) for w in taps]


@dataclass(frozen=True, eq=False)
class RandomField:
    """A smooth random field of mean 0 and spread 1, the same whatever grid it is asked for.

    Parameters
    ----------
    nodes : array of shape (mz, my, mx)
        Weights of cubic B-splines.
    low : (float, float, float)
        x, y and z of the first node in mm.
    gap : float
        Distance of nodes; bumps are about twice as wide.

    Examples
    --------
    >>> field = RandomField.draw(np.random.default_rng(0), 10.0, (50.0, 50.0, 50.0))
    >>> fine, coarse = (np.linspace(-40, 40, n, dtype=np.float32) for n in (41, 21))
    >>> np.allclose(field.on((fine, fine, fine))[::2, ::2, ::2], field.on((coarse, coarse, coarse)), atol=1e-5)
    True
    """

    nodes: Floats
    low: tuple[float, float, float]
    gap: float

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        gap: float,
        reach: tuple[float, float, float],
        centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> RandomField:
        """Draw a field that covers `centre` plus and minus `reach` (x, y, z in mm) and is constant farther away."""
        counts = [int(np.ceil(2 * r / gap)) + 4 for r in reach]
        nodes = rng.standard_normal(counts[::-1], dtype=np.float32) * np.float32(1 / _SPREAD)
        x, y, z = (c - (n - 1) * gap / 2 for c, n in zip(centre, counts, strict=True))
        return cls(nodes, (x, y, z), gap)

    def on(self, axes: Axes) -> Floats:
        """Return the values on a grid, shape (z, y, x)."""
        values = self.nodes
        # x first: the large passes then run along contiguous rows.
        for axis in (2, 1, 0):
            start, taps = _weights(axes[2 - axis], self.low[2 - axis], self.gap, self.nodes.shape[axis])
            shape = [1, 1, 1]
            shape[axis] = -1
            total = np.take(values, start, axis=axis) * taps[0].reshape(shape)
            for k in range(1, 4):
                total += np.take(values, start + k, axis=axis) * taps[k].reshape(shape)
            values = total
        return np.ascontiguousarray(values, dtype=np.float32)
