"""Agreement of predicted risks with how often the outcome happens, for a yes/no outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray, IntArray, binary, probabilities
from aimed.metrics.proportions import wilson
from aimed.metrics.regression import expit, fit_logistic, logit, spline_basis, spline_knots

__all__ = [
    "CalibrationErrors",
    "SmoothCalibration",
    "calibration_errors",
    "calibration_intercept",
    "calibration_slope",
    "deciles",
    "e50",
    "e90",
    "ici",
    "oe",
    "reading_grid",
    "risk_groups",
    "smooth_calibration",
    "weighted_quantiles",
]


def _both(y: FloatArray, weights: FloatArray) -> float:
    """Return the prevalence, or refuse when one class is missing."""
    prevalence = float(weights @ y / weights.sum())
    if not 0 < prevalence < 1:
        raise NotEstimableError("only one outcome class is present", "rows with and without the event")
    return prevalence


def calibration_intercept(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return calibration in the large: the shift of the log odds that makes the mean risk right; 0 is right.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Probabilities.
    weights : float array, shape (n,), optional

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Cox, Biometrika 1958;45:562. Van Calster et al., BMC Med 2019;17:230.

    Examples
    --------
    >>> round(calibration_intercept([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]), 6)
    1.098612
    """
    outcome, w = binary(y, weights)
    offset = logit(probabilities("risk", risk, outcome.size))
    _both(outcome, w)
    return float(fit_logistic(np.ones((outcome.size, 1)), outcome, w, offset)[0])


