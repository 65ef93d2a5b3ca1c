"""DICOM segmentations read back as masks on the grid of their scan, or on a grid of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError
from aimed.core.grid import Grid, Turn
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers.dicom_elements import TAGS, is_dicom, parse_dicom
from aimed.readers.dicom_library import quietly
from aimed.readers.dicom_slices import refused_volume
from aimed.readers.image_files import ImageFile
from aimed.readers.nifti import MAX_BYTES

if TYPE_CHECKING:
    import os

    from pydicom.dataset import Dataset

__all__ = ["Segment", "StoredSegmentation", "is_segmentation", "read_segmentation"]

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation and label map segmentation."""

_NEAR, _ALONG, _ASIDE = 0.05, 0.2, 0.26
"""Shares of a voxel: how far distances may be from equal, and how far a frame may lie from its place, along the stack
and beside it. A series is read with slices a little uneven, and its frames then lie as they do."""

_PRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff]")


@dataclass(frozen=True, slots=True)
class Segment:
    """What one segment is.

    Parameters
    ----------
    number : int
    label : str
    code : (str, str, str)
        Value, scheme and meaning of its type; empty where the file does not say it.
    algorithm : {"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"}, optional
        Who drew it.
    """

    number: int
    label: str
    code: tuple[str, str, str]
    algorithm: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredSegmentation:
    """A segmentation as masks.

    Parameters
    ----------
    masks : Volume
        Labels 0 and 1, shape (k, z, y, x), in the order of the segments.
    segments : tuple of Segment
    kind : {"BINARY", "LABELMAP"}
    """

    masks: Volume
    segments: tuple[Segment, ...]
    kind: Literal["BINARY", "LABELMAP"]

    def painted(self) -> Volume:
        """Return one volume of the numbers of the segments.

        Raises
        ------
        DataError
            If segments overlap: a voxel then has no single number.
        """
        array = self.masks.array
        if np.any(np.add.reduce(array, axis=0, dtype=np.uint16) > 1):
            raise DataError("segments that overlap", "segments without a common voxel", "use the masks one by one")
        numbers = np.array([s.number for s in self.segments])
        kind = np.uint8 if numbers.max(initial=0) < 256 else np.uint16
        painted = np.zeros(array.shape[1:], dtype=kind)
        for mask, number in zip(array, numbers, strict=True):
            painted[mask != 0] = number
        return self.masks.with_array(painted, labels=True)


def _word(dataset: Any, keyword: str, limit: int = 64) -> str:
    try:
        return _PRINTABLE.sub("", str(dataset.get(keyword) or ""))[:limit].strip()
    except Exception:
        # Whatever is wrong with an element that nothing is computed from, it is as good as absent.
        return ""


