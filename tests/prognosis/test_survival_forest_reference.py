"""SurvivalForest against a forest of plain loops: at every node the best split of all, found by trying each."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from aimed.prognosis.survival_forest import SurvivalForest

LEAST = 6
LEVELS = 5


def sample(kinds, seed, n=90):
    """Return two numbers (one with gaps), a number with few values and a category with gaps, and an outcome."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 4, n), rng.integers(0, LEVELS, n)]).astype(float)
    death = rng.exponential(10 * np.exp(-0.8 * X[:, 0] - 0.9 * np.isin(X[:, 3], [1, 4]) + 0.3 * X[:, 2]))
    lost = rng.exponential(15, n)
    y = np.empty(n, dtype=[("event", bool if kinds == 1 else int), ("time", float)])
    y["event"] = (death <= lost) * (1 + (rng.random(n) < 0.5) * rng.integers(min(1, kinds - 1), kinds, n))
    y["time"] = np.ceil(np.minimum(death, lost))
    X[rng.random(n) < 0.2, 1] = np.nan
    X[rng.random(n) < 0.1, 3] = np.nan
    return X, y, rng.choice([1.0, 2.0, 0.5], n)


def residuals(cause, time, weight, k):
    """Return event less Nelson and Aalen's hazard at the row's time, for one cause."""
    out = (cause == k).astype(float)
    for t in np.unique(time):
        dying = weight[(time == t) & (cause == k)].sum()
        out[time >= t] -= dying / weight[time >= t].sum()
    return out


def log_rank(cause, time, weight, left, k):
    """Return the square of the log-rank statistic of two groups over its variance."""
    observed = variance = 0.0
    for t in np.unique(time[cause == k]):
        at_risk, here = time >= t, (time == t) & (cause == k)
        n, d = weight[at_risk].sum(), weight[here].sum()
        share = weight[at_risk & left].sum() / n
        observed += weight[here & left].sum() - d * share
        if n > 1:
            variance += d * share * (1 - share) * (n - d) / (n - 1)
    return observed**2 / variance if variance > 1e-12 else 0.0


def mortality(cause, time, weight, own, grid, competing):
    """Return the sum over the grid of the cumulative hazard, or of the cumulative incidence, of one cause."""
    value, alive = 0.0, 1.0
    for t in np.unique(time[cause > 0]):
        n = weight[time >= t].sum()
        value += (alive if competing else 1.0) * weight[(time == t) & (cause == own)].sum() / n * (grid >= t).sum()
        alive *= 1 - weight[(time == t) & (cause > 0)].sum() / n
    return value


class Reference:
    """Splits of one node, by the definitions."""

    def __init__(self, X, cause, time, weight, splitter, channels, monotone):
        self.X, self.cause, self.time, self.weight = X, cause, time, weight
        self.splitter, self.channels, self.monotone = splitter, channels, monotone
        self.residuals = [residuals(cause, time, weight, k) for k in channels]
        self.total = weight.sum()
        self.spread = [(weight * r * r).sum() / self.total for r in self.residuals]

    def score(self, left, least=LEAST):
        """Return the score of a split, 0 when it may not be."""
        heavy = self.weight[left].sum()
        if min(heavy, self.total - heavy) < least - 1e-9:
            return 0.0
        if self.splitter == "log-rank":
            return sum(log_rank(self.cause, self.time, self.weight, left, k) for k in self.channels)
        sums = [(self.weight * r)[left].sum() for r in self.residuals]
        parts = [u * u / s for u, s in zip(sums, self.spread, strict=True) if s > 1e-12]
        return sum(parts) * self.total / (heavy * (self.total - heavy))

    def sides(self, j, nominal):
        """Yield each way to divide the rows by a column: known values in two, missing ones to either side."""
        x = self.X[:, j]
        known, gone = ~np.isnan(x), np.isnan(x)
        values = np.unique(x[known])
        if not nominal:
            firsts = [values[:m] for m in range(1, values.size + 1)]
        else:
            # By excess of events: that no other subset does better is a test of its own below.
            scale = [1 / np.sqrt(s) if s > 1e-12 else 0.0 for s in self.spread]
            rate = [
                sum((self.weight * r)[x == v].sum() * c for r, c in zip(self.residuals, scale, strict=True))
                / self.weight[x == v].sum()
                for v in values
            ]
            ordered = values[np.argsort(rate, kind="stable")]
            firsts = [ordered[:m] for m in range(1, values.size + 1)]
        for first in firsts:
            for lost in (False, True) if gone.any() else (False,):
                left = np.isin(x, first) | (gone & lost)
                if left.any() and not left.all():
                    yield left

    def best(self, nominal):
        """Return the best score of each column."""
        out = []
        for j in range(self.X.shape[1]):
            found = [0.0]
            for left in self.sides(j, nominal[j]):
                sign = self.monotone[j]
                if sign and sign * (self.weight * self.residuals[0])[left].sum() > 0:
                    continue
                found.append(self.score(left))
            out.append(max(found))
        return out


