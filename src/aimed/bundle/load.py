"""Opening a bundle: verify every file, rebuild the model, ask the golden cases; anything else refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from aimed.bundle import golden, golden_notes, golden_pictures, golden_volumes
from aimed.bundle.effects import EffectBundle
from aimed.bundle.members import EFFECTS, NOTES, PICTURES, ROWS, VOLUMES, parse, read_folder
from aimed.bundle.notes import NoteBundle, NoteSchema
from aimed.bundle.picture_schema import PictureSchema
from aimed.bundle.pictures import PictureBundle
from aimed.bundle.predict import Bundle
from aimed.bundle.schema import Schema
from aimed.bundle.serving import NETWORK_FILE, runtime_of, torch_is_here, volume_runtime_of
from aimed.bundle.store import MODEL_MEMBERS, decode
from aimed.bundle.volume_schema import VolumeSchema
from aimed.bundle.volumes import VolumeBundle
from aimed.core import BundleError, DataError

__all__ = ["AnyBundle", "load"]

AnyBundle: TypeAlias = Bundle | PictureBundle | VolumeBundle | EffectBundle | NoteBundle
"""What `load` opens."""

Files: TypeAlias = Mapping[str, bytes]


def load(folder: str | Path) -> AnyBundle:
    """Open a bundle for predicting.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Bundle, PictureBundle, VolumeBundle, EffectBundle or NoteBundle
        As the manifest says what the model reads.

    Raises
    ------
    BundleError
        If any member is missing, added, changed or too large, the model is made of anything but allowed
        types, or a golden case has another answer.

    Notes
    -----
    Hashes tell damage and carelessness, not malice: who can rewrite every file can rewrite every hash. Even
    then nothing in a bundle is executed.
    """
    manifest, members = read_folder(Path(folder))
    for name in ("schema.json", "golden.json"):
        if name not in members:
            raise BundleError(f"the bundle lists no {name}", "a complete bundle", "pack the model again")
    stored = {name: members[name] for name in MODEL_MEMBERS if name in members}
    beside = {name: data for name, data in members.items() if name not in MODEL_MEMBERS}
    try:
        return _OPEN[manifest["kind"]](stored, beside, manifest)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"schema.json or the manifest is incomplete ({type(error).__name__})",
            "a bundle written by aimed",
            "get the bundle again from its source",
        ) from error


def _rows(stored: Files, beside: Files, manifest: Mapping[str, Any]) -> Bundle:
    bundle = Bundle(decode(stored), Schema.from_dict(parse(beside["schema.json"], "schema.json")), manifest, beside)
    golden.check(bundle, parse(beside["golden.json"], "golden.json"))
    return bundle


def _effects(stored: Files, beside: Files, manifest: Mapping[str, Any]) -> EffectBundle:
    schema = Schema.from_dict(parse(beside["schema.json"], "schema.json"))
    bundle = EffectBundle(decode(stored), schema, manifest, beside)
    golden.check(bundle, parse(beside["golden.json"], "golden.json"))
    return bundle


def _pictures(stored: Files, beside: Files, manifest: Mapping[str, Any]) -> PictureBundle:
    schema = PictureSchema.from_dict(parse(beside["schema.json"], "schema.json"))
    # Without torch the network file runs; where there is none either, the missing package is named.
    model = decode(stored, networks=torch_is_here() or NETWORK_FILE not in beside)
    bundle = PictureBundle(model, schema, manifest, beside, runtime_of(model, beside, manifest))
    golden_pictures.check(bundle, parse(beside["golden.json"], "golden.json"))
    return bundle


def _volumes(stored: Files, beside: Files, manifest: Mapping[str, Any]) -> VolumeBundle:
    schema = VolumeSchema.from_dict(parse(beside["schema.json"], "schema.json"))
    model = decode(stored, networks=torch_is_here() or NETWORK_FILE not in beside)
    bundle = VolumeBundle(model, schema, manifest, beside, volume_runtime_of(model, beside, manifest))
    golden_volumes.check(bundle, parse(beside["golden.json"], "golden.json"))
    return bundle


def _notes(stored: Files, beside: Files, manifest: Mapping[str, Any]) -> NoteBundle:
    schema = NoteSchema.from_dict(parse(beside["schema.json"], "schema.json"))
    bundle = NoteBundle(decode(stored), schema, manifest, beside)
    golden_notes.check(bundle, parse(beside["golden.json"], "golden.json"))
    return bundle


_OPEN: Mapping[str, Callable[[Files, Files, Mapping[str, Any]], AnyBundle]] = {
    ROWS: _rows,
    PICTURES: _pictures,
    VOLUMES: _volumes,
    EFFECTS: _effects,
    NOTES: _notes,
}
