"""Standardisation: a regression of the outcome, averaged over all patients as if each had been in either arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, dot, labels, level_codes, vector
from aimed.metrics.result import notes
from aimed.treatment.arms import as_arms
from aimed.treatment.average import AverageEffect, checked_target
from aimed.treatment.nuisances import is_binary
from aimed.treatment.regressions import (
    Standardised,
    covariates,
    fit_regression,
    left_out,
    penalised,
    refuse_separated,
    standardised,
)

__all__ = ["standardisation", "strata_columns"]

_FEW_A_COLUMN = 5
_DO = "adjust for fewer columns, or use 'doubly_robust', whose learners are penalised"


def strata_columns(strata: ArrayLike, arm: ArrayLike) -> FloatArray:
    """Return 0/1 columns of the strata of a stratified randomisation, the first stratum being all zeros.

    Parameters
    ----------
    strata : array, shape (n,) or (n, k)
        Labels; with k columns a stratum is a combination of them.
    arm : array of 0 and 1, shape (n,)

    Raises
    ------
    NotEstimableError
        If a stratum has rows of one arm only.

    Examples
    --------
    >>> strata_columns(["a", "a", "b", "b"], [0, 1, 0, 1]).ravel()
    array([0., 0., 1., 1.])
    """
    treated = as_arms(arm)
    given = np.asarray(strata)
    columns = given[:, None] if given.ndim == 1 else given
    code = np.zeros(treated.size, dtype=np.int64)
    for column in columns.T:
        _, each = level_codes(labels("strata", column, treated.size))
        code = np.unique(code * (int(each.max()) + 1) + each, return_inverse=True)[1]
    size = np.bincount(code)
    active = np.bincount(code, treated)
    lone = (active == 0) | (active == size)
    if lone.any():
        raise NotEstimableError(
            f"{int(lone.sum())} of {size.size} strata hold rows of one arm only ({int(size[lone].sum())} rows)",
            "both arms in every stratum",
            "merge small strata, or leave the strata out",
        )
    return np.asarray(code[:, None] == np.arange(1, size.size), dtype=np.float64)


def standardisation(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    W: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    nuisances: Any = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    strata: ArrayLike | None = None,
    interactions: bool = True,
    target: str = "ATE",
) -> AverageEffect:
    """Return the effect from a regression of the outcome, standardised over the patients (g-computation).

    Parameters
    ----------
    Y : float array, shape (n,)
        0/1 outcomes get a logistic regression, others a linear one.
    T : array of 0 and 1, shape (n,)
    X : float array, shape (n, p), optional
        Covariates, measured before the treatment began.
    W : float array, shape (n, q), optional
        Further covariates.
    propensity : optional
        Not used, taken so that all estimators are called alike.
    nuisances : Nuisances, optional
        Outcome models of any kind, cross-fitted: their predictions are averaged instead of the regression's. The error
        is then that of the doubly robust scores.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    strata : array, shape (n,) or (n, k), optional
        Strata of the randomisation: their indicators are added to the columns.
    interactions : bool
        A regression in each arm (all interactions with the treatment) or one for both with a common slope. Either is
        right on average in a trial even where the regression is wrong; with interactions it is never less precise, in
        large samples, than no adjustment.
    target : {"ATE", "ATT"}

    Raises
    ------
    DataError
        If shapes differ or values are not finite.
    NotEstimableError
        If there is one arm only, an arm has too few rows for the columns or fewer than 2 events, a column is the
        outcome under another name, or a stratum has one arm only.

    References
    ----------
    Lin, Ann Appl Stat 2013;7:295. Ge et al., Drug Inf J 2011;45:481. Ye et al., Stat Theory Relat Fields 2023;7:159.
    FDA, Adjusting for covariates in randomized clinical trials, 2023.

    Notes
    -----
    Formula: the mean over the population of the expected outcome under either arm. Its variance is the sum of squares
    (over patients) of each row's influence: on the mean, and on the coefficients, with residuals over one less leverage
    (jackknife, HC3). It stays right in a trial when the regression is wrong, and takes the spread of the covariates in.
    Where a column or a rare level separates the 0/1 outcomes of an arm, maximum likelihood has no answer: its columns,
    standardised, get a ridge penalty (half the sum of squared coefficients), the intercept and the treatment none, so
    that the mean prediction in each arm stays its mean outcome; influences are those of the penalised fit, and the note
    says so.
    Assumes: in a trial, nothing more; in observational data, that the regression is right and holds all confounders.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> X, T = rng.normal(size=(300, 1)), rng.integers(0, 2, 300)
    >>> Y = (rng.random(300) < 1 / (1 + np.exp(-X[:, 0] + T))).astype(float)
    >>> found = standardisation(Y, T, X)
    >>> found.difference < 0, found.difference.se < 0.06
    (True, True)
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    checked_target(target, ("ATE", "ATT"))
    share = np.full(y.size, 1.0 / y.size) if target == "ATE" else arm / float(arm.sum())
    about: dict[str, Any] = {"arm": arm, "y": y, "patient": patient, "level": level, "target": target}
    if nuisances is not None:
        return _of_nuisances(y, arm, share, nuisances, about)
    table = covariates(X, W, y.size)
    refuse_separated(table, arm)
    if strata is not None:
        indicators = strata_columns(strata, arm)
        table = indicators if table is None else np.column_stack((table, indicators))
        table = table if table.shape[1] else None
    binary = is_binary(y)
    note = _events_note(y, arm, 0 if table is None else table.shape[1]) if binary else ""
    kind = "logistic" if binary else "linear"
    if interactions:
        means, psi, said = _arm_by_arm(y, arm, share, table, binary)
        method = f"standardisation, {kind} regression in each arm, robust"
    else:
        means, psi, said = _common_slopes(y, arm, share, table, binary)
        method = f"standardisation, one {kind} regression, robust"
        if strata is not None:
            said = notes(said, "under stratified randomisation the interval with common slopes may be too wide")
    return AverageEffect.from_means(means[1], psi[1], means[0], psi[0], method=method, note=notes(note, said), **about)


