"""The files of a bundle: safe names, strict JSON, hashes, size limits, and writing that leaves nothing half done."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from aimed.core import BundleError

__all__ = [
    "EFFECTS",
    "MANIFEST",
    "NOTES",
    "PICTURES",
    "ROWS",
    "VOLUMES",
    "checksum",
    "dump",
    "parse",
    "read_folder",
    "read_member",
    "replace_folder",
    "sha256",
    "sync",
]

MANIFEST = "manifest.json"
"""The member that lists all others."""

ROWS, PICTURES, VOLUMES = "aimed.bundle", "aimed.picture_bundle", "aimed.volume_bundle"
EFFECTS, NOTES = "aimed.effect_bundle", "aimed.note_bundle"
"""Kinds of bundle: what their models read."""

MEGABYTE = 1 << 20
MAX_MEMBERS = 64
MAX_DEPTH = 64
_LIMITS = {
    MANIFEST: MEGABYTE,
    **dict.fromkeys(("model.skops", "weights.safetensors", "model.onnx"), 1024 * MEGABYTE),
}
_LIMIT = 64 * MEGABYTE
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes in hexadecimal.

    Examples
    --------
    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def safe_name(name: str) -> bool:
    """Say whether a name is a plain file name: no folder, no leading dot, no device.

    Examples
    --------
    >>> safe_name("model.json"), safe_name("../model.json"), safe_name(".hidden")
    (True, False, False)
    """
    return bool(_NAME.fullmatch(name))


def dump(value: Any, pretty: bool = False) -> bytes:
    r"""Return strict JSON bytes with sorted keys; the same value always gives the same bytes.

    Raises
    ------
    BundleError
        If a number is not finite or a value is no JSON type.

    Examples
    --------
    >>> dump({"b": 1, "a": [0.1]})
    b'{"a":[0.1],"b":1}\n'
    """
    form: dict[str, Any] = {"indent": 1} if pretty else {"separators": (",", ":")}
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, **form)
        return text.encode() + b"\n"
    except (TypeError, ValueError):
        raise BundleError(
            "a part of the bundle holds a value that JSON has no word for",
            "finite numbers, text and lists",
            "check what was passed in, and the model's to_state",
        ) from None


def parse(data: bytes, name: str) -> Any:
    """Read strict JSON: UTF-8, no NaN or infinity, no repeated key, at most 64 levels deep.

    Raises
    ------
    BundleError
        If the text is anything else; the message names the member and shows nothing of it.

    Examples
    --------
    >>> parse(b'{"a": NaN}', "model.json")
    Traceback (most recent call last):
        ...
    aimed.core.errors.BundleError: member 'model.json' is not strict JSON; expected one JSON value; \
get the bundle again from its source
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise ValueError("repeated key")
        return found

    def constant(word: str) -> Any:
        raise ValueError(word)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
        _shallow(value)
    except (ValueError, RecursionError):
        raise BundleError(
            f"member '{name}' is not strict JSON", "one JSON value", "get the bundle again from its source"
        ) from None
    return value


