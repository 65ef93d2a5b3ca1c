"""What every learner of individual effects is: EconML's verbs, checked input, half-samples, plain storage."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core.errors import DataError, NotEstimableError, StudyFileError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes, vector
from aimed.metrics.result import normal_quantile
from aimed.treatment.arms import as_arms
from aimed.treatment.base_learners import one_thread
from aimed.treatment.nuisances import Nuisances, as_columns, is_binary, known_chance

__all__ = ["EffectLearner", "Part", "Rows", "half_samples", "knows_its_error"]

Parts = dict[str, Any]

HALF_SAMPLES = "half-samples of patients"
POSTERIOR = "posterior of the Gaussian process"
SANDWICH = "sandwich, with what the penalty may hide"


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked input of a fit; `chance` is the known chance of treatment, `codes` the number of each row's patient."""

    y: FloatArray
    arm: NDArray[np.bool_]
    X: FloatArray
    W: FloatArray | None
    chance: FloatArray | None
    codes: IntArray | None
    nuisances: Nuisances | None
    binary: bool

    @property
    def repeated(self) -> bool:
        """Whether some patient has several rows."""
        return self.codes is not None and int(self.codes.max()) + 1 < self.codes.size

    @property
    def columns(self) -> FloatArray:
        """X and W side by side."""
        return self.X if self.W is None else np.column_stack([self.X, self.W])


@runtime_checkable
class Part(Protocol):
    """A fitted piece of a learner that writes itself down in JSON types."""

    def to_state(self) -> dict[str, Any]:
        """Return the piece as JSON types, with its class under ``"kind"``."""


def knows_its_error(model: Any) -> bool:
    """Say whether a base learner can tell the standard deviation of its own mean.

    Examples
    --------
    >>> from aimed.treatment.base_learners import effect_model
    >>> knows_its_error(effect_model("gaussian_process")), knows_its_error(effect_model("linear"))
    (True, False)
    """
    return hasattr(model, "std_of_mean") and "return_std" in inspect.signature(model.predict).parameters


def half_samples(
    arm: NDArray[np.bool_], codes: IntArray | None, draws: int, seed: int | None
) -> Iterator[NDArray[np.bool_]]:
    """Return draws of half the patients, without replacement and within each arm, as masks of rows.

    An estimate from half the patients strays from the whole one as far as the whole one strays from the truth, where
    the error falls with the root of the number of patients.

    Parameters
    ----------
    arm : bool array, shape (n,)
    codes : int array, shape (n,), optional
        Number of each row's patient.
    draws : int
    seed : int, optional

    References
    ----------
    Politis, Romano and Wolf, Subsampling, 1999; Athey, Tibshirani and Wager, Ann Stat 2019;47:1148 (half-samples).

    Examples
    --------
    >>> arm = np.array([True, True, False, False])
    >>> [int(half.sum()) for half in half_samples(arm, None, 2, 0)]
    [2, 2]
    """
    stratum = arm.astype(np.int64)
    if codes is not None:
        of_patient = np.zeros(int(codes.max()) + 1, dtype=np.int64)
        np.maximum.at(of_patient, codes, stratum)
        stratum = of_patient
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        order = rng.permutation(stratum.size)
        order = order[np.argsort(stratum[order], kind="stable")]
        drawn = np.zeros(stratum.size, dtype=bool)
        drawn[order[int(rng.integers(2)) :: 2]] = True
        yield drawn if codes is None else drawn[codes]


