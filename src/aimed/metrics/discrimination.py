"""How well a score tells rows with an event from rows without: areas under curves, their errors and paired tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    cross_products,
    dot,
    patient_codes,
    row_dot,
    vector,
)
from aimed.metrics.kernels.areas import (
    auroc_draws,
    auroc_rows,
    average_precision_draws,
    average_precision_rows,
    partial_area_rows,
    row_kinds,
)
from aimed.metrics.result import (
    Estimate,
    Headline,
    Scale,
    checked_level,
    clustered,
    clustered_covariance,
    clustered_variance,
    patient_sums,
    two_sided_p,
    with_interval,
)

__all__ = [
    "AurocCovariance",
    "AurocReplicates",
    "AurocTest",
    "AveragePrecisionReplicates",
    "Scale",
    "auroc",
    "auroc_covariance",
    "auroc_test",
    "average_precision",
    "partial_auroc",
    "ranked_counts",
]


_NONE, _FEW = 5, 20
"""With fewer rows in its range a partial area gets no interval, and none that is reliable."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Checked rows: what every area under a curve starts from."""

    case: BoolArray
    weight: FloatArray
    weighted: bool
    codes: IntArray | None
    level: float

    @classmethod
    def of(cls, y: ArrayLike, weights: ArrayLike | None, patient: ArrayLike | None, level: float) -> _Rows:
        outcome, weight = binary(y, weights)
        codes = None if patient is None else patient_codes(patient, outcome.size)
        return cls(outcome == 1, weight, weights is not None, codes, checked_level(level))

    @property
    def n(self) -> int:
        return self.case.size

    @property
    def events(self) -> int:
        return int(self.case.sum())

    @property
    def patients(self) -> int | None:
        return None if self.codes is None else int(self.codes.max()) + 1

    def facts(self, method: str) -> dict[str, Any]:
        return {"n": self.n, "events": self.events, "method": method}

    @property
    def how(self) -> str:
        if self.weighted:
            return clustered("infinitesimal jackknife", self.codes)
        return "DeLong" if self.codes is None else clustered("Obuchowski", self.codes)

    def both_classes(self) -> None:
        if not self.weight[self.case].any() or not self.weight[~self.case].any():
            raise NotEstimableError("only one outcome class is present", "rows with and without the event")

    def covariance(self, influence: FloatArray) -> FloatArray:
        """Return the covariance of AUROCs, shape (k, k), from influences, shape (n, k).

        DeLong's variance has n / (n - 1) for either class; Obuchowski's has the same for patients with rows of a
        class, and for all patients in the product of the two classes. With weights there is no such factor.
        """
        case = self.case
        if self.codes is None:
            halves = [influence[case], influence[~case]]
            factors = [1.0 if self.weighted else _inflated(half.shape[0]) for half in halves]
            return np.asarray(sum(f * cross_products(half, half) for f, half in zip(factors, halves, strict=True)))
        if self.weighted:
            return clustered_covariance(influence, self.codes)
        patients = int(self.codes.max()) + 1
        one, zero = (patient_sums(influence[part], self.codes[part], patients) for part in (case, ~case))
        present = [np.unique(self.codes[part]).size for part in (case, ~case)]
        cross = cross_products(one, zero)
        return np.asarray(
            _inflated(present[0]) * cross_products(one, one)
            + _inflated(present[1]) * cross_products(zero, zero)
            + _inflated(patients) * (cross + cross.T)
        )


def _inflated(n: int) -> float:
    return n / (n - 1) if n > 1 else math.nan


def _interval(rows: _Rows, value: float, variance: float, *, corrected: bool = True, **more: Any) -> Estimate:
    """Return an estimate whose interval has the quantile of t with the number of patients less one, where given.

    A variance that is `corrected` is that of a sample already, and is not multiplied by m / (m - 1) again.
    """
    m = rows.patients
    factor = 1.0 if m is None or m < 2 or not corrected else (m - 1) / m
    found = with_interval(value, variance * factor, units=m, level=rows.level, **more)
    if math.isfinite(found.lower):
        found.se = math.sqrt(variance)
    return found


