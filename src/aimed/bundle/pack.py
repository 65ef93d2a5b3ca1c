"""Packing a fitted model as a bundle: written beside, opened once as a user would, then put in place."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aimed.bundle import golden, golden_notes, golden_pictures, golden_volumes
from aimed.bundle.effects import EffectBundle
from aimed.bundle.load import load
from aimed.bundle.members import (
    EFFECTS,
    MANIFEST,
    NOTES,
    PICTURES,
    ROWS,
    VOLUMES,
    checksum,
    dump,
    replace_folder,
    safe_name,
    sha256,
)
from aimed.bundle.notes import NoteBundle, NoteSchema
from aimed.bundle.picture_schema import PictureSchema
from aimed.bundle.pictures import PictureBundle
from aimed.bundle.predict import Bundle
from aimed.bundle.schema import Schema
from aimed.bundle.serving import volume_runtime_of
from aimed.bundle.store import MODEL_MEMBERS, encode
from aimed.bundle.volume_schema import VolumeSchema
from aimed.bundle.volumes import VolumeBundle
from aimed.calibrate.several import SeveralFindings
from aimed.core import BundleError
from aimed.diagnosis.findings_model import FindingsModel
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.fit.adapter import StudyModel
from aimed.text.note_findings import NoteFindings
from aimed.treatment.effects_model import EffectsModel

__all__ = ["NOTICE", "pack", "pack_effects", "pack_notes", "pack_pictures", "pack_volumes"]

NOTICE = "Research use only. Not a medical device."
"""What every bundle says of itself."""

_OWN = {MANIFEST, "schema.json", "golden.json", *MODEL_MEMBERS}


def pack(
    model: StudyModel,
    folder: str | Path,
    *,
    meta: Mapping[str, Any],
    schema: Schema,
    horizons: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    extra_members: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle, or leave everything as it was.

    Parameters
    ----------
    model : StudyModel, fitted
    folder : str or Path
        An earlier bundle there is replaced as a whole; anything else there is left alone and refused.
    meta : mapping
        ``study`` {id, title}, ``intended_use``, ``intended_users``, ``not_for``, ``outcome`` {label, unit},
        ``thresholds`` and, to repeat a bundle exactly, ``created`` (UTC, ISO 8601).
    schema : Schema
        From `aimed.bundle.schema.describe`.
    horizons : sequence of float, optional
        Times of the risks, in the unit of the outcome; needed for survival.
    times : sequence of float, optional
        Grid of the survival curves.
    extra_members : mapping of str to bytes or str, optional
        Further files such as ``README.md``: plain names, no folders.

    Returns
    -------
    Path

    Raises
    ------
    BundleError
        If the model cannot be stored, a name is unsafe or taken, the folder holds something else, the disk is
        full, or the bundle does not open again with the same answers.
    """
    path = _place(folder)
    recipe, outcome = model.recipe, meta.get("outcome", {})
    manifest = {
        **_manifest(ROWS, meta, ("numpy", "scipy", "scikit-learn", "skops")),
        "task": recipe.task,
        "model": {"name": recipe.name, "title": recipe.title, "description": recipe.description},
        "outcome": {
            "label": outcome.get("label"),
            "kind": recipe.task,
            "unit": outcome.get("unit"),
            "horizons": None if horizons is None else [float(h) for h in horizons],
            "times": None if times is None else [float(t) for t in times],
        },
        "thresholds": list(meta.get("thresholds", ())),
    }
    return _written_rows(path, Bundle(model, schema, manifest), manifest, extra_members)


