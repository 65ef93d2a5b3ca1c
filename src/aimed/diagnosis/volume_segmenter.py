"""The segmenter of volumes: trained on sub-volumes, stopped on patients it never saw, and run over whole scans."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.diagnosis import SEGMENTATION_LOSSES, VOLUME_NETWORKS
from aimed.diagnosis.component_rules import ComponentRule, RuleScores, choose_rule
from aimed.diagnosis.segmentation_head import SegmentationHead
from aimed.diagnosis.several_networks import (
    Progress,
    check_weights,
    network_threads,
    packed_weights,
    progress_of,
    torch_threads,
)
from aimed.diagnosis.volume_scaling import VolumeScaling
from aimed.diagnosis.volume_weights import VolumeWeightsReport, load_volume_weights
from aimed.metrics.arrays import patient_codes

if TYPE_CHECKING:
    from aimed.diagnosis.initial_weights import InitialWeights
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation

__all__ = ["Runtime", "VolumeSegmenter"]

Scan = Any
Runtime: TypeAlias = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]
_SCHEMA = 1
_TUNE_SUB_VOLUMES = 4
_LARGEST_CHANGE = 0.001
"""Of mean Dice, above which half precision is not used."""


class VolumeSegmenter(BaseEstimator):  # type: ignore[misc]
    """Outlines in volumes by a 3D network.

    Parameters
    ----------
    regions : dict of str to int or ints, optional
        What is outlined, as unions of labels of the masks; each label by itself when absent.
    exclusive : bool
        The regions are labels of which a voxel has one (softmax); otherwise they may overlap (sigmoid), as whole
        tumour, core and enhancing tumour do.
    paint : dict of str to int, optional
        Label that stands for a region in maps of labels.
    architecture : str
        A name of `aimed.diagnosis.VOLUME_NETWORKS`.
    architecture_options : dict, optional
        Its parameters.
    loss : str
        A name of `aimed.diagnosis.SEGMENTATION_LOSSES`.
    loss_options : dict, optional
    scaling : VolumeScaling, optional
        Mean and spread of voxels that are not 0, by scan and channel, when absent.
    patch_size : (int, int, int)
        Of sub-volumes and windows, along (z, y, x).
    sampling : {"foreground", "background_limit", "random"}
    positive, negative, background_limit
        As in `aimed.diagnosis.patches.PatchRule`.
    patches_per_scan : int
        Sub-volumes of a scan in an epoch.
    augmentation : bool or VolumeAugmentation
        Random changes of training volumes.
    initial_weights : InitialWeights, optional
        A file of weights to start from, all but the heads.
    optimizer, learning_rate, weight_decay, batch_size, schedule, warmup, ema, clip_norm, accelerator
        As in `aimed.fit.torch_training.TrainingSettings`. Only the processor repeats a training to the bit.
    max_epochs : int
    early_stopping : bool
        Set patients aside, keep the weights that are best on them, and choose there what is cleared away.
    validation_fraction : float
        Share of the patients set aside.
    n_iter_no_change : int
        Epochs without gain after which training stops.
    stop_on : {"dice", "loss"}
        Of sub-volumes of the patients set aside.
    precision : {"auto", "32-true", "bf16-mixed"}
        "auto" learns in half precision where the processor has it, and predicts so if the mean Dice of the whole
        scans set aside changes by less than 0.001.
    n_estimators : int
        Networks, each from a seed of its own and stopped on other patients; their probabilities are averaged.
    overlap : float
        Of windows over a scan.
    mirror : tuple of int
        Axes of (z, y, x) along which mirror images are read too.
    test_time_augmentation : int
        Copies of a scan with other greys that are read beside it.
    windows_together : int
    crop : bool
        Look at the box of voxels that are not 0 alone; outside of it there is nothing.
    clean : bool
        Clear away small pieces, or all but the largest, where that gains Dice on whole scans set aside.
    n_jobs : int, optional
        Threads; two when absent, whatever the machine, as the last digits depend on their number.
    random_state : int

    Attributes
    ----------
    networks_ : list of VolumeNetwork
    n_networks_ : int
    divisor_ : (int, int, int)
        What the sides of windows are multiples of.
    head_ : SegmentationHead
    channels_ : int
    scaling_ : VolumeScaling
    weights_report_ : VolumeWeightsReport or None
        What became of `initial_weights`.
    rules_ : list of ComponentRule
        Of each region.
    tune_dice_ : dict
        Mean Dice of whole scans set aside, by region, without and with the rules, and their number; empty without any.
    history_ : list of dict
    precision_ : dict

    References
    ----------
    Isensee et al., Nature Methods 2021 (nnU-Net). Lakshminarayanan et al., NeurIPS 2017 (ensembles).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scans = [rng.normal(5, 1, (1, 8, 8, 8)) for _ in range(3)]
    >>> masks = [np.zeros((8, 8, 8), dtype=np.uint8) for _ in range(3)]
    >>> for scan, mask in zip(scans, masks):
    ...     mask[2:6, 2:6, 2:6] = 1
    ...     scan[:, mask == 1] += 8
    >>> model = VolumeSegmenter(
    ...     {"blob": 1}, architecture_options={"widths": [4, 8]}, patch_size=(8, 8, 8), max_epochs=2,
    ...     early_stopping=False, n_jobs=1,
    ... )
    >>> model.fit(scans, masks).predict(scans)[0].shape
    (8, 8, 8)
    """

    def __init__(
        self,
        regions: Mapping[str, Any] | None = None,
        *,
        exclusive: bool = False,
        paint: Mapping[str, int] | None = None,
        architecture: str = "unet3d",
        architecture_options: Mapping[str, Any] | None = None,
        loss: str = "dice_cross_entropy",
        loss_options: Mapping[str, Any] | None = None,
        scaling: VolumeScaling | None = None,
        patch_size: tuple[int, int, int] = (96, 96, 96),
        sampling: Literal["foreground", "background_limit", "random"] = "foreground",
        positive: float = 2.0,
        negative: float = 1.0,
        background_limit: float = 0.95,
        patches_per_scan: int = 4,
        augmentation: bool | VolumeAugmentation = True,
        initial_weights: InitialWeights | None = None,
        optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = "adamw",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        batch_size: int = 2,
        max_epochs: int = 50,
        schedule: Literal["constant", "cosine"] = "cosine",
        warmup: float = 0.05,
        ema: float | None = None,
        clip_norm: float | None = 12.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 15,
        stop_on: Literal["dice", "loss"] = "dice",
        precision: Literal["auto", "32-true", "bf16-mixed"] = "auto",
        accelerator: Literal["cpu", "cuda", "auto"] = "cpu",
        n_estimators: int = 1,
        overlap: float = 0.5,
        mirror: tuple[int, ...] = (),
        test_time_augmentation: int = 0,
        windows_together: int = 1,
        crop: bool = True,
        clean: bool = True,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.regions, self.exclusive, self.paint = regions, exclusive, paint
        self.architecture, self.architecture_options = architecture, architecture_options
        self.loss, self.loss_options, self.scaling = loss, loss_options, scaling
        self.patch_size, self.sampling, self.positive, self.negative = patch_size, sampling, positive, negative
        self.background_limit, self.patches_per_scan = background_limit, patches_per_scan
        self.augmentation, self.initial_weights = augmentation, initial_weights
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.weight_decay, self.batch_size, self.max_epochs = weight_decay, batch_size, max_epochs
        self.schedule, self.warmup, self.ema, self.clip_norm = schedule, warmup, ema, clip_norm
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.n_iter_no_change, self.stop_on = n_iter_no_change, stop_on
        self.precision, self.accelerator, self.n_estimators = precision, accelerator, n_estimators
        self.overlap, self.mirror, self.test_time_augmentation = overlap, mirror, test_time_augmentation
        self.windows_together, self.crop, self.clean = windows_together, crop, clean
        self.n_jobs, self.random_state = n_jobs, random_state

    def fit(
        self,
        volumes: Sequence[Scan],
        masks: Sequence[Any],
        groups: ArrayLike | None = None,
        *,
        tune: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> VolumeSegmenter:
        """Train.

        Parameters
        ----------
        volumes : sequence of n arrays, each of shape (c, z, y, x)
            In memory or mapped, on one spacing and orientation; sizes may differ.
        masks : sequence of n arrays, each of shape (z, y, x)
            Labels from 0 to 254; 255 or -1 where nobody looked.
        groups : array, shape (n,), optional
            Patient of each scan; each scan its own when absent.
        tune : bool array, shape (n,), optional
            The scans to stop on, instead of a draw.
        checkpoint : path, optional
            Folder; a training that was stopped goes on from there.
        progress : callable, optional
            ``progress(share, text)``.

        Raises
        ------
        DataError
            If scans, masks and groups do not fit together, a channel is empty, a mask has labels of no region, or a
            patient is on both sides of `tune`.
        NotEstimableError
            If a region is in no training scan, or one patient cannot be parted into two sides.
        """
        self._check()
        n = len(volumes)
        if n != len(masks) or n == 0:
            raise DataError(f"{n} scans and {len(masks)} masks", "as many of both, and one at least")
        self.head_ = self._head(masks)
        labels = [self.head_.codes(mask) for mask in masks]
        counts = np.stack([self.head_.check(mask) for mask in labels])
        self.channels_ = _channels(volumes, labels)
        self.scaling_ = VolumeScaling() if self.scaling is None else self.scaling
        patient = patient_codes(groups, n)
        self.n_fitted_, self.n_patients_ = n, int(np.unique(patient).size)
        digest = ""
        if checkpoint is not None:
            from aimed.diagnosis.patches import scans_digest

            text = repr(sorted(self._plain_parameters().items())) + repr(patient.tolist())
            if self.initial_weights is not None:
                from aimed.diagnosis.initial_weights import opened_weights

                text += opened_weights(self.initial_weights)[0]
            digest = hashlib.sha256((scans_digest(volumes, labels) + text).encode()).hexdigest()
        numbers = [self.scaling_.numbers(scan) for scan in volumes]
        scans, labels = _boxed(volumes, labels, self.crop)
        given = None if tune is None else _given(tune, patient)
        self.networks_: list[Any] = []
        self.weights_report_: VolumeWeightsReport | None = None
        self.history_: list[dict[str, Any]] = []
        self.rules_ = [ComponentRule() for _ in self.head_.names]
        held_by: list[NDArray[np.int64]] = []
        for member in range(int(self.n_estimators)):
            held = given
            if held is None:
                held = self._drawn(patient, self._seed(member)) if self.early_stopping else np.zeros(0, dtype=np.int64)
            learns = np.setdiff1d(np.arange(n), held)
            self._learnable(counts[learns])
            shares = self._log_odds(counts[learns])
            folder = None if checkpoint is None else os.path.join(checkpoint, f"network_{member + 1}")
            told = None if progress is None else progress_of(progress, member, int(self.n_estimators))
            self._member(scans, labels, numbers, learns, held, member, shares, folder, digest, told)
            held_by.append(held)
        self.n_networks_, self.divisor_ = len(self.networks_), tuple(self.networks_[0].divisor)
        self._settle(volumes, masks, held_by)
        return self

    def _check(self) -> None:
        VOLUME_NETWORKS.entry(self.architecture)
        SEGMENTATION_LOSSES.entry(self.loss)
        for name, known in (
            ("stop_on", ("dice", "loss")),
            ("precision", ("auto", "32-true", "bf16-mixed")),
            ("schedule", ("constant", "cosine")),
            ("sampling", ("foreground", "background_limit", "random")),
        ):
            if getattr(self, name) not in known:
                raise StudyFileError(f"{name} = {getattr(self, name)!r}", f"one of: {', '.join(known)}")
        for name, least in (
            ("n_estimators", 1), ("test_time_augmentation", 0), ("max_epochs", 1), ("n_iter_no_change", 1),
            ("batch_size", 1), ("patches_per_scan", 1), ("windows_together", 1), ("random_state", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise StudyFileError(f"{name} = {value!r}", f"an integer >= {least}")
        if not 0.0 < self.validation_fraction < 1.0:
            raise StudyFileError(f"validation_fraction = {self.validation_fraction!r}", "a number > 0 and < 1")
        if not set(self.mirror) <= {0, 1, 2}:
            raise StudyFileError(f"mirror = {self.mirror!r}", "axes out of 0, 1, 2")

    def _head(self, masks: Sequence[Any]) -> SegmentationHead:
        regions = self.regions
        if regions is None:
            found: set[int] = set()
            for mask in masks:
                found.update(np.unique(np.asarray(mask)).astype(int).tolist())
            regions = {f"label {label}": label for label in sorted(found - {0, 255, -1})}
            if not regions:
                raise NotEstimableError("no mask has a label", "something to outline")
        if self.exclusive:
            head: SegmentationHead = SegmentationHead.of_labels(regions)
            return head
        overlapping: SegmentationHead = SegmentationHead.of_regions(regions, self.paint)
        return overlapping

    def _learnable(self, counts: NDArray[np.int64]) -> None:
        for name, region in zip(self.head_.names, self.head_.labels, strict=True):
            if not counts[:, list(region)].any():
                raise NotEstimableError(f"the region '{name}' is in no training scan", "at least one scan with it")

    def _log_odds(self, counts: NDArray[np.int64]) -> list[float]:
        """Return the scores that say of every voxel how frequent each output is in training scans."""
        told = self.head_.table()
        known = np.delete(counts.sum(axis=0), self.head_.unknown)
        shares = (np.delete(told, self.head_.unknown, axis=1) @ known) / known.sum()
        shares = np.clip(shares, 1e-3, 1.0 - 1e-3)
        found = np.log(shares) if self.head_.exclusive else np.log(shares / (1.0 - shares))
        return [float(value) for value in found]

    def _drawn(self, patient: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        known = np.unique(patient)
        if known.size < 2:
            raise NotEstimableError(
                "one patient cannot both learn and tune", "two patients or more", "set early_stopping to False"
            )
        count = min(known.size - 1, max(1, math.floor(known.size * self.validation_fraction + 0.5)))
        chosen = np.random.default_rng((seed, 3)).permutation(known)[:count]
        return np.flatnonzero(np.isin(patient, chosen))

    def _seed(self, member: int) -> int:
        return int(np.random.SeedSequence((int(self.random_state), member)).generate_state(1)[0] >> 1)

    def _change(self) -> Any:
        from aimed.diagnosis.volume_augmentation import VolumeAugmentation

        return VolumeAugmentation() if self.augmentation is True else self.augmentation or None

    def _member(
        self, scans: list[Any], labels: list[Any], numbers: list[Any], learns: NDArray[np.int64],
        held: NDArray[np.int64], member: int, log_odds: list[float], folder: str | None, digest: str,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        """Train one network."""
        from aimed.diagnosis.patches import Patches, PatchRule
        from aimed.diagnosis.volume_network import build_volume_network
        from aimed.diagnosis.volume_training import outline_loss, outline_measures
        from aimed.fit.half_precision import half_precision_here
        from aimed.fit.torch_training import TrainingSettings, seeded, train

        seed = self._seed(member)
        with seeded(seed):
            network = build_volume_network(
                self.architecture, self.channels_, self.head_.outputs, self.architecture_options
            )  # fmt: skip
        if self.initial_weights is not None:
            self.weights_report_ = load_volume_weights(network, self.initial_weights)
        network.begin_at(log_odds)
        size = tuple(int(s) for s in self.patch_size)
        rule = PatchRule(
            size=(size[0], size[1], size[2]), how=self.sampling, positive=self.positive, negative=self.negative,
            background_limit=self.background_limit,
        )  # fmt: skip

        def part(rows: NDArray[np.int64], each: int, change: Any) -> Any:
            own = [[values[row] for row in rows.tolist()] for values in (scans, labels, numbers)]
            return Patches(
                own[0], own[1], rule, self.head_, self.scaling_, numbers=own[2], each=each, change=change, seed=seed,
                fixed=change is None and each == _TUNE_SUB_VOLUMES,
            )  # fmt: skip

        half = self.precision == "bf16-mixed" or (
            self.precision == "auto" and half_precision_here(self.accelerator)
        )  # fmt: skip
        loss = outline_loss(self.loss, self.loss_options, self.head_.exclusive)
        settings = TrainingSettings(
            epochs=int(self.max_epochs), batch_size=int(self.batch_size), learning_rate=float(self.learning_rate),
            optimizer=self.optimizer, weight_decay=float(self.weight_decay), schedule=self.schedule,
            warmup=float(self.warmup), clip_norm=self.clip_norm, ema=self.ema,
            patience=int(self.n_iter_no_change) if held.size else None, accelerator=self.accelerator,
            precision="bf16-mixed" if half else "32-true", deterministic=self.accelerator == "cpu", seed=seed,
            threads=network_threads(self.n_jobs), checkpoint=folder,
        )  # fmt: skip
        done = train(
            network, loss, part(learns, int(self.patches_per_scan), self._change()),
            part(held, _TUNE_SUB_VOLUMES, None) if held.size else None, settings, identity=digest, progress=progress,
            tune_loss=outline_measures(loss, self.head_, self.stop_on) if held.size else None,
        )  # fmt: skip
        self.networks_.append(network)
        self.history_.append(
            {
                "train_loss": done.train_loss.tolist(),
                "tune": {name: values.tolist() for name, values in done.measures.items()},
                "best_epoch": done.best_epoch,
                "stopped_early": done.stopped_early,
                "steps": done.steps,
                "train_scans": int(learns.size),
                "tune_scans": int(held.size),
                "half_precision": half,
            }
        )

    def _settle(self, volumes: Sequence[Any], masks: Sequence[Any], held_by: list[NDArray[np.int64]]) -> None:
        """Choose precision and rules on whole scans that the networks did not learn from."""
        from aimed.fit.half_precision import half_precision_here

        half = self.precision != "32-true" and half_precision_here(self.accelerator)
        self.precision_: dict[str, Any] = {"used": "32-true", "dice_change": None, "limit": _LARGEST_CHANGE}
        self.tune_dice_: dict[str, Any] = {}
        scores = {how: [RuleScores() for _ in self.head_.names] for how in ((False, True) if half else (False,))}
        every = sorted({int(row) for held in held_by for row in held})
        for row in every:
            able = [place for place, held in enumerate(held_by) if row in held]
            codes = self.head_.codes(masks[row])
            truth, known = self.head_.masks(codes), codes != self.head_.unknown
            for how, mine in scores.items():
                found = self._masks(volumes[row], able, how)
                for region, score in enumerate(mine):
                    score.add(found[region] & known, truth[region])
        if not every:
            if self.precision == "bf16-mixed" and half:
                self.precision_["used"] = "bf16-mixed"
            return
        means = {
            how: float(np.mean([np.mean(score.dice, axis=0)[0] for score in mine])) for how, mine in scores.items()
        }
        if half:
            change = means[True] - means[False]
            passed = abs(change) < _LARGEST_CHANGE or self.precision == "bf16-mixed"
            self.precision_ |= {"used": "bf16-mixed" if passed else "32-true", "dice_change": change}
        chosen = [choose_rule(score) for score in scores[self.precision_["used"] == "bf16-mixed"]]
        if self.clean:
            self.rules_ = [rule for rule, _, _ in chosen]
        self.tune_dice_ = {
            "scans": len(every),
            "raw": {name: raw for name, (_, raw, _) in zip(self.head_.names, chosen, strict=True)},
            "cleaned": {
                name: best if self.clean else raw for name, (_, raw, best) in zip(self.head_.names, chosen, strict=True)
            },
        }

    def _slabs(
        self, scan: Scan, places: Sequence[int], half: bool, progress: Progress | None = None,
        runtime: Runtime | None = None,
    ) -> Iterator[Any]:  # fmt: skip
        """Yield where slices stand in the scan, and probabilities there, shape (members, k, slices, y, x)."""
        from aimed.diagnosis.sliding_window import fitting_window, foreground_box, sliding_window

        if len(scan.shape) != 4 or scan.shape[0] != self.channels_:
            raise DataError(
                f"a scan of shape {tuple(scan.shape)}", f"(c, z, y, x) with {self.channels_} channels, as in training"
            )
        numbers = self.scaling_.numbers(scan)
        box = foreground_box(scan) if self.crop else tuple(slice(0, n) for n in scan.shape[1:])
        inside, k = scan[(slice(None), *box)], len(self.head_.names)
        with self._asked(places, half, runtime) as say:
            for part, values in sliding_window(
                say, inside, fitting_window(inside.shape[1:], self.patch_size, self.divisor_),
                overlap=float(self.overlap), together=int(self.windows_together), mirror=tuple(self.mirror),
                prepare=lambda raw: self.scaling_.scaled(raw, numbers), progress=progress, tensors=runtime is None,
            ):  # fmt: skip
                at = (slice(box[0].start + part.start, box[0].start + part.stop), *box[1:])
                yield at, values.reshape(-1, k, *values.shape[1:])

    @contextmanager
    def _asked(self, places: Sequence[int], half: bool, runtime: Runtime | None) -> Iterator[Callable[[Any], Any]]:
        """Return what says the probabilities of windows, those of all networks and changed copies one after another."""
        copies = range(1, int(self.test_time_augmentation) + 1)
        if runtime is not None:
            run = runtime
            drawn = [_other_greys(self.augmentation, self.channels_, copy, int(self.random_state)) for copy in copies]

            def told(windows: NDArray[np.float32]) -> NDArray[np.float32]:
                found = list(run(windows))
                for factor, added in drawn:
                    found += run(np.where(windows == 0, windows, windows * factor + added))
                return np.concatenate([self.head_.chances(np.asarray(scores)) for scores in found], 1)

            yield told
            return
        import torch

        from aimed.diagnosis.volume_training import as_chances

        device = torch.device("cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
        # In half precision, convolutions like the channels of a voxel side by side.
        order = torch.channels_last_3d if half else torch.contiguous_format
        networks = [self.networks_[place].eval().to(device, memory_format=order) for place in places]
        greys = []
        for copy in copies:
            changed = _other_greys(self.augmentation, self.channels_, copy, int(self.random_state))
            greys.append([torch.from_numpy(part).to(device) for part in changed])

        def say(windows: Any) -> Any:
            x, found = windows.to(device).contiguous(memory_format=order), []
            for factor, added in (None, None), *greys:
                seen = x if factor is None else torch.where(x == 0, x, x * factor + added)
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                    found += [as_chances(network(seen), self.head_.exclusive) for network in networks]
            return torch.cat(found, 1)

        try:
            with torch_threads(network_threads(self.n_jobs)), torch.inference_mode():
                yield say
        finally:
            for network in networks:
                network.to("cpu")

    def _masks(self, scan: Scan, places: Sequence[int], half: bool, progress: Progress | None = None) -> Any:
        found = np.zeros((len(self.head_.names), *scan.shape[1:]), dtype=bool)
        for at, values in self._slabs(scan, places, half, progress):
            found[(slice(None), *at)] = self.head_.decided(_mean(values))
        return found

    def _ready(self, runtime: Runtime | None = None) -> tuple[range, bool]:
        if runtime is not None:
            check_is_fitted(self, "head_")
            return range(self.n_networks_), False
        from aimed.fit.half_precision import half_precision_here

        check_is_fitted(self, "networks_")
        return range(len(self.networks_)), bool(
            self.precision_["used"] == "bf16-mixed" and half_precision_here(self.accelerator)
        )  # fmt: skip

    def masks_of(self, scan: Scan, progress: Progress | None = None) -> NDArray[np.bool_]:
        """Return the regions of one scan, pieces cleared away, shape (k, z, y, x).

        Parameters
        ----------
        scan : array, shape (c, z, y, x)
        progress : callable, optional
            ``progress(share, text)``.
        """
        return self.cleaned(self._masks(scan, *self._ready(), progress))

    def cleaned(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return regions of one scan, shape (k, z, y, x), with what the rules clear away taken out."""
        return np.stack([rule.applied(mask) for rule, mask in zip(self.rules_, masks, strict=True)])

    def predict(self, volumes: Sequence[Scan]) -> list[NDArray[np.uint8]]:
        """Return the map of labels of each scan, shape (z, y, x)."""
        return [self.head_.painted(self.masks_of(scan)) for scan in volumes]

    def predict_proba(self, volumes: Sequence[Scan]) -> list[NDArray[np.float32]]:
        """Return the probability of each region at each voxel of each scan, shape (k, z, y, x); nothing is cleared.

        Notes
        -----
        A whole brain takes 36 MB a region: of many scans, ask for one after the other.
        """
        return [mean for mean, _ in map(self.uncertain, volumes)]

    def predict_uncertain(self, volumes: Sequence[Scan]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return mean and standard deviation of the probabilities over networks and changed copies, for each scan.

        The deviation is NaN where there is one network and no changed copy: nothing then says how sure it is. Mirror
        images are averaged before.
        """
        return [self.uncertain(scan) for scan in volumes]

    def uncertain(
        self, scan: Scan, *, runtime: Runtime | None = None, progress: Progress | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of the probabilities of one scan, each of shape (k, z, y, x).

        Parameters
        ----------
        scan : array, shape (c, z, y, x)
        runtime : callable, optional
            Runs the networks in place of torch: ``runtime(windows)`` takes float32 arrays (b, c, z, y, x), scaled, and
            returns the scores of each network, a list of arrays (b, outputs, z, y, x).
        progress : callable, optional
            ``progress(share, text)``.

        Returns
        -------
        (array, array)
            See `predict_uncertain`.
        """
        places, half = self._ready(runtime)
        mean = np.zeros((len(self.head_.names), *scan.shape[1:]), dtype=np.float32)
        several = len(places) * (1 + int(self.test_time_augmentation)) > 1
        # Outside of the head nothing is said, and nothing doubted.
        spread = np.full_like(mean, 0.0 if several else np.nan)
        for at, values in self._slabs(scan, places, half, progress, runtime):
            # Weights of windows sum to 1 but for rounding.
            mean[(slice(None), *at)] = np.minimum(_mean(values), np.float32(1.0))
            if several:
                spread[(slice(None), *at)] = values.std(0, ddof=1)
        return mean, spread

    def _plain_parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        for name in ("augmentation", "scaling"):
            if dataclasses.is_dataclass(found[name]) and not isinstance(found[name], type):
                found[name] = _plain(dataclasses.asdict(found[name]))
        # A path is of a machine; what was in the file is told by the report.
        found["initial_weights"] = None
        return found

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types, all but its weights."""
        check_is_fitted(self, "networks_")
        return {
            "schema": _SCHEMA,
            "parameters": self._plain_parameters(),
            "initial_weights": None if self.weights_report_ is None else self.weights_report_.to_state(),
            "head": self.head_.to_state(),
            "channels": self.channels_,
            "scaling": self.scaling_.to_state(),
            "rules": [rule.to_state() for rule in self.rules_],
            "tune_dice": self.tune_dice_,
            "history": self.history_,
            "precision": self.precision_,
            "networks": self.n_networks_,
            "divisor": list(self.divisor_),
            "n": self.n_fitted_,
            "patients": self.n_patients_,
            "weights_sha256": hashlib.sha256(self.weights()).hexdigest(),
        }

    def weights(self) -> bytes:
        """Return the weights of all networks as one safetensors file."""
        check_is_fitted(self, "networks_")
        return packed_weights(self.networks_)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], weights: bytes | None) -> VolumeSegmenter:
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
        for name in ("patch_size", "mirror"):
            parameters[name] = tuple(parameters[name])
        if parameters["regions"] is not None:
            # JSON objects have no order; regions paint in theirs.
            named = [(name, parameters["regions"][name]) for name in state["head"]["names"]]
            parameters["regions"] = {name: tuple(v) if isinstance(v, list) else v for name, v in named}
        if parameters["scaling"] is not None:
            parameters["scaling"] = VolumeScaling.from_state(parameters["scaling"])
        if isinstance(parameters["augmentation"], Mapping):
            from aimed.diagnosis.volume_augmentation import VolumeAugmentation

            given: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in parameters["augmentation"].items()
            }
            parameters["augmentation"] = VolumeAugmentation(**given)
        model = cls(**parameters)
        model.head_ = SegmentationHead.from_state(state["head"])
        model.channels_, model.scaling_ = int(state["channels"]), VolumeScaling.from_state(state["scaling"])
        report = state["initial_weights"]
        model.weights_report_ = None if report is None else VolumeWeightsReport.from_state(report)
        model.rules_ = [ComponentRule.from_state(rule) for rule in state["rules"]]
        model.tune_dice_, model.history_ = dict(state["tune_dice"]), list(state["history"])
        model.precision_ = dict(state["precision"])
        model.n_fitted_, model.n_patients_ = int(state["n"]), int(state["patients"])
        model.n_networks_, model.divisor_ = int(state["networks"]), tuple(int(d) for d in state["divisor"])
        if weights is not None:
            from aimed.diagnosis.stored_weights import stored_networks
            from aimed.diagnosis.volume_network import build_volume_network

            model.networks_ = stored_networks(
                weights, model.architecture, model.head_.outputs, model.architecture_options, model.n_networks_,
                lambda name, outputs, options: build_volume_network(name, model.channels_, outputs, options),
            )  # fmt: skip
        return model


def _channels(volumes: Sequence[Any], masks: Sequence[Any]) -> int:
    for scan, mask in zip(volumes, masks, strict=True):
        if len(scan.shape) != 4 or scan.shape[1:] != mask.shape or scan.shape[0] != volumes[0].shape[0]:
            raise DataError(
                f"a scan of shape {tuple(scan.shape)} and a mask of {tuple(mask.shape)}",
                "scans (c, z, y, x) with the same channels, and masks (z, y, x) on their grid",
            )
    return int(volumes[0].shape[0])


def _boxed(volumes: Sequence[Any], labels: Sequence[Any], crop: bool) -> tuple[list[Any], list[Any]]:
    """Return views of scans and masks within the box of voxels that are not 0."""
    from aimed.diagnosis.sliding_window import foreground_box

    if not crop:
        return list(volumes), list(labels)
    boxes = [foreground_box(scan) for scan in volumes]
    scans = [scan[(slice(None), *box)] for scan, box in zip(volumes, boxes, strict=True)]
    return scans, [mask[box] for mask, box in zip(labels, boxes, strict=True)]


def _plain(value: Any) -> Any:
    """Return a parameter in JSON types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _given(tune: ArrayLike, patient: NDArray[np.int64]) -> NDArray[np.int64]:
    chosen = np.asarray(tune)
    if chosen.dtype != bool or chosen.shape != patient.shape or chosen.all() or not chosen.any():
        raise DataError("tune does not part the scans", f"True and False, shape ({patient.size},)")
    both = np.intersect1d(patient[chosen], patient[~chosen]).size
    if both:
        raise DataError(f"{both} patients have scans on both sides of tune", "each patient on one side")
    return np.flatnonzero(chosen)


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over networks; of one, what it says."""
    return values[0] if len(values) == 1 else np.asarray(values.mean(0))


def _other_greys(change: Any, channels: int, copy: int, seed: int) -> list[NDArray[np.float32]]:
    """Return what the channels of a changed copy are multiplied with, and what is added, each (c, 1, 1, 1)."""
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation

    own = change if isinstance(change, VolumeAugmentation) else VolumeAugmentation()
    return [part[:, None, None, None] for part in own.greys(channels, np.random.default_rng((seed, 7, copy)))]