class EffectLearner(BaseEstimator):  # type: ignore[misc]
    """Base of the learners of individual effects: the effect is E[Y(1) - Y(0) | X] on the scale of Y.

    A subclass fits `parts_`, named fitted pieces, and says in `_combine` how they make an effect; with `replicates_`,
    the same pieces fitted on half-samples, it has intervals.

    Attributes
    ----------
    interval_method_ : str
        How intervals are made, or why there are none.
    parts_ : dict of str to fitted piece
    replicates_ : list of such dicts
    n_features_in_ : int
    n_, n_patients_ : int
        Rows and patients it was fitted on.
    binary_ : bool
        Whether the outcome was 0/1.
    """

    accepts_w: ClassVar[bool] = True
    """Whether covariates that are no effect modifiers have a place in the learner."""

    def fit(
        self,
        Y: ArrayLike,
        T: ArrayLike,
        *,
        X: ArrayLike,
        W: ArrayLike | None = None,
        patient: ArrayLike | None = None,
        propensity: ArrayLike | float | None = None,
        nuisances: Nuisances | None = None,
    ) -> Self:
        """Fit the learner.

        Parameters
        ----------
        Y : float array, shape (n,)
            Outcome: 0/1, continuous, or a pseudo-outcome of time to event.
        T : array, shape (n,)
            1 treated, 0 not.
        X : float array, shape (n, p)
            Effect modifiers.
        W : float array, shape (n, q), optional
            Further covariates to adjust for.
        patient : array, shape (n,), optional
            Rows of one patient are dependent.
        propensity : float or array, shape (n,), optional
            Known chance of treatment, as in a trial.
        nuisances : Nuisances, optional
            Fitted before on the same rows and shared between learners.

        Raises
        ------
        DataError
            If arrays do not fit together, hold NaN, or X is no table of numbers.
        NotEstimableError
            If an arm is empty.
        """
        y = vector("Y", Y)
        arm = as_arms(T, y.size)
        modifiers = as_columns(X, None, y.size)
        if W is not None and not self.accepts_w:
            raise StudyFileError(
                f"{type(self).__name__} has no place for covariates that are no effect modifiers (W)",
                "W = None",
                "put their columns into X, or use the r_learner or the dr_learner",
            )
        further = None if W is None else as_columns(W, None, y.size)
        codes = None if patient is None else patient_codes(patient, y.size)
        if nuisances is not None and nuisances.mu0.size != y.size:
            raise DataError(f"nuisances of {nuisances.mu0.size} rows for {y.size} rows", "those of the same rows")
        if nuisances is not None and codes is None:
            codes = nuisances.patient
        chance = None if propensity is None else known_chance(propensity, y.size)
        if chance is None and nuisances is not None and nuisances.known_propensity:
            chance = nuisances.propensity
        rows = Rows(y, arm, modifiers, further, chance, codes, nuisances, is_binary(y))
        self.n_, self.n_features_in_, self.binary_ = y.size, modifiers.shape[1], rows.binary
        self.n_patients_ = y.size if codes is None else int(codes.max()) + 1
        self.replicates_: list[Parts] = []
        with one_thread():
            self.parts_, self.interval_method_ = self._fit(rows)
        return self

    @abstractmethod
    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        """Fit the pieces; return them and how intervals are made, or why there are none."""

    @abstractmethod
    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        """Return the effect that the pieces make."""

    def _refit(self, rows: Rows, pieces: Callable[[NDArray[np.bool_], int], Parts]) -> str:
        """Fit the pieces on half-samples, where asked for, and return how intervals are made.

        Raises
        ------
        StudyFileError
            If ``n_bootstraps`` is neither 0 nor at least 10.
        """
        draws = int(self.n_bootstraps)
        if draws and draws < 10:
            raise StudyFileError(f"n_bootstraps = {draws}", "0 for no intervals, or at least 10 refits")
        halves = half_samples(rows.arm, rows.codes, draws, self.random_state)
        self.replicates_ = [pieces(half, number) for number, half in enumerate(halves)]
        return HALF_SAMPLES if draws else ""

    # ------------------------------------------------------------------------------------------------- the verbs

    def _new(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self, "parts_")
        table = as_columns(X)
        if table.shape[1] != self.n_features_in_:
            raise DataError(f"X has {table.shape[1]} columns", f"{self.n_features_in_}, as in the fit")
        return table

    def const_marginal_effect(self, X: ArrayLike) -> FloatArray:
        """Return the effect of treatment on each row, shape (n,)."""
        table = self._new(X)
        with one_thread():
            return self._combine(self.parts_, table)

    def effect(self, X: ArrayLike, *, T0: ArrayLike = 0, T1: ArrayLike = 1) -> FloatArray:
        """Return the effect of going from T0 to T1, shape (n,): Y(1) - Y(0) as they stand.

        Parameters
        ----------
        X : float array, shape (n, p)
        T0, T1 : 0 or 1, or arrays of them, shape (n,)
        """
        return self.const_marginal_effect(X) * _step(T0, T1)

    def effect_interval(
        self, X: ArrayLike, *, T0: ArrayLike = 0, T1: ArrayLike = 1, alpha: float = 0.05
    ) -> tuple[FloatArray, FloatArray]:
        """Return the limits of each row's effect, each of shape (n,); pointwise, coverage 1 - alpha.

        Raises
        ------
        NotEstimableError
            If the learner has no intervals; the message says why.
        """
        table = self._new(X)
        with one_thread():
            middle = self._combine(self.parts_, table)
            half = normal_quantile(1 - alpha) * self._errors(table)
        one, other = (middle - half) * _step(T0, T1), (middle + half) * _step(T0, T1)
        return np.minimum(one, other), np.maximum(one, other)

    def ate(self, X: ArrayLike) -> float:
        """Return the mean effect over the rows of X."""
        return float(self.const_marginal_effect(X).mean())

    def ate_interval(self, X: ArrayLike, *, alpha: float = 0.05) -> tuple[float, float]:
        """Return the limits of the mean effect over the rows of X, which are held fixed.

        Raises
        ------
        NotEstimableError
            If the learner has no intervals; the message says why.
        """
        table = self._new(X)
        with one_thread():
            middle = float(self._combine(self.parts_, table).mean())
            half = normal_quantile(1 - alpha) * self._error_of_mean(table)
        return middle - half, middle + half

    def _draws(self, X: FloatArray) -> FloatArray:
        if not self.replicates_:
            raise NotEstimableError(
                self.interval_method_ or "the learner was fitted without refits",
                "a learner with intervals",
                "fit it with n_bootstraps of 50 or so",
            )
        return np.array([self._combine(parts, X) for parts in self.replicates_]) - self._combine(self.parts_, X)

    def _errors(self, X: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt((self._draws(X) ** 2).mean(axis=0)))

    def _error_of_mean(self, X: FloatArray) -> float:
        return float(np.sqrt((self._draws(X).mean(axis=1) ** 2).mean()))

    # ------------------------------------------------------------------------------------------------- storage

    def _all_parts(self) -> Iterator[tuple[str, Parts]]:
        yield "main", self.parts_
        for number, parts in enumerate(self.replicates_):
            yield f"half{number:03d}", parts

    def estimators(self) -> dict[str, Any]:
        """Return the fitted scikit-learn pieces, which `to_state` leaves out, by name."""
        check_is_fitted(self, "parts_")
        found = {f"param.{k}": v for k, v in self.get_params(deep=False).items() if not _plain(v)}
        for where, parts in self._all_parts():
            found |= {f"{where}.{k}": v for k, v in parts.items() if not _plain(v) and not isinstance(v, Part)}
        return found

    def to_state(self) -> dict[str, Any]:
        """Return the fitted learner in JSON types, without what `estimators` returns."""
        check_is_fitted(self, "parts_")
        return {
            "learner": type(self).__name__,
            "params": {k: v for k, v in self.get_params(deep=False).items() if _plain(v)},
            "n": int(self.n_),
            "n_patients": int(self.n_patients_),
            "n_features": int(self.n_features_in_),
            "binary": bool(self.binary_),
            "interval_method": self.interval_method_,
            "halves": len(self.replicates_),
            "parts": {
                where: {k: v.to_state() if isinstance(v, Part) else v for k, v in parts.items() if _kept(v)}
                for where, parts in self._all_parts()
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], estimators: Mapping[str, Any]) -> Self:
        """Return the learner that `to_state` and `estimators` wrote down; its effects have the same bits.

        Raises
        ------
        DataError
            If the state is another learner's.
        """
        if state.get("learner") != cls.__name__:
            raise DataError(f"the state is not one of {cls.__name__}", "the state of the same learner")
        params = dict(state["params"])
        params |= {k.removeprefix("param."): v for k, v in estimators.items() if k.startswith("param.")}
        learner = cls(**params)
        learner.n_, learner.n_patients_ = int(state["n"]), int(state["n_patients"])
        learner.n_features_in_, learner.binary_ = int(state["n_features"]), bool(state["binary"])
        learner.interval_method_ = str(state["interval_method"])
        found = []
        for where in ("main", *(f"half{number:03d}" for number in range(int(state["halves"])))):
            parts = {k: _rebuilt(v) for k, v in state["parts"].get(where, {}).items()}
            parts |= {k.partition(".")[2]: v for k, v in estimators.items() if k.partition(".")[0] == where}
            found.append(parts)
        learner.parts_, learner.replicates_ = found[0], found[1:]
        return learner


def _step(T0: ArrayLike, T1: ArrayLike) -> FloatArray:
    before, after = np.asarray(T0, dtype=np.float64), np.asarray(T1, dtype=np.float64)
    if not (np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all()):
        raise DataError("T0 or T1 is neither 0 nor 1", "0 untreated, 1 treated")
    return np.asarray(after - before)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _kept(value: Any) -> bool:
    return _plain(value) or isinstance(value, Part)


def _rebuilt(value: Any) -> Any:
    if isinstance(value, dict) and "kind" in value:
        from aimed.treatment.pieces import PIECES

        return PIECES[value["kind"]].from_state(value)
    return value
