"""What the verb deidentify does: the key is read or made, the choices are checked, the folder is gone through."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from aimed.core import RefusedError, UnknownNameError
from aimed.privacy.folder import Job, Summary, Told, blanking_of, deidentify_path
from aimed.privacy.key import make_key, read_key
from aimed.privacy.tables import ROLES

__all__ = ["deidentify"]


def _one_of(kind: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UnknownNameError(kind, value, known)
    return value


def deidentify(
    source: Path,
    out: Path,
    *,
    key: Path | None = None,
    patient: str | None = None,
    columns: Sequence[str] = (),
    jobs: int = 1,
    blank: str | None = None,
    style: str = "surrogate",
    dates: str = "shift",
    keep: tuple[str, ...] = (),
    told: Told | None = None,
) -> tuple[Summary, Path | None]:
    """De-identify a file or folder with a key file.

    Parameters
    ----------
    source, out : Path
        What is read, and the folder that is written.
    key : Path, optional
        Key file, made when it does not exist; ``<out>.key`` beside the output when absent.
    patient, columns, blank, style, dates, keep, told
        As in `aimed.privacy.folder`; columns as "NAME=ROLE".
    jobs : int
        Processes; -1 for as many as processors.

    Returns
    -------
    (Summary, Path or None)
        The counts, and the key file when it was made now.

    Raises
    ------
    RefusedError, DataError, UnknownNameError
        See `aimed.privacy.folder.deidentify_path`; also a key inside of the output, which would undo the work.
    """
    if jobs != -1 and jobs < 1:
        raise RefusedError(f"{jobs} jobs", "a positive number, or -1 for as many as processors", "leave it out")
    roles = {}
    for column in columns:
        name, sign, role = column.rpartition("=")
        if not sign or not name:
            raise RefusedError("a --column without its role", "NAME=ROLE", f"roles: {', '.join(ROLES)}")
        roles[name] = _one_of("role of a column", role, ROLES)
    job = Job(
        style=cast(Literal["surrogate", "class"], _one_of("style", style, ("surrogate", "class"))),
        patient=patient,
        columns=roles,
        dates=cast(Literal["shift", "remove"], _one_of("treatment of dates", dates, ("shift", "remove"))),
        keep=keep,
        blank=blanking_of(blank),
    )
    place = key if key is not None else out.with_name(f"{out.name}.key")
    if out.resolve() in place.resolve().parents:
        raise RefusedError("the key file lies inside of the output", "another place", "give another --key")
    made = not place.exists()
    if made and (out / ".aimed-deidentify" / "manifest.jsonl").exists():
        raise RefusedError("the output was begun with a key that is not there", "its key file", "give --key")
    read = make_key(place) if made else read_key(place)
    processes = (os.cpu_count() or 1) if jobs == -1 else jobs
    return deidentify_path(source, out, read, job, jobs=processes, told=told), place if made else None
