"""How much outlines lose when scans get worse: in noise, blur, motion, thick slices, turned heads, lost contrasts."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from aimed.core import DataError
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume
from aimed.metrics import adjust_p_values
from aimed.metrics.arrays import labels as text_labels
from aimed.metrics.arrays import patient_codes
from aimed.metrics.case_mean import LEAST_PATIENTS, case_mean
from aimed.metrics.result import Estimate, checked_level, clustered, two_sided_p
from aimed.trust.picture_robustness import rows_of_patients
from aimed.trust.words import number, plural

__all__ = ["Case", "Outline", "VolumeChange", "damaged", "robustness", "volume_changes"]

Outline: TypeAlias = Callable[[Volume], NDArray[np.bool_]]
"""From a scan to the outlines of its regions on its grid, shape (k, z, y, x)."""

Case: TypeAlias = Callable[[], tuple[Volume, NDArray[np.bool_]]]
"""Reads a scan and the reference of its regions, shape (k, z, y, x), on the grid that the scan was read on."""

_Grey: TypeAlias = NDArray[np.float32]
_WITH_PLACE = ("mirror", "turn")


_Work: TypeAlias = Callable[[_Grey, float, Volume, np.random.Generator], _Grey]
"""From one contrast, the amount and the scan to the contrast after a change."""


@dataclass(frozen=True, slots=True)
class VolumeChange:
    """One way in which a scan gets worse, at one strength.

    Parameters
    ----------
    kind : str
        A name of the table in `damaged`.
    amount : float
        In the unit of the kind; for ``missing`` and ``swapped`` the number of the contrast, from 0.
    channels : tuple of str
        Names of the contrasts, where they are needed for the words.

    Examples
    --------
    >>> VolumeChange("blur", 2.0).label, VolumeChange("missing", 1, ("FLAIR", "T1w")).label
    ('Gaussian blur, SD 2 mm', 'Without T1w (set to 0)')
    """

    kind: str
    amount: float
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DataError(f"no change called '{self.kind}'", f"one of: {', '.join(_KINDS)}")
        _, _, (low, high) = _KINDS[self.kind]
        if not low <= self.amount <= high:
            raise DataError(f"{self.kind} of {self.amount:g}", f"from {low:g} to {high:g}")

    @property
    def key(self) -> str:
        """Kind and amount in one word."""
        return f"{self.kind}_{self.amount:g}"

    @property
    def label(self) -> str:
        """What is done, in words with units."""
        words, shown, _ = _KINDS[self.kind]
        if self.kind == "missing":
            return words.format(self._name(0))
        if self.kind == "swapped":
            return words.format(self._name(0), self._name(1))
        return words.format(self.amount * shown)

    def _name(self, step: int) -> str:
        place = int(self.amount) + step
        names = self.channels
        return names[place % len(names)] if names else f"contrast {place + 1}"


def _rician(x: _Grey, share: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    seen = x[x != 0]
    sd = np.float32(share * float(np.abs(seen).mean(dtype=np.float64))) if seen.size else np.float32(0)
    real = x + sd * rng.standard_normal(x.shape, dtype=np.float32)
    if scan.modality == "CT" or (x < 0).any():
        return np.asarray(real, dtype=np.float32)
    return np.asarray(np.hypot(real, sd * rng.standard_normal(x.shape, dtype=np.float32)), dtype=np.float32)


def _biased(x: _Grey, share: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    # A smooth field: slow waves along each axis, scaled so that its extremes are the share.
    field = np.zeros(x.shape, dtype=np.float32)
    for axis, size in enumerate(x.shape):
        at = np.linspace(0.0, 1.0, size, dtype=np.float32)
        wave = np.cos(np.float32(math.pi) * (at * np.float32(rng.uniform(0.5, 1.5)) + np.float32(rng.uniform(0, 2))))
        field += wave.reshape([-1 if a == axis else 1 for a in range(3)])
    low, high = float(field.min()), float(field.max())
    if high > low:
        field = (field - np.float32((low + high) / 2)) * np.float32(2 * share / (high - low))
    return np.asarray(x * (1 + field), dtype=np.float32)


def _blurred(x: _Grey, mm: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    return np.asarray(ndimage.gaussian_filter(x, [mm / side for side in scan.spacing], mode="nearest", truncate=3.0))


def _thick(x: _Grey, factor: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    step = round(factor)
    count = -(-x.shape[0] // step)
    wide = np.pad(x, ((0, count * step - x.shape[0]), (0, 0), (0, 0)), mode="edge")
    slabs = wide.reshape(count, step, *x.shape[1:]).mean(axis=1)
    at = np.clip((np.arange(x.shape[0]) - (step - 1) / 2) / step, 0, count - 1)
    low = np.floor(at).astype(np.int64)
    high, part = np.minimum(low + 1, count - 1), (at - low).astype(np.float32)[:, None, None]
    return np.asarray(slabs[low] * (1 - part) + slabs[high] * part, dtype=np.float32)


def _gamma(x: _Grey, exponent: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    low, top = float(x.min()), float(x.max())
    if top <= low:
        return x
    start = min(low, 0.0)
    unit = (x - np.float32(start)) / np.float32(top - start)
    return np.asarray(np.power(unit, np.float32(exponent)) * np.float32(top - start) + np.float32(start))


def _ghosts(x: _Grey, share: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    # Every other line of the phase direction is weakened, as when the head moved between them: a copy half a field off.
    lines = np.fft.fft(x, axis=1)
    lines[:, 1::2] *= 1.0 - share
    return np.asarray(np.abs(np.fft.ifft(lines, axis=1)), dtype=np.float32)


def _mirrored(x: _Grey, amount: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    return np.ascontiguousarray(x[:, :, ::-1])


def _turned(x: _Grey, degrees: float, scan: Volume, rng: np.random.Generator) -> _Grey:
    angle = math.radians(degrees) * (1 if rng.random() < 0.5 else -1)
    _, dy, dx = scan.spacing
    c, s = math.cos(angle), math.sin(angle)
    height, width = x.shape[1:]
    # In mm about the middle of the slices; all slices turn alike, so that places are found once.
    down, right = np.meshgrid(
        (np.arange(height) - (height - 1) / 2) * dy, (np.arange(width) - (width - 1) / 2) * dx, indexing="ij"
    )
    at_y, at_x = (c * down + s * right) / dy + (height - 1) / 2, (c * right - s * down) / dx + (width - 1) / 2
    edge = 1e-6
    inside = (at_y >= -edge) & (at_y <= height - 1 + edge) & (at_x >= -edge) & (at_x <= width - 1 + edge)
    at_y, at_x = np.clip(at_y, 0, height - 1), np.clip(at_x, 0, width - 1)
    top = np.minimum(at_y.astype(np.int64), max(height - 2, 0))
    left = np.minimum(at_x.astype(np.int64), max(width - 2, 0))
    corners = []
    for step_y, share_y in ((0, 1 - (at_y - top)), (1, at_y - top)):
        for step_x, share_x in ((0, 1 - (at_x - left)), (1, at_x - left)):
            place = np.minimum(top + step_y, height - 1) * width + np.minimum(left + step_x, width - 1)
            corners.append((place, np.where(inside, share_y * share_x, 0.0).astype(np.float32)))
    out = np.zeros_like(x)
    for slice_in, slice_out in zip(x, out, strict=True):
        if slice_in.any():
            for place, weight in corners:
                slice_out += np.take(slice_in, place) * weight
    return out


_WORK: dict[str, _Work] = {
    "noise": _rician,
    "bias": _biased,
    "blur": _blurred,
    "slices": _thick,
    "gamma": _gamma,
    "ghost": _ghosts,
    "mirror": _mirrored,
    "turn": _turned,
}

_KINDS: dict[str, tuple[str, float, tuple[float, float]]] = {
    "noise": ("Rician noise, SD {:g} % of the mean grey", 100, (0, 2)),
    "bias": ("Bias field, up to {:g} % darker and brighter", 100, (0, 0.95)),
    "blur": ("Gaussian blur, SD {:g} mm", 1, (0, 50)),
    "slices": ("Slices {:g} times as thick", 1, (1, 20)),
    "gamma": ("Gamma {:g}", 1, (0.1, 10)),
    "ghost": ("Ghosts as of motion, every other line {:g} % weaker", 100, (0, 1)),
    "mirror": ("Left and right exchanged", 1, (1, 1)),
    "turn": ("Head turned by {:g} degrees, left or right", 1, (0, 90)),
    "missing": ("Without {} (set to 0)", 1, (0, 63)),
    "swapped": ("{} and {} exchanged", 1, (0, 63)),
}
"""Kind → words, by what the amount is multiplied in them, and its limits."""

_AMOUNTS: dict[str, tuple[float, ...]] = {
    "noise": (0.05, 0.1, 0.2),
    "bias": (0.2, 0.4),
    "blur": (1.0, 2.0),
    "slices": (2, 4),
    "gamma": (0.7, 1.5),
    "ghost": (0.2, 0.5),
    "mirror": (1,),
    "turn": (10, 20),
}


def volume_changes(channels: Sequence[str], *, short: bool = False) -> tuple[VolumeChange, ...]:
    """Return the changes that are tried when none are named, each kind from weak to strong.

    Parameters
    ----------
    channels : sequence of str
        The contrasts of a scan; each is taken away, and each exchanged with the next.
    short : bool
        The strongest of each kind alone, and one exchange: for machines and studies with little time.

    Examples
    --------
    >>> [change.key for change in volume_changes(("FLAIR", "T1w"), short=True)][-4:]
    ['turn_20', 'missing_0', 'missing_1', 'swapped_0']
    """
    names = tuple(str(name) for name in channels)
    found = [
        VolumeChange(kind, amount)
        for kind, amounts in _AMOUNTS.items()
        for amount in (amounts[-1:] if short else amounts)
    ]
    if len(names) > 1:
        found += [VolumeChange("missing", place, names) for place in range(len(names))]
        found += [VolumeChange("swapped", place, names) for place in range(1 if short else len(names) - 1)]
    return tuple(found)


def damaged(
    scan: Volume, reference: NDArray[np.bool_], change: VolumeChange, *, case: int = 0, seed: int = 0
) -> tuple[Volume, NDArray[np.bool_]]:
    """Return a scan after a change, and the reference as it lies then.

    ======= ======================== =================================================================
    kind    amount                   what it does, each contrast by itself
    ======= ======================== =================================================================
    noise   SD, share of mean grey   Rician, as in magnitude pictures; Gaussian where greys are negative
    bias    share                    multiplies by a smooth field from 1 - share to 1 + share
    blur    SD in mm                 Gaussian
    slices  factor                   averages over so many slices (head to feet) and puts the old number back, linear
    gamma   exponent                 below 1 lightens, above 1 darkens the middle greys
    ghost   share                    weakens every other line of the phase direction (front to back)
    mirror  1                        exchanges left and right; the reference too
    turn    degrees                  about the axis from feet to head; the reference too
    missing number of the contrast   sets it to 0
    swapped number of the contrast   exchanges it with the next
    ======= ======================== =================================================================

    Parameters
    ----------
    scan : Volume
        Axes along left to right, back to front, feet to head ("RAS").
    reference : bool array, shape (k, z, y, x)
        On the grid of the scan.
    change : VolumeChange
    case : int
        Number of the scan: what is random is drawn from this, the change and the seed.
    seed : int

    Returns
    -------
    (Volume, bool array)
        The scan as float32, without a way back.

    Raises
    ------
    DataError
        If the grids differ, or there is no such contrast.

    Notes
    -----
    Where much of a scan is exactly 0 (a fifth or more), as after the skull was taken away, 0 means nothing and stays 0.

    Examples
    --------
    >>> scan = Volume(array=np.arange(1.0, 9).reshape(2, 2, 2), affine=np.eye(4))
    >>> other, _ = damaged(scan, np.zeros((1, 2, 2, 2), dtype=bool), VolumeChange("mirror", 1))
    >>> other.array[0].tolist()
    [[2.0, 1.0], [4.0, 3.0]]
    """
    truth = np.asarray(reference, dtype=bool)
    if truth.ndim != 4 or truth.shape[1:] != scan.array.shape[-3:]:
        raise DataError(f"a scan of shape {scan.shape} and a reference of {truth.shape}", "one grid")
    if scan.orientation != "RAS":
        raise DataError(f"a scan along {scan.orientation}", "along RAS", "reorient it first")
    flat = scan.array.ndim == 3
    greys = np.array(scan.array[None] if flat else scan.array, dtype=np.float32)
    if change.kind in ("missing", "swapped"):
        first = int(change.amount)
        second = (first + 1) % len(greys) if change.kind == "swapped" else first
        if first >= len(greys) or (change.kind == "swapped" and second == first):
            raise DataError(f"no contrast {first + 1} to take away or exchange among {len(greys)}", "one that is there")
        if change.kind == "missing":
            greys[first] = 0
        else:
            greys[[first, second]] = greys[[second, first]]
    else:
        work, name = _WORK[change.kind], zlib.crc32(change.key.encode())
        for channel in range(len(greys)):
            x = greys[channel]
            empty = x == 0
            # The head turns as one: all contrasts draw the same.
            part = 0 if change.kind in _WITH_PLACE else channel
            found = work(x, change.amount, scan, np.random.default_rng((seed, name, case, part)))
            if change.kind not in _WITH_PLACE and empty.mean() >= 0.2:
                found = np.where(empty, np.float32(0), found)
            greys[channel] = found
        if change.kind in _WITH_PLACE:
            truth = np.stack(
                [
                    work(m.astype(np.float32), change.amount, scan, np.random.default_rng((seed, name, case, 0))) >= 0.5
                    for m in truth
                ]
            )
    moved = Volume(
        array=greys[0] if flat else greys,
        affine=scan.affine,
        modality=scan.modality,
        channels=scan.channels,
        notes=scan.notes,
    )
    return moved, truth


def _as_read(scan: Volume, reference: NDArray[np.bool_]) -> tuple[Volume, NDArray[np.bool_]]:
    """Return a scan on the whole grid it was read on, along RAS and without a way back, and its reference."""
    whole = scan.back_to(scan.origin, how="nearest") if scan.steps else scan
    shape = whole.array.shape[-3:]
    truth = np.asarray(reference)
    if truth.ndim != 4 or truth.shape[1:] != shape:
        raise DataError(
            f"a reference of shape {truth.shape}", f"(k, {', '.join(map(str, shape))}), the scan's own grid"
        )
    turned = whole.reoriented("RAS")
    mask = Volume(array=truth.astype(np.uint8), affine=whole.affine, labels=True).reoriented("RAS")
    return (
        Volume(
            array=turned.array, affine=turned.affine, modality=scan.modality, channels=scan.channels, notes=scan.notes
        ),
        mask.array.astype(bool),
    )


def robustness(
    outline: Outline,
    cases: Sequence[Case],
    *,
    keys: Sequence[str],
    patient: ArrayLike | None = None,
    changes: Sequence[VolumeChange] | None = None,
    max_cases: int | None = 12,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Outline scans before and after each change, and say what is lost.

    Parameters
    ----------
    outline : callable
        See `Outline`.
    cases : sequence of n callables
        See `Case`. Scans may come cropped and turned, with their way back: they are damaged as they were read, on their
        whole grid along RAS. One is held at a time.
    keys : k strings
        Of the regions.
    patient : array, shape (n,), optional
        Cases of one patient are dependent.
    changes : sequence of VolumeChange, optional
        `volume_changes` of the contrasts of the first scan when absent.
    max_cases : int, optional
        With more cases, patients are drawn at random, with all their cases, until the next would be too many; None
        takes all.
    level : float
        Coverage of the intervals.
    seed : int
        Of the changes, and of the patients that are drawn.
    progress : callable, optional
        Hears the share done and what is being done.

    Returns
    -------
    dict
        The ``robustness`` block, shaped as that of `aimed.trust.picture_robustness`: ``n``, ``of`` (cases there were),
        ``patients``, ``level``, ``method``, ``seed``, ``unchanged`` (``mean_dice``, ``dice@key`` → measure),
        ``changes`` (``key``, ``kind``, ``amount``, ``label``, ``measures``, ``differences`` changed less unchanged,
        ``volume_change`` (``mean_volume_change``, ``volume_change@key``: mean absolute change of the outlined volume as
        a share of the unchanged one), ``refused`` (cases that the model refused to outline), ``flipped`` (None), ``p``,
        ``p_holm``, ``state``), ``worst`` and ``moves_most``
        (key of the change that costs most Dice, and of that which changes volumes most, or None), ``flips_most``
        (None), ``multiplicity``, ``sentence``, ``note``.

    Raises
    ------
    DataError
        If there is no case or no change, or a change is named twice.
    ValueError
        If outlines do not fit the scans.

    Notes
    -----
    Differences are paired by case, with their spread over patients (t). A state is "loss shown" when the interval of
    the difference in mean Dice lies below 0, "gain shown" above, "no loss shown" when it holds 0, which a small sample
    does for any model, "refused" when the model outlined no changed scan and said so (`DataError`, `ImageRefused`),
    and "not estimable", as below 5 patients. Refused scans have no Dice. p values are of that difference; Holm's
    adjustment is over all changes. The largest loss is chosen for being extreme, and so is too large on average. Both
    outlines empty count as Dice 1.

    References
    ----------
    Hendrycks and Dietterich, ICLR 2019. Boone et al., NeuroImage 2023;278:120289 (damage of MR scans). Holm, Scand J
    Stat 1979;6:65.

    Examples
    --------
    >>> def case(number):
    ...     rng = np.random.default_rng(number)
    ...     truth = np.zeros((1, 10, 10, 10), dtype=bool); truth[:, 2:6, 3:7, 3 + number % 3:8] = True
    ...     grey = 10 + 10 * truth[0] + rng.normal(0, 1, truth.shape[1:])
    ...     return Volume(array=grey, affine=np.eye(4), channels=("T1w",)), truth
    >>> found = robustness(lambda scan: (scan.array > 15)[None], [lambda k=k: case(k) for k in range(6)], keys=["a"],
    ...                    changes=[VolumeChange("mirror", 1), VolumeChange("noise", 0.5)])
    >>> [one["state"] for one in found["changes"]], found["worst"]
    (['no loss shown', 'loss shown'], 'noise_0.5')
    """
    checked_level(level)
    n, k = len(cases), len(keys)
    if not n or not k or len(set(keys)) != k:
        raise DataError(f"{n} cases and {len(set(keys))} different regions", "at least one of both")
    who = None if patient is None else text_labels("patient", patient, n)
    rows = rows_of_patients(who, n, max_cases, seed)
    some = None if changes is None else _checked(changes)
    before: list[NDArray[np.float64]] = []
    after: list[list[NDArray[np.float64]]] = []
    moved: list[list[NDArray[np.float64]]] = []
    for place, row in enumerate(rows.tolist()):
        scan, truth = _as_read(*cases[row]())
        if some is None:
            some = _checked(volume_changes(scan.channels or [f"contrast {c + 1}" for c in range(scan.n_channels)]))
        steps = len(some) + 1
        _tell(progress, place / rows.size, "scans as they are")
        masks = _outlined(outline, scan, truth)
        before.append(_dice(masks, truth))
        after.append([])
        moved.append([])
        for step, change in enumerate(some, 1):
            _tell(progress, (place + step / steps) / rows.size, change.label)
            worse, there = damaged(scan, truth, change, case=row, seed=seed)
            try:
                found = _outlined(outline, worse, there)
            except (DataError, ImageRefused):
                # A scan that is refused is not outlined wrongly.
                after[-1].append(np.full(k, np.nan))
                moved[-1].append(np.full(k, np.nan))
                continue
            after[-1].append(_dice(found, there))
            moved[-1].append(_moved(masks, found))
    codes = None if who is None else patient_codes(who[rows], rows.size)
    was, then, change_of_volume = np.stack(before), np.array(after), np.array(moved)
    block = [
        _compared(change, was, then[:, i], change_of_volume[:, i], keys, codes, level)
        for i, change in enumerate(some or ())
    ]
    adjusted = adjust_p_values([math.nan if one["p"] is None else one["p"] for one in block], "holm")
    for one, p in zip(block, adjusted, strict=True):
        one["p_holm"] = float(p) if math.isfinite(p) else None
    unchanged = _measures(was, keys, codes, level)
    worst = _worst(block)
    most = _moves_most(block)
    _tell(progress, 1.0, "")
    return {
        "n": int(rows.size),
        "of": n,
        "patients": int(rows.size if codes is None else codes.max() + 1),
        "level": level,
        "method": clustered("paired differences of Dice by case, t", codes),
        "seed": seed,
        "unchanged": unchanged,
        "changes": block,
        "worst": None if worst is None else worst["key"],
        "flips_most": None,
        "moves_most": None if most is None else most["key"],
        "multiplicity": "holm",
        "sentence": _sentence(block, worst, most, unchanged["mean_dice"], int(rows.size), level),
        "note": _note(int(rows.size), n),
    }


