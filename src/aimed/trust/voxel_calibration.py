"""Whether the chances of single voxels are right, and whether doubt tells wrong voxels from right ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, Measure
from aimed.metrics.arrays import patient_codes
from aimed.metrics.calibration_binary import distance_limits
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean, ratio_of_cases
from aimed.metrics.draws import PatientDraws, percentile_interval
from aimed.metrics.result import Estimate, checked_level, notes
from aimed.trust.words import number, plural

__all__ = ["BINS", "LEAST", "VoxelCalibration", "wrong_voxels_auroc"]

BINS = 15
"""Classes of probability, of equal width."""

LEAST = 0.01
"""Voxels with a lower probability are trivially outside and are not looked at."""

_FINE = 2048
_FEW_WRONG = 10
_FEW = 10
_ENOUGH_VOXELS = 50

Floats = NDArray[np.float64]


def wrong_voxels_auroc(right: ArrayLike, wrong: ArrayLike) -> float:
    """Return the chance that a wrong voxel has more doubt than a right one, from counts by class of doubt.

    Parameters
    ----------
    right, wrong : arrays, shape (classes,)
        Voxels, from the least doubt to the most; voxels of one class count one half.

    Returns
    -------
    float
        NaN where there are none of either.

    Examples
    --------
    >>> wrong_voxels_auroc([4, 2], [1, 2])
    0.666...
    """
    good, bad = np.asarray(right, dtype=np.float64), np.asarray(wrong, dtype=np.float64)
    if not good.sum() or not bad.sum():
        return math.nan
    below = np.cumsum(good) - good
    return float(bad @ (below + 0.5 * good) / (good.sum() * bad.sum()))


class VoxelCalibration:
    """Reliability of the probabilities of voxels by region, gathered over scans; only histograms are kept of a scan.

    Parameters
    ----------
    keys : sequence of str
        Of the regions.
    labels : sequence of str, optional
        For people; the keys when absent.
    bins : int
        Classes of probability.
    least : float in [0, 1)
        Voxels with a lower probability are left out: nearly all of a head is trivially outside, and would make any
        model look calibrated.

    Notes
    -----
    What is looked at is chosen by the probability alone, never by the reference, which would bend the curve. The share
    of the reference that lies in voxels left out is told. Voxels of a scan are dependent: intervals are over
    patients. Doubt is the entropy of the probability, and the spread over networks or changed scans where there is one;
    its AUROC is within each scan, over the voxels that are looked at, and averaged over scans.

    References
    ----------
    Guo et al., ICML 2017 (expected calibration error). Mehrtash et al., IEEE TMI 2020;39:3868 (calibration in
    segmentation). Jungo, Balsiger and Reyes, Front Neurosci 2020;14:282.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> seen = VoxelCalibration(["a"])
    >>> for _ in range(12):
    ...     p = rng.random((1, 8, 8, 8))
    ...     seen.add(p, rng.random(p.shape) < p)
    >>> one = seen.block(draws=100)["regions"]["a"]
    >>> one["ece"]["value"] < 0.05, round(one["doubt"]["entropy"]["value"], 1), one["state"]
    (True, 0.7, 'knows')
    """

    def __init__(
        self, keys: Sequence[str], labels: Sequence[str] | None = None, *, bins: int = BINS, least: float = LEAST
    ) -> None:
        titles = list(keys if labels is None else labels)
        if not keys or len(titles) != len(keys) or len(set(keys)) != len(keys):
            raise DataError(f"{len(titles)} labels for {len(set(keys))} different regions", "one a region")
        if bins < 2 or not 0 <= least < 1:
            raise DataError("fewer than 2 classes, or least outside [0, 1)", "such as 15 and 0.01")
        self.keys, self.labels, self.bins, self.least = list(keys), [str(t) for t in titles], int(bins), float(least)
        self.scans = 0
        self._head = False
        self._spread: bool | None = None
        # By scan and region: voxels, sum of p and reference by class; then sums of one scan.
        self._classes: list[Floats] = []
        self._sums: list[Floats] = []
        self._doubt: dict[str, list[Floats]] = {"entropy": [], "spread": []}

    def add(
        self,
        probability: NDArray[Any],
        reference: NDArray[np.bool_],
        *,
        mask: NDArray[np.bool_] | None = None,
        spread: NDArray[Any] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in one scan.

        Parameters
        ----------
        probability : float array, shape (regions, z, y, x)
        reference : bool array of that shape
            On the same grid.
        mask : bool array of that shape, optional
            The outline; probability of 1/2 and more when absent.
        spread : float array of that shape, optional
            Given for all scans or for none; NaN everywhere means none.
        known : bool array, shape (z, y, x), optional
            Voxels that somebody looked at; all when absent.

        Raises
        ------
        DataError
            If shapes differ, a probability lies outside [0, 1], or the spread is there for some scans only.
        """
        p = np.asarray(probability)
        if p.ndim != 4 or len(p) != len(self.keys) or reference.shape != p.shape:
            raise DataError(
                f"probabilities of shape {p.shape} and a reference of {reference.shape}",
                f"({len(self.keys)}, z, y, x), both",
            )
        if (mask is not None and mask.shape != p.shape) or (known is not None and known.shape != p.shape[1:]):
            raise DataError("an outline, or what is known, of another shape", f"{p.shape} and {p.shape[1:]}")
        if not (float(p.min()) >= 0 and float(p.max()) <= 1):
            raise DataError("a probability is missing or outside [0, 1]", "probabilities")
        has_spread = spread is not None and bool(np.isfinite(np.asarray(spread).ravel()[:1]).all())
        if self._spread is not None and has_spread != self._spread:
            raise DataError("a spread for some scans and not for others", "all or none")
        self._spread = has_spread
        classes, sums = np.zeros((len(p), 3, self.bins)), np.zeros((len(p), 5))
        doubts = {
            name: np.zeros((len(p), 2, _FINE)) for name in (("entropy", "spread") if has_spread else ("entropy",))
        }
        for k in range(len(p)):
            looked = p[k] >= self.least
            if known is not None:
                looked &= known
            chance = p[k][looked].astype(np.float64)
            truth = np.asarray(reference[k], dtype=bool)
            inside = truth[looked]
            drawn = chance >= 0.5 if mask is None else np.asarray(mask[k], dtype=bool)[looked]
            wrong = drawn != inside
            place = np.minimum((chance * self.bins).astype(np.int64), self.bins - 1)
            classes[k] = [
                np.bincount(place, minlength=self.bins),
                np.bincount(place, chance, self.bins),
                np.bincount(place, inside, self.bins),
            ]
            everywhere = int(np.count_nonzero(truth if known is None else truth & known))
            sums[k] = chance.size, ((chance - inside) ** 2).sum(), wrong.sum(), everywhere, everywhere - inside.sum()
            # Entropy rises with the nearness to one half: its order is all that the AUROC takes.
            near = np.minimum(((1 - 2 * np.abs(chance - 0.5)) * _FINE).astype(np.int64), _FINE - 1)
            doubts["entropy"][k] = [np.bincount(near[part], minlength=_FINE) for part in (~wrong, wrong)]
            if has_spread and spread is not None:
                wide = np.asarray(spread[k], dtype=np.float64)[looked]
                if not np.isfinite(wide).all() or (wide < 0).any():
                    raise DataError("a spread that is missing or negative", "numbers from 0")
                at = np.minimum((2 * wide * _FINE).astype(np.int64), _FINE - 1)
                doubts["spread"][k] = [np.bincount(at[part], minlength=_FINE) for part in (~wrong, wrong)]
        self._classes.append(classes)
        self._sums.append(sums)
        for name, counts in doubts.items():
            found = np.full(len(p), np.nan)
            for k, (right, bad) in enumerate(counts):
                if bad.sum() >= _FEW_WRONG and right.sum() >= _FEW_WRONG:
                    found[k] = wrong_voxels_auroc(right, bad)
            self._doubt[name].append(found)
        self.scans += 1

    def block(
        self, patient: ArrayLike | None = None, *, level: float = 0.95, draws: int = 1000, seed: int = 0
    ) -> dict[str, Any]:
        """Return what was found.

        Parameters
        ----------
        patient : array, shape (scans,), optional
            In the order of `add`; each scan its own patient when absent.
        level : float
        draws, seed : int
            Of the intervals of the calibration error and of the classes.

        Returns
        -------
        dict
            The ``voxel_calibration`` block: ``n``, ``patients``, ``level``, ``draws``, ``least``, ``where`` (a
            sentence), ``signal`` ("spread" or "entropy"), ``sentence``, ``note`` and ``regions`` by key: ``label``,
            ``n``, ``voxels``, measures ``left_out`` (share of the reference in voxels not looked at), ``ece``,
            ``brier``, ``oe`` (reference over expected voxels), ``wrong`` (share of voxels), ``bins`` (``low``,
            ``high``, ``predicted``, ``observed``, ``lower``, ``upper``, ``voxels``, ``patients``), ``doubt`` (signal →
            measure: mean AUROC of a scan), ``state`` ("knows", "not shown", "misleads", "not enough evidence"),
            ``calibration`` ("too high", "too low", "no error shown", "not enough evidence") and ``sentence``.

        Raises
        ------
        DataError
            If no scan was taken in.
        """
        checked_level(level)
        if not self.scans:
            raise DataError("no scan", "at least 1")
        codes = patient_codes(patient, self.scans)
        classes, sums = np.stack(self._classes), np.stack(self._sums)
        sampler = PatientDraws(codes, self.scans, draws=draws, seed=seed)
        signal = "spread" if self._spread else "entropy"
        regions = {
            key: self._region(k, classes[:, k], sums[:, k], codes, sampler, signal, level)
            for k, key in enumerate(self.keys)
        }
        knows = [one["label"] for one in regions.values() if one["state"] == "knows"]
        judged = sum(one["state"] != "not enough evidence" for one in regions.values())
        return {
            "n": self.scans,
            "patients": sampler.patients,
            "level": level,
            "draws": draws,
            "least": self.least,
            "where": f"voxels with a probability of at least {self.least:g}; the others are trivially outside",
            "signal": signal,
            "regions": regions,
            "sentence": f"Doubt is shown to tell wrong voxels from right ones in {len(knows)} of "
            f"{plural(len(regions), 'region')}"
            + (f" ({len(regions) - judged} without enough evidence)." if judged < len(regions) else "."),
            "note": "Voxels of a scan are not independent: each number rests on as many patients as are given, not on "
            "the voxels. The calibration error cannot be negative and is a little too large in few patients. The "
            "expected number of voxels is the sum of the probabilities where there is one.",
        }

    def _region(
        self,
        k: int,
        classes: Floats,
        sums: Floats,
        codes: NDArray[np.int64],
        sampler: PatientDraws,
        signal: str,
        level: float,
    ) -> dict[str, Any]:
        key, label = self.keys[k], self.labels[k]
        voxels, missed = sums[:, 0], sums[:, 4]
        share = (0.0, 1.0)
        left = ratio_of_cases(missed, sums[:, 3], codes, level=level, name=f"left_out@{key}", bounds=share)
        brier = ratio_of_cases(sums[:, 1], voxels, codes, level=level, name=f"voxel_brier@{key}", bounds=share)
        wrong = ratio_of_cases(sums[:, 2], voxels, codes, level=level, name=f"wrong_voxels@{key}", bounds=share)
        oe = ratio_of_cases(
            classes[:, 2].sum(axis=1), classes[:, 1].sum(axis=1), codes, level=level, name=f"voxel_oe@{key}",
            bounds=(0.0, math.inf), scale="log", events=int(classes[:, 2].sum()),
        )  # fmt: skip
        by_patient = np.zeros((sampler.patients, 3, self.bins))
        np.add.at(by_patient, codes, classes)
        some = int(np.unique(codes[voxels > 0]).size)
        drawn = sampler.map(_draws_of(by_patient))
        ece = _ece_measure(by_patient.sum(axis=0), drawn, some, f"ece@{key}", int((voxels > 0).sum()), level)
        doubt = {
            name: _mean_doubt(np.stack(found)[:, k], codes, level, f"auroc_of_{name}@{key}")
            for name, found in self._doubt.items()
            if found
        }
        state = _state(doubt[signal], int(np.unique(codes[np.isfinite(np.stack(self._doubt[signal])[:, k])]).size))
        shape = _shape(oe, some)
        return {
            "label": label,
            "n": int((voxels > 0).sum()),
            "voxels": int(voxels.sum()),
            "left_out": left.measure().to_dict(),
            "ece": ece,
            "brier": brier.measure().to_dict(),
            "oe": oe.measure().to_dict(),
            "wrong": wrong.measure().to_dict(),
            "bins": self._bins(by_patient, drawn, level),
            "doubt": {name: one.measure().to_dict() for name, one in doubt.items()},
            "state": state,
            "calibration": shape,
            "sentence": _sentence(label, ece, oe, doubt[signal], signal, state, some),
        }

    def _bins(self, by_patient: Floats, drawn: Floats, level: float) -> list[dict[str, Any]]:
        total = by_patient.sum(axis=0)
        out = []
        for b in range(self.bins):
            voxels, expected, inside = total[:, b]
            if not voxels:
                continue
            patients = int((by_patient[:, 0, b] > 0).sum())
            low = high = None
            if patients >= LEAST_PATIENTS and voxels >= _ENOUGH_VOXELS and len(drawn):
                ends = [float(v) for v in percentile_interval(drawn[:, 1 + b], level)]
                if math.isfinite(ends[0]) and ends[1] > ends[0]:
                    low, high = ends
            out.append(
                {
                    "low": max(self.least, b / self.bins),
                    "high": (b + 1) / self.bins,
                    "predicted": float(expected / voxels),
                    "observed": float(inside / voxels),
                    "lower": low,
                    "upper": high,
                    "voxels": int(voxels),
                    "patients": patients,
                }
            )
        return out


