"""What is written for one outlined scan: the mask in its own space, volumes as JSON, and DICOM results where asked."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aimed import __version__
from aimed.core import AimedError, DataError, MissingExtraError
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume
from aimed.diagnosis.dicom_scan_source import scan_source, series_of
from aimed.diagnosis.dicom_scan_statement import Code, RegionResult, ScanResult
from aimed.diagnosis.dicom_segmentation import SegmentationKind, segmentation
from aimed.diagnosis.dicom_source import write_dataset
from aimed.diagnosis.dicom_statement import RESEARCH, ModelIdentity
from aimed.diagnosis.dicom_volume_report import volume_report
from aimed.readers.dicom_library import highdicom
from aimed.readers.dicom_series import Series, find_series, find_study
from aimed.readers.nifti import is_nifti, write_nifti
from aimed.readers.volume_table import VolumeCase
from aimed.study.store import file_sha256, jsonable, write_atomic

__all__ = ["Outlines", "VolumeOutput", "dicom_series_of"]

_FORMAT = "aimed volumes 1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Outlines(Protocol):
    """What is written of a scan; `aimed.diagnosis.outlines_model.Outlined` has it."""

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Of each region, on the grid of the scan as it was read, shape (k, z, y, x)."""

    @property
    def labels(self) -> Volume:
        """The same as a map of labels."""

    @property
    def volumes(self) -> Mapping[str, Mapping[str, float | None]]:
        """By key of the region: ``ml``, ``lower`` and ``upper``."""

    @property
    def expected_dice(self) -> Mapping[str, float | None]:
        """By key of the region."""


