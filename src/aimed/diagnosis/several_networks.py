"""What models made of several networks share: progress by network, threads for a while, one file of weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from aimed.core import BundleError
from aimed.metrics.draws import threads_allowed

__all__ = [
    "Progress",
    "check_weights",
    "network_threads",
    "packed_weights",
    "progress_of",
    "torch_threads",
    "without_nan",
]

Progress: TypeAlias = Callable[[float, str], None]


def progress_of(tell: Progress, member: int, members: int) -> Progress:
    """Return what one of several networks tells its progress to.

    Examples
    --------
    >>> progress_of(lambda share, text: print(share, text), 1, 4)(0.5, "epoch 3")
    0.375 network 2 of 4: epoch 3
    """

    def told(share: float, text: str) -> None:
        tell((member + share) / members, text if members == 1 else f"network {member + 1} of {members}: {text}")

    return told


def network_threads(n_jobs: int | None) -> int:
    """Return how many threads a network runs on: two unless told, whatever the machine and its settings.

    Gradients of the weights of convolutions are summed by thread, so that another number is another training; of
    convolutions in three dimensions the results are.
    """
    return 2 if n_jobs is None else threads_allowed(n_jobs)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def packed_weights(networks: Sequence[Any]) -> bytes:
    """Return the weights of networks as one safetensors file."""
    from safetensors.torch import save

    return bytes(
        save(
            {
                f"{place}.{name}": value.detach().contiguous()
                for place, network in enumerate(networks)
                for name, value in network.state_dict().items()
            }
        )
    )


def check_weights(weights: bytes | None, state: Mapping[str, Any]) -> None:
    """Refuse weights that are not those of a model; None stands for a model that something else runs.

    Raises
    ------
    BundleError
        If they hash to something else than the state says.
    """
    if weights is not None and hashlib.sha256(weights).hexdigest() != state["weights_sha256"]:
        raise BundleError("the weights are not those of the model", "the file that was written with it")


def without_nan(value: Any) -> Any:
    """Return a value with None for every number in it that is not finite: JSON has no word for NaN.

    Examples
    --------
    >>> without_nan({"dice": [0.5, float("nan")]})
    {'dice': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
