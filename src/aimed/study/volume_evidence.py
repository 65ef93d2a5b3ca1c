"""What a segmentation study finds out on its test part: overlap, distances, lesions, volumes, doubt and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.volume_schema import VOLUME_CODES, describe_volumes
from aimed.core import Cohort, Split
from aimed.core.volume import Volume
from aimed.diagnosis.outlines_model import Outlined, OutlinesModel
from aimed.diagnosis.several_networks import network_threads, torch_threads
from aimed.diagnosis.sliding_window import whole_scan
from aimed.explain.volume_activation import MapCase, explain_volume_maps, stages_of, volume_maps
from aimed.explain.volume_gallery import volume_gallery, volumes_without_ids
from aimed.explain.volume_pictures import PictureCase, volume_thumbnails
from aimed.explain.volumes import contrast_importance
from aimed.fit.diagnose_fit import diagnose_fit
from aimed.metrics.evaluate_masks import SubVolumes, evaluate_masks, measures_masks
from aimed.metrics.lesion_block import Lesions
from aimed.metrics.result import Estimate
from aimed.study.groups import asked_of_groups, audit_by_group
from aimed.study.picture_stages import tune_part
from aimed.study.regions import region_labels, region_table
from aimed.study.simple_model import beside_simple
from aimed.study.spec import StudySpec
from aimed.study.stages import Facts, Progress, part_of, row_ids, silent
from aimed.study.tasks import primary_of
from aimed.study.volume_models import BASELINES, head_of, volume_recipes_of
from aimed.study.volume_readers import reader_study
from aimed.study.volume_stages import (
    OVERLAP_ONLY,
    Outlines,
    baseline_outlines,
    compare,
    fitted_baseline,
    mean_dice,
    outlined,
)
from aimed.study.volumes import UNKNOWN, channels_of, masks_of, reference_of, volume_facts, volumes_of, volumes_part
from aimed.trust.expected_dice import quality
from aimed.trust.volume_agreement import volume_agreement
from aimed.trust.volume_robustness import robustness
from aimed.trust.voxel_calibration import VoxelCalibration

__all__ = ["audit", "evaluate", "explain", "facts"]

ROBUST_SCANS = 6
"""Test scans that are damaged on purpose; each is outlined some twenty times."""

CONTRAST_SCANS = 8
"""Test scans from which each contrast is left out."""

MAP_SCANS = 8
"""Test scans whose heat maps are held against the reference."""

LEARNED_SCANS = 40
"""Scans that the network learned from and that are outlined again, to see what it reaches there."""

_TABLE = ("dice", "iou", "mask_sensitivity", "mask_precision", "hd95", "average_surface_distance", "surface_dice")


def evaluate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Outline the test scans and measure them beside baselines; each scan is opened once and let go.

    Returns
    -------
    (dict, dict of str to array)
        The blocks ``performance``, ``lesions``, ``volumes``, ``quality``, ``voxel_calibration``, ``robustness`` and
        what is told of the fit, and a table with one line a scan and region.
    """
    test, learns = split.parts["test"], tune_part(split)[0]
    volumes, regions, head = volumes_of(cohort), region_table(spec), head_of(spec)
    keys, labels = [one["key"] for one in regions], [one["label"] for one in regions]
    patient, level, seed, draws = cohort.patient[test], spec.evaluate.level, spec.study.seed, spec.evaluate.draws
    baselines = {}
    for place, name in enumerate(volume_recipes_of(spec)[1]):
        progress(0.1 * place / 2, f"fitting the baseline: {BASELINES[name].lower()}")
        baselines[name] = fitted_baseline(spec, cohort, name, learns, model)
    lesions, voxels = Lesions(keys, labels), VoxelCalibration(keys, labels)
    parts, readers = SubVolumes(keys), reader_study(spec)
    tables: list[Outlines] = []
    beside: dict[str, list[Any]] = {name: [] for name in baselines}
    found_ml = np.full((test.size, len(keys)), np.nan)
    expected = np.full((test.size, len(keys)), np.nan)
    for place, row in enumerate(test.tolist()):
        progress(0.1 + 0.5 * place / test.size, f"outlining scan {place + 1:,} of {test.size:,}")
        scan, mask = volumes.scan(row), volumes.mask(row)
        found = model.outline(scan)
        tables.append(Outlines(compare(spec, mask, found.masks, scan.origin.spacing), list(found.soft_dice.values())))
        found_ml[place] = [row_["prediction_ml"] for row_ in tables[-1].rows]
        expected[place] = [np.nan if v is None else v for v in found.expected_dice.values()]
        known, truth = mask != UNKNOWN, head.masks(mask)
        parts.add(truth, found.masks & known)
        if readers is not None:
            readers.add(volumes.case(row), volumes.mask_volume(row), found.masks)
        there, known_there = _reference_there(spec, cohort, row, model, found)
        lesions.add(
            truth,
            found.masks & known,
            scan.origin.voxel_ml,
            probability=np.where(known_there, found.probability, 0.0),
            reference_there=there,
            voxel_ml_there=found.prepared.grid.voxel_ml,
        )
        voxels.add(found.probability, there, mask=found.outlines, spread=found.spread, known=known_there)
        for name, one in baselines.items():
            beside[name].append(baseline_outlines(spec, one, model, found.prepared, mask))
    performance = evaluate_masks(
        [one.rows for one in tables],
        keys=keys,
        labels=labels,
        patient=patient,
        baselines=beside,
        draws=draws,
        level=level,
        seed=seed,
        progress=lambda share: progress(0.6 + 0.05 * share, "bootstrap"),
    )
    performance["sub_volumes"] = parts.block(patient, level=level)
    dice = np.array([[np.nan if r["dice"] is None else r["dice"] for r in one.rows] for one in tables], dtype=float)
    reference = masks_of(cohort).volumes[test]
    cases = _Cases(spec, cohort, test)
    progress(0.65, "what the network reaches on scans it learned from")
    learning = _fit_diagnosis(spec, cohort, split, model, fitted, tables)
    damaged = robustness(
        lambda scan: model.outline(scan).masks,
        [partial(cases.pair, place) for place in range(len(cases))],
        keys=keys,
        patient=patient,
        level=level,
        seed=seed,
        max_cases=ROBUST_SCANS,
        progress=part_of(progress, 0.75, 1.0),
    )
    return {
        "performance": performance,
        "lesions": lesions.block(patient, level=level, draws=draws, seed=seed),
        "volumes": volume_agreement(
            found_ml,
            reference,
            keys=keys,
            labels=labels,
            patient=patient,
            intervals=model.volume_errors,
            level=level,
        ),
        "quality": quality(
            expected, dice, keys=keys, labels=labels, patient=patient, learned=model.quality, level=level
        ),
        "voxel_calibration": voxels.block(patient, level=level, draws=draws, seed=seed),
        "robustness": damaged,
        "readers": None if readers is None else readers.block(patient),
        "shortcuts": None,
        "conformal": None,
        "case_uncertainty": None,
        "fit_diagnosis": learning,
        "failures": None,
        "stability": None,
    }, _case_table(row_ids(cohort, test), patient, tables, expected)