def _events_note(y: FloatArray, arm: BoolArray, columns: int) -> str:
    """Refuse arms with fewer than 2 events; say where there are few for the columns."""
    fewest = y.size
    for member, what in ((arm, "treated"), (~arm, "control")):
        events = int(y[member].sum())
        least = min(events, int(member.sum()) - events)
        if least < 2:
            raise NotEstimableError(
                f"the {what} arm has {least} {'events' if events == least else 'rows without the event'}",
                "at least 2 of either kind in each arm",
                "use 'unadjusted' with interval = 'newcombe'",
            )
        fewest = min(fewest, least)
    if columns and fewest < _FEW_A_COLUMN * columns:
        return f"only {fewest} events of an arm for {columns} columns: the interval may be too short"
    return ""


def _arm_by_arm(
    y: FloatArray, arm: BoolArray, share: FloatArray, table: FloatArray | None, binary: bool
) -> tuple[list[float], list[FloatArray], str]:
    means, psi, said = [], [], []
    for member, what in ((~arm, "control"), (arm, "treated")):
        design = standardised(table, member)
        fit = fit_regression(design, y, member, binary, f"outcome regression of the {what} arm", _DO, free=1)
        expected = fit.predict(design.columns)
        mean = dot(share, expected)
        change = (fit.steps * fit.slope(design.columns, share)).sum(axis=1)
        means.append(mean)
        psi.append(share * (expected - mean) + change)
        said += [left_out(design, f"in the {what} arm"), penalised(fit, f"in the {what} arm")]
    return means, psi, notes(*said)


def _common_slopes(
    y: FloatArray, arm: BoolArray, share: FloatArray, table: FloatArray | None, binary: bool
) -> tuple[list[float], list[FloatArray], str]:
    every = np.ones(y.size, dtype=bool)
    base = standardised(table, every)
    with_arm = np.column_stack((arm.astype(np.float64), base.columns[:, 1:]))
    design = standardised(with_arm, every)
    # The treatment stays 0 and 1 here, so that it can be set for all.
    columns = np.column_stack((np.ones(y.size), with_arm[:, list(design.used)]))
    plain = Standardised(columns, design.used, design.dropped)
    # Intercept and treatment are free of a penalty: the mean of each arm is reproduced.
    fit = fit_regression(plain, y, every, binary, "outcome regression", _DO, free=2)
    means, psi = [], []
    for value in (0.0, 1.0):
        as_if = columns.copy()
        as_if[:, 1] = value
        expected = fit.predict(as_if)
        mean = dot(share, expected)
        means.append(mean)
        psi.append(share * (expected - mean) + (fit.steps * fit.slope(as_if, share)).sum(axis=1))
    return means, psi, notes(left_out(base, "in these rows"), penalised(fit, "in these rows"))


def _of_nuisances(
    y: FloatArray, arm: BoolArray, share: FloatArray, nuisances: Any, about: dict[str, Any]
) -> AverageEffect:
    from aimed.treatment.doubly_robust import scores_of_means

    if nuisances.mu0.size != y.size:
        raise DataError(f"nuisances of {nuisances.mu0.size} rows for {y.size} outcomes", "those of the same rows")
    _, psi = scores_of_means(y, arm, nuisances, about["target"])
    means = [dot(share, mu) for mu in (nuisances.mu0, nuisances.mu1)]
    return AverageEffect.from_means(
        means[1],
        psi[1],
        means[0],
        psi[0],
        method="standardisation of cross-fitted outcome models",
        note="the means are those of the outcome models, the intervals those of the doubly robust scores: where the "
        "two disagree trust 'doubly_robust'",
        **about,
    )
