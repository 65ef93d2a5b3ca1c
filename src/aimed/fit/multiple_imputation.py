"""Multiple imputation by chained equations: several likely versions of the training rows, with the outcome's help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, UnknownNameError, Variable

__all__ = ["MultipleImputation", "outcome_columns"]

_PRIOR = 0.1
"""Precision of the normal prior on coefficients of categories, per standard deviation of a column."""
_RIDGE = 1e-5
"""Share of each column's sum of squares added to it, as in mice: collinear columns stay solvable."""
_GROUP = 5
"""Training rows behind each stored residual and range: no value of a single patient leaves with a model."""
_ROUNDS_NEW = 5
_CELLS = 4_000_000
_LARGE = 30.0
_TIED = 1e-10


def outcome_columns(y: ArrayLike) -> NDArray[np.float64]:
    """Return the outcome as columns of an imputation model, standardised.

    Parameters
    ----------
    y : array, shape (n,)
        0/1, or a structured array of event and time: boolean events, or codes 0 to K of competing causes.

    Returns
    -------
    float array, shape (n, c)
        The outcome itself; or for each kind of event its indicator and its Nelson-Aalen cumulative hazard at the
        row's own time. Columns that do not vary are left out.

    References
    ----------
    White and Royston, Stat Med 2009;28:1982.

    Examples
    --------
    >>> y = np.array([(True, 1.0), (False, 2.0), (True, 3.0)], dtype=[("event", bool), ("time", float)])
    >>> outcome_columns(y).round(3).tolist()
    [[0.577, -0.577], [-1.155, -0.577], [0.577, 1.155]]
    """
    values = np.asarray(y)
    if values.dtype.names is None:
        columns = [values.astype(np.float64)]
    else:
        from aimed.metrics.nonparametric import nelson_aalen

        event, time = values[values.dtype.names[0]].astype(np.int64), values[values.dtype.names[1]].astype(np.float64)
        columns = []
        for kind in np.unique(event[event > 0]):
            happened = event == kind
            columns += [happened.astype(np.float64), np.asarray(nelson_aalen(happened, time).at(time))]
    table = np.column_stack(columns) if columns else np.empty((values.size, 0))
    spread = table.std(axis=0, ddof=1) if values.size > 1 else np.zeros(table.shape[1])
    varies = spread > 0
    return np.asarray((table[:, varies] - table[:, varies].mean(axis=0)) / spread[varies])