def _tell(progress: Callable[[float, str], None] | None, share: float, text: str) -> None:
    if progress is not None:
        progress(share, text)


def _checked(changes: Sequence[VolumeChange]) -> list[VolumeChange]:
    keys = [change.key for change in changes]
    if not keys or len(set(keys)) != len(keys):
        raise DataError(f"{len(keys)} changes, {len(set(keys))} different ones", "at least one, each once")
    return list(changes)


def _outlined(outline: Outline, scan: Volume, truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = np.asarray(outline(scan))
    if found.shape != truth.shape or found.dtype != bool:
        raise ValueError(f"outlines of shape {found.shape} and type {found.dtype}; expected bool, {truth.shape}")
    return found


def _dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    out = np.empty(len(truth))
    for k, (a, b) in enumerate(zip(found, truth, strict=True)):
        size = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
        out[k] = 2 * int(np.count_nonzero(a & b)) / size if size else 1.0
    return out


def _moved(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return by what share the volume of each region changed; NaN where there was none before."""
    size, found = (masks.reshape(len(masks), -1).sum(axis=1).astype(np.float64) for masks in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, np.abs(found - size) / size, np.where(found > 0, np.nan, 0.0))


def _columns(values: NDArray[np.float64], name: str, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    mean = np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
    return {f"mean_{name}": mean} | {f"{name}@{key}": column for key, column in zip(keys, values.T, strict=True)}


def _measures(
    values: NDArray[np.float64], keys: Sequence[str], codes: NDArray[np.int64] | None, level: float
) -> dict[str, dict[str, Any]]:
    return {
        name: case_mean(column, codes, level=level, name=name, bounds=(0.0, 1.0), scale="logit").measure().to_dict()
        for name, column in _columns(values, "dice", keys).items()
    }


def _compared(
    change: VolumeChange,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    moved: NDArray[np.float64],
    keys: Sequence[str],
    codes: NDArray[np.int64] | None,
    level: float,
) -> dict[str, Any]:
    """Return the record of one change."""
    gaps = {
        name: case_mean(column, codes, level=level, name=name, bounds=(-1.0, 1.0))
        for name, column in _columns(after - before, "dice", keys).items()
    }
    mean = gaps["mean_dice"]
    outlined = np.isfinite(after).any(axis=1)
    units = int(outlined.sum() if codes is None else np.unique(codes[outlined]).size)
    p = two_sided_p(float(mean), mean.se, units) if math.isfinite(mean.lower) else math.nan
    return {
        "key": change.key,
        "kind": change.kind,
        "amount": change.amount,
        "label": change.label,
        "measures": _measures(after, keys, codes, level),
        "differences": {name: gap.measure().to_dict() | {"against": "unchanged"} for name, gap in gaps.items()},
        "volume_change": {
            name: case_mean(column, codes, level=level, name=name, bounds=(0.0, math.inf)).measure().to_dict()
            for name, column in _columns(moved, "volume_change", keys).items()
        },
        "refused": int((~outlined).sum()),
        "flipped": None,
        "p": p if math.isfinite(p) else None,
        "state": _state(mean) if outlined.any() else "refused",
    }


def _state(gap: Estimate) -> str:
    if gap.upper < 0:
        return "loss shown"
    if gap.lower > 0:
        return "gain shown"
    return "no loss shown" if math.isfinite(gap.lower) or (float(gap) == 0.0 and _enough(gap)) else "not estimable"


def _enough(gap: Estimate) -> bool:
    return gap.n >= LEAST_PATIENTS


def _worst(block: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the change that costs most; None where none costs anything."""
    lost = [one for one in block if (one["differences"]["mean_dice"]["value"] or 0.0) < 0]
    return min(lost, key=lambda one: float(one["differences"]["mean_dice"]["value"]), default=None)


def _moves_most(block: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the change that moves volumes most; None where none does."""
    moved = [one for one in block if (one["volume_change"]["mean_volume_change"]["value"] or 0.0) > 0]
    return max(moved, key=lambda one: float(one["volume_change"]["mean_volume_change"]["value"]), default=None)


def _sentence(
    block: Sequence[Mapping[str, Any]],
    worst: Mapping[str, Any] | None,
    most: Mapping[str, Any] | None,
    before: Mapping[str, Any],
    n: int,
    level: float,
) -> str:
    changes = plural(len(block), "change")
    if worst is None:
        text = f"None of {changes} lowered the mean Dice of {before['value']:.3f} (n = {number(n)})."
    else:
        gap = worst["differences"]["mean_dice"]
        span = (
            "no interval"
            if gap["lower"] is None
            else f"{100 * gap['level']:g} % interval {gap['lower']:.3f} to {gap['upper']:.3f}"
        )
        text = (
            f"Of {changes} this one costs most: {worst['label']}. Mean Dice "
            f"{worst['measures']['mean_dice']['value']:.3f} instead of {before['value']:.3f}, a difference of "
            f"{gap['value']:.3f} ({span}; n = {number(n)})."
        )
    text += f" {_shown(block, level)}"
    if most is not None:
        share = most["volume_change"]["mean_volume_change"]["value"]
        text += f" Volumes change most by this one: {most['label']}; by {100 * share:.0f} % on average."
    refused = [one["label"] for one in block if one["state"] == "refused"]
    if refused:
        text += f" The model refuses to outline such scans: {'; '.join(refused)}."
    return text


def _shown(block: Sequence[Mapping[str, Any]], level: float) -> str:
    """Return for how many changes a loss is shown, or that none is, which is not robustness."""
    shown = [one for one in block if one["state"] == "loss shown"]
    if not shown:
        lows = [one["differences"]["mean_dice"]["lower"] for one in block]
        least = min((low for low in lows if low is not None), default=None)
        if least is None:
            return "Not enough evidence: no difference has an interval."
        fits = f"; the data would fit losses of up to {-least:.3f}" if least < 0 else ""
        return f"No interval lies below 0: a loss is not shown, and neither is robustness{fits}."
    firm = sum(1 for one in shown if one["p_holm"] is not None and one["p_holm"] < 1 - level)
    rest = sum(one["state"] != "refused" for one in block) - len(shown)
    return (
        f"A loss is shown for {number(len(shown))} of {number(len(block))} ({number(firm)} after Holm's adjustment for "
        f"looking {plural(len(block), 'time')})"
        + (f"; for the other {number(rest)} none is shown, which is not to say that there is none." if rest else ".")
    )


def _note(n: int, of: int) -> str:
    parts = [
        "The changes imitate what goes wrong with scans; real ones from another machine or hospital differ in more "
        "than one way, and only such scans show what the model loses there. Turned heads are interpolated, which blurs "
        "a little by itself."
    ]
    if n < of:
        parts.append(f"Looked at were {number(n)} of {number(of)} scans, of patients drawn at random.")
    return " ".join(parts)
