"""Overall accuracy of predicted risks: Brier score and its parts, log loss, explained variation, Spiegelhalter's z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    FloatArray,
    IntArray,
    binary,
    dot,
    patient_codes,
    prevalence_of,
    probabilities,
    tally,
    weighted_mean,
)
from aimed.metrics.regression import weighted_quantiles
from aimed.metrics.result import Estimate, Headline, Scale, clustered, clustered_variance, two_sided_p

__all__ = [
    "BrierDecomposition",
    "brier",
    "brier_decomposition",
    "cox_snell_r2",
    "log_loss",
    "nagelkerke_r2",
    "risk_groups",
    "scaled_brier",
    "spiegelhalter",
]

_CLIP = 1e-15


def _rows(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    outcome, w = binary(y, weights)
    return outcome, probabilities("p", p, outcome.size), w


def _estimate(
    name: str,
    value: float,
    influence: FloatArray,
    y: FloatArray,
    w: FloatArray,
    patient: ArrayLike | None,
    level: float,
    bounds: tuple[float, float],
    note: str = "",
    scale: Scale = "identity",
) -> Estimate:
    used = w > 0
    return Estimate.from_influence(
        value,
        influence,
        patient,
        level=level,
        bounds=bounds,
        scale=scale,
        name=name,
        n=int(used.sum()),
        events=int(y[used].sum()),
        method=clustered("normal interval, infinitesimal jackknife", patient)
        + (", symmetric on the log scale" if scale == "log" else ""),
        note=note,
    )


def brier(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the Brier score, the mean squared difference of risk and outcome; lower is better.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Predicted probabilities of the event.
    weights : float array, shape (n,), optional
        Row weights. In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
        Coverage of the interval.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If an outcome is neither 0 nor 1, or a risk is outside [0, 1].

    References
    ----------
    Brier, Mon Weather Rev 1950;78:1.

    Notes
    -----
    Formula: sum of w (p - y)^2 over sum of w; the interval is symmetric on the log scale.
    Range: 0 (perfect) to 1; predicting the prevalence m gives m (1 - m), so that scores of populations with different
    prevalence cannot be compared.
    Assumes: rows, or patients, are independent draws from the population.
    Refuses: nothing beyond malformed input; one class is allowed. There is no interval where all rows score alike.

    Examples
    --------
    >>> brier([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.4])
    brier 0.0925 (95 % interval 0.0448 to 0.1908), n = 4
    """
    outcome, risk, w = _rows(y, p, weights)
    square = (risk - outcome) ** 2
    value = weighted_mean(square, w)
    return _estimate("brier", value, w * (square - value) / w.sum(), outcome, w, patient, level, (0, 1), scale="log")


