"""What networks for times to events minimise, and the dense networks themselves, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import MissingExtraError
from aimed.prognosis.dense_layers import DenseLayers

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["cox_loss", "deephit_loss", "dense_network", "hazard_loss", "layers_of"]


class _Tied(nn.Module):  # type: ignore[misc]
    """Weighted sums that are tied to each other: the weights are some basis times fewer ones that are learned."""

    def __init__(self, inputs: int, basis: NDArray[np.float64], start: NDArray[np.float64]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(basis.shape[1], inputs))
        self.bias = nn.Parameter(torch.from_numpy(start.astype(np.float32)))
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32)))

    def forward(self, x: Any) -> Any:
        return nn.functional.linear(x, self.basis @ self.weight, self.bias)


def dense_network(
    inputs: int, hidden: Sequence[int], dropout: float, batch_norm: bool, basis: NDArray[Any], start: NDArray[Any]
) -> Any:
    """Return dense layers; each hidden one is followed by batch normalisation, max(0, ·) and dropout.

    Parameters
    ----------
    inputs : int
    hidden : sequence of int
        Widths.
    dropout : float
        Share of a hidden layer that is left out at each step.
    batch_norm : bool
    basis : float array, shape (outputs, b)
        The outputs are this times b weighted sums, plus an offset each.
    start : float array, shape (outputs,)
        Offsets at the start. The last weights begin at 0, so that training sets out from the model that knows no
        predictor.
    """
    parts: list[Any] = []
    width = inputs
    for size in hidden:
        parts.append(nn.Linear(width, size, bias=not batch_norm))
        if batch_norm:
            parts.append(nn.BatchNorm1d(size))
        parts.append(nn.ReLU())
        if dropout:
            parts.append(nn.Dropout(dropout))
        width = size
    return nn.Sequential(*parts, _Tied(width, basis, start))


def layers_of(network: Any, center: NDArray[np.float64], scale: NDArray[np.float64]) -> DenseLayers:
    """Return a network made by `dense_network` as plain arrays; normalisations become part of the weights."""
    weights, offsets = [], []
    for part in network:
        if isinstance(part, nn.Linear | _Tied):
            weight = part.weight.detach().double().numpy()
            if isinstance(part, _Tied):
                weight = part.basis.double().numpy() @ weight
            offset = np.zeros(weight.shape[0]) if part.bias is None else part.bias.detach().double().numpy()
            weights.append(weight)
            offsets.append(offset)
        elif isinstance(part, nn.BatchNorm1d):
            by = (part.weight.double() / torch.sqrt(part.running_var.double() + part.eps)).detach().numpy()
            weights[-1] = weights[-1] * by[:, None]
            offsets[-1] = (offsets[-1] - part.running_mean.double().numpy()) * by + part.bias.detach().double().numpy()
    return DenseLayers(
        center, scale, tuple(w.astype(np.float32) for w in weights), tuple(b.astype(np.float32) for b in offsets)
    )


def cox_loss(score: Any, time: Any, event: Any, ties: str = "efron") -> Any:
    """Return the negative log partial likelihood of a batch, divided by its events; 0 when it has none.

    Parameters
    ----------
    score : Tensor, shape (n,)
        Log relative hazard.
    time : Tensor, shape (n,)
    event : bool Tensor, shape (n,)
    ties : {"efron", "breslow"}

    References
    ----------
    Katzman et al., BMC Med Res Methodol 2018;18:24. Efron, J Am Stat Assoc 1977;72:557.
    """
    if not bool(event.any()):
        return (score * 0.0).sum()
    order = torch.argsort(time, descending=True, stable=True)
    score, time, event = score[order], time[order], event[order]
    new = torch.ones_like(event)
    new[1:] = time[1:] != time[:-1]
    group = torch.cumsum(new, 0) - 1
    # The risk set of a time ends with the last row of that time.
    ends = torch.cat((torch.nonzero(new)[1:, 0] - 1, torch.tensor([time.numel() - 1], device=time.device)))
    at_risk = torch.logcumsumexp(score, 0)[ends][group[event]]
    found = at_risk - score[event]
    if ties == "efron":
        own = group[event]
        count = torch.bincount(own, minlength=int(ends.numel()))
        first = torch.cumsum(count, 0) - count
        rank = torch.arange(own.numel(), device=own.device) - first[own]
        dying = torch.zeros(ends.numel(), dtype=score.dtype, device=score.device)
        dying = dying.index_add(0, own, torch.exp(score[event] - at_risk))
        found = found + torch.log1p(-(rank.to(score.dtype) / count[own]) * dying[own])
    return found.mean()


def hazard_loss(logits: Any, passed: Any, place: Any, cause: Any) -> Any:
    """Return the mean negative log-likelihood of hazards in intervals.

    Parameters
    ----------
    logits : Tensor, shape (n, m, K)
        Log odds of an event of each cause in each interval, against none.
    passed : Tensor, shape (n, m)
        Share of each interval that was lived through; 1 in the one of the event.
    place : int Tensor, shape (n,)
        Interval of the event; any for rows without.
    cause : int Tensor, shape (n,)
        0 for no event, 1 to K.

    Notes
    -----
    A row censored within an interval has passed a share s of it, and is there with probability (1 - h)^s: the hazard
    is taken as constant inside. With shares of 0 and 1 alone this is the published loss.

    References
    ----------
    Gensheimer and Narasimhan, PeerJ 2019;7:e6257. Kvamme and Borgan, Lifetime Data Anal 2021;27:710.
    """
    padded = torch.cat((torch.zeros_like(logits[:, :, :1]), logits), 2)
    lived = (passed * torch.logsumexp(padded, 2)).sum(1)
    return (lived - _own(logits, place, cause)).mean()


def _own(values: Any, place: Any, cause: Any) -> Any:
    """Return each row's value at its interval and cause, 0 where it had no event."""
    rows = torch.arange(place.numel(), device=place.device)
    return torch.where(cause > 0, values[rows, place, torch.clamp(cause - 1, min=0)], 0.0)


