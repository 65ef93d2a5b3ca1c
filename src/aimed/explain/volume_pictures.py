"""Small pictures of outlined scans: planes, contrasts, slices, maps and surfaces, with sides, scale and outlines."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, UnknownNameError
from aimed.core.volume import Volume

__all__ = ["CAPTION", "KINDS", "PictureCase", "case_pictures", "volume_thumbnails"]

KINDS: Mapping[str, str] = {
    "planes": "Three planes through the slices with the largest reference area",
    "channels": "All contrasts in the same axial slice",
    "montage": "Axial slices through the region, from below",
    "uncertainty": "Where the outline is least certain",
    "map": "Where the scores of the outline come from",
    "surface": "Surfaces of reference and prediction",
}
"""The kinds of pictures and what they show."""

CAPTION = (
    "Radiological convention: the patient's right (R) is on the left of axial and coronal pictures, the front (A) on "
    "the left of sagittal ones. Reference: solid, blue. Prediction: dashed, orange."
)

_BLUE, _ORANGE = (86, 180, 233), (230, 159, 0)
"""Okabe and Ito: told apart whatever colours an eye sees; solid and dashed besides."""

_WEIGHT = 1_400_000
"""Characters that all pictures together may take in a page of at most 3 MB."""

_FITS = ((1.0, 64), (1.0, 32), (0.8, 32), (0.65, 24), (0.5, 16))
"""Scale of a picture, and its greys; it has twice as many other colours. From those wished for down."""

_FINE = 2
"""Pixels drawn along a side for each one kept, so that lines and letters are smooth."""

_LETTER, _TITLE, _BAR = 11, 12, 10
_COLOURED = 20
"""Apart of the parts of a pixel from which on it is no grey."""

_HEADING = 24
"""Pixels above a surface that only its title takes."""

_INK, _DIM = (235, 235, 235), (150, 150, 150)
_OPACITY, _BAR_WIDTH = 0.75, 58

_PLANES = ("axial", "coronal", "sagittal")
_SIDES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
"""Letters at the left, right, upper and lower edge."""

_VIEWS = (("from the front left", 35.0), ("from the back right", 215.0))
_ELEVATION = 20.0

Slices: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureCase:
    """A case to draw, all on one grid.

    Parameters
    ----------
    scan : Volume
        Shape (c, z, y, x); its affine says where left and right are.
    reference, prediction : bool array, shape (k, z, y, x)
    uncertainty : float array, shape (k, z, y, x), optional
        Standard deviation of the probabilities.
    heat : float array, shape (k, z, y, x), optional
        A heat map of each region.
    window : (float, float), optional
        Black and white of the greys, as for CT; from the 0.5th to the 99.5th percentile of the voxels of a channel
        that are not 0 when absent.

    Raises
    ------
    DataError
        If they are not on one grid.
    """

    scan: Volume
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    uncertainty: NDArray[Any] | None = None
    heat: NDArray[Any] | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.scan.array.ndim != 4:
            raise DataError(f"a scan of shape {self.scan.shape}", "(c, z, y, x)")
        for values in (self.reference, self.prediction, self.uncertainty, self.heat):
            if values is not None and values.shape != (len(self.reference), *self.scan.shape[1:]):
                raise DataError(f"masks or maps of shape {values.shape}", f"(k, z, y, x) on {self.scan.shape[1:]}")


# ------------------------------------------------------------------------------------------------------ one case, ready


class _Case:
    """A case with its axes along the body, cut to the head, and one region of it."""

    def __init__(self, case: PictureCase, region: int) -> None:
        scan = case.scan.reoriented("RAS")
        inside = (np.asarray(scan.array) != 0).any(axis=0)
        margin = [max(1, round(4.0 / mm)) for mm in scan.spacing]
        self.box = tuple(
            slice(max(0, low - m), high + m)
            for (low, high), m in zip((_ends(inside, axis) for axis in range(3)), margin, strict=True)
        )
        self.scan, self.inside, self.spacing = (
            np.asarray(scan.array)[(slice(None), *self.box)],
            inside[self.box],
            scan.spacing,
        )
        self.channels = list(scan.channels) or [f"channel {c + 1}" for c in range(scan.n_channels)]

        def turned(values: NDArray[Any] | None) -> NDArray[Any] | None:
            if values is None:
                return None
            plain = values[region].astype(np.uint8) if values.dtype == bool else np.asarray(values[region], np.float32)
            return np.asarray(case.scan.with_array(plain).reoriented("RAS").array)[self.box]

        self.reference, self.prediction = (
            np.asarray(turned(values), dtype=bool) for values in (case.reference, case.prediction)
        )
        self.uncertainty, self.heat = turned(case.uncertainty), turned(case.heat)
        self.shown = self.reference if self.reference.any() else self.prediction
        self.window = case.window
        self._greys: dict[int, NDArray[np.uint8]] = {}

    def greys(self, channel: int) -> NDArray[np.uint8]:
        """Return a channel as bytes; what is 0 is black unless there is a window."""
        if channel not in self._greys:
            values = np.asarray(self.scan[channel], dtype=np.float32)
            seen = values[values != 0]
            low, high = self.window or (np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 1.0))
            grey = np.clip((values - np.float32(low)) * np.float32(255.0 / max(high - low, 1e-12)), 0, 255).round()
            if self.window is None:
                grey[values == 0] = 0
            self._greys[channel] = grey.astype(np.uint8)
        return self._greys[channel]

    @cached_property
    def best_channel(self) -> int:
        """The channel in which the region stands out most from the rest of the head."""
        if not self.shown.any() or not (self.inside & ~self.shown).any():
            return 0
        apart = []
        for values in self.scan:
            mine, rest = (np.asarray(values[mask], np.float64) for mask in (self.shown, self.inside & ~self.shown))
            apart.append(abs(mine.mean() - rest.mean()) / max(rest.std(), 1e-12))
        return int(np.argmax(np.round(apart, 6)))

    def slice_of(self, plane: str) -> int:
        """Return the slice with the largest area of the region; the middle one without it."""
        axis = _PLANES.index(plane)
        area = self.shown.sum(axis=tuple(a for a in range(3) if a != axis))
        return int(np.argmax(area)) if area.any() else area.size // 2


def _ends(inside: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    at = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
    return (int(at[0]), int(at[-1]) + 1) if at.size else (0, inside.shape[axis])


def _cut(values: Slices, plane: str, at: int) -> Slices:
    """Return a slice of (z, y, x) in RAS as it is looked at: see `CAPTION`."""
    if plane == "axial":
        return values[at, ::-1, ::-1]
    return values[::-1, at, ::-1] if plane == "coronal" else values[::-1, ::-1, at]


def _mm(spacing: tuple[float, float, float], plane: str) -> tuple[float, float]:
    """Return the millimetres of a pixel of a slice along its rows and columns."""
    z, y, x = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[plane]


# -------------------------------------------------------------------------------------------------- outlines of a slice


def _rings(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the closed outlines of a slice, each (m, 2) as (row, column) in pixels from the upper left corner.

    Edges between pixels are followed with the mask on the right; where two pixels only touch at a corner they are kept
    apart. Points are the middles of the edges.
    """
    wide = np.pad(mask, 1)
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for shift, start, end in (
        ((-1, 0), (0, 0), (0, 1)), ((0, 1), (0, 1), (1, 1)), ((1, 0), (1, 1), (1, 0)), ((0, -1), (1, 0), (0, 0)),
    ):  # fmt: skip
        beyond = np.roll(wide, (-shift[0], -shift[1]), axis=(0, 1))
        for r, c in (np.argwhere(wide & ~beyond) - 1).tolist():
            ways.setdefault((r + start[0], c + start[1]), []).append((r + end[0], c + end[1]))
    rings = []
    while ways:
        first = here = next(iter(ways))
        before = (0, 0)
        ring = []
        while True:
            ends = ways[here]
            # Turning right stays at the same pixel.
            pick = max(
                range(len(ends)), key=lambda i: before[0] * -(ends[i][1] - here[1]) + before[1] * (ends[i][0] - here[0])
            )
            there = ends.pop(pick)
            if not ends:
                del ways[here]
            ring.append(((here[0] + there[0]) / 2, (here[1] + there[1]) / 2))
            before, here = (there[0] - here[0], there[1] - here[1]), there
            if here == first:
                break
        rings.append(np.array(ring))
    return rings