def calibration_slope(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the slope of a logistic regression of the outcome on the log odds of risk; 1 is right, < 1 too extreme.

    Parameters
    ----------
    y, risk, weights
        As for `calibration_intercept`.

    Raises
    ------
    NotEstimableError
        If only one class is present, all risks are equal, or the risks separate the classes perfectly.

    References
    ----------
    Cox, Biometrika 1958;45:562.

    Examples
    --------
    >>> round(calibration_slope([0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]), 4)
    0.1178
    """
    outcome, w = binary(y, weights)
    x = logit(probabilities("risk", risk, outcome.size))
    _both(outcome, w)
    if np.ptp(x[w > 0]) < 1e-12:
        raise NotEstimableError("all risks are equal", "risks that vary")
    return float(fit_logistic(np.column_stack([np.ones(x.size), x]), outcome, w)[1])


def oe(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return observed over expected events; 1 is right, > 1 means risks too low.

    Parameters
    ----------
    y, risk, weights
        As for `calibration_intercept`.

    Raises
    ------
    NotEstimableError
        If the expected number of events is 0.

    Examples
    --------
    >>> oe([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5])
    0.5
    """
    outcome, w = binary(y, weights)
    expected = float(w @ probabilities("risk", risk, outcome.size))
    if expected <= 0:
        raise NotEstimableError("no event is expected", "risks above 0")
    return float(w @ outcome) / expected


def weighted_quantiles(values: FloatArray, weights: FloatArray, levels: FloatArray) -> FloatArray:
    """Return quantiles with linear interpolation; whole-number weights equal repeated rows.

    Examples
    --------
    >>> weighted_quantiles(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([0.25, 0.5]))
    array([1.5, 2. ])
    """
    order = np.argsort(values, kind="stable")
    ordered, cumulated = values[order], np.cumsum(weights[order])
    place = np.maximum(cumulated[-1] - 1, 0) * levels
    low = np.searchsorted(cumulated, np.floor(place), side="right")
    high = np.searchsorted(cumulated, np.minimum(np.ceil(place), cumulated[-1] - 1), side="right")
    top = ordered.size - 1
    below, above = ordered[np.minimum(low, top)], ordered[np.minimum(high, top)]
    out: FloatArray = below + (place - np.floor(place)) * (above - below)
    return out


class SmoothCalibration:
    """A smooth calibration curve: logistic regression on a restricted cubic spline of the log odds of risk.

    With 100 events and 100 non-events there are 4 knots, with 30 of each 3; with fewer, or when risks take too few
    values, the curve is the calibration slope model; risks that are all equal give the prevalence.

    Parameters
    ----------
    y : float array, shape (n,)
    risk : float array, shape (n,)
    weights : float array, shape (n,)
        Weights of the first fit; knots rest on the rows with weight, and stay for later fits.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.random(500)
    >>> curve = SmoothCalibration((rng.random(500) < risk) * 1.0, risk, np.ones(500))
    >>> bool(abs(curve.at(np.array([0.5]), curve.beta)[0] - 0.5) < 0.1)
    True
    """

    def __init__(self, y: FloatArray, risk: FloatArray, weights: FloatArray) -> None:
        _both(y, weights)
        self.y, self.risk = y, risk
        x = logit(risk)
        used = x[weights > 0]
        rarer = min(float(weights @ y), float(weights @ (1 - y)))
        self.constant = bool(np.ptp(used) < 1e-12)
        self.knots = spline_knots(used, 4 if rarer >= 100 else 3) if rarer >= 30 and not self.constant else None
        self.x = self.design(risk)
        self.beta: FloatArray | None = None
        self.beta = self.fit(weights)

    def design(self, risk: FloatArray) -> FloatArray:
        """Return the design matrix of some risks."""
        if self.constant:
            return np.ones((risk.size, 1))
        return np.column_stack([np.ones(risk.size), spline_basis(logit(risk), self.knots)])

    def fit(self, weights: FloatArray) -> FloatArray:
        """Return the coefficients under other row weights."""
        _both(self.y, weights)
        return fit_logistic(self.x, self.y, weights, start=self.beta)

    def at(self, grid: FloatArray, beta: FloatArray) -> FloatArray:
        """Return the observed risk at some predicted risks."""
        return expit(self.design(grid) @ beta)

    def distances(self, beta: FloatArray) -> FloatArray:
        """Return the distance of each row's risk from the curve."""
        return np.abs(expit(self.x @ beta) - self.risk)


@dataclass(frozen=True, slots=True)
class CalibrationErrors:
    """Mean, median, 90th percentile and largest distance of the risks from the smooth calibration curve."""

    ici: float
    e50: float
    e90: float
    emax: float

    @classmethod
    def of(cls, distance: FloatArray, weights: FloatArray) -> CalibrationErrors:
        """Summarise the distances of the rows."""
        middle, ninety = weighted_quantiles(distance, weights, np.array([0.5, 0.9]))
        mean = float(weights @ distance / weights.sum())
        return cls(mean, float(middle), float(ninety), float(distance[weights > 0].max()))


def smooth_calibration(y: ArrayLike, risk: ArrayLike, grid: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Return the observed risk of a smooth calibration curve at predicted risks.

    Parameters
    ----------
    y, risk, weights
        As for `calibration_intercept`.
    grid : float array, shape (g,)
        Predicted risks at which to read the curve.

    Raises
    ------
    NotEstimableError
        If only one class is present or the fit does not settle.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Examples
    --------
    >>> smooth_calibration([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], [0.3]).round(6)
    array([0.5])
    """
    outcome, w = binary(y, weights)
    curve = SmoothCalibration(outcome, probabilities("risk", risk, outcome.size), w)
    return curve.at(probabilities("grid", grid), curve.fit(w))


def calibration_errors(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> CalibrationErrors:
    """Return ICI, E50, E90 and Emax.

    Parameters
    ----------
    y, risk, weights
        As for `calibration_intercept`.

    Raises
    ------
    NotEstimableError
        If only one class is present or the fit does not settle.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Examples
    --------
    >>> round(calibration_errors([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]).ici, 6)
    0.2
    """
    outcome, w = binary(y, weights)
    curve = SmoothCalibration(outcome, probabilities("risk", risk, outcome.size), w)
    return CalibrationErrors.of(curve.distances(curve.fit(w)), w)


def ici(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the integrated calibration index, the mean distance; see `calibration_errors`."""
    return calibration_errors(y, risk, weights).ici


def e50(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the median distance from the calibration curve; see `calibration_errors`."""
    return calibration_errors(y, risk, weights).e50


def e90(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the 90th percentile of the distance from the calibration curve; see `calibration_errors`."""
    return calibration_errors(y, risk, weights).e90


def reading_grid(risk: FloatArray) -> FloatArray:
    """Return 51 risks from the 1st to the 99th percentile, at which a calibration curve is shown.

    Examples
    --------
    >>> reading_grid(np.array([0.0, 1.0]))[[0, -1]].round(2).tolist()
    [0.01, 0.99]
    """
    low, high = np.quantile(risk, [0.01, 0.99])
    return np.linspace(float(low), float(high), 51)


def risk_groups(risk: FloatArray, groups: int) -> IntArray:
    """Return a group number for each row by quantiles of risk; equal risks stay together, empty groups vanish.

    Parameters
    ----------
    risk : float array, shape (n,)
    groups : int

    Examples
    --------
    >>> risk_groups(np.array([0.1, 0.2, 0.2, 0.9]), 2)
    array([0, 0, 0, 1])
    """
    cuts = np.quantile(risk, np.arange(1, groups) / groups)
    codes: IntArray = np.unique(np.searchsorted(cuts, risk, side="left"), return_inverse=True)[1].astype(np.int64)
    return codes


def deciles(y: ArrayLike, risk: ArrayLike, groups: int = 10, level: float = 0.95) -> list[dict[str, Any]]:
    """Return predicted and observed risk by quantile group, with Wilson's interval.

    Parameters
    ----------
    y, risk
        As for `calibration_intercept`.
    groups : int
    level : float

    Examples
    --------
    >>> [(round(g["predicted"], 3), g["observed"], g["n"]) for g in deciles([0, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], 2)]
    [(0.15, 0.5, 2), (0.85, 1.0, 2)]
    """
    outcome, _ = binary(y)
    p = probabilities("risk", risk, outcome.size)
    code = risk_groups(p, groups)
    n = np.bincount(code)
    events, predicted = np.bincount(code, outcome), np.bincount(code, p) / n
    rows = []
    for k, size, mean in zip(events, n, predicted, strict=True):
        lower, upper = wilson(float(k), float(size), level)
        rows.append(
            {"predicted": float(mean), "observed": float(k / size), "lower": lower, "upper": upper, "n": int(size)}
        )
    return rows
