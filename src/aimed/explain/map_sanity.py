"""Whether heat maps depend on what a network learned, and whether its score depends on what they mark."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from scipy.stats import rankdata

from aimed.core import DataError, MissingExtraError, NotEstimableError
from aimed.explain.class_activation import Maps, activation_maps, scores_of
from aimed.explain.localisation import FEWEST, MapCheck, mean_by_patient, span
from aimed.metrics.arrays import patient_codes
from aimed.metrics.result import Estimate

try:
    import torch
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "heat maps of a network", "pip install 'aimed[deep]'") from None

__all__ = ["MakeMaps", "deletion_insertion", "randomised_findings", "randomised_weights", "similarity"]

MakeMaps: TypeAlias = Callable[[Any, NDArray[np.float32]], Maps]
"""``make(module, images)``: maps of shape (n, k, y, x), such as `activation_maps` with its options bound."""

_SIMILAR = 0.5
"""Mean rank correlation with the maps of a random network at which maps no longer depend on the weights."""

_GRID = 28
"""Cells a side on which maps are compared: finer than the layers they come from, coarse enough to be quick."""


def randomised_weights(
    module: Any,
    images: ArrayLike,
    make: MakeMaps = activation_maps,
    *,
    patient: ArrayLike | None = None,
    steps: int = 4,
    draws: int = 3,
    level: float = 0.95,
    seed: int = 0,
) -> MapCheck:
    """Replace the weights by random ones, from the head down, and see whether the maps change.

    Parameters
    ----------
    module : torch module
        Copied; not changed.
    images : float array, shape (n, channels, y, x)
    make : callable
        See `MakeMaps`.
    patient : array, shape (n,), optional
    steps : int
        Stages of the cascade, from the last layer alone to all layers, in equal ratios of their number.
    draws : int
        Random networks at each stage.
    level : float
    seed : int

    Returns
    -------
    MapCheck
        ``spearman`` and ``ssim``: similarity of the maps before and after, with all layers random; in `steps` those
        of each stage with the number of ``layers``. It passes if the interval of ``spearman`` lies below 0.5, and
        fails if it lies above; with fewer than 5 patients it does neither.

    Raises
    ------
    NotEstimableError
        If all maps are empty, or the network has no weights.
    DataError
        If `steps` or `draws` is below 1.

    Notes
    -----
    Similarity is signed: a random network may mark the same outlines with either sign, and only maps that stay as they
    are keep a mean near 1. Maps that were flat before are left out; maps that become flat have similarity 0. Means are
    over findings and draws, and the interval over patients for the networks that were drawn.

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018. Wang et al., IEEE TIP 2004;13:600 (SSIM).

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> pictures = np.random.default_rng(0).normal(size=(6, 1, 16, 16))
    >>> randomised_weights(network, pictures, lambda module, images: np.abs(images)).sentence
    'With random weights the maps stay the same (rank correlation 1.00 (no interval), random networks: 3): they do not
    depend on the weights.'
    """
    return randomised_findings(module, images, make, patient=patient, steps=steps, draws=draws, level=level, seed=seed)[
        0
    ]


def randomised_findings(
    module: Any,
    images: ArrayLike,
    make: MakeMaps = activation_maps,
    *,
    patient: ArrayLike | None = None,
    steps: int = 4,
    draws: int = 3,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[MapCheck, list[MapCheck | None]]:
    """Do as `randomised_weights`, and tell the findings apart, from the same random networks.

    Parameters
    ----------
    module, images, make, patient, steps, draws, level, seed
        See `randomised_weights`.

    Returns
    -------
    (MapCheck, list of MapCheck or None)
        Over all findings, and of each finding; None for one whose maps are all flat.

    Raises
    ------
    NotEstimableError, DataError
        As `randomised_weights`.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> pictures = np.random.default_rng(0).normal(size=(6, 1, 16, 16))
    >>> _, each = randomised_findings(network, pictures, lambda module, images: np.abs(images))
    >>> [one.passed for one in each]
    [False]
    """
    if steps < 1 or draws < 1:
        raise DataError("no steps or no draws", "at least one of each")
    pictures = np.asarray(images, dtype=np.float32)
    codes = np.arange(len(pictures)) if patient is None else patient_codes(patient, len(pictures))
    layers = _layers(module)
    if not layers:
        raise NotEstimableError("a network without weights", "weights to randomise")
    before = np.asarray(make(module, pictures))
    cuts = np.unique(np.rint(np.geomspace(1, len(layers), steps)).astype(int)) if steps > 1 else [len(layers)]
    found: list[tuple[int, NDArray[np.float64]]] = []
    for cut in (int(c) for c in cuts):
        alike = []
        for draw in range(draws):
            other = copy.deepcopy(module)
            _randomise(other, cut, seed * 1009 + draw)
            alike.append(_alike(before, np.asarray(make(other, pictures))))
        found.append((cut, np.mean(alike, axis=0)))
    overall = _verdict([(cut, _over_findings(both)) for cut, both in found], codes, draws, level)
    if overall is None:
        raise NotEstimableError("all maps are flat", "maps with a place that stands out")
    each = [_verdict([(c, both[:, :, k]) for c, both in found], codes, draws, level) for k in range(before.shape[1])]
    return overall, each


def _verdict(
    found: Sequence[tuple[int, NDArray[np.float64]]], codes: NDArray[np.int64], draws: int, level: float
) -> MapCheck | None:
    """Judge the similarities (2, n) of each stage; None where no map had a place that stands out."""
    told = np.isfinite(found[0][1][0])
    if not told.any():
        return None
    some = codes[told]
    stages = [
        {"layers": cut}
        | {
            name: mean_by_patient(values[told], some, level=level, name=name)
            for name, values in zip(("spearman", "ssim"), both, strict=True)
        }
        for cut, both in found
    ]
    last: Any = stages[-1]["spearman"]
    lower, upper = _bounds(last, np.unique(some).size)
    passed = True if upper < _SIMILAR else False if lower > _SIMILAR else None
    start, end = {
        True: ("change", "they do depend on the weights"),
        False: ("stay the same", "they do not depend on the weights"),
        None: ("may change", "not enough evidence"),
    }[passed]
    return MapCheck(
        check="parameter_randomisation",
        passed=passed,
        sentence=(
            f"With random weights the maps {start} (rank correlation {span(last)}, random networks: {draws}): {end}."
        ),
        estimates={"spearman": last, "ssim": stages[-1]["ssim"]},  # type: ignore[dict-item]
        steps=stages,
    )


def _bounds(one: Estimate, units: int) -> tuple[float, float]:
    """Return the interval, or the value itself where all patients agree; all numbers where patients are few."""
    if units < FEWEST:
        return -math.inf, math.inf
    return (one.lower, one.upper) if math.isfinite(one.lower) else (float(one), float(one))


def _layers(module: Any) -> list[Any]:
    """Return the parts with weights of their own, the head first."""
    return [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None][::-1]


def _randomise(module: Any, last: int, seed: int) -> None:
    """Draw the weights of the last layers anew, as before training; normalisations start from nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in _layers(module)[:last]:
            for name, weight in part.named_parameters(recurse=False):
                if weight.ndim > 1:
                    fan_in = weight[0].numel()
                    weight.copy_(torch.randn(weight.shape, generator=generator) * math.sqrt(2 / fan_in))
                else:
                    weight.fill_(1.0 if name == "weight" else 0.0)
            if hasattr(part, "reset_running_stats"):
                part.reset_running_stats()


