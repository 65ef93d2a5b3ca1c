"""Whether each picture is what it should be: not blank, clipped or inverted, a frontal chest, large enough, grey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import of
from aimed.checks.context import Context
from aimed.checks.image_rows import Images, Pictures, shrink
from aimed.checks.reporter import Reporter
from aimed.core.errors import DataError
from aimed.core.finding import Finding
from aimed.core.image import Grey, ImageInfo

__all__ = ["FRAME_CODES", "FrameCodes", "check", "check_image_frames", "find_frame_codes"]

_SAY = Reporter(
    "image_frames", "Roberts et al., Nat Mach Intell 2021;3:199; Tejani et al., CLAIM, Radiol AI 2024;6:e240300"
)

FRAME_CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "BLACK": ("black", "Leave them out, or read them again: the window or the pixel data may be missing."),
        "WHITE": ("white", "Leave them out, or read them again: the window or the pixel data may be missing."),
        "CONSTANT": ("hardly any contrast at all", "Leave them out, or read them again with their window."),
        "LOW_CONTRAST": ("little contrast", "Check the window and the bits that were read."),
        "CLIPPED_DARK": ("many pixels at the darkest level", "Check the window, and collimation without detail."),
        "CLIPPED_BRIGHT": ("many pixels at the brightest level", "Check the window and the bits that were read."),
        "INVERTED": (
            "seemingly inverted, with bright air and dark bone",
            "Check how MONOCHROME1 was read: air must be dark. A picture of something else may look so too.",
        ),
        "SURROUNDED": (
            "air or collimation on all four sides",
            "Check for slices of a CT and photographs: on a chest film the body reaches the edge.",
        ),
        "ASPECT": ("far from the shape of a chest film", "Check for strips, screenshots and stitched pictures."),
        "MODALITY": ("no plain radiograph by the tag", "Leave them out: slices of CT and MR are other pictures."),
        "BODY_PART": ("another body part by the tag", "Leave them out, or correct the tag."),
        "VIEW": (
            "not of the view of this study by the tag",
            "Leave lateral views out, or make them a study of their own.",
        ),
        "BURNED_IN": ("text burnt in by the tag", "Remove the text: it may name the patient or the answer."),
        "SMALL": ("much smaller at the source than the frame", "Get the originals: they were enlarged."),
        "COLOUR": ("stored in colour", "Check for photographs and screenshots of radiographs."),
    }
)
"""Code → what is said of the images that have it, and what to do."""

_BAD = ("BLACK", "WHITE", "CONSTANT")
_STOP_SHARE = 0.10
_RANGE, _LOW_RANGE, _EDGE = 0.02, 0.25, 0.02
_DARK_SHARE, _BRIGHT_SHARE = 0.50, 0.02
_AGAINST = -0.2
_ASPECT = 1.6
_RIM, _RIM_DARK, _RIM_SHARE = 0.04, 0.05, 0.95
_PLAIN_FILM = ("CR", "DX", "DR", "RG", "OT")
_CHEST = ("CHEST", "THORAX", "LUNG", "PORTCHEST", "RIBS")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCodes:
    """What is wrong with each image.

    Parameters
    ----------
    n : int
        Images looked at.
    codes : mapping of str to bool array, shape (n,)
        A key of `FRAME_CODES` → the images that have it; a code that could not be judged is left out.
    likeness : float array, shape (n,)
        Correlation with a drawn chest, bright spine and dark lungs; below -0.2 a picture is called inverted.

    Examples
    --------
    >>> find_frame_codes(np.zeros((2, 16, 16), dtype=np.uint8)).counts
    {'BLACK': 2}
    """

    n: int
    codes: Mapping[str, NDArray[np.bool_]]
    likeness: NDArray[np.float64]

    @property
    def counts(self) -> dict[str, int]:
        """Images a code, those of none left out."""
        return {code: int(has.sum()) for code, has in self.codes.items() if has.any()}


def find_frame_codes(
    images: Images,
    infos: Sequence[ImageInfo] | None = None,
    *,
    views: Sequence[str] = ("PA", "AP"),
    progress: Callable[[int, int], None] | None = None,
) -> FrameCodes:
    """Return the codes of each image.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x), or an object with ``rows(indices)`` and a length
        On the whole range of their type: 0 is the darkest and 255 or 65535 the brightest level.
    infos : sequence of ImageInfo, optional
        What is known of each image; without it only the pixels are judged.
    views : sequence of str
        Views that the study is about.
    progress : callable, optional
        Called with images read and their total.

    Notes
    -----
    BLACK and WHITE: 99 % of the pixels within 2 % of an end. CONSTANT: 98 % of the pixels within 2 % of the range;
    LOW_CONTRAST: within 25 %. CLIPPED_DARK: over half of the pixels at 0 (collimation alone leaves less);
    CLIPPED_BRIGHT: over 2 % at the top. SURROUNDED: 95 % of the pixels of each outer strip (4 % of a side) below 5 % of
    the range. ASPECT: one side over 1.6 times the other. SMALL: the shorter side at the
    source is less than half of the frame's.

    Examples
    --------
    >>> ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 32, 1))
    >>> find_frame_codes(ramp).counts
    {}
    """
    pictures = Pictures(images, infos)
    n = len(pictures)
    quantiles, ends, likeness = np.empty((n, 2)), np.empty((n, 2)), np.full(n, np.nan)
    rim = np.zeros(n, dtype=bool)
    side = 0
    for start, block in pictures.blocks():
        side = min(block.shape[1:])
        for i, frame in enumerate(block, start):
            inner = pictures.cut(i, frame)
            quantiles[i], ends[i] = _levels(inner)
            likeness[i] = _likeness(inner)
            rim[i] = _dark_rim(inner)
        if progress is not None:
            progress(start + block.shape[0], n)
    low, high = quantiles.T
    codes: dict[str, NDArray[np.bool_]] = {"BLACK": high <= _EDGE, "WHITE": low >= 1 - _EDGE}
    blank = codes["BLACK"] | codes["WHITE"]
    codes["CONSTANT"] = ~blank & (high - low <= _RANGE)
    blank = blank | codes["CONSTANT"]
    codes["LOW_CONTRAST"] = ~blank & (high - low <= _LOW_RANGE)
    codes["CLIPPED_DARK"] = ~blank & (ends[:, 0] > _DARK_SHARE)
    codes["CLIPPED_BRIGHT"] = ~blank & (ends[:, 1] > _BRIGHT_SHARE)
    codes["INVERTED"] = ~blank & (likeness < _AGAINST)
    codes["SURROUNDED"] = ~blank & rim
    if infos is not None:
        codes |= _tags(infos, views, side)
    return FrameCodes(n=n, codes=codes, likeness=likeness)


def _levels(frame: Grey) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 1 % and 99 % quantiles on 0 to 1, and the shares at the two ends of the range."""
    full = int(np.iinfo(frame.dtype).max)
    top = frame if full == 255 else (frame >> 8).astype(np.uint8)
    counts = np.bincount(top.ravel(), minlength=256)
    below = np.cumsum(counts) / frame.size
    low, high = (int(np.searchsorted(below, share)) / 255 for share in (0.01, 0.99))
    if full == 255:
        return (low, high), (counts[0] / frame.size, counts[255] / frame.size)
    return (low, high), (float((frame == 0).mean()), float((frame == full).mean()))


