"""Is it worth treating some patients first: doubly robust scores, TOC, RATE, Qini curves and the value of a policy."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    FloatArray,
    IntArray,
    dot,
    patient_codes,
    probabilities,
    tally,
    vector,
    weighted_mean,
    weights_of,
    zero_one,
)
from aimed.metrics.draws import BLOCK
from aimed.metrics.kernels.benefit import targeting_sums
from aimed.metrics.result import (
    Curve,
    Described,
    Estimate,
    clustered,
    clustered_variance,
    few_units,
    independent_units,
    notes,
    patient_sums,
    two_sided_p,
)

__all__ = [
    "SMALL_PROPENSITY",
    "QiniCurve",
    "RateReplicates",
    "aipw_scores",
    "policy_difference",
    "policy_value",
    "qini",
    "rate",
    "toc",
]

SMALL_PROPENSITY = 0.05
"""Below this chance of the treatment that was given, overlap is called weak."""

_CURVE_POINTS = 201
_BORDER = 0.25


def _good(y: FloatArray, outcome: str) -> FloatArray:
    """Return the outcome so that larger is better."""
    if outcome not in ("harm", "good"):
        raise DataError("outcome is neither 'harm' nor 'good'", "'harm' where large y is bad, 'good' where it is good")
    return y if outcome == "good" else -y


def _chance(propensity: ArrayLike | float | None, arm: NDArray[np.bool_], weights: FloatArray) -> FloatArray:
    """Return each row's chance of treatment, strictly between 0 and 1."""
    if propensity is None:
        chance = np.full(arm.size, float(weights[arm].sum() / weights.sum()))
    elif np.ndim(propensity) == 0:
        chance = np.full(arm.size, float(np.asarray(propensity, dtype=np.float64)))
    else:
        chance = vector("propensity", propensity, arm.size)
    outside = int((~((chance > 0) & (chance < 1))).sum())
    if outside:
        raise NotEstimableError(
            f"propensity is not strictly between 0 and 1 in {outside} of {arm.size} rows",
            "every patient could have been treated and could have been left untreated",
        )
    return chance


def _effective(weights: FloatArray) -> float:
    """Return Kish's effective sample size."""
    squares = dot(weights, weights)
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _events(y: FloatArray) -> int | None:
    return int(y.sum()) if bool(np.isin(y, (0.0, 1.0)).all()) else None


def _arm_mean(y: FloatArray, weights: FloatArray, what: str) -> float:
    if weights.sum() <= 0:
        raise NotEstimableError(f"no {what} row", "rows in both arms")
    return weighted_mean(y, weights)


def aipw_scores(
    y: ArrayLike,
    treated: ArrayLike,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    propensity: ArrayLike | float | None = None,
    *,
    outcome: str = "harm",
    weights: ArrayLike | None = None,
) -> FloatArray:
    """Return doubly robust scores: a noisy, unbiased benefit of treatment for each row.

    Their mean over any group of patients estimates the mean benefit of treating that group.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome, 0/1 or continuous.
    treated : array, shape (n,)
        1 treated, 0 not.
    mu0, mu1 : array, shape (n,), optional
        Predicted outcome untreated and treated, on the scale of `y`, from models that did not see the row
        (cross-fitting). Without them the mean of each arm stands in: inverse probability weighting, centred.
    propensity : float or array, shape (n,), optional
        Chance of treatment given the covariates; in a trial the known one. Without it the observed share.
    outcome : {"harm", "good"}
        Whether large `y` is bad (default): then the benefit is the fall in `y`.
    weights : array, shape (n,), optional
        Row weights, for the means that stand in.

    Returns
    -------
    float array, shape (n,)

    Raises
    ------
    NotEstimableError
        If a propensity is 0 or 1, or an arm is empty.

    Warns
    -----
    UserWarning
        If the given treatment had a chance below 0.05 in some rows; the effective sample size is told.

    Notes
    -----
    Formula: mu1 - mu0 + t (y - mu1) / e - (1 - t) (y - mu0) / (1 - e), with the sign turned where y is bad.
    Range: any number.
    Assumes: no confounding beyond what propensity and outcome models hold; one of the two is right.
    Refuses: propensity 0 or 1; only one of mu0 and mu1; an empty arm.

    References
    ----------
    Robins, Rotnitzky and Zhao, JASA 1994;89:846.

    Examples
    --------
    >>> aipw_scores([1, 0, 0, 0], [0, 0, 1, 1], propensity=0.5)
    array([ 1.5, -0.5,  0.5,  0.5])
    """
    seen = vector("y", y)
    good = _good(seen, outcome)
    arm = zero_one("treated", treated, seen.size) == 1
    w = weights_of(weights, seen.size)
    chance = _chance(propensity, arm, w)
    given = np.where(arm, chance, 1 - chance)
    low = int((given < SMALL_PROPENSITY).sum())
    if low:
        warnings.warn(
            f"{low} of {seen.size} rows had a chance below {SMALL_PROPENSITY} of the treatment they were given: "
            f"effective sample size {_effective(w / given):.0f}",
            UserWarning,
            stacklevel=2,
        )
    if (mu0 is None) != (mu1 is None):
        raise DataError("only one of mu0 and mu1 was given", "both or neither")
    if mu0 is None or mu1 is None:
        inverse = w / given
        untreated = np.full(seen.size, _arm_mean(good[~arm], inverse[~arm], "untreated"))
        under_treatment = np.full(seen.size, _arm_mean(good[arm], inverse[arm], "treated"))
    else:
        untreated = _good(vector("mu0", mu0, seen.size), outcome)
        under_treatment = _good(vector("mu1", mu1, seen.size), outcome)
    rest = np.where(arm, good - under_treatment, untreated - good) / given
    return np.asarray(under_treatment - untreated + rest, dtype=np.float64)