class _Cases:
    """Some scans of a cohort with their references, opened one at a time."""

    def __init__(self, spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64]) -> None:
        self._spec, self._volumes = spec, volumes_of(cohort).take(rows)

    def __len__(self) -> int:
        return len(self._volumes)

    def scan(self, row: int) -> Volume:
        """Return a scan as the cache holds it."""
        return self._volumes.scan(row)

    def mask(self, row: int) -> NDArray[np.uint8]:
        """Return its labels on the grid of the source; voxels that nobody looked at count as background."""
        mask = reference_of(self._spec, self._volumes.mask(row))
        return np.where(mask == UNKNOWN, 0, mask).astype(np.uint8)

    def pair(self, row: int) -> tuple[Volume, NDArray[np.bool_]]:
        """Return a scan and the regions of its mask, shape (k, z, y, x)."""
        return self.scan(row), head_of(self._spec).masks(self.mask(row))


def _reference_there(
    spec: StudySpec, cohort: Cohort, row: int, model: OutlinesModel, found: Outlined
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the regions of the reference on the grid of the network, and where somebody looked."""
    mask = volumes_of(cohort).mask_volume(row)
    there = model.preparation.mask_on(mask.with_array(reference_of(spec, mask.array), labels=True), found.prepared)
    return head_of(spec).masks(there), there != UNKNOWN


def _case_table(
    ids: NDArray[Any], patient: NDArray[Any], tables: Sequence[Outlines], expected: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Return one line a scan and region; it stays with the data."""
    k = expected.shape[1]
    rows = [row for one in tables for row in one.rows]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if row[name] is None else float(row[name]) for row in rows], dtype=np.float64)

    return {
        "id": np.repeat(ids.astype(str), k),
        "patient": np.repeat(patient.astype(str), k),
        "case": np.repeat(np.arange(1, len(tables) + 1), k),
        "region": np.asarray([row["class"] for row in rows], dtype=str),
        **{name: column(name) for name in (*_TABLE, "reference_ml", "prediction_ml")},
        "expected_dice": expected.ravel(),
    }


