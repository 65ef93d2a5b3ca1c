"""Random survival forest on binned columns: log-rank splits, competing risks, missing values, exact Shapley values."""

from __future__ import annotations

import base64
import math
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.fit.bins import Bins
from aimed.fit.kernels.bins import MISSING
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import event_codes, weights_of
from aimed.metrics.draws import threads_allowed
from aimed.prognosis.curves import (
    LineFunction,
    StepFunction,
    as_matrix_with_gaps,
    as_survival,
    choose_knots,
    knot_times,
)
from aimed.prognosis.kernels.forest import (
    TIED,
    add_curves,
    add_values,
    draw_rows,
    find_leaves,
    grow_tree,
    leaf_risks,
    match_leaves,
)
from aimed.prognosis.kernels.forest_shap import STEP, add_shapley, longest_path

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE", "SurvivalForest"]

_SPLITTERS = ("log-rank-score", "log-rank", "extra-random")
_BLOCK = 2048
_WIDEST = 2**15 - 1


class _Line:
    """An array that grows at its end; `parts` about as long as the first are expected."""

    def __init__(self, parts: int) -> None:
        self.parts, self.used = parts, 0
        self.data: NDArray[Any] | None = None

    def append(self, part: NDArray[Any]) -> None:
        stop = self.used + part.shape[0]
        if self.data is None or stop > self.data.shape[0]:
            # Memory that is not written to costs nothing.
            room = int(1.2 * part.shape[0] * self.parts) if self.data is None else stop + stop // 4
            wider = np.empty((max(room, stop), *part.shape[1:]), part.dtype)
            if self.data is not None:
                wider[: self.used] = self.data[: self.used]
            self.data = wider
        self.data[self.used : stop] = part
        self.used = stop

    def whole(self) -> NDArray[Any]:
        return np.zeros(0) if self.data is None else self.data[: self.used]


