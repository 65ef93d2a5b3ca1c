"""The leaderboard of a study: one line a model, and which simpler model is as good as the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.result import Estimate, clustered_variance

__all__ = ["Nearly", "board_row", "nearly_best"]

One = TypeVar("One")


def board_row(
    name: str,
    title: str,
    kind: str,
    metric: str,
    *,
    mean: float | None,
    lower: float | None,
    upper: float | None,
    folds: Sequence[float | None],
    seconds: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    note: str = "",
    chosen: bool = False,
) -> dict[str, Any]:
    """Return a line of the leaderboard of models that are tried once, with the parameters of the study file.

    Examples
    --------
    >>> board_row("a", "A", "candidate", "auroc", mean=0.8, lower=0.7, upper=0.9, folds=[0.8])["trials"]
    1
    """
    return {
        "name": name,
        "title": title,
        "kind": kind,
        "metric": metric,
        "mean": mean,
        "lower": lower,
        "upper": upper,
        "folds": list(folds),
        "trials": 1,
        "seconds": seconds,
        "parameters": dict(parameters or {}),
        "note": note,
        "chosen": chosen,
    }


class Nearly(NamedTuple):
    """A simpler model that is no more than one standard error behind the best."""

    one: Any
    gap: float
    error: float


def nearly_best(
    tried: Sequence[One],
    best: One,
    *,
    score: Callable[[One], Estimate],
    rank: Callable[[One], int],
    patient: NDArray[Any],
) -> Nearly | None:
    """Return the simplest model that is as good as the best one within a standard error; None where there is none.

    Parameters
    ----------
    tried : sequence of models
    best : the model with the highest score
    score : callable
        The estimate of a model, with its influence values; models without any are passed over.
    rank : callable
        From simple to less simple.
    patient : array, shape (n,)
        Of the rows of the influence values.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984, section 3.4.3 (one standard error).
    """
    for one in sorted(tried, key=rank):
        if one is best:
            break
        mine, other = score(best).influence, score(one).influence
        if mine is None or other is None:
            continue
        gap = float(score(best)) - float(score(one))
        error = float(np.sqrt(clustered_variance(mine - other, patient)))
        if gap <= error:
            return Nearly(one, gap, error)
    return None
