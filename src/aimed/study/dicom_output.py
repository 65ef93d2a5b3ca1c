"""Results of predicted pictures as DICOM files: a structured report each, heat maps of findings called present."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aimed.bundle.pictures import PictureBundle
from aimed.core import DataError
from aimed.core.image import Grey, ImageInfo, ImageRefused, Placement
from aimed.diagnosis.dicom_results import write_dicom_results
from aimed.diagnosis.dicom_statement import ModelIdentity, PictureResult
from aimed.explain.class_activation import activation_maps
from aimed.readers.image_files import ImageFile

__all__ = ["DicomOutput"]


class DicomOutput:
    """Writes DICOM files for predicted pictures, one picture after the other.

    Parameters
    ----------
    bundle : PictureBundle
    folder : path
        Made when absent; files are named by their own UIDs.
    maps : bool
        Whether findings that are called present get a heat map as a secondary capture.

    Attributes
    ----------
    written : int
        Files.
    left_out : Counter
        Pictures without any, by reason: refused ones by their code, ``NO_DICOM`` for files that are no DICOM files, and
        ``NOT_WRITTEN`` for files that changed since or lack what a result must name.

    Raises
    ------
    MissingExtraError
        If highdicom is not installed.
    """

    def __init__(self, bundle: PictureBundle, folder: str | Path, *, maps: bool = True) -> None:
        self.bundle, self.folder, self.maps = bundle, Path(folder), maps
        manifest = bundle.manifest
        self.model = ModelIdentity(
            digest=bundle.digest, study=str(manifest["study"]["id"]), version=str(manifest["aimed_version"])
        )
        found = manifest["outcome"]["findings"]
        self.thresholds = {one["key"]: one["threshold"] for one in found}
        self.labels = {one["key"]: one["label"] for one in found}
        self.written = 0
        self.left_out: Counter[str] = Counter()

    def __call__(self, file: ImageFile, predicted: Mapping[str, Any]) -> None:
        """Write the files of one picture; what has none is counted, never raised.

        Parameters
        ----------
        file : ImageFile
        predicted : mapping
            As `aimed.bundle.pictures.PredictedPicture.to_dict` returns it.
        """
        if predicted["code"]:
            self.left_out[str(predicted["code"])] += 1
            return
        result = PictureResult.of(predicted, self.model, thresholds=self.thresholds, labels=self.labels)
        shown = [key for key, yes in (predicted.get("present") or {}).items() if yes] if self.maps else []
        try:
            frame, info = self.bundle.read(file)
            if info.format != "dicom":
                self.left_out["NO_DICOM"] += 1
                return
            maps = self._maps(frame, info, shown)
            self.written += len(write_dicom_results(file, result, maps, self.folder))
        except ImageRefused as refusal:
            self.left_out[refusal.code] += 1
        except DataError:
            self.left_out["NOT_WRITTEN"] += 1

    def _maps(self, frame: Grey, info: ImageInfo, keys: list[str]) -> dict[str, Any]:
        """Return heat maps on the pixels of the source, by key."""
        if not keys:
            return {}
        model = self.bundle.model
        prepared = model.classifier.prepared(frame[None], int(np.iinfo(frame.dtype).max))
        classes = [self.bundle.keys.index(key) for key in keys]
        found = activation_maps(model.classifier.networks_[0], prepared, classes=classes)[0]
        place = Placement.fit(info.rows, info.columns, model.size)
        return {key: place.to_source_map(one) for key, one in zip(keys, found, strict=True)}
