"""Notes of a table, batch after batch: memory stays bounded, and a bad row costs that row and nothing else."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from aimed.core import DataError, nearest
from aimed.readers.note_text import LONGEST, decode_note

__all__ = ["NoteBatch", "NoteTable", "join_sections"]

_TEXT_FILES = (".csv", ".tsv", ".txt", ".tab")
_PARQUET = (".parquet", ".pq")
_ARROW = (".arrow", ".feather", ".ipc")
_USUAL = ("report", "text", "note", "report_text", "note_text")
_USUAL_SECTIONS = ("indication", "comparison", "technique", "findings", "impression")
_TEXT_TYPES = (pl.String, pl.Binary, pl.Categorical, pl.Enum, pl.Null)
# A long row of digits, a date, the punctuation of a sentence: a cell, and no name of a column.
_LIKE_A_CELL = re.compile(r"\d{4}|\d[-/.]\d|[.,;:!?\n\r]|^\d+$|(?:\S+\s+){4}")
_CHARACTERS = 64_000_000
"""A batch of a text file ends after as many, so that a few enormous notes do not fill the memory."""


def join_sections(headings: Sequence[str], cells: Sequence[str | bytes | None]) -> str | None:
    r"""Return one note of sections in columns of their own, each under its heading; None when all are blank.

    Examples
    --------
    >>> join_sections(["history", "findings"], [" ", "No effusion."])
    'FINDINGS:\nNo effusion.'
    """
    parts = []
    for heading, cell in zip(headings, cells, strict=True):
        body = decode_note(cell)[0] if isinstance(cell, bytes) else cell
        if body and body.strip():
            parts.append(f"{heading.replace('_', ' ').upper()}:\n{body.strip()}")
    return "\n\n".join(parts) if parts else None


@dataclass(frozen=True, slots=True)
class NoteBatch:
    """Consecutive notes of a table.

    Parameters
    ----------
    first : int
        Number of the first row, from 0.
    notes : list of str, bytes or None
        Bytes are of a text file whose row is not UTF-8.
    ids : polars.Series, optional
    codes : dict of int to str
        Rows within the batch that cannot be read: "bad_row", where a row has too few or too many fields.
    share : float
        How much of the table has been read with it.
    """

    first: int
    notes: list[str | bytes | None] = field(repr=False)
    ids: pl.Series | None = field(repr=False)
    codes: dict[int, str]
    share: float


class NoteTable:
    r"""A table with a column of notes, or with one column for each section of them.

    Parameters
    ----------
    source : path or polars frame
        .csv, .tsv, .txt, .parquet, .arrow, .feather, or a frame. A text file may be in any encoding that
        `aimed.readers.note_text.decode_note` reads, and in several of them.
    text : str, sequence of str, or mapping of str to str, optional
        The column; or columns that are put together under their names as headings, in order; or heading to column.
        When absent a column called report, text or note, else those called indication, comparison, technique, findings
        and impression, as far as they are there.
    unit : str, optional
        Column of ids to carry along.

    Raises
    ------
    DataError
        If the file is absent or of an unknown kind, or a column is absent.

    Examples
    --------
    >>> table = NoteTable(pl.DataFrame({"findings": ["No effusion."], "impression": ["Normal."]}),
    ...                   text=["findings", "impression"])
    >>> [batch.notes for batch in table.batches(100)]
    [['FINDINGS:\nNo effusion.\n\nIMPRESSION:\nNormal.']]
    """

    def __init__(
        self,
        source: str | Path | pl.DataFrame | pl.LazyFrame,
        *,
        text: str | Sequence[str] | Mapping[str, str] | None = "report",
        unit: str | None = None,
    ) -> None:
        self._path: Path | None = None
        self._frame: pl.LazyFrame | None = None
        self.rows: int | None = None
        if isinstance(source, pl.DataFrame):
            self._frame, self.rows = source.lazy(), source.height
        elif isinstance(source, pl.LazyFrame):
            self._frame = source
        elif isinstance(source, (str, Path)):
            self._path = Path(source)
            self._open_file(self._path)
        else:
            raise DataError(f"reports given as {type(source).__name__}", "a path or a polars frame", "make it a frame")
        names = self._names()
        if text is None:
            text = _usual_columns(names)
        if isinstance(text, str):
            self._headings: tuple[str, ...] | None = None
            self._columns: tuple[str, ...] = (text,)
        else:
            pairs = list(text.items()) if isinstance(text, Mapping) else [(name, name) for name in text]
            if not pairs:
                raise DataError("no column of text is named", "one column, or one a section", "name it")
            self._headings = tuple(heading for heading, _ in pairs)
            self._columns = tuple(column for _, column in pairs)
        self._unit = unit
        for column in (*self._columns, *([unit] if unit is not None else [])):
            if column not in names:
                self._refuse_cells(names)
                close = nearest(column, names)
                what = f"the table has no column '{column}'"
                raise DataError(
                    what,
                    f"one of: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}",
                    f"did you mean '{close}'?" if close else "name a column that is there",
                )
        self._check_types()

    def _open_file(self, path: Path) -> None:
        # The name of a file may hold that of a patient, so none is told.
        if path.is_dir() or not path.is_file():
            raise DataError(
                "a folder was named" if path.is_dir() else "there is no such file", "a table", "check the path"
            )
        suffix = path.suffix.lower()
        if path.stat().st_size == 0:
            raise DataError("the file is empty", "a header line and at least one row", "check the export")
        if suffix in _TEXT_FILES:
            self._read_head(path)
            return
        if suffix not in (*_PARQUET, *_ARROW):
            raise DataError(
                f"a file with the ending '{suffix}'",
                ".csv, .tsv, .txt, .parquet, .arrow or .feather",
                "save the reports as Parquet or CSV",
            )
        try:
            self._frame = pl.scan_parquet(path, glob=False) if suffix in _PARQUET else pl.scan_ipc(path)
            self._frame.collect_schema()
            self.rows = int(self._frame.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError):
            raise DataError(f"the file cannot be read as {suffix}", "a whole file", "write it again") from None

    def _read_head(self, path: Path) -> None:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            self._encoding, first = "utf-16", head.decode("utf-16", errors="replace")
        else:
            # Latin-1 keeps every byte; each cell is decoded by itself later.
            self._encoding, first = "latin-1", head.removeprefix(codecs.BOM_UTF8).decode("latin-1")
        lines = first.splitlines()
        self._skip = int(bool(lines) and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5)
        line = lines[self._skip] if len(lines) > self._skip else ""
        counts = {s: line.count(s) for s in (",", ";", "\t", "|")}
        best = max(counts, key=lambda s: counts[s])
        self._separator = lines[0].strip()[4] if self._skip else best if counts[best] else ","
        header = next(self._csv_rows(path), None)
        if header is None:
            raise DataError("the file has no line", "a header line and at least one row", "check the export")
        self._header = [_cell_text(name).strip() for name in header[0]]
        twice = sorted({name for name in self._header if self._header.count(name) > 1})
        if twice:
            self._refuse_cells(self._header)
            raise DataError(f"two columns are called '{twice[0]}'", "one name a column", "rename one of them")

    def _refuse_cells(self, names: Sequence[str]) -> None:
        """Raise, telling none of them, if the first line of a text file looks like a row and not like names."""
        if self._frame is None and any(len(name) > 40 or _LIKE_A_CELL.search(name) for name in names):
            raise DataError(
                "the first line of the file does not look like names of columns",
                "a header line with the column of reports",
                "write one above the first row, or name a column that is there",
            )

    def _names(self) -> list[str]:
        return self._header if self._frame is None else self._frame.collect_schema().names()

    def _check_types(self) -> None:
        if self._frame is None:
            return
        schema = self._frame.collect_schema()
        for column in self._columns:
            if schema[column].is_nested():
                raise DataError(f"the column '{column}' holds lists", "one note a row", "unnest it first")
        if not any(schema[column] in _TEXT_TYPES for column in self._columns):
            # Numbers state no finding, and would be labelled so; one section of several may be empty, and so a number.
            kind = schema[self._columns[0]].base_type().__name__
            raise DataError(f"the column '{self._columns[0]}' holds {kind}", "text", "name the column of the reports")
        if self._unit is not None and schema[self._unit] == pl.Object:
            raise DataError(f"the column '{self._unit}' holds Python objects", "numbers or text", "turn them into text")

    def no_ids(self) -> pl.Series | None:
        """Return an empty column of ids, of the type they have; None where none are asked for."""
        if self._unit is None:
            return None
        kind = pl.String if self._frame is None else self._frame.collect_schema()[self._unit]
        return pl.Series("id", [], dtype=kind)

    def stamp(self) -> str | None:
        """Return what changes when the file does; None for a frame."""
        if self._path is None:
            return None
        stat = self._path.stat()
        return f"{self._path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"

    def batches(self, size: int) -> Iterator[NoteBatch]:
        """Yield the notes in order, at most `size` at a time; where they are cut depends on the table only."""
        if size < 1:
            raise DataError(f"batches of {size} notes", "at least 1", "leave the size out")
        yield from (self._text_batches(size) if self._frame is None else self._frame_batches(self._frame, size))

    def _frame_batches(self, frame: pl.LazyFrame, size: int) -> Iterator[NoteBatch]:
        schema = frame.collect_schema()
        # The id may be a column of text too, so columns get names of our own.
        chosen = [
            (pl.col(c) if schema[c] == pl.Binary else pl.col(c).cast(pl.String)).alias(f"t{i}")
            for i, c in enumerate(self._columns)
        ]
        if self._unit is not None:
            chosen.append(pl.col(self._unit).alias("id"))
        first, rest = 0, None
        try:
            for part in frame.select(chosen).collect_batches(chunk_size=size, maintain_order=True, engine="streaming"):
                rest = part if rest is None or not rest.height else pl.concat([rest, part])
                while rest.height >= size:
                    yield self._frame_batch(rest.head(size), first)
                    first, rest = first + size, rest.slice(size)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"the table cannot be read ({type(error).__name__})", "a whole file", "") from None
        if rest is not None and rest.height:
            yield self._frame_batch(rest, first)

    def _frame_batch(self, part: pl.DataFrame, first: int) -> NoteBatch:
        columns = [part[f"t{i}"].to_list() for i in range(len(self._columns))]
        heads = self._headings
        notes = columns[0] if heads is None else [join_sections(heads, cells) for cells in zip(*columns, strict=True)]
        share = (first + part.height) / self.rows if self.rows else 0.0
        return NoteBatch(first, notes, part["id"] if self._unit is not None else None, {}, share)

    def _csv_rows(self, path: Path) -> Iterator[tuple[list[str], float]]:
        size = path.stat().st_size
        before = csv.field_size_limit(max(csv.field_size_limit(), 4 * LONGEST))
        try:
            with path.open("rb") as raw:
                if self._encoding == "latin-1" and raw.peek(3)[:3] == codecs.BOM_UTF8:
                    raw.read(3)
                with io.TextIOWrapper(raw, encoding=self._encoding, errors="replace", newline="") as lines:
                    for _ in range(self._skip):
                        lines.readline()
                    over: list[bool] = []
                    reader = csv.reader(_until_over(lines, over), delimiter=self._separator)
                    while True:
                        line = reader.line_num + self._skip + 1
                        try:
                            row = next(reader)
                        except StopIteration:
                            return
                        except csv.Error:
                            raise DataError(
                                f"the text file cannot be read after line {reader.line_num}",
                                f"quoted fields of at most {4 * LONGEST:,} characters",
                                "look for a quote that is never closed",
                            ) from None
                        if over:
                            # The reader asked for more within a row: what follows the quote would be one cell.
                            raise DataError(
                                f"the row that begins in line {line} ends with the file",
                                "quoted fields that are closed",
                                "look there for a quote that is never closed",
                            )
                        if row:
                            yield row, raw.tell() / size if size else 1.0
        finally:
            csv.field_size_limit(before)

    def _text_batches(self, size: int) -> Iterator[NoteBatch]:
        assert self._path is not None  # noqa: S101  (a text file is a path)
        where = [self._header.index(c) for c in self._columns]
        unit = None if self._unit is None else self._header.index(self._unit)
        width = len(self._header)
        first, held, share = 0, 0, 0.0
        notes: list[str | bytes | None] = []
        ids: list[str | None] = []
        codes: dict[int, str] = {}

        def batch() -> NoteBatch:
            return NoteBatch(first, notes, None if unit is None else pl.Series(ids, dtype=pl.String), codes, share)

        rows = self._csv_rows(self._path)
        next(rows)
        for row, share in rows:  # noqa: B007  (batch() tells it)
            if len(row) != width:
                codes[len(notes)] = "bad_row"
                notes.append(None)
                ids.append(None)
            else:
                cells = [_cell(row[i]) if self._encoding == "latin-1" else row[i] for i in where]
                note = cells[0] if self._headings is None else join_sections(self._headings, cells)
                notes.append(note or None)
                held += len(note or "")
                if unit is not None:
                    ids.append(_cell_text(row[unit]) or None)
            if len(notes) >= size or held >= _CHARACTERS:
                yield batch()
                first, held, notes, ids, codes = first + len(notes), 0, [], [], {}
        if notes:
            share = 1.0
            yield batch()


def _until_over(lines: io.TextIOWrapper, over: list[bool]) -> Iterator[str]:
    """Yield lines, and tell when more are asked for than there are."""
    yield from lines
    over.append(True)


def _usual_columns(names: Sequence[str]) -> str | list[str]:
    known = {name.strip().lower(): name for name in reversed(names)}
    for usual in _USUAL:
        if usual in known:
            return known[usual]
    sections = [known[usual] for usual in _USUAL_SECTIONS if usual in known]
    if not {"findings", "impression"} & known.keys():
        raise DataError("no column is called report, text, note, findings or impression", "one of them", "name yours")
    return sections


def _cell(cell: str) -> str | bytes:
    """Return a cell that was read byte by byte as text where it is UTF-8, and as bytes where it is not."""
    if cell.isascii():
        return cell
    raw = cell.encode("latin-1", errors="replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _cell_text(cell: str) -> str:
    try:
        found = _cell(cell)
    except UnicodeEncodeError:
        return cell
    return decode_note(found)[0] if isinstance(found, bytes) else found
