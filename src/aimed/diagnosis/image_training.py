"""What the training loop is handed for pictures: batches that are changed and standardised, a loss, a tune measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import MissingExtraError, NotEstimableError, StudyFileError
from aimed.diagnosis import LOSSES
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.losses import cross_entropy
from aimed.diagnosis.standardise import Standardise
from aimed.metrics.multilabel import multilabel_auroc

try:
    import torch
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["TrainingPictures", "as_shares", "loss_of", "standardised", "tune_measures"]


def as_shares(pictures: NDArray[Any], top: int) -> Any:
    """Return pictures as shares of full scale, float32 tensor, shape (b, 1, y, x).

    Examples
    --------
    >>> as_shares(np.array([[[0, 51]]], dtype=np.uint8), 255)
    tensor([[[[0.0000, 0.2000]]]])
    """
    return torch.from_numpy(pictures.astype(np.float32)).unsqueeze(1).div_(top)


def standardised(shares: Any, standardise: Standardise) -> Any:
    """Return shares of full scale, centred and scaled."""
    return (shares - standardise.mean) / standardise.sd


class TrainingPictures:
    """Pictures and labels by rows, for `aimed.fit.torch_training.train`.

    Parameters
    ----------
    part : ImageRows
    labels : float array, shape (m, k)
    standardise : Standardise
    change : Augmentation, optional
    seed : int
        Changes of a picture depend on this, the epoch and the place of the picture alone.
    """

    def __init__(
        self, part: ImageRows, labels: NDArray[np.float32], standardise: Standardise, change: Any, seed: int
    ) -> None:
        self.part, self.labels = part, torch.from_numpy(np.array(labels, dtype=np.float32))
        self.standardise, self.change, self.seed, self.epoch = standardise, change, seed, 0

    def __len__(self) -> int:
        return len(self.part)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch."""
        self.epoch = epoch

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, Any]:
        x = as_shares(self.part.take(rows), self.part.top)
        if self.change is not None:
            x = self.change(x, [(self.seed, self.epoch, int(row)) for row in rows])
        return standardised(x, self.standardise), self.labels[torch.as_tensor(rows)]

    @staticmethod
    def collate(batch: Any) -> Any:
        """Return the batch, which is one already."""
        return batch


def loss_of(name: str, options: Mapping[str, Any] | None, share: NDArray[np.float64]) -> Callable[[Any, Any], Any]:
    """Return ``loss(module, batch)`` of a loss in the catalogue: its mean over findings.

    Parameters
    ----------
    name : str
    options : mapping, optional
    share : float array, shape (k,)
        Of positives among known training labels; the weighted loss weighs each side by the frequency of the other.
    """
    function = LOSSES[name]
    given: dict[str, Any] = dict(options or {})
    if name == "weighted":
        given = {
            "positive_weight": torch.from_numpy((1.0 - share).astype(np.float32)),
            "negative_weight": torch.from_numpy(share.astype(np.float32)),
        }
    try:
        function(torch.zeros(1, share.size), torch.zeros(1, share.size), **given)
    except TypeError:
        raise StudyFileError(f"the loss '{name}' does not take: {', '.join(sorted(given))}", "its options") from None

    def loss(module: Any, batch: Any) -> Any:
        x, y = batch
        on = {k: v.to(y.device) if torch.is_tensor(v) else v for k, v in given.items()}
        return function(module(x), y, **on) / y.shape[1]

    return loss


def tune_measures(stop_on: str) -> Callable[[Any, Any], tuple[float, dict[str, float]]]:
    """Return what tunes: 1 - macro AUROC, or cross-entropy, with both beside it.

    Parameters
    ----------
    stop_on : {"auroc", "loss"}
    """

    def measured(module: Any, batches: Any) -> tuple[float, dict[str, float]]:
        parts = [(module(x).float().cpu(), y.cpu()) for x, y in batches]
        logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        loss = float(cross_entropy(logits.double(), labels.double())) / labels.shape[1]
        scores = logits.double().numpy()
        if not np.isfinite(scores).all():
            raise NotEstimableError("the network says numbers that are not finite", "finite scores", "lower the rate")
        auroc = float(multilabel_auroc(labels.numpy(), scores).macro)
        return (1.0 - auroc if stop_on == "auroc" else loss), {"auroc": auroc, "loss": loss}

    return measured
