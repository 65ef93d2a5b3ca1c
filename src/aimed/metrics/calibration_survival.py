"""Agreement of predicted risks at a horizon with how often the event happens by then, under censoring."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, probabilities, survival
from aimed.metrics.calibration_binary import CalibrationErrors, risk_groups
from aimed.metrics.nonparametric import kaplan_meier, survival_at
from aimed.metrics.regression import CoxRegression, cloglog, spline_basis, spline_knots

__all__ = [
    "HorizonCalibration",
    "calibration_errors_at",
    "calibration_slope_at",
    "deciles_at",
    "e50_at",
    "e90_at",
    "ici_at",
    "oe_at",
    "smooth_calibration_at",
]


class HorizonCalibration:
    """A smooth calibration curve at a horizon: Cox regression on a spline of the cloglog of the predicted risk.

    With 30 events there is a restricted cubic spline with 3 knots, at the 10th, 50th and 90th percentile; with fewer,
    or when risks take too few values, the cloglog enters as it is; risks that are all equal give the Kaplan-Meier risk.

    Parameters
    ----------
    event, time, risk : arrays, shape (n,)
    horizon : float
    weights : float array, shape (n,)
        Whole-number weights of the first fit; knots rest on the rows with weight, and stay for later fits.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.uniform(0.1, 0.9, 500)
    >>> time = rng.exponential(-1 / np.log1p(-risk))
    >>> curve = HorizonCalibration(np.ones(500, bool), time, risk, 1.0, np.ones(500))
    >>> bool(abs(curve.at(np.array([0.5]), curve.fit(np.ones(500)))[0] - 0.5) < 0.1)
    True
    """

    def __init__(self, event: BoolArray, time: FloatArray, risk: FloatArray, horizon: float, weights: FloatArray):
        self.event, self.time, self.risk, self.horizon = event, time, risk, horizon
        x = cloglog(risk)
        used = x[weights > 0]
        self.constant = bool(np.ptp(used) < 1e-12)
        enough = float(weights @ event) >= 30 and not self.constant
        self.knots = spline_knots(used, 3) if enough else None
        self._x = spline_basis(x, self.knots)
        self._cox = CoxRegression(event, time, self._x)
        self._start: FloatArray | None = None

    def fit(self, weights: FloatArray) -> FloatArray:
        """Return the log cumulative hazard at the horizon, then the coefficients, under row weights.

        Raises
        ------
        NotEstimableError
            If no row is followed to the horizon, no event is seen, or the fit does not settle.
        """
        alive = survival_at(self.event, self.time, self.horizon, weights)
        if self.constant:
            return cloglog(np.array([1 - alive]))
        beta = self._cox.fit(weights, self._start)
        if self._start is None:
            self._start = beta
        hazard = self._cox.baseline_hazard(beta, weights, self.horizon)
        if hazard <= 0:
            raise NotEstimableError("no event was seen by the horizon", "at least 1 event by the horizon")
        return np.concatenate([[np.log(hazard) - float(self._cox.centre @ beta)], beta])

    def _observed(self, x: FloatArray, fitted: FloatArray) -> FloatArray:
        log_hazard = np.full(x.shape[0], fitted[0]) if self.constant else fitted[0] + x @ fitted[1:]
        out: FloatArray = -np.expm1(-np.exp(log_hazard))
        return out

    def at(self, grid: FloatArray, fitted: FloatArray) -> FloatArray:
        """Return the observed risk at some predicted risks."""
        return self._observed(spline_basis(cloglog(grid), self.knots), fitted)

    def distances(self, fitted: FloatArray) -> FloatArray:
        """Return the distance of each row's risk from the curve."""
        return np.abs(self._observed(self._x, fitted) - self.risk)


