"""Cox's proportional hazards model with standard errors, tests and survival curves that agree with R's coxph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special, stats
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis.coefficients import (
    coefficient_rows,
    independent_columns,
    quadratic_test,
    refuse_columns,
    refuse_wide,
    wald_test,
)
from aimed.prognosis.curves import (
    LineFunction,
    StepFunction,
    as_matrix,
    as_survival,
    bent_line,
    choose_knots,
    knot_times,
    lines_at,
    six_digits,
    steps_at,
)
from aimed.prognosis.risk_sets import (
    Outcome,
    Point,
    RiskSets,
    Steps,
    codes_of,
    line_up,
    named_matrix,
    one_thread,
    read_outcome,
)

if TYPE_CHECKING:
    import optuna

    from aimed.prognosis.cox_summary import CoxSummary

__all__ = ["RECIPE", "Baseline", "CoxCurves", "CoxPH", "ridge_space"]

_BLOCK = 8192
_GRID = 200
_Spread: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(slots=True, eq=False)
class Baseline:
    """The cumulative hazard at the column means, of everyone or of one stratum.

    Parameters
    ----------
    times, hazard : float arrays, shape (t,)
    spread : tuple of float arrays, shapes (g,), (g,), (g, p), or None
        What `CoxPH.risk_interval` needs.
    lines : bool
        Straight between the times, not flat.
    """

    times: NDArray[np.float64]
    hazard: NDArray[np.float64]
    spread: _Spread | None
    lines: bool

    def at(self, times: ArrayLike) -> NDArray[np.float64]:
        """Return the cumulative hazard at each time."""
        return (lines_at if self.lines else steps_at)(self.times, self.hazard, np.atleast_1d(times), 0.0)

    def function(self, relative: float, survival: bool) -> StepFunction | LineFunction:
        """Return the cumulative hazard of one row, or its survival, as a function of time."""
        hazard = relative * self.hazard
        if self.lines:
            return LineFunction(self.times, hazard, survival=survival)
        return StepFunction(self.times, np.exp(-hazard) if survival else hazard, float(survival))

    def to_state(self) -> dict[str, Any]:
        """Return times, hazard and spread in JSON types."""
        spread = self.spread
        return {
            "times": self.times.tolist(),
            "cumulative_baseline_hazard": self.hazard.tolist(),
            "curve_variance": None
            if spread is None
            else dict(zip(("times", "steps", "means"), (part.tolist() for part in spread), strict=True)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], p: int, lines: bool) -> Baseline:
        """Rebuild it from `to_state`."""
        # A state written before intervals were offered has no such entry.
        stored = state.get("curve_variance")
        spread: _Spread | None = None
        if stored is not None:
            times, steps, means = (np.asarray(stored[part], dtype=np.float64) for part in ("times", "steps", "means"))
            spread = times, steps, means.reshape(times.size, p)
        times = np.asarray(state["times"], dtype=np.float64)
        return cls(times, np.asarray(state["cumulative_baseline_hazard"], dtype=np.float64), spread, lines)


class CoxCurves:
    """What every proportional hazards model does once it has coefficients and baseline hazards."""

    coef_: NDArray[np.float64]
    n_features_in_: int
    mean_linear_predictor_: float
    strata_: NDArray[Any] | None
    baselines_: list[Baseline]

    def _names(self) -> list[str]:
        return [str(n) for n in getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])]

    def predict(self, X: Any, offset: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the linear predictor Xβ, plus the offset where given, shape (n,); higher means an earlier event."""
        check_is_fitted(self, "coef_")
        values, _ = as_matrix(X, self.n_features_in_, self._names())
        out = np.asarray(values @ self.coef_)
        return out if offset is None else out + np.asarray(offset, dtype=np.float64)

    def _places(self, n: int, strata: ArrayLike | None) -> list[tuple[Baseline, Any]]:
        """Return each baseline with the rows it is for."""
        if self.strata_ is None:
            if strata is not None:
                raise DataError("strata given to a model without strata", "no strata")
            return [(self.baselines_[0], slice(None))]
        if strata is None:
            raise DataError("the model has strata, and no stratum is given", "strata=, one label a row")
        labels = np.asarray(strata)
        if labels.shape != (n,):
            raise DataError(f"strata has shape {labels.shape}", f"one label a row, shape ({n},)")
        labels = labels.astype(self.strata_.dtype) if labels.dtype.kind == "O" else labels
        at = np.minimum(np.searchsorted(self.strata_, labels), self.strata_.size - 1)
        unknown = int((self.strata_[at] != labels).sum())
        if unknown:
            raise DataError(f"{unknown} of {n} rows are of a stratum the model has not seen", "strata of the training")
        return [(self.baselines_[s], np.flatnonzero(at == s)) for s in np.unique(at)]

    def _curves(
        self, X: Any, times: ArrayLike | None, array: bool, strata: ArrayLike | None, offset: ArrayLike | None,
        survival: bool,
    ) -> Any:  # fmt: skip
        relative = np.exp(self.predict(X, offset) - self.mean_linear_predictor_)
        places = self._places(relative.size, strata)
        if times is None and not array:
            out = np.empty(relative.size, dtype=object)
            for baseline, rows in places:
                out[rows] = [baseline.function(float(v), survival) for v in relative[rows]]
            return out
        if times is None and self.strata_ is not None:
            raise DataError("strata step at times of their own", "times=, one grid for all of them")
        grid = None if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        hazards = np.empty((relative.size, self.baselines_[0].times.size if grid is None else grid.size))
        for baseline, rows in places:
            base = baseline.hazard if grid is None else baseline.at(grid)
            hazards[rows] = relative[rows, None] * (-base if survival else base)
        return np.exp(hazards, out=hazards) if survival else hazards

    def predict_cumulative_hazard_function(
        self,
        X: Any,
        times: ArrayLike | None = None,
        return_array: bool = False,
        *,
        strata: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Any:
        """Return cumulative hazards.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            Times to read the curves at; `unique_times_` when absent.
        return_array : bool
            Without times: an array in place of functions.
        strata : array, shape (n,), optional
            Label of each row, for a model with strata.
        offset : float array, shape (n,), optional

        Returns
        -------
        float array, shape (n, t), or object array of n functions of time
        """
        return self._curves(X, times, return_array, strata, offset, survival=False)

    def predict_survival_function(
        self,
        X: Any,
        times: ArrayLike | None = None,
        return_array: bool = False,
        *,
        strata: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Any:
        """Return survival probabilities; parameters as in `predict_cumulative_hazard_function`."""
        return self._curves(X, times, return_array, strata, offset, survival=True)

    def score(
        self,
        X: Any,
        y: Any,
        *,
        entry: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        strata: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return Harrell's C of the linear predictor, among rows at risk together and of one stratum."""
        from aimed.metrics.concordance import harrell_c

        score = self.predict(X, offset)
        if entry is None and sample_weight is None and strata is None:
            event, time = as_survival(y)
            return float(harrell_c(event, time, score))
        outcome = read_outcome(y, entry, sample_weight, strata)
        found = self._concordance(outcome, score)
        if found is None:
            raise NotEstimableError("no pair of rows can be ordered", "an event followed by a row at risk then")
        return found[0]

    def _keep_curves(self, risk: RiskSets, at: Steps, step_events: int, wanted: bool) -> None:
        """Keep the hazard of each stratum, and if wanted what intervals need."""
        line, p = risk.line, self.n_features_in_
        parts = dict(line.parts())
        knots = {s: choose_knots(line.deaths[where], step_events, _GRID) for s, where in parts.items()}
        hazard, c0 = at.hazard, at.steps[2] * np.exp(-2.0 * at.top)
        means = np.zeros((0, p))
        ends = np.concatenate([where.start + knots[s] for s, where in parts.items()])
        if wanted:
            segment = np.searchsorted(ends, np.arange(line.times.size), side="left")
            means = risk.group_sums(at, segment, ends.size) * np.exp(-at.top)
        self.baselines_ = []
        for stratum in range(1 if self.strata_ is None else self.strata_.size):
            if stratum not in parts:
                empty = np.zeros(0)
                spread: _Spread | None = (empty, empty, np.zeros((0, p))) if wanted else None
                self.baselines_.append(Baseline(empty, empty, spread, step_events > 1))
                continue
            where, own = parts[stratum], knots[stratum]
            times, total = line.times[where], np.cumsum(hazard[where])
            spread = None
            if wanted:
                at_knots = np.flatnonzero((ends >= where.start) & (ends < where.stop))
                spread = times[own], np.cumsum(c0[where])[own], np.cumsum(means[at_knots], axis=0)
            if step_events > 1:
                if spread is not None:
                    spread = knot_times(times, own), six_digits(spread[1]), six_digits(spread[2])
                times, total = bent_line(times, total, 0.0, own)
            self.baselines_.append(Baseline(times, total, spread, step_events > 1))

    def _concordance(self, outcome: Outcome, score: NDArray[np.float64]) -> tuple[float, float | None] | None:
        """Return Harrell's C of a score and, without late entry, its error; None without a usable pair."""
        from aimed.metrics.concordance import harrell_c

        if outcome.offset is not None:
            score = score + outcome.offset
        if outcome.entry is not None:
            return _concordance_at_risk(outcome, score)
        try:
            found = harrell_c(outcome.event, outcome.time, score, outcome.weight, strata=outcome.stratum)
        except NotEstimableError:
            return None
        error = found.se
        return float(found), float(error) if error is not None and np.isfinite(error) else None

    def _one(self, part: str) -> Any:
        found = [getattr(baseline, part) for baseline in self.baselines_]
        return found[0] if self.strata_ is None else found

    @property
    def unique_times_(self) -> Any:
        """Times at which the curves step; see the class."""
        return self._one("times")

    @property
    def event_times_(self) -> Any:
        """The same, by the name that forests of scikit-survival use."""
        return self._one("times")

    @property
    def cumulative_baseline_hazard_(self) -> Any:
        """Cumulative hazard at the column means; see the class."""
        return self._one("hazard")

    @property
    def curve_variance_(self) -> Any:
        """What `risk_interval` needs; see the class."""
        return self._one("spread")

    @property
    def cum_baseline_hazard_(self) -> Any:
        """Cumulative hazard of a row of zeros, as a function of time; a list of them with strata."""
        relative = float(np.exp(-self.mean_linear_predictor_))
        found = [baseline.function(relative, survival=False) for baseline in self.baselines_]
        return found[0] if self.strata_ is None else found

    @property
    def baseline_survival_(self) -> Any:
        """Survival of a row of zeros, as a function of time; a list of them with strata."""
        relative = float(np.exp(-self.mean_linear_predictor_))
        found = [baseline.function(relative, survival=True) for baseline in self.baselines_]
        return found[0] if self.strata_ is None else found


class CoxPH(CoxCurves, BaseEstimator):  # type: ignore[misc]
    """Proportional hazards regression for right-censored outcomes, also with late entry and in strata.

    Parameters
    ----------
    penalty : float
        Ridge penalty θ: the log partial likelihood less θ/2 · Σβ² is maximised, on the scale of X.
    ties : {"efron", "breslow"}
        How events at the same time share their risk set.
    collinear : {"raise", "drop"}
        What to do with a column that is constant or a combination of earlier ones, when there is no
        penalty: refuse, or give it coefficient 0 and no standard error, as R does.
    level : float
        Confidence level of the intervals.
    max_iter : int
        Newton steps at most.
    step_events : int
        At least so many events stand behind each stored step of the baseline hazard; see the notes.
    robust : bool
        Standard errors that hold when the model does not (Lin and Wei). `fit` with `cluster` implies it.
    firth : bool
        Maximise the likelihood times the root of the information (Firth, Heinze and Schemper): finite coefficients
        when a column separates the events, and less bias with few. The intervals are Wald's; those to report then are
        of `aimed.prognosis.cox_diagnostics.profile_intervals`.

    Attributes
    ----------
    coef_, standard_errors_ : float arrays, shape (p,)
        Log hazard ratios for one unit of each column. With a penalty the errors come from the inverse of
        the penalised information, as in R; NaN for a dropped column. Robust when asked.
    covariance_ : float array, shape (p, p)
        Empty, shape (0, 0), with a penalty and more columns than rows at risk.
    naive_covariance_ : float array, shape (p, p), or None
        The model's own, where `covariance_` is robust.
    confidence_intervals_ : float array, shape (p, 2)
        Wald intervals of the coefficients.
    loglik_ : (float, float)
        Log partial likelihood without predictors and of the model, penalty not counted.
    tests_ : dict
        ``likelihood_ratio``, ``wald`` and ``score``, each with statistic, df and p, and ``robust_score`` with robust
        errors, in which case Wald's test is robust too. With a penalty the first alone, on trace((I + P)⁻¹ I)
        degrees of freedom. With `firth` the first two, of the penalised likelihood.
    unique_times_ : float array, shape (t,)
        Distinct event times, where the curves step; with ``step_events > 1`` the points, at most 400, between which
        the cumulative hazard is straight.
    cumulative_baseline_hazard_ : float array, shape (t,)
        At the mean of every column (`feature_means_`).
    curve_variance_ : tuple of float arrays, shapes (g,), (g,), (g, p), or None
        What `risk_interval` needs at g <= 200 event times: the times, A and B of its notes. None with a penalty,
        or when the model comes from a state without it.
    baselines_ : list of Baseline
        One for each of `strata_`, or one in all. With strata `unique_times_`, `cumulative_baseline_hazard_` and
        `curve_variance_` are lists in that order.
    strata_ : array, shape (s,), or None
        Labels of the strata.
    concordance_ : (float, float or None), or None
        Harrell's C of the training rows and its standard error, counted when first asked for; with late entry among
        rows at risk together, and then without an error. None without a usable pair.
    aliased_ : list of str
        Dropped columns.
    n_clusters_ : int or None
    feature_names_in_, n_features_in_, n_fitted_, n_events_, n_iter_

    Notes
    -----
    Rows are sorted once; each Newton step costs O(np + np²) in blocks that fit the cache, and robust errors one pass
    more. With a penalty and more columns than rows the fit is done in the space that the rows span, and the cost grows
    with p alone. Curves stay flat after the last event time. `score` is Harrell's C.

    Risk sets are (entry, time], so that a patient may be many rows with covariates that change; a row cut in two
    gives the same model. A weight of 2 is the same as the row twice with Breslow's ties; with Efron's it is R's average
    weight of the events at a time, and twice the row makes a tie of its own.

    The plain baseline hazard tells too much to leave the house: its steps at single event times, with the means in
    `curve_variance_`, give back relative risks and whole rows of single patients. With ``step_events = m > 1`` the
    fitted model therefore keeps the hazard, A and B only at knots, at most 200, with at least m events between
    them and before the first (fewer only when there are fewer in all), rounded to six significant digits. Each knot
    lies halfway between its event time and the next, where nobody had an event; the last one on a round number at or
    just after the last event, as no later event is there to go halfway to. At the knots the values are those of
    the plain model. Between two knots the cumulative hazard is a line with one bend that keeps its area; see
    `aimed.prognosis.curves.bent_line`. It differs from the plain one by less than the hazard of that interval's
    events. In WHAS500 (215 events) with m = 5, at no day from half a year to five years did the risk of any patient
    move by more than 0.015, or the mean risk by more than 0.01; half of them moved by less than 0.0011. It is
    coarser in the first days, where high risks moved by up to 0.08, and where a handful is left at risk.

    Raises
    ------
    NotEstimableError
        If there are no events, columns are constant or collinear, or a coefficient grows without bound.
    DataError
        If X is incomplete, y is not a structured array of event and time, or a row enters at or after its time.

    References
    ----------
    Cox, J R Stat Soc B 1972; Efron, J Am Stat Assoc 1977; Lin and Wei, J Am Stat Assoc 1989; Heinze and Schemper,
    Biometrics 2001; Therneau and Grambsch, Modeling Survival Data, 2000.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(True, 9.0), (True, 2.0), (True, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> model = CoxPH().fit(X, y)
    >>> model.coef_.round(4).tolist()
    [1.6878]
    >>> model.predict_survival_function(X[:1], times=[1.0, 5.0]).round(3).tolist()
    [[1.0, 0.784]]
    """

    _ranked: tuple[float, float | None] | None
    _to_rank: tuple[Outcome, NDArray[np.float64]] | None

    def __init__(
        self,
        penalty: float = 0.0,
        ties: str = "efron",
        collinear: str = "raise",
        level: float = 0.95,
        max_iter: int = 100,
        step_events: int = 1,
        robust: bool = False,
        firth: bool = False,
    ) -> None:
        self.penalty = penalty
        self.ties = ties
        self.collinear = collinear
        self.level = level
        self.max_iter = max_iter
        self.step_events = step_events
        self.robust = robust
        self.firth = firth

    def fit(
        self,
        X: Any,
        y: Any,
        feature_names: Sequence[str] | None = None,
        *,
        entry: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        strata: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> CoxPH:
        """Maximise the partial likelihood.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
        y : structured array, shape (n,)
            A boolean event and a time.
        feature_names : sequence of str, length p, optional
            Names for messages and tables; the data frame's, or x0, x1, ..., when absent.
        entry : float array, shape (n,), optional
            Time from which each row is at risk, itself not counted; from the beginning when absent.
        sample_weight : float array, shape (n,), optional
            Rows of weight 0 are left out.
        strata : array, shape (n,), optional
            Each label has a baseline hazard of its own.
        offset : float array, shape (n,), optional
            Added to the linear predictor; curves are those of an offset of 0.
        cluster : array, shape (n,), optional
            Rows of one label, as those of one patient or one hospital, depend on each other; robust errors are
            added up by it.
        """
        self._check()
        outcome = read_outcome(y, entry, sample_weight, strata, offset)
        values, found = named_matrix(X, feature_names, outcome.time.size)
        event = outcome.event
        n, p = values.shape
        names = found if found is not None else [f"x{j}" for j in range(p)]
        clusters = None if cluster is None else codes_of(cluster, n, "cluster")[1]
        weight = outcome.weight
        used = np.ones(n, dtype=bool) if weight is None else weight > 0
        self.__dict__.pop("feature_names_in_", None)
        if found is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_fitted_, self.n_events_ = p, int(used.sum()), int((event & used).sum())

        with one_thread():
            mean = (values.mean(axis=0) if weight is None else weight @ values / weight.sum()) if p else np.zeros(0)
            line = line_up(outcome)
            basis = None
            if not self.penalty:
                refuse_wide(p, line.order.size, self.n_events_, 0.0, self.collinear)
            elif p > line.order.size:
                basis, turned = _span(values, mean, line.order)
            if basis is None:
                risk = RiskSets(values, mean, line, outcome.offset, self.ties == "efron", _BLOCK)
            else:
                risk = RiskSets(turned, np.zeros(basis.shape[1]), line, outcome.offset, self.ties == "efron", _BLOCK)
                names = [f"direction {j}" for j in range(basis.shape[1])]
            theta = np.full(risk.unit.size, float(self.penalty)) * risk.unit**2
            null = risk.evaluate(np.zeros(theta.size))
            keep = np.ones(theta.size, dtype=bool)
            if not self.penalty:
                keep = self._estimable(risk, null.information, names)
            climb = self._climb_firth if self.firth else self._climb
            beta, at, steps, bonus = climb(risk, null, theta, keep, names)
            self.n_iter_ = steps
            self.coef_ = beta * risk.unit
            self.aliased_ = [name for name, kept in zip(names, keep, strict=True) if not kept]
            self.loglik_ = (null.loglik + bonus[0], at.loglik + bonus[1])
            self._infer(at.information, null, beta, theta, keep, risk.unit)
            self.naive_covariance_: NDArray[np.float64] | None = None
            self.n_clusters_: int | None = None
            if self.robust or clusters is not None:
                self._make_robust(risk, null.steps, at.steps, keep, clusters)
            if basis is not None:
                self._turn_back(basis)
            self.feature_means_ = mean
            self.mean_linear_predictor_ = float(mean @ self.coef_)
            self.strata_ = outcome.labels
            self._keep_curves(risk, at.steps, self.step_events, not self.penalty)
        self._ranked, self._to_rank = None, (outcome, values @ self.coef_)
        return self

    @property
    def concordance_(self) -> tuple[float, float | None] | None:
        """Harrell's C of the training rows and its standard error; see the class."""
        check_is_fitted(self, "coef_")
        if self._to_rank is not None:
            self._ranked, self._to_rank = self._concordance(*self._to_rank), None
        return self._ranked

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no training rows."""
        if hasattr(self, "coef_"):
            _ = self.concordance_
        state: dict[str, Any] = super().__getstate__()
        return state

    def _check(self) -> None:
        if self.ties not in ("efron", "breslow"):
            raise StudyFileError(f"ties = '{self.ties}'", "'efron' or 'breslow'")
        if self.collinear not in ("raise", "drop"):
            raise StudyFileError(f"collinear = '{self.collinear}'", "'raise' or 'drop'")
        if not (np.isfinite(self.penalty) and self.penalty >= 0):
            raise StudyFileError("the ridge penalty is negative or not finite", "a number >= 0")
        if self.firth and self.penalty:
            raise StudyFileError("firth = True and a ridge penalty", "one of them")

    def _estimable(self, risk: RiskSets, information: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.bool_]:
        """Say which columns add information to the ones before them; raise or go on without the others."""
        own = np.where(risk.varies, np.diag(information), 0.0)
        gram = np.where(np.eye(len(names), dtype=bool), own, information)
        if (own > 1e-8).all():
            try:
                # The squared pivots are what each column adds; far from 0 there is no more to find out.
                if (np.diag(linalg.cholesky(gram, lower=True)) ** 2 > 1e-8 * own).all():
                    return np.ones(own.size, dtype=bool)
            except linalg.LinAlgError:
                pass
        keep, problems = independent_columns(gram, names)
        if self.collinear == "raise":
            refuse_columns(problems, "leave them out, or set a penalty > 0")
        return keep

    def _climb(
        self, risk: RiskSets, null: Point, theta: NDArray[np.float64], keep: NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[NDArray[np.float64], Point, int, tuple[float, float]]:
        """Run Newton's method with step halving from zero."""
        beta, none = np.zeros(keep.size), (0.0, 0.0)
        if not keep.any():
            return beta, null, 0, none
        here = null
        rows = np.ix_(keep, keep)
        goal = here.loglik
        moved = np.zeros(keep.size)
        for step in range(1, int(self.max_iter) + 1):
            slope = here.gradient - theta * beta
            try:
                move = linalg.solve((here.information + np.diag(theta))[rows], slope[keep], assume_a="pos")
            except linalg.LinAlgError:
                raise self._unbounded([n for n, k in zip(names, keep, strict=True) if k]) from None
            full = np.zeros(keep.size)
            full[keep] = move
            shorter = False
            for _ in range(40):
                there = risk.evaluate(beta + full)
                reached = there.loglik - 0.5 * float(theta @ (beta + full) ** 2)
                # At the top the likelihood is flat to rounding, so a tiny fall is no reason to halve.
                if reached >= goal - 1e-11 * (1.0 + abs(goal)):
                    break
                full *= 0.5
                shorter = True
            else:
                break
            gain, goal = reached - goal, reached
            beta, here = beta + full, there
            moved = np.abs(full) / (1.0 + np.abs(beta))
            # What is left after a full step is about its square.
            if moved.max() < (1e-9 if shorter else 1e-6):
                return beta, here, step, none
            # Columns have unit spread here: a coefficient that still walks while the likelihood stands still
            # has no finite maximum.
            if abs(gain) < 1e-10 * (1.0 + abs(goal)) and moved.max() > 1e-3:
                raise self._unbounded([n for n, m in zip(names, moved, strict=True) if m > 1e-3])
        raise self._unfinished(names, moved)

    def _climb_firth(
        self, risk: RiskSets, null: Point, theta: NDArray[np.float64], keep: NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[NDArray[np.float64], Point, int, tuple[float, float]]:
        """Climb the likelihood times the root of the information; also return its logarithm at zero and at the top."""
        beta, rows = np.zeros(keep.size), np.ix_(keep, keep)
        if not keep.any():
            return beta, null, 0, (0.0, 0.0)

        def half_log(point: Point) -> float:
            sign, value = np.linalg.slogdet(point.information[rows])
            return 0.5 * float(value) - scale if sign > 0 else -np.inf

        scale = float(np.log(risk.unit[keep]).sum())

        here, start = null, half_log(null)
        bonus = start
        moved = np.zeros(keep.size)
        for step in range(1, int(self.max_iter) + 1):
            inverse = np.zeros((keep.size, keep.size))
            inverse[rows] = linalg.inv(here.information[rows])
            full = inverse @ (here.gradient + risk.firth_slope(here.steps, inverse))
            full *= min(1.0, 2.0 / max(float(np.abs(full).max()), 1e-300))
            goal = here.loglik + bonus
            for _ in range(40):
                there = risk.evaluate(beta + full)
                more = half_log(there)
                if there.loglik + more >= goal - 1e-11 * (1.0 + abs(goal)):
                    break
                full *= 0.5
            else:
                break
            beta, here, bonus = beta + full, there, more
            moved = np.abs(full) / (1.0 + np.abs(beta))
            if moved.max() < 1e-9:
                # The null model has no coefficients, and so the information at 0 is its bonus too.
                return beta, here, step, (start, bonus)
        raise self._unfinished(names, moved)

    def _unfinished(self, names: Sequence[str], moved: NDArray[np.float64]) -> NotEstimableError:
        last = [f"'{names[j]}'" for j in np.argsort(-moved)[:3] if moved[j] > 0]
        return NotEstimableError(
            f"the Cox model did not converge in {self.max_iter} steps"
            + (f"; {', '.join(last)} moved most in the last" if last else ""),
            "a finite maximum",
            "set a penalty > 0 or raise max_iter",
        )

    @staticmethod
    def _unbounded(names: Sequence[str]) -> NotEstimableError:
        listed = ", ".join(f"'{name}'" for name in names)
        return NotEstimableError(
            f"the hazard ratio of {listed} grows without bound: the column separates the events",
            "events on both sides of each column",
            "leave it out, merge rare levels, set a penalty > 0, or fit with firth=True",
        )

    def _infer(
        self,
        information: NDArray[np.float64],
        null: Point,
        beta: NDArray[np.float64],
        theta: NDArray[np.float64],
        keep: NDArray[np.bool_],
        unit: NDArray[np.float64],
    ) -> None:
        p = keep.size
        covariance = np.full((p, p), np.nan)
        rows = np.ix_(keep, keep)
        inner = information[rows]
        inverse = linalg.inv(inner + np.diag(theta[keep])) if keep.any() else np.zeros((0, 0))
        covariance[rows] = 0.5 * (inverse + inverse.T)
        self._set_covariance(covariance * np.outer(unit, unit))
        df = float(np.trace(inverse @ inner)) if self.penalty else float(keep.sum())
        self.tests_ = {"likelihood_ratio": _test(2.0 * (self.loglik_[1] - self.loglik_[0]), df)}
        if not self.penalty and keep.any():
            self.tests_["wald"] = _test(float(beta[keep] @ inner @ beta[keep]), df)
        if not self.penalty and keep.any() and not self.firth:
            slope = null.gradient[keep]
            score = float(slope @ linalg.solve(null.information[rows], slope, assume_a="pos"))
            self.tests_["score"] = _test(score, df)

    def _set_covariance(self, covariance: NDArray[np.float64]) -> None:
        self.covariance_ = covariance
        self._set_errors(np.sqrt(np.diag(covariance)))

    def _set_errors(self, errors: NDArray[np.float64]) -> None:
        self.standard_errors_ = errors
        half = special.ndtri(0.5 + 0.5 * self.level) * errors
        self.confidence_intervals_ = np.column_stack((self.coef_ - half, self.coef_ + half))

    def _turn_back(self, basis: NDArray[np.float64]) -> None:
        """Go from coefficients of the space that the rows span to those of the columns."""
        self.coef_ = basis @ self.coef_
        variance = np.einsum("ij,jk,ik->i", basis, self.covariance_, basis, optimize=True)
        if self.naive_covariance_ is None:
            # Of what no row speaks of, only the penalty knows something.
            variance += np.maximum(1.0 - np.einsum("ij,ij->i", basis, basis), 0.0) / self.penalty
        else:
            self.naive_covariance_ = np.zeros((0, 0))
        self.covariance_ = np.zeros((0, 0))
        self._set_errors(np.sqrt(variance))

    def _make_robust(
        self, risk: RiskSets, null: Steps, at: Steps, keep: NDArray[np.bool_], clusters: NDArray[np.int64] | None
    ) -> None:
        """Put the sandwich in the place of the model's covariance: score residuals in one pass, added up by cluster."""
        to = np.arange(risk.line.order.size) if clusters is None else clusters[risk.line.order]
        size = to.size
        if clusters is not None:
            found, to = np.unique(to, return_inverse=True)
            size = self.n_clusters_ = int(found.size)
            if size < 2:
                raise NotEstimableError(f"{size} cluster at risk", "at least 2, better 30 or more", "leave cluster out")
        self.naive_covariance_ = self.covariance_
        rows, df = np.ix_(keep, keep), float(keep.sum())
        scores = risk.score_sums(at, to, size)[:, keep]
        covariance = np.full_like(self.covariance_, np.nan)
        moved = scores @ self.covariance_[rows]
        covariance[rows] = moved.T @ moved
        del scores, moved
        self._set_covariance(covariance)
        if self.penalty or not keep.any():
            return
        self.tests_["wald"] = quadratic_test(self.coef_[keep], covariance[rows], df)
        if not self.firth:
            start = risk.score_sums(null, to, size)[:, keep]
            self.tests_["robust_score"] = quadratic_test(start.sum(axis=0), start.T @ start, df)
        if self.tests_["wald"]["statistic"] is None:
            warnings.warn(
                f"{size} clusters do not carry a joint test of {int(df)} coefficients; read single intervals with care",
                stacklevel=3,
            )

    @property
    def summary_(self) -> CoxSummary:
        """The fit as a table that prints as R's ``summary(coxph(...))`` does."""
        from aimed.prognosis.cox_summary import CoxSummary

        check_is_fitted(self, "coef_")
        return CoxSummary.of(self)

    def risk_interval(
        self, X: Any, times: ArrayLike, *, strata: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return pointwise confidence limits of the risk of each row, its columns taken as fixed.

        They hold the uncertainty of the coefficients and of the baseline hazard, at confidence `level`.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,)
            Horizons, in the unit of the training times.
        strata : array, shape (n,), optional
            Label of each row, for a model with strata.
        offset : float array, shape (n,), optional

        Returns
        -------
        lower, upper : float arrays, shape (n, t)
            Both 0 before the first event time. None with a penalty: shrunken coefficients are biased.

        Raises
        ------
        DataError
            If X is incomplete or a time is NaN.

        Notes
        -----
        As R's ``survfit.coxph``, with ``conf.type = "log-log"``. With η the linear predictor at x less that at
        the column means, V the covariance of the coefficients and Λ the baseline hazard at the means,
        Var Λ(t|x) = exp(2η) · [A(t) + q(t)ᵀ V q(t)] and q(t) = x Λ(t) - B(t), where A adds up the variances
        of the hazard steps and B(t) = ∫ x̄ dΛ (x and x̄, the mean of those at risk, less the column means).
        Limits are symmetric for log Λ(t|x), which is log(-log S).

        Λ is exact at every time when ``step_events = 1``. With up to 200 distinct event times A and B are then kept
        at all of them, and so the limits are exact. Of more, they are kept at no more than 200 quantiles of the
        events, denser towards the last and with it, and read in between as linear in Λ. With ``step_events > 1``
        this holds of its knots; before the first of them the relative error of Λ is the one at that knot, since
        the line there is drawn from its events.

        References
        ----------
        Therneau and Grambsch, Modeling Survival Data, 2000, chapter 10; Tsiatis, Ann Stat 1981.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, time = rng.normal(size=(50, 1)), np.arange(1.0, 51.0)
        >>> y = np.array([(True, t) for t in time], dtype=[("event", bool), ("time", float)])
        >>> lower, upper = CoxPH().fit(X, y).risk_interval([[0.0]], times=[0.5, 25.0])
        >>> lower.round(2).tolist(), upper.round(2).tolist()
        ([[0.0, 0.37]], [[0.0, 0.65]])
        """
        eta = self.predict(X, offset) - self.mean_linear_predictor_
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        places = [(baseline, rows, baseline.at(grid)) for baseline, rows in self._places(eta.size, strata)]
        if any(baseline.spread is None for baseline in self.baselines_):
            return None
        values, _ = as_matrix(X, self.n_features_in_)
        lower, upper = np.zeros((2, eta.size, grid.size))
        for baseline, rows, base in places:
            met = base > 0.0
            if not met.any():
                continue
            hazard = base[met]
            relative = np.sqrt(self._relative_variance(values[rows], hazard, baseline))
            middle = eta[rows, None] + np.log(hazard)
            half = special.ndtri(0.5 + 0.5 * self.level) * relative
            where = np.ix_(np.arange(eta.size)[rows], np.flatnonzero(met))
            with np.errstate(over="ignore"):
                lower[where] = 1.0 - np.exp(-np.exp(middle - half))
                upper[where] = 1.0 - np.exp(-np.exp(middle + half))
        return lower, upper

    def _relative_variance(
        self, values: NDArray[np.float64], hazard: NDArray[np.float64], baseline: Baseline
    ) -> NDArray[np.float64]:
        """Return Var Λ(t|x) / Λ(t|x)² for rows and baseline hazards above 0: A/Λ² + |(x - B/Λ) V^½|²."""
        assert baseline.spread is not None  # noqa: S101
        times, steps, means = baseline.spread
        at = baseline.at(times)
        knots = np.concatenate(([0.0], at))
        # A line from (0, 0) would let A/Λ², and with it the upper limit, grow without bound towards time 0.
        near = np.maximum(hazard, at[0]) if self.step_events > 1 else hazard
        own = np.interp(near, knots, np.concatenate(([0.0], steps))) / near**2
        kept = np.flatnonzero(np.isfinite(self.standard_errors_) & (self.standard_errors_ > 0.0))
        if not kept.size:
            return np.broadcast_to(own, (values.shape[0], hazard.size))
        # The root of the correlation, not of V: columns may differ in unit by many powers of ten.
        scale = self.standard_errors_[kept]
        root, vectors = linalg.eigh(self.covariance_[np.ix_(kept, kept)] / np.outer(scale, scale))
        factor = scale[:, None] * vectors * np.sqrt(np.maximum(root, 0.0))
        mean = np.column_stack([np.interp(hazard, knots, np.concatenate(([0.0], means[:, j]))) for j in kept])
        rows = (values[:, kept] - self.feature_means_[kept]) @ factor
        return np.asarray(own + cdist(rows, (mean / hazard[:, None]) @ factor, "sqeuclidean"))

    def wald_test(self, terms: Sequence[str | int]) -> dict[str, float | None]:
        """Test that some coefficients are all zero, as those that bend a spline; see `wald_test`.

        Parameters
        ----------
        terms : sequence of str or int
            Names or numbers of columns.

        Examples
        --------
        >>> from aimed.fit.spline import RestrictedCubicSpline
        >>> rng = np.random.default_rng(0)
        >>> X, time = rng.normal(size=(300, 1)), rng.exponential(size=300)
        >>> y = np.array([(True, t) for t in time * np.exp(-(X[:, 0] ** 2))], dtype=[("event", bool), ("time", float)])
        >>> spline = RestrictedCubicSpline(4).fit(X)
        >>> model = CoxPH().fit(spline.transform(X), y, spline.get_feature_names_out(["age"]))
        >>> model.wald_test(["age'", "age''"])["p"] < 0.001
        True
        """
        check_is_fitted(self, "coef_")
        return wald_test(self, terms)

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict a column: term, coefficient, error, z, p, and the hazard ratio with its interval."""
        check_is_fitted(self, "coef_")
        rows = []
        for j, name in enumerate(self._names()):
            error = float(self.standard_errors_[j])
            known = bool(np.isfinite(error)) and error > 0
            lower, upper = (float(v) for v in self.confidence_intervals_[j])
            z = float(self.coef_[j]) / error if known else None
            rows.append(
                {
                    "term": name,
                    "coefficient": float(self.coef_[j]),
                    "standard_error": error if known else None,
                    "z": z,
                    "p": float(2.0 * stats.norm.sf(abs(z))) if z is not None else None,
                    "lower": lower if known else None,
                    "upper": upper if known else None,
                    "hazard_ratio": float(np.exp(self.coef_[j])),
                    "hazard_ratio_lower": float(np.exp(lower)) if known else None,
                    "hazard_ratio_upper": float(np.exp(upper)) if known else None,
                }
            )
        return rows

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a column with its hazard ratio; see `aimed.prognosis.coefficients.coefficients`."""
        check_is_fitted(self, "coef_")
        names = list(feature_names) if feature_names is not None else self._names()
        note = "ridge penalty: no interval is given, because shrunken coefficients are biased" if self.penalty else None
        return coefficient_rows(names, self.coef_, self.standard_errors_, self.level, note)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; NaN becomes None."""
        check_is_fitted(self, "coef_")
        names, p = getattr(self, "feature_names_in_", None), self.coef_.size
        curves = [baseline.to_state() for baseline in self.baselines_]
        if self.strata_ is not None:
            for curve, label in zip(curves, self.strata_.tolist(), strict=True):
                curve["label"] = label
        state = {
            "schema": 1,
            "parameters": self.get_params(),
            "coef": self.coef_.tolist(),
            "covariance": _table(self.covariance_),
            "standard_errors": self.standard_errors_.tolist() if p > self.covariance_.shape[0] else None,
            "naive_covariance": None if self.naive_covariance_ is None else _table(self.naive_covariance_),
            "clusters": self.n_clusters_,
            "feature_names": None if names is None else [str(n) for n in names],
            "feature_means": self.feature_means_.tolist(),
            "mean_linear_predictor": self.mean_linear_predictor_,
            "loglik": list(self.loglik_),
            "tests": {name: dict(test) for name, test in self.tests_.items()},
            "concordance": None if self.concordance_ is None else list(self.concordance_),
            "aliased": list(self.aliased_),
            "n": self.n_fitted_,
            "events": self.n_events_,
            "iterations": self.n_iter_,
        }
        return {**state, **curves[0]} if self.strata_ is None else {**state, "strata": curves}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CoxPH:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["parameters"])
        model.coef_ = np.asarray(state["coef"], dtype=np.float64)
        p = model.coef_.size
        model.covariance_, wide = _matrix(state["covariance"]), state.get("standard_errors")
        model._set_errors(np.sqrt(np.diag(model.covariance_)) if wide is None else np.asarray(wide, dtype=np.float64))
        # States from before strata and robust errors do not have these.
        naive, clusters, strata = state.get("naive_covariance"), state.get("clusters"), state.get("strata")
        model.naive_covariance_ = None if naive is None else _matrix(naive)
        model.n_clusters_ = None if clusters is None else int(clusters)
        concordance = state.get("concordance")
        model._ranked, model._to_rank = None if concordance is None else (concordance[0], concordance[1]), None
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        model.n_features_in_ = p
        model.feature_means_ = np.asarray(state["feature_means"], dtype=np.float64)
        model.mean_linear_predictor_ = float(state["mean_linear_predictor"])
        model.strata_ = None if strata is None else np.asarray([curve["label"] for curve in strata])
        curves = [state] if strata is None else strata
        model.baselines_ = [Baseline.from_state(curve, p, model.step_events > 1) for curve in curves]
        model.loglik_ = (float(state["loglik"][0]), float(state["loglik"][1]))
        model.tests_ = {name: dict(test) for name, test in state["tests"].items()}
        model.aliased_ = list(state["aliased"])
        model.n_fitted_, model.n_events_ = int(state["n"]), int(state["events"])
        model.n_iter_ = int(state["iterations"])
        return model


def _table(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(v) else v for v in row] for row in matrix.tolist()]


def _matrix(table: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    rows = [[np.nan if v is None else v for v in row] for row in table]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows))


def _test(statistic: float, df: float) -> dict[str, float | None]:
    return {"statistic": statistic, "df": df, "p": float(stats.chi2.sf(statistic, df)) if df > 0 else None}


def _span(
    values: NDArray[np.float64], mean: NDArray[np.float64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an orthonormal basis of the space that some rows span, shape (p, m), and all rows in it, shape (n, m).

    With a ridge penalty the coefficients lie in this space (Hastie and Tibshirani, Biostatistics 2004;5:329).
    """
    basis, own = linalg.qr((values[rows] - mean).T, mode="economic", overwrite_a=True, check_finite=False)
    # Rows less their mean span one dimension less than there are; equal rows span fewer.
    length = np.linalg.norm(own, axis=1)
    kept = length > 1e-10 * length.max(initial=0.0)
    turned = np.zeros((values.shape[0], int(kept.sum())))
    turned[rows] = own[kept].T
    return np.ascontiguousarray(basis[:, kept]), turned


def _concordance_at_risk(outcome: Outcome, score: NDArray[np.float64]) -> tuple[float, None] | None:
    from aimed.prognosis.kernels import cox as kernels

    line = line_up(outcome)
    levels, place = np.unique(score[line.order], return_inverse=True)
    lower, higher, same = kernels.pairs_at_risk(
        np.ascontiguousarray(place, dtype=np.int64), line.weight, line.starts, line.deaths, line.first, line.since,
        line.leave, levels.size,
    )  # fmt: skip
    pairs = lower + higher + same
    return (float((lower + same / 2) / pairs), None) if pairs > 0 else None


def _build(parameters: Mapping[str, Any], seed: int) -> CoxPH:
    # A packaged hazard must not tell of single patients.
    return CoxPH(**{"collinear": "drop", "step_events": 5, **parameters})


def ridge_space(trial: optuna.Trial) -> dict[str, Any]:
    """Draw a ridge penalty, none at all among the choices."""
    # Choices, not a range, so that the plain model is one of them.
    return {"penalty": trial.suggest_categorical("penalty", (0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0))}


RECIPE = Recipe(
    name="cox",
    title="Cox proportional hazards",
    description="Each predictor multiplies the hazard by a constant factor; a ridge penalty may shrink the factors.",
    task="survival",
    family="linear",
    build=_build,
    space=ridge_space,
    defaults={"penalty": 0.0},
    from_state=CoxPH.from_state,
    ratio_name="hazard ratio",
)
"""The catalogue entry ``cox``."""
