"""Do effects truly differ between patients: calibration tests, group effects, omnibus tests, one conclusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.metrics.arrays import FloatArray, cross_products, dot, patient_codes, row_dot, vector, zero_one
from aimed.metrics.effect_loss import chances, oriented
from aimed.metrics.intervals import adjust_p_values
from aimed.metrics.result import (
    Curve,
    Described,
    Estimate,
    clustered,
    clustered_covariance,
    clustered_variance,
    few_units,
    independent_units,
    normal_quantile,
    notes,
    patient_sums,
    quantile_of_units,
    two_sided_p,
)
from aimed.metrics.targeting import rate

__all__ = [
    "CONCLUSIONS",
    "POWER",
    "TESTS",
    "BestLinearPredictor",
    "GroupEffects",
    "HeterogeneityTest",
    "HeterogeneityTests",
    "best_linear_predictor",
    "calibration_test",
    "covariate_test",
    "group_effects",
    "heterogeneity_tests",
    "series_test",
]

CONCLUSIONS = (
    "evidence of heterogeneity",
    "no evidence of heterogeneity",
    "not enough evidence to tell",
)
"""The three ends of `heterogeneity_tests`."""

POWER = 0.8
"""Chance with which a difference of the margin must have been seen before its absence says something."""

TESTS = {
    "best_linear_predictor": "Predicted effects go with true ones (one-sided).",
    "autoc": "Treating by prediction beats treating at random (one-sided).",
    "group_effects": "Groups of predicted effect have unequal mean effects.",
    "covariates": "The effect changes along the covariates (linear, all at once).",
    "series": "The effect changes along the covariates (polynomials in each arm, without a model of the effect).",
}
"""Tests by name and what a small p says."""

_LEAST_PER_COLUMN = 10
_SAME = 1e-10
_MANY_UNITS = 20_000
_BLOCK = 64


# ------------------------------------------------------------------------------------------------- least squares


def _least_squares(design: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return coefficients and each row's influence on them, residuals divided by 1 - leverage (HC3)."""
    try:
        inverse: FloatArray = np.asarray(np.linalg.inv(cross_products(design, design)), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise NotEstimableError("columns that determine each other", "more rows, or other predictions") from None
    lever = row_dot(design, inverse)
    beta = row_dot(lever.T, target)
    own = np.minimum(np.einsum("np,np->n", lever, design), 1 - 1e-9)
    left = (target - row_dot(design, beta)) / (1 - own)
    return beta, lever * left[:, None]


def _wald(beta: FloatArray, influence: FloatArray, patient: ArrayLike | None, spent: int) -> tuple[float, int, float]:
    """Return Wald's chi-squared statistic that all coefficients are 0, its degrees of freedom and p by F."""
    from scipy.stats import f

    n, k = influence.shape
    codes = None if patient is None else patient_codes(patient, n)
    units = independent_units(patient, n) or n
    covariance = clustered_covariance(influence, codes)
    try:
        found = float(beta @ np.linalg.solve(covariance, beta))
    except np.linalg.LinAlgError:
        raise NotEstimableError("coefficients without spread", "more patients than coefficients") from None
    rest = units - spent
    if rest < 1 or not found >= 0:
        raise NotEstimableError(f"{units} independent units for {spent} coefficients", "more of them")
    return found, k, float(f.sf(found / k, k, rest))


def _score_test(
    base: FloatArray, more: FloatArray, target: FloatArray, patient: ArrayLike | None, draws: int, seed: int
) -> HeterogeneityTest:
    """Return the test that columns add nothing to those of `base`: a robust score statistic and p by sign flips.

    Each patient's part of the score keeps its size and takes either sign, as it would had the arms been dealt the other
    way. Wald's test with its F would reject too often where a covariate is rare or skewed.
    """
    inverse: FloatArray = np.asarray(np.linalg.inv(cross_products(base, base)), dtype=np.float64)
    lever = row_dot(base, inverse)
    rest: FloatArray = more - row_dot(base, cross_products(lever, more))
    left = target - row_dot(base, row_dot(lever.T, target))
    # Residuals of the null are smaller than errors, by the leverage (HC3).
    short = np.minimum(np.einsum("np,np->n", lever, base), 1 - 1e-9)
    codes = None if patient is None else patient_codes(patient, target.size)
    parts = patient_sums(rest * (left / (1 - short))[:, None], codes)
    total = row_dot(rest.T, left)
    scale = np.sqrt(np.einsum("np,np->p", parts, parts))
    parts, total = parts[:, scale > 0] / scale[scale > 0], total[scale > 0] / scale[scale > 0]
    variances, axes = np.linalg.eigh(cross_products(parts, parts))
    kept = variances > _SAME * variances.max(initial=0.0)
    if not kept.any():
        raise NotEstimableError("outcomes without spread", "outcomes that differ")
    whiten = axes[:, kept] / np.sqrt(variances[kept])
    parts, total = row_dot(parts, whiten), row_dot(whiten.T, total)
    statistic, k, units = dot(total, total), parts.shape[1], parts.shape[0]
    if units > _MANY_UNITS:
        from scipy.stats import chi2

        p, how = float(chi2.sf(statistic, k)), "chi-squared"
    else:
        reached, rng = 0, np.random.default_rng(seed)
        for first in range(0, draws, _BLOCK):
            signs = 2.0 * rng.integers(0, 2, (min(_BLOCK, draws - first), units)) - 1
            drawn = cross_products(np.ascontiguousarray(signs.T), parts)
            reached += int((np.einsum("bk,bk->b", drawn, drawn) >= statistic * (1 - 1e-12)).sum())
        p, how = (1 + reached) / (1 + draws), f"{draws} sign flips"
    return HeterogeneityTest(
        name="", statistic=statistic, p=p, what=f"robust score statistic, {k} degrees of freedom, p by {how}"
    )


def _one_sided(value: float, se: float, units: int | None) -> float:
    both = two_sided_p(value, se, units)
    return both / 2 if value > 0 else 1 - both / 2


def _varying(benefit: FloatArray) -> None:
    if np.ptp(benefit) <= _SAME * max(float(np.abs(benefit).max()), 1e-300):
        raise NotEstimableError("one predicted effect for all rows", "predictions that tell patients apart")


def _coefficient(
    name: str, value: float, psi: FloatArray, patient: ArrayLike | None, level: float, method: str
) -> Estimate:
    found = Estimate.from_influence(value, psi, patient, level=level, name=name, method=clustered(method, patient))
    found.p = two_sided_p(value, found.se, independent_units(patient, psi.size))
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BestLinearPredictor(Described):
    """The line through true effects that a predicted effect allows.

    Parameters
    ----------
    estimate : Estimate
        Heterogeneity coefficient: slope of the true on the predicted effect. 1 is right, 0 says that predictions tell
        nothing. What it knows (`value`, `lower`, ...) is also known here; its `p` is two-sided.
    average : Estimate
        Average effect.
    p_one_sided : float
        That the slope is not above 0: the test of heterogeneity.

    Examples
    --------
    >>> found = best_linear_predictor([1.0, 0.0, 3.0, 2.0, 5.0, 4.0], [0, 0, 1, 1, 2, 2])
    >>> round(found.value, 3), round(float(found.average), 3), found.p_one_sided < 0.05
    (2.0, 2.5, True)
    """

    estimate: Estimate
    average: Estimate
    p_one_sided: float


def _line(
    design: FloatArray, target: FloatArray, name: str, patient: ArrayLike | None, level: float, method: str
) -> BestLinearPredictor:
    beta, psi = _least_squares(design, target)
    slope = _coefficient(name, float(beta[1]), psi[:, 1].copy(), patient, level, method)
    units = independent_units(patient, target.size)
    return BestLinearPredictor(
        estimate=slope,
        average=_coefficient("average_effect", float(beta[0]), psi[:, 0].copy(), patient, level, method),
        p_one_sided=_one_sided(float(slope), slope.se, units),
    )


def best_linear_predictor(
    scores: ArrayLike,
    benefit: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> BestLinearPredictor:
    """Return the slope of the true on the predicted effect, from doubly robust scores: above 0 is heterogeneity.

    Parameters
    ----------
    scores : array, shape (n,)
        Unbiased effect of each row, from `aipw_scores`.
    benefit : array, shape (n,)
        Predicted effect, with the sign of `scores`, made on other rows.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If all rows have one predicted effect, or there are fewer than 3 rows.

    Notes
    -----
    Formula: least squares of the score on 1 and (prediction - mean prediction); errors HC3, by patient.
    Range: any number; 1 says that predicted differences are true to scale, below 1 that they are too large.
    Assumes: unbiased scores; predictions made on other rows.
    Refuses: one prediction for all rows.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val, arXiv:1712.04802 (2018; Econometrica 2025;93:1121).

    Examples
    --------
    >>> best_linear_predictor([1.0, 0.0, 3.0, 2.0, 5.0, 4.0], [0, 0, 1, 1, 2, 2]).average.value
    2.5
    """
    gamma = vector("scores", scores)
    predicted = vector("benefit", benefit, gamma.size)
    _varying(predicted)
    if gamma.size < 3:
        raise NotEstimableError(f"{gamma.size} rows", "at least 3")
    # Scaled, so that predictions of any unit are as well conditioned.
    spread = float(predicted.std())
    design = np.column_stack([np.ones(gamma.size), (predicted - predicted.mean()) / spread])
    found = _line(design, gamma, "best_linear_predictor", patient, level, "least squares of scores, HC3 errors")
    return _rescaled(found, spread, patient, level)


def _rescaled(
    found: BestLinearPredictor, spread: float, patient: ArrayLike | None, level: float
) -> BestLinearPredictor:
    slope = found.estimate
    psi = np.asarray(slope.influence, dtype=np.float64) / spread
    made = Estimate.from_influence(
        float(slope) / spread, psi, patient, level=level, name=slope.name, method=slope.method, p=slope.p
    )
    return BestLinearPredictor(estimate=made, average=found.average, p_one_sided=found.p_one_sided)


def calibration_test(
    y: ArrayLike,
    treated: ArrayLike,
    benefit: ArrayLike,
    *,
    m: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    outcome: str = "harm",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> BestLinearPredictor:
    """Return the slope of the true on the predicted effect from residuals, as grf's ``test_calibration`` takes it.

    Parameters
    ----------
    y, treated, m, propensity, outcome
        As in `r_loss`.
    benefit : array, shape (n,)
        Predicted benefit, made on other rows.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    BestLinearPredictor
        `average` is the average effect itself (weighted by overlap), where grf gives it over the mean prediction.

    Raises
    ------
    NotEstimableError
        If all rows have one predicted effect, or an arm is empty.

    Notes
    -----
    Formula: least squares of y - m on (t - e) and (t - e) (prediction - mean prediction), without an intercept;
        errors HC3, by patient.
    Range: any number; 1 says that predicted differences are true to scale.
    Assumes: right m and e, or a randomised treatment; predictions made on other rows.
    Refuses: one prediction for all rows; an empty arm.

    References
    ----------
    Chernozhukov et al., arXiv:1712.04802. Athey and Wager, Observational Studies 2019;5:37.

    Examples
    --------
    >>> y, treated = [0.0, 3.0, 0.1, 3.1, 0.0, 1.0, 0.1, 1.1], [0, 1] * 4
    >>> found = calibration_test(y, treated, [3, 3, 3, 3, 1, 1, 1, 1], m=[1.5] * 4 + [0.5] * 4, outcome="good")
    >>> round(found.value, 2), round(float(found.average), 2)
    (1.0, 2.0)
    """
    seen = vector("y", y)
    arm = zero_one("treated", treated, seen.size)
    predicted = vector("benefit", benefit, seen.size)
    _varying(predicted)
    if seen.size < 3:
        raise NotEstimableError(f"{seen.size} rows", "at least 3")
    good, around = oriented(seen, m, outcome)
    over = arm - chances(propensity, arm)
    spread = float(predicted.std())
    design = np.column_stack([over, over * (predicted - predicted.mean()) / spread])
    found = _line(design, good - around, "calibration_test", patient, level, "least squares of residuals, HC3 errors")
    return _rescaled(found, spread, patient, level)


# ------------------------------------------------------------------------------------------------ groups of effect


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupEffects(Described):
    """Mean effect in groups of predicted effect.

    Parameters
    ----------
    estimate : Estimate
        Mean effect of the group with the largest prediction less that of the group with the smallest.
    groups : Curve
        Mean effect of each group, rising prediction; `x` is the mean prediction.
    rows : int array, shape (k,)
        Rows of each group.
    statistic, p_equal : float
        Wald statistic that all groups have one mean effect, and its p.

    Examples
    --------
    >>> found = group_effects([0.0, 1.0, 0.5, 4.0, 5.0, 4.5], [1, 1, 1, 2, 2, 2], groups=2)
    >>> found.value, found.groups.value
    (4.0, array([0.5, 4.5]))
    """

    estimate: Estimate
    groups: Curve
    rows: np.ndarray[Any, np.dtype[np.int64]]
    statistic: float
    p_equal: float


def group_effects(
    scores: ArrayLike,
    benefit: ArrayLike,
    *,
    groups: int = 4,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> GroupEffects:
    """Return the mean effect in quantile groups of predicted effect (GATES), with a test that they are equal.

    Parameters
    ----------
    scores, benefit, patient, level
        As in `best_linear_predictor`.
    groups : int
        Quantile groups; rows with equal predictions stay together.

    Raises
    ------
    NotEstimableError
        If all rows fall into one group, or a group has fewer than 2 rows.

    Notes
    -----
    Formula: mean score of each group; Wald's test that they are equal, against F.
    Range: any number, on the scale of the effect; equal groups say that predictions do not tell effects apart.
    Assumes: unbiased scores; predictions made on other rows.
    Refuses: one group; a group of one row.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val, arXiv:1712.04802.

    Examples
    --------
    >>> found = group_effects([0.0, 1.0, 0.5, 4.0, 5.0, 4.5], [1, 1, 1, 2, 2, 2], groups=2)
    >>> found.p_equal < 0.01
    True
    """
    if groups < 2:
        raise DataError("groups is below 2", "at least 2 groups")
    gamma = vector("scores", scores)
    predicted = vector("benefit", benefit, gamma.size)
    _varying(predicted)
    n = gamma.size
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.unique(np.searchsorted(edges, predicted, side="left"), return_inverse=True)[1]
    rows = np.bincount(place)
    k = rows.size
    if k < 2 or rows.min() < 2:
        raise NotEstimableError(f"{k} groups, the smallest of {int(rows.min())} rows", "2 groups of 2 rows or more")
    value = np.bincount(place, gamma) / rows
    psi = np.zeros((n, k))
    psi[np.arange(n), place] = (gamma - value[place]) / np.sqrt(rows * (rows - 1.0))[place]
    codes = None if patient is None else patient_codes(patient, n)
    units = independent_units(patient, n)
    try:
        statistic, _, p = _wald(np.diff(value), np.diff(psi, axis=1), patient, k)
    except NotEstimableError:
        statistic = p = math.nan
    note = notes(
        f"{k} groups instead of {groups}, because predicted effects are tied" if k < groups else "", few_units(units)
    )
    curve = Curve.normal(
        value,
        np.sqrt(np.diag(clustered_covariance(psi, codes))),
        level=level,
        units=units,
        name="group_effects",
        axis="predicted effect",
        x=np.bincount(place, predicted) / rows,
        n=n,
        method=clustered("mean score of the group", patient),
        note=note,
        influence=psi,
    )
    gap = _coefficient(
        "group_effects",
        float(value[-1] - value[0]),
        psi[:, -1] - psi[:, 0],
        patient,
        level,
        f"largest less smallest of {k} groups of predicted effect",
    )
    return GroupEffects(estimate=gap, groups=curve, rows=rows.astype(np.int64), statistic=statistic, p_equal=p)


# --------------------------------------------------------------------------------------------------- omnibus tests


def _columns(covariates: ArrayLike, n: int) -> FloatArray:
    """Return covariates as finite standardised columns, without those that do not vary."""
    try:
        table = np.asarray(covariates, dtype=np.float64)
    except (TypeError, ValueError):
        table = np.empty((0, 0, 0))
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[0] != n or not table.shape[1]:
        raise DataError("covariates are not a table of numbers with one row a patient", f"shape ({n}, columns)")
    bad = int((~np.isfinite(table)).sum())
    if bad:
        raise DataError(f"covariates have {bad} values that are not finite", "finite numbers", "impute them first")
    spread = table.std(axis=0)
    kept = spread > _SAME * np.maximum(np.abs(table).max(axis=0), 1e-300)
    return np.asarray((table - table.mean(axis=0))[:, kept] / spread[kept])


def _independent(design: FloatArray) -> list[int]:
    """Return the columns that those before them do not determine."""
    kept: list[FloatArray] = []
    chosen: list[int] = []
    for j in range(design.shape[1]):
        column = design[:, j].copy()
        size = dot(column, column)
        for _ in range(2):
            for axis in kept:
                column -= dot(axis, column) * axis
        left = dot(column, column)
        if left > 1e-8 * max(size, 1e-300):
            kept.append(column / math.sqrt(left))
            chosen.append(j)
    return chosen


def _enough(units: int, columns: int) -> None:
    if units < _LEAST_PER_COLUMN * columns:
        raise NotEstimableError(
            f"{units} independent units for {columns} coefficients",
            f"at least {_LEAST_PER_COLUMN} a coefficient",
            "give fewer covariates, chosen before",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeterogeneityTest:
    """One test of heterogeneity.

    Parameters
    ----------
    name : str
        One of `TESTS`.
    statistic : float
    p : float
        NaN where the test could not be made.
    p_adjusted : float
        By Holm among the deciding tests; among all tests for the others.
    decides : bool
        Whether the conclusion rests on it.
    what : str
        The statistic in words, with its degrees of freedom.
    note : str
        Why there is no p.

    Examples
    --------
    >>> HeterogeneityTest(name="autoc", statistic=2.1, p=0.018).p_adjusted
    nan
    """

    name: str
    statistic: float
    p: float
    p_adjusted: float = math.nan
    decides: bool = False
    what: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, None where there is no number."""
        out: dict[str, Any] = {k: getattr(self, k) for k in ("name", "what", "note", "decides")}
        for k in ("statistic", "p", "p_adjusted"):
            number = getattr(self, k)
            out[k] = float(number) if math.isfinite(number) else None
        return out


def covariate_test(
    scores: ArrayLike, covariates: ArrayLike, *, patient: ArrayLike | None = None, draws: int = 999, seed: int = 0
) -> HeterogeneityTest:
    """Return the test that no covariate goes with the effect: the best linear predictor on all covariates at once.

    Parameters
    ----------
    scores : array, shape (n,)
        Unbiased effect of each row.
    covariates : array, shape (n, p)
        Finite. Columns that do not vary, or that others determine, are left out.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    draws, seed : int
        Of the sign flips; with more than 20,000 patients p comes from chi-squared.

    Raises
    ------
    NotEstimableError
        If no column varies, or there are fewer than 10 patients a coefficient.

    Notes
    -----
    Formula: robust score statistic of least squares of scores on covariates; p from flipping the signs of the patients'
        parts of the score, which is what dealing the arms anew would do, so that rare and skewed covariates do no harm.

    References
    ----------
    Semenova and Chernozhukov, Econometrics J 2021;24:264 (the projection). Kline and Santos, J Econometric Methods
    2012;1:23 (sign flips of scores).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 2))
    >>> covariate_test(x[:, 0] + rng.normal(size=300), x).p
    0.001
    """
    gamma = vector("scores", scores)
    table = _columns(covariates, gamma.size)
    design = np.column_stack([np.ones(gamma.size), table])
    design = design[:, _independent(design)]
    if design.shape[1] < 2:
        raise NotEstimableError("no covariate varies", "covariates that tell patients apart")
    _enough(independent_units(patient, gamma.size) or gamma.size, design.shape[1])
    return replace(_score_test(design[:, :1], design[:, 1:], gamma, patient, draws, seed), name="covariates")


def series_test(
    y: ArrayLike,
    treated: ArrayLike,
    covariates: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    draws: int = 999,
    seed: int = 0,
) -> HeterogeneityTest:
    """Return the test that the effect is the same for everyone, from a polynomial of the outcome in each arm.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome.
    treated : array, shape (n,)
        1 treated, 0 not.
    covariates : array, shape (n, p)
        Finite; squares enter where a column has more than two values and there are patients enough.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    draws, seed : int
        As in `covariate_test`.

    Raises
    ------
    NotEstimableError
        If no column varies in both arms, or there are fewer than 10 patients a coefficient.

    Notes
    -----
    Formula: least squares of y on a basis and on treatment; robust score statistic that treatment times the basis adds
        nothing, p by sign flips as in `covariate_test`. It needs no scores and no predictions.

    References
    ----------
    Crump, Hotz, Imbens and Mitnik, Rev Econ Stat 2008;90:389 (their test takes Wald's statistic). Kline and Santos,
    J Econometric Methods 2012;1:23.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
    >>> series_test(x[:, 0] + t * x[:, 0] ** 2 + rng.normal(size=400), t, x).p
    0.001
    """
    seen = vector("y", y)
    arm = zero_one("treated", treated, seen.size)
    if arm.min() == arm.max():
        raise NotEstimableError("an arm without rows", "rows in both arms")
    table = _columns(covariates, seen.size)
    units = independent_units(patient, seen.size) or seen.size
    ones = np.ones((seen.size, 1))
    table = table[:, [j - 1 for j in _independent(np.column_stack([ones, table])) if j]]
    squares = [c * c - 1 for c in table.T if np.unique(c).size > 2]
    both = np.column_stack([table, *squares])
    basis = both if units >= 2 * _LEAST_PER_COLUMN * (1 + both.shape[1]) else table
    basis = np.column_stack([ones, basis])
    for side in (arm == 1, arm == 0):
        basis = basis[:, _independent(basis[side])]
    k = basis.shape[1]
    if k < 2:
        raise NotEstimableError("no covariate varies in both arms", "covariates that tell patients apart")
    _enough(units, 2 * k)
    base = np.column_stack([basis, arm])
    return replace(_score_test(base, basis[:, 1:] * arm[:, None], seen, patient, draws, seed), name="series")


# ------------------------------------------------------------------------------------------------- one conclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class HeterogeneityTests:
    """All tests of heterogeneity and what they come to.

    Parameters
    ----------
    conclusion : str
        One of `CONCLUSIONS`.
    words : str
        The conclusion with its reason, as a sentence.
    rule : str
        How it was reached; fixed before the tests.
    tests : tuple of HeterogeneityTest
    margin : float
        Difference of effect between two quarters of the patients that would matter.
    detectable : float
        Difference that these rows would have shown with a chance of 80 %.
    n : int
    level : float

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> effect = rng.normal(size=500)
    >>> found = heterogeneity_tests(effect + rng.normal(size=500), effect)
    >>> found.conclusion, found["autoc"].p < 0.01
    ('evidence of heterogeneity', True)
    """

    conclusion: str
    words: str
    rule: str
    tests: tuple[HeterogeneityTest, ...]
    margin: float
    detectable: float
    n: int
    level: float

    def __getitem__(self, name: str) -> HeterogeneityTest:
        for test in self.tests:
            if test.name == name:
                return test
        raise UnknownNameError("test", name, [test.name for test in self.tests])

    def __str__(self) -> str:
        lines = [
            f"  {test.name}: p = {test.p:.4g}" if math.isfinite(test.p) else f"  {test.name}: {test.note}"
            for test in self.tests
        ]
        return "\n".join([self.words, *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "conclusion": self.conclusion,
            "words": self.words,
            "rule": self.rule,
            "tests": [test.to_dict() for test in self.tests],
            "margin": self.margin,
            "detectable": self.detectable if math.isfinite(self.detectable) else None,
            "n": self.n,
            "level": self.level,
        }


def _margin(margin: float | None, gamma: FloatArray, y: FloatArray | None) -> tuple[float, str]:
    if margin is not None:
        if not (math.isfinite(margin) and margin > 0):
            raise DataError("margin is not above 0", "a difference of effect that would matter")
        return float(margin), "as given"
    if y is not None and bool(np.isin(y, (0.0, 1.0)).all()):
        return 0.1, "10 of 100 patients"
    if y is not None:
        return float(y.std()) / 2, "half a standard deviation of the outcome"
    return float(gamma.std()) / 4, "a quarter of the standard deviation of the scores"


def _made(name: str, work: Any) -> HeterogeneityTest:
    try:
        found: HeterogeneityTest = work()
    except NotEstimableError as error:
        return HeterogeneityTest(name=name, statistic=math.nan, p=math.nan, note=f"not estimable: {error.got}")
    if math.isnan(found.p):
        return replace(found, note="not estimable: no spread")
    return found


def heterogeneity_tests(
    scores: ArrayLike,
    benefit: ArrayLike,
    *,
    covariates: ArrayLike | None = None,
    y: ArrayLike | None = None,
    treated: ArrayLike | None = None,
    deciding: Sequence[str] = ("best_linear_predictor", "covariates"),
    margin: float | None = None,
    groups: int = 4,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> HeterogeneityTests:
    """Return whether effects differ between patients: every test, and one conclusion in words.

    Parameters
    ----------
    scores : array, shape (n,)
        Unbiased effect of each row, from `aipw_scores`; large is good, or as `benefit`.
    benefit : array, shape (n,)
        Predicted effect, with the sign of `scores`, from a model that did not see these rows.
    covariates : array, shape (n, p), optional
        Effect modifiers; for the tests that need no model of the effect.
    y, treated : array, shape (n,), optional
        Outcome and arm, for the series test and the margin.
    deciding : sequence of str
        Tests that decide, chosen before the data are seen, Holm among those that could be made. The others are shown
        beside them, and decide nothing.
    margin : float, optional
        Difference of the effect between two quarters of the patients that would matter. Without it 0.1 for a 0/1
        outcome, half a standard deviation for another.
    groups : int
        Of `group_effects`.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
        One less the chance of a false "evidence of heterogeneity".

    Returns
    -------
    HeterogeneityTests

    Raises
    ------
    UnknownNameError
        If a deciding test does not exist.

    Notes
    -----
    "Evidence" where a deciding test has an adjusted p below 1 - level. Otherwise "no evidence" where these rows had a
    chance of 80 % or more to show a difference of `margin` between two quarters of the patients, and the interval of
    the difference seen between the quarters of largest and smallest prediction lies below it; else, or where no
    deciding test could be made, "not enough evidence to tell". The standard error of the difference of two quarters is
    the root of 8 times that of the average effect.
    Assumes: unbiased scores. In a trial these are; in records only as far as the models behind them are right: where
    the outcome bends along a confounder and its model does not, a simulated study of 250 test rows with one effect for
    all found "evidence" in 17 % at a level of 5 %.

    References
    ----------
    Chernozhukov et al., arXiv:1712.04802. Crump et al., Rev Econ Stat 2008;90:389. Yadlowsky et al., JASA 2025;120:38.
    Holm, Scand J Stat 1979;6:65.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> print(heterogeneity_tests(rng.normal(size=60), rng.normal(size=60), margin=0.5).conclusion)
    not enough evidence to tell
    """
    gamma = vector("scores", scores)
    predicted = vector("benefit", benefit, gamma.size)
    n, alpha = gamma.size, 1 - level
    for name in deciding:
        if name not in TESTS:
            raise UnknownNameError("test of heterogeneity", name, TESTS)
    if not deciding:
        raise DataError("no test decides", "one of " + ", ".join(TESTS))
    tests = _all_tests(gamma, predicted, covariates, y, treated, groups, patient)
    made = [name for name in deciding if name in tests and math.isfinite(tests[name].p)]
    own = dict(zip(made, adjust_p_values([tests[name].p for name in made]) if made else [], strict=True))
    whole = adjust_p_values([test.p for test in tests.values()])
    final = tuple(
        replace(test, p_adjusted=float(own.get(name, together)), decides=name in own)
        for (name, test), together in zip(tests.items(), whole, strict=True)
    )
    wide, why = _margin(margin, gamma, None if y is None else vector("y", y, n))
    error = math.sqrt(8 * clustered_variance((gamma - gamma.mean()) / n, patient))
    units = independent_units(patient, n)
    detectable = (float(quantile_of_units(level, units)) + normal_quantile(2 * POWER - 1)) * error
    reach = _reach(gamma, predicted, patient, level)
    rule = (
        f"Decided beforehand by {_and(made or list(deciding))}, Holm-adjusted, at {alpha:.3g}; without a rejection it "
        f"is '{CONCLUSIONS[1]}' only where a difference of {wide:.3g} ({why}) between two quarters of the patients "
        f"would have been seen with a chance of {POWER:.0%}, and lies above the interval of the difference that was "
        "seen between the quarters of largest and smallest prediction."
    )
    shown = "; ".join(f"{name.replace('_', ' ')} p = {own[name]:.3g} (adjusted)" for name in made)
    if any(own[name] < alpha for name in made):
        conclusion, more = CONCLUSIONS[0], shown
    elif not made:
        conclusion, more = CONCLUSIONS[2], "no deciding test could be made"
    elif not detectable <= wide:
        conclusion = CONCLUSIONS[2]
        more = (
            f"{shown}; only differences of {detectable:.3g} or more between two quarters would have been seen with a "
            f"chance of {POWER:.0%}, {wide:.3g} would matter"
        )
    elif reach >= wide:
        conclusion = CONCLUSIONS[2]
        more = (
            f"{shown}; the difference between the quarters of largest and smallest prediction may be as large as "
            f"{reach:.3g}, {wide:.3g} would matter"
        )
    else:
        conclusion = CONCLUSIONS[1]
        more = (
            f"{shown}; a difference of {detectable:.3g} between two quarters would have been seen with a chance of "
            f"{POWER:.0%}"
        )
    words = f"{conclusion.capitalize()}: {more}"
    slope = tests["best_linear_predictor"]
    if slope.p > 1 - alpha / 2:
        words += "; predictions rank patients the wrong way round"
    return HeterogeneityTests(
        conclusion=conclusion,
        words=words + ".",
        rule=rule,
        tests=final,
        margin=wide,
        detectable=detectable,
        n=n,
        level=level,
    )


def _reach(gamma: FloatArray, predicted: FloatArray, patient: ArrayLike | None, level: float) -> float:
    """Return the upper limit of the difference between the outer quarters; minus infinity where nobody is ranked."""
    try:
        upper = group_effects(gamma, predicted, groups=4, patient=patient, level=level).upper
    except NotEstimableError:
        return -math.inf
    return upper if math.isfinite(upper) else math.inf


def _and(names: Sequence[str]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return plain[0] if len(plain) == 1 else ", ".join(plain[:-1]) + " and " + plain[-1]


def _all_tests(
    gamma: FloatArray,
    predicted: FloatArray,
    covariates: ArrayLike | None,
    y: ArrayLike | None,
    treated: ArrayLike | None,
    groups: int,
    patient: ArrayLike | None,
) -> Mapping[str, HeterogeneityTest]:
    units = independent_units(patient, gamma.size)

    def line() -> HeterogeneityTest:
        found = best_linear_predictor(gamma, predicted, patient=patient)
        return HeterogeneityTest(
            name="best_linear_predictor",
            statistic=found.value / found.se,
            p=found.p_one_sided,
            what="slope over its standard error, one-sided",
        )

    def targeting() -> HeterogeneityTest:
        _varying(predicted)
        found = rate(gamma, predicted, patient=patient)
        return HeterogeneityTest(
            name="autoc",
            statistic=found.value / found.se,
            p=_one_sided(found.value, found.se, units),
            what="AUTOC over its standard error, one-sided",
        )

    def by_group() -> HeterogeneityTest:
        found = group_effects(gamma, predicted, groups=groups, patient=patient)
        return HeterogeneityTest(
            name="group_effects",
            statistic=found.statistic,
            p=found.p_equal,
            what=f"Wald chi-squared that {len(found.groups)} groups are equal, p by F",
        )

    works: dict[str, Any] = {"best_linear_predictor": line, "autoc": targeting, "group_effects": by_group}
    if covariates is not None:
        works["covariates"] = lambda: covariate_test(gamma, covariates, patient=patient)
        if y is not None and treated is not None:
            works["series"] = lambda: series_test(y, treated, covariates, patient=patient)
    return {name: _made(name, work) for name, work in works.items()}
