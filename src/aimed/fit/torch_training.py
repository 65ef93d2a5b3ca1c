"""The one loop that trains torch modules: seeded, stopped early on a tune part, and resumed to the bit after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError, NotEstimableError, RefusedError, StudyFileError
from aimed.fit.torch_checkpoint import read_checkpoint, write_checkpoint

try:
    import torch
    from lightning_fabric import Fabric
    from torch.optim.swa_utils import AveragedModel
    from torch.utils.data import DataLoader
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "training a network", "pip install 'aimed[deep]'") from None

__all__ = ["DECADES", "LayerGroup", "Loss", "MemoryRows", "Training", "TrainingSettings", "seeded", "train"]

Loss: TypeAlias = Callable[[Any, Any], Any]
Progress: TypeAlias = Callable[[float, str], None]
Order: TypeAlias = Callable[[np.random.Generator], NDArray[np.int64]]
TuneLoss: TypeAlias = Callable[[Any, Any], float | tuple[float, Mapping[str, float]]]

_OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw")
_PRECISIONS = ("32-true", "bf16-mixed")
_ACCELERATORS = ("cpu", "cuda", "auto")
_SCHEDULES = ("constant", "cosine", "rising")
DECADES = 6.0
"""Powers of ten that a rising learning rate passes through."""
_BESIDE = ("threads", "workers", "checkpoint", "checkpoint_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """Layers that learn at a pace of their own, or not at all at first.

    Parameters
    ----------
    prefix : str
        What the names of their parameters begin with; of several that fit, the longest counts.
    rate : float
        Their learning rate as a multiple of that of the others.
    frozen_epochs : int
        Epochs at the start in which they stay as they are; their normalisations then keep their running statistics.

    Raises
    ------
    StudyFileError
        If a value is out of its range.
    """

    prefix: str
    rate: float = 1.0
    frozen_epochs: int = 0

    def __post_init__(self) -> None:
        _between("rate", self.rate, 0.0, math.inf, least=False)
        _whole("frozen_epochs", self.frozen_epochs, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a module is trained.

    Parameters
    ----------
    epochs : int
        Passes over the training rows, at most.
    batch_size : int
        Rows a step, at most: an epoch is cut into steps of equal size, so that none is left with a handful.
    tune_batch_size : int, optional
        Rows looked at together when the tune loss is taken; as many as in a step when absent.
    learning_rate : float
    optimizer : {"sgd", "rmsprop", "adam", "adamw"}
    momentum : float
        Of "sgd" and "rmsprop".
    weight_decay : float
        On matrices and kernels; offsets and the scales of normalisations are left alone.
    layers : sequence of LayerGroup
        Discriminative learning rates, and layers that are unfrozen later.
    schedule : {"constant", "cosine", "rising"}
        The learning rate stays, falls to 0 along half a cosine, or rises to its value from a millionth of it in equal
        ratios, which is how a learning rate is found.
    warmup : float
        Share of the training in which the learning rate rises to its value.
    clip_norm : float, optional
        Largest norm of the gradient.
    patience : int, optional
        Epochs without a lower tune loss after which training stops. Whether or not it stops early, the weights of the
        epoch with the lowest tune loss are kept.
    min_gain : float
        How much lower counts.
    ema : float, optional
        Decay, below 1, of a moving average of the weights, which is then what is tuned and kept. At step k it is at
        most (1 + k) / (10 + k), so that the average leaves the first weights behind.
    precision : {"32-true", "bf16-mixed"}
    channels_last : bool
        Keep the channels of pictures side by side in memory, which convolutions on processors and in half precision
        like better.
    accelerator : {"cpu", "cuda", "auto"}
    deterministic : bool
        Refuse operations whose result depends on the order in which threads finish.
    seed : int
        Of the order of rows, dropout and what else draws.
    threads : int
        Of the processor. Small modules are fastest on 1. Dense layers have the same bits on any number; batch
        normalisation and convolutions may differ in the last ones.
    workers : int
        Processes that load rows; 0 loads them in this one.
    checkpoint : path, optional
        Folder that keeps the training; one that was stopped goes on from there.
    checkpoint_seconds : float
        Time between two writes, at least; the end is always written.

    Raises
    ------
    StudyFileError
        If a setting is out of its range.
    """

    epochs: int = 100
    batch_size: int = 32
    tune_batch_size: int | None = None
    learning_rate: float = 1e-3
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.0
    layers: Sequence[LayerGroup] = ()
    schedule: Literal["constant", "cosine", "rising"] = "constant"
    warmup: float = 0.0
    clip_norm: float | None = None
    patience: int | None = None
    min_gain: float = 0.0
    ema: float | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    accelerator: Literal["cpu", "cuda", "auto"] = "cpu"
    deterministic: bool = True
    seed: int = 0
    threads: int = 1
    workers: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("threads", 1), ("workers", 0), ("seed", 0)):
            _whole(name, getattr(self, name), least)
        for name in ("tune_batch_size", "patience"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        for name, known in (
            ("optimizer", _OPTIMIZERS),
            ("schedule", _SCHEDULES),
            ("precision", _PRECISIONS),
            ("accelerator", _ACCELERATORS),
        ):
            if getattr(self, name) not in known:
                raise StudyFileError(f"{name} = {getattr(self, name)!r}", f"one of: {', '.join(known)}")
        for name in ("momentum", "weight_decay", "warmup", "min_gain", "checkpoint_seconds"):
            _between(name, getattr(self, name), 0.0, 1.0 if name in ("momentum", "warmup") else math.inf)
        _between("learning_rate", self.learning_rate, 0.0, math.inf, least=False)
        if self.clip_norm is not None:
            _between("clip_norm", self.clip_norm, 0.0, math.inf, least=False)
        if self.ema is not None:
            _between("ema", self.ema, 0.0, 1.0, least=False)


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise StudyFileError(f"{name} = {value!r}", f"an integer >= {least}")


def _between(name: str, value: Any, low: float, high: float, least: bool = True) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and (low <= value if least else low < value) and value < high):
        limit = "" if high == math.inf else f" and < {high:g}"
        raise StudyFileError(f"{name} = {value!r}", f"a number {'>=' if least else '>'} {low:g}{limit}")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a training left behind; the module itself holds the weights that were kept.

    Parameters
    ----------
    train_loss : float array, shape (e,)
        Mean over the rows of each epoch, as the weights moved.
    tune_loss : float array, shape (e,)
        After each epoch; empty without a tune part.
    best_epoch : int
        The epoch whose weights were kept, counted from 1.
    stopped_early : bool
    steps : int
        Updates of the weights.
    resumed_at : int or None
        Steps that a checkpoint had done already.
    measures : dict of str to float array, shape (e,)
        What else was measured on the tune part after each epoch.
    """

    train_loss: NDArray[np.float64]
    tune_loss: NDArray[np.float64]
    best_epoch: int
    stopped_early: bool
    steps: int
    resumed_at: int | None = None
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def history(self) -> dict[str, list[float]]:
        """Losses and measures by epoch, for learning curves."""
        more = {name: values.tolist() for name, values in self.measures.items()}
        return {"train_loss": self.train_loss.tolist(), "tune_loss": self.tune_loss.tolist(), **more}


class MemoryRows:
    """Rows of arrays that are all in memory: a batch is a tuple with some rows of each.

    Parameters
    ----------
    *arrays : arrays, each of shape (n, ...)
        float64 becomes float32.

    Examples
    --------
    >>> rows = MemoryRows(np.arange(6.0).reshape(3, 2), np.array([1, 0, 1]))
    >>> x, y = rows.__getitems__([2, 0])
    >>> len(rows), x.tolist(), y.tolist()
    (3, [[4.0, 5.0], [0.0, 1.0]], [1, 1])
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        single = [a.astype(np.float32) if a.dtype == np.float64 else a for a in map(np.asarray, arrays)]
        self.tensors = tuple(torch.from_numpy(np.array(a, order="C")) for a in single)
        if not single or len({a.shape[0] for a in single}) != 1:
            raise DataError("arrays of different length", "one row of each for every unit")

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, row: int) -> tuple[Any, ...]:
        return tuple(t[row] for t in self.tensors)

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, ...]:
        at = torch.as_tensor(rows)
        return tuple(t[at] for t in self.tensors)

    @staticmethod
    def collate(batch: Any) -> Any:
        """Return the batch, which is one already."""
        return batch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything inside draw from one seed, and leave torch's generators outside as they were.

    Examples
    --------
    >>> with seeded(1):
    ...     first = torch.rand(1)
    >>> with seeded(1):
    ...     bool(torch.rand(1) == first)
    True
    """
    with _kept_generators():
        torch.manual_seed(seed)
        yield


def _kept_generators() -> Any:
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


@contextmanager
def _surroundings(settings: TrainingSettings) -> Iterator[None]:
    """Set threads and exactness for as long as the training takes."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn, benchmark = torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        # Every layer writes all of its output: filling it first with NaN costs time and protects nothing.
        torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_num_threads(settings.threads)
    try:
        with seeded(settings.seed):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
        torch.utils.deterministic.fill_uninitialized_memory = fill


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Fabric from telling on the terminal what the settings say."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Batches:
    """Positions of rows, step by step, from some step of an epoch on."""

    def __init__(self, rows: NDArray[np.int64], size: int, start: int = 0) -> None:
        steps = max(1, -(-rows.size // size))
        self.parts = [part.tolist() for part in np.array_split(rows, steps)[start:]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


@dataclass(slots=True)
class _Place:
    """Where a training stands; everything in JSON types."""

    epoch: int = 0
    position: int = 0
    steps: int = 0
    train_loss: list[float] = field(default_factory=list)
    tune_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float | None = None
    measures: dict[str, list[float]] = field(default_factory=dict)
    done: bool = False
    stopped_early: bool = False


class _Run:
    """One training: the parts that a checkpoint has to hold, and the loop."""

    def __init__(
        self, module: Any, loss: Loss, train_data: Any, tune_data: Any, settings: TrainingSettings, tune_loss: Any,
        order: Order | None, identity: str, progress: Progress | None,
    ) -> None:  # fmt: skip
        self.raw, self.loss, self.settings = module, loss, settings
        self.train_data, self.tune_data, self.tune_loss = train_data, tune_data, tune_loss
        self.order, self.progress = order, progress
        self.trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        with _quiet():
            self.fabric = Fabric(accelerator=settings.accelerator, devices=1, precision=settings.precision)
        if settings.channels_last:
            module.to(memory_format=torch.channels_last)
        self.module, self.optimizer = self.fabric.setup(module, _optimizer(module, settings))
        self.average: Any = None
        if settings.ema is not None:
            self.average = AveragedModel(module, multi_avg_fn=_averaging(settings.ema))
        self.place = _Place()
        self.total = torch.zeros((), dtype=torch.float64)
        self.best: dict[str, Any] | None = None
        self.key = self._key(identity)
        self.written = self.told = time.monotonic()

    def _key(self, identity: str) -> str:
        """Return what must agree for a checkpoint to be of this training."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in _BESIDE}
        shapes = {k: [str(v.dtype), *v.shape] for k, v in self.raw.state_dict().items()}
        rows = [len(self.train_data), None if self.tune_data is None else len(self.tune_data)]
        text = json.dumps([settings, shapes, rows, identity], sort_keys=True, default=float)
        return hashlib.sha256(text.encode()).hexdigest()

    def tensors(self) -> dict[str, Any]:
        parts = {f"module.{k}": v for k, v in self.raw.state_dict().items()}
        if self.average is not None:
            parts.update({f"average.{k}": v for k, v in self.average.state_dict().items()})
        if self.best is not None:
            parts.update({f"best.{k}": v for k, v in self.best.items()})
        for index, state in self.optimizer.state_dict()["state"].items():
            parts.update({f"optimizer.{index}.{k}": v for k, v in state.items() if torch.is_tensor(v)})
        parts["total"], parts["generator.cpu"] = self.total, torch.get_rng_state()
        if torch.cuda.is_available():
            parts["generator.cuda"] = torch.cuda.get_rng_state(self.fabric.device)
        return parts

    def save(self) -> None:
        if self.settings.checkpoint is None:
            return
        write_checkpoint(Path(self.settings.checkpoint), self.tensors(), {"key": self.key, **asdict(self.place)})
        self.written = time.monotonic()

    def restore(self) -> int | None:
        """Go to where the folder's training stands; return the steps it had done."""
        if self.settings.checkpoint is None:
            return None
        found = read_checkpoint(Path(self.settings.checkpoint))
        if found is None:
            return None
        tensors, facts = found
        if facts.pop("key", None) != self.key:
            raise RefusedError(
                "the checkpoint in the folder is of another training",
                "the same module, settings and data",
                "choose another folder, or remove the file to begin anew",
            )
        parts: dict[str, dict[str, Any]] = {"module": {}, "average": {}, "best": {}, "optimizer": {}, "generator": {}}
        for name, tensor in tensors.items():
            head, _, rest = name.partition(".")
            if rest:
                parts[head][rest] = tensor
        self.raw.load_state_dict(parts["module"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, entry = name.partition(".")
            # Sums over another order of memory would end in other bits.
            state.setdefault(int(index), {})[entry] = self.laid_out(tensor)
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.best = parts["best"] or None
        self.total, self.place = tensors["total"], _Place(**facts)
        torch.set_rng_state(parts["generator"]["cpu"])
        if "cuda" in parts["generator"]:
            torch.cuda.set_rng_state(parts["generator"]["cuda"], self.fabric.device)
        return self.place.steps

    def go(self) -> Training:
        resumed = self.restore()
        while not self.place.done:
            self.one_epoch()
        if self.progress is not None:
            self.progress(1.0, "trained")
        self.freeze(-1)
        kept = self.best if self.best is not None else self.current().state_dict()
        self.raw.load_state_dict(kept)
        self.raw.to("cpu").eval()
        place = self.place
        return Training(
            np.array(place.train_loss), np.array(place.tune_loss), place.best_epoch, place.stopped_early, place.steps,
            resumed, {name: np.array(values) for name, values in place.measures.items()},
        )  # fmt: skip

    def current(self) -> Any:
        """Return the module that is tuned and kept."""
        return self.raw if self.average is None else self.average.module

    def laid_out(self, value: Any) -> Any:
        """Return a batch, or a tensor, with its pictures in the order of memory that the settings ask for."""
        if not self.settings.channels_last:
            return value
        if isinstance(value, tuple | list):
            return type(value)(map(self.laid_out, value))
        picture = torch.is_tensor(value) and value.ndim == 4
        return value.contiguous(memory_format=torch.channels_last) if picture else value

    def freeze(self, epoch: int) -> None:
        """Let the layers whose time has not come stay as they are."""
        if not any(group.frozen_epochs for group in self.settings.layers):
            return
        for name, parameter in self.trained:
            parameter.requires_grad_(epoch < 0 or _group(name, self.settings).frozen_epochs <= epoch)
        for name, part in self.raw.named_modules():
            if not any(part.children()) and _group(f"{name}.", self.settings).frozen_epochs > epoch >= 0:
                part.eval()

    def loader(self, data: Any, batches: _Batches, epoch: int) -> Any:
        if hasattr(data, "set_epoch"):
            data.set_epoch(epoch)
        # A generator of its own: the loader draws a seed for its workers, whether it has any or not.
        generator = torch.Generator().manual_seed(_number(self.settings.seed, 2, epoch))
        return DataLoader(
            data, batch_sampler=batches, collate_fn=getattr(data, "collate", None), num_workers=self.settings.workers,
            generator=generator,
        )  # fmt: skip

    def rows(self, epoch: int) -> NDArray[np.int64]:
        generator = np.random.default_rng((self.settings.seed, 1, epoch))
        if self.order is None:
            return generator.permutation(len(self.train_data))
        return np.asarray(self.order(generator), dtype=np.int64)

    def one_epoch(self) -> None:
        place, settings = self.place, self.settings
        rows = self.rows(place.epoch)
        every = len(_Batches(rows, settings.batch_size))
        left = _Batches(rows, settings.batch_size, place.position)
        self.module.train()
        self.freeze(place.epoch)
        for size, batch in zip(map(len, left), self.loader(self.train_data, left, place.epoch), strict=True):
            share = (place.epoch + (place.position + 1) / every) / settings.epochs
            self.step(self.laid_out(self.fabric.to_device(batch)), size, _rate(share, settings))
            place.position += 1
            place.steps += 1
            now = time.monotonic()
            if self.progress is not None and now - self.told >= 1.0 and place.position < every:
                self.told = now
                self.progress(share, f"epoch {place.epoch + 1} of at most {settings.epochs}")
            if now - self.written >= settings.checkpoint_seconds and place.position < every:
                self.save()
        self.end_epoch(rows.size)

    def step(self, batch: Any, size: int, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["multiple"]
        self.optimizer.zero_grad()
        value = self.loss(self.module, batch)
        self.fabric.backward(value)
        if self.settings.clip_norm is not None:
            self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=self.settings.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.raw)
        self.total = self.total.to(value.device) + value.detach().double() * size

    def end_epoch(self, rows: int) -> None:
        place, settings = self.place, self.settings
        place.train_loss.append(self.finite(float(self.total) / rows, "training"))
        self.total = torch.zeros((), dtype=torch.float64)
        place.epoch, place.position = place.epoch + 1, 0
        if self.tune_data is None:
            place.best_epoch = place.epoch
        else:
            found, measures = self.tuned()
            place.tune_loss.append(self.finite(found, "tune"))
            for name, value in measures.items():
                place.measures.setdefault(name, []).append(float(value))
            if place.best_loss is None or place.tune_loss[-1] < place.best_loss - settings.min_gain:
                place.best_loss, place.best_epoch = place.tune_loss[-1], place.epoch
                self.best = {k: v.detach().to("cpu", copy=True) for k, v in self.current().state_dict().items()}
            place.stopped_early = (
                settings.patience is not None
                and place.epoch - place.best_epoch >= settings.patience
                and place.epoch < settings.epochs
            )
        place.done = place.stopped_early or place.epoch == settings.epochs
        if self.progress is not None and not place.done:
            self.told = time.monotonic()
            self.progress(place.epoch / settings.epochs, self.text())
        if place.done or time.monotonic() - self.written >= settings.checkpoint_seconds:
            self.save()

    def text(self) -> str:
        place = self.place
        tune = f", tune loss {place.tune_loss[-1]:.4g}" if place.tune_loss else ""
        return f"epoch {place.epoch} of at most {self.settings.epochs}, loss {place.train_loss[-1]:.4g}{tune}"

    def finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            raise NotEstimableError(
                f"the {what} loss of epoch {len(self.place.train_loss) + (what == 'training')} is not finite",
                "a finite loss",
                "lower the learning rate, or set clip_norm",
            )
        return value

    def tuned(self) -> tuple[float, Mapping[str, float]]:
        """Return the loss of the tune part, without dropout and the like, and what else was measured there."""
        module = self.module if self.average is None else self.current()
        states = [(part, part.training) for part in module.modules()]
        module.eval()
        size = self.settings.tune_batch_size or self.settings.batch_size
        batches = _Batches(np.arange(len(self.tune_data)), size)
        on_device = map(self.fabric.to_device, self.loader(self.tune_data, batches, self.place.epoch))
        loaded = map(self.laid_out, on_device)
        measures: Mapping[str, float] = {}
        # What a loss draws here must not move what training draws next.
        with torch.no_grad(), self.fabric.autocast(), _kept_generators():
            if self.tune_loss is not None:
                answer = self.tune_loss(module, loaded)
                found, measures = answer if isinstance(answer, tuple) else (answer, {})
            else:
                sums = [float(self.loss(module, b)) * len(rows) for b, rows in zip(loaded, batches, strict=True)]
                found = math.fsum(sums) / len(self.tune_data)
        for part, training in states:
            part.training = training
        return float(found), measures


def _number(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _group(name: str, settings: TrainingSettings) -> LayerGroup:
    """Return the group that a parameter belongs to."""
    fitting = [group for group in settings.layers if name.startswith(group.prefix)]
    return max(fitting, key=lambda group: len(group.prefix), default=LayerGroup(prefix=""))


def _optimizer(module: Any, settings: TrainingSettings) -> Any:
    wanted = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if not wanted:
        raise DataError("the module has no parameter to train", "at least one that requires a gradient")
    for group in settings.layers:
        if not any(name.startswith(group.prefix) for name, _ in wanted):
            raise StudyFileError(f"no parameter to train begins with '{group.prefix}'", "the name of a layer")
    if all(_group(name, settings).frozen_epochs for name, _ in wanted):
        raise StudyFileError("every layer is frozen at the start", "at least one layer that learns from the start")
    found: dict[tuple[float, bool], list[Any]] = {}
    for name, parameter in wanted:
        found.setdefault((float(_group(name, settings).rate), parameter.ndim <= 1), []).append(parameter)
    filled = [
        {"params": parameters, "weight_decay": 0.0 if vector else settings.weight_decay, "multiple": multiple}
        for (multiple, vector), parameters in sorted(found.items(), key=lambda item: item[0])
    ]
    rate = settings.learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(filled, lr=rate, momentum=settings.momentum)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(filled, lr=rate, momentum=settings.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](filled, lr=rate)


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    def update(averages: Any, values: Any, count: Any) -> None:
        steps = float(count)
        torch._foreach_lerp_(averages, values, 1.0 - min(decay, (1.0 + steps) / (10.0 + steps)))

    return update


def _rate(share: float, settings: TrainingSettings) -> float:
    """Return the learning rate of the step that ends at a share of the training."""
    rate = settings.learning_rate
    if settings.schedule == "rising":
        return rate * float(10.0 ** (DECADES * (share - 1.0)))
    if share < settings.warmup:
        return rate * share / settings.warmup
    if settings.schedule == "constant":
        return rate
    return rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (share - settings.warmup) / (1.0 - settings.warmup))))


def train(
    module: Any,
    loss: Loss,
    train_data: Any,
    tune_data: Any = None,
    settings: TrainingSettings | None = None,
    *,
    tune_loss: TuneLoss | None = None,
    order: Order | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> Training:
    """Train a module in place.

    Parameters
    ----------
    module : torch.nn.Module
        At its start; make it inside `seeded`, or from weights that were trained before.
    loss : callable
        ``loss(module, batch)`` returns the mean loss of a batch, a tensor without dimensions.
    train_data, tune_data : data sets
        ``len(data)`` and ``data[row]``, as torch's map-style data sets; or ``data.__getitems__(rows)`` for many rows
        at once. ``data.collate`` makes a batch of what they return (torch's own way when absent), and
        ``data.set_epoch(epoch)`` is told each epoch, so that random changes of a row can be drawn from epoch and row.
    settings : TrainingSettings, optional
    tune_loss : callable, optional
        ``tune_loss(module, batches)`` returns the number to stop on, lower is better, alone or with a mapping of
        other measures to keep; the mean of `loss` when absent.
    order : callable, optional
        ``order(generator)`` returns the rows of an epoch, in order, for balanced or weighted draws; all rows in
        random order when absent.
    identity : str
        Something that changes with the data, such as a hash; a checkpoint with another one is refused.
    progress : callable, optional
        ``progress(share, text)``, once an epoch and at most once a second within it.

    Returns
    -------
    Training
        The module is on the processor again, in evaluation mode, with the weights of the best epoch.

    Raises
    ------
    NotEstimableError
        If a loss is not finite.
    RefusedError
        If the folder holds the checkpoint of another training.

    Notes
    -----
    The rows of an epoch depend on seed and epoch alone, and a checkpoint holds the rest: weights, their average, the
    optimizer, the state of the generators, the place in the epoch, losses and the best weights so far. A training
    that was killed and resumed ends with the same bits as one that was not.

    Examples
    --------
    >>> x = np.linspace(-1.0, 1.0, 64)[:, None]
    >>> def squared(module, batch):
    ...     return ((module(batch[0]) - batch[1]) ** 2).mean()
    >>> with seeded(0):
    ...     line = torch.nn.Linear(1, 1)
    >>> settings = TrainingSettings(epochs=60, learning_rate=0.05)
    >>> done = train(line, squared, MemoryRows(x, 2.0 * x + 1.0), settings=settings)
    >>> round(line.weight.item(), 2), round(line.bias.item(), 2), done.steps
    (2.0, 1.0, 120)
    """
    chosen = TrainingSettings() if settings is None else settings
    if len(train_data) == 0 or (tune_data is not None and len(tune_data) == 0):
        raise DataError("a part without rows", "at least one row to train and one to tune")
    with _surroundings(chosen):
        return _Run(module, loss, train_data, tune_data, chosen, tune_loss, order, identity, progress).go()
