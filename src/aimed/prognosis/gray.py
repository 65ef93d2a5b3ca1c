"""Gray's test: whether groups differ in the cumulative incidence of one kind of event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from aimed.core import DataError, NotEstimableError
from aimed.metrics.arrays import labels, level_codes, vector
from aimed.prognosis.competing import as_competing

__all__ = ["GrayTest", "gray_test"]


@dataclass(frozen=True, slots=True, eq=False)
class GrayTest:
    """Gray's test: do groups differ in the cumulative incidence of one cause?

    Parameters
    ----------
    statistic : float
        Chi-squared.
    df : int
    p : float
    score : float array, shape (g,)
        Weighted observed less expected events of each group; they add up to 0.
    covariance : float array, shape (g, g)
    groups : tuple
    cause : int
    n : int
    method : str
    """

    statistic: float
    df: int
    p: float
    score: NDArray[np.float64]
    covariance: NDArray[np.float64]
    groups: tuple[Any, ...]
    cause: int
    n: int
    method: str


def _gray_sums(
    codes: NDArray[np.int64],
    time: NDArray[np.float64],
    group: NDArray[np.int64],
    size: int,
    cause: int,
    rho: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the score of each group and its covariance in one stratum.

    With S_k the event-free curve of group k, F_k its incidence and Y_k its rows at risk, all just before t, the rows
    that count as at risk are Y_k (1 - F_k) / S_k. Under the hypothesis they are (1 - F) times Y_k / S_k. Row k of
    `weight` is what an event of the cause in a group adds to score k now; `later` what the estimate of F after it does.
    """
    score, covariance = np.zeros(size), np.zeros((size, size))
    times = np.unique(time[codes > 0])
    if not times.size:
        return score, covariance
    place = np.searchsorted(times, time, side="right") - 1
    seen = place >= 0
    cell = place[seen] * size + group[seen]
    kinds = codes[seen]
    shape = (times.size, size)

    def count(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(cell[which], minlength=times.size * size).reshape(shape).astype(np.float64)

    own, other = count(kinds == cause), count((kinds > 0) & (kinds != cause))
    at_risk = np.cumsum(count(np.ones(cell.size, dtype=bool))[::-1], axis=0)[::-1]
    here = at_risk > 0
    safe = np.where(here, at_risk, 1.0)
    after = np.cumprod(np.where(here, (at_risk - own - other) / safe, 1.0), axis=0)
    before = np.vstack((np.ones(size), after[:-1]))
    # A group that has gone by events alone is at risk no more, so its curve of 0 is not divided by.
    share = np.divide(at_risk, before, out=np.zeros(shape), where=here)
    incidence = np.cumsum(np.where(here, before * own / safe, 0.0), axis=0)
    incidence_before = np.vstack((np.zeros(size), incidence[:-1]))
    total, counting = share.sum(axis=1), (share * (1.0 - incidence_before)).sum(axis=1)
    events = own.sum(axis=1)
    rise = np.divide(events, total, out=np.zeros(times.size), where=total > 0)
    pooled = np.cumsum(rise)
    pooled_before = np.concatenate(([0.0], pooled[:-1]))
    factor = np.maximum(1.0 - pooled_before, 0.0) ** rho
    expected = np.divide(events, counting, out=np.zeros(times.size), where=counting > 0)
    score[:] = (factor[:, None] * (own - expected[:, None] * share * (1.0 - incidence_before))).sum(axis=0)

    whole = np.where(total > 0, total, 1.0)
    # Weight of group k in score i, for all i at once: shape (u, g) for each k.
    left = 1.0 - pooled_before
    growth = np.divide(rise, left, out=np.zeros(times.size), where=left > 0)
    tied_own = _tied(events[:, None], total[:, None] * before)
    tied_other = _tied(other, at_risk)
    for k in range(size):
        weight = -factor[:, None] * share * (share[:, k] / whole)[:, None]
        weight[:, k] += factor * share[:, k]
        grown = np.cumsum(weight * growth[:, None], axis=0)
        later = grown[-1] - grown
        ratio = np.divide(1.0 - pooled, after[:, k], out=np.zeros(times.size), where=after[:, k] > 0)
        lost = np.where(after[:, k] > 0, 1.0 - ratio, 1.0)
        spread = np.where(here[:, k], tied_own[:, k] * before[:, k] * rise / safe[:, k], 0.0)
        step = weight + lost[:, None] * later
        covariance += (step * spread[:, None]).T @ step
        spread = np.where(here[:, k], tied_other[:, k] * before[:, k] ** 2 * other[:, k] / safe[:, k] ** 2, 0.0)
        step = ratio[:, None] * later
        covariance += (step * spread[:, None]).T @ step
    return score, covariance


def _tied(events: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the variance that is left when several of a finite number have the event together."""
    tied = events > 1
    less = np.divide(events - 1.0, of - 1.0, out=np.zeros(np.broadcast(events, of).shape), where=tied & (of > 1.0))
    return np.asarray(1.0 - less)


def gray_test(
    event: ArrayLike,
    time: ArrayLike,
    group: ArrayLike,
    cause: int = 1,
    *,
    rho: float = 0.0,
    strata: ArrayLike | None = None,
) -> GrayTest:
    """Test whether groups differ in the cumulative incidence of one cause.

    Parameters
    ----------
    event : int array, shape (n,)
        0 for censored, 1 to K for the kind of event.
    time : float array, shape (n,)
    group : array, shape (n,)
        Two levels or more.
    cause : int
    rho : float
        Weight (1 - F)^rho of an event at incidence F; 0 weighs all alike.
    strata : array, shape (n,), optional
        Scores and covariances are added over strata.

    Returns
    -------
    GrayTest

    Raises
    ------
    NotEstimableError
        If there are fewer than two groups, the cause never happens, or groups are never at risk together.
    DataError
        If codes or times are not valid.

    Notes
    -----
    As R's ``cmprsk::cuminc``. The log-rank test with other events censored compares hazards of the cause; this one
    compares incidences. Without other events its score is the log-rank's, its variance another estimate.

    References
    ----------
    Gray, Ann Stat 1988;16:1141.

    Examples
    --------
    >>> test = gray_test([1, 1, 2, 0, 1, 2, 1, 0], [1, 2, 3, 4, 5, 6, 7, 8], list("aababbab"))
    >>> test.df, round(test.statistic, 4), round(test.p, 4)
    (1, 2.6789, 0.1017)
    """
    when = vector("time", time)
    n = when.size
    given = vector("event", event, n)
    codes = given.astype(np.int64)
    if (codes != given).any():
        raise DataError(f"event has {int((codes != given).sum())} of {n} values that are not whole numbers", "0 to K")
    y = np.empty(n, dtype=[("event", np.int64), ("time", np.float64)])
    y["event"], y["time"] = codes, when
    codes, when, _ = as_competing(y, cause, int(max(codes.max(), cause)))
    names, code = level_codes(labels("group", group, n))
    if len(names) < 2:
        raise NotEstimableError(f"{len(names)} group", "at least 2 groups")
    if not (np.isfinite(rho) and rho >= 0):
        raise DataError("rho is negative or not finite", "a number >= 0")
    stratum = np.zeros(n, dtype=np.int64) if strata is None else level_codes(labels("strata", strata, n))[1]
    order = np.argsort(stratum, kind="stable")
    score, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for rows in np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1):
        part, spread = _gray_sums(codes[rows], when[rows], code[rows], len(names), cause, float(rho))
        score += part
        covariance += spread
    df = len(names) - 1
    if np.linalg.matrix_rank(covariance, hermitian=True) < df:
        raise NotEstimableError(
            "groups are never at risk together while events of the cause happen", "groups that overlap in follow-up"
        )
    statistic = float(score[:df] @ np.linalg.solve(covariance[:df, :df], score[:df]))
    method = f"Gray's test, rho={rho:g}{'' if strata is None else ', stratified'}"
    levels = tuple(np.asarray(names).tolist())
    return GrayTest(statistic, df, float(stats.chi2.sf(statistic, df)), score, covariance, levels, cause, n, method)
