"""Small regressions under row weights: logistic, for one or many replicates at a time, and Cox with Efron ties."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

MOST_TERMS = 10_000
"""Steps in which deaths at one time leave, at most: with more the sum is its integral to 8 digits."""

__all__ = [
    "NO_FIT",
    "SETTLED",
    "UNSETTLED",
    "cox_fit",
    "cox_hazard",
    "cox_influence",
    "cox_pass",
    "fill_distances",
    "logistic_fit",
    "logistic_pass",
    "product_limit",
    "replicate_weights",
]

SETTLED = 0
"""Newton's method settled."""
UNSETTLED = 1
"""Newton's method did not settle: there is no finite maximum, or it lies too far away."""
NO_FIT = 2
"""The information matrix has no inverse."""

_FLAT = 1e-6
"""Share of the information that deaths and spread would give, below which a coefficient is taken for infinite."""

_STEPS = 40
_HALVINGS = 30

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]


@compiled
def _exp(x: float) -> float:
    """Return exp(x) for -708 <= x <= 708 to one rounding step; plain arithmetic, so that loops over it use SIMD."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    whole = shifted - 6755399441055744.0
    r = (x - whole * 6.93147180369123816490e-01) - whole * 1.90821492927058770002e-10
    s = 1 / 6227020800.0
    s = s * r + 1 / 479001600.0
    s = s * r + 1 / 39916800.0
    s = s * r + 1 / 3628800.0
    s = s * r + 1 / 362880.0
    s = s * r + 1 / 40320.0
    s = s * r + 1 / 5040.0
    s = s * r + 1 / 720.0
    s = s * r + 1 / 120.0
    s = s * r + 1 / 24.0
    s = s * r + 1 / 6.0
    s = s * r + 0.5
    s = s * r + 1.0
    s = s * r + 1.0
    # The whole part moves the exponent bits.
    bits = np.float64(s).view(np.int64) + (np.float64(shifted).view(np.int64) << 52)
    return np.int64(bits).view(np.float64)


@compiled
def _solve(matrix: _Floats, right: _Floats, out: _Floats) -> bool:
    """Solve a symmetric positive definite system by Cholesky; False when it is singular to rounding."""
    q = right.size
    lower = np.zeros((q, q))
    for a in range(q):
        for b in range(a + 1):
            s = matrix[a, b]
            for k in range(b):
                s -= lower[a, k] * lower[b, k]
            if a == b:
                if not s > 1e-13 * matrix[a, a] or not s > 0:
                    return False
                lower[a, a] = math.sqrt(s)
            else:
                lower[a, b] = s / lower[b, b]
    for a in range(q):
        s = right[a]
        for k in range(a):
            s -= lower[a, k] * out[k]
        out[a] = s / lower[a, a]
    for a in range(q - 1, -1, -1):
        s = out[a]
        for k in range(a + 1, q):
            s -= lower[k, a] * out[k]
        out[a] = s / lower[a, a]
    return True


@compiled
def _settled(step: _Floats, beta: _Floats) -> bool:
    """Tell whether a Newton step is too small to matter."""
    size = 0.0
    far = 0.0
    for a in range(beta.size):
        size = max(size, abs(step[a]))
        far = max(far, abs(beta[a]))
    return size <= 1e-9 * (1 + far)


@compiled
def _logistic_look(
    x: _Floats, y: _Floats, offset: _Floats, weights: _Floats, beta: _Floats, gradient: _Floats, information: _Floats
) -> float:
    """Fill gradient and information of the log likelihood; return the negative log likelihood."""
    n, q = x.shape
    loss = 0.0
    gradient[:] = 0.0
    information[:, :] = 0.0
    for i in range(n):
        w = weights[i]
        if w == 0.0:
            continue
        eta = offset[i]
        for a in range(q):
            eta += x[i, a] * beta[a]
        e = _exp(-min(abs(eta), 700.0))
        s = 1 / (1 + e)
        mu = s if eta >= 0 else e * s
        loss += w * (max(eta, 0.0) - y[i] * eta + math.log1p(e))
        r = w * (y[i] - mu)
        h = w * e * s * s
        for a in range(q):
            xa = x[i, a]
            gradient[a] += r * xa
            hx = h * xa
            for b in range(a + 1):
                information[a, b] += hx * x[i, b]
    for a in range(q):
        for b in range(a):
            information[b, a] = information[a, b]
    return loss


@compiled
def logistic_fit(x: _Floats, y: _Floats, offset: _Floats, weights: _Floats, beta: _Floats, information: _Floats) -> int:
    """Fit a weighted logistic regression by Newton's method with step halving.

    Parameters
    ----------
    x : float array, shape (n, q)
        Design, with its column of ones.
    y, offset, weights : float arrays, shape (n,)
    beta : float array, shape (q,)
        Where to start; overwritten by the fit.
    information : float array, shape (q, q)
        Overwritten by the information at the fit.

    Returns
    -------
    int
        `SETTLED`, `UNSETTLED` or `NO_FIT`.
    """
    q = beta.size
    gradient, step, trial = np.empty(q), np.empty(q), np.empty(q)
    loss = _logistic_look(x, y, offset, weights, beta, gradient, information)
    for _ in range(_STEPS):
        if not _solve(information, gradient, step):
            return NO_FIT
        found = loss
        for _ in range(_HALVINGS):
            for a in range(q):
                trial[a] = beta[a] + step[a]
            found = _logistic_look(x, y, offset, weights, trial, gradient, information)
            if found <= loss + 1e-10 * abs(loss):
                break
            for a in range(q):
                step[a] *= 0.5
        loss = found
        beta[:] = trial
        if _settled(step, beta):
            return SETTLED
    return UNSETTLED


@compiled
def logistic_pass(
    x: _Floats,
    y: _Floats,
    offset: _Floats,
    base: _Floats,
    codes: _Ints,
    counts: NDArray[np.uint8],
    beta: _Floats,
    shared: bool,
    gradient: _Floats,
    information: _Floats,
) -> None:
    """Add up gradient and information of b replicates of a logistic regression in one pass over the rows.

    Row i of replicate j has the weight base[i] * counts[codes[i], j].

    Parameters
    ----------
    x : float array, shape (n, q)
    y, offset, base : float arrays, shape (n,)
    codes : int array, shape (n,)
    counts : array, shape (m, b)
    beta : float array, shape (q, b)
    shared : bool
        All replicates have the coefficients of the first, as at the start: one exponential a row is enough.
    gradient : float array, shape (q, b)
        Overwritten.
    information : float array, shape (q * (q + 1) / 2, b)
        Overwritten: the lower triangle, row by row.
    """
    n, q = x.shape
    b = counts.shape[1]
    gradient[:, :] = 0.0
    information[:, :] = 0.0
    eta, weight, residual, curvature = np.empty(b), np.empty(b), np.empty(b), np.empty(b)
    for i in range(n):
        row = codes[i]
        yi = y[i]
        wi = base[i]
        if shared:
            one = offset[i]
            for a in range(q):
                one += x[i, a] * beta[a, 0]
            e = _exp(-min(abs(one), 700.0))
            s = 1 / (1 + e)
            mu = s if one >= 0 else e * s
            first = wi * (yi - mu)
            second = wi * e * s * s
            for j in range(b):
                residual[j] = first * counts[row, j]
                curvature[j] = second * counts[row, j]
        else:
            for j in range(b):
                weight[j] = counts[row, j]
                eta[j] = offset[i]
            for a in range(q):
                xa = x[i, a]
                for j in range(b):
                    eta[j] += xa * beta[a, j]
            for j in range(b):
                e = _exp(-min(abs(eta[j]), 700.0))
                s = 1 / (1 + e)
                mu = s if eta[j] >= 0 else e * s
                w = wi * weight[j]
                residual[j] = w * (yi - mu)
                curvature[j] = w * e * s * s
        place = 0
        for a in range(q):
            xa = x[i, a]
            for j in range(b):
                gradient[a, j] += xa * residual[j]
            for c in range(a + 1):
                xx = xa * x[i, c]
                for j in range(b):
                    information[place, j] += xx * curvature[j]
                place += 1


@compiled
def replicate_weights(base: _Floats, codes: _Ints, counts: NDArray[np.uint8], replicate: int, out: _Floats) -> None:
    """Fill each row's weight in one replicate: base[i] * counts[codes[i], replicate]."""
    for i in range(base.size):
        out[i] = base[i] * counts[codes[i], replicate]


