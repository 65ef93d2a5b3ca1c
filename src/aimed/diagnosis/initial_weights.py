"""Weights that a user brings: checked by hash, read without running code, renamed, and reported key by key."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimed.core import DataError, MissingExtraError, RefusedError, StudyFileError
from aimed.diagnosis.standardise import NORMALISATIONS, Standardise

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["LEAST_SHARE", "InitialWeights", "WeightsReport", "load_weights", "opened_weights", "record_weights"]

LEAST_SHARE = 0.95
"""Of the tensors of a network without its head, below which a file is not taken for its weights."""
_WRAPPERS = re.compile(r"^(?:(?:module|model|network|net|_orig_mod|densenet121|encoder)\.)+")
_OLD = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.")
_HEAD = re.compile(r"^(?:classifier|class_layers|fc|head)\.")
_NESTED = ("state_dict", "model_state_dict", "model")
_RECIPE = (
    'where you trust the file, write its weights alone and give that: python -c "import torch; '
    "torch.save(torch.load('FILE', map_location='cpu', weights_only=False).state_dict(), 'weights.pt')\""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """A file of weights to start from.

    Parameters
    ----------
    path : path
        safetensors, or a PyTorch file of a ``state_dict``.
    sha256 : str, optional
        What the file must hash to; needed where no record lies beside the file.
    normalisation : str or Standardise, optional
        What pictures the weights were trained on: a name of `aimed.diagnosis.standardise.NORMALISATIONS`, or mean and
        spread; needed where no record says it.

    Notes
    -----
    The record is ``<file name>.json`` beside the file, as `record_weights` writes it.
    """

    path: str | os.PathLike[str]
    sha256: str | None = None
    normalisation: str | Standardise | None = None


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What became of each tensor of a file.

    Parameters
    ----------
    sha256 : str
    normalisation : Standardise
    loaded : tuple of (str, str)
        Names in the file and in the network.
    skipped : tuple of (str, str)
        Names in the file, and why they were left.
    missing : tuple of str
        Names in the network that nothing was found for; the head is always new and not among them.
    """

    sha256: str
    normalisation: Standardise
    loaded: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the tensors of the backbone that were found."""
        return len(self.loaded) / max(1, len(self.loaded) + len(self.missing))

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} of {len(self.loaded) + len(self.missing)} tensors of the backbone loaded, "
            f"{len(self.skipped)} of the file skipped, the head new; "
            f"pictures normalised as: {self.normalisation.source}"
        )

    def to_state(self) -> dict[str, Any]:
        """Return the report in JSON types."""
        return {
            "sha256": self.sha256,
            "normalisation": self.normalisation.to_state(),
            "loaded": [list(pair) for pair in self.loaded],
            "skipped": [list(pair) for pair in self.skipped],
            "missing": list(self.missing),
        }


def record_weights(
    path: str | os.PathLike[str], normalisation: str | Standardise, source: str = "", licence: str = ""
) -> Path:
    """Write beside a file of weights what it is: its hash, its normalisation, where it is from; return the record.

    Raises
    ------
    UnknownNameError
        If there is no such normalisation.
    """
    file = Path(path)
    found = Standardise.named(normalisation) if isinstance(normalisation, str) else normalisation
    record = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "normalisation": found.to_state(),
        "source": source,
        "licence": licence,
    }
    beside = file.with_name(f"{file.name}.json")
    beside.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return beside


def load_weights(network: Any, weights: InitialWeights) -> WeightsReport:
    """Load a file into a network; its head stays new.

    Parameters
    ----------
    network : PooledNetwork
    weights : InitialWeights

    Returns
    -------
    WeightsReport

    Raises
    ------
    StudyFileError
        If neither the arguments nor a record say hash and normalisation.
    RefusedError
        If the hash differs, the file holds more than tensors, or under 95 % of the backbone is in it.

    Notes
    -----
    Names of torchvision (of old and of new files), MONAI and TorchXRayVision are known. A first convolution of three
    channels becomes one of one channel by summing, which does the same to a grey picture that was repeated three times.
    """
    digest, record, tensors, said = opened_weights(weights)
    normalisation = _normalisation(weights, record, said)
    own = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith("classifier.") and value.is_floating_point()
    }
    found: dict[str, Any] = {}
    loaded, skipped = [], []
    first = f"{network.stages[0]}.weight"
    for name, value in tensors.items():
        ours = _our_name(name)
        if _HEAD.match(ours):
            skipped.append((name, "the head is new"))
        elif ours not in own:
            skipped.append((name, "not a weight of this network"))
        elif ours in found:
            skipped.append((name, "there twice"))
        else:
            fitted = _fitted(value, own[ours].shape, ours == first)
            if fitted is None:
                skipped.append((name, f"shape {tuple(value.shape)}, not {tuple(own[ours].shape)}"))
            elif not bool(torch.isfinite(fitted).all()):
                raise RefusedError("the file holds weights that are not finite", "finite weights", "use another file")
            else:
                found[ours] = fitted
                loaded.append((name, ours))
    missing = tuple(sorted(set(own) - set(found)))
    report = WeightsReport(digest, normalisation, tuple(loaded), tuple(skipped), missing)
    if report.share < LEAST_SHARE:
        raise RefusedError(
            f"only {len(loaded)} of {len(own)} tensors of the backbone are in the file "
            f"(missing first: {', '.join(missing[:3])})",
            f"at least {LEAST_SHARE:.0%}",
            "choose the architecture that the weights belong to",
        )
    network.load_state_dict({**network.state_dict(), **found})
    return report


def opened_weights(
    weights: InitialWeights,
) -> tuple[str, Mapping[str, Any], dict[str, Any], Standardise | None]:
    """Return the hash of a file, the record beside it, its tensors by name, and the normalisation where it says it.

    Raises
    ------
    DataError
        If the file or its record cannot be read.
    StudyFileError
        If neither the arguments nor the record say the hash.
    RefusedError
        If the hash differs, or the file holds more than tensors.
    """
    path = Path(weights.path)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(
            f"the file of weights cannot be read ({type(problem).__name__})", "a file", "check the path"
        ) from None
    record = _record(path)
    digest = _checked_digest(content, weights, record)
    return digest, record, *_tensors(content)


def _record(path: Path) -> Mapping[str, Any]:
    beside = path.with_name(f"{path.name}.json")
    if not beside.exists():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        if isinstance(found.get("normalisation"), dict):
            found["normalisation"] = Standardise.from_state(found["normalisation"])
        return dict(found)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DataError("the record beside the weights cannot be read", "JSON as `record_weights` writes it") from None


def _checked_digest(content: bytes, weights: InitialWeights, record: Mapping[str, Any]) -> str:
    found = hashlib.sha256(content).hexdigest()
    wanted = [str(w).lower() for w in (weights.sha256, record.get("sha256")) if w]
    if not wanted:
        raise StudyFileError(
            "the weights come without a SHA-256",
            "the hash that their publisher gives",
            f"compare it with that of the file, {found}, and give it as sha256",
        )
    if any(w != found for w in wanted):
        raise RefusedError(
            f"the file of weights has SHA-256 {found}", f"{wanted[0]}", "fetch the file again from its publisher"
        )
    return found


def _normalisation(weights: InitialWeights, record: Mapping[str, Any], said: Any) -> Standardise:
    given = [
        Standardise.named(value) if isinstance(value, str) else value
        for value in (weights.normalisation, record.get("normalisation"), said)
        if value is not None
    ]
    if not given:
        raise StudyFileError(
            "nothing says how pictures were normalised when the weights were trained",
            f"normalisation: one of {', '.join(NORMALISATIONS)}, or mean and spread",
            "look at the publisher's code; a wrong one spoils the weights without any error",
        )
    if any((one.mean, one.sd) != (given[0].mean, given[0].sd) for one in given):
        raise RefusedError(
            "the normalisation asked for is not the one recorded with the weights",
            f"mean {given[-1].mean:g} and spread {given[-1].sd:g}",
            "leave it out, or correct the record",
        )
    return given[0]


def _tensors(content: bytes) -> tuple[dict[str, Any], Standardise | None]:
    """Return the tensors of a file, and the normalisation where the file itself says it."""
    if content[8:9] == b"{":
        try:
            tensors = dict(load_safetensors(content))
        except SafetensorError:
            raise RefusedError("the file of weights is broken", "a whole safetensors file") from None
        size = int.from_bytes(content[:8], "little")
        said = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get("normalisation")
        return tensors, None if said is None else Standardise.from_state(json.loads(said))
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise RefusedError(
            "the file holds a whole module or other objects, and reading it would run code", "tensors alone", _RECIPE
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError):
        raise RefusedError("the file of weights is broken", "safetensors, or a PyTorch state_dict") from None
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise RefusedError(f"the file holds a {type(found).__name__}", "a state_dict", _RECIPE)
    return {str(k): v for k, v in found.items() if torch.is_tensor(v) and v.is_floating_point()}, None


def _our_name(name: str) -> str:
    """Return what the network calls a weight of torchvision, MONAI or TorchXRayVision."""
    bare = _WRAPPERS.sub("", name)
    if bare.startswith("features."):
        bare = "backbone." + bare.removeprefix("features.")
    return _OLD.sub(r"\1\2.", bare.replace(".layers.norm", ".norm").replace(".layers.conv", ".conv"))


def _fitted(value: Any, shape: Any, first: bool) -> Any:
    value = value.float()
    if first and value.ndim == 4 and value.shape[1] == 3 and shape[1] == 1:
        value = value.sum(1, keepdim=True)
    return value if value.shape == shape else None
