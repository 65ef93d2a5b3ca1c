"""The stages of a segmentation study: a plan from the training scans, networks on sub-volumes, and what tuning says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.pack import pack_volumes
from aimed.bundle.serving import volume_network_file
from aimed.bundle.volume_schema import VolumeSchema
from aimed.checks.run import run_checks
from aimed.core import Cohort, Finding, Severity, Split
from aimed.core.volume import Volume
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.diagnosis.prepared_volumes import PreparedVolumes
from aimed.diagnosis.volume_plan import VolumePlan, fingerprint_of, plan_of
from aimed.diagnosis.volume_preparation import VolumePreparation
from aimed.diagnosis.volume_recipes import VolumeRecipe
from aimed.diagnosis.volume_segmenter import VolumeSegmenter
from aimed.metrics.evaluate_masks import measures_masks
from aimed.metrics.evaluate_multilabel import finding_key
from aimed.metrics.evaluate_segmentation import MASK_MEASURES, segmentation_table
from aimed.study.leaderboard import board_row
from aimed.study.picture_stages import plain, tune_part
from aimed.study.regions import region_labels, region_table
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, each_check, part_of, silent
from aimed.study.store import RunFolder
from aimed.study.tasks import outcome_label
from aimed.study.volume_models import BASELINES, baseline_named, head_of, plan_text, volume_recipes_of
from aimed.study.volumes import (
    UNKNOWN,
    channels_of,
    masks_of,
    reference_of,
    refused_by_code,
    volumes_of,
    volumes_part,
)
from aimed.trust.card import model_card
from aimed.trust.expected_dice import DiceExpectation
from aimed.trust.volume_agreement import VolumeInterval

__all__ = ["calibrate", "check", "fit", "package"]

OVERLAP_ONLY = ("dice", "iou", "volume_difference")
"""What is measured while candidates are compared: distances would cost more and decide nothing."""


def check(spec: StudySpec, cohort: Cohort, split: Split, progress: Progress = silent) -> list[Finding]:
    """Run every check on the cohort, its scans and masks, and its split.

    Returns
    -------
    list of Finding
        The gravest first; how many scans were refused when they were read is one of them.
    """
    heard = each_check(progress)
    found = run_checks(
        cohort,
        split,
        subgroups=spec.subgroups.columns,
        parameters=0,
        allow=spec.predictors.allow,
        regions=region_labels(spec),
        progress=heard,
        inside=heard,
    )
    grave = [one for one in found if one.severity is not Severity.NOTE]
    return [*grave, *_refused(cohort), *found[len(grave) :]]


def _refused(cohort: Cohort) -> list[Finding]:
    """Say how many scans could not be used; they are in no cohort, so no check of one sees them."""
    cache = volumes_of(cohort).cache
    codes = refused_by_code(cache)
    total, lost = len(cache), sum(codes.values())
    if not lost:
        return []
    named = ", ".join(f"{code} {n}" for code, n in codes.items())
    return [
        Finding(
            check="volume_geometry",
            severity=Severity.WARN,
            where="volumes",
            message=f"{lost:,} of {total:,} scans were refused: {named}.",
            evidence={"files": total, "refused": codes},
            advice="They are in no part; a run names them in refused.csv.",
        )
    ]


# ------------------------------------------------------------------------------------------------------------- fitting


@dataclass(frozen=True, slots=True)
class Outlines:
    """What was outlined in one scan beside its reference: a table of measures, and what the model expected."""

    rows: list[dict[str, Any]]
    soft: list[float]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One candidate on the tune part."""

    recipe: VolumeRecipe
    model: OutlinesModel
    plan: VolumePlan
    parameters: dict[str, Any]
    tables: list[Outlines]
    dice: dict[str, Any]


