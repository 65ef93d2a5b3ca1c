"""Policy trees: the best of all trees by brute force, peers, readable rules, storing, cross-fitting, bad input."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from aimed.core.errors import DataError
from aimed.treatment.policy import evaluate_policy
from aimed.treatment.policy_tree import PolicyTree, cross_fitted_policy


def best_by_force(scores, X, depth, least):
    """The largest sum of scores over every tree of the depth, by trying each."""
    best = max(scores.sum(), 0.0)
    if depth == 0:
        return best
    for j in range(X.shape[1]):
        for cut in np.unique(X[:, j])[:-1]:
            low = X[:, j] <= cut
            if min(low.sum(), (~low).sum()) >= least:
                best = max(
                    best,
                    best_by_force(scores[low], X[low], depth - 1, least)
                    + best_by_force(scores[~low], X[~low], depth - 1, least),
                )
    return best


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 24), st.integers(1, 3), st.integers(0, 2), st.integers(1, 4))
def test_no_tree_is_better(seed, n, p, depth, least):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 6, (n, p)).astype(float)
    scores = rng.normal(size=n)
    tree = PolicyTree(max_depth=depth, min_samples_leaf=least).fit(scores, X)
    assert n * tree.value_ == pytest.approx(best_by_force(scores, X, depth, least), abs=1e-9)
    assert n * tree.value_ == pytest.approx(float(scores[tree.predict(X) == 1].sum()), abs=1e-9)
    leaves = [node for node in tree.nodes_ if "feature" not in node]
    assert sum(node["n"] for node in leaves) == n
    assert len(leaves) == 1 or min(node["n"] for node in leaves) >= least


def test_two_levels_find_what_one_greedy_question_at_a_time_does_not():
    """Treat where exactly one of two holds: neither question alone tells anything."""
    X = np.array(list(itertools.product([0.0, 1.0], repeat=2)) * 25)
    scores = np.where(X[:, 0] == X[:, 1], -1.0, 1.0)
    assert PolicyTree(max_depth=1).fit(scores, X).value_ == 0
    tree = PolicyTree(max_depth=2).fit(scores, X, ["diabetes", "smoker"])
    assert tree.value_ == 0.5
    assert tree.rules() == [
        "Do not treat where diabetes = 0 and smoker = 0 (25 of 100 patients in the fit).",
        "Treat where diabetes = 0 and smoker = 1 (25 of 100 patients in the fit).",
        "Treat where diabetes = 1 and smoker = 0 (25 of 100 patients in the fit).",
        "Do not treat where diabetes = 1 and smoker = 1 (25 of 100 patients in the fit).",
    ]


def test_a_split_that_gains_nothing_is_left_out():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    for scores, words in ((np.full(80, 0.1), "Treat all"), (np.full(80, -0.1), "Do not treat all")):
        tree = PolicyTree().fit(scores, X)
        assert len(tree.nodes_) == 1
        assert tree.rules()[0].startswith(words)
    # One question is enough here, though two were allowed.
    step = PolicyTree(max_depth=2).fit(np.where(X[:, 1] > 0, 1.0, -1.0), X)
    assert len(step.nodes_) == 3


def test_rules_say_what_predict_does():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.integers(20, 90, 500), rng.normal(size=500), rng.integers(0, 2, 500)]).astype(float)
    inside = (X[:, 0] > 40) & (X[:, 0] <= 60)
    tree = PolicyTree().fit(np.where(inside, 1.0, -1.0), X, ["age", "marker", "male"])
    assert tree.rules()[1].startswith("Treat where age > 40 and \N{LESS-THAN OR EQUAL TO} 60 ")
    assert np.array_equal(tree.predict(X) == 1, inside)
    assert {node["threshold"] for node in tree.nodes_ if "feature" in node} == {40.0, 60.0}


def test_thresholds_are_short_and_divide_the_same_rows():
    for values, cut in (([1.0, 2.0], 1.0), ([45.0, 46.0], 45.0), ([0.2054, 0.2061], 0.206), ([-3.0, -1.0], -2.0)):
        X = np.repeat(values, 10)[:, None]
        tree = PolicyTree(max_depth=1).fit(np.repeat([-1.0, 1.0], 10), X)
        assert tree.nodes_[0]["threshold"] == cut
        assert tree.value_ == 0.5
    close = np.array([1.0, np.nextafter(1.0, 2.0)]).repeat(10)[:, None]
    assert PolicyTree(max_depth=1).fit(np.repeat([-1.0, 1.0], 10), close).value_ == 0.5
    tiny = np.array([1e-200, 3e-200]).repeat(10)[:, None]
    assert PolicyTree(max_depth=1).fit(np.repeat([-1.0, 1.0], 10), tiny).value_ == 0.5


def test_many_values_are_binned_and_the_best_is_nearly_kept():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(3000, 4))
    scores = np.where((X[:, 0] > 0.3) & (X[:, 2] < 0.5), 1.0, -1.0)
    tree = PolicyTree().fit(scores, X)
    assert (tree.predict(X) == (scores > 0)).mean() > 0.99
    assert all(tree.nodes_[0][k] is not None for k in ("feature", "threshold"))
    heavy = np.column_stack([np.where(rng.random(3000) < 0.9, 5.0, rng.uniform(0, 5, 3000))])
    assert PolicyTree(max_depth=1, max_bins=8).fit(np.where(heavy[:, 0] < 5, 1.0, -1.0), heavy).value_ > 0.09


def test_the_tree_is_no_worse_than_that_of_econml_on_its_own_rows():
    policy = pytest.importorskip("econml.policy")
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 5))
    scores = np.where(X[:, 0] * X[:, 1] > 0, 0.6, -0.6) + 2 * rng.normal(size=400)
    peer = policy.PolicyTree(max_depth=2, min_samples_leaf=20, honest=False, random_state=0)
    peer.fit(X, np.column_stack([np.zeros(400), scores]))
    theirs = float(scores[peer.predict(X) == 1].sum()) / 400
    mine = PolicyTree(max_depth=2, min_samples_leaf=20).fit(scores, X).value_
    assert mine >= theirs - 1e-12


def test_storing_gives_the_same_tree_and_a_broken_record_is_refused():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 3))
    tree = PolicyTree(min_samples_leaf=10).fit(X[:, 0] - X[:, 1] ** 2 + rng.normal(size=300), X)
    state = json.loads(json.dumps(tree.to_state(), allow_nan=False))
    again = PolicyTree.from_state(state, {})
    new = rng.normal(size=(500, 3))
    assert np.array_equal(again.predict(new), tree.predict(new))
    assert again.rules() == tree.rules()
    assert again.get_params() == tree.get_params()
    assert again.to_state() == tree.to_state()
    with pytest.raises(DataError, match="not of a policy tree"):
        PolicyTree.from_state(state | {"kind": "forest"})
    for place, wrong in ((0, {"left": 0}), (0, {"right": 99}), (0, {"feature": 3})):
        nodes = [dict(node) for node in state["nodes"]]
        nodes[place] |= wrong
        with pytest.raises(DataError, match="do not form a tree"):
            PolicyTree.from_state(state | {"nodes": nodes})


def test_a_tree_looks_better_on_its_own_rows_and_cross_fitting_says_the_truth():
    own, honest = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, t = rng.normal(size=(400, 5)), rng.integers(0, 2, 400)
        y = rng.normal(size=400)
        # Nobody gains: the score of each row is noise, and no rule is worth anything.
        scores = 2 * y * (2 * t - 1)
        own.append(PolicyTree().fit(scores, X).value_)
        policy = cross_fitted_policy(scores, X, random_state=seed)
        honest.append(evaluate_policy(y, t, policy, better="higher", propensity=0.5, mu0=0 * y, mu1=0 * y))
    gains = np.array([float(found.net_gain["none"]) for found in honest])
    assert np.min(own) > 0.05
    assert np.mean(own) > 0.15
    assert abs(gains.mean()) < 3 * gains.std() / np.sqrt(30)
    inside = [found.net_gain["none"].lower <= 0 <= found.net_gain["none"].upper for found in honest]
    assert np.mean(inside) > 0.8


def test_cross_fitting_keeps_patients_together():
    rng = np.random.default_rng(5)
    # Two rows of each patient are alike: a tree that had seen one would know the other.
    X = np.repeat(rng.normal(size=(60, 1)), 2, axis=0)
    scores = np.repeat(rng.normal(size=60), 2)
    who = np.repeat(np.arange(60), 2)
    settings = PolicyTree(max_depth=2, min_samples_leaf=1)
    policy = cross_fitted_policy(scores, X, tree=settings, folds=60, patient=who)
    alone = [
        settings.__class__(**settings.get_params()).fit(scores[who != k], X[who != k]).predict(X[who == k])
        for k in range(60)
    ]
    assert np.array_equal(policy, np.concatenate(alone))
    assert not hasattr(settings, "nodes_")


def test_the_manners_of_scikit_learn():
    tree = PolicyTree(max_depth=1, min_samples_leaf=0.1, max_bins=16)
    assert clone(tree).get_params() == {"max_depth": 1, "min_samples_leaf": 0.1, "max_bins": 16}
    rng = np.random.default_rng(6)
    X, scores = rng.normal(size=(100, 2)), rng.normal(size=100)
    before = X.copy(), scores.copy()
    assert tree.fit(scores, X) is tree
    assert np.array_equal(X, before[0])
    assert np.array_equal(scores, before[1])
    assert tree.names_ == ["x0", "x1"]


def test_bad_input_is_refused():
    X, scores = np.arange(20.0)[:, None], np.arange(20.0)
    for wrong, word in (
        ({"max_depth": 3}, "max_depth"),
        ({"min_samples_leaf": 0}, "min_samples_leaf"),
        ({"min_samples_leaf": 1.5}, "min_samples_leaf"),
        ({"max_bins": 1}, "max_bins"),
        ({"max_bins": 300}, "max_bins"),
    ):
        with pytest.raises(DataError, match=word):
            PolicyTree(**wrong).fit(scores, X)
    with pytest.raises(DataError, match="scores"):
        PolicyTree().fit(scores[:-1], X)
    with pytest.raises(DataError, match="1 values that are not finite"):
        PolicyTree().fit(scores, np.where(X == 3, np.nan, X))
    with pytest.raises(DataError, match="2 names for 1 columns"):
        PolicyTree().fit(scores, X, ["a", "b"])
    with pytest.raises(DataError, match="shape"):
        PolicyTree().fit(scores, X).predict(np.ones((2, 2)))
    with pytest.raises(DataError, match="shape"):
        PolicyTree().fit(scores, [["a"]] * 20)
    with pytest.raises(DataError, match="folds"):
        cross_fitted_policy(scores, X, folds=5, patient=np.arange(20) // 10)
