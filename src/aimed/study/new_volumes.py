"""Writing a study file for a list of scans and masks: channels, labels and regions are told by the list and files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aimed.core import DataError
from aimed.core.volume import VolumeRefused
from aimed.metrics.evaluate_multilabel import finding_key
from aimed.readers.source import collect, column_names, open_table
from aimed.readers.volume_table import VolumeTable, read_volume_table
from aimed.study.new import guess_patient, relative_source, toml_string, toml_value
from aimed.study.spec import read_spec

__all__ = ["is_volume_list", "volume_columns", "write_volume_study"]

_ENDING = r"\.nii(\.gz)?$"
_MASK = re.compile(r"mask|label|seg|annotation|reference|truth", re.IGNORECASE)
_LOOK = 500
_OPEN = 8
_ABOUT = ("age", "sex", "gender")
_UNKNOWN = 255


def _head(source: Any) -> pl.DataFrame:
    lazy, name = open_table(source)
    column_names(lazy, name)
    return collect(lazy.head(_LOOK), name)


def volume_columns(source: Any) -> tuple[list[str], str | None]:
    """Return the columns of a table that hold paths of NIfTI scans, and the one of masks.

    Examples
    --------
    >>> volume_columns(pl.DataFrame({"patient": [1], "flair": ["a.nii.gz"], "mask": ["m.nii.gz"]}))
    (['flair'], 'mask')
    """
    frame = _head(source)
    found = []
    for name in frame.columns:
        if frame[name].dtype == pl.String:
            known = frame[name].drop_nulls()
            if known.len() and known.str.to_lowercase().str.contains(_ENDING).mean() > 0.9:  # type: ignore[operator]
                found.append(name)
    masks = [name for name in found if _MASK.search(name)]
    mask = masks[0] if len(masks) == 1 and len(found) > 1 else None
    return [name for name in found if name != mask], mask


def is_volume_list(source: Any) -> bool:
    """Return whether a source is a list of scans: a ``dataset.json``, a BIDS folder, or a table with paths of NIfTI."""
    if not isinstance(source, (str, Path)):
        return bool(volume_columns(source)[0])
    text, path = str(source), Path(source)
    if text.startswith("builtin:"):
        return False
    if path.is_dir():
        return (path / "dataset.json").is_file() or any(path.glob("sub-*"))
    return path.name == "dataset.json" or (path.is_file() and bool(volume_columns(source)[0]))


def write_volume_study(
    source: Any,
    *,
    patient: str | None = None,
    title: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a commented study file for a list of scans and masks.

    Parameters
    ----------
    source : path or frame
        A ``dataset.json``, a BIDS folder, or a table with columns of paths.
    patient : str, optional
        Patient column of a table; guessed by name when absent.
    title : str, optional
    relative_to : path, optional
        Folder of the study file; a path in it is written relative to it.

    Raises
    ------
    DataError
        If the columns of scans and masks, the patients or the labels cannot be told.
    """
    listed = isinstance(source, (str, Path)) and (Path(source).is_dir() or Path(source).name == "dataset.json")
    images: list[str] = []
    mask: str | None = None
    if listed:
        table = read_volume_table(source, mask=None if _decathlon(Path(source)) else "dseg")
    else:
        images, mask = volume_columns(source)
        if not images or mask is None:
            raise DataError(
                f"{len(images)} columns of paths to scans, and {'one' if mask else 'none'} of masks",
                "one column of scans, or one a channel, and one whose name says mask, label or seg",
                "rename the column of masks",
            )
        table = read_volume_table(source, images=_columns(images), mask=mask)
    frame = table.frame
    patient = patient or guess_patient(frame.columns) or ("patient" if "patient" in frame.columns else None)
    if patient is None or patient not in frame.columns:
        raise DataError("the patients cannot be told", "a column of patient ids", "name it with --patient")
    labels, channels, greys = _looked_at(table)
    regions = _regions(labels)
    modality = next((case.modality for case in table.cases if case.modality), None) or ("CT" if greys < -500 else "MR")
    # Groups are of categories: an age has to be cut into bands, and where, a person says.
    about = [c for c in frame.columns if c.lower() in _ABOUT and not _measured(frame[c])]
    ages = [c for c in frame.columns if c.lower() in _ABOUT and _measured(frame[c])]
    lines = [
        "# Written by aimed new. Every line may be changed; lines with # are suggestions.",
        "schema = 1",
        "",
        "[study]",
        f"id = {toml_string(_id(source))}",
        f"title = {toml_string(title or 'Regions outlined in scans')}",
        'task = "segment"',
        '# intended_use = "Who uses the outlines, for which decision, in whom."',
        '# not_for = ["..."]',
        "",
        "[data]",
        f"source = {toml_string(relative_source(source, relative_to))}",
        f"patient = {toml_string(patient)}",
        "",
        "[volumes]",
    ]
    if len(images) == 1:
        lines.append(f"column = {toml_string(images[0])}")
    elif images:
        inner = ", ".join(f"{toml_string(_named(name))} = {toml_string(name)}" for name in images)
        lines.append(f"columns = {{ {inner} }}  # channel = column")
    if mask is not None:
        lines.append(f"mask = {toml_string(mask)}")
    elif not _decathlon(Path(source)):
        lines.append('mask = "dseg"')
        lines.append(f"channels = {toml_value(channels)}  # contrasts; a scan without one of them is refused")
    if len(images) == 1 and len(channels) > 1:
        lines.append(f"channels = {toml_value(channels)}  # name them in the order of the file")
    lines += [
        f'modality = "{modality}"',
        "# spacing = [1.0, 1.0, 1.0]  # mm along z, y, x; absent: the median of the training scans",
        '# plan = "plan.toml"  # an edited copy of the plan that a run writes',
        "",
        "[outcome]",
        '# A region may join labels: "whole tumour" = [1, 2, 3]; regions that overlap need exclusive = false.',
        "regions = { " + ", ".join(f"{toml_string(n)} = [{v}]" for n, v in regions.items()) + " }",
        "exclusive = true" if len(regions) > 1 else "exclusive = false",
        '# reference_standard = "Who outlined, with which protocol, blinded to what."',
        "",
        "[split]",
        'test = { by = "patient", fraction = 0.25 }',
        "",
        "[evaluate]",
        'primary = "mean_dice"',
        "tolerance = 1.0  # mm, of the normalised surface Dice",
        '# accept = ["mean_dice.lower >= 0.8"]',
        "",
        "[subgroups]",
        f"columns = {toml_value(about)}" if about else '# columns = ["sex"]',
        *(f"# derive.{one}_band = {{ from = {toml_string(one)}, cuts = [50, 65] }}" for one in ages[:1]),
        "",
        "[report]",
        "# thumbnails = true  # pictures of scans on the page; leave it out where the page leaves the hospital",
        "",
    ]
    text = "\n".join(lines)
    read_spec(text)
    return text


