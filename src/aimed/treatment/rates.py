"""Event rates of the two arms of a trial, of all patients or of a group, and every usual way to compare them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, patient_codes, vector, zero_one
from aimed.metrics.number_needed import NumberNeeded, number_needed_to_treat
from aimed.metrics.proportions import mean_share, wilson
from aimed.metrics.result import (
    Estimate,
    Scale,
    checked_level,
    clustered,
    clustered_variance,
    few_units,
    independent_units,
    notes,
    two_sided_p,
)
from aimed.treatment.arms import as_arms, few_rows
from aimed.treatment.nuisances import is_binary

__all__ = ["Better", "GroupEffect", "TrialRates", "arm_mean", "checked_better", "event_rates", "group_effect", "turned"]

Better: TypeAlias = Literal["lower", "higher"]
"""Which way an outcome is good."""


def checked_better(better: str) -> int:
    """Return the sign that turns an effect on the outcome into a benefit.

    Raises
    ------
    DataError
        If it is neither ``"lower"`` nor ``"higher"``.

    Examples
    --------
    >>> checked_better("lower"), checked_better("higher")
    (-1, 1)
    """
    if better not in ("lower", "higher"):
        raise DataError(
            "better is neither 'lower' nor 'higher'", "'lower' where large values are bad, such as death", "say which"
        )
    return 1 if better == "higher" else -1


def arm_mean(Y: FloatArray, member: BoolArray, *, corrected: bool = True) -> tuple[float, FloatArray]:
    """Return the mean outcome of some rows and the influence of every row on it.

    Parameters
    ----------
    Y : float array, shape (n,)
    member : bool array, shape (n,)
        The rows of the mean.
    corrected : bool
        Scale the influence so that its squares sum to the unbiased variance of a mean, s^2 / m.

    Returns
    -------
    float, float array, shape (n,)

    Raises
    ------
    NotEstimableError
        If there is no such row.

    Examples
    --------
    >>> mean, influence = arm_mean(np.array([1.0, 3.0, 9.0]), np.array([True, True, False]))
    >>> mean, round(float(influence @ influence), 6)
    (2.0, 1.0)
    """
    m = int(member.sum())
    if not m:
        raise NotEstimableError("an arm without rows", "rows in both arms")
    mean = float(Y[member].mean())
    influence = np.where(member, (Y - mean) / m, 0.0)
    return mean, influence * math.sqrt(m / (m - 1)) if corrected and m > 1 else influence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialRates:
    """How often the event happened in either arm, and how the arms compare.

    Parameters
    ----------
    treated, control : Estimate
        Event rates; Wilson's intervals. `n` and `events` are those of the arm.
    difference : Estimate
        Rate of the treated less that of the controls, the sign of every effect in this room.
    reduction : Estimate
        Absolute risk reduction: rate of the controls less that of the treated.
    ratio, odds_ratio : Estimate
        Treated over control; symmetric intervals on the log scale.
    relative_reduction : Estimate
        1 less the risk ratio.
    number_needed : NumberNeeded
        Patients to treat for one more good outcome, or for one more bad one.
    better : {"lower", "higher"}
        Whether the event is bad (``"lower"``) or good.

    Examples
    --------
    >>> Y, T = np.repeat([1, 0, 1, 0], [56, 14, 48, 32]), np.repeat([0, 1], [70, 80])
    >>> print(event_rates(Y, T).sentence)
    The event happened in 48 of 80 treated (60.0 %) and 56 of 70 controls (80.0 %): 20.0 percentage points fewer \
