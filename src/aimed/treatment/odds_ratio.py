"""From an odds ratio to absolute risk: what a relative effect means for patients of different baseline risk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, patient_codes, probabilities
from aimed.metrics.result import Estimate, clustered, clustered_variance, independent_units, normal_quantile

__all__ = [
    "RiskDifferences",
    "odds_ratio_to_risk_difference",
    "risk_differences",
    "risk_under_odds_ratio",
    "standardised_risk_difference",
]


def _odds_ratios(odds_ratio: ArrayLike) -> FloatArray:
    values = np.asarray(odds_ratio, dtype=np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(
            "an odds ratio is negative or not finite",
            "odds ratios from 0",
            "give exp(coefficient), not the coefficient",
        )
    return values


def _risks(p: ArrayLike) -> FloatArray:
    values = np.asarray(p, dtype=np.float64)
    probabilities("p", values.reshape(-1))
    return values


def risk_under_odds_ratio(p: ArrayLike, odds_ratio: ArrayLike) -> FloatArray:
    """Return the risk of a patient whose odds were multiplied.

    Parameters
    ----------
    p : float or array
        Baseline risk, 0 to 1.
    odds_ratio : float or array
        Broadcast against `p`.

    Raises
    ------
    DataError
        If a risk lies outside 0 to 1, or an odds ratio is negative.

    Examples
    --------
    >>> risk_under_odds_ratio([0.75, 0.5], 0.5).round(4)
    array([0.6   , 0.3333])
    """
    risk, ratio = np.broadcast_arrays(_risks(p), _odds_ratios(odds_ratio))
    return np.asarray(risk * ratio / (1 - risk + risk * ratio))


def odds_ratio_to_risk_difference(p: ArrayLike, odds_ratio: ArrayLike) -> FloatArray:
    """Return the absolute risk reduction of patients with baseline risk `p` under an odds ratio.

    Parameters
    ----------
    p : float or array
        Risk without treatment, 0 to 1.
    odds_ratio : float or array
        Of the event, treated over untreated; broadcast against `p`.

    Returns
    -------
    float array
        Risk without treatment less risk under treatment: above 0 the treatment saves events.

    Raises
    ------
    DataError
        If a risk lies outside 0 to 1, or an odds ratio is negative.

    Notes
    -----
    Formula: p - p OR / (1 - p + p OR).
    Range: -1 to 1; 0 at risks of 0 and 1, whatever the odds ratio.
    Assumes: an odds ratio that is the same for all, conditional on what the baseline risk is made from: an odds ratio
    of a model without covariates belongs to the mean risk only, because odds ratios do not collapse.
    Refuses: risks outside 0 to 1.

    References
    ----------
    Greenland, Am J Epidemiol 1987;125:761 (why odds ratios do not collapse).

    Examples
    --------
    >>> odds_ratio_to_risk_difference([0.75, 0.04], [0.5, 1.2]).round(8)
    array([ 0.15      , -0.00761905])
    """
    return np.asarray(_risks(p) - risk_under_odds_ratio(p, odds_ratio))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskDifferences:
    """Absolute risk reduction at each baseline risk, with the interval that the odds ratio gives it.

    Parameters
    ----------
    baseline, value, lower, upper : float arrays, shape (k,)
    level : float
    """

    baseline: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float


def _limits(odds_ratio: Estimate | float, lower: float | None, upper: float | None) -> tuple[float, float, float]:
    """Return the odds ratio and its limits."""
    if isinstance(odds_ratio, Estimate) and lower is None and upper is None:
        lower, upper = odds_ratio.lower, odds_ratio.upper
    if lower is None or upper is None or not (math.isfinite(lower) and math.isfinite(upper)):
        raise NotEstimableError(
            "an odds ratio without an interval", "an Estimate, or lower= and upper=", "give the limits of its interval"
        )
    value = float(_odds_ratios(odds_ratio))
    if not 0 < lower <= value <= upper:
        raise DataError("the limits of the odds ratio do not hold it", "0 < lower <= odds ratio <= upper")
    return value, float(lower), float(upper)


def risk_differences(
    baseline: ArrayLike,
    odds_ratio: Estimate | float,
    *,
    lower: float | None = None,
    upper: float | None = None,
    level: float = 0.95,
) -> RiskDifferences:
    """Return the absolute risk reduction at each baseline risk, with its interval.

    The reduction falls as the odds ratio rises, so the limits of the odds ratio are its limits too.

    Parameters
    ----------
    baseline : float array, shape (k,)
        Risks without treatment, taken as known.
    odds_ratio : Estimate or float
        Treated over untreated.
    lower, upper : float, optional
        Limits of the odds ratio; those of the `Estimate` when absent.
    level : float
        Their coverage, where the odds ratio is no `Estimate`.

    Raises
    ------
    NotEstimableError
        If the odds ratio has no interval.
    DataError
        If the limits do not hold the odds ratio, or a risk lies outside 0 to 1.

    Examples
    --------
    >>> found = risk_differences([0.1, 0.5], 0.5, lower=0.4, upper=0.8)
    >>> found.value.round(3), found.lower.round(3), found.upper.round(3)
    (array([0.047, 0.167]), array([0.018, 0.056]), array([0.057, 0.214]))
    """
    value, low, high = _limits(odds_ratio, lower, upper)
    risk = probabilities("baseline", baseline)
    return RiskDifferences(
        baseline=risk,
        value=odds_ratio_to_risk_difference(risk, value),
        lower=odds_ratio_to_risk_difference(risk, high),
        upper=odds_ratio_to_risk_difference(risk, low),
        level=odds_ratio.level if isinstance(odds_ratio, Estimate) else level,
    )


def standardised_risk_difference(
    baseline: ArrayLike,
    odds_ratio: Estimate | float,
    *,
    lower: float | None = None,
    upper: float | None = None,
    method: Literal["ends", "delta"] = "ends",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean absolute risk reduction over patients with these baseline risks.

    Parameters
    ----------
    baseline : float array, shape (n,)
        Risk of each patient without treatment, as predicted.
    odds_ratio, lower, upper
        As for `risk_differences`.
    method : {"ends", "delta"}
        ``"ends"``: the mean reduction at either limit of the odds ratio, for exactly these patients. ``"delta"``: the
        normal interval with the error of the log odds ratio and that of having drawn these patients from others.
    patient : array, shape (n,), optional
        Rows of one patient are dependent; for ``"delta"``.
    level : float
        Coverage of the limits of the odds ratio (where it is no `Estimate`), and of the interval.

    Returns
    -------
    Estimate
        Above 0 the treatment saves events.

    Raises
    ------
    NotEstimableError, DataError
        As for `risk_differences`.

    Notes
    -----
    Formula: mean of `odds_ratio_to_risk_difference` over patients. Delta method: its slope in the log odds ratio is
    minus the mean of q (1 - q), with q the risk under treatment.
    Range: -1 to 1.
    Assumes: predicted baseline risks are right; their own error is not in the interval. One conditional odds ratio for
    all.
    Refuses: an odds ratio without an interval.

    References
    ----------
    Localio, Margolis and Berlin, J Clin Epidemiol 2007;60:874.

    Examples
    --------
    >>> standardised_risk_difference([0.2, 0.4, 0.6], 0.5, lower=0.4, upper=0.8)
    standardised_risk_reduction 0.1368 (95 % interval 0.0467 to 0.1745), n = 3
    """
    at = risk_differences(baseline, odds_ratio, lower=lower, upper=upper, level=level)
    value, low, high = _limits(odds_ratio, lower, upper)
    n, name = at.baseline.size, "standardised_risk_reduction"
    mean = float(at.value.mean())
    if method == "ends":
        return Estimate(
            mean,
            name=name,
            lower=float(at.lower.mean()),
            upper=float(at.upper.mean()),
            n=n,
            level=at.level,
            method="mean over these patients at either limit of the odds ratio, which it falls with",
            note="baseline risks are taken as known",
        )
    if method != "delta":
        raise DataError("method is neither 'ends' nor 'delta'", "'ends' or 'delta'")
    error = math.log(high / low) / (2 * normal_quantile(at.level))
    q = risk_under_odds_ratio(at.baseline, value)
    slope = float((q * (1 - q)).mean())
    who = None if patient is None else patient_codes(patient, n)
    psi = (at.value - mean) / n
    return Estimate.normal(
        mean,
        math.sqrt((slope * error) ** 2 + clustered_variance(psi, who)),
        units=None if who is None else independent_units(who, n),
        bounds=(-1, 1),
        name=name,
        n=n,
        level=at.level,
        method=clustered("delta method: error of the log odds ratio and of the sample of patients", patient),
        note="baseline risks are taken as known, and as independent of the odds ratio",
    )
