"""The two small regressions that calibration needs: weighted logistic and Cox with Efron ties, and a spline basis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, tally

__all__ = ["CoxRegression", "cloglog", "expit", "fit_logistic", "logit", "spline_basis", "spline_knots"]

_EDGE = 1e-8
_STEPS = 40
_QUANTILES = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95)}


def logit(risk: FloatArray) -> FloatArray:
    """Return log odds; risks are kept 1e-8 away from 0 and 1.

    Examples
    --------
    >>> logit(np.array([0.5]))
    array([0.])
    """
    p = np.clip(risk, _EDGE, 1 - _EDGE)
    out: FloatArray = np.log(p / (1 - p))
    return out


def cloglog(risk: FloatArray) -> FloatArray:
    """Return log(-log(1 - risk)); risks are kept 1e-8 above 0 and one rounding step below 1.

    Examples
    --------
    >>> cloglog(np.array([1 - np.exp(-1)])).round(12) + 0.0
    array([0.])
    """
    out: FloatArray = np.log(-np.log1p(-np.clip(risk, _EDGE, np.nextafter(1.0, 0.0))))
    return out


def expit(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) without overflow.

    Examples
    --------
    >>> expit(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    return 0.5 * (1 + np.tanh(0.5 * x))


def _newton_step(information: FloatArray, gradient: FloatArray) -> FloatArray:
    try:
        step = np.asarray(np.linalg.solve(information, gradient), dtype=np.float64)
    except np.linalg.LinAlgError:
        step = np.full(gradient.shape, np.nan)
    if not np.isfinite(step).all():
        raise NotEstimableError("the calibration model has no unique fit", "risks that vary and outcomes of both kinds")
    return step


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
    shift = np.zeros(y.size) if offset is None else offset
    beta = np.zeros(x.shape[1]) if start is None else start.copy()

    def deviance(b: FloatArray) -> float:
        eta = x @ b + shift
        return float(weights @ (np.logaddexp(0, eta) - y * eta))

    loss = deviance(beta)
    for _ in range(_STEPS):
        fitted = expit(x @ beta + shift)
        gradient = x.T @ (weights * (y - fitted))
        information = (x * (weights * fitted * (1 - fitted))[:, None]).T @ x
        step = _newton_step(information, gradient)
        # Halving is rare; one extra pass over the rows buys convergence from a far start.
        for _ in range(30):
            trial = deviance(beta + step)
            if trial <= loss + 1e-10 * abs(loss):
                break
            step = step / 2
        beta, loss = beta + step, trial
        if np.abs(step).max() <= 1e-9 * (1 + np.abs(beta).max()):
            return beta
    raise NotEstimableError("the calibration model did not settle", "risks that do not separate the classes perfectly")


def spline_knots(x: FloatArray, knots: int) -> FloatArray | None:
    """Return knots at Harrell's quantiles, or None when they are not distinct.

    Parameters
    ----------
    x : float array, shape (n,)
    knots : {3, 4}

    Examples
    --------
    >>> spline_knots(np.arange(101.0), 3)
    array([10., 50., 90.])
    """
    places: FloatArray = np.quantile(x, _QUANTILES[knots])
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
    """Cox regression on a few covariates, with whole-number row weights that stand for repeated rows.

    Ties follow Efron, in the likelihood and in the baseline hazard. Rows are sorted once; a new set of weights costs a
    few passes.

    Parameters
    ----------
    event, time : arrays, shape (n,)
    x : float array, shape (n, q)

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
        order = order[np.argsort(place[order], kind="stable")]
        self._order, self._place = order, place[order] - 1
        self._starts = np.flatnonzero(np.r_[True, self._place[1:] != self._place[:-1]]) if order.size else order
        self._dead: NDArray[np.int64] = np.flatnonzero(event[order])
        self.centre: FloatArray = x.mean(axis=0)
        self._x = x[order] - self.centre

    def _terms(self, weights: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Event time and Efron's fraction of each single death."""
        deaths = np.bincount(
            self._place[self._dead], weights=weights[self._dead], minlength=self.event_times.size
        ).round()
        counts = deaths.astype(np.int64)
        which = np.repeat(np.arange(counts.size), counts)
        rank = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, rank / deaths[which]

    def _at_risk(self, values: FloatArray) -> FloatArray:
        """Sum over rows still followed at each event time; every event time has at least one row."""
        sums = np.add.reduceat(values, self._starts, axis=0)
        out: FloatArray = np.cumsum(sums[::-1], axis=0)[::-1]
        return out

    def _dying(self, values: FloatArray) -> FloatArray:
        place = self._place[self._dead]
        if values.ndim == 1:
            return tally(place, values[self._dead], self.event_times.size)
        return np.column_stack([self._dying(column) for column in values.T])

    def fit(self, weights: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Return the coefficients, shape (q,).

        Raises
        ------
        NotEstimableError
            If there are no events, or Newton's method does not settle.
        """
        w = weights[self._order]
        which, fraction = self._terms(w)
        if which.size == 0:
            raise NotEstimableError("no event was seen", "at least 1 event")
        q = self._x.shape[1]
        beta = np.zeros(q) if start is None else start.copy()
        dead_x = w[self._dead] @ self._x[self._dead]
        pairs = [(a, b) for a in range(q) for b in range(a, q)]
        products = np.column_stack([self._x, *(self._x[:, a] * self._x[:, b] for a, b in pairs)])

        def look(b: FloatArray) -> tuple[float, FloatArray, FloatArray]:
            eta = self._x @ b
            top = float(eta.max())
            hazard = w * np.exp(eta - top)
            moments = hazard[:, None] * np.column_stack([np.ones(w.size), products])
            mean = self._at_risk(moments)[which] - fraction[:, None] * self._dying(moments)[which]
            total = mean[:, 0]
            mean = mean[:, 1:] / total[:, None]
            loglik = float(w[self._dead] @ (eta[self._dead] - top) - np.log(total).sum())
            information = np.empty((q, q))
            for column, (i, j) in enumerate(pairs, start=q):
                information[i, j] = information[j, i] = mean[:, column].sum() - mean[:, i] @ mean[:, j]
            return loglik, dead_x - mean[:, :q].sum(axis=0), information

        loglik, gradient, information = look(beta)
        for _ in range(_STEPS):
            step = _newton_step(information, gradient)
            for _ in range(30):
                trial, gradient, information = look(beta + step)
                if trial >= loglik - 1e-10 * abs(loglik):
                    break
                step = step / 2
            beta, loglik = beta + step, trial
            if np.abs(step).max() <= 1e-9 * (1 + np.abs(beta).max()):
                return beta
        raise NotEstimableError("the calibration model did not settle", "risks that do not rank all events perfectly")

    def baseline_hazard(self, beta: FloatArray, weights: FloatArray, horizon: float) -> float:
        """Return the cumulative hazard at the horizon for a row whose covariates equal `centre`."""
        w = weights[self._order]
        which, fraction = self._terms(w)
        hazard = w * np.exp(self._x @ beta)
        total = self._at_risk(hazard)[which] - fraction * self._dying(hazard)[which]
        return float((1 / total[self.event_times[which] <= horizon]).sum())
