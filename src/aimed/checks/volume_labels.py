"""Whether the outlines of scans hold what they should: no labels swapped, unknown or never seen, none empty or odd."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.checks.volume_channels import STOP_LEAST, best_order
from aimed.core.finding import Finding
from aimed.core.outcome import Masks

__all__ = ["LabelOrder", "check", "find_label_order"]

_SAY = Reporter(
    "volume_labels",
    "Tejani et al., CLAIM, Radiol AI 2024;6:e240300; Maier-Hein et al., Metrics reloaded, Nat Methods 2024;21:195; "
    "Menze et al., IEEE Trans Med Imaging 2015;34:1993",
)
FEWEST = 8
"""Masks from which the greys of a label can be learned."""
GAIN = 4.0
"""By how much other labels must fit better."""
_VOXELS = 20
_FLOOR = 0.05
_STOP_SHARE = 0.10
_ALL_ORDERS = 5
_TINY = 3
_PIECES = 20
_FAR = 4.5
_MOST = 0.5
_UNKNOWN = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOrder:
    """How well the greys under each label of a mask are like those under that label elsewhere.

    Parameters
    ----------
    labels : tuple of int
        Labels that were judged.
    rows : int array, shape (m,)
        Masks that were judged: two of these labels or more, of 20 voxels each.
    kinds : tuple of str, length m
        Which labels seem to stand for each other, such as ``"1 / 2"``; empty where none do.
    gain : float array, shape (m,)
        By how much that fits better; 0 where the labels fit best as they are.
    """

    labels: tuple[int, ...]
    rows: NDArray[np.int64]
    kinds: tuple[str, ...]
    gain: NDArray[np.float64]

    @property
    def swapped(self) -> NDArray[np.bool_]:
        """Masks whose labels clearly fit better in another order, shape (m,)."""
        return np.asarray(self.gain > GAIN)


def find_label_order(records: Sequence[Any]) -> LabelOrder | None:
    """Return whether other labels fit the greys of each mask better; None where fewer than 8 masks can be judged.

    Mean greys under each label, in standard deviations of the scan, and their differences between labels, are compared
    with their medians and median deviations over the cohort; a figure z deviations off costs log(1 + z²). Labels under
    which the same greys lie cannot be told. Of brain phantoms whose labels were swapped in one mask after the other
    (three pairs of labels of 20 voxels or more each), 83 of 88, 81 of 86 and 61 of 62 are found in three sets of 24 to
    32; no mask was called swapped that was not.

    Parameters
    ----------
    records : sequence of VolumeRecord
        Their ``labels`` and ``label_greys``.
    """
    counts = [{int(label): int(n) for label, n in record.labels.items()} for record in records]
    seen = Counter(label for one in counts for label, n in one.items() if label not in (0, _UNKNOWN) and n >= _VOXELS)
    labels = tuple(sorted(label for label, n in seen.items() if n >= FEWEST))
    channels = Counter(len(record.greys) for record in records).most_common(1)[0][0] if records else 0
    if len(labels) < 2 or not channels:
        return None
    greys = np.full((len(records), len(labels), channels), np.nan)
    for row, (record, count) in enumerate(zip(records, counts, strict=True)):
        told = {int(label): value for label, value in record.label_greys.items()}
        for k, label in enumerate(labels):
            if count.get(label, 0) >= _VOXELS and len(told.get(label, ())) == channels:
                greys[row, k] = told[label]
    has = ~np.isnan(greys).any(axis=2)
    rows = np.flatnonzero(has.sum(axis=1) > 1)
    if rows.size < FEWEST:
        return None
    middle, spread = _profile(greys)
    apart = greys[:, :, None] - greys[:, None]
    far, reach = _profile(apart)
    kinds, gain = [], np.zeros(rows.size)
    for number, row in enumerate(rows.tolist()):
        mine = np.flatnonzero(has[row])
        single = np.log1p(((greys[row, mine][:, None] - middle[mine]) / spread[mine]) ** 2).sum(axis=2)

        def cost(order: Sequence[int], row: int = row, mine: NDArray[np.int64] = mine) -> float:
            own = mine[list(order)]
            alone = np.log1p(((greys[row, own] - middle[mine]) / spread[mine]) ** 2)
            there, usual = np.ix_(own, own), np.ix_(mine, mine)
            # A pair of which the cohort knows nothing counts for nothing.
            pairs = np.nan_to_num(np.log1p(((apart[row][there] - far[usual]) / reach[usual]) ** 2))
            return float(alone.sum() + pairs.sum() / 2)

        as_is = list(range(mine.size))
        order, least = as_is, cost(as_is)
        if mine.size <= _ALL_ORDERS:
            candidates = [(list(one), cost(one)) for one in itertools.permutations(as_is)]
        else:
            candidates = [best_order(single, cost)]
        start = least
        for candidate, there in candidates:
            if there < least - 1e-9:
                order, least = candidate, there
        gain[number] = start - least
        kinds.append(" / ".join(str(labels[mine[k]]) for k, at in enumerate(order) if at != k))
    return LabelOrder(labels=labels, rows=rows, kinds=tuple(kinds), gain=gain)


def _profile(figures: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ~np.isnan(figures).all(axis=0)
    middle, spread = np.full(figures.shape[1:], np.nan), np.full(figures.shape[1:], np.nan)
    middle[known] = np.nanmedian(figures[:, known], axis=0)
    spread[known] = 1.4826 * np.nanmedian(np.abs(figures[:, known] - middle[known]), axis=0)
    return middle, np.maximum(spread, 0.5 * float(np.nanmedian(spread))) + _FLOOR


def check(context: Context) -> list[Finding]:
    """Return findings on the outlines of scans; nothing for a cohort without any.

    * STOP: no mask holds a label; labels swapped in more than 10 % of the masks and in 3 or more.
    * WARN: labels swapped in some masks; empty masks; labels that no region holds; a label of a region that is never
      seen; a region larger than one that holds it; masks that cover more than half of the body; a volume 4.5 robust
      deviations above the median on the log scale.
    * NOTE: regions that overlap without one holding the other; regions of 3 voxels or fewer; masks of more than 20
      pieces; the share of the scans with each region and its median volume, where the outcome does not tell it.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    volumes = context.volumes
    if volumes is None or not len(volumes):
        return []
    masks = _Outlines(context, volumes.records)
    if not masks.labels.any():
        message = f"Not one mask of {plural(masks.n, 'scan')} holds a label."
        return [_SAY.stop("masks", message, "Check that the masks were read.", n=masks.n)]
    return [*masks.order(), *masks.filled(), *masks.nested(), *masks.odd(), *masks.shares()]


