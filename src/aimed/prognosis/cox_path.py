"""Cox regression with a lasso or elastic-net penalty: the path of penalties, and the one cross-validation takes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from aimed.core import NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis.coefficients import coefficient_rows
from aimed.prognosis.cox import Baseline, CoxCurves
from aimed.prognosis.risk_sets import (
    BLOCK,
    Outcome,
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

__all__ = ["RECIPE", "CoxPath"]

Floats: TypeAlias = NDArray[np.float64]

_WINDOW = 4


class CoxPath(CoxCurves, BaseEstimator):  # type: ignore[misc]
    """Proportional hazards regression that shrinks coefficients and sets some to zero.

    Parameters
    ----------
    l1_ratio : float
        Share of the lasso in the penalty, above 0 and up to 1; the rest is ridge.
    n_alphas : int
        Penalties on the path.
    alphas : float array, optional
        The penalties themselves; sorted to fall.
    alpha_min_ratio : float, optional
        Last penalty over the first; 0.0001, or 0.01 with no more rows than columns.
    penalty_factor : float array, shape (p,), optional
        Each column's share of the penalty; 0 for one that always stays. Scaled to the mean 1.
    standardize : bool
        Penalise columns of unit spread; coefficients are for the columns as they are in any case.
    ties : {"efron", "breslow"}
    cv : int, optional
        Folds of the cross-validation that chooses the penalty. Without, the last one is used.
    rule : {"min", "1se"}
        The penalty of the best likelihood left out, or the largest within one standard error of it.
    tol : float
        Change of a coefficient of unit spread, squared and times its information, that ends the search.
    max_iter : int
        Steps at most for one penalty.
    step_events : int
        As in `CoxPH`.
    random_state : int
        Seed of the folds.

    Attributes
    ----------
    alphas_ : float array, shape (a,)
        Falling. The path ends early when the likelihood no longer grows.
    coef_path_ : float array, shape (p, a)
    coef_ : float array, shape (p,)
        At `alpha_`.
    alpha_ : float
    deviance_ratio_ : float array, shape (a,)
        Share of the deviance explained.
    cv_deviance_, cv_deviance_error_ : float arrays, shape (a,)
        Partial likelihood deviance left out, an event, and its standard error; only with `cv`.
    unique_times_, cumulative_baseline_hazard_, baselines_, strata_
        As in `CoxPH`, at `alpha_`.
    feature_means_, feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    With n the rows' total weight, log likelihood / n less alpha Σ f (l1_ratio |β| + (1 - l1_ratio) β² / 2) is climbed:
    the scale of glmnet and of scikit-survival's Coxnet. Each penalty starts where the one before ended. Steps are those
    of a quadratic model, solved by coordinates; its information stays as long as it serves, and only columns that
    may matter are looked at (Tibshirani's strong rule), with a check of all every few penalties. The deviance left out
    is that of all rows less that of the rows fitted on (Verweij and van Houwelingen). No intervals are given:
    shrunken coefficients are biased, and chosen ones look better than they are.

    Raises
    ------
    NotEstimableError
        If there are no events, or no column varies.
    DataError
        If X is incomplete or y is not a structured array of event and time.

    References
    ----------
    Simon, Friedman, Hastie and Tibshirani, J Stat Softw 2011; Tibshirani et al., J R Stat Soc B 2012; Verweij and van
    Houwelingen, Stat Med 1993.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 8))
    >>> time = rng.exponential(np.exp(-X[:, 0] + X[:, 1]))
    >>> y = np.array([(True, t) for t in time], dtype=[("event", bool), ("time", float)])
    >>> model = CoxPath(cv=5, rule="1se").fit(X, y)
    >>> np.sign(model.coef_[:2]).tolist(), int((model.coef_ != 0).sum()) < 8
    ([1.0, -1.0], True)
    """

    def __init__(
        self,
        l1_ratio: float = 1.0,
        n_alphas: int = 100,
        alphas: ArrayLike | None = None,
        alpha_min_ratio: float | None = None,
        penalty_factor: ArrayLike | None = None,
        standardize: bool = True,
        ties: str = "efron",
        cv: int | None = None,
        rule: str = "min",
        tol: float = 1e-7,
        max_iter: int = 100,
        step_events: int = 1,
        random_state: int = 0,
    ) -> None:
        self.l1_ratio = l1_ratio
        self.n_alphas = n_alphas
        self.alphas = alphas
        self.alpha_min_ratio = alpha_min_ratio
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.ties = ties
        self.cv = cv
        self.rule = rule
        self.tol = tol
        self.max_iter = max_iter
        self.step_events = step_events
        self.random_state = random_state

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
    ) -> CoxPath:
        """Follow the path and choose a penalty; parameters as in `CoxPH.fit`, rows of a cluster share a fold."""
        self._check()
        outcome = read_outcome(y, entry, sample_weight, strata, offset)
        values, names = named_matrix(X, feature_names, outcome.time.size)
        n, p = values.shape
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        weight = outcome.weight
        used = np.ones(n, dtype=bool) if weight is None else weight > 0
        self.n_features_in_, self.n_fitted_, self.n_events_ = p, int(used.sum()), int((outcome.event & used).sum())
        self.strata_ = outcome.labels
        factor = self._factors(p)
        given = None if self.alphas is None else np.sort(np.asarray(self.alphas, dtype=np.float64).ravel())[::-1]
        with one_thread():
            problem = self._problem(values, outcome, factor)
            ratio = self.alpha_min_ratio or (1e-4 if n > p else 0.01)
            path = problem.follow(given, int(self.n_alphas), ratio, self.tol, int(self.max_iter))
            self.alphas_, self.deviance_ratio_ = path.alphas, path.ratio
            self.coef_path_ = path.gamma * problem.risk.unit[:, None]
            chosen = self.alphas_.size - 1
            if self.cv is not None:
                chosen = self._cross_validate(values, outcome, factor, problem, cluster)
            self.alpha_ = float(self.alphas_[chosen])
            self.coef_ = np.ascontiguousarray(self.coef_path_[:, chosen])
            self.feature_means_ = problem.mean
            self.mean_linear_predictor_ = float(self.feature_means_ @ self.coef_)
            risk = problem.risk
            self._keep_curves(risk, risk.scalars(risk.predictor(path.gamma[:, chosen])), self.step_events, False)
        return self

    def _check(self) -> None:
        if not 0 < self.l1_ratio <= 1:
            raise StudyFileError(
                f"l1_ratio = {self.l1_ratio}", "above 0 and up to 1", "use CoxPH(penalty=...) for ridge"
            )
        if self.ties not in ("efron", "breslow"):
            raise StudyFileError(f"ties = '{self.ties}'", "'efron' or 'breslow'")
        if self.rule not in ("min", "1se"):
            raise StudyFileError(f"rule = '{self.rule}'", "'min' or '1se'")
        if self.cv is not None and self.cv < 2:
            raise StudyFileError(f"cv = {self.cv}", "at least 2 folds, or None")
        if self.n_alphas < 1:
            raise StudyFileError(f"n_alphas = {self.n_alphas}", "at least 1")
        if self.alpha_min_ratio is not None and not 0 < self.alpha_min_ratio <= 1:
            raise StudyFileError(f"alpha_min_ratio = {self.alpha_min_ratio}", "above 0 and up to 1")
        if self.alphas is not None:
            given = np.asarray(self.alphas, dtype=np.float64)
            if not (given.size and np.isfinite(given).all() and (given >= 0).all()):
                raise StudyFileError("alphas are empty, negative or not finite", "numbers >= 0")

    def _factors(self, p: int) -> Floats:
        if self.penalty_factor is None:
            return np.ones(p)
        factor = np.asarray(self.penalty_factor, dtype=np.float64)
        if factor.shape != (p,) or not (np.isfinite(factor).all() and (factor >= 0).all() and factor.any()):
            raise StudyFileError("penalty_factor is not one number >= 0 a column, some above 0", f"shape ({p},)")
        return np.asarray(factor * p / factor.sum())

    def _problem(self, values: Floats, outcome: Outcome, factor: Floats) -> _Problem:
        weight = outcome.weight
        mean = values.mean(axis=0) if weight is None else weight @ values / weight.sum()
        risk = RiskSets(values, mean, line_up(outcome), outcome.offset, self.ties == "efron")
        # In units of the spread over the rows at risk, `risk` counts; the penalty's spread is of all rows by weight.
        scale = risk.unit * (_spread(values, mean, weight) if self.standardize else 1.0)
        total = float(values.shape[0] if weight is None else weight.sum())
        # A constant column never enters.
        absolute = np.where(risk.varies, self.l1_ratio * factor * scale, 1e150)
        return _Problem(risk, mean, absolute, (1.0 - self.l1_ratio) * factor * scale**2, total)

    def _cross_validate(
        self, values: Floats, outcome: Outcome, factor: Floats, problem: _Problem, cluster: ArrayLike | None
    ) -> int:
        n, a = outcome.time.size, self.alphas_.size
        fold = _folds(outcome, cluster, int(self.cv or 0), self.random_state)
        deviance, events = np.empty((int(self.cv or 0), a)), np.empty(int(self.cv or 0))
        risk, own = problem.risk, np.ones(n) if outcome.weight is None else outcome.weight
        for k in range(events.size):
            rows = np.flatnonzero(fold != k)
            part = outcome.take(rows)
            events[k] = own[outcome.event & (fold == k)].sum()
            if not part.event.any() or not events[k]:
                raise NotEstimableError(
                    f"fold {k + 1} of {events.size} leaves no events on one side",
                    "events in each fold and outside",
                    "ask for fewer folds",
                )
            inner = self._problem(values[rows], part, factor)
            path = inner.follow(self.alphas_, a, 1.0, self.tol, int(self.max_iter))
            for i in range(a):
                raw = path.gamma[:, i] * inner.risk.unit
                whole = risk.scalars(risk.predictor(raw / risk.unit)).loglik
                deviance[k, i] = -2.0 * (whole - path.loglik[i]) / events[k]
        share = events / events.sum()
        self.cv_deviance_ = share @ deviance
        self.cv_deviance_error_ = np.sqrt(share @ (deviance - self.cv_deviance_) ** 2 / (events.size - 1))
        best = int(np.argmin(self.cv_deviance_))
        if self.rule == "min":
            return best
        return int(np.argmax(self.cv_deviance_ <= self.cv_deviance_[best] + self.cv_deviance_error_[best]))

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a column with its hazard ratio; no intervals."""
        check_is_fitted(self, "coef_")
        names = list(feature_names) if feature_names is not None else self._names()
        note = "lasso penalty: no interval is given, because shrunken and chosen coefficients are biased"
        return coefficient_rows(names, self.coef_, None, 0.95, note)

    def to_state(self) -> dict[str, Any]:
        """Return the model at the chosen penalty in JSON types."""
        check_is_fitted(self, "coef_")
        curves = [baseline.to_state() for baseline in self.baselines_]
        labels = None if self.strata_ is None else self.strata_.tolist()
        parameters = self.get_params()
        for name in ("alphas", "penalty_factor"):
            if parameters[name] is not None:
                parameters[name] = np.asarray(parameters[name], dtype=np.float64).tolist()
        names = getattr(self, "feature_names_in_", None)
        return {
            "schema": 1,
            "parameters": parameters,
            "coef": self.coef_.tolist(),
            "feature_names": None if names is None else [str(n) for n in names],
            "feature_means": self.feature_means_.tolist(),
            "mean_linear_predictor": self.mean_linear_predictor_,
            "alpha": self.alpha_,
            "strata": labels,
            "curves": curves,
            "n": self.n_fitted_,
            "events": self.n_events_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CoxPath:
        """Rebuild what predicts, without the path, from `to_state`."""
        model = cls(**state["parameters"])
        model.coef_ = np.asarray(state["coef"], dtype=np.float64)
        model.n_features_in_ = model.coef_.size
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        model.feature_means_ = np.asarray(state["feature_means"], dtype=np.float64)
        model.mean_linear_predictor_ = float(state["mean_linear_predictor"])
        model.alpha_ = float(state["alpha"])
        model.strata_ = None if state["strata"] is None else np.asarray(state["strata"])
        model.baselines_ = [
            Baseline.from_state(c, model.n_features_in_, model.step_events > 1) for c in state["curves"]
        ]
        model.n_fitted_, model.n_events_ = int(state["n"]), int(state["events"])
        return model


def _spread(values: Floats, mean: Floats, weight: Floats | None) -> Floats:
    """Return the standard deviation of each column, by weight, in blocks."""
    square, total = np.zeros(mean.size), 0.0
    for begin in range(0, values.shape[0], BLOCK):
        rows = slice(begin, begin + BLOCK)
        off = values[rows] - mean
        off *= off
        own = np.ones(off.shape[0]) if weight is None else weight[rows]
        square += own @ off
        total += float(own.sum())
    return np.asarray(np.sqrt(square / total))


def _folds(outcome: Outcome, cluster: ArrayLike | None, k: int, seed: int) -> NDArray[np.int64]:
    """Return a fold for each row, clusters whole, with about as many events in each."""
    n = outcome.time.size
    codes = np.arange(n) if cluster is None else codes_of(cluster, n, "cluster")[1]
    size = int(codes.max()) + 1
    if size < k:
        raise NotEstimableError(f"{size} clusters for {k} folds", f"at least {k}", "ask for fewer folds")
    events = np.bincount(codes, outcome.event, minlength=size)
    shuffled = np.random.default_rng(seed).permutation(size)
    order = shuffled[np.argsort(-events[shuffled], kind="stable")]
    of = np.empty(size, np.int64)
    of[order] = np.arange(size) % k
    return np.asarray(of[codes])


@dataclass(slots=True, eq=False)
class _Path:
    alphas: Floats
    gamma: Floats
    loglik: Floats
    ratio: Floats


class _Problem:
    """One set of rows and a penalty per column, in coefficients γ of columns of unit spread.

    Parameters
    ----------
    risk : RiskSets
    mean : float array, shape (p,)
    absolute, square : float arrays, shape (p,)
        Weights of alpha |γ| and of alpha γ² / 2.
    total : float
        What likelihoods are divided by.
    """

    def __init__(self, risk: RiskSets, mean: Floats, absolute: Floats, square: Floats, total: float) -> None:
        from aimed.prognosis.kernels import cox

        self._loops = cox
        self.risk, self.mean, self.absolute, self.square, self.total = risk, mean, absolute, square, total
        p = mean.size
        self.gamma = np.zeros(p)
        self.work = np.zeros(0, np.intp)
        self.part = risk
        self.room = np.empty(risk.X.shape[0] * (p // 2))
        self.information = np.zeros((0, 0))
        self.fresh = False
        self.steps: Steps = risk.scalars(risk.predictor(self.gamma))
        self.slope = risk.slope(self.steps) / total
        self.loglik = self.steps.loglik

    def follow(self, given: Floats | None, count: int, least: float, tol: float, max_iter: int) -> _Path:
        """Solve for one penalty after the other; penalties of the path's own end when the likelihood stands still."""
        null, p = self.loglik, self.gamma.size
        if given is None:
            if (self.absolute == 0.0).any():
                # The path begins where the columns without a penalty are alone.
                self._look_at(np.flatnonzero(self.absolute == 0.0))
                self._climb(0.0, tol, max_iter)
                self.slope = self._all_slopes()
            start = self._first()
            if not start > 0:
                raise NotEstimableError("no column is related to the events", "a column that varies")
            alphas = start * least ** (np.arange(count) / max(count - 1, 1))
        else:
            # From here on the strong rule may speak: at this penalty and above nothing enters.
            start, alphas = self._first(), given
        before, careful, warned = start, 0, False
        found: list[tuple[Floats, float]] = []
        # Up to here all columns have been looked at; a column overlooked later takes the path back to this point.
        sure = 0, before, self._keep()
        while len(found) < alphas.size:
            i, alpha = len(found), float(alphas[len(found)])
            self._widen(alpha, before)
            done = self._climb(alpha, tol, max_iter)
            gain = self.loglik - found[-1][1] if found else np.inf
            ends = i + 1 == alphas.size
            if given is None and i >= 5:
                ends |= gain < 1e-5 * (self.loglik - null) or 1.0 - self.loglik / null > 0.99
            if self.work.size < p and (ends or i < careful or i % _WINDOW == _WINDOW - 1):
                missed = self._overlooked(alpha)
                if missed.size and i > sure[0]:
                    careful = i + 1
                    del found[sure[0] :]
                    before = sure[1]
                    self._go_back(sure[2])
                    self._look_at(np.union1d(self.work, missed))
                    continue
                while missed.size:
                    self._look_at(np.union1d(self.work, missed))
                    done = self._climb(alpha, tol, max_iter)
                    missed = self._overlooked(alpha)
                sure = i + 1, alpha, self._keep()
            elif self.work.size == p:
                sure = i + 1, alpha, self._keep()
            if not done and not warned:
                warned = True
                warnings.warn(
                    f"no convergence at penalty {i + 1} of {alphas.size} in {max_iter} steps: raise max_iter, "
                    "or end the path earlier with alpha_min_ratio",
                    ConvergenceWarning,
                    stacklevel=4,
                )
            before = alpha
            found.append((self.gamma.copy(), self.loglik))
            if ends:
                break
        got = np.array([loglik for _, loglik in found])
        return _Path(alphas[: got.size].copy(), np.column_stack([gamma for gamma, _ in found]), got, 1.0 - got / null)

    def _keep(self) -> tuple[Floats, Steps, Floats, float]:
        return self.gamma.copy(), self.steps, self.slope.copy(), self.loglik

    def _go_back(self, kept: tuple[Floats, Steps, Floats, float]) -> None:
        gamma, self.steps, slope, self.loglik = kept
        self.gamma, self.slope = gamma.copy(), slope.copy()

    def _pull(self) -> Floats:
        """Return the penalty at which each column would enter, infinite for one without a penalty."""
        out = np.full(self.gamma.size, np.inf)
        np.divide(np.abs(self.slope), self.absolute, out=out, where=self.absolute > 0)
        return out

    def _look_at(self, work: NDArray[np.intp]) -> None:
        """Let the quadratic model have these columns."""
        p = self.gamma.size
        self.work = np.arange(p) if 2 * work.size > p else work
        self.part = self.risk if self.work.size == p else self.risk.columns(self.work, self.room)
        self._refresh()

    def _refresh(self) -> None:
        """Take the information at the present point."""
        _, found = self.part.products(self.steps.r, self.steps.met, self.steps.steps)
        self.information = np.ascontiguousarray(found * np.outer(self.part.unit, self.part.unit) / self.total)
        self.fresh = True

    def _value(self, gamma: Floats, loglik: float, alpha: float) -> float:
        own = gamma[self.work]
        penalty = (
            np.where(own != 0, self.absolute[self.work] * np.abs(own), 0.0) + 0.5 * self.square[self.work] * own**2
        )
        return loglik / self.total - alpha * float(penalty.sum())

    def _first(self) -> float:
        """Return the penalty at which the first column enters, a hair above so that rounding lets none in."""
        return float(self._pull()[self.absolute > 0].max(initial=0.0)) * (1.0 + 1e-10)

    def _widen(self, alpha: float, before: float) -> None:
        """See to it that columns whose slope may reach the penalty are looked at."""
        # Tibshirani's strong rule: a slope moves no faster than the penalty does.
        # After a large step it would let all columns in; those overlooked then come later.
        reach = max(2.0 * alpha - before, 0.5 * alpha)
        pull = self._pull()
        wanted = np.flatnonzero((pull >= reach) | (self.gamma != 0))
        known = np.zeros(pull.size, dtype=bool)
        known[self.work] = True
        if not known[wanted].all() or not self.work.size:
            # Half as many again, those nearest to their penalty, so that a new model is not made at each step.
            room = min(self.gamma.size, wanted.size + max(4, wanted.size // 2))
            pull[wanted] = np.inf
            self._look_at(np.sort(np.argsort(-pull, kind="stable")[:room]))

    def _overlooked(self, alpha: float) -> NDArray[np.intp]:
        """Return the columns not looked at whose slope is above the penalty, after a pass over all."""
        self.slope = self._all_slopes()
        out = np.abs(self.slope) > self.absolute * alpha * (1.0 + 1e-6)
        out[self.work] = False
        return np.flatnonzero(out)

    def _all_slopes(self) -> Floats:
        slope = self.risk.slope(self.steps) / self.total
        slope[self.work] = self.slope[self.work]
        return slope

    def _climb(self, alpha: float, tol: float, max_iter: int) -> bool:
        work, last = self.work, np.inf
        if not work.size:
            return True
        absolute, square = alpha * self.absolute[work], alpha * self.square[work]
        value = self._value(self.gamma, self.loglik, alpha)
        for _ in range(max_iter):
            step, left, _ = self._loops.lasso_step(
                self.information, self.slope[work], self.gamma[work], absolute, square, 0.01 * tol, 10_000
            )
            size = float((np.diag(self.information) * step**2).max())
            if size < tol:
                # Too small to be worth a pass over the rows: the quadratic model says what it does to the slope.
                self.loglik += self.total * float(step @ (self.slope[work] + left)) / 2
                self.gamma[work] += step
                self.slope[work] = left
                return True
            if not self._try(step, value, alpha):
                if self.fresh:
                    return False
                self._refresh()
                continue
            value = self._value(self.gamma, self.loglik, alpha)
            if size > 0.04 * last:
                self._refresh()
            last = size
        return False

    def _try(self, step: Floats, value: float, alpha: float) -> bool:
        """Move by the step, or by a part of it if the information is up to date, when that is no worse."""
        gamma = self.gamma
        for _ in range(30 if self.fresh else 1):
            there = gamma.copy()
            there[self.work] += step
            steps = self.part.scalars(self.part.predictor(there[self.work]))
            if self._value(there, steps.loglik, alpha) >= value - 1e-9 * abs(value):
                self.gamma, self.steps, self.loglik, self.fresh = there, steps, steps.loglik, False
                self.slope[self.work] = self.part.slope(steps) / self.total
                return True
            step = step * 0.5
        return False


def _build(parameters: Mapping[str, Any], seed: int) -> CoxPath:
    # A packaged hazard must not tell of single patients.
    return CoxPath(**{"cv": 10, "rule": "1se", "step_events": 5, "random_state": seed, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    # The amount of the penalty is chosen inside the fit; how much of it is lasso is chosen here.
    return {"l1_ratio": trial.suggest_categorical("l1_ratio", (1.0, 0.5, 0.1))}


RECIPE = Recipe(
    name="cox_lasso",
    title="Cox proportional hazards with a lasso",
    description="Each predictor multiplies the hazard by a constant factor; a penalty drops those that add little.",
    task="survival",
    family="linear",
    build=_build,
    space=_space,
    defaults={"l1_ratio": 1.0},
    from_state=CoxPath.from_state,
    ratio_name="hazard ratio",
)
"""The catalogue entry ``cox_lasso``."""
