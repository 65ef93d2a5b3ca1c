"""Tables of masks: one row a case and class, and the evaluation of many cases with intervals over cases or patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from aimed.core.errors import DataError, UnknownNameError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes
from aimed.metrics.draws import threads_allowed
from aimed.metrics.resampled import Counts, Estimates, Prepared, resample
from aimed.metrics.result import checked_level, clustered_variance, notes, quantile_of_units
from aimed.metrics.segmentation import OVERLAPS, overlap_value, relative_volume
from aimed.metrics.segmentation_boundary import DEFINITIONS, Definition, SurfaceDistances, distances_of
from aimed.metrics.segmentation_lesions import count_lesions, panoptic_value, score_lesions
from aimed.metrics.segmentation_masks import Classes, Empty, MaskPair, empty_rule, is_empty, settle

__all__ = ["MASK_MEASURES", "MORE_MASK_MEASURES", "evaluate_segmentation", "median_interval", "segmentation_table"]

_BOUNDARY = ("hausdorff", "hd95", "average_surface_distance", "mean_average_surface_distance", "surface_dice")
_LESIONS = ("lesion_sensitivity", "lesion_precision", "lesion_f1")
_VOLUMES = ("volume_difference", "relative_volume_difference")
MASK_MEASURES = (*OVERLAPS, *_VOLUMES, "hd95", "average_surface_distance", "surface_dice")
"""What a table holds unless asked otherwise."""

MORE_MASK_MEASURES = (
    "hausdorff",
    "mean_average_surface_distance",
    *_LESIONS,
    "panoptic_quality",
    "lesion_dice",
    "lesion_hd95",
)
"""What a table may hold besides."""

_FEW_CASES = 50

Row: TypeAlias = Mapping[str, Any]
Table: TypeAlias = Sequence[Row]


def segmentation_table(
    reference: ArrayLike,
    prediction: ArrayLike,
    classes: Classes,
    spacing: ArrayLike,
    *,
    measures: Sequence[str] = MASK_MEASURES,
    tolerance: float = 1.0,
    definition: Definition = "voxel",
    empty: Empty = "metrics_reloaded",
    min_voxels: int = 1,
    background: int | Sequence[int] = 0,
    lesion_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Return the measures of one case: one row a class or region, in JSON types.

    Both maps are passed over once for all classes; boundaries are then found in the box of each.

    Parameters
    ----------
    reference, prediction : arrays of whole numbers, shape (z, y, x) or (y, x)
        Maps of labels on one grid.
    classes : mapping of str to int or sequence of int
        Name → label, or the labels whose union is the region: ``{"whole tumour": (1, 2, 3), "enhancing": 3}``.
    spacing : sequence of float
        mm along each axis, in the order of the axes.
    measures : sequence of str
        Names from `MASK_MEASURES` and `MORE_MASK_MEASURES`.
    tolerance : float
        mm, of the normalised surface Dice.
    definition : {"voxel", "pooled", "surfel"}
        Of boundaries and distances.
    empty : {"metrics_reloaded", "omit", "brats"}
        What holds where a mask is empty.
    min_voxels : int
        Of a lesion in the lesion-wise counts and the panoptic quality.
    background : int or sequence of int
        Labels that may be in no class; any other is refused.
    lesion_options : mapping, optional
        Of `lesion_dice`, such as ``{"dilation": 1}``.
    threads : int, optional
        All that are allowed when absent. The numbers do not depend on it.

    Returns
    -------
    list of dict
        ``class``, the measures (None where there is no value), ``reference_voxels``, ``prediction_voxels``,
        ``reference_ml``, ``prediction_ml``, ``tp``, ``fp``, ``fn``, ``tn``, ``empty`` ("both", "reference",
        "prediction" or ""), ``definition``, ``tolerance``, ``rule`` and ``note``.

    Raises
    ------
    DataError
        If shapes differ, a label is in no class and not background, or the spacing is not positive.
    UnknownNameError
        If there is no such measure.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195 (Metrics Reloaded).

    Examples
    --------
    >>> truth = np.zeros((4, 6, 6), int); truth[1:3, 1:4, 1:4] = 1; truth[1:3, 2, 2] = 2
    >>> rows = segmentation_table(truth, np.where(truth == 2, 1, truth), {"whole": (1, 2), "core": 2}, (1, 1, 1))
    >>> [(row["class"], row["dice"], row["hd95"], row["empty"]) for row in rows]
    [('whole', 1.0, 0.0, ''), ('core', 0.0, 9.38083151964686, 'prediction')]
    """
    rule = empty_rule(empty)
    known = (*MASK_MEASURES, *MORE_MASK_MEASURES)
    for name in measures:
        if name not in known:
            raise UnknownNameError("measure of masks", name, known)
    if definition not in DEFINITIONS:
        raise DataError("definition is not known", " or ".join(DEFINITIONS))
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError("tolerance is negative or not finite", "mm, 0 or more")
    pair = MaskPair.of(reference, prediction, spacing, classes, background)
    options = dict(lesion_options or {})

    def row(region: int) -> dict[str, Any]:
        counts = pair.overlap(region)
        true, found = counts.tp + counts.fn, counts.tp + counts.fp
        blank = is_empty(true, found)
        values: dict[str, float] = {}
        said: list[str] = []
        for name in measures:
            note = ""
            if name in OVERLAPS:
                values[name], note = overlap_value(name, counts, empty)
            elif name == "volume_difference":
                values[name] = (found - true) * pair.millilitres
            elif name == "relative_volume_difference":
                values[name], note = relative_volume(true, found, empty)
            if name == "dice" or "nothing" in note:
                said.append(note)
        values |= _boundary(pair, region, [m for m in measures if m in _BOUNDARY], blank, definition, empty, tolerance)
        values |= _lesion_values(pair, region, measures, min_voxels, empty, options)
        return {
            "class": pair.regions.names[region],
            **{name: _plain(values[name]) for name in measures},
            "reference_voxels": true,
            "prediction_voxels": found,
            "reference_ml": _plain(true * pair.millilitres),
            "prediction_ml": _plain(found * pair.millilitres),
            "tp": counts.tp,
            "fp": counts.fp,
            "fn": counts.fn,
            "tn": counts.tn,
            "empty": blank,
            "definition": definition,
            "tolerance": float(tolerance),
            "rule": rule,
            "note": notes(*said),
        }

    regions = range(len(pair.regions.names))
    workers = min(threads_allowed(threads), len(regions))
    if workers == 1:
        return [row(region) for region in regions]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(row, regions))


