"""Time to event by arm: risks, event-free time and time lost at a horizon as they are, with curves and rows at risk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, labels, level_codes, vector
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier
from aimed.metrics.number_needed import NumberNeeded
from aimed.metrics.result import notes
from aimed.treatment.arms import as_arms
from aimed.treatment.average import AverageEffect
from aimed.treatment.censored import Contrast, Window, product_limit_outcome

__all__ = ["ArmCurve", "TimeToEvent", "arm_curves", "time_to_event"]

_ARMS = ("untreated", "treated")
_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmCurve:
    """The chance of the event over time in one arm, and who is still followed.

    Parameters
    ----------
    treated : bool
    times, incidence, lower, upper : float array, shape (u,)
        The curve from 0 to the horizon, at each time it moves, with pointwise limits.
    ticks, at_risk, events : float array, shape (t,)
        Rows at risk just before each tick, and rows with the event up to and including it.
    n : int
    level : float
    method : str
    """

    treated: bool
    times: FloatArray
    incidence: FloatArray
    lower: FloatArray
    upper: FloatArray
    ticks: FloatArray
    at_risk: FloatArray
    events: FloatArray
    n: int
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeToEvent:
    """What a treatment does to the time to an event, by a horizon, arms taken as they are.

    Parameters
    ----------
    risk : AverageEffect
        Chance of the event by the horizon; its ratio, odds ratio and number needed are there.
    rmst : AverageEffect
        Mean time without any event up to the horizon.
    time_lost : AverageEffect
        Mean time between the event and the horizon.
    horizon : float
    cause : int
    competing : bool
        Whether other kinds of event happened.
    n : int
    method, note : str

    Attributes
    ----------
    number_needed : NumberNeeded
        Patients treated for one less to have the event by the horizon.
    """

    risk: AverageEffect
    rmst: AverageEffect
    time_lost: AverageEffect
    horizon: float
    cause: int
    competing: bool
    n: int
    method: str
    note: str = field(default="")

    @property
    def number_needed(self) -> NumberNeeded:
        """Patients treated for one less to have the event by the horizon."""
        return self.risk.number_needed("lower")

    def __str__(self) -> str:
        return f"risk by {self.horizon:g}: {self.risk.difference}; event-free time: {self.rmst.difference}"


def time_to_event(
    event_or_cause: ArrayLike,
    time: ArrayLike,
    T: ArrayLike,
    *,
    horizon: float,
    cause: int = 1,
    strata: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> TimeToEvent:
    """Return risks, event-free time and time lost by a horizon in each arm, and their contrasts, without a model.

    Parameters
    ----------
    event_or_cause : int array, shape (n,)
        0 censored, 1 the event; with competing events 1, ..., K.
    time : float array, shape (n,)
    T : array, shape (n,)
        1 treated, 0 not.
    horizon : float
        In the unit of `time`. Follow-up to exactly the horizon counts as followed up.
    cause : int
        Code of the event of interest.
    strata : array, shape (n,), optional
        Arms are compared within strata; a stratum counts as its share of all rows (direct standardisation).
    patient : array, shape (n,), optional
        Rows of one patient are dependent; a patient may have rows in both arms.
    level : float

    Returns
    -------
    TimeToEvent

    Raises
    ------
    DataError
        If an argument is damaged.
    NotEstimableError
        If follow-up of an arm (in a stratum) ends before the horizon, a stratum lacks an arm, or nobody has the event.

    Notes
    -----
    Formula: risk = 1 - Kaplan-Meier, or Aalen-Johansen with competing events; event-free time, the area under
        Kaplan-Meier of any event; time lost, the area under the risk curve. Variance: sum of squared influence, which
        is Greenwood's for Kaplan-Meier; over patients with `patient`.
    Range: risks 0 to 1; times 0 to the horizon.
    Assumes: arms that treatment alone tells apart (within strata); censoring independent of the event in each arm.
    Refuses: a horizon beyond follow-up.

    References
    ----------
    Uno et al., J Clin Oncol 2014;32:2380. Andersen, Stat Med 2013;32:5278 (time lost). Altman and Andersen, BMJ
    1999;319:1492 (number needed to treat).

    Examples
    --------
    >>> event, time, T = [1, 0, 1, 1, 0, 0, 1, 0], [1, 5, 2, 3, 5, 5, 4, 5], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> found = time_to_event(event, time, T, horizon=4.5)
    >>> round(found.risk.control, 4), round(found.risk.treated, 4), round(found.rmst.difference, 4)
    (0.75, 0.25, 1.75)
    """
    rows = Window.of(event_or_cause, time, horizon, cause)
    n = rows.time.size
    arm = as_arms(T, n)
    if not (rows.kind == 1).any():
        raise NotEstimableError(
            "no row has the event by the horizon", "events in at least one arm", "choose a longer horizon"
        )
    stratum = np.zeros(n, dtype=np.int64) if strata is None else level_codes(labels("strata", strata, n))[1]
    _refuse_thin(rows, arm, stratum, strata is not None)
    competing = bool((rows.kind == 2).any())
    note = ""
    for a, name in enumerate(_ARMS):
        if not (rows.kind[arm == bool(a)] == 1).any():
            note = (
                f"no event among the {name} by the horizon: the error of that risk is unknown, intervals are too short"
            )
    how = f"{'Aalen-Johansen' if competing else 'Kaplan-Meier'} in each arm"
    how += ", standardised over strata" if strata is not None else ""

    def effect(contrast: Contrast, what: str) -> AverageEffect:
        means, influence = _means(rows, arm, stratum, contrast)
        return AverageEffect.from_means(
            means[1],
            influence[1],
            means[0],
            influence[0],
            arm=arm,
            y=rows.outcome(contrast),
            method=f"{what} {horizon:g} by {how}; infinitesimal jackknife",
            patient=patient,
            level=level,
            note=note,
        )

    return TimeToEvent(
        risk=effect("risk", "risk by"),
        rmst=effect("rmst", "mean event-free time up to"),
        time_lost=effect("time_lost", "mean time lost before"),
        horizon=float(horizon),
        cause=cause,
        competing=competing,
        n=n,
        method=how,
        note=notes(note, "event-free time ends at any kind of event" if competing else ""),
    )


def _refuse_thin(rows: Window, arm: BoolArray, stratum: IntArray, stratified: bool) -> None:
    """Refuse a group of which nothing is known at the horizon."""
    number = int(stratum.max()) + 1
    for a, name in enumerate(_ARMS):
        for s in range(number):
            own = (arm == bool(a)) & (stratum == s)
            if not own.any():
                raise NotEstimableError(f"a stratum has no {name} rows", "both arms in each stratum", "merge strata")
            rows.take(own).refuse_unless_followed(f"the {name}" + (" of a stratum" if stratified else ""))


def _means(
    rows: Window, arm: BoolArray, stratum: IntArray, contrast: Contrast
) -> tuple[tuple[float, float], tuple[FloatArray, FloatArray]]:
    """Mean outcome untreated and treated, and the influence of each row on them."""
    n = arm.size
    share = np.bincount(stratum) / n
    means, influence = [], []
    for treated in (False, True):
        own, inside = np.zeros(n), np.zeros(share.size)
        for s, weight in enumerate(share):
            group = np.flatnonzero((arm == treated) & (stratum == s))
            values = product_limit_outcome(rows.take(group), contrast)[0]
            inside[s] = values.mean()
            own[group] = weight * (values - inside[s]) / group.size
        mean = float((share * inside).sum())
        means.append(mean)
        influence.append(own + (inside[stratum] - mean) / n)
    return (means[0], means[1]), (influence[0], influence[1])


def arm_curves(
    event_or_cause: ArrayLike,
    time: ArrayLike,
    T: ArrayLike,
    *,
    horizon: float,
    cause: int = 1,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    ticks: ArrayLike | None = None,
) -> tuple[ArmCurve, ArmCurve]:
    """Return the risk curves of the untreated and the treated up to a horizon, with rows at risk under them.

    Parameters
    ----------
    event_or_cause, time, T, horizon, cause, patient, level
        As for `time_to_event`; a curve ends with the follow-up of its arm where that is before the horizon.
    ticks : float array, shape (t,), optional
        Times at which rows at risk are counted; 7 from 0 to the horizon where absent.

    Returns
    -------
    (ArmCurve, ArmCurve)
        Untreated, treated.

    Raises
    ------
    DataError
        If an argument is damaged.

    Examples
    --------
    >>> event, time, T = [1, 0, 1, 1, 0, 0, 1, 0], [1, 5, 2, 3, 5, 5, 4, 5], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> untreated, treated = arm_curves(event, time, T, horizon=4, ticks=[0, 2, 4])
    >>> untreated.incidence, untreated.at_risk, treated.at_risk
    (array([0.  , 0.25, 0.5 , 0.75, 0.75]), array([4., 3., 1.]), array([4., 4., 4.]))
    """
    rows = Window.of(event_or_cause, time, horizon, cause)
    when = np.linspace(0.0, horizon, _TICKS) if ticks is None else vector("ticks", np.atleast_1d(np.asarray(ticks)))
    if when.min() < 0 or when.max() > horizon:
        raise DataError("ticks lie outside 0 to the horizon", f"times from 0 to {horizon:g}")
    n = rows.time.size
    arm = as_arms(T, n)
    codes = None if patient is None else labels("patient", patient, n)
    return (
        _curve(rows, arm, False, codes, level, when),
        _curve(rows, arm, True, codes, level, when),
    )


def _curve(
    rows: Window, arm: BoolArray, treated: bool, patient: ArrayLike | None, level: float, ticks: FloatArray
) -> ArmCurve:
    own = arm == treated
    part = rows.take(own)
    who = None if patient is None else np.asarray(patient)[own]
    end = min(part.horizon, float(part.time.max()))
    moves = np.unique(np.r_[0.0, part.time[part.kind == 1], end])
    if (part.kind == 2).any() and (part.kind == 1).any():
        found = aalen_johansen(part.kind, part.time, cause=1, level=level, patient=who)
        value = found.at(moves)
        lower, upper = found.interval_at(moves)
        method = found.method
    else:
        # A cause that does not happen in this arm leaves the chance at 0, whatever else happens.
        curve = kaplan_meier(part.kind == 1, part.time, level=level, patient=who)
        value = 1 - curve.at(moves)
        high, low = curve.interval_at(moves)
        lower, upper, method = 1 - low, 1 - high, curve.method
    ordered = np.sort(part.time)
    happened = np.sort(part.time[part.kind == 1])
    return ArmCurve(
        treated=treated,
        times=moves,
        incidence=value,
        lower=lower,
        upper=upper,
        ticks=ticks,
        at_risk=(ordered.size - np.searchsorted(ordered, ticks, side="left")).astype(np.float64),
        events=np.searchsorted(happened, ticks, side="right").astype(np.float64),
        n=int(own.sum()),
        level=level,
        method=method,
    )
