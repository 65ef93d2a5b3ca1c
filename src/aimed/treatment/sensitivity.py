"""Sensitivity: how strong an unmeasured confounder, or how different the missing outcomes, would have to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, cross_products, patient_codes, row_dot, vector
from aimed.metrics.result import (
    Estimate,
    checked_level,
    clustered,
    clustered_variance,
    independent_units,
    quantile_of_units,
    two_sided_p,
)
from aimed.treatment.arms import as_arms
from aimed.treatment.nuisances import Nuisances, as_columns, is_binary
from aimed.treatment.rates import Better, checked_better

__all__ = [
    "Benchmark",
    "EValue",
    "MissingOutcomes",
    "Robustness",
    "bounding_factor",
    "bounding_table",
    "e_value",
    "missing_outcomes",
    "robustness",
    "robustness_value",
]

Scale: TypeAlias = Literal["risk_ratio", "odds_ratio", "hazard_ratio", "difference"]
"""What an effect is measured by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EValue:
    """How strong an unmeasured confounder would have to be, on the risk ratio scale.

    Parameters
    ----------
    value : float
        Least risk ratio with which a confounder would have to be tied to both treatment and outcome, beyond what was
        adjusted for, to explain the estimate away.
    limit : float
        The same for the limit of the interval nearer to no effect; 1 where the interval holds it, NaN without interval.
    risk_ratio, lower, upper : float
        The estimate and its interval as risk ratios.
    sentence : str
    note : str

    Examples
    --------
    >>> found = e_value(3.9, lower=1.8, upper=8.7)
    >>> round(found.value, 2), round(found.limit, 2)
    (7.26, 3.0)
    """

    value: float
    limit: float
    risk_ratio: float
    lower: float
    upper: float
    sentence: str
    note: str = ""


def _of(ratio: float) -> float:
    away = max(ratio, 1 / ratio)
    return away + math.sqrt(away * (away - 1))


def _as_risk_ratio(value: float, measure: Scale, rare: bool) -> float:
    if rare or measure == "risk_ratio":
        return value
    if measure == "odds_ratio":
        return math.sqrt(value)
    # (1 - .5^sqrt(h)) / (1 - .5^sqrt(1/h)), written so that it keeps its digits.
    half = math.log(0.5)
    return math.expm1(half * math.sqrt(value)) / math.expm1(half / math.sqrt(value))


