"""Nuisances: cross-fitted outcomes under either arm and chances of treatment, fitted once for all that need them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes, vector
from aimed.treatment.arms import as_arms
from aimed.treatment.base_learners import BaseLearner, fit_model, one_thread, outcome_model, predict_mean

__all__ = ["CLIP", "FoldModels", "Nuisances", "as_columns", "deal_folds", "fit_nuisances", "is_binary", "known_chance"]

CLIP = 0.01
"""Estimated chances of treatment are kept this far from 0 and 1."""


class FoldModels(NamedTuple):
    """The fitted models of each fold; `propensity` is empty where the chance of treatment is known."""

    untreated: tuple[Any, ...]
    treated: tuple[Any, ...]
    propensity: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nuisances:
    """What is predicted for each row by models that did not see its patient.

    Parameters
    ----------
    mu0, mu1 : float array, shape (n,)
        Expected outcome untreated and treated.
    propensity : float array, shape (n,)
        Chance of treatment, strictly between 0 and 1.
    fold : int array, shape (n,)
        Fold of each row, from 0; a row's predictions come from the models of the other folds.
    known_propensity : bool
        Whether the chance of treatment was given, as in a trial.
    patient : int array, shape (n,), or None
        Number of each row's patient.
    binary : bool
        Whether the outcome is 0/1.
    clipped : int
        Rows whose estimated chance of treatment was moved to `CLIP` from 0 or 1.
    models : FoldModels, optional
        The models, for predictions in new rows.
    """

    mu0: FloatArray
    mu1: FloatArray
    propensity: FloatArray
    fold: IntArray
    known_propensity: bool
    patient: IntArray | None = None
    binary: bool = False
    clipped: int = 0
    models: FoldModels | None = field(default=None, repr=False)

    @property
    def m(self) -> FloatArray:
        """Expected outcome whatever the arm, shape (n,)."""
        return self.propensity * self.mu1 + (1 - self.propensity) * self.mu0

    def scores(self, Y: ArrayLike, T: ArrayLike) -> FloatArray:
        """Return doubly robust scores of the effect Y(1) - Y(0), shape (n,); their mean estimates the average effect.

        Parameters
        ----------
        Y : float array, shape (n,)
        T : array, shape (n,)
            1 treated, 0 not.

        References
        ----------
        Robins, Rotnitzky and Zhao, JASA 1994;89:846.
        """
        y, arm = vector("Y", Y, self.mu0.size), as_arms(T, self.mu0.size)
        rest = np.where(arm, (y - self.mu1) / self.propensity, (self.mu0 - y) / (1 - self.propensity))
        return np.asarray(self.mu1 - self.mu0 + rest, dtype=np.float64)

    def scores_by_arm(self, Y: ArrayLike, T: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return doubly robust scores of the outcome untreated and treated, each of shape (n,).

        Their means estimate what would be seen had nobody, or everybody, been treated; they differ by `scores`.

        Parameters
        ----------
        Y : float array, shape (n,)
        T : array, shape (n,)
            1 treated, 0 not.
        """
        y, arm = vector("Y", Y, self.mu0.size), as_arms(T, self.mu0.size)
        untreated = self.mu0 + np.where(arm, 0.0, (y - self.mu0) / (1 - self.propensity))
        treated = self.mu1 + np.where(arm, (y - self.mu1) / self.propensity, 0.0)
        return untreated, treated

    @property
    def blind_risk(self) -> FloatArray:
        """Expected outcome whatever the treatment, shape (n,): the arms mixed by the mean chance of treatment.

        The risk to look for a trend of the effect along. Its errors have nothing to do with those of `scores`; errors
        of `mu0` have, since untreated rows are in both, and a test of a trend along `mu0` rejects too often where
        covariates say little of the outcome.
        """
        share = float(np.mean(self.propensity))
        return np.asarray(share * self.mu1 + (1 - share) * self.mu0)

    def predict(self, X: ArrayLike, W: ArrayLike | None = None) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Return outcome untreated, treated and chance of treatment of new rows: means over the folds' models.

        The chance is None where it was known, not modelled.
        """
        if self.models is None:
            raise NotEstimableError("these nuisances hold no models", "those made by fit_nuisances")
        columns = as_columns(X, W)
        mu0, mu1 = (
            np.mean([predict_mean(one, columns, self.binary) for one in models], axis=0) for models in self.models[:2]
        )
        chances = [predict_mean(one, columns, True) for one in self.models.propensity]
        return mu0, mu1, np.clip(np.mean(chances, axis=0), CLIP, 1 - CLIP) if chances else None


def is_binary(Y: FloatArray) -> bool:
    """Say whether an outcome holds zeros and ones only.

    Examples
    --------
    >>> is_binary(np.array([0.0, 1.0])), is_binary(np.array([0.0, 0.5]))
    (True, False)
    """
    return bool(((Y == 0) | (Y == 1)).all())


def as_columns(X: ArrayLike, W: ArrayLike | None = None, n: int | None = None) -> FloatArray:
    """Return the columns of X and W side by side as finite float64, shape (n, p + q).

    Raises
    ------
    DataError
        If they are not tables of numbers, hold NaN or infinite values, or differ in rows.

    Examples
    --------
    >>> as_columns([[1], [2]], [[3], [4]]).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    tables = []
    for name, values in (("X", X), ("W", W)):
        if values is None:
            continue
        try:
            table = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{name} holds cells that are no numbers", "a table of numbers", "code them first"
            ) from None
        if table.ndim != 2 or 0 in table.shape:
            raise DataError(f"{name} has shape {table.shape}", "n rows and at least one column")
        if n is not None and len(table) != n:
            raise DataError(f"{name} has {len(table)} rows", f"{n} rows, as many as outcomes")
        bad = np.flatnonzero(~np.isfinite(table).all(axis=0))
        if bad.size:
            raise DataError(
                f"{name} has NaN or infinite values in {bad.size} columns, the first of them number {bad[0]}",
                "finite values",
                "impute them before, with an indicator column where missingness says something",
            )
        tables.append(table)
    if len({len(table) for table in tables}) > 1:
        raise DataError(f"X has {len(tables[0])} rows and W {len(tables[1])}", "one row of either a patient")
    return np.ascontiguousarray(tables[0] if len(tables) == 1 else np.column_stack(tables))


