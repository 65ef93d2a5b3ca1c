"""Whether each channel of a scan is what its name says: not swapped with another, missing, copied, cut or shifted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.checks.volume_sketches import SIDE, VolumeSketches
from aimed.core.finding import Finding

__all__ = ["ChannelOrder", "best_order", "check", "find_channel_order"]

_SAY = Reporter(
    "volume_channels",
    "Isensee et al., Nat Methods 2021;18:203; Tejani et al., CLAIM, Radiol AI 2024;6:e240300; "
    "Roberts et al., Nat Mach Intell 2021;3:199",
)
FEWEST = 8
"""Scans from which the look of a channel can be learned."""
GAIN = 6.0
"""By how much another order must fit better."""
STOP_LEAST = 3
"""Scans with a fault that is told from their greys, and may be wrong, before a study stops."""
_ALL_ORDERS = 5
_STOP_SHARE = 0.10
_MANY = 0.30
_TOLD = 0.90
_COPY = 0.9999
_TOP = 0.01
_SHIFT = 500.0
_FLOOR = 0.02
_UNLIKE = 0.15
_ODD = 60.0
_COVERED = 0.9
_SCALE = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOrder:
    """How well the channels of each scan look like those of the cohort, as they stand and in another order.

    Parameters
    ----------
    names : tuple of str
    rows : int array, shape (m,)
        Scans that were judged.
    order : int array, shape (m, c)
        Which channel of the scan looks like each channel of the cohort, at best.
    gain : float array, shape (m,)
        By how much that order fits better than the one it has; 0 where they are the same.
    misfit : float array, shape (m,)
        By how much even the best order fits worse than 3 deviations above the median of the cohort; 0 at least.
    told : mapping of str to float
        Pair of channels → share of the scans in which it would be seen if they were swapped; a little too high, as
        each scan is one of those that are learned from.

    Notes
    -----
    The figures of a scan (`VolumeSketches`) are compared with medians and median deviations over the cohort: the
    quantiles of each channel, how its small picture correlates with the median picture of each channel of the cohort,
    and of each pair of channels how they differ and correlate. Each figure that lies z deviations off costs
    log(1 + z²), so that one odd figure does not decide. With up to 5 channels all orders are tried; with more, the best
    assignment of channels by their own figures and all swaps of two.
    """

    names: tuple[str, ...]
    rows: NDArray[np.int64]
    order: NDArray[np.int64]
    gain: NDArray[np.float64]
    misfit: NDArray[np.float64]
    told: Mapping[str, float]

    @property
    def swapped(self) -> NDArray[np.bool_]:
        """Scans in which another order fits clearly better, shape (m,)."""
        return np.asarray(self.gain > _needed(self.misfit))

    def kinds(self) -> dict[str, int]:
        """Return how many scans have which channels in the place of others."""
        found: Counter[str] = Counter()
        for order in self.order[self.swapped].tolist():
            found[" / ".join(self.names[k] for k, at in enumerate(order) if at != k)] += 1
        return dict(found)


def find_channel_order(sketches: VolumeSketches) -> ChannelOrder | None:
    """Return which order of channels fits each scan; None with one channel or fewer than 8 scans that can be judged.

    Measured on brain phantoms, every pair of the four channels swapped in one scan after the other. In three sets of 24
    scans that were set aside (48 voxels a side; difficulty 0.5, 0.8, and 0.5 with skulls) 426 of 432 swaps are found,
    the 6 missed being T1w with T1gd, and no scan is called swapped that is not. In the sets on which the limits were
    chosen it is 192 of 192 (64 voxels), 184 of 192 (40 voxels, difficulty 0.9) and 144 of 144 (with skulls); with 8
    scans swapped alike at once 192, 165 and 134. Of two real scans of BraTS, each among 12 crops of the other, 9 of 12
    swaps are found (missed: T1w with T1gd twice, and once with FLAIR) and none besides.
    """
    judged = np.flatnonzero(~sketches.flat.any(axis=1))
    c, n = sketches.count, judged.size
    if c < 2 or n < FEWEST:
        return None
    single = _single_costs(sketches.small[judged], sketches.quantiles[judged])
    relation, middle, spread = _relation_profile(sketches.relations[judged])

    c_apart = ~np.eye(c, dtype=bool)

    def cost(order: Sequence[int], rows: Any = slice(None)) -> NDArray[np.float64]:
        places = list(order)
        alone = sum(single[rows][:, at, k] for k, at in enumerate(places))
        turned = relation[rows][:, places][:, :, places]
        apart = np.log1p(((turned - middle) / spread) ** 2).sum(axis=-1)
        # Each pair stands there twice, once with the sign turned.
        return np.asarray(alone + apart[:, c_apart].sum(axis=1) / 2)

    def one_cost(row: int, order: Sequence[int]) -> float:
        return float(cost(order, [row])[0])

    given = np.arange(c)
    as_is = cost(range(c))
    swaps = {(a, b): _swapped(given, a, b) for a, b in itertools.combinations(range(c), 2)}
    swap_cost = {pair: cost(order) for pair, order in swaps.items()}
    order, least = np.tile(given, (n, 1)), as_is.copy()
    every = itertools.permutations(range(c)) if c <= _ALL_ORDERS else iter(swaps.values())
    for candidate in every:
        there = cost(candidate)
        better = there < least
        order[better], least[better] = candidate, there[better]
    if c > _ALL_ORDERS:
        for row in range(n):
            found, lower = best_order(single[row], partial(one_cost, row))
            if lower < least[row]:
                order[row], least[row] = found, lower
    names = sketches.names()
    middle_cost, deviation = (float(v) for v in _profile(least))
    misfit = np.maximum(least - middle_cost - 3 * deviation, 0.0)
    seen = {pair: there - as_is > _needed(misfit) for pair, there in swap_cost.items()}
    gain = as_is - least
    # Of a scan that is swapped, swapping back is no gain.
    sound = gain <= _needed(misfit)
    told = {f"{names[a]} / {names[b]}": float(share[sound].mean()) for (a, b), share in seen.items() if sound.any()}
    rows = sketches.rows[judged]
    return ChannelOrder(names=names, rows=rows, order=order, gain=gain, misfit=misfit, told=told)


def _needed(misfit: NDArray[np.float64]) -> NDArray[np.float64]:
    # A scan unlike all others, as from another scanner, fits badly in every order.
    return np.asarray(GAIN + _UNLIKE * misfit)


def best_order(single: NDArray[np.float64], cost: Callable[[Sequence[int]], float]) -> tuple[list[int], float]:
    """Return the assignment of rows to columns with the least costs, bettered by swaps of two.

    Parameters
    ----------
    single : float array, shape (c, c)
        Cost of row a in the place of column b.
    cost : callable
        Of a whole order: the row in the place of each column.

    Examples
    --------
    >>> single = np.array([[9.0, 1.0], [1.0, 9.0]])
    >>> best_order(single, lambda order: float(sum(single[a, k] for k, a in enumerate(order))))
    ([1, 0], 2.0)
    """
    rows, columns = linear_sum_assignment(single)
    order = np.asarray(rows)[np.argsort(columns)].tolist()
    least, better = cost(order), True
    while better:
        better = False
        for a, b in itertools.combinations(range(len(order)), 2):
            other = _swapped(order, a, b)
            there = cost(other)
            if there < least - 1e-9:
                order, least, better = other, there, True
    return order, least


def _swapped(order: ArrayLike, a: int, b: int) -> list[int]:
    found: list[int] = np.asarray(order).tolist()
    found[a], found[b] = found[b], found[a]
    return found


def _profile(figures: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = np.median(figures, axis=0)
    return middle, 1.4826 * np.median(np.abs(figures - middle), axis=0)


def _single_costs(small: NDArray[np.float32], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cost of each channel of each scan in the place of each channel of the cohort, shape (n, c, c)."""
    n, c = small.shape[:2]
    flat = small.reshape(n, c, SIDE**3).astype(np.float64)
    template = np.median(flat, axis=0)
    alike = np.einsum("nav,bv->nab", _unit(flat), _unit(template))
    figures = np.concatenate([quantiles, np.arctanh(np.clip(alike, -0.99, 0.99))], axis=2)
    middle, spread = _profile(figures)
    spread = np.maximum(spread, 0.5 * np.median(spread, axis=0)) + _FLOOR
    return np.asarray(np.log1p(((figures[:, :, None] - middle) / spread) ** 2).sum(axis=-1))


