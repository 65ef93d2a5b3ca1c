"""One file that holds a training in progress: arrays and JSON, written whole or not at all, read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aimed.core import MissingExtraError, RefusedError

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["FILE", "read_checkpoint", "write_checkpoint"]

FILE = "training.safetensors"
"""Name of the file in the folder of a training."""


def write_checkpoint(folder: Path, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as one file that replaces the one before it.

    A process that is killed at any moment leaves either the old file or the new one.

    Parameters
    ----------
    folder : Path
        Made when absent.
    tensors : mapping of str to Tensor
    facts : mapping
        JSON types, finite numbers.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_checkpoint(Path(folder), {"w": torch.ones(2)}, {"epoch": 3})
    ...     tensors, facts = read_checkpoint(Path(folder))
    >>> tensors["w"].tolist(), facts
    ([1.0, 1.0], {'epoch': 3})
    """
    # Weights that a module uses twice share memory, which the format does not know.
    parts = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    content = save(parts, {"facts": json.dumps(facts, allow_nan=False)})
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{FILE}.{os.getpid()}"
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / FILE)
    if hasattr(os, "O_DIRECTORY"):
        # Without this a power cut may undo the renaming.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the tensors and facts of a folder; None when it holds no training.

    Raises
    ------
    RefusedError
        If there is a file that is not one of `write_checkpoint`.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as problem:
        raise RefusedError(
            f"the checkpoint {FILE} cannot be read ({type(problem).__name__})",
            "a file written by aimed",
            "remove it to begin anew",
        ) from None
