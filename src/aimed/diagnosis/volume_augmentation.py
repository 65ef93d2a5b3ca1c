"""Random changes of training volumes that keep the anatomy: turned, scaled, shaded and exposed a little differently.

Nothing is mirrored unless asked. A body that is mirrored from left to right has its heart and liver on the wrong side;
one that is mirrored along any other axis does not exist. The brain is the exception: its halves are alike, tumours come
on both sides, and no label of them names a side, so `VolumeAugmentation.brain` mirrors from left to right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import StudyFileError

__all__ = ["VolumeAugmentation"]

_KNOTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeAugmentation:
    """How far a training volume may be changed; each change is drawn evenly from plus to minus its limit.

    Parameters
    ----------
    rotation : float
        Degrees about each axis.
    scale : float
        Share by which it grows or shrinks.
    turned : float
        Share of volumes that are turned and scaled; the others keep the voxels that were measured.
    mirror : tuple of int
        Axes of (z, y, x), each mirrored in half of the volumes: 2 is left-right where scans lie as RAS.
    contrast : float
        Share by which values grow or shrink, by channel.
    brightness : float
        What is added, in spreads of the scan, by channel.
    gamma : float
        Logarithm of the exponent, by channel.
    bias : float
        Logarithm of the largest factor of a smooth shading, as coils make it.
    noise : float
        Largest spread of the noise, in spreads of the scan.
    often : float
        Share of volumes that get an exponent; as many get a shading, and as many noise.
    spacing : (float, float, float)
        Size of voxels along (z, y, x), so that a turn is one in the body.

    Raises
    ------
    StudyFileError
        If a limit is out of its range.

    Examples
    --------
    >>> change = VolumeAugmentation.brain()
    >>> change.mirror
    (2,)
    >>> import torch
    >>> x = torch.rand(1, 8, 8, 8)
    >>> a, b = (change.exposed(x, np.random.default_rng(3)) for _ in range(2))
    >>> bool((a == b).all()), bool((a == x).all())
    (True, False)
    """

    rotation: float = 10.0
    scale: float = 0.1
    turned: float = 0.3
    mirror: tuple[int, ...] = ()
    contrast: float = 0.15
    brightness: float = 0.1
    gamma: float = 0.2
    bias: float = 0.2
    noise: float = 0.1
    often: float = 0.3
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for name, most in (
            ("rotation", 45.0), ("scale", 0.5), ("turned", 1.0), ("contrast", 0.9), ("brightness", 2.0),
            ("gamma", 1.0), ("bias", 1.0), ("noise", 1.0), ("often", 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 <= value <= most):
                raise StudyFileError(f"{name} = {value!r}", f"a number from 0 to {most:g}")
        if not set(self.mirror) <= {0, 1, 2} or len(set(self.mirror)) != len(self.mirror):
            raise StudyFileError(f"mirror = {self.mirror!r}", "axes out of 0, 1, 2")
        if len(self.spacing) != 3 or not all(0.0 < s < math.inf for s in self.spacing):
            raise StudyFileError(f"spacing = {self.spacing!r}", "three numbers above 0")

    @classmethod
    def brain(cls, **changes: Any) -> VolumeAugmentation:
        """Return what suits brains that lie as RAS: also mirrored from left to right."""
        return cls(**{"mirror": (2,), **changes})

    def turn(self, generator: np.random.Generator) -> NDArray[np.float64] | None:
        """Return the matrix from places in the changed volume to places in the scan, in voxels; None to leave it."""
        chance, *draws = generator.uniform(-1.0, 1.0, size=5)
        if abs(chance) >= self.turned or not (self.rotation or self.scale):
            return None
        matrix = np.eye(3)
        for axis, draw in enumerate(draws[:3]):
            angle = math.radians(self.rotation) * draw
            one, two = [a for a in range(3) if a != axis]
            turn = np.eye(3)
            turn[one, one] = turn[two, two] = math.cos(angle)
            turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
            matrix = matrix @ turn
        size = np.asarray(self.spacing)
        return np.asarray(matrix / (1.0 + self.scale * draws[3]) * size[None, :] / size[:, None])

    def mirrored(self, generator: np.random.Generator) -> tuple[int, ...]:
        """Return the axes to mirror."""
        return tuple(
            axis for axis, draw in zip(self.mirror, generator.random(len(self.mirror)), strict=True) if draw < 0.5
        )

    def greys(self, channels: int, generator: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the values of each channel are multiplied with, and what is added then, shape (c,)."""
        factor, added = generator.uniform(-1.0, 1.0, size=(2, channels)).astype(np.float32)
        return np.float32(1.0) + np.float32(self.contrast) * factor, np.float32(self.brightness) * added

    def exposed(self, volume: Any, generator: np.random.Generator) -> Any:
        """Return a volume with a shading, an exponent and noise, each now and then; what is exactly 0 stays so.

        Parameters
        ----------
        volume : Tensor, shape (c, z, y, x)
            Scaled.
        generator : numpy Generator
        """
        import torch
        from torch.nn import functional

        often = generator.random(3) < self.often
        gamma = generator.uniform(-1.0, 1.0, size=(volume.shape[0], 1, 1, 1)).astype(np.float32)
        knots = generator.uniform(-1.0, 1.0, size=(1, 1, *(_KNOTS,) * 3)).astype(np.float32)
        grain, seed = generator.uniform(0.0, 1.0), int(generator.integers(1 << 62))
        if not often.any():
            return volume
        changed = volume
        if self.bias and often[0]:
            # One shading for all channels: they were measured with the same coil.
            smooth = functional.interpolate(
                torch.from_numpy(knots), size=volume.shape[1:], mode="trilinear", align_corners=True
            )
            changed = changed * torch.exp(smooth[0] * self.bias)
        if self.gamma and often[1]:
            # On both sides of the mean of the scan, so that dark and bright part from it or draw near.
            changed = torch.copysign(changed.abs() ** torch.exp(torch.from_numpy(gamma) * self.gamma), changed)
        if self.noise and often[2]:
            own = torch.Generator().manual_seed(seed)
            grains = torch.randn(changed.shape, generator=own) * (grain * self.noise)
            changed = torch.where(volume == 0, changed, changed + grains)
        return changed