def _rounded(ring: NDArray[np.float64], times: int = 2) -> NDArray[np.float64]:
    """Cut the corners of a closed line (Chaikin)."""
    for _ in range(times):
        after = np.roll(ring, -1, axis=0)
        ring = np.stack([0.75 * ring + 0.25 * after, 0.25 * ring + 0.75 * after], axis=1).reshape(-1, 2)
    return ring


# --------------------------------------------------------------------------------------------------------- a drawn tile


class _Tile:
    """A black tile of some pixels, drawn finer than it is kept."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self.width, self.height = width, height
        self.image = Image.new("RGB", (width * _FINE, height * _FINE))
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, words: str, size: int, anchor: str, ink: tuple[int, int, int] = _INK) -> None:
        from PIL import ImageFont

        font = ImageFont.load_default(size * _FINE)
        self.draw.text(
            (x * _FINE, y * _FINE), words, fill=ink, font=font, anchor=anchor, stroke_width=_FINE, stroke_fill=(0, 0, 0)
        )

    def line(self, points: NDArray[np.float64], ink: tuple[int, int, int], width: float, dash: float = 0.0) -> None:
        """Draw a closed line of points (row, column); `dash` pixels on and two thirds of it off."""
        ring = np.vstack([points, points[:1]]) * _FINE
        steps = np.hypot(*np.diff(ring, axis=0).T)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        if along[-1] <= 0:
            return
        thick = max(1, round(width * _FINE))
        if not dash:
            self.draw.line([(c, r) for r, c in ring], fill=ink, width=thick, joint="curve")
            return
        # Dashes of equal length that close upon themselves.
        count = max(2, round(along[-1] / (dash * _FINE * 5 / 3)))
        for k in range(count):
            at = np.linspace(k, k + 0.6, 8) * along[-1] / count
            some = np.stack([np.interp(at, along, ring[:, 1]), np.interp(at, along, ring[:, 0])], axis=1)
            self.draw.line([tuple(p) for p in some.tolist()], fill=ink, width=thick, joint="curve")

    def kept(self) -> NDArray[np.uint8]:
        """Return the pixels, shape (height, width, 3)."""
        from PIL import Image

        return np.asarray(self.image.resize((self.width, self.height), Image.Resampling.BOX))


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a slice in millimetres from its upper left corner, and pixels a millimetre."""

    top: float
    left: float
    scale: float


