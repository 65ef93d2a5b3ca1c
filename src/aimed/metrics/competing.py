"""Competing risks without a model: the chance of each kind of event by a time, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray, event_codes, follow_up, patient_codes, weights_of
from aimed.metrics.kernels.curves import cause_table, place_rows, sums_over_patients
from aimed.metrics.nonparametric import survival_limits
from aimed.metrics.result import clustered, independent_units

__all__ = ["CumulativeIncidence", "aalen_johansen"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CumulativeIncidence:
    """Chance of each kind of event by each distinct time; what is left is the chance of none.

    Parameters
    ----------
    times : float array, shape (u,)
        Distinct times, events and censorings alike.
    causes : tuple of int
    value, se, lower, upper : float arrays, shape (u, K), or (u,) where one cause was asked for
    survival : float array, shape (u,)
        Chance of no event of any kind.
    at_risk : float array, shape (u,)
    events : float array, shape (u, K) or (u,)
    n : int
    level : float
    method : str
    start : float
        Upper limit before the first distinct time.
    """

    times: FloatArray
    causes: tuple[int, ...]
    value: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray
    survival: FloatArray
    at_risk: FloatArray
    events: FloatArray
    n: int
    level: float
    method: str
    start: float = 0.0

    def _read(self, values: FloatArray, at: ArrayLike, first: float = 0.0) -> FloatArray:
        when = np.asarray(at, dtype=np.float64)
        place = np.searchsorted(self.times, when, side="right")
        out: FloatArray = np.concatenate([np.full((1, *values.shape[1:]), first), values])[place]
        if self.survival[-1] > 0:
            # Beyond the last row nothing is known while somebody is left without an event.
            out[when > self.times[-1]] = np.nan
        return out

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the incidence at times, shape (t, K) or (t,); NaN beyond follow-up.

        Examples
        --------
        >>> aalen_johansen([1, 2, 0], [1, 2, 3]).at([2.5])
        array([[0.33333333, 0.33333333]])
        """
        return self._read(self.value, np.atleast_1d(np.asarray(times, dtype=np.float64)))

    def se_at(self, times: ArrayLike) -> FloatArray:
        """Return the standard error at times."""
        return self._read(self.se, np.atleast_1d(np.asarray(times, dtype=np.float64)))

    def interval_at(self, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the limits at times."""
        when = np.atleast_1d(np.asarray(times, dtype=np.float64))
        return self._read(self.lower, when), self._read(self.upper, when, self.start)


def aalen_johansen(
    event: ArrayLike,
    time: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    cause: int | None = None,
    level: float = 0.95,
    patient: ArrayLike | None = None,
    interval: str = "log-log",
) -> CumulativeIncidence:
    """Return the Aalen-Johansen cumulative incidence of competing events.

    Parameters
    ----------
    event : int array, shape (n,)
        0 for censored, 1 to K for the kind of event.
    time : float array, shape (n,)
    weights : float array, shape (n,), optional
        Whole numbers stand for repeated rows.
    cause : int, optional
        One kind of event; all of them when absent.
    level : float
    patient : array, shape (n,), optional
        Rows of one patient are dependent: their influence is added before it is squared.
    interval : {"log-log", "log", "plain"}
        Scale of the limits: log(-log F), log F or F itself.

    Returns
    -------
    CumulativeIncidence

    Raises
    ------
    DataError
        If an event code is not a whole number of at least 0, or a time is negative or not finite.
    NotEstimableError
        If no row has an event, or none of the cause asked for.

    Notes
    -----
    Formula: F_k(t) = sum over u <= t of S(u-) d_k(u) / n(u), S the Kaplan-Meier curve of any event. Error: the root
        of the sum of squared influence (infinitesimal jackknife), as R's ``survfit`` of a multi-state outcome; it
        equals the Greenwood-type error, and with one cause Greenwood's. Before the first event of a cause its error is
        0; log-log and log limits are then 0 to 1 - ((1 - level) / 2)^(1 / n), n the rows at risk. With `patient` limits
        have the quantile of t.
    Range: 0 to 1, rising; the incidences and S add up to 1.
    Assumes: censoring that does not depend on the outcome; rows independent, or patients with `patient`. Without it
        weights are repeated rows.
    Refuses: no event at all, or a cause that never happens. One minus Kaplan-Meier with other causes censored is
        something else: it overstates the risk.

    References
    ----------
    Aalen and Johansen, Scand J Stat 1978;5:141. Putter, Fiocco and Geskus, Stat Med 2007;26:2389. Therneau,
    Crowson and Atkinson, survival package vignette on multi-state models (influence).

    Examples
    --------
    >>> found = aalen_johansen([1, 2, 0, 1], [1, 2, 3, 4])
    >>> found.value[:, 0], found.value[:, 1], found.survival
    (array([0.25, 0.25, 0.25, 0.75]), array([0.  , 0.25, 0.25, 0.25]), array([0.75, 0.5 , 0.5 , 0.  ]))
    """
    when = follow_up(time)
    n = when.size
    codes, w = event_codes(event, n), weights_of(weights, n)
    if cause is not None and (cause < 1 or not (codes == cause).any()):
        raise NotEstimableError(f"no row has an event of cause {cause}", "a cause that happens", "see the event codes")
    causes = int(codes.max())
    if causes == 0:
        raise NotEstimableError("no row has an event", "events of at least one kind")
    order = np.argsort(when)
    place = place_rows(order, when)
    times, events, at_risk = cause_table(order, when, codes, w, causes, int(place[order[-1]]) + 1)
    left = at_risk - events.sum(axis=1)
    left[left < 1e-12 * at_risk] = 0.0
    seen = at_risk > 0
    survival: FloatArray = np.cumprod(np.divide(left, at_risk, out=np.ones(left.size), where=seen))
    before = np.r_[1.0, survival[:-1]]
    share = np.divide(before, at_risk, out=np.zeros(left.size), where=seen)

    wanted = list(range(1, causes + 1)) if cause is None else [cause]
    value = np.cumsum(share[:, None] * events[:, [k - 1 for k in wanted]], axis=0)
    # Once the last row at risk has an event nothing follows, and these terms multiply 0.
    gone = np.divide(1.0, left, out=np.zeros(left.size), where=left > 0)
    grown = np.cumsum((at_risk - left) * gone * np.divide(1.0, at_risk, out=np.zeros(left.size), where=seen))
    term = np.diff(grown, prepend=0.0)
    patients = patient_codes(patient, n)
    # Repeated rows count their squares as often as they are repeated; a patient's rows are added with their weights.
    size = np.sqrt(w) if patient is None else w
    se = np.empty_like(value)
    for j, k in enumerate(wanted):
        curve = np.ascontiguousarray(value[:, j])
        a = -np.cumsum(np.divide(share * events[:, k - 1], at_risk, out=np.zeros(left.size), where=seen) + term * curve)
        own, other = share + gone * curve, gone * curve
        total = sums_over_patients(
            order,
            place,
            np.where(codes == k, 1, np.where(codes > 0, 2, 0)),
            size,
            patients,
            int(patients.max()) + 1,
            np.empty(0, dtype=np.int64),
            np.empty(0, dtype=np.int64),
            a,
            grown,
            curve,
            np.stack([np.zeros(left.size), own, other]),
            np.stack([np.zeros(left.size), -gone, -gone]),
        )
        se[:, j] = np.sqrt(total)
    units = independent_units(patient, n)
    lower, upper = survival_limits(value, se, level, interval, units=units)
    start = 0.0
    if interval != "plain":
        # Nothing has happened yet to those at risk, or to as many patients in proportion.
        share_free = at_risk * (1.0 if units is None else units / n)
        most = 1 - ((1 - level) / 2) ** np.divide(1.0, share_free, out=np.full(left.size, np.inf), where=share_free > 0)
        none = value == 0
        lower, upper, start = np.where(none, 0.0, lower), np.where(none, most[:, None], upper), float(most[0])
    columns = slice(None) if cause is None else 0
    return CumulativeIncidence(
        times=times,
        causes=tuple(wanted),
        value=value[:, columns],
        se=se[:, columns],
        lower=lower[:, columns],
        upper=upper[:, columns],
        survival=survival,
        at_risk=at_risk,
        events=events[:, [k - 1 for k in wanted]][:, columns],
        n=n,
        level=level,
        method=f"Aalen-Johansen; error: {clustered('infinitesimal jackknife', patient)}; {interval} limits",
        start=start,
    )
