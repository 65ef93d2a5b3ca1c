"""The key of a map of surrogates: made once, kept in a file only its owner reads, shown nowhere."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from aimed.core.errors import RefusedError
from aimed.privacy.surrogates import KEY_BYTES

__all__ = ["make_key", "read_key"]


def make_key(path: str | Path) -> bytes:
    """Write a new key to a file that only its owner may read, and return it.

    Parameters
    ----------
    path : str or Path
        A file that does not exist yet.

    Returns
    -------
    bytes
        32 random bytes; the file holds them in hexadecimal.

    Raises
    ------
    RefusedError
        The file exists: a key is never written over, for the map would be lost.
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RefusedError("there is a key file already", "a new file", "read it, or name another") from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(key.hex() + "\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return key


def read_key(path: str | Path, *, make: bool = False) -> bytes:
    """Return the key in a file.

    Parameters
    ----------
    path : str or Path
        The key file.
    make : bool
        Make it when it does not exist.

    Returns
    -------
    bytes

    Raises
    ------
    RefusedError
        There is none, it is too short, no hexadecimal text, a link, or other users may read it.
    """
    path = Path(path)
    if not os.path.lexists(path):
        if make:
            return make_key(path)
        raise RefusedError(
            "there is no key file", "a file as make_key writes it", "name another, or let aimed make one"
        )
    if path.is_symlink() or not path.is_file():
        raise RefusedError("the key file is no plain file", "a file as make_key writes it", "name the file itself")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise RefusedError("other users may read or write the key file", "mode 0600", "run: chmod 600 on it")
    text = path.read_bytes()[:4096].decode("ascii", "replace").strip()
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", text):
        raise RefusedError("the key file is no hexadecimal text", "a file as make_key writes it", "name the right file")
    key = bytes.fromhex(text)
    if len(key) < KEY_BYTES:
        raise RefusedError(f"a key of {len(key)} bytes", f"{KEY_BYTES} or more", "let aimed make one")
    if len(set(key)) < 8:
        raise RefusedError("a key of repeated bytes", "random bytes", "let aimed make one")
    return key
