"""Lists of scans and masks: Medical Segmentation Decathlon, nnU-Net, BIDS, or a table with columns of paths."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from aimed.core import DataError, nearest
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume, VolumeRefused, stack_channels
from aimed.readers.dicom_elements import is_dicom
from aimed.readers.dicom_segmentation import is_segmentation, read_segmentation
from aimed.readers.dicom_series import find_series, read_dicom_study
from aimed.readers.image_files import ImageFile, find_images, inside
from aimed.readers.nifti import is_nifti, read_nifti
from aimed.readers.source import collect, column_names, open_table

__all__ = ["VolumeCase", "VolumeTable", "read_volume", "read_volume_table"]

MAX_JSON = 2**26

_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def read_volume(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] = (),
    labels: bool = False,
    modality: str | None = None,
    **options: Any,
) -> Volume:
    """Read a NIfTI file, a folder or archive of DICOM slices, or one DICOM file, known by its content.

    Parameters
    ----------
    path : path
    channels : sequence of str
        Names of the channels; with several, the series of a DICOM folder are found by their contrast.
    labels : bool
        Whether it is a mask.
    modality : str, optional
        For NIfTI, which does not hold it.
    **options
        Of `aimed.readers.nifti.read_nifti` or `aimed.readers.dicom_series.read_dicom_series`.

    Returns
    -------
    Volume

    Raises
    ------
    VolumeRefused
        With the code of the reason.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            start = file.read(2**16)
    except IsADirectoryError:
        start = b""
    except (OSError, ValueError):
        raise VolumeRefused("MISSING") from None
    if is_nifti(start) or _SUFFIX.search(place.name):
        return read_nifti(place, channels=channels, labels=labels, modality=modality, **options)
    try:
        if len(channels) > 1:
            return read_dicom_study(place, channels, **options)
        limits = {"max_bytes": options.pop("max_bytes")} if "max_bytes" in options else {}
        scan = find_series(place, **options).only().read(**limits)
    except DataError:
        raise VolumeRefused("NO_PIXELS", "the folder holds no slices") from None
    if labels:
        if scan.array.dtype.kind == "f" or int(scan.array.min()) < 0:
            raise VolumeRefused("BAD_LABELS")
        return dataclasses.replace(scan, labels=True, channels=())
    return dataclasses.replace(scan, channels=tuple(channels)) if channels else scan


def _segmentation(path: Path) -> bytes | None:
    """Return the DICOM segmentation that a file is, or that lies alone in a folder; None for anything else."""
    try:
        files = find_images(path) if path.is_dir() else [ImageFile(path)]
        if len(files) != 1:
            return None
        if files[0].member is None and files[0].refusal is None:
            with files[0].path.open("rb") as file:
                if not is_dicom(file.read(2**10)):
                    return None
        data = files[0].read()
    except (DataError, ImageRefused, OSError, ValueError):
        # Reading the mask as a volume says what is wrong.
        return None
    return data if is_segmentation(data) else None


def _read_mask(path: Path, scan: Volume | None, options: Mapping[str, Any]) -> Volume:
    """Return a mask: the numbers of the segments of a DICOM segmentation, or a volume of labels."""
    stored = _segmentation(path)
    if stored is None:
        return read_volume(path, labels=True, **options)
    limits = {"max_bytes": options["max_bytes"]} if "max_bytes" in options else {}
    found = read_segmentation(stored, like=scan, **limits)
    try:
        painted = found.painted()
    except DataError:
        raise VolumeRefused("BAD_LABELS", "segments that overlap: a voxel then has no single label") from None
    return dataclasses.replace(painted, channels=())


# --------------------------------------------------------------------------------------------------------------- a case


