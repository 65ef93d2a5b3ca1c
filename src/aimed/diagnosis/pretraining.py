"""Learns from pictures without labels: hidden patches are painted again, or two views of a picture find each other."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError, StudyFileError
from aimed.diagnosis.augmentation import Augmentation
from aimed.diagnosis.image_rows import ImageRows, images_digest
from aimed.diagnosis.image_training import TrainingPictures, as_shares, standardised
from aimed.diagnosis.initial_weights import InitialWeights
from aimed.diagnosis.pooled_network import build_network
from aimed.diagnosis.standardise import Standardise
from aimed.fit.half_precision import half_precision_here
from aimed.fit.torch_training import TrainingSettings, seeded, train
from aimed.metrics.draws import threads_allowed

try:
    import torch
    from safetensors.torch import save
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["METHODS", "Method", "Pretrained", "check_pretraining", "pretrain"]

Method: TypeAlias = Literal["masked", "contrastive"]
METHODS: tuple[Method, ...] = ("masked", "contrastive")
"""What is learned: to paint hidden patches, or to tell two views of one picture from those of others."""

VIEWS = Augmentation(rotation=10.0, translation=0.08, scale=0.15, brightness=0.15, contrast=0.4, gamma=0.5, noise=0.05)
"""How far two views of a picture differ: as far as anatomy allows, and never mirrored."""

_PATCH = 16
_TEMPERATURE = 0.2
_BATCH = {"masked": 32, "contrastive": 64}


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """Weights that were learned without labels.

    Parameters
    ----------
    weights : InitialWeights
        The file, for `ImageClassifier` and `LinearProbe`.
    loss : float array, shape (e,)
        By epoch. Of "masked", the squared error of hidden patches: 1 is no better than the grey of the patch. Of
        "contrastive", the cross-entropy of finding the other view: `chance` is no better than guessing.
    chance : float
        The loss of knowing nothing.
    """

    weights: InitialWeights
    loss: NDArray[np.float64]
    chance: float


class _Painter(nn.Module):  # type: ignore[misc]
    """A network, and one convolution that paints a patch from each place of its last maps."""

    def __init__(self, network: Any, cell: int) -> None:
        super().__init__()
        self.network, self.cell = network, cell
        self.paint = nn.Conv2d(network.width, cell * cell, 1)

    def forward(self, pictures: Any) -> Any:
        return functional.pixel_shuffle(self.paint(self.network.maps(pictures)).float(), self.cell)


class _Finder(nn.Module):  # type: ignore[misc]
    """A network, and two layers after which the views of a picture are compared; they are thrown away later."""

    def __init__(self, network: Any, width: int = 64) -> None:
        super().__init__()
        self.network = network
        # Means of maps are much alike at first: without these normalisations all views stay in one place for long.
        self.project = nn.Sequential(
            nn.BatchNorm1d(network.width), nn.Linear(network.width, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, width), nn.BatchNorm1d(width, affine=False),
        )  # fmt: skip

    def forward(self, pictures: Any) -> Any:
        return functional.normalize(self.project(self.network.features(pictures)).float(), dim=1)


class _TwoViews(TrainingPictures):
    """Two changed copies of each picture instead of one and its labels."""

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, Any]:
        x = as_shares(self.part.take(rows), self.part.top)
        first, second = (self.change(x, [(self.seed, self.epoch, int(row), view) for row in rows]) for view in (0, 1))
        return standardised(first, self.standardise), standardised(second, self.standardise)


def _patches(pictures: Any, patch: int) -> Any:
    """Return each patch of each picture with mean 0 and spread 1, laid out as the picture."""
    mean = functional.avg_pool2d(pictures, patch)
    square = functional.avg_pool2d(pictures**2, patch)
    spread = (square - mean**2).clamp(min=1e-4).sqrt()
    wide = [functional.interpolate(part, scale_factor=patch) for part in (mean, spread)]
    return (pictures - wide[0]) / wide[1]


def _cut(network: Any, shape: tuple[int, int], patch: int | None) -> tuple[int, int]:
    """Return the side of a patch and that of the cells that the last maps see."""
    with torch.no_grad():
        grid = tuple(network.eval().maps(torch.zeros(1, 1, *shape)).shape[-2:])
    cells = [side // count for side, count in zip(shape, grid, strict=True)]
    cell = cells[0]
    whole = all(side == cell * count for side, count in zip(shape, grid, strict=True))
    fitting = [p for p in range(cell, min(shape) // 2 + 1, cell) if all(side % p == 0 for side in shape)]
    if patch is not None:
        fitting = [p for p in (patch,) if p % cell == 0 and all(side % p == 0 for side in shape)]
    if not whole or not fitting:
        raise DataError(
            f"pictures of {shape} pixels with patches of {patch or _PATCH} and maps of {grid}",
            "sides that are multiples of the patch, and a patch that is a multiple of the cells of the maps",
            "choose another size of picture, such as a multiple of 64, or method 'contrastive'",
        )
    return min(fitting, key=lambda p: (abs(p - _PATCH), p)), cell


def check_pretraining(
    method: Method, size: int, architecture: str, architecture_options: Mapping[str, Any] | None = None
) -> None:
    """Refuse what `pretrain` would refuse, before any picture is read.

    Parameters
    ----------
    method : {"masked", "contrastive"}
    size : int
        Side of the pictures in pixels.
    architecture, architecture_options
        As for `pretrain`.

    Raises
    ------
    DataError
        If pictures of that size cannot be cut into patches.

    Examples
    --------
    >>> check_pretraining("masked", 64, "small_cnn", {"widths": [4, 8]})
    """
    if method == "masked":
        with seeded(0):
            _cut(build_network(architecture, 1, architecture_options), (size, size), None)


def pretrain(
    images: Any,
    path: str | os.PathLike[str],
    architecture: str = "small_cnn",
    architecture_options: Mapping[str, Any] | None = None,
    *,
    method: Method = "masked",
    hidden: float = 0.5,
    patch: int | None = None,
    max_epochs: int = 20,
    batch_size: int | None = None,
    learning_rate: float = 2e-3,
    n_jobs: int | None = None,
    random_state: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Pretrained:
    """Train a backbone on pictures alone, and write its weights.

    Parameters
    ----------
    images : array-like, shape (n, y, x)
        Pictures of the training part, and of patients without labels; never of the test part.
    path : path
        The safetensors file to write; it holds the normalisation of the pictures.
    architecture, architecture_options, n_jobs, random_state
        As for `ImageClassifier`.
    method : {"masked", "contrastive"}
        Paint hidden patches, or find the other view of the same picture among those of the batch.
    hidden : float
        Share of the patches that is hidden ("masked").
    patch : int, optional
        Side of a patch in pixels ("masked"); the sides of the pictures are multiples of it. When absent, the size
        nearest to 16 that fits the pictures and the network.
    batch_size : int, optional
        32 for "masked", 64 for "contrastive" when absent.
    max_epochs, learning_rate, checkpoint, progress
        As for `ImageClassifier`.

    Raises
    ------
    DataError
        If the pictures cannot be cut into patches, or there are fewer than two to tell apart.

    Notes
    -----
    Whether this helps depends on the pictures, the findings and how few labels there are: compare with random weights
    that train as long. Measured with 800 pictures of 64 pixels of which 60 to 240 had labels (three splits by patient):
    on real films no gain; on drawn phantoms 0.07 to 0.09 in macro AUROC after a short training, of which 0.02 was left
    after one of three times the length. The gain on phantoms came with ``linear_probe_first=True`` alone, which is
    of no use on films: try both.

    References
    ----------
    Xie et al., CVPR 2022 (SimMIM). He et al., CVPR 2022 (patches of spread 1). Chen et al., ICML 2020 (SimCLR).
    """
    if method not in METHODS:
        raise StudyFileError(f"method = {method!r}", f"one of: {', '.join(METHODS)}")
    if not 0.0 < hidden < 1.0:
        raise StudyFileError(f"hidden = {hidden!r}", "a share > 0 and < 1")
    part = ImageRows(images)
    if method == "contrastive" and len(part) < 2:
        raise DataError("one picture", "at least two, to be told apart")
    size = _BATCH[method] if batch_size is None else int(batch_size)
    with seeded(random_state):
        network = build_network(architecture, 1, architecture_options)
        if method == "masked":
            side, cell = _cut(network, part.shape, patch)
            module: Any = _Painter(network, cell)
        else:
            side, module = 0, _Finder(network)
    standardise = Standardise.of_pixels(part)
    if method == "masked":
        loss, chance = _painting(side, [s // side for s in part.shape], hidden), 1.0
        kind, change = TrainingPictures, Augmentation(noise=0.0)
    else:
        loss, chance = _finding, math.log(2 * min(size, len(part)) - 1)
        kind, change = _TwoViews, VIEWS
    data = kind(part, np.zeros((len(part), 1), dtype=np.float32), standardise, change, random_state)
    settings = TrainingSettings(
        epochs=max_epochs, batch_size=size, learning_rate=learning_rate, weight_decay=0.02, schedule="cosine",
        warmup=0.05, clip_norm=5.0, precision="bf16-mixed" if half_precision_here() else "32-true",
        channels_last=True, seed=random_state, threads=threads_allowed(n_jobs), checkpoint=checkpoint,
    )  # fmt: skip
    identity = ""
    if checkpoint is not None:
        identity = repr((method, hidden, side, architecture, dict(architecture_options or {}), images_digest(images)))
    done = train(module, loss, data, settings=settings, identity=identity, progress=progress)
    tensors = {
        name: value.detach().contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith("classifier.")
    }
    content = save(tensors, {"normalisation": json.dumps(standardise.to_state())})
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(file)
    weights = InitialWeights(path=file, sha256=hashlib.sha256(content).hexdigest())
    return Pretrained(weights, done.train_loss, chance)


def _painting(patch: int, places: Sequence[int], hidden: float) -> Callable[[Any, Any], Any]:
    """Return the loss of painting: squared error on the patches that were hidden."""

    def loss(module: Any, batch: Any) -> Any:
        x = batch[0]
        mask = (torch.rand(x.shape[0], 1, *places, device=x.device) < hidden).float()
        mask = functional.interpolate(mask, scale_factor=patch)
        error = (module(x * (1.0 - mask)) - _patches(x, patch)) ** 2
        return (error * mask).sum() / mask.sum().clamp(min=1.0)

    return loss


def _finding(module: Any, batch: Any) -> Any:
    """Return the loss of finding the other view of a picture among all views of the batch."""
    z = module(torch.cat([batch[0], batch[1]]))
    n = len(z) // 2
    alike = (z @ z.T / _TEMPERATURE).masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), -1e4)
    return functional.cross_entropy(alike, torch.arange(2 * n, device=z.device).roll(n))