def similarity(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """Return Spearman's correlation and SSIM of maps, each a mean over the findings of a picture.

    Parameters
    ----------
    before, after : float array, shape (n, k, y, x)

    Returns
    -------
    float array, shape (2, n)
        NaN where all maps before are flat.

    Raises
    ------
    DataError
        If shapes differ.

    Examples
    --------
    >>> ramp = np.arange(64.0).reshape(1, 1, 8, 8)
    >>> similarity(ramp, 2 * ramp).round(3).tolist(), similarity(ramp, -ramp)[0].tolist()
    ([[1.0], [1.0]], [-1.0])
    """
    return _over_findings(_alike(before, after))


def _alike(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """Return both similarities by picture and finding, shape (2, n, k); NaN where a map before is flat."""
    one, two = (np.asarray(maps, dtype=np.float32) for maps in (before, after))
    if one.ndim != 4 or one.shape != two.shape:
        raise DataError(f"maps of shape {one.shape} and {two.shape}", "both (n, k, y, x)")
    n, k = one.shape[:2]
    a, b = _coarse(one), _coarse(two)
    flat, gone = (np.ptp(maps, axis=(1, 2)) <= 1e-6 * np.abs(maps).max(axis=(1, 2)) for maps in (a, b))
    both = np.stack([_spearman(a, b), _ssim(a, b)])
    both[:, gone], both[:, flat] = 0.0, np.nan
    return both.reshape(2, n, k)


def _over_findings(both: NDArray[np.float64]) -> NDArray[np.float64]:
    told = np.isfinite(both)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(told, both, 0.0).sum(axis=2) / told.sum(axis=2), dtype=np.float64)


def _coarse(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return maps one below the other, at most `_GRID` cells a side, shape (n k, y, x)."""
    size = [min(_GRID, side) for side in maps.shape[2:]]
    small = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(maps), size).numpy()
    return np.asarray(small.reshape(-1, *size), dtype=np.float64)


def _spearman(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = (rankdata(maps.reshape(maps.shape[0], -1), axis=1) for maps in (one, two))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    below = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.where(below > 0, below, 1), dtype=np.float64)


def _ssim(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Structural similarity of maps that each run from 0 to 1, with Wang's window and constants."""

    def blurred(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(maps, (0, 1.5, 1.5), truncate=3.5), dtype=np.float64)

    a, b = (maps - maps.min(axis=(1, 2), keepdims=True) for maps in (one, two))
    a, b = (maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-300) for maps in (a, b))
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    shared = blurred(a * b) - mean_a * mean_b
    light, spread = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + light) * (2 * shared + spread)
    found /= (mean_a**2 + mean_b**2 + light) * (var_a + var_b + spread)
    return np.asarray(found.mean(axis=(1, 2)), dtype=np.float64)


