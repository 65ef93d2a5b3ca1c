"""The 3D U-Net: a way down that sees wide, a way up that sees fine, and what was seen on the way down beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from aimed.core import MissingExtraError, StudyFileError
from aimed.diagnosis.volume_network import Convolution3d, VolumeNetwork, first_weights, triple

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["UNet3d"]

_SLOPE = 0.01


class _Stage(nn.Module):  # type: ignore[misc]
    """Convolutions at one scale, each normalised by case and channel; as a residual block, added to what they saw."""

    def __init__(self, inputs: int, outputs: int, kernel: Any, stride: Any, layers: int, residual: bool) -> None:
        super().__init__()
        padding = tuple(k // 2 for k in kernel)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for place in range(layers):
            step = stride if place == 0 else 1
            before = inputs if place == 0 else outputs
            self.convs.append(Convolution3d(before, outputs, kernel, stride=step, padding=padding, bias=False))
            # One group a channel is instance normalisation, and keeps the order of memory.
            self.norms.append(nn.GroupNorm(outputs, outputs))
        self.shortcut: Any = None
        if residual:
            self.shortcut = nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Any) -> Any:
        kept = None if self.shortcut is None else self.shortcut(x)
        last = len(self.convs) - 1
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            if place == last and kept is not None:
                x = x + kept
            x = functional.leaky_relu(x, _SLOPE, inplace=True)
        return x


class UNet3d(VolumeNetwork):
    """3D U-Net with strided convolutions down and transposed ones up.

    Parameters
    ----------
    channels : int
        Of the scans.
    outputs : int
    widths : sequence of int
        Channels at each scale, the finest first.
    strides : sequence of int or (int, int, int), optional
        Steps from each scale to the next; 2 along all axes when absent. 1 along an axis leaves it as it is, for scans
        with thick slices.
    kernels : sequence of int or (int, int, int), optional
        Odd sizes of the convolutions at each scale; 3 when absent.
    layers : int
        Convolutions a scale, on each way.
    residual : bool
    deep : int
        Coarser scales that learn to say the same.
    stem : int or (int, int, int)
        Step of the first convolution. With 2 the finest scale works on an eighth of the voxels and is six times as
        fast; its scores are widened to all voxels by the head, and outlines are a little rounder.

    References
    ----------
    Çiçek et al., MICCAI 2016. Isensee et al., Nature Methods 2021 (nnU-Net).

    Examples
    --------
    >>> network = UNet3d(4, 3)
    >>> sum(p.numel() for p in network.parameters()), network.divisor
    (1402483, (8, 8, 8))
    """

    def __init__(
        self, channels: int, outputs: int, widths: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[Any] | None = None, kernels: Sequence[Any] | None = None, layers: int = 2,
        residual: bool = False, deep: int = 0, stem: Any = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        levels = len(widths)
        steps = [triple(s) for s in (strides or [2] * (levels - 1))]
        sizes = [triple(k) for k in (kernels or [3] * levels)]
        if levels < 2 or len(steps) != levels - 1 or len(sizes) != levels or not 0 <= deep <= levels - 2:
            raise StudyFileError(
                f"{levels} widths, {len(steps)} strides, {len(sizes)} kernels and {deep} more scales",
                "two widths or more, a stride less, as many kernels, and at most two scales fewer that learn",
            )
        if any(k % 2 == 0 for size in sizes for k in size):
            raise StudyFileError("a kernel of even size", "odd sizes")
        first = triple(stem)
        self.divisor = triple([int(np.prod([step[axis] for step in (first, *steps)])) for axis in range(3)])
        down = [_Stage(channels, widths[0], sizes[0], first, layers, residual)]
        for (before, after), step, size in zip(pairwise(widths), steps, sizes[1:], strict=True):
            down.append(_Stage(before, after, size, step, layers, residual))
        self.down = nn.ModuleList(down)
        # Finest first, as everything here.
        self.widen = nn.ModuleList(
            nn.ConvTranspose3d(after, before, step, stride=step, bias=False)
            for (before, after), step in zip(pairwise(widths), steps, strict=True)
        )
        self.up = nn.ModuleList(
            _Stage(2 * width, width, size, 1, layers, residual)
            for width, size in zip(widths[:-1], sizes[:-1], strict=True)
        )
        finest = nn.Conv3d(widths[0], outputs, 1)
        if first != (1, 1, 1):
            finest = nn.ConvTranspose3d(widths[0], outputs, first, stride=first)
        self.heads = nn.ModuleList([finest, *(nn.Conv3d(widths[level], outputs, 1) for level in range(1, deep + 1))])
        first_weights(self, _SLOPE)

    def maps(self, volumes: Any) -> list[Any]:
        """Return the last maps of each scale that has a head, finest first."""
        seen, x = [], volumes
        for stage in self.down:
            x = stage(x)
            seen.append(x)
        found: list[Any] = []
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat((self.widen[level](x), seen[level]), 1))
            found.insert(0, x)
        return found[: len(self.heads)]
