"""The physics of a drawn radiograph: line integrals from points, scatter, counts, and the curve of the detector.

Everything here is synthetic and not for clinical use: it makes phantoms that look like radiographs, it does not
model any one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["LEVELS", "SOFT", "Exposure", "blur_wide", "expose", "splat", "step"]

Floats = npt.NDArray[np.float32]

#: Grey levels of the detector: 12 bits.
LEVELS = 4096

#: Linear attenuation of soft tissue in 1/cm, about right for the mean energy of a chest exposure (60 keV).
SOFT = 0.19


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one picture was taken.

    Parameters
    ----------
    dose : float
        Quanta a square millimetre in front of the patient.
    scatter : float
        Scattered light relative to the blurred primary; a grid makes it small.
    middle : float
        Attenuation (a pure number) shown as mid grey.
    contrast : float
        Slope of the display curve; larger is harder.
    sharpening : float
        Weight of the fine detail that the processing adds back.
    """

    dose: float
    scatter: float
    middle: float
    contrast: float
    sharpening: float


def step(distance: Floats, width: float) -> Floats:
    """Return a smooth step from 0 to 1 as `distance` runs from -width to +width.

    Examples
    --------
    >>> step(np.array([-2.0, 0.0, 2.0], dtype=np.float32), 1.0)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    u = np.clip(distance * np.float32(0.5 / width) + np.float32(0.5), 0, 1)
    return np.asarray(u * u * (3 - 2 * u), dtype=np.float32)


def splat(
    columns: npt.NDArray[np.floating], rows: npt.NDArray[np.floating], mass: npt.NDArray[np.floating], size: int
) -> Floats:
    """Add up the mass of points on the pixel grid, shared between the four nearest pixels.

    Parameters
    ----------
    columns, rows : array of shape (m,)
        Places in pixels; 0 is the middle of the first pixel. Points off the picture are dropped.
    mass : array of shape (m,)
        What each point adds.
    size : int
        Side of the picture.

    Returns
    -------
    array of shape (size, size)

    Examples
    --------
    >>> splat(np.array([0.5]), np.array([0.0]), np.array([2.0]), 2)
    array([[1., 1.],
           [0., 0.]], dtype=float32)
    """
    left, top = np.floor(columns), np.floor(rows)
    inside = (left >= -1) & (top >= -1) & (left < size) & (top < size)
    left, top, mass = left[inside], top[inside], mass[inside]
    right_share, low_share = columns[inside] - left, rows[inside] - top
    # One pixel of padding on each side keeps the four neighbours of an edge point on the grid.
    wide = size + 2
    first = (top.astype(np.int64) + 1) * wide + left.astype(np.int64) + 1
    low = mass * low_share
    high = mass - low
    total = np.zeros(wide * wide)
    for shift, part in (
        (0, high * (1 - right_share)),
        (1, high * right_share),
        (wide, low * (1 - right_share)),
        (wide + 1, low * right_share),
    ):
        total += np.bincount(first + shift, weights=part, minlength=wide * wide)
    return total.reshape(wide, wide)[1:-1, 1:-1].astype(np.float32)


def blur_wide(picture: Floats, sigma: float) -> Floats:
    """Return `picture` under a Gaussian of `sigma` pixels, worked out on a coarse grid where that loses nothing.

    Parameters
    ----------
    picture : array of shape (size, size)
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    array of shape (size, size)
    """
    size = picture.shape[0]
    factor = 1
    while size % (2 * factor) == 0 and size // (2 * factor) >= 64 and sigma / (2 * factor) >= 2:
        factor *= 2
    coarse = picture.reshape(size // factor, factor, size // factor, factor).mean(axis=(1, 3), dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma / factor, mode="nearest", truncate=3.0)
    if factor == 1:
        return np.asarray(coarse, dtype=np.float32)
    return np.asarray(ndimage.zoom(coarse, factor, order=1, mode="nearest", grid_mode=True), dtype=np.float32)


def expose(attenuation: Floats, spacing: float, how: Exposure, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Turn a map of attenuation into the grey levels of a processed radiograph.

    Beer-Lambert gives the primary; a wide blur of what the body stops gives the scatter; counts get quantum noise
    (the normal law with the variance of the Poisson law: counts are in the thousands) and electronic noise; the
    logarithm is then evened out, sharpened and sent through a sigmoid curve, as a digital system would.

    Parameters
    ----------
    attenuation : array of shape (size, size)
        Line integrals of the attenuation coefficient (a pure number); 0 is open air.
    spacing : float
        Side of a pixel in cm.
    how : Exposure
    rng : numpy.random.Generator
        Noise only. The same generator gives the same noise field whatever the attenuation.

    Returns
    -------
    array of uint16, shape (size, size)
        0 to 4095; larger is brighter, and brighter is denser.
    """
    primary = np.exp(-attenuation)
    stopped = primary * (1 - np.exp(np.float32(-0.5) * attenuation))
    light = primary + np.float32(how.scatter) * blur_wide(stopped, 4.5 / spacing)
    counts = light * np.float32(how.dose * (spacing * 10) ** 2)
    noise = rng.standard_normal(counts.shape, dtype=np.float32)
    # The scintillator spreads a quantum over its neighbours, so noise is not white.
    noise = ndimage.gaussian_filter(noise, 0.6, truncate=2.0) * np.float32(1.9)
    counts = counts + np.sqrt(counts + 64) * noise
    depth = -np.log(np.maximum(counts, 4) / np.float32(how.dose * (spacing * 10) ** 2))
    even = depth - np.float32(0.2) * (np.clip(blur_wide(depth, 3.5 / spacing), 0, 6) - np.float32(how.middle))
    fine = even - ndimage.gaussian_filter(even, 0.25 / spacing, truncate=2.5)
    shown = even + np.float32(how.sharpening) * fine
    level = 1 / (1 + np.exp(np.float32(-how.contrast) * (shown - np.float32(how.middle))))
    return np.asarray(np.clip(level * (LEVELS - 1) + 0.5, 0, LEVELS - 1), dtype=np.uint16)
