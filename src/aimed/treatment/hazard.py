"""Hazard ratio of a treatment, adjusted and stratified, with a robust error and what it may not be read as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, labels, level_codes, row_dot, survival
from aimed.metrics.kernels.regressions import cox_influence, cox_pass
from aimed.metrics.nonparametric import LogRank, kaplan_meier, log_rank
from aimed.metrics.result import (
    Described,
    Estimate,
    clustered,
    clustered_variance,
    independent_units,
    notes,
    two_sided_p,
)
from aimed.treatment.arms import as_arms
from aimed.treatment.censored import independent_columns
from aimed.treatment.nuisances import as_columns

__all__ = ["SELECTION", "HazardRatio", "hazard_ratio"]

SELECTION = (
    "a hazard ratio compares those still free of the event, whom treatment itself has selected: it is not a causal "
    "contrast, even in a trial; read the risk difference or the event-free time beside it"
)
"""What must stand beside every hazard ratio."""

_STEPS = 40
_HALVINGS = 30
_SMALL = 1e-20
_FLAT = 1e-6
_ALARM = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HazardRatio(Described):
    """A hazard ratio with its robust interval, and the tests beside it.

    Parameters
    ----------
    ratio : Estimate
        Hazard under treatment over hazard under control; the interval is symmetric on the log scale.
    log_ratio : Estimate
        Its logarithm, with the influence of each row, shape (n,).
    model_se : float
        Error of the log ratio if the model is right and rows are independent.
    log_rank : LogRank
        Test of equal survival in the arms, within strata.
    proportional_statistic, proportional_p : float
        Test that the ratio does not change with time, chi-squared with 1 degree of freedom.
    """

    _headline = "ratio"

    ratio: Estimate
    log_ratio: Estimate
    model_se: float
    log_rank: LogRank
    proportional_statistic: float
    proportional_p: float


class _Stratum(NamedTuple):
    """Rows of one stratum in order of time, without those that leave before its first event."""

    rows: IntArray
    x: FloatArray
    dead: BoolArray
    starts: IntArray
    times: FloatArray

    @classmethod
    def of(cls, rows: IntArray, event: BoolArray, time: FloatArray, x: FloatArray) -> _Stratum:
        times = np.unique(time[rows][event[rows]])
        place = np.searchsorted(times, time[rows], side="right")
        order = np.flatnonzero(place > 0)
        order = order[np.argsort(place[order], kind="stable")]
        starts = np.searchsorted(place[order], np.arange(times.size + 1) + 1).astype(np.int64)
        kept = rows[order]
        return cls(kept, np.ascontiguousarray(x[kept]), np.ascontiguousarray(event[kept]), starts, times)


def _likelihood(strata: list[_Stratum], beta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Partial log likelihood, its gradient and information."""
    q = beta.size
    value, gradient, information = 0.0, np.zeros(q), np.zeros((q, q))
    own_gradient, own_information = np.empty(q), np.empty((q, q))
    for part in strata:
        value += cox_pass(part.x, part.dead, part.starts, np.ones(part.dead.size), beta, own_gradient, own_information)
        gradient += own_gradient
        information += own_information
    return value, gradient, information


def _fit(strata: list[_Stratum], q: int, events: int) -> tuple[FloatArray, FloatArray]:
    """Maximise the likelihood by Newton's method with step halving; columns have unit spread."""
    beta = np.zeros(q)
    value, gradient, information = _likelihood(strata, beta)
    for _ in range(_STEPS):
        if np.linalg.eigvalsh(information)[0] <= 1e-10 * np.trace(information):
            raise _no_fit(beta)
        step = np.linalg.solve(information, gradient)
        decrement = float(step @ gradient)
        if decrement <= _SMALL * max(1.0, abs(value)):
            break
        for _ in range(_HALVINGS):
            found = _likelihood(strata, beta + step)
            if found[0] >= value - 1e-10 * abs(value):
                break
            step *= 0.5
        beta = beta + step
        value, gradient, information = found
    else:
        raise _no_fit(beta)
    if information[0, 0] < _FLAT * events:
        raise _no_fit(beta)
    return beta, information


