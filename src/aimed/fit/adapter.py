"""The one adapter between estimators and studies: raw predictor columns in, risks and curves out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, Variable
from aimed.fit.pooled import PooledEstimator
from aimed.fit.prepare import Preparation
from aimed.fit.recipe import Recipe

__all__ = ["FEW_SETS", "Calibrator", "Imputed", "StudyModel", "fewer_sets"]


SMALL = 2_000_000
"""Cells below which a fit runs on one thread."""
FEW_SETS = 3
"""Imputed data sets of a fit that is only compared with others, in tuning and in refits on draws of patients."""

Imputed: TypeAlias = tuple[Preparation, list[NDArray[np.float64]]]
"""A fitted preparation, and the model inputs of every imputed version of the rows it was fitted on."""


def _takes(estimator: Any, name: str) -> bool:
    return name in inspect.signature(estimator.fit).parameters


def fewer_sets(preparation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return preparation options with no more than `FEW_SETS` imputed data sets.

    Examples
    --------
    >>> fewer_sets({"missing": "multiple_imputation"})["imputations"], fewer_sets({"missing": "mean"})
    (3, {'missing': 'mean'})
    """
    options = dict(preparation or {})
    if options.get("missing") == "multiple_imputation":
        options["imputations"] = min(FEW_SETS, int(options.get("imputations", FEW_SETS)))
    return options


