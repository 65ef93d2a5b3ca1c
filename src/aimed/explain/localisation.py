"""Whether heat maps point at the lesion: peak, share inside and overlap, each beside what chance would give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.metrics.arrays import patient_codes
from aimed.metrics.proportions import wilson
from aimed.metrics.result import Estimate, clustered_variance

__all__ = ["FEWEST", "MapCheck", "box_masks", "localisation", "mean_by_patient", "span"]


FEWEST = 5
"""Patients below which no check of heat maps gives a verdict."""

_LITTLE = 0.2
"""Share of the way from chance to always hitting; with the upper limit below it, a map does not point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCheck:
    """What a check of heat maps found.

    Parameters
    ----------
    check : str
    passed : bool or None
        None when there is not enough evidence.
    sentence : str
    estimates : mapping of str to Estimate
    chance : mapping of str to float
        What the estimate of that name would be by chance.
    steps : sequence of dict
        Results along the way, where the check has several steps.
    """

    check: str
    passed: bool | None
    sentence: str
    estimates: Mapping[str, Estimate]
    chance: Mapping[str, float] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record in plain types; numbers that are not known are None."""
        return {
            "check": self.check,
            "passed": self.passed,
            "sentence": self.sentence,
            "estimates": {name: one.measure().to_dict() for name, one in self.estimates.items()},
            "chance": dict(self.chance),
            "steps": [
                {k: v.measure().to_dict() if isinstance(v, Estimate) else v for k, v in step.items()}
                for step in self.steps
            ],
        }


def mean_by_patient(
    values: NDArray[np.float64], patient: ArrayLike | None = None, *, level: float = 0.95, name: str = "mean"
) -> Estimate:
    """Return the mean over pictures with its interval over patients (t).

    Parameters
    ----------
    values : float array, shape (n,)
    patient : array, shape (n,), optional
        Each picture its own patient when absent.
    level : float
    name : str

    Examples
    --------
    >>> mean_by_patient(np.array([1.0, 2.0, 3.0]), level=0.9).lower < 2
    True
    """
    middle = float(values.mean())
    units = np.arange(values.size) if patient is None else np.asarray(patient)
    return Estimate.from_influence(middle, (values - middle) / values.size, units, level=level, name=name)


def span(one: Estimate) -> str:
    """Return an interval in words, or that there is none.

    Examples
    --------
    >>> span(Estimate(0.5, name="a", lower=0.25, upper=0.75))
    '0.50 (95 % interval 0.25 to 0.75)'
    """
    if not math.isfinite(one.lower):
        return f"{float(one):.2f} (no interval)"
    return f"{float(one):.2f} ({100 * one.level:g} % interval {one.lower:.2f} to {one.upper:.2f})"


def box_masks(
    boxes: Sequence[Sequence[tuple[float, float, float, float]]], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return masks of pixels whose centres lie in any of a picture's boxes.

    Parameters
    ----------
    boxes : sequence, length n, of sequences of (top, left, bottom, right)
        In pixels of the map; edges, not centres: the first pixel spans 0 to 1.
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    bool array, shape (n, y, x)

    Examples
    --------
    >>> box_masks([[(0, 0, 1, 2)]], (2, 2)).astype(int).tolist()
    [[[1, 1], [0, 0]]]
    """
    masks = np.zeros((len(boxes), *shape), dtype=bool)
    y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    for mask, some in zip(masks, boxes, strict=True):
        for top, left, bottom, right in some:
            mask |= (top <= y) & (y < bottom) & (left <= x) & (x < right)
    return masks


