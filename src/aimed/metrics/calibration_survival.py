"""Agreement of predicted risks at a horizon with how often the event happens by then, under censoring."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.accuracy import risk_groups
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    dot,
    patient_codes,
    probabilities,
    row_dot,
    survival,
    tally,
    vector,
    weighted_mean,
)
from aimed.metrics.calibration_binary import (
    DISTANCES,
    LEVELS,
    CalibrationErrors,
    RiskGroups,
    distance_estimates,
    nothing_known,
    reading_grid,
    refuse_shares,
)
from aimed.metrics.draws import PatientDraws
from aimed.metrics.kernels.regressions import fill_distances, replicate_weights
from aimed.metrics.kernels.smoothing import distance_summary
from aimed.metrics.regression import EDGE, CoxRegression, Fit, cloglog, spline_basis, spline_knots
from aimed.metrics.result import (
    Curve,
    Estimate,
    Headline,
    Scale,
    clustered,
    clustered_covariance,
    clustered_variance,
    independent_units,
    normal_quantile,
    notes,
    or_missing,
    quantile_of_units,
)

__all__ = [
    "CalibrationAt",
    "CurveAtReplicates",
    "HorizonCalibration",
    "SlopeAtReplicates",
    "calibration_at",
    "calibration_errors_at",
    "calibration_intercept_at",
    "calibration_slope_at",
    "deciles_at",
    "e50_at",
    "e90_at",
    "ici_at",
    "oe_at",
]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A right-censored outcome with risks at a horizon, checked once."""

    event: BoolArray
    time: FloatArray
    p: FloatArray
    w: FloatArray
    horizon: float

    @classmethod
    def of(
        cls, event: ArrayLike, time: ArrayLike, p: ArrayLike, horizon: float | None, weights: ArrayLike | None
    ) -> _Rows:
        seen, when, w = survival(event, time, weights)
        refuse_shares(w)
        until = math.inf if horizon is None else float(vector("horizon", [horizon])[0])
        return cls(seen, when, probabilities("p", p, when.size), w, until)

    @property
    def n(self) -> int:
        return int((self.w > 0).sum())

    @property
    def events(self) -> int:
        """Events by the horizon."""
        return int(((self.w > 0) & self.event & (self.time <= self.horizon)).sum())

    @property
    def moved(self) -> str:
        count = int(((self.p < EDGE) | (self.p == 1))[self.w > 0].sum())
        return f"{count} risks of 0 or 1 were read as just inside" if count else ""

    def estimate(
        self,
        name: str,
        value: float,
        influence: FloatArray,
        patient: ArrayLike | None,
        level: float,
        *,
        model_variance: float | None = None,
        scale: Scale = "identity",
    ) -> Estimate:
        """Make an estimate from influence values, or from the model's variance where it is given."""
        if patient is not None and model_variance is not None:
            raise DataError("model-based errors and a patient of each row", 'errors="sandwich" for dependent rows')
        variance = clustered_variance(influence, patient) if model_variance is None else model_variance
        kind = "sandwich" if model_variance is None else "model-based"
        return Estimate.normal(
            value,
            math.sqrt(variance),
            level=level,
            scale=scale,
            units=independent_units(patient, influence.size),
            name=name,
            n=self.n,
            events=self.events,
            method=clustered(f"normal interval, {kind} error", patient)
            + (", symmetric on the log scale" if scale == "log" else ""),
            note=self.moved,
            influence=influence,
        )


@dataclass(frozen=True, slots=True)
class _Alive:
    """Kaplan-Meier survival at a horizon, Greenwood's variance of its log, and each row's influence on that log."""

    value: float
    log_variance: float
    influence: FloatArray


def _alive(event: BoolArray, time: FloatArray, w: FloatArray, horizon: float) -> _Alive:
    """Return Kaplan-Meier survival at a horizon.

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon while the curve is above 0.
    """
    dead = event & (time <= horizon) & (w > 0)
    times = np.unique(time[dead])
    place = np.searchsorted(times, time, side="right")
    leaving = tally(place, w, times.size + 1)
    deaths = tally(place[dead] - 1, w[dead], times.size)
    at_risk = np.cumsum(leaving[:0:-1])[::-1]
    left = at_risk - deaths
    ended = bool((left <= 1e-12 * at_risk).any())
    if ended:
        return _Alive(0.0, math.nan, np.zeros(time.size))
    if not w[time >= horizon].any():
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    value = float(np.prod(1 - deaths / at_risk))
    passed = np.r_[0.0, np.cumsum(deaths / at_risk / left)]
    influence = passed[place]
    influence[dead] -= 1 / left[place[dead] - 1]
    return _Alive(value, float((deaths / at_risk / left).sum()), w * influence)