def _slice_tile(
    case: _Case, plane: str, at: int, channel: NDArray[np.uint8], width: int, height: int, *, title: str = "",
    scale: float | None = None, centre: tuple[float, float] | None = None, outlines: bool = True,
    small: bool = False, hot: Slices | None = None, top: float = 0.0, line: float = 1.4,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return a slice with what is drawn over it, shape (height, width, 3)."""
    from PIL import Image

    grey = _cut(channel, plane, at)
    mm = _mm(case.spacing, plane)
    size = tuple(n * s for n, s in zip(grey.shape, mm, strict=True))
    if scale is None:
        scale = min(height / size[0], width / size[1])
    middle = centre or (size[0] / 2, size[1] / 2)
    window = _Window(middle[0] - height / scale / 2, middle[1] - width / scale / 2, scale)
    tile = _Tile(width, height)

    def stretched(values: Slices, kind: Any) -> Any:
        """Return the window of a slice, finely drawn; what lies outside of the slice is 0."""
        step = 1.0 / (scale * _FINE)
        matrix = (step / mm[1], 0.0, window.left / mm[1], 0.0, step / mm[0], window.top / mm[0])
        image = Image.fromarray(np.ascontiguousarray(values))
        return image.transform(tile.image.size, Image.Transform.AFFINE, matrix, kind)

    base = stretched(grey, Image.Resampling.BICUBIC)
    tile.image.paste(Image.merge("RGB", (base,) * 3))
    if hot is not None and top > 0:
        share = np.clip(np.asarray(_cut(hot, plane, at), np.float32) / top, 0, 1)
        share = np.clip(np.asarray(stretched(share, Image.Resampling.BILINEAR)), 0, 1)
        under = np.asarray(tile.image, dtype=np.float32)
        alpha = (_OPACITY * share**0.4)[..., None]
        tile.image.paste(Image.fromarray((under * (1 - alpha) + _colour(share) * alpha).round().astype(np.uint8)))
    if outlines:
        for mask, ink, dash in ((case.reference, _BLUE, 0.0), (case.prediction, _ORANGE, 4.5)):
            for ring in _rings(_cut(mask, plane, at)):
                points = _rounded((ring * mm - (window.top, window.left)) * scale)
                tile.line(points, ink, line, dash)
    letter = _LETTER - 2 * small
    left, right, upper, lower = tuple(_SIDES[plane])
    tile.text(4, height / 2, left, letter, "lm")
    tile.text(width - 4, height / 2, right, letter, "rm")
    tile.text(width / 2, 3, upper, letter, "mt")
    tile.text(width / 2, height - 4, lower, letter, "mb")
    if title:
        tile.text(5, 4, title, letter if small else _TITLE, "lt")
    _scale_bar(tile, scale)
    return tile.kept()


def _scale_bar(tile: _Tile, scale: float) -> None:
    """Draw a bar of a round length, at most a third of the tile, at its lower right corner."""
    most = tile.width / 3 / scale
    length = max((v for v in (1, 2, 5, 10, 20, 50, 100) if v <= most), default=most)
    right, low = tile.width - 6, tile.height - 6
    ends = [((right - length * scale) * _FINE, low * _FINE), (right * _FINE, low * _FINE)]
    tile.draw.line(ends, fill=(0, 0, 0), width=4 * _FINE)
    tile.draw.line(ends, fill=_INK, width=2 * _FINE)
    tile.text(right - length * scale / 2, low - 3, f"{length:g} mm", _BAR, "mb")


def _colour(share: NDArray[Any]) -> NDArray[np.float32]:
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](share)[..., :3] * 255, dtype=np.float32)


def _colour_bar(height: int, top: float, words: str) -> NDArray[np.uint8]:
    """Return the scale of a map, opacity and all, on black."""
    from PIL import Image

    tile = _Tile(_BAR_WIDTH, height)
    margin, span = 34, height - 2 * 34
    share = np.linspace(1, 0, span * _FINE)[:, None]
    colour = _colour(np.repeat(share, 12 * _FINE, axis=1))
    tile.image.paste(Image.fromarray(colour.round().astype(np.uint8)), (8 * _FINE, margin * _FINE))
    for value, y in ((top, margin), (top / 2, margin + span / 2), (0.0, margin + span)):
        tile.text(25, y, _short(value), _BAR, "lm")
    tile.text(6, 6, words, _BAR, "lt")
    return tile.kept()


def _short(value: float) -> str:
    return f"{value:.3g}" if value >= 10 else f"{value:.2g}"


def _legend(width: int, more: str = "") -> NDArray[np.uint8]:
    tile = _Tile(width, 20)
    x = 6.0
    for words, ink, dashes in (("Reference", _BLUE, ((0, 26),)), ("Prediction", _ORANGE, ((0, 7), (10, 17), (20, 26)))):
        for a, b in dashes:
            ends = [((x + a) * _FINE, 10 * _FINE), ((x + b) * _FINE, 10 * _FINE)]
            tile.draw.line(ends, fill=ink, width=2 * _FINE)
        tile.text(x + 32, 10, words, _LETTER, "lm")
        x += 110
    tile.text(width - 6, 10, f"{more}R: right of the patient", _BAR, "rm", _DIM)
    return tile.kept()


def _row(tiles: Sequence[NDArray[np.uint8]], gap: int = 2) -> NDArray[np.uint8]:
    """Return tiles of one height side by side."""
    white = np.full((tiles[0].shape[0], gap, 3), 70, dtype=np.uint8)
    parts = [part for tile in tiles for part in (tile, white)][:-1]
    return np.concatenate(parts, axis=1)


def _widths(width: int, count: int, gap: int = 2) -> list[int]:
    free = width - gap * (count - 1)
    return [free // count + (i < free % count) for i in range(count)]


# ---------------------------------------------------------------------------------------------------- kinds of pictures


def _planes(case: _Case, width: int) -> NDArray[np.uint8]:
    sides = _widths(width, 3)
    extents = [_extent(case, plane) for plane in _PLANES]
    scale = min((w - 8) / across for w, (_, across) in zip(sides, extents, strict=True))
    height = math.ceil(max(up for up, _ in extents) * scale) + 8
    c = case.best_channel
    greys = case.greys(c)
    tiles = [
        _slice_tile(
            case, plane, case.slice_of(plane), greys, w, height, scale=scale,
            title=f"{plane.capitalize()}, {case.channels[c]}" if plane == "axial" else plane.capitalize(),
        )
        for plane, w in zip(_PLANES, sides, strict=True)
    ]  # fmt: skip
    return np.concatenate([_row(tiles), _legend(width)])


def _extent(case: _Case, plane: str) -> tuple[float, float]:
    shape = _cut(case.inside, plane, 0).shape
    down, across = _mm(case.spacing, plane)
    return shape[0] * down, shape[1] * across


def _contrasts(case: _Case, width: int) -> NDArray[np.uint8]:
    count = len(case.channels)
    down, across = _extent(case, "axial")
    at = case.slice_of("axial")
    if count == 1:
        # Once plain and once with its outlines.
        sides = _widths(width, 2)
        height = math.ceil(down * (sides[0] - 8) / across) + 8
        tiles = [
            _slice_tile(case, "axial", at, case.greys(0), w, height, title=case.channels[0], outlines=drawn)
            for w, drawn in zip(sides, (False, True), strict=True)
        ]
        return _row(tiles)
    rows = []
    for some in np.array_split(np.arange(count), -(-count // 4)):
        sides = _widths(width, len(some))
        scale = (min(sides) - 8) / across
        height = math.ceil(down * scale) + 8
        rows.append(
            _row(
                [
                    _slice_tile(
                        case,
                        "axial",
                        at,
                        case.greys(c),
                        w,
                        height,
                        scale=scale,
                        title=case.channels[c],
                        outlines=False,
                    )
                    for c, w in zip(some.tolist(), sides, strict=True)
                ]
            )
        )
    return np.concatenate(rows)


def _around(case: _Case) -> tuple[tuple[float, float], float]:
    """Return the middle of both outlines in an axial picture, and the side of a square around them, in mm."""
    both = case.reference | case.prediction
    shape, mm = _cut(both, "axial", 0).shape, _mm(case.spacing, "axial")
    if not both.any():
        return (shape[0] * mm[0] / 2, shape[1] * mm[1] / 2), max(n * s for n, s in zip(shape, mm, strict=True))
    flat = both.any(axis=0)[::-1, ::-1]
    ends = [_ends(flat[None], axis) for axis in (1, 2)]
    sizes = [(b - a) * s for (a, b), s in zip(ends, mm, strict=True)]
    down, across = ((a + b) / 2 * s for (a, b), s in zip(ends, mm, strict=True))
    return (down, across), max(50.0, max(sizes) + 24.0)


def _montage(case: _Case, width: int, count: int = 6) -> NDArray[np.uint8]:
    both = case.reference | case.prediction
    low, high = _ends(both, 0)
    slices = (
        np.unique(np.round(np.linspace(low, high - 1, count + 2)[1:-1]).astype(int))
        if high - low > count
        else np.arange(low, high)
    )
    if not both.any():
        slices = np.array([case.slice_of("axial")])
    c = case.best_channel
    greys, (centre, side) = case.greys(c), _around(case)
    sides = _widths(width, count)
    scale, middle = min(sides) / side, case.slice_of("axial")
    tiles = []
    for at, w in zip(slices.tolist(), sides, strict=False):
        away = round((at - middle) * case.spacing[0])
        tiles.append(
            _slice_tile(
                case, "axial", at, greys, w, min(sides), scale=scale, centre=centre, line=1.2, small=True,
                title=f"{away:+d} mm" if away else "0 mm",
            )
        )  # fmt: skip
    tiles += [np.zeros((min(sides), w, 3), dtype=np.uint8) for w in sides[len(tiles) :]]
    return np.concatenate([_row(tiles), _legend(width, f"{case.channels[c]}; ")])


def _overlay(
    case: _Case, width: int, hot: Slices | None, words: str, top: float | None = None, unit: str = ""
) -> NDArray[np.uint8] | None:
    """Return a slice on the left, and the same under a map on the right; a map without a unit is in shares of its top.

    The top is nearly the largest value, so that a single voxel does not pale all others.
    """
    if hot is None or not np.isfinite(hot).any():
        return None
    values = np.where(np.isfinite(hot), np.maximum(hot, 0), 0.0).astype(np.float32)
    if top is None:
        top = float(np.quantile(values[case.inside], 0.995)) if case.inside.any() else 0.0
        top = top or float(values.max())
        if unit:
            top = _rounded_up(top)
    down, across = _extent(case, "axial")
    sides = _widths(round(0.78 * width) - _BAR_WIDTH - 2, 2)
    height = min(math.ceil(down * (min(sides) - 8) / across) + 8, round(1.2 * min(sides)))
    scale = min((height - 8) / down, (min(sides) - 8) / across)
    at, c = case.slice_of("axial"), case.best_channel
    greys = case.greys(c)
    left = _slice_tile(case, "axial", at, greys, sides[0], height, scale=scale, title=case.channels[c])
    right = _slice_tile(
        case, "axial", at, greys, sides[1], height, scale=scale, title=words, outlines=False, hot=values, top=top
    )
    picture = _row([left, right, _colour_bar(height, top if unit else 1.0, unit or "share")])
    return np.concatenate([picture, _legend(picture.shape[1], f"opacity 0 to {100 * _OPACITY:.0f} %; ")])


def _rounded_up(value: float) -> float:
    """Return the next number of one digit: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(n * power for n in (1, 2, 5, 10) if n * power >= value * (1 - 1e-9)))


