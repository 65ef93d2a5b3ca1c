"""Do the patients with the larger predicted benefit gain more: concordance and calibration of predicted benefit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    FloatArray,
    IntArray,
    binary,
    cross_products,
    dot,
    patient_codes,
    row_dot,
    vector,
    zero_one,
)
from aimed.metrics.draws import ESTIMABLE, PatientDraws, estimable_share
from aimed.metrics.kernels.benefit import (
    local_influence,
    local_quadratic,
    nearest_rows,
    nearest_values,
    pair_concordance,
    rank_replicates,
    sample_positions,
)
from aimed.metrics.proportions import wilson
from aimed.metrics.result import (
    Curve,
    Described,
    Estimate,
    clustered_covariance,
    few_units,
    independent_units,
    notes,
    quantile_of_units,
)

__all__ = [
    "CAUTION",
    "MATCHING",
    "SPAN",
    "BenefitCalibration",
    "CForBenefitReplicates",
    "c_for_benefit",
    "calibration_for_benefit",
]

CAUTION = (
    "C-for-benefit is not a proper score and depends on the matching rule (Xia, Gustafson and Sadatsafavi 2023): "
    "show it only beside RATE and calibration for benefit"
)
"""What goes with every C-for-benefit."""

MATCHING = {
    "rank": "pairs by rank of predicted benefit",
    "benefit": "pairs by nearest predicted benefit, greedy from the largest, without replacement",
    "covariates": "pairs by nearest Mahalanobis distance, greedy from the outermost patient, without replacement",
}
"""Matching rules and what is said of them."""

SPAN = 0.75
"""Share of the pairs in a window of the smooth curve, as in R's loess and Maas et al. 2023."""

_VERTICES = 101
_LEAST_PAIRS = 10
_Pairs = tuple[IntArray, IntArray]


def _trial(
    y: ArrayLike, treated: ArrayLike, benefit: ArrayLike, outcome: str
) -> tuple[NDArray[np.int8], NDArray[np.bool_], FloatArray]:
    """Return the bad outcome as 0/1, the arm and the predicted benefit."""
    if outcome not in ("harm", "good"):
        raise DataError("outcome is neither 'harm' nor 'good'", "'harm' where y = 1 is bad, 'good' where it is good")
    bad = binary(y)[0]
    flag = zero_one("treated", treated, bad.size) == 1
    in_treated = int(flag.sum())
    if in_treated in (0, flag.size):
        raise NotEstimableError(
            f"{in_treated} treated and {flag.size - in_treated} untreated rows", "rows in both arms"
        )
    outcome_bad = (bad if outcome == "harm" else 1 - bad).astype(np.int8)
    return outcome_bad, flag, vector("benefit", benefit, bad.size)


def _ascending(values: FloatArray) -> IntArray:
    """Return a stable sorting order; the fast unstable sort is used where nothing is tied."""
    order = np.argsort(values)
    ranked = values[order]
    if np.any(ranked[1:] == ranked[:-1]):
        order = np.argsort(values, kind="stable")
    return order


def _python_sample(n: int, k: int, seed: int) -> IntArray:
    """Return what ``random.Random(seed).sample(range(n), k)`` returns, in a fraction of its time."""
    # Python holds the positions taken in a set when the pool would be larger than that set.
    pool = n <= 21 + (4 ** math.ceil(math.log(k * 3, 4)) if k > 5 else 0)
    out = np.empty(k, dtype=np.int64)
    size = 2 * k + 64
    while True:
        bits = random.Random(seed).getrandbits(32 * size)  # noqa: S311
        words = np.frombuffer(bits.to_bytes(4 * size, "little"), dtype="<u4").astype(np.uint32, copy=False)
        if sample_positions(words, n, pool, out):
            return out
        size *= 2


def _rank_pairs(benefit: FloatArray, control: IntArray, treated: IntArray, seed: int) -> _Pairs:
    m = min(control.size, treated.size)
    if control.size > m:
        control = control[_python_sample(control.size, m, seed)]
    elif treated.size > m:
        treated = treated[_python_sample(treated.size, m, seed)]
    return control[_ascending(benefit[control])], treated[_ascending(benefit[treated])]


def _benefit_pairs(control: FloatArray, treated: FloatArray) -> _Pairs:
    """Match two ascending lists of predicted benefit; positions in either."""
    if control.size < treated.size:
        return np.arange(control.size), nearest_values(control, treated)
    return nearest_values(treated, control), np.arange(treated.size)


