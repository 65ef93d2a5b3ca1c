"""Net benefit and decision curves for yes/no, survival and competing-risk outcomes, with intervals and differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    dot,
    event_kinds,
    follow_up,
    patient_codes,
    probabilities,
    survival,
    vector,
    weights_of,
)
from aimed.metrics.kernels.utility import (
    add_rows,
    bin_rows,
    endpoint_order,
    incidence,
    patient_moments,
    replicate_bins,
    row_sums,
    subset_influence,
    table_squares,
)
from aimed.metrics.result import Curve, Estimate, clustered, few_units, notes, patient_sums, two_sided_p

__all__ = [
    "DecisionCurve",
    "HorizonRows",
    "NetBenefitReplicates",
    "benefit_at",
    "net_benefit",
    "net_benefit_competing",
    "net_benefit_difference",
    "net_benefit_survival",
    "treat_all",
]


_JACKKNIFE = "normal, infinitesimal jackknife"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecisionCurve(Curve):
    """Net benefit of a model over thresholds, beside treating everybody and nobody.

    Its own `x`, `value`, `lower`, `upper` and `se` are the model's.

    Parameters
    ----------
    prevalence : float
        Share with the event that the curve supposes; at a horizon, the risk of everybody.
    share : float array, shape (k,)
        Share of rows at or above each threshold.
    treat_all : float array, shape (k,)
        Net benefit of treating everybody.
    difference : Curve
        Model less treating everybody, with its interval; its `influence` where kept.
    **more
        As for `Curve`.

    Examples
    --------
    >>> curve = net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.7], [0.2, 0.5])
    >>> curve.value, curve.treat_all, curve.treat_none
    (array([0.4375, 0.25  ]), array([0.375, 0.   ]), array([0., 0.]))
    >>> curve.interventions_avoided.value, curve.standardized
    (array([25., 25.]), array([0.875, 0.5  ]))
    >>> curve[1]
    net_benefit 0.2500 (95 % interval -0.5626 to 1.0626), n = 4
    """

    prevalence: float
    share: FloatArray
    treat_all: FloatArray
    difference: Curve

    @property
    def treat_none(self) -> FloatArray:
        """Net benefit of treating nobody: 0 everywhere."""
        return np.zeros(self.x.size)

    @property
    def standardized(self) -> FloatArray:
        """Net benefit as a share of the largest possible, the prevalence (Kerr et al., JCO 2016;34:2534)."""
        return self.value / self.prevalence if self.prevalence > 0 else np.full(self.x.size, np.nan)

    @property
    def interventions_avoided(self) -> Curve:
        """Interventions avoided per 100 rows against treating everybody, with no event missed on balance."""
        scale, gap = 100 * (1 - self.x) / self.x, self.difference
        return Curve(
            name="interventions_avoided",
            axis=self.axis,
            x=self.x,
            value=gap.value * scale,
            lower=gap.lower * scale,
            upper=gap.upper * scale,
            se=gap.se * scale,
            n=self.n,
            events=self.events,
            level=self.level,
            method=self.method,
            note=self.note,
        )


@dataclass(frozen=True, slots=True)
class _Grid:
    """Thresholds as asked for, and rising and distinct as the loops want them."""

    asked: FloatArray
    rising: FloatArray
    back: IntArray
    scalar: bool

    @property
    def odds(self) -> FloatArray:
        return self.rising / (1 - self.rising)

    @property
    def k(self) -> int:
        return self.rising.size

    def bins(self, p: FloatArray) -> NDArray[np.int32]:
        """Return how many rising thresholds each row reaches; a risk equal to the threshold reaches it."""
        out = np.empty(p.size, dtype=np.int32)
        bin_rows(np.ascontiguousarray(p), self.rising, out)
        return out


def _thresholds(thresholds: ArrayLike) -> FloatArray:
    out = vector("thresholds", np.atleast_1d(np.asarray(thresholds, dtype=np.float64)))
    if (out <= 0).any() or (out >= 1).any():
        raise DataError("a threshold lies outside (0, 1)", "risk thresholds between 0 and 1")
    return out


def _grid(thresholds: ArrayLike) -> _Grid:
    asked = _thresholds(thresholds)
    rising, back = np.unique(asked, return_inverse=True)
    return _Grid(asked, rising, back.astype(np.int64), np.ndim(thresholds) == 0)


def _one(
    curve: Curve, influence: FloatArray | None, note: str, *, test: bool = False, units: int | None = None
) -> Estimate:
    """Return the only point of a curve as an estimate."""
    found = curve[0]
    found.note, found.influence = note, influence
    if math.isnan(found.lower):
        found.se = math.nan
    if test and found.se > 0:
        found.p = two_sided_p(found.value, found.se, units)
    return found


# A yes/no outcome ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums of rows without and with the event, per threshold, and their products summed over patients."""

    events: FloatArray
    others: FloatArray
    moments: FloatArray
    totals: FloatArray
    rows: FloatArray


