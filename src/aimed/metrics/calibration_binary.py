"""Agreement of predicted risks with how often the outcome happens, for a yes/no outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.accuracy import brier, risk_groups, spiegelhalter
from aimed.metrics.arrays import (
    FloatArray,
    IntArray,
    binary,
    dot,
    patient_codes,
    prevalence_of,
    probabilities,
    row_dot,
    tally,
    weighted_mean,
)
from aimed.metrics.draws import PatientDraws, estimable_share, percentile_interval
from aimed.metrics.kernels.evaluation import value_sums
from aimed.metrics.kernels.regressions import fill_distances, replicate_weights
from aimed.metrics.kernels.smoothing import distance_summary, local_fit
from aimed.metrics.proportions import wilson
from aimed.metrics.regression import (
    EDGE,
    Fit,
    expit,
    fit_logistic,
    logistic,
    logistic_replicates,
    logit,
    spline_basis,
    spline_knots,
)
from aimed.metrics.result import (
    Curve,
    Estimate,
    Headline,
    Scale,
    clustered,
    clustered_covariance,
    clustered_variance,
    limits,
    notes,
    or_missing,
)

__all__ = [
    "DISTANCES",
    "LEVELS",
    "Calibration",
    "CalibrationErrors",
    "CalibrationReplicates",
    "Histogram",
    "LoessCalibration",
    "RiskGroups",
    "SmoothCalibration",
    "calibration",
    "calibration_errors",
    "calibration_intercept",
    "calibration_slope",
    "distance_estimates",
    "distance_limits",
    "e50",
    "e90",
    "ici",
    "nothing_known",
    "oe",
    "reading_grid",
    "refuse_shares",
]

LEVELS = np.array([0.5, 0.9])
"""Shares of the rows of which E50 and E90 are the largest distance."""

DISTANCES = ("ici", "e50", "e90", "emax")
"""Distances from a calibration curve, in the order in which they are worked out."""

_SEPARATED = ("the risks separate the classes perfectly", "classes whose risks overlap")


def refuse_shares(weights: FloatArray) -> None:
    """Refuse weights that are shares of a whole: the errors of calibration ask how many rows there are.

    Raises
    ------
    DataError
        If the weights of several rows sum to 1 or less.

    Examples
    --------
    >>> refuse_shares(np.array([1.0, 2.0]))
    """
    if weights.sum() <= 1 < int((weights > 0).sum()):
        raise DataError("weights that sum to 1 or less", "weights that say how many rows each row stands for")


def _rows(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    outcome, w = binary(y, weights)
    refuse_shares(w)
    return outcome, probabilities("p", p, outcome.size), w


def _line(x: FloatArray, y: FloatArray, w: FloatArray) -> FloatArray:
    """Return the design of the calibration slope model, or refuse where it has no finite fit."""
    prevalence_of(y, w)
    used = w > 0
    cases, others = x[used & (y == 1)], x[used & (y == 0)]
    low, high = min(cases.min(), others.min()), max(cases.max(), others.max())
    if high - low < 1e-12:
        raise NotEstimableError("all risks are equal", "risks that vary")
    if others.max() <= cases.min() or cases.max() <= others.min():
        raise NotEstimableError(*_SEPARATED)
    return np.column_stack([np.ones(x.size), x])


def _moved(p: FloatArray, w: FloatArray) -> str:
    """Say how many risks were too close to 0 or 1 for their log odds."""
    count = int(((p < EDGE) | (p > 1 - EDGE))[w > 0].sum())
    return f"{count} risks of 0 or 1 were read as {EDGE:g} from there" if count else ""


def _units(patient: ArrayLike | None, n: int) -> int | None:
    return None if patient is None else int(patient_codes(patient, n).max()) + 1


def _linear(
    name: str,
    value: float,
    influence: FloatArray,
    model_variance: float,
    rows: tuple[FloatArray, FloatArray],
    patient: ArrayLike | None,
    level: float,
    errors: str,
    *,
    scale: Scale = "identity",
    why: str = "no spread between rows",
    note: str = "",
) -> Estimate:
    """Make an estimate from influence values, with the sandwich or the model's standard error."""
    y, w = rows
    if errors == "model":
        if patient is not None:
            raise DataError("model-based errors and a patient of each row", 'errors="sandwich" for dependent rows')
        variance = model_variance
    elif errors == "sandwich":
        variance = clustered_variance(influence, patient)
    else:
        raise DataError("an unknown kind of standard error", '"sandwich" or "model"')
    used = w > 0
    kind = "sandwich" if errors == "sandwich" else "model-based"
    return Estimate.normal(
        value,
        math.sqrt(variance),
        units=_units(patient, y.size),
        why=why,
        level=level,
        scale=scale,
        name=name,
        n=int(used.sum()),
        events=int(y[used].sum()),
        method=clustered(f"normal interval, {kind} error", patient)
        + (", symmetric on the log scale" if scale == "log" else ""),
        note=note,
        influence=influence,
    )


def _score(x: FloatArray, residual: FloatArray, fit: Fit) -> FloatArray:
    """Return each row's influence on the coefficients, shape (n, q)."""
    return row_dot(x * residual[:, None], fit.covariance)