class Calibrator(Protocol):
    """A fitted map from risk to risk."""

    def transform(self, risk: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated risks, shape (n,)."""
        ...


class StudyModel:
    """A recipe with its preparation, estimator and calibration, fitted as one.

    Parameters
    ----------
    recipe : Recipe
    variables : sequence of Variable, length p
        Predictors, in the order of the columns of X.
    parameters : mapping
        Estimator parameters.
    preparation : mapping
        Keyword arguments for `Preparation`, on top of the recipe's; a baseline keeps its own, a linear model or
        a network its own way with missing values where "native" is asked, and a tree model where
        "multiple_imputation" is.
    seed : int

    Attributes
    ----------
    preparation, estimator, calibrator
        The fitted parts; ``calibrator`` may be None. With multiple imputation the estimator is a
        `aimed.fit.pooled.PooledEstimator` of one fit a data set.
    n_fitted : int
        Rows the estimator saw; fewer than given when incomplete rows are left out.
    clustered : bool
        Whether the estimator's own errors take a patient's rows as dependent.

    Notes
    -----
    X is float64 of shape (n, p): numbers as they are, categories as codes, NaN where missing. A row the
    preparation cannot complete (complete-case analysis) has NaN as its prediction.
    """

    def __init__(
        self,
        recipe: Recipe,
        variables: Sequence[Variable],
        parameters: Mapping[str, Any] | None = None,
        preparation: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.variables = tuple(variables)
        self.parameters = {**recipe.defaults, **(parameters or {})}
        # A baseline says itself how it wants its inputs: a published formula takes them raw.
        asked = dict(preparation) if preparation and recipe.family != "baseline" else {}
        # A sum of weighted predictors has no way with a missing one; trees have.
        if asked.get("missing") == "native" and recipe.family in ("linear", "network"):
            del asked["missing"]
        if asked.get("missing") == "multiple_imputation":
            asked["random_state"] = seed
            if recipe.family != "linear":
                asked = {k: v for k, v in asked.items() if k not in ("missing", "imputations", "random_state")}
        self.preparation_options = {**recipe.preparation, **asked}
        self.seed = seed
        self.preparation = Preparation(self.variables, **self.preparation_options)
        self.estimator: Any = None
        self.calibrator: Calibrator | None = None
        self.n_fitted = 0
        self.clustered = False

    @classmethod
    def assemble(
        cls,
        recipe: Recipe,
        preparation: Preparation,
        estimator: Any,
        calibrator: Calibrator | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> StudyModel:
        """Put fitted parts together, as a bundle does when it loads them."""
        model = cls(recipe, preparation.variables, parameters)
        model.preparation, model.estimator, model.calibrator = preparation, estimator, calibrator
        model.preparation_options = {k: v for k, v in preparation.get_params().items() if k != "variables"}
        return model

    def impute(self, X: NDArray[np.float64], y: NDArray[Any]) -> Imputed:
        """Return what `fit` makes of the rows before it fits, to share it between models that are prepared alike."""
        preparation = Preparation(self.variables, **self.preparation_options)
        return preparation, list(preparation.fit_versions(X, y))

    def fit(
        self,
        X: NDArray[np.float64],
        y: NDArray[Any],
        imputed: Imputed | None = None,
        patient: NDArray[Any] | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> StudyModel:
        """Fit preparation and estimator on the rows given, and on nothing else.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : array, shape (n,)
        imputed : optional
            For multiple imputation, the result of `impute` on the same rows, where it is at hand.
        patient : array, shape (n,), optional
            Where patients have several rows, an estimator that can makes its errors robust to that: `clustered`;
            and one that holds rows out to know when to stop, as networks do, keeps a patient on one side.
        checkpoint : path, optional
            Folder that keeps the training of an estimator that takes one; one that was stopped goes on from there.
        progress : callable, optional
            ``progress(share, text)``, for an estimator that tells.
        """
        if self.preparation.imputes:
            return self._fit_versions(X, y, imputed, patient)
        self.preparation = Preparation(self.variables, **self.preparation_options).fit(X, y)
        Z = self.preparation.transform(X)
        rows = self._usable(Z)
        if not rows.any():
            raise DataError(
                "no row has every predictor",
                "at least one complete row",
                "choose [predictors] missing = 'mean_indicators'",
            )
        target = y[rows]
        self._two_classes(target)
        self.n_fitted = int(rows.sum())
        estimator, named = self._unfitted()
        named |= self._cluster(estimator, None if patient is None else patient[rows])
        asked = {"checkpoint": checkpoint, "progress": progress}
        named |= {name: given for name, given in asked.items() if given is not None and _takes(estimator, name)}
        # Thread teams cost more than they bring on small tables.
        with threadpool_limits(1 if Z.size < SMALL else None):
            self.estimator = estimator.fit(Z if rows.all() else Z[rows], target, **named)
        return self

    def _fit_versions(
        self, X: NDArray[np.float64], y: NDArray[Any], imputed: Imputed | None, patient: NDArray[Any] | None
    ) -> StudyModel:
        self._two_classes(y)
        self.n_fitted = X.shape[0]
        versions: Iterable[NDArray[np.float64]]
        if imputed is not None:
            self.preparation, versions = imputed
        else:
            self.preparation = Preparation(self.variables, **self.preparation_options)
            versions = self.preparation.fit_versions(X, y)
        estimator, named = self._unfitted()
        named |= self._cluster(estimator, patient)
        with threadpool_limits(1 if X.size < SMALL else None):
            self.estimator = PooledEstimator(estimator).fit(versions, y, **named)
        return self

    def _unfitted(self) -> tuple[Any, dict[str, Any]]:
        """Return the estimator, told which inputs are codes of categories, and what else its fit takes."""
        estimator = self.recipe.build(self.parameters, self.seed)
        if not _takes(estimator, "feature_names"):
            return estimator, {}
        nominal = self.preparation.nominal_features_
        if nominal and "categorical_features" in estimator.get_params(deep=False):
            estimator.set_params(categorical_features=nominal)
        return estimator, {"feature_names": self.preparation.feature_names_out_}

    def _cluster(self, estimator: Any, patient: NDArray[Any] | None) -> dict[str, Any]:
        """Return the patients for an estimator that can take their rows as dependent, where some have several."""
        codes = None if patient is None else np.unique(patient, return_inverse=True)[1]
        repeated = codes is not None and int(codes.max()) + 1 < codes.size
        self.clustered = repeated and _takes(estimator, "cluster")
        return {name: codes for name in ("cluster", "groups") if repeated and _takes(estimator, name)}

    def _two_classes(self, target: NDArray[Any]) -> None:
        if self.recipe.task == "binary" and np.unique(target).size < 2:
            raise NotEstimableError(
                f"the {target.size} rows to fit on have one class only", "rows with and without the outcome"
            )

    def _usable(self, Z: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self.preparation.passes_missing:
            return np.ones(Z.shape[0], dtype=bool)
        return np.asarray(np.isfinite(Z).all(axis=1))

    def inputs(self, X: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.intp] | slice, NDArray[np.float64]]]:
        """Yield rows that can be predicted, with what the estimator takes for them.

        Parameters
        ----------
        X : float array, shape (n, p)

        Yields
        ------
        rows : int array of shape (r,), or slice(None) for all rows
        Z : float array, shape (r, f); with multiple imputation (m, r, f) for rows with missing values
        """
        if not self.preparation.imputes:
            Z = self.preparation.transform(X)
            usable = self._usable(Z)
            if usable.all():
                yield slice(None), Z
            elif usable.any():
                yield np.flatnonzero(usable), Z[usable]
            return
        gaps = np.isnan(np.asarray(X, dtype=np.float64)).any(axis=1)
        if not gaps.any():
            yield slice(None), self.preparation.transform(X)
            return
        if not gaps.all():
            yield np.flatnonzero(~gaps), self.preparation.transform(X[~gaps])
        yield from self.preparation.versions(X, np.flatnonzero(gaps))

    def _predict(
        self, X: NDArray[np.float64], call: Callable[[NDArray[np.float64]], NDArray[np.float64]], width: int = 0
    ) -> NDArray[np.float64]:
        out = np.full((X.shape[0], width) if width else X.shape[0], np.nan)
        for rows, Z in self.inputs(X):
            if isinstance(rows, slice):
                return np.asarray(call(Z), dtype=np.float64)
            out[rows] = call(Z)
        return out

    @property
    def imputation(self) -> dict[str, Any] | None:
        """What multiple imputation did, for the results; None where there was none.

        ``sets``, ``rounds``, ``rows`` of ``n`` that were incomplete, ``columns`` (missing values by variable), and the
        ``largest_fmi`` of the coefficients with its ``term``; None where no coefficient has an interval.
        """
        imputer = self.preparation.imputer_ if self.preparation.imputes else None
        if imputer is None or not isinstance(self.estimator, PooledEstimator):
            return None
        table = self.estimator.coefficient_table(self.preparation.feature_names_out_)
        known = [row for row in table if row.get("fmi") is not None]
        worst = max(known, key=lambda row: float(row["fmi"]), default=None)
        return {
            "sets": imputer.imputations,
            "rounds": imputer.rounds,
            "rows": imputer.n_incomplete_rows_,
            "n": self.n_fitted,
            "columns": dict(imputer.incomplete_),
            "largest_fmi": None if worst is None else worst["fmi"],
            "term": None if worst is None else worst["term"],
        }

    def raw_risk(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the estimator's own probability before calibration, shape (n,); binary outcomes only."""
        return self._predict(X, lambda Z: self.estimator.predict_proba(Z)[:, 1])

    def score(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what ranks patients, shape (n,): the risk for binary, the linear or risk score for survival.

        With competing events it is the incidence at the recipe's horizon, where it has one.
        """
        if self.recipe.task == "binary":
            return self.risk(X)[:, 0]
        if self.recipe.task == "competing" and self.recipe.horizon is not None:
            # A high hazard of the cause is no high risk of it where another event comes first.
            return self.risk(X, [self.recipe.horizon])[:, 0]
        return self._predict(X, self.estimator.predict)

    def risk(self, X: NDArray[np.float64], horizons: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return probabilities of the outcome, shape (n, 1) for binary or (n, h) at the horizons."""
        if self.recipe.task == "binary":
            risk = self.raw_risk(X)
            if self.calibrator is not None:
                known = np.isfinite(risk)
                risk[known] = self.calibrator.transform(risk[known])
            return risk[:, None]
        if horizons is None:
            raise DataError("no horizon", "horizons for a survival risk", "give horizons=[...]")
        return 1.0 - self.survival(X, horizons)

    def survival(self, X: NDArray[np.float64], times: ArrayLike) -> NDArray[np.float64]:
        """Return the chance of being free of the event by each time, shape (n, t); not for binary outcomes.

        With competing events it is 1 less the incidence of the cause of interest: those who had another event are
        free of it.
        """
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if self.recipe.task == "competing":
            return 1.0 - self._predict(X, lambda Z: self._incidence(Z, grid), width=grid.size)
        return self._predict(X, lambda Z: self.estimator.predict_survival_function(Z, times=grid), width=grid.size)

    def _incidence(self, Z: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.asarray(self.estimator.predict_cumulative_incidence(Z, times=grid), dtype=np.float64)
        return np.clip(found[:, :, 0] if found.ndim == 3 else found, 0.0, 1.0)