class _Binary:
    """A yes/no outcome with thresholds, ready for contrasts: sets of thresholds at which each row counts, and how."""

    def __init__(
        self,
        y: ArrayLike,
        thresholds: ArrayLike,
        weights: ArrayLike | None,
        patient: ArrayLike | None,
        prevalence: float | None,
    ) -> None:
        self.y, self.w = binary(y, weights)
        self.n, self.grid = self.y.size, _grid(thresholds)
        self.label = self.y.astype(np.uint8)
        self.codes = None if patient is None else patient_codes(patient, self.n)
        self.units = None if self.codes is None else int(self.codes.max()) + 1
        self.total = float(self.w.sum())
        self.cases = dot(self.w, self.y)
        self.controls = self.total - self.cases
        self.observed = self.cases / self.total
        if prevalence is not None:
            if not 0 < prevalence < 1:
                raise DataError("the prevalence lies outside (0, 1)", "a prevalence between 0 and 1")
            if min(self.cases, self.controls) <= 0:
                raise NotEstimableError("one outcome class only", "rows with and without the event, to be re-based")
        self.asked = prevalence
        self.prevalence = self.observed if prevalence is None else float(prevalence)

    def value(self, events: FloatArray, others: FloatArray) -> FloatArray:
        """Return net benefit from the weight of counting rows with and without the event."""
        return _weigh(events, others, self.grid.odds, self.total, self.cases, self.controls, self.asked)

    def scales(self) -> tuple[float, float]:
        """Return what weights of rows with and without the event are multiplied by to reach the prevalence."""
        if self.asked is None:
            return 1.0, 1.0
        return self.asked / self.observed, (1 - self.asked) / (1 - self.observed)

    def centres(self, sums: _Sums, value: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what a row with and without the event counts for on average; the influence is centred at it."""
        if self.asked is None:
            return value, value
        return sums.events / self.cases, -self.grid.odds * sums.others / self.controls

    def sums(self, lo: NDArray[np.int32], hi: NDArray[np.int32], label: NDArray[np.uint8], forward: bool) -> _Sums:
        """Add up rows that count at thresholds lo to hi - 1, from the low end or from the high end.

        Going from the end at which few rows count keeps what is small exact.
        """
        k = self.grid.k
        starts, stops = np.zeros((k + 1, 4, 2)), np.zeros((k + 1, 4, 2))
        row_sums(lo, hi, label, self.w, starts, stops)
        step = starts - stops
        at = np.cumsum(step, axis=0)[:k] if forward else np.cumsum(-step[::-1], axis=0)[::-1][1:]
        plus, minus = at[:, :2], at[:, 2:]
        signed, squares = plus[:, :, 0] - minus[:, :, 0], plus[:, :, 1] + minus[:, :, 1]
        if self.codes is None:
            crossed, none = plus[:, :, 1] - minus[:, :, 1], np.zeros(k)
            moments = np.array([squares[:, 1], squares[:, 0], none, crossed[:, 1], none, none, crossed[:, 0]])
            square = self.w * self.w
            cases = dot(square, self.y)
            totals = np.array([cases, float(square.sum()) - cases, 0.0])
        else:
            changes, totals = np.zeros((7, k + 1)), np.zeros(3)
            patients = int(self.codes.max()) + 1
            order = endpoint_order(lo, hi, self.codes, k + 1, patients)
            patient_moments(lo, hi, label, self.w, self.codes, order, patients, changes, totals)
            moments = np.cumsum(changes, axis=1)[:, :k]
        return _Sums(signed[:, 1], signed[:, 0], moments, totals, plus[:, :, 0].sum(axis=1))

    def error(self, sums: _Sums, value: FloatArray) -> FloatArray:
        """Return the standard error: the root of the influence squared, summed over patients."""
        o, (c1, c0), (m1, m0) = self.grid.odds, self.scales(), self.centres(sums, value)
        aa, bb, ab, a1, a0, b1, b0 = sums.moments
        u1, u0, u10 = sums.totals
        m1, m0, o = m1 * c1, m0 * c0, o * c0
        total = (
            (c1 * c1 * aa - 2 * c1 * m1 * a1 + m1 * m1 * u1)
            + (o * o * bb + 2 * o * m0 * b0 + m0 * m0 * u0)
            - 2 * (c1 * o * ab + c1 * m0 * a0 - o * m1 * b1 - m1 * m0 * u10)
        )
        return np.asarray(np.sqrt(np.maximum(total, 0)) / self.total, dtype=np.float64)

    def influence(
        self, lo: NDArray[np.int32], hi: NDArray[np.int32], label: NDArray[np.uint8], sums: _Sums, value: FloatArray
    ) -> FloatArray:
        """Return the influence of each row at each rising threshold, shape (n, k)."""
        out = np.empty((self.n, self.grid.k))
        (c1, c0), (m1, m0) = self.scales(), self.centres(sums, value)
        case, sign = self.y == 1, np.where(label >= 2, -1.0, 1.0)
        u = self.w * np.where(case, c1, c0) / self.total
        for j, o in enumerate(self.grid.odds):
            counts = ((lo <= j) & (j < hi)) * sign * np.where(case, 1.0, -o)
            out[:, j] = u * (counts - np.where(case, m1[j], m0[j]))
        return out


def _weigh(
    events: FloatArray,
    others: FloatArray,
    odds: FloatArray,
    total: float | FloatArray,
    cases: float | FloatArray,
    controls: float | FloatArray,
    prevalence: float | None,
) -> FloatArray:
    """Return net benefit from sums; one formula for the metric and its replicates, so that they agree in every bit."""
    if prevalence is None:
        return np.asarray((events - others * odds) / total, dtype=np.float64)
    return np.asarray(prevalence * (events / cases) - (1 - prevalence) * (others / controls) * odds, dtype=np.float64)


@overload
def net_benefit(
    y: ArrayLike,
    p: ArrayLike,
    thresholds: float,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    prevalence: float | None = ...,
    influence: bool = ...,
) -> Estimate: ...
@overload
def net_benefit(
    y: ArrayLike,
    p: ArrayLike,
    thresholds: ArrayLike,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    prevalence: float | None = ...,
    influence: bool = ...,
) -> DecisionCurve: ...
def net_benefit(
    y: ArrayLike,
    p: ArrayLike,
    thresholds: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    prevalence: float | None = None,
    influence: bool = False,
) -> Estimate | DecisionCurve:
    """Return true positives less false positives times the odds of the threshold, a row.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Probabilities; one equal to the threshold counts as positive.
    thresholds : float or float array, shape (k,), in (0, 1)
        In any order.
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent; the quantile is then that of t with the number of patients less one.
    level : float
        Coverage of the intervals.
    prevalence : float, optional
        Prevalence where the model will be used, for rows sampled by outcome (case-control): the model's sensitivity
        and specificity are kept.
    influence : bool
        Whether a curve keeps the influence of every row at every threshold, n x k numbers. One threshold always does.

    Returns
    -------
    Estimate or DecisionCurve
        An estimate for one threshold; for an array the curve, with treating everybody beside it.

    Raises
    ------
    DataError
        If a threshold lies outside (0, 1), or a probability outside [0, 1].
    NotEstimableError
        If a prevalence is given and one outcome class is absent.

    References
    ----------
    Vickers and Elkin, Med Decis Making 2006;26:565. Vickers, Cronin, Elkin and Gonen, BMC Med Inform Decis Mak
    2008;8:53. Sande, Li, D'Agostino, Wong and Cheng, Stat Med 2020;39:2980 (errors).

    Notes
    -----
    Formula: NB(t) = TP / n - FP / n * t / (1 - t), with p >= t positive; with a prevalence r,
    r * sensitivity - (1 - r) * (1 - specificity) * t / (1 - t). The error is the infinitesimal jackknife.
    Range: minus infinity to the prevalence; treating nobody is 0; higher is better.
    Assumes: a harm of a false positive worth t / (1 - t) of the benefit of a true positive; calibrated probabilities
    are needed for a model to gain, not for the formula.
    Refuses: thresholds of 0 and 1, probabilities outside [0, 1], missing values, a prevalence with one class only.

    Examples
    --------
    >>> net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.7], 0.5)
    net_benefit 0.2500 (95 % interval -0.5626 to 1.0626), n = 4
    >>> net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.7], [0.2, 0.5]).value
    array([0.4375, 0.25  ])
    >>> round(net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.7], 0.5, prevalence=0.1), 3)
    -0.35
    """
    rows = _Binary(y, thresholds, weights, patient, prevalence)
    grid, k = rows.grid, rows.grid.k
    bins = grid.bins(probabilities("p", p, rows.n))
    low, high = np.zeros(rows.n, dtype=np.int32), np.full(rows.n, k, dtype=np.int32)
    above = rows.sums(low, bins, rows.label, forward=False)
    below = rows.sums(bins, high, rows.label + np.uint8(2), forward=True)
    model, gap = rows.value(above.events, above.others), rows.value(below.events, below.others)
    everybody = treat_all(rows.prevalence, grid.rising)
    keep = influence or grid.scalar
    psi = rows.influence(low, bins, rows.label, above, model) if keep else None
    psi_gap = (
        rows.influence(bins, high, rows.label + np.uint8(2), below, gap) if influence and not grid.scalar else None
    )
    empty = int((above.rows[grid.back] == 0).sum())
    note = f"no row reaches {empty} of {grid.asked.size} thresholds: net benefit is 0 there" if empty else ""
    if grid.scalar and empty:
        note = "no row reaches the threshold: net benefit is 0"
    note = notes(note + ", without an interval" if empty else "", few_units(rows.units))
    found = _decision(
        grid,
        (model, rows.error(above, model), psi),
        (gap, rows.error(below, gap), psi_gap),
        everybody,
        above.rows / rows.total,
        rows.prevalence,
        units=rows.units,
        name="net_benefit",
        n=rows.n,
        events=int(rows.y.sum()),
        level=level,
        method=clustered(_JACKKNIFE, patient)
        + ("" if prevalence is None else f", re-based to a prevalence of {prevalence:g}"),
        note=note,
    )
    return _one(found, None if psi is None else psi[:, 0], note) if grid.scalar else found


def _decision(
    grid: _Grid,
    model: tuple[FloatArray, FloatArray, FloatArray | None],
    gap: tuple[FloatArray, FloatArray, FloatArray | None],
    everybody: FloatArray,
    share: FloatArray,
    prevalence: float,
    *,
    name: str,
    units: int | None = None,
    **more: Any,
) -> DecisionCurve:
    """Put values at rising thresholds back in the order asked for, with their limits."""
    back = grid.back
    known = {"axis": "threshold", "x": grid.asked} | more
    return DecisionCurve.normal(
        model[0][back],
        model[1][back],
        name=name,
        units=units,
        influence=None if model[2] is None else model[2][:, back],
        prevalence=prevalence,
        share=share[back],
        treat_all=everybody[back],
        difference=Curve.normal(
            gap[0][back],
            gap[1][back],
            name="net_benefit_over_treat_all",
            units=units,
            influence=None if gap[2] is None else gap[2][:, back],
            **known,
        ),
        **known,
    )


@overload
def net_benefit_difference(
    y: ArrayLike,
    p_a: ArrayLike,
    p_b: ArrayLike,
    thresholds: float,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    prevalence: float | None = ...,
    influence: bool = ...,
) -> Estimate: ...
@overload
def net_benefit_difference(
    y: ArrayLike,
    p_a: ArrayLike,
    p_b: ArrayLike,
    thresholds: ArrayLike,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    prevalence: float | None = ...,
    influence: bool = ...,
) -> Curve: ...
def net_benefit_difference(
    y: ArrayLike,
    p_a: ArrayLike,
    p_b: ArrayLike,
    thresholds: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    prevalence: float | None = None,
    influence: bool = False,
) -> Estimate | Curve:
    """Return the net benefit of model a less that of model b on the same rows, with a paired interval.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p_a, p_b : float arrays, shape (n,)
        Probabilities of two models.
    thresholds : float or float array, shape (k,), in (0, 1)
    weights, patient, level, prevalence, influence
        As for `net_benefit`.

    Returns
    -------
    Estimate or Curve
        An estimate, with its two-sided p, for one threshold; a curve for an array.

    Raises
    ------
    DataError
        If a threshold lies outside (0, 1), or a probability outside [0, 1].

    References
    ----------
    Vickers, Cronin, Elkin and Gonen, BMC Med Inform Decis Mak 2008;8:53.

    Notes
    -----
    Formula: NB_a(t) - NB_b(t); only rows on different sides of the threshold count. The error is the infinitesimal
    jackknife of the difference.
    Range: minus infinity to infinity; above 0 model a is more useful at that threshold.
    Assumes: the same rows for both models; neither model was fitted on them.
    Refuses: what `net_benefit` refuses.

    Examples
    --------
    >>> y = [1, 0, 0, 1, 0, 0]
    >>> found = net_benefit_difference(y, [0.9, 0.1, 0.2, 0.7, 0.3, 0.6], [0.9, 0.6, 0.2, 0.7, 0.6, 0.3], 0.5)
    >>> round(found, 4), round(found.p, 4)
    (0.1667, 0.5525)
    """
    rows = _Binary(y, thresholds, weights, patient, prevalence)
    grid = rows.grid
    a, b = grid.bins(probabilities("p_a", p_a, rows.n)), grid.bins(probabilities("p_b", p_b, rows.n))
    lo, hi = np.minimum(a, b), np.maximum(a, b)
    label = (rows.label + np.uint8(2) * (a < b)).astype(np.uint8)
    sums = rows.sums(lo, hi, label, forward=True)
    value = rows.value(sums.events, sums.others)
    se = rows.error(sums, value)
    psi = rows.influence(lo, hi, label, sums, value) if influence or grid.scalar else None
    back = grid.back
    curve = Curve.normal(
        value[back],
        se[back],
        name="net_benefit_difference",
        units=rows.units,
        note=few_units(rows.units),
        axis="threshold",
        x=grid.asked,
        n=rows.n,
        events=int(rows.y.sum()),
        level=level,
        method=clustered(_JACKKNIFE, patient),
        influence=None if psi is None else psi[:, back],
    )
    if not grid.scalar:
        return curve
    note = notes("" if se[0] > 0 else "no interval: both models decide alike in every row", curve.note)
    return _one(curve, None if psi is None else psi[:, 0], note, test=True, units=rows.units)


class NetBenefitReplicates:
    """Net benefit in bootstrap replicates: rows are placed between thresholds once, then only counted.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
    thresholds : float or float array, shape (k,)
    codes : int array, shape (n,)
        Patient number of each row, from 0.
    prevalence : float, optional
        As for `net_benefit`.

    Examples
    --------
    >>> rows = NetBenefitReplicates([1, 0], [0.9, 0.6], [0.5], codes=np.array([0, 1]))
    >>> rows.replicate(np.array([[1, 2], [1, 0]], dtype=np.uint8))
    array([[0.],
           [1.]])
    """

    def __init__(
        self, y: ArrayLike, p: ArrayLike, thresholds: ArrayLike, *, codes: IntArray, prevalence: float | None = None
    ) -> None:
        rows = _Binary(y, thresholds, None, None, prevalence)
        self._grid, self._prevalence = rows.grid, prevalence
        # Rows of a patient stand together, so that counts are read in their order in memory.
        order = np.argsort(codes, kind="stable")
        self._codes = np.ascontiguousarray(np.asarray(codes, dtype=np.int64)[order])
        self._bins = rows.grid.bins(probabilities("p", p, rows.n))[order]
        self._label = rows.label[order]

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return net benefit in each replicate.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b)

        Returns
        -------
        float array, shape (b,) for one threshold, else (b, k)
            NaN where no row was drawn, or an outcome class is absent that a prevalence needs.
        """
        sums = np.zeros((self._grid.k + 1, 2, counts.shape[1]), dtype=np.int64)
        replicate_bins(self._bins, self._label, self._codes, np.ascontiguousarray(counts), sums)
        total = sums.sum(axis=0).astype(np.float64)
        above = np.cumsum(sums[::-1], axis=0)[::-1][1:].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = _weigh(
                above[:, 1],
                above[:, 0],
                self._grid.odds[:, None],
                total.sum(axis=0),
                total[1],
                total[0],
                self._prevalence,
            )
        out = np.ascontiguousarray(np.where(np.isfinite(found), found, np.nan).T)
        return out[:, 0] if self._grid.scalar else out[:, self._grid.back]


