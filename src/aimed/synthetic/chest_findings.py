"""What disease does to the lungs of a phantom: fluid, air, solid and filled parts, with the region of each.

Synthetic and not for clinical use. Every function takes the scene, the severity (0 subtle, 1 overt) and the random
numbers of that finding alone, so that the rest of the picture is the same with and without it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aimed.synthetic.chest_scene import Scene
from aimed.synthetic.radiography import step

__all__ = ["air_outside", "ball", "filled", "fluid", "heart_ratio", "noise_field"]

Floats = npt.NDArray[np.float32]


def heart_ratio(severity: float) -> float:
    """Return the cardiothoracic ratio of an enlarged heart: from just above 0.5 to 0.64."""
    return 0.505 + 0.135 * severity


def noise_field(size: int, cells: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return a smooth random field of mean about 0 and spread about 1, the sum of one octave for each of `cells`.

    Parameters
    ----------
    size : int
        Side of the picture.
    cells : tuple of int
        Blobs along one side in each octave; half the weight for each further one.
    rng : numpy.random.Generator
    """
    total = np.zeros((size, size), dtype=np.float32)
    weight, power = 1.0, 0.0
    at = (np.arange(size) + 0.5) / size
    for n in cells:
        grid = rng.standard_normal((n + 4, n + 4)).astype(np.float32)
        # Cubic between the cells, one axis after the other.
        place = at * n + 1
        total += np.float32(weight) * _along(_along(grid, place).T, place).T
        power += weight**2 * 0.45
        weight *= 0.6
    return np.asarray(total / np.float32(np.sqrt(power)), dtype=np.float32)


def _along(grid: Floats, place: npt.NDArray[np.float64]) -> Floats:
    """Return the rows of `grid` at fractional places, on the cubic B-spline."""
    k = np.floor(place).astype(np.int64)
    t = (place - k).astype(np.float32)[:, None]
    return np.asarray(
        (
            (1 - t) ** 3 * grid[k - 1]
            + (3 * t**3 - 6 * t**2 + 4) * grid[k]
            + (-3 * t**3 + 3 * t**2 + 3 * t + 1) * grid[k + 1]
            + t**3 * grid[k + 2]
        )
        / 6,
        dtype=np.float32,
    )


def _side(scene: Scene, side: int) -> Floats:
    return (scene.left if side > 0 else ~scene.left).astype(np.float32)


def fluid(scene: Scene, severity: float, rng: np.random.Generator, flat_side: int = 0) -> Floats:
    """Return the share of the lung path that fluid in the pleura takes.

    Parameters
    ----------
    scene : Scene
    severity : float
        0 blunts the angle between chest wall and diaphragm; 1 fills about half of the chest.
    rng : numpy.random.Generator
    flat_side : {-1, 0, 1}
        Side with air in the pleura: there the fluid has a flat level and no meniscus.

    Returns
    -------
    array of shape (size, size)
    """
    first = int(rng.choice([-1, 1]))
    both = rng.uniform() < 0.3
    lying = scene.position.view == "AP" and rng.uniform() < 0.35
    share = np.zeros((scene.size, scene.size), dtype=np.float32)
    if flat_side:
        first = flat_side
    for side in (first, -first):
        if side != first and not both:
            break
        high = (1.3 + 8.5 * severity**1.8) * (1.0 if side == first else rng.uniform(0.4, 0.9))
        level = scene.base - high
        rise = rng.uniform(0.8, 1.6) + 0.24 * high
        if flat_side == side:
            part = step(scene.y - level, 0.12) * np.ones_like(share)
        elif lying:
            # Lying down the fluid spreads behind the lung: a veil that thickens downwards.
            part = (0.12 + 0.4 * severity) * np.clip((scene.y - 3) / (scene.base - 3), 0, 1) ** 1.5
            part = np.maximum(part * np.ones_like(share), step(scene.y - scene.base + 1.5, 1.0) * (scene.across**2))
        else:
            top = level + 0.35 * rise - rise * scene.across**2.5
            part = 0.95 * step(scene.y - top, 0.35 + 0.1 * high) + 0.05 * step(scene.y - top, 0.3)
        share += _side(scene, side) * part
    return np.asarray(np.clip(share, 0, 1) * (scene.lung > 0), dtype=np.float32)


