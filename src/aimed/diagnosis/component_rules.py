"""What is cleared away from an outline, where that helped on scans set aside: specks, or all but the largest piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from aimed.core import StudyFileError

__all__ = ["MINIMA", "ComponentRule", "RuleScores", "choose_rule"]

MINIMA = (10, 30, 100, 300, 1000)
"""Sizes in voxels that are tried."""
_GAIN = 0.001
_LEAST_SCANS = 3
_NEAR = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class ComponentRule:
    """Which pieces of a mask are kept; voxels that touch with a corner are of one piece.

    Parameters
    ----------
    largest : bool
        The largest alone.
    minimum : int
        Pieces with at least as many voxels.

    Examples
    --------
    >>> mask = np.zeros((1, 1, 6), dtype=bool)
    >>> mask[..., [0, 1, 4]] = True
    >>> ComponentRule(minimum=2).applied(mask).astype(int).ravel().tolist()
    [1, 1, 0, 0, 0, 0]
    """

    largest: bool = False
    minimum: int = 0

    def __post_init__(self) -> None:
        if self.minimum < 0:
            raise StudyFileError(f"minimum = {self.minimum!r}", "an integer >= 0")

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ComponentRule:
        """Rebuild from `to_state`."""
        return cls(bool(state["largest"]), int(state["minimum"]))

    def to_state(self) -> dict[str, Any]:
        """Return the rule in JSON types."""
        return asdict(self)

    def kept(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pieces of these sizes are kept."""
        found = sizes >= self.minimum
        if self.largest and sizes.size:
            found &= np.arange(sizes.size) == int(np.argmax(sizes))
        return found

    def applied(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask without the pieces that are not kept."""
        if not self.largest and self.minimum <= 1:
            return mask
        pieces, box, sizes = _pieces(mask)
        if not sizes.size:
            return mask
        found = np.zeros_like(mask)
        found[box] = np.concatenate(([False], self.kept(sizes)))[pieces]
        return found


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], tuple[slice, ...], NDArray[np.int64]]:
    """Return the number of the piece of each voxel within the box of the mask, that box, and the size of each piece."""
    box = []
    for axis in range(mask.ndim):
        seen = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 0))
    pieces, count = ndimage.label(mask[tuple(box)], structure=_NEAR)
    return pieces, tuple(box), np.bincount(pieces.ravel(), minlength=count + 1)[1:].astype(np.int64)


class RuleScores:
    """Dice of one region in the scans of a tune part, by rule.

    Examples
    --------
    >>> scores = RuleScores()
    >>> truth, found = np.zeros((2, 1, 1, 40), dtype=bool)
    >>> truth[..., :20], found[..., :20], found[..., 30:33] = True, True, True
    >>> for _ in range(3):
    ...     scores.add(found, truth)
    >>> choose_rule(scores)
    (ComponentRule(largest=False, minimum=10), 0.9302325581395349, 1.0)
    """

    def __init__(self, minima: Sequence[int] = MINIMA) -> None:
        self.rules = [ComponentRule(), *(ComponentRule(minimum=m) for m in minima), ComponentRule(largest=True)]
        self.dice: list[list[float]] = []

    def add(self, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """Take one scan: what was found and what is there, where that is known."""
        pieces, box, sizes = _pieces(found)
        hits = np.bincount(pieces[truth[box]], minlength=sizes.size + 1)[1:]
        there, row = int(np.count_nonzero(truth)), []
        for rule in self.rules:
            keep = rule.kept(sizes)
            both, claimed = int(hits[keep].sum()), int(sizes[keep].sum())
            # Nothing there and nothing claimed is right.
            row.append(2.0 * both / (there + claimed) if there + claimed else 1.0)
        self.dice.append(row)


def choose_rule(scores: RuleScores) -> tuple[ComponentRule, float, float]:
    """Return the rule with the best mean Dice, and the mean without and with it.

    The mask is left as it is where there are fewer than three scans, or nothing gains 0.001 of Dice.
    """
    means = np.mean(scores.dice, axis=0) if scores.dice else np.full(len(scores.rules), np.nan)
    best = int(np.argmax(means))
    if len(scores.dice) < _LEAST_SCANS or not means[best] > means[0] + _GAIN:
        best = 0
    return scores.rules[best], float(means[0]), float(means[best])