(95 % interval 5.2 fewer to 33.4 fewer).
    """

    treated: Estimate
    control: Estimate
    difference: Estimate
    reduction: Estimate
    ratio: Estimate
    odds_ratio: Estimate
    relative_reduction: Estimate
    number_needed: NumberNeeded
    better: Better

    @property
    def n(self) -> int:
        """Rows of both arms."""
        return self.treated.n + self.control.n

    @property
    def events(self) -> int:
        """Rows with the event, both arms."""
        return (self.treated.events or 0) + (self.control.events or 0)

    @property
    def p(self) -> float:
        """Two-sided p of no difference; NaN where there is no spread."""
        return math.nan if self.difference.p is None else self.difference.p

    @property
    def sentence(self) -> str:
        """The rates and their difference in words."""

        def arm(rate: Estimate, name: str) -> str:
            return f"{rate.events} of {rate.n} {name} ({100 * rate:.1f} %)"

        def points(value: float) -> str:
            return f"{100 * abs(value):.1f} {'fewer' if value < 0 else 'more'}"

        d = self.difference
        said = f"The event happened in {arm(self.treated, 'treated')} and {arm(self.control, 'controls')}: "
        said += f"{100 * abs(d):.1f} percentage points {'fewer' if d < 0 else 'more'}" if d else "no difference"
        if not math.isfinite(d.lower):
            return f"{said}; {d.note}."
        near, far = (d.upper, d.lower) if d < 0 else (d.lower, d.upper)
        return f"{said} ({100 * d.level:g} % interval {points(near)} to {points(far)})."

    def to_dict(self) -> dict[str, Any]:
        """Return every number with its interval, in plain JSON types."""
        names = ("treated", "control", "difference", "reduction", "ratio", "odds_ratio", "relative_reduction")
        return {
            **{name: getattr(self, name).measure().to_dict() for name in names},
            "number_needed": self.number_needed.sentence,
            "p": self.difference.p,
            "better": self.better,
            "sentence": self.sentence,
        }


def _compared(
    value: float, influence: FloatArray, patient: ArrayLike | None, scale: Scale, null: float, why: str, **more: Any
) -> Estimate:
    """Return a comparison with a normal interval on a scale and the p of its null value."""
    se = math.sqrt(clustered_variance(influence, patient))
    units = None if patient is None else independent_units(patient, influence.size)
    log = scale == "log"
    at, error = (math.log(value / null), se / value) if log and value > 0 else (value - null, se)
    p = two_sided_p(at, error, units) if math.isfinite(value) and not why else math.nan
    if why:
        return Estimate(value, note=why, influence=influence, **more)
    how = clustered("symmetric on the log scale" if log else "normal, infinitesimal jackknife", patient)
    return Estimate.normal(
        value, se, scale=scale, units=units, influence=influence, method=how, p=None if math.isnan(p) else p, **more
    )


def event_rates(
    Y: ArrayLike,
    T: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    better: Better = "lower",
    level: float = 0.95,
) -> TrialRates:
    """Return the event rates of a trial and their comparison on every usual scale.

    Parameters
    ----------
    Y : 0/1 array, shape (n,)
        1 where the event happened.
    T : 0/1 array, shape (n,)
        1 is the active treatment.
    patient : array, shape (n,), optional
        Rows of one patient are dependent; a patient may have rows in both arms.
    better : {"lower", "higher"}
        Whether the event is bad (default) or good. It decides what the number needed counts.
    level : float
        Coverage of the intervals.

    Returns
    -------
    TrialRates

    Raises
    ------
    DataError
        If Y is not 0 and 1, or T holds anything but two arms.
    NotEstimableError
        If an arm has no row.

    Notes
    -----
    Formula: with rates r1 and r0 of treated and control: difference r1 - r0, reduction r0 - r1, ratio r1 / r0, odds
    ratio, relative reduction 1 - r1 / r0, number needed 1 / benefit. Wilson's interval of a rate; Newcombe's hybrid
    score interval of the difference (method 10); Katz's and Woolf's of the ratios. With patients the errors are
    clustered, Wilson's interval is taken at the effective number of rows and the difference has a normal interval.
    The p is that of Wald's test of the difference.
    Range: rates 0 to 1, differences -1 to 1, ratios from 0.
    Assumes: arms that treatment alone tells apart, such as by randomisation, followed for the same time.
    Refuses: an arm without rows; outcomes other than 0 and 1. A ratio where an arm has no event has no interval, and
    none is given where the controls have none.

    References
    ----------
    Wilson, JASA 1927;22:209. Newcombe, Stat Med 1998;17:873. Katz et al., Biometrics 1978;34:469. Woolf, Ann Hum Genet
    1955;19:251. Altman, BMJ 1998;317:1309.

    Examples
    --------
    >>> Y, T = np.repeat([1, 0, 1, 0], [56, 14, 48, 32]), np.repeat([0, 1], [70, 80])
    >>> found = event_rates(Y, T)
    >>> found.reduction
    risk_reduction 0.2000 (95 % interval 0.0524 to 0.3339), p = 0.005943, n = 150
    >>> found.ratio
    risk_ratio 0.7500 (95 % interval 0.6056 to 0.9288), p = 0.008373, n = 150
    >>> print(found.number_needed)
    NNTB 5.0 (95 % interval NNTB 3.0 to NNTB 19.1)
    """
    checked_better(better)
    checked_level(level)
    y = zero_one("Y", vector("Y", Y))
    n = y.size
    arm = as_arms(T, n)
    who = None if patient is None else patient_codes(patient, n)
    rate: dict[bool, Estimate] = {}
    for active, name in ((True, "event_rate_treated"), (False, "event_rate_control")):
        rows = arm == active
        rate[active] = mean_share(y[rows], patient=None if who is None else who[rows], level=level, name=name)
    (r1, psi1), (r0, psi0) = (arm_mean(y, arm == active, corrected=False) for active in (True, False))
    events = int(y.sum())
    known: dict[str, Any] = {"n": n, "events": events, "level": level}
    treated_first = _difference(r1, r0, psi1 - psi0, arm, who, known)
    reduction = turned(treated_first, "risk_reduction")
    empty = ["treated" if r1 == 0 else "", "control" if r0 == 0 else ""]
    none = " and ".join(name for name in empty if name)
    why = f"no interval: no event in the {none} arm; read the difference" if none else ""
    value = r1 / r0 if r0 else math.nan
    psi = (psi1 - value * psi0) / r0 if r0 else np.full(n, np.nan)
    ratio = _compared(value, psi, who, "log", 1.0, why, name="risk_ratio", **known)
    full = " and ".join(name for name, r in (("treated", r1), ("control", r0)) if r == 1)
    why_odds = why or (f"no interval: every row of the {full} arm has the event; read the difference" if full else "")
    odds1, odds0 = (r / (1 - r) if r < 1 else math.inf for r in (r1, r0))
    odds = odds1 / odds0 if 0 < odds0 < math.inf else (0.0 if odds0 == math.inf and r1 < 1 else math.nan)
    spread = not why_odds
    psi = odds * (psi1 / (r1 * (1 - r1)) - psi0 / (r0 * (1 - r0))) if spread else np.full(n, np.nan)
    odds_ratio = _compared(odds, psi, who, "log", 1.0, why_odds, name="odds_ratio", **known)
    relative = Estimate(
        1 - value,
        name="relative_risk_reduction",
        lower=1 - ratio.upper,
        upper=1 - ratio.lower,
        se=ratio.se,
        method=ratio.method,
        note=ratio.note,
        p=ratio.p,
        influence=None if ratio.influence is None else -ratio.influence,
        **known,
    )
    bad = y if better == "lower" else 1 - y
    return TrialRates(
        treated=rate[True],
        control=rate[False],
        difference=treated_first,
        reduction=reduction,
        ratio=ratio,
        odds_ratio=odds_ratio,
        relative_reduction=relative,
        number_needed=number_needed_to_treat(bad, arm, patient=who, level=level),
        better=better,
    )


def _difference(
    r1: float, r0: float, psi: FloatArray, arm: BoolArray, who: ArrayLike | None, known: dict[str, Any]
) -> Estimate:
    level, n = known["level"], arm.size
    se = math.sqrt(clustered_variance(psi, who))
    gap = r1 - r0
    if who is not None:
        units = independent_units(who, n)
        p = two_sided_p(gap, se, units)
        return Estimate.normal(
            gap,
            se,
            units=units,
            bounds=(-1, 1),
            name="risk_difference",
            method="normal, infinitesimal jackknife, clustered by patient",
            p=None if math.isnan(p) else p,
            influence=psi,
            **known,
        )
    m1, m0 = int(arm.sum()), int((~arm).sum())
    (low1, high1), (low0, high0) = wilson(r1 * m1, m1, level), wilson(r0 * m0, m0, level)
    p = two_sided_p(gap, se)
    return Estimate(
        gap,
        name="risk_difference",
        lower=gap - math.hypot(r1 - low1, high0 - r0),
        upper=gap + math.hypot(high1 - r1, r0 - low0),
        se=se,
        method="Newcombe hybrid score",
        p=None if math.isnan(p) else p,
        influence=psi,
        **known,
    )


def turned(found: Estimate, name: str) -> Estimate:
    """Return an estimate with its sign turned, under another name.

    Examples
    --------
    >>> turned(Estimate(0.1, name="a", lower=-0.1, upper=0.3, n=9), "b")
    b -0.1000 (95 % interval -0.3000 to 0.1000), n = 9
    """
    return Estimate(
        -float(found),
        name=name,
        lower=-found.upper,
        upper=-found.lower,
        se=found.se,
        n=found.n,
        events=found.events,
        level=found.level,
        method=found.method,
        note=found.note,
        p=found.p,
        influence=None if found.influence is None else -found.influence,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupEffect:
    """Both arms and their difference in one group of patients.

    Parameters
    ----------
    n, n_treated, n_control : int
        Rows.
    events : int or None
        Rows with the event, where outcomes are 0 and 1.
    treated, control : Estimate
        Mean outcome, or event rate, of either arm, as it is.
    difference : Estimate
        Effect on the outcome: treated less control, or the mean of the effect scores. NaN with a note where it is not
        estimable.
    ratio : Estimate or None
        Risk ratio, where outcomes are 0 and 1 and the difference is that of the arms.
    better : {"lower", "higher"}
    """

    n: int
    n_treated: int
    n_control: int
    events: int | None
    treated: Estimate
    control: Estimate
    difference: Estimate
    ratio: Estimate | None
    better: Better

    @property
    def benefit(self) -> Estimate:
        """The difference with the sign that makes benefit positive; the absolute risk reduction of a bad event."""
        return turned(self.difference, "benefit") if self.better == "lower" else self.difference

    @property
    def estimable(self) -> bool:
        """Whether the effect could be estimated."""
        return math.isfinite(self.difference)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "n": self.n,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
            "events": self.events,
            **{k: getattr(self, k).measure().to_dict() for k in ("treated", "control", "difference", "benefit")},
            "ratio": None if self.ratio is None else self.ratio.measure().to_dict(),
        }


def _placed(found: Estimate, member: BoolArray) -> Estimate:
    """Return an estimate from some rows with an influence for every row."""
    wide = np.zeros(member.size)
    wide[member] = found.influence
    found.influence = wide
    return found


def _from_rows(
    value: float, influence: FloatArray, member: BoolArray, patient: ArrayLike | None, name: str, **more: Any
) -> Estimate:
    """Return an estimate that rests on some rows; its units are the patients of those."""
    units = None if patient is None else independent_units(np.asarray(patient)[member], int(member.sum()))
    se = math.sqrt(clustered_variance(influence, patient))
    p = two_sided_p(value, se, units) if name == "difference" else math.nan
    return Estimate.normal(
        value,
        se,
        units=units,
        name=name,
        n=int(member.sum()),
        p=None if math.isnan(p) else p,
        influence=influence,
        **more,
    )


def group_effect(
    Y: FloatArray,
    arm: BoolArray,
    member: BoolArray,
    *,
    scores: FloatArray | None = None,
    by_arm: tuple[FloatArray, FloatArray] | None = None,
    patient: ArrayLike | None = None,
    better: Better = "lower",
    level: float = 0.95,
    refused: str = "",
) -> GroupEffect:
    """Return both arms and their difference in one group of rows.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome: 0/1, any number, or a pseudo-outcome of time to event.
    arm, member : bool array, shape (n,)
        Treated, and in the group.
    scores : float array, shape (n,), optional
        Doubly robust scores of the effect, sign of Y: the difference is then their mean. Without them it is that of
        the arm means: Newcombe's interval for 0/1 without patients, a normal one otherwise.
    by_arm : pair of float arrays, shape (n,), optional
        Doubly robust scores of the outcome untreated and treated: the outcome of either arm is then their mean, as
        observational data need, where the arms as they are differ in more than treatment.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    better : {"lower", "higher"}
    level : float
    refused : str
        Why the effect is not to be estimated, for its note; empty where it is.

    Returns
    -------
    GroupEffect
        The influence values of `difference` and `ratio` have length n, with 0 outside the group.

    Examples
    --------
    >>> Y, arm = np.array([1.0, 0, 1, 1, 0, 0]), np.array([True, True, True, False, False, False])
    >>> float(group_effect(Y, arm, np.ones(6, dtype=bool)).difference)
    0.333...
    """
    checked_better(better)
    binary, n = is_binary(Y), int(member.sum())
    who = None if patient is None else np.asarray(patient)
    sides = {"treated": member & arm, "control": member & ~arm}
    empty = [name for name, rows in sides.items() if not rows.any()]
    if empty and not refused:
        refused = f"not estimable: no {' and no '.join(empty)} row in this group"
    events = int(Y[member].sum()) if binary else None
    means: dict[str, Estimate] = {}
    parts: dict[str, tuple[float, FloatArray]] = {}
    for name, rows in sides.items():
        if name in empty:
            means[name] = Estimate(math.nan, name=f"mean_{name}", level=level, note="no row of this arm")
            continue
        parts[name] = arm_mean(Y, rows, corrected=who is None)
        if by_arm is not None:
            value, psi = arm_mean(by_arm[name == "treated"], member, corrected=who is None)
            how = clustered("mean of doubly robust scores", patient)
            means[name] = _from_rows(value, psi, member, who, f"mean_{name}", level=level, method=how)
        elif binary:
            units = None if who is None else who[rows]
            means[name] = mean_share(Y[rows], patient=units, level=level, name=f"event_rate_{name}")
        else:
            means[name] = _from_rows(*parts[name], rows, who, f"mean_{name}", level=level)
    known: dict[str, Any] = {"level": level, "events": events}
    ratio: Estimate | None = None
    if refused:
        difference = Estimate(math.nan, name="difference", n=n, note=refused, **known)
        if binary and scores is None:
            ratio = Estimate(math.nan, name="risk_ratio", n=n, note=refused, **known)
    else:
        if binary:
            rates = event_rates(
                Y[member], arm[member], patient=None if who is None else who[member], better=better, level=level
            )
            difference = _placed(rates.difference, member)
            ratio = _placed(rates.ratio, member) if scores is None else None
        if scores is not None:
            mean, psi = arm_mean(scores, member, corrected=who is None)
            how = clustered("mean of doubly robust scores", patient)
            difference = _from_rows(mean, psi, member, who, "difference", method=how, **known)
        elif not binary:
            (m1, psi1), (m0, psi0) = parts["treated"], parts["control"]
            how = clustered("difference of arm means", patient)
            difference = _from_rows(m1 - m0, psi1 - psi0, member, who, "difference", method=how, **known)
        patients = None if who is None else independent_units(who[member], n)
        small = few_rows(*(int(rows.sum()) for rows in sides.values()))
        difference.note = notes(difference.note, few_units(patients), small)
    return GroupEffect(
        n=n,
        n_treated=int(sides["treated"].sum()),
        n_control=int(sides["control"].sum()),
        events=events,
        treated=means["treated"],
        control=means["control"],
        difference=difference,
        ratio=ratio,
        better=better,
    )
