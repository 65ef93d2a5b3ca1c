"""Trees as arrays against scikit-learn's own answers, Shapley values by their definition, and damaged states."""

from __future__ import annotations

import json
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from aimed.core import DataError
from aimed.prognosis.boosted_trees import BoostedTrees


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 6, n) * 7.0, rng.normal(size=n), rng.integers(0, 4, n)])
    effect = X[:, 0] + 1.5 * np.isin(X[:, 1], (0, 21, 35)) * (X[:, 3] > 1) - np.abs(X[:, 2])
    y = rng.random(n) < 1 / (1 + np.exp(-effect))
    X[rng.random((n, 4)) < 0.08] = np.nan
    return X, y


def boosted(nominal=(1,), **more):
    X, y = rows()
    mask = np.isin(np.arange(4), nominal)
    model = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=7, min_samples_leaf=5, random_state=0, early_stopping=False,
        categorical_features=mask if nominal else None, **more,
    )  # fmt: skip
    return model.fit(X, y)


@pytest.mark.parametrize("nominal", [(), (1,), (3, 1)])
def test_answers_are_those_of_scikit_learn(nominal):
    model = boosted(nominal)
    trees = BoostedTrees.of(model)
    X = rows(3000, seed=1)[0]
    X[::7, 1] = 8.0  # a category that training rows never showed
    X[::11, 0] = 1e300
    np.testing.assert_allclose(trees.raw(trees.binned(X)), model.decision_function(X), rtol=1e-12, atol=1e-12)


def test_a_column_can_be_taken_as_known():
    trees = BoostedTrees.of(boosted())
    X = rows(200, seed=2)[0]
    for value in (0.0, 1.0, 2.0, 3.0):
        X[:, 3] = value
        left = trees.given(3, value)
        assert 3 not in left.feature
        np.testing.assert_allclose(left.raw(trees.binned(X)), trees.raw(trees.binned(X)), rtol=1e-12)


def expected(trees, bins, known, node):
    """The game of TreeSHAP, word for word: an unknown column follows both branches by their training rows."""
    j = trees.feature[node]
    if j < 0:
        return trees.value[trees.left[node]]
    children = trees.left[node], trees.left[node] + 1
    if j not in known:
        share = [trees.cover[c] / trees.cover[node] for c in children]
        return sum(s * expected(trees, bins, known, c) for s, c in zip(share, children, strict=True))
    if trees.cut[node] < 0:
        goes = (trees.sets[-1 - trees.cut[node], bins[j] >> 3] >> (bins[j] & 7)) & 1
    else:
        goes = trees.missing_left[node] if bins[j] == 255 else bins[j] <= trees.cut[node]
    return expected(trees, bins, known, children[0] if goes else children[1])


@pytest.mark.parametrize("given", [False, True])
def test_shapley_values_are_those_of_the_definition(given):
    trees = BoostedTrees.of(boosted())
    trees = trees.given(3, 2.0) if given else trees
    bins = trees.binned(rows(4, seed=3)[0])
    values, base = trees.shapley(bins)
    columns = range(4)

    def worth(row, known):
        return trees.start + sum(expected(trees, row, known, int(root)) for root in trees.roots[:-1])

    assert base == pytest.approx(worth(bins[0], ()), abs=1e-6)
    for row, got in zip(bins, values, strict=True):
        for j in columns:
            rest = [k for k in columns if k != j]
            want = sum(
                factorial(s) * factorial(3 - s) / factorial(4) * (worth(row, (*c, j)) - worth(row, c))
                for s in range(4)
                for c in combinations(rest, s)
            )
            assert got[j] == pytest.approx(want, abs=1e-6)
    assert given == (values[:, 3] == 0).all()


def test_json_brings_them_back():
    trees = BoostedTrees.of(boosted())
    again = BoostedTrees.from_state(json.loads(json.dumps(trees.to_state(), allow_nan=False)))
    X = rows(100, seed=4)[0]
    np.testing.assert_array_equal(again.raw(again.binned(X)), trees.raw(trees.binned(X)))


@pytest.mark.parametrize(
    ("part", "place", "value"),
    [
        ("left", 0, 0),
        ("left", 0, 10**6),
        ("left", -1, 10**6),
        ("left", -1, -1),
        ("feature", 0, 4),
        ("cut", 0, -(10**6)),
        ("roots", 1, 0),
        ("roots", -1, 10**6),
        ("edge_starts", 1, 10**6),
        ("value", 0, float("nan")),
        ("cover", 0, 0.0),
        ("start", None, float("inf")),
    ],
)
def test_a_damaged_state_is_refused(part, place, value):
    state = BoostedTrees.of(boosted()).to_state()
    if place is None:
        state[part] = value
    else:
        state[part][place] = value
    with pytest.raises(DataError, match="do not fit"):
        BoostedTrees.from_state(state)
