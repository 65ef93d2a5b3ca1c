"""The first step of every picture: brightness as a share of full scale, centred and scaled, the same in serving."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aimed.core import DataError, UnknownNameError
from aimed.diagnosis.image_rows import ImageRows

__all__ = ["NORMALISATIONS", "Standardise"]


@dataclass(frozen=True, slots=True)
class Standardise:
    """(pixel / brightest possible - mean) / sd.

    Parameters
    ----------
    mean, sd : float
        In shares of full scale.
    source : str
        Where the two numbers come from.

    Raises
    ------
    DataError
        If the numbers are not finite, or the spread is not positive.

    Examples
    --------
    >>> Standardise.of_pixels(ImageRows(np.array([[[0, 255]]], dtype=np.uint8)))
    Standardise(mean=0.5, sd=0.5, source='training pixels')
    """

    mean: float
    sd: float
    source: str = "training pixels"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.sd) and self.sd > 0):
            raise DataError("pixels without spread", "pictures that are not all of one grey")

    @classmethod
    def of_pixels(cls, part: ImageRows) -> Standardise:
        """Take mean and spread of the pixels of training pictures; nothing of other parts may flow in.

        Warns
        -----
        UserWarning
            If no pixel is brighter than an eighth of full scale, as where 12 bits lie in 16: changes of brightness in
            training are shares of full scale and would drown such pictures.
        """
        counts = np.zeros(part.top + 1, dtype=np.int64)
        for batch in part.batches():
            counts += np.bincount(batch.ravel(), minlength=part.top + 1)
        brightest = int(np.flatnonzero(counts).max(initial=0))
        if 8 * brightest < part.top:
            warnings.warn(
                f"the brightest pixel is {brightest:,} where white is {part.top:,}; stretch the pictures to the whole "
                "range of their type, or read them with aimed.readers, which does",
                UserWarning,
                stacklevel=3,
            )
        value = np.arange(part.top + 1) / part.top
        mean = float((counts * value).sum() / counts.sum())
        return cls(mean, float(np.sqrt((counts * (value - mean) ** 2).sum() / counts.sum())))

    @classmethod
    def named(cls, name: str) -> Standardise:
        """Return what weights of a known origin were trained with."""
        if name not in NORMALISATIONS:
            raise UnknownNameError("normalisation", name, NORMALISATIONS)
        return NORMALISATIONS[name]

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Standardise:
        """Rebuild from `to_state`."""
        return cls(float(state["mean"]), float(state["sd"]), str(state["source"]))

    def to_state(self) -> dict[str, Any]:
        """Return the numbers in JSON types."""
        return asdict(self)


NORMALISATIONS = {
    # Three channels of one grey value: the middle of ImageNet's means and spreads.
    "imagenet": Standardise(0.449, 0.226, "imagenet"),
    # Grey values from -1024 to 1024.
    "torchxrayvision": Standardise(0.5, 1.0 / 2048.0, "torchxrayvision"),
    # Shares of full scale, from 0 to 1.
    "unit": Standardise(0.0, 1.0, "unit"),
}
"""What published weights expect, by name."""
