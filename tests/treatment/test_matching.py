"""Matching: against every pair looked at one by one, simulated truth and its own symmetries."""

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment.matching import _nearest, _nearest_of_many, matching


def brute(y, t, score, k):
    """Abadie and Imbens' estimate and variance of the average effect, pair by pair, ties included."""
    n = len(y)
    imputed, used, squares = np.zeros((2, n)), np.zeros(n), np.zeros(n)
    for i in range(n):
        others = np.flatnonzero(t != t[i])
        gap = np.abs(score[others] - score[i])
        near = others[gap <= np.sort(gap)[k - 1] + 1e-12]
        imputed[t[i], i], imputed[1 - t[i], i] = y[i], y[near].mean()
        used[near] += 1 / len(near)
        squares[near] += 1 / len(near) ** 2
    tau = imputed[1] - imputed[0]
    around = np.zeros(n)
    for i in range(n):
        own = np.setdiff1d(np.flatnonzero(t == t[i]), [i])
        j = own[np.argmin(np.abs(score[own] - score[i]))]
        around[i] = (y[i] - y[j]) ** 2 / 2
    variance = (((tau - tau.mean()) ** 2).sum() + ((used**2 + 2 * used - squares) * around).sum()) / n**2
    return tau.mean(), np.sqrt(variance), used


@pytest.mark.parametrize("k", [1, 3])
def test_every_pair_looked_at_gives_the_same(worlds, k):
    _, T, Y, e, *_ = worlds.world(1, n=160)
    found = matching(Y, T, propensity=e, neighbours=k)
    value, se, used = brute(Y, T, np.log(e / (1 - e)), k)
    assert float(found.difference) == pytest.approx(value, rel=1e-10)
    assert found.difference.se == pytest.approx(se, rel=1e-10)
    assert found.weights == pytest.approx(1 + used, rel=1e-9)


def test_ties_are_all_matched(worlds):
    X, T, Y, *_ = worlds.world(2, n=300)
    e = np.where(X[:, 0] > 0, 0.6, 0.4)
    found = matching(Y, T, propensity=e)
    cells = [Y[(T == 1) & (e == v)].mean() - Y[(T == 0) & (e == v)].mean() for v in (0.6, 0.4)]
    assert float(found.difference) == pytest.approx(np.average(cells, weights=[(e == 0.6).mean(), (e == 0.4).mean()]))
    by = np.random.default_rng(0).permutation(300)
    assert float(matching(Y[by], T[by], propensity=e[by]).difference) == pytest.approx(float(found.difference))


def test_nearest_rows_of_one_number():
    rng = np.random.default_rng(0)
    query, pool = rng.normal(size=50), rng.normal(size=30)
    found = _nearest(query, pool, np.arange(30), 4)
    for i in range(50):
        expected = set(np.argsort(np.abs(pool - query[i]))[:4].tolist())
        assert set(found.order[found.start[i] : found.stop[i]].tolist()) == expected


def test_nearest_rows_within_a_caliper():
    rng = np.random.default_rng(0)
    query, pool = rng.normal(size=(40, 2)), rng.normal(size=(60, 2))
    own, other = rng.normal(size=40), rng.normal(size=60)
    found = _nearest_of_many(query, pool, np.arange(60), 2, (own, other, 0.3))
    for i in range(40):
        near = np.flatnonzero(np.abs(other - own[i]) <= 0.3)
        by = near[np.argsort(((pool[near] - query[i]) ** 2).sum(axis=1))][:2]
        if len(by) < 2:
            assert np.isinf(found.distance[i])
        else:
            assert found.order[found.start[i] : found.stop[i]].tolist() == by.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias_correction": False},
        {"neighbours": 3},
        {"target": "ATT"},
        {"metric": "mahalanobis", "caliper": 1.0},
    ],
)
def test_truth_is_found(worlds, options):
    X, T, Y, _, mu0, mu1 = worlds.world(3, n=8000)
    truth = (mu1 - mu0)[T == 1].mean() if "target" in options else (mu1 - mu0).mean()
    found = matching(Y, T, X, **options)
    assert abs(found.difference - truth) < 4 * found.difference.se
    assert abs(Y[T == 1].mean() - Y[T == 0].mean() - truth) > 10 * found.difference.se


