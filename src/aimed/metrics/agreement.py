"""Agreement of raters, measurements and masks: kappa, AC1, intraclass correlation, limits of agreement, overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, f, nct, t

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    dot,
    patient_codes,
    row_dot,
    tally,
    vector,
    weights_of,
)
from aimed.metrics.proportions import wilson
from aimed.metrics.result import (
    Described,
    Estimate,
    Headline,
    checked_level,
    clustered,
    clustered_variance,
    normal_quantile,
    two_sided_p,
)

__all__ = [
    "Agreement",
    "LimitsOfAgreement",
    "Overlap",
    "bland_altman",
    "cohen_kappa",
    "fleiss_kappa",
    "gwet_ac1",
    "icc",
    "overlap_counts",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement(Described):
    """Agreement beyond chance, with what it was made from.

    Parameters
    ----------
    estimate : Estimate
        The agreement beyond chance; what it knows (`value`, `lower`, `method`, ...) is also known here. Its p is that
        of no agreement beyond chance, from `se_null`.
    se_null : float
        Standard error if there were no agreement beyond chance; the test uses it. NaN where none is defined.
    observed, expected : float
        Observed agreement, and what chance would give (weighted, where the kappa is).
    labels : array, shape (c,)
    shares : float array, shape (c, c) or (c,)
        Share of rows by label of the first and of the second rater; for many raters, share of ratings by label.
    by_label : float array, shape (c,), optional
        Kappa of each label against all others.

    Examples
    --------
    >>> found = cohen_kappa(["yes", "yes", "no", "no"], ["yes", "no", "no", "no"])
    >>> print(found)
    cohen_kappa 0.5000 (95 % interval -0.4059 to 0.9103), p = 0.2482, n = 4
    >>> found.observed, found.expected, found.labels.tolist()
    (0.75, 0.5, ['no', 'yes'])
    """

    estimate: Estimate
    se_null: float
    observed: float
    expected: float
    labels: NDArray[Any]
    shares: FloatArray
    by_label: FloatArray | None = None

    def __str__(self) -> str:
        return str(self.estimate)


def _finish(
    name: str,
    observed: float,
    expected: float,
    psi: FloatArray,
    se_null: float,
    patient: ArrayLike | None,
    level: float,
    note: str = "",
    scored: float | None = None,
    **more: Any,
) -> Agreement:
    """Return an agreement; `scored` is how many independent rows a score interval of full agreement rests on."""
    value = (observed - expected) / (1 - expected)
    null = math.nan if patient is not None else se_null
    full = observed > 1 - 1e-12
    estimate = Estimate.from_influence(
        1.0 if full else value,
        psi,
        patient,
        level=level,
        scale="fisher",
        name=name,
        p=two_sided_p(value, null) if null > 0 else None,
        method=clustered("normal on Fisher's z scale, large-sample variance", patient),
        why="the raters agree in every row, and the variance is 0 there whatever the sample"
        if full
        else "no spread between rows",
        note=note,
    )
    if full and scored is not None and scored > 1:
        estimate.lower = (wilson(scored, scored, level)[0] - expected) / (1 - expected)
        estimate.upper, estimate.note = 1.0, note
        estimate.method = clustered("Wilson limit of the observed agreement, chance agreement held", patient)
    return Agreement(estimate=estimate, se_null=null, observed=observed, expected=expected, **more)


# Labels --------------------------------------------------------------------------------------------------------------


def _ratings(name: str, values: ArrayLike, dimensions: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != dimensions or array.size == 0:
        raise DataError(f"{name} has shape {array.shape}", "(rows, raters)" if dimensions == 2 else "one value a row")
    if array.dtype.kind == "f":
        missing = int(np.isnan(array).sum())
    elif array.dtype.kind == "O":
        missing = sum(v is None or v != v for v in array.ravel())
    else:
        missing = 0
    if missing:
        raise DataError(
            f"{name} has {missing} of {array.size} ratings missing",
            "a rating in every place",
            "drop those rows and count them",
        )
    return array


def _coded(arrays: list[NDArray[Any]], labels: ArrayLike | None) -> tuple[NDArray[Any], list[IntArray]]:
    """Return the labels in their order and the place of each rating among them."""
    if len({array.dtype.kind in "OUS" for array in arrays}) > 1:
        raise DataError("ratings are text for one rater and numbers for another", "the same kind of label for all")
    known = np.unique(np.concatenate([array.ravel() for array in arrays]))
    order = known if labels is None else np.asarray(labels)
    if order.ndim != 1 or np.unique(order).size != order.size:
        raise DataError("labels repeat, or are not a list", "each label once")
    rank = np.argsort(order)
    codes, strange = [], 0
    for array in arrays:
        near = np.minimum(np.searchsorted(order, array, sorter=rank), order.size - 1)
        codes.append(rank[near].astype(np.int64))
        strange += int((order[codes[-1]] != array).sum())
    if strange:
        raise DataError(f"{strange} ratings are not among the labels", "labels that hold every rating")
    return order, codes


def cohen_kappa(
    a: ArrayLike,
    b: ArrayLike,
    weights: Literal["none", "linear", "quadratic"] = "none",
    labels: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Return Cohen's kappa of two raters, plain or weighted by the distance of ordered labels.

    Parameters
    ----------
    a, b : arrays, shape (n,)
        Labels of two raters, numbers or text.
    weights : {"none", "linear", "quadratic"}
        How disagreement grows with the number of places between two labels.
    labels : array, shape (c,), optional
        All labels in their order. Absent, those that occur, sorted; a grade that nobody gave then takes no place.
    row_weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    DataError
        If ratings are missing or not among the labels, or weighted text labels come without their order.
    NotEstimableError
        If both raters give one and the same label to every row.

    References
    ----------
    Cohen, Educ Psychol Meas 1960;20:37. Fleiss, Cohen and Everitt, Psychol Bull 1969;72:323 (variances).

    Notes
    -----
    Formula: (Po - Pe) / (1 - Pe), with agreement weights 1 - (d / (c - 1)) or 1 - (d / (c - 1))^2 between labels d
    places apart. `se` is the large-sample variance, `se_null` that under no agreement beyond chance (Fleiss, Cohen and
    Everitt). The interval is symmetric on Fisher's z scale; at full agreement its lower limit is that of Wilson's for
    Po, put through the formula.
    Range: -1 to 1; 0 is chance, 1 is full agreement.
    Assumes: two fixed raters, each rating every row by themselves. Kappa falls when a label is rare, whatever the
    raters do; see `gwet_ac1`.
    Refuses: missing ratings, labels outside the list, one label only, weighted text labels without `labels`.

    Examples
    --------
    >>> found = cohen_kappa([1, 2, 3, 3, 1, 2], [1, 2, 3, 2, 1, 3], weights="quadratic")
    >>> round(float(found), 4), round(found.se, 4)
    (0.75, 0.1712)
    """
    first, second = _ratings("a", a, 1), _ratings("b", b, 1)
    if first.shape != second.shape:
        raise DataError(f"b has {second.size} ratings", f"{first.size}, as a has")
    order, (i, j) = _coded([first, second], labels)
    c, n = order.size, first.size
    if weights not in ("none", "linear", "quadratic"):
        raise DataError("weights are not known", "none, linear or quadratic")
    if weights != "none" and labels is None and order.dtype.kind in "OUS":
        raise DataError("weighted text labels have no order", "labels, from the lowest to the highest")
    if c < 2:
        raise NotEstimableError("one label only", "at least two labels")
    w = weights_of(row_weights, n)
    share = w / w.sum()
    table = tally(i * c + j, share, c * c).reshape(c, c)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    distance = np.abs(np.subtract.outer(np.arange(c), np.arange(c))) / (c - 1)
    agree: FloatArray = (
        np.eye(c) if weights == "none" else 1 - distance if weights == "linear" else 1 - distance * distance
    )
    observed, expected = float((agree * table).sum()), float(rows @ agree @ columns)
    if not 1 - expected > 1e-12:
        raise NotEstimableError("both raters give one label only", "ratings that differ between rows")
    kappa = (observed - expected) / (1 - expected)
    # Mean agreement of a label of one rater with whatever the other says.
    of_first, of_second = agree @ columns, rows @ agree
    chance = of_first[:, None] + of_second[None, :]
    cell = (agree - chance * (1 - kappa) - (kappa - expected * (1 - kappa))) / (1 - expected)
    null = float((np.outer(rows, columns) * (agree - chance) ** 2).sum()) - expected**2
    se_null = math.sqrt(max(null, 0.0) * dot(share, share)) / (1 - expected)
    note = ""
    if observed > 0.8 and kappa < 0.4:
        note = "agreement is high and kappa low because labels are far from equally frequent; see gwet_ac1"
    return _finish(
        "cohen_kappa" if weights == "none" else f"cohen_kappa_{weights}",
        observed,
        expected,
        share * cell[i, j],
        se_null,
        patient,
        level,
        labels=order,
        shares=table,
        note=note,
        scored=1 / dot(share, share) if patient is None else float(patient_codes(patient, n).max() + 1),
    )


