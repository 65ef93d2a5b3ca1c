"""Predicting scans: a mask and volumes for each, written as they come, taken up again where it was stopped."""

from __future__ import annotations

import contextlib
import csv
import datetime
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from aimed.bundle.volumes import PredictedVolume, VolumeBundle, volume_table
from aimed.core import AimedError, DataError, RefusedError
from aimed.core.volume import VolumeRefused
from aimed.diagnosis.dicom_scan_statement import Code
from aimed.diagnosis.dicom_segmentation import SegmentationKind
from aimed.diagnosis.dicom_statement import ModelIdentity
from aimed.readers.image_files import ImageFile, find_images, inside
from aimed.readers.volume_folder import FoundScan, find_scans
from aimed.study.predict import safe_cell
from aimed.study.row_log import log_head, logged_rows, row_log
from aimed.study.store import NotWrittenError
from aimed.study.volume_output import VolumeOutput
from aimed.trust.volume_agreement import PROMISE

__all__ = ["TABLE", "PredictedVolumes", "Volumes", "find_volumes", "predict_volumes"]

Progress: TypeAlias = Callable[[float, str], object]

TABLE = "volumes.csv"
"""The table over all scans."""

_LOG = "volumes.part"


@dataclass(frozen=True, slots=True)
class Volumes:
    """Scans with the names and ids the user gave them, and a plain name for the files of each.

    Parameters
    ----------
    scans : tuple of FoundScan
    without : path, optional
        A folder among them for results, which does not count.
    """

    scans: tuple[FoundScan, ...]
    without: Path | None = None

    @property
    def file_names(self) -> tuple[str, ...]:
        """A name for the files of each scan: letters, digits, points and dashes, no two alike."""
        taken: set[str] = set()
        found = []
        for scan in self.scans:
            name = plain = _plain_name(scan.name)
            number = 2
            while name.lower() in taken:
                name, number = f"{plain}_{number}", number + 1
            taken.add(name.lower())
            found.append(name)
        return tuple(found)

    def digest(self) -> str:
        """Return a hash that changes with the list, and with size or time of any file."""
        content = hashlib.sha256()
        for scan in self.scans:
            marks: list[str | None] = []
            for path in scan.case.images:
                try:
                    files = find_images(path) if path.is_dir() else [ImageFile(path)]
                except AimedError:
                    files = []
                if self.without is not None:
                    files = [file for file in files if not file.path.is_relative_to(self.without)]
                marks += [file.stamp() or file.refusal for file in files]
            content.update(json.dumps((scan.name, scan.id, marks)).encode("utf-8", "surrogatepass"))
        return content.hexdigest()


def _plain_name(name: str) -> str:
    stem = re.sub(r"\.(nii(\.gz)?|zip|dcm)$", "", name, flags=re.IGNORECASE)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", stem.replace("/", "__")).lstrip("._-")
    # Room for a number where two are alike.
    return plain[:90] or "scan"


