"""Fine and Gray's model: proportional hazards of the subdistribution, so of the incidence itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special, stats
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import patient_codes, weights_of
from aimed.prognosis.coefficients import coefficient_rows, refuse_wide
from aimed.prognosis.competing import as_competing, names_of, stored_names, wolbers_c
from aimed.prognosis.cox import ridge_space
from aimed.prognosis.curves import as_matrix, bent_line, choose_knots, knot_times, lines_at, six_digits, steps_at
from aimed.prognosis.kernels.competing import residuals, risk_sums, scalar_sums
from aimed.prognosis.newton import Columns, Derivatives, climb, estimable, weighted_gram

__all__ = ["RECIPE", "FineGray"]

_GRID = 200


@dataclass(slots=True)
class _RiskSets:
    """Rows in order of time with the weighted risk sets of one cause.

    With u distinct times, k of them with an event of the cause: ``edges``, ``event_at`` and ``at_risk`` as in
    `aimed.prognosis.kernels.competing.residuals`; ``starts`` the first row at or after each event time; ``deaths``
    the weight of its events; ``kept`` G(t-) at event times; ``inverse`` 1 / G(T-) of rows with another event, else 0;
    ``group`` the last event time not after each row's time, or -1.
    """

    columns: Columns
    order: NDArray[np.intp]
    kind: NDArray[np.int64]
    weights: NDArray[np.float64]
    times: NDArray[np.float64]
    edges: NDArray[np.int64]
    event_at: NDArray[np.int64]
    at_risk: NDArray[np.float64]
    starts: NDArray[np.int64]
    deaths: NDArray[np.float64]
    counts: NDArray[np.intp]
    kept: NDArray[np.float64]
    inverse: NDArray[np.float64]
    group: NDArray[np.int64]
    event_sum: NDArray[np.float64]
    # What the last call of `value` found.
    eta: NDArray[np.float64]
    r: NDArray[np.float64]
    q: NDArray[np.float64]
    top: float
    sums: NDArray[np.float64]

    @classmethod
    def make(
        cls,
        values: NDArray[np.float64],
        codes: NDArray[np.int64],
        time: NDArray[np.float64],
        cause: int,
        weights: NDArray[np.float64],
    ) -> _RiskSets:
        order = np.argsort(time, kind="stable")
        when, w = time[order], weights[order]
        kind = np.where(codes[order] == cause, 1, np.where(codes[order] > 0, 2, 0)).astype(np.int64)
        new = np.concatenate(([True], when[1:] != when[:-1]))
        edges = np.concatenate((np.flatnonzero(new), [when.size])).astype(np.int64)
        place = np.cumsum(new) - 1
        at_risk = np.cumsum(w[::-1])[::-1][edges[:-1]]
        lost = np.bincount(place, weights=w * (kind == 0), minlength=at_risk.size)
        share = np.divide(lost, at_risk, out=np.zeros(lost.size), where=at_risk > 0)
        # Just before each time: rows censored at it still count.
        free = np.concatenate(([1.0], np.cumprod(1.0 - share)[:-1]))
        hits = kind == 1
        events = np.asarray(np.bincount(place, weights=w * hits, minlength=at_risk.size), dtype=np.float64)
        counts = np.bincount(place[hits], minlength=at_risk.size)
        at = np.flatnonzero(counts)
        event_at = np.full(at_risk.size, -1, dtype=np.int64)
        event_at[at] = np.arange(at.size)
        columns = Columns.of(values, order)
        return cls(
            columns=columns, order=order, kind=kind, weights=w, times=when[edges[at]], edges=edges, event_at=event_at,
            at_risk=at_risk, starts=edges[at], deaths=events[at], counts=counts[at], kept=free[at],
            inverse=np.where(kind == 2, 1.0 / free[place], 0.0),
            group=(np.cumsum(event_at >= 0) - 1)[place].astype(np.int64),
            event_sum=(w * hits) @ columns.X,
            eta=np.empty(0), r=np.empty(0), q=np.empty(0), top=0.0, sums=np.empty(at.size),
        )  # fmt: skip

    def value(self, beta: NDArray[np.float64]) -> float:
        """Return the log pseudo-likelihood."""
        self.eta = self.columns.X @ beta
        self.top = float(self.eta.max())
        self.r = self.weights * np.exp(self.eta - self.top)
        self.q = self.r * self.inverse
        scalar_sums(self.r, self.q, self.starts, self.kept, self.sums)
        total = float(self.deaths.sum())
        return float(self.event_sum @ beta - self.deaths @ np.log(self.sums) - total * self.top)

    def means(self) -> NDArray[np.float64]:
        """Return the mean of x over the weighted risk set at each event time, shape (k, p)."""
        out = np.empty((self.starts.size, self.columns.X.shape[1]))
        risk_sums(self.columns.X, self.r, self.q, self.starts, self.kept, out)
        out /= self.sums[:, None]
        return out

    def derivatives(self, beta: NDArray[np.float64]) -> Derivatives:
        """Return gradient and information: XᵀWX less the squares of the risk sets' means.

        W holds each row's relative risk times the hazard it has met, as is or, after another event, with the weight
        it has left.
        """
        hazard = self.deaths / self.sums
        before = np.concatenate(([0.0], np.cumsum(hazard)))
        late = np.concatenate(([0.0], np.cumsum(self.kept * hazard)))
        met = self.r * before[self.group + 1] + self.q * (late[-1] - late[self.group + 1])
        gradient = self.event_sum - met @ self.columns.X
        information = weighted_gram(self.columns.X, met)
        means = self.means()
        information -= weighted_gram(means, self.deaths)
        return gradient, information

    def influence(
        self, means: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return score residuals and what each row adds to the baseline hazard; see the kernel `residuals`."""
        n, p = self.columns.X.shape
        score, own, met = np.empty((n, p)), np.empty((n, 2)), np.empty((self.at_risk.size, 3))
        residuals(
            self.columns.X, self.weights, self.kind, self.r, self.q, self.edges, self.event_at, self.at_risk, means,
            self.deaths / self.sums, self.kept, 1.0 / self.sums, score, own, met,
        )  # fmt: skip
        return score, own, met