def _dark_rim(frame: Grey) -> bool:
    """Return True if all four outer strips are dark."""
    h, w = (max(1, round(_RIM * side)) for side in frame.shape)
    dark = _RIM_DARK * float(np.iinfo(frame.dtype).max)
    return all((s < dark).mean() >= _RIM_SHARE for s in (frame[:h], frame[-h:], frame[:, :w], frame[:, -w:]))


def _drawn_chest() -> NDArray[np.float64]:
    y, x = np.mgrid[0:16, 0:16] + 0.5
    side = np.abs(x - 8) / 8
    chest = y / 16
    chest[((y - 6.5) / 4.5) ** 2 + ((8 * side - 3.7) / 2.3) ** 2 < 1] -= 0.8
    chest[(y < 2.5) & (side > 0.35)] -= 1.5
    outside = side > 14 / 16
    chest[outside] -= 0.5 + 0.8 * y[outside] / 16
    chest -= chest.mean()
    return np.asarray(chest / np.linalg.norm(chest))


_CHEST_MAP = _drawn_chest()


def _likeness(frame: Grey) -> float:
    cells = shrink(frame, 16, 16).astype(np.float64)
    cells -= cells.mean()
    length = float(np.linalg.norm(cells))
    return float((cells * _CHEST_MAP).sum()) / length if length > 0 else 0.0


