"""The causal forest: what a slow reference gives, known effects, intervals, and the same bits however it is run."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.treatment import LEARNERS
from aimed.treatment.causal_forest import CausalForest
from aimed.treatment.nuisances import Nuisances


def trial(n, seed=0, p=5, effect=lambda X: np.where(X[:, 0] > 0, 1.0, 0.0)):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    T = rng.integers(0, 2, n)
    tau = effect(X)
    Y = X[:, 1] + tau * T + 0.5 * rng.normal(size=n)
    known = Nuisances(
        mu0=X[:, 1],
        mu1=X[:, 1] + tau.mean(),
        propensity=np.full(n, 0.5),
        fold=np.zeros(n, dtype=np.int64),
        known_propensity=True,
    )
    return X, T, Y, tau, known


def fitted(n=600, seed=0, **settings):
    X, T, Y, tau, known = trial(n, seed)
    forest = CausalForest(**{"n_estimators": 100, "random_state": 0, **settings}).fit(Y, T, X=X, nuisances=known)
    return forest, X, T, Y, tau, known


def slow_weights(forest, train, x):
    """Weights of the training rows at one place: the share of each in the leaves, by walking every tree."""
    trees = forest.trees_
    here, there = forest.bins_.transform(train), forest.bins_.transform(x[None])[0]

    def leaf(root, row):
        node = root
        while trees.feature[node] >= 0:
            node = trees.left[node] + int(row[trees.feature[node]] > trees.cut[node])
        return trees.left[node]

    return [(leaf(root, there), np.array([leaf(root, row) for row in here])) for root in trees.roots[:-1]]


def test_the_effect_is_the_slope_that_the_weights_of_the_training_rows_give():
    """Without honesty and bags of all drawn rows, the weights follow from the drawn rows alone."""
    from aimed.treatment.kernels.causal_forest import draw_bag, draw_halves

    forest, X, T, Y, _, known = fitted(n=80, n_estimators=8, subforest_size=4, trend=False, min_samples_leaf=3)
    y, t = Y - known.m, T - 0.5
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    seeds = np.random.SeedSequence(seed).generate_state(2 * 9, np.uint64).reshape(2, 9)
    x = np.array([0.3, -0.2, 0.1, 0.0, 1.0])
    means = []
    for k, (mine, leaves) in enumerate(slow_weights(forest, X, x)):
        g, place = divmod(k, 4)
        side = draw_halves(seeds[g, 2 * place + 1], draw_bag(seeds[g, 0], 80, 40), 80, 40, True)
        assert (side == 1).sum() == (side == 2).sum() == 20
        rows = (leaves == mine) & (side == 2)
        assert min(T[rows].sum(), (1 - T[rows]).sum()) >= 3
        means.append([t[rows].mean(), y[rows].mean(), (t[rows] ** 2).mean(), (t * y)[rows].mean()])
    by_tree = np.array(means)
    mt, my, tt, ty = by_tree.mean(axis=0)
    slope = (ty - mt * my) / (tt - mt**2)
    assert forest.effect(x[None])[0] == pytest.approx(slope, rel=1e-5)

    base = my - slope * mt
    score = by_tree[:, 3] - slope * by_tree[:, 2] - base * by_tree[:, 0]
    influence = (score - mt * (by_tree[:, 1] - slope * by_tree[:, 0] - base)) / (tt - mt**2)
    bags = influence.reshape(2, 4)
    between = (bags.mean(axis=1) ** 2).mean()
    noise = bags.var(axis=1, ddof=1).mean() / 4
    from scipy.stats import norm

    spread = max(between, noise) * np.sqrt(2 / 2)
    ratio = (between - noise) / spread
    expected = between - noise + spread * norm.pdf(ratio) / norm.cdf(ratio)
    assert forest.effect_variance(x[None])[0] == pytest.approx(expected, rel=1e-4)


def test_known_effects_are_found_and_intervals_hold_them():
    forest, _, _, _, tau, _ = fitted(n=3000, n_estimators=400)
    new = np.random.default_rng(9).normal(size=(400, 5))
    truth = np.where(new[:, 0] > 0, 1.0, 0.0)
    effect = forest.effect(new)
    assert np.sqrt(np.mean((effect - truth) ** 2)) < 0.4 * truth.std()
    far = abs(new[:, 0]) > 0.3
    low, high = forest.effect_interval(new[far])
    assert np.mean((low <= truth[far]) & (truth[far] <= high)) > 0.85
    np.testing.assert_allclose((low + high) / 2, effect[far], rtol=1e-9, atol=1e-12)
    assert np.corrcoef(forest.oob_effect_, tau)[0, 1] > 0.9
    assert forest.feature_importances_.argmax() == 0
    assert forest.feature_importances_.sum() == pytest.approx(1.0)


def test_out_of_bag_effects_come_from_the_bags_that_did_not_draw_the_patient():
    forest, X, *_ = fitted(n=200, n_estimators=120)
    from aimed.treatment.kernels.causal_forest import draw_bag

    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    seeds = np.random.SeedSequence(seed).generate_state(30 * 9, np.uint64).reshape(30, 9)
    row = 7
    out = [g for g in range(30) if row not in draw_bag(seeds[g, 0], 200, 100)]
    assert 5 < len(out) < 25
    state = forest.to_state()
    part = CausalForest.from_state(state)
    keep = [k for g in out for k in range(4 * g, 4 * g + 4)]
    trees = part.trees_
    sums = np.zeros(4)
    bins = part.bins_.transform(X[row : row + 1])[0]
    for k in keep:
        node = trees.roots[k]
        while trees.feature[node] >= 0:
            node = trees.left[node] + int(bins[trees.feature[node]] > trees.cut[node])
        sums += trees.value[trees.left[node]]
    lines = part._line(X[row : row + 1])[out, 0]
    mt, my, tt, ty = sums / len(keep)
    assert forest.oob_effect_[row] == pytest.approx((ty - mt * my) / (tt - mt**2) + lines.mean(), rel=1e-5)
    low, high = forest.oob_interval()
    narrow = forest.oob_interval(alpha=0.5)
    assert (low < narrow[0]).all()
    assert (narrow[1] < high).all()


def test_permuted_treatment_shows_no_heterogeneity():
    X, T, Y, _, _ = trial(1500)
    shuffled = np.random.default_rng(1).permutation(T)
    m = np.full(1500, Y.mean()) + X[:, 1]
    known = Nuisances(
        mu0=m, mu1=m, propensity=np.full(1500, 0.5), fold=np.zeros(1500, dtype=np.int64), known_propensity=True
    )
    forest = CausalForest(n_estimators=300, random_state=0).fit(Y, shuffled, X=X, nuisances=known)
    low, high = forest.oob_interval()
    assert np.mean((low <= 0) & (high >= 0)) > 0.9
    real = CausalForest(n_estimators=300, random_state=0).fit(Y, T, X=X, nuisances=known)
    assert forest.oob_effect_.std() < 0.4 * real.oob_effect_.std()
    assert abs(forest.ate()) < 3 * forest.average_effect_se_


def test_a_straight_effect_is_followed_to_the_edges_with_a_trend():
    X, T, Y, _, known = trial(1500, seed=2, effect=lambda X: 0.5 * X[:, 0])
    new = np.random.default_rng(9).normal(size=(500, 5))
    new = new[abs(new[:, 0]) > 1.5]
    gaps = []
    for trend in (True, False):
        forest = CausalForest(n_estimators=200, trend=trend, random_state=0).fit(Y, T, X=X, nuisances=known)
        gaps.append(np.sqrt(np.mean((forest.effect(new) - 0.5 * new[:, 0]) ** 2)))
    assert gaps[0] < 0.6 * gaps[1]
    beyond = np.zeros((2, 5))
    beyond[:, 0] = X[:, 0].max(), 1e6
    forest = CausalForest(n_estimators=50, random_state=0).fit(Y, T, X=X, nuisances=known)
    assert forest.effect(beyond)[0] == forest.effect(beyond)[1]


def test_the_line_is_weighed_by_what_it_adds_out_of_bag():
    """At the weight that was chosen, what is left of the outcome has no slope on the correction."""
    X, T, Y, _, known = trial(800, effect=lambda X: 0.3 * X[:, 0] + 0.5 * (X[:, 1] > 0))
    plain = CausalForest(n_estimators=100, trend=False, random_state=0).fit(Y, T, X=X, nuisances=known)
    forest = CausalForest(n_estimators=100, random_state=0).fit(Y, T, X=X, nuisances=known)
    assert 0 < forest.trend_weight_ < 1
    move = forest.oob_effect_ - plain.oob_effect_
    left = Y - known.m - (T - 0.5) * forest.oob_effect_
    assert left @ ((T - 0.5) * move) == pytest.approx(0.0, abs=1e-4 * np.abs(left * (T - 0.5) * move).sum())
    np.testing.assert_array_equal(plain.trees_.cut, forest.trees_.cut)
    steps = trial(3000)
    jump = CausalForest(n_estimators=100, random_state=0).fit(steps[2], steps[1], X=steps[0], nuisances=steps[4])
    assert jump.trend_weight_ < 0.3


def test_average_effect_is_doubly_robust_and_knows_its_patients():
    forest, X, T, Y, tau, known = fitted(n=2000)
    scores = known.scores(Y, T)
    assert forest.ate() == pytest.approx(scores.mean())
    low, high = forest.ate_interval()
    assert low < tau.mean() < high
    assert (high - low) / 2 == pytest.approx(1.959964 * scores.std() / np.sqrt(2000), rel=1e-5)
    assert forest.ate(X) == pytest.approx(forest.effect(X).mean(), rel=1e-12)
    assert forest.ate(X) == pytest.approx(forest.ate(), abs=0.05)
    gap = scores - forest.oob_effect_
    inner = forest.ate_interval(X, alpha=0.001)
    middle, half = forest.ate(X) + gap.mean(), 3.290527 * gap.std() / np.sqrt(2000)
    assert inner == pytest.approx((middle - half, middle + half), rel=1e-5)
    assert forest.ate_interval(X, alpha=0.999)[0] <= forest.ate(X) <= forest.ate_interval(X, alpha=0.999)[1]
    upper = forest.ate(X[X[:, 0] > 0.5])
    assert upper == pytest.approx(1.0, abs=0.15)

    twice = np.repeat(np.arange(2000), 2)
    doubled = Nuisances(
        mu0=known.mu0[twice],
        mu1=known.mu1[twice],
        propensity=known.propensity[twice],
        fold=known.fold[twice],
        known_propensity=True,
    )
    both = CausalForest(n_estimators=40, random_state=0).fit(
        Y[twice], T[twice], X=X[twice], nuisances=doubled, patient=twice
    )
    assert both.n_patients_ == 2000
    assert both.average_effect_se_ == pytest.approx(forest.average_effect_se_, rel=1e-9)
    naive = CausalForest(n_estimators=40, random_state=0).fit(Y[twice], T[twice], X=X[twice], nuisances=doubled)
    assert naive.average_effect_se_ == pytest.approx(both.average_effect_se_ / np.sqrt(2), rel=1e-6)


def test_rows_of_a_patient_fall_on_one_side():
    """Each patient twice gives the forest of each patient once, drawn alike."""
    X, T, Y, _, known = trial(300)
    twice = np.repeat(np.arange(300), 2)
    doubled = Nuisances(
        mu0=known.mu0[twice],
        mu1=known.mu1[twice],
        propensity=known.propensity[twice],
        fold=known.fold[twice],
        known_propensity=True,
    )
    settings = {"n_estimators": 40, "random_state": 3, "trend": False}
    once = CausalForest(min_samples_leaf=3, **settings).fit(Y, T, X=X, nuisances=known)
    both = CausalForest(min_samples_leaf=6, **settings).fit(
        Y[twice], T[twice], X=X[twice], nuisances=doubled, patient=[f"p{k:03d}" for k in twice]
    )
    np.testing.assert_allclose(both.oob_effect_[::2], once.oob_effect_, rtol=1e-5)
    np.testing.assert_allclose(both.effect(X), once.effect(X), rtol=1e-5)
    np.testing.assert_allclose(both.effect_variance(X), once.effect_variance(X), rtol=1e-3)


def test_the_same_bits_whatever_the_threads_and_the_rows_beside():
    forest, X, T, Y, _, known = fitted(n=700)
    threaded = clone(forest).set_params(n_jobs=3).fit(Y, T, X=X, nuisances=known)
    assert threaded.oob_effect_.tobytes() == forest.oob_effect_.tobytes()
    for one, other in zip(threaded.effect_interval(X), forest.effect_interval(X), strict=True):
        assert one.tobytes() == other.tobytes()
    assert forest.effect(X[650:651])[0] == forest.effect(X)[650]
    assert forest.effect(X, T0=1, T1=0).tobytes() == (-forest.effect(X)).tobytes()
    other = clone(forest).set_params(random_state=1).fit(Y, T, X=X, nuisances=known)
    assert (other.effect(X) != forest.effect(X)).any()


@pytest.mark.parametrize("trend", [True, False])
def test_a_stored_forest_gives_the_same_bits(trend):
    forest, X, *_ = fitted(trend=trend, max_features=3)
    text = json.dumps(forest.to_state(), allow_nan=False)
    assert forest.estimators() == {}
    again = CausalForest.from_state(json.loads(text), {})
    for one, other in zip(again.effect_interval(X), forest.effect_interval(X), strict=True):
        assert one.tobytes() == other.tobytes()
    assert again.ate_interval(X) == forest.ate_interval(X)
    assert again.ate() == forest.ate()
    assert again.feature_importances_.tobytes() == forest.feature_importances_.tobytes()
    assert json.dumps(again.to_state()) == text
    with pytest.raises(NotEstimableError, match="training rows"):
        again.oob_interval()


def test_a_damaged_state_is_refused():
    from aimed.treatment.causal_forest import _pack

    forest = fitted(n=200, n_estimators=8)[0]
    state = forest.to_state()
    trees = forest.trees_
    loop = trees.left.copy()
    loop[0] = 0
    wide = trees.feature.copy()
    wide[0] = 5
    leaf = trees.left.copy()
    leaf[trees.feature < 0] = trees.value.shape[0]
    for name, array in (
        ("left", loop),
        ("feature", wide),
        ("left", leaf),
        ("value", trees.value[:-1]),
        ("roots", trees.roots[:-1]),
        ("lines_", forest.lines_[:-1]),
        ("scale_", forest.scale_[:2]),
    ):
        broken = copy.deepcopy(state)
        broken["arrays"][name] = _pack(array)
        with pytest.raises(DataError, match="do not fit together"):
            CausalForest.from_state(broken)
    broken = copy.deepcopy(state)
    broken["arrays"]["cut"]["shape"] = [10**9]
    with pytest.raises(DataError, match="length"):
        CausalForest.from_state(broken)
    del broken["arrays"]["cut"]
    with pytest.raises(DataError, match="lacks"):
        CausalForest.from_state(broken)


def test_what_cannot_be_used_is_refused_with_what_to_do():
    X, T, Y, _, known = trial(200)
    gap = X.copy()
    gap[3, 2] = np.nan
    with pytest.raises(DataError, match="impute"):
        CausalForest(n_estimators=8).fit(Y, T, X=gap, nuisances=known)
    with pytest.raises((DataError, NotEstimableError)):
        CausalForest(n_estimators=8).fit(Y, np.ones(200), X=X, nuisances=known)
    with pytest.raises(NotEstimableError, match="none of the 5 columns"):
        CausalForest(n_estimators=8).fit(Y, T, X=np.ones((200, 5)), nuisances=known)
    few = (T == 0) | (np.cumsum(T) <= 5)
    small = Nuisances(
        mu0=known.mu0[few], mu1=known.mu1[few], propensity=known.propensity[few], fold=known.fold[few],
        known_propensity=True,
    )  # fmt: skip
    with pytest.raises(NotEstimableError, match="5 rows in the smaller arm"):
        CausalForest(n_estimators=8).fit(Y[few], T[few], X=X[few], nuisances=small)
    with pytest.raises(DataError, match="nuisances of 200 rows"):
        CausalForest(n_estimators=8).fit(Y[:100], T[:100], X=X[:100], nuisances=known)
    with pytest.raises(NotEstimableError, match="patients"):
        CausalForest(n_estimators=8).fit(Y, T, X=X, nuisances=known, patient=np.arange(200) % 4)
    for settings in (
        {"n_estimators": 4},
        {"min_samples_leaf": 0},
        {"max_samples": 0.6},
        {"min_child_share": 0.5},
        {"subforest_size": 1},
        {"max_bins": 256},
        {"max_features": "most"},
        {"max_depth": 0},
    ):
        with pytest.raises(StudyFileError):
            CausalForest(**{"n_estimators": 8, **settings}).fit(Y, T, X=X, nuisances=known)
    forest = CausalForest(n_estimators=8, random_state=0).fit(Y, T, X=X, nuisances=known)
    with pytest.raises(DataError, match="as in the fit"):
        forest.effect(X[:, :3])
    with pytest.raises(DataError, match="finite"):
        forest.effect(gap)


def test_nuisances_are_fitted_when_none_are_given_and_zero_one_outcomes_work():
    X, T, _, _, _ = trial(600)
    rng = np.random.default_rng(4)
    Y = (rng.random(600) < 0.3 + 0.3 * T * (X[:, 0] > 0)).astype(float)
    forest = CausalForest(n_estimators=40, max_depth=3, random_state=0).fit(Y, T, X=X, W=X[:, :1] ** 2, propensity=0.5)
    assert forest.nuisances_.known_propensity
    low, high = forest.ate_interval()
    assert low < 0.15 < high
    constant = np.column_stack([X, np.ones(600), X[:, 0]])
    assert np.isfinite(CausalForest(n_estimators=40, random_state=0).fit(Y, T, X=constant).effect(constant)).all()


def test_the_catalogue_knows_the_forest():
    assert LEARNERS["causal_forest"] is CausalForest


@pytest.mark.slow
def test_no_worse_than_econml_on_the_same_residuals():
    grf = pytest.importorskip("econml.grf")
    root: dict[str, list[float]] = {"ours": [], "econml": []}
    held: dict[str, list[float]] = {"ours": [], "econml": []}
    for seed in range(3):

        def effect(X):
            return 0.5 * (X[:, 0] > 0) + 0.25 * X[:, 1]

        X, T, Y, _, known = trial(800, seed=seed, p=10, effect=effect)
        Y = Y + 0.8 * np.random.default_rng(100 + seed).normal(size=800)
        new = np.random.default_rng(5).normal(size=(500, 10))
        truth = effect(new)
        ours = CausalForest(n_estimators=400, random_state=0).fit(Y, T, X=X, nuisances=known)
        peer = grf.CausalForest(n_estimators=400, n_jobs=1, random_state=0).fit(X, T - 0.5, Y - known.m)
        limits = {"ours": ours.effect_interval(new), "econml": peer.predict_interval(new, alpha=0.05)}
        for name, (low, high) in limits.items():
            low, high = np.ravel(low), np.ravel(high)
            root[name].append(float(np.sqrt(np.mean(((low + high) / 2 - truth) ** 2))))
            held[name].append(float(np.mean((low <= truth) & (truth <= high))))
    assert np.mean(root["ours"]) <= np.mean(root["econml"])
    assert np.mean(held["ours"]) >= np.mean(held["econml"])
