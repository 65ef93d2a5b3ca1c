"""What the training loop is handed for outlines: a loss over scales, and Dice of the sub-volumes that tune."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from aimed.core import MissingExtraError, NotEstimableError, StudyFileError
from aimed.diagnosis import SEGMENTATION_LOSSES
from aimed.diagnosis.segmentation_head import SegmentationHead
from aimed.diagnosis.segmentation_losses import deep_supervision

try:
    import torch
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["as_chances", "as_masks", "outline_loss", "outline_measures"]


def as_chances(logits: Any, exclusive: bool) -> Any:
    """Return the probability of each region, shape (b, k, z, y, x), without that of the background.

    Examples
    --------
    >>> as_chances(torch.zeros(1, 2, 1, 1, 1), exclusive=True).shape
    torch.Size([1, 1, 1, 1, 1])
    """
    return torch.softmax(logits, 1)[:, 1:] if exclusive else torch.sigmoid(logits)


def as_masks(chances: Any, exclusive: bool) -> Any:
    """Return the regions of probabilities, shape (k, z, y, x): one half and above, or the likeliest label.

    Examples
    --------
    >>> as_masks(torch.tensor([0.5, 0.3]).reshape(2, 1, 1, 1), exclusive=False).ravel().tolist()
    [True, False]
    """
    if not exclusive:
        return chances >= 0.5
    background = 1.0 - chances.sum(0, keepdim=True)
    likeliest = torch.cat((background, chances)).argmax(0)
    return torch.stack([likeliest == label + 1 for label in range(chances.shape[0])])


def outline_loss(name: str, options: Mapping[str, Any] | None, exclusive: bool) -> Callable[[Any, Any], Any]:
    """Return ``loss(module, batch)`` of a loss in the catalogue, over every scale that the module scores.

    Raises
    ------
    StudyFileError
        If the loss does not take one of the options.
    """
    function, given = SEGMENTATION_LOSSES[name], dict(options or {})
    try:
        function(torch.zeros(1, 2, 1, 1, 1), torch.ones(1, 2, 1, 1, 1), exclusive=exclusive, **given)
    except TypeError:
        raise StudyFileError(f"the loss '{name}' does not take: {', '.join(sorted(given))}", "its options") from None

    def loss(module: Any, batch: Any) -> Any:
        x, y = batch
        return deep_supervision(lambda z, t: function(z, t, exclusive=exclusive, **given), module(x), y)

    return loss


def outline_measures(
    loss: Callable[[Any, Any], Any], head: SegmentationHead, stop_on: Literal["dice", "loss"]
) -> Callable[[Any, Any], tuple[float, dict[str, float]]]:
    """Return what tunes: 1 - the mean of the regions' Dice over all voxels of all sub-volumes, or the loss.

    Parameters
    ----------
    loss : callable
        Of `outline_loss`.
    head : SegmentationHead
    stop_on : {"dice", "loss"}
    """

    def measured(module: Any, batches: Any) -> tuple[float, dict[str, float]]:
        both, there, claimed = np.zeros((3, len(head.names)))
        total, count = 0.0, 0
        for x, y in batches:
            logits = module(x).float()
            if not torch.isfinite(logits).all():
                raise NotEstimableError(
                    "the network says numbers that are not finite", "finite scores", "lower the rate"
                )  # fmt: skip
            total += float(loss(lambda _, z=logits: z, (x, y))) * len(x)
            count += len(x)
            for chances, target in zip(as_chances(logits, head.exclusive), y[:, int(head.exclusive) :], strict=True):
                known = ~torch.isnan(target)
                found, truth = as_masks(chances, head.exclusive) & known, (target == 1.0) & known
                both += (found & truth).sum((1, 2, 3)).cpu().numpy()
                there += truth.sum((1, 2, 3)).cpu().numpy()
                claimed += found.sum((1, 2, 3)).cpu().numpy()
        # A region that is in none of them and nowhere claimed is right.
        dice = np.where(there + claimed > 0, 2.0 * both / np.maximum(there + claimed, 1), 1.0)
        mean, each = float(dice.mean()), total / count
        named = {f"dice {name}": float(value) for name, value in zip(head.names, dice, strict=True)}
        return (1.0 - mean if stop_on == "dice" else each), {"dice": mean, "loss": each, **named}

    return measured
