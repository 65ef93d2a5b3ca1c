"""Shapley values of the survival forest: equal to the sum over all coalitions, and they add up to the prediction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from aimed.prognosis.survival_forest import SurvivalForest


def sample(n=150, p=5, seed=0, kinds=1):
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, p)), 1)
    X[:, p - 1] = rng.integers(0, 7, n)
    X[rng.random((n, p)) < 0.1] = np.nan
    effect = np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1]) * (np.nan_to_num(X[:, p - 1]) % 3 == 1)
    death, lost = rng.exponential(20 * np.exp(-effect)), rng.exponential(30, n)
    y = np.empty(n, dtype=[("event", bool if kinds == 1 else int), ("time", float)])
    y["time"] = np.ceil(np.minimum(death, lost))
    y["event"] = (death <= lost) * (1 + (rng.random(n) < 0.4) * (kinds - 1))
    return X, y


def coalition_value(forest, bins, tree, value, known):
    """Return the mean value of a tree's leaves when only some columns are known."""
    trees = forest.trees_

    def below(node):
        j, child = trees.feature[node], trees.left[node]
        if j < 0:
            return value[child]
        if j not in known:
            shares = trees.cover[child : child + 2].astype(float) / float(trees.cover[node])
            return shares[0] * below(child) + shares[1] * below(child + 1)
        b, cut = int(bins[j]), trees.cut[node]
        if cut < 0:
            left = trees.sets[-1 - cut, b >> 3] >> (b & 7) & 1
        else:
            left = trees.missing_left[node] if b == 255 else b <= cut
        return below(child if left else child + 1)

    return below(trees.roots[tree])


def slow_shapley(forest, row, value):
    bins = forest.bins_.transform(row[None, :])[0]
    p, count = row.size, forest.trees_.roots.size - 1
    worth = {
        s: sum(coalition_value(forest, bins, t, value, set(s)) for t in range(count)) / count
        for k in range(p + 1)
        for s in itertools.combinations(range(p), k)
    }
    out = np.zeros(p)
    for j in range(p):
        for s in worth:
            if j not in s:
                weight = math.factorial(len(s)) * math.factorial(p - len(s) - 1) / math.factorial(p)
                out[j] += weight * (worth[tuple(sorted((*s, j)))] - worth[s])
    return out, worth[()]


@pytest.mark.parametrize("horizon", [None, 12.0])
@pytest.mark.parametrize(("kinds", "cause"), [(1, None), (2, 2)])
@pytest.mark.parametrize("least", [3, 15])
def test_equal_to_the_sum_over_coalitions(least, kinds, cause, horizon):
    X, y = sample(kinds=kinds)
    forest = SurvivalForest(
        4, max_features=0.6, min_samples_leaf=least, categorical_features=[4], random_state=0
    ).fit(X, y)  # fmt: skip
    assert (forest.trees_.cut < 0).any()
    values, base = forest.shap_values(X[:12], horizon=horizon, cause=cause)
    for row, got in zip(X[:12], values, strict=True):
        expected, empty = slow_shapley(forest, row, forest._leaf_values(horizon, cause))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
        assert base == pytest.approx(empty, rel=1e-12)


@pytest.mark.parametrize("p", [1, 3, 20, 60])
def test_adds_up_on_deep_trees(p):
    rng = np.random.default_rng(p)
    X = rng.normal(size=(400, p))
    y = np.empty(400, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = True, rng.exponential(np.exp(-X.sum(axis=1) / np.sqrt(p)))
    forest = SurvivalForest(10, min_samples_leaf=1, max_features=1, random_state=0).fit(X, y)
    new = rng.normal(size=(50, p))
    values, base = forest.shap_values(new)
    np.testing.assert_allclose(base + values.sum(axis=1), forest.predict(new), rtol=1e-10)
    assert base == pytest.approx(forest.expected_value_, rel=1e-6)
    risk, start = forest.shap_values(new, horizon=1.0)
    np.testing.assert_allclose(start + risk.sum(axis=1), forest.predict_risk(new, [1.0])[:, 0], atol=1e-10)


def test_a_column_that_no_tree_asks_gets_nothing_and_threads_change_no_bit():
    X, y = sample(n=300)
    X = np.column_stack([X, np.ones(300)])
    forest = SurvivalForest(20, random_state=0).fit(X, y)
    one = forest.shap_values(np.tile(X, (10, 1)))
    assert (one[0][:, 5] == 0).all()
    assert np.abs(one[0][:, :2]).mean() > np.abs(one[0][:, 2:4]).mean()
    two = forest.set_params(n_jobs=2).shap_values(np.tile(X, (10, 1)))
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]


def test_a_forest_of_stumps_without_a_split_has_its_mean_alone():
    X, y = sample(n=40)
    forest = SurvivalForest(3, min_samples_leaf=30, random_state=0).fit(X, y)
    values, base = forest.shap_values(X)
    assert (values == 0).all()
    np.testing.assert_allclose(forest.predict(X), base)
    assert forest.shap_values(np.empty((0, 5)))[0].shape == (0, 5)
