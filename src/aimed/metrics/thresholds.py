"""Two-by-two tables at thresholds: sensitivity, predictive values and the rest, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, binary, patient_codes, tally, vector
from aimed.metrics.kernels.areas import table_moments
from aimed.metrics.proportions import INTERVALS, proportion
from aimed.metrics.result import Estimate, Headline, checked_level, clustered, with_interval

__all__ = [
    "RATES",
    "Confusion",
    "Method",
    "confusion",
    "rates",
    "threshold_at_sensitivity",
    "threshold_at_specificity",
    "threshold_table",
]

Method = Literal["wilson", "clopper-pearson"]

RATES = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "lr_positive",
    "lr_negative",
    "f1",
    "youden",
    "accuracy",
    "balanced_accuracy",
    "mcc",
)
"""Names of the estimates of a two-by-two table, in order."""


def rates(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> dict[str, FloatArray]:
    """Return the rates of two-by-two tables, NaN where a denominator is zero.

    Parameters
    ----------
    tp, fp, fn, tn : float arrays of one shape
        Counts, or expected counts under censoring.

    Returns
    -------
    dict
        sensitivity, specificity, ppv, npv, lr_positive, lr_negative, f1.

    Examples
    --------
    >>> one = np.array([2.0])
    >>> rates(one, one, one, one)["ppv"]
    array([0.5])
    """

    def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
        out = np.full(np.shape(top), np.nan)
        np.divide(top, bottom, out=out, where=np.asarray(bottom) > 0)
        return out

    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "lr_positive": ratio(sensitivity, 1 - specificity),
        "lr_negative": ratio(1 - sensitivity, specificity),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion(Headline):
    """The two-by-two table at one threshold, with every rate and its interval.

    Parameters
    ----------
    threshold : float
    tp, fp, fn, tn : float
        True positives, false positives, false negatives and true negatives; weighted counts where rows have weights.
    events : int
        Rows with the event.
    stated_prevalence : float or None
        Share of events the predictive values were re-based to; None where they are those of the rows.
    prevalence : Estimate
        Share of rows with the event.
    sensitivity, specificity, ppv, npv, lr_positive, lr_negative : Estimate
    f1, youden, accuracy, balanced_accuracy, mcc : Estimate
    level : float
    method, note : str

    Examples
    --------
    >>> table = confusion([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], 0.5)
    >>> table.tp, table.fp, table.fn, table.tn, table.sensitivity
    (2.0, 1.0, 1.0, 1.0, sensitivity 0.6667 (95 % interval 0.2077 to 0.9385), n = 3)
    """

    _headline = "youden"

    threshold: float
    tp: float
    fp: float
    fn: float
    tn: float
    events: int
    stated_prevalence: float | None
    prevalence: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    lr_positive: Estimate
    lr_negative: Estimate
    f1: Estimate
    youden: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    mcc: Estimate
    level: float
    method: str
    note: str = ""

    def estimates(self) -> dict[str, Estimate]:
        """Return every rate by its name."""
        return {name: getattr(self, name) for name in RATES}

    def rates(self) -> dict[str, float | None]:
        """Return the rates as plain numbers; None where undefined."""
        return {name: float(v) if math.isfinite(v) else None for name, v in self.estimates().items()}


@dataclass(frozen=True, slots=True)
class _Cell:
    """What the estimates of one table are made from: weighted cells, rows in them, and how the cells vary."""

    cells: FloatArray
    rows: IntArray
    variance: FloatArray
    plain: bool
    method: Method
    how: str
    level: float
    place: IntArray | None = None
    weight: FloatArray | None = None
    patients: dict[frozenset[int], int] | None = None

    def units(self, *cells: int) -> int | None:
        """Return how many patients have rows in some cells; None where rows are independent."""
        return None if self.patients is None else self.patients[frozenset(cells)]

    def spread(self, slope: FloatArray) -> float:
        """Return the variance of a function of the cells from its derivative by them."""
        found = float(slope @ self.variance @ slope)
        # What is left when large terms cancel, as with one patient only, is rounding and not a variance.
        return found if found > 1e-13 * float(abs(slope) @ abs(self.variance) @ abs(slope)) else 0.0

    def influence(self, slope: FloatArray) -> FloatArray | None:
        if self.place is None or self.weight is None:
            return None
        out: FloatArray = slope[self.place] * self.weight
        return out

    def missing(self, name: str, why: str, value: float = math.nan, **more: Any) -> Estimate:
        return Estimate(value, name=name, note=why, level=self.level, n=int(self.rows.sum()), **more)

    def share(self, name: str, yes: tuple[int, ...], no: tuple[int, ...], why: str) -> tuple[Estimate, FloatArray]:
        """Return the share of some cells among them and others, and its derivative by the cells."""
        k, other = float(self.cells[list(yes)].sum()), float(self.cells[list(no)].sum())
        total, slope = k + other, np.zeros(4)
        if total <= 0:
            return self.missing(name, why), slope
        slope[list(yes)], slope[list(no)] = other / total**2, -k / total**2
        rows = int(self.rows[list(yes + no)].sum())
        events = int(self.rows[list(yes)].sum())
        if self.plain:
            found = proportion(k, total, self.method, level=self.level, name=name)
            found.influence = self.influence(slope)
            return found, slope
        edge = k == 0 or other == 0
        return (
            with_interval(
                k / total,
                0.0 if edge else self.spread(slope),
                why=f"a share of {0 if k == 0 else 1} has no spread between rows" if edge else _STILL,
                scale="logit",
                units=self.units(*yes, *no),
                name=name,
                n=rows,
                events=events,
                level=self.level,
                method=self.how + " on the logit scale",
                influence=self.influence(slope),
            ),
            slope,
        )

    def smooth(self, name: str, value: float, slope: FloatArray, why: str, **more: Any) -> Estimate:
        scale = f" on {_SCALES[more['scale']]}"
        if not math.isfinite(value):
            return self.missing(name, why)
        return with_interval(
            value,
            self.spread(slope),
            why=why,
            name=name,
            n=int(self.rows.sum()),
            units=self.units(0, 1, 2, 3),
            level=self.level,
            method=("delta method" if self.plain else self.how) + scale,
            influence=self.influence(slope),
            **more,
        )


_NO_EVENTS, _NO_OTHERS = "no row has the event", "every row has the event"
_STILL = "no spread between patients"
_SCALES = {"log": "the log scale", "logit": "the logit scale", "fisher": "Fisher's z scale"}


def _likelihood(
    table: _Cell, name: str, top: float, bottom: float, by_top: FloatArray, by_bottom: FloatArray, why: str
) -> tuple[Estimate, FloatArray]:
    """Return a ratio of two shares with Simel's interval on the log scale."""
    if not bottom > 0 or not math.isfinite(top):
        return table.missing(name, why), np.zeros(4)
    slope = by_top / bottom - top * by_bottom / bottom**2
    if top == 0:
        return table.missing(name, "no interval: a ratio of 0 has no logarithm", 0.0), slope
    found = table.smooth(name, top / bottom, slope, "neither share varies", scale="log")
    return found, slope