class HorizonCalibration:
    """A smooth calibration curve at a horizon: Cox regression on a spline of the cloglog of the predicted risk.

    With 30 events there is a restricted cubic spline with 3 knots, at the 10th, 50th and 90th percentile; with fewer,
    or when risks take too few values, the cloglog enters as it is; risks that are all equal give the Kaplan-Meier risk.

    Parameters
    ----------
    event, time, risk : arrays, shape (n,)
    horizon : float
    weights : float array, shape (n,)
        Weights of the first fit; knots rest on them, and stay for later fits.

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
        used = weights > 0
        self.constant = bool(np.ptp(x[used]) < 1e-12)
        enough = dot(weights, event) >= 30 and not self.constant
        self.knots = spline_knots(x[used], 3, weights[used]) if enough else None
        basis = spline_basis(x, self.knots)
        self._cox = CoxRegression(event, time, basis)
        ones = np.ones((risk.size, 1))
        self._design = ones if self.constant else np.column_stack([ones, basis])
        self._followed = time >= horizon

    @property
    def method(self) -> str:
        """What the curve is, in words."""
        if self.constant:
            return "the Kaplan-Meier risk, since all risks are equal"
        if self.knots is None:
            return "Cox regression on the cloglog of risk (fewer than 30 events, or too few risks)"
        return "Cox regression on a restricted cubic spline of the cloglog of risk, 3 knots"

    def survival(self, weights: FloatArray) -> float:
        """Return Kaplan-Meier survival at the horizon; refuses when nobody is followed to it."""
        alive = self._cox.survival(weights, self.horizon)
        if alive > 0 and not weights[self._followed].any():
            raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
        return alive

    def fit(self, weights: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Return the log cumulative hazard at the horizon, then the coefficients, under row weights.

        Parameters
        ----------
        weights : float array, shape (n,)
        start : float array, shape (k,), optional
            An earlier fit, where Newton's method starts.

        Raises
        ------
        NotEstimableError
            If no row is followed to the horizon, no event is seen, or the fit does not settle.
        """
        alive = self.survival(weights)
        if self.constant:
            return cloglog(np.array([1 - alive]))
        beta = self._cox.fit(weights, None if start is None else start[1:])
        hazard = self._cox.baseline_hazard(beta, weights, self.horizon)
        if hazard <= 0:
            raise NotEstimableError("no event was seen by the horizon", "at least 1 event by the horizon")
        return np.concatenate([[np.log(hazard) - dot(self._cox.centre, beta)], beta])

    def design(self, risk: FloatArray) -> FloatArray:
        """Return the columns that the fit multiplies."""
        ones = np.ones((risk.size, 1))
        return ones if self.constant else np.column_stack([ones, spline_basis(cloglog(risk), self.knots)])

    def at(self, grid: FloatArray, fitted: FloatArray) -> FloatArray:
        """Return the observed risk at some predicted risks."""
        out: FloatArray = -np.expm1(-np.exp(row_dot(self.design(grid), fitted)))
        return out

    def distances(self, fitted: FloatArray) -> FloatArray:
        """Return the distance of each row's risk from the curve."""
        out = np.empty(self.risk.size)
        fill_distances(self._design, self.risk, fitted, True, out)
        return out

    def influence(self, fitted: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return each row's influence on the fit, shape (n, k), and on the ICI, shape (n,); the knots are held."""
        if self.constant:
            alive = _alive(self.event, self.time, weights, self.horizon)
            inner = 0 < alive.value < 1
            rows = (alive.influence / math.log(alive.value) if inner else np.zeros(self.risk.size))[:, None]
        else:
            beta = fitted[1:]
            information = self._cox.solve(weights, beta).information
            score, direct = self._cox.influence(beta, weights, self.horizon)
            own = row_dot(score, Fit(beta, information).covariance)
            hazard, slope = self._cox.hazard(beta, weights, self.horizon)
            rows = np.column_stack([direct / hazard + row_dot(own, slope / hazard - self._cox.centre), own])
        eta = row_dot(self._design, fitted)
        gap = -np.expm1(-np.exp(eta)) - self.risk
        total = float(weights.sum())
        pull = np.einsum("n,nq->q", weights * np.sign(gap) * np.exp(eta - np.exp(eta)), self._design) / total
        mean = weighted_mean(np.abs(gap), weights)
        return rows, weights * (np.abs(gap) - mean) / total + row_dot(rows, pull)


def oe_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the Kaplan-Meier risk at a horizon over the mean predicted risk; 1 is right, > 1 means risks too low.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    p : float array, shape (n,)
        Probability of the event by the horizon.
    horizon : float
        In the unit of `time`.
    weights : float array, shape (n,), optional
        Rows each row stands for.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
        Coverage of the interval.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, or no event is expected.

    References
    ----------
    McLernon et al., Ann Intern Med 2023;176:105.

    Notes
    -----
    Formula: (1 - Kaplan-Meier survival at the horizon) over the weighted mean of p.
    Range: 0 upwards; the interval is symmetric on the log scale. Its error is Greenwood's, joined with that of the mean
    risk by influence values.
    Assumes: censoring that is independent of the event; independent rows, or patients.
    Refuses: a horizon beyond follow-up, and risks that are all 0. With no event by the horizon the value is 0 and there
    is no interval.

    Examples
    --------
    >>> oe_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], horizon=2)
    oe@2 0.5000 (95 % interval 0.0916 to 2.7298), n = 4
    """
    return _oe(_Rows.of(event, time, p, horizon, weights), patient, level)


def _oe(rows: _Rows, patient: ArrayLike | None, level: float) -> Estimate:
    total = float(rows.w.sum())
    expected = weighted_mean(rows.p, rows.w)
    if expected <= 0:
        raise NotEstimableError("no event is expected", "risks above 0")
    alive = _alive(rows.event, rows.time, rows.w, rows.horizon)
    value = (1 - alive.value) / expected
    influence = -alive.value * alive.influence / expected - value * rows.w * (rows.p / expected - 1) / total
    found = rows.estimate(f"oe@{rows.horizon:g}", value, influence, patient, level, scale="log")
    if value == 0:
        found.lower = found.upper = found.se = math.nan
        found.note = notes(rows.moved, "no interval: no event was seen by the horizon")
    return found


def calibration_slope_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    errors: str = "sandwich",
) -> Estimate:
    """Return the Cox coefficient of the cloglog of the predicted risk; 1 is right, < 1 too extreme.

    Parameters
    ----------
    event, time, p, weights, patient, level
        As for `oe_at`.
    errors : {"sandwich", "model"}
        Lin and Wei's robust standard error, or that of the Cox model.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If there are no events, all risks are equal, or the risks rank all events perfectly.

    References
    ----------
    McLernon et al., Ann Intern Med 2023;176:105. Lin and Wei, JASA 1989;84:1074.

    Notes
    -----
    Formula: the coefficient of log(-log(1 - p)) in a Cox regression with Efron's ties.
    Range: any number; below 1, risks are too extreme; below 0, they rank wrongly.
    Assumes: hazards proportional in the cloglog of the risk. The horizon enters through the risk only: all follow-up is
    used. Censoring independent of the event given the risk; independent rows, or patients.
    Refuses: no event, equal risks, and risks that rank all events perfectly (the slope is infinite).

    Examples
    --------
    >>> round(calibration_slope_at([1, 1, 0, 1], [1, 2, 3, 4], [0.5, 0.2, 0.5, 0.2]), 3)
    0.306
    """
    rows = _Rows.of(event, time, p, None, weights)
    return _slope(rows, patient, level, errors)


def _slope(rows: _Rows, patient: ArrayLike | None, level: float, errors: str) -> Estimate:
    x = cloglog(rows.p)
    if np.ptp(x[rows.w > 0]) < 1e-12:
        raise NotEstimableError("all risks are equal", "risks that vary")
    if errors not in ("sandwich", "model"):
        raise DataError("an unknown kind of standard error", '"sandwich" or "model"')
    model = CoxRegression(rows.event, rows.time, x[:, None])
    fit = model.solve(rows.w)
    influence = row_dot(model.influence(fit.beta, rows.w, rows.horizon)[0], fit.covariance)
    variance = float(fit.covariance[0, 0]) if errors == "model" else None
    return rows.estimate(
        "calibration_slope", float(fit.beta[0]), influence[:, 0], patient, level, model_variance=variance
    )


def calibration_intercept_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the log of the observed over the expected cumulative hazard at a horizon, slope held at 1; 0 is right.

    Parameters
    ----------
    event, time, p, horizon, weights, patient, level
        As for `oe_at`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If no event is seen by the horizon, or nobody is followed to it.

    References
    ----------
    Crowson, Atkinson and Therneau, Stat Methods Med Res 2016;25:1692.

    Notes
    -----
    Formula: log of the baseline hazard at the horizon, sum over event times of d / sum of w exp(cloglog p) over rows at
    risk (Efron's ties), of a Cox model with cloglog p as an offset. It is the intercept of Crowson's Poisson model with
    the expected cumulative hazard as offset, where each row's hazard over time has the shape of the pooled one; so only
    the risk at the horizon is needed.
    Range: any number; above 0, risks are too low on average.
    Assumes: hazards proportional with slope 1; censoring independent of the event given the risk; independent rows, or
    patients.
    Refuses: no event by the horizon, and a horizon beyond follow-up.

    Examples
    --------
    >>> round(calibration_intercept_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2), 4)
    -1.0198
    """
    return _intercept(_Rows.of(event, time, p, horizon, weights), patient, level)


