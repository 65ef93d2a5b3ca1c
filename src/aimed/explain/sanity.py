"""A check of the explanation itself: with a shuffled outcome there is nothing to find, so importance must collapse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import NotEstimableError, Variable
from aimed.explain.permutation import Metric, Score, permutation_importance

__all__ = ["Refit", "randomised_outcome"]

Refit: TypeAlias = Callable[[NDArray[np.int64]], Score]
"""``refit(order)``: fit the model anew on the training rows with outcomes ``y_train[order]``; return its score."""

_COLLAPSED = 0.5
"""Share of the real importance that chance may reach before the check fails."""


def randomised_outcome(
    refit: Refit,
    n_train: int,
    X: NDArray[np.float64],
    metric: Metric,
    variables: Sequence[Variable],
    *,
    importance: float,
    shuffles: int = 3,
    repeats: int = 5,
    higher_is_better: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Refit on shuffled outcomes and see how much importance chance alone produces.

    Parameters
    ----------
    refit : callable
        See `Refit`.
    n_train : int
        Number of training rows.
    X : float array, shape (n, p)
        Rows on which importance is measured.
    metric : callable
        ``metric(score, rows)``; see `aimed.explain.permutation.Metric`.
    variables : sequence of Variable, length p
    importance : float
        Largest importance of the real model.
    shuffles : int
        Shuffled outcomes; each costs one fit.
    repeats : int
        Shuffles a variable.
    higher_is_better : bool
    seed : int

    Returns
    -------
    dict
        ``sentence``; ``passed``, True when the value is below one half; ``value``, the largest absolute importance
        after shuffling (median over `shuffles`) as a share of `importance`.

    Raises
    ------
    NotEstimableError
        If the real model has no positive importance to compare with.

    Notes
    -----
    Outcomes are shuffled in the training rows and in the rows X. A rank measure ignores the size of the
    coefficients, so a model fitted on noise could still rank real outcomes well, or badly, by accident.

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018; Ojala and Garriga, JMLR 2010;11:1833.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)); y = X[:, 0] + rng.normal(size=200)
    >>> def refit(order):
    ...     slope = float(np.polyfit(X[:, 0], y[order], 1)[0])
    ...     return lambda X: slope * X[:, 0]
    >>> def metric(score, rows):
    ...     return -float(np.mean((y[rows] - score) ** 2))
    >>> randomised_outcome(refit, 200, X, metric, [Variable(name="a")], importance=2.0)["passed"]
    True
    """
    if not importance > 0:
        raise NotEstimableError("no variable has a positive importance", "one to compare with", "skip the sanity check")
    found: list[float] = []
    for k in range(shuffles):
        rng = np.random.default_rng([seed, k, 7])
        score = refit(rng.permutation(n_train))
        order = rng.permutation(X.shape[0])

        def shuffled_metric(
            values: NDArray[np.float64], rows: NDArray[np.int64], order: NDArray[np.int64] = order
        ) -> float:
            return metric(values, order[rows])

        rows = permutation_importance(
            score,
            X,
            shuffled_metric,
            variables,
            repeats=repeats,
            draws=1,
            higher_is_better=higher_is_better,
            seed=seed,
        )
        found.append(max(abs(row["value"] or 0.0) for row in rows))
    value = float(np.median(found)) / importance
    passed = value < _COLLAPSED
    end = "collapse, as they should" if passed else "do not collapse; do not rely on them"
    sentence = (
        f"After refitting on a shuffled outcome {shuffles} times, the largest importance was {value:.0%} of that of "
        f"the real model: the importances {end}."
    )
    return {"sentence": sentence, "passed": passed, "value": value}