def pack_effects(
    model: EffectsModel,
    folder: str | Path,
    *,
    meta: Mapping[str, Any],
    schema: Schema,
    extra_members: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle of a model of effects, or leave everything as it was.

    Parameters
    ----------
    model : EffectsModel, fitted
    folder : str or Path
        As for `pack`.
    meta : mapping
        As for `pack`; ``arms`` says what is compared, ``description`` describes the learner in one sentence.
    schema : Schema
        From `aimed.bundle.schema.describe`.
    extra_members : mapping of str to bytes or str, optional
        Further files such as ``README.md``: plain names, no folders.

    Returns
    -------
    Path

    Raises
    ------
    BundleError
        As for `pack`.
    """
    path = _place(folder)
    manifest = {
        **_manifest(EFFECTS, meta, ("numpy", "scipy", "scikit-learn", "skops")),
        "task": "effect",
        "model": {"name": model.name, "title": model.title, "description": meta.get("description")},
        "outcome": {
            "label": meta.get("outcome", {}).get("label"),
            "kind": "effect",
            "scale": model.scale,
            "better": model.better,
            "unit": model.unit,
            "horizon": model.horizon,
        },
        "arms": dict(meta.get("arms", {})),
        "average": dict(model.average),
        "heterogeneity": model.evidence,
        "thresholds": list(meta.get("thresholds", ())),
    }
    return _written_rows(path, EffectBundle(model, schema, manifest), manifest, extra_members)


def pack_notes(
    model: NoteFindings,
    folder: str | Path,
    *,
    meta: Mapping[str, Any],
    expects: NoteSchema,
    extra_members: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle of a model of notes, or leave everything as it was.

    Parameters
    ----------
    model : NoteFindings, fitted
    folder : str or Path
    meta, extra_members
        As for `pack_pictures`.
    expects : NoteSchema

    Returns
    -------
    Path

    Raises
    ------
    BundleError
        As for `pack`.
    """
    path = _place(folder)
    manifest = {
        **_manifest(NOTES, meta, ("numpy", "scikit-learn", "numba")),
        "task": "report_labels",
        "model": {"name": model.recipe, "title": model.title, "description": meta.get("description")},
        "outcome": {"label": meta.get("outcome", {}).get("label"), "kind": "multilabel", "findings": _findings(model)},
    }
    members = {**encode(model), "schema.json": dump(expects.to_dict(), pretty=True), **_extra(extra_members, {})}
    members["golden.json"] = dump(golden_notes.make(NoteBundle(model, expects, manifest)))
    return _written(path, members, manifest)


def _findings(model: SeveralFindings) -> list[dict[str, Any]]:
    """Return what a manifest says of the findings of a model."""
    limits = [None if value != value else float(value) for value in model.thresholds.tolist()]
    return [
        {"key": key, "name": name, "label": model.labels[name], "threshold": limit}
        for key, name, limit in zip(model.keys, model.findings, limits, strict=True)
    ]


def pack_pictures(
    model: FindingsModel,
    folder: str | Path,
    *,
    meta: Mapping[str, Any],
    expects: PictureSchema,
    extra_members: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle of a model of pictures, or leave everything as it was.

    Parameters
    ----------
    model : FindingsModel, fitted
    folder : str or Path
        As for `pack`.
    meta : mapping
        As for `pack`, without ``thresholds``, which the model holds; ``description`` of the model in one sentence, and
        ``serving``, what is known of other ways to run it.
    expects : PictureSchema
        From `aimed.bundle.picture_schema.describe_pictures`.
    extra_members : mapping of str to bytes or str, optional
        Further files such as ``README.md``: plain names, no folders.

    Returns
    -------
    Path

    Raises
    ------
    BundleError
        As for `pack`.
    """
    path = _place(folder)
    manifest = {
        **_manifest(PICTURES, meta, ("numpy", "torch", "safetensors", "pillow", "pydicom", "imagecodecs")),
        "task": "multilabel",
        "model": {"name": model.recipe, "title": model.title, "description": meta.get("description")},
        "outcome": {
            "label": meta.get("outcome", {}).get("label"),
            "kind": "multilabel",
            "findings": _findings(model),
        },
        "serving": meta.get("serving"),
    }
    pictures = golden_pictures.synthetic_pictures(model.size, model.bits)
    members = {
        **encode(model),
        "schema.json": dump(expects.to_dict(), pretty=True),
        **pictures,
        **_extra(extra_members, pictures),
    }
    members["golden.json"] = dump(golden_pictures.make(PictureBundle(model, expects, manifest), pictures))
    return _written(path, members, manifest)


def pack_volumes(
    model: OutlinesModel,
    folder: str | Path,
    *,
    meta: Mapping[str, Any],
    expects: VolumeSchema,
    extra_members: Mapping[str, bytes | str] | None = None,
) -> Path:
    """Write a bundle of a model of volumes, or leave everything as it was.

    Parameters
    ----------
    model : OutlinesModel, fitted
    folder : str or Path
        As for `pack`.
    meta : mapping
        As for `pack_pictures`; ``outcome`` may hold ``codes``, {region: {scheme, value, meaning}}, by name.
    expects : VolumeSchema
        From `aimed.bundle.volume_schema.describe_volumes`.
    extra_members : mapping of str to bytes or str, optional
        Further files such as ``README.md``: plain names, no folders.

    Returns
    -------
    Path

    Raises
    ------
    BundleError
        As for `pack`.
    """
    path = _place(folder)
    head, codes = model.segmenter.head_, _codes(model, meta)
    manifest = {
        **_manifest(VOLUMES, meta, ("numpy", "scipy", "torch", "safetensors", "nibabel", "pydicom", "imagecodecs")),
        "task": "segment",
        "model": {"name": model.recipe, "title": model.title, "description": meta.get("description")},
        "outcome": {
            "label": meta.get("outcome", {}).get("label"),
            "kind": "masks",
            "exclusive": head.exclusive,
            "regions": [
                {
                    "key": key,
                    "name": name,
                    "label": model.labels[name],
                    "labels": list(labels),
                    "paint": paint,
                    "code": codes.get(name),
                }
                for key, name, labels, paint in zip(model.keys, model.regions, head.labels, head.paint, strict=True)
            ],
        },
        "serving": meta.get("serving"),
    }
    volumes = golden_volumes.synthetic_volumes(model)
    extra = _extra(extra_members, volumes)
    bundle = VolumeBundle(model, expects, manifest, runtime=volume_runtime_of(model, extra, manifest))
    cases, chances = golden_volumes.make(bundle, volumes)
    _extra(extra_members, chances)
    members = {
        **encode(model),
        "schema.json": dump(expects.to_dict(), pretty=True),
        **volumes,
        **chances,
        **extra,
        "golden.json": dump(cases),
    }
    return _written(path, members, manifest)


def _codes(model: OutlinesModel, meta: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    given = meta.get("outcome", {}).get("codes") or {}
    strange = [name for name in given if name not in model.regions]
    if strange:
        raise BundleError(f"codes of {len(strange)} regions that the model does not outline", "codes of its regions")
    return {name: {part: str(code[part]) for part in ("scheme", "value", "meaning")} for name, code in given.items()}


def _place(folder: str | Path) -> Path:
    path = Path(folder)
    if path.is_symlink() or (path.exists() and not _replaceable(path)):
        raise BundleError(
            f"'{path.name}' exists and is no bundle", "a new folder or an earlier bundle", "choose another folder"
        )
    return path


def _extra(given: Mapping[str, bytes | str] | None, taken: Collection[str] = ()) -> dict[str, bytes]:
    extra = {name: data.encode() if isinstance(data, str) else bytes(data) for name, data in (given or {}).items()}
    wrong = [name for name in extra if name in _OWN or name in taken or not safe_name(name)]
    if wrong:
        raise BundleError(
            f"{len(wrong)} extra member" + "s" * (len(wrong) > 1) + " with an unsafe or taken name",
            "plain file names such as README.md",
            "rename the file",
        )
    return extra


def _written_rows(
    path: Path, bundle: Bundle | EffectBundle, manifest: dict[str, Any], extra: Mapping[str, bytes | str] | None
) -> Path:
    """Write a bundle that reads rows of a table, with what it answers to golden rows."""
    schema = dump(bundle.schema.to_dict(), pretty=True)
    members = {**encode(bundle.model), "schema.json": schema, **_extra(extra)}
    members["golden.json"] = dump(golden.make(bundle))
    return _written(path, members, manifest)


def _written(path: Path, members: dict[str, bytes], manifest: dict[str, Any]) -> Path:
    manifest["members"] = {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in sorted(members.items())}
    manifest["checksum"] = checksum(manifest)
    replace_folder(path, {**members, MANIFEST: dump(manifest, pretty=True)}, verify=load)
    return path


def _replaceable(path: Path) -> bool:
    return path.is_dir() and ((path / MANIFEST).is_file() or not any(path.iterdir()))


def _manifest(kind: str, meta: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    study = meta.get("study", {})
    return {
        "kind": kind,
        "schema": 1,
        "notice": NOTICE,
        "aimed_version": version("aimed"),
        "created": meta.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        "study": {"id": study.get("id"), "title": study.get("title")},
        "intended_use": meta.get("intended_use"),
        "intended_users": list(meta.get("intended_users", ())),
        "not_for": list(meta.get("not_for", ())),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
