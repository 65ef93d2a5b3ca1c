"""What neural survival models share: reading the data, training with an inner tune part, and curves over intervals."""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.metrics.arrays import patient_codes
from aimed.prognosis.curves import as_matrix
from aimed.prognosis.dense_layers import DenseLayers
from aimed.prognosis.discrete_time import HazardCurves, Intervals, read_outcome, whole_number
from aimed.prognosis.risk_sets import named_matrix

if TYPE_CHECKING:
    import optuna

__all__ = ["IntervalModel", "NetworkModel", "network_space"]

_EVENTS = 5
_LEAST = 10
_TUNED_TOGETHER = 2048


class NetworkModel(BaseEstimator):  # type: ignore[misc]
    """A dense network, its training and its storage; the parameters are those of the models."""

    hidden_layer_sizes: int | Sequence[int]
    dropout: float
    batch_norm: bool
    optimizer: Any
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    n_estimators: int
    random_state: Any

    n_features_in_: int
    layers_: list[DenseLayers]

    def _check(self) -> None:
        for size in self._sizes():
            whole_number("hidden_layer_sizes", size, 1)
        for name, low, high in (("dropout", 0.0, 1.0), ("validation_fraction", 0.0, 1.0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and low <= value < high) or (name != "dropout" and value == 0):
                raise StudyFileError(f"{name} = {value!r}", f"a share {'>=' if name == 'dropout' else '>'} 0 and < 1")
        # Fewer rows a step leave too little for a risk set, and for the spread that normalisation needs.
        for name, least in (("batch_size", 8), ("n_iter_no_change", 1), ("n_estimators", 1), ("max_epochs", 1)):
            whole_number(name, getattr(self, name), least)

    def _sizes(self) -> list[Any]:
        given = self.hidden_layer_sizes
        return [given] if np.ndim(given) == 0 else list(given)  # type: ignore[arg-type]

    def _take(
        self, X: Any, y: Any, causes: int | None, feature_names: Sequence[str] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], int]:
        """Return matrix, event codes, times and number of causes."""
        self._check()
        codes, time, kinds = read_outcome(y, causes)
        values, names = named_matrix(X, feature_names, time.size)
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_fitted_, self.n_events_ = values.shape[1], time.size, int((codes > 0).sum())
        if self.n_features_in_ == 0:
            raise DataError("X has no columns", "at least one")
        if self.early_stopping and self.n_events_ < _LEAST:
            raise NotEstimableError(
                f"{self.n_events_} events, too few to train a network and to say when to stop",
                f"at least {_LEAST}",
                "use the model 'cox' with a penalty, or early_stopping=False",
            )
        return values, codes, time, kinds

    def _train(
        self, values: NDArray[np.float64], arrays: Sequence[NDArray[Any]], codes: NDArray[np.int64],
        loss: Callable[[Any, Any], Any], basis: NDArray[np.float64], start: NDArray[np.float64],
        groups: ArrayLike | None, checkpoint: str | os.PathLike[str] | None,
        progress: Callable[[float, str], None] | None,
    ) -> None:  # fmt: skip
        from aimed.fit.torch_training import MemoryRows, TrainingSettings, seeded, train
        from aimed.prognosis.survival_losses import dense_network, layers_of

        center, spread = values.mean(axis=0), values.std(axis=0)
        scale = np.where(spread > 1e-12 * (np.abs(center) + 1.0), spread, 1.0)
        inputs = (values - center) / scale
        seeds = check_random_state(self.random_state).randint(0, 2**31 - 1, size=int(self.n_estimators))
        patient = patient_codes(groups, codes.size)
        content = hashlib.sha256(repr(self.get_params()).encode())
        for array in (inputs, patient, *arrays):
            content.update(np.ascontiguousarray(array).tobytes())
        self.layers_: list[DenseLayers] = []
        self.history_: list[dict[str, Any]] = []
        for member, seed in enumerate(seeds.tolist()):
            tune = np.zeros(0, dtype=np.int64)
            if self.early_stopping:
                tune = _tune_rows(patient, codes, float(self.validation_fraction), seed)
            parts = [np.setdiff1d(np.arange(codes.size), tune), tune]
            held = [MemoryRows(inputs[rows], *(a[rows] for a in arrays)) if rows.size else None for rows in parts]
            settings = TrainingSettings(
                epochs=int(self.max_epochs), batch_size=int(self.batch_size), tune_batch_size=_TUNED_TOGETHER,
                learning_rate=float(self.learning_rate), optimizer=self.optimizer,
                weight_decay=float(self.weight_decay), clip_norm=10.0, seed=seed,
                patience=int(self.n_iter_no_change) if self.early_stopping else None,
                checkpoint=None if checkpoint is None else os.path.join(checkpoint, f"network_{member + 1}"),
            )  # fmt: skip
            with seeded(seed):
                network = dense_network(
                    self.n_features_in_, self._sizes(), float(self.dropout), bool(self.batch_norm), basis, start
                )  # fmt: skip
            told = None if progress is None else _share_of(progress, member, int(self.n_estimators))
            done = train(network, loss, held[0], held[1], settings, identity=content.hexdigest(), progress=told)
            self.layers_.append(layers_of(network, center, scale))
            self.history_.append(
                {
                    **done.history,
                    "best_epoch": done.best_epoch,
                    "stopped_early": done.stopped_early,
                    "train_rows": int(parts[0].size),
                    "tune_rows": int(tune.size),
                    "learning_rate": float(self.learning_rate),
                }
            )
        self.n_iter_ = max(len(part["train_loss"]) for part in self.history_)
        if self.early_stopping and any(part["best_epoch"] == int(self.max_epochs) for part in self.history_):
            self._unfinished()

    def _unfinished(self) -> None:
        warnings.warn(
            f"the network still improved in epoch {self.max_epochs}, its last; raise max_epochs or learning_rate",
            ConvergenceWarning,
            stacklevel=4,
        )

    def _outputs(self, X: Any) -> list[NDArray[np.float64]]:
        """Return what each network says of the rows."""
        check_is_fitted(self, "layers_")
        values, _ = as_matrix(X, self.n_features_in_)
        return [layers(values) for layers in self.layers_]

    def _common_state(self) -> dict[str, Any]:
        check_is_fitted(self, "layers_")
        names = getattr(self, "feature_names_in_", None)
        parameters = self.get_params()
        parameters["hidden_layer_sizes"] = [int(size) for size in self._sizes()]
        # A generator of random numbers is no part of a fitted model.
        seed = parameters["random_state"]
        parameters["random_state"] = int(seed) if isinstance(seed, int | np.integer) else None
        return {
            "schema": 1,
            "parameters": parameters,
            "layers": [layers.to_state() for layers in self.layers_],
            "history": self.history_,
            "iterations": self.n_iter_,
            "feature_names": None if names is None else [str(n) for n in names],
            "n": self.n_fitted_,
            "events": self.n_events_,
        }

    def _take_state(self, state: Mapping[str, Any], outputs: int) -> None:
        self.layers_ = [DenseLayers.from_state(part) for part in state["layers"]]
        widths = {(layers.center.size, layers.offsets[-1].size) for layers in self.layers_}
        if len(widths) != 1 or next(iter(widths))[1] != outputs:
            raise DataError("the networks of the model do not fit its curves", "a state written by aimed")
        self.n_features_in_ = next(iter(widths))[0]
        self.history_, self.n_iter_ = list(state["history"]), int(state["iterations"])
        if state["feature_names"] is not None:
            self.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        self.n_fitted_, self.n_events_ = int(state["n"]), int(state["events"])