def oe_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the Kaplan-Meier risk at a horizon over the mean predicted risk; 1 is right, > 1 means risks too low.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    risk : float array, shape (n,)
        Probability of the event by the horizon.
    horizon : float
    weights : float array, shape (n,), optional

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, or no event is expected.

    References
    ----------
    McLernon et al., Ann Intern Med 2023;176:105.

    Examples
    --------
    >>> oe_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], horizon=2)
    0.5
    """
    seen, when, w = survival(event, time, weights)
    expected = float(w @ probabilities("risk", risk, when.size) / w.sum())
    if expected <= 0:
        raise NotEstimableError("no event is expected", "risks above 0")
    return (1 - survival_at(seen, when, horizon, w)) / expected


def calibration_slope_at(event: ArrayLike, time: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the Cox coefficient of the cloglog of the predicted risk; 1 is right, < 1 too extreme.

    The horizon enters through the risk only: all follow-up is used, with Efron's ties.

    Parameters
    ----------
    event, time, risk
        As for `oe_at`.
    weights : array of whole numbers, shape (n,), optional

    Raises
    ------
    NotEstimableError
        If there are no events, all risks are equal, or the risks rank all events perfectly.

    References
    ----------
    McLernon et al., Ann Intern Med 2023;176:105.

    Examples
    --------
    >>> round(calibration_slope_at([1, 1, 0, 1], [1, 2, 3, 4], [0.5, 0.2, 0.5, 0.2]), 3)
    0.306
    """
    seen, when, w = survival(event, time, weights)
    x = cloglog(probabilities("risk", risk, when.size))
    if np.ptp(x[w > 0]) < 1e-12:
        raise NotEstimableError("all risks are equal", "risks that vary")
    return float(CoxRegression(seen, when, x[:, None]).fit(w)[0])


def smooth_calibration_at(
    event: ArrayLike,
    time: ArrayLike,
    risk: ArrayLike,
    horizon: float,
    grid: ArrayLike,
    weights: ArrayLike | None = None,
) -> FloatArray:
    """Return the observed risk by the horizon at predicted risks, from a smooth calibration curve.

    Parameters
    ----------
    event, time, risk, horizon, weights
        As for `calibration_slope_at`.
    grid : float array, shape (g,)

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, no event is seen, or the fit does not settle.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Examples
    --------
    >>> smooth_calibration_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, [0.5]).round(6)
    array([0.25])
    """
    seen, when, w = survival(event, time, weights)
    curve = HorizonCalibration(seen, when, probabilities("risk", risk, when.size), horizon, w)
    return curve.at(probabilities("grid", grid), curve.fit(w))


def calibration_errors_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> CalibrationErrors:
    """Return ICI, E50, E90 and Emax at a horizon.

    Parameters
    ----------
    event, time, risk, horizon, weights
        As for `smooth_calibration_at`.

    Raises
    ------
    NotEstimableError
        As for `smooth_calibration_at`.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Examples
    --------
    >>> round(calibration_errors_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2).e90, 6)
    0.25
    """
    seen, when, w = survival(event, time, weights)
    curve = HorizonCalibration(seen, when, probabilities("risk", risk, when.size), horizon, w)
    return CalibrationErrors.of(curve.distances(curve.fit(w)), w)


def ici_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the integrated calibration index at a horizon; see `calibration_errors_at`."""
    return calibration_errors_at(event, time, risk, horizon, weights).ici


def e50_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the median distance from the calibration curve at a horizon; see `calibration_errors_at`."""
    return calibration_errors_at(event, time, risk, horizon, weights).e50


def e90_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the 90th percentile of that distance at a horizon; see `calibration_errors_at`."""
    return calibration_errors_at(event, time, risk, horizon, weights).e90


def deciles_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, groups: int = 10, level: float = 0.95
) -> list[dict[str, Any]]:
    """Return predicted and Kaplan-Meier risk by quantile group of predicted risk, with log-log limits.

    Parameters
    ----------
    event, time, risk, horizon
        As for `oe_at`.
    groups : int
    level : float

    Returns
    -------
    list of dict
        predicted, observed, lower, upper, n; None where nobody in the group is followed to the horizon.

    Examples
    --------
    >>> deciles_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, groups=2)[0]["observed"]
    0.25
    """
    seen, when, _ = survival(event, time)
    p = probabilities("risk", risk, when.size)
    code = risk_groups(p, groups)
    rows = []
    for k in range(int(code.max()) + 1):
        own = code == k
        curve = kaplan_meier(seen[own], when[own], level=level)
        lower, upper = curve.interval_at(horizon)
        found = [1 - float(v) for v in (curve.at(horizon), upper, lower)]
        observed, low, high = (v if np.isfinite(v) else None for v in found)
        rows.append(
            {"predicted": float(p[own].mean()), "observed": observed, "lower": low, "upper": high, "n": int(own.sum())}
        )
    return rows
