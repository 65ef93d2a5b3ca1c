"""Tables that point at pictures: paths resolved inside one folder, and what files say of pictures as columns."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from aimed.core import DataError, nearest
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile, find_images, inside
from aimed.readers.source import collect, column_names, open_table

__all__ = ["FACTS", "ImageTable", "image_columns", "read_image_table"]

FACTS: dict[str, Any] = {
    "modality": pl.String,
    "view": pl.String,
    "laterality": pl.String,
    "orientation": pl.String,
    "body_part": pl.String,
    "photometric": pl.String,
    "manufacturer": pl.String,
    "model": pl.String,
    "scaling": pl.String,
    "burned_in": pl.String,
    "lossy": pl.String,
    "rows": pl.Int64,
    "columns": pl.Int64,
    "bits_stored": pl.Int64,
    "spacing": pl.Float64,
    "kvp": pl.Float64,
    "exposure": pl.Float64,
    "exposure_time": pl.Float64,
    "refused": pl.String,
}
"""Columns that pictures add to a table, without their prefix, and their types; spacing is the vertical one, in mm."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageTable:
    """A table with one picture a row.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows of the table; a row that names a folder or an archive comes once for each picture in it.
    files : tuple of ImageFile
        Aligned with the rows; those that are not there or leave the folder carry their refusal.
    source : str
        Name of the table without folders.
    """

    frame: pl.DataFrame
    files: tuple[ImageFile, ...]
    source: str

    @property
    def refused(self) -> dict[str, int]:
        """How many rows have no file, by code."""
        return dict(Counter(file.refusal for file in self.files if file.refusal))


def _resolve(value: str | None, folder: Path) -> list[ImageFile]:
    if not value or "\0" in value:
        return [ImageFile(folder, refusal="MISSING")]
    path = folder / value.strip().replace("\\", "/")
    if not inside(path, folder):
        return [ImageFile(folder, refusal="OUTSIDE")]
    if path.is_dir() or (path.suffix.lower() == ".zip" and zipfile.is_zipfile(path)):
        try:
            return find_images(path)
        except DataError:
            return [ImageFile(path, refusal="MISSING")]
    if path.is_file():
        return [ImageFile(path)]
    for parent in path.parents:
        if parent == folder:
            break
        if parent.suffix.lower() == ".zip" and parent.is_file():
            return [ImageFile(parent, path.relative_to(parent).as_posix())]
    return [ImageFile(path, refusal="MISSING")]


def read_image_table(
    source: Any,
    *,
    image: str = "image",
    folder: str | os.PathLike[str] | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> ImageTable:
    r"""Read a table with a column of paths to pictures.

    Parameters
    ----------
    source : path or frame
        See `aimed.readers.source.open_table`.
    image : str
        Column of paths: a file, a folder, a zip archive or a member of one (``scans.zip/a.dcm``).
    folder : path, optional
        What the paths are relative to, and must stay in; the folder of the table when absent.
    encoding, separator : str
        Of a text file.

    Returns
    -------
    ImageTable

    Raises
    ------
    DataError
        If the column is absent, a frame comes without a folder, or not one of the files is there.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 4)).save(Path(folder) / "a.png")
    ...     table = Path(folder) / "t.csv"
    ...     _ = table.write_text("patient,image\n1,a.png\n2,b.png\n3,../c.png\n")
    ...     read_image_table(table).refused
    {'MISSING': 1, 'OUTSIDE': 1}
    """
    lazy, name = open_table(source, encoding=encoding, separator=separator)
    known = column_names(lazy, name)
    if image not in known:
        close = nearest(image, known)
        raise DataError(
            f"{name} has no column '{image}'",
            "a column of paths to pictures",
            f"did you mean '{close}'?" if close else "name the column that holds the paths",
        )
    if folder is None and not isinstance(source, (str, Path)):
        raise DataError("a frame has no folder", "the folder that the paths are relative to", "name it")
    root = Path(os.path.abspath(Path(source).parent if folder is None else folder))
    frame = collect(lazy, name)
    at: list[int] = []
    files: list[ImageFile] = []
    for row, value in enumerate(frame[image].cast(pl.String).to_list()):
        found = _resolve(value, root)
        files += found
        at += [row] * len(found)
    if files and all(file.refusal for file in files):
        raise DataError(
            f"none of the {len(files):,} pictures that {name} names can be read",
            "paths relative to the folder of the table",
            "name the folder that the paths start from",
        )
    return ImageTable(frame if at == list(range(frame.height)) else frame[at], tuple(files), name)


def image_columns(frame: pl.DataFrame, cache: ImageCache, prefix: str = "image_") -> pl.DataFrame:
    """Add what files say of their pictures to a table: view, laterality, exposure and the rest of `FACTS`.

    Parameters
    ----------
    frame : polars.DataFrame
        Aligned with the rows of the cache; see `ImageTable`.
    cache : ImageCache
    prefix : str
        Before each new name.

    Returns
    -------
    polars.DataFrame
        To be read by `aimed.readers.table.read_table`, where the new columns are descriptors or predictors.
        ``image_refused`` is ``no``, or the code of the reason.

    Raises
    ------
    DataError
        If the numbers of rows differ or a name is taken.
    """
    if frame.height != len(cache):
        raise DataError(f"a table of {frame.height:,} rows and {len(cache):,} pictures", "one picture a row")
    taken = sorted(set(frame.columns) & {f"{prefix}{name}" for name in FACTS})
    if taken:
        raise DataError(f"the table has a column '{taken[0]}' already", "free names", "choose another prefix")
    columns: dict[str, list[Any]] = {name: [] for name in FACTS}
    for fact in cache.facts():
        for name, values in columns.items():
            values.append(_cell(name, fact))
    return frame.with_columns(pl.Series(f"{prefix}{name}", columns[name], dtype=kind) for name, kind in FACTS.items())


def _cell(name: str, fact: dict[str, Any]) -> Any:
    if name == "refused":
        return fact.get("code", "no")
    value = fact.get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value[0] if isinstance(value, list) else value