def known_chance(propensity: ArrayLike | float, n: int) -> FloatArray:
    """Return a known chance of treatment for each row.

    Raises
    ------
    NotEstimableError
        If one is not strictly between 0 and 1.

    Examples
    --------
    >>> known_chance(0.5, 2).tolist()
    [0.5, 0.5]
    """
    given = np.asarray(propensity, dtype=np.float64)
    chance = np.full(n, float(given)) if given.ndim == 0 else vector("propensity", propensity, n)
    outside = int((~((chance > 0) & (chance < 1))).sum())
    if outside:
        raise NotEstimableError(
            f"propensity is not strictly between 0 and 1 in {outside} of {n} rows",
            "every patient could have been treated and could have been left untreated",
            "leave those patients out, and say so in the population of the estimand",
        )
    return chance


def deal_folds(
    arm: NDArray[np.bool_], y: FloatArray, binary: bool, codes: IntArray | None, folds: int, seed: int
) -> Any:
    """Return the fold of each row: patients dealt in turn within arm (and outcome), rows of one together."""
    stratum = 2 * arm.astype(np.int64) + (y.astype(np.int64) if binary else 0)
    if codes is not None:
        of_patient = np.zeros(int(codes.max()) + 1, dtype=np.int64)
        np.maximum.at(of_patient, codes, stratum)
        stratum = of_patient
    if folds < 2 or stratum.size < folds:
        raise DataError(f"{stratum.size} patients cannot make {folds} folds", "2 folds or more, each with a patient")
    order = np.random.default_rng(seed).permutation(stratum.size)
    order = order[np.argsort(stratum[order], kind="stable")]
    fold = np.empty(stratum.size, dtype=np.int64)
    fold[order] = np.arange(stratum.size) % folds
    return fold if codes is None else fold[codes]


def _mapped(work: Callable[[Any], Any], items: list[Any], n_jobs: int) -> list[Any]:
    if n_jobs <= 1:
        return [work(item) for item in items]
    # The linear algebra library has one limit for the whole process: it is held here, so that no worker lifts it.
    with one_thread(), ThreadPoolExecutor(max_workers=n_jobs) as pool:
        return list(pool.map(work, items))