class _Ranking(NamedTuple):
    """Rows by falling priority, in groups of equal priority."""

    order: IntArray
    ends: NDArray[np.bool_]
    place: IntArray
    mass: FloatArray
    reached: FloatArray
    effect: FloatArray
    total: float
    mean: float


def _sorted_down(priority: FloatArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return rows by falling priority and where each group of equal priority ends."""
    down = -priority
    order = np.argsort(down)
    ranked = down[order]
    ends = np.ones(order.size, dtype=bool)
    np.not_equal(ranked[1:], ranked[:-1], out=ends[:-1])
    if not ends.all():
        # The fast sort leaves tied rows in no set order; sums over them must not depend on it.
        order = np.argsort(down, kind="stable")
    return order, ends


def _ranking(scores: FloatArray, priority: FloatArray, weights: FloatArray) -> _Ranking:
    if weights.min() > 0:
        order, ends = _sorted_down(priority)
    else:
        some = np.flatnonzero(weights > 0)
        inner, ends = _sorted_down(priority[some])
        order = some[inner]
    group = np.zeros(order.size, dtype=np.int64)
    np.cumsum(ends[:-1], out=group[1:])
    w = weights[order]
    mass = tally(group, w, int(group[-1]) + 1)
    cumulative = np.cumsum(mass)
    total = float(cumulative[-1])
    reached = cumulative / total
    reached[-1] = 1.0
    effect = tally(group, w * scores[order], mass.size) / mass
    place = np.full(priority.size, -1)
    place[order] = group
    mean = float((weights * scores).sum()) / total
    return _Ranking(order, ends, place, mass, reached, effect, total, mean)


def _targeting(
    scores: ArrayLike, priority: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray, _Ranking]:
    benefit = vector("scores", scores)
    first = vector("priority", priority, benefit.size)
    w = weights_of(weights, benefit.size)
    ranking = _ranking(benefit, first, w)
    if ranking.mass.size < 2:
        raise NotEstimableError("one priority for all rows", "priorities that put somebody first")
    return benefit, first, w, ranking


def _cumulative_weight(target: str, reached: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return h and its slope at the shares reached; RATE is the sum of group effects times the steps of h."""
    if target == "QINI":
        return reached * (1 - reached) / 2, 0.5 - reached
    return -reached * np.log(reached), -np.log(reached) - 1


def _rate_influence(scores: FloatArray, weights: FloatArray, ranking: _Ranking, target: str) -> FloatArray:
    h, slope = _cumulative_weight(target, ranking.reached)
    step = np.diff(h, prepend=0.0)
    # A row's weight moves the shares of all groups after it, hence the sums from the end.
    jump = np.append(ranking.effect[1:] * np.diff(slope), 0.0)
    later = np.cumsum(jump[::-1])[::-1]
    moved = ranking.effect * slope + later
    centre = dot(ranking.effect, np.diff(slope * ranking.reached, prepend=0.0))
    place = ranking.place
    psi = (scores - ranking.effect[place]) * (step / ranking.mass)[place] + (moved[place] - centre) / ranking.total
    return np.where(weights > 0, weights * psi, 0.0)


def _grf_sum(scores: FloatArray, weights: FloatArray, ranking: _Ranking, target: str) -> float:
    """Return the sum over rows that grf takes for the integral."""
    w = weights[ranking.order]
    effect = ranking.effect[ranking.place[ranking.order]]
    cumulative = np.cumsum(w)
    above = np.cumsum(w * effect) / cumulative - ranking.mean
    if target == "QINI":
        above = above * cumulative / cumulative[-1]
    return dot(w, above) / float(cumulative[-1])


def rate(
    scores: ArrayLike,
    priority: ArrayLike,
    *,
    target: str = "AUTOC",
    rule: str = "exact",
    method: str = "influence",
    weights: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Return the rank-weighted average treatment effect: does treating by priority beat treating at random.

    Parameters
    ----------
    scores : array, shape (n,)
        Unbiased benefit of each row, from `aipw_scores`.
    priority : array, shape (n,)
        Who is treated first, larger first; made without the rows it is judged on. Only its order counts; rows with
        equal priority share their mean score.
    target : {"AUTOC", "QINI"}
        Plain mean of the TOC curve, or weighted by the share treated. AUTOC has more power where few gain, QINI where
        the benefit is spread.
    rule : {"exact", "grf"}
        How the mean over shares is taken: as the exact integral of the curve, or as grf's sum over rows, which differs
        by the order of 1 / n.
    method : {"influence", "half-sample"}
        Standard error: influence values, or grf's bootstrap of half the patients.
    weights : array, shape (n,), optional
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    draws, seed : int
        Of the half-sample bootstrap.

    Returns
    -------
    Estimate
        `p` tests that priority does not tell who gains (RATE = 0).

    Raises
    ------
    NotEstimableError
        If all rows have one priority.

    Notes
    -----
    Formula: TOC(q) = mean score of the top q less the mean score of all; AUTOC = mean of TOC over q in (0, 1); QINI =
        mean of q TOC(q).
    Range: any number, on the scale of the benefit; 0 says that priority does not tell who gains.
    Assumes: unbiased scores (randomised, or no unmeasured confounding); priority made on other rows.
    Refuses: one priority for all rows.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager, JASA 2025;120:38.

    Examples
    --------
    >>> round(rate([4.0, 2.0, 0.0, -2.0], [9, 8, 7, 6]).value, 4), rate([4, 2, 0, -2], [9, 8, 7, 6], rule="grf").value
    (1.8178, 1.5)
    """
    if target not in ("AUTOC", "QINI"):
        raise DataError("target is neither 'AUTOC' nor 'QINI'", "'AUTOC' or 'QINI'")
    if rule not in ("exact", "grf") or method not in ("influence", "half-sample"):
        raise DataError("rule or method is unknown", "rule 'exact' or 'grf', method 'influence' or 'half-sample'")
    benefit, first, w, ranking = _targeting(scores, priority, weights)
    order, out, once = ranking.order, np.empty(1), np.ones((benefit.size, 1))
    targeting_sums(order, benefit[order], ranking.ends, w[order], once, target == "QINI", out)
    value = float(out[0])
    said = "exact integral, ties averaged"
    if rule == "grf":
        value, said = _grf_sum(benefit, w, ranking, target), "sum over rows as in grf, ties averaged"
    psi = _rate_influence(benefit, w, ranking, target)
    se = math.sqrt(clustered_variance(psi, patient))
    said = clustered(f"{said}; infinitesimal jackknife", patient)
    if method == "half-sample":
        codes = patient_codes(patient, benefit.size)
        halves = _half_samples(RateReplicates(benefit, first, codes, target=target, weights=w), codes, draws, seed)
        se, said = float(np.nanstd(halves, ddof=1)), f"{said.split(';')[0]}; {draws} half-samples, seed {seed}"
    units = independent_units(patient, benefit.size)
    return Estimate.normal(
        value,
        se,
        level=level,
        units=units,
        name=target.lower(),
        n=benefit.size,
        method=said,
        p=two_sided_p(value, se, units),
        influence=psi,
    )


def _half_samples(replicates: RateReplicates, codes: IntArray, draws: int, seed: int) -> FloatArray:
    patients = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    parts = []
    for done in range(0, draws, BLOCK):
        counts = np.zeros((patients, min(BLOCK, draws - done)), dtype=np.uint8)
        for column in counts.T:
            column[rng.permutation(patients)[: patients // 2]] = 1
        parts.append(replicates.replicate(counts))
    return np.concatenate(parts)


class RateReplicates:
    """RATE of resamples of patients over one sort of the priorities.

    Parameters
    ----------
    scores, priority, target, weights
        As in `rate`, exact rule.
    codes : int array, shape (n,)
        Patient number of each row; see `aimed.metrics.draws.PatientDraws`.

    Examples
    --------
    >>> again = RateReplicates([4.0, 2.0, 0.0, -2.0], [9, 8, 7, 6], np.arange(4), target="QINI")
    >>> again.replicate(np.ones((4, 1), dtype=np.uint8))
    array([0.625])
    """

    def __init__(
        self,
        scores: ArrayLike,
        priority: ArrayLike,
        codes: IntArray,
        *,
        target: str = "AUTOC",
        weights: ArrayLike | None = None,
    ) -> None:
        if target not in ("AUTOC", "QINI"):
            raise DataError("target is neither 'AUTOC' nor 'QINI'", "'AUTOC' or 'QINI'")
        benefit = vector("scores", scores)
        order, self._ends = _sorted_down(vector("priority", priority, benefit.size))
        self._scores, self._weights = benefit[order], weights_of(weights, benefit.size)[order]
        self._codes = np.asarray(codes, dtype=np.int64)[order]
        self._qini = target == "QINI"

    def replicate(self, counts: NDArray[np.uint8] | FloatArray) -> FloatArray:
        """Return RATE of each replicate, shape (b,); NaN where all drawn rows have one priority.

        Parameters
        ----------
        counts : array, shape (patients, b)
            How often each patient was drawn.
        """
        out = np.empty(counts.shape[1])
        block = counts if counts.flags.c_contiguous else counts.copy()
        targeting_sums(self._codes, self._scores, self._ends, self._weights, block, self._qini, out)
        return out


def toc(
    scores: ArrayLike,
    priority: ArrayLike,
    *,
    q: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Curve:
    """Return the targeting operator characteristic: the extra benefit of the top share over treating all alike.

    Parameters
    ----------
    scores, priority, weights, patient, level
        As in `rate`.
    q : array, shape (k,), optional
        Shares treated, above 0 and up to 1; 0.1, 0.2, ..., 1 when absent.

    Returns
    -------
    Curve
        Pointwise intervals. In the influence values the effect at the border of the top share is a mean over the shares
        around it, up to n ** -0.2 / 4 to either side.

    Raises
    ------
    DataError
        If a share is not above 0 and up to 1.
    NotEstimableError
        If all rows have one priority.

    Notes
    -----
    Formula: mean score of the q with the highest priority less the mean score of all; the group at the border enters
        with its mean score and the part of it that is needed.
    Range: any number; 0 at q = 1.
    Assumes: as `rate`.
    Refuses: one priority for all rows; shares outside (0, 1].

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager, JASA 2025;120:38.

    Examples
    --------
    >>> toc([4.0, 2.0, 0.0, -2.0], [9, 8, 7, 6], q=[0.25, 0.5, 1]).value
    array([3., 2., 0.])
    """
    benefit, _, w, ranking = _targeting(scores, priority, weights)
    share = vector("q", np.arange(1, 11) / 10 if q is None else q)
    if share.min() <= 0 or share.max() > 1:
        raise DataError(f"q has {int(((share <= 0) | (share > 1)).sum())} shares outside (0, 1]", "shares above 0")
    reached_before = np.append(0.0, ranking.reached[:-1])
    gained_before = np.append(0.0, np.cumsum(ranking.effect * ranking.mass)[:-1]) / ranking.total
    border = np.minimum(np.searchsorted(ranking.reached, share, side="left"), ranking.mass.size - 1)
    gained = gained_before[border] + ranking.effect[border] * (share - reached_before[border])
    value = gained / share - ranking.mean
    # The influence needs the mean effect at the border; the scores of the rows that happen to lie there are too noisy.
    near = np.minimum(np.minimum(share, 1 - share), _BORDER * benefit.size**-0.2)
    near = np.where(near > 0, near, 1.0)
    corners, heights = np.append(0.0, ranking.reached), np.append(0.0, np.cumsum(ranking.effect * ranking.mass))
    rise = np.interp(share + near, corners, heights) - np.interp(share - near, corners, heights)
    at_border = rise / (2 * near * ranking.total)
    psi = np.empty((benefit.size, share.size))
    for j, k in enumerate(border):
        # Share of each row that is inside the top q.
        inside = (ranking.place < k).astype(np.float64)
        part = (share[j] - reached_before[k]) * ranking.total / ranking.mass[k]
        inside[ranking.place == k] = part
        own = inside * (benefit - at_border[j]) - (gained[j] - at_border[j] * share[j])
        psi[:, j] = w * (own / share[j] - (benefit - ranking.mean)) / ranking.total
    value = np.where(share == 1.0, 0.0, value)
    psi[:, share == 1.0] = 0.0
    sums = patient_sums(psi, None if patient is None else patient_codes(patient, benefit.size))
    return Curve.normal(
        value,
        np.sqrt(np.einsum("np,np->p", sums, sums)),
        level=level,
        units=independent_units(patient, benefit.size),
        name="toc",
        axis="share treated",
        x=share,
        n=benefit.size,
        method=clustered("ties in priority averaged, effect at the border smoothed; infinitesimal jackknife", patient),
        note=few_units(independent_units(patient, benefit.size)),
        influence=psi,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QiniCurve(Described):
    """A Qini or uplift curve with the area between it and treating at random.

    Parameters
    ----------
    estimate : Estimate
        Qini coefficient: area between the curve and the straight line of treating at random, with the test that it is
        0. What it knows (`value`, `lower`, `p`, ...) is also known here.
    x : float array, shape (k,)
        Share of patients treated, from 0 to 1.
    uplift : float array, shape (k,)
        Gain when the share with the largest predicted benefit is treated.
    random : float array, shape (k,)
        Gain when as many are treated at random.
    normalised : float
        Coefficient over that of a perfect ranking of these outcomes (Radcliffe's Q); NaN where not defined.

    Examples
    --------
    >>> found = qini([1, 1, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1], [4, 3, 2, 1, 4, 3, 2, 1])
    >>> float(found), found.x[-1].item(), found.uplift[-1].item()
    (0.15625, 1.0, 0.25)
    """

    estimate: Estimate
    x: FloatArray
    uplift: FloatArray
    random: FloatArray
    normalised: float


class _Area(NamedTuple):
    shares: FloatArray
    uplift: FloatArray
    value: float
    influence: FloatArray


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _from_end(values: FloatArray) -> FloatArray:
    return np.cumsum(values[::-1])[::-1]


def _area(good: FloatArray, arm: NDArray[np.bool_], benefit: FloatArray, w: FloatArray, convention: str) -> _Area:
    """Return the curve of counts at the end of each group of equal predictions, its area and influence."""
    ranking = _ranking(good, benefit, w)
    k, place, shares, total = ranking.mass.size, ranking.place, ranking.reached, ranking.total
    sums = []
    for side in (arm, ~arm):
        rows = side & (w > 0)
        at = place[rows]
        sums.append(np.cumsum(tally(at, w[rows], k)))
        sums.append(np.cumsum(tally(at, w[rows] * good[rows], k)))
    n_t, y_t, n_c, y_c = sums
    rate_c = _ratio(y_c, n_c)
    rate_t = _ratio(y_t, n_t)
    many = n_t[-1]
    if convention == "radcliffe":
        uplift = (y_t - rate_c * n_t) / many
    else:
        both = (n_t > 0) & (n_c > 0)
        effect = np.where(both, rate_t - rate_c, 0.0)
        uplift = effect * shares
    middle = (uplift + np.append(0.0, uplift[:-1])) / 2
    under = dot(middle, np.diff(shares, prepend=0.0))
    # Weight of each point in the area by trapezoids, less the triangle below the straight line.
    part = (np.append(shares[1:], 1.0) - np.append(0.0, shares[:-1])) / 2
    part[-1] -= 0.5
    if convention == "radcliffe":
        odds = _ratio(n_t, n_c)
        treated = (good * _from_end(part)[place] - _from_end(part * rate_c)[place] - dot(part, uplift)) / many
        control = (_from_end(part * odds * rate_c)[place] - good * _from_end(part * odds)[place]) / many
        psi = np.where(arm, treated, control)
    else:
        to_t = np.where(both, part * _ratio(shares, n_t), 0.0)
        to_c = np.where(both, part * _ratio(shares, n_c), 0.0)
        treated = good * _from_end(to_t)[place] - _from_end(to_t * rate_t)[place]
        control = _from_end(to_c * rate_c)[place] - good * _from_end(to_c)[place]
        psi = np.where(arm, treated, control) + (_from_end(part * effect)[place] - dot(part, uplift)) / total
    psi = w * (psi + (middle[place] - under) / total)
    return _Area(shares, uplift, under - float(uplift[-1]) / 2, psi)


def _ipw_area(scores: FloatArray, benefit: FloatArray, w: FloatArray) -> _Area:
    ranking = _ranking(scores, benefit, w)
    uplift = np.cumsum(ranking.effect * ranking.mass) / ranking.total
    h = _cumulative_weight("QINI", ranking.reached)[0]
    value = dot(ranking.effect, np.diff(h, prepend=0.0))
    return _Area(ranking.reached, uplift, value, _rate_influence(scores, w, ranking, "QINI"))


def qini(
    y: ArrayLike,
    treated: ArrayLike,
    benefit: ArrayLike,
    *,
    propensity: ArrayLike | float | None = None,
    outcome: str = "harm",
    convention: str | None = None,
    weights: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> QiniCurve:
    """Return the Qini curve: the gain when patients are treated in the order of predicted benefit.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome, 0/1 or continuous.
    treated : array, shape (n,)
        1 treated, 0 not.
    benefit : array, shape (n,)
        Predicted benefit, larger first; only its order counts. Rows with equal predictions enter together.
    propensity : float or array, shape (n,), optional
        Chance of treatment where it differs between patients, or is known.
    outcome : {"harm", "good"}
        Whether large `y` is bad (default).
    convention : {"radcliffe", "gain", "ipw"}, optional
        ``radcliffe``: good outcomes of the treated less those of the untreated scaled to as many, per treated patient
        of the trial; the default without `propensity`. ``gain``: difference of the arm means in the top share, times
        that share, per patient. ``ipw``: mean of inverse-probability scores in the top share, times that share, per
        patient; the default with `propensity`; its coefficient is `rate` with QINI.
    weights : array, shape (n,), optional
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    QiniCurve
        Up to 201 points of the curve; the coefficient uses all.

    Raises
    ------
    NotEstimableError
        If an arm is empty, all predictions are equal, or a propensity is 0 or 1.

    Notes
    -----
    Formula: area between the curve and the straight line to its end, by trapezoids over the share treated;
        Radcliffe's curve is (Y_t - Y_c N_t / N_c) / N_t(all), sums over the top share, Y_c N_t / N_c = 0 while N_c = 0.
    Range: any number; 0 is no better than treating at random.
    Assumes: treatment was randomised, with one chance for all unless `propensity` is given.
    Refuses: an empty arm; one prediction for all rows; `propensity` with a convention that counts.

    References
    ----------
    Radcliffe, Direct Marketing Analytics Journal 2007;1:14. Gutierrez and Gerardy, PMLR 2017;67:1.

    Examples
    --------
    >>> found = qini([1, 1, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1], [4, 3, 2, 1, 4, 3, 2, 1])
    >>> found.uplift.round(3), found.random.round(3)
    (array([0.  , 0.25, 0.25, 0.5 , 0.25]), array([0.   , 0.062, 0.125, 0.188, 0.25 ]))
    """
    seen = vector("y", y)
    arm = zero_one("treated", treated, seen.size) == 1
    first = vector("benefit", benefit, seen.size)
    w = weights_of(weights, seen.size)
    events = _events(seen)
    good = _good(seen, outcome)
    rule = convention or ("radcliffe" if propensity is None else "ipw")
    if rule not in ("radcliffe", "gain", "ipw") or (propensity is not None and rule != "ipw"):
        raise DataError(
            "convention is unknown, or counts patients although a propensity was given",
            "'radcliffe', 'gain' or 'ipw'; 'ipw' with a propensity",
        )
    if not w[arm].any() or not w[~arm].any():
        raise NotEstimableError("an arm without rows", "rows in both arms")
    if np.ptp(first[w > 0]) == 0:
        raise NotEstimableError("one predicted benefit for all rows", "predictions that put somebody first")
    normalised, note = math.nan, ""
    if rule == "ipw":
        chance = _chance(propensity, arm, w)
        given = np.where(arm, chance, 1 - chance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            scores = aipw_scores(seen, arm, propensity=chance, outcome=outcome, weights=w)
        found = _ipw_area(scores, first, w)
        note = _overlap_note(given, w / given)
    else:
        if events is not None and outcome == "harm":
            good = 1 + good
        found = _area(good, arm, first, w, rule)
        if events is not None and rule == "radcliffe":
            best = _area(good, arm, 2.0 * (good == arm) + arm, w, rule).value
            normalised = found.value / best if best > 0 else math.nan
    se = math.sqrt(clustered_variance(found.influence, patient))
    shares, uplift = np.append(0.0, found.shares), np.append(0.0, found.uplift)
    points = np.unique(np.linspace(0, shares.size - 1, min(shares.size, _CURVE_POINTS)).round().astype(np.int64))
    units = independent_units(patient, seen.size)
    estimate = Estimate.normal(
        found.value,
        se,
        level=level,
        units=units,
        name="qini",
        n=seen.size,
        events=events,
        method=clustered(f"{rule} curve, area over treating at random; infinitesimal jackknife", patient),
        note=note,
        p=two_sided_p(found.value, se, units),
        influence=found.influence,
    )
    return QiniCurve(
        estimate=estimate,
        x=shares[points],
        uplift=uplift[points],
        random=shares[points] * uplift[-1],
        normalised=normalised,
    )


def _overlap_note(given: FloatArray, weights: FloatArray) -> str:
    used = weights > 0
    low = int((given[used] < SMALL_PROPENSITY).sum())
    if not low:
        return ""
    return (
        f"weak overlap: {low} rows had a chance below {SMALL_PROPENSITY} of the treatment they were given; "
        f"effective sample size {_effective(weights):.0f} of {given.size}"
    )


def policy_value(
    y: ArrayLike,
    treated: ArrayLike,
    policy: ArrayLike,
    *,
    propensity: ArrayLike | float | None = None,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    method: str | None = None,
    weights: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean outcome that would be seen if treatment followed a policy.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome, 0/1 or continuous; the value is on its scale, so that less is better where `y` is bad.
    treated : array, shape (n,)
        1 treated, 0 not.
    policy : array, shape (n,)
        What the policy does: 1 treat, 0 do not, or the chance with which it treats. Made without these outcomes.
    propensity : float or array, shape (n,), optional
        Chance of treatment in the data; without it the observed share, right in a trial with one chance for all.
    mu0, mu1 : array, shape (n,), optional
        Predicted outcome untreated and treated, from models that did not see the row.
    method : {"aipw", "hajek", "ipw"}, optional
        Doubly robust (default with `mu0` and `mu1`), inverse probability with weights that sum to one (default
        otherwise), or with weights as they are.
    weights : array, shape (n,), optional
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Returns
    -------
    Estimate
        `note` tells the effective sample size where overlap is weak.

    Raises
    ------
    NotEstimableError
        If a propensity is 0 or 1, or nobody was treated as the policy says.

    Notes
    -----
    Formula: with m = pi / e for the treated and (1 - pi) / (1 - e) for the others: ipw mean of m y; hajek sum of m y
        over sum of m; aipw mean of pi mu1 + (1 - pi) mu0 + m (y - mu of the arm).
    Range: that of y for hajek; any number for the others.
    Assumes: no confounding beyond what propensity and outcome models hold. The propensity is taken as known.
    Refuses: propensity 0 or 1; no row treated as the policy says.

    References
    ----------
    Dudik, Erhan, Langford and Li, Statistical Science 2014;29:485.

    Examples
    --------
    >>> policy_value([1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], [1, 0, 1, 1, 1, 0], propensity=0.5).value
    0.0
    >>> policy_value([1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], np.ones(6)).value
    0.333...
    """
    seen = vector("y", y)
    n = seen.size
    arm = zero_one("treated", treated, n) == 1
    pi = probabilities("policy", policy, n)
    w = weights_of(weights, n)
    chance = _chance(propensity, arm, w)
    given = np.where(arm, chance, 1 - chance)
    follow = np.where(arm, pi, 1 - pi) / given
    if (mu0 is None) != (mu1 is None):
        raise DataError("only one of mu0 and mu1 was given", "both or neither")
    way = method or ("hajek" if mu0 is None else "aipw")
    if way not in ("aipw", "hajek", "ipw") or (way == "aipw" and mu0 is None):
        raise DataError("method is unknown, or 'aipw' without mu0 and mu1", "'aipw', 'hajek' or 'ipw'")
    if not (w * follow).any():
        raise NotEstimableError("no row was treated as the policy says", "rows that followed the policy")
    bounds = (-math.inf, math.inf)
    if way == "hajek":
        mass = dot(w, follow)
        value = dot(w * follow, seen) / mass
        psi = w * follow * (seen - value) / mass
        if _events(seen) is not None:
            bounds = (0.0, 1.0)
    else:
        part = follow * seen
        if way == "aipw" and mu0 is not None and mu1 is not None:
            untreated, under_treatment = vector("mu0", mu0, n), vector("mu1", mu1, n)
            model = np.where(arm, under_treatment, untreated)
            part = pi * under_treatment + (1 - pi) * untreated + follow * (seen - model)
        mass = float(w.sum())
        value = weighted_mean(part, w)
        psi = w * (part - value) / mass
    return Estimate.from_influence(
        value,
        psi,
        patient,
        level=level,
        bounds=bounds,
        name="policy_value",
        events=_events(seen),
        method=clustered(f"{way}; infinitesimal jackknife", patient),
        note=_overlap_note(given, w * follow),
    )


def policy_difference(
    y: ArrayLike,
    treated: ArrayLike,
    policy: ArrayLike,
    against: str | ArrayLike = "none",
    *,
    propensity: ArrayLike | float | None = None,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    method: str | None = None,
    weights: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean outcome under a policy less that under another, judged on the same rows.

    Parameters
    ----------
    y, treated, policy, propensity, mu0, mu1, method, weights, patient, level
        As in `policy_value`.
    against : {"none", "all", "current"} or array, shape (n,)
        Treat nobody, treat all, what was done in these data, or another policy.

    Returns
    -------
    Estimate
        Below 0 says that `policy` is better where `y` is bad. `p` tests that there is no difference.

    Raises
    ------
    NotEstimableError
        As `policy_value`.

    Notes
    -----
    Formula: value(policy) - value(against); against current practice the plain mean of y is taken off.
    Range: any number; 0 says no difference.
    Assumes: as `policy_value`.
    Refuses: as `policy_value`, for either policy.

    References
    ----------
    Dudik, Erhan, Langford and Li, Statistical Science 2014;29:485.

    Examples
    --------
    >>> policy_difference([1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 1], np.ones(6), "none").value
    -1.0
    """
    options: dict[str, Any] = {
        "propensity": propensity,
        "mu0": mu0,
        "mu1": mu1,
        "method": method,
        "weights": weights,
        "patient": patient,
        "level": level,
    }
    first = policy_value(y, treated, policy, **options)
    n = first.n
    if isinstance(against, str):
        if against not in ("none", "all", "current"):
            raise DataError("against is not a policy", "'none', 'all', 'current' or an array")
        what = {"none": "treating nobody", "all": "treating all", "current": "current practice"}[against]
    else:
        what = "the other policy"
    if isinstance(against, str) and against == "current":
        seen, w = vector("y", y), weights_of(weights, n)
        value = weighted_mean(seen, w)
        psi, note = w * (seen - value) / w.sum(), ""
    else:
        other = np.full(n, float(against == "all")) if isinstance(against, str) else against
        second = policy_value(y, treated, other, **options)
        value, psi, note = second.value, np.asarray(second.influence, dtype=np.float64), second.note
    influence = np.asarray(first.influence, dtype=np.float64) - psi
    se, units = math.sqrt(clustered_variance(influence, patient)), independent_units(patient, n)
    return Estimate.normal(
        first.value - value,
        se,
        level=level,
        units=units,
        name="policy_difference",
        n=n,
        events=first.events,
        method=f"against {what}; {first.method}",
        note=notes(first.note, note),
        p=two_sided_p(first.value - value, se, units),
        influence=influence,
    )
