"""The Aalen-Johansen baseline: the same cumulative incidence for everyone, which a competing-risk model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError
from aimed.fit.recipe import Recipe
from aimed.metrics.competing import aalen_johansen
from aimed.prognosis.competing import as_competing
from aimed.prognosis.curves import bent_line, choose_knots, lines_at, steps_at

__all__ = ["RECIPE", "AalenJohansenBaseline"]


class AalenJohansenBaseline(BaseEstimator):  # type: ignore[misc]
    """Predict the training rows' own cumulative incidence for every row.

    Parameters
    ----------
    cause : int
        Code of the event of interest.
    causes : int, optional
        How many causes are declared; when absent, every code up to the largest must occur.
    step_events : int
        At least so many events stand behind each stored step of the curve.

    Attributes
    ----------
    unique_times_ : float array, shape (t,)
        Distinct times of events of the cause; with ``step_events > 1`` points between them, at most 400.
    incidence_ : float array, shape (t,)
        Chance of an event of the cause up to and at each of them.

    Raises
    ------
    DataError
        If y is no structured array of event code and time.
    NotEstimableError
        If the cause never happens.

    Notes
    -----
    With ``step_events > 1`` the curve is stored as `aimed.prognosis.kaplan_meier.KaplanMeierBaseline` stores its own.

    References
    ----------
    Aalen and Johansen, Scand J Stat 1978;5:141.

    Examples
    --------
    >>> y = np.array([(1, 2.0), (2, 3.0), (1, 4.0), (0, 9.0)], dtype=[("event", int), ("time", float)])
    >>> model = AalenJohansenBaseline().fit(np.zeros((4, 1)), y)
    >>> model.predict_cumulative_incidence(np.zeros((1, 1)), times=[1.0, 2.0, 5.0]).tolist()
    [[0.0, 0.25, 0.5]]
    """

    def __init__(self, cause: int = 1, causes: int | None = None, step_events: int = 1) -> None:
        self.cause = cause
        self.causes = causes
        self.step_events = step_events

    def fit(self, X: Any, y: Any) -> AalenJohansenBaseline:
        """Estimate the curve; of X only the shape is read.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : structured array, shape (n,)
            Event code, 0 to K, and time; see `aimed.prognosis.competing.as_competing`.
        """
        codes, time, _ = as_competing(y, self.cause, self.causes)
        rows, columns = np.shape(X)
        if rows != time.size or not rows:
            raise DataError(f"X has {rows} rows and y {time.size}", "one outcome a row, and at least one row")
        self.n_features_in_ = int(columns)
        times, events = np.unique(time[codes == self.cause], return_counts=True)
        curve = aalen_johansen(codes, time, cause=self.cause).at(times)
        knots = choose_knots(events, self.step_events)
        self.unique_times_, self.incidence_ = times, curve
        if self.step_events > 1:
            self.unique_times_, free = bent_line(times, 1.0 - curve, 1.0, knots)
            self.incidence_ = 1.0 - free
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return 0 for every row: nobody is ranked above another."""
        check_is_fitted(self, "incidence_")
        return np.zeros(np.shape(X)[0])

    def predict_cumulative_incidence(self, X: Any, times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the curve for every row, shape (n, t); at `unique_times_` without times."""
        check_is_fitted(self, "incidence_")
        grid = self.unique_times_ if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        read = steps_at if self.step_events == 1 else lines_at
        return np.tile(read(self.unique_times_, self.incidence_, grid, 0.0), (np.shape(X)[0], 1))

    def to_state(self) -> dict[str, Any]:
        """Return the curve in JSON types."""
        check_is_fitted(self, "incidence_")
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "times": self.unique_times_.tolist(),
            "incidence": self.incidence_.tolist(),
            "columns": self.n_features_in_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AalenJohansenBaseline:
        """Rebuild the fitted baseline from `to_state`."""
        model = cls(**state["parameters"])
        model.unique_times_ = np.asarray(state["times"], dtype=np.float64)
        model.incidence_ = np.asarray(state["incidence"], dtype=np.float64)
        model.n_features_in_ = int(state["columns"])
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> AalenJohansenBaseline:
    # A packaged curve must not tell when a single patient had the event.
    return AalenJohansenBaseline(**{"step_events": 5, **parameters})


RECIPE = Recipe(
    name="aalen_johansen",
    title="Aalen-Johansen",
    description="The same cumulative incidence for everyone, from the training rows.",
    task="competing",
    family="baseline",
    build=_build,
    preparation={"missing": "native", "standardise": False},
    from_state=AalenJohansenBaseline.from_state,
)
"""The catalogue entry ``aalen_johansen``."""
