"""The one way a fitted model becomes files and comes back, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aimed.bundle.allow import dump_estimator, dump_estimators, load_estimator, load_estimators
from aimed.bundle.members import dump, parse, read_member, replace_folder
from aimed.calibrate.choose import restore, state_of
from aimed.core import AimedError, BundleError, MissingExtraError
from aimed.diagnosis.findings_model import FindingsModel
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.fit.adapter import StudyModel
from aimed.fit.pooled import PooledEstimator
from aimed.fit.prepare import Preparation
from aimed.fit.recipe import Recipe
from aimed.prognosis import MODELS
from aimed.text.note_findings import NoteFindings
from aimed.treatment.effects_model import EffectsModel

__all__ = ["MODEL_MEMBERS", "FittedModel", "decode", "encode", "load_model", "save_model"]

WEIGHTS = "weights.safetensors"

FittedModel: TypeAlias = StudyModel | FindingsModel | OutlinesModel | EffectsModel | NoteFindings
"""What a study fits: a model of rows, pictures, volumes, effects or notes."""


def encode(model: FittedModel) -> dict[str, bytes]:
    """Return a fitted model as named members.

    Parameters
    ----------
    model : StudyModel, FindingsModel, OutlinesModel, EffectsModel or NoteFindings, fitted

    Returns
    -------
    dict of str to bytes
        ``model.json`` and ``calibration.json``; of rows also ``pipeline.json``, and ``model.skops`` for tree models;
        of pictures and volumes ``weights.safetensors``.

    Raises
    ------
    BundleError
        If the model is not fitted or cannot be stored without pickle.
    """
    for kind in _KINDS.values():
        if isinstance(model, kind.model):
            return kind.encode(model)
    raise BundleError("an object that is no model of a study", "a fitted model of a study")


def decode(members: Mapping[str, bytes], networks: bool = True) -> Any:
    """Rebuild a fitted model from `encode`.

    Parameters
    ----------
    members : mapping of str to bytes
    networks : bool
        Whether a model of pictures or volumes gets its networks, which needs torch.

    Returns
    -------
    StudyModel, FindingsModel, OutlinesModel, EffectsModel or NoteFindings

    Raises
    ------
    BundleError
        If a member is missing or does not hold what its name says.
    """
    try:
        record = parse(members["model.json"], "model.json")
        calibration = parse(members["calibration.json"], "calibration.json")
        kind = _KINDS[record.get("kind", "rows")]
        return kind.decode(record, calibration, members if networks else {**members, WEIGHTS: None})
    except (BundleError, MissingExtraError):
        raise
    except AimedError as error:
        raise BundleError(error.got, error.expected, error.do) from error
    # States come from outside; whatever is missing or of another type in them means the same.
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"the stored model cannot be rebuilt ({type(error).__name__})",
            "members written by aimed",
            "get the bundle again from its source",
        ) from error


# ---------------------------------------------------------------------------------------------------------------- rows


def _encode_rows(model: StudyModel) -> dict[str, bytes]:
    recipe = model.recipe
    if model.estimator is None:
        raise BundleError("a model that is not fitted", "a fitted StudyModel", "fit it first")
    record: dict[str, Any] = {
        "schema": 1,
        "recipe": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "horizon": recipe.horizon,
        "published": _is_published(recipe, model.estimator),
        "store": recipe.store,
        "parameters": dict(model.parameters),
        "seed": model.seed,
        "n_fitted": model.n_fitted,
        "clustered": model.clustered,
        "state": _state(model) if recipe.store == "json" else None,
    }
    members = {
        "pipeline.json": dump(model.preparation.to_state()),
        "model.json": dump(record),
        "calibration.json": dump(None if model.calibrator is None else state_of(model.calibrator)),
    }
    if recipe.store == "skops":
        members["model.skops"] = dump_estimator(model.estimator)
    return members


def _decode_rows(record: Any, calibration: Any, members: Mapping[str, bytes]) -> StudyModel:
    recipe = _recipe(record)
    preparation = Preparation.from_state(parse(members["pipeline.json"], "pipeline.json"))
    if record["store"] != recipe.store or (recipe.store == "skops") != ("model.skops" in members):
        raise BundleError("the model is stored in another way than its kind", recipe.store, "pack the model again")
    if recipe.store == "skops":
        expected = type(recipe.build(dict(recipe.defaults), 0))
        estimator = load_estimator(members["model.skops"], expected)
    elif recipe.from_state is not None:
        state = record["state"]
        pooled = "pooled" in state
        estimator = PooledEstimator.from_state(state, recipe.from_state) if pooled else recipe.from_state(state)
    else:
        raise BundleError(f"model '{recipe.name}' cannot be rebuilt from JSON", "a stored model", "pack it again")
    calibrator = None if calibration is None else restore(calibration)
    model = StudyModel.assemble(recipe, preparation, estimator, calibrator, record["parameters"])
    model.seed, model.n_fitted = int(record["seed"]), int(record["n_fitted"])
    model.clustered = bool(record["clustered"])
    model.preparation_options = {k: v for k, v in preparation.get_params(deep=False).items() if k != "variables"}
    inputs = len(preparation.feature_names_out_)
    if int(getattr(estimator, "n_features_in_", inputs)) != inputs:
        raise BundleError("preparation and estimator do not fit each other", f"{inputs} model inputs", "pack it again")
    return model


def _state(model: StudyModel) -> dict[str, Any]:
    if isinstance(model.estimator, PooledEstimator):
        return model.estimator.to_state(model.recipe.to_state)
    return model.recipe.to_state(model.estimator)


def _is_published(recipe: Recipe, estimator: Any) -> bool:
    from aimed.prognosis.published import PublishedFormula

    return recipe.name not in MODELS and isinstance(estimator, PublishedFormula)


def _recipe(record: Mapping[str, Any]) -> Recipe:
    if not record["published"]:
        recipe: Recipe = MODELS[record["recipe"]]
        return replace(recipe.for_task(record["task"]), horizon=record["horizon"])
    from aimed.prognosis.published import published_recipe

    state = record["state"]
    return published_recipe(
        name=record["recipe"],
        title=record["title"],
        source=state["source"],
        intercept=state["intercept"],
        coefficients=dict(state["coefficients"]),
        link=state["link"],
        baseline_survival=dict(state["baseline_survival"]) if state["baseline_survival"] else None,
        mean_linear_predictor=state["mean_linear_predictor"],
        task=record["task"],
        horizon=record["horizon"],
    )


# ------------------------------------------------------------------------------------------------------------ pictures


def _encode_pictures(model: FindingsModel) -> dict[str, bytes]:
    state = model.to_state()
    calibration = state.pop("calibration")
    return {
        "model.json": dump({"kind": "pictures", **state}),
        "calibration.json": dump(calibration),
        WEIGHTS: model.weights(),
    }


def _decode_pictures(record: Any, calibration: Any, members: Mapping[str, bytes | None]) -> FindingsModel:
    return FindingsModel.from_state({**record, "calibration": calibration}, members[WEIGHTS])


# ------------------------------------------------------------------------------------------------------------- volumes


def _encode_volumes(model: OutlinesModel) -> dict[str, bytes]:
    state = model.to_state()
    learned = {name: state.pop(name) for name in ("quality", "volume_errors")}
    return {
        "model.json": dump({"kind": "volumes", **state}),
        "calibration.json": dump(learned),
        WEIGHTS: model.weights(),
    }


def _decode_volumes(record: Any, calibration: Any, members: Mapping[str, bytes | None]) -> OutlinesModel:
    return OutlinesModel.from_state({**record, **calibration}, members[WEIGHTS])


# ------------------------------------------------------------------------------------------------------------- effects


def _encode_effects(model: EffectsModel) -> dict[str, bytes]:
    return {
        "pipeline.json": dump(model.preparation.to_state()),
        "model.json": dump({"kind": "effects", "schema": 1, **model.to_state()}),
        "calibration.json": dump(None),
        "model.skops": dump_estimators(model.estimators()),
    }


def _decode_effects(record: Any, calibration: Any, members: Mapping[str, bytes]) -> EffectsModel:
    preparation = Preparation.from_state(parse(members["pipeline.json"], "pipeline.json"))
    return EffectsModel.from_state(record, preparation, load_estimators(members["model.skops"]))


# --------------------------------------------------------------------------------------------------------------- notes


def _encode_notes(model: NoteFindings) -> dict[str, bytes]:
    state = model.to_state()
    calibration = state.pop("calibration")
    return {"model.json": dump({"kind": "notes", **state}), "calibration.json": dump(calibration)}


def _decode_notes(record: Any, calibration: Any, members: Mapping[str, bytes | None]) -> NoteFindings:
    return NoteFindings.from_state({**record, "calibration": calibration})


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of model is stored."""

    model: type
    members: tuple[str, ...]
    encode: Callable[[Any], dict[str, bytes]]
    decode: Callable[[Any, Any, Mapping[str, Any]], FittedModel]