def test_the_treated_are_compared_as_they_are(worlds):
    X, T, Y, *_ = worlds.world(4)
    found = matching(Y, T, X, target="ATT")
    assert float(found.treated) == pytest.approx(Y[T == 1].mean())
    assert found.weights[T == 1] == pytest.approx(np.ones(T.sum()))
    assert found.weights[T == 0].sum() == pytest.approx(T.sum())


def test_arms_change_places(worlds):
    X, T, Y, *_ = worlds.world(5)
    for options in ({}, {"bias_correction": False}):
        one, two = matching(Y, T, X, **options).difference, matching(Y, 1 - T, X, **options).difference
        assert float(one) == pytest.approx(-float(two), rel=1e-6)
        assert one.se == pytest.approx(two.se, rel=1e-6)


def test_estimating_the_propensity_saves_variance(worlds):
    X, T, Y, *_ = worlds.world(6, n=1000)
    own = matching(Y, T, X, bias_correction=False)
    e = weighting_propensity(X, T)
    given = matching(Y, T, propensity=e)
    assert float(own.difference) == pytest.approx(float(given.difference), rel=1e-6)
    assert own.difference.se < given.difference.se
    assert "2016" in own.method


def weighting_propensity(X, T):
    from aimed.treatment.regressions import propensity_regression

    return propensity_regression(X, T == 1)[1]


def test_patients_have_clustered_errors(worlds):
    X, T, Y, *_ = worlds.world(7, n=1500)
    alone = matching(Y, T, X, patient=np.arange(1500))
    assert alone.difference.se == pytest.approx(matching(Y, T, X).difference.se, rel=0.1)
    assert "clustered by patient" in alone.method
    plain = matching(Y, T, X, patient=np.arange(1500), bias_correction=False)
    assert "propensity as known" in plain.note
    assert plain.difference.se >= 0.95 * matching(Y, T, X, bias_correction=False).difference.se


def test_a_caliper_leaves_out_who_has_no_match(worlds):
    X, T, Y, *_ = worlds.world(8, n=300, confounded=3.0)
    found = matching(Y, T, X, caliper=0.05)
    assert found.n < 300
    assert "without a match within the caliper" in found.note
    assert float(matching(Y, T, X, caliper=100).difference) == float(matching(Y, T, X).difference)


def test_what_cannot_be_matched_is_refused(worlds):
    X, T, Y, *_ = worlds.world(9)
    for options, said in (
        ({"neighbours": 0}, "neighbours = 0"),
        ({"metric": "cosine"}, "metric is not known"),
        ({"caliper": -1}, "caliper = -1"),
    ):
        with pytest.raises(DataError, match=said):
            matching(Y, T, X, **options)
    with pytest.raises(DataError, match="neither X nor a propensity"):
        matching(Y, T)
    with pytest.raises(NotEstimableError, match="for 50 matches"):
        matching(Y[:60], T[:60], X[:60], neighbours=50)
    with pytest.raises(NotEstimableError, match="widen the caliper"):
        matching(Y, T, X, caliper=1e-12)


@pytest.mark.parametrize("options", [{}, {"target": "ATT"}])
def test_coverage(worlds, options):
    _, T, _, _, mu0, mu1 = worlds.world(0, n=400_000)
    truth = (mu1 - mu0)[T == 1].mean() if options else (mu1 - mu0).mean()

    def draw(seed):
        X, T, Y, *_ = worlds.world(seed, n=200)
        return matching(Y, T, X, **options).difference

    covered, bias, spread, error = worlds.coverage(draw, truth, 400)
    assert 0.915 < covered < 0.98
    assert abs(bias) < 4 * spread / 20
    assert 0.9 < error / spread < 1.12


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"bias_correction": False}, {"neighbours": 3}, {"metric": "mahalanobis"}])
def test_coverage_of_more_ways(worlds, options):
    *_, mu0, mu1 = worlds.world(0, n=400_000, binary=True)

    def draw(seed):
        X, T, Y, *_ = worlds.world(seed, n=400, binary=True)
        return matching(Y, T, X, **options).difference

    covered, _, spread, error = worlds.coverage(draw, (mu1 - mu0).mean(), 500)
    assert 0.92 < covered < 0.975
    assert 0.92 < error / spread < 1.1


def test_large_tables_take_a_second(worlds):
    import time

    X, T, Y, *_ = worlds.world(0, n=100_000, p=20)
    start = time.process_time()
    matching(Y, T, X, neighbours=3)
    assert time.process_time() - start < 4
