"""The residual encoder and decoder that won BraTS 2018, with the parameter names of MONAI's SegResNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from aimed.core import MissingExtraError, StudyFileError
from aimed.diagnosis.volume_network import Convolution3d, VolumeNetwork, first_weights

try:
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["SegResNet3d"]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> Any:
    layer = Convolution3d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    return nn.Sequential(OrderedDict(conv=layer))


class _Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions, each after a normalisation, added to what they saw."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.conv1, self.conv2 = _conv(width, width), _conv(width, width)

    def forward(self, x: Any) -> Any:
        new = self.conv1(functional.relu(self.norm1(x), inplace=True))
        return self.conv2(functional.relu(self.norm2(new), inplace=True)) + x


class SegResNet3d(VolumeNetwork):
    """SegResNet without its auto-encoder branch.

    Parameters
    ----------
    channels : int
        Of the scans.
    outputs : int
    first : int
        Channels at the finest scale; each coarser one has twice as many.
    groups : int
        Of the normalisations; has to divide `first`.
    blocks_down : sequence of int
        Residual blocks at each scale on the way down.
    blocks_up : sequence of int
        And on the way up, one scale less.
    deep : int
        Coarser scales that learn to say the same.

    References
    ----------
    Myronenko, BrainLes 2018, arXiv 1810.11654.

    Examples
    --------
    >>> network = SegResNet3d(4, 3)
    >>> sum(p.numel() for p in network.parameters()), network.divisor
    (1176843, (8, 8, 8))
    """

    def __init__(
        self, channels: int, outputs: int, first: int = 8, groups: int = 8, blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1), deep: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        ups = len(blocks_up)
        if len(blocks_down) != ups + 1 or ups < 1 or not 0 <= deep <= ups - 1 or first % groups:
            raise StudyFileError(
                f"{len(blocks_down)} scales down, {ups} up, {deep} more that learn, {first} channels, {groups} groups",
                "one scale less up than down, fewer that learn, and channels that groups divide",
            )
        self.divisor = (2**ups,) * 3
        self.convInit = _conv(channels, first)
        self.down_layers = nn.ModuleList(
            nn.Sequential(
                _conv(first * 2 ** (i - 1), first * 2**i, stride=2) if i else nn.Identity(),
                *(_Residual(first * 2**i, groups) for _ in range(count)),
            )
            for i, count in enumerate(blocks_down)
        )
        widths = [first * 2**i for i in reversed(range(ups))]
        self.up_samples = nn.ModuleList(
            nn.Sequential(
                _conv(2 * width, width, kernel=1), nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)
            )
            for width in widths
        )
        self.up_layers = nn.ModuleList(
            nn.Sequential(*(_Residual(width, groups) for _ in range(count)))
            for width, count in zip(widths, blocks_up, strict=True)
        )
        self.conv_final = self._head(first, groups, outputs)
        self.coarse = nn.ModuleList(self._head(first * 2**i, groups, outputs) for i in range(1, deep + 1))
        first_weights(self, 0.0)

    @staticmethod
    def _head(width: int, groups: int, outputs: int) -> Any:
        return nn.Sequential(nn.GroupNorm(groups, width), nn.ReLU(), _conv(width, outputs, kernel=1, bias=True))

    @property
    def heads(self) -> list[Any]:
        """What scores each scale, finest first."""
        return [self.conv_final, *self.coarse]

    def maps(self, volumes: Any) -> list[Any]:
        """Return the last maps of each scale that has a head, finest first."""
        x, seen = self.convInit(volumes), []
        for layer in self.down_layers:
            x = layer(x)
            seen.append(x)
        found: list[Any] = []
        for widen, layer, kept in zip(self.up_samples, self.up_layers, reversed(seen[:-1]), strict=True):
            x = layer(widen(x) + kept)
            found.insert(0, x)
        return found[: len(self.heads)]
