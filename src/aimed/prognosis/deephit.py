"""DeepHit: a network that gives the chances of every cause in every interval, and is made to rank patients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from aimed.core import StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis.deep_survival import IntervalModel, network_space
from aimed.prognosis.discrete_time import whole_number

__all__ = ["RECIPE", "DeepHit"]


class DeepHit(IntervalModel):
    """The chances of each cause in each interval of follow-up by a neural network, which is also made to rank patients.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Width of each hidden layer; () for none, which is a weighted sum of the predictors.
    alpha : float
        Weight of the likelihood, above 0 and at most 1; the rest is that of the ranking.
    sigma : float
        Scale of the ranking: a small one looks only at pairs that are ordered wrong.
    n_intervals : int
        Intervals with about as many events each; fewer where there would be fewer than 5 events in one.
    time_degree : int or None
        How the effect of a predictor may change over the intervals: as a polynomial of this degree, or freely
        when None, as published. At least 1: a shift of all chances alike hardly moves them where few
        outlive the last interval.
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
        Networks, whose chances of an event in each interval are averaged. Each keeps a part of its own
        apart, so that together they have learned from all rows.
    causes : int, optional
        How many causes are declared, K; when absent, every code up to the largest must occur.
    random_state : int, RandomState or None
        The same number gives the same model to the bit, whatever the number of threads.

    Attributes
    ----------
    layers_ : list of DenseLayers
        The networks as arrays; they predict without torch.
    history_ : list of dict
        For each network ``train_loss`` and ``tune_loss`` by epoch (the latter empty without early stopping),
        ``best_epoch``, ``stopped_early``, ``train_rows``, ``tune_rows`` and ``learning_rate``.
    intervals_ : Intervals
    unique_times_ : float array, shape (m,)
        Their ends.
    causes_ : tuple of int
    n_iter_ : int
        Epochs of the network that trained longest.
    feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    The network gives the logits of an event of each cause in each interval, and of none by the end of the last. The
    ranking makes risks more extreme than they are: with ``alpha=0.5, sigma=0.1``, closer to the 0.2 and 0.1 of pycox,
    the integrated Brier score was worse by 0.010 to 0.023 on whas500, gbsg2 and veteran, and C within 0.01. Inside an
    interval curves are those of `aimed.prognosis.logistic_hazard.LogisticHazard`.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    NotEstimableError
        If there are no events, or with ``early_stopping`` fewer than 10.
    DataError
        If X is incomplete, or an event code is not declared.

    References
    ----------
    Lee et al., AAAI 2018;32:2314. Kvamme, Borgan and Scheel, J Mach Learn Res 2019;20(129).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> first, other = rng.exponential(np.exp(-X[:, 0])), rng.exponential(np.exp(X[:, 0]))
    >>> y = np.empty(300, dtype=[("event", int), ("time", float)])
    >>> y["event"], y["time"] = np.where(first < other, 1, 2), np.minimum(first, other)
    >>> model = DeepHit(random_state=0).fit(X, y)
    >>> chance = model.predict_cumulative_incidence([[-1.0, 0.0], [1.0, 0.0]], times=[1.0])
    >>> chance.shape, (chance[1, 0] > chance[0, 0]).tolist()
    ((2, 1, 2), [True, False])
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (32,),
        alpha: float = 0.8,
        sigma: float = 0.3,
        n_intervals: int = 20,
        time_degree: int | None = 1,
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
        causes: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.sigma = sigma
        self.n_intervals = n_intervals
        self.time_degree = time_degree
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
        self.causes = causes
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
    ) -> DeepHit:
        """Train the networks.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
            Complete; columns are standardised inside.
        y : structured array, shape (n,)
            A boolean event, or its code from 0 for none to K, and a time.
        feature_names : sequence of str, length p, optional
        groups : array, shape (n,), optional
            Patient of each row: all rows of a patient train, or all say when to stop.
        checkpoint : path, optional
            Folder that keeps the training; one that was stopped goes on from there.
        progress : callable, optional
            ``progress(share, text)``.
        """
        values, codes, time, kinds = self._take(X, y, self.causes, feature_names)
        lived, place, hazard = self._cut(codes, time, kinds)
        alpha, sigma = float(self.alpha), float(self.sigma)

        def loss(network: Any, batch: Any) -> Any:
            from aimed.prognosis.survival_losses import deephit_loss

            x, passed, at, cause, rank = batch
            return deephit_loss(network(x), passed, at, cause, rank, kinds, alpha, sigma)

        # Ranks, because two times may be one in single precision.
        rank = np.unique(time, return_inverse=True)[1].astype(np.int64)
        alive = np.cumprod(1.0 - hazard.sum(axis=1))
        mass = np.concatenate(([1.0], alive[:-1]))[:, None] * hazard
        start = np.log(np.append(mass.ravel(), alive[-1]))
        # The chance of no event is what the others are measured against.
        basis = np.vstack((self._basis(), np.zeros(self._basis().shape[1])))
        self._train(values, (lived, place, codes, rank), codes, loss, basis, start, groups, checkpoint, progress)
        return self

    def _check(self) -> None:
        super()._check()
        if self.time_degree is not None:
            whole_number("time_degree", self.time_degree, 1)
        for name, value, high in (("alpha", self.alpha, 1.0), ("sigma", self.sigma, np.inf)):
            if not (isinstance(value, int | float) and 0.0 < value <= high and np.isfinite(value)):
                raise StudyFileError(f"{name} = {value!r}", "a number > 0" + (" and <= 1" if high == 1.0 else ""))

    def _chances(self, out: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chance = softmax(out, axis=1)
        mass = chance[:, :-1].reshape(out.shape[0], -1, len(self.causes_))
        # Added up from the end, where the sums are small.
        tail = np.concatenate((mass.sum(axis=2), chance[:, -1:]), axis=1)
        return mass, np.cumsum(tail[:, ::-1], axis=1)[:, :0:-1]

    def _width(self) -> int:
        return super()._width() + 1


def _build(parameters: Mapping[str, Any], seed: int) -> DeepHit:
    return DeepHit(**{"random_state": seed, **parameters})


RECIPE = Recipe(
    name="deephit",
    title="DeepHit",
    description="Five small neural networks that give the chances of an event in each interval, and rank patients.",
    task="survival",
    also=("competing",),
    family="network",
    build=_build,
    space=network_space,
    defaults={"hidden_layer_sizes": 32, "dropout": 0.1, "learning_rate": 0.005, "weight_decay": 0.01},
    from_state=DeepHit.from_state,
)
"""The catalogue entry ``deephit``."""
