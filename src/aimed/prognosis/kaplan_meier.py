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
from aimed.prognosis.curves import (
    LineFunction,
    StepFunction,
    as_survival,
    bent_line,
    choose_knots,
    lines_at,
    steps_at,
)

__all__ = ["RECIPE", "KaplanMeierBaseline"]


class KaplanMeierBaseline(BaseEstimator):  # type: ignore[misc]
    """Predict the training rows' own survival curve for every row.

    Parameters
    ----------
    step_events : int
        At least so many events stand behind each stored step of the curve.

    Attributes
    ----------
    unique_times_ : float array, shape (t,)
        Distinct event times; with ``step_events > 1`` points between them, at most 400.
    survival_ : float array, shape (t,)
        Probability of no event up to and at each of them.

    Raises
    ------
    DataError
        If y is not a structured array of event and time.
    StudyFileError
        If `step_events` is not an integer of at least 1.

    Notes
    -----
    The plain curve tells the event time of every patient. With ``step_events > 1`` it is kept only at knots that
    have so many events between them and rounded to six significant digits, as in `aimed.prognosis.cox.CoxPH`, and
    read as straight from (0, 1) through the points of `aimed.prognosis.curves.bent_line`.

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

    def __init__(self, step_events: int = 1) -> None:
        self.step_events = step_events

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
        times, deaths = np.unique(time[event], return_counts=True)
        at_risk = time.size - np.searchsorted(np.sort(time), times, side="left")
        curve = np.cumprod(1.0 - deaths / at_risk, dtype=np.float64)
        knots = choose_knots(deaths, self.step_events)
        self.unique_times_, self.survival_ = times, curve
        if self.step_events > 1:
            self.unique_times_, self.survival_ = bent_line(times, curve, 1.0, knots)
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
            shape = StepFunction if self.step_events == 1 else LineFunction
            out[:] = [shape(self.unique_times_, self.survival_, 1.0) for _ in range(n)]
            return out
        grid = self.unique_times_ if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        read = steps_at if self.step_events == 1 else lines_at
        return np.tile(read(self.unique_times_, self.survival_, grid, 1.0), (n, 1))

    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C, which is one half."""
        from aimed.metrics.concordance import harrell_c

        event, time = as_survival(y)
        return float(harrell_c(event, time, self.predict(X)))

    def to_state(self) -> dict[str, Any]:
        """Return the curve in JSON types."""
        check_is_fitted(self, "survival_")
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "times": self.unique_times_.tolist(),
            "survival": self.survival_.tolist(),
            "columns": self.n_features_in_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> KaplanMeierBaseline:
        """Rebuild the fitted baseline from `to_state`."""
        model = cls(**state.get("parameters", {}))
        model.unique_times_ = np.asarray(state["times"], dtype=np.float64)
        model.survival_ = np.asarray(state["survival"], dtype=np.float64)
        model.n_features_in_ = int(state["columns"])
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> KaplanMeierBaseline:
    # A packaged curve must not tell when a single patient had the event.
    return KaplanMeierBaseline(**{"step_events": 5, **parameters})


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