def fit_nuisances(
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike,
    W: ArrayLike | None = None,
    *,
    outcome_model: BaseLearner | None = None,
    propensity_model: BaseLearner | None = None,
    propensity: ArrayLike | float | None = None,
    folds: int = 5,
    patient: ArrayLike | None = None,
    random_state: int = 0,
    n_jobs: int = 1,
) -> Nuisances:
    """Fit an outcome model in each arm and a model of who is treated, and predict rows that they did not see.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome: 0/1, continuous, or a pseudo-outcome of time to event.
    T : array, shape (n,)
        1 treated, 0 not.
    X : float array, shape (n, p)
    W : float array, shape (n, q), optional
        Further covariates; the models see the columns of both.
    outcome_model, propensity_model : str or scikit-learn estimator, optional
        ``"linear"`` when absent; see `aimed.treatment.base_learners.BASE_LEARNERS`.
    propensity : float or array, shape (n,), optional
        Known chance of treatment, as in a trial: then no model is fitted for it.
    folds : int
    patient : array, shape (n,), optional
        Rows of one patient go into one fold.
    random_state : int
    n_jobs : int
        Fits side by side; the bits are the same whatever it is.

    Raises
    ------
    DataError
        If shapes differ, values are not finite, or there are fewer patients than folds.
    NotEstimableError
        If an arm is empty, in all or outside a fold, or a known propensity is 0 or 1.

    Warns
    -----
    UserWarning
        If estimated chances of treatment lay closer to 0 or 1 than `CLIP`.

    References
    ----------
    Chernozhukov et al., Econom J 2018;21:C1 (cross-fitting).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
    >>> Y = X[:, 0] + 2.0 * T + rng.normal(size=400)
    >>> found = fit_nuisances(Y, T, X, propensity=0.5)
    >>> float(found.scores(Y, T).mean().round(1))
    2.0
    """
    y = vector("Y", Y)
    arm = as_arms(T, y.size)
    columns = as_columns(X, W, y.size)
    binary = is_binary(y)
    codes = None if patient is None else patient_codes(patient, y.size)
    fold = deal_folds(arm, y, binary, codes, folds, random_state)
    chance = None if propensity is None else known_chance(propensity, y.size)
    outcome, treatment = outcome_model or "linear", propensity_model or "linear"
    _both_arms_everywhere(arm, fold, folds)

    def work(job: tuple[str, int]) -> tuple[Any, FloatArray]:
        what, k = job
        rest, held = fold != k, columns[fold == k]
        if what == "treated?":
            model = fit_model(_model(treatment, True, random_state), columns[rest], arm[rest].astype(np.float64))
            return model, predict_mean(model, held, True)
        rows = rest & (arm == (what == "treated"))
        model = fit_model(_model(outcome, binary, random_state), columns[rows], y[rows])
        return model, predict_mean(model, held, binary)

    kinds = ("untreated", "treated") if chance is not None else ("untreated", "treated", "treated?")
    done = iter(_mapped(work, [(what, k) for what in kinds for k in range(folds)], n_jobs))
    models: list[tuple[Any, ...]] = []
    columns_out: list[FloatArray] = []
    for _ in kinds:
        pairs = [next(done) for _ in range(folds)]
        values = np.empty(y.size)
        for k, (_model_k, predicted) in enumerate(pairs):
            values[fold == k] = predicted
        models.append(tuple(model for model, _ in pairs))
        columns_out.append(values)
    clipped = 0
    if chance is None:
        raw = columns_out[2]
        clipped = int(((raw < CLIP) | (raw > 1 - CLIP)).sum())
        if clipped:
            warnings.warn(
                f"{clipped} of {y.size} rows had an estimated chance of treatment below {CLIP} or above {1 - CLIP}, "
                "which was moved there: look at the overlap of the arms",
                UserWarning,
                stacklevel=2,
            )
        chance = np.clip(raw, CLIP, 1 - CLIP)
    return Nuisances(
        mu0=columns_out[0],
        mu1=columns_out[1],
        propensity=chance,
        fold=fold,
        known_propensity=propensity is not None,
        patient=codes,
        binary=binary,
        clipped=clipped,
        models=FoldModels(models[0], models[1], models[2] if len(models) > 2 else ()),
    )


_model = outcome_model
"""The function under a second name, since `fit_nuisances` has an argument of the first."""


def _both_arms_everywhere(arm: NDArray[np.bool_], fold: IntArray, folds: int) -> None:
    for k in range(folds):
        rest = arm[fold != k]
        fewest = int(min(rest.sum(), (~rest).sum()))
        if fewest < 2:
            raise NotEstimableError(
                f"only {fewest} rows of an arm lie outside fold {k}",
                "at least 2 rows of each arm outside every fold",
                "use fewer folds, or more patients",
            )
