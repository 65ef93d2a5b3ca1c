"""Opening a bundle: verify every file, rebuild the model, ask the golden cases; anything else refuses."""

from __future__ import annotations

from pathlib import Path

from aimed.bundle import golden
from aimed.bundle.members import parse, read_folder
from aimed.bundle.predict import Bundle
from aimed.bundle.schema import Schema
from aimed.bundle.store import MODEL_MEMBERS, decode
from aimed.core import BundleError, DataError

__all__ = ["load"]


def load(folder: str | Path) -> Bundle:
    """Open a bundle for predicting.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Bundle

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
    model = decode({name: members[name] for name in MODEL_MEMBERS if name in members})
    try:
        schema = Schema.from_dict(parse(members["schema.json"], "schema.json"))
        beside = {name: data for name, data in members.items() if name not in MODEL_MEMBERS}
        bundle = Bundle(model, schema, manifest, beside)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"schema.json or the manifest is incomplete ({type(error).__name__})",
            "a bundle written by aimed",
            "get the bundle again from its source",
        ) from error
    golden.check(bundle, parse(members["golden.json"], "golden.json"))
    return bundle
