"""What a table study says of how its network learned: scores of the parts, the gaps between them, unlike parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Cohort, NotEstimableError, Split
from aimed.fit.adapter import StudyModel
from aimed.fit.diagnose_fit import diagnose_fit, mismatch_test
from aimed.fit.recipe import Recipe, Task
from aimed.fit.tune import predict_out_of_fold
from aimed.metrics.concordance import cause_specific_c, uno_c
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate

__all__ = ["diagnosis_of_fit", "learning_of"]

Progress = Callable[[float, str], None]

MEASURES: Mapping[Task, str] = {"binary": "auroc", "survival": "uno_c", "competing": "cause_specific_c"}
"""The measure of ranking that parts are compared by: none of them depends on how long the part was followed."""
ROWS = 2000
"""Rows of a part whose predictors are compared with another's; more would say little more."""


def learning_of(model: StudyModel) -> list[dict[str, Any]] | None:
    """Return the learning curves of each network of a model; None for a model without them."""
    history = getattr(model.estimator, "history_", None)
    return None if history is None else [dict(one) for one in history]


def diagnosis_of_fit(
    model: StudyModel,
    recipe: Recipe,
    cohort: Cohort,
    y: NDArray[Any],
    split: Split,
    *,
    preparation: dict[str, Any],
    tau: float | None,
    target: float | None,
    level: float,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare how a network ranks the rows it learned from, rows its copies did not see, and the test part.

    Parameters
    ----------
    model : StudyModel
        Fitted on the training part.
    recipe : Recipe
        What it was made from; it is fitted once more for each tuning fold, with the same parameters.
    cohort : Cohort
    y : array, shape (n,)
        The outcome as estimators take it.
    split : Split
    preparation : dict
        What the study file says of preparing predictors.
    tau : float, optional
        Last time that counts, for outcomes with times.
    target : float, optional
        What people reach.
    level : float
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        The state of a `aimed.fit.diagnose_fit.FitDiagnosis`, and ``parts``: what the scores and the comparison of
        predictors are of.

    Notes
    -----
    Measures are the AUROC, Uno's C, or with competing events Wolbers' C. That of the tune part is the mean over folds,
    each ranked by a network that did not see it: scores of two networks are not compared. Those networks learned from
    fewer rows, so a little of the gap to the training part is that. Where the test part was drawn at random, it is
    like the training part by design, and a tuning fold stands in its place; where a time, site or column drew it, it
    is what the training part is compared with.
    """
    X, patient = cohort.matrix(), cohort.patient
    train, test = split.parts["train"], split.parts["test"]

    def rank(rows: NDArray[np.int64], score: NDArray[np.float64]) -> Estimate:
        here = np.isfinite(score)
        at, values, who = y[rows][here], score[here], patient[rows][here]
        if recipe.task == "binary":
            return auroc(at, values, patient=who, level=level)
        measure = cause_specific_c if recipe.task == "competing" else uno_c
        return measure(at["event"], at["time"], values, tau=tau, patient=who, level=level)

    unseen = predict_out_of_fold(
        recipe, model.parameters, X, y, split.folds, cohort.predictors, preparation, seed, patient=patient,
        progress=progress,
    )  # fmt: skip

    def known(rows: NDArray[np.int64], score: NDArray[np.float64]) -> Estimate:
        try:
            return rank(rows, score)
        except NotEstimableError as error:
            return Estimate(math.nan, name=MEASURES[recipe.task], n=int(rows.size), note=error.got)

    folds = [known(fold.tune, unseen[fold.tune]) for fold in split.folds]
    drawn = split.by == "patient"
    first, second = (split.folds[0].fit, split.folds[0].tune) if drawn else (train, test)
    found = diagnose_fit(
        known(train, model.score(X[train])),
        mean_of_folds(folds, level),
        target=target,
        target_name="what people reach",
        test=known(test, model.score(X[test])),
        mismatch=_unlike(model, X, patient, first, second, level, seed),
        mismatch_parts="the first tuning fold and the others" if drawn else "the training and the test part",
        of="rows",
    )
    return {
        **found.to_state(),
        "parts": {
            "train": "the training part, by the networks that learned from it",
            "tune": f"mean of {len(folds)} tuning folds, each by networks that did not see it",
            "test": "the test part",
            "mismatch": ["other tuning folds", "first tuning fold"] if drawn else ["training part", "test part"],
        },
    }


def mean_of_folds(folds: Sequence[Estimate], level: float) -> Estimate:
    """Return the mean of the scores of folds that share no patient, with its interval.

    Examples
    --------
    >>> two = [Estimate.normal(v, 0.03, name="uno_c", n=50) for v in (0.7, 0.8)]
    >>> found = mean_of_folds(two, 0.95)
    >>> float(found), round(found.se, 4), found.n
    (0.75, 0.0212, 100)
    """
    known = [one for one in folds if math.isfinite(float(one))]
    rows = sum(one.n for one in folds)
    if not known:
        return Estimate(math.nan, name=folds[0].name, n=rows, level=level, note=folds[0].note)
    few = "" if len(known) == len(folds) else f"{len(folds) - len(known)} of {len(folds)} folds could not be scored"
    events = [one.events for one in known if one.events is not None]
    return Estimate.normal(
        float(np.mean([float(one) for one in known])),
        math.sqrt(math.fsum(one.se**2 for one in known)) / len(known),
        level=level,
        bounds=(0.0, 1.0),
        scale="logit",
        name=known[0].name,
        n=sum(one.n for one in known),
        events=sum(events) if events else None,
        method=f"mean of {len(known)} folds; {known[0].method}",
        note=few,
        why="a fold has no interval",
    )


def _unlike(
    model: StudyModel,
    X: NDArray[np.float64],
    patient: NDArray[Any],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    level: float,
    seed: int,
) -> Estimate:
    """Return how well the prepared predictors of two parts are told apart."""
    generator = np.random.default_rng((seed, 11))
    parts = []
    for rows in (first, second):
        some = rows if rows.size <= ROWS else np.sort(generator.choice(rows, ROWS, replace=False))
        prepared = model.preparation.transform(X[some])
        complete = np.isfinite(prepared).all(axis=1)
        parts.append((prepared[complete], patient[some][complete]))
    (a, mine), (b, theirs) = parts
    try:
        return mismatch_test(a, b, mine, theirs, level=level, seed=seed)
    except NotEstimableError as error:
        return Estimate(math.nan, name="auroc", note=error.got)
