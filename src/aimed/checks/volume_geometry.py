"""Whether the scans lie in space as they should: on like grids, not mirrored, turned, sheared or of another size."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.checks.volume_sketches import VolumeSketches
from aimed.core.finding import Finding

__all__ = ["check", "flipped_scans", "handedness"]

_SAY = Reporter(
    "volume_geometry",
    "Isensee et al., Nat Methods 2021;18:203; Roberts et al., Nat Mach Intell 2021;3:199; "
    "Tejani et al., CLAIM, Radiol AI 2024;6:e240300",
)
_FEWEST = 6
_MINORITY = 0.20
_SPACING, _SPACING_FAR = 1.05, 2.0
_FIELD = 1.5
_SIZE = 2.0
_THICK = 3.0
_SHEAR = 0.01
_TILT = 15.0
_FLIP = 0.1
_NOTES = 8
_AXES = {"top to bottom": (1, None), "front to back": (2, None)}
_TURNS = {"height and depth": (1, 2), "height and width": (1, 3), "depth and width": (2, 3)}
_PARTS = 1.25


def handedness(orientation: str) -> int:
    """Return 1 for voxel axes that are a right hand in RAS+, as ``"RAS"``, and -1 for their mirror image, as ``"LAS"``.

    Examples
    --------
    >>> handedness("RAS"), handedness("LPS"), handedness("LAS"), handedness("PIR")
    (1, 1, -1, 1)
    """
    axis = [next(k for k, pair in enumerate(("RL", "AP", "SI")) if letter in pair) for letter in orientation]
    against = sum(letter in "LPI" for letter in orientation)
    turns = sum(axis[a] > axis[b] for a, b in itertools.combinations(range(3), 2))
    return -1 if (against + turns) % 2 else 1


def flipped_scans(sketches: VolumeSketches) -> dict[str, NDArray[np.int64]]:
    """Return the scans that look like the others only when an axis is flipped, or two are exchanged.

    Small pictures are compared with the median one. Left and right are so alike in a head that a mirror image is not
    found here; see `handedness`. In brain phantoms every flip of the other two axes and every exchange gains more than
    0.1 of correlation, and none of 88 scans as they are gains any.

    Returns
    -------
    mapping of str to int array
        What would have to be flipped or exchanged → rows; empty with fewer than 6 scans.
    """
    if sketches.rows.size < _FEWEST:
        return {}
    small = sketches.small.astype(np.float64)
    template = _unit(np.median(small, axis=0)[None])[0]
    names = [*_AXES, *_TURNS]
    changed = [np.flip(small, axis + 1) for axis, _ in _AXES.values()]
    changed += [np.swapaxes(small, a + 1, b + 1) for a, b in _TURNS.values()]
    as_is = _unit(small) @ template
    gain = np.stack([_unit(one) @ template - as_is for one in changed], axis=1)
    best = gain.argmax(axis=1)
    off = gain.max(axis=1) > _FLIP
    found = {name: sketches.rows[off & (best == k)] for k, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if rows.size}


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = values.reshape(len(values), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def check(context: Context) -> list[Finding]:
    """Return findings on where the voxels of scans lie; nothing for a cohort without any.

    * WARN: a few scans (less than a fifth) whose voxel axes are the mirror image of those of all others; scans that
      look like the others only when an axis is flipped or two are exchanged; spacing twice that of the median scan, or
      half; a field of view 1.5 times the median, or less than two thirds; a body of twice the median volume, or half;
      sheared grids; several modalities; parts whose median spacing differs by more than a quarter.
    * NOTE: several spacings or orientations; slices more than 3 times as thick as voxels are wide; grids turned by more
      than 15 degrees; what readers noted.

    Left and right cannot be told from the voxels of a head, so that a mirrored affine is seen by its hand alone.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    volumes = context.volumes
    if volumes is None or not len(volumes):
        return []
    grids = _Grids(context, volumes.records)
    return [
        *grids.hands(),
        *grids.flips(context.volume_sketches),
        *grids.sizes(),
        *grids.slopes(),
        *grids.modalities(),
        *grids.notes(),
    ]