def _fit_diagnosis(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    fitted: Mapping[str, Any],
    tables: Sequence[Outlines],
) -> dict[str, Any]:
    """Compare what the network reaches on scans it learned from, on those that tuned it and on the test part."""
    learns, tunes = tune_part(split)
    test, volumes = split.parts["test"], volumes_of(cohort)
    some = learns
    if learns.size > LEARNED_SCANS:
        some = np.sort(np.random.default_rng((spec.study.seed, 11)).choice(learns, LEARNED_SCANS, replace=False))

    def reached(found: Mapping[str, Any], n: int, value: str = "value") -> Estimate:
        middle, low, high = (np.nan if found[k] is None else float(found[k]) for k in (value, "lower", "upper"))
        return Estimate(middle, lower=low, upper=high, name="mean_dice", n=n, level=spec.evaluate.level)

    again = [outlined(spec, model, volumes.scan(row), volumes.mask(row), OVERLAP_ONLY) for row in some.tolist()]
    # What the tune part says was found when candidates were compared.
    tuned = next(row for row in fitted["leaderboard"] if row["chosen"])
    return diagnose_fit(
        reached(mean_dice(spec, again, cohort.patient[some]), some.size),
        reached(tuned, tunes.size, "mean"),
        target=None,
        test=reached(mean_dice(spec, tables, cohort.patient[test]), test.size),
        mismatch=None,
        of="scans",
    ).to_state()


# ---------------------------------------------------------------------------------------------------------- explanation


