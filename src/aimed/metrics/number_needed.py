"""Numbers needed to treat, to evaluate and to test, with intervals that stay right when the effect may be none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import (
    FloatArray,
    binary,
    dot,
    event_kinds,
    follow_up,
    patient_codes,
    probabilities,
    weights_of,
    zero_one,
)
from aimed.metrics.proportions import wilson
from aimed.metrics.result import Estimate, clustered, clustered_variance, notes
from aimed.metrics.utility import HorizonRows, net_benefit, net_benefit_difference

__all__ = [
    "NumberNeeded",
    "number_needed_from_counts",
    "number_needed_to_evaluate",
    "number_needed_to_treat",
    "number_needed_to_treat_survival",
    "tradeoff_of_testing",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberNeeded:
    """One over a difference, with an interval that is right when it passes through infinity.

    Parameters
    ----------
    name : str
    difference : Estimate
        The difference, such as the absolute risk reduction; above 0 is benefit. Every limit comes from it.
    benefit, harm : str
        What a number above 0 and below 0 is called, such as NNTB and NNTH.
    n : int
    method, note : str

    Attributes
    ----------
    value : float
        1 / difference; below 0 it is a number needed to harm.
    lower, upper : float
        1 / the upper and 1 / the lower limit of the difference. Where `through_infinity`, `lower` is the benefit
        limit, `upper` the harm limit (below 0), and the interval runs from `lower` up to infinity and on from minus
        infinity to `upper`.
    se : float
        NaN: a number needed has no useful standard error; see `difference.se`.

    References
    ----------
    Altman, BMJ 1998;317:1309.

    Examples
    --------
    >>> effect = Estimate(0.1, name="risk_reduction", lower=-0.05, upper=0.25)
    >>> found = NumberNeeded(name="number_needed_to_treat", difference=effect, benefit="NNTB", harm="NNTH", n=0)
    >>> print(found)
    NNTB 10.0 (95 % interval NNTB 4.0 to infinity to NNTH 20.0)
    """

    resampled: ClassVar[bool] = False
    """Whether percentiles of replicates are an interval: not of numbers that pass through infinity."""

    name: str
    difference: Estimate = field(repr=False)
    benefit: str
    harm: str
    n: int
    method: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        """1 / difference; infinite where the difference is 0."""
        return _over(float(self.difference))

    @property
    def through_infinity(self) -> bool:
        """Whether the interval of the difference holds 0."""
        return self.difference.lower <= 0 <= self.difference.upper

    @property
    def lower(self) -> float:
        """1 / the upper limit of the difference."""
        return _over(self.difference.upper)

    @property
    def upper(self) -> float:
        """1 / the lower limit of the difference."""
        limit = self.difference.lower
        return -math.inf if limit == 0 else _over(limit)

    @property
    def se(self) -> float:
        """NaN; see `difference.se`."""
        return math.nan

    @property
    def level(self) -> float:
        """Coverage of the interval."""
        return self.difference.level

    @property
    def sentence(self) -> str:
        """The number and its interval in words."""
        low, high = self.difference.lower, self.difference.upper
        if not (math.isfinite(low) and math.isfinite(high)):
            return self._say(self.value)
        middle = " to infinity to " if low < 0 < high else " to "
        near, far = self._say(self.lower), self._say(self.upper)
        if high <= 0:
            near, far = far, near
        return f"{self._say(self.value)} ({100 * self.level:g} % interval {near}{middle}{far})"

    def _say(self, number: float) -> str:
        if math.isnan(number):
            return "not estimable"
        if math.isinf(number):
            return "infinity"
        return f"{self.benefit if number > 0 else self.harm} {abs(number):.1f}"

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return self.sentence


def _over(difference: float) -> float:
    return math.inf if difference == 0 else 1 / difference


def _treat(difference: Estimate, n: int) -> NumberNeeded:
    note = difference.note
    if difference.lower <= 0 <= difference.upper:
        note = notes(
            "the interval of the risk difference holds 0: benefit, no effect and harm are all compatible with the data",
            note,
        )
    return NumberNeeded(
        name="number_needed_to_treat",
        difference=difference,
        benefit="NNTB",
        harm="NNTH",
        n=n,
        method=difference.method,
        note=note,
    )


def number_needed_from_counts(
    events_control: float, n_control: float, events_treated: float, n_treated: float, *, level: float = 0.95
) -> NumberNeeded:
    """Return the number needed to treat from the events and rows of two independent groups.

    Parameters
    ----------
    events_control, n_control, events_treated, n_treated : float
        Events are bad: fewer under treatment is benefit.
    level : float
        Coverage of the interval.

    Raises
    ------
    NotEstimableError
        If a group has no row.
    DataError
        If there are more events than rows, or fewer than none.

    References
    ----------
    Newcombe, Stat Med 1998;17:873 (method 10). Altman, BMJ 1998;317:1309. Bender, Control Clin Trials 2001;22:102.

    Notes
    -----
    Formula: 1 / (risk of control - risk of treated); Newcombe's hybrid score interval of the difference, inverted.
    Range: 1 to infinity (benefit) and minus infinity to -1 (harm); there is nothing between -1 and 1.
    Assumes: two independent groups that treatment alone tells apart, and the same length of follow-up.
    Refuses: a group without rows; more events than rows.

    Examples
    --------
    >>> found = number_needed_from_counts(56, 70, 48, 80)
    >>> found.difference
    risk_reduction 0.2000 (95 % interval 0.0524 to 0.3339), n = 150
    >>> print(found)
    NNTB 5.0 (95 % interval NNTB 3.0 to NNTB 19.1)
    """
    low_c, high_c = wilson(events_control, n_control, level)
    low_t, high_t = wilson(events_treated, n_treated, level)
    control, treated = events_control / n_control, events_treated / n_treated
    gap = control - treated
    difference = Estimate(
        gap,
        name="risk_reduction",
        lower=gap - math.hypot(control - low_c, high_t - treated),
        upper=gap + math.hypot(high_c - control, treated - low_t),
        se=math.sqrt(control * (1 - control) / n_control + treated * (1 - treated) / n_treated),
        n=round(n_control + n_treated),
        events=round(events_control + events_treated),
        level=level,
        method="Newcombe hybrid score",
    )
    return _treat(difference, round(n_control + n_treated))


def number_needed_to_treat(
    y: ArrayLike,
    treated: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> NumberNeeded:
    """Return the number needed to treat for one more good outcome, from rows of a trial.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
        1 is the bad outcome.
    treated : 0/1 array, shape (n,)
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If a group has no row.

    References
    ----------
    Laupacis, Sackett and Roberts, NEJM 1988;318:1728. Altman, BMJ 1998;317:1309. Newcombe, Stat Med 1998;17:873.

    Notes
    -----
    Formula: 1 / (risk of control - risk of treated). Newcombe's hybrid score interval of the difference, inverted;
    with weights or patients the normal interval from the infinitesimal jackknife.
    Range: 1 to infinity (benefit) and minus infinity to -1 (harm).
    Assumes: groups that treatment alone tells apart, such as by randomisation, and the same length of follow-up.
    Refuses: a group without rows; missing values.

    Examples
    --------
    >>> y, treated = np.repeat([1, 0, 1, 0], [56, 14, 48, 32]), np.repeat([0, 1], [70, 80])
    >>> print(number_needed_to_treat(y, treated))
    NNTB 5.0 (95 % interval NNTB 3.0 to NNTB 19.1)
    """
    outcome, w = binary(y, weights)
    arm = zero_one("treated", treated, outcome.size)
    totals = [dot(w, arm == a) for a in (0, 1)]
    if min(totals) <= 0:
        raise NotEstimableError("one group only", "treated and control rows")
    if weights is None and patient is None:
        events = [dot(outcome, arm == a) for a in (0, 1)]
        return number_needed_from_counts(events[0], totals[0], events[1], totals[1], level=level)
    risks = [dot(w * outcome, arm == a) / totals[a] for a in (0, 1)]
    psi = w * np.where(arm == 1, -(outcome - risks[1]) / totals[1], (outcome - risks[0]) / totals[0])
    return _treat(_difference(risks, psi, patient, level, int(outcome.sum()), ""), outcome.size)


def _difference(
    risks: list[float], psi: FloatArray, patient: ArrayLike | None, level: float, events: int, estimator: str
) -> Estimate:
    return Estimate.from_influence(
        risks[0] - risks[1],
        psi,
        patient,
        level=level,
        bounds=(-1, 1),
        name="risk_reduction",
        events=events,
        method=clustered(f"{estimator}normal, infinitesimal jackknife", patient),
    )


def number_needed_to_treat_survival(
    event: ArrayLike,
    time: ArrayLike,
    treated: ArrayLike,
    horizon: float,
    cause: int = 1,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> NumberNeeded:
    """Return the number needed to treat for one more patient free of the event at a horizon.

    Parameters
    ----------
    event : int array, shape (n,)
        0 censored, 1 the event; with competing events 1, ..., K.
    time : float array, shape (n,)
    treated : 0/1 array, shape (n,)
    horizon : float
        In the unit of `time`.
    cause : int
        Code of the event of interest.
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If a group has no row, or none followed to the horizon.

    References
    ----------
    Altman and Andersen, BMJ 1999;319:1492.

    Notes
    -----
    Formula: 1 / (risk of control - risk of treated) at the horizon, risks being 1 less Kaplan-Meier, or the
    Aalen-Johansen incidence with competing events. Normal interval of the difference, inverted; its variance is the
    infinitesimal jackknife, which is Greenwood's for Kaplan-Meier without weights.
    Range: 1 to infinity (benefit) and minus infinity to -1 (harm).
    Assumes: groups that treatment alone tells apart; censoring independent of the outcome within each.
    Refuses: a group without rows or not followed to the horizon; missing values.

    Examples
    --------
    >>> event, time = [1, 0, 1, 1, 0, 0, 1, 0], [1, 5, 2, 3, 5, 5, 4, 5]
    >>> print(number_needed_to_treat_survival(event, time, [0, 0, 0, 0, 1, 1, 1, 1], 4.5))
    NNTB 2.0 (95 % interval NNTB 1.0 to infinity to NNTH 10.0)
    """
    when = follow_up(time)
    w = weights_of(weights, when.size)
    kinds = event_kinds(event, when.size, cause)
    rows = HorizonRows(kinds, when, horizon, w)
    arm = zero_one("treated", treated, when.size)[rows.order]
    risks, psi = [], np.zeros(when.size)
    for group, sign in ((0, 1.0), (1, -1.0)):
        member = arm == group
        places = np.flatnonzero(member)
        if not rows.weights[places].any():
            raise NotEstimableError("one group only", "treated and control rows")
        risk, known, phi = rows.risk(rows.add(places), rows.followed(places))
        if not known:
            raise NotEstimableError("a group in which no row is followed to the horizon", "an earlier horizon")
        risks.append(risk)
        psi[rows.order] += rows.influence(phi, slope=sign, member=member)
    estimator = "Aalen-Johansen; " if (kinds == 2).any() else "Kaplan-Meier; "
    return _treat(_difference(risks, psi, patient, level, int((rows.kind == 1).sum()), estimator), when.size)


def number_needed_to_evaluate(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return how many flagged rows are looked at for each event found: one over the positive predictive value.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Probabilities; one equal to the threshold is flagged.
    threshold : float in [0, 1]
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    Estimate
        `n` is the number of flagged rows, `events` those of them with the event.

    Raises
    ------
    NotEstimableError
        If no row is flagged, or no flagged row has the event.

    References
    ----------
    Romero-Brufau, Huddleston, Escobar and Liebow, Crit Care 2015;19:285. Wilson, JASA 1927;22:209.

    Notes
    -----
    Formula: 1 / PPV. Wilson's interval of the PPV, inverted; with weights or patients the normal interval of its
    logit from the infinitesimal jackknife.
    Range: 1 to infinity; lower is less work.
    Assumes: rows sampled as they come, since the PPV depends on the prevalence.
    Refuses: a threshold that no row, or no row with the event, reaches; probabilities outside [0, 1]; missing values.
    With weights or patients there is no interval where every flagged row has the event.

    Examples
    --------
    >>> number_needed_to_evaluate([1, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.1], 0.5)
    number_needed_to_evaluate 2.0000 (95 % interval 1.1765 to 6.6649), n = 4
    """
    outcome, w = binary(y, weights)
    cut = float(probabilities("threshold", [threshold])[0])
    flagged = w * (probabilities("p", p, outcome.size) >= cut)
    total, found = float(flagged.sum()), dot(flagged, outcome)
    if found <= 0:
        raise NotEstimableError("no row with the event reaches the threshold", "a lower threshold")
    share = found / total
    psi = flagged * (outcome - share) / total
    se = math.sqrt(clustered_variance(psi, patient))
    note = ""
    if weights is None and patient is None:
        low, high = wilson(found, total, level)
        method = "Wilson, inverted"
    else:
        ppv = Estimate.normal(
            share,
            se,
            level=level,
            scale="logit",
            units=None if patient is None else np.unique(patient_codes(patient, outcome.size)[flagged > 0]).size,
            why="every flagged row has the event" if share == 1 else "no spread between rows",
            name="ppv",
        )
        low, high, note = ppv.lower, ppv.upper, ppv.note
        se = ppv.se
        method = clustered("normal on the logit, infinitesimal jackknife", patient)
    return Estimate(
        1 / share,
        name="number_needed_to_evaluate",
        lower=1 / high,
        upper=math.inf if low <= 0 else 1 / low,
        se=se / share**2,
        note=note,
        n=int((flagged > 0).sum()),
        events=int(((flagged > 0) & (outcome == 1)).sum()),
        level=level,
        method=method,
        influence=-psi / share**2,
    )