def _columns(images: Sequence[str]) -> str | Mapping[str, str]:
    return images[0] if len(images) == 1 else {_named(name): name for name in images}


def _decathlon(path: Path) -> bool:
    return path.name == "dataset.json" or (path / "dataset.json").is_file()


def _named(name: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9 _-]", " ", name)).strip() or "region"


def _regions(labels: Mapping[int, str]) -> dict[str, int]:
    """Return labels by name; names that would have the same key get the number of their label."""
    found: dict[str, int] = {}
    keys: set[str] = set()
    for label, text in labels.items():
        name = _named(text)
        if finding_key(name) in keys:
            name = f"{name} label {label}"
        found[name] = label
        keys.add(finding_key(name))
    return found


def _measured(column: pl.Series) -> bool:
    """Return whether a column holds numbers of more than two kinds, as numbers or as text."""
    known = column.drop_nulls().cast(pl.String).unique()
    return known.len() > 2 and known.cast(pl.Float64, strict=False).null_count() == 0


def _id(source: Any) -> str:
    text = Path(source).resolve().parent.name if isinstance(source, (str, Path)) else "study"
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64] or "study"


def _looked_at(table: VolumeTable) -> tuple[dict[int, str], list[str], float]:
    """Return labels with names, channels and the lowest grey, from the list and from a few scans."""
    labels = {label: name for label, name in table.labels.items() if 0 < label < _UNKNOWN}
    channels, lowest, seen, refused = list(table.channels), 0.0, 0, 0
    found: set[int] = set()
    for case in table.cases:
        if seen >= _OPEN or (seen and labels and channels):
            break
        if case.mask is None or case.refusal is not None:
            continue
        try:
            mask = case.read_mask()
            scan = _opened(case, channels)
        except VolumeRefused:
            refused += 1
            if refused >= _OPEN:
                break
            continue
        seen += 1
        found |= {int(v) for v in np.unique(mask.array)} - {0, _UNKNOWN}
        lowest = min(lowest, float(scan.array.min()))
        channels = channels or list(scan.channels) or [f"channel {k + 1}" for k in range(scan.n_channels)]
    if not labels:
        labels = {label: f"label {label}" for label in sorted(found)}
    if not labels:
        raise DataError("no label is seen in the masks that were opened", "masks with labels above 0", "check the list")
    return labels, channels, lowest


def _opened(case: Any, channels: Sequence[str]) -> Any:
    """Return a scan; a file with several channels whose names nobody knows gets numbers."""
    try:
        return case.read()
    except VolumeRefused as error:
        if error.code != "TIME_SERIES" or channels:
            raise
    from dataclasses import replace

    for many in range(2, 9):
        try:
            return replace(case, channels=tuple(f"channel {k + 1}" for k in range(many))).read()
        except VolumeRefused:
            continue
    raise VolumeRefused("TIME_SERIES")
