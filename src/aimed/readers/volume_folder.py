"""Scans found in a file or folder, for someone who knows their channels: NIfTI by name, DICOM by study."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimed.core import DataError
from aimed.core.image import ImageRefused
from aimed.readers.dicom_elements import TAGS, is_dicom, parse_dicom
from aimed.readers.dicom_slices import contrast
from aimed.readers.image_files import ImageFile, inside
from aimed.readers.volume_table import VolumeCase, read_volume_table

__all__ = ["FoundScan", "channel_named", "find_scans", "is_nifti_name"]

_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_NUMBER = re.compile(r"\d{4}")
_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".ipc")


@dataclass(frozen=True, slots=True, eq=False)
class FoundScan:
    """A scan and what its owner calls it.

    Parameters
    ----------
    name : str
        Path inside the source, or the name of the case in a list.
    case : VolumeCase
    id : str, optional
        From a column of ids.
    """

    name: str
    case: VolumeCase
    id: str | None = None


def is_nifti_name(path: str | os.PathLike[str]) -> bool:
    """Say whether a name ends as those of NIfTI files do.

    Examples
    --------
    >>> is_nifti_name("a.nii.gz"), is_nifti_name("a.nii"), is_nifti_name("a.dcm")
    (True, True, False)
    """
    return bool(_SUFFIX.search(os.fspath(path)))


def channel_named(word: str, channels: Sequence[str]) -> str | None:
    """Return the channel that a word stands for, None when it stands for none.

    Parameters
    ----------
    word : str
        Such as ``"t1ce"``, or ``"0002"`` for the third channel, as nnU-Net numbers them.
    channels : sequence of str

    Examples
    --------
    >>> channel_named("t1ce", ("FLAIR", "T1w", "T1gd")), channel_named("0001", ("FLAIR", "T1w")), channel_named("x", ())
    ('T1gd', 'T1w', None)
    """
    plain = _plain(word)
    for name in channels:
        if _plain(name) == plain:
            return name
    if _NUMBER.fullmatch(word) and len(channels) > 1:
        return channels[int(word)] if int(word) < len(channels) else None
    # BraTS 2023 calls FLAIR t2f.
    said = "FLAIR" if plain == "t2f" else contrast(word)
    return None if said is None else next((name for name in channels if contrast(name) == said), None)


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _parted(path: Path, channels: Sequence[str]) -> tuple[str, str | None]:
    """Return the name of the scan that a file belongs to, and its channel."""
    stem = _SUFFIX.sub("", path.name)
    words = re.split(r"([_\-. ]+)", stem)
    for place in range(len(words) - 1, -1, -2):
        name = channel_named(words[place], channels) if len(channels) > 1 else None
        if name is not None:
            rest = "".join(words[: max(0, place - 1)] + words[place + 1 :])
            return re.sub(r"^[_\-. ]+", "", rest), name
    return stem, None


def find_scans(
    source: str | os.PathLike[str],
    channels: Sequence[str],
    *,
    image: str | Mapping[str, str] | None = None,
    unit: str | None = None,
    modality: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
    without: str | os.PathLike[str] | None = None,
) -> list[FoundScan]:
    """List the scans of a file, a folder or a table.

    Parameters
    ----------
    source : path
        A NIfTI file of all channels; a folder with one file a channel, named by it; a folder of such files or folders;
        a DICOM file, or a folder or archive with the series of a study, or a folder of those; the ``dataset.json``
        of the Medical Segmentation Decathlon or nnU-Net, or its folder; a BIDS folder; a table of paths.
    channels : sequence of str
    image : str or mapping of str to str, optional
        Of a table: the column of paths, or that of each channel.
    unit : str, optional
        Of a table: the column of ids.
    modality : str, optional
        Of files that do not say it in a table.
    encoding, separator : str
        Of a text file.
    without : path, optional
        A folder in that folder which is not looked at, such as that of results.

    Returns
    -------
    list of FoundScan

    Raises
    ------
    DataError
        If there is nothing, or a column is named and there is no table.
    """
    path = Path(os.path.abspath(source))
    if not path.exists():
        raise DataError("there is no such file or folder", "scans", "check the path")
    if path.is_file() and path.suffix.lower() in _TABLES:
        columns = image if image is not None else "image"
        table = read_volume_table(
            path, images=columns, channels=channels if isinstance(columns, str) else (), modality=modality,
            encoding=encoding, separator=separator,
        )  # fmt: skip
        if unit is not None and unit not in table.frame.columns:
            raise DataError(f"the table has no column '{unit}'", "the id column", "name another one, or none")
        ids = [None] * len(table.cases) if unit is None else table.frame[unit].to_list()
        return [
            FoundScan(_case_name(case, path.parent, row), case, None if one is None else str(one))
            for row, (case, one) in enumerate(zip(table.cases, ids, strict=True), start=1)
        ]
    if image is not None or unit is not None:
        raise DataError("a column is named and there is no table", "a table of paths", "leave out the column")
    listed = path.suffix.lower() == ".json" or (path / "dataset.json").is_file()
    if listed or (path.is_dir() and _is_bids(path)):
        table = read_volume_table(path, channels=() if listed else channels)
        return [FoundScan(str(name), case) for name, case in zip(table.frame["case"], table.cases, strict=True)]
    if path.is_file():
        return [FoundScan(path.name, VolumeCase((path,), channels=tuple(channels), modality=None))]
    found = _in_folder(path, tuple(channels), None if without is None else Path(os.path.abspath(without)))
    if not found:
        raise DataError("the folder holds no scans", "NIfTI files or DICOM slices", "check the path")
    return found


def _is_bids(folder: Path) -> bool:
    # Folders of patients may be called sub-01 and hold DICOM.
    return any(one.is_dir() for pattern in ("sub-*/anat", "sub-*/ses-*/anat") for one in folder.glob(pattern))


def _case_name(case: VolumeCase, folder: Path, row: int) -> str:
    first = case.images[0] if case.images else folder
    return f"row {row}" if first == folder else Path(os.path.relpath(first, folder)).as_posix()


def _in_folder(root: Path, channels: tuple[str, ...], without: Path | None = None) -> list[FoundScan]:
    found: list[FoundScan] = []
    leaves: list[Path] = []
    for place, folders, names in os.walk(root):
        here = Path(place)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and here / f != without)
        files = [here / name for name in sorted(names) if not name.startswith(".")]
        niftis = [file for file in files if is_nifti_name(file)]
        found += _of_niftis(niftis, here, root, channels)
        for file in files:
            if file.suffix.lower() == ".zip":
                case = VolumeCase((file,), channels=channels, refusal=_outside(file, root))
                found.append(FoundScan(file.relative_to(root).as_posix(), case))
        if any(_may_be_dicom(file) for file in files):
            leaves.append(here)
    return sorted(found + _of_dicom(leaves, root, channels), key=lambda one: one.name)


def _may_be_dicom(path: Path) -> bool:
    return not is_nifti_name(path) and path.suffix.lower() not in (".json", ".zip", *_TABLES)


def _outside(path: Path, root: Path) -> tuple[str, str] | None:
    return ("OUTSIDE", "") if path.is_symlink() and not inside(path, root) else None


def _of_niftis(files: Sequence[Path], here: Path, root: Path, channels: tuple[str, ...]) -> list[FoundScan]:
    """Return the scans of the NIfTI files of one folder: each by itself, or those of one name together."""
    together: dict[str, dict[str, list[Path]]] = {}
    alone: list[Path] = []
    for file in files:
        scan, channel = _parted(file, channels)
        if channel is None:
            alone.append(file)
        else:
            together.setdefault(scan, {}).setdefault(channel, []).append(file)
    found = []
    for scan, mine in together.items():
        # Files that are named by nothing but their channel are the scan that the folder is.
        place = (here / scan if scan else here).relative_to(root).as_posix()
        name = root.name if place == "." else place
        several = [channel for channel, paths in mine.items() if len(paths) > 1]
        absent = [channel for channel in channels if channel not in mine]
        refusal: tuple[str, str] | None = None
        if several:
            refusal = ("MIXED", f"several files of {several[0]}")
        elif absent:
            refusal = ("MISSING", f"no file of {', '.join(absent)}")
        images = tuple(mine[channel][0] for channel in channels if channel in mine)
        refusal = refusal or next((why for image in images if (why := _outside(image, root))), None)
        found.append(FoundScan(name, VolumeCase(images, channels=channels, refusal=refusal)))
    for file in alone:
        case = VolumeCase((file,), channels=channels, refusal=_outside(file, root))
        found.append(FoundScan(file.relative_to(root).as_posix(), case))
    return found


def _of_dicom(leaves: Sequence[Path], root: Path, channels: tuple[str, ...]) -> list[FoundScan]:
    """Return the studies of folders of slices, each as the folder that holds all of it and nothing else."""
    studies: dict[Any, list[Path]] = {}
    for leaf in leaves:
        study = _study_of(leaf)
        if study is not None:
            # Nothing says that folders belong together which name no study.
            studies.setdefault(study or leaf, []).append(leaf)
    found = []
    for study, mine in studies.items():
        home = Path(os.path.commonpath(mine))
        name = root.name if home == root else home.relative_to(root).as_posix()
        others = [leaf for other, theirs in studies.items() if other != study for leaf in theirs]
        shared = any(leaf.is_relative_to(home) for leaf in others)
        refusal = ("MIXED", "folders of several studies lie in one another") if shared else None
        found.append(FoundScan(name, VolumeCase((home,), channels=channels, refusal=refusal)))
    return found


def _study_of(folder: Path) -> bytes | None:
    """Return what names the study of the first whole DICOM file of a folder, b"" where none does, None without."""
    found = None
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or not _may_be_dicom(path):
            continue
        try:
            with path.open("rb") as file:
                if not is_dicom(file.read(2**10)):
                    continue
            elements, _ = parse_dicom(ImageFile(path).read())
        except (OSError, ImageRefused):
            found = b""
            continue
        known = elements.get(TAGS["StudyInstanceUID"])
        return b"" if known is None else bytes(known.value)
    return found