def e_value(
    estimate: Estimate | float,
    *,
    lower: float | None = None,
    upper: float | None = None,
    measure: Scale = "risk_ratio",
    rare: bool = False,
    sd: float | None = None,
    se: float | None = None,
    null: float | None = None,
) -> EValue:
    """Return the E-value of an estimate and of its interval.

    Parameters
    ----------
    estimate : Estimate or float
        Treated over control, or treated less control for ``"difference"``.
    lower, upper : float, optional
        Its interval; that of the `Estimate` when absent.
    measure : {"risk_ratio", "odds_ratio", "hazard_ratio", "difference"}
    rare : bool
        Whether the event is rare (below 15 % at the end of follow-up): odds and hazard ratios are then risk ratios.
        Otherwise the square root of an odds ratio stands in, and its counterpart for a hazard ratio.
    sd : float, optional
        For ``"difference"``: standard deviation of the outcome; a standardised difference d is taken as a risk ratio of
        exp(0.91 d). 1 for a difference that is standardised already.
    se : float, optional
        For ``"difference"`` without limits: its standard error, which gives limits of exp(0.91 d -+ 1.78 se / sd).
    null : float, optional
        True effect against which is judged, on the risk ratio scale; 1 when absent.

    Returns
    -------
    EValue

    Raises
    ------
    DataError
        If a ratio is not above 0, the limits do not hold the estimate, or a difference comes without `sd`.

    Notes
    -----
    Formula: RR + sqrt(RR (RR - 1)) for RR above 1, of 1 / RR below.
    Range: from 1, where no confounding is needed.
    Assumes: nothing about the confounder; it is the least strength, with the confounder tied to both as strongly. Other
    biases, such as selection and measurement, are not in it. Differences and common events rest on approximations.
    Refuses: ratios of 0 or below.

    References
    ----------
    VanderWeele and Ding, Ann Intern Med 2017;167:268. VanderWeele, Biometrics 2020;76:746 (hazard ratios).

    Examples
    --------
    >>> print(e_value(0.8, lower=0.71, upper=0.91).sentence)
    An unmeasured confounder tied to both treatment and outcome by risk ratios of 1.81 each could explain the estimate \
away, a weaker one could not; for the interval 1.43 each.
    """
    if measure not in ("risk_ratio", "odds_ratio", "hazard_ratio", "difference"):
        raise DataError("measure is not known", "'risk_ratio', 'odds_ratio', 'hazard_ratio' or 'difference'")
    low, high = (
        getattr(estimate, end, math.nan) if given is None else float(given)
        for end, given in (("lower", lower), ("upper", upper))
    )
    value, note = float(estimate), ""
    if measure == "difference":
        if sd is None or not sd > 0:
            raise DataError(
                "a difference without the standard deviation of the outcome", "sd > 0", "give sd=, or 1 if standardised"
            )
        given_se = se if se is not None else getattr(estimate, "se", math.nan)
        if math.isnan(low) and math.isnan(high) and given_se is not None and math.isfinite(given_se):
            low, high = value - 1.78 / 0.91 * given_se, value + 1.78 / 0.91 * given_se
        value, low, high = (math.exp(0.91 * v / sd) for v in (value, low, high))
        note = "a standardised difference was taken as a risk ratio: an approximation"
    else:
        if not (math.isfinite(value) and value > 0) or low < 0 or high <= 0:
            raise DataError("a ratio is not above 0", "ratios above 0", "give exp(coefficient), not the coefficient")
        if measure != "risk_ratio" and not rare:
            note = f"a common event: the {measure.replace('_', ' ')} was turned into a risk ratio by an approximation"
        # A lower limit of 0 stays 0 on every scale.
        value, low, high = (_as_risk_ratio(v, measure, rare) if v > 0 else v for v in (value, low, high))
    if low > value or high < value:
        raise DataError("the limits do not hold the estimate", "lower <= estimate <= upper")
    at = 1.0 if null is None else float(null)
    if not at > 0:
        raise DataError("null is not above 0", "a risk ratio")
    ratio = value / at
    near = (low if ratio > 1 else high) / at
    held = ratio == 1 or (near <= 1) == (ratio > 1)
    limit = math.nan if math.isnan(near) else 1.0 if held else _of(near)
    found = _of(ratio)
    said = (
        f"An unmeasured confounder tied to both treatment and outcome by risk ratios of {found:.2f} each could explain "
        "the estimate away, a weaker one could not"
        if found > 1
        else "The estimate shows no effect: nothing has to be explained away"
    )
    if limit == 1:
        said += "; the interval holds no effect already"
    elif limit == limit:
        said += f"; for the interval {limit:.2f} each"
    return EValue(value=found, limit=limit, risk_ratio=value, lower=low, upper=high, sentence=f"{said}.", note=note)


def bounding_factor(treatment_ratio: ArrayLike, outcome_ratio: ArrayLike) -> FloatArray:
    """Return the most by which a confounder of given strength can multiply a risk ratio.

    Parameters
    ----------
    treatment_ratio, outcome_ratio : float or array
        Risk ratio, from 1, that ties the confounder to treatment, and to the outcome.

    Raises
    ------
    DataError
        If a ratio is below 1: turn it over.

    Notes
    -----
    Formula: a b / (a + b - 1). Divide an estimate above 1 by it (multiply one below 1) for the smallest effect that
    such a confounder leaves.

    References
    ----------
    Ding and VanderWeele, Epidemiology 2016;27:368.

    Examples
    --------
    >>> bounding_factor(2, [1, 2, 4]).round(3)
    array([1.   , 1.333, 1.6  ])
    """
    a, b = np.broadcast_arrays(
        np.asarray(treatment_ratio, dtype=np.float64), np.asarray(outcome_ratio, dtype=np.float64)
    )
    if not ((a >= 1) & (b >= 1) & np.isfinite(a) & np.isfinite(b)).all():
        raise DataError("a risk ratio is below 1 or not finite", "ratios from 1", "turn a ratio below 1 over")
    return np.asarray(a * b / (a + b - 1))


