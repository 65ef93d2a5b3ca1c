"""Matching: each patient compared with the patients of the other arm who were as likely to be treated."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, cross_products, dot, row_dot, vector
from aimed.metrics.regression import logit
from aimed.metrics.result import notes
from aimed.treatment.arms import as_arms
from aimed.treatment.average import AverageEffect, checked_target
from aimed.treatment.nuisances import known_chance
from aimed.treatment.overlap import trimming
from aimed.treatment.regressions import (
    Regression,
    Standardised,
    covariates,
    fit_regression,
    left_out,
    propensity_regression,
    refuse_separated,
    standardised,
)

__all__ = ["matching"]

_TIE = 1e-10
_LOCAL = 10


class _Matches(NamedTuple):
    """Matches of some rows among others, as sparse rows of weights that sum to one.

    `start` and `stop` bound each row's matches in `order` (row numbers); all matches of a row count alike.
    """

    order: IntArray
    start: IntArray
    stop: IntArray
    distance: FloatArray

    @property
    def size(self) -> FloatArray:
        return (self.stop - self.start).astype(np.float64)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean of the matches of each row."""
        picked = values[self.order]
        middle = float(picked.mean())
        sums = np.concatenate(([0.0], np.cumsum(picked - middle)))
        return middle + (sums[self.stop] - sums[self.start]) / self.size

    def used(self, weight: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
        """Return how much each of n rows was used as a match, and the same with squared shares."""
        out = []
        for share in (weight / self.size, weight / self.size**2):
            steps = np.bincount(self.start, share, self.order.size + 1)
            steps -= np.bincount(self.stop, share, self.order.size + 1)
            # A row may stand at several places where matches are listed row by row.
            total = np.bincount(self.order, np.maximum(np.cumsum(steps)[:-1], 0.0), n)
            out.append(np.asarray(total, dtype=np.float64))
        return out[0], out[1]


def _nearest(query: FloatArray, pool: FloatArray, rows: IntArray, k: int) -> _Matches:
    """Return the k nearest of a pool by one number, with all that are as near as the k-th, in O(n log n)."""
    by = np.argsort(pool, kind="stable")
    line = pool[by]
    place = np.searchsorted(line, query)
    radius = np.full(query.size, np.inf)
    # The k nearest stand side by side: one of the k + 1 windows around the place holds them.
    for back in range(k + 1):
        low = place - back
        inside = (low >= 0) & (low + k <= line.size)
        first, last = line[np.clip(low, 0, line.size - 1)], line[np.clip(low + k - 1, 0, line.size - 1)]
        reach = np.where(inside, np.maximum(np.abs(query - first), np.abs(last - query)), np.inf)
        radius = np.minimum(radius, reach)
    room = radius + _TIE * (1 + np.abs(query))
    start = np.searchsorted(line, query - room, side="left")
    stop = np.searchsorted(line, query + room, side="right")
    return _Matches(rows[by], start.astype(np.int64), stop.astype(np.int64), radius)


def _nearest_of_many(
    query: FloatArray, pool: FloatArray, rows: IntArray, k: int, near: tuple[FloatArray, FloatArray, float] | None
) -> _Matches:
    """Return the k nearest of a pool by Euclidean distance, within a caliper on a second number where given."""
    tree = cKDTree(pool)
    found = np.full((query.shape[0], k), -1, dtype=np.int64)
    distance = np.full(query.shape[0], np.inf)
    left = np.arange(query.shape[0])
    ask = k if near is None else min(4 * k, pool.shape[0])
    while left.size:
        far, index = tree.query(query[left], k=np.arange(1, ask + 1))
        if near is None:
            allowed = np.ones(index.shape, dtype=bool)
        else:
            own, other, width = near
            allowed = np.abs(own[left][:, None] - other[index]) <= width
        rank = np.cumsum(allowed, axis=1)
        full = rank[:, -1] >= k
        for turn in range(k):
            column = np.argmax(rank >= turn + 1, axis=1)
            found[left[full], turn] = index[full, column[full]]
        distance[left[full]] = far[full, column[full]]
        left = left[~full]
        if ask == pool.shape[0]:
            break
        ask = min(4 * ask, pool.shape[0])
    ends = np.arange(1, query.shape[0] + 1, dtype=np.int64) * k
    return _Matches(rows[np.maximum(found, 0).ravel()], ends - k, ends, distance)


def matching(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    W: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    nuisances: Any = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    target: str = "ATE",
    neighbours: int = 1,
    metric: str = "propensity",
    caliper: float | None = None,
    bias_correction: bool = True,
    trim: str | float | None = None,
) -> AverageEffect:
    """Return the effect by matching with replacement on the log odds of the propensity.

    Parameters
    ----------
    Y : float array, shape (n,)
    T : array of 0 and 1, shape (n,)
    X : float array, shape (n, p), optional
        Covariates of the propensity and of the bias correction; not needed where the propensity is given.
    W : float array, shape (n, q), optional
        Further covariates.
    propensity : float array, shape (n,), optional
        Chance of treatment; else a logistic regression on X and W.
    nuisances : Nuisances, optional
        Its propensities are matched on.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    target : {"ATE", "ATT"}
    neighbours : int
        Matches of each row; rows as near as the last of them are matched too.
    metric : {"propensity", "mahalanobis"}
        Distance: of the log odds of the propensity, or of the covariates, scaled by their covariance.
    caliper : float, optional
        Largest distance of the log odds, in their standard deviations (0.2 is common); rows without a match are left
        out, and the note says so.
    bias_correction : bool
        Correct what matches differ in by a linear regression in each arm.
    trim : "crump" or float, optional
        See `aimed.treatment.overlap.trimming`.

    Raises
    ------
    DataError
        If there is neither `X` nor a propensity, or an option is not known.
    NotEstimableError
        If an arm has too few rows, no row has a match, or columns tell the arms apart without error.

    References
    ----------
    Abadie and Imbens, Econometrica 2006;74:235, J Bus Econ Stat 2011;29:1 (bias correction), Econometrica 2016;84:781
    (estimated propensity). Otsu and Rai, JASA 2017;112:1720 (influence). Austin, Pharm Stat 2011;10:150 (caliper).

    Notes
    -----
    Formula: the mean over the population of each row's own outcome and the mean of its matches' outcomes. The variance
    is Abadie and Imbens' (2006), written for both means together, the variance of the outcome around a row coming from
    its nearest neighbour in its own arm; less, without bias correction, what estimating the propensity saves (2016;
    for all patients only). With patients: sums of influence values over patients.
    Assumes: all confounders are in X and W; the propensity is right, or, with bias correction, the outcome is linear.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1))
    >>> T = rng.random(500) < 1 / (1 + np.exp(-X[:, 0]))
    >>> Y = X[:, 0] + 2.0 * T + rng.normal(size=500)
    >>> found = matching(Y, T, X)
    >>> found.difference.lower < 2 < found.difference.upper
    True
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    checked_target(target, ("ATE", "ATT"))
    if neighbours < 1:
        raise DataError(f"neighbours = {neighbours}", "1 or more")
    if metric not in ("propensity", "mahalanobis"):
        raise DataError("the metric is not known", "'propensity' or 'mahalanobis'")
    if caliper is not None and not caliper > 0:
        raise DataError(f"caliper = {caliper}", "a width above 0, such as 0.2")
    table = covariates(X, W, y.size)
    refuse_separated(table, arm)
    if metric == "mahalanobis" and table is None:
        raise DataError("Mahalanobis distances without covariates", "X")
    e, fit, design, said = _propensity(arm, table, propensity, nuisances)
    cut = trimming(e, arm, trim)
    said.append(cut.sentence)
    if table is None and bias_correction:
        bias_correction = False
        said.append("no bias correction without covariates")
    score = logit(e)
    kept, other, lone = _match(arm, cut.kept, score, table, neighbours, metric, caliper, target)
    said.append(lone)
    rows = [np.flatnonzero(kept & ~arm), np.flatnonzero(kept & arm)]
    pools = [np.flatnonzero(cut.kept & ~arm), np.flatnonzero(cut.kept & arm)]
    if min(len(r) for r in rows) < 2:
        raise NotEstimableError("fewer than 2 rows of an arm have a match", "overlap of the arms", "widen the caliper")
    expected = np.zeros((2, y.size))
    rest = y.copy()
    corrected = [bias_correction, bias_correction and target == "ATE"]
    if bias_correction and table is not None:
        for a, what in ((0, "control"), (1, "treated")):
            if not corrected[a]:
                continue
            here = cut.kept & (arm == (a == 1))
            part = standardised(table, here)
            line = fit_regression(
                part,
                y,
                here,
                False,
                f"bias correction of the {what} arm",
                "match on fewer columns, or set bias_correction = False",
            )
            expected[a] = line.predict(part.columns)
            # Over the root of one less leverage: residuals of a fit are too small.
            rest[here] = (y[here] - expected[a][here]) / np.sqrt(1 - line.leverage[here])
            said.append(left_out(part, f"in the {what} arm"))
    share = kept.astype(np.float64) if target == "ATE" else (kept & arm).astype(np.float64)
    size = float(share.sum())
    imputed = np.zeros((2, y.size))
    for a in (0, 1):
        imputed[a, rows[a]] = y[rows[a]]
        matches = other[a]
        if matches is not None:
            seekers = rows[1 - a]
            imputed[a, seekers] = expected[a][seekers] + matches.mean(y - expected[a])
    means = [dot(share, imputed[a]) / size for a in (0, 1)]
    around = np.zeros(y.size)
    for a in (0, 1):
        around[pools[a]] = _around(rest[pools[a]], score[pools[a]])
    used, squares = np.zeros(y.size), np.zeros(y.size)
    for a in (0, 1):
        matches = other[a]
        if matches is not None:
            total, square = matches.used(share[rows[1 - a]], y.size)
            used += total
            squares += square
    covariance = _covariance(imputed, means, share, used, squares, around, arm)
    saved = ""
    if fit is not None and not bias_correction:
        if design is not None and patient is None and target == "ATE" and metric == "propensity":
            covariance -= _saved(y, e, score, pools, fit, design, size)
            saved = ", propensity estimated (2016)"
        else:
            said.append("the variance takes the estimated propensity as known: the interval is usually too wide")
    psi = [
        _influence(y, score, pools[a], share, means[a], expected[a] if corrected[a] else None, rest, used)
        for a in (0, 1)
    ]
    name = "propensity" if metric == "propensity" else "Mahalanobis"
    nearest = f"{neighbours} nearest" if neighbours > 1 else "nearest"
    return AverageEffect.from_means(
        means[1],
        psi[1],
        means[0],
        psi[0],
        arm=arm,
        y=y,
        method=f"matching, {nearest} {name}"
        + (", bias-corrected" if bias_correction else "")
        + (f", Abadie-Imbens variance{saved}" if patient is None else ""),
        patient=patient,
        level=level,
        note=notes(*said),
        target=target,
        kept=kept,
        covariance=covariance if patient is None else None,
        weights=share + used,
    )


def _propensity(
    arm: BoolArray, table: FloatArray | None, propensity: ArrayLike | float | None, nuisances: Any
) -> tuple[FloatArray, Regression | None, Standardised | None, list[str]]:
    if propensity is not None:
        return known_chance(propensity, arm.size), None, None, []
    if nuisances is not None:
        return vector("propensity of the nuisances", nuisances.propensity, arm.size), None, None, []
    if table is None:
        raise DataError("neither X nor a propensity", "covariates of the treatment, or its chance")
    fit, e, design = propensity_regression(table, arm)
    return e, fit, design, [left_out(design, "in these rows")]


def _match(
    arm: BoolArray,
    used: BoolArray,
    score: FloatArray,
    table: FloatArray | None,
    k: int,
    metric: str,
    caliper: float | None,
    target: str,
) -> tuple[BoolArray, list[_Matches | None], str]:
    """Return the rows that count, their matches in the control and in the treated arm, and a note."""
    width = np.inf if caliper is None else caliper * float(score[used].std())
    space = None
    if metric == "mahalanobis" and table is not None:
        x = standardised(table, used).columns[:, 1:]
        if x.shape[1] == 0:
            raise NotEstimableError("no column of X varies", "columns that vary")
        inner = x[used]
        root = np.linalg.cholesky(np.linalg.inv(cross_products(inner, inner) / inner.shape[0]))
        space = row_dot(x, np.asarray(root, dtype=np.float64))
    kept = used.copy()
    fewest = min(int((used & arm).sum()), int((used & ~arm).sum()))
    if fewest < max(k, 2):
        raise NotEstimableError(f"an arm has {fewest} rows for {k} matches", "more rows than matches", "ask for fewer")
    out: list[_Matches | None] = [None, None]
    lost = 0
    for a in (0, 1):
        if target == "ATT" and a == 1:
            continue
        seekers, pool = np.flatnonzero(used & (arm != (a == 1))), np.flatnonzero(used & (arm == (a == 1)))
        if space is None:
            found = _nearest(score[seekers], score[pool], pool, k)
            alone = found.distance > width
        else:
            near = None if caliper is None else (score[seekers], score[pool], width)
            found = _nearest_of_many(space[seekers], space[pool], pool, k, near)
            alone = ~np.isfinite(found.distance)
        lost += int(alone.sum())
        # Unmatched rows are no part of the population, but may still be matches of others.
        kept[seekers[alone]] = False
        out[a] = _Matches(found.order, found.start[~alone], found.stop[~alone], found.distance[~alone])
    note = ""
    if lost:
        note = (
            f"{lost} rows without a match within the caliper were left out: the effect is that of the patients who "
            "are left, not of all"
        )
    return kept, out, note


def _around(rest: FloatArray, score: FloatArray) -> FloatArray:
    """Return the variance of the outcome around each row of an arm, from its nearest neighbour there."""
    by = np.argsort(score, kind="stable")
    values = rest[by]
    gap = np.diff(score[by])
    left, right = np.append(np.inf, gap), np.append(gap, np.inf)
    # Two that are as near count both.
    to_left, to_right = left <= right, right <= left
    count = to_left.astype(np.float64) + to_right
    near = (np.where(to_left, np.roll(values, 1), 0.0) + np.where(to_right, np.roll(values, -1), 0.0)) / count
    out = np.empty(by.size)
    out[by] = (values - near) ** 2 * count / (count + 1)
    return out


def _covariance(
    imputed: FloatArray,
    means: list[float],
    share: FloatArray,
    used: FloatArray,
    squares: FloatArray,
    around: FloatArray,
    arm: BoolArray,
) -> FloatArray:
    """Return Abadie and Imbens' variance of both means, treated first."""
    off = [np.sqrt(share) * (imputed[a] - means[a]) for a in (1, 0)]
    V = np.array([[dot(a, b) for b in off] for a in off])
    extra = (used**2 + 2 * used * share - squares) * around
    V[0, 0] += float(extra[arm].sum())
    V[1, 1] += float(extra[~arm].sum())
    return V / float(share.sum()) ** 2


def _saved(
    y: FloatArray,
    e: FloatArray,
    score: FloatArray,
    pools: list[IntArray],
    fit: Regression,
    design: Standardised,
    size: float,
) -> FloatArray:
    """Return what estimating the propensity takes off the variance of both means, treated first."""
    some = np.sort(np.concatenate(pools))
    c = []
    for a in (1, 0):
        pool = pools[a]
        near = _nearest(score[some], score[pool], pool, min(_LOCAL, pool.size))
        x = design.columns
        outcome = near.mean(y)
        count = near.size
        factor = count / np.maximum(count - 1, 1)
        shared = np.column_stack([near.mean(column * y) - near.mean(column) * outcome for column in x.T])
        by = ((1 - e) if a else -e)[some] * factor
        c.append(row_dot(shared.T, by) / size)
    inverse = np.asarray(np.linalg.inv(fit.information), dtype=np.float64)
    pair = np.array(c)
    return np.asarray(pair @ inverse @ pair.T, dtype=np.float64)


def _influence(
    y: FloatArray,
    score: FloatArray,
    pool: IntArray,
    share: FloatArray,
    mean: float,
    expected: FloatArray | None,
    rest: FloatArray,
    used: FloatArray,
) -> FloatArray:
    """Return the influence of each row on the mean of one arm (Otsu and Rai's form)."""
    line, off = expected, rest
    if line is None:
        # Without a regression the expected outcome is that of the nearest of the arm.
        line, off = np.zeros(y.size), np.zeros(y.size)
        near = _nearest(score, score[pool], pool, min(_LOCAL, pool.size))
        line = near.mean(y)
        off[pool] = (y - line)[pool]
    psi = np.asarray(share * (line - mean))
    psi[pool] += ((share + used) * off)[pool]
    some = share + used > 0
    psi[some] -= psi.sum() / float(some.sum())
    return psi / float(share.sum())
