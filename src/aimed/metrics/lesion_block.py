"""Lesions of many scans: how many were found, made up, and at what price in false alarms, one scan at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean, ratio_of_cases
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate, checked_level, notes
from aimed.metrics.segmentation_lesions import (
    FALSE_POSITIVES,
    LesionCounts,
    froc_of_candidates,
    lesion_candidates,
    lesion_counts,
)

__all__ = ["LEAST_ML", "SIZES", "Lesions"]

LEAST_ML = 0.05
"""Smaller pieces are no lesions, as in the BraTS challenges (50 mm3)."""

SIZES = (0.0, 1.0, 10.0)
"""Lower ends, in ml, of the classes of size in which sensitivity is told."""

_Candidates = tuple[FloatArray, FloatArray]


class Lesions:
    """Lesion-wise detection by region, gathered over scans; nothing but counts is kept of a scan.

    Parameters
    ----------
    keys : sequence of str
        Of the regions.
    labels : sequence of str, optional
        For people; the keys when absent.
    min_ml : float
        Smaller pieces are neither lesions nor false alarms.
    least : float in (0, 1]
        Candidates of the free-response curve are pieces of voxels with at least this probability.
    sizes : sequence of float
        Lower ends of classes of size, ml, from 0.

    Notes
    -----
    Lesions are pieces connected over faces, edges and corners; any shared voxel is a match. Shares are pooled over the
    lesions of all scans, with Wilson's interval clustered by patient; F1 and false alarms a scan have the interval of a
    ratio over patients. Below 5 patients there is none.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. Bunch et al., Proc SPIE 1977;127:124 (free-response curve).

    Examples
    --------
    >>> truth = np.zeros((1, 4, 4, 9), dtype=bool); truth[0, 1:3, 1:3, 1:3] = truth[0, 1:3, 1:3, 6:8] = True
    >>> found = truth.copy(); found[..., 6:] = False
    >>> seen = Lesions(["a"], min_ml=0.0)
    >>> seen.add(truth, found, 0.001)
    >>> one = seen.block()["regions"]["a"]
    >>> one["lesions"], one["sensitivity"]["value"], one["f1"]["value"]
    (2, 0.5, 0.6666666666666666)
    """

    def __init__(
        self,
        keys: Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        min_ml: float = LEAST_ML,
        least: float = 0.1,
        sizes: Sequence[float] = SIZES,
    ) -> None:
        titles = list(keys if labels is None else labels)
        if not keys or len(titles) != len(keys) or len(set(keys)) != len(keys):
            raise DataError(f"{len(titles)} labels for {len(set(keys))} different regions", "one a region")
        if not min_ml >= 0 or not 0 < least <= 1:
            raise DataError("min_ml is negative, or least lies outside (0, 1]", "such as 0.05 and 0.1")
        if not sizes or sizes[0] != 0 or list(sizes) != sorted(set(sizes)):
            raise DataError("classes of size that do not rise from 0", "such as (0, 1, 10)")
        self.keys, self.labels = list(keys), [str(title) for title in titles]
        self.min_ml, self.least, self.sizes = float(min_ml), float(least), [float(s) for s in sizes]
        self.scans = 0
        self._counts: list[list[LesionCounts]] = []
        self._voxel: list[float] = []
        self._candidates: list[list[_Candidates]] = []

    def add(
        self,
        reference: NDArray[np.bool_],
        prediction: NDArray[np.bool_],
        voxel_ml: float,
        *,
        probability: NDArray[Any] | None = None,
        reference_there: NDArray[np.bool_] | None = None,
        voxel_ml_there: float | None = None,
    ) -> None:
        """Take in one scan.

        Parameters
        ----------
        reference, prediction : bool arrays, shape (regions, z, y, x)
        voxel_ml : float
            Volume of a voxel.
        probability : float array, shape (regions, z, y, x), optional
            Given for all scans or for none; may be on a grid of its own.
        reference_there : bool array of that shape, optional
            The reference on the grid of `probability`; `reference` when absent.
        voxel_ml_there : float, optional
            Volume of a voxel of that grid; `voxel_ml` when absent.

        Raises
        ------
        DataError
            If shapes differ, or probabilities are given for some scans only.
        """
        if reference.shape != prediction.shape or reference.ndim != 4 or len(reference) != len(self.keys):
            raise DataError(
                f"masks of shapes {reference.shape} and {prediction.shape}", f"({len(self.keys)}, z, y, x), both"
            )
        if not (math.isfinite(voxel_ml) and voxel_ml > 0):
            raise DataError("a voxel without a volume", "millilitres")
        if self.scans and (probability is None) != (not self._candidates):
            raise DataError("probabilities of some scans and not of others", "all or none")
        least = self._voxels(voxel_ml)
        self._counts.append([lesion_counts(a, b, min_voxels=least) for a, b in zip(reference, prediction, strict=True)])
        self._voxel.append(float(voxel_ml))
        if probability is not None:
            truth = reference if reference_there is None else reference_there
            if truth.shape != probability.shape:
                raise DataError(
                    f"probabilities of shape {probability.shape} and a reference of {truth.shape}", "one grid"
                )
            there = self._voxels(voxel_ml if voxel_ml_there is None else voxel_ml_there)
            self._candidates.append(
                [
                    lesion_candidates(a, p, least=self.least, min_voxels=there)
                    for a, p in zip(truth, probability, strict=True)
                ]
            )
        self.scans += 1

    def _voxels(self, voxel_ml: float) -> int:
        return max(1, math.ceil(self.min_ml / voxel_ml - 1e-9))

    def block(
        self,
        patient: ArrayLike | None = None,
        *,
        level: float = 0.95,
        draws: int = 1000,
        seed: int = 0,
        false_positives: Sequence[float] = FALSE_POSITIVES,
    ) -> dict[str, Any]:
        """Return what was found.

        Parameters
        ----------
        patient : array, shape (scans,), optional
            In the order of `add`; each scan its own patient when absent.
        level : float
        draws, seed : int
            Of the intervals of the free-response curve.
        false_positives : sequence of float
            A scan, at which its sensitivity is told.

        Returns
        -------
        dict
            The ``lesions`` block: ``n`` (scans), ``patients``, ``level``, ``draws``, ``min_ml``, ``method``, ``note``
            and ``regions`` by key: ``label``, counts of ``lesions``, ``found``, ``missed``, ``predicted``, ``right``,
            ``wrong``; measures ``sensitivity``, ``precision``, ``f1``, ``wrong_a_scan``; ``sizes`` (``low``, ``high``
            or None, ``label``, ``sensitivity``); ``froc`` or None (``axis``, ``least``, ``points`` of
            ``false_positives``, ``sensitivity``, ``lower``, ``upper``, ``threshold`` or None; ``average``,
            ``lesions``, ``candidates``, ``note``); ``state`` ("estimated", "not enough evidence") and ``sentence``.

        Raises
        ------
        DataError
            If no scan was taken in.
        """
        checked_level(level)
        if not self.scans:
            raise DataError("no scan", "at least 1")
        codes = patient_codes(patient, self.scans)
        return {
            "n": self.scans,
            "patients": int(codes.max()) + 1,
            "level": level,
            "draws": draws,
            "min_ml": self.min_ml,
            "method": f"pieces of at least {self.min_ml:g} ml connected over faces, edges and corners, matched by any "
            "shared voxel; shares over the lesions of all scans, intervals clustered by patient",
            "regions": {
                key: self._region(place, codes, level, draws, seed, false_positives)
                for place, key in enumerate(self.keys)
            },
            "note": "Lesions that touch are one, and an outline that runs over two lesions finds both: where lesions "
            "lie close together these numbers are too good.",
        }

    def _region(
        self, place: int, codes: IntArray, level: float, draws: int, seed: int, rates: Sequence[float]
    ) -> dict[str, Any]:
        key, counts = self.keys[place], [row[place] for row in self._counts]
        lesions, predicted = (np.array([getattr(c, what) for c in counts]) for what in ("reference", "prediction"))
        found, right = (np.array([getattr(c, what) for c in counts]) for what in ("found", "right"))
        wrong = predicted - right
        sensitivity = _share(found, lesions, codes, level, f"lesion_sensitivity@{key}", "the reference has no lesion")
        precision = _share(right, predicted, codes, level, f"lesion_precision@{key}", "no lesion was outlined")
        f1 = ratio_of_cases(
            2.0 * found, found + lesions + wrong, codes, level=level, name=f"lesion_f1@{key}", bounds=(0.0, 1.0),
            scale="logit", n=int((lesions + wrong).sum()), events=int(found.sum()),
        )  # fmt: skip
        alarms = case_mean(wrong, codes, level=level, name=f"wrong_lesions@{key}", bounds=(0.0, math.inf))
        told = math.isfinite(sensitivity.lower)
        return {
            "label": self.labels[place],
            "n": self.scans,
            "lesions": int(lesions.sum()),
            "found": int(found.sum()),
            "missed": int((lesions - found).sum()),
            "predicted": int(predicted.sum()),
            "right": int(right.sum()),
            "wrong": int(wrong.sum()),
            "sensitivity": _record(sensitivity),
            "precision": _record(precision),
            "f1": _record(f1),
            "wrong_a_scan": _record(alarms),
            "sizes": self._sizes(place, counts, codes, level),
            "froc": self._froc(place, codes, level, draws, seed, rates),
            "state": "estimated" if told else "not enough evidence",
            "sentence": _sentence(self.labels[place], sensitivity, found, lesions, wrong, predicted),
        }

    def _sizes(self, place: int, counts: Sequence[LesionCounts], codes: IntArray, level: float) -> list[dict[str, Any]]:
        ml = [c.voxels * volume for c, volume in zip(counts, self._voxel, strict=True)]
        out = []
        for low, high in zip(self.sizes, [*self.sizes[1:], math.inf], strict=True):
            here = [(volume >= low) & (volume < high) for volume in ml]
            hits = np.array([(c.hit & h).sum() for c, h in zip(counts, here, strict=True)])
            there = np.array([h.sum() for h in here])
            name = f"lesion_sensitivity@{self.keys[place]}"
            found = _share(hits, there, codes, level, name, "no lesion of this size")
            words = f"{low:g} to {high:g} ml" if math.isfinite(high) else f"{low:g} ml or more"
            out.append(
                {
                    "low": low,
                    "high": high if math.isfinite(high) else None,
                    "label": words if low else (f"under {high:g} ml" if math.isfinite(high) else "any size"),
                    "sensitivity": _record(found),
                }
            )
        return out

    def _froc(
        self, place: int, codes: IntArray, level: float, draws: int, seed: int, rates: Sequence[float]
    ) -> dict[str, Any] | None:
        if not self._candidates:
            return None
        axis = "false positives a scan"
        try:
            found = froc_of_candidates(
                [row[place] for row in self._candidates], least=self.least, false_positives=rates, patient=codes,
                draws=draws, level=level, seed=seed,
            )  # fmt: skip
        except NotEstimableError as error:
            return {"axis": axis, "least": self.least, "points": [], "average": None, "lesions": 0,
                    "candidates": sum(row[place][1].size for row in self._candidates), "note": error.got}  # fmt: skip
        few = int(codes.max()) + 1 < LEAST_PATIENTS
        note = f"no interval: fewer than {LEAST_PATIENTS} patients" if few else found.note
        average = _record(found.average) | {"name": f"average_sensitivity@{self.keys[place]}"}
        if few:
            average |= {"lower": None, "upper": None, "method": "", "note": note}
        return {
            "axis": axis,
            "least": self.least,
            "points": [
                {
                    "false_positives": float(rate),
                    "sensitivity": _number(value),
                    "lower": None if few else _number(low),
                    "upper": None if few else _number(high),
                    "threshold": _number(cut),
                }
                for rate, value, low, high, cut in zip(
                    found.x, found.value, found.lower, found.upper, found.threshold, strict=True
                )
            ],
            "average": average,
            "lesions": found.lesions,
            "candidates": found.candidates,
            "note": note,
        }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _record(found: Estimate | Measure) -> dict[str, Any]:
    return (found if isinstance(found, Measure) else found.measure()).to_dict()


def _share(
    some: NDArray[np.int64], all_: NDArray[np.int64], codes: IntArray, level: float, name: str, why: str
) -> Estimate:
    """Return the share of lesions, with patients as units."""
    total = int(all_.sum())
    if not total:
        return Estimate(math.nan, name=name, level=level, note=why)
    who = np.repeat(codes, all_)
    hits = np.concatenate([np.arange(n) < k for k, n in zip(some, all_, strict=True)]).astype(np.float64)
    found = mean_share(hits, patient=who, level=level, name=name)
    units = int(np.unique(who).size)
    if units < LEAST_PATIENTS:
        return Estimate(
            float(found), name=name, n=found.n, events=found.events, level=level,
            note=f"no interval: {units} patients, and {LEAST_PATIENTS} are needed",
        )  # fmt: skip
    found.note = notes(found.note)
    return found


def _sentence(
    label: str,
    sensitivity: Estimate,
    found: NDArray[np.int64],
    lesions: NDArray[np.int64],
    wrong: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> str:
    if not lesions.sum():
        text = f"{label}: no scan has a lesion of this kind, so that nothing could be found"
    else:
        span = (
            f", {100 * sensitivity.level:g} % interval {100 * sensitivity.lower:.0f} to {100 * sensitivity.upper:.0f} %"
            if math.isfinite(sensitivity.lower)
            else ", too few patients for an interval"
        )
        text = f"{label}: {found.sum()} of {lesions.sum()} lesions were found ({100 * float(sensitivity):.0f} %{span})"
    if not predicted.sum():
        return f"{text}; nothing was outlined."
    return f"{text}; {wrong.sum()} of {predicted.sum()} outlined pieces lie on no lesion."