def _boundary(
    pair: MaskPair,
    region: int,
    names: Sequence[str],
    blank: str,
    definition: Definition,
    empty: Empty,
    tolerance: float,
) -> dict[str, float]:
    if not names:
        return {}
    if blank:
        worst = pair.worst_distance(empty)
        share, far = settle(blank, empty, 1.0, 0.0)[0], settle(blank, empty, 0.0, worst)[0]
        return {name: share if name == "surface_dice" else far for name in names}
    found = distances_of(*pair.cut(region), pair.spacing, pair.flat, definition)
    work: dict[str, Callable[[SurfaceDistances], float]] = {
        "hausdorff": lambda d: d.percentile(100),
        "hd95": lambda d: d.percentile(95),
        "average_surface_distance": lambda d: d.mean,
        "mean_average_surface_distance": lambda d: sum(d.directed_means) / 2,
        "surface_dice": lambda d: d.share_within(tolerance),
    }
    return {name: work[name](found) for name in names}


def _lesion_values(
    pair: MaskPair, region: int, measures: Sequence[str], min_voxels: int, empty: Empty, options: Mapping[str, Any]
) -> dict[str, float]:
    out: dict[str, float] = {}
    counted = [name for name in measures if name in _LESIONS]
    if counted or "panoptic_quality" in measures:
        reference, prediction = pair.masks(region)
        if counted:
            lesions = count_lesions(reference, prediction, min_voxels, "overlap", 0.5)
            out |= {name: lesions.value(name, empty)[0] for name in counted}
        if "panoptic_quality" in measures:
            out["panoptic_quality"] = panoptic_value(
                count_lesions(reference, prediction, min_voxels, "iou", 0.5), empty
            )[0]
    if "lesion_dice" in measures or "lesion_hd95" in measures:
        score = score_lesions(pair, region, **({"empty": empty} | dict(options)))
        out |= {"lesion_dice": float(score), "lesion_hd95": score.hd95}
    return out


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def median_interval(
    values: ArrayLike, patient: ArrayLike | None = None, level: float = 0.95
) -> tuple[float, float, float, str]:
    """Return a median, its interval from order statistics, and how it was made.

    Resampling a median gives too few different values to be trusted, so that it is not resampled.

    Parameters
    ----------
    values : float array, shape (n,)
        Without missing ones.
    patient : array, shape (n,), optional
        Cases of one patient are dependent: the share of cases below is given an error by patient, and its interval
        is read off the sorted values (Woodruff).
    level : float

    References
    ----------
    Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2. Woodruff, JASA 1952;47:635.

    Examples
    --------
    >>> median_interval(np.arange(1, 11))[:3]
    (5.5, 2.0, 9.0)
    """
    checked_level(level)
    ordered = np.asarray(values, dtype=np.float64)
    if not np.isfinite(ordered).all() or ordered.ndim != 1 or ordered.size == 0:
        raise DataError("values are missing, or not a list", "at least 1 finite number")
    codes = patient_codes(patient, ordered.size)
    middle, n = float(np.median(ordered)), ordered.size
    patients = int(codes.max()) + 1
    if patients == n:
        below = int(binom.ppf((1 - level) / 2, n, 0.5))
        # Ranks below + 1 and n - below would cover less than asked where the tail holds too much.
        while below > 0 and binom.cdf(below - 1, n, 0.5) > (1 - level) / 2:
            below -= 1
        if below == 0:
            return middle, math.nan, math.nan, ""
        ordered = np.sort(ordered)
        return middle, float(ordered[below - 1]), float(ordered[n - below]), "order statistics of the cases"
    share = (ordered < middle).mean() + 0.5 * (ordered == middle).mean()
    influence = ((ordered < middle) + 0.5 * (ordered == middle) - share) / n
    half = float(quantile_of_units(level, patients)) * math.sqrt(clustered_variance(influence, codes))
    if not math.isfinite(half) or half <= 0 or half >= 0.5:
        return middle, math.nan, math.nan, ""
    low, high = np.quantile(ordered, [0.5 - half, 0.5 + half], method="inverted_cdf")
    return middle, float(low), float(high), "Woodruff's, the error of the share below clustered by patient"


