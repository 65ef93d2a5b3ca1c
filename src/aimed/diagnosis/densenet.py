"""DenseNet for one grey channel, with the parameter names of the published weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from aimed.core import MissingExtraError
from aimed.diagnosis.pooled_network import PooledNetwork, initialise

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["DenseNet"]


class _Layer(nn.Module):  # type: ignore[misc]
    """Two convolutions whose output is put beside all that came before in its block."""

    def __init__(self, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)

    def forward(self, before: list[Any]) -> Any:
        x = self.conv1(functional.relu(self.norm1(torch.cat(before, 1)), inplace=True))
        return self.conv2(functional.relu(self.norm2(x), inplace=True))


class _Block(nn.ModuleDict):  # type: ignore[misc]
    """Layers that each see all before them."""

    def forward(self, x: Any) -> Any:
        parts = [x]
        for layer in self.values():
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class DenseNet(PooledNetwork):
    """DenseNet; DenseNet-121 as it stands.

    Parameters
    ----------
    outputs : int
        Findings.
    growth : int
        Channels that each layer adds.
    blocks : sequence of int
        Layers of each block.
    first : int
        Channels of the first convolution.
    bottleneck : int
        Width inside a layer, as a multiple of `growth`.

    References
    ----------
    Huang et al., CVPR 2017. Rajpurkar et al., arXiv 1711.05225 (CheXNet).

    Examples
    --------
    >>> network = DenseNet(14)
    >>> sum(p.numel() for p in network.parameters()), network.width
    (6961934, 1024)
    """

    def __init__(
        self, outputs: int, growth: int = 32, blocks: Sequence[int] = (6, 12, 24, 16), first: int = 64,
        bottleneck: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        parts: OrderedDict[str, Any] = OrderedDict()
        parts["conv0"] = nn.Conv2d(1, first, 7, stride=2, padding=3, bias=False)
        parts["norm0"], parts["relu0"] = nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        parts["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
        width = first
        for number, layers in enumerate(blocks, start=1):
            parts[f"denseblock{number}"] = _Block(
                {f"denselayer{i + 1}": _Layer(width + i * growth, growth, bottleneck) for i in range(layers)}
            )
            width += layers * growth
            if number < len(blocks):
                parts[f"transition{number}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(width),
                        relu=nn.ReLU(inplace=True),
                        conv=nn.Conv2d(width, width // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2),
                    )
                )
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        # Not `features`: that is the method.
        self.backbone = nn.Sequential(parts)
        self.width, self.classifier = width, nn.Linear(width, outputs)
        self.stages = (
            "backbone.conv0", "backbone.norm0",
            *(f"backbone.{part}" for part in parts if part.startswith(("denseblock", "transition"))),
            "backbone.norm5",
        )  # fmt: skip
        initialise(self)

    def maps(self, pictures: Any) -> Any:
        """Return the last maps, at least 0, shape (b, width, y / 32, x / 32)."""
        return functional.relu(self.backbone(pictures))
