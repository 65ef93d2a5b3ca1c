"""How far outlined volumes may be off: intervals learned on tune, limits of agreement and coverage on others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom
from scipy.stats import t as student

from aimed.core import DataError, Measure, NotEstimableError
from aimed.metrics.agreement import LimitsOfAgreement, bland_altman, icc
from aimed.metrics.arrays import patient_codes
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, checked_level, notes

__all__ = ["PROMISE", "VolumeInterval", "volume_agreement"]

PROMISE = 0.9
"""Share of new patients whose volume an interval should hold."""

_FLOOR_ML = 0.1
_FLOOR_SHARE = 0.02
_SOME = 1e-9
_FEW = 20
"""With fewer patients a measured coverage is not judged to be right."""

_WORDS = {
    "t": "t prediction interval of the log ratio of volumes",
    "conformal": "split-conformal interval of the log ratio of volumes",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInterval:
    """From an outlined volume to an interval for the volume of the reference.

    Made with `fit`.

    Parameters
    ----------
    level : float
        Share of new patients whose reference it should hold.
    how : {"t", "conformal"}
    low, high : float
        Of log((reference + floor) / (outlined + floor)).
    floor : float
        ml: below it volumes count by their difference rather than their ratio.
    cases, patients : int
        From which it was learned.

    Notes
    -----
    Errors grow with the volume, so that ratios are learned; the floor, 0.1 ml or 2 % of the median volume of the
    reference where that is more, lets small and empty outlines have a width. From 2 / (1 - level) - 1 patients on (19
    at 90 %) the limits are split-conformal: right for exchangeable patients whatever the law of errors. Such limits do
    not exist for fewer patients; there a t prediction interval stands in, which takes log ratios as normal. A patient
    with several scans counts once. Below 5 patients there is none.

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005. Hahn and Meeker, Statistical Intervals,
    1991 (t prediction interval).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = rng.uniform(5, 60, 12)
    >>> found = VolumeInterval.fit(reference * np.exp(rng.normal(0, 0.1, 12)), reference)
    >>> found.how, [round(v, 1) for v in found.interval(20.0)]
    ('t', [17.0, 24.7])
    >>> VolumeInterval.fit([1.0, 2.0], [1.0, 2.0]) is None
    True
    """

    level: float
    how: str
    low: float
    high: float
    floor: float
    cases: int
    patients: int

    @classmethod
    def fit(
        cls, predicted: ArrayLike, reference: ArrayLike, patient: ArrayLike | None = None, level: float = PROMISE
    ) -> VolumeInterval | None:
        """Learn the interval on cases that the network did not learn from.

        Parameters
        ----------
        predicted, reference : float arrays, shape (n,)
            ml. Cases where both are 0 say nothing of errors and are left out, as are those where one is NaN.
        patient : array, shape (n,), optional
            Each case its own patient when absent.
        level : float

        Returns
        -------
        VolumeInterval or None
            None with fewer than 5 patients: not enough evidence.

        Raises
        ------
        DataError
            If shapes differ, or a volume is negative or infinite.
        """
        checked_level(level)
        x, y = np.asarray(predicted, dtype=np.float64), np.asarray(reference, dtype=np.float64)
        if x.shape != y.shape or x.ndim != 1:
            raise DataError(f"volumes of shapes {x.shape} and {y.shape}", "one of each a case")
        _check_volumes(x, y)
        codes = patient_codes(patient, x.size) if x.size else np.empty(0, dtype=np.int64)
        seen = ((x > 0) | (y > 0)) & np.isfinite(x) & np.isfinite(y)
        x, y, codes = x[seen], y[seen], np.unique(codes[seen], return_inverse=True)[1]
        patients = int(codes.max()) + 1 if codes.size else 0
        if patients < LEAST_PATIENTS:
            return None
        floor = max(_FLOOR_ML, _FLOOR_SHARE * float(np.median(y)))
        ratio = np.log((y + floor) / (x + floor))
        weight = 1.0 / np.bincount(codes)[codes] / patients
        tail = (1.0 - level) / 2.0
        if tail * (patients + 1) >= 1.0 - _SOME:
            low, high = -_rank(-ratio, weight, patients, tail), _rank(ratio, weight, patients, tail)
            how = "conformal"
        else:
            middle = float(weight @ ratio)
            spread = math.sqrt(float(weight @ (ratio - middle) ** 2) * patients / (patients - 1))
            half = float(student.ppf(1.0 - tail, patients - 1)) * spread * math.sqrt(1.0 + 1.0 / patients)
            low, high, how = middle - half, middle + half, "t"
        return cls(level=level, how=how, low=low, high=high, floor=floor, cases=int(x.size), patients=patients)

    def interval(self, ml: float) -> tuple[float, float]:
        """Return the interval for the volume of the reference, ml, given the outlined one.

        Raises
        ------
        DataError
            If the volume is negative or not finite.
        """
        if not (math.isfinite(ml) and ml >= 0):
            raise DataError("a volume that is negative or not finite", "millilitres")
        low, high = ((ml + self.floor) * math.exp(end) - self.floor for end in (self.low, self.high))
        return max(0.0, low), max(0.0, high)

    def to_state(self) -> dict[str, Any]:
        """Return the interval as JSON types."""
        return {
            "level": self.level,
            "how": self.how,
            "low": self.low,
            "high": self.high,
            "floor": self.floor,
            "cases": self.cases,
            "patients": self.patients,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VolumeInterval:
        """Rebuild from `to_state`.

        Raises
        ------
        DataError
            If a number is not finite, or the limits are in the wrong order.
        """
        low, high, floor = (float(state[key]) for key in ("low", "high", "floor"))
        if not all(map(math.isfinite, (low, high, floor))) or low > high or floor <= 0 or state["how"] not in _WORDS:
            raise DataError("limits of volumes that are not usable", "two finite numbers in order, and a floor above 0")
        return cls(
            level=checked_level(float(state["level"])),
            how=str(state["how"]),
            low=low,
            high=high,
            floor=floor,
            cases=int(state["cases"]),
            patients=int(state["patients"]),
        )


def _rank(values: Floats, weight: Floats, patients: int, tail: float) -> float:
    """Return the value that a new patient exceeds with a probability of at most `tail`."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) * patients
    place = int(np.searchsorted(reached, (1.0 - tail) * (patients + 1) - _SOME))
    return float(values[order][min(place, values.size - 1)])


