"""DICOM slices put together by their place in the body, never by their number: accepted, split or refused in words."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core.grid import Grid
from aimed.core.image import Grey, ImageRefused
from aimed.core.volume import VOLUME_REFUSALS, Volume, VolumeRefused, stack_channels
from aimed.readers.dicom_slices import Slice, read_slices, refused_volume
from aimed.readers.grey_levels import Storage
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.nifti import MAX_BYTES

__all__ = ["Series", "SeriesFound", "find_series", "find_study", "read_dicom_series", "read_dicom_study"]

Vector: TypeAlias = NDArray[np.float64]
Tilted: TypeAlias = Literal["refuse", "keep"]

HELD = 2**28
"""Files of this many bytes in all are kept between the look at their headers and the reading of their pixels."""

_PHYSICAL = ("CT", "PT")
"""Their values are measured (HU, Bq/ml): MONOCHROME1 says how they are shown, not what they are."""

_SAME_PLACE, _SAME_TURN = 0.01, 1e-3
"""Slices nearer than this share of a pixel are at one place; cosines that differ by less are one orientation."""

_EVEN, _ASIDE, _DRIFT = 0.1, 0.25, 0.5
"""How far a slice may lie from its place: along the stack, in distances; aside and all in all, in pixels."""

# ---------------------------------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Slices that belong together, with the verdict on them.

    Parameters
    ----------
    decision : {"accept", "split", "refuse"}
        Split: accepted as one of several volumes that a series held.
    sentence : str
        Why, in words that name nobody.
    code : str, optional
        Of a refusal.
    modality : str, optional
    contrast : str, optional
        See `aimed.readers.dicom_slices.contrast`.
    n_slices : int
    affine : float array, shape (4, 4), optional
        As in `aimed.core.volume.Volume`; None when refused.
    notes : tuple of str
    """

    decision: Literal["accept", "split", "refuse"]
    sentence: str
    code: str | None = None
    modality: str | None = None
    contrast: str | None = None
    n_slices: int = 0
    affine: Vector | None = None
    notes: tuple[str, ...] = ()
    _slices: tuple[Slice, ...] = field(default=(), repr=False)
    _detail: str = field(default="", repr=False)

    @property
    def files(self) -> tuple[tuple[ImageFile, int], ...]:
        """File and frame of each slice, in the order of the volume."""
        return tuple((s.file.source, s.frame) for s in self._slices)

    @property
    def frame_of_reference(self) -> str | None:
        """A digest that two series share when their places can be compared."""
        found: str | None = self._slices[0].group[4] if self._slices else None
        return found

    @property
    def grid(self) -> Grid:
        """Where the voxels lie.

        Raises
        ------
        VolumeRefused
            With the code of the series.
        """
        if self.code is not None or self.affine is None:
            raise VolumeRefused(self.code or "NO_GEOMETRY", self._detail)
        _, _, rows, columns, *_ = self._slices[0].group
        if not rows or not columns:
            raise VolumeRefused("SIZE_LIES", "Rows or Columns is absent or 0")
        return Grid((self.n_slices, rows, columns), self.affine)

    @property
    def planes(self) -> tuple[Vector, Vector, tuple[float, float]]:
        """Where the slices lie as DICOM says it (mm to the left, back and head), in the order of the volume.

        The place of the first pixel of each, shape (n, 3); the cosines of a row and of a column, shape (2, 3); mm
        between rows and between columns.
        """
        first = self._slices[0]
        if first.turn is None or first.spacing is None:
            raise VolumeRefused("NO_GEOMETRY")
        return np.array([s.place for s in self._slices]), first.turn, first.spacing

    def read(self, max_bytes: int = MAX_BYTES) -> Volume:
        """Decode the slices.

        Parameters
        ----------
        max_bytes : int
            Of the voxels.

        Returns
        -------
        Volume
            Larger is brighter. Rescaled slice by slice: integers where every slope is 1, else float32.

        Raises
        ------
        VolumeRefused
            With the code of the series, or of the file that cannot be decoded.
        """
        if self.code is not None or self.affine is None:
            raise VolumeRefused(self.code or "NO_GEOMETRY", self._detail)
        try:
            return _volume(self, self.affine, max_bytes)
        except ImageRefused as refused:
            raise refused_volume(refused) from None


def _refused(code: str, slices: Sequence[Slice], detail: str = "") -> Series:
    got, expected, do = VOLUME_REFUSALS[code]
    return Series(
        "refuse", f"{got}{f': {detail}' if detail else ''}; expected {expected}; {do}.", code, slices[0].group[1],
        slices[0].group[5], len(slices), _slices=tuple(slices), _detail=detail,
    )  # fmt: skip