_KINDS = {
    "rows": _Kind(
        StudyModel, ("pipeline.json", "model.json", "calibration.json", "model.skops"), _encode_rows, _decode_rows
    ),
    "pictures": _Kind(FindingsModel, ("model.json", "calibration.json", WEIGHTS), _encode_pictures, _decode_pictures),
    "effects": _Kind(
        EffectsModel,
        ("pipeline.json", "model.json", "calibration.json", "model.skops"),
        _encode_effects,
        _decode_effects,
    ),
    "notes": _Kind(NoteFindings, ("model.json", "calibration.json"), _encode_notes, _decode_notes),
    "volumes": _Kind(OutlinesModel, ("model.json", "calibration.json", WEIGHTS), _encode_volumes, _decode_volumes),
}

MODEL_MEMBERS = tuple(dict.fromkeys(name for kind in _KINDS.values() for name in kind.members))
"""The files a model may have."""


def save_model(model: FittedModel, folder: str | Path) -> Path:
    """Write a fitted model to a folder of its own, whole or not at all.

    Parameters
    ----------
    model : StudyModel, FindingsModel, OutlinesModel, EffectsModel or NoteFindings, fitted
    folder : str or Path
        Replaced as a whole.

    Returns
    -------
    Path
    """
    path = Path(folder)
    replace_folder(path, encode(model))
    return path


def load_model(folder: str | Path) -> Any:
    """Rebuild a model from `save_model`; a folder that others could change is for `aimed.bundle.load` instead.

    Returns
    -------
    StudyModel, FindingsModel, OutlinesModel, EffectsModel or NoteFindings
        What was saved.

    Raises
    ------
    BundleError
        If a file is missing or damaged.
    """
    path = Path(folder)
    names = [name for name in MODEL_MEMBERS if (path / name).exists()]
    return decode({name: read_member(path / name) for name in names})
