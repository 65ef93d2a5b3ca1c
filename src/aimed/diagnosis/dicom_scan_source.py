"""The DICOM series that outlines belong to: whose it is, where its slices lie and how each is referred to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError
from aimed.core.grid import Grid
from aimed.core.volume import VolumeRefused
from aimed.diagnosis.dicom_source import DicomSource, derived_uid, dicom_source
from aimed.readers.dicom_series import Series
from aimed.readers.image_files import ImageFile

__all__ = ["ScanSource", "scan_source", "series_of"]


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ScanSource:
    """Whose scan a result is of, and its slices in the order of the volume; its printed form shows none of it.

    Parameters
    ----------
    owner : DicomSource
        Patient, study and series.
    instances : tuple of (str, str, int or None)
        Of each slice: SOP class, SOP instance and, in a file of several frames, the number of the frame from 1.
    frame_of_reference : str
        UID; one is made where the series has none.
    grid : Grid
    places : float array, shape (n, 3)
        Of the first pixel of each slice: mm to the left, back and head.
    turn : float array, shape (2, 3)
        Cosines of a row and of a column.
    spacing : (float, float)
        Millimetres between rows and between columns.
    modality : str
    made : tuple of str
        UIDs that the series lacks and that were made for it.
    """

    owner: DicomSource
    instances: tuple[tuple[str, str, int | None], ...]
    frame_of_reference: str
    grid: Grid
    places: NDArray[np.float64]
    turn: NDArray[np.float64]
    spacing: tuple[float, float]
    modality: str
    made: tuple[str, ...]


def _owner(sources: Sequence[DicomSource]) -> DicomSource:
    """Return the owner of all files, or refuse files of several."""
    first = sources[0]
    for name, values in {
        "patients": {s.values["PatientID"] for s in sources},
        "names of patients": {s.values["PatientName"] for s in sources},
        "studies": {s.study for s in sources if "StudyInstanceUID" not in s.made},
        "series": {s.series for s in sources if "SeriesInstanceUID" not in s.made},
        "frames of reference": {s.frame_of_reference for s in sources},
    }.items():
        if len(values) > 1:
            raise DataError(
                f"the slices of one volume name {len(values)} {name}", "one", "export the series again from the archive"
            )
    return first


def scan_source(series: Series, others: Sequence[Series] = ()) -> ScanSource:
    """Read whose series it is and how its slices are referred to.

    Parameters
    ----------
    series : Series
        One that `aimed.readers.dicom_series.find_series` accepted.
    others : sequence of Series
        What the result was made from as well, such as other contrasts: they must name the same patient.

    Returns
    -------
    ScanSource

    Raises
    ------
    VolumeRefused
        With the code of a series that is no volume.
    DataError
        If its slices name several patients, studies or series, or one SOPInstanceUID twice, or another series names
        another patient.
    ImageRefused
        If a file is gone or damaged since.
    MissingExtraError
        If pydicom is not installed.
    """
    grid = series.grid
    places, turn, spacing = series.planes
    known: dict[ImageFile, DicomSource] = {}
    for file, _ in series.files:
        if file not in known:
            known[file] = dicom_source(file, classes=None)
    owner = _owner(list(known.values()))
    for other in others:
        beside = dicom_source(other.files[0][0], classes=None)
        if beside.values["PatientID"] != owner.values["PatientID"]:
            raise DataError("the series of one scan name several patients", "one patient", "check the list of scans")
    frames = dict.fromkeys(known, 0)
    for file, frame in series.files:
        frames[file] = max(frames[file], frame)
    several = any(frames.values())
    instances = tuple(
        (known[file].sop_class, known[file].sop_instance, frame + 1 if several else None)
        for file, frame in series.files
    )
    if len({(instance, frame) for _, instance, frame in instances}) < len(instances):
        raise DataError(
            "slices of the series share a SOPInstanceUID", "one a slice, so that each can be referred to",
            "export it again from the archive",
        )  # fmt: skip
    made = owner.made
    frame_of_reference = owner.frame_of_reference
    if not frame_of_reference:
        made = (*made, "FrameOfReferenceUID")
        frame_of_reference = derived_uid("FrameOfReferenceUID", owner.series)
    return ScanSource(
        owner=owner, instances=instances, frame_of_reference=frame_of_reference, grid=grid, places=places, turn=turn,
        spacing=spacing, modality=series.modality or "OT", made=made,
    )  # fmt: skip


def series_of(series: Sequence[Series], grid: Grid) -> Series:
    """Return the series whose grid it is: of several, the one that lies nearest, and of equals the first.

    Parameters
    ----------
    series : sequence of Series
        In the order of the channels, such as one a contrast.
    grid : Grid
        Of the outlines.

    Returns
    -------
    Series

    Raises
    ------
    VolumeRefused
        GRIDS_DIFFER when no series has the grid.
    """
    best, least = None, np.inf
    for one in series:
        if one.code is not None or not one.grid.same_as(grid):
            continue
        apart = float(np.abs(one.grid.corners() - grid.corners()).max())
        if apart < least - 1e-6:
            best, least = one, apart
    if best is None:
        raise VolumeRefused("GRIDS_DIFFER", f"the outlines and each of {len(series)} series")
    return best
