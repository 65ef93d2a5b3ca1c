"""Survival models with a smooth curve: Weibull, exponential, log-normal and log-logistic accelerated failure time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special, stats
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import patient_codes, vector, weights_of
from aimed.prognosis.coefficients import coefficient_rows, refuse_wide
from aimed.prognosis.curves import as_matrix, as_survival
from aimed.prognosis.newton import Columns, Derivatives, climb, estimable, weighted_gram, weighted_sums

if TYPE_CHECKING:
    import optuna

__all__ = [
    "RECIPE",
    "AcceleratedFailureTime",
    "FollowUp",
    "LineBasis",
    "LinearTransformation",
    "SmoothCurves",
    "SmoothFunction",
    "TimeBasis",
    "follow_up",
    "line_basis",
    "log_survival",
    "quantile_scale",
    "start_line",
]

_LOG_ROOT = 0.5 * np.log(2.0 * np.pi)
_GRID = 100
_Parts: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def log_survival(scale: str, eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the survival at η: exp(-e^η) for "hazard", 1 / (1 + e^η) for "odds", Φ(-η) for "normal".

    Examples
    --------
    >>> [round(float(np.exp(log_survival(s, np.zeros(1)))[0]), 4) for s in ("hazard", "odds", "normal")]
    [0.3679, 0.5, 0.5]
    """
    if scale == "hazard":
        return np.asarray(-np.exp(eta))
    return np.asarray(special.log_expit(-eta) if scale == "odds" else special.log_ndtr(-eta))


