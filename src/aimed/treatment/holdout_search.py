"""Search of a grid on held-out rows: the first best setting wins, for one outcome model or for one in each arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, patient_codes, vector
from aimed.metrics.benefit import c_for_benefit
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate, clustered, notes
from aimed.treatment.arms import as_arms
from aimed.treatment.base_learners import fit_model, predict_mean
from aimed.treatment.nuisances import as_columns, is_binary
from aimed.treatment.rates import Better, checked_better

__all__ = ["HoldoutSearch", "TLearnerSearch", "Trial", "grid_points", "holdout_search", "t_learner_search"]

Build: TypeAlias = Callable[..., Any] | BaseEstimator
"""An estimator class, a function of settings that makes an estimator, or an estimator whose settings are set."""

Grid: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
"""Values of each setting, or the settings themselves one by one."""

Score: TypeAlias = Callable[..., Any]
"""``score(Y, prediction)``: gives an `Estimate` or a number."""

_OPTIMISTIC = "the best of several on the same rows: optimistic, judge it on rows that chose nothing"


def grid_points(grid: Grid) -> list[dict[str, Any]]:
    """Return every setting of a grid, the last name turning fastest.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> grid_points({"trees": [10, 20], "depth": [2, None]})[:2]
    [{'trees': 10, 'depth': 2}, {'trees': 10, 'depth': None}]
    """
    if isinstance(grid, Mapping):
        text = [name for name, values in grid.items() if isinstance(values, str) or not isinstance(values, Sequence)]
        if text:
            raise DataError(f"setting {text[0]} has no list of values", "a list of values for each setting")
        points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    else:
        points = [dict(point) for point in grid]
    if not points:
        raise DataError("the grid holds no setting", "at least one value of each setting")
    return points


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One setting and its score on the held-out rows; NaN with a note where there is none."""

    params: dict[str, Any]
    score: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HoldoutSearch:
    """What a search found.

    Parameters
    ----------
    best_estimator : fitted estimator
    best_params : dict
    best_score : Estimate
        On the held-out rows, with the interval of one model; `note` says that the best of several is optimistic.
    trials : tuple of Trial
        Every setting in the order it was tried.
    n_train, n_holdout : int
    binary : bool
        Whether the outcome is 0/1.
    larger_is_better : bool
    """

    best_estimator: Any = field(repr=False)
    best_params: dict[str, Any]
    best_score: Estimate
    trials: tuple[Trial, ...] = field(repr=False)
    n_train: int
    n_holdout: int
    binary: bool
    larger_is_better: bool

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the expected outcome of each row by the best estimator, shape (n,)."""
        return predict_mean(self.best_estimator, as_columns(X), self.binary)

    @property
    def tied(self) -> int:
        """Settings whose score equals the best one; the first of them was taken."""
        return sum(float(trial.score) == float(self.best_score) for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without the estimator."""
        return {
            "best_params": dict(self.best_params),
            "best_score": self.best_score.measure().to_dict(),
            "trials": [{"params": dict(t.params), "score": t.score.measure().to_dict()} for t in self.trials],
            "n_train": self.n_train,
            "n_holdout": self.n_holdout,
            "larger_is_better": self.larger_is_better,
        }


def _built(build: Build, params: Mapping[str, Any]) -> Any:
    if isinstance(build, BaseEstimator):
        return clone(build).set_params(**params)
    return build(**params)


def _squared_error(Y: FloatArray, prediction: FloatArray, patient: ArrayLike | None = None) -> Estimate:
    """Return the mean squared error with its interval."""
    off = (Y - prediction) ** 2
    mean = float(off.mean())
    how = clustered("normal, infinitesimal jackknife", patient)
    name = "mean_squared_error"
    return Estimate.from_influence(mean, (off - mean) / off.size, patient, bounds=(0, math.inf), name=name, method=how)


def _scored(score: Score, Y: FloatArray, prediction: FloatArray, given: Mapping[str, Any]) -> Estimate:
    try:
        found = score(Y, prediction, **given)
    except NotEstimableError as error:
        return Estimate(math.nan, name="score", n=Y.size, note=error.got)
    return found if isinstance(found, Estimate) else Estimate(float(found), name="score", n=Y.size)