def bounding_table(
    estimate: Estimate | float,
    *,
    lower: float | None = None,
    upper: float | None = None,
    strengths: Sequence[float] = (1.25, 1.5, 2.0, 3.0, 5.0),
) -> list[dict[str, float]]:
    """Return what is left of a risk ratio and its interval under confounders of several strengths.

    Parameters
    ----------
    estimate : Estimate or float
        Risk ratio.
    lower, upper : float, optional
        Its interval; that of the `Estimate` when absent.
    strengths : sequence of float
        Risk ratios, from 1, of confounder with treatment and with outcome: all pairs.

    Returns
    -------
    list of dict
        ``treatment_ratio``, ``outcome_ratio``, ``factor``, ``value``, ``lower``, ``upper``, moved towards 1 and maybe
        past it, since it is a bound.

    Raises
    ------
    DataError
        If the estimate is not above 0, or a strength is below 1.

    Examples
    --------
    >>> bounding_table(2.0, lower=1.5, upper=2.7, strengths=[2.0])[0]["value"]
    1.5
    """
    value = float(estimate)
    low, high = (
        getattr(estimate, end, math.nan) if given is None else float(given)
        for end, given in (("lower", lower), ("upper", upper))
    )
    if not (math.isfinite(value) and value > 0):
        raise DataError("a risk ratio is not above 0", "a ratio above 0")
    rows = []
    for a in strengths:
        for b in strengths:
            factor = float(bounding_factor(a, b))
            by = 1 / factor if value >= 1 else factor
            rows.append(
                {
                    "treatment_ratio": float(a),
                    "outcome_ratio": float(b),
                    "factor": factor,
                    "value": value * by,
                    "lower": low * by,
                    "upper": high * by,
                }
            )
    return rows


def robustness_value(t: float, df: int, *, q: float = 1.0, alpha: float | None = None, inflation: float = 1.0) -> float:
    """Return the share of variance a confounder must explain, of treatment and of outcome alike, to undo an effect.

    Parameters
    ----------
    t : float
        t value of the treatment's coefficient, classical error.
    df : int
        Residual degrees of freedom.
    q : float
        Share of the estimate to be undone: 1 brings it to 0.
    alpha : float, optional
        Bring the interval of coverage 1 - alpha to 0 instead of the estimate.
    inflation : float
        Robust over classical standard error, where the interval is a robust one.

    Raises
    ------
    DataError
        If df is below 2 or q not above 0.

    Notes
    -----
    Formula: (sqrt(f^4 + 4 f^2) - f^2) / 2 with f = q |t| / sqrt(df); with alpha f less the critical t over
    sqrt(df - 1), 0 where that is negative.
    Range: 0 to 1.

    References
    ----------
    Cinelli and Hazlett, J R Stat Soc B 2020;82:39.

    Examples
    --------
    >>> round(robustness_value(4.18445, 783), 3), round(robustness_value(4.18445, 783, alpha=0.05), 3)
    (0.139, 0.076)
    """
    if df < 2 or not q > 0:
        raise DataError("df is below 2, or q is not above 0", "df >= 2 and q > 0")
    f = q * abs(t) / math.sqrt(df)
    if alpha is None:
        return (math.sqrt(f**4 + 4 * f**2) - f**2) / 2
    critical = inflation * float(stats.t.isf(checked_level(alpha, "alpha") / 2, df - 1)) / math.sqrt(df - 1)
    left = f - critical
    if left <= 0:
        return 0.0
    if f > 1 / critical:
        # The confounder that does most harm explains the treatment less than wholly.
        return (f**2 - critical**2) / (1 + f**2)
    return (math.sqrt(left**4 + 4 * left**2) - left**2) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The effect that a confounder leaves which is some times as strong as an observed covariate.

    Parameters
    ----------
    covariate : str
    times : float
        How many times as strong.
    r2_treatment, r2_outcome : float
        Partial R2 of such a confounder with treatment, and with the outcome given treatment.
    effect, se, lower, upper : float
        What would be estimated with it, on the side towards 0.
    note : str
    """

    covariate: str
    times: float
    r2_treatment: float
    r2_outcome: float
    effect: float
    se: float
    lower: float
    upper: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robustness:
    """How robust a linear effect is to an unmeasured confounder.

    Parameters
    ----------
    effect : Estimate
        Coefficient of treatment.
    partial_r2 : float
        Share of the outcome's residual variance that treatment explains: a confounder that explains all the rest of the
        outcome must explain as much of treatment to undo the effect.
    value : float
        Robustness value of the estimate.
    limit : float
        Robustness value of the interval.
    df : int
    benchmarks : tuple of Benchmark
    sentence : str
    """

    effect: Estimate
    partial_r2: float
    value: float
    limit: float
    df: int
    benchmarks: tuple[Benchmark, ...]
    sentence: str


def _least_squares(design: FloatArray, outcome: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return coefficients, residuals and the inverse of the cross products."""
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise NotEstimableError(
            "columns that others determine", "columns that vary on their own", "drop constant and repeated columns"
        )
    inverse: FloatArray = np.asarray(np.linalg.inv(cross_products(design, design)), dtype=np.float64)
    beta = inverse @ cross_products(design, outcome[:, None])[:, 0]
    return beta, outcome - row_dot(design, beta), inverse


