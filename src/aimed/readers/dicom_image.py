"""The picture in a DICOM file: decoded by its transfer syntax, checked against its header, turned into grey levels."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import MissingExtraError
from aimed.core.image import Grey, ImageInfo, ImageRefused
from aimed.readers.dicom_elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Element, parse_dicom
from aimed.readers.dicom_header import Header, acquisition
from aimed.readers.grey_levels import Storage, storage, transfer
from aimed.readers.picture_file import check_size, decode_scaled_jpeg, grey_or_refuse, pillow

__all__ = ["codestream_shape", "read_dicom", "stored_frames"]

_PLAIN = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)
_RLE = "1.2.840.10008.1.2.5"
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_KNOWN = (*_PLAIN, _RLE, *_JPEG, *_LOSSLESS_JPEG, *_JPEG_LS, *_JPEG_2000, *_HTJ2K)
_WITH_LOSS = (*_JPEG, _JPEG_LS[1], _JPEG_2000[1], _HTJ2K[2])

_GREY = ("MONOCHROME1", "MONOCHROME2")
_MODALITIES = ("CR", "DX", "RG", "DR", "OT", None)
_CLASSES = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7")
"""Computed and digital radiographs, and secondary captures, with all that begins like them."""
_OTHER_CLASSES = (f"{_CLASSES[0]}.2", f"{_CLASSES[0]}.3")
"""Mammograms and dental films begin like them."""


@dataclass(frozen=True, slots=True)
class _Shape:
    rows: int
    columns: int
    samples: int


def _ours(name: str) -> bool:
    inside = any(name == c or name.startswith(f"{c}.") for c in _CLASSES)
    return inside and not any(name == c or name.startswith(f"{c}.") for c in _OTHER_CLASSES)


def _refuse_others(header: Header) -> None:
    """Refuse what is no single radiograph: slices, films, reports."""
    modality, kind = header.word("Modality"), header.word("SOPClassUID")
    if modality not in _MODALITIES:
        raise ImageRefused("NOT_RADIOGRAPH", "another modality")
    if kind is not None and not _ours(kind):
        raise ImageRefused("NOT_RADIOGRAPH", "another kind of DICOM object")
    if header.number("NumberOfFrames", 1.0, 0.0, 1e6) > 1:
        raise ImageRefused("NOT_RADIOGRAPH", "several frames")


def _shape(header: Header) -> _Shape:
    rows, columns = header.short("Rows"), header.short("Columns")
    if not rows or not columns:
        raise ImageRefused("SIZE_LIES", "Rows or Columns is absent or 0")
    check_size(rows, columns)
    return _Shape(rows, columns, header.short("SamplesPerPixel", 1) or 0)


# ------------------------------------------------------------------------------------------------------------- decoding


def _codecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        return None
    return imagecodecs


def codestream_shape(data: bytes) -> tuple[int, int, int, int] | None:
    """Return rows, columns, samples and bits a sample of a JPEG, JPEG-LS or JPEG 2000 stream, before decoding it.

    Examples
    --------
    >>> codestream_shape(bytes.fromhex("ffd8 ffc0 000b 08 0010 0020 01 011100"))
    (16, 32, 1, 8)
    """
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) >= 43:
        x1, y1, x0, y0 = struct.unpack_from(">4I", data, 8)
        return y1 - y0, x1 - x0, struct.unpack_from(">H", data, 40)[0], (data[42] & 0x7F) + 1
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        mark = data[at + 1]
        if mark == 0xFF:
            at += 1
        elif mark == 0xF7 or (0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack_from(">2H", data, at + 5)
            return rows, columns, data[at + 9], data[at + 4]
        elif mark in (0xD8, 0x01) or 0xD0 <= mark <= 0xD7:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _fragments(content: memoryview) -> list[memoryview]:
    """Return the offset table and the fragments of compressed frames."""
    parts, at = [], 0
    while at + 8 <= len(content):
        tag, length = struct.unpack_from("<2I", content, at)
        if tag == 0xE0DDFFFE:
            break
        if tag != 0xE000FFFE or at + 8 + length > len(content):
            raise ImageRefused("TRUNCATED")
        parts.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    if len(parts) < 2:
        raise ImageRefused("TRUNCATED", "no compressed frame")
    return parts


def _stream(content: memoryview) -> bytes:
    """Join the fragments of the one frame, without the offset table before them."""
    return b"".join(_fragments(content)[1:])


def _streams(content: memoryview, frames: int) -> list[bytes]:
    """Return the compressed frames."""
    table, *parts = _fragments(content)
    if frames == 1:
        return [b"".join(parts)]
    if len(parts) == frames:
        return [bytes(part) for part in parts]
    begins = [0, *itertools.accumulate(8 + len(part) for part in parts)]
    offsets = struct.unpack(f"<{len(table) // 4}I", table) if len(table) == 4 * frames else ()
    if not offsets or not set(offsets) <= set(begins) or sorted(set(offsets)) != list(offsets):
        raise ImageRefused("SIZE_LIES", "the compressed frames cannot be told apart")
    at = [begins.index(offset) for offset in offsets] + [len(parts)]
    return [b"".join(parts[i:j]) for i, j in itertools.pairwise(at)]


def _plain(element: Element, planar: bool, shape: _Shape, store: Storage) -> NDArray[Any]:
    content, row = element.value, shape.columns * shape.samples * store.allocated // 8
    expected = row * shape.rows
    # One row of padding is more than any writer adds.
    if not expected <= len(content) < expected + max(row, 2):
        raise ImageRefused("SIZE_LIES", "the pixel data are too short or too long for Rows and Columns")
    pixels = np.frombuffer(content, np.dtype(f"{'<' if element.little else '>'}u{store.allocated // 8}"))
    if store.allocated == 8 and not element.little and element.kind == b"OW" and pixels.size % 2 == 0:
        # Bytes that travel in words change places.
        pixels = pixels.reshape(-1, 2)[:, ::-1].ravel()
    pixels = pixels[: expected * 8 // store.allocated].astype(f"u{store.allocated // 8}", copy=False)
    if shape.samples == 1:
        return pixels.reshape(shape.rows, shape.columns)
    if planar:
        return np.moveaxis(pixels.reshape(shape.samples, shape.rows, shape.columns), 0, -1)
    return pixels.reshape(shape.rows, shape.columns, shape.samples)


def _rle(stream: bytes, shape: _Shape, store: Storage) -> NDArray[Any]:
    pixels, depth = shape.rows * shape.columns, store.allocated // 8
    if len(stream) < 64 or struct.unpack_from("<I", stream)[0] != shape.samples * depth:
        raise ImageRefused("SIZE_LIES", "the number of RLE segments")
    codecs = _codecs()
    if codecs is None:
        raise MissingExtraError("imagecodecs", "this kind of compressed DICOM", "pip install 'aimed[imaging]'")
    try:
        raw = bytes(codecs.dicomrle_decode(stream, np.dtype(f"<u{depth}")))
    except Exception:
        raise ImageRefused("TRUNCATED") from None
    if len(raw) < pixels * shape.samples * depth:
        raise ImageRefused("SIZE_LIES")
    found = np.frombuffer(raw, f"<u{depth}")[: pixels * shape.samples]
    if shape.samples == 1:
        return found.reshape(shape.rows, shape.columns)
    return np.moveaxis(found.reshape(shape.samples, shape.rows, shape.columns), 0, -1)


def _with_pillow(stream: bytes, syntax: str, bits: int) -> NDArray[Any]:
    """Decode without imagecodecs where Pillow can."""
    if syntax in (*_LOSSLESS_JPEG, *_JPEG_LS, *_HTJ2K) or (syntax in _JPEG and bits > 8):
        raise MissingExtraError("imagecodecs", "this kind of compressed DICOM", "pip install 'aimed[imaging]'")
    with pillow().open(io.BytesIO(stream), formats=("JPEG", "JPEG2000")) as picture:
        found = np.asarray(picture)
    if syntax in _JPEG_2000 and found.dtype == np.uint16 and bits < 16:
        # Pillow stretches JPEG 2000 samples to 16 bits.
        found = found >> (16 - bits)
    return found


def _decoder(codecs: Any, syntax: str) -> Callable[[bytes], NDArray[Any]]:
    if syntax in _JPEG_LS:
        return lambda data: codecs.jpegls_decode(data)
    if syntax in (*_JPEG_2000, *_HTJ2K):
        return lambda data: codecs.jpeg2k_decode(data, numthreads=1)
    return lambda data: codecs.jpeg_decode(data)


def _compressed(stream: bytes, shape: _Shape, store: Storage, syntax: str) -> NDArray[Any]:
    found = codestream_shape(stream)
    if found is None:
        raise ImageRefused("TRUNCATED", "no compressed frame of the declared kind")
    rows, columns, samples, bits = found
    if (rows, columns, samples) != (shape.rows, shape.columns, shape.samples):
        raise ImageRefused("SIZE_LIES", "the compressed frame has another size than the header says")
    codecs = _codecs()
    decode = _decoder(codecs, syntax) if codecs else lambda data: _with_pillow(data, syntax, bits)
    try:
        pixels = np.asarray(decode(stream))
    except MissingExtraError:
        raise
    # Decoders raise anything on damaged streams.
    except Exception:
        raise ImageRefused("TRUNCATED") from None
    if pixels.shape[:2] != (rows, columns) or pixels.ndim != (2 if samples == 1 else 3) or pixels.dtype.itemsize > 2:
        raise ImageRefused("SIZE_LIES", "the decoded frame has another shape than the header says")
    full = 2**store.bits - 1
    if pixels.dtype.kind == "i" or store.signed:
        pixels = pixels.astype(np.int32).astype(np.uint16) & full
    elif bits > store.bits and int(pixels.max()) > full:
        # Loss may overshoot by a little; anything else contradicts BitsStored.
        if syntax not in _WITH_LOSS:
            raise ImageRefused("SIZE_LIES", "pixels need more bits than BitsStored")
        pixels = np.minimum(pixels, full)
    return pixels.astype(np.uint8 if store.bits <= 8 else np.uint16, copy=False)


# ---------------------------------------------------------------------------------------------------------- the picture


def _is_grey(pixels: NDArray[Any], photometric: str, coded: bool) -> Grey:
    """Return the one channel of a colour picture without colour, or refuse it."""
    if photometric.startswith("YBR_FULL") and not coded:
        if int(np.abs(pixels[..., 1:].astype(np.int16) - 128).max()) > 2:
            raise ImageRefused("NOT_RADIOGRAPH", "it has colours")
        grey: Grey = np.ascontiguousarray(pixels[..., 0])
        return grey
    return grey_or_refuse(pixels)


def read_dicom(
    data: bytes, digest: str, bits: int | None = None, shrink: int = 0, approximate: bool = False
) -> tuple[Grey, int, ImageInfo]:
    """Decode the one radiograph in a DICOM file.

    Parameters
    ----------
    data : bytes
        The whole file.
    digest : str
        SHA-256 of it, put into the result.
    bits : {8, 16}, optional
        Depth of the grey levels; 8 for at most 8 stored bits and else 16 when absent.
    shrink : int
        Longest side that is wanted; a JPEG frame may then be decoded at a fraction of its size that is no smaller.
        0 for full size.
    approximate : bool
        Whether JPEG 2000 may be decoded at a fraction of its size of at least twice `shrink`.

    Returns
    -------
    (array, int, ImageInfo)
        Grey levels, larger is brighter; their bits; and what the file says.

    Raises
    ------
    ImageRefused
        With the code of the reason.
    MissingExtraError
        If imagecodecs is not installed and the syntax needs it.
    """
    elements, syntax = parse_dicom(data)
    header = Header(elements)
    _refuse_others(header)
    found = header.element("PixelData")
    if found is None:
        raise ImageRefused("NO_PIXELS")
    shape, store = _shape(header), storage(header)
    photometric = header.word("PhotometricInterpretation") or "MONOCHROME2"
    grey = photometric in _GREY
    if photometric not in (*_GREY, "RGB") and not photometric.startswith("YBR_"):
        raise ImageRefused("NOT_RADIOGRAPH", "another photometric interpretation")
    if shape.samples != (1 if grey else 3) or (not grey and (store.bits, store.allocated) != (8, 8)):
        raise ImageRefused("SIZE_LIES", "SamplesPerPixel does not fit PhotometricInterpretation")
    if photometric.endswith("_422") and syntax in _PLAIN:
        raise ImageRefused("NOT_RADIOGRAPH", "colour with halved channels")
    _check_syntax(found, syntax)
    bits = bits or (8 if store.bits <= 8 else 16)
    inverted = photometric == "MONOCHROME1" or header.word("PresentationLUTShape") == "INVERSE"

    smaller = None
    if syntax in _PLAIN:
        pixels = _plain(found, header.short("PlanarConfiguration", 0) == 1, shape, store)
        raw = True
    else:
        stream = _stream(found.value)
        raw = syntax == _RLE
        if shrink and grey and syntax in _JPEG and store.bits == 8:
            smaller = _scaled_jpeg(stream, shape, shrink)
        if shrink and grey and approximate and syntax in _JPEG_2000:
            smaller = _scaled_jpeg2000(stream, shape, store, shrink)
        pixels = smaller if smaller is not None else (_rle if raw else _compressed_as(syntax))(stream, shape, store)
    if not grey:
        pixels = _is_grey(pixels, photometric, coded=not raw)
    # Codecs give numbers without the shift; only raw words have it.
    patterns = store.patterns(pixels) if raw else pixels
    levels = transfer(header, store, patterns, inverted, bits)
    if smaller is not None and syntax in _JPEG and not levels.straight:
        # A window or padding does not commute with averaging.
        patterns = _compressed(stream, shape, store, syntax)
        levels = transfer(header, store, patterns, inverted, bits)
    facts = acquisition(header)
    facts["lossy"] = True if syntax in _JPEG else facts["lossy"]
    info = ImageInfo(
        digest=digest, format="dicom", rows=shape.rows, columns=shape.columns, bits_stored=store.bits,
        scaling=levels.scaling, photometric=photometric, **facts,
    )  # fmt: skip
    return np.take(levels.table, patterns), bits, info


def _check_syntax(found: Element, syntax: str) -> None:
    if syntax not in _KNOWN:
        raise ImageRefused("UNKNOWN_SYNTAX")
    if found.encapsulated != (syntax not in _PLAIN):
        raise ImageRefused("SIZE_LIES", "the pixel data are not what the transfer syntax says")


def stored_frames(header: Header, syntax: str, frames: int = 1) -> tuple[Iterator[Grey], Storage]:
    """Return the bit patterns of grey frames as stored, before rescaling, windows and inversion.

    Parameters
    ----------
    header : Header
    syntax : str
        See `aimed.readers.dicom_elements.parse_dicom`.
    frames : int
        How many the file must hold.

    Returns
    -------
    (iterator of arrays of shape (y, x), Storage)
        Frames in their order in the file, decoded one by one; and what the patterns mean.

    Raises
    ------
    ImageRefused
        With the code of the reason, at once or at a frame.
    MissingExtraError
        If imagecodecs is not installed and the syntax needs it.
    """
    found = header.element("PixelData")
    if found is None:
        raise ImageRefused("NO_PIXELS")
    shape, store = _shape(header), storage(header)
    if shape.samples != 1 or (header.word("PhotometricInterpretation") or _GREY[1]) not in _GREY:
        raise ImageRefused("NOT_RADIOGRAPH", "it has colours")
    _check_syntax(found, syntax)
    if syntax not in _PLAIN:
        decode = _rle if syntax == _RLE else _compressed_as(syntax)
        streams = _streams(found.value, frames)
        coded = (decode(stream, shape, store) for stream in streams)
        return (_fitting(header, frame, store) for frame in coded) if syntax == _RLE else coded, store
    row, size = shape.columns * store.allocated // 8, shape.rows * shape.columns * store.allocated // 8
    if not size * frames <= len(found.value) < size * frames + max(row, 2):
        raise ImageRefused("SIZE_LIES", "the pixel data are too short or too long for Rows, Columns and frames")
    parts = (replace(found, value=found.value[k * size : (k + 1) * size]) for k in range(frames))
    return (_fitting(header, _plain(part, False, shape, store), store) for part in parts), store


def _fitting(header: Header, stored: Grey, store: Storage) -> Grey:
    """Return the bit patterns of raw numbers, or refuse numbers that BitsStored would cut off."""
    if store.bits + store.shift < store.allocated and int(stored.max()) >> (store.bits + store.shift):
        # The sign may reach into the bits that are not used, and old scanners drew overlays there.
        half = 2 ** (store.bits + store.shift - 1)
        numbers = stored.view(f"i{store.allocated // 8}")
        with_sign = store.signed and -half <= int(numbers.min()) and int(numbers.max()) < half
        if not with_sign and (header.short("OverlayBitPosition") or 0) < store.bits + store.shift:
            raise ImageRefused("SIZE_LIES", "pixels need more bits than BitsStored")
    return store.patterns(stored)


def _compressed_as(syntax: str) -> Callable[[bytes, _Shape, Storage], NDArray[Any]]:
    return lambda stream, shape, store: _compressed(stream, shape, store, syntax)


def _scaled_jpeg(stream: bytes, shape: _Shape, shrink: int) -> Grey | None:
    """Return a JPEG frame at a fraction of its size, or None when only the whole will do."""
    if codestream_shape(stream) != (shape.rows, shape.columns, 1, 8):
        return None
    return decode_scaled_jpeg(stream, shrink)


def _scaled_jpeg2000(stream: bytes, shape: _Shape, store: Storage, shrink: int) -> Grey | None:
    """Return a JPEG 2000 frame at the resolution of its wavelets next above twice the wanted size."""
    levels = 0
    while max(shape.rows, shape.columns) >> (levels + 1) >= 2 * shrink:
        levels += 1
    found = codestream_shape(stream)
    if not levels or store.signed or found != (shape.rows, shape.columns, 1, store.bits):
        return None
    try:
        with pillow().open(io.BytesIO(stream), formats=("JPEG2000",)) as picture:
            picture.reduce = levels
            picture.load()
            pixels = np.asarray(picture)
    except Exception:
        return None
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        return None
    found_pixels: Grey = pixels >> (16 - store.bits) if pixels.dtype == np.uint16 else pixels
    return found_pixels
