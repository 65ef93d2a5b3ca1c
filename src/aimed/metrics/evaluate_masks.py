"""The whole evaluation of outlined volumes: every region by itself and their means over the same resamples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean
from aimed.metrics.evaluate import without_value
from aimed.metrics.evaluate_multilabel import finding_key
from aimed.metrics.evaluate_segmentation import MASK_MEASURES, Table, evaluate_segmentation
from aimed.metrics.resampled import Counts, Estimates, Prepared, Resampled, resample
from aimed.metrics.result import Estimate, Scale, notes
from aimed.metrics.segmentation import OVERLAPS

__all__ = [
    "SUB_VOLUME",
    "VOXEL_COUNTS",
    "SubVolumes",
    "evaluate_masks",
    "known_masks",
    "measures_masks",
]

VOXEL_COUNTS = tuple(name for name in MASK_MEASURES if name not in ("hd95", "average_surface_distance", "surface_dice"))
"""Measures that follow from counts of voxels: all that a baseline needs, at a fraction of the time."""

SUB_VOLUME = (16, 160, 160)
"""Voxels (z, y, x) of a sub-volume."""

_FEW_PATIENTS = 50
_FEW_METHOD = "infinitesimal jackknife by patient, t"
_FEW_NOTE = f"fewer than {_FEW_PATIENTS} patients: a rare failure that none of them shows is not in the interval"
_SHARE: tuple[Scale, tuple[float, float]] = ("logit", (0.0, 1.0))
_LENGTH: tuple[Scale, tuple[float, float]] = ("log", (0.0, math.inf))
_PLAIN: tuple[Scale, tuple[float, float]] = ("identity", (-math.inf, math.inf))
_SCALES: dict[str, tuple[Scale, tuple[float, float]]] = {
    **dict.fromkeys((*OVERLAPS, "surface_dice"), _SHARE),
    **dict.fromkeys(("hd95", "average_surface_distance"), _LENGTH),
}
_OF_CASE = ("dice", "hd95", "surface_dice", "average_surface_distance", "volume_difference")

_CONVENTIONS = (
    "A measure of a region is the mean over cases; one with 'mean' is the plain mean of those over regions. Intervals "
    "take the same patients for all regions and models. A case without a value by the rule for empty masks is left out "
    "of a mean and counted. The events of a measure are the cases in which the reference holds the region."
)


def known_masks(keys: Sequence[str]) -> list[str]:
    """Return the name of every measure of an evaluation of outlines.

    Parameters
    ----------
    keys : sequence of str
        Of the regions, as from `aimed.metrics.evaluate_multilabel.finding_keys`.

    Examples
    --------
    >>> names = known_masks(["whole_tumour"])
    >>> names[0], names[10], len(names)
    ('mean_dice', 'dice@whole_tumour', 20)
    """
    return [*(f"mean_{name}" for name in MASK_MEASURES), *(f"{m}@{key}" for key in keys for m in MASK_MEASURES)]


def _measures_of(tables: Sequence[Table], what: str) -> tuple[str, ...]:
    if not tables or not all(tables):
        raise DataError(f"{what} holds no case, or one without a region", "tables of segmentation_table")
    found = tuple(name for name in MASK_MEASURES if name in tables[0][0])
    if not found:
        raise DataError(f"{what} holds no measure of masks", f"some of: {', '.join(MASK_MEASURES)}")
    return found


def _cube(tables: Sequence[Table], keys: Sequence[str], measures: Sequence[str], what: str) -> FloatArray:
    """Return values, shape (cases, regions, measures), NaN where there is none."""
    out = np.full((len(tables), len(keys), len(measures)), np.nan)
    for case, table in enumerate(tables):
        if [finding_key(str(row["class"])) for row in table] != list(keys):
            raise DataError(f"table {case + 1} of {what} has other regions", f"in this order: {', '.join(keys)}")
        for region, row in enumerate(table):
            for place, name in enumerate(measures):
                if name not in row:
                    raise DataError(f"table {case + 1} of {what} lacks the measure '{name}'", "the same in all tables")
                out[case, region, place] = math.nan if row[name] is None else row[name]
    return out


def _present(tables: Sequence[Table]) -> BoolArray:
    """Return in which cases the reference holds each region, shape (cases, regions)."""
    return np.array([[row["reference_voxels"] > 0 for row in table] for table in tables], dtype=bool)


class _Regions:
    """Values of cases by region and measure, for the resampler: means over cases, and means of those over regions."""

    def __init__(self, values: FloatArray, keys: Sequence[str], measures: Sequence[str], codes: IntArray) -> None:
        self.shape = values.shape
        self.known = np.isfinite(values)
        self.flat = np.where(self.known, values, 0.0).reshape(len(values), -1)
        self.codes = codes
        self.names = [f"{m}@{key}" for key in keys for m in measures]
        self.measures = tuple(measures)
        patients = np.array(
            [[np.unique(codes[self.known[:, k, m]]).size for m in range(self.shape[2])] for k in range(self.shape[1])]
        )
        # A region that many resamples miss would take the interval from all the others.
        enough = patients >= LEAST_PATIENTS
        self.kept = np.where(enough.any(axis=0), enough, patients > 0)

    def ranked(self, counts: Counts) -> Estimates:
        """Nothing: no measure of masks holds an outcome fixed."""
        return {}

    def frequent(self, counts: Counts) -> Estimates:
        """Return the means in each draw."""
        times = counts[self.codes].astype(np.float64).T
        total, held = times @ self.flat, times @ self.known.reshape(len(self.flat), -1)
        with np.errstate(invalid="ignore"):
            means = np.where(held > 0, total / held, np.nan)
        found = {name: means[:, place] for place, name in enumerate(self.names)}
        cube = means.reshape(-1, *self.shape[1:])
        nothing = np.full(len(means), np.nan)
        for place, name in enumerate(self.measures):
            here = self.kept[:, place]
            found[f"mean_{name}"] = cube[:, here, place].mean(axis=1) if here.any() else nothing
        return found

    def reason(self, name: str) -> str:
        """Return why a mean is missing."""
        return "no case has a value"

    def influence(self, name: str) -> FloatArray:
        """Return what each case adds to the error of a mean, shape (n,)."""
        stem, _, key = name.partition("@")
        if key:
            place = self.names.index(name)
            known, values = self.known.reshape(len(self.flat), -1)[:, place], self.flat[:, place]
            return np.asarray(np.where(known, values - values[known].mean(), 0.0) / known.sum())
        place = self.measures.index(stem.removeprefix("mean_"))
        known = self.known[:, :, place] & self.kept[:, place]
        values = self.flat.reshape(self.shape)[:, :, place]
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / count, 0.0) / count
        return np.asarray(centred.sum(axis=1) / self.kept[:, place].sum())


class _Evaluated:
    """Means of a model and of what it is compared with, all over the same resamples of patients."""

    def __init__(
        self,
        values: FloatArray,
        present: BoolArray,
        keys: Sequence[str],
        labels: Sequence[str],
        measures: Sequence[str],
        codes: IntArray,
        baselines: Mapping[str, tuple[tuple[str, ...], FloatArray]],
        *,
        draws: int,
        level: float,
        seed: int,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.keys, self.labels, self.codes, self.present = list(keys), list(labels), codes, present
        models: dict[str, _Regions] = {"model": _Regions(values, keys, measures, codes)}
        for name, (some, theirs) in baselines.items():
            mine = values[:, :, [list(measures).index(m) for m in some]]
            # Differences are of the cases that have a value in both.
            both = np.isfinite(mine) & np.isfinite(theirs)
            models[f"baseline {name}"] = _Regions(np.where(both, theirs, np.nan), keys, some, codes)
            models[f"model beside {name}"] = _Regions(np.where(both, mine, np.nan), keys, some, codes)
        self.models = models
        prepared: dict[str, Prepared] = dict(models)
        self.found: Resampled = resample(
            prepared, codes, None, draws=draws, lowered="", ranked="", level=level, seed=seed, progress=progress
        )

    def names(self, model: str) -> list[str]:
        """Return the names of what a model has, means first."""
        one = self.models[model]
        return [*(f"mean_{name}" for name in one.measures), *one.names]

    def measure(self, model: str, name: str) -> dict[str, Any]:
        """Return one mean of one model."""
        record = self.found.measure(model, name, 0, 0)
        scale, bounds = _SCALES.get(name.partition("@")[0].removeprefix("mean_"), _PLAIN)
        return self._told(model, name, record, lambda: self.models[model].influence(name), scale, bounds)

    def difference(self, baseline: str, name: str) -> dict[str, Any]:
        """Return the model's mean less a baseline's, paired by case."""
        mine, theirs = f"model beside {baseline}", f"baseline {baseline}"
        record = self.found.difference(mine, theirs, name, 0, 0, baseline)

        def influence() -> FloatArray:
            return np.asarray(self.models[mine].influence(name) - self.models[theirs].influence(name))

        return self._told(theirs, name, record, influence, *_PLAIN)

    def _told(
        self,
        model: str,
        name: str,
        record: dict[str, Any],
        influence: Callable[[], FloatArray],
        scale: Scale,
        bounds: tuple[float, float],
    ) -> dict[str, Any]:
        """Return a measure with what it rests on."""
        one = self.models[model]
        stem, _, key = name.partition("@")
        over = ""
        if key:
            region = self.keys.index(key)
            cases = np.asarray(one.known[:, region, one.measures.index(stem)])
            events = cases & self.present[:, region]
        else:
            place = one.measures.index(stem.removeprefix("mean_"))
            kept = one.kept[:, place]
            cases = np.asarray(one.known[:, kept, place].any(axis=1))
            events = cases & self.present[:, kept].any(axis=1)
            if kept.any() and not kept.all():
                left = ", ".join(label for label, here in zip(self.labels, kept, strict=True) if not here)
                over = f"mean over {int(kept.sum())} of {kept.size} regions; too few cases have a value for {left}"
        patients = int(np.unique(self.codes[cases]).size)
        record |= {"n": int(cases.sum()), "events": int(events.sum())}
        if record["value"] is None:
            return record
        if patients < LEAST_PATIENTS:
            why = f"no interval: {patients} patients, and {LEAST_PATIENTS} are needed"
            return record | {"lower": None, "upper": None, "method": "", "note": notes(over, why)}
        if patients < _FEW_PATIENTS:
            found = Estimate.from_influence(
                record["value"], influence(), self.codes, name=name, units=patients, level=record["level"],
                scale=scale, bounds=bounds, why="the same in all cases", method=_FEW_METHOD,
            ).measure()  # fmt: skip
            record |= {"lower": found.lower, "upper": found.upper, "method": found.method if found.known else ""}
            record["note"] = _FEW_NOTE if found.known else found.note
        return record | {"note": notes(over, record["note"])}


def _titles(keys: Sequence[str], labels: Sequence[str] | None) -> list[str]:
    titles = [str(label) for label in (keys if labels is None else labels)]
    if len(titles) != len(keys) or len(set(keys)) != len(keys) or not keys:
        raise DataError(f"{len(titles)} labels for {len(set(keys))} different regions", "one a region, at least one")
    return titles


def evaluate_masks(
    tables: Sequence[Table],
    *,
    keys: Sequence[str],
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
    baselines: Mapping[str, Sequence[Table]] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return the whole evaluation of outlined volumes, in JSON types.

    Parameters
    ----------
    tables : sequence of n tables
        One a case, of `aimed.metrics.evaluate_segmentation.segmentation_table`, classes in the order of `keys`.
    keys : sequence of str
        Of the regions: `finding_key` of each class.
    labels : sequence of str, optional
        Names of the regions for people; the keys when absent.
    patient : array, shape (n,), optional
        Cases of one patient are drawn together; every case its own patient when absent.
    baselines : mapping of str to n tables, optional
        Of the same cases, compared in the measures that they hold; `VOXEL_COUNTS` cost little.
    draws : int
    level : float
    seed : int
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    dict
        The ``performance`` block of a study of volumes:

        - ``kind`` ("masks"), ``n``, ``patients``, ``level``, ``draws``, ``interval_method``, ``definition``,
          ``definition_in_words``, ``tolerance`` (mm), ``rule`` (for empty masks), ``labels`` (key → label);
        - ``regions`` by key: ``n``, ``both_empty``, ``reference_empty``, ``prediction_empty``, ``missed`` (Dice 0
          though neither is empty), ``medians`` (measure → record), ``quartiles`` (measure → two numbers);
        - ``measures``: ``mean_dice``, ..., ``dice@key``, ... (means over cases);
        - ``baselines`` and ``differences`` by name: the same names, where the baseline holds the measure;
        - ``cases``: ``case`` (number from 1, in the order given) and ``regions`` by key;
        - ``conventions``: sentences.

    Raises
    ------
    DataError
        If there is no case, tables differ in regions, measures, definition, tolerance or rule, or a baseline has
        other cases.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. El Jurdi et al., arXiv:2307.10926 (intervals of mean Dice).

    Notes
    -----
    From 50 patients on means have percentile intervals over resamples of patients. Below, these are too short (of 8
    patients with Dice skewed as usual they hold the mean in 79 % instead of 95 %), and t intervals over patients take
    their place, of shares on the logit scale and of distances on the log scale (91 %); below 5 there are none. A
    failure that is rare and shows in none of the cases is in no interval: see the medians too.

    Examples
    --------
    >>> from aimed.metrics.evaluate_segmentation import segmentation_table
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((30, 6, 6, 6)) < 0.3
    >>> found = [segmentation_table(t, t ^ (rng.random(t.shape) < 0.1), {"the lesion": 1}, (1, 1, 1)) for t in truth]
    >>> none = [segmentation_table(t, 0 * t, {"the lesion": 1}, (1, 1, 1), measures=VOXEL_COUNTS) for t in truth]
    >>> block = evaluate_masks(found, keys=["the_lesion"], baselines={"nothing": none}, draws=100)
    >>> block["measures"]["dice@the_lesion"]["value"] == block["measures"]["mean_dice"]["value"]
    True
    >>> block["differences"]["nothing"]["mean_dice"]["lower"] > 0.5, "mean_hd95" in block["differences"]["nothing"]
    (True, False)
    """
    titles = _titles(keys, labels)
    measures = _measures_of(tables, "tables")
    values = _cube(tables, keys, measures, "tables")
    codes = patient_codes(patient, len(tables))
    # Counts, medians, quartiles and definitions are worked out there; the means are resampled here.
    base = evaluate_segmentation(tables, patient=codes, draws=0, level=level)
    others: dict[str, tuple[tuple[str, ...], FloatArray]] = {}
    for name, given in (baselines or {}).items():
        called = f"baseline '{name}'"
        if len(given) != len(tables):
            raise DataError(f"{called} has {len(given)} cases and the model {len(tables)}", "the same cases")
        some = tuple(m for m in _measures_of(given, called) if m in measures)
        for key in ("definition", "tolerance", "rule"):
            if any(row[key] != base[key] for table in given for row in table):
                raise DataError(f"{called} has another {key}", "that of the model")
        others[name] = some, _cube(given, keys, some, called)
    done = _Evaluated(
        values, _present(tables), keys, titles, measures, codes, others,
        draws=draws, level=level, seed=seed, progress=progress,
    )  # fmt: skip
    counted = ("n", "both_empty", "reference_empty", "prediction_empty", "missed")
    regions = {
        key: {name: one[name] for name in counted}
        | {
            "medians": {m: one["medians"][m] for m in measures},
            "quartiles": {m: one["quartiles"][m] for m in measures},
        }
        for key, one in zip(keys, base["classes"].values(), strict=True)
    }
    if progress is not None:
        progress(1.0)
    return {
        "kind": "masks",
        "n": len(tables),
        "patients": base["patients"],
        "level": level,
        "draws": draws,
        "interval_method": f"{done.found.method} for means of {_FEW_PATIENTS} patients and more; of fewer, t over "
        "patients, of shares on the logit and of distances on the log scale; order statistics for medians",
        **{key: base[key] for key in ("definition", "definition_in_words", "tolerance", "rule")},
        "labels": dict(zip(keys, titles, strict=True)),
        "regions": regions,
        "measures": {name: done.measure("model", name) for name in done.names("model")},
        "baselines": {
            name: {m: done.measure(f"baseline {name}", m) for m in done.names(f"baseline {name}")} for name in others
        },
        "differences": {name: {m: done.difference(name, m) for m in done.names(f"baseline {name}")} for name in others},
        "cases": [_case(number, table, keys) for number, table in enumerate(tables, 1)],
        "conventions": _CONVENTIONS,
    }