def _no_fit(beta: FloatArray) -> NotEstimableError:
    worst = int(np.argmax(np.abs(beta)))
    if worst == 0:
        return NotEstimableError(
            "the arms are never at risk together while events happen",
            "events in both arms, and arms followed over the same time",
            "use fewer strata, or report the risks by arm",
        )
    return NotEstimableError(
        f"the Cox model has no fit: column {worst - 1} of X ranks the events perfectly",
        "covariates that overlap between rows with and without the event",
        "leave the column out, or stratify by it",
    )


def _columns(X: ArrayLike | None, n: int) -> FloatArray:
    if X is None:
        return np.empty((n, 0))
    x = as_columns(X, None, n)
    constant = np.flatnonzero(np.ptp(x, axis=0) <= 1e-12 * (1 + np.abs(x).max(axis=0)))
    if constant.size:
        raise DataError(f"column {constant[0]} of X is constant", "columns that vary", "leave it out")
    return x


def _proportional(
    strata: list[_Stratum], beta: FloatArray, information: FloatArray, event: BoolArray, time: FloatArray
) -> tuple[float, float]:
    """Score test of a treatment effect that moves with one less Kaplan-Meier, as R's ``cox.zph``."""
    curve = kaplan_meier(event, time)
    q = beta.size
    clock: list[FloatArray] = []
    for part in strata:
        before = np.searchsorted(curve.times, part.times, side="left")
        clock.append(1 - np.r_[1.0, curve.survival][before])
    deaths = [np.add.reduceat(part.dead.astype(np.int64), part.starts[:-1]) for part in strata]
    middle = sum(float(g @ d) for g, d in zip(clock, deaths, strict=True)) / sum(int(d.sum()) for d in deaths)
    score, own, shared = 0.0, 0.0, np.zeros(q)
    for part, g, d in zip(strata, clock, deaths, strict=True):
        eta = row_dot(part.x, beta)
        risk = np.exp(eta - eta.max())
        moments = np.column_stack([risk, risk[:, None] * part.x, (risk * part.x[:, 0])[:, None] * part.x])
        first = part.starts[:-1]
        total = np.cumsum(np.add.reduceat(moments, first, axis=0)[::-1], axis=0)[::-1]
        dying = np.add.reduceat(moments * part.dead[:, None], first, axis=0)
        which = np.repeat(np.arange(d.size), d)
        share = (np.arange(which.size) - np.repeat(np.cumsum(d) - d, d)) / d[which]
        left = total[which] - share[:, None] * dying[which]
        mean = left[:, 1 : q + 1] / left[:, :1]
        spread = left[:, q + 1 :] / left[:, :1] - mean * mean[:, :1]
        at = (g - middle)[which]
        treated = np.add.reduceat(part.x[:, 0] * part.dead, first)
        score += float((g - middle) @ treated - at @ mean[:, 0])
        own += float(at**2 @ spread[:, 0])
        shared += at @ spread
    rest = own - float(shared @ np.linalg.solve(information, shared))
    if not rest > 1e-12 * max(own, 1e-300):
        return math.nan, math.nan
    statistic = score * score / rest
    return statistic, math.erfc(math.sqrt(statistic / 2))