def _table(ratings: ArrayLike, counts: bool, labels: ArrayLike | None) -> tuple[FloatArray, NDArray[Any], int]:
    """Return how many raters gave each row each label, the labels, and the raters of a row."""
    array = _ratings("ratings", ratings, 2)
    if counts:
        table = array.astype(np.float64)
        if (table < 0).any() or (table != np.round(table)).any():
            raise DataError("counts hold a negative or broken number", "how many raters gave each label")
        raters = int(table[0].sum())
        uneven = int((table.sum(axis=1) != raters).sum())
        if uneven:
            raise DataError(f"{uneven} rows have another number of ratings than the first", "as many in every row")
        order = np.arange(table.shape[1]) if labels is None else np.asarray(labels)
        if order.shape != (table.shape[1],):
            raise DataError(f"labels has shape {order.shape}", f"({table.shape[1]},), one a column of counts")
    else:
        order, (codes,) = _coded([array], labels)
        n, raters = array.shape
        place = np.arange(n)[:, None] * order.size + codes
        table = np.bincount(place.ravel(), minlength=n * order.size).reshape(n, order.size).astype(np.float64)
    if raters < 2:
        raise NotEstimableError(f"{raters} rater", "at least 2 ratings a row")
    return table, order, raters


def fleiss_kappa(
    ratings: ArrayLike,
    *,
    counts: bool = False,
    labels: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Return Fleiss' kappa of many raters, with the kappa of each label.

    Parameters
    ----------
    ratings : array, shape (n, raters) or, with `counts`, (n, c)
        Labels given by each rater; or how many raters gave each of c labels. Raters may differ between rows.
    counts : bool
    labels : array, shape (c,), optional
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    DataError
        If ratings are missing, or rows have unequal numbers of ratings.
    NotEstimableError
        If there is one rater or one label only.

    References
    ----------
    Fleiss, Psychol Bull 1971;76:378. Fleiss, Nee and Landis, Psychol Bull 1979;86:974 (variance without agreement).

    Notes
    -----
    Formula: (Po - Pe) / (1 - Pe), Po the mean share of agreeing pairs of raters, Pe the sum of squared label shares.
    `se` is the infinitesimal jackknife over rows, the interval symmetric on Fisher's z scale; `se_null` is Fleiss, Nee
    and Landis, for the test only.
    Range: -1 / (raters - 1) to 1; 0 is chance.
    Assumes: raters that are interchangeable and rate by themselves; rows that are a sample.
    Refuses: missing ratings, unequal numbers of ratings, one rater, one label; there is no interval at 1 exactly.

    Examples
    --------
    >>> found = fleiss_kappa([["a", "a", "b"], ["b", "b", "b"], ["a", "a", "a"], ["a", "b", "b"]])
    >>> round(float(found), 4), found.by_label.round(4).tolist()
    (0.3333, [0.3333, 0.3333])
    """
    table, order, m = _table(ratings, counts, labels)
    n = table.shape[0]
    share = table.mean(axis=0) / m
    pairs = ((table * table).sum(axis=1) - m) / (m * (m - 1))
    observed, expected = float(pairs.mean()), dot(share, share)
    if not 1 - expected > 1e-12:
        raise NotEstimableError("one label only", "ratings that differ between rows")
    d_expected = row_dot(2 * (table / m - share), share)
    psi = ((pairs - observed) * (1 - expected) - d_expected * (1 - observed)) / (1 - expected) ** 2 / n
    rest = share * (1 - share)
    spread = rest.sum() ** 2 - (rest * (1 - 2 * share)).sum()
    se_null = math.sqrt(2 * max(float(spread), 0.0) / (n * m * (m - 1))) / float(rest.sum())
    apart = (table * (m - table)).sum(axis=0) / (n * m * (m - 1))
    by_label = 1 - np.divide(apart, rest, out=np.full(share.size, np.nan), where=rest > 0)
    return _finish(
        "fleiss_kappa",
        observed,
        expected,
        psi,
        se_null,
        patient,
        level,
        labels=order,
        shares=share,
        by_label=by_label,
    )


def gwet_ac1(
    ratings: ArrayLike,
    *,
    counts: bool = False,
    labels: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Return Gwet's AC1 of two or more raters: agreement beyond chance that does not fall when a label is rare.

    Parameters
    ----------
    ratings, counts, labels, patient, level
        As for `fleiss_kappa`. Chance depends on the number of labels: give `labels` where one was never used.

    Raises
    ------
    DataError
        If ratings are missing, or rows have unequal numbers of ratings.
    NotEstimableError
        If there is one rater, or one label only.

    References
    ----------
    Gwet, Br J Math Stat Psychol 2008;61:29. Feinstein and Cicchetti, J Clin Epidemiol 1990;43:543 (the paradox).

    Notes
    -----
    Formula: (Po - Pe) / (1 - Pe), Po the mean share of agreeing pairs of raters, Pe the sum of q (1 - q) over label
    shares q, divided by the number of labels less 1. The interval is symmetric on Fisher's z scale.
    Range: -1 to 1; 0 is chance.
    Assumes: chance agreement comes from rows that are hard to rate; raters are interchangeable.
    Refuses: missing ratings, unequal numbers of ratings, one rater, one label; there is no interval at 1 exactly.

    Examples
    --------
    >>> rare = np.repeat([[1, 1], [1, 0], [0, 1]], [118, 5, 2], axis=0)
    >>> round(float(gwet_ac1(rare)), 4), round(float(cohen_kappa(*rare.T)), 4)
    (0.9408, -0.0234)
    """
    table, order, m = _table(ratings, counts, labels)
    n, c = table.shape
    if c < 2:
        raise NotEstimableError("one label only", "at least two labels; name those never used")
    share = table.mean(axis=0) / m
    pairs = ((table * table).sum(axis=1) - m) / (m * (m - 1))
    observed, expected = float(pairs.mean()), float((share * (1 - share)).sum()) / (c - 1)
    d_expected = row_dot(table / m - share, 1 - 2 * share) / (c - 1)
    psi = ((pairs - observed) * (1 - expected) - d_expected * (1 - observed)) / (1 - expected) ** 2 / n
    return _finish("gwet_ac1", observed, expected, psi, math.nan, patient, level, labels=order, shares=share)


# Measurements --------------------------------------------------------------------------------------------------------


def icc(
    ratings: ArrayLike,
    model: Literal["one-way", "two-way random", "two-way mixed"] = "two-way random",
    kind: Literal["agreement", "consistency"] = "agreement",
    unit: Literal["single", "average"] = "single",
    *,
    level: float = 0.95,
) -> Estimate:
    """Return the intraclass correlation of measurements by several raters.

    Parameters
    ----------
    ratings : float array, shape (n, raters)
        One row a subject.
    model : {"one-way", "two-way random", "two-way mixed"}
        One-way: each subject has its own raters. Two-way: the same raters for all, a sample of raters (random) or the
        only ones of interest (mixed). Random and mixed give the same numbers and differ in what they may be said of.
    kind : {"agreement", "consistency"}
        Whether a constant difference between raters counts as disagreement. One-way has agreement only.
    unit : {"single", "average"}
        Reliability of one rater, or of the mean of all.
    level : float

    Returns
    -------
    Estimate
        `p` tests that the correlation is 0. No standard error: the interval is an F interval.

    Raises
    ------
    DataError
        If ratings are missing, or consistency is asked of the one-way model.
    NotEstimableError
        If there is one subject or one rater, or all ratings are equal.

    References
    ----------
    Shrout and Fleiss, Psychol Bull 1979;86:420. McGraw and Wong, Psychol Methods 1996;1:30.

    Notes
    -----
    Formula: ratios of mean squares of a one-way or two-way analysis of variance; ICC(1), ICC(A,1), ICC(C,1) and their
    averages ICC(1,k), ICC(A,k), ICC(C,k) of McGraw and Wong (Shrout and Fleiss: 1, 2 and 3), with their F intervals.
    Range: below 0 to 1.
    Assumes: normal, independent subjects with equal spread; it is high where subjects differ much, so it cannot be
    compared between populations.
    Refuses: missing ratings, one subject, one rater, no variation, consistency in the one-way model; there is no
    interval at 1 exactly.

    Examples
    --------
    >>> icc([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    icc 0.2898 (95 % interval 0.0188 to 0.7611), p = 0.0001346, n = 6
    """
    if model not in ("one-way", "two-way random", "two-way mixed"):
        raise DataError("model is not known", "one-way, two-way random or two-way mixed")
    if kind not in ("agreement", "consistency") or unit not in ("single", "average"):
        raise DataError("kind or unit is not known", "agreement or consistency; single or average")
    if model == "one-way" and kind == "consistency":
        raise DataError("consistency in the one-way model", "agreement, or a two-way model")
    x = _ratings("ratings", np.asarray(ratings, dtype=np.float64), 2)
    n, k = x.shape
    if n < 2 or k < 2:
        raise NotEstimableError(f"{n} subjects and {k} raters", "at least 2 of each")
    if not np.isfinite(x).all():
        raise DataError("ratings hold infinite values", "finite numbers")
    rows, columns, middle = x.mean(axis=1), x.mean(axis=0), x.mean()
    between = k * float(((rows - middle) ** 2).sum()) / (n - 1)
    within = float(((x - rows[:, None]) ** 2).sum())
    raters = n * float(((columns - middle) ** 2).sum())
    if between + within <= 0:
        raise NotEstimableError("all ratings are equal", "ratings that vary")
    residual = within - raters if within - raters > 1e-12 * (between + within) else 0.0
    msr, msc, mse = between, raters / (k - 1), residual / ((n - 1) * (k - 1))
    tail = 0.5 + checked_level(level) / 2
    if model == "one-way" or kind == "consistency":
        error, df = (within / (n * (k - 1)), n * (k - 1)) if model == "one-way" else (mse, (n - 1) * (k - 1))
        ratio = msr / error if error > 0 else math.inf
        limits = (ratio, ratio / f.ppf(tail, n - 1, df), ratio * f.ppf(tail, df, n - 1))
        value, lower, upper = (_from_ratio(v, k, unit) for v in limits)
    else:
        ratio, df = (msr / mse if mse > 0 else math.inf), (n - 1) * (k - 1)
        value = _absolute(1.0, msr, msc, mse, n, k)
        # Satterthwaite's degrees of freedom of the error that holds raters and residual together.
        if value < 1:
            part = k * value / (n * (1 - value))
            a, b = part * msc, (1 + part * (n - 1)) * mse
            v = (a + b) ** 2 / (a * a / (k - 1) + b * b / df)
            lower = _absolute(float(f.ppf(tail, n - 1, v)), msr, msc, mse, n, k)
            upper = _absolute(1 / float(f.ppf(tail, v, n - 1)), msr, msc, mse, n, k)
        else:
            lower = upper = value
        if unit == "average":
            value, lower, upper = (k * v / (1 + (k - 1) * v) for v in (value, lower, upper))
    code = "1" if model == "one-way" else kind[0].upper()
    note = ""
    if value == 1:
        lower = upper = math.nan
        note = "no interval: the raters do not differ within any subject"
    return Estimate(
        value,
        name="icc",
        note=note,
        lower=lower,
        upper=upper,
        n=n,
        level=level,
        p=float(f.sf(ratio, n - 1, df)),
        method=f"ICC({code},{1 if unit == 'single' else 'k'}), {model}, {kind}, {k} raters; F interval",
    )


def _from_ratio(ratio: float, k: int, unit: str) -> float:
    if math.isinf(ratio):
        return 1.0
    if unit == "average":
        return 1 - 1 / ratio if ratio > 0 else -math.inf
    return (ratio - 1) / (ratio + k - 1)


def _absolute(quantile: float, msr: float, msc: float, mse: float, n: int, k: int) -> float:
    """Return ICC(A,1) where the quantile is 1, else the limit at that quantile of F."""
    return n * (msr - quantile * mse) / (quantile * (k * msc + (k * n - k - n) * mse) + n * msr)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimitsOfAgreement(Headline):
    """Bias of one measurement against another and the limits between which most differences lie.

    Parameters
    ----------
    bias, low, high : Estimate
        Mean difference a - b, and its lower and upper limit of agreement; each with its interval.
    sd : float
        Standard deviation of a difference.
    sd_between, sd_within : float
        Its parts between and within patients; NaN without patients.
    slope : Estimate
        Change of the difference for a unit of the mean of both: proportional bias, with its p.
    coverage : float
        Share of differences that the limits are meant to hold.
    patients : int
    method, note : str

    Examples
    --------
    >>> print(bland_altman([10.0, 12.0, 15.0, 11.0], [9.0, 12.0, 13.0, 12.0]))
    bias 0.5000 (95 % interval -1.5543 to 2.5543), n = 4
      lower limit of agreement -2.0303 (95 % interval -9.4530 to -0.5779), n = 4
      upper limit of agreement 3.0303 (95 % interval 1.5779 to 10.4530), n = 4
    """

    _headline = "bias"

    bias: Estimate
    low: Estimate
    high: Estimate
    sd: float
    sd_between: float
    sd_within: float
    slope: Estimate
    coverage: float
    patients: int
    method: str
    note: str = ""

    def __str__(self) -> str:
        return "\n  ".join(str(v) for v in (self.bias, self.low, self.high))


def bland_altman(
    a: ArrayLike,
    b: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    coverage: float = 0.95,
    method: Literal["exact", "approximate"] = "exact",
) -> LimitsOfAgreement:
    """Return the bias and the limits of agreement of two measurements, each with its interval.

    Parameters
    ----------
    a, b : float arrays, shape (n,)
        Two measurements of the same thing, in one unit.
    patient : array, shape (n,), optional
        Repeated pairs of one patient, whose true value may change: variance components take the place of one
        standard deviation, and each patient weighs the same.
    level : float
        Coverage of the intervals.
    coverage : float
        Share of differences that the limits are meant to hold; .95 gives bias +/- 1.96 sd.
    method : {"exact", "approximate"}
        Intervals of the limits from the noncentral t distribution, or as Bland and Altman print them, which is also
        used above 10,000 pairs. With repeated pairs neither is used, but Zou's combination of intervals.

    Raises
    ------
    NotEstimableError
        If there are fewer than 3 pairs, fewer than 3 patients, or all differences are equal.

    References
    ----------
    Bland and Altman, Stat Methods Med Res 1999;8:135. Bland and Altman, J Biopharm Stat 2007;17:571. Carkeet, Optom
    Vis Sci 2015;92:e71 (exact). Zou, Stat Methods Med Res 2013;22:630 (repeated pairs).

    Notes
    -----
    Formula: mean(d) +/- z sd(d), d = a - b. With patients the mean of the patients' means, and sd^2 = the variance of
    those means + (1 - 1 / mh) * the variance within patients, mh the harmonic mean of pairs a patient.
    Range: the unit of the measurements.
    Assumes: normal differences whose mean and spread do not change with size; see `slope` for the first.
    Refuses: missing or infinite values, fewer than 3 pairs or patients, differences that are all equal.

    Examples
    --------
    >>> found = bland_altman([10.0, 12.0, 15.0, 11.0], [9.0, 12.0, 13.0, 12.0])
    >>> float(found), round(found.low, 4), round(found.high, 4), round(found.slope, 4)
    (0.5, -2.0303, 3.0303, 0.2439)
    """
    first = vector("a", a)
    second = vector("b", b, first.size)
    if method not in ("exact", "approximate"):
        raise DataError("method is not known", "exact or approximate")
    d, n = first - second, first.size
    z = normal_quantile(checked_level(coverage, "coverage"))
    codes = None if patient is None else patient_codes(patient, n)
    pairs = None if codes is None else np.bincount(codes)
    count = n if pairs is None else pairs.size
    if count < 3:
        raise NotEstimableError(f"{count} independent pairs", "at least 3")
    if np.ptp(d) == 0:
        raise NotEstimableError("all differences are equal", "differences that vary")
    between = within = math.nan
    if codes is None or pairs is None or pairs.max() == 1:
        bias, sd = float(d.mean()), float(d.std(ddof=1))
        se = sd / math.sqrt(n)
        exact = method == "exact" and n <= _MANY
        near, far = (_exact if exact else _approximate)(n, z, level)
        low, high = (bias - far * sd, bias - near * sd), (bias + near * sd, bias + far * sd)
        how = "noncentral t" if exact else "Bland and Altman 1999"
        se_limit = sd * math.sqrt(1 / n + z * z / (2 * (n - 1)))
    else:
        means = np.bincount(codes, weights=d) / pairs
        centred = d - means[codes]
        bias, spread = float(means.mean()), float(means.var(ddof=1))
        noise, share = dot(centred, centred) / (n - count), 1 - float((1 / pairs).mean())
        sd = math.sqrt(spread + share * noise)
        se = math.sqrt(spread / count)
        within = math.sqrt(noise)
        between = math.sqrt(max(sd * sd - noise, 0.0))
        low, high = _zou(bias, sd, spread, share * noise, count, n - count, z, level)
        how = "variance components, Zou 2013"
        parts = spread**2 / (count - 1) + (share * noise) ** 2 / (n - count)
        se_limit = math.sqrt(spread / count + z * z * parts / (2 * sd * sd))
    half = float(t.ppf(0.5 + level / 2, count - 1)) * se

    def limit(name: str, value: float, limits: tuple[float, float], error: float, kind: str) -> Estimate:
        return Estimate(value, name=name, lower=limits[0], upper=limits[1], se=error, n=n, level=level, method=kind)

    return LimitsOfAgreement(
        bias=limit("bias", bias, (bias - half, bias + half), se, "t"),
        low=limit("lower limit of agreement", bias - z * sd, low, se_limit, how),
        high=limit("upper limit of agreement", bias + z * sd, high, se_limit, how),
        sd=sd,
        sd_between=between,
        sd_within=within,
        slope=_slope(d, (first + second) / 2, patient, level),
        coverage=coverage,
        patients=count,
        method=f"limits {how}, bias t with {count - 1} degrees of freedom",
    )


_MANY = 10_000
"""Pairs above which both intervals of a limit agree to a thousandth of a standard deviation."""


def _exact(n: int, z: float, level: float) -> tuple[float, float]:
    """Return, in standard deviations from the mean, the exact interval of a normal quantile."""
    root = math.sqrt(n)
    near, far = (float(nct.ppf(q, n - 1, z * root)) / root for q in (0.5 - level / 2, 0.5 + level / 2))
    return near, far


def _approximate(n: int, z: float, level: float) -> tuple[float, float]:
    half = float(t.ppf(0.5 + level / 2, n - 1)) * math.sqrt(1 / n + z * z / (2 * (n - 1)))
    return z - half, z + half


def _zou(
    bias: float, sd: float, spread: float, noise: float, patients: int, rest: int, z: float, level: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the intervals of both limits from those of the bias and of each variance."""
    tail = 0.5 - level / 2

    def off(variance: float, df: int, share: float) -> float:
        return variance * (df / float(chi2.ppf(share, df)) - 1)

    smallest = sd * sd - math.hypot(off(spread, patients - 1, 1 - tail), off(noise, rest, 1 - tail))
    largest = sd * sd + math.hypot(off(spread, patients - 1, tail), off(noise, rest, tail))
    mean = normal_quantile(level) * math.sqrt(spread / patients)
    inner = math.hypot(mean, z * (sd - math.sqrt(max(smallest, 0.0))))
    outer = math.hypot(mean, z * (math.sqrt(largest) - sd))
    low, high = bias - z * sd, bias + z * sd
    return (low - outer, low + inner), (high - inner, high + outer)


def _slope(d: FloatArray, size: FloatArray, patient: ArrayLike | None, level: float) -> Estimate:
    x = size - size.mean()
    total = dot(x, x)
    if total <= 0:
        return Estimate(
            math.nan, name="slope", n=d.size, level=level, note="all pairs have the same mean: no slope to estimate"
        )
    slope, rest = dot(x, d) / total, d - d.mean()
    rest = rest - slope * x
    psi = x * rest / total
    if patient is None:
        freedom, se = d.size - 2, math.sqrt(dot(rest, rest) / (d.size - 2) / total)
        how = f"least squares; t with {freedom} degrees of freedom"
    else:
        # A sum of squares over m patients around the slope; the factor makes it a sample variance.
        freedom = int(patient_codes(patient, d.size).max())
        se = math.sqrt(clustered_variance(psi, patient) * (freedom + 1) / freedom)
        how = clustered(f"least squares; infinitesimal jackknife, t with {freedom} degrees of freedom", patient)
    facts: dict[str, Any] = {"name": "slope", "n": d.size, "level": level, "method": how, "influence": psi}
    if not se > 1e-12 * (1e-3 + abs(slope)):
        return Estimate(slope, note="no interval: all differences lie on a line", **facts)
    half = float(t.ppf(0.5 + level / 2, freedom)) * se
    p = 2 * float(t.sf(abs(slope) / se, freedom))
    return Estimate(slope, lower=slope - half, upper=slope + half, se=se, p=p, **facts)


# Masks ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Counts of a predicted mask against a reference mask, and what follows from them.

    Parameters
    ----------
    tp, fp, fn, tn : int
        Elements in both masks, in the predicted only, in the reference only, in neither.
    note : str

    Examples
    --------
    >>> found = overlap_counts([1, 1, 0, 0], [1, 0, 1, 0])
    >>> found.dice, found.jaccard
    (0.5, 0.3333333333333333)
    """

    tp: int
    fp: int
    fn: int
    tn: int
    note: str = ""

    @property
    def n(self) -> int:
        """Elements."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN where both masks are empty."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float:
        """TP / (TP + FP + FN); NaN where both masks are empty."""
        return _share(self.tp, self.tp + self.fp + self.fn)

    @property
    def sensitivity(self) -> float:
        """Share of the reference mask that was found; NaN where it is empty."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted mask that is in the reference; NaN where it is empty."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def value(self) -> float:
        """Dice."""
        return self.dice

    def __float__(self) -> float:
        return self.dice


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mask(name: str, values: ArrayLike) -> BoolArray:
    array = np.asarray(values)
    if array.dtype == bool:
        return array
    bad = int(((array != 0) & (array != 1)).sum())
    if bad:
        raise DataError(
            f"{name} has {bad} of {array.size} elements that are neither 0 nor 1", "a mask of one structure"
        )
    return array.astype(bool)


def overlap_counts(reference: ArrayLike, predicted: ArrayLike) -> Overlap:
    """Return true and false positives and negatives of a mask, with Dice and Jaccard.

    Parameters
    ----------
    reference, predicted : bool or 0/1 arrays, any shape
        Masks of one structure; `reference` is the reference standard.

    Raises
    ------
    DataError
        If shapes differ, or an element is neither 0 nor 1.

    References
    ----------
    Dice, Ecology 1945;26:297. Maier-Hein et al., Nat Methods 2024;21:195 (empty masks).

    Notes
    -----
    Formula: Dice 2 TP / (2 TP + FP + FN); Jaccard TP / (TP + FP + FN).
    Range: 0 to 1. Where one mask is empty both are 0; where both are empty both are NaN, since nothing was to be found
    and nothing was: count such images apart, never as 0 or 1.
    Assumes: masks on one grid. Small structures score low for errors of one element.
    Refuses: unequal shapes, empty arrays, more than one label in a mask.

    Examples
    --------
    >>> overlap_counts(np.eye(3), np.ones((3, 3)))
    Overlap(tp=3, fp=6, fn=0, tn=0, note='')
    >>> overlap_counts([0, 0], [0, 0]).dice
    nan
    """
    true, found = _mask("reference", reference), _mask("predicted", predicted)
    if true.shape != found.shape or true.size == 0:
        raise DataError(f"masks have shapes {true.shape} and {found.shape}", "two masks of one shape that is not empty")
    tp = int(np.count_nonzero(true & found))
    fp, fn = int(np.count_nonzero(found)) - tp, int(np.count_nonzero(true)) - tp
    note = "" if tp + fp + fn else "both masks are empty: Dice and Jaccard are not defined"
    return Overlap(tp=tp, fp=fp, fn=fn, tn=true.size - tp - fp - fn, note=note)
