"""What refits on draws of patients tell: optimism, stability of predictions and intervals of penalised coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from aimed.core import Measure, NotEstimableError
from aimed.fit.adapter import StudyModel, fewer_sets
from aimed.fit.recipe import Task
from aimed.metrics.concordance import cause_specific_c, harrell_c
from aimed.metrics.discrimination import auroc
from aimed.metrics.draws import PatientDraws

__all__ = ["RANKING", "coefficient_interval", "optimism_corrected", "patient_draws", "prediction_stability", "refit"]

Progress = Callable[[float, str], None]

RANKING: Mapping[Task, str] = {"binary": "auroc", "survival": "harrell_c", "competing": "cause_specific_c"}
"""The measure that says how well a model ranks patients, by kind of outcome."""


def patient_draws(patient: ArrayLike, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of patients drawn with replacement; a patient drawn twice gives its rows twice.

    Examples
    --------
    >>> [rows.tolist() for rows in patient_draws(["a", "a", "b"], 2, seed=1)]
    [[0, 1, 2], [0, 0, 1, 1]]
    """
    n = np.shape(patient)[0]
    for times in PatientDraws(patient, n, draws=draws, seed=seed).rows():
        yield np.repeat(np.arange(n), times)


def refit(
    model: StudyModel, X: NDArray[np.float64], y: NDArray[Any], patient: NDArray[Any] | None = None
) -> StudyModel:
    """Fit the recipe and parameters of a model anew, preparation included; calibration is left out.

    With multiple imputation, of fewer data sets (`aimed.fit.adapter.FEW_SETS`). A network holds rows out to know when
    to stop: with `patient`, of shape (n,), a patient, also one drawn twice, stays on one side.
    """
    options = fewer_sets(model.preparation_options)
    again = StudyModel(model.recipe, model.variables, model.parameters, options, model.seed)
    return again.fit(X, y, patient=patient if model.recipe.family == "network" else None)


def _rank(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any]) -> float:
    score = model.score(X)
    rows = np.isfinite(score)
    if model.recipe.task == "binary":
        return float(auroc(y[rows], score[rows]))
    if model.recipe.task == "competing":
        return float(cause_specific_c(y["event"][rows], y["time"][rows], score[rows], tau=float(y["time"].max())))
    return float(harrell_c(y["event"][rows], y["time"][rows], score[rows]))