def quantile_scale(scale: str, risk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the η at which the risk has a given value; the inverse of 1 - exp(`log_survival`)."""
    if scale == "hazard":
        return np.asarray(np.log(-np.log1p(-risk)))
    return np.asarray(special.logit(risk) if scale == "odds" else special.ndtri(risk))


def _survival_parts(scale: str, eta: NDArray[np.float64]) -> _Parts:
    """Return the log survival with its first and second derivatives in η."""
    value = log_survival(scale, eta)
    if scale == "hazard":
        return value, value, value
    if scale == "odds":
        risk = special.expit(eta)
        return value, -risk, -risk * (1.0 - risk)
    mills = np.exp(-0.5 * eta**2 - _LOG_ROOT - value)
    return value, -mills, -mills * (mills - eta)


def _density_parts(scale: str, eta: NDArray[np.float64]) -> _Parts:
    """Return the log density on the scale of η with its first and second derivatives."""
    if scale == "hazard":
        gone = np.exp(eta)
        return eta - gone, 1.0 - gone, -gone
    if scale == "odds":
        risk = special.expit(eta)
        return eta + 2.0 * special.log_expit(-eta), 1.0 - 2.0 * risk, -2.0 * risk * (1.0 - risk)
    return -0.5 * eta**2 - _LOG_ROOT, -eta, np.full(eta.size, -1.0)


class TimeBasis(Protocol):
    """Functions of log time; with weights θ they add up to the baseline s, together with log t itself where `fixed`."""

    @property
    def fixed(self) -> bool:
        """Whether s holds log t itself, with weight 1."""
        ...

    def __call__(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the functions at log times, shape (n, m); the first is 1 everywhere."""
        ...

    def slope(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return their derivatives in log time, shape (n, m)."""
        ...

    def solve(self, theta: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log times at which s has these values."""
        ...


@dataclass(frozen=True, slots=True)
class LineBasis:
    """A straight line in log time: s = θ0 + θ1 (log t - center) / unit; or s = θ0 + log t, with a slope of 1."""

    center: float
    unit: float
    fixed: bool = False

    def __call__(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 and the scaled log time."""
        ones = np.ones(log_time.size)
        return ones[:, None] if self.fixed else np.column_stack((ones, (log_time - self.center) / self.unit))

    def slope(self, log_time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives."""
        zeros = np.zeros(log_time.size)
        return zeros[:, None] if self.fixed else np.column_stack((zeros, np.full(log_time.size, 1.0 / self.unit)))

    def solve(self, theta: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log times at which the line has these values."""
        gap = target - theta[0]
        return np.asarray(gap if self.fixed else self.center + self.unit * gap / theta[1])


@dataclass(slots=True)
class FollowUp:
    """What is known of the time of each row.

    Parameters
    ----------
    event : bool array, shape (n,)
        Seen at `time`.
    time : float array, shape (n,)
        Time of the event or censoring, or the lower end of an interval.
    upper : float array, shape (n,) or None
        Upper end of the interval in which a row without a seen event had it; infinite for right censoring.
    entry : float array, shape (n,) or None
        Follow-up begins here.
    weights : float array, shape (n,)
    """

    event: NDArray[np.bool_]
    time: NDArray[np.float64]
    upper: NDArray[np.float64] | None
    entry: NDArray[np.float64] | None
    weights: NDArray[np.float64]


def follow_up(y: Any, sample_weight: ArrayLike | None, entry: ArrayLike | None, upper: ArrayLike | None) -> FollowUp:
    """Check the outcome of a model of log time.

    Raises
    ------
    DataError
        If an event is at time 0, a row enters at or after its end, or an interval is empty.
    NotEstimableError
        If there is no event.

    Examples
    --------
    >>> y = np.array([(True, 5.0), (False, 7.0)], dtype=[("event", bool), ("time", float)])
    >>> follow_up(y, None, None, None).weights.tolist()
    [1.0, 1.0]
    """
    event, time = as_survival(y)
    n = time.size
    weights = weights_of(sample_weight, n)
    ends = None
    if upper is not None:
        ends = np.asarray(upper, dtype=np.float64)
        if ends.shape != (n,) or np.isnan(ends).any():
            raise DataError("upper is not a number or infinity for each row", "one value a row")
        ends = np.where(event, np.inf, ends)
        empty = int((ends <= time).sum())
        if empty:
            raise DataError(
                f"{empty} of {n} intervals end at or before they begin", "time < upper where event is False"
            )
        if not np.isfinite(ends).any():
            ends = None
    at_zero = int((event & (time == 0)).sum())
    if at_zero:
        raise DataError(
            f"{at_zero} of {n} events are at time 0, where the logarithm has no value",
            "times > 0 of events",
            "count time from earlier, or add half a unit to every time",
        )
    begins = None
    if entry is not None:
        begins = vector("entry", entry, n)
        # Who enters at 0 is followed from the beginning, however short.
        late = int(((begins >= time) & (begins > 0)).sum())
        if late:
            raise DataError(f"{late} of {n} rows enter at or after their own time", "entry < time")
        if int((begins < 0).sum()):
            raise DataError(f"{int((begins < 0).sum())} of {n} entries are negative", "entry >= 0")
    happened = event if ends is None else event | np.isfinite(ends)
    if not (happened & (weights > 0)).any():
        raise NotEstimableError("no event in the training rows", "at least one", "extend follow-up or the cohort")
    return FollowUp(event, time, ends, begins, weights)


@dataclass(slots=True)
class _Term:
    """Some rows read at some log times: their basis and offset there."""

    rows: NDArray[np.intp]
    basis: NDArray[np.float64]
    offset: NDArray[np.float64] | float
    weights: NDArray[np.float64]

    def eta(self, line: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(line[self.rows] + self.basis @ theta + self.offset)


class LinearTransformation:
    """The likelihood of η(t|x) = s(log t) + xβ, where S(t|x) is a known function of η and s a sum of known functions.

    An event adds log f(η) + log s'(log t) - log t, a censored row log S(η), a row that enters late takes off
    log S(η at entry), an interval adds the log of a difference of S. All but late entries curve down in the
    parameters, so that Newton's method finds the one maximum.

    Parameters
    ----------
    columns : Columns
    scale : {"hazard", "odds", "normal"}
    data : FollowUp
    basis : TimeBasis

    Attributes
    ----------
    guard : float array, shape (g, m), or None
        Slopes of the basis at places where s' is to stay above 0 though nobody has an event there.
    barrier : float
        How hard.
    baseline_only : bool
        Whether derivatives by the columns are left out.
    """

    def __init__(self, columns: Columns, scale: str, data: FollowUp, basis: TimeBasis) -> None:
        self.X, self.scale, self.basis = columns.X, scale, basis
        self.n, self.p = columns.X.shape
        self.weights = data.weights
        self.guard: NDArray[np.float64] | None = None
        self.barrier = 0.0
        self.baseline_only = False
        used = data.weights > 0
        ends = data.upper if data.upper is not None else np.full(self.n, np.inf)
        events = np.flatnonzero(data.event & used)
        log_time = np.log(data.time[events])
        self.events = self._term(events, log_time)
        self.slopes = basis.slope(log_time)
        self.constant = -float(data.weights[events] @ log_time)
        self.censored: list[tuple[float, _Term]] = []
        # At time 0 everyone is free of the event: nothing is learned there.
        open_end = np.flatnonzero(~data.event & used & np.isinf(ends) & (data.time > 0))
        if open_end.size:
            self.censored.append((1.0, self._term(open_end, np.log(data.time[open_end]))))
        closed = ~data.event & used & np.isfinite(ends)
        left, inside = np.flatnonzero(closed & (data.time == 0)), np.flatnonzero(closed & (data.time > 0))
        self.left = self._term(left, np.log(ends[left])) if left.size else None
        self.inside = (
            (self._term(inside, np.log(data.time[inside])), self._term(inside, np.log(ends[inside])))
            if inside.size
            else None
        )
        if data.entry is not None:
            late = np.flatnonzero(used & (data.entry > 0))
            if late.size:
                self.censored.append((-1.0, self._term(late, np.log(data.entry[late]))))
        self.m = self.slopes.shape[1]
        self.found: list[tuple[_Term, _Parts]] = []
        self.steep = np.empty(0)
        self.cross: NDArray[np.float64] | None = None

    def _term(self, rows: NDArray[np.intp], log_time: NDArray[np.float64]) -> _Term:
        return _Term(rows, self.basis(log_time), log_time if self.basis.fixed else 0.0, self.weights[rows])

    def value(self, parameters: NDArray[np.float64]) -> float:
        """Return the log-likelihood, and the barrier where there is one; -inf where the curve would rise."""
        theta = parameters[self.p :]
        line = self.X @ parameters[: self.p] if parameters[: self.p].any() else np.zeros(self.n)
        self.steep = self.slopes @ theta + float(self.basis.fixed)
        total = self.constant
        if self.guard is not None:
            slope = self.guard @ theta
            if slope.min() <= 0.0:
                return -np.inf
            total += self.barrier * float(np.log(slope).sum())
        if (self.steep <= 0.0).any():
            return -np.inf
        self.found = [(self.events, _density_parts(self.scale, self.events.eta(line, theta)))]
        total += float(self.events.weights @ np.log(self.steep))
        for sign, term in self.censored:
            parts = _survival_parts(self.scale, term.eta(line, theta))
            self.found.append((term, parts if sign > 0 else (-parts[0], -parts[1], -parts[2])))
        if self.left is not None:
            eta = self.left.eta(line, theta)
            gone = np.log(-np.expm1(log_survival(self.scale, eta)))
            density, slope, _ = _density_parts(self.scale, eta)
            share = np.exp(density - gone)
            self.found.append((self.left, (gone, share, share * slope - share**2)))
        if self.inside is not None:
            total += self._between(line, theta, *self.inside)
        for term, parts in self.found:
            total += float(term.weights @ parts[0])
        return total if np.isfinite(total) else -np.inf

    def _between(self, line: NDArray[np.float64], theta: NDArray[np.float64], first: _Term, last: _Term) -> float:
        """Add the rows known to have had the event between two times; both ends share what is found."""
        a, b = first.eta(line, theta), last.eta(line, theta)
        if (b <= a).any():
            return -np.inf
        alive, later = log_survival(self.scale, a), log_survival(self.scale, b)
        between = alive + np.log(-np.expm1(later - alive))
        density_a, slope_a, _ = _density_parts(self.scale, a)
        density_b, slope_b, _ = _density_parts(self.scale, b)
        pa, pb = np.exp(density_a - between), np.exp(density_b - between)
        self.cross = pa * pb
        self.found.append((first, (between, -pa, -pa * slope_a - pa**2)))
        self.found.append((last, (np.zeros(a.size), pb, pb * slope_b - pb**2)))
        return 0.0

    def derivatives(self, parameters: NDArray[np.float64]) -> Derivatives:
        """Return gradient and information at the parameters `value` was called with last."""
        p, m = self.p, self.m
        theta = parameters[p:]
        first, second, cross = np.zeros(self.n), np.zeros(self.n), np.zeros((self.n, m))
        gradient, information = np.zeros(p + m), np.zeros((p + m, p + m))
        for term, (_, d1, d2) in self.found:
            bend = term.basis * (term.weights * d2)[:, None]
            first[term.rows] += term.weights * d1
            second[term.rows] += term.weights * d2
            cross[term.rows] += bend
            gradient[p:] += term.basis.T @ (term.weights * d1)
            information[p:, p:] -= term.basis.T @ bend
        if self.inside is not None and self.cross is not None:
            low, high = self.inside
            shared = low.weights * self.cross
            second[low.rows] += 2.0 * shared
            cross[low.rows] += (low.basis + high.basis) * shared[:, None]
            both = low.basis.T @ (high.basis * shared[:, None])
            information[p:, p:] -= both + both.T
        share = self.events.weights / self.steep
        gradient[p:] += self.slopes.T @ share
        information[p:, p:] += self.slopes.T @ (self.slopes * (share / self.steep)[:, None])
        if self.guard is not None:
            slope = self.guard @ theta
            gradient[p:] += self.barrier * (1.0 / slope) @ self.guard
            information[p:, p:] += self.barrier * self.guard.T @ (self.guard / slope[:, None] ** 2)
        if self.baseline_only:
            return gradient, information
        gradient[:p], information[:p, :p], information[:p, p:] = weighted_sums(self.X, first, -second, -cross)
        information[p:, :p] = information[:p, p:].T
        return gradient, information

    def scores(self) -> NDArray[np.float64]:
        """Return what each row adds to the gradient, shape (n, p + m)."""
        out = np.zeros((self.n, self.p + self.m))
        first = np.zeros(self.n)
        for term, (_, d1, _) in self.found:
            first[term.rows] += term.weights * d1
            out[term.rows, self.p :] += term.basis * (term.weights * d1)[:, None]
        out[self.events.rows, self.p :] += self.slopes * (self.events.weights / self.steep)[:, None]
        out[:, : self.p] = self.X * first[:, None]
        return out


@dataclass(frozen=True, slots=True, eq=False)
class SmoothFunction:
    """A survival or cumulative hazard curve that can be read at any time.

    Parameters
    ----------
    x : float array, shape (t,)
        Times at which it is usually drawn.
    model : SmoothCurves
    row : float array, shape (1, p)
    survival : bool
    """

    x: NDArray[np.float64]
    model: SmoothCurves
    row: NDArray[np.float64]
    survival: bool

    @property
    def y(self) -> NDArray[np.float64]:
        """Value at each of its times."""
        return self(self.x)

    def __call__(self, times: ArrayLike) -> NDArray[np.float64]:
        """Return the value at each time."""
        log_survived = self.model._log_survival(self.row, times)[0]
        return np.asarray(np.exp(log_survived) if self.survival else -log_survived).reshape(np.shape(times))


class SmoothCurves(BaseEstimator, ABC):  # type: ignore[misc]
    """What models with η(t|x) = s(log t) + xβ share: their fit, curves, quantiles and intervals.

    Attributes
    ----------
    coef_ : float array, shape (p,)
        What `predict` multiplies the columns with: higher is worse.
    slopes_ : float array, shape (p,)
        β of η on the scale of X.
    baseline_ : float array, shape (m,)
        θ, at the column means.
    joint_covariance_ : float array, shape (p + m, p + m)
        Of slopes and baseline.
    """

    level: float
    penalty: float
    collinear: str
    max_iter: int
    coef_: NDArray[np.float64]

    def _check(self) -> None:
        if self.collinear not in ("raise", "drop"):
            raise StudyFileError(f"collinear = '{self.collinear}'", "'raise' or 'drop'")
        if not (np.isfinite(self.penalty) and self.penalty >= 0):
            raise StudyFileError("the ridge penalty is negative or not finite", "a number >= 0")

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        entry: ArrayLike | None,
        upper: ArrayLike | None,
        feature_names: Sequence[str] | None,
    ) -> tuple[Columns, FollowUp, NDArray[np.bool_]]:
        """Check the input, keep what describes it, and say which columns can be estimated."""
        self._check()
        values, found = as_matrix(X, names=feature_names)
        data = follow_up(y, sample_weight, entry, upper)
        n, p = values.shape
        if n != data.time.size:
            raise DataError(f"X has {n} rows and y {data.time.size}", "one outcome a row")
        if feature_names is not None and len(feature_names) != p:
            raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
        names = list(feature_names) if feature_names is not None else found
        self.__dict__.pop("feature_names_in_", None)
        if names:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_fitted_ = p, n
        happened = data.event if data.upper is None else data.event | np.isfinite(data.upper)
        self.n_events_ = int(happened.sum())
        refuse_wide(p, n, self.n_events_, self.penalty, self.collinear)
        columns = Columns.of(values)
        keep = np.ones(p, dtype=bool)
        if not self.penalty and p:
            gram = weighted_gram(columns.X, data.weights / data.weights.sum())
            keep = estimable(gram, self._names(), self.collinear)
        self.aliased_ = [name for name, kept in zip(self._names(), keep, strict=True) if not kept]
        last = data.time if data.upper is None else np.where(np.isfinite(data.upper), data.upper, data.time)
        self.unique_times_ = np.linspace(0.0, _round_up(float(last.max())), _GRID + 1)[1:]
        return columns, data, keep

    def _names(self) -> list[str]:
        return [str(n) for n in getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])]

    def _fit(
        self,
        likelihood: LinearTransformation,
        columns: Columns,
        keep: NDArray[np.bool_],
        start: NDArray[np.float64],
        what: str,
        cluster: NDArray[np.int64] | None,
    ) -> None:
        """Maximise without and with the columns, and keep slopes, baseline and their covariance."""
        p, m = likelihood.p, likelihood.m
        names = [*self._names(), "the intercept", "the shape of the curve", *[f"spline {j}" for j in range(1, m - 1)]][
            : p + m
        ]
        theta = np.concatenate((np.full(p, float(self.penalty)) * columns.unit**2, np.zeros(m)))
        begin = np.concatenate((np.zeros(p), start))
        moves = np.concatenate((np.zeros(p, dtype=bool), np.ones(m, dtype=bool)))

        def run(at: NDArray[np.float64], which: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
            return climb(
                likelihood.value, likelihood.derivatives, at, which, theta, names, int(self.max_iter), what
            )  # fmt: skip

        likelihood.baseline_only = True
        begin, _ = run(begin, moves)
        likelihood.baseline_only = False
        null = likelihood.value(begin)
        moves[:p] = keep
        found, self.n_iter_ = run(begin, moves)
        self.loglik_ = (null, likelihood.value(found))
        with np.errstate(over="ignore", under="ignore"):
            _, information = likelihood.derivatives(found)
        rows = np.ix_(moves, moves)
        covariance = np.full((p + m, p + m), np.nan)
        try:
            inverse = linalg.inv((information + np.diag(theta))[rows])
        except linalg.LinAlgError:
            raise NotEstimableError(
                f"the {what} has no curvature at its maximum", "events spread over time", "use fewer parameters"
            ) from None
        if cluster is not None:
            scores = likelihood.scores()[:, moves]
            joined = np.column_stack([np.bincount(cluster, weights=s) for s in scores.T])
            inverse = inverse @ (joined.T @ joined) @ inverse
        covariance[rows] = inverse
        unit = np.concatenate((columns.unit, np.ones(m)))
        self.joint_covariance_ = covariance * np.outer(unit, unit)
        self.slopes_, self.baseline_ = found[:p] * columns.unit, found[p:]
        self.feature_means_ = columns.mean
        df = float(keep.sum())
        self.tests_: dict[str, dict[str, float | None]] = {}
        if cluster is None:
            if self.penalty:
                inner = information[:p, :p] - information[:p, p:] @ linalg.solve(
                    information[p:, p:], information[p:, :p]
                )
                df = float(np.trace(linalg.solve(inner + np.diag(theta[:p]), inner))) if p else 0.0
            self.tests_["likelihood_ratio"] = _test(2.0 * (self.loglik_[1] - null), df)
        if not self.penalty and keep.any():
            part = covariance[:p, :p][np.ix_(keep, keep)]
            self.tests_["wald"] = _test(float(found[:p][keep] @ linalg.solve(part, found[:p][keep])), df)
        self.aic_ = 2.0 * (df + m) - 2.0 * self.loglik_[1]
        self.bic_ = float(np.log(self.n_fitted_)) * (df + m) - 2.0 * self.loglik_[1]

    @abstractmethod
    def _basis(self) -> TimeBasis:
        """Return the functions of log time."""

    @abstractmethod
    def _scale(self) -> str:
        """Return which function of η the survival is; see `log_survival`."""

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the risk score X · `coef_`, shape (n,); higher means an earlier event."""
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_, self._names())
        return np.asarray(values @ self.coef_)

    def _eta(
        self, X: Any, times: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Return centred rows, η at times above 0, which times those are, their basis and log."""
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_)
        wanted = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if np.isnan(wanted).any():
            raise DataError(f"{int(np.isnan(wanted).sum())} of {wanted.size} times are missing", "known times")
        x = values - self.feature_means_
        later = wanted > 0
        logs = np.log(wanted[later])
        basis = self._basis()(logs)
        base = basis @ self.baseline_ + (logs if self._basis().fixed else 0.0)
        return x, (x @ self.slopes_)[:, None] + base, later, basis, logs

    def _log_survival(self, X: Any, times: ArrayLike) -> NDArray[np.float64]:
        x, eta, later, _, _ = self._eta(X, times)
        out = np.zeros((x.shape[0], later.size))
        with np.errstate(over="ignore"):
            out[:, later] = log_survival(self._scale(), eta)
        return out

    def predict_survival_function(self, X: Any, times: ArrayLike | None = None, return_array: bool = False) -> Any:
        """Return survival probabilities.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            Any times; beyond the follow-up of the training rows the curve goes on as its formula says.
        return_array : bool
            Without times: an array at `unique_times_` in place of functions.

        Returns
        -------
        float array, shape (n, t), or object array of n functions of time
        """
        if times is None and not return_array:
            return self._functions(X, survival=True)
        return np.exp(self._log_survival(X, self.unique_times_ if times is None else times))

    def predict_cumulative_hazard_function(
        self, X: Any, times: ArrayLike | None = None, return_array: bool = False
    ) -> Any:
        """Return cumulative hazards; parameters as in `predict_survival_function`."""
        if times is None and not return_array:
            return self._functions(X, survival=False)
        return -self._log_survival(X, self.unique_times_ if times is None else times)

    def _functions(self, X: Any, survival: bool) -> NDArray[Any]:
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_)
        out = np.empty(values.shape[0], dtype=object)
        out[:] = [SmoothFunction(self.unique_times_, self, row[None, :], survival) for row in values]
        return out

    def _variance(self, x: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the variance of η for rows and times, shape (n, t)."""
        V, p = np.nan_to_num(self.joint_covariance_), self.n_features_in_
        own = np.einsum("ij,jk,ik->i", x, V[:p, :p], x, optimize=True)[:, None]
        time = np.einsum("ij,jk,ik->i", basis, V[p:, p:], basis, optimize=True)
        return np.asarray(np.maximum(own + 2.0 * x @ V[:p, p:] @ basis.T + time, 0.0))

    def risk_interval(self, X: Any, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return pointwise confidence limits of the risk of each row by each time.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,)

        Returns
        -------
        lower, upper : float arrays, shape (n, t)
            Symmetric for η, by the delta method, which is exact there: η is linear in the parameters. None with a
            penalty: shrunken coefficients are biased.
        """
        x, eta, later, basis, _ = self._eta(X, times)
        if self.penalty:
            return None
        half = special.ndtri(0.5 + 0.5 * self.level) * np.sqrt(self._variance(x, basis))
        limits = np.zeros((2, x.shape[0], later.size))
        with np.errstate(over="ignore"):
            for side, sign in enumerate((-1.0, 1.0)):
                limits[side][:, later] = -np.expm1(log_survival(self._scale(), eta + sign * half))
        return limits[0], limits[1]

    def survival_interval(self, X: Any, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return pointwise confidence limits of the survival; see `risk_interval`."""
        found = self.risk_interval(X, times)
        return None if found is None else (1.0 - found[1], 1.0 - found[0])

    def predict_quantile(
        self, X: Any, quantile: float = 0.5
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the time by which each row has the event with a given chance, with confidence limits.

        Parameters
        ----------
        X : float array, shape (n, p)
        quantile : float
            Chance between 0 and 1; 0.5 for the median time.

        Returns
        -------
        time, lower, upper : float arrays, shape (n,)
            Limits are symmetric for log time (delta method); NaN with a penalty.
        """
        check_is_fitted(self, "coef_")
        if not 0.0 < quantile < 1.0:
            raise DataError("the quantile is not between 0 and 1", "a chance such as 0.5 for the median")
        values, _ = as_matrix(X, self.n_features_in_)
        x = values - self.feature_means_
        target = quantile_scale(self._scale(), np.array([quantile]))[0] - x @ self.slopes_
        shape = self._basis()
        logs = shape.solve(self.baseline_, target)
        if self.penalty:
            none = np.full(logs.size, np.nan)
            return np.exp(logs), none, none
        basis = shape(logs)
        V = np.nan_to_num(self.joint_covariance_)
        rows = np.hstack((x, basis))
        steep = shape.slope(logs) @ self.baseline_ + float(shape.fixed)
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, V, rows, optimize=True), 0.0)) / steep
        half = special.ndtri(0.5 + 0.5 * self.level) * error
        with np.errstate(over="ignore"):
            return np.exp(logs), np.exp(logs - half), np.exp(logs + half)

    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C of the risk score."""
        from aimed.metrics.concordance import harrell_c

        event, time = as_survival(y)
        return float(harrell_c(event, time, self.predict(X)))

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a column with its ratio; see `aimed.prognosis.coefficients.coefficients`."""
        check_is_fitted(self, "coef_")
        names = list(feature_names) if feature_names is not None else self._names()
        note = "ridge penalty: no interval is given, because shrunken coefficients are biased" if self.penalty else None
        return coefficient_rows(names, self.coef_, self.standard_errors_, self.level, note)

    def _limits(self) -> None:
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))
        half = special.ndtri(0.5 + 0.5 * self.level) * self.standard_errors_
        self.confidence_intervals_ = np.column_stack((self.coef_ - half, self.coef_ + half))

    def _state(self) -> dict[str, Any]:
        check_is_fitted(self, "coef_")
        names = getattr(self, "feature_names_in_", None)
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "slopes": self.slopes_.tolist(),
            "baseline": self.baseline_.tolist(),
            "joint_covariance": [[None if np.isnan(v) else v for v in row] for row in self.joint_covariance_.tolist()],
            "feature_names": None if names is None else [str(n) for n in names],
            "feature_means": self.feature_means_.tolist(),
            "last_time": float(self.unique_times_[-1]),
            "loglik": list(self.loglik_),
            "aic": self.aic_,
            "bic": self.bic_,
            "tests": {name: dict(test) for name, test in self.tests_.items()},
            "aliased": list(self.aliased_),
            "n": self.n_fitted_,
            "events": self.n_events_,
            "iterations": self.n_iter_,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.slopes_ = np.asarray(state["slopes"], dtype=np.float64)
        self.baseline_ = np.asarray(state["baseline"], dtype=np.float64)
        size = self.slopes_.size + self.baseline_.size
        full = [[np.nan if v is None else v for v in row] for row in state["joint_covariance"]]
        self.joint_covariance_ = np.array(full, dtype=np.float64).reshape(size, size)
        if state["feature_names"] is not None:
            self.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        self.n_features_in_ = self.slopes_.size
        self.feature_means_ = np.asarray(state["feature_means"], dtype=np.float64)
        self.unique_times_ = np.linspace(0.0, float(state["last_time"]), _GRID + 1)[1:]
        self.loglik_ = (float(state["loglik"][0]), float(state["loglik"][1]))
        self.aic_, self.bic_ = float(state["aic"]), float(state["bic"])
        self.tests_ = {name: dict(test) for name, test in state["tests"].items()}
        self.aliased_ = list(state["aliased"])
        self.n_fitted_, self.n_events_ = int(state["n"]), int(state["events"])
        self.n_iter_ = int(state["iterations"])


def _round_up(value: float) -> float:
    """Return the next number of two significant digits: the longest follow-up is somebody's."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1.0) if value > 0 else 1.0
    return float(np.ceil(value / step) * step)


def _test(statistic: float, df: float) -> dict[str, float | None]:
    return {"statistic": statistic, "df": df, "p": float(stats.chi2.sf(statistic, df)) if df > 0 else None}


_SCALES = {"weibull": "hazard", "exponential": "hazard", "lognormal": "normal", "loglogistic": "odds"}


class AcceleratedFailureTime(SmoothCurves):
    """Accelerated failure time: each predictor stretches or shrinks the time to the event by a constant factor.

    log T = intercept + xb + scale · ε, with ε from the distribution of a log Weibull, log-normal or log-logistic time.

    Parameters
    ----------
    distribution : {"weibull", "exponential", "lognormal", "loglogistic"}
        Exponential is Weibull with scale 1.
    penalty : float
        Ridge penalty θ: θ/2 · Σ(b/scale)² is taken off the log-likelihood, on the scale of X. For Weibull b/scale is
        the log hazard ratio.
    collinear : {"raise", "drop"}
        What to do with a column that is constant or a combination of earlier ones: refuse, or give it coefficient 0.
    level : float
        Confidence level of the intervals.
    max_iter : int
        Newton steps at most.

    Attributes
    ----------
    coef_ : float array, shape (p,)
        Log acceleration factors, -b: `predict` is X · `coef_`, and above 0 the event comes sooner. R's coefficients,
        the log time ratios b, are in `parameters_` and `summary`.
    standard_errors_ : float array, shape (p,)
    covariance_ : float array, shape (p, p)
    confidence_intervals_ : float array, shape (p, 2)
        Of `coef_`.
    intercept_, scale_ : float
        As R's ``survreg``.
    parameters_ : float array, shape (p + 2,), or (p + 1,) for the exponential
        Intercept, b and log scale, in that order, as R's ``survreg``.
    parameters_covariance_ : float array
    loglik_ : (float, float)
        Log-likelihood without predictors and of the model, of the times and not their logs, as in R.
    tests_ : dict
        ``likelihood_ratio`` and ``wald``.
    aic_, bic_ : float
    unique_times_ : float array, shape (100,)
        Times at which curves are drawn when none are asked for.
    aliased_, feature_names_in_, n_features_in_, n_fitted_, n_events_, n_iter_

    Notes
    -----
    With ε's survival written as a function of η = (log T - intercept - xb) / scale, the log-likelihood is concave in
    1/scale, intercept/scale and b/scale; Newton's method works in these, from any start, and results are turned into
    R's parameters at the end. A Newton step costs O(n p²).

    Curves: the limits of the survival are symmetric for η, of quantiles for log time, both by the delta method.

    Raises
    ------
    NotEstimableError
        If there is no event, columns are constant or collinear, or a coefficient grows without bound.
    DataError
        If X is incomplete, an event is at time 0, or a row enters at or after its end.

    References
    ----------
    Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 2002, chapter 3. Burridge, J R Stat Soc B
    1981;43:41 (concavity).

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(True, 9.0), (True, 2.0), (True, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> model = AcceleratedFailureTime().fit(X, y)
    >>> model.parameters_.round(4).tolist()
    [2.2236, -0.7873, -0.9043]
    >>> model.predict_survival_function(X[:1], times=[0.0, 5.0]).round(3).tolist()
    [[1.0, 0.803]]
    >>> [v.round(2).tolist() for v in model.predict_quantile(X[:2])]
    [[7.97, 3.63], [4.54, 2.15], [13.99, 6.1]]
    """

    def __init__(
        self,
        distribution: str = "weibull",
        penalty: float = 0.0,
        collinear: str = "raise",
        level: float = 0.95,
        max_iter: int = 100,
    ) -> None:
        self.distribution = distribution
        self.penalty = penalty
        self.collinear = collinear
        self.level = level
        self.max_iter = max_iter

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        entry: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> AcceleratedFailureTime:
        """Maximise the likelihood.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
        y : structured array, shape (n,)
            A boolean event and a time.
        sample_weight : float array, shape (n,), optional
            Whole numbers stand for repeated rows.
        entry : float array, shape (n,), optional
            Left truncation: a row is followed from here.
        upper : float array, shape (n,), optional
            Interval censoring: a row without a seen event had it between its time and here; infinite for none. A time
            of 0 with a finite end is a row censored from the left.
        cluster : array, shape (n,), optional
            Patient or site: standard errors are robust, with scores added within it. One cluster a row gives the
            plain sandwich.
        feature_names : sequence of str, length p, optional
        """
        if self.distribution not in _SCALES:
            raise StudyFileError(f"distribution = '{self.distribution}'", f"one of: {', '.join(_SCALES)}")
        columns, data, keep = self._read(X, y, sample_weight, entry, upper, feature_names)
        groups = None if cluster is None else patient_codes(cluster, self.n_fitted_)
        self.basis_ = line_basis(data, fixed=self.distribution == "exponential")
        seen = data.time[data.event & (data.weights > 0)]
        if not self.basis_.fixed and data.upper is None and seen.min() == seen.max() == data.time.max():
            raise NotEstimableError(
                "all events are at one time and nobody is followed longer, so the curve has no finite shape",
                "events at different times",
                "take distribution='exponential', or a finer unit of time",
            )
        likelihood = LinearTransformation(columns, self._scale(), data, self.basis_)
        self._fit(likelihood, columns, keep, start_line(data, self.basis_), f"{self.distribution} model", groups)
        self._natural()
        return self

    def _natural(self) -> None:
        """Turn slopes and baseline into R's parameters, and their covariance with them."""
        p, basis, b = self.n_features_in_, self.basis_, self.slopes_
        theta, mean = self.baseline_, self.feature_means_
        known = np.isfinite(np.diag(self.joint_covariance_))
        V = np.nan_to_num(self.joint_covariance_)
        if basis.fixed:
            rate, slope, more = 1.0, np.zeros(p), 1
        else:
            rate = theta[1] / basis.unit
            slope, more = b / (rate**2 * basis.unit), 2
        J = np.zeros((p + more, p + more))
        J[0, :p], J[0, p] = mean / rate, -1.0 / rate
        J[1 : p + 1, :p] = -np.eye(p) / rate
        center = 0.0 if basis.fixed else basis.center
        self.intercept_ = float(center - (theta[0] - mean @ b) / rate)
        self.scale_ = float(1.0 / rate)
        self.coef_ = b / rate
        values = [self.intercept_, *(-self.coef_)]
        if not basis.fixed:
            J[0, p + 1] = (theta[0] - mean @ b) / (rate**2 * basis.unit)
            J[1 : p + 1, p + 1] = slope
            J[p + 1, p + 1] = -1.0 / theta[1]
            values.append(float(np.log(self.scale_)))
        self.parameters_ = np.array(values)
        self.parameters_covariance_ = J @ V @ J.T
        lost = 1 + np.flatnonzero(~known[:p])
        self.parameters_covariance_[lost] = np.nan
        self.parameters_covariance_[:, lost] = np.nan
        self.covariance_ = self.parameters_covariance_[1 : p + 1, 1 : p + 1]
        self._limits()

    def _basis(self) -> TimeBasis:
        return self.basis_

    def _scale(self) -> str:
        return _SCALES[self.distribution]

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict a parameter as R prints it: the log time ratio, its error, z and p, and the time ratio."""
        check_is_fitted(self, "coef_")
        terms = ["(intercept)", *self._names()] + ([] if self.basis_.fixed else ["log(scale)"])
        errors = np.sqrt(np.diag(self.parameters_covariance_))
        rows = []
        for row, error in zip(
            coefficient_rows(terms, self.parameters_, errors, self.level), errors.tolist(), strict=True
        ):
            known = row["p"] is not None
            rows.append(
                {
                    "term": row["term"],
                    "coefficient": row["estimate"],
                    "standard_error": error if known else None,
                    "z": row["estimate"] / error if known else None,
                    "p": row["p"],
                    "lower": row["lower"],
                    "upper": row["upper"],
                    "time_ratio": row["ratio"],
                    "time_ratio_lower": row["ratio_lower"],
                    "time_ratio_upper": row["ratio_upper"],
                }
            )
        return rows

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; NaN becomes None. It holds no time of a single row."""
        return {**self._state(), "center": self.basis_.center, "unit": self.basis_.unit}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AcceleratedFailureTime:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["parameters"])
        model._restore(state)
        model.basis_ = LineBasis(float(state["center"]), float(state["unit"]), model.distribution == "exponential")
        model._natural()
        return model


def line_basis(data: FollowUp, fixed: bool = False) -> LineBasis:
    """Return the straight line in log time, centred and scaled for these rows."""
    logs = np.log(data.time[data.time > 0])
    if not logs.size:
        logs = np.zeros(1)
    return LineBasis(float(logs.mean()), max(float(logs.std()), 1e-6), fixed)


def start_line(data: FollowUp, basis: LineBasis) -> NDArray[np.float64]:
    """Return the line at which the hazard is constant, events over time."""
    ends = (
        data.time
        if data.upper is None
        else np.where(np.isfinite(data.upper), 0.5 * (data.time + data.upper), data.time)
    )
    happened = data.event if data.upper is None else data.event | np.isfinite(data.upper)
    follow = data.weights @ (ends if data.entry is None else ends - data.entry)
    rate = float(np.log((data.weights @ happened) / follow))
    return np.array([rate] if basis.fixed else [rate + basis.center, basis.unit])


def _build(parameters: Mapping[str, Any], seed: int) -> AcceleratedFailureTime:
    return AcceleratedFailureTime(**{"collinear": "drop", **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    # Choices, not a range, so that the plain model is one of them.
    return {
        "distribution": trial.suggest_categorical("distribution", ("weibull", "lognormal", "loglogistic")),
        "penalty": trial.suggest_categorical("penalty", (0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)),
    }


RECIPE = Recipe(
    name="accelerated_failure_time",
    title="Accelerated failure time",
    description="Each predictor stretches or shrinks the time to the event; the curve is Weibull, log-normal or "
    "log-logistic.",
    task="survival",
    family="linear",
    build=_build,
    space=_space,
    defaults={"distribution": "weibull", "penalty": 0.0},
    from_state=AcceleratedFailureTime.from_state,
    ratio_name="acceleration factor",
)
"""The catalogue entry ``accelerated_failure_time``."""