def _relation_profile(
    relations: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    middle, spread = _profile(relations)
    return relations, middle, np.maximum(spread, 0.5 * np.median(spread)) + _FLOOR


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12))


# ------------------------------------------------------------------------------------------------------------- findings


def check(context: Context) -> list[Finding]:
    """Return findings on the channels of scans; nothing for a cohort without any.

    * STOP: a channel of one grey in the body; channels swapped in more than 10 % of the scans and in 3 or more; one a
      copy of another in more than 10 %.
    * WARN: channels swapped or copied in some scans; scans with other channels than most; a channel that covers less
      than 0.9 of what another channel of the scan covers; more than 1 % of the body at the brightest grey; a CT shifted
      by 500 or more; negative greys where most scans have none.
    * NOTE: scans unlike all others; greys 50 times as large or small as those of most scans; pairs of channels whose
      swap would be seen in fewer than 9 of 10 scans; too few scans to learn how a channel looks.

    Where the order of channels is wrong in most scans alike, they are the rule and the others are told. Outlines and
    parts play no role in what is found.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    volumes = context.volumes
    if volumes is None or not len(volumes):
        return []
    sketches = context.volume_sketches
    records = [volumes.records[row] for row in sketches.rows.tolist()]
    report = _Told(context, len(volumes))
    return [
        *_kinds(report, sketches),
        *_missing(report, sketches, records),
        *_order(report, sketches),
        *_levels(report, sketches, records),
    ]


@dataclass(frozen=True, slots=True)
class _Told:
    """Counts of scans, over all and by part."""

    context: Context
    n: int

    def by_part(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        if not self.context.parts:
            return {}
        return {"by_part": {name: int(np.isin(part, rows).sum()) for name, part in self.context.parts.items()}}

    def some(self, rows: NDArray[np.int64]) -> str:
        return of(int(rows.size), self.n, "scan")


def _kinds(report: _Told, sketches: VolumeSketches) -> list[Finding]:
    others = np.setdiff1d(np.arange(report.n), sketches.rows)
    if not others.size:
        return []
    message = f"{report.some(others)} {_has(others)} other channels than most: {', '.join(sketches.names())}."
    advice = "Name the channels that all scans have, or leave these scans out."
    return [_SAY.warn("volumes", message, advice, scans=others.size, n=report.n, **report.by_part(others))]


def _missing(report: _Told, sketches: VolumeSketches, records: Sequence[Any]) -> list[Finding]:
    out = []
    names = sketches.names()
    empty = sketches.rows[sketches.flat.any(axis=1)]
    if empty.size:
        by = {name: int(count) for name, count in zip(names, sketches.flat.sum(axis=0), strict=True) if count}
        message = f"{report.some(empty)} {_has(empty)} a channel of one grey."
        advice = "Find the sequence that is missing, or leave these scans out: they cannot be scaled."
        out.append(
            _SAY.stop("volumes", message, advice, scans=empty.size, n=report.n, channels=by, **report.by_part(empty))
        )
    upper = np.triu(np.ones((sketches.count, sketches.count), dtype=bool), 1)
    twin = (sketches.correlation > _COPY) & upper & ~(sketches.flat[:, :, None] | sketches.flat[:, None, :])
    copied = sketches.rows[twin.any(axis=(1, 2))]
    if copied.size:
        at = np.argwhere(twin.any(axis=0)).tolist()
        pairs = {f"{names[a]} / {names[b]}": int(twin[:, a, b].sum()) for a, b in at}
        message = f"In {report.some(copied)} a channel is a copy of another one."
        say = _SAY.stop if copied.size > _STOP_SHARE * report.n else _SAY.warn
        out.append(
            say("volumes", message, "Find the sequence that is missing, or leave these scans out.", scans=copied.size,
                n=report.n, channels=pairs, limit=_COPY, **report.by_part(copied))
        )  # fmt: skip
    if sketches.count > 1:
        zero = np.array([[grey["zero_share"] for grey in record.greys] for record in records])
        zero = zero if zero.size else np.zeros((0, sketches.count))
        covered = (1 - zero) / np.maximum((1 - zero).max(axis=1, keepdims=True), 1e-12)
        part = sketches.rows[(covered < _COVERED).any(axis=1)]
        if part.size:
            message = f"In {report.some(part)} a channel covers less than {100 * _COVERED:.0f} % of what another does."
            advice = "Look for scans that were cut short or registered badly."
            by = {name: int(k) for name, k in zip(names, (covered < _COVERED).sum(axis=0), strict=True) if k}
            out.append(_SAY.warn("volumes", message, advice, scans=part.size, n=report.n, channels=by,
                                 lowest=float(covered.min()), **report.by_part(part)))  # fmt: skip
    return out


def _order(report: _Told, sketches: VolumeSketches) -> list[Finding]:
    found = find_channel_order(sketches)
    if found is None:
        if sketches.count < 2:
            return []
        message = f"{plural(int(sketches.rows.size), 'scan')} are too few to learn how each channel looks, so that "
        message += "swapped channels cannot be found."
        return [_SAY.note("volumes", message, "Look at some of them.", scans=sketches.rows.size, least=FEWEST)]
    out = []
    swapped = found.rows[found.swapped]
    if swapped.size:
        message = f"{report.some(swapped)} {'seems' if swapped.size == 1 else 'seem'} to have channels swapped: "
        message += "their greys fit another order better."
        advice = "Check the order of the files, and correct it."
        if swapped.size > _MANY * report.n:
            advice = "Check the order of the files: no order holds in most of the scans."
        say = _SAY.stop if swapped.size > max(_STOP_SHARE * report.n, STOP_LEAST - 1) else _SAY.warn
        out.append(
            say("volumes", message, advice, scans=swapped.size, n=report.n, channels=found.kinds(),
                least_gain=float(found.gain[found.swapped].min()), limit=GAIN, **report.by_part(swapped))
        )  # fmt: skip
    odd = found.rows[(found.misfit > _ODD) & ~found.swapped]
    if odd.size:
        message = f"{report.some(odd)} {'looks' if odd.size == 1 else 'look'} unlike the others in every order "
        message += "of their channels."
        advice = "Look at them: another scanner, another sequence, or another preparation."
        out.append(_SAY.note("volumes", message, advice, scans=odd.size, n=report.n, misfit=float(found.misfit.max()),
                             limit=_ODD, **report.by_part(odd)))  # fmt: skip
    unsure = {pair: share for pair, share in found.told.items() if share < _TOLD}
    if unsure:
        message = f"A swap of {', '.join(unsure)} would not be seen in every scan."
        advice = "Check the order of these files by hand."
        out.append(_SAY.note("volumes", message, advice, seen=unsure, n=int(found.rows.size)))
    return out


def _levels(report: _Told, sketches: VolumeSketches, records: Sequence[Any]) -> list[Finding]:
    out = []
    names = sketches.names()
    bright = (sketches.top > _TOP) & ~sketches.flat
    cut = sketches.rows[bright.any(axis=1)]
    if cut.size:
        message = f"In {report.some(cut)} more than {100 * _TOP:.0f} % of the body has the brightest grey of a channel."
        advice = "Check how they were exported: bright tissue may be cut off."
        by = {name: int(k) for name, k in zip(names, bright.sum(axis=0), strict=True) if k}
        out.append(_SAY.warn("volumes", message, advice, scans=cut.size, n=report.n, channels=by,
                             largest=float(sketches.top.max()), **report.by_part(cut)))  # fmt: skip
    if len(records) < 2:
        return out
    grey = {key: np.array([[one[key] for one in record.greys] for record in records]) for key in ("p005", "p50", "sd")}
    tomography = np.array([record.modality == "CT" for record in records])
    if tomography.sum() > 1:
        some = {key: values[tomography] for key, values in grey.items()}
        shift = [np.abs(some[key] - np.median(some[key], axis=0)) for key in ("p005", "p50")]
        off = sketches.rows[tomography][(np.minimum(*shift) > _SHIFT).any(axis=1)]
        if off.size:
            message = f"The greys of {of(int(off.size), int(tomography.sum()), 'CT')} are shifted by {_SHIFT:.0f} or "
            message += "more against the others."
            advice = "Bring them to Hounsfield units: slope and intercept may not have been applied."
            out.append(_SAY.warn("volumes", message, advice, scans=off.size, n=int(tomography.sum()),
                                 largest=float(np.minimum(*shift).max()), **report.by_part(off)))  # fmt: skip
    rest = ~tomography
    below = (grey["p005"] < 0).any(axis=1) & rest
    if below.any() and below.sum() < _MANY * rest.sum():
        rows = sketches.rows[below]
        message = f"{report.some(rows)} {_has(rows)} negative greys, where most have none."
        advice = "Use the scans as they were before scaling: 0 then is the air, and no tissue."
        out.append(_SAY.warn("volumes", message, advice, scans=rows.size, n=report.n, **report.by_part(rows)))
    usual = np.median(grey["sd"][rest], axis=0) if rest.any() else np.ones(sketches.count)
    factor = np.where(usual > 0, grey["sd"] / np.where(usual > 0, usual, 1.0), 1.0)
    odd = ((factor > _SCALE) | (factor < 1 / _SCALE)).any(axis=1) & rest & ~below
    if odd.any():
        rows = sketches.rows[odd]
        message = f"The greys of {report.some(rows)} are {_SCALE:.0f} times as large or small as those of most."
        advice = "Each scan is scaled by itself, so that this does no harm; find out why."
        out.append(_SAY.note("volumes", message, advice, scans=rows.size, n=report.n, **report.by_part(rows)))
    return out


def _has(rows: NDArray[np.int64]) -> str:
    return "has" if rows.size == 1 else "have"
