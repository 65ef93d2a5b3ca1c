"""Loops behind the measures of treatment benefit: matching two arms, ranking pairs, curves on pairs, targeting sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = [
    "local_influence",
    "local_quadratic",
    "nearest_rows",
    "nearest_values",
    "pair_concordance",
    "rank_replicates",
    "sample_positions",
    "targeting_sums",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def sample_positions(words: NDArray[np.uint32], n: int, pool: bool, out: Ints) -> bool:
    """Draw positions from 0 to n - 1 without replacement, as Python's ``random.sample`` does.

    Parameters
    ----------
    words : uint32 array
        Words of the Mersenne Twister in their order.
    n : int
        Positions to draw from.
    pool : bool
        Which of Python's two ways is taken: a shrinking pool, or a set of those taken.
    out : int array, shape (k,)
        Filled.

    Returns
    -------
    bool
        False when the words did not suffice.
    """
    k = out.size
    place = np.arange(n) if pool else np.zeros(n, np.int64)
    used = 0
    left = n
    done = 0
    while done < k:
        shift = 32
        rest = left
        while rest > 0:
            rest >>= 1
            shift -= 1
        if used == words.size:
            return False
        j = np.int64(words[used]) >> shift
        used += 1
        if j >= left:
            continue
        if pool:
            out[done] = place[j]
            left -= 1
            place[j] = place[left]
            done += 1
        elif place[j] == 0:
            place[j] = 1
            out[done] = j
            done += 1
    return True


@compiled
def pair_concordance(total: Floats, observed: NDArray[np.int8], psi: Floats) -> tuple[float, float]:
    """Return how many pairs of pairs are ranked rightly, ties one half, and how many differ in observed benefit.

    One sweep: observed benefit has three values, so three counters of what lies below suffice.

    Parameters
    ----------
    total : float array, shape (m,)
        Predicted benefit of each pair, or its double; ascending.
    observed : int8 array, shape (m,)
        Observed benefit: -1, 0 or 1.
    psi : float array, shape (m,) or (0,)
        Filled with the influence of each pair on the share ranked rightly, unless empty.
    """
    m = total.size
    all_low, all_mid = 0, 0
    for i in range(m):
        all_low += observed[i] == -1
        all_mid += observed[i] == 0
    all_high = m - all_low - all_mid
    usable = all_low * all_mid + all_low * all_high + all_mid * all_high
    twice = 0
    low, mid = 0, 0
    first = 0
    while first < m:
        last = first
        a, b, c = 0, 0, 0
        while last < m and total[last] == total[first]:
            a += observed[last] == -1
            b += observed[last] == 0
            c += observed[last] == 1
            last += 1
        twice += 2 * (b * low + c * (low + mid)) + a * b + a * c + b * c
        low += a
        mid += b
        first = last
    if psi.size > 0 and usable > 0:
        share = 0.5 * twice / usable
        low, mid, high = 0, 0, 0
        first = 0
        while first < m:
            last = first
            a, b, c = 0, 0, 0
            while last < m and total[last] == total[first]:
                a += observed[last] == -1
                b += observed[last] == 0
                c += observed[last] == 1
                last += 1
            above = all_high - high - c
            of_low = (all_mid - mid - b + above + 0.5 * (b + c) - share * (m - all_low)) / usable
            of_mid = (low + above + 0.5 * (a + c) - share * (m - all_mid)) / usable
            of_high = (low + mid + 0.5 * (a + b) - share * (m - all_high)) / usable
            for i in range(first, last):
                psi[i] = of_low if observed[i] == -1 else (of_mid if observed[i] == 0 else of_high)
            low += a
            mid += b
            high += c
            first = last
    return 0.5 * twice, float(usable)


@compiled
def _free_above(up: Ints, j: int) -> int:
    while up[j] != j:
        up[j] = up[up[j]]
        j = up[j]
    return j


@compiled
def _free_below(down: Ints, j: int) -> int:
    # Place j stands for row j - 1, so that 0 says there is none.
    while down[j] != j:
        down[j] = down[down[j]]
        j = down[j]
    return j


@compiled
def nearest_values(small: Floats, large: Floats) -> Ints:
    """Return, for each value of `small`, the place in `large` it is matched to: nearest first served, no place twice.

    Both ascend and `large` is no shorter. The largest value chooses first; at equal distance it takes the higher one.
    """
    k = large.size
    up = np.arange(k + 1)
    down = np.arange(k + 1)
    partner = np.empty(small.size, np.int64)
    place = k
    for i in range(small.size - 1, -1, -1):
        while place > 0 and large[place - 1] >= small[i]:
            place -= 1
        above = _free_above(up, place)
        below = _free_below(down, place)
        if above == k or (below > 0 and small[i] - large[below - 1] < large[above] - small[i]):
            above = below - 1
        partner[i] = above
        up[above] = above + 1
        down[above + 1] = above
    return partner


@compiled
def nearest_rows(small: Floats, large: Floats, turn: Ints) -> Ints:
    """Return, for each row of `small`, the row of `large` it is matched to: nearest first served, no row twice.

    Parameters
    ----------
    small : float array, shape (k, p)
        Whitened, so that the plain distance is Mahalanobis'.
    large : float array, shape (m, p)
        m >= k; ascending in the first column, so that the search can stop where that column alone is too far.
    turn : int array, shape (k,)
        Order in which the rows of `small` choose.
    """
    m, p = large.shape
    up = np.arange(m + 1)
    down = np.arange(m + 1)
    partner = np.empty(small.shape[0], np.int64)
    axis = large[:, 0].copy()
    for i in turn:
        place = np.searchsorted(axis, small[i, 0])
        above = _free_above(up, place)
        below = _free_below(down, place)
        best = np.inf
        chosen = -1
        while above < m or below > 0:
            gap_above = axis[above] - small[i, 0] if above < m else np.inf
            gap_below = small[i, 0] - axis[below - 1] if below > 0 else np.inf
            gap = min(gap_above, gap_below)
            if gap * gap >= best:
                break
            if gap_above <= gap_below:
                j = above
                above = _free_above(up, above + 1)
            else:
                j = below - 1
                below = _free_below(down, below - 1)
            distance = gap * gap
            for d in range(1, p):
                distance += (large[j, d] - small[i, d]) ** 2
                if distance >= best:
                    break
            if distance < best:
                best = distance
                chosen = j
        partner[i] = chosen
        up[chosen] = chosen + 1
        down[chosen + 1] = chosen
    return partner


@compiled
def _scramble(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _take(codes: Ints, counts: NDArray[np.uint8], column: int, left: int, out: Ints, state: np.uint64) -> None:
    """Fill `out` with the drawn rows in their order; when they are too many, with a simple random sample of them."""
    need = out.size
    for i in range(codes.size):
        for _ in range(counts[codes[i], column]):
            chosen = need == left
            if not chosen:
                # One by one (Fan, Muller and Rezucha 1962): each subset of the size needed is equally likely.
                state += np.uint64(0x9E3779B97F4A7C15)
                chosen = bool((_scramble(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0) * left < need)
            left -= 1
            if chosen:
                out[out.size - need] = i
                need -= 1
                if need == 0:
                    return


@compiled
def rank_replicates(
    control: Floats,
    control_bad: NDArray[np.int8],
    control_codes: Ints,
    treated: Floats,
    treated_bad: NDArray[np.int8],
    treated_codes: Ints,
    counts: NDArray[np.uint8],
    seed: np.uint64,
    out: Floats,
) -> None:
    """Fill `out` with the C-for-benefit of each replicate, arms matched anew by rank of predicted benefit.

    The larger arm of a replicate is sampled down to the smaller with random numbers that depend on the counts of the
    replicate and the seed alone, so that neither threads nor blocks change a bit.

    Parameters
    ----------
    control, treated : float array
        Predicted benefit of the rows of each arm, ascending.
    control_bad, treated_bad : int8 array
        Outcome, 1 bad.
    control_codes, treated_codes : int array
        Row of `counts` of each.
    counts : uint8 array, shape (patients, b)
    seed : uint64
    out : float array, shape (b,)
        NaN where no two pairs differ.
    """
    b = counts.shape[1]
    states = np.full(b, _scramble(seed))
    for p in range(counts.shape[0]):
        mark = _scramble(np.uint64(p + 1) * np.uint64(0x9E3779B97F4A7C15))
        for j in range(b):
            states[j] += mark * np.uint64(counts[p, j])
    nothing = np.empty(0)
    for j in range(b):
        of_control, of_treated = 0, 0
        for code in control_codes:
            of_control += counts[code, j]
        for code in treated_codes:
            of_treated += counts[code, j]
        m = min(of_control, of_treated)
        rows_c = np.empty(m, np.int64)
        rows_t = np.empty(m, np.int64)
        out[j] = np.nan
        if m > 0:
            _take(control_codes, counts, j, of_control, rows_c, states[j])
            _take(treated_codes, counts, j, of_treated, rows_t, states[j])
        total = np.empty(m)
        observed = np.empty(m, np.int8)
        for i in range(m):
            total[i] = control[rows_c[i]] + treated[rows_t[i]]
            observed[i] = control_bad[rows_c[i]] - treated_bad[rows_t[i]]
        right, usable = pair_concordance(total, observed, nothing)
        if usable > 0:
            out[j] = right / usable


@compiled
def _tricube(u: float) -> float:
    rest = 1.0 - abs(u) ** 3
    return rest * rest * rest if rest > 0 else 0.0


@compiled
def local_quadratic(
    x: Floats, y: Floats, at: Floats, q: int, fit: Floats, solve: Floats, window: Ints, width: Floats
) -> None:
    """Fit a quadratic to the q nearest rows of each point, weighted by Tukey's tricube (loess).

    Where the rows nearby have too few distinct x, a line or a mean is fitted instead.

    Parameters
    ----------
    x, y : float array, shape (m,)
        x ascending.
    at : float array, shape (v,)
        Ascending.
    q : int
        Rows in a window.
    fit : float array, shape (v, 3)
        Filled: constant, slope and curvature in u = (x - at) / width; the constant is the value of the curve.
    solve : float array, shape (v, 3)
        Filled: row j enters the value with tricube(u) * (solve[0] + solve[1] u + solve[2] u²).
    window : int array, shape (v, 2)
        Filled: first row of the window and one past its last.
    width : float array, shape (v,)
        Filled: half width of the window.
    """
    m = x.size
    low = 0
    for v in range(at.size):
        while low + q < m and x[low + q] - at[v] < at[v] - x[low]:
            low += 1
        first, last = low, low + q
        h = max(at[v] - x[first], x[last - 1] - at[v])
        if h == 0.0:
            h = 1.0
            while first > 0 and x[first - 1] == at[v]:
                first -= 1
            while last < m and x[last] == at[v]:
                last += 1
        s0, s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0, 0.0
        t0, t1, t2 = 0.0, 0.0, 0.0
        for j in range(first, last):
            u = (x[j] - at[v]) / h
            w = _tricube(u)
            s0 += w
            s1 += w * u
            s2 += w * u * u
            s3 += w * u * u * u
            s4 += w * u * u * u * u
            t0 += w * y[j]
            t1 += w * u * y[j]
            t2 += w * u * u * y[j]
        spread = s0 * s2 - s1 * s1
        det = s0 * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s2 * s3) + s2 * (s1 * s3 - s2 * s2)
        solve[v, :] = 0.0
        fit[v, :] = 0.0
        if det > 1e-10 * s0 * s0 * s0:
            a, b, c = (s2 * s4 - s3 * s3) / det, (s2 * s3 - s1 * s4) / det, (s1 * s3 - s2 * s2) / det
            d, e, f = (s0 * s4 - s2 * s2) / det, (s1 * s2 - s0 * s3) / det, (s0 * s2 - s1 * s1) / det
            solve[v, 0], solve[v, 1], solve[v, 2] = a, b, c
            fit[v, 0] = a * t0 + b * t1 + c * t2
            fit[v, 1] = b * t0 + d * t1 + e * t2
            fit[v, 2] = c * t0 + e * t1 + f * t2
        elif spread > 1e-10 * s0 * s0:
            solve[v, 0], solve[v, 1] = s2 / spread, -s1 / spread
            fit[v, 0] = (s2 * t0 - s1 * t1) / spread
            fit[v, 1] = (s0 * t1 - s1 * t0) / spread
        else:
            solve[v, 0] = 1.0 / s0
            fit[v, 0] = t0 / s0
        window[v, 0], window[v, 1] = first, last
        width[v] = h


@compiled
def local_influence(
    x: Floats,
    y: Floats,
    at: float,
    fit: Floats,
    solve: Floats,
    first: int,
    last: int,
    width: float,
    scale: float,
    psi: Floats,
) -> None:
    """Add to `psi` each row's influence on the curve of `local_quadratic` at one point, times `scale`."""
    for j in range(first, last):
        u = (x[j] - at) / width
        weight = _tricube(u) * (solve[0] + solve[1] * u + solve[2] * u * u)
        psi[j] += scale * weight * (y[j] - (fit[0] + fit[1] * u + fit[2] * u * u))


