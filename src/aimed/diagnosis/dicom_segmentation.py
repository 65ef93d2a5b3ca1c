"""Outlines as a DICOM segmentation in the study of the scan: one segment a region, every frame tied to its slice."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, MissingExtraError
from aimed.diagnosis.dicom_report_parts import SERIES_NUMBER, equipment, evidence_of, own_scheme
from aimed.diagnosis.dicom_scan_source import ScanSource, scan_source
from aimed.diagnosis.dicom_scan_statement import SITES, RegionResult, ScanResult
from aimed.diagnosis.dicom_source import derived_uid, stamp
from aimed.diagnosis.dicom_statement import RESEARCH, ModelIdentity
from aimed.readers.dicom_library import highdicom, quietly
from aimed.readers.dicom_series import Series

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["COLOURS", "SegmentationKind", "segmentation", "tracking"]

SegmentationKind = Literal["BINARY", "LABELMAP"]

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Of the segments in turn (Okabe and Ito): told apart without red and green."""

_STAND_IN = "1.2.840.10008.5.1.4.1.1.4"
"""The class that slices have while the library works: it then takes frames and files alike."""


def tracking(source: ScanSource, model: ModelIdentity, region: RegionResult) -> tuple[str, str]:
    """Return the UID and the name under which segmentation and report speak of one region.

    Parameters
    ----------
    source : ScanSource
    model : ModelIdentity
    region : RegionResult
    """
    uid = derived_uid("region", source.owner.series, source.instances[0][1], model.digest, region.key)
    # A reader that shows the name alone would show an outline as if somebody had drawn it.
    return uid, f"{region.label[:40]}: by a research model"


def _decimals(values: ArrayLike) -> list[Any]:
    from pydicom.valuerep import DSfloat

    # A decimal string has 16 characters; more would not be valid.
    return [DSfloat(float(v) + 0.0, auto_format=True) for v in np.ravel(values)]


def _slices(source: ScanSource, used: NDArray[np.intp]) -> list[Dataset]:
    """Return what the library needs of each slice, without the patient; names of slices stand in for their UIDs."""
    found = []
    rows, columns = source.grid.shape[1:]
    step = source.places[1:] - source.places[:-1]
    apart = float(np.median(step @ np.cross(source.turn[0], source.turn[1])))
    spacing, turn, thick = _decimals(source.spacing), _decimals(source.turn), _decimals(apart)[0]
    for k in used:
        one = evidence_of(source.owner.study, source.owner.series, _STAND_IN, f"2.25.{k}")
        one.FrameOfReferenceUID, one.PositionReferenceIndicator = source.frame_of_reference, None
        one.Modality, one.Rows, one.Columns = source.modality, rows, columns
        one.ImagePositionPatient, one.ImageOrientationPatient = _decimals(source.places[k]), turn
        one.PixelSpacing, one.SliceThickness, one.SpacingBetweenSlices = spacing, thick, thick
        for keyword, value in source.owner.image.items():
            if keyword.startswith("Lossy"):
                setattr(one, keyword, value)
        found.append(one)
    return found


def _true_names(dataset: Dataset, source: ScanSource) -> None:
    """Put class, UID and frame of every slice where the library wrote what stood in for them."""
    from pydicom.dataset import Dataset as Item

    truth = {f"2.25.{k}": instance for k, instance in enumerate(source.instances)}
    listed = []
    # Frames of one file are one instance; slices without a voxel were looked at too.
    for kind, instance in dict.fromkeys((kind, instance) for kind, instance, _ in source.instances):
        one = Item()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = kind, instance
        listed.append(one)
    # Optional here, and viewers take its n-th item for the slice of the n-th frame (OHIF/Viewers issues 2833 and 3754).
    del dataset.SourceImageSequence
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = listed
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for item in frame.DerivationImageSequence[0].SourceImageSequence:
            # Segments share the items of their slices, so that some are met again under their true names.
            known = truth.get(str(item.ReferencedSOPInstanceUID))
            if known is None:
                continue
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, number = known
            if number is not None:
                item.ReferencedFrameNumber = number


def _pack(dataset: Dataset) -> None:
    """Compress the frames of a label map without loss (RLE)."""
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtraError("imagecodecs", "a label map", "pip install 'aimed[imaging]'") from None
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    count = int(dataset.NumberOfFrames)
    frames = np.frombuffer(
        dataset.PixelData, np.uint8, count * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    )
    # One segment for each byte of a number, the highest first; every row is packed for itself.
    planes = frames.reshape(count, dataset.Rows, dataset.Columns, dataset.BitsAllocated // 8)[..., ::-1]
    packed = []
    for frame in planes:
        parts = []
        for k in range(frame.shape[-1]):
            part = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in frame[..., k])
            parts.append(part + b"\0" * (len(part) % 2))
        starts = np.zeros(16, "<u4")
        starts[0] = len(parts)
        starts[1 : 1 + len(parts)] = 64 + np.cumsum([0, *[len(part) for part in parts[:-1]]])
        packed.append(starts.tobytes() + b"".join(parts))
    dataset.PixelData = encapsulate(packed)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = RLELossless


