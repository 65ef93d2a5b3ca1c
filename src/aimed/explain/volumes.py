"""Which contrast a segmenter of volumes needs: outlines drawn again without one channel, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.core.evaluation import Measure
from aimed.core.volume import Volume
from aimed.explain.draws import sample_rows
from aimed.explain.localisation import FEWEST, mean_by_patient, span
from aimed.metrics.arrays import patient_codes
from aimed.metrics.evaluate_multilabel import finding_keys
from aimed.metrics.result import Estimate

__all__ = ["FILLS", "Cases", "Outline", "contrast_importance", "hidden_channel", "with_channel_of"]

Outline: TypeAlias = Callable[[Volume], NDArray[np.bool_]]
"""``outline(scan)``: the regions of a scan, shape (k, z, y, x), on the grid of the reference masks."""

FILLS: Mapping[str, str] = {
    "mean": "set to its mean inside the head",
    "other": "taken from another patient",
}
"""What stands in for a contrast that is left out."""

_LITTLE = 0.02
"""A fall of Dice that is not worth a word."""

_RULE = (
    f"Needed: the interval of the fall of Dice lies above {_LITTLE:g}. Hardly used: it lies below. Otherwise, or with "
    f"fewer than {FEWEST} patients, there is not enough evidence."
)

_MEANS = (
    "A contrast is left out of a scan and the outlines are drawn again by the same network. Set to its mean, the "
    "contrast says nothing any more; the network never learned from such scans and may do worse than one trained "
    "without it. Taken from another patient, and stretched to this head, it looks as it should and speaks of another "
    "brain. Contrasts that say the same stand in for each other, so that each may look dispensable."
)

_METHOD = "mean over cases of Dice with all contrasts less Dice without one; interval over patients (t)"


class Cases(Protocol):
    """Scans with their masks, such as `aimed.readers.volume_set.VolumeSet`."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def scan(self, row: int, /) -> Volume:
        """Return a scan, shape (c, z, y, x)."""
        ...

    def mask(self, row: int, /) -> NDArray[Any]:
        """Return its map of labels, on the grid of the outlines."""
        ...