def _is_nifti(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_nifti(file.read(2**16))
    except OSError:
        return False


def dicom_series_of(case: VolumeCase) -> list[Series]:
    """Return the DICOM series that a scan was read from, in the order of its channels.

    Parameters
    ----------
    case : VolumeCase

    Returns
    -------
    list of Series

    Raises
    ------
    DataError
        If the scan is no DICOM: nothing then says whose it is.
    VolumeRefused
        With the code of the series.
    """
    if any(_is_nifti(path) for path in case.images):
        raise DataError(
            "the scan was read from NIfTI, which names no patient, study or series", "a scan read from DICOM",
            "take the mask as NIfTI and the volumes as JSON",
        )  # fmt: skip
    if len(case.images) == 1 and len(case.channels) > 1:
        return find_study(case.images[0], case.channels)
    return [find_series(path).only() for path in case.images]


class VolumeOutput:
    """Writes files for outlined scans, one scan after the other.

    Parameters
    ----------
    folder : path
        Made when absent.
    model : ModelIdentity
    labels : mapping of str to str, optional
        What a region is called, by key.
    codes : mapping of str to (str, str, str), optional
        Standard code of a region as a user declared it, by key; see `dicom_scan_statement.region_code`.
    level : float
        Of the intervals of the volumes.
    dicom : bool or path
        Whether a DICOM segmentation and a report are written as well; to this folder where it is a path.
    kind : {"BINARY", "LABELMAP"}
        Of the segmentation.

    Attributes
    ----------
    written : int
        Scans.
    left_out : Counter
        Scans without DICOM results although these were asked for, by reason: the code of a refusal, or ``NO_DICOM``
        for scans that are no DICOM or lack what a result must name.

    Raises
    ------
    MissingExtraError
        If DICOM is asked for and highdicom is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        model: ModelIdentity,
        *,
        labels: Mapping[str, str] | None = None,
        codes: Mapping[str, Code] | None = None,
        level: float = 0.95,
        dicom: bool | str | Path = False,
        kind: SegmentationKind = "BINARY",
    ) -> None:
        self.folder, self.model, self.level = Path(folder), model, level
        self.labels, self.codes = dict(labels or {}), dict(codes or {})
        self.dicom, self.kind = dicom is not False, kind
        self.dicom_folder = self.folder if isinstance(dicom, bool) else Path(dicom)
        self.versions = {"aimed": __version__}
        if self.dicom:
            self.versions["highdicom"] = str(highdicom().__version__)
        self.written = 0
        self.left_out: Counter[str] = Counter()

    def __call__(
        self,
        name: str,
        case: VolumeCase,
        outlined: Outlines,
        *,
        warnings: Sequence[str] = (),
        sha256: str | None = None,
        created: datetime.datetime | None = None,
    ) -> dict[str, Any]:
        """Write the files of one scan.

        Parameters
        ----------
        name : str
            Of the mask (``name.nii.gz``) and the volumes (``name.json``): letters, digits, points and dashes. It stands
            in no file. DICOM files are named by their own new UIDs.
        case : VolumeCase
            The scan that was outlined.
        outlined : Outlines
        warnings : sequence of str
            Sentences about this scan; never a value of the patient.
        sha256 : str, optional
            Digest of what was read.
        created : datetime, optional
            Now when absent.

        Returns
        -------
        dict
            What the JSON file holds.

        Raises
        ------
        DataError
            If the name is no plain name, or what was outlined does not fit together. Nothing is written then.
        VolumeRefused
            GRIDS_DIFFER when the outlines are not on the grid of the scan.

        Notes
        -----
        A scan that cannot have DICOM results gets the mask and the volumes all the same; ``dicom_refused`` says why.
        """
        if not _NAME.fullmatch(name):
            raise DataError(f"a name of {len(name)} letters that is no plain name", "letters, digits, '.', '_' and '-'")
        if outlined.masks.shape != (len(outlined.volumes), *outlined.labels.grid.shape):
            raise DataError("masks, labels and volumes that do not fit each other", "one mask a region, on one grid")
        created = created or datetime.datetime.now()
        result = ScanResult.of(
            self.model, outlined.volumes, expected_dice=outlined.expected_dice, labels=self.labels, codes=self.codes,
            level=self.level, warnings=tuple(warnings),
        )  # fmt: skip
        made, refused = self._dicom(case, outlined, result, created)
        self.folder.mkdir(parents=True, exist_ok=True)
        mask = self.folder / f"{name}.nii.gz"
        source = case.images[0] if case.images and _is_nifti(case.images[0]) else None
        write_nifti(outlined.labels, mask, like=source)
        files = {"mask": {"file": mask.name, "sha256": file_sha256(mask)}}
        for what, dataset in made.items():
            path = write_dataset(dataset, self.dicom_folder)
            files[what] = {"file": path.name, "sha256": file_sha256(path)}
        record = self._record(outlined, result, files, created, sha256)
        if refused is not None:
            record["dicom_refused"] = refused
        write_atomic(self.folder / f"{name}.json", json.dumps(jsonable(record), indent=1, ensure_ascii=False) + "\n")
        self.written += 1
        return record

    def _dicom(
        self, case: VolumeCase, outlined: Outlines, result: ScanResult, created: datetime.datetime
    ) -> tuple[dict[str, Any], str | None]:
        """Return data sets by what they are, and a sentence where there are none."""
        if not self.dicom:
            return {}, None
        try:
            series = dicom_series_of(case)
            chosen = series_of(series, outlined.labels.grid)
            place = scan_source(chosen, [one for one in series if one is not chosen])
            outlines = segmentation(place, outlined.masks, result, kind=self.kind, created=created)
            report = volume_report(place, outlines, result, created=created)
        except ImageRefused as refused:
            self.left_out[refused.code] += 1
            return {}, str(refused)
        except MissingExtraError:
            raise
        except AimedError as error:
            self.left_out["NO_DICOM"] += 1
            return {}, str(error)
        # The text of what the DICOM library says may quote the patient.
        except Exception as error:
            self.left_out["NO_DICOM"] += 1
            return {}, f"an unforeseen {type(error).__name__} while DICOM results were made"
        return {"segmentation": outlines, "report": report}, None

    def _record(
        self, outlined: Outlines, result: ScanResult, files: dict[str, Any], created: datetime.datetime,
        sha256: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        home = outlined.labels.grid
        return {
            "format": _FORMAT,
            "notice": RESEARCH,
            "created": created.isoformat(timespec="seconds"),
            "model": {"digest": self.model.digest, "study": self.model.study, "version": self.model.version},
            "versions": self.versions,
            "scan": {
                "sha256": sha256,
                "shape_zyx": list(home.shape),
                "spacing_zyx_mm": [round(v, 6) for v in home.spacing],
                "orientation": home.orientation,
                "modality": outlined.labels.modality,
            },
            "regions": [
                _region(region, mask) for region, mask in zip(result.regions, outlined.masks, strict=True)
            ],
            "warnings": list(result.warnings),
            "files": files,
        }  # fmt: skip


def _region(region: RegionResult, mask: NDArray[np.bool_]) -> dict[str, Any]:
    value, scheme, meaning = region.kind
    return {
        "key": region.key,
        "label": region.label,
        "code": {"value": value, "scheme": scheme, "meaning": meaning},
        "voxels": int(np.count_nonzero(mask)),
        "ml": region.ml,
        "lower_ml": region.lower,
        "upper_ml": region.upper,
        "level": region.level if region.lower is not None else None,
        "expected_dice": region.expected_dice,
    }
