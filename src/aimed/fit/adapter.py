"""The one adapter between estimators and studies: raw predictor columns in, risks and curves out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, Variable
from aimed.fit.prepare import Preparation
from aimed.fit.recipe import Recipe

__all__ = ["Calibrator", "StudyModel"]


SMALL = 2_000_000
"""Cells below which a fit runs on one thread."""


def _takes_names(estimator: Any) -> bool:
    return "feature_names" in inspect.signature(estimator.fit).parameters


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
        Keyword arguments for `Preparation`, on top of the recipe's; a baseline keeps its own, and a
        linear model its own way with missing values where "native" is asked.
    seed : int

    Attributes
    ----------
    preparation, estimator, calibrator
        The fitted parts; ``calibrator`` may be None.
    n_fitted : int
        Rows the estimator saw; fewer than given when incomplete rows are left out.

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
        if asked.get("missing") == "native" and recipe.family == "linear":
            del asked["missing"]
        self.preparation_options = {**recipe.preparation, **asked}
        self.seed = seed
        self.preparation = Preparation(self.variables, **self.preparation_options)
        self.estimator: Any = None
        self.calibrator: Calibrator | None = None
        self.n_fitted = 0

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

    def fit(self, X: NDArray[np.float64], y: NDArray[Any]) -> StudyModel:
        """Fit preparation and estimator on the rows given, and on nothing else."""
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
        if self.recipe.task == "binary" and np.unique(target).size < 2:
            raise NotEstimableError(
                f"the {target.size} rows to fit on have one class only", "rows with and without the outcome"
            )
        self.n_fitted = int(rows.sum())
        estimator = self.recipe.build(self.parameters, self.seed)
        named = {"feature_names": self.preparation.feature_names_out_} if _takes_names(estimator) else {}
        # Thread teams cost more than they bring on small tables.
        with threadpool_limits(1 if Z.size < SMALL else None):
            self.estimator = estimator.fit(Z if rows.all() else Z[rows], target, **named)
        return self

    def _usable(self, Z: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self.preparation.passes_missing:
            return np.ones(Z.shape[0], dtype=bool)
        return np.asarray(np.isfinite(Z).all(axis=1))

    def _predict(
        self, X: NDArray[np.float64], call: Callable[[NDArray[np.float64]], NDArray[np.float64]], width: int = 0
    ) -> NDArray[np.float64]:
        Z = self.preparation.transform(X)
        rows = self._usable(Z)
        if rows.all():
            return np.asarray(call(Z), dtype=np.float64)
        out = np.full((X.shape[0], width) if width else X.shape[0], np.nan)
        if rows.any():
            out[rows] = call(Z[rows])
        return out

    def raw_risk(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the estimator's own probability before calibration, shape (n,); binary outcomes only."""
        return self._predict(X, lambda Z: self.estimator.predict_proba(Z)[:, 1])

    def score(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what ranks patients, shape (n,): the risk for binary, the linear or risk score for survival."""
        if self.recipe.task == "binary":
            return self.risk(X)[:, 0]
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
        """Return survival probabilities, shape (n, t), at the times given; survival outcomes only."""
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        return self._predict(X, lambda Z: self.estimator.predict_survival_function(Z, times=grid), width=grid.size)
