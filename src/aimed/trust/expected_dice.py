"""Whether a model knows which outlines are poor: the Dice it expects of each case against the Dice that was reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from aimed.core import DataError
from aimed.metrics import adjust_p_values
from aimed.metrics.arrays import patient_codes
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean
from aimed.metrics.discrimination import auroc
from aimed.metrics.evaluate import without_value
from aimed.metrics.result import Estimate, checked_level, clustered, few_units, limits, notes
from aimed.trust.case_uncertainty import kept_after
from aimed.trust.words import number, plural

__all__ = ["BELOW", "LEARN_FROM", "REFERRED", "DiceExpectation", "expected_dice", "quality", "spearman"]

BELOW = 0.7
"""A case with a lower Dice is one that the model failed on, unless another line is given."""

REFERRED = (0.0, 0.1, 0.2, 0.3, 0.5)
"""Shares of the cases with the lowest expected Dice that are handed to a reader."""

LEARN_FROM = 8
"""Patients from which a correction of the expected Dice is learned."""

_LINE_FROM = 16
_FEW = 10
"""With fewer patients nothing is said of the ranks."""
_FEW_FAILURES = 5

Floats = NDArray[np.float64]


def expected_dice(probability: ArrayLike, mask: ArrayLike) -> float:
    """Return the Dice that the probabilities of a case promise of an outline, before the truth is known.

    Parameters
    ----------
    probability : float array, any shape
        Calibrated chance of each voxel to be inside.
    mask : bool array of that shape
        The outline.

    Returns
    -------
    float
        2 sum(p m) / (sum(m) + sum(p)). Of an empty outline it would be 0 whatever the probabilities; there it is the
        chance that there is nothing to find, taken as 1 less the highest probability.

    Raises
    ------
    DataError
        If shapes differ, or a probability is missing or outside [0, 1].

    References
    ----------
    Robinson et al., MICCAI 2018 (prediction of Dice). Li et al., IEEE TMI 2022 (expected Dice from soft maps).

    Examples
    --------
    >>> round(expected_dice([0.9, 0.7, 0.2], [1, 1, 0]), 4), expected_dice([0.25, 0.1], [0, 0])
    (0.8421, 0.75)
    """
    p, m = np.asarray(probability), np.asarray(mask, dtype=bool)
    if p.shape != m.shape or p.size == 0:
        raise DataError(f"probabilities of shape {p.shape} and an outline of {m.shape}", "one shape that is not empty")
    low, high = float(p.min()), float(p.max())
    if not (low >= 0 and high <= 1):
        raise DataError("a probability is missing or outside [0, 1]", "probabilities")
    inside = int(np.count_nonzero(m))
    if not inside:
        return 1.0 - high
    return 2.0 * float(p[m].sum(dtype=np.float64)) / (inside + float(p.sum(dtype=np.float64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceExpectation:
    """How the expected Dice of a case is corrected, learned on cases with a reference.

    Made with `fit`.

    Parameters
    ----------
    how : {"plain", "shift", "line"}
        As it is, moved by a constant, or on a line.
    intercept, slope : float
    cases, patients : int
        From which it was learned.
    error : float or None
        Mean absolute error on patients left out one at a time; None where nothing could be learned.

    Notes
    -----
    Of the three the one with the least squared error on patients left out is taken, the plainer one where they are
    equal. A shift takes 8 patients, a line, which has to rise, 16; with fewer the plain value stands. Each patient
    weighs the same.

    Examples
    --------
    >>> soft = np.linspace(0.7, 0.95, 12)
    >>> found = DiceExpectation.fit(soft, soft - 0.1)
    >>> found.how, found.predict(0.9), DiceExpectation.fit(soft[:3], soft[:3] - 0.1).how
    ('shift', 0.8, 'plain')
    """

    how: str = "plain"
    intercept: float = 0.0
    slope: float = 1.0
    cases: int = 0
    patients: int = 0
    error: float | None = None

    @classmethod
    def fit(cls, soft: ArrayLike, true: ArrayLike, patient: ArrayLike | None = None) -> DiceExpectation:
        """Learn the correction on cases that the network did not learn from.

        Parameters
        ----------
        soft, true : float arrays, shape (n,)
            `expected_dice` and Dice of each case; rows where one is NaN are left out.
        patient : array, shape (n,), optional
            Each case its own patient when absent.

        Raises
        ------
        DataError
            If shapes differ, or a value lies outside [0, 1].
        """
        x, y = _pair(soft, true)
        known = np.isfinite(x) & np.isfinite(y)
        codes = patient_codes(patient, x.size)[known] if x.size else np.empty(0, dtype=np.int64)
        x, y = x[known], y[known]
        codes = np.unique(codes, return_inverse=True)[1]
        patients = int(codes.max()) + 1 if codes.size else 0
        if patients < LEARN_FROM:
            return cls(cases=x.size, patients=patients)
        weight = 1.0 / np.bincount(codes)[codes]
        ways = ["plain", "shift"]
        # A line that falls would call the surest outlines the poorest.
        if patients >= _LINE_FROM and _fitted("line", x, y, weight)[1] > 0:
            ways.append("line")
        errors, misses = {}, {}
        for how in ways:
            left = np.empty(x.size)
            for one in range(patients):
                rest, out = codes != one, codes == one
                a, b = _fitted(how, x[rest], y[rest], weight[rest])
                left[out] = np.clip(a + b * x[out], 0.0, 1.0) - y[out]
            errors[how] = float(weight @ left**2 / patients)
            misses[how] = float(weight @ np.abs(left) / patients)
        # A gain that is no more than rounding is none.
        best = next(how for how in ways if errors[how] <= min(errors.values()) + 1e-12)
        a, b = _fitted(best, x, y, weight)
        return cls(how=best, intercept=a, slope=b, cases=x.size, patients=patients, error=misses[best])

    def predict(self, soft: float | None) -> float | None:
        """Return the expected Dice of a case; None where there is none to correct."""
        if soft is None or not math.isfinite(soft):
            return None
        return min(max(round(self.intercept + self.slope * float(soft), 12), 0.0), 1.0)

    def to_state(self) -> dict[str, Any]:
        """Return what was learned as JSON types."""
        return {
            "how": self.how,
            "intercept": self.intercept,
            "slope": self.slope,
            "cases": self.cases,
            "patients": self.patients,
            "error": self.error,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DiceExpectation:
        """Rebuild from `to_state`.

        Raises
        ------
        DataError
            If a number is not finite.
        """
        numbers = [float(state["intercept"]), float(state["slope"])]
        if not all(map(math.isfinite, numbers)) or state["how"] not in ("plain", "shift", "line"):
            raise DataError("an expected Dice that is not known", "plain, shift or line, and finite numbers")
        error = state.get("error")
        return cls(
            how=str(state["how"]),
            intercept=numbers[0],
            slope=numbers[1],
            cases=int(state["cases"]),
            patients=int(state["patients"]),
            error=None if error is None else float(error),
        )


def _pair(soft: ArrayLike, true: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(soft, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"expected Dice of shape {x.shape} and Dice of {y.shape}", "one of each a case")
    for values in (x, y):
        if ((values < 0) | (values > 1)).any():
            raise DataError("a Dice outside [0, 1]", "numbers from 0 to 1, NaN without one")
    return x, y


def _fitted(how: str, x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Return intercept and slope."""
    if how == "plain":
        return 0.0, 1.0
    middle_x, middle_y = float(weight @ x / weight.sum()), float(weight @ y / weight.sum())
    spread = float(weight @ (x - middle_x) ** 2)
    if how == "shift" or spread < 1e-12:
        return middle_y - middle_x, 1.0
    slope = float(weight @ ((x - middle_x) * (y - middle_y))) / spread
    return middle_y - slope * middle_x, slope