def _tested(rows: _Rows, found: Estimate) -> Estimate:
    """Give an estimate the two-sided p of its being 0, from the distribution that its interval rests on."""
    m = rows.patients if rows.patients is not None and rows.patients >= 2 else None
    # Without weights the variance is that of a sample already: the factor for units is taken out again.
    factor = 1.0 if m is None or rows.weighted else math.sqrt((m - 1) / m)
    found.p = two_sided_p(float(found), found.se * factor, m)
    return found


def _falling(score: FloatArray) -> NDArray[np.intp]:
    """Return rows by falling score, ties in any order: no loop minds it, and a sort that keeps it is slower."""
    return np.ascontiguousarray(np.argsort(score)[::-1])


def _walk(
    rows: _Rows, case: BoolArray, score: FloatArray, loop: Callable[..., Any], *more: float
) -> tuple[Any, FloatArray]:
    """Return what a loop over rows by falling score returns, and what it writes for each row, in the rows' order."""
    order = _falling(score)
    weight = rows.weight[order] if rows.weighted else rows.weight
    written = np.empty(rows.n)
    found = loop(case[order], score[order], weight, *more, written)
    out = np.empty(rows.n)
    out[order] = written
    return found, out


def _area(rows: _Rows, score: FloatArray) -> tuple[float, FloatArray]:
    """Return the AUROC and its influence values."""
    rows.both_classes()
    (pairs, cases, controls), place = _walk(rows, rows.case, score, auroc_rows)
    value = pairs / (cases * controls)
    place -= value
    place *= np.where(rows.case, 1 / cases, 1 / controls)
    if rows.weighted:
        place *= rows.weight
    return value, place


def _why(value: float, rows: _Rows) -> str:
    if value in (0.0, 1.0):
        way = "rightly" if value == 1 else "wrongly"
        return f"all pairs are ranked {way}, and the variance is 0 there whatever the sample"
    if not 1 < rows.events < rows.n - 1:
        return "a variance needs at least 2 rows of each class"
    return "the score does not vary within either class, or there is one patient only"


def _auroc(rows: _Rows, score: FloatArray, scale: Scale, name: str) -> Estimate:
    value, influence = _area(rows, score)
    variance = float(rows.covariance(influence[:, None])[0, 0])
    return _interval(
        rows,
        value,
        variance,
        corrected=not rows.weighted,
        why=_why(value, rows),
        note="all scores are equal" if np.ptp(score) == 0 else "",
        scale=scale,
        bounds=(0.0, 1.0),
        name=name,
        influence=influence,
        **rows.facts(rows.how + (" on the logit scale" if scale == "logit" else "")),
    )