def _tags(infos: Sequence[ImageInfo], views: Sequence[str], side: int) -> dict[str, NDArray[np.bool_]]:
    def flag(judge: Any) -> NDArray[np.bool_]:
        return np.fromiter((judge(info) for info in infos), dtype=bool, count=len(infos))

    def part(info: ImageInfo) -> bool:
        words = (info.body_part or "").upper()
        return bool(words) and not any(word in words for word in _CHEST)

    return {
        "ASPECT": flag(lambda i: max(i.rows, i.columns) > _ASPECT * min(i.rows, i.columns)),
        "MODALITY": flag(lambda i: i.modality is not None and i.modality.upper() not in _PLAIN_FILM),
        "BODY_PART": flag(part),
        "VIEW": flag(lambda i: i.view is not None and i.view not in views),
        "BURNED_IN": flag(lambda i: i.burned_in is True),
        "SMALL": flag(lambda i: 2 * min(i.rows, i.columns) < side),
        "COLOUR": flag(lambda i: (i.photometric or "").upper().startswith(("RGB", "YBR", "PALETTE"))),
    }


def check(context: Context) -> list[Finding]:
    """Return findings on the pictures of a study; nothing for a table without any.

    * STOP, WARN, NOTE: as for `check_image_frames`.

    Examples
    --------
    >>> from aimed.checks.image_rows import ImageList
    >>> from aimed.core.cohort import Cohort
    >>> info = ImageInfo(digest="ab", format="png", rows=8, columns=8, bits_stored=8, scaling="as_stored")
    >>> pictures = ImageList(np.zeros((2, 8, 8), dtype=np.uint8), [info] * 2)
    >>> cohort = Cohort(patient=[1, 2], variables=[], columns={}, assets={"images": pictures})
    >>> [f.message for f in check(Context(cohort))]
    ['Black: 2 of 2 images (100.0 %).']
    """
    images = context.images
    if images is None:
        return []
    return check_image_frames(find_frame_codes(images, images.infos, progress=context.counted()), context.parts)


def check_image_frames(found: FrameCodes, parts: Mapping[str, ArrayLike] | None = None) -> list[Finding]:
    """Return a finding a code that some image has, with counts for each part and never a name.

    * STOP: blank images (BLACK, WHITE, CONSTANT) beyond 10 % of all; half of the images INVERTED or more.
    * WARN: any other image with a code.
    * NOTE: LOW_CONTRAST and SMALL; half of the images unlike a chest, where inversion cannot be judged.

    Parameters
    ----------
    found : FrameCodes
    parts : mapping of str to int arrays, optional

    Examples
    --------
    >>> black = np.zeros((1, 16, 16), dtype=np.uint8)
    >>> [f.message for f in check_image_frames(find_frame_codes(black))]
    ['Black: 1 of 1 image (100.0 %).']
    """
    n, out = found.n, []
    where = {name: np.asarray(rows, dtype=np.int64) for name, rows in (parts or {}).items()}
    if any(r.size and (int(r.min()) < 0 or int(r.max()) >= n) for r in where.values()):
        raise DataError("a part with rows beyond the images", f"rows from 0 to {n - 1}", "draw the split again")
    blank = sum(found.counts.get(code, 0) for code in _BAD)
    for code, count in found.counts.items():
        said, advice = FRAME_CODES[code]
        by_part = {name: int(found.codes[code][rows].sum()) for name, rows in where.items()}
        say = _SAY.warn
        if (code in _BAD and blank > _STOP_SHARE * n) or (code == "INVERTED" and 2 * count >= n):
            say = _SAY.stop
        elif code in ("LOW_CONTRAST", "SMALL"):
            say = _SAY.note
        more = {"by_part": by_part} if where else {}
        out.append(
            say(
                "images", f"{said.capitalize()}: {of(count, n, 'image')}.", advice, code=code, images=count, n=n, **more
            )
        )
    unlike = int((np.abs(found.likeness) < -_AGAINST).sum())
    if n and 2 * unlike >= n and blank < n:
        message = f"{of(unlike, n, 'image')} do not look like a frontal chest, so that inversion cannot be judged."
        out.append(_SAY.note("images", message, "Look at some of them.", images=unlike, n=n))
    return out