@compiled
def fill_distances(x: _Floats, risk: _Floats, beta: _Floats, hazard: bool, out: _Floats) -> None:
    """Fill each row's distance between its risk and a curve: logistic in x, or complementary log-log with `hazard`.

    Parameters
    ----------
    x : float array, shape (n, q)
    risk : float array, shape (n,)
    beta : float array, shape (q,)
    hazard : bool
    out : float array, shape (n,)
        Overwritten.
    """
    n, q = x.shape
    tile = 256
    eta = np.empty(tile)
    for first in range(0, n, tile):
        size = min(tile, n - first)
        for i in range(size):
            s = 0.0
            for a in range(q):
                s += x[first + i, a] * beta[a]
            eta[i] = s
        if hazard:
            for i in range(size):
                h = _exp(max(min(eta[i], 6.5), -700.0))
                out[first + i] = abs(1.0 - _exp(-h) - risk[first + i])
        else:
            for i in range(size):
                e = _exp(-min(abs(eta[i]), 700.0))
                s = 1 / (1 + e)
                out[first + i] = abs((s if eta[i] >= 0 else e * s) - risk[first + i])


@compiled
def cox_pass(
    x: _Floats,
    dead: NDArray[np.bool_],
    starts: _Ints,
    weights: _Floats,
    beta: _Floats,
    gradient: _Floats,
    information: _Floats,
) -> float:
    """Fill gradient and information of a Cox partial likelihood with Efron's ties; return its log.

    At an event time with deaths of total weight D there are m = round(D), at least 1, terms of weight D / m; term r
    leaves the share r / m of the deaths out of the risk set. Whole-number weights stand for repeated rows.

    Parameters
    ----------
    x : float array, shape (n, q)
        Covariates, best centred; rows in order of the last event time at which they are at risk.
    dead : bool array, shape (n,)
        Rows that have the event at that time.
    starts : int array, shape (u + 1,)
        First row of each event time, and n.
    weights : float array, shape (n,)
    beta, gradient : float arrays, shape (q,)
    information : float array, shape (q, q)
    """
    n, q = x.shape
    gradient[:] = 0.0
    information[:, :] = 0.0
    s1, d1, mean = np.zeros(q), np.zeros(q), np.zeros(q)
    s2, d2 = np.zeros((q, q)), np.zeros((q, q))
    eta = np.empty(n)
    top = -np.inf
    for i in range(n):
        s = 0.0
        for a in range(q):
            s += x[i, a] * beta[a]
        eta[i] = s
        top = max(top, s)
    s0 = 0.0
    value = 0.0
    for k in range(starts.size - 2, -1, -1):
        d0 = 0.0
        total = 0.0
        d1[:] = 0.0
        d2[:, :] = 0.0
        for i in range(starts[k], starts[k + 1]):
            w = weights[i]
            if w == 0.0:
                continue
            h = w * _exp(max(eta[i] - top, -700.0))
            s0 += h
            for a in range(q):
                hx = h * x[i, a]
                s1[a] += hx
                for b in range(a + 1):
                    s2[a, b] += hx * x[i, b]
            if dead[i]:
                total += w
                d0 += h
                value += w * (eta[i] - top)
                for a in range(q):
                    gradient[a] += w * x[i, a]
                    hx = h * x[i, a]
                    d1[a] += hx
                    for b in range(a + 1):
                        d2[a, b] += hx * x[i, b]
        if total <= 0.0:
            continue
        terms = min(max(1, int(total + 0.5)), MOST_TERMS)
        each = total / terms
        for r in range(terms):
            part = r / terms
            mass = s0 - part * d0
            value -= each * math.log(mass)
            for a in range(q):
                mean[a] = (s1[a] - part * d1[a]) / mass
                gradient[a] -= each * mean[a]
                for b in range(a + 1):
                    information[a, b] += each * ((s2[a, b] - part * d2[a, b]) / mass - mean[a] * mean[b])
    for a in range(q):
        for b in range(a):
            information[b, a] = information[a, b]
    return value


