"""Whether one scan, or one outline, is there twice: byte by byte, voxel by voxel, scaled or mirrored, over parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.checks.volume_sketches import VolumeScans, VolumeSketches
from aimed.core.errors import DataError
from aimed.core.finding import Finding
from aimed.metrics.arrays import patient_codes

__all__ = ["VolumeDuplicates", "check", "check_volume_duplicates", "find_volume_duplicates"]

_SAY = Reporter(
    "volume_duplicates", "Roberts et al., Nat Mach Intell 2021;3:199; Kapoor and Narayanan, Patterns 2023;4:100804"
)
LEAST = 0.8
"""Correlation below which two scans are not called copies."""
_FEWEST = 6
_ODDS = 0.01
_SAMPLE = 400
_MASK_VOXELS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDuplicates:
    """Pairs of scans that show the same, and scans with the same outline.

    Parameters
    ----------
    n : int
        Scans looked at.
    pairs : int array, shape (m, 2)
        Row numbers, the smaller first.
    exact : bool array, shape (m,)
        Whether the files, or all greys that were looked at, are the same.
    mirrored : bool array, shape (m,)
        Alike after one is mirrored left to right.
    correlation : float array, shape (m,)
        Of what their small pictures have that the median scan does not; 1 for exact copies.
    masks : int array, shape (k, 2)
        Scans that are no copies of each other and have the same mask, not empty.
    limit : float
        Correlation from which a pair is called a copy.
    compared : int
        Scans whose small pictures were compared; 0 where there are too few.
    """

    n: int
    pairs: NDArray[np.int64]
    exact: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]
    correlation: NDArray[np.float64]
    masks: NDArray[np.int64]
    limit: float
    compared: int

    def groups(self, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return the number of the group of copies of each scan, -1 for a scan that is there once.

        Examples
        --------
        >>> found = VolumeDuplicates(n=4, pairs=np.array([[0, 2]]), exact=np.ones(1, dtype=bool),
        ...     mirrored=np.zeros(1, dtype=bool), correlation=np.ones(1), masks=np.empty((0, 2), dtype=np.int64),
        ...     limit=0.8, compared=4)
        >>> found.groups().tolist()
        [0, -1, 0, -1]
        """
        return _groups(self.pairs if chosen is None else self.pairs[chosen], self.n)