def auroc(
    y: ArrayLike,
    score: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    scale: Literal["identity", "logit"] = "logit",
) -> Estimate:
    """Return the area under the receiver operating characteristic curve with its interval, in O(n log n).

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    score : float array, shape (n,)
        Higher means the event is more likely; any scale.
    weights : float array, shape (n,), optional
        Row weights. In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent; a patient may have rows with and without the event. The quantile is then
        that of t with the number of patients less one.
    level : float
        Coverage of the interval.
    scale : {"logit", "identity"}
        Scale on which the interval is symmetric. The logit keeps inside [0, 1] by itself and covers better near 1;
        the identity is the interval DeLong's test inverts, as pROC prints it, cut to [0, 1].

    Raises
    ------
    DataError
        If the arrays are not finite, not of one length, or `y` is not 0/1.
    NotEstimableError
        If only one class is present.

    Notes
    -----
    Formula: the weighted share of (case, control) pairs in which the case has the higher score; equal scores count
    one half.
    Range: 0 to 1; 0.5 is no better than chance.
    Assumes: rows, or patients where they are given, are independent; a yes/no outcome known for every row.
    Refuses: one class only. There is no interval at 0 or 1 exactly, nor with fewer than 2 rows (patients) of a class.

    References
    ----------
    Hanley and McNeil, Radiology 1982;143:29. DeLong et al., Biometrics 1988;44:837. Obuchowski, Biometrics
    1997;53:567. Sun and Xu, IEEE Signal Process Lett 2014;21:1389.

    Examples
    --------
    >>> auroc([1, 0, 0, 1], [0.5, 0.5, 0.0, 1.0])
    auroc 0.8750 (95 % interval 0.2276 to 0.9940), n = 4
    >>> auroc([1, 1], [0.5, 0.4])
    Traceback (most recent call last):
        ...
    aimed.core.errors.NotEstimableError: only one outcome class is present; expected rows with and without the event
    """
    rows = _Rows.of(y, weights, patient, level)
    return _auroc(rows, vector("score", score, rows.n), scale, "auroc")


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocTest(Headline):
    """The paired comparison of two scores on the same rows.

    Parameters
    ----------
    difference : Estimate
        AUROC of the first less AUROC of the second, with its interval and p.
    first, second : Estimate
        The two AUROCs.
    covariance : float
        Between the two AUROCs.
    z : float
        Difference over its standard error; NaN where that is 0.

    Examples
    --------
    >>> found = auroc_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [2, 1, 6, 4, 3, 5])
    >>> float(found) == found.value, found.first.name
    (True, 'auroc of score_a')
    """

    _headline = "difference"

    difference: Estimate
    first: Estimate
    second: Estimate
    covariance: float
    z: float