def _case(number: int, table: Table, keys: Sequence[str]) -> dict[str, Any]:
    """Return what is shown of one case."""
    told = ("reference_ml", "prediction_ml", "empty")
    regions = {
        key: {name: row[name] for name in (*_OF_CASE, *told) if name in row}
        for key, row in zip(keys, table, strict=True)
    }
    return {"case": number, "regions": regions}


def measures_masks(
    tables: Sequence[Table],
    *,
    names: Sequence[str],
    keys: Sequence[str],
    patient: ArrayLike | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return some measures of outlined volumes; never raises for what the cases cannot tell.

    Parameters
    ----------
    tables : sequence of n tables
        As for `evaluate_masks`; may be empty.
    names : sequence of str
        From `known_masks`; one that the tables do not hold comes back without a value.
    keys : sequence of str
    patient : array, shape (n,), optional
    draws : int
    level : float
    seed : int

    Returns
    -------
    dict of str to dict
        `Measure.to_dict`; value None with a note where it cannot be estimated.

    Examples
    --------
    >>> from aimed.metrics.evaluate_segmentation import segmentation_table
    >>> tables = [segmentation_table(np.eye(4, dtype=int), np.eye(4, dtype=int), {"a": 1}, (1, 1))] * 6
    >>> found = measures_masks(tables, names=["dice@a", "dice@b"], keys=["a"], draws=50)
    >>> found["dice@a"]["value"], found["dice@b"]["note"]
    (1.0, 'no such measure here')
    """
    if not len(tables):
        return without_value(names, level, "no cases")
    measures = _measures_of(tables, "tables")
    codes = patient_codes(patient, len(tables))
    done = _Evaluated(
        _cube(tables, keys, measures, "tables"), _present(tables), keys, list(keys), measures, codes, {},
        draws=draws, level=level, seed=seed,
    )  # fmt: skip
    known = set(done.names("model"))
    missing = without_value([name for name in names if name not in known], level, "no such measure here")
    return {name: done.measure("model", name) if name in known else missing[name] for name in names}


class SubVolumes:
    """Sensitivity, specificity and Dice of sub-volumes beside those of whole scans, one scan at a time.

    Parameters
    ----------
    keys : sequence of str
        Of the regions.
    size : (int, int, int)
        Voxels of a sub-volume along (z, y, x); axes of a scan that are shorter are taken whole.

    Notes
    -----
    Scans are cut from their first voxel into blocks that do not overlap, the last ones cut off at the edge. Looked at
    are those in which the reference holds any region. Sensitivity of a region is over the sub-volumes whose reference
    holds it, its Dice over those where reference or prediction do, its specificity over all.

    References
    ----------
    The course "AI for Medical Diagnosis" (deeplearning.ai), week 3: sensitivity and specificity of a sub-volume and of
    a scan.

    Examples
    --------
    >>> seen = SubVolumes(["a"], size=(2, 2, 2))
    >>> truth = np.zeros((1, 2, 2, 4), dtype=bool); truth[..., 0] = True
    >>> seen.add(truth, truth)
    >>> block = seen.block()
    >>> block["n"], block["regions"]["a"]["specificity"]["value"], block["whole"]["a"]["dice"]["value"]
    (1, 1.0, 1.0)
    """

    _MEASURES = ("sensitivity", "specificity", "dice")

    def __init__(self, keys: Sequence[str], size: tuple[int, int, int] = SUB_VOLUME) -> None:
        z, y, x = (int(side) for side in size)
        if min(z, y, x) < 1 or not keys:
            raise DataError(f"sub-volumes of {z} x {y} x {x} voxels, {len(keys)} regions", "sides of 1 or more")
        self.keys, self.size = list(keys), (z, y, x)
        self.scans = 0
        self._blocks: list[NDArray[np.int64]] = []
        self._case: list[int] = []
        self._whole: list[NDArray[np.int64]] = []

    def add(self, reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> None:
        """Take in one scan.

        Parameters
        ----------
        reference, prediction : bool arrays, shape (regions, z, y, x)

        Raises
        ------
        DataError
            If the shapes differ.
        """
        if reference.shape != prediction.shape or reference.ndim != 4 or len(reference) != len(self.keys):
            raise DataError(
                f"masks of shapes {reference.shape} and {prediction.shape}", f"({len(self.keys)}, z, y, x), both"
            )
        true, found = reference.astype(bool, copy=False), prediction.astype(bool, copy=False)
        self._whole.append(_counts(true, found))
        starts = [range(0, n, side) for n, side in zip(true.shape[1:], self.size, strict=True)]
        for z in starts[0]:
            for y in starts[1]:
                for x in starts[2]:
                    at = tuple(slice(a, a + s) for a, s in zip((z, y, x), self.size, strict=True))
                    if true[(slice(None), *at)].any():
                        self._blocks.append(_counts(true[(slice(None), *at)], found[(slice(None), *at)]))
                        self._case.append(self.scans)
        self.scans += 1

    def block(self, patient: ArrayLike | None = None, *, level: float = 0.95) -> dict[str, Any]:
        """Return what was found.

        Parameters
        ----------
        patient : array, shape (scans,), optional
            In the order of `add`.
        level : float

        Returns
        -------
        dict
            ``size``, ``n`` (sub-volumes), ``scans``, ``patients``, ``rule`` (a sentence), and by key of the region,
            ``sensitivity``, ``specificity`` and ``dice``: ``regions`` over sub-volumes, ``whole`` over scans.
        """
        codes = patient_codes(patient, self.scans)
        k = len(self.keys)
        parts = np.array(self._blocks, dtype=np.int64).reshape(-1, k, 4)
        of_part = np.array(self._case, dtype=np.int64)
        whole = np.array(self._whole, dtype=np.int64).reshape(-1, k, 4)
        return {
            "size": list(self.size),
            "n": len(parts),
            "scans": self.scans,
            "patients": int(codes.max()) + 1 if self.scans else 0,
            "rule": f"Scans are cut into blocks of {' x '.join(map(str, self.size))} voxels (z, y, x) that do not "
            "overlap, cut off at the edge; those in which the reference holds a region are looked at. Sensitivity is "
            "over those that hold the region, Dice over those where it is drawn in the reference or the prediction.",
            "regions": self._means(parts, codes[of_part], level),
            "whole": self._means(whole, codes, level),
        }

    def _means(self, counts: NDArray[np.int64], codes: IntArray, level: float) -> dict[str, dict[str, Any]]:
        if not len(counts):
            return {key: without_value(self._MEASURES, level, "nothing to look at") for key in self.keys}
        out = {}
        for region, key in enumerate(self.keys):
            tp, fp, fn, tn = counts[:, region].T.astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                values = {
                    "sensitivity": tp / (tp + fn),
                    "specificity": tn / (tn + fp),
                    "dice": 2 * tp / (2 * tp + fp + fn),
                }
            out[key] = {
                name: case_mean(
                    values[name], codes, level=level, name=f"{name}@{key}", bounds=(0.0, 1.0), scale="logit"
                )
                .measure()
                .to_dict()
                for name in self._MEASURES
            }
        return out


def _counts(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return tp, fp, fn, tn of each region, shape (regions, 4)."""
    out = np.empty((len(true), 4), dtype=np.int64)
    for region, (a, b) in enumerate(zip(true, found, strict=True)):
        both, first, second = (int(np.count_nonzero(m)) for m in (a & b, a, b))
        out[region] = both, second - both, first - both, a.size - first - second + both
    return out