class _Cases:
    """Measures by case and class, for the resampler: their means over the cases that have a value."""

    def __init__(self, values: FloatArray, names: Sequence[str], codes: IntArray) -> None:
        self.known = np.isfinite(values)
        self.values = np.where(self.known, values, 0.0)
        self.names, self.codes = tuple(names), codes

    def ranked(self, counts: Counts) -> Estimates:
        """Nothing: no measure of masks holds an outcome fixed."""
        return {}

    def frequent(self, counts: Counts) -> Estimates:
        """Return the mean of each measure in each draw."""
        times = counts[self.codes].astype(np.float64).T
        total, held = times @ self.values, times @ self.known
        with np.errstate(invalid="ignore"):
            means = np.where(held > 0, total / held, np.nan)
        return {name: means[:, k] for k, name in enumerate(self.names)}

    def reason(self, name: str) -> str:
        """Return why a mean is missing."""
        return "no case has a value"


def _stacked(tables: Sequence[Table], what: str) -> tuple[tuple[str, ...], tuple[str, ...], FloatArray]:
    """Return the classes, the measures and the values of tables, shape (cases, classes x measures)."""
    if not tables:
        raise DataError(f"{what} holds no case", "one table a case, as segmentation_table makes them")
    classes = tuple(str(row["class"]) for row in tables[0])
    known = (*MASK_MEASURES, *MORE_MASK_MEASURES)
    measures = tuple(name for name in known if tables[0] and name in tables[0][0])
    out = np.full((len(tables), len(classes) * len(measures)), np.nan)
    for case, table in enumerate(tables):
        here = tuple(str(row["class"]) for row in table)
        if here != classes or not all(name in row for row in table for name in measures):
            raise DataError(
                f"table {case + 1} of {what} has other classes or measures than the first", "the same in all"
            )
        flat = [row[name] for row in table for name in measures]
        out[case] = [math.nan if v is None else v for v in flat]
    return classes, measures, out