# A horizon under censoring -------------------------------------------------------------------------------------------


class HorizonRows:
    """Rows placed once on event times up to a horizon: the risk of any subset, and each row's influence on it.

    The risk is the Aalen-Johansen incidence; with one kind of event that is 1 less Kaplan-Meier.

    Parameters
    ----------
    kind : uint8 array, shape (n,)
        0 censored, 1 the event of interest, 2 another event.
    time : float array, shape (n,)
    horizon : float
    weights : float array, shape (n,)

    Attributes
    ----------
    order : int array, shape (n,)
        Rows by rising time; `subset` and `influence` are in that order.

    Examples
    --------
    >>> rows = HorizonRows(np.array([1, 0], dtype=np.uint8), np.array([1.0, 5.0]), 2.0, np.ones(2))
    >>> risk, followed, phi = rows.risk(rows.add(np.arange(2)))
    >>> risk, followed, rows.influence(phi, slope=1.0)
    (0.5, True, array([ 0.25, -0.25]))
    """

    def __init__(self, kind: NDArray[np.uint8], time: FloatArray, horizon: float, weights: FloatArray) -> None:
        vector("horizon", [horizon])
        self.order: IntArray = np.argsort(time, kind="stable")
        when = time[self.order]
        inside = when <= horizon
        self.kind = np.where(inside, kind[self.order], 0).astype(np.uint8)
        self.weights = weights[self.order]
        self.squares = self.weights * self.weights
        self.reached: BoolArray = when >= horizon
        # A new place at the first event of each distinct time; those censored at that time are after it.
        dead = self.kind > 0
        starts = np.flatnonzero(np.r_[True, when[1:] != when[:-1]])
        steps = np.zeros(when.size, dtype=np.int32)
        steps[starts] = np.logical_or.reduceat(dead, starts)
        self.place: NDArray[np.int32] = np.cumsum(steps, dtype=np.int32)
        self.size = int(self.place[-1]) + 1
        self._all = np.ones(when.size, dtype=bool)

    def add(self, rows: IntArray, table: FloatArray | None = None, *, squared: bool = False) -> FloatArray:
        """Return the table of the weight (or its square) that leaves at each event time, with these rows added."""
        out = np.zeros((3, self.size)) if table is None else table
        add_rows(np.ascontiguousarray(rows), self.place, self.kind, self.squares if squared else self.weights, out)
        return out

    def followed(self, rows: IntArray) -> float:
        """Return the weight of those of these rows that are followed to the horizon."""
        return dot(self.weights[rows], self.reached[rows])

    def risk(self, table: FloatArray, reached: float = 1.0) -> tuple[float, bool, FloatArray]:
        """Return the risk, whether it can be known, and the influence table for `influence`."""
        phi = np.empty_like(table)
        risk, free = incidence(table, phi)
        return risk, reached > 0 or free <= 0, phi

    def influence(
        self, phi: FloatArray, *, slope: float, member: BoolArray | None = None, inside: float = 0, outside: float = 0
    ) -> FloatArray:
        """Return inside + slope * change of the risk for members, outside for the others, times the weight."""
        out = np.empty(self.place.size)
        who = self._all if member is None else np.ascontiguousarray(member)
        subset_influence(
            who, self.place, self.kind, self.weights, phi, float(inside), float(outside), float(slope), out
        )
        return out


