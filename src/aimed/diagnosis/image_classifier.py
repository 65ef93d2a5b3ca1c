"""The classifier of several findings in a picture: fitted in a stream of batches, stopped on patients it never saw."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.diagnosis import LOSSES, NETWORKS
from aimed.diagnosis.image_rows import ImageRows, images_digest, in_batches
from aimed.diagnosis.labels import Uncertain, check_learnable, read_labels, tune_rows
from aimed.diagnosis.several_networks import (
    Progress,
    check_weights,
    network_threads,
    packed_weights,
    progress_of,
    torch_threads,
)
from aimed.diagnosis.silver_labels import SilverLabels
from aimed.diagnosis.standardise import Standardise
from aimed.metrics.arrays import patient_codes
from aimed.metrics.draws import threads_allowed

if TYPE_CHECKING:
    from aimed.diagnosis.augmentation import Augmentation
    from aimed.diagnosis.initial_weights import InitialWeights, WeightsReport
    from aimed.fit.half_precision import PrecisionGate
    from aimed.fit.torch_training import Training

__all__ = ["ImageClassifier"]

_TOGETHER = 64
_PIXELS = 1 << 20
"""Of all pictures that run at once: more fall out of the processor's caches and take up to 1.8 times as long."""
_SCHEMA = 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Taught:
    """What networks are taught: labels, which of them are silver, and how often those are wrong."""

    labels: NDArray[np.float32]
    silver: NDArray[np.bool_] | None
    flips: NDArray[np.float64] | None

    def rates(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return the flip rates of each label of some rows, shape (m, k, 2); None where no loss is corrected."""
        if self.silver is None or self.flips is None:
            return None
        return np.where(self.silver[rows][:, :, None], self.flips, 0.0)


def _check_learnable(
    labels: NDArray[np.float32], names: Sequence[str] | None, silver: SilverLabels | None
) -> NDArray[np.float64]:
    """Return the share of positives; a chance counts for the side it leans to."""
    return check_learnable(labels if silver is None else np.where(np.isnan(labels), labels, labels >= 0.5), names)


class ImageClassifier(BaseEstimator):  # type: ignore[misc]
    """Findings in pictures by a convolutional network.

    Parameters
    ----------
    architecture : str
        A name of `aimed.diagnosis.NETWORKS`.
    architecture_options : dict, optional
        Its parameters.
    loss : {"weighted", "plain", "focal", "asymmetric"}
    loss_options : dict, optional
        For "focal" and "asymmetric".
    uncertain : {"ignore", "zeros", "ones"}
        What the label -1 means.
    augmentation : bool or Augmentation
        Random changes of training pictures.
    initial_weights : InitialWeights, optional
        Weights to start from; their normalisation is then that of all pictures.
    linear_probe_first : bool
        Fit the head on the features of the first weights before anything else moves, so that a random head does not
        spoil them.
    frozen_epochs : int
        Epochs in which the head alone learns.
    layer_decay : float
        Learning rate of each stage as a multiple of that of the next one towards the head.
    optimizer, weight_decay, batch_size, schedule, warmup, ema, clip_norm
        As in `aimed.fit.torch_training.TrainingSettings`.
    learning_rate : float or "find"
    max_epochs : int
    early_stopping : bool
        Set patients aside and keep the weights that are best on them.
    validation_fraction : float
        Share of the patients set aside.
    n_iter_no_change : int
        Epochs without gain after which training stops.
    stop_on : {"auroc", "loss"}
        Macro AUROC or cross-entropy of the patients set aside.
    precision : {"auto", "32-true", "bf16-mixed"}
        "auto" is half precision where the processor has it and the gate holds: macro AUROC of the patients set aside
        changes by less than 0.002. Where it does not hold, training is repeated in full precision.
    n_estimators : int
        Networks, each from a seed of its own and stopped on other patients; their probabilities are averaged.
    test_time_augmentation : int
        Changed copies of a picture that are read beside it.
    n_jobs : int, optional
        Threads; when absent two for training, whatever the machine, as its last bits depend on their number, and those
        allowed to the process for predicting, which does not.
    random_state : int

    Attributes
    ----------
    networks_ : list of PooledNetwork
    standardise_ : Standardise
    shifts_ : list of float array, shape (k,)
        What the loss added to the log odds of each network; taken off in predictions.
    findings_ : list of str
    prevalence_ : float array, shape (k,)
        Of known training labels.
    history_ : list of dict
        Of each network: losses and tune AUROC by epoch, the epoch kept, rows that tuned.
    precision_ : dict
    weights_report_ : WeightsReport or None

    References
    ----------
    Rajpurkar et al., arXiv 1711.05225. Kumar et al., ICLR 2022 (probe first). Howard and Ruder, ACL 2018 (rates by
    layer). Lakshminarayanan et al., NeurIPS 2017 (ensembles).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, (40, 2)).astype(float)
    >>> pictures = rng.integers(0, 60, (40, 16, 16)).astype(np.uint8)
    >>> pictures[y[:, 0] == 1, :8] += 120
    >>> model = ImageClassifier(architecture_options={"widths": [4, 8]}, max_epochs=2, early_stopping=False, n_jobs=1)
    >>> model.fit(pictures, y, names=["bright top", "none"]).predict_proba(pictures).shape
    (40, 2)
    """

    def __init__(
        self,
        architecture: str = "small_cnn",
        architecture_options: Mapping[str, Any] | None = None,
        *,
        loss: str = "weighted",
        loss_options: Mapping[str, Any] | None = None,
        uncertain: Uncertain = "ignore",
        augmentation: bool | Augmentation = True,
        initial_weights: InitialWeights | None = None,
        linear_probe_first: bool = False,
        frozen_epochs: int = 0,
        layer_decay: float = 1.0,
        optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = "adamw",
        learning_rate: float | Literal["find"] = 2e-3,
        weight_decay: float = 0.02,
        batch_size: int = 32,
        max_epochs: int = 30,
        schedule: Literal["constant", "cosine"] = "cosine",
        warmup: float = 0.05,
        ema: float | None = None,
        clip_norm: float | None = 5.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 10,
        stop_on: Literal["auroc", "loss"] = "auroc",
        precision: Literal["auto", "32-true", "bf16-mixed"] = "auto",
        n_estimators: int = 1,
        test_time_augmentation: int = 0,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.architecture, self.architecture_options = architecture, architecture_options
        self.loss, self.loss_options, self.uncertain = loss, loss_options, uncertain
        self.augmentation, self.initial_weights = augmentation, initial_weights
        self.linear_probe_first, self.frozen_epochs, self.layer_decay = linear_probe_first, frozen_epochs, layer_decay
        self.optimizer, self.learning_rate, self.weight_decay = optimizer, learning_rate, weight_decay
        self.batch_size, self.max_epochs, self.schedule, self.warmup = batch_size, max_epochs, schedule, warmup
        self.ema, self.clip_norm = ema, clip_norm
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.n_iter_no_change, self.stop_on, self.precision = n_iter_no_change, stop_on, precision
        self.n_estimators, self.test_time_augmentation = n_estimators, test_time_augmentation
        self.n_jobs, self.random_state = n_jobs, random_state

    def fit(
        self,
        images: Any,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        tune: ArrayLike | None = None,
        silver: SilverLabels | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> ImageClassifier:
        """Train.

        Parameters
        ----------
        images : array-like, shape (n, y, x)
            uint8 or uint16, larger is brighter; an array, a memory map or an image cache. Read in batches.
        labels : array, shape (n, k)
            1 present, 0 absent, NaN unknown, -1 uncertain. Pictures without any label take no part.
        groups : array, shape (n,), optional
            Patient of each picture; each picture its own when absent.
        names : k strings, optional
        tune : bool array, shape (n,), optional
            The pictures to stop on, instead of a draw.
        silver : SilverLabels, optional
            Labels to train on where `labels` knows nothing; with flip rates their loss is corrected for them. The
            pictures to stop on are judged by `labels` alone.
        checkpoint : path, optional
            Folder; a training that was stopped goes on from there.
        progress : callable, optional
            ``progress(share, text)``.

        Raises
        ------
        NotEstimableError
            If a finding is unknown in all training pictures, or always or never present.
        DataError
            If pictures, labels and groups do not fit together, or a patient is on both sides of `tune`.
        """
        self._check()
        y = read_labels(labels, self.uncertain, names)
        if len(images) != len(y):
            raise DataError(f"{len(images)} pictures and {len(y)} rows of labels", "as many of both")
        if names is not None and len(names) != y.shape[1]:
            raise DataError(f"{len(names)} names for {y.shape[1]} findings", "one each")
        self.findings_ = [f"finding {i + 1}" for i in range(y.shape[1])] if names is None else [str(n) for n in names]
        everything = ImageRows(images)
        gold, marks = y, None
        if silver is not None:
            silver.check_loss(self.loss)
            y, marks = silver.beside(gold)
        _check_learnable(y, names, silver)
        # A picture without any label teaches nothing here, and would thin out the batches of those that do.
        labelled = np.flatnonzero(~np.isnan(y).all(axis=1))
        judged = np.flatnonzero(~np.isnan(gold).all(axis=1))
        self.shape_, self.n_fitted_ = everything.shape, labelled.size
        patient = patient_codes(groups, len(y))
        self.n_patients_ = int(np.unique(patient[labelled]).size)
        digest = ""
        if checkpoint is not None:
            content = hashlib.sha256(images_digest(images).encode() + y.tobytes() + patient.tobytes())
            content.update(repr(sorted(self._plain_parameters().items())).encode())
            if silver is not None and marks is not None:
                content.update(marks.tobytes() + (b"" if silver.flips is None else silver.flips.tobytes()))
            digest = content.hexdigest()
        chosen = None if tune is None else self._given(tune, patient)
        given = None if chosen is None else np.intersect1d(chosen, judged)
        if given is not None and not given.size:
            raise NotEstimableError("no picture that tunes has a label", "known labels in the tune part", "split anew")
        self.networks_: list[Any] = []
        self.history_: list[dict[str, Any]] = []
        self.shifts_: list[NDArray[np.float64]] = []
        self.gates_: list[PrecisionGate | None] = []
        members = int(self.n_estimators)
        for member in range(members):
            seed = self._seed(member)
            held = given
            if held is None and self.early_stopping:
                known = patient_codes(patient[judged], judged.size)
                held = judged[tune_rows(gold[judged], known, float(self.validation_fraction), seed)]
            held = np.zeros(0, dtype=np.int64) if held is None else held
            learns = np.setdiff1d(labelled, held)
            # Silver labels of patients who say when to stop teach nothing either.
            learns = learns[~np.isin(patient[learns], patient[held if chosen is None else chosen])]
            share = _check_learnable(y[learns], names, silver)
            if silver is not None and marks is not None:
                share = silver.share(y[learns], marks[learns])
            if member == 0:
                self.prevalence_ = share
                # Of the first network's pictures, and then of all: one preprocessing serves every network.
                self.standardise_ = Standardise.of_pixels(ImageRows(images, learns))
                self.weights_report_: WeightsReport | None = None
            folder = None if checkpoint is None else os.path.join(checkpoint, f"network_{member + 1}")
            told = None if progress is None else progress_of(progress, member, members)
            taught = _Taught(np.where(np.isin(np.arange(len(y)), held)[:, None], gold, y), marks,
                             None if silver is None else silver.flips)  # fmt: skip
            self._member(images, taught, learns, held, share, seed, folder, digest, told)
        self._settle_precision()
        last = any(part["best_epoch"] == int(self.max_epochs) for part in self.history_)
        # A cosine ends where nothing moves any more: its last epoch is meant to be the best.
        if self.early_stopping and last and self.schedule == "constant":
            warnings.warn(
                f"the network still improved in epoch {self.max_epochs}, its last; raise max_epochs",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def begin(
        self, images: Any, labels: NDArray[np.float32], prevalence: NDArray[np.float64], names: Sequence[str] | None,
        patients: int,
    ) -> None:  # fmt: skip
        """Take the first weights as they are: a model whose head still has to be set.

        Parameters
        ----------
        images : array-like, shape (n, y, x)
        labels : float array, shape (n, k)
        prevalence : float array, shape (k,)
        names : k strings, optional
        patients : int
        """
        from aimed.diagnosis.initial_weights import load_weights
        from aimed.diagnosis.pooled_network import build_network
        from aimed.fit.torch_training import seeded

        self._check()
        part = ImageRows(images)
        k = labels.shape[1]
        self.findings_ = [f"finding {i + 1}" for i in range(k)] if names is None else [str(n) for n in names]
        self.shape_, self.n_fitted_, self.n_patients_, self.prevalence_ = part.shape, len(labels), patients, prevalence
        with seeded(self._seed(0)):
            network = build_network(self.architecture, k, self.architecture_options)
        self.weights_report_ = None
        if self.initial_weights is None:
            self.standardise_ = Standardise.of_pixels(part)
        else:
            self.weights_report_ = load_weights(network, self.initial_weights)
            self.standardise_ = self.weights_report_.normalisation
        self.networks_, self.shifts_, self.gates_, self.history_ = [network.eval()], [np.zeros(k)], [None], []
        self._settle_precision()

    def set_head(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Replace the head of the first network.

        Parameters
        ----------
        weight : float array, shape (k, width)
        bias : float array, shape (k,)
        """
        import torch

        check_is_fitted(self, "networks_")
        with torch.no_grad():
            self.networks_[0].classifier.weight.copy_(torch.from_numpy(weight))
            self.networks_[0].classifier.bias.copy_(torch.from_numpy(bias))

    def _check(self) -> None:
        NETWORKS.entry(self.architecture)
        LOSSES.entry(self.loss)
        for name, known in (
            ("stop_on", ("auroc", "loss")),
            ("precision", ("auto", "32-true", "bf16-mixed")),
            ("schedule", ("constant", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise StudyFileError(f"{name} = {getattr(self, name)!r}", f"one of: {', '.join(known)}")
        for name, least in (
            ("n_estimators", 1), ("test_time_augmentation", 0), ("frozen_epochs", 0), ("max_epochs", 1),
            ("n_iter_no_change", 1), ("batch_size", 2), ("random_state", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise StudyFileError(f"{name} = {value!r}", f"an integer >= {least}")
        for name in ("layer_decay", "validation_fraction"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 < value <= 1.0):
                raise StudyFileError(f"{name} = {value!r}", "a number > 0 and <= 1")
        if self.loss == "weighted" and self.loss_options:
            raise StudyFileError("loss_options with the weighted loss", "none: its weights are those of the data")

    def _given(self, tune: ArrayLike, patient: NDArray[np.int64]) -> NDArray[np.int64]:
        chosen = np.asarray(tune)
        if chosen.dtype != bool or chosen.shape != patient.shape or chosen.all() or not chosen.any():
            raise DataError("tune does not part the pictures", f"True and False, shape ({patient.size},)")
        both = np.intersect1d(patient[chosen], patient[~chosen]).size
        if both:
            raise DataError(f"{both} patients have pictures on both sides of tune", "each patient on one side")
        return np.flatnonzero(chosen)

    def _seed(self, member: int) -> int:
        return int(np.random.SeedSequence((int(self.random_state), member)).generate_state(1)[0] >> 1)

    def _augmentation(self) -> Any:
        from aimed.diagnosis.augmentation import Augmentation

        if self.augmentation is True:
            return Augmentation()
        return self.augmentation or None

    def _member(
        self, images: Any, taught: _Taught, learns: NDArray[np.int64], held: NDArray[np.int64],
        share: NDArray[np.float64], seed: int, folder: str | None, digest: str, progress: Progress | None,
    ) -> None:  # fmt: skip
        """Train one network and judge its half precision."""
        from aimed.fit.half_precision import half_precision_here, precision_gate

        half = self.precision == "bf16-mixed" or (
            self.precision == "auto" and len(held) > 0 and half_precision_here()
        )  # fmt: skip
        y = taught.labels
        network, done, shift = self._trained(images, taught, learns, held, share, seed, half, folder, digest, progress)
        gate = None
        if half and len(held):
            part = ImageRows(images, held)
            full, rounded = (self._logits(network, part, how) for how in (False, True))
            gate = precision_gate(y[held], full, rounded)
            if not gate.passed and self.precision == "auto":
                folder = None if folder is None else f"{folder}_full_precision"
                network, done, shift = self._trained(
                    images, taught, learns, held, share, seed, False, folder, digest, progress
                )
        self.networks_.append(network)
        self.shifts_.append(shift)
        self.gates_.append(gate)
        self.history_.append(
            {
                "train_loss": done.train_loss.tolist(),
                "tune_auroc": done.measures["auroc"].tolist() if len(held) else [],
                "tune_loss": done.measures["loss"].tolist() if len(held) else [],
                "best_epoch": done.best_epoch,
                "stopped_early": done.stopped_early,
                "train_rows": len(learns),
                "tune_rows": len(held),
                "learning_rate": self._rate,
            }
        )

    def _trained(
        self, images: Any, taught: _Taught, learns: NDArray[np.int64], held: NDArray[np.int64],
        share: NDArray[np.float64], seed: int, half: bool, folder: str | None, digest: str, progress: Progress | None,
    ) -> tuple[Any, Training, NDArray[np.float64]]:  # fmt: skip
        import torch

        from aimed.diagnosis.image_training import TrainingPictures, loss_of, tune_measures
        from aimed.diagnosis.initial_weights import load_weights
        from aimed.diagnosis.pooled_network import build_network
        from aimed.fit.learning_rate import find_learning_rate
        from aimed.fit.torch_training import TrainingSettings, seeded, train

        y, flips = taught.labels, taught.flips
        marks = None if taught.silver is None or flips is None else taught.silver[learns]
        with seeded(seed):
            network = build_network(self.architecture, y.shape[1], self.architecture_options)
        if self.initial_weights is not None:
            self.weights_report_ = load_weights(network, self.initial_weights)
            self.standardise_ = self.weights_report_.normalisation
        # With these weights the loss is least at odds that are off by a known factor; it is taken off again later.
        shift = np.log((1.0 - share) / share) if self.loss == "weighted" else np.zeros(share.size)
        if self.linear_probe_first:
            self._probe(network, images, taught, learns, shift, half)
        else:
            with torch.no_grad():
                network.classifier.bias.copy_(torch.from_numpy(np.log(share / (1.0 - share)) + shift))
        loss = loss_of(self.loss, self.loss_options, share, flips)
        data = TrainingPictures(
            ImageRows(images, learns), y[learns], self.standardise_, self._augmentation(), seed, marks
        )  # fmt: skip
        tunes = None
        if len(held):
            tunes = TrainingPictures(ImageRows(images, held), y[held], self.standardise_, None, seed)
        settings = TrainingSettings(
            epochs=int(self.max_epochs), batch_size=int(self.batch_size), tune_batch_size=self._together(),
            learning_rate=1.0, optimizer=self.optimizer, weight_decay=float(self.weight_decay),
            layers=self._layers(network), schedule=self.schedule, warmup=float(self.warmup), clip_norm=self.clip_norm,
            patience=int(self.n_iter_no_change) if len(held) else None, ema=self.ema,
            precision="bf16-mixed" if half else "32-true", channels_last=True, seed=seed,
            threads=network_threads(self.n_jobs), checkpoint=folder,
        )  # fmt: skip
        if self.learning_rate == "find":
            self._rate = find_learning_rate(network, loss, data, settings).suggested
        else:
            self._rate = float(self.learning_rate)
        settings = dataclasses.replace(settings, learning_rate=self._rate)
        done = train(
            network, loss, data, tunes, settings, identity=digest, progress=progress,
            tune_loss=tune_measures(self.stop_on) if len(held) else None,
        )  # fmt: skip
        return network, done, shift

    def _layers(self, network: Any) -> list[Any]:
        from aimed.fit.torch_training import LayerGroup

        if self.layer_decay == 1.0 and not self.frozen_epochs:
            return []
        stages = list(network.stages)
        return [
            LayerGroup(
                prefix=f"{stage}.",
                rate=float(self.layer_decay) ** (len(stages) - place),
                frozen_epochs=int(self.frozen_epochs),
            )
            for place, stage in enumerate(stages)
        ]

    def _probe(
        self, network: Any, images: Any, taught: _Taught, learns: NDArray[np.int64],
        shift: NDArray[np.float64], half: bool,
    ) -> None:  # fmt: skip
        import torch

        from aimed.diagnosis.linear_probe import fit_heads

        found = np.concatenate(list(self._each(network, ImageRows(images, learns), "features", half)))
        heads = fit_heads(found, taught.labels[learns], flips=taught.rates(learns))
        with torch.no_grad():
            network.classifier.weight.copy_(torch.from_numpy(heads.weight))
            network.classifier.bias.copy_(torch.from_numpy(heads.bias + shift))

    def prepared(self, pictures: NDArray[Any], top: int = 255) -> Any:
        """Return pictures as the networks take them: float32 tensor, shape (b, 1, y, x).

        Parameters
        ----------
        pictures : uint8 or uint16 array, shape (b, y, x)
        top : int
            The brightest value there can be.
        """
        from aimed.diagnosis.image_training import as_shares, standardised

        return standardised(as_shares(pictures, top), self.standardise_)

    def _each(
        self, network: Any, part: ImageRows, what: str, half: bool, change: Any = None, copy: int = 0
    ) -> Iterator[NDArray[np.float32]]:
        """Yield what a network says, some pictures at a time."""
        import torch

        from aimed.diagnosis.image_training import as_shares, standardised

        if part.shape != self.shape_:
            raise DataError(f"pictures of {part.shape} pixels", f"{self.shape_}, as in training", "resize them")
        network.eval().to(memory_format=torch.channels_last)
        with torch_threads(threads_allowed(self.n_jobs)):
            for rows in in_batches(len(part), self._together()):
                places = np.arange(rows.start, rows.stop)
                x = as_shares(part.take(places), part.top)
                if change is not None:
                    x = change(x, [(int(self.random_state), 7, copy)] * len(places))
                x = standardised(x, self.standardise_).contiguous(memory_format=torch.channels_last)
                with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                    found = getattr(network, what)(x)
                yield found.float().numpy()

    def _together(self) -> int:
        return max(1, min(_TOGETHER, _PIXELS // (self.shape_[0] * self.shape_[1])))

    def _logits(self, network: Any, part: ImageRows, half: bool) -> NDArray[np.float32]:
        return np.concatenate(list(self._each(network, part, "forward", half)))

    def _settle_precision(self) -> None:
        """Predict in half precision where every network passed its gate."""
        gates = [gate for gate in self.gates_ if gate is not None]
        passed = len(gates) == len(self.gates_) and all(gate.passed for gate in gates)
        change = max((abs(gate.change) for gate in gates), default=None)
        used = "bf16-mixed" if self.precision != "32-true" and (passed or self.precision == "bf16-mixed") else "32-true"
        self.precision_ = {
            "used": used,
            "auroc_change": change,
            "limit": gates[0].limit if gates else None,
            "checked": bool(gates),
        }

    def _chances(self, images: Any) -> Iterator[NDArray[np.float64]]:
        """Yield log odds of each network and each copy of the pictures, shape (n, k)."""
        from aimed.diagnosis.augmentation import Augmentation

        check_is_fitted(self, "networks_")
        part = ImageRows(images)
        half = self._half()
        change = self._augmentation() or Augmentation()
        for network, shift in zip(self.networks_, self.shifts_, strict=True):
            for copy in range(int(self.test_time_augmentation) + 1):
                found = self._each(network, part, "forward", half, change if copy else None, copy)
                yield np.concatenate(list(found)).astype(np.float64) - shift

    def _half(self) -> bool:
        from aimed.fit.half_precision import half_precision_here

        return bool(self.precision_["used"] == "bf16-mixed" and half_precision_here())

    def decision_function(self, images: Any) -> NDArray[np.float64]:
        """Return log odds of each finding, shape (n, k): those of the mean probability."""
        yes: Any = -np.inf
        no: Any = -np.inf
        for logits in self._chances(images):
            yes = np.logaddexp(yes, -np.logaddexp(0.0, -logits))
            no = np.logaddexp(no, -np.logaddexp(0.0, logits))
        return np.asarray(yes - no)

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Return the probability of each finding, shape (n, k).

        Notes
        -----
        The factor that the weighted loss puts on the odds is taken off. Networks are overconfident all the same:
        calibrate on patients that did not train.
        """
        return self.predict_uncertain(images)[0]

    def predict_members(self, images: Any) -> NDArray[np.float64]:
        """Return the probabilities of each network and each changed copy of the pictures, shape (m, n, k)."""
        return np.stack([0.5 * (1.0 + np.tanh(0.5 * logits)) for logits in self._chances(images)])

    def predict_uncertain(self, images: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of the probabilities over networks and changed copies, each (n, k).

        The deviation is NaN where there is one network and no changed copy: nothing then says how sure it is.
        """
        members = self.predict_members(images)
        mean = members.mean(axis=0)
        return mean, members.std(axis=0, ddof=1) if len(members) > 1 else np.full_like(mean, np.nan)

    def features(self, images: Any) -> NDArray[np.float32]:
        """Return the means of the last maps of the first network, shape (n, width)."""
        check_is_fitted(self, "networks_")
        return np.concatenate(list(self._each(self.networks_[0], ImageRows(images), "features", self._half())))

    def _plain_parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(self.get_params(deep=False))
        for name in ("architecture_options", "loss_options"):
            found[name] = None if found[name] is None else {k: _plain(v) for k, v in found[name].items()}
        if not isinstance(self.augmentation, bool):
            found["augmentation"] = dataclasses.asdict(self.augmentation)
        # The path of a file is no part of a model; the report holds the hash.
        found["initial_weights"] = None if self.initial_weights is None else self.initial_weights.sha256
        return found

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types, all but its weights."""
        check_is_fitted(self, "networks_")
        report = self.weights_report_
        return {
            "schema": _SCHEMA,
            "parameters": {**self._plain_parameters(), "initial_weights": None},
            "findings": self.findings_,
            "shape": list(self.shape_),
            "standardise": self.standardise_.to_state(),
            "prevalence": self.prevalence_.tolist(),
            "shifts": [shift.tolist() for shift in self.shifts_],
            "history": self.history_,
            "precision": self.precision_,
            "initial_weights": None if report is None else report.to_state(),
            "n": self.n_fitted_,
            "patients": self.n_patients_,
            "weights_sha256": hashlib.sha256(self.weights()).hexdigest(),
        }

    def weights(self) -> bytes:
        """Return the weights of all networks as one safetensors file."""
        check_is_fitted(self, "networks_")
        return packed_weights(self.networks_)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], weights: bytes | None) -> ImageClassifier:
        """Rebuild a fitted model from `to_state` and `weights`.

        Parameters
        ----------
        state : mapping
        weights : bytes or None
            None for a model that something else runs: it has all but its networks, and needs no torch.

        Raises
        ------
        BundleError
            If the weights are not those of the state.
        """
        check_weights(weights, state)
        parameters = dict(state["parameters"])
        if isinstance(parameters["augmentation"], Mapping) and weights is not None:
            from aimed.diagnosis.augmentation import Augmentation

            parameters["augmentation"] = Augmentation(**parameters["augmentation"])
        model = cls(**parameters)
        model.findings_ = [str(name) for name in state["findings"]]
        model.shape_ = (int(state["shape"][0]), int(state["shape"][1]))
        model.standardise_ = Standardise.from_state(state["standardise"])
        model.prevalence_ = np.asarray(state["prevalence"], dtype=np.float64)
        model.shifts_ = [np.asarray(shift, dtype=np.float64) for shift in state["shifts"]]
        model.history_, model.precision_ = list(state["history"]), dict(state["precision"])
        model.n_fitted_, model.n_patients_ = int(state["n"]), int(state["patients"])
        if weights is not None:
            from aimed.diagnosis.stored_weights import stored_networks

            model.weights_report_ = _report_of(state["initial_weights"])
            model.networks_ = stored_networks(
                weights, model.architecture, len(model.findings_), model.architecture_options, len(model.shifts_)
            )
        return model


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _report_of(state: Mapping[str, Any] | None) -> Any:
    from aimed.diagnosis.initial_weights import WeightsReport

    if state is None:
        return None
    loaded, skipped = (tuple((str(a), str(b)) for a, b in state[name]) for name in ("loaded", "skipped"))
    normalisation = Standardise.from_state(state["normalisation"])
    return WeightsReport(str(state["sha256"]), normalisation, loaded, skipped, tuple(state["missing"]))