def air_outside(scene: Scene, severity: float, rng: np.random.Generator) -> tuple[Floats, Floats, int]:
    """Return where the pleura holds air, the thin line of the lung's edge, and the side (-1 or 1).

    The lung draws back towards its root, most at the top, so the gap is widest there.
    """
    side = int(rng.choice([-1, 1]))
    gap = 0.085 + 0.36 * severity**1.2
    root_x, root_y = scene.anatomy.mediastinum * 0.9, 0.5 * scene.base
    up = np.clip(1 - scene.y / scene.base, 0, 1)
    shrink = 1 - gap * (0.25 + 0.75 * np.sqrt(up))
    x = root_x + (scene.wide - root_x) / shrink
    y = root_y + (scene.y - root_y) / (1 - 0.8 * gap)
    y = np.where(scene.y < root_y, y, scene.y)
    edge = np.asarray(scene.anatomy.lateral(y / scene.position.breath), dtype=np.float32) * (y > 0)
    distance = (edge - x).astype(np.float32)
    slope = np.hypot(*np.gradient(distance, scene.spacing))
    distance = distance / np.maximum(slope, 0.4).astype(np.float32)
    here = _side(scene, side) * (scene.whole > 0) * step(scene.wide - np.float32(root_x), 0.5)
    outside = here * step((-distance).astype(np.float32), max(0.05, 0.7 * scene.spacing))
    width = max(0.07, 0.6 * scene.spacing)
    line = here * np.exp(-((distance / width) ** 2)) * np.float32(0.07 / width)
    return outside.astype(np.float32), np.asarray(line * (scene.lung > 0), dtype=np.float32), side


def _place_in_lung(scene: Scene, rng: np.random.Generator, least: float, margin: float) -> tuple[float, float]:
    """Return a random x, y in the lungs where the path is at least `least` cm, `margin` (0 to 1) inside the edge."""
    stride = max(1, scene.size // 64)
    # The choice uses the cavity, not the lung, so that a larger heart does not move other findings.
    free = scene.chord[::stride, ::stride] * (scene.across[::stride, ::stride] > 0.1)
    free = free * (scene.across[::stride, ::stride] < 1 - margin) * (scene.y[::stride] < scene.dome[::stride, ::stride])
    rows, columns = np.nonzero(free > least)
    if rows.size == 0:
        rows, columns = np.nonzero(free >= free.max())
    k = int(rng.uniform() * rows.size)
    jitter = rng.uniform(-0.5, 0.5, 2) * stride * scene.spacing
    row, column = rows[k] * stride, columns[k] * stride
    return float(scene.x[row, column] + jitter[0]), float(scene.y[row, 0] + jitter[1])


def ball(scene: Scene, severity: float, rng: np.random.Generator) -> Floats:
    """Return cm of solid tissue of one to three lumps: nodules of 0.9 cm radius up to masses of 3.2 cm."""
    count = 1 + int(rng.uniform() < 0.35) + int(rng.uniform() < 0.12)
    total = np.zeros((scene.size, scene.size), dtype=np.float32)
    for k in range(count):
        radius = (0.9 + 2.3 * severity**1.15) * (1.0 if k == 0 else rng.uniform(0.5, 0.9))
        x0, y0 = _place_in_lung(scene, rng, 3.0, 0.06)
        dx, dy = scene.x - x0, scene.y - y0
        angle = np.arctan2(dy, dx)
        edge = np.ones_like(angle)
        for wave in (2, 3, 5, 7):
            edge += rng.normal(0, 0.22 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
        apart = (dx**2 + dy**2) / (radius * np.maximum(edge, 0.5)) ** 2
        solid = rng.uniform(0.95, 1.25)
        total += np.float32(2 * radius * solid) * np.sqrt(np.clip(1 - apart, 0, None))
    soft = ndimage.gaussian_filter(total, 0.08 / scene.spacing, truncate=2.5)
    return np.asarray(np.minimum(soft, 0.9 * scene.lung), dtype=np.float32)


def filled(scene: Scene, severity: float, rng: np.random.Generator) -> tuple[Floats, bool]:
    """Return the share of the lung path whose air is replaced, and whether the air tubes stay open in it."""
    radius = 2.1 + 3.0 * severity
    strength = 0.2 + 0.5 * severity
    x0, y0 = _place_in_lung(scene, rng, 5.0, 0.12)
    side = 1 if x0 > 0 else -1
    field = noise_field(scene.size, (10, 20, 40), rng)
    stretch = rng.uniform(0.75, 1.35)
    apart = np.sqrt(((scene.x - x0) / stretch) ** 2 + ((scene.y - y0) * stretch) ** 2) / radius
    share = strength * step((1.0 - apart + 0.28 * field).astype(np.float32), 0.55)
    share = share * np.clip(0.85 + 0.2 * field, 0.4, 1.15) * (apart < 1.9)
    if rng.uniform() < 0.3:
        # A fissure bounds a lobe with a straight edge.
        tilt = rng.uniform(-0.12, 0.12)
        below = scene.y - y0 - rng.uniform(-0.5, 0.3) * radius - tilt * (scene.x - x0)
        up = np.float32(rng.choice([-1.0, 1.0]))
        share = share * step(up * below.astype(np.float32), 0.15)
    tubes = bool(rng.uniform() < 0.5)
    return np.asarray(np.clip(share, 0, 0.95) * _side(scene, side), dtype=np.float32), tubes