def _spread(
    at: NDArray[np.int64],
    edges: NDArray[np.int64],
    r: NDArray[np.float64],
    w: NDArray[np.float64],
    score: NDArray[np.float64],
    own: NDArray[np.float64],
    met: NDArray[np.float64],
    cluster: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, at some distinct times, the sum of squares of what rows add to the hazard, and its products with scores.

    Without clusters rows of one kind are added up once, before and after each time; with clusters each time takes a
    pass over the rows.
    """
    p = score.shape[1]
    squares, products = np.empty(at.size), np.empty((at.size, p))
    if cluster is not None:
        size = int(cluster.max()) + 1
        joined = np.column_stack([np.bincount(cluster, weights=s, minlength=size) for s in score.T])
        for g, u in enumerate(at):
            done = np.arange(r.size) < edges[u + 1]
            h, k, part = met[u]
            each = np.where(done, own[:, 0] - own[:, 1] * k, -r * h - w * part)
            sums = np.bincount(cluster, weights=each, minlength=size)
            squares[g], products[g] = sums @ sums, sums @ joined
        return squares, products
    parts = np.column_stack((own, r, w))
    edge = [0, *(int(edges[u + 1]) for u in at), r.size]
    segments = [slice(a, b) for a, b in pairwise(edge)]
    # By segment of rows between two of the times: products of the parts with each other, and with the scores.
    inner = np.array([parts[rows].T @ parts[rows] for rows in segments])
    outer = np.array([parts[rows].T @ score[rows] for rows in segments]).reshape(len(segments), 4, p)
    gone_inner, gone_outer = np.cumsum(inner, axis=0), np.cumsum(outer, axis=0)
    # Those still followed are added up from the end, where the sums are small.
    left_inner, left_outer = np.cumsum(inner[::-1], axis=0)[::-1], np.cumsum(outer[::-1], axis=0)[::-1]
    for g, u in enumerate(at):
        h, k, part = met[u]
        past, still = np.array([1.0, -k, 0.0, 0.0]), np.array([0.0, 0.0, -h, -part])
        squares[g] = past @ gone_inner[g] @ past + still @ left_inner[g + 1] @ still
        products[g] = past @ gone_outer[g] + still @ left_outer[g + 1]
    return squares, products


class FineGray(BaseEstimator):  # type: ignore[misc]
    """Proportional hazards of the subdistribution: how predictors move the cumulative incidence of one cause.

    Parameters
    ----------
    cause : int
        Code of the event of interest.
    causes : int, optional
        How many causes are declared; codes above are refused. When absent, every code up to the largest must occur.
    penalty : float
        Ridge penalty θ: the log pseudo-likelihood less θ/2 · Σβ² is maximised, on the scale of X.
    collinear : {"raise", "drop"}
        What to do with a column that is constant or a combination of earlier ones: refuse, or give it coefficient 0.
    level : float
        Confidence level of the intervals.
    max_iter : int
        Newton steps at most.
    step_events : int
        At least so many events stand behind each stored step of the baseline hazard, as in
        `aimed.prognosis.cox.CoxPH`; above 1 in a model that leaves the house.

    Attributes
    ----------
    coef_ : float array, shape (p,)
        Log subdistribution hazard ratios.
    standard_errors_ : float array, shape (p,)
        Robust, with the estimation of the censoring weights counted, as in R's ``cmprsk::crr``; NaN for a dropped
        column and, with a penalty, for all.
    covariance_ : float array, shape (p, p)
    naive_covariance_ : float array, shape (p, p)
        Inverse of the information; it takes the censoring weights as known and the model as true.
    confidence_intervals_ : float array, shape (p, 2)
    loglik_ : (float, float)
        Log pseudo-likelihood without predictors and of the model.
    tests_ : dict
        ``wald`` (robust) with statistic, df and p. The pseudo-likelihood ratio has no known distribution.
    unique_times_ : float array, shape (t,)
        Distinct times of the event of interest, or points of a line as in `CoxPH`.
    cumulative_baseline_hazard_ : float array, shape (t,)
        Of the subdistribution, at the mean of every column (`feature_means_`).
    aliased_ : list of str
    feature_names_in_, n_features_in_, n_fitted_, n_events_, n_competing_, n_iter_

    Notes
    -----
    Rows with another event stay in the risk set with weight G(t-)/G(T-), G the Kaplan-Meier curve of censoring. The
    weight is a product of something of the row and something of the time, so all risk sets come out of two passes:
    O(n p²) a Newton step, without expanding the data. Ties are Breslow's, as in ``crr``.

    The interval of the incidence counts coefficients, baseline and censoring weights: the hazard at t has an influence
    of each row, made of the same sums; it is kept at no more than 200 event times.

    Raises
    ------
    NotEstimableError
        If the cause never happens, columns are constant or collinear, or a coefficient grows without bound.
    DataError
        If X is incomplete, y is not a structured array of event code and time, or a code is not declared.

    References
    ----------
    Fine and Gray, J Am Stat Assoc 1999;94:496. Gray, R package cmprsk. Geskus, Biometrics 2011;67:39.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0], [0.0]])
    >>> y = np.array([(1, 9.0), (1, 2.0), (1, 4.0), (2, 6.0), (1, 3.0), (0, 5.0), (2, 1.0)],
    ...              dtype=[("event", int), ("time", float)])
    >>> model = FineGray(cause=1).fit(X, y)
    >>> model.coef_.round(4).tolist(), model.standard_errors_.round(4).tolist()
    ([0.7152], [0.9302])
    >>> model.predict_cumulative_incidence(X[:2], times=[1.0, 5.0]).round(3).tolist()
    [[0.0, 0.321], [0.0, 0.547]]
    """

    def __init__(
        self,
        cause: int = 1,
        causes: int | None = None,
        penalty: float = 0.0,
        collinear: str = "raise",
        level: float = 0.95,
        max_iter: int = 100,
        step_events: int = 1,
    ) -> None:
        self.cause = cause
        self.causes = causes
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
        cluster: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> FineGray:
        """Maximise the weighted pseudo-likelihood.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
        y : structured array, shape (n,)
            Event code, 0 to K, and time; see `as_competing`.
        sample_weight : float array, shape (n,), optional
            Weights of rows, in the censoring curve too. Standard errors take them as sampling weights.
        cluster : array, shape (n,), optional
            Patient or site of each row: residuals are added within it before they are squared.
        feature_names : sequence of str, length p, optional
        """
        if self.collinear not in ("raise", "drop"):
            raise StudyFileError(f"collinear = '{self.collinear}'", "'raise' or 'drop'")
        if not (np.isfinite(self.penalty) and self.penalty >= 0):
            raise StudyFileError("the ridge penalty is negative or not finite", "a number >= 0")
        values, found = as_matrix(X, names=feature_names)
        codes, time, _ = as_competing(y, self.cause, self.causes)
        n, p = values.shape
        if n != time.size:
            raise DataError(f"X has {n} rows and y {time.size}", "one outcome a row")
        names = names_of(self, feature_names, found, p)
        weights = weights_of(sample_weight, n)
        groups = None if cluster is None else patient_codes(cluster, n)
        if (weights == 0).any():
            used = weights > 0
            values, codes, time, weights = values[used], codes[used], time[used], weights[used]
            groups = None if groups is None else patient_codes(groups[used], int(used.sum()))
            if not (codes == self.cause).any():
                raise NotEstimableError(f"no weighted row has an event of cause {self.cause}", "a cause that happens")
        self.n_fitted_, self.n_events_ = codes.size, int((codes == self.cause).sum())
        self.n_competing_ = int(((codes > 0) & (codes != self.cause)).sum())

        refuse_wide(p, codes.size, self.n_events_, self.penalty, self.collinear)
        risk = _RiskSets.make(values, codes, time, int(self.cause), weights)
        unit, mean = risk.columns.unit, risk.columns.mean
        theta = np.full(p, float(self.penalty)) * unit**2
        zero = np.zeros(p)
        null = risk.value(zero)
        keep = np.ones(p, dtype=bool)
        if not self.penalty:
            spread = weighted_gram(risk.columns.X, np.full(codes.size, 1.0 / codes.size))
            keep = estimable(spread, names, self.collinear)
        beta, self.n_iter_ = climb(
            risk.value, risk.derivatives, zero, keep, theta, names, int(self.max_iter), "Fine-Gray model"
        )
        self.coef_ = beta * unit
        self.aliased_ = [name for name, kept in zip(names, keep, strict=True) if not kept]
        self.loglik_ = (null, risk.value(beta))
        self.feature_means_ = mean
        self.mean_linear_predictor_ = float(mean @ self.coef_)
        lift = np.exp(-risk.top)
        self.unique_times_ = risk.times
        self.cumulative_baseline_hazard_ = np.cumsum(risk.deaths / risk.sums) * lift
        knots = choose_knots(risk.counts, self.step_events, _GRID)
        self._infer(risk, beta, keep, groups, knots)
        if self.step_events > 1:
            self.unique_times_, self.cumulative_baseline_hazard_ = bent_line(
                risk.times, self.cumulative_baseline_hazard_, 0.0, knots
            )
        return self

    def _infer(
        self,
        risk: _RiskSets,
        beta: NDArray[np.float64],
        keep: NDArray[np.bool_],
        groups: NDArray[np.int64] | None,
        knots: NDArray[np.intp],
    ) -> None:
        p, unit = keep.size, risk.columns.unit
        self.covariance_ = np.full((p, p), np.nan)
        self.naive_covariance_ = np.full((p, p), np.nan)
        self.tests_: dict[str, dict[str, float | None]] = {}
        self.curve_variance_: dict[str, NDArray[np.float64]] | None = None
        if not self.penalty:
            with np.errstate(all="ignore"):
                _, information = risk.derivatives(beta)
            rows = np.ix_(keep, keep)
            bread = linalg.inv(information[rows]) if keep.any() else np.zeros((0, 0))
            means = risk.means()
            score, own, met = risk.influence(means)
            order = None if groups is None else groups[risk.order]
            joined = score
            if order is not None:
                size = int(order.max()) + 1
                joined = np.column_stack([np.bincount(order, weights=s, minlength=size) for s in score.T])
                joined = joined.reshape(size, p)
            robust = bread @ (joined.T @ joined)[rows] @ bread
            self.covariance_[rows], self.naive_covariance_[rows] = robust, bread
            if keep.any():
                self.tests_["wald"] = _wald(beta[keep], robust)
            at = np.flatnonzero(risk.event_at >= 0)[knots]
            squares, products = _spread(at, risk.edges, risk.r, risk.weights, score, own, met, order)
            drift = np.cumsum(means * (risk.deaths / risk.sums)[:, None], axis=0)[knots]
            lift = np.exp(-risk.top)
            shared = np.zeros((at.size, p))
            shared[:, keep] = products[:, keep] @ bread
            self.curve_variance_ = {
                "times": knot_times(risk.times, knots) if self.step_events > 1 else risk.times[knots],
                "squares": squares * lift**2,
                "products": shared * (lift * unit),
                "drift": drift * (lift / unit),
            }
            if self.step_events > 1:
                for part in ("squares", "products", "drift"):
                    self.curve_variance_[part] = six_digits(self.curve_variance_[part])
            self.covariance_ *= np.outer(unit, unit)
            self.naive_covariance_ *= np.outer(unit, unit)
        self._limits()

    def _limits(self) -> None:
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))
        half = special.ndtri(0.5 + 0.5 * self.level) * self.standard_errors_
        self.confidence_intervals_ = np.column_stack((self.coef_ - half, self.coef_ + half))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the linear predictor Xβ, shape (n,); higher means a higher incidence of the cause."""
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_, stored_names(self))
        return np.asarray(values @ self.coef_)

    def _baseline(self, times: ArrayLike) -> NDArray[np.float64]:
        read = steps_at if self.step_events == 1 else lines_at
        return read(self.unique_times_, self.cumulative_baseline_hazard_, np.atleast_1d(times), 0.0)

    def predict_cumulative_incidence(self, X: Any, times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the chance of an event of the cause by each time.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            `unique_times_` when absent.

        Returns
        -------
        float array, shape (n, t)
        """
        relative = np.exp(self.predict(X) - self.mean_linear_predictor_)
        base = self.cumulative_baseline_hazard_ if times is None else self._baseline(times)
        return np.asarray(-np.expm1(-relative[:, None] * base))

    def incidence_interval(self, X: Any, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return pointwise confidence limits of the incidence of each row, symmetric for log(-log(1 - F)).

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,)

        Returns
        -------
        lower, upper : float arrays, shape (n, t)
            Both 0 before the first event of the cause. None with a penalty: shrunken coefficients are biased.

        Notes
        -----
        With Λ the baseline hazard at the column means, x less those means, V the covariance of the coefficients,
        A = Σφ², b the covariance of Σφ with the coefficients and D = ∫ x̄ dΛ, φ a row's influence on Λ(t) at fixed
        coefficients: Var Λ(t|x) = exp(2xβ) [A + 2(xΛ - D)ᵀb + (xΛ - D)ᵀV(xΛ - D)].

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, time = rng.normal(size=(60, 1)), rng.exponential(size=60)
        >>> y = np.array(list(zip(rng.integers(0, 3, 60), time)), dtype=[("event", int), ("time", float)])
        >>> lower, upper = FineGray().fit(X, y).incidence_interval([[0.0]], times=[1.0])
        >>> lower.round(2).tolist(), upper.round(2).tolist()
        ([[0.11]], [[0.32]])
        """
        eta = self.predict(X) - self.mean_linear_predictor_
        kept = self.curve_variance_
        if kept is None:
            return None
        values, _ = as_matrix(X, self.n_features_in_)
        base = self._baseline(times)
        lower, upper = np.zeros((2, eta.size, base.size))
        met = base > 0.0
        if not met.any():
            return lower, upper
        hazard = base[met]
        at = np.concatenate(([0.0], self._baseline(kept["times"])))
        # Before the first stored point its relative error holds: the line there is drawn from its events.
        near = np.maximum(hazard, at[1]) if self.step_events > 1 else hazard

        def read(part: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(np.interp(near, at, np.concatenate(([0.0], part))))

        own = read(kept["squares"]) / near**2
        shared = np.column_stack([read(part) for part in kept["products"].T]).reshape(near.size, -1) / near[:, None]
        drift = np.column_stack([read(part) for part in kept["drift"].T]).reshape(near.size, -1) / near[:, None]
        covariance = np.nan_to_num(self.covariance_)
        x = values - self.feature_means_
        # (x - d)ᵀV(x - d) + 2(x - d)ᵀb, without an array of rows by times by columns.
        relative = np.einsum("ij,jk,ik->i", x, covariance, x)[:, None] + 2.0 * x @ (shared - drift @ covariance).T
        relative += own + np.einsum("ij,jk,ik->i", drift, covariance, drift) - 2.0 * (drift * shared).sum(axis=1)
        half = special.ndtri(0.5 + 0.5 * self.level) * np.sqrt(np.maximum(relative, 0.0))
        middle = eta[:, None] + np.log(hazard)
        with np.errstate(over="ignore"):
            lower[:, met] = -np.expm1(-np.exp(middle - half))
            upper[:, met] = -np.expm1(-np.exp(middle + half))
        return lower, upper

    def risk_interval(self, X: Any, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return `incidence_interval`, under the name that models of every kind have for it."""
        return self.incidence_interval(X, times)

    def score(self, X: Any, y: Any) -> float:
        """Return Wolbers' C: Harrell's, with rows that had another event kept as never having this one."""
        codes, time, _ = as_competing(y, self.cause, self.causes)
        return wolbers_c(codes, time, self.cause, self.predict(X))

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict a column: term, coefficient, error, z, p, and the subdistribution hazard ratio."""
        check_is_fitted(self, "coef_")
        rows = []
        for name, row, error in zip(
            stored_names(self), self.coefficient_table(), self.standard_errors_.tolist(), strict=True
        ):
            known = row["p"] is not None
            rows.append(
                {
                    "term": name,
                    "coefficient": row["estimate"],
                    "standard_error": error if known else None,
                    "z": row["estimate"] / error if known else None,
                    "p": row["p"],
                    "lower": row["lower"],
                    "upper": row["upper"],
                    "hazard_ratio": row["ratio"],
                    "hazard_ratio_lower": row["ratio_lower"],
                    "hazard_ratio_upper": row["ratio_upper"],
                }
            )
        return rows

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a column with its ratio; see `aimed.prognosis.coefficients.coefficients`."""
        check_is_fitted(self, "coef_")
        names = list(feature_names) if feature_names is not None else stored_names(self)
        note = "ridge penalty: no interval is given, because shrunken coefficients are biased" if self.penalty else None
        return coefficient_rows(names, self.coef_, self.standard_errors_, self.level, note)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; NaN becomes None."""
        check_is_fitted(self, "coef_")
        names = getattr(self, "feature_names_in_", None)
        spread = self.curve_variance_
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "coef": self.coef_.tolist(),
            "covariance": _none_for_nan(self.covariance_),
            "naive_covariance": _none_for_nan(self.naive_covariance_),
            "feature_names": None if names is None else [str(n) for n in names],
            "feature_means": self.feature_means_.tolist(),
            "mean_linear_predictor": self.mean_linear_predictor_,
            "times": self.unique_times_.tolist(),
            "cumulative_baseline_hazard": self.cumulative_baseline_hazard_.tolist(),
            "curve_variance": None if spread is None else {name: part.tolist() for name, part in spread.items()},
            "loglik": list(self.loglik_),
            "tests": {name: dict(test) for name, test in self.tests_.items()},
            "aliased": list(self.aliased_),
            "n": self.n_fitted_,
            "events": self.n_events_,
            "competing": self.n_competing_,
            "iterations": self.n_iter_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FineGray:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["parameters"])
        model.coef_ = np.asarray(state["coef"], dtype=np.float64)
        p = model.coef_.size
        model.covariance_ = _nan_for_none(state["covariance"], p)
        model.naive_covariance_ = _nan_for_none(state["naive_covariance"], p)
        model._limits()
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        model.n_features_in_ = p
        model.feature_means_ = np.asarray(state["feature_means"], dtype=np.float64)
        model.mean_linear_predictor_ = float(state["mean_linear_predictor"])
        model.unique_times_ = np.asarray(state["times"], dtype=np.float64)
        model.cumulative_baseline_hazard_ = np.asarray(state["cumulative_baseline_hazard"], dtype=np.float64)
        spread = state["curve_variance"]
        model.curve_variance_ = None
        if spread is not None:
            stored = {name: np.asarray(part, dtype=np.float64) for name, part in spread.items()}
            size = stored["times"].size
            model.curve_variance_ = {
                name: part.reshape(size, p) if name in ("products", "drift") else part for name, part in stored.items()
            }
        model.loglik_ = (float(state["loglik"][0]), float(state["loglik"][1]))
        model.tests_ = {name: dict(test) for name, test in state["tests"].items()}
        model.aliased_ = list(state["aliased"])
        model.n_fitted_, model.n_events_ = int(state["n"]), int(state["events"])
        model.n_competing_, model.n_iter_ = int(state["competing"]), int(state["iterations"])
        return model


def _none_for_nan(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(v) else v for v in row] for row in matrix.tolist()]


def _nan_for_none(rows: Sequence[Sequence[float | None]], size: int) -> NDArray[np.float64]:
    full = [[np.nan if v is None else v for v in row] for row in rows]
    return np.array(full, dtype=np.float64).reshape(size, size)


def _wald(beta: NDArray[np.float64], covariance: NDArray[np.float64]) -> dict[str, float | None]:
    statistic, df = float(beta @ linalg.lstsq(covariance, beta)[0]), float(beta.size)
    return {"statistic": statistic, "df": df, "p": float(stats.chi2.sf(statistic, df))}


def _build_fine_gray(parameters: Mapping[str, Any], seed: int) -> FineGray:
    # A packaged hazard must not step at the event of a single patient.
    return FineGray(**{"collinear": "drop", "step_events": 5, **parameters})


RECIPE = Recipe(
    name="fine_gray",
    title="Fine-Gray regression",
    description="Proportional hazards of the subdistribution: each predictor moves the cumulative incidence itself.",
    task="competing",
    family="linear",
    build=_build_fine_gray,
    space=ridge_space,
    defaults={"penalty": 0.0},
    from_state=FineGray.from_state,
    ratio_name="subdistribution hazard ratio",
)
"""The catalogue entry ``fine_gray``."""
