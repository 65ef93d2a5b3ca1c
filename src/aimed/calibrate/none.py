"""No calibration: the model's own probabilities, only kept off 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.calibrate.odds import checked, clip

__all__ = ["NoCalibration"]


class NoCalibration:
    """Leave probabilities as they are, clipped to [1e-12, 1 - 1e-12].

    Examples
    --------
    >>> NoCalibration().fit([0.2, 0.8], [0, 1]).transform([0.3, 1.0]).tolist()
    [0.3, 0.999999999999]
    """

    def fit(self, risk: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> NoCalibration:
        """Check the rows and learn nothing from them."""
        checked(risk, y, weights)
        return self

    def transform(self, risk: ArrayLike) -> NDArray[np.float64]:
        """Return the same risks, shape (n,)."""
        return clip(risk)

    def to_state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NoCalibration:
        """Rebuild from `to_state`."""
        return cls()