@dataclass(slots=True)
class _Target:
    """One variable of the chain: which columns of the working matrix are its own, and how it reads and writes them."""

    kind: str
    own: slice
    mean: float = 0.0
    scale: float = 1.0
    log: bool = False
    floor: float = 0.0
    levels: tuple[float, ...] = ()

    def encode(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return working columns; NaN where missing, zeros for a level that training rows never showed."""
        if self.kind == "number":
            if self.log:
                x = np.log(np.maximum(x, self.floor))
            return np.asarray((x - self.mean) / self.scale)[:, None]
        out = np.asarray(x[:, None] == np.asarray(self.levels[1:]), dtype=np.float64)
        out[np.isnan(x)] = np.nan
        return out

    def columns_of(self, code: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the working columns of levels given by their places."""
        return np.asarray(code[:, None] == np.arange(1, len(self.levels)), dtype=np.float64)


class MultipleImputation:
    """Chained equations that complete training rows several times, and new rows without their outcome.

    Parameters
    ----------
    variables : sequence of Variable, length p
        Numbers and categories, in the order of the columns of X.
    imputations : int
        Completed data sets, m. White, Royston and Wood advise about as many as the percentage of incomplete rows.
    rounds : int
        Passes over all incomplete variables for each set.
    donors : int
        Training rows of which one gives its value, for numbers.
    logarithms : sequence of str
        Variables that enter the chain as their logarithm, because they enter the model so.
    random_state : int
    n_jobs : int, optional
        Threads over the sets; all cores when absent. The numbers do not depend on it.

    Attributes
    ----------
    incomplete_ : dict of str to int
        Variables with missing training values, and how many.
    n_incomplete_rows_ : int

    Notes
    -----
    *Training rows.* Each set starts from random observed values. Then each incomplete variable is drawn anew given
    all others and the outcome (`outcome_columns`), ``rounds`` times over: numbers by predictive mean matching of type 1
    (regression coefficients are drawn from their posterior for the missing rows and are the estimate for the observed
    ones; one of the nearest ``donors`` observed rows gives its value), categories and numbers with two values by a
    multinomial logistic model whose coefficients are drawn from the normal approximation of their posterior under
    a weak normal prior, which keeps separated levels finite. Leaving the outcome out here would pull its relation with
    the imputed predictors towards none (Moons et al. 2006).

    *New rows.* Their outcome is not known, so they need equations without it. Those are fitted on the completed
    training sets and averaged over them, so that they hold under the same assumption (missing at random given what
    is observed, outcome included). A new row is completed m times by these equations with residuals; prediction k is
    made by the model of set k on completion k, and the mean of the m is the prediction (Wood, Royston and White
    2015; Mertens et al. 2020). Filling in one best guess would give patients with missing values risks too far from
    the mean. The residuals are a fixed Latin hypercube over the m completions, the same for every row: a prediction
    repeats bit for bit, depends on no other row, and changes smoothly with the values of its own. Stored residuals
    are means of groups of at least five training rows, and completed numbers stay between the fifth lowest and the
    fifth highest training value.

    For survival the equations approximate what a Cox model implies. In simulations (500 rows, four in ten incomplete,
    missing by the outcome) hazard ratios of 1.5 a standard deviation came out 8 % too near to 1 on the log scale with
    intervals that held the truth 95 % of the time; hazard ratios of 2 with six in ten rows having the event came out
    15 % too near, and the intervals held the truth 80 % of the time. A value of a very skewed predictor may be given
    to a row that it does not suit, which shows as a large fraction of missing information: let it enter as its
    logarithm.

    Missing values that say something by themselves (a test ordered because the doctor was worried) are not missing at
    random; ``missing = "mean_indicators"`` is made for them.

    scikit-learn's ``IterativeImputer(sample_posterior=True)`` has neither matching nor categories, and lets a
    column take part in the fit only if it is there in new rows too, which the outcome is not.

    References
    ----------
    van Buuren and Groothuis-Oudshoorn, J Stat Softw 2011;45(3). White, Royston and Wood, Stat Med 2011;30:377. White
    and Royston, Stat Med 2009;28:1982. Moons et al., J Clin Epidemiol 2006;59:1092. Wood, Royston and White, Biom J
    2015;57:614. Mertens, Banzato and de Wreede, Biom J 2020;62:724.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)); X[:, 1] += X[:, 0]; X[::3, 1] = np.nan
    >>> chain = MultipleImputation([Variable(name="a"), Variable(name="b")], imputations=3)
    >>> sets = list(chain.fit_complete(X, X[:, 0] > 0))
    >>> len(sets), bool(np.isnan(sets[0]).any()), chain.incomplete_
    (3, False, {'b': 67})
    >>> chain.complete([[1.0, float("nan")]]).shape
    (3, 1, 2)
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        imputations: int = 10,
        rounds: int = 10,
        donors: int = 5,
        logarithms: Sequence[str] = (),
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.variables = tuple(variables)
        self.imputations = imputations
        self.rounds = rounds
        self.donors = donors
        self.logarithms = tuple(logarithms)
        self.random_state = random_state
        self.n_jobs = n_jobs
        for name, least in (("imputations", 2), ("rounds", 1), ("donors", 1)):
            if int(getattr(self, name)) < least:
                raise DataError(f"{name} = {int(getattr(self, name))}", f"a whole number from {least}")
        names = [v.name for v in self.variables]
        for name in self.logarithms:
            if name not in names:
                raise UnknownNameError("predictor", name, names)

    def _learn_targets(self, X: NDArray[np.float64]) -> None:
        """Say how each variable enters the working matrix; constants stay outside and have one value to fill in."""
        empty = [v.name for j, v in enumerate(self.variables) if np.isnan(X[:, j]).all()]
        if empty:
            listed = ", ".join(f"'{name}'" for name in empty)
            raise NotEstimableError(
                f"{listed} has no value in the {X.shape[0]} training rows" if len(empty) == 1
                else f"{listed} have no value in the {X.shape[0]} training rows",
                "some values to impute from",
                "leave it out with [predictors] exclude",
            )  # fmt: skip
        self._targets: list[_Target | None] = []
        self._only: list[float] = []
        self._ends: list[tuple[float, float]] = []
        start = 0
        for j, variable in enumerate(self.variables):
            known = X[~np.isnan(X[:, j]), j]
            found = np.unique(known)
            place = min(_GROUP, (known.size + 1) // 2) - 1
            ends = np.partition(known, (place, known.size - 1 - place))
            self._ends.append((float(ends[place]), float(ends[known.size - 1 - place])))
            target: _Target | None = None
            if found.size >= 2 and (variable.kind == "category" or found.size == 2):
                target = _Target("levels", slice(start, start + found.size - 1), levels=tuple(found.tolist()))
                start += found.size - 1
            elif found.size >= 2:
                log = variable.name in self.logarithms and bool(found[0] > 0)
                x = np.log(known) if log else known
                mean, scale = float(x.mean()), float(x.std(ddof=1))
                if scale > 1e-12 * abs(mean):
                    floor = self._ends[-1][0] if log else 0.0
                    target = _Target("number", slice(start, start + 1), mean, scale, log, floor)
                    start += 1
            self._targets.append(target)
            self._only.append(float(known[0]) if target is None else 0.0)
        self._width = start

    def _encode(self, X: NDArray[np.float64], more: int) -> NDArray[np.float64]:
        """Return the working matrix: own columns of all variables, a column of ones, and room for others."""
        W = np.empty((X.shape[0], self._width + 1 + more))
        for target, x in zip(self._targets, X.T, strict=True):
            if target is not None:
                W[:, target.own] = target.encode(x)
        W[:, self._width] = 1.0
        return W

    def fit_complete(self, X: ArrayLike, y: ArrayLike) -> Iterator[NDArray[np.float64]]:
        """Yield the m completed versions of the training rows; the chain is fitted when the last one was taken.

        One version is yielded where all would be the same: nothing is missing, or nothing but constants.

        Parameters
        ----------
        X : float array, shape (n, p)
            Numbers as they are, categories as codes, NaN where missing.
        y : array, shape (n,)
            The outcome; see `outcome_columns`.

        Yields
        ------
        float array, shape (n, p)

        Raises
        ------
        NotEstimableError
            If a variable has no value at all.
        DataError
            If X and y differ in length.
        """
        values = np.asarray(X, dtype=np.float64)
        extra = outcome_columns(y)
        if values.ndim != 2 or values.shape[1] != len(self.variables) or values.shape[0] != extra.shape[0]:
            raise DataError(
                f"X has shape {values.shape}", f"({extra.shape[0]}, {len(self.variables)}): one row an outcome"
            )
        gaps = np.isnan(values)
        counts = gaps.sum(axis=0)
        self._learn_targets(values)
        self.incomplete_ = {v.name: int(c) for v, c in zip(self.variables, counts, strict=True) if c}
        self.n_incomplete_rows_ = int(gaps.any(axis=1).sum())
        base = self._encode(values, extra.shape[1])
        base[:, self._width + 1 :] = extra
        # Fewest gaps first, as mice's monotone order: early equations then lean on more that was seen.
        order = [int(j) for j in np.argsort(counts, kind="stable") if counts[j] and self._targets[j] is not None]
        flat = [j for j in np.flatnonzero(counts) if self._targets[j] is None]
        one = _Once(self, values, gaps, base, order)
        sets = self.imputations if order else 1
        sums: list[dict[str, Any] | None] = []
        with threadpool_limits(1), ThreadPoolExecutor(max_workers=self._threads(sets)) as pool:
            # Only as many sets as there are threads wait at a time.
            for done, parts in _in_order(pool, one.draw, sets, self._threads(sets)):
                for j in flat:
                    done[gaps[:, j], j] = self._only[j]
                sums = parts if not sums else [_add(a, b) for a, b in zip(sums, parts, strict=True)]
                yield done
        self._equations = [None if part is None else _divided(part, sets) for part in sums]

    def _threads(self, sets: int) -> int:
        import os

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(sets, cores if self.n_jobs is None or self.n_jobs < 1 else int(self.n_jobs)))

    def complete(self, X: ArrayLike) -> NDArray[np.float64]:
        """Complete new rows m times, without their outcome.

        Parameters
        ----------
        X : float array, shape (n, p)

        Returns
        -------
        float array, shape (m, n, p)
            All m are the same where a row is complete.
        """
        values = np.array(X, dtype=np.float64)
        gaps = np.isnan(values)
        for j in np.flatnonzero(gaps.any(axis=0)):
            if self._targets[j] is None:
                values[gaps[:, j], j] = self._only[j]
                gaps[:, j] = False
        m, (n, p) = self.imputations, values.shape
        out = np.broadcast_to(values, (m, n, p)).copy()
        rows = np.flatnonzero(gaps.any(axis=1))
        step = max(1, _CELLS // (m * (self._width + 1)))
        for begin in range(0, rows.size, step):
            some = rows[begin : begin + step]
            out[:, some] = self._complete(values[some], gaps[some])
        return out

    def _complete(self, values: NDArray[np.float64], gaps: NDArray[np.bool_]) -> NDArray[np.float64]:
        m, (n, p) = self.imputations, values.shape
        wide = np.tile(values, (m, 1))
        holes = np.tile(gaps, (m, 1))
        order = [int(j) for j in np.flatnonzero(gaps.any(axis=0))]
        W = np.asfortranarray(self._encode(wide, 0))
        for j in order:
            target = self._targets[j]
            if target is not None:
                W[holes[:, j], target.own] = 0.0 if target.kind == "number" else self._first_shares(j)
        noise = _hypercube(m, p, _ROUNDS_NEW, self.random_state)
        # One gap alone depends on no other draw, so that only the last round counts.
        single = bool((gaps.sum(axis=1) == 1).all())
        place = {j: np.flatnonzero(holes[:, j]) for j in order}
        for t in range(_ROUNDS_NEW - 1 if single else 0, _ROUNDS_NEW):
            for j in order:
                target, equation = self._targets[j], self._equations[j]
                if target is None or equation is None:
                    continue
                rows = place[j]
                line = _weighted(W, rows, equation["weights"])
                u = noise[t, j, rows // n]
                if target.kind == "number":
                    levels = equation["residuals"]
                    z = line[:, 0] + levels[np.minimum((u * levels.size).astype(np.intp), levels.size - 1)]
                    x = z * target.scale + target.mean
                    x = np.clip(np.exp(x) if target.log else x, *self._ends[j])
                    wide[rows, j] = x
                    W[rows, target.own] = target.encode(x)
                else:
                    code = _pick(_shares(line), u)
                    wide[rows, j] = np.asarray(target.levels)[code]
                    W[rows, target.own] = target.columns_of(code)
        return wide.reshape(m, n, p)

    def _first_shares(self, j: int) -> NDArray[np.float64]:
        equation = self._equations[j]
        return np.zeros(0) if equation is None else np.asarray(equation["start"])

    def to_state(self) -> dict[str, Any]:
        """Return what new rows need, in JSON types."""
        targets: list[dict[str, Any] | None] = []
        for target, equation in zip(self._targets, self._equations, strict=True):
            if target is None or equation is None:
                targets.append(None)
                continue
            targets.append(
                {
                    "kind": target.kind,
                    "mean": target.mean,
                    "scale": target.scale,
                    "log": target.log,
                    "floor": target.floor,
                    "levels": list(target.levels),
                    **{name: part.tolist() for name, part in equation.items()},
                }
            )
        return {
            "imputations": self.imputations,
            "rounds": self.rounds,
            "donors": self.donors,
            "logarithms": list(self.logarithms),
            "random_state": self.random_state,
            "incomplete": dict(self.incomplete_),
            "incomplete_rows": self.n_incomplete_rows_,
            "only": list(self._only),
            "ends": [list(pair) for pair in self._ends],
            "targets": targets,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], variables: Sequence[Variable]) -> MultipleImputation:
        """Rebuild a fitted chain from `to_state`."""
        options = ("imputations", "rounds", "donors", "logarithms", "random_state")
        made = cls(variables, **{name: state[name] for name in options})
        made.incomplete_ = {str(k): int(v) for k, v in state["incomplete"].items()}
        made.n_incomplete_rows_ = int(state["incomplete_rows"])
        made._only = [float(v) for v in state["only"]]
        made._ends = [(float(low), float(high)) for low, high in state["ends"]]
        made._targets, made._equations, start = [], [], 0
        for part in state["targets"]:
            if part is None:
                made._targets.append(None)
                made._equations.append(None)
                continue
            levels = tuple(float(v) for v in part["levels"])
            width = 1 if part["kind"] == "number" else len(levels) - 1
            own = slice(start, start + width)
            start += width
            numbers = (float(part["mean"]), float(part["scale"]), bool(part["log"]), float(part["floor"]))
            made._targets.append(_Target(part["kind"], own, *numbers, levels))
            names = ("weights", "residuals") if part["kind"] == "number" else ("weights", "start")
            made._equations.append({name: np.asarray(part[name], dtype=np.float64) for name in names})
        made._width = start
        return made


class _Once:
    """The work of one imputed data set, which shares with the others only what it reads."""

    def __init__(
        self,
        chain: MultipleImputation,
        values: NDArray[np.float64],
        gaps: NDArray[np.bool_],
        base: NDArray[np.float64],
        order: Sequence[int],
    ) -> None:
        self.chain, self.values, self.gaps, self.base, self.order = chain, values, gaps, base, order
        self.missing = {j: np.flatnonzero(gaps[:, j]) for j in order}
        self.known = {j: np.flatnonzero(~gaps[:, j]) for j in order}

    def draw(self, k: int) -> tuple[NDArray[np.float64], list[dict[str, Any] | None]]:
        """Return completed rows and the outcome-free equations fitted on them."""
        chain = self.chain
        rng = np.random.default_rng([int(chain.random_state), 77, k])
        done, W = self.values.copy(), self.base.copy()
        for j in self.order:
            target = chain._targets[j]
            if target is not None:
                done[self.missing[j], j] = rng.choice(self.values[self.known[j], j], self.missing[j].size)
                W[self.missing[j], target.own] = target.encode(done[self.missing[j], j])
        warm: dict[int, NDArray[np.float64]] = {}
        for _ in range(chain.rounds):
            for j in self.order:
                target = chain._targets[j]
                if target is None:
                    continue
                missing, known = self.missing[j], self.known[j]
                seen, wanted = W[known], W[missing]
                if target.kind == "number":
                    from_rows = _match(seen, wanted, target.own.start, chain.donors, rng)
                    done[missing, j] = self.values[known[from_rows], j]
                    W[missing, target.own] = seen[from_rows, target.own]
                else:
                    seen[:, target.own] = wanted[:, target.own] = 0.0
                    code = np.searchsorted(target.levels, self.values[known, j])
                    mode, factor = _multinomial(seen, code, len(target.levels), warm.get(j))
                    warm[j] = mode
                    drawn = mode + linalg.solve_triangular(
                        factor, rng.standard_normal(mode.size), lower=True, trans=1
                    ).reshape(mode.shape)
                    picked = _pick(_shares(wanted @ drawn.T), rng.random(missing.size))
                    done[missing, j] = np.asarray(target.levels)[picked]
                    W[missing, target.own] = target.columns_of(picked)
        return done, self._equations(done, W[:, : chain._width + 1])

    def _equations(self, done: NDArray[np.float64], W: NDArray[np.float64]) -> list[dict[str, Any] | None]:
        gram = W.T @ W
        out: list[dict[str, Any] | None] = []
        for j, target in enumerate(self.chain._targets):
            if target is None:
                out.append(None)
                continue
            if target.kind == "number":
                weights, _ = _least_squares(gram, target.own.start)
                rest = np.sort(W[:, target.own.start] - W @ weights)
                out.append({"weights": weights[:, None], "residuals": _grouped(rest, self.chain.imputations)})
            else:
                others = W.copy()
                others[:, target.own] = 0.0
                code = np.searchsorted(target.levels, done[:, j])
                mode, _ = _multinomial(others, code, len(target.levels), None)
                start = np.bincount(code, minlength=len(target.levels))[1:] / code.size
                out.append({"weights": np.ascontiguousarray(mode.T), "start": start})
        return out


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[int], Any], count: int, ahead: int
) -> Iterator[tuple[NDArray[np.float64], list[dict[str, Any] | None]]]:
    """Yield work(0), work(1), ... with a few being made ahead of the one that is asked for."""
    waiting = [pool.submit(work, k) for k in range(min(ahead, count))]
    for k in range(count):
        found = waiting.pop(0).result()
        if k + ahead < count:
            waiting.append(pool.submit(work, k + ahead))
        yield found


def _add(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if a is None or b is None else {name: a[name] + b[name] for name in a}


def _divided(part: dict[str, Any], by: int) -> dict[str, Any]:
    return {name: value / by for name, value in part.items()}


def _grouped(rest: NDArray[np.float64], sets: int) -> NDArray[np.float64]:
    """Return means of equal groups of sorted residuals, stretched to keep their spread."""
    groups = max(1, min(sets, rest.size // _GROUP))
    edges = np.linspace(0, rest.size, groups + 1).astype(np.intp)
    means = np.add.reduceat(rest, edges[:-1]) / np.diff(edges)
    spread = means.std()
    return np.asarray(means * (rest.std() / spread) if spread > 0 else means)


def _hypercube(m: int, p: int, rounds: int, seed: int) -> NDArray[np.float64]:
    """Return numbers in (0, 1), shape (rounds, p, m): every tenth once, for m = 10, in each round and variable."""
    rng = np.random.default_rng([int(seed), 78])
    order = np.argsort(rng.random((rounds, p, m)), axis=2)
    return np.asarray((order + 0.5) / m)


def _least_squares(gram: NDArray[np.float64], own: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients of one column on the others, with 0 in its own place, and the factor of their precision.

    The factor has a 1 in its own place and nothing beside it.
    """
    inner = gram + np.diag(_RIDGE * np.diag(gram) + 1e-12)
    inner[own, :] = inner[:, own] = 0.0
    inner[own, own] = 1.0
    right = gram[:, own].copy()
    right[own] = 0.0
    factor = linalg.cholesky(inner, lower=True)
    return np.asarray(linalg.cho_solve((factor, True), right)), np.asarray(factor)


def _match(
    seen: NDArray[np.float64], wanted: NDArray[np.float64], own: int, donors: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return for each wanted row the observed row that gives its value: predictive mean matching of type 1."""
    beta, factor = _least_squares(seen.T @ seen, own)
    x, fitted = seen[:, own], seen @ beta
    sigma = np.sqrt(((x - fitted) ** 2).sum() / rng.chisquare(max(x.size - beta.size + 1, 1)))
    noise = rng.standard_normal(beta.size)
    noise[own] = 0.0
    drawn = beta + sigma * linalg.solve_triangular(factor, noise, lower=True, trans=1)
    order = np.argsort(fitted, kind="stable")
    line, at = fitted[order], wanted @ drawn
    count = min(int(donors), x.size)
    middle = np.searchsorted(line, at)
    # The nearest rows are neighbours in order: of the windows around the place, the one with the nearest ends.
    starts = np.clip(middle[:, None] - np.arange(count, -1, -1), 0, x.size - count)
    reach = np.maximum(at[:, None] - line[starts], line[starts + count - 1] - at[:, None])
    best = starts[np.arange(at.size), np.argmin(reach, axis=1)]
    chosen = best + rng.integers(0, count, at.size)
    # Rows with the same prediction are equally near, but only the outermost stand in a window: any may give its value.
    edges = np.flatnonzero(np.diff(line) > _TIED * max(float(line[-1] - line[0]), 1e-300)) + 1
    first, last = np.concatenate(([0], edges)), np.concatenate((edges, [line.size]))
    group = np.searchsorted(edges, chosen, side="right")
    return np.asarray(order[rng.integers(first[group], last[group])])


def _shares(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of all levels, shape (n, L), from the log odds against the first, shape (n, L - 1)."""
    full = np.column_stack((np.zeros(line.shape[0]), line))
    full -= full.max(axis=1, keepdims=True)
    np.exp(full, out=full)
    return np.asarray(full / full.sum(axis=1, keepdims=True))


def _weighted(W: NDArray[np.float64], rows: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W[rows] @ weights with every row added up in one order, whatever rows stand beside it."""
    out = np.zeros((rows.size, weights.shape[1]))
    for i in np.flatnonzero(weights.any(axis=1)):
        out += W[rows, i, None] * weights[i]
    return out


def _pick(shares: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the level in which each u falls."""
    above = np.cumsum(shares, axis=1)[:, :-1]
    return np.asarray((u[:, None] > above).sum(axis=1))


def _multinomial(
    A: NDArray[np.float64], code: NDArray[np.intp], levels: int, start: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mode of a multinomial logistic model, shape (L - 1, q), and the Cholesky factor of its precision."""
    q, others = A.shape[1], levels - 1
    beta = np.zeros((others, q)) if start is None else start.copy()
    wanted = (code[:, None] == np.arange(1, levels)).astype(np.float64)
    penalty = np.full(others * q, _PRIOR)

    def value(b: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        line = A @ b.T
        top = np.maximum(line.max(axis=1), 0.0)
        total = np.exp(line - top[:, None])
        norm = total.sum(axis=1) + np.exp(-top)
        loss = float((np.log(norm) + top).sum() - (line * wanted).sum() + 0.5 * (penalty * b.ravel() ** 2).sum())
        return loss, np.asarray(total / norm[:, None])

    loss, share = value(beta)
    for _ in range(50):
        slope = ((wanted - share).T @ A).ravel() - penalty * beta.ravel()
        hessian = np.empty((others * q, others * q))
        for a in range(others):
            for b in range(a + 1):
                weight = share[:, a] * ((a == b) - share[:, b])
                block = A.T @ (A * weight[:, None])
                hessian[a * q : (a + 1) * q, b * q : (b + 1) * q] = block
                hessian[b * q : (b + 1) * q, a * q : (a + 1) * q] = block
        hessian[np.diag_indices_from(hessian)] += penalty
        factor = linalg.cholesky(hessian, lower=True)
        step = linalg.cho_solve((factor, True), slope)
        # Squared distance to the mode in posterior standard deviations. From a quarter, one step leaves a few
        # hundredths of one, which is nothing beside the draw.
        gap = float(slope @ step)
        step = np.clip(step, -_LARGE, _LARGE).reshape(beta.shape)
        for _ in range(30):
            there, moved = value(beta + step)
            if there <= loss + 1e-12 * abs(loss):
                break
            step = 0.5 * step
        else:
            break
        beta, loss, share = beta + step, there, moved
        if gap < 0.25:
            break
    return beta, factor
