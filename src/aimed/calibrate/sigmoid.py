"""Platt scaling: an intercept and a slope on the log odds, fitted as an unpenalised logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from aimed.calibrate.odds import checked, clip, fit_logistic, to_log_odds
from aimed.core import NotEstimableError

__all__ = ["Sigmoid"]


class Sigmoid:
    """Calibrated log odds = intercept + slope x log odds.

    Attributes
    ----------
    intercept, slope : float
        0 and 1 change nothing.

    Notes
    -----
    Also known as logistic recalibration. Platt fitted raw scores with smoothed targets; here the input is the
    log odds of a probability and the fit is plain maximum likelihood, so that a calibrated model stays as it is.

    References
    ----------
    Platt, Advances in Large Margin Classifiers 1999; Cox, Biometrika 1958;45:562.

    Examples
    --------
    >>> too_high = [0.5] * 4 + [0.8] * 4
    >>> Sigmoid().fit(too_high, [0, 0, 0, 1, 0, 1, 0, 1]).transform([0.5, 0.8]).round(4).tolist()
    [0.25, 0.5]
    """

    def __init__(self, intercept: float = 0.0, slope: float = 1.0) -> None:
        self.intercept = intercept
        self.slope = slope

    def fit(self, risk: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Sigmoid:
        """Find intercept and slope by maximum likelihood.

        Raises
        ------
        NotEstimableError
            If risks separate events from non-events completely (constant risks included), or the best slope is
            not positive.
        """
        p, outcome, w = checked(risk, y, weights)
        x = to_log_odds(p)
        yes, no = x[outcome == 1], x[outcome == 0]
        if no.max() <= yes.min() or yes.max() <= no.min():
            raise NotEstimableError(
                "the risks of events and of non-events do not overlap", "risks that overlap", "use another calibrator"
            )
        intercept, slope = fit_logistic(np.column_stack([np.ones_like(x), x]), outcome, w)
        if slope <= 0:
            raise NotEstimableError(
                "the best slope is not positive", "risks that rank patients", "use 'none' or another model"
            )
        self.intercept, self.slope = float(intercept), float(slope)
        return self

    def transform(self, risk: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated risks, shape (n,), inside [1e-12, 1 - 1e-12]."""
        return clip(expit(self.intercept + self.slope * to_log_odds(risk)))

    def to_state(self) -> dict[str, Any]:
        """Return intercept and slope."""
        return {"intercept": self.intercept, "slope": self.slope}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Sigmoid:
        """Rebuild from `to_state`."""
        return cls(intercept=float(state["intercept"]), slope=float(state["slope"]))
