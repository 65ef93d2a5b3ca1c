"""Discrimination, accuracy and threshold tables of a risk for a yes/no outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray, binary, probabilities, vector
from aimed.metrics.ranking import Ranking, area, average_precision

__all__ = [
    "Confusion",
    "auprc",
    "auroc",
    "brier",
    "confusion",
    "log_loss",
    "rates",
    "scaled_brier",
    "threshold_table",
]

_SMALLEST = 1e-15


def auroc(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the area under the receiver operating characteristic curve; ties count one half.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Higher means the event is more likely; any score will do.
    weights : float array, shape (n,), optional
        Row weights; whole numbers stand for repeated rows.

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Hanley and McNeil, Radiology 1982;143:29.

    Examples
    --------
    >>> auroc([1, 0, 0, 1], [0.5, 0.5, 0.0, 1.0])
    0.875
    >>> auroc([1, 1], [0.5, 0.4])
    Traceback (most recent call last):
        ...
    aimed.core.errors.NotEstimableError: only one outcome class is present; expected rows with and without the event
    """
    outcome, w = binary(y, weights)
    ranking = Ranking(vector("risk", risk, outcome.size))
    return area(ranking.sums(w * outcome), ranking.sums(w * (1 - outcome)))


def auprc(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the average precision, the step-wise area under the precision-recall curve.

    Parameters
    ----------
    y, risk, weights
        As for `auroc`.

    Raises
    ------
    NotEstimableError
        If no row has the event.

    Examples
    --------
    >>> round(auprc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), 6)
    0.833333
    """
    outcome, w = binary(y, weights)
    ranking = Ranking(vector("risk", risk, outcome.size))
    return average_precision(ranking.sums(w * outcome), ranking.sums(w * (1 - outcome)))


def brier(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the Brier score, the mean squared difference of risk and outcome.

    Parameters
    ----------
    y, weights
        As for `auroc`.
    risk : float array, shape (n,)
        Probabilities.

    References
    ----------
    Brier, Monthly Weather Review 1950;78:1.

    Examples
    --------
    >>> round(brier([1, 0], [0.9, 0.2]), 6)
    0.025
    """
    outcome, w = binary(y, weights)
    return float(w @ (probabilities("risk", risk, outcome.size) - outcome) ** 2 / w.sum())


def scaled_brier(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return 1 - Brier / Brier of the prevalence (index of prediction accuracy); 0 is no better than the prevalence.

    Parameters
    ----------
    y, risk, weights
        As for `brier`.

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Kattan and Gerds, Diagn Progn Res 2018;2:7.

    Examples
    --------
    >>> round(scaled_brier([1, 0], [0.9, 0.2]), 6)
    0.9
    """
    outcome, w = binary(y, weights)
    prevalence = float(w @ outcome / w.sum())
    null = prevalence * (1 - prevalence)
    if null <= 0:
        raise NotEstimableError("only one outcome class is present", "rows with and without the event")
    return 1 - brier(outcome, risk, w) / null


def log_loss(y: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the mean negative log likelihood; risks are kept 1e-15 away from 0 and 1.

    Parameters
    ----------
    y, risk, weights
        As for `brier`.

    Examples
    --------
    >>> round(log_loss([1, 0], [0.5, 0.5]), 6)
    0.693147
    """
    outcome, w = binary(y, weights)
    p = np.clip(probabilities("risk", risk, outcome.size), _SMALLEST, 1 - _SMALLEST)
    return float(-(w @ np.log(np.where(outcome == 1, p, 1 - p))) / w.sum())


def rates(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> dict[str, FloatArray]:
    """Return the rates of a two-by-two table, NaN where a denominator is zero.

    Parameters
    ----------
    tp, fp, fn, tn : float arrays of one shape
        Counts, or expected counts under censoring.

    Returns
    -------
    dict
        sensitivity, specificity, ppv, npv, lr_positive, lr_negative, f1.

    Examples
    --------
    >>> one = np.array([2.0])
    >>> rates(one, one, one, one)["ppv"]
    array([0.5])
    """

    def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
        out = np.full(np.shape(top), np.nan)
        np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
        return out

    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "lr_positive": ratio(sensitivity, 1 - specificity),
        "lr_negative": ratio(1 - sensitivity, specificity),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


@dataclass(frozen=True, slots=True)
class Confusion:
    """The two-by-two table at one threshold.

    Parameters
    ----------
    tp, fp, fn, tn : float
        True positives, false positives, false negatives, true negatives; weighted counts.

    Examples
    --------
    >>> Confusion(2, 1, 1, 1).accuracy
    0.6
    """

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def n(self) -> float:
        """Rows in the table."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float:
        """Share of rows on the right side of the threshold."""
        return (self.tp + self.tn) / self.n

    @property
    def prevalence(self) -> float:
        """Share of rows with the event."""
        return (self.tp + self.fn) / self.n

    def rates(self) -> dict[str, float | None]:
        """Return sensitivity, specificity, predictive values, likelihood ratios and F1; None where undefined."""
        found = rates(*(np.array([v], dtype=np.float64) for v in (self.tp, self.fp, self.fn, self.tn)))
        return {name: float(v[0]) if np.isfinite(v[0]) else None for name, v in found.items()}


def confusion(y: ArrayLike, risk: ArrayLike, threshold: float, weights: ArrayLike | None = None) -> Confusion:
    """Return the two-by-two table; a risk equal to the threshold counts as positive.

    Parameters
    ----------
    y, risk, weights
        As for `auroc`.
    threshold : float

    Examples
    --------
    >>> confusion([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], 0.5)
    Confusion(tp=2.0, fp=1.0, fn=1.0, tn=1.0)
    """
    outcome, w = binary(y, weights)
    flagged = vector("risk", risk, outcome.size) >= threshold
    tp, positive, events = float((w * outcome)[flagged].sum()), float(w[flagged].sum()), float(w @ outcome)
    fp, fn = positive - tp, events - tp
    return Confusion(tp, fp, fn, float(w.sum()) - tp - fp - fn)


def threshold_table(
    y: ArrayLike, risk: ArrayLike, thresholds: Iterable[float], weights: ArrayLike | None = None
) -> list[dict[str, Any]]:
    """Return one row a threshold: counts, rates, net benefit and counts per 1,000 rows.

    Parameters
    ----------
    y, risk, weights
        As for `auroc`, with probabilities as risk.
    thresholds : floats in (0, 1)

    Examples
    --------
    >>> row = threshold_table([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], [0.5])[0]
    >>> round(row["sensitivity"], 4), row["specificity"], row["per_1000"]["tp"]
    (0.6667, 0.5, 400.0)
    """
    rows: list[dict[str, Any]] = []
    for threshold in thresholds:
        table = confusion(y, probabilities("risk", risk), threshold, weights)
        counts = {"tp": table.tp, "fp": table.fp, "fn": table.fn, "tn": table.tn}
        odds = threshold / (1 - threshold)
        rows.append(
            {
                "threshold": float(threshold),
                **counts,
                **table.rates(),
                "net_benefit": (table.tp - table.fp * odds) / table.n,
                "per_1000": {name: 1000 * count / table.n for name, count in counts.items()},
            }
        )
    return rows