def explain(
    spec: StudySpec, cohort: Cohort, split: Split, model: OutlinesModel, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Say which contrast the model needs and whether heat maps are to be believed, and choose cases.

    Returns
    -------
    (dict, dict of str to array)
        The ``explanation`` block with its ``gallery``, and which row of the data each case of the gallery is.
    """
    test, regions = split.parts["test"], region_table(spec)
    patient, cases = cohort.patient[test], _Cases(spec, cohort, test)
    names, level, seed = [one["name"] for one in regions], spec.evaluate.level, spec.study.seed
    labels = {one["key"]: one["label"] for one in regions}
    contrasts = contrast_importance(
        lambda scan: model.outline(scan).masks,
        cases,
        regions=region_labels(spec),
        channels=channels_of(cohort),
        networks=model.segmenter.networks_,
        patient=patient,
        max_cases=CONTRAST_SCANS,
        level=level,
        seed=seed,
        progress=part_of(progress, 0.0, 0.4),
    )

    def case(row: int) -> MapCase:
        found = model.outline(cases.scan(row))
        there, _ = _reference_there(spec, cohort, int(test[row]), model, found)
        return MapCase(
            scan=_scaled(model, found),
            outlines=found.outlines,
            reference=there,
            spacing=found.prepared.spacing,
        )

    with torch_threads(network_threads(None)):
        maps = explain_volume_maps(
            model.segmenter.networks_[0],
            case,
            test.size,
            names=names,
            patient=patient,
            window=tuple(model.segmenter.patch_size),
            slide=partial(whole_scan, overlap=float(model.segmenter.overlap)),
            networks=len(model.segmenter.networks_),
            max_cases=MAP_SCANS,
            level=level,
            seed=seed,
            progress=part_of(progress, 0.4, 0.8),
        )
    chosen, shown = _gallery(spec, cohort, test, model, labels, part_of(progress, 0.8, 1.0))
    return {"kind": "volumes", "regions": labels, "contrasts": contrasts, "maps": maps, "gallery": shown}, chosen


def _scaled(model: OutlinesModel, found: Outlined) -> NDArray[np.float32]:
    scaling = model.segmenter.scaling_
    return np.asarray(scaling.scaled(found.prepared.array, scaling.numbers(found.prepared.array)), dtype=np.float32)


def _picture_case(spec: StudySpec, cohort: Cohort, row: int, model: OutlinesModel) -> PictureCase:
    """Return what is drawn of a scan, on the grid of the network: outlines, doubt and a heat map of each region."""
    scan = volumes_of(cohort).scan(row)
    found = model.outline(scan)
    there, _ = _reference_there(spec, cohort, row, model, found)
    module = model.segmenter.networks_[0]
    with torch_threads(network_threads(None)):
        heat = volume_maps(
            module,
            _scaled(model, found),
            found.outlines,
            stages=[stages_of(module)["decoder"]],
            window=tuple(model.segmenter.patch_size),
            slide=partial(whole_scan, overlap=float(model.segmenter.overlap)),
        )[0]
    doubt = found.spread
    if doubt is None:
        # A coin's standard deviation: largest where the probability is one half.
        doubt = np.sqrt(found.probability * (1.0 - found.probability))
    return PictureCase(
        scan=found.prepared,
        reference=there,
        prediction=found.outlines,
        uncertainty=doubt,
        heat=heat,
        window=volumes_part(spec).window,
    )


def _gallery(
    spec: StudySpec,
    cohort: Cohort,
    test: NDArray[np.int64],
    model: OutlinesModel,
    labels: Mapping[str, str],
    progress: Progress,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return which scan each shown case is, and the gallery as the record keeps it."""
    volumes, patient = volumes_of(cohort), cohort.patient[test]
    told, expected, sizes = [], [], []
    for place, row in enumerate(test.tolist()):
        progress(0.7 * place / test.size, "choosing cases")
        scan, mask = volumes.scan(row), volumes.mask(row)
        found = model.outline(scan)
        rows = compare(spec, mask, found.masks, scan.origin.spacing, ("dice", "hd95"))
        told.append({"regions": {str(one["class"]): one for one in rows}})
        expected.append(found.expected_dice)
        sizes.append(found.volumes)
    cases = volume_gallery(told, row_ids(cohort, test), labels, expected=expected, volumes=sizes, patient=patient)
    shown = cases if spec.report.case_ids else volumes_without_ids(cases)
    if spec.report.thumbnails:

        def load(place: int) -> PictureCase:
            return _picture_case(spec, cohort, int(test[place]), model)

        shown = {**shown, "pictures": volume_thumbnails(cases, load, labels)}
    return _case_rows(cases), shown


def _case_rows(cases: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    rows = [
        (scope, group, case["case"], str(case["id"]))
        for scope, one in cases["scopes"].items()
        for group, some in one["cases"].items()
        for case in some
    ]
    if not rows:
        return {}
    scope, group, number, ids = (list(column) for column in zip(*rows, strict=True))
    return {
        "region": np.asarray(scope),
        "group": np.asarray(group),
        "case": np.asarray(number),
        "id": np.asarray(ids),
    }


# ---------------------------------------------------------------------------------------------------------------- audit


def audit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    calibrated: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Repeat the overlap in each declared group of the test part.

    Returns
    -------
    dict or None
        The ``subgroups`` block; None where no group is declared.
    """
    if not spec.subgroups.columns:
        return None
    test, volumes = split.parts["test"], volumes_of(cohort)
    keys = [one["key"] for one in region_table(spec)]
    primary = primary_of(spec)
    names = list(dict.fromkeys([primary, "mean_dice", *(f"dice@{key}" for key in keys), *asked_of_groups(spec)]))
    wanted = tuple(dict.fromkeys(["dice", *(name.partition("@")[0].removeprefix("mean_") for name in names)]))
    tables = []
    for place, row in enumerate(test.tolist()):
        progress(0.8 * place / test.size, f"outlining scan {place + 1:,} of {test.size:,}")
        tables.append(outlined(spec, model, volumes.scan(row), volumes.mask(row), wanted).rows)
    patient = cohort.patient[test]

    def measures(rows: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        return measures_masks(
            [tables[place] for place in np.flatnonzero(rows).tolist()],
            names=names,
            keys=keys,
            patient=patient[rows],
            draws=min(spec.evaluate.draws, 300),
            level=spec.evaluate.level,
            seed=spec.study.seed,
        )

    return audit_by_group(
        spec,
        cohort,
        test,
        measures,
        names,
        min_nonevents=0,
        called=("scan with a region", "scans with a region"),
        progress=part_of(progress, 0.8, 1.0),
    )


def facts(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    fitted: Mapping[str, Any],
    performance: Mapping[str, Any],
) -> Facts:
    """Return what the record says of the model beside what fitting returned, and what its package takes."""
    train, volumes, part = split.parts["train"], volumes_of(cohort), volumes_part(spec)
    baselines = volume_recipes_of(spec)[1]
    simple = "voxels" if "voxels" in baselines else baselines[0]
    return Facts(
        model={},
        simple=beside_simple(
            fitted, performance, primary_of(spec), name=simple, title=BASELINES[simple].lower(), others=True
        ),
        inputs={
            "inputs": [
                {
                    "name": channel,
                    "label": f"{channel} (NIfTI or a DICOM series)",
                    "unit": None,
                    "kind": "volume",
                    "range": None,
                    "training_range": None,
                    "categories": None,
                    "required": True,
                }
                for channel in channels_of(cohort)
            ],
            "refusals": [{"code": code, "reason": reason} for code, reason in VOLUME_CODES.items()],
        },
        schema=describe_volumes(
            model,
            volumes.take(train).records,
            patient=cohort.patient[train],
            column=None if part.columns else part.column,
            columns=dict(part.columns) or None,
        ),
        data={"volumes": volume_facts(cohort)},
    )