def agrees(forest, X, cause, time, weight, splitter, channels, monotone, nominal):
    """Walk the tree and compare each node with the best split of all; return how many splits were compared."""
    trees, bins = forest.trees_, forest.bins_.transform(X)
    grid, competing = forest.unique_times_, len(forest.causes_) > 1
    splits = 0

    def goes_left(node, rows):
        b = bins[rows, trees.feature[node]]
        if trees.cut[node] < 0:
            return np.unpackbits(trees.sets[-1 - trees.cut[node]], bitorder="little")[b].astype(bool)
        return np.where(b == 255, trees.missing_left[node], b <= trees.cut[node])

    def value(rows):
        return mortality(cause[rows], time[rows], weight[rows], channels[0], grid, competing)

    def walk(node, rows, floor, roof):
        nonlocal splits
        here = Reference(X[rows], cause[rows], time[rows], weight[rows], splitter, channels, monotone)
        best = here.best(nominal)
        assert trees.cover[node] == pytest.approx(weight[rows].sum())
        if trees.feature[node] < 0:
            assert any(monotone) or max(best) <= 1e-8 or here.total < 2 * LEAST
            for k in forest.causes_:
                expected = mortality(cause[rows], time[rows], weight[rows], k, grid, competing)
                assert trees.value[trees.left[node], k - 1] == pytest.approx(expected, rel=1e-9, abs=1e-12)
            return
        splits += 1
        left = goes_left(node, rows)
        j = trees.feature[node]
        assert here.score(left) == pytest.approx(best[j], rel=1e-8)
        if not any(monotone):
            assert best[j] == pytest.approx(max(best), rel=1e-8)
        low, high = value(rows[left]), value(rows[~left])
        assert min(low, high) >= floor - 1e-9
        assert max(low, high) <= roof + 1e-9
        bounds = [(floor, roof), (floor, roof)]
        if monotone[j]:
            assert monotone[j] * (high - low) >= -1e-9
            half = low + (high - low) / 2
            bounds = [(floor, half), (half, roof)] if monotone[j] > 0 else [(half, roof), (floor, half)]
        x = X[rows, j]
        if not np.isnan(x).any():
            heavy = weight[rows[left]].sum() >= weight[rows[~left]].sum()
            assert goes_left_missing(node) == heavy
        walk(trees.left[node], rows[left], *bounds[0])
        walk(trees.left[node] + 1, rows[~left], *bounds[1])

    def goes_left_missing(node):
        if trees.cut[node] < 0:
            return bool(trees.sets[-1 - trees.cut[node], 31] >> 7 & 1)
        return bool(trees.missing_left[node])

    walk(0, np.arange(len(time)), -np.inf, np.inf)
    return splits


