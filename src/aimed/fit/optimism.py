"""Optimism-corrected internal validation: how much of the apparent performance a refit on new patients would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Measure, NotEstimableError
from aimed.fit.adapter import StudyModel
from aimed.metrics.binary import auroc
from aimed.metrics.survival import harrell_c

__all__ = ["optimism_corrected"]


def _rank(model: StudyModel, X: NDArray[np.float64], y: NDArray[Any]) -> float:
    score = model.score(X)
    rows = np.isfinite(score)
    if model.recipe.task == "binary":
        return float(auroc(y[rows], score[rows]))
    return float(harrell_c(y["event"][rows], y["time"][rows], score[rows]))


def optimism_corrected(
    model: StudyModel,
    X: NDArray[np.float64],
    y: NDArray[Any],
    patient: NDArray[Any],
    *,
    draws: int = 100,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Correct the apparent discrimination on the training rows by the bootstrap of Harrell.

    Parameters
    ----------
    model : StudyModel
        Fitted; its recipe and parameters are refitted in each draw of patients, preparation included.
    X, y, patient : arrays with n rows
        Training rows only.
    draws : int
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``apparent`` (Measure), ``optimism`` (mean over draws), ``corrected`` (Measure; its interval is the
        percentile interval of apparent minus optimism) and ``draws`` that could be fitted.

    Notes
    -----
    Tuned parameters are held fixed, so the optimism of the search itself is not in it. The test part, which
    the search never saw, is the check on that.

    References
    ----------
    Harrell, Lee and Mark, Stat Med 1996;15:361.
    """
    rng = np.random.default_rng(seed)
    ids, codes = np.unique(patient, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(ids.size + 1))
    apparent = _rank(model, X, y)
    gaps: list[float] = []
    for i in range(draws):
        drawn = rng.integers(0, ids.size, ids.size)
        rows = np.concatenate([order[starts[k] : starts[k + 1]] for k in drawn])
        try:
            again = StudyModel(
                model.recipe, model.variables, model.parameters, model.preparation_options, model.seed
            ).fit(X[rows], y[rows])
            gaps.append(_rank(again, X[rows], y[rows]) - _rank(again, X, y))
        except NotEstimableError:
            continue
        if progress is not None:
            progress((i + 1) / draws, "optimism")
    name = "auroc" if model.recipe.task == "binary" else "harrell_c"
    events = int(y.sum() if model.recipe.task == "binary" else y["event"].sum())
    method = f"bootstrap by patient, {len(gaps)} refits"
    optimism = float(np.mean(gaps)) if gaps else float("nan")
    low, high = np.quantile(gaps, [0.025, 0.975]) if gaps else (np.nan, np.nan)
    return {
        "apparent": Measure(name=name, value=apparent, n=y.size, events=events, method="training rows").to_dict(),
        "optimism": optimism,
        "corrected": Measure(
            name=name,
            value=apparent - optimism,
            lower=apparent - float(high),
            upper=apparent - float(low),
            n=y.size,
            events=events,
            method=method,
        ).to_dict(),
        "draws": len(gaps),
    }