@compiled
def _flat(x: _Floats, dead: NDArray[np.bool_], weights: _Floats, information: _Floats) -> bool:
    """Tell whether the information of some coefficient has vanished: its covariate ranks the events perfectly."""
    deaths, total = 0.0, 0.0
    for i in range(x.shape[0]):
        total += weights[i]
        if dead[i]:
            deaths += weights[i]
    for a in range(x.shape[1]):
        squares = 0.0
        for i in range(x.shape[0]):
            squares += weights[i] * x[i, a] * x[i, a]
        if information[a, a] < _FLAT * deaths * squares / total:
            return True
    return False


@compiled
def cox_fit(
    x: _Floats, dead: NDArray[np.bool_], starts: _Ints, weights: _Floats, beta: _Floats, information: _Floats
) -> int:
    """Fit a small Cox regression by Newton's method with step halving; arguments as in `cox_pass`.

    Parameters
    ----------
    beta : float array, shape (q,)
        Where to start; overwritten by the fit.
    information : float array, shape (q, q)
        Overwritten by the information at the fit.

    Returns
    -------
    int
        `SETTLED`, `UNSETTLED` or `NO_FIT`.
    """
    q = beta.size
    gradient, step, trial = np.empty(q), np.empty(q), np.empty(q)
    value = cox_pass(x, dead, starts, weights, beta, gradient, information)
    for _ in range(_STEPS):
        if not _solve(information, gradient, step):
            return NO_FIT
        found = value
        for _ in range(_HALVINGS):
            for a in range(q):
                trial[a] = beta[a] + step[a]
            found = cox_pass(x, dead, starts, weights, trial, gradient, information)
            if found >= value - 1e-10 * abs(value):
                break
            for a in range(q):
                step[a] *= 0.5
        value = found
        beta[:] = trial
        if _settled(step, beta):
            # A likelihood without a top ends here too, when rounding hides that it still rises.
            return UNSETTLED if _flat(x, dead, weights, information) else SETTLED
    return UNSETTLED