def _partial_r2(design: FloatArray, outcome: FloatArray, columns: Sequence[int]) -> float:
    """Return the share of the variance left by the other columns that these explain."""
    _, full, _ = _least_squares(design, outcome)
    rest = np.delete(design, list(columns), axis=1)
    _, short, _ = _least_squares(rest, outcome)
    before = float(np.einsum("i,i", short, short))
    return 1 - float(np.einsum("i,i", full, full)) / before if before > 0 else 0.0


def robustness(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike,
    *,
    nuisances: Nuisances | None = None,
    names: Sequence[str] | None = None,
    benchmarks: Mapping[str, Sequence[int]] | Sequence[str] | None = None,
    times: Sequence[float] = (1.0, 2.0, 3.0),
    q: float = 1.0,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Robustness:
    """Return how strong a confounder must be, in explained variance, to undo a linear effect, with benchmarks.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome, taken as continuous.
    T : 0/1 array, shape (n,)
    X : float array, shape (n, p)
        Covariates adjusted for.
    nuisances : Nuisances, optional
        With them the effect is that of the partially linear model: residual on residual, both cross-fitted. Benchmarks
        stay those of the linear model.
    names : sequence of str, optional
        Of the columns of X; x0, x1, ... when absent.
    benchmarks : mapping of str to column numbers, or names, optional
        Covariates, or groups of columns, against which a confounder is measured; every column when absent.
    times : sequence of float
        How many times as strong as the covariate.
    q : float
        Share of the estimate to be undone.
    patient : array, shape (n,), optional
        Rows of one patient are dependent: the interval, and the robustness value of its limit, use clustered errors.
    level : float

    Returns
    -------
    Robustness

    Raises
    ------
    NotEstimableError
        If columns determine each other, or leave no residual degrees of freedom.
    DataError
        If shapes differ or a benchmark is not a column.

    Notes
    -----
    Formula: robustness value as in `robustness_value`; a confounder k times as strong as covariate j has
    R2 with treatment k f2 and, with the outcome, the bound of Cinelli and Hazlett on observed covariates; the
    effect moves towards 0 by sqrt(R2y R2d / (1 - R2d)) se sqrt(df).
    Range: 0 to 1.
    Assumes: the linear (or partially linear) model; one confounder, linear in its effects, of whatever sign hurts.
    Refuses: collinear columns.

    References
    ----------
    Cinelli and Hazlett, J R Stat Soc B 2020;82:39. Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis, Long story
    short, NBER 30302, 2022.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> T = (X[:, 0] + rng.normal(size=500) > 0).astype(int)
    >>> found = robustness(T + X @ [1.0, 0.5] + rng.normal(size=500), T, X, names=["age", "bmi"])
    >>> round(found.value, 2), len(found.benchmarks)
    (0.31, 6)
    """
    y = vector("Y", Y)
    n = y.size
    arm, table = as_arms(T, n).astype(np.float64), as_columns(X, n=n)
    called = [f"x{j}" for j in range(table.shape[1])] if names is None else list(names)
    if len(called) != table.shape[1]:
        raise DataError(f"{len(called)} names for {table.shape[1]} columns", "one name a column")
    who = None if patient is None else patient_codes(patient, n)
    design = np.column_stack([arm, np.ones(n), table])
    df = n - design.shape[1]
    if df < 3:
        raise NotEstimableError(f"{df} residual degrees of freedom", "more rows than columns, by at least 3")
    if nuisances is None:
        beta, rest, inverse = _least_squares(design, y)
        effect, unscaled = float(beta[0]), float(inverse[0, 0])
        lever = np.einsum("ij,jk,ik->i", design, inverse, design)
        psi = row_dot(design, inverse)[:, 0] * rest / np.sqrt(np.maximum(1 - lever, 1e-8))
        how = "least squares, HC2"
    else:
        treated, outcome = arm - nuisances.propensity, y - nuisances.m
        unscaled = 1 / float(np.einsum("i,i", treated, treated))
        effect = unscaled * float(np.einsum("i,i", treated, outcome))
        rest, df, how = outcome - effect * treated, n - 1, "partially linear model, residual on residual, cross-fitted"
        psi = unscaled * treated * rest
    classical = math.sqrt(unscaled * float(np.einsum("i,i", rest, rest)) / df)
    if not classical > 0:
        raise NotEstimableError("an outcome without residual variance", "an outcome that is not determined by X and T")
    se = math.sqrt(clustered_variance(psi, who))
    units = None if who is None else independent_units(who, n)
    t = effect / classical
    estimate = Estimate.normal(
        effect,
        se,
        units=units,
        level=level,
        name="effect",
        n=n,
        p=two_sided_p(effect, se, units),
        method=clustered(how, patient),
        influence=psi,
    )
    factor = float(quantile_of_units(level, units))
    # The robust interval in units of the classical one: what the critical value is multiplied by.
    inflation = factor * se / (classical * float(stats.t.isf((1 - level) / 2, df - 1)))
    value, limit = robustness_value(t, df, q=q), robustness_value(t, df, q=q, alpha=1 - level, inflation=inflation)
    rows = tuple(
        _benchmark(name, columns, k, design, y, arm, effect, classical, df, factor * se / classical)
        for name, columns in _groups(benchmarks, called).items()
        for k in times
    )
    undo = "to 0" if q == 1 else f"by {100 * q:g} %"
    return Robustness(
        effect=estimate,
        partial_r2=t * t / (t * t + df),
        value=value,
        limit=limit,
        df=df,
        benchmarks=rows,
        sentence=(
            f"A confounder that explains {100 * value:.1f} % of what is left of both treatment and outcome would bring "
            f"the estimate {undo}; {100 * limit:.1f} % would be enough for its {100 * level:g} % interval."
        ),
    )


def _groups(benchmarks: Mapping[str, Sequence[int]] | Sequence[str] | None, names: list[str]) -> dict[str, list[int]]:
    if benchmarks is None:
        return {name: [j] for j, name in enumerate(names)}
    if isinstance(benchmarks, Mapping):
        groups = {name: [int(j) for j in columns] for name, columns in benchmarks.items()}
    else:
        unknown = [name for name in benchmarks if name not in names]
        if unknown:
            raise DataError(f"{len(unknown)} benchmarks are no columns of X", "names of columns")
        groups = {name: [names.index(name)] for name in benchmarks}
    if any(not columns or min(columns) < 0 or max(columns) >= len(names) for columns in groups.values()):
        raise DataError("a benchmark names columns that are not there", f"numbers from 0 to {len(names) - 1}")
    return groups


def _benchmark(
    name: str,
    columns: Sequence[int],
    times: float,
    design: FloatArray,
    y: FloatArray,
    arm: FloatArray,
    effect: float,
    classical: float,
    df: int,
    half: float,
) -> Benchmark:
    at = [j + 2 for j in columns]
    of_treatment = _partial_r2(design[:, 1:], arm, [j - 1 for j in at])
    of_outcome = _partial_r2(design, y, at)
    r2d = times * of_treatment / (1 - of_treatment) if of_treatment < 1 else math.inf
    nothing = dict.fromkeys(("effect", "se", "lower", "upper"), math.nan)
    if not r2d < 1 or not times * of_treatment < 1:
        why = "not possible: so strong a confounder would explain treatment wholly"
        return Benchmark(covariate=name, times=times, r2_treatment=1.0, r2_outcome=math.nan, note=why, **nothing)
    shared = times * of_treatment**2 / ((1 - times * of_treatment) * (1 - of_treatment))
    if not shared < 1:
        why = "not possible: so strong a confounder would explain treatment wholly"
        return Benchmark(covariate=name, times=times, r2_treatment=r2d, r2_outcome=math.nan, note=why, **nothing)
    r2y = ((math.sqrt(times) + math.sqrt(shared)) / math.sqrt(1 - shared)) ** 2 * of_outcome / (1 - of_outcome)
    note = "" if r2y <= 1 else "so strong a confounder would explain the outcome wholly"
    r2y = min(r2y, 1.0)
    moved = math.copysign(math.sqrt(r2y * r2d / (1 - r2d)) * classical * math.sqrt(df), effect)
    se = classical * math.sqrt((1 - r2y) / (1 - r2d)) * math.sqrt(df / (df - 1))
    left = effect - moved
    return Benchmark(
        covariate=name,
        times=times,
        r2_treatment=r2d,
        r2_outcome=r2y,
        effect=left,
        se=se,
        lower=left - half * se,
        upper=left + half * se,
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MissingOutcomes:
    """What missing outcomes could do to the effect of a trial.

    Parameters
    ----------
    missing_treated, missing_control : int
        Rows without an outcome.
    complete : Estimate
        Difference of the observed outcomes, treated less control: right where outcomes are missing at random within
        arms.
    lowest, highest : Estimate or None
        The difference when all missing outcomes are the most favourable and unfavourable there are (0/1 outcomes, or
        outcomes with `bounds`); the true one lies between them whatever the reason for missingness.
    table : list of dict
        The difference when missing outcomes of the treated lie by ``delta_treated``, of controls by ``delta_control``,
        above the mean observed in their arm.
    tipping : float or None
        Least shift of the missing outcomes of the treated alone, against the finding, at which the interval holds 0;
        None where it holds 0 already or no possible shift is enough.
    tipping_both : float or None
        The same where the missing controls shift by as much the other way.
    sentence : str
    better : {"lower", "higher"}
    n : int
    """

    missing_treated: int
    missing_control: int
    complete: Estimate
    lowest: Estimate | None
    highest: Estimate | None
    table: list[dict[str, float]]
    tipping: float | None
    tipping_both: float | None
    sentence: str
    better: Better
    n: int

    @property
    def worst(self) -> Estimate | None:
        """The difference least in favour of treatment."""
        return self.highest if self.better == "lower" else self.lowest

    @property
    def best(self) -> Estimate | None:
        """The difference most in favour of treatment."""
        return self.lowest if self.better == "lower" else self.highest


def missing_outcomes(
    Y: ArrayLike,
    T: ArrayLike,
    *,
    deltas: Sequence[float] | None = None,
    bounds: tuple[float, float] | None = None,
    patient: ArrayLike | None = None,
    better: Better = "lower",
    level: float = 0.95,
) -> MissingOutcomes:
    """Return how far the missing outcomes of a trial could change its result.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome; NaN where it is missing.
    T : 0/1 array, shape (n,)
        All patients who were randomised.
    deltas : sequence of float, optional
        Shifts of the mean of missing outcomes from the mean observed in the arm, for the table; five in either
        direction up to half a standard deviation (or, for 0/1 outcomes, up to 0.2) when absent.
    bounds : (float, float), optional
        Least and largest possible outcome; (0, 1) for 0/1 outcomes.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    better : {"lower", "higher"}
    level : float

    Returns
    -------
    MissingOutcomes

    Raises
    ------
    NotEstimableError
        If an arm has no observed outcome.
    DataError
        If outcomes are infinite or lie outside the bounds.

    Notes
    -----
    Formula: mean of an arm = observed mean + share missing x delta, with the error of both. Best and worst case put
    every missing outcome on a bound.
    Range: that of a difference of outcomes.
    Assumes: the arms were randomised; within an arm the missing differ from the observed by delta on average.
    Refuses: an arm without outcomes.

    References
    ----------
    Manski, Am Econ Rev 1990;80:319 (bounds). Cro et al., Stat Med 2020;39:2815 (delta adjustment). Yan, Lee and Li,
    J Biopharm Stat 2009;19:1085 (tipping point).

    Examples
    --------
    >>> Y = np.r_[np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0, np.nan], [15, 75, 10])]
    >>> found = missing_outcomes(Y, np.repeat([0, 1], 100))
    >>> found.missing_treated, round(found.lowest, 2), round(found.highest, 2)
    (10, -0.15, -0.05)
    """
    checked_better(better)
    checked_level(level)
    raw = np.asarray(Y, dtype=np.float64)
    if raw.ndim != 1 or raw.size == 0:
        raise DataError(f"Y has shape {raw.shape}", "a vector with one outcome a row, NaN where missing")
    if np.isinf(raw).any():
        raise DataError("Y has infinite outcomes", "numbers, NaN where missing")
    n = raw.size
    arm, gone = as_arms(T, n), np.isnan(raw)
    for active, name in ((True, "treated"), (False, "control")):
        if gone[arm == active].all():
            raise NotEstimableError(
                f"no {name} row has an outcome", "outcomes in both arms", "check how the outcome was joined"
            )
    seen = raw[~gone]
    binary = is_binary(seen)
    limits = (0.0, 1.0) if binary and bounds is None else bounds
    if limits is not None and (not limits[0] < limits[1] or seen.min() < limits[0] or seen.max() > limits[1]):
        raise DataError("outcomes lie outside the bounds", "bounds that hold every outcome")
    who = None if patient is None else patient_codes(patient, n)
    arms = {active: _ArmWithGaps.of(raw, arm == active, gone) for active in (True, False)}
    events = int(seen.sum()) if binary else None

    def difference(treated: float, control: float, name: str, *, fixed: bool = False) -> Estimate:
        (m1, psi1), (m0, psi0) = arms[True].mean(treated, fixed), arms[False].mean(control, fixed)
        psi = psi1 - psi0
        se, units = math.sqrt(clustered_variance(psi, who)), None if who is None else independent_units(who, n)
        p = two_sided_p(m1 - m0, se, units)
        return Estimate.normal(
            m1 - m0,
            se,
            units=units,
            level=level,
            name=name,
            n=n,
            events=events,
            p=None if math.isnan(p) else p,
            method=clustered("normal, infinitesimal jackknife", patient),
            influence=psi,
        )

    complete = difference(0.0, 0.0, "difference")
    ends: list[Estimate | None] = [None, None]
    room = dict.fromkeys((True, False), (-math.inf, math.inf))
    if limits is not None:
        room = {active: (limits[0] - one.observed, limits[1] - one.observed) for active, one in arms.items()}
        ends = [
            difference(limits[k], limits[1 - k], f"{word}_possible_difference", fixed=True)
            for k, word in ((0, "lowest"), (1, "highest"))
        ]
    if deltas is None:
        reach = 0.2 if binary else 0.5 * float(seen.std())
        deltas = np.linspace(-reach, reach, 11).round(12).tolist()
    table = []
    for shift in deltas:
        for other in deltas:
            at = difference(_within(shift, room[True]), _within(other, room[False]), "difference")
            table.append(
                {
                    "delta_treated": float(shift),
                    "delta_control": float(other),
                    "value": float(at),
                    "lower": at.lower,
                    "upper": at.upper,
                }
            )
    against = -math.copysign(1.0, complete)
    tips = [_tipping(difference, against, room, both, arms) for both in (False, True)]
    return MissingOutcomes(
        missing_treated=int((gone & arm).sum()),
        missing_control=int((gone & ~arm).sum()),
        complete=complete,
        lowest=ends[0],
        highest=ends[1],
        table=table,
        tipping=tips[0],
        tipping_both=tips[1],
        sentence=_said(complete, ends, tips, arms),
        better=better,
        n=n,
    )


def _within(value: float, room: tuple[float, float]) -> float:
    return min(max(float(value), room[0]), room[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _ArmWithGaps:
    member: BoolArray
    gone: BoolArray
    observed: float
    share: float
    influence: FloatArray

    @classmethod
    def of(cls, Y: FloatArray, member: BoolArray, gone: BoolArray) -> _ArmWithGaps:
        there = member & ~gone
        mean, m = float(Y[there].mean()), int(there.sum())
        influence = np.where(there, (np.where(gone, 0.0, Y) - mean) / m, 0.0)
        share = float(gone[member].mean())
        return cls(member=member, gone=gone, observed=mean, share=share, influence=influence)

    def mean(self, missing: float, fixed: bool) -> tuple[float, FloatArray]:
        """Return the mean of the arm and its influence.

        The missing lie by `missing` above the mean of the observed, or have this value where it is fixed.
        """
        delta = missing - self.observed if fixed else missing
        share = np.where(self.member, (self.gone - self.share) / self.member.sum(), 0.0)
        # A fixed value does not move with the mean of the observed.
        weight = 1 - self.share if fixed else 1.0
        return self.observed + self.share * delta, weight * self.influence + delta * share


def _tipping(
    difference: Any,
    against: float,
    room: Mapping[bool, tuple[float, float]],
    both: bool,
    arms: Mapping[bool, _ArmWithGaps],
) -> float | None:
    """Return the least shift at which the interval holds 0; None where it does already, or never does."""

    def past(shift: float) -> float:
        at = difference(against * shift, -against * shift if both else 0.0, "difference")
        return float(at.upper if against > 0 else -at.lower)

    start = past(0.0)
    if not math.isfinite(start) or start >= 0 or not (arms[True].share or (both and arms[False].share)):
        return None
    most = max(abs(room[True][int(against > 0)]), 0.0)
    if both:
        most = min(most, abs(room[False][int(against < 0)])) if arms[False].share else most
    if math.isinf(most):
        most = 1.0
        while past(most) < 0 and most < 1e12:
            most *= 2
    if past(most) < 0:
        return None
    return against * float(optimize.brentq(past, 0.0, most))


def _said(
    complete: Estimate, ends: Sequence[Estimate | None], tips: Sequence[float | None], arms: Mapping[bool, _ArmWithGaps]
) -> str:
    if not any(one.share for one in arms.values()):
        return "No outcome is missing."
    share = {a: f"{100 * one.share:.1f} %" for a, one in arms.items()}
    said = f"Outcomes are missing in {share[True]} of the treated and {share[False]} of the controls"
    low, high = ends
    if low is not None and high is not None:
        said += f"; whatever they are, the difference lies between {low:.3g} and {high:.3g}"
    if complete.lower <= 0 <= complete.upper:
        return f"{said}; the interval of the observed outcomes holds 0 already."
    if tips[0] is None:
        return f"{said}; no possible shift of the missing treated outcomes alone brings the interval to 0."
    return (
        f"{said}; the interval reaches 0 if the missing treated outcomes lie {abs(tips[0]):.3g} "
        f"{'above' if tips[0] > 0 else 'below'} the observed ones on average."
    )