@compiled
def targeting_sums(
    codes: Ints,
    scores: Floats,
    ends: NDArray[np.bool_],
    weights: Floats,
    counts: NDArray[np.float64] | NDArray[np.uint8],
    qini: bool,
    out: Floats,
) -> None:
    """Fill `out` with the rank-weighted average treatment effect of each replicate: AUTOC, or QINI.

    Parameters
    ----------
    codes : int array, shape (n,)
        Row of `counts` of each row; rows run from the highest priority to the lowest.
    scores : float array, shape (n,)
    ends : bool array, shape (n,)
        Last row of each group of equal priority.
    weights : float array, shape (n,)
    counts : float64 or uint8 array, shape (patients, b)
    qini : bool
    out : float array, shape (b,)
        NaN where fewer than two groups have weight: then nobody comes first.
    """
    n, b = codes.size, counts.shape[1]
    full = np.zeros(b)
    for i in range(n):
        for j in range(b):
            full[j] += weights[i] * counts[codes[i], j]
    reached = np.zeros(b)
    before = np.zeros(b)
    mass = np.zeros(b)
    total = np.zeros(b)
    groups = np.zeros(b, np.int64)
    out[:] = 0.0
    for i in range(n):
        for j in range(b):
            w = weights[i] * counts[codes[i], j]
            mass[j] += w
            total[j] += w * scores[i]
        if ends[i]:
            for j in range(b):
                if mass[j] > 0:
                    reached[j] += mass[j]
                    share = min(reached[j] / full[j], 1.0)
                    now = 0.5 * share * (1.0 - share) if qini else -share * np.log(share)
                    out[j] += total[j] / mass[j] * (now - before[j])
                    before[j] = now
                    groups[j] += 1
                    mass[j] = 0.0
                    total[j] = 0.0
    for j in range(b):
        if groups[j] < 2:
            out[j] = np.nan
