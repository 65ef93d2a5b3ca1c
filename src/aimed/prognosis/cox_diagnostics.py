"""Diagnostics of a fitted Cox model: residuals, R's score test of proportional hazards, profile-likelihood limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.prognosis.coefficients import places_of
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.curves import as_matrix
from aimed.prognosis.risk_sets import Outcome, Point, RiskSets, Steps, codes_of, line_up, one_thread, read_outcome

__all__ = [
    "ProportionalHazards",
    "Schoenfeld",
    "profile_intervals",
    "proportional_hazards_test",
    "residuals",
    "schoenfeld_residuals",
]

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["martingale", "deviance", "cox_snell", "score", "dfbeta", "dfbetas"]
Transform: TypeAlias = Literal["km", "rank", "identity", "log"]

_KINDS = ("martingale", "deviance", "cox_snell", "score", "dfbeta", "dfbetas")


def _at_model(
    model: CoxPH,
    X: Any,
    y: Any,
    entry: ArrayLike | None,
    sample_weight: ArrayLike | None,
    strata: ArrayLike | None,
    offset: ArrayLike | None,
) -> tuple[RiskSets, Steps, Outcome]:
    """Put rows in line and return the sums at the model's coefficients."""
    check_is_fitted(model, "coef_")
    values, _ = as_matrix(X, model.n_features_in_)
    outcome = read_outcome(y, entry, sample_weight, strata, offset)
    if values.shape[0] != outcome.time.size:
        raise DataError(f"X has {values.shape[0]} rows and y {outcome.time.size}", "one outcome a row")
    if (strata is None) != (model.strata_ is None):
        raise DataError("strata are given to the model or to this call only", "the same as in the fit")
    if outcome.weight is not None and not outcome.weight.all():
        raise DataError(f"{int((outcome.weight == 0).sum())} weights are 0", "weights > 0", "leave these rows out")
    risk = RiskSets(values, model.feature_means_, line_up(outcome), outcome.offset, model.ties == "efron")
    return risk, risk.scalars(risk.predictor(model.coef_ / risk.unit)), outcome


class _Profile:
    """The likelihood, with Firth's term where the model has it, maximised over all coefficients but one.

    Parameters
    ----------
    risk : RiskSets
    kept : int array
        Columns that are estimated.
    firth : bool
    """

    def __init__(self, risk: RiskSets, kept: NDArray[np.intp], firth: bool) -> None:
        self.risk, self.kept, self.firth = risk, kept, firth
        self.rows = np.ix_(kept, kept)

    def value(self, beta: Floats) -> tuple[float, Point]:
        """Return the log-likelihood at coefficients of unit spread, and what it is made of."""
        point = self.risk.evaluate(beta)
        if not self.firth:
            return point.loglik, point
        sign, log = np.linalg.slogdet(point.information[self.rows])
        return (point.loglik + 0.5 * float(log) if sign > 0 else -np.inf), point

    def slope(self, point: Point) -> Floats:
        """Return its slope."""
        if not self.firth:
            return point.gradient
        inverse = np.zeros_like(point.information)
        inverse[self.rows] = linalg.inv(point.information[self.rows])
        return np.asarray(point.gradient + self.risk.firth_slope(point.steps, inverse))

    def climb(self, beta: Floats, fixed: int) -> tuple[float, float, Floats]:
        """Return the largest value with one coefficient fixed, the slope in that one, and all coefficients."""
        free = self.kept[self.kept != fixed]
        goal, point = self.value(beta)
        for _ in range(100):
            slope = self.slope(point)
            if not free.size:
                break
            move = linalg.solve(point.information[np.ix_(free, free)], slope[free], assume_a="pos")
            move *= min(1.0, 2.0 / max(float(np.abs(move).max()), 1e-300))
            if np.abs(move).max() < 1e-9:
                break
            for _ in range(40):
                there = beta.copy()
                there[free] += move
                reached, found = self.value(there)
                if reached >= goal - 1e-11 * (1.0 + abs(goal)):
                    break
                move *= 0.5
            else:
                break
            beta, goal, point = there, reached, found
        return goal, float(slope[fixed]), beta

    def limit(self, top: float, beta: Floats, fixed: int, half: float, drop: float) -> float:
        """Return where the profile has fallen by `drop` on the side of `half`; infinite where it never has."""
        here, inner, outer = beta.copy(), float(beta[fixed]), np.nan
        at = inner + half
        for _ in range(100):
            here[fixed] = at
            reached, slope, here = self.climb(here, fixed)
            over = reached - (top - drop)
            if abs(over) < 1e-9:
                return at
            if over > 0:
                inner = at
            else:
                outer = at
            following = at - over / slope if slope != 0 else np.inf
            low, high = sorted((inner, outer)) if np.isfinite(outer) else sorted((inner, inner + 4.0 * half))
            if not low < following < high:
                # Outside of what is known: halfway, or further out.
                following = 0.5 * (inner + outer) if np.isfinite(outer) else inner + 2.0 * half
            if abs(following - float(beta[fixed])) > 60.0:
                return float(np.copysign(np.inf, half))
            at = following
        raise NotEstimableError("the profile of a coefficient did not settle in 100 steps", "a smooth likelihood")


