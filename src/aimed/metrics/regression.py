"""The two small regressions that calibration needs: weighted logistic and Cox with Efron ties, and a spline basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray
from aimed.metrics.kernels.regressions import (
    NO_FIT,
    SETTLED,
    UNSETTLED,
    cox_fit,
    cox_hazard,
    cox_influence,
    logistic_fit,
    logistic_pass,
    product_limit,
)

__all__ = [
    "EDGE",
    "CoxRegression",
    "Fit",
    "cloglog",
    "expit",
    "fit_logistic",
    "logistic",
    "logistic_replicates",
    "logit",
    "spline_basis",
    "spline_knots",
    "weighted_quantiles",
]

EDGE = 1e-8
"""How far risks are kept from 0 and 1 before their log odds are taken."""

_TOGETHER = 6
_SMALL = 2.5e-11
_SINGULAR = 1e-12
_QUANTILES = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.5, 0.725, 0.95)}


def logit(risk: FloatArray) -> FloatArray:
    """Return log odds; risks are kept 1e-8 away from 0 and 1.

    Examples
    --------
    >>> logit(np.array([0.5]))
    array([0.])
    """
    p = np.clip(risk, EDGE, 1 - EDGE)
    out: FloatArray = np.log(p / (1 - p))
    return out


def cloglog(risk: FloatArray) -> FloatArray:
    """Return log(-log(1 - risk)); risks are kept 1e-8 above 0 and one rounding step below 1.

    Examples
    --------
    >>> cloglog(np.array([1 - np.exp(-1)])).round(12) + 0.0
    array([0.])
    """
    out: FloatArray = np.log(-np.log1p(-np.clip(risk, EDGE, np.nextafter(1.0, 0.0))))
    return out


def expit(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) without overflow.

    Examples
    --------
    >>> expit(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    return 0.5 * (1 + np.tanh(0.5 * x))


_REASONS = {
    NO_FIT: ("the calibration model has no unique fit", "risks that vary and outcomes of both kinds"),
    UNSETTLED: ("the calibration model did not settle", "risks that do not rank the outcomes perfectly"),
}


def _refuse_unless_settled(status: int) -> None:
    if status != SETTLED:
        raise NotEstimableError(*_REASONS[status])


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of a regression and the information matrix there.

    Parameters
    ----------
    beta : float array, shape (q,)
    information : float array, shape (q, q)
    """

    beta: FloatArray
    information: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """The inverse of the information: the covariance when the model is right."""
        return np.asarray(np.linalg.inv(self.information), dtype=np.float64)


def logistic(
    x: FloatArray, y: FloatArray, weights: FloatArray, offset: FloatArray | None = None, start: FloatArray | None = None
) -> Fit:
    """Return the maximum-likelihood fit of a weighted logistic regression, with its information.

    Parameters
    ----------
    x, y, weights, offset, start
        As for `fit_logistic`.

    Raises
    ------
    NotEstimableError
        If Newton's method does not settle, as under perfect separation.

    Examples
    --------
    >>> fit = logistic(np.ones((4, 1)), np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4))
    >>> fit.information.round(6)
    array([[0.75]])
    """
    q = x.shape[1]
    beta = np.zeros(q) if start is None else np.array(start, dtype=np.float64)
    information = np.empty((q, q))
    shift = np.zeros(y.size) if offset is None else offset
    status = logistic_fit(_packed(x), _packed(y), _packed(shift), _packed(weights), beta, information)
    _refuse_unless_settled(status)
    return Fit(beta, information)


def _packed(values: NDArray[np.generic]) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float64)


def fit_logistic(
    x: FloatArray, y: FloatArray, weights: FloatArray, offset: FloatArray | None = None, start: FloatArray | None = None
) -> FloatArray:
    """Return maximum-likelihood coefficients of a weighted logistic regression.

    Parameters
    ----------
    x : float array, shape (n, q)
        Design matrix, with its column of ones.
    y, weights : float arrays, shape (n,)
    offset : float array, shape (n,), optional
    start : float array, shape (q,), optional
        Where Newton's method starts.

    Raises
    ------
    NotEstimableError
        If Newton's method does not settle, as under perfect separation.

    Examples
    --------
    >>> fit_logistic(np.ones((4, 1)), np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4)).round(6)
    array([1.098612])
    """
    return logistic(x, y, weights, offset, start).beta