def _numbers(dataset: Any, keyword: str, n: int) -> NDArray[np.float64]:
    value = dataset.get(keyword)
    if value is None:
        raise VolumeRefused("NO_GEOMETRY", keyword)
    try:
        found = np.array(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise VolumeRefused("BAD_NUMBER", keyword) from None
    if len(found) != n or not np.isfinite(found).all() or np.abs(found).max() > 1e6:
        raise VolumeRefused("BAD_NUMBER", keyword)
    return found


def _group(keyword: str, *levels: Any) -> Any:
    """Return the first item of a functional group: of the frame, or of all."""
    for level in levels:
        if level is not None and level.get(keyword):
            return level[keyword].value[0]
    raise VolumeRefused("NO_GEOMETRY", keyword)


def _segments(dataset: Dataset, kind: str) -> tuple[Segment, ...]:
    found = []
    for item in dataset.get("SegmentSequence") or ():
        number = int(item.SegmentNumber)
        if kind == "LABELMAP" and number == int(dataset.get("PixelPaddingValue") or 0):
            continue
        kinds = item.get("SegmentedPropertyTypeCodeSequence")
        code = kinds[0] if kinds else {}
        who = _word(item, "SegmentAlgorithmType")
        found.append(
            Segment(
                number, _word(item, "SegmentLabel") or f"segment {number}",
                (_word(code, "CodeValue"), _word(code, "CodingSchemeDesignator"), _word(code, "CodeMeaning")),
                who if who in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") else None,
            )
        )  # fmt: skip
    if not found or len({s.number for s in found}) < len(found):
        raise VolumeRefused("NOT_A_VOLUME", "a segmentation that does not describe its segments")
    return tuple(sorted(found, key=lambda s: s.number))


def _opened(source: Any, max_bytes: int) -> Dataset:
    """Return the data set of a file whose lengths were checked, or refuse it."""
    try:
        if isinstance(source, bytes):
            data = source
        else:
            data = (source if isinstance(source, ImageFile) else ImageFile(Path(source))).read()
        if not data:
            raise VolumeRefused("EMPTY")
        if not is_dicom(data):
            raise VolumeRefused("NOT_A_VOLUME")
        # Lengths, depth and growth of the file are checked before a general reader sees it.
        parse_dicom(data)
    except ImageRefused as refused:
        raise refused_volume(refused) from None
    from pydicom import dcmread

    dataset = dcmread(BytesIO(data), force=True)
    if str(dataset.get("SOPClassUID")) not in CLASSES:
        raise VolumeRefused("NOT_A_VOLUME", "no segmentation")
    size = int(dataset.get("NumberOfFrames") or 1) * int(dataset.Rows) * int(dataset.Columns)
    if not 0 < size <= max_bytes:
        raise VolumeRefused("TOO_LARGE")
    return dataset


def _own_grid(
    places: NDArray[np.float64], affine: NDArray[np.float64], groups: list[Any], size: tuple[int, int]
) -> Grid:
    """Return the grid from the first to the last frame; `affine` (to the left, back and head) lacks its third axis."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.sqrt(normal @ normal)
    at = np.unique(np.round(places @ normal, 4))
    told = next(
        (float(_numbers(g, k, 1)[0]) for g in groups for k in ("SpacingBetweenSlices", "SliceThickness") if g.get(k)),
        0.0,
    )
    step = float(np.diff(at).min()) if len(at) > 1 else told
    span = float(at[-1] - at[0])
    # Frames without a voxel are left out, so that the smallest distance may be a multiple of the true one.
    if told > 0 and abs(span / told - round(span / told)) < _NEAR and round(step / told) >= 1:
        step = told
    if not step > 0:
        raise VolumeRefused("NO_GEOMETRY", "SpacingBetweenSlices")
    n = round(span / step) + 1
    first, last = places[np.argmin(places @ normal)], places[np.argmax(places @ normal)]
    affine = affine.copy()
    affine[:3, 2] = (last - first) / (n - 1) if n > 1 else step * normal
    affine[:3, 3] = first
    return Grid((n, *size), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _frames(dataset: Dataset) -> Iterator[tuple[Any, Any]]:
    """Yield the groups of each frame: its own and those of all."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(own) != int(dataset.get("NumberOfFrames") or 1):
        raise VolumeRefused("SIZE_LIES", "NumberOfFrames and the groups of frames")
    for frame in own:
        yield frame, shared


def _read(source: Any, like: Grid | None, max_bytes: int) -> StoredSegmentation:
    dataset = _opened(source, max_bytes)
    kind: Literal["BINARY", "LABELMAP"] = "LABELMAP" if str(dataset.SOPClassUID) == CLASSES[1] else "BINARY"
    if str(dataset.get("SegmentationType")) != kind:
        raise VolumeRefused("BAD_LABELS", "a segmentation of shares (FRACTIONAL) and not of outlines")
    segments = _segments(dataset, kind)
    frames = list(_frames(dataset))
    places = np.array([
        _numbers(_group("PlanePositionSequence", *g), "ImagePositionPatient", 3) for g in frames
    ])  # fmt: skip
    turns = np.array([
        _numbers(_group("PlaneOrientationSequence", *g), "ImageOrientationPatient", 6) for g in frames
    ])  # fmt: skip
    measures = [_group("PixelMeasuresSequence", *g) for g in frames]
    spacings = np.array([_numbers(m, "PixelSpacing", 2) for m in measures])
    if np.ptp(turns, axis=0).max() > 1e-3 or np.ptp(spacings, axis=0).max() > 1e-3 * spacings.min():
        raise VolumeRefused("MIXED", "frames of several orientations or spacings")
    turn = turns[0].reshape(2, 3)
    lengths = np.sqrt((turn**2).sum(axis=1))
    if np.abs(lengths - 1).max() > 0.01 or abs(float(turn[0] @ turn[1])) > 0.01 or spacings.min() <= 0:
        raise VolumeRefused("BAD_NUMBER", "ImageOrientationPatient or PixelSpacing")
    turn /= lengths[:, None]
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = turn[0] * spacings[0][1], turn[1] * spacings[0][0]
    natural = _own_grid(places, affine, measures[:1], (rows, columns))
    to_natural: Turn | None = None
    grid = natural
    if like is not None:
        # The grid may have the same voxels in another order, as in the NIfTI file that a series was made from.
        to_natural = Turn.to(like, natural.orientation)
        grid = to_natural.after
    if grid.shape[0] * rows * columns * len(segments) > max_bytes:
        raise VolumeRefused("TOO_LARGE")
    index = _index(places, grid, natural)
    pixels = dataset.pixel_array.reshape(len(frames), rows, columns)
    row_of = {s.number: k for k, s in enumerate(segments)}
    masks = np.zeros((len(segments), *grid.shape), dtype=np.uint8)
    for pixel, z, (own, shared) in zip(pixels, index, frames, strict=True):
        if kind == "BINARY":
            number = int(_group("SegmentIdentificationSequence", own, shared).ReferencedSegmentNumber)
            if number not in row_of:
                raise VolumeRefused("BAD_LABELS", "frames of a segment that is not described")
            masks[row_of[number], z] |= (pixel != 0).astype(np.uint8)
            continue
        for number in np.unique(pixel):
            if int(number) in row_of:
                masks[row_of[int(number)], z][pixel == number] = 1
            elif int(number) != int(dataset.get("PixelPaddingValue") or 0):
                raise VolumeRefused("BAD_LABELS", "voxels of a segment that is not described")
    if to_natural is not None and like is not None:
        masks, grid = to_natural.back(masks, "nearest", 0.0), like
    labels = tuple(s.label for s in segments)
    return StoredSegmentation(
        Volume(array=masks, affine=grid.affine, labels=True, channels=labels), segments, kind,
    )  # fmt: skip


def _index(places: NDArray[np.float64], grid: Grid, natural: Grid) -> list[int]:
    """Return the slice of the grid that each frame is; refuse frames that are none."""
    if grid.shape[1:] != natural.shape[1:]:
        raise VolumeRefused("GRIDS_DIFFER", "the frames have other rows or columns than the scan")
    apart = np.abs(grid.affine[:3, :2] - natural.affine[:3, :2]) * np.array([grid.shape[2], grid.shape[1]])
    homogeneous = np.column_stack([places * [-1.0, -1.0, 1.0], np.ones(len(places))])
    voxel = (np.linalg.inv(grid.affine) @ homogeneous.T).T[:, :3]
    z = np.rint(voxel[:, 2])
    beside, along = np.abs(voxel[:, :2]).max(), np.abs(voxel[:, 2] - z).max()
    turned = apart.max() > _ASIDE * min(grid.spacing)
    if turned or beside > _ASIDE or along > _ALONG or z.min() < 0 or z.max() >= grid.shape[0]:
        raise VolumeRefused("GRIDS_DIFFER", "the frames do not lie on slices of the scan")
    return [int(k) for k in z]


def is_segmentation(data: bytes) -> bool:
    """Say whether the bytes of a whole file are a DICOM segmentation; no pixel is looked at.

    Examples
    --------
    >>> is_segmentation(b"no DICOM at all")
    False
    """
    if not is_dicom(data):
        return False
    try:
        element = parse_dicom(data)[0].get(TAGS["SOPClassUID"])
    except ImageRefused:
        return False
    return element is not None and bytes(element.value).strip(b" \0").decode("ascii", "replace") in CLASSES


def read_segmentation(
    source: str | os.PathLike[str] | bytes | ImageFile,
    *,
    like: Volume | Grid | None = None,
    max_bytes: int = MAX_BYTES,
) -> StoredSegmentation:
    """Read a DICOM segmentation (SEG), as one bit a voxel and segment or as a label map.

    Parameters
    ----------
    source : path, bytes or ImageFile
    like : Volume or Grid, optional
        The scan, in any order of its voxels; masks come on its grid, whatever frames the file leaves out. When absent
        the grid reaches from the first to the last frame of the file.
    max_bytes : int
        Of the masks.

    Returns
    -------
    StoredSegmentation

    Raises
    ------
    VolumeRefused
        NOT_A_VOLUME when it is no segmentation; GRIDS_DIFFER when a frame lies beside the slices of the scan;
        BAD_LABELS for segments that are not described or are no outlines; or the code of damage.
    MissingExtraError
        If pydicom is not installed.

    Examples
    --------
    >>> read_segmentation(b"no DICOM at all")
    Traceback (most recent call last):
    aimed.core.volume.VolumeRefused: the file is no volume that can be read (NOT_A_VOLUME); ...
    """
    grid = like.grid if isinstance(like, Volume) else like
    with quietly():
        try:
            return _read(source, grid, max_bytes)
        except (VolumeRefused, MissingExtraError):
            raise
        # Whatever is wrong with the file, the message of the library may quote it.
        except Exception:
            raise VolumeRefused("TRUNCATED") from None
