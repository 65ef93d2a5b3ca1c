"""Writing a study file for a table that points at pictures: paths and findings are told by the values of columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from aimed.core import DataError, nearest
from aimed.readers.source import collect, column_names, open_table
from aimed.study.new import guess_patient, relative_source, toml_string, toml_value
from aimed.study.spec import read_spec

__all__ = ["first_rows", "image_column", "label_columns", "write_picture_study"]

_ENDINGS = r"\.(dcm|dicom|png|jpe?g|tiff?|zip)$"
_LOOK = 2000
_ABOUT = ("age", "sex", "gender")
_VIEW = ("view", "view position", "viewposition", "view_position")


def first_rows(source: Any) -> tuple[pl.DataFrame, str]:
    """Return the first rows of a table, from which columns are told, and its name."""
    lazy, name = open_table(source)
    column_names(lazy, name)
    return collect(lazy.head(_LOOK), name), name


def image_column(source: Any) -> str | None:
    """Return the column whose values are paths of pictures, or None.

    Examples
    --------
    >>> image_column(pl.DataFrame({"patient": [1, 2], "file": ["a/1.dcm", "a/2.dcm"]}))
    'file'
    """
    frame, _ = first_rows(source)
    for name in frame.columns:
        if frame[name].dtype == pl.String:
            known = frame[name].drop_nulls()
            if known.len() and known.str.to_lowercase().str.contains(_ENDINGS).mean() > 0.9:  # type: ignore[operator]
                return name
    return None


def label_columns(frame: pl.DataFrame, taken: set[str], also: Sequence[str] = ()) -> list[str]:
    """Return the columns that hold nothing but 1, 0, -1 and nothing, and both answers; none called as in `also`."""
    found = []
    for name in frame.columns:
        if name in taken or name.strip().lower() in also:
            continue
        number = (
            frame[name].cast(pl.Float64, strict=False) if frame[name].dtype != pl.Boolean else frame[name].cast(int)
        )
        values = set(number.drop_nulls().unique().to_list())
        whole = number.null_count() == frame[name].null_count()
        if whole and {0.0, 1.0} <= values <= {-1.0, 0.0, 1.0}:
            found.append(name)
    return found


def _joined(frame: pl.DataFrame, taken: set[str]) -> tuple[str, list[str]] | None:
    """Return a column of findings joined by ``|``, and the findings."""
    for name in frame.columns:
        if name in taken or frame[name].dtype != pl.String:
            continue
        values = frame[name].drop_nulls()
        if values.len() and values.str.contains("|", literal=True).any():
            words = values.str.split("|").explode().str.strip_chars()
            counts = words.value_counts().sort("count", descending=True)
            if counts.height <= 40:
                kept = [w for w in counts[name].to_list() if w and w.lower() not in ("no finding", "no findings")]
                return name, kept
    return None


def write_picture_study(
    source: Any,
    *,
    image: str | None = None,
    findings: Sequence[str] = (),
    patient: str | None = None,
    title: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a commented study file for a table that points at pictures.

    Parameters
    ----------
    source : str, path or frame
    image : str, optional
        Column of paths; told by its values when absent.
    findings : sequence of str, optional
        Columns of 1, 0, -1; all that hold nothing else when absent, or the words of a column that joins them by ``|``.
    patient : str, optional
        Patient column; guessed by name when absent.
    title : str, optional
    relative_to : path, optional
        Folder of the study file; a path in it is written relative to it.

    Raises
    ------
    DataError
        If the column of paths, of patients, or a finding cannot be told.

    Examples
    --------
    >>> frame = pl.DataFrame({"patient_id": [1, 2], "file": ["1.png", "2.png"], "effusion": [0, 1]})
    >>> write_picture_study(frame).partition("findings = [")[2].split()[0]
    '"effusion",'
    """
    frame, _ = first_rows(source)
    for what, name in (("image", image), ("patient", patient), *(("finding", f) for f in findings)):
        if name is not None and name not in frame.columns:
            close = nearest(name, frame.columns)
            raise DataError(
                f"{what} names the column '{name}', which is not in the table",
                f"one of its {len(frame.columns)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )
    image = image or image_column(source)
    if image is None:
        raise DataError("no column holds paths of pictures", "paths that end in .dcm, .png, .jpg or .tif", "--image")
    patient = patient or guess_patient(frame.columns)
    if patient is None:
        raise DataError(
            "no column looks like a patient id",
            "one, because every split is grouped by patient",
            "give --patient COLUMN",
        )
    taken = {image, patient}
    joined: str | None = None
    chosen = list(findings) or label_columns(frame, taken)
    if not chosen:
        found = _joined(frame, taken)
        if found is None:
            raise DataError(
                "no column looks like a finding",
                "columns of 1, 0 and -1, or one column of names joined by '|'",
                "give --finding COLUMN",
            )
        joined, chosen = found
    view = next((c for c in frame.columns if c.lower() in _VIEW), None)
    about = [c for c in frame.columns if c.lower() in _ABOUT]
    label = relative_source(source, relative_to)
    stem = re.sub(r"[^a-z0-9]+", "-", (title or Path(label).stem).lower()).strip("-")
    groups = [c for c in about if c.lower() != "age"] + ["image_view"]
    lines = [
        "schema = 1",
        "",
        "[study]",
        f"id = {toml_string(stem or 'study')}",
        f"title = {toml_string(title or 'Findings in chest X-rays')}",
        'task = "classify"',
        "seed = 1",
        'intended_use = ""    # who will use the prediction, when, and for which decision',
        "not_for = []         # where it must not be used",
        "",
        "[data]",
        f"source = {toml_string(label)}",
        f"patient = {toml_string(patient)}    # every split is grouped by it",
        "include = []         # inclusion rules such as 'age >= 18'; the rows each removes are counted",
        "",
        "[images]",
        f"column = {toml_string(image)}    # paths relative to the folder of the table",
        "size = 224           # side of the frames in pixels; aspect is kept",
        *([f"view = {toml_string(view)}    # where files do not say it themselves"] if view else []),
        f"shortcuts = {toml_value(about)}    # columns from which a finding should not be told",
        "# regions = { boxes = 'boxes.csv' }    # or { masks = 'masks' }: where the reference standard sees findings",
        "# weights = { file = 'densenet121.safetensors', sha256 = '...', normalisation = 'torchxrayvision' }",
        "",
        "[outcome]",
        *([f"column = {toml_string(joined)}    # names joined by '|'"] if joined else []),
        "findings = [",
        *(f"  {toml_string(c)}," for c in chosen),
        "]",
        'uncertain = "ignore"    # what -1 means: ignore, zeros or ones',
        'reference_standard = ""    # who read the pictures, and how',
        "",
        "[split]",
        'test = { by = "patient", fraction = 0.25 }    # or by = "time" / "site" / "column"',
        'tune = { by = "patient", folds = 5 }    # the first fold tunes',
        "",
        "[model]",
        'candidates = ["small_cnn"]    # also densenet121, and linear_probe with weights of yours',
        "",
        "[evaluate]",
        "accept = []    # written before the run, such as 'macro_auroc.lower >= 0.8'",
        "",
        "[subgroups]",
        f"columns = {toml_value(groups)}",
        "",
    ]
    text = "\n".join(lines)
    read_spec(text)
    return text