def scaled_brier(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the Brier score against predicting the prevalence (index of prediction accuracy); 1 is perfect.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `brier`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Steyerberg et al., Epidemiology 2010;21:128. Kattan and Gerds, Diagn Progn Res 2018;2:7.

    Notes
    -----
    Formula: 1 - Brier score / (m (1 - m)), m the prevalence in the same rows.
    Range: no lower limit, to 1; 0 is no better than the prevalence, below 0 worse.
    Assumes: rows, or patients, are independent; the prevalence is estimated, and its error is in the interval.
    Refuses: a single class.

    Examples
    --------
    >>> round(scaled_brier([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.4]), 4)
    0.63
    """
    outcome, risk, w = _rows(y, p, weights)
    share = prevalence_of(outcome, w)
    square, null = (risk - outcome) ** 2, share * (1 - share)
    score = weighted_mean(square, w)
    slope = (square - score) / null - score / null**2 * (1 - 2 * share) * (outcome - share)
    return _estimate("scaled_brier", 1 - score / null, -w * slope / w.sum(), outcome, w, patient, level, (-math.inf, 1))


def _loss(y: FloatArray, p: FloatArray) -> tuple[FloatArray, str]:
    right = np.where(y == 1, p, 1 - p)
    wrong = int((right < _CLIP).sum())
    note = f"{wrong} certain but wrong risks count as {_CLIP:g} away from certain" if wrong else ""
    return -np.log(np.clip(right, _CLIP, None)), note


def log_loss(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean negative log likelihood of the outcome (logarithmic score); lower is better.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `brier`.

    Returns
    -------
    Estimate

    References
    ----------
    Good, J R Stat Soc B 1952;14:107.

    Notes
    -----
    Formula: - sum of w (y log p + (1 - y) log(1 - p)) over sum of w, natural logarithm; the interval is symmetric
    on the log scale.
    Range: 0 (perfect) upwards; a constant risk of .5 gives log 2.
    Assumes: rows, or patients, are independent. A risk of exactly 0 or 1 that turns out wrong has an infinite loss: it
    counts as 1e-15 from certain, and the note says how many there were.
    Refuses: nothing beyond malformed input.

    Examples
    --------
    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    outcome, risk, w = _rows(y, p, weights)
    loss, note = _loss(outcome, risk)
    value = weighted_mean(loss, w)
    influence = w * (loss - value) / w.sum()
    return _estimate("log_loss", value, influence, outcome, w, patient, level, (0, math.inf), note, scale="log")


def _likelihoods(y: FloatArray, p: FloatArray, w: FloatArray) -> tuple[float, float, FloatArray, FloatArray, str]:
    """Mean log likelihood of the model and of the prevalence, with their derivatives by row."""
    share = prevalence_of(y, w)
    loss, note = _loss(y, p)
    null = share * math.log(share) + (1 - share) * math.log(1 - share)
    model = -weighted_mean(loss, w)
    return (
        model,
        null,
        w * (-loss - model) / w.sum(),
        w * (y - share) * math.log(share / (1 - share)) / w.sum(),
        note,
    )


def cox_snell_r2(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Cox and Snell's share of explained variation of the risks as they are, without refitting.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `brier`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Cox and Snell, Analysis of Binary Data, 2nd ed. 1989. Riley et al., Stat Med 2019;38:1276.

    Notes
    -----
    Formula: 1 - exp(2 (l0 - l)), l the mean log likelihood of the risks and l0 that of the prevalence.
    Range: no lower limit (risks can be worse than the prevalence), to 1 - exp(2 l0), which is below 1.
    Assumes: rows, or patients, are independent. The risks are taken as they are; R's rms::val.prob prints the share of
    a model refitted on their log odds, which is never smaller.
    Refuses: a single class.

    Examples
    --------
    >>> round(cox_snell_r2([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.4]), 4)
    0.509
    """
    outcome, risk, w = _rows(y, p, weights)
    model, null, by_model, by_null, note = _likelihoods(outcome, risk, w)
    left = math.exp(2 * (null - model))
    influence = -2 * left * (by_null - by_model)
    return _estimate("cox_snell_r2", 1 - left, influence, outcome, w, patient, level, (-math.inf, 1), note)


def nagelkerke_r2(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Nagelkerke's share of explained variation of the risks as they are: Cox and Snell's over its largest.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `brier`.

    Returns
    -------
    Estimate

    Raises
    ------
    NotEstimableError
        If only one class is present.

    References
    ----------
    Nagelkerke, Biometrika 1991;78:691.

    Notes
    -----
    Formula: (1 - exp(2 (l0 - l))) / (1 - exp(2 l0)), l the mean log likelihood of the risks and l0 that of the
    prevalence.
    Range: no lower limit, to 1 (perfect); 0 is no better than the prevalence.
    Assumes: as for `cox_snell_r2`; nothing is refitted.
    Refuses: a single class.

    Examples
    --------
    >>> round(nagelkerke_r2([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.4]), 4)
    0.6786
    """
    outcome, risk, w = _rows(y, p, weights)
    model, null, by_model, by_null, note = _likelihoods(outcome, risk, w)
    left, most = math.exp(2 * (null - model)), 1 - math.exp(2 * null)
    value = (1 - left) / most
    influence = -2 * left * (by_null - by_model) / most + value * 2 * (1 - most) * by_null / most
    return _estimate("nagelkerke_r2", value, influence, outcome, w, patient, level, (-math.inf, 1), note)


def spiegelhalter(
    y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None, *, patient: ArrayLike | None = None
) -> Estimate:
    """Return Spiegelhalter's z, a test that the Brier score is what calibrated risks would give.

    Parameters
    ----------
    y, p, weights
        As for `brier`.
    patient : array, shape (n,), optional
        With it, the variance is the empirical one of patients' sums instead of the binomial one.

    Returns
    -------
    Estimate
        Value z with its two-sided p; z has no interval.

    Raises
    ------
    NotEstimableError
        If every risk is 0, 0.5 or 1: then the statistic has no variance. If there is one patient only.

    References
    ----------
    Spiegelhalter, Stat Med 1986;5:421.

    Notes
    -----
    Formula: sum of w (y - p)(1 - 2p) over the root of sum of w^2 (1 - 2p)^2 p (1 - p).
    Range: any number; standard normal when the risks are right. Negative z: the Brier score is smaller than calibrated
    risks would give, which risks that are not extreme enough do.
    Assumes: independent rows, or patients where given; it does not see every kind of miscalibration, since over- and
    underestimation at different risks can cancel.
    Refuses: risks that are all 0, 0.5 or 1, and one patient only.

    Examples
    --------
    >>> spiegelhalter([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.4])
    spiegelhalter -0.9820, p = 0.3261, n = 4
    """
    outcome, risk, w = _rows(y, p, weights)
    gap = w * (outcome - risk) * (1 - 2 * risk)
    if patient is None:
        variance = dot(w * w, (1 - 2 * risk) ** 2 * risk * (1 - risk))
        method = "normal, binomial variance of calibrated risks"
    else:
        variance, method = clustered_variance(gap, patient), "normal, empirical variance of patients"
    if patient is not None and np.ptp(patient_codes(patient, w.size)) == 0:
        raise NotEstimableError("one patient only", "the variance between patients")
    if variance <= 0:
        raise NotEstimableError("the statistic has no variance: all risks are 0, 0.5 or 1", "risks in between")
    z = float(gap.sum()) / math.sqrt(variance)
    used = w > 0
    return Estimate(
        z,
        name="spiegelhalter",
        se=1.0,
        n=int(used.sum()),
        events=int(outcome[used].sum()),
        method=method,
        p=two_sided_p(z, 1.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BrierDecomposition(Headline):
    """A Brier score split into its parts, which add up to it exactly.

    Parameters
    ----------
    brier, reliability, resolution, uncertainty : Estimate
    within_variance, within_covariance : Estimate
        What grouping risks that differ adds and takes away; 0 when groups are the distinct risks.
    corrected_reliability, corrected_resolution, corrected_uncertainty : float
        Without the bias that estimating each group's event rate brings; NaN when a group weighs no more than 1.
    groups : int
        Groups in use.

    References
    ----------
    Murphy, J Appl Meteorol 1973;12:595. Stephenson, Coelho and Jolliffe, Weather Forecast 2008;23:752. Ferro and
    Fricker, Q J R Meteorol Soc 2012;138:1954.
    """

    _headline = "brier"

    brier: Estimate
    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within_variance: Estimate
    within_covariance: Estimate
    corrected_reliability: float
    corrected_resolution: float
    corrected_uncertainty: float
    groups: int


def risk_groups(risk: FloatArray, groups: int, weights: FloatArray | None = None) -> IntArray:
    """Return a group number for each row by quantiles of risk; equal risks stay together, empty groups vanish.

    Parameters
    ----------
    risk : float array, shape (n,)
    groups : int
    weights : float array, shape (n,), optional
        Rows each row stands for.

    Examples
    --------
    >>> risk_groups(np.array([0.1, 0.2, 0.2, 0.9]), 2)
    array([0, 0, 0, 1])
    """
    levels = np.arange(1, groups) / groups
    cuts = np.quantile(risk, levels) if weights is None else weighted_quantiles(risk, weights, levels)
    codes: IntArray = np.unique(np.searchsorted(cuts, risk, side="left"), return_inverse=True)[1].astype(np.int64)
    return codes


def _groups(risk: FloatArray, w: FloatArray, groups: int | str) -> IntArray:
    if groups == "distinct":
        return np.unique(risk, return_inverse=True)[1].astype(np.int64)
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise DataError("groups is neither a whole number above 0 nor a known word", '10 or "distinct"')
    return risk_groups(risk, groups, w)


def brier_decomposition(
    y: ArrayLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    groups: int | str = 10,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> BrierDecomposition:
    """Return the Brier score as reliability - resolution + uncertainty, with the terms that grouping leaves.

    Parameters
    ----------
    y, p, weights, patient, level
        As for `brier`.
    groups : int or "distinct"
        Quantile groups of the risk (equal risks stay together), or one group for each distinct risk.

    Returns
    -------
    BrierDecomposition

    Raises
    ------
    DataError
        If groups is neither a whole number above 0 nor "distinct".

    References
    ----------
    Murphy, J Appl Meteorol 1973;12:595. Stephenson, Coelho and Jolliffe, Weather Forecast 2008;23:752.

    Notes
    -----
    Formula: reliability = mean over rows of (mean risk - event rate)^2 of the row's group; resolution = mean of (event
    rate of the group - prevalence m)^2; uncertainty = m (1 - m). Brier = reliability - resolution + uncertainty +
    within-group variance of the risk - 2 x within-group covariance of risk and outcome.
    Range: reliability 0 (calibrated) to 1; resolution 0 to the uncertainty; uncertainty 0 to 0.25.
    Assumes: rows, or patients, are independent; group borders are held fixed in the intervals. Reliability and
    resolution are biased upward in small groups; the corrected values (Ferro and Fricker 2012) are given beside them.
    Refuses: nothing beyond malformed input; with one class resolution and uncertainty are 0.

    Examples
    --------
    >>> parts = brier_decomposition([0, 1, 1, 0], [0.2, 0.8, 0.8, 0.2], groups="distinct")
    >>> round(parts.reliability, 4), parts.resolution.value, parts.uncertainty.value, parts.groups
    (0.04, 0.25, 0.25, 2)
    """
    outcome, risk, w = _rows(y, p, weights)
    code = _groups(risk, w, groups)
    size = int(code.max()) + 1
    total = float(w.sum())
    mass = tally(code, w, size)
    used = mass > 0
    safe = np.where(used, mass, 1.0)
    rate, mean = tally(code, w * outcome, size) / safe, tally(code, w * risk, size) / safe
    share = weighted_mean(outcome, w)
    gap, lift = (mean - rate)[code], (rate - share)[code]
    inner, rest = risk - mean[code], outcome - rate[code]
    parts: dict[str, tuple[FloatArray, FloatArray | float]] = {
        "reliability": (gap**2, 2 * gap * (inner - rest)),
        "resolution": (lift**2, 2 * lift * rest),
        "within_variance": (inner**2, 0.0),
        "within_covariance": (2 * inner * rest, 0.0),
    }
    found: dict[str, Estimate] = {}
    for name, (term, slope) in parts.items():
        value = weighted_mean(term, w)
        influence = w * (term - value + slope) / total
        bounds = (-math.inf, math.inf) if name == "within_covariance" else (0.0, 1.0)
        found[name] = _estimate(name, value, influence, outcome, w, patient, level, bounds)
    spread = share * (1 - share)
    found["uncertainty"] = _estimate(
        "uncertainty", spread, w * (1 - 2 * share) * (outcome - share) / total, outcome, w, patient, level, (0, 0.25)
    )
    bias = more = math.nan
    if (mass[used] > 1).all() and total > 1:
        noise = np.divide(mass * rate * (1 - rate), mass - 1, out=np.zeros(size), where=used)
        bias, more = float(noise.sum()) / total, spread / (total - 1)
    return BrierDecomposition(
        brier=brier(outcome, risk, w, patient=patient, level=level),
        **found,
        corrected_reliability=float(found["reliability"]) - bias,
        corrected_resolution=float(found["resolution"]) - bias + more,
        corrected_uncertainty=spread + more,
        groups=int(used.sum()),
    )