def calibration_intercept(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    errors: str = "sandwich",
) -> Estimate:
    """Return calibration in the large: the shift of the log odds that makes the mean risk right; 0 is right.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Predicted probabilities of the event.
    weights : float array, shape (n,), optional
        Row weights. In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
        Coverage of the interval.
    errors : {"sandwich", "model"}
        Standard error that holds whatever the truth, or that of the logistic model, as R's glm prints it.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Cox, Biometrika 1958;45:562. Van Calster et al., BMC Med 2019;17:230.

    Notes
    -----
    Formula: the maximum-likelihood a of logit P(y = 1) = a + logit(p), with logit(p) as an offset.
    Range: any number; above 0, risks are too low on average.
    Assumes: independent rows, or patients. Risks are kept 1e-8 away from 0 and 1; the note says how many were moved.
    Refuses: a single class.

    Examples
    --------
    >>> calibration_intercept([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5])
    calibration_intercept 1.0986 (95 % interval -1.1646 to 3.3618), n = 4
    """
    outcome, risk, w = _rows(y, p, weights)
    prevalence_of(outcome, w)
    x, offset = np.ones((outcome.size, 1)), logit(risk)
    fit = logistic(x, outcome, w, offset)
    influence = _score(x, w * (outcome - expit(offset + fit.beta[0])), fit)[:, 0]
    variance = float(fit.covariance[0, 0])
    rows = outcome, w
    return _linear(
        "calibration_intercept",
        float(fit.beta[0]),
        influence,
        variance,
        rows,
        patient,
        level,
        errors,
        note=_moved(risk, w),
    )


def _slope(
    y: FloatArray, p: FloatArray, w: FloatArray, patient: ArrayLike | None, level: float, errors: str
) -> tuple[Estimate, Estimate]:
    x = _line(logit(p), y, w)
    fit = logistic(x, y, w)
    influence, covariance = _score(x, w * (y - expit(row_dot(x, fit.beta))), fit), fit.covariance
    note = _moved(p, w)

    def one(place: int, name: str) -> Estimate:
        value, variance = float(fit.beta[place]), float(covariance[place, place])
        own = np.ascontiguousarray(influence[:, place])
        return _linear(name, value, own, variance, (y, w), patient, level, errors, note=note)

    return one(1, "calibration_slope"), one(0, "slope_intercept")


def calibration_slope(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    errors: str = "sandwich",
) -> Estimate:
    """Return the slope of a logistic regression of the outcome on the log odds of risk; 1 is right, < 1 too extreme.

    Parameters
    ----------
    y, p, weights, patient, level, errors
        As for `calibration_intercept`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present, all risks are equal, or the risks separate the classes perfectly.

    References
    ----------
    Cox, Biometrika 1958;45:562. Miller, Hui and Tierney, Stat Med 1991;10:1213.

    Notes
    -----
    Formula: the maximum-likelihood b of logit P(y = 1) = a + b logit(p).
    Range: any number; below 1, risks are too extreme, as those of an overfitted model; below 0, they rank wrongly.
    Assumes: independent rows, or patients. Risks are kept 1e-8 away from 0 and 1; few such rows can carry the slope,
    and the note says how many there are.
    Refuses: a single class, equal risks, and risks that separate the classes perfectly (the slope is infinite).

    Examples
    --------
    >>> round(calibration_slope([0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]), 4)
    0.1178
    """
    return _slope(*_rows(y, p, weights), patient, level, errors)[0]


