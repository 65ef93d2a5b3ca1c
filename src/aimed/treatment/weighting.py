"""Weighting: the arms made alike by the chance of treatment, and the error that estimating it adds or saves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, dot, row_dot, vector
from aimed.metrics.result import notes
from aimed.metrics.targeting import SMALL_PROPENSITY
from aimed.treatment.arms import as_arms
from aimed.treatment.average import TARGETS, AverageEffect, checked_target
from aimed.treatment.nuisances import known_chance
from aimed.treatment.overlap import kish, trimming
from aimed.treatment.regressions import (
    Regression,
    Standardised,
    covariates,
    left_out,
    propensity_regression,
    refuse_separated,
)

__all__ = ["treatment_weights", "weighting"]


def treatment_weights(
    T: ArrayLike, propensity: ArrayLike | float, target: str = "ATE", *, stabilised: bool = False
) -> FloatArray:
    """Return the weight of each row that makes its arm look like the target population.

    Parameters
    ----------
    T : array of 0 and 1, shape (n,)
    propensity : float or array, shape (n,)
    target : {"ATE", "ATT", "ATO"}
        All patients, the treated, or the overlap.
    stabilised : bool
        Multiply by the share of the row's own arm, so that weights are near 1. Means whose weights sum to one do not
        change.

    Raises
    ------
    NotEstimableError
        If a propensity is 0 or 1.

    References
    ----------
    Li, Morgan and Zaslavsky, JASA 2018;113:390. Robins, Hernan and Brumback, Epidemiology 2000;11:550 (stabilised).

    Examples
    --------
    >>> treatment_weights([0, 1], [0.2, 0.2]).round(6)
    array([1.25, 5.  ])
    >>> treatment_weights([0, 1], [0.2, 0.2], "ATO")
    array([0.2, 0.8])
    """
    arm = as_arms(T)
    e = known_chance(propensity, arm.size)
    weights = _weights(arm, e, checked_target(target, TARGETS))
    if not stabilised:
        return weights
    share = float(arm.mean())
    return weights * np.where(arm, share, 1 - share)


def _weights(arm: BoolArray, e: FloatArray, target: str) -> FloatArray:
    if target == "ATE":
        return np.where(arm, 1 / e, 1 / (1 - e))
    if target == "ATT":
        return np.where(arm, 1.0, e / (1 - e))
    return np.where(arm, 1 - e, e)


def _slopes(arm: BoolArray, e: FloatArray, target: str) -> FloatArray:
    """Return how the weights change with the log odds of the propensity."""
    if target == "ATE":
        return np.where(arm, -(1 - e) / e, e / (1 - e))
    if target == "ATT":
        return np.where(arm, 0.0, e / (1 - e))
    return np.where(arm, -e * (1 - e), e * (1 - e))


def weighting(
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
    trim: str | float | None = None,
    stabilised: bool = False,
) -> AverageEffect:
    """Return the effect by inverse probability of treatment weighting, weights summing to one in each arm (Hajek).

    Parameters
    ----------
    Y : float array, shape (n,)
    T : array of 0 and 1, shape (n,)
    X : float array, shape (n, p), optional
        Covariates of a logistic regression of the treatment; not needed where the propensity is given.
    W : float array, shape (n, q), optional
        Further covariates.
    propensity : float or array, shape (n,), optional
        Known chance of treatment. With `X`, in a trial, leave it out: the estimated one makes chance imbalances good.
    nuisances : Nuisances, optional
        Its propensities are taken as they are.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    target : {"ATE", "ATT", "ATO"}
        All patients, the treated, or the overlap (weights 1 - e and e, which no propensity makes large).
    trim : "crump" or float, optional
        Leave out rows whose propensity is near 0 or 1, then fit it again; see `aimed.treatment.overlap.trimming`.
    stabilised : bool
        For the `weights` of the result alone: the means do not change.

    Raises
    ------
    DataError
        If there is neither `X` nor a propensity, or values are not finite.
    NotEstimableError
        If there is one arm only, a propensity is 0 or 1, or columns tell the arms apart without error.

    References
    ----------
    Lunceford and Davidian, Stat Med 2004;23:2937. Li, Morgan and Zaslavsky, JASA 2018;113:390 (overlap weights).

    Notes
    -----
    Formula: weighted means of the arms. The variance solves the estimating equations of both means and of the
    propensity together (M-estimation), with residuals over one less leverage (jackknife, HC3); a propensity that was
    given counts as known.
    Assumes: X and W hold all confounders, and the regression of the treatment is right.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1))
    >>> T = rng.random(500) < 1 / (1 + np.exp(-X[:, 0]))
    >>> Y = X[:, 0] + 2.0 * T + rng.normal(size=500)
    >>> found = weighting(Y, T, X)
    >>> found.difference.lower < 2 < found.difference.upper
    True
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    checked_target(target, TARGETS)
    said = []
    table = covariates(X, W, y.size)
    refuse_separated(table, arm)
    fit: Regression | None = None
    design: Standardised | None = None
    if propensity is not None:
        e, method = np.asarray(propensity, dtype=np.float64), "weighting, known propensity"
        e = np.full(y.size, float(e)) if e.ndim == 0 else vector("propensity", e, y.size)
    elif nuisances is not None:
        e, method = vector("propensity of the nuisances", nuisances.propensity, y.size), "weighting, given propensity"
        if not nuisances.known_propensity:
            said.append("the propensity was estimated and counts as known: the interval is usually too wide")
    elif table is None:
        raise DataError("neither X nor a propensity", "covariates of the treatment, or its known chance")
    else:
        fit, e, design = propensity_regression(table, arm)
        method = "weighting, logistic propensity"
    cut = trimming(e, arm, trim)
    kept = cut.kept
    if fit is not None and table is not None and cut.sentence:
        fit, e, design = propensity_regression(table, arm, kept)
    if design is not None:
        said.append(left_out(design, "in these rows"))
    inside = np.where(kept, e, 0.5)
    known_chance(inside, y.size)
    weights = _weights(arm, inside, target) * kept
    slopes = _slopes(arm, inside, target) * kept
    means, psi = [], []
    for member, what in ((arm, "treated"), (~arm, "control")):
        w = np.where(member, weights, 0.0)
        share = w / float(w.sum())
        if not share.max() < 1:
            raise NotEstimableError(f"one {what} row has all the weight", "at least 2 rows of each arm")
        mean = dot(share, y)
        rest = y - mean
        influence = share * rest / (1 - share)
        if fit is not None and design is not None:
            by_beta = row_dot(design.columns.T, np.where(member, slopes, 0.0) * rest) / float(w.sum())
            influence = influence + row_dot(fit.steps, by_beta)
        means.append(mean)
        psi.append(influence)
    shown = weights
    if stabilised:
        active = float(arm[kept].mean())
        shown = weights * np.where(arm, active, 1 - active)
    given = np.where(arm, inside, 1 - inside)[kept & ~arm if target == "ATT" else kept]
    low = int((given < SMALL_PROPENSITY).sum())
    if low and target != "ATO":
        sizes = [kish(weights[member]) for member in (arm, ~arm)]
        said.append(
            f"{low} rows had a chance below {SMALL_PROPENSITY} of the treatment they were given: effective sample size "
            f"{sizes[0]:.0f} treated, {sizes[1]:.0f} control"
        )
    return AverageEffect.from_means(
        means[0],
        psi[0],
        means[1],
        psi[1],
        arm=arm,
        y=y,
        method=f"{method}, {target}",
        patient=patient,
        level=level,
        note=notes(*said, cut.sentence),
        target=target,
        kept=kept,
        weights=shown,
    )
