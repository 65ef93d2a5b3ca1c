"""Rank statistics without re-sorting: rows are sorted once, weights are summed over tied risks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray

__all__ = ["Ranking", "area", "average_precision", "suffix_sums"]


def suffix_sums(values: FloatArray) -> FloatArray:
    """Return sums from each place to the end, with a zero behind the last.

    Examples
    --------
    >>> suffix_sums(np.array([1.0, 2.0]))
    array([3., 2., 0.])
    """
    out = np.zeros(values.size + 1)
    out[:-1] = np.cumsum(values[::-1])[::-1]
    return out


class Ranking:
    """Rows sorted once by score; every weighted rank statistic is then one pass.

    Parameters
    ----------
    score : float array, shape (n,)
        Higher is worse. Equal values are ties, exactly; no tolerance is used.

    Attributes
    ----------
    distinct : float array, shape (d,)
        Distinct scores, rising.

    Examples
    --------
    >>> ranking = Ranking(np.array([0.8, 0.8, 0.4]))
    >>> ranking.sums(np.array([1.0, 1.0, 1.0]))
    array([1., 2.])
    """

    def __init__(self, score: FloatArray) -> None:
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        # Half-width indices: one ranking a time of a curve is held in memory.
        kind = np.int32 if score.size < 2**31 else np.int64
        self.order: NDArray[np.signedinteger] = order.astype(kind)
        self.starts: NDArray[np.signedinteger] = starts.astype(kind)
        self.distinct: FloatArray = ordered[starts]

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sum of row values over each distinct score, shape (d,)."""
        out: FloatArray = np.add.reduceat(values[self.order], self.starts)
        return out

    def at_least(self, sums: FloatArray, thresholds: FloatArray) -> FloatArray:
        """Return the sum over scores >= each threshold."""
        out: FloatArray = suffix_sums(sums)[np.searchsorted(self.distinct, thresholds, side="left")]
        return out


def area(cases: FloatArray, controls: FloatArray) -> float:
    """Return the area under the ROC curve from weights at rising distinct scores; ties count one half.

    Raises
    ------
    NotEstimableError
        If either side has no weight.

    Examples
    --------
    >>> area(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    0.75
    """
    n_cases, n_controls = float(cases.sum()), float(controls.sum())
    if n_cases <= 0 or n_controls <= 0:
        raise NotEstimableError("only one outcome class is present", "rows with and without the event")
    return float(cases @ (np.cumsum(controls) - 0.5 * controls) / (n_cases * n_controls))


def average_precision(cases: FloatArray, controls: FloatArray) -> float:
    """Return the average precision from weights at rising distinct scores.

    Raises
    ------
    NotEstimableError
        If there are no cases.

    Examples
    --------
    >>> average_precision(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    1.0
    """
    total = float(cases.sum())
    if total <= 0:
        raise NotEstimableError("no row has the event", "rows with the event")
    down = cases[::-1]
    true = np.cumsum(down)
    flagged = true + np.cumsum(controls[::-1])
    return float(np.sum(down * true / np.where(flagged > 0, flagged, 1.0)) / total)
