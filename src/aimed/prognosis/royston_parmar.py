"""Royston and Parmar's flexible parametric model: a spline of log time for log cumulative hazard, odds or probit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from aimed.core import NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import patient_codes
from aimed.prognosis.newton import Columns
from aimed.prognosis.parametric import FollowUp, LinearTransformation, SmoothCurves, TimeBasis, line_basis, start_line

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE", "RoystonParmar", "SplineBasis", "choose_spline_knots"]

_RATIOS = {"hazard": "hazard ratio", "odds": "odds ratio", "normal": "exponentiated probit difference"}
_BARRIERS = (1e-1, 1e-3, 1e-5)


@dataclass(frozen=True, slots=True, eq=False)
class SplineBasis:
    """Natural cubic spline of log time: 1, u, and one function for each inner knot, u the scaled log time.

    Parameters
    ----------
    knots : float array, shape (k,), rising
        On the scale of u; straight before the first and after the last.
    center, unit : float
        u is (log t - center) / unit.
    fixed : bool
        Always False: the slope of s is free.

    Examples
    --------
    >>> basis = SplineBasis(np.array([-1.0, 0.0, 1.0]), 0.0, 1.0)
    >>> basis(np.array([-2.0, 0.5, 2.0])).tolist()
    [[1.0, -2.0, 0.0], [1.0, 0.5, -1.5625], [1.0, 2.0, -6.0]]
    """

    knots: NDArray[np.float64]
    center: float
    unit: float
    fixed: bool = False

    def _bends(self, u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the functions of the inner knots and their derivatives in u."""
        first, last, inner = self.knots[0], self.knots[-1], self.knots[1:-1]
        share = (last - inner) / (last - first)
        # After the last knot cubes would cancel: the line is drawn on from there.
        inside = np.minimum(u, last)[:, None]
        past, begun = np.maximum(inside - inner, 0.0), np.maximum(inside - first, 0.0)
        slope = 3.0 * past**2 - share * 3.0 * begun**2
        value = past**3 - share * begun**3 + slope * (u[:, None] - inside)
        return value, slope

    def __call__(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the functions at log times, shape (n, m)."""
        u = (log_time - self.center) / self.unit
        return np.column_stack((np.ones(u.size), u, self._bends(u)[0]))

    def slope(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return their derivatives in log time, shape (n, m)."""
        u = (log_time - self.center) / self.unit
        return np.column_stack((np.zeros(u.size), np.ones(u.size), self._bends(u)[1])) / self.unit

    def solve(self, theta: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log times at which a rising spline has these values."""
        ends = self.center + self.unit * self.knots[[0, -1]]
        value, steep = self(ends) @ theta, self.slope(ends) @ theta
        low, high = np.full(target.size, ends[0]), np.full(target.size, ends[1])
        for _ in range(60):
            middle = 0.5 * (low + high)
            under = self(middle) @ theta < target
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        out = 0.5 * (low + high)
        out = np.where(target < value[0], ends[0] + (target - value[0]) / steep[0], out)
        return np.asarray(np.where(target > value[1], ends[1] + (target - value[1]) / steep[1], out))

    def lowest_slope(self, theta: NDArray[np.float64]) -> float:
        """Return the smallest slope of the spline anywhere: at a knot, or where its square bends back."""
        u = self.knots
        at = self.slope(self.center + self.unit * u) @ theta
        lows = [float(at.min())]
        middle = 0.5 * (u[1:] + u[:-1])
        between = self.slope(self.center + self.unit * middle) @ theta
        for j in range(u.size - 1):
            # The slope is a parabola between two knots; a, b, c fit it on [0, 1].
            a = 2.0 * (at[j] + at[j + 1]) - 4.0 * between[j]
            b = at[j + 1] - at[j] - a
            if a > 0.0 and 0.0 < -b < 2.0 * a:
                lows.append(float(at[j] - b**2 / (4.0 * a)))
        return min(lows)


def choose_spline_knots(times: NDArray[np.float64], df: int, step_events: int = 1) -> NDArray[np.float64]:
    """Choose the knots of a spline of log time: quantiles of the event times.

    Parameters
    ----------
    times : float array, shape (d,)
        Times of the events.
    df : int
        Knots less one: 1 for a straight line.
    step_events : int
        Above 1 each knot lies halfway between two event times, with at least so many before the first and after the
        last, so that no knot is the time of a patient.

    Returns
    -------
    float array, shape (df + 1,), rising

    Raises
    ------
    NotEstimableError
        If too few distinct times are there.

    Examples
    --------
    >>> choose_spline_knots(np.array([1.0, 2.0, 4.0, 8.0, 16.0]), df=2).round(6).tolist()
    [1.0, 4.0, 16.0]
    >>> choose_spline_knots(np.arange(1.0, 30.0), df=2, step_events=5).tolist()
    [5.5, 14.5, 24.5]
    """
    shares = np.linspace(0.0, 1.0, df + 1)
    if step_events == 1:
        knots = np.exp(np.quantile(np.log(times), shares))
        # The root of a square is not always the number itself.
        knots[0], knots[-1] = times.min(), times.max()
    else:
        ordered = np.sort(times)
        outside = min(step_events, max(ordered.size // 4, 1))
        distinct = np.unique(ordered)
        ranks = outside - 1 + np.floor(shares * (ordered.size - 2 * outside))
        at = np.searchsorted(distinct, ordered[np.clip(ranks, 0, ordered.size - 1).astype(np.int64)])
        # Many may share the last time: the knot comes before them.
        at = np.minimum(at, max(distinct.size - 2, 0))
        knots = 0.5 * (distinct[at] + distinct[np.minimum(at + 1, distinct.size - 1)])
    if (np.diff(knots) <= 1e-9 * knots[:-1]).any():
        raise NotEstimableError(
            f"events at {np.unique(times).size} distinct times leave no room for {df + 1} knots",
            "more distinct event times than knots",
            "choose a smaller df",
        )
    return np.asarray(knots)


class RoystonParmar(SmoothCurves):
    """Flexible parametric survival: g(S(t|x)) = s(log t) + xβ, s a natural cubic spline.

    Parameters
    ----------
    scale : {"hazard", "odds", "normal"}
        g: log cumulative hazard (proportional hazards), log odds of the event (proportional odds), or probit of the
        risk. With ``df = 1`` these are the Weibull, log-logistic and log-normal models.
    df : int or "aic"
        Degrees of freedom of the spline, knots less one; "aic" tries 1 to `max_df` and keeps the one with the lowest
        Akaike criterion.
    knots : sequence of float, optional
        Times of all knots, the boundary ones with them, in place of quantiles of the event times.
    max_df : int
        Largest df tried by "aic".
    penalty : float
        Ridge penalty θ: θ/2 · Σβ² is taken off the log-likelihood, on the scale of X.
    collinear : {"raise", "drop"}
        What to do with a column that is constant or a combination of earlier ones: refuse, or give it coefficient 0.
    level : float
        Confidence level of the intervals.
    max_iter : int
        Newton steps at most.
    step_events : int
        Above 1 no knot is the time of a patient; see `choose_spline_knots`.

    Attributes
    ----------
    coef_ : float array, shape (p,)
        β: log hazard ratios, log odds ratios of the event by any time, or differences of the probit.
    standard_errors_, covariance_, confidence_intervals_ : float arrays
    gamma_ : float array, shape (df + 1,)
        Coefficients of s(x) = γ0 + γ1 x + Σ γ_j v_j(x) in x = log t, as R's ``flexsurvspline``.
    gamma_covariance_ : float array, shape (df + 1, df + 1)
    knots_ : float array, shape (df + 1,)
        In the unit of time.
    df_ : int
    loglik_ : (float, float)
        Log-likelihood of the times without predictors, on the same knots, and of the model.
    tests_ : dict
        ``likelihood_ratio`` and ``wald`` of the predictors.
    aic_, bic_ : float
    candidates_ : dict of int to float
        Akaike criterion of every df that was tried.
    unique_times_ : float array, shape (100,)
        Times at which curves are drawn when none are asked for.
    aliased_, feature_names_in_, n_features_in_, n_fitted_, n_events_, n_iter_

    Notes
    -----
    v_j(x) = (x - k_j)₊³ - λ_j (x - k_min)₊³ - (1 - λ_j)(x - k_max)₊³ with λ_j = (k_max - k_j)/(k_max - k_min). Knots
    are at the smallest and largest event time and at quantiles of log event times in between. The log-likelihood is
    concave, so Newton's method finds its one maximum.

    Nothing in the likelihood keeps s from falling where nobody has an event. Where it would, the model is fitted
    again with a barrier that keeps its slope above 0, with a warning; "aic" prefers a df that needs none.

    Limits of curves are symmetric for η = g(S), by the delta method, which is exact there.

    Raises
    ------
    NotEstimableError
        If there is no event, too few distinct event times for the knots, columns are constant or collinear, or a
        coefficient grows without bound.
    DataError
        If X is incomplete, an event is at time 0, or a row enters at or after its end.

    References
    ----------
    Royston and Parmar, Stat Med 2002;21:2175. Jackson, J Stat Softw 2016;70(8) (flexsurv).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y = np.empty(200, dtype=[("event", bool), ("time", float)])
    >>> y["time"] = np.minimum(rng.weibull(2, 200) * np.exp(-0.25 * X[:, 0]), 1.5)
    >>> y["event"] = y["time"] < 1.5
    >>> model = RoystonParmar(df=2).fit(X, y)
    >>> model.coef_.round(3).tolist(), model.knots_.size
    ([0.405], 3)
    >>> model.predict_survival_function([[0.0], [1.0]], times=[0.0, 0.5, 1.0]).round(3).tolist()
    [[1.0, 0.801, 0.401], [1.0, 0.717, 0.254]]
    """

    def __init__(
        self,
        scale: str = "hazard",
        df: int | str = 3,
        knots: Sequence[float] | None = None,
        max_df: int = 6,
        penalty: float = 0.0,
        collinear: str = "raise",
        level: float = 0.95,
        max_iter: int = 100,
        step_events: int = 1,
    ) -> None:
        self.scale = scale
        self.df = df
        self.knots = knots
        self.max_df = max_df
        self.penalty = penalty
        self.collinear = collinear
        self.level = level
        self.max_iter = max_iter
        self.step_events = step_events

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        entry: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> RoystonParmar:
        """Maximise the likelihood; parameters as in `aimed.prognosis.parametric.AcceleratedFailureTime.fit`."""
        if self.scale not in _RATIOS:
            raise StudyFileError(f"scale = '{self.scale}'", f"one of: {', '.join(_RATIOS)}")
        whole = isinstance(self.df, (int, np.integer)) and not isinstance(self.df, bool)
        if not (self.df == "aic" or (whole and int(self.df) >= 1)):
            raise StudyFileError(f"df = {self.df!r}", "a whole number >= 1, or 'aic'")
        if not (isinstance(self.step_events, (int, np.integer)) and self.step_events >= 1):
            raise StudyFileError(f"step_events = {self.step_events!r}", "an integer >= 1")
        columns, data, keep = self._read(X, y, sample_weight, entry, upper, feature_names)
        groups = None if cluster is None else patient_codes(cluster, self.n_fitted_)
        self.candidates_: dict[int, float] = {}
        if self.knots is not None:
            given = np.asarray(self.knots, dtype=np.float64)
            if given.ndim != 1 or given.size < 2 or not (np.isfinite(given).all() and given[0] > 0):
                raise StudyFileError("knots are not two or more finite times above 0", "rising times")
            if (np.diff(given) <= 0).any():
                raise StudyFileError("knots do not rise", "rising times")
            self._at(given, columns, data, keep, groups)
        elif whole:
            self._at(self._choose(data, int(self.df)), columns, data, keep, groups)
        else:
            self._search(columns, data, keep, groups)
        return self

    def _choose(self, data: FollowUp, df: int) -> NDArray[np.float64]:
        used = data.weights > 0
        times = data.time[data.event & used]
        if data.upper is not None:
            closed = ~data.event & np.isfinite(data.upper) & used
            times = np.concatenate((times, 0.5 * (data.time[closed] + data.upper[closed])))
        return choose_spline_knots(times, df, int(self.step_events))

    def _search(
        self, columns: Columns, data: FollowUp, keep: NDArray[np.bool_], groups: NDArray[np.int64] | None
    ) -> None:
        """Fit every df and keep the one with the lowest Akaike criterion, one that rises by itself if there is any."""
        best, choice = (True, np.inf), 0
        problem: NotEstimableError | None = None
        for df in range(1, int(self.max_df) + 1):
            try:
                knots = self._choose(data, df)
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    self._at(knots, columns, data, keep, groups)
            except NotEstimableError as error:
                problem = problem or error
                continue
            self.candidates_[df] = self.aic_
            if (bool(said), self.aic_) < best:
                best, choice = (bool(said), self.aic_), df
        if not choice:
            raise problem or NotEstimableError("no df was tried", "max_df >= 1")
        self._at(self._choose(data, choice), columns, data, keep, groups)

    def _at(
        self,
        knots: NDArray[np.float64],
        columns: Columns,
        data: FollowUp,
        keep: NDArray[np.bool_],
        groups: NDArray[np.int64] | None,
    ) -> None:
        """Fit the model with these knots."""
        line = line_basis(data)
        self.knots_, self.df_ = knots, knots.size - 1
        self.basis_ = SplineBasis((np.log(knots) - line.center) / line.unit, line.center, line.unit)
        start = np.concatenate((start_line(data, line), np.zeros(knots.size - 2)))
        likelihood = LinearTransformation(columns, self.scale, data, self.basis_)
        what = f"spline model with df={self.df_}"
        self._fit(likelihood, columns, keep, start, what, groups)
        if self.basis_.lowest_slope(self.baseline_) <= 0.0:
            warnings.warn(
                f"the spline with df={self.df_} would fall where few have an event; it was held rising, and its "
                "intervals are approximate there; a smaller df is safer",
                RuntimeWarning,
                stacklevel=4,
            )
            places = [np.linspace(a, b, 50) for a, b in pairwise(self.basis_.knots)]
            likelihood.guard = self.basis_.slope(line.center + line.unit * np.unique(np.concatenate(places)))
            for barrier in _BARRIERS:
                likelihood.barrier = barrier
                self._fit(likelihood, columns, keep, start, what, groups)
                if self.basis_.lowest_slope(self.baseline_) <= 0.0:
                    # Too weak to hold between two of the places: the one before did.
                    likelihood.barrier *= 100.0
                    self._fit(likelihood, columns, keep, start, what, groups)
                    break
                start = self.baseline_
            # The barrier's own value is no part of the likelihood.
            extra = likelihood.barrier * float(np.log(likelihood.guard @ self.baseline_).sum())
            self.loglik_ = (self.loglik_[0], self.loglik_[1] - extra)
            self.aic_, self.bic_ = self.aic_ + 2.0 * extra, self.bic_ + 2.0 * extra
        self._natural()

    def _natural(self) -> None:
        """Give the coefficients, and those of the spline in log t with the rows' own columns."""
        p, basis = self.n_features_in_, self.basis_
        self.coef_ = self.slopes_
        self.covariance_ = self.joint_covariance_[:p, :p]
        m = self.baseline_.size
        J = np.zeros((m, p + m))
        J[0, :p], J[0, p], J[0, p + 1] = -self.feature_means_, 1.0, -basis.center / basis.unit
        J[1, p + 1] = 1.0 / basis.unit
        J[2:, p + 2 :] = np.eye(m - 2) / basis.unit**3
        self.gamma_ = J @ np.concatenate((self.slopes_, self.baseline_))
        self.gamma_covariance_ = J @ np.nan_to_num(self.joint_covariance_) @ J.T
        self._limits()

    def _basis(self) -> TimeBasis:
        return self.basis_

    def _scale(self) -> str:
        return self.scale

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict a column: term, coefficient, error, z, p, and the ratio with its interval."""
        check_is_fitted(self, "coef_")
        rows = []
        for row, error in zip(self.coefficient_table(), self.standard_errors_.tolist(), strict=True):
            known = bool(np.isfinite(error)) and error > 0
            rows.append(
                {
                    "term": row["term"],
                    "coefficient": row["estimate"],
                    "standard_error": error if known else None,
                    "z": row["estimate"] / error if known else None,
                    "p": row["p"],
                    "lower": row["lower"],
                    "upper": row["upper"],
                    "ratio_name": _RATIOS[self.scale],
                    "ratio": row["ratio"],
                    "ratio_lower": row["ratio_lower"],
                    "ratio_upper": row["ratio_upper"],
                }
            )
        return rows

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; NaN becomes None. Its only times are the knots."""
        return {
            **self._state(),
            "knots": self.knots_.tolist(),
            "center": self.basis_.center,
            "unit": self.basis_.unit,
            "candidates": {str(df): aic for df, aic in self.candidates_.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RoystonParmar:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["parameters"])
        model._restore(state)
        model.knots_ = np.asarray(state["knots"], dtype=np.float64)
        model.df_ = model.knots_.size - 1
        center, unit = float(state["center"]), float(state["unit"])
        model.basis_ = SplineBasis((np.log(model.knots_) - center) / unit, center, unit)
        model.candidates_ = {int(df): float(aic) for df, aic in state["candidates"].items()}
        model._natural()
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> RoystonParmar:
    # A packaged curve must not tell when a single patient had the event.
    return RoystonParmar(**{"df": "aic", "max_df": 5, "collinear": "drop", "step_events": 5, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    # Choices, not a range, so that the plain model is one of them.
    return {
        "penalty": trial.suggest_categorical("penalty", (0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)),
    }


RECIPE = Recipe(
    name="royston_parmar",
    title="Royston-Parmar splines",
    description="A smooth curve for everyone, a spline of log time; each predictor shifts it by a constant.",
    task="survival",
    family="linear",
    build=_build,
    space=_space,
    defaults={"penalty": 0.0},
    from_state=RoystonParmar.from_state,
    ratio_name="hazard ratio",
)
"""The catalogue entry ``royston_parmar``."""
