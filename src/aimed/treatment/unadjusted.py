"""Unadjusted effect: the arms compared as they are, which is right where only chance has made them differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import vector
from aimed.metrics.proportions import wilson
from aimed.treatment.arms import as_arms
from aimed.treatment.average import AverageEffect
from aimed.treatment.nuisances import is_binary

__all__ = ["unadjusted"]


def unadjusted(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    W: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    nuisances: Any = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    interval: str = "normal",
) -> AverageEffect:
    """Return the difference between the arms as they are.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome: 0/1, continuous, or a pseudo-outcome of time to event.
    T : array of 0 and 1, shape (n,)
    X, W, propensity, nuisances : optional
        Not used: this estimator adjusts for nothing. They are taken so that all estimators are called alike.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    interval : {"normal", "newcombe"}
        Of the difference. Newcombe's hybrid score interval holds its coverage with few events, where the normal one is
        too short; it needs a 0/1 outcome and independent rows.

    Raises
    ------
    DataError
        If values are not finite or not of one length, or `interval` does not suit the outcome.
    NotEstimableError
        If there is one arm only, or an arm has fewer than 2 rows.

    References
    ----------
    Newcombe, Stat Med 1998;17:873 (method 10). Welch, Biometrika 1938;29:350.

    Notes
    -----
    Formula: the mean of each arm; variance p (1 - p) / n of an arm for 0/1 outcomes, s² / n else; with patients the sum
    of squared influences over patients.
    Assumes: arms that differ by chance alone, such as by randomisation.

    Examples
    --------
    >>> Y, T = [1] * 56 + [0] * 14 + [1] * 48 + [0] * 32, [0] * 70 + [1] * 80
    >>> unadjusted(Y, T, interval="newcombe").difference
    difference -0.2000 (95 % interval -0.3339 to -0.0524), p = 0.005943, n = 150
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    if interval not in ("normal", "newcombe"):
        raise DataError("interval is neither 'normal' nor 'newcombe'", "one of the two")
    binary = is_binary(y)
    if interval == "newcombe" and (not binary or patient is not None):
        raise DataError(
            "a Newcombe interval of " + ("rows that share patients" if binary else "an outcome that is not 0/1"),
            "a 0/1 outcome and independent rows",
            "set interval = 'normal'",
        )
    means, psi, scores = [], [], []
    for member, what in ((arm, "treated"), (~arm, "control")):
        size = int(member.sum())
        if size < 2:
            raise NotEstimableError(f"the {what} arm has {size} row", "at least 2 rows of each arm")
        mean = float(y[member].mean())
        # Without patients these squares add up to p (1 - p) / n and, for other outcomes, to the sample's s² / n.
        scale = size if binary else math.sqrt(size * (size - 1.0))
        means.append(mean)
        psi.append(np.where(member, (y - mean) / scale, 0.0))
        scores.append(wilson(float(y[member].sum()), size, level) if interval == "newcombe" else (0.0, 0.0))
    limits, method = None, "unadjusted, normal"
    rare = min(float(((y == kind) & member).sum()) for kind in (0, 1) for member in (arm, ~arm)) < 5
    if interval == "newcombe":
        (low1, high1), (low0, high0) = scores
        gap = means[0] - means[1]
        limits = (
            gap - math.hypot(means[0] - low1, high0 - means[1]),
            gap + math.hypot(high1 - means[0], means[1] - low0),
        )
        method = "unadjusted, Newcombe hybrid score for the difference"
    return AverageEffect.from_means(
        means[0],
        psi[0],
        means[1],
        psi[1],
        arm=arm,
        y=y,
        method=method,
        patient=patient,
        level=level,
        note="set interval = 'newcombe' for a difference of rare events" if binary and limits is None and rare else "",
        limits=limits,
    )
