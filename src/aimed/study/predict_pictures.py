"""Predicting a folder, an archive or a table of pictures: written as it goes, taken up again where it was stopped."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aimed.bundle.pictures import PictureBundle, PredictedPicture, picture_table
from aimed.core import DataError
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.image_table import read_image_table
from aimed.study.predict import safe_cell
from aimed.study.row_log import logged_rows, row_log

__all__ = ["Pictures", "PredictedPictures", "find_pictures", "predict_pictures"]

Progress = Callable[[float, str], object]

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".ipc")


@dataclass(frozen=True, slots=True)
class Pictures:
    """Files with the names and ids the user gave them.

    Parameters
    ----------
    files : tuple of ImageFile
    names : tuple of str
        Paths as in the table, or relative to the folder or archive.
    ids : tuple of str, optional
    """

    files: tuple[ImageFile, ...]
    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None

    def digest(self) -> str:
        """Return a hash that changes with the list, and with size or time of any file."""
        content = hashlib.sha256()
        for row, file in enumerate(self.files):
            one = (self.names[row], self.ids[row] if self.ids else None, file.stamp() or file.refusal)
            content.update(json.dumps(one).encode("utf-8", "surrogatepass"))
        return content.hexdigest()


@dataclass(slots=True)
class PredictedPictures:
    """What came of it, in counts.

    Parameters
    ----------
    pictures, predicted : int
    refused, warned : dict of str to int
        By code.
    resumed : int
        Files that an earlier call had done.
    """

    pictures: int = 0
    predicted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    resumed: int = 0

    def count(self, picture: Mapping[str, Any]) -> None:
        """Take one row."""
        self.pictures += 1
        if picture["code"]:
            self.refused[picture["code"]] += 1
        else:
            self.predicted += 1
        self.warned.update(w["code"] for w in picture["warnings"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "pictures": self.pictures,
            "predicted": self.predicted,
            "refused": dict(sorted(self.refused.items())),
            "warned": dict(sorted(self.warned.items())),
            "resumed": self.resumed,
        }


def find_pictures(
    source: str | Path,
    *,
    image: str | None = None,
    unit: str | None = None,
    usual: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Pictures:
    """List the pictures of a folder, an archive, a single file, or a table with a column of paths.

    Parameters
    ----------
    source : path
    image : str, optional
        Column of paths; of a table only.
    unit : str, optional
        Column of ids to carry along.
    usual : str, optional
        Column of paths when none is named; "image" when absent.
    encoding, separator : str
        Of a text file.

    Raises
    ------
    DataError
        If there is nothing, a column is absent, or a column is named and there is no table.
    """
    path = Path(source)
    if path.suffix.lower() not in _TABLES or path.is_dir():
        if image is not None or unit is not None:
            raise DataError("a column is named and there is no table", "a table of paths", "leave out the column")
        files = tuple(find_images(path))
        return Pictures(files, tuple(_inside(file, path) for file in files))
    column = image or usual or "image"
    table = read_image_table(path, image=column, encoding=encoding, separator=separator)
    if unit is not None and unit not in table.frame.columns:
        raise DataError(f"the table has no column '{unit}'", "the id column", "name another one, or none")
    cells = [str(cell or "") for cell in table.frame[column].to_list()]
    named = Counter(cells)
    names = []
    for cell, file in zip(cells, table.files, strict=True):
        # A row that names a folder or an archive comes once for each picture in it.
        own = _inside(file, path.parent) if named[cell] > 1 and not file.refusal else cell
        names.append(own)
    ids = None if unit is None else tuple("" if v is None else str(v) for v in table.frame[unit].to_list())
    return Pictures(table.files, tuple(names), ids)


def _inside(file: ImageFile, folder: Path) -> str:
    if file.path == folder:
        return file.member or file.path.name
    path = Path(os.path.relpath(file.path, folder)).as_posix()
    return path if file.member is None else f"{path}/{file.member}"


def predict_pictures(
    bundle: PictureBundle,
    pictures: Pictures,
    out: str | Path | TextIO,
    *,
    as_json: bool = False,
    head: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    n_jobs: int | None = None,
    also: Callable[[ImageFile, Mapping[str, Any]], object] | None = None,
) -> PredictedPictures:
    """Predict pictures and write a row for each.

    Parameters
    ----------
    bundle : PictureBundle
    pictures : Pictures
    out : path or text stream
        A file, JSON or lines of JSON where its name ends so and CSV otherwise; or a stream, which gets neither names
        nor ids, for they may tell who a patient is.
    as_json : bool
        JSON for a stream.
    head : mapping, optional
        Further entries of the JSON object.
    progress : callable, optional
        ``progress(share, text)``.
    n_jobs : int, optional
        Threads that decode.
    also : callable, optional
        ``also(file, row)``, before the row of each picture is written, such as `aimed.study.dicom_output.DicomOutput`.

    Returns
    -------
    PredictedPictures

    Raises
    ------
    DataError
        If the file cannot be written; what was predicted is kept.

    Notes
    -----
    Rows go to ``<out>.part`` as they come. The same call takes up that file, where the model and the pictures are still
    the same, and the finished file takes its place in one step.
    """
    if not isinstance(out, str | Path):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "rows.part"
            found = _predicted(bundle, pictures, part, progress, n_jobs, also)
            _render(bundle, part, out, "json" if as_json else "csv", found, head, named=False)
        return found
    path = Path(out)
    part, fresh = path.with_name(f"{path.name}.part"), path.with_name(f".{path.name}.{os.getpid()}.new")
    kind = path.suffix.lower().lstrip(".")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _predicted(bundle, pictures, part, progress, n_jobs, also)
        with fresh.open("w", encoding="utf-8", newline="") as file:
            _render(bundle, part, file, kind, found, head, named=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        part.unlink()
    except OSError as error:
        raise DataError(
            f"the predictions cannot be written ({error.strerror or type(error).__name__})",
            "room and permission to write",
            "free some space, then run again; what was predicted is kept",
        ) from None
    finally:
        fresh.unlink(missing_ok=True)
    return found


def _predicted(
    bundle: PictureBundle,
    pictures: Pictures,
    part: Path,
    progress: Progress | None,
    n_jobs: int | None,
    also: Callable[[ImageFile, Mapping[str, Any]], object] | None = None,
) -> PredictedPictures:
    """Bring the file of rows to its end, from wherever it is."""
    head = {"model_sha256": bundle.digest, "pictures": len(pictures.files), "pictures_sha256": pictures.digest()}
    found = PredictedPictures()
    with row_log(part, head, found.count) as add:
        found.resumed = found.pictures
        rows = bundle.predict(
            pictures.files,
            names=pictures.names,
            ids=pictures.ids,
            start=found.pictures,
            progress=progress,
            n_jobs=n_jobs,
        )
        with closing(rows):
            for row in rows:
                record = row.to_dict()
                if also is not None:
                    also(pictures.files[row.row - 1], record)
                add(record)
                found.count(record)
    return found


def _rows(part: Path, named: bool) -> Iterator[PredictedPicture]:
    for record in logged_rows(part):
        record["warnings"] = tuple(record["warnings"])
        if not named:
            record["file"] = record["id"] = None
        yield PredictedPicture(**record)


def _render(
    bundle: PictureBundle,
    part: Path,
    out: TextIO,
    kind: str,
    found: PredictedPictures,
    head: Mapping[str, Any] | None,
    *,
    named: bool,
) -> None:
    rows = _rows(part, named)
    if kind == "jsonl":
        out.writelines(_text(row) + "\n" for row in rows)
    elif kind == "json":
        top = {
            "study": bundle.manifest["study"],
            "model_sha256": bundle.digest,
            "findings": bundle.manifest["outcome"]["findings"],
            **(head or {}),
            **found.to_dict(),
        }
        out.write(json.dumps(top, indent=1, ensure_ascii=False).removesuffix("\n}") + ',\n "rows": [')
        for place, row in enumerate(rows):
            out.write(f"{',' if place else ''}\n  {_text(row)}")
        out.write("\n ]\n}\n")
    else:
        _write_csv(rows, bundle, out, named)


def _text(row: PredictedPicture) -> str:
    return json.dumps(row.to_dict(), ensure_ascii=True)


def _write_csv(rows: Iterator[PredictedPicture], bundle: PictureBundle, out: TextIO, named: bool) -> None:
    classifier = bundle.model.classifier
    spread = len(classifier.networks_) > 1 or classifier.test_time_augmentation > 0
    left: Sequence[str] = () if named else ("file", "id")
    columns = [c for c in picture_table(PredictedPicture(row=0), bundle.keys, spread) if c not in left]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = picture_table(row, bundle.keys, spread)
        writer.writerow([safe_cell(cells[name]) for name in columns])