def _groups(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, label = connected_components(links, directed=False)
    several = np.bincount(label, minlength=1)[label] > 1 if n else np.zeros(0, dtype=bool)
    out = np.full(n, -1, dtype=np.int64)
    out[several] = np.unique(label[several], return_inverse=True)[1]
    return out


def find_volume_duplicates(volumes: VolumeScans, sketches: VolumeSketches) -> VolumeDuplicates:
    """Return which scans are there more than once.

    Parameters
    ----------
    volumes : VolumeScans
    sketches : VolumeSketches
        Of these scans.

    Notes
    -----
    A copy in other units, of other brightness (a power of 0.7), mirrored, or with noise of a fifth of the spread of the
    greys correlates with its original by 0.96 or more in brain phantoms without skull, scans of different phantoms by
    0.5 at most, two visits by 0.2 to 0.73. Copies that were cut by a few voxels, resampled or turned by 5 degrees have
    medians of 0.67 to 0.84, so that many of them are missed, and blurred ones 0.5 to 0.7, so that all are.
    """
    n, records = len(volumes), volumes.records
    found: dict[tuple[int, int], tuple[bool, bool, float]] = {}
    for pair in _same([record.digest for record in records]):
        found[pair] = (True, False, 1.0)
    rows = sketches.rows
    for a, b in _same([_greys(sketches, records[row], i) for i, row in enumerate(rows.tolist())]):
        found.setdefault((int(rows[a]), int(rows[b])), (True, False, 1.0))
    limit, compared = LEAST, 0
    if rows.size >= _FEWEST:
        compared = int(rows.size)
        middle = np.median(sketches.small, axis=0)
        plain = _unit(sketches.small - middle)
        turned = _unit(sketches.small[..., ::-1] - middle)
        for mirrored, alike in ((False, plain @ plain.T), (True, plain @ turned.T)):
            upper = np.triu(alike, 1)
            limit = max(LEAST, _chance(alike))
            for a, b in np.argwhere(upper >= limit).tolist():
                pair = (int(rows[a]), int(rows[b]))
                known = found.get(pair, (False, False, 0.0))
                if not known[0] and known[2] < upper[a, b]:
                    found[pair] = (False, mirrored, float(upper[a, b]))
    pairs = sorted(found)
    parts = [found[pair] for pair in pairs]
    every = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return VolumeDuplicates(
        n=n, pairs=every, exact=np.array([p[0] for p in parts], dtype=bool),
        mirrored=np.array([p[1] for p in parts], dtype=bool), correlation=np.array([p[2] for p in parts], dtype=float),
        masks=_same_masks(volumes, _groups(every, n)), limit=float(limit), compared=compared,
    )  # fmt: skip


def _same(keys: Sequence[Any]) -> list[tuple[int, int]]:
    """Return each item that equals an earlier one with the first of its kind; None equals nothing."""
    first: dict[Any, int] = {}
    out = []
    for row, key in enumerate(keys):
        if key is None:
            continue
        if key in first:
            out.append((first[key], row))
        else:
            first[key] = row
    return out


def _greys(sketches: VolumeSketches, record: Any, i: int) -> Any:
    """Return what two scans share only if their voxels do."""
    greys = tuple(tuple(round(one[key], 9) for key in ("mean", "sd", "p50")) for one in record.greys)
    return greys, hashlib.sha256(np.ascontiguousarray(sketches.small[i]).tobytes()).hexdigest()


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = values.reshape(len(values), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > 1e-6, flat / np.maximum(length, 1e-12), 0.0).astype(np.float32)


def _chance(alike: NDArray[np.float32]) -> float:
    """Return the correlation that the most similar of so many pairs of different scans would reach by chance."""
    at = np.linspace(0, len(alike) - 1, min(len(alike), _SAMPLE)).astype(np.int64)
    values = alike[np.ix_(at, at)][np.triu_indices(at.size, 1)]
    middle, upper = np.quantile(np.arctanh(np.clip(values, -0.9999, 0.9999)), (0.5, 0.75))
    pairs = len(alike) * (len(alike) - 1) / 2
    far = NormalDist().inv_cdf(1 - _ODDS / max(pairs, 1))
    return float(min(np.tanh(middle + far * (upper - middle) / NormalDist().inv_cdf(0.75)), 0.98))


def _same_masks(volumes: VolumeScans, copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return scans that are no copies and have one mask; only masks with the same counts are opened."""
    kinds: dict[Any, list[int]] = {}
    for row, record in enumerate(volumes.records):
        marked = {label: count for label, count in record.labels.items() if int(label) not in (0, 255)}
        if sum(marked.values()) >= _MASK_VOXELS:
            kinds.setdefault((tuple(record.shape), tuple(sorted(marked.items()))), []).append(row)
    out = []
    for rows in kinds.values():
        if len(rows) < 2:
            continue
        content = [hashlib.sha256(np.ascontiguousarray(volumes.mask(row)).tobytes()).hexdigest() for row in rows]
        out += [(rows[a], rows[b]) for a, b in _same(content)]
    kept = [(a, b) for a, b in out if copies[a] < 0 or copies[a] != copies[b]]
    return np.asarray(sorted(kept), dtype=np.int64).reshape(-1, 2)


def check(context: Context) -> list[Finding]:
    """Return findings on scans of a study that are there more than once; nothing for a cohort without any.

    * STOP, WARN, NOTE: as for `check_volume_duplicates`. Scans are compared over all parts.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    volumes = context.volumes
    if volumes is None or not len(volumes):
        return []
    found = find_volume_duplicates(volumes, context.volume_sketches)
    return check_volume_duplicates(found, context.patient_codes, context.parts)


def check_volume_duplicates(
    found: VolumeDuplicates, patient: ArrayLike, parts: Mapping[str, ArrayLike] | None = None
) -> list[Finding]:
    """Return findings on scans that are there more than once.

    * STOP: the same scan, exact or nearly, or the same mask, in two parts; an exact copy under two patient ids.
    * WARN: an exact copy, or a near one of two patients, inside one part; one mask on two scans.
    * NOTE: near copies of one patient inside one part, as of two sequences of one visit; too few scans to look for
      near copies.

    Parameters
    ----------
    found : VolumeDuplicates
    patient : array, shape (n,)
    parts : mapping of str to int arrays, optional
        Rows of each part.

    Raises
    ------
    DataError
        If a part has rows beyond the scans.
    """
    who = patient_codes(patient, found.n)
    rows = {name: np.asarray(members, dtype=np.int64) for name, members in (parts or {}).items()}
    if any(r.size and (int(r.min()) < 0 or int(r.max()) >= found.n) for r in rows.values()):
        raise DataError("a part with rows beyond the scans", f"rows from 0 to {found.n - 1}", "draw the split again")
    out = [*_across_parts(found, rows), *_across_patients(found, who), *_inside(found, who, rows)]
    if found.masks.size:
        scans = int(np.unique(found.masks).size)
        message = f"{of(scans, found.n, 'scan')} share their mask with another scan that is no copy."
        shared = any(_shared(_groups(found.masks, found.n), rows[a], rows[b])[0] for a, b in combinations(rows, 2))
        say = _SAY.stop if shared else _SAY.warn
        advice = "Find out which scan it was drawn on: the list may name one mask twice."
        out.append(say("masks", message, advice, scans=scans, pairs=len(found.masks), n=found.n))
    if not found.compared:
        message = f"{plural(found.n, 'scan')} are too few to look for near copies; files and greys were compared."
        out.append(_SAY.note("volumes", message, n=found.n, least=_FEWEST))
    return out


def _shared(groups: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """Return how many scans of `a` have a copy in `b`, and their groups."""
    there = np.unique(groups[b])
    both = np.intersect1d(np.unique(groups[a]), there[there >= 0])
    return int(np.isin(groups[a], both).sum()), both


def _across_parts(found: VolumeDuplicates, rows: Mapping[str, NDArray[np.int64]]) -> list[Finding]:
    out = []
    every, exact = found.groups(), found.groups(found.exact)
    for a, b in combinations(rows, 2):
        small, large = sorted((a, b), key=lambda name: rows[name].size)
        both, _ = _shared(every, rows[small], rows[large])
        if not both:
            continue
        same, total = _shared(exact, rows[small], rows[large])[0], int(rows[small].size)
        message = f"{of(both, total, 'scan')} of the smaller part {'is' if both == 1 else 'are'} a copy of a scan of "
        message += f"the other part of {a} and {b}."
        advice = "Drop the copies or give one person one id, and draw the split again."
        out.append(
            _SAY.stop(f"{a}+{b}", message, advice, scans=both, exact=same, near=both - same, smaller=small, n=total)
        )
    return out


def _across_patients(found: VolumeDuplicates, who: NDArray[np.int64]) -> list[Finding]:
    differ = found.exact & (who[found.pairs[:, 0]] != who[found.pairs[:, 1]])
    if not differ.any():
        return []
    scans = int(np.unique(found.pairs[differ]).size)
    message = f"{of(scans, found.n, 'scan')} stand under more than one patient id."
    advice = "Find out whose scan it is; give one person one id, and drop the copies."
    return [_SAY.stop("patient", message, advice, scans=scans, pairs=int(differ.sum()), n=found.n)]


def _inside(found: VolumeDuplicates, who: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]]) -> list[Finding]:
    out = []
    for name, members in (rows or {"volumes": np.arange(found.n)}).items():
        here = np.isin(found.pairs, members).all(axis=1)
        copies = int(np.unique(found.pairs[here & found.exact][:, 1]).size)
        if copies:
            message = f"{of(copies, int(members.size), 'scan')} of {name} {'repeats' if copies == 1 else 'repeat'} "
            message += "another one voxel by voxel."
            out.append(_SAY.warn(name, message, "Keep one of each.", copies=copies, n=members.size))
        alone = who[found.pairs[:, 0]] == who[found.pairs[:, 1]]
        near = here & ~found.exact
        for kind, chosen in (("two patients", near & ~alone), ("one patient", near & alone)):
            pairs = int(chosen.sum())
            if not pairs:
                continue
            message = f"{plural(pairs, 'pair')} of scans of {kind} in {name} {'is' if pairs == 1 else 'are'} nearly "
            message += "the same."
            say = _SAY.note if kind == "one patient" else _SAY.warn
            out.append(
                say(name, message, "Look at them: one scan that was prepared twice.", pairs=pairs, n=members.size,
                    lowest=float(found.correlation[chosen].min()), limit=found.limit,
                    mirrored=int(found.mirrored[chosen].sum()))
            )  # fmt: skip
    return out