def _check_volumes(*each: Floats) -> None:
    if any(((v < 0) | np.isinf(v)).any() for v in each):
        raise DataError("volumes that are negative or infinite", "millilitres, NaN where they are not known")


def volume_agreement(
    predicted: ArrayLike,
    reference: ArrayLike,
    *,
    keys: Sequence[str],
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    intervals: Sequence[VolumeInterval | None] | None = None,
    level: float = 0.95,
) -> dict[str, Any]:
    """Set outlined volumes against those of the reference, and count how often learned intervals held the latter.

    Parameters
    ----------
    predicted, reference : float arrays, shape (n, k)
        ml by case and region; NaN where one is not known, as where not all of a scan was looked at.
    keys : k strings
    labels : k strings, optional
        For people; the keys when absent.
    patient : array, shape (n,), optional
        Cases of one patient are dependent.
    intervals : k VolumeInterval or None, optional
        As learned on other patients.
    level : float
        Coverage of the intervals of the estimates, not of the learned ones.

    Returns
    -------
    dict
        The ``volumes`` block: ``n``, ``patients``, ``level``, ``unit``, ``method``, ``note`` and ``regions`` by key:
        ``label``, ``n``, ``both_empty``, ``unknown`` (cases that are left out), ``reference_ml`` and
        ``prediction_ml`` (``median``, ``q1``, ``q3``, or None),
        ``absolute`` (ml) and ``percent`` (of the mean of both, Bland and Altman), each with ``unit``, ``n``, measures
        ``bias``, ``low`` and ``high`` (limits of agreement), ``slope`` (measure: change of the difference for a unit of
        the mean) and ``note``; measures ``error`` (mean absolute difference, ml) and ``icc`` (agreement);
        ``interval`` or None (``promise``, ``how``, ``method``, ``cases``, ``patients``, ``floor_ml``, ``factors``,
        ``coverage``: measure with ``p`` and ``state``, ``width_percent``: median width over the outlined volume, or
        None); ``points`` (``case`` from 1, ``reference_ml``, ``prediction_ml``, ``lower``, ``upper`` or None);
        ``state`` ("held", "below", "not enough evidence") of the coverage, and ``sentence``.

    Raises
    ------
    DataError
        If shapes differ, there is no case, or a volume is negative or infinite.

    Notes
    -----
    Differences are outlined less reference. Limits of agreement have exact intervals (noncentral t), or Zou's where
    patients have several scans. Cases where both volumes are 0 agree by emptiness and are left out of limits, error and
    correlation; they are counted. Coverage is "below" when so few held would come about by chance with a
    probability under (1 - level) / 2, with the cases of tune and these alike scattering (beta-binomial law); "not
    enough evidence" below 20 patients otherwise.

    References
    ----------
    Bland and Altman, Stat Methods Med Res 1999;8:135. Carkeet, Optom Vis Sci 2015;92:e71. Koo and Li, J Chiropr Med
    2016;15:155 (intraclass correlation).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = rng.uniform(5, 60, (40, 1))
    >>> found = true * np.exp(rng.normal(0, 0.1, (40, 1)))
    >>> learned = VolumeInterval.fit(found[:20, 0], true[:20, 0])
    >>> one = volume_agreement(found[20:], true[20:], keys=["a"], intervals=[learned])["regions"]["a"]
    >>> one["absolute"]["low"]["value"] < one["absolute"]["bias"]["value"] < one["absolute"]["high"]["value"]
    True
    >>> round(one["interval"]["coverage"]["value"], 2), one["state"]
    (0.85, 'held')
    """
    checked_level(level)
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    titles = [str(title) for title in (keys if labels is None else labels)]
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] != len(keys) or len(titles) != len(keys) or not len(x):
        raise DataError(f"volumes of shapes {x.shape} and {y.shape}", f"(n, {len(keys)}), both, and one case at least")
    _check_volumes(x, y)
    codes = patient_codes(patient, len(x))
    learned = list(intervals) if intervals is not None else [None] * len(keys)
    if len(learned) != len(keys):
        raise DataError(f"{len(learned)} intervals for {len(keys)} regions", "one a region, or None for one without")
    return {
        "n": len(x),
        "patients": int(codes.max()) + 1,
        "level": level,
        "unit": "ml",
        "method": "limits of agreement of Bland and Altman, outlined less reference; intervals over patients",
        "regions": {
            key: _region(titles[j], x[:, j], y[:, j], codes, learned[j], key, level) for j, key in enumerate(keys)
        },
        "note": "Equal volumes may lie in different places: agreement of volumes does not show that outlines are "
        "right. Learned intervals promise their share over patients like those of tune, not for each kind of patient.",
    }


