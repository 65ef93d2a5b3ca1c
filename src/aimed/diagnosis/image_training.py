"""What the training loop is handed for pictures: batches that are changed and standardised, a loss, a tune measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import MissingExtraError, NotEstimableError, StudyFileError
from aimed.diagnosis import LOSSES
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.losses import as_labelled, cross_entropy
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
    silver : bool array, shape (m, k), optional
        Which labels are silver; a batch is then pictures, labels and these marks.
    """

    def __init__(
        self,
        part: ImageRows,
        labels: NDArray[np.float32],
        standardise: Standardise,
        change: Any,
        seed: int,
        silver: NDArray[np.bool_] | None = None,
    ) -> None:
        self.part, self.labels = part, torch.from_numpy(np.array(labels, dtype=np.float32))
        self.silver = None if silver is None else torch.from_numpy(np.array(silver, dtype=bool))
        self.standardise, self.change, self.seed, self.epoch = standardise, change, seed, 0

    def __len__(self) -> int:
        return len(self.part)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch."""
        self.epoch = epoch

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, ...]:
        x = as_shares(self.part.take(rows), self.part.top)
        if self.change is not None:
            x = self.change(x, [(self.seed, self.epoch, int(row)) for row in rows])
        place = torch.as_tensor(rows)
        told = (standardised(x, self.standardise), self.labels[place])
        return told if self.silver is None else (*told, self.silver[place])

    @staticmethod
    def collate(batch: Any) -> Any:
        """Return the batch, which is one already."""
        return batch


def loss_of(
    name: str,
    options: Mapping[str, Any] | None,
    share: NDArray[np.float64],
    flips: NDArray[np.float64] | None = None,
) -> Callable[[Any, Any], Any]:
    """Return ``loss(module, batch)`` of a loss in the catalogue: its mean over findings.

    Parameters
    ----------
    name : str
    options : mapping, optional
    share : float array, shape (k,)
        Of positives among known training labels; the weighted loss weighs each side by the frequency of the other.
    flips : float array, shape (k, 2), optional
        How often silver labels are wrong, see `aimed.diagnosis.silver_labels.SilverLabels`; a batch then says as its
        third part which labels are silver, and the network is judged there by what it says of the label.
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

    rates = None if flips is None else torch.from_numpy(flips.T.astype(np.float32))
    shift = torch.from_numpy(np.log((1.0 - share) / share).astype(np.float32)) if name == "weighted" else torch.zeros(1)

    def loss(module: Any, batch: Any) -> Any:
        x, y, *marks = batch
        on = {k: v.to(y.device) if torch.is_tensor(v) else v for k, v in given.items()}
        logits = module(x)
        if rates is not None and marks:
            up, down = (torch.where(marks[0], rate, torch.zeros_like(rate)) for rate in rates.to(y.device))
            logits = as_labelled(logits, up, down, shift.to(y.device))
        return function(logits, y, **on) / y.shape[1]

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