def _errors(totals: Floats) -> tuple[Floats, Floats]:
    """Return calibration error and observed share by class of sums, shape (..., 3, bins)."""
    voxels, expected, inside = totals[..., 0, :], totals[..., 1, :], totals[..., 2, :]
    everything = voxels.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ece = np.where(everything > 0, np.abs(expected - inside).sum(axis=-1) / everything, np.nan)
        return ece, np.where(voxels > 0, inside / voxels, np.nan)


def _draws_of(by_patient: Floats) -> Callable[[NDArray[np.uint8]], Floats]:
    flat = by_patient.reshape(len(by_patient), -1)

    def work(counts: NDArray[np.uint8]) -> Floats:
        totals = (counts.T.astype(np.float64) @ flat).reshape(-1, *by_patient.shape[1:])
        ece, observed = _errors(totals)
        return np.column_stack([ece, observed])

    return work


def _ece_measure(total: Floats, drawn: Floats, patients: int, name: str, n: int, level: float) -> dict[str, Any]:
    value = float(_errors(total)[0])
    if math.isnan(value):
        return Measure(name=name, value=None, level=level, note="no voxel to look at").to_dict()
    if patients < LEAST_PATIENTS or not len(drawn):
        why = f"no interval: {patients} patients, and {LEAST_PATIENTS} are needed"
        return Measure(name=name, value=value, n=n, level=level, note=why).to_dict()
    low, high = distance_limits(value, drawn[:, 0], level)
    few = "" if patients >= 20 else f"only {patients} independent units: the interval may be too short"
    return Measure(
        name=name, value=value, lower=low, upper=high, n=n, level=level,
        method=f"bootstrap of patients, {len(drawn)} resamples, less what resampling adds", note=few,
    ).to_dict()  # fmt: skip