def _at_horizon(
    kind: NDArray[np.uint8],
    time: FloatArray,
    p: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    w: FloatArray,
    *,
    patient: ArrayLike | None,
    level: float,
    influence: bool,
    name: str,
    estimator: str,
) -> Estimate | DecisionCurve:
    grid, n = _grid(thresholds), time.size
    rows = HorizonRows(kind, time, horizon, w)
    bins = grid.bins(probabilities("p", p, n))[rows.order]
    codes = None if patient is None else patient_codes(patient, n)[rows.order]
    everyone = np.arange(n)
    prevalence, known, phi_all = rows.risk(rows.add(everyone), rows.followed(everyone))
    if not known:
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    total, odds, k = float(w.sum()), grid.odds, grid.k
    model, gap, share = np.zeros((2, k)), np.zeros((2, k)), np.zeros(k)
    psi_model, psi_gap = (np.empty((n, k)) if influence or grid.scalar else None for _ in range(2))
    everybody = treat_all(prevalence, grid.rising)
    # Sums over event times give the error of independent rows; otherwise each row's influence is written out.
    by_row = codes is not None or psi_model is not None
    change_all = rows.influence(phi_all, slope=1.0) if by_row else np.empty(0)
    squares_all = np.empty(0) if by_row else rows.add(everyone, squared=True)

    table, squares = np.zeros((3, rows.size)), np.zeros((3, rows.size))
    size = reached = 0.0
    unknown = np.zeros(k, dtype=bool)
    for j, members in _from_the_top(bins, k):
        rows.add(members, table)
        size += float(rows.weights[members].sum())
        reached += rows.followed(members)
        part, slope_all = size / total, 1 + odds[j]
        share[j] = part
        each, phi = 0.0, np.zeros_like(table)
        if part > 0:
            risk, known, phi = rows.risk(table, reached)
            unknown[j] = not known
            each = risk - (1 - risk) * odds[j]
        inside, outside = (1 - part) / total * each, -part / total * each
        model[0, j], gap[0, j] = part * each, part * each - everybody[j]
        if by_row:
            psi = rows.influence(phi, slope=part * slope_all, member=bins > j, inside=inside, outside=outside)
            over = psi - slope_all * change_all
            for found, row in ((model, psi), (gap, over)):
                sums = patient_sums(row, codes)
                found[1, j] = math.sqrt(dot(sums, sums))
            if psi_model is not None and psi_gap is not None:
                psi_model[rows.order, j], psi_gap[rows.order, j] = psi, over
        else:
            rows.add(members, squares, squared=True)
            own, over_all = table_squares(
                squares, squares_all, phi, phi_all, inside, outside, part * slope_all, slope_all
            )
            model[1, j], gap[1, j] = math.sqrt(max(own, 0.0)), math.sqrt(max(over_all, 0.0))
    for held in (model, gap, psi_model, psi_gap):
        if held is not None:
            held[:, unknown] = np.nan

    lost, empty = int(unknown[grid.back].sum()), int((share[grid.back] == 0).sum())
    if grid.scalar and lost:
        raise NotEstimableError(
            "nobody above the threshold is followed to the horizon", "a lower threshold or an earlier horizon"
        )
    several = f" {{}} of {grid.asked.size} thresholds"
    note = notes(
        f"nobody above{several.format(lost)} is followed to the horizon: not estimable there" if lost else "",
        f"no row reaches{several.format(empty)}: net benefit is 0 there" if empty else "",
    )
    curve = _decision(
        grid,
        (model[0], model[1], psi_model if influence else None),
        (gap[0], gap[1], psi_gap if influence else None),
        everybody,
        share,
        prevalence,
        name=name,
        n=n,
        events=int((rows.kind == 1).sum()),
        level=level,
        method=f"{estimator}; {clustered(_JACKKNIFE, patient)}",
        note=note,
    )
    return _one(curve, None if psi_model is None else psi_model[:, 0], note) if grid.scalar else curve