def holdout_search(
    build: Build,
    grid: Grid,
    Y: ArrayLike,
    X: ArrayLike,
    *,
    holdout: tuple[ArrayLike, ArrayLike],
    score: Score | None = None,
    larger_is_better: bool | None = None,
    patient: ArrayLike | None = None,
    holdout_patient: ArrayLike | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> HoldoutSearch:
    """Fit every setting of a grid and keep the one with the best score on held-out rows.

    Parameters
    ----------
    build : class, callable or scikit-learn estimator
        ``build(**params)`` gives an unfitted estimator; an estimator is cloned and its settings are set.
    grid : mapping of str to list, or list of dict
        Tried in order, the last name turning fastest.
    Y : float array, shape (n,)
        Outcome, 0/1 or continuous.
    X : float array, shape (n, p)
    holdout : (Y, X)
        Outcome and columns of the held-out rows.
    score : callable, optional
        ``score(Y, prediction)``. The AUROC for 0/1 outcomes (it is the concordance index), the mean squared error
        otherwise.
    larger_is_better : bool, optional
        True when absent, except for the mean squared error.
    patient, holdout_patient : array, optional
        Patients of the rows; none may be in both parts. That of the held-out rows clusters the interval of the score.
    progress : callable, optional
        Hears the share done and the setting.

    Returns
    -------
    HoldoutSearch

    Raises
    ------
    DataError
        If the grid is empty, shapes differ, or a patient is in both parts.
    NotEstimableError
        If no setting has a score.

    Notes
    -----
    Formula: the first setting whose score is strictly better than that of all before it.
    Range: that of the score.
    Assumes: held-out rows are independent of the others. The best score of several is optimistic.
    Refuses: patients in both parts; one outcome only in either part.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> Y = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    >>> found = holdout_search(DecisionTreeClassifier, {"max_depth": [1, 3, None], "random_state": [0]}, Y[:300],
    ...                        X[:300], holdout=(Y[300:], X[300:]))
    >>> found.best_params["max_depth"], len(found.trials)
    (3, 3)
    """
    points = grid_points(grid)
    y, y_held = vector("Y", Y), vector("Y of the held-out rows", holdout[0])
    columns, held = as_columns(X, n=y.size), as_columns(holdout[1], n=y_held.size)
    if columns.shape[1] != held.shape[1]:
        raise DataError(f"{columns.shape[1]} columns, and {held.shape[1]} in held-out rows", "the same columns")
    _apart(patient, y.size, holdout_patient, y_held.size)
    binary = is_binary(y) and is_binary(y_held)
    if y.min() == y.max():
        raise NotEstimableError("one outcome only in the rows to fit", "rows that differ", "fit on more rows")
    given: dict[str, Any] = {}
    if score is None:
        score = auroc if binary else _squared_error
        larger_is_better = binary
        given = {} if holdout_patient is None else {"patient": patient_codes(holdout_patient, y_held.size)}
    sign = -1.0 if larger_is_better is False else 1.0
    trials: list[Trial] = []
    best, best_value, best_place = None, -math.inf, -1
    for place, params in enumerate(points):
        if progress is not None:
            progress(place / len(points), ", ".join(f"{k} {v}" for k, v in params.items()))
        model = fit_model(_built(build, params), columns, y)
        found = _scored(score, y_held, predict_mean(model, held, binary), given)
        trials.append(Trial(params=params, score=found))
        if math.isfinite(found) and sign * float(found) > best_value:
            best, best_value, best_place = model, sign * float(found), place
    if best is None:
        raise NotEstimableError(
            f"none of {len(points)} settings has a score: {trials[0].score.note}",
            "held-out rows with and without the event",
            "hold out more rows",
        )
    top = trials[best_place].score
    if len(points) > 1:
        top = Estimate(
            float(top),
            name=top.name,
            lower=top.lower,
            upper=top.upper,
            se=top.se,
            n=top.n,
            events=top.events,
            level=top.level,
            method=top.method,
            note=notes(top.note, _OPTIMISTIC),
        )
    return HoldoutSearch(
        best_estimator=best,
        best_params=trials[best_place].params,
        best_score=top,
        trials=tuple(trials),
        n_train=y.size,
        n_holdout=y_held.size,
        binary=binary,
        larger_is_better=sign > 0,
    )


def _apart(patient: ArrayLike | None, n: int, held: ArrayLike | None, m: int) -> None:
    if patient is None or held is None:
        return
    for values, size in ((patient, n), (held, m)):
        patient_codes(values, size)
    both = len(set(np.asarray(patient).tolist()) & set(np.asarray(held).tolist()))
    if both:
        raise DataError(f"{both} patients have rows in both parts", "patients in one part", "split by patient")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TLearnerSearch:
    """A T-learner whose two outcome models were each chosen on the held-out rows of their arm.

    Parameters
    ----------
    treated, control : HoldoutSearch
    """

    treated: HoldoutSearch
    control: HoldoutSearch

    def __iter__(self) -> Iterator[HoldoutSearch]:
        return iter((self.treated, self.control))

    def counterfactuals(self, X: ArrayLike) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2)."""
        return np.column_stack([self.control.predict(X), self.treated.predict(X)])

    def effect(self, X: ArrayLike, *, T0: int = 0, T1: int = 1) -> FloatArray:
        """Return the effect of `T1` against `T0` on the outcome, shape (n,)."""
        if {T0, T1} - {0, 1}:
            raise DataError("T0 or T1 is neither 0 nor 1", "0 for control, 1 for treated")
        outcomes = self.counterfactuals(X)
        return np.asarray(outcomes[:, T1] - outcomes[:, T0])

    def benefit(self, X: ArrayLike, *, better: Better = "lower") -> FloatArray:
        """Return the effect with the sign that makes benefit positive: the predicted risk reduction of a bad event."""
        return checked_better(better) * self.effect(X)

    def c_for_benefit(
        self, Y: ArrayLike, T: ArrayLike, X: ArrayLike, *, better: Better = "lower", **options: Any
    ) -> Estimate:
        """Return the C-for-benefit of the predicted benefit; optimistic on rows that chose the models.

        Parameters
        ----------
        Y, T, X
            Of a randomised trial; Y is 0/1.
        better : {"lower", "higher"}
        **options
            Handed to `aimed.metrics.c_for_benefit`.
        """
        outcome = "harm" if checked_better(better) < 0 else "good"
        return c_for_benefit(Y, as_arms(T), self.benefit(X, better=better), outcome=outcome, **options)


def t_learner_search(
    build: Build,
    grid: Grid,
    Y: ArrayLike,
    T: ArrayLike,
    X: ArrayLike,
    *,
    holdout: tuple[ArrayLike, ArrayLike, ArrayLike],
    score: Score | None = None,
    larger_is_better: bool | None = None,
    patient: ArrayLike | None = None,
    holdout_patient: ArrayLike | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> TLearnerSearch:
    """Search a grid for the outcome model of each arm on the held-out rows of that arm.

    Parameters
    ----------
    build, grid, score, larger_is_better, progress
        As for `holdout_search`; the same grid serves both arms.
    Y : float array, shape (n,)
    T : 0/1 array, shape (n,)
    X : float array, shape (n, p)
        Without the treatment.
    holdout : (Y, T, X)
        Of the held-out rows.
    patient, holdout_patient : array, optional
        Patients of the rows; none may be in both parts.

    Returns
    -------
    TLearnerSearch

    Raises
    ------
    DataError, NotEstimableError
        As for `holdout_search`, in either arm, or if a part has one arm only.

    Notes
    -----
    Formula: `holdout_search` in the treated and in the controls.
    Assumes: nothing beyond it. A model that predicts the outcome well in each arm need not predict the effect well:
    compare with the constant effect.
    Refuses: as `holdout_search`.

    References
    ----------
    Künzel, Sekhon, Bickel and Yu, PNAS 2019;116:4156 (T-learner).

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(800, 2)), rng.integers(0, 2, 800)
    >>> Y = X[:, 0] * T + rng.normal(size=800)
    >>> found = t_learner_search(DecisionTreeRegressor, {"max_depth": [1, 2], "random_state": [0]}, Y[:600], T[:600],
    ...                          X[:600], holdout=(Y[600:], T[600:], X[600:]))
    >>> bool(found.effect([[2.0, 0.0]])[0] > found.effect([[-2.0, 0.0]])[0])
    True
    """
    y, y_held = vector("Y", Y), vector("Y of the held-out rows", holdout[0])
    columns, held = as_columns(X, n=y.size), as_columns(holdout[2], n=y_held.size)
    arm, arm_held = as_arms(T, y.size), as_arms(holdout[1], y_held.size, name="T of the held-out rows")
    who, who_held = (None if p is None else np.asarray(p) for p in (patient, holdout_patient))
    _apart(patient, y.size, holdout_patient, y_held.size)
    found: dict[bool, HoldoutSearch] = {}
    for k, (active, name) in enumerate(((True, "treated"), (False, "control"))):
        rows, rows_held = arm == active, arm_held == active

        def heard(share: float, what: str, k: int = k, name: str = name) -> None:
            if progress is not None:
                progress((k + share) / 2, f"{name}: {what}")

        found[active] = holdout_search(
            build,
            grid,
            y[rows],
            columns[rows],
            holdout=(y_held[rows_held], held[rows_held]),
            score=score,
            larger_is_better=larger_is_better,
            patient=None if who is None else who[rows],
            holdout_patient=None if who_held is None else who_held[rows_held],
            progress=heard,
        )
    return TLearnerSearch(treated=found[True], control=found[False])