@compiled
def cox_hazard(
    x: _Floats, dead: NDArray[np.bool_], starts: _Ints, weights: _Floats, beta: _Floats, last: int, slope: _Floats
) -> float:
    """Return the cumulative baseline hazard over the first `last` event times, Efron's ties; fill its slope in beta.

    Parameters
    ----------
    last : int
        Event times that count.
    slope : float array, shape (q,)
        Overwritten by the derivative of the hazard with respect to beta.
    """
    q = x.shape[1]
    s1, d1 = np.zeros(q), np.zeros(q)
    slope[:] = 0.0
    s0 = 0.0
    out = 0.0
    for k in range(starts.size - 2, -1, -1):
        d0 = 0.0
        total = 0.0
        d1[:] = 0.0
        for i in range(starts[k], starts[k + 1]):
            w = weights[i]
            if w == 0.0:
                continue
            eta = 0.0
            for a in range(q):
                eta += x[i, a] * beta[a]
            h = w * _exp(max(min(eta, 700.0), -700.0))
            s0 += h
            for a in range(q):
                s1[a] += h * x[i, a]
            if dead[i]:
                total += w
                d0 += h
                for a in range(q):
                    d1[a] += h * x[i, a]
        if total <= 0.0 or k >= last:
            continue
        terms = min(max(1, int(total + 0.5)), MOST_TERMS)
        each = total / terms
        for r in range(terms):
            part = r / terms
            mass = s0 - part * d0
            out += each / mass
            for a in range(q):
                slope[a] -= each * (s1[a] - part * d1[a]) / (mass * mass)
    return out