# -------------------------------------------------------------------------------------------------------------- surface


def _axes(azimuth: float) -> NDArray[np.float64]:
    """Return right, up and away from the eye as rows in mm (x to R, y to A, z to S), looking at the patient.

    At 0 degrees the eye is in front of the patient, whose right is then on the left; it walks to the patient's left.
    """
    a, e = math.radians(azimuth), math.radians(_ELEVATION)
    eye = np.array([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])
    away = -eye
    up = np.array([0.0, 0.0, 1.0]) - away[2] * away
    up /= np.linalg.norm(up)
    return np.stack([np.cross(away, up), up, away])


def _surface(
    mask: NDArray[np.bool_], spacing: tuple[float, float, float], axes: NDArray[np.float64],
    centre: NDArray[np.float64], half: float, side: int, colour: tuple[int, int, int],
) -> NDArray[np.uint8]:  # fmt: skip
    """Return a mask as seen from a side: parallel rays through a field of it, lit from the upper left.

    Parameters
    ----------
    mask : bool array, shape (z, y, x), in RAS
    spacing : (float, float, float)
        Millimetres; steps along rays and pixels are in millimetres, so that thick slices stay thick.
    axes : float array, shape (3, 3)
        See `_axes`.
    centre : float array, shape (3,)
        Middle of the picture in mm (z, y, x) from the first voxel.
    half : float
        Millimetres from the middle to an edge.
    side : int
        Pixels.
    colour : (int, int, int)
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    picture = np.zeros((side, side, 3), dtype=np.uint8)
    if not mask.any():
        return picture
    box = [slice(*_ends(mask, axis)) for axis in range(3)]
    mm = np.array(spacing)
    centre = centre - np.array([part.start for part in box]) * mm
    wide = np.pad(mask[tuple(box)], 4).astype(np.float32)
    # Little blur keeps a single voxel; more of it gives normals that do not show the steps between voxels.
    field, soft = gaussian_filter(wide, 0.5), gaussian_filter(wide, 1.3)
    slopes = np.gradient(soft, *spacing)
    level = 0.4
    u, v, w = axes[:, ::-1]
    at = (np.arange(side) + 0.5) / side * 2 - 1
    grid = centre + half * (at[None, :, None] * u - at[:, None, None] * v)
    step = 0.5 * float(mm.min())
    ends = np.stack(np.meshgrid(*[(-1.5, part.stop - part.start + 0.5) for part in box])).reshape(3, -1).T * mm - centre
    steps = np.arange(float((ends @ w).min()), float((ends @ w).max()) + step, step)
    best = np.zeros((side, side), dtype=np.float32)
    hit = np.full((side, side), np.nan, dtype=np.float32)
    before = np.zeros_like(best)
    for depth in steps.tolist():
        here = ((grid + depth * w) / mm + 4).reshape(-1, 3).T
        values = map_coordinates(field, here, order=1, mode="constant").reshape(side, side)
        new = np.isnan(hit) & (values >= level)
        if new.any():
            share = (level - before[new]) / np.maximum(values[new] - before[new], 1e-6)
            hit[new] = depth - (1 - share) * step
        np.maximum(best, values, out=best)
        before = values
    rows = ~np.isnan(hit)
    where = ((grid[rows] + hit[rows][:, None] * w) / mm + 4).T
    normal = -np.stack([map_coordinates(slope, where, order=1) for slope in slopes], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    light = -0.5 * u + 0.6 * v - 0.75 * w
    light /= np.linalg.norm(light)
    half_way = light - w
    half_way /= np.linalg.norm(half_way)
    lit = 0.22 + 0.68 * np.clip(normal @ light, 0, 1) + 0.10 * np.clip(normal @ -w, 0, 1)
    shine = 0.22 * np.clip(normal @ half_way, 0, 1) ** 24
    shade = np.clip(lit[:, None] * np.array(colour) + 255 * shine[:, None], 0, 255)
    # Rays that just miss or just hit make the edge smooth.
    alpha = np.clip((best[rows] - level) / 0.25 + 0.25, 0, 1)[:, None]
    picture[rows] = (shade * alpha).round().astype(np.uint8)
    return picture


def _surfaces(case: _Case, width: int) -> NDArray[np.uint8] | None:
    from PIL import Image

    both = case.reference | case.prediction
    if not both.any():
        return None
    mm = np.array(case.spacing)
    places = np.argwhere(both) * mm
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    across = np.concatenate([(places - centre) @ _axes(azimuth)[:2, ::-1].T for _, azimuth in _VIEWS])
    # One scale for all four, with room for the voxels at the edge.
    half = 1.12 * float(np.abs(across).max()) + float(mm.max())
    sides = _widths(width, 4)
    side = min(sides)
    tiles: list[NDArray[np.uint8]] = []
    for name, azimuth in _VIEWS:
        axes = _axes(azimuth)
        for mask, ink, words in ((case.reference, _BLUE, "Reference"), (case.prediction, _ORANGE, "Prediction")):
            tile = _Tile(sides[len(tiles)], side + _HEADING)
            drawn = _surface(mask, case.spacing, axes, centre, half, side, ink)
            fine = Image.fromarray(drawn).resize((side * _FINE, side * _FINE), Image.Resampling.BICUBIC)
            tile.image.paste(fine, (0, _HEADING * _FINE))
            tile.text(5, 4, words, _TITLE, "lt", ink)
            tile.text(5, 19, name, _BAR, "lt", _DIM)
            _tripod(tile, axes)
            _scale_bar(tile, side / (2 * half))
            tiles.append(tile.kept())
    return _row(tiles)


def _tripod(tile: _Tile, axes: NDArray[np.float64], reach: float = 15.0) -> None:
    """Draw where right, front and head lie, at the lower left corner."""
    x, y = 24.0, tile.height - 24.0
    order = sorted(range(3), key=lambda i: -axes[2, i])
    for i in order:
        right, up, away = axes[:, i]
        ink = _DIM if away > 0 else _INK
        ends = [(x * _FINE, y * _FINE), ((x + reach * right) * _FINE, (y - reach * up) * _FINE)]
        tile.draw.line(ends, fill=ink, width=round(1.5 * _FINE))
        tile.text(x + (reach + 6) * right, y - (reach + 6) * up, "RAS"[i], _BAR, "mm", ink)


# ------------------------------------------------------------------------------------------------------------- together


def case_pictures(
    case: PictureCase,
    region: int = 0,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    width: int = 720,
    top: float | None = None,
) -> dict[str, NDArray[np.uint8]]:
    """Draw one region of one case.

    Parameters
    ----------
    case : PictureCase
    region : int
        Of the masks.
    kinds : sequence of str
        Of `KINDS`; those that cannot be drawn (no map, nothing outlined) are left out.
    width : int
        Pixels of each picture.
    top : float, optional
        Standard deviation of the hottest colour of the uncertainty; nearly the largest when absent.

    Returns
    -------
    dict of str to uint8 array, shape (height, width, 3)

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    DataError
        If there is no such region, or the width is below 240.

    Notes
    -----
    Greys are the same in all pictures of a case. Planes and maps are drawn on the channel in which the region stands
    out most.

    Examples
    --------
    >>> ball = np.hypot(*np.mgrid[-8:8, -8:8])[None] + abs(np.mgrid[-8:8])[:, None, None] < 7
    >>> scan = Volume(array=1.0 + ball[None], affine=np.eye(4))
    >>> case_pictures(PictureCase(scan=scan, reference=ball[None], prediction=ball[None]), kinds=["planes"])[
    ...     "planes"].shape[1:]
    (720, 3)
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("kind of picture", kind, tuple(KINDS))
    if not 0 <= region < len(case.reference) or width < 240:
        raise DataError(f"region {region} and a width of {width}", f"0 to {len(case.reference) - 1}, and 240 or more")
    ready = _Case(case, region)
    work: dict[str, Callable[[], NDArray[np.uint8] | None]] = {
        "planes": lambda: _planes(ready, width),
        "channels": lambda: _contrasts(ready, width),
        "montage": lambda: _montage(ready, width),
        "uncertainty": lambda: _overlay(ready, width, ready.uncertainty, "Uncertainty", top, "SD"),
        "map": lambda: _overlay(ready, width, ready.heat, "Heat map"),
        "surface": lambda: _surfaces(ready, width),
    }
    made = {kind: work[kind]() for kind in kinds}
    return {kind: picture for kind, picture in made.items() if picture is not None}


