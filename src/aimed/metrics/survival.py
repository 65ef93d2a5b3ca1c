"""Discrimination and accuracy of survival predictions under right censoring, weighted by the left limit of G."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, probabilities, survival, vector
from aimed.metrics.nonparametric import Timeline
from aimed.metrics.ranking import Ranking, area

__all__ = [
    "PairOrder",
    "area_at",
    "auc_at",
    "brier_at",
    "brier_curve",
    "case_weights",
    "harrell_c",
    "ibs",
    "integrate",
    "ratio_of_pairs",
    "scaled_brier_at",
    "uno_c",
    "uno_factor",
]


class PairOrder:
    """Usable pairs counted in O(n log n), with everything but the weights worked out beforehand.

    A pair is usable when the earlier time is an event; a row censored at the time of an event counts as later. Rows
    are put in order of falling time, so that the later rows of each event are a prefix. A prefix is a union of at most
    log2(n) aligned blocks; within each block rows are kept in order of score, so that one cumulative sum of weights a
    level answers all events at once.

    Parameters
    ----------
    event, time : arrays, shape (n,)
    score : float array, shape (n,)
        Higher is worse; equal scores are ties, exactly.

    References
    ----------
    Harrell et al., Stat Med 1996;15:361. Newson, Stata J 2006;6:309 (tree counting).

    Examples
    --------
    >>> pairs = PairOrder(np.array([True, False]), np.array([1.0, 2.0]), np.array([0.9, 0.1]))
    >>> [v.tolist() for v in pairs.sums(np.ones(2))]
    [[1.0], [1.0]]
    """

    def __init__(self, event: BoolArray, time: FloatArray, score: FloatArray) -> None:
        n = time.size
        kind = np.int32 if n < 2**31 else np.int64
        key = 2 * np.unique(time, return_inverse=True)[1] + ~event
        late = np.argsort(-key, kind="stable")
        rank = np.unique(score, return_inverse=True)[1].astype(np.int64)
        self.rows: IntArray = np.flatnonzero(event)
        # Rows that leave later than each event: a prefix of `late`.
        later = n - np.searchsorted(np.sort(key), key[self.rows], side="right")
        self._later, self._late = later.astype(kind), late.astype(kind)
        ranks, own = rank[late], rank[self.rows]
        base = int(rank.max()) + 2
        self._levels: list[tuple[NDArray[np.integer], ...]] = []
        for level in range(int(n).bit_length()):
            asks = np.flatnonzero((later >> level) & 1)
            if asks.size == 0:
                continue
            sorter = np.argsort((np.arange(n) >> level) * base + ranks, kind="stable")
            sorted_key = ((np.arange(n) >> level) * base + ranks)[sorter]
            block = (later[asks] >> level) - 1
            start = block << level
            below = np.searchsorted(sorted_key, block * base + own[asks], side="left")
            not_above = np.searchsorted(sorted_key, block * base + own[asks], side="right")
            arrays = (late[sorter], asks, start, below, not_above)
            self._levels.append(tuple(a.astype(kind) for a in arrays))

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return, for each event, the weight of later rows ranked right (ties one half) and of all later rows."""
        right = np.zeros(self.rows.size)
        total = np.zeros(weights.size + 1)
        np.cumsum(weights[self._late], out=total[1:])
        usable = total[self._later]
        for order, asks, start, below, not_above in self._levels:
            np.cumsum(weights[order], out=total[1:])
            right[asks] += 0.5 * (total[below] + total[not_above]) - total[start]
        return right, usable

    def concordance(self, weights: FloatArray, factor: FloatArray | None = None) -> float:
        """Return the concordance; `factor`, shape (events,), multiplies the weight of each event.

        Raises
        ------
        NotEstimableError
            If there is no usable pair.
        """
        return ratio_of_pairs(*self.sums(weights), self.event_weights(weights, factor))

    def event_weights(self, weights: FloatArray, factor: FloatArray | None = None) -> FloatArray:
        """Return the weights of the events, times a factor."""
        own: FloatArray = weights[self.rows]
        return own if factor is None else own * factor


def ratio_of_pairs(right: FloatArray, usable: FloatArray, events: FloatArray) -> float:
    """Return the weighted share of usable pairs that are ranked right.

    Raises
    ------
    NotEstimableError
        If there is no usable pair.

    Examples
    --------
    >>> ratio_of_pairs(np.array([1.0]), np.array([2.0]), np.array([1.0]))
    0.5
    """
    pairs = float(events @ usable)
    if pairs <= 0:
        raise NotEstimableError("no usable pair", "an event followed by a row with a longer time")
    return float(events @ right) / pairs


