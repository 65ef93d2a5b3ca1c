"""Learns from pictures without labels: hidden patches are drawn again from what is left of the picture."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError, StudyFileError
from aimed.diagnosis.augmentation import Augmentation
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.image_training import TrainingPictures
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

__all__ = ["Pretrained", "pretrain"]


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """Weights that were learned without labels.

    Parameters
    ----------
    weights : InitialWeights
        The file, for `ImageClassifier` and `LinearProbe`.
    loss : float array, shape (e,)
        Squared error of hidden patches by epoch; 1 is no better than the grey of the patch.
    """

    weights: InitialWeights
    loss: NDArray[np.float64]


class _Painter(nn.Module):  # type: ignore[misc]
    """A network, and one convolution that paints a patch from each place of its last maps."""

    def __init__(self, network: Any, cell: int) -> None:
        super().__init__()
        self.network, self.cell = network, cell
        self.paint = nn.Conv2d(network.width, cell * cell, 1)

    def forward(self, pictures: Any) -> Any:
        return functional.pixel_shuffle(self.paint(self.network.maps(pictures)).float(), self.cell)


def _patches(pictures: Any, patch: int) -> Any:
    """Return each patch of each picture with mean 0 and spread 1, laid out as the picture."""
    mean = functional.avg_pool2d(pictures, patch)
    square = functional.avg_pool2d(pictures**2, patch)
    spread = (square - mean**2).clamp(min=1e-4).sqrt()
    wide = [functional.interpolate(part, scale_factor=patch) for part in (mean, spread)]
    return (pictures - wide[0]) / wide[1]


def pretrain(
    images: Any,
    path: str | os.PathLike[str],
    architecture: str = "small_cnn",
    architecture_options: Mapping[str, Any] | None = None,
    *,
    hidden: float = 0.5,
    patch: int = 16,
    max_epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    n_jobs: int | None = None,
    random_state: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Pretrained:
    """Train a backbone to paint hidden patches, and write its weights.

    Parameters
    ----------
    images : array-like, shape (n, y, x)
        Pictures of the training part, and of patients without labels; never of the test part.
    path : path
        The safetensors file to write; it holds the normalisation of the pictures.
    architecture, architecture_options, n_jobs, random_state
        As for `ImageClassifier`.
    hidden : float
        Share of the patches that is hidden.
    patch : int
        Side of a patch in pixels; the sides of the pictures are multiples of it.
    max_epochs, batch_size, learning_rate, checkpoint, progress
        As for `ImageClassifier`.

    Raises
    ------
    DataError
        If the pictures cannot be cut into patches.

    Notes
    -----
    Whether this helps depends on the findings and on how few labels there are: compare with training from random
    weights before it is used. On chest phantoms of 64 pixels (1,200 without labels and 100 with, three draws) macro
    AUROC of three findings (effusion, cardiomegaly, consolidation) rose from 0.62 to 0.67; a linear probe on the same
    weights reached 0.67, on random ones 0.60.

    References
    ----------
    Xie et al., CVPR 2022 (SimMIM). He et al., CVPR 2022 (patches of spread 1).
    """
    if not 0.0 < hidden < 1.0:
        raise StudyFileError(f"hidden = {hidden!r}", "a share > 0 and < 1")
    part = ImageRows(images)
    with seeded(random_state):
        network = build_network(architecture, 1, architecture_options)
        with torch.no_grad():
            grid = network.eval().maps(torch.zeros(1, 1, *part.shape)).shape[-2:]
        cells = [side // count for side, count in zip(part.shape, grid, strict=True)]
        fits = all(side % patch == 0 and side == cells[0] * count for side, count in zip(part.shape, grid, strict=True))
        if not fits or cells[0] != cells[1] or patch % cells[0]:
            raise DataError(
                f"pictures of {part.shape} pixels with patches of {patch} and maps of {tuple(grid)}",
                "sides that are multiples of the patch, and a patch that is a multiple of the cells of the maps",
            )
        painter = _Painter(network, cells[0])
    standardise = Standardise.of_pixels(part)
    places = [side // patch for side in part.shape]

    def loss(module: Any, batch: Any) -> Any:
        x = batch[0]
        mask = (torch.rand(x.shape[0], 1, *places, device=x.device) < hidden).float()
        mask = functional.interpolate(mask, scale_factor=patch)
        error = (module(x * (1.0 - mask)) - _patches(x, patch)) ** 2
        return (error * mask).sum() / mask.sum().clamp(min=1.0)

    data = TrainingPictures(
        part, np.zeros((len(part), 1), dtype=np.float32), standardise, Augmentation(noise=0.0), random_state
    )
    settings = TrainingSettings(
        epochs=max_epochs, batch_size=batch_size, learning_rate=learning_rate, weight_decay=0.02, schedule="cosine",
        warmup=0.05, clip_norm=5.0, precision="bf16-mixed" if half_precision_here() else "32-true",
        channels_last=True, seed=random_state, threads=threads_allowed(n_jobs), checkpoint=checkpoint,
    )  # fmt: skip
    done = train(painter, loss, data, settings=settings, progress=progress)
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
    return Pretrained(weights, done.train_loss)
