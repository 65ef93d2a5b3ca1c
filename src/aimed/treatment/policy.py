"""Whom to treat when benefit, burden, cost and a budget are weighed, and what the rule is worth on other patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray, patient_codes, probabilities, vector, zero_one
from aimed.metrics.resampled import numbers
from aimed.metrics.result import (
    Curve,
    Described,
    Estimate,
    clustered,
    clustered_covariance,
    few_units,
    independent_units,
    notes,
    two_sided_p,
)
from aimed.metrics.targeting import aipw_scores, policy_difference, policy_value, toc

__all__ = [
    "PolicyEvaluation",
    "Preferences",
    "TargetedFraction",
    "evaluate_policy",
    "targeted_fraction",
    "treat_above",
    "treat_top",
]

_AGAINST = ("all", "none", "current")
_SHARES: FloatArray = np.arange(1, 21) / 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a benefit is worth and what treatment takes, in units of the outcome.

    Parameters
    ----------
    benefit_weight : float
        Utility of one unit of benefit.
    burden : float
        Harm and bother of being treated, in utility per treated patient, beyond what the outcome holds.
    cost : float
        Cost per treated patient, in the same utility.
    minimal_benefit : float
        Least benefit that is worth a treatment, whatever it costs.

    Raises
    ------
    DataError
        If a number is not finite, negative, or the weight of benefit is 0.

    Examples
    --------
    >>> Preferences(burden=0.02, cost=0.01).threshold
    0.03
    >>> Preferences(benefit_weight=2, burden=0.02).threshold
    0.01
    """

    benefit_weight: float = 1.0
    burden: float = 0.0
    cost: float = 0.0
    minimal_benefit: float = 0.0

    def __post_init__(self) -> None:
        for name in ("benefit_weight", "burden", "cost", "minimal_benefit"):
            number = float(getattr(self, name))
            object.__setattr__(self, name, number)
            if not math.isfinite(number) or number < 0:
                raise DataError(f"{name} is not a number from 0", "a finite number, 0 or more")
        if self.benefit_weight == 0:
            raise DataError("benefit_weight is 0", "a weight above 0")

    @property
    def per_treated(self) -> float:
        """Utility that each treatment takes."""
        return self.burden + self.cost

    @property
    def threshold(self) -> float:
        """Benefit above which treatment is worth it."""
        return max(self.minimal_benefit, self.per_treated / self.benefit_weight)

    def net(self, benefit: ArrayLike) -> FloatArray:
        """Return the utility of treating, given its benefit, shape (n,).

        Examples
        --------
        >>> Preferences(benefit_weight=2, burden=0.5).net([1.0, 0.0])
        array([ 1.5, -0.5])
        """
        return self.benefit_weight * vector("benefit", benefit) - self.per_treated

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON types."""
        return asdict(self) | {"threshold": self.threshold}


def treat_above(benefit: ArrayLike, preferences: Preferences | None = None) -> FloatArray:
    """Return 1 for the patients whose predicted benefit is above the threshold, else 0.

    Parameters
    ----------
    benefit : array, shape (n,)
        Predicted benefit, larger is better.
    preferences : Preferences, optional
        Without them anyone with a benefit above 0 is treated.

    Returns
    -------
    float array, shape (n,)

    Examples
    --------
    >>> treat_above([0.05, 0.01, -0.02], Preferences(burden=0.02))
    array([1., 0., 0.])
    """
    wanted = Preferences() if preferences is None else preferences
    return (vector("benefit", benefit) > wanted.threshold).astype(np.float64)


def treat_top(benefit: ArrayLike, share: float, preferences: Preferences | None = None) -> FloatArray:
    """Return the chance of treatment when only a share of the patients can be treated: those with the largest benefit.

    Parameters
    ----------
    benefit : array, shape (n,)
        Predicted benefit, larger is better.
    share : float
        Largest share of patients that can be treated, 0 to 1.
    preferences : Preferences, optional
        Nobody at or below their threshold is treated, even where the budget would allow it; without them the budget
        is used up only by predicted benefits above 0.

    Returns
    -------
    float array, shape (n,)
        1 treat, 0 do not; patients with one benefit at the border share what is left of the budget by chance.

    Raises
    ------
    DataError
        If the share lies outside [0, 1].

    Examples
    --------
    >>> treat_top([0.3, 0.2, 0.2, 0.1], 0.5)
    array([1. , 0.5, 0.5, 0. ])
    """
    gain = vector("benefit", benefit)
    if not 0 <= share <= 1:
        raise DataError("share lies outside [0, 1]", "a share of the patients")
    wanted = treat_above(gain, preferences)
    places = float(share) * gain.size
    _, place, count = np.unique(-gain, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    chance = np.clip((places - before) / count, 0.0, 1.0)
    # Sums of shares such as 0.3 * 10 fall short of a whole patient by rounding.
    chance[np.abs(chance - 1) < 1e-9] = 1.0
    chance[chance < 1e-9] = 0.0
    return np.asarray(chance[place] * wanted)


def _outcome(better: str) -> tuple[str, float]:
    if better not in ("lower", "higher"):
        raise DataError("better is neither 'lower' nor 'higher'", "'lower' where a low outcome is good, or 'higher'")
    return ("harm", -1.0) if better == "lower" else ("good", 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyEvaluation(Described):
    """What a policy is worth on patients it was not made from.

    Parameters
    ----------
    estimate : Estimate
        Mean outcome if the policy were followed. What it knows (`value`, `lower`, ...) is also known here.
    share_treated : Estimate
    outcome_difference : mapping of str to Estimate
        Mean outcome less that of treating ``all``, ``none`` and of ``current`` practice, on the scale of the outcome.
    net_gain : mapping of str to Estimate
        Utility gained per patient over the same, net of burden and cost; above 0 is better.
    preferences : Preferences
    better : str

    Examples
    --------
    >>> found = evaluate_policy([1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], [1, 0, 1, 1, 1, 0], propensity=0.5)
    >>> found.value, sorted(found.net_gain)
    (0.0, ['all', 'current', 'none'])
    """

    estimate: Estimate
    share_treated: Estimate
    outcome_difference: Mapping[str, Estimate]
    net_gain: Mapping[str, Estimate]
    preferences: Preferences
    better: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "value": self.estimate.measure().to_dict(),
            "share_treated": self.share_treated.measure().to_dict(),
            "outcome_difference": {k: _with_p(v) for k, v in self.outcome_difference.items()},
            "net_gain": {k: _with_p(v) for k, v in self.net_gain.items()},
            "preferences": self.preferences.to_dict(),
            "better": self.better,
        }


def _with_p(found: Estimate) -> dict[str, Any]:
    known = found.p is not None and math.isfinite(found.p)
    return found.measure().to_dict() | {"p": float(found.p) if known and found.p is not None else None}


def _share(what: FloatArray, patient: ArrayLike | None, level: float) -> Estimate:
    value = float(what.mean())
    return Estimate.from_influence(
        value,
        (what - value) / what.size,
        patient,
        level=level,
        name="share_treated",
        bounds=(0.0, 1.0),
        method=clustered("mean of the policy", patient),
        why="all are treated alike",
    )


def evaluate_policy(
    Y: ArrayLike,
    T: ArrayLike,
    policy: ArrayLike,
    *,
    better: str = "lower",
    preferences: Preferences | None = None,
    propensity: ArrayLike | float | None = None,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> PolicyEvaluation:
    """Return the value of a policy against treating all, nobody and as was done, on patients it was not made from.

    Parameters
    ----------
    Y : array, shape (n,)
        Outcome.
    T : array, shape (n,)
        1 active, 0 control.
    policy : array, shape (n,)
        1 treat, 0 do not, or the chance of treatment; made without these outcomes.
    better : {"lower", "higher"}
        Which way of `Y` is good.
    preferences : Preferences, optional
    propensity : float or array, shape (n,), optional
        Chance of active treatment in the data; the observed share without it.
    mu0, mu1 : array, shape (n,), optional
        Predicted outcomes from models that did not see the row: doubly robust values.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    DataError
        If shapes disagree or the policy is not a chance.
    NotEstimableError
        If a propensity is 0 or 1, or nobody was treated as the policy says.

    References
    ----------
    Dudik, Erhan, Langford and Li, Statistical Science 2014;29:485. Athey and Wager, Econometrica 2021;89:133.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.normal(size=2000), rng.integers(0, 2, 2000)
    >>> found = evaluate_policy(x * t + rng.normal(size=2000), t, x > 0, better="higher", propensity=0.5)
    >>> found.net_gain["all"].lower > 0, found.net_gain["none"].lower > 0
    (True, True)
    """
    _, sign = _outcome(better)
    wanted = Preferences() if preferences is None else preferences
    seen = vector("Y", Y)
    n = seen.size
    arm = zero_one("T", T, n)
    chance = probabilities("policy", policy, n)
    options: dict[str, Any] = {
        "propensity": propensity,
        "mu0": mu0,
        "mu1": mu1,
        "patient": patient,
        "level": level,
    }
    raw = {name: policy_difference(seen, arm, chance, name, **options) for name in _AGAINST}
    there = {"all": np.ones(n), "none": np.zeros(n), "current": arm}
    gains = {}
    for name, found in raw.items():
        more = chance - there[name]
        extra = float(more.mean())
        value = wanted.benefit_weight * sign * found.value - wanted.per_treated * extra
        psi = wanted.benefit_weight * sign * np.asarray(found.influence, dtype=np.float64)
        psi = psi - wanted.per_treated * (more - extra) / n
        gains[name] = Estimate.from_influence(
            value,
            psi,
            patient,
            level=level,
            name="net_gain",
            method=f"utility per patient, net of burden and cost; {found.method}",
            note=found.note,
            why="both treat the same patients",
        )
        gains[name].p = two_sided_p(value, gains[name].se, independent_units(patient, n))
    return PolicyEvaluation(
        estimate=policy_value(seen, arm, chance, **options),
        share_treated=_share(chance, patient, level),
        outcome_difference=raw,
        net_gain=gains,
        preferences=wanted,
        better=better,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetedFraction:
    """What is gained when a growing share is treated, those with the largest predicted benefit first.

    Parameters
    ----------
    gain : Curve
        Utility gained per patient (of all) over treating nobody, net of burden and cost; `x` is the share treated.
    random : Curve
        The same when as many are treated at random.
    above_random : Curve
        Gain less that at random, with its own interval.
    best_share : float
        Share with the largest gain on these rows, 0 for nobody: read off after the fact, and so too hopeful.
    note : str

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.normal(size=2000), rng.integers(0, 2, 2000)
    >>> found = targeted_fraction(x * t + rng.normal(size=2000), t, x, better="higher", propensity=0.5)
    >>> 0.3 < found.best_share < 0.7, bool(found.above_random.lower[9] > 0)
    (True, True)
    """

    gain: Curve
    random: Curve
    above_random: Curve
    best_share: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, one record a share."""
        columns = {"share": self.gain.x}
        for name in ("gain", "random", "above_random"):
            curve = getattr(self, name)
            columns |= {name: curve.value, f"{name}_lower": curve.lower, f"{name}_upper": curve.upper}
        plain = [numbers(v) for v in columns.values()]
        points = [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]
        return {"points": points, "best_share": self.best_share, "n": self.gain.n, "note": self.note}