def uno_factor(g: FloatArray, time: FloatArray, tau: float) -> FloatArray:
    """Return 1 / G(T-)^2 of events with T <= tau, else 0; g is G(T-) of each event.

    Examples
    --------
    >>> uno_factor(np.array([1.0, 0.5, 0.5]), np.array([1.0, 2.0, 3.0]), 2.0)
    array([1., 4., 0.])
    """
    return np.divide(1.0, g**2, out=np.zeros(g.size), where=(time <= tau) & (g > 0))


def harrell_c(event: ArrayLike, time: ArrayLike, score: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return Harrell's concordance; tied scores count one half, tied event times do not count.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    score : float array, shape (n,)
        Higher is worse (scikit-survival's sign, not lifelines').
    weights : float array, shape (n,), optional
        Whole numbers stand for repeated rows.

    Raises
    ------
    NotEstimableError
        If there is no usable pair.

    References
    ----------
    Harrell et al., Stat Med 1996;15:361.

    Examples
    --------
    >>> harrell_c([1, 1, 0], [1, 2, 3], [0.9, 0.2, 0.2])
    0.8333333333333334
    """
    seen, when, w = survival(event, time, weights)
    return PairOrder(seen, when, vector("score", score, when.size)).concordance(w)


def uno_c(event: ArrayLike, time: ArrayLike, score: ArrayLike, tau: float, weights: ArrayLike | None = None) -> float:
    """Return Uno's concordance of events up to tau, each weighted by 1 / G(T-)^2; equals R's ``timewt="n/G2"``.

    Parameters
    ----------
    event, time, score, weights
        As for `harrell_c`.
    tau : float
        Last time that counts, included; it has no default, since the estimate is unstable without it.

    Raises
    ------
    NotEstimableError
        If there is no usable pair up to tau.

    References
    ----------
    Uno et al., Stat Med 2011;30:1105.

    Examples
    --------
    >>> uno_c([1, 0, 1, 0], [1, 2, 3, 4], [0.9, 0.1, 0.2, 0.3], tau=3)
    0.5714285714285714
    """
    seen, when, w = survival(event, time, weights)
    pairs = PairOrder(seen, when, vector("score", score, when.size))
    line = Timeline(seen, when)
    left = line.left(line.censoring(w))[pairs.rows]
    return pairs.concordance(w, uno_factor(left, when[pairs.rows], tau))


def case_weights(event: BoolArray, time: FloatArray, horizon: float, weights: FloatArray, g: FloatArray) -> FloatArray:
    """Return weights / G(T-) of the rows with an event by the horizon, else 0.

    Examples
    --------
    >>> case_weights(np.array([True]), np.array([1.0]), 2.0, np.ones(1), np.array([0.5]))
    array([2.])
    """
    return np.divide(weights, g, out=np.zeros(time.size), where=event & (time <= horizon) & (g > 0))


def auc_at(
    event: ArrayLike, time: ArrayLike, score: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the cumulative/dynamic AUC: events by the horizon, weighted by 1 / G(T-), against rows followed beyond.

    Parameters
    ----------
    event, time, score, weights
        As for `harrell_c`.
    horizon : float

    Raises
    ------
    NotEstimableError
        If there is no event by the horizon, or no row followed beyond it.

    References
    ----------
    Blanche, Dartigues and Jacqmin-Gadda, Stat Med 2013;32:5381.

    Examples
    --------
    >>> auc_at([1, 1, 0, 0], [1, 2, 3, 4], [0.9, 0.2, 0.3, 0.1], horizon=2)
    0.75
    """
    seen, when, w = survival(event, time, weights)
    line = Timeline(seen, when)
    ranking = Ranking(vector("score", score, when.size))
    cases = case_weights(seen, when, horizon, w, line.left(line.censoring(w)))
    return area_at(ranking, cases, w * (when > horizon))


def area_at(ranking: Ranking, cases: FloatArray, controls: FloatArray) -> float:
    """Return the area under the curve of weighted cases and controls at a horizon.

    Raises
    ------
    NotEstimableError
        If either side is empty.

    Examples
    --------
    >>> area_at(Ranking(np.array([0.1, 0.9])), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    1.0
    """
    if not cases.any() or not controls.any():
        raise NotEstimableError(
            "no event by the horizon, or no row followed beyond it", "a horizon inside the follow-up"
        )
    return area(ranking.sums(cases), ranking.sums(controls))


def brier_curve(
    event: BoolArray, time: FloatArray, survival_curves: FloatArray, times: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the censoring-weighted Brier score at each time; NaN where no row is followed to it.

    Parameters
    ----------
    event, time, weights : arrays, shape (n,)
    survival_curves : float array, shape (n, t)
        Predicted survival at `times`.
    times : float array, shape (t,)

    Examples
    --------
    >>> brier_curve(np.array([True, False]), np.array([1.0, 2.0]), np.array([[0.2], [0.9]]), np.array([1.0]),
    ...             np.ones(2)).round(4)
    array([0.025])
    """
    line = Timeline(event, time)
    g = line.censoring(weights)
    left, at = line.left(g), line.read(g, times)
    out = np.full(times.size, np.nan)
    for j, t in enumerate(times):
        alive = time > t
        if not (weights * (time >= t)).any():
            continue
        s = survival_curves[:, j]
        score = case_weights(event, time, t, weights, left) @ s**2
        if (weights * alive).any():
            score += (weights * alive) @ (1 - s) ** 2 / at[j]
        out[j] = score / weights.sum()
    return out


def brier_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return the Brier score at a horizon: events weighted by 1 / G(T-), rows followed beyond by 1 / G(horizon).

    Parameters
    ----------
    event, time, weights
        As for `harrell_c`.
    risk : float array, shape (n,)
        Probability of the event by the horizon.
    horizon : float

    Raises
    ------
    NotEstimableError
        If no row is followed to the horizon.

    References
    ----------
    Graf et al., Stat Med 1999;18:2529. Gerds and Schumacher, Biom J 2006;48:1029.

    Examples
    --------
    >>> round(brier_at([1, 0], [1, 3], [0.8, 0.1], horizon=2), 4)
    0.025
    """
    seen, when, w = survival(event, time, weights)
    p = probabilities("risk", risk, when.size)
    value = float(brier_curve(seen, when, (1 - p)[:, None], np.array([float(horizon)]), w)[0])
    if not np.isfinite(value):
        raise NotEstimableError("no row is followed to the horizon", "a horizon inside the follow-up")
    return value


def scaled_brier_at(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> float:
    """Return 1 - Brier / Brier of the Kaplan-Meier curve of the same rows (index of prediction accuracy).

    Parameters
    ----------
    event, time, risk, horizon, weights
        As for `brier_at`.

    Raises
    ------
    NotEstimableError
        If no row is followed to the horizon, or the null model makes no error.

    References
    ----------
    Kattan and Gerds, Diagn Progn Res 2018;2:7.

    Examples
    --------
    >>> round(scaled_brier_at([1, 0], [1, 3], [0.8, 0.1], horizon=2), 4)
    0.9
    """
    seen, when, w = survival(event, time, weights)
    line = Timeline(seen, when)
    alive = line.read(line.survival(w), np.array([float(horizon)]))[0]
    null = brier_at(seen, when, np.full(when.size, 1 - alive), horizon, w)
    if null <= 0:
        raise NotEstimableError("the Kaplan-Meier null model makes no error", "an event by the horizon and a survivor")
    return 1 - brier_at(seen, when, risk, horizon, w) / null


def integrate(values: FloatArray, times: FloatArray) -> float:
    """Return the trapezoid integral over the range of the times, divided by that range.

    Raises
    ------
    NotEstimableError
        If there are fewer than 2 times, or a value is not known.

    Examples
    --------
    >>> integrate(np.array([0.1, 0.3]), np.array([1.0, 2.0]))
    0.2
    """
    if times.size < 2 or not np.isfinite(values).all():
        raise NotEstimableError("the Brier score is not known at 2 or more times", "a grid inside the follow-up")
    return float(np.trapezoid(values, times) / (times[-1] - times[0]))


def ibs(
    event: ArrayLike, time: ArrayLike, survival_curves: ArrayLike, times: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Return the integrated Brier score: trapezoids over the grid, divided by the grid's range.

    Parameters
    ----------
    event, time, weights
        As for `harrell_c`.
    survival_curves : float array, shape (n, t)
        Predicted survival at `times`.
    times : float array, shape (t,), rising

    Raises
    ------
    NotEstimableError
        If the grid has fewer than 2 times or leaves the follow-up.

    References
    ----------
    Graf et al., Stat Med 1999;18:2529.

    Examples
    --------
    >>> round(ibs([1, 0], [1, 3], [[0.2, 0.1], [0.9, 0.8]], [1, 2]), 4)
    0.025
    """
    seen, when, w = survival(event, time, weights)
    grid = vector("times", times)
    curves = np.asarray(survival_curves, dtype=np.float64)
    if curves.shape != (when.size, grid.size) or (np.diff(grid) <= 0).any():
        raise DataError(f"survival curves of shape {curves.shape}", f"({when.size}, {grid.size}), at rising times")
    probabilities("survival_curves", curves.ravel())
    return integrate(brier_curve(seen, when, curves, grid, w), grid)
