"""Net benefit of deciding by a risk threshold, for a yes/no outcome and at a survival horizon."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, binary, probabilities, survival, vector
from aimed.metrics.nonparametric import GroupedSurvival, survival_at
from aimed.metrics.ranking import Ranking

__all__ = [
    "benefit",
    "benefit_at",
    "decision_curve",
    "decision_curve_at",
    "net_benefit",
    "net_benefit_at",
    "threshold_groups",
    "treat_all",
]


def _thresholds(thresholds: ArrayLike) -> FloatArray:
    out = vector("thresholds", thresholds)
    if (out <= 0).any() or (out >= 1).any():
        raise DataError("a threshold lies outside (0, 1)", "risk thresholds between 0 and 1")
    return out


def benefit(ranking: Ranking, events: FloatArray, total: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Return net benefit at thresholds from sums at rising distinct risks.

    Examples
    --------
    >>> ranking = Ranking(np.array([0.1, 0.9]))
    >>> benefit(ranking, np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([0.5]))
    array([0.5])
    """
    true = ranking.at_least(events, thresholds)
    false = ranking.at_least(total, thresholds) - true
    out: FloatArray = (true - false * thresholds / (1 - thresholds)) / total.sum()
    return out


def treat_all(prevalence: float, thresholds: FloatArray) -> FloatArray:
    """Return the net benefit of treating everybody.

    Examples
    --------
    >>> treat_all(0.2, np.array([0.2, 0.5])).round(6) + 0.0
    array([ 0. , -0.6])
    """
    return prevalence - (1 - prevalence) * thresholds / (1 - thresholds)


def net_benefit(y: ArrayLike, risk: ArrayLike, threshold: float, weights: ArrayLike | None = None) -> float:
    """Return true positives less false positives times the odds of the threshold, a row.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Probabilities; one equal to the threshold counts as positive.
    threshold : float in (0, 1)
    weights : float array, shape (n,), optional

    Raises
    ------
    DataError
        If the threshold lies outside (0, 1).

    References
    ----------
    Vickers and Elkin, Med Decis Making 2006;26:565.

    Examples
    --------
    >>> net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.2], 0.5)
    0.0
    """
    return float(decision_curve(y, risk, [threshold], weights)["model"][0])


def decision_curve(
    y: ArrayLike, risk: ArrayLike, thresholds: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, FloatArray]:
    """Return the net benefit of the model, of treating all and of treating none, over thresholds.

    Parameters
    ----------
    y, risk, weights
        As for `net_benefit`.
    thresholds : float array, shape (g,), in (0, 1)

    Raises
    ------
    DataError
        If a threshold lies outside (0, 1).

    References
    ----------
    Vickers and Elkin, Med Decis Making 2006;26:565.

    Examples
    --------
    >>> curve = decision_curve([1, 0], [0.9, 0.1], [0.5])
    >>> curve["model"], curve["all"], curve["none"]
    (array([0.5]), array([0.]), array([0.]))
    """
    outcome, w = binary(y, weights)
    grid = _thresholds(thresholds)
    ranking = Ranking(probabilities("risk", risk, outcome.size))
    model = benefit(ranking, ranking.sums(w * outcome), ranking.sums(w), grid)
    everybody = treat_all(float(w @ outcome / w.sum()), grid)
    return {"threshold": grid, "model": model, "all": everybody, "none": np.zeros(grid.size)}


def threshold_groups(
    event: ArrayLike, time: ArrayLike, risk: FloatArray, horizon: float, thresholds: FloatArray
) -> GroupedSurvival:
    """Return rows grouped by the rising thresholds their risk reaches, ready for `GroupedSurvival.split`.

    Examples
    --------
    >>> rows = threshold_groups([1, 0], [1, 5], np.array([0.9, 0.1]), 2, np.array([0.5]))
    >>> [v.tolist() for v in rows.split(np.ones(2))]
    [[0.5], [0.0], [1.0]]
    """
    seen, when, _ = survival(event, time)
    group = np.searchsorted(thresholds, risk, side="right").astype(np.int64)
    return GroupedSurvival(seen, when, horizon, group, thresholds.size + 1)


def benefit_at(share: FloatArray, alive: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Return net benefit at a horizon from the share above each threshold and their survival.

    Examples
    --------
    >>> benefit_at(np.array([0.5]), np.array([0.2]), np.array([0.5]))
    array([0.3])
    """
    gain = share * ((1 - alive) - alive * thresholds / (1 - thresholds))
    return np.where(share > 0, gain, 0.0)


def net_benefit_at(
    event: ArrayLike,
    time: ArrayLike,
    risk: ArrayLike,
    horizon: float,
    threshold: float,
    weights: ArrayLike | None = None,
) -> float:
    """Return net benefit at a horizon; true positives by the Kaplan-Meier risk of the rows above the threshold.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    risk : float array, shape (n,)
        Probability of the event by the horizon.
    horizon : float
    threshold : float in (0, 1)
    weights : float array, shape (n,), optional

    Raises
    ------
    NotEstimableError
        If nobody above the threshold is followed to the horizon.

    References
    ----------
    Vickers et al., BMC Med Inform Decis Mak 2008;8:53.

    Examples
    --------
    >>> net_benefit_at([1, 0, 0, 1], [1, 5, 5, 5], [0.9, 0.6, 0.1, 0.2], 2, 0.5)
    0.0
    """
    value = float(decision_curve_at(event, time, risk, horizon, [threshold], weights)["model"][0])
    if not np.isfinite(value):
        raise NotEstimableError(
            "nobody above the threshold is followed to the horizon", "a lower threshold or an earlier horizon"
        )
    return value


def decision_curve_at(
    event: ArrayLike,
    time: ArrayLike,
    risk: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    weights: ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """Return net benefit at a horizon of the model, of treating all and of treating none, over thresholds.

    Parameters
    ----------
    event, time, risk, horizon, weights
        As for `net_benefit_at`.
    thresholds : float array, shape (g,), rising, in (0, 1)

    Returns
    -------
    dict
        threshold, model, all, none; NaN where nobody above a threshold is followed to the horizon.

    Raises
    ------
    NotEstimableError
        If nobody at all is followed to the horizon.

    References
    ----------
    Vickers et al., BMC Med Inform Decis Mak 2008;8:53.

    Examples
    --------
    >>> decision_curve_at([1, 0], [1, 5], [0.9, 0.1], 2, [0.5])["model"]
    array([0.5])
    """
    seen, when, w = survival(event, time, weights)
    grid = _thresholds(thresholds)
    if (np.diff(grid) <= 0).any():
        raise DataError("thresholds do not rise", "rising thresholds")
    rows = threshold_groups(seen, when, probabilities("risk", risk, when.size), horizon, grid)
    share, alive, _ = rows.split(w)
    everybody = treat_all(1 - survival_at(seen, when, horizon, w), grid)
    return {
        "threshold": grid,
        "model": benefit_at(share, alive, grid),
        "all": everybody,
        "none": np.zeros(grid.size),
    }