def deephit_loss(
    logits: Any, passed: Any, place: Any, cause: Any, time: Any, causes: int, alpha: float, sigma: float
) -> Any:
    """Return DeepHit's loss: negative log-likelihood, and a penalty where the one who had the event seemed safer.

    Parameters
    ----------
    logits : Tensor, shape (n, m K + 1)
        Of the chance of an event in each interval (its causes side by side), and of none in any.
    passed, place, cause
        As in `hazard_loss`.
    time : Tensor, shape (n,)
        Time of event or censoring, to say which of two rows outlived the other's event.
    causes : int
        K.
    alpha : float
        Weight of the likelihood; that of the penalty is 1 - alpha.
    sigma : float
        A pair adds exp(-(F(t|i) - F(t|j)) / sigma), for F the incidence of the cause of i at its time t.

    Notes
    -----
    A row censored within an interval has passed a share of it, as in `hazard_loss`. The penalty is divided by n², as
    in pycox.

    References
    ----------
    Lee et al., AAAI 2018;32:2314. Kvamme, Borgan and Scheel, J Mach Learn Res 2019;20(129).
    """
    n, m = passed.shape
    whole = torch.logsumexp(logits, 1, keepdim=True)
    inside = logits[:, :-1].reshape(n, m, causes) - whole[:, :, None]
    # Chances of reaching each interval, and of none in any, added up from the end.
    each = torch.cat((torch.logsumexp(inside, 2), logits[:, -1:] - whole), 1)
    alive = torch.logcumsumexp(each.flip(1), 1).flip(1)
    censored = -(passed * (alive[:, 1:] - alive[:, :-1])).sum(1)
    likelihood = torch.where(cause > 0, -_own(inside, place, cause), censored).mean()
    if alpha == 1.0:
        return likelihood
    incidence = torch.cumsum(torch.softmax(logits, 1)[:, :-1].reshape(n, m, causes), 1)
    later = (time[:, None] < time[None, :]) | ((time[:, None] == time[None, :]) & (cause == 0)[None, :])
    penalty = likelihood * 0.0
    for k in range(1, causes + 1):
        mine = cause == k
        at = incidence[:, :, k - 1].T[place[mine]]
        gap = at[:, mine].diagonal()[:, None] - at
        penalty = penalty + (later[mine] * torch.exp(-gap / sigma)).sum() / n**2
    return alpha * likelihood + (1.0 - alpha) * penalty
