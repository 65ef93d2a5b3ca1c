"""DeepSurv: Cox's model with a network in place of the weighted sum of the predictors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis.cox import Baseline, CoxCurves, CoxPH
from aimed.prognosis.deep_survival import NetworkModel, network_space

__all__ = ["RECIPE", "DeepSurv"]


class DeepSurv(CoxCurves, NetworkModel):
    """Proportional hazards with a neural network in place of the weighted sum of the predictors.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Width of each hidden layer; () for none, which is a weighted sum of the predictors.
    ties : {"efron", "breslow"}
        How events at the same time share their risk set.
    dropout : float
        Share of each hidden layer that is left out at random in each step.
    batch_norm : bool
        Normalise each hidden layer over the rows of a step.
    optimizer : {"adamw", "adam", "rmsprop", "sgd"}
    learning_rate, weight_decay : float
    batch_size : int
        Rows a step, at most; 8 or more.
    max_epochs : int
        Passes over the rows, at most.
    early_stopping : bool
        Keep a part of the patients apart, and keep the weights that predict them best.
    validation_fraction : float
        That part, drawn anew for each network.
    n_iter_no_change : int
        Epochs without a better prediction of it after which training stops.
    n_estimators : int
        Networks, whose log relative hazards are averaged. Each keeps a part of its own
        apart, so that together they have learned from all rows.
    step_events : int
        At least so many events stand behind each stored step of the baseline hazard, as in
        `aimed.prognosis.cox.CoxPH`.
    random_state : int, RandomState or None
        The same number gives the same model to the bit, whatever the number of threads.

    Attributes
    ----------
    layers_ : list of DenseLayers
        The networks as arrays; they predict without torch.
    history_ : list of dict
        For each network ``train_loss`` and ``tune_loss`` by epoch (the latter empty without early stopping),
        ``best_epoch``, ``stopped_early``, ``train_rows``, ``tune_rows`` and ``learning_rate``.
    unique_times_, cumulative_baseline_hazard_
        As those of `aimed.prognosis.cox.CoxPH`, at the mean score of the training rows.
    n_iter_ : int
        Epochs of the network that trained longest.
    feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    The partial likelihood is taken over the rows of a step, as if nobody else were at risk; the baseline hazard
    afterwards over all rows, with the scores as known. Without a hidden layer, early stopping and weight decay, and
    with all rows in each step, the model is Cox's.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    NotEstimableError
        If there are no events, or with ``early_stopping`` fewer than 10.
    DataError
        If X is incomplete.

    References
    ----------
    Faraggi and Simon, Stat Med 1995;14:73. Katzman et al., BMC Med Res Methodol 2018;18:24.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = np.array([(True, t) for t in rng.exponential(np.exp(-X[:, 0]))], dtype=[("event", bool), ("time", float)])
    >>> model = DeepSurv(random_state=0).fit(X, y)
    >>> score = model.predict([[-1.0, 0.0], [1.0, 0.0]])
    >>> bool(score[1] > score[0] + 1.0)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (32,),
        ties: str = "efron",
        dropout: float = 0.1,
        batch_norm: bool = False,
        optimizer: str = "adamw",
        learning_rate: float = 0.005,
        weight_decay: float = 0.01,
        batch_size: int = 128,
        max_epochs: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 15,
        n_estimators: int = 5,
        step_events: int = 1,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.ties = ties
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_estimators = n_estimators
        self.step_events = step_events
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        feature_names: Sequence[str] | None = None,
        *,
        groups: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> DeepSurv:
        """Train the networks.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
            Complete; columns are standardised inside.
        y : structured array, shape (n,)
            A boolean event and a time.
        feature_names : sequence of str, length p, optional
        groups : array, shape (n,), optional
            Patient of each row: all rows of a patient train, or all say when to stop.
        checkpoint : path, optional
            Folder that keeps the training; one that was stopped goes on from there.
        progress : callable, optional
            ``progress(share, text)``.
        """
        if self.ties not in ("efron", "breslow"):
            raise StudyFileError(f"ties = '{self.ties}'", "'efron' or 'breslow'")
        values, codes, time, _ = self._take(X, y, 1, feature_names)

        def loss(network: Any, batch: Any) -> Any:
            from aimed.prognosis.survival_losses import cox_loss

            x, rank, hit = batch
            return cox_loss(network(x)[:, 0], rank, hit > 0, self.ties)

        # Ranks, because two times may be one in single precision.
        rank = np.unique(time, return_inverse=True)[1].astype(np.int64)
        self._train(values, (rank, codes), codes, loss, np.ones((1, 1)), np.zeros(1), groups, checkpoint, progress)
        self.strata_, self.mean_linear_predictor_ = None, 0.0
        raw = self.predict(values)
        self.mean_linear_predictor_ = float(raw.mean())
        # Given the scores, the hazard is that of a Cox model with nothing to estimate.
        known = CoxPH(ties=self.ties, step_events=self.step_events)
        target = np.empty(time.size, dtype=[("event", bool), ("time", float)])
        target["event"], target["time"] = codes > 0, time
        known.fit(np.empty((time.size, 0)), target, offset=raw - self.mean_linear_predictor_)
        self.baselines_ = known.baselines_
        return self

    def predict(self, X: Any, offset: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the mean of the networks' log relative hazards, plus the offset where given, shape (n,)."""
        found = self._outputs(X)
        score = sum(out[:, 0] for out in found) / len(found)
        return np.asarray(score if offset is None else score + np.asarray(offset, dtype=np.float64))

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types."""
        state = self._common_state()
        baseline = self.baselines_[0].to_state()
        return {**state, "mean_linear_predictor": self.mean_linear_predictor_, "baseline": baseline}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DeepSurv:
        """Rebuild a fitted model from `to_state`.

        Raises
        ------
        DataError
            If its arrays do not fit together.
        """
        model = cls(**state["parameters"])
        model._take_state(state, 1)
        model.strata_, model.mean_linear_predictor_ = None, float(state["mean_linear_predictor"])
        model.baselines_ = [Baseline.from_state(state["baseline"], 0, model.step_events > 1)]
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> DeepSurv:
    # A packaged curve must not step at the event of a single patient.
    return DeepSurv(**{"random_state": seed, "step_events": 5, **parameters})


RECIPE = Recipe(
    name="deepsurv",
    title="DeepSurv",
    description="Cox regression in which five small neural networks take the place of the weighted sum of predictors.",
    task="survival",
    family="network",
    build=_build,
    space=network_space,
    defaults={"hidden_layer_sizes": 32, "dropout": 0.1, "learning_rate": 0.005, "weight_decay": 0.01},
    from_state=DeepSurv.from_state,
)
"""The catalogue entry ``deepsurv``."""
