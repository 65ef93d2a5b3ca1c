"""Networks rebuilt from a file of weights: nothing is made that the file has no numbers for, and nothing in it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aimed.core import AimedError, BundleError, MissingExtraError
from aimed.diagnosis.pooled_network import build_network

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "predicting with a network", "pip install 'aimed[deep]'") from None

__all__ = ["stored_networks"]

_HEADER = 8 << 20
_OPTIONS = 8192
_AGAIN = "get the model again from its source"


def stored_networks(
    weights: bytes, architecture: str, outputs: int, options: Mapping[str, Any] | None, count: int,
    build: Callable[[str, int, Mapping[str, Any] | None], Any] = build_network,
) -> list[Any]:  # fmt: skip
    """Return the networks of a safetensors file, ready to predict.

    Parameters
    ----------
    weights : bytes
        As `aimed.diagnosis.image_classifier.ImageClassifier.weights` returns them.
    architecture : str
    outputs : int
    options : mapping, optional
        Of the architecture.
    count : int
        How many networks the file holds.
    build : callable
        ``build(architecture, outputs, options)`` makes one with random weights.

    Raises
    ------
    BundleError
        If the file is damaged, its header is larger than 8 MB, or it holds other tensors than the networks have.

    Notes
    -----
    Networks are first built without memory and compared with the shapes in the file, so that options cannot ask for
    more than the file holds.
    """
    if int.from_bytes(weights[:8], "little") > _HEADER:
        raise BundleError("the file of weights has a header of more than 8 MB", "a smaller header", _AGAIN)
    if sum(_whole(options)) > _OPTIONS:
        raise BundleError("the options of the network ask for too much", f"numbers that sum to {_OPTIONS:,}", _AGAIN)
    try:
        tensors: dict[str, Any] = load(weights)
    # A header that lies about shapes fails in one of these ways.
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AssertionError, OverflowError):
        raise BundleError("the file of weights is damaged", "a safetensors file", _AGAIN) from None
    parts: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, _, own = name.partition(".")
        parts.setdefault(place, {})[own] = value
    if set(parts) != {str(place) for place in range(min(count, len(parts) + 1))}:
        raise BundleError(f"weights of {len(parts)} networks", f"those of {count}", _AGAIN)
    try:
        with torch.device("meta"):
            expected = _shapes(build(architecture, outputs, options).state_dict())
        networks = []
        for mine in (parts[str(place)] for place in range(count)):
            if _shapes(mine) != expected:
                raise BundleError("the weights do not fit the architecture", "a model written by aimed", _AGAIN)
            network = build(architecture, outputs, options)
            network.load_state_dict(mine)
            networks.append(network.eval())
    except AimedError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"the network cannot be rebuilt ({type(error).__name__})", "a model written by aimed", _AGAIN
        ) from None
    return networks


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(value.shape), str(value.dtype)) for name, value in tensors.items()}


def _whole(value: Any) -> Iterator[int]:
    """Yield the size of every number in nested options, and 1 for every container or text."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        yield 1
        for one in value:
            yield from _whole(one)
    elif isinstance(value, bool | str) or value is None:
        yield 1
    else:
        number = abs(float(value))
        yield int(number) + 1 if number < 1e9 else _OPTIONS + 1