def _intercept(rows: _Rows, patient: ArrayLike | None, level: float) -> Estimate:
    _alive(rows.event, rows.time, rows.w, rows.horizon)
    model, one = CoxRegression(rows.event, rows.time, cloglog(rows.p)[:, None]), np.ones(1)
    hazard, _ = model.hazard(one, rows.w, rows.horizon)
    if hazard <= 0:
        raise NotEstimableError("no event was seen by the horizon", "at least 1 event by the horizon")
    influence = model.influence(one, rows.w, rows.horizon)[1] / hazard
    value = math.log(hazard) - float(model.centre[0])
    return rows.estimate(f"calibration_intercept@{rows.horizon:g}", value, influence, patient, level)


def calibration_errors_at(
    event: ArrayLike, time: ArrayLike, p: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> CalibrationErrors:
    """Return ICI, E50, E90 and Emax at a horizon, without intervals.

    Parameters
    ----------
    event, time, p, horizon, weights
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
    rows = _Rows.of(event, time, p, horizon, weights)
    curve = HorizonCalibration(rows.event, rows.time, rows.p, rows.horizon, rows.w)
    return CalibrationErrors.of(curve.distances(curve.fit(rows.w)), rows.w)


class CurveAtReplicates:
    """A smooth curve at a horizon and the distances from it in bootstrap replicates.

    Each replicate starts at the fit of all rows, and all are NaN where there is no such fit.

    Parameters
    ----------
    curve : HorizonCalibration
    w : float array, shape (n,)
    codes : int array, shape (n,)
        Patient number of each row, from 0; row i weighs w[i] times the count of its patient.

    Examples
    --------
    >>> curve = HorizonCalibration(np.arange(4) == 0, np.array([1.0, 5.0, 5.0, 5.0]), np.full(4, 0.5), 2.0, np.ones(4))
    >>> fast = CurveAtReplicates(curve, np.ones(4), np.arange(4))
    >>> fast.errors(np.ones((4, 1), dtype=np.uint8)).round(6)
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def __init__(self, curve: HorizonCalibration, w: FloatArray, codes: IntArray) -> None:
        self._curve, self._w, self._codes = curve, w, codes
        self._start: FloatArray | None = None
        with suppress(NotEstimableError):
            self._start = curve.fit(w)

    def errors(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return ICI, E50, E90 and Emax of each replicate, shape (b, 4); NaN where not estimable."""
        return self.errors_and_curve(counts, np.empty(0))[0]

    def errors_and_curve(self, counts: NDArray[np.uint8], grid: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the errors, shape (b, 4), and the curve at some risks, shape (b, g), of each replicate."""
        curve, b = self._curve, counts.shape[1]
        out, read = np.full((b, 4), np.nan), np.full((b, grid.size), np.nan)
        if self._start is None:
            return out, read
        weights = np.empty(self._w.size)
        for j in range(b):
            replicate_weights(self._w, self._codes, counts, j, weights)
            try:
                fitted = curve.fit(weights, self._start)
            except NotEstimableError:
                continue
            distance_summary(curve.distances(fitted), weights, LEVELS, out[j])
            read[j] = curve.at(grid, fitted)
        return out, read


class SlopeAtReplicates:
    """The calibration slope on the cloglog of a risk in bootstrap replicates.

    Each replicate starts at the fit of all rows, and all are NaN where there is no such fit.

    Parameters
    ----------
    event, time, p, w : arrays, shape (n,)
    codes : int array, shape (n,)
        Patient number of each row, from 0; row i weighs w[i] times the count of its patient.

    Examples
    --------
    >>> event, time = np.array([True, True, False, True]), np.array([1.0, 2.0, 3.0, 4.0])
    >>> fast = SlopeAtReplicates(event, time, np.array([0.5, 0.2, 0.5, 0.2]), np.ones(4), np.arange(4))
    >>> fast.replicate(np.ones((4, 1), dtype=np.uint8)).round(3)
    array([0.306])
    """

    def __init__(self, event: BoolArray, time: FloatArray, p: FloatArray, w: FloatArray, codes: IntArray) -> None:
        self._w, self._codes = w, codes
        self._start: FloatArray | None = None
        x = cloglog(p)
        if np.ptp(x[w > 0]) >= 1e-12:
            self._cox = CoxRegression(event, time, x[:, None])
            with suppress(NotEstimableError):
                self._start = self._cox.fit(w)

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the slope of each replicate, shape (b,); NaN where not estimable."""
        out, weights = np.full(counts.shape[1], np.nan), np.empty(self._w.size)
        if self._start is None:
            return out
        for j in range(out.size):
            replicate_weights(self._w, self._codes, counts, j, weights)
            with suppress(NotEstimableError):
                out[j] = self._cox.fit(weights, self._start)[0]
        return out


def _curve_errors(
    rows: _Rows, curve: HorizonCalibration, patient: ArrayLike | None, level: float, draws: int, seed: int
) -> list[Estimate]:
    fitted = curve.fit(rows.w)
    found, drawn = np.empty(4), np.empty((0, 4))
    distance_summary(curve.distances(fitted), rows.w, LEVELS, found)
    if draws:
        sampler = PatientDraws(patient, rows.time.size, draws=draws, seed=seed)
        drawn = sampler.map(CurveAtReplicates(curve, rows.w, sampler.codes).errors)
    out = distance_estimates(
        [f"{name}@{rows.horizon:g}" for name in DISTANCES],
        found,
        drawn,
        level=level,
        n=rows.n,
        events=rows.events,
        method=curve.method,
        unit="rows" if patient is None else "patients",
        note=rows.moved,
    )
    out[0].influence = curve.influence(fitted, rows.w)[1]
    return out


def _one_distance(place: int, rows: _Rows, patient: ArrayLike | None, level: float, draws: int, seed: int) -> Estimate:
    curve = HorizonCalibration(rows.event, rows.time, rows.p, rows.horizon, rows.w)
    return _curve_errors(rows, curve, patient, level, draws, seed)[place]


def ici_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the integrated calibration index at a horizon: the mean distance of the risks from a smooth curve.

    Parameters
    ----------
    event, time, p, horizon, weights, patient, level
        As for `oe_at`.
    draws : int
        Bootstrap resamples of patients, or of rows without `patient`; 0 gives no interval.
    seed : int

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, no event is seen by then, or the fit does not settle.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Notes
    -----
    Formula: mean over rows of |f(p) - p|, f the risk by the horizon read from a smooth curve.
    Range: 0 (calibrated) to 1.
    Assumes: the curve is a Cox regression on a restricted cubic spline of cloglog p, 3 knots (fewer than 30 events:
    cloglog p itself), so hazards are proportional given the risk; censoring independent of the event given the risk;
    independent rows, or patients. Distances are biased upward in small data, and more so in resamples: the upper limit
    is the percentile, and the lower is that mirrored at the estimate, not below 0.
    Refuses: a horizon beyond follow-up, no event by the horizon, and risks that rank all events perfectly.

    Examples
    --------
    >>> ici_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, draws=0).value
    0.25
    """
    return _one_distance(0, _Rows.of(event, time, p, horizon, weights), patient, level, draws, seed)


def e50_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the median distance of the risks from a smooth calibration curve at a horizon.

    Parameters
    ----------
    event, time, p, horizon, weights, patient, level, draws, seed
        As for `ici_at`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        As for `ici_at`.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Notes
    -----
    Formula: median over rows of |f(p) - p|, f the risk by the horizon read from a smooth curve.
    Range: 0 (calibrated) to 1.
    Assumes: as for `ici_at`.
    Refuses: as `ici_at`.

    Examples
    --------
    >>> e50_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, draws=0).value
    0.25
    """
    return _one_distance(1, _Rows.of(event, time, p, horizon, weights), patient, level, draws, seed)


def e90_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the 90th percentile of the distance of the risks from a smooth calibration curve at a horizon.

    Parameters
    ----------
    event, time, p, horizon, weights, patient, level, draws, seed
        As for `ici_at`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        As for `ici_at`.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714.

    Notes
    -----
    Formula: 90th percentile over rows of |f(p) - p|, f the risk by the horizon read from a smooth curve.
    Range: 0 (calibrated) to 1.
    Assumes: as for `ici_at`.
    Refuses: as `ici_at`.

    Examples
    --------
    >>> e90_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, draws=0).value
    0.25
    """
    return _one_distance(2, _Rows.of(event, time, p, horizon, weights), patient, level, draws, seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationAt(Headline):
    """Calibration of risks at a horizon; as a number it is the integrated calibration index.

    Parameters
    ----------
    horizon : float
    oe, slope, intercept : Estimate
        Kaplan-Meier risk over mean risk, hazard slope, and log ratio of observed and expected hazards.
    ici, e50, e90, emax : Estimate
        Distances of the risks from the curve.
    curve : Curve
        Observed risk by the horizon at predicted risks, with pointwise limits.
    groups : RiskGroups
        Kaplan-Meier risk by quantile group of risk, with log-log limits.

    Notes
    -----
    What cannot be estimated is NaN, with the reason in its note.
    """

    _headline = "ici"

    horizon: float
    oe: Estimate
    slope: Estimate
    intercept: Estimate
    ici: Estimate
    e50: Estimate
    e90: Estimate
    emax: Estimate
    curve: Curve
    groups: RiskGroups


def _band(rows: _Rows, curve: HorizonCalibration, codes: IntArray, level: float, units: int | None) -> Curve:
    grid = reading_grid(rows.p[rows.w > 0])
    fitted = curve.fit(rows.w)
    x = curve.design(grid)
    covariance = clustered_covariance(curve.influence(fitted, rows.w)[0], codes)
    error = np.sqrt(np.einsum("gq,qr,gr->g", x, covariance, x))
    centre, z = row_dot(x, fitted), quantile_of_units(level, units)

    def risk(eta: FloatArray) -> FloatArray:
        out: FloatArray = -np.expm1(-np.exp(eta))
        return out

    return Curve(
        name=f"observed risk@{rows.horizon:g}",
        axis="predicted risk",
        x=grid,
        value=risk(centre),
        lower=risk(centre - z * error),
        upper=risk(centre + z * error),
        se=error * np.exp(centre - np.exp(centre)),
        n=rows.n,
        events=rows.events,
        level=level,
        method=f"{curve.method}; pointwise limits symmetric on the cloglog, sandwich error, knots held",
        note=rows.moved,
    )


def _groups(rows: _Rows, groups: int, level: float) -> RiskGroups:
    used = rows.w > 0
    event, time, p, w = rows.event[used], rows.time[used], rows.p[used], rows.w[used]
    code = risk_groups(p, groups, w)
    size = int(code.max()) + 1
    table = np.full((size, 3), np.nan)
    z, events = normal_quantile(level), tally(code, w * (event & (time <= rows.horizon)), size)
    for k in range(size):
        own = code == k
        try:
            alive = _alive(event[own], time[own], w[own], rows.horizon)
        except NotEstimableError:
            continue
        s = alive.value
        table[k, 0] = 1 - s
        if 0 < s < 1:
            half = math.exp(z * math.sqrt(alive.log_variance) / abs(math.log(s)))
            table[k, 1:] = 1 - s ** (1 / half), 1 - s**half
        elif s == 1:
            table[k, 1:] = 0.0, 1 - ((1 - level) / 2) ** (1 / w[own & (time >= rows.horizon)].sum())
    mass = tally(code, w, size)
    return RiskGroups(
        predicted=tally(code, w * p, size) / mass,
        observed=table[:, 0],
        lower=table[:, 1],
        upper=table[:, 2],
        n=mass,
        events=events,
        level=level,
        method="Kaplan-Meier, log-log limits, rows taken as independent; where no one had the event from 0 to the risk "
        "that would let all who are followed to the horizon stay free of it with chance (1 - level) / 2; none where "
        "all had it",
    )


def calibration_at(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
    groups: int = 10,
) -> CalibrationAt:
    """Return how well risks at a horizon agree with what happened under censoring, with intervals and a curve.

    Parameters
    ----------
    event, time, p, horizon, weights, patient, level
        As for `oe_at`.
    draws : int
        Bootstrap resamples of patients for the distances from the curve; 0 gives them no interval. All other intervals
        are analytic.
    seed : int
    groups : int
        Quantile groups of risk.

    Returns
    -------
    CalibrationAt

    Raises
    ------
    DataError
        If the input is malformed. What cannot be estimated is NaN with a note instead.

    References
    ----------
    Austin, Harrell and van Klaveren, Stat Med 2020;39:2714. McLernon et al., Ann Intern Med 2023;176:105.

    Notes
    -----
    Formula: see `oe_at`, `calibration_slope_at`, `calibration_intercept_at` and `ici_at`.
    Range: O/E 1, slope 1, intercept 0 and distances 0 are right.
    Assumes: as these functions. The risks are judged as they are: nothing is recalibrated.
    Refuses: malformed input only; parts that cannot be estimated are NaN and their notes say why.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.1, 0.9, 500)
    >>> time = rng.exponential(-1 / np.log1p(-p))
    >>> found = calibration_at(time < 2, np.minimum(time, 2), p, 1, draws=50)
    >>> found.oe
    oe@1 1.0103 (95 % interval 0.9393 to 1.0866), n = 500
    """
    rows = _Rows.of(event, time, p, horizon, weights)
    codes = patient_codes(patient, rows.time.size)

    def part(name: str, work: Callable[[], Estimate]) -> Estimate:
        return or_missing(name, work, **known)

    known: dict[str, Any]
    at, known = f"@{rows.horizon:g}", {"n": rows.n, "events": rows.events, "level": level}
    try:
        curve = HorizonCalibration(rows.event, rows.time, rows.p, rows.horizon, rows.w)
        distances = _curve_errors(rows, curve, patient, level, draws, seed)
        band = _band(rows, curve, codes, level, independent_units(patient, rows.time.size))
    except NotEstimableError as error:
        distances, band = nothing_known(
            [name + at for name in DISTANCES], rows.p[rows.w > 0], error.got, curve="observed risk" + at, **known
        )
    return CalibrationAt(
        horizon=rows.horizon,
        oe=part("oe" + at, lambda: _oe(rows, patient, level)),
        slope=part("calibration_slope", lambda: _slope(rows, patient, level, "sandwich")),
        intercept=part("calibration_intercept" + at, lambda: _intercept(rows, patient, level)),
        ici=distances[0],
        e50=distances[1],
        e90=distances[2],
        emax=distances[3],
        curve=band,
        groups=_groups(rows, groups, level),
    )


def deciles_at(
    event: ArrayLike, time: ArrayLike, p: ArrayLike, horizon: float, groups: int = 10, level: float = 0.95
) -> list[dict[str, Any]]:
    """Return predicted and Kaplan-Meier risk by quantile group of predicted risk, with log-log limits.

    Parameters
    ----------
    event, time, p, horizon
        As for `oe_at`.
    groups : int
    level : float

    Returns
    -------
    list of dict
        predicted, observed, lower, upper, n; None where nobody in the group is followed to the horizon, and for limits
        where all had the event.

    Examples
    --------
    >>> deciles_at([1, 0, 0, 0], [1, 5, 5, 5], [0.5, 0.5, 0.5, 0.5], 2, groups=2)[0]["observed"]
    0.25
    """
    found = _groups(_Rows.of(event, time, p, horizon, None), groups, level)
    out: list[dict[str, Any]] = []
    for k in range(len(found)):
        row = {name: float(getattr(found, name)[k]) for name in ("predicted", "observed", "lower", "upper")}
        out.append({key: v if math.isfinite(v) else None for key, v in row.items()} | {"n": int(found.n[k])})
    return out