def _share_of(tell: Callable[[float, str], None], member: int, members: int) -> Callable[[float, str], None]:
    def told(share: float, text: str) -> None:
        tell((member + share) / members, text if members == 1 else f"network {member + 1} of {members}: {text}")

    return told


def _tune_rows(patient: NDArray[np.int64], codes: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return the rows that tune, in random order: of each kind of event about a share of the patients."""
    kind = np.zeros(int(patient.max()) + 1, dtype=np.int64)
    np.maximum.at(kind, patient, codes)
    generator = np.random.default_rng((seed, 3))
    chosen = np.zeros(kind.size, dtype=bool)
    for which in np.unique(kind):
        members = generator.permutation(np.flatnonzero(kind == which))
        chosen[members[: round(share * members.size)]] = True
    if not (chosen & (kind > 0)).any() or not (~chosen & (kind > 0)).any():
        raise NotEstimableError(
            "a part of the patients without any event",
            "events among those who train and those who say when to stop",
            "change validation_fraction, or set early_stopping=False",
        )
    # Where rows come in order of time, those looked at together must not be of one time.
    return generator.permutation(np.flatnonzero(chosen[patient]))


def network_space(trial: optuna.Trial) -> dict[str, Any]:
    """Draw the parameters that all networks tune."""
    return {
        "hidden_layer_sizes": trial.suggest_int("hidden_layer_sizes", 8, 128, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
    }


class IntervalModel(HazardCurves, NetworkModel):
    """A network that gives the chance of an event of each cause in each interval of time."""

    causes: int | None
    n_intervals: int
    time_degree: int | None

    def _check(self) -> None:
        super()._check()
        whole_number("n_intervals", self.n_intervals, 1)
        if self.time_degree is not None:
            whole_number("time_degree", self.time_degree, 0)

    def _read(self, X: Any) -> NDArray[np.float64]:
        return as_matrix(X, self.n_features_in_)[0]

    def _cut(
        self, codes: NDArray[np.int64], time: NDArray[np.float64], kinds: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Choose the intervals; return shares of them lived through, places of events, and first hazards, (m, K)."""
        self.causes_ = tuple(range(1, kinds + 1))
        hit, ones = codes > 0, np.ones(codes.size)
        count = max(1, min(int(self.n_intervals), int(hit.sum()) // _EVENTS))
        self.intervals_ = Intervals.at_quantiles(time, hit, ones, count)
        periods = self.intervals_.expand(codes, time, np.zeros(codes.size), ones)
        lived = np.zeros((codes.size, self.unique_times_.size))
        lived[periods.row, periods.interval] = periods.weight
        events = np.flatnonzero(periods.code)
        place = np.zeros(codes.size, dtype=np.int64)
        place[periods.row[events]] = periods.interval[events]
        seen = np.zeros((self.unique_times_.size, kinds))
        np.add.at(seen, (periods.interval[events], periods.code[events] - 1), 1.0)
        return lived, place, (seen + 0.5 / kinds) / (lived.sum(axis=0) + 1.0)[:, None]

    def _basis(self) -> NDArray[np.float64]:
        """Return how an effect may change from interval to interval, shape (m K, b K); see `time_degree`."""
        m, kinds = self.unique_times_.size, len(self.causes_)
        if self.time_degree is None or self.time_degree >= m - 1:
            return np.eye(m * kinds)
        middle = (np.arange(m) + 0.5) * 2.0 / m - 1.0
        powers = np.polynomial.legendre.legvander(middle, int(self.time_degree))
        return np.asarray(np.kron(powers, np.eye(kinds)), dtype=np.float64)

    @abstractmethod
    def _chances(self, out: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return chances of an event in each interval, (n, m, K), and of reaching it, (n, m), by a network."""

    def _hazards(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        # Chances of several networks are averaged, not their hazards: whom one of them takes for dead counts less.
        parts = [self._chances(layers(X)) for layers in self.layers_]
        mass = np.asarray(sum(part[0] for part in parts))
        reached = np.asarray(sum(part[1] for part in parts))[:, :, None]
        return np.asarray(np.divide(mass, reached, out=np.zeros_like(mass), where=reached > 0.0))

    def predict(self, X: Any, cause: int = 1) -> NDArray[np.float64]:
        """Return the share of the time up to the end of the last interval that a cause is expected to take.

        Parameters
        ----------
        X : float array, shape (n, p)
        cause : int

        Returns
        -------
        float array, shape (n,)
            From 0 to 1, higher is worse: the area under the cumulative incidence, straight between the ends of
            intervals, divided by its length.
        """
        ends = self.predict_cumulative_incidence(X, cause=cause)
        before = np.concatenate((np.zeros((ends.shape[0], 1)), ends[:, :-1]), axis=1)
        width = np.diff(self.unique_times_, prepend=0.0) / self.unique_times_[-1]
        return np.asarray(((before + ends) / 2.0 * width).sum(axis=1))

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types."""
        return {**self._common_state(), "ends": self.unique_times_.tolist(), "causes": len(self.causes_)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Any:
        """Rebuild a fitted model from `to_state`.

        Raises
        ------
        DataError
            If its arrays do not fit together.
        """
        model = cls(**state["parameters"])
        ends = np.asarray(state["ends"], dtype=np.float64)
        if ends.ndim != 1 or not ends.size or not (np.diff(ends, prepend=0.0) > 0).all() or not np.isfinite(ends[-1]):
            raise DataError("the intervals of the model do not rise", "a state written by aimed")
        model.intervals_ = Intervals(ends)
        model.causes_ = tuple(range(1, int(state["causes"]) + 1))
        model._take_state(state, model._width())
        return model

    def _width(self) -> int:
        """Return the outputs of the network."""
        return self.unique_times_.size * len(self.causes_)