def oe(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return observed over expected events; 1 is right, > 1 means risks too low.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `calibration_intercept`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If the expected number of events is 0.

    References
    ----------
    Debray et al., BMJ 2017;356:i6460.

    Notes
    -----
    Formula: sum of w y over sum of w p.
    Range: 0 upwards; the interval is symmetric on the log scale, and the observed and the expected number both vary.
    Assumes: independent rows, or patients.
    Refuses: risks that are all 0. With no event the value is 0 and there is no interval.

    Examples
    --------
    >>> oe([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5])
    oe 0.5000 (95 % interval 0.0916 to 2.7298), n = 4
    """
    outcome, risk, w = _rows(y, p, weights)
    expected = dot(w, risk)
    if expected <= 0:
        raise NotEstimableError("no event is expected", "risks above 0")
    value = dot(w, outcome) / expected
    influence = w * (outcome - value * risk) / expected
    if value == 0:
        used = w > 0
        return Estimate.normal(
            0.0,
            math.nan,
            level=level,
            why="no event was seen",
            name="oe",
            n=int(used.sum()),
            events=0,
            influence=influence,
        )
    return _linear("oe", value, influence, math.nan, (outcome, w), patient, level, "sandwich", scale="log")


class SmoothCalibration:
    """A smooth calibration curve: logistic regression on a restricted cubic spline of the log odds of risk.

    With 100 rows with and 100 without the event there are 4 knots, with 30 of each 3; with fewer, or when risks take
    too few values, the curve is the calibration slope model; risks that are all equal give the prevalence. Weights
    above 1 do not make more of a row.

    Parameters
    ----------
    y : float array, shape (n,)
    risk : float array, shape (n,)
    weights : float array, shape (n,)
        Weights of the first fit; knots rest on them, and stay for later fits.

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
        prevalence_of(y, weights)
        self.y, self.risk = y, risk
        x = logit(risk)
        used = weights > 0
        # Large weights buy no knots, and copies of rows with a part of the weight each buy none either.
        mass = [dot(weights, y), dot(weights, 1 - y)]
        rarer = min(float(np.count_nonzero(y[used])), float(np.count_nonzero(1 - y[used])), *mass)
        self.constant = bool(np.ptp(x[used]) < 1e-12)
        enough = rarer >= 30 and not self.constant
        self.knots = spline_knots(x[used], 4 if rarer >= 100 else 3, weights[used]) if enough else None
        if not self.constant:
            _line(x, y, weights)
        self.x = self.design(risk)
        self.first = logistic(self.x, y, weights)
        self.beta = self.first.beta

    @property
    def method(self) -> str:
        """What the curve is, in words."""
        if self.constant:
            return "the event rate, since all risks are equal"
        if self.knots is None:
            return "logistic regression on the log odds of risk (fewer than 30 events or non-events, or too few risks)"
        return f"logistic regression on a restricted cubic spline of the log odds of risk, {self.knots.size} knots"

    def design(self, risk: FloatArray) -> FloatArray:
        """Return the design matrix of some risks."""
        if self.constant:
            return np.ones((risk.size, 1))
        return np.column_stack([np.ones(risk.size), spline_basis(logit(risk), self.knots)])

    def fit(self, weights: FloatArray) -> FloatArray:
        """Return the coefficients under other row weights."""
        prevalence_of(self.y, weights)
        return fit_logistic(self.x, self.y, weights, start=self.beta)

    def at(self, grid: FloatArray, beta: FloatArray) -> FloatArray:
        """Return the observed risk at some predicted risks."""
        return expit(row_dot(self.design(grid), beta))

    def distances(self, beta: FloatArray) -> FloatArray:
        """Return the distance of each row's risk from the curve."""
        out = np.empty(self.risk.size)
        fill_distances(self.x, self.risk, beta, False, out)
        return out

    def influence(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return each row's influence on the coefficients of the first fit, shape (n, q), and on the ICI, shape (n,).

        The knots are held.
        """
        observed = expit(row_dot(self.x, self.beta))
        rows = _score(self.x, weights * (self.y - observed), self.first)
        gap, total = observed - self.risk, float(weights.sum())
        slope = np.einsum("n,nq->q", weights * np.sign(gap) * observed * (1 - observed), self.x) / total
        mean = weighted_mean(np.abs(gap), weights)
        own: FloatArray = weights * (np.abs(gap) - mean) / total + row_dot(rows, slope)
        return rows, own


def _tree(x: FloatArray, weights: FloatArray, most: int) -> FloatArray:
    """Return the vertices of Cleveland and Grosse's k-d tree in one dimension; x is sorted, `most` rows fill a cell."""
    cumulated = np.cumsum(weights)
    size = math.floor(cumulated[-1] + 1e-9)

    def row(place: int) -> float:
        return float(x[min(int(np.searchsorted(cumulated, place + 1e-9, side="right")), x.size - 1)])

    margin = 0.005 * max(x[-1] - x[0], 1e-10 * max(abs(x[0]), abs(x[-1])) + 1e-30)
    found = [x[0] - margin, x[-1] + margin]
    cells = [(0, size - 1, found[0], found[1])]
    while cells:
        first, last, low, high = cells.pop()
        if last - first + 1 <= most:
            continue
        middle = (first + last + 2) // 2 - 1
        shift = 0
        # Equal risks stay in one cell: the cut moves to the nearest gap.
        while first <= middle + shift < last and row(middle + shift) == row(middle + shift + 1):
            shift = -shift if shift > 0 else 1 - shift
        if not first <= middle + shift < last:
            continue
        middle += shift
        cut = row(middle)
        if cut in (low, high):
            continue
        found.append(cut)
        cells += [(first, middle, low, cut), (middle + 1, last, cut, high)]
    return np.unique(found)


class LoessCalibration:
    """A calibration curve by loess: local polynomials of the outcome on the risk, with tricube weights.

    As in R, the polynomials are fitted at the vertices of a tree of the risks, about 1 / (0.2 span) of them however
    many rows there are, and joined by cubics through their values and slopes. ``surface="direct"`` fits at every
    distinct risk instead, or at 500 quantiles of risk when there are more.

    Parameters
    ----------
    y, risk, weights : float arrays, shape (n,)
        The vertices rest on these weights, and stay for later fits.
    span : float
        Share of the rows in a neighbourhood.
    degree : {1, 2}
    surface : {"interpolate", "direct"}

    References
    ----------
    Cleveland and Grosse, Stat Comput 1991;1:47. Austin and Steyerberg, Stat Med 2014;33:517.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.random(500)
    >>> y = (rng.random(500) < risk) * 1.0
    >>> curve = LoessCalibration(y, risk, np.ones(500))
    >>> bool(abs(curve.at(np.array([0.5]), curve.fit(np.ones(500)))[0] - 0.5) < 0.1)
    True
    """

    def __init__(
        self,
        y: FloatArray,
        risk: FloatArray,
        weights: FloatArray,
        span: float = 0.75,
        degree: int = 2,
        surface: str = "interpolate",
    ) -> None:
        if not span > 0 or degree not in (1, 2) or surface not in ("interpolate", "direct"):
            raise DataError("loess with an unknown span, degree or surface", "span > 0, degree 1 or 2, known surface")
        prevalence_of(y, weights)
        self.y, self.risk, self.span, self.degree, self.surface = y, risk, span, degree, surface
        self._order = np.argsort(risk, kind="stable")
        self._x, self._y = risk[self._order], y[self._order]
        w = weights[self._order]
        used = w > 0
        if surface == "interpolate":
            most = math.floor(math.floor(float(w.sum()) + 1e-9) * span * 0.2)
            self.vertices = _tree(self._x[used], w[used], most)
        else:
            places = np.unique(self._x[used])
            self.vertices = places if places.size <= 500 else np.unique(np.quantile(places, np.linspace(0, 1, 500)))

    @property
    def method(self) -> str:
        """What the curve is, in words."""
        how = "as R's loess" if self.surface == "interpolate" else "fitted at each risk"
        return f"loess of the outcome on risk, span {self.span:g}, degree {self.degree}, {how}"

    def _local(
        self, weights: FloatArray, places: FloatArray, codes: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        value, slope, variance = np.empty(places.size), np.empty(places.size), np.empty(places.size)
        w = weights[self._order]
        local_fit(self._x, self._y, w, codes, places, float(self.span), self.degree, value, slope, variance)
        return value, slope, variance

    def fit(self, weights: FloatArray) -> FloatArray:
        """Return values and slopes at the vertices under row weights, shape (2, k)."""
        value, slope, _ = self._local(weights, self.vertices, np.empty(0, dtype=np.int64))
        return np.stack([value, slope])

    def variance(self, grid: FloatArray, weights: FloatArray, codes: IntArray) -> FloatArray:
        """Return the sandwich variance of the local polynomial at some risks, clustered by patient."""
        return self._local(weights, grid, codes[self._order])[2]

    def at(self, grid: FloatArray, beta: FloatArray) -> FloatArray:
        """Return the observed risk at some predicted risks; the nearest vertex beyond them."""
        v = self.vertices
        if v.size == 1:
            return np.full(grid.size, beta[0, 0])
        cell = np.clip(np.searchsorted(v, grid) - 1, 0, v.size - 2)
        width = v[cell + 1] - v[cell]
        h = np.clip((grid - v[cell]) / width, 0, 1)
        left, right = (1 - h) ** 2, h**2
        values = beta[0, cell] * left * (1 + 2 * h) + beta[0, cell + 1] * right * (3 - 2 * h)
        out: FloatArray = values + width * (beta[1, cell] * h * left + beta[1, cell + 1] * right * (h - 1))
        return out

    def distances(self, beta: FloatArray) -> FloatArray:
        """Return the distance of each row's risk from the curve."""
        return np.abs(self.at(self.risk, beta) - self.risk)


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
        out = np.empty(4)
        distance_summary(distance, weights, LEVELS, out)
        return cls(*map(float, out))


def calibration_errors(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> CalibrationErrors:
    """Return ICI, E50, E90 and Emax of the spline curve, without intervals.

    Parameters
    ----------
    y, p, weights
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
    outcome, risk, w = _rows(y, p, weights)
    curve = SmoothCalibration(outcome, risk, w)
    return CalibrationErrors.of(curve.distances(curve.beta), w)


def _smoother(smoother: str, y: FloatArray, p: FloatArray, w: FloatArray) -> SmoothCalibration | LoessCalibration:
    if smoother == "spline":
        return SmoothCalibration(y, p, w)
    if smoother == "loess":
        return LoessCalibration(y, p, w)
    raise DataError("an unknown smoother", '"spline" or "loess"')


class _CurveReplicates:
    """Distances from a smooth curve in bootstrap replicates; row i weighs w[i] times the count of its patient."""

    def __init__(self, curve: SmoothCalibration | LoessCalibration, w: FloatArray, codes: IntArray) -> None:
        self._curve, self._w, self._codes = curve, w, codes
        self._totals = np.column_stack([w, w * curve.y])
        self._zeros = np.zeros(w.size)

    def errors(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return ICI, E50, E90 and Emax of each replicate, shape (b, 4); NaN where not estimable."""
        return self.errors_and_curve(counts, np.empty(0))[0]

    def errors_and_curve(self, counts: NDArray[np.uint8], grid: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the errors, shape (b, 4), and the curve at some risks, shape (b, g), of each replicate."""
        curve, b = self._curve, counts.shape[1]
        out, read = np.full((b, 4), np.nan), np.full((b, grid.size), np.nan)
        sums = value_sums(self._totals, self._codes, counts)
        distance, weights = np.empty(self._w.size), np.empty(self._w.size)
        betas = np.zeros((1, b))
        if isinstance(curve, SmoothCalibration):
            betas = logistic_replicates(curve.x, curve.y, self._zeros, self._w, self._codes, counts, curve.beta)
        for j in map(int, np.flatnonzero((sums[1] > 0) & (sums[1] < sums[0]) & np.isfinite(betas[0]))):
            replicate_weights(self._w, self._codes, counts, j, weights)
            if isinstance(curve, SmoothCalibration):
                beta = np.ascontiguousarray(betas[:, j])
                fill_distances(curve.x, curve.risk, beta, False, distance)
            else:
                beta = curve.fit(weights)
                distance = curve.distances(beta)
            if np.isfinite(distance).all():
                distance_summary(distance, weights, LEVELS, out[j])
                read[j] = curve.at(grid, beta)
        return out, read


class CalibrationReplicates:
    """Calibration measures of bootstrap replicates: rows prepared once, then a few passes over them a replicate.

    Each replicate starts at the fit of all rows. Knots, or loess vertices, are those of all rows.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
    codes : int array, shape (n,)
        Patient number of each row, from 0.
    weights : float array, shape (n,), optional
        Multiply the counts.
    smoother : {"spline", "loess"}
    grid : float array, shape (g,), optional
        Predicted risks at which `replicate_with_curve` reads the curve.

    Attributes
    ----------
    names : tuple of str
        Columns of `replicate`.

    Examples
    --------
    >>> y, p = [0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]
    >>> fast = CalibrationReplicates(y, p, codes=np.arange(6))
    >>> fast.replicate(np.ones((6, 1), dtype=np.uint8)).round(4)[0, :3]
    array([0.    , 0.1178, 1.    ])
    """

    names = ("calibration_intercept", "calibration_slope", "oe", "ici", "e50", "e90")

    def __init__(
        self,
        y: ArrayLike,
        p: ArrayLike,
        *,
        codes: IntArray,
        weights: ArrayLike | None = None,
        smoother: str = "spline",
        grid: FloatArray | None = None,
    ) -> None:
        outcome, risk, w = _rows(y, p, weights)
        self._grid = np.empty(0) if grid is None else probabilities("grid", grid)
        self._codes: IntArray = np.ascontiguousarray(codes, dtype=np.int64)
        if np.any(np.diff(self._codes) < 0):
            # Counts are read in the order in which they lie in memory.
            order = np.argsort(self._codes, kind="stable")
            outcome, risk, w = outcome[order], risk[order], w[order]
            self._codes = self._codes[order]
        self._y, self._w = outcome, w
        self._logit = logit(risk)
        self._totals = np.column_stack([w, w * outcome, w * risk])
        self._curve: _CurveReplicates | None = None
        self._shift: FloatArray | None = None
        self._start: FloatArray | None = None
        try:
            prevalence_of(outcome, w)
            self._ones, self._zeros = np.ones((outcome.size, 1)), np.zeros(outcome.size)
            self._shift = fit_logistic(self._ones, outcome, w, self._logit)
            self._curve = _CurveReplicates(_smoother(smoother, outcome, risk, w), w, self._codes)
            self._line = _line(self._logit, outcome, w)
            self._start = fit_logistic(self._line, outcome, w)
        except NotEstimableError:
            # What cannot be fitted to all rows is NaN in every replicate.
            pass

    def errors(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return ICI, E50, E90 and Emax of each replicate, shape (b, 4); NaN where not estimable."""
        return np.full((counts.shape[1], 4), np.nan) if self._curve is None else self._curve.errors(counts)

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return intercept, slope, O/E, ICI, E50 and E90 of each replicate, shape (b, 6); NaN where not estimable."""
        return self._measures(counts, np.empty(0))[0]

    def replicate_with_curve(self, counts: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Return the measures of `replicate`, shape (b, 6), and the curve at the grid, shape (b, g)."""
        return self._measures(counts, self._grid)

    def _measures(self, counts: NDArray[np.uint8], grid: FloatArray) -> tuple[FloatArray, FloatArray]:
        b = counts.shape[1]
        out = np.full((b, 6), np.nan)
        total, seen, expected = value_sums(self._totals, self._codes, counts)
        out[:, 2] = np.divide(seen, expected, out=np.full(b, np.nan), where=expected > 0)
        rows = self._w, self._codes, counts
        if self._shift is not None:
            out[:, 0] = logistic_replicates(self._ones, self._y, self._logit, *rows, self._shift)[0]
        if self._start is not None:
            out[:, 1] = logistic_replicates(self._line, self._y, self._zeros, *rows, self._start)[1]
        out[(seen <= 0) | (seen >= total), :2] = np.nan
        curve = np.full((b, grid.size), np.nan)
        if self._curve is not None:
            errors, curve = self._curve.errors_and_curve(counts, grid)
            out[:, 3:] = errors[:, :3]
        return out, curve


def distance_limits(value: float, drawn: FloatArray, level: float) -> tuple[float, float]:
    """Return the limits of a distance from its resamples; NaN where too many are not estimable.

    Resampling adds to a distance, so that the lower percentile lies above the truth of a calibrated model nearly
    always. The upper limit is the percentile; the lower one is the upper one mirrored at the estimate, less what
    resampling added on average, and not below 0.

    Parameters
    ----------
    value : float
    drawn : float array, shape (draws,)
    level : float

    Examples
    --------
    >>> [round(v, 4) for v in distance_limits(0.3, np.linspace(0.25, 0.39, 201), 0.95)]
    [0.1935, 0.3865]
    """
    _, high = (float(v) for v in percentile_interval(drawn, level))
    if not math.isfinite(high):
        return math.nan, math.nan
    high = max(high, value)
    added = max(float(np.nanmean(drawn)) - value, 0.0)
    return max(0.0, 2 * value - high - added), high


def distance_estimates(
    names: Sequence[str],
    values: FloatArray,
    drawn: FloatArray,
    *,
    level: float,
    n: int,
    events: int,
    method: str,
    unit: str,
    note: str = "",
) -> list[Estimate]:
    """Return distances from a calibration curve with their limits from resamples.

    The limits are those of `distance_limits`.

    Parameters
    ----------
    names : sequence of str, length k
    values : float array, shape (k,)
    drawn : float array, shape (draws, k)
    level : float
    n, events : int
    method : str
        What the curve is.
    unit : str
        What was drawn.
    note : str

    Examples
    --------
    >>> nothing = np.empty((0, 1))
    >>> found = distance_estimates(["ici"], [0.1], nothing, level=0.95, n=9, events=3, method="spline", unit="rows")
    >>> found[0].note.split(";")[0]
    'no interval: draws=0'
    """
    out = []
    draws = drawn.shape[0]
    caution = f"a distance cannot fall below 0 and is biased upward in small data (here {n} rows, {events} events)"
    for place, (name, value) in enumerate(zip(names, map(float, values), strict=True)):
        low = high = se = math.nan
        how, why = method, "no interval: draws=0"
        if draws:
            low, high = distance_limits(value, drawn[:, place], level)
            if math.isfinite(low):
                how = (
                    f"{method}; bootstrap of {unit}, {draws} resamples: upper percentile, mirrored and less the bias "
                    "for the lower limit"
                )
                why, se = "", float(np.nanstd(drawn[:, place], ddof=1)) if draws > 1 else math.nan
            else:
                lost = 100 * (1 - float(estimable_share(drawn[:, place])))
                why = f"no interval: not estimable in {lost:.0f} % of the resamples"
        out.append(
            Estimate(
                value,
                name=name,
                lower=low,
                upper=high,
                se=se,
                n=n,
                events=events,
                level=level,
                method=how,
                note=notes(why, caution, note),
            )
        )
    return out


def _one_distance(
    place: int,
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None,
    patient: ArrayLike | None,
    level: float,
    smoother: str,
    draws: int,
    seed: int,
) -> Estimate:
    outcome, risk, w = _rows(y, p, weights)
    curve = _smoother(smoother, outcome, risk, w)
    return _curve_errors(curve, w, patient, level, draws, seed)[place]


def _curve_errors(
    curve: SmoothCalibration | LoessCalibration,
    w: FloatArray,
    patient: ArrayLike | None,
    level: float,
    draws: int,
    seed: int,
) -> list[Estimate]:
    y, p = curve.y, curve.risk
    found = np.empty(4)
    beta = curve.beta if isinstance(curve, SmoothCalibration) else curve.fit(w)
    distance_summary(curve.distances(beta), w, LEVELS, found)
    drawn = np.empty((0, 4))
    if draws:
        sampler = PatientDraws(patient, y.size, draws=draws, seed=seed)
        drawn = sampler.map(_CurveReplicates(curve, w, sampler.codes).errors)
    n, events = int((w > 0).sum()), int(y[w > 0].sum())
    unit = "rows" if patient is None else "patients"
    more: dict[str, Any] = {"n": n, "events": events, "method": curve.method, "unit": unit, "note": _moved(p, w)}
    out = distance_estimates(DISTANCES, found, drawn, level=level, **more)
    if isinstance(curve, SmoothCalibration):
        out[0].influence = curve.influence(w)[1]
    return out


def ici(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    smoother: str = "spline",
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the integrated calibration index: the mean distance of the risks from a smooth calibration curve.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `calibration_intercept`.
    smoother : {"spline", "loess"}
        See `calibration`.
    draws : int
        Bootstrap resamples of patients, or of rows without `patient`; 0 gives no interval.
    seed : int

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present, or the risks separate the classes perfectly.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Notes
    -----
    Formula: mean over rows of |f(p) - p|, f the smooth curve of the outcome on the risk.
    Range: 0 (calibrated) to 1.
    Assumes: the curve is smooth; independent rows, or patients. The index is biased upward in small data: a calibrated
    model does not reach 0. So are its resamples, so that only their upper percentile is used: the interval is from
    max(0, 2 x index - upper - bias) to upper, the bias being the mean of the resamples less the index. In simulations
    of calibrated models it holds 0 in 92 to 93 % of samples, the plain percentile interval hardly ever.
    Refuses: a single class, and risks that separate the classes perfectly.

    Examples
    --------
    >>> round(ici([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], draws=0), 4)
    0.2
    """
    return _one_distance(0, y, p, weights, patient, level, smoother, draws, seed)


def e50(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    smoother: str = "spline",
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the median distance of the risks from a smooth calibration curve.

    Parameters
    ----------
    y, p, weights, patient, level, smoother, draws, seed
        As for `ici`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        As for `ici`.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Notes
    -----
    Formula: median over rows of |f(p) - p|, f the smooth curve of the outcome on the risk.
    Range: 0 (calibrated) to 1.
    Assumes: as for `ici`.
    Refuses: as `ici`.

    Examples
    --------
    >>> round(e50([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], draws=0), 4)
    0.2
    """
    return _one_distance(1, y, p, weights, patient, level, smoother, draws, seed)


def e90(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    smoother: str = "spline",
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the 90th percentile of the distance of the risks from a smooth calibration curve.

    Parameters
    ----------
    y, p, weights, patient, level, smoother, draws, seed
        As for `ici`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        As for `ici`.

    References
    ----------
    Austin and Steyerberg, Stat Med 2019;38:4051.

    Notes
    -----
    Formula: 90th percentile over rows of |f(p) - p|, f the smooth curve of the outcome on the risk.
    Range: 0 (calibrated) to 1.
    Assumes: as for `ici`.
    Refuses: as `ici`.

    Examples
    --------
    >>> round(e90([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], draws=0), 4)
    0.2
    """
    return _one_distance(2, y, p, weights, patient, level, smoother, draws, seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskGroups:
    """Predicted and observed risk in quantile groups of the predicted risk.

    Parameters
    ----------
    predicted, observed, lower, upper : float arrays, shape (g,)
        Mean predicted risk, observed risk and its limits; NaN where not estimable.
    n : float array, shape (g,)
        Rows, or what they weigh.
    events : float array, shape (g,)
    level : float
    method : str
    """

    predicted: FloatArray
    observed: FloatArray
    lower: FloatArray
    upper: FloatArray
    n: FloatArray
    events: FloatArray
    level: float
    method: str

    def __len__(self) -> int:
        return self.predicted.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """How the predicted risks are spread, by outcome.

    Parameters
    ----------
    edges : float array, shape (k + 1,)
    events, others : float arrays, shape (k,)
        What the rows with and without the event weigh in each bin; the last bin holds risks of 1.
    """

    edges: FloatArray
    events: FloatArray
    others: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration(Headline):
    """Calibration of risks of a yes/no outcome; as a number it is the integrated calibration index.

    Parameters
    ----------
    intercept, slope, slope_intercept, oe : Estimate
        Calibration in the large, the calibration slope with its own intercept, and observed over expected events.
    ici, e50, e90, emax : Estimate
        Distances of the risks from the curve.
    brier, spiegelhalter : Estimate
    curve : Curve
        Observed risk at predicted risks, with pointwise limits.
    bins : RiskGroups
    histogram : Histogram

    Notes
    -----
    What cannot be estimated is NaN, with the reason in its note.
    """

    _headline = "ici"

    intercept: Estimate
    slope: Estimate
    slope_intercept: Estimate
    oe: Estimate
    ici: Estimate
    e50: Estimate
    e90: Estimate
    emax: Estimate
    brier: Estimate
    spiegelhalter: Estimate
    curve: Curve
    bins: RiskGroups
    histogram: Histogram


def nothing_known(
    names: Sequence[str], risk: FloatArray, note: str, *, curve: str = "observed risk", **known: Any
) -> tuple[list[Estimate], Curve]:
    """Return distances and a curve that are NaN, with the reason, where no calibration curve can be fitted.

    Examples
    --------
    >>> nothing_known(["ici"], np.array([0.1, 0.2]), "one class", n=2)[0][0].note
    'one class'
    """
    grid = reading_grid(risk)
    nan = np.full(grid.size, np.nan)
    band = Curve.normal(nan, nan, name=curve, axis="predicted risk", x=grid, note=note, **known)
    return [Estimate(math.nan, name=name, note=note, **known) for name in names], band


def _band(
    curve: SmoothCalibration | LoessCalibration,
    p: FloatArray,
    w: FloatArray,
    codes: IntArray,
    units: int | None,
    level: float,
    events: int,
) -> Curve:
    grid = reading_grid(p[w > 0])
    if isinstance(curve, SmoothCalibration):
        x = curve.design(grid)
        value = curve.at(grid, curve.beta)
        error = np.sqrt(np.einsum("gq,qr,gr->g", x, clustered_covariance(curve.influence(w)[0], codes), x))
        centre = row_dot(x, curve.beta)
        lower, upper = (expit(v) for v in limits(centre, error, level, units=units))
        se = error * value * (1 - value)
        how = "limits symmetric on the log odds, sandwich error, knots held"
    else:
        value, se = curve.at(grid, curve.fit(w)), np.sqrt(curve.variance(grid, w, codes))
        lower, upper = limits(value, se, level, (0.0, 1.0), units=units)
        how = "normal limits cut to [0, 1], sandwich error of the local fit"
    return Curve(
        name="observed risk",
        axis="predicted risk",
        x=grid,
        value=value,
        lower=lower,
        upper=upper,
        se=se,
        n=int((w > 0).sum()),
        events=events,
        level=level,
        method=f"{curve.method}; pointwise {how}"
        + ("" if units is None else f"; t with {units - 1} degrees of freedom"),
        note=_moved(p, w),
    )


def _bins(y: FloatArray, p: FloatArray, w: FloatArray, codes: IntArray | None, groups: int, level: float) -> RiskGroups:
    used = w > 0
    y, p, w = y[used], p[used], w[used]
    code = risk_groups(p, groups, w)
    size = int(code.max()) + 1
    mass = tally(code, w, size)
    events = np.minimum(tally(code, w * y, size), mass)
    rate = events / mass
    if codes is None:
        # Kish's effective number of rows; without weights, the number of rows.
        count = mass * mass / tally(code, w * w, size)
        method = "Wilson, rows taken as independent" + ("" if np.ptp(w) == 0 else ", Kish's effective number of rows")
        edge = np.ones(size, dtype=bool)
        lower, upper = np.empty(size), np.empty(size)
    else:
        pairs, place = np.unique(codes[used] * size + code, return_inverse=True)
        own = pairs % size
        count = np.bincount(own, minlength=size).astype(np.float64)
        moved = tally(place, w * (y - rate[code]) / mass[code], pairs.size)
        lower, upper = limits(rate, np.sqrt(tally(own, moved * moved, size)), level, scale="logit", units=count)
        edge = (rate <= 0) | (rate >= 1)
        method = "ratio estimator clustered by patient, t on the logit scale; at 0 and 1 Wilson's of the patients"
    for g in np.flatnonzero(edge):
        lower[g], upper[g] = wilson(min(float(rate[g] * count[g]), float(count[g])), float(count[g]), level)
    return RiskGroups(
        predicted=tally(code, w * p, size) / mass,
        observed=rate,
        lower=lower,
        upper=upper,
        n=mass,
        events=events,
        level=level,
        method=method,
    )


def calibration(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    smoother: str = "spline",
    draws: int = 200,
    seed: int = 0,
    bins: int = 10,
) -> Calibration:
    """Return how well risks of a yes/no outcome agree with what happened, with intervals and a calibration curve.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `calibration_intercept`.
    smoother : {"spline", "loess"}
        "spline": logistic regression on a restricted cubic spline of the log odds, 3 or 4 knots by the number of
        events. "loess": as R's ``loess(y ~ p)``, span 0.75, degree 2; it is not kept inside [0, 1].
    draws : int
        Bootstrap resamples of patients for the distances from the curve; 0 gives them no interval. All other intervals
        are analytic.
    seed : int
    bins : int
        Quantile groups of risk.

    Returns
    -------
    Calibration

    Raises
    ------
    DataError
        If the input is malformed. What cannot be estimated is NaN with a note instead.

    References
    ----------
    Van Calster et al., BMC Med 2019;17:230. Austin and Steyerberg, Stat Med 2019;38:4051.

    Notes
    -----
    Formula: see `calibration_intercept`, `calibration_slope`, `oe`, `ici` and `brier`; the curve is the smoother's.
    Range: intercept 0, slope 1, O/E 1 and distances 0 are right.
    Assumes: independent rows, or patients. The risks are judged as they are: nothing is recalibrated.
    Refuses: malformed input only. With a single class, equal risks or perfect separation the parts concerned are NaN
    and their notes say why.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random(500)
    >>> found = calibration(rng.random(500) < p, p, draws=50)
    >>> found.slope
    calibration_slope 1.0189 (95 % interval 0.8137 to 1.2242), n = 500
    >>> bool(found.ici.lower <= found.ici <= found.ici.upper)
    True
    """
    outcome, risk, w = _rows(y, p, weights)
    codes = patient_codes(patient, outcome.size)
    known: dict[str, Any] = {"n": int((w > 0).sum()), "events": int(outcome[w > 0].sum()), "level": level}

    def part(name: str, work: Callable[[], Estimate]) -> Estimate:
        return or_missing(name, work, **known)

    more: dict[str, Any] = {"patient": patient, "level": level}
    try:
        slope, slope_intercept = _slope(outcome, risk, w, patient, level, "sandwich")
    except NotEstimableError as error:
        slope, slope_intercept = (
            Estimate(math.nan, name=name, note=error.got, **known) for name in ("calibration_slope", "slope_intercept")
        )
    try:
        curve = _smoother(smoother, outcome, risk, w)
        distances = _curve_errors(curve, w, patient, level, draws, seed)
        band = _band(curve, risk, w, codes, _units(patient, outcome.size), level, known["events"])
    except NotEstimableError as error:
        distances, band = nothing_known(DISTANCES, risk[w > 0], error.got, **known)
    edges = np.linspace(0, 1, 51)
    return Calibration(
        intercept=part("calibration_intercept", lambda: calibration_intercept(outcome, risk, w, **more)),
        slope=slope,
        slope_intercept=slope_intercept,
        oe=part("oe", lambda: oe(outcome, risk, w, **more)),
        ici=distances[0],
        e50=distances[1],
        e90=distances[2],
        emax=distances[3],
        brier=brier(outcome, risk, w, **more),
        spiegelhalter=part("spiegelhalter", lambda: spiegelhalter(outcome, risk, w, patient=patient)),
        curve=band,
        bins=_bins(outcome, risk, w, None if patient is None else codes, bins, level),
        histogram=Histogram(
            edges=edges,
            events=np.histogram(risk, edges, weights=w * outcome)[0],
            others=np.histogram(risk, edges, weights=w * (1 - outcome))[0],
        ),
    )


def reading_grid(risk: FloatArray) -> FloatArray:
    """Return 51 risks from the 1st to the 99th percentile, at which a calibration curve is shown.

    Examples
    --------
    >>> reading_grid(np.array([0.0, 1.0]))[[0, -1]].round(2).tolist()
    [0.01, 0.99]
    """
    low, high = np.quantile(risk, [0.01, 0.99])
    return np.linspace(float(low), float(high), 51)
