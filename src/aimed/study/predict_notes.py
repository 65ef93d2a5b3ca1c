"""Predicting with a packaged model of notes on a table or a folder of text files, note by note, refusals included."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimed.bundle.notes import NoteBundle, PredictedNote, note_table
from aimed.core import DataError, nearest
from aimed.readers.note_table import join_sections
from aimed.readers.source import open_table
from aimed.readers.table import raw_columns
from aimed.study.predict import safe_cell
from aimed.study.store import write_atomic

__all__ = ["notes_to_csv", "predict_notes"]

_SUFFIXES = (".txt", ".text", ".rtf", ".html", ".htm")
_TOGETHER = 2000


def predict_notes(
    bundle: NoteBundle,
    source: Any,
    *,
    text: str | None = None,
    unit: str | None = None,
    evidence: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> list[PredictedNote]:
    """Predict every note of a table, of a folder of text files, or of one text file.

    Parameters
    ----------
    bundle : NoteBundle
        From `aimed.study.predict.open_bundle`.
    source : str, path or frame
    text : str, optional
        Column of the notes; that of the study when absent.
    unit : str, optional
        Column of ids to carry along.
    evidence : bool
        Whether to say where in the note each finding is mentioned.
    progress : callable, optional

    Raises
    ------
    DataError
        If the table lacks the column, or a folder holds no text files.
    """
    notes, ids = _read(bundle, source, text, unit)
    out: list[PredictedNote] = []
    for start in range(0, len(notes), _TOGETHER):
        part = notes[start : start + _TOGETHER]
        found = bundle.predict(part, None if ids is None else ids[start : start + _TOGETHER], evidence)
        out += [_moved(one, start) for one in found]
        if progress is not None:
            progress(len(out) / len(notes), f"{len(out):,} of {len(notes):,} notes")
    return out


def _moved(note: PredictedNote, start: int) -> PredictedNote:
    return note if start == 0 else replace(note, row=note.row + start)


def _read(
    bundle: NoteBundle, source: Any, text: str | None, unit: str | None
) -> tuple[Sequence[str | bytes | None], Sequence[str | None] | None]:
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not files:
            raise DataError("a folder without text files", f"files that end in {', '.join(_SUFFIXES)}", "name another")
        return [file.read_bytes() for file in files], [str(file.relative_to(path)) for file in files]
    if path is not None and path.suffix.lower() in _SUFFIXES and path.is_file():
        return [path.read_bytes()], None
    sections = bundle.schema.sections if text is None else ()
    columns = [column for _, column in sections] or [text or bundle.schema.column or "report"]
    table, _ = open_table(source)
    known = table.collect_schema().names()
    absent = [name for name in columns if name not in known]
    if absent:
        close = nearest(absent[0], known)
        raise DataError(
            f"the table has no column '{absent[0]}'",
            "the column of the notes",
            f"did you mean '{close}'?" if close else "name it with --text COLUMN",
        )
    found, _ = raw_columns(source, [*columns, *([unit] if unit else [])])
    ids = None if unit is None else [None if v is None else str(v) for v in found[unit]]
    if not sections:
        return [None if v is None else str(v) for v in found[columns[0]]], ids
    headings = [head for head, _ in sections]
    cells = ([None if v is None else str(v) for v in found[name]] for name in columns)
    rows = [join_sections(headings, row) for row in zip(*cells, strict=True)]
    return rows, ids


def notes_to_csv(rows: Sequence[PredictedNote], bundle: NoteBundle, path: str | Path | None = None) -> str:
    """Return predictions as CSV text, and write it whole when a path is given."""
    columns = note_table(rows, bundle.keys)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(v) for v in row] for row in zip(*columns.values(), strict=True))
    if path is not None:
        write_atomic(Path(path), buffer.getvalue())
    return buffer.getvalue()