@dataclass(frozen=True, slots=True, eq=False)
class VolumeCase:
    """One scan and its mask, which are opened when they are read.

    Parameters
    ----------
    images : tuple of Path
        One file for all channels, or one a channel.
    mask : Path, optional
        A NIfTI file, DICOM slices, or a DICOM segmentation, whose segment numbers are the labels.
    channels : tuple of str
    labels : mapping of int to str
        Names of the labels; empty when nothing declares them.
    modality : str, optional
    refusal : (str, str), optional
        Code and detail when it is known already that the case will not be read.
    readers : mapping of str to (Path, (str, str) or None)
        Masks of further readers, by name, and why one will not be read; see `of_reader`.
    """

    images: tuple[Path, ...]
    mask: Path | None = None
    channels: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    modality: str | None = None
    refusal: tuple[str, str] | None = None
    readers: Mapping[str, tuple[Path, tuple[str, str] | None]] = field(default_factory=dict)

    def of_reader(self, name: str) -> VolumeCase:
        """Return the case with the mask of another reader; a mask that is not there refuses this case alone.

        Raises
        ------
        DataError
            If no such reader is named.
        """
        if name not in self.readers:
            raise DataError("a reader that the list does not name", "one of the columns of masks")
        path, refusal = self.readers[name]
        return dataclasses.replace(self, mask=path, refusal=self.refusal or refusal, readers={})

    def read(self, **options: Any) -> Volume:
        """Return the scan; see `read_volume`.

        Raises
        ------
        VolumeRefused
            GRIDS_DIFFER when channels do not share a grid; or another code.
        """
        if self.refusal is not None:
            raise VolumeRefused(*self.refusal)
        if len(self.images) == 1:
            return read_volume(self.images[0], channels=self.channels, modality=self.modality, **options)
        parts = [
            read_volume(path, channels=(name,), modality=self.modality, **options)
            for path, name in zip(self.images, self.channels, strict=True)
        ]
        return stack_channels(parts, self.channels)

    def read_mask(self, scan: Volume | None = None, *, turn: bool = False, **options: Any) -> Volume:
        """Return the mask.

        Parameters
        ----------
        scan : Volume, optional
            The scan as read, whose grid the mask must have.
        turn : bool
            Whether a mask with the same voxels in another order, as converters from DICOM make it, is turned to the
            scan. Not unless asked: an affine flipped by mistake looks the same where a scan is centred.
        **options
            See `read_volume`.

        Raises
        ------
        VolumeRefused
            MISSING without a mask; GRIDS_DIFFER when it lies elsewhere than the scan; BAD_LABELS when it holds values
            that are not declared, or segments that overlap.

        Notes
        -----
        A DICOM segmentation leaves out frames without a voxel: with the scan it lies on the grid of the scan, in
        whatever order its voxels are; alone, it reaches from its first to its last frame.
        """
        if self.refusal is not None or self.mask is None:
            raise VolumeRefused(*(self.refusal or ("MISSING", "no mask")))
        mask = _read_mask(self.mask, scan, options)
        if scan is not None and turn and mask.orientation != scan.orientation:
            mask = dataclasses.replace(mask.reoriented(scan.orientation), steps=())
        if scan is not None and not mask.grid.same_as(scan.grid):
            what = "shapes" if mask.grid.shape != scan.grid.shape else "places"
            if what == "places" and mask.orientation != scan.orientation:
                what = f"directions: {mask.orientation} and {scan.orientation}"
            raise VolumeRefused("GRIDS_DIFFER", f"mask and scan have different {what}")
        if self.labels:
            strange = [int(v) for v in np.unique(mask.array) if int(v) not in self.labels]
            if strange:
                raise VolumeRefused("BAD_LABELS", f"{len(strange)} values are not declared")
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class VolumeTable:
    """A table with one scan a row.

    Parameters
    ----------
    frame : polars.DataFrame
        ``case`` and ``patient`` where the source is a folder; else the rows of the table.
    cases : tuple of VolumeCase
        Aligned with the rows.
    channels : tuple of str
    labels : mapping of int to str
    source : str
        Name of the source without folders.
    notes : tuple of str
        What is to be known before patients are split.
    """

    frame: pl.DataFrame
    cases: tuple[VolumeCase, ...]
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    source: str
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> dict[str, int]:
        """How many rows have no scan or mask where one is named, by code."""
        return dict(Counter(case.refusal[0] for case in self.cases if case.refusal))


