"""The whole explanation of a model, from plain callables and arrays, as the ``explanation`` block of the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import NotEstimableError, Variable
from aimed.explain.draws import sample_rows
from aimed.explain.effects import effects
from aimed.explain.permutation import Metric, Score, permutation_importance
from aimed.explain.sanity import Refit, randomised_outcome
from aimed.explain.shap_values import mean_absolute, shap_values
from aimed.metrics.arrays import patient_codes

__all__ = ["Inside", "Keep", "explain"]

Keep: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.float64]], None]
"""``keep(rows, values)``: rows that were explained, shape (m,), and their SHAP values, shape (m, p)."""


_NOTE = (
    "This is what the model used, not what causes the outcome. Importance is the loss of the measure when a variable "
    "is shuffled among test rows; predictors that say nearly the same share it. Effects are differences in mean risk."
)


_FOREST_ROWS = 500
"""Rows of a forest whose SHAP values are computed; each costs a walk through every tree for each background row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The inside of a model that SHAP values need.

    Parameters
    ----------
    estimator : fitted estimator
    background : float array, shape (m, q)
        Prepared training rows.
    rows : float array, shape (n, q)
        Prepared rows of the X that is explained.
    origin : sequence of str, length q
        Variable behind each feature.
    family : str
        ``"linear"``, ``"tree"``, ``"function"`` (asked from outside), or anything else, which has no SHAP values.
    calibrated : bool
        True when the risks shown to users pass through a calibration after this estimator.
    """

    estimator: Any
    background: NDArray[np.float64]
    rows: NDArray[np.float64]
    origin: Sequence[str]
    family: str
    calibrated: bool = False


def explain(
    score: Score,
    risk: Score,
    X: NDArray[np.float64],
    variables: Sequence[Variable],
    metric: Metric,
    measure: str,
    *,
    higher_is_better: bool = True,
    patient: ArrayLike | None = None,
    inside: Inside | None = None,
    refit: Refit | None = None,
    n_train: int = 0,
    repeats: int = 30,
    n_effects: int | None = None,
    draws: int = 200,
    level: float = 0.95,
    most_rows: int = 2000,
    importance_rows: int = 5000,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """Explain a fitted model on the test rows.

    Parameters
    ----------
    score : callable
        X → what ranks patients, shape (n,); importance is measured on it.
    risk : callable
        X → risk at the horizon, shape (n,); effects are drawn on it.
    X : float array, shape (n, p)
    variables : sequence of Variable, length p
    metric : callable
        ``metric(score, rows)``; see `aimed.explain.permutation.Metric`.
    measure : str
        Its name, such as ``"auroc"``.
    higher_is_better : bool
    patient : array, shape (n,), optional
        Patient of each row.
    inside : Inside, optional
        Without it there are no SHAP values.
    refit : callable, optional
        Asks for the check on shuffled outcomes; see `aimed.explain.sanity.Refit`. Needs `n_train`.
    n_train : int
        Training rows that `refit` shuffles.
    repeats : int
        Shuffles a variable.
    n_effects : int, optional
        How many of the most important variables get effects; all when absent.
    draws, level, seed
        Of the bootstrap intervals.
    most_rows : int
        SHAP values and effects use a fixed sample of patients when there are more rows; SHAP values of forests
        use at most 500 rows.
    importance_rows : int
        The same for importance.
    progress : callable, optional
        Hears the share done and what is done now.
    keep : callable, optional
        Gets the rows of X and their SHAP values by variable, for the reasons of single predictions.

    Returns
    -------
    dict
        ``measure``, ``permutation`` (most important first), ``shap`` or None, ``shap_note``, ``shap_check``, ``scale``,
        ``effects``, ``sanity`` or None, ``n``, ``n_effects_rows``, ``note``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)); y = X[:, 0] > 0
    >>> f = lambda X: 1 / (1 + np.exp(-3 * X[:, 0]))
    >>> block = explain(f, f, X, [Variable(name="a"), Variable(name="b")],
    ...                 lambda s, rows: float(((s > 0.5) == y[rows]).mean()), "accuracy", repeats=3, draws=20)
    >>> [row["variable"] for row in block["permutation"]], block["shap"] is None
    (['a', 'b'], True)
    """
    tell = progress or _quiet
    X = np.asarray(X, dtype=np.float64)
    group = None if patient is None else np.asarray(patient)
    codes = patient_codes(group, X.shape[0])
    many = sample_rows(codes, importance_rows, [seed, 11])
    few = sample_rows(codes, most_rows, [seed, 11])
    tell(0.0, "permutation importance")
    importance = permutation_importance(
        score,
        X[many],
        lambda values, at: metric(values, many[at]),
        variables,
        repeats=repeats,
        patient=None if group is None else group[many],
        draws=draws,
        level=level,
        higher_is_better=higher_is_better,
        seed=seed,
    )
    importance.sort(key=lambda row: -(row["value"] if row["value"] is not None else -np.inf))
    tell(0.6, "SHAP values")
    shap, note, scale, check = _shap(inside, few, variables, group, draws, level, seed, keep)
    tell(0.75, "effects")
    curves = effects(
        risk,
        X[few],
        variables,
        names=[row["variable"] for row in importance][:n_effects],
        patient=None if group is None else group[few],
        draws=draws,
        level=level,
        seed=seed,
    )
    sanity: dict[str, Any] | None = None
    top = importance[0]["value"] if importance else None
    if refit is not None and top is not None and top > 0:
        tell(0.9, "shuffled outcomes")
        sanity = randomised_outcome(
            refit,
            n_train,
            X[many],
            lambda values, at: metric(values, many[at]),
            variables,
            importance=top,
            higher_is_better=higher_is_better,
            seed=seed,
        )
    tell(1.0, "")
    return {
        "measure": measure,
        "permutation": importance,
        "shap": shap,
        "shap_note": note,
        "shap_check": check,
        "scale": scale,
        "effects": curves,
        "sanity": sanity,
        "n": int(many.size),
        "n_effects_rows": int(few.size),
        "note": _NOTE,
    }


def _shap(
    inside: Inside | None,
    rows: NDArray[np.int64],
    variables: Sequence[Variable],
    patient: NDArray[Any] | None,
    draws: int,
    level: float,
    seed: int,
    keep: Keep | None,
) -> tuple[list[dict[str, Any]] | None, str, str | None, dict[str, Any] | None]:
    """The SHAP rows, or None with the reason."""
    if inside is None:
        return None, "SHAP values were not asked for.", None, None
    if hasattr(inside.estimator, "estimators_"):
        codes = patient_codes(None if patient is None else patient[rows], rows.size)
        rows = rows[sample_rows(codes, _FOREST_ROWS, [seed, 13])]
    try:
        found = shap_values(
            inside.estimator,
            inside.background,
            inside.rows[rows],
            inside.origin,
            variables,
            family=inside.family,
            seed=seed,
        )
        if keep is not None:
            keep(rows, found.values)
        table = mean_absolute(
            found.values,
            variables,
            patient=None if patient is None else patient[rows],
            draws=draws,
            level=level,
            seed=seed,
        )
    except NotEstimableError as error:
        return None, f"No SHAP values: {error}.", None, None
    note = f"{found.note} Mean over {rows.size} test rows."
    if inside.calibrated:
        note += " They explain the model before calibration."
    return table, note, found.scale, {"base": found.base, "largest_error": found.error, "passed": True}


def _quiet(share: float, text: str) -> None:
    """Say nothing."""
