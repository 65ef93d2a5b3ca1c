"""Learning from pictures before any label is used: on the part that networks learn from, kept in the run folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import aimed
from aimed.core import Cohort, StudyFileError
from aimed.core.outcome import Multilabel
from aimed.diagnosis.image_rows import images_digest
from aimed.diagnosis.picture_recipes import PictureRecipe
from aimed.study.pictures import images_of
from aimed.study.spec import PretrainPart, StudySpec
from aimed.study.store import RunFolder, file_sha256, key_of, write_atomic

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights

__all__ = ["Start", "check_pretrain", "pretrain_candidates", "pretrained_networks"]

Progress = Callable[[float, str], None]
_WORDS = {"masked": "painting hidden patches", "contrastive": "telling two views of a picture from those of others"}


@dataclass(frozen=True, slots=True)
class Start:
    """Weights that were learned without labels, and how.

    Parameters
    ----------
    weights : InitialWeights
    facts : dict
        Method, pictures, patients, pictures without any label, epochs, the loss of each, and a sentence.
    """

    weights: InitialWeights
    facts: dict[str, Any]


def _networks(spec: StudySpec, candidates: Sequence[PictureRecipe]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return architecture and options of each candidate that has no weights of the user."""
    given = None if spec.images is None or spec.images.weights is None else spec.images.weights.architecture
    found = {}
    for recipe in candidates:
        options = recipe.parameters(spec.model.parameters.get(recipe.name, {})).get("architecture_options")
        if recipe.architecture != given:
            found[recipe.name] = (recipe.architecture, dict(options or {}))
    return found


def pretrained_networks(spec: StudySpec, candidates: Sequence[PictureRecipe]) -> list[tuple[str, dict[str, Any]]]:
    """Return architecture and options of what is pretrained: one network for all candidates that are built alike."""
    if spec.images is None or spec.images.pretrain is None:
        return []
    return list({key_of(*network): network for network in _networks(spec, candidates).values()}.values())


def check_pretrain(spec: StudySpec, candidates: Sequence[PictureRecipe]) -> None:
    """Refuse a pretraining that no candidate would use, or that does not fit the size of the pictures.

    Raises
    ------
    StudyFileError
        If every candidate starts from weights of the user.
    DataError
        If the pictures cannot be cut into patches.
    """
    images = spec.images
    if images is None or images.pretrain is None:
        return
    from aimed.diagnosis.pretraining import check_pretraining

    networks = _networks(spec, candidates)
    if not networks:
        raise StudyFileError(
            "[images] has both 'weights' and 'pretrain', and every candidate starts from the weights",
            "one start for a network",
            "remove one of them, or add a candidate of another architecture",
        )
    for architecture, options in networks.values():
        check_pretraining(images.pretrain.method, images.size, architecture, options)


def pretrain_candidates(
    spec: StudySpec,
    cohort: Cohort,
    learns: NDArray[np.int64],
    candidates: Sequence[PictureRecipe],
    home: RunFolder | None,
    progress: Progress,
) -> dict[str, Start]:
    """Pretrain the network of each candidate on pictures alone, those without any label included.

    Parameters
    ----------
    spec : StudySpec
    cohort : Cohort
    learns : int array
        Rows that networks learn from. No other row is read: what tunes or tests must be new to a network, with and
        without its labels.
    candidates : sequence of PictureRecipe
    home : RunFolder
        Keeps weights and checkpoints: what is done is not done again, and a pretraining that was stopped goes on.
    progress : callable
        ``progress(share, text)``.

    Returns
    -------
    dict of str to Start
        By name of the candidate; empty when the study file asks for no pretraining.
    """
    asked = None if spec.images is None else spec.images.pretrain
    if asked is None:
        return {}
    if home is None:
        raise TypeError("pretraining keeps its weights in a run folder")
    pictures = images_of(cohort).take(learns)
    digest = images_digest(pictures)
    networks = pretrained_networks(spec, candidates)
    done: dict[str, Start] = {}
    for place, (architecture, options) in enumerate(networks):
        key = key_of("pretrain", aimed.__version__, digest, asked.model_dump(), architecture, options, spec.study.seed)

        def tell(share: float, text: str = "", place: int = place, name: str = architecture) -> None:
            progress((place + share) / len(networks), f"{name} without labels: {text}")

        folder = Path(home.file("fit", f"pretraining-{key[:16]}"))
        record = _kept(folder)
        if record is None:
            record = _learned(asked, pictures, folder, architecture, options, spec.study.seed, tell)
        done[key_of(architecture, options)] = _start(folder, record, _facts(cohort, learns, architecture))
    return {name: done[key_of(*network)] for name, network in _networks(spec, candidates).items()}


def _learned(
    asked: PretrainPart,
    pictures: Any,
    folder: Path,
    architecture: str,
    options: Mapping[str, Any],
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    from aimed.diagnosis.pretraining import pretrain

    found = pretrain(
        pictures,
        folder / "weights.safetensors",
        architecture,
        options,
        method=asked.method,
        max_epochs=asked.epochs,
        random_state=seed,
        checkpoint=folder / "training",
        progress=progress,
    )
    record = {
        "method": asked.method,
        "epochs": int(found.loss.size),
        "loss": found.loss.tolist(),
        "chance": found.chance,
        "sha256": found.weights.sha256,
    }
    write_atomic(folder / "record.json", json.dumps(record, indent=1) + "\n")
    return record


def _kept(folder: Path) -> dict[str, Any] | None:
    """Return the record of a pretraining that is done and whose weights are as it left them."""
    try:
        record: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        same = record["sha256"] == file_sha256(folder / "weights.safetensors")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None


def _facts(cohort: Cohort, learns: NDArray[np.int64], architecture: str) -> dict[str, Any]:
    if not isinstance(cohort.outcome, Multilabel):
        raise TypeError("a cohort of findings is needed")
    return {
        "architecture": architecture,
        "pictures": int(learns.size),
        "patients": int(np.unique(cohort.patient[learns]).size),
        "unlabelled": int(np.isnan(cohort.outcome.values[learns]).all(axis=1).sum()),
    }


def _start(folder: Path, record: Mapping[str, Any], facts: Mapping[str, Any]) -> Start:
    from aimed.diagnosis.initial_weights import InitialWeights

    sentence = (
        f"Before any label was used, the network learned by {_WORDS[record['method']]} from {facts['pictures']:,} "
        f"pictures of {facts['patients']:,} patients, {facts['unlabelled']:,} of them without any label "
        f"({record['epochs']} epochs). All are of the part that networks learn from; no picture of the tune or the "
        "test part was among them."
    )
    weights = InitialWeights(path=folder / "weights.safetensors", sha256=record["sha256"])
    return Start(weights, {**record, **facts, "sentence": sentence})