@compiled
def product_limit(dead: NDArray[np.bool_], starts: _Ints, weights: _Floats, last: int) -> float:
    """Return the Kaplan-Meier curve after the first `last` event times; rows as in `cox_pass`."""
    at_risk = 0.0
    out = 1.0
    for k in range(starts.size - 2, -1, -1):
        deaths = 0.0
        for i in range(starts[k], starts[k + 1]):
            at_risk += weights[i]
            if dead[i]:
                deaths += weights[i]
        if k < last and deaths > 0.0:
            out *= 1.0 - deaths / at_risk
    return out


@compiled
def cox_influence(
    x: _Floats,
    dead: NDArray[np.bool_],
    starts: _Ints,
    weights: _Floats,
    beta: _Floats,
    last: int,
    score: _Floats,
    hazard: _Floats,
) -> None:
    """Fill each row's weighted score residual, and its direct share in the baseline hazard of `cox_hazard`.

    Both hold Efron's terms and are derivatives with respect to the row's weight, times the weight.

    Parameters
    ----------
    last : int
        Event times that count for the hazard.
    score : float array, shape (n, q)
        Overwritten.
    hazard : float array, shape (n,)
        Overwritten; the coefficients are held fixed.

    References
    ----------
    Lin and Wei, JASA 1989;84:1074. Therneau and Grambsch, Modeling Survival Data, 2000, section 4.6.
    """
    n, q = x.shape
    u = starts.size - 1
    s1, d1 = np.zeros(q), np.zeros(q)
    # Sums over the terms of each event time: of 1/mass, mean/mass, 1/mass^2; then the same by share left out.
    once, square = np.zeros(u), np.zeros(u)
    mean = np.zeros((u, q))
    own_once, own_square = np.zeros(u), np.zeros(u)
    own_mean, average, plain = np.zeros((u, q)), np.zeros((u, q)), np.zeros(u)
    risk = np.empty(n)
    s0 = 0.0
    for k in range(u - 1, -1, -1):
        d0 = 0.0
        total = 0.0
        d1[:] = 0.0
        for i in range(starts[k], starts[k + 1]):
            eta = 0.0
            for a in range(q):
                eta += x[i, a] * beta[a]
            risk[i] = _exp(max(min(eta, 700.0), -700.0))
            w = weights[i]
            if w == 0.0:
                continue
            h = w * risk[i]
            s0 += h
            for a in range(q):
                s1[a] += h * x[i, a]
            if dead[i]:
                total += w
                d0 += h
                for a in range(q):
                    d1[a] += h * x[i, a]
        if total <= 0.0:
            continue
        terms = min(max(1, int(total + 0.5)), MOST_TERMS)
        each = total / terms
        for r in range(terms):
            part = r / terms
            mass = s0 - part * d0
            once[k] += each / mass
            own_once[k] += each * part / mass
            if k < last:
                square[k] += each / (mass * mass)
                own_square[k] += each * part / (mass * mass)
                plain[k] += 1 / (terms * mass)
            for a in range(q):
                m = (s1[a] - part * d1[a]) / mass
                mean[k, a] += each * m / mass
                own_mean[k, a] += each * part * m / mass
                average[k, a] += m / terms
    past_once = 0.0
    past_square = 0.0
    past_mean = np.zeros(q)
    for k in range(u):
        past_once += once[k]
        past_square += square[k]
        for a in range(q):
            past_mean[a] += mean[k, a]
        for i in range(starts[k], starts[k + 1]):
            w, h = weights[i], risk[i]
            if dead[i]:
                hazard[i] = w * (plain[k] - h * (past_square - own_square[k]))
                for a in range(q):
                    fall = x[i, a] * (past_once - own_once[k]) - (past_mean[a] - own_mean[k, a])
                    score[i, a] = w * (x[i, a] - average[k, a] - h * fall)
            else:
                hazard[i] = -w * h * past_square
                for a in range(q):
                    score[i, a] = -w * h * (x[i, a] * past_once - past_mean[a])
