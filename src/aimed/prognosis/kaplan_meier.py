"""The Kaplan-Meier baseline: the same survival curve for everyone, which a model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError
from aimed.fit.recipe import Recipe
from aimed.prognosis.curves import StepFunction, as_survival, steps_at

__all__ = ["RECIPE", "KaplanMeierBaseline"]


class KaplanMeierBaseline(BaseEstimator):  # type: ignore[misc]
    """Predict the training rows' own survival curve for every row.

    Attributes
    ----------
    unique_times_ : float array, shape (t,)
        Distinct event times.
    survival_ : float array, shape (t,)
        Probability of no event up to and at each of them.

    Raises
    ------
    DataError
        If y is not a structured array of event and time.

    References
    ----------
    Kaplan and Meier, J Am Stat Assoc 1958.

    Examples
    --------
    >>> y = np.array([(True, 2.0), (False, 3.0), (True, 4.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> model = KaplanMeierBaseline().fit(np.zeros((4, 1)), y)
    >>> model.predict_survival_function(np.zeros((1, 1)), times=[1.0, 2.0, 5.0]).tolist()
    [[1.0, 0.75, 0.375]]
    """

    def fit(self, X: Any, y: Any) -> KaplanMeierBaseline:
        """Estimate the curve; of X only the shape is read.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : structured array, shape (n,)
        """
        event, time = as_survival(y)
        rows, columns = np.shape(X)
        if rows != time.size or not rows:
            raise DataError(f"X has {rows} rows and y {time.size}", "one outcome a row, and at least one row")
        self.n_features_in_ = int(columns)
        self.unique_times_, deaths = np.unique(time[event], return_counts=True)
        at_risk = time.size - np.searchsorted(np.sort(time), self.unique_times_, side="left")
        self.survival_: NDArray[np.float64] = np.cumprod(1.0 - deaths / at_risk, dtype=np.float64)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return 0 for every row: nobody is ranked above another."""
        check_is_fitted(self, "survival_")
        return np.zeros(np.shape(X)[0])

    def predict_survival_function(self, X: Any, times: ArrayLike | None = None, return_array: bool = False) -> Any:
        """Return the curve for every row: shape (n, t), or n functions of time without times."""
        check_is_fitted(self, "survival_")
        n = np.shape(X)[0]
        if times is None and not return_array:
            out = np.empty(n, dtype=object)
            out[:] = [StepFunction(self.unique_times_, self.survival_, 1.0) for _ in range(n)]
            return out
        grid = self.unique_times_ if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        return np.tile(steps_at(self.unique_times_, self.survival_, grid, 1.0), (n, 1))

    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C, which is one half."""
        from aimed.metrics.survival import harrell_c

        event, time = as_survival(y)
        return float(harrell_c(event, time, self.predict(X)))

    def to_state(self) -> dict[str, Any]:
        """Return the curve in JSON types."""
        check_is_fitted(self, "survival_")
        return {
            "schema": 1,
            "times": self.unique_times_.tolist(),
            "survival": self.survival_.tolist(),
            "columns": self.n_features_in_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> KaplanMeierBaseline:
        """Rebuild the fitted baseline from `to_state`."""
        model = cls()
        model.unique_times_ = np.asarray(state["times"], dtype=np.float64)
        model.survival_ = np.asarray(state["survival"], dtype=np.float64)
        model.n_features_in_ = int(state["columns"])
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> KaplanMeierBaseline:
    return KaplanMeierBaseline(**parameters)


RECIPE = Recipe(
    name="kaplan_meier",
    title="Kaplan-Meier",
    description="The same survival curve for everyone, from the training rows.",
    task="survival",
    family="baseline",
    build=_build,
    preparation={"missing": "native", "standardise": False},
    from_state=KaplanMeierBaseline.from_state,
)
"""The catalogue entry ``kaplan_meier``."""