def profile_intervals(
    model: CoxPH,
    X: Any,
    y: Any,
    terms: Sequence[str | int] | None = None,
    *,
    level: float | None = None,
    entry: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Floats:
    """Return confidence limits of coefficients from the profile of the likelihood.

    Parameters
    ----------
    model : CoxPH
        Fitted on these rows, without a ridge penalty.
    X : float array, shape (n, p)
    y : structured array, shape (n,)
    terms : sequence of str or int, optional
        Names or numbers of columns; all when absent.
    level : float, optional
        Confidence level; the model's when absent.
    entry, sample_weight, strata, offset
        As in `CoxPH.fit`.

    Returns
    -------
    float array, shape (q, 2)
        Infinite where the likelihood never falls far enough, NaN for a dropped column.

    Notes
    -----
    A limit is where the likelihood, maximised over the other coefficients, is lower than at its top by half the
    quantile of χ² with 1 degree of freedom. With ``firth=True`` it is the penalised likelihood: where a column
    separates the events this is far from symmetric, and the right interval to report; the intervals of
    `CoxPH.confidence_intervals_` (Wald's) can miss by much there. Each limit costs a handful of fits.

    Raises
    ------
    NotEstimableError
        If the model has a penalty.

    References
    ----------
    Heinze and Schemper, Biometrics 2001;57:114. Venzon and Moolgavkar, Appl Stat 1988;37:87.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(False, 9.0), (True, 2.0), (False, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> model = CoxPH(firth=True).fit(X, y)
    >>> model.confidence_intervals_.round(1).tolist(), profile_intervals(model, X, y, level=0.9).round(1).tolist()
    ([[-1.1, 5.8]], [[0.3, 6.1]])
    """
    if model.penalty:
        raise NotEstimableError("a model with a ridge penalty", "an unpenalised or a Firth model", "fit it without")
    with one_thread():
        risk, _, _ = _at_model(model, X, y, entry, sample_weight, strata, offset)
        names = model._names()
        errors = np.sqrt(np.diag(_naive(model)))
        kept = np.flatnonzero(np.isfinite(errors))
        profile = _Profile(risk, kept, model.firth)
        beta = model.coef_ / risk.unit
        top, _ = profile.value(beta)
        share = model.level if level is None else float(level)
        drop = 0.5 * float(stats.chi2.ppf(share, 1))
        chosen = range(len(names)) if terms is None else [places_of([term], names)[0] for term in terms]
        out = np.full((len(chosen), 2), np.nan)
        for row, j in enumerate(chosen):
            if j in kept:
                half = np.sqrt(2.0 * drop) * errors[j] / risk.unit[j]
                out[row] = [profile.limit(top, beta, j, side * half, drop) * risk.unit[j] for side in (-1.0, 1.0)]
    return out


def _naive(model: CoxPH) -> Floats:
    """Return the covariance of the coefficients that takes the model as true."""
    found = model.covariance_ if model.naive_covariance_ is None else model.naive_covariance_
    if found.shape[0] < model.coef_.size:
        raise NotEstimableError(
            f"{model.coef_.size} columns and fewer rows: the covariance is not kept", "more rows than columns"
        )
    return found


def residuals(
    model: CoxPH,
    X: Any,
    y: Any,
    kind: Kind = "martingale",
    *,
    entry: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> Floats:
    """Return one residual a row, or one a row and column.

    Parameters
    ----------
    model : CoxPH
        Fitted on these rows.
    X : float array, shape (n, p)
    y : structured array, shape (n,)
    kind : str
        ``"martingale"``: event less expected events; ``"deviance"``: its root that is nearly normal; ``"cox_snell"``:
        expected events. ``"score"``: each row's part of the slope of the likelihood; ``"dfbeta"``: about what leaving
        the row out would take from each coefficient; ``"dfbetas"``: that in standard errors.
    entry, sample_weight, strata, offset
        As in `CoxPH.fit`.
    cluster : array, shape (n,), optional
        Add the rows of each label up, in the order of the labels; not with ``"deviance"``, which is then taken of the
        sums.

    Returns
    -------
    float array, shape (n,) or (n, p); with c clusters (c,) or (c, p)

    Notes
    -----
    As R's ``residuals.coxph``: weights count in dfbeta and dfbetas, and elsewhere only when rows are added up.
    Rows that are at risk at no event have 0.

    Raises
    ------
    DataError
        If the rows do not fit the model, or a weight is 0.
    StudyFileError
        If there is no such kind.

    References
    ----------
    Therneau, Grambsch and Fleming, Biometrika 1990; Therneau and Grambsch, Modeling Survival Data, 2000, chapter 4.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(True, 9.0), (True, 2.0), (True, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> found = residuals(CoxPH().fit(X, y), X, y)
    >>> found.round(3).tolist(), bool(abs(found.sum()) < 1e-9)
    ([0.122, 0.719, 0.757, -1.046, 0.327, -0.878], True)
    """
    if kind not in _KINDS:
        raise StudyFileError(f"kind = '{kind}'", f"one of {', '.join(_KINDS)}")
    with one_thread():
        risk, steps, outcome = _at_model(model, X, y, entry, sample_weight, strata, offset)
        n, p = outcome.time.size, model.n_features_in_
        order, weight = risk.line.order, outcome.weight
        codes = None if cluster is None else codes_of(cluster, n, "cluster")[1]
        size = n if codes is None else int(codes.max()) + 1
        if kind in ("martingale", "deviance", "cox_snell"):
            expected = np.zeros(n)
            expected[order] = steps.met / risk.line.weight
            event = outcome.event.astype(np.float64)
            if codes is not None:
                own = np.ones(n) if weight is None else weight
                expected = np.bincount(codes, own * expected, minlength=size).astype(np.float64)
                event = np.bincount(codes, own * event, minlength=size).astype(np.float64)
            if kind == "cox_snell":
                return expected
            left = event - expected
            if kind == "martingale":
                return left
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.where(event > 0, event * np.log(expected / np.where(event > 0, event, 1.0)), 0.0)
            return np.asarray(np.sign(left) * np.sqrt(np.maximum(-2.0 * (left + logs), 0.0)))
        scores = risk.score_sums(steps, order if codes is None else codes[order], size)
        if kind == "score":
            return scores if weight is None or codes is not None else scores / weight[:, None]
        covariance = _naive(model)
        kept = np.flatnonzero(np.isfinite(np.diag(covariance)))
        out = np.zeros((size, p))
        out[:, kept] = scores[:, kept] @ covariance[np.ix_(kept, kept)]
        if kind == "dfbetas":
            out[:, kept] /= np.sqrt(np.diag(covariance)[kept])
        return out


class Schoenfeld(NamedTuple):
    """Schoenfeld residuals, one row an event, by stratum and time.

    Parameters
    ----------
    times : float array, shape (d,)
    rows : int array, shape (d,)
        The event's row.
    raw : float array, shape (d, p)
        Columns of the event less their mean over those at risk.
    scaled : float array, shape (d, p)
        raw times covariance times d, plus the coefficient: scattered around the coefficient at that time.
    """

    times: Floats
    rows: NDArray[np.int64]
    raw: Floats
    scaled: Floats


def schoenfeld_residuals(
    model: CoxPH,
    X: Any,
    y: Any,
    *,
    entry: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Schoenfeld:
    """Return how far each event's columns are from the mean of those at risk.

    Parameters
    ----------
    model : CoxPH
        Fitted on these rows.
    X : float array, shape (n, p)
    y : structured array, shape (n,)
    entry, sample_weight, strata, offset
        As in `CoxPH.fit`.

    References
    ----------
    Schoenfeld, Biometrika 1982; Grambsch and Therneau, Biometrika 1994.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    >>> y = np.array([(True, 9.0), (True, 2.0), (True, 4.0), (True, 6.0), (True, 3.0), (False, 9.0)],
    ...              dtype=[("event", bool), ("time", float)])
    >>> found = schoenfeld_residuals(CoxPH().fit(X, y), X, y)
    >>> found.times.tolist(), found.raw[:, 0].round(2).tolist()
    ([2.0, 3.0, 4.0, 6.0, 9.0], [0.16, 0.22, -0.64, 0.27, 0.0])
    """
    with one_thread():
        risk, steps, _ = _at_model(model, X, y, entry, sample_weight, strata, offset)
        line, k = risk.line, risk.line.times.size
        hits = np.flatnonzero(line.event)
        group = np.repeat(np.arange(k), line.deaths)
        heavy = np.bincount(group, line.weight[hits], minlength=k)
        shares = steps.steps.copy()
        shares[2], shares[3] = steps.steps[0] / heavy, steps.steps[1] / heavy
        means = risk.group_sums(Steps(steps.loglik, steps.top, steps.r, steps.met, shares), np.arange(k), k)
        raw = risk.X[hits] - means[group]
    covariance = _naive(model)
    scaled = model.coef_ + hits.size * raw @ np.nan_to_num(covariance)
    return Schoenfeld(line.times[group], line.order[hits], raw, scaled)


@dataclass(frozen=True, slots=True)
class ProportionalHazards:
    """Whether coefficients change with time, a line a term and one for all.

    Parameters
    ----------
    rows : list of dict
        ``term, chi2, df, p``; the last term is GLOBAL.
    transform : str
        The time scale.

    Examples
    --------
    >>> print(ProportionalHazards([{"term": "age", "chi2": 1.5, "df": 1, "p": 0.2207}], "km"))
        chisq df      p
    age   1.5  1 0.2207
    """

    rows: list[dict[str, Any]]
    transform: str

    def __getitem__(self, term: str) -> dict[str, Any]:
        """Return the line of a term."""
        for row in self.rows:
            if row["term"] == term:
                return row
        raise DataError(f"no term called '{term}'", ", ".join(str(row["term"]) for row in self.rows))

    def __str__(self) -> str:
        cells = [("", "chisq", "df", "p")]
        cells += [(str(r["term"]), f"{r['chi2']:.4g}", f"{r['df']:g}", f"{r['p']:.2g}" if r["p"] < 1e-4 else
                   f"{r['p']:.4f}") for r in self.rows]  # fmt: skip
        wide = [max(len(row[c]) for row in cells) for c in range(4)]
        lines = [
            " ".join([row[0].ljust(wide[0]), *(row[c].rjust(wide[c]) for c in (1, 2, 3))]).rstrip() for row in cells
        ]
        return "\n".join(lines)


def proportional_hazards_test(
    model: CoxPH,
    X: Any,
    y: Any,
    transform: Transform | Callable[[Floats], ArrayLike] = "km",
    *,
    terms: Sequence[str] | None = None,
    entry: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> ProportionalHazards:
    """Test that hazards are proportional: that no coefficient changes with a function of time.

    Parameters
    ----------
    model : CoxPH
        Fitted on these rows.
    X : float array, shape (n, p)
    y : structured array, shape (n,)
    transform : {"km", "rank", "identity", "log"} or callable
        Time scale g: one less the Kaplan-Meier curve just before the event, the rank of the event, time itself, its
        logarithm, or any function of the event times.
    terms : sequence of str, length p, optional
        Columns with one name, as the indicators of one category, are tested together.
    entry, sample_weight, strata, offset
        As in `CoxPH.fit`.

    Returns
    -------
    ProportionalHazards

    Notes
    -----
    The score test of g(t) x added to x, as in R's ``cox.zph`` from version 3.0 on: with V_j the variance of x at event
    j, the information of both is [ΣV, ΣgV; ΣgV, Σg²V], and the slope of the second part the sum of g times the
    Schoenfeld residuals. Robust errors are not used. Each block costs one pass over the rows.

    Raises
    ------
    NotEstimableError
        If there are fewer than two event times, or a coefficient is fixed for all columns.
    StudyFileError
        If there is no such transform, or the logarithm of time 0 is asked for.

    References
    ----------
    Grambsch and Therneau, Biometrika 1994; Therneau, survival package 3.0, 2019.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, time = rng.normal(size=(300, 2)), rng.exponential(size=300)
    >>> y = np.array([(True, t) for t in time * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
    >>> found = proportional_hazards_test(CoxPH().fit(X, y), X, y)
    >>> found["GLOBAL"]["df"], found["GLOBAL"]["p"] > 0.01
    (2, True)
    """
    with one_thread():
        risk, steps, outcome = _at_model(model, X, y, entry, sample_weight, strata, offset)
        line, p = risk.line, model.n_features_in_
        if np.unique(line.times).size < 2:
            raise NotEstimableError("fewer than two event times", "events at different times")
        names = list(model._names()) if terms is None else list(terms)
        if len(names) != p:
            raise DataError(f"{len(names)} terms for {p} columns", "one a column")
        kept = np.flatnonzero(np.isfinite(np.diag(_naive(model))))
        if not kept.size:
            raise NotEstimableError("no column has a coefficient that could change", "at least one")
        g = _time_scale(transform, line.times, line.deaths, outcome)
        # A constant in g changes nothing, and roots need what is not negative.
        g = (g - g.min()) / np.ptp(g) if np.ptp(g) > 0 else g - g
        unit = risk.unit
        scale = np.outer(unit, unit)
        _, plain = risk.products(steps.r, steps.met, steps.steps)
        information = np.empty((2 * p, 2 * p))
        information[:p, :p] = plain * scale
        hits, group = np.flatnonzero(line.event), np.repeat(np.arange(g.size), line.deaths)
        slope = np.zeros(2 * p)
        for power in (1, 2):
            weights = g**power
            timed = steps.steps * weights
            met = risk.hazard_met(steps.r, timed[0], timed[1])
            past, block = risk.products(steps.r, met, timed)
            if power == 1:
                information[:p, p:] = information[p:, :p] = block * scale
                slope[p:] = ((weights[group] * line.weight[hits]) @ risk.X[hits] - past) * unit
            else:
                information[p:, p:] = block * scale
    rows = []
    for term in [*dict.fromkeys(names[j] for j in kept), "GLOBAL"]:
        own = kept if term == "GLOBAL" else kept[[names[j] == term for j in kept]]
        both = np.concatenate((kept, own + p))
        try:
            chi2 = float(slope[both] @ linalg.solve(information[np.ix_(both, both)], slope[both], assume_a="pos"))
        except linalg.LinAlgError:
            raise NotEstimableError(
                f"the effect of '{term}' over time is not estimable", "more event times than columns in the term"
            ) from None
        rows.append({"term": term, "chi2": chi2, "df": own.size, "p": float(stats.chi2.sf(chi2, own.size))})
    return ProportionalHazards(rows, transform if isinstance(transform, str) else "own")


def _time_scale(
    transform: Transform | Callable[[Floats], ArrayLike], times: Floats, deaths: NDArray[np.int64], outcome: Outcome
) -> Floats:
    if callable(transform):
        found = np.asarray(transform(times), dtype=np.float64)
        if found.shape != times.shape or not np.isfinite(found).all():
            raise StudyFileError("the transform of time is not one finite number a time", "a function of an array")
        return found
    if transform == "identity":
        return times
    if transform == "log":
        if times.min() <= 0:
            raise StudyFileError("transform = 'log' with an event at time 0", "times > 0", "use 'km' or 'rank'")
        return np.log(times)
    if transform == "rank":
        return np.asarray(stats.rankdata(np.repeat(times, deaths))[np.cumsum(deaths) - 1])
    if transform != "km":
        raise StudyFileError(f"transform = '{transform}'", "'km', 'rank', 'identity', 'log' or a function")
    event, time = outcome.event, outcome.time
    at, counts = np.unique(time[event], return_counts=True)
    at_risk = time.size - np.searchsorted(np.sort(time), at, side="left")
    if outcome.entry is not None:
        at_risk -= time.size - np.searchsorted(np.sort(outcome.entry), at, side="left")
    before = np.concatenate(([1.0], np.cumprod(1.0 - counts / at_risk)))
    return np.asarray(1.0 - before[np.searchsorted(at, times, side="left")])