def _ranks_agree(x: Floats, y: Floats) -> float:
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return min(max(float(a @ b) / size, -1.0), 1.0) if size > 0 else math.nan


def spearman(x: ArrayLike, y: ArrayLike, patient: ArrayLike | None = None, *, level: float = 0.95) -> Estimate:
    """Return Spearman's rank correlation of two numbers a case, with its interval over patients.

    Parameters
    ----------
    x, y : float arrays, shape (n,)
    patient : array, shape (n,), optional
        Cases of one patient are dependent.
    level : float

    Notes
    -----
    The interval is symmetric on Fisher's scale. With one case a patient the error is Bonett and Wright's
    sqrt((1 + r^2 / 2) / (n - 3)); otherwise patients are left out one at a time (jackknife, t). None below 5 patients.

    References
    ----------
    Bonett and Wright, Psychometrika 2000;65:23.

    Examples
    --------
    >>> spearman([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5])
    spearman 0.9429 (95 % interval 0.3827 to 0.9961), n = 6
    """
    checked_level(level)
    one, two = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape or one.size == 0 or not np.isfinite([one, two]).all():
        raise DataError("numbers that are missing, or not one of each a case", "two finite numbers a case")
    codes = patient_codes(patient, one.size)
    patients = int(codes.max()) + 1
    value = _ranks_agree(one, two)
    facts: dict[str, Any] = {"name": "spearman", "n": one.size, "level": level}
    if math.isnan(value):
        return Estimate(value, note="one of the two is the same in all cases", **facts)
    if patients < LEAST_PATIENTS:
        return Estimate(value, note=f"no interval: {patients} patients, and {LEAST_PATIENTS} are needed", **facts)
    if abs(value) == 1:
        return Estimate(value, note="no interval: all cases are ranked alike", **facts)
    if patients == one.size:
        wide = math.sqrt((1 + value * value / 2) / (patients - 3))
        units, how = None, "Bonett and Wright, Fisher scale"
    else:
        left = np.array([_ranks_agree(one[codes != k], two[codes != k]) for k in range(patients)])
        if not np.isfinite(left).all() or (np.abs(left) == 1).any():
            return Estimate(value, note="no interval: without one patient there is no spread", **facts)
        fisher = np.arctanh(left)
        # Already a sample variance: the quantile's own factor is taken out.
        wide = math.sqrt((patients - 1) ** 2 / patients**2 * float(((fisher - fisher.mean()) ** 2).sum()))
        units, how = patients, clustered("jackknife, Fisher scale, t", patient)
    se = wide * (1 - value * value)
    low, high = (float(v) for v in limits(value, se, level, scale="fisher", units=units))
    return Estimate(value, lower=low, upper=high, se=se, method=how, note=few_units(patients), **facts)


