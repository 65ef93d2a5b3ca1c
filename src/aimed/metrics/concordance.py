"""Concordance of a score with survival times: Harrell's, Uno's and Wolbers', with errors from one sweep."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    dot,
    event_kinds,
    follow_up,
    labels,
    level_codes,
    survival,
    vector,
)
from aimed.metrics.ipcw import CensoringWeights, distinct_times, weights_for
from aimed.metrics.kernels.pairs import (
    LANES,
    censoring_factors,
    count_pairs,
    line_up,
    place_scores,
    replicate_pairs,
    weigh_pairs,
)
from aimed.metrics.result import Estimate, clustered_variance, independent_units, notes, two_sided_p, with_interval

__all__ = [
    "CauseSpecificReplicates",
    "HarrellReplicates",
    "Pairs",
    "UnoReplicates",
    "cause_specific_c",
    "concordance_pairs",
    "concordance_test",
    "harrell_c",
    "uno_c",
]

_TIES = "tied scores count one half, tied event times do not count, a row censored at an event's time is later"
_JACKKNIFE = "infinitesimal jackknife"
_UNITS = "quantile of t for the number of events used, or of patients where they are fewer"
_BLOCK = 1 << 20


class _Line:
    """Rows in line by falling time, with their places by score, made ready for the kernels.

    Parameters
    ----------
    marked : bool array, shape (n,)
        Rows that come after the others at their time; anchors are among them.
    time, score : float arrays, shape (n,)
    strata : array, shape (n,), optional
    rising : bool
        Put the line in order of rising time: partners are then the earlier rows.
    places : (times, place), optional
        What `distinct_times` gives, where it is known.
    """

    def __init__(
        self,
        marked: BoolArray,
        time: FloatArray,
        score: FloatArray,
        strata: ArrayLike | None = None,
        rising: bool = False,
        places: tuple[FloatArray, IntArray] | None = None,
    ) -> None:
        self.times, group = distinct_times(time) if places is None else places
        size = self.times.size
        if not rising:
            group = size - 1 - group
        self.groups: IntArray = np.array([size])
        if strata is not None:
            level = level_codes(labels("strata", strata, time.size))[1]
            keys, group = np.unique(level * size + group, return_inverse=True)
            self.groups = np.searchsorted(keys, size * np.arange(1, level.max() + 2))
            size = keys.size
        self.order, self.starts = line_up(group, marked, size)
        lined = score[self.order]
        # Within ties any order will do, so that the fastest sort is good enough.
        by_score = np.argsort(lined) if strata is None else np.lexsort((lined, level[self.order]))
        self.place, self.ties = place_scores(lined, by_score, self.starts[2 * self.groups])

    def count(self, both: bool) -> tuple[IntArray, IntArray, IntArray]:
        return count_pairs(self.starts, self.groups, self.place, self.ties, both)

    def weigh(self, anchor: FloatArray, partner: FloatArray) -> FloatArray:
        """Sums of `weigh_pairs` in the order of the rows, shape (4, n)."""
        lined = weigh_pairs(self.starts, self.groups, self.place, self.ties, anchor[self.order], partner[self.order])
        out = np.empty_like(lined)
        for row, values in zip(out, lined, strict=True):
            row[self.order] = values
        return out


class _Found(NamedTuple):
    """A concordance, its influence values, and what they rest on."""

    value: float
    influence: FloatArray
    events: int


def _need(pairs: float, what: str = "an event followed by a row with a longer time") -> None:
    if pairs <= 0:
        raise NotEstimableError("no usable pair", what)


def _harrell(
    event: BoolArray, time: FloatArray, score: FloatArray, weights: FloatArray, strata: ArrayLike | None
) -> _Found:
    line = _Line(event, time, score, strata)
    events = int((event & (weights > 0)).sum())
    if (weights == 1).all():
        right, usable, totals = line.count(True)
        _need(totals[1])
        value = int(totals[0]) / (2 * int(totals[1]))
        influence = np.empty(time.size)
        influence[line.order] = (0.5 * right - value * usable) / totals[1]
        return _Found(value, influence, events)
    anchor = weights * event
    value, _, influence = _ratio(line, anchor, weights)
    return _Found(value, influence, events)


def _ratio(line: _Line, anchor: FloatArray, partner: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Concordance, its derivative by the log of each anchor's weight, and the influence by both weights of a row."""
    lined, other = anchor[line.order], partner[line.order]
    right, usable, above, before = weigh_pairs(line.starts, line.groups, line.place, line.ties, lined, other)
    pairs = dot(lined, usable)
    _need(pairs)
    value = dot(lined, right) / pairs
    slope, influence = np.empty(lined.size), np.empty(lined.size)
    by_anchor = lined * (right - value * usable) / pairs
    slope[line.order] = by_anchor
    influence[line.order] = by_anchor + other * (above - value * before) / pairs
    return value, slope, influence


