"""Curves without a model from rows in order of time: risk tables, sums of squares over patients, log-rank sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["cause_table", "log_rank_sums", "place_rows", "risk_table", "sums_over_patients"]


@compiled
def risk_table(
    order: NDArray[np.int64],
    time: NDArray[np.float64],
    event: NDArray[np.bool_],
    weights: NDArray[np.float64],
    entry_order: NDArray[np.int64],
    entry: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct times, and the deaths and rows at risk at each of them.

    A row is at risk at u when entry < u <= time. Rows at risk are summed from the last time back, so that the count
    at the last time is exactly the weight that leaves there.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows in order of time.
    time, event, weights : arrays, shape (n,)
    entry_order : int array, shape (n,) or (0,)
        Rows in order of entry; empty when all enter at the beginning.
    entry : float array, shape (n,) or (0,)

    Returns
    -------
    times, deaths, at_risk : float arrays, shape (u,)
    """
    n = order.size
    size = 0
    last = -1.0
    for i in range(n):
        t = time[order[i]]
        if t != last:
            size += 1
            last = t
    times = np.empty(size)
    deaths = np.zeros(size)
    at_risk = np.empty(size)
    u = size
    followed = 0.0
    late = 0.0
    j = entry_order.size - 1
    i = n - 1
    while i >= 0:
        u -= 1
        t = time[order[i]]
        times[u] = t
        leaving = 0.0
        dying = 0.0
        while i >= 0 and time[order[i]] == t:
            row = order[i]
            leaving += weights[row]
            if event[row]:
                dying += weights[row]
            i -= 1
        followed += leaving
        while j >= 0 and entry[entry_order[j]] >= t:
            late += weights[entry_order[j]]
            j -= 1
        deaths[u] = dying
        # Two sums of the same weights may differ in the last digit: those who leave are at risk for certain.
        at_risk[u] = max(followed - late, leaving)
    return times, deaths, at_risk


