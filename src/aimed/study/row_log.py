"""Rows written as they come, taken up again where a call was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["log_head", "logged_rows", "row_log"]


@contextmanager
def row_log(
    path: Path, head: Mapping[str, Any], kept: Callable[[Mapping[str, Any]], object]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a file of rows and return what adds one.

    Parameters
    ----------
    path : Path
        Whatever in it does not begin with the same head, or is torn, is written again.
    head : mapping
        What the rows are of.
    kept : callable
        Told each row that is there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path, before = Path(folder) / "rows", []
    ...     with row_log(path, {"of": "a"}, before.append) as add:
    ...         add({"row": 1})
    ...     with row_log(path, {"of": "a"}, before.append) as add:
    ...         add({"row": 2})
    ...     before, list(logged_rows(path))
    ([{'row': 1}], [{'row': 1}, {'row': 2}])
    """
    end = 0
    if path.exists():
        with path.open("rb") as before:
            for number, line in enumerate(before):
                record = _whole(line)
                # A torn line is what a kill leaves; whatever does not fit is made again.
                if record is None or (record != head if number == 0 else record.get("row") != number):
                    break
                if number:
                    kept(record)
                end += len(line)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(end)
        file.seek(end)
        if not end:
            file.write(_line(head))
            file.flush()

        def add(record: Mapping[str, Any]) -> None:
            file.write(_line(record))
            file.flush()

        yield add
        os.fsync(file.fileno())


def logged_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a finished log."""
    with path.open("rb") as file:
        next(file)
        for line in file:
            yield json.loads(line)


def log_head(path: Path) -> dict[str, Any] | None:
    """Return the head of a log; None where there is none."""
    try:
        with path.open("rb") as file:
            return _whole(file.readline(2**20))
    except OSError:
        return None


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _whole(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
