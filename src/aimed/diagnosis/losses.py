"""What a multi-label image classifier minimises; unknown labels weigh nothing and move nothing."""

from __future__ import annotations

from typing import Any

from aimed.core import MissingExtraError

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = [
    "as_labelled",
    "asymmetric_loss",
    "cross_entropy",
    "focal_loss",
    "forward_cross_entropy",
    "weighted_cross_entropy",
]


def _mean_of_known(each: Any, known: Any) -> Any:
    """Return the sum over findings of the mean over the pictures that know them."""
    count = known.sum(0).clamp(min=1)
    return (torch.where(known, each, torch.zeros_like(each)).sum(0) / count).sum()


def _parts(logits: Any, labels: Any) -> tuple[Any, Any, Any]:
    known = ~torch.isnan(labels)
    # A NaN that is multiplied by 0 is still one, also in the gradient: it has to go before anything is computed.
    return logits.float(), torch.where(known, labels, torch.zeros_like(labels)), known


def weighted_cross_entropy(
    logits: Any, labels: Any, positive_weight: Any = None, negative_weight: Any = None, epsilon: float = 0.0
) -> Any:
    """Return cross-entropy with a weight for each side of each finding: sum over findings of the mean over pictures.

    Parameters
    ----------
    logits : Tensor, shape (n, k)
        Log odds.
    labels : Tensor, shape (n, k)
        0, 1, or NaN where unknown.
    positive_weight, negative_weight : Tensors, shape (k,), optional
        As a rule the frequency of the other side, so that both sides of a finding weigh the same; 1 when absent.
    epsilon : float
        Added to probabilities before the logarithm. 0 is right; other values are for comparison with code that
        guards against log 0 that way.

    References
    ----------
    Wang et al., CVPR 2017 (ChestX-ray8).

    Examples
    --------
    >>> y = torch.tensor([[1.0, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]])
    >>> w = torch.tensor([0.25, 0.25, 0.5])
    >>> round(weighted_cross_entropy(torch.full((4, 3), 0.7).logit(), y, w, 1 - w, epsilon=1.0).item(), 7)
    -0.4956203
    """
    z, y, known = _parts(logits, labels)
    if epsilon:
        yes, no = torch.log(torch.sigmoid(z) + epsilon), torch.log(torch.sigmoid(-z) + epsilon)
    else:
        yes, no = functional.logsigmoid(z), functional.logsigmoid(-z)
    positive = 1.0 if positive_weight is None else positive_weight
    negative = 1.0 if negative_weight is None else negative_weight
    return _mean_of_known(-(positive * y * yes + negative * (1 - y) * no), known)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Return plain cross-entropy: sum over findings of the mean over the pictures that know them.

    Examples
    --------
    >>> round(cross_entropy(torch.zeros(2, 1), torch.tensor([[1.0], [torch.nan]])).item(), 4)
    0.6931
    """
    return weighted_cross_entropy(logits, labels)


def as_labelled(logits: Any, false_positive: Any, false_negative: Any, shift: Any = 0.0) -> Any:
    """Return the log odds that a finding is labelled present, from those that it is present.

    Parameters
    ----------
    logits : Tensor, shape (n, k)
        Log odds of the finding, plus `shift`.
    false_positive, false_negative : Tensors or floats that broadcast to (n, k)
        Chance that an absent finding is labelled present, and a present one absent; their sum is below 1. Where both
        are 0 the log odds stay as they are.
    shift : Tensor, shape (k,), or float
        What the weights of a loss add to log odds: taken off before, and added again after.

    Notes
    -----
    Labels that follow these rates make any proper loss of the result least at the true log odds.

    References
    ----------
    Patrini et al., CVPR 2017 (forward correction). Natarajan et al., NIPS 2013 (class-conditional label noise).

    Examples
    --------
    >>> round(torch.sigmoid(as_labelled(torch.tensor([[0.5]]).logit(), 0.1, 0.3)).item(), 4)
    0.4
    """
    z = logits.float() - shift
    up = torch.as_tensor(false_positive, dtype=z.dtype, device=z.device)
    down = torch.as_tensor(false_negative, dtype=z.dtype, device=z.device)
    least = torch.finfo(z.dtype).tiny
    straight = torch.log(1.0 - up - down)
    # Each side as a sum of two logarithms: no probability is ever rounded to 0 or 1.
    yes = torch.logaddexp(torch.log(up.clamp(min=least)), straight + functional.logsigmoid(z))
    no = torch.logaddexp(torch.log(down.clamp(min=least)), straight + functional.logsigmoid(-z))
    return torch.where((up > 0) | (down > 0), yes - no + shift, logits.float())


def forward_cross_entropy(
    logits: Any,
    labels: Any,
    false_positive: Any = 0.0,
    false_negative: Any = 0.0,
    positive_weight: Any = None,
    negative_weight: Any = None,
) -> Any:
    """Return cross-entropy against labels that are wrong at known rates: the logits learn what is there, not the label.

    Parameters
    ----------
    logits, labels, positive_weight, negative_weight
        As for `weighted_cross_entropy`.
    false_positive, false_negative : float, sequence of k floats, or Tensor that broadcasts to (n, k)
        As for `as_labelled`; 0 for labels that are right.

    References
    ----------
    Patrini et al., CVPR 2017.

    Examples
    --------
    With 30 % of the cases missed, 35 % labelled present are 50 % present.

    >>> y = (torch.arange(100) < 35).float()[:, None]
    >>> z = torch.zeros(100, 1, requires_grad=True)
    >>> forward_cross_entropy(z, y, 0.0, 0.3).backward()
    >>> abs(z.grad.sum().item()) < 1e-6
    True
    """
    shift: Any = 0.0
    if positive_weight is not None and negative_weight is not None:
        shift = torch.log(positive_weight) - torch.log(negative_weight)
    z = as_labelled(logits, false_positive, false_negative, shift)
    return weighted_cross_entropy(z, labels, positive_weight, negative_weight)


def focal_loss(logits: Any, labels: Any, gamma: float = 2.0, alpha: float | None = None) -> Any:
    """Return the focal loss: cross-entropy times (1 - p)^gamma, p being the chance given to what is true.

    Parameters
    ----------
    logits, labels
        As for `weighted_cross_entropy`.
    gamma : float
        0 is cross-entropy.
    alpha : float, optional
        Weight of positives; negatives weigh 1 - alpha.

    Notes
    -----
    Its probabilities lean towards one half by construction: calibrate them before they are read as risks.

    References
    ----------
    Lin et al., ICCV 2017. Charoenphakdee et al., CVPR 2021 (its probabilities).

    Examples
    --------
    >>> round(focal_loss(torch.tensor([[0.9]]).logit(), torch.tensor([[1.0]])).item(), 6)
    0.001054
    """
    z, y, known = _parts(logits, labels)
    towards = torch.where(y == 1.0, z, -z)
    each = -((torch.sigmoid(-towards)) ** gamma) * functional.logsigmoid(towards)
    if alpha is not None:
        each = each * torch.where(y == 1.0, alpha, 1.0 - alpha)
    return _mean_of_known(each, known)


def asymmetric_loss(
    logits: Any, labels: Any, gamma_negative: float = 4.0, gamma_positive: float = 1.0, margin: float = 0.05
) -> Any:
    """Return the asymmetric loss: easy negatives count less than easy positives, the easiest not at all.

    Parameters
    ----------
    logits, labels
        As for `weighted_cross_entropy`.
    gamma_negative, gamma_positive : float
    margin : float
        Taken off the probability of negatives; those below it weigh nothing.

    Notes
    -----
    As with the focal loss, calibrate before probabilities are read as risks.

    References
    ----------
    Ridnik et al., ICCV 2021.

    Examples
    --------
    >>> asymmetric_loss(torch.tensor([[0.04]]).logit(), torch.tensor([[0.0]])).item()
    0.0
    """
    z, y, known = _parts(logits, labels)
    p = torch.sigmoid(z)
    shifted = (p - margin).clamp(min=0.0)
    yes = -((1 - p) ** gamma_positive) * functional.logsigmoid(z)
    no = -(shifted**gamma_negative) * torch.log1p(-shifted.clamp(max=1.0 - 1e-6))
    return _mean_of_known(torch.where(y == 1.0, yes, no), known)
