"""What all image networks share: maps, their mean over the picture, and one weighted sum of it for each finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.core import DataError, MissingExtraError, StudyFileError
from aimed.diagnosis import NETWORKS

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["PooledNetwork", "build_network", "initialise"]


class PooledNetwork(nn.Module):  # type: ignore[misc]
    """A network whose finding scores are linear in the mean of its last maps.

    That makes class activation maps exact and free: the map of a finding is the sum of the last maps, each times its
    weight in `classifier`.

    Subclasses set `width` (channels of the last maps), `classifier` (``nn.Linear(width, outputs)``), `stages` (prefixes
    of parameter names from the picture to the head), and define `maps`.
    """

    width: int
    classifier: Any
    stages: tuple[str, ...]

    def maps(self, pictures: Any) -> Any:
        """Return the last maps, at least 0, shape (b, width, y', x')."""
        raise NotImplementedError

    def features(self, pictures: Any) -> Any:
        """Return the means of the last maps, shape (b, width)."""
        # Half precision ends here: rounded scores would tie, and ties cost AUROC.
        return self.maps(pictures).float().mean((2, 3))

    def forward(self, pictures: Any) -> Any:
        """Return log odds of the findings, shape (b, outputs)."""
        found = self.features(pictures)
        with torch.autocast(found.device.type, enabled=False):
            return self.classifier(found)


def initialise(network: Any) -> None:
    """Draw the first weights of convolutions and heads; call inside `seeded`."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)


def build_network(architecture: str, outputs: int, options: Mapping[str, Any] | None = None) -> Any:
    """Return a network of a registered architecture with random weights.

    Parameters
    ----------
    architecture : str
        A name of `aimed.diagnosis.NETWORKS`.
    outputs : int
        Findings.
    options : mapping, optional
        Parameters of the architecture, in JSON types.

    Raises
    ------
    UnknownNameError
        If there is no such architecture.
    StudyFileError
        If it does not take one of the options.

    Examples
    --------
    >>> network = build_network("small_cnn", 3, {"widths": [8, 16]})
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """
    kind = NETWORKS[architecture]
    if outputs < 1:
        raise DataError("no findings", "at least one")
    try:
        return kind(outputs=outputs, **dict(options or {}))
    except TypeError:
        raise StudyFileError(
            f"'{architecture}' does not take all of: {', '.join(sorted(options or {}))}", "its own options"
        ) from None
