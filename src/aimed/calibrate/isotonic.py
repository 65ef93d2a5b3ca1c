"""Isotonic regression: the rising curve that fits the outcomes best, kept as its knots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import IsotonicRegression

from aimed.calibrate.odds import checked, clip
from aimed.core import DataError

__all__ = ["Isotonic"]


class Isotonic:
    """A rising, piecewise linear map found by pooling adjacent violators.

    Attributes
    ----------
    knots, values : float arrays, shape (k,)
        Risks as the model gives them, and the calibrated risk at each; straight lines between, flat outside.

    Notes
    -----
    Patients the model told apart may get the same risk, so that ranking measures can change a little. End
    blocks without events (or of events only) give the clipped 0 (or 1); that is why few events are not enough.

    References
    ----------
    Zadrozny and Elkan, KDD 2002; Ayer et al., Ann Math Stat 1955;26:641.

    Examples
    --------
    >>> Isotonic().fit([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1]).transform([0.1, 0.25, 0.4]).round(6).tolist()
    [0.0, 0.5, 1.0]
    """

    def __init__(self, knots: ArrayLike = (0.0, 1.0), values: ArrayLike = (0.0, 1.0)) -> None:
        self.knots = np.asarray(knots, dtype=np.float64)
        self.values = np.asarray(values, dtype=np.float64)

    def fit(self, risk: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Isotonic:
        """Pool adjacent violators; rows with the same risk count as one."""
        p, outcome, w = checked(risk, y, weights)
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True).fit(p, outcome, sample_weight=w)
        self.knots = np.asarray(fitted.X_thresholds_, dtype=np.float64)
        self.values = np.asarray(fitted.y_thresholds_, dtype=np.float64)
        return self

    def transform(self, risk: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated risks, shape (n,), inside [1e-12, 1 - 1e-12]."""
        return clip(np.interp(np.asarray(risk, dtype=np.float64), self.knots, self.values))

    def to_state(self) -> dict[str, Any]:
        """Return the knots."""
        return {"knots": self.knots.tolist(), "values": self.values.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Isotonic:
        """Rebuild from `to_state`.

        Raises
        ------
        DataError
            If the knots are not finite, do not rise, or leave [0, 1].
        """
        made = cls(state["knots"], state["values"])
        x, v = made.knots, made.values
        if x.ndim != 1 or x.size == 0 or x.shape != v.shape or not np.isfinite(x).all() or not np.isfinite(v).all():
            raise DataError("the isotonic knots are not numbers in two equal lists", "two lists of the same length")
        if (np.diff(x) <= 0).any() or (np.diff(v) < 0).any() or v.min() < 0 or v.max() > 1:
            raise DataError("the isotonic knots do not rise within [0, 1]", "a rising curve")
        return made
