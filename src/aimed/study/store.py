"""The run folder: every artefact written whole or not at all, stages resumed by content, test openings counted."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aimed.core import DataError, RefusedError

__all__ = ["RunFolder", "file_sha256", "jsonable", "key_of", "write_atomic"]


def jsonable(value: Any) -> Any:
    """Return plain JSON types: numpy scalars and arrays unpacked, NaN and infinity as None.

    Examples
    --------
    >>> jsonable({"a": np.float64("nan"), "b": np.array([1, 2])})
    {'a': None, 'b': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def key_of(*parts: Any) -> str:
    """Return a SHA-256 over JSON of the parts; equal content gives an equal key."""
    text = json.dumps(jsonable(list(parts)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    sha = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


class NotWrittenError(DataError):
    """A file could not be written: the disk is full, or nothing may be written there.

    Attributes
    ----------
    strerror : str, optional
        What the system says, without the name of the file.
    """

    strerror: str | None = None


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file under a temporary name, flush it to disk, then rename it into place.

    Raises
    ------
    NotWrittenError
        If the disk is full or the folder cannot be written; the old file is then still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        refused = NotWrittenError(
            f"{path.name} could not be written ({error.strerror or 'I/O error'})",
            "a folder with free space that may be written",
            "free some space or choose another run folder; finished stages are kept",
        )
        refused.strerror = error.strerror
        raise refused from None
    return path


def changed_by_hand() -> DataError:
    """Return the error for results that no run writes."""
    return DataError(
        "results.json is not what a run writes", "an unchanged results.json", "run the study again in this folder"
    )


_LEFTOVER = re.compile(r"\..+\.\d+\.part")


class RunFolder:
    """The folder of one study's runs.

    Parameters
    ----------
    path : path
        Made when it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def open(self) -> RunFolder:
        """Make the folder."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the run folder cannot be made ({error.strerror})", "a folder that may be written", "choose another"
            ) from None
        return self

    def clear_leftovers(self) -> None:
        """Remove the files that a killed run left half-written; call it with the lock held."""
        for folder in (self.path, self.path / "stages", self.path / "fit"):
            for leftover in folder.glob(".*.part"):
                if _LEFTOVER.fullmatch(leftover.name):
                    with contextlib.suppress(OSError):
                        leftover.unlink()

    def set_aside(self) -> None:
        """Move what an earlier run showed to ``stale``: the data or the study file no longer pass the checks."""
        for name in (
            "report.html",
            "model_card.md",
            "results.json",
            "bundle",
            "predictions.parquet",
            "reasons.parquet",
            "cases.parquet",
        ):
            path, target = self.file(name), self.file("stale", name)
            if path.exists():
                target.parent.mkdir(exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                os.replace(path, target)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one process; a second run at the same time is refused.

        The operating system lets go of the lock when the process dies, however it dies.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        try:
            handle = (self.path / ".lock").open("w")
        except OSError as error:
            raise DataError(
                f"the run folder cannot be written ({error.strerror})", "a folder that may be written", "choose another"
            ) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RefusedError(
                    "another run is using this run folder", "one run at a time", "wait for it, or choose another --out"
                ) from None
            yield

    def file(self, *parts: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path.joinpath(*parts)

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file whole."""
        return write_atomic(self.file(name), content)

    def write_json(self, name: str, record: Any) -> Path:
        """Write JSON whole; NaN becomes null."""
        return self.write(name, json.dumps(jsonable(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Read JSON, or raise a DataError that names the file."""
        try:
            return json.loads(self.file(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"there is no {name} in the run folder", "a finished run", "run the study first") from None
        except ValueError:
            raise DataError(f"{name} is damaged", "valid JSON", "run the study again") from None

    def read_results(self) -> dict[str, Any]:
        """Read ``results.json``, or raise when it is not what a run writes."""
        found = self.read_json("results.json")
        blocks = ("study", "verdict", "data", "split", "model", "performance")
        if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in blocks):
            raise changed_by_hand()
        made = self.file("stages", "report.json")
        if made.exists() and self.read_json("stages/report.json")["files"].get("results.json") != file_sha256(
            self.file("results.json")
        ):
            raise RefusedError(
                "results.json was changed after the run wrote it", "the file as written", "run the study again here"
            )
        return found

    def stage(self, name: str, key: str) -> dict[str, Any] | None:
        """Return a finished stage's payload when its key and the content of its files still match."""
        path = self.file("stages", f"{name}.json")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            fits = record["key"] == key and all(
                self.file(file).is_file() and file_sha256(self.file(file)) == sha
                for file, sha in record["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if fits else None

    def finish_stage(self, name: str, key: str, payload: Any, files: Sequence[str], seconds: float) -> dict[str, Any]:
        """Record that a stage is done, with the hashes of the files it wrote."""
        record = {
            "stage": name,
            "key": key,
            "seconds": round(seconds, 3),
            "files": {file: file_sha256(self.file(file)) for file in files},
            "payload": jsonable(payload),
        }
        self.write_json(f"stages/{name}.json", record)
        return record

    def openings(self) -> list[dict[str, Any]]:
        """Return the recorded openings of the test set."""
        path = self.file("openings.json")
        if not path.exists():
            return []
        found = self.read_json("openings.json")
        if not isinstance(found, list):
            raise RefusedError("openings.json is damaged", "the list of test-set openings", "restore it")
        return found

    def open_test(self, look: str, **what: str) -> list[dict[str, Any]]:
        """Record an opening of the test part before it happens.

        Parameters
        ----------
        look : str
            Digest of everything that decides what will be seen: model, data, split and questions. The same look
            counts once, so a resumed run is not a second opening.
        **what : str
            Further digests to record with it.
        """
        found = self.openings()
        if not any(o["look"] == look for o in found):
            when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            found.append({"when": when, "look": look, **what})
            self.write_json("openings.json", found)
        return found
