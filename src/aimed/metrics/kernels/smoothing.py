"""Local regression at chosen places and quantiles by selection: what smooth calibration curves are made from."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["distance_summary", "local_fit"]

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]

_BINS = 2048
_SORTED = 4096


@compiled
def _pick(values: _Floats, weights: _Floats, target: float) -> float:
    """Return the least value whose cumulated weight exceeds the target."""
    before = 0.0
    while values.size > _SORTED:
        low, high = values.min(), values.max()
        if not high > low:
            return low  # type: ignore[no-any-return]
        scale = (_BINS - 1) / (high - low)
        if not scale < np.inf:
            break
        mass, rows = np.zeros(_BINS), np.zeros(_BINS, np.int64)
        for i in range(values.size):
            k = int((values[i] - low) * scale)
            mass[k] += weights[i]
            rows[k] += 1
        k = 0
        while k < _BINS - 1 and before + mass[k] <= target:
            before += mass[k]
            k += 1
        while rows[k] == 0:
            k -= 1
        fewer, lighter = np.empty(rows[k]), np.empty(rows[k])
        place = 0
        for i in range(values.size):
            if int((values[i] - low) * scale) == k:
                fewer[place], lighter[place] = values[i], weights[i]
                place += 1
        values, weights = fewer, lighter
    order = np.argsort(values)
    for place in order:
        before += weights[place]
        if before > target:
            return values[place]  # type: ignore[no-any-return]
    return values[order[-1]]  # type: ignore[no-any-return]


@compiled
def distance_summary(values: _Floats, weights: _Floats, levels: _Floats, out: _Floats) -> None:
    """Fill mean, quantiles and largest of weighted values >= 0; the quantiles equal those of repeated rows.

    Nothing is sorted but the few rows of a histogram's bin that can hold a quantile.

    Parameters
    ----------
    values, weights : float arrays, shape (n,)
        Rows of weight 0 do not count.
    levels : float array, shape (k,)
    out : float array, shape (k + 2,)
        Overwritten: mean, the quantiles in order of the levels, largest; NaN when no row has weight.
    """
    n = values.size
    total = 0.0
    top = 0.0
    mean = 0.0
    for i in range(n):
        w = weights[i]
        total += w
        mean += w * values[i]
        top = max(top, values[i] if w > 0.0 else 0.0)
    out[:] = np.nan
    if not total > 0.0:
        return
    out[0], out[out.size - 1] = mean / total, top
    if top == 0.0:
        out[:] = 0.0
        return
    # Rows of weight 0 go to a bin of their own, which costs less than a branch on each row.
    scale = (_BINS - 1) / top
    if not scale < np.inf:
        scale = 0.0
    bins = np.empty(n, np.int16)
    mass, rows = np.zeros(_BINS + 1), np.zeros(_BINS + 1, np.int64)
    for i in range(n):
        k = int(values[i] * scale) if values[i] < top else _BINS - 1
        k = k if weights[i] > 0.0 else _BINS
        bins[i] = k
        mass[k] += weights[i]
        rows[k] += 1
    count = levels.size
    first_bin, last_bin = np.empty(count, np.int64), np.empty(count, np.int64)
    before = np.zeros(count)
    wanted = np.zeros(_BINS + 1, np.bool_)
    for j in range(count):
        place = max(total - 1.0, 0.0) * levels[j]
        low_rank, high_rank = math.floor(place), min(math.ceil(place), total - 1.0)
        k = 0
        while k < _BINS - 1 and before[j] + mass[k] <= low_rank:
            before[j] += mass[k]
            k += 1
        while k > 0 and rows[k] == 0:
            k -= 1
            before[j] -= mass[k]
        end = k
        beyond = before[j] + mass[k]
        while end < _BINS - 1 and beyond <= high_rank:
            end += 1
            beyond += mass[end]
        first_bin[j], last_bin[j] = k, end
        wanted[k : end + 1] = True
    size = 0
    for k in range(_BINS):
        if wanted[k]:
            size += int(rows[k])
    kept = np.empty(size, np.int64)
    at = 0
    for i in range(n):
        if wanted[bins[i]]:
            kept[at] = i
            at += 1
    fewer, lighter = np.empty(size), np.empty(size)
    for j in range(count):
        place = max(total - 1.0, 0.0) * levels[j]
        low_rank, high_rank = math.floor(place), min(math.ceil(place), total - 1.0)
        at = 0
        for r in range(size):
            i = int(kept[r])
            if first_bin[j] <= bins[i] <= last_bin[j]:
                fewer[at], lighter[at] = values[i], weights[i]
                at += 1
        low = _pick(fewer[:at], lighter[:at], low_rank - before[j])
        high = low if high_rank <= low_rank else _pick(fewer[:at], lighter[:at], high_rank - before[j])
        out[j + 1] = low + (place - low_rank) * (high - low)


@compiled
def _window(x: _Floats, weights: _Floats, at: float, target: float) -> tuple[int, int, float]:
    """Return the rows nearest to a place that together weigh the target, and the distance of the last."""
    right = int(np.searchsorted(x, at))
    left = right - 1
    reached = 0.0
    width = 0.0
    while reached < target and (left >= 0 or right < x.size):
        if right >= x.size or (left >= 0 and at - x[left] <= x[right] - at):
            if weights[left] > 0.0:
                reached += weights[left]
                width = at - x[left]
            left -= 1
        else:
            if weights[right] > 0.0:
                reached += weights[right]
                width = x[right] - at
            right += 1
    while left >= 0 and at - x[left] <= width:
        left -= 1
    while right < x.size and x[right] - at <= width:
        right += 1
    return left + 1, right, width


@compiled
def _inverse(matrix: _Floats, size: int, out: _Floats) -> int:
    """Fill the inverse of the largest leading block, up to a size, that has one; return its size."""
    lower = np.zeros((size, size))
    good = 0
    for a in range(size):
        for b in range(a + 1):
            s = matrix[a, b]
            for k in range(b):
                s -= lower[a, k] * lower[b, k]
            if a == b:
                if not s > 1e-12 * matrix[a, a]:
                    s = 0.0
                lower[a, a] = math.sqrt(s)
            else:
                lower[a, b] = s / lower[b, b]
        if lower[a, a] == 0.0:
            break
        good += 1
    out[:, :] = 0.0
    column = np.zeros(size)
    for c in range(good):
        for a in range(good):
            s = 1.0 if a == c else 0.0
            for k in range(a):
                s -= lower[a, k] * column[k]
            column[a] = s / lower[a, a]
        for a in range(good - 1, -1, -1):
            s = column[a]
            for k in range(a + 1, good):
                s -= lower[k, a] * column[k]
            column[a] = s / lower[a, a]
            out[a, c] = column[a]
    return good


@compiled
def local_fit(
    x: _Floats,
    y: _Floats,
    weights: _Floats,
    codes: _Ints,
    at: _Floats,
    span: float,
    degree: int,
    value: _Floats,
    slope: _Floats,
    variance: _Floats,
) -> None:
    """Fill value, slope and variance of a local polynomial with tricube weights at places.

    The neighbourhood of a place holds the nearest rows that weigh ``floor(span * sum(weights))``; the tricube falls to
    0 at the last of them. Where the neighbourhood has too few distinct places, the degree falls.

    Parameters
    ----------
    x, y, weights : float arrays, shape (n,)
        Rows in order of x.
    codes : int array, shape (n,)
        Patients from 0, whose rows are added before they are squared; an empty array when no variance is asked for.
    at : float array, shape (k,)
    span : float
    degree : {0, 1, 2}
    value, slope, variance : float arrays, shape (k,)
        Overwritten.

    References
    ----------
    Cleveland and Grosse, Stat Comput 1991;1:47.
    """
    total = 0.0
    for w in weights:
        total += w
    target = max(math.floor(total * min(span, 1.0) + 1e-5), 1.0)
    size = degree + 1
    moments, inverse, right = np.empty((3, 3)), np.zeros((3, 3)), np.empty(3)
    coefficients = np.empty(3)
    powers = np.empty(5)
    by_patient = np.zeros(codes.max() + 1 if codes.size else 0)
    for p in range(at.size):
        first, last, width = _window(x, weights, at[p], target)
        width *= math.sqrt(max(span, 1.0))
        powers[:] = 0.0
        right[:] = 0.0
        scale = width if width > 0.0 else 1.0
        for i in range(first, last):
            t = (x[i] - at[p]) / scale
            u = abs(t)
            if u >= 1.0 and width > 0.0:
                continue
            kernel = 1.0 - u * u * u
            kernel = kernel * kernel * kernel
            w = weights[i] * kernel
            t2 = t * t
            powers[0] += w
            powers[1] += w * t
            powers[2] += w * t2
            powers[3] += w * t2 * t
            powers[4] += w * t2 * t2
            right[0] += w * y[i]
            right[1] += w * y[i] * t
            right[2] += w * y[i] * t2
        for a in range(3):
            for b in range(3):
                moments[a, b] = powers[a + b]
        good = _inverse(moments, size, inverse[:size, :size])
        for a in range(size):
            s = 0.0
            for b in range(good):
                s += inverse[a, b] * right[b]
            coefficients[a] = s
        value[p] = coefficients[0] if good > 0 else np.nan
        slope[p] = coefficients[1] / scale if good > 1 else 0.0
        variance[p] = np.nan
        if codes.size == 0 or good == 0:
            continue
        by_patient[:] = 0.0
        for i in range(first, last):
            t = (x[i] - at[p]) / scale
            u = abs(t)
            if u >= 1.0 and width > 0.0:
                continue
            kernel = 1.0 - u * u * u
            kernel = kernel * kernel * kernel
            fitted = coefficients[0]
            pull = inverse[0, 0]
            if good > 1:
                fitted += coefficients[1] * t
                pull += inverse[0, 1] * t
            if good > 2:
                fitted += coefficients[2] * t * t
                pull += inverse[0, 2] * t * t
            by_patient[codes[i]] += weights[i] * kernel * pull * (y[i] - fitted)
        s = 0.0
        for v in by_patient:
            s += v * v
        variance[p] = s