def hazard_ratio(
    event: ArrayLike,
    time: ArrayLike,
    T: ArrayLike,
    X: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> HazardRatio:
    """Return the hazard ratio of a treatment by Cox regression, with a robust interval.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
        With competing events 1 where the cause of interest happened: the ratio is then cause-specific.
    time : float array, shape (n,)
    T : array, shape (n,)
        1 treated, 0 not.
    X : float array, shape (n, p), optional
        Covariates to adjust for.
    strata : array, shape (n,), optional
        Each level has its own baseline hazard.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    HazardRatio

    Raises
    ------
    DataError
        If an argument is damaged or a column of X is constant.
    NotEstimableError
        If an arm has no event, or the model has no fit.

    Notes
    -----
    Formula: exp(b) of the treatment in a Cox model with Efron's ties. Variance: Lin and Wei's sandwich, the sum of
        squared influence, over patients with `patient`. p is of the log ratio over its robust error.
    Range: above 0; below 1 fewer events under treatment at any time.
    Assumes: a ratio that is the same at all times (tested, and said in the note where it is in doubt), and censoring
        independent of the event given arm, X and stratum. The adjusted ratio is another number than the unadjusted one
        even in a trial: hazard ratios are not collapsible.
    Refuses: an arm without events, where the ratio is 0 or infinite.

    References
    ----------
    Cox, JRSS B 1972;34:187. Lin and Wei, JASA 1989;84:1074. Grambsch and Therneau, Biometrika 1994;81:515. Hernan,
    Epidemiology 2010;21:13 (why it is not a causal contrast).

    Examples
    --------
    >>> event, time, T = [1, 1, 1, 0, 1, 1, 0, 1], [1, 2, 3, 4, 2.5, 5, 6, 7], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> found = hazard_ratio(event, time, T)
    >>> round(found.value, 4), round(found.log_rank.p, 4)
    (0.2321, 0.1714)
    """
    seen, when, ones = survival(event, time)
    n, events = when.size, int(seen.sum())
    arm = as_arms(T, n)
    x = np.column_stack([arm.astype(np.float64), _columns(X, n)])
    for own, name in ((arm, "treated"), (~arm, "untreated")):
        if not seen[own].any():
            raise NotEstimableError(
                f"no event among the {name}: the hazard ratio is 0 or infinite",
                "events in both arms",
                "report the risks by arm, or wait for longer follow-up",
            )
    stratum = np.zeros(n, dtype=np.int64) if strata is None else level_codes(labels("strata", strata, n))[1]
    by_stratum = np.split(np.argsort(stratum, kind="stable"), np.cumsum(np.bincount(stratum))[:-1])
    scale: FloatArray = np.asarray(x.std(axis=0), dtype=np.float64)
    scaled = np.asarray((x - x.mean(axis=0)) / scale, dtype=np.float64)
    kept = independent_columns(x)
    if kept.size < x.shape[1]:
        left = np.setdiff1d(np.arange(x.shape[1]), kept)
        which = f"column {left[-1] - 1} of X is" if left[-1] else "the treatment is"
        raise NotEstimableError(
            f"{which} a sum of the other columns", "columns that say different things", "leave one of them out"
        )
    parts = [_Stratum.of(rows, seen, when, scaled) for rows in by_stratum if seen[rows].any()]
    beta, information = _fit(parts, x.shape[1], events)
    inverse = np.asarray(np.linalg.inv(information), dtype=np.float64)
    score = np.zeros((n, x.shape[1]))
    for part in parts:
        own_score, unused = np.empty(part.x.shape), np.empty(part.dead.size)
        cox_influence(part.x, part.dead, part.starts, ones[part.rows], beta, 0, own_score, unused)
        score[part.rows] = own_score
    influence = row_dot(score, inverse[:, 0]) / scale[0]
    log_ratio, se = float(beta[0] / scale[0]), math.sqrt(clustered_variance(influence, patient))
    statistic, p = _proportional(parts, beta, information, seen, when)
    units = independent_units(patient, n)
    how = "Cox regression, Efron ties"
    how += f", adjusted for {x.shape[1] - 1} columns" if x.shape[1] > 1 else ""
    how += ", stratified" if strata is not None else ""
    method = f"{how}; error: {clustered('Lin and Wei sandwich', patient)}"
    facts: dict[str, Any] = {
        "n": n,
        "events": events,
        "level": level,
        "p": two_sided_p(log_ratio, se, units),
        "method": method,
    }
    note = notes(
        f"the ratio changes with time (p = {p:.2g}): one number does not tell the effect" if p < _ALARM else "",
        SELECTION,
    )
    ratio = math.exp(log_ratio)
    return HazardRatio(
        ratio=Estimate.normal(
            ratio,
            ratio * se,
            scale="log",
            units=units,
            name="hazard_ratio",
            influence=ratio * influence,
            note=note,
            **facts,
        ),
        log_ratio=Estimate.normal(log_ratio, se, units=units, name="log_hazard_ratio", influence=influence, **facts),
        model_se=float(math.sqrt(inverse[0, 0]) / scale[0]),
        log_rank=log_rank(seen, when, arm, strata=strata),
        proportional_statistic=statistic,
        proportional_p=p,
    )