def quality(
    expected: ArrayLike,
    true: ArrayLike,
    *,
    keys: Sequence[str],
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    learned: Sequence[DiceExpectation | None] | None = None,
    below: float = BELOW,
    referred: Sequence[float] = REFERRED,
    level: float = 0.95,
) -> dict[str, Any]:
    """Set the Dice that was expected of each case against the Dice that was reached, by region and on average.

    Parameters
    ----------
    expected, true : float arrays, shape (n, k)
        NaN where a region has none.
    keys : k strings
    labels : k strings, optional
        For people; the keys when absent.
    patient : array, shape (n,), optional
        Cases of one patient are dependent.
    learned : k DiceExpectation or None, optional
        What the expectations were corrected with, to be told.
    below : float
        A case with a lower Dice is a failure. Where fewer than 5 cases are failures or fewer than 5 are not, the lowest
        quarter is.
    referred : sequence of float in [0, 1)
        Shares of the cases with the lowest expected Dice that are handed to a reader.
    level : float

    Returns
    -------
    dict
        The ``quality`` block: ``n``, ``patients``, ``level``, ``formula``, ``method``, ``note``, ``mean`` and
        ``regions`` by key, each with ``label``, ``n``, ``patients``, ``learned`` (state or None), measures ``error``
        (mean absolute), ``bias`` (expected less true), ``rank`` (Spearman) and ``auroc`` (finding failures),
        ``below``, ``below_why`` ("given" or "lowest quarter"), ``failures``, ``curve`` (``share``, ``n``, ``dice`` of
        the cases kept, its ``difference`` to referring none or None, ``failures`` left), ``points`` (``case`` from 1,
        ``expected``, ``dice``), ``state`` and ``sentence``; ``state`` and ``sentence`` are those of ``mean``.

    Raises
    ------
    DataError
        If shapes differ, or a value lies outside [0, 1].

    Notes
    -----
    ``mean`` is of the means over regions. States: "knows" when the interval of the rank correlation lies above 0,
    "misleads" below, "not shown" otherwise, "not enough evidence" below 10 patients or without an interval. The curve
    is that of Geifman and El-Yaniv; of cases with one expected Dice each counts in part; its intervals take the choice
    of cases as given.

    References
    ----------
    Geifman and El-Yaniv, NeurIPS 2017. Robinson et al., MICCAI 2018. Jungo, Balsiger and Reyes, Front Neurosci
    2020;14:282.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> dice = rng.uniform(0.4, 0.95, (60, 1))
    >>> found = quality(np.clip(dice + rng.normal(0, 0.05, dice.shape), 0, 1), dice, keys=["whole"])
    >>> one = found["regions"]["whole"]
    >>> found["state"], one["rank"]["value"] > 0.8, one["curve"][-1]["dice"]["value"] > one["curve"][0]["dice"]["value"]
    ('knows', True, True)
    """
    checked_level(level)
    soft, dice = np.asarray(expected, dtype=np.float64), np.asarray(true, dtype=np.float64)
    titles = [str(title) for title in (keys if labels is None else labels)]
    if soft.ndim != 2 or soft.shape != dice.shape or soft.shape[1] != len(keys) or len(titles) != len(keys):
        raise DataError(f"expected Dice of shape {soft.shape} and Dice of {dice.shape}", f"(n, {len(keys)}), both")
    for values in (soft, dice):
        if ((values < 0) | (values > 1)).any():
            raise DataError("a Dice outside [0, 1]", "numbers from 0 to 1, NaN without one")
    shares = [float(s) for s in referred]
    if not shares or shares[0] != 0 or shares != sorted(set(shares)) or shares[-1] >= 1:
        raise DataError("shares to refer that do not rise from 0 to below 1", "such as (0, 0.1, 0.2)")
    codes = patient_codes(patient, len(soft)) if len(soft) else np.empty(0, dtype=np.int64)
    known = np.isfinite(soft) & np.isfinite(dice)
    count = known.sum(axis=1)
    mean_soft, mean_dice = (
        np.where(count > 0, np.where(known, v, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan) for v in (soft, dice)
    )
    told = list(learned) if learned is not None else [None] * len(keys)
    regions = {
        key: _region(title, soft[:, j], dice[:, j], codes, told[j], key, below, shares, level)
        for j, (key, title) in enumerate(zip(keys, titles, strict=True))
    }
    whole = _region("Mean of the regions", mean_soft, mean_dice, codes, None, "mean", below, shares, level)
    p = [math.nan if one["auroc_p"] is None else one["auroc_p"] for one in regions.values()]
    for one, adjusted in zip(regions.values(), adjust_p_values(p, "holm"), strict=True):
        one["auroc_p_holm"] = float(adjusted) if math.isfinite(adjusted) else None
    return {
        "n": len(soft),
        "patients": int(codes.max()) + 1 if codes.size else 0,
        "level": level,
        "formula": "2 sum(p m) / (sum(m) + sum(p)), p the probability and m the outline",
        "method": "intervals over patients: t of means, Fisher's scale of rank correlations, "
        + ("DeLong of AUROCs" if patient is None else "Obuchowski of AUROCs"),
        "mean": whole,
        "regions": regions,
        "state": whole["state"],
        "sentence": whole["sentence"],
        "note": "A low expected Dice says that the model doubts its own outline. A model that is wrong and sure of it "
        "is not found so. Dice of cases that are referred are not counted: what a reader would draw is not known.",
    }


def _region(
    label: str,
    soft: Floats,
    dice: Floats,
    codes: NDArray[np.int64],
    learned: DiceExpectation | None,
    key: str,
    below: float,
    shares: Sequence[float],
    level: float,
) -> dict[str, Any]:
    rows = np.flatnonzero(np.isfinite(soft) & np.isfinite(dice))
    x, y = soft[rows], dice[rows]
    points = [
        {"case": int(row) + 1, "expected": float(a), "dice": float(b)} for row, a, b in zip(rows, x, y, strict=True)
    ]
    base: dict[str, Any] = {"label": label, "n": int(rows.size), "learned": learned.to_state() if learned else None}
    if not rows.size:
        missing = without_value([f"{m}@{key}" for m in _MEASURES], level, "no case has an expected Dice and a Dice")
        empty = dict(zip(_MEASURES, missing.values(), strict=True))
        return {
            **base, "patients": 0, **empty, "auroc_p": None, "below": below, "below_why": "given", "failures": 0,
            "curve": [], "points": [], "state": "not enough evidence", "sentence": f"{label}: no case to look at.",
        }  # fmt: skip
    who = np.unique(codes[rows], return_inverse=True)[1]
    patients = int(who.max()) + 1
    line, why = below, "given"
    failed = y < line
    if min(int(failed.sum()), int((~failed).sum())) < _FEW_FAILURES:
        line, why = float(np.quantile(y, 0.25)), "lowest quarter"
        failed = y <= line if (y > line).any() else np.zeros(y.size, dtype=bool)
    error = case_mean(np.abs(x - y), who, level=level, name=f"expected_dice_error@{key}", bounds=(0.0, 1.0))
    bias = case_mean(x - y, who, level=level, name=f"expected_dice_bias@{key}", bounds=(-1.0, 1.0))
    rank = spearman(x, y, who, level=level)
    rank.name = f"spearman@{key}"
    finds = _finds(x, failed, who, level, f"auroc_of_failures@{key}")
    state = _state(rank, patients)
    curve = _curve(x, y, failed, who, shares, key, level)
    return {
        **base,
        "patients": patients,
        "error": error.measure().to_dict(),
        "bias": bias.measure().to_dict(),
        "rank": rank.measure().to_dict(),
        "auroc": finds.measure().to_dict(),
        "auroc_p": finds.p if finds.p is not None and math.isfinite(finds.p) else None,
        "below": line,
        "below_why": why,
        "failures": int(failed.sum()),
        "curve": curve,
        "points": points,
        "state": state,
        "sentence": _sentence(label, error, rank, finds, line, why, int(failed.sum()), curve, state, patients),
    }


_MEASURES = ("error", "bias", "rank", "auroc")


def _finds(x: Floats, failed: NDArray[np.bool_], who: NDArray[np.int64], level: float, name: str) -> Estimate:
    """Return the chance that a failure is expected to have a lower Dice than another case."""
    facts: dict[str, Any] = {"name": name, "n": x.size, "events": int(failed.sum()), "level": level}
    if not failed.any() or failed.all():
        return Estimate(math.nan, note="no case that failed, or none that did not", **facts)
    single = int(who.max()) + 1 == who.size
    found = auroc(failed, -x, patient=None if single else who, level=level)
    found.name = name
    few = min(int(np.unique(who[part]).size) for part in (failed, ~failed))
    if few < _FEW_FAILURES:
        return Estimate(
            float(found), note=f"no interval: {few} patients on one side, and {_FEW_FAILURES} are needed", **facts
        )
    return found


def _state(rank: Estimate, patients: int) -> str:
    if patients >= _FEW and abs(rank) == 1:
        # No spread to make an interval of, and no doubt either.
        return "knows" if rank > 0 else "misleads"
    if patients < _FEW or not math.isfinite(rank.lower):
        return "not enough evidence"
    return "knows" if rank.lower > 0 else "misleads" if rank.upper < 0 else "not shown"


def _curve(
    x: Floats,
    y: Floats,
    failed: NDArray[np.bool_],
    who: NDArray[np.int64],
    shares: Sequence[float],
    key: str,
    level: float,
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    patients = int(who.max()) + 1
    single = patients == who.size
    given = None if single else who
    whole = y.mean()
    for share in shares:
        keep = kept_after(-x, share)
        value = float(keep @ y / keep.sum())
        influence = keep * (y - value) / keep.sum()
        n = round(float(keep.sum()))
        enough = int(np.unique(who[keep > 0]).size) >= LEAST_PATIENTS
        few = "" if enough else f"no interval: fewer than {LEAST_PATIENTS} patients are kept"

        def told(name: str, middle: float, parts: Floats, n: int = n, enough: bool = enough, few: str = few) -> Any:
            found = Estimate.from_influence(
                middle, parts if enough else np.zeros(parts.size), given, name=f"{name}@{key}", n=n, level=level,
                units=patients, bounds=(-1.0 if name.startswith("diff") else 0.0, 1.0), why="no spread",
                scale="identity" if name.startswith("diff") else "logit",
                method=clustered("infinitesimal jackknife, t", given),
            )  # fmt: skip
            record = found.measure().to_dict()
            return record if enough else record | {"note": notes(few)}

        gap = None
        if share > 0:
            gap = told("difference_in_dice", value - whole, influence - (y - whole) / y.size)
        out.append(
            {
                "share": share,
                "n": n,
                "dice": told("dice_of_cases_kept", value, influence),
                "difference": gap,
                "failures": float(keep @ failed),
            }
        )
    return out


def _span(found: Estimate, digits: int = 2) -> str:
    if not math.isfinite(found.lower):
        return f"{float(found):.{digits}f} (no interval)"
    level = f"{100 * found.level:g} % interval"
    return f"{float(found):.{digits}f} ({level} {found.lower:.{digits}f} to {found.upper:.{digits}f})"


def _sentence(
    label: str,
    error: Estimate,
    rank: Estimate,
    finds: Estimate,
    line: float,
    why: str,
    failures: int,
    curve: Sequence[Mapping[str, Any]],
    state: str,
    patients: int,
) -> str:
    miss = f"it is off by {_span(error)} on average"
    if state == "not enough evidence":
        return (
            f"{label}: not enough evidence on whether the expected Dice tells poor outlines from good ones "
            f"({plural(patients, 'patient')}, rank correlation {number(float(rank), 2)}); {miss}."
        )
    verdict = {
        "knows": "ranks cases as the Dice that is reached does",
        "not shown": "is not shown to rank cases as the Dice that is reached does",
        "misleads": "ranks cases the other way round than the Dice that is reached, and so misleads",
    }[state]
    text = f"{label}: the expected Dice {verdict}: rank correlation {_span(rank)}; {miss}."
    if math.isfinite(finds):
        which = f"a Dice below {line:.2f}" if why == "given" else f"a Dice in the lowest quarter, up to {line:.2f}"
        text += f" It finds the {plural(failures, 'case')} with {which} with an AUROC of {_span(finds)}."
    some = next((row for row in curve if row["share"] == 0.2), None)
    if some is not None and some["difference"] is not None:
        text += (
            f" With the least certain 20 % referred, the mean Dice of the others is {some['dice']['value']:.2f} "
            f"instead of {curve[0]['dice']['value']:.2f}."
        )
    return text
