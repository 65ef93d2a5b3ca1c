"""What networks that score every voxel share: scores at several scales while they learn, and how they are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimed.core import DataError, MissingExtraError, StudyFileError
from aimed.diagnosis import VOLUME_NETWORKS

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["Convolution3d", "VolumeNetwork", "build_volume_network", "first_weights", "triple"]


class Convolution3d(nn.Conv3d):  # type: ignore[misc]
    """A convolution whose training repeats to the bit in half precision too.

    Notes
    -----
    Of maps of two slices, the gradient of the weights in bfloat16 reads memory that nobody wrote (torch 2.13 on
    processors): it differs from run to run and may be NaN. Such maps are tiny, and go through in 32 bits.
    """

    def forward(self, x: Any) -> Any:
        """Return the convolution of maps, shape (b, c, z, y, x)."""
        if x.shape[2] == 2 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class VolumeNetwork(nn.Module):  # type: ignore[misc]
    """A network that scores every voxel of a volume.

    Subclasses set `divisor` (what each side of a volume has to be a multiple of), `heads` (what turns the
    maps of each scale into scores, the finest scale first), and define `maps`.
    """

    divisor: tuple[int, int, int]
    heads: Any

    def maps(self, volumes: Any) -> Sequence[Any]:
        """Return the last maps of each scale that has a head, finest first."""
        raise NotImplementedError

    def forward(self, volumes: Any) -> Any:
        """Return log odds, shape (b, outputs, z, y, x); those of every scale, finest first, while it learns.

        Parameters
        ----------
        volumes : Tensor, shape (b, c, z, y, x)
        """
        if any(size % divisor for size, divisor in zip(volumes.shape[2:], self.divisor, strict=True)):
            raise DataError(
                f"volumes of {tuple(volumes.shape[2:])} voxels", f"sides that are multiples of {self.divisor}"
            )
        maps, several = self.maps(volumes), self.training and len(self.heads) > 1
        # Half precision ends here: rounded scores would tie.
        with torch.autocast(volumes.device.type, enabled=False):
            scores = tuple(head(part.float()) for head, part in zip(self.heads, maps, strict=True) if several)
            return scores or self.heads[0](maps[0].float())

    def begin_at(self, log_odds: Sequence[float]) -> None:
        """Let the first scores be about as frequent as what is looked for; a network that has to unlearn that half of
        all voxels are tumour loses epochs.

        Parameters
        ----------
        log_odds : sequence of float
            One for each output.
        """
        for head in self.heads:
            last = [part for part in head.modules() if isinstance(part, nn.Conv3d | nn.ConvTranspose3d)][-1]
            with torch.no_grad():
                last.bias.copy_(torch.tensor(log_odds, dtype=last.bias.dtype))


def triple(value: Any) -> tuple[int, int, int]:
    """Return a number for each axis.

    Examples
    --------
    >>> triple(2), triple([1, 2, 2])
    ((2, 2, 2), (1, 2, 2))
    """
    z, y, x = (value,) * 3 if isinstance(value, int) else value
    return int(z), int(y), int(x)


def first_weights(network: Any, slope: float) -> None:
    """Draw the first weights of convolutions; call inside `seeded`.

    Parameters
    ----------
    network : Module
    slope : float
        Of the rectifier below 0.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(part.weight, a=slope)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def build_volume_network(
    architecture: str, channels: int, outputs: int, options: Mapping[str, Any] | None = None
) -> Any:  # fmt: skip
    """Return a network of a registered architecture with random weights.

    Parameters
    ----------
    architecture : str
        A name of `aimed.diagnosis.VOLUME_NETWORKS`.
    channels : int
        Of the scans.
    outputs : int
        Of the head.
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
    >>> network = build_volume_network("unet3d", 4, 3, {"widths": [4, 8]})
    >>> network(torch.zeros(1, 4, 8, 8, 8)).shape
    torch.Size([1, 3, 8, 8, 8])
    """
    kind = VOLUME_NETWORKS[architecture]
    if min(channels, outputs) < 1:
        raise DataError("no channels or nothing to outline", "at least one of both")
    try:
        return kind(channels=channels, outputs=outputs, **dict(options or {}))
    except TypeError:
        raise StudyFileError(
            f"'{architecture}' does not take all of: {', '.join(sorted(options or {}))}", "its own options"
        ) from None
