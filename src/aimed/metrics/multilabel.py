"""Several yes/no targets scored at once: each on the rows where it is known, their mean and the pool of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes, tally
from aimed.metrics.discrimination import auroc, average_precision, ranked_counts
from aimed.metrics.kernels.areas import auroc_draws
from aimed.metrics.result import Estimate, Headline, checked_level, clustered_variance, with_interval

__all__ = [
    "MultilabelAurocReplicates",
    "MultilabelEstimate",
    "multilabel_auroc",
    "multilabel_average_precision",
    "tables",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilabelEstimate(Headline):
    """One measure of several targets.

    Parameters
    ----------
    targets : tuple of Estimate
        One a target, in order; NaN with the reason in `note` where a target is not estimable.
    names : tuple of str
    macro : Estimate
        Mean over the estimable targets.
    micro : Estimate
        All known (row, target) pairs in one pool.
    skipped : tuple of str
        Names of the targets that are not estimable, and so not in the mean.

    Examples
    --------
    >>> found = multilabel_auroc([[0, 1], [1, 0], [1, 1], [0, 0]], [[1, 4], [3, 1], [2, 3], [4, 2]], names=["a", "b"])
    >>> found["b"].value, found.macro.value, found.skipped
    (1.0, 0.75, ())
    """

    _headline = "macro"

    targets: tuple[Estimate, ...]
    names: tuple[str, ...]
    macro: Estimate
    micro: Estimate
    skipped: tuple[str, ...]

    def __getitem__(self, name: str) -> Estimate:
        return self.targets[self.names.index(name)]


def tables(y: ArrayLike, score: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return outcome (NaN where unknown) and score, shape (n, k), checked.

    Raises
    ------
    DataError
        As for `multilabel_auroc`.

    Examples
    --------
    >>> tables([[1, float("nan")]], [[0.7, 0.2]])[0]
    array([[ 1., nan]])
    """
    outcome, scores = np.asarray(y, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if outcome.ndim != 2 or not outcome.size or scores.shape != outcome.shape:
        raise DataError(
            f"y has shape {outcome.shape} and score {scores.shape}", "two tables of one shape (rows, targets)"
        )
    known = ~np.isnan(outcome)
    bad = int((known & (outcome != 0) & (outcome != 1)).sum())
    if bad:
        raise DataError(f"y has {bad} of {outcome.size} values that are neither 0, 1 nor NaN", "0, 1, or NaN")
    bad = int((known & ~np.isfinite(scores)).sum())
    if bad:
        raise DataError(
            f"score has {bad} of {outcome.size} values that are not finite where y is known",
            "finite numbers",
            "set y to NaN there and count them",
        )
    return outcome, scores


def _known(outcome: FloatArray) -> BoolArray | slice:
    """Return which rows of a target are known; all of them as a slice, which copies nothing."""
    unknown = np.isnan(outcome)
    return ~unknown if unknown.any() else slice(None)


def _each(
    metric: Callable[..., Estimate],
    title: str,
    y: ArrayLike,
    score: ArrayLike,
    patient: ArrayLike | None,
    level: float,
    names: Sequence[str] | None,
) -> MultilabelEstimate:
    outcome, scores = tables(y, score)
    n, k = outcome.shape
    checked_level(level)
    labels = tuple(str(name) for name in (names if names is not None else range(k)))
    if len(labels) != k or len(set(labels)) != k:
        raise DataError(f"{len(set(labels))} different names for {k} targets", "one name a target")
    codes = None if patient is None else patient_codes(patient, n)
    targets: list[Estimate] = []
    skipped: list[str] = []
    total = np.zeros(n)
    for place, label in enumerate(labels):
        column = outcome[:, place]
        rows = _known(column)
        try:
            found = metric(
                column[rows], scores[rows, place], patient=None if codes is None else codes[rows], level=level
            )
        except DataError as error:
            # All unknown is an empty vector; one class is not estimable: both are said, neither stops the others.
            size = int(np.count_nonzero(~np.isnan(column)))
            if size and not isinstance(error, NotEstimableError):
                raise
            why = error.got if size else "the target is known in no row"
            found = Estimate(float("nan"), name=title, n=size, events=int(np.nansum(column)), level=level, note=why)
            skipped.append(label)
        else:
            spread = np.zeros(n)
            spread[rows] = found.influence
            total += spread
            found.influence = spread
        found.name = f"{title} of {label}"
        targets.append(found)
    return MultilabelEstimate(
        targets=tuple(targets),
        names=labels,
        macro=_macro(title, targets, skipped, total, codes, level),
        micro=_micro(metric, title, outcome, scores, codes, level),
        skipped=tuple(skipped),
    )


def _how(codes: IntArray | None) -> str:
    return f"infinitesimal jackknife on the logit scale, clustered by {'row' if codes is None else 'patient'}"


def _units(codes: IntArray | None) -> int | None:
    return None if codes is None else int(codes.max()) + 1


def _macro(
    title: str, targets: list[Estimate], skipped: list[str], total: FloatArray, codes: IntArray | None, level: float
) -> Estimate:
    kept = [float(t) for t in targets if not np.isnan(t)]
    note = f"{len(skipped)} of {len(targets)} targets not estimable: {', '.join(skipped)}" if skipped else ""
    facts: dict[str, Any] = {
        "name": f"macro {title}",
        "n": total.size,
        "level": level,
        "method": _how(codes),
    }
    if not kept:
        return Estimate(float("nan"), note=note, **facts)
    influence = total / len(kept)
    return with_interval(
        float(np.mean(kept)),
        clustered_variance(influence, codes),
        why="no target has a spread",
        note=note,
        scale="logit",
        units=_units(codes),
        influence=influence,
        **facts,
    )


def _micro(
    metric: Callable[..., Estimate],
    title: str,
    outcome: FloatArray,
    scores: FloatArray,
    codes: IntArray | None,
    level: float,
) -> Estimate:
    n, k = outcome.shape
    pool, pooled = outcome.ravel(), scores.ravel()
    known = _known(pool)
    row = np.repeat(np.arange(n), k)[known]
    facts: dict[str, Any] = {"name": f"micro {title}", "n": row.size, "level": level}
    try:
        found = metric(pool[known], pooled[known], level=level)
    except DataError as error:
        why = error.got if row.size else "no target is known in any row"
        return Estimate(float("nan"), note=why, **facts)
    influence = np.zeros(n) if found.influence is None else tally(row, found.influence, n)
    return with_interval(
        float(found),
        clustered_variance(influence, codes),
        why="the pool has no spread",
        scale="logit",
        units=_units(codes),
        events=found.events,
        method=_how(codes),
        influence=influence,
        **facts,
    )


def multilabel_auroc(
    y: ArrayLike,
    score: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    names: Sequence[str] | None = None,
) -> MultilabelEstimate:
    """Return the AUROC of each of several targets, their mean (macro) and that of the pooled pairs (micro).

    Parameters
    ----------
    y : 0/1 array, shape (n, k)
        NaN where a target is not known for a row; the row is left out for that target only.
    score : float array, shape (n, k)
        Higher means the target is more likely.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    names : k strings, optional
        Names of the targets; their numbers when absent.

    Returns
    -------
    MultilabelEstimate

    Raises
    ------
    DataError
        If the tables differ in shape, a known value is neither 0 nor 1, or a score is not finite.

    Notes
    -----
    Formula: per target as `auroc` with DeLong's (with patients Obuchowski's) variance; macro, the mean over targets
    with both classes; micro, the AUROC of all known (row, target) pairs. The errors of macro and micro come from
    influences added up by row, or by patient, since the targets of a row are dependent; their intervals are symmetric
    on the logit scale.
    Range: 0 to 1.
    Assumes: targets are unknown at random; for micro, scores mean the same over targets.
    Refuses: nothing for one target's sake: a target with one class is NaN with the reason, and listed.

    References
    ----------
    DeLong et al., Biometrics 1988;44:837. Obuchowski, Biometrics 1997;53:567.

    Examples
    --------
    >>> y = [[0, 1, 0], [1, 0, 0], [1, float("nan"), 0], [0, 0, 0]]
    >>> found = multilabel_auroc(y, [[1, 4, 1], [3, 1, 2], [2, 3, 3], [4, 2, 4]], names=["a", "b", "c"])
    >>> [t.value for t in found.targets], found["c"].note, found.macro.note
    ([0.5, 1.0, nan], 'only one outcome class is present', '1 of 3 targets not estimable: c')
    """
    return _each(auroc, "auroc", y, score, patient, level, names)


def multilabel_average_precision(
    y: ArrayLike,
    score: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    names: Sequence[str] | None = None,
) -> MultilabelEstimate:
    """Return the average precision of each of several targets, their mean and that of the pooled pairs.

    Parameters
    ----------
    y, score, patient, level, names
        As for `multilabel_auroc`.

    Returns
    -------
    MultilabelEstimate

    Raises
    ------
    DataError
        As for `multilabel_auroc`.

    Notes
    -----
    Formula: as `multilabel_auroc`, with `average_precision`.
    Range: 0 to 1; without information about the share of events of a target, so that a mean over targets mixes
    unlike baselines.
    Assumes: as `multilabel_auroc`.
    Refuses: as `multilabel_auroc`.

    References
    ----------
    Boyd, Eng and Page, ECML PKDD 2013.

    Examples
    --------
    >>> found = multilabel_average_precision([[0, 1], [1, 0], [1, 1], [0, 0]], [[1, 4], [3, 1], [2, 3], [4, 2]])
    >>> found.macro.value.__round__(4)
    0.7917
    """
    return _each(average_precision, "average precision", y, score, patient, level, names)


class MultilabelAurocReplicates:
    """The AUROC of several targets in any number of resamples: one sort a target, the same draws for all.

    Parameters
    ----------
    y, score
        As for `multilabel_auroc`; rows with NaN in `y` do not count for that target.
    codes : int array, shape (n,)
        Place of each row's patient in the counts; `PatientDraws.codes`.

    Examples
    --------
    >>> y, score = [[0, 1], [1, 0], [1, 1], [0, 0]], [[1, 4], [3, 1], [2, 3], [4, 2]]
    >>> rows = MultilabelAurocReplicates(y, score, codes=np.arange(4))
    >>> rows.replicate(np.ones((4, 1), dtype=np.uint8))
    array([[0.5, 1. ]])
    """

    def __init__(self, y: ArrayLike, score: ArrayLike, *, codes: IntArray) -> None:
        outcome, scores = tables(y, score)
        places = np.asarray(codes)
        if places.shape != (outcome.shape[0],):
            raise DataError(f"codes has shape {places.shape}", f"({outcome.shape[0]},), one a row")
        self._targets: list[tuple[NDArray[np.int32], NDArray[np.uint8]]] = []
        for column, values in zip(outcome.T, scores.T, strict=True):
            rows = _known(column)
            case, used = np.ascontiguousarray(column[rows]) == 1, np.ascontiguousarray(values[rows])
            self._targets.append(ranked_counts(case, used, places[rows]))

    def replicate(self, counts: NDArray[Any]) -> FloatArray:
        """Return the AUROC of each target in each resample, shape (b, k); NaN where a class was not drawn.

        Parameters
        ----------
        counts : uint8 or float array, shape (patients, b)
            How often each patient is drawn.
        """
        drawn = np.ascontiguousarray(counts)
        out = np.empty((len(self._targets), drawn.shape[1]))
        for (code, kind), values in zip(self._targets, out, strict=True):
            auroc_draws(code, kind, drawn, values)
        return np.ascontiguousarray(out.T)