def _covariate_pairs(control: FloatArray, treated: FloatArray, far_c: FloatArray, far_t: FloatArray) -> _Pairs:
    """Match two lists of whitened rows, each ascending in its first column; positions in either."""
    if control.shape[0] < treated.shape[0]:
        return np.arange(control.shape[0]), nearest_rows(control, treated, np.argsort(-far_c, kind="stable"))
    return nearest_rows(treated, control, np.argsort(-far_t, kind="stable")), np.arange(treated.shape[0])


def _whitened(covariates: ArrayLike | None, arm: NDArray[np.bool_]) -> FloatArray:
    """Return covariates on axes where the pooled within-arm covariance is the identity."""
    if covariates is None:
        raise DataError("match='covariates' came without covariates", "an array with one row a patient")
    table = np.asarray(covariates, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[0] != arm.size:
        raise DataError(f"covariates have shape {table.shape}", f"({arm.size}, columns)")
    bad = int((~np.isfinite(table)).sum())
    if bad:
        raise DataError(f"covariates have {bad} values that are not finite", "finite numbers", "impute them first")
    spread = table.std(axis=0)
    table = (table - table.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    within = table.copy()
    for side in (arm, ~arm):
        within[side] -= within[side].mean(axis=0)
    variances, axes = np.linalg.eigh(cross_products(within, within) / max(arm.size - 2, 1))
    # A column that others determine adds nothing to the distance.
    kept = variances > 1e-10 * variances.max(initial=0.0)
    if not kept.any():
        raise NotEstimableError("no covariate varies within the arms", "covariates that tell patients apart")
    return np.ascontiguousarray(row_dot(table, axes[:, kept] / np.sqrt(variances[kept]))[:, ::-1])


def _given_pairs(pairs: ArrayLike, arm: NDArray[np.bool_]) -> _Pairs:
    table = np.asarray(pairs)
    if table.ndim != 2 or table.shape[1] != 2 or table.shape[0] == 0 or not np.issubdtype(table.dtype, np.integer):
        raise DataError(f"pairs have shape {table.shape}", "(m, 2) row numbers: control, treated")
    if table.min() < 0 or table.max() >= arm.size:
        raise DataError("pairs name rows that are not there", f"row numbers from 0 to {arm.size - 1}")
    control, treated = table.astype(np.int64).T
    if arm[control].any() or not arm[treated].all():
        raise DataError(
            "pairs hold rows of the wrong arm", "a control in the first column, a treated row in the second"
        )
    return control.copy(), treated.copy()


def _match(
    benefit: FloatArray,
    arm: NDArray[np.bool_],
    match: str,
    covariates: ArrayLike | None,
    pairs: ArrayLike | None,
    seed: int,
) -> tuple[_Pairs, str]:
    """Return the rows of each pair, control and treated, and how they were matched."""
    if pairs is not None:
        return _given_pairs(pairs, arm), "pairs as given"
    if match not in MATCHING:
        raise DataError("match is not one of the rules", "one of " + ", ".join(MATCHING))
    control, treated = np.flatnonzero(~arm), np.flatnonzero(arm)
    said = MATCHING[match]
    if match == "rank":
        if control.size != treated.size:
            larger = "untreated" if control.size > treated.size else "treated"
            m = min(control.size, treated.size)
            said += f", {larger} arm sampled down to {m} rows (random.sample, seed {seed})"
        return _rank_pairs(benefit, control, treated, seed), said
    if match == "benefit":
        control, treated = control[_ascending(benefit[control])], treated[_ascending(benefit[treated])]
        c, t = _benefit_pairs(benefit[control], benefit[treated])
    else:
        z = _whitened(covariates, arm)
        far = (z * z).sum(axis=1)
        control, treated = control[_ascending(z[control, 0])], treated[_ascending(z[treated, 0])]
        c, t = _covariate_pairs(z[control], z[treated], far[control], far[treated])
    return (control[c], treated[t]), said


def _ranked(benefit: FloatArray, bad: NDArray[np.int8], pairs: _Pairs) -> tuple[FloatArray, NDArray[np.int8], _Pairs]:
    """Return summed predicted benefit, ascending, observed benefit, and the pairs in that order."""
    control, treated = pairs
    total = benefit[control] + benefit[treated]
    if np.any(total[1:] < total[:-1]):
        order = _ascending(total)
        control, treated, total = control[order], treated[order], total[order]
    return total, bad[control] - bad[treated], (control, treated)


def _pair_variance(patient: ArrayLike | None, n: int, pairs: _Pairs) -> Callable[[FloatArray], float]:
    """Return a function from influence values of pairs to a variance; pairs that share a patient are dependent."""
    if patient is None and all(np.bincount(side, minlength=n).max() <= 1 for side in pairs):
        return lambda psi: dot(psi, psi)
    codes = patient_codes(patient, n)
    first, second = codes[pairs[0]], codes[pairs[1]]
    low, high = np.minimum(first, second), np.maximum(first, second)
    dyads = np.unique(low * (int(codes.max()) + 1) + high, return_inverse=True)[1]
    apart = first != second

    def variance(psi: FloatArray) -> float:
        # Aronow, Samii and Assenova 2015: two pairs count once together, also where they share both patients.
        sums = np.bincount(first, weights=psi, minlength=int(codes.max()) + 1)
        sums += np.bincount(second, weights=np.where(apart, psi, 0.0), minlength=sums.size)
        twice = np.bincount(dyads, weights=np.where(apart, psi, 0.0))
        return max(dot(sums, sums) - dot(twice, twice), 0.0)

    return variance


def c_for_benefit(
    y: ArrayLike,
    treated: ArrayLike,
    benefit: ArrayLike,
    *,
    outcome: str = "harm",
    match: str = "rank",
    covariates: ArrayLike | None = None,
    pairs: ArrayLike | None = None,
    method: str = "pairs",
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return the C-for-benefit: the chance that, of two matched pairs, the one that gained more was predicted to.

    A pair is one untreated and one treated patient alike to each other. Its observed benefit is 1 where only the
    untreated one had the bad outcome, -1 where only the treated one had, else 0; its predicted benefit is the mean of
    the two patients' predicted benefit.

    Parameters
    ----------
    y : array, shape (n,)
        Outcome, 0 or 1, of a randomised trial.
    treated : array, shape (n,)
        1 treated, 0 not.
    benefit : array, shape (n,)
        Predicted benefit of treatment, larger better: the fall in risk where `y` is bad.
    outcome : {"harm", "good"}
        Whether y = 1 is bad (default) or good.
    match : {"rank", "benefit", "covariates"}
        ``rank``: the larger arm is sampled down to the smaller with ``random.Random(seed).sample``, both are sorted by
        predicted benefit (ties in their order) and paired by rank. ``benefit``: nearest predicted benefit, one to one
        without replacement; the smaller arm chooses, largest benefit first. ``covariates``: nearest Mahalanobis
        distance (pooled within-arm covariance), one to one without replacement; the smaller arm chooses, the patient
        farthest from the centre first; the pairs do not depend on the prediction.
    covariates : array, shape (n, p), optional
        For ``match="covariates"``; finite.
    pairs : int array, shape (m, 2), optional
        Row numbers of the untreated and the treated patient of each pair, matched elsewhere; instead of `match`.
    method : {"pairs", "bootstrap"}
        Error: from the influence of each pair, given the matching; or the spread over resamples of patients within
        the arms, matched anew each time. The interval is normal around the value, because percentiles would cover too
        often: resamples spread with the chance of the matching, while their centre does not.
    patient : array, shape (n,), optional
        Rows of one patient are dependent: pairs that share a patient are too.
    level : float
    draws, seed : int
        Of the bootstrap; the seed is also that of the sampling down.

    Returns
    -------
    Estimate
        `n` counts rows and `events` rows with y = 1. `influence` is None, because the unit is the pair: compare two
        predictions with `CForBenefitReplicates` on the same draws.

    Raises
    ------
    NotEstimableError
        If an arm is empty or all pairs have the same observed benefit.

    Notes
    -----
    Formula: (concordant + ties in predicted benefit / 2) / pairs of pairs with different observed benefit.
    Range: 0 to 1; 0.5 is no better than chance. Values are low by nature: 0.55 to 0.60 in published trials.
    Assumes: treatment was randomised; patients in a pair are exchangeable. Not a proper score: a worse model can have
        the larger value, and another matching rule gives another value.
    Refuses: an empty arm; pairs that all have one observed benefit. One and the same prediction for all pairs gives
        0.5 without an interval, and says so.

    References
    ----------
    van Klaveren, Steyerberg, Serruys and Kent, J Clin Epidemiol 2018;94:59. Xia, Gustafson and Sadatsafavi, Diagn
    Progn Res 2023;7:10. Aronow, Samii and Assenova, Political Analysis 2015;23:564 (pairs that share a patient).

    Examples
    --------
    >>> y = [0, 1, 0, 1, 0, 1, 0, 1, 0]
    >>> treated = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    >>> benefit = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    >>> c_for_benefit(y, treated, benefit).value
    0.6
    """
    bad, arm, gain = _trial(y, treated, benefit, outcome)
    if method not in ("pairs", "bootstrap") or (method == "bootstrap" and pairs is not None):
        raise DataError("method is not one that can be used here", "'pairs', or 'bootstrap' without given pairs")
    matched, said = _match(gain, arm, match, covariates, pairs, seed)
    total, observed, matched = _ranked(gain, bad, matched)
    psi = np.zeros(total.size)
    right, usable = pair_concordance(total, observed, psi)
    if usable == 0:
        raise NotEstimableError(
            f"{total.size} pairs with the same observed benefit", "pairs that differ in observed benefit"
        )
    value, rows = right / usable, bad.size
    events = int(bad.sum()) if outcome == "harm" else int(rows - bad.sum())
    said = f"{said}: {total.size} pairs"
    if total[0] == total[-1]:
        note = "all pairs have the same predicted benefit: 0.5 because all are tied, nothing is ranked; " + CAUTION
        return Estimate(value, name="c_for_benefit", n=rows, events=events, level=level, method=said, note=note)
    if method == "pairs":
        # m / (m - 1) as in the jackknife.
        spread = _pair_variance(patient, rows, matched)(psi) * total.size / max(total.size - 1, 1)
        return Estimate.normal(
            value,
            math.sqrt(spread),
            level=level,
            bounds=(0, 1),
            units=independent_units(patient, rows),
            name="c_for_benefit",
            n=rows,
            events=events,
            method=f"{said}; influence of pairs, given the matching",
            note=CAUTION,
        )
    resamples = PatientDraws(patient, rows, arm, draws=draws, seed=seed)
    replicates = CForBenefitReplicates(
        y, treated, benefit, resamples.codes, outcome=outcome, match=match, covariates=covariates, seed=seed
    )
    values = resamples.map(replicates.replicate)
    enough = float(estimable_share(values)) >= ESTIMABLE
    return Estimate.normal(
        value,
        float(np.nanstd(values, ddof=1)) if enough else math.nan,
        level=level,
        bounds=(0, 1),
        name="c_for_benefit",
        n=rows,
        events=events,
        method=f"{said}; spread of {draws} resamples of patients within arms, matched anew, seed {seed}",
        note=CAUTION if enough else "not estimable in more than 10 % of resamples; " + CAUTION,
    )


class CForBenefitReplicates:
    """The C-for-benefit of resamples of patients, matched anew in each without sorting again.

    Parameters
    ----------
    y, treated, benefit, outcome, match, covariates
        As in `c_for_benefit`.
    codes : int array, shape (n,)
        Patient number of each row; see `PatientDraws`.
    seed : int
        Where a resample has arms of different size and ``match="rank"``, the larger is sampled down at random, anew in
        each; this seed and the counts decide how.

    Examples
    --------
    >>> draws = PatientDraws(None, 6, draws=3, seed=1)
    >>> c = CForBenefitReplicates([1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [3, 2, 1, 3, 2, 1], draws.codes)
    >>> c.replicate(np.ones((6, 1), dtype=np.uint8))
    array([1.])
    """

    def __init__(
        self,
        y: ArrayLike,
        treated: ArrayLike,
        benefit: ArrayLike,
        codes: IntArray,
        *,
        outcome: str = "harm",
        match: str = "rank",
        covariates: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        self._bad, arm, self._benefit = _trial(y, treated, benefit, outcome)
        if match not in MATCHING:
            raise DataError("match is not one of the rules", "one of " + ", ".join(MATCHING))
        self._match, self._seed = match, np.uint64(seed % 2**64)
        self._codes = np.asarray(codes, dtype=np.int64)
        self._z = _whitened(covariates, arm) if match == "covariates" else np.empty((0, 0))
        axis = self._z[:, 0].copy() if match == "covariates" else self._benefit
        self._rows = tuple(rows[_ascending(axis[rows])] for rows in (np.flatnonzero(~arm), np.flatnonzero(arm)))

    def replicate(self, counts: NDArray[np.uint8]) -> FloatArray:
        """Return the C-for-benefit of each replicate, shape (b,); NaN where it is not defined.

        Parameters
        ----------
        counts : uint8 array, shape (patients, b)
            How often each patient was drawn.
        """
        out = np.full(counts.shape[1], np.nan)
        if self._match == "rank":
            arms = [(self._benefit[rows], self._bad[rows], self._codes[rows]) for rows in self._rows]
            rank_replicates(*arms[0], *arms[1], np.ascontiguousarray(counts), self._seed, out)
            return out
        for b in range(out.size):
            control, treated = (np.repeat(rows, counts[self._codes[rows], b]) for rows in self._rows)
            if not control.size or not treated.size:
                continue
            if self._match == "benefit":
                c, t = _benefit_pairs(self._benefit[control], self._benefit[treated])
            else:
                far = [(self._z[rows] ** 2).sum(axis=1) for rows in (control, treated)]
                c, t = _covariate_pairs(self._z[control], self._z[treated], *far)
            total, observed, _ = _ranked(self._benefit, self._bad, (control[c], treated[t]))
            right, usable = pair_concordance(total, observed, np.empty(0))
            if usable > 0:
                out[b] = right / usable
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenefitCalibration(Described):
    """How predicted benefit agrees with the benefit seen in a trial.

    Parameters
    ----------
    estimate : Estimate
        E-avg: mean distance of predicted from smoothed observed benefit (ICI for benefit); 0 is right. What it knows
        (`value`, `lower`, `events`, ...) is also known here.
    e50, e90 : float
        Median and 90th percentile of that distance.
    slope : Estimate
        Of observed on predicted benefit over pairs; 1 is right, below 1 says that predictions are too extreme.
    difference : Estimate
        Observed minus mean predicted benefit over all rows; 0 is right.
    groups : Curve
        Observed benefit by group of predicted benefit; `x` is the mean predicted benefit of the group.
    curve : Curve or None
        Smoothed observed benefit over predicted benefit.

    Examples
    --------
    >>> y, treated, benefit = [1, 0, 1, 0] * 10, [0, 0, 1, 1] * 10, [0.1, 0.0, 0.2, 0.1] * 10
    >>> round(float(calibration_for_benefit(y, treated, benefit, smooth=False, groups=1)), 3)
    0.1
    """

    estimate: Estimate
    e50: float
    e90: float
    slope: Estimate
    difference: Estimate
    groups: Curve
    curve: Curve | None


def _groups(
    bad: NDArray[np.int8],
    arm: NDArray[np.bool_],
    benefit: FloatArray,
    groups: int,
    patient: ArrayLike | None,
    level: float,
    events: int,
) -> tuple[Curve, FloatArray]:
    """Return observed benefit by quantile group of predicted benefit, and the rows of each group."""
    edges = np.unique(np.quantile(benefit, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, benefit, side="left")
    place = np.unique(place, return_inverse=True)[1]
    k = int(place.max()) + 1
    rows = np.bincount(place, minlength=k).astype(np.float64)
    size = [np.bincount(place[side], minlength=k).astype(np.float64) for side in (~arm, arm)]
    with np.errstate(invalid="ignore", divide="ignore"):
        risk = [
            np.bincount(place[side], weights=bad[side], minlength=k) / n
            for side, n in zip((~arm, arm), size, strict=True)
        ]
        value = risk[0] - risk[1]
        (low_c, high_c), (low_t, high_t) = (
            np.array([wilson(r * m, m, level) if m else (np.nan, np.nan) for r, m in zip(share, n, strict=True)]).T
            for share, n in zip(risk, size, strict=True)
        )
        # Newcombe 1998, method 10: stays open where an arm of a group has no event.
        lower = value - np.sqrt((risk[0] - low_c) ** 2 + (high_t - risk[1]) ** 2)
        upper = value + np.sqrt((high_c - risk[0]) ** 2 + (risk[1] - low_t) ** 2)
        psi = np.where(arm, -(bad - risk[1][place]) / size[1][place], (bad - risk[0][place]) / size[0][place])
    influence = np.zeros((bad.size, k))
    influence[np.arange(bad.size), place] = psi
    influence[:, ~np.isfinite(value)] = np.nan
    codes = None if patient is None else patient_codes(patient, bad.size)
    se = np.sqrt(np.diag(clustered_covariance(influence, codes)))
    units = independent_units(patient, bad.size)
    if patient is not None:
        half = float(quantile_of_units(level, units)) * se
        lower, upper = value - half, value + half
    empty = int((~np.isfinite(value)).sum())
    curve = Curve(
        name="observed_benefit",
        axis="predicted benefit",
        x=np.bincount(place, weights=benefit, minlength=k) / rows,
        value=value,
        lower=np.maximum(lower, -1),
        upper=np.minimum(upper, 1),
        se=se,
        n=bad.size,
        events=events,
        level=level,
        method="difference in risk by group; " + ("Newcombe interval" if patient is None else "clustered by patient"),
        note=notes(
            f"{k} groups instead of {groups}, because predicted benefit is tied" if k < groups else "",
            f"{empty} groups without rows in one arm have no estimate" if empty else "",
            few_units(units),
        ),
        influence=influence,
    )
    return curve, rows


def _slope(
    predicted: FloatArray,
    observed: FloatArray,
    variance: Callable[[FloatArray], float],
    level: float,
    n: int,
    units: int | None,
) -> Estimate:
    m = predicted.size
    centred = predicted - predicted.mean()
    spread = dot(centred, centred)
    if m < 3 or predicted[0] == predicted[-1]:
        note = "not estimable: fewer than 3 pairs, or one predicted benefit for all"
        return Estimate(math.nan, name="benefit_slope", n=n, level=level, note=note)
    slope = dot(centred, observed) / spread
    rest = observed - observed.mean() - slope * centred
    return Estimate.normal(
        slope,
        math.sqrt(variance(centred * rest / spread) * m / (m - 2)),
        level=level,
        units=units,
        name="benefit_slope",
        n=n,
        method="least squares over pairs, robust error",
    )


def _smooth(
    predicted: FloatArray,
    observed: FloatArray,
    variance: Callable[[FloatArray], float],
    level: float,
    n: int,
    events: int,
    units: int | None,
) -> tuple[Curve, FloatArray, FloatArray]:
    """Return the loess curve, each pair's distance from it, and the influence of each pair on the mean distance."""
    m = predicted.size
    at = np.unique(np.quantile(predicted, np.linspace(0, 1, _VERTICES)))
    k = at.size
    fit, solve, width = np.empty((k, 3)), np.empty((k, 3)), np.empty(k)
    window = np.empty((k, 2), dtype=np.int64)
    local_quadratic(predicted, observed, at, min(m, int(SPAN * m + 1e-5)), fit, solve, window, width)
    value = fit[:, 0].copy()
    gap = np.interp(predicted, at, value) - predicted
    # Weight with which each vertex enters the mean distance, through the linear interpolation.
    left = np.clip(np.searchsorted(at, predicted, side="right") - 1, 0, max(k - 2, 0))
    right = np.minimum(left + 1, k - 1)
    along = np.clip((predicted - at[left]) / np.where(right > left, at[right] - at[left], 1.0), 0, 1)
    share = np.bincount(left, weights=np.sign(gap) * (1 - along), minlength=k)
    share += np.bincount(right, weights=np.sign(gap) * along, minlength=k)
    distance = np.abs(gap)
    psi = (distance - distance.mean()) / m
    se = np.empty(k)
    for v in range(k):
        own = np.zeros(m)
        where = (at[v], fit[v], solve[v], int(window[v, 0]), int(window[v, 1]), width[v])
        local_influence(predicted, observed, *where, 1.0, own)
        se[v] = math.sqrt(variance(own))
        psi += share[v] / m * own
    curve = Curve.normal(
        value,
        se,
        units=units,
        name="observed_benefit",
        axis="predicted benefit",
        x=at,
        n=n,
        events=events,
        level=level,
        method=f"loess over {m} pairs: local quadratic, tricube, span {SPAN}, at {k} points; pointwise robust interval",
        note=few_units(units),
    )
    return curve, distance, psi


def calibration_for_benefit(
    y: ArrayLike,
    treated: ArrayLike,
    benefit: ArrayLike,
    *,
    outcome: str = "harm",
    groups: int = 5,
    smooth: bool = True,
    match: str = "rank",
    covariates: ArrayLike | None = None,
    pairs: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> BenefitCalibration:
    """Return how predicted benefit agrees with observed benefit: by group, as a curve, and as single numbers.

    Parameters
    ----------
    y, treated, benefit, outcome, match, covariates, pairs, seed
        As in `c_for_benefit`; `benefit` is a difference in risk.
    groups : int
        Quantile groups of predicted benefit; rows with equal predictions stay together.
    smooth : bool
        Take E-avg, E50 and E90 from a loess curve over matched pairs (span 0.75, degree 2); otherwise from the groups.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If an arm is empty, there are fewer than 10 pairs for a smooth curve, or no group has rows in both arms.

    Notes
    -----
    Formula: E-avg = mean |smoothed observed - predicted| over pairs, E50 and E90 its quantiles; slope by least squares
        of observed on predicted benefit of pairs; per group the untreated less the treated risk.
    Range: E-avg from 0, right, to 2; slope any number, 1 is right.
    Assumes: treatment was randomised. E-avg is biased upward in small trials; its interval, from influence values with
        the windows held fixed, is rough and lies too high where calibration is nearly perfect.
    Refuses: an empty arm; fewer than 10 pairs for the curve. A group without rows in one arm is NaN.

    References
    ----------
    Maas, Kent, Hughes, Dekker, Lingsma and van Klaveren, BMC Med Res Methodol 2023;23:74. Cleveland, JASA 1979;74:829.
    Newcombe, Stat Med 1998;17:873 (interval of a group).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> benefit, treated = rng.uniform(0, 0.3, 4000), rng.integers(0, 2, 4000)
    >>> y = rng.random(4000) < 0.4 - benefit * treated
    >>> found = calibration_for_benefit(y, treated, 3 * benefit)
    >>> len(found.groups), found.value > 0.2, found.slope.upper < 1
    (5, True, True)
    """
    if groups < 1:
        raise DataError("groups is below 1", "at least 1 group")
    bad, arm, gain = _trial(y, treated, benefit, outcome)
    rows = bad.size
    events = int(bad.sum()) if outcome == "harm" else int(rows - bad.sum())
    by_group, size = _groups(bad, arm, gain, groups, patient, level, events)
    matched, said = _match(gain, arm, match, covariates, pairs, seed)
    total, seen, matched = _ranked(gain, bad, matched)
    predicted, observed = total / 2, seen.astype(np.float64)
    m = predicted.size
    variance, units = _pair_variance(patient, rows, matched), independent_units(patient, rows)
    control, treat = float(bad[~arm].mean()), float(bad[arm].mean())
    psi = np.where(arm, -(bad - treat) / arm.sum(), (bad - control) / (~arm).sum())
    psi -= (gain - gain.mean()) / rows
    difference = Estimate.from_influence(
        control - treat - float(gain.mean()),
        psi,
        patient,
        level=level,
        name="benefit_difference",
        events=events,
        method="observed less mean predicted benefit over all rows",
    )
    known: dict[str, Any] = {"name": "e_avg_for_benefit", "n": rows, "events": events, "level": level}
    curve: Curve | None = None
    if smooth:
        if m < _LEAST_PAIRS:
            raise NotEstimableError(f"{m} pairs", f"at least {_LEAST_PAIRS} for a smooth curve, or smooth=False")
        curve, distance, pair_psi = _smooth(predicted, observed, variance, level, rows, events, units)
        average = Estimate.normal(
            float(distance.mean()),
            math.sqrt(variance(pair_psi)),
            bounds=(0, math.inf),
            units=units,
            method=f"{curve.method}; {said}; influence of pairs, the upper limit mirrored and cut at 0 for the lower",
            note="E-avg is biased upward where pairs are few; its interval lies too high where calibration is nearly "
            "perfect",
            **known,
        )
        e50, e90 = (float(q) for q in np.quantile(distance, [0.5, 0.9]))
    else:
        both = np.isfinite(by_group.value)
        if not both.any():
            raise NotEstimableError("no group has rows in both arms", "fewer groups, or more rows")
        distance = np.abs(by_group.value - by_group.x)[both]
        share = size[both] / size[both].sum()
        average = Estimate(
            dot(share, distance),
            method=f"mean distance over {int(both.sum())} groups",
            note="no interval for the distance by group",
            **known,
        )
        order = np.argsort(distance)
        reached = np.cumsum(share[order])
        e50, e90 = (float(distance[order][np.searchsorted(reached, q - 1e-12)]) for q in (0.5, 0.9))
    return BenefitCalibration(
        estimate=average,
        e50=e50,
        e90=e90,
        slope=_slope(predicted, observed, variance, level, rows, units),
        difference=difference,
        groups=by_group,
        curve=curve,
    )
