"""Weights that a user brings to a network for volumes: renamed, fitted to other channels, and reported key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aimed.core import RefusedError

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights

__all__ = ["VolumeWeightsReport", "load_volume_weights"]

_WRAPPERS = re.compile(r"^(?:(?:module|model|network|net|_orig_mod)\.)+")
_HEADS = re.compile(r"^(?:heads|conv_final|coarse|output_block|deep_supervision_heads)\.")
_DOUBLES = re.compile(r"^skip_layers\.")
_OTHER_BLOCKS = re.compile(r"^(?:input_block|bottleneck|(?:down|up)samples\.\d+)\..*conv3\b")
_DYNAMIC = re.compile(
    r"^(?:input_block|downsamples\.(?P<down>\d+)|(?P<bottom>bottleneck)|upsamples\.(?P<up>\d+)(?:\.conv_block)?)"
    r"\.(?P<part>conv|norm|transp_conv)(?P<number>[12]?)\.(?:conv\.)?(?P<kind>weight|bias)$"
)


@dataclass(frozen=True, slots=True)
class VolumeWeightsReport:
    """What became of each tensor of a file.

    Parameters
    ----------
    sha256 : str
    loaded : tuple of (str, str)
        Names in the file and in the network.
    skipped : tuple of (str, str)
        Names in the file, and why they were left.
    missing : tuple of str
        Names in the network that nothing was found for; heads are always new and not among them.
    channels : (int, int)
        Channels that the file was trained on, and those of the scans; of other numbers, each channel starts with the
        mean over those of the file.
    """

    sha256: str
    loaded: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    channels: tuple[int, int]

    @property
    def share(self) -> float:
        """Share of the tensors of the network without its heads that were found."""
        return len(self.loaded) / max(1, len(self.loaded) + len(self.missing))

    def __str__(self) -> str:
        theirs, own = self.channels
        told = "" if theirs == own else f"; {theirs} channels became {own} by their mean"
        return (
            f"{len(self.loaded)} of {len(self.loaded) + len(self.missing)} tensors of the network loaded, "
            f"{len(self.skipped)} of the file skipped, heads new{told}"
        )

    def to_state(self) -> dict[str, Any]:
        """Return the report in JSON types."""
        return {
            "sha256": self.sha256,
            "loaded": [list(pair) for pair in self.loaded],
            "skipped": [list(pair) for pair in self.skipped],
            "missing": list(self.missing),
            "channels": list(self.channels),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> VolumeWeightsReport:
        """Rebuild from `to_state`."""
        loaded, skipped = (tuple((str(a), str(b)) for a, b in state[name]) for name in ("loaded", "skipped"))
        theirs, own = state["channels"]
        missing = tuple(str(name) for name in state["missing"])
        return cls(str(state["sha256"]), loaded, skipped, missing, (int(theirs), int(own)))


def load_volume_weights(network: Any, weights: InitialWeights) -> VolumeWeightsReport:
    """Load a file into a network; its heads stay new.

    Parameters
    ----------
    network : VolumeNetwork
    weights : InitialWeights
        Greys are scaled by the study, so that no normalisation has to be named.

    Returns
    -------
    VolumeWeightsReport

    Raises
    ------
    StudyFileError
        If neither the arguments nor a record say the hash.
    RefusedError
        If the hash differs, the file holds more than tensors, or under 95 % of the network without heads is in it.

    Notes
    -----
    Names of MONAI's SegResNet and DynUNet are known, and those of `VolumeSegmenter.weights`, of which the first network
    is taken. A first convolution of other channels is fitted by their mean, so that scans whose channels are all alike
    are seen as before.
    """
    from aimed.diagnosis.initial_weights import LEAST_SHARE, opened_weights

    digest, _, tensors, _ = opened_weights(weights)
    own = {name: value for name, value in network.state_dict().items() if not _HEADS.match(name)}
    first = next(iter(own))
    levels = 2 + max((int(name.split(".")[1]) for name in own if name.startswith("up.")), default=0)
    found: dict[str, Any] = {}
    loaded, skipped = [], []
    channels = (int(own[first].shape[1]),) * 2
    for name, value in tensors.items():
        # Of several networks in a file of ours the first is taken.
        ours = _our_name(_WRAPPERS.sub("", name).removeprefix("0."), levels)
        if _OTHER_BLOCKS.match(ours):
            raise RefusedError("the file is of a DynUNet with residual blocks", "one without", "use another file")
        if _HEADS.match(ours):
            skipped.append((name, "the head is new"))
        elif _DOUBLES.match(ours):
            skipped.append((name, "there under another name"))
        elif ours not in own:
            skipped.append((name, "not a weight of this network"))
        elif ours in found:
            skipped.append((name, "there twice"))
        else:
            fitted = value.float()
            if ours == first and fitted.ndim == 5 and fitted.shape[1] != own[first].shape[1]:
                channels = (int(fitted.shape[1]), int(own[first].shape[1]))
                fitted = _other_channels(fitted, channels[1])
            if fitted.shape != own[ours].shape:
                skipped.append((name, f"shape {tuple(value.shape)}, not {tuple(own[ours].shape)}"))
            elif not np.isfinite(fitted.numpy()).all():
                raise RefusedError("the file holds weights that are not finite", "finite weights", "use another file")
            else:
                found[ours] = fitted
                loaded.append((name, ours))
    missing = tuple(sorted(set(own) - set(found)))
    report = VolumeWeightsReport(digest, tuple(loaded), tuple(skipped), missing, channels)
    if report.share < LEAST_SHARE:
        raise RefusedError(
            f"only {len(loaded)} of {len(own)} tensors of the network are in the file "
            f"(missing first: {', '.join(missing[:3])})",
            f"at least {LEAST_SHARE:.0%}",
            "choose the architecture that the weights belong to, with its options",
        )
    network.load_state_dict({**network.state_dict(), **found})
    return report


def _other_channels(kernels: Any, channels: int) -> Any:
    """Return kernels for another number of channels, with the same answer where all channels are alike."""
    mean = kernels.mean(1, keepdim=True) * (kernels.shape[1] / channels)
    return mean.repeat(1, channels, 1, 1, 1)


def _our_name(name: str, levels: int) -> str:
    """Return what `UNet3d` calls a weight of MONAI's DynUNet; any other name stays.

    Examples
    --------
    >>> _our_name("upsamples.0.transp_conv.conv.weight", 4), _our_name("bottleneck.norm2.bias", 4)
    ('widen.2.weight', 'down.3.norms.1.bias')
    """
    found = _DYNAMIC.match(name)
    if found is None:
        return name
    part, kind = found["part"], found["kind"]
    if found["up"] is not None:
        # Theirs begin at the coarsest scale.
        level = levels - 2 - int(found["up"])
        if part == "transp_conv":
            return f"widen.{level}.{kind}"
        return f"up.{level}.{part}s.{int(found['number']) - 1}.{kind}"
    down = levels - 1 if found["bottom"] else 0 if found["down"] is None else int(found["down"]) + 1
    return f"down.{down}.{part}s.{int(found['number'] or 1) - 1}.{kind}"