def _rebased(
    table: _Cell, name: str, yes: float, no: float, ratio: Estimate, slope: FloatArray, odds: float, turn: int
) -> Estimate:
    """Return a predictive value at a stated prevalence.

    Of the rows called so, `yes` is the share of the class meant and `no` that of the other; `odds` are those of the
    class meant. The log odds of the value are those of the prevalence plus or minus the log likelihood ratio, so that
    its interval is that of the ratio (Mercaldo 2007).
    """
    if not yes * odds + no > 0:
        return table.missing(name, "a class has no row, or no row is on this side of the threshold")
    value = yes * odds / (yes * odds + no)
    if value in (0.0, 1.0) or not math.isfinite(ratio):
        return table.missing(name, "no interval: a share of 0 or 1 has no log odds", value)
    slope = turn * slope / float(ratio) * value * (1 - value)
    found = table.smooth(name, value, slope, "neither share varies", scale="logit")
    found.method += ", re-based to the stated prevalence"
    return found


def _mcc(cells: FloatArray) -> tuple[float, FloatArray]:
    """Return Matthews' correlation and its derivative by the cells."""
    tp, fp, fn, tn = (float(v) for v in cells)
    flagged, events, others, cleared = tp + fp, tp + fn, fp + tn, fn + tn
    if min(flagged, events, others, cleared) <= 0:
        return math.nan, np.zeros(4)
    root = math.sqrt(flagged) * math.sqrt(events) * math.sqrt(others) * math.sqrt(cleared)
    value = (tp * tn - fp * fn) / root
    slope = np.array([tn, -fn, -fp, tp]) / root
    a, b, c, d = (1 / v for v in (flagged, events, others, cleared))
    slope -= value / 2 * np.array([a + b, a + c, b + d, c + d])
    return value, slope


