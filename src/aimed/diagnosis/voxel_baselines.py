"""What a threshold, or a regression on single voxels, outlines: what a network must beat to be worth its while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.diagnosis.component_rules import ComponentRule, RuleScores, choose_rule
from aimed.diagnosis.segmentation_head import SegmentationHead
from aimed.diagnosis.volume_scaling import VolumeScaling

__all__ = ["ThresholdBaseline", "ThresholdRule", "VoxelBaseline", "VoxelRule"]

_LOW, _STEP, _BINS = -4.0, 0.02, 700
_CLEARED = 12
_CUTS = np.linspace(0.005, 0.995, 100)
_FAR = 8.0


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """The one contrast that tells a region best.

    Parameters
    ----------
    channel : int
        Number of the contrast, from 0.
    above : bool
        Whether the region is brighter than the threshold, and not darker.
    step : int
        Number of the step from -4, 0.02 wide, at which the region begins.
    dice : float
        Mean over the training scans that have the region, all pieces kept.
    pieces : ComponentRule
        Which pieces are kept.

    Examples
    --------
    >>> ThresholdRule(0, True, 275, 0.8, ComponentRule(largest=True)).in_words(["FLAIR"])
    'FLAIR above 1.50 standard deviations, the largest piece'
    """

    channel: int
    above: bool
    step: int
    dice: float
    pieces: ComponentRule

    @property
    def threshold(self) -> float:
        """The grey at which the region begins, in the units of the scaling."""
        return round(_LOW + _STEP * self.step, 2)

    def in_words(self, channels: Sequence[str] = (), unit: str = "standard deviations") -> str:
        """Return what the rule does, for a report."""
        name = channels[self.channel] if channels else f"channel {self.channel + 1}"
        piece = ", the largest piece" if self.pieces.largest else ""
        return f"{name} {'above' if self.above else 'below'} {self.threshold:.2f} {unit}{piece}"


@dataclass(frozen=True, slots=True, eq=False)
class VoxelRule:
    """The weighted sum of what is seen at a voxel from which a region begins.

    Parameters
    ----------
    weight : float array, shape (f,)
        Of the features as they are.
    cut : float
        Sum from which a voxel belongs to the region.
    dice : float
        Mean over the training scans that have the region, from the voxels drawn.
    pieces : ComponentRule
        Which pieces are kept.
    """

    weight: NDArray[np.float64]
    cut: float
    dice: float
    pieces: ComponentRule


class _Baseline(BaseEstimator):  # type: ignore[misc]
    """What both baselines share: greys as a network takes them, and the rule for pieces."""

    scaling: VolumeScaling | None

    def masks_of(self, scan: Any) -> NDArray[np.bool_]:
        """Return the regions of one scan.

        Parameters
        ----------
        scan : array, shape (c, z, y, x)
            As prepared for training.

        Returns
        -------
        bool array, shape (k, z, y, x)

        Raises
        ------
        DataError
            If it has other channels than in training, or one of them is empty or of one grey.
        """
        check_is_fitted(self, "rules_")
        found = self._claimed(*self._greys(scan))
        return np.stack([rule.pieces.applied(mask) for rule, mask in zip(self.rules_, found, strict=True)])

    def _claimed(self, greys: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        raise NotImplementedError

    def _start(self, scans: Sequence[Any], masks: Sequence[Any], head: SegmentationHead) -> NDArray[np.bool_]:
        """Return which regions each scan has, shape (n, k)."""
        if len(scans) != len(masks) or not len(scans):
            raise DataError(f"{len(scans)} scans and {len(masks)} masks", "as many of both, and one at least")
        self.scaling_ = VolumeScaling() if self.scaling is None else self.scaling
        self.head_, self.channels_ = head, 0
        counts = np.stack([head.check(head.codes(mask)) for mask in masks])
        has = np.stack([counts[:, list(labels)].any(axis=1) for labels in head.labels], axis=1)
        absent = [name for region, name in enumerate(head.names) if not has[:, region].any()]
        if absent:
            raise NotEstimableError(f"the region '{absent[0]}' is in no training scan", "at least one scan with it")
        return has

    def _greys(self, scan: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the scaled greys, and where the body is."""
        if len(scan.shape) != 4 or self.channels_ not in (0, scan.shape[0]):
            wanted = f" with {self.channels_} channels, as in training" if self.channels_ else ""
            raise DataError(f"a scan of shape {tuple(scan.shape)}", f"(c, z, y, x){wanted}")
        self.channels_ = int(scan.shape[0])
        greys = self.scaling_.scaled(scan, self.scaling_.numbers(scan))
        if self.scaling_.kind == "window":
            return greys, np.asarray((greys > -1).any(axis=0), dtype=bool)
        return greys, np.asarray((np.asarray(scan) != 0).any(axis=0), dtype=bool)

    def _pair(self, scan: Any, mask: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
        greys, inside = self._greys(scan)
        codes = self.head_.codes(mask)
        if codes.shape != inside.shape:
            raise DataError(f"a scan of {inside.shape} and a mask of {codes.shape} voxels", "one grid for both")
        return greys, inside, codes

    def _pieces(
        self, scans: Sequence[Any], masks: Sequence[Any], rows: NDArray[np.int64], k: int
    ) -> list[ComponentRule]:
        """Return, for each region, whether its largest piece alone does better on training scans."""
        scores = [RuleScores(()) for _ in range(k)]
        for row in rows.tolist():
            greys, inside, codes = self._pair(scans[row], masks[row])
            known, truth = codes != self.head_.unknown, self.head_.masks(codes)
            for score, claim, there in zip(scores, self._claimed(greys, inside), truth, strict=True):
                if there.any():
                    score.add(claim & known, there)
        return [choose_rule(score)[0] for score in scores]


class ThresholdBaseline(_Baseline):
    """One threshold on one contrast for each region, with the best mean Dice on the training scans.

    Of every contrast, both directions and 700 steps of 0.02 are tried on greys in standard deviations. The largest
    piece alone is kept where that gains on training scans (up to 12 of them). Nothing is random.

    Parameters
    ----------
    scaling : VolumeScaling, optional
        That of the voxels that are not 0 when absent.
    most_scans : int
        Scans that are looked at; more are drawn from with the seed.

    Attributes
    ----------
    rules_ : list of ThresholdRule, one a region

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mask = np.zeros((12, 12, 12), dtype=np.uint8)
    >>> mask[3:8, 3:8, 3:8] = 1
    >>> scan = (rng.normal(100, 5, (2, 12, 12, 12)) + np.array([60, 0]).reshape(2, 1, 1, 1) * mask).astype(np.float32)
    >>> model = ThresholdBaseline().fit([scan], [mask], SegmentationHead.of_regions({"tumour": 1}))
    >>> model.rules_[0].channel, bool((model.masks_of(scan)[0] == (mask == 1)).all())
    (0, True)
    """

    def __init__(self, scaling: VolumeScaling | None = None, most_scans: int = 200) -> None:
        self.scaling = scaling
        self.most_scans = most_scans

    def fit(self, scans: Sequence[Any], masks: Sequence[Any], head: SegmentationHead, seed: int = 0) -> Any:
        """Find the thresholds.

        Parameters
        ----------
        scans : sequence of n arrays, each of shape (c, z, y, x)
            As prepared; each is fetched once, some of them twice.
        masks : sequence of n uint8 arrays, each of shape (z, y, x)
            Each is fetched once more, to see its labels.
        head : SegmentationHead
        seed : int

        Raises
        ------
        DataError
            If scans and masks do not fit together, a channel is empty or a mask has labels of no region.
        NotEstimableError
            If a region is in no training scan.
        """
        has = self._start(scans, masks, head)
        k = len(head.names)
        total: Any = 0.0
        rows = _drawn_scans(has, self.most_scans, seed)
        for row in rows.tolist():
            greys, inside, codes = self._pair(scans[row], masks[row])
            inside = np.asarray(inside & (codes != head.unknown))
            truth = head.masks(codes)
            here = np.stack([_dice_by_step(_steps(channel[inside]), truth[:, inside], truth) for channel in greys])
            here[:, :, ~has[row]] = 0.0
            total = total + here
        # Sums, shape (channel, direction, region, step).
        count = has[rows].sum(axis=0)
        self.rules_ = []
        for region in range(k):
            mean = total[:, :, region] / count[region]
            channel, below, step = np.unravel_index(int(np.argmax(mean)), mean.shape)
            dice = float(mean[channel, below, step])
            self.rules_.append(ThresholdRule(int(channel), below == 0, int(step), dice, ComponentRule()))
        pieces = self._pieces(scans, masks, rows[:_CLEARED], k)
        self.rules_ = [
            ThresholdRule(rule.channel, rule.above, rule.step, rule.dice, piece)
            for rule, piece in zip(self.rules_, pieces, strict=True)
        ]
        return self

    def _claimed(self, greys: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = np.zeros((len(self.rules_), *inside.shape), dtype=bool)
        for mask, rule in zip(found, self.rules_, strict=True):
            steps = _steps(greys[rule.channel][inside])
            mask[inside] = steps >= rule.step if rule.above else steps < rule.step
        return found


class VoxelBaseline(_Baseline):
    """A logistic regression for each region on what is seen at one voxel.

    The features of a voxel are its greys, those of its surroundings at some scales, the squares of all of these and
    the distance to the middle of the body, as a share of the radius of a ball of its size. The same number of voxels
    is drawn of every scan, half of them outside the regions and the others evenly from the labels; the threshold is
    the one with the best mean Dice when each voxel drawn stands for those that were not. The largest piece alone is
    kept where that gains on training scans (up to 12 of them).

    Parameters
    ----------
    scaling : VolumeScaling, optional
        That of the voxels that are not 0 when absent.
    spacing : tuple of float
        Distance of voxels along (z, y, x), in mm.
    scales : tuple of float
        Standard deviation of the blurs, in mm.
    voxels : int
        Drawn of each scan.
    most_scans : int
        Scans that are looked at; more are drawn from with the seed.

    Attributes
    ----------
    rules_ : list of VoxelRule, one a region

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mask = np.zeros((12, 12, 12), dtype=np.uint8)
    >>> mask[3:8, 3:8, 3:8] = 1
    >>> scan = (rng.normal(100, 5, (1, 12, 12, 12)) + 60 * mask).astype(np.float32)
    >>> model = VoxelBaseline(voxels=500).fit([scan], [mask], SegmentationHead.of_regions({"tumour": 1}), seed=1)
    >>> bool((model.masks_of(scan)[0] == (mask == 1)).mean() > 0.99)
    True
    """

    def __init__(
        self,
        scaling: VolumeScaling | None = None,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        scales: tuple[float, ...] = (3.0, 9.0),
        voxels: int = 2000,
        most_scans: int = 60,
    ) -> None:
        self.scaling = scaling
        self.spacing = spacing
        self.scales = scales
        self.voxels = voxels
        self.most_scans = most_scans

    def fit(self, scans: Sequence[Any], masks: Sequence[Any], head: SegmentationHead, seed: int = 0) -> Any:
        """Fit the regressions.

        Parameters
        ----------
        scans : sequence of n arrays, each of shape (c, z, y, x)
            As prepared; each is fetched once, some of them twice.
        masks : sequence of n uint8 arrays, each of shape (z, y, x)
            Each is fetched once more, to see its labels.
        head : SegmentationHead
        seed : int
            Of the draw of voxels; the same seed gives the same bits.

        Raises
        ------
        StudyFileError
            If the parameters are out of range.
        DataError
            If scans and masks do not fit together, a channel is empty or a mask has labels of no region.
        NotEstimableError
            If a region is in no training scan, or nothing else is in the body.
        """
        if self.voxels < 2 or self.most_scans < 1:
            raise StudyFileError("voxels or most_scans is too small", "voxels >= 2 and most_scans >= 1")
        if len(self.spacing) != 3 or not all(mm > 0 for mm in (*self.spacing, *self.scales)):
            raise StudyFileError("a spacing or a scale that is not a length", "lengths > 0 in mm")
        has = self._start(scans, masks, head)
        rows = _drawn_scans(has, self.most_scans, seed)
        seen, answers, weights, ends, sizes = [], [], [], [], []
        for row in rows.tolist():
            greys, inside, codes = self._pair(scans[row], masks[row])
            at, weight = self._draw(codes, inside, np.random.default_rng((seed, row)))
            seen.append(np.stack([feature.ravel()[at] for feature in self._features(greys, inside)], axis=1))
            truth = head.masks(codes)
            answers.append(truth.reshape(len(truth), -1)[:, at])
            weights.append(weight)
            sizes.append(truth.sum(axis=(1, 2, 3)))
            ends.append(at.size)
        x, y = np.concatenate(seen).astype(np.float64), np.concatenate(answers, axis=1)
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread[spread < 1e-6] = 1.0
        x = (x - centre) / spread
        scan = np.repeat(np.arange(len(ends)), ends)
        self.rules_ = []
        for name, region, size in zip(head.names, y, np.stack(sizes, axis=1), strict=True):
            if region.all() or not region.any():
                said = "fills the body" if region.all() else "lies outside of the body"
                raise NotEstimableError(f"the region '{name}' {said} in all training scans", "a part of the body")
            # The order in which threads add up would be seen in the last bits.
            with threadpool_limits(limits=1):
                weight = LogisticRegression(max_iter=300).fit(x, region).coef_[0] / spread
                score = (x * spread) @ weight
            cut, dice = _best_cut(score, region, np.concatenate(weights), scan, size)
            self.rules_.append(VoxelRule(weight, cut + float(centre @ weight), dice, ComponentRule()))
        pieces = self._pieces(scans, masks, rows[:_CLEARED], len(head.names))
        self.rules_ = [
            VoxelRule(rule.weight, rule.cut, rule.dice, piece) for rule, piece in zip(self.rules_, pieces, strict=True)
        ]
        return self

    def _draw(
        self, codes: NDArray[np.uint8], inside: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return voxels, and how many each of them stands for."""
        flat, there = codes.ravel(), np.flatnonzero(inside)
        label = flat[there]
        kinds = [int(code) for code in np.unique(label) if code != self.head_.unknown]
        labels = sum(code != 0 for code in kinds)
        at, weight = [], []
        for code in kinds:
            share = 0.5 if code == 0 else 0.5 / labels
            these = there[label == code]
            take = min(these.size, max(1, round(share * self.voxels)))
            at.append(np.sort(rng.choice(these, size=take, replace=False)))
            weight.append(np.full(take, these.size / take))
        if not at:
            return np.empty(0, dtype=np.int64), np.empty(0)
        return np.concatenate(at), np.concatenate(weight)

    def _features(self, greys: NDArray[np.float32], inside: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
        """Yield one map of each feature."""
        body = inside.astype(np.float32)
        blurs: list[Any] = [None]
        for scale in self.scales:
            # Two boxes of this width blur as a Gaussian does, at a cost that does not grow with the width.
            widths = [max(1, 2 * round((np.sqrt(6 * (scale / mm) ** 2 + 1) - 1) / 2) + 1) for mm in self.spacing]
            blurs.append((widths, np.maximum(_blurred(body, widths), 1e-3)))
        for channel in greys:
            near = np.clip(channel, -_FAR, _FAR) * body
            for blur in blurs:
                found = near if blur is None else _blurred(near, blur[0]) / blur[1]
                yield found
                yield found * found
        yield _distance(inside, self.spacing)

    def _claimed(self, greys: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        margin = np.zeros((len(self.rules_), *inside.shape), dtype=np.float32)
        for number, feature in enumerate(self._features(greys, inside)):
            for score, rule in zip(margin, self.rules_, strict=True):
                score += np.float32(rule.weight[number]) * feature
        for score, rule in zip(margin, self.rules_, strict=True):
            score -= np.float32(rule.cut)
        found = (margin >= 0) & inside
        if self.head_.exclusive:
            found &= np.arange(len(margin)).reshape(-1, 1, 1, 1) == np.argmax(margin, axis=0)
        return np.asarray(found)


def _drawn_scans(has: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.int64]:
    """Return the scans to look at, in a random order that leads with scans that have all regions, or some."""
    order = np.random.default_rng((seed, len(has))).permutation(len(has))
    first = [order[has[order, region]][0] for region in range(has.shape[1])]
    full = order[has[order].all(axis=1)][: max(_CLEARED - len(first), 0)]
    lead = list(dict.fromkeys([*first, *full.tolist()]))
    return np.asarray(list(dict.fromkeys([*lead, *order.tolist()]))[: max(most, len(first))], dtype=np.int64)


def _steps(greys: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(np.clip(np.floor((greys - _LOW) / _STEP), 0, _BINS - 1), dtype=np.int64)


def _dice_by_step(steps: NDArray[np.int64], inside: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the Dice of each region if it began at each step, above it and below it, shape (2, k, steps)."""
    every = np.bincount(steps, minlength=_BINS)
    found = np.empty((2, len(truth), _BINS))
    for region, (mine, there) in enumerate(zip(inside, truth, strict=True)):
        hits, size = np.bincount(steps[mine], minlength=_BINS), int(there.sum())
        for side, (hit, all_) in enumerate(((hits[::-1], every[::-1]), (hits, every))):
            both, claimed = np.cumsum(hit), np.cumsum(all_)
            dice = 2.0 * both / np.maximum(claimed + size, 1)
            # Below step s lie the steps before it.
            found[side, region] = dice[::-1] if side == 0 else np.concatenate(([0.0], dice[:-1]))
    return found


def _best_cut(
    score: NDArray[np.float64],
    region: NDArray[np.bool_],
    weight: NDArray[np.float64],
    scan: NDArray[np.int64],
    size: NDArray[np.int64],
) -> tuple[float, float]:
    """Return the score with the best mean Dice over the scans that have the region, and that Dice."""
    cuts = np.unique(np.quantile(score[region], _CUTS))
    has = np.flatnonzero(size > 0)
    total = np.zeros(cuts.size)
    for number in has.tolist():
        mine = scan == number
        above = score[mine, None] >= cuts
        claimed = weight[mine] @ above
        both = (weight[mine] * region[mine]) @ above
        total += 2 * both / (claimed + size[number])
    best = int(np.argmax(total))
    return float(cuts[best]), float(total[best] / has.size)


def _blurred(values: NDArray[np.float32], widths: Sequence[int]) -> NDArray[np.float32]:
    once = uniform_filter(values, widths, mode="constant")
    return np.asarray(uniform_filter(once, widths, mode="constant"), dtype=np.float32)


def _distance(inside: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return how far each voxel is from the middle of the body, 1 at the surface of a ball of its size."""
    square = np.zeros(inside.shape, dtype=np.float32)
    count = max(int(inside.sum()), 1)
    for axis, mm in enumerate(spacing):
        places = np.arange(inside.shape[axis], dtype=np.float64) * mm
        held = inside.sum(axis=tuple(a for a in range(3) if a != axis))
        away = (places - float(held @ places) / count) ** 2
        square += away.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    radius = np.float32((3 * count * float(np.prod(spacing)) / (4 * np.pi)) ** (1 / 3))
    return np.asarray(np.sqrt(square) / radius, dtype=np.float32)
