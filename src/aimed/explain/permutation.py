"""Permutation importance: how much a performance measure loses when one variable is shuffled among rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, NotEstimableError, Variable
from aimed.metrics.draws import PatientDraws, percentile_interval

__all__ = ["Metric", "Score", "permutation_importance"]

Score: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Predictor matrix of shape (n, p) in, one number a row out; NaN where the model gives no prediction."""

Metric: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.int64]], float]
"""``metric(score, rows)``: a performance measure of scores whose outcomes stand in these rows of y.

Rows may repeat, as they do in a bootstrap draw: ``lambda score, rows: auroc(y[rows], score)``.
"""

_PER_DRAW = 5
"""Shuffles averaged in one bootstrap draw; see the notes of `permutation_importance`."""


def permutation_importance(
    predict: Score,
    X: NDArray[np.float64],
    metric: Metric,
    variables: Sequence[Variable],
    *,
    groups: Sequence[Sequence[int]] | None = None,
    repeats: int = 30,
    patient: ArrayLike | None = None,
    draws: int = 200,
    level: float = 0.95,
    higher_is_better: bool = True,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure what the model loses when the link between one variable and the rows is broken.

    Parameters
    ----------
    predict : callable
        X → score, shape (n,). Rows without a prediction (NaN) are left out.
    X : float array, shape (n, p)
        Numbers as they are, categories as codes, NaN where missing. Not changed.
    metric : callable
        ``metric(score, rows)``; see `Metric`.
    variables : sequence of Variable, one a group of columns
    groups : sequence of sequences of int, optional
        Columns of X that make up each variable and are shuffled together; one column each when absent.
    repeats : int
        Shuffles behind the reported value.
    patient : array, shape (n,), optional
        Patient of each row; the interval draws patients, not rows.
    draws : int
        Bootstrap draws.
    level : float
    higher_is_better : bool
        False for measures that fall as the model improves, such as the Brier score.
    seed : int

    Returns
    -------
    list of dict
        ``variable``, ``label``, ``value``, ``lower``, ``upper``, ``repeats``, in the order of `variables`.

    Raises
    ------
    NotEstimableError
        If no row has a prediction, or the measure is not defined on these rows.

    Notes
    -----
    A draw resamples patients with replacement and averages over shuffles drawn with replacement among
    those made, so the percentile interval holds both the sampling of test patients and the noise of shuffling. A
    draw averages over five shuffles at most, which is why the interval is slightly wide when `repeats` is larger.
    Shuffled rows may be patients that do not exist, such as when two predictors say nearly the same.

    References
    ----------
    Breiman, Mach Learn 2001;45:5; Fisher, Rudin, Dominici, JMLR 2019;20:177.

    Examples
    --------
    >>> X = np.column_stack([np.tile([0.0, 1.0], 50), np.zeros(100)])
    >>> y = X[:, 0]
    >>> rows = permutation_importance(lambda X: X[:, 0], X, lambda s, rows: float((s == y[rows]).mean()),
    ...                               [Variable(name="age"), Variable(name="noise")])
    >>> [round(row["value"], 1) for row in rows]
    [0.5, 0.0]
    """
    X = np.asarray(X, dtype=np.float64)
    columns = [[j] for j in range(X.shape[1])] if groups is None else [list(group) for group in groups]
    if len(columns) != len(variables):
        raise DataError(f"{len(columns)} groups of columns and {len(variables)} variables", "one variable a group")
    whole = np.asarray(predict(X), dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(whole))
    if rows.size == 0:
        raise NotEstimableError("no row has a prediction", "at least one", "choose a model that takes missing values")
    X, whole = X[rows], whole[rows]
    sampler = PatientDraws(
        None if patient is None else np.asarray(patient)[rows], rows.size, draws=draws, seed=[seed, 0]
    )
    taken = [np.repeat(np.arange(rows.size), count) for count in sampler.rows()]
    sign = 1.0 if higher_is_better else -1.0

    def measured(score: NDArray[np.float64], at: NDArray[np.int64]) -> float:
        try:
            return sign * float(metric(score[at], rows[at]))
        except NotEstimableError:
            return float("nan")

    base = sign * float(metric(whole, rows))
    base_drawn = np.array([measured(whole, at) for at in taken])
    out: list[dict[str, Any]] = []
    for j, (variable, group) in enumerate(zip(variables, columns, strict=True), 1):
        shuffled = _shuffled_scores(predict, X, group, repeats, np.random.default_rng([seed, j]))
        every = np.arange(rows.size)
        value = base - float(np.mean([measured(score, every) for score in shuffled]))
        pick = np.random.default_rng([seed, j, 1]).integers(repeats, size=(draws, min(repeats, _PER_DRAW)))
        drawn = [
            before - float(np.mean([measured(shuffled[k], at) for k in which]))
            for before, at, which in zip(base_drawn, taken, pick, strict=True)
        ]
        lower, upper = (float(v) for v in percentile_interval(np.array(drawn), level))
        out.append(
            {
                "variable": variable.name,
                "label": variable.title,
                "value": _known(value),
                "lower": _known(lower),
                "upper": _known(upper),
                "repeats": repeats,
            }
        )
    return out


def _shuffled_scores(
    predict: Score, X: NDArray[np.float64], group: Sequence[int], repeats: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Scores after each shuffle, shape (repeats, n)."""
    scores = np.empty((repeats, X.shape[0]))
    changed = X.copy()
    for r in range(repeats):
        order = rng.permutation(X.shape[0])
        changed[:, group] = X[order][:, group]
        scores[r] = predict(changed)
    return scores


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