def logistic_replicates(
    x: FloatArray,
    y: FloatArray,
    offset: FloatArray,
    base: FloatArray,
    codes: IntArray,
    counts: NDArray[np.uint8],
    start: FloatArray,
) -> FloatArray:
    """Return the coefficients of b replicates of a logistic regression, a column each; NaN where there is no fit.

    All replicates take their Newton steps together, one pass over the rows a step, from the fit of the whole data. A
    replicate has settled when the root mean square change of its linear predictor is at most 5e-6: Newton's method
    squares the error, so that what is left is rounding. The few that have not after 6 steps are fitted alone with step
    halving.

    Parameters
    ----------
    x : float array, shape (n, q)
    y, offset, base : float arrays, shape (n,)
        Outcome, offset and base weight of each row.
    codes : int array, shape (n,)
        Patient of each row: a row weighs base times the count of its patient.
    counts : uint8 array, shape (patients, b)
    start : float array, shape (q,)

    Examples
    --------
    >>> y, zeros = np.array([0.0, 1.0, 1.0, 1.0]), np.zeros(4)
    >>> counts = np.array([[1, 2], [1, 1], [1, 1], [1, 0]], dtype=np.uint8)
    >>> start = np.array([1.0])
    >>> logistic_replicates(np.ones((4, 1)), y, zeros, np.ones(4), np.arange(4), counts, start).round(6) + 0.0
    array([[1.098612, 0.      ]])
    """
    q, b = x.shape[1], counts.shape[1]
    beta = np.repeat(start[:, None], b, axis=1)
    gradient, triangle = np.empty((q, b)), np.empty((q * (q + 1) // 2, b))
    information, (rows, columns) = np.empty((b, q, q)), np.tril_indices(q)
    settled = np.zeros(b, dtype=bool)
    for turn in range(_TOGETHER):
        logistic_pass(x, y, offset, base, codes, counts, beta, turn == 0, gradient, triangle)
        information[:, rows, columns] = information[:, columns, rows] = triangle.T
        scale = np.sqrt(np.einsum("bii->bi", information))
        usable = (np.isfinite(scale) & (scale > 0)).all(axis=1)
        scale[~usable] = 1.0
        scaled = information / (scale[:, :, None] * scale[:, None, :])
        usable[usable] = np.linalg.eigvalsh(scaled[usable])[:, 0] > _SINGULAR if usable.any() else False
        scaled[~usable] = np.eye(q)
        step = np.linalg.solve(scaled, (gradient.T / scale)[:, :, None])[:, :, 0] / scale
        weight = information[:, 0, 0]
        decrement = np.einsum("bq,qb->b", step, gradient)
        small = usable & (decrement <= _SMALL * weight)
        # A settled replicate stays where it is, so that its digits do not depend on its neighbours.
        moving = usable & ~settled
        beta[:, moving] += step[moving].T
        settled |= small
        if settled.all():
            return beta
    for j in np.flatnonzero(~settled):
        beta[:, j] = np.nan
        weights = base * counts[codes, j]
        try:
            beta[:, j] = fit_logistic(x, y, weights, offset, start)
        except NotEstimableError:
            continue
    return beta


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


def spline_knots(x: FloatArray, knots: int, weights: FloatArray | None = None) -> FloatArray | None:
    """Return knots at Harrell's quantiles, or None when they are not distinct.

    Parameters
    ----------
    x : float array, shape (n,)
    knots : {3, 4, 5}
    weights : float array, shape (n,), optional
        Rows each row stands for.

    Examples
    --------
    >>> spline_knots(np.arange(101.0), 3)
    array([10., 50., 90.])
    """
    levels = np.array(_QUANTILES[knots])
    places: FloatArray = np.quantile(x, levels) if weights is None else weighted_quantiles(x, weights, levels)
    return places if np.diff(places).min() > 1e-6 * (1 + np.abs(places).max()) else None


def spline_basis(x: FloatArray, knots: FloatArray | None) -> FloatArray:
    """Return a restricted cubic spline basis: x itself and k - 2 further columns, straight beyond the outer knots.

    Parameters
    ----------
    x : float array, shape (n,)
    knots : float array, shape (k,), or None
        None gives x alone.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, section 2.4.5.

    Examples
    --------
    >>> spline_basis(np.array([0.0, 3.0]), np.array([0.0, 1.0, 2.0])).shape
    (2, 2)
    """
    columns = [x]
    if knots is not None:
        last, before, scale = knots[-1], knots[-2], (knots[-1] - knots[0]) ** 2

        def cube(at: float) -> FloatArray:
            return np.maximum(x - at, 0) ** 3

        for knot in knots[:-2]:
            columns.append(
                (
                    cube(knot)
                    - cube(before) * (last - knot) / (last - before)
                    + cube(last) * (before - knot) / (last - before)
                )
                / scale
            )
    return np.column_stack(columns)


class CoxRegression:
    """Cox regression on a few covariates under row weights; whole numbers stand for repeated rows.

    Ties follow Efron, in the likelihood and in the baseline hazard: deaths of total weight D at one time make round(D)
    terms of equal weight. Rows are sorted once; a new set of weights costs a pass over them a Newton step.

    Parameters
    ----------
    event, time : arrays, shape (n,)
    x : float array, shape (n, q)

    Attributes
    ----------
    event_times : float array, shape (u,)
    centre : float array, shape (q,)
        Subtracted from `x` before everything else.

    References
    ----------
    Efron, JASA 1977;72:557.

    Examples
    --------
    >>> model = CoxRegression(np.array([True, True, False, True]), np.array([1.0, 2.0, 3.0, 4.0]),
    ...                       np.array([[1.0], [0.0], [1.0], [0.0]]))
    >>> model.fit(np.ones(4)).round(4)
    array([0.3466])
    """

    def __init__(self, event: BoolArray, time: FloatArray, x: FloatArray) -> None:
        self.event_times: FloatArray = np.unique(time[event])
        # Rows that leave before the first event are in no risk set.
        place = np.searchsorted(self.event_times, time, side="right")
        order = np.flatnonzero(place > 0)
        self._order: IntArray = order[np.argsort(place[order], kind="stable")]
        self._starts: IntArray = np.searchsorted(place[self._order], np.arange(self.event_times.size + 1) + 1)
        self._dead: BoolArray = np.ascontiguousarray(event[self._order])
        self.centre: FloatArray = x.mean(axis=0)
        self._x = np.ascontiguousarray(x[self._order] - self.centre)
        self._n = time.size

    def _until(self, horizon: float) -> int:
        return int(np.searchsorted(self.event_times, horizon, side="right"))

    def solve(self, weights: FloatArray, start: FloatArray | None = None) -> Fit:
        """Return the coefficients and the information matrix.

        Raises
        ------
        NotEstimableError
            If there are no events, or Newton's method does not settle.
        """
        w = weights[self._order]
        if not w[self._dead].any():
            raise NotEstimableError("no event was seen", "at least 1 event")
        q = self._x.shape[1]
        beta = np.zeros(q) if start is None else np.array(start, dtype=np.float64)
        information = np.empty((q, q))
        _refuse_unless_settled(cox_fit(self._x, self._dead, self._starts, w, beta, information))
        return Fit(beta, information)

    def fit(self, weights: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Return the coefficients, shape (q,).

        Raises
        ------
        NotEstimableError
            If there are no events, or Newton's method does not settle.
        """
        return self.solve(weights, start).beta

    def baseline_hazard(self, beta: FloatArray, weights: FloatArray, horizon: float) -> float:
        """Return the cumulative hazard at the horizon for a row whose covariates equal `centre`."""
        return self.hazard(beta, weights, horizon)[0]

    def hazard(self, beta: FloatArray, weights: FloatArray, horizon: float) -> tuple[float, FloatArray]:
        """Return the cumulative baseline hazard at the horizon, and its derivative with respect to beta."""
        slope = np.empty(beta.size)
        w = weights[self._order]
        value = cox_hazard(self._x, self._dead, self._starts, w, beta, self._until(horizon), slope)
        return value, slope

    def survival(self, weights: FloatArray, horizon: float) -> float:
        """Return Kaplan-Meier survival at the horizon, whatever the covariates."""
        return product_limit(self._dead, self._starts, weights[self._order], self._until(horizon))

    def influence(self, beta: FloatArray, weights: FloatArray, horizon: float) -> tuple[FloatArray, FloatArray]:
        """Return each row's weighted score residual, and its direct share in the baseline hazard at the horizon.

        Returns
        -------
        score : float array, shape (n, q)
            Times the inverse information: the row's influence on the coefficients.
        hazard : float array, shape (n,)
            Influence on the hazard when the coefficients are held.

        References
        ----------
        Lin and Wei, JASA 1989;84:1074.
        """
        score, hazard = np.zeros((self._n, beta.size)), np.zeros(self._n)
        own_score, own_hazard = np.empty((self._order.size, beta.size)), np.empty(self._order.size)
        w, last = weights[self._order], self._until(horizon)
        cox_influence(self._x, self._dead, self._starts, w, beta, last, own_score, own_hazard)
        score[self._order], hazard[self._order] = own_score, own_hazard
        return score, hazard
