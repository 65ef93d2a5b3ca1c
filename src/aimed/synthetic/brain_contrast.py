"""How tissues look to a scanner: four weightings, an uneven field of the coil, and Rician noise.

Synthetic and not for clinical use. Brightness is relative to white matter, which is 1 in every contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aimed.synthetic.brain_fields import Axes, Floats, RandomField

__all__ = ["BRAIN_CONTRASTS", "BRIGHTNESS", "TUMOUR_PARTS", "Scanner"]

#: The channels, in the order of the Medical Segmentation Decathlon.
BRAIN_CONTRASTS = ("FLAIR", "T1w", "T1gd", "T2w")

#: Brightness of every tissue in every contrast, white matter being 1.
BRIGHTNESS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "csf": (0.22, 0.36, 0.30, 2.6),
        "grey": (1.18, 0.76, 0.79, 1.32),
        "white": (1.0, 1.0, 1.0, 1.0),
        "deep grey": (1.1, 0.86, 0.88, 1.12),
        "oedema": (1.75, 0.80, 0.76, 1.8),
        "core": (1.42, 0.76, 0.80, 1.6),
        "dead": (1.05, 0.6, 0.58, 2.0),
        "enhancing": (1.45, 0.76, 1.42, 1.5),
        "vessel": (0.5, 0.6, 1.5, 0.9),
        "lesion": (1.5, 0.88, 0.88, 1.45),
        "fat": (0.95, 1.6, 1.65, 1.5),
        "muscle": (0.6, 0.6, 0.8, 0.5),
        "bone": (0.08, 0.1, 0.12, 0.08),
        "marrow": (0.45, 0.75, 0.8, 0.6),
        "eye": (0.25, 0.35, 0.35, 2.8),
    }
)

TUMOUR_PARTS = ("oedema", "core", "dead", "enhancing")
"""Tissues whose contrast to white matter fades as difficulty grows."""

_REACH = (130.0, 130.0, 130.0)


@dataclass(frozen=True, eq=False)
class Scanner:
    """The look of one scan, drawn at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    difficulty : float
        0 gives clear tumours, little noise and an even field, 1 the reverse.
    """

    rng: np.random.Generator = field(repr=False)
    difficulty: float
    levels: Floats = field(init=False)
    table: Mapping[str, Floats] = field(init=False, repr=False)
    noise: Floats = field(init=False)
    blur: Floats = field(init=False)
    _fields: tuple[RandomField, ...] = field(init=False, repr=False)
    _strength: float = field(init=False)

    def __post_init__(self) -> None:
        rng, hard = self.rng, self.difficulty
        clear = (1.12 - 0.4 * hard) * float(np.exp(rng.normal(0, 0.08)))
        table = {}
        for name, row in BRIGHTNESS.items():
            value = np.array(row)
            if name in TUMOUR_PARTS:
                value = 1 + (value - 1) * clear
            # What a tissue is (shared) and how a machine shows it (own): contrasts go together, but not wholly.
            value = value * np.exp(rng.normal(0, 0.015) + rng.normal(0, 0.02 + 0.02 * hard, 4) * (name != "white"))
            table[name] = value.astype(np.float32)
        values: dict[str, object] = {
            "table": MappingProxyType(table),
            "levels": np.exp(rng.normal(np.log((480, 850, 780, 430)), 0.22)).astype(np.float32),
            "noise": ((0.012 + 0.035 * hard) * np.exp(rng.normal(0, 0.25, 4))).astype(np.float32),
            "blur": (rng.uniform(0, 0.35 + 0.3 * hard, 4) * np.array([1.0, 0.6, 0.4, 1.0])).astype(np.float32),
            "_strength": float((0.03 + 0.11 * hard) * np.exp(rng.normal(0, 0.25))),
            # One coil for all contrasts, and a little of each.
            "_fields": tuple(RandomField.draw(rng, 75.0, _REACH) for _ in range(1 + len(BRAIN_CONTRASTS))),
        }
        for name, item in values.items():
            object.__setattr__(self, name, item)

    def bias(self, axes: Axes, k: int) -> Floats:
        """Return the gain of the coil for contrast `k`, shape (z, y, x), about 1."""
        both = np.float32(0.85) * self._fields[0].on(axes) + np.float32(0.5) * self._fields[1 + k].on(axes)
        return np.asarray(np.exp(np.float32(self._strength) * both), dtype=np.float32)

    def expose(
        self, drawn: Floats, axes: Axes, k: int, rng: np.random.Generator, mask: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.int16]:
        """Return one contrast as stored: blurred along z, uneven, noisy; 0 outside `mask` and at least 1 inside."""
        if self.blur[k] > 0.2:
            drawn = ndimage.gaussian_filter1d(drawn, float(self.blur[k]), axis=0, truncate=3.0)
        signal = drawn * self.bias(axes, k)
        at = np.flatnonzero(mask) if mask is not None else np.arange(drawn.size)
        noise = rng.standard_normal((2, at.size), dtype=np.float32) * self.noise[k]
        # The magnitude of a complex signal: noise never makes it negative.
        seen = np.hypot(signal.ravel()[at] + noise[0], noise[1]) * self.levels[k]
        stored = np.zeros(drawn.size, dtype=np.int16)
        stored[at] = np.clip(np.rint(seen), 0 if mask is None else 1, 32000)
        return stored.reshape(drawn.shape)
