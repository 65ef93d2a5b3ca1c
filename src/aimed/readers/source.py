"""Opening a table without reading its rows: text, Parquet, Arrow, frames and built-in sets."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from pathlib import Path
from typing import Any

import polars as pl

from aimed.core import DataError, nearest
from aimed.readers import builtin

__all__ = ["collect", "column_names", "open_table"]

MISSING = ("", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", ".", "?", "#N/A")
"""Spellings of a missing value in a text file."""


def _sniff(path: Path, encoding: str) -> tuple[str, str, int]:
    """Return separator, encoding and lines to skip, from the first line of a text table."""
    with path.open("rb") as f:
        head = f.read(65536)
    if not head.strip():
        raise DataError(f"the file {path.name} is empty", "a header line and at least one row", "check the export")
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    first = text.splitlines()[0]
    skip = 0
    # Excel may write the separator on a line of its own before the header.
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        return first.strip()[4], encoding, 1
    counts = {s: first.count(s) for s in (",", ";", "\t", "|")}
    best = max(counts, key=lambda s: counts[s])
    return (best if counts[best] else ","), encoding, skip


def _unique_header(path: Path, encoding: str, separator: str, skip: int) -> None:
    """Refuse a header that names two columns alike: one of them would be lost without a word."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace", newline="") as f:
        lines = csv.reader(itertools.islice(f, skip, skip + 50), delimiter=separator)
        names = [name.strip() for name in next(lines, [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two columns are called '{twice[0]}'", "one name a column", "rename one of them")


def _scan_text(path: Path, encoding: str, separator: str | None) -> pl.LazyFrame:
    found, encoding, skip = _sniff(path, encoding)
    _unique_header(path, encoding, separator or found, skip)
    options: dict[str, Any] = {
        "separator": separator or found,
        "skip_lines": skip,
        "infer_schema": False,
        "null_values": list(MISSING),
    }
    if encoding == "utf-8":
        return _plain_quotes(pl.scan_csv(path, **options))
    try:
        text = path.read_bytes().decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise DataError(
            f"{path.name} is not {encoding} text", f"text in the encoding {encoding}", "correct [data] encoding"
        ) from None
    return _plain_quotes(pl.read_csv(io.StringIO(text.removeprefix("\ufeff")), **options).lazy())


def _plain_quotes(table: pl.LazyFrame) -> pl.LazyFrame:
    """Undouble the quotes within quoted names of columns, which polars leaves as they are written."""
    names = table.collect_schema().names()
    return table.rename({name: name.replace('""', '"') for name in names if '""' in name})


def _from_pandas(frame: Any) -> pl.DataFrame:
    out: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        kind = getattr(column.dtype, "kind", "O")
        if kind in "biuf" and type(column.dtype).__module__.startswith("numpy"):
            out[str(name)] = pl.Series(column.to_numpy())
        elif kind == "M":
            out[str(name)] = pl.Series(column.to_numpy(dtype="datetime64[us]"))
        else:
            values = column.astype(object).tolist()
            out[str(name)] = pl.Series(
                [None if v is None or v != v else v for v in (None if _is_na(v) else v for v in values)], strict=False
            )
    return pl.DataFrame(out)


def _is_na(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def open_table(source: Any, *, encoding: str = "utf-8", separator: str | None = None) -> tuple[pl.LazyFrame, str]:
    """Open a table without reading its rows.

    Parameters
    ----------
    source : str, path, polars or pandas frame
        A file (.csv, .tsv, .txt, .parquet, .arrow, .feather, .ipc), ``builtin:name`` or a frame.
    encoding : str
        Of a text file. UTF-16 is found by its mark.
    separator : str, optional
        Of a text file; found from the header when absent.

    Returns
    -------
    (polars.LazyFrame, str)
        The table and a name for it without folders.

    Raises
    ------
    DataError
        If the file is absent, empty or of an unknown kind.

    Examples
    --------
    >>> frame, name = open_table("builtin:breast_cancer")
    >>> name
    'builtin:breast_cancer'
    """
    if isinstance(source, pl.LazyFrame):
        return source, "frame"
    if isinstance(source, pl.DataFrame):
        return source.lazy(), "frame"
    if type(source).__module__.partition(".")[0] == "pandas":
        return _from_pandas(source).lazy(), "frame"
    if isinstance(source, str) and source.startswith("builtin:"):
        return builtin.load(source).lazy(), source
    if not isinstance(source, (str, Path)):
        raise DataError(
            f"a source of type {type(source).__name__}", "a path, 'builtin:name', or a polars or pandas frame"
        )
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{path.name} is a folder", "a table", "name a file in it")
    if not path.is_file():
        beside = nearest(path.name, [p.name for p in path.parent.glob("*")]) if path.parent.is_dir() else None
        raise DataError(
            f"there is no file {path.name} in that folder",
            "a table",
            f"did you mean '{beside}'?" if beside else "check the path; in a study file it is relative to that file",
        )
    if path.stat().st_size == 0:
        raise DataError(f"the file {path.name} is empty", "a header line and at least one row", "check the export")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".txt", ".data", ".tab"):
        return _scan_text(path, encoding, separator), path.name
    try:
        if suffix in (".parquet", ".pq"):
            return pl.scan_parquet(path, glob=False), path.name
        if suffix in (".arrow", ".feather", ".ipc"):
            return pl.scan_ipc(path), path.name
    except (pl.exceptions.PolarsError, OSError):
        raise DataError(f"{path.name} cannot be read as {suffix}", "a whole file", "write it again") from None
    raise DataError(
        f"the file {path.name} has the ending '{suffix}'",
        ".csv, .tsv, .txt, .parquet, .arrow or .feather",
        "save it as CSV (UTF-8) or Parquet",
    )


def collect(frame: pl.LazyFrame, name: str) -> pl.DataFrame:
    """Run a query in streaming mode; errors name the table and never its values."""
    # polars quotes cell values in its messages; they must not travel further.
    try:
        return frame.collect(engine="streaming")
    except pl.exceptions.NoDataError:
        raise DataError(f"{name} is empty", "a header line and at least one row", "check the export") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        text = str(error)
        if "utf-8" in text.lower() or "utf8" in text.lower():
            raise DataError(
                f"{name} is not UTF-8 text",
                "UTF-8",
                "save it as CSV UTF-8, or set [data] encoding = 'windows-1252'",
            ) from None
        if "more fields" in text or "ragged" in text:
            raise DataError(
                f"{name} has a row with more fields than the header",
                "as many fields as header names in every row",
                "quote fields that hold the separator, or set [data] separator",
            ) from None
        raise DataError(f"{name} cannot be read ({type(error).__name__})", "a whole, well-formed table") from None


def column_names(frame: pl.LazyFrame, name: str) -> list[str]:
    """Return the names in the header, or raise when there is none."""
    try:
        return frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError):
        collect(frame.head(1), name)
        raise DataError(f"{name} has no readable header", "a header line with one name a column") from None