def _mean_doubt(values: Floats, codes: NDArray[np.int64], level: float, name: str) -> Estimate:
    found = case_mean(values, codes, level=level, name=name, bounds=(0.0, 1.0))
    left = int(np.isnan(values).sum())
    if left and math.isfinite(found):
        found.note = notes(found.note, f"{plural(left, 'scan')} with fewer than {_FEW_WRONG} wrong or right voxels")
    return found


def _state(found: Estimate, patients: int) -> str:
    if patients < _FEW or not math.isfinite(found.lower):
        return "not enough evidence"
    return "knows" if found.lower > 0.5 else "misleads" if found.upper < 0.5 else "not shown"


def _shape(oe: Estimate, patients: int) -> str:
    """Return whether too many or too few voxels are expected."""
    if patients < _FEW or not math.isfinite(oe.lower):
        return "not enough evidence"
    return "too high" if oe.upper < 1 else "too low" if oe.lower > 1 else "no error shown"


def _sentence(
    label: str, ece: Mapping[str, Any], oe: Estimate, doubt: Estimate, signal: str, state: str, patients: int
) -> str:
    if ece["value"] is None:
        return f"{label}: no voxel to look at."
    text = f"{label}: chances of voxels are off by {number(ece['value'], 3)} on average"
    if ece["lower"] is not None:
        text += f" ({100 * ece['level']:g} % interval {ece['lower']:.3f} to {ece['upper']:.3f})"
    if math.isfinite(oe):
        text += f", and the reference holds {float(oe):.2f} times the voxels that they promise"
    text += f" ({plural(patients, 'patient')})."
    what = "The spread" if signal == "spread" else "The entropy"
    if state == "not enough evidence" or not math.isfinite(doubt):
        return f"{text} Not enough evidence on whether doubt tells wrong voxels."
    span = f"{float(doubt):.2f} ({100 * doubt.level:g} % interval {doubt.lower:.2f} to {doubt.upper:.2f})"
    verdict = {
        "knows": "is larger in wrong voxels than in right ones",
        "not shown": "is not shown to be larger in wrong voxels than in right ones",
        "misleads": "is smaller in wrong voxels than in right ones, and so misleads",
    }[state]
    return f"{text} {what} {verdict}: AUROC within a scan {span}."