def targeted_fraction(
    Y: ArrayLike,
    T: ArrayLike,
    benefit: ArrayLike,
    *,
    better: str = "lower",
    shares: ArrayLike | None = None,
    preferences: Preferences | None = None,
    propensity: ArrayLike | float | None = None,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> TargetedFraction:
    """Return the gain by share treated, by predicted benefit and at random, with pointwise intervals.

    Parameters
    ----------
    Y, T, better, preferences, propensity, mu0, mu1, patient, level
        As in `evaluate_policy`.
    benefit : array, shape (n,)
        Predicted benefit from a model that did not see these rows; larger is better, whatever `better` says of `Y`.
    shares : array, shape (k,), optional
        Shares treated, above 0 and up to 1; 0.05, 0.10, ..., 1 when absent.

    Raises
    ------
    NotEstimableError
        If an arm is empty or a propensity is 0 or 1.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager, JASA 2025;120:38. Sverdrup, Wu, Athey and Wager, arXiv:2306.11979
    (Qini curves with costs).

    Examples
    --------
    >>> targeted_fraction([1, 0, 1, 0], [0, 1, 0, 1], [0.2, 0.2, 0.2, 0.2], shares=[0.5, 1]).gain.value
    array([0.5, 1. ])
    """
    outcome, _ = _outcome(better)
    wanted = Preferences() if preferences is None else preferences
    seen = vector("Y", Y)
    n = seen.size
    first = vector("benefit", benefit, n)
    share = vector("shares", _SHARES if shares is None else shares)
    if share.min() <= 0 or share.max() > 1:
        raise DataError("shares outside (0, 1]", "shares above 0 and up to 1")
    net = wanted.net(aipw_scores(seen, T, mu0, mu1, propensity, outcome=outcome))
    mean = float(net.mean())
    level_psi = np.outer((net - mean) / n, share)
    units = independent_units(patient, n)
    if np.ptp(first) > 0:
        found = toc(net, first, q=share, patient=patient, level=level)
        above = share * found.value
        above_psi = np.asarray(found.influence, dtype=np.float64) * share
        note = ""
    else:
        above, above_psi = np.zeros(share.size), np.zeros((n, share.size))
        note = "one predicted benefit for all rows: nobody comes first, and targeting is treating at random"
    codes = None if patient is None else patient_codes(patient, n)

    def curve(name: str, value: FloatArray, psi: FloatArray, said: str) -> Curve:
        return Curve.normal(
            value,
            np.sqrt(np.diag(clustered_covariance(psi, codes))),
            level=level,
            units=units,
            name=name,
            axis="share treated",
            x=share,
            n=n,
            method=clustered(f"{said}, net of burden and cost; infinitesimal jackknife", patient),
            note=notes(note, few_units(units)),
            influence=psi,
        )

    gain = share * mean + above
    best = int(np.argmax(gain))
    return TargetedFraction(
        gain=curve("gain", gain, level_psi + above_psi, "doubly robust gain over treating nobody"),
        random=curve("gain_at_random", share * mean, level_psi, "mean gain times the share treated"),
        above_random=curve("gain_above_random", above, above_psi, "gain by predicted benefit less gain at random"),
        best_share=float(share[best]) if gain[best] > 0 else 0.0,
        note=note,
    )
