"""All DICOM results of one predicted picture as files: the structured report, and a capture for each heat map."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from aimed.core import DataError
from aimed.diagnosis.dicom_secondary_capture import heat_map_capture
from aimed.diagnosis.dicom_source import Source, file_bytes, write_dataset
from aimed.diagnosis.dicom_statement import PictureResult
from aimed.diagnosis.dicom_structured_report import structured_report
from aimed.readers.image_files import ImageFile
from aimed.readers.radiograph import read_radiograph

__all__ = ["write_dicom_results"]


def write_dicom_results(
    source: Source,
    result: PictureResult,
    maps: Mapping[str, ArrayLike],
    folder: str | os.PathLike[str],
    *,
    opacity: float = 0.5,
    top: float | None = None,
    longest: int = 1024,
    created: datetime.datetime | None = None,
) -> list[Path]:
    """Write what a model says of a picture as DICOM files that its archive takes into the patient's study.

    Parameters
    ----------
    source : path, bytes, ImageFile or pydicom Dataset
        The DICOM file that was predicted.
    result : PictureResult
    maps : mapping of str to array
        Heat maps by key of the finding, on the pixels of the source; findings without one get no capture.
    folder : path
        Made when absent. The files are named by their own new UIDs, never like the source.
    opacity, top, longest
        As in `heat_map_capture`; one `top` makes the maps comparable.
    created : datetime, optional
        Now when absent.

    Returns
    -------
    list of Path
        The report first, then the captures in the order of the findings. Empty for a picture that the model refused:
        the refusal stands in the table of predictions, and an archive gets nothing that looks like a result.

    Raises
    ------
    DataError
        If the source is no DICOM file or another one than was predicted, or a map is of no finding or of other
        pixels. Nothing is written then.
    ImageRefused
        If the source is damaged, hostile or no radiograph.
    MissingExtraError
        If a package of the imaging extra is missing.
    """
    if result.refused is not None:
        return []
    strange = set(maps) - {f.key for f in result.findings}
    if strange:
        raise DataError(f"{len(strange)} heat maps of no finding of this picture", "maps by the keys of the findings")
    created = created or datetime.datetime.now()
    data = file_bytes(source)
    in_file = isinstance(source, (str, os.PathLike, bytes, ImageFile))
    if in_file and result.sha256 is not None and hashlib.sha256(data).hexdigest() != result.sha256:
        raise DataError("another file than the one that was predicted", "the same bytes", "predict this file")
    made = [structured_report(data, result, created=created)]
    shown = [f for f in result.findings if f.key in maps]
    if shown:
        size = max(max(np.shape(maps[f.key])[:2], default=1) for f in shown)
        picture = read_radiograph(data, min(longest, size))
        made += [
            heat_map_capture(
                data, maps[f.key], f, result.model, opacity=opacity, top=top, longest=longest, number=i,
                picture=picture, created=created,
            )
            for i, f in enumerate(shown, start=1)
        ]  # fmt: skip
    return [write_dataset(dataset, folder) for dataset in made]
