"""What a network that outlines things in volumes minimises; voxels whose label is not known weigh nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aimed.core import DataError, MissingExtraError

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = [
    "deep_supervision",
    "dice_cross_entropy",
    "dice_loss",
    "focal_loss",
    "soft_dice_loss",
    "tversky_loss",
    "voxel_cross_entropy",
]


def _known(target: Any) -> tuple[Any, Any]:
    """Return the target with 0 where it is not known, and a mask of where it is, as numbers."""
    known = ~torch.isnan(target)
    # A NaN that is multiplied by 0 is still one, also in the gradient: it has to go before anything is computed.
    return torch.where(known, target, torch.zeros_like(target)), known.to(target.dtype)


def _parts(logits: Any, target: Any, exclusive: bool) -> tuple[Any, Any, Any, Any]:
    """Return log odds, probabilities, target and mask, all in 32 bits at least."""
    if logits.shape != target.shape:
        raise DataError(
            f"scores of shape {tuple(logits.shape)} and a target of {tuple(target.shape)}", "the same shape"
        )  # fmt: skip
    z = logits if logits.dtype == torch.float64 else logits.float()
    y, known = _known(target.to(z.dtype))
    if exclusive:
        # One channel that is not known leaves the others of that voxel without a meaning.
        known = known.amin(1, keepdim=True).expand_as(known)
        y = y * known
    return z, torch.softmax(z, 1) if exclusive else torch.sigmoid(z), y, known


def _sums(values: Any, batch: bool) -> Any:
    return values.sum((0, *range(2, values.ndim))) if batch else values.sum(tuple(range(2, values.ndim)))


def _mean_of_overlaps(share: Any, known: Any, batch: bool, exclusive: bool) -> Any:
    """Return 1 - the mean over cases and channels that know at least one voxel; the background is none of them."""
    counts = (_sums(known, batch) > 0).to(share.dtype)
    if exclusive:
        share, counts = share[..., 1:], counts[..., 1:]
    return ((1.0 - share) * counts).sum() / counts.sum().clamp(min=1.0)


def soft_dice_loss(probabilities: Any, target: Any, epsilon: float = 1e-5, batch: bool = False) -> Any:
    """Return 1 - soft Dice with squares in the denominator: mean over cases and channels.

    Parameters
    ----------
    probabilities, target : Tensors, shape (b, k, z, y, x)
        Or with fewer dimensions in space. The target is 0, 1, or NaN where it is not known.
    epsilon : float
        Added to numerator and denominator: a channel that is empty in both then has no loss.
    batch : bool
        Add up over the cases of a batch before dividing, so that cases without anything to find do not rule.

    References
    ----------
    Milletari et al., 3DV 2016 (V-Net).

    Examples
    --------
    >>> label = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    >>> round(soft_dice_loss(torch.eye(2)[None, None], label, epsilon=1.0).item(), 6)
    0.4
    """
    y, known = _known(target)
    return _soft_dice(probabilities, y, known, epsilon, batch, exclusive=False)


def _soft_dice(p: Any, y: Any, known: Any, epsilon: float, batch: bool, exclusive: bool) -> Any:
    p = p * known
    share = (2.0 * _sums(p * y, batch) + epsilon) / (_sums(p * p, batch) + _sums(y * y, batch) + epsilon)
    return _mean_of_overlaps(share, known, batch, exclusive)


def dice_loss(
    logits: Any, target: Any, *, exclusive: bool = False, epsilon: float = 1e-5, batch: bool = False
) -> Any:  # fmt: skip
    """Return the soft Dice loss of scores.

    Parameters
    ----------
    logits, target : Tensors, shape (b, k, z, y, x)
        0, 1 or NaN for each region; with `exclusive` one of the channels is 1, and the first is the background.
    exclusive : bool
        Labels that exclude each other (softmax) and not regions that may overlap (sigmoid).
    epsilon, batch
        As in `soft_dice_loss`.

    Examples
    --------
    >>> target = torch.tensor([[[[[1.0, 0.0]]]]])
    >>> round(dice_loss(torch.tensor([[[[[9.0, -9.0]]]]]), target).item(), 4)
    0.0
    """
    _, p, y, known = _parts(logits, target, exclusive)
    return _soft_dice(p, y, known, epsilon, batch, exclusive)


def voxel_cross_entropy(logits: Any, target: Any, *, exclusive: bool = False) -> Any:
    """Return cross-entropy: mean over known voxels, and over regions where they may overlap.

    Parameters
    ----------
    logits, target, exclusive
        As in `dice_loss`.

    Examples
    --------
    >>> round(voxel_cross_entropy(torch.zeros(1, 1, 1, 1, 2), torch.tensor([[[[[1.0, torch.nan]]]]])).item(), 4)
    0.6931
    """
    z, _, y, known = _parts(logits, target, exclusive)
    return _cross_entropy(z, y, known, exclusive)


def _cross_entropy(z: Any, y: Any, known: Any, exclusive: bool) -> Any:
    if exclusive:
        each = -(functional.log_softmax(z, 1) * y)
        return each.sum() / known[:, :1].sum().clamp(min=1.0)
    each = functional.binary_cross_entropy_with_logits(z, y, weight=known, reduction="sum")
    return each / known.sum().clamp(min=1.0)


def dice_cross_entropy(
    logits: Any, target: Any, *, exclusive: bool = False, dice_weight: float = 1.0, entropy_weight: float = 1.0,
    epsilon: float = 1e-5, batch: bool = False,
) -> Any:  # fmt: skip
    """Return the soft Dice loss plus cross-entropy.

    Parameters
    ----------
    logits, target, exclusive, epsilon, batch
        As in `dice_loss`.
    dice_weight, entropy_weight : float

    References
    ----------
    Isensee et al., Nature Methods 2021 (nnU-Net).

    Examples
    --------
    >>> target = torch.tensor([[[[[1.0, 0.0]]]]])
    >>> z = torch.tensor([[[[[9.0, -9.0]]]]])
    >>> bool(dice_cross_entropy(z, target) > dice_loss(z, target))
    True
    """
    z, p, y, known = _parts(logits, target, exclusive)
    overlap = _soft_dice(p, y, known, epsilon, batch, exclusive)
    return dice_weight * overlap + entropy_weight * _cross_entropy(z, y, known, exclusive)


def tversky_loss(
    logits: Any, target: Any, *, exclusive: bool = False, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1.0,
    epsilon: float = 1e-5, batch: bool = False,
) -> Any:  # fmt: skip
    """Return 1 - the Tversky index, in which voxels missed and voxels too many weigh differently.

    Parameters
    ----------
    logits, target, exclusive, epsilon, batch
        As in `dice_loss`.
    alpha, beta : float
        Weights of voxels too many and of voxels missed. One half each is the Dice index of plain sums; ``beta >
        alpha`` looks for what is small.
    gamma : float
        Exponent of each channel's loss; above 1 it turns away from what is found already.

    References
    ----------
    Salehi et al., MLMI 2017. Abraham and Khan, ISBI 2019 (gamma).

    Examples
    --------
    >>> p, target = torch.full((1, 1, 1, 1, 4), 0.5), torch.tensor([[[[[1.0, 1, 0, 0]]]]])
    >>> round(tversky_loss(p.logit(), target, alpha=0.3, beta=0.7).item(), 4)
    0.5
    """
    _, p, y, known = _parts(logits, target, exclusive)
    p = p * known
    both = _sums(p * y, batch)
    more, fewer = _sums(p, batch) - both, _sums(y, batch) - both
    share = (both + epsilon) / (both + alpha * more + beta * fewer + epsilon)
    # The root of a loss that is nearly 0 has no slope.
    return _mean_of_overlaps(1.0 - (1.0 - share).clamp(min=1e-7) ** gamma, known, batch, exclusive)


def focal_loss(logits: Any, target: Any, *, exclusive: bool = False, gamma: float = 2.0) -> Any:
    """Return cross-entropy times (1 - p)^gamma, p being the chance given to what is true; mean over known voxels.

    Parameters
    ----------
    logits, target, exclusive
        As in `dice_loss`.
    gamma : float
        0 is cross-entropy.

    References
    ----------
    Lin et al., ICCV 2017.

    Examples
    --------
    >>> z = torch.full((1, 1, 1, 1, 1), 0.9).logit()
    >>> round(focal_loss(z, torch.ones_like(z)).item(), 6)
    0.001054
    """
    z, _, y, known = _parts(logits, target, exclusive)
    if exclusive:
        logs = functional.log_softmax(z, 1)
        each = -((1.0 - logs.exp()) ** gamma) * logs * y
        return each.sum() / known[:, :1].sum().clamp(min=1.0)
    towards = torch.where(y == 1.0, z, -z)
    each = -(torch.sigmoid(-towards) ** gamma) * functional.logsigmoid(towards)
    return (each * known).sum() / known.sum().clamp(min=1.0)


def deep_supervision(
    loss: Callable[[Any, Any], Any], scales: Any, target: Any, weights: Sequence[float] | None = None
) -> Any:
    """Return the weighted mean of a loss over the scales at which a network says something.

    Parameters
    ----------
    loss : callable
        ``loss(logits, target)``.
    scales : Tensor, or sequence of Tensors (b, k, z', y', x')
        Finest first; a network that predicts returns one tensor.
    target : Tensor, shape (b, k, z, y, x)
        Seen at each scale by its nearest voxels.
    weights : sequence of float, optional
        One for each scale; each half of the one before when absent.

    References
    ----------
    Dou et al., Medical Image Analysis 2017.

    Examples
    --------
    >>> target = torch.ones(1, 1, 4, 4, 4)
    >>> scales = [torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 2, 2, 2)]
    >>> round(deep_supervision(voxel_cross_entropy, scales, target).item(), 4)
    0.6931
    """
    if torch.is_tensor(scales):
        return loss(scales, target)
    given = [0.5**i for i in range(len(scales))] if weights is None else [float(w) for w in weights]
    if len(given) != len(scales) or sum(given) <= 0:
        raise DataError(f"{len(given)} weights for {len(scales)} scales", "one for each, some above 0")
    value = 0.0
    for logits, weight in zip(scales, given, strict=True):
        size = logits.shape[2:]
        here = target if size == target.shape[2:] else functional.interpolate(target, size=size, mode="nearest-exact")
        value = value + weight / sum(given) * loss(logits, here)
    return value
