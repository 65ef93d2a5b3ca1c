"""A small residual network for pictures of 64 to 160 pixels, made to train on two cores in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aimed.core import MissingExtraError
from aimed.diagnosis.pooled_network import PooledNetwork, initialise

try:
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["SmallCnn"]


class _Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions, added to a copy of what they saw."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        new = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(new)) + self.shortcut(self.pool(x)), inplace=True)


class SmallCnn(PooledNetwork):
    """A residual network with one block a width; the last maps are an eighth of the picture's size.

    Parameters
    ----------
    outputs : int
        Findings.
    widths : sequence of int
        Channels of the first convolution and of each block; that convolution and the first two blocks halve the
        picture, those after do not, so that heat maps stay fine.

    Examples
    --------
    >>> network = SmallCnn(5)
    >>> sum(p.numel() for p in network.parameters()), network.width
    (598453, 128)
    """

    def __init__(self, outputs: int, widths: Sequence[int] = (16, 32, 64, 128, 128)) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False)
        self.norm0 = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList(
            _Residual(before, after, 2 if place in (0, 1) else 1)
            for place, (before, after) in enumerate(pairwise(widths))
        )
        self.width, self.classifier = int(widths[-1]), nn.Linear(int(widths[-1]), outputs)
        self.stages = ("conv0", "norm0", *(f"blocks.{i}" for i in range(len(self.blocks))))
        initialise(self)
        for block in self.blocks:
            nn.init.zeros_(block.norm2.weight)

    def maps(self, pictures: Any) -> Any:
        """Return the last maps, at least 0, shape (b, width, y / 8, x / 8)."""
        x = functional.relu(self.norm0(self.conv0(pictures)), inplace=True)
        for block in self.blocks:
            x = block(x)
        return x