def tradeoff_of_testing(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    p_without: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> NumberNeeded:
    """Return how many must be tested for each net true positive that the test brings: the test tradeoff.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Probabilities of the model with the test.
    threshold : float in (0, 1)
    p_without : float array, shape (n,), optional
        Probabilities of the model without the test. Absent, the better of treating all and treating none, chosen by
        its net benefit on these rows.
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    DataError
        If the threshold lies outside (0, 1), or a probability outside [0, 1].

    References
    ----------
    Baker, Cook, Vickers and Kramer, J R Stat Soc A 2009;172:729. Van Calster et al., Eur Urol 2018;74:796.

    Notes
    -----
    Formula: 1 / (net benefit with the test - net benefit without it). The interval of the difference, inverted.
    Range: 1 to infinity where the test helps; below 0 where it harms.
    Assumes: the harm of a test itself is left out: it is worth taking while fewer tests would be accepted for one true
    positive than this number. The better default is taken as given, not as chosen from the data.
    Refuses: what `net_benefit` refuses.

    Examples
    --------
    >>> y, p = [1, 0, 0, 1, 0, 0, 0, 1], [0.9, 0.6, 0.1, 0.7, 0.2, 0.3, 0.1, 0.8]
    >>> print(tradeoff_of_testing(y, p, 0.5))
    tests for a net true positive 4.0 (95 % interval ...)
    """
    if p_without is not None:
        gain = net_benefit_difference(y, p, p_without, float(threshold), weights, patient=patient, level=level)
        against = "the model without the test"
    else:
        curve = net_benefit(y, p, [float(threshold)], weights, level=level, patient=patient)
        best_all = bool(curve.treat_all[0] > 0)
        gain, against = (curve.difference if best_all else curve)[0], "treating all" if best_all else "treating none"
    holds = gain.lower <= 0 <= gain.upper
    note = f"against {against}"
    return NumberNeeded(
        name="tradeoff_of_testing",
        difference=gain,
        benefit="tests for a net true positive",
        harm="tests for a net true positive lost",
        n=gain.n,
        method=gain.method,
        note=note + ("; the test may bring nothing: the interval of its net benefit holds 0" if holds else ""),
    )
