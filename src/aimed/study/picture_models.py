"""Which models a picture study names: candidates from the catalogue, and the baselines that never see anatomy."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aimed.core import RefusedError, StudyFileError
from aimed.diagnosis import PICTURE_MODELS
from aimed.diagnosis.picture_recipes import PictureRecipe
from aimed.study.picture_pretraining import check_pretrain
from aimed.study.spec import StudySpec, WeightsPart
from aimed.study.tasks import task_of

__all__ = ["BASELINES", "digest_of_weights", "picture_recipes_of", "require_networks", "weights_digest"]

BASELINES = {
    "prevalence": "Prevalence",
    "acquisition": "View, tags and borders",
}
"""What stands beside a model of pictures: how common a finding is, and how a picture was taken, not what it shows."""


def picture_recipes_of(spec: StudySpec) -> tuple[list[PictureRecipe], list[str]]:
    """Return candidates and names of baselines; the task's own when the study file names none.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    StudyFileError
        If a baseline is none of those for pictures.
    """
    task = task_of(spec)
    candidates: list[PictureRecipe] = [PICTURE_MODELS[n] for n in spec.model.candidates or task.candidates]
    baselines = list(spec.model.baselines or task.baselines)
    for name in baselines:
        if name not in BASELINES:
            raise StudyFileError(f"the baseline '{name}' in a study of pictures", f"one of: {', '.join(BASELINES)}")
    for recipe in candidates:
        recipe.parameters(spec.model.parameters.get(recipe.name, {}))
        if spec.images is not None and spec.images.size < recipe.least:
            raise StudyFileError(
                f"[images] size = {spec.images.size} is too small for '{recipe.name}': its last maps are one pixel",
                f"at least {recipe.least}",
                "raise it, or take another candidate",
            )
    weights = None if spec.images is None else spec.images.weights
    wanted = sorted({recipe.architecture for recipe in candidates})
    if weights is not None and weights.architecture not in wanted:
        raise StudyFileError(
            f"[images] weights are for '{weights.architecture}', which no candidate is built on",
            f"architecture = one of: {', '.join(wanted)}",
            "correct it, or add the candidate",
        )
    return candidates, baselines


def require_networks(spec: StudySpec) -> None:
    """Build the networks of the candidates and look at the weights, so that nothing of it stops a run half way.

    Raises
    ------
    MissingExtraError
        If a package of the extra "deep" is missing.
    StudyFileError
        If a network cannot be built as asked, or there is no such file of weights.
    RefusedError
        If the weights are not those that the study file names.
    """
    candidates = picture_recipes_of(spec)[0]
    for recipe in candidates:
        recipe.check(spec.model.parameters.get(recipe.name, {}), len(spec.outcome.findings))
    weights_digest(spec)
    check_pretrain(spec, candidates)


def weights_digest(spec: StudySpec) -> str | None:
    """Return the SHA-256 of the file of weights; None when the study file names none.

    Raises
    ------
    StudyFileError
        If there is no such file.
    RefusedError
        If it is not the one that the study file names.
    """
    return digest_of_weights(None if spec.images is None else spec.images.weights, spec.folder, "images")


def digest_of_weights(weights: WeightsPart | None, folder: Path, table: str) -> str | None:
    """Return the SHA-256 of a file of weights, checked against what the study file says of it.

    Parameters
    ----------
    weights : WeightsPart or None
    folder : path
        Of the study file.
    table : str
        Of the study file that names them.
    """
    if weights is None:
        return None
    try:
        with (folder / weights.file).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise StudyFileError(
            f"[{table}] weights names a file that is not there or cannot be read",
            "a file of weights",
            "paths start at the study file",
        ) from None
    if weights.sha256 not in (None, found):
        raise RefusedError(
            f"the file of weights has SHA-256 {found}",
            f"{weights.sha256}, as [{table}] weights says",
            "fetch the file again from its publisher",
        )
    return found
