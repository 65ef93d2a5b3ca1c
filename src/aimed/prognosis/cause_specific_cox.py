"""Cause-specific Cox models: one for each kind of event, put together to the incidence of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import weights_of
from aimed.prognosis.competing import as_competing, names_of, wolbers_c
from aimed.prognosis.cox import CoxPH, ridge_space
from aimed.prognosis.curves import as_matrix
from aimed.prognosis.kernels.competing import incidences

__all__ = ["RECIPE", "CauseSpecificCox"]

_ROWS = 4096


class CauseSpecificCox(BaseEstimator):  # type: ignore[misc]
    """One Cox model a cause, put together to the cumulative incidence of every cause.

    Parameters
    ----------
    causes : int, optional
        How many causes are declared, K; when absent, every code up to the largest must occur.
    ties : {"efron", "breslow"}
    penalty : float
        Ridge penalty of every model.
    collinear : {"raise", "drop"}
    level : float
    step_events : int
        As in `aimed.prognosis.cox.CoxPH`; above 1 in a model that leaves the house.

    Attributes
    ----------
    models_ : dict of int to CoxPH
        By cause, the other causes censored; a cause that never happens has none.
    causes_ : tuple of int
        Those declared.
    unique_times_ : float array, shape (s,)
        Times of any event, or with ``step_events > 1`` the points of the lines.
    feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    F_k(t|x) sums S(u-|x) dΛ_k(u|x) over event times u, and S(u|x) is the product of 1 - Σ_k dΛ_k(u|x), as in R's
    ``riskRegression::CSC``. Where the hazards of a row add up to more than 1 at one time, they are scaled to 1; so the
    incidences and S always add up to 1. With ``step_events > 1`` hazards are lines and the product is exp(-ΣΛ_k).

    A hazard ratio of one cause does not say how its incidence moves: a predictor may lower the incidence only by
    raising the hazard of another cause. `FineGray` models the incidence itself.

    References
    ----------
    Benichou and Gail, Biometrics 1990;46:813. Ozenne et al., R Journal 2017;9:440 (riskRegression).

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0], [0.0]])
    >>> y = np.array([(1, 9.0), (1, 2.0), (1, 4.0), (2, 6.0), (1, 3.0), (0, 5.0), (2, 1.0)],
    ...              dtype=[("event", int), ("time", float)])
    >>> model = CauseSpecificCox(penalty=1.0).fit(X, y)
    >>> found = model.predict_cumulative_incidence(X[:2], times=[1.0, 5.0])
    >>> found.shape, found.sum(axis=2).round(3).tolist()
    ((2, 2, 2), [[0.14, 0.504], [0.147, 0.678]])
    """

    def __init__(
        self,
        causes: int | None = None,
        ties: str = "efron",
        penalty: float = 0.0,
        collinear: str = "raise",
        level: float = 0.95,
        step_events: int = 1,
    ) -> None:
        self.causes = causes
        self.ties = ties
        self.penalty = penalty
        self.collinear = collinear
        self.level = level
        self.step_events = step_events

    def fit(
        self,
        X: Any,
        y: Any,
        feature_names: Sequence[str] | None = None,
        *,
        entry: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> CauseSpecificCox:
        """Fit a Cox model for every cause.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
        y : structured array, shape (n,)
            Event code, 0 to K, and time; see `as_competing`.
        feature_names : sequence of str, length p, optional
        entry, sample_weight, cluster : arrays, shape (n,), optional
            As in `aimed.prognosis.cox.CoxPH.fit`, for every model: late entry or (entry, time] pieces of a row,
            weights, and rows that depend on each other.
        """
        values, found = as_matrix(X, names=feature_names)
        codes, time, causes = as_competing(y, None, self.causes)
        if values.shape[0] != time.size:
            raise DataError(f"X has {values.shape[0]} rows and y {time.size}", "one outcome a row")
        names = names_of(self, feature_names, found, values.shape[1])
        self.causes_ = tuple(range(1, causes + 1))
        used = np.ones(time.size, dtype=bool) if sample_weight is None else weights_of(sample_weight, time.size) > 0
        self.n_fitted_ = int(used.sum())
        self.n_events_ = {cause: int(((codes == cause) & used).sum()) for cause in self.causes_}
        self.models_: dict[int, CoxPH] = {}
        for cause in self.causes_:
            if not self.n_events_[cause]:
                continue
            target = np.empty(time.size, dtype=[("event", bool), ("time", float)])
            target["event"], target["time"] = codes == cause, time
            model = CoxPH(
                ties=self.ties, penalty=self.penalty, collinear=self.collinear, level=self.level,
                step_events=self.step_events,
            )  # fmt: skip
            try:
                self.models_[cause] = model.fit(
                    values, target, names, entry=entry, sample_weight=sample_weight, cluster=cluster
                )
            except NotEstimableError as error:
                raise NotEstimableError(f"cause {cause}: {error.got}", error.expected, error.do) from None
        self.reference_ = values.mean(axis=0)
        self._steps()
        return self

    @property
    def coef_(self) -> NDArray[np.float64]:
        """Log hazard ratios of cause 1, which `predict` ranks by; those of all causes are in `models_`."""
        if 1 not in self.models_:
            raise NotEstimableError("no model for cause 1", "a cause that happened in training")
        return np.asarray(self.models_[1].coef_)

    def _steps(self) -> None:
        parts = [np.asarray(model.unique_times_) for model in self.models_.values()]
        self.unique_times_ = np.unique(np.concatenate(parts))

    def predict(self, X: Any, cause: int = 1) -> NDArray[np.float64]:
        """Return the linear predictor of one cause's hazard, shape (n,); higher means an earlier event of it."""
        check_is_fitted(self, "models_")
        if cause not in self.models_:
            raise NotEstimableError(f"no model for cause {cause}", "a cause that happened in training")
        return np.asarray(self.models_[cause].predict(X))

    def _curves(self, X: Any, times: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self, "models_")
        values, _ = as_matrix(X, self.n_features_in_)
        wanted = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if np.isnan(wanted).any():
            raise DataError(f"{int(np.isnan(wanted).sum())} of {wanted.size} times are missing", "known times")
        grid = self.unique_times_
        smooth = self.step_events > 1
        if smooth:
            # A line moves between its points too.
            grid = np.unique(np.concatenate((grid, np.clip(wanted, 0.0, grid[-1]))))
        n, causes = values.shape[0], len(self.causes_)
        relative, steps = np.zeros((n, causes)), np.zeros((grid.size, causes))
        center = self.reference_[None, :]
        for cause, model in self.models_.items():
            base = np.asarray(model.predict_cumulative_hazard_function(center, times=grid), dtype=np.float64)[0]
            steps[:, cause - 1] = np.diff(base, prepend=0.0)
            relative[:, cause - 1] = np.exp(model.predict(values) - model.predict(center)[0])
        order = np.argsort(wanted, kind="stable")
        reach = np.searchsorted(grid, wanted[order], side="right").astype(np.int64)
        out = np.empty((n, wanted.size, causes))
        incidences(relative, steps, reach, smooth, out)
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return out if (back == order).all() and (np.diff(order) > 0).all() else out[:, back]

    def predict_cumulative_incidence(
        self, X: Any, times: ArrayLike | None = None, cause: int | None = None
    ) -> NDArray[np.float64]:
        """Return the chance of an event of each cause by each time.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            `unique_times_` when absent.
        cause : int, optional
            One cause; all of them when absent.

        Returns
        -------
        float array, shape (n, t, K), or (n, t) for one cause
        """
        check_is_fitted(self, "models_")
        if cause is not None and cause not in self.causes_:
            raise DataError(f"cause {cause} is not declared", f"one of: {', '.join(map(str, self.causes_))}")
        found = self._curves(X, self.unique_times_ if times is None else times)
        return found if cause is None else np.ascontiguousarray(found[:, :, cause - 1])

    def incidence_interval(
        self, X: Any, times: ArrayLike, cause: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return pointwise confidence limits of the incidence of one cause, symmetric for log(-log(1 - F)).

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,)
        cause : int

        Returns
        -------
        lower, upper : float arrays, shape (n, t)
            Both 0 where the incidence is. None with a penalty: shrunken coefficients are biased.

        Notes
        -----
        The models of two causes are independent in large samples. To first order F_k(t|x) moves by ∫ c_j dδΛ_j(u|x)
        summed over causes j, with c_j = [j = k] S(u-) - F_k(t) + F_k(u). Each has variance
        exp(2xβ) [∫ c² dA + qᵀVq], q = ∫ c (x dΛ - dB), with A, B and V of that Cox model (see
        `aimed.prognosis.cox.CoxPH`). They are kept at no more than 200 times; in between they are read as lines.

        References
        ----------
        Cheng, Fine and Wei, Biometrics 1998;54:219. Ozenne et al., R Journal 2017;9:440.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, time = rng.normal(size=(60, 1)), rng.exponential(size=60)
        >>> y = np.array(list(zip(rng.integers(0, 3, 60), time)), dtype=[("event", int), ("time", float)])
        >>> lower, upper = CauseSpecificCox().fit(X, y).incidence_interval([[0.0]], times=[1.0], cause=1)
        >>> lower.round(2).tolist(), upper.round(2).tolist()
        ([[0.1]], [[0.33]])
        """
        check_is_fitted(self, "models_")
        if self.penalty:
            return None
        values, _ = as_matrix(X, self.n_features_in_)
        wanted = np.atleast_1d(np.asarray(times, dtype=np.float64))
        found = self.predict_cumulative_incidence(values, wanted, cause)
        variance = np.zeros(found.shape)
        for j, model in self.models_.items():
            for begin in range(0, values.shape[0], _ROWS):
                rows = slice(begin, begin + _ROWS)
                variance[rows] += self._own_variance(model, j == cause, values[rows], wanted, found[rows], cause)
        lower, upper = np.zeros((2, *found.shape))
        inner = (found > 0.0) & (found < 1.0)
        lower[~inner], upper[~inner] = found[~inner], found[~inner]
        survived = -np.log1p(-found[inner])
        half = special.ndtri(0.5 + 0.5 * self.level) * np.sqrt(variance[inner]) / ((1.0 - found[inner]) * survived)
        with np.errstate(over="ignore"):
            lower[inner] = -np.expm1(-survived * np.exp(-half))
            upper[inner] = -np.expm1(-survived * np.exp(half))
        return lower, upper

    def _own_variance(
        self,
        model: CoxPH,
        own: bool,
        values: NDArray[np.float64],
        wanted: NDArray[np.float64],
        found: NDArray[np.float64],
        cause: int,
    ) -> NDArray[np.float64]:
        """Return what one cause's model adds to the variance of the incidence, shape (n, t)."""
        kept, steps, means = (np.asarray(part, dtype=np.float64) for part in model.curve_variance_)
        center = model.feature_means_[None, :]

        def hazard(at: NDArray[np.float64]) -> NDArray[np.float64]:
            found: NDArray[np.float64] = np.asarray(model.predict_cumulative_hazard_function(center, times=at))
            return np.ascontiguousarray(found[0])

        grid = np.unique(np.concatenate((kept, np.clip(wanted, 0.0, kept[-1]))))
        base = hazard(grid)
        knots = np.concatenate(([0.0], hazard(kept)))
        spread = np.diff(np.interp(base, knots, np.concatenate(([0.0], steps))), prepend=0.0)
        drift = np.column_stack(
            [np.diff(np.interp(base, knots, np.concatenate(([0.0], part))), prepend=0.0) for part in means.T]
        ).reshape(grid.size, -1)
        rise = np.diff(base, prepend=0.0)
        curves = self._curves(values, grid)
        incidence, left = curves[:, :, cause - 1], 1.0 - curves.sum(axis=2)
        before = np.column_stack((np.ones(left.shape[0]), left[:, :-1]))
        x = values - center
        covariance = np.nan_to_num(model.covariance_)
        relative = np.exp(2.0 * (model.predict(values) - model.predict(center)[0]))
        out = np.zeros(found.shape)
        for t, time in enumerate(wanted):
            met = int(np.searchsorted(grid, time, side="right"))
            weight = incidence[:, :met] - found[:, t, None]
            if own:
                weight = weight + before[:, :met]
            q = x * (weight @ rise[:met])[:, None] - weight @ drift[:met]
            out[:, t] = weight**2 @ spread[:met] + np.einsum("ij,jk,ik->i", q, covariance, q)
        return np.asarray(relative[:, None] * out)

    def predict_survival_function(self, X: Any, times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the chance of no event of any kind by each time, shape (n, t)."""
        left = 1.0 - self.predict_cumulative_incidence(X, times).sum(axis=2)
        return np.asarray(np.maximum(left, 0.0))

    def risk_interval(self, X: Any, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return `incidence_interval` of cause 1."""
        return self.incidence_interval(X, times, 1)

    def score(self, X: Any, y: Any, cause: int = 1) -> float:
        """Return Wolbers' C of one cause, for its incidence at the median time of its events."""
        codes, time, _ = as_competing(y, cause, self.causes)
        middle = float(np.median(time[codes == cause]))
        risk = self.predict_cumulative_incidence(X, [middle], cause)[:, 0]
        return wolbers_c(codes, time, cause, risk)

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a cause and column with its hazard ratio, the cause under ``cause``."""
        check_is_fitted(self, "models_")
        return [
            {"cause": cause, **row}
            for cause, model in self.models_.items()
            for row in model.coefficient_table(feature_names)
        ]

    def to_state(self) -> dict[str, Any]:
        """Return the fitted models in JSON types."""
        check_is_fitted(self, "models_")
        names = getattr(self, "feature_names_in_", None)
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "models": {str(cause): model.to_state() for cause, model in self.models_.items()},
            "causes": len(self.causes_),
            "reference": self.reference_.tolist(),
            "feature_names": None if names is None else [str(n) for n in names],
            "n": self.n_fitted_,
            "events": {str(cause): count for cause, count in self.n_events_.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CauseSpecificCox:
        """Rebuild the fitted models from `to_state`."""
        model = cls(**state["parameters"])
        model.models_ = {int(cause): CoxPH.from_state(part) for cause, part in state["models"].items()}
        model.causes_ = tuple(range(1, int(state["causes"]) + 1))
        model.reference_ = np.asarray(state["reference"], dtype=np.float64)
        model.n_features_in_ = model.reference_.size
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        model.n_fitted_ = int(state["n"])
        model.n_events_ = {int(cause): int(count) for cause, count in state["events"].items()}
        model._steps()
        return model


def _build_cause_specific(parameters: Mapping[str, Any], seed: int) -> CauseSpecificCox:
    return CauseSpecificCox(**{"collinear": "drop", "step_events": 5, **parameters})


RECIPE = Recipe(
    name="cause_specific_cox",
    title="Cause-specific Cox regression",
    description="A Cox model for each kind of event; together they give the cumulative incidence of each.",
    task="competing",
    family="linear",
    build=_build_cause_specific,
    space=ridge_space,
    defaults={"penalty": 0.0},
    from_state=CauseSpecificCox.from_state,
    ratio_name="hazard ratio",
    ranks_hazard=True,
)
"""The catalogue entry ``cause_specific_cox``."""
