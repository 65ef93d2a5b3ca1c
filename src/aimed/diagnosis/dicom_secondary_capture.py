"""A heat map burned over its picture as a DICOM secondary capture in the patient's study, with its caption under it."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.core.image import Radiograph
from aimed.diagnosis.dicom_report_parts import SERIES_NUMBER, equipment
from aimed.diagnosis.dicom_source import Source, derived_uid, dicom_source, file_bytes, stamp
from aimed.diagnosis.dicom_statement import RESEARCH, FindingResult, ModelIdentity
from aimed.readers.dicom_library import highdicom, quietly
from aimed.readers.picture_file import pillow
from aimed.readers.radiograph import read_radiograph

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["heat_map_capture"]

_MAP = "viridis"
"""Perceptually uniform, and told apart without red and green."""

_NARROWEST, _SHORTEST = 480, 512
"""Pixels: the caption can be read on a canvas this wide, and a smaller picture is enlarged to this longest side."""

_INK, _GROUND = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Heat:
    """A map at the size of the capture: values, or the whole picture in colours."""

    values: NDArray[np.float32] | None
    colours: NDArray[np.uint8] | None
    peak: float


def _resized(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    if array.shape[:2] == shape:
        return array
    image = pillow()
    smaller = shape[0] <= array.shape[0]
    how = image.Resampling.BOX if smaller else image.Resampling.BILINEAR
    return np.asarray(image.fromarray(np.ascontiguousarray(array)).resize(shape[::-1], how))


def _heat(given: ArrayLike, shape: tuple[int, int], wanted: tuple[int, int], top: float | None) -> _Heat:
    array = np.asarray(given)
    if array.shape == (*shape, 3) and array.dtype == np.uint8:
        return _Heat(None, _resized(array, wanted), 0.0)
    if array.shape != shape:
        raise DataError(
            f"a heat map of shape {array.shape} for a picture of {shape[0]} x {shape[1]}",
            "the same pixels as the picture, or these with three colours (uint8)",
            "put it there with Placement.to_source_map",
        )
    values = np.asarray(array, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError("a heat map with values that are not finite", "numbers")
    if top is not None and not (np.isfinite(top) and top > 0):
        raise DataError("a top of the colours that is not above 0", "the value of the hottest colour")
    return _Heat(_resized(values, wanted), None, float(values.max()) if top is None else float(top))


def _burned(grey: NDArray[np.uint8], heat: _Heat, opacity: float) -> NDArray[np.uint8]:
    """Return the picture under its map; what the map does not mark stays as it is."""
    if heat.colours is not None:
        return heat.colours
    from matplotlib import colormaps

    picture = np.repeat(grey[..., None], 3, axis=2)
    if heat.values is None or heat.peak <= 0:
        return picture
    share = np.clip(heat.values / np.float32(heat.peak), 0, 1)
    colours = (255 * colormaps[_MAP](np.arange(256))[:, :3]).astype(np.float32)
    weight = np.float32(opacity) * share[..., None]
    mixed = (1 - weight) * picture + weight * colours[np.rint(255 * share).astype(np.uint8)]
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _font(size: int) -> Any:
    import matplotlib
    from PIL import ImageFont

    # It comes with a package that is always there, and has Greek, Cyrillic and accents.
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _lines(text: str, font: Any, width: float) -> list[str]:
    """Break a text into lines that fit."""
    lines, line = [], ""
    for word in text.split():
        while font.getlength(word) > width:
            cut = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines += [part for part in (line, word[:cut]) if part]
            line, word = "", word[cut:]
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines


def _captioned(picture: NDArray[np.uint8], texts: list[str], peak: float) -> NDArray[np.uint8]:
    """Return the picture with texts and a colour bar on a band under it, so that no pixel of it is covered."""
    from matplotlib import colormaps
    from PIL import ImageDraw

    image = pillow()
    rows, columns = picture.shape[:2]
    width = max(columns, _NARROWEST)
    size = max(14, width // 56)
    font, edge, step = _font(size), size // 2, round(1.35 * size)
    lines = [line for text in texts for line in _lines(text, font, width - 2 * edge)]
    band = 2 * edge + step * (len(lines) + (peak > 0))
    canvas = image.new("RGB", (width, rows + band), _GROUND)
    canvas.paste(image.fromarray(picture), ((width - columns) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    at = rows + edge
    for line in lines:
        draw.text((edge, at), line, fill=_INK, font=font)
        at += step
    if peak > 0:
        bar = np.rint(255 * colormaps[_MAP](np.linspace(0, 1, width // 3))[:, :3]).astype(np.uint8)
        draw.text((edge, at), "0", fill=_INK, font=font)
        left = edge + round(font.getlength("0 ")) + 2
        canvas.paste(image.fromarray(np.repeat(bar[None], size, axis=0)), (left, at + 2))
        draw.text((left + bar.shape[0] + edge, at), f"{peak:.3g}", fill=_INK, font=font)
    return np.asarray(canvas)


def _texts(finding: FindingResult, model: ModelIdentity, heat: _Heat, opacity: float) -> list[str]:
    said = f"{finding.label}: probability {finding.probability:.3g}"
    if finding.threshold is not None:
        said += f", {'at or above' if finding.called else 'below'} the threshold {finding.threshold:.3g}"
    if heat.colours is not None:
        drawn = "Heat map as it was given"
    elif heat.peak > 0:
        drawn = f"Heat map, opacity 0 to {100 * opacity:.0f} %, colours from 0 to {heat.peak:.3g}"
    else:
        drawn = "The heat map marks nothing"
    return [RESEARCH, said, drawn, model.line]


def _reference(dataset: Dataset, sop_class: str, sop_instance: str, series: str) -> None:
    """Say in a capture from which picture it was made."""
    from pydicom.dataset import Dataset as Item

    purpose, picture, listed, group = Item(), Item(), Item(), Item()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    for item in (picture, listed):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    picture.PurposeOfReferenceCodeSequence = [purpose]
    dataset.SourceImageSequence = [picture]
    group.SeriesInstanceUID, group.ReferencedInstanceSequence = series, [listed]
    dataset.ReferencedSeriesSequence = [group]


def heat_map_capture(
    source: Source,
    heat: ArrayLike,
    finding: FindingResult,
    model: ModelIdentity,
    *,
    opacity: float = 0.5,
    top: float | None = None,
    longest: int = 1024,
    number: int = 1,
    picture: Radiograph | None = None,
    created: datetime.datetime | None = None,
) -> Dataset:
    """Write the heat map of one finding over its picture as a secondary capture in the study of the picture.

    Parameters
    ----------
    source : path, bytes, ImageFile or pydicom Dataset
        The DICOM file that was predicted.
    heat : float array, shape (y, x), or uint8 array, shape (y, x, 3)
        On the pixels of the source. Values are drawn with an opacity that rises from 0 with the value, so that side
        markers stay; what is below 0 is not drawn. Three colours are taken as the finished picture.
    finding : FindingResult
    model : ModelIdentity
    opacity : float
        Of the hottest place, in (0, 1].
    top : float, optional
        Value of the hottest colour; the map's own peak when absent.
    longest : int
        Longest side of the picture in the capture, 512 or more; the source keeps its own size.
    number : int
        InstanceNumber in the series of captures.
    picture : Radiograph, optional
        The source as it was read already, at any size.
    created : datetime, optional
        Now when absent. The same map at the same time is the same capture, with the same UIDs.

    Returns
    -------
    pydicom Dataset
        Secondary Capture, RGB, 8 bits. The caption on a band under the picture says "Research use only. Not a medical
        device.", the finding, its probability, the opacity and the model. BurnedInAnnotation is YES. Pixel spacing is
        left out: nothing should be measured on it.

    Raises
    ------
    DataError
        If the source is no DICOM file, or the map lies on other pixels or holds no numbers.
    ImageRefused
        If the source is damaged, hostile or no radiograph.
    MissingExtraError
        If a package of the imaging extra is missing.

    References
    ----------
    DICOM PS3.3, A.8.1 "Secondary Capture Image IOD".
    """
    if not 0 < opacity <= 1:
        raise DataError("an opacity outside (0, 1]", "such as 0.5")
    if longest < _SHORTEST or number < 1:
        raise DataError(f"a longest side of {longest} and number {number}", f"{_SHORTEST} or more, and 1 or more")
    hd, place = highdicom(), dicom_source(source)
    created = created or datetime.datetime.now()
    if picture is None:
        picture = read_radiograph(file_bytes(source), min(longest, max(np.shape(heat)[:2], default=longest)))
    shape = (picture.info.rows, picture.info.columns)
    scale = max(min(longest, max(shape)), _SHORTEST) / max(shape)
    wanted = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    laid = _heat(heat, shape, wanted, top)
    pixels = _captioned(
        _burned(_resized(picture.to_uint8(), wanted), laid, opacity), _texts(finding, model, laid, opacity), laid.peak
    )
    drawn = hashlib.sha256(pixels.tobytes() + repr((finding, model, created.isoformat())).encode()).hexdigest()
    with quietly():
        capture: Dataset = hd.sc.SCImage(
            pixel_array=np.ascontiguousarray(pixels),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=place.orientation or ("L", "F"),
            study_instance_uid=place.study,
            series_instance_uid=derived_uid("map series", place.study, place.sop_instance, model.digest, model.version),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=derived_uid("map", place.sop_instance, drawn),
            instance_number=number,
            series_description=f"{RESEARCH} Heat maps",
            **equipment(model),
        )
        if not place.orientation:
            capture.PatientOrientation = None
        for keyword, value in place.image.items():
            setattr(capture, keyword, value)
        if picture.info.lossy:
            # Once lost is lost, whatever the syntax of the capture.
            capture.LossyImageCompression = "01"
        stamp(capture, place, created)
        capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.ContentDate, capture.ContentTime
        capture.ConversionType = "WSD"
        capture.BurnedInAnnotation = "YES"
        capture.DerivationDescription = (
            f"Heat map of {finding.label} burned over the source picture with a caption. {model.line}. {RESEARCH}"
        )
        capture.ImageComments = RESEARCH
        _reference(capture, place.sop_class, place.sop_instance, place.series)
    return capture