def _located(value: Any, folder: Path, what: str) -> tuple[Path, tuple[str, str] | None]:
    """Return a path inside a folder, and why it will not be read."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return folder, ("MISSING", what)
    path = folder / value.strip().replace("\\", "/")
    if not inside(path, folder):
        return folder, ("OUTSIDE", what)
    return path, None if path.exists() else ("MISSING", what)


def _case(
    images: Mapping[str, Any], mask: Any, folder: Path, channels: tuple[str, ...], labels: Mapping[int, str],
    modality: str | None, masked: bool, readers: Mapping[str, Any] | None = None,
) -> VolumeCase:  # fmt: skip
    """Return a case of paths by name; of one path named "" for all channels."""
    found = {name: _located(value, folder, name or "the scan") for name, value in images.items()}
    refusal = next((why for _, why in found.values() if why), None)
    place: Path | None = None
    if masked:
        place, why = _located(mask, folder, "the mask")
        refusal = refusal or why
    others = {name: _located(value, folder, name) for name, value in (readers or {}).items()}
    return VolumeCase(tuple(path for path, _ in found.values()), place, channels, labels, modality, refusal, others)


def _table(
    frame: pl.DataFrame, cases: Sequence[VolumeCase], channels: tuple[str, ...], labels: Mapping[int, str], name: str,
    notes: tuple[str, ...] = (),
) -> VolumeTable:  # fmt: skip
    if not cases or all(case.refusal for case in cases):
        raise DataError(
            f"none of the {len(cases):,} scans of {name} is there",
            "paths relative to the folder of the list",
            "name the folder that the paths start from",
        )
    return VolumeTable(frame, tuple(cases), channels, MappingProxyType(dict(labels)), name, notes)


# ------------------------------------------------------------------------------------------------ Decathlon and nnU-Net


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise DataError(f"{path.name} is larger than {MAX_JSON // 2**20} MB", "a list of scans")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        raise DataError(f"{path.name} is not there or may not be read", "a file", "check the path") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path.name} is no JSON", "the list of a data set", "export it again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path.name} holds no object", "the list of a data set")
    return found


def _named(record: Any, what: str) -> dict[int, str]:
    """Return names by number, from {"0": "name"} or {"name": 0}."""
    found: dict[int, str] = {}
    for key, value in record.items() if isinstance(record, dict) else ():
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if isinstance(number, list) and number:
            continue  # regions of several labels, as nnU-Net has them
        if not str(number).isdigit() or not isinstance(name, str):
            raise DataError(f"{what} of the data set name no numbers", 'such as {"0": "background"}')
        found[int(number)] = name
    if not found:
        raise DataError(f"the data set declares no {what}", f'"{what}" in dataset.json')
    return dict(sorted(found.items()))


def _decathlon(path: Path) -> VolumeTable:
    record, folder = _json(path), path.parent
    nnunet = "channel_names" in record
    channels = tuple(_named(record.get("channel_names" if nnunet else "modality"), "modality").values())
    labels = _named(record.get("labels"), "labels")
    rows: list[tuple[str, str, dict[str, Any], Any]] = []
    if nnunet and "dataset" not in record:
        ending = str(record.get("file_ending", ".nii.gz"))
        names = {
            file.name[: -len(ending) - 5]
            for file in (folder / "imagesTr").glob(f"*_0000{ending}")
            if not file.name.startswith(".")
        }
        for case in sorted(names):
            images = {name: f"imagesTr/{case}_{k:04d}{ending}" for k, name in enumerate(channels)}
            rows.append((case, "training", images, f"labelsTr/{case}{ending}"))
    else:
        for part in ("training", "test"):
            entries = record.get(part, [])
            if not isinstance(entries, list):
                raise DataError(f"'{part}' in {path.name} is no list", "a list of scans")
            for entry in entries:
                scan = entry.get("image") if isinstance(entry, dict) else entry
                mask = entry.get("label") if isinstance(entry, dict) else None
                case = _SUFFIX.sub("", Path(scan).name) if isinstance(scan, str) else ""
                rows.append((case, part, {"": scan}, mask))
    modality = "CT" if all(name.upper() == "CT" for name in channels) else None
    cases = [
        _case(images, mask, folder, channels, labels, modality, masked=part == "training")
        for _, part, images, mask in rows
    ]
    frame = pl.DataFrame(
        {"case": [r[0] for r in rows], "patient": [r[0] for r in rows], "part": [r[1] for r in rows]},
        schema={"case": pl.String, "patient": pl.String, "part": pl.String},
    )
    note = "The list does not name patients: each scan is taken for a patient of its own."
    return _table(frame, cases, channels, labels, path.name, (note,))


# ----------------------------------------------------------------------------------------------------------------- BIDS


def _entities(name: str) -> tuple[dict[str, str], str] | None:
    """Return the key-value pairs and the suffix of a BIDS name."""
    *pairs, suffix = _SUFFIX.sub("", name).split("_")
    known = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return (known, suffix) if "sub" in known and len(known) == len(pairs) else None


def _found(folder: Path) -> list[tuple[dict[str, str], str, Path]]:
    found = []
    for path in sorted(folder.rglob("sub-*.nii*")):
        parsed = _entities(path.name)
        if parsed and _SUFFIX.search(path.name) and path.is_file():
            found.append((*parsed, path))
    return found


def _bids(folder: Path, wanted: Sequence[str], mask: str | None) -> VolumeTable:
    scans: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for subject in sorted(folder.glob("sub-*")):
        for known, suffix, path in _found(subject):
            if path.parent.name != "anat" or suffix in ("dseg", "mask", "probseg"):
                continue
            name = "T1gd" if suffix == "T1w" and "ce" in known else suffix
            scans.setdefault((known["sub"], known.get("ses", "")), {}).setdefault(name, []).append(path)
    if not scans:
        raise DataError("the folder holds no anatomical scans", "sub-*/anat/sub-*_T1w.nii.gz and the like")
    everything = {name for one in scans.values() for name in one}
    channels = tuple(wanted) or tuple(sorted(everything))
    for name in set(channels) - everything:
        close = nearest(name, everything)
        raise DataError(
            f"no scan of the contrast {name}", f"one of: {', '.join(sorted(everything))}",
            f"did you mean '{close}'?" if close else "choose one of them",
        )  # fmt: skip
    masks: dict[tuple[str, str], list[Path]] = {}
    labels: dict[int, str] = {}
    if mask is not None:
        for known, suffix, path in _found(folder):
            fits = suffix == mask or known.get("label") == mask
            key = (known["sub"], known.get("ses", ""))
            if fits:
                masks.setdefault(key, []).append(path)
                labels = labels or _bids_labels(path)
    cases, rows = [], []
    for (subject_id, session), one in scans.items():
        key = (subject_id, session)
        images = {name: _one(one.get(name, []), folder) for name in channels}
        case = _case(images, _one(masks.get(key, []), folder), folder, channels, labels, "MR", mask is not None)
        several = [name for name in channels if len(one.get(name, [])) > 1]
        if several or len(masks.get(key, [])) > 1:
            case = dataclasses.replace(case, refusal=("MIXED", f"several of {several[0] if several else 'the mask'}"))
        cases.append(case)
        rows.append(
            (f"sub-{subject_id}" + (f"_ses-{session}" if session else ""), f"sub-{subject_id}", session or None)
        )
    frame = pl.DataFrame(rows, schema={"case": pl.String, "patient": pl.String, "session": pl.String}, orient="row")
    people = folder / "participants.tsv"
    if people.is_file():
        known_people = collect(open_table(people)[0], people.name)
        if "participant_id" in known_people.columns:
            known_people = known_people.with_columns(pl.col("participant_id").cast(pl.String))
            frame = frame.join(
                known_people.unique("participant_id", keep="first", maintain_order=True), left_on="patient",
                right_on="participant_id", how="left", maintain_order="left",
            )  # fmt: skip
    return _table(frame, cases, channels, labels, folder.name)


def _one(paths: Sequence[Path], folder: Path) -> str | None:
    return str(paths[0].relative_to(folder)) if paths else None


def _bids_labels(path: Path) -> dict[int, str]:
    """Return the names of labels from the table beside a mask."""
    table = path.with_name(_SUFFIX.sub(".tsv", path.name))
    if not table.is_file():
        return {}
    frame = collect(open_table(table)[0], table.name)
    if not {"index", "name"} <= set(frame.columns):
        return {}
    found = {int(k): str(v) for k, v in frame.select("index", "name").drop_nulls().iter_rows()}
    return {0: "background"} | found


# -------------------------------------------------------------------------------------------------------------- a table


def _from_table(
    source: Any, images: str | Mapping[str, str], mask: str | None, folder: str | os.PathLike[str] | None,
    channels: Sequence[str], labels: Mapping[int, str], modality: str | None, options: Mapping[str, Any],
    readers: Sequence[str] = (),
) -> VolumeTable:  # fmt: skip
    lazy, name = open_table(source, **options)
    known = column_names(lazy, name)
    columns = {"": images} if isinstance(images, str) else dict(images)
    masks = [*([mask] if mask is not None else []), *readers]
    for column in (*columns.values(), *masks):
        if column not in known:
            close = nearest(column, known)
            raise DataError(
                f"{name} has no column '{column}'", "a column of paths to scans or masks",
                f"did you mean '{close}'?" if close else "name the columns that hold the paths",
            )  # fmt: skip
    if folder is None and not isinstance(source, (str, Path)):
        raise DataError("a frame has no folder", "the folder that the paths are relative to", "name it")
    root = Path(os.path.abspath(Path(source).parent if folder is None else folder))
    frame = collect(lazy, name)
    names = tuple(channels) if isinstance(images, str) else tuple(columns)
    cases = [
        _case(
            {channel: row[column] for channel, column in columns.items()}, row[mask] if mask else None, root, names,
            labels, modality, mask is not None, {reader: row[reader] for reader in readers},
        )
        for row in frame.select({*columns.values(), *masks}).iter_rows(named=True)
    ]  # fmt: skip
    return _table(frame, cases, names, labels, name)


def read_volume_table(
    source: Any,
    *,
    images: str | Mapping[str, str] = "image",
    mask: str | None = None,
    channels: Sequence[str] = (),
    labels: Mapping[int, str] | None = None,
    modality: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    readers: Sequence[str] = (),
    **options: Any,
) -> VolumeTable:
    r"""Read a list of scans and masks.

    Parameters
    ----------
    source : path or frame
        A ``dataset.json`` (Medical Segmentation Decathlon, nnU-Net) or its folder, a BIDS folder, or a table.
    images : str or mapping of str to str
        Of a table: the column of paths, or the column of each channel. A path names a NIfTI file or DICOM slices.
    mask : str, optional
        The column of masks of a table; the suffix (``dseg``) or label of masks in a BIDS folder.
    channels : sequence of str
        Names of the channels of a column of 4D files; contrasts wanted of a BIDS folder, all when absent.
    labels : mapping of int to str, optional
        Names of the labels of a table's masks.
    modality : str, optional
        Of a table's NIfTI files.
    folder : path, optional
        What the paths of a table are relative to, and must stay in; the folder of the table when absent.
    readers : sequence of str
        Columns of a table with masks of further readers; see `VolumeCase.of_reader`.
    **options
        See `aimed.readers.source.open_table`.

    Returns
    -------
    VolumeTable
        Scans are opened one by one; see `VolumeCase.read`.

    Raises
    ------
    DataError
        If the list cannot be understood, or not one of its scans is there.

    Examples
    --------
    >>> import tempfile
    >>> from aimed.readers.nifti import write_nifti
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(Volume(array=np.zeros((2, 3, 4)), affine=np.eye(4)), Path(folder) / "a.nii.gz")
    ...     table = Path(folder) / "t.csv"
    ...     _ = table.write_text("patient,t1\n1,a.nii.gz\n2,b.nii.gz\n3,../c.nii.gz\n")
    ...     found = read_volume_table(table, images={"T1w": "t1"}, modality="MR")
    ...     found.refused, found.cases[0].read().channels
    ({'MISSING': 1, 'OUTSIDE': 1}, ('T1w',))
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.path.abspath(source))
        if readers and (path.is_dir() or path.suffix.lower() == ".json"):
            raise DataError(
                "masks of further readers and a list without columns", "a table with a column of paths a reader",
                "write the list as a table",
            )  # fmt: skip
        if path.is_dir() and (path / "dataset.json").is_file():
            return _decathlon(path / "dataset.json")
        if path.is_dir():
            return _bids(path, channels, mask)
        if path.suffix.lower() == ".json":
            return _decathlon(path)
        source = path
    return _from_table(source, images, mask, folder, channels, labels or {}, modality, options, readers)