@dataclass(frozen=True, slots=True, eq=False)
class _Trees:
    """All trees after each other, with children, leaves, sets and pairs counted through; see `grow_tree`."""

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    cut: NDArray[np.int32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    cover: NDArray[np.float32]
    sets: NDArray[np.uint8]
    starts: NDArray[np.int64]
    code: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    hazard: NDArray[np.float32]
    value: NDArray[np.float64]

    @classmethod
    def join(cls, grown: Iterable[tuple[NDArray[Any], ...]], count: int) -> _Trees:
        """Put trees one after another as they come, to hold none twice."""
        roots, sets, leaves, pairs = [0], 0, 0, 0
        lines = [_Line(count) for _ in fields(cls)[1:]]
        for tree in grown:
            feature, cut, left, missing_left, cover, own_sets, ends, code, kind, hazard, value = tree
            if max(roots[-1] + feature.size, pairs + code.size) >= 2**31:
                raise DataError(
                    "the forest has 2**31 nodes or hazard steps",
                    "fewer",
                    "raise min_samples_leaf, or set max_samples or max_depth",
                )
            cut = np.where(cut < 0, cut - np.int32(sets), cut)
            left = left + np.where(feature < 0, leaves, roots[-1]).astype(np.int32)
            shifted = (feature, cut, left, missing_left, cover, own_sets, ends + pairs, code, kind, hazard, value)
            for line, part in zip(lines, shifted, strict=True):
                line.append(part)
            roots.append(roots[-1] + feature.size)
            sets, leaves, pairs = sets + own_sets.shape[0], leaves + ends.size, pairs + code.size
        whole = [line.whole() for line in lines]
        whole[6] = np.concatenate(([0], whole[6]))
        return cls(np.array(roots, dtype=np.int64), *whole)

    def leaves(self, bins: NDArray[np.uint8], changed: int = -1, instead: NDArray[np.uint8] | None = None) -> Any:
        """Return the leaf of each row in each tree, shape (trees, n)."""
        out = np.empty((self.roots.size - 1, bins.shape[0]), dtype=np.int32)
        other = np.zeros(0, dtype=np.uint8) if instead is None else instead
        find_leaves(
            bins, self.roots[:-1], self.feature, self.cut, self.left, self.missing_left, self.sets, changed, other, out
        )
        return out


class SurvivalForest(BaseEstimator):  # type: ignore[misc]
    """The mean of many survival trees, each grown on a resample of the rows.

    Parameters
    ----------
    n_estimators : int
        Trees.
    max_features : {"sqrt", "log2"}, int, float or None
        Columns tried at each node: a number, a share (rounded), or all.
    min_samples_leaf : int
        Rows in a leaf, at least; a row counts with its weight, and as often as it was drawn.
    max_depth : int, optional
    splitter : {"log-rank-score", "log-rank", "extra-random"}
        What a split is chosen by; see the notes.
    bootstrap : bool
        Draw rows with replacement for each tree.
    max_samples : int or float, optional
        Rows drawn for each tree, or their share; as many as there are when absent.
    monotone : mapping or sequence of {-1, 0, 1}, optional
        Column (name or number) → 1 where a higher value may never lower the score of `predict`, -1 where it may
        never raise it.
    categorical_features : sequence of str, int or bool, optional
        Columns whose numbers are codes of categories (at most 255 each).
    split_cause : int, optional
        With competing risks, the cause whose log-rank statistic chooses splits, and which `predict` scores. When
        absent, splits are by the sum over all causes, and cause 1 is scored.
    oob_score : bool
        Predict each training row by the trees that did not draw it.
    max_bins : int
        Bins of a number column, from 2 to 255. Columns with no more distinct values lose nothing.
    max_times : int
        Points of the time grid, at most 65535; see the notes.
    step_events : int
        Events between two grid points, at least, as in `aimed.prognosis.cox.CoxPH`.
    n_jobs : int, optional
        Threads; 1 when absent, -1 for all. The numbers do not depend on it.
    random_state : int, RandomState or None

    Attributes
    ----------
    unique_times_, event_times_ : float array, shape (t,)
        The grid, on which curves step.
    causes_ : tuple of int
        ``(1,)``, or 1 to K with competing risks.
    expected_value_ : float
        Mean of `predict` over the trees' training rows: the base of `shap_values`.
    oob_prediction_ : float array, shape (n,)
        With ``oob_score``; NaN for rows that every tree drew.
    oob_score_ : float
        Harrell's C of it, or with competing risks Wolbers' C of the scored cause, as in `score`.
    n_features_in_, feature_names_in_, n_fitted_, n_events_

    Notes
    -----
    **Splits.** The numerator of the log-rank test of two child nodes is the sum of the left one's martingale
    residuals from the node's own Nelson-Aalen hazard. Rows are kept in order of time, so these take one pass over
    the node; the rest is a histogram of a binned column, as in a regression forest. ``"log-rank-score"`` divides the
    square of the sum by its variance over permutations of the rows, s² n_L n_R / n with s² the mean square of the
    residuals; ``"log-rank"`` by the hypergeometric variance of the test itself, which costs some five times as much;
    ``"extra-random"`` scores one random cut a column as the first does. Splits use every event time.
    Tied scores go to the first column drawn, and there to the lowest cut.

    **Missing values** go to the side that scores better; where a node has none, to its heavier side. The categories of
    a node are put in order of their excess of events, and the best cut of that order is the best of all subsets.
    Categories that a node has not seen go the way of missing values.

    **Leaves** keep the Nelson-Aalen steps of their rows as pairs of grid point and hazard. The grid holds every
    distinct event time where there are at most `max_times`; of more, half lie at quantiles of the events and half
    ever denser towards the last (see `aimed.prognosis.curves.choose_knots`). An event counts at the next grid point
    at or after it, so that curves fall late by less than one interval; with ``step_events > 1`` they are straight
    between grid points instead, and single events cannot be read off them. The survival of a leaf is the Kaplan-Meier
    product of its hazards; cumulative hazards, survival and incidences of the forest are means over trees.

    **Score.** `predict` is the expected mortality: the cumulative hazard added up over the grid, or with competing
    risks the cumulative incidence of the scored cause. Under `monotone` a split is refused when the scores of its
    children break the constraint, or leave the bounds that splits above have set, so that the score is monotone;
    curves at a single time mostly are, but it is not promised.

    A number costs one byte a row. The same `random_state` gives the same bits, whatever `n_jobs`. A weight of 2
    equals a row twice, but for what is drawn by chance.

    Raises
    ------
    NotEstimableError
        If there is no event, or no column varies.
    DataError
        If X holds text or infinite values, a category column too many levels, or codes of events leave gaps.

    References
    ----------
    Ishwaran et al., Ann Appl Stat 2008;2:841 and Biostatistics 2014;15:757 (competing risks); Hothorn and Lausen,
    Comput Stat Data Anal 2003;43:121 (log-rank scores); LeBlanc and Crowley, Biometrics 1992;48:411; Breiman, Mach
    Learn 2001;45:5.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, late = rng.normal(size=(200, 2)), rng.exponential(size=200)
    >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
    >>> forest = SurvivalForest(n_estimators=50, random_state=1).fit(X, y)
    >>> forest.predict([[2.0, 0.0], [-2.0, 0.0]]).round().tolist()
    [401.0, 84.0]
    >>> forest.predict_survival_function([[0.0, float("nan")]], times=[0.0, 0.5, 5.0]).round(2).tolist()
    [[1.0, 0.63, 0.01]]
    """

    def __init__(
        self,
        n_estimators: int = 100,
        max_features: str | float | None = "sqrt",
        min_samples_leaf: int = 15,
        max_depth: int | None = None,
        splitter: str = "log-rank-score",
        bootstrap: bool = True,
        max_samples: float | None = None,
        monotone: Mapping[Any, int] | Sequence[int] | None = None,
        categorical_features: Sequence[Any] | None = None,
        split_cause: int | None = None,
        oob_score: bool = False,
        max_bins: int = 255,
        max_times: int = 500,
        step_events: int = 1,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.max_depth = max_depth
        self.splitter = splitter
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.monotone = monotone
        self.categorical_features = categorical_features
        self.split_cause = split_cause
        self.oob_score = oob_score
        self.max_bins = max_bins
        self.max_times = max_times
        self.step_events = step_events
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, feature_names: Sequence[str] | None = None
    ) -> SurvivalForest:
        """Grow the trees.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
            NaN where missing.
        y : structured array, shape (n,)
            An event and a time; the event is boolean, or 0 for censored and 1 to K for the cause.
        sample_weight : float array, shape (n,), optional
        feature_names : sequence of str, length p, optional
            Names for messages; the data frame's, or x0, x1, ..., when absent.
        """
        values, found = as_matrix_with_gaps(X, names=feature_names)
        if values.shape[1] > _WIDEST:
            raise DataError(f"X has {values.shape[1]} columns", f"at most {_WIDEST}", "choose among them first")
        cause, time = _outcome(y)
        n, p = values.shape
        if n != time.size:
            raise DataError(f"X has {n} rows and y {time.size}", "one outcome a row")
        if feature_names is not None and len(feature_names) != p:
            raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
        names = list(feature_names) if feature_names is not None else found or [f"x{j}" for j in range(p)]
        weight = weights_of(sample_weight, n)
        self._check(n)
        nominal, monotone = self._columns(names)
        used = np.flatnonzero(weight > 0)
        event = cause[used] > 0
        if not event.any():
            raise NotEstimableError("no event in the training rows", "at least one", "extend follow-up or the cohort")
        kinds = _causes(cause[used])
        if self.split_cause is not None and self.split_cause not in kinds:
            raise StudyFileError(f"split_cause = {self.split_cause!r}", f"one of {list(kinds)}, or None")

        self.__dict__.pop("feature_names_in_", None)
        if feature_names is not None or found:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_fitted_, self.n_events_, self.causes_ = p, n, int(event.sum()), kinds

        self.bins_ = Bins.learn(values[used] if used.size < n else values, weight[used], nominal, self.max_bins, names)
        bins = self.bins_.transform(values)
        self._warn_missing(bins, names)
        times, events = np.unique(time[used][event], return_counts=True)
        knots = choose_knots(events, self.step_events, self.max_times)
        self.unique_times_ = knot_times(times, knots) if self.step_events > 1 else times[knots]
        self.event_times_ = self.unique_times_
        grid = np.concatenate(([0], np.searchsorted(knots, np.arange(times.size)))).astype(np.uint16)

        rank = np.searchsorted(times, time[used], side="right").astype(np.int32)
        order = np.argsort(rank, kind="stable")
        line = used[order]
        self._grow(bins, line, rank[order], cause, weight, grid, monotone)
        self._trained = (zlib.crc32(bins.tobytes()), line)
        self.expected_value_ = self._mean_value()
        if self.oob_score:
            if not self.bootstrap:
                raise StudyFileError("oob_score without bootstrap", "bootstrap = True", "leave oob_score out")
            self.oob_prediction_ = self._oob(bins)
            known = np.isfinite(self.oob_prediction_)
            self.oob_score_ = self._concordance(cause[known], time[known], self.oob_prediction_[known])
        return self

    def _check(self, n: int) -> None:
        if self.splitter not in _SPLITTERS:
            raise UnknownNameError("splitter", str(self.splitter), _SPLITTERS)
        for name, low, high in (
            ("n_estimators", 1, 2**31 - 1),
            ("min_samples_leaf", 1, 2**31 - 1),
            ("max_depth", 1, 2**31 - 1),
            ("max_bins", 2, MISSING),
            ("max_times", 1, 65535),
        ):
            value = getattr(self, name)
            if value is None and name == "max_depth":
                continue
            if not (isinstance(value, int | np.integer) and low <= value <= high):
                raise StudyFileError(f"{name} = {value!r}", f"an integer from {low} to {high}")
        if self.max_samples is not None and not self.bootstrap:
            raise StudyFileError("max_samples without bootstrap", "bootstrap = True", "leave max_samples out")
        self._draws(n)

    def _draws(self, n: int) -> int:
        if not self.bootstrap:
            return 0
        if self.max_samples is None:
            return n
        share = isinstance(self.max_samples, float | np.floating)
        draws = round(self.max_samples * n) if share and math.isfinite(self.max_samples) else self.max_samples
        if not 1 <= draws <= n:
            raise StudyFileError(f"max_samples = {self.max_samples!r}", f"a share up to 1.0, or from 1 to {n} rows")
        return int(draws)

    def _tries(self, p: int) -> int:
        asked = self.max_features
        if asked is None:
            return p
        if asked in ("sqrt", "log2"):
            return max(1, int(math.sqrt(p) if asked == "sqrt" else math.log2(p)))
        if isinstance(asked, float | np.floating) and 0 < asked <= 1:
            return max(1, round(asked * p))
        if isinstance(asked, int | np.integer) and asked >= 1:
            return min(int(asked), p)
        raise StudyFileError(f"max_features = {asked!r}", "'sqrt', 'log2', an integer >= 1, a share up to 1.0, or None")

    def _columns(self, names: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Read which columns are nominal and which monotone."""
        p = len(names)
        index = {name: j for j, name in enumerate(names)}

        def place(column: Any) -> int:
            if isinstance(column, str):
                if column not in index:
                    raise UnknownNameError("column", column, names)
                return index[column]
            if not -p <= int(column) < p:
                raise StudyFileError(f"column {int(column)} of {p}", f"from 0 to {p - 1}, or a name")
            return int(column) % p

        nominal = np.zeros(p, dtype=bool)
        asked = self.categorical_features
        if asked is not None and len(asked):
            if np.asarray(asked).dtype == bool:
                if len(asked) != p:
                    raise StudyFileError(f"{len(asked)} flags in categorical_features", f"{p}, one a column")
                asked = np.flatnonzero(asked).tolist()
            nominal[[place(c) for c in asked]] = True
        monotone = np.zeros(p, dtype=np.int8)
        signs = self.monotone
        if signs is not None:
            if not isinstance(signs, Mapping):
                if len(signs) != p:
                    raise StudyFileError(f"{len(signs)} values in monotone", f"{p}, one a column, or a mapping")
                signs = dict(enumerate(signs))
            for column, sign in signs.items():
                j = place(column)
                if sign not in (-1, 0, 1):
                    raise StudyFileError(f"monotone = {sign!r} for column '{names[j]}'", "-1, 0 or 1")
                if sign and nominal[j]:
                    raise StudyFileError(f"column '{names[j]}' is nominal and monotone", "one of the two")
                monotone[j] = sign
        return nominal, monotone

    def _warn_missing(self, bins: NDArray[np.uint8], names: Sequence[str]) -> None:
        empty = [name for j, name in enumerate(names) if self.bins_.levels[j] <= 1 and (bins[:, j] == MISSING).all()]
        if empty:
            listed = ", ".join(f"'{name}'" for name in empty[:5]) + (", ..." if len(empty) > 5 else "")
            warnings.warn(f"no row has a value in {listed}: no split can use it; leave it out", stacklevel=3)

    def _grow(
        self,
        bins: NDArray[np.uint8],
        line: NDArray[np.intp],
        rank: NDArray[np.int32],
        cause: NDArray[np.uint8],
        weight: NDArray[np.float64],
        grid: NDArray[np.uint16],
        monotone: NDArray[np.int8],
    ) -> None:
        by_column = np.empty((bins.shape[1], line.size), dtype=np.uint8)
        for j in range(bins.shape[1]):
            by_column[j] = bins[line, j]
        varies = np.array([bool(c.min() != c.max()) for c in by_column], dtype=bool)
        if not varies.any():
            raise NotEstimableError(
                f"none of the {varies.size} columns varies in the training rows", "at least one that does"
            )
        candidates = np.flatnonzero(varies).astype(np.int64)
        causes, weights = cause[line], weight[line]
        kinds = len(self.causes_)
        channels = np.array(self.causes_ if self.split_cause is None else (self.split_cause,), dtype=np.int64)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.tree_seeds_ = np.random.SeedSequence(seed).generate_state(int(self.n_estimators), np.uint64)
        draws, tries = self._draws(line.size), self._tries(candidates.size)
        deepest = 2**31 - 1 if self.max_depth is None else int(self.max_depth)
        levels, nominal = self.bins_.levels, self.bins_.nominal

        def grow(state: np.uint64) -> tuple[NDArray[Any], ...]:
            return grow_tree(
                by_column, levels, nominal, monotone, candidates, rank, causes, weights, kinds, channels, grid,
                self.unique_times_.size, state, draws, tries, float(self.min_samples_leaf), deepest,
                _SPLITTERS.index(self.splitter),
            )  # fmt: skip

        self.trees_ = _Trees.join(self._map(grow, list(self.tree_seeds_)), self.tree_seeds_.size)

    def _threads(self) -> int:
        if self.n_jobs is None:
            return 1
        return int(self.n_jobs) if self.n_jobs > 0 else max(1, threads_allowed() + 1 + int(self.n_jobs))

    def _map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        threads = min(self._threads(), len(items))
        if threads <= 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(max_workers=threads) as pool:
            yield from pool.map(work, items)

    def _binned(self, X: Any) -> NDArray[np.uint8]:
        check_is_fitted(self, "trees_")
        values, _ = as_matrix_with_gaps(X, self.n_features_in_, self._names())
        return self.bins_.transform(values)

    def _names(self) -> list[str]:
        return [str(n) for n in getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])]

    def _cause(self, cause: int | None) -> int:
        chosen = (self.split_cause or 1) if cause is None else cause
        if chosen not in self.causes_:
            raise StudyFileError(f"cause = {cause!r}", f"one of {list(self.causes_)}")
        return chosen

    def _blocks(self, n: int) -> list[tuple[int, int]]:
        return [(a, min(a + _BLOCK, n)) for a in range(0, n, _BLOCK)]

    def _values(
        self,
        bins: NDArray[np.uint8],
        value: NDArray[np.float64],
        drawn: NDArray[np.uint8] | None = None,
        changed: int = -1,
        instead: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float64]:
        """Return the mean of the leaves' values over trees; with `drawn`, over the trees that did not draw the row."""
        own = np.ascontiguousarray(value)

        def work(block: tuple[int, int]) -> NDArray[np.float64]:
            a, b = block
            out, trees = np.zeros(b - a), np.zeros(b - a, dtype=np.int64)
            leaf = self.trees_.leaves(bins[a:b], changed, None if instead is None else instead[a:b])
            add_values(leaf, own, _mask(drawn, a, b), out, trees)
            mean = np.full(b - a, np.nan)
            np.divide(out, trees, out=mean, where=trees > 0)
            return mean

        return np.asarray(np.concatenate([np.zeros(0), *self._map(work, self._blocks(bins.shape[0]))]))

    def _curves(
        self, bins: NDArray[np.uint8], times: ArrayLike | None, what: int, drawn: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float64]:
        """Return what `add_curves` adds up, as a mean over trees, in the order of the times."""
        grid = self.unique_times_
        asked = grid if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
        if np.isnan(asked).any():
            raise DataError(f"{int(np.isnan(asked).sum())} of {asked.size} times are missing", "known times")
        straight = self.step_events > 1 and times is not None
        rising, back = (grid, np.arange(0)) if straight else np.unique(asked, return_inverse=True)
        place = np.searchsorted(rising, grid, side="left").astype(np.int64)
        trees = self.trees_
        step = max(1, min(_BLOCK, 4_000_000 // (rising.size + 1)))
        out = np.empty((bins.shape[0], asked.size))

        def work(a: int) -> None:
            b = min(a + step, bins.shape[0])
            sums, count = np.zeros((b - a, rising.size + 1)), np.zeros(b - a, dtype=np.int64)
            add_curves(
                trees.leaves(bins[a:b]), _mask(drawn, a, b), trees.starts, trees.code, trees.kind, trees.hazard, place,
                what, sums, count,
            )  # fmt: skip
            with np.errstate(invalid="ignore", divide="ignore"):
                sums /= count[:, None]
            if straight:
                out[a:b] = _between(grid, sums, asked)
            else:
                out[a:b] = sums[:, :-1] if times is None else sums[:, back]

        for _ in self._map(work, range(0, bins.shape[0], step)):
            pass
        return out

    def predict(self, X: Any, cause: int | None = None) -> NDArray[np.float64]:
        """Return the expected mortality, shape (n,); higher means an earlier event.

        Parameters
        ----------
        X : float array, shape (n, p)
            NaN where missing.
        cause : int, optional
            With competing risks; `split_cause` or 1 when absent.
        """
        bins = self._binned(X)
        return self._values(bins, self.trees_.value[:, self._cause(cause) - 1])

    def predict_cumulative_hazard_function(
        self, X: Any, times: ArrayLike | None = None, return_array: bool = False, cause: int | None = None
    ) -> Any:
        """Return cumulative hazards.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            Times to read the curves at; `unique_times_` when absent.
        return_array : bool
            Without times: an array in place of functions.
        cause : int, optional
            With competing risks, the cause; `split_cause` or 1 when absent.

        Returns
        -------
        float array, shape (n, t), or object array of n functions of time
        """
        bins = self._binned(X)
        curves = self._curves(bins, times, -self._cause(cause))
        return curves if times is not None or return_array else self._functions(curves, 0.0)

    def predict_survival_function(self, X: Any, times: ArrayLike | None = None, return_array: bool = False) -> Any:
        """Return the chance of no event of any cause; parameters as in `predict_cumulative_hazard_function`."""
        bins = self._binned(X)
        curves = np.maximum(1.0 - self._curves(bins, times, 0), 0.0)
        return curves if times is not None or return_array else self._functions(curves, 1.0)

    def predict_cumulative_incidence(
        self, X: Any, times: ArrayLike | None = None, cause: int | None = None
    ) -> NDArray[np.float64]:
        """Return the chance of an event of one cause by each time, before any other event.

        Parameters
        ----------
        X : float array, shape (n, p)
        times : float array, shape (t,), optional
            `unique_times_` when absent.
        cause : int, optional
            `split_cause` or 1 when absent. With one cause in all it is 1 less the survival.

        Returns
        -------
        float array, shape (n, t)

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(300, 1))
        >>> y = np.array([(1 + (x > rng.normal()), 1.0 + k % 9) for k, x in enumerate(X[:, 0])],
        ...              dtype=[("event", int), ("time", float)])
        >>> forest = SurvivalForest(n_estimators=20, random_state=0).fit(X, y)
        >>> forest.predict_cumulative_incidence([[1.5], [-1.5]], times=[9.0], cause=2).round(1).tolist()
        [[1.0], [0.1]]
        """
        bins = self._binned(X)
        return np.minimum(self._curves(bins, times, self._cause(cause)), 1.0)

    def predict_risk(self, X: Any, times: ArrayLike, cause: int | None = None) -> NDArray[np.float64]:
        """Return the risk by each horizon, shape (n, t): of any event, or with `cause` of that one."""
        if cause is None:
            return np.asarray(1.0 - self.predict_survival_function(X, times))
        return self.predict_cumulative_incidence(X, times, cause)

    def _functions(self, curves: NDArray[np.float64], start: float) -> NDArray[Any]:
        out = np.empty(curves.shape[0], dtype=object)
        function = LineFunction if self.step_events > 1 else StepFunction
        out[:] = [function(self.unique_times_, curve, start) for curve in curves]
        return out

    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C of `predict`, or with competing risks Wolbers' C of the scored cause.

        The latter counts events up to the grid point that nine tenths of the grid come before.
        """
        cause, time = _outcome(y)
        return self._concordance(cause, time, self.predict(X))

    def _concordance(self, cause: NDArray[np.uint8], time: NDArray[np.float64], score: NDArray[np.float64]) -> float:
        from aimed.metrics.concordance import cause_specific_c, harrell_c

        if len(self.causes_) == 1:
            return float(harrell_c(cause > 0, time, score))
        # The last events weigh too much where few are left to compare with.
        tau = float(np.quantile(self.unique_times_, 0.9))
        return float(cause_specific_c(cause, time, score, cause=self._cause(None), tau=tau))

    def _oob(self, bins: NDArray[np.uint8]) -> NDArray[np.float64]:
        return self._values(bins, self.trees_.value[:, self._cause(None) - 1], self._drawn(bins))

    def _drawn(self, bins: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return which rows each tree drew, as bits, shape (trees, n / 8); drawn again from the trees' seeds."""
        trained = getattr(self, "_trained", None)
        if trained is None:
            raise NotEstimableError(
                "a forest that was read from a file", "one fitted in this session", "fit it again, or use new rows"
            )
        if not self.bootstrap:
            raise NotEstimableError("a forest without bootstrap", "bootstrap = True", "use rows held out")
        mark, line = trained
        if bins.shape[0] != self.n_fitted_ or zlib.crc32(bins.tobytes()) != mark:
            raise DataError("X is not what the forest was fitted on", "the training rows, in the same order")

        def work(seed: np.uint64) -> NDArray[np.uint8]:
            drawn = np.zeros(bins.shape[0], dtype=bool)
            drawn[line] = draw_rows(np.array([seed], dtype=np.uint64), line.size, self._draws(line.size)) > 0
            return np.packbits(drawn, bitorder="little")

        return np.stack(list(self._map(work, list(self.tree_seeds_))))

    def oob_survival_function(self, X: Any, times: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return survival curves of the training rows from the trees that did not draw them.

        Parameters
        ----------
        X : float array, shape (n, p)
            The training rows, in their order.
        times : float array, shape (t,), optional
            `unique_times_` when absent.

        Returns
        -------
        float array, shape (n, t)
            NaN for rows that every tree drew.

        Raises
        ------
        DataError
            If X are other rows.
        NotEstimableError
            If the forest drew no resamples, or was read from a file.
        """
        bins = self._binned(X)
        return np.asarray(np.maximum(1.0 - self._curves(bins, times, 0, self._drawn(bins)), 0.0))

    def permutation_importance(self, X: Any, y: Any, n_repeats: int = 5, random_state: Any = None) -> Bunch:
        """Return how much the out-of-bag concordance falls when a column is shuffled.

        Parameters
        ----------
        X : float array, shape (n, p)
            The training rows, in their order.
        y : structured array, shape (n,)
            Their outcome.
        n_repeats : int
        random_state : int, RandomState or None

        Returns
        -------
        Bunch
            ``importances`` of shape (p, n_repeats), ``importances_mean`` and ``importances_std`` of shape (p,), as in
            `sklearn.inspection.permutation_importance`, and ``baseline``, the concordance as it is.

        Notes
        -----
        Shuffling breaks the tie of a column with the outcome and with the other columns; of two columns that tell
        the same, both look unimportant. A column that no tree asks has importance 0.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, late = rng.normal(size=(200, 2)), rng.exponential(size=200)
        >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
        >>> forest = SurvivalForest(n_estimators=50, random_state=1).fit(X, y)
        >>> forest.permutation_importance(X, y, random_state=0).importances_mean.round(1).tolist()
        [0.2, 0.0]
        """
        bins = self._binned(X)
        cause, time = _outcome(y)
        if time.size != bins.shape[0]:
            raise DataError(f"X has {bins.shape[0]} rows and y {time.size}", "one outcome a row")
        drawn = self._drawn(bins)
        value = self.trees_.value[:, self._cause(None) - 1]
        rng = check_random_state(random_state)
        plain = self._values(bins, value, drawn)
        known = np.isfinite(plain)

        def concordance(score: NDArray[np.float64]) -> float:
            return self._concordance(cause[known], time[known], score[known])

        baseline = concordance(plain)
        importances = np.zeros((bins.shape[1], n_repeats))
        asked = np.zeros(bins.shape[1], dtype=bool)
        asked[self.trees_.feature[self.trees_.feature >= 0]] = True
        for j in np.flatnonzero(asked):
            for r in range(n_repeats):
                shuffled = bins[rng.permutation(bins.shape[0]), j]
                importances[j, r] = baseline - concordance(self._values(bins, value, drawn, int(j), shuffled))
        return Bunch(
            importances=importances,
            importances_mean=importances.mean(axis=1),
            importances_std=importances.std(axis=1),
            baseline=baseline,
        )

    def apply(self, X: Any) -> NDArray[np.int32]:
        """Return the leaf of each row in each tree, shape (n, trees); leaves are counted through all trees."""
        bins = self._binned(X)
        parts = self._map(lambda block: self.trees_.leaves(bins[block[0] : block[1]]).T, self._blocks(bins.shape[0]))
        empty = np.zeros((0, self.trees_.roots.size - 1), dtype=np.int32)
        return np.ascontiguousarray(np.concatenate([empty, *parts]))

    def proximity(self, X: Any, others: Any = None) -> NDArray[np.float64]:
        """Return the share of trees in which two rows share a leaf: how alike the forest holds two patients.

        Parameters
        ----------
        X : float array, shape (n, p)
        others : float array, shape (m, p), optional
            X itself when absent.

        Returns
        -------
        float array, shape (n, m)

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, late = rng.normal(size=(200, 2)), rng.exponential(size=200)
        >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
        >>> forest = SurvivalForest(n_estimators=50, random_state=1).fit(X, y)
        >>> forest.proximity([[1.5, 0.0]], [[1.5, 0.0], [1.6, 0.1], [-1.5, 0.0]]).round(1).tolist()
        [[1.0, 0.9, 0.1]]
        """
        first = self.apply(X)
        second = first if others is None else self.apply(others)
        out = np.empty((first.shape[0], second.shape[0]))

        def work(block: tuple[int, int]) -> None:
            match_leaves(first[block[0] : block[1]], second, out[block[0] : block[1]])

        for _ in self._map(work, self._blocks(first.shape[0])):
            pass
        return out

    def _leaf_values(self, horizon: float | None, cause: int | None) -> NDArray[np.float64]:
        trees = self.trees_
        if horizon is None:
            return np.ascontiguousarray(trees.value[:, self._cause(cause) - 1])
        last = int(np.searchsorted(self.unique_times_, float(horizon), side="right")) - 1
        what = 0 if cause is None else self._cause(cause)
        return leaf_risks(trees.starts, trees.code, trees.kind, trees.hazard, last, what)

    def _mean_value(self) -> float:
        """Return the mean of `predict` over the rows drawn, tree by tree."""
        trees = self.trees_
        leaf = trees.feature < 0
        own = trees.cover[leaf] * trees.value[trees.left[leaf], self._cause(None) - 1]
        return float(np.mean(np.add.reduceat(_at(leaf, own), trees.roots[:-1]) / trees.cover[trees.roots[:-1]]))

    def shap_values(
        self, X: Any, horizon: float | None = None, cause: int | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Split each prediction into what the columns add to it, exactly.

        Parameters
        ----------
        X : float array, shape (n, p)
        horizon : float, optional
            Explain the risk by this time (see `predict_risk`), in place of `predict`.
        cause : int, optional
            As in `predict`, or with a horizon as in `predict_risk`.

        Returns
        -------
        values : float array, shape (n, p)
        base : float
            Mean over the rows the trees were grown on; ``base + values.sum(axis=1)`` is the prediction.

        Notes
        -----
        Shapley values of the game of TreeSHAP ("path-dependent"): a column that is not known follows both branches,
        by the share of training rows in each. Missing values are values: a row that lacks one is on the side its
        node learned. Each tree is walked once a row; see `aimed.prognosis.kernels.forest_shap`.

        References
        ----------
        Lundberg et al., Nat Mach Intell 2020;2:56; Yu et al., Linear TreeShap, NeurIPS 2022 (one walk a row).

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, late = rng.normal(size=(200, 2)), rng.exponential(size=200)
        >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
        >>> forest = SurvivalForest(n_estimators=50, random_state=1).fit(X, y)
        >>> values, base = forest.shap_values([[1.5, 0.0]], horizon=1.0)
        >>> values.round(1).tolist(), round(float(base + values.sum()), 6) == round(float(
        ...     forest.predict_risk([[1.5, 0.0]], [1.0])[0, 0]), 6)
        ([[0.3, 0.1]], True)
        """
        bins = self._binned(X)
        trees, value = self.trees_, self._leaf_values(horizon, cause)
        most = longest_path(trees.feature, trees.left, trees.roots)
        rules = max(1, math.ceil(most / (2 * STEP)))
        points = np.zeros((rules, 2, rules * STEP))
        for r in range(rules):
            t, w = np.polynomial.legendre.leggauss((r + 1) * STEP)
            points[r, 0, : t.size], points[r, 1, : t.size] = (t + 1) / 2, w / 2
        out = np.zeros(bins.shape)
        count = trees.roots.size - 1

        def work(block: tuple[int, int]) -> float:
            return add_shapley(
                bins[block[0] : block[1]], trees.roots, trees.feature, trees.cut, trees.left, trees.missing_left,
                trees.sets, trees.cover, value, points, out[block[0] : block[1]],
            )  # fmt: skip

        bases = list(self._map(work, self._blocks(bins.shape[0]) or [(0, 0)]))
        return out / count, bases[0] / count

    def to_state(self) -> dict[str, Any]:
        """Return the fitted forest as numpy arrays and JSON types, without the training rows.

        Returns
        -------
        dict
            ``arrays`` maps names to arrays (what ``numpy.savez`` takes); the rest is JSON.
        """
        check_is_fitted(self, "trees_")
        names = getattr(self, "feature_names_in_", None)
        trees = {f.name: getattr(self.trees_, f.name) for f in fields(_Trees)}
        sizes = np.diff(trees.pop("starts"))
        if len(self.causes_) == 1:
            del trees["kind"]
        return {
            "schema": 1,
            "parameters": {k: _plain(v) for k, v in self.get_params().items()},
            "feature_names": None if names is None else [str(n) for n in names],
            "n_features": self.n_features_in_,
            "n": self.n_fitted_,
            "events": self.n_events_,
            "causes": len(self.causes_),
            "arrays": {
                **trees,
                "pairs": sizes.astype(np.uint16 if sizes.max() < 2**16 else np.uint32),
                "times": self.unique_times_,
                "edges": self.bins_.edges,
                "edge_starts": self.bins_.starts,
                "nominal": self.bins_.nominal,
                "tree_seeds": self.tree_seeds_,
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SurvivalForest:
        """Rebuild a fitted forest from `to_state`.

        Raises
        ------
        DataError
            If the arrays do not fit together; loops over them would read outside memory.
        """
        model = cls(**state["parameters"])
        arrays = dict(state["arrays"])
        model.n_features_in_, model.n_fitted_ = int(state["n_features"]), int(state["n"])
        model.n_events_ = int(state["events"])
        kinds = int(state["causes"])
        model.causes_ = tuple(range(1, kinds + 1))
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        sizes = _typed(arrays["pairs"], np.int64)
        arrays["starts"] = np.concatenate(([0], np.cumsum(sizes)))
        arrays.setdefault("kind", np.ones(np.shape(arrays["code"]), dtype=np.uint8))
        model.bins_ = Bins(
            _typed(arrays["edges"], np.float64), _typed(arrays["edge_starts"], np.int64),
            _typed(arrays["nominal"], np.bool_),
        )  # fmt: skip
        model.unique_times_ = model.event_times_ = _typed(arrays["times"], np.float64)
        model.tree_seeds_ = _typed(arrays["tree_seeds"], np.uint64)
        model.trees_ = _Trees(**{f.name: _typed(arrays[f.name], _DTYPES[f.name]) for f in fields(_Trees)})
        if (sizes < 0).any() or not _sound(model.trees_, model.bins_, model.n_features_in_, model.unique_times_, kinds):
            raise DataError("the arrays of the forest do not fit together", "a state written by aimed")
        model.expected_value_ = model._mean_value()
        return model


_DTYPES: Mapping[str, Any] = {
    "roots": np.int64, "feature": np.int16, "cut": np.int32, "left": np.int32, "missing_left": np.bool_,
    "cover": np.float32, "sets": np.uint8, "starts": np.int64, "code": np.uint16, "kind": np.uint8,
    "hazard": np.float32, "value": np.float64,
}  # fmt: skip


def _typed(array: Any, dtype: Any) -> NDArray[Any]:
    return np.ascontiguousarray(np.asarray(array).astype(dtype, casting="same_kind"))


def _sound(trees: _Trees, bins: Bins, p: int, times: NDArray[np.float64], kinds: int) -> bool:
    """Say whether every number that a loop uses as a place lies inside its array, and every walk ends."""
    size, leaves = trees.feature.size, trees.starts.size - 1
    vectors = (trees.cut, trees.left, trees.missing_left, trees.cover)
    if (
        any(v.shape != (size,) for v in vectors)
        or trees.value.shape != (leaves, kinds)
        or trees.sets.shape[1:] != (32,)
    ):
        return False
    if bins.starts.shape != (p + 1,) or bins.nominal.shape != (p,) or bins.starts[0] != 0:
        return False
    if (np.diff(bins.starts) < 0).any() or bins.starts[-1] != bins.edges.size or (np.diff(bins.starts) > 255).any():
        return False
    roots = trees.roots
    if roots.ndim != 1 or roots.size < 2 or roots[0] != 0 or roots[-1] != size or (np.diff(roots) < 1).any():
        return False
    inner = trees.feature >= 0
    place = np.arange(size)
    end = np.repeat(roots[1:], np.diff(roots))
    child = trees.left.astype(np.int64)
    walks = (child[inner] > place[inner]).all() and (child[inner] + 1 < end[inner]).all()
    ends = (child[~inner] >= 0).all() and (child[~inner] < leaves).all()
    asks = (trees.feature[inner] < p).all() and (trees.cut[inner] >= -trees.sets.shape[0]).all()
    pairs = trees.starts[-1]
    steps = trees.code.shape == trees.kind.shape == trees.hazard.shape == (pairs,)
    shares = np.isfinite(trees.cover).all() and (trees.cover > 0).all() and np.isfinite(trees.value).all()
    if not (walks and ends and asks and steps and shares and times.ndim == 1 and 0 < times.size <= 2**16):
        return False
    own = trees.kind & np.uint8(TIED - 1)
    fits = pairs == 0 or (trees.code.max() < times.size and own.min() >= 1 and own.max() <= kinds)
    hazards = bool((trees.hazard >= 0).all() and (trees.hazard <= 1).all())
    return bool(fits) and hazards and bool(np.isfinite(times).all() and (np.diff(times) > 0).all())


def _at(place: NDArray[np.bool_], values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    out = np.zeros(place.size)
    out[place] = values
    return out


def _between(grid: NDArray[np.float64], curves: NDArray[np.float64], times: NDArray[np.float64]) -> Any:
    """Read rising curves, shape (n, t + 1), that are straight between 0 and the grid points and flat after them."""
    right = np.searchsorted(grid, times, side="left")
    x = np.concatenate(([0.0], grid, [np.inf]))
    y = np.concatenate((np.zeros((curves.shape[0], 1)), curves[:, :-1], curves[:, -2:-1]), axis=1)
    with np.errstate(invalid="ignore"):
        share = np.clip((times - x[right]) / (x[right + 1] - x[right]), 0.0, 1.0)
    share = np.where(right < grid.size, share, 1.0)
    low, high = y[:, right], y[:, right + 1]
    return np.minimum(low + share * (high - low), high)


def _mask(drawn: NDArray[np.uint8] | None, start: int, stop: int) -> NDArray[np.bool_]:
    """Return which rows from start to stop - 1 each tree drew, shape (trees, stop - start)."""
    if drawn is None:
        return np.zeros((0, 0), dtype=bool)
    first = start // 8
    bits = np.unpackbits(drawn[:, first : (stop + 7) // 8], axis=1, bitorder="little")
    return np.ascontiguousarray(bits[:, start - 8 * first : stop - 8 * first]).view(bool)


def _outcome(y: Any) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Split a structured outcome into cause (0 for censored) and time."""
    array = np.asarray(y)
    names = array.dtype.names or ()
    kinds = {name: array.dtype[name].kind for name in names}
    if array.ndim != 1 or "b" in kinds.values() or [k in "iuf" for k in kinds.values()].count(True) < 2:
        event, time = as_survival(y)
        return event.astype(np.uint8), time
    whole = [name for name in names if kinds[name] in "iu"]
    first = "event" if "event" in names else (whole or list(names))[0]
    last = next(name for name in names if name != first and kinds[name] in "iuf")
    flag = np.empty(array.size, dtype=[("event", bool), ("time", np.float64)])
    flag["event"], flag["time"] = True, array[last]
    codes = event_codes(array[first], array.size)
    if codes.size and codes.max() >= TIED:
        raise DataError(f"event codes up to {int(codes.max())}", f"0 censored, 1 to at most {TIED - 1} causes")
    return codes.astype(np.uint8), as_survival(flag)[1]


def _causes(cause: NDArray[np.uint8]) -> tuple[int, ...]:
    seen = [int(k) for k in np.unique(cause[cause > 0])]
    if seen != list(range(1, len(seen) + 1)):
        raise DataError(
            f"event codes {', '.join(map(str, seen))} in the training rows",
            "0 for censored and 1 to K for the causes, each of them seen",
            "number the causes without gaps",
        )
    return tuple(seen)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    # A generator of random numbers is no part of a fitted model.
    return value if value is None or isinstance(value, bool | int | float | str) else None


def _to_json(forest: SurvivalForest) -> dict[str, Any]:
    state = forest.to_state()
    monotone = state["parameters"]["monotone"]
    if isinstance(monotone, dict):
        names = forest._names()
        signs = forest._columns(names)[1]
        state["parameters"]["monotone"] = signs.tolist()
    packed = {}
    for name, array in state["arrays"].items():
        small = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        text = base64.b64encode(small.tobytes()).decode("ascii")
        packed[name] = {"dtype": small.dtype.str, "shape": list(array.shape), "base64": text}
    return {**state, "arrays": packed}


def _from_json(state: Mapping[str, Any]) -> SurvivalForest:
    arrays = {}
    for name, part in state["arrays"].items():
        dtype = np.dtype(part["dtype"])
        if dtype.kind not in "biuf":
            raise DataError("an array of the forest holds no numbers", "a state written by aimed")
        raw = base64.b64decode(part["base64"], validate=True)
        array = np.frombuffer(raw, dtype=dtype).reshape(part["shape"])
        arrays[name] = array.astype(dtype.newbyteorder("="))
    return SurvivalForest.from_state({**state, "arrays": arrays})


def _build(parameters: Mapping[str, Any], seed: int) -> SurvivalForest:
    # A packaged curve must not step at the event of a single patient.
    return SurvivalForest(**{"random_state": seed, "step_events": 5, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 300, step=100),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 60, log=True),
        "max_features": trial.suggest_float("max_features", 0.1, 1.0),
        "splitter": trial.suggest_categorical("splitter", _SPLITTERS),
    }


RECIPE = Recipe(
    name="survival_forest",
    title="Random survival forest",
    description="The mean survival curve of many trees, each grown on a resample of patients; takes missing values.",
    task="survival",
    also=("competing",),
    family="tree",
    build=_build,
    space=_space,
    defaults={
        "n_estimators": 200,
        "min_samples_leaf": 15,
        "max_features": 0.3,
        "splitter": "log-rank-score",
    },
    preparation={"missing": "native", "standardise": False, "encode": "codes"},
    to_state=_to_json,
    from_state=_from_json,
)
"""The catalogue entry ``survival_forest``."""
