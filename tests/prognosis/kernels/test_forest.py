"""Trees of the survival forest: split for split those of a slow reference in plain Python, leaf for leaf too."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.fit.kernels.bins import MISSING
from aimed.prognosis.kernels import forest as kernels

TIES = 1e-9


class SlowTree:
    """Grow a tree as the documentation says it, with lists and loops, from binned rows."""

    def __init__(self, bins, cause, time, weight, nominal, splitter, least, channels, kinds):
        self.bins, self.cause, self.time, self.weight = bins, cause, time, weight
        self.nominal, self.splitter, self.least = nominal, splitter, least
        self.channels, self.kinds = channels, kinds
        self.grid = np.unique(time[cause > 0])

    def residuals(self, rows, k):
        hazard = {}
        for t in np.unique(self.time[rows]):
            here = [i for i in rows if self.time[i] == t and self.cause[i] == k]
            hazard[t] = sum(self.weight[here]) / sum(self.weight[i] for i in rows if self.time[i] >= t)
        met = {i: sum(h for t, h in hazard.items() if t <= self.time[i]) for i in rows}
        return {i: float(self.cause[i] == k) - met[i] for i in rows}

    def score(self, rows, left, residuals):
        w = self.weight
        right = [i for i in rows if i not in left]
        n_left, n_right = sum(w[i] for i in left), sum(w[i] for i in right)
        if n_left < self.least or n_right < self.least:
            return 0.0
        total = 0.0
        for k, r in residuals.items():
            u = sum(w[i] * r[i] for i in left)
            if self.splitter == 0:
                square = sum(w[i] * r[i] ** 2 for i in rows) / (n_left + n_right)
                variance = square * n_left * n_right / (n_left + n_right)
            else:
                variance = 0.0
                for t in np.unique([self.time[i] for i in rows if self.cause[i] == k]):
                    y = sum(w[i] for i in rows if self.time[i] >= t)
                    y_left = sum(w[i] for i in left if self.time[i] >= t)
                    d = sum(w[i] for i in rows if self.time[i] == t and self.cause[i] == k)
                    if y > 1:
                        variance += d * (y - d) / (y - 1) * (y_left / y) * (1 - y_left / y)
            total += u * u / variance if variance > 1e-12 else 0.0
        return total

    def candidates(self, rows, j, residuals):
        """Yield every way to send the rows of a node to the left by one column."""
        column = self.bins[:, j]
        missing = [i for i in rows if column[i] == MISSING]
        levels = sorted({int(column[i]) for i in rows if column[i] != MISSING})
        if self.nominal[j]:

            def excess(b):
                mine = [i for i in rows if column[i] == b]
                weight = sum(self.weight[i] for i in mine)
                return (
                    sum(
                        sum(self.weight[i] * r[i] for i in mine)
                        / (sum(self.weight[i] * r[i] ** 2 for i in rows) / sum(self.weight[i] for i in rows)) ** 0.5
                        for r in residuals.values()
                    )
                    / weight
                )

            levels.sort(key=excess)
        for c in range(len(levels)):
            left = [i for i in rows if column[i] in levels[: c + 1]]
            if c < len(levels) - 1:
                yield left, levels[: c + 1]
                if missing:
                    yield left + missing, levels[: c + 1]
            elif missing:
                yield left, levels[: c + 1]

    def best(self, rows):
        """Return the highest score and all splits that reach it, as sets of rows on either side."""
        # A cause that nobody in the node has, or everybody alike, has no residuals and no say.
        residuals = {k: self.residuals(rows, k) for k in self.channels}
        residuals = {k: r for k, r in residuals.items() if max(abs(v) for v in r.values()) > TIES}
        found = []
        for j in range(self.bins.shape[1]):
            for left, _ in self.candidates(rows, j, residuals):
                found.append((self.score(rows, left, residuals), j, frozenset(left)))
        top = max((f[0] for f in found), default=0.0)
        return top, [(j, left) for s, j, left in found if s >= top * (1 - TIES) and s > TIES]

    def leaf(self, rows):
        """Return (grid point, cause, hazard) of each event time and cause, and the value of each cause."""
        steps, value, alive = [], np.zeros(self.kinds), 1.0
        for t in np.unique([self.time[i] for i in rows]):
            y = sum(self.weight[i] for i in rows if self.time[i] >= t)
            d = [
                sum(self.weight[i] for i in rows if self.time[i] == t and self.cause[i] == k)
                for k in range(1, self.kinds + 1)
            ]
            for k in range(self.kinds):
                if d[k]:
                    at = int(np.searchsorted(self.grid, t))
                    steps.append((at, k + 1, d[k] / y))
                    value[k] += (alive if self.kinds > 1 else 1.0) * d[k] / y * (self.grid.size - at)
            alive *= 1 - sum(d) / y
        return steps, value


def rows_of(seed, n=60, kinds=1, missing=True, categories=True, whole=True):
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 12, (n, 4)).astype(np.uint8)
    bins[:, 3] = rng.integers(0, 6, n)
    if missing:
        bins[rng.random((n, 4)) < 0.15] = MISSING
    effect = 0.2 * np.where(bins[:, 0] == 255, 4, bins[:, 0]) + np.array([0.0, 2, -1, 1, 0, 3])[bins[:, 3] % 6]
    death, lost = rng.exponential(np.exp(-effect)), rng.exponential(0.3, n)
    time = np.ceil(np.minimum(death, lost) * 40)
    cause = np.where(death <= lost, 1 + (rng.random(n) < 0.4) * (kinds - 1), 0)
    weight = rng.integers(1, 4, n).astype(float) if whole else rng.uniform(0.5, 2, n)
    return bins, cause.astype(np.uint8), time, weight, np.array([False, False, False, categories])


def grow(bins, cause, time, weight, nominal, *, splitter=0, least=4.0, channels=(1,), kinds=1, **more):
    """Call the kernel on rows in any order; return the tree and the row numbers in line."""
    times = np.unique(time[cause > 0])
    rank = np.searchsorted(times, time, side="right").astype(np.int32)
    line = np.argsort(rank, kind="stable")
    grid = np.concatenate(([0], np.arange(times.size))).astype(np.uint16)
    p = bins.shape[1]
    asked = {
        "monotone": np.zeros(p, np.int8), "candidates": np.arange(p), "seed": np.uint64(1), "draws": 0, "tries": p,
        "deepest": 99,
    } | more  # fmt: skip
    return kernels.grow_tree(
        np.ascontiguousarray(bins[line].T), np.full(p, 255), nominal, asked["monotone"], asked["candidates"],
        rank[line], cause[line], weight[line], kinds, np.array(channels), grid, times.size, asked["seed"],
        asked["draws"], asked["tries"], float(least), asked["deepest"], splitter,
    )  # fmt: skip


def goes_left(tree, node, b):
    cut = tree[1][node]
    if cut < 0:
        return bool(tree[5][-1 - cut, b >> 3] >> (b & 7) & 1)
    return bool(tree[3][node]) if b == MISSING else b <= cut


def follow(tree, bins):
    """Return the rows of each node."""
    members = {0: list(range(len(bins)))}
    for node in range(tree[0].size):
        j = tree[0][node]
        if j >= 0:
            for side in (0, 1):
                members[tree[2][node] + side] = [
                    i for i in members[node] if goes_left(tree, node, int(bins[i, j])) == (side == 0)
                ]
    return members


@pytest.mark.parametrize("splitter", [0, 1])
@pytest.mark.parametrize(("kinds", "channels"), [(1, (1,)), (2, (1, 2)), (2, (2,))])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_split_for_split_and_leaf_for_leaf(seed, splitter, kinds, channels, whole):
    bins, cause, time, weight, nominal = rows_of(seed, kinds=kinds, whole=whole)
    tree = grow(bins, cause, time, weight, nominal, splitter=splitter, channels=channels, kinds=kinds)
    slow = SlowTree(bins, cause, time, weight, nominal, splitter, 4.0, channels, kinds)
    ends = np.concatenate(([0], tree[6]))
    inner = 0
    for node, rows in follow(tree, bins).items():
        assert tree[4][node] == pytest.approx(weight[rows].sum(), rel=1e-6)
        top, ways = slow.best(rows)
        if tree[0][node] >= 0:
            inner += 1
            left = frozenset(i for i in rows if goes_left(tree, node, int(bins[i, tree[0][node]])))
            assert (tree[0][node], left) in ways
        else:
            assert top <= TIES or weight[rows].sum() < 8.0
            steps, value = slow.leaf(rows)
            f = tree[2][node]
            mine = slice(ends[f], ends[f + 1])
            got = list(zip(tree[7][mine].tolist(), (tree[8][mine] & 127).tolist(), tree[9][mine].tolist(), strict=True))
            assert [g[:2] for g in got] == [s[:2] for s in steps]
            np.testing.assert_allclose([g[2] for g in got], [s[2] for s in steps], rtol=1e-6)
            np.testing.assert_allclose(tree[10][f], value, rtol=1e-10)
    assert inner >= 4


def test_pairs_of_two_causes_at_one_time_are_marked():
    bins = np.zeros((6, 1), np.uint8)
    cause, time = np.array([1, 2, 0, 1, 2, 0], np.uint8), np.array([1.0, 1, 1, 2, 3, 3])
    tree = grow(bins, cause, time, np.ones(6), np.array([False]), kinds=2, channels=(1, 2))
    assert tree[8].tolist() == [1, 2 + kernels.TIED, 1, 2]
    np.testing.assert_allclose(tree[9], [1 / 6, 1 / 6, 1 / 3, 1 / 2], rtol=1e-6)
    # Incidences of causes 1 and 2 over the three times: 1/6 1/6+2/3/3 same, and 1/6 1/6 1/6+4/9/2.
    np.testing.assert_allclose(tree[10][0], [3 / 6 + 2 * (2 / 9), 3 / 6 + 2 / 9])


@pytest.mark.parametrize("splitter", [0, 1, 2])
def test_limits_on_leaf_and_depth(splitter):
    bins, cause, time, weight, nominal = rows_of(5, n=200)
    tree = grow(bins, cause, time, weight, nominal, splitter=splitter, least=17.0)
    assert tree[0].size > 5
    assert tree[4].min() >= 17.0
    shallow = grow(bins, cause, time, weight, nominal, splitter=splitter, least=1.0, deepest=2)
    assert shallow[0].size == 7
    assert (shallow[0][3:] == -1).all()


def test_a_random_cut_lies_between_the_bins_of_the_node_and_depends_on_the_seed():
    bins, cause, time, weight, nominal = rows_of(6, n=200, missing=False, categories=False)
    roots = set()
    for seed in range(40):
        tree = grow(bins, cause, time, weight, nominal, splitter=2, seed=np.uint64(seed), tries=1)
        for node, rows in follow(tree, bins).items():
            if tree[0][node] >= 0:
                column = bins[rows, tree[0][node]]
                assert column.min() <= tree[1][node] < column.max()
        roots.add((int(tree[0][0]), int(tree[1][0])))
    assert len(roots) > 15


def test_rows_are_drawn_evenly_and_as_many_as_asked():
    state = np.array([3], np.uint64)
    counts = sum(kernels.draw_rows(state, 7, 1000) for _ in range(20))
    assert counts.sum() == 20_000
    assert ((counts - 20_000 / 7) ** 2 / (20_000 / 7)).sum() < 22.5  # chi-square, 6 df, p = .001
    assert kernels.draw_rows(state, 3, 0).tolist() == [1, 1, 1]