def _same(tables: Sequence[Table], key: str) -> Any:
    found = {row[key] for table in tables for row in table}
    if len(found) != 1:
        raise DataError(f"tables differ in {key}", "one for all cases")
    return found.pop()


def evaluate_segmentation(
    tables: Sequence[Table],
    *,
    patient: ArrayLike | None = None,
    baselines: Mapping[str, Sequence[Table]] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return the evaluation of masks over cases: each measure of each class with intervals, in JSON types.

    Parameters
    ----------
    tables : sequence of tables
        One a case, from `segmentation_table`, all with the same classes, measures and definitions.
    patient : array, shape (cases,), optional
        Cases of one patient are drawn together; every case its own patient when absent.
    baselines : mapping of str to sequence of tables, optional
        Of the same cases: differences are paired by case.
    draws : int
    level : float
    seed : int
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    dict
        ``classes``: for each, ``measures`` (means), ``medians``, ``quartiles``, and counts of cases: ``n``,
        ``reference_empty``, ``prediction_empty``, ``both_empty``, and ``missed`` (Dice 0 though neither is empty);
        ``mean``: the mean over classes of each measure; ``baselines`` and ``differences`` by name and class.

    Raises
    ------
    DataError
        If there is no case, or tables differ in classes, measures, definition, tolerance or rule for empty masks.

    References
    ----------
    Maier-Hein et al., Nat Methods 2024;21:195. El Jurdi et al., arXiv:2307.10926 (intervals of mean Dice).

    Notes
    -----
    Means have percentile intervals over resamples of patients; below 50 of them these tend to be too short, which is
    said. Medians have order-statistic intervals. A case without a value by the rule for empty masks is left out of a
    mean and counted.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((60, 8, 8)) < 0.3
    >>> cases = [segmentation_table(t, t ^ (rng.random(t.shape) < 0.1), {"lesion": 1}, (1, 1)) for t in truth]
    >>> block = evaluate_segmentation(cases, draws=200)
    >>> found = block["classes"]["lesion"]["measures"]["dice"]
    >>> found["lower"] < found["value"] < found["upper"], found["n"]
    (True, 60)
    """
    checked_level(level)
    classes, measures, values = _stacked(tables, "tables")
    n = len(tables)
    codes = patient_codes(patient, n)
    patients = int(codes.max()) + 1
    facts = {key: _same(tables, key) for key in ("definition", "tolerance", "rule")}
    names = [f"{m}@{c}" for c in classes for m in measures]
    models: dict[str, Prepared] = {"model": _Cases(*_with_means(values, names, classes, measures), codes)}
    others = {}
    for name, given in (baselines or {}).items():
        theirs = _stacked(given, f"baseline '{name}'")
        if theirs[:2] != (classes, measures) or len(given) != n:
            raise DataError(f"baseline '{name}' has other cases, classes or measures", "the same, in the same order")
        if any(_same(given, key) != facts[key] for key in facts):
            raise DataError(f"baseline '{name}' has another definition, tolerance or rule", "the same")
        # Differences are of the cases that have a value in both.
        both = np.isfinite(values) & np.isfinite(theirs[2])
        others[name] = theirs[2]
        for key, those in ((f"baseline {name}", theirs[2]), (f"model beside {name}", values)):
            matched = np.where(both, those, np.nan)
            models[key] = _Cases(*_with_means(matched, names, classes, measures), codes)
    found = resample(models, codes, None, draws=draws, lowered="", ranked="", level=level, seed=seed, progress=progress)
    few = "" if patients >= _FEW_CASES else f"fewer than {_FEW_CASES} patients: the interval may be too short"

    def mean(key: str, name: str, held: int) -> dict[str, Any]:
        one = found.measure(key, name, held, 0, label=name.partition("@")[0])
        if one["lower"] is not None:
            one["note"] = few
        return one | {"events": 0}

    blocks = {}
    for k, name in enumerate(classes):
        rows = [table[k] for table in tables]
        span = slice(k * len(measures), (k + 1) * len(measures))
        here = values[:, span]
        held = np.isfinite(here).sum(axis=0)
        dice = here[:, measures.index("dice")] if "dice" in measures else np.full(n, np.nan)
        blanks = np.array([row["empty"] for row in rows])
        blocks[name] = {
            "n": n,
            "both_empty": int((blanks == "both").sum()),
            "reference_empty": int((blanks == "reference").sum()),
            "prediction_empty": int((blanks == "prediction").sum()),
            "missed": int(((dice == 0) & (blanks == "")).sum()),
            "measures": {m: mean("model", f"{m}@{name}", int(held[i])) for i, m in enumerate(measures)},
            "medians": {m: _median(m, here[:, i], codes, level) for i, m in enumerate(measures)},
            "quartiles": {m: _quartiles(here[:, i]) for i, m in enumerate(measures)},
        }
    block = {
        "kind": "segmentation",
        "n": n,
        "patients": patients,
        "draws": draws,
        "level": level,
        **facts,
        "definition_in_words": DEFINITIONS[facts["definition"]],
        "interval_method": f"{found.method} for means; order statistics for medians",
        "classes": blocks,
        "mean": {m: mean("model", m, int(_rows_held(values, classes, measures, m))) for m in measures},
        "baselines": {},
        "differences": {},
    }
    for name, other in others.items():
        both = np.isfinite(values) & np.isfinite(other)
        block["baselines"][name] = {
            c: {m: mean(f"baseline {name}", f"{m}@{c}", int(both[:, names.index(f"{m}@{c}")].sum())) for m in measures}
            for c in classes
        }
        block["differences"][name] = {
            c: {m: _difference(found, name, m, c, int(both[:, names.index(f"{m}@{c}")].sum())) for m in measures}
            for c in classes
        }
    if progress is not None:
        progress(1.0)
    return block


def _difference(found: Any, name: str, measure: str, where: str, held: int) -> dict[str, Any]:
    one: dict[str, Any] = found.difference(
        f"model beside {name}", f"baseline {name}", f"{measure}@{where}", held, 0, name
    )
    return one | {"name": measure}


def _with_means(
    values: FloatArray, names: Sequence[str], classes: Sequence[str], measures: Sequence[str]
) -> tuple[FloatArray, list[str]]:
    """Return values with each case's mean over the classes that have one beside them."""
    cube = values.reshape(values.shape[0], len(classes), len(measures))
    known = np.isfinite(cube)
    held = known.sum(axis=1)
    means = np.where(held > 0, np.where(known, cube, 0.0).sum(axis=1) / np.maximum(held, 1), np.nan)
    return np.hstack([values, means]), [*names, *measures]


def _rows_held(values: FloatArray, classes: Sequence[str], measures: Sequence[str], name: str) -> int:
    cube: BoolArray = np.isfinite(values).reshape(values.shape[0], len(classes), len(measures))
    return int(cube[:, :, measures.index(name)].any(axis=1).sum())


def _median(name: str, values: FloatArray, codes: IntArray, level: float) -> dict[str, Any]:
    known = np.isfinite(values)
    if not known.any():
        return Measure(name=name, value=None, level=level, note="no case has a value").to_dict()
    middle, low, high, how = median_interval(values[known], codes[known], level)
    note = "" if how else "no interval: too few cases for an interval of a median"
    return Measure(
        name=name, value=middle, lower=low, upper=high, n=int(known.sum()), level=level, method=how, note=note
    ).to_dict()


def _quartiles(values: FloatArray) -> list[float | None]:
    known = values[np.isfinite(values)]
    return [float(v) for v in np.quantile(known, [0.25, 0.75])] if known.size else [None, None]
