"""Causal forest on binned columns: honest trees of local effects, with intervals from little bags."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.bins import Bins
from aimed.metrics.arrays import FloatArray
from aimed.metrics.draws import threads_allowed
from aimed.metrics.result import clustered_variance, normal_quantile
from aimed.treatment.kernels.causal_forest import add_leaves, draw_bag, draw_halves, grow_tree
from aimed.treatment.learner import EffectLearner, Parts, Rows
from aimed.treatment.nuisances import fit_nuisances

__all__ = ["CausalForest"]

_BLOCK = 512
_DEPTHS = 4
_NOISE = 2.0
_OF_LINE = np.array([0, 1, 0, 1], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Trees:
    """All trees after each other, with children and leaves counted through; see `grow_tree`."""

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    cut: NDArray[np.uint8]
    left: NDArray[np.int32]
    value: NDArray[np.float32]

    @classmethod
    def join(cls, grown: list[tuple[NDArray[Any], ...]]) -> _Trees:
        sizes = np.array([tree[0].size for tree in grown], dtype=np.int64)
        leaves = np.array([tree[3].shape[0] for tree in grown], dtype=np.int64)
        if sizes.sum() >= 2**31:
            raise DataError("the forest has 2**31 nodes", "fewer", "raise min_samples_leaf, or set max_depth")
        roots = np.concatenate(([0], np.cumsum(sizes)))
        first = np.concatenate(([0], np.cumsum(leaves)))
        left = [tree[2] + np.where(tree[0] < 0, first[k], roots[k]).astype(np.int32) for k, tree in enumerate(grown)]
        return cls(
            roots,
            np.concatenate([tree[0] for tree in grown]),
            np.concatenate([tree[1] for tree in grown]),
            np.concatenate(left),
            np.concatenate([tree[3] for tree in grown]),
        )


class CausalForest(EffectLearner):
    """A generalised random forest of the effect: honest trees that split where the effect changes.

    Parameters
    ----------
    n_estimators : int
        Trees, rounded up to whole little bags.
    min_samples_leaf : int
        Rows of either arm in a leaf, at least, among those that split and among those that fill it.
    max_depth : int, optional
    max_features : {"auto", "sqrt"}, int, float or None
        Columns tried at each node; ``"auto"`` is min(p, √p + 20), None all.
    max_samples : float
        Share of the patients that a tree draws, at most the half that its bag draws.
    min_child_share : float
        Share of a node's rows in either child, at least.
    honest : bool
        One half of a tree's patients chooses its splits and the other one fills its leaves.
    subforest_size : int
        Trees in a little bag, all within one half of the patients.
    trend : bool
        Correct the forest by a straight line of the effect as far as that helps; see the notes.
    max_bins : int
        Bins of a column, from 2 to 255.
    outcome_model, propensity_model : str or scikit-learn estimator, optional
        Of the nuisances, where `fit` is given none; see `aimed.treatment.nuisances.fit_nuisances`.
    folds : int
        Of the nuisances.
    n_jobs : int, optional
        Threads; 1 when absent, -1 for all. The numbers do not depend on it.
    random_state : int, RandomState or None

    Attributes
    ----------
    oob_effect_ : float array, shape (n,)
        Effect in each training row by the bags that did not draw its patient; see also `oob_interval`.
    average_effect_, average_effect_se_ : float
        Doubly robust average effect in the training rows and its standard error, by patient.
    feature_importances_ : float array, shape (p,)
        Share of the splits on each column at the four upper depths, weighted by 1 / depth².
    trend_weight_ : float
        Share of the line's correction that is taken.
    nuisances_ : Nuisances
    n_features_in_, n_, n_patients_, interval_method_

    Notes
    -----
    **Centring.** Outcome and treatment less their cross-fitted expectations, Ỹ = Y - m(X) and T̃ = T - e(X), are what
    trees see. A node's effect is the slope of Ỹ on T̃; its pseudo-outcomes are the influence of each row on the
    slope, and a split is the cut that makes their means differ most.

    **Effect.** Each tree gives the means of T̃, Ỹ, T̃² and T̃Ỹ in the leaf that a patient falls in. Their means over
    trees are sums over training rows with the forest's weights; the effect is the slope that they give.

    **Intervals.** The bags are half-samples of the patients. The spread of the bags' influence on the effect, less
    what few trees a bag add to it, estimates the variance of the forest (bootstrap of little bags). The interval is
    that of the forest's expectation: where the effect bends sharply, a forest's bias is not in it.

    **Trend.** A forest flattens slopes and is pulled inwards at the edges. With `trend`, each bag also fits the effect
    as a line in the columns (residual on residual, by least squares) and multiplies each slope b by the positive part
    of 1 - 2 se² / b², so that what is noise in one half-sample is dropped there and averaged out over bags. The forest
    is then corrected by the line at the patient less what the forest makes of the line there, as in local linear
    forests; the correction is weighed by the number from 0 to 1 that lowers the out-of-bag loss most
    (`trend_weight_`), 0 where effects jump. Since each half-sample has its own line, the intervals hold its
    uncertainty, which is most of it where patients are few. Outside the range of the training rows the line stays as
    at the edge. It is left out where half the rows are fewer than two a column.

    The same `random_state` gives the same bits, whatever `n_jobs`. Missing values are refused: impute before.

    Raises
    ------
    NotEstimableError
        If there are too few patients for halves, or no column varies.

    References
    ----------
    Athey, Tibshirani and Wager, Ann Stat 2019;47:1148; Wager and Athey, JASA 2018;113:1228; Friedberg et al., J
    Comput Graph Stat 2020;30:503 (linear corrections); Breiman, Technometrics 1995;37:373 (shrunken slopes).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(1000, 3)), rng.integers(0, 2, 1000)
    >>> Y = X[:, 1] + np.where(X[:, 0] > 0, 2.0, 0.0) * T + rng.normal(size=1000)
    >>> forest = CausalForest(n_estimators=200, random_state=1).fit(Y, T, X=X, propensity=0.5)
    >>> bool((abs(forest.effect([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]) - [2.0, 0.0]) < 0.5).all())
    True
    """

    def __init__(
        self,
        n_estimators: int = 1000,
        min_samples_leaf: int = 2,
        max_depth: int | None = None,
        max_features: str | float | None = "auto",
        max_samples: float = 0.5,
        min_child_share: float = 0.05,
        honest: bool = True,
        subforest_size: int = 4,
        trend: bool = True,
        max_bins: int = 255,
        outcome_model: Any = None,
        propensity_model: Any = None,
        folds: int = 5,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_depth = max_depth
        self.max_features = max_features
        self.max_samples = max_samples
        self.min_child_share = min_child_share
        self.honest = honest
        self.subforest_size = subforest_size
        self.trend = trend
        self.max_bins = max_bins
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.folds = folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        """Centre, grow the trees, weigh the line and predict out of bag."""
        self._check()
        y, arm, values = rows.y, rows.arm, rows.X
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        nuisances = rows.nuisances
        if nuisances is None:
            nuisances = fit_nuisances(
                y, arm, values, rows.W, outcome_model=self.outcome_model, propensity_model=self.propensity_model,
                propensity=rows.chance, folds=self.folds, patient=rows.codes, random_state=seed,
                n_jobs=self._threads(),
            )  # fmt: skip
        self.nuisances_, patients = nuisances, self.n_patients_
        codes = np.arange(y.size) if rows.codes is None else rows.codes
        half, drawn = patients // 2, int(self.max_samples * patients)
        if min(arm.sum(), (~arm).sum()) < 4 * self.min_samples_leaf or drawn < 4:
            raise NotEstimableError(
                f"{y.size} rows of {patients} patients, {int(min(arm.sum(), (~arm).sum()))} rows in the smaller arm",
                f"at least {4 * self.min_samples_leaf} rows in either arm: halves of halves hold a leaf",
                "use a learner that needs fewer patients, such as effect_model or risk_based",
            )
        names = [f"x{j}" for j in range(values.shape[1])]
        self.bins_ = Bins.learn(values, np.ones(y.size), np.zeros(values.shape[1], dtype=bool), self.max_bins, names)
        bins = self.bins_.transform(values)
        by_column = np.ascontiguousarray(bins.T)
        candidates = np.flatnonzero(by_column.min(axis=1) != by_column.max(axis=1)).astype(np.int64)
        if not candidates.size:
            raise NotEstimableError(f"none of the {values.shape[1]} columns of X varies", "at least one that does")
        rest, treatment = y - nuisances.m, arm - nuisances.propensity

        bags = -(-int(self.n_estimators) // int(self.subforest_size))
        seeds = np.random.SeedSequence(seed).generate_state(bags * (2 * int(self.subforest_size) + 1), np.uint64)
        seeds = seeds.reshape(bags, -1)
        drawn_by = [draw_bag(one[0], patients, half) for one in seeds]
        self._learn_trend(values, rest, treatment, codes, drawn_by)
        levels, tries = self.bins_.levels, self._tries(candidates.size)
        deepest = 2**31 - 1 if self.max_depth is None else int(self.max_depth)

        def grow(g: int) -> tuple[list[Any], FloatArray]:
            line = self._line(values, slice(g, g + 1))[0] if self.trend else np.zeros(y.size)
            counts = np.zeros((_DEPTHS, values.shape[1]))
            trees = []
            for k in range(int(self.subforest_size)):
                side = draw_halves(seeds[g, 2 * k + 1], drawn_by[g], patients, min(drawn, half), bool(self.honest))
                trees.append(
                    grow_tree(
                        by_column, levels, candidates, rest, line, treatment, arm, side[codes], seeds[g, 2 * k + 2],
                        tries, int(self.min_samples_leaf), float(self.min_child_share), deepest, counts,
                    )
                )  # fmt: skip
            return trees, counts

        grown = list(self._map(grow, range(bags)))
        self.trees_ = _Trees.join([tree for trees, _ in grown for tree in trees])
        weight = np.sum([counts for _, counts in grown], axis=0) / (1.0 + np.arange(_DEPTHS)[:, None]) ** 2
        self.feature_importances_ = weight.sum(axis=0) / max(weight.sum(), 1.0)

        inside = np.zeros((bags, patients), dtype=bool)
        for g, bag in enumerate(drawn_by):
            inside[g, bag] = True
        self._weigh_trend(values, bins, inside, codes, rest, treatment)
        self.oob_effect_, self._oob_variance = self._predict(values, bins, inside, codes)
        scores = nuisances.scores(y, arm)
        self.average_effect_ = float(scores.mean())
        self.average_effect_se_ = _se(scores - scores.mean(), rows.codes)
        known = np.isfinite(self.oob_effect_)
        gap = scores[known] - self.oob_effect_[known]
        self._gap = float(gap.mean()), _se(gap - gap.mean(), None if rows.codes is None else codes[known])
        return {}, "bootstrap of little bags"

    def _check(self) -> None:
        for name, low, high in (
            ("n_estimators", 1, 2**31 - 1),
            ("min_samples_leaf", 1, 2**31 - 1),
            ("max_depth", 1, 2**31 - 1),
            ("subforest_size", 2, 2**15),
            ("max_bins", 2, 255),
        ):
            value = getattr(self, name)
            if value is None and name == "max_depth":
                continue
            if not (isinstance(value, int | np.integer) and low <= value <= high):
                raise StudyFileError(f"{name} = {value!r}", f"an integer from {low} to {high}")
        if -(-self.n_estimators // self.subforest_size) < 2:
            raise StudyFileError(
                f"n_estimators = {self.n_estimators}", f"at least two bags of {self.subforest_size} trees"
            )
        if not 0 < self.max_samples <= 0.5:
            raise StudyFileError(f"max_samples = {self.max_samples!r}", "a share above 0 and up to 0.5")
        if not 0 <= self.min_child_share < 0.5:
            raise StudyFileError(f"min_child_share = {self.min_child_share!r}", "a share from 0 to less than 0.5")

    def _tries(self, p: int) -> int:
        asked = self.max_features
        if asked is None:
            return p
        if asked in ("auto", "sqrt"):
            return min(p, math.ceil(math.sqrt(p)) + (20 if asked == "auto" else 0))
        if isinstance(asked, float | np.floating) and 0 < asked <= 1:
            return max(1, round(asked * p))
        if isinstance(asked, int | np.integer) and asked >= 1:
            return min(int(asked), p)
        raise StudyFileError(f"max_features = {asked!r}", "'auto', 'sqrt', an integer >= 1, a share up to 1.0, or None")

    def _threads(self) -> int:
        if self.n_jobs is None:
            return 1
        return threads_allowed(None if self.n_jobs < 0 else self.n_jobs)

    def _map(self, work: Callable[[Any], Any], items: Any) -> Iterator[Any]:
        threads = self._threads()
        if threads == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(max_workers=threads) as pool:
            yield from pool.map(work, items)

    # ------------------------------------------------------------------------------------------------ the straight line

    def _learn_trend(
        self, X: FloatArray, y: FloatArray, t: FloatArray, codes: NDArray[np.int64], bags: list[NDArray[np.int32]]
    ) -> None:
        """Fit the effect by a line in each bag, and shrink each slope by what is noise in it."""
        scale = X.std(axis=0)
        self.scale_ = np.array([X.mean(axis=0), np.where(scale > 0, scale, 1.0), X.min(axis=0), X.max(axis=0)])
        columns = X.shape[1] + 1
        self.lines_ = np.zeros((len(bags) if self.trend else 0, columns))
        if not self.trend:
            return
        Z = np.column_stack([np.ones(y.size), self._standard(X)]) * t[:, None]
        chosen = np.zeros(int(codes.max()) + 1, dtype=bool)
        for g, bag in enumerate(bags):
            chosen[:] = False
            chosen[bag] = True
            rows = chosen[codes]
            z, target = Z[rows], y[rows]
            if target.size <= 2 * columns:
                continue
            products = z.T @ z
            inverse = np.linalg.inv(products + 1e-6 * np.trace(products) / columns * np.eye(columns))
            slope = inverse @ (z.T @ target)
            noise = float(np.square(target - z @ slope).sum()) / (target.size - columns)
            with np.errstate(divide="ignore", invalid="ignore"):
                kept = np.maximum(1.0 - _NOISE * noise * np.diag(inverse) / slope**2, 0.0)
            kept[0] = 1.0
            self.lines_[g] = np.where(slope != 0.0, kept * slope, 0.0)

    def _weigh_trend(
        self,
        X: FloatArray,
        bins: NDArray[np.uint8],
        inside: NDArray[np.bool_],
        codes: NDArray[np.int64],
        y: FloatArray,
        t: FloatArray,
    ) -> None:
        """Choose how much of the line's correction is taken: what lowers the out-of-bag loss most."""
        trees, lines = self.trees_, self.lines_
        self.trend_weight_ = 0.0
        if self.trend:
            plain, moved = np.ascontiguousarray(trees.value[:, :4]), np.ascontiguousarray(trees.value[:, [0, 4, 2, 5]])
            self.lines_ = lines[:0]
            self.trees_ = replace(trees, value=plain)
            effect = self._predict(X, bins, inside, codes, spread=False)[0]
            # The effect is linear in the outcome: that of treatment times line is what the forest makes of the line.
            self.lines_ = -lines
            self.trees_ = replace(trees, value=moved)
            correction = -self._predict(X, bins, inside, codes, spread=False)[0]
            known = np.isfinite(effect)
            by, left = t[known] * correction[known], y[known] - t[known] * effect[known]
            square = float(by @ by)
            if square > 0:
                weight = float(by @ left) / square
                self.trend_weight_ = min(max(weight, 0.0), 1.0)
        kept = trees.value[:, :4] - np.float32(self.trend_weight_) * trees.value[:, [0, 4, 2, 5]] * _OF_LINE
        self.trees_ = replace(trees, value=np.ascontiguousarray(kept))
        self.lines_ = lines * float(np.float32(self.trend_weight_))

    def _standard(self, X: FloatArray) -> FloatArray:
        middle, scale, low, high = self.scale_
        return np.asarray((np.clip(X, low, high) - middle) / scale, dtype=np.float64)

    def _line(self, X: FloatArray, bags: slice = slice(None)) -> FloatArray:
        """Return each bag's line at each row, shape (bags, n)."""
        Z = self._standard(X)
        lines = self.lines_[bags]
        # Column by column, so that a row's bits do not depend on those beside it.
        out = np.repeat(lines[:, :1], X.shape[0], axis=1)
        for j in range(X.shape[1]):
            out += lines[:, j + 1, None] * Z[None, :, j]
        return out

    # ------------------------------------------------------------------------------------------------------ prediction

    def _predict(
        self,
        X: FloatArray,
        bins: NDArray[np.uint8],
        inside: NDArray[np.bool_] | None = None,
        codes: NDArray[np.int64] | None = None,
        spread: bool = True,
    ) -> tuple[FloatArray, FloatArray]:
        n, trees = X.shape[0], self.trees_
        bag = int(self.subforest_size)
        effect, variance = np.empty(n), np.empty(n if spread else 0)
        nobody = np.zeros((0, 0), dtype=bool)

        def work(start: int) -> None:
            rows = slice(start, min(start + _BLOCK, n))
            size = rows.stop - rows.start
            out = nobody if inside is None or codes is None else np.ascontiguousarray(inside[:, codes[rows]])
            trend = self._line(X[rows]) if self.lines_.shape[0] else np.zeros((0, 0))
            between, within = np.zeros(size if spread else 0), np.zeros(size if spread else 0)
            used = np.zeros(size, dtype=np.int64)
            add_leaves(
                bins[rows], trees.roots[:-1], trees.feature, trees.cut, trees.left, trees.value, trend, bag, out,
                effect[rows], between, within, used,
            )  # fmt: skip
            if spread:
                variance[rows] = _debiased(between, within / bag, used)

        for _ in self._map(work, range(0, n, _BLOCK)):
            pass
        return effect, variance

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        return self._predict(X, self.bins_.transform(X), spread=False)[0]

    def _errors(self, X: FloatArray) -> FloatArray:
        return np.sqrt(self._predict(X, self.bins_.transform(X))[1])

    def effect_variance(self, X: ArrayLike) -> FloatArray:
        """Return the variance of the effect at each row by the bootstrap of little bags, shape (n,)."""
        return self._errors(self._new(X)) ** 2

    def oob_interval(self, alpha: float = 0.05) -> tuple[FloatArray, FloatArray]:
        """Return the limits of `oob_effect_`, by the bags that did not draw the row's patient.

        Raises
        ------
        NotEstimableError
            If the forest was read from a file, which holds nothing of its training rows.
        """
        check_is_fitted(self, "parts_")
        if not hasattr(self, "oob_effect_"):
            raise NotEstimableError("a stored forest holds no training rows", "a forest fitted in this process")
        half = normal_quantile(1 - alpha) * np.sqrt(self._oob_variance)
        return self.oob_effect_ - half, self.oob_effect_ + half

    def ate(self, X: ArrayLike | None = None) -> float:
        """Return the mean effect over the rows of X, or without them the doubly robust mean of the training rows."""
        check_is_fitted(self, "parts_")
        return self.average_effect_ if X is None else super().ate(X)

    def ate_interval(self, X: ArrayLike | None = None, *, alpha: float = 0.05) -> tuple[float, float]:
        """Return the limits of `ate`.

        Parameters
        ----------
        X : float array, shape (n, p), optional
            Held fixed. The limits are those of the mean effect plus the mean by which the doubly robust scores of the
            training rows exceed their out-of-bag effects, stretched to hold the mean effect.
        alpha : float
        """
        check_is_fitted(self, "parts_")
        quantile = normal_quantile(1 - alpha)
        if X is None:
            half = quantile * self.average_effect_se_
            return self.average_effect_ - half, self.average_effect_ + half
        mean = super().ate(X)
        gap, se = self._gap
        return mean + min(gap - quantile * se, 0.0), mean + max(gap + quantile * se, 0.0)

    # --------------------------------------------------------------------------------------------------------- storing

    def to_state(self) -> dict[str, Any]:
        """Return the fitted forest as JSON types, without the training rows."""
        check_is_fitted(self, "parts_")
        plain = (bool, int, float, str)
        parameters = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.get_params().items()}
        parameters = {k: v if isinstance(v, plain) else None for k, v in parameters.items()}
        arrays = {f.name: getattr(self.trees_, f.name) for f in fields(_Trees)}
        arrays |= {"edges": self.bins_.edges, "edge_starts": self.bins_.starts}
        arrays |= {name: getattr(self, name) for name in _VECTORS}
        return {
            "schema": 1,
            "parameters": parameters,
            "n_features": self.n_features_in_,
            "n": self.n_,
            "patients": self.n_patients_,
            "binary": self.binary_,
            "interval_method": self.interval_method_,
            "average": [self.average_effect_, self.average_effect_se_, *self._gap],
            "trend_weight": self.trend_weight_,
            "arrays": {name: _pack(array) for name, array in arrays.items()},
        }

    def estimators(self) -> dict[str, Any]:
        """Return the fitted scikit-learn parts: none, all is in the state."""
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], estimators: Mapping[str, Any] | None = None) -> CausalForest:
        """Rebuild a fitted forest from `to_state`.

        Raises
        ------
        DataError
            If the arrays do not fit together; loops over them would read outside memory.
        """
        model = cls(**state["parameters"])
        model._check()
        arrays = {name: _unpack(part, _DTYPES[name]) for name, part in state["arrays"].items() if name in _DTYPES}
        if len(arrays) != len(_DTYPES):
            raise DataError("the state of the forest lacks arrays", "a state written by aimed")
        model.n_features_in_, model.n_ = int(state["n_features"]), int(state["n"])
        model.n_patients_, model.binary_ = int(state["patients"]), bool(state["binary"])
        model.interval_method_, model.parts_, model.replicates_ = str(state["interval_method"]), {}, []
        model.average_effect_, model.average_effect_se_, *gap = (float(v) for v in state["average"])
        model._gap = gap[0], gap[1]
        model.trend_weight_ = float(state["trend_weight"])
        for name in _VECTORS:
            setattr(model, name, arrays[name])
        model.bins_ = Bins(arrays["edges"], arrays["edge_starts"], np.zeros(model.n_features_in_, dtype=bool))
        model.trees_ = _Trees(*(arrays[f.name] for f in fields(_Trees)))
        if not model._sound():
            raise DataError("the arrays of the forest do not fit together", "a state written by aimed")
        return model

    def _sound(self) -> bool:
        """Say whether every number that a loop uses as a place lies inside its array, and every walk ends."""
        trees, p, size = self.trees_, self.n_features_in_, self.trees_.feature.size
        starts, roots, leaves = self.bins_.starts, trees.roots, trees.value.shape[0]
        if trees.cut.shape != (size,) or trees.left.shape != (size,) or trees.value.shape != (leaves, 4):
            return False
        if starts.shape != (p + 1,) or starts[0] != 0 or (np.diff(starts) < 0).any() or (np.diff(starts) > 255).any():
            return False
        if starts[-1] != self.bins_.edges.size or roots.ndim != 1 or roots.size < 2:
            return False
        if roots[0] != 0 or roots[-1] != size or (np.diff(roots) < 1).any():
            return False
        bags, odd = divmod(roots.size - 1, int(self.subforest_size))
        if odd or bags < 2 or self.lines_.shape != (bags if self.trend else 0, p + 1):
            return False
        if self.scale_.shape != (4, p) or self.feature_importances_.shape != (p,):
            return False
        inner = trees.feature >= 0
        place, end = np.arange(size), np.repeat(roots[1:], np.diff(roots))
        child = trees.left.astype(np.int64)
        walks = (child[inner] > place[inner]).all() and (child[inner] + 1 < end[inner]).all()
        ends = (child[~inner] >= 0).all() and (child[~inner] < leaves).all()
        numbers = (trees.value, self.lines_, self.scale_, self.bins_.edges)
        finite = all(bool(np.isfinite(v).all()) for v in numbers)
        return bool(walks and ends and (trees.feature[inner] < p).all() and finite)


