"""Bayesian causal forest: sums of small trees for the outcome and for the effect, drawn from their posterior."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from aimed.core.errors import DataError, NotEstimableError, StudyFileError
from aimed.core.packed_arrays import packed, unpacked
from aimed.fit.bins import Bins
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.draws import threads_allowed
from aimed.treatment.kernels.bayesian_forest import add_trees, sample_chain
from aimed.treatment.learner import EffectLearner, Parts, Rows, _step
from aimed.treatment.nuisances import CLIP

__all__ = ["BayesianCausalForest"]

CREDIBLE = "quantiles of the posterior draws (a credible interval)"
_OUTCOMES = ("auto", "gaussian", "probit")
_CELLS = 2_000_000
_MIXED = 1.1
_HALF_NORMAL_MEDIAN = 0.6744897501960817
_OUTCOME_EVERY = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Trees:
    """Trees of all draws, nodes in preorder; see `add_trees`."""

    constants: NDArray[np.float64]
    starts: NDArray[np.int64]
    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    cut: NDArray[np.uint8]
    skip: NDArray[np.uint8]
    value: NDArray[np.float32]

    @classmethod
    def join(cls, parts: list[_Trees]) -> _Trees:
        """Return the draws of several chains after each other."""
        nodes = np.cumsum([0, *(p.feature.size for p in parts)])
        trees = np.cumsum([0, *(p.roots.size for p in parts)])
        return cls(
            np.concatenate([p.constants for p in parts]),
            np.concatenate([[0], *(p.starts[1:] + trees[k] for k, p in enumerate(parts))]),
            np.concatenate([p.roots + nodes[k] for k, p in enumerate(parts)]),
            *(np.concatenate([getattr(p, f) for p in parts]) for f in ("feature", "cut", "skip", "value")),
        )

    def every(self, step: int) -> _Trees:
        """Return every step-th draw, from the last one back."""
        kept = np.arange(self.constants.size - 1, -1, -step)[::-1]
        ends = np.append(self.roots, self.feature.size)
        trees = np.concatenate([np.arange(self.starts[t], self.starts[t + 1]) for t in kept]).astype(np.int64)
        sizes = ends[trees + 1] - ends[trees]
        roots = np.cumsum(sizes) - sizes
        nodes = np.repeat(ends[trees] - roots, sizes) + np.arange(sizes.sum())
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[kept])])
        rest = (getattr(self, f)[nodes] for f in ("feature", "cut", "skip", "value"))
        return _Trees(self.constants[kept], starts, roots, *rest)

    def sums(self, bins: NDArray[np.uint8]) -> FloatArray:
        """Return the sum of the trees of every draw at every row, shape (n, draws)."""
        out = np.empty((self.constants.size, bins.shape[0]))
        columns = np.ascontiguousarray(bins.T)
        add_trees(columns, self.constants, self.starts, self.roots, self.feature, self.cut, self.skip, self.value, out)
        return out.T

    def sound(self, columns: int) -> bool:
        """Say whether every place a loop goes to lies inside, and every walk ends."""
        size, inner = self.feature.size, self.feature >= 0
        after = np.arange(size) + self.skip
        return bool(
            self.cut.size == self.skip.size == self.value.size == size
            and self.starts.size == self.constants.size + 1
            and self.starts[0] == 0
            and (np.diff(self.starts) >= 0).all()
            and self.starts[-1] == self.roots.size
            and (self.roots.size == 0 or (self.roots.min() >= 0 and self.roots.max() < size))
            and (self.feature < columns).all()
            and (self.skip[inner] >= 2).all()
            and (after[inner] < size).all()
        )


_DTYPES = {"constants": np.float64, "starts": np.int64, "roots": np.int64, "feature": np.int16, "cut": np.uint8,
           "skip": np.uint8, "value": np.float32}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    """What is kept of the draws.

    Parameters
    ----------
    centre, scale : float
        Of the outcome; 0 and 1 where it is 0/1.
    level : float array, shape (draws, 4)
        Intercept, constant part of the effect, code of the untreated and of the treated.
    effect : _Trees
    outcome : _Trees or None
        Of every `every`-th draw; None where covariates outside X are needed for it.
    chance : float array, shape (p + 1,)
        Intercept and slopes of the log odds of treatment, for new rows.
    """

    centre: float
    scale: float
    level: FloatArray
    effect: _Trees
    outcome: _Trees | None
    every: int
    bins: Bins
    chance: FloatArray


class BayesianCausalForest(EffectLearner):
    """Y = c + mu(X, W, e) + [d + tau(X)] of the treated + noise; mu and tau are sums of small trees.

    Posterior draws come from backfitting Markov chains: in turn, each tree is offered a new split, the removal of one
    or another rule for one, given all others, and its leaf means are drawn. e is the chance of treatment; with it among
    the columns of mu, what drives treatment and outcome is not taken for an effect.

    Parameters
    ----------
    n_estimators, n_effect_estimators : int
        Trees of mu and of tau.
    alpha, beta : float
        A node of mu at depth d is split with prior chance alpha (1 + d)^-beta.
    effect_alpha, effect_beta : float
        The same of tau; the defaults are those of Hahn et al., few and shallow trees: effects vary less than outcomes.
    outcome : {"auto", "gaussian", "probit"}
        ``"probit"`` is for 0/1 outcomes: c + mu + ... is then the mean of a latent normal outcome, and effects are
        differences of risks. ``"auto"`` takes it where Y is 0/1 and there is no W; with W the noise is normal and the
        risks are linear (a linear probability model), since the risk of a new patient would need W.
    n_chains : int
    n_warm_up : int
        Sweeps over all trees that are thrown away.
    n_draws : int
        Draws that each chain keeps.
    thin : int
        Sweeps for each draw.
    min_samples_leaf : int
        Rows of a leaf.
    max_bins : int
        Bins of a column, from 2 to 255.
    sparse : bool
        Draw the chances of the columns to be split on from a Dirichlet law, for many columns of which few matter.
    n_jobs : int, optional
        Threads; 1 when absent, -1 for all. The draws do not depend on it.
    random_state : int

    Attributes
    ----------
    r_hat_ : dict of str to float
        Agreement of the halves of the chains on the average effect, the spread of effects and the noise; near 1.
    noise_ : float
        Posterior mean of the noise standard deviation, on the scale of Y; 1 for a probit.
    probit_ : bool
    interval_method_ : str
    n_features_in_, n_, n_patients_ : int

    Notes
    -----
    **Priors**, Y in units of its standard deviation. Leaf means of mu are normal, their scale half-Cauchy with median 2
    (1.5 for a probit) for the whole sum. The constant part d has a nearly flat prior (deviation 10; 3 for a probit), so
    that the average effect is not drawn to zero. tau is scaled by a half-normal number of median 1 (0.5 for a
    probit): effects that do not vary come out with little variation. The noise variance is scaled inverse chi-squared
    with 3 degrees of freedom, 90 % of it below the residual variance of a linear regression.

    **Intervals** are credible intervals. They rest on normal noise of one variance, and are for the rows of X as they
    are (`ate_interval` holds X fixed). Rows are taken as independent: with several rows a patient they are too short,
    and `fit` warns. Chains that disagree (`r_hat_` above 1.1) are warned of.

    **New rows.** Effects of a normal outcome need X alone. `counterfactuals` and a probit need e; it comes from a
    logistic regression on X, the one of the fit unless `propensity` or `nuisances` were given.

    References
    ----------
    Hahn, Murray and Carvalho, Bayesian Anal 2020;15:965; Chipman, George and McCulloch, Ann Appl Stat 2010;4:266;
    Linero, JASA 2018;113:626 (sparse); Vehtari et al., Bayesian Anal 2021;16:667 (R-hat).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(300, 2)), rng.integers(0, 2, 300)
    >>> Y = X[:, 1] + T * np.where(X[:, 0] > 0, 3.0, 1.0) + 0.3 * rng.normal(size=300)
    >>> forest = BayesianCausalForest(50, 20, n_chains=2, random_state=1).fit(Y, T, X=X, propensity=0.5)
    >>> forest.effect([[-1.0, 0.0], [1.0, 0.0]]).round(0).tolist()
    [1.0, 3.0]
    """

    def __init__(
        self,
        n_estimators: int = 200,
        n_effect_estimators: int = 50,
        *,
        alpha: float = 0.95,
        beta: float = 2.0,
        effect_alpha: float = 0.25,
        effect_beta: float = 3.0,
        outcome: str = "auto",
        n_chains: int = 4,
        n_warm_up: int = 500,
        n_draws: int = 150,
        thin: int = 7,
        min_samples_leaf: int = 5,
        max_bins: int = 128,
        sparse: bool = False,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.n_effect_estimators = n_effect_estimators
        self.alpha = alpha
        self.beta = beta
        self.effect_alpha = effect_alpha
        self.effect_beta = effect_beta
        self.outcome = outcome
        self.n_chains = n_chains
        self.n_warm_up = n_warm_up
        self.n_draws = n_draws
        self.thin = thin
        self.min_samples_leaf = min_samples_leaf
        self.max_bins = max_bins
        self.sparse = sparse
        self.n_jobs = n_jobs
        self.random_state = random_state

    # ------------------------------------------------------------------------------------------------------- fitting

    def _check(self) -> None:
        for name, least in (
            ("n_estimators", 1), ("n_effect_estimators", 1), ("n_chains", 1), ("n_warm_up", 0), ("n_draws", 4),
            ("thin", 1), ("min_samples_leaf", 1), ("max_bins", 2),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise StudyFileError(f"{name} is not a whole number of {least} or more", f"{name} >= {least}")
        if self.max_bins > 255:
            raise StudyFileError(f"max_bins = {self.max_bins}", "at most 255")
        for name in ("alpha", "effect_alpha"):
            if not 0 < getattr(self, name) < 1:
                raise StudyFileError(f"{name} is not a prior chance of a split", "a number strictly between 0 and 1")
        for name in ("beta", "effect_beta"):
            if not getattr(self, name) >= 0:
                raise StudyFileError(f"{name} is negative", "0 or more")
        if self.outcome not in _OUTCOMES:
            raise StudyFileError(f"no outcome called '{self.outcome}'", f"one of: {', '.join(_OUTCOMES)}")

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        self._check()
        y, n = rows.y, rows.y.size
        if np.ptp(y) == 0:
            raise NotEstimableError("Y has one value only", "outcomes that differ", "check the outcome column")
        probit = self.outcome == "probit" or (self.outcome == "auto" and rows.binary and rows.W is None)
        if probit and not rows.binary:
            raise DataError("Y has values other than 0 and 1", "0/1 for a probit", "use outcome='gaussian'")
        if probit and rows.W is not None:
            raise StudyFileError(
                "a probit with covariates that are no effect modifiers (W)", "W = None",
                "put their columns into X, or use outcome='gaussian' (linear risks)",
            )  # fmt: skip
        self.probit_ = probit
        clustered = n > self.n_patients_
        if clustered:
            warnings.warn(
                f"{n} rows of {self.n_patients_} patients are taken as independent by the Bayesian causal forest: "
                "its intervals are too short; use one row a patient, or a learner with intervals by patient",
                UserWarning,
                stacklevel=4,
            )
        chance, odds = self._chance(rows)
        columns = np.column_stack([rows.columns, chance])
        bins = Bins.learn(
            columns, np.ones(n), np.zeros(columns.shape[1], dtype=bool), self.max_bins,
            [f"number {j}" for j in range(columns.shape[1])],
        )  # fmt: skip
        centre, scale = (0.0, 1.0) if probit else (float(y.mean()), float(y.std()))
        level, effect, outcome, traces = self._sample(rows, (y - centre) / scale, columns, bins, probit)
        self.noise_ = float(traces[:, :, 0].mean()) * scale
        self._converged(traces)
        keep = rows.W is None
        every = 1 if probit else _OUTCOME_EVERY
        draws = _Posterior(
            centre, scale, level, effect, outcome.every(every) if keep else None, every, bins,
            odds if keep else np.zeros(0),
        )  # fmt: skip
        return {"draws": draws}, CREDIBLE + ("; rows of a patient taken as independent: too short" if clustered else "")

    def _chance(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return the chance of treatment of each row, and intercept and slopes of its log odds for new rows."""
        columns = rows.columns
        mean, spread = columns.mean(axis=0), columns.std(axis=0)
        spread[spread <= 1e-12 * np.abs(mean)] = np.inf
        units = (columns - mean) / spread
        given = rows.chance
        if given is None and rows.nuisances is not None:
            given = rows.nuisances.propensity
        if given is None:
            model = LogisticRegression(C=0.1, max_iter=1000).fit(units, rows.arm)
            slopes, intercept = model.coef_[0], float(model.intercept_[0])
        elif np.ptp(given) == 0:
            slopes, intercept = np.zeros(columns.shape[1]), float(logit(given[0]))
        else:
            design = np.column_stack([np.ones(len(units)), units])
            found = np.linalg.lstsq(design, logit(np.clip(given, CLIP, 1 - CLIP)), rcond=None)[0]
            slopes, intercept = found[1:], float(found[0])
        slopes = slopes / spread
        odds = np.concatenate([[intercept - float(slopes @ mean)], slopes])
        return (_expected(odds, columns) if given is None else given), odds

    def _sample(
        self, rows: Rows, y: FloatArray, columns: FloatArray, bins: Bins, probit: bool
    ) -> tuple[FloatArray, _Trees, _Trees, FloatArray]:
        byte = np.ascontiguousarray(bins.transform(columns).T)
        arm = rows.arm.astype(np.uint8)
        trees = np.array([self.n_estimators, self.n_effect_estimators])
        first = np.array([columns.shape[1], rows.X.shape[1]])
        wide, median = (1.5, 0.5) if probit else (2.0, 1.0)
        spread = np.array([wide, median / _HALF_NORMAL_MEDIAN]) ** 2 / trees
        # Scaled inverse chi-squared with 3 degrees of freedom, 90 % of it below the variance around a line.
        noise = 1.0 if probit else _residual_variance(columns[:, :-1], arm, y) * float(chi2.ppf(0.1, 3)) / 3
        split, decay = np.array([self.alpha, self.effect_alpha]), np.array([self.beta, self.effect_beta], dtype=float)
        adapt, flat = np.array([True, False]), 3.0 if probit else 10.0
        seeds = np.random.SeedSequence(self.random_state).spawn(self.n_chains)

        def chain(seed: np.random.SeedSequence) -> tuple[Any, ...]:
            done: tuple[Any, ...] = sample_chain(
                np.random.Generator(np.random.PCG64(seed)), byte, bins.levels, y, arm, probit, trees, first, split,
                decay, self.min_samples_leaf, spread, adapt, 0.5, 3.0, noise, flat, flat, bool(self.sparse),
                self.n_warm_up, self.n_draws, self.thin, False,
            )  # fmt: skip
            return done

        found = list(_threaded(chain, seeds, self.n_jobs))
        level = np.concatenate([c[1] for c in found])[:, :4]
        forests = [
            _Trees.join([_Trees(np.ascontiguousarray(c[2][:, f]), c[3][f], *c[4 + f]) for c in found]) for f in (0, 1)
        ]
        return level, forests[1], forests[0], np.array([c[0][self.n_warm_up :] for c in found])

    def _converged(self, traces: FloatArray) -> None:
        names = {"noise": 0, "average effect": 1, "spread of effects": 2}
        self.r_hat_ = {k: _r_hat(traces[:, :, j]) for k, j in names.items() if not (self.probit_ and j == 0)}
        apart = [f"{k} {v:.2f}" for k, v in self.r_hat_.items() if not v <= _MIXED]
        if apart:
            warnings.warn(
                f"the chains of the Bayesian causal forest have not mixed (R-hat of {', '.join(apart)}; near 1 when "
                "they have): raise n_warm_up and thin, or n_chains",
                UserWarning,
                stacklevel=5,
            )

    # ------------------------------------------------------------------------------------------------------- effects

    def _blocks(self, parts: Parts, X: FloatArray, work: Callable[[FloatArray], Any]) -> Iterator[Any]:
        """Yield what `work` makes of the draws, shape (rows, draws), of some rows at a time."""
        kept: _Posterior = parts["draws"]
        size = max(1, _CELLS // kept.level.shape[0])

        def block(start: int) -> Any:
            return work(_effects(kept, X[start : start + size], self.probit_))

        return _threaded(block, range(0, len(X), size), self.n_jobs)

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        return np.concatenate(list(self._blocks(parts, X, lambda draws: draws.mean(axis=1))))

    def _errors(self, X: FloatArray) -> FloatArray:
        return np.concatenate(list(self._blocks(self.parts_, X, lambda draws: draws.std(axis=1, ddof=1))))

    def _error_of_mean(self, X: FloatArray) -> float:
        return float(self._mean_draws(X).std(ddof=1))

    def _mean_draws(self, X: FloatArray) -> FloatArray:
        return np.asarray(sum(self._blocks(self.parts_, X, lambda draws: draws.sum(axis=0))) / len(X))

    def effect_draws(self, X: ArrayLike) -> FloatArray:
        """Return posterior draws of the effect on each row, shape (n, draws), chain after chain."""
        draws: FloatArray = np.concatenate(list(self._blocks(self.parts_, self._new(X), lambda block: block)))
        return draws

    def effect_interval(
        self, X: ArrayLike, *, T0: ArrayLike = 0, T1: ArrayLike = 1, alpha: float = 0.05
    ) -> tuple[FloatArray, FloatArray]:
        """Return the limits of each row's effect, each of shape (n,): a credible interval that holds 1 - alpha.

        Raises
        ------
        StudyFileError
            If alpha is not strictly between 0 and 1.
        """
        tails = _tails(alpha)
        pairs = self._blocks(self.parts_, self._new(X), lambda draws: np.quantile(draws, tails, axis=1))
        low, high = np.concatenate(list(pairs), axis=1)
        one, other = low * _step(T0, T1), high * _step(T0, T1)
        return np.minimum(one, other), np.maximum(one, other)

    def ate_interval(self, X: ArrayLike, *, alpha: float = 0.05) -> tuple[float, float]:
        """Return the limits of the mean effect over the rows of X, held fixed: a credible interval of 1 - alpha.

        Raises
        ------
        StudyFileError
            If alpha is not strictly between 0 and 1.
        """
        low, high = np.quantile(self._mean_draws(self._new(X)), _tails(alpha))
        return float(low), float(high)

    def counterfactuals(self, X: ArrayLike) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2); their difference is the effect.

        Raises
        ------
        NotEstimableError
            If the forest was fitted with W: the outcome of a new patient would need it.
        """
        table = self._new(X)
        kept: _Posterior = self.parts_["draws"]
        if kept.outcome is None:
            raise NotEstimableError(
                "the outcome was modelled with covariates that are not in X", "a fit without W",
                "put the columns of W into X",
            )  # fmt: skip
        size = max(1, _CELLS // kept.level.shape[0])

        def block(start: int) -> FloatArray:
            latent = _untreated(kept, table[start : start + size])
            outcome = ndtr(latent) if self.probit_ else kept.centre + kept.scale * latent
            return np.asarray(outcome.mean(axis=1))

        untreated = np.concatenate(list(_threaded(block, range(0, len(table), size), self.n_jobs)))
        return np.column_stack([untreated, untreated + self._combine(self.parts_, table)])

    # ------------------------------------------------------------------------------------------------------- storage

    def estimators(self) -> dict[str, Any]:
        """Return the fitted scikit-learn parts: none, all is in the state."""
        check_is_fitted(self, "parts_")
        return {}

    def to_state(self) -> dict[str, Any]:
        """Return the kept draws in JSON types, without the training rows."""
        check_is_fitted(self, "parts_")
        kept: _Posterior = self.parts_["draws"]
        return {
            "learner": type(self).__name__,
            "params": self.get_params(deep=False),
            "n": int(self.n_),
            "n_patients": int(self.n_patients_),
            "n_features": int(self.n_features_in_),
            "binary": bool(self.binary_),
            "probit": self.probit_,
            "interval_method": self.interval_method_,
            "r_hat": self.r_hat_,
            "noise": self.noise_,
            "centre": kept.centre,
            "scale": kept.scale,
            "every": kept.every,
            "level": packed(kept.level),
            "edges": packed(kept.bins.edges),
            "edge_starts": packed(kept.bins.starts),
            "chance": packed(kept.chance),
            "forests": {
                name: {f.name: packed(getattr(trees, f.name)) for f in fields(_Trees)}
                for name, trees in (("effect", kept.effect), ("outcome", kept.outcome))
                if trees is not None
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], estimators: Mapping[str, Any] | None = None) -> Self:
        """Return the forest that `to_state` wrote down; its effects have the same bits.

        Raises
        ------
        DataError
            If the state is another learner's, or its arrays do not fit together.
        """
        if state.get("learner") != cls.__name__:
            raise DataError(f"the state is not one of {cls.__name__}", "the state of the same learner")
        forest = cls(**state["params"])
        forest._check()
        forest.n_, forest.n_patients_ = int(state["n"]), int(state["n_patients"])
        forest.n_features_in_, forest.binary_ = int(state["n_features"]), bool(state["binary"])
        forest.probit_, forest.noise_ = bool(state["probit"]), float(state["noise"])
        forest.interval_method_ = str(state["interval_method"])
        forest.r_hat_ = {str(k): float(v) for k, v in state["r_hat"].items()}
        forest.replicates_ = []
        trees = {
            name: _Trees(**{f: unpacked(part[f]).astype(t, casting="safe") for f, t in _DTYPES.items()})
            for name, part in state["forests"].items()
        }
        starts, edges = unpacked(state["edge_starts"]).astype(np.int64), unpacked(state["edges"]).astype(np.float64)
        bins = Bins(edges, starts, np.zeros(max(starts.size - 1, 0), dtype=bool))
        kept = _Posterior(
            float(state["centre"]), float(state["scale"]), unpacked(state["level"]), trees["effect"],
            trees.get("outcome"), int(state["every"]), bins, unpacked(state["chance"]),
        )  # fmt: skip
        if not _sound(kept, forest.n_features_in_, forest.probit_):
            raise DataError("the arrays of the forest do not fit together", "a state written by aimed")
        forest.parts_ = {"draws": kept}
        return forest


def _sound(kept: _Posterior, columns: int, probit: bool) -> bool:
    starts, draws = kept.bins.starts, kept.level.shape[0]
    bins = starts.size >= columns + 2 and starts[0] == 0 and (np.diff(starts) >= 0).all()
    ok = bins and starts[-1] == kept.bins.edges.size and kept.level.shape == (draws, 4)
    ok = ok and kept.effect.constants.size == draws and kept.effect.sound(columns)
    if kept.outcome is None:
        return bool(ok and not probit)
    counted = kept.every >= 1 and kept.outcome.constants.size == -(-draws // kept.every)
    return bool(ok and counted and kept.chance.size == columns + 1 and kept.outcome.sound(columns + 1))


def _threaded(work: Callable[[Any], Any], items: Any, n_jobs: int | None) -> Iterator[Any]:
    threads = min(1 if n_jobs is None else threads_allowed(None if n_jobs < 0 else n_jobs), len(items))
    if threads <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)


def _expected(odds: FloatArray, columns: FloatArray) -> FloatArray:
    return np.asarray(np.clip(expit(odds[0] + columns @ odds[1:]), CLIP, 1 - CLIP))


def _with_chance(kept: _Posterior, X: FloatArray) -> NDArray[np.uint8]:
    return kept.bins.transform(np.column_stack([X, _expected(kept.chance, X)]))


def _effect_bins(kept: _Posterior, X: FloatArray) -> NDArray[np.uint8]:
    p = X.shape[1]
    stop = kept.bins.starts[: p + 1]
    return Bins(kept.bins.edges[: stop[-1]], stop, kept.bins.nominal[:p]).transform(X)


def _effects(kept: _Posterior, X: FloatArray, probit: bool) -> FloatArray:
    """Return draws of the effects, shape (n, draws)."""
    sums = kept.effect.sums(_effect_bins(kept, X))
    effect = kept.level[:, 1] + (kept.level[:, 3] - kept.level[:, 2]) * sums
    if not probit:
        return np.asarray(effect * kept.scale)
    base = _untreated(kept, X)
    return np.asarray(ndtr(base + effect) - ndtr(base))


def _untreated(kept: _Posterior, X: FloatArray) -> FloatArray:
    """Return draws of the untreated outcome, latent or in units, shape (n, draws kept of the outcome)."""
    assert kept.outcome is not None  # noqa: S101
    which = _kept_draws(kept.level.shape[0], kept.every)
    sums = kept.effect.sums(_effect_bins(kept, X))[:, which]
    level = kept.level[which]
    return np.asarray(level[:, 0] + kept.outcome.sums(_with_chance(kept, X)) + level[:, 2] * sums)


def _kept_draws(draws: int, every: int) -> IntArray:
    return np.arange(draws - 1, -1, -every)[::-1]


def _tails(alpha: float) -> tuple[float, float]:
    if not 0 < alpha < 1:
        raise StudyFileError("alpha is not strictly between 0 and 1", "0.05 for 95 % intervals")
    return alpha / 2, 1 - alpha / 2


def _residual_variance(columns: FloatArray, arm: NDArray[np.uint8], y: FloatArray) -> float:
    """Return the variance around a linear regression; that of y where the columns are too many for one."""
    units = columns - columns.mean(axis=0)
    treated = arm.astype(np.float64)[:, None]
    design = np.column_stack([np.ones(y.size), units, treated])
    if 4 * design.shape[1] < y.size:
        design = np.column_stack([design, units * treated])
    if 2 * design.shape[1] > y.size:
        return float(y.var())
    beta, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    rest = float(((y - design @ beta) ** 2).sum()) / (y.size - int(rank))
    # A line through all points leaves no variance; the prior must leave some.
    return max(rest, 1e-6 * float(y.var()))


def _r_hat(traces: FloatArray) -> float:
    """Return how far halves of chains differ, shape (chains, sweeps): total over within standard deviation."""
    half = traces.shape[1] // 2
    parts = np.concatenate([traces[:, :half], traces[:, half : 2 * half]])
    within = float(parts.var(axis=1, ddof=1).mean())
    between = float(parts.mean(axis=1).var(ddof=1))
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((half - 1) / half + between / within)
