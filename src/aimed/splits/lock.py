"""The split lock: hashed patient ids of each part, written once, read by every later run."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import RefusedError

__all__ = ["apply_lock", "hash_ids", "make_lock"]


def hash_ids(ids: ArrayLike, key: str) -> list[str]:
    """Return a keyed hash of each id: pseudonyms, not anonymity.

    Someone who holds both the lock and a list of all possible ids can link them; the lock therefore stays
    with the study, as the data do.

    Examples
    --------
    >>> len(hash_ids(["p1"], "study")[0])
    20
    """
    secret = key.encode()
    return [hmac.new(secret, str(i).encode(), hashlib.sha256).hexdigest()[:20] for i in np.asarray(ids, dtype=str)]


def make_lock(
    study: str, parts: Mapping[str, NDArray[np.int64]], patient: ArrayLike, settings: Mapping[str, Any]
) -> str:
    """Return the text of a lock.

    Parameters
    ----------
    study : str
        Study id, the key of the hashes.
    parts : mapping of str to int array
    patient : str array, shape (n,)
    settings : mapping
        How the parts were drawn, as the study file says.
    """
    ids = np.asarray(patient, dtype=str)
    held = {name: sorted(hash_ids(np.unique(ids[rows]), study)) for name, rows in parts.items()}
    return json.dumps({"schema": 1, "study": study, "settings": dict(settings), "patients": held}, indent=0) + "\n"


def apply_lock(
    text: str, study: str, patient: ArrayLike, settings: Mapping[str, Any], within: Sequence[NDArray[np.int64]] = ()
) -> dict[str, NDArray[np.int64]]:
    """Return the parts that a lock describes for the patients of a cohort.

    Parameters
    ----------
    text : str
        Content of the lock.
    study, patient, settings
        As in `make_lock`.
    within : sequence of int array, optional
        Rows that may be used at all; the rest was left out when the split was drawn.

    Raises
    ------
    RefusedError
        If the lock is of another study, was drawn with other settings, or does not know all patients.
    """
    try:
        lock = json.loads(text)
        parts = {str(name): set(ids) for name, ids in lock["patients"].items()}
        owner, drawn = lock["study"], lock["settings"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RefusedError("splits.lock cannot be read", "the lock of the first run", "restore it") from None
    again = "give the study a new id to start a new locked split"
    if owner != study:
        raise RefusedError("splits.lock belongs to another study", f"the lock of '{study}'", again)
    if drawn != json.loads(json.dumps(dict(settings))):
        raise RefusedError("[split] differs from the one that splits.lock was drawn with", "the same settings", again)
    ids = np.asarray(patient, dtype=str)
    usable = np.unique(np.concatenate(list(within))) if within else np.arange(ids.size)
    unique, inverse = np.unique(ids, return_inverse=True)
    hashed = hash_ids(unique, study)
    out = {}
    known = np.zeros(unique.size, dtype=bool)
    for name, members in parts.items():
        inside = np.fromiter((h in members for h in hashed), dtype=bool, count=len(hashed))
        known |= inside
        rows = np.flatnonzero(inside[inverse])
        out[name] = rows[np.isin(rows, usable)]
    missing = sum(len(m) for m in parts.values()) - int(known.sum())
    strange = int((~known[np.unique(inverse[usable])]).sum())
    if missing or strange:
        raise RefusedError(
            f"the data changed since splits.lock was written: {strange} patients are new and {missing} are gone",
            "the patients of the first run",
            again,
        )
    return out
