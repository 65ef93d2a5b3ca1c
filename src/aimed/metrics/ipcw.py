"""Inverse probability of censoring weights: the chance G of not being censored, read just before each row's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    labels,
    level_codes,
    row_dot,
    survival,
    tally,
    vector,
)
from aimed.metrics.regression import CoxRegression

__all__ = ["CensoringWeights", "censoring_weights", "distinct_times", "weights_for"]

_LEFT = "events are weighted by 1 / G(T-), the left limit; an event leaves the risk set before a censoring at its time"


def distinct_times(time: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the distinct times, rising, and where each row stands among them.

    Times that are whole numbers, such as days, are counted and not sorted.

    Parameters
    ----------
    time : float array, shape (n,)
        Not negative.

    Returns
    -------
    times : float array, shape (u,)
    place : int array, shape (n,)

    Examples
    --------
    >>> times, place = distinct_times(np.array([5.0, 2.0, 5.0]))
    >>> times.tolist(), place.tolist()
    ([2.0, 5.0], [1, 0, 1])
    """
    if time.max() < 4 * time.size + 1024:
        day = time.astype(np.int64)
        if (day == time).all():
            seen = np.bincount(day) > 0
            return np.flatnonzero(seen).astype(np.float64), (np.cumsum(seen) - 1)[day]
    order = np.argsort(time)
    ordered = time[order]
    new = np.empty(time.size, dtype=bool)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    place = np.empty(time.size, dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return ordered[new], place


class _ProductLimit:
    """Kaplan-Meier curve of censoring of some rows, and its derivative by their weights.

    With C the weight censored at u and S the weight of rows that leave after u, the curve falls by S / (S + C): rows
    with an event at u have left before. S is a sum and never a difference, so that the curve ends at exactly 0.
    """

    def __init__(self, event: BoolArray, time: FloatArray, weights: FloatArray) -> None:
        self.times, self.place = distinct_times(time)
        size = self.times.size
        self._censored, self._weights = ~event, weights
        leaving = tally(self.place, weights, size)
        lost = tally(self.place, weights * self._censored, size)
        self._after = np.zeros(size)
        self._after[:-1] = np.cumsum(leaving[:0:-1])[::-1]
        self._lost, self._at_risk = lost, self._after + lost
        share = np.divide(self._after, self._at_risk, out=np.ones(size), where=self._at_risk > 0)
        # g[k] is the curve after k times have passed; g[0] = 1.
        self.g: FloatArray = np.concatenate([[1.0], np.cumprod(share)])

    def left(self) -> FloatArray:
        """G(T-) of the own rows."""
        out: FloatArray = self.g[self.place]
        return out

    def at(self, times: FloatArray, before: bool = False) -> FloatArray:
        """G at times, from the right, or its left limit."""
        out: FloatArray = self.g[np.searchsorted(self.times, times, side="left" if before else "right")]
        return out

    def inside(self, times: FloatArray, before: bool = False) -> FloatArray:
        """G at times of other rows; 0 beyond the last own time, where nothing is known."""
        return np.where(times > self.times[-1], 0.0, self.at(times, before))

    def influence(self, left: FloatArray, at: FloatArray, times: FloatArray) -> FloatArray:
        """Chain rule through the product: suffix sums of what depends on each factor, prefix sums over the factors."""
        size = self.times.size
        place = np.searchsorted(self.times, times, side="right")
        # Where the curve has ended at 0, `CensoringWeights.followed` reads it before.
        place = np.where(self.g[place] > 0, place, np.searchsorted(self.times, times, side="left"))
        # touched[u]: sum of the derivatives of all readings of the curve that hold the factor of time u.
        touched = np.zeros(size + 1)
        touched[:-1] = np.cumsum(tally(self.place, left, size)[::-1])[::-1]
        read = tally(place, at, size + 1)
        touched = touched[1:] + np.cumsum(read[::-1])[::-1][1:]
        # The factor of a curve that ends at 0 is never touched: it is read before that, or refused by `check`.
        rise = np.divide(self._lost, self._at_risk * self._after, out=np.zeros(size), where=self._after > 0)
        past = np.zeros(size)
        np.cumsum((touched * rise)[:-1], out=past[1:])
        own = np.divide(touched, self._at_risk, out=np.zeros(size), where=self._at_risk > 0)
        out: FloatArray = self._weights * (past[self.place] - self._censored * own[self.place])
        return out


class _CensoringCox:
    """Cox model of the time to censoring, with Efron ties; an event at a time leaves before a censoring at it."""

    def __init__(self, event: BoolArray, time: FloatArray, x: FloatArray, weights: FloatArray) -> None:
        self.times, place = distinct_times(time)
        # Steps of a half keep the times of events apart from the times of censorings that are equal to them.
        model = CoxRegression(~event, place + 0.5 * ~event, x)
        try:
            self._beta, self._centre = model.fit(weights), model.centre
        except NotEstimableError as error:
            raise NotEstimableError(
                "the Cox model of censoring has no fit",
                "covariates that vary and do not rank all censorings perfectly",
                "use fewer covariates, or strata",
            ) from error
        size = self.times.size
        hazard = weights * self.relative(x)
        at_risk = np.cumsum(tally(place, hazard, size)[::-1])[::-1] - tally(place, hazard * event, size)
        lost = tally(place, weights * ~event, size).round().astype(np.int64)
        which = np.repeat(np.arange(size), lost)
        rank = np.arange(which.size) - np.repeat(np.cumsum(lost) - lost, lost)
        losing = tally(place, hazard * ~event, size)
        steps = 1 / (at_risk[which] - rank / lost[which] * losing[which])
        self._hazard = np.concatenate([[0.0], np.cumsum(tally(which, steps, size))])

    def relative(self, x: FloatArray) -> FloatArray:
        """Hazards relative to the mean of the covariates."""
        out: FloatArray = np.exp(row_dot(x - self._centre, self._beta))
        return out

    def curve(self, relative: FloatArray, times: FloatArray, before: bool) -> FloatArray:
        """G at the same number of times as hazards, or at all times for hazards in a column."""
        place = np.searchsorted(self.times, times, side="left" if before else "right")
        out: FloatArray = np.exp(-relative * self._hazard[place])
        return out


class CensoringWeights:
    """G of the evaluated rows; made by `censoring_weights`.

    Attributes
    ----------
    left : float array, shape (n,)
        G(T-) of each row: the chance of not being censored before its own time.
    marginal : bool
        Whether G is one curve for all rows.
    convention : str
        How G was made and is read, in a sentence.

    Examples
    --------
    >>> g = censoring_weights([1, 0, 1, 0], [1, 2, 3, 4])
    >>> g.left.round(4), g.at([2.0, 4.0]).round(4)
    (array([1.    , 1.    , 0.6667, 0.6667]), array([0.6667, 0.    ]))
    """

    def __init__(
        self,
        left: FloatArray,
        convention: str,
        read: Callable[[FloatArray, bool], FloatArray],
        *,
        marginal: bool,
        limits: Sequence[_ProductLimit] = (),
        code: IntArray | None = None,
    ) -> None:
        self.left, self.marginal, self.convention = left, marginal, convention
        self._read, self._limits, self._code = read, limits, code
        self._time: FloatArray | None = None

    def of_rows(self, time: FloatArray) -> CensoringWeights:
        """Keep the times of the evaluated rows, for `weights_for` to compare, and return itself."""
        self._time = time
        return self

    def fits(self, time: FloatArray) -> bool:
        """Whether the evaluated rows have these times."""
        return self._time is None or bool((self._time == time).all())

    @property
    def known(self) -> bool:
        """Whether G is taken as known, so that `influence` is 0."""
        return not self._limits

    @property
    def places(self) -> tuple[FloatArray, IntArray] | None:
        """What `distinct_times` gives for the evaluated rows, where G was estimated from them as one curve."""
        return (self._limits[0].times, self._limits[0].place) if self._limits and self._code is None else None

    def at(self, times: ArrayLike) -> FloatArray:
        """Return G at times, from the right: the chance of not being censored up to and including each time.

        Parameters
        ----------
        times : float array, shape (t,)

        Returns
        -------
        float array, shape (t,), or (n, t) where G depends on the row
            With G from training rows, 0 beyond their last time: nothing is known there.
        """
        return self._read(np.atleast_1d(np.asarray(times, dtype=np.float64)), False)

    def before(self, times: ArrayLike) -> FloatArray:
        """Return the left limit G(t-) at times, shaped as from `at`."""
        return self._read(np.atleast_1d(np.asarray(times, dtype=np.float64)), True)

    def followed(self, times: ArrayLike) -> FloatArray:
        """Return the chance that what happened up to each time is known, shaped as from `at`.

        It is G(t); where that is 0, as when all who are left are censored at t, it is G(t-): those rows are then known
        to be free of the event at t, and rows that are followed to t count, not only those followed beyond it.

        Parameters
        ----------
        times : float array, shape (t,)

        Examples
        --------
        >>> censoring_weights([1, 0, 0], [1, 1, 2]).followed([1.0, 2.0])
        array([0.5, 0.5])
        """
        out = self.at(times)
        return np.where(out > 0, out, self.before(times)) if (out <= 0).any() else out

    def check(self, needed: ArrayLike | None = None, times: ArrayLike | None = None) -> None:
        """Refuse G = 0 where it is to be divided by.

        Parameters
        ----------
        needed : bool array, shape (n,), optional
            Rows that are weighted by 1 / G(T-).
        times : float array, shape (t,), optional
            Times at which rows that are followed beyond are weighted by 1 / G(t).

        Raises
        ------
        NotEstimableError
            If G is 0 at one of them.
        """
        bad = 0 if needed is None else int((self.left[np.asarray(needed, dtype=bool)] <= 0).sum())
        if times is not None:
            bad += int((self.at(times) <= 0).sum())
        if bad:
            raise NotEstimableError(
                f"the chance of not being censored is 0, or not known, at {bad} times that are to be weighted by it",
                "G > 0",
                "choose a smaller tau or horizon, inside the follow-up of the rows that G is estimated from",
            )

    def influence(
        self,
        left: ArrayLike | None = None,
        at: ArrayLike | None = None,
        times: ArrayLike | None = None,
    ) -> FloatArray:
        """Return what the estimation of G adds to the influence of each row on an estimate.

        Parameters
        ----------
        left : float array, shape (n,), optional
            Derivative of the estimate by log G(T_i-) of each row, its weight included.
        at : float array, optional
            Derivative by log G(t_j) as `followed` reads it: shape (t,), or (n, t) where G depends on the row.
        times : float array, shape (t,), optional

        Returns
        -------
        float array, shape (n,)
            w_i times the derivative by w_i through G. Exact for a Kaplan-Meier G of the evaluated rows, with or
            without strata; 0 where G comes from other rows or from a Cox model.
        """
        n = self.left.size
        own = np.zeros(n) if left is None else np.asarray(left, dtype=np.float64)
        when = np.empty(0) if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        read = np.zeros(when.size) if at is None else np.asarray(at, dtype=np.float64)
        if self.known:
            return np.zeros(n)
        if self._code is None:
            return self._limits[0].influence(own, read, when)
        out = np.zeros(n)
        for level, limit in enumerate(self._limits):
            rows = self._code == level
            out[rows] = limit.influence(own[rows], np.broadcast_to(read, (n, when.size))[rows].sum(axis=0), when)
        return out


class _Rows(NamedTuple):
    """Rows with a censored time: the evaluated ones, or those G is estimated from."""

    event: BoolArray
    time: FloatArray
    weights: FloatArray


def _left_event(event: ArrayLike, n: int) -> BoolArray:
    """Any event, of whatever cause: what ends the risk of being censored."""
    out: BoolArray = vector("event", event, n) != 0
    return out


def _matrix(name: str, values: ArrayLike, n: int) -> FloatArray:
    x = np.asarray(values, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[0] != n or not np.isfinite(x).all():
        raise DataError(f"{name} has shape {x.shape} or values that are not finite", f"finite numbers, ({n}, p)")
    return x


def _marginal(rows: _Rows, source: _Rows | None) -> CensoringWeights:
    if source is None:
        limit = _ProductLimit(*rows)
        convention = f"G by Kaplan-Meier of the evaluated rows; {_LEFT}"
        return CensoringWeights(limit.left(), convention, limit.at, marginal=True, limits=[limit])
    limit = _ProductLimit(*source)
    convention = f"G by Kaplan-Meier of the training rows, taken as known; {_LEFT}"
    return CensoringWeights(limit.inside(rows.time, True), convention, limit.inside, marginal=True)


def _by_stratum(rows: _Rows, source: _Rows | None, strata: ArrayLike, train: ArrayLike | None) -> CensoringWeights:
    n = rows.time.size
    given = rows if source is None else source
    if source is not None and train is None:
        raise DataError("no train_strata", "one for each training row, since G comes from other rows")
    mine = labels("strata", strata, n)
    theirs = mine if train is None else labels("train_strata", train, given.time.size)
    names, origin = level_codes(theirs)
    code = np.minimum(np.searchsorted(names, mine), names.size - 1)
    lost = int((names[code] != mine).sum())
    if lost:
        raise DataError(f"{lost} rows have a stratum that no training row has", "strata seen in training")
    limits, left = [], np.empty(n)
    for level in range(names.size):
        limit = _ProductLimit(*(part[origin == level] for part in given))
        left[code == level] = limit.left() if source is None else limit.inside(rows.time[code == level], True)
        limits.append(limit)

    def read(times: FloatArray, before: bool) -> FloatArray:
        curves = [limit.at(times, before) if source is None else limit.inside(times, before) for limit in limits]
        out: FloatArray = np.stack(curves)[code]
        return out

    where = "the evaluated rows" if source is None else "the training rows, taken as known"
    convention = f"G by Kaplan-Meier in each stratum of {where}; {_LEFT}"
    kept = limits if source is None else ()
    return CensoringWeights(left, convention, read, marginal=False, limits=kept, code=code)


def _by_cox(rows: _Rows, source: _Rows | None, covariates: ArrayLike, train: ArrayLike | None) -> CensoringWeights:
    given = rows if source is None else source
    x = _matrix("covariates", covariates, rows.time.size)
    if source is not None and train is None:
        raise DataError("train has no covariates", "train_covariates beside train and covariates")
    z = x if source is None or train is None else _matrix("train_covariates", train, given.time.size)
    if z.shape[1] != x.shape[1]:
        raise DataError(f"{z.shape[1]} training covariates and {x.shape[1]} evaluated ones", "the same columns")
    if (given.weights != np.floor(given.weights)).any():
        raise DataError(
            "weights are not whole numbers",
            "whole-number weights for a Cox model of censoring",
            "use strata, or leave the weights out of it with train=(event, time)",
        )
    if not (given.weights * ~given.event).any():
        return _marginal(rows, source)
    cox = _CensoringCox(given.event, given.time, z, given.weights)
    relative = cox.relative(x)
    last = np.inf if source is None else given.time.max()

    def read(times: FloatArray, before: bool) -> FloatArray:
        return np.where(times > last, 0.0, cox.curve(relative[:, None], times, before))

    left = np.where(rows.time > last, 0.0, cox.curve(relative, rows.time, True))
    where = "the evaluated rows" if source is None else "the training rows"
    convention = f"G by a Cox model of censoring of {where}, taken as known; {_LEFT}"
    return CensoringWeights(left, convention, read, marginal=False)


def censoring_weights(
    event: ArrayLike,
    time: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    train: Sequence[ArrayLike] | None = None,
    strata: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    train_strata: ArrayLike | None = None,
    train_covariates: ArrayLike | None = None,
) -> CensoringWeights:
    """Return the chance G of not being censored, for weights 1 / G that stand in for censored rows.

    Parameters
    ----------
    event : int array, shape (n,)
        0 is censored; any other number is an event, of whatever cause.
    time : float array, shape (n,)
    weights : float array, shape (n,), optional
    train : (event, time) or (event, time, weights), optional
        Rows from which G is estimated in place of the evaluated ones; it is then taken as known.
    strata : array, shape (n,), optional
        A curve for each level, for censoring that depends on it.
    covariates : float array, shape (n, p), optional
        A Cox model of censoring with Efron ties, G(t | x) = exp(-H0(t) exp(x b)); it is taken as known. Row weights
        must then be whole numbers.
    train_strata, train_covariates : arrays, optional
        Of the training rows; needed with `train`.

    Returns
    -------
    CensoringWeights

    Raises
    ------
    DataError
        If arrays do not fit together, or strata and covariates are both given.
    NotEstimableError
        If the Cox model has no fit.

    Notes
    -----
    Formula: G(t) = prod over u <= t of 1 - C(u) / (Y(u) - D(u)), with C the weight censored at u, D that of the events
        and Y that of the rows still followed. A row's own G is read just before its time, G(T-).
    Range: 0 to 1, falling.
    Assumes: censoring that does not depend on the outcome; given the stratum or the covariates where they are used.
    Refuses: nothing by itself; `CensoringWeights.check` refuses G = 0 where it would be divided by.

    References
    ----------
    Robins and Rotnitzky, AIDS Epidemiology 1992:297. Gerds and Schumacher, Biom J 2006;48:1029.

    Examples
    --------
    >>> censoring_weights([1, 0, 1], [1, 1, 2]).left
    array([1. , 1. , 0.5])
    """
    when = vector("time", time)
    rows = _Rows(*survival(_left_event(event, when.size), when, weights))
    source = None
    if train is not None:
        if len(train) not in (2, 3):
            raise DataError(f"train has {len(train)} parts", "(event, time) or (event, time, weights)")
        past = vector("train time", train[1])
        source = _Rows(*survival(_left_event(train[0], past.size), past, train[2] if len(train) == 3 else None))
    if strata is not None and covariates is not None:
        raise DataError("both strata and covariates of censoring were given", "one of them")
    if covariates is not None:
        found = _by_cox(rows, source, covariates, train_covariates)
    elif strata is not None:
        found = _by_stratum(rows, source, strata, train_strata)
    else:
        found = _marginal(rows, source)
    return found.of_rows(rows.time)


def weights_for(
    event: BoolArray,
    time: FloatArray,
    weights: FloatArray,
    train: Sequence[ArrayLike] | None,
    censoring: CensoringWeights | None,
) -> CensoringWeights:
    """Return the G that was given, after a check that it is of these rows, or that of these or of training rows.

    Parameters
    ----------
    event : bool array, shape (n,)
        Any event, of whatever cause.
    time, weights : float arrays, shape (n,)
    train : (event, time) or (event, time, weights), optional
    censoring : CensoringWeights, optional

    Raises
    ------
    DataError
        If both are given, or `censoring` was made from other rows.

    Examples
    --------
    >>> event, time = np.array([True, False]), np.array([1.0, 2.0])
    >>> weights_for(event, time, np.ones(2), None, None).left
    array([1., 1.])
    """
    if censoring is None:
        return censoring_weights(event, time, weights, train=train)
    if train is not None:
        raise DataError("both train and censoring were given", "one of them")
    if censoring.left.shape != time.shape:
        raise DataError(f"censoring is of {censoring.left.size} rows", f"{time.size}, those evaluated")
    if not censoring.fits(time):
        raise DataError("censoring was made from other times", "the times of the rows evaluated")
    return censoring