@contextmanager
def hidden_channel(networks: Sequence[Any], channel: int, value: float = 0.0) -> Iterator[None]:
    """Let networks see one value where a channel would be.

    Parameters
    ----------
    networks : sequence of torch modules
        That take volumes of shape (b, c, z, y, x), scaled.
    channel : int
    value : float
        0 is the mean of a channel that was centred, and what lies outside of the head.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Identity()
    >>> with hidden_channel([network], 1):
    ...     network(torch.ones(1, 2, 1, 1, 1)).ravel().tolist()
    [1.0, 0.0]
    """

    def hide(part: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        windows = given[0].clone()
        windows[:, channel] = value
        return (windows, *given[1:])

    hooks = [network.register_forward_pre_hook(hide) for network in networks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def with_channel_of(scan: Volume, other: Volume, channel: int) -> Volume:
    """Return a scan with one channel of another scan, stretched from head to head.

    Parameters
    ----------
    scan, other : Volume
        Of as many channels; the other one may have another grid.
    channel : int

    Notes
    -----
    The box of all voxels that are not 0 stands for the head. Inside of this head, where the other has nothing, stands
    the mean of the other; outside of it stands 0. Spacing, steps and the way back are those of `scan`.

    Raises
    ------
    DataError
        If the scans differ in channels, or the other has none of this one.

    Examples
    --------
    >>> scan = Volume(array=np.ones((2, 4, 4, 4)), affine=np.eye(4))
    >>> other = Volume(array=np.full((2, 6, 6, 6), 5.0), affine=np.eye(4))
    >>> np.unique(with_channel_of(scan, other, 1).array[1]).tolist()
    [5.0]
    """
    from scipy.ndimage import affine_transform

    if scan.array.ndim != 4 or other.array.ndim != 4 or scan.n_channels != other.n_channels:
        raise DataError(f"scans of {scan.n_channels} and {other.n_channels} channels", "the same channels")
    turned = other.reoriented(scan.orientation)
    values = np.array(scan.array, dtype=np.float32)
    inside = values[channel] != 0
    to, start = (_box(volume) for volume in (scan, turned))
    head = np.asarray(turned.array[channel][start], dtype=np.float32)
    greys = head[head != 0]
    if not greys.size:
        raise DataError(f"a scan whose channel {channel + 1} is empty", "voxels in every channel")
    shape = tuple(part.stop - part.start for part in to)
    ratio = np.array(head.shape) / np.array(shape)
    moved = affine_transform(
        head, ratio, 0.5 * ratio - 0.5, output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    moved[moved == 0] = greys.mean(dtype=np.float64)
    values[channel] = 0.0
    values[channel][to] = moved
    values[channel][~inside] = 0.0
    return replace(scan, array=values)


def _box(volume: Volume) -> tuple[slice, slice, slice]:
    (z, y, x), (top, bottom, right) = volume.foreground()
    return slice(z, top), slice(y, bottom), slice(x, right)


_Known: TypeAlias = tuple[Estimate, int]
"""An estimate and the patients behind it."""


def _of(dice: NDArray[np.float64], region: int | None) -> NDArray[np.float64]:
    """Return Dice of a region, or the mean over the regions that a case has."""
    if region is not None:
        return np.asarray(dice[:, region], dtype=np.float64)
    told = np.isfinite(dice)
    held = told.sum(axis=1)
    return np.where(held > 0, np.where(told, dice, 0.0).sum(axis=1) / np.maximum(held, 1), np.nan)


def _mean(values: NDArray[np.float64], codes: NDArray[np.int64], level: float, name: str) -> _Known | None:
    told = np.isfinite(values)
    if not told.any():
        return None
    return mean_by_patient(values[told], codes[told], level=level, name=name), np.unique(codes[told]).size


def contrast_importance(
    outline: Outline,
    cases: Cases,
    *,
    regions: Mapping[str, int | Sequence[int]],
    channels: Sequence[str] | None = None,
    networks: Sequence[Any] = (),
    fill: float | Sequence[float] = 0.0,
    patient: ArrayLike | None = None,
    max_cases: int = 24,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Leave each contrast out and say by how much Dice falls, region by region.

    Parameters
    ----------
    outline : callable
        See `Outline`: the model as it is used, with all that comes before and after its networks.
    cases : Cases
    regions : mapping of str to int or ints
        Name → labels whose union is the region, in the order of the outlines.
    channels : sequence of str, optional
        Names of the contrasts; those of the first scan when absent.
    networks : sequence of torch modules
        All that `outline` runs; needed for setting a contrast to its mean, which is done where they see it: behind the
        scaling, which refuses a contrast of one grey. Without them only channels of other patients are put in.
    fill : float or sequence of float
        The mean inside the head as networks see it; 0 for channels that were centred. Of a window of CT it is not 0.
    patient : array, shape (n,), optional
        Each case its own patient when absent.
    max_cases : int
        A sample of whole patients is taken when there are more. Each case is outlined 1 + 2 c times.
    level : float
    seed : int
        Of the sample.
    progress : callable, optional
        Hears the share done and what is done now.

    Returns
    -------
    dict
        ``kind`` is ``"contrasts"``. ``dice``: by region, and ``"mean"`` of the regions, a measure of Dice with all
        contrasts. ``channels``: a record each, the most needed first, with ``channel``, ``place`` (from 1), ``falls``
        (fill → region → measure, None where no reference has the region), ``states`` (region → "needed", "hardly used"
        or "not enough evidence"), ``state`` (of the mean) and a ``sentence``. Then ``fills``, ``judged_by``,
        ``sentence``, ``rule``, ``note``, ``method``, ``regions`` (key → name), ``n``, ``patients``, ``level``,
        ``sampled`` and ``outlined``, the number of scans that were outlined. With one contrast nothing can be left out
        and ``channels`` is empty.

    Raises
    ------
    DataError
        If there are no cases, or names, scans and outlines do not fit together.

    Notes
    -----
    Cases whose reference does not have a region are left out of its Dice. The partner of a case is the next one, in
    the order of the cases, of another patient.

    Examples
    --------
    >>> class Two:
    ...     def __len__(self): return 6
    ...     def scan(self, row):
    ...         rng = np.random.default_rng(row)
    ...         return Volume(array=rng.uniform(1, 2, (2, 6, 6, 6)), affine=np.eye(4), channels=("A", "B"))
    ...     def mask(self, row): return (self.scan(row).array[0] > 1.5).astype(np.uint8)
    >>> found = contrast_importance(lambda scan: scan.array[:1] > 1.5, Two(), regions={"blob": 1})
    >>> [(one["channel"], one["state"]) for one in found["channels"]]
    [('A', 'needed'), ('B', 'hardly used')]
    """
    n, k = len(cases), len(regions)
    if n == 0 or k == 0:
        raise DataError(f"{n} cases and {k} regions", "at least one of both")
    told = [tuple(int(v) for v in np.atleast_1d(np.asarray(labels))) for labels in regions.values()]
    codes = patient_codes(patient, n)
    rows = sample_rows(codes, max(1, int(max_cases)), [seed, 19])
    names = _channels(cases.scan(int(rows[0])), channels)
    fills = _fills(names, networks, codes)
    filled = np.broadcast_to(np.asarray(fill, dtype=np.float64), (len(names),)) if names else np.zeros(0)
    many = len(names) > 1
    whole = np.full((rows.size, k), np.nan)
    without = {(way, c): whole.copy() for way in fills for c in range(len(names))}
    total, done = rows.size * (1 + len(without) * many), 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done / total, f"contrasts: outline {done} of {total}")

    for at, row in enumerate(rows.tolist()):
        scan, mask = cases.scan(row), np.asarray(cases.mask(row))
        if scan.n_channels != len(names):
            raise DataError(f"a scan of {scan.n_channels} channels", f"{len(names)}, as the first")
        truth = [np.isin(mask, labels) for labels in told]
        whole[at] = _dice(outline(scan), truth)
        tell()
        for way, c in without if many else ():
            if way == "mean":
                with hidden_channel(networks, c, float(filled[c])):
                    found = outline(scan)
            else:
                found = outline(with_channel_of(scan, cases.scan(_partner(row, codes)), c))
            without[way, c][at] = _dice(found, truth)
            tell()
    some = codes[rows]
    keys = finding_keys(tuple(regions))
    shown = dict(zip(keys, regions, strict=True))
    dice = {key: _mean(_of(whole, j), some, level, "dice") for key, j in _scopes(keys)}
    found_channels = []
    for c, name in enumerate(names) if many else ():
        falls = {
            way: {key: _mean(_of(whole, j) - _of(without[way, c], j), some, level, "fall") for key, j in _scopes(keys)}
            for way in fills
        }
        found_channels.append(_channel(name, c, falls, fills[0], shown))
    found_channels.sort(key=_first)
    units = np.unique(some).size
    return {
        "kind": "contrasts",
        "fills": {way: FILLS[way] for way in fills},
        "judged_by": fills[0] if fills else None,
        "regions": shown,
        "dice": _measures(dice),
        "channels": found_channels,
        "sentence": _sentence(found_channels, names, fills),
        "rule": _RULE,
        "note": _MEANS,
        "method": _METHOD,
        "n": int(rows.size),
        "patients": int(units),
        "level": level,
        "sampled": f"all {n} cases" if rows.size == n else f"{rows.size} of {n} cases, whole patients where they fit",
        "outlined": done,
    }


def _channels(scan: Volume, given: Sequence[str] | None) -> list[str]:
    if scan.array.ndim != 4:
        raise DataError(f"a scan of shape {scan.shape}", "(c, z, y, x)")
    names = list(given or scan.channels) or [f"channel {c + 1}" for c in range(scan.n_channels)]
    if len(names) != scan.n_channels:
        raise DataError(f"{len(names)} names for {scan.n_channels} channels", "one name a channel")
    return names


def _fills(names: Sequence[str], networks: Sequence[Any], codes: NDArray[np.int64]) -> list[str]:
    """Return what can stand in for a contrast, the one that decides first."""
    if len(names) < 2:
        return []
    found = [way for way, able in (("mean", len(networks) > 0), ("other", np.unique(codes).size > 1)) if able]
    if not found:
        raise DataError("one patient and no networks", "something that can stand in for a contrast")
    return found


def _partner(row: int, codes: NDArray[np.int64]) -> int:
    others = np.flatnonzero(codes != codes[row])
    return int(others[int(np.searchsorted(others, row)) % others.size])


def _scopes(keys: Sequence[str]) -> list[tuple[str, int | None]]:
    return [*((key, j) for j, key in enumerate(keys)), ("mean", None)]


def _dice(outlines: NDArray[np.bool_], truth: Sequence[NDArray[np.bool_]]) -> list[float]:
    """Return Dice of each region; NaN where the reference does not have it."""
    found = np.asarray(outlines)
    if found.shape != (len(truth), *truth[0].shape):
        raise DataError(
            f"outlines of shape {found.shape}", f"({len(truth)}, ...) on the grid of the masks, {truth[0].shape}"
        )
    values = []
    for mine, true in zip(found.astype(bool), truth, strict=True):
        size = int(true.sum())
        values.append(2.0 * int((mine & true).sum()) / (size + int(mine.sum())) if size else math.nan)
    return values


def _channel(
    name: str, place: int, falls: Mapping[str, Mapping[str, _Known | None]], first: str, shown: Mapping[str, str]
) -> dict[str, Any]:
    states = {key: _state(one) for key, one in falls[first].items()}
    mean = falls[first]["mean"]
    parts = [
        f"{shown[key]} {span(one[0])}"
        for key, one in falls[first].items()
        if key != "mean" and one is not None and states[key] == "needed"
    ]
    said = "no case has a region" if mean is None else f"mean Dice falls by {span(mean[0])}"
    text = f"{name}, {FILLS[first]}: {said}"
    if parts:
        text += f"; needed for {'; '.join(parts)}"
    return {
        "channel": name,
        "place": place + 1,
        "falls": {way: _measures(some) for way, some in falls.items()},
        "states": states,
        "state": states["mean"],
        "sentence": f"{text}.",
    }


def _state(one: _Known | None) -> str:
    if one is None or one[1] < FEWEST:
        return "not enough evidence"
    fall = one[0]
    # Without any spread all patients say the same.
    lower, upper = (fall.lower, fall.upper) if math.isfinite(fall.lower) else (float(fall), float(fall))
    return "needed" if lower > _LITTLE else "hardly used" if upper < _LITTLE else "not enough evidence"


def _first(one: Mapping[str, Any]) -> float:
    fall = next(iter(one["falls"].values()))["mean"]["value"]
    return math.inf if fall is None else -float(fall)


def _measures(some: Mapping[str, _Known | None]) -> dict[str, Any]:
    return {
        key: (Measure(name=key, value=None, note="no reference has it") if one is None else one[0].measure()).to_dict()
        for key, one in some.items()
    }


def _sentence(found: Sequence[Mapping[str, Any]], names: Sequence[str], fills: Sequence[str]) -> str:
    if not found:
        return f"There is one contrast ({names[0]}): nothing can be left out."
    needed = [one["channel"] for one in found if one["state"] == "needed"]
    spare = [one["channel"] for one in found if one["state"] == "hardly used"]
    unsure = [one["channel"] for one in found if one["state"] == "not enough evidence"]
    parts = []
    if needed:
        fall = found[0]["falls"][fills[0]]["mean"]
        parts.append(
            f"The model needs {_listed(needed)}: without {needed[0]}, mean Dice falls by {fall['value']:.2f} "
            f"({100 * fall['level']:g} % interval {fall['lower']:.2f} to {fall['upper']:.2f})"
            if fall["lower"] is not None
            else f"The model needs {_listed(needed)}"
        )
    if spare:
        parts.append(f"{'it' if needed else 'The model'} hardly uses {_listed(spare)}")
    if unsure:
        parts.append(f"{'t' if parts else 'T'}here is not enough evidence on {_listed(unsure)}")
    return "; ".join(parts) + "."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