def _confusion(table: _Cell, threshold: float, prevalence: float | None, note: str = "") -> Confusion:
    tp, fp, fn, tn = (float(v) for v in table.cells)
    sensitivity, by_cases = table.share("sensitivity", (0,), (2,), _NO_EVENTS)
    specificity, by_others = table.share("specificity", (3,), (1,), _NO_OTHERS)
    why = _NO_EVENTS if tp + fn <= 0 else _NO_OTHERS
    single = tp + fn <= 0 or fp + tn <= 0
    lr_positive, by_positive = _likelihood(
        table,
        "lr_positive",
        float(sensitivity),
        fp / (fp + tn) if not single else math.nan,
        by_cases,
        -by_others,
        why if single else "no row without the event is at or above the threshold",
    )
    lr_negative, by_negative = _likelihood(
        table,
        "lr_negative",
        fn / (tp + fn) if not single else math.nan,
        float(specificity),
        -by_cases,
        by_others,
        why if single else "no row without the event is below the threshold",
    )
    if prevalence is None:
        ppv = table.share("ppv", (0,), (1,), "no row is at or above the threshold")[0]
        npv = table.share("npv", (3,), (2,), "no row is below the threshold")[0]
    else:
        odds = prevalence / (1 - prevalence)
        sens, spec = float(sensitivity), float(specificity)
        ppv = _rebased(table, "ppv", sens, 1 - spec, lr_positive, by_positive, odds, 1)
        npv = _rebased(table, "npv", spec, 1 - sens, lr_negative, by_negative, 1 / odds, -1)
    youden = (tp * tn - fp * fn) / ((tp + fn) * (fp + tn)) if not single else math.nan
    found = 2 * tp + fp + fn
    by_f1 = np.array([2 * (fp + fn), -2 * tp, -2 * tp, 0.0]) / found**2 if found > 0 else np.zeros(4)
    correlation, by_mcc = _mcc(table.cells)
    edge = "no spread between rows at the edge of the range"
    empty = why if single else "every row is on one side of the threshold"
    return Confusion(
        threshold=float(threshold),
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        events=int(table.rows[0] + table.rows[2]),
        stated_prevalence=prevalence,
        prevalence=table.share("prevalence", (0, 2), (1, 3), "no row")[0],
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=ppv,
        npv=npv,
        lr_positive=lr_positive,
        lr_negative=lr_negative,
        f1=table.smooth(
            "f1", 2 * tp / found if found > 0 else math.nan, by_f1, edge if found > 0 else _NO_EVENTS, scale="logit"
        ),
        youden=table.smooth("youden", youden, by_cases + by_others, why if single else edge, scale="fisher"),
        accuracy=table.share("accuracy", (0, 3), (1, 2), "no row")[0],
        balanced_accuracy=table.smooth(
            "balanced_accuracy",
            (1 + youden) / 2,
            (by_cases + by_others) / 2,
            why if single else edge,
            scale="logit",
        ),
        mcc=table.smooth("mcc", correlation, by_mcc, empty if math.isnan(correlation) else edge, scale="fisher"),
        level=table.level,
        method=table.how,
        note=note,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Checked rows and options: what every table is made from."""

    case: BoolArray
    risk: FloatArray
    weight: FloatArray
    weighted: bool
    codes: IntArray | None
    level: float
    method: Method
    prevalence: float | None

    @classmethod
    def of(
        cls,
        y: ArrayLike,
        p: ArrayLike,
        weights: ArrayLike | None,
        patient: ArrayLike | None,
        level: float,
        method: Method,
        prevalence: float | None,
    ) -> _Rows:
        outcome, weight = binary(y, weights)
        risk = vector("p", p, outcome.size)
        if method not in INTERVALS:
            raise DataError("method is not known", f"one of: {', '.join(INTERVALS)}")
        if prevalence is not None and not 0 < prevalence < 1:
            raise DataError("prevalence lies outside (0, 1)", "a share such as 0.02")
        codes = None if patient is None else patient_codes(patient, outcome.size)
        return cls(outcome == 1, risk, weight, weights is not None, codes, checked_level(level), method, prevalence)

    def tables(self, cuts: FloatArray, influences: bool = False) -> list[_Cell]:
        """Return one table for each of some rising thresholds, in O(n log k + k), with patients O(n log n + k)."""
        k = cuts.size
        passed = np.searchsorted(cuts, self.risk, side="right")
        place = passed + np.where(self.case, 0, k + 1)

        def cells(weight: FloatArray | None) -> FloatArray:
            # Sums from either end keep an empty cell at 0 exactly, which a difference of sums would not.
            groups = np.bincount(place, weight, 2 * (k + 1)).reshape(2, k + 1)
            above, below = groups[:, ::-1].cumsum(1)[:, ::-1][:, 1:], groups.cumsum(1)[:, :-1]
            return np.column_stack([above[0], above[1], below[0], below[1]])

        seen: list[dict[frozenset[int], int] | None] = [None] * k
        if self.codes is not None:
            seen = list(_seen(self.codes, passed, self.case, k))
        rows = cells(None).astype(np.int64)
        weighted = cells(self.weight) if self.weighted else rows.astype(np.float64)
        if self.codes is not None:
            variance = np.empty((k, 4, 4))
            patients = int(self.codes.max()) + 1
            table_moments(np.argsort(passed), passed, self.case, self.weight, self.codes, patients, variance)
            # Weights taken away one by one leave rounding in a cell that is empty, and an empty cell does not vary.
            filled = weighted > 0
            variance *= filled[:, :, None] & filled[:, None, :]
        else:
            variance = np.zeros((k, 4, 4))
            variance[:, range(4), range(4)] = cells(self.weight**2) if self.weighted else weighted
        plain = self.codes is None and not self.weighted
        how = "Wilson" if self.method == "wilson" else "Clopper-Pearson"
        if not plain:
            how = "ratio estimator with row weights" if self.codes is None else clustered("ratio estimator", self.codes)
        side = np.where(self.case, 2, 3) - 2 * (passed > 0) if influences else None
        weight = self.weight if influences else None
        return [
            _Cell(weighted[t], rows[t], variance[t], plain, self.method, how, self.level, side, weight, seen[t])
            for t in range(k)
        ]

    def at(self, threshold: float, note: str = "") -> Confusion:
        table = self.tables(np.array([threshold]), influences=True)[0]
        return _confusion(table, threshold, self.prevalence, note)


def _seen(codes: IntArray, passed: IntArray, case: BoolArray, k: int) -> Iterator[dict[frozenset[int], int]]:
    """Yield how many patients have rows in each margin of the table at each of k thresholds."""
    patients = int(codes.max()) + 1
    highest, lowest = np.zeros(patients, dtype=np.int64), np.full(patients, k, dtype=np.int64)
    np.maximum.at(highest, codes, passed)
    np.minimum.at(lowest, codes, passed)
    flagged = np.bincount(highest, minlength=k + 1)[::-1].cumsum()[::-1][1:]
    cleared = np.bincount(lowest, minlength=k + 1).cumsum()[:-1]
    margins = {(0, 2): np.unique(codes[case]).size, (1, 3): np.unique(codes[~case]).size, (0, 1, 2, 3): patients}
    fixed = {frozenset(cells): size for cells, size in margins.items()}
    for above, below in zip(flagged, cleared, strict=True):
        yield fixed | {frozenset((0, 1)): int(above), frozenset((2, 3)): int(below)}


def _finite(threshold: float) -> float:
    if not math.isfinite(threshold):
        raise DataError("the threshold is not finite", "a finite number")
    return float(threshold)


def confusion(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    method: Method = "wilson",
    prevalence: float | None = None,
) -> Confusion:
    """Return the two-by-two table at a threshold with every rate; a risk equal to the threshold counts as positive.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p : float array, shape (n,)
        Risk; any score on the scale of the threshold.
    threshold : float
    weights : float array, shape (n,), optional
        Row weights. In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    method : {"wilson", "clopper-pearson"}
        Interval of the proportions of independent rows without weights.
    prevalence : float in (0, 1), optional
        Share of events where the model will be used: the predictive values are re-based to it from sensitivity and
        specificity.

    Raises
    ------
    DataError
        If the arrays are unfit, or an option is not known.

    Notes
    -----
    Formula: the usual ratios of the four cells. Proportions have Wilson's or Clopper and Pearson's interval; likelihood
    ratios Simel's on the log scale; F1 and balanced accuracy the delta method on the logit scale, Youden's index and
    Matthews' correlation on Fisher's z scale. With weights or patients every rate is a ratio estimator, its variance
    the sum of squared influences of rows or patients, and proportions have intervals on the logit scale; with m
    patients in the rate, the quantile is that of t with m - 1, and the variance has m / (m - 1). Predictive values at a
    stated prevalence have Mercaldo's intervals on the logit scale.
    Range: proportions and F1 0 to 1; likelihood ratios 0 up; Youden's index and Matthews' correlation -1 to 1.
    Assumes: the threshold was fixed before these rows were seen; sensitivity and specificity carry over where a
    prevalence is stated.
    Refuses: nothing for one class's sake: a rate whose denominator is 0 is NaN with the reason.

    References
    ----------
    Wilson, JASA 1927;22:209. Clopper and Pearson, Biometrika 1934;26:404. Simel, Samsa and Matchar, J Clin Epidemiol
    1991;44:763. Mercaldo, Lau and Zhou, Stat Med 2007;26:2170. Youden, Cancer 1950;3:32. Genders et al., Radiology
    2012;265:910 (ratio estimators for clustered rows).

    Examples
    --------
    >>> table = confusion([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], 0.5)
    >>> table.tp, table.fp, table.fn, table.tn
    (2.0, 1.0, 1.0, 1.0)
    >>> table.ppv
    ppv 0.6667 (95 % interval 0.2077 to 0.9385), n = 3
    >>> confusion([1, 1], [0.8, 0.2], 0.5).specificity.note
    'every row has the event'
    """
    cut = _finite(threshold)
    return _Rows.of(y, p, weights, patient, level, method, prevalence).at(cut)


def threshold_table(
    y: ArrayLike,
    p: ArrayLike,
    thresholds: Iterable[float],
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    method: Method = "wilson",
    prevalence: float | None = None,
) -> list[Confusion]:
    """Return `confusion` at each of several thresholds, in one pass over the rows.

    The estimates carry no influence values, which would be n numbers for each rate at each threshold.

    Parameters
    ----------
    y, p, weights, patient, level, method, prevalence
        As for `confusion`.
    thresholds : floats, shape (k,)

    Raises
    ------
    DataError
        As for `confusion`.

    Notes
    -----
    Formula: as `confusion`.
    Range: as `confusion`.
    Assumes: as `confusion`; intervals hold one threshold at a time.
    Refuses: as `confusion`; thresholds that are not finite.

    References
    ----------
    As for `confusion`.

    Examples
    --------
    >>> [t.tp for t in threshold_table([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], [0.5, 0.1])]
    [2.0, 3.0]
    """
    rows = _Rows.of(y, p, weights, patient, level, method, prevalence)
    cuts = np.array([_finite(t) for t in thresholds], dtype=np.float64)
    if not cuts.size:
        return []
    rising, back = np.unique(cuts, return_inverse=True)
    tables = rows.tables(rising)
    return [_confusion(tables[at], cut, rows.prevalence) for at, cut in zip(back, cuts, strict=True)]


_CHOSEN = "the threshold was chosen on these rows; the intervals take it as fixed"


def _searched(
    rows: _Rows, share: float, name: str, keep: BoolArray, pick: Callable[[FloatArray, FloatArray], float], why: str
) -> Confusion:
    if not 0 < share <= 1:
        raise DataError(f"{name} lies outside (0, 1]", "a share such as 0.9")
    weight = rows.weight[keep]
    if not weight.any():
        raise NotEstimableError(why, "rows with and without the event")
    values, place = np.unique(rows.risk[keep], return_inverse=True)
    return rows.at(pick(values, tally(place, weight, values.size)), _CHOSEN)


def threshold_at_sensitivity(
    y: ArrayLike,
    p: ArrayLike,
    sensitivity: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    method: Method = "wilson",
    prevalence: float | None = None,
) -> Confusion:
    """Return the table at the highest threshold whose sensitivity is at least the target.

    Parameters
    ----------
    y, p, weights, patient, level, method, prevalence
        As for `confusion`.
    sensitivity : float in (0, 1]

    Raises
    ------
    DataError
        As for `confusion`; also if `sensitivity` lies outside (0, 1].
    NotEstimableError
        If no row has the event.

    Notes
    -----
    Formula: the highest risk of a row with the event at or above which the target share of events lies.
    Range: thresholds are risks of the rows.
    Assumes: as `confusion`, but for the threshold: it was chosen on these rows, and the intervals do not know that.
    Refuses: rows without any event.

    References
    ----------
    As for `confusion`.

    Examples
    --------
    >>> found = threshold_at_sensitivity([1, 0, 0, 1, 1], [0.8, 0.8, 0.4, 0.6, 0.3], 0.6)
    >>> found.threshold, round(found.sensitivity, 4)
    (0.6, 0.6667)
    """

    def pick(values: FloatArray, weight: FloatArray) -> float:
        reached = np.cumsum(weight[::-1])[::-1]
        return float(values[np.flatnonzero(reached >= sensitivity * (1 - 1e-12) * reached[0])[-1]])

    rows = _Rows.of(y, p, weights, patient, level, method, prevalence)
    return _searched(rows, sensitivity, "sensitivity", rows.case, pick, _NO_EVENTS)


def threshold_at_specificity(
    y: ArrayLike,
    p: ArrayLike,
    specificity: float,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    method: Method = "wilson",
    prevalence: float | None = None,
) -> Confusion:
    """Return the table at the lowest threshold whose specificity is at least the target.

    Parameters
    ----------
    y, p, weights, patient, level, method, prevalence
        As for `confusion`.
    specificity : float in (0, 1]

    Raises
    ------
    DataError
        As for `confusion`; also if `specificity` lies outside (0, 1].
    NotEstimableError
        If every row has the event.

    Notes
    -----
    Formula: the lowest risk of any row below which the target share of rows without the event lies.
    Range: thresholds are risks of the rows, or the next number above the highest where no row may be flagged.
    Assumes: as `threshold_at_sensitivity`.
    Refuses: rows that all have the event.

    References
    ----------
    As for `confusion`.

    Examples
    --------
    >>> found = threshold_at_specificity([1, 0, 0, 1, 1], [0.8, 0.7, 0.4, 0.6, 0.3], 0.5)
    >>> found.threshold, found.specificity.value
    (0.6, 0.5)
    """
    rows = _Rows.of(y, p, weights, patient, level, method, prevalence)

    def pick(values: FloatArray, weight: FloatArray) -> float:
        cleared = np.cumsum(weight)
        highest = values[np.flatnonzero(cleared >= specificity * (1 - 1e-12) * cleared[-1])[0]]
        above = rows.risk[rows.risk > highest]
        return float(above.min() if above.size else np.nextafter(highest, np.inf))

    return _searched(rows, specificity, "specificity", ~rows.case, pick, _NO_OTHERS)
