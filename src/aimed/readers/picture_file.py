"""PNG, JPEG and TIFF radiographs through Pillow: 16 bits kept, colour refused, large ones shrunk while decoding."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import MissingExtraError
from aimed.core.image import Grey, ImageInfo, ImageRefused, Placement
from aimed.readers.grey_levels import bits_in_use

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "check_size",
    "decode_scaled_jpeg",
    "grey_or_refuse",
    "pillow",
    "read_picture",
    "shrunk",
]

MAX_SIDE, MAX_PIXELS = 16_384, 2**26
"""The largest picture that is decoded; flat-panel detectors have about 4,000 x 5,000 pixels."""

COLOUR = 4
"""Channels that differ by more grey levels of 255 are colour; JPEG alone makes differences of 1 or 2."""

_FORMATS = {"PNG": "png", "JPEG": "jpeg", "TIFF": "tiff"}


def pillow() -> Any:
    """Return Pillow's module of images, or raise with the line to type."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "reading pictures", "pip install 'aimed[imaging]'") from None
    return Image


def check_size(rows: int, columns: int) -> None:
    """Refuse a picture that is too large to be a radiograph, before memory is taken for it.

    Examples
    --------
    >>> check_size(3056, 2544)
    >>> check_size(30_000, 30_000)
    Traceback (most recent call last):
    aimed.core.image.ImageRefused: the picture or the file is too large (TOO_LARGE); ...
    """
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_PIXELS:
        raise ImageRefused("TOO_LARGE")