def _descriptions(hd: Any, source: ScanSource, result: ScanResult) -> list[Any]:
    seg, code = hd.seg, hd.sr.CodedConcept
    model = result.model
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"aimed, study {model.study}"[:64],
        family=code("123110", "DCM", "Artificial Intelligence"),
        version=model.version,
        source="aimed",
        parameters={"model": model.digest},
    )
    site = SITES.get(source.owner.image.get("BodyPartExamined", ""))
    found = []
    for k, region in enumerate(result.regions):
        uid, name = tracking(source, model, region)
        one = seg.SegmentDescription(
            segment_number=k + 1,
            segment_label=region.label,
            segmented_property_category=code(*region.category),
            segmented_property_type=code(*region.kind),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=uid,
            tracking_id=name,
            anatomic_regions=[code(*site)] if site and region.kind != site else None,
            display_color=hd.color.CIELabColor.from_rgb(*COLOURS[k % len(COLOURS)]),
        )
        one.SegmentDescription = f"{RESEARCH} Outline of {region.label} by {model.line}."
        found.append(one)
    return found


def _checked(masks: ArrayLike, source: ScanSource, regions: Sequence[RegionResult]) -> NDArray[np.bool_]:
    array = np.asarray(masks)
    rows, columns = source.grid.shape[1:]
    if rows * columns < 8:
        # The library packs such frames wrongly, bit by bit.
        raise DataError(f"slices of {rows} x {columns} voxels", "8 voxels or more")
    wanted = (len(regions), *source.grid.shape)
    if array.shape != wanted:
        raise DataError(f"masks of shape {array.shape}", f"{wanted}: one for each region, on the grid of the series")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "ui" or (array.size and int(array.max()) > 1) or int(array.min()) < 0:
            raise DataError("masks with other values than 0 and 1", "true where a voxel is inside")
        array = array.astype(np.bool_)
    return array


def _painted(masks: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the number of the segment of each voxel."""
    painted = np.zeros(masks.shape[1:], dtype=np.uint8 if len(masks) < 256 else np.uint16)
    for number, mask in enumerate(masks, start=1):
        if np.any(painted[mask]):
            raise DataError(
                "regions that overlap, which a label map cannot hold", "regions without a common voxel",
                "write a BINARY segmentation, or declare exclusive regions",
            )  # fmt: skip
        painted[mask] = number
    return painted


def segmentation(
    source: Series | ScanSource,
    masks: ArrayLike,
    result: ScanResult,
    *,
    kind: SegmentationKind = "BINARY",
    created: datetime.datetime | None = None,
) -> Dataset:
    """Write outlines as a segmentation in the study of the scan.

    Parameters
    ----------
    source : Series or ScanSource
        The series whose grid the masks have; see `aimed.diagnosis.dicom_scan_source.series_of`.
    masks : bool array, shape (k, z, y, x)
        One a region of the result, in the order of the volume that the series is read as. Regions may overlap.
    result : ScanResult
    kind : {"BINARY", "LABELMAP"}
        One bit a voxel and segment, which every viewer reads; or one number a voxel (DICOM 2024b, compressed), which
        holds no regions that overlap.
    created : datetime, optional
        Now when absent. The same outlines at the same time are the same segmentation, with the same UIDs.

    Returns
    -------
    pydicom Dataset
        A segment for each region, with its code, colour and algorithm (AUTOMATIC, name, version and model), also for
        a region without a voxel. Frames follow the normal of the slices, one segment after the other; each names the
        slice it was derived from. Frames without a voxel are left out, unless there is no voxel at all: then all are
        written, because a segmentation has at least one frame.

    Raises
    ------
    DataError
        If the masks lie on another grid, or regions overlap in a label map; see also `scan_source`.
    VolumeRefused, ImageRefused
        If the series is no volume, or a file is gone or damaged since it was found.
    MissingExtraError
        If pydicom, highdicom or, for a label map, imagecodecs is not installed.

    References
    ----------
    DICOM PS3.3, A.51 "Segmentation IOD" and A.51.5 "Label Map Segmentation IOD".
    """
    if kind not in ("BINARY", "LABELMAP"):
        raise DataError(f"a segmentation '{kind}'", "BINARY or LABELMAP")
    hd = highdicom()
    place = source if isinstance(source, ScanSource) else scan_source(source)
    array = _checked(masks, place, result.regions)
    filled = np.flatnonzero(array.any(axis=(0, 2, 3)))
    used = filled if len(filled) else np.arange(array.shape[1])
    stored = np.moveaxis(array, 0, -1) if kind == "BINARY" else _painted(array)
    created = created or datetime.datetime.now()
    model = result.model
    said = hashlib.sha256(np.packbits(array).tobytes())
    said.update(repr((result, kind, created.isoformat())).encode("utf-8", "replace"))
    with quietly():
        found: Dataset = hd.seg.Segmentation(
            source_images=_slices(place, used),
            pixel_array=stored[used],
            segmentation_type=kind,
            segment_descriptions=_descriptions(hd, place, result),
            series_instance_uid=derived_uid(
                "segmentation series", place.owner.study, place.owner.series, model.digest, model.version
            ),
            series_number=SERIES_NUMBER + 2,
            sop_instance_uid=derived_uid("segmentation", place.instances[0][1], said.hexdigest()),
            instance_number=1,
            content_label="OUTLINES",
            content_description=RESEARCH,
            content_creator_name="aimed^research model",
            series_description=f"{RESEARCH} Outlines",
            **equipment(model),
        )
        _true_names(found, place)
        if kind == "LABELMAP":
            _pack(found)
        organisation = derived_uid("dimensions", found.SOPInstanceUID)
        found.DimensionOrganizationSequence[0].DimensionOrganizationUID = organisation
        for index in found.DimensionIndexSequence:
            index.DimensionOrganizationUID = organisation
        if any(code[1] == own_scheme().CodingSchemeDesignator for code in (r.kind for r in result.regions)):
            found.CodingSchemeIdentificationSequence = [own_scheme()]
        stamp(found, place.owner, created)
    return found