def _from_the_top(bins: NDArray[np.int32], k: int) -> Iterator[tuple[int, IntArray]]:
    """Yield each threshold, the highest first, with the rows that reach it and no higher one."""
    # Half-width numbers are sorted by counting.
    order = np.argsort(bins.astype(np.int16) if k < 2**15 else bins, kind="stable")
    edges = np.searchsorted(bins[order], np.arange(1, k + 2))
    for j in range(k - 1, -1, -1):
        yield j, order[edges[j] : edges[j + 1]]


@overload
def net_benefit_survival(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: float,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    influence: bool = ...,
) -> Estimate: ...
@overload
def net_benefit_survival(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    influence: bool = ...,
) -> DecisionCurve: ...
def net_benefit_survival(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    influence: bool = False,
) -> Estimate | DecisionCurve:
    """Return net benefit at a horizon; true positives by the Kaplan-Meier risk of the rows above the threshold.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
        1 where the event happened at `time`, 0 where follow-up ended.
    time : float array, shape (n,)
    p : float array, shape (n,)
        Probability of the event by the horizon.
    horizon : float
        In the unit of `time`.
    thresholds : float or float array, shape (k,), in (0, 1)
    weights, patient, level, influence
        As for `net_benefit`.

    Returns
    -------
    Estimate or DecisionCurve
        NaN on a curve, with the reason in `note`, where nobody above a threshold is followed to the horizon.

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, or for one threshold nobody above it is.
    DataError
        If a threshold lies outside (0, 1), or a probability outside [0, 1].

    References
    ----------
    Vickers, Cronin, Elkin and Gonen, BMC Med Inform Decis Mak 2008;8:53.

    Notes
    -----
    Formula: share(t) * [F - (1 - F) * t / (1 - t)], F being 1 less Kaplan-Meier at the horizon among rows with p >= t.
    The error is the infinitesimal jackknife of share and F together.
    Range: minus infinity to the risk of everybody; treating nobody is 0; higher is better.
    Assumes: censoring independent of the outcome within the rows above each threshold.
    Refuses: a horizon beyond follow-up, thresholds of 0 and 1, probabilities outside [0, 1], missing values.

    Examples
    --------
    >>> found = net_benefit_survival([1, 0, 0, 1], [1, 5, 5, 5], [0.9, 0.6, 0.1, 0.2], 2, [0.5, 0.7])
    >>> found.value, found.treat_all.round(3)
    (array([0.  , 0.25]), array([-0.5, -1.5]))
    """
    seen, when, w = survival(event, time, weights)
    return _at_horizon(
        seen.astype(np.uint8),
        when,
        p,
        horizon,
        thresholds,
        w,
        patient=patient,
        level=level,
        influence=influence,
        name="net_benefit_survival",
        estimator="Kaplan-Meier above the threshold",
    )