def grey_or_refuse(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the one channel of a picture whose channels are equal, or refuse its colours.

    Parameters
    ----------
    pixels : uint8 array, shape (y, x, 3)

    Examples
    --------
    >>> grey_or_refuse(np.full((1, 2, 3), 7, dtype=np.uint8))
    array([[7, 7]], dtype=uint8)
    """
    first, second, third = (pixels[..., k].astype(np.int16) for k in range(3))
    if max(int(np.abs(first - second).max()), int(np.abs(second - third).max())) > COLOUR:
        raise ImageRefused("NOT_RADIOGRAPH", "it has colours")
    # Green weighs most in luminance, and JPEG keeps it best.
    return np.ascontiguousarray(pixels[..., 1])


def shrunk(pixels: Grey, place: Placement) -> Grey:
    """Return a picture at the size of its placement, without aliasing.

    Parameters
    ----------
    pixels : uint8 or uint16 array, shape (y, x)
        The whole picture, or the picture as a decoder has halved it one or several times.
    place : Placement
        Larger than the picture is allowed: it is then interpolated.

    Returns
    -------
    array of the same type, shape (place.height, place.width)
        Within one grey level of 255, on average, of exact area averages.

    Examples
    --------
    >>> shrunk(np.full((4, 8), 200, dtype=np.uint8), Placement.fit(4, 8, 2))
    array([[200, 200]], dtype=uint8)
    """
    if pixels.shape == (place.height, place.width):
        return pixels
    image = pillow()
    picture, wanted = image.fromarray(np.ascontiguousarray(pixels)), (place.width, place.height)
    if max(place.rows, place.columns) < place.size:
        return np.asarray(picture.resize(wanted, image.Resampling.BILINEAR))
    # A halved picture ends in a part of a pixel, which does not belong to it.
    halved = max(1, round(max(place.rows, place.columns) / max(pixels.shape)))
    box = (0, 0, min(pixels.shape[1], place.columns / halved), min(pixels.shape[0], place.rows / halved))
    # Hamming is nearest to area averages; whole-number reduction first is what makes it fast, where Pillow has it.
    gap = 2.0 if pixels.dtype == np.uint8 else None
    return np.asarray(picture.resize(wanted, image.Resampling.HAMMING, box, gap))


def decode_scaled_jpeg(data: bytes, size: int) -> NDArray[np.uint8] | None:
    """Decode a grey 8-bit JPEG at the fraction (1/2, 1/4, 1/8) of its size next above `size`.

    Returns
    -------
    uint8 array or None
        None when the stream is none.

    Raises
    ------
    ImageRefused
        TRUNCATED.
    """
    image = pillow()
    try:
        with image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            if picture.mode != "L":
                return None
            picture.draft("L", _draft(picture.size, size))
            return np.asarray(picture)
    # Decoders raise anything on damaged streams, and messages may quote them.
    except Exception:
        raise ImageRefused("TRUNCATED") from None


def _draft(shape: tuple[int, int], size: int) -> tuple[int, int]:
    longest = max(shape)
    return max(1, shape[0] * size // longest), max(1, shape[1] * size // longest)


def _png_size(data: bytes) -> tuple[int, int]:
    columns, rows = struct.unpack_from(">2I", data, 16) if len(data) >= 24 else (0, 0)
    return rows, columns


def _significant_bits(data: bytes, pixels: NDArray[np.uint16]) -> int:
    """Return the bits of 16-bit pixels that are in use: as the file says, or the fewest usual that hold them."""
    at = data.find(b"sBIT", 0, 4096) if data[:4] == b"\x89PNG" else -1
    said = data[at + 4] if 0 <= at < len(data) - 4 else 0
    top = int(pixels.max(initial=0))
    if 8 < said <= 16 and top < 2**said:
        return said
    return bits_in_use(top)


def _white_is_zero(picture: Image) -> bool:
    # Pillow turns 8-bit TIFFs of this kind itself, and leaves those of 16 bits.
    return picture.format == "TIFF" and getattr(picture, "tag_v2", {}).get(262) == 0 and picture.mode.startswith("I;16")


def _pixels(picture: Image, exact: bool) -> Grey:
    mode = picture.mode
    if mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        if picture.getchannel(picture.getbands()[-1]).getextrema()[0] != 255:
            raise ImageRefused("NOT_RADIOGRAPH", "parts of it are transparent")
        picture = picture.convert("L" if mode == "LA" else "RGB")
    elif mode == "P":
        if "transparency" in picture.info:
            raise ImageRefused("NOT_RADIOGRAPH", "parts of it are transparent")
        picture = picture.convert("RGB")
    if picture.mode == "L":
        return np.asarray(picture)
    if picture.mode == "RGB":
        return grey_or_refuse(np.asarray(picture))
    if picture.mode.startswith("I;16"):
        wide = np.asarray(picture)
        found: Grey = wide.astype(np.uint16, copy=False)
        # Of the bits in use: 12 bits mirrored in 16 would all be nearly white.
        return 2 ** bits_in_use(int(found.max(initial=0))) - 1 - found if _white_is_zero(picture) else found
    if picture.mode == "I" and exact:
        wide = np.asarray(picture)
        if int(wide.min()) >= 0 and int(wide.max()) <= 65_535:
            return wide.astype(np.uint16)
    raise ImageRefused("NOT_RADIOGRAPH", "its pixels are not grey levels of 8 to 16 bits")


def read_picture(data: bytes, digest: str, shrink: int = 0) -> tuple[Grey, int, ImageInfo]:
    """Decode a PNG, JPEG or TIFF.

    Parameters
    ----------
    data : bytes
        The whole file.
    digest : str
        SHA-256 of it, put into the result.
    shrink : int
        Longest side that is wanted: a JPEG may be decoded at a fraction of its size that is no smaller; 0 for all.

    Returns
    -------
    (array, int, ImageInfo)
        Grey levels; their bits; what is known of the file.

    Raises
    ------
    ImageRefused
        With the code of the reason.
    MissingExtraError
        If Pillow is not installed.
    """
    image = pillow()
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        check_size(*_png_size(data))
    try:
        picture = image.open(io.BytesIO(data), formats=tuple(_FORMATS))
    except image.DecompressionBombError:
        raise ImageRefused("TOO_LARGE") from None
    except Exception:
        raise ImageRefused("NOT_AN_IMAGE" if not _looks_like(data) else "TRUNCATED") from None
    with picture:
        columns, rows = picture.size
        check_size(rows, columns)
        if getattr(picture, "n_frames", 1) > 1:
            raise ImageRefused("NOT_RADIOGRAPH", "several frames")
        kind = _FORMATS[picture.format or ""]
        try:
            if kind == "jpeg" and shrink:
                picture.draft(None, _draft(picture.size, shrink))
            picture.load()
            turned = picture.getexif().get(0x0112, 1) if kind != "png" else 1
        except Exception:
            raise ImageRefused("TRUNCATED") from None
        pixels = _pixels(picture, exact=kind != "jpeg")
    if turned in range(2, 9):
        pixels = _upright(pixels, turned)
        rows, columns = (columns, rows) if turned >= 5 else (rows, columns)
    bits = 8 if pixels.dtype == np.uint8 else _significant_bits(data, pixels)
    info = ImageInfo(
        digest=digest, format=kind, rows=rows, columns=columns, bits_stored=bits,
        scaling="as_stored", lossy=True if kind == "jpeg" else None,
    )  # fmt: skip
    return pixels, bits, info


def _upright(pixels: Grey, turned: int) -> Grey:
    """Return pixels as a viewer shows them that follows the orientation of EXIF (2 to 8)."""
    if turned >= 5:
        pixels = pixels.T
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _looks_like(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))
