"""Competing risks from rows in order of time: sums over weighted risk sets, score residuals, products of hazards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["incidences", "residuals", "risk_sums", "scalar_sums"]


@compiled
def scalar_sums(
    r: NDArray[np.float64],
    q: NDArray[np.float64],
    starts: NDArray[np.int64],
    kept: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill in the sum of the weighted risk set at each event time.

    Parameters
    ----------
    r : float array, shape (n,)
        Relative risk of each row times its weight, rows in order of time.
    q : float array, shape (n,)
        The same over the chance of being uncensored just before the row's time; 0 but for competing events.
    starts : int array, shape (k,)
        First row at or after each event time.
    kept : float array, shape (k,)
        Chance of being uncensored just before each event time.
    out : float array, shape (k,)
    """
    before = 0.0
    i = 0
    for j in range(starts.size):
        while i < starts[j]:
            before += q[i]
            i += 1
        out[j] = kept[j] * before
    later = 0.0
    i = r.size - 1
    for j in range(starts.size - 1, -1, -1):
        while i >= starts[j]:
            later += r[i]
            i -= 1
        out[j] += later


@compiled
def risk_sums(
    X: NDArray[np.float64],
    r: NDArray[np.float64],
    q: NDArray[np.float64],
    starts: NDArray[np.int64],
    kept: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill in the sum of x over the weighted risk set at each event time, shape (k, p); see `scalar_sums`."""
    p = X.shape[1]
    total = np.zeros(p)
    i = 0
    for j in range(starts.size):
        while i < starts[j]:
            if q[i] != 0.0:
                for c in range(p):
                    total[c] += q[i] * X[i, c]
            i += 1
        for c in range(p):
            out[j, c] = kept[j] * total[c]
    total[:] = 0.0
    i = X.shape[0] - 1
    for j in range(starts.size - 1, -1, -1):
        while i >= starts[j]:
            for c in range(p):
                total[c] += r[i] * X[i, c]
            i -= 1
        for c in range(p):
            out[j, c] += total[c]


@compiled
def residuals(
    X: NDArray[np.float64],
    weights: NDArray[np.float64],
    kind: NDArray[np.int64],
    r: NDArray[np.float64],
    q: NDArray[np.float64],
    edges: NDArray[np.int64],
    event_at: NDArray[np.int64],
    at_risk: NDArray[np.float64],
    means: NDArray[np.float64],
    hazard: NDArray[np.float64],
    kept: NDArray[np.float64],
    inverse: NDArray[np.float64],
    score: NDArray[np.float64],
    own: NDArray[np.float64],
    met: NDArray[np.float64],
) -> None:
    """Fill in what each row adds to the score and to the baseline hazard, the estimated weights counted.

    Parameters
    ----------
    X : float array, shape (n, p)
        Rows in order of time.
    weights, r, q : float arrays, shape (n,)
        See `scalar_sums`.
    kind : int array, shape (n,)
        0 censored, 1 event of the cause, 2 another event.
    edges : int array, shape (u + 1,)
        First row of each distinct time, and n.
    event_at : int array, shape (u,)
        Which event time each distinct time is; -1 for none.
    at_risk : float array, shape (u,)
        Weight of the rows at or after each distinct time.
    means : float array, shape (k, p)
        Mean of x over the weighted risk set at each event time.
    hazard, kept, inverse : float arrays, shape (k,)
        Step of the baseline hazard, chance of being uncensored, 1 / sum of the risk set.
    score : float array, shape (n, p), filled in
    own : float array, shape (n, 2), filled in
        α and β of a row: once its time is past, it adds α - β K(t) to the hazard at t.
    met : float array, shape (u, 3), filled in
        H, K and the censoring's part at each distinct time t: a row still followed adds -r H(t) - w · part.
    """
    p = X.shape[1]
    rest = 0.0
    rest_x = np.zeros(p)
    for j in range(hazard.size):
        rest += kept[j] * hazard[j]
        for c in range(p):
            rest_x[c] += kept[j] * hazard[j] * means[j, c]
    reached = 0.0
    reached_x = np.zeros(p)
    before = 0.0
    before_x = np.zeros(p)
    lost_x = np.zeros(p)
    step_x = np.zeros(p)
    h2 = 0.0
    k2 = 0.0
    p0 = 0.0
    p1 = 0.0
    for u in range(edges.size - 1):
        # Censoring at u moves the weights of those gone before u, in the risk sets from u on.
        censored = 0.0
        for i in range(edges[u], edges[u + 1]):
            if kind[i] == 0:
                censored += weights[i]
        share = 0.0
        start = k2
        if censored > 0.0:
            share = before / at_risk[u]
            p0 += share * censored / at_risk[u]
            p1 += share * start * censored / at_risk[u]
            for c in range(p):
                step_x[c] = (before_x[c] * rest - before * rest_x[c]) / at_risk[u]
                lost_x[c] += step_x[c] * censored / at_risk[u]
        j = event_at[u]
        if j >= 0:
            reached += hazard[j]
            rest -= kept[j] * hazard[j]
            h2 += hazard[j] * inverse[j]
            k2 += kept[j] * hazard[j] * inverse[j]
            for c in range(p):
                reached_x[c] += hazard[j] * means[j, c]
                rest_x[c] -= kept[j] * hazard[j] * means[j, c]
        met[u, 0] = h2
        met[u, 1] = k2
        met[u, 2] = k2 * p0 - p1
        for i in range(edges[u], edges[u + 1]):
            w = weights[i]
            total = r[i] * reached + q[i] * rest
            own[i, 0] = q[i] * k2 + w * p1 - r[i] * h2
            own[i, 1] = q[i] + w * p0
            for c in range(p):
                value = r[i] * reached_x[c] + q[i] * rest_x[c] - X[i, c] * total - w * lost_x[c]
                if kind[i] == 1:
                    value += w * (X[i, c] - means[j, c])
                elif kind[i] == 0:
                    value += w * step_x[c]
                score[i, c] = value
            if kind[i] == 1:
                own[i, 0] += w * inverse[j]
            elif kind[i] == 0:
                own[i, 0] -= w * share * start
                own[i, 1] -= w * share
        for i in range(edges[u], edges[u + 1]):
            if q[i] != 0.0:
                before += q[i]
                for c in range(p):
                    before_x[c] += q[i] * X[i, c]


@compiled
def incidences(
    relative: NDArray[np.float64],
    steps: NDArray[np.float64],
    reach: NDArray[np.int64],
    smooth: bool,
    out: NDArray[np.float64],
) -> None:
    """Fill in the chance of each cause by each time, from the hazards of all causes.

    Parameters
    ----------
    relative : float array, shape (n, K)
        Factor of each row on each cause's hazard.
    steps : float array, shape (s, K)
        Steps of the cumulative hazards.
    reach : int array, shape (t,), rising
        How many steps lie at or before each time.
    smooth : bool
        Whether a step is a piece of a continuous hazard; else it is a jump at one time.
    out : float array, shape (n, t, K)
    """
    causes = steps.shape[1]
    chance = np.empty(causes)
    for i in range(relative.shape[0]):
        left = 1.0
        chance[:] = 0.0
        s = 0
        for t in range(reach.size):
            while s < reach[t]:
                total = 0.0
                for k in range(causes):
                    total += relative[i, k] * steps[s, k]
                if total > 0.0:
                    # What leaves is shared among the causes; more than is left cannot leave.
                    leaving = -np.expm1(-total) if smooth else min(total, 1.0)
                    for k in range(causes):
                        chance[k] += left * leaving * (relative[i, k] * steps[s, k] / total)
                    left *= 1.0 - leaving
                s += 1
            for k in range(causes):
                out[i, t, k] = chance[k]
