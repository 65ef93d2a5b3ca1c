"""A published risk formula as a model, so that new candidates are compared with what is in use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe, Task
from aimed.prognosis.coefficients import coefficient_rows
from aimed.prognosis.curves import as_matrix, as_survival

__all__ = ["PublishedFormula", "published_recipe"]


class PublishedFormula(BaseEstimator):  # type: ignore[misc]
    """A formula with fixed weights; fitting checks the number of columns and learns nothing.

    Parameters
    ----------
    coefficients : mapping of str to float
        Column, or ``"column=level"``, → weight, in the order of the columns of X.
    intercept : float
    link : {"logit", "cox"}
    baseline_survival : mapping of float to float, optional
        Time → published baseline survival at that time, for ``"cox"``.
    mean_linear_predictor : float
        Subtracted from the linear predictor before the baseline is applied.
    source : str
        Citation.

    Notes
    -----
    Logit: risk = 1 / (1 + exp(-lp)). Cox: S(t) = S0(t) ^ exp(lp - mean); between published times the hazard
    is taken as constant, and beyond the last one there is no answer.

    Raises
    ------
    DataError
        If X has another number of columns than the formula.
    NotEstimableError
        If survival is asked for without a baseline, or beyond its last time.

    Examples
    --------
    >>> model = PublishedFormula({"age": 0.1}, intercept=-6.0, source="Author, Journal 2020")
    >>> model.fit([[60.0]], [0]).predict_proba([[60.0]]).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        coefficients: Mapping[str, float],
        intercept: float = 0.0,
        link: str = "logit",
        baseline_survival: Mapping[float, float] | None = None,
        mean_linear_predictor: float = 0.0,
        source: str = "",
    ) -> None:
        self.coefficients = coefficients
        self.intercept = intercept
        self.link = link
        self.baseline_survival = baseline_survival
        self.mean_linear_predictor = mean_linear_predictor
        self.source = source

    def fit(self, X: Any, y: Any = None) -> PublishedFormula:
        """Check that X has one column a weight; y is not used."""
        values, _ = as_matrix(X, len(self.coefficients))
        self.n_features_in_ = values.shape[1]
        self.coef_ = np.array([float(w) for w in self.coefficients.values()])
        self.classes_ = np.array([0, 1])
        if self.baseline_survival:
            self._baseline()
        return self

    def _baseline(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.baseline_survival:
            raise NotEstimableError(
                "the published formula has no baseline survival", "S0 at one time at least", "give baseline_survival"
            )
        pairs = sorted((float(t), float(s)) for t, s in self.baseline_survival.items())
        times = np.array([0.0] + [t for t, _ in pairs])
        survival = np.array([1.0] + [s for _, s in pairs])
        if (np.diff(times) <= 0).any() or (survival <= 0).any() or (np.diff(survival) > 0).any():
            raise StudyFileError(
                "the published baseline survival is not a curve", "times > 0 and falling values in (0, 1]"
            )
        return times, -np.log(survival)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the linear predictor with its intercept, shape (n,)."""
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_)
        return np.asarray(values @ self.coef_ + self.intercept)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return probabilities of no event and event, shape (n, 2); logit formulas only."""
        if self.link != "logit":
            raise DataError("a Cox formula has no single risk", "a horizon", "use predict_survival_function")
        logit = self.decision_function(X)
        return np.column_stack((special.expit(-logit), special.expit(logit)))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the class for a logit formula, the linear predictor (higher is worse) for a Cox formula."""
        value = self.decision_function(X)
        return (value > 0).astype(np.int64) if self.link == "logit" else value

    def predict_survival_function(self, X: Any, times: ArrayLike) -> NDArray[np.float64]:
        """Return survival probabilities, shape (n, t), at the times given; Cox formulas only."""
        if self.link != "cox":
            raise DataError("a logit formula has no survival curve", "link = 'cox'")
        known, hazard = self._baseline()
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        beyond = int((~(grid <= known[-1])).sum())
        if beyond:
            raise NotEstimableError(
                f"{beyond} of {grid.size} times lie beyond the published baseline survival",
                f"times up to {known[-1]:g}",
                "choose nearer horizons, or give baseline_survival for later times",
            )
        relative = np.exp(self.decision_function(X) - self.mean_linear_predictor)
        return np.asarray(np.exp(-relative[:, None] * np.interp(grid, known, hazard)))

    def predict_cumulative_incidence(self, X: Any, times: ArrayLike) -> NDArray[np.float64]:
        """Return 1 less `predict_survival_function`: with competing events a Cox formula is Fine and Gray's."""
        return 1.0 - self.predict_survival_function(X, times)

    def score(self, X: Any, y: Any) -> float:
        """Return accuracy for a logit formula, Harrell's C for a Cox formula."""
        if self.link == "logit":
            return float(np.mean(self.predict(X) == np.asarray(y)))
        from aimed.metrics.concordance import harrell_c

        event, time = as_survival(y)
        return float(harrell_c(event, time, self.predict(X)))

    def coefficient_table(self, feature_names: Any = None) -> list[dict[str, Any]]:
        """Return the published weights; intervals are not part of the formula."""
        note = f"published weight: {self.source}"
        return coefficient_rows(list(self.coefficients), list(self.coefficients.values()), None, 0.95, note)

    def to_state(self) -> dict[str, Any]:
        """Return the formula in JSON types."""
        baseline = self.baseline_survival
        return {
            "schema": 1,
            "coefficients": [[name, float(weight)] for name, weight in self.coefficients.items()],
            "intercept": float(self.intercept),
            "link": self.link,
            "baseline_survival": [[float(t), float(s)] for t, s in baseline.items()] if baseline else None,
            "mean_linear_predictor": float(self.mean_linear_predictor),
            "source": self.source,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PublishedFormula:
        """Rebuild the formula from `to_state`, ready to predict."""
        options = {key: value for key, value in state.items() if key != "schema"}
        options["coefficients"] = dict(state["coefficients"])
        options["baseline_survival"] = dict(state["baseline_survival"]) if state["baseline_survival"] else None
        model = cls(**options)
        return model.fit(np.zeros((1, len(options["coefficients"]))))


def _times_of(name: str, baseline: Any) -> dict[float, float]:
    try:
        return {float(t): float(s) for t, s in baseline.items()}
    except (AttributeError, TypeError, ValueError):
        raise StudyFileError(
            f"the baseline survival of '{name}' has no times", "a table of time and survival", "write { 365 = 0.95 }"
        ) from None


def _build(parameters: Mapping[str, Any], seed: int, *, formula: Mapping[str, Any]) -> PublishedFormula:
    return PublishedFormula(**{**formula, **parameters})


def published_recipe(
    name: str,
    source: str,
    intercept: float,
    coefficients: Mapping[str, float],
    link: str = "logit",
    baseline_survival: Mapping[Any, float] | None = None,
    mean_linear_predictor: float = 0.0,
    task: Task | None = None,
    title: str | None = None,
    nonlinear: Mapping[str, str] | None = None,
    horizon: float | None = None,
) -> Recipe:
    """Make a recipe of a published formula that works on raw predictors.

    Parameters
    ----------
    name : str
        Catalogue name.
    source : str
        Citation; required.
    intercept : float
    coefficients : mapping of str to float
        Column, ``"column=level"``, or a transformed column such as ``"log(bili)"``, → weight for one unit.
    link : {"logit", "cox"}
    baseline_survival, mean_linear_predictor
        See `PublishedFormula`; times may be text, as keys of a TOML table are.
    task : {"binary", "survival", "competing"}, optional
        Follows from the link; given only to be checked.
    title : str, optional
    nonlinear : mapping of str to str, optional
        Column → transformation that the formula asks for, as in `aimed.fit.prepare.Preparation`.
    horizon : float, optional
        See `aimed.fit.recipe.Recipe`.

    Returns
    -------
    Recipe

    Raises
    ------
    StudyFileError
        If there is no source, no weight, an unknown link, a task that does not fit it, or a baseline without times.

    Examples
    --------
    >>> recipe = published_recipe("rule", "Author, Journal 2020", -6.0, {"age": 0.1, "sex=m": 0.5})
    >>> recipe.task, recipe.preparation["features"]
    ('binary', ('age', 'sex=m'))
    """
    if not source.strip():
        raise StudyFileError(f"the published formula '{name}' has no source", "a citation", "give source = '...'")
    if not coefficients:
        raise StudyFileError(f"the published formula '{name}' has no weights", "at least one")
    tasks: dict[str, tuple[Task, ...]] = {"logit": ("binary",), "cox": ("survival", "competing")}
    if link not in tasks:
        raise StudyFileError(f"link = '{link}'", "'logit' or 'cox'")
    if task is not None and task not in tasks[link]:
        raise StudyFileError(f"task '{task}' with link '{link}'", f"task '{tasks[link][0]}'")
    formula = {
        "coefficients": dict(coefficients),
        "intercept": float(intercept),
        "link": link,
        "baseline_survival": _times_of(name, baseline_survival) if baseline_survival is not None else None,
        "mean_linear_predictor": float(mean_linear_predictor),
        "source": source,
    }
    return Recipe(
        name=name,
        title=title or name,
        description=f"Published formula, used as it stands: {source}.",
        task=task or tasks[link][0],
        horizon=horizon,
        also=tuple(other for other in tasks[link] if other != (task or tasks[link][0])),
        family="baseline",
        build=partial(_build, formula=formula),
        preparation={
            "missing": "mean",
            "standardise": False,
            "encode": "one_hot_full",
            "features": tuple(coefficients),
            "nonlinear": dict(nonlinear) if nonlinear else None,
        },
        from_state=PublishedFormula.from_state,
        ratio_name="odds ratio" if link == "logit" else "hazard ratio",
    )