def volume_thumbnails(
    found: Mapping[str, Any],
    load: Callable[[int], PictureCase],
    labels: Mapping[str, str] | None = None,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    region_groups: Sequence[str] = ("worst",),
    region_kinds: Sequence[str] = ("planes", "surface"),
    width: int = 720,
    weight: int = _WEIGHT,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Draw the cases of a gallery for a page.

    Pictures of patients are personal data, and slices of a head whose face was not taken off show its profile; draw
    them only where a person asked for it. Nothing but pixels goes in.

    Parameters
    ----------
    found : mapping
        Of `aimed.explain.volume_gallery.volume_gallery`, with rows.
    load : callable
        ``load(row)`` returns a `PictureCase`; called once a case.
    labels : mapping of str to str, optional
        Key → name of the region, as shown to people; those of the gallery when absent.
    kinds : sequence of str
        Of the cases over all regions, which show the first region.
    region_groups, region_kinds : sequence of str
        Which cases of each region are drawn, and how.
    width : int
    weight : int
        Most characters of all pictures together; fewer colours are used, and smaller pictures, until they fit.
    progress : callable, optional
        Hears the share done and what is done now.

    Returns
    -------
    dict
        ``scopes``: scope → number of the case → kind → ``png`` (a ``data:`` address), ``alt``, ``width`` and
        ``height``; ``kinds``, ``caption``, ``weight`` (characters) and ``scale`` (of the size asked for).

    Raises
    ------
    DataError
        If they weigh too much even when small.
    """
    from aimed.explain.volume_gallery import OVERALL

    keys = [key for key in found["scopes"] if key != OVERALL]
    wanted: dict[int, list[tuple[str, int, Sequence[str], Mapping[str, Any]]]] = {}
    for scope, one in found["scopes"].items():
        groups = one["cases"] if scope == OVERALL else [g for g in region_groups if g in one["cases"]]
        if scope != OVERALL and len(keys) == 1:
            continue
        for case in (case for group in groups for case in one["cases"][group]):
            jobs = wanted.setdefault(int(case["row"]), [])
            if scope not in [job[0] for job in jobs]:
                region = 0 if scope == OVERALL else keys.index(scope)
                jobs.append((scope, region, kinds if scope == OVERALL else region_kinds, case))
    drawn: list[tuple[str, str, str, NDArray[np.uint8], str]] = []
    for done, (row, jobs) in enumerate(wanted.items()):
        if progress is not None:
            progress(done / len(wanted), f"pictures: case {done + 1} of {len(wanted)}")
        case = load(row)
        for scope, region, some, record in jobs:
            for kind, picture in case_pictures(case, region, kinds=some, width=width).items():
                key = keys[region]
                words = _words(record, kind, key, (labels or {}).get(key, found["scopes"][key]["label"]))
                drawn.append((scope, str(record["case"]), kind, picture, words))
    for scale, colours in _FITS:
        files = [_address(picture, scale, colours) for _, _, _, picture, _ in drawn]
        if sum(map(len, files)) <= weight:
            break
    else:
        raise DataError(
            f"{len(drawn)} pictures that weigh more than {weight:,} characters", "fewer", "show fewer cases"
        )
    scopes: dict[str, dict[str, dict[str, Any]]] = {}
    for (scope, number, kind, picture, words), png in zip(drawn, files, strict=True):
        scopes.setdefault(scope, {}).setdefault(number, {})[kind] = {
            "png": png,
            "alt": words,
            "width": round(picture.shape[1] * scale),
            "height": round(picture.shape[0] * scale),
        }
    if progress is not None:
        progress(1.0, "")
    return {
        "scopes": scopes,
        "kinds": dict(KINDS),
        "caption": CAPTION,
        "weight": sum(map(len, files)),
        "scale": scale,
    }


def _words(case: Mapping[str, Any], kind: str, key: str, label: str) -> str:
    one = case["regions"][key]
    parts = [
        text.format(value)
        for text, value in (
            ("Dice {:.2f}", one.get("dice")),
            ("reference {:.1f} ml", one.get("reference_ml")),
            ("prediction {:.1f} ml", one.get("prediction_ml")),
        )
        if value is not None
    ]
    return f"Case {case['case']}, {label}: {KINDS[kind][:1].lower()}{KINDS[kind][1:]}. {', '.join(parts)}."


def _address(picture: NDArray[np.uint8], scale: float, colours: int) -> str:
    from PIL import Image

    image = Image.fromarray(picture)
    if scale != 1.0:
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        image = image.resize(size, Image.Resampling.LANCZOS)
    out = BytesIO()
    # A palette is a third of the weight.
    image.quantize(palette=_palette(np.asarray(image), colours), dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _palette(pixels: NDArray[np.uint8], colours: int) -> Any:
    """Return greys in equal steps, shades of what is drawn over them, and mixtures of both as the picture has them.

    Chosen from the pixels alone, greys would push out the few that outlines are made of.
    """
    from PIL import Image

    count = colours // 3
    grey = np.repeat(np.linspace(0, 255, colours)[:, None], 3, axis=1)
    dark, light = (
        np.linspace(0.2, 1, 2 * count // 3)[:, None],
        np.linspace(0, 0.5, count - 2 * count // 3 + 1)[1:, None],
    )
    shades = [part for ink in np.array([_BLUE, _ORANGE]) for part in (ink * dark, ink + (255 - ink) * light)]
    mixed = pixels[np.ptp(pixels, axis=2) > _COLOURED]
    parts = [grey, *shades, _colour(np.linspace(0, 1, count))]
    if mixed.size:
        some = Image.fromarray(mixed[None]).quantize(colours, dither=Image.Dither.NONE).getpalette() or []
        parts.append(np.array(some, dtype=np.float64).reshape(-1, 3))
    found = Image.new("P", (1, 1))
    found.putpalette(np.concatenate(parts).round().astype(np.uint8).ravel().tolist())
    return found