def compare(
    spec: StudySpec,
    mask: NDArray[Any],
    found: NDArray[np.bool_],
    spacing: Sequence[float],
    measures: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return the measures of one scan, a row a region; voxels that nobody looked at count for nothing.

    Parameters
    ----------
    spec : StudySpec
    mask : uint8 array, shape (z, y, x)
        Labels, on the grid of the source.
    found : bool array, shape (k, z, y, x)
        The regions on the same grid. Each is compared by itself, as regions may overlap in a way that no map of labels
        holds.
    spacing : sequence of float
        mm along (z, y, x).
    measures : sequence of str, optional
        From `aimed.metrics.evaluate_segmentation`; those of a study when absent.

    Returns
    -------
    list of dict
        As of `segmentation_table`.

    Raises
    ------
    DataError
        If shapes differ, or the spacing is not positive.
    """
    known, head = mask != UNKNOWN, head_of(spec)
    out: list[dict[str, Any]] = []
    for name, truth, mine in zip(head.names, head.masks(mask), found, strict=True):
        out += segmentation_table(
            truth.astype(np.uint8),
            (mine & known).astype(np.uint8),
            {finding_key(name): 1},
            spacing,
            tolerance=spec.evaluate.tolerance,
            definition=spec.evaluate.surface,
            empty=spec.evaluate.empty,
            measures=MASK_MEASURES if measures is None else measures,
        )
    return out


def outlined(
    spec: StudySpec, model: OutlinesModel, scan: Volume, mask: NDArray[Any], measures: Sequence[str] | None = None
) -> Outlines:
    """Return what a model outlines in one scan, measured.

    Parameters
    ----------
    spec : StudySpec
    model : OutlinesModel
    scan : Volume
        As the cache holds it, with its way back.
    mask : uint8 array, shape (z, y, x)
        On the grid of the source.
    measures : sequence of str, optional

    Raises
    ------
    DataError
        If the scan has other channels than the model, an empty one, or voxels that are not finite.
    """
    found = model.outline(scan)
    return Outlines(compare(spec, mask, found.masks, scan.origin.spacing, measures), list(found.soft_dice.values()))


def prepared_part(
    spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64], preparation: VolumePreparation, folder: Path
) -> PreparedVolumes:
    """Return some scans as networks take them, kept beside the cache."""
    return PreparedVolumes(
        volumes_of(cohort).take(rows),
        preparation,
        folder,
        clean=lambda mask: reference_of(spec, mask),
        recipe=repr(sorted({v for labels in region_labels(spec).values() for v in labels})),
    )


def preparation_of(spec: StudySpec, cohort: Cohort, plan: VolumePlan) -> VolumePreparation:
    """Return how scans are prepared by a plan."""
    modality = "CT" if plan.scaling.kind == "window" else volumes_part(spec).modality
    return VolumePreparation(channels=channels_of(cohort), spacing=plan.spacing, modality=modality)


def plan_for(spec: StudySpec, cohort: Cohort, rows: NDArray[np.int64], recipe: VolumeRecipe) -> VolumePlan:
    """Return the plan that the study file names, or the one that the training scans ask for.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    rows : int array
        Scans that are learned from; no other is looked at.
    recipe : VolumeRecipe

    Raises
    ------
    StudyFileError
        If the plan that is named cannot be read, or memory does not hold the smallest network.
    DataError
        If scans have different channels.
    """
    text, part = plan_text(spec), volumes_part(spec)
    found = fingerprint_of(volumes_of(cohort).take(rows).records, region_labels(spec))
    computed = plan_of(
        found, part.memory_mb, recipe.small, spacing=part.spacing, window=part.window, modality=part.modality
    )
    return recipe.plan(computed if text is None else VolumePlan.from_toml(text).against(computed))


def fit(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    home: RunFolder | None = None,
    key: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], OutlinesModel, NDArray[np.float64]]:
    """Train the candidates, compare them on the tune part and keep the simplest that is as good as the best.

    Returns
    -------
    (dict, OutlinesModel, array of shape (n, k, 3))
        The ``model`` block so far, the fitted model, and of each tune scan and region the Dice that the model expects,
        the one it has, and the volume it found in ml (NaN elsewhere).

    Raises
    ------
    StudyFileError
        If a network or a plan cannot be made as asked.
    DataError
        If a scan cannot be prepared.
    NotEstimableError
        If a region is in no mask that is learned from.
    RefusedError
        If a file of weights does not fit the network.
    """
    candidates, baselines = volume_recipes_of(spec)
    learns, tunes = tune_part(split)
    volumes = volumes_of(cohort)
    rows = np.sort(np.r_[learns, tunes])
    held = np.isin(rows, tunes)
    place_of = volumes.cache.folder
    fitted: list[_Fitted] = []
    parts, head = len(candidates) + 0.2, head_of(spec)
    for place, recipe in enumerate(candidates):
        folder = None if home is None else Path(home.file("fit", f"network-{key[:16]}", recipe.name))

        tell = _titled(part_of(progress, place / parts, (place + 1) / parts), recipe.title)
        plan = plan_for(spec, cohort, learns, recipe)
        preparation = preparation_of(spec, cohort, plan)
        made = prepared_part(spec, cohort, rows, preparation, place_of).make(part_of(tell, 0.0, 0.1))
        parameters = recipe.parameters(spec.model.parameters.get(recipe.name, {}))
        segmenter: VolumeSegmenter = recipe.fit(
            made.scans,
            made.masks,
            cohort.patient[rows],
            regions=region_labels(spec),
            exclusive=head.exclusive,
            paint=dict(zip(head.names, head.paint, strict=True)),
            plan=plan,
            tune=held,
            parameters=parameters,
            seed=spec.study.seed,
            weights=initial_weights_of(spec, recipe),
            folder=folder,
            progress=part_of(tell, 0.1, 0.9),
        )
        model = OutlinesModel(
            recipe.name,
            recipe.title,
            segmenter,
            preparation,
            labels={one["name"]: one["label"] for one in region_table(spec)},
            parameters=plain(parameters),
            seed=spec.study.seed,
        )
        tables = []
        for done, row in enumerate(tunes.tolist()):
            tell(0.9 + 0.1 * done / tunes.size, "outlining the tune scans")
            tables.append(outlined(spec, model, volumes.scan(row), volumes.mask(row), OVERLAP_ONLY))
        fitted.append(_Fitted(recipe, model, plan, parameters, tables, mean_dice(spec, tables, cohort.patient[tunes])))
    chosen, why = _choose(fitted, cohort.patient[tunes])
    k = len(region_labels(spec))
    on_tune = np.full((cohort.n, k, 3), np.nan)
    for row, table in zip(tunes.tolist(), chosen.tables, strict=True):
        on_tune[row, :, 0] = table.soft
        on_tune[row, :, 1] = [np.nan if r["dice"] is None else r["dice"] for r in table.rows]
        on_tune[row, :, 2] = [r["prediction_ml"] for r in table.rows]
    payload = _fit_payload(fitted, chosen, why, learns.size, tunes.size)
    payload["leaderboard"] += _baseline_rows(spec, cohort, learns, tunes, chosen, baselines)
    if home is not None:
        home.write("plan.toml", chosen.plan.to_toml())
    return payload, chosen.model, on_tune


def _titled(progress: Progress, title: str) -> Progress:
    def told(share: float, text: str = "") -> None:
        progress(share, f"{title}: {text}")

    return told


def initial_weights_of(spec: StudySpec, recipe: VolumeRecipe) -> Any:
    """Return the weights that a candidate starts from; None for random ones."""
    asked = volumes_part(spec).weights
    if asked is None or asked.architecture != recipe.architecture:
        return None
    from aimed.diagnosis.initial_weights import InitialWeights

    return InitialWeights(path=spec.folder / asked.file, sha256=asked.sha256, normalisation=asked.normalisation)


def mean_dice(spec: StudySpec, tables: Sequence[Outlines], patient: NDArray[Any]) -> dict[str, Any]:
    """Return the mean Dice over regions with its interval, as a measure."""
    found: dict[str, Any] = measures_masks(
        [one.rows for one in tables],
        names=["mean_dice"],
        keys=[one["key"] for one in region_table(spec)],
        patient=patient,
        draws=min(spec.evaluate.draws, 300),
        level=spec.evaluate.level,
        seed=spec.study.seed,
    )["mean_dice"]
    return found


def case_means(tables: Sequence[Outlines]) -> NDArray[np.float64]:
    """Return the mean Dice over regions of each scan, shape (n,); NaN where no region has one."""
    values = np.array([[np.nan if r["dice"] is None else r["dice"] for r in one.rows] for one in tables], dtype=float)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))


def _choose(fitted: Sequence[_Fitted], patient: NDArray[Any]) -> tuple[_Fitted, str]:
    def value(one: _Fitted) -> float:
        found = one.dice["value"]
        return -np.inf if found is None else float(found)

    best = max(fitted, key=value)
    if len(fitted) == 1:
        return best, f"{best.recipe.title} was the only candidate."
    for one in sorted(fitted, key=lambda f: f.recipe.rank):
        if one is best:
            break
        gaps = case_means(best.tables) - case_means(one.tables)
        gaps = np.array([gaps[patient == who].mean() for who in np.unique(patient)])
        gaps = gaps[np.isfinite(gaps)]
        if gaps.size < 2:
            continue
        error = float(gaps.std(ddof=1) / np.sqrt(gaps.size))
        if value(best) - value(one) <= error:
            return one, (
                f"{one.recipe.title} was chosen: {best.recipe.title} outlined better on the tune part by "
                f"{value(best) - value(one):.4f} in mean Dice, no more than one standard error ({error:.4f}), and is "
                "less simple."
            )
    return best, f"{best.recipe.title} had the highest mean Dice on the tune part."


def _board_row(
    name: str, title: str, kind: str, dice: Mapping[str, Any], *, parameters: Any = None, chosen: bool = False
) -> dict[str, Any]:
    """Return a line of the leaderboard: mean Dice over regions on the one tune part."""
    return board_row(
        name,
        title,
        kind,
        "mean_dice",
        mean=dice["value"],
        lower=dice["lower"],
        upper=dice["upper"],
        folds=[dice["value"]],
        parameters=parameters,
        note=dice.get("note", ""),
        chosen=chosen,
    )


def _fit_payload(fitted: Sequence[_Fitted], chosen: _Fitted, why: str, learned: int, tuned: int) -> dict[str, Any]:
    segmenter = chosen.model.segmenter
    return {
        "name": chosen.recipe.name,
        "title": chosen.recipe.title,
        "description": chosen.recipe.description,
        "family": "network",
        "parameters": plain(chosen.parameters),
        "n_fitted": learned,
        "n_tune": tuned,
        "leaderboard": [
            _board_row(
                one.recipe.name,
                one.recipe.title,
                "candidate",
                one.dice,
                parameters=plain(one.parameters),
                chosen=one is chosen,
            )
            for one in fitted
        ],
        "choice": why,
        "network": _network_facts(chosen),
        "plan": chosen.plan.to_dict(),
        "learning": plain(segmenter.history_),
        "precision": plain(segmenter.precision_),
        "tuning": {"metric": "mean_dice", "direction": "maximize", "trials": len(fitted)},
    }


def _network_facts(chosen: _Fitted) -> dict[str, Any]:
    segmenter = chosen.model.segmenter
    report = getattr(segmenter, "weights_report_", None)
    return {
        "architecture": segmenter.architecture,
        "options": plain(segmenter.architecture_options or {}),
        "parameters": int(sum(p.numel() for p in segmenter.networks_[0].parameters())),
        "estimators": len(segmenter.networks_),
        "probe": False,
        "initial_weights": None
        if report is None
        else {
            "sha256": report.sha256,
            "loaded": len(report.loaded),
            "skipped": len(report.skipped),
            "missing": len(report.missing),
            "share": report.share,
            "sentence": str(report),
        },
        "preprocessing": chosen.model.preparation.to_state(),
        "augmentation": plain(segmenter.augmentation) if segmenter.augmentation else None,
        "sampling": segmenter.sampling,
        "overlap": float(segmenter.overlap),
        "mirror": list(segmenter.mirror),
        "loss": segmenter.loss,
        "optimizer": segmenter.optimizer,
        "learning_rate": plain(segmenter.learning_rate),
        "batch_size": int(segmenter.batch_size),
        "max_epochs": int(segmenter.max_epochs),
        "test_time_augmentation": int(segmenter.test_time_augmentation),
        "patch_size": list(segmenter.patch_size),
        "rules": [
            {"key": key, **rule.to_state()} for key, rule in zip(chosen.model.keys, segmenter.rules_, strict=True)
        ],
        "tune_dice": plain(segmenter.tune_dice_),
    }


# ----------------------------------------------------------------------------------------------------------- baselines


def fitted_baseline(spec: StudySpec, cohort: Cohort, name: str, learns: NDArray[np.int64], model: OutlinesModel) -> Any:
    """Return a baseline fitted on the scans that networks learn from, as they are given to the network."""
    made = prepared_part(spec, cohort, learns, model.preparation, volumes_of(cohort).cache.folder)
    scaling = model.segmenter.scaling_
    baseline = baseline_named(name, made.preparation.spacing or (1.0, 1.0, 1.0), scaling)
    return baseline.fit(made.scans, made.masks, head_of(spec), seed=spec.study.seed)


def baseline_outlines(
    spec: StudySpec, baseline: Any, model: OutlinesModel, prepared: Volume, mask: NDArray[Any], measures: Any = None
) -> list[dict[str, Any]]:
    """Return what a baseline outlines in one scan, measured."""
    found = model.preparation.back(baseline.masks_of(prepared.array), prepared)
    return compare(spec, mask, np.asarray(found, dtype=bool), prepared.origin.spacing, measures)


def _baseline_rows(
    spec: StudySpec,
    cohort: Cohort,
    learns: NDArray[np.int64],
    tunes: NDArray[np.int64],
    chosen: _Fitted,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    out, volumes = [], volumes_of(cohort)
    for name in names:
        baseline = fitted_baseline(spec, cohort, name, learns, chosen.model)
        tables = []
        for row in tunes.tolist():
            prepared = chosen.model.preparation.prepared(volumes.scan(row))
            rows = baseline_outlines(spec, baseline, chosen.model, prepared, volumes.mask(row), OVERLAP_ONLY)
            tables.append(Outlines(rows, []))
        out.append(_board_row(name, BASELINES[name], "baseline", mean_dice(spec, tables, cohort.patient[tunes])))
    return out


# --------------------------------------------------------------------------------------------------------- calibration


def calibrate(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    out_of_fold: NDArray[np.float64],
    progress: Progress = silent,
) -> tuple[dict[str, Any], OutlinesModel]:
    """Learn on the tune part how far the expected Dice and the volumes of a new scan can be trusted.

    Parameters
    ----------
    spec, cohort, split, model
    out_of_fold : float array, shape (n, k, 3)
        As `fit` returned it.
    progress : callable

    Returns
    -------
    (dict, OutlinesModel)
        The ``model`` block of this stage, and the model, which has learned.
    """
    tunes = tune_part(split)[1]
    patient, truth = cohort.patient[tunes], masks_of(cohort).volumes[tunes]
    quality, errors = {}, {}
    for j, one in enumerate(region_table(spec)):
        soft, true, ml = out_of_fold[tunes, j].T
        expected = DiceExpectation.fit(soft, true, patient)
        known = ~np.isnan(truth[:, j])
        learned = (
            VolumeInterval.fit(ml[known], truth[known, j], patient[known], level=spec.evaluate.level)
            if known.any()
            else None
        )
        model.quality[j], model.volume_errors[j] = expected, learned
        quality[one["key"]] = expected.to_state()
        errors[one["key"]] = None if learned is None else learned.to_state()
    return {
        "calibration": {
            "method": "none",
            "scores": {},
            "parameters": {"expected_dice": quality, "volumes": errors},
            "sentence": "A voxel belongs to a region where its probability is one half or more; probabilities are not "
            "recalibrated. How far the expected Dice and the volumes can be trusted was learned on the tune part.",
        },
        "threshold": {"value": None, "rule": "a probability of one half, the same for all regions"},
        "optimism": None,
    }, model


# ----------------------------------------------------------------------------------------------------------- packaging


def package(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    model: OutlinesModel,
    schema: VolumeSchema,
    calibrated: Mapping[str, Any],
    results: Mapping[str, Any],
    home: RunFolder,
) -> None:
    """Write the bundle, with a network that needs no torch where it outlines the same on the tune part.

    Raises
    ------
    BundleError
        If the bundle, read again, does not give its golden answers.
    """
    held = prepared_part(spec, cohort, tune_part(split)[1], model.preparation, volumes_of(cohort).cache.folder)
    members, serving = volume_network_file(model, held.scans, held.masks)
    pack_volumes(
        model,
        home.file("bundle"),
        meta={
            "study": {"id": spec.study.id, "title": spec.study.title},
            "intended_use": spec.study.intended_use,
            "intended_users": list(spec.study.intended_users),
            "not_for": list(spec.study.not_for),
            "outcome": {
                "label": outcome_label(spec),
                "unit": None,
                "codes": {name: code.model_dump() for name, code in spec.outcome.codes.items()},
            },
            "created": results["created"],
            "description": results["model"]["description"],
            "serving": serving,
        },
        expects=schema,
        extra_members={"README.md": model_card(dict(results)), **members},
    )