class _Grids:
    """The grids of the scans along the axes of the body: width, depth and height."""

    def __init__(self, context: Context, records: Sequence[Any]) -> None:
        self.context, self.records, self.n = context, records, len(records)
        turn = np.array([np.asarray(record.affine, dtype=np.float64)[:3, :3] for record in records])
        length = np.sqrt((turn**2).sum(axis=1))
        self.cosines = turn / length[:, None, :]
        shape = np.array([tuple(record.shape)[::-1] for record in records], dtype=np.float64)
        # Which axis of the body each voxel axis lies along, from letters such as RAS.
        at = np.array([["RLAPSI".index(letter) // 2 for letter in record.orientation] for record in records])
        self.spacing, self.field = np.empty((self.n, 3)), np.empty((self.n, 3))
        np.put_along_axis(self.spacing, at, length, axis=1)
        np.put_along_axis(self.field, at, length * shape, axis=1)
        ml = np.abs(np.linalg.det(turn)) / 1000
        self.body = np.array([record.foreground for record in records]) * shape.prod(axis=1) * ml

    def some(self, off: NDArray[np.bool_]) -> tuple[str, dict[str, Any]]:
        """Return how many scans these are, in words and as evidence."""
        rows, parts = np.flatnonzero(off), self.context.parts
        by = {"by_part": {name: int(off[part].sum()) for name, part in parts.items()}} if parts else {}
        return of(int(rows.size), self.n, "scan"), {"scans": int(rows.size), "n": self.n, **by}

    def hands(self) -> list[Finding]:
        out = []
        hand = np.array([handedness(record.orientation) for record in self.records])
        rare = hand == (1 if (hand == 1).sum() < (hand == -1).sum() else -1)
        codes = Counter(record.orientation for record in self.records)
        if rare.any() and rare.sum() <= _MINORITY * self.n:
            message, evidence = self.some(rare)
            message += f" {'has' if rare.sum() == 1 else 'have'} voxel axes that are the mirror image of all others."
            advice = "Check left and right on the source: an affine that was mirrored by mistake looks the same."
            out.append(_SAY.warn("volumes", message, advice, orientations=dict(codes), **evidence))
        if len(codes) > 1:
            message = f"The scans are stored in {len(codes)} orientations."
            advice = "They are turned to RAS before use, and outlines back; nothing is to be done."
            out.append(_SAY.note("volumes", message, advice, orientations=dict(codes), n=self.n))
        return out

    def flips(self, sketches: VolumeSketches) -> list[Finding]:
        found = flipped_scans(sketches)
        if not found:
            return []
        off = np.zeros(self.n, dtype=bool)
        off[np.concatenate(list(found.values()))] = True
        message, evidence = self.some(off)
        message += f" {'looks' if off.sum() == 1 else 'look'} like the others only after an axis is flipped or two are "
        message += "exchanged."
        advice = "Look at them: their affine says another direction than their voxels."
        changes = {name: int(rows.size) for name, rows in found.items()}
        return [_SAY.warn("volumes", message, advice, changes=changes, limit=_FLIP, **evidence)]

    def sizes(self) -> list[Finding]:
        out = []
        middle = np.median(self.spacing, axis=0)
        ratio = np.maximum(self.spacing / middle, middle / self.spacing).max(axis=1)
        shown = dict(zip(("width", "depth", "height"), np.round(middle, 3).tolist(), strict=True))
        ends = {name: [float(np.round(v, 3)) for v in (column.min(), column.max())]
                for name, column in zip(shown, self.spacing.T, strict=True)}  # fmt: skip
        if (ratio > _SPACING_FAR).any():
            message, evidence = self.some(ratio > _SPACING_FAR)
            message += f" {'has' if evidence['scans'] == 1 else 'have'} a spacing twice that of the median scan or "
            message += "more, or half or less."
            advice = "Check the units and the sequence; resampling cannot bring back what was not scanned."
            out.append(_SAY.warn("volumes", message, advice, median_mm=shown, range_mm=ends, **evidence))
        elif (ratio > _SPACING).any():
            message = "The scans have several spacings."
            advice = "They are resampled to one before use, and outlines back."
            out.append(_SAY.note("volumes", message, advice, median_mm=shown, range_mm=ends,
                                 scans=int((ratio > _SPACING).sum()), n=self.n))  # fmt: skip
        out += self._parts_differ()
        thick = self.spacing.max(axis=1) / self.spacing.min(axis=1)
        if (thick > _THICK).any():
            message, evidence = self.some(thick > _THICK)
            message += f" {'has' if evidence['scans'] == 1 else 'have'} slices more than {_THICK:.0f} times as thick "
            message += "as their voxels are wide."
            advice = "Read distances and small volumes along that axis with care."
            out.append(_SAY.note("volumes", message, advice, largest=float(thick.max()), **evidence))
        usual = np.median(self.field, axis=0)
        reach = np.maximum(self.field / usual, usual / self.field).max(axis=1)
        if (reach > _FIELD).any():
            message, evidence = self.some(reach > _FIELD)
            message += f" {'covers' if evidence['scans'] == 1 else 'cover'} {_FIELD} times as much along an axis as "
            message += "the median scan, or less than two thirds."
            advice = "Look for another part of the body, or a scan that was cut short."
            shown_field = dict(zip(("width", "depth", "height"), np.round(usual, 1).tolist(), strict=True))
            far = float(reach.max())
            out.append(_SAY.warn("volumes", message, advice, median_mm=shown_field, largest=far, **evidence))
        stripped = np.array([record.foreground < 1 for record in self.records]) & (self.body > 0)
        if stripped.sum() >= _FEWEST:
            ml = np.where(stripped, self.body, np.median(self.body[stripped]))
            factor = np.maximum(ml / np.median(ml), np.median(ml) / ml)
            if (factor > _SIZE).any():
                message, evidence = self.some(factor > _SIZE)
                message = f"In {message} what is not 0 has twice the volume of the median scan or more, or half "
                message += "or less."
                advice = "Check the unit of the spacing, and whether the skull was taken off in all scans."
                out.append(_SAY.warn("volumes", message, advice, median_ml=float(np.median(ml)), **evidence))
        return out

    def _parts_differ(self) -> list[Finding]:
        parts = {name: rows for name, rows in self.context.parts.items() if len(rows)}
        middle = {name: np.median(self.spacing[rows], axis=0) for name, rows in parts.items()}
        out = []
        for a, b in itertools.combinations(middle, 2):
            ratio = float(np.maximum(middle[a] / middle[b], middle[b] / middle[a]).max())
            if ratio > _PARTS:
                message = f"The median spacing differs by a factor of {ratio:.2f} between {a} and {b}."
                advice = "Say why the parts differ; results of one may not hold in the other."
                out.append(_SAY.warn(f"{a}+{b}", message, advice, ratio=ratio, n={a: len(parts[a]), b: len(parts[b])}))
        return out

    def slopes(self) -> list[Finding]:
        out = []
        cross = np.abs(np.einsum("nij,nik->njk", self.cosines, self.cosines))
        shear = np.max([cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2]], axis=0)
        if (shear > _SHEAR).any():
            message, evidence = self.some(shear > _SHEAR)
            message += f" {'has' if evidence['scans'] == 1 else 'have'} a sheared grid, as from a tilted gantry."
            advice = "Straighten them: networks and distances take the axes for right angles."
            out.append(_SAY.warn("volumes", message, advice, largest_cosine=float(shear.max()), **evidence))
        away = np.degrees(np.arccos(np.clip(np.abs(self.cosines).max(axis=1).min(axis=1), 0, 1)))
        tilted = away > _TILT
        if tilted.any():
            message, evidence = self.some(tilted)
            message += f" {'is' if evidence['scans'] == 1 else 'are'} turned by more than {_TILT:.0f} degrees against "
            message += "the axes of the body."
            advice = "They are not straightened; check that the plane of the scan is the one wanted."
            out.append(_SAY.note("volumes", message, advice, largest_degrees=float(away.max()), **evidence))
        return out

    def modalities(self) -> list[Finding]:
        found = Counter(record.modality for record in self.records if record.modality)
        if len(found) < 2:
            return []
        message = f"The scans are of {len(found)} modalities: {', '.join(sorted(found))}."
        advice = "Make a study of each: their greys mean different things."
        return [_SAY.warn("volumes", message, advice, modalities=dict(found), n=self.n)]

    def notes(self) -> list[Finding]:
        # Figures differ from scan to scan where the note does not.
        said: Counter[str] = Counter()
        for record in self.records:
            said.update({re.sub(r"\d+(\.\d+)?", "…", note) for note in record.notes})
        out = []
        for note, count in said.most_common(_NOTES):
            message = f"Readers noted of {of(count, self.n, 'scan')}: {note}"
            out.append(_SAY.note("volumes", message, "Look at one of them.", scans=count, n=self.n))
        if len(said) > _NOTES:
            more = len(said) - _NOTES
            out.append(_SAY.note("volumes", f"Readers noted {plural(more, 'further thing')}.", notes=len(said)))
        return out