def _region(
    label: str,
    x: Floats,
    y: Floats,
    codes: NDArray[np.int64],
    learned: VolumeInterval | None,
    key: str,
    level: float,
) -> dict[str, Any]:
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    unknown = x.size - rows.size
    x, y, codes = x[rows], y[rows], np.unique(codes[rows], return_inverse=True)[1]
    some = (x > 0) | (y > 0)
    who = np.unique(codes[some], return_inverse=True)[1] if some.any() else codes[:0]
    a, b = x[some], y[some]
    absolute = _limits(a, b, who, key, level, "ml")
    percent = _limits(200.0 * a / (a + b), 200.0 * b / (a + b), who, key, level, "%")
    error = (
        case_mean(np.abs(a - b), who, level=level, name=f"volume_error@{key}", bounds=(0.0, math.inf))
        if a.size
        else Estimate(math.nan, name=f"volume_error@{key}", level=level, note=_EMPTY)
    )
    ends = [learned.interval(float(v)) if learned is not None else (None, None) for v in x]
    told = None if learned is None or not x.size else _coverage(learned, x, y, codes, key, level)
    state = "not enough evidence" if told is None else str(told["coverage"]["state"])
    return {
        "label": label,
        "n": int(a.size),
        "both_empty": int((~some).sum()),
        "unknown": unknown,
        "reference_ml": _spread(y),
        "prediction_ml": _spread(x),
        "absolute": absolute,
        "percent": percent,
        "error": error.measure().to_dict(),
        "icc": _icc(a, b, who, key, level),
        "interval": told,
        "points": [
            {"case": int(row) + 1, "reference_ml": float(r), "prediction_ml": float(p), "lower": low, "upper": high}
            for row, p, r, (low, high) in zip(rows, x, y, ends, strict=True)
        ],
        "state": state,
        "sentence": _sentence(label, absolute, told, int(a.size)),
    }


_EMPTY = "no case in which either volume is above 0"


def _spread(values: Floats) -> dict[str, float | None]:
    if not values.size:
        return dict.fromkeys(("median", "q1", "q3"))
    return {
        name: float(v) for name, v in zip(("median", "q1", "q3"), np.quantile(values, [0.5, 0.25, 0.75]), strict=True)
    }


def _missing(name: str, level: float, n: int, why: str) -> dict[str, Any]:
    return Measure(name=name, value=None, n=n, level=level, note=why).to_dict()