@compiled
def place_rows(order: NDArray[np.int64], time: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where each row's time stands among the distinct times, shape (n,)."""
    place = np.empty(order.size, np.int64)
    u = -1
    last = -1.0
    for i in range(order.size):
        row = order[i]
        if time[row] != last:
            u += 1
            last = time[row]
        place[row] = u
    return place


@compiled
def cause_table(
    order: NDArray[np.int64],
    time: NDArray[np.float64],
    cause: NDArray[np.int64],
    weights: NDArray[np.float64],
    causes: int,
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct times, the events of each cause and the rows at risk.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows in order of time.
    time, weights : float arrays, shape (n,)
    cause : int array, shape (n,)
        0 for censored, else 1 to `causes`.
    causes : int
    size : int
        Number of distinct times, u.

    Returns
    -------
    times : float array, shape (u,)
    events : float array, shape (u, causes)
    at_risk : float array, shape (u,)
    """
    times = np.empty(size)
    events = np.zeros((size, causes))
    at_risk = np.empty(size)
    u = size
    followed = 0.0
    i = order.size - 1
    while i >= 0:
        u -= 1
        t = time[order[i]]
        times[u] = t
        while i >= 0 and time[order[i]] == t:
            row = order[i]
            followed += weights[row]
            if cause[row] > 0:
                events[u, cause[row] - 1] += weights[row]
            i -= 1
        at_risk[u] = followed
    return times, events, at_risk


@compiled
def sums_over_patients(
    order: NDArray[np.int64],
    place: NDArray[np.int64],
    kind: NDArray[np.int64],
    weights: NDArray[np.float64],
    codes: NDArray[np.int64],
    patients: int,
    entry_order: NDArray[np.int64],
    entry_place: NDArray[np.int64],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    curve: NDArray[np.float64],
    leaving_a: NDArray[np.float64],
    leaving_b: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return, at each distinct time, the sum over patients of their squared influence on a curve.

    The influence of row i on the curve F at t is w_i (A_i(t) + F(t) B_i(t)). While the row is followed, A_i(t) is a(t)
    less its value at entry, and so B_i(t); from its own time on both stay as they are, with a step at that time that
    depends on how it left. A patient's sum is then r (a + F b) + ka + F kb with r the weight still followed, and six
    sums of products over patients, updated as rows enter and leave, give all times in one pass.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows in order of time.
    place, kind, codes : int arrays, shape (n,)
        Place of the row's time among the distinct times, how it left (a row of the tables), and its patient.
    weights : float array, shape (n,)
    patients : int
    entry_order : int array, shape (n,) or (0,)
        Rows in order of entry.
    entry_place : int array, shape (n,) or (0,)
        Number of distinct times at or before the row's entry.
    a, b, curve : float arrays, shape (u,)
    leaving_a, leaving_b : float arrays, shape (kinds, u)
        Step of A and B at the time of leaving.

    Returns
    -------
    float array, shape (u,)
    """
    size = curve.size
    n = order.size
    out = np.empty(size)
    r = np.zeros(patients)
    ka = np.zeros(patients)
    kb = np.zeros(patients)
    # Products of r and r, r and ka, r and kb, ka and ka, ka and kb, kb and kb, summed over patients.
    s = np.zeros(6)
    truncated = entry_order.size > 0
    if not truncated:
        for i in range(n):
            r[codes[i]] += weights[i]
        for g in range(patients):
            s[0] += r[g] * r[g]
    i = 0
    j = 0
    for u in range(size):
        while truncated and j < n and entry_place[entry_order[j]] <= u:
            row = entry_order[j]
            g = codes[row]
            w = weights[row]
            p = entry_place[row] - 1
            start_a = a[p] if p >= 0 else 0.0
            start_b = b[p] if p >= 0 else 0.0
            s[0] -= r[g] * r[g]
            s[1] -= r[g] * ka[g]
            s[2] -= r[g] * kb[g]
            s[3] -= ka[g] * ka[g]
            s[4] -= ka[g] * kb[g]
            s[5] -= kb[g] * kb[g]
            r[g] += w
            ka[g] -= w * start_a
            kb[g] -= w * start_b
            s[0] += r[g] * r[g]
            s[1] += r[g] * ka[g]
            s[2] += r[g] * kb[g]
            s[3] += ka[g] * ka[g]
            s[4] += ka[g] * kb[g]
            s[5] += kb[g] * kb[g]
            j += 1
        while i < n and place[order[i]] == u:
            row = order[i]
            g = codes[row]
            w = weights[row]
            s[0] -= r[g] * r[g]
            s[1] -= r[g] * ka[g]
            s[2] -= r[g] * kb[g]
            s[3] -= ka[g] * ka[g]
            s[4] -= ka[g] * kb[g]
            s[5] -= kb[g] * kb[g]
            r[g] -= w
            ka[g] += w * (a[u] + leaving_a[kind[row], u])
            kb[g] += w * (b[u] + leaving_b[kind[row], u])
            s[0] += r[g] * r[g]
            s[1] += r[g] * ka[g]
            s[2] += r[g] * kb[g]
            s[3] += ka[g] * ka[g]
            s[4] += ka[g] * kb[g]
            s[5] += kb[g] * kb[g]
            i += 1
        f = curve[u]
        x = a[u] + f * b[u]
        total = s[0] * x * x + 2 * x * (s[1] + f * s[2]) + s[3] + 2 * f * s[4] + f * f * s[5]
        out[u] = max(total, 0.0)
    return out


@compiled
def log_rank_sums(
    order: NDArray[np.int64],
    stratum: NDArray[np.int64],
    time: NDArray[np.float64],
    event: NDArray[np.bool_],
    group: NDArray[np.int64],
    groups: int,
    kind: int,
    rho: float,
    gamma: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted observed and expected events of each group, and their covariance, summed over strata.

    Parameters
    ----------
    order : int array, shape (n,)
        Rows by stratum, then by time.
    stratum, group : int arrays, shape (n,)
        Numbers from 0.
    time, event : arrays, shape (n,)
    groups : int
    kind : int
        Weight of an event time: 0 one, 1 rows at risk, 2 their square root, 3 Peto and Peto's survival, 4 the left
        limit S of the pooled Kaplan-Meier curve as S**rho * (1 - S)**gamma.
    rho, gamma : float

    Returns
    -------
    observed, expected : float arrays, shape (groups,)
    covariance : float array, shape (groups, groups)
    """
    n = order.size
    observed = np.zeros(groups)
    expected = np.zeros(groups)
    covariance = np.zeros((groups, groups))
    at_risk = np.zeros(groups)
    deaths = np.zeros(groups)
    first = 0
    while first < n:
        last = first
        at_risk[:] = 0.0
        while last < n and stratum[order[last]] == stratum[order[first]]:
            at_risk[group[order[last]]] += 1.0
            last += 1
        total = float(last - first)
        survival = 1.0
        peto = 1.0
        i = first
        while i < last:
            t = time[order[i]]
            deaths[:] = 0.0
            dying = 0.0
            stop = i
            while stop < last and time[order[stop]] == t:
                row = order[stop]
                if event[row]:
                    deaths[group[row]] += 1.0
                    dying += 1.0
                stop += 1
            if dying > 0:
                peto *= 1.0 - dying / (total + 1.0)
                if kind == 0:
                    w = 1.0
                elif kind == 1:
                    w = total
                elif kind == 2:
                    w = np.sqrt(total)
                elif kind == 3:
                    w = peto
                else:
                    w = survival**rho * (1.0 - survival) ** gamma
                survival *= 1.0 - dying / total
                factor = w * w * dying * (total - dying) / (total - 1.0) if total > 1 else 0.0
                for k in range(groups):
                    share = at_risk[k] / total
                    observed[k] += w * deaths[k]
                    expected[k] += w * dying * share
                    covariance[k, k] += factor * share
                    for m in range(groups):
                        covariance[k, m] -= factor * share * at_risk[m] / total
            while i < stop:
                at_risk[group[order[i]]] -= 1.0
                total -= 1.0
                i += 1
        first = last
    return observed, expected, covariance
