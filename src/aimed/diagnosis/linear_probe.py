"""Heads on features that are computed once: fourteen findings in seconds, and a start for the whole network."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, StudyFileError
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.image_rows import ImageRows, images_digest, in_batches
from aimed.diagnosis.labels import Uncertain, check_learnable, read_labels, tune_rows
from aimed.diagnosis.silver_labels import SilverLabels
from aimed.metrics.arrays import patient_codes

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights

__all__ = ["Heads", "LinearProbe", "cached_features", "fit_heads"]

_BLOCK = 4096
_PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
_STEPS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """One weighted sum of features a finding.

    Parameters
    ----------
    weight : float array, shape (k, c)
    bias : float array, shape (k,)
    penalty : float
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    penalty: float

    def __call__(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return log odds, shape (n, k)."""
        blocks = [features[rows] @ self.weight.T for rows in in_batches(len(features), _BLOCK)]
        return np.asarray(np.concatenate(blocks) + self.bias, dtype=np.float64)


def fit_heads(
    features: NDArray[Any],
    labels: NDArray[np.float32],
    penalty: float = 10.0,
    start: Heads | None = None,
    *,
    flips: NDArray[np.float64] | None = None,
) -> Heads:
    """Fit logistic regressions with a ridge on standardised features, all findings in one go.

    Parameters
    ----------
    features : float array, shape (n, c)
        May be a memory map; it is read in blocks and never copied.
    labels : float array, shape (n, k)
        0, 1, NaN where unknown.
    penalty : float
        Adds ``penalty / 2`` times the sum of squared weights of the standardised features to the sum of losses;
        scikit-learn's ``C`` is its inverse.
    start : Heads, optional
        Where to set out from.
    flips : float array, shape (n, k, 2), optional
        Chance that an absent finding is labelled present, and a present one absent; 0 for labels that are right. The
        heads then say what is present, not what is labelled so (Patrini et al., CVPR 2017).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    >>> heads = fit_heads(x, (x[:, :1] > 0).astype(np.float32))
    >>> bool(heads.weight[0, 0] > 10 * abs(heads.weight[0, 1]))
    True
    """
    n, width, k = len(features), features.shape[1], labels.shape[1]
    if not penalty > 0:
        raise StudyFileError(f"penalty = {penalty!r}", "a number > 0")
    total, square = np.zeros(width), np.zeros(width)
    for rows in in_batches(n, _BLOCK):
        block = np.asarray(features[rows], dtype=np.float64)
        total += block.sum(axis=0)
    center = total / n
    for rows in in_batches(n, _BLOCK):
        square += ((np.asarray(features[rows], dtype=np.float64) - center) ** 2).sum(axis=0)
    if not np.isfinite(square).all():
        raise DataError("features that are not finite", "finite features", "look at the weights of the network")
    spread = np.sqrt(square / n)
    scale = np.where(spread > 1e-6 * (np.abs(center) + 1e-6), spread, 1.0)
    known = ~np.isnan(labels)
    y = np.where(known, labels, 0.0)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        table = flat.reshape(k, width + 1)
        w = table[:, :-1] / scale
        b = (table[:, -1] - w @ center).astype(np.float32)
        loss = 0.5 * penalty * float((table[:, :-1] ** 2).sum())
        slope, ends = np.zeros((k, width)), np.zeros(k)
        single = w.T.astype(np.float32)
        for rows in in_batches(n, _BLOCK):
            block = np.asarray(features[rows], dtype=np.float32)
            z = np.asarray(block @ single + b, dtype=np.float64)
            if flips is None:
                loss += float(np.where(known[rows], np.logaddexp(0.0, z) - y[rows] * z, 0.0).sum())
                rest = np.where(known[rows], 0.5 * (1.0 + np.tanh(0.5 * z)) - y[rows], 0.0)
            else:
                each, slopes = _as_labelled(z, y[rows], flips[rows])
                loss += float(np.where(known[rows], each, 0.0).sum())
                rest = np.where(known[rows], slopes, 0.0)
            slope += rest.T.astype(np.float32) @ block
            ends += rest.sum(axis=0)
        gradient = np.empty((k, width + 1))
        gradient[:, :-1] = (slope - ends[:, None] * center) / scale + penalty * table[:, :-1]
        gradient[:, -1] = ends
        return loss, gradient.ravel()

    first = np.zeros((k, width + 1))
    if start is None:
        share = np.clip((y.sum(axis=0) + 0.5) / (known.sum(axis=0) + 1.0), 1e-6, 1.0 - 1e-6)
        first[:, -1] = np.log(share / (1.0 - share))
    else:
        first[:, :-1] = start.weight * scale
        first[:, -1] = start.bias + start.weight @ center
    found = minimize(
        objective, first.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxcor": 20, "ftol": 1e-8, "gtol": 1e-3},
    )  # fmt: skip
    if found.nit >= _STEPS:
        warnings.warn(
            f"the heads still moved after {_STEPS} steps; a larger penalty holds them", ConvergenceWarning, stacklevel=2
        )
    table = found.x.reshape(k, width + 1)
    weight = table[:, :-1] / scale
    return Heads(weight, table[:, -1] - weight @ center, float(penalty))


def _as_labelled(
    z: NDArray[np.float64], y: NDArray[Any], flips: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cross-entropy against labels that are wrong at known rates, and its slope on the log odds."""
    up, down = flips[..., 0], flips[..., 1]
    straight = np.log1p(-up - down)
    least = np.finfo(np.float64).tiny
    yes = np.logaddexp(np.log(np.maximum(up, least)), straight - np.logaddexp(0.0, -z))
    no = np.logaddexp(np.log(np.maximum(down, least)), straight - np.logaddexp(0.0, z))
    # Of either side the part of it that moves with z.
    moves = straight - np.logaddexp(0.0, z) - np.logaddexp(0.0, -z)
    return -(y * yes + (1.0 - y) * no), (1.0 - y) * np.exp(moves - no) - y * np.exp(moves - yes)


def cached_features(model: ImageClassifier, images: Any, folder: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Return the features of pictures from a file that is written once, shape (n, c), as a memory map.

    Parameters
    ----------
    model : ImageClassifier
        Fitted.
    images : array-like, shape (n, y, x)
    folder : path
        Files in it are named after what decides the features: weights of the backbone, preprocessing and pictures.
    """
    content = hashlib.sha256(images_digest(images).encode())
    content.update(repr((model.standardise_.mean, model.standardise_.sd, model.precision_["used"])).encode())
    for name, value in model.networks_[0].state_dict().items():
        if not name.startswith("classifier."):
            content.update(name.encode() + value.contiguous().numpy().tobytes())
    path = Path(folder) / f"features_{content.hexdigest()[:32]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        part = ImageRows(images)
        width = int(model.networks_[0].width)
        try:
            table = np.lib.format.open_memmap(new, mode="w+", dtype=np.float32, shape=(len(part), width))
            place = 0
            for batch in model._each(model.networks_[0], part, "features", model._half()):
                table[place : place + len(batch)] = batch
                place += len(batch)
            table.flush()
            del table
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    return np.asarray(np.load(path, mmap_mode="r"))


class LinearProbe(BaseEstimator):  # type: ignore[misc]
    """Logistic regressions on the features of a network that stays as it is.

    Parameters
    ----------
    architecture, architecture_options, initial_weights, uncertain, precision, n_jobs, random_state
        As for `aimed.diagnosis.image_classifier.ImageClassifier`. Without weights the features are those of a random
        network: a baseline that weights have to beat. "auto" precision is full here.
    penalty : float, optional
        As for `fit_heads`; chosen on patients set aside when absent.
    validation_fraction : float
        Share of the patients set aside.
    cache : path, optional
        Folder for features.

    Attributes
    ----------
    heads_ : Heads
    penalty_ : float
    classifier_ : ImageClassifier
        The same model as one whole, for bundles, heat maps, or as the start of a fine-tuning.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, (60, 1)).astype(float)
    >>> pictures = rng.integers(0, 60, (60, 16, 16)).astype(np.uint8)
    >>> pictures[y[:, 0] == 1, :8] += 120
    >>> probe = LinearProbe("small_cnn", {"widths": [4, 8]}, n_jobs=1).fit(pictures, y)
    >>> bool(((probe.predict_proba(pictures) > 0.5) == y).mean() > 0.9)
    True
    """

    def __init__(
        self,
        architecture: str = "densenet121",
        architecture_options: Mapping[str, Any] | None = None,
        *,
        initial_weights: InitialWeights | None = None,
        uncertain: Uncertain = "ignore",
        penalty: float | None = None,
        validation_fraction: float = 0.2,
        cache: str | os.PathLike[str] | None = None,
        precision: Literal["auto", "32-true", "bf16-mixed"] = "auto",
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.architecture, self.architecture_options = architecture, architecture_options
        self.initial_weights, self.uncertain, self.penalty = initial_weights, uncertain, penalty
        self.validation_fraction, self.cache, self.precision = validation_fraction, cache, precision
        self.n_jobs, self.random_state = n_jobs, random_state

    def fit(
        self,
        images: Any,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        silver: SilverLabels | None = None,
    ) -> LinearProbe:
        """Compute the features, or read them from the cache, and fit the heads.

        Parameters
        ----------
        images, labels, groups, names, silver
            As for `ImageClassifier.fit`; the penalty is chosen by `labels` alone.

        Raises
        ------
        NotEstimableError
            If a finding is unknown in all pictures, or always or never present.
        """
        y = read_labels(labels, self.uncertain, names)
        if len(images) != len(y):
            raise DataError(f"{len(images)} pictures and {len(y)} rows of labels", "as many of both")
        gold, flips = y, None
        if silver is not None:
            y, marks = silver.beside(gold)
            share = silver.share(y, marks)
            check_learnable(np.where(np.isnan(y), y, y >= 0.5), names)
            if silver.flips is not None:
                flips = np.where(marks[:, :, None], silver.flips, 0.0)
        else:
            share = check_learnable(y, names)
        patient = patient_codes(groups, len(y))
        labelled = np.flatnonzero(~np.isnan(y).all(axis=1))
        if labelled.size < len(y):
            images, y, gold = ImageRows(images, labelled), y[labelled], gold[labelled]
            flips = None if flips is None else flips[labelled]
            patient = patient_codes(patient[labelled], labelled.size)
        model = ImageClassifier(
            self.architecture, self.architecture_options, initial_weights=self.initial_weights,
            uncertain=self.uncertain, precision="bf16-mixed" if self.precision == "bf16-mixed" else "32-true",
            n_jobs=self.n_jobs, random_state=self.random_state, early_stopping=False,
        )  # fmt: skip
        model.begin(images, y, share, names, int(patient.max()) + 1)
        found = model.features(images) if self.cache is None else cached_features(model, images, self.cache)
        self.penalty_ = (
            float(self.penalty) if self.penalty is not None else self._chosen(found, y, gold, flips, patient)
        )
        self.heads_ = fit_heads(found, y, self.penalty_, flips=flips)
        model.set_head(self.heads_.weight, self.heads_.bias)
        self.classifier_, self.findings_ = model, model.findings_
        return self

    def _chosen(
        self,
        found: NDArray[Any],
        y: NDArray[np.float32],
        gold: NDArray[np.float32],
        flips: NDArray[np.float64] | None,
        patient: NDArray[np.int64],
    ) -> float:
        """Return the penalty with the lowest cross-entropy on patients set aside who have labels of the standard."""
        judged = np.flatnonzero(~np.isnan(gold).all(axis=1))
        who = patient_codes(patient[judged], judged.size)
        held = judged[tune_rows(gold[judged], who, float(self.validation_fraction), int(self.random_state))]
        learns = np.flatnonzero(~np.isin(patient, patient[held]))
        mine, other = np.ascontiguousarray(found[learns]), found[held]
        wrong = None if flips is None else flips[learns]
        known = ~np.isnan(gold[held])
        truth = np.where(known, gold[held], 0.0)
        losses, start = [], None
        for penalty in _PENALTIES:
            start = fit_heads(mine, y[learns], penalty, start, flips=wrong)
            z = start(other)
            losses.append(float(np.where(known, np.logaddexp(0.0, z) - truth * z, 0.0).sum()))
            if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
                break
        return _PENALTIES[int(np.argmin(losses))]

    def decision_function(self, images: Any) -> NDArray[np.float64]:
        """Return log odds of each finding, shape (n, k)."""
        check_is_fitted(self, "heads_")
        if self.cache is None:
            return self.heads_(self.classifier_.features(images))
        return self.heads_(cached_features(self.classifier_, images, self.cache))

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Return the probability of each finding, shape (n, k)."""
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.decision_function(images))))
