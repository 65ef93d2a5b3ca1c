"""Fine and Gray's model as weighted rows for a Cox model: with late entry, strata, splines and all a Cox model has."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import NotEstimableError
from aimed.metrics.arrays import weights_of
from aimed.prognosis.competing import as_competing
from aimed.prognosis.risk_sets import codes_of, read_outcome

__all__ = ["FineGrayRows", "fine_gray_rows"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


class FineGrayRows(NamedTuple):
    """Rows to fit a Cox model on.

    Parameters
    ----------
    rows : int array, shape (m,)
        The row of the data that each comes from.
    y : structured array, shape (m,)
        Event of the cause, and the end of the row.
    entry, sample_weight : float arrays, shape (m,)
    """

    rows: Ints
    y: NDArray[Any]
    entry: Floats
    sample_weight: Floats


def fine_gray_rows(
    y: Any,
    cause: int = 1,
    causes: int | None = None,
    *,
    entry: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> FineGrayRows:
    """Give rows with another event the weights with which they stay at risk of the cause.

    Parameters
    ----------
    y : structured array, shape (n,)
        Event code and time; see `aimed.prognosis.competing.as_competing`.
    cause : int
    causes : int, optional
        How many are declared.
    entry : float array, shape (n,), optional
        Time from which each row is at risk; 0 when absent.
    strata : array, shape (n,), optional
        Groups with a censoring and an entry of their own.
    sample_weight : float array, shape (n,), optional

    Returns
    -------
    FineGrayRows

    Notes
    -----
    A row with another event at s stays at risk at a later t with weight G(t-) H(t-) / G(s-) H(s-): G is the chance of
    not being censored, H that of having entered. It is cut where this changes between events of the cause, so that
    rows grow with the number of their times; `aimed.prognosis.fine_gray.FineGray` needs no cuts, and counts what the
    weights do to the errors, but knows neither entry nor strata. Fit with ``cluster=rows`` for robust errors; they
    take the weights as known. With Breslow's ties and neither entry nor strata the coefficients are those of
    `FineGray`, unless rows are censored at the time of an event: here, as in R's ``finegray``, the event has left
    before, there, as in ``crr``, it has not.

    Raises
    ------
    NotEstimableError
        If the cause never happens, or nobody is at risk some time after an entry.
    DataError
        If codes are not declared, or a row enters at or after its time.

    References
    ----------
    Geskus, Biometrics 2011;67:39. Zhou et al., Biometrics 2011;67:661 (strata). Therneau, ``finegray`` of R's survival.

    Examples
    --------
    >>> from aimed.prognosis.cox import CoxPH
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0], [0.0]])
    >>> y = np.array([(1, 9.0), (1, 2.0), (1, 4.0), (2, 6.0), (1, 3.0), (0, 5.0), (2, 1.0)],
    ...              dtype=[("event", int), ("time", float)])
    >>> made = fine_gray_rows(y, cause=1)
    >>> made.sample_weight.round(2).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.67]
    >>> model = CoxPH(ties="breslow").fit(
    ...     X[made.rows], made.y, entry=made.entry, sample_weight=made.sample_weight, cluster=made.rows)
    >>> model.coef_.round(4).tolist()
    [0.7152]
    """
    codes, time, _ = as_competing(y, cause, causes)
    n = time.size
    weight = weights_of(sample_weight, n)
    begin = np.zeros(n)
    if entry is not None:
        flag = np.empty(n, dtype=[("event", bool), ("time", np.float64)])
        flag["event"], flag["time"] = codes > 0, time
        read = read_outcome(flag, entry)
        begin = begin if read.entry is None else read.entry
    stratum = np.zeros(n, np.int64) if strata is None else codes_of(strata, n, "strata")[1]
    rows, starts, ends, weights = [], [], [], []
    for s in range(int(stratum.max()) + 1):
        own = np.flatnonzero((stratum == s) & (weight > 0))
        others = own[(codes[own] > 0) & (codes[own] != cause)]
        plain = np.setdiff1d(own, others)
        rows.append(plain)
        starts.append(begin[plain])
        ends.append(time[plain])
        weights.append(weight[plain])
        if not others.size:
            continue
        events = np.unique(time[own][(codes[own] == cause)])
        places, curve = _stays(codes[own], time[own], begin[own], weight[own], entry is not None)
        # A curve is read just before the time: at the place before it.
        at_event = curve[np.searchsorted(places, events, side="left")]
        for i in others:
            now = curve[np.searchsorted(places, time[i], side="left")]
            later = events > time[i]
            share = np.concatenate(([1.0], at_event[later] / now))
            when = np.concatenate(([time[i]], events[later]))
            last = np.flatnonzero(np.append(share[1:] != share[:-1], True))
            rows.append(np.full(last.size, i))
            starts.append(np.concatenate(([begin[i]], when[last[:-1]])))
            ends.append(when[last])
            weights.append(weight[i] * share[last])
    origin = np.concatenate(rows).astype(np.int64)
    out = np.empty(origin.size, dtype=[("event", bool), ("time", np.float64)])
    out["event"], out["time"] = codes[origin] == cause, np.concatenate(ends)
    order = np.lexsort((out["time"], origin))
    return FineGrayRows(origin[order], out[order], np.concatenate(starts)[order], np.concatenate(weights)[order])


def _stays(codes: Ints, time: Floats, begin: Floats, weight: Floats, late: bool) -> tuple[Floats, Floats]:
    """Return times, and the chance of being uncensored and having entered just before each of them and after the last.

    Of what happens at one time, events come first, then censoring, then entry.
    """
    places, at = np.unique(np.concatenate((begin, time)), return_inverse=True)
    entered, left = at[: begin.size], at[begin.size :]
    size = places.size

    def count(where: NDArray[np.intp], which: NDArray[np.bool_]) -> Floats:
        return np.bincount(where[which], weights=weight[which], minlength=size).astype(np.float64)

    every = np.ones(time.size, dtype=bool)
    arrived, gone = np.cumsum(count(entered, every)), np.cumsum(count(left, every))
    lost = count(left, codes == 0)
    before = np.concatenate(([0.0], arrived[:-1]))
    # At risk of being censored: entered before, and neither gone before nor by an event now.
    at_risk = before - np.concatenate(([0.0], gone[:-1])) - count(left, codes > 0)
    free = np.cumprod(1.0 - np.divide(lost, at_risk, out=np.zeros(size), where=lost > 0))
    uncensored = np.concatenate(([1.0], free))
    if not late:
        return places, uncensored
    came = count(entered, every)
    present = arrived - gone
    share = np.divide(came, present, out=np.zeros(size), where=present > 0)
    first = int(np.flatnonzero(came)[0])
    if (share[first + 1 :] >= 1.0 - 1e-12).any():
        raise NotEstimableError(
            "nobody is at risk just before some row enters", "rows at risk from the first entry on",
            "start later, where there are rows at risk",
        )  # fmt: skip
    share[: first + 1] = 0.0
    # In reverse: who is there at t had entered just before it, unless they entered at or after t.
    inside = np.concatenate((np.cumprod((1.0 - share)[::-1])[::-1], [1.0]))
    return places, uncensored * inside