def _shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [inner for outer in containers for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if not level:
            return
    raise ValueError("too deep")


def checksum(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own ``checksum`` entry.

    Examples
    --------
    >>> checksum({"a": 1}) == checksum({"a": 1, "checksum": "anything"})
    True
    """
    return sha256(dump({key: value for key, value in manifest.items() if key != "checksum"}))


def read_member(path: Path) -> bytes:
    """Read one regular file within its size limit, never through a link.

    Raises
    ------
    BundleError
        If it is a link, a folder, a device, too large or unreadable.
    """
    name = path.name
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        got = "is a link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise BundleError(f"member '{name}' {got}", "a plain file", "get the bundle again from its source") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        limit = _LIMITS.get(name, _LIMIT)
        if not stat.S_ISREG(status.st_mode) or path.is_symlink():
            raise BundleError(f"member '{name}' is not a plain file", "plain files only", "do not use this bundle")
        data = file.read(limit + 1) if status.st_size <= limit else b""
        if status.st_size > limit or len(data) > limit:
            raise BundleError(
                f"member '{name}' is larger than {limit // MEGABYTE} MB", "a smaller member", "do not use this bundle"
            )
    return data


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read and verify every file of a bundle before anything is made of it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    manifest : dict
    members : dict of str to bytes
        The bytes that were hashed; nothing is read twice.

    Raises
    ------
    BundleError
        If a member is missing, not listed, changed, a link, too large or badly named.
    """
    if not folder.is_dir():
        raise BundleError(
            f"'{folder.name}' is not a folder", "a bundle folder", "give the folder that holds manifest.json"
        )
    manifest = _read_manifest(folder)
    listed = manifest["members"]
    bad = [name for name in listed if not safe_name(name) or name == MANIFEST]
    if bad:
        raise BundleError(
            f"the manifest lists {len(bad)} unsafe member name" + "s" * (len(bad) > 1),
            "plain file names inside the bundle",
            "do not use this bundle",
        )
    present = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    if present != set(listed):
        extra, missing = len(present - set(listed)), sorted(set(listed) - present)
        got = f"{extra} file{'s' * (extra > 1)} that the manifest does not list" if extra else ""
        gone = f"no member {', '.join(repr(name) for name in missing)}" if missing else ""
        raise BundleError(
            f"the bundle has {' and '.join(part for part in (got, gone) if part)}",
            "exactly the members the manifest lists",
            "get the bundle again from its source",
        )
    members: dict[str, bytes] = {}
    for name, record in listed.items():
        data = read_member(folder / name)
        if len(data) != record["bytes"] or sha256(data) != record["sha256"]:
            raise BundleError(
                f"member '{name}' has changed since it was packed",
                "the SHA-256 in the manifest",
                "get the bundle again from its source",
            )
        members[name] = data
    return manifest, members


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_symlink() and not (folder / MANIFEST).exists():
        raise BundleError(
            f"'{folder.name}' has no {MANIFEST}", "a bundle folder", "give the folder that `aimed run` wrote"
        )
    data = read_member(folder / MANIFEST)
    manifest = parse(data, MANIFEST)
    again = "get the bundle again from its source"
    if not isinstance(manifest, dict) or manifest.get("kind") not in (ROWS, PICTURES, VOLUMES, EFFECTS, NOTES):
        kinds = f"kind '{ROWS}', '{PICTURES}', '{VOLUMES}', '{EFFECTS}' or '{NOTES}'"
        raise BundleError(f"{MANIFEST} is not the manifest of a bundle", kinds, again)
    if manifest.get("schema") != 1:
        raise BundleError("the bundle has another schema version", "version 1", "update aimed")
    # The bytes must be the canonical ones, so that a change of white space is seen as well.
    if manifest.get("checksum") != checksum(manifest) or dump(manifest, pretty=True) != data:
        raise BundleError(f"{MANIFEST} has changed since it was packed", "its own checksum", again)
    members = manifest.get("members")
    if not isinstance(members, dict) or not 0 < len(members) <= MAX_MEMBERS:
        raise BundleError(f"{MANIFEST} lists no members or too many", f"1 to {MAX_MEMBERS} members", again)
    for record in members.values():
        if not isinstance(record, dict) or not {"sha256", "bytes"} <= set(record):
            raise BundleError(f"{MANIFEST} lists a member without its hash", "sha256 and bytes of each", again)
    return manifest


def sync(folder: Path) -> None:
    """Ask the system to put a folder's entries on disk, where it knows how to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_member(path: Path, data: bytes) -> None:
    """Write one file and wait until it is on disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_folder(folder: Path, members: Mapping[str, bytes], verify: Callable[[Path], Any] | None = None) -> None:
    """Write files to a hidden folder beside, verify it, and put it in place by renaming.

    Parameters
    ----------
    folder : Path
        Where the files end up; an earlier folder there is replaced as a whole.
    members : mapping of str to bytes
    verify : callable, optional
        Called with the hidden folder before it takes the place; whatever it raises stops the replacement.

    Raises
    ------
    BundleError
        If a file cannot be written. The earlier folder is then still in place, and nothing half-written is.

    Notes
    -----
    What an interrupted call left behind is cleared by the next one; a folder that was set aside and not yet
    replaced comes back first.
    """
    folder = folder.absolute()
    own = glob.escape(folder.name)
    token = uuid4().hex[:12]
    fresh = folder.parent / f".{folder.name}.packing-{token}"
    aside = folder.parent / f".{folder.name}.aside-{token}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{own}.aside-*"):
            if not folder.exists():
                left.rename(folder)
            shutil.rmtree(left, ignore_errors=True)
        for left in folder.parent.glob(f".{own}.packing-*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir()
        for name, data in members.items():
            write_member(fresh / name, data)
        sync(fresh)
        if verify is not None:
            verify(fresh)
        if folder.exists():
            folder.rename(aside)
        try:
            fresh.rename(folder)
        except OSError:
            if aside.exists():
                aside.rename(folder)
            raise
        sync(folder.parent)
    except OSError as error:
        raise BundleError(
            f"the bundle could not be written ({error.strerror or type(error).__name__})",
            "room and permission to write",
            "free some space, then run again; the earlier bundle is untouched",
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
