"""Doubly robust effect: outcome models corrected by weighted residuals, right if either they or the propensity are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.arrays import BoolArray, FloatArray, dot, patient_codes, vector
from aimed.metrics.result import clustered_covariance, notes
from aimed.metrics.targeting import SMALL_PROPENSITY
from aimed.treatment.arms import as_arms
from aimed.treatment.average import AverageEffect, checked_target
from aimed.treatment.nuisances import Nuisances, fit_nuisances
from aimed.treatment.overlap import Trimming, kish, trimming
from aimed.treatment.regressions import covariates, refuse_separated

__all__ = ["doubly_robust", "scores_of_means"]


def scores_of_means(
    y: FloatArray, arm: BoolArray, nuisances: Nuisances, target: str = "ATE", kept: BoolArray | None = None
) -> tuple[list[float], list[FloatArray]]:
    """Return the doubly robust means under control and treatment, and the influence of each row on them.

    Parameters
    ----------
    y : float array, shape (n,)
    arm : bool array, shape (n,)
    nuisances : Nuisances
    target : {"ATE", "ATT"}
    kept : bool array, shape (n,), optional
        Rows to use.

    Returns
    -------
    means : list of float, control first
    influence : list of float array, shape (n,)
    """
    some = np.ones(y.size, dtype=bool) if kept is None else kept
    e, mu0, mu1 = nuisances.propensity, nuisances.mu0, nuisances.mu1
    if target == "ATE":
        scores = [
            mu0 + np.where(arm, 0.0, y - mu0) / (1 - e),
            mu1 + np.where(arm, y - mu1, 0.0) / e,
        ]
        base = some / float(some.sum())
        means = [dot(base, score) for score in scores]
        return means, [base * (score - mean) for score, mean in zip(scores, means, strict=True)]
    treated = float((arm & some).sum())
    # Among the treated the mean under treatment was seen; only the other needs a model.
    scores = [np.where(arm, mu0, e / (1 - e) * (y - mu0)), np.where(arm, y, 0.0)]
    means = [float(score[some].sum()) / treated for score in scores]
    return means, [some * (score - arm * mean) / treated for score, mean in zip(scores, means, strict=True)]


def doubly_robust(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    W: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    nuisances: Nuisances | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    target: str = "ATE",
    trim: str | float | None = None,
    outcome_model: Any = None,
    propensity_model: Any = None,
    folds: int = 5,
    repeats: int = 1,
    random_state: int = 0,
) -> AverageEffect:
    """Return the effect by augmented inverse probability weighting (AIPW) with cross-fitting.

    Parameters
    ----------
    Y : float array, shape (n,)
    T : array of 0 and 1, shape (n,)
    X : float array, shape (n, p), optional
        Not needed where `nuisances` are given.
    W : float array, shape (n, q), optional
        Further covariates.
    propensity : float or array, shape (n,), optional
        Known chance of treatment, as in a trial.
    nuisances : Nuisances, optional
        Fitted before and shared with other estimators.
    patient : array, shape (n,), optional
        Rows of one patient are dependent and lie in one fold.
    level : float
    target : {"ATE", "ATT"}
    trim : "crump" or float, optional
        Leave out rows whose propensity is near 0 or 1; see `aimed.treatment.overlap.trimming`.
    outcome_model, propensity_model, folds, random_state
        As for `fit_nuisances`.
    repeats : int
        Cross-fitting is repeated on so many ways of making folds, and the median taken; an odd number.

    Raises
    ------
    DataError
        If neither `X` nor `nuisances` are given, shapes differ, or `repeats` is even.
    NotEstimableError
        If there is one arm only or a propensity is 0 or 1.

    References
    ----------
    Robins, Rotnitzky and Zhao, JASA 1994;89:846. Chernozhukov et al., Econom J 2018;21:C1 (cross-fitting, medians).

    Notes
    -----
    Formula: mean of mu1 + t (y - mu1) / e less mean of mu0 + (1 - t) (y - mu0) / (1 - e). Among the treated: mean of
    t (y - mu0) - (1 - t) e / (1 - e) (y - mu0), over their share. With repeats, the one with the median difference
    stands for all, and the variance is the median over repeats of its variance plus the squared distance to the median.
    Assumes: all confounders are in X and W; one of the two models is right, or both come close fast enough (for an
    interval among the treated, and for any interval with flexible learners, both should). With 60 patients, or strong
    confounding in a few hundred, 95 % intervals held the truth in 89 to 93 % of simulated studies.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
    >>> Y = X[:, 0] + 2.0 * T + rng.normal(size=400)
    >>> found = doubly_robust(Y, T, X, propensity=0.5)
    >>> found.difference.lower < 2 < found.difference.upper
    True
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    checked_target(target, ("ATE", "ATT"))
    if repeats < 1 or repeats % 2 == 0:
        raise DataError(f"repeats = {repeats}", "an odd number of repeats, which has a median")
    if nuisances is not None:
        if nuisances.mu0.size != y.size:
            raise DataError(f"nuisances of {nuisances.mu0.size} rows for {y.size} outcomes", "those of the same rows")
        if repeats > 1:
            raise DataError("repeats of nuisances that are fitted already", "one repeat, or no nuisances")
        fitted = [nuisances]
        dependent = nuisances.patient if patient is None else patient
    else:
        table = covariates(X, W, y.size)
        if table is None:
            raise DataError("neither X nor nuisances", "covariates, or nuisances made by fit_nuisances")
        refuse_separated(table, arm)
        dependent = patient
        fitted = [
            fit_nuisances(
                y,
                arm,
                table,
                outcome_model=outcome_model,
                propensity_model=propensity_model,
                propensity=propensity,
                folds=folds,
                patient=patient,
                random_state=random_state + turn,
            )
            for turn in range(repeats)
        ]
    cuts = [trimming(one.propensity, arm, trim) for one in fitted]
    found = [scores_of_means(y, arm, one, target, cut.kept) for one, cut in zip(fitted, cuts, strict=True)]
    differences = np.array([means[1] - means[0] for means, _ in found])
    place = int(np.argsort(differences, kind="stable")[repeats // 2])
    (control, treated), (psi0, psi1) = found[place]
    if repeats > 1:
        codes = None if dependent is None else patient_codes(dependent, y.size)
        variance = [clustered_covariance((psi[1] - psi[0])[:, None], codes)[0, 0] for _, psi in found]
        spread = float(np.median(variance + (differences - differences[place]) ** 2))
        # Influence values keep their shape, so that contrasts on any scale take the spread of the repeats with them.
        inflation = np.sqrt(spread / variance[place]) if variance[place] > 0 else 1.0
        psi0, psi1 = inflation * psi0, inflation * psi1
    chosen, cut = fitted[place], cuts[place]
    return AverageEffect.from_means(
        treated,
        psi1,
        control,
        psi0,
        arm=arm,
        y=y,
        method="doubly robust (AIPW), cross-fitted" + (f", median of {repeats} repeats" if repeats > 1 else ""),
        patient=dependent,
        level=level,
        note=_said(chosen, cut, arm, target),
        target=target,
        kept=cut.kept,
        weights=_weights(chosen.propensity, arm, cut.kept, target),
    )


def _weights(e: FloatArray, arm: BoolArray, kept: BoolArray, target: str) -> FloatArray:
    given = np.where(arm, 1 / e, 1 / (1 - e)) if target == "ATE" else np.where(arm, 1.0, e / (1 - e))
    return np.asarray(given * kept)


def _said(nuisances: Nuisances, cut: Trimming, arm: BoolArray, target: str) -> str:
    e = nuisances.propensity[cut.kept]
    member = arm[cut.kept]
    given = np.where(member, e, 1 - e)
    if target == "ATT":
        given = np.where(member, 1.0, 1 - e)
    low = int((given < SMALL_PROPENSITY).sum())
    moved = f"{nuisances.clipped} estimated propensities were moved away from 0 or 1" if nuisances.clipped else ""
    weak = ""
    if low:
        weights = _weights(nuisances.propensity, arm, cut.kept, target)
        sizes = [kish(weights[member & cut.kept]) for member in (arm, ~arm)]
        weak = (
            f"{low} rows had a chance below {SMALL_PROPENSITY} of the treatment they were given: effective sample size "
            f"{sizes[0]:.0f} treated, {sizes[1]:.0f} control"
        )
    return notes(weak, moved, cut.sentence)