def _can_be_earlier(anchor: BoolArray, event: BoolArray, time: FloatArray, weights: FloatArray) -> BoolArray:
    """Anchors that some row of positive weight is later than: G is divided by at these only."""
    present = weights > 0
    last = time[present].max()
    ends_censored = bool((present & ~event & (time == last)).any())
    out: BoolArray = anchor & present & ((time <= last) if ends_censored else (time < last))
    return out


def _uno(
    event: BoolArray, time: FloatArray, score: FloatArray, tau: float, weights: FloatArray, g: CensoringWeights
) -> _Found:
    needed = _can_be_earlier(event & (time <= tau), event, time, weights)
    g.check(needed)
    events = int((event & (time <= tau) & (weights > 0)).sum())
    if not needed.any():
        _need(0, "an event up to tau, followed by a row with a longer time")
    if not g.marginal:
        return _Found(*_uno_by_row(event, time, score, needed, weights, g), events)
    anchor = np.divide(weights, g.left**2, out=np.zeros(time.size), where=needed)
    value, slope, influence = _ratio(_Line(event, time, score, places=g.places), anchor, weights)
    return _Found(value, influence + g.influence(left=-2 * slope), events)


def _uno_by_row(
    event: BoolArray,
    time: FloatArray,
    score: FloatArray,
    needed: BoolArray,
    weights: FloatArray,
    g: CensoringWeights,
) -> tuple[float, FloatArray]:
    """Every pair has its own weight 1 / (G(T_i- | x_i) G(T_i- | x_j)): blocks of anchors against all rows."""
    n = time.size
    anchors = np.flatnonzero(needed)
    sums = np.zeros((2, n))
    own = np.zeros((2, n))
    for first in range(0, anchors.size, max(1, _BLOCK // n)):
        rows = anchors[first : first + max(1, _BLOCK // n)]
        g_there = g.before(time[rows]).T
        later = (time > time[rows, None]) | ((time == time[rows, None]) & ~event)
        if ((g_there <= 0) & later & (weights > 0)).any():
            g.check(np.zeros(n, dtype=bool), time[rows])
        pair = np.divide(
            (weights[rows] / g.left[rows])[:, None] * weights, g_there, out=np.zeros(later.shape), where=later
        )
        right = pair * ((score < score[rows, None]) + 0.5 * (score == score[rows, None]))
        for k, part in enumerate((right, pair)):
            sums[k] += part.sum(axis=0)
            own[k, rows] = part.sum(axis=1)
    total = own[1].sum()
    _need(total)
    value = float(own[0].sum() / total)
    both = sums + own
    return value, (both[0] - value * both[1]) / total


def _estimate(
    name: str, found: _Found, patient: ArrayLike | None, level: float, method: str, scale: str = "logit"
) -> Estimate:
    return with_interval(
        found.value,
        clustered_variance(found.influence, patient),
        units=independent_units(patient, found.influence.size, found.events),
        why="no row or patient changes the estimate, as when every pair is ranked alike",
        level=level,
        bounds=(0.0, 1.0) if scale == "logit" else (-1.0, 1.0),
        scale=scale,
        name=name,
        n=found.influence.size,
        events=found.events,
        method=notes(method, "" if patient is None else "clustered by patient", _UNITS),
        influence=found.influence,
    )


def harrell_c(
    event: ArrayLike,
    time: ArrayLike,
    score: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Harrell's concordance with its standard error by the infinitesimal jackknife.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
    time : float array, shape (n,)
    score : float array, shape (n,)
        Higher is worse (scikit-survival's sign, not lifelines'). Equal scores are ties, exactly.
    weights : float array, shape (n,), optional
        A pair weighs the product of its rows' weights.
    patient : array, shape (n,), optional
        Rows of one patient depend on each other; the error is clustered by it.
    strata : array, shape (n,), optional
        Only pairs within a stratum are usable.
    level : float

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If the arrays do not fit together.
    NotEstimableError
        If there is no usable pair.

    Notes
    -----
    Formula: share of usable pairs, those whose earlier time is an event, in which the earlier event has the higher
        score; tied scores count one half, tied event times do not count, and a row censored at the time of an event
        counts as later. The error is the infinitesimal jackknife, as in R's ``survival::concordance``; the interval
        is symmetric on the logit scale, which covers better than the plain one, with the quantile of t for as many
        units as there are events used (or patients, where they are fewer).
    Range: 0 to 1; 0.5 is a score without information, 1 a perfect ranking.
    Assumes: follow-up that does not depend on the score; the value depends on how long the rows are followed, which
        `uno_c` corrects.
    Refuses: data without a usable pair.

    References
    ----------
    Harrell et al., Stat Med 1996;15:361. Therneau and Atkinson, the concordance vignette of R's survival, 2024.

    Examples
    --------
    >>> harrell_c([1, 1, 0, 1], [1, 2, 3, 4], [0.9, 0.2, 0.2, 0.1])
    harrell_c 0.9000 (95 % interval 0.0224 to 0.9997), n = 4
    """
    seen, when, w = survival(event, time, weights)
    found = _harrell(seen, when, vector("score", score, when.size), w, strata)
    return _estimate("harrell_c", found, patient, level, f"{_JACKKNIFE}; {_TIES}")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts of pairs, as R's ``concordance`` prints them.

    Parameters
    ----------
    concordant, discordant : int
        Usable pairs ranked right and wrong.
    tied_score : int
        Usable pairs with the same score.
    tied_time : int
        Pairs of events at the same time with different scores; not usable.
    tied_both : int
        Pairs of events at the same time with the same score; not usable.
    """

    concordant: int
    discordant: int
    tied_score: int
    tied_time: int
    tied_both: int

    @property
    def usable(self) -> int:
        """Pairs that count."""
        return self.concordant + self.discordant + self.tied_score

    @property
    def value(self) -> float:
        """Harrell's C; NaN without a usable pair."""
        return (2 * self.concordant + self.tied_score) / (2 * self.usable) if self.usable else math.nan

    def __float__(self) -> float:
        return self.value


def concordance_pairs(event: ArrayLike, time: ArrayLike, score: ArrayLike, *, strata: ArrayLike | None = None) -> Pairs:
    """Count the pairs that Harrell's C is made of.

    Parameters
    ----------
    event, time, score, strata
        As for `harrell_c`.

    Returns
    -------
    Pairs

    Notes
    -----
    Formula: counts of all pairs of rows in which the earlier time is an event, by how the score ranks them.
    Range: whole numbers from 0.
    Assumes: nothing.
    Refuses: nothing but arrays that do not fit together.

    References
    ----------
    Harrell et al., Stat Med 1996;15:361.

    Examples
    --------
    >>> concordance_pairs([1, 1, 1, 0], [1, 2, 2, 3], [0.9, 0.2, 0.2, 0.2])
    Pairs(concordant=3, discordant=0, tied_score=2, tied_time=0, tied_both=1)
    """
    seen, when, _ = survival(event, time)
    line = _Line(seen, when, vector("score", score, when.size), strata)
    right, usable, tied, tied_both = (int(v) for v in line.count(False)[2])
    concordant = (right - tied) // 2
    at_once = np.diff(line.starts)[1::2]
    same_time = int((at_once * (at_once - 1) // 2).sum())
    return Pairs(concordant, usable - tied - concordant, tied, same_time - tied_both, tied_both)


def _tau(tau: float | None, name: str) -> float:
    if tau is None:
        warnings.warn(
            f"{name} without tau counts all times: the last events weigh 1 / G(T-)^2 with G near 0, and the estimate "
            "is unstable; give tau, a time up to which enough rows are followed",
            UserWarning,
            stacklevel=3,
        )
        return math.inf
    if not tau > 0:
        raise DataError("tau is not positive", "a time inside the follow-up")
    return float(tau)


def _ipcw_method(g: CensoringWeights, tau: float) -> str:
    until = "no tau" if math.isinf(tau) else f"T <= {tau:g}"
    part = ", the estimation of G included" if g.marginal and not g.known else ""
    if not g.marginal and not g.known:
        part = ", G taken as known"
    return f"{_JACKKNIFE}{part}; {until}; {g.convention}; {_TIES}"


def uno_c(
    event: ArrayLike,
    time: ArrayLike,
    score: ArrayLike,
    tau: float | None = None,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Uno's concordance of events up to tau, with its standard error by the infinitesimal jackknife.

    Parameters
    ----------
    event, time, score, weights, patient, level
        As for `harrell_c`.
    tau : float, optional
        Last time that counts, included, in the unit of `time`. Without it all times count, and a warning is given.
    train : (event, time), optional
        Rows from which G is estimated; the evaluated rows when absent.
    censoring : CensoringWeights, optional
        G made beforehand, as where censoring depends on strata or covariates. Each pair is then weighted by
        1 / (G(T_i- | x_i) G(T_i- | x_j)), which takes time proportional to events times rows.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If the arrays do not fit together.
    NotEstimableError
        If there is no usable pair up to tau, or G is 0 at an event that counts.

    Warns
    -----
    UserWarning
        If tau is not given.

    Notes
    -----
    Formula: Harrell's share of usable pairs, each weighted by 1 / G(T_i-)^2 at its earlier time T_i <= tau, with G the
        chance of not being censored; equals R's ``concordance(timewt = "n/G2", ymax = tau)``. The error is the
        infinitesimal jackknife; it includes that G is estimated where G is one curve of the same rows, and takes G
        as known where it comes from other rows or depends on strata or covariates. The interval is that of
        `harrell_c`.
    Range: 0 to 1; 0.5 is a score without information.
    Assumes: censoring that does not depend on the score or the outcome, or does only through what `censoring` holds.
    Refuses: G = 0 at an event that counts; data without a usable pair up to tau.

    References
    ----------
    Uno et al., Stat Med 2011;30:1105. Gerds et al., Stat Med 2013;32:2173 (G given covariates).

    Examples
    --------
    >>> uno_c([1, 0, 1, 0], [1, 2, 3, 4], [0.9, 0.1, 0.2, 0.3], tau=3).note
    'only 2 independent units: the interval may be too short'
    """
    seen, when, w = survival(event, time, weights)
    end = _tau(tau, "uno_c")
    g = weights_for(seen, when, w, train, censoring)
    found = _uno(seen, when, vector("score", score, when.size), end, w, g)
    return _estimate("uno_c", found, patient, level, _ipcw_method(g, end))


def cause_specific_c(
    event: ArrayLike,
    time: ArrayLike,
    score: ArrayLike,
    cause: int = 1,
    tau: float | None = None,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Wolbers' concordance for one cause among competing risks, weighted for censoring.

    Parameters
    ----------
    event : int array, shape (n,)
        0 is censored, 1 to K are the causes.
    time, score, weights, patient, level
        As for `harrell_c`; the score ranks the risk of `cause`.
    cause : int
    tau : float, optional
        Last time that counts, included. Without it all times count, and a warning is given.
    train : (event, time), optional
        Rows from which G is estimated.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If an event is not a whole number, or arrays do not fit together.
    NotEstimableError
        If there is no usable pair, or G is 0 where it is divided by.

    Warns
    -----
    UserWarning
        If tau is not given.

    Notes
    -----
    Formula: a row i with the event of the cause at T_i <= tau is set against rows j that are later, weighted by
        1 / G(T_i-)^2, and against rows with a competing event at or before T_i, which will never have the event,
        weighted by 1 / (G(T_i-) G(T_j-)). Wolbers writes G(T_i-) G(T_i) for the first: the same, unless rows are
        censored at the time of an event; they count as later here, so that the left limit is right, and one cause
        gives `uno_c`. The error is the infinitesimal jackknife and includes that G is estimated; the interval is that
        of `harrell_c`.
    Range: 0 to 1; 0.5 is a score without information.
    Assumes: censoring that does not depend on the score or the outcome.
    Refuses: G = 0 where it is divided by; data without a usable pair up to tau.

    References
    ----------
    Wolbers et al., Epidemiology 2009;20:555. Wolbers et al., Biostatistics 2014;15:526.

    Examples
    --------
    >>> cause_specific_c([1, 2, 1, 0], [1, 2, 3, 4], [0.9, 0.1, 0.2, 0.3], tau=3).value
    0.8
    """
    when = follow_up(time)
    kinds = event_kinds(event, when.size, cause)
    seen, when, w = survival(kinds > 0, when, weights)
    ranked = vector("score", score, when.size)
    end = _tau(tau, "cause_specific_c")
    g = weights_for(seen, when, w, train, None)
    own, rival = kinds == 1, kinds == 2
    anchors = own & (when <= end) & (w > 0)
    rivals = rival & (when <= end) & (w > 0)
    first_rival = when[rivals].min() if rivals.any() else math.inf
    needed = _can_be_earlier(anchors, seen, when, w) | (anchors & (when >= first_rival))
    g.check(needed | (rivals & (when <= when[anchors].max() if anchors.any() else False)))
    _need(float(needed.any()), "an event of the cause up to tau, and a row that is later or had a competing event")

    inverse = np.divide(1.0, g.left, out=np.zeros(when.size), where=g.left > 0)
    late, early = w * inverse**2 * needed, w * inverse * needed
    gone = w * inverse * rivals
    later = _Line(seen, when, ranked, places=g.places).weigh(late, w)
    before = _Line(~rival, when, ranked, rising=True, places=g.places).weigh(early, gone)
    pairs = dot(late, later[1]) + dot(early, before[1])
    _need(pairs)
    value = (dot(late, later[0]) + dot(early, before[0])) / pairs
    by_late = late * (later[0] - value * later[1]) / pairs
    by_early = early * (before[0] - value * before[1]) / pairs
    by_gone = gone * (before[2] - value * before[3]) / pairs
    influence = by_late + by_early + by_gone + w * (later[2] - value * later[3]) / pairs
    influence += g.influence(left=-2 * by_late - by_early - by_gone)
    found = _Found(value, influence, int(anchors.sum()))
    return _estimate("cause_specific_c", found, patient, level, _ipcw_method(g, end))


def concordance_test(
    event: ArrayLike,
    time: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    tau: float | None = None,
    train: Sequence[ArrayLike] | None = None,
    censoring: CensoringWeights | None = None,
    patient: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the difference of the concordances of two scores on the same rows, with its test.

    Parameters
    ----------
    event, time, weights, patient, strata, level
        As for `harrell_c`.
    score_a, score_b : float arrays, shape (n,)
    tau : float, optional
        With it Uno's concordances are compared, else Harrell's.
    train, censoring
        As for `uno_c`; only with `tau`.

    Returns
    -------
    Estimate
        C of a less C of b, with `p` of the hypothesis that they are equal.

    Raises
    ------
    DataError
        If the arrays do not fit together, or options of one concordance are given with the other.
    NotEstimableError
        If there is no usable pair.

    Notes
    -----
    Formula: z = (C_a - C_b) / se, with se from the differences of the two influence values of each row, added up
        within patients; p is two-sided, of t for as many units as there are events used (or patients, where they
        are fewer), and agrees with the interval.
    Range: -1 to 1; 0 is no difference.
    Assumes: rows, or patients where given, that do not depend on each other, and enough events for normality.
    Refuses: data without a usable pair. Scores that rank alike give a difference of 0 without p, and a note.

    References
    ----------
    Kang et al., Stat Med 2015;34:685. Therneau and Atkinson, the concordance vignette of R's survival, 2024.

    Examples
    --------
    >>> found = concordance_test([1, 1, 1, 0, 1], [1, 2, 3, 4, 5], [5, 4, 2, 3, 1], [3, 4, 5, 1, 2])
    >>> round(found.value, 4), round(found.p, 4)
    (0.2222, 0.5208)
    """
    seen, when, w = survival(event, time, weights)
    scores = [vector(name, s, when.size) for name, s in (("score_a", score_a), ("score_b", score_b))]
    if tau is None:
        if train is not None or censoring is not None:
            raise DataError("train or censoring was given without tau", "tau, for Uno's concordance")
        a, b = (_harrell(seen, when, s, w, strata) for s in scores)
        kind, method = "Harrell's", f"{_JACKKNIFE}; {_TIES}"
    else:
        if strata is not None:
            raise DataError("strata was given with tau", "one of them: Uno's concordance takes censoring strata")
        end = _tau(tau, "concordance_test")
        g = weights_for(seen, when, w, train, censoring)
        a, b = (_uno(seen, when, s, end, w, g) for s in scores)
        kind, method = "Uno's", _ipcw_method(g, end)
    difference = _Found(a.value - b.value, a.influence - b.influence, a.events)
    out = _estimate("concordance_difference", difference, patient, level, f"{kind} C, paired; {method}", "identity")
    if math.isfinite(out.lower):
        out.p = two_sided_p(out.value, out.se, independent_units(patient, when.size, a.events))
    return out


class HarrellReplicates:
    """Harrell's C in bootstrap replicates: rows are sorted once, then a replicate is one sweep.

    Parameters
    ----------
    event, time, score : arrays, shape (n,)
        As for `harrell_c`.
    codes : int array, shape (n,)
        Row of the counts for each row.

    Examples
    --------
    >>> replicates = HarrellReplicates([1, 1, 0], [1, 2, 3], [0.9, 0.2, 0.3], codes=np.arange(3))
    >>> replicates.replicate(np.array([[1, 2], [1, 0], [1, 0]], dtype=np.uint8))
    array([0.66666667,        nan])
    """

    def __init__(self, event: ArrayLike, time: ArrayLike, score: ArrayLike, *, codes: IntArray) -> None:
        seen, when, _ = survival(event, time)
        line = _Line(seen, when, vector("score", score, when.size))
        self._starts, self._times = line.starts, line.times
        self._code: IntArray = np.ascontiguousarray(codes, dtype=np.int64)[line.order]
        self._rank: IntArray = line.place.astype(np.int64)
        self._tie: IntArray = np.full(when.size, -1)
        if line.ties.size:
            first, size = line.ties[:, 0], np.diff(line.ties)[:, 0]
            number = np.cumsum((size > 1) & (first == np.arange(when.size))) - 1
            self._tie = np.where(size > 1, number, -1)[line.place]
            self._rank = first[line.place].astype(np.int64)

    def _factor(self, counts: NDArray[np.uint8]) -> FloatArray:
        return np.empty((0, LANES))

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the concordance under each column of counts; NaN without a usable pair.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b), b <= 16
            How often each patient is drawn.

        Returns
        -------
        float array, shape (b,)
        """
        draws = counts.shape[1]
        wide = np.zeros((counts.shape[0], LANES), dtype=np.uint8)
        wide[:, :draws] = counts
        right, usable = replicate_pairs(self._starts, self._rank, self._tie, self._code, wide, self._factor(wide))[
            :, :draws
        ]
        out: FloatArray = np.divide(right, usable, out=np.full(draws, np.nan), where=usable > 0)
        return out


class UnoReplicates(HarrellReplicates):
    """Uno's C in bootstrap replicates, G estimated anew in each.

    Parameters
    ----------
    event, time, score : arrays, shape (n,)
    tau : float or None
    codes : int array, shape (n,)

    Examples
    --------
    >>> replicates = UnoReplicates([1, 0, 1, 0], [1, 2, 3, 4], [0.9, 0.1, 0.2, 0.3], 3, codes=np.arange(4))
    >>> replicates.replicate(np.ones((4, 1), dtype=np.uint8)).round(4)
    array([0.5714])
    """

    def __init__(
        self, event: ArrayLike, time: ArrayLike, score: ArrayLike, tau: float | None, *, codes: IntArray
    ) -> None:
        super().__init__(event, time, score, codes=codes)
        end = math.inf if tau is None else tau
        self._first = int((self._times > end).sum())

    def _factor(self, counts: NDArray[np.uint8]) -> FloatArray:
        return censoring_factors(self._starts, self._code, counts, self._first)


class CauseSpecificReplicates:
    """Wolbers' concordance in bootstrap replicates, G estimated anew in each.

    Parameters
    ----------
    event, time, score, tau
        As for `cause_specific_c`, for cause 1; tau must be given.
    codes : int array, shape (n,)

    Examples
    --------
    >>> replicates = CauseSpecificReplicates([1, 2, 1, 0], [1, 2, 3, 4], [0.9, 0.1, 0.2, 0.3], 3, codes=np.arange(4))
    >>> replicates.replicate(np.ones((4, 1), dtype=np.uint8)).round(4)
    array([0.8])
    """

    def __init__(self, event: ArrayLike, time: ArrayLike, score: ArrayLike, tau: float, *, codes: IntArray) -> None:
        self._rows = np.asarray(event), follow_up(time), vector("score", score)
        self._tau, self._codes = tau, codes

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the concordance of each replicate, shape (b,); NaN where not estimable.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b)
            How often each patient is drawn.
        """
        out = np.full(counts.shape[1], np.nan)
        event, time, score = self._rows
        for j in range(out.size):
            weights = counts[self._codes, j].astype(np.float64)
            drawn = weights > 0
            with suppress(NotEstimableError):
                rows = event[drawn], time[drawn], score[drawn]
                out[j] = float(cause_specific_c(*rows, tau=self._tau, weights=weights[drawn]))
        return out
