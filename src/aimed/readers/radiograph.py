"""One radiograph from one file, whatever its format: larger is brighter, or refused with a code."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Literal, TypeAlias

from aimed.core.image import ImageRefused, Placement, Radiograph
from aimed.readers.dicom_elements import is_dicom
from aimed.readers.dicom_image import read_dicom
from aimed.readers.image_files import ImageFile
from aimed.readers.picture_file import read_picture, shrunk

__all__ = ["Source", "read_radiograph"]

Source: TypeAlias = str | os.PathLike[str] | bytes | ImageFile


def read_radiograph(
    source: Source, size: int | None = None, *, bits: Literal[8, 16] | None = None, approximate: bool = False
) -> Radiograph:
    """Read a chest radiograph: DICOM, PNG, JPEG or TIFF, told apart by content.

    Parameters
    ----------
    source : path, bytes or ImageFile
    size : int, optional
        Longest side of the result, aspect kept; the file is then decoded only as finely as that needs.
    bits : {8, 16}, optional
        Depth of the grey levels. When absent, 8 for files of at most 8 bits and otherwise 16 for DICOM and as stored
        for the rest, so that nothing is lost.
    approximate : bool
        Whether JPEG 2000 may be decoded at a lower resolution of its wavelets, at least twice `size`: ten times
        faster, and up to 0.3 % of the range away from the exact result on average.

    Returns
    -------
    Radiograph
        MONOCHROME1 inverted, rescaling, table or window applied: as a viewer shows it.

    Raises
    ------
    ImageRefused
        The ``code`` says why; no message holds a value, a path or an identifier.
    MissingExtraError
        If a package of the imaging extra is missing.

    Notes
    -----
    Without a window a DICOM file of more than 8 bits spans black to white from its darkest to its lightest pixel, see
    `aimed.readers.grey_levels.transfer`; ``info.scaling`` says what was done.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (300, 400), 90).save(file, "PNG")
    >>> picture = read_radiograph(file.getvalue(), size=100)
    >>> picture.pixels.shape, int(picture.pixels[50, 30]), picture.info.rows
    ((100, 75), 90, 400)
    """
    data = source if isinstance(source, bytes) else (_file(source)).read()
    if not data:
        raise ImageRefused("EMPTY")
    digest = hashlib.sha256(data).hexdigest()
    try:
        if is_dicom(data):
            pixels, depth, info = read_dicom(data, digest, bits, size or 0, approximate)
        else:
            pixels, depth, info = read_picture(data, digest, size or 0)
    # Lengths and offsets in a damaged file point anywhere.
    except (struct.error, ValueError, IndexError, OverflowError):
        raise ImageRefused("TRUNCATED") from None
    if bits is not None and depth != bits:
        picture = Radiograph(pixels, depth, info)
        pixels, depth = picture.to_uint8() if bits == 8 else picture.to_uint16(), bits
    if size is not None:
        pixels = shrunk(pixels, Placement.fit(info.rows, info.columns, size))
    return Radiograph(pixels, depth, info)


def _file(source: str | os.PathLike[str] | ImageFile) -> ImageFile:
    return source if isinstance(source, ImageFile) else ImageFile(Path(source))
