"""Finds a learning rate: a short trial in which the rate rises until the loss does."""

from __future__ import annotations

import contextlib
import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import NotEstimableError
from aimed.fit.torch_training import DECADES, Loss, TrainingSettings, train

__all__ = ["RateSearch", "find_learning_rate"]

_DIVERGED = 3.0
_SMOOTH = 0.9
_LEAST = 10


@dataclass(frozen=True, slots=True, eq=False)
class RateSearch:
    """What a trial with a rising learning rate saw.

    Parameters
    ----------
    rate, loss : float arrays, shape (s,)
        Of each step; the loss is a moving average.
    suggested : float
        A tenth of the rate at which the loss was lowest: the largest one that is still far from too large.
    """

    rate: NDArray[np.float64]
    loss: NDArray[np.float64]
    suggested: float


class _EnoughError(Exception):
    """The trial has seen what it wanted to see."""


def find_learning_rate(
    module: Any, loss: Loss, data: Any, settings: TrainingSettings | None = None, *, high: float = 1.0, steps: int = 120
) -> RateSearch:
    """Try rising learning rates on a copy of a module.

    Parameters
    ----------
    module, loss, data, settings
        As for `aimed.fit.torch_training.train`; the module is left as it is.
    high : float
        Rate at the end; the trial begins at a millionth of it, and ends early when the loss has trebled.
    steps : int

    Raises
    ------
    NotEstimableError
        If the loss never fell.

    References
    ----------
    Smith, WACV 2017.

    Examples
    --------
    >>> import torch
    >>> from aimed.fit.torch_training import MemoryRows
    >>> x = np.linspace(-1.0, 1.0, 64)[:, None]
    >>> found = find_learning_rate(
    ...     torch.nn.Linear(1, 1), lambda m, b: ((m(b[0]) - b[1]) ** 2).mean(), MemoryRows(x, x + 1.0),
    ...     TrainingSettings(optimizer="sgd", momentum=0.0), high=10.0)
    >>> 0.01 < found.suggested < 1.0
    True
    """
    chosen = TrainingSettings() if settings is None else settings
    trial = replace(
        chosen, schedule="rising", learning_rate=high, epochs=1, warmup=0.0, patience=None, ema=None, checkpoint=None
    )
    copied = copy.deepcopy(module)
    seen: list[float] = []
    smooth: list[float] = []

    def watched(inner: Any, batch: Any) -> Any:
        value = loss(inner, batch)
        seen.append(float(value.detach()))
        before = smooth[-1] if smooth else 0.0
        smooth.append(_SMOOTH * before + (1 - _SMOOTH) * seen[-1])
        corrected = _corrected(smooth)
        if not math.isfinite(seen[-1]) or (
            len(seen) > _LEAST and corrected[-1] - corrected.min() > (_DIVERGED - 1.0) * abs(corrected.min())
        ):
            raise _EnoughError
        return value

    def rows(generator: np.random.Generator) -> NDArray[np.int64]:
        need = steps * min(chosen.batch_size, len(data))
        rounds = -(-need // len(data))
        return np.concatenate([generator.permutation(len(data)) for _ in range(rounds)])[:need]

    with contextlib.suppress(_EnoughError, NotEstimableError):
        train(copied, watched, data, settings=trial, order=rows)
    used = np.isfinite(seen)
    values = _corrected(smooth)[used]
    total = -(-steps * min(chosen.batch_size, len(data)) // chosen.batch_size)
    rates = high * 10.0 ** (DECADES * ((np.arange(len(seen)) + 1.0) / total - 1.0))[used]
    if values.size <= _LEAST or int(np.argmin(values)) < _LEAST // 2:
        raise NotEstimableError(
            "the loss did not fall at any learning rate", "a loss that falls before it rises", "set a learning rate"
        )
    return RateSearch(rates, values, float(rates[int(np.argmin(values))] / 10.0))


def _corrected(smooth: list[float]) -> NDArray[np.float64]:
    """Return a moving average without the pull of the 0 that it began with."""
    return np.asarray(np.asarray(smooth) / (1.0 - _SMOOTH ** (np.arange(len(smooth)) + 1.0)), dtype=np.float64)
