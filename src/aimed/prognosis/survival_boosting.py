"""Gradient boosting for times to events: hazards by interval from small trees, competing risks, missing values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.fit.recipe import Recipe
from aimed.metrics.arrays import patient_codes, weights_of
from aimed.prognosis.boosted_trees import BoostedTrees
from aimed.prognosis.curves import as_matrix_with_gaps
from aimed.prognosis.discrete_time import (
    HazardCurves,
    Intervals,
    PersonPeriods,
    read_entry,
    read_outcome,
    whole_number,
)

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE", "SurvivalBoosting"]


class SurvivalBoosting(HazardCurves):
    """Small trees added one by one to the log odds of an event in each interval of follow-up.

    Parameters
    ----------
    max_iter : int
        Trees for each cause, at most.
    learning_rate : float
        Share of each tree that is added.
    max_leaf_nodes : int
    min_samples_leaf : int
        Rows (a patient and interval each) in a leaf, at least.
    l2_regularization : float
    max_features : float
        Share of the columns tried at each node.
    max_bins : int
        Bins of a number column, from 2 to 255.
    n_intervals : int
        Intervals of follow-up, with about as many events in each.
    step_events : int
        Events in each interval, at least; above 1 in a model that leaves the house.
    max_rows : int
        Rows (a patient and interval each) to fit to, at most: rows with an event are all kept, others drawn by
        chance and weighted for those left out; see the notes.
    monotone : mapping or sequence of {-1, 0, 1}, optional
        Column (name or number) → 1 where a higher value may never lower the hazard, -1 where it may never raise it.
        So for the score and, with one cause, for the curves; an incidence among other causes hangs on those too.
    categorical_features : sequence of str, int or bool, optional
        Columns whose numbers are codes of categories (at most 255 each).
    causes : int, optional
        How many causes are declared, K, as in `aimed.prognosis.competing.as_competing`.
    early_stopping : bool
        Stop when patients held out of the fit no longer gain.
    validation_fraction : float
        Share of patients, or of `groups`, held out.
    n_iter_no_change : int
        Trees without a gain before the end.
    n_jobs : int, optional
        Threads; 1 when absent, -1 for all. More than one may change last digits.
    random_state : int, RandomState or None

    Attributes
    ----------
    trees_ : list of BoostedTrees
        For each cause, of the columns of X and the number of the interval; None where a cause never happens.
    n_iter_ : tuple of int
        Trees for each cause.
    intervals_, unique_times_, event_times_, causes_
        As in `aimed.prognosis.discrete_time.DiscreteTimeHazard`.
    n_rows_ : int
        Rows fitted to.
    feature_names_in_, n_features_in_, n_fitted_, n_events_

    Notes
    -----
    Each row is a patient in an interval, the interval's number one more column for the trees to ask, and the loss that
    of a yes/no outcome. So effects may change over time, and the curves need no proportional hazards. Who is censored
    inside an interval counts with the share of it that was seen; see `aimed.prognosis.discrete_time.Intervals`.
    With competing risks each cause has its own trees, rows with another event counting as without this one. Where the
    hazards of an interval add up to more than 1 they are scaled to 1.

    Rows are as many as patients times intervals reached, about half of `n_intervals` each. Above `max_rows`
    event-free ones are thinned, as in a case-cohort study: the events carry most of what can be learned.

    Missing values go the way that lowers the loss more. Trees are kept as plain arrays, without training rows.

    Raises
    ------
    NotEstimableError
        If there is no event, no column varies, or every row has the event in the first interval it reaches.
    DataError
        If X holds text or infinite values, codes are not declared, or a row enters at or after its own time.

    References
    ----------
    Friedman, Ann Stat 2001;29:1189. Singer and Willett, J Educ Stat 1993;18:155. Alberge et al., AISTATS 2025, PMLR
    258:3619 (random times as a column). King and Zeng, Polit Anal 2001;9:137 (weights for rows left out).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, late = rng.normal(size=(400, 2)), rng.exponential(size=400)
    >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
    >>> model = SurvivalBoosting(random_state=1).fit(X, y)
    >>> model.predict([[2.0, 0.0], [-2.0, 0.0]]).round(0).tolist()
    [1.0, -2.0]
    >>> model.predict_survival_function([[0.0, float("nan")]], times=[0.0, 0.5, 5.0]).round(1).tolist()
    [[1.0, 0.6, 0.0]]
    """

    def __init__(
        self,
        max_iter: int = 100,
        learning_rate: float = 0.05,
        max_leaf_nodes: int = 6,
        min_samples_leaf: int = 20,
        l2_regularization: float = 1.0,
        max_features: float = 0.3,
        max_bins: int = 255,
        n_intervals: int = 10,
        step_events: int = 1,
        max_rows: int = 2_000_000,
        monotone: Mapping[Any, int] | Sequence[int] | None = None,
        categorical_features: Sequence[Any] | None = None,
        causes: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_bins = max_bins
        self.n_intervals = n_intervals
        self.step_events = step_events
        self.max_rows = max_rows
        self.monotone = monotone
        self.categorical_features = categorical_features
        self.causes = causes
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
        *,
        entry: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> SurvivalBoosting:
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
        entry : float array, shape (n,), optional
            Time from which each row was under observation (left truncation).
        groups : array, shape (n,), optional
            Rows of one group, such as a patient, are held out together for early stopping.
        """
        values, found = as_matrix_with_gaps(X, names=feature_names)
        n, p = values.shape
        codes, time, causes = read_outcome(y, self.causes)
        if n != time.size:
            raise DataError(f"X has {n} rows and y {time.size}", "one outcome a row")
        if feature_names is not None and len(feature_names) != p:
            raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
        names = list(feature_names) if feature_names is not None else found or [f"x{j}" for j in range(p)]
        self._check()
        nominal, monotone = self._columns(names)
        weight, begin = weights_of(sample_weight, n), read_entry(entry, time)
        used = weight > 0
        event = used & (codes > 0)
        if not event.any():
            raise NotEstimableError("no event in the training rows", "at least one", "extend follow-up or the cohort")
        if weight[event].sum() < 1.0:
            warnings.warn(
                f"the weights of {int(event.sum())} events add up to less than 1: trees count weights as patients and "
                "learn next to nothing; multiply the weights",
                stacklevel=2,
            )
        empty = _empty_columns(values if used.all() else values[used], names)
        random = check_random_state(self.random_state)
        rng = np.random.default_rng(random.randint(2**31 - 1))
        held = self._held_out(patient_codes(groups, n), used, rng)

        self.intervals_ = Intervals.at_quantiles(time, event, weight, int(self.n_intervals), int(self.step_events))
        rows = self.intervals_.expand(codes, time, begin, weight)
        if (rows.code > 0).all():
            raise NotEstimableError(
                f"every row has the event in the first of {self.intervals_.ends.size} intervals it reaches",
                "rows that outlive an interval",
                "raise n_intervals",
            )
        rows = rows.thinned(int(self.max_rows), rng)
        self.n_rows_, self.causes_ = rows.row.size, tuple(range(1, causes + 1))
        self.trees_ = self._grow(values, rows, held, empty, nominal, monotone, random)
        self.n_iter_ = tuple(0 if trees is None else trees.roots.size - 1 for trees in self.trees_)
        self.__dict__.pop("feature_names_in_", None)
        if feature_names is not None or found:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_, self.n_fitted_, self.n_events_ = p, int(used.sum()), int(event.sum())
        return self

    def _check(self) -> None:
        for name, low, high in (
            ("max_iter", 1, 100_000),
            ("max_leaf_nodes", 2, 2**15),
            ("min_samples_leaf", 1, 2**31 - 1),
            ("max_bins", 2, 255),
            ("n_intervals", 1, 250),
            ("step_events", 1, 2**31 - 1),
            ("max_rows", 1, 2**31 - 1),
            ("n_iter_no_change", 1, 2**31 - 1),
        ):
            whole_number(name, getattr(self, name), low, high)
        for name, top in (("learning_rate", 1.0), ("max_features", 1.0), ("validation_fraction", 0.5)):
            if not 0.0 < float(getattr(self, name)) <= top:
                raise StudyFileError(f"{name} = {getattr(self, name)!r}", f"above 0 and at most {top:g}")
        if not 0.0 <= float(self.l2_regularization) < np.inf:
            raise StudyFileError(f"l2_regularization = {self.l2_regularization!r}", "a number >= 0")

    def _columns(self, names: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Read which columns are nominal and which monotone."""
        p = len(names)

        def place(column: Any) -> int:
            if isinstance(column, str):
                if column not in names:
                    raise UnknownNameError("column", column, list(names))
                return list(names).index(column)
            if not -p <= int(column) < p:
                raise StudyFileError(f"column {int(column)} of {p}", f"from 0 to {p - 1}, or a name")
            return int(column) % p

        nominal, monotone = np.zeros(p, dtype=bool), np.zeros(p, dtype=np.int8)
        flags = [] if self.categorical_features is None else list(self.categorical_features)
        if flags and all(isinstance(flag, bool | np.bool_) for flag in flags):
            if len(flags) != p:
                raise StudyFileError(f"{len(flags)} flags in categorical_features", f"{p}, one a column")
            flags = np.flatnonzero(flags).tolist()
        nominal[[place(column) for column in flags]] = True
        signs = self.monotone or {}
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

    def _held_out(
        self, group: NDArray[np.int64], used: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draw the rows that early stopping judges by: whole groups, so that no patient is on both sides."""
        out = np.zeros(group.size, dtype=bool)
        if not self.early_stopping:
            return out
        members = np.unique(group[used])
        count = max(1, round(float(self.validation_fraction) * members.size))
        if count >= members.size:
            raise NotEstimableError(f"{members.size} groups for early stopping", "more", "turn early_stopping off")
        return np.isin(group, rng.choice(members, count, replace=False))

    def _grow(
        self,
        values: NDArray[np.float64],
        rows: PersonPeriods,
        held: NDArray[np.bool_],
        empty: NDArray[np.bool_],
        nominal: NDArray[np.bool_],
        monotone: NDArray[np.int8],
        random: Any,
    ) -> list[BoostedTrees | None]:
        design = np.empty((rows.row.size, values.shape[1] + 1))
        design[:, :-1], design[:, -1] = values[rows.row], rows.interval
        out = held[rows.row]
        out_of_fit = bool(out.any())
        # scikit-learn cannot bin a column without any value; a constant one is never split.
        blank = np.append(empty, False) | np.isnan(design if not out_of_fit else design[~out]).all(axis=0)
        design[:, blank] = 0.0
        fitted = design[~out] if out_of_fit else design
        weight = rows.weight[~out] if out_of_fit else rows.weight
        grown: list[BoostedTrees | None] = []
        for cause in self.causes_:
            seed = int(random.randint(2**31 - 1))
            label = rows.code == cause
            if not label.any():
                grown.append(None)
                continue
            own = label[~out] if out_of_fit else label
            if own.all() or not own.any() or (out_of_fit and not label[out].any()):
                raise NotEstimableError(
                    f"cause {cause} has {int(label.sum())} events, too few to hold some out",
                    "events among the rows fitted and those held out",
                    "turn early_stopping off",
                )
            boosted = HistGradientBoostingClassifier(
                learning_rate=self.learning_rate, max_iter=self.max_iter, max_leaf_nodes=self.max_leaf_nodes,
                min_samples_leaf=self.min_samples_leaf, l2_regularization=self.l2_regularization,
                max_features=float(self.max_features), max_bins=self.max_bins,
                categorical_features=np.append(nominal, False) if nominal.any() else None,
                monotonic_cst=np.append(monotone, 0) if monotone.any() else None,
                early_stopping=bool(self.early_stopping), n_iter_no_change=self.n_iter_no_change, random_state=seed,
            )  # fmt: skip
            judged: dict[str, Any] = {}
            if out_of_fit:
                judged = {"X_val": design[out], "y_val": label[out], "sample_weight_val": rows.weight[out]}
            # A sum over several threads would depend on how many there are.
            with threadpool_limits(None if self.n_jobs == -1 else self.n_jobs or 1):
                try:
                    boosted.fit(fitted, own, sample_weight=weight, **judged)
                except ValueError as error:
                    if "categorical feature" not in str(error).lower():
                        raise
                    raise DataError(
                        "a category column has more levels than bins", f"at most {self.max_bins}", "merge rare ones"
                    ) from None
            grown.append(BoostedTrees.of(boosted))
        return grown

    def _read(self, X: Any) -> NDArray[np.float64]:
        return as_matrix_with_gaps(X, self.n_features_in_, self._names())[0]

    def _names(self) -> list[str]:
        return [str(n) for n in getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])]

    def _raw(self, X: NDArray[np.float64], trees: BoostedTrees) -> NDArray[np.float64]:
        """Return the log odds of the hazard in each interval, shape (n, J)."""
        size = self.intervals_.ends.size
        bins = trees.binned(np.column_stack((X, np.zeros(X.shape[0]))))
        steps = trees.binned(np.column_stack((np.full((size, X.shape[1]), np.nan), np.arange(size))))[:, -1]
        out = np.empty((X.shape[0], size))
        for j in range(size):
            if j and steps[j] == steps[j - 1]:
                out[:, j] = out[:, j - 1]
                continue
            bins[:, -1] = steps[j]
            out[:, j] = trees.raw(bins)
        return out

    def _hazards(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros((X.shape[0], self.intervals_.ends.size, len(self.causes_)))
        for k, trees in enumerate(self.trees_):
            if trees is not None:
                out[:, :, k] = special.expit(self._raw(X, trees))
        whole = out.sum(axis=2, keepdims=True)
        return np.asarray(np.divide(out, whole, out=out, where=whole > 1.0))

    def predict(self, X: Any, cause: int = 1) -> NDArray[np.float64]:
        """Return the log odds of the cause's hazard as a mean over intervals, shape (n,); higher is worse.

        Intervals hold about as many events each, so each counts as much as the events in it.

        Parameters
        ----------
        X : float array, shape (n, p)
            NaN where missing.
        cause : int
        """
        check_is_fitted(self, "trees_")
        return np.asarray(self._raw(self._read(X), self._trees(cause)).mean(axis=1))

    def _trees(self, cause: int) -> BoostedTrees:
        trees = self.trees_[self._cause(cause)]
        if trees is None:
            raise NotEstimableError(f"no trees for cause {cause}", "a cause that happened in training")
        return trees

    @property
    def event_times_(self) -> NDArray[np.float64]:
        """The same as `unique_times_`, as scikit-survival calls it."""
        return self.unique_times_

    def predict_risk(self, X: Any, times: ArrayLike, cause: int | None = None) -> NDArray[np.float64]:
        """Return the risk by each horizon, shape (n, t): of any event, or with `cause` of that one."""
        if cause is None:
            return np.asarray(1.0 - self.predict_survival_function(X, times))
        return self.predict_cumulative_incidence(X, times, cause)

    shap_scale = "log odds of the hazard"
    """What `shap_values` adds up to."""

    def shap_values(self, X: Any, cause: int = 1) -> tuple[NDArray[np.float64], float]:
        """Split the score of `predict` into what the columns add to it, exactly.

        Parameters
        ----------
        X : float array, shape (n, p)
        cause : int

        Returns
        -------
        values : float array, shape (n, p)
        base : float
            ``base + values.sum(axis=1)`` is `predict`.

        Notes
        -----
        Shapley values of the game of TreeSHAP ("path-dependent"), interval by interval, and their mean. The interval
        is known to all and gets no share.

        References
        ----------
        Lundberg et al., Nat Mach Intell 2020;2:56.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X, late = rng.normal(size=(400, 2)), rng.exponential(size=400)
        >>> y = np.array([(True, t) for t in late * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
        >>> model = SurvivalBoosting(random_state=1).fit(X, y)
        >>> values, base = model.shap_values([[2.0, 0.0]])
        >>> bool(abs(base + values.sum() - model.predict([[2.0, 0.0]])[0]) < 1e-6), bool(values[0, 0] > 1)
        (True, True)
        """
        check_is_fitted(self, "trees_")
        values, trees = self._read(X), self._trees(cause)
        bins = trees.binned(np.column_stack((values, np.zeros(values.shape[0]))))
        size = self.intervals_.ends.size
        out, base = np.zeros(bins.shape), 0.0
        for j in range(size):
            found, mean = trees.given(values.shape[1], float(j)).shapley(bins)
            out += found / size
            base += mean / size
        return np.ascontiguousarray(out[:, :-1]), base

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types, without the training rows."""
        check_is_fitted(self, "trees_")
        names = getattr(self, "feature_names_in_", None)
        parameters = self.get_params()
        nominal, monotone = self._columns(self._names())
        if self.categorical_features is not None:
            parameters["categorical_features"] = np.flatnonzero(nominal).tolist()
        if self.monotone is not None:
            parameters["monotone"] = monotone.tolist()
        if isinstance(self.random_state, np.integer):
            parameters["random_state"] = int(self.random_state)
        elif not isinstance(self.random_state, int):
            # A generator of random numbers is no part of a fitted model.
            parameters["random_state"] = None
        return {
            "schema": 1,
            "parameters": {k: v.item() if isinstance(v, np.generic) else v for k, v in parameters.items()},
            "feature_names": None if names is None else [str(n) for n in names],
            "n_features": self.n_features_in_,
            "n": self.n_fitted_,
            "events": self.n_events_,
            "rows": self.n_rows_,
            "times": self.unique_times_.tolist(),
            "trees": [None if trees is None else trees.to_state() for trees in self.trees_],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SurvivalBoosting:
        """Rebuild a fitted model from `to_state`.

        Raises
        ------
        DataError
            If its parts do not fit together.
        """
        model = cls(**state["parameters"])
        ends = np.asarray(state["times"], dtype=np.float64)
        trees = [None if part is None else BoostedTrees.from_state(part) for part in state["trees"]]
        model.n_features_in_ = int(state["n_features"])
        rising = ends.ndim == 1 and ends.size > 0 and np.isfinite(ends).all() and (np.diff(ends, prepend=0.0) > 0).all()
        if not (rising and trees and all(t is None or t.n_features == model.n_features_in_ + 1 for t in trees)):
            raise DataError("the parts of the model do not fit together", "a state written by aimed")
        model.intervals_, model.trees_ = Intervals(ends), trees
        model.causes_ = tuple(range(1, len(trees) + 1))
        model.n_iter_ = tuple(0 if t is None else t.roots.size - 1 for t in trees)
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.asarray(state["feature_names"], dtype=object)
        model.n_fitted_, model.n_events_, model.n_rows_ = int(state["n"]), int(state["events"]), int(state["rows"])
        return model


def _empty_columns(values: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.bool_]:
    """Say which columns have no value at all, with a warning; refuse a matrix of which no column varies."""
    known = np.array([int(np.count_nonzero(~np.isnan(column))) for column in values.T], dtype=np.int64)
    empty = known == 0
    varies = False
    for column, count in zip(values.T, known, strict=True):
        # To be missing in some rows only is to vary.
        varies = varies or 0 < count < column.size or (count > 0 and bool(column.min() != column.max()))
    if not varies:
        raise NotEstimableError(
            f"none of the {known.size} columns varies in the training rows", "at least one that does"
        )
    if empty.any():
        which = [names[int(j)] for j in np.flatnonzero(empty)]
        listed = ", ".join(f"'{name}'" for name in which[:5]) + (", ..." if len(which) > 5 else "")
        warnings.warn(f"no row has a value in {listed}: no split can use it; leave it out", stacklevel=3)
    return np.asarray(empty)


def _build(parameters: Mapping[str, Any], seed: int) -> SurvivalBoosting:
    # A packaged curve must not turn at the event of a single patient.
    return SurvivalBoosting(**{"random_state": seed, "step_events": 5, **parameters})


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "max_iter": trial.suggest_int("max_iter", 30, 300, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 2, 16, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 100, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-2, 30.0, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 1.0),
        "n_intervals": trial.suggest_int("n_intervals", 5, 30, log=True),
    }


RECIPE = Recipe(
    name="survival_boosting",
    title="Survival gradient boosting",
    description="Small trees are added one by one to the hazard of each interval of follow-up; takes missing values.",
    task="survival",
    also=("competing",),
    ranks_hazard=True,
    family="tree",
    build=_build,
    space=_space,
    defaults={
        "learning_rate": 0.05,
        "max_iter": 100,
        "max_leaf_nodes": 6,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
        "max_features": 0.3,
        "n_intervals": 10,
    },
    preparation={"missing": "native", "standardise": False},
    from_state=SurvivalBoosting.from_state,
)
"""The catalogue entry ``survival_boosting``."""
