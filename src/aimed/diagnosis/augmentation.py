"""Random changes of training pictures that keep the anatomy: turned, moved, scaled and exposed a little differently.

There is no mirror image: the heart is on the left, and a picture with the heart on the right is a finding of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimed.core import MissingExtraError, StudyFileError

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["Augmentation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far a training picture may be changed; each change is drawn evenly from plus to minus its limit.

    Parameters
    ----------
    rotation : float
        Degrees.
    translation : float
        Share of the width.
    scale : float
        Share by which it grows or shrinks.
    brightness : float
        Share of full scale that is added.
    contrast : float
        Share by which differences from the mean of the picture grow or shrink.
    gamma : float
        Logarithm of the exponent.
    noise : float
        Largest spread of the noise, as a share of full scale.

    Examples
    --------
    >>> x = torch.rand(2, 1, 16, 16)
    >>> change = Augmentation()
    >>> a, b = (change(x, [(0, 1, row) for row in rows]) for rows in ([4, 5], [5, 4]))
    >>> bool((change(x, [(0, 1, 4), (0, 1, 5)]) == a).all()), bool((a == b).all())
    (True, False)
    """

    rotation: float = 7.0
    translation: float = 0.05
    scale: float = 0.08
    brightness: float = 0.08
    contrast: float = 0.15
    gamma: float = 0.2
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name, most in (
            ("rotation", 45.0), ("translation", 0.5), ("scale", 0.5), ("brightness", 0.5), ("contrast", 0.9),
            ("gamma", 1.0), ("noise", 0.5),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 <= value <= most):
                raise StudyFileError(f"{name} = {value!r}", f"a number from 0 to {most:g}")

    def __call__(self, pictures: Any, seeds: list[tuple[int, ...]]) -> Any:
        """Return changed pictures.

        Parameters
        ----------
        pictures : Tensor, shape (b, 1, y, x)
            Shares of full scale, 0 to 1.
        seeds : b tuples of int
            What each picture's changes are drawn from, such as seed, epoch and row: neither the batch a picture comes
            in nor the number of processes changes them.
        """
        generators = [np.random.default_rng(seed) for seed in seeds]
        draw = np.stack([g.uniform(-1.0, 1.0, size=8) for g in generators]).astype(np.float32)
        angle, x, y, scale, bright, contrast, gamma, noise = torch.from_numpy(draw).unbind(1)
        height, width = pictures.shape[-2:]
        moved = self._moved(
            pictures, angle * math.radians(self.rotation), x * self.translation * 2, y * self.translation * 2,
            1.0 + scale * self.scale, height / width,
        )  # fmt: skip
        column = (slice(None), None, None, None)
        if self.gamma:
            moved = moved.clamp(min=1e-4) ** torch.exp(gamma * self.gamma)[column]
        if self.contrast:
            mean = moved.mean((1, 2, 3), keepdim=True)
            moved = mean + (moved - mean) * (1.0 + contrast * self.contrast)[column]
        if self.brightness:
            moved = moved + (bright * self.brightness)[column]
        if self.noise:
            grain = np.stack([g.standard_normal((1, height, width), dtype=np.float32) for g in generators])
            moved = moved + torch.from_numpy(grain) * (noise.abs() * self.noise)[column]
        return moved.clamp(0.0, 1.0)

    def _moved(self, pictures: Any, angle: Any, x: Any, y: Any, scale: Any, aspect: float) -> Any:
        if not (self.rotation or self.translation or self.scale):
            return pictures
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        # The grid runs from -1 to 1 along both sides: a turn has to know which of them is longer.
        rows = (torch.stack((cos, -sin * aspect, x), 1), torch.stack((sin / aspect, cos, y), 1))
        grid = functional.affine_grid(torch.stack(rows, 1), list(pictures.shape), align_corners=False)
        return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