@overload
def net_benefit_competing(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: float,
    cause: int = ...,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    influence: bool = ...,
) -> Estimate: ...
@overload
def net_benefit_competing(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    cause: int = ...,
    weights: ArrayLike | None = ...,
    *,
    patient: ArrayLike | None = ...,
    level: float = ...,
    influence: bool = ...,
) -> DecisionCurve: ...
def net_benefit_competing(
    event: ArrayLike,
    time: ArrayLike,
    p: ArrayLike,
    horizon: float,
    thresholds: ArrayLike,
    cause: int = 1,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    influence: bool = False,
) -> Estimate | DecisionCurve:
    """Return net benefit at a horizon with competing events, by the Aalen-Johansen incidence above the threshold.

    Parameters
    ----------
    event : int array, shape (n,)
        0 censored, 1, ..., K the kind of event at `time`.
    time : float array, shape (n,)
    p : float array, shape (n,)
        Probability of the event of interest by the horizon.
    horizon : float
        In the unit of `time`.
    thresholds : float or float array, shape (k,), in (0, 1)
    cause : int
        Code of the event of interest.
    weights, patient, level, influence
        As for `net_benefit`.

    Returns
    -------
    Estimate or DecisionCurve
        NaN on a curve, with the reason in `note`, where nobody above a threshold is followed to the horizon.

    Raises
    ------
    NotEstimableError
        If nobody is followed to the horizon, or for one threshold nobody above it is.
    DataError
        If an event is not a whole number from 0, or the cause is not a number from 1.

    References
    ----------
    Vickers, Cronin, Elkin and Gonen, BMC Med Inform Decis Mak 2008;8:53. Aalen and Johansen, Scand J Stat 1978;5:141.

    Notes
    -----
    Formula: share(t) * [F - (1 - F) * t / (1 - t)], F being the Aalen-Johansen incidence of the cause at the horizon
    among rows with p >= t. Rows with another event count as free of the event of interest.
    Range: minus infinity to the incidence among everybody; treating nobody is 0; higher is better.
    Assumes: censoring independent of the outcome within the rows above each threshold.
    Refuses: a horizon beyond follow-up, thresholds of 0 and 1, probabilities outside [0, 1], missing values.

    Examples
    --------
    >>> found = net_benefit_competing([1, 2, 0, 1], [1, 2, 5, 5], [0.9, 0.6, 0.1, 0.2], 3, [0.5, 0.7])
    >>> found.value, found.treat_all.round(3)
    (array([0.  , 0.25]), array([-0.5, -1.5]))
    """
    when = follow_up(time)
    return _at_horizon(
        event_kinds(event, when.size, cause),
        when,
        p,
        horizon,
        thresholds,
        weights_of(weights, when.size),
        patient=patient,
        level=level,
        influence=influence,
        name="net_benefit_competing",
        estimator="Aalen-Johansen above the threshold",
    )


# Parts that evaluations build from -----------------------------------------------------------------------------------


def treat_all(prevalence: float, thresholds: FloatArray) -> FloatArray:
    """Return the net benefit of treating everybody.

    Examples
    --------
    >>> treat_all(0.2, np.array([0.2, 0.5])).round(6) + 0.0
    array([ 0. , -0.6])
    """
    return prevalence - (1 - prevalence) * thresholds / (1 - thresholds)


def benefit_at(share: FloatArray, alive: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Return net benefit at a horizon from the share above each threshold and their survival.

    Examples
    --------
    >>> benefit_at(np.array([0.5]), np.array([0.2]), np.array([0.5]))
    array([0.3])
    """
    gain = share * ((1 - alive) - alive * thresholds / (1 - thresholds))
    return np.where(share > 0, gain, 0.0)