def deletion_insertion(
    module: Any,
    images: ArrayLike,
    maps: ArrayLike,
    classes: int | ArrayLike,
    *,
    patient: ArrayLike | None = None,
    steps: int = 10,
    shifts: int = 2,
    fill: float | None = None,
    batch: int = 32,
    level: float = 0.95,
    seed: int = 0,
) -> MapCheck:
    """Delete, or insert, pixels from the hottest on, and follow the predicted probability.

    Parameters
    ----------
    module : torch module
        Returns log odds, shape (n, c).
    images : float array, shape (n, channels, y, x)
    maps : float array, shape (n, y, x)
        Of one finding a picture.
    classes : int, or int array of shape (n,)
        That finding.
    patient : array, shape (n,), optional
    steps : int
        Equal parts of the picture deleted one after the other.
    shifts : int
        What chance gives is seen on the same map, shifted this many times by a random way round the picture.
    fill : float, optional
        What stands for no pixel; the mean of each picture when absent.
    batch : int
    level : float
    seed : int

    Returns
    -------
    MapCheck
        ``deletion`` and ``insertion``: mean probability along the way, from 0 to 1. ``deletion_gain`` and
        ``insertion_gain``: how much lower, or higher, than for the shifted maps. It passes if both intervals of the
        gains lie above 0, and fails if one lies below; with fewer than 5 patients it does neither.

    Raises
    ------
    DataError
        If shapes do not fit, or `steps` or `shifts` is below 1.

    Notes
    -----
    It costs 2 (steps + 1) (shifts + 1) forward passes a picture. Pixels of equal heat come in random order.

    References
    ----------
    Petsiuk et al., BMVC 2018 (RISE).

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    >>> pictures = np.random.default_rng(0).normal(size=(8, 1, 8, 8))
    >>> weights = network[1].weight.detach().numpy().reshape(1, 8, 8)
    >>> deletion_insertion(network, pictures, pictures[:, 0] * weights, 0).passed
    True
    """
    pictures, heat = np.asarray(images, dtype=np.float32), np.asarray(maps, dtype=np.float64)
    if heat.ndim != 3 or pictures.ndim != 4 or (len(pictures), *pictures.shape[2:]) != heat.shape:
        raise DataError(f"pictures of shape {pictures.shape} and maps of shape {heat.shape}", "one map a picture")
    if steps < 1 or shifts < 1:
        raise DataError("no steps or no shifts", "at least one of each")
    n, rows, columns = heat.shape
    column = np.broadcast_to(np.asarray(classes, dtype=np.int64), (n,))
    rng = np.random.default_rng(seed)
    areas = np.empty((n, 1 + shifts, 2))
    share = np.linspace(0, 1, steps + 1)
    for i, (picture, field) in enumerate(zip(pictures, heat, strict=True)):
        # At least an eighth of a side away: a map that has not moved is no chance.
        ways = [
            [int(rng.integers(-(-side // 8), side - side // 8 + 1)) for side in (rows, columns)] for _ in range(shifts)
        ]
        for j, way in enumerate([[0, 0], *ways]):
            moved = np.roll(field, way, axis=(0, 1)).ravel()
            place = np.empty(moved.size)
            place[np.lexsort((rng.random(moved.size), -moved))] = (np.arange(moved.size) + 0.5) / moved.size
            hot = place.reshape(1, 1, rows, columns) < share[:, None, None, None]
            empty = np.float32(picture.mean() if fill is None else fill)
            mixed = np.concatenate([np.where(hot, empty, picture), np.where(hot, picture, empty)])
            scores = scores_of(module, mixed, batch=batch)
            if not 0 <= column[i] < scores.shape[1]:
                raise DataError("a class that does not exist", f"0 to {scores.shape[1] - 1}")
            curves = expit(scores[:, column[i]]).reshape(2, -1)
            areas[i, j] = np.trapezoid(curves, share, axis=1)
    own, moved_away = areas[:, 0], areas[:, 1:].mean(axis=1)
    gain = (own - moved_away) * (-1.0, 1.0)
    estimates = {
        f"{name}{end}": mean_by_patient(values[:, j], patient, level=level, name=f"{name}{end}")
        for j, name in enumerate(("deletion", "insertion"))
        for end, values in (("", own), ("_gain", gain))
    }
    units = n if patient is None else int(patient_codes(patient, n).max()) + 1
    limits = [_bounds(estimates[name], units) for name in ("deletion_gain", "insertion_gain")]
    passed = True if all(low > 0 for low, _ in limits) else False if any(high < 0 for _, high in limits) else None
    end = {
        True: "the score depends on what the maps mark",
        False: "the score does not depend on what the maps mark",
        None: "not enough evidence",
    }[passed]
    by_chance = {name: float(moved_away[:, j].mean()) for j, name in enumerate(("deletion", "insertion"))}
    sentence = (
        f"Deleting the marked pixels first leaves a mean probability of {span(estimates['deletion'])}, where shifted "
        f"maps leave {by_chance['deletion']:.2f}; inserting them first gives {span(estimates['insertion'])} against "
        f"{by_chance['insertion']:.2f}: {end}."
    )
    return MapCheck(check="deletion_insertion", passed=passed, sentence=sentence, estimates=estimates, chance=by_chance)