def _limits(a: Floats, b: Floats, who: NDArray[np.int64], key: str, level: float, unit: str) -> dict[str, Any]:
    """Return bias and limits of agreement; in per cent `a` and `b` are shares of the mean of both, times 100."""
    names = {part: f"{name}@{key}" for part, name in _PARTS.items()}
    patients = int(np.unique(who).size)
    base: dict[str, Any] = {"unit": unit, "n": int(a.size)}
    found: LimitsOfAgreement | None = None
    why = f"{patients} patients, and {LEAST_PATIENTS} are needed" if a.size else _EMPTY
    if patients >= LEAST_PATIENTS:
        try:
            found = bland_altman(a, b, patient=who, level=level)
        except NotEstimableError as error:
            why = error.got
    if found is None:
        known = a.size > 0
        bias = Measure(
            name=names["bias"], value=float((a - b).mean()) if known else None, n=int(a.size), level=level,
            note=f"no interval: {why}" if known else why,
        )  # fmt: skip
        missing = {part: _missing(names[part], level, int(a.size), why) for part in ("low", "high", "slope")}
        return base | {"bias": bias.to_dict(), **missing, "note": why}
    parts: dict[str, Any] = {}
    for part in ("bias", "low", "high", "slope"):
        one: Estimate = getattr(found, part)
        parts[part] = one.measure().to_dict() | {"name": names[part]}
    if unit == "%":
        # Both are scaled to a mean of 100, so that there is no size left to depend on.
        parts["slope"] = _missing(names["slope"], level, int(a.size), "volumes are scaled to their mean")
    return base | parts | {"note": found.note}


_PARTS = {"bias": "bias", "low": "lower_limit", "high": "upper_limit", "slope": "proportional_bias"}


def _icc(a: Floats, b: Floats, who: NDArray[np.int64], key: str, level: float) -> dict[str, Any]:
    name = f"icc@{key}"
    patients = int(np.unique(who).size)
    if patients < LEAST_PATIENTS:
        return _missing(name, level, int(a.size), f"{patients} patients, and {LEAST_PATIENTS} are needed")
    try:
        found = icc(np.column_stack([a, b]), level=level)
    except NotEstimableError as error:
        return _missing(name, level, int(a.size), error.got)
    record = found.measure().to_dict() | {"name": name, "n": int(a.size)}
    if patients < a.size:
        why = "no interval: patients have several scans"
        record |= {"lower": None, "upper": None, "method": "", "note": notes(record["note"], why)}
    return record


def _coverage(
    learned: VolumeInterval, x: Floats, y: Floats, codes: NDArray[np.int64], key: str, level: float
) -> dict[str, Any]:
    ends = np.array([learned.interval(float(v)) for v in x])
    held = ((y >= ends[:, 0] - 1e-9) & (y <= ends[:, 1] + 1e-9)).astype(np.float64)
    by_patient = np.bincount(codes, held) / np.bincount(codes)
    found = mean_share(by_patient, level=level, name=f"coverage@{key}")
    m, of = by_patient.size, learned.patients
    hits = math.ceil(float(by_patient.sum()) - _SOME)
    p = float(betabinom.cdf(hits, m, learned.level * (of + 1), (1.0 - learned.level) * (of + 1)))
    low = p < (1.0 - level) / 2.0
    state = "below" if low else "held" if m >= _FEW else "not enough evidence"
    drawn = x > 0
    width = float(np.median((ends[drawn, 1] - ends[drawn, 0]) / x[drawn])) if drawn.any() else None
    few = "" if m >= LEAST_PATIENTS else f"no interval: {m} patients, and {LEAST_PATIENTS} are needed"
    record = found.measure().to_dict() | {"n": int(x.size), "events": int(held.sum())}
    if few:
        record |= {"lower": None, "upper": None, "method": "", "note": few}
    return {
        "promise": learned.level,
        "how": learned.how,
        "method": _WORDS[learned.how],
        "cases": learned.cases,
        "patients": learned.patients,
        "floor_ml": learned.floor,
        "factors": [math.exp(learned.low), math.exp(learned.high)],
        "coverage": {**record, "patients": m, "p": p, "state": state},
        "width_percent": None if width is None else 100.0 * width,
    }


def _sentence(label: str, absolute: Mapping[str, Any], told: Mapping[str, Any] | None, n: int) -> str:
    bias, low, high = (absolute[part]["value"] for part in ("bias", "low", "high"))
    if bias is None:
        return f"{label}: {_EMPTY}."
    more = "larger" if bias > 0 else "smaller"
    text = f"{label}: outlined volumes are {abs(bias):.1f} ml {more} than the reference on average"
    if low is None:
        text += f"; not enough evidence for limits of agreement (n = {n})."
    else:
        text += f", and 95 % of differences lie between about {low:.1f} and {high:.1f} ml (n = {n})."
    if told is None:
        return f"{text} No interval could be learned for a single volume: not enough evidence on tune."
    promise, found = 100 * told["promise"], told["coverage"]
    text += (
        f" Intervals for a single volume that should hold {promise:g} % of patients held "
        f"{100 * found['value']:.0f} % of {found['patients']}"
    )
    words = {"held": ".", "below": ", below the promise.", "not enough evidence": ", too few to judge."}
    return text + words[found["state"]]