def auroc_test(
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> AurocTest:
    """Return the paired comparison AUROC(a) - AUROC(b) on the same rows.

    Parameters
    ----------
    y, weights, patient, level
        As for `auroc`.
    score_a, score_b : float arrays, shape (n,)

    Raises
    ------
    DataError, NotEstimableError
        As for `auroc`.

    Notes
    -----
    Formula: the difference of the two areas over the standard error of the difference, which holds their covariance.
    The p is normal; with patients it is that of t with their number less one.
    Range: difference -1 to 1; p 0 to 1.
    Assumes: both scores on the same rows; scores not fitted on these rows. For nested models compared on the rows
    they were fitted on the test is not valid (Demler et al., Stat Med 2012;31:2577).
    Refuses: one class only. Scores that rank all rows alike have difference 0, no interval and p NaN, with the reason.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837. Obuchowski, Biometrics 1997;53:567.

    Examples
    --------
    >>> found = auroc_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [2, 1, 6, 4, 3, 5])
    >>> round(found.value, 4), round(found.p, 4)
    (0.2222, 0.3711)
    """
    rows = _Rows.of(y, weights, patient, level)
    scores = [vector(name, s, rows.n) for name, s in (("score_a", score_a), ("score_b", score_b))]
    first, second = (_auroc(rows, s, "logit", f"auroc of score_{k}") for s, k in zip(scores, "ab", strict=True))
    both = np.column_stack([_influence(first), _influence(second)])
    apart = both[:, 0] - both[:, 1]
    # The variance of the difference is taken from differences, so that it is 0 exactly where the ranks are the same.
    variance = float(rows.covariance(apart[:, None])[0, 0])
    found = _interval(
        rows,
        float(first) - float(second),
        variance,
        corrected=not rows.weighted,
        why="the two scores rank all rows alike" if not apart.any() else _why(math.nan, rows),
        bounds=(-1.0, 1.0),
        name="auroc difference",
        influence=apart,
        **rows.facts(f"paired {rows.how}"),
    )
    z = float(_tested(rows, found)) / found.se
    covariance = float(rows.covariance(both)[0, 1])
    return AurocTest(difference=found, first=first, second=second, covariance=covariance, z=z)


def _influence(found: Estimate) -> FloatArray:
    if found.influence is None:
        raise TypeError(f"{found.name} was made without influence values")
    return found.influence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AurocCovariance:
    """Several AUROCs on the same rows and how they vary together.

    Parameters
    ----------
    value : float array, shape (k,)
    covariance : float array, shape (k, k)
    n, events : int
    level : float
    method : str
    influence : float array, shape (n, k)
    rows
        Outcome, weights and patients the values were made from.

    Examples
    --------
    >>> found = auroc_covariance([0, 0, 0, 1, 1, 1], np.array([[1, 2, 4, 3, 5, 6], [2, 1, 6, 4, 3, 5]]).T)
    >>> found.value.round(4), found.contrast([1, -1])
    (array([0.8889, 0.6667]), contrast of aurocs 0.2222 (95 % interval -0.2647 to 0.7092), p = 0.3711, n = 6)
    """

    value: FloatArray
    covariance: FloatArray
    n: int
    events: int
    level: float
    method: str
    influence: FloatArray = field(repr=False)
    rows: _Rows = field(repr=False)

    @property
    def se(self) -> FloatArray:
        """Standard error of each AUROC, shape (k,)."""
        out: FloatArray = np.sqrt(np.diag(self.covariance))
        return out

    def contrast(self, weights: Sequence[float] | FloatArray) -> Estimate:
        """Return a weighted sum of the AUROCs with its interval and the p of its being 0.

        Parameters
        ----------
        weights : floats, shape (k,)
            One weight a score: (1, -1) is the difference of the first two.
        """
        w = vector("weights", weights, self.value.size)
        found = _interval(
            self.rows,
            dot(w, self.value),
            dot(row_dot(self.covariance, w), w),
            corrected=not self.rows.weighted,
            why="the contrast does not vary",
            name="contrast of aurocs",
            influence=row_dot(self.influence, w),
            **self.rows.facts(self.method),
        )
        return _tested(self.rows, found)


def auroc_covariance(
    y: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> AurocCovariance:
    """Return the AUROCs of several scores on the same rows and their covariance matrix.

    Parameters
    ----------
    y, weights, patient, level
        As for `auroc`.
    scores : float array, shape (n, k)
        One column a score.

    Raises
    ------
    DataError, NotEstimableError
        As for `auroc`.

    Notes
    -----
    Formula: DeLong's covariance matrix; with patients Obuchowski's; with weights the sum of products of influences.
    Range: values 0 to 1.
    Assumes: as `auroc`; all scores on the same rows.
    Refuses: one class only, and scores that are not a table of one row a row of `y`.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837. Obuchowski, Biometrics 1997;53:567.

    Examples
    --------
    >>> auroc_covariance([0, 0, 1, 1], [[1, 4], [3, 1], [2, 2], [4, 3]]).value
    array([0.75, 0.5 ])
    """
    rows = _Rows.of(y, weights, patient, level)
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != rows.n or not table.shape[1]:
        raise DataError(f"scores has shape {table.shape}", f"({rows.n}, k), one column a score")
    influence, value = np.empty(table.shape), np.empty(table.shape[1])
    for place, column in enumerate(table.T):
        value[place], influence[:, place] = _area(rows, vector("scores", np.ascontiguousarray(column)))
    return AurocCovariance(
        value=value,
        covariance=rows.covariance(influence),
        n=rows.n,
        events=rows.events,
        level=rows.level,
        method=rows.how,
        influence=influence,
        rows=rows,
    )


def partial_auroc(
    y: ArrayLike,
    score: ArrayLike,
    max_fpr: float = 0.1,
    weights: ArrayLike | None = None,
    *,
    corrected: bool = True,
    focus: Literal["specificity", "sensitivity"] = "specificity",
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the area under the ROC curve where specificity (or sensitivity) is high, in O(n log n).

    Parameters
    ----------
    y, score, weights, patient, level
        As for `auroc`.
    max_fpr : float in (0, 1]
        Width of the range: specificity from 1 - `max_fpr` to 1, or with focus on sensitivity, sensitivity from
        1 - `max_fpr` to 1.
    corrected : bool
        McClish's correction, so that chance is 0.5 and perfect 1; without it the area itself, at most `max_fpr`.
    focus : {"specificity", "sensitivity"}

    Raises
    ------
    DataError, NotEstimableError
        As for `auroc`; DataError also if `max_fpr` lies outside (0, 1].

    Notes
    -----
    Formula: the area under the ROC curve, straight between its points, over false positive rates from 0 to m =
    `max_fpr`; corrected, (1 + (area - m^2 / 2) / (m - m^2 / 2)) / 2. The error comes from the exact derivative by row
    weights, with n / (n - 1) for either class; the interval is symmetric on the logit of area / m.
    Range: 0 to `max_fpr`; corrected, at most 1, and 0.5 is chance.
    Assumes: as `auroc`, and enough controls in the range (with focus on sensitivity: cases); below 20 a note says that
    no interval is reliable, the bootstrap's neither.
    Refuses: one class only; no interval where the area is 0 or as large as it can be, or with fewer than 5 controls
    (cases) in the range.

    References
    ----------
    McClish, Med Decis Making 1989;9:190. Dodd and Pepe, Biometrics 2003;59:614. The conventions are those of pROC
    (Robin et al., BMC Bioinformatics 2011;12:77).

    Examples
    --------
    >>> y, score = [0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 6, 4, 5, 7, 8]
    >>> round(partial_auroc(y, score, 0.5), 4), partial_auroc(y, score, 0.5, corrected=False).value
    (0.8333, 0.375)
    """
    rows = _Rows.of(y, weights, patient, level)
    values = vector("score", score, rows.n)
    if not 0 < max_fpr <= 1:
        raise DataError("max_fpr lies outside (0, 1]", "a share such as 0.1")
    if focus not in ("specificity", "sensitivity"):
        raise DataError("focus is not known", "'specificity' or 'sensitivity'")
    rows.both_classes()
    turned = focus == "sensitivity"
    # High sensitivity is high specificity of the question turned round: which rows have no event, by a falling score.
    asked = ~rows.case if turned else rows.case
    area, influence = _walk(rows, asked, -values if turned else values, partial_area_rows, float(max_fpr))
    influence *= rows.weight
    variance = float(rows.covariance(influence[:, None])[0, 0])
    least, most = max_fpr**2 / 2, float(max_fpr)
    full = area >= most * (1 - 1e-12)
    factor, shift = (0.5 / (most - least), 0.5 - 0.5 * least / (most - least)) if corrected else (1.0, 0.0)
    inside = max_fpr * float(np.count_nonzero(~asked))
    held = f"the range holds {inside:.3g} {'cases' if turned else 'controls'}"
    few = inside < _NONE
    why = "the area is as large as it can be" if full else "the area is 0" if area <= 0 else _why(math.nan, rows)
    how = f"infinitesimal jackknife on the logit scale of its share, {focus} >= {1 - max_fpr:g}"
    share = _interval(
        rows,
        area / most,
        math.nan if full or few or area <= 0 else variance / most**2,
        corrected=not rows.weighted,
        why=held if few and not full and area > 0 else why,
        note=f"{held}: no interval here is reliable" if _NONE <= inside < _FEW else "",
        scale="logit",
        name="partial auroc",
        **rows.facts(clustered(how, rows.codes) + ", McClish corrected" * corrected),
    )
    return Estimate(
        shift + factor * area,
        name=share.name,
        lower=shift + factor * most * share.lower,
        upper=shift + factor * most * share.upper,
        se=factor * most * share.se,
        n=share.n,
        events=share.events,
        level=share.level,
        method=share.method,
        note=share.note,
        influence=influence * factor,
    )


def average_precision(
    y: ArrayLike,
    score: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the average precision, the step-wise area under the precision-recall curve, with its interval.

    Parameters
    ----------
    y, score, weights, patient, level
        As for `auroc`.

    Raises
    ------
    DataError, NotEstimableError
        As for `auroc`.

    Notes
    -----
    Formula: the sum over falling thresholds of precision times the gain in recall; rows of equal score pass together.
    The error is the sum of squared influences (the exact derivative by row weights), the interval symmetric on the
    logit scale.
    Range: 0 to 1; a score without information gives about the share of events, which must be told beside it.
    Assumes: rows, or patients where they are given, are independent, and the share of events is that of use.
    Refuses: one class only. There is no interval at 1 exactly.

    References
    ----------
    Boyd, Eng and Page, ECML PKDD 2013 (the estimator and its logit interval). Efron, The Jackknife, the
    Bootstrap and Other Resampling Plans, 1982 (infinitesimal jackknife).

    Examples
    --------
    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    average precision 0.8333 (95 % interval 0.2827 to 0.9845), n = 4
    """
    rows = _Rows.of(y, weights, patient, level)
    return _average_precision(rows, vector("score", score, rows.n), "average precision")


def _average_precision(rows: _Rows, score: FloatArray, name: str) -> Estimate:
    rows.both_classes()
    value, influence = _walk(rows, rows.case, score, average_precision_rows)
    influence *= rows.weight
    perfect = value >= 1
    return _interval(
        rows,
        value,
        0.0 if perfect else clustered_variance(influence, rows.codes),
        why="every event is above every other row" if perfect else _why(math.nan, rows),
        note="all scores are equal" if np.ptp(score) == 0 else "",
        scale="logit",
        name=name,
        influence=influence,
        **rows.facts(clustered("infinitesimal jackknife on the logit scale", rows.codes)),
    )


def ranked_counts(case: BoolArray, score: FloatArray, codes: IntArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the patient number and kind of each row by falling score: what the replicate loops walk over.

    Examples
    --------
    >>> code, kind = ranked_counts(np.array([True, False]), np.array([0.2, 0.7]), np.array([0, 1]))
    >>> code.tolist(), kind.tolist()
    ([1, 0], [0, 1])
    """
    order = _falling(score)
    kind = np.empty(score.size, dtype=np.uint8)
    row_kinds(case[order], score[order], kind)
    return codes[order].astype(np.int32), kind


class AurocReplicates:
    """The AUROC of any number of resamples over one sort: O(n) a resample.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    score : float array, shape (n,)
    codes : int array, shape (n,)
        Place of each row's patient in the counts; `PatientDraws.codes`.

    Examples
    --------
    >>> from aimed.metrics.draws import PatientDraws
    >>> y, score = [0, 0, 1, 1, 0, 1], [1, 3, 2, 4, 2, 5]
    >>> draws = PatientDraws(None, 6, y, draws=3, seed=0)
    >>> draws.map(AurocReplicates(y, score, codes=draws.codes).replicate).shape
    (3,)
    """

    _loop = staticmethod(auroc_draws)

    def __init__(self, y: ArrayLike, score: ArrayLike, *, codes: IntArray) -> None:
        outcome, _ = binary(y)
        values = vector("score", score, outcome.size)
        if np.shape(codes) != values.shape:
            raise DataError(f"codes has shape {np.shape(codes)}", f"{values.shape}, one a row")
        self._code, self._kind = ranked_counts(outcome == 1, values, np.asarray(codes))

    def replicate(self, counts: NDArray[Any]) -> FloatArray:
        """Return the value in each resample, shape (b,); NaN where a class was not drawn.

        Parameters
        ----------
        counts : uint8 or float array, shape (patients, b)
            How often each patient is drawn.
        """
        out = np.empty(counts.shape[1])
        self._loop(self._code, self._kind, np.ascontiguousarray(counts), out)
        return out


class AveragePrecisionReplicates(AurocReplicates):
    """The average precision of any number of resamples over one sort: O(n) a resample.

    Parameters
    ----------
    y, score, codes
        As for `AurocReplicates`.

    Examples
    --------
    >>> rows = AveragePrecisionReplicates([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], codes=np.arange(4))
    >>> rows.replicate(np.array([[1, 1], [1, 0], [1, 1], [1, 1]], dtype=np.uint8)).round(4)
    array([0.8333, 1.    ])
    """

    _loop = staticmethod(average_precision_draws)