_VECTORS = ("lines_", "scale_", "feature_importances_")

_DTYPES: Mapping[str, Any] = {
    "roots": np.int64, "feature": np.int16, "cut": np.uint8, "left": np.int32, "value": np.float32,
    "edges": np.float64, "edge_starts": np.int64, **dict.fromkeys(_VECTORS, np.float64),
}  # fmt: skip


def _pack(array: NDArray[Any]) -> dict[str, Any]:
    raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    # Bytes of one place stand together: high ones hardly vary, and shrink to nothing.
    planes = raw.view(np.uint8).reshape(-1, raw.itemsize).T if raw.size else np.zeros(0, np.uint8)
    text = base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode("ascii")
    return {"shape": list(array.shape), "base64": text}


def _unpack(part: Mapping[str, Any], dtype: Any) -> NDArray[Any]:
    kind, shape = np.dtype(dtype), tuple(int(k) for k in part["shape"])
    size = math.prod(shape) * kind.itemsize
    unzip = zlib.decompressobj()
    raw = unzip.decompress(base64.b64decode(part["base64"], validate=True), size + 1)
    if min(shape, default=0) < 0 or len(raw) != size:
        raise DataError("an array of the forest has not the length that it says", "a state written by aimed")
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(kind.itemsize, -1)
    array = np.ascontiguousarray(planes.T).view(kind.newbyteorder("<")).reshape(shape)
    return np.ascontiguousarray(array.astype(kind))


def _se(influence: FloatArray, codes: NDArray[np.int64] | None) -> float:
    return math.sqrt(clustered_variance(influence / influence.size, codes))


def _debiased(between: FloatArray, noise: FloatArray, bags: NDArray[np.int64]) -> FloatArray:
    """Take what few trees a bag add off the variance between bags; its posterior mean under a flat prior above 0."""
    from scipy.special import erfcx

    with np.errstate(all="ignore"):
        first = between - noise
        se = np.maximum(between, noise) * np.sqrt(2.0 / bags)
        ratio = first / se
        # phi(r) / Phi(r), written so that it stays finite far below 0.
        hazard = math.sqrt(2.0 / math.pi) / erfcx(-ratio / math.sqrt(2.0))
        out = np.where(se > 0, first + se * hazard, 0.0)
    return np.where(bags > 1, out, np.nan)