def _along(slices: Sequence[Slice]) -> tuple[list[Slice], Vector]:
    """Return slices in their order along the normal of the first, and their places there in mm."""
    turn = slices[0].turn
    assert turn is not None  # noqa: S101, checked before
    normal = np.cross(turn[0], turn[1])
    at = np.array([normal @ s.place for s in slices])
    order = np.argsort(at, kind="stable")
    return [slices[k] for k in order], at[order]


def _content(one: Slice) -> bytes:
    """Return a digest of the pixels of a slice and of what they mean."""
    frames, _ = one.file.pixels()
    pixels = next(itertools.islice(frames, one.frame, None))
    return hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest() + struct.pack(
        "<2d", one.slope, one.intercept
    )


def _without_copies(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices without those that another has place and pixels of."""
    ordered, at = _along(slices)
    near = _SAME_PLACE * min(slices[0].spacing or (1.0, 1.0))
    kept: list[Slice] = []
    place = -math.inf
    known: set[bytes] = set()
    for k, (one, here) in enumerate(zip(ordered, at, strict=True)):
        fresh = here - place > near
        last = k + 1 == len(at) or at[k + 1] - here > near
        if fresh and last:
            kept.append(one)
            place = here
            continue
        if fresh:
            known, place = set(), here
        content = _content(one)
        if content not in known:
            known.add(content)
            kept.append(one)
    return kept


def _judged(slices: Sequence[Slice], tilted: Tilted, notes: tuple[str, ...]) -> Series:
    """Return the verdict on slices of one size, spacing and orientation."""
    if len(slices) < 2:
        return _refused("FLAT", slices)
    first = slices[0]
    if first.turn is None or first.spacing is None or any(s.place is None for s in slices):
        return _refused("NO_GEOMETRY", slices)
    ordered, at = _along(slices)
    steps = np.diff(at)
    pixel = min(first.spacing)
    twice = int((steps <= _SAME_PLACE * pixel).sum())
    if twice:
        return _refused("DUPLICATES", slices, f"{twice} of {len(slices)} slices lie where another one does")
    usual = float(np.median(steps))
    holes = steps > 1.5 * usual
    if holes.any():
        missing = int(np.rint(steps[holes] / usual - 1).sum())
        where = f"in {int(holes.sum())} place{'s' if holes.sum() > 1 else ''}"
        return _refused("GAP", slices, f"about {missing} {where} among {len(slices)} that are {usual:.4g} mm apart")
    places = np.array([s.place for s in ordered])
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = places - (places[0] + np.arange(len(places))[:, None] * step)
    normal = np.cross(first.turn[0], first.turn[1])
    distance = float(step @ normal)
    uneven = float(np.abs(off @ normal).max()) / distance
    aside = float(np.sqrt(((off - np.outer(off @ normal, normal)) ** 2).sum(axis=1)).max())
    if uneven > _EVEN or aside > _ASIDE * pixel:
        return _refused("UNEVEN", slices, f"distances from {steps.min():.4g} to {steps.max():.4g} mm")
    shift = step - distance * normal
    drift = float(np.sqrt((shift**2).sum()))
    if drift * (len(places) - 1) > _DRIFT * pixel:
        angle = math.degrees(math.atan2(drift, distance))
        if tilted == "refuse":
            return _refused("TILTED", slices, f"by {angle:.1f} degrees")
        notes = (*notes, f"The slices are tilted by {angle:.1f} degrees against their stack; the grid is sheared.")
    if uneven > 0.01:
        notes = (*notes, f"Slices lie up to {uneven:.0%} of their distance from an even place.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.turn[0] * first.spacing[1], first.turn[1] * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    affine[:2] *= -1  # from left and back, as in DICOM, to right and front
    return Series(
        "accept", f"{len(places)} slices, {distance:.4g} mm apart: accepted.", None, first.group[1], first.group[5],
        len(places), affine, notes, tuple(ordered),
    )  # fmt: skip


def _split(slices: Sequence[Slice], tilted: Tilted, notes: tuple[str, ...]) -> tuple[list[Series], list[str]] | None:
    """Return the volumes of a series that is none, told apart by one mark or by several, or None."""
    for mark in slices[0].marks:
        parts: dict[Any, list[Slice]] = {}
        for one in slices:
            parts.setdefault(one.marks[mark], []).append(one)
        if not 1 < len(parts) <= len(slices) // 2:
            continue
        found: list[Series] = []
        marks = [mark]
        for part in parts.values():
            verdict = _judged(part, tilted, notes)
            if verdict.code is None:
                found.append(verdict)
                continue
            deeper = _split(part, tilted, notes)
            if deeper is None:
                break
            found += deeper[0]
            marks += deeper[1]
        else:
            return found, list(dict.fromkeys(marks))
    return None


def _verdicts(slices: Sequence[Slice], tilted: Tilted) -> list[Series]:
    """Return what becomes of slices of one size, spacing and orientation."""
    whole = _judged(slices, tilted, ())
    if whole.code not in ("DUPLICATES", "GAP", "UNEVEN"):
        return [whole]
    apart = _split(slices, tilted, ())
    if apart is None and whole.code == "DUPLICATES":
        try:
            kept = _without_copies(slices)
        except ImageRefused as refused:
            return [_refused(refused_volume(refused).code, slices, refused.detail)]
        if len(kept) < len(slices):
            copies = len(slices) - len(kept)
            note = f"{copies} slice{'s' if copies > 1 else ''} came twice, pixel by pixel, and is used once."
            whole = _judged(kept, tilted, (note,))
            if whole.code is None:
                return [whole]
            slices, apart = kept, _split(kept, tilted, (note,))
    if apart is None:
        return [whole]
    parts, marks = apart
    return [
        replace(
            part, decision="split",
            sentence=f"{part.n_slices} slices, one of {len(parts)} volumes told apart by {' and '.join(marks)}.",
        )
        for part in parts
    ]  # fmt: skip


def _part_of(n: int, one: Series) -> Series:
    """Return an accepted part of a series of several orientations, spacings, sizes or contrasts as what it is."""
    if one.decision != "accept":
        return one
    sentence = f"{one.n_slices} slices, one of {n} parts of a series told apart by orientation, spacing, size or kind."
    return replace(one, decision="split", sentence=sentence)


def _alike(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Group slices of one series by size, orientation and spacing."""
    found: list[list[Slice]] = []
    for one in slices:
        for group in found:
            if group[0].group == one.group and _same(group[0], one):
                group.append(one)
                break
        else:
            found.append([one])
    return found


def _same(one: Slice, other: Slice) -> bool:
    """Say whether two slices have one orientation and spacing; what is not said is the same as not said."""
    if one.turn is None or other.turn is None:
        same = one.turn is other.turn
    else:
        same = bool(np.abs(one.turn - other.turn).max() <= _SAME_TURN)
    if one.spacing is None or other.spacing is None:
        return same and one.spacing is other.spacing
    return same and all(abs(a / b - 1) <= _SAME_TURN for a, b in zip(one.spacing, other.spacing, strict=True))


# ------------------------------------------------------------------------------------------------------- what was found


@dataclass(frozen=True, slots=True, eq=False)
class SeriesFound:
    """All that a folder, an archive or a file holds.

    Parameters
    ----------
    series : tuple of Series
        In the order of their first files.
    unread : dict of str to int
        How many files are not used, by code; NO_PIXELS and NOT_A_VOLUME are reports, plans and files of other kinds.
    details : dict of str to str
        What was found in the first file of a code, such as the name of a header field.
    """

    series: tuple[Series, ...]
    unread: Mapping[str, int]
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def damaged(self) -> dict[str, int]:
        """Files that may have been slices: without them a volume could be short and nobody would see it."""
        return {code: n for code, n in self.unread.items() if code not in ("NO_PIXELS", "NOT_A_VOLUME")}

    def _check(self) -> None:
        if self.damaged:
            code, n = next(iter(self.damaged.items()))
            of = sum(self.unread.values()) + len({id(s.file) for one in self.series for s in one._slices})
            raise VolumeRefused(code, f"{self.details[code] or 'found'} in {n} of {of} files")
        if not self.series:
            code = next(iter(self.unread), "NO_PIXELS")
            raise VolumeRefused(code, self.details.get(code) or "no file holds a slice")

    def only(self) -> Series:
        """Return the one series.

        Raises
        ------
        VolumeRefused
            MIXED when there are several; the code of the first damaged file.
        """
        self._check()
        if len(self.series) > 1:
            kinds = ", ".join(f"{s.n_slices} slices {s.contrast or s.modality or 'of a kind'}" for s in self.series[:6])
            raise VolumeRefused("MIXED", f"{len(self.series)} ({kinds})")
        return self.series[0]


def find_series(source: str | os.PathLike[str] | Sequence[ImageFile], *, tilted: Tilted = "refuse") -> SeriesFound:
    """Look at all headers of a folder, an archive or a file and say what becomes of the slices.

    Parameters
    ----------
    source : path or sequence of ImageFile
    tilted : {"refuse", "keep"}
        Whether slices that are tilted against their stack give a sheared grid or a refusal.

    Returns
    -------
    SeriesFound

    Raises
    ------
    DataError
        If there is no such path.

    Notes
    -----
    Slices are ordered by ImagePositionPatient along the normal of ImageOrientationPatient. InstanceNumber is not read:
    scanners and archives number as they like.
    """
    files = find_images(source) if isinstance(source, (str, os.PathLike)) else list(source)
    slices: list[Slice] = []
    unread: Counter[str] = Counter()
    details: dict[str, str] = {}
    held = 0
    for file in files:
        try:
            found, size = read_slices(file)
        except ImageRefused as refused:
            code = refused_volume(refused).code
            unread[code] += 1
            details.setdefault(code, refused.detail)
            continue
        held += size
        if held > HELD:
            found[0].file.elements = None
        slices += found
    groups = _alike(slices)
    parts = Counter(group[0].group[0] for group in groups)
    series: list[Series] = []
    for group in groups:
        found_here, n = _verdicts(group, tilted), parts[group[0].group[0]]
        if n > 1:
            found_here = [_part_of(n, one) for one in found_here]
        series += found_here
    return SeriesFound(tuple(series), dict(unread), details)


def read_dicom_series(
    source: str | os.PathLike[str] | Sequence[ImageFile],
    *,
    tilted: Tilted = "refuse",
    max_bytes: int = MAX_BYTES,
) -> Volume:
    """Read the one series in a folder, an archive or an enhanced multi-frame file.

    Parameters
    ----------
    source : path or sequence of ImageFile
    tilted : {"refuse", "keep"}
        See `find_series`.
    max_bytes : int
        Of the voxels.

    Returns
    -------
    Volume

    Raises
    ------
    VolumeRefused
        With the code of the reason: MIXED, GAP, UNEVEN, DUPLICATES, TILTED, NO_GEOMETRY, FLAT or that of a file.
    DataError
        If there is no such path.
    """
    return find_series(source, tilted=tilted).only().read(max_bytes)


def _belongs(part: Series, whole: Series) -> bool:
    """Say whether slices were parted from a series that they may be slices of; a scout lies across."""
    one, other = part._slices[0], whole._slices[0]
    if one.group[0] != other.group[0] or part.contrast not in (None, whole.contrast):
        return False
    return one.turn is None or other.turn is None or bool(np.abs(one.turn - other.turn).max() <= _SAME_TURN)


def find_study(
    source: str | os.PathLike[str] | Sequence[ImageFile], channels: Sequence[str], *, tilted: Tilted = "refuse"
) -> list[Series]:
    """Look for the series of some contrasts.

    Parameters
    ----------
    source : path or sequence of ImageFile
    channels : sequence of str
        Contrasts; see `aimed.readers.dicom_slices.contrast`.
    tilted : {"refuse", "keep"}
        See `find_series`.

    Returns
    -------
    list of Series
        In the order asked for, in one frame of reference.

    Raises
    ------
    VolumeRefused
        MISSING when a contrast is not there; MIXED when it is there twice, or its series has slices of another size;
        GRIDS_DIFFER when the series name different frames of reference.
    DataError
        If there is no such path.
    """
    study = find_series(source, tilted=tilted)
    study._check()
    chosen = []
    for name in channels:
        fits = [s for s in study.series if s.contrast == name and s.code != "FLAT"]
        if not fits:
            there = sorted({s.contrast for s in study.series if s.contrast})
            raise VolumeRefused(
                "MISSING", f"the contrast {name}; there are: {', '.join(there) or 'none that is known'}"
            )
        if len(fits) > 1:
            raise VolumeRefused("MIXED", f"{len(fits)} of the contrast {name}")
        lost = sum(s.n_slices for s in study.series if s is not fits[0] and _belongs(s, fits[0]))
        if lost:
            raise VolumeRefused(
                "MIXED", f"{lost} slices of the series {name} differ from the others in size or spacing"
            )
        chosen.append(fits[0])
    if len({s.frame_of_reference for s in chosen}) > 1:
        raise VolumeRefused("GRIDS_DIFFER", "the series name different frames of reference")
    return chosen


def read_dicom_study(
    source: str | os.PathLike[str] | Sequence[ImageFile],
    channels: Sequence[str],
    *,
    tilted: Tilted = "refuse",
    max_bytes: int = MAX_BYTES,
) -> Volume:
    """Read several series as the channels of one volume.

    Parameters
    ----------
    source : path or sequence of ImageFile
    channels : sequence of str
        Contrasts, such as ``("FLAIR", "T1w", "T1gd", "T2w")``; see `aimed.readers.dicom_slices.contrast`.
    tilted, max_bytes
        See `read_dicom_series`.

    Returns
    -------
    Volume
        Channels in the order asked for.

    Raises
    ------
    VolumeRefused
        MISSING when a contrast is not there; MIXED when it is there twice; GRIDS_DIFFER when the series do not share
        one grid in one frame of reference, for nothing is resampled in silence; the code of a series.
    DataError
        If there is no such path.
    """
    chosen = find_study(source, channels, tilted=tilted)
    return stack_channels([s.read(max_bytes // len(chosen)) for s in chosen], channels)


# ----------------------------------------------------------------------------------------------------------- the voxels


def _numbers(patterns: Grey, store: Storage, inverted: bool) -> NDArray[Any]:
    """Return stored numbers of bit patterns, with their sign."""
    if inverted:
        patterns = (2**store.bits - 1) - patterns
    if not store.signed:
        return patterns
    wide = np.int8 if patterns.dtype.itemsize == 1 else np.int16
    left = 8 * patterns.dtype.itemsize - store.bits
    signed: NDArray[Any] = np.right_shift(np.left_shift(patterns, left).view(wide), left)
    return signed


def _kind(slices: Sequence[Slice]) -> np.dtype[Any]:
    """Return the smallest type that holds all values."""
    if any(s.slope != 1 or s.intercept != int(s.intercept) for s in slices):
        return np.dtype(np.float32)
    spans = {(s.store.bits, s.store.signed, int(s.intercept)) for s in slices}
    low = min(shift - (2 ** (bits - 1) if signed else 0) for bits, signed, shift in spans)
    high = max(shift + 2 ** (bits - 1 if signed else bits) - 1 for bits, signed, shift in spans)
    for kind in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _fits(stored: NDArray[Any], intercept: float) -> bool:
    """Say whether rescaled numbers fit 16 bits; those of scanners do, though their headers allow more."""
    return int(stored.max()) + intercept < 2**15 and int(stored.min()) + intercept >= -(2**15)


def _put(stored: NDArray[Any], one: Slice, out: NDArray[Any]) -> None:
    """Rescale the numbers of a slice into their place."""
    if out.dtype.kind == "f":
        out[...] = stored * one.slope + one.intercept
    elif stored.dtype.itemsize == out.dtype.itemsize:
        # Sums wrap around, so that a result that fits is right whatever the sign on the way.
        shift = np.array(int(one.intercept) & (2 ** (8 * out.dtype.itemsize) - 1)).astype(out.dtype)
        np.add(stored.view(out.dtype), shift, out=out)
    else:
        np.add(stored, int(one.intercept), out=out, dtype=out.dtype, casting="unsafe")


def _volume(series: Series, affine: Vector, max_bytes: int) -> Volume:
    slices = series._slices
    _, modality, rows, columns, _, name, photometric = slices[0].group
    kind = _kind(slices)
    if not rows or not columns:
        raise VolumeRefused("SIZE_LIES", "Rows or Columns is absent or 0")
    if len(slices) * rows * columns * kind.itemsize > max_bytes:
        raise VolumeRefused("TOO_LARGE")
    inverted = photometric == "MONOCHROME1" and modality not in _PHYSICAL
    notes = series.notes
    if inverted:
        notes = (*notes, "MONOCHROME1 has been inverted: larger is brighter.")
    at: dict[int, list[int]] = {}
    for k, one in enumerate(slices):
        at.setdefault(id(one.file), []).append(k)
    voxels: NDArray[Any] | None = None
    for places in at.values():
        wanted = {slices[k].frame: k for k in places}
        frames, store = slices[places[0]].file.pixels()
        for number, patterns in enumerate(frames):
            if number not in wanted:
                continue
            if voxels is None:
                # Memory is taken after the first frame fits its header.
                voxels = np.empty((len(slices), rows, columns), dtype=np.int16 if kind == np.int32 else kind)
            one = slices[wanted[number]]
            stored = _numbers(patterns, store, inverted)
            if voxels.dtype == np.int16 and kind == np.int32 and not _fits(stored, one.intercept):
                voxels = voxels.astype(np.int32)
            _put(stored, one, voxels[wanted[number]])
    if voxels is None:
        raise VolumeRefused("NO_PIXELS")
    return Volume(
        array=voxels, affine=affine, modality=modality, channels=(name,) if name else (), notes=notes,
    )  # fmt: skip