@pytest.mark.parametrize("splitter", ["log-rank-score", "log-rank"])
@pytest.mark.parametrize(("kinds", "split_cause"), [(1, None), (2, 1), (2, 2), (2, None), (3, None)])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_split_is_the_best_of_all(splitter, kinds, split_cause, seed, weighted):
    X, y, weight = sample(kinds, seed)
    weight = weight if weighted else np.ones(len(y))
    forest = SurvivalForest(
        1, bootstrap=False, max_features=None, min_samples_leaf=LEAST, splitter=splitter, split_cause=split_cause,
        categorical_features=[3], random_state=seed,
    ).fit(X, y, sample_weight=weight)  # fmt: skip
    channels = forest.causes_ if split_cause is None else (split_cause,)
    nominal = [False, False, False, True]
    cause = y["event"].astype(int)
    assert agrees(forest, X, cause, y["time"], weight, splitter, channels, [0] * 4, nominal) >= 5


@pytest.mark.parametrize("splitter", ["log-rank-score", "log-rank"])
@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_monotone_splits_keep_their_bounds(splitter, kinds, seed):
    X, y, _ = sample(kinds, seed)
    monotone = [1, -1, -1, 0]
    forest = SurvivalForest(
        1, bootstrap=False, max_features=None, min_samples_leaf=LEAST, splitter=splitter, split_cause=1,
        categorical_features=[3], monotone=monotone, random_state=seed,
    ).fit(X, y)  # fmt: skip
    cause, one = y["event"].astype(int), np.ones(len(y))
    assert agrees(forest, X, cause, y["time"], one, splitter, (1,), monotone, [False, False, False, True]) >= 3


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_categories_gives_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    code, time = rng.integers(0, 7, 60), np.ceil(rng.exponential(8, 60))
    y = np.empty(60, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = rng.random(60) < 0.7, time
    forest = SurvivalForest(1, bootstrap=False, max_depth=1, min_samples_leaf=1, categorical_features=[0])
    forest.fit(code[:, None].astype(float), y)
    node = Reference(
        code[:, None].astype(float), y["event"].astype(int), time, np.ones(60), "log-rank-score", (1,), [0]
    )
    subsets = (np.isin(code, first) for m in range(1, 7) for first in combinations(range(7), m))
    best = max(node.score(left, 1) for left in subsets if left.any() and not left.all())
    chosen = forest.apply(code[:, None].astype(float))[:, 0]
    assert node.score(chosen == chosen.min(), 1) == pytest.approx(best, rel=1e-9)


def test_trees_on_resamples_split_as_on_weights():
    X, y, _ = sample(1, 0)
    forest = SurvivalForest(4, max_features=None, min_samples_leaf=LEAST, random_state=3).fit(X, y)
    from aimed.prognosis.kernels.forest import draw_rows

    order = np.argsort(np.searchsorted(np.unique(y["time"][y["event"]]), y["time"], side="right"), kind="stable")
    for t, seed in enumerate(forest.tree_seeds_):
        counts = np.zeros(len(y))
        counts[order] = draw_rows(np.array([seed], dtype=np.uint64), len(y), len(y))
        used = counts > 0
        single = forest.__class__(1, max_features=None, min_samples_leaf=LEAST, random_state=3)
        single.__dict__.update(forest.__dict__)
        single.trees_ = one_tree(forest.trees_, t)
        cause = y["event"].astype(int)[used]
        compared = agrees(
            single, X[used], cause, y["time"][used], counts[used], "log-rank-score", (1,), [0] * 4, [False] * 4
        )
        assert compared >= 4


def one_tree(trees, t):
    """Cut one tree out of all."""
    a, b = trees.roots[t], trees.roots[t + 1]
    left = trees.left[a:b].copy()
    leaf = trees.feature[a:b] < 0
    left[~leaf] -= a
    values = {name: getattr(trees, name)[a:b] for name in ("feature", "cut", "missing_left", "cover")}
    return type(trees)(
        roots=np.array([0, b - a]), left=left, sets=trees.sets, starts=trees.starts, code=trees.code, kind=trees.kind,
        hazard=trees.hazard, value=trees.value, **values,
    )  # fmt: skip
