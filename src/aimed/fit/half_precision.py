"""Says where half precision is worth its rounding: a processor that has it, and scores that stay what they were."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from numpy.typing import ArrayLike

from aimed.core import MissingExtraError
from aimed.metrics.multilabel import multilabel_auroc

try:
    import torch
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["PrecisionGate", "half_precision_here", "precision_gate"]


def half_precision_here(accelerator: str = "cpu") -> bool:
    """Say whether the processor multiplies bfloat16 numbers itself; where it does not, they are slower than others.

    Examples
    --------
    >>> half_precision_here() in (True, False)
    True
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(ask()) for ask in asked if ask is not None)


@dataclass(frozen=True, slots=True)
class PrecisionGate:
    """Whether scores in half precision rank as those in full precision do.

    Parameters
    ----------
    full, half : float
        Macro AUROC in 32 bits and in 16.
    limit : float
        Largest difference that passes.

    Examples
    --------
    >>> PrecisionGate(0.8612, 0.8609, 0.002).passed
    True
    """

    full: float
    half: float
    limit: float

    @property
    def change(self) -> float:
        """AUROC in 16 bits less that in 32."""
        return self.half - self.full

    @property
    def passed(self) -> bool:
        """Whether the change is within the limit; a change that is not known is not."""
        return abs(self.change) < self.limit


def precision_gate(labels: ArrayLike, full: ArrayLike, half: ArrayLike, limit: float = 0.002) -> PrecisionGate:
    """Compare scores in full and in half precision of the same rows.

    Parameters
    ----------
    labels : 0/1 array, shape (n, k)
        NaN where unknown.
    full, half : float arrays, shape (n, k)
    limit : float

    Examples
    --------
    >>> precision_gate([[1], [0], [1]], [[2.0], [1.0], [3.0]], [[2.0], [1.0], [1.0]]).change
    -0.25
    """
    found = [float(multilabel_auroc(labels, scores).macro) for scores in (full, half)]
    return PrecisionGate(found[0], found[1], limit)
