"""The radiograph: grey levels as seen on a screen, what is known of the picture, its frame, and why one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, RefusedError

__all__ = ["REFUSALS", "Grey", "ImageInfo", "ImageRefused", "Placement", "Radiograph", "View"]

View: TypeAlias = Literal["PA", "AP", "LATERAL"]

Grey: TypeAlias = NDArray[Any]
"""Grey levels: uint8 or uint16, larger is brighter on the screen."""

REFUSALS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "EMPTY": ("the file has 0 bytes", "a picture", "copy it again"),
        "TRUNCATED": ("the file is cut off or damaged", "a whole file", "copy or export it again"),
        "NO_PIXELS": ("the file holds no picture", "pixel data", "leave out reports, directories and display states"),
        "SIZE_LIES": ("the header does not fit the pixels", "as many pixels as the header says", "export it again"),
        "NOT_AN_IMAGE": ("the file is no picture that can be read", "DICOM, PNG, JPEG or TIFF", "check the list"),
        "POLYGLOT": (
            "the preamble of the DICOM file holds a program or a page",
            "zeros or a TIFF mark",
            "do not open it; ask where it came from",
        ),
        "TOO_LARGE": (
            "the picture or the file is too large",
            "at most 16,384 pixels a side and 2^26 in all",
            "reduce it",
        ),
        "ZIP_BOMB": ("the compressed data grow too much", "at most 200 times their size", "ask where it came from"),
        "UNKNOWN_SYNTAX": ("the DICOM transfer syntax is unknown", "one that can be decoded", "export it uncompressed"),
        "NOT_RADIOGRAPH": ("the picture is no plain radiograph", "one grey frame of CR or DX", "check the list"),
        "BAD_NUMBER": ("a number in the header is not usable", "finite numbers in their range", "export it again"),
        "MISSING": ("the file is not there or may not be read", "a file that can be read", "check the path"),
        "OUTSIDE": ("the path leaves the folder of the data", "a path inside it", "move the file or name its folder"),
    }
)
"""Why a file is refused: what was found, what was expected and what to do."""


class ImageRefused(RefusedError):  # noqa: N818, a refusal of one file: the work on the others goes on
    """One file is not used, for a reason that has a code.

    Parameters
    ----------
    code : str
        A key of `REFUSALS`.
    detail : str
        More of what was found: names of header fields or counts, never a value, a path or an identifier.

    Attributes
    ----------
    code : str
    reasons : mapping of str to (str, str, str)
        What the codes mean; other kinds of pictures bring more.

    Examples
    --------
    >>> print(ImageRefused("EMPTY"))
    the file has 0 bytes (EMPTY); expected a picture; copy it again
    """

    reasons: ClassVar[Mapping[str, tuple[str, str, str]]] = REFUSALS

    def __init__(self, code: str, detail: str = "") -> None:
        got, expected, do = self.reasons[code]
        super().__init__(f"{got}{f': {detail}' if detail else ''} ({code})", expected, do)
        self.code, self.detail = code, detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What is known of a picture beside its pixels; nothing in it names a patient, a person or a place.

    Parameters
    ----------
    digest : str
        SHA-256 of the bytes of the file.
    format : {"dicom", "png", "jpeg", "tiff"}
    rows, columns : int
        As stored.
    bits_stored : int
        Bits a pixel in the file.
    scaling : {"voi_lut", "window", "stored_range", "extremes", "as_stored"}
        What the grey levels span: the table or window of the file, the range of the stored bits, the darkest and
        lightest pixel, or simply the values of the file.
    photometric : str, optional
        As stored; MONOCHROME1 has been inverted.
    modality, body_part, manufacturer, model : str, optional
    view : {"PA", "AP", "LATERAL"}, optional
    laterality : {"R", "L", "B", "U"}, optional
    orientation : str, optional
        Direction of rows and columns, such as ``L/F``; ``R/F`` is a mirrored frontal view.
    spacing : (float, float), optional
        Millimetres between pixels, (y, x).
    burned_in : bool, optional
        Whether the file says that text is burnt into the picture.
    lossy : bool, optional
        Whether the pixels were ever compressed with loss.
    kvp, exposure, exposure_time : float, optional
        Tube voltage (kV), exposure (mAs) and its time (ms).
    unreadable : tuple of str
        Names of header fields that held no number and are treated as absent.

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=2, columns=3, bits_stored=8, scaling="as_stored")
    >>> ImageInfo.from_dict(info.to_dict()) == info
    True
    """

    digest: str
    format: str
    rows: int
    columns: int
    bits_stored: int
    scaling: str
    photometric: str | None = None
    modality: str | None = None
    view: View | None = None
    laterality: str | None = None
    orientation: str | None = None
    body_part: str | None = None
    spacing: tuple[float, float] | None = None
    burned_in: bool | None = None
    lossy: bool | None = None
    manufacturer: str | None = None
    model: str | None = None
    kvp: float | None = None
    exposure: float | None = None
    exposure_time: float | None = None
    unreadable: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without what is not known."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["unreadable"] = list(self.unreadable) or None
        record["spacing"] = list(self.spacing) if self.spacing else None
        return {name: value for name, value in record.items() if value is not None}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ImageInfo:
        """Rebuild what `to_dict` returned."""
        spacing = record.get("spacing")
        return cls(
            **{
                **record,
                "spacing": (float(spacing[0]), float(spacing[1])) if spacing else None,
                "unreadable": tuple(record.get("unreadable", ())),
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One picture: larger is brighter on the screen, rows run down and columns to the right.

    Parameters
    ----------
    pixels : uint8 or uint16 array, shape (y, x)
    bits : int
        The brightest possible pixel is ``2**bits - 1``.
    info : ImageInfo

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=1, columns=2, bits_stored=12, scaling="as_stored")
    >>> Radiograph(np.array([[0, 4095]], dtype=np.uint16), 12, info).to_uint8()
    array([[  0, 255]], dtype=uint8)
    """

    pixels: Grey
    bits: int
    info: ImageInfo

    def __post_init__(self) -> None:
        locked = self.pixels.view()
        locked.setflags(write=False)
        object.__setattr__(self, "pixels", locked)

    def to_uint8(self) -> NDArray[np.uint8]:
        """Return the pixels on 0 to 255, rounded."""
        return np.asarray(self._rescaled(8), dtype=np.uint8)

    def to_uint16(self) -> NDArray[np.uint16]:
        """Return the pixels on 0 to 65535, rounded."""
        return np.asarray(self._rescaled(16), dtype=np.uint16)

    def _rescaled(self, bits: int) -> NDArray[Any]:
        if bits == self.bits:
            return self.pixels
        full, wanted = 2**self.bits - 1, 2**bits - 1
        # Integers: no rounding that depends on the machine.
        return np.asarray((self.pixels.astype(np.uint32) * wanted + full // 2) // full)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in a square frame: scaled with its aspect kept, centred, zeros around it.

    Parameters
    ----------
    rows, columns : int
        Of the picture at full size.
    size : int
        Side of the frame.
    top, left, height, width : int
        The part of the frame that the picture fills.

    Examples
    --------
    >>> place = Placement.fit(rows=400, columns=200, size=100)
    >>> place.top, place.left, place.height, place.width
    (0, 25, 100, 50)
    >>> place.to_source_box((0, 25, 50, 75))
    (0.0, 0.0, 200.0, 200.0)
    """

    rows: int
    columns: int
    size: int
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def fit(cls, rows: int, columns: int, size: int) -> Placement:
        """Return the largest centred placement of a picture of rows x columns in a frame."""
        if min(rows, columns, size) < 1:
            raise DataError(f"a picture of {rows} x {columns} in a frame of {size}", "at least one pixel each")
        longest = max(rows, columns)
        height = max(1, (2 * rows * size + longest) // (2 * longest))
        width = max(1, (2 * columns * size + longest) // (2 * longest))
        return cls(rows, columns, size, (size - height) // 2, (size - width) // 2, height, width)

    def to_source_box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return a box (top, left, bottom, right) of the frame in pixels of the picture, cut at its border.

        Edges, not centres: the first pixel spans 0 to 1.
        """
        y = [min(max((v - self.top) * self.rows / self.height, 0.0), float(self.rows)) for v in box[::2]]
        x = [min(max((v - self.left) * self.columns / self.width, 0.0), float(self.columns)) for v in box[1::2]]
        return y[0], x[0], y[1], x[1]

    def to_frame_box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return a box (top, left, bottom, right) of the picture in pixels of the frame."""
        y = [v * self.height / self.rows + self.top for v in box[::2]]
        x = [v * self.width / self.columns + self.left for v in box[1::2]]
        return y[0], x[0], y[1], x[1]

    def to_source_map(self, values: ArrayLike) -> NDArray[np.float32]:
        """Return a map of the frame, such as a heat map, on the pixels of the picture.

        Parameters
        ----------
        values : array, shape (k, k)
            On the whole frame; k may be smaller than its side, as for a class activation map.

        Returns
        -------
        float32 array, shape (rows, columns)
            Linear between the centres of the map's cells.

        Raises
        ------
        DataError
            If the map is not square.
        """
        field = np.asarray(values, dtype=np.float32)
        if field.ndim != 2 or field.shape[0] != field.shape[1] or field.size == 0:
            raise DataError(f"a map of shape {field.shape}", "a square map of the whole frame")
        scale = field.shape[0] / self.size
        y = ((np.arange(self.rows) + 0.5) * self.height / self.rows + self.top) * scale - 0.5
        x = ((np.arange(self.columns) + 0.5) * self.width / self.columns + self.left) * scale - 0.5
        if field.shape[0] == self.size:
            # Cells of the border lie outside the picture and must not leak into it.
            y = np.clip(y, self.top, self.top + self.height - 1)
            x = np.clip(x, self.left, self.left + self.width - 1)
        return _between(_between(field, y).T, x).T


def _between(field: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return rows of a field at fractional positions, shape (len(at), columns)."""
    at = np.clip(at, 0, field.shape[0] - 1)
    low = np.minimum(at.astype(np.intp), max(field.shape[0] - 2, 0))
    high = np.minimum(low + 1, field.shape[0] - 1)
    part = (at - low).astype(np.float32)[:, None]
    found: NDArray[np.float32] = field[low] * (1 - part) + field[high] * part
    return found
