"""Which models a segmentation study names: candidates from the catalogue, and baselines that know voxels alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.core import RefusedError, StudyFileError
from aimed.diagnosis import VOLUME_MODELS
from aimed.diagnosis.segmentation_head import SegmentationHead, widest_first
from aimed.diagnosis.volume_recipes import VolumeRecipe
from aimed.diagnosis.volume_scaling import VolumeScaling
from aimed.study.picture_models import digest_of_weights
from aimed.study.spec import StudySpec
from aimed.study.store import RunFolder
from aimed.study.tasks import task_of
from aimed.study.volumes import volumes_part

__all__ = [
    "BASELINES",
    "baseline_named",
    "head_of",
    "keep_plan",
    "plan_text",
    "require_volume_networks",
    "volume_recipes_of",
    "volume_weights_digest",
]

BASELINES = {
    "threshold": "Threshold on one contrast",
    "voxels": "Logistic regression on voxels",
}
"""What stands beside a network: one grey value, and the greys around a voxel; neither has seen a shape."""


def baseline_named(name: str, spacing: tuple[float, float, float], scaling: VolumeScaling) -> Any:
    """Return a baseline that is not fitted, for scans on a grid and with greys scaled as for networks."""
    from aimed.diagnosis.voxel_baselines import ThresholdBaseline, VoxelBaseline

    return ThresholdBaseline(scaling) if name == "threshold" else VoxelBaseline(scaling, spacing)


def volume_recipes_of(spec: StudySpec) -> tuple[list[VolumeRecipe], list[str]]:
    """Return candidates and names of baselines; the task's own when the study file names none.

    Raises
    ------
    UnknownNameError
        If there is no such model, or it has no such parameter.
    StudyFileError
        If a baseline is none of those for volumes, a parameter is the study's own to set, or weights are for a network
        that no candidate is built on.
    """
    task = task_of(spec)
    candidates: list[VolumeRecipe] = [VOLUME_MODELS[n] for n in spec.model.candidates or task.candidates]
    baselines = list(spec.model.baselines or task.baselines)
    for name in baselines:
        if name not in BASELINES:
            raise StudyFileError(f"the baseline '{name}' in a study of volumes", f"one of: {', '.join(BASELINES)}")
    for recipe in candidates:
        recipe.parameters(spec.model.parameters.get(recipe.name, {}))
    weights = volumes_part(spec).weights
    wanted = sorted({recipe.architecture for recipe in candidates})
    if weights is not None and weights.architecture not in wanted:
        raise StudyFileError(
            f"[volumes] weights are for '{weights.architecture}', which no candidate is built on",
            f"architecture = one of: {', '.join(wanted)}",
            "correct it, or add the candidate",
        )
    return candidates, baselines


def require_volume_networks(spec: StudySpec) -> None:
    """Build the networks of the candidates and look at weights and plan, so that nothing of it stops a run half way.

    Raises
    ------
    MissingExtraError
        If a package of the extra "deep" is missing.
    StudyFileError
        If a network cannot be built as asked, or there is no such file of weights or plan.
    RefusedError
        If the weights are not those that the study file names.
    """
    from aimed.diagnosis.volume_plan import VolumePlan

    text, head = plan_text(spec), head_of(spec)
    plan = None if text is None else VolumePlan.from_toml(text)
    modality = volumes_part(spec).modality
    if plan is not None and modality is not None and (plan.scaling.kind == "window") != (modality == "CT"):
        raise StudyFileError(
            f"[volumes] modality = '{modality}' and a plan with scaling '{plan.scaling.kind}'",
            "'window' for CT, whose units are kept, and 'nonzero' for all else",
            "correct the plan, or the modality",
        )
    for recipe in volume_recipes_of(spec)[0]:
        recipe.check(spec.model.parameters.get(recipe.name, {}), 1, head.outputs, plan)
    volume_weights_digest(spec)


def volume_weights_digest(spec: StudySpec) -> str | None:
    """Return the SHA-256 of the file of weights; None when the study file names none.

    Raises
    ------
    StudyFileError
        If there is no such file.
    RefusedError
        If it is not the file that the study file names.
    """
    part = None if spec.volumes is None else spec.volumes
    return None if part is None else digest_of_weights(part.weights, spec.folder, "volumes")


def keep_plan(home: RunFolder, plan: Mapping[str, Any]) -> None:
    """Write the plan of a run where people look for it, and refuse one that was edited there without effect.

    Parameters
    ----------
    home : RunFolder
    plan : mapping
        The ``plan`` of the record.

    Raises
    ------
    RefusedError
        If ``plan.toml`` in the run folder says something else than the run did.
    """
    from aimed.diagnosis.volume_plan import VolumePlan

    text = VolumePlan.from_dict(plan).to_toml()
    place = home.file("plan.toml")
    if place.exists() and place.read_text(encoding="utf-8", errors="replace") != text:
        raise RefusedError(
            "plan.toml in the run folder is not the plan of this run: an edit there has no effect",
            "the plan as it was written",
            'copy it beside the study file, name the copy with [volumes] plan = "plan.toml", and remove this one',
        )
    if not place.exists():
        home.write("plan.toml", text)


def plan_text(spec: StudySpec) -> str | None:
    """Return the text of the plan that the study file names; None when it names none.

    Raises
    ------
    StudyFileError
        If there is no such file, or it cannot be read as a plan.
    """
    from aimed.diagnosis.volume_plan import VolumePlan

    name = volumes_part(spec).plan
    if name is None:
        return None
    try:
        text = (spec.folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise StudyFileError(
            "[volumes] plan names a file that is not there or cannot be read",
            "a plan as a run writes it, plan.toml in its folder",
            "paths start at the study file",
        ) from None
    VolumePlan.from_toml(text)
    return text


def head_of(spec: StudySpec) -> SegmentationHead:
    """Return the regions of a study with the label that each one paints in a map.

    A region paints the smallest of its labels that no region painted over it holds, or the smallest of all where there
    is none.
    """
    regions = {name: tuple(labels) for name, labels in spec.outcome.regions.items()}
    if spec.outcome.exclusive:
        head: SegmentationHead = SegmentationHead.of_labels({name: labels[0] for name, labels in regions.items()})
        return head
    names, every = list(regions), list(regions.values())
    order = widest_first(every)
    paint = {}
    for place, region in enumerate(order):
        own = set(every[region]).difference(*(every[over] for over in order[place + 1 :]))
        paint[names[region]] = min(own or every[region])
    overlapping: SegmentationHead = SegmentationHead.of_regions(regions, paint)
    return overlapping