class _Outlines:
    """How many voxels each label has in each mask, and what that makes of the regions."""

    def __init__(self, context: Context, records: Sequence[Any]) -> None:
        self.context, self.records, self.n = context, records, len(records)
        self.labels = np.zeros((self.n, 256), dtype=np.int64)
        for row, record in enumerate(records):
            for label, count in record.labels.items():
                self.labels[row, int(label)] = int(count)
        self.labels[:, [0, _UNKNOWN]] = 0
        self.ml = np.array([abs(float(np.linalg.det(np.asarray(r.affine)[:3, :3]))) / 1000 for r in records])
        seen = np.flatnonzero(self.labels.any(axis=0)).tolist()
        self.regions: Mapping[str, tuple[int, ...]] = context.regions or {f"label {label}": (label,) for label in seen}
        self.voxels = {name: self.labels[:, list(labels)].sum(axis=1) for name, labels in self.regions.items()}

    def some(self, off: NDArray[np.bool_], noun: str = "mask") -> tuple[str, dict[str, Any]]:
        """Return how many masks these are, in words and as evidence."""
        parts = self.context.parts
        by = {"by_part": {name: int(off[part].sum()) for name, part in parts.items()}} if parts else {}
        return of(int(off.sum()), self.n, noun), {"masks": int(off.sum()), "n": self.n, **by}

    def order(self) -> list[Finding]:
        found = find_label_order(self.records)
        if found is None:
            if len(np.flatnonzero(self.labels.any(axis=0))) < 2:
                return []
            message = f"{plural(self.n, 'mask')} are too few to learn the greys of each label, so that swapped labels "
            message += "cannot be found."
            return [_SAY.note("masks", message, "Look at some of them.", n=self.n, least=FEWEST)]
        if not found.swapped.any():
            return []
        off = np.zeros(self.n, dtype=bool)
        off[found.rows[found.swapped]] = True
        message, evidence = self.some(off)
        message += f" {'seems' if off.sum() == 1 else 'seem'} to have labels swapped: the greys below them fit others."
        kinds = Counter(kind for kind, bad in zip(found.kinds, found.swapped.tolist(), strict=True) if bad)
        say = _SAY.stop if off.sum() > max(_STOP_SHARE * self.n, STOP_LEAST - 1) else _SAY.warn
        advice = "Look at them, and at the table of labels of who drew them."
        least = float(found.gain[found.swapped].min())
        return [say("masks", message, advice, labels=dict(kinds), least_gain=least, limit=GAIN, **evidence)]

    def filled(self) -> list[Finding]:
        out = []
        empty = np.asarray(~self.labels.any(axis=1))
        if empty.any():
            message, evidence = self.some(empty)
            message += f" {'is' if empty.sum() == 1 else 'are'} empty."
            advice = "Make sure that nothing is there; a mask that was never drawn looks the same."
            out.append(_SAY.warn("masks", message, advice, **evidence))
        wanted = {label for labels in self.regions.values() for label in labels}
        seen = np.asarray(self.labels.any(axis=0))
        strange = [label for label in np.flatnonzero(seen).tolist() if label not in wanted]
        if strange:
            message, evidence = self.some(np.asarray(self.labels[:, strange].any(axis=1)))
            message += f" {'has' if evidence['masks'] == 1 else 'have'} labels that no region holds: "
            message += f"{', '.join(map(str, strange))}."
            by = {label: int(self.labels[:, label].astype(bool).sum()) for label in strange}
            out.append(_SAY.warn("masks", message, "Name them in a region, or make sure that they are background.",
                                 labels=by, **evidence))  # fmt: skip
        never = sorted(label for label in wanted if not seen[label])
        if never:
            message = f"No mask has the {'label' if len(never) == 1 else 'labels'} {', '.join(map(str, never))}."
            by_region = {name: sorted(set(labels) & set(never)) for name, labels in self.regions.items()}
            told = {name: labels for name, labels in by_region.items() if labels}
            out.append(_SAY.warn("masks", message, "Check how the masks are coded.", regions=told, n=self.n))
        return out

    def nested(self) -> list[Finding]:
        out: list[Finding] = []
        regions = {name: set(labels) for name, labels in self.context.regions.items()}
        crossing = [
            f"{a} / {b}"
            for a, b in itertools.combinations(regions, 2)
            if regions[a] & regions[b] and not (regions[a] <= regions[b] or regions[b] <= regions[a])
        ]
        if crossing:
            message = f"Regions overlap without one holding the other: {', '.join(crossing)}."
            out.append(_SAY.note("regions", message, "Check that their labels are as meant.", pairs=crossing))
        outcome = self.context.cohort.outcome
        if not isinstance(outcome, Masks) or not set(regions) <= set(outcome.targets):
            return out
        volume = {name: outcome.volumes[:, outcome.targets.index(name)] for name in regions}
        off = np.zeros(self.n, dtype=bool)
        pairs = {}
        for a, b in itertools.permutations(regions, 2):
            if regions[a] < regions[b]:
                larger = volume[a] > volume[b] * (1 + 1e-6) + 1e-9
                off |= larger
                if larger.any():
                    pairs[f"{a} / {b}"] = int(larger.sum())
        if off.any():
            message, evidence = self.some(off)
            message += f" {'has' if off.sum() == 1 else 'have'} a region larger than one that holds it."
            out.append(_SAY.warn("regions", message, "Check how volumes were taken.", pairs=pairs, **evidence))
        return out

    def odd(self) -> list[Finding]:
        out = []
        tiny = {name: int(((count > 0) & (count <= _TINY)).sum()) for name, count in self.voxels.items()}
        tiny = {name: count for name, count in tiny.items() if count}
        if tiny:
            off = np.any([(count > 0) & (count <= _TINY) for count in self.voxels.values()], axis=0)
            message, evidence = self.some(off)
            message += f" {'has' if off.sum() == 1 else 'have'} a region of {_TINY} voxels or fewer."
            advice = "Their overlap is nearly chance: look whether they are slips of the hand."
            out.append(_SAY.note("masks", message, advice, regions=tiny, **evidence))
        pieces = np.array([record.components or 0 for record in self.records])
        if (pieces > _PIECES).any():
            message, evidence = self.some(pieces > _PIECES)
            message += f" {'is' if evidence['masks'] == 1 else 'are'} of more than {_PIECES} pieces."
            advice = "Look for stray voxels, or count lesions one by one."
            out.append(_SAY.note("masks", message, advice, largest=int(pieces.max()), **evidence))
        size = np.array([float(np.prod(record.shape)) * record.foreground for record in self.records])
        share = self.labels.sum(axis=1) / np.maximum(size, 1)
        if (share > _MOST).any():
            message, evidence = self.some(share > _MOST)
            message += f" {'covers' if evidence['masks'] == 1 else 'cover'} more than half of the body."
            advice = "Look at them: a mask of the body, or one turned inside out."
            out.append(_SAY.warn("masks", message, advice, largest=float(share.max()), **evidence))
        far: dict[str, int] = {}
        any_far = np.zeros(self.n, dtype=bool)
        for name, count in self.voxels.items():
            there = np.flatnonzero(count > _TINY)
            if there.size < FEWEST:
                continue
            log = np.log(count[there] * self.ml[there])
            deviation = 1.4826 * float(np.median(np.abs(log - np.median(log))))
            bad = there[log - np.median(log) > _FAR * max(deviation, 0.1)]
            if bad.size:
                far[name], any_far[bad] = int(bad.size), True
        if far:
            message, evidence = self.some(any_far)
            message += f" {'has' if any_far.sum() == 1 else 'have'} a region far larger than the others."
            advice = "Look at them: another unit of spacing, or another structure."
            out.append(_SAY.warn("masks", message, advice, regions=far, deviations=_FAR, **evidence))
        return out

    def shares(self) -> list[Finding]:
        if isinstance(self.context.cohort.outcome, Masks):
            return []
        table = {}
        for name, count in self.voxels.items():
            there = count > 0
            ml = float(np.median((count * self.ml)[there])) if there.any() else None
            table[name] = {"masks": int(there.sum()), "share": float(there.mean()), "median_ml": ml}
        rare = min(table, key=lambda name: table[name]["share"] or 0.0)
        message = f"{plural(len(table), 'region')} in {plural(self.n, 'mask')}; the rarest, '{rare}', is in "
        message += f"{100 * (table[rare]['share'] or 0.0):.1f} %."
        return [_SAY.note("masks", message, regions=table, n=self.n)]
