"""Temperature scaling: log odds multiplied by one number, which corrects over- or under-confidence only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from aimed.calibrate.odds import checked, clip, fit_logistic, to_log_odds
from aimed.core import NotEstimableError

__all__ = ["Temperature"]


class Temperature:
    """Calibrated log odds = slope x log odds; the temperature of the literature is 1 / slope.

    Attributes
    ----------
    slope : float
        Below 1 for a model that is too sure of itself.

    Notes
    -----
    A risk of 0.5 stays at 0.5, so that a model whose risks are all too high stays so. Unpenalised maximum
    likelihood; a slope that is not positive would turn the order of patients round and is not estimable.

    References
    ----------
    Guo et al., ICML 2017, "On calibration of modern neural networks".

    Examples
    --------
    >>> too_sure = [0.01] * 4 + [0.99] * 4
    >>> Temperature().fit(too_sure, [0, 0, 0, 1, 1, 1, 1, 0]).transform([0.01, 0.99]).round(4).tolist()
    [0.25, 0.75]
    """

    def __init__(self, slope: float = 1.0) -> None:
        self.slope = slope

    def fit(self, risk: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Temperature:
        """Find the slope by maximum likelihood.

        Raises
        ------
        NotEstimableError
            If every risk lies on the right (or the wrong) side of 0.5, or the best slope is not positive.
        """
        p, outcome, w = checked(risk, y, weights)
        x = to_log_odds(p)
        side = (2.0 * outcome - 1.0) * x
        if (side >= 0).all() or (side <= 0).all():
            raise NotEstimableError(
                "every risk stands on one side of 0.5 for its outcome", "risks that overlap", "use another calibrator"
            )
        slope = float(fit_logistic(x[:, None], outcome, w)[0])
        if slope <= 0:
            raise NotEstimableError(
                "the best temperature is not positive", "risks that rank patients", "use 'none' or another model"
            )
        self.slope = slope
        return self

    def transform(self, risk: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated risks, shape (n,), inside [1e-12, 1 - 1e-12]."""
        return clip(expit(self.slope * to_log_odds(risk)))

    def to_state(self) -> dict[str, Any]:
        """Return the slope."""
        return {"slope": self.slope}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Temperature:
        """Rebuild from `to_state`."""
        return cls(slope=float(state["slope"]))