@dataclass(slots=True)
class PredictedVolumes:
    """What came of it, in counts.

    Parameters
    ----------
    scans, predicted : int
    refused, warned : dict of str to int
        By code.
    without_dicom : dict of str to int
        Scans without DICOM results although these were asked for, by reason; of this call alone.
    resumed : int
        Scans that an earlier call had done.
    """

    scans: int = 0
    predicted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    without_dicom: Counter[str] = field(default_factory=Counter)
    resumed: int = 0

    def count(self, scan: Mapping[str, Any]) -> None:
        """Take one row."""
        self.scans += 1
        if scan["code"]:
            self.refused[scan["code"]] += 1
        else:
            self.predicted += 1
        self.warned.update(w["code"] for w in scan["warnings"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "scans": self.scans,
            "predicted": self.predicted,
            "refused": dict(sorted(self.refused.items())),
            "warned": dict(sorted(self.warned.items())),
            "without_dicom": dict(sorted(self.without_dicom.items())),
            "resumed": self.resumed,
        }


def find_volumes(
    bundle: VolumeBundle,
    source: str | Path,
    *,
    image: str | None = None,
    unit: str | None = None,
    out: str | Path | None = None,
    dicom: str | Path | None = None,
) -> Volumes:
    """List the scans of a file, a folder or a table for a model.

    Parameters
    ----------
    bundle : VolumeBundle
        Whose channels are looked for, in the columns of its study where none is named.
    source : path
        See `aimed.readers.volume_folder.find_scans`.
    image : str, optional
        Column of paths; of a table only.
    unit : str, optional
        Column of ids to carry along.
    out, dicom : path, optional
        Where results will be written. Scans are not looked for in `out`.

    Raises
    ------
    DataError
        If there is nothing, a column is absent, or a column is named and there is no table.
    RefusedError
        If `dicom` lies among the scans and not in `out`: results would be read as parts of them.
    """
    schema = bundle.schema
    home, without = Path(os.path.abspath(source)), None if out is None else Path(os.path.abspath(out))
    apart = without is not None and without != home and inside(Path(dicom or ""), without)
    if dicom is not None and home.is_dir() and inside(Path(dicom), home) and not apart:
        raise RefusedError(
            "the folder for DICOM results lies among the scans", "a folder beside them", "give another --dicom"
        )
    named: str | Mapping[str, str] | None = image
    if image is None and Path(source).suffix.lower() in (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather"):
        named = schema.columns or schema.column
    found = find_scans(source, schema.channels, image=named, unit=unit, modality=schema.modality, without=without)
    return Volumes(tuple(found), without)


def predict_volumes(
    bundle: VolumeBundle,
    volumes: Volumes,
    out: str | Path,
    *,
    dicom: bool | str | Path = False,
    kind: SegmentationKind = "BINARY",
    progress: Progress | None = None,
    n_jobs: int | None = None,
) -> PredictedVolumes:
    """Outline scans and write a mask and volumes of each, and one table over all.

    Parameters
    ----------
    bundle : VolumeBundle
    volumes : Volumes
    out : path
        A folder, new or empty, or one in which the same call was stopped.
    dicom : bool or path
        Whether scans read from DICOM get a segmentation and a report too, in this folder where it is a path.
    kind : {"BINARY", "LABELMAP"}
        Of that segmentation: one bit a voxel and region, or one number a voxel, where no regions can overlap.
    progress : callable, optional
        ``progress(share, text)``.
    n_jobs : int, optional
        Scans read ahead at once.

    Returns
    -------
    PredictedVolumes

    Raises
    ------
    RefusedError
        If the folder holds anything else; nothing is overwritten.
    DataError
        If a file cannot be written; what was predicted is kept. If a label map is asked for and regions overlap.

    Notes
    -----
    Rows go to ``volumes.part`` as they come; the finished table takes its place in one step. Names of scans stand in
    the table and the names of files alone.
    """
    folder = Path(out)
    head: dict[str, Any] = {
        "model_sha256": bundle.digest, "scans": len(volumes.scans), "scans_sha256": volumes.digest(),
        "dicom": dicom is not False,
    } | ({} if kind == "BINARY" else {"kind": kind})  # fmt: skip
    _one_number(bundle, kind)
    log, table = folder / _LOG, folder / TABLE
    found = PredictedVolumes()
    try:
        began = _checked(folder, head)
        created = datetime.datetime.fromtimestamp(began)
        folder.mkdir(parents=True, exist_ok=True)
        output = _output(bundle, folder, dicom, kind)
        with _alone(folder), row_log(log, {**head, "began": began}, found.count) as add:
            found.resumed = found.scans
            rows = bundle.predict(
                [scan.case for scan in volumes.scans], names=[scan.name for scan in volumes.scans],
                ids=[scan.id for scan in volumes.scans], start=found.scans, progress=progress, n_jobs=n_jobs,
            )  # fmt: skip
            names = volumes.file_names
            with closing(rows):
                for row in rows:
                    record = _written(output, volumes.scans[row.row - 1], row, names[row.row - 1], created)
                    del row
                    add(record)
                    found.count(record)
        found.without_dicom = output.left_out
        _write_table(bundle, log, table)
        log.unlink()
    # The text of the second names a file, and names of files may tell who it is.
    except (OSError, NotWrittenError) as error:
        raise DataError(
            f"the predictions cannot be written ({getattr(error, 'strerror', None) or type(error).__name__})",
            "room and permission to write",
            "free some space, then run again; what was predicted is kept",
        ) from None
    return found


def _checked(folder: Path, head: Mapping[str, Any]) -> int:
    """Return when the call began that is taken up, now for a new one; refuse to overwrite or mix up anything."""
    now = int(datetime.datetime.now().timestamp())
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        known = log_head(folder / _LOG) if _LOG in names else None
        if not names or (_LOG in names and known is None):
            return now
        began = None if known is None else known.pop("began", None)
        if known == dict(head) and isinstance(began, int):
            return began
        what = "finished predictions" if TABLE in names else "other files"
        if _LOG in names:
            what = "predictions of another model, of other scans, or of scans that have changed since"
        raise RefusedError(f"'{folder.name}' holds {what}", "a new or empty folder", "give another --out")
    if folder.exists():
        raise RefusedError(f"'{folder.name}' is a file", "a folder", "give another --out")
    return now


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other calls out of a folder, and clear away what a killed one left half-written."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(
                f"another call is writing to '{folder.name}'", "one at a time", "wait for it, or give another --out"
            ) from None
        except OSError:  # a disk that knows no locks
            pass
        for draft in folder.glob(".*"):
            if draft.suffix in (".part", ".new") and draft.is_file():
                draft.unlink()
        yield
    finally:
        os.close(handle)


def _one_number(bundle: VolumeBundle, kind: SegmentationKind) -> None:
    """Refuse a label map of regions that overlap by what they are, before the first scan is outlined."""
    seen: set[int] = set()
    for labels in bundle.model.segmenter.head_.labels if kind == "LABELMAP" else ():
        if seen & set(labels):
            raise DataError(
                "a label map and a model whose regions overlap", "regions without a common label",
                "leave out --labelmap: a segmentation of one bit a voxel and region holds them",
            )  # fmt: skip
        seen |= set(labels)


def _codes(regions: Sequence[Mapping[str, Any]]) -> dict[str, Code]:
    """Return the declared codes of regions, by key."""
    told = {str(one["key"]): one.get("code") for one in regions}
    return {key: (str(c["value"]), str(c["scheme"]), str(c["meaning"])) for key, c in told.items() if c}


def _output(bundle: VolumeBundle, folder: Path, dicom: bool | str | Path, kind: SegmentationKind) -> VolumeOutput:
    manifest = bundle.manifest
    model = ModelIdentity(
        digest=bundle.digest, study=str(manifest["study"]["id"]), version=str(manifest["aimed_version"])
    )
    levels = {one.level for one in bundle.model.volume_errors if one is not None}
    labels = {one["key"]: one["label"] for one in manifest["outcome"]["regions"]}
    # One study learns all its intervals at one level; without any, none is written.
    return VolumeOutput(
        folder, model, labels=labels, codes=_codes(manifest["outcome"]["regions"]), dicom=dicom, kind=kind,
        level=max(levels, default=PROMISE),
    )  # fmt: skip


def _written(
    output: VolumeOutput, scan: FoundScan, row: PredictedVolume, name: str, created: datetime.datetime
) -> dict[str, Any]:
    """Write the files of a scan and return its row."""
    record = {**row.to_dict(), "mask": None}
    if row.outlined is None:
        return record
    warnings = [f"{w['code']}: {w['reason']}" for w in row.warnings]
    nothing = {"volumes": None, "expected_dice": None, "present": None}
    try:
        # The time of the call, so that a scan that is written again has the same UIDs, and no second DICOM file.
        output(name, scan.case, row.outlined, warnings=warnings, sha256=row.sha256, created=created)
    except NotWrittenError:
        raise
    except VolumeRefused as refused:
        return {**record, **nothing, "code": refused.code, "reason": str(refused)}
    except DataError as error:
        return {**record, **nothing, "code": "NO_PREDICTION", "reason": f"{error.got}; expected {error.expected}"}
    return {**record, "mask": f"{name}.nii.gz"}


def _write_table(bundle: VolumeBundle, log: Path, path: Path) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        # Names of files need not be text.
        with fresh.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*volume_table(PredictedVolume(row=0), bundle.keys), "mask"])
            for record in logged_rows(log):
                mask = record.pop("mask")
                record["warnings"] = tuple(record["warnings"])
                cells = volume_table(PredictedVolume(**record), bundle.keys)
                writer.writerow([safe_cell(value) for value in (*cells.values(), mask)])
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