def optimism_corrected(
    model: StudyModel,
    X: NDArray[np.float64],
    y: NDArray[Any],
    patient: NDArray[Any],
    *,
    draws: int = 100,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Correct the apparent discrimination on the training rows by the bootstrap of Harrell.

    Parameters
    ----------
    model : StudyModel
        Fitted.
    X, y, patient : arrays with n rows
        Training rows only.
    draws : int
    level : float
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``apparent`` (Measure), ``optimism`` (mean over draws), ``corrected`` (Measure; its interval is that of the
        apparent value over the draws, shifted by the optimism) and ``draws`` that could be fitted.

    Notes
    -----
    Tuned parameters are held fixed, so the optimism of the search itself is not in it. The test part, which
    the search never saw, is the check on that.

    References
    ----------
    Harrell, Lee and Mark, Stat Med 1996;15:361; Noma et al., Stat Med 2021;40:5691 (location-shifted interval).
    """
    apparent = _rank(model, X, y)
    gaps: list[float] = []
    drawn: list[float] = []
    for i, rows in enumerate(patient_draws(patient, draws, seed), 1):
        try:
            again = refit(model, X[rows], y[rows], patient[rows])
            gaps.append(_rank(again, X[rows], y[rows]) - _rank(again, X, y))
            drawn.append(_rank(model, X[rows], y[rows]))
        except NotEstimableError:
            continue
        if progress is not None:
            progress(i / draws, "optimism")
    name = RANKING[model.recipe.task]
    events = int(((y if model.recipe.task == "binary" else y["event"]) == 1).sum())
    optimism = float(np.mean(gaps)) if gaps else float("nan")
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2]) if drawn else (np.nan, np.nan)
    return {
        "apparent": Measure(name=name, value=apparent, n=y.size, events=events, method="training rows").to_dict(),
        "optimism": optimism,
        "corrected": Measure(
            name=name,
            value=apparent - optimism,
            lower=float(low) - optimism,
            upper=float(high) - optimism,
            n=y.size,
            events=events,
            level=level,
            method=f"location-shifted bootstrap by patient, {len(gaps)} refits",
        ).to_dict(),
        "draws": len(gaps),
    }


def prediction_stability(
    model: StudyModel,
    X: NDArray[np.float64],
    y: NDArray[Any],
    patient: NDArray[Any],
    X_new: NDArray[np.float64],
    *,
    horizon: float | None = None,
    draws: int = 20,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any] | None:
    """Say how much a new patient's risk would differ had other patients trained the model.

    Parameters
    ----------
    model : StudyModel
        Fitted.
    X, y, patient : arrays with n rows
        Training rows.
    X_new : float array, shape (m, p)
        Rows whose risks are looked at; their outcomes are not needed.
    horizon : float, optional
        For survival.
    draws : int
    level : float
        Coverage of the interval over the new rows.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict or None
        ``mean_absolute_difference`` between a row's risk and its risk under a refit (Measure; the interval is a
        normal one over rows), ``share_above_0_1`` of rows whose mean difference is above 0.1, and ``draws``;
        None when no refit was possible.

    References
    ----------
    Riley and Collins, Biom J 2023;65:2200302.
    """
    times = None if horizon is None else [horizon]
    bare = StudyModel.assemble(model.recipe, model.preparation, model.estimator, None, model.parameters)
    risk = bare.risk(X_new, times)[:, 0]
    total = np.zeros(risk.size)
    done = 0
    for i, rows in enumerate(patient_draws(patient, draws, seed), 1):
        try:
            again = refit(model, X[rows], y[rows], patient[rows])
            total += np.abs(again.risk(X_new, times)[:, 0] - risk)
            done += 1
        except NotEstimableError:
            continue
        if progress is not None:
            progress(i / draws, "stability")
    mean = total[np.isfinite(total)] / max(done, 1)
    if done < draws / 2 or mean.size < 2:
        return None
    half = float(ndtri(0.5 + level / 2) * mean.std(ddof=1) / np.sqrt(mean.size))
    centre = float(mean.mean())
    return {
        "draws": done,
        "mean_absolute_difference": Measure(
            name="mean_absolute_difference",
            value=centre,
            lower=max(0.0, centre - half),
            upper=centre + half,
            n=int(mean.size),
            level=level,
            method="normal interval over test rows",
        ).to_dict(),
        "share_above_0_1": float((mean > 0.1).mean()),
        "note": "Parameters were held fixed and calibration was left out.",
    }


def coefficient_interval(
    model: StudyModel,
    X: NDArray[np.float64],
    y: NDArray[Any],
    patient: NDArray[Any],
    *,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return percentile limits of the coefficients of a linear model, refitted on prepared rows of drawn patients.

    Parameters
    ----------
    model : StudyModel
        Fitted, with ``coef_``; its preparation and penalty are held fixed.
    X, y, patient : arrays with n rows
        Training rows.
    draws, level, seed

    Returns
    -------
    (lower, upper) or None
        None when fewer than nine in ten draws could be fitted.
    """
    Z = model.preparation.transform(X)
    rows = np.isfinite(Z).all(axis=1)
    Z, y, patient = Z[rows], y[rows], patient[rows]
    found = []
    for drawn in patient_draws(patient, draws, seed):
        try:
            again = model.recipe.build(model.parameters, model.seed).fit(Z[drawn], y[drawn])
        except NotEstimableError:
            continue
        found.append(np.ravel(again.coef_))
    if len(found) < 0.9 * draws:
        return None
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high