def localisation(
    maps: ArrayLike,
    masks: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    visible: ArrayLike | None = None,
    peak_share: float = 0.5,
    level: float = 0.95,
) -> MapCheck:
    """Compare heat maps of one finding with where it is.

    Parameters
    ----------
    maps : float array, shape (n, y, x)
        Of pictures with the finding; what is below 0 counts as 0.
    masks : bool array, shape (n, y, x)
        The lesion; see `box_masks` for boxes. Each has at least one pixel.
    patient : array, shape (n,), optional
        Pictures of one patient are dependent.
    visible : bool array, shape (n, y, x), optional
        Where the frame holds the picture: chance only strikes there, and so lies higher. All of it when absent.
    peak_share : float
        The overlap is that of the pixels with at least this share of the map's peak.
    level : float

    Returns
    -------
    MapCheck
        ``pointing``: share of pictures with the peak in the lesion. ``inside``: share of the map inside it. ``iou``:
        intersection over union. ``inside_gain`` and ``iou_gain``: how far those lie above chance, picture by picture.
        It passes if the whole interval of ``pointing`` lies above chance, and fails if it reaches less than a fifth of
        the way from chance to 1; otherwise, or with fewer than 5 patients, there is not enough evidence.

    Raises
    ------
    DataError
        If shapes differ, a map is not finite, or a mask is empty.

    Notes
    -----
    Chance of the first two is the area of the mask; of the overlap, that of m pixels thrown at random. A peak of
    several pixels counts by their share inside; a map without a positive value misses. The interval of ``pointing`` is
    Wilson's with the effective number of pictures, p (1 - p) / variance over patients, or that of patients where there
    is no variance.

    References
    ----------
    Zhang et al., IJCV 2018;126:1084 (pointing game). Saporta et al., Nat Mach Intell 2022;4:867. Korn and Graubard,
    Survey Methodology 1998;24:193.

    Examples
    --------
    >>> masks = np.zeros((40, 10, 10), dtype=bool); masks[:, 2:5, 2:5] = True
    >>> localisation(masks.astype(float), masks).sentence
    'The peak of the map lies in the lesion in 100 % of 40 pictures (95 % interval 91 to 100), where chance is 9 %:
    more often than chance.'
    """
    heat, inside = np.asarray(maps, dtype=np.float64), np.asarray(masks, dtype=bool)
    if heat.ndim != 3 or 0 in heat.shape or heat.shape != inside.shape:
        raise DataError(f"maps of shape {heat.shape} and masks of shape {inside.shape}", "both (n, y, x)")
    if not np.isfinite(heat).all():
        raise DataError("maps with values that are not finite", "numbers")
    if not 0 < peak_share <= 1:
        raise DataError("a share of the peak outside (0, 1]", "such as 0.5")
    n = heat.shape[0]
    heat, inside = np.maximum(heat, 0).reshape(n, -1), inside.reshape(n, -1)
    if not inside.any(axis=1).all():
        raise DataError("a mask without a pixel", "pictures with the finding only")
    seen = np.ones_like(inside) if visible is None else np.asarray(visible, dtype=bool).reshape(n, -1)
    if seen.shape != inside.shape or (inside & ~seen).any():
        raise DataError("a mask that reaches out of its picture", "lesions where the picture is visible")
    pixels = seen.sum(axis=1)
    area, peak, total = inside.sum(axis=1) / pixels, heat.max(axis=1), heat.sum(axis=1)
    shown = peak > 0
    top, above = (shown[:, None] & (heat >= share * peak[:, None]) for share in (1.0, peak_share))
    hit = (top & inside).sum(axis=1) / np.maximum(top.sum(axis=1), 1)
    energy = np.where(shown, (heat * inside).sum(axis=1) / np.where(shown, total, 1), 0.0)
    overlap = (above & inside).sum(axis=1) / (above | inside).sum(axis=1)
    marked = (above & seen).sum(axis=1) / pixels
    by_chance = marked * area / (marked + area - marked * area)

    pointing, chance = _pointing(hit, patient, level), float(area.mean())
    estimates = {
        "pointing": pointing,
        "inside": mean_by_patient(energy, patient, level=level, name="inside"),
        "inside_gain": mean_by_patient(energy - area, patient, level=level, name="inside_gain"),
        "iou": mean_by_patient(overlap, patient, level=level, name="iou"),
        "iou_gain": mean_by_patient(overlap - by_chance, patient, level=level, name="iou_gain"),
    }
    passed = None
    if (n if patient is None else int(patient_codes(patient, n).max()) + 1) >= FEWEST:
        little = chance + _LITTLE * (1 - chance)
        passed = True if pointing.lower > chance else False if pointing.upper < little else None
    verdict = {True: "more often than chance", False: "the maps do not point at it", None: "not enough evidence"}[
        passed
    ]
    sentence = (
        f"The peak of the map lies in the lesion in {100 * pointing:.0f} % of {n} pictures ({100 * level:g} % interval "
        f"{100 * pointing.lower:.0f} to {100 * pointing.upper:.0f}), where chance is {100 * chance:.0f} %: {verdict}."
    )
    if not shown.all():
        sentence += f" Empty maps, which count as misses: {int((~shown).sum())}."
    return MapCheck(
        check="localisation",
        passed=passed,
        sentence=sentence,
        estimates=estimates,
        chance={"pointing": chance, "inside": chance, "iou": float(by_chance.mean())},
    )


def _pointing(hit: NDArray[np.float64], patient: ArrayLike | None, level: float) -> Estimate:
    n, share = hit.size, float(hit.mean())
    units = n if patient is None else int(patient_codes(patient, n).max()) + 1
    variance = clustered_variance((hit - share) / n, patient)
    effective = float(np.clip(share * (1 - share) / variance, 1.0, n)) if variance > 1e-15 else float(units)
    lower, upper = wilson(share * effective, effective, level)
    return Estimate(
        share, name="pointing", lower=lower, upper=upper, se=math.sqrt(variance), n=n, level=level,
        method=f"Wilson with an effective number of {effective:.1f} pictures of {units} patients",
    )  # fmt: skip
